/* SPDX-License-Identifier: Apache-2.0
 * gemm_bf16_panels.h: panels of B in bf16, [k / 2][NR][2] of pairs of neighbouring k, for the kernel
 * files that multiply bf16 (gemm_bf16_kernels.c, gemm_amx_kernels.c): how a weight is packed, and how
 * each form of B becomes a panel. An int8 weight is stored as [k / 4][NR][4], as the products of int8
 * want it (gemm_int8.h). A file that includes this defines NR as 32 before. */
#ifndef FDIT_CPU_GEMM_BF16_PANELS_H
#define FDIT_CPU_GEMM_BF16_PANELS_H

#include "cpu/bf16.h"
#include "cpu/gemm_kernels.h"
#include "cpu/gemm_quantise.h"

/* ------------------------------------------------------------------ panels */

/* Byte i of each four, as a number. */
FDIT_KERNEL __m512 byte_of(__m512i fours, int i)
{
    __m512i high = _mm512_sllv_epi32(fours, _mm512_set1_epi32(24 - 8 * i));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(high, 24));
}

/* transpose_16 for 8 x 8 elements of 8 bytes. */
FDIT_KERNEL void transpose_8(uint32_t *dst, size_t ldd, __m512i r[8])
{
    __m512i s[8];
    FDIT_UNROLL
    for (int i = 0; i < 4; i++) {
        s[2 * i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    /* s[2 i + c]: columns c, 2 + c, 4 + c, 6 + c of rows 2 i, 2 i + 1, one to each 128-bit part */
    FDIT_UNROLL
    for (int c = 0; c < 2; c++) {
        __m512i a = _mm512_shuffle_i64x2(s[c], s[2 + c], 0x44);
        __m512i b = _mm512_shuffle_i64x2(s[c], s[2 + c], 0xee);
        __m512i d = _mm512_shuffle_i64x2(s[4 + c], s[6 + c], 0x44);
        __m512i e = _mm512_shuffle_i64x2(s[4 + c], s[6 + c], 0xee);
        _mm512_storeu_si512(dst + (size_t)c * ldd, _mm512_shuffle_i64x2(a, d, 0x88));
        _mm512_storeu_si512(dst + (size_t)(2 + c) * ldd, _mm512_shuffle_i64x2(a, d, 0xdd));
        _mm512_storeu_si512(dst + (size_t)(4 + c) * ldd, _mm512_shuffle_i64x2(b, e, 0x88));
        _mm512_storeu_si512(dst + (size_t)(6 + c) * ldd, _mm512_shuffle_i64x2(b, e, 0xdd));
    }
}

/* k is filled up with zeros to whole rows of a tile register, 64 bytes. */
static size_t panel_bytes(enum fdit_dtype type, int k)
{
    return type == FDIT_I8 ? (size_t)round_up(k, FDIT_INT8_STEP) * NR : (size_t)round_up(k, 32) * 2 * NR;
}

/* dst [k / 2][NR] pairs from src [k][ld], its first n columns. */
static void panel_of_rows(uint32_t *dst, const float *src, size_t ld, int n, int k)
{
    for (int i = 0; i < k; i += 2, dst += NR) {
        const float *a = src + (size_t)i * ld, *b = a + ld;
        bool two = i + 1 < k;
        FDIT_UNROLL
        for (int h = 0; h < NR; h += 16)
            _mm512_storeu_si512(
                dst + h, round_pairs(load_some(a + h, n - h), two ? load_some(b + h, n - h) : vzero()));
    }
}

/* dst [k / 2][NR] pairs from src [NR][ld], its first n rows, k of each. */
static void panel_of_columns(uint32_t *dst, const float *src, size_t ld, int n, int k)
{
    uint32_t part[16 * NR];
    for (int i = 0; i < k; i += 32) {
        int pairs = min_int(16, (k - i + 1) / 2);
        uint32_t *to = pairs == 16 ? dst + (size_t)i / 2 * NR : part;
        for (int h = 0; h < NR; h += 16) {
            __m512i r[16];
            FDIT_UNROLL
            for (int j = 0; j < 16; j++) {
                const float *row = src + (size_t)(h + j) * ld + i;
                r[j] = h + j < n ? round_2(load_some(row, k - i), load_some(row + 16, k - i - 16))
                                 : _mm512_setzero_si512();
            }
            transpose_16(to + h, NR, r);
        }
        if (to == part)
            memcpy(dst + (size_t)i / 2 * NR, part, (size_t)pairs * NR * sizeof *dst);
    }
}

/* int8 [k / 4][NR][4] times a factor a column; dst has room for k up to a multiple of 4. */
static void panel_of_int8(uint32_t *dst, const int8_t *src, const float *scale, int k)
{
    for (int i = 0; i < k; i += 4, src += 4 * NR, dst += 2 * NR)
        FDIT_UNROLL
    for (int h = 0; h < NR; h += 16) {
        __m512 s = _mm512_loadu_ps(scale + h);
        __m512i q = _mm512_loadu_si512(src + 4 * h);
        _mm512_storeu_si512(dst + h, round_pairs(byte_of(q, 0) * s, byte_of(q, 1) * s));
        _mm512_storeu_si512(dst + NR + h, round_pairs(byte_of(q, 2) * s, byte_of(q, 3) * s));
    }
}

/* One panel of the other direction: k .. k + 31 of the columns n .. n + columns - 1 of a packed
 * weight. src: [n / 2][32 of k][2] from n on, bf16. dst: [16 pairs of k][NR]. */
static void turn_bf16(uint32_t *dst, const uint32_t *src, int columns)
{
    /* In 8 bytes: (k n, k n+1), (k+1 n, k+1 n+1) to (k n, k+1 n), (k n+1, k+1 n+1). */
    const __m512i bytes = _mm512_set4_epi32(0x0f0e0b0a, 0x0d0c0908, 0x07060302, 0x05040100);
    int rows = (columns + 1) / 2; /* pairs of n that are there */
    for (int h = 0; h < 2; h++)   /* halves of the 16 pairs of k */
        for (int p = 0; p < NR / 2; p += 8) {
            __m512i r[8];
            FDIT_UNROLL
            for (int i = 0; i < 8; i++)
                r[i] =
                    p + i < rows
                        ? _mm512_shuffle_epi8(_mm512_loadu_si512(src + (size_t)(p + i) * NR + 16 * h), bytes)
                        : _mm512_setzero_si512();
            transpose_8(dst + (size_t)h * 8 * NR + 2 * p, NR, r);
        }
}

/* The same from int8 [n / 4][32 of k][4], times a factor for each k. n is a multiple of 32, so that what
 * lies behind the last column is there, and 0. */
static void turn_int8(uint32_t *dst, const int8_t *src, const float *scale)
{
    __m512 a = _mm512_loadu_ps(scale), b = _mm512_loadu_ps(scale + 16);
    for (int h = 0; h < NR; h += 16) {
        __m512i r[16];
        FDIT_UNROLL
        for (int i = 0; i < 16; i += 4) {
            const int8_t *fours = src + (size_t)(h + i) * NR;
            __m512i low = _mm512_loadu_si512(fours), high = _mm512_loadu_si512(fours + 64);
            FDIT_UNROLL
            for (int j = 0; j < 4; j++)
                r[i + j] = round_2(byte_of(low, j) * a, byte_of(high, j) * b);
        }
        transpose_16(dst + h, NR, r);
    }
}

/* ------------------------------------------------------------------ packing a weight */

/* dst [k / 4][NR] fours of int8 from src [NR][ld], its first `lanes` rows, k of each, over a factor a row. */
static void panel_of_quantised(uint32_t *dst, const float *scale, const float *src, size_t ld, int lanes,
                               int k)
{
    for (int i = 0; i < k; i += 64, dst += 16 * NR)
        for (int h = 0; h < NR; h += 16) {
            __m512i r[16];
            for (int j = 0; j < 16; j++) {
                const float *row = src + (size_t)(h + j) * ld + i;
                __m512i q = _mm512_setzero_si512();
                for (int p = 0; h + j < lanes && p < 64; p += 16) {
                    __m512 x = load_some(row + p, k - i - p) / scale[h + j];
                    __m128i part = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
                    q = _mm512_mask_broadcast_i32x4(q, (__mmask16)(15 << p / 4), part);
                }
                r[j] = q;
            }
            transpose_16(dst + h, NR, r);
        }
}

static void pack_as(enum fdit_dtype type, void *dst, float *scale, const float *src, size_t ld, int lanes,
                    int k)
{
    if (type == FDIT_I8) {
        lane_scales(scale, NR, src, ld, lanes, k);
        panel_of_quantised(dst, scale, src, ld, lanes, k);
        return;
    }
    memset((char *)dst + panel_bytes(type, k / 32 * 32), 0, panel_bytes(type, k % 32));
    panel_of_columns(dst, src, ld, lanes, k);
}

#endif
