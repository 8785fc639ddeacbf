/* SPDX-License-Identifier: Apache-2.0
 * learn.h: guidance that is learnt in training (DogFit, arXiv 2508.05685), so that one pass draws what
 * guidance draws in two: what train/step.h needs of each sample, and the guide's values. */
#ifndef FDIT_TRAIN_LEARN_H
#define FDIT_TRAIN_LEARN_H

#include "model/checkpoint.h"
#include "train/batch.h"
#include "train/step.h"

/* For the batches of a run, at most `room` samples each. */
struct fdit_learn {
    const struct fdit_train_options *o;
    const struct fdit_row_rule *rule;
    const struct fdit_objective *objective;
    int32_t rank;     /* whose groups guide; -1: the empty row */
    float *strength;  /* [room] */
    int32_t *classes; /* [room] rows */
    int32_t *guides;  /* [room] rows */
};

/* Whether the options ask for it. */
static inline bool fdit_learn_wanted(const struct fdit_train_options *o)
{
    return o->learn_guidance > 0;
}
/* Refuses what cannot be, by the option's name. */
enum fdit_status fdit_learn_check(fdit_context *ctx, const struct fdit_train_options *o);
enum fdit_status fdit_learn_new(fdit_context *ctx, const struct fdit_train_options *o,
                                const struct fdit_row_rule *rule, const struct fdit_objective *objective,
                                int32_t rank, size_t room, struct fdit_learn **out);
void fdit_learn_free(struct fdit_learn *l); /* NULL is allowed */

/* Whether the network is told the scale, which is drawn for each sample. */
static inline bool fdit_learn_tells(const struct fdit_train_options *o)
{
    return o->learn_from > 0;
}
/* A base or delta whose network is told a guidance scale goes on only so: a run that does not would draw
 * something else without it. `option`: by which the file was given. */
enum fdit_status fdit_learn_check_file(fdit_context *ctx, const struct fdit_train_options *o,
                                       const char *option, const struct fdit_checkpoint *cp);

/* Fills in strength, rows and guide of a micro-batch of step n from 1, whose other fields are set; labels
 * are classes; its first sample is number `position` of the run with this seed, which the scales are drawn
 * for. The plain target holds up to step --learn-after + 1, at noise times from --learn-below on, and with
 * the guide "superclass" for samples whose label was dropped: their guide would be what they are to learn. */
void fdit_learn_fill(struct fdit_learn *l, int64_t n, uint64_t seed, uint64_t position, const int32_t *labels,
                     struct fdit_micro *micro);

/* Into the model what its trained parameters are in the base, and the last row of the base's class table,
 * which stands for no class in a DiT; LayerNorms that it lacks scale by 1 and add 0, adapters that it
 * lacks do nothing, nor does what tells it a guidance scale. */
enum fdit_status fdit_learn_load_base(fdit_context *ctx, struct fdit_model *model,
                                      struct fdit_checkpoint *base);

#endif
