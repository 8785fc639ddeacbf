/* SPDX-License-Identifier: Apache-2.0
 * drawer.h: the pictures of a sampling job one after the other, in the order of its list and without files:
 * what `sample` with these options writes, to the bit.
 *
 *     struct fdit_drawer *d = NULL;
 *     TRY(fdit_drawer_open(ctx, &devices, &options, NULL, NULL, &d));
 *     const struct fdit_drawing *pictures = fdit_drawer_drawing(d);
 *     TRY(pictures->load(ctx, pictures->self));
 *     TRY(pictures->picture(ctx, pictures->self, 0, pictures->n, &picture));
 * out:
 *     fdit_drawer_close(d); */
#ifndef FDIT_SAMPLE_DRAWER_H
#define FDIT_SAMPLE_DRAWER_H

#include "eval/drawing.h"
#include "sample/options.h"

struct fdit_drawer;

/* Called while pictures are drawn: `drawing` of them are after `step` of `steps`. */
typedef void (*fdit_drawer_step_fn)(void *user, size_t drawing, int step, int steps);

/* Opens the model, which the drawing's `load` reads; of the options all that say which pictures and how
 * count, none that say where to. The devices, which share the work, must outlive the drawer. A model on
 * latents without an autoencoder is FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_drawer_open(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_options *options, fdit_drawer_step_fn on_step,
                                  void *user, struct fdit_drawer **out);
void fdit_drawer_close(struct fdit_drawer *d); /* before the device; NULL is allowed */
const struct fdit_drawing *fdit_drawer_drawing(const struct fdit_drawer *d);
/* "ddim in 50 steps, guide superclass:genus, w = 2", for people. */
const char *fdit_drawer_how(const struct fdit_drawer *d);

#endif
