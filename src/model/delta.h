/* SPDX-License-Identifier: Apache-2.0
 * delta.h: the small file that fine-tuning leaves: the trained parameters (EMA, f32), and in its
 * metadata the class tree and the settings that sampling needs. Entries: format "finediffusion-delta",
 * version "1", model, taxonomy, guide, flip, train, base (fingerprint of the frozen weights). */
#ifndef FDIT_MODEL_DELTA_H
#define FDIT_MODEL_DELTA_H

#include "format/safetensors.h"
#include "model/checkpoint.h"

#define FDIT_DELTA_FORMAT "finediffusion-delta"

struct fdit_delta_meta {
    const char *taxonomy;    /* JSON of fdit_taxonomy_to_json; NULL: left out */
    const char *guide;       /* rank of the superclass, "empty" or "" */
    const char *flip;        /* "horizontal" or "none" */
    const char *train;       /* JSON: mask, steps, batch, lr, ... no time, host or path */
    const char *fingerprint; /* of the base; NULL: left out (from scratch) */
};

/* Writes the trained parameters of the model (with full masks: all of them and pos_embed, so that the
 * file is a checkpoint by itself) atomically. type: F32, or F16 and BF16 for a smaller base file. */
enum fdit_status fdit_delta_save(fdit_context *ctx, const struct fdit_model *model,
                                 enum fdit_values values, enum fdit_st_type type,
                                 const struct fdit_delta_meta *meta, const char *path);

/* Refuses a file that is no delta. */
enum fdit_status fdit_delta_check(fdit_context *ctx, const struct fdit_checkpoint *cp);

#endif
