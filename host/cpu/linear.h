/* SPDX-License-Identifier: Apache-2.0
 * linear.h: entries of the CPU device's table that linear.c holds besides those in cpu.h: weights.
 */
#ifndef FDIT_CPU_LINEAR_H
#define FDIT_CPU_LINEAR_H

#include "cpu/cpu.h"
#include "cpu/gemm.h"

bool fdit_cpu_supports_storage(const fdit_device *dev, enum fdit_dtype storage);
size_t fdit_cpu_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc);
enum fdit_status fdit_cpu_weight_new(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                     const float *data, void **handle);
void fdit_cpu_weight_free(fdit_device *dev, void *handle);
/* Our own kernels in f32 go on with it in the tile; others would need it in another order. */
bool fdit_cpu_fuses_low(const fdit_device *dev);
/* A weight that was made for conv, as B of g. */
struct fdit_gemm;
void fdit_cpu_conv_panels(const fdit_weight *weight, struct fdit_gemm *g);
/* The same of a conv in groups, [kernel_y kernel_x n_in / groups][n_out]. */
const float *fdit_cpu_conv_groups(const fdit_weight *weight);
enum fdit_gemm_act fdit_cpu_gemm_act(enum fdit_act act);

#endif
