/* SPDX-License-Identifier: Apache-2.0
 * mmd.h: squared maximum mean discrepancies of two sets of features, the mean kernel value within each set
 * minus twice that across (Gretton et al. 2012, "A kernel two-sample test").
 *
 *   KID    k = (x.y / d + 1)^3, without a vector's pair with itself: unbiased, so it is 0 on average for sets
 *          of one source however small they are, and may be below 0 (Binkowski et al. 2018, "Demystifying
 *          MMD GANs")
 *   CMMD   k = exp(-|x - y|^2 / (2 sigma^2)) of vectors scaled to length 1, with those pairs, times 1000
 *          (Jayasumana et al. 2024, "Rethinking FID"; sigma 10, and features of CLIP) */
#ifndef FDIT_EVAL_MMD_H
#define FDIT_EVAL_MMD_H

#include "eval/bootstrap.h"
#include "eval/pairs.h"

enum fdit_kernel { FDIT_KERNEL_CUBIC, FDIT_KERNEL_GAUSSIAN };

struct fdit_mmd {
    enum fdit_kernel kernel;
    double sigma; /* Gaussian */
    bool biased;  /* a vector's pair with itself counts */
    double scale; /* the result is times this */
};
struct fdit_mmd fdit_mmd_kid(void);
struct fdit_mmd fdit_mmd_cmmd(void);

/* out [draws + 1]: of all pictures, each pair once; then of the draws. Weights as of fdit_bootstrap_weights
 * (a picture is never paired with its own copy, unless biased); NULL with draws 0. Two of each at least.
 * Memory does not grow with the number of pairs. */
enum fdit_status fdit_mmd_compute(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_mmd *mmd,
                                  const struct fdit_points *x, const struct fdit_points *y,
                                  const float *weights_x, const float *weights_y, size_t draws, double *out);

/* Mean and deviation (divisor `subsets`) over subsets of `size` pictures of each side, as KID is published.
 * picks_x [subsets, size]: which pictures. */
enum fdit_status fdit_mmd_subsets(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_mmd *mmd,
                                  const struct fdit_points *x, const struct fdit_points *y, size_t subsets,
                                  size_t size, const uint32_t *picks_x, const uint32_t *picks_y, double *mean,
                                  double *deviation);
/* Subsets of `size` of n and of m pictures without repeats, those that torch-fidelity takes of its first and
 * of its second set with the seed 2020 + `seed`. Free both with fdit_free. */
enum fdit_status fdit_mmd_picks(fdit_context *ctx, uint64_t seed, size_t n, size_t m, size_t subsets,
                                size_t size, uint32_t **first, uint32_t **second);
/* The order in which torch-fidelity shuffles n pictures, likewise. */
enum fdit_status fdit_mmd_order(fdit_context *ctx, uint64_t seed, size_t n, uint32_t **out);

#endif
