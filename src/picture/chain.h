/* SPDX-License-Identifier: Apache-2.0
 * chain.h: the steps from a picture to its square, for resize.c (a picture in memory) and fit.c
 * (rows as they are decoded). Others use resize.h and fit.h. */
#ifndef FDIT_PICTURE_CHAIN_H
#define FDIT_PICTURE_CHAIN_H

#include "picture/resample.h"

enum { FDIT_CHAIN_HALVINGS = 28 /* of 2^28 pixels in a row */ };

/* One step from a picture of in_w x in_h to out_w x out_h, of which columns x.lo..x.lo+x.n and rows
 * y.lo..y.lo+y.n are made. */
struct fdit_chain_step {
    int in_w, in_h, out_w, out_h;
    struct fdit_axis x, y;
    bool even; /* a halving of even sides */
};

/* Halvings, and the bicubic step as the last. */
struct fdit_chain {
    struct fdit_chain_step steps[FDIT_CHAIN_HALVINGS + 1];
    int n;
};

/* The steps for w x h pixels and a square of `size`, as fdit_picture_crop or (pad) fdit_picture_pad
 * says; each makes only what the next one needs. name stands in messages. FDIT_ERROR_FORMAT: too
 * narrow. End with fdit_chain_fini in any case. */
enum fdit_status fdit_chain_init(fdit_context *ctx, struct fdit_chain *c, const char *name, int w, int h,
                                 int size, bool pad);
/* Only whether they are possible, without taking memory. */
enum fdit_status fdit_chain_check(fdit_context *ctx, const char *name, int w, int h, int size, bool pad);
void fdit_chain_fini(struct fdit_chain *c);
/* pad: places the scaled picture `in` [h][w][channels] into the square `out`. */
void fdit_chain_place(const uint8_t *in, int w, int h, struct fdit_picture *out);
enum fdit_status fdit_chain_check_size(fdit_context *ctx, int size);

/* Two rows of 2 n pixels of c channels become one of n, along x first; turned: along y first. */
void fdit_halve_rows(const uint8_t *a, const uint8_t *b, int n, int c, bool turned, uint8_t *out);

#endif
