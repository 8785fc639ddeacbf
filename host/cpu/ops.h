/* SPDX-License-Identifier: Apache-2.0
 * ops.h: all ops of the CPU device. Meanings, shapes and aliasing: device.h.
 *
 * How the same bits come out for any number of threads, and for a sample in any batch: work is cut into
 * pieces by the shape of one sample (or, for sums over everything, of the whole problem); a piece's
 * arithmetic depends on nothing else; sums of pieces are combined in ascending order. */
#ifndef FDIT_CPU_OPS_H
#define FDIT_CPU_OPS_H

#include "cpu/cpu.h"

#define OP(entry, ENUM, arguments) void fdit_cpu_##entry(fdit_device *dev, const struct fdit_##arguments *a);
#include "device/op_list.h"
void fdit_cpu_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value);
void fdit_cpu_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);

size_t fdit_cpu_rows_workspace(const struct fdit_op_shape *shape);
size_t fdit_cpu_picture_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);

/* workspace.c */
/* Bytes of workspace that an op needs for the shape; 0 for most. Of the shape it reads
 * samples, rows and n_out (the width) for column_sum, norm_backward and gate_backward; samples, rows,
 * heads and head_size for attention. Never falls when a size grows. */
size_t fdit_cpu_op_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);

/* The workspace, or NULL after a device error when fewer than `bytes` are reserved. */
float *fdit_cpu_scratch(fdit_device *dev, enum fdit_op op, size_t bytes);

#endif
