/* SPDX-License-Identifier: Apache-2.0
 * prelude.cl: put before every kernel file. OpenCL C 1.2, no extensions.
 *
 * Conventions
 * - A tensor argument is a buffer and an offset in elements: `__global float *y, ulong y_at`. An
 *   absent one is any valid buffer, and a bit of `flags` that is off.
 * - A row of per-sample vectors (gate, shift, scale) starts at sample * stride.
 * - Every work-item reaches every barrier: ragged edges load zeroes and skip stores.
 * - GROUP work-items a group (a power of two up to 256, which the host defines), at most 32 KiB of local
 *   memory. */
#include "flags.h"

/* SIMD: lanes of a hardware thread, where the device says that a kernel may ask for it. Intel's compiler
 * would take 32 where 16 leave a work-item room for a tile of results. */
#ifdef SIMD
#define SUB_GROUP __attribute__((intel_reqd_sub_group_size(SIMD)))
#else
#define SUB_GROUP
#endif

/* A compiler may make x * y + z one operation or two, and decides anew in every kernel. A sample's
 * results must not depend on the batch around it, which decides which kernel multiplies. Where one
 * operation is wanted, kernels say mad. */
#pragma OPENCL FP_CONTRACT OFF

/* A part of a kernel. A call would need a stack, and would have a work-item's arrays in memory instead of in
 * registers. */
#define INLINE static inline __attribute__((always_inline))

/* Products in 16 bits by arithmetic: operands are rounded on their way in, to nearest, ties to even; NaN
 * stays. ROUND: 0 not at all, 1 to f16, 2 to bf16. */
#ifndef ROUND
#define ROUND 0
#endif
#if ROUND == 0
#define ROUNDED(x) (x)
#define ROUNDED4(x) (x)
#else
float rounded(float x)
{
#if ROUND == 1
    ushort bits;
    vstore_half_rte(x, 0, (__private half *)&bits);
    return vload_half(0, (__private const half *)&bits);
#else
    uint bits = as_uint(x), near = bits + 0x7fffu + (bits >> 16 & 1u);
    return as_float(((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : near) & 0xffff0000u);
#endif
}
float4 rounded4(float4 v)
{
    return (float4)(rounded(v.x), rounded(v.y), rounded(v.z), rounded(v.w));
}
#define ROUNDED rounded
#define ROUNDED4 rounded4
#endif

#define FLAG(f, bit) (((f) & (1u << (bit))) != 0)

/* enum fdit_act */
#define ACT_NONE 0
#define ACT_GELU 1
#define ACT_SILU 2
#define ACT_RELU 3
#define ACT_GELU_ERF 4

/* The activations and their slopes, for T float or a vector of floats; names end with S.
 * gelu: 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): no
 * cancellation for negative x. below: the normal distribution's part below x. */
#define ACTIVATIONS(T, S)                                              \
    T gelu##S(T x)                                                     \
    {                                                                  \
        T u = 0.7978845608f * (x + 0.044715f * x * x * x);             \
        return x / (1.0f + exp(-2.0f * u));                            \
    }                                                                  \
    T gelu_slope##S(T x)                                               \
    {                                                                  \
        T u = 0.7978845608f * (x + 0.044715f * x * x * x);             \
        T du = 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);      \
        T s = 1.0f / (1.0f + exp(-2.0f * u));                          \
        return s + 2.0f * x * s * (1.0f - s) * du;                     \
    }                                                                  \
    T silu##S(T x)                                                     \
    {                                                                  \
        return x / (1.0f + exp(-x));                                   \
    }                                                                  \
    T silu_slope##S(T x)                                               \
    {                                                                  \
        T s = 1.0f / (1.0f + exp(-x));                                 \
        return s * (1.0f + x * (1.0f - s));                            \
    }                                                                  \
    T below##S(T x)                                                    \
    {                                                                  \
        return 0.5f * erfc(-0.70710678f * x);                          \
    }                                                                  \
    T act##S(uint kind, T x)                                           \
    {                                                                  \
        if (kind == ACT_GELU)                                          \
            return gelu##S(x);                                         \
        if (kind == ACT_SILU)                                          \
            return silu##S(x);                                         \
        if (kind == ACT_RELU)                                          \
            return x < 0.0f ? (T)(0.0f) : x;                           \
        if (kind == ACT_GELU_ERF)                                      \
            return x * below##S(x);                                    \
        return x;                                                      \
    }                                                                  \
    T act_slope##S(uint kind, T x)                                     \
    {                                                                  \
        if (kind == ACT_GELU)                                          \
            return gelu_slope##S(x);                                   \
        if (kind == ACT_SILU)                                          \
            return silu_slope##S(x);                                   \
        if (kind == ACT_RELU) /* NaN stays */                          \
            return x > 0.0f ? (T)(1.0f) : x <= 0.0f ? (T)(0.0f) : x;   \
        if (kind == ACT_GELU_ERF)                                      \
            return below##S(x) + x * exp(-0.5f * x * x) * 0.39894228f; \
        return (T)(1.0f);                                              \
    }
ACTIVATIONS(float, )

/* The sum of v over a group of GROUP work-items in one dimension: a fixed tree, the same in all.
 * `s` holds GROUP floats and may be used again at once. */
float group_sum(__local float *s, float v)
{
    int l = (int)get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    s[l] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size)
            s[l] += s[l + half_size];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return s[0];
}
