/* SPDX-License-Identifier: Apache-2.0
 * probe.c: fdit_device_peak on the processor. The best of several short bursts is taken: it is the
 * one that other programs disturbed least. */
#include "cpu/cpu.h"
#include "cpu/gemm_kernels.h"
#include "cpu/op_kernels.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/pool.h"

#include <string.h>

/* A burst is some 10 million cycles: long enough for the clock and for the start of the threads. */
enum { BURSTS = 12, COPIES = 3, ROUNDS = 2000000 };
static const size_t copy_bytes = (size_t)64 << 20;

static double max_double(double a, double b)
{
    return a > b ? a : b;
}

struct burst {
    double (*multiply_add)(size_t rounds, float *sink);
    double *operations; /* [threads], what each piece did */
};

static void burst_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct burst *b = job;
    volatile float keep;
    float sink;
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        b->operations[i] = ROUNDS * b->multiply_add(ROUNDS, &sink);
        keep = sink;
        (void)keep;
    }
}

/* Floating-point operations a second of one burst on all threads. */
static double burst(const struct fdit_cpu *cpu)
{
    const struct fdit_cpu_gemm_kernels *gemm = cpu->gemm_int8    ? cpu->gemm_int8
                                               : cpu->gemm_parts ? cpu->gemm_parts
                                                                 : cpu->gemm;
    double each[FDIT_POOL_MOST_MEMBERS] = { 0 }, operations = 0;
    const struct burst b = {
        .multiply_add = gemm->multiply_add ? gemm->multiply_add : cpu->op->probe->multiply_add,
        .operations = each,
    };
    double began = fdit_clock_seconds();
    fdit_cpu_each(cpu, (size_t)cpu->threads, burst_pieces, &b);
    double seconds = fdit_clock_seconds() - began;
    for (int i = 0; i < cpu->threads; i++)
        operations += each[i];
    return seconds > 0 ? operations / seconds : 0;
}

struct copied {
    char *to;
    const char *from;
    size_t part;
};

static void copy_parts(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct copied *c = job;
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        memcpy(c->to + i * c->part, c->from + i * c->part, c->part);
}

/* Bytes read and written a second by all threads, each copying its part. */
static double copy(const struct fdit_cpu *cpu, char *to, const char *from)
{
    size_t parts = (size_t)cpu->threads;
    const struct copied c = { .to = to, .from = from, .part = copy_bytes / parts };
    double began = fdit_clock_seconds();
    fdit_cpu_each(cpu, parts, copy_parts, &c);
    double seconds = fdit_clock_seconds() - began;
    return seconds > 0 ? 2.0 * (double)(c.part * parts) / seconds : 0;
}

enum fdit_status fdit_cpu_peak(fdit_context *ctx, fdit_device *dev, bool copying,
                               struct fdit_device_peak *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    char *from = NULL, *to = NULL;
    double flops = 0, bytes = 0;
    for (int i = 0; i < BURSTS; i++)
        flops = max_double(flops, burst(cpu));
    if (copying) {
        TRY(fdit_alloc_pages(ctx, copy_bytes, 1, &from));
        TRY(fdit_alloc_pages(ctx, copy_bytes, 1, &to));
    }
    for (int i = 0; copying && i < COPIES; i++)
        bytes = max_double(bytes, copy(cpu, to, from));
    *out = (struct fdit_device_peak){ .gflops = 1e-9 * flops, .copy_gbytes = 1e-9 * bytes };
out:
    fdit_free(from);
    fdit_free(to);
    return status;
}
