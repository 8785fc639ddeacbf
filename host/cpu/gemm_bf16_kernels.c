/* SPDX-License-Identifier: Apache-2.0
 * gemm_bf16_kernels.c: the products of gemm_kernels.h on operands rounded to bf16, added in f32,
 * for processors with AVX-512-BF16 (vdpbf16ps). Built for that set alone: see cpu.h.
 *
 * All forms run as the normal one. A is rounded to strips of rows before the first tile (prepare_a), once for
 * all threads; B comes as panels [k / 2][NR][2] of pairs of neighbouring k, which is how one multiply-add
 * takes them. A packed weight is in this shape already; for the other direction (linear_dx) its blocks of
 * 32 x 32 are turned in registers, once for all rows of a tile. Each element of C is one chain of pair
 * products over k in rising order, whatever the tile, the batch and the number of threads; blocks of k only
 * interrupt it. The instruction takes denormal numbers as 0 and rounds to nearest. */
#include "cpu/gemm_kernels.h"

#define MR 14
#define NR 32
#include "cpu/gemm_bf16_panels.h"
#include "cpu/gemm_epilogue.h"

#define DOT(acc, x, b) ((vf)_mm512_dpbf16_ps((__m512)(acc), (__m512bh)(x), (__m512bh)(b)))
#include "cpu/gemm_dot_tiles.h"

REGISTER_TILES(rows)
REGISTER_TILES(packed)
/* For at most a vector of columns, as the products with a low-rank adapter's rank have. */
REGISTER_TILES(half_rows)
REGISTER_TILES(half_packed)

#define KC 768
#define MC 266

/* The panel of B for columns n .. n + nr - 1 and k0 .. k0 + kc - 1, in place or in `to`. */
static const uint32_t *get_panel(const struct fdit_gemm *g, int n, int nr, int k0, int kc, uint32_t *to)
{
    const float *plain = g->b;
    const char *packed = g->b;
    switch (g->form) {
    case FDIT_B_ROWS: panel_of_rows(to, plain + (size_t)k0 * g->ldb + n, g->ldb, nr, kc); return to;
    case FDIT_B_COLUMNS: panel_of_columns(to, plain + (size_t)n * g->ldb + k0, g->ldb, nr, kc); return to;
    case FDIT_B_PANELS:
        packed += (size_t)(n / NR) * panel_bytes(g->b_type, g->k);
        if (g->b_type == FDIT_BF16)
            return (const uint32_t *)(const void *)packed + (size_t)k0 / 2 * NR;
        panel_of_int8(to, (const int8_t *)packed + (size_t)k0 * NR, g->b_scale + n, kc);
        return to;
    case FDIT_B_PACKED_T:
        for (int k = k0; k < k0 + kc; k += NR) {
            const size_t each = panel_bytes(g->b_type, g->n), column = NR * (g->b_type == FDIT_BF16 ? 2 : 1);
            const char *piece = packed + (size_t)(k / NR) * each + (size_t)n * column;
            uint32_t *part = to + (size_t)(k - k0) / 2 * NR;
            /* the next one: no hardware follows pieces that are so far apart */
            if (k + NR < g->k)
                for (size_t i = 0; i < NR * column; i += 64)
                    __builtin_prefetch(piece + each + i, 0, 3);
            if (g->b_type == FDIT_BF16)
                turn_bf16(part, (const uint32_t *)(const void *)piece, nr);
            else
                turn_int8(part, (const int8_t *)piece, g->b_scale + k);
        }
        return to;
    }
    return to;
}

/* ------------------------------------------------------------------------------------- strips of A */

/* From one row of a strip to the next, in pairs: off a power of two. */
static size_t row_pairs(int k)
{
    return (size_t)round_up(k, NR) / 2 + 16;
}

/* [MR][row_pairs], or of a turned A [k / 2][MR]. */
static size_t strip_pairs(int k)
{
    return MR * row_pairs(k);
}

static size_t prepared_bytes(int k)
{
    return strip_pairs(k) * sizeof(uint32_t);
}

/* k numbers as pairs, 0 behind them up to a multiple of NR. */
FDIT_KERNEL void round_row(uint32_t *to, const float *from, int k)
{
    int i = 0;
    for (; i + NR <= k; i += NR)
        _mm512_storeu_si512(to + i / 2, round_2(_mm512_loadu_ps(from + i), _mm512_loadu_ps(from + i + 16)));
    if (i < k)
        _mm512_storeu_si512(to + i / 2,
                            round_2(load_some(from + i, k - i), load_some(from + i + 16, k - i - 16)));
}

enum { GATHERED = 8 }; /* rows that are collected at a time, KC numbers of each, before they are rounded */

static void gathered_strip(const struct fdit_gemm *g, int m, int rows, uint32_t *to, float *collected)
{
    for (int k0 = 0; k0 < g->k; k0 += KC) {
        const int kc = min_int(KC, g->k - k0);
        for (int i = 0; i < rows; i += GATHERED) {
            const int n = min_int(GATHERED, rows - i);
            g->gather(g, m + i, n, k0, kc, collected);
            for (int r = 0; r < n; r++)
                round_row(to + (size_t)(i + r) * row_pairs(g->k) + k0 / 2, collected + (size_t)r * (size_t)kc,
                          kc);
        }
    }
}

/* Rows of pixels whose numbers fill whole vectors, straight from the picture. */
static void strip_of_taps(const struct fdit_gemm *g, int m, int rows, uint32_t *to)
{
    const int each = g->k / g->n_taps;
    for (int r = 0; r < rows; r++, to += row_pairs(g->k)) {
        const float *at[FDIT_GEMM_TAPS];
        g->taps(g, m + r, at);
        for (int tap = 0; tap < g->n_taps; tap++) {
            if (at[tap])
                round_row(to + tap * each / 2, at[tap], each);
            else
                memset(to + tap * each / 2, 0, (size_t)each * 2);
        }
    }
}

static void turned_strip(const struct fdit_gemm *g, int m, int rows, uint32_t *to)
{
    const float *from = g->a + m;
    for (int k = 0; k < g->k; k += 2, to += MR, from += 2 * g->lda) {
        __m512 b = k + 1 < g->k ? load_some(from + g->lda, rows) : vzero();
        _mm512_mask_storeu_epi32(to, (__mmask16)((1u << MR) - 1), round_pairs(load_some(from, rows), b));
    }
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    const int rows = min_int(MR, g->m - m);
    uint32_t *to = strip;
    if (fdit_gemm_by_taps(g, NR))
        strip_of_taps(g, m, rows, to);
    else if (g->gather)
        gathered_strip(g, m, rows, to, scratch);
    else if (g->a_turned)
        turned_strip(g, m, rows, to);
    else
        for (int r = 0; r < rows; r++)
            round_row(to + (size_t)r * row_pairs(g->k), g->a + (size_t)(m + r) * g->lda, g->k);
}

/* ------------------------------------------------------------------------------------- cache tiles */

/* Partial sums, as register tiles one behind the other, and a panel of B; or collected rows. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t mc = (size_t)round_up(g->mc, MR), nc = (size_t)round_up(g->nc, NR);
    size_t floats = mc * nc + (size_t)round_up(g->kc, NR) * (NR / 2);
    return floats > GATHERED * KC ? floats : GATHERED * KC;
}

/* c [rows][NR] += low times its panels of columns n .. n + NR - 1. Its rows are rounded again for each panel:
 * they are short. */
static void add_low(const struct fdit_gemm *g, float *c, int m, int rows, int n)
{
    register_tile_fn *const *const tiles = g->n - n > FDIT_VLEN ? tile_rows : tile_half_rows;
    uint32_t strip[MR * NR / 2];
    struct ahead nothing = { 0 };
    const uint32_t *panel =
        (const uint32_t *)g->low_panels + (size_t)(n / NR) * panel_bytes(FDIT_BF16, g->low_k) / sizeof *panel;
    for (int k = 0; k < g->low_k; k += NR, panel += NR / 2 * NR) {
        const int kc = min_int(NR, g->low_k - k);
        for (int r = 0; r < rows; r++)
            round_row(strip + r * (NR / 2), g->low + (size_t)(m + r) * (size_t)g->low_k + k, kc);
        tiles[rows - 1]((kc + 1) / 2, strip, NR / 2, panel, c, false, &nothing);
    }
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    const int mc = m1 - m0;
    const size_t mc_up = (size_t)round_up(mc, MR), ld = row_pairs(g->k);
    const size_t strip_each = strip_pairs(g->k);
    const uint32_t *strips = (const uint32_t *)g->strips + (size_t)(m0 - g->strip_row) / MR * strip_each;
    float *sums = scratch;
    uint32_t *b_panel = (uint32_t *)(void *)(sums + mc_up * (size_t)round_up(n1 - n0, NR));
    bool one_block = g->k <= g->kc, in_place = g->form == FDIT_B_PANELS && g->b_type == FDIT_BF16;
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        int kc = min_int(g->kc, g->k - k0);
        int pairs = (g->form == FDIT_B_PACKED_T ? round_up(kc, NR) : kc + 1) / 2;
        bool last = k0 + kc == g->k;
        const size_t at = (size_t)k0 / 2 * (g->a_turned ? MR : 1);
        for (int n = n0; n < n1; n += NR) {
            int nr = min_int(NR, n1 - n);
            const uint32_t *panel = get_panel(g, n, nr, k0, kc, b_panel);
            float *sum = sums + (size_t)(n - n0) * mc_up;
            for (int i = 0; i < mc; i += MR) {
                int mr = min_int(MR, mc - i);
                float *c = one_block ? sums : sum + (size_t)i * NR;
                const uint32_t *strip = strips + (size_t)(i / MR) * strip_each + at;
                const uint32_t *next =
                    in_place && n + NR < n1 ? panel + panel_bytes(FDIT_BF16, g->k) / sizeof *panel : NULL;
                struct ahead f = ahead_of(&g->to, next, AHEAD_LINES, pairs / AHEAD_STEPS, i / MR,
                                          (int)(mc_up / MR), m0 + i, last ? mr : 0, n);
                register_tile_fn *const *const tiles =
                    nr > FDIT_VLEN ? (g->a_turned ? tile_packed : tile_rows)
                                   : (g->a_turned ? tile_half_packed : tile_half_rows);
                tiles[mr - 1](pairs, strip, ld, panel, c, k0 == 0, &f);
                if (last && g->low_k)
                    add_low(g, c, m0 + i, mr, n);
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
    __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3f803f7f), term = (__m512bh)_mm512_set1_epi16(0x3a83);
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
    .prepared_bytes = prepared_bytes,
    .prepare_a = prepare_a,
    .scratch = scratch_floats,
    .tile = tile,
    .finish = finish_tile,
    .multiply_add = multiply_add,
};
