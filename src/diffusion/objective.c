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

static const struct fdit_objective rows[] = {
    { .name = "ddpm",
      .outputs = 2,
      .draw = ddpm_draw,
      .spread = ddpm_spread,
      .diffuse = ddpm_diffuse,
      .coefficients = ddpm_coefficients,
      .loss = ddpm_loss },
};

const struct fdit_objective *fdit_objective_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!name || !strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}
