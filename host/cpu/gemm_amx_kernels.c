/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_kernels.c: the products of gemm_kernels.h on operands rounded to bf16, added in f32, for
 * processors with AMX (tdpbf16ps). Built for that set alone: see cpu.h.
 *
 * One instruction multiplies 16 rows by 32 k of A with 32 k by 16 columns of B; a register tile is 2 x 2
 * of its results. Both operands are prepared before the first tile (prepare_a, prepare_b), shared by all
 * threads: the unit is so fast that rounding A again for each column of tiles, or turning a weight again
 * for each row of them, would cost as much as the products.
 *
 *     strip of A    [k / 32][2][16 rows][32 k]        two operands for each 32 k
 *     panel of B    [k / 32][16 pairs of k][NR][2]    a packed weight is that already
 *
 * k is filled up with zeros to a multiple of 32 in both. For each 32 k the instruction adds up the even k
 * and the odd k in order, then adds both sums to C: an element of C depends on its row of A, its column
 * of B and the order of k alone, since blocks of k begin at multiples of 32. It takes denormal numbers as
 * 0 and rounds to nearest. */
#include "cpu/gemm_kernels.h"

#define MR 32
#define NR 32
#include "cpu/amx.h"
#include "cpu/gemm_bf16_panels.h"
#include "cpu/gemm_epilogue.h"

/* A panel of B for a block of k is 24 KB: two threads of one core keep theirs in its first-level cache. */
#define KC 384
#define MC 256

enum { STEP = 32, STEP_PAIRS = STEP / 2 * MR, HALF = STEP_PAIRS / 2, GATHERED = 8 };

/* ------------------------------------------------------------------------------ preparing operands */

/* k steps of a strip or panel, 2 KB each. */
static int steps_of(int k)
{
    return (k + STEP - 1) / STEP;
}

/* n <= 16 rows of k numbers to one half of each step from `to` on; the rows that lack are 0. */
static void half_strip(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    for (int i = 0; i < k; i += STEP, to += STEP_PAIRS, from += STEP)
        for (int r = 0; r < 16; r++) {
            const float *row = from + (size_t)r * ld;
            _mm512_store_si512(to + r * 16,
                               r < n ? round_2(load_some(row, k - i), load_some(row + 16, k - i - 16))
                                     : _mm512_setzero_si512());
        }
}

/* The same from columns: element (row, k) is at from[k ld + row]. */
static void half_strip_turned(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    for (int i = 0; i < k; i += STEP, to += STEP_PAIRS) {
        __m512i r[16];
        FDIT_UNROLL
        for (int p = 0; p < 16; p++) {
            const float *a = from + (size_t)(i + 2 * p) * ld;
            r[p] = round_pairs(i + 2 * p < k ? load_some(a, n) : _mm512_setzero_ps(),
                               i + 2 * p + 1 < k ? load_some(a + ld, n) : _mm512_setzero_ps());
        }
        transpose_16(to, 16, r);
    }
}

/* Rows that a convolution collects, GATHERED of them and KC numbers at a time. */
static void gathered_strip(const struct fdit_gemm *g, int m, int rows, uint32_t *to, float *scratch)
{
    for (int k0 = 0; k0 < g->k; k0 += KC) {
        int kc = min_int(KC, g->k - k0);
        for (int i = 0; i < rows; i += GATHERED) {
            int n = min_int(GATHERED, rows - i);
            g->gather(g, m + i, n, k0, kc, scratch);
            for (int r = 0; r < n; r++)
                for (int k = 0; k < kc; k += STEP) {
                    const float *row = scratch + (size_t)r * (size_t)kc + k;
                    _mm512_store_si512(to + (size_t)(k0 + k) / STEP * STEP_PAIRS + (i + r) * 16,
                                       round_2(load_some(row, kc - k),
                                               load_some(row + 16, kc - k - 16)));
                }
        }
    }
}

static size_t prepared_bytes(int k)
{
    return (size_t)steps_of(k) * STEP_PAIRS * sizeof(uint32_t);
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    uint32_t *to = strip;
    int rows = min_int(MR, g->m - m);
    if (g->gather) {
        if (rows < MR)
            memset(strip, 0, prepared_bytes(g->k));
        gathered_strip(g, m, rows, to, scratch);
        return;
    }
    for (int h = 0; h < MR && h < rows; h += 16) {
        if (g->a_turned)
            half_strip_turned(to + h * 16, g->a + m + h, g->lda, rows - h, g->k);
        else
            half_strip(to + h * 16, g->a + (size_t)(m + h) * g->lda, g->lda, rows - h, g->k);
    }
}

static void prepare_b(const struct fdit_gemm *g, int n, void *panel)
{
    const float *plain = g->b;
    const char *packed = g->b;
    uint32_t *to = panel;
    int nr = min_int(NR, g->n - n);
    if (g->k % STEP)
        memset(to + (size_t)(g->k / STEP) * STEP_PAIRS, 0, STEP_PAIRS * sizeof *to);
    switch (g->form) {
    case FDIT_B_ROWS: panel_of_rows(to, plain + n, g->ldb, nr, g->k); return;
    case FDIT_B_COLUMNS:
        panel_of_columns(to, plain + (size_t)n * g->ldb, g->ldb, nr, g->k);
        return;
    case FDIT_B_PANELS:
        packed += (size_t)(n / NR) * panel_bytes(g->b_type, g->k);
        panel_of_int8(to, (const int8_t *)packed, g->b_scale + n, g->k);
        return;
    case FDIT_B_PACKED_T:
        for (int k = 0; k < g->k; k += NR, to += STEP_PAIRS) {
            const char *from = packed + (size_t)(k / NR) * panel_bytes(g->b_type, g->n);
            if (g->b_type == FDIT_BF16)
                turn_bf16(to, (const uint32_t *)(const void *)from + (size_t)n / 2 * NR, nr);
            else
                turn_int8(to, (const int8_t *)from + (size_t)n * NR, g->b_scale + k, nr);
        }
        return;
    }
}

/* ---------------------------------------------------------------------------------- register tiles */

/* c [MR][NR] = (first ? 0 : c) + a strip's steps times a panel's. */
FDIT_KERNEL void tile_32(int steps, const uint32_t *a, const uint32_t *b, float *c, bool first)
{
    if (first) {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
    } else {
        AMX_LOAD(0, c, NR * 4);
        AMX_LOAD(1, c + 16, NR * 4);
        AMX_LOAD(2, c + 16 * NR, NR * 4);
        AMX_LOAD(3, c + 16 * NR + 16, NR * 4);
    }
    for (int s = 0; s < steps; s++, a += STEP_PAIRS, b += STEP_PAIRS) {
        AMX_LOAD(4, a, 64);
        AMX_LOAD(6, b, NR * 4);
        AMX_DOT(0, 4, 6);
        AMX_LOAD(7, b + 16, NR * 4);
        AMX_DOT(1, 4, 7);
        AMX_LOAD(5, a + HALF, 64);
        AMX_DOT(2, 5, 6);
        AMX_DOT(3, 5, 7);
    }
    AMX_STORE(0, c, NR * 4);
    AMX_STORE(1, c + 16, NR * 4);
    AMX_STORE(2, c + 16 * NR, NR * 4);
    AMX_STORE(3, c + 16 * NR + 16, NR * 4);
}

/* The same for at most 16 rows. */
FDIT_KERNEL void tile_16(int steps, const uint32_t *a, const uint32_t *b, float *c, bool first)
{
    if (first) {
        AMX_ZERO(0);
        AMX_ZERO(1);
    } else {
        AMX_LOAD(0, c, NR * 4);
        AMX_LOAD(1, c + 16, NR * 4);
    }
    for (int s = 0; s < steps; s++, a += STEP_PAIRS, b += STEP_PAIRS) {
        AMX_LOAD(4, a, 64);
        AMX_LOAD(6, b, NR * 4);
        AMX_DOT(0, 4, 6);
        AMX_LOAD(7, b + 16, NR * 4);
        AMX_DOT(1, 4, 7);
    }
    AMX_STORE(0, c, NR * 4);
    AMX_STORE(1, c + 16, NR * 4);
}

/* ------------------------------------------------------------------------------------- cache tiles */

/* Partial sums, as register tiles one behind the other, or collected rows. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t sums = (size_t)round_up(g->mc, MR) * (size_t)round_up(g->nc, NR);
    return sums > GATHERED * KC ? sums : GATHERED * KC;
}

/* A piece of the panel that comes after this one. */
FDIT_KERNEL void prefetch_panel(const uint32_t *next, int steps, int i, int pieces)
{
    int size = (steps + pieces - 1) / pieces, end = min_int(steps, (i + 1) * size);
    for (int s = i * size; s < end; s++)
        for (int line = 0; line < STEP_PAIRS; line += 16)
            __builtin_prefetch(next + (size_t)s * STEP_PAIRS + line, 0, 2);
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    const size_t each = prepared_bytes(g->k) / sizeof(uint32_t);
    const uint32_t *strips = (const uint32_t *)g->strips + (size_t)(m0 - g->strip_row) / MR * each;
    const uint32_t *panels = (const uint32_t *)g->panels + (size_t)(n0 - g->panel_column) / NR * each;
    const size_t mc_up = (size_t)round_up(m1 - m0, MR);
    const bool one_block = g->k <= g->kc;
    amx_begin();
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        const int kc = min_int(g->kc, g->k - k0), steps = steps_of(kc);
        const size_t at = (size_t)(k0 / STEP) * STEP_PAIRS;
        const bool last = k0 + kc == g->k;
        for (int n = n0; n < n1; n += NR) {
            const uint32_t *panel = panels + (size_t)((n - n0) / NR) * each + at;
            float *sum = scratch + (size_t)(n - n0) * mc_up;
            for (int m = m0; m < m1; m += MR) {
                const uint32_t *strip = strips + (size_t)((m - m0) / MR) * each + at;
                const int mr = min_int(MR, m1 - m);
                float *c = one_block ? scratch : sum + (size_t)(m - m0) * NR;
                if (n + NR < n1)
                    prefetch_panel(panel + each, steps, (m - m0) / MR, (int)(mc_up / MR));
                if (last)
                    for (int j = 0; j < mr; j++) {
                        const float *to = g->to.c + (size_t)(m + j) * g->to.ldc + n;
                        __builtin_prefetch(to, 1, 3);
                        __builtin_prefetch(to + 16, 1, 3);
                    }
                (mr > 16 ? tile_32 : tile_16)(steps, strip, panel, c, k0 == 0);
                if (last)
                    finish(&g->to, c, NR, m, mr, n, min_int(NR, n1 - n));
            }
        }
    }
    amx_end();
}

/* ------------------------------------------------------------------------------------------- peak */

/* Six results hide the latency of the instruction. They take as long as a few rounds of the vectors'
 * loops, of which the caller asks for a burst's. */
enum { ROUNDS_FOR_ONE = 8 };
static double multiply_add(size_t rounds, float *sink)
{
    static const uint32_t zero[STEP_PAIRS];
    float out[256];
    amx_begin();
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    AMX_ZERO(4);
    AMX_ZERO(5);
    AMX_LOAD(6, zero, 64);
    AMX_LOAD(7, zero, 64);
    for (size_t r = 0; r < rounds / ROUNDS_FOR_ONE; r++) {
        AMX_DOT(0, 6, 7);
        AMX_DOT(1, 6, 7);
        AMX_DOT(2, 6, 7);
        AMX_DOT(3, 6, 7);
        AMX_DOT(4, 6, 7);
        AMX_DOT(5, 6, 7);
    }
    AMX_STORE(0, out, 64);
    amx_end();
    *sink = out[0];
    return 6.0 * 2 * 16 * 16 * 32 / ROUNDS_FOR_ONE;
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
    .prepare_b = prepare_b,
    .scratch = scratch_floats,
    .tile = tile,
    .finish = finish,
    .multiply_add = multiply_add,
};
