/* SPDX-License-Identifier: Apache-2.0
 * ops.h: all ops of the CPU device but the linear family. Meanings, shapes and aliasing: device.h.
 *
 * How the same bits come out for any number of threads, and for a sample in any batch: work is cut into
 * pieces by the shape of one sample (or, for sums over everything, of the whole problem); a piece's
 * arithmetic depends on nothing else; sums of pieces are combined in ascending order. */
#ifndef FDIT_CPU_OPS_H
#define FDIT_CPU_OPS_H

#include "cpu/cpu.h"

/* ops_rows.c */
void fdit_cpu_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a);
void fdit_cpu_norm(fdit_device *dev, const struct fdit_norm_args *a);
void fdit_cpu_modulate(fdit_device *dev, const struct fdit_modulate_args *a);
void fdit_cpu_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a);
void fdit_cpu_gate(fdit_device *dev, const struct fdit_gate_args *a);
void fdit_cpu_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a);
void fdit_cpu_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a);
void fdit_cpu_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a);

/* ops_attention.c */
void fdit_cpu_attention(fdit_device *dev, const struct fdit_attention_args *a);
void fdit_cpu_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a);

/* ops_elementwise.c */
void fdit_cpu_activation(fdit_device *dev, const struct fdit_activation_args *a);
void fdit_cpu_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a);
void fdit_cpu_axpy(fdit_device *dev, const struct fdit_axpy_args *a);
void fdit_cpu_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a);
void fdit_cpu_sampler(fdit_device *dev, const struct fdit_sampler_args *a);
void fdit_cpu_adamw(fdit_device *dev, const struct fdit_adamw_args *a);
void fdit_cpu_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a);
void fdit_cpu_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a);
void fdit_cpu_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value);
void fdit_cpu_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);

/* ops_index.c */
void fdit_cpu_gather(fdit_device *dev, const struct fdit_gather_args *a);
void fdit_cpu_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a);
void fdit_cpu_patchify(fdit_device *dev, const struct fdit_patchify_args *a);
void fdit_cpu_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a);

/* ops_loss.c */
void fdit_cpu_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a);
void fdit_cpu_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a);

/* ops_picture.c */
void fdit_cpu_conv(fdit_device *dev, const struct fdit_conv_args *a);
void fdit_cpu_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a);
void fdit_cpu_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a);
void fdit_cpu_softmax(fdit_device *dev, const struct fdit_softmax_args *a);
size_t fdit_cpu_picture_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);

/* Bytes of workspace that one of these ops needs for the shape; 0 for most. Of the shape it reads
 * samples, rows and n_out (the width) for column_sum, norm_backward and gate_backward; samples, rows,
 * heads and head_size for attention. Never falls when a size grows. */
size_t fdit_cpu_op_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape);

/* The workspace, or NULL after a device error when fewer than `bytes` are reserved. */
float *fdit_cpu_scratch(fdit_device *dev, enum fdit_op op, size_t bytes);

#endif
