/* SPDX-License-Identifier: Apache-2.0
 * tile.h: for linear.cl and conv of picture.cl: the product of a tile of A and one of B in local memory.
 *
 * The including file defines TK, TM = SIDE ITEM_M and TN = 16 ITEM_N. Work-item (tx, ty) of 16 x SIDE owns
 * the elements row ty + SIDE i, column tx + 16 j, i < ITEM_M, j < ITEM_N. */
INLINE void clear_tile(float acc[ITEM_M][ITEM_N])
{
#pragma unroll
    for (int i = 0; i < ITEM_M; i++)
#pragma unroll
        for (int j = 0; j < ITEM_N; j++)
            acc[i][j] = 0.0f;
}

/* acc [i][j] += sum over k < TK of as [k][row] bs [k][column], k in order */
INLINE void multiply_tile(float acc[ITEM_M][ITEM_N], __local float (*as)[TM + 1], __local float (*bs)[TN + 1])
{
    int tx = (int)get_local_id(0), ty = (int)get_local_id(1);
    for (int k = 0; k < TK; k++) {
        float am[ITEM_M], bn[ITEM_N];
#pragma unroll
        for (int i = 0; i < ITEM_M; i++)
            am[i] = as[k][ty + SIDE * i];
#pragma unroll
        for (int j = 0; j < ITEM_N; j++)
            bn[j] = bs[k][tx + 16 * j];
#pragma unroll
        for (int i = 0; i < ITEM_M; i++)
#pragma unroll
            for (int j = 0; j < ITEM_N; j++)
                acc[i][j] = mad(am[i], bn[j], acc[i][j]);
    }
}
