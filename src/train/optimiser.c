/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimiser.h"

#include <math.h>
#include <string.h>

static struct fdit_tensor ema_of(const struct fdit_group *group)
{
    return group->ema ? fdit_tensor_of(group->ema, FDIT_F32) : FDIT_NO_TENSOR;
}

/* Loshchilov & Hutter, arXiv 1711.05101. */
static void adamw(fdit_device *dev, const struct fdit_group *group, struct fdit_tensor scale,
                  const struct fdit_update *u)
{
    fdit_adamw(
        dev, &(struct fdit_adamw_args){ .n = group->kept,
                                        .p = fdit_at(fdit_tensor_of(group->value, FDIT_F32), group->first),
                                        .g = fdit_at(fdit_tensor_of(group->grad, FDIT_F32), group->first),
                                        .m = fdit_tensor_of(group->moment[0], FDIT_F32),
                                        .v = fdit_tensor_of(group->moment[1], FDIT_F32),
                                        .ema = ema_of(group),
                                        .scale = scale,
                                        .decay = (float)(u->lr * u->weight_decay),
                                        .beta1 = u->beta1,
                                        .beta2 = u->beta2,
                                        .eps = (float)u->eps,
                                        .lr_bias1 = (float)(u->lr / (1 - pow(u->beta1, (double)u->n))),
                                        .inv_sqrt_bias2 = (float)(1 / sqrt(1 - pow(u->beta2, (double)u->n))),
                                        .ema_decay = u->ema_decay });
}

/* Chen et al., arXiv 2302.06675, algorithm 2. */
static void lion(fdit_device *dev, const struct fdit_group *group, struct fdit_tensor scale,
                 const struct fdit_update *u)
{
    fdit_lion(dev,
              &(struct fdit_lion_args){ .n = group->kept,
                                        .p = fdit_at(fdit_tensor_of(group->value, FDIT_F32), group->first),
                                        .g = fdit_at(fdit_tensor_of(group->grad, FDIT_F32), group->first),
                                        .m = fdit_tensor_of(group->moment[0], FDIT_F32),
                                        .ema = ema_of(group),
                                        .scale = scale,
                                        .lr = (float)u->lr,
                                        .decay = (float)(u->lr * u->weight_decay),
                                        .beta1 = u->beta1,
                                        .beta2 = u->beta2,
                                        .ema_decay = u->ema_decay });
}

static const struct fdit_optimiser rows[] = {
    { .name = "adamw",
      .moments = 2,
      .prefix = { "m.", "v." },
      .beta1 = 0.9,
      .beta2 = 0.999,
      .eps = 1e-8,
      .update = adamw },
    { .name = "lion", .moments = 1, .prefix = { "m." }, .beta1 = 0.9, .beta2 = 0.99, .update = lion },
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

const struct fdit_optimiser *fdit_optimiser_at(size_t i)
{
    return i < N_ROWS ? &rows[i] : NULL;
}

const struct fdit_optimiser *fdit_optimiser_find(const char *name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (!name || !strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}
