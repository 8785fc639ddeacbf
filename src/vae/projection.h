/* SPDX-License-Identifier: Apache-2.0
 * projection.h: what latents look like, without the decoder: a linear map from the L numbers of a cell to its
 * colour, fitted by least squares to pictures that were decoded anyway. A millisecond where the decoder takes
 * seconds; rough, but for pictures in the making that is enough (the maps that other programs have for single
 * autoencoders, "latent2rgb", are of this kind; this one fits itself to any).
 *
 *     struct fdit_projection *p = NULL;
 *     TRY(fdit_projection_new(ctx, &size, &p));
 *     fdit_projection_learn(p, x, picture);    // after each decoding
 *     if (fdit_projection_ready(p))
 *         fdit_projection_make(p, x, picture); // instead of one */
#ifndef FDIT_VAE_PROJECTION_H
#define FDIT_VAE_PROJECTION_H

#include "core/status.h"

struct fdit_projection;

/* Latents [latents, height, width], pictures [channels, height factor, width factor]. */
struct fdit_projection_size {
    int latents, channels, height, width, factor;
};

enum fdit_status fdit_projection_new(fdit_context *ctx, const struct fdit_projection_size *size,
                                     struct fdit_projection **out);
void fdit_projection_free(struct fdit_projection *p); /* NULL is allowed */
/* x was decoded to the picture, in about [-1, 1]: the map is fitted to the mean of each cell's pixels. What
 * was learnt before counts for half after each picture. Cells with a number that is not finite are left
 * out. */
void fdit_projection_learn(struct fdit_projection *p, const float *x, const float *picture);
bool fdit_projection_ready(const struct fdit_projection *p); /* it has learnt from a picture */
/* The colours of the cells, linear between their centres; all 0 before it is ready. */
void fdit_projection_make(struct fdit_projection *p, const float *x, float *picture);

#endif
