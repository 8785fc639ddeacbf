/* SPDX-License-Identifier: Apache-2.0
 * matrix.h: the matrix units that cl/linear_matrix.cl is written for, and their usual tiles. */
#ifndef FDIT_HOST_OPENCL_MATRIX_H
#define FDIT_HOST_OPENCL_MATRIX_H

#include "state.h"

struct matrix_unit {
    const char *name;
    int number;          /* UNIT of cl/unit.h */
    int m, n, lanes;     /* of an instruction; K is 16 */
    int tm, tn, waves_m; /* the usual tile, of 2 tm items */
    int small_waves_m;   /* of a tile of 32 x 32 by 64 items, for an emulation */
};

enum { MATRIX_PARTS_F32 = 3 };

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
/* "-DUNIT=1 ..." for linear_matrix.cl, but for what depends on the product. */
void fdit_matrix_options(const struct gemm_config *c, char out[120]);

#endif
