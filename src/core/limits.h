/* SPDX-License-Identifier: Apache-2.0
 * limits.h: how much of the machine this process may use, and what says so. Containers, batch systems and
 * users set limits that the machine's own numbers know nothing of: whoever plans by those is killed, or
 * waits for processors that it is not given. */
#ifndef FDIT_CORE_LIMITS_H
#define FDIT_CORE_LIMITS_H

#include "core/status.h"

struct fdit_limits {
    int machine_processors; /* that are on line; >= 1 */
    /* That run at a time: the smaller of the affinity mask and of the quota of the control groups, rounded
     * up; >= 1. The quota itself, 0: none. */
    int processors;
    double quota;
    /* By default: processors, or what OMP_NUM_THREADS and OMP_THREAD_LIMIT say. */
    int threads;
    char threads_by[160]; /* what binds: "cgroup cpu.max 1.5, /sys/fs/cgroup/cpu.max"; "": nothing */
    /* Bytes, 0: not known: the machine's; the smallest of it, the control groups' and RLIMIT_AS, _DATA. */
    size_t machine_memory, memory;
    char memory_by[160]; /* as threads_by */
};

/* Where to look. */
struct fdit_limits_source {
    const char *root; /* before /proc and /sys: "" outside tests, which bring files of their own */
    int affinity;     /* processors of the mask where the caller knows better; 0: asked for */
};

/* What is not there, may not be read, or is not a sensible number, limits nothing. Where a file cannot be
 * read for want of descriptors (FDIT_ERROR_IO) or of memory (FDIT_ERROR_MEMORY) a limit could be missed: *out
 * then has what was found. */
enum fdit_status fdit_limits_read(fdit_context *ctx, const struct fdit_limits_source *source,
                                  struct fdit_limits *out);
/* Whether so many bytes more, which the system refused, are beyond a limit that was set for this process;
 * which one, and its bytes. Opens a file: for messages. */
bool fdit_limits_refuse(size_t bytes, size_t *limit, const char **by);

#endif
