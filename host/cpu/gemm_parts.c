/* SPDX-License-Identifier: Apache-2.0
 * gemm_parts.c: whether products of f32 by numbers of bf16 (gemm_amx_parts.h) are as exact as multiply-adds
 * on the processor at hand. */
#include "cpu/gemm.h"

#include "core/mem.h"

enum { SIZE = 32, DEPTH = 512, ELEMENTS = SIZE * DEPTH };

/* Numbers in [-1, 1) with all 24 digits (Numerical Recipes' generator, 1992: section 7.1), in microseconds
 * and without a function of libm: a device opens in a few milliseconds. */
static void fill(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    }
}

/* Squared errors of c [SIZE][SIZE] against sums in float64. */
static double squared_error(const float *a, const float *b, const float *c)
{
    double error = 0;
    for (int m = 0; m < SIZE; m++)
        for (int n = 0; n < SIZE; n++) {
            double sum = 0;
            for (int k = 0; k < DEPTH; k++)
                sum += (double)a[m * DEPTH + k] * (double)b[n * DEPTH + k];
            sum -= (double)c[m * SIZE + n];
            error += sum * sum;
        }
    return error;
}

enum fdit_status fdit_cpu_parts_agree(fdit_context *ctx, const struct fdit_cpu *cpu,
                                      const struct fdit_cpu_gemm_kernels *parts, bool *agree)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cpu with = *cpu, without = *cpu;
    float *a = NULL, *b, *c;
    *agree = false;
    with.gemm_parts = parts;
    without.gemm_parts = NULL;
    const size_t bytes = fdit_cpu_gemm_workspace(&with, SIZE, SIZE, DEPTH, FDIT_B_COLUMNS, false);
    const size_t floats = 2 * (size_t)ELEMENTS + SIZE * SIZE;
    TRY(fdit_alloc_pages(ctx, fdit_page_floats(floats) * sizeof(float) + bytes, 1, &a));
    b = a + ELEMENTS;
    c = b + ELEMENTS;
    with.workspace = without.workspace = a + fdit_page_floats(floats);
    fill(a, 2 * (size_t)ELEMENTS);
    const struct fdit_gemm g = {
        .m = SIZE,
        .n = SIZE,
        .k = DEPTH,
        .a = a,
        .lda = DEPTH,
        .b = b,
        .ldb = DEPTH,
        .form = FDIT_B_COLUMNS,
        .to = { .c = c, .ldc = SIZE, .rows = SIZE },
    };
    fdit_cpu_gemm(&without, &g);
    const double allowed = squared_error(a, b, c);
    fdit_cpu_gemm(&with, &g);
    *agree = squared_error(a, b, c) <= allowed;
out:
    fdit_free(a);
    return status;
}
