/* SPDX-License-Identifier: Apache-2.0
 * delta.h: the small file that fine-tuning leaves: the trained parameters (EMA, f32), and in its
 * metadata the class tree and the settings that sampling needs. Entries: format
 * "finediffusion-delta", version "1", model, taxonomy, guide, flip, train, base (fingerprint of the
 * frozen weights), and what tells people where it comes from: steps, validation (the last line of
 * the run's log that has one), average (of a length of its own, ema_length.h). */
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
    int64_t steps;           /* that it was trained for; 0: left out */
    const char *validation;  /* JSON; NULL: left out */
    const char *average;     /* JSON: step and width of the average that it holds; NULL: the usual one */
};

/* Writes the trained parameters of the model (with full masks: all of them and pos_embed, so that the file is
 * a checkpoint by itself) atomically. type: F32, or F16 and BF16 for a smaller base file. With class vectors
 * the rows of the table are those that samples get, so that whoever draws needs neither map nor vectors; the
 * map stands beside them, for classes that were not trained. */
enum fdit_status fdit_delta_save(fdit_context *ctx, struct fdit_model *model, enum fdit_values values,
                                 enum fdit_st_type type, const struct fdit_delta_meta *meta,
                                 const char *path);

/* The sizes of the model that a delta is for: its metadata, with the rows of its table. */
enum fdit_status fdit_delta_config(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                   struct fdit_model_config *out);
/* What a delta or training checkpoint says was trained: the mask in its metadata "train". *known: there is
 * one, and this version knows it. */
enum fdit_status fdit_delta_mask(fdit_context *ctx, const struct fdit_checkpoint *cp, struct fdit_mask *out,
                                 bool *known);
/* The one check of a delta (or a training checkpoint, which holds one) before it is used: it says
 * of what model it is; every tensor that its mask trains is there with its shape, and no other; its
 * table has a row for each class and group of its taxonomy, and one more with an empty label.
 * FDIT_ERROR_FORMAT says what is missing. Numbers are checked when they are read. */
enum fdit_status fdit_delta_check(fdit_context *ctx, struct fdit_checkpoint *cp);
/* FDIT_ERROR_FORMAT unless both are of models of the same sizes; those that one does not say are
 * passed over. */
enum fdit_status fdit_delta_match(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                  const struct fdit_checkpoint *base);
/* FDIT_ERROR_FORMAT unless the delta was trained with the base's objective, which is in `base`. */
enum fdit_status fdit_delta_match_objective(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                            const char *base_path, const struct fdit_model_config *base);
/* FDIT_ERROR_ARGUMENT when the file given as a base is a delta. */
enum fdit_status fdit_delta_refuse_as_base(fdit_context *ctx, const struct fdit_checkpoint *cp);

#endif
