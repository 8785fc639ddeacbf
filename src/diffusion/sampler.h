/* SPDX-License-Identifier: Apache-2.0
 * sampler.h: what each step of a sampler multiplies with what, in float64 on the host. Every
 * sampler here is a linear rule, so a device needs only fdit_sampler_step (device.h), which does
 * one step of any of them: x0 = x0_x x + x0_eps eps; x' = to_x x + to_x0 x0 + to_eps eps + to_old
 * x0_of_the_step_before + to_z sd z.
 *
 * ddpm    ancestral sampling with learned variance (Ho et al. 2020; Nichol and Dhariwal 2021)
 * ddim    Song, Meng, Ermon, arXiv 2010.02502, with eta
 * dpm++   DPM-Solver++ of order 2, multistep, midpoint, data prediction (Lu et al., arXiv
 * 2211.01095); first and last step have order 1 ddpm and ddim walk the respaced chain of
 * schedule.h; dpm++ takes the rounded times 999 .. 0 in steps + 1 equal parts without the last, and
 * ends at sigma = 0. */
#ifndef FDIT_DIFFUSION_SAMPLER_H
#define FDIT_DIFFUSION_SAMPLER_H

#include "device/device.h"

enum fdit_sampler_kind { FDIT_SAMPLER_DDPM, FDIT_SAMPLER_DDIM, FDIT_SAMPLER_DPMPP };

struct fdit_sampler_spec {
    enum fdit_sampler_kind kind;
    double eta; /* ddim: 0 .. 1, 0 = no noise */
};

/* Reads "ddpm", "ddim", "ddim:ETA" or "dpm++"; FDIT_ERROR_ARGUMENT otherwise. */
enum fdit_status fdit_sampler_parse(fdit_context *ctx, const char *text, struct fdit_sampler_spec *out);
/* The text that fdit_sampler_parse reads back to the same spec. */
void fdit_sampler_format(const struct fdit_sampler_spec *spec, char out[40]);
/* ddpm 250, ddim 50, dpm++ 20. */
int fdit_sampler_default_steps(enum fdit_sampler_kind kind);

/* One step in float64, in the letters of fdit_sampler_step_args. */
struct fdit_sampler_coef {
    int32_t t; /* what the network is told */
    double x0_x, x0_eps;
    double to_x, to_x0, to_eps, to_old, to_z;
    bool learned; /* the network's v sets the deviation of the noise, between the two logarithms */
    double log_beta, log_var;
};

/* coef[k] is step k = 0 .. steps-1, the noisiest first. */
struct fdit_sampler {
    struct fdit_sampler_spec spec;
    int steps;
    bool needs_old;  /* x0 of the step before is used: give fdit_sampler_step_args.old a buffer */
    int noise_steps; /* steps 0 .. noise_steps-1 add noise, the others none */
    struct fdit_sampler_coef *coef;
};

/* FDIT_ERROR_ARGUMENT when steps is outside 2 .. 1000 (ddpm, ddim) or 1 .. 999 (dpm++).
 * Free with fdit_sampler_free. */
enum fdit_status fdit_sampler_new(fdit_context *ctx, const struct fdit_sampler_spec *spec, int steps,
                                  struct fdit_sampler **out);
void fdit_sampler_free(struct fdit_sampler *sampler); /* NULL is allowed */

/* Sets the scalars of step k in `args` (x0_x .. to_z, learned, log_beta, log_var) and nothing else.
 * Where to_z is 0 args->z may be absent; where to_old is 0 (step 0) args->old is written but its
 * old contents must be finite. */
void fdit_sampler_set_args(const struct fdit_sampler *sampler, int k, struct fdit_sampler_step_args *args);

/* Classifier-free guidance: eps = eps_u + w (eps - eps_u) in the first `channels` channels, at
 * steps with t_low <= t <= t_high. */
struct fdit_guidance {
    double w;
    int channels; /* 0: the default (3 of 4 latent channels, else all); -1: all */
    int t_low, t_high;
};
#define FDIT_GUIDANCE_DEFAULT ((struct fdit_guidance){ 4.0, 0, 0, 999 })

/* A scale: any finite number. */
enum fdit_status fdit_guidance_parse_scale(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* "3" or "all". */
enum fdit_status fdit_guidance_parse_channels(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* "LO:HI", whole numbers, 0 <= LO <= HI <= 999. */
enum fdit_status fdit_guidance_parse_interval(fdit_context *ctx, const char *text, struct fdit_guidance *g);
/* How many of a model's `channels` latent channels are guided. */
int fdit_guidance_channels(const struct fdit_guidance *g, int channels);
/* Whether the step at network time t needs the guide's prediction: false outside the interval and
 * at w = 1, which is the plain class. */
bool fdit_guidance_active(const struct fdit_guidance *g, int t);

#endif
