/* SPDX-License-Identifier: Apache-2.0
 * attention_bf16_dot.h: the products of attention_bf16_kernels.c by AVX-512-BF16: each element of C
 * adds up its pairs in order. Included by that file alone. */
#ifndef FDIT_CPU_ATTENTION_BF16_DOT_H
#define FDIT_CPU_ATTENTION_BF16_DOT_H

#define ROW_STEP 12 /* rows of a register tile */

/* C [ROW_STEP][nv] (+)= sum over k of A(i, k) B(k, .): A(i, k) = a[i ai + k ak], row k of B at b +
 * k bk. */
FDIT_KERNEL void micro(const int nv, int n, const uint32_t *a, size_t ai, size_t ak,
                       const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    __m512 acc[ROW_STEP][2];
    FDIT_UNROLL
    for (int i = 0; i < ROW_STEP; i++)
        FDIT_UNROLL
    for (int j = 0; j < nv; j++)
        acc[i][j] = add ? _mm512_loadu_ps(c + (size_t)i * ci + j * VL) : _mm512_setzero_ps();
    for (int k = 0; k < n; k++) {
        __m512bh row[2];
        FDIT_UNROLL
        for (int j = 0; j < nv; j++)
            row[j] = (__m512bh)_mm512_loadu_si512(b + j * VL);
        FDIT_UNROLL
        for (int i = 0; i < ROW_STEP; i++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[(size_t)i * ai]);
            FDIT_UNROLL
            for (int j = 0; j < nv; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], x, row[j]);
        }
        a += ak;
        b += bk;
    }
    FDIT_UNROLL
    for (int i = 0; i < ROW_STEP; i++)
        FDIT_UNROLL
    for (int j = 0; j < nv; j++)
        _mm512_storeu_ps(c + (size_t)i * ci + j * VL, acc[i][j]);
}

/* A along rows (ak = 1), and along columns (ai = 1). */
#define MICRO(nv)                                                                                  \
    static __attribute__((noinline)) void micro_rows_##nv(int n, const uint32_t *a, size_t ld,     \
                                                          const uint32_t *b, size_t bk, float *c,  \
                                                          size_t ci, bool add)                     \
    {                                                                                              \
        micro(nv, n, a, ld, 1, b, bk, c, ci, add);                                                 \
    }                                                                                              \
    static __attribute__((noinline)) void micro_columns_##nv(int n, const uint32_t *a, size_t ld,  \
                                                             const uint32_t *b, size_t bk,         \
                                                             float *c, size_t ci, bool add)        \
    {                                                                                              \
        micro(nv, n, a, 1, ld, b, bk, c, ci, add);                                                 \
    }
MICRO(1)
MICRO(2)

/* C [rows, vectors * VL], rows rounded up to ROW_STEP, from n pairs along k. */
static void product(bool columns, int rows, int vectors, int n, const uint32_t *a, size_t lda,
                    const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    const size_t step = columns ? 1 : lda;
    for (int v = 0; v < vectors; v += 2) {
        const bool two = v + 1 < vectors;
        for (int i = 0; i < rows; i += ROW_STEP) {
            const uint32_t *from = a + (size_t)i * step;
            float *to = c + (size_t)i * ci + v * VL;
            if (columns)
                (two ? micro_columns_2 : micro_columns_1)(n, from, lda, b + v * VL, bk, to, ci,
                                                          add);
            else
                (two ? micro_rows_2 : micro_rows_1)(n, from, lda, b + v * VL, bk, to, ci, add);
        }
    }
}

/* C [rows, keys rounded up to panels] = A B, B in panels of `pairs` rows. */
static void product_panels(int rows, int keys, int pairs, const uint32_t *a, size_t lda,
                           const uint32_t *panels, float *c, size_t ci)
{
    for (int j = 0; j < keys; j += PANEL)
        for (int i = 0; i < rows; i += ROW_STEP)
            micro_rows_2(pairs, a + (size_t)i * lda, lda, panels + (size_t)j * (size_t)pairs, PANEL,
                         c + (size_t)i * ci + j, ci, false);
}

#endif
