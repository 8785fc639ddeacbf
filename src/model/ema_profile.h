/* SPDX-License-Identifier: Apache-2.0
 * ema_profile.h: averages of weights whose length is chosen after training (Karras et al., "Analyzing and
 * Improving the Training Dynamics of Diffusion Models", arXiv 2312.02696, section 3 and appendix C).
 *
 * The profile of an average at step t is p(s) = (g+1) s^g / t^(g+1) on [0, t]: the weight of step s. Its
 * width is the standard deviation of s over t, a number below 0.289; 0.1 is an average over about the last
 * fifth.
 * Two averages are kept while a run trains, and stored now and then; the least squares combination of all
 * that are stored comes close to any other profile. */
#ifndef FDIT_MODEL_EMA_PROFILE_H
#define FDIT_MODEL_EMA_PROFILE_H

#include "core/status.h"

#include <stdint.h>

enum { FDIT_EMA_PROFILES = 2 };
/* Widths of those that a run keeps, and the range of what can be made of them. */
extern const double fdit_ema_widths[FDIT_EMA_PROFILES];
#define FDIT_EMA_LEAST_WIDTH 0.01
#define FDIT_EMA_MOST_WIDTH 0.25

/* Width of the profile of power g >= 0, and the power of a width in (0, 0.288]. */
double fdit_ema_width(double power);
double fdit_ema_power(double width);
/* Average after step n = 1, 2, ...: decay * average + (1 - decay) * weights; 0 at the first step. */
double fdit_ema_profile_decay(double power, int64_t n);

/* A profile: the average of this power as it is at step t > 0. */
struct fdit_ema_profile {
    double t, power;
};

/* out [n]: what the averages `stored` are multiplied with so that their sum comes closest to `wanted` in the
 * least squares sense over all steps, divided by its sum. Of averages that are nearly the same the later ones
 * in the list get 0. FDIT_ERROR_ARGUMENT for n = 0, or a wanted.t behind the last stored. */
enum fdit_status fdit_ema_coefficients(fdit_context *ctx, const struct fdit_ema_profile *stored, size_t n,
                                       struct fdit_ema_profile wanted, double *out);

#endif
