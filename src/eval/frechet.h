/* SPDX-License-Identifier: Apache-2.0
 * frechet.h: the Frechet distance of two Gaussians, FID when the features are Inception's (Heusel et al.
 * 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium"):
 *
 *     |mx - my|^2 + tr Sx + tr Sy - 2 tr sqrt(Sx Sy)
 *
 * tr sqrt(Sx Sy) is the sum of the singular values of Ax^T Ay for any Ax Ax^T = Sx, Ay Ay^T = Sy, here
 * Cholesky factors with pivots. That is right for singular covariances too, of which the usual matrix root is
 * not even defined, and loses no digits to a root of a rounding error. */
#ifndef FDIT_EVAL_FRECHET_H
#define FDIT_EVAL_FRECHET_H

#include "eval/statistics.h"

/* It needs LAPACK (eval/lapack.h). Where that is not available the functions fail with
 * FDIT_ERROR_UNSUPPORTED, but for two sets with the same moments, which are at 0. */

/* What fdit_frechet allocates for covariances of n and m pictures (0: not known) with d features: their
 * factors, one row for each dimension that is not empty, and the product of the two. */
size_t fdit_frechet_bytes(uint64_t n, uint64_t m, size_t d);
enum fdit_status fdit_frechet(fdit_context *ctx, const struct fdit_moments *x, const struct fdit_moments *y,
                              double *out);
/* Of features in memory: the same number, for fewer pictures than features from a matrix [n, m] alone. */
enum fdit_status fdit_frechet_points(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                     const struct fdit_points *y, double *out);

/* The distance extrapolated to infinitely many pictures (Chong and Forsyth 2020, "Effectively unbiased FID
 * and Inception score and where to find them"): distances of the first sizes[i] of y in this order, values
 * [n], and the straight line through them over 1 / size by least squares, *out its value at 0. Two different
 * sizes of at least two pictures, at most y->n. order [y->n]: which picture stands where. */
enum fdit_status fdit_frechet_infinity(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                       const struct fdit_points *y, const uint32_t *order,
                                       const size_t *sizes, size_t n, double *values, double *out);

#endif
