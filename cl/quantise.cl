/* SPDX-License-Identifier: Apache-2.0
 * quantise.cl: rows of f32 become int8 on their way into products of whole numbers (int8.h):
 *
 *     scale(m) = the largest magnitude of row m / 127,   to(m, k) = x(m, k) / scale(m) to the nearest, ties
 * to even
 *
 * A row with a number that is not finite has a scale that is NaN, and so has all that it is multiplied by.
 * A group a row: (GROUP, rows). */

/* to [rows][ld] is filled up with zeroes behind K; ld is a multiple of 4. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
quantise(__global uint *to, ulong to_at, __global float *scale, ulong scale_at, __global const float *x,
         ulong x_at, int K, int ld)
{
    __local int largest[GROUP];
    int l = (int)get_local_id(0), row = (int)get_group_id(1), most = 0;
    x += x_at + (size_t)row * (size_t)K;
    to += to_at + (size_t)row * (size_t)(ld / 4);
    for (int k = l; k < K; k += GROUP)
        most = max(most, as_int(fabs(x[k]))); /* magnitudes sort as their bits, NaN and infinity highest */
    largest[l] = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size)
            largest[l] = max(largest[l], largest[l + half_size]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    bool finite = largest[0] < 0x7f800000;
    float size = finite ? as_float(largest[0]) : 0.0f, inverse = size > 1e-36f ? 127.0f / size : 0.0f;
    if (l == 0)
        scale[scale_at + (size_t)row] = finite ? size / 127.0f : NAN;
    for (int w = l; w < ld / 4; w += GROUP) {
        float4 v = (float4)(0.0f);
        int k = 4 * w;
        if (k + 3 < K)
            v = (float4)(x[k], x[k + 1], x[k + 2], x[k + 3]);
        else
            v = (float4)(k < K ? x[k] : 0.0f, k + 1 < K ? x[k + 1] : 0.0f, k + 2 < K ? x[k + 2] : 0.0f, 0.0f);
        to[w] = finite ? as_uint(convert_char4_sat_rte(v * inverse)) : 0u;
    }
}
