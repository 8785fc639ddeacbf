/* SPDX-License-Identifier: Apache-2.0
 * probe.c: fdit_device_peak on the processor. The best of several short bursts is taken: it is the
 * one that other programs disturbed least. */
#include "cpu/cpu.h"
#include "cpu/gemm_kernels.h"
#include "cpu/op_kernels.h"

#include "core/clock.h"
#include "core/mem.h"

#include <string.h>

/* A burst is some 10 million cycles: long enough for the clock and for the start of the threads. */
enum { BURSTS = 12, COPIES = 3, ROUNDS = 2000000 };
static const size_t copy_bytes = (size_t)64 << 20;

static double max_double(double a, double b)
{
    return a > b ? a : b;
}

/* Floating-point operations a second of one burst on all threads. */
static double burst(const struct fdit_cpu *cpu)
{
    const struct fdit_cpu_gemm_kernels *gemm = cpu->gemm_int8 ? cpu->gemm_int8 : cpu->gemm;
    double (*multiply_add)(size_t, float *) =
        gemm->multiply_add ? gemm->multiply_add : cpu->op->probe->multiply_add;
    double operations = 0, began = fdit_clock_seconds();
#pragma omp parallel num_threads(cpu->threads) reduction(+ : operations)
    {
        volatile float keep;
        float sink;
        operations += ROUNDS * multiply_add(ROUNDS, &sink);
        keep = sink;
        (void)keep;
    }
    double seconds = fdit_clock_seconds() - began;
    return seconds > 0 ? operations / seconds : 0;
}

/* Bytes read and written a second by all threads, each copying its part. */
static double copy(const struct fdit_cpu *cpu, char *to, const char *from)
{
    size_t parts = (size_t)cpu->threads, part = copy_bytes / parts;
    double began = fdit_clock_seconds();
#pragma omp parallel for num_threads(cpu->threads) schedule(static)
    for (size_t i = 0; i < parts; i++)
        memcpy(to + i * part, from + i * part, part);
    double seconds = fdit_clock_seconds() - began;
    return seconds > 0 ? 2.0 * (double)(part * parts) / seconds : 0;
}

enum fdit_status fdit_cpu_peak(fdit_context *ctx, fdit_device *dev, struct fdit_device_peak *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    char *from = NULL, *to = NULL;
    double flops = 0, bytes = 0;
    for (int i = 0; i < BURSTS; i++)
        flops = max_double(flops, burst(cpu));
    TRY(fdit_alloc_pages(ctx, copy_bytes, 1, &from));
    TRY(fdit_alloc_pages(ctx, copy_bytes, 1, &to));
    for (int i = 0; i < COPIES; i++)
        bytes = max_double(bytes, copy(cpu, to, from));
    *out = (struct fdit_device_peak){ .gflops = 1e-9 * flops, .copy_gbytes = 1e-9 * bytes };
out:
    fdit_free(from);
    fdit_free(to);
    return status;
}
