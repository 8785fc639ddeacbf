/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_kernels.c: the products of gemm_kernels.h on operands rounded to bf16, added in f32, for
 * processors with AMX (tdpbf16ps). Built for that set alone: see cpu.h.
 *
 * The tiles are gemm_amx_tiles.h; a packed weight is a panel already. Both operands are prepared before the
 * first tile (prepare_a, prepare_b), shared by all threads: the unit is so fast that rounding A again for
 * each column of tiles, or turning a weight again for each row of them, would cost as much as the products.
 *
 * k is filled up with zeros to a multiple of 32 in both. For each 32 k the instruction adds up the even k
 * and the odd k in order, then adds both sums to C: an element of C depends on its row of A, its column
 * of B and the order of k alone, since blocks of k begin at multiples of 32. It takes denormal numbers as
 * 0 and rounds to nearest. */
#include "cpu/gemm_kernels.h"

#define MR 32
#define NR 32
#include "cpu/gemm_bf16_panels.h"
#include "cpu/gemm_epilogue.h"

/* A panel of B for a block of k is 24 KB: two threads of one core keep theirs in its first-level cache. */
#define KC 384
#define MC 256
#define STEP 32
#define AMX_PRODUCT(c, a, b) AMX_DOT(c, a, b)
#include "cpu/gemm_amx_tiles.h"

enum { GATHERED = 8 };

/* ------------------------------------------------------------------------------ preparing operands */

/* n <= 16 rows of k numbers to one half of each step from `to` on; the rows that lack are 0. */
static void half_strip(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    for (int i = 0; i < k; i += STEP, to += STEP_WORDS, from += STEP)
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
    for (int i = 0; i < k; i += STEP, to += STEP_WORDS) {
        __m512i r[16];
        FDIT_UNROLL
        for (int p = 0; p < 16; p++) {
            const float *a = from + (size_t)(i + 2 * p) * ld;
            r[p] = round_pairs(i + 2 * p < k ? load_some(a, n) : vzero(),
                               i + 2 * p + 1 < k ? load_some(a + ld, n) : vzero());
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
                    _mm512_store_si512(to + (size_t)(k0 + k) / STEP * STEP_WORDS + (i + r) * 16,
                                       round_2(load_some(row, kc - k), load_some(row + 16, kc - k - 16)));
                }
        }
    }
}

/* n <= 16 rows of pixels whose numbers fill whole steps, straight from the picture. */
static void half_strip_of_taps(const struct fdit_gemm *g, int m, int n, uint32_t *to)
{
    const float *at[16][FDIT_GEMM_TAPS];
    const int each = g->k / g->n_taps;
    for (int r = 0; r < n; r++)
        g->taps(g, m + r, at[r]);
    for (int tap = 0; tap < g->n_taps; tap++)
        for (int i = 0; i < each; i += STEP, to += STEP_WORDS)
            for (int r = 0; r < 16; r++) {
                const float *row = r < n ? at[r][tap] : NULL;
                _mm512_store_si512(to + r * 16,
                                   row ? round_2(_mm512_loadu_ps(row + i), _mm512_loadu_ps(row + i + 16))
                                       : _mm512_setzero_si512());
            }
}

static size_t prepared_bytes(int k)
{
    return step_words(k) * sizeof(uint32_t);
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    uint32_t *to = strip;
    int rows = min_int(MR, g->m - m);
    if (fdit_gemm_by_taps(g, STEP)) {
        for (int h = 0; h < MR && h < rows; h += 16)
            half_strip_of_taps(g, m + h, min_int(16, rows - h), to + h * 16);
        return;
    }
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
        memset(to + (size_t)(g->k / STEP) * STEP_WORDS, 0, STEP_WORDS * sizeof *to);
    switch (g->form) {
    case FDIT_B_ROWS: panel_of_rows(to, plain + n, g->ldb, nr, g->k); return;
    case FDIT_B_COLUMNS: panel_of_columns(to, plain + (size_t)n * g->ldb, g->ldb, nr, g->k); return;
    case FDIT_B_PANELS:
        packed += (size_t)(n / NR) * panel_bytes(g->b_type, g->k);
        panel_of_int8(to, (const int8_t *)packed, g->b_scale + n, g->k);
        return;
    case FDIT_B_PACKED_T:
        for (int k = 0; k < g->k; k += NR, to += STEP_WORDS) {
            const char *from = packed + (size_t)(k / NR) * panel_bytes(g->b_type, g->n);
            if (g->b_type == FDIT_BF16)
                turn_bf16(to, (const uint32_t *)(const void *)from + (size_t)n / 2 * NR, nr);
            else
                turn_int8(to, (const int8_t *)from + (size_t)n * NR, g->b_scale + k);
        }
        return;
    }
}

/* ------------------------------------------------------------------------------------------ results */

/* Sums, or collected rows. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t sums = sum_floats(g);
    return sums > GATHERED * KC ? sums : GATHERED * KC;
}

/* c [rows][NR] += low times its panels of columns n .. n + NR - 1, with the tile registers configured. Its
 * rows are rounded again for each panel: they are short. */
static void add_low(const struct fdit_gemm *g, float *c, int m, int rows, int n)
{
    _Alignas(64) uint32_t strip[STEP_WORDS];
    struct ahead nothing = { 0 };
    const size_t ld = (size_t)g->low_k;
    const uint32_t *panel =
        (const uint32_t *)g->low_panels + (size_t)(n / NR) * panel_bytes(FDIT_BF16, g->low_k) / sizeof *panel;
    for (int k = 0; k < g->low_k; k += STEP, panel += STEP_WORDS) {
        const int kc = min_int(STEP, g->low_k - k);
        for (int h = 0; h < rows; h += 16)
            half_strip(strip + h * 16, g->low + (size_t)(m + h) * ld + k, ld, rows - h, kc);
        (rows > 16 ? tile_32 : tile_16)(1, strip, panel, c, false, &nothing);
    }
}

static void complete(const struct fdit_gemm *g, const uint32_t *strip, float *c, int m, int rows, int n,
                     int columns)
{
    (void)strip;
    if (g->low_k)
        add_low(g, c, m, rows, n);
    finish(&g->to, c, NR, m, rows, n, columns);
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
    .finish = finish_tile,
    .multiply_add = multiply_add,
};
