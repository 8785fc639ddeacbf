/* SPDX-License-Identifier: Apache-2.0
 * optimiser.cl: a step of an optimiser and of the running average of the parameters, ema = ema_decay ema +
 * ema_rest p, in one pass: one work-item for each of n elements. The gradient is g scale[0]; where that is
 * not finite nothing changes. rest = 1 - beta, as the host rounds it. */

/* AdamW (Loshchilov & Hutter, arXiv 1711.05101): decay = lr weight_decay, lr_bias1 = lr / (1 - beta1^n),
 * inv_sqrt_bias2 = 1 / sqrt(1 - beta2^n). */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
adamw(__global float *p, ulong p_at, __global const float *g, ulong g_at, __global float *m, ulong m_at,
      __global float *v, ulong v_at, __global float *ema, ulong ema_at, __global const float *scale,
      ulong scale_at, ulong n, float decay, float beta1, float rest1, float beta2, float rest2, float eps,
      float lr_bias1, float inv_sqrt_bias2, float ema_decay, float ema_rest, int has_ema, int has_scale)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)n)
        return;
    float c = has_scale ? scale[scale_at] : 1.0f;
    if (!(fabs(c) <= 3.4e38f)) /* not finite: the step is left out */
        return;
    float gi = g[g_at + i] * c, pi = p[p_at + i];
    pi -= decay * pi;
    float mi = beta1 * m[m_at + i] + rest1 * gi;
    float vi = beta2 * v[v_at + i] + rest2 * gi * gi;
    pi -= lr_bias1 * mi / (sqrt(vi) * inv_sqrt_bias2 + eps);
    m[m_at + i] = mi;
    v[v_at + i] = vi;
    p[p_at + i] = pi;
    if (has_ema)
        ema[ema_at + i] = ema_decay * ema[ema_at + i] + ema_rest * pi;
}

/* Lion (Chen et al., arXiv 2302.06675, algorithm 2). */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
lion(__global float *p, ulong p_at, __global const float *g, ulong g_at, __global float *m, ulong m_at,
     __global float *ema, ulong ema_at, __global const float *scale, ulong scale_at, ulong n, float lr,
     float decay, float beta1, float rest1, float beta2, float rest2, float ema_decay, float ema_rest,
     int has_ema, int has_scale)
{
    size_t i = get_global_id(0);
    if (i >= (size_t)n)
        return;
    float c = has_scale ? scale[scale_at] : 1.0f;
    if (!(fabs(c) <= 3.4e38f)) /* not finite: the step is left out */
        return;
    float gi = g[g_at + i] * c, mi = m[m_at + i], pi = p[p_at + i];
    float toward = beta1 * mi + rest1 * gi;
    pi -= decay * pi;
    pi -= toward > 0.0f ? lr : toward < 0.0f ? -lr : 0.0f;
    m[m_at + i] = beta2 * mi + rest2 * gi;
    p[p_at + i] = pi;
    if (has_ema)
        ema[ema_at + i] = ema_decay * ema[ema_at + i] + ema_rest * pi;
}
