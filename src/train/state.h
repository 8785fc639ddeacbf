/* SPDX-License-Identifier: Apache-2.0
 * state.h: training checkpoints: RUN/checkpoints/step-N.safetensors with raw and EMA values and both
 * moments ("raw.", "ema.", "m.", "v." before the names), the step and the position in the data. All
 * random numbers are functions of seed and position, so there is no other state. */
#ifndef FDIT_TRAIN_STATE_H
#define FDIT_TRAIN_STATE_H

#include "model/delta.h"

struct fdit_train_position {
    int64_t step;      /* optimiser steps done */
    uint64_t position; /* samples taken from the data */
};

/* Written durably under a temporary name first: a run killed at any moment leaves the last one whole. */
enum fdit_status fdit_state_save(fdit_context *ctx, const struct fdit_model *model,
                                 const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at, const char *path);
enum fdit_status fdit_state_load(fdit_context *ctx, struct fdit_model *model, const char *path,
                                 struct fdit_train_position *at);

/* RUN/checkpoints/step-N.safetensors. Free with fdit_free. */
enum fdit_status fdit_state_path(fdit_context *ctx, const char *run, int64_t step, char **out);
/* The path of the newest one, NULL when there is none. */
enum fdit_status fdit_state_newest(fdit_context *ctx, const char *run, char **out);
/* Removes all but the newest `keep` (0: keeps all). */
enum fdit_status fdit_state_prune(fdit_context *ctx, const char *run, int keep);

#endif
