/* SPDX-License-Identifier: Apache-2.0 */
#include "core/share.h"

#include "core/clock.h"
#include "core/limits.h"

#include <stdio.h>
#include <sys/resource.h>

enum { LEAST_SECONDS = 2, LEAST_PREEMPTED = 50 }; /* the second: a second of computing */

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

void fdit_share_begin(struct fdit_share *begun)
{
    struct rusage used;
    *begun = (struct fdit_share){ .wall = fdit_clock_seconds() };
    if (getrusage(RUSAGE_SELF, &used))
        return;
    begun->cpu = seconds(used.ru_utime) + seconds(used.ru_stime);
    begun->preempted = used.ru_nivcsw;
}

struct fdit_share fdit_share_since(const struct fdit_share *begun)
{
    struct fdit_share now;
    fdit_share_begin(&now);
    now.wall -= begun->wall;
    now.cpu -= begun->cpu;
    now.preempted -= begun->preempted;
    return now;
}

bool fdit_share_is_poor(const struct fdit_share *used, int threads)
{
    return used->wall >= LEAST_SECONDS && used->cpu < 0.5 * threads * used->wall &&
           (double)used->preempted >= LEAST_PREEMPTED * used->cpu && used->preempted > 0;
}

void fdit_share_note(fdit_context *ctx, const struct fdit_share *begun, int threads)
{
    struct fdit_share used = fdit_share_since(begun);
    struct fdit_limits limits;
    if (fdit_limits_read(NULL, NULL, &limits) != FDIT_OK)
        return;
    if (threads > limits.processors)
        threads = limits.processors;
    if (threads < 1 || !fdit_share_is_poor(&used, threads))
        return;
    int fewer = (int)(used.cpu / used.wall + 0.5);
    char advice[40] = "";
    if (threads > 1)
        snprintf(advice, sizeof advice, "give --threads %d, or ", fewer > 1 ? fewer : 1);
    fdit_log(
        ctx, FDIT_LOG_NOTE,
        "CPU time was much less than wall time: %.1f of the %.1f seconds that %d thread%s could have had; "
        "other programs took the processors: %srun this when the machine is quiet",
        used.cpu, used.wall * threads, threads, threads > 1 ? "s" : "", advice);
}
