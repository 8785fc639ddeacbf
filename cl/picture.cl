/* SPDX-License-Identifier: Apache-2.0
 * picture.cl: pictures as rows of channels: convolution, group norm, softmax, pooling.
 *
 * conv is the product of linear.cl, C [M, N] = sum over k < K of A(m, k) W[n][k], whose A(m, k) is looked
 * up in the picture: m is an output pixel, k = (ky * kernel_x + kx) * n_in + c. A group computes a tile of
 * TM x TN; work-item (tx, ty) owns the elements row ty + 16 i, column tx + 16 j. When a tile of A is
 * loaded, a work-item has one k and the rows l / TK + i * GROUP / TK, so that the division by n_in is
 * done once a step and the pixels of its rows once for all.
 *
 * An element's sum over k runs in one order whatever the tile, so its bits do not depend on M.
 *
 * ITEM_M, ITEM_N   elements of C a work-item, each way */
#ifndef ITEM_M
#define ITEM_M 4
#endif
#ifndef ITEM_N
#define ITEM_N 4
#endif
#define SIDE 16
#define TM (SIDE * ITEM_M)
#define TN (16 * ITEM_N)
#define TK 16
#define A_ROWS (TM * TK / GROUP) /* rows of A that a work-item loads */
#include "tile.h"

/* TK steps from k0 on of TN rows of w [N][K] from n0 on; zeroes past the ends. w and w_at apart: a pointer of
 * their sum takes 8 registers of conv on NVIDIA's GPUs. */
INLINE void load_w(__local float (*bs)[TN + 1], __global const float *w, ulong w_at, int l, int n0, int k0,
                   int N, int K)
{
    for (int i = l; i < TN * TK; i += GROUP) {
        int k = i % TK, n = i / TK;
        bool in = n0 + n < N && k0 + k < K;
        bs[k][n] = in ? w[w_at + (size_t)(n0 + n) * (size_t)K + (size_t)(k0 + k)] : 0.0f;
    }
}

/* residual [at] + act(v + bias [n]), each if it is there */
float conv_finish(float v, __global const float *bias, __global const float *residual, size_t n, size_t at,
                  uint flags)
{
    if (FLAG(flags, CONV_BIAS))
        v += bias[n];
    v = act(flags >> CONV_ACT, v);
    if (FLAG(flags, CONV_RESIDUAL))
        v += residual[at];
    return v;
}

/* y [M, N] = residual + act(x * w + bias): see the head of the file. */
__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void
conv(__global float *y, ulong y_at, __global const float *x, ulong x_at, __global const float *w, ulong w_at,
     __global const float *bias, ulong bias_at, __global const float *residual, ulong residual_at, int M,
     int N, int n_in, int H, int W, int out_h, int out_w, int kernel_y, int kernel_x, int top, int left,
     int stride_y, int stride_x, uint flags)
{
    __local float as[TK][TM + 1], bs[TK][TN + 1];
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), l = ty * 16 + tx;
    int m0 = (int)get_group_id(1) * TM, n0 = (int)get_group_id(0) * TN, K = kernel_y * kernel_x * n_in;
    int up = FLAG(flags, CONV_UPSAMPLE) ? 1 : 0, vh = H << up, vw = W << up;
    /* The first pixel of v that each of the rows sees, and where its sample begins; rows behind the last
     * see nothing. */
    int ri[A_ROWS], rj[A_ROWS];
    size_t sample[A_ROWS];
    for (int i = 0; i < A_ROWS; i++) {
        int m = m0 + l / TK + i * (GROUP / TK);
        ri[i] = m < M ? m / out_w % out_h * stride_y + top : -kernel_y;
        rj[i] = m % out_w * stride_x + left;
        sample[i] = (size_t)(m / out_w / out_h) * (size_t)H * (size_t)W * (size_t)n_in;
    }
    float acc[ITEM_M][ITEM_N];
    clear_tile(acc);
    for (int k0 = 0; k0 < K; k0 += TK) {
        int k = k0 + l % TK, tap = k / n_in, c = k - tap * n_in, ky = tap / kernel_x,
            kx = tap - kernel_x * ky;
        for (int i = 0; i < A_ROWS; i++) {
            int vi = ri[i] + ky, vj = rj[i] + kx;
            bool in = k < K && vi >= 0 && vi < vh && vj >= 0 && vj < vw;
            size_t at = ((size_t)(vi >> up) * (size_t)W + (size_t)(vj >> up)) * (size_t)n_in + (size_t)c;
            as[l % TK][l / TK + i * (GROUP / TK)] = in ? x[x_at + sample[i] + at] : 0.0f;
        }
        load_w(bs, w, w_at, l, n0, k0, N, K);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tile(acc, as, bs);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    for (int i = 0; i < ITEM_M; i++)
        for (int j = 0; j < ITEM_N; j++) {
            int m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
            if (m >= M || n >= N)
                continue;
            size_t at = (size_t)m * (size_t)N + (size_t)n;
            y[y_at + at] =
                conv_finish(acc[i][j], bias + bias_at, residual + residual_at, (size_t)n, at, flags);
        }
}

/* The same in groups, w [N][kernel_y kernel_x n_in / groups]: one work-item an element of y, (N, M). */
__kernel __attribute__((reqd_work_group_size(64, 4, 1))) void
conv_groups(__global float *y, ulong y_at, __global const float *x, ulong x_at, __global const float *w,
            ulong w_at, __global const float *bias, ulong bias_at, __global const float *residual,
            ulong residual_at, int M, int N, int n_in, int H, int W, int out_h, int out_w, int kernel_y,
            int kernel_x, int top, int left, int stride_y, int stride_x, uint flags, int groups)
{
    int n = (int)get_global_id(0), m = (int)get_global_id(1), each = n_in / groups;
    if (n >= N || m >= M)
        return;
    int up = FLAG(flags, CONV_UPSAMPLE) ? 1 : 0, row = m / out_w % out_h * stride_y + top,
        column = m % out_w * stride_x + left;
    size_t sample = x_at + (size_t)(m / out_w / out_h) * (size_t)H * (size_t)W * (size_t)n_in +
                    (size_t)(n / (N / groups) * each);
    size_t at = (size_t)m * (size_t)N + (size_t)n;
    float v = 0.0f;
    w += w_at + (size_t)n * (size_t)(kernel_y * kernel_x * each);
    for (int ky = 0; ky < kernel_y; ky++)
        for (int kx = 0; kx < kernel_x; kx++, w += each) {
            int i = row + ky, j = column + kx;
            if (i < 0 || i >= H << up || j < 0 || j >= W << up)
                continue;
            size_t from = sample + ((size_t)(i >> up) * (size_t)W + (size_t)(j >> up)) * (size_t)n_in;
            for (int c = 0; c < each; c++)
                v = mad(x[from + (size_t)c], w[c], v);
        }
    y[y_at + at] = conv_finish(v, bias + bias_at, residual + residual_at, (size_t)n, at, flags);
}

/* to [pixels][taps n_in]: what each output pixel from `from` on sees. One work-item a number of a tap:
 * (n_in, taps pixels). */
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void
patches(__global float *to, ulong to_at, __global const float *x, ulong x_at, ulong from, int n_in, int H,
        int W, int out_h, int out_w, int kernel_y, int kernel_x, int top, int left, int stride_y,
        int stride_x, uint flags)
{
    size_t taps = (size_t)(kernel_y * kernel_x), p = get_global_id(1) / taps, m = p + (size_t)from;
    int c = (int)get_global_id(0), tap = (int)(get_global_id(1) % taps);
    int up = FLAG(flags, CONV_UPSAMPLE) ? 1 : 0;
    int row = (int)(m / (size_t)out_w % (size_t)out_h) * stride_y + top + tap / kernel_x;
    int column = (int)(m % (size_t)out_w) * stride_x + left + tap % kernel_x;
    size_t sample = m / (size_t)out_w / (size_t)out_h;
    bool in = row >= 0 && row < H << up && column >= 0 && column < W << up;
    size_t at =
        ((sample * (size_t)H + (size_t)(row >> up)) * (size_t)W + (size_t)(column >> up)) * (size_t)n_in +
        (size_t)c;
    if (c < n_in)
        to[to_at + (p * taps + (size_t)tap) * (size_t)n_in + (size_t)c] = in ? x[x_at + at] : 0.0f;
}

/* Moments of the channels over chunks of CHUNK rows: partial [B][chunks][2][D] = mean, sum of
 * (x - mean)^2. A group takes COLUMNS channels of a chunk, in SLICES slices of its rows: slice s adds rows
 * s, s + SLICES, ..., the slices are added in order. */
#define COLUMNS 64
#define SLICES (GROUP / COLUMNS)
#define CHUNK 128 /* MOMENT_ROWS of host/opencl/picture.c */

float slices_sum(__local float s[SLICES][COLUMNS], int tx, int ty, float v)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    s[ty][tx] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    v = s[0][tx];
    for (int i = 1; i < SLICES; i++)
        v += s[i][tx];
    return v;
}

/* x [B][rows][D]; groups: (channels, chunks of all samples) */
__kernel __attribute__((reqd_work_group_size(COLUMNS, SLICES, 1))) void
channel_moments(__global float *partial, ulong partial_at, __global const float *x, ulong x_at, int rows,
                int D, int chunks)
{
    __local float s[SLICES][COLUMNS];
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1), d = (int)get_group_id(0) * COLUMNS + tx;
    int part = (int)get_group_id(1), from = part % chunks * CHUNK, end = min(rows, from + CHUNK);
    size_t sample = x_at + (size_t)(part / chunks) * (size_t)rows * (size_t)D;
    float sum = 0.0f;
    if (d < D)
        for (int m = from + ty; m < end; m += SLICES)
            sum += x[sample + (size_t)m * (size_t)D + (size_t)d];
    float mean = slices_sum(s, tx, ty, sum) / (float)(end - from);
    sum = 0.0f;
    if (d < D)
        for (int m = from + ty; m < end; m += SLICES) {
            float c = x[sample + (size_t)m * (size_t)D + (size_t)d] - mean;
            sum += c * c;
        }
    sum = slices_sum(s, tx, ty, sum);
    if (ty != 0 || d >= D)
        return;
    size_t to = partial_at + (size_t)part * 2 * (size_t)D + (size_t)d;
    partial[to] = mean;
    partial[to + (size_t)D] = sum;
}

/* stats [B, groups, 2] from the moments: one work-item a group of channels, chunk after chunk (Chan, Golub
 * and LeVeque 1979). The mean is kept as a mean and what rounding left of it. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
group_stats(__global float *stats, ulong stats_at, __global const float *partial, ulong partial_at, int n,
            int groups, int rows, int D, int chunks)
{
    int i = (int)get_global_id(0), per = D / groups;
    if (i >= n)
        return;
    size_t at = partial_at + (size_t)(i / groups) * (size_t)chunks * 2 * (size_t)D;
    float count = 0.0f, mean = 0.0f, rest = 0.0f, m2 = 0.0f;
    for (int chunk = 0; chunk < chunks; chunk++, at += 2 * (size_t)D) {
        float r = (float)min(CHUNK, rows - chunk * CHUNK);
        for (int c = i % groups * per; c < (i % groups + 1) * per; c++) {
            float delta = partial[at + (size_t)c] - mean;
            float share = r / (count + r);
            rest += delta * share;
            float next = mean + rest;
            rest -= next - mean;
            mean = next;
            m2 += partial[at + (size_t)(D + c)] + delta * delta * count * share;
            count += r;
        }
    }
    stats[stats_at + 2 * (size_t)i] = mean;
    stats[stats_at + 2 * (size_t)i + 1] = 1.0f / sqrt(m2 / count + 1e-6f);
}

/* y = act((x - mean) rstd weight + bias): (D, rows of all samples) */
__kernel __attribute__((reqd_work_group_size(64, 4, 1))) void
group_apply(__global float *y, ulong y_at, __global const float *x, ulong x_at, __global const float *stats,
            ulong stats_at, __global const float *weight, ulong weight_at, __global const float *bias,
            ulong bias_at, int M, int rows, int D, int groups, uint kind)
{
    int d = (int)get_global_id(0), m = (int)get_global_id(1);
    if (d >= D || m >= M)
        return;
    size_t at = (size_t)m * (size_t)D + (size_t)d;
    size_t s = stats_at + ((size_t)(m / rows) * (size_t)groups + (size_t)(d / (D / groups))) * 2;
    float v = (x[x_at + at] - stats[s]) * (stats[s + 1] * weight[weight_at + (size_t)d]) +
              bias[bias_at + (size_t)d];
    y[y_at + at] = act(kind, v);
}

/* y [m] = softmax(scale x [m]): one group a row */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
softmax(__global float *y, ulong y_at, __global const float *x, ulong x_at, int n, float scale)
{
    __local float s[GROUP];
    int l = (int)get_local_id(0);
    size_t row = (size_t)get_group_id(0) * (size_t)n;
    float most = -INFINITY;
    for (int i = l; i < n; i += GROUP)
        most = fmax(most, scale * x[x_at + row + (size_t)i]);
    s[l] = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size)
            s[l] = fmax(s[l], s[l + half_size]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    most = s[0];
    float sum = 0.0f;
    for (int i = l; i < n; i += GROUP)
        sum += exp(scale * x[x_at + row + (size_t)i] - most);
    sum = group_sum(s, sum);
    /* Each work-item writes what it alone has read. */
    for (int i = l; i < n; i += GROUP)
        y[y_at + row + (size_t)i] = exp(scale * x[x_at + row + (size_t)i] - most) / sum;
}

/* enum fdit_pooling_kind */
#define POOLING_MAX 0
#define POOLING_MEAN 1

/* y [M, C] = mean or maximum of the pixels of x [samples, H, W, C] under a window of kernel_size: (C, M). A
 * mean is of the pixels that are there; of the third kind, of the whole window with zeroes around the
 * picture. */
__kernel __attribute__((reqd_work_group_size(64, 4, 1))) void
pooling(__global float *y, ulong y_at, __global const float *x, ulong x_at, int M, int C, int H, int W,
        int out_h, int out_w, int kernel_size, int stride, int pad, int kind)
{
    int c = (int)get_global_id(0), m = (int)get_global_id(1);
    if (c >= C || m >= M)
        return;
    int row = m / out_w % out_h * stride - pad, column = m % out_w * stride - pad;
    int bottom = min(row + kernel_size, H), right = min(column + kernel_size, W);
    size_t sample = x_at + (size_t)(m / out_w / out_h) * (size_t)H * (size_t)W * (size_t)C + (size_t)c;
    float sum = 0.0f, most = -INFINITY;
    row = max(row, 0);
    column = max(column, 0);
    for (int i = row; i < bottom; i++)
        for (int j = column; j < right; j++) {
            float v = x[sample + ((size_t)i * (size_t)W + (size_t)j) * (size_t)C];
            sum += v;
            most = v > most || isnan(v) ? v : most;
        }
    y[y_at + (size_t)m * (size_t)C + (size_t)c] = kind == POOLING_MAX ? most
                                                  : kind == POOLING_MEAN
                                                      ? sum / (float)((bottom - row) * (right - column))
                                                      : sum / ((float)kernel_size * (float)kernel_size);
}
