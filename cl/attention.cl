/* SPDX-License-Identifier: Apache-2.0
 * attention.cl: softmax(q k^T dh^-0.5) v without the N x N matrix, and its backward pass.
 *
 * qkv is [B, N, 3, H, dh], out [B, N, H, dh], lse and delta [B, H, N]. A group owns ROWS rows of
 * one head of one sample (queries; keys in attention_dkv) and passes over the other side in tiles
 * of TILE:
 *
 *          TILE keys
 *        +----------+      GROUP work-items = ROWS x PARTS; item (row r, part c) owns the columns
 *   ROWS |  scores  |      c, c + PARTS, ... of row r's result, COLUMNS of them in registers,
 *        +----------+      and every PARTS-th score of its row
 *
 * HEAD      largest head size of this build; smaller ones are padded with zeroes in local memory
 * ROWS, TILE  chosen so that the tiles stay under 32 KiB: see the table in host/opencl/kernels.c
 *
 * Loads past the end give zeroes, and their probabilities are set to zero by index, never by an
 * infinity.
 * N, dh: any; the order of all sums depends on N and dh alone. */
#define PARTS (GROUP / ROWS)
#define COLUMNS ((HEAD + PARTS - 1) / PARTS)
#define WIDTH (HEAD + 1) /* of a row in local memory: neighbours in different banks */

/* Copies rows first .. first + count of a matrix with `stride` elements a row into local memory. */
void load_rows(__local float *to, __global const float *from, int first, int count, int N, int dh,
               size_t stride, float factor)
{
    for (int i = (int)get_local_id(0); i < count * HEAD; i += GROUP) {
        int r = i / HEAD, d = i % HEAD;
        bool in = first + r < N && d < dh;
        to[r * WIDTH + d] = in ? factor * from[(size_t)(first + r) * stride + (size_t)d] : 0.0f;
    }
}

float dot_rows(__local const float *a, __local const float *b)
{
    float sum = 0.0f;
    for (int d = 0; d < HEAD; d++)
        sum = mad(a[d], b[d], sum);
    return sum;
}

#ifdef FORWARD
/* Streaming softmax: with a row's running maximum m, sum l of exp(s - m) and acc of exp(s - m) v, a
 * tile first scales l and acc by exp(m - m'). lse = m + log(l). */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void attention(__global float *out, ulong out_at, __global float *lse, ulong lse_at,
               __global const float *qkv, ulong qkv_at, int N, int H, int dh, float scale,
               int has_lse)
{
    __local float q[ROWS * WIDTH], kv[TILE * WIDTH], s[ROWS][TILE + 1], p[ROWS][TILE + 1];
    int l = (int)get_local_id(0), r = l / PARTS, c = l % PARTS;
    int first = (int)get_group_id(0) * ROWS, h = (int)get_group_id(1), b = (int)get_group_id(2);
    size_t stride = 3 * (size_t)H * (size_t)dh;
    __global const float *of_head = qkv + qkv_at + (size_t)b * (size_t)N * stride +
                                    (size_t)h * (size_t)dh;
    __global const float *keys = of_head + (size_t)H * (size_t)dh;
    __global const float *values = keys + (size_t)H * (size_t)dh;
    float acc[COLUMNS], top = -3.0e38f, sum = 0.0f;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        acc[j] = 0.0f;
    load_rows(q, of_head, first, ROWS, N, dh, stride, scale);

    for (int k0 = 0; k0 < N; k0 += TILE) {
        load_rows(kv, keys, k0, TILE, N, dh, stride, 1.0f);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = c; k < TILE; k += PARTS)
            s[r][k] = dot_rows(q + r * WIDTH, kv + k * WIDTH);
        barrier(CLK_LOCAL_MEM_FENCE);
        float new_top = top;
        for (int k = 0; k < TILE && k0 + k < N; k++)
            new_top = fmax(new_top, s[r][k]);
        for (int k = c; k < TILE; k += PARTS)
            p[r][k] = k0 + k < N ? exp(s[r][k] - new_top) : 0.0f;
        load_rows(kv, values, k0, TILE, N, dh, stride, 1.0f);
        barrier(CLK_LOCAL_MEM_FENCE);
        float shrink = exp(top - new_top);
        top = new_top;
        sum *= shrink;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            acc[j] *= shrink;
        int count = min(TILE, N - k0);
        for (int k = 0; k < count; k++) {
            float pk = p[r][k];
            sum += pk;
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                acc[j] = mad(pk, kv[k * WIDTH + min(c + PARTS * j, HEAD - 1)], acc[j]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    if (first + r >= N)
        return;
    size_t row = out_at + (((size_t)b * (size_t)N + (size_t)(first + r)) * (size_t)H + (size_t)h) *
                              (size_t)dh;
    for (int j = 0; j < COLUMNS; j++)
        if (c + PARTS * j < dh)
            out[row + (size_t)(c + PARTS * j)] = acc[j] / sum;
    if (has_lse && c == 0)
        lse[lse_at + ((size_t)b * (size_t)H + (size_t)h) * (size_t)N + (size_t)(first + r)] =
            top + log(sum);
}
#else

/* delta [b, h, n] = sum over d of dout out: what softmax' takes off every dP of the row. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void attention_delta(__global float *delta, ulong delta_at, __global const float *dout,
                     ulong dout_at, __global const float *out, ulong out_at, int N, int H, int dh)
{
    int n = (int)get_global_id(0), h = (int)get_global_id(1), b = (int)get_global_id(2);
    if (n >= N)
        return;
    size_t row = (((size_t)b * (size_t)N + (size_t)n) * (size_t)H + (size_t)h) * (size_t)dh;
    float sum = 0.0f;
    for (int d = 0; d < dh; d++)
        sum = mad(dout[dout_at + row + (size_t)d], out[out_at + row + (size_t)d], sum);
    delta[delta_at + ((size_t)b * (size_t)H + (size_t)h) * (size_t)N + (size_t)n] = sum;
}

/* P = exp(q k^T scale - lse), dS = P (dout v^T - delta);  dq = scale dS k. Groups own queries. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void attention_dq(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
                  __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
                  __global const float *delta, ulong delta_at, int N, int H, int dh, float scale)
{
    __local float q[ROWS * WIDTH], o[ROWS * WIDTH], kt[TILE * WIDTH], vt[TILE * WIDTH];
    __local float ds[ROWS][TILE + 1];
    int l = (int)get_local_id(0), r = l / PARTS, c = l % PARTS;
    int first = (int)get_group_id(0) * ROWS, h = (int)get_group_id(1), b = (int)get_group_id(2);
    size_t width = (size_t)H * (size_t)dh, stride = 3 * width;
    size_t head = (size_t)b * (size_t)N * stride + (size_t)h * (size_t)dh;
    __global const float *of_head = qkv + qkv_at + head;
    size_t stat = ((size_t)b * (size_t)H + (size_t)h) * (size_t)N + (size_t)min(first + r, N - 1);
    float row_lse = lse[lse_at + stat], row_delta = delta[delta_at + stat];
    float acc[COLUMNS];
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        acc[j] = 0.0f;
    load_rows(q, of_head, first, ROWS, N, dh, stride, scale);
    load_rows(o, dout + dout_at + (size_t)b * (size_t)N * width + (size_t)h * (size_t)dh, first,
              ROWS, N, dh, width, 1.0f);

    for (int k0 = 0; k0 < N; k0 += TILE) {
        load_rows(kt, of_head + width, k0, TILE, N, dh, stride, 1.0f);
        load_rows(vt, of_head + 2 * width, k0, TILE, N, dh, stride, 1.0f);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = c; k < TILE; k += PARTS) {
            float p = exp(dot_rows(q + r * WIDTH, kt + k * WIDTH) - row_lse);
            float dp = dot_rows(o + r * WIDTH, vt + k * WIDTH);
            ds[r][k] = p * (dp - row_delta);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        int count = min(TILE, N - k0);
        for (int k = 0; k < count; k++) {
            float d = ds[r][k];
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                acc[j] = mad(d, kt[k * WIDTH + min(c + PARTS * j, HEAD - 1)], acc[j]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    if (first + r >= N)
        return;
    size_t row = dqkv_at + head + (size_t)(first + r) * stride;
    for (int j = 0; j < COLUMNS; j++)
        if (c + PARTS * j < dh)
            dqkv[row + (size_t)(c + PARTS * j)] = scale * acc[j];
}

/* dv = P^T dout, dk = scale dS^T q. Groups own keys, so that nothing is added from two places. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void attention_dkv(__global float *dqkv, ulong dqkv_at, __global const float *dout, ulong dout_at,
                   __global const float *qkv, ulong qkv_at, __global const float *lse, ulong lse_at,
                   __global const float *delta, ulong delta_at, int N, int H, int dh, float scale)
{
    __local float kt[ROWS * WIDTH], vt[ROWS * WIDTH], q[TILE * WIDTH], o[TILE * WIDTH];
    __local float p[ROWS][TILE + 1], ds[ROWS][TILE + 1];
    int l = (int)get_local_id(0), r = l / PARTS, c = l % PARTS;
    int first = (int)get_group_id(0) * ROWS, h = (int)get_group_id(1), b = (int)get_group_id(2);
    size_t width = (size_t)H * (size_t)dh, stride = 3 * width;
    size_t head = (size_t)b * (size_t)N * stride + (size_t)h * (size_t)dh;
    __global const float *of_head = qkv + qkv_at + head;
    __global const float *douts = dout + dout_at + (size_t)b * (size_t)N * width +
                                  (size_t)h * (size_t)dh;
    size_t stats = ((size_t)b * (size_t)H + (size_t)h) * (size_t)N;
    float dk[COLUMNS], dv[COLUMNS];
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
        dk[j] = dv[j] = 0.0f;
    load_rows(kt, of_head + width, first, ROWS, N, dh, stride, 1.0f);
    load_rows(vt, of_head + 2 * width, first, ROWS, N, dh, stride, 1.0f);

    for (int q0 = 0; q0 < N; q0 += TILE) {
        load_rows(q, of_head, q0, TILE, N, dh, stride, scale);
        load_rows(o, douts, q0, TILE, N, dh, width, 1.0f);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = c; k < TILE; k += PARTS) {
            size_t stat = stats + (size_t)min(q0 + k, N - 1);
            float pk = exp(dot_rows(q + k * WIDTH, kt + r * WIDTH) - lse[lse_at + stat]);
            float dp = dot_rows(o + k * WIDTH, vt + r * WIDTH);
            p[r][k] = pk;
            ds[r][k] = pk * (dp - delta[delta_at + stat]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        int count = min(TILE, N - q0);
        for (int k = 0; k < count; k++) {
            float pk = p[r][k], d = ds[r][k];
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                int at = k * WIDTH + min(c + PARTS * j, HEAD - 1);
                dv[j] = mad(pk, o[at], dv[j]);
                dk[j] = mad(d, q[at], dk[j]);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    if (first + r >= N)
        return;
    size_t row = dqkv_at + head + (size_t)(first + r) * stride;
    for (int j = 0; j < COLUMNS; j++)
        if (c + PARTS * j < dh) {
            dqkv[row + width + (size_t)(c + PARTS * j)] = dk[j]; /* q holds the scale */
            dqkv[row + 2 * width + (size_t)(c + PARTS * j)] = dv[j];
        }
}
#endif
