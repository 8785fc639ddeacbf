/* SPDX-License-Identifier: Apache-2.0
 * half.h: the two 16-bit float types. n numbers; nearest even, NaN stays NaN, overflow is infinity.
 */
#ifndef FDIT_CORE_HALF_H
#define FDIT_CORE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One number; without a branch, so that loops over it become vectors. */
static inline uint16_t fdit_bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t nan = bits >> 16 | 0x40u, near = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : near);
}
static inline float fdit_bf16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void fdit_f32_to_f16(size_t n, const float *x, uint16_t *out);
void fdit_f32_to_bf16(size_t n, const float *x, uint16_t *out);
void fdit_f16_to_f32(size_t n, const uint16_t *x, float *out);
void fdit_bf16_to_f32(size_t n, const uint16_t *x, float *out);

#endif
