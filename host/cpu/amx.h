/* SPDX-License-Identifier: Apache-2.0
 * amx.h: the tile registers of AMX, for the kernel files built with -mamx-tile -mamx-bf16.
 *
 * Eight registers hold 16 rows of 64 bytes each: 16 x 16 f32, or 16 rows of 32 bf16 or 64 int8. The
 * compilers do not allocate them, so the numbers are written out. All of it is assembly that declares memory
 * as touched: the intrinsics of GCC 12 declare neither what a tile load reads nor the whole of the
 * configuration. */
#ifndef FDIT_CPU_AMX_H
#define FDIT_CPU_AMX_H

#include "cpu/simd.h"

struct amx_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#ifdef FDIT_EMULATED_AMX
#include "cpu/amx_emulated.h"
#else
/* Until amx_end a thread may use the registers as `c` says; what they held is gone. */
FDIT_KERNEL void amx_configure(const struct amx_config *c)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*c));
}
FDIT_KERNEL void amx_end(void)
{
    __asm__ volatile("tilerelease");
}

/* Register t from, or to, 16 rows of 64 bytes at p, `stride` bytes apart. */
#define AMX_LOAD(t, p, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"((size_t)(stride)) : "memory")
#define AMX_STORE(t, p, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"((size_t)(stride)) : "memory")
#define AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : : :)
/* c [16][16] += a b: a [16 rows][32 of k], b [16 pairs of k][16 columns][2]. */
#define AMX_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : : :)
/* The same of signed bytes, into whole numbers: a [16 rows][64 of k], b [16 fours of k][16 columns][4]. */
#define AMX_DOT_INT8(c, a, b) __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : : :)
#endif

/* All of them whole. */
FDIT_KERNEL void amx_begin(void)
{
    static const struct amx_config whole = {
        .palette = 1,
        .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
        .rows = { 16, 16, 16, 16, 16, 16, 16, 16 },
    };
    amx_configure(&whole);
}

#endif
