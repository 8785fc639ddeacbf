/* SPDX-License-Identifier: Apache-2.0
 * linear_block.cl: the products of linear.cl (see there for what A, B, M, N and K are) for GPUs: large
 * tiles, four numbers a load, two tiles in local memory.
 *
 *   A(m, k)   a [M][lda], or [K][lda] with A_COLUMNS
 *   B(k, n)   b [N][ldb], or [K][ldb] with B_ROWS; W_TYPE is its storage
 *
 * A group computes TM x TN elements, TK steps of k at a time. Work-item (tx, ty) owns quads: rows
 * 4 ty + {0..3} + 4 BY i and columns 4 tx + {0..3} + 4 BX j, so that neighbours in tx read neighbouring
 * quads of local memory and write neighbouring quads of the result:
 *
 *            TN = BX IN
 *       +----+----+----+        While tile t is multiplied out of one half of local memory, the items
 *       |    |    |    |        hold tile t + 1 in registers; it goes into the other half before the one
 *   TM  +----+----+----+        barrier of a step.
 *    =  |    |tile|    |
 *  BY IM+----+----+----+
 *
 * ALIGNED: all offsets, lda, ldb and N are multiples of 4, and so is K where a side lies along k: quads
 * are one load and one store. Without it the same kernel loads number by number.
 *
 * An element's sum over k runs in one order whatever the tile, and nothing is contracted that is not
 * written as one (mad): its bits depend neither on M nor on which of the two kernels computes it.
 *
 * BX, BY    work-items a group, each way
 * IM, IN    elements of C a work-item, each way: multiples of 4
 * TK        steps of k a tile: 4, or a multiple of 8
 * UNROLL    steps that are written out, up to 8: what the registers hold
 * ACT       the activation (prelude.cl); SLOPE: multiply by act'(pre) instead. Not flags: the code of all
 *           of them, unrolled, is more than compilers keep out of memory.
 * INT8      whole numbers, as int8.h says (W_TYPE 3, B_ROWS): K, lda and TK count words
 * W_TYPE    0 f32, 1 f16, 2 bf16, 3 int8 with an f32 scale for each output feature, which is column n
 *           of B with B_ROWS, else its index k */
#ifndef BX
#define BX 16
#endif
#ifndef BY
#define BY 16
#endif
#ifndef IM
#define IM 8
#endif
#ifndef IN
#define IN 8
#endif
#ifndef TK
#define TK 8
#endif
#ifndef UNROLL
#define UNROLL 4
#endif
#define ITEMS (BX * BY)
#define TM (BY * IM)
#define TN (BX * IN)
#define LA (TM + 4) /* of a row in local memory: quads of k are stored to different banks */
#define LB (TN + 4)
#define QA (TM * TK / 4 / ITEMS) /* quads an item loads */
#define QB (TN * TK / 4 / ITEMS)

#include "product.h"

#ifdef INT8
#include "int8.h"
#define NUMBER uint
#define NUMBER4 uint4
#define SUM4 int4
#define STAGED(v) (v)
#define RESULT(sum) convert_float4(sum)
/* sum + x times each of four columns */
int4 times(uint x, uint4 columns, int4 sum)
{
    return (int4)(dot4(x, columns.x, sum.x), dot4(x, columns.y, sum.y), dot4(x, columns.z, sum.z),
                  dot4(x, columns.w, sum.w));
}
#define TIMES times
#else
#define NUMBER float
#define NUMBER4 float4
#define SUM4 float4
#define STAGED ROUNDED4
#define RESULT(sum) (sum)
#define TIMES(x, columns, sum) mad((float4)(x), columns, sum)
#endif

/* A quad along k becomes four rows of local memory, one along m or n four neighbours. A group stores the
 * quads of one row of the matrix at once, so rows 8 .. 15 of a tile that is filled in this way have their
 * columns exchanged by eights: without that, rows k and k + 8 begin in the same bank. */
#define EXCHANGED(k) ((k)&8)
#ifdef A_COLUMNS
#define A_EXCHANGED(k) 0
#else
#define A_EXCHANGED(k) EXCHANGED(k)
#endif
#ifdef B_ROWS
#define B_EXCHANGED(k) 0
#else
#define B_EXCHANGED(k) EXCHANGED(k)
#endif
void put_across(__local NUMBER *to, int ld, NUMBER4 v)
{
    to[0] = v.x;
    to[ld] = v.y;
    to[2 * ld] = v.z;
    to[3 * ld] = v.w;
}

/* The quads of A, steps k0.. of rows m0.., that this item moves. */
INLINE void fetch_a(NUMBER4 next[QA], __global const NUMBER *a, int l, int m0, int k0, int M, int K, int lda)
{
#pragma unroll
    for (int q = 0; q < QA; q++) {
        int i = l + q * ITEMS;
#if defined(INT8)
        int m = m0 + i / (TK / 4), k = k0 + i % (TK / 4) * 4;
        bool in = m < M && k < K;
        next[q] = in ? *(__global const uint4 *)(a + (size_t)m * (size_t)lda + (size_t)k) : (uint4)(0);
#elif defined(A_COLUMNS)
        next[q] = quad_of_a(a, k0 + i / (TM / 4), K, m0 + i % (TM / 4) * 4, M, lda);
#else
        next[q] = quad_of_a(a, m0 + i / (TK / 4), M, k0 + i % (TK / 4) * 4, K, lda);
#endif
    }
}

/* Those of B, steps k0.. of columns n0..; w_scale counts for int8 without B_ROWS. */
#ifdef INT8
INLINE void fetch_words(uint4 next[QB], __global const char *b, int l, int n0, int k0, int N, int k_rows,
                        int ldb)
{
#pragma unroll
    for (int q = 0; q < QB; q++) {
        int i = l + q * ITEMS, k = 4 * (k0 + i / (TN / 4)), n = n0 + i % (TN / 4) * 4;
        next[q] = n < N ? words_of(four_of_b(b, k, k_rows, n, ldb), four_of_b(b, k + 1, k_rows, n, ldb),
                                   four_of_b(b, k + 2, k_rows, n, ldb), four_of_b(b, k + 3, k_rows, n, ldb))
                        : (uint4)(0);
    }
}
#define FETCH_B(k) fetch_words(next_b, b + b_at, l, n0, k, N, k_rows, ldb)
#else
INLINE void fetch_b(float4 next[QB], __global const B_TYPE *b, __global const float *w_scale, int l, int n0,
                    int k0, int N, int K, int ldb)
{
#pragma unroll
    for (int q = 0; q < QB; q++) {
        int i = l + q * ITEMS;
#ifdef B_ROWS
        next[q] = quad_of_b(b, k0 + i / (TN / 4), K, n0 + i % (TN / 4) * 4, N, ldb);
#else
        int k = k0 + i % (TK / 4) * 4;
        next[q] = quad_of_b(b, n0 + i / (TK / 4), N, k, K, ldb);
#if W_TYPE == 3
        next[q] *= (float4)(w_scale[(size_t)min(k, K - 1)], w_scale[(size_t)min(k + 1, K - 1)],
                            w_scale[(size_t)min(k + 2, K - 1)], w_scale[(size_t)min(k + 3, K - 1)]);
#endif
#endif
    }
}
#define FETCH_B(k) fetch_b(next_b, b + b_at, w_scale + w_scale_at, l, n0, k, N, K, ldb)
#endif

INLINE void stage_a(__local NUMBER *as, const NUMBER4 next[QA], int l)
{
#pragma unroll
    for (int q = 0; q < QA; q++) {
        int i = l + q * ITEMS;
#ifdef A_COLUMNS
        *(__local NUMBER4 *)(as + i / (TM / 4) * LA + i % (TM / 4) * 4) = STAGED(next[q]);
#else
        int k = i % (TK / 4) * 4, m = i / (TK / 4);
        put_across(as + k * LA + (m ^ EXCHANGED(k)), LA, STAGED(next[q]));
#endif
    }
}

INLINE void stage_b(__local NUMBER *bs, const NUMBER4 next[QB], int l)
{
#pragma unroll
    for (int q = 0; q < QB; q++) {
        int i = l + q * ITEMS;
#ifdef B_ROWS
        *(__local NUMBER4 *)(bs + i / (TN / 4) * LB + i % (TN / 4) * 4) = STAGED(next[q]);
#else
        int k = i % (TK / 4) * 4, n = i / (TK / 4);
        put_across(bs + k * LB + (n ^ EXCHANGED(k)), LB, STAGED(next[q]));
#endif
    }
}

/* acc += the product of two staged tiles, k in order */
INLINE void multiply(SUM4 acc[IM][IN / 4], __local const NUMBER *as, __local const NUMBER *bs, int tx, int ty)
{
#pragma unroll 1
    for (int eight = 0; eight < TK; eight += 8) {
        __local const NUMBER *at = as + eight * LA + (4 * ty ^ A_EXCHANGED(eight));
        __local const NUMBER *bt = bs + eight * LB + (4 * tx ^ B_EXCHANGED(eight));
#pragma unroll UNROLL
        for (int k = 0; k < (TK < 8 ? TK : 8); k++) {
            NUMBER4 bn[IN / 4];
#pragma unroll
            for (int j = 0; j < IN / 4; j++)
                bn[j] = *(__local const NUMBER4 *)(bt + k * LB + 4 * BX * j);
#pragma unroll
            for (int i = 0; i < IM / 4; i++) {
                NUMBER4 am = *(__local const NUMBER4 *)(at + k * LA + 4 * BY * i);
#pragma unroll
                for (int j = 0; j < IN / 4; j++) {
                    acc[4 * i][j] = TIMES(am.x, bn[j], acc[4 * i][j]);
                    acc[4 * i + 1][j] = TIMES(am.y, bn[j], acc[4 * i + 1][j]);
                    acc[4 * i + 2][j] = TIMES(am.z, bn[j], acc[4 * i + 2][j]);
                    acc[4 * i + 3][j] = TIMES(am.w, bn[j], acc[4 * i + 3][j]);
                }
            }
        }
    }
}

/* y [M, N] = [y +] what is fused of C: a group a tile, BX x BY work-items. pre and add are [M, N], bias
 * [N]; rows of y a sample, whose gates are gate_stride apart; residual [M, N], or [rows, N] with
 * LINEAR_SHARED. */
__kernel SUB_GROUP __attribute__((reqd_work_group_size(BX, BY, 1))) void
linear_block(__global float *y, ulong y_at, __global const NUMBER *a, ulong a_at, __global const B_TYPE *b,
             ulong b_at, __global const float *w_scale, ulong w_scale_at, __global const float *bias,
             ulong bias_at, __global float *pre, ulong pre_at, __global const float *gate, ulong gate_at,
             __global const float *residual, ulong residual_at, __global const float *add, ulong add_at,
             int M, int N, int K, int lda, int ldb, int rows, int gate_stride, uint flags INT8_ARGUMENTS)
{
    __local NUMBER as[2][TK * LA] __attribute__((aligned(16)));
    __local NUMBER bs[2][TK * LB] __attribute__((aligned(16)));
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), l = ty * BX + tx;
    int m0 = (int)get_group_id(1) * TM, n0 = (int)get_group_id(0) * TN;
    SUM4 acc[IM][IN / 4];
    NUMBER4 next_a[QA], next_b[QB];
#pragma unroll
    for (int i = 0; i < IM; i++)
#pragma unroll
        for (int j = 0; j < IN / 4; j++)
            acc[i][j] = (SUM4)(0);

    int tiles = (K + TK - 1) / TK;
    for (int t = -1; t < tiles; t++) {
        int k0 = (t + 1) * TK, half_at = (t + 1) & 1;
        if (t + 1 < tiles) {
            fetch_a(next_a, a + a_at, l, m0, k0, M, K, lda);
            FETCH_B(k0);
        }
        if (t >= 0)
            multiply(acc, as[t & 1], bs[t & 1], tx, ty);
        if (t + 1 < tiles) {
            stage_a(as[half_at], next_a, l);
            stage_b(bs[half_at], next_b, l);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll
    for (int i = 0; i < IM; i++) {
        int m = m0 + 4 * ty + i / 4 * 4 * BY + i % 4;
        size_t row = (size_t)m * (size_t)N;
        size_t of_sample = gate_at + (size_t)(m / rows) * (size_t)gate_stride;
        size_t shortcut = residual_at + (size_t)(FLAG(flags, LINEAR_SHARED) ? m % rows : m) * (size_t)N;
#pragma unroll
        for (int j = 0; j < IN / 4; j++) {
            int n = n0 + 4 * tx + 4 * BX * j;
            if (m >= M || n >= N)
                continue;
            float4 four = RESULT(acc[i][j]);
            FINISH_QUAD(four, n)
        }
    }
}
