/* SPDX-License-Identifier: Apache-2.0
 * half.h: the two 16-bit float types. n numbers; nearest even, NaN stays NaN, overflow is infinity.
 */
#ifndef FDIT_FORMAT_HALF_H
#define FDIT_FORMAT_HALF_H

#include <stddef.h>
#include <stdint.h>

void fdit_f32_to_f16(size_t n, const float *x, uint16_t *out);
void fdit_f32_to_bf16(size_t n, const float *x, uint16_t *out);
void fdit_f16_to_f32(size_t n, const uint16_t *x, float *out);
void fdit_bf16_to_f32(size_t n, const uint16_t *x, float *out);

#endif
