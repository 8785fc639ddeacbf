/* SPDX-License-Identifier: Apache-2.0
 * simd.h: vectors of FDIT_VLEN floats for the kernel files (see cpu.h), by the vector extensions of
 * GCC and clang. + - * / and comparisons work on them directly; a comparison gives a vi of 0 and
 * -1. */
#ifndef FDIT_CPU_SIMD_H
#define FDIT_CPU_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if !defined(FDIT_ISA) || !defined(FDIT_VLEN)
#error "kernel files need -DFDIT_ISA=<name> -DFDIT_VLEN=<4, 8 or 16>"
#endif

/* The warning is about passing vectors between separately compiled functions; all of these are
 * inlined. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define FDIT_PASTE_(a, b) a##_##b
#define FDIT_PASTE(a, b) FDIT_PASTE_(a, b)
#define FDIT_ISA_NAME(name) FDIT_PASTE(name, FDIT_ISA)

#define FDIT_KERNEL static inline __attribute__((always_inline))

/* Before a loop of constant length, whose arrays of vectors then live in registers. */
#if defined(__clang__)
#define FDIT_UNROLL _Pragma("clang loop unroll(full)")
#define FDIT_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#else
#define FDIT_UNROLL _Pragma("GCC unroll 16")
#define FDIT_UNROLL_4 _Pragma("GCC unroll 4")
#endif

typedef float vf __attribute__((vector_size(FDIT_VLEN * 4)));
typedef int32_t vi __attribute__((vector_size(FDIT_VLEN * 4)));
typedef uint32_t vu __attribute__((vector_size(FDIT_VLEN * 4)));
typedef float vf_mem __attribute__((vector_size(FDIT_VLEN * 4), aligned(4), may_alias));
typedef int32_t vi_mem __attribute__((vector_size(FDIT_VLEN * 4), aligned(4), may_alias));

/* No alignment is needed. */
FDIT_KERNEL vf vload(const float *p)
{
    return *(const vf_mem *)p;
}
FDIT_KERNEL void vstore(float *p, vf v)
{
    *(vf_mem *)p = v;
}
/* Past the caches, for what is read again much later. p: aligned to a vector. Whoever reads it on another
 * thread needs vstream_end on this one first. */
FDIT_KERNEL void vstream(float *p, vf v)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    _mm512_stream_ps(p, (__m512)v);
#else
    vstore(p, v);
#endif
}
FDIT_KERNEL void vstream_end(void)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    _mm_sfence();
#endif
}
FDIT_KERNEL bool can_stream(const float *p, size_t ld)
{
    return ((uintptr_t)p | ld * sizeof *p) % (FDIT_VLEN * sizeof *p) == 0;
}
FDIT_KERNEL vi viload(const int32_t *p)
{
    return *(const vi_mem *)p;
}
FDIT_KERNEL void vistore(int32_t *p, vi v)
{
    *(vi_mem *)p = v;
}

/* The first n < FDIT_VLEN elements; the others are 0 and not read. */
FDIT_KERNEL vf vload_n(const float *p, int n)
{
    float part[FDIT_VLEN] = { 0 };
    for (int i = 0; i < n; i++)
        part[i] = p[i];
    return vload(part);
}
/* The first n elements, 0 behind them; n may be beyond either end. */
FDIT_KERNEL vf load_some(const float *p, int n)
{
    if (n >= FDIT_VLEN)
        return vload(p);
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    return n <= 0 ? (vf){ 0 } : (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    return vload_n(p, n);
#endif
}
FDIT_KERNEL void vstore_n(float *p, vf v, int n)
{
    float part[FDIT_VLEN];
    vstore(part, v);
    for (int i = 0; i < n; i++)
        p[i] = part[i];
}

FDIT_KERNEL vf vset(float x)
{
    vf zero = { 0 };
    /* x - 0 keeps -0, NaN and infinity; x + 0 would lose -0. */
    return x - zero;
}
FDIT_KERNEL vi viset(int32_t x)
{
    vi zero = { 0 };
    return x + zero;
}
FDIT_KERNEL vf vzero(void)
{
    return (vf){ 0 };
}

/* a b + c, rounded once where the instruction set can. */
FDIT_KERNEL vf vfma(vf a, vf b, vf c)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif FDIT_VLEN == 16 && defined(__FMA__)
    union {
        vf v;
        __m256 h[2];
    } x = { a }, y = { b }, z = { c };
    z.h[0] = _mm256_fmadd_ps(x.h[0], y.h[0], z.h[0]);
    z.h[1] = _mm256_fmadd_ps(x.h[1], y.h[1], z.h[1]);
    return z.v;
#elif FDIT_VLEN == 8 && defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif FDIT_VLEN == 4 && defined(__FMA__)
    return (vf)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif FDIT_VLEN == 4 && defined(__ARM_NEON) && defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* mask ? a : b for a mask of 0 and -1. */
FDIT_KERNEL vf vselect(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
/* a > b ? a : b and a < b ? a : b: when one of the two is NaN the result is b. */
FDIT_KERNEL vf vmax(vf a, vf b)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif FDIT_VLEN == 8 && defined(__AVX__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif FDIT_VLEN == 4 && defined(__SSE__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vselect((vi)(a > b), a, b);
#endif
}
FDIT_KERNEL vf vmin(vf a, vf b)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif FDIT_VLEN == 8 && defined(__AVX__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif FDIT_VLEN == 4 && defined(__SSE__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vselect((vi)(a < b), a, b);
#endif
}
/* x between low and high; NaN stays. */
FDIT_KERNEL vf vclamp(vf x, float low, float high)
{
    return vmax(vset(low), vmin(vset(high), x));
}
FDIT_KERNEL vf vabs(vf a)
{
    return (vf)((vi)a & 0x7fffffff);
}
/* |a| with the sign of s. */
FDIT_KERNEL vf vcopysign(vf a, vf s)
{
    return (vf)(((vi)a & 0x7fffffff) | ((vi)s & (int32_t)0x80000000u));
}
FDIT_KERNEL vf vsqrt(vf a)
{
#if FDIT_VLEN == 16 && defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)a);
#elif FDIT_VLEN == 16 && defined(__AVX__)
    union {
        vf v;
        __m256 h[2];
    } x = { a };
    x.h[0] = _mm256_sqrt_ps(x.h[0]);
    x.h[1] = _mm256_sqrt_ps(x.h[1]);
    return x.v;
#elif FDIT_VLEN == 8
    return (vf)_mm256_sqrt_ps((__m256)a);
#else
    for (int i = 0; i < FDIT_VLEN; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
#endif
}

/* The sum of all elements by halving: a fixed tree for each FDIT_VLEN. */
FDIT_KERNEL float vsum(vf v)
{
    float s[FDIT_VLEN];
    vstore(s, v);
    FDIT_UNROLL
    for (int n = FDIT_VLEN / 2; n > 0; n /= 2)
        FDIT_UNROLL
    for (int i = 0; i < n; i++)
        s[i] += s[i + n];
    return s[0];
}
/* The largest element; unspecified when one is NaN. */
FDIT_KERNEL float vmax_of(vf v)
{
    float s[FDIT_VLEN];
    vstore(s, v);
    FDIT_UNROLL
    for (int n = FDIT_VLEN / 2; n > 0; n /= 2)
        FDIT_UNROLL
    for (int i = 0; i < n; i++)
        s[i] = s[i] > s[i + n] ? s[i] : s[i + n];
    return s[0];
}

#endif
