/* SPDX-License-Identifier: Apache-2.0
 * neighbours.h: numbers from the nearest neighbours of features. A picture's ball reaches to its k-th other
 * neighbour in its own set.
 *
 *   precision, recall    Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing
 *                        generative models": the share of generated pictures in a real picture's ball, and
 *                        of real ones in a generated picture's; k = 3, "<="
 *   density, coverage    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models":
 *                        real balls around a generated picture over k; real pictures whose nearest generated
 *                        one lies in their ball; k = 5, "<"
 *   authenticity         Alaa et al. 2022, "How faithful is your synthetic data?": the share of generated
 *                        pictures that lie farther from their nearest real one than that one lies from
 *                        another real one. Copies lower it; about one half is what fresh pictures have
 *   nearest              the nearest real picture of each generated one: distance and pair */
#ifndef FDIT_EVAL_NEIGHBOURS_H
#define FDIT_EVAL_NEIGHBOURS_H

#include "eval/pairs.h"

/* Each value [m] or [n] is one picture's part in the mean over its set. */
struct fdit_neighbours {
    size_t n, m;       /* real, generated */
    double *precision; /* [m] 0 or 1 */
    double *recall;    /* [n] 0 or 1 */
    double *density;   /* [m] */
    double *coverage;  /* [n] 0 or 1 */
    double *authentic; /* [m] 0 or 1 */
    size_t *nearest;   /* [m] real picture */
    double *distance;  /* [m] to it */
    double *own;       /* [n] distance to the nearest other real picture */
};

/* More than k pictures of each are needed. strict: "<" in place of "<=". Memory grows with n + m. */
enum fdit_status fdit_neighbours_find(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                      const struct fdit_points *y, int k, bool strict,
                                      struct fdit_neighbours *out);
void fdit_neighbours_fini(struct fdit_neighbours *n);

#endif
