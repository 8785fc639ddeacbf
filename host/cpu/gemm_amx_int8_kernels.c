/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_int8_kernels.c: products of int8 weights with rows that are turned into int8 on the way
 * ("dynamic activations"), for processors with AMX (tdpbssd). Built for that set alone: see cpu.h.
 *
 *     C(m, n) = a_scale(m) b_scale(n) sum over k of Aq(m, k) Bq(k, n)
 *     a_scale(m) = the largest magnitude of row m / 127,  Aq = A / a_scale to the nearest whole number
 *
 * The sum is of whole numbers in 32 bits, exact: a row's bits depend on the row and the weight alone. The
 * largest k is 2^31 / 127^2 = 133,000. A row with a number that is not finite gives NaN throughout.
 *
 * The tiles are gemm_amx_tiles.h, with 64 k a step; a strip is followed by its a_scale [MR]. Only frozen
 * weights that are kept as int8, as they lie, for forward: gemm.c leaves all else to gemm_amx_kernels.c. */
#include "cpu/gemm_kernels.h"

#include "cpu/bf16.h"
#define MR 32
#define NR 32
#include "cpu/gemm_epilogue.h"

/* 24 KB of a panel, as in gemm_amx_kernels.c. */
#define KC 768
#define MC 256
#define STEP 64
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
        float most = r < rows ? largest_magnitude(row, g->k) : 0, inverse = most > 1e-36f ? 127 / most : 0;
        scale[r] = most / 127;
        for (int i = 0; i < g->k; i += STEP, out += STEP_WORDS) {
            FDIT_UNROLL
            for (int h = 0; h < STEP; h += 16) {
                __m512 x = r < rows ? load_some(row + i + h, g->k - i - h) : _mm512_setzero_ps();
                __m512i q = _mm512_cvtps_epi32(x * inverse);
                _mm_store_si128((__m128i *)(void *)((int8_t *)out + h), _mm512_cvtsepi32_epi8(q));
            }
        }
    }
}

static void complete(const struct fdit_gemm *g, const uint32_t *strip, float *c, int m, int rows, int n,
                     int columns)
{
    const float *scale = (const float *)(const void *)strip + step_words(g->k);
    for (int r = 0; r < rows; r++)
        FDIT_UNROLL
    for (int h = 0; h < NR; h += 16) {
        float *at = c + (size_t)r * NR + h;
        __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(at));
        _mm512_storeu_ps(at, sum * (_mm512_loadu_ps(g->b_scale + n + h) * scale[r]));
    }
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
