/* SPDX-License-Identifier: Apache-2.0
 * studio.h: loaded models and the queue of what clients want drawn. One thread draws; batches are filled from
 * several orders of the same options, and orders of other options take turns, so that a short one does not
 * wait for the whole of a long one.
 *
 *     struct fdit_studio *s = NULL;
 *     TRY(fdit_studio_open(ctx, &devices, &options, picture_bytes, &s)); // files
 *     TRY(fdit_studio_plan(ctx, s, 0));                   // no weights yet
 *     TRY(fdit_studio_start(ctx, s));                     // weights, and the thread
 *     ... fdit_studio_order, fdit_studio_picture, ... from any thread
 *     if (!fdit_studio_stop(s, 4))                        // it still works on a step
 *         _exit(code);
 *     fdit_studio_close(s); */
#ifndef FDIT_SERVE_STUDIO_H
#define FDIT_SERVE_STUDIO_H

#include "sample/painter.h"
#include "serve/order.h"

enum {
    FDIT_STUDIO_MOST_ORDERS = 64,  /* that wait or are drawn */
    FDIT_STUDIO_KEPT_ORDERS = 256, /* with those that are over; what ended first is forgotten first */
};

struct fdit_studio;

/* Opens base, deltas (o->deltas, each a model beside the base) and autoencoder. Files of pictures take
 * picture_bytes at the most. Without an autoencoder for a model on latents: FDIT_ERROR_ARGUMENT. ctx, devices
 * and texts of o must outlive it. */
enum fdit_status fdit_studio_open(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_options *o, size_t picture_bytes,
                                  struct fdit_studio **out);
/* Plans all models together with the pictures that are kept, a contact sheet in the making, `reading` bytes
 * for real pictures that are read, and what the process holds at this moment: so after all else that it will
 * hold. Without a batch in the options it is the largest sensible one with which
 * the models fit beside each other. FDIT_ERROR_DEVICE where they do not. */
enum fdit_status fdit_studio_plan(fdit_context *ctx, struct fdit_studio *s, size_t reading);
/* Reads the weights, with a phase (core/phase.h), and begins to draw what is ordered. */
enum fdit_status fdit_studio_start(fdit_context *ctx, struct fdit_studio *s);
/* Drops the queue and stops between two steps. False: a step takes longer than so many seconds; then
 * nothing of the studio may be freed. */
bool fdit_studio_stop(struct fdit_studio *s, double seconds);
bool fdit_studio_stopping(struct fdit_studio *s);
void fdit_studio_close(struct fdit_studio *s); /* after fdit_studio_stop; NULL is allowed */

int fdit_studio_models(const struct fdit_studio *s); /* the deltas, or 1: the base */
const struct fdit_order_model *fdit_studio_model(const struct fdit_studio *s, int model);
/* Of device i; that of the first has what is on the host. */
const struct fdit_plan *fdit_studio_plan_of(const struct fdit_studio *s, int i);
int fdit_studio_round(const struct fdit_studio *s); /* pictures at once */

/* ---- from any thread; an order that is not there is FDIT_ERROR_ARGUMENT */

/* Queues what the JSON asks for (order.h, and "delta": number of the model) and puts the order's answer.
 * FDIT_ERROR_UNSUPPORTED when the queue is full, or its pictures could take more than picture_bytes. */
enum fdit_status fdit_studio_order(fdit_context *ctx, struct fdit_studio *s, const json_t *asked,
                                   struct fdit_json *answer);
enum fdit_status fdit_studio_cancel(fdit_context *ctx, struct fdit_studio *s, int64_t id);
/* All orders that are known, the newest first, into a list. */
void fdit_studio_put_orders(struct fdit_studio *s, struct fdit_json *b, json_t *list);
/* One with its pictures: class, name, seed, and whether each is done; and the command that draws the same. */
enum fdit_status fdit_studio_put_order(fdit_context *ctx, struct fdit_studio *s, int64_t id,
                                       struct fdit_json *b);
/* The file of picture p, the very bytes of `sample`; one that is not drawn is FDIT_ERROR_ARGUMENT. Free with
 * fdit_free. `name`: for the user's disk. */
enum fdit_status fdit_studio_picture(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t p,
                                     char **bytes, size_t *n, char name[96]);
/* How picture p looks after the step at hand, as PNG; asks for it, and waits a second at the most. *bytes
 * NULL: nothing yet. Pictures in the making are looked at now and then, so that drawing takes 2 % longer at
 * the most. */
enum fdit_status fdit_studio_preview(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t p,
                                     char **bytes, size_t *n);
/* Page `page` from 0 of the contact sheet that `sample --grid` makes, of pictures that are all done: an open
 * file without a name, of n bytes, the caller's to close. Waits for another one in the making: the plan has
 * room for one. FDIT_INTERRUPTED when the studio stops meanwhile. */
enum fdit_status fdit_studio_sheet(fdit_context *ctx, struct fdit_studio *s, int64_t id, int64_t page,
                                   int *file, size_t *n);
/* Waits up to a second until something was told after *seen; then puts the order that was told of next, and
 * *seen becomes that. False: nothing. */
bool fdit_studio_next(struct fdit_studio *s, uint64_t *seen, struct fdit_json *b);
uint64_t fdit_studio_now(struct fdit_studio *s); /* what was told last */

#endif
