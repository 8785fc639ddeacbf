/* SPDX-License-Identifier: Apache-2.0
 * pointwise.cl: one work-item an element. Two-dimensional ranges are (element of a row, row or
 * sample). Pointers may name the same buffer where the entry of device.h allows it. */

/* y [M, D] = [residual +] gate branch;  with residual absent also the gradient: dbranch = gate dy. The gate
 * is a row of D for each sample of `rows` rows, gate_stride apart: (D, M) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
gate(__global float *y, ulong y_at, __global const float *residual, ulong residual_at,
     __global const float *branch, ulong branch_at, __global const float *g, ulong g_at, int rows, int D,
     int gate_stride, uint flags)
{
    int d = (int)get_global_id(0), m = (int)get_global_id(1);
    if (d >= D)
        return;
    size_t at = (size_t)m * (size_t)D + (size_t)d;
    float v = g[g_at + (size_t)(m / rows) * (size_t)gate_stride + (size_t)d];
    v *= branch[branch_at + at];
    if (FLAG(flags, GATE_RESIDUAL))
        v += residual[residual_at + at];
    y[y_at + at] = v;
}

/* y [n] = act(x) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
activation(__global float *y, ulong y_at, __global const float *x, ulong x_at, ulong n, uint kind)
{
    size_t i = get_global_id(0);
    if (i < (size_t)n)
        y[y_at + i] = act(kind, x[x_at + i]);
}

/* dx [n] = dy act'(x) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
activation_backward(__global float *dx, ulong dx_at, __global const float *dy, ulong dy_at,
                    __global const float *x, ulong x_at, ulong n, uint kind)
{
    size_t i = get_global_id(0);
    if (i < (size_t)n)
        dx[dx_at + i] = dy[dy_at + i] * act_slope(kind, x[x_at + i]);
}

/* y [n] = x in bf16: nearest, ties to even, NaN stays NaN */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
to_bf16(__global ushort *y, ulong y_at, __global const float *x, ulong x_at, ulong n)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)n)
        return;
    uint bits = as_uint(x[x_at + i]);
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    y[y_at + i] = (ushort)(nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* y [n] = x in f32, exact */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
from_bf16(__global float *y, ulong y_at, __global const ushort *x, ulong x_at, ulong n)
{
    size_t i = get_global_id(0);
    if (i < (size_t)n)
        y[y_at + i] = as_float((uint)x[x_at + i] << 16);
}

/* y [n] = [y, if beta, +] alpha x */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
axpy(__global float *y, ulong y_at, __global const float *x, ulong x_at, ulong n, float alpha, int beta)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)n)
        return;
    float v = alpha * x[x_at + i];
    y[y_at + i] = beta ? y[y_at + i] + v : v;
}

/* y [B, D] = [y, if beta, +] row rows[b] of table [n_rows, D]: (D, B). A row that is not there changes
 * nothing. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
gather(__global float *y, ulong y_at, __global const float *table, ulong table_at, __global const int *rows,
       ulong rows_at, int n_rows, int D, int beta)
{
    int d = (int)get_global_id(0), b = (int)get_global_id(1);
    int r = rows[rows_at + (size_t)b];
    if (d >= D || r < 0 || r >= n_rows)
        return;
    size_t at = y_at + (size_t)b * (size_t)D + (size_t)d;
    float v = table[table_at + (size_t)r * (size_t)D + (size_t)d];
    y[at] = beta ? y[at] + v : v;
}

/* Columns first .. first + n - 1 of y [M, width] = x [M, n]: (n, M) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
copy_columns(__global float *y, ulong y_at, __global const float *x, ulong x_at, int n, int width, int first)
{
    int c = (int)get_global_id(0);
    size_t row = get_global_id(1);
    if (c < n)
        y[y_at + row * (size_t)width + (size_t)(first + c)] = x[x_at + row * (size_t)n + (size_t)c];
}

/* dtable [rows[b]] += dy [b] of dtable [n_rows, D], dy [B, D]: (D, B). The first sample of a row adds all
 * of its samples, in order. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
scatter_add(__global float *dtable, ulong dtable_at, __global const float *dy, ulong dy_at,
            __global const int *rows, ulong rows_at, int B, int n_rows, int D)
{
    int d = (int)get_global_id(0), b = (int)get_global_id(1);
    int r = rows[rows_at + (size_t)b];
    if (d >= D || r < 0 || r >= n_rows)
        return;
    for (int i = 0; i < b; i++)
        if (rows[rows_at + (size_t)i] == r)
            return;
    size_t at = dtable_at + (size_t)r * (size_t)D + (size_t)d;
    float sum = dtable[at];
    for (int i = b; i < B; i++)
        if (rows[rows_at + (size_t)i] == r)
            sum += dy[dy_at + (size_t)i * (size_t)D + (size_t)d];
    dtable[at] = sum;
}

/* Element i of a sample's image [C, S, S] in tokens [(S/p)^2, C p p]: in a token (channel, py, px),
 * or (py, px, channel) with `last`. */
size_t in_tokens(int i, int C, int S, int p, int last)
{
    int x = i % S, y = i / S % S, c = i / (S * S), across = S / p;
    int token = y / p * across + x / p, py = y % p, px = x % p;
    int within = last ? (py * p + px) * C + c : (c * p + py) * p + px;
    return (size_t)token * (size_t)(C * p * p) + (size_t)within;
}

/* to [.] = from [.]; back: tokens to image. n elements a sample. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void patchify(__global float *to, ulong to_at,
                                                                          __global const float *from,
                                                                          ulong from_at, int n, int C, int S,
                                                                          int p, int last, int back)
{
    int i = (int)get_global_id(0);
    if (i >= n)
        return;
    size_t sample = (size_t)get_global_id(1) * (size_t)n;
    size_t image = sample + (size_t)i, tokens = sample + in_tokens(i, C, S, p, last);
    if (back)
        to[to_at + image] = from[from_at + tokens];
    else
        to[to_at + tokens] = from[from_at + image];
}

/* One head of q, k or v of a token: y = (x - mean) rstd weight + bias; v is copied. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
qk_norm(__global float *y, ulong y_at, __global const float *x, ulong x_at, __global const float *qw,
        ulong qw_at, __global const float *qb, ulong qb_at, __global const float *kw, ulong kw_at,
        __global const float *kb, ulong kb_at, __global float *xhat, ulong xhat_at, __global float *rstd,
        ulong rstd_at, int keep_xhat, int keep_rstd, int H, int n, ulong heads)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)heads)
        return;
    size_t h = i % (size_t)H, part = i / (size_t)H % 3, m = i / (size_t)H / 3;
    __global const float *from = x + x_at + i * (size_t)n;
    __global float *to = y + y_at + i * (size_t)n;
    if (part == 2) {
        for (int d = 0; d < n; d++)
            to[d] = from[d];
        return;
    }
    __global const float *weight = part ? kw + kw_at : qw + qw_at, *bias = part ? kb + kb_at : qb + qb_at;
    size_t v = (m * 2 + part) * (size_t)H + h;
    float mean = 0, var = 0;
    for (int d = 0; d < n; d++)
        mean += from[d];
    mean /= (float)n;
    for (int d = 0; d < n; d++)
        var += (from[d] - mean) * (from[d] - mean);
    float r = 1.0f / sqrt(var / (float)n + 1e-5f);
    if (keep_rstd)
        rstd[rstd_at + v] = r;
    for (int d = 0; d < n; d++) {
        float u = (from[d] - mean) * r;
        if (keep_xhat)
            xhat[xhat_at + v * (size_t)n + (size_t)d] = u;
        to[d] = u * weight[d] + bias[d];
    }
}

/* All heads of q, k or v of a token: dx, and the sums over them for the gradients of weight and bias. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
qk_norm_backward(__global float *dx, ulong dx_at, __global const float *dy, ulong dy_at, __global float *dqw,
                 ulong dqw_at, __global float *dqb, ulong dqb_at, __global float *dkw, ulong dkw_at,
                 __global float *dkb, ulong dkb_at, __global const float *xhat, ulong xhat_at,
                 __global const float *rstd, ulong rstd_at, __global const float *qw, ulong qw_at,
                 __global const float *kw, ulong kw_at, int H, int n, ulong parts)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)parts)
        return;
    size_t part = i % 3, m = i / 3, size = (size_t)n;
    __global const float *from = dy + dy_at + i * (size_t)H * size;
    __global float *to = dx + dx_at + i * (size_t)H * size;
    if (part == 2) {
        for (size_t d = 0; d < (size_t)H * size; d++)
            to[d] = from[d];
        return;
    }
    __global const float *weight = part ? kw + kw_at : qw + qw_at;
    __global float *of_weight = (part ? dkw + dkw_at : dqw + dqw_at) + m * size;
    __global float *of_bias = (part ? dkb + dkb_at : dqb + dqb_at) + m * size;
    for (size_t d = 0; d < size; d++)
        of_weight[d] = of_bias[d] = 0;
    for (size_t h = 0; h < (size_t)H; h++) {
        size_t v = (m * 2 + part) * (size_t)H + h;
        __global const float *u = xhat + xhat_at + v * size;
        float mean = 0, along = 0, r = rstd[rstd_at + v];
        for (size_t d = 0; d < size; d++) {
            float g = from[h * size + d], s = g * weight[d];
            mean += s;
            along += s * u[d];
            of_weight[d] += g * u[d];
            of_bias[d] += g;
        }
        mean /= (float)n;
        along /= (float)n;
        for (size_t d = 0; d < size; d++)
            to[h * size + d] = r * (from[h * size + d] * weight[d] - mean - u[d] * along);
    }
}

/* dx [b, n, d] = dy [b, d] / N */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
token_mean_backward(__global float *dx, ulong dx_at, __global const float *dy, ulong dy_at, int rows, int D)
{
    int d = (int)get_global_id(0), m = (int)get_global_id(1);
    if (d < D)
        dx[dx_at + (size_t)m * (size_t)D + (size_t)d] =
            dy[dy_at + (size_t)(m / rows) * (size_t)D + (size_t)d] / (float)rows;
}

/* x_t [b] = coef [b][0] x0 [b] + coef [b][1] noise [b] */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
diffuse(__global float *xt, ulong xt_at, __global const float *x0, ulong x0_at, __global const float *noise,
        ulong noise_at, __global const float *coef, ulong coef_at, ulong n)
{
    size_t i = get_global_id(0), b = get_global_id(1), at = b * (size_t)n + i;
    if (i < (size_t)n)
        xt[xt_at + at] =
            coef[coef_at + 2 * b] * x0[x0_at + at] + coef[coef_at + 2 * b + 1] * noise[noise_at + at];
}
