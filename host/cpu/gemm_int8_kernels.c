/* SPDX-License-Identifier: Apache-2.0
 * gemm_int8_kernels.c: the products of gemm_int8.h for processors with AVX-512-VNNI (vpdpbusd) and
 * AVX-512-BF16, whose kernels take the rest. Built for that set alone: see cpu.h.
 *
 * The instruction multiplies numbers without a sign by numbers with one, so a row of A is kept with 128 added
 * to each of its numbers, and 128 times the sum of each column of B is taken away from C at the end: sums are
 * modulo 2^32, so nothing is lost. */
#include "cpu/gemm_kernels.h"

#define MR 14
#define NR 32
#include "cpu/gemm_int8.h"

#define DOT(acc, x, b) ((__m512)_mm512_dpbusd_epi32((__m512i)(acc), x, b))
#include "cpu/gemm_dot_tiles.h"

REGISTER_TILES(rows, lda, 1)

/* A panel of 36 KB, and as many rows as stay beside it in a cache of 512 KB. */
#define KC 1152
#define MC 168
#define STEP 64 /* k is filled up to a multiple of it */

/* From one row of a strip to the next, in words of 4 bytes: off a power of two. */
static size_t row_words(int k)
{
    return (size_t)round_up(k, STEP) / 4 + 16;
}

/* A strip: [MR][row_words], and a_scale [MR]. */
static size_t strip_words(int k)
{
    return ((size_t)MR * row_words(k) + MR + 15) / 16 * 16;
}

static size_t prepared_bytes(int k)
{
    return strip_words(k) * sizeof(uint32_t);
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    const __m128i offset = _mm_set1_epi8((char)0x80);
    uint32_t *to = strip;
    float *scale = (float *)strip + (size_t)MR * row_words(g->k);
    int rows = min_int(MR, g->m - m);
    (void)scratch;
    for (int r = 0; r < rows; r++, to += row_words(g->k)) {
        const float *row = g->a + (size_t)(m + r) * g->lda;
        float inverse;
        scale[r] = row_scale(row, g->k, &inverse);
        for (int i = 0; i < g->k; i += 16)
            _mm_store_si128((__m128i *)(void *)(to + i / 4),
                            _mm_xor_si128(to_int8(load_some(row + i, g->k - i), inverse), offset));
        /* Behind the last k the weight is 0, but what is not written could be read as anything. */
        for (int i = round_up(g->k, 16); i < round_up(g->k, STEP); i += 16)
            _mm_store_si128((__m128i *)(void *)(to + i / 4), offset);
    }
}

/* excess [NR] += what the offset of A adds to a row's sums over these steps. */
static void add_excess(int32_t *excess, const uint32_t *panel, int steps, bool first)
{
    const __m512i offset = _mm512_set1_epi8((char)0x80);
    __m512i a = first ? _mm512_setzero_si512() : _mm512_loadu_si512(excess);
    __m512i b = first ? _mm512_setzero_si512() : _mm512_loadu_si512(excess + 16);
    for (int l = 0; l < steps; l++, panel += NR) {
        a = _mm512_dpbusd_epi32(a, offset, _mm512_loadu_si512(panel));
        b = _mm512_dpbusd_epi32(b, offset, _mm512_loadu_si512(panel + 16));
    }
    _mm512_storeu_si512(excess, a);
    _mm512_storeu_si512(excess + 16, b);
}

/* Partial sums, as register tiles one behind the other, and each column's excess. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    return ((size_t)round_up(g->mc, MR) + 1) * (size_t)round_up(g->nc, NR);
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    const size_t strip_each = strip_words(g->k), panel_each = (size_t)round_up(g->k, STEP) / 4 * NR;
    const uint32_t *strips = (const uint32_t *)g->strips + (size_t)(m0 - g->strip_row) / MR * strip_each;
    const uint32_t *panels = (const uint32_t *)g->panels + (size_t)(n0 - g->panel_column) / NR * panel_each;
    const size_t mc_up = (size_t)round_up(m1 - m0, MR), lda = row_words(g->k);
    const bool one_block = g->k <= g->kc;
    int32_t *excess = (int32_t *)(void *)(scratch + mc_up * (size_t)round_up(n1 - n0, NR));
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        const int steps = round_up(min_int(g->kc, g->k - k0), STEP) / 4;
        const bool last = k0 + g->kc >= g->k;
        for (int n = n0; n < n1; n += NR) {
            const uint32_t *panel = panels + (size_t)((n - n0) / NR) * panel_each + (size_t)k0 / 4 * NR;
            float *sum = scratch + (size_t)(n - n0) * mc_up;
            add_excess(excess + (n - n0), panel, steps, k0 == 0);
            for (int i = 0; i < m1 - m0; i += MR) {
                const int mr = min_int(MR, m1 - m0 - i);
                const uint32_t *strip = strips + (size_t)(i / MR) * strip_each;
                float *c = one_block ? scratch : sum + (size_t)i * NR;
                if (n + NR < n1)
                    fetch_part((const char *)(panel + panel_each), steps, i / MR, (int)(mc_up / MR));
                if (last)
                    fetch_rows(&g->to, m0 + i, mr, n);
                tile_rows[mr - 1](steps, strip + k0 / 4, lda, panel, c, k0 == 0);
                if (!last)
                    continue;
                scale_sums(c, mr, excess + (n - n0), (const float *)(const void *)strip + (size_t)MR * lda,
                           g->b_scale + n);
                finish(&g->to, c, NR, m0 + i, mr, n, min_int(NR, n1 - n));
            }
        }
    }
    vstream_end();
}

/* Enough chains to hide the latency of the instruction. */
enum { CHAINS = 14 };

static double multiply_add(size_t rounds, float *sink)
{
    const __m512i factor = _mm512_set1_epi8(3), term = _mm512_set1_epi8(-5);
    __m512i sum[CHAINS], all = _mm512_setzero_si512();
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_epi32(i);
    for (size_t r = 0; r < rounds; r++) {
        FDIT_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbusd_epi32(sum[i], factor, term);
    }
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        all = _mm512_add_epi32(all, sum[i]);
    *sink = (float)_mm512_reduce_add_epi32(all);
    return 8.0 * CHAINS * FDIT_VLEN;
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
    .scratch = scratch_floats,
    .tile = tile,
    .finish = finish_tile,
    .multiply_add = multiply_add,
};
