/* SPDX-License-Identifier: Apache-2.0
 * quality.h: how good the pictures of a run are while it trains: --eval-every. Nothing of it changes what is
 * trained. */
#ifndef FDIT_TRAIN_QUALITY_H
#define FDIT_TRAIN_QUALITY_H

#include "eval/evaluate.h"
#include "train/options.h"
#include "train/preview.h"

struct fdit_quality;

/* What is compared with: pictures at a path, all or one side of a split. */
struct fdit_quality_real {
    const char *path;
    bool some; /* those that `split` gives */
    struct fdit_eval_split split;
};

/* Loads the feature network of o->eval_features. preview draws (with `taxonomy`, whose classes the real
 * pictures have); it, the device and the texts must outlive the result. */
enum fdit_status fdit_quality_new(fdit_context *ctx, fdit_device *dev, const struct fdit_train_options *o,
                                  const struct fdit_quality_real *real, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_preview *preview, struct fdit_quality **out);
void fdit_quality_free(struct fdit_quality *q); /* before the preview; NULL is allowed */
/* Bytes of host memory that features of n_real real pictures and of the drawn ones take. */
size_t fdit_quality_bytes(const struct fdit_quality *q, size_t n_real);
size_t fdit_quality_pictures(const struct fdit_quality *q); /* that are drawn each time */
/* Draws from the weights as they are now and measures: *n values [FDIT_EVAL_VALUES]. The features of the real
 * pictures are made the first time and kept. Counts its pictures for the phase that its caller began. */
enum fdit_status fdit_quality_measure(fdit_context *ctx, struct fdit_quality *q,
                                      struct fdit_eval_value *values, size_t *n);

#endif
