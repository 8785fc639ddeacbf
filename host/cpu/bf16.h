/* SPDX-License-Identifier: Apache-2.0
 * bf16.h: rounding to bf16 and turning pairs of it, for the kernel files of AVX-512-BF16. A pair is
 * 4 bytes: two bf16 that one multiply-add takes together, the first in the low half. */
#ifndef FDIT_CPU_BF16_H
#define FDIT_CPU_BF16_H

#include "cpu/simd.h"

/* a in the low half, b in the high one. */
FDIT_KERNEL __m512i round_2(__m512 a, __m512 b)
{
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}
/* Element i of the low half and element i of the high one side by side. */
FDIT_KERNEL __m512i in_pairs(__m512i halves)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, halves);
}
/* Element i of a and element i of b side by side. */
FDIT_KERNEL __m512i round_pairs(__m512 a, __m512 b)
{
    return in_pairs(round_2(a, b));
}
/* dst [j][16] from rows r[i] of 16: element (i, j) to (j, i). dst is ldd elements a row. */
FDIT_KERNEL void transpose_16(uint32_t *dst, size_t ldd, __m512i r[16])
{
    __m512i s[16];
    FDIT_UNROLL
    for (int i = 0; i < 8; i++) {
        s[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    FDIT_UNROLL
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(s[4 * i], s[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(s[4 * i], s[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(s[4 * i + 1], s[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(s[4 * i + 1], s[4 * i + 3]);
    }
    /* r[4 i + c]: columns c, 4 + c, 8 + c, 12 + c of rows 4 i .. 4 i + 3, one to each 128-bit part
     */
    FDIT_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44);
        __m512i b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xee);
        __m512i d = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44);
        __m512i e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xee);
        _mm512_storeu_si512(dst + (size_t)c * ldd, _mm512_shuffle_i32x4(a, d, 0x88));
        _mm512_storeu_si512(dst + (size_t)(4 + c) * ldd, _mm512_shuffle_i32x4(a, d, 0xdd));
        _mm512_storeu_si512(dst + (size_t)(8 + c) * ldd, _mm512_shuffle_i32x4(b, e, 0x88));
        _mm512_storeu_si512(dst + (size_t)(12 + c) * ldd, _mm512_shuffle_i32x4(b, e, 0xdd));
    }
}

#endif
