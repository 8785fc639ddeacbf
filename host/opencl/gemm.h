/* SPDX-License-Identifier: Apache-2.0
 * gemm.h: the products of linear layers, and which kernel computes which.
 *
 * Three engines:
 *   tile       cl/linear.cl: tiles through local memory; any shape, any storage. GPUs.
 *   registers  cl/linear_registers.cl: no local memory, no barriers. Processors. It reads one side
 * by numbers and the other, [k][columns], by vectors; a side that lies the other way round is
 * transposed into the workspace first (cl/transpose.cl), the smaller of the two: never a weight
 * object. clblast    CLBlast's Sgemm, where it was built in; f32 only; what is fused into linear
 * follows in a second launch.
 *
 * A weight object lies as [n_in][ld], ld = n_out rounded up (gemm_ld), one copy for forward and dx.
 */
#ifndef FDIT_HOST_OPENCL_GEMM_H
#define FDIT_HOST_OPENCL_GEMM_H

#include "state.h"

enum { WEIGHT_ALIGN = 16, TRANSPOSE_ITEMS = 8 };

/* What is asked of a product. M rows (of all samples), N columns of the result, K summed over. */
struct gemm_shape {
    enum gemm_kind kind;
    enum fdit_dtype storage; /* of the matrix */
    bool plain;              /* a matrix as device.h has it, [n_out][n_in]; else a weight object */
    bool vectors;            /* one row a sample */
    int M, N, K;
};

/* The configuration for a shape: tuned for it or for its kind, else the device's default. */
struct gemm_config gemm_choose(const struct opencl *cl, const struct gemm_shape *shape);
/* "tile im=4 nv=4 step=16", "registers im=4 vw=16 nv=4 group=8", "clblast"; what is left out keeps
 * its value. The other way is for messages and files. */
bool gemm_config_parse(const char *text, struct gemm_config *out);
void gemm_config_text(const struct gemm_config *c, char out[64]);
/* Bytes of workspace that the choice needs. */
size_t gemm_workspace(const struct opencl *cl, const struct gemm_shape *shape);
/* Builds what the choice needs; a failure is sticky. */
void gemm_prepare(fdit_device *dev, const struct gemm_shape *shape);

/* The length of a row of n floats that we lay out ourselves: whole vectors. On processors an odd
 * number of cache lines, or the rows of a panel fall into the same few sets of the cache. */
static inline int gemm_ld(const struct opencl *cl, int n)
{
    int lines = (n + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN;
    return (cl->is_cpu ? lines | 1 : lines) * WEIGHT_ALIGN;
}

#endif
