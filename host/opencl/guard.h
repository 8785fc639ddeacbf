/* SPDX-License-Identifier: Apache-2.0
 * guard.h: what belongs to the process, and not to a driver that is called. */
#ifndef FDIT_HOST_OPENCL_GUARD_H
#define FDIT_HOST_OPENCL_GUARD_H

#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/time.h>

/* Signals that stop a program, or that something of it waits for; not those of faults, which drivers may
 * handle. */
enum { GUARD_SIGNALS = 13, GUARD_TIMERS = 3 };

struct guard {
    int fd[3], folder; /* duplicates; -1: it could not be had, and is not put back */
    struct stat of[3]; /* the files of fd */
    char locale[512];  /* within the block: a guard stands around calls that must not allocate */
    bool has_locale;
    locale_t thread_locale;
    mode_t mask;
    sigset_t blocked; /* of this thread */
    struct sigaction actions[GUARD_SIGNALS];
    bool known[GUARD_SIGNALS];
    struct itimerval timers[GUARD_TIMERS];
    fenv_t arithmetic;
    int rounding;
};

/* Around calls that may be the first of a driver, or make it compile: afterwards descriptors 0 to 2, folder,
 * locale, permissions of new files, this thread's signal mask and arithmetic, what signals do and timers
 * are what they were before, whatever the driver did. Its own timers do not end the process meanwhile. What
 * cannot be kept (no descriptors, no memory) is not put back. Calls nest. */
void fdit_guard_begin(struct guard *g);
void fdit_guard_end(struct guard *g);
/* What of it is not as it was at fdit_guard_begin, in words; NULL: all is. */
const char *fdit_guard_changed(const struct guard *g);

#endif
