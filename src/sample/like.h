/* SPDX-License-Identifier: Apache-2.0
 * like.h: what a picture says of how it was drawn (caption.h), to draw it again: `sample --like PICTURE`.
 *
 *     struct fdit_like like;
 *     TRY(fdit_like_read(ctx, path, &like));
 *     TRY(fdit_like_apply(ctx, &like, &options)); // its class, seed and options in the place of those
 *     ... weights are open ... TRY(fdit_like_compare(ctx, &like, &identity));
 *     fdit_like_fini(&like); // after the options were used: they point into it */
#ifndef FDIT_SAMPLE_LIKE_H
#define FDIT_SAMPLE_LIKE_H

#include "sample/identity.h"

#include <jansson.h>

struct fdit_like {
    const char *path;
    json_t *text; /* the caption: class, id, seed, weights, run, options */
    uint32_t width, height;
    char class_id[16]; /* "#5" */
};

/* FDIT_ERROR_FORMAT for a file that is not a whole PNG picture of this program. `path` must outlive it. */
enum fdit_status fdit_like_read(fdit_context *ctx, const char *path, struct fdit_like *out);
void fdit_like_fini(struct fdit_like *like); /* an all-zero one is allowed */
/* Weights, autoencoder, device, precision and where the result goes stay as they are in `o`. */
enum fdit_status fdit_like_apply(fdit_context *ctx, const struct fdit_like *like,
                                 struct fdit_sample_options *o);
/* FDIT_ERROR_ARGUMENT that names what is not as it was: weights by their hash, an option, or else classes,
 * autoencoder or weights of the guide. */
enum fdit_status fdit_like_compare(fdit_context *ctx, const struct fdit_like *like,
                                   const struct fdit_identity *id);

#endif
