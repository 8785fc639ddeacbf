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

#endif
