/* SPDX-License-Identifier: Apache-2.0
 * gemm.h: the products of linear layers, and which kernel computes which.
 *
 * Engines:
 *   block      cl/linear_block.cl: tiles in registers, fed through local memory. GPUs.
 *   registers  cl/linear_registers.cl: no local memory, no barriers. Processors. One side is
 *              loaded a number at a time, the other, [k][columns], as vectors. A side that lies the other
 *              way round is first transposed into the workspace (cl/transpose.cl): the smaller of the two,
 *              never a weight object.
 *   tile       cl/linear.cl: any shape, any storage; what the others leave.
 *   matrix cl/linear_matrix.cl: a matrix unit or its emulation. Operands in 16 bits, or f32 in 2 or 3
 * parts;
 *              more than one row a sample, whatever M is. It adds up in an order of its own.
 *   clblast    clblast.c: f32, more than one row a sample; what is fused into linear follows in a second
 *              launch (cl/epilogue.cl).
 * The first three add up in the same order, so that the choice among them may depend on M, and round their
 * operands where the precision is 16 bits. The others' order differs: whether they compute a product depends
 * on N and K alone.
 *
 * A weight object lies as [n_in][ld], ld = n_out rounded up (gemm_ld), one copy for forward and dx.
 */
#ifndef FDIT_HOST_OPENCL_GEMM_H
#define FDIT_HOST_OPENCL_GEMM_H

#include "state.h"

enum { WEIGHT_ALIGN = 16, TRANSPOSE_ITEMS = 8, GEMM_TEXT = 112 };

/* What is asked of a product. M rows (of all samples), N columns of the result, K summed over. */
struct gemm_shape {
    enum gemm_kind kind;
    enum fdit_dtype storage; /* of the matrix */
    bool plain;              /* a matrix as device.h has it, [n_out][n_in]; else a weight object */
    bool vectors;            /* one row a sample */
    int M, N, K;
    enum fdit_dtype operands; /* what both are rounded to; FDIT_F32 (0), FDIT_BF16X3: nothing is */
};

/* The configuration for a shape: forced, else tuned for its N and K, else the device's default. */
struct gemm_config fdit_gemm_choose(const struct opencl *cl, const struct gemm_shape *shape);
/* One configuration serves both: they differ in M at most, dW also in K, its rows. */
bool fdit_gemm_same_product(const struct gemm_shape *a, const struct gemm_shape *b);
/* Where cl->tuned has that product; n_tuned: it has not. */
int fdit_gemm_tuned_index(const struct opencl *cl, const struct gemm_shape *shape);
/* "tile im=4 nv=4 step=16", "block im=8 nv=4 bx=16 by=8 step=16", "registers im=4 vw=16 nv=4 group=8",
 * "matrix mma tm=128 tn=128 waves=2 group=256 step=32", "matrix emulated-mma", "clblast", or "default"; what
 * is left out keeps its value. The other way is for messages and files. */
bool fdit_gemm_config_parse(const char *text, struct gemm_config *out);
void fdit_gemm_config_text(const struct gemm_config *c, char out[GEMM_TEXT]);
/* Bytes of workspace that the choice needs. */
size_t fdit_gemm_workspace(const struct opencl *cl, const struct gemm_shape *shape);
/* Builds what the choice needs; a failure is sticky. */
void fdit_gemm_prepare(fdit_device *dev, const struct gemm_shape *shape);
/* The device's default, tuned or not. */
struct gemm_config fdit_gemm_default(const struct opencl *cl, const struct gemm_shape *shape);
/* Of the weight object of a product that has one. */
struct fdit_weight_desc fdit_gemm_weight_desc(const struct gemm_shape *shape);
/* Y = A W with nothing fused, for tune.c: buffers of tensors [M, K], [K, N] as the shape's kind has them, all
 * from their beginning, by this configuration or what it falls back to. */
void fdit_gemm_run(fdit_device *dev, const struct gemm_shape *shape, cl_mem w, fdit_buffer *a, fdit_buffer *y,
                   const struct gemm_config *config);
/* Whether these four numbers, a kind and a shape, are not yet among those whose engine --verbose has named;
 * they are then. Kinds from GEMM_KINDS on are others than products. */
enum { GEMM_KINDS = GEMM_DW + 1 };
bool fdit_gemm_unsaid(struct opencl *cl, const int what[4]);
/* Floats of W as fdit_gemm_run wants it. */
size_t fdit_gemm_matrix_floats(const struct opencl *cl, const struct gemm_shape *shape);
/* What the device's precision makes of a product's operands. */
enum fdit_dtype fdit_gemm_operands(const fdit_device *dev, const struct gemm_shape *shape);
/* The unit that passed its trial for operands of this type; NULL: none. */
const struct gemm_config *fdit_gemm_unit(const struct opencl *cl, enum fdit_dtype operands);
/* The products that an op of this shape may run; returns how many, at most 2. */
int fdit_gemm_shapes_of(const struct fdit_op_shape *op, struct gemm_shape out[2]);

/* The length of a row of n floats that we lay out ourselves: whole vectors. On processors an odd
 * number of cache lines, or the rows of a panel fall into the same few sets of the cache. */
static inline int gemm_ld(const struct opencl *cl, int n)
{
    int lines = (n + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN;
    return (cl->is_cpu ? lines | 1 : lines) * WEIGHT_ALIGN;
}

#endif
