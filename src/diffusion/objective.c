/* SPDX-License-Identifier: Apache-2.0 */
#include "diffusion/objective.h"

#include <string.h>

/* ------------------------------------------------------------------ ddpm
 * The noise by its squared error, and with learnt variances (arXiv 2102.09672) the variational bound: the
 * formulas are in doc/DESIGN.md, "Loss". */

static double ddpm_draw(const struct fdit_rng *rng)
{
    return fdit_rng_below(rng, 0, FDIT_TRAIN_STEPS);
}

/* A step coprime to 1000 visits all times evenly, whatever the order of the pictures. */
static double ddpm_spread(uint64_t index)
{
    return (double)(index * 387 % FDIT_TRAIN_STEPS);
}

static void ddpm_diffuse(const struct fdit_schedule *s, double t, float out[2])
{
    fdit_schedule_diffuse_coef(s, (int)t, out);
}

static void ddpm_coefficients(const struct fdit_schedule *s, double t, double scale,
                              float out[FDIT_LOSS_COEFS])
{
    struct fdit_loss_coef coef;
    fdit_schedule_loss_coef(s, (int)t, scale, &coef);
    memcpy(out, &coef, sizeof coef);
}

static void ddpm_loss(fdit_device *dev, const struct fdit_objective_batch *b)
{
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
static double sit_turn(double time)
{
    return 1 - time;
}

static double repa_draw(const struct fdit_rng *rng)
{
    return fdit_rng_uniform(rng, 0);
}

static double sit_draw(const struct fdit_rng *rng)
{
    return sit_turn(repa_draw(rng));
}

/* The middles of as many equal parts as ddpm has times, in the same order. */
static double repa_spread(uint64_t index)
{
    return (ddpm_spread(index) + 0.5) / FDIT_TRAIN_STEPS;
}

static double sit_spread(uint64_t index)
{
    return sit_turn(repa_spread(index));
}

static void repa_diffuse(const struct fdit_schedule *s, double t, float out[2])
{
    (void)s;
    out[0] = (float)(1 - t);
    out[1] = (float)t;
}

static void sit_diffuse(const struct fdit_schedule *s, double t, float out[2])
{
    repa_diffuse(s, sit_turn(t), out);
}

static void velocity_coefficients(float sign, double scale, float out[FDIT_LOSS_COEFS])
{
    const struct fdit_velocity_coef coef = { .of_x0 = -sign, .of_noise = sign, .scale = (float)scale };
    memcpy(out, &coef, sizeof coef);
}

static void sit_coefficients(const struct fdit_schedule *s, double t, double scale,
                             float out[FDIT_LOSS_COEFS])
{
    (void)s;
    (void)t;
    velocity_coefficients(-1, scale, out);
}

static void repa_coefficients(const struct fdit_schedule *s, double t, double scale,
                              float out[FDIT_LOSS_COEFS])
{
    (void)s;
    (void)t;
    velocity_coefficients(1, scale, out);
}

static void velocity_loss(fdit_device *dev, const struct fdit_objective_batch *b, int outputs)
{
    fdit_velocity_loss(dev, &(struct fdit_velocity_loss_args){ .samples = b->samples,
                                                               .channels = b->channels,
                                                               .outputs = outputs,
                                                               .n = b->n,
                                                               .dout = b->dout,
                                                               .losses = b->losses,
                                                               .out = b->out,
                                                               .x0 = b->x0,
                                                               .noise = b->noise,
                                                               .coef = b->coef });
}

static void sit_loss(fdit_device *dev, const struct fdit_objective_batch *b)
{
    velocity_loss(dev, b, 2);
}

static void repa_loss(fdit_device *dev, const struct fdit_objective_batch *b)
{
    velocity_loss(dev, b, 1);
}

/* In the order of enum fdit_objective_id. */
static const struct fdit_objective rows[] = {
    { .name = "ddpm",
      .outputs = 2,
      .draw = ddpm_draw,
      .spread = ddpm_spread,
      .diffuse = ddpm_diffuse,
      .coefficients = ddpm_coefficients,
      .loss = ddpm_loss },
    { .name = "flow-sit",
      .id = FDIT_OBJECTIVE_FLOW_SIT,
      .outputs = 2,
      .velocity = -1,
      .draw = sit_draw,
      .spread = sit_spread,
      .diffuse = sit_diffuse,
      .coefficients = sit_coefficients,
      .loss = sit_loss },
    { .name = "flow-repa",
      .id = FDIT_OBJECTIVE_FLOW_REPA,
      .outputs = 1,
      .velocity = 1,
      .draw = repa_draw,
      .spread = repa_spread,
      .diffuse = repa_diffuse,
      .coefficients = repa_coefficients,
      .loss = repa_loss },
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
