/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot_tiles.h: register tiles of products whose instruction multiplies and adds the neighbouring k of
 * 4 bytes: 2 bf16 (gemm_bf16_kernels.c), 4 int8 (gemm_int8_kernels.c). A step is one such word of A for each
 * row, and of a panel of B for each of NR columns. Sums are 32 bits, whatever they are of.
 *
 * A file that includes this defines before: MR, so that the tile, a row of B and a word of A fit the
 * registers, and NR as two vectors; and DOT(acc, x, b), the instruction, on vf, vi and vi. */
#ifndef FDIT_CPU_GEMM_DOT_TILES_H
#define FDIT_CPU_GEMM_DOT_TILES_H

#include "cpu/gemm_ahead.h"
#include "cpu/gemm_kernels.h"
#include "cpu/gemm_tile_rows.h"
#include "cpu/simd.h"

FDIT_KERNEL void one_step(int mr, int vectors, const uint32_t *a, size_t row_step, const uint32_t *panel,
                          vf acc[MR][2])
{
    const vi b0 = viload((const int32_t *)panel),
             b1 = vectors > 1 ? viload((const int32_t *)panel + FDIT_VLEN) : b0;
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        const vi x = viset((int32_t)a[(size_t)i * row_step]);
        acc[i][0] = DOT(acc[i][0], x, b0);
        if (vectors > 1)
            acc[i][1] = DOT(acc[i][1], x, b1);
    }
}

/* c [mr][NR] = (first ? 0 : c) + the sum of the products a[i row_step + l step] panel[l][.], of the first
 * `vectors` of the 2 vectors of columns. */
FDIT_KERNEL void register_tile(int mr, int vectors, int steps, const uint32_t *a, size_t row_step,
                               size_t step, const uint32_t *panel, float *c, bool first, struct ahead *f)
{
    vf acc[MR][2];
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        FDIT_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[i][v] = first ? vzero() : vload(c + i * NR + v * FDIT_VLEN);
    }
    int l = 0;
    for (; l + AHEAD_STEPS <= steps; l += AHEAD_STEPS, a += AHEAD_STEPS * step, panel += AHEAD_STEPS * NR) {
        FDIT_UNROLL
        for (int u = 0; u < AHEAD_STEPS; u++)
            one_step(mr, vectors, a + (size_t)u * step, row_step, panel + u * NR, acc);
        fetch_ahead(f);
    }
    for (; l < steps; l++, a += step, panel += NR)
        one_step(mr, vectors, a, row_step, panel, acc);
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        FDIT_UNROLL
        for (int v = 0; v < vectors; v++)
            vstore(c + i * NR + v * FDIT_VLEN, acc[i][v]);
    }
}

typedef void register_tile_fn(int steps, const uint32_t *a, size_t lda, const uint32_t *panel, float *c,
                              bool first, struct ahead *f);
#define REGISTER_TILE(mr, kind)                                                                        \
    static void tile_##kind##_##mr(int steps, const uint32_t *a, size_t lda, const uint32_t *panel,    \
                                   float *c, bool first, struct ahead *f)                              \
    {                                                                                                  \
        register_tile(mr, VECTORS_##kind, steps, a, ROW_STEP_##kind, STEP_##kind, panel, c, first, f); \
        (void)lda;                                                                                     \
    }
/* The functions of 1 to MR rows, by the way in which the words of A lie: rows, lda apart, and packed
 * [step][MR]; half: of the columns the first vector alone. */
#define ROW_STEP_rows lda
#define STEP_rows 1
#define VECTORS_rows 2
#define ROW_STEP_packed 1
#define STEP_packed MR
#define VECTORS_packed 2
#define ROW_STEP_half_rows lda
#define STEP_half_rows 1
#define VECTORS_half_rows 1
#define ROW_STEP_half_packed 1
#define STEP_half_packed MR
#define VECTORS_half_packed 1
#define REGISTER_TILES(kind)      \
    FOR_ROWS(REGISTER_TILE, kind) \
    static register_tile_fn *const tile_##kind[MR] = { FOR_ROWS(TILE_NAME, kind) };

#endif
