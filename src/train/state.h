/* SPDX-License-Identifier: Apache-2.0
 * state.h: training checkpoints: RUN/checkpoints/step-N.safetensors with raw and EMA values, the
 * optimiser's moments and averages of other lengths (fdit_state_prefix), its name, a sum over the numbers,
 * the step and the position in the data. All random numbers are functions of seed and position, so there is
 * no other state. */
#ifndef FDIT_TRAIN_STATE_H
#define FDIT_TRAIN_STATE_H

#include "data/taxonomy.h"
#include "model/delta.h"
#include "train/optimiser.h"
#include "train/options.h"

struct fdit_train_position {
    int64_t step;      /* optimiser steps done */
    uint64_t position; /* samples taken from the data */
};

/* Written durably under a temporary name first: a run killed at any moment leaves the last one whole. */
enum fdit_status fdit_state_save(fdit_context *ctx, struct fdit_model *model,
                                 const struct fdit_optimiser *optimiser, const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at, const char *path);
/* What a checkpoint must say to be of this run. NULL: not compared. */
struct fdit_state_wanted {
    const struct fdit_optimiser *optimiser; /* never NULL */
    int64_t step;                           /* as its file is called */
    uint64_t group;                         /* samples of a step */
    const struct fdit_taxonomy *taxonomy;
    const char *base;  /* fingerprint of the frozen weights */
    const char *train; /* options, as fdit_delta_meta has them; needs `options`, those of the run */
    const struct fdit_train_options *options;
    bool look;              /* compared and read to its end; nothing of it goes into the model */
    bool *other_options;    /* set to whether these differ, which is FDIT_ERROR_ARGUMENT; never NULL */
    enum fdit_status other; /* for classes or a base that are others */
};
/* Into the model, unless `look`. FDIT_ERROR_FORMAT or _NUMERIC for a file that is cut off or not of this run,
 * FDIT_ERROR_IO for one that cannot be read; without `look` the trained values of the model are then in
 * disorder, until another one is loaded. Needs 256 KiB and no page of the file longer than it takes to copy
 * it. */
enum fdit_status fdit_state_load(fdit_context *ctx, struct fdit_model *model, const char *path,
                                 const struct fdit_state_wanted *wanted, struct fdit_train_position *at);

/* The class table in a checkpoint, once more and in parts, for others than the model: numbers
 * first..first+n-1 of one of its sets (model.h, fdit_group_set). Free with fdit_state_table_close; NULL is
 * allowed. */
struct fdit_state_table;
enum fdit_status fdit_state_table_open(fdit_context *ctx, const struct fdit_model *model,
                                       const struct fdit_optimiser *optimiser, const char *path,
                                       struct fdit_state_table **out);
enum fdit_status fdit_state_table_read(fdit_context *ctx, struct fdit_state_table *table, int set,
                                       size_t first, size_t n, float *out);
void fdit_state_table_close(struct fdit_state_table *table);

/* The length of what stands before a parameter's name in that of a checkpoint's tensor: "raw.", "ema.", or
 * what an optimiser's row says of a moment; 0: nothing of that. */
size_t fdit_state_prefix(const char *tensor);

/* The optimiser that a training checkpoint names, or that those meant which name none. */
const char *fdit_state_optimiser(const struct fdit_checkpoint *cp);

/* RUN/checkpoints/step-N.safetensors. Free with fdit_free. */
enum fdit_status fdit_state_path(fdit_context *ctx, const char *run, int64_t step, char **out);
/* The steps that have one, rising; *steps from fdit_alloc. */
enum fdit_status fdit_state_list(fdit_context *ctx, const char *run, int64_t **steps, size_t *n);
/* The path of the newest one, NULL when there is none. */
enum fdit_status fdit_state_newest(fdit_context *ctx, const char *run, char **out);
/* Removes all but the newest `keep` (0: keeps all) up to step `now`, and those behind it: the run could
 * not go on from them. */
enum fdit_status fdit_state_prune(fdit_context *ctx, const char *run, int64_t now, int keep);

#endif
