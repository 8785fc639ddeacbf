/* SPDX-License-Identifier: Apache-2.0
 * attention_rows.h: how attention.cl and attention_matrix.cl read rows of HEAD numbers, and where a group's
 * lie: qkv is [B, N, 3, H, HEAD], out [B, N, H, HEAD], lse and delta [B, H, N]. */

/* Numbers d .. d + 3 of a row; zeroes past its end, and for a row that is not there. */
float4 quad(__global const float *row, bool there, int d)
{
    if (!there || d >= HEAD)
        return (float4)(0.0f);
#ifdef ALIGNED
    return *(__global const float4 *)(row + d);
#else
    return (float4)(row[d], d + 1 < HEAD ? row[d + 1] : 0.0f, d + 2 < HEAD ? row[d + 2] : 0.0f,
                    d + 3 < HEAD ? row[d + 3] : 0.0f);
#endif
}

/* v with `other` in place of its numbers from `left` on */
INLINE float4 masked(float4 v, int left, float other)
{
    v.x = left > 0 ? v.x : other;
    v.y = left > 1 ? v.y : other;
    v.z = left > 2 ? v.z : other;
    v.w = left > 3 ? v.w : other;
    return v;
}

/* Of a group: its first row of ROWS, head h of sample b, and where these begin. */
#define PLACE_OF_GROUP                                                                           \
    int first = (int)get_group_id(0) * ROWS, h = (int)get_group_id(1), b = (int)get_group_id(2); \
    size_t width = (size_t)H * HEAD, stride = 3 * width;                                         \
    size_t head = (size_t)b * (size_t)N * stride + (size_t)h * HEAD;                             \
    size_t head_out = (size_t)b * (size_t)N * width + (size_t)h * HEAD;                          \
    size_t stats = ((size_t)b * (size_t)H + (size_t)h) * (size_t)N;                              \
    (void)stats;
