/* SPDX-License-Identifier: Apache-2.0
 * matrix.h: the matrix units that cl/linear_matrix.cl and attention_matrix.cl are written for, and their
 * usual tiles. */
#ifndef FDIT_HOST_OPENCL_MATRIX_H
#define FDIT_HOST_OPENCL_MATRIX_H

#include "state.h"

struct matrix_unit {
    const char *name;
    int number;          /* UNIT of cl/unit.h */
    int m, n, lanes;     /* of an instruction; K is 16 */
    int tm, tn, waves_m; /* the usual tile, of 2 tm items */
    int small_waves_m;   /* of a tile of 32 x 32 by 64 items, for an emulation */
    /* attention: hardware threads along 64 rows, and across them; half as many along 32, for heads beyond
     * 80 */
    int heads_m, heads_n, wide_n;
    int a_words, b_words; /* of a lane's fragments: what an emulation takes */
};

/* Parts of bf16 of an operand: 3 have all digits of f32, 2 for bf16x3; 1 is rounded. */
int fdit_matrix_parts(enum fdit_dtype operands);

/* By name, "mma"; NULL: none. */
const struct matrix_unit *fdit_matrix_unit_find(const char *name);
const struct matrix_unit *fdit_matrix_unit_at(int i); /* NULL behind the last */
/* The usual configuration; emulated: a small one. */
struct gemm_config fdit_matrix_config(const struct matrix_unit *unit, bool emulated);
bool fdit_matrix_valid(const struct gemm_config *c);
/* Of local memory that a group takes, without an emulation's own. */
size_t fdit_matrix_local_bytes(const struct gemm_config *c);
/* Halves the tile and its group until they fit. The bits of a result do not change. */
void fdit_matrix_fit(struct gemm_config *c, size_t local_bytes);
/* A group of attention_matrix.cl; an emulation's is small. False: none for this head size, or its backward
 * pass does not fit into the local memory. */
struct matrix_heads {
    int rows, items, waves_m;
};
enum { MATRIX_HEAD_MOST = 128 };
bool fdit_matrix_heads(const struct gemm_config *c, int head_size, size_t local_bytes,
                       struct matrix_heads *out);
/* "-DUNIT=1 ..." for attention_matrix.cl, but for the kernel, the type and -DALIGNED. */
void fdit_matrix_heads_options(const struct gemm_config *c, const struct matrix_heads *h, int head_size,
                               char out[120]);
/* "-DUNIT=1 ..." for linear_matrix.cl, but for what depends on the product. */
void fdit_matrix_options(const struct gemm_config *c, char out[120]);

#endif
