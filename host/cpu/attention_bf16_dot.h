/* SPDX-License-Identifier: Apache-2.0
 * attention_bf16_dot.h: the products of attention_bf16_kernels.c by AVX-512-BF16: each element of C
 * adds up its pairs in order. Included by that file alone. */
#ifndef FDIT_CPU_ATTENTION_BF16_DOT_H
#define FDIT_CPU_ATTENTION_BF16_DOT_H

#define ROW_STEP 12  /* rows of a register tile of 2 vectors */
#define ROW_STEP_3 8 /* of 3 */

/* C [rows][nv] (+)= sum over k of A(i, k) B(k, .): A(i, k) = a[i ai + k ak], row k of B at b + k bk. In
 * registers are rows x nv sums, a row of B and a word of A. */
FDIT_KERNEL void micro(const int rows, const int nv, int n, const uint32_t *a, size_t ai, size_t ak,
                       const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    __m512 acc[ROW_STEP][3];
    FDIT_UNROLL
    for (int i = 0; i < rows; i++)
        FDIT_UNROLL
    for (int j = 0; j < nv; j++)
        acc[i][j] = add ? _mm512_loadu_ps(c + (size_t)i * ci + j * VL) : _mm512_setzero_ps();
    for (int k = 0; k < n; k++) {
        __m512bh row[3];
        FDIT_UNROLL
        for (int j = 0; j < nv; j++)
            row[j] = (__m512bh)_mm512_loadu_si512(b + j * VL);
        FDIT_UNROLL
        for (int i = 0; i < rows; i++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[(size_t)i * ai]);
            FDIT_UNROLL
            for (int j = 0; j < nv; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], x, row[j]);
        }
        a += ak;
        b += bk;
    }
    FDIT_UNROLL
    for (int i = 0; i < rows; i++)
        FDIT_UNROLL
    for (int j = 0; j < nv; j++)
        _mm512_storeu_ps(c + (size_t)i * ci + j * VL, acc[i][j]);
}

typedef void micro_fn(int n, const uint32_t *a, size_t ld, const uint32_t *b, size_t bk, float *c, size_t ci,
                      bool add);
/* A along rows (ak = 1), and along columns (ai = 1). */
#define MICRO(rows, nv)                                                                                   \
    static __attribute__((noinline)) void micro_rows_##nv(                                                \
        int n, const uint32_t *a, size_t ld, const uint32_t *b, size_t bk, float *c, size_t ci, bool add) \
    {                                                                                                     \
        micro(rows, nv, n, a, ld, 1, b, bk, c, ci, add);                                                  \
    }                                                                                                     \
    static __attribute__((noinline)) void micro_columns_##nv(                                             \
        int n, const uint32_t *a, size_t ld, const uint32_t *b, size_t bk, float *c, size_t ci, bool add) \
    {                                                                                                     \
        micro(rows, nv, n, a, 1, ld, b, bk, c, ci, add);                                                  \
    }
MICRO(ROW_STEP, 1)
MICRO(ROW_STEP, 2)
MICRO(ROW_STEP_3, 3)

/* C [rows, vectors * VL], rows rounded up to ROW_STEP, from n pairs along k. */
static void product(bool columns, int rows, int vectors, int n, const uint32_t *a, size_t lda,
                    const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    static micro_fn *const micros[2][3] = { { micro_rows_1, micro_rows_2, micro_rows_3 },
                                            { micro_columns_1, micro_columns_2, micro_columns_3 } };
    const size_t step = columns ? 1 : lda;
    for (int v = 0, nv; v < vectors; v += nv) {
        nv = vectors - v == 3 ? 3 : min_int(2, vectors - v); /* one alone would wait for its loads */
        for (int i = 0; i < rows; i += nv == 3 ? ROW_STEP_3 : ROW_STEP)
            micros[columns][nv - 1](n, a + (size_t)i * step, lda, b + v * VL, bk, c + (size_t)i * ci + v * VL,
                                    ci, add);
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
