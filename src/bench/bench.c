/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST = 3, MOST = 20, MOST_RUNS = 1000, MOST_WARMUPS = 50 };
static const double enough_seconds = 1, warm_seconds = 0.2, repetition_seconds = 0.02;

/* ---------------------------------------------------------------------------- resident memory */

/* Linux can start the high-water mark of a process anew; elsewhere it is that of all problems so
 * far. */
static void reset_resident(void)
{
    const int fd = fdit_regular_open("/proc/self/clear_refs", O_WRONLY);
    if (fd < 0)
        return;
    (void)!write(fd, "5", 1);
    close(fd);
}

/* ------------------------------------------------------------------------------------- timing */

struct job {
    fdit_context *ctx;
    fdit_device *dev;
    const struct fdit_bench_problem *p;
    const struct fdit_bench_options *o;
    const struct fdit_bench_workload *workload;
    struct fdit_bench_result *r;
    void *state;
};

static void phase(const struct job *j, const char *text)
{
    if (j->o->on_phase)
        j->o->on_phase(j->o->user, j->p, text);
}

/* Seconds of `runs` runs, one after the other, until the device is done. */
static enum fdit_status timed(struct job *j, int runs, double *seconds)
{
    enum fdit_status status = FDIT_OK;
    if (fdit_stopped(j->ctx))
        FAIL(j->ctx, FDIT_INTERRUPTED, "stopped in '%s'", j->p->text);
    if (j->workload->prepare)
        j->workload->prepare(j->state);
    TRY(fdit_device_sync(j->ctx, j->dev));
    double began = fdit_clock_seconds();
    for (int i = 0; i < runs; i++)
        TRY(j->workload->run(j->ctx, j->state));
    TRY(fdit_device_sync(j->ctx, j->dev));
    *seconds = fdit_clock_seconds() - began;
out:
    return status;
}

/* The first run counts flops and bytes, too. */
static enum fdit_status warm_up(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_result *r = j->r;
    double last = 0;
    fdit_device_reset_counts(j->dev);
    TRY(timed(j, 1, &last));
    r->warmup_seconds = last;
    for (int i = 0; i < FDIT_OP_COUNT; i++) {
        r->flops += fdit_device_counts(j->dev)[i].flops;
        r->bytes += fdit_device_counts(j->dev)[i].bytes;
    }
    if (j->workload->recomputed)
        r->flops -= j->workload->recomputed(j->p);
    for (int i = 1; i < MOST_WARMUPS && r->warmup_seconds < warm_seconds; i++) {
        TRY(timed(j, 1, &last));
        r->warmup_seconds += last;
    }
    /* Where a run changes nothing that the next one reads, a repetition is long enough for the
     * clock. */
    r->runs = 1;
    if (!j->workload->prepare && last < repetition_seconds)
        r->runs = last * MOST_RUNS > repetition_seconds ? (int)(repetition_seconds / last) + 1 : MOST_RUNS;
out:
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum fdit_status repeat(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_result *r = j->r;
    double *seconds = NULL, sum = 0;
    int wanted = j->o->repetitions, n = 0;
    TRY(fdit_alloc(j->ctx, (size_t)(wanted ? wanted : MOST), sizeof *seconds, &seconds));
    while (wanted ? n < wanted : n < LEAST || (sum < enough_seconds && n < MOST)) {
        uint64_t allocations = fdit_mem_stats().calls, objects = fdit_device_objects_made(j->dev);
        TRY(timed(j, r->runs, &seconds[n]));
        allocations = fdit_mem_stats().calls - allocations;
        objects = fdit_device_objects_made(j->dev) - objects;
        if (allocations || objects)
            FAIL(j->ctx, FDIT_ERROR_NUMERIC,
                 "'%s': repetition %d made %" PRIu64 " allocations and %" PRIu64 " device objects, where "
                 "a run must make none; please report it",
                 j->p->text, n + 1, allocations, objects);
        sum += seconds[n++];
    }
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    r->repetitions = n;
    r->seconds_min = seconds[0] / r->runs;
    r->seconds_max = seconds[n - 1] / r->runs;
    r->seconds_median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2 / r->runs;
out:
    fdit_free(seconds);
    return status;
}

/* Op by op, which only says something where an op is done when its call returns or the device can say how
 * long it took. */
static enum fdit_status profile(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    if (!fdit_device_can_time(j->dev))
        return FDIT_OK;
    fdit_device_reset_counts(j->dev);
    fdit_device_set_timing(j->dev, true);
    status = timed(j, 1, &j->r->profile_seconds);
    fdit_device_set_timing(j->dev, false);
    memcpy(j->r->counts, fdit_device_counts(j->dev), sizeof j->r->counts);
    if (fdit_device_has_queue(j->dev)) { /* waiting after each op is not part of a step */
        j->r->profile_seconds = 0;
        for (int i = 0; i < FDIT_OP_COUNT; i++)
            j->r->profile_seconds += j->r->counts[i].seconds;
    }
    j->r->profiled = status == FDIT_OK;
    return status;
}

static enum fdit_status verify(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_check *check = &j->r->check;
    TRY(j->workload->verify(j->ctx, j->dev, j->o->reference, j->p, j->o->storage, check));
    check->allowed = fmax(fdit_bench_allowed(j->o->storage), fdit_bench_allowed(j->o->precision));
    check->done = true;
    if (!(check->max_error <= check->allowed))
        FAIL(j->ctx, FDIT_ERROR_NUMERIC,
             "'%s': %s on %s is off by %.2g of its size (%s), at most %.0e is right; it is not timed; try "
             "another driver or --device cpu",
             j->p->text, check->worst, fdit_device_info(j->dev)->name, check->max_error, check->on,
             check->allowed);
out:
    return status;
}

static const struct fdit_bench_workload *workload_of(enum fdit_bench_kind kind)
{
    return kind <= FDIT_BENCH_LINEAR_DW            ? &fdit_bench_linear
           : kind <= FDIT_BENCH_ATTENTION_BACKWARD ? &fdit_bench_attention
           : kind == FDIT_BENCH_VAE                ? &fdit_bench_vae
                                                   : &fdit_bench_model;
}

enum fdit_status fdit_bench_run(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                                const struct fdit_bench_options *options, struct fdit_bench_result *out)
{
    enum fdit_status status = FDIT_OK;
    struct job j = { ctx, dev, p, options, workload_of(p->kind), out, NULL };
    *out = (struct fdit_bench_result){ .problem = p,
                                       .precision = options->precision,
                                       .engine = options->engine,
                                       .storage = options->storage,
                                       .threads = fdit_device_info(dev)->threads };
    if (options->reference) {
        phase(&j, "verifying");
        TRY(verify(&j));
    }
    phase(&j, "measuring the device's peak");
    TRY(fdit_device_peak(ctx, dev, true, &out->peak));
    reset_resident();
    phase(&j, "making weights");
    TRY(j.workload->open(ctx, dev, p, options->storage, &j.state, &out->plan_bytes));
    phase(&j, "warming up");
    TRY(warm_up(&j));
    phase(&j, "timing");
    TRY(repeat(&j));
    if (options->profile)
        TRY(profile(&j));
    out->resident_bytes = fdit_mem_highest();
out:
    j.workload->close(j.state);
    return status;
}
