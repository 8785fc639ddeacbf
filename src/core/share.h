/* SPDX-License-Identifier: Apache-2.0
 * share.h: how much of the processors' time this process got while it computed. Beside other programs it gets
 * less, and who reads its speed should know. */
#ifndef FDIT_CORE_SHARE_H
#define FDIT_CORE_SHARE_H

#include "core/status.h"

struct fdit_share {
    double wall, cpu; /* seconds; cpu: of all threads of the process */
    long preempted;   /* how often a processor was taken from one of them */
};

/* Where the clocks are; later, what has passed since. */
void fdit_share_begin(struct fdit_share *begun);
struct fdit_share fdit_share_since(const struct fdit_share *begun);

/* Whether other programs took the processors from `threads` threads that computed all the time: they got
 * less than half of it, for two seconds or more, and not because they waited for something. Whoever waits
 * gives the processor back; it is taken some 20 times a second of computing from a thread that is alone on
 * its processor, and some hundred times from one that shares it. */
bool fdit_share_is_poor(const struct fdit_share *used, int threads);

/* Logs a note (FDIT_LOG_NOTE) when fdit_share_is_poor since `begun`, for `threads` threads, of which no more
 * count than the process has processors; 0: nothing is known, and nothing said. */
void fdit_share_note(fdit_context *ctx, const struct fdit_share *begun, int threads);

#endif
