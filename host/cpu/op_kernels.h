/* SPDX-License-Identifier: Apache-2.0
 * op_kernels.h: the kernels behind all ops but the linear family, one table per instruction set.
 *
 * They work on plain pointers and know nothing of devices or threads; the drivers (ops_*.c) cut the work
 * into pieces. Two properties are promised to them: an element-wise kernel computes each element alone,
 * so that pieces may begin anywhere; a sum is taken in an order that depends only on the sizes passed.
 * Pointers need no alignment unless an entry says so. */
#ifndef FDIT_CPU_OP_KERNELS_H
#define FDIT_CPU_OP_KERNELS_H

#include "device/backend.h"

/* One row of norm or modulate; NULL where the op's tensor is absent. */
struct fdit_cpu_norm_row {
    float *y, *xhat, *rstd;
    const float *x;
    const float *weight, *bias; /* both or neither */
    const float *shift, *scale; /* both or neither */
};

/* Rows of one sample in norm_backward. */
struct fdit_cpu_norm_backward_rows {
    int rows, width;
    float *dx; /* NULL: only the sums are wanted */
    bool accumulate;
    const float *dy, *xhat, *rstd;
    const float *weight, *scale; /* each may be NULL: 1, and 0 */
    float *sum_dy, *sum_dy_xhat; /* out [width]: sums over the rows; both or neither */
};

/* One channel of one picture in the sampler: pieces of n pixels. */
struct fdit_cpu_sampler_piece {
    size_t n;
    float *x_next, *old;                         /* old may be NULL */
    const float *x, *eps, *eps_uncond, *var, *z; /* eps_uncond, z: may be NULL */
};

/* Pieces of one channel of one sample in diffusion_loss, t > 0. */
struct fdit_cpu_loss_piece {
    size_t n;
    float *deps, *dvar; /* both or neither */
    const float *eps, *var, *noise;
    float grad_scale, grad_scale_vb; /* scale_b / (C n), scale_vb_b / (C n) */
};

/* Attention. Rows of q, k, v (and of their gradients) are `stride` floats apart, rows of out and dout
 * `out_stride`. One call does one head of one sample. */
struct fdit_cpu_attention_head {
    int rows, head_size;
    size_t stride, out_stride;
    const float *q, *k, *v;
    float *out, *lse;                  /* forward: outputs, lse may be NULL */
    const float *dout, *o_in, *lse_in; /* backward: o_in is the forward's out */
    float *dq, *dk, *dv;               /* backward: outputs */
};

struct fdit_cpu_attention_kernels {
    int forward_query_tile;                     /* queries in a tile of the forward pass, */
    int backward_query_tile, backward_key_tile; /* queries and keys in one of the backward pass */
    /* Floats of scratch that one thread needs, for heads of this size. */
    size_t (*forward_floats)(int rows, int head_size);
    size_t (*backward_floats)(int rows, int head_size);
    /* Packs K and V of a head into scratch (4096-byte aligned), ... */
    void (*forward_pack)(const struct fdit_cpu_attention_head *h, float *scratch);
    /* ... which serves any of its query tiles, in any order. */
    void (*forward_tile)(const struct fdit_cpu_attention_head *h, int query_tile, float *scratch);
    /* dQ, dK and dV of a whole head, */
    void (*backward_head)(const struct fdit_cpu_attention_head *h, float *scratch);
    /* or the same bits by pieces: dK and dV of one key tile; dQ of one query tile. */
    void (*backward_keys)(const struct fdit_cpu_attention_head *h, int key_tile, float *scratch);
    void (*backward_queries)(const struct fdit_cpu_attention_head *h, int query_tile, float *scratch);
};

/* Where a convolution in groups looks: taps first .. end - 1 each way of a window that begins at (row,
 * column) of the picture x, every pixel of which counts 1 << up times.
 * weight: [kernel_y kernel_x n_in / groups][n_out] */
struct fdit_cpu_window {
    const float *x, *weight;
    long row, column;
    int first_y, end_y, first_x, end_x, up;
};

/* Pictures as rows of channels. */
struct fdit_cpu_picture_kernels {
    /* Of `rows` rows of x [rows][width]: mean [width], and m2 [width] = the sum of (x - mean)^2. */
    void (*moments)(float *mean, float *m2, const float *x, int rows, int width);
    /* y = act((x - mean[c]) scale[c] + bias[c]); y may be x. */
    void (*normalise)(float *y, const float *x, const float *mean, const float *scale, const float *bias,
                      int rows, int width, enum fdit_act act);
    /* y = softmax(scale x); y may be x. */
    void (*softmax)(float *y, const float *x, int n, float scale);
    /* y [channels] = the maximum of rows x columns pixels from x on, their rows `row` elements apart, or with
     * `count` their sum over it. */
    void (*pool)(float *y, const float *x, size_t row, int rows, int columns, int channels, float count);
    /* One pixel y [n_out] of a convolution in groups; y may be the residual. */
    void (*grouped)(const struct fdit_conv_args *a, const struct fdit_cpu_window *w, float *y,
                    const float *bias, const float *residual);
};

/* What the processor can reach, for fdit_device_peak. */
struct fdit_cpu_probe_kernels {
    /* `rounds` rounds of independent multiply-adds on registers; returns how many operations a round
     * counts, the multiplication and the addition each. *sink takes what keeps them from being left out. */
    double (*multiply_add)(size_t rounds, float *sink);
};

struct fdit_cpu_op_kernels {
    int vlen;

    /* Element-wise; outputs may be an input. */
    void (*activation)(float *y, const float *x, size_t n, enum fdit_act act);
    void (*activation_backward)(float *dx, const float *dy, const float *x, size_t n, enum fdit_act act);
    void (*axpy)(float *y, const float *x, size_t n, float alpha, int beta);
    /* y = a x + b z */
    void (*blend)(float *y, const float *x, const float *z, size_t n, float a, float b);
    /* As fdit_copy converts. */
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    void (*from_bf16)(float *y, const uint16_t *x, size_t n);
    void (*gate)(float *y, const float *residual, const float *branch, const float *gate, size_t n);
    void (*sampler)(const struct fdit_sampler_step_args *a, const struct fdit_cpu_sampler_piece *p);
    /* g is multiplied by `scale` first. ema may be NULL. */
    void (*adamw)(const struct fdit_adamw_args *a, float scale, float *p, const float *g, float *m, float *v,
                  float *ema, size_t n);

    void (*lion)(const struct fdit_lion_args *a, float scale, float *p, const float *g, float *m, float *ema,
                 size_t n);

    /* The sum of squares; f32 within 4096 elements, then double. */
    double (*sum_squares)(const float *x, size_t n);
    /* acc[c] = sum over rows of x[r * stride + c]; four rows a time. */
    void (*sum_rows)(float *acc, const float *x, int rows, size_t stride, size_t n);
    /* Adds the sums of the squared error and of the KL term (nats) to sums[0], sums[1]. */
    void (*loss)(const struct fdit_loss_coef *coef, const struct fdit_cpu_loss_piece *p, double sums[2]);

    /* Rows. */
    void (*norm)(const struct fdit_cpu_norm_row *row, int width);
    void (*modulate)(const struct fdit_cpu_norm_row *row, const float *xhat, int width);
    void (*norm_backward)(const struct fdit_cpu_norm_backward_rows *r);
    /* dbranch (may be NULL, may be branch) = gate * dy; sum (may be NULL) [width] = sum of dy * branch. */
    void (*gate_backward)(float *dbranch, float *sum, const float *dy, const float *branch, const float *gate,
                          int rows, int width);

    const struct fdit_cpu_attention_kernels *attention;
    const struct fdit_cpu_picture_kernels *picture;
    const struct fdit_cpu_probe_kernels *probe;
};

extern const struct fdit_cpu_op_kernels fdit_cpu_op_kernels_generic;
extern const struct fdit_cpu_op_kernels fdit_cpu_op_kernels_avx2;
extern const struct fdit_cpu_op_kernels fdit_cpu_op_kernels_avx512;
extern const struct fdit_cpu_op_kernels fdit_cpu_op_kernels_wide;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_generic;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_avx2;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_avx512;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_wide;
extern const struct fdit_cpu_picture_kernels fdit_cpu_picture_kernels_generic;
extern const struct fdit_cpu_picture_kernels fdit_cpu_picture_kernels_avx2;
extern const struct fdit_cpu_picture_kernels fdit_cpu_picture_kernels_avx512;
extern const struct fdit_cpu_picture_kernels fdit_cpu_picture_kernels_wide;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_avx512bf16;
extern const struct fdit_cpu_attention_kernels fdit_cpu_attention_kernels_amx;
extern const struct fdit_cpu_probe_kernels fdit_cpu_probe_kernels_generic;
extern const struct fdit_cpu_probe_kernels fdit_cpu_probe_kernels_avx2;
extern const struct fdit_cpu_probe_kernels fdit_cpu_probe_kernels_avx512;
extern const struct fdit_cpu_probe_kernels fdit_cpu_probe_kernels_wide;

#endif
