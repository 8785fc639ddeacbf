/* SPDX-License-Identifier: Apache-2.0
 * schedule.h: the noise process and the fixed embeddings, in float64 on the host.
 *
 * Linear betas 1e-4 .. 0.02 over 1000 steps (Ho, Jain, Abbeel: DDPM, arXiv 2006.11239); respacing
 * and learned variances as in improved DDPM (Nichol, Dhariwal, arXiv 2102.09672). */
#ifndef FDIT_DIFFUSION_SCHEDULE_H
#define FDIT_DIFFUSION_SCHEDULE_H

#include "device/device.h"

#define FDIT_TRAIN_STEPS 1000
#define FDIT_TIME_FEATURES 256

/* Index i = 0 .. steps-1 counts kept steps, 0 being the least noisy; the network is told t[i]. */
struct fdit_schedule {
    int steps;
    int32_t *t;
    double *abar;      /* product of (1 - beta) over the original steps 0 .. t[i] */
    double *abar_prev; /* abar[i-1]; 1 for i = 0 */
    double *beta;      /* 1 - abar / abar_prev */
    double *log_beta;
    double *log_var; /* ln of the variance of q(x_{i-1} | x_i, x_0); entry 0 repeats entry 1 */
    double *c_x0;    /* mean of q(x_{i-1} | x_i, x_0) = c_x0 x_0 + c_xt x_i */
    double *c_xt;
};

/* abar of the 1000 original steps. */
void fdit_schedule_abar(double abar[FDIT_TRAIN_STEPS]);

/* The original times kept by a chain of `steps`: multiples of 999/(steps-1), added up and rounded
 * half to even, rising. steps in 1 .. 1000; a chain of 1 keeps time 0. */
void fdit_schedule_respace(int steps, int32_t *t);

/* Tables of the chain of `steps` (1000: the one of training). FDIT_ERROR_ARGUMENT outside 2 ..
 * 1000. Free with fdit_schedule_free. */
enum fdit_status fdit_schedule_new(fdit_context *ctx, int steps, struct fdit_schedule **out);
void fdit_schedule_free(struct fdit_schedule *s); /* NULL is allowed */

/* x_t = out[0] x0 + out[1] noise: a row of fdit_diffuse_args.coef. */
void fdit_schedule_diffuse_coef(const struct fdit_schedule *s, int i, float out[2]);

/* A row of fdit_diffusion_loss_args.coef. scale: weight of the sample, 1/B for a batch mean, of both its
 * losses. The two posterior means differ by c_x0 (x0 - x0_pred) = c_x0 sqrt(1/abar - 1) (eps_pred - noise).
 */
void fdit_schedule_loss_coef(const struct fdit_schedule *s, int i, double scale, struct fdit_loss_coef *out);

/* f_i = exp(-ln(10000) i / 128), every step in float32 as PyTorch does it: these exact numbers
 * decide the phase, which reaches 999 rad. */
void fdit_time_frequencies(float out[FDIT_TIME_FEATURES / 2]);
/* 128 cosines, then 128 sines, of the float32 product t f_i. */
void fdit_time_features(double t, float out[FDIT_TIME_FEATURES]);

/* Position table [grid * grid, width], token = row * grid + column: the first half of the width
 * encodes the column, the second the row, each as [sin(pos w_i), cos(pos w_i)], w_i =
 * 10000^(-i/(width/4)). FDIT_ERROR_ARGUMENT unless width is a positive multiple of 4 and grid is
 * positive. */
enum fdit_status fdit_pos_embed(fdit_context *ctx, int width, int grid, float *out);

#endif
