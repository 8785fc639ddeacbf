/* SPDX-License-Identifier: Apache-2.0
 * groups.h: the columns of the classes, by head, middle and tail of the real pictures and by the groups of
 * each rank: plain means over the classes.
 *
 *     for (int32_t rank = fdit_eval_first_rank(r); rank < fdit_eval_ranks(r); rank++) {
 *         struct fdit_eval_groups g = { 0 };
 *         TRY(fdit_eval_groups_make(ctx, r, rank, &g));
 *         ... fdit_eval_group_name(r, &g, i), fdit_eval_group_mean(&g, FDIT_CLASS_KID, i) ...
 *         fdit_eval_groups_fini(&g);
 *     } */
#ifndef FDIT_EVAL_GROUPS_H
#define FDIT_EVAL_GROUPS_H

#include "eval/evaluate.h"

struct fdit_eval_groups {
    int32_t rank; /* -1: head, middle, tail */
    const char *title;
    size_t n;
    size_t *classes; /* [n] classes in it */
    double *means;   /* [FDIT_CLASS_COLUMNS, n]; NaN: of no class known */
};

/* -1 where classes are counted by real pictures, else 0. */
int32_t fdit_eval_first_rank(const struct fdit_eval_result *r);
/* Behind the last rank; without classes as many as fdit_eval_first_rank. */
int32_t fdit_eval_ranks(const struct fdit_eval_result *r);
enum fdit_status fdit_eval_groups_make(fdit_context *ctx, const struct fdit_eval_result *r, int32_t rank,
                                       struct fdit_eval_groups *out);
void fdit_eval_groups_fini(struct fdit_eval_groups *g);
const char *fdit_eval_group_name(const struct fdit_eval_result *r, const struct fdit_eval_groups *g,
                                 size_t i);
double fdit_eval_group_mean(const struct fdit_eval_groups *g, enum fdit_class_column column, size_t i);
/* Whether any column of classes was computed. */
bool fdit_eval_has_columns(const struct fdit_eval_result *r);

#endif
