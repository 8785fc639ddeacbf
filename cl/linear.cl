/* SPDX-License-Identifier: Apache-2.0
 * linear.cl: the products of a linear layer, C [M, N] = sum over k < K of A(m, k) B(k, n).
 *
 *   A(m, k)   a [M][lda], or [K][lda] with A_COLUMNS
 *   B(k, n)   b [N][ldb], or [K][ldb] with B_ROWS; W_TYPE is its storage
 *
 *                  A              B                              M        N      K
 *   forward        x [M][K]       weight object [K][N]           B N      n_out  n_in   -DB_ROWS
 *   forward        x [M][K]       matrix W [N][K]                B N      n_out  n_in
 *   dx             dy [M][K]      weight object [N][K]           B N      n_in   n_out
 *   dx             dy [M][K]      matrix W [K][N]                B N      n_in   n_out  -DB_ROWS
 *   dw             dy [K][M]      x [K][N]                       n_out    n_in   B N    -DA_COLUMNS -DB_ROWS
 *
 * A group computes a tile of TM x TN, TK steps of k at a time through local memory:
 *
 *            TN                          work-item (tx, ty) owns the elements
 *       +----+----+                      row ty + 16 i, column tx + 16 j,
 *   TM  |tile|    |   16 x SIDE items    i < ITEM_M, j < ITEM_N: neighbours in tx
 *       +----+----+                      read and write neighbours in memory
 *
 * An element's sum over k runs in one order whatever the tile, so its bits do not depend on M.
 *
 * ITEM_M, ITEM_N   elements of C a work-item, each way. Per-sample vectors (rows 1) use ITEM_M 1.
 * TK               steps of k in local memory
 * W_TYPE           0 f32, 1 f16, 2 bf16, 3 int8 with an f32 scale for each output feature, which is
 *                  column n of B with B_ROWS, else its index k */
#ifndef ITEM_M
#define ITEM_M 4
#endif
#ifndef ITEM_N
#define ITEM_N 4
#endif
#ifndef TK
#define TK 16
#endif
#ifndef W_TYPE
#define W_TYPE 0
#endif
#define SIDE (GROUP / 16)
#define TM (SIDE * ITEM_M)
#define TN (16 * ITEM_N)

#if W_TYPE == 0
#define B_TYPE float
#define B_LOAD(at, k) b[at]
#elif W_TYPE == 1
#define B_TYPE half
#define B_LOAD(at, k) vload_half((at), b)
#elif W_TYPE == 2
#define B_TYPE ushort
#define B_LOAD(at, k) as_float((uint)b[at] << 16)
#else
#define B_TYPE char
#ifdef B_ROWS
#define B_LOAD(at, k) (float)b[at]
#else
#define B_LOAD(at, k) ((float)b[at] * w_scale[(size_t)(k)])
#endif
#endif

#include "tile.h"
#include "fused.h"

/* TK steps from k0 on of TM rows of A from m0 on; zeroes past the ends. */
void load_a(__local float (*as)[TM + 1], __global const float *a, int m0, int k0, int M, int K, int lda)
{
    int l = (int)(get_local_id(1) * 16 + get_local_id(0));
    for (int i = l; i < TM * TK; i += GROUP) {
#ifdef A_COLUMNS
        int m = i % TM, k = i / TM;
        bool in = m0 + m < M && k0 + k < K;
        as[k][m] = in ? ROUNDED(a[(size_t)(k0 + k) * (size_t)lda + (size_t)(m0 + m)]) : 0.0f;
#else
        int k = i % TK, m = i / TK;
        bool in = m0 + m < M && k0 + k < K;
        as[k][m] = in ? ROUNDED(a[(size_t)(m0 + m) * (size_t)lda + (size_t)(k0 + k)]) : 0.0f;
#endif
    }
}

/* The same of TN columns of B; w_scale counts for int8 without B_ROWS. */
void load_b(__local float (*bs)[TN + 1], __global const B_TYPE *b, __global const float *w_scale, int n0,
            int k0, int N, int K, int ldb)
{
    int l = (int)(get_local_id(1) * 16 + get_local_id(0));
    for (int i = l; i < TN * TK; i += GROUP) {
#ifdef B_ROWS
        int n = i % TN, k = i / TN;
        bool in = n0 + n < N && k0 + k < K;
        bs[k][n] = in ? ROUNDED(B_LOAD((size_t)(k0 + k) * (size_t)ldb + (size_t)(n0 + n), k0 + k)) : 0.0f;
#else
        int k = i % TK, n = i / TK;
        bool in = n0 + n < N && k0 + k < K;
        bs[k][n] = in ? ROUNDED(B_LOAD((size_t)(n0 + n) * (size_t)ldb + (size_t)(k0 + k), k0 + k)) : 0.0f;
#endif
    }
}

/* y [M, N] = [y +] FUSE(C): a group a tile, 16 x SIDE work-items. */
__kernel __attribute__((reqd_work_group_size(16, SIDE, 1))) void
linear(__global float *y, ulong y_at, __global const float *a, ulong a_at, __global const B_TYPE *b,
       ulong b_at, __global const float *w_scale, ulong w_scale_at, __global const float *bias, ulong bias_at,
       __global float *pre, ulong pre_at, __global const float *gate, ulong gate_at,
       __global const float *residual, ulong residual_at, __global const float *add, ulong add_at, int M,
       int N, int K, int lda, int ldb, int rows, int gate_stride, uint flags)
{
    __local float as[TK][TM + 1], bs[TK][TN + 1];
    int m0 = (int)get_group_id(1) * TM, n0 = (int)get_group_id(0) * TN;
    float acc[ITEM_M][ITEM_N];
    clear_tile(acc);
    for (int k0 = 0; k0 < K; k0 += TK) {
        load_a(as, a + a_at, m0, k0, M, K, lda);
        load_b(bs, b + b_at, w_scale + w_scale_at, n0, k0, N, K, ldb);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tile(acc, as, bs);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    for (int i = 0; i < ITEM_M; i++)
        for (int j = 0; j < ITEM_N; j++) {
            int m = m0 + (int)get_local_id(1) + SIDE * i, n = n0 + (int)get_local_id(0) + 16 * j;
            if (m >= M || n >= N)
                continue;
            size_t at = (size_t)m * (size_t)N + (size_t)n;
            float v = acc[i][j];
#if W_TYPE == 3 && defined(B_ROWS)
            v *= w_scale[w_scale_at + (size_t)n];
#endif
            FUSE(v, m, n, at)
            if (FLAG(flags, LINEAR_BETA))
                v += y[y_at + at];
            y[y_at + at] = v;
        }
}
