/* SPDX-License-Identifier: Apache-2.0
 * gemm_int8_kernels.c: the products of gemm_int8.h for processors whose vectors multiply and add 4 int8 at a
 * time: AVX-512-VNNI and AVX-VNNI (vpdpbusd), and the dot products of ARM v8.2 (sdot). Built for those sets
 * alone: see cpu.h.
 *
 * vpdpbusd multiplies numbers without a sign by numbers with one, so a row of A is kept there with 128 added
 * to each of its numbers, and 128 times the sum of each column of B is taken away from C at the end: sums are
 * modulo 2^32, so nothing is lost. */
#include "cpu/gemm_kernels.h"

/* Tunables: KC, so that a panel of it, and MC, so that as many rows stay beside it in the caches (36 KB and
 * 190 KB with 16 floats in a vector, in a cache of 512 KB). The others were not measured. */
#define KC 1152
#if FDIT_VLEN == 16
#define MR 14
#define MC 168
#elif FDIT_VLEN == 8
#define MR 6
#define MC 144
#else
#define MR 8
#define MC 144
#endif
#define NR (2 * FDIT_VLEN)
#include "cpu/gemm_int8.h"

#if defined(__ARM_FEATURE_DOTPROD)
#define OFFSET 0
#define DOT(acc, x, b) ((vf)vdotq_s32((int32x4_t)(acc), (int8x16_t)(x), (int8x16_t)(b)))
#elif FDIT_VLEN == 16
#define OFFSET 0x80
#define DOT(acc, x, b) ((vf)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(x), (__m512i)(b)))
#else
#define OFFSET 0x80
#define DOT(acc, x, b) ((vf)_mm256_dpbusd_avx_epi32((__m256i)(acc), (__m256i)(x), (__m256i)(b)))
#endif
#include "cpu/gemm_dot_tiles.h"

REGISTER_TILES(rows)

#define STEP FDIT_INT8_STEP

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
    int8_t *to = strip;
    float *scale = (float *)strip + (size_t)MR * row_words(g->k);
    int rows = min_int(MR, g->m - m);
    (void)scratch;
    for (int r = 0; r < rows; r++, to += 4 * row_words(g->k)) {
        const float *row = g->a + (size_t)(m + r) * g->lda;
        float inverse;
        scale[r] = row_scale(row, g->k, &inverse);
        /* Behind the last k the weight is 0, but what is not written could be read as anything. */
        for (int i = 0; i < round_up(g->k, STEP); i += FDIT_VLEN) {
            vb x = to_int8(load_some(row + i, g->k - i), inverse) ^ (int8_t)OFFSET;
            memcpy(to + i, &x, sizeof x);
        }
    }
}

/* excess [NR] = (first ? 0 : excess) + what the offset of A adds to a row's sums over these steps. */
static void add_excess(int32_t *excess, const uint32_t *panel, int steps, bool first)
{
    const vi offset = viset((int32_t)(0x01010101u * OFFSET));
    vf a = first ? vzero() : (vf)viload(excess), b = first ? vzero() : (vf)viload(excess + FDIT_VLEN);
    for (int l = 0; l < steps; l++, panel += NR) {
        a = DOT(a, offset, viload((const int32_t *)panel));
        b = DOT(b, offset, viload((const int32_t *)panel + FDIT_VLEN));
    }
    vistore(excess, (vi)a);
    vistore(excess + FDIT_VLEN, (vi)b);
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
            if (OFFSET)
                add_excess(excess + (n - n0), panel, steps, k0 == 0);
            for (int i = 0; i < m1 - m0; i += MR) {
                const int mr = min_int(MR, m1 - m0 - i);
                const uint32_t *strip = strips + (size_t)(i / MR) * strip_each;
                float *c = one_block ? scratch : sum + (size_t)i * NR;
                struct ahead f =
                    ahead_of(&g->to, n + NR < n1 ? panel + panel_each : NULL, AHEAD_LINES,
                             steps / AHEAD_STEPS, i / MR, (int)(mc_up / MR), m0 + i, last ? mr : 0, n);
                tile_rows[mr - 1](steps, strip + k0 / 4, lda, panel, c, k0 == 0, &f);
                if (!last)
                    continue;
                const float *a_scale = (const float *)(const void *)strip + (size_t)MR * lda;
                scale_sums(c, mr, OFFSET ? excess + (n - n0) : NULL, a_scale, g->b_scale + n);
                finish(&g->to, c, NR, m0 + i, mr, n, min_int(NR, n1 - n));
            }
        }
    }
    vstream_end();
}

/* Enough chains to hide the latency of the instruction, in the registers there are. */
enum { CHAINS = FDIT_VLEN == 8 ? 10 : 14 };

static double multiply_add(size_t rounds, float *sink)
{
    const vi factor = viset(0x03030303), term = viset(0x0b0b0b0b);
    vf sum[CHAINS];
    vu all = (vu)viset(0);
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = (vf)viset(i);
    for (size_t r = 0; r < rounds; r++) {
        FDIT_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = DOT(sum[i], factor, term);
    }
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        all += (vu)sum[i];
    *sink = vsum(__builtin_convertvector((vi)all, vf));
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
