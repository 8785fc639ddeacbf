/* SPDX-License-Identifier: Apache-2.0
 * lr_range.h: a learning-rate range test (Smith, arXiv 1506.01186): the rate rises from step to step by the
 * same factor, and the smoothed loss shows where it is lowest and where it rises above its beginning. */
#ifndef FDIT_TRAIN_LR_RANGE_H
#define FDIT_TRAIN_LR_RANGE_H

#include "train/options.h"

struct fdit_lr_point {
    double lr, loss, smooth; /* smooth: mean of the losses around it, weights falling by a factor a step */
};
struct fdit_lr_range {
    struct fdit_lr_point *points;
    size_t n, capacity;
    double decay; /* of those weights */
    bool over;    /* the loss left the range that means something: no more steps are wanted */
};

/* Rates; 0: there is none. The losses of the first fifth of the steps, when the rate is too low to do
 * anything, say where the loss begins and how far it scatters. */
struct fdit_lr_found {
    size_t n;        /* steps; 0: there was no test */
    double lowest;   /* the smoothed loss is lowest, and lower than it began by more than its scatter */
    double rises;    /* from here on it is above where it began, to the end */
    double proposed; /* a tenth of `lowest`, else a tenth of `rises` */
};

/* For `steps` steps: the smoothing reaches over a twentieth of them. */
void fdit_lr_range_init(struct fdit_lr_range *r, int64_t steps);
void fdit_lr_range_fini(struct fdit_lr_range *r);
/* The rate of step n from 1 of `total`: low (high/low)^((n-1)/(total-1)). */
double fdit_lr_range_rate(double low, double high, int64_t n, int64_t total);
/* A step's loss. The test is over when the loss is not finite, or when, after a tenth of the steps, the mean
 * of the last ones is four times that of the first. */
enum fdit_status fdit_lr_range_add(fdit_context *ctx, struct fdit_lr_range *r, int64_t steps, double lr,
                                   double loss);
/* Of all steps; fills in `smooth`. */
struct fdit_lr_found fdit_lr_range_find(struct fdit_lr_range *r);
/* FOLDER/lr-range.tsv (lr, loss, smoothed), lr-range.svg and lr-range.png. */
enum fdit_status fdit_lr_range_write(fdit_context *ctx, struct fdit_lr_range *r, const char *folder);

#endif
