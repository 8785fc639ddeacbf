/* SPDX-License-Identifier: Apache-2.0
 * split.h: pictures for training and for validation. */
#ifndef FDIT_DATA_SPLIT_H
#define FDIT_DATA_SPLIT_H

#include "core/status.h"

/* A split that depends on (first, fraction, seed) only; pictures of class c are first[c] .. first[c
 * + 1] - 1. A class gives round(fraction (first + n)) - round(fraction first) of its n, so rounding
 * errors do not add up over the classes, but never its last one; which, is the order that (seed,
 * FDIT_RNG_SPLIT, stream = class id) gives. Both lists ascend; both from fdit_alloc. fraction in
 * (0, 1); no picture for validation: FDIT_ERROR_ARGUMENT. `name` is for messages. */
enum fdit_status fdit_split(fdit_context *ctx, const char *name, const size_t *first, size_t classes,
                            double fraction, uint64_t seed, uint32_t **train, size_t *n_train,
                            uint32_t **validation, size_t *n_validation);

#endif
