/* SPDX-License-Identifier: Apache-2.0
 * report.h: what `eval` found as one page of HTML that needs nothing else: numbers with error bars, charts,
 * tables by rank, the best and the worst classes beside real pictures, the closest pairs. */
#ifndef FDIT_EVAL_REPORT_H
#define FDIT_EVAL_REPORT_H

#include "eval/evaluate.h"

/* Pictures are read again, or drawn again, for what is shown; sets out of feature files have none. The same
 * result gives the same bytes. */
enum fdit_status fdit_eval_report(fdit_context *ctx, const struct fdit_eval_result *r,
                                  const struct fdit_picture_rules *rules, const char *path);

#endif
