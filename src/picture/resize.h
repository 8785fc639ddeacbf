/* SPDX-License-Identifier: Apache-2.0
 * resize.h: from a picture of any size to the square a model sees, and from numbers back to a picture.
 *
 * Resampling is Pillow's, bit for bit: a separable filter, stretched when shrinking, weights in 22-bit
 * fixed point, along x first, 8 bits between the passes. Pillow 12.2 began to round otherwise in places
 * (off by one); this is what all earlier versions do. */
#ifndef FDIT_PICTURE_RESIZE_H
#define FDIT_PICTURE_RESIZE_H

#include "picture/picture.h"

enum fdit_filter { FDIT_FILTER_BOX, FDIT_FILTER_BICUBIC /* a = -0.5 */ };

/* The whole picture at width x height; `out` must not be `in`. */
enum fdit_status fdit_picture_resize(fdit_context *ctx, const struct fdit_picture *in,
                                     enum fdit_filter filter, int width, int height,
                                     struct fdit_picture *out);

/* While min(side) >= 2 size: both sides halved (rounded down) with the box filter; then bicubic to
 * size / min(side), both sides rounded half to even; then the middle size x size, offsets rounded
 * down. Only pixels that reach the result are computed. Small pictures are enlarged. */
enum fdit_status fdit_picture_crop(fdit_context *ctx, const struct fdit_picture *in, int size,
                                   struct fdit_picture *out);

/* The whole picture inside size x size: the same steps for the long side, the short side rounded half
 * to even and at least 1; placed in the middle (offsets rounded down). The rest is filled with one
 * colour, the mean of the scaled picture's outermost pixels: it continues a plain background, and
 * unlike copied edge pixels it draws no streaks that a model would learn. */
enum fdit_status fdit_picture_pad(fdit_context *ctx, const struct fdit_picture *in, int size,
                                  struct fdit_picture *out);

void fdit_picture_mirror(struct fdit_picture *p); /* left and right change places */
/* RGB to one channel, (19595 R + 38470 G + 7471 B + 32768) >> 16, in place. Grey stays. */
void fdit_picture_grey(struct fdit_picture *p);

/* out [channels, height, width] = (v / 255 - 0.5) / 0.5, each operation in float32. */
void fdit_picture_to_f32(const struct fdit_picture *p, float *out);

#endif
