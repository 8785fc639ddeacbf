/* SPDX-License-Identifier: Apache-2.0
 * series.h: the same numbers of several checkpoints, as a page with a chart over the steps for each. */
#ifndef FDIT_EVAL_SERIES_H
#define FDIT_EVAL_SERIES_H

#include "eval/evaluate.h"

struct fdit_eval_point {
    int64_t step;
    const char *name; /* of the checkpoint */
    struct fdit_eval_value values[FDIT_EVAL_VALUES];
    size_t n;
};

/* Points in the order of their steps. real: what they were compared with; NULL: nothing. */
enum fdit_status fdit_eval_series_report(fdit_context *ctx, const struct fdit_eval_point *points, size_t n,
                                         const char *real, const char *path);

#endif
