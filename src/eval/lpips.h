/* SPDX-License-Identifier: Apache-2.0
 * lpips.h: LPIPS 0.1, the distance of two pictures by what a network sees: AlexNet or VGG16 (torchvision's
 * weights, features.0.weight, ...) and the heads of the lpips package (lin0.model.1.weight, ...), in two
 * files or in one, as LPIPS().state_dict() has them (net.slice1.0.weight). Which network it is, the tensors
 * say; the sizes are theirs, so smaller networks of this structure do as well.
 *
 * d(a, b) = sum over 5 taps of the mean over pixels of sum_c head_c (f_a - f_b)^2, where f is a tap's picture
 * over the length of each pixel's channels plus 1e-10: a squared distance of two vectors of all taps. So the
 * mean over all pairs of a class needs only their sums, and no pair is visited. */
#ifndef FDIT_EVAL_LPIPS_H
#define FDIT_EVAL_LPIPS_H

#include "device/device.h"
#include "device/plan.h"

struct fdit_lpips;

/* For pictures of size x size. heads NULL: in the same file. A wrong file, or one that lacks a tensor, is
 * FDIT_ERROR_FORMAT with what was expected. fdit_lpips_prepare plans the memory, to keep to `memory` bytes of
 * the device (0: any number); fdit_lpips_load takes it and reads the numbers. */
enum fdit_status fdit_lpips_prepare(fdit_context *ctx, fdit_device *dev, const char *path, const char *heads,
                                    int size, size_t memory, struct fdit_lpips **out);
enum fdit_status fdit_lpips_load(fdit_context *ctx, struct fdit_lpips *net);
/* Adds what it takes to `plan`. */
enum fdit_status fdit_lpips_plan(fdit_context *ctx, const struct fdit_lpips *net, struct fdit_plan *plan);
enum fdit_status fdit_lpips_open(fdit_context *ctx, fdit_device *dev, const char *path, const char *heads,
                                 int size, struct fdit_lpips **out); /* both */
void fdit_lpips_close(struct fdit_lpips *net);                       /* before the device; NULL is allowed */
const char *fdit_lpips_name(const struct fdit_lpips *net);           /* "alex", "vgg" */
int fdit_lpips_size(const struct fdit_lpips *net);                   /* pixels of a side */
size_t fdit_lpips_width(const struct fdit_lpips *net);               /* numbers of a picture */
/* features [width] of a picture x [3, size, size], -1..1. */
enum fdit_status fdit_lpips_run(fdit_context *ctx, struct fdit_lpips *net, const float *x, float *features);
double fdit_lpips_distance(const struct fdit_lpips *net, const float *a, const float *b);

/* The mean distance of all pairs of pictures that are added one by one. */
struct fdit_lpips_spread {
    size_t n;
    float *first; /* [width]: differences from it lose no digits */
    double *sum;  /* [width] of differences */
    double squares;
};
enum fdit_status fdit_lpips_spread_new(fdit_context *ctx, const struct fdit_lpips *net,
                                       struct fdit_lpips_spread *out);
void fdit_lpips_spread_fini(struct fdit_lpips_spread *s);
void fdit_lpips_spread_add(const struct fdit_lpips *net, struct fdit_lpips_spread *s, const float *features);
double fdit_lpips_spread_mean(const struct fdit_lpips *net,
                              const struct fdit_lpips_spread *s); /* NaN: n < 2 */
void fdit_lpips_spread_clear(struct fdit_lpips_spread *s);        /* for another class */

#endif
