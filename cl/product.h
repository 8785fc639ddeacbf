/* SPDX-License-Identifier: Apache-2.0
 * product.h: what the products in tiles share (linear_block.cl, linear_matrix.cl): how a matrix is read in
 * its storage, W_TYPE, and what is fused behind a product, ACT and SLOPE. INT8: int8.h; kernels then have
 * two more arguments, a_scale [M] and the rows of B. */
#ifndef W_TYPE
#define W_TYPE 0
#endif
#ifndef ACT
#define ACT ACT_NONE
#endif

#if W_TYPE == 0
#define B_TYPE float
#define B_ONE(at) b[at]
#define B_FOUR(at) *(__global const float4 *)(b + (at))
#elif W_TYPE == 1
#define B_TYPE half
#define B_ONE(at) vload_half((at), b)
#define B_FOUR(at) vload_half4(0, b + (at))
#elif W_TYPE == 2
#define B_TYPE ushort
#define B_ONE(at) as_float((uint)b[at] << 16)
#define B_FOUR(at) as_float4(convert_uint4(*(__global const ushort4 *)(b + (at))) << 16)
#else
#define B_TYPE char
#define B_ONE(at) (float)b[at]
#define B_FOUR(at) convert_float4(*(__global const char4 *)(b + (at)))
#endif

#ifdef ALIGNED
/* One by one: exp of a vector rounds otherwise than exp of a number in some libraries (PoCL's), and few
 * rows are computed by linear.cl. */
float4 act4(uint kind, float4 v)
{
    return (float4)(act(kind, v.x), act(kind, v.y), act(kind, v.z), act(kind, v.w));
}
float4 act_slope4(uint kind, float4 v)
{
    return (float4)(act_slope(kind, v.x), act_slope(kind, v.y), act_slope(kind, v.z), act_slope(kind, v.w));
}
#endif

#ifdef SLOPE
#define ACTIVATE(T, S, v, column) v *= act_slope##S(ACT, *(__global const T *)(pre + pre_at + row + column));
#else
#define ACTIVATE(T, S, v, column)                         \
    if (FLAG(flags, LINEAR_PRE))                          \
        *(__global T *)(pre + pre_at + row + column) = v; \
    v = act##S(ACT, v);
#endif

#ifdef INT8 /* as the sums of whole numbers are: the CPU's order */
#define SCALED(T, v, n) \
    v *= *(__global const T *)(w_scale + w_scale_at + (size_t)(n)) * a_scale[a_scale_at + (size_t)m];
#elif W_TYPE == 3 && defined(B_ROWS)
#define SCALED(T, v, n) v *= *(__global const T *)(w_scale + w_scale_at + (size_t)(n));
#else
#define SCALED(T, v, n)
#endif
/* What is fused, for v at columns n.. of row m; T is float, or float4 with the suffix 4. */
#define FINISH(T, S, v, n)                                            \
    {                                                                 \
        size_t column = (size_t)(n);                                  \
        SCALED(T, v, n)                                               \
        if (FLAG(flags, LINEAR_BIAS))                                 \
            v += *(__global const T *)(bias + bias_at + column);      \
        if (FLAG(flags, LINEAR_ADD))                                  \
            v += *(__global const T *)(add + add_at + row + column);  \
        ACTIVATE(T, S, v, column)                                     \
        if (FLAG(flags, LINEAR_GATE))                                 \
            v *= *(__global const T *)(gate + of_sample + column);    \
        if (FLAG(flags, LINEAR_RESIDUAL))                             \
            v += *(__global const T *)(residual + shortcut + column); \
        if (FLAG(flags, LINEAR_BETA))                                 \
            v += *(__global T *)(y + y_at + row + column);            \
        *(__global T *)(y + y_at + row + column) = v;                 \
    }

/* The same for a quad that may reach beyond column N. */
#ifdef ALIGNED
#define FINISH_QUAD(quad, n) FINISH(float4, 4, quad, n)
#else
#define FINISH_QUAD(quad, n)                                                      \
    _Pragma("unroll 1") for (int e = 0; e < 4 && (n) + e < N; e++)                \
    {                                                                             \
        float one = e == 0 ? quad.x : e == 1 ? quad.y : e == 2 ? quad.z : quad.w; \
        FINISH(float, , one, (n) + e)                                             \
    }
#endif

#ifdef INT8
#define INT8_ARGUMENTS , __global const float *a_scale, ulong a_scale_at, int k_rows
#else
#define INT8_ARGUMENTS
#endif

/* Four numbers of a row (along `to`, at `i` of `n`) of `row` of `rows`; zeroes past the ends. */
float4 quad_of_a(__global const float *a, int row, int rows, int i, int n, int ld)
{
    size_t at = (size_t)row * (size_t)ld + (size_t)i;
    if (row >= rows || i >= n)
        return (float4)(0.0f);
#ifdef ALIGNED
    return *(__global const float4 *)(a + at);
#else
    return (float4)(a[at], i + 1 < n ? a[at + 1] : 0.0f, i + 2 < n ? a[at + 2] : 0.0f,
                    i + 3 < n ? a[at + 3] : 0.0f);
#endif
}

float4 quad_of_b(__global const B_TYPE *b, int row, int rows, int i, int n, int ld)
{
    size_t at = (size_t)row * (size_t)ld + (size_t)i;
    if (row >= rows || i >= n)
        return (float4)(0.0f);
#ifdef ALIGNED
    return B_FOUR(at);
#else
    return (float4)(B_ONE(at), i + 1 < n ? B_ONE(at + 1) : 0.0f, i + 2 < n ? B_ONE(at + 2) : 0.0f,
                    i + 3 < n ? B_ONE(at + 3) : 0.0f);
#endif
}
