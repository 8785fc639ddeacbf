/* SPDX-License-Identifier: Apache-2.0
 * pixels.h: from x in [-1, 1] to 8-bit pixels. */
#ifndef FDIT_SAMPLE_PIXELS_H
#define FDIT_SAMPLE_PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* x [channels, n] to out [n, channels]: clamped to [-1, 1], (x + 1) / 2 * 255 + 0.5, truncated. NaN gives
 * 0. */
void fdit_pixels(const float *x, int channels, size_t n, uint8_t *out);

#endif
