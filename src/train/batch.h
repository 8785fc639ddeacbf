/* SPDX-License-Identifier: Apache-2.0
 * batch.h: what the network is shown: pictures with t, noise and table rows, all functions of (seed,
 * position of the sample), so that a resumed run sees the same. */
#ifndef FDIT_TRAIN_BATCH_H
#define FDIT_TRAIN_BATCH_H

#include "data/loader.h"
#include "data/taxonomy.h"
#include "diffusion/objective.h"
#include "train/options.h"

/* How labels become rows of the class table. */
struct fdit_row_rule {
    const struct fdit_taxonomy *taxonomy;
    enum fdit_label_drop drop;
    double drop_prob;
    const int32_t *ranks; /* superclass: the drops are shared equally by these */
    size_t n_ranks;
    int32_t empty_row; /* of FDIT_DROP_EMPTY */
};

/* The row of a sample: its class, or with probability drop_prob what takes the drops. Never changes the
 * label. */
int32_t fdit_row_of(const struct fdit_row_rule *rule, int32_t label, uint64_t seed, uint64_t position);

/* t [n] as objective and density draw it (NULL: a classifier, t stays as it is), noise [n, item] normal,
 * rows [n], for samples position .. position+n-1. */
void fdit_draw_batch(const struct fdit_row_rule *rule, const struct fdit_objective *objective,
                     const struct fdit_time_density *density, uint64_t seed, uint64_t position,
                     const int32_t *labels, size_t n, size_t item, double *t, int32_t *rows, float *noise);
/* out [n, C, S, S]: each picture of x moved by up to `most` pixels along both axes and multiplied by 0.8
 * to 1 towards its corner's colour; what comes in at the edges is the edge. For classifiers. */
void fdit_shift_batch(uint64_t seed, uint64_t position, const float *x, size_t n, int channels, int size,
                      int most, float *out);
/* Fixed t and noise for validation picture i: t spread evenly as the objective does. */
void fdit_draw_validation(const struct fdit_objective *objective, uint64_t index, size_t item, double *t,
                          float *noise);

#endif
