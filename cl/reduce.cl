/* SPDX-License-Identifier: Apache-2.0
 * reduce.cl: sums over rows and over whole arrays, in orders fixed by the problem alone. */
/* A group's width; GROUP / COLUMNS slices of the rows. */
#define COLUMNS (GROUP < 32 ? GROUP : 32)
#define SLICES (GROUP / COLUMNS)

/* For each part (a sample, or a block of rows) of `rows` rows of p [M, D]:
 *   sum_part [d] = [sum +] alpha sum over its rows of p;  product_part [d] = the same of p q.
 * Slice s of a group adds rows s, s + SLICES, ...; the slices are then added in order. */
__kernel __attribute__((reqd_work_group_size(COLUMNS, SLICES, 1))) void
column_sums(__global float *sum, ulong sum_at, __global float *product, ulong product_at,
            __global const float *p, ulong p_at, __global const float *q, ulong q_at, int M, int rows, int D,
            int sum_stride, int product_stride, float alpha, uint flags)
{
    __local float s[SLICES][COLUMNS], t[SLICES][COLUMNS];
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1);
    int d = (int)get_group_id(0) * COLUMNS + tx, part = (int)get_group_id(1);
    int from = part * rows, end = min(M, from + rows);
    float a = 0.0f, b = 0.0f;
    if (d < D) {
#pragma unroll 8
        for (int m = from + ty; m < end; m += SLICES) {
            size_t at = (size_t)m * (size_t)D + (size_t)d;
            float v = p[p_at + at];
            a += v;
            if (FLAG(flags, SUMS_PRODUCT))
                b += v * q[q_at + at];
        }
    }
    s[ty][tx] = a;
    t[ty][tx] = b;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (ty != 0 || d >= D)
        return;
    for (int i = 1; i < SLICES; i++) {
        a += s[i][tx];
        b += t[i][tx];
    }
    size_t to = sum_at + (size_t)part * (size_t)sum_stride + (size_t)d;
    if (FLAG(flags, SUMS_SUM))
        sum[to] = FLAG(flags, SUMS_BETA) ? sum[to] + alpha * a : alpha * a;
    if (FLAG(flags, SUMS_PRODUCT))
        product[product_at + (size_t)part * (size_t)product_stride + (size_t)d] = alpha * b;
}

/* partial [group] = sum of the squares of x [group * chunk .. + chunk), a last one shorter. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sum_squares(__global float *partial,
                                                                             ulong partial_at,
                                                                             __global const float *x,
                                                                             ulong x_at, ulong n, ulong chunk)
{
    __local float s[GROUP];
    size_t from = (size_t)get_group_id(0) * (size_t)chunk;
    size_t end = min((size_t)n, from + (size_t)chunk);
    float sum = 0.0f;
    for (size_t i = from + get_local_id(0); i < end; i += GROUP)
        sum += x[x_at + i] * x[x_at + i];
    sum = group_sum(s, sum);
    if (get_local_id(0) == 0)
        partial[partial_at + get_group_id(0)] = sum;
}

/* out [0] = sum of x [0..n), one group. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
sum_all(__global float *out, ulong out_at, __global const float *x, ulong x_at, int n)
{
    __local float s[GROUP];
    float sum = 0.0f;
    for (int i = (int)get_local_id(0); i < n; i += GROUP)
        sum += x[x_at + (size_t)i];
    sum = group_sum(s, sum);
    if (get_local_id(0) == 0)
        out[out_at] = sum;
}

/* total = sum of partial;  norm = sqrt(total);  scale = min(1, max_norm / (norm + 1e-6)), 1 when
 * max_norm is 0 or less; NaN when the total is not finite. One group. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
clip_scale(__global float *scale, ulong scale_at, __global float *norm, ulong norm_at,
           __global const float *partial, ulong partial_at, int n, float max_norm, int has_norm)
{
    __local float s[GROUP];
    float sum = 0.0f;
    for (int i = (int)get_local_id(0); i < n; i += GROUP)
        sum += partial[partial_at + (size_t)i];
    sum = group_sum(s, sum);
    if (get_local_id(0) != 0)
        return;
    float root = sqrt(sum), c = 1.0f;
    if (max_norm > 0.0f) {
        c = max_norm / (root + 1e-6f);
        c = c > 1.0f ? 1.0f : c;
    }
    scale[scale_at] = fabs(sum) <= 3.4e38f ? c : nan(0u);
    if (has_norm)
        norm[norm_at] = root;
}
