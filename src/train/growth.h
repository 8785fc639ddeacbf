/* SPDX-License-Identifier: Apache-2.0
 * growth.h: a run that starts from a delta, and the classes that this one knows. */
#ifndef FDIT_TRAIN_GROWTH_H
#define FDIT_TRAIN_GROWTH_H

#include "data/taxonomy.h"

/* Whether a class or a rank of `old` (of the delta at path) is not one of `taxonomy`, so that its rows
 * would be lost. refuse: that is FDIT_ERROR_ARGUMENT, which says how many, the first, and the ways on; else
 * a warning. */
enum fdit_status fdit_growth_check(fdit_context *ctx, const char *path, const struct fdit_taxonomy *old,
                                   const struct fdit_taxonomy *taxonomy, bool refuse);

#endif
