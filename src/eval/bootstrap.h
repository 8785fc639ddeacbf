/* SPDX-License-Identifier: Apache-2.0
 * bootstrap.h: how far a number would move with other pictures of the same kind (Efron 1979): the pictures
 * are drawn again, with replacement, and the number is computed from each draw. */
#ifndef FDIT_EVAL_BOOTSTRAP_H
#define FDIT_EVAL_BOOTSTRAP_H

#include "core/status.h"

/* How often each of n pictures counts: weights [n, draws + 1], of which column 0 is 1 everywhere, so that a
 * function of weights gives the number itself first. Column b: picture j is taken for each j of
 * fdit_rng_below(seed, stream b, id = side, FDIT_RNG_EVAL). Free with fdit_free. */
enum fdit_status fdit_bootstrap_weights(fdit_context *ctx, uint64_t seed, uint32_t side, size_t n,
                                        size_t draws, float **weights);

struct fdit_error_bar {
    double error;     /* standard error: deviation of the draws, divisor draws - 1; NaN: fewer than two */
    double low, high; /* 2.5 and 97.5 % points, linear between the draws in order */
};
/* `values` [draws] is sorted; draws without a value, NaN, are left out. */
struct fdit_error_bar fdit_bootstrap_bar(double *values, size_t draws);
/* out [draws + 1]: means of value [n] under the weights. */
void fdit_bootstrap_means(const double *value, const float *weights, size_t n, size_t draws, double *out);

#endif
