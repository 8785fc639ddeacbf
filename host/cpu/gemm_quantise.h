/* SPDX-License-Identifier: Apache-2.0
 * gemm_quantise.h: the factors of numbers kept as int8, for the kernel files of products. */
#ifndef FDIT_CPU_GEMM_QUANTISE_H
#define FDIT_CPU_GEMM_QUANTISE_H

#include "cpu/simd.h"

#include <math.h>

/* The largest magnitude of k numbers; NaN when one is not finite. */
FDIT_KERNEL float largest_magnitude(const float *row, int k)
{
    vi most = viset(0); /* magnitudes sort as their bits, NaN and infinity highest */
    for (int i = 0; i < k; i += FDIT_VLEN) {
        vi x = (vi)vabs(load_some(row + i, k - i)), larger = x > most;
        most = (larger & x) | (~larger & most);
    }
    int32_t lanes[FDIT_VLEN], bits = 0;
    vistore(lanes, most);
    for (int i = 0; i < FDIT_VLEN; i++)
        bits = lanes[i] > bits ? lanes[i] : bits;
    float x;
    memcpy(&x, &bits, sizeof x);
    return bits < 0x7f800000 ? x : NAN;
}

/* scale [nr]: the largest magnitude of each of `lanes` rows src [lanes][ld], k of it, / 127; 1 for a row of
 * zeros and where there is none. Not finite when an element is not, so that a broken weight stays one. */
FDIT_KERNEL void lane_scales(float *scale, int nr, const float *src, size_t ld, int lanes, int k)
{
    for (int j = 0; j < nr; j++) {
        float most = j < lanes ? largest_magnitude(src + (size_t)j * ld, k) : 0;
        scale[j] = most == 0 ? 1.0f : most / 127.0f;
    }
}

#endif
