/* SPDX-License-Identifier: Apache-2.0
 * pace.h: the clock of a training run: time in training without its pauses, the rate, and what the
 * rate says of the end. All times are seconds of any one clock. */
#ifndef FDIT_TRAIN_PACE_H
#define FDIT_TRAIN_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct fdit_pace {
    double spent, since;   /* time before the last start of the clock, and when that was */
    double rate, mark;     /* steps a second, 0 before the first; measured since `mark` of that time */
    double steady;         /* the same with a memory of half a minute: for the time that is left */
    bool warm;             /* the first two seconds are over */
    int64_t first, marked; /* steps done when the run began, and at `mark` */
};

/* A run that begins, or goes on, with `step` steps done. Its clock stands. */
void fdit_pace_init(struct fdit_pace *p, int64_t step);

/* Starts the clock, at first or after a pause. */
void fdit_pace_start(struct fdit_pace *p, double now);
void fdit_pace_pause(struct fdit_pace *p, double now);

/* Seconds in training, while the clock runs. */
double fdit_pace_spent(const struct fdit_pace *p, double now);

/* After a step, the clock running: `step` are done. The rate is renewed every two seconds, and in the
 * first two with every step. */
void fdit_pace_step(struct fdit_pace *p, double now, int64_t step);

/* How many steps the run will have, `step` of them done and the clock running: at most `total`, and where
 * `limit` seconds (0: none) end it, what the rate so far gives until then. Never less than step + 1. */
int64_t fdit_pace_expected(const struct fdit_pace *p, double now, int64_t step, int64_t total, double limit);

#endif
