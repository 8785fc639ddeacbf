/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_int8_kernels.c: the products of gemm_int8.h for processors with AMX (tdpbssd). Built for that set
 * alone: see cpu.h. The tiles are gemm_amx_tiles.h, with 64 k a step; a strip is followed by its a_scale
 * [MR]. */
#include "cpu/gemm_kernels.h"

#define MR 32
#define NR 32
#include "cpu/gemm_int8.h"

/* 24 KB of a panel, as in gemm_amx_kernels.c. */
#define KC 768
#define MC 256
#define STEP FDIT_INT8_STEP
#define AMX_PRODUCT(c, a, b) AMX_DOT_INT8(c, a, b)
#include "cpu/gemm_amx_tiles.h"

static size_t prepared_bytes(int k)
{
    return (step_words(k) + MR) * sizeof(uint32_t);
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    uint32_t *to = strip;
    float *scale = (float *)strip + step_words(g->k);
    int rows = min_int(MR, g->m - m);
    (void)scratch;
    for (int r = 0; r < (rows > 16 ? MR : 16); r++) {
        const float *row = g->a + (size_t)(m + r) * g->lda;
        uint32_t *out = to + (r / 16) * HALF + r % 16 * 16;
        float inverse = 0;
        scale[r] = r < rows ? row_scale(row, g->k, &inverse) : 0;
        for (int i = 0; i < g->k; i += STEP, out += STEP_WORDS) {
            FDIT_UNROLL
            for (int h = 0; h < STEP; h += FDIT_VLEN) {
                vb x = to_int8(r < rows ? load_some(row + i + h, g->k - i - h) : vzero(), inverse);
                memcpy((int8_t *)out + h, &x, sizeof x);
            }
        }
    }
}

static void complete(const struct fdit_gemm *g, const uint32_t *strip, float *c, int m, int rows, int n,
                     int columns)
{
    scale_sums(c, rows, NULL, (const float *)(const void *)strip + step_words(g->k), g->b_scale + n);
    finish(&g->to, c, NR, m, rows, n, columns);
}

const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_int8_kernels) = {
    .precision = FDIT_I8,
    .vlen = FDIT_VLEN,
    .mr = MR,
    .nr = NR,
    .few = 0,
    .kc = KC,
    .k_unit = STEP,
    .mc = MC,
    .prepared_bytes = prepared_bytes,
    .prepare_a = prepare_a,
    .scratch = sum_floats,
    .tile = tile,
    .finish = finish_tile,
    .multiply_add = multiply_add,
};
