/* SPDX-License-Identifier: Apache-2.0
 * gemm_amx_tiles.h: tiles of products by AMX, for operands that are prepared: bf16 (gemm_amx_kernels.c),
 * int8 (gemm_amx_int8_kernels.c), which differ in the instruction and in how many k 64 bytes hold, and
 * operands in several parts (gemm_amx_parts.h).
 *
 * One instruction multiplies 16 rows of A by 16 columns of B over the k of 64 bytes; a register tile is
 * 2 x 2 of its results. Both operands lie in steps of that many k, 2 KB for each of their parts:
 *
 *     strip of A    [steps][PARTS][2][16 rows][64 bytes of k]
 *     panel of B    [steps][PARTS][16][NR][4 bytes of k]
 *
 * A file that includes this defines before: MR and NR as 32, STEP (k of a step), AMX_PRODUCT(c, a, b), the
 * instruction, and PARTS where it is not 1. And it has two functions: */
#ifndef FDIT_CPU_GEMM_AMX_TILES_H
#define FDIT_CPU_GEMM_AMX_TILES_H

#include "cpu/amx.h"
#include "cpu/gemm_ahead.h"
#include "cpu/gemm_kernels.h"

#ifndef PARTS
#define PARTS 1
#endif

/* Words of 4 bytes: of a part of a step, of its first 16 rows, and of a step. */
enum { PART_WORDS = 16 * NR, HALF = PART_WORDS / 2, STEP_WORDS = PARTS * PART_WORDS };

/* Bytes of a strip of A with all its k. */
static size_t prepared_bytes(int k);
/* Sums c [rows][NR], of the register tile from column n on, with all their k: what is still to be done to
 * them, and the epilogue. `strip` is that of their rows. */
static void complete(const struct fdit_gemm *g, const uint32_t *strip, float *c, int m, int rows, int n,
                     int columns);

static int steps_of(int k)
{
    return (k + STEP - 1) / STEP;
}
/* Words of all steps of a strip or panel. */
static size_t step_words(int k)
{
    return (size_t)steps_of(k) * STEP_WORDS;
}

/* ---------------------------------------------------------------------------------- register tiles */

/* A part of A, and one of B; what they give to the sums. both: the lower 16 rows too. */
#define LOAD_A(p)                        \
    AMX_LOAD(4, a + (p)*PART_WORDS, 64); \
    if (both)                            \
    AMX_LOAD(5, a + (p)*PART_WORDS + HALF, 64)
#define LOAD_B(p)                            \
    AMX_LOAD(6, b + (p)*PART_WORDS, NR * 4); \
    AMX_LOAD(7, b + (p)*PART_WORDS + 16, NR * 4)
#define PRODUCTS()            \
    AMX_PRODUCT(0, 4, 6);     \
    AMX_PRODUCT(1, 4, 7);     \
    if (both) {               \
        AMX_PRODUCT(2, 5, 6); \
        AMX_PRODUCT(3, 5, 7); \
    }

/* A step's products of the parts that count (gemm_amx_parts.h), in an order in which most registers stay. */
FDIT_KERNEL void multiply_parts(const uint32_t *a, const uint32_t *b, bool both)
{
    LOAD_A(0);
    if (PARTS == 3) {
        LOAD_B(2);
        PRODUCTS();
    }
    LOAD_B(1);
    PRODUCTS();
    if (PARTS == 3) {
        LOAD_A(1);
        PRODUCTS();
        LOAD_B(0);
        PRODUCTS();
        LOAD_A(2);
        PRODUCTS();
        LOAD_A(0);
        PRODUCTS();
    } else {
        LOAD_B(0);
        PRODUCTS();
        LOAD_A(1);
        PRODUCTS();
    }
}

/* c [MR][NR] = (first ? 0 : c) + a strip's steps times a panel's. */
FDIT_KERNEL void tile_32(int steps, const uint32_t *a, const uint32_t *b, float *c, bool first,
                         struct ahead *f)
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
    for (int s = 0; s < steps; s++, a += STEP_WORDS, b += STEP_WORDS) {
        if (PARTS > 1) {
            multiply_parts(a, b, true);
        } else {
            /* All loads before the first product: beside a busy thread on the same core a load does not
             * overlap with products, and else the last of them would wait for it. */
            AMX_LOAD(4, a, 64);
            AMX_LOAD(6, b, NR * 4);
            AMX_LOAD(7, b + 16, NR * 4);
            AMX_LOAD(5, a + HALF, 64);
            AMX_PRODUCT(0, 4, 6);
            AMX_PRODUCT(1, 4, 7);
            AMX_PRODUCT(2, 5, 6);
            AMX_PRODUCT(3, 5, 7);
        }
        fetch_ahead(f);
    }
    AMX_STORE(0, c, NR * 4);
    AMX_STORE(1, c + 16, NR * 4);
    AMX_STORE(2, c + 16 * NR, NR * 4);
    AMX_STORE(3, c + 16 * NR + 16, NR * 4);
}

/* The same for at most 16 rows. Each sum takes its products in the same order. */
FDIT_KERNEL void tile_16(int steps, const uint32_t *a, const uint32_t *b, float *c, bool first,
                         struct ahead *f)
{
    if (first) {
        AMX_ZERO(0);
        AMX_ZERO(1);
    } else {
        AMX_LOAD(0, c, NR * 4);
        AMX_LOAD(1, c + 16, NR * 4);
    }
    for (int s = 0; s < steps; s++, a += STEP_WORDS, b += STEP_WORDS) {
        if (PARTS > 1) {
            multiply_parts(a, b, false);
        } else {
            AMX_LOAD(4, a, 64);
            AMX_LOAD(6, b, NR * 4);
            AMX_PRODUCT(0, 4, 6);
            AMX_LOAD(7, b + 16, NR * 4);
            AMX_PRODUCT(1, 4, 7);
        }
        fetch_ahead(f);
    }
    AMX_STORE(0, c, NR * 4);
    AMX_STORE(1, c + 16, NR * 4);
}

/* ------------------------------------------------------------------------------------- cache tiles */

/* Floats of partial sums, as register tiles one behind the other. */
static size_t sum_floats(const struct fdit_gemm *g)
{
    return (size_t)round_up(g->mc, MR) * (size_t)round_up(g->nc, NR);
}

static void tile(const struct fdit_gemm *g, int m0, int m1, int n0, int n1, float *scratch)
{
    const size_t each_strip = prepared_bytes(g->k) / sizeof(uint32_t);
    const size_t each = step_words(g->k);
    const uint32_t *strips = (const uint32_t *)g->strips + (size_t)(m0 - g->strip_row) / MR * each_strip;
    const uint32_t *panels = (const uint32_t *)g->panels + (size_t)(n0 - g->panel_column) / NR * each;
    const size_t mc_up = (size_t)round_up(m1 - m0, MR);
    const bool one_block = g->k <= g->kc;
    amx_begin();
    for (int k0 = 0; k0 < g->k; k0 += g->kc) {
        const int kc = min_int(g->kc, g->k - k0), steps = steps_of(kc);
        const size_t at = (size_t)(k0 / STEP) * STEP_WORDS;
        const bool last = k0 + kc == g->k;
        for (int n = n0; n < n1; n += NR) {
            const uint32_t *panel = panels + (size_t)((n - n0) / NR) * each + at;
            float *sum = scratch + (size_t)(n - n0) * mc_up;
            for (int m = m0; m < m1; m += MR) {
                const uint32_t *strip = strips + (size_t)((m - m0) / MR) * each_strip;
                const int mr = min_int(MR, m1 - m);
                float *c = one_block ? scratch : sum + (size_t)(m - m0) * NR;
                struct ahead f = ahead_of(&g->to, n + NR < n1 ? panel + each : NULL, STEP_WORDS / 16, steps,
                                          (m - m0) / MR, (int)(mc_up / MR), m, last ? mr : 0, n);
                (mr > 16 ? tile_32 : tile_16)(steps, strip + at, panel, c, k0 == 0, &f);
                if (last)
                    complete(g, strip, c, m, mr, n, min_int(NR, n1 - n));
            }
        }
    }
    amx_end();
    vstream_end();
}

/* ------------------------------------------------------------------------------------------- peak */

/* Six results hide the latency of the instruction; of operands in parts, all products of them count as one.
 * They take as long as a few rounds of the vectors'
 * loops, of which the caller asks for a burst's. */
enum { ROUNDS_FOR_ONE = 8 };
static double multiply_add(size_t rounds, float *sink)
{
    static const uint32_t zero[STEP_WORDS];
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
        AMX_PRODUCT(0, 6, 7);
        AMX_PRODUCT(1, 6, 7);
        AMX_PRODUCT(2, 6, 7);
        AMX_PRODUCT(3, 6, 7);
        AMX_PRODUCT(4, 6, 7);
        AMX_PRODUCT(5, 6, 7);
    }
    AMX_STORE(0, out, 64);
    amx_end();
    *sink = out[0];
    return 6.0 / (PARTS * (PARTS + 1) / 2) * 2 * 16 * 16 * STEP / ROUNDS_FOR_ONE;
}

#endif
