/* SPDX-License-Identifier: Apache-2.0
 * gemm_bf16_kernels.c: the products of gemm_kernels.h on operands rounded to bf16, added in f32,
 * for processors with AVX-512-BF16 (vdpbf16ps). Built for that set alone: see cpu.h.
 *
 * All forms run as the normal one: A is rounded to a block of rows, B comes as panels [k /
 * 2][NR][2] of pairs of neighbouring k, which is how one multiply-add takes them. A packed weight
 * is in this shape already; for the other direction (linear_dx) its blocks of 32 x 32 are turned in
 * registers, once for all rows of a tile. Each element of C is one chain of pair products over k in
 * rising order, whatever the tile, the batch and the number of threads; blocks of k only interrupt
 * it. The instruction takes denormal numbers as 0 and rounds to nearest. */
#include "cpu/gemm_kernels.h"

#define MR 14
#define NR 32
#include "cpu/gemm_bf16_panels.h"
#include "cpu/gemm_epilogue.h"

#define DOT(acc, x, b) ((vf)_mm512_dpbf16_ps((__m512)(acc), (__m512bh)(x), (__m512bh)(b)))
#include "cpu/gemm_dot_tiles.h"

REGISTER_TILES(rows)
REGISTER_TILES(packed)

#define KC 1152
#define MC 168

/* The panel of B for columns n .. n + nr - 1 and k0 .. k0 + kc - 1, in place or in `to`. */
static const uint32_t *get_panel(const struct fdit_gemm *g, int n, int nr, int k0, int kc,
                                 uint32_t *to)
{
    const float *plain = g->b;
    const char *packed = g->b;
    switch (g->form) {
    case FDIT_B_ROWS: panel_of_rows(to, plain + (size_t)k0 * g->ldb + n, g->ldb, nr, kc); return to;
    case FDIT_B_COLUMNS:
        panel_of_columns(to, plain + (size_t)n * g->ldb + k0, g->ldb, nr, kc);
        return to;
    case FDIT_B_PANELS:
        packed += (size_t)(n / NR) * panel_bytes(g->b_type, g->k);
        if (g->b_type == FDIT_BF16)
            return (const uint32_t *)(const void *)packed + (size_t)k0 / 2 * NR;
        panel_of_int8(to, (const int8_t *)packed + (size_t)k0 * NR, g->b_scale + n, kc);
        return to;
    case FDIT_B_PACKED_T:
        for (int k = k0; k < k0 + kc; k += NR) {
            const char *panel = packed + (size_t)(k / NR) * panel_bytes(g->b_type, g->n);
            uint32_t *part = to + (size_t)(k - k0) / 2 * NR;
            if (g->b_type == FDIT_BF16)
                turn_bf16(part, (const uint32_t *)(const void *)panel + (size_t)n / 2 * NR, nr);
            else
                turn_int8(part, (const int8_t *)panel + (size_t)n * NR, g->b_scale + k);
        }
        return to;
    }
    return to;
}

/* ------------------------------------------------------------------------------------ cache tiles
 */

/* From one row of the block of A to the next: off a power of two. */
static size_t block_stride(int kc)
{
    return (size_t)round_up(kc, NR) / 2 + 16;
}

enum { GATHERED = 8 }; /* rows that are collected at a time, before they are rounded */

/* Partial sums, as register tiles one behind the other; the block of A; a panel of B; collected
 * rows. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t mc = (size_t)round_up(g->mc, MR), nc = (size_t)round_up(g->nc, NR);
    return mc * nc + mc * block_stride(g->kc) + (size_t)round_up(g->kc, NR) * (NR / 2 + GATHERED);
}

/* Rows m0 .. m0 + mc - 1, k0 .. k0 + kc - 1 of A as pairs; behind the last k zeros up to a multiple
 * of NR. */
static void block_of_a(const struct fdit_gemm *g, uint32_t *block, float *collected, size_t ld,
                       int m0, int mc, int k0, int kc)
{
    if (g->a_turned) {
        for (int i = 0; i < mc; i += MR) {
            int n = min_int(MR, mc - i);
            uint32_t *to = block + (size_t)i * ld;
            const float *from = g->a + (size_t)k0 * g->lda + m0 + i;
            for (int k = 0; k < kc; k += 2, to += MR, from += 2 * g->lda) {
                __m512 b = k + 1 < kc ? load_some(from + g->lda, n) : _mm512_setzero_ps();
                _mm512_mask_storeu_epi32(to, (__mmask16)((1u << MR) - 1),
                                         round_pairs(load_some(from, n), b));
            }
        }
        return;
    }
    int whole = kc / NR * NR;
    for (int i = 0; i < mc; i++) {
        const float *from = g->gather ? collected + (size_t)(i % GATHERED) * (size_t)kc
                                      : g->a + (size_t)(m0 + i) * g->lda + k0;
        if (g->gather && i % GATHERED == 0)
            g->gather(g, m0 + i, min_int(GATHERED, mc - i), k0, kc, collected);
        uint32_t *to = block + (size_t)i * ld;
        for (int k = 0; k < whole; k += NR)
            _mm512_storeu_si512(to + k / 2,
                                round_2(_mm512_loadu_ps(from + k), _mm512_loadu_ps(from + k + 16)));
        if (whole < kc)
            _mm512_storeu_si512(to + whole / 2,
                                round_2(load_some(from + whole, kc - whole),
                                        load_some(from + whole + 16, kc - whole - 16)));
    }
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    int mc = m1 - m0;
    size_t mc_up = (size_t)round_up(mc, MR), ld = block_stride(g->kc);
    float *sums = scratch;
    uint32_t *a_block = (uint32_t *)(void *)(sums + mc_up * (size_t)round_up(n1 - n0, NR));
    uint32_t *b_panel = a_block + mc_up * ld;
    bool one_block = g->k <= g->kc, in_place = g->form == FDIT_B_PANELS && g->b_type == FDIT_BF16;
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        int kc = min_int(g->kc, g->k - k0);
        int pairs = (g->form == FDIT_B_PACKED_T ? round_up(kc, NR) : kc + 1) / 2;
        bool last = k0 + kc == g->k;
        block_of_a(g, a_block, (float *)(void *)(b_panel + (size_t)round_up(g->kc, NR) / 2 * NR),
                   ld, m0, mc, k0, kc);
        for (int n = n0; n < n1; n += NR) {
            int nr = min_int(NR, n1 - n);
            const uint32_t *panel = get_panel(g, n, nr, k0, kc, b_panel);
            float *sum = sums + (size_t)(n - n0) * mc_up;
            for (int i = 0; i < mc; i += MR) {
                int mr = min_int(MR, mc - i);
                float *c = one_block ? sums : sum + (size_t)i * NR;
                if (in_place && n + NR < n1)
                    fetch_part((const char *)panel + panel_bytes(FDIT_BF16, g->k), pairs, i / MR,
                               (int)(mc_up / MR));
                if (last)
                    fetch_rows(&g->to, m0 + i, mr, n);
                (g->a_turned ? tile_packed[mr - 1] : tile_rows[mr - 1])(pairs, a_block + (size_t)i * ld, ld,
                                                                        panel, c, k0 == 0);
                if (last)
                    finish(&g->to, c, NR, m0 + i, mr, n, nr);
            }
        }
    }
    vstream_end();
}

/* Enough chains to hide the latency of the instruction. */
enum { CHAINS = 14 };

static double multiply_add(size_t rounds, float *sink)
{
    __m512 sum[CHAINS], all = _mm512_setzero_ps();
    __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3f803f7f),
             term = (__m512bh)_mm512_set1_epi16(0x3a83);
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (size_t r = 0; r < rounds; r++) {
        FDIT_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], factor, term);
    }
    FDIT_UNROLL
    for (int i = 0; i < CHAINS; i++)
        all = all + sum[i];
    *sink = vsum((vf)all);
    return 4.0 * CHAINS * FDIT_VLEN;
}

const struct fdit_cpu_gemm_kernels FDIT_ISA_NAME(fdit_cpu_gemm_kernels) = {
    .precision = FDIT_BF16,
    .vlen = FDIT_VLEN,
    .mr = MR,
    .nr = NR,
    .few = 0,
    .kc = KC,
    .mc = MC,
    .panel_bytes = panel_bytes,
    .pack_as = pack_as,
    .scratch = scratch_floats,
    .tile = tile,
    .finish = finish_tile,
    .multiply_add = multiply_add,
};
