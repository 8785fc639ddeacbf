/* SPDX-License-Identifier: Apache-2.0
 * The two 16-bit float types. */
#include "core/half.h"

#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* 2^-24 is the smallest half; below its half (a tie goes to the even 0) everything is 0. */
static uint16_t to_f16(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x1ff)); /* NaN, quiet, with its payload */
    if (rest >= 0x477ff000)                                      /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x33000001)
        return (uint16_t)sign;
    uint32_t exponent = rest >> 23, shift = 13, half;
    if (exponent < 113) { /* a half without its leading one */
        shift = 126 - exponent;
        rest = (rest & 0x7fffff) | 0x800000;
        half = rest >> shift;
    } else {
        half = (rest >> 13) - (112u << 10);
    }
    uint32_t cut = rest & ((1u << shift) - 1), tie = 1u << (shift - 1);
    half += cut > tie || (cut == tie && (half & 1));
    return (uint16_t)(sign | half);
}

void fdit_f32_to_f16(size_t n, const float *x, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = to_f16(x[i]);
}

void fdit_f32_to_bf16(size_t n, const float *x, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = fdit_bf16_of(x[i]);
}

/* No float32 on the way is subnormal, so flushing those to zero changes nothing. */
void fdit_f16_to_f32(size_t n, const uint16_t *x, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(x[i] & 0x8000) << 16, rest = (uint32_t)(x[i] & 0x7fff) << 13;
        uint32_t exponent = rest & 0x0f800000, u = rest + (112u << 23);
        if (exponent == 0x0f800000) {
            u = rest | 0x7f800000;
        } else if (exponent == 0) {
            float f;
            u += 1u << 23;
            memcpy(&f, &u, sizeof f);
            u = bits_of(f - 0x1p-14f);
        }
        u |= sign;
        memcpy(out + i, &u, sizeof u);
    }
}

void fdit_bf16_to_f32(size_t n, const uint16_t *x, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = fdit_bf16_value(x[i]);
}
