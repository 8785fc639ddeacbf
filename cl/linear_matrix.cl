/* SPDX-License-Identifier: Apache-2.0
 * linear_matrix.cl: the products of linear.cl (see there for what A, B, M, N and K are) on a matrix unit, or
 * its emulation (unit.h). Operands are rounded to the unit's type, or cut into PARTS of it, on their way
 * into local memory; sums are f32.
 *
 *   A(m, k)   a [M][lda], or [K][lda] with A_COLUMNS
 *   B(k, n)   b [N][ldb], or [K][ldb] with B_ROWS; W_TYPE is its storage
 *
 *            TN                     A group of ITEMS computes TM x TN elements, TK steps of k at a time. Its
 *       +----+----+----+            hardware threads lie WAVES_M x WAVES_N and compute FM x FN instructions
 *   TM  |    |wave|    |            each. While tile t is multiplied out of one half of local memory, the
 *       +----+----+----+            items hold tile t + 1 in registers; it goes into the other half before
 *                                   the one barrier of a step.
 *
 * Local memory has rows of m and of n, k by k: LDW words of two halves, of which groups of 4 are exchanged by
 * the row (PLACE), so that neither the stores of a side that lies across nor the loads of fragments meet in
 * a bank.
 *
 * PARTS     1: operands are rounded. 2, 3: x = x1 + x2 (+ x3), each the rounded rest, and the products of the
 *           parts i + j <= PARTS + 1 are added, the small ones first: 3 or 6 instead of 1, for an error near
 *           that of f32 (2) or its own (3). A sum that is not finite, because a rest of infinity is none, is
 *           computed again by numbers.
 * INT8      whole numbers, as int8.h says (W_TYPE 3, B_ROWS, PARTS 1): K and TK count pairs of int8, lda
 *           words
 * An element's sum over k runs in one order, whatever M and the tile, and past K zeroes are added: its bits
 * do not depend on the batch. ALIGNED, ACT, SLOPE and W_TYPE: as in linear_block.cl. */
#ifndef ITEMS
#define ITEMS 256
#endif
#ifndef TM
#define TM 128
#endif
#ifndef TN
#define TN 128
#endif
#ifndef TK
#define TK 16
#endif
#ifndef WAVES_M
#define WAVES_M 2
#endif
#ifndef PARTS
#define PARTS 1
#endif
#define LDW (TK / 2 + 4)
#define PLACE(row, word) ((row)*LDW + ((word) ^ ((row) / 8 % (TK / 8) * 4)))
#define PLANE ((TM + TN) * LDW) /* words of one part of a tile of A and of B */
#include "unit.h"
#include "unit_mma.h"
#include "unit_wmma.h"
#include "unit_mfma.h"
#include "unit_dpas.h"
#define WAVES_N (ITEMS / LANES / WAVES_M)
#define FM (TM / (WAVES_M * UM))
#define FN (TN / (WAVES_N * UN))
#include "unit_use.h"
#include "product.h"
#ifdef INT8
#include "int8.h"
#define A_TYPE uint
#define A_QUAD uint2
#else
#define A_TYPE float
#define A_QUAD float4
#endif
#define QA (TM * TK / 4 / ITEMS) /* quads an item loads */
#define QB (TN * TK / 4 / ITEMS)
#define LDC (TN + 4) /* of a row of results in local memory */
#define SLAB (WAVES_M * UM * LDC)
#define LOCAL_WORDS (2 * PARTS * PLANE > SLAB ? 2 * PARTS * PLANE : SLAB)

/* A matrix that is stored as the unit wants it is moved as it is. */
#if defined(INT8)
#define B_QUAD uint2 /* rows of four columns; two quads are four of them */
#elif PARTS == 1 && ((W_TYPE == 1 && defined(F16)) || (W_TYPE == 2 && !defined(F16)))
#define B_WORDS_AS_STORED
#define B_QUAD ushort4
ushort4 halves_of_b(__global const B_TYPE *b, int row, int rows, int i, int n, int ld)
{
    __global const ushort *from = (__global const ushort *)b + ((size_t)row * (size_t)ld + (size_t)i);
    if (row >= rows || i >= n)
        return (ushort4)(0);
#ifdef ALIGNED
    return *(__global const ushort4 *)from;
#else
    return (ushort4)(from[0], i + 1 < n ? from[1] : 0, i + 2 < n ? from[2] : 0, i + 3 < n ? from[3] : 0);
#endif
}
#define FETCH_B halves_of_b
#else
#define B_QUAD float4
#define FETCH_B quad_of_b
#endif

#ifdef INT8
void put_along(__local uint *to, uint2 v)
{
    *(__local uint2 *)to = v;
}
void put_b_across(__local uint *to, int row, int word, uint2 v, uint2 next)
{
    uint4 w = words_of(v.x, v.y, next.x, next.y);
    to[PLACE(row, word)] = w.x;
    to[PLACE(row + 1, word)] = w.y;
    to[PLACE(row + 2, word)] = w.z;
    to[PLACE(row + 3, word)] = w.w;
}
#else
/* The parts of four neighbours along k, to two words each. */
void put_along(__local uint *to, float4 v)
{
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        uint2 w = (uint2)(pack(v.x, v.y), pack(v.z, v.w));
        *(__local uint2 *)(to + p * PLANE) = w;
#if PARTS > 1
        v -= (float4)(of_half(w.x & 0xffffu), of_half(w.x >> 16), of_half(w.y & 0xffffu), of_half(w.y >> 16));
#endif
    }
}

/* Numbers of row k and row k + 1 of a side that lies across, to the rows row .. row + 3 of local memory. */
void put_across(__local uint *tile, int row, int word, float4 v, float4 next)
{
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        uint4 w = (uint4)(pack(v.x, next.x), pack(v.y, next.y), pack(v.z, next.z), pack(v.w, next.w));
        __local uint *to = tile + p * PLANE;
        to[PLACE(row, word)] = w.x;
        to[PLACE(row + 1, word)] = w.y;
        to[PLACE(row + 2, word)] = w.z;
        to[PLACE(row + 3, word)] = w.w;
#if PARTS > 1
        v -= (float4)(of_half(w.x & 0xffffu), of_half(w.y & 0xffffu), of_half(w.z & 0xffffu),
                      of_half(w.w & 0xffffu));
        next -= (float4)(of_half(w.x >> 16), of_half(w.y >> 16), of_half(w.z >> 16), of_half(w.w >> 16));
#endif
    }
}

#ifdef B_WORDS_AS_STORED
void put_b_along(__local uint *to, ushort4 v)
{
    *(__local uint2 *)to = (uint2)((uint)v.x | (uint)v.y << 16, (uint)v.z | (uint)v.w << 16);
}
void put_b_across(__local uint *to, int row, int word, ushort4 v, ushort4 next)
{
    uint4 w = convert_uint4(v) | convert_uint4(next) << 16;
    to[PLACE(row, word)] = w.x;
    to[PLACE(row + 1, word)] = w.y;
    to[PLACE(row + 2, word)] = w.z;
    to[PLACE(row + 3, word)] = w.w;
}
#else
#define put_b_along put_along
#define put_b_across put_across
#endif
#endif /* INT8 */

/* Quad q of an item. Along k: row ROW_OF, columns K_OF .. + 3. Across: two quads q, of rows K_PAIR and + 1,
 * at the columns QUAD_OF .. + 3; eight neighbouring items read one row, and the next eight the next but one.
 * */
#define ROW_OF(q) ((l + (q)*ITEMS) / (TK / 4))
#define K_OF(q) ((l + (q)*ITEMS) % (TK / 4) * 4)
#define K_PAIR(q) ((l + (q) / 2 * ITEMS) / 8 % (TK / 2) * 2)
#define QUAD_OF(q) (((l + (q) / 2 * ITEMS) % 8 + (l + (q) / 2 * ITEMS) / (4 * TK) * 8) * 4)

/* The quads of A, steps k0.. of rows m0.., that this item moves. */
INLINE void fetch_a(A_QUAD next[QA], __global const A_TYPE *a, int l, int m0, int k0, int M, int K, int lda)
{
#pragma unroll
    for (int q = 0; q < QA; q++)
#if defined(INT8)
        next[q] = m0 + ROW_OF(q) < M && k0 + K_OF(q) < K
                      ? *(__global const uint2 *)(a + (size_t)(m0 + ROW_OF(q)) * (size_t)lda +
                                                  (size_t)(k0 + K_OF(q)) / 2)
                      : (uint2)(0);
#elif defined(A_COLUMNS)
        next[q] = quad_of_a(a, k0 + K_PAIR(q) + q % 2, K, m0 + QUAD_OF(q), M, lda);
#else
        next[q] = quad_of_a(a, m0 + ROW_OF(q), M, k0 + K_OF(q), K, lda);
#endif
}

/* Those of B, steps k0.. of columns n0..; w_scale counts for int8 without B_ROWS. */
#ifdef INT8
INLINE void fetch_fours(uint2 next[QB], __global const char *b, int l, int n0, int k0, int N, int k_rows,
                        int ldb)
{
#pragma unroll
    for (int q = 0; q < QB; q++) {
        int n = n0 + QUAD_OF(q), k = 2 * (k0 + K_PAIR(q)) + q % 2 * 2;
        next[q] = n < N ? (uint2)(four_of_b(b, k, k_rows, n, ldb), four_of_b(b, k + 1, k_rows, n, ldb))
                        : (uint2)(0);
    }
}
#define FETCH_TILE_B(k) fetch_fours(next_b, b + b_at, l, n0, k, N, k_rows, ldb)
#else
#define FETCH_TILE_B(k) fetch_b(next_b, b + b_at, w_scale + w_scale_at, l, n0, k, N, K, ldb)
INLINE void fetch_b(B_QUAD next[QB], __global const B_TYPE *b, __global const float *w_scale, int l, int n0,
                    int k0, int N, int K, int ldb)
{
#pragma unroll
    for (int q = 0; q < QB; q++) {
#ifdef B_ROWS
        next[q] = FETCH_B(b, k0 + K_PAIR(q) + q % 2, K, n0 + QUAD_OF(q), N, ldb);
#else
        int k = k0 + K_OF(q);
        next[q] = FETCH_B(b, n0 + ROW_OF(q), N, k, K, ldb);
#if W_TYPE == 3
        next[q] *= (float4)(w_scale[(size_t)min(k, K - 1)], w_scale[(size_t)min(k + 1, K - 1)],
                            w_scale[(size_t)min(k + 2, K - 1)], w_scale[(size_t)min(k + 3, K - 1)]);
#endif
#endif
    }
}
#endif

/* From registers to a tile of local memory. */
INLINE void stage(__local uint *tile, const A_QUAD next_a[QA], const B_QUAD next_b[QB], int l)
{
    __local uint *b_tile = tile + TM * LDW;
#ifdef A_COLUMNS
#pragma unroll
    for (int q = 0; q < QA; q += 2)
        put_across(tile, QUAD_OF(q), K_PAIR(q) / 2, next_a[q], next_a[q + 1]);
#else
#pragma unroll
    for (int q = 0; q < QA; q++)
        put_along(tile + PLACE(ROW_OF(q), K_OF(q) / 2), next_a[q]);
#endif
#ifdef B_ROWS
#pragma unroll
    for (int q = 0; q < QB; q += 2)
        put_b_across(b_tile, QUAD_OF(q), K_PAIR(q) / 2, next_b[q], next_b[q + 1]);
#else
#pragma unroll
    for (int q = 0; q < QB; q++)
        put_b_along(b_tile + PLACE(ROW_OF(q), K_OF(q) / 2), next_b[q]);
#endif
}

/* c += the product of a staged tile of A and of B: of this hardware thread, first row and column of it. */
INLINE void multiply_tile(c_fragment c[FM][FN], __local const uint *tile, int row, int column, int lane,
                          __local uint *exchange)
{
    UNROLLED
    for (int k = 0; k < TK; k += UK) {
        uint as[PARTS][FM][A_WORDS] __attribute__((aligned(16)));
        uint bs[PARTS][FN][B_WORDS] __attribute__((aligned(16)));
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
#pragma unroll
            for (int i = 0; i < FM; i++)
                LOAD_A(as[p][i], tile + p * PLANE, row + i * UM, k / 2)
#pragma unroll
            for (int j = 0; j < FN; j++)
                LOAD_B(bs[p][j], tile + p * PLANE + TM * LDW, column + j * UN, k / 2)
        }
        UNROLLED
        for (int sum = PARTS - 1; sum >= 0; sum--)
            UNROLLED
        for (int p = 0; p <= sum; p++)
            MULTIPLY(c, as[p], bs[sum - p]);
    }
}

#if PARTS > 1
/* The sum by numbers, where that of the parts is not finite. */
float plain_sum(__global const float *a, __global const B_TYPE *b, __global const float *w_scale, int m,
                int n, int K, int lda, int ldb)
{
    float sum = 0.0f;
    for (int k = 0; k < K; k++) {
#ifdef A_COLUMNS
        float am = a[(size_t)k * (size_t)lda + (size_t)m];
#else
        float am = a[(size_t)m * (size_t)lda + (size_t)k];
#endif
#ifdef B_ROWS
        float bn = B_ONE((size_t)k * (size_t)ldb + (size_t)n);
#else
        float bn = B_ONE((size_t)n * (size_t)ldb + (size_t)k);
#if W_TYPE == 3
        bn *= w_scale[k];
#endif
#endif
        sum = mad(am, bn, sum);
    }
    return sum;
}
INLINE float finite_or_plain(float v, __global const float *a, __global const B_TYPE *b,
                             __global const float *w_scale, int m, int n, int N, int K, int lda, int ldb)
{
    return fabs(v) <= 3.4028234e38f ? v : plain_sum(a, b, w_scale, m, min(n, N - 1), K, lda, ldb);
}
#define CHECKED_(v, m, n) finite_or_plain(v, a + a_at, b + b_at, w_scale + w_scale_at, m, n, N, K, lda, ldb)
#define FINITE_OR_PLAIN(v, m, n)                                                            \
    v = (float4)(CHECKED_(v.x, m, n), CHECKED_(v.y, m, (n) + 1), CHECKED_(v.z, m, (n) + 2), \
                 CHECKED_(v.w, m, (n) + 3));
#else
#define FINITE_OR_PLAIN(v, m, n)
#endif

INLINE void clear(c_fragment c[FM][FN])
{
#pragma unroll
    for (int i = 0; i < FM; i++)
#pragma unroll
        for (int j = 0; j < FN; j++)
#pragma unroll
            for (int e = 0; e < C_FLOATS; e++)
                C_ELEMENT(c[i][j], e) = 0;
}

/* A row of a hardware thread's instructions to the rows `row`.. and columns `column`.. of local memory, to be
 * finished and written by neighbours. */
INLINE void show(__local float *slab, c_fragment c[FN], int row, int column, int lane)
{
#pragma unroll
    for (int j = 0; j < FN; j++)
#pragma unroll
        for (int e = 0; e < C_FLOATS; e++)
            slab[(row + C_ROW(e)) * LDC + column + j * UN + C_COLUMN(e)] = (float)C_ELEMENT(c[j], e);
}

__kernel UNIT_ATTRIBUTE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
linear_matrix(__global float *y, ulong y_at, __global const A_TYPE *a, ulong a_at, __global const B_TYPE *b,
              ulong b_at, __global const float *w_scale, ulong w_scale_at, __global const float *bias,
              ulong bias_at, __global float *pre, ulong pre_at, __global const float *gate, ulong gate_at,
              __global const float *residual, ulong residual_at, __global const float *add, ulong add_at,
              int M, int N, int K, int lda, int ldb, int rows, int gate_stride, uint flags INT8_ARGUMENTS)
{
    __local uint tiles[LOCAL_WORDS] __attribute__((aligned(16)));
    __local uint exchange[ITEMS / LANES * EXCHANGE_WORDS + 1];
    int l = (int)get_local_id(0), lane = l % LANES, wave = l / LANES;
    __local uint *shared = exchange + wave * EXCHANGE_WORDS;
    int row_of = wave / WAVES_N * FM * UM, column_of = wave % WAVES_N * FN * UN;
    int m0 = (int)get_group_id(1) * TM, n0 = (int)get_group_id(0) * TN;
    c_fragment c[FM][FN];
    A_QUAD next_a[QA];
    B_QUAD next_b[QB];
    clear(c);
    fetch_a(next_a, a + a_at, l, m0, 0, M, K, lda);
    FETCH_TILE_B(0);
    stage(tiles, next_a, next_b, l);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int t = 0, next = TK; next < K + TK; t++, next += TK) {
        if (next < K) {
            fetch_a(next_a, a + a_at, l, m0, next, M, K, lda);
            FETCH_TILE_B(next);
        }
        multiply_tile(c, tiles + t % 2 * (PARTS * PLANE), row_of, column_of, lane, shared);
        if (next < K)
            stage(tiles + (t + 1) % 2 * (PARTS * PLANE), next_a, next_b, l);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    __local float *slab = (__local float *)tiles;
    UNROLLED
    for (int i = 0; i < FM; i++) {
        show(slab, c[i], wave / WAVES_N * UM, column_of, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int q = l; q < WAVES_M * UM * (TN / 4); q += ITEMS) {
            int r = q / (TN / 4), m = m0 + (r / UM * FM + i) * UM + r % UM, n = n0 + q % (TN / 4) * 4;
            if (m >= M || n >= N)
                continue;
            size_t row = (size_t)m * (size_t)N;
            size_t of_sample = gate_at + (size_t)(m / rows) * (size_t)gate_stride;
            size_t shortcut = residual_at + (size_t)(FLAG(flags, LINEAR_SHARED) ? m % rows : m) * (size_t)N;
            float4 four = *(__local const float4 *)(slab + r * LDC + q % (TN / 4) * 4);
            FINITE_OR_PLAIN(four, m, n)
            FINISH_QUAD(four, n)
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
