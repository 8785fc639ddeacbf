/* SPDX-License-Identifier: Apache-2.0
 * epilogue.cl: what linear.cl fuses into a product, for products that CLBlast has left in y [M, N]. */

/* y = residual + gate act(z), z = y + bias + add also to `pre`; or, LINEAR_SLOPE, y = (y + add) act'(pre).
 * `rows` rows a sample, whose gates are gate_stride apart; a shared residual is one sample's [rows, N]. */
__kernel void epilogue(__global float *y, ulong y_at, __global const float *bias, ulong bias_at,
                       __global float *pre, ulong pre_at, __global const float *gate, ulong gate_at,
                       __global const float *residual, ulong residual_at, __global const float *add,
                       ulong add_at, int M, int N, int rows, int gate_stride, uint flags)
{
    int n = (int)get_global_id(0), m = (int)get_global_id(1);
    if (m >= M || n >= N)
        return;
    size_t at = (size_t)m * (size_t)N + (size_t)n;
    uint kind = flags >> LINEAR_ACT;
    float v = y[y_at + at];
    if (FLAG(flags, LINEAR_SLOPE)) {
        if (FLAG(flags, LINEAR_ADD))
            v += add[add_at + at];
        y[y_at + at] = v * act_slope(kind, pre[pre_at + at]);
        return;
    }
    if (FLAG(flags, LINEAR_BIAS))
        v += bias[bias_at + (size_t)n];
    if (FLAG(flags, LINEAR_ADD))
        v += add[add_at + at];
    if (FLAG(flags, LINEAR_PRE))
        pre[pre_at + at] = v;
    v = act(kind, v);
    if (FLAG(flags, LINEAR_GATE))
        v *= gate[gate_at + (size_t)(m / rows) * (size_t)gate_stride + (size_t)n];
    if (FLAG(flags, LINEAR_RESIDUAL)) {
        size_t r = FLAG(flags, LINEAR_SHARED) ? (size_t)(m % rows) : (size_t)m;
        v += residual[residual_at + r * (size_t)N + (size_t)n];
    }
    y[y_at + at] = v;
}
