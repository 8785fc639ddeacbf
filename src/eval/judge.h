/* SPDX-License-Identifier: Apache-2.0
 * judge.h: a classifier that says which class a picture shows, to measure generated pictures. */
#ifndef FDIT_EVAL_JUDGE_H
#define FDIT_EVAL_JUDGE_H

#include "data/taxonomy.h"
#include "model/checkpoint.h"

struct fdit_judge;

/* Opens a checkpoint of `train --classifier` with its taxonomy and plans its memory; fdit_judge_load takes
 * that and reads the numbers. batch: pictures at once. */
enum fdit_status fdit_judge_prepare(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                    struct fdit_judge **out);
enum fdit_status fdit_judge_load(fdit_context *ctx, struct fdit_judge *judge);
/* Adds what it takes to `plan`. */
enum fdit_status fdit_judge_plan(fdit_context *ctx, const struct fdit_judge *judge, struct fdit_plan *plan);
enum fdit_status fdit_judge_open(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                 struct fdit_judge **out); /* both */
void fdit_judge_close(struct fdit_judge *judge);           /* before the device; NULL is allowed */
uint64_t fdit_judge_hash(const struct fdit_judge *judge);  /* of all its numbers; 0: not loaded */
const struct fdit_taxonomy *fdit_judge_taxonomy(const struct fdit_judge *judge);
/* out [n]: the most likely class of each picture; pixels [n, S, S, C], 8 bits. */
enum fdit_status fdit_judge_classify(fdit_context *ctx, struct fdit_judge *judge, const uint8_t *pixels,
                                     size_t n, int32_t *out);

/* Of n <= batch pictures x [n, C, S, S], (v / 255 - 0.5) / 0.5: features [n, width], the mean of the last
 * layer's normalised tokens, and logits [n, classes]; either may be NULL. */
enum fdit_status fdit_judge_run(fdit_context *ctx, struct fdit_judge *judge, const float *x, size_t n,
                                float *features, float *logits);
const struct fdit_model_config *fdit_judge_config(const struct fdit_judge *judge);

/* How many of n pictures are what they should be. `wanted` are classes of `taxonomy`, which must have the
 * judge's class names; superclass and the second rank are compared by group. */
struct fdit_judge_score {
    size_t n;
    size_t superclass; /* group of the first rank right */
    size_t other;      /* group of the second rank right; 0 when there is none */
    size_t both;       /* the class itself */
};
enum fdit_status fdit_judge_score(fdit_context *ctx, struct fdit_judge *judge, const uint8_t *pixels,
                                  const int32_t *wanted, size_t n, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_judge_score *out);

#endif
