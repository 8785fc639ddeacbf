/* SPDX-License-Identifier: Apache-2.0
 * attention_bf16_amx.h: the products of attention_bf16_kernels.c by AMX: 16 x 16 of C take 16 pairs
 * at a time, the even ones and the odd ones in order, then both sums. Included by that file alone.
 */
#ifndef FDIT_CPU_ATTENTION_BF16_AMX_H
#define FDIT_CPU_ATTENTION_BF16_AMX_H

#include "cpu/amx.h"

#define ROW_STEP 16 /* rows of a register tile */

enum { TURNED_BLOCKS = BQ_TILE / 2 / 16 + 1, TURNED = TURNED_BLOCKS * 256 };

/* Registers 0 .. 3 hold C, 4 and 5 whole operands, 6 and 7 those of the last n % 16 pairs: what
 * lies behind them is not theirs, and need not be finite. */
FDIT_KERNEL void begin_pairs(int n)
{
    struct amx_config c = { .palette = 1,
                            .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
                            .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };
    if (n % 16) {
        c.row_bytes[6] = (uint16_t)(n % 16 * 4);
        c.rows[7] = (uint8_t)(n % 16);
    }
    amx_configure(&c);
}

/* C [16 or 32][16 or 32] (+)= A B over n pairs. Element (i, k) of A is at a[i lda + k], or, of
 * blocks of 16 x 16, block (i / 16, k / 16) at a + i / 16 below + k ka. */
FDIT_KERNEL void square(const bool two_rows, const bool two_columns, int n, const uint32_t *a, size_t lda,
                        size_t ka, size_t below, const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    if (add) {
        AMX_LOAD(0, c, ci * 4);
        if (two_columns)
            AMX_LOAD(1, c + 16, ci * 4);
        if (two_rows)
            AMX_LOAD(2, c + 16 * ci, ci * 4);
        if (two_rows && two_columns)
            AMX_LOAD(3, c + 16 * ci + 16, ci * 4);
    } else {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
    }
#define PAIRS(A, B)                      \
    AMX_LOAD(A, a, lda * 4);             \
    AMX_LOAD(B, b, bk * 4);              \
    AMX_DOT(0, A, B);                    \
    if (two_rows) {                      \
        AMX_LOAD(A, a + below, lda * 4); \
        AMX_DOT(2, A, B);                \
    }                                    \
    if (two_columns) {                   \
        AMX_LOAD(B, b + 16, bk * 4);     \
        if (two_rows)                    \
            AMX_DOT(3, A, B);            \
        AMX_LOAD(A, a, lda * 4);         \
        AMX_DOT(1, A, B);                \
    }
    for (int k = 0; k + 16 <= n; k += 16, a += 16 * ka, b += 16 * bk) {
        PAIRS(4, 5)
    }
    if (n % 16) {
        PAIRS(6, 7)
    }
#undef PAIRS
    AMX_STORE(0, c, ci * 4);
    if (two_columns)
        AMX_STORE(1, c + 16, ci * 4);
    if (two_rows)
        AMX_STORE(2, c + 16 * ci, ci * 4);
    if (two_rows && two_columns)
        AMX_STORE(3, c + 16 * ci + 16, ci * 4);
}

#define SQUARE(name, two_rows, two_columns)                                                          \
    static __attribute__((noinline)) void name(int n, const uint32_t *a, size_t lda, size_t ka,      \
                                               size_t below, const uint32_t *b, size_t bk, float *c, \
                                               size_t ci, bool add)                                  \
    {                                                                                                \
        square(two_rows, two_columns, n, a, lda, ka, below, b, bk, c, ci, add);                      \
    }
SQUARE(square_16_16, false, false)
SQUARE(square_16_32, false, true)
SQUARE(square_32_16, true, false)
SQUARE(square_32_32, true, true)

/* Block (i, k) of 16 x 16 at to + 256 k, from element (i, k) at a[k lda + i]. */
FDIT_KERNEL void turn_columns(uint32_t *to, const uint32_t *a, size_t lda, int n)
{
    for (int k = 0; k < n; k += 16, to += 256, a += 16 * lda) {
        __m512i r[16];
        FDIT_UNROLL
        for (int i = 0; i < 16; i++)
            r[i] = k + i < n ? _mm512_loadu_si512(a + (size_t)i * lda) : _mm512_setzero_si512();
        transpose_16(to, 16, r);
    }
}

/* C [rows, vectors * VL], rows rounded up to ROW_STEP, from n pairs along k. A by rows, [i][k], or
 * by columns, [k][i], of which there are at most BQ_TILE / 2. */
static void product(bool columns, int rows, int vectors, int n, const uint32_t *a, size_t lda,
                    const uint32_t *b, size_t bk, float *c, size_t ci, bool add)
{
    uint32_t turned[2 * TURNED];
    begin_pairs(n);
    for (int i = 0; i < rows; i += 32) {
        const bool two = i + 16 < rows;
        const uint32_t *from = columns ? turned : a + (size_t)i * lda;
        const size_t ld = columns ? 16 : lda, ka = columns ? 16 : 1, below = columns ? TURNED : 16 * lda;
        if (columns) {
            turn_columns(turned, a + i, lda, n);
            if (two)
                turn_columns(turned + TURNED, a + i + 16, lda, n);
        }
        for (int v = 0; v < vectors; v += 2) {
            float *to = c + (size_t)i * ci + v * VL;
            if (v + 1 < vectors)
                (two ? square_32_32 : square_16_32)(n, from, ld, ka, below, b + v * VL, bk, to, ci, add);
            else
                (two ? square_32_16 : square_16_16)(n, from, ld, ka, below, b + v * VL, bk, to, ci, add);
        }
    }
    amx_end();
}

/* C [rows, keys rounded up to panels] = A B, B in panels of `pairs` rows. */
static void product_panels(int rows, int keys, int pairs, const uint32_t *a, size_t lda,
                           const uint32_t *panels, float *c, size_t ci)
{
    begin_pairs(pairs);
    for (int i = 0; i < rows; i += 32)
        for (int j = 0; j < keys; j += PANEL)
            (i + 16 < rows ? square_32_32 : square_16_32)(pairs, a + (size_t)i * lda, lda, 1, 16 * lda,
                                                          panels + (size_t)j * (size_t)pairs, PANEL,
                                                          c + (size_t)i * ci + j, ci, false);
    amx_end();
}

#endif
