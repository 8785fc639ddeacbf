/* SPDX-License-Identifier: Apache-2.0
 * scores.h: numbers from what a classifier says of pictures, and means over classes. */
#ifndef FDIT_EVAL_SCORES_H
#define FDIT_EVAL_SCORES_H

#include "core/status.h"

/* exp of the mean over pictures of KL(p(y|x) || p(y)), with p = softmax of logits [n, k]: mean and deviation
 * (divisor `splits`) over the splits, of which split s has pictures s n / splits .. (s + 1) n / splits - 1
 * (Salimans et al. 2016, "Improved techniques for training GANs"). order [n]: which picture stands where,
 * NULL: as they are. Fewer pictures than splits: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_inception_score(fdit_context *ctx, const float *logits, size_t n, size_t k,
                                      size_t splits, const uint32_t *order, double *mean, double *deviation);

/* hits [n]: 1 where the true label is among the `top` likeliest of k, else 0. With `group_of` [k] labels are
 * groups, whose probability is the sum of their classes'. Of equals the first counts as likelier. */
enum fdit_status fdit_top_hits(fdit_context *ctx, const float *logits, size_t n, size_t k,
                               const int32_t *group_of, size_t groups, const int32_t *label, size_t top,
                               double *hits);

/* out [n]: the likeliest label of each picture, the first of equals; labels as in fdit_top_hits. */
enum fdit_status fdit_top_labels(fdit_context *ctx, const float *logits, size_t n, size_t k,
                                 const int32_t *group_of, size_t groups, int32_t *out);

/* Means of values, NaN passed over: what a class with too few pictures has. NaN when none is left. */
double fdit_mean_known(const double *value, size_t n);
/* out [groups]: plain means over the classes of each group, so that large classes do not count more. */
enum fdit_status fdit_mean_by_group(fdit_context *ctx, const double *value, const int32_t *group_of, size_t n,
                                    size_t groups, double *out);

enum fdit_third { FDIT_HEAD, FDIT_MIDDLE, FDIT_TAIL };
/* out [n]: the third of each class by its pictures: in falling order, ties by number, the first ceil(n / 3)
 * are the head and the last floor(n / 3) the tail. */
enum fdit_status fdit_thirds(fdit_context *ctx, const size_t *pictures, size_t n, int32_t *out);

#endif
