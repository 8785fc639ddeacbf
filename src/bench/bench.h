/* SPDX-License-Identifier: Apache-2.0
 * bench.h: measures a problem: verified first, warmed up apart, then timed.
 *
 *     struct fdit_bench_problem p;
 *     struct fdit_bench_result r;
 *     TRY(fdit_bench_problem_parse(ctx, "train DiT-S/2 b4", &p));
 *     TRY(fdit_bench_run(ctx, dev, &p, &options, &r));    // seconds, flops, bytes
 *
 * The problem must outlive the result. */
#ifndef FDIT_BENCH_BENCH_H
#define FDIT_BENCH_BENCH_H

#include "bench/workload.h"

struct fdit_bench_options {
    enum fdit_dtype precision; /* of the arithmetic, as the device was opened for */
    enum fdit_dtype storage;   /* of frozen weights */
    const char *engine;        /* what multiplies (fdit_device_engine), for the results; NULL: not said */
    int repetitions;           /* 0: until 3 and a second, at most 20 */
    bool profile;              /* one more run, with a clock around each op */
    fdit_device *reference;    /* to verify with; NULL: not verified */
    /* "verifying", "warming up", ...; may be NULL. */
    void (*on_phase)(void *user, const struct fdit_bench_problem *p, const char *phase);
    void *user;
};

struct fdit_bench_result {
    const struct fdit_bench_problem *problem;
    enum fdit_dtype precision, storage;
    const char *engine; /* of the options */
    int threads;        /* of the device; 0 where it has no meaning */
    double seconds_min, seconds_median, seconds_max, warmup_seconds;
    int repetitions;
    int runs;            /* of one repetition: short problems are run several times */
    double flops, bytes; /* of a run: see fdit_op_count; recomputation is left out */
    struct fdit_device_peak peak;
    size_t plan_bytes;     /* on the device */
    size_t resident_bytes; /* the most of this process, set-up included; 0: not known */
    struct fdit_bench_check check;
    bool profiled;
    double profile_seconds;                     /* of the profiled run */
    struct fdit_op_count counts[FDIT_OP_COUNT]; /* and its ops */
};

/* FDIT_ERROR_NUMERIC when the device computes something else than the reference, or makes memory or
 * device objects inside a run; FDIT_INTERRUPTED between two repetitions when ctx is asked to stop.
 */
enum fdit_status fdit_bench_run(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                                const struct fdit_bench_options *options, struct fdit_bench_result *out);

#endif
