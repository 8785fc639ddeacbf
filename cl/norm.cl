/* SPDX-License-Identifier: Apache-2.0
 * norm.cl: layer norm with modulation, and the part of its backward pass that works along a row.
 * One group a row, GROUP work-items stride over its D elements; sums are fixed trees. */

/* u = xhat w + bias;  y = u (1 + scale) + shift */
float modulated(float xhat, uint flags, __global const float *weight, __global const float *bias,
                __global const float *shift, __global const float *scale, int d)
{
    float u = xhat;
    if (FLAG(flags, NORM_WEIGHT))
        u = u * weight[d] + bias[d];
    if (FLAG(flags, NORM_MOD))
        u = u * (1.0f + scale[d]) + shift[d];
    return u;
}

/* xhat = (x - mean) rstd, rstd = 1 / sqrt(variance + eps) of each row of x [M, D]; y = modulated(xhat). xhat
 * [M, D], rstd [M] and y are written where their flags are set. shift, scale: a row of D a sample of `rows`
 * rows, mod_stride apart. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
norm(__global float *y, ulong y_at, __global const float *x, ulong x_at, __global const float *weight,
     ulong weight_at, __global const float *bias, ulong bias_at, __global const float *shift, ulong shift_at,
     __global const float *scale, ulong scale_at, __global float *xhat, ulong xhat_at, __global float *rstd,
     ulong rstd_at, int rows, int D, int mod_stride, uint flags)
{
    __local float s[GROUP];
    int l = (int)get_local_id(0), m = (int)get_group_id(0);
    size_t row = (size_t)m * (size_t)D, mod = (size_t)(m / rows) * (size_t)mod_stride;
    float sum = 0.0f;
    for (int d = l; d < D; d += GROUP)
        sum += x[x_at + row + (size_t)d];
    float mean = group_sum(s, sum) / (float)D;
    sum = 0.0f;
    for (int d = l; d < D; d += GROUP) {
        float c = x[x_at + row + (size_t)d] - mean;
        sum += c * c;
    }
    float r = 1.0f / sqrt(group_sum(s, sum) / (float)D + 1e-6f);
    if (FLAG(flags, NORM_RSTD) && l == 0)
        rstd[rstd_at + (size_t)m] = r;
    for (int d = l; d < D; d += GROUP) {
        float h = (x[x_at + row + (size_t)d] - mean) * r;
        if (FLAG(flags, NORM_XHAT))
            xhat[xhat_at + row + (size_t)d] = h;
        if (FLAG(flags, NORM_Y))
            y[y_at + row + (size_t)d] = modulated(h, flags, weight + weight_at, bias + bias_at,
                                                  shift + shift_at + mod, scale + scale_at + mod, d);
    }
}

/* y [M, D] = modulated(xhat) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
modulate(__global float *y, ulong y_at, __global const float *xhat, ulong xhat_at,
         __global const float *weight, ulong weight_at, __global const float *bias, ulong bias_at,
         __global const float *shift, ulong shift_at, __global const float *scale, ulong scale_at, int rows,
         int D, int mod_stride, uint flags)
{
    int m = (int)get_group_id(0);
    size_t row = (size_t)m * (size_t)D, mod = (size_t)(m / rows) * (size_t)mod_stride;
    for (int d = (int)get_local_id(0); d < D; d += GROUP)
        y[y_at + row + (size_t)d] =
            modulated(xhat[xhat_at + row + (size_t)d], flags, weight + weight_at, bias + bias_at,
                      shift + shift_at + mod, scale + scale_at + mod, d);
}

/* g = dy (1 + scale) w */
float through_modulation(float dy, uint flags, __global const float *weight, __global const float *scale,
                         int d)
{
    float g = dy;
    if (FLAG(flags, NORM_MOD))
        g *= 1.0f + scale[d];
    if (FLAG(flags, NORM_WEIGHT))
        g *= weight[d];
    return g;
}

/* dx [M, D] = [dx +] rstd (g - mean(g) - xhat mean(g xhat)) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
norm_dx(__global float *dx, ulong dx_at, __global const float *dy, ulong dy_at, __global const float *xhat,
        ulong xhat_at, __global const float *rstd, ulong rstd_at, __global const float *weight,
        ulong weight_at, __global const float *scale, ulong scale_at, int rows, int D, int mod_stride,
        uint flags)
{
    __local float s[GROUP];
    int l = (int)get_local_id(0), m = (int)get_group_id(0);
    size_t row = (size_t)m * (size_t)D;
    size_t mod = scale_at + (size_t)(m / rows) * (size_t)mod_stride;
    float sum = 0.0f, sum_h = 0.0f;
    for (int d = l; d < D; d += GROUP) {
        float g = through_modulation(dy[dy_at + row + (size_t)d], flags, weight + weight_at, scale + mod, d);
        sum += g;
        sum_h += g * xhat[xhat_at + row + (size_t)d];
    }
    float mean = group_sum(s, sum) / (float)D;
    float mean_h = group_sum(s, sum_h) / (float)D;
    float r = rstd[rstd_at + (size_t)m];
    for (int d = l; d < D; d += GROUP) {
        float g = through_modulation(dy[dy_at + row + (size_t)d], flags, weight + weight_at, scale + mod, d);
        float v = r * (g - mean - xhat[xhat_at + row + (size_t)d] * mean_h);
        if (FLAG(flags, NORM_ACCUMULATE))
            v += dx[dx_at + row + (size_t)d];
        dx[dx_at + row + (size_t)d] = v;
    }
}

/* From the sums over a sample's rows, S_b = sum dy and P_b = sum dy xhat, [B, D] each:
 *   NORM_WANT_DMOD     dshift_b = S_b;  dscale_b = w P_b + bias S_b
 *   NORM_WANT_DPARAM   dweight = beta dweight + sum_b (1 + scale_b) P_b,  dbias the same with S_b
 * One work-item a column. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
norm_dvectors(__global float *dshift, ulong dshift_at, __global float *dscale, ulong dscale_at,
              __global float *dweight, ulong dweight_at, __global float *dbias, ulong dbias_at,
              __global const float *sums, ulong sums_at, __global const float *products, ulong products_at,
              __global const float *weight, ulong weight_at, __global const float *bias, ulong bias_at,
              __global const float *scale, ulong scale_at, int B, int D, int dmod_stride, int mod_stride,
              int beta, uint flags)
{
    int d = (int)get_global_id(0);
    if (d >= D)
        return;
    float dw = 0.0f, db = 0.0f, w = 1.0f, c = 0.0f;
    if (FLAG(flags, NORM_WEIGHT)) {
        w = weight[weight_at + (size_t)d];
        c = bias[bias_at + (size_t)d];
    }
#pragma unroll 4
    for (int b = 0; b < B; b++) {
        size_t at = (size_t)b * (size_t)D + (size_t)d, to = (size_t)b * (size_t)dmod_stride + (size_t)d;
        float sum = sums[sums_at + at], product = products[products_at + at], s = 1.0f;
        if (FLAG(flags, NORM_WANT_DMOD)) {
            dshift[dshift_at + to] = sum;
            dscale[dscale_at + to] = w * product + c * sum;
        }
        if (FLAG(flags, NORM_MOD))
            s += scale[scale_at + (size_t)b * (size_t)mod_stride + (size_t)d];
        dw += s * product;
        db += s * sum;
    }
    if (!FLAG(flags, NORM_WANT_DPARAM))
        return;
    if (beta) {
        dw += dweight[dweight_at + (size_t)d];
        db += dbias[dbias_at + (size_t)d];
    }
    dweight[dweight_at + (size_t)d] = dw;
    dbias[dbias_at + (size_t)d] = db;
}
