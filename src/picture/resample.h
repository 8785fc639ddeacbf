/* SPDX-License-Identifier: Apache-2.0
 * resample.h: the separable filter of resize.h along one axis and along both, bit for bit as Pillow
 * has it: weights in 22-bit fixed point, x first, 8 bits between the passes. Others use resize.h.
 */
#ifndef FDIT_PICTURE_RESAMPLE_H
#define FDIT_PICTURE_RESAMPLE_H

#include "picture/resize.h"

enum { FDIT_WEIGHT_BITS = 22 };

/* Output o of lo..lo+n is the sum over k < taps[o - lo] of weights[(o - lo) max_taps + k] times
 * sample first[o - lo] + k. */
struct fdit_axis {
    int lo, n, max_taps;
    int *first, *taps;
    int32_t *weights;
    int16_t *split; /* the weights in two halves, in groups of four taps: see resample_x86.h */
};

/* Outputs lo..lo+n of an axis that goes from n_in to n_out samples. */
enum fdit_status fdit_axis_init(fdit_context *ctx, struct fdit_axis *a, enum fdit_filter filter, int n_in,
                                int n_out, int lo, int n);
void fdit_axis_fini(struct fdit_axis *a);
/* The samples lo..hi that outputs of the axis need. */
void fdit_axis_needs(const struct fdit_axis *a, int *lo, int *hi);

/* A part of a picture: pixels of columns x.. and rows y.. */
struct fdit_part {
    int width, x, y; /* columns that are there, and the picture's coordinates of the first pixel */
    const uint8_t *pixels;
    size_t row_bytes;
    int channels; /* 1 or 3 */
};

static inline const uint8_t *fdit_part_row(const struct fdit_part *p, int y)
{
    return p->pixels + (size_t)(y - p->y) * p->row_bytes;
}

/* out: [y->n][x->n][channels]. */
enum fdit_status fdit_resample(fdit_context *ctx, const struct fdit_part *in, const struct fdit_axis *x,
                               const struct fdit_axis *y, uint8_t *out);

enum { FDIT_RESAMPLE_SLACK = 16 };
/* One row of RGB along x: out [x->n][3] from `in`, whose first pixel is number x0; FDIT_RESAMPLE_SLACK
 * bytes behind it can be read. */
void fdit_resample_along(const struct fdit_axis *x, const uint8_t *in, int x0, uint8_t *out);
/* Output o - y->lo of the axis along y: n bytes from rows[0 .. taps). */
void fdit_resample_down(const struct fdit_axis *y, int o, const uint8_t *const *rows, size_t n, uint8_t *out);

/* Tests: the plain loops instead of those for the processor's vectors; the results are the same. */
void fdit_resample_plain(bool plain);

#endif
