/* SPDX-License-Identifier: Apache-2.0
 * epilogue.cl: what linear.cl fuses into a product, for products that CLBlast has left in y [M, N]. */

#include "fused.h"

/* y [M, N] = FUSE(y), one work-item an element: (N, M). LINEAR_BETA does not count. */
__kernel void epilogue(__global float *y, ulong y_at, __global const float *bias, ulong bias_at,
                       __global float *pre, ulong pre_at, __global const float *gate, ulong gate_at,
                       __global const float *residual, ulong residual_at, __global const float *add,
                       ulong add_at, int M, int N, int rows, int gate_stride, uint flags)
{
    int n = (int)get_global_id(0), m = (int)get_global_id(1);
    if (m >= M || n >= N)
        return;
    size_t at = (size_t)m * (size_t)N + (size_t)n;
    float v = y[y_at + at];
    FUSE(v, m, n, at)
    y[y_at + at] = v;
}
