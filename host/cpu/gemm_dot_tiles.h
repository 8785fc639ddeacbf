/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot_tiles.h: register tiles of products whose instruction multiplies and adds the neighbouring k of
 * 4 bytes: 2 bf16 (gemm_bf16_kernels.c), 4 int8 (gemm_int8_kernels.c). A step is one such word of A for each
 * row, and of a panel of B for each of NR columns. Sums are 32 bits, whatever they are of.
 *
 * A file that includes this defines before: MR as 14 and NR as 32, which with a row of B and a word of A are
 * all 32 registers; and DOT(acc, x, b), the instruction, on __m512, __m512i and __m512i. */
#ifndef FDIT_CPU_GEMM_DOT_TILES_H
#define FDIT_CPU_GEMM_DOT_TILES_H

#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"

/* c [mr][NR] = (first ? 0 : c) + the sum of the products a[i row_step + l step] panel[l][.]. */
FDIT_KERNEL void register_tile(int mr, int steps, const uint32_t *a, size_t row_step, size_t step,
                               const uint32_t *panel, float *c, bool first)
{
    __m512 acc[MR][2];
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        acc[i][0] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * NR);
        acc[i][1] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * NR + 16);
    }
    FDIT_UNROLL_4
    for (int l = 0; l < steps; l++) {
        __m512i b0 = _mm512_loadu_si512(panel), b1 = _mm512_loadu_si512(panel + 16);
        FDIT_UNROLL
        for (int i = 0; i < mr; i++) {
            __m512i x = _mm512_set1_epi32((int)a[(size_t)i * row_step]);
            acc[i][0] = DOT(acc[i][0], x, b0);
            acc[i][1] = DOT(acc[i][1], x, b1);
        }
        a += step;
        panel += NR;
    }
    FDIT_UNROLL
    for (int i = 0; i < mr; i++) {
        _mm512_storeu_ps(c + i * NR, acc[i][0]);
        _mm512_storeu_ps(c + i * NR + 16, acc[i][1]);
    }
}

typedef void register_tile_fn(int steps, const uint32_t *a, size_t lda, const uint32_t *panel,
                              float *c, bool first);
#define REGISTER_TILE(kind, mr, row_step, step)                                                    \
    static void tile_##kind##_##mr(int steps, const uint32_t *a, size_t lda, const uint32_t *panel, \
                                   float *c, bool first)                                           \
    {                                                                                              \
        (void)lda;                                                                                 \
        register_tile(mr, steps, a, row_step, step, panel, c, first);                              \
    }
/* The functions tile_KIND of 1 to MR rows, whose words of A are so far apart: from row to row, and from step
 * to step (which may use lda). */
#define REGISTER_TILES(kind, row_step, step)                                                       \
    REGISTER_TILE(kind, 1, row_step, step)                                                         \
    REGISTER_TILE(kind, 2, row_step, step)                                                         \
    REGISTER_TILE(kind, 3, row_step, step)                                                         \
    REGISTER_TILE(kind, 4, row_step, step)                                                         \
    REGISTER_TILE(kind, 5, row_step, step)                                                         \
    REGISTER_TILE(kind, 6, row_step, step)                                                         \
    REGISTER_TILE(kind, 7, row_step, step)                                                         \
    REGISTER_TILE(kind, 8, row_step, step)                                                         \
    REGISTER_TILE(kind, 9, row_step, step)                                                         \
    REGISTER_TILE(kind, 10, row_step, step)                                                        \
    REGISTER_TILE(kind, 11, row_step, step)                                                        \
    REGISTER_TILE(kind, 12, row_step, step)                                                        \
    REGISTER_TILE(kind, 13, row_step, step)                                                        \
    REGISTER_TILE(kind, 14, row_step, step)                                                        \
    static register_tile_fn *const tile_##kind[MR] = {                                             \
        tile_##kind##_1, tile_##kind##_2, tile_##kind##_3, tile_##kind##_4, tile_##kind##_5,       \
        tile_##kind##_6, tile_##kind##_7, tile_##kind##_8, tile_##kind##_9, tile_##kind##_10,      \
        tile_##kind##_11, tile_##kind##_12, tile_##kind##_13, tile_##kind##_14                     \
    };

/* ---------------------------------------------------------------------------------------- prefetch */

/* Part i of `parts` of a panel of so many steps. */
FDIT_KERNEL void fetch_part(const char *panel, int steps, int i, int parts)
{
    int size = (steps + parts - 1) / parts, end = min_int(steps, (i + 1) * size);
    for (int l = i * size; l < end; l++) {
        __builtin_prefetch(panel + (size_t)l * NR * 4, 0, 2);
        __builtin_prefetch(panel + (size_t)l * NR * 4 + 64, 0, 2);
    }
}

/* Where the epilogue is about to write. */
FDIT_KERNEL void fetch_rows(const struct fdit_gemm_epilogue *to, int m, int rows, int n)
{
    for (int j = 0; j < rows; j++) {
        const float *at = to->c + (size_t)(m + j) * to->ldc + n;
        __builtin_prefetch(at, 1, 3);
        __builtin_prefetch(at + 16, 1, 3);
    }
}

#endif
