/* SPDX-License-Identifier: Apache-2.0
 * merge.h: an adapter put into the matrices that it stands beside, so that a plain model computes the same
 * up to rounding: W' = W + s B A (LoRA, rsLoRA), rows of W and b times gamma (DiffFit: of the four layers, or
 * of the gates in adaLN). Sums are in double, the result is rounded once. */
#ifndef FDIT_MODEL_MERGE_H
#define FDIT_MODEL_MERGE_H

#include "model/checkpoint.h"

/* Whether the file holds an adapter that a model of these sizes does not have. */
bool fdit_merges(const struct fdit_checkpoint *cp, const struct fdit_model_config *config);
/* Whether merging the file's adapter changes parameter p. */
bool fdit_merge_changes(const struct fdit_checkpoint *cp, const struct fdit_param *p);
/* numbers: elements first .. first + n - 1 of parameter p of the base, in place of which come those of the
 * merged model. p is one of fdit_merge_changes. Any cut into pieces gives the same bits. */
enum fdit_status fdit_merge_adapter(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
                                    size_t first, size_t n, float *numbers);

#endif
