/* SPDX-License-Identifier: Apache-2.0
 * taps.h: separable cubic filters of one axis as weights in double, for pictures of floats and for tables of
 * positions. Those of 8-bit pictures, in fixed point, are resample.h's. */
#ifndef FDIT_PICTURE_TAPS_H
#define FDIT_PICTURE_TAPS_H

#include "core/status.h"

/* Output o is the sum over k < count[o] of weight[o most + k] times sample index[o most + k]. */
struct fdit_taps {
    int n, most;
    int *count;     /* [n] */
    int *index;     /* [n, most] */
    double *weight; /* [n, most] */
};
void fdit_taps_fini(struct fdit_taps *t);

/* Pillow's bicubic, a = -0.5: centres at (o + 0.5) n_in / n_out, widened when shrinking, weights that add up
 * to 1. torch's bicubic with antialias is the same. */
enum fdit_status fdit_taps_antialias(fdit_context *ctx, int n_in, int n_out, struct fdit_taps *out);

/* torch's bicubic without antialias, a = -0.75: four taps around (o + 0.5) step - 0.5, whatever the step;
 * samples beyond the edge are those at the edge. */
enum fdit_status fdit_taps_cubic(fdit_context *ctx, int n_in, int n_out, double step, struct fdit_taps *out);

#endif
