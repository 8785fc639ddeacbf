/* SPDX-License-Identifier: Apache-2.0
 * statistics.h: mean and covariance of feature vectors that come one batch after the other; memory depends
 * on their width alone.
 *
 *     struct fdit_statistics *s = NULL;
 *     struct fdit_moments m = { 0 };
 *     TRY(fdit_statistics_new(ctx, 2048, &s));
 *     while (...)
 *         fdit_statistics_add(s, pool, features, n, NULL, 0);
 *     TRY(fdit_statistics_moments(ctx, s, &m));
 * out:
 *     fdit_moments_fini(&m);
 *     fdit_statistics_free(s); */
#ifndef FDIT_EVAL_STATISTICS_H
#define FDIT_EVAL_STATISTICS_H

#include "eval/pairs.h"

struct fdit_moments {
    size_t d;
    uint64_t n;         /* vectors; 0: not known (files of statistics do not say) */
    double *mean;       /* [d] */
    double *covariance; /* [d, d], symmetric, divisor n - 1 */
};
void fdit_moments_fini(struct fdit_moments *m);
size_t fdit_moments_bytes(size_t d);    /* of mean and covariance */
size_t fdit_statistics_bytes(size_t d); /* while they are made */
enum fdit_status fdit_moments_new(fdit_context *ctx, size_t d, struct fdit_moments *out);

struct fdit_statistics;
enum fdit_status fdit_statistics_new(fdit_context *ctx, size_t d, struct fdit_statistics **out);
void fdit_statistics_free(struct fdit_statistics *s); /* NULL is allowed */
/* n vectors [n, d]. How they are divided into batches changes no bit. weights: how often vector i counts is
 * weights[i stride]; NULL: once. */
void fdit_statistics_add(struct fdit_statistics *s, struct fdit_pool *pool, const float *x, size_t n,
                         const float *weights, size_t stride);
uint64_t fdit_statistics_count(const struct fdit_statistics *s);
/* Fewer than two vectors: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_statistics_moments(fdit_context *ctx, const struct fdit_statistics *s,
                                         struct fdit_moments *out);
/* Of vectors in memory. */
enum fdit_status fdit_moments_of(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *p,
                                 struct fdit_moments *out);

/* |mean x - mean y|^2 - tr(Sx) / n - tr(Sy) / m: an unbiased estimate of the distance of the means, which
 * may be below 0. For few pictures: two of each are enough. */
enum fdit_status fdit_mean_distance(fdit_context *ctx, const struct fdit_points *x,
                                    const struct fdit_points *y, double *out);

#endif
