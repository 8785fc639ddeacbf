/* SPDX-License-Identifier: Apache-2.0
 * sampler.h: what each step of a sampler multiplies with what, in float64 on the host. Every
 * sampler here is a linear rule, so a device needs only fdit_sampler_step (device.h), which does
 * one step of any of them:
 *
 *     x0 = x0_x x + x0_eps eps
 *     x' = to_x x + to_x0 x0 + to_eps eps + to_old x0_of_the_step_before
 *          + to_older x0_of_the_one_before_that + to_z sd z
 *
 * ddpm    ancestral sampling with learned variance (Ho et al. 2020; Nichol and Dhariwal 2021)
 * ddim    Song, Meng, Ermon, arXiv 2010.02502, with eta
 * dpm++   DPM-Solver++ of order 2, multistep, midpoint, data prediction (Lu et al., arXiv 2211.01095);
 *         first and last step have order 1
 * unipc   UniPC of order 2, B(h) = expm1(h), multistep, data prediction (Zhao et al., arXiv 2302.04867), for
 *         every objective: each pass also corrects the step before; first and last step have order 1
 *
 * ddpm and ddim walk the respaced chain of schedule.h; dpm++ and unipc take the rounded times 999 .. 0 in
 * steps + 1 equal parts without the last, and end at sigma = 0. Of flow models unipc takes the noise times
 * v = 1 - 0.999 k / steps (the first 1 - 1e-6) as S v / (1 + (S - 1) v) with the shift S: above 1 more of the
 * steps are spent where there is more noise.
 *
 * Of flow matching (objective.h), from noise time u = 1 to 0; V = dx/du, x0 = x - u V:
 * euler   x' = x + (u' - u) V
 * heun    the same with the mean of V there and where it leads to: two passes of the network a step
 * sde     Euler-Maruyama of the reverse equation with the noise of u: x' = x + (u' - u) (x + (2 - u) V) +
 *         sqrt(2 u (u - u')) z down to u = 0.04 in steps - 1 equal parts, and a last step without noise: mean
 *         (the same rule), euler (x - u V), tweedie (which is euler for this process) or none
 *
 * euler and heun: N equal parts for flow-repa; for flow-sit N points, which are N - 1 parts, as its program
 * counts. The last step of heun is one of euler for flow-repa, again as its program has it. */
#ifndef FDIT_DIFFUSION_SAMPLER_H
#define FDIT_DIFFUSION_SAMPLER_H

#include "device/device.h"
#include "diffusion/objective.h"

/* The list of samplers, in the order of --help, with SEP between the rows:
 * ROW(ENUM, rule, name, setting, usual steps, objectives)
 * FDIT_SAMPLER_<ENUM> is its number, <rule>_rule in sampler.c what it computes, `setting` what may follow its
 * name, `objectives` the models that it draws from: DDPM, FLOW or BOTH. */
#define FDIT_SAMPLERS(ROW, SEP)                     \
    ROW(DDPM, ddpm, "ddpm", "", 250, DDPM)          \
    SEP ROW(DDIM, ddim, "ddim", "[:ETA]", 50, DDPM) \
    SEP ROW(DPMPP, dpmpp, "dpm++", "", 20, DDPM)    \
    SEP ROW(EULER, euler, "euler", "", 50, FLOW)    \
    SEP ROW(HEUN, heun, "heun", "", 25, FLOW)       \
    SEP ROW(SDE, sde, "sde", "[:LAST]", 250, FLOW)  \
    SEP ROW(UNIPC, unipc, "unipc", "[:SHIFT]", 20, BOTH)

#define FDIT_SAMPLER_NUMBER(ENUM, rule, name, setting, steps, of) FDIT_SAMPLER_##ENUM,
enum fdit_sampler_kind { FDIT_SAMPLERS(FDIT_SAMPLER_NUMBER, ) };
enum fdit_sde_last { FDIT_SDE_MEAN, FDIT_SDE_EULER, FDIT_SDE_TWEEDIE, FDIT_SDE_NONE };

struct fdit_sampler_spec {
    enum fdit_sampler_kind kind;
    double eta;                       /* ddim: 0 .. 1, 0 = no noise */
    enum fdit_sde_last last;          /* sde */
    double shift;                     /* unipc of flow models: above 0; 0: 1, no shift */
    enum fdit_objective_id objective; /* of the model: fdit_generator_set fills it in */
};

/* What --sampler takes, "ddpm|ddim[:ETA]|...". */
#define FDIT_SAMPLER_WORD(ENUM, rule, name, setting, steps, of) name setting
#define FDIT_SAMPLER_NAMES FDIT_SAMPLERS(FDIT_SAMPLER_WORD, "|")
/* For --help: "ddpm 250, ddim 50, ...", and those of one kind of objective: " ddpm, ddim, ... unipc," */
#define FDIT_SAMPLER_STEPS_WORD(ENUM, rule, name, setting, steps, of) name " " #steps
#define FDIT_SAMPLER_STEPS FDIT_SAMPLERS(FDIT_SAMPLER_STEPS_WORD, ", ")
#define FDIT_DDPM_IF_DDPM(name) " " name ","
#define FDIT_DDPM_IF_FLOW(name) ""
#define FDIT_DDPM_IF_BOTH(name) " " name ","
#define FDIT_FLOW_IF_DDPM(name) ""
#define FDIT_FLOW_IF_FLOW(name) " " name ","
#define FDIT_FLOW_IF_BOTH(name) " " name ","
#define FDIT_SAMPLER_DDPM_WORD(ENUM, rule, name, setting, steps, of) FDIT_DDPM_IF_##of(name)
#define FDIT_SAMPLER_FLOW_WORD(ENUM, rule, name, setting, steps, of) FDIT_FLOW_IF_##of(name)
#define FDIT_SAMPLERS_OF_DDPM FDIT_SAMPLERS(FDIT_SAMPLER_DDPM_WORD, )
#define FDIT_SAMPLERS_OF_FLOW FDIT_SAMPLERS(FDIT_SAMPLER_FLOW_WORD, )

/* Reads those names, SHIFT being 0.01 to 100, LAST mean, euler, tweedie or none; FDIT_ERROR_ARGUMENT
 * otherwise. The objective becomes ddpm. */
enum fdit_status fdit_sampler_parse(fdit_context *ctx, const char *text, struct fdit_sampler_spec *out);
/* The text that fdit_sampler_parse reads back to the same spec. */
void fdit_sampler_format(const struct fdit_sampler_spec *spec, char out[40]);
/* The sampler of a model where none was asked for: `of_ddpm` where it is ddpm, else euler. */
enum fdit_sampler_kind fdit_sampler_usual(enum fdit_objective_id objective, enum fdit_sampler_kind of_ddpm);
int fdit_sampler_default_steps(enum fdit_sampler_kind kind); /* of the list */

/* Whether x0 can be clamped in its passes: not in those of heun, which takes the mean of two predictions. */
bool fdit_sampler_clamps(enum fdit_sampler_kind kind);

/* One step in float64, in the letters of fdit_sampler_step_args. */
struct fdit_sampler_coef {
    double t;  /* what the network is told */
    double at; /* what a guidance interval is compared with: t, or of flow matching the u of the step */
    double x0_x, x0_eps;
    double to_x, to_x0, to_eps, to_old, to_older, to_z;
    bool learned; /* the network's v sets the deviation of the noise, between the two logarithms */
    double log_beta, log_var;
};

/* coef[k] is pass k = 0 .. steps-1 of the network, the noisiest first; heun makes two passes of a step, so
 * `steps` is not what was asked for there. */
struct fdit_sampler {
    struct fdit_sampler_spec spec;
    int steps;
    bool needs_old;   /* x0 of the step before is used: give fdit_sampler_step_args.old a buffer */
    bool needs_older; /* that of the step before it, too; such a sampler draws no noise */
    int noise_steps;  /* steps 0 .. noise_steps-1 add noise, the others none */
    struct fdit_sampler_coef *coef;
};

/* FDIT_ERROR_ARGUMENT when steps is outside 2 .. 1000 (ddpm, ddim, sde; euler and heun with flow-sit),
 * 1 .. 999 (dpm++, unipc) or 1 .. 1000 (euler, heun, unipc of flow models), and for a sampler that is not
 * of the spec's objective. Free with fdit_sampler_free. */
enum fdit_status fdit_sampler_new(fdit_context *ctx, const struct fdit_sampler_spec *spec, int steps,
                                  struct fdit_sampler **out);
void fdit_sampler_free(struct fdit_sampler *sampler); /* NULL is allowed */

/* Sets the scalars of step k in `args` (x0_x .. to_z, learned, log_beta, log_var) and nothing else. With
 * needs_older args->z is x0 of the step before the last, and to_z its factor.
 * Where to_z is 0 args->z may be absent; where to_old is 0 (step 0) args->old is written but its
 * old contents must be finite. */
void fdit_sampler_set_args(const struct fdit_sampler *sampler, int k, struct fdit_sampler_step_args *args);

enum fdit_guidance_rule {
    FDIT_GUIDANCE_PLAIN,
    FDIT_GUIDANCE_ZERO_STAR, /* CFG-Zero* (arXiv 2503.18886), of flow matching: see fdit_zero_star */
};

/* Classifier-free guidance: eps = eps_u + w (eps - eps_u) in the first `channels` channels, at
 * steps with t_low <= t <= t_high; t is the noise time u in flow matching. */
struct fdit_guidance {
    double w;
    int channels; /* 0: the default (3 of 4 latent channels, else all; flow-repa: all); -1: all */
    double t_low, t_high;
    enum fdit_guidance_rule rule;
};
/* In place on the host, for one sample: guide [n] becomes s guide with s = <cond, guide> / (<guide, guide> +
 * 1e-8) over the n guided numbers, the part of the guide's velocity that lies along the class's. */
void fdit_zero_star(const float *cond, float *guide, size_t n);
#define FDIT_GUIDANCE_DEFAULT ((struct fdit_guidance){ .w = 4.0, .t_high = 999 })

/* A scale: any finite number. */
enum fdit_status fdit_guidance_parse_scale(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* "3" or "all". */
enum fdit_status fdit_guidance_parse_channels(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* "LO:HI", 0 <= LO <= HI <= 999. */
enum fdit_status fdit_guidance_parse_interval(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* What it writes, fdit_guidance_parse_interval reads back to the same numbers. */
void fdit_guidance_format_interval(const struct fdit_guidance *g, char out[40]);
/* zero-star is refused where it cannot be: of ddpm, and with the sampler sde. */
enum fdit_status fdit_guidance_check_rule(fdit_context *ctx, const struct fdit_guidance *g,
                                          const struct fdit_sampler_spec *spec);
/* Default channels of the objective, and an interval of its times: whole numbers for ddpm, at most 1 in flow
 * matching (0:999 is all of it). */
enum fdit_status fdit_guidance_settle(fdit_context *ctx, struct fdit_guidance *g,
                                      enum fdit_objective_id objective);
/* How many of a model's `channels` latent channels are guided. */
int fdit_guidance_channels(const struct fdit_guidance *g, int channels);
/* Whether the step at time t (fdit_sampler_coef.at) needs the guide's prediction: false outside the interval
 * and at w = 1, which is the plain class. */
bool fdit_guidance_active(const struct fdit_guidance *g, double t);

#endif
