/* SPDX-License-Identifier: Apache-2.0
 * workload.h: how a kind of problem is made ready, run and checked. bench.c times it. */
#ifndef FDIT_BENCH_WORKLOAD_H
#define FDIT_BENCH_WORKLOAD_H

#include "bench/problem.h"

/* What a verification found. */
struct fdit_bench_check {
    bool done;
    double max_error; /* the largest of all comparisons: size of the difference over size of the
                         number */
    double allowed;
    char worst[96]; /* what differed most */
    char on[96];    /* where the problem was made smaller for it: "depth 1, batch 1, 64 tokens" */
};

struct fdit_bench_workload {
    /* Buffers, random weights and inputs; *plan_bytes on the device. */
    enum fdit_status (*open)(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                             enum fdit_dtype storage, void **out, size_t *plan_bytes);
    /* (optional) Puts back what a run changes and would change the next; not timed. */
    void (*prepare)(void *state);
    /* What is timed. Returns when it is queued, or done. */
    enum fdit_status (*run)(fdit_context *ctx, void *state);
    void (*close)(void *state); /* NULL is allowed */
    /* (optional; default 0) Floating-point operations of a run that compute something again. */
    double (*recomputed)(const struct fdit_bench_problem *p);
    /* Runs the problem, or one like it that is small enough, on dev and compares. reference: the
     * device to compare with. */
    enum fdit_status (*verify)(fdit_context *ctx, fdit_device *dev, fdit_device *reference,
                               const struct fdit_bench_problem *p, enum fdit_dtype storage,
                               struct fdit_bench_check *check);
};

extern const struct fdit_bench_workload fdit_bench_linear; /* workload_op.c */
extern const struct fdit_bench_workload fdit_bench_attention;
extern const struct fdit_bench_workload fdit_bench_model; /* workload_model.c */
extern const struct fdit_bench_workload fdit_bench_vae;   /* workload_vae.c */

/* Numbers first .. first+n-1 of a stream: uniform with this mean and deviation, and none of them 0
 * when the mean is 0. */
void fdit_bench_numbers(uint32_t stream, size_t first, size_t n, double mean, double deviation, float *out);
/* The same into n elements of a tensor, in pieces. */
void fdit_bench_write(fdit_device *dev, struct fdit_tensor t, uint32_t stream, size_t n, double deviation);

/* Relative error that a result may have, with weights kept in this type: rounding of the sums in
 * f32; of the weights (2^-9, 2^-12, 1/254 of the largest) in the others. */
double fdit_bench_allowed(enum fdit_dtype storage);
/* |got - want| over |want| in the Euclidean norm, into the check. Not finite counts as infinite. */
void fdit_bench_compare(struct fdit_bench_check *check, const char *name, const float *got, const float *want,
                        size_t n);
/* The same with an error that the caller found. */
void fdit_bench_note_error(struct fdit_bench_check *check, const char *name, double error);

#endif
