/* SPDX-License-Identifier: Apache-2.0
 * resize_float.h: resizing to floats as the programs do that measure pictures. They differ, and so do the
 * numbers they publish: which one it was belongs in a result's name.
 *
 *   TORCH    bilinear between the two nearest pixels on each axis, at (o + 0.5) n / m - 0.5, cut at 0:
 *            torch's, with align_corners false and without antialias
 *   TF1      the same at o n / m: TensorFlow's until version 1
 *   PILLOW   Pillow's bicubic of a channel of floats: widened when shrinking, along x first, float32
 *            between the passes, nothing rounded to bytes; then cut to 0..255
 *
 * The positions of the bilinear ones are computed in float32, as there. An axis that has the right length is
 * left as it is. Pillow's bicubic of bytes is fdit_picture_resize. */
#ifndef FDIT_PICTURE_RESIZE_FLOAT_H
#define FDIT_PICTURE_RESIZE_FLOAT_H

#include "picture/picture_probe.h"

enum fdit_float_filter { FDIT_FLOAT_TORCH, FDIT_FLOAT_TF1, FDIT_FLOAT_PILLOW };

/* out [channels, height, width], values 0..255 over `divisor`. The bilinear ones divide the bytes, as
 * pytorch-fid does, Pillow's the result. `in` has 1 or 3 channels, width and height are at least 1. */
enum fdit_status fdit_picture_resize_float(fdit_context *ctx, const struct fdit_picture *in,
                                           enum fdit_float_filter filter, float divisor, int width,
                                           int height, float *out);
/* Bytes that decoding a whole picture with these headers and one such resize, or one of its bytes, to
 * size x size take at the most; SIZE_MAX on overflow. */
size_t fdit_picture_whole_bytes(const struct fdit_picture_probe *p, int size);

#endif
