/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_parts.h: products of f32 on the unit for bf16 of AMX: each operand is the sum of PARTS numbers of
 * bf16, of whose products those are added up that count. A file that includes this defines PARTS before:
 *
 *     3   x = x0 + x1 + x2 with all 24 digits of f32; x0 y0 + x0 y1 + x1 y0 + x1 y1 + x0 y2 + x2 y0, 6 of 9
 *         products. What is left out is at most 2^-25 of x y.
 *     2   x0 and x1 have 16 digits; x0 y0 + x0 y1 + x1 y0, 3 of 4 products, to about 2^-17 of x y.
 *
 * Each part is what is left of x, rounded to nearest, so that what is left out has no sign in common. The sum
 * of 32 k times 6 products is rounded 36 times in a chain of 1152 k, a chain of multiply-adds 1152 times: its
 * error is smaller (fdit_cpu_parts_agree tries it). Where it is not f32: parts below 2^-126 are taken as 0,
 * so that numbers below 2^-110 lose digits. A sum that is not finite, because what is left of infinity (or of
 * more than 3.39e38) is none, is added up again by multiply-adds.
 *
 * Each sum takes its products in the order of k, 32 at a time, so that its bits depend on its row of A, its
 * column of B and the order of k alone. Weights are packed by the set's kernels for f32, which have the same
 * nr, and stay f32 (or bf16, or int8) in memory. */
#ifndef FDIT_CPU_GEMM_AMX_PARTS_H
#define FDIT_CPU_GEMM_AMX_PARTS_H

#include "cpu/bf16.h"
#include "cpu/gemm_kernels.h"

#define MR 32
#define NR 32
#include "cpu/gemm_epilogue.h"
#include "cpu/gemm_widen.h"

/* 24 KB of a panel, as in gemm_amx_kernels.c. */
#define KC (384 / PARTS)
#define MC 256
#define STEP 32
#define AMX_PRODUCT(c, a, b) AMX_DOT(c, a, b)
#include "cpu/gemm_amx_tiles.h"

enum { GATHERED = 8 };

/* ----------------------------------------------------------------------------------- taking apart */

/* The 16 bf16 of half of v, as f32. */
FDIT_KERNEL __m512 lower_16(__m512i v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(v)), 16));
}
FDIT_KERNEL __m512 upper_16(__m512i v)
{
    __m256i high = _mm512_extracti64x4_epi64(v, 1);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/* Part p, for p = 0, 1 ...: a's in the low half, b's in the high one; a and b become what is left. */
FDIT_KERNEL __m512i next_part(__m512 *a, __m512 *b)
{
    __m512i part = round_2(*a, *b);
    *a -= lower_16(part);
    *b -= upper_16(part);
    return part;
}

/* --------------------------------------------------------------------------------------- a step of A */

/* 16 rows of 32 k, n of them from `from` on, k <= 32 of each; the rest is 0. */
static void rows_of_a(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    for (int r = 0; r < 16; r++) {
        __m512 low = r < n ? load_some(from + (size_t)r * ld, k) : vzero();
        __m512 high = r < n ? load_some(from + (size_t)r * ld + 16, k - 16) : vzero();
        FDIT_UNROLL
        for (int p = 0; p < PARTS; p++)
            _mm512_store_si512(to + p * PART_WORDS + r * 16, next_part(&low, &high));
    }
}

/* The same from columns: element (row, k) is at from[k ld + row]. */
static void columns_of_a(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    __m512i parts[PARTS][16];
    for (int i = 0; i < 16; i++) {
        const float *at = from + (size_t)(2 * i) * ld;
        __m512 even = 2 * i < k ? load_some(at, n) : vzero();
        __m512 odd = 2 * i + 1 < k ? load_some(at + ld, n) : vzero();
        FDIT_UNROLL
        for (int p = 0; p < PARTS; p++)
            parts[p][i] = in_pairs(next_part(&even, &odd));
    }
    for (int p = 0; p < PARTS; p++)
        transpose_16(to + p * PART_WORDS, 16, parts[p]);
}

static size_t prepared_bytes(int k)
{
    return step_words(k) * sizeof(uint32_t);
}

/* Rows that a convolution collects, GATHERED of them and KC numbers at a time. */
static void gathered_strip(const struct fdit_gemm *g, int m, int rows, uint32_t *to, float *scratch)
{
    for (int k0 = 0; k0 < g->k; k0 += KC) {
        const int kc = min_int(KC, g->k - k0);
        for (int i = 0; i < rows; i += GATHERED) {
            const int n = min_int(GATHERED, rows - i);
            g->gather(g, m + i, n, k0, kc, scratch);
            for (int k = 0; k < kc; k += STEP)
                for (int r = 0; r < n; r++) {
                    const float *row = scratch + (size_t)r * (size_t)kc + k;
                    uint32_t *at = to + (size_t)(k0 + k) / STEP * STEP_WORDS + (i + r) * 16;
                    __m512 low = load_some(row, kc - k), high = load_some(row + 16, kc - k - 16);
                    FDIT_UNROLL
                    for (int p = 0; p < PARTS; p++)
                        _mm512_store_si512(at + p * PART_WORDS, next_part(&low, &high));
                }
        }
    }
}

static void prepare_a(const struct fdit_gemm *g, int m, void *strip, float *scratch)
{
    const int rows = min_int(MR, g->m - m);
    uint32_t *to = strip;
    if (g->gather) {
        if (rows < MR)
            memset(strip, 0, prepared_bytes(g->k));
        gathered_strip(g, m, rows, to, scratch);
        return;
    }
    for (int k = 0; k < g->k; k += STEP, to += STEP_WORDS)
        for (int h = 0; h < MR && h < rows; h += 16) {
            uint32_t *half = to + h / 16 * HALF;
            if (g->a_turned)
                columns_of_a(half, g->a + (size_t)k * g->lda + m + h, g->lda, rows - h, g->k - k);
            else
                rows_of_a(half, g->a + (size_t)(m + h) * g->lda + k, g->lda, rows - h, g->k - k);
        }
}

/* --------------------------------------------------------------------------------------- a step of B */

/* n <= NR columns of k <= 32, B(k, n) = from[k ld + n]; the rest is 0. */
static void rows_of_b(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    for (int i = 0; i < 16; i++, to += NR)
        FDIT_UNROLL
    for (int h = 0; h < NR; h += 16) {
        const float *at = from + (size_t)(2 * i) * ld + h;
        __m512 even = 2 * i < k ? load_some(at, n - h) : vzero();
        __m512 odd = 2 * i + 1 < k ? load_some(at + ld, n - h) : vzero();
        FDIT_UNROLL
        for (int p = 0; p < PARTS; p++)
            _mm512_store_si512(to + p * PART_WORDS + h, in_pairs(next_part(&even, &odd)));
    }
}

/* The same where B(k, n) = from[n ld + k]. */
static void columns_of_b(uint32_t *to, const float *from, size_t ld, int n, int k)
{
    __m512i parts[PARTS][16];
    for (int h = 0; h < NR; h += 16) {
        for (int j = 0; j < 16; j++) {
            const float *row = from + (size_t)(h + j) * ld;
            __m512 low = h + j < n ? load_some(row, k) : vzero();
            __m512 high = h + j < n ? load_some(row + 16, k - 16) : vzero();
            FDIT_UNROLL
            for (int p = 0; p < PARTS; p++)
                parts[p][j] = next_part(&low, &high);
        }
        for (int p = 0; p < PARTS; p++)
            transpose_16(to + p * PART_WORDS + h, NR, parts[p]);
    }
}

/* `rows` <= 32 rows of 32 numbers of a packed weight, from row `row` of a panel of panel_rows on: where they
 * lie, or widened to f32 in block [32][32]. */
static const float *packed_rows(const struct fdit_gemm *g, int panel, int panel_rows, int row, int rows,
                                float *block)
{
    const size_t at = ((size_t)panel * (size_t)panel_rows + (size_t)row) * NR;
    const size_t int8_rows = (size_t)round_up(panel_rows, FDIT_INT8_STEP);
    if (g->b_type == FDIT_F32)
        return (const float *)g->b + at;
    if (g->b_type == FDIT_BF16)
        widen_bf16(block, g->b, at, rows);
    else
        widen_int8(block, (const int8_t *)g->b + ((size_t)panel * int8_rows + (size_t)row) * NR, rows,
                   g->b_scale + panel * NR);
    return block;
}

static void prepare_b(const struct fdit_gemm *g, int n, void *panel)
{
    const float *plain = g->b;
    const int nr = min_int(NR, g->n - n);
    uint32_t *to = panel;
    float block[32 * 32];
    for (int k = 0; k < g->k; k += STEP, to += STEP_WORDS) {
        const int left = g->k - k, rows = min_int(STEP, left);
        switch (g->form) {
        case FDIT_B_ROWS: rows_of_b(to, plain + (size_t)k * g->ldb + n, g->ldb, nr, left); break;
        case FDIT_B_COLUMNS: columns_of_b(to, plain + (size_t)n * g->ldb + k, g->ldb, nr, left); break;
        case FDIT_B_PANELS: rows_of_b(to, packed_rows(g, n / NR, g->k, k, rows, block), NR, NR, left); break;
        case FDIT_B_PACKED_T:
            columns_of_b(to, packed_rows(g, k / NR, g->n, n, nr, block), NR, nr, left);
            break;
        }
    }
}

/* ------------------------------------------------------------------------------------------ results */

/* Sums, or collected rows. */
static size_t scratch_floats(const struct fdit_gemm *g)
{
    size_t sums = sum_floats(g);
    return sums > GATHERED * KC ? sums : GATHERED * KC;
}

static float b_at(const struct fdit_gemm *g, int k, int n)
{
    const float *plain = g->b;
    if (g->form == FDIT_B_ROWS)
        return plain[(size_t)k * g->ldb + (size_t)n];
    if (g->form == FDIT_B_COLUMNS)
        return plain[(size_t)n * g->ldb + (size_t)k];
    float block[4 * NR];
    const bool turned = g->form == FDIT_B_PACKED_T;
    const int lane = turned ? k : n, row = turned ? n : k, first = row / 4 * 4;
    const int rows = turned ? g->n : g->k;
    const float *at = packed_rows(g, lane / NR, rows, first, min_int(4, rows - first), block);
    return at[(row - first) * NR + lane % NR];
}

/* What is left of infinity when it is taken apart is not a number: the sums of a row that are not finite,
 * once more as a chain of multiply-adds, which keeps infinity. */
static void sum_again(const struct fdit_gemm *g, float *c, int m, int n, int columns)
{
    float sums[NR] = { 0 }, a[KC];
    for (int k0 = 0; k0 < g->k; k0 += KC) {
        const int kc = min_int(KC, g->k - k0);
        if (g->gather)
            g->gather(g, m, 1, k0, kc, a);
        for (int i = 0; i < kc && !g->gather; i++) {
            const size_t k = (size_t)(k0 + i);
            a[i] = g->a_turned ? g->a[k * g->lda + (size_t)m] : g->a[(size_t)m * g->lda + k];
        }
        for (int j = 0; j < columns; j++)
            for (int i = 0; i < kc && !isfinite(c[j]); i++)
                sums[j] = fmaf(a[i], b_at(g, k0 + i, n + j), sums[j]);
    }
    for (int j = 0; j < columns; j++)
        if (!isfinite(c[j]))
            c[j] = sums[j];
}

static void check_sums(const struct fdit_gemm *g, float *c, int m, int rows, int n, int columns)
{
    for (int r = 0; r < rows; r++, c += NR) {
        /* x - x is 0, or not a number. */
        const vf left = vload(c), right = vload(c + 16);
        if (_mm512_cmp_ps_mask(left - left + (right - right), vzero(), _CMP_NEQ_UQ))
            sum_again(g, c, m + r, n, columns);
    }
}

/* c [rows][NR] += low [rows][low_k] times a panel [low_k][NR], by multiply-adds: low_k is small. */
static void add_low(const struct fdit_gemm *g, float *c, int m, int rows, int n)
{
    const float *panel = (const float *)g->low_panels + (size_t)n * (size_t)g->low_k;
    for (int r = 0; r < rows; r++, c += NR) {
        const float *low = g->low + (size_t)(m + r) * (size_t)g->low_k;
        vf left = vload(c), right = vload(c + 16);
        for (int k = 0; k < g->low_k; k++) {
            left = vfma(vset(low[k]), vload(panel + k * NR), left);
            right = vfma(vset(low[k]), vload(panel + k * NR + 16), right);
        }
        vstore(c, left);
        vstore(c + 16, right);
    }
}

static void complete(const struct fdit_gemm *g, const uint32_t *strip, float *c, int m, int rows, int n,
                     int columns)
{
    (void)strip;
    check_sums(g, c, m, rows, n, columns);
    if (g->low_k)
        add_low(g, c, m, rows, n);
    finish(&g->to, c, NR, m, rows, n, columns);
}

#define GEMM_KERNELS                                                                                      \
    {                                                                                                     \
        .precision = PARTS == 3 ? FDIT_F32 : FDIT_BF16X3, .parts = PARTS, .vlen = FDIT_VLEN, .mr = MR,    \
        .nr = NR, .few = 0, .kc = KC, .mc = MC, .prepared_bytes = prepared_bytes, .prepare_a = prepare_a, \
        .prepare_b = prepare_b, .scratch = scratch_floats, .tile = tile, .finish = finish_tile,           \
        .multiply_add = multiply_add,                                                                     \
    }

#endif
