/* SPDX-License-Identifier: Apache-2.0
 * transpose.cl: to [K][ld] = from [M][K] transposed, each column of `from` times its scale. Columns M ..
 * ld-1 of `to` become 0. A work-item moves a square of SIDE x SIDE: (K / SIDE, ld / SIDE), rounded up. */
#ifdef ON_CPU
#define SIDE 16
#else
#define SIDE 4
#endif

/* scale [K] where has_scale. */
__kernel __attribute__((reqd_work_group_size(8, 8, 1))) void
transpose(__global float *to, ulong to_at, __global const float *from, ulong from_at,
          __global const float *scale, ulong scale_at, int M, int K, int ld, int has_scale)
{
    int k0 = (int)get_global_id(0) * SIDE, m0 = (int)get_global_id(1) * SIDE;
    float t[SIDE][SIDE];
    if (k0 >= K || m0 >= ld)
        return;
#pragma unroll
    for (int m = 0; m < SIDE; m++)
#pragma unroll
        for (int k = 0; k < SIDE; k++) {
            bool in = m0 + m < M && k0 + k < K;
            t[k][m] = in ? from[from_at + (size_t)(m0 + m) * (size_t)K + (size_t)(k0 + k)] : 0.0f;
        }
#pragma unroll
    for (int k = 0; k < SIDE; k++) {
        float s = has_scale ? scale[scale_at + (size_t)min(k0 + k, K - 1)] : 1.0f;
#pragma unroll
        for (int m = 0; m < SIDE; m++)
            if (k0 + k < K && m0 + m < ld)
                to[to_at + (size_t)(k0 + k) * (size_t)ld + (size_t)(m0 + m)] = s * t[k][m];
    }
}
