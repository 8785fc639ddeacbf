/* SPDX-License-Identifier: Apache-2.0
 * pairs.h: sets of feature vectors, and a pass over all pairs of two sets.
 *
 * All sums are of doubles, in an order that neither the number of threads nor chance decides: the numbers of
 * src/eval have the same bits on any number of threads. */
#ifndef FDIT_EVAL_PAIRS_H
#define FDIT_EVAL_PAIRS_H

#include "core/pool.h"
#include "core/status.h"

/* n feature vectors of d numbers each, row after row. */
struct fdit_points {
    size_t n, d;
    const float *x; /* [n, d] */
};

/* FDIT_ERROR_NUMERIC for the first vector with a NaN or an infinity; `name` begins the message. */
enum fdit_status fdit_points_check_finite(fdit_context *ctx, const char *name, const struct fdit_points *p);
/* FDIT_ERROR_ARGUMENT unless both have the same width and at least `least` vectors. */
enum fdit_status fdit_points_check_pair(fdit_context *ctx, const char *what, const struct fdit_points *x,
                                        const struct fdit_points *y, size_t least);

enum fdit_pair_value {
    FDIT_PAIR_PRODUCT,  /* sum_k x_ik y_jk */
    FDIT_PAIR_DISTANCE, /* sum_k (x_ik - y_jk)^2: from differences, so that copies are at exactly 0 */
};

enum { FDIT_PAIR_COLUMNS = 16, FDIT_PAIR_ROWS = 32 };

/* value[c], c < n <= FDIT_PAIR_COLUMNS, belongs to x_i and y_(j + c). All calls of one i come from one thread
 * with rising j; those of FDIT_PAIR_ROWS rows (i / FDIT_PAIR_ROWS equal) come from one thread, too, in an
 * order that does not depend on chance. */
typedef void (*fdit_pair_fn)(void *job, size_t i, size_t j, size_t n, const double *value);

/* pool NULL: the caller alone. A phase `name` of x->n steps; FDIT_INTERRUPTED when ctx is asked to stop. */
enum fdit_status fdit_pairs_run(fdit_context *ctx, struct fdit_pool *pool, const char *name,
                                const struct fdit_points *x, const struct fdit_points *y,
                                enum fdit_pair_value kind, fdit_pair_fn fn, void *job);

/* fdit_pool_run, or all pieces by the caller where pool is NULL. */
void fdit_eval_share(struct fdit_pool *pool, size_t n, fdit_pool_fn fn, void *job);

#endif
