/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/pixels.h"

void fdit_pixels(const float *x, int channels, size_t n, uint8_t *out)
{
    for (int c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++) {
            float v = x[(size_t)c * n + i];
            v = v > 1 ? 1 : v >= -1 ? v : -1;
            out[i * (size_t)channels + (size_t)c] = (uint8_t)((v + 1) / 2 * 255 + 0.5f);
        }
}
