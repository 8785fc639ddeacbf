/* SPDX-License-Identifier: Apache-2.0
 * overlap.h: a micro-batch's gradients on their way to the other processes while the backward pass computes
 * the rest. Each device's gradients are read into its vector as soon as they are final, a group after another
 * (vector_layout.h); a thread of its own hands every piece that all devices of this process have to the
 * exchange. It makes the calls in the order of the pieces, as all processes do, and nobody else calls the
 * exchange meanwhile; so bits and deadlines are those of an exchange after the pass, as it is made where
 * there is nothing to overlap with (exchange.h, behind).
 *
 *     for each micro-batch:
 *         fdit_overlap_begin(o, begins, ends);
 *         on each device, at the same time:
 *             fdit_overlap_watch(ctx, o, i);  ... forward, backward ...
 *             TRY(fdit_overlap_watched(o, i));
 *         TRY(fdit_overlap_end(ctx, o, status of all that)); */
#ifndef FDIT_TRAIN_OVERLAP_H
#define FDIT_TRAIN_OVERLAP_H

#include "train/exchange.h"
#include "train/vector_layout.h"

struct fdit_overlap;

/* Of models [x->count], whose gradients go into vectors [x->count]; x has an `add` and was cut as the layout
 * is. All of them must outlive it. */
enum fdit_status fdit_overlap_new(fdit_context *ctx, struct fdit_exchange *x,
                                  const struct fdit_vector_layout *layout, struct fdit_model *const *models,
                                  float *const *vectors, struct fdit_overlap **out);
void fdit_overlap_free(struct fdit_overlap *o); /* NULL is allowed */

/* A micro-batch begins: the first of its step (begins), the last of it (ends): then its pieces are summed up
 * into vectors[0] of the process with member 0, too. */
void fdit_overlap_begin(struct fdit_overlap *o, bool begins, bool ends);
/* Around the pass of local device i, in the thread that makes it. `watched` waits for the last of its
 * numbers. */
void fdit_overlap_watch(fdit_context *ctx, struct fdit_overlap *o, int i);
enum fdit_status fdit_overlap_watched(struct fdit_overlap *o, int i);
/* Returns when all pieces are exchanged; own: how the passes of this process fared. Where one failed, what is
 * on its way is waited for, and no other piece follows. */
enum fdit_status fdit_overlap_end(fdit_context *ctx, struct fdit_overlap *o, enum fdit_status own);

#endif
