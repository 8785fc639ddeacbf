/* SPDX-License-Identifier: Apache-2.0
 * gemm_widen.h: rows of a packed weight that is kept as bf16 or int8, as f32. A file that includes this
 * defines NR as two vectors before. */
#ifndef FDIT_CPU_GEMM_WIDEN_H
#define FDIT_CPU_GEMM_WIDEN_H

#include "cpu/simd.h"

typedef uint16_t vh __attribute__((vector_size(FDIT_VLEN * 2)));

/* dst [rows][NR] = the packed rows of bf16 from place `at` on. */
static void widen_bf16(float *dst, const void *from, size_t at, int rows)
{
    for (size_t end = at + (size_t)rows * NR; at < end; at += FDIT_VLEN, dst += FDIT_VLEN) {
        vh h;
        memcpy(&h, (const uint16_t *)from + at, sizeof h);
        vstore(dst, (vf)(__builtin_convertvector(h, vu) << 16));
    }
}

/* dst [rows][NR] from the packed rows fours [rows / 4][NR][4] times scale [NR]; there must be room for rows
 * up to a multiple of 4. */
static void widen_int8(float *dst, const int8_t *fours, int rows, const float *scale)
{
    const vf s0 = vload(scale), s1 = vload(scale + FDIT_VLEN);
    for (int i = 0; i < rows; i += 4, fours += 4 * NR, dst += 4 * NR) {
        const vu q0 = (vu)viload((const int32_t *)(const void *)fours);
        const vu q1 = (vu)viload((const int32_t *)(const void *)(fours + 4 * FDIT_VLEN));
        FDIT_UNROLL
        for (int j = 0; j < 4; j++) {
            const vi b0 = (vi)(q0 << (24 - 8 * j)) >> 24, b1 = (vi)(q1 << (24 - 8 * j)) >> 24;
            vstore(dst + j * NR, __builtin_convertvector(b0, vf) * s0);
            vstore(dst + j * NR + FDIT_VLEN, __builtin_convertvector(b1, vf) * s1);
        }
    }
}

#endif
