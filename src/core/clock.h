/* SPDX-License-Identifier: Apache-2.0
 * clock.h: seconds. */
#ifndef FDIT_CORE_CLOCK_H
#define FDIT_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Since some fixed moment, never going back: seconds, nanoseconds. */
static inline double fdit_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline uint64_t fdit_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Since 1970: for time stamps, not for durations. */
static inline double fdit_clock_date(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* So many seconds from now, at least 0, as pthread_cond_timedwait takes it. */
static inline struct timespec fdit_clock_after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    const double ns = (double)t.tv_nsec + 1e9 * seconds;
    t.tv_sec += (time_t)(ns / 1e9);
    t.tv_nsec = (long)(ns - 1e9 * (double)(time_t)(ns / 1e9));
    return t;
}

#endif
