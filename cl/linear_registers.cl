/* SPDX-License-Identifier: Apache-2.0
 * linear_registers.cl: the products of linear.cl without local memory and barriers, for devices
 * where both are slow, processors above all. One work-item computes IM rows of VW NV columns in
 * registers:
 *
 *   out (i, j) = sum over k < K of A(i, k) B(k, j)
 *
 *              A: numbers      B: vectors       out (i, j)
 *   plain      [I][lda]        [K][ldb]         y [i][j]: i is a row, j a feature
 *   SWAPPED    [I][lda]        [K][ldb]         y [j][i]: i is a feature, j a row
 *   A_COLUMNS  [K][lda]        [K][ldb]         y [i][j]: the gradient of a matrix
 *
 * B's rows are padded to a multiple of VW (transpose.cl makes such a B). W_TYPE is the storage of
 * the matrix, which is B, or with SWAPPED A: 0 f32, 1 f16, 2 bf16, 3 int8; its scales, one a column
 * of B, are multiplied in at the end, and never with SWAPPED, where the other side brings them.
 *
 * INT8: A is int8 rows of quantise.cl, B an int8 weight, and sums are whole numbers: what f32 holds of
 * EXACT_STEPS steps is added up in 32 bits. a_scale [M] is multiplied in beside w_scale.
 *
 * An element's sum over k is one chain of multiply-adds in order, whatever IM, VW and NV. */
#ifndef W_TYPE
#define W_TYPE 0
#endif
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define VT CAT(float, VW)
#define VLOAD CAT(vload, VW)
#define VSTORE CAT(vstore, VW)
ACTIVATIONS(VT, _v)

#if W_TYPE == 0
#define W_ELEMENT float
#define W_NUMBER(p, i) (p)[i]
#define W_VECTOR(p) VLOAD(0, p)
#elif W_TYPE == 1
#define W_ELEMENT half
#define W_NUMBER(p, i) vload_half(i, p)
#define W_VECTOR(p) CAT(vload_half, VW)(0, p)
#elif W_TYPE == 2
#define W_ELEMENT ushort
#define W_NUMBER(p, i) as_float((uint)(p)[i] << 16)
#define W_VECTOR(p) CAT(as_float, VW)(CAT(convert_uint, VW)(VLOAD(0, p)) << 16u)
#else
#define W_ELEMENT char
#define W_NUMBER(p, i) (float)(p)[i]
#define W_VECTOR(p) CAT(convert_float, VW)(VLOAD(0, p))
#endif

#if ROUND == 0
#define ROUNDED_V(v) (v)
#else
VT rounded_v(VT v)
{
#if ROUND == 1
    ushort bits[VW];
    CAT(vstore_half, CAT(VW, _rte))(v, 0, (__private half *)bits);
    return CAT(vload_half, VW)(0, (__private const half *)bits);
#else
    float t[VW];
    VSTORE(v, 0, t);
#pragma unroll
    for (int l = 0; l < VW; l++)
        t[l] = rounded(t[l]);
    return VLOAD(0, t);
#endif
}
#define ROUNDED_V rounded_v
#endif

#ifdef INT8
#define A_ELEMENT char
#define A_NUMBER(p, i) (float)(p)[i]
#define B_ELEMENT W_ELEMENT
#define B_VECTOR W_VECTOR
#elif defined(SWAPPED)
#define A_ELEMENT W_ELEMENT
#define A_NUMBER W_NUMBER
#define B_ELEMENT float
#define B_VECTOR(p) VLOAD(0, p)
#else
#define A_ELEMENT float
#define A_NUMBER(p, i) (p)[i]
#define B_ELEMENT W_ELEMENT
#define B_VECTOR W_VECTOR
#endif

/* `count` numbers `stride` apart, zeroes behind them. */
VT get(__global const float *p, size_t stride, int count)
{
    float t[VW];
    if (stride == 1 && count >= VW)
        return VLOAD(0, p);
#pragma unroll
    for (int l = 0; l < VW; l++)
        t[l] = l < count ? p[(size_t)l * stride] : 0.0f;
    return VLOAD(0, t);
}

void put(VT v, __global float *p, size_t stride, int count)
{
    float t[VW];
    if (stride == 1 && count >= VW) {
        VSTORE(v, 0, p);
        return;
    }
    VSTORE(v, 0, t);
#pragma unroll
    for (int l = 0; l < VW; l++)
        if (l < count)
            p[(size_t)l * stride] = t[l];
}

/* acc (i, j) = sum over k < K of A(i, k) B(k, j): rows i0.. (the last of I again behind it), columns j0.. */
INLINE void product(VT acc[IM][NV], __global const A_ELEMENT *a, __global const B_ELEMENT *b, int i0, int j0,
                    int I, int K, int lda, int ldb)
{
    __global const A_ELEMENT *ap[IM];
    int at[NV];
#pragma unroll
    for (int i = 0; i < IM; i++) {
#pragma unroll
        for (int j = 0; j < NV; j++)
            acc[i][j] = (VT)(0.0f);
#ifdef A_COLUMNS
        ap[i] = a + (size_t)min(i0 + i, I - 1);
#else
        ap[i] = a + (size_t)min(i0 + i, I - 1) * (size_t)lda;
#endif
    }
#pragma unroll
    for (int j = 0; j < NV; j++)
        at[j] = min(j0 + j * VW, ldb - VW);

    for (int k = 0; k < K; k++) {
        VT bv[NV];
#pragma unroll
        for (int j = 0; j < NV; j++)
            bv[j] = ROUNDED_V(B_VECTOR(b + at[j]));
        b += ldb;
#pragma unroll
        for (int i = 0; i < IM; i++) {
#ifdef A_COLUMNS
            VT av = (VT)(ROUNDED(A_NUMBER(ap[i], (size_t)k * (size_t)lda)));
#else
            VT av = (VT)(ROUNDED(A_NUMBER(ap[i], k)));
#endif
#pragma unroll
            for (int j = 0; j < NV; j++)
                acc[i][j] = fma(av, bv[j], acc[i][j]);
        }
    }
}

#ifdef INT8
#define EXACT_STEPS 1024 /* 127 * 127 * 1024 < 2^24 */
#define SUM CAT(int, VW)
#define FINAL(v) CAT(convert_float, VW)(v)
#define INT8_ARGUMENTS , __global const float *a_scale, ulong a_scale_at, int k_rows
INLINE void whole_product(SUM total[IM][NV], __global const char *a, __global const char *b, int i0, int j0,
                          int I, int K, int lda, int ldb)
{
#pragma unroll
    for (int i = 0; i < IM; i++)
#pragma unroll
        for (int j = 0; j < NV; j++)
            total[i][j] = (SUM)(0);
    for (int k = 0; k < K; k += EXACT_STEPS) {
        VT acc[IM][NV];
        product(acc, a + k, b + (size_t)k * (size_t)ldb, i0, j0, I, min(EXACT_STEPS, K - k), lda, ldb);
#pragma unroll
        for (int i = 0; i < IM; i++)
#pragma unroll
            for (int j = 0; j < NV; j++)
                total[i][j] += CAT(convert_int, VW)(acc[i][j]);
    }
}
#define PRODUCT whole_product
#else
#define SUM VT
#define FINAL(v) (v)
#define INT8_ARGUMENTS
#define PRODUCT product
#endif

/* residual + gate v, each if it is there, for the `count` elements of v from row m, feature n on. */
INLINE VT gated(VT v, __global const float *gate, __global const float *residual, int m, int n, int count,
                int M, int N, int rows, int gate_stride, uint flags)
{
#ifdef SWAPPED
    float g[VW], r[VW];
#pragma unroll
    for (int l = 0; l < VW; l++) {
        int ml = min(m + l, M - 1);
        g[l] = FLAG(flags, LINEAR_GATE) ? gate[(size_t)(ml / rows) * (size_t)gate_stride + (size_t)n] : 1.0f;
        ml = FLAG(flags, LINEAR_SHARED) ? ml % rows : ml;
        r[l] = FLAG(flags, LINEAR_RESIDUAL) ? residual[(size_t)ml * (size_t)N + (size_t)n] : 0.0f;
    }
    if (FLAG(flags, LINEAR_GATE))
        v *= VLOAD(0, g);
    if (FLAG(flags, LINEAR_RESIDUAL))
        v += VLOAD(0, r);
#else
    if (FLAG(flags, LINEAR_GATE))
        v *= get(gate + (size_t)(m / rows) * (size_t)gate_stride + (size_t)n, 1, count);
    if (FLAG(flags, LINEAR_RESIDUAL)) {
        int r = FLAG(flags, LINEAR_SHARED) ? m % rows : m;
        v += get(residual + (size_t)r * (size_t)N + (size_t)n, 1, count);
    }
#endif
    return v;
}

/* y [M, N] = [y +] what is fused of the product: (I / IM, J / (VW NV)) work-items, rounded up. pre and add
 * are [M, N], bias [N]; `rows` rows of y a sample, whose gates are gate_stride apart; residual [M, N], or
 * [rows, N] with LINEAR_SHARED. */
__kernel __attribute__((reqd_work_group_size(GROUP_M, 1, 1))) void
linear_registers(__global float *y, ulong y_at, __global const A_ELEMENT *a, ulong a_at,
                 __global const B_ELEMENT *b, ulong b_at, __global const float *w_scale, ulong w_scale_at,
                 __global const float *bias, ulong bias_at, __global float *pre, ulong pre_at,
                 __global const float *gate, ulong gate_at, __global const float *residual, ulong residual_at,
                 __global const float *add, ulong add_at, int M, int N, int K, int lda, int ldb, int rows,
                 int gate_stride, uint flags INT8_ARGUMENTS)
{
#ifdef SWAPPED
    int I = N, J = M;
#else
    int I = M, J = N;
#endif
    int i0 = (int)get_global_id(0) * IM, j0 = (int)get_global_id(1) * VW * NV;
    SUM acc[IM][NV];
    if (i0 >= I)
        return;
    PRODUCT(acc, a + a_at, b + b_at, i0, j0, I, K, lda, ldb);

    uint kind = flags >> LINEAR_ACT;
#pragma unroll
    for (int i = 0; i < IM; i++)
#pragma unroll
        for (int j = 0; j < NV; j++) {
            int row = i0 + i, column = j0 + j * VW, count = min(VW, J - column);
            if (row >= I || count <= 0)
                continue;
            VT v = FINAL(acc[i][j]);
#ifdef SWAPPED
            int m = column, n = row;
            size_t stride = (size_t)N;
            if (FLAG(flags, LINEAR_BIAS))
                v += (VT)(bias[bias_at + (size_t)n]);
#else
            int m = row, n = column;
            size_t stride = 1;
#ifdef INT8
            v *= get(w_scale + w_scale_at + n, 1, count) * a_scale[a_scale_at + (size_t)m];
#elif W_TYPE == 3
            v *= get(w_scale + w_scale_at + n, 1, count);
#endif
            if (FLAG(flags, LINEAR_BIAS))
                v += get(bias + bias_at + n, 1, count);
#endif
            size_t first = (size_t)m * (size_t)N + (size_t)n;
            if (FLAG(flags, LINEAR_ADD))
                v += get(add + add_at + first, stride, count);
            if (FLAG(flags, LINEAR_SLOPE)) {
                v *= act_slope_v(kind, get(pre + pre_at + first, stride, count));
            } else {
                if (FLAG(flags, LINEAR_PRE))
                    put(v, pre + pre_at + first, stride, count);
                v = act_v(kind, v);
            }
            v = gated(v, gate + gate_at, residual + residual_at, m, n, count, M, N, rows, gate_stride, flags);
            if (FLAG(flags, LINEAR_BETA))
                v += get(y + y_at + first, stride, count);
            put(v, y + y_at + first, stride, count);
        }
}
