/* SPDX-License-Identifier: Apache-2.0
 * attention_registers.cl: the functions of attention.cl without local memory and barriers, for
 * processors.
 *
 * A work-item owns IM rows of one head of one sample (queries; keys in attention_dkv) and passes
 * over the other side in tiles of TILE = 2 vectors: scores are products of numbers of its rows with
 * vectors of a transposed copy, [B][H][DH][ld], zeroes behind N; results are products of scores
 * with rows as they lie. Streaming softmax as in attention.cl; the order of all sums depends on N
 * and DH alone.
 *
 * DH      head size, a multiple of VW; DV = DH / VW vectors are one row
 * VW      floats of a vector
 * IM      rows of a work-item; IM_KEYS in attention_dkv, which keeps two results */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define VT CAT(float, VW)
#define IT CAT(int, VW)
#define VLOAD CAT(vload, VW)
#define VSTORE CAT(vstore, VW)
#define DV (DH / VW)
#define TILE (2 * VW)

__constant int lanes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

float largest(VT v)
{
    float t[VW];
    VSTORE(v, 0, t);
#pragma unroll
    for (int half_size = VW / 2; half_size > 0; half_size >>= 1)
#pragma unroll
        for (int l = 0; l < half_size; l++)
            t[l] = fmax(t[l], t[l + half_size]);
    return t[0];
}

float total(VT v)
{
    float t[VW];
    VSTORE(v, 0, t);
#pragma unroll
    for (int half_size = VW / 2; half_size > 0; half_size >>= 1)
#pragma unroll
        for (int l = 0; l < half_size; l++)
            t[l] += t[l + half_size];
    return t[0];
}

/* to [part][B][H][DH][ld] = from [B][N] rows of `stride`, the parts `width` apart in a row,
 * transposed. A work-item moves VW rows of one head. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_transpose(__global float *to, ulong to_at, __global const float *from, ulong from_at, int N, int H,
                    int ld, int stride, int width)
{
    int n0 = (int)get_global_id(0) * VW, h = (int)get_global_id(1) % H, b = (int)get_global_id(1) / H;
    int part = (int)get_global_id(2), B = (int)get_global_size(1) / H;
    __global const float *p = from + from_at + (size_t)b * (size_t)N * (size_t)stride +
                              (size_t)part * (size_t)width + (size_t)h * DH;
    __global float *q = to + to_at +
                        (((size_t)part * (size_t)B + (size_t)b) * (size_t)H + (size_t)h) * DH * (size_t)ld +
                        (size_t)n0;
    for (int d = 0; d < DH; d++) {
        float t[VW];
#pragma unroll
        for (int l = 0; l < VW; l++)
            t[l] = n0 + l < N ? p[(size_t)(n0 + l) * (size_t)stride + (size_t)d] : 0.0f;
        VSTORE(VLOAD(0, t), 0, q + (size_t)d * (size_t)ld);
    }
}

/* s [i][j] = row i of x (rows x0.., `stride` apart) times columns k0.. of xt [DH][ld] */
#define SCORES(s, ROWS, x, xt, ld)                                                                         \
    _Pragma("unroll") for (int i = 0; i < ROWS; i++) s[i][0] = s[i][1] = (VT)(0.0f);                       \
    for (int d = 0; d < DH; d++) {                                                                         \
        VT c0 = VLOAD(0, (xt) + (size_t)d * (size_t)(ld)), c1 = VLOAD(1, (xt) + (size_t)d * (size_t)(ld)); \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                   \
        {                                                                                                  \
            VT r = (VT)((x)[i][d]);                                                                        \
            s[i][0] = fma(r, c0, s[i][0]);                                                                 \
            s[i][1] = fma(r, c1, s[i][1]);                                                                 \
        }                                                                                                  \
    }

/* acc [i] += sum over k < count of p [i][k] times row k of `rows`, which are `stride` apart; k in order */
INLINE void weigh(VT acc[IM][DV], float p[IM][TILE], __global const float *rows, size_t stride, int count)
{
    for (int k = 0; k < count; k++) {
        __global const float *row = rows + (size_t)k * stride;
#pragma unroll
        for (int v = 0; v < DV; v++) {
            VT x = VLOAD(v, row);
#pragma unroll
            for (int i = 0; i < IM; i++)
                acc[i][v] = fma((VT)(p[i][k]), x, acc[i][v]);
        }
    }
}

#ifdef FORWARD
/* out, and lse [b, h, n] where has_lse. kt: k transposed. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention(__global float *out, ulong out_at, __global float *lse, ulong lse_at, __global const float *qkv,
          ulong qkv_at, __global const float *kt, ulong kt_at, int N, int H, int ld, float scale, int has_lse)
{
    int first = (int)get_global_id(0) * IM, h = (int)get_global_id(1), b = (int)get_global_id(2);
    size_t width = (size_t)H * DH, stride = 3 * width, head = (size_t)b * (size_t)H + (size_t)h;
    __global const float *of_head = qkv + qkv_at + (size_t)b * (size_t)N * stride + (size_t)h * DH;
    __global const float *values = of_head + 2 * width, *keys = kt + kt_at + head * DH * (size_t)ld;
    __global const float *q[IM];
    VT acc[IM][DV];
    float top[IM], sum[IM];
#pragma unroll
    for (int i = 0; i < IM; i++) {
        q[i] = of_head + (size_t)min(first + i, N - 1) * stride;
        top[i] = -3.0e38f;
        sum[i] = 0.0f;
#pragma unroll
        for (int v = 0; v < DV; v++)
            acc[i][v] = (VT)(0.0f);
    }
    for (int k0 = 0; k0 < N; k0 += TILE) {
        VT s[IM][2];
        float p[IM][TILE];
        IT at = CAT(vload, VW)(0, lanes) + (IT)(k0);
        int count = min(TILE, N - k0);
        SCORES(s, IM, q, keys + k0, ld)
#pragma unroll
        for (int i = 0; i < IM; i++) {
            VT s0 = select((VT)(-3.0e38f), s[i][0] * scale, at < (IT)(N));
            VT s1 = select((VT)(-3.0e38f), s[i][1] * scale, at + (IT)(VW) < (IT)(N));
            float new_top = fmax(top[i], largest(fmax(s0, s1))), shrink = exp(top[i] - new_top);
            s0 = exp(s0 - (VT)(new_top));
            s1 = exp(s1 - (VT)(new_top));
            VSTORE(s0, 0, p[i]);
            VSTORE(s1, 1, p[i]);
            sum[i] = fma(sum[i], shrink, total(s0 + s1));
            top[i] = new_top;
#pragma unroll
            for (int v = 0; v < DV; v++)
                acc[i][v] *= shrink;
        }
        weigh(acc, p, values + (size_t)k0 * stride, stride, count);
    }
#pragma unroll
    for (int i = 0; i < IM; i++)
        if (first + i < N) {
            __global float *to =
                out + out_at + ((size_t)b * (size_t)N + (size_t)(first + i)) * width + (size_t)h * DH;
#pragma unroll
            for (int v = 0; v < DV; v++)
                VSTORE(acc[i][v] / sum[i], v, to);
            if (has_lse)
                lse[lse_at + head * (size_t)N + (size_t)(first + i)] = top[i] + log(sum[i]);
        }
}
#else

/* dq, and delta [b, h, n] = sum over d of dout out for attention_dkv. t: k, v transposed. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_dq(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
             __global const float *out, ulong out_at, __global const float *qkv, ulong qkv_at,
             __global const float *lse, ulong lse_at, __global float *delta, ulong delta_at,
             __global const float *t, ulong t_at, ulong part, int N, int H, int ld, int delta_ld, float scale)
{
    int first = (int)get_global_id(0) * IM, h = (int)get_global_id(1), b = (int)get_global_id(2);
    size_t width = (size_t)H * DH, stride = 3 * width, head = (size_t)b * (size_t)H + (size_t)h;
    size_t of_head = (size_t)b * (size_t)N * stride + (size_t)h * DH;
    size_t of_out = (size_t)b * (size_t)N * width + (size_t)h * DH;
    __global const float *keys = qkv + qkv_at + of_head + width;
    __global const float *kt = t + t_at + (size_t)part + head * DH * (size_t)ld, *vt = kt + (size_t)part;
    __global const float *q[IM], *o[IM];
    VT acc[IM][DV];
    float row_lse[IM], row_delta[IM];
#pragma unroll
    for (int i = 0; i < IM; i++) {
        int n = min(first + i, N - 1);
        __global const float *row = out + out_at + of_out + (size_t)n * width;
        q[i] = qkv + qkv_at + of_head + (size_t)n * stride;
        o[i] = dout + dout_at + of_out + (size_t)n * width;
        row_lse[i] = lse[lse_at + head * (size_t)N + (size_t)n];
        VT sum = (VT)(0.0f);
#pragma unroll
        for (int v = 0; v < DV; v++) {
            sum = fma(VLOAD(v, row), VLOAD(v, o[i]), sum);
            acc[i][v] = (VT)(0.0f);
        }
        row_delta[i] = total(sum);
        if (first + i < N)
            delta[delta_at + head * (size_t)delta_ld + (size_t)n] = row_delta[i];
    }
    for (int k0 = 0; k0 < N; k0 += TILE) {
        VT s[IM][2], dp[IM][2];
        float ds[IM][TILE];
        int count = min(TILE, N - k0);
        SCORES(s, IM, q, kt + k0, ld)
        SCORES(dp, IM, o, vt + k0, ld)
#pragma unroll
        for (int i = 0; i < IM; i++)
#pragma unroll
            for (int j = 0; j < 2; j++)
                VSTORE(exp(s[i][j] * scale - (VT)(row_lse[i])) * (dp[i][j] - (VT)(row_delta[i])), j, ds[i]);
        weigh(acc, ds, keys + (size_t)k0 * stride, stride, count);
    }
#pragma unroll
    for (int i = 0; i < IM; i++)
        if (first + i < N)
#pragma unroll
            for (int v = 0; v < DV; v++)
                VSTORE(acc[i][v] * scale, v, dqkv + dqkv_at + of_head + (size_t)(first + i) * stride);
}

/* dk [i] += sum over n < count of ds [i][n] q [n], dv [i] += sum of p [i][n] dout [n]; n in order */
INLINE void weigh_both(VT dk[IM_KEYS][DV], VT dv[IM_KEYS][DV], float p[IM_KEYS][TILE],
                       float ds[IM_KEYS][TILE], __global const float *q, size_t q_stride,
                       __global const float *dout, size_t dout_stride, int count)
{
    for (int n = 0; n < count; n++) {
        __global const float *qr = q + (size_t)n * q_stride, *dr = dout + (size_t)n * dout_stride;
#pragma unroll
        for (int d = 0; d < DV; d++) {
            VT x = VLOAD(d, qr), y = VLOAD(d, dr);
#pragma unroll
            for (int i = 0; i < IM_KEYS; i++) {
                dk[i][d] = fma((VT)(ds[i][n]), x, dk[i][d]);
                dv[i][d] = fma((VT)(p[i][n]), y, dv[i][d]);
            }
        }
    }
}

/* dk and dv. t: q, k, v and behind them dout, transposed. delta has rows of delta_ld. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_dkv(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
              __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
              __global const float *delta, ulong delta_at, __global const float *t, ulong t_at, ulong part,
              int N, int H, int ld, int delta_ld, float scale)
{
    int first = (int)get_global_id(0) * IM_KEYS, h = (int)get_global_id(1), b = (int)get_global_id(2);
    size_t width = (size_t)H * DH, stride = 3 * width, head = (size_t)b * (size_t)H + (size_t)h;
    size_t of_head = (size_t)b * (size_t)N * stride + (size_t)h * DH;
    __global const float *queries = qkv + qkv_at + of_head;
    __global const float *douts = dout + dout_at + (size_t)b * (size_t)N * width + (size_t)h * DH;
    __global const float *qt = t + t_at + head * DH * (size_t)ld, *ot = qt + 3 * (size_t)part;
    __global const float *k[IM_KEYS], *v[IM_KEYS];
    VT dk[IM_KEYS][DV], dv[IM_KEYS][DV];
#pragma unroll
    for (int i = 0; i < IM_KEYS; i++) {
        k[i] = queries + width + (size_t)min(first + i, N - 1) * stride;
        v[i] = k[i] + width;
#pragma unroll
        for (int d = 0; d < DV; d++)
            dk[i][d] = dv[i][d] = (VT)(0.0f);
    }
    for (int q0 = 0; q0 < N; q0 += TILE) {
        VT s[IM_KEYS][2], dp[IM_KEYS][2];
        float p[IM_KEYS][TILE], ds[IM_KEYS][TILE], row_lse[TILE], row_delta[TILE];
        int count = min(TILE, N - q0);
        for (int n = 0; n < TILE; n++) {
            size_t at = (size_t)min(q0 + n, N - 1);
            row_lse[n] = lse[lse_at + head * (size_t)N + at];
            row_delta[n] = delta[delta_at + head * (size_t)delta_ld + at];
        }
        SCORES(s, IM_KEYS, k, qt + q0, ld)
        SCORES(dp, IM_KEYS, v, ot + q0, ld)
#pragma unroll
        for (int i = 0; i < IM_KEYS; i++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                VT e = exp(s[i][j] * scale - VLOAD(j, row_lse));
                VSTORE(e, j, p[i]);
                VSTORE(e * (dp[i][j] - VLOAD(j, row_delta)), j, ds[i]);
            }
        weigh_both(dk, dv, p, ds, queries + (size_t)q0 * stride, stride, douts + (size_t)q0 * width, width,
                   count);
    }
#pragma unroll
    for (int i = 0; i < IM_KEYS; i++)
        if (first + i < N) {
            __global float *to = dqkv + dqkv_at + of_head + width + (size_t)(first + i) * stride;
#pragma unroll
            for (int d = 0; d < DV; d++) {
                VSTORE(dk[i][d] * scale, d, to);
                VSTORE(dv[i][d], d, to + width);
            }
        }
}
#endif
