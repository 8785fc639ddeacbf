/* SPDX-License-Identifier: Apache-2.0
 * reuse.h: which steps of a sampler compute the blocks' branches (attention and MLP), and from what the
 * others take them: the results of the last full step (FORA, arXiv 2407.01425), or their Taylor polynomial
 * in the number of the step, from differences of the last full ones (TaylorSeer, arXiv 2503.06923). */
#ifndef FDIT_SAMPLE_REUSE_H
#define FDIT_SAMPLE_REUSE_H

#include "model/model.h"

/* Which steps are full, of steps numbered n - 1 down to 0; every N-th after the last full one in all but
 * fora. */
enum fdit_reuse_full {
    FDIT_REUSE_ENDS,   /* the first two and the last */
    FDIT_REUSE_TAYLOR, /* the first two; as TaylorSeer's program */
    FDIT_REUSE_FORA,   /* the first, and those whose number N divides; as FORA's program */
};

struct fdit_reuse_options {
    int interval;              /* N; 0 or 1: every step is full */
    int order;                 /* of the polynomial: 0 to FDIT_MOST_BRANCHES - 1 */
    enum fdit_reuse_full full; /* */
};

/* The state of a run. */
struct fdit_reuse {
    struct fdit_reuse_options options;
    int steps;
    int full[FDIT_MOST_BRANCHES];  /* numbers of the last full steps, the newest first */
    int place[FDIT_MOST_BRANCHES]; /* where their results are */
    int known, since;              /* how many of them; steps since the newest */
};

/* What fdit_model_options.kept_branches must be. */
int fdit_reuse_kept(const struct fdit_reuse_options *options);
void fdit_reuse_begin(struct fdit_reuse *r, const struct fdit_reuse_options *options, int steps);
/* Step k = 0, 1, ...; `anew`: what was kept is of no use, as when guidance sets in, so that the step is full
 * and the order grows again from 0. Returns whether the step is full, and in *use what the pass does. The
 * polynomial of order j needs j + 1 full steps; in Newton's form its value at number i is F0 + F1 (i - i0) +
 * F2 (i - i0)^2 / 2, where F1 = (v0 - v1) / (i0 - i1) and F2 = (F1 - F1 of the full step before) / (i0 -
 * i1). */
bool fdit_reuse_step(struct fdit_reuse *r, int k, bool anew, struct fdit_branch_use *use);

#endif
