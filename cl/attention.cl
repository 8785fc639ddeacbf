/* SPDX-License-Identifier: Apache-2.0
 * attention.cl: softmax(q k^T HEAD^-0.5) v without the N x N matrix, and its backward pass; for GPUs.
 *
 * attention_rows.h says how the tensors lie. A tile of scores is in registers:
 *
 *           64 columns               A group of 16 x BY work-items owns ROWS = 4 BY rows of one head of one
 *        +----+----+----+            sample (queries; keys in attention_dkv) and passes over the
 *        |    |    |    |            other side, 64 at a time. Item (tx, ty) has rows 4 ty + {0..3} and
 *   ROWS +----+----+----+            columns 4 tx + {0..3} of the scores, and of the result the same rows
 *        |    | 4x4|    |            and the columns tx + 16 j, j < COLUMNS.
 *        +----+----+----+
 *
 * Two products do all the work: `scores` (rows of one matrix times rows of another, HEAD long, staged CH
 * numbers at a time, transposed), and `weigh` (scores, from local memory, times rows of a matrix, staged
 * VS rows at a time). Both stage into the same local memory, in turns: a group stays below 32 KiB.
 *
 * HEAD      size of a head, 1 .. 128
 * BY        rows of work-items: 8 or 16
 * UNROLL    steps of `scores` that are written out: 2 are what Intel's registers hold
 * FORWARD, DELTA, DQ, DKV: which kernel this build has
 * ALIGNED   HEAD and all offsets are multiples of 4: four numbers a load
 *
 * Scores past the end are masked by index. N: any; the order of all sums depends on N and HEAD alone. */
#ifndef BY
#define BY 16
#endif
#ifndef UNROLL
#define UNROLL 2
#endif
#define BX 16
#define ITEMS (BX * BY)
#define ROWS (4 * BY)
#define KEYS 64
#define COLUMNS ((HEAD + 15) / 16)
#define WIDTH (16 * COLUMNS) /* of a staged row in `weigh` */
#if HEAD % 24 == 0
#define CH 24
#else
#define CH 16
#endif
#define VS (HEAD > 80 ? 16 : 32)
#define LA (ROWS + 4)
#define LB (KEYS + 4)
#define LP (KEYS + 4) /* of a row of scores */
#define POOL_SCORES (CH * (LA + LB))
#define POOL_WEIGH (ROWS * LP + VS * WIDTH)
#define POOL (POOL_SCORES > POOL_WEIGH ? POOL_SCORES : POOL_WEIGH)

#include "attention_rows.h"

/* s[i] (columns of row i) = sum over d of a(row)[d] b(column)[d]. Begins with a barrier and ends without. */
void scores(float4 s[4], __local float *pool, __global const float *a, int a_first, size_t a_stride,
            __global const float *b, int b_first, size_t b_stride, int N)
{
    __local float *as = pool, *bs = pool + CH * LA;
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), l = ty * BX + tx;
    s[0] = s[1] = s[2] = s[3] = (float4)(0.0f);
    for (int d0 = 0; d0 < HEAD; d0 += CH) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = l; i < ROWS * (CH / 4); i += ITEMS) {
            int r = i / (CH / 4), d = i % (CH / 4) * 4;
            float4 v = quad(a + (size_t)(a_first + r) * a_stride, a_first + r < N, d0 + d);
            __local float *to = as + d * LA + r;
            to[0] = v.x;
            to[LA] = v.y;
            to[2 * LA] = v.z;
            to[3 * LA] = v.w;
        }
        for (int i = l; i < KEYS * (CH / 4); i += ITEMS) {
            int r = i / (CH / 4), d = i % (CH / 4) * 4;
            float4 v = quad(b + (size_t)(b_first + r) * b_stride, b_first + r < N, d0 + d);
            __local float *to = bs + d * LB + r;
            to[0] = v.x;
            to[LB] = v.y;
            to[2 * LB] = v.z;
            to[3 * LB] = v.w;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll UNROLL
        for (int d = 0; d < CH; d++) {
            float4 am = *(__local const float4 *)(as + d * LA + 4 * ty);
            float4 bn = *(__local const float4 *)(bs + d * LB + 4 * tx);
            s[0] = mad((float4)(am.x), bn, s[0]);
            s[1] = mad((float4)(am.y), bn, s[1]);
            s[2] = mad((float4)(am.z), bn, s[2]);
            s[3] = mad((float4)(am.w), bn, s[3]);
        }
    }
}

/* acc(row, column) += sum over the tile's k of p[row][k] v(first + k)[column]. Begins with a barrier, so p
 * may have been written just before, and ends without. */
void weigh(float acc[4][COLUMNS], __local const float *p, __local float *vs, __global const float *v,
           int first, size_t stride, int N)
{
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), l = ty * BX + tx;
    for (int k0 = 0; k0 < KEYS; k0 += VS) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = l; i < VS * (WIDTH / 4); i += ITEMS) {
            int k = i / (WIDTH / 4), d = i % (WIDTH / 4) * 4, row = first + k0 + k;
            *(__local float4 *)(vs + k * WIDTH + d) = quad(v + (size_t)row * stride, row < N, d);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
        for (int k = 0; k < VS; k += 4) {
            float4 pm[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                pm[i] = *(__local const float4 *)(p + (4 * ty + i) * LP + k0 + k);
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                __local const float *at = vs + k * WIDTH + tx + 16 * j;
                float v0 = at[0], v1 = at[WIDTH], v2 = at[2 * WIDTH], v3 = at[3 * WIDTH];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    acc[i][j] =
                        mad(pm[i].w, v3, mad(pm[i].z, v2, mad(pm[i].y, v1, mad(pm[i].x, v0, acc[i][j]))));
            }
        }
    }
}

void clear(float acc[4][COLUMNS])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            acc[i][j] = 0.0f;
}

/* row first + 4 ty + i of a matrix, times factor[i] */
void store_rows(__global float *to, size_t stride, float acc[4][COLUMNS], float4 factor, int first, int N)
{
    int tx = (int)get_local_id(0), row = first + 4 * (int)get_local_id(1);
    float f[4] = { factor.x, factor.y, factor.z, factor.w };
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            if (row + i < N && tx + 16 * j < HEAD)
                to[(size_t)(row + i) * stride + (size_t)(tx + 16 * j)] = acc[i][j] * f[i];
}

#define POSITION                                                                \
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), l = ty * BX + tx; \
    PLACE_OF_GROUP(void) l;

#ifdef FORWARD
/* A tile of the streaming softmax: with a row's running maximum `top`, `sum` of exp(s - top) and acc of
 * exp(s - top) v, a tile first scales sum and acc by exp(top - top') = shrink. p [row], scores of keys k0..,
 * becomes exp(s - top'). Four items share the exponentials of a row: item `part` of a row has its quads
 * part + 4 j. `top`, `sum`, `shrink` [ROWS], part_of [4 ROWS] are local; begins and ends with a barrier. */
INLINE void soften(__local float *p, __local float *top, __local float *sum, __local float *shrink,
                   __local float *part_of, int k0, int N)
{
    int l = (int)get_local_id(1) * BX + (int)get_local_id(0), row = l / 4, part = l % 4;
    barrier(CLK_LOCAL_MEM_FENCE);
    float before = top[row], peak = before, total = 0.0f;
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        int c = 4 * (part + 4 * j), left = N - k0 - c;
        float4 v = masked(*(__local const float4 *)(p + row * LP + c), left, -3.0e38f);
        peak = fmax(peak, fmax(fmax(v.x, v.y), fmax(v.z, v.w)));
    }
    part_of[l] = peak;
    barrier(CLK_LOCAL_MEM_FENCE);
    __local const float *of_row = part_of + row * 4;
    peak = fmax(fmax(of_row[0], of_row[1]), fmax(of_row[2], of_row[3]));
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        int c = 4 * (part + 4 * j), left = N - k0 - c;
        float4 v = masked(exp(*(__local const float4 *)(p + row * LP + c) - peak), left, 0.0f);
        *(__local float4 *)(p + row * LP + c) = v;
        total += (v.x + v.y) + (v.z + v.w);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    part_of[l] = total;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (part == 0) {
        float f = exp(before - peak);
        top[row] = peak;
        shrink[row] = f;
        sum[row] = sum[row] * f + ((of_row[0] + of_row[1]) + (of_row[2] + of_row[3]));
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* lse [b, h, n] = top + log(sum), where has_lse. Groups own queries. */
__kernel SUB_GROUP __attribute__((reqd_work_group_size(BX, BY, 1))) void
attention(__global float *out, ulong out_at, __global float *lse, ulong lse_at, __global const float *qkv,
          ulong qkv_at, int N, int H, float scale, int has_lse)
{
    __local float pool[POOL] __attribute__((aligned(16)));
    __local float top[ROWS], sum[ROWS], shrink[ROWS], part_of[ROWS * 4];
    __local float *p = pool;
    float acc[4][COLUMNS];
    float4 s[4];
    POSITION
    int row = l / 4, part = l % 4;
    __global const float *q = qkv + qkv_at + head;
    clear(acc);
    if (part == 0) {
        top[row] = -3.0e38f;
        sum[row] = 0.0f;
    }

    for (int k0 = 0; k0 < N; k0 += KEYS) {
        scores(s, pool, q, first, stride, q + width, k0, stride, N);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int i = 0; i < 4; i++)
            *(__local float4 *)(p + (4 * ty + i) * LP + 4 * tx) = scale * s[i];
        soften(p, top, sum, shrink, part_of, k0, N);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float f = shrink[4 * ty + i];
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                acc[i][j] *= f;
        }
        weigh(acc, p, pool + ROWS * LP, q + 2 * width, k0, stride, N);
    }

    float4 total = (float4)(sum[4 * ty], sum[4 * ty + 1], sum[4 * ty + 2], sum[4 * ty + 3]);
    store_rows(out + out_at + head_out, width, acc, 1.0f / total, first, N);
    if (has_lse && part == 0 && first + row < N)
        lse[lse_at + stats + (size_t)(first + row)] = top[row] + log(sum[row]);
}
#endif

#ifdef DELTA
/* delta [b, h, n] = sum over d of dout out. Eight items a row. */
__kernel __attribute__((reqd_work_group_size(8, 32, 1))) void
attention_delta(__global float *delta, ulong delta_at, __global const float *dout, ulong dout_at,
                __global const float *out, ulong out_at, int N, int H)
{
    __local float s[32][9];
    int c = (int)get_local_id(0), r = (int)get_local_id(1);
    int n = (int)get_group_id(0) * 32 + r, h = (int)get_group_id(1), b = (int)get_group_id(2);
    size_t row = (((size_t)b * (size_t)N + (size_t)n) * (size_t)H + (size_t)h) * HEAD;
    float sum = 0.0f;
    for (int d = c; d < HEAD && n < N; d += 8)
        sum = mad(dout[dout_at + row + (size_t)d], out[out_at + row + (size_t)d], sum);
    s[r][c] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (c == 0 && n < N)
        delta[delta_at + ((size_t)b * (size_t)H + (size_t)h) * (size_t)N + (size_t)n] =
            ((s[r][0] + s[r][1]) + (s[r][2] + s[r][3])) + ((s[r][4] + s[r][5]) + (s[r][6] + s[r][7]));
}

#endif

#ifdef DQ
/* P = exp(q k^T scale - lse), dS = P (dout v^T - delta);  dq = scale dS k. Groups own queries. */
__kernel SUB_GROUP __attribute__((reqd_work_group_size(BX, BY, 1))) void
attention_dq(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
             __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
             __global const float *delta, ulong delta_at, int N, int H, float scale)
{
    __local float pool[POOL] __attribute__((aligned(16)));
    float acc[4][COLUMNS];
    float4 s[4], dp[4];
    POSITION
    __global const float *q = qkv + qkv_at + head, *o = dout + dout_at + head_out;
    clear(acc);
    for (int k0 = 0; k0 < N; k0 += KEYS) {
        int left = N - k0 - 4 * tx;
        scores(s, pool, q, first, stride, q + width, k0, stride, N);
        scores(dp, pool, o, first, width, q + 2 * width, k0, stride, N);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            size_t at = stats + (size_t)min(first + 4 * ty + i, N - 1);
            float4 ds = exp(scale * s[i] - lse[lse_at + at]) * (dp[i] - delta[delta_at + at]);
            *(__local float4 *)(pool + (4 * ty + i) * LP + 4 * tx) = masked(ds, left, 0.0f);
        }
        weigh(acc, pool, pool + ROWS * LP, q + width, k0, stride, N);
    }
    store_rows(dqkv + dqkv_at + head, stride, acc, (float4)(scale), first, N);
}

#endif

#ifdef DKV
/* dv = P^T dout, dk = scale dS^T q. Groups own keys, so that nothing is added from two places. */
__kernel SUB_GROUP __attribute__((reqd_work_group_size(BX, BY, 1))) void
attention_dkv(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
              __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
              __global const float *delta, ulong delta_at, int N, int H, float scale)
{
    __local float pool[POOL] __attribute__((aligned(16)));
    float dk[4][COLUMNS], dv[4][COLUMNS];
    float4 s[4], dp[4];
    POSITION
    __global const float *q = qkv + qkv_at + head, *o = dout + dout_at + head_out;
    clear(dk);
    clear(dv);
    for (int q0 = 0; q0 < N; q0 += KEYS) {
        int n = q0 + 4 * tx;
        scores(s, pool, q + width, first, stride, q, q0, stride, N);
        scores(dp, pool, q + 2 * width, first, stride, o, q0, width, N);
        float4 of_lse, of_delta;
        size_t at = stats + (size_t)min(n, N - 1);
        size_t at1 = stats + (size_t)min(n + 1, N - 1);
        size_t at2 = stats + (size_t)min(n + 2, N - 1);
        size_t at3 = stats + (size_t)min(n + 3, N - 1);
        of_lse = (float4)(lse[lse_at + at], lse[lse_at + at1], lse[lse_at + at2], lse[lse_at + at3]);
        of_delta = (float4)(delta[delta_at + at], delta[delta_at + at1], delta[delta_at + at2],
                            delta[delta_at + at3]);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float4 p = masked(exp(scale * s[i] - of_lse), N - n, 0.0f);
            *(__local float4 *)(pool + (4 * ty + i) * LP + 4 * tx) = p;
            dp[i] = n < N ? p * (dp[i] - of_delta) : (float4)(0.0f);
        }
        weigh(dv, pool, pool + ROWS * LP, o, q0, width, N);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int i = 0; i < 4; i++)
            *(__local float4 *)(pool + (4 * ty + i) * LP + 4 * tx) = dp[i];
        weigh(dk, pool, pool + ROWS * LP, q, q0, stride, N);
    }
    store_rows(dqkv + dqkv_at + head + width, stride, dk, (float4)(scale), first, N);
    store_rows(dqkv + dqkv_at + head + 2 * width, stride, dv, (float4)(1.0f), first, N);
}
#endif
