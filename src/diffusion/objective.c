/* SPDX-License-Identifier: Apache-2.0 */
#include "diffusion/objective.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ ddpm */

/* The noise by its squared error, and with learnt variances (arXiv 2102.09672) the variational bound: the
 * formulas are in doc/DESIGN.md, "Loss". */

static double ddpm_draw(const struct fdit_objective *o, const struct fdit_time_density *density,
                        const struct fdit_rng *rng)
{
    (void)o;
    if (density->kind == FDIT_TIMES_UNIFORM) /* 64 bits: no time shows a bias */
        return fdit_rng_below(rng, 0, FDIT_TRAIN_STEPS);
    return fmin(floor(FDIT_TRAIN_STEPS * fdit_time_density_draw(density, rng)), FDIT_TRAIN_STEPS - 1);
}

/* A step coprime to 1000 visits all times evenly, whatever the order of the pictures. */
static double ddpm_spread(const struct fdit_objective *o, uint64_t index)
{
    (void)o;
    return (double)(index * 387 % FDIT_TRAIN_STEPS);
}

static void ddpm_diffuse(const struct fdit_objective *o, const struct fdit_schedule *s, double t,
                         float out[2])
{
    (void)o;
    fdit_schedule_diffuse_coef(s, (int)t, out);
}

static void ddpm_coefficients(const struct fdit_objective *o, const struct fdit_schedule *s, double t,
                              double scale, const struct fdit_loss_weight *weight, float out[FDIT_LOSS_COEFS])
{
    struct fdit_loss_coef coef;
    (void)o;
    fdit_schedule_loss_coef(s, (int)t, scale, &coef);
    coef.scale = (float)(scale * fdit_loss_weight_noise(weight, s->abar[(int)t]));
    memcpy(out, &coef, sizeof coef);
}

static void ddpm_target(const struct fdit_objective *o, double alpha, double sigma, double out[2])
{
    (void)o;
    (void)alpha;
    (void)sigma;
    out[0] = 0;
    out[1] = 1;
}

static double ddpm_noise_time(const struct fdit_objective *o, double t)
{
    (void)o;
    return t / (FDIT_TRAIN_STEPS - 1);
}

static void ddpm_loss(const struct fdit_objective *o, fdit_device *dev, const struct fdit_objective_batch *b)
{
    (void)o;
    fdit_diffusion_loss(dev, &(struct fdit_diffusion_loss_args){ .samples = b->samples,
                                                                 .channels = b->channels,
                                                                 .n = b->n,
                                                                 .dout = b->dout,
                                                                 .losses = b->losses,
                                                                 .out = b->out,
                                                                 .x0 = b->x0,
                                                                 .noise = b->noise,
                                                                 .coef = b->coef });
}

/* ------------------------------------------------------------------ flow matching */

/* The network's time from the noise time, and the other way round. */
static double flow_time(const struct fdit_objective *o, double time)
{
    return o->reversed ? 1 - time : time;
}

/* The velocity dx/du = noise - x0; a reversed time has the other sign. */
static void flow_target(const struct fdit_objective *o, double alpha, double sigma, double out[2])
{
    (void)alpha;
    (void)sigma;
    out[0] = o->reversed ? 1 : -1;
    out[1] = -out[0];
}

static double flow_draw(const struct fdit_objective *o, const struct fdit_time_density *density,
                        const struct fdit_rng *rng)
{
    return flow_time(o, fdit_time_density_draw(density, rng));
}

/* The middles of as many equal parts as ddpm has times, in the same order. */
static double flow_spread(const struct fdit_objective *o, uint64_t index)
{
    return flow_time(o, (ddpm_spread(o, index) + 0.5) / FDIT_TRAIN_STEPS);
}

static void flow_diffuse(const struct fdit_objective *o, const struct fdit_schedule *s, double t,
                         float out[2])
{
    const double u = flow_time(o, t);
    (void)s;
    out[0] = (float)(1 - u);
    out[1] = (float)u;
}

static void flow_coefficients(const struct fdit_objective *o, const struct fdit_schedule *s, double t,
                              double scale, const struct fdit_loss_weight *weight, float out[FDIT_LOSS_COEFS])
{
    const double u = flow_time(o, t), factor = fdit_loss_weight_velocity(weight, u);
    double target[2];
    o->target(o, 1 - u, u, target);
    const struct fdit_velocity_coef coef = { .of_x0 = (float)target[0],
                                             .of_noise = (float)target[1],
                                             .scale = (float)(scale * factor) };
    (void)s;
    memcpy(out, &coef, sizeof coef);
}

static void flow_loss(const struct fdit_objective *o, fdit_device *dev, const struct fdit_objective_batch *b)
{
    fdit_velocity_loss(dev, &(struct fdit_velocity_loss_args){ .samples = b->samples,
                                                               .channels = b->channels,
                                                               .outputs = o->outputs,
                                                               .n = b->n,
                                                               .dout = b->dout,
                                                               .losses = b->losses,
                                                               .out = b->out,
                                                               .x0 = b->x0,
                                                               .noise = b->noise,
                                                               .coef = b->coef });
}

/* In the order of enum fdit_objective_id. */
static const struct fdit_objective rows[] = {
    { .name = "ddpm",
      .outputs = 2,
      .process = FDIT_PROCESS_CHAIN,
      .variance = true,
      .predicts = "noise and variance",
      .target = ddpm_target,
      .noise_time = ddpm_noise_time,
      .draw = ddpm_draw,
      .spread = ddpm_spread,
      .diffuse = ddpm_diffuse,
      .coefficients = ddpm_coefficients,
      .loss = ddpm_loss },
    { .name = "flow-sit",
      .id = FDIT_OBJECTIVE_FLOW_SIT,
      .outputs = 2,
      .process = FDIT_PROCESS_STRAIGHT,
      .reversed = true,
      .counts_points = true,
      .like_ddpm = true,
      .predicts = "a velocity",
      .target = flow_target,
      .noise_time = flow_time,
      .draw = flow_draw,
      .spread = flow_spread,
      .diffuse = flow_diffuse,
      .coefficients = flow_coefficients,
      .loss = flow_loss },
    { .name = "flow-repa",
      .id = FDIT_OBJECTIVE_FLOW_REPA,
      .outputs = 1,
      .process = FDIT_PROCESS_STRAIGHT,
      .guides_all = true,
      .predicts = "a velocity",
      .target = flow_target,
      .noise_time = flow_time,
      .draw = flow_draw,
      .spread = flow_spread,
      .diffuse = flow_diffuse,
      .coefficients = flow_coefficients,
      .loss = flow_loss },
};

const struct fdit_objective *fdit_objective_at(enum fdit_objective_id id)
{
    return &rows[id];
}

const struct fdit_objective *fdit_objective_find(const char *name)
{
    if (name && !strcmp(name, "flow"))
        return &rows[FDIT_OBJECTIVE_FLOW_REPA];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!name || !strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}
