/* SPDX-License-Identifier: Apache-2.0
 * programs.h: the programs and their kernels, in one list; a kernel of cl/ is added here and nowhere else.
 * Products and attention are not in it: they are built for options found at run time. */
#ifndef FDIT_HOST_OPENCL_PROGRAMS_H
#define FDIT_HOST_OPENCL_PROGRAMS_H

/* clang-format off */
/* Each: KERNEL_x, and the name in the file. */
#define OPENCL_TRANSPOSE(K) \
    K(TRANSPOSE, "transpose")

#define OPENCL_NORM(K) \
    K(NORM, "norm") \
    K(MODULATE, "modulate") \
    K(NORM_DX, "norm_dx") \
    K(NORM_DVECTORS, "norm_dvectors")

#define OPENCL_QUANTISE(K) \
    K(QUANTISE, "quantise")

#define OPENCL_REDUCE(K) \
    K(COLUMN_SUMS, "column_sums") \
    K(SUM_SQUARES, "sum_squares") \
    K(SUM_ALL, "sum_all") \
    K(CLIP_SCALE, "clip_scale")

#define OPENCL_POINTWISE(K) \
    K(GATE, "gate") \
    K(ACTIVATION, "activation") \
    K(ACTIVATION_BACKWARD, "activation_backward") \
    K(AXPY, "axpy") \
    K(GATHER, "gather") \
    K(SCATTER_ADD, "scatter_add") \
    K(COPY_COLUMNS, "copy_columns") \
    K(PATCHIFY, "patchify") \
    K(QK_NORM, "qk_norm") \
    K(QK_NORM_BACKWARD, "qk_norm_backward") \
    K(TOKEN_MEAN_BACKWARD, "token_mean_backward") \
    K(DIFFUSE, "diffuse") \
    K(TO_BF16, "to_bf16") \
    K(FROM_BF16, "from_bf16")

#define OPENCL_DIFFUSION(K) \
    K(DIFFUSION_LOSS, "diffusion_loss") \
    K(VELOCITY_LOSS, "velocity_loss") \
    K(CROSS_ENTROPY, "cross_entropy") \
    K(SAMPLER, "sampler")

#define OPENCL_OPTIMISER(K) \
    K(ADAMW, "adamw") \
    K(LION, "lion")

#define OPENCL_PICTURE(K) \
    K(CONV, "conv") \
    K(CONV_GROUPS, "conv_groups") \
    K(CHANNEL_MOMENTS, "channel_moments") \
    K(GROUP_STATS, "group_stats") \
    K(GROUP_APPLY, "group_apply") \
    K(SOFTMAX, "softmax") \
    K(POOLING, "pooling") \
    K(PATCHES, "patches")

/* Each: PROGRAM_x, its file of cl/, its kernels. */
#define OPENCL_PROGRAMS(P) \
    P(TRANSPOSE, "transpose.cl", OPENCL_TRANSPOSE) \
    P(NORM, "norm.cl", OPENCL_NORM) \
    P(QUANTISE, "quantise.cl", OPENCL_QUANTISE) \
    P(REDUCE, "reduce.cl", OPENCL_REDUCE) \
    P(POINTWISE, "pointwise.cl", OPENCL_POINTWISE) \
    P(DIFFUSION, "diffusion.cl", OPENCL_DIFFUSION) \
    P(OPTIMISER, "optimiser.cl", OPENCL_OPTIMISER) \
    P(PICTURE, "picture.cl", OPENCL_PICTURE)
/* clang-format on */

enum { PROGRAM_KERNELS = 16 }; /* most of a program */

#define PROGRAM_ENUM(name, file, kernels) PROGRAM_##name,
#define KERNEL_ENUM(name, text) KERNEL_##name,
#define KERNELS_ENUM(name, file, kernels)                                        \
    enum { kernels(KERNEL_ENUM) KERNELS_OF_##name }; /* places in the program */ \
    _Static_assert((int)KERNELS_OF_##name <= (int)PROGRAM_KERNELS, "PROGRAM_KERNELS is too small");

enum program { OPENCL_PROGRAMS(PROGRAM_ENUM) PROGRAM_COUNT };
OPENCL_PROGRAMS(KERNELS_ENUM)

#endif
