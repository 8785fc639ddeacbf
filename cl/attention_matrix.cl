/* SPDX-License-Identifier: Apache-2.0
 * attention_matrix.cl: attention.cl (see there for the formulas) on a matrix unit, or its emulation (unit.h).
 * Operands of products are rounded to the unit's type on their way into local memory: q, k, v, dout, and the
 * weights P and dS, which never leave the group. Scores, softmax, sums and results are f32.
 *
 *             TN                    A group of ITEMS owns TM rows of one head of one sample (queries; keys in
 *        +----+----+                attention_dkv_matrix) and passes over the other side, TN at a time. Its
 *    TM  |    |wave|                hardware threads lie WAVES_M x WAVES_N, both over a tile of scores, TM x
 *        +----+----+                TN, and over the result, TM x HN, where each has FM rows of instructions
 *                                   and FN_KEYS or FN_HEAD columns.
 *
 * Local memory has rows k by k, LD_HEAD or LD_KEYS words of two halves. An odd number of fours: eight rows of
 * four words, as the units load them, lie in 32 banks. As k, a head is filled up with zeroes to HK numbers;
 * as columns to HN; rows behind the last of N are zeroes. Weights beyond N are 0 by index.
 *
 * UNIT ITEMS TM TN WAVES_M F16 EMULATED   as for linear_matrix.cl; TM 64 or 32, TN 32
 * HEAD, ALIGNED, and FORWARD, DQ or DKV   as for attention.cl
 * The order of all sums depends on N and HEAD alone. */
#ifndef TN
#define TN 32
#endif
#define ROWS TM
#define LD_HEAD (HK / 2 + 4)
#define LD_KEYS (TN / 2 + 4)
#define PLACE(row, word) ((row)*ld + (word))
#include "unit.h"
#include "unit_mma.h"
#include "unit_wmma.h"
#include "unit_mfma.h"
#include "unit_dpas.h"
#define WAVES_N (ITEMS / LANES / WAVES_M)
#define ACROSS (UN * WAVES_N) /* columns that all hardware threads of a row take at once */
#define HK ((HEAD + UK - 1) / UK * UK)
#define HN ((HEAD + ACROSS - 1) / ACROSS * ACROSS)
#define FM (TM / (WAVES_M * UM))
#define FN_KEYS (TN / ACROSS)
#define FN_HEAD (HN / ACROSS)
#define COLUMNS (FN_KEYS > FN_HEAD ? FN_KEYS : FN_HEAD)
#define FN 1 /* of MULTIPLY: a column at a time, whose B need not be held beside the next one's */
#include "unit_use.h"
#include "attention_rows.h"

/* Rows first .. first + count - 1 of a matrix, rounded, as rows of LD_HEAD words. */
INLINE void stage_rows(__local uint *tile, __global const float *from, int first, int count, size_t stride,
                       int l, int N)
{
#pragma unroll 1
    for (int i = l; i < count * (HK / 4); i += ITEMS) {
        int r = i / (HK / 4), d = i % (HK / 4) * 4;
        float4 v = quad(from + (size_t)(first + r) * stride, first + r < N, d);
        *(__local uint2 *)(tile + r * LD_HEAD + d / 2) = (uint2)(pack(v.x, v.y), pack(v.z, v.w));
    }
}

/* Rows first .. first + TN - 1, turned: HN rows of LD_KEYS words, each of two neighbouring rows of `from`.
 * Two neighbouring items read on in a row, the next two have the next two rows. */
INLINE void stage_across(__local uint *tile, __global const float *from, int first, size_t stride, int l,
                         int N)
{
#pragma unroll 1
    for (int i = l; i < TN / 2 * (HN / 4); i += ITEMS) {
        int word = i / 2 % (TN / 2), d = (i / TN * 2 + i % 2) * 4, row = first + 2 * word;
        __global const float *at = from + (size_t)row * stride;
        float4 v = quad(at, row < N, d), next = quad(at + stride, row + 1 < N, d);
        __local uint *to = tile + d * LD_KEYS + word;
        to[0] = pack(v.x, next.x);
        to[LD_KEYS] = pack(v.y, next.y);
        to[2 * LD_KEYS] = pack(v.z, next.z);
        to[3 * LD_KEYS] = pack(v.w, next.w);
    }
}

/* Element e of fragment (i, j) of a hardware thread: its row in the group's tile, and its column of the
 * scores (a key or a query) and of the result (a place in the head). */
#define ROW_AT(i, e) (row_of + (i)*UM + C_ROW(e))
#define KEY_AT(j, e) (key_of + (j)*UN + C_COLUMN(e))
#define HEAD_AT(j, e) (head_of + (j)*UN + C_COLUMN(e))
#define EACH_ELEMENT(n)                                                                            \
    _Pragma("unroll") for (int i = 0; i < FM; i++) _Pragma("unroll") for (int j = 0; j < (n); j++) \
        _Pragma("unroll") for (int e = 0; e < C_FLOATS; e++)

INLINE void clear(c_fragment c[COLUMNS][FM][FN], int n)
{
    EACH_ELEMENT(n)
    C_ELEMENT(c[j][i][0], e) = 0.0f;
}

/* Written out, steps of k spill on Intel's and, for long heads, on RDNA3's registers. */
#if UNIT == UNIT_DPAS8 || UNIT == UNIT_DPAS16 || HEAD > 80
#define STEPS _Pragma("unroll 1")
#else
#define STEPS UNROLLED
#endif

/* n columns of c += rows `row`.. of tile a times rows `column`.. of tile b, whose rows have K numbers in ld
 * words. */
INLINE void product(c_fragment c[COLUMNS][FM][FN], int n, int K, int ld, __local const uint *a,
                    __local const uint *b, int row, int column, int lane, __local uint *exchange)
{
    STEPS
    for (int k = 0; k < K; k += UK) {
        uint as[FM][A_WORDS] __attribute__((aligned(16)));
#pragma unroll
        for (int i = 0; i < FM; i++)
            LOAD_A(as[i], a, row + i * UM, k / 2)
        UNROLLED
        for (int j = 0; j < n; j++) {
            uint bs[FN][B_WORDS] __attribute__((aligned(16)));
            LOAD_B(bs[0], b, column + j * UN, k / 2)
            MULTIPLY(c[j], as, bs);
        }
    }
}
#define SCORES(c, a, b) product(c, FN_KEYS, HK, LD_HEAD, a, b, row_of, key_of, lane, exchange);
#define WEIGH(c, a, b) product(c, FN_HEAD, TN, LD_KEYS, a, b, row_of, head_of, lane, exchange);

/* Weights, rounded, to rows of LD_KEYS words. */
INLINE void put_weights(__local uint *tile, c_fragment c[COLUMNS][FM][FN], int row_of, int key_of, int lane)
{
    __local ushort *to = (__local ushort *)tile;
    EACH_ELEMENT(FN_KEYS)
    to[ROW_AT(i, e) * (2 * LD_KEYS) + KEY_AT(j, e)] = (ushort)half_of(C_ELEMENT(c[j][i][0], e));
}

#define POSITION                                                                   \
    int l = (int)get_local_id(0), lane = l % LANES, wave = l / LANES;              \
    int row_of = wave / WAVES_N * FM * UM, key_of = wave % WAVES_N * FN_KEYS * UN, \
        head_of = wave % WAVES_N * FN_HEAD * UN;                                   \
    __local uint *exchange = exchange_of + wave * EXCHANGE_WORDS;                  \
    PLACE_OF_GROUP

/* Rows first.. of a result, times scale; from FN_HEAD columns of instructions. */
INLINE void store_rows(__global float *to, size_t stride, c_fragment c[COLUMNS][FM][FN], float scale,
                       int first, int N, int row_of, int head_of, int lane)
{
    EACH_ELEMENT(FN_HEAD)
    {
        int row = first + ROW_AT(i, e), d = HEAD_AT(j, e);
        if (row < N && d < HEAD)
            to[(size_t)row * stride + (size_t)d] = scale * C_ELEMENT(c[j][i][0], e);
    }
}

#ifdef FORWARD
#define SHARE (ITEMS / TM) /* items of a row in the softmax; item `part` has its quads part + SHARE j */
#define QUADS (TN / 4 / SHARE)
#define LDS (TN + 4) /* of a row of scores in f32 */
#define POOL_SCORES (TM * LDS)
#define POOL_KEYS (TN * LD_HEAD)
#define POOL (POOL_SCORES > POOL_KEYS ? POOL_SCORES : POOL_KEYS)

/* A tile of the streaming softmax, as `soften` of attention.cl has it: scores of keys k0.. in `pool` become
 * weights, rounded, in rows of LD_KEYS words, and shrink [TM] what sums so far are to be scaled by. *top and
 * *sum of a row are kept by each of its items. parts [2 ITEMS] is local; begins and ends with a barrier. */
INLINE void soften(__local uint *pool, float *top, float *sum, __local float *shrink, __local float *parts,
                   int l, int left, float scale)
{
    int row = l / SHARE, part = l % SHARE;
    float4 v[QUADS];
    float peak = *top, total = 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int j = 0; j < QUADS; j++) {
        int c = 4 * (part + SHARE * j);
        v[j] = masked(scale * *(__local const float4 *)(pool + row * LDS + c), left - c, -3.0e38f);
        peak = fmax(peak, fmax(fmax(v[j].x, v[j].y), fmax(v[j].z, v[j].w)));
    }
    parts[l] = peak;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int p = 0; p < SHARE; p++)
        peak = fmax(peak, parts[row * SHARE + p]);
    float f = exp(*top - peak);
#pragma unroll
    for (int j = 0; j < QUADS; j++) {
        int c = 4 * (part + SHARE * j);
        float4 w = masked(exp(v[j] - peak), left - c, 0.0f);
        *(__local uint2 *)(pool + row * LD_KEYS + c / 2) = (uint2)(pack(w.x, w.y), pack(w.z, w.w));
        total += (w.x + w.y) + (w.z + w.w);
    }
    parts[ITEMS + l] = total;
    if (part == 0)
        shrink[row] = f;
    barrier(CLK_LOCAL_MEM_FENCE);
    total = 0.0f;
#pragma unroll
    for (int p = 0; p < SHARE; p++)
        total += parts[ITEMS + row * SHARE + p];
    *top = peak;
    *sum = *sum * f + total;
}

/* lse [b, h, n] = top + log(sum), where has_lse. Groups own queries. */
__kernel UNIT_ATTRIBUTE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_matrix(__global float *out, ulong out_at, __global float *lse, ulong lse_at,
                 __global const float *qkv, ulong qkv_at, int N, int H, float scale, int has_lse)
{
    __local uint queries[TM * LD_HEAD] __attribute__((aligned(16)));
    __local uint pool[POOL] __attribute__((aligned(16))); /* keys, then scores, then weights */
    __local uint values[HN * LD_KEYS] __attribute__((aligned(16)));
    __local float shrink[TM], parts[2 * ITEMS];
    __local uint exchange_of[ITEMS / LANES * EXCHANGE_WORDS + 1];
    POSITION
    __global const float *q = qkv + qkv_at + head;
    c_fragment acc[COLUMNS][FM][FN], s[COLUMNS][FM][FN];
    float top = -3.0e38f, sum = 0.0f;
    clear(acc, FN_HEAD);
    stage_rows(queries, q, first, TM, stride, l, N);

    for (int k0 = 0; k0 < N; k0 += TN) {
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_rows(pool, q + width, k0, TN, stride, l, N);
        stage_across(values, q + 2 * width, k0, stride, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear(s, FN_KEYS);
        SCORES(s, queries, pool)
        barrier(CLK_LOCAL_MEM_FENCE);
        EACH_ELEMENT(FN_KEYS)
        ((__local float *)pool)[ROW_AT(i, e) * LDS + KEY_AT(j, e)] = C_ELEMENT(s[j][i][0], e);
        soften(pool, &top, &sum, shrink, parts, l, N - k0, scale);
        EACH_ELEMENT(FN_HEAD)
        C_ELEMENT(acc[j][i][0], e) *= shrink[ROW_AT(i, e)];
        WEIGH(acc, pool, values)
    }

    barrier(CLK_LOCAL_MEM_FENCE);
    if (l % SHARE == 0) {
        int n = first + l / SHARE;
        shrink[l / SHARE] = 1.0f / sum;
        if (has_lse && n < N)
            lse[lse_at + stats + (size_t)n] = top + log(sum);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH_ELEMENT(FN_HEAD)
    C_ELEMENT(acc[j][i][0], e) *= shrink[ROW_AT(i, e)];
    store_rows(out + out_at + head_out, width, acc, 1.0f, first, N, row_of, head_of, lane);
}
#endif

#if defined(DQ) || defined(DKV)
#define POOL_ROWS (2 * TN * LD_HEAD)
#define POOL_WEIGH (TM * LD_KEYS + HN * LD_KEYS)
#define POOL (POOL_ROWS > POOL_WEIGH ? POOL_ROWS : POOL_WEIGH)

/* count numbers of lse and delta from row `from` of this head on; zeroes behind the last. */
INLINE void stage_stats(__local float *lse_of, __local float *delta_of, __global const float *lse,
                        __global const float *delta, int from, int count, int l, int N)
{
    for (int i = l; i < count; i += ITEMS) {
        lse_of[i] = from + i < N ? lse[from + i] : 0.0f;
        delta_of[i] = from + i < N ? delta[from + i] : 0.0f;
    }
}
#endif

#ifdef DQ
/* P = exp(q k^T scale - lse), dS = P (dout v^T - delta);  dq = scale dS k. Groups own queries. */
__kernel UNIT_ATTRIBUTE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_dq_matrix(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
                    __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
                    __global const float *delta, ulong delta_at, int N, int H, float scale)
{
    __local uint queries[TM * LD_HEAD] __attribute__((aligned(16)));
    __local uint gradients[TM * LD_HEAD] __attribute__((aligned(16)));
    __local uint pool[POOL] __attribute__((aligned(16))); /* keys and values, then weights and keys turned */
    __local float lse_of[TM], delta_of[TM];
    __local uint exchange_of[ITEMS / LANES * EXCHANGE_WORDS + 1];
    POSITION
    __global const float *q = qkv + qkv_at + head, *o = dout + dout_at + head_out;
    c_fragment acc[COLUMNS][FM][FN], s[COLUMNS][FM][FN], dp[COLUMNS][FM][FN];
    clear(acc, FN_HEAD);
    stage_rows(queries, q, first, TM, stride, l, N);
    stage_rows(gradients, o, first, TM, width, l, N);
    stage_stats(lse_of, delta_of, lse + lse_at + stats, delta + delta_at + stats, first, TM, l, N);

    for (int k0 = 0; k0 < N; k0 += TN) {
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_rows(pool, q + width, k0, TN, stride, l, N);
        stage_rows(pool + TN * LD_HEAD, q + 2 * width, k0, TN, stride, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear(s, FN_KEYS);
        clear(dp, FN_KEYS);
        SCORES(s, queries, pool)
        SCORES(dp, gradients, pool + TN * LD_HEAD)
        barrier(CLK_LOCAL_MEM_FENCE);
        EACH_ELEMENT(FN_KEYS)
        {
            float p = exp(scale * C_ELEMENT(s[j][i][0], e) - lse_of[ROW_AT(i, e)]);
            float ds = p * (C_ELEMENT(dp[j][i][0], e) - delta_of[ROW_AT(i, e)]);
            C_ELEMENT(s[j][i][0], e) = k0 + KEY_AT(j, e) < N ? ds : 0.0f;
        }
        put_weights(pool, s, row_of, key_of, lane);
        stage_across(pool + TM * LD_KEYS, q + width, k0, stride, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        WEIGH(acc, pool, pool + TM * LD_KEYS)
    }
    store_rows(dqkv + dqkv_at + head, stride, acc, scale, first, N, row_of, head_of, lane);
}
#endif

#ifdef DKV
/* dv = P^T dout, dk = scale dS^T q. Groups own keys, so that nothing is added from two places. */
__kernel UNIT_ATTRIBUTE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_dkv_matrix(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
                     __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
                     __global const float *delta, ulong delta_at, int N, int H, float scale)
{
    __local uint keys[TM * LD_HEAD] __attribute__((aligned(16)));
    __local uint values[TM * LD_HEAD] __attribute__((aligned(16)));
    __local uint pool[POOL]
        __attribute__((aligned(16))); /* q and dout, then weights and one of them turned */
    __local float lse_of[TN], delta_of[TN];
    __local uint exchange_of[ITEMS / LANES * EXCHANGE_WORDS + 1];
    POSITION
    __global const float *q = qkv + qkv_at + head, *o = dout + dout_at + head_out;
    c_fragment dk[COLUMNS][FM][FN], dv[COLUMNS][FM][FN], s[COLUMNS][FM][FN], dp[COLUMNS][FM][FN];
    clear(dk, FN_HEAD);
    clear(dv, FN_HEAD);
    stage_rows(keys, q + width, first, TM, stride, l, N);
    stage_rows(values, q + 2 * width, first, TM, stride, l, N);

    for (int q0 = 0; q0 < N; q0 += TN) {
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_rows(pool, q, q0, TN, stride, l, N);
        stage_rows(pool + TN * LD_HEAD, o, q0, TN, width, l, N);
        stage_stats(lse_of, delta_of, lse + lse_at + stats, delta + delta_at + stats, q0, TN, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear(s, FN_KEYS);
        clear(dp, FN_KEYS);
        SCORES(s, keys, pool)
        SCORES(dp, values, pool + TN * LD_HEAD)
        barrier(CLK_LOCAL_MEM_FENCE);
        EACH_ELEMENT(FN_KEYS)
        {
            int n = KEY_AT(j, e);
            float p = exp(scale * C_ELEMENT(s[j][i][0], e) - lse_of[n]);
            float ds = p * (C_ELEMENT(dp[j][i][0], e) - delta_of[n]);
            C_ELEMENT(s[j][i][0], e) = q0 + n < N ? p : 0.0f;
            C_ELEMENT(dp[j][i][0], e) = q0 + n < N ? ds : 0.0f;
        }
        put_weights(pool, s, row_of, key_of, lane);
        stage_across(pool + TM * LD_KEYS, o, q0, width, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        WEIGH(dv, pool, pool + TM * LD_KEYS)
        barrier(CLK_LOCAL_MEM_FENCE);
        put_weights(pool, dp, row_of, key_of, lane);
        stage_across(pool + TM * LD_KEYS, q, q0, stride, l, N);
        barrier(CLK_LOCAL_MEM_FENCE);
        WEIGH(dk, pool, pool + TM * LD_KEYS)
    }
    store_rows(dqkv + dqkv_at + head + width, stride, dk, scale, first, N, row_of, head_of, lane);
    store_rows(dqkv + dqkv_at + head + 2 * width, stride, dv, 1.0f, first, N, row_of, head_of, lane);
}
#endif
