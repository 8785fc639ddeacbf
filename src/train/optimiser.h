/* SPDX-License-Identifier: Apache-2.0
 * optimiser.h: the table of optimisers. A row is all that a run knows of one: how many moments it keeps, what
 * they are called in a checkpoint, its usual numbers, and the device op that makes a step. The names of the
 * rows are those of --optimiser and in the files; files without a name are of the first row.
 *
 *     const struct fdit_optimiser *o = fdit_optimiser_find("lion");
 *     options.moments = o->moments;                       // of a model in training: planned with it
 *     o->update(dev, group, scale, &(struct fdit_update){ .lr = 1e-4, .beta1 = o->beta1, ... });
 */
#ifndef FDIT_TRAIN_OPTIMISER_H
#define FDIT_TRAIN_OPTIMISER_H

#include "model/model.h"

/* The numbers of one step. Which of them count is the optimiser's affair. */
struct fdit_update {
    const struct fdit_optimiser *optimiser;
    double lr, beta1, beta2, eps, weight_decay;
    double clip;      /* largest norm of the gradient; 0: none */
    double ema_decay; /* of this step */
    int64_t n;        /* number of this step, from 1 */
};

/* Of all rows in their order, as --optimiser takes them. */
#define FDIT_OPTIMISER_NAMES "adamw|lion"

struct fdit_optimiser {
    const char *name;
    int moments; /* so many numbers are kept for each one that is trained; at first 0 */
    /* Before the tensors' names in a checkpoint. A prefix that rows share means the same to them. */
    const char *prefix[FDIT_MOST_MOMENTS];
    double beta1, beta2, eps; /* usual */
    /* Queues the step and the EMA of what is kept of a trained group (params.h), the gradients multiplied by
     * scale[0]; where that is not finite nothing changes. */
    void (*update)(fdit_device *dev, const struct fdit_group *group, struct fdit_tensor scale,
                   const struct fdit_update *u);
};

/* NULL behind the last one. */
const struct fdit_optimiser *fdit_optimiser_at(size_t i);
/* By name; NULL name: the first. NULL: there is none of that name. */
const struct fdit_optimiser *fdit_optimiser_find(const char *name);

#endif
