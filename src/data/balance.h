/* SPDX-License-Identifier: Apache-2.0
 * balance.h: the order of an epoch where classes are not drawn by the number of their pictures.
 *
 * Of E samples class c, of n_c pictures, gets E w_c / sum of w: w_c = n_c (none), its square root, or 1
 * (uniform). The shares are rounded by systematic sampling: sample j of 0 .. E-1 is of the class whose
 * part of [0, E) holds j + u, u in [0, 1) drawn for each epoch, so that every class gets its share rounded
 * down or up and in the mean exactly it. The pictures of a class follow in an order drawn for each epoch,
 * again from its beginning where there are fewer than samples; all samples are then shuffled. */
#ifndef FDIT_DATA_BALANCE_H
#define FDIT_DATA_BALANCE_H

#include "core/status.h"

enum fdit_balance { FDIT_BALANCE_NONE, FDIT_BALANCE_SQRT, FDIT_BALANCE_UNIFORM };

struct fdit_balanced;

/* labels [n] in 0 .. classes - 1, copied; n and E from 1 on. */
enum fdit_status fdit_balanced_new(fdit_context *ctx, const int32_t *labels, size_t n, size_t classes,
                                   enum fdit_balance balance, size_t samples, struct fdit_balanced **out);
void fdit_balanced_free(struct fdit_balanced *b); /* NULL is allowed */
/* items [E]: a place in `labels` for each sample of the epoch, a function of seed and epoch alone.
 * scratch [n]. May be called from several threads at once. */
void fdit_balanced_order(const struct fdit_balanced *b, uint64_t seed, uint64_t epoch, uint32_t *scratch,
                         uint32_t *items);
/* Bytes of one, for the memory plan; SIZE_MAX on overflow. */
size_t fdit_balanced_bytes(size_t n, size_t classes);

#endif
