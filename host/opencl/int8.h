/* SPDX-License-Identifier: Apache-2.0
 * int8.h: products of whole numbers, in the precision int8: the activations of a product become int8 row by
 * row (cl/quantise.cl), in the workspace, and are multiplied by frozen weights that are kept as int8. The
 * sums are exact, so that all engines give the same bits. */
#ifndef FDIT_HOST_OPENCL_INT8_H
#define FDIT_HOST_OPENCL_INT8_H

#include "gemm.h"

/* Bytes of a row of K int8: whole fours of words. */
static inline size_t int8_ld(int K)
{
    return ((size_t)K + 15) / 16 * 16;
}
/* Where the rows begin in the workspace, behind their M factors, in bytes. */
static inline size_t int8_rows_at(int M)
{
    return ((size_t)M + 3) / 4 * 4 * sizeof(float);
}
/* Of the workspace, for M rows of K; SIZE_MAX: too many. */
size_t fdit_int8_workspace(int M, int K);
/* x [M, K] to the workspace. */
void fdit_int8_quantise(fdit_device *dev, struct fdit_tensor x, int M, int K);

/* Sets cl->dot, once for an open device: the first of the ways to multiply four int8 at a time that the
 * device may have whose results are right, else plain arithmetic. */
void fdit_int8_find_dot(fdit_device *dev);
/* What multiplies where no matrix unit does, in words. */
const char *fdit_int8_engine(fdit_device *dev);

#endif
