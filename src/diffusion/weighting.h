/* SPDX-License-Identifier: Apache-2.0
 * weighting.h: which noise times are trained on, and how much the squared error of a sample counts.
 *
 * Noise time u goes from 0, the picture, to 1, noise; of ddpm it is t / 1000.
 * uniform            every time as often
 * logit-normal:M,S   u = 1 / (1 + exp(-(M + S z))), z normal (arXiv 2403.03206): middle times more often
 * shift:S            u = S v / (1 + (S - 1) v), v uniform: more noise for S above 1, less below
 *
 * min-snr:G          (arXiv 2303.09556) SNR = signal to noise in power; the error of predicted noise counts
 *                    min(SNR, G) / SNR, of the velocity on a straight path u^2 min(SNR, G), both of which are
 *                    min(SNR, G) for the error of the picture. */
#ifndef FDIT_DIFFUSION_WEIGHTING_H
#define FDIT_DIFFUSION_WEIGHTING_H

#include "core/rng.h"
#include "core/status.h"

#include <stdbool.h>

enum fdit_time_density_kind { FDIT_TIMES_UNIFORM, FDIT_TIMES_LOGIT_NORMAL, FDIT_TIMES_SHIFT };

/* All zero: uniform. */
struct fdit_time_density {
    enum fdit_time_density_kind kind;
    double a, b; /* M and S of logit-normal; S of shift is a */
};

/* All zero: every sample counts 1. */
struct fdit_loss_weight {
    bool min_snr;
    double most; /* G */
};

#define FDIT_TIME_DENSITY_NAMES "uniform|logit-normal[:M,S]|shift:S"
#define FDIT_LOSS_WEIGHT_NAMES "uniform|min-snr[:G]"

/* As they are typed; FDIT_ERROR_ARGUMENT "--time-density VALUE: ...; remedy". */
enum fdit_status fdit_time_density_parse(fdit_context *ctx, const char *text, struct fdit_time_density *out);
enum fdit_status fdit_loss_weight_parse(fdit_context *ctx, const char *text, struct fdit_loss_weight *out);
/* The text that is read back. */
void fdit_time_density_format(const struct fdit_time_density *d, char out[40]);
void fdit_loss_weight_format(const struct fdit_loss_weight *w, char out[40]);

/* u of a number x: normal for logit-normal, else uniform in 0 .. 1. */
double fdit_time_density_at(const struct fdit_time_density *d, double x);
/* u, drawn from a sample's own stream of random numbers. */
double fdit_time_density_draw(const struct fdit_time_density *d, const struct fdit_rng *rng);

/* The factor of the error of the noise, at cumulative product abar of 1 - beta, and of the velocity at u. */
double fdit_loss_weight_noise(const struct fdit_loss_weight *w, double abar);
double fdit_loss_weight_velocity(const struct fdit_loss_weight *w, double u);

#endif
