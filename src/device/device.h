/* SPDX-License-Identifier: Apache-2.0
 * device.h: what a device can do, for those who compute on it. How a back end is made: backend.h.
 *
 * Rules that hold for every op
 * - Tensors are buffer + element offset + type, contiguous, row-major. Shapes are in the arguments.
 *   Types are FDIT_F32 unless an entry says otherwise; row indices are FDIT_I32.
 * - Compute entries return nothing. The first failure stays in the device with the op's name and shapes
 *   (sticky); later ops do nothing; fdit_device_sync and reads return it.
 * - Work is queued in order. A host pointer passed to write may be reused when the call returns. Only
 *   read, read_end and sync wait.
 * - Gradients into parameters obey `beta`: 0 overwrites, 1 accumulates. Gradients into activations
 *   overwrite, unless the entry says that it accumulates.
 * - Accumulation is f32 or better. NaN and infinity propagate. The same inputs, device and build give
 *   bitwise the same output for any thread count, and each sample's rows are bitwise independent of the
 *   other samples in the batch. No float atomics, fixed reduction trees.
 * - Vectors of which each sample has one (gate, shift, scale) start a stride apart; an input's stride may
 *   be 0: one for all samples.
 * - Outputs must not overlap inputs, except where an entry allows it. An optional tensor is absent when
 *   its buffer is NULL.
 * - No allocation inside an op: scratch comes from the workspace (see workspace_bytes).
 *
 * Letters: B samples, N tokens a sample, D width, H heads, dh = D/H, M = B N. */
#ifndef FDIT_DEVICE_DEVICE_H
#define FDIT_DEVICE_DEVICE_H

#include "core/status.h"

/* FDIT_BF16X3 is a precision of products alone: each operand in two parts of bf16, of whose four products
 * the three largest are added; about 16 digits of an operand. */
enum fdit_dtype { FDIT_F32, FDIT_I32, FDIT_BF16, FDIT_F16, FDIT_I8, FDIT_BF16X3 };
size_t fdit_dtype_bytes(enum fdit_dtype type);
const char *fdit_dtype_name(enum fdit_dtype type); /* "f32", "i32", "bf16", "f16", "int8", "bf16x3" */

/* ReLU: 0 where x < 0, else x; its slope at 0 is 0. GELU_ERF: x (1 + erf(x / sqrt 2)) / 2, which GELU_TANH
 * comes within 5e-4 of. */
enum fdit_act { FDIT_ACT_NONE, FDIT_ACT_GELU_TANH, FDIT_ACT_SILU, FDIT_ACT_RELU, FDIT_ACT_GELU_ERF };
enum { FDIT_ACT_LAST = FDIT_ACT_GELU_ERF };

typedef struct fdit_device fdit_device;
typedef struct fdit_buffer fdit_buffer; /* device memory */
typedef struct fdit_weight fdit_weight; /* a frozen matrix in the device's own storage and packing */

struct fdit_tensor {
    fdit_buffer *buffer;
    size_t offset; /* in elements of `type` */
    enum fdit_dtype type;
};
#define FDIT_NO_TENSOR ((struct fdit_tensor){ 0 })
static inline struct fdit_tensor fdit_at(struct fdit_tensor t, size_t elements)
{
    t.offset += elements;
    return t;
}
static inline bool fdit_has(struct fdit_tensor t)
{
    return t.buffer != NULL;
}

/* ---------------------------------------------------------------------------------- arguments */

/* y [M, n_out] = act(z), z = x [M, n_in] W^T + low low_matrix^T + b + add, optionally
 * y = residual + gate * act(z). W [n_out, n_in] is `weight` (frozen) or `matrix` (plain f32 tensor): exactly
 * one of the two. low and low_matrix, the outer factor of a low-rank adapter and what goes into it, only with
 * a weight, and only on a device that has fdit_device_fuses_low; others are given that product as `add`.
 * With beta 1, y += act(z); beta 1 excludes gate and residual.
 * y may be the same tensor as residual. Summation over n_in is never split. */
struct fdit_linear_args {
    int samples, tokens, n_in, n_out; /* B, N; per-sample vectors have tokens = 1 */
    bool band; /* tokens are some of a picture's pixels, even one: the bits do not depend on how many */
    struct fdit_tensor y, x;
    const fdit_weight *weight;
    struct fdit_tensor matrix;
    struct fdit_tensor bias; /* optional [n_out] */
    /* Optional [M, n_out]: what another product, as a low-rank adapter's, gives to z. */
    struct fdit_tensor add;
    struct fdit_tensor low, low_matrix; /* optional, both: [M, low_rank], [n_out, low_rank] */
    int low_rank;                       /* 0 without them */
    enum fdit_act act;
    struct fdit_tensor pre;  /* optional out [M, n_out]: z, before act, gate and residual */
    struct fdit_tensor gate; /* optional: row b starts at gate + b * gate_stride, n_out long */
    int gate_stride;
    struct fdit_tensor residual; /* optional [M, n_out], or [N, n_out] with residual_shared */
    bool residual_shared;        /* the same residual rows for every sample (position table) */
    int beta;
};

/* dx [M, n_in] = beta dx + z, z = dy [M, n_out] W + low low_matrix + add.  With act: dx = z * act'(pre), pre
 * [M, n_in] being the argument of the activation that made x; act excludes beta 1. Frozen or plain W as in
 * linear. low and low_matrix, the gradient of what a low-rank adapter's inner factor gives and that factor,
 * as in linear; on a device that does not fuse them the adapter's own linear_dx gives `add`. */
struct fdit_linear_dx_args {
    int samples, tokens, n_in, n_out;
    bool band; /* as in linear */
    struct fdit_tensor dx, dy;
    const fdit_weight *weight;
    struct fdit_tensor matrix;
    struct fdit_tensor add;             /* optional [M, n_in] */
    struct fdit_tensor low, low_matrix; /* optional, both: [M, low_rank], [low_rank, n_in] */
    int low_rank;                       /* 0 without them */
    enum fdit_act act;
    struct fdit_tensor pre;
    int beta;
};

/* dw [n_out, n_in] = beta dw + dy^T x, summed over all M rows in a fixed order. */
struct fdit_linear_dw_args {
    int samples, tokens, n_in, n_out;
    struct fdit_tensor dw, dy, x;
    int beta;
};

/* db [n] = beta db + sum over m of dy [m, n], fixed order. */
struct fdit_column_sum_args {
    int m, n;
    struct fdit_tensor db, dy;
    int beta;
};

/* xhat = (x - mean) * rstd, rstd = 1/sqrt(var + 1e-6), biased variance over D, two passes;
 * u = xhat * weight + bias (absent: weight 1, bias 0); y = u * (1 + scale) + shift (absent: y = u).
 * shift, scale: row b starts at b * mod_stride, D long; both or neither. y may be absent when only the
 * statistics are wanted. */
struct fdit_norm_args {
    int samples, tokens, width;
    struct fdit_tensor y, x;
    struct fdit_tensor weight, bias; /* optional [D], both or neither */
    struct fdit_tensor shift, scale; /* optional */
    int mod_stride;
    struct fdit_tensor xhat; /* optional out [M, D] */
    struct fdit_tensor rstd; /* optional out [M] */
};

/* y = u * (1 + scale) + shift with u = xhat * weight + bias: rebuilds the output of norm from xhat. */
struct fdit_modulate_args {
    int samples, tokens, width;
    struct fdit_tensor y, xhat;
    struct fdit_tensor weight, bias, shift, scale;
    int mod_stride;
};

/* Backward of norm. With s_b = 1 + scale_b (1 when absent), w = weight (1 when absent):
 *   dshift_b = sum_n dy;  P_b = sum_n dy * xhat;  dscale_b = w P_b + bias dshift_b   (overwritten)
 *   dweight = beta dweight + sum_b s_b P_b;  dbias = beta dbias + sum_b s_b dshift_b
 *   g = dy s w;  dx = [dx if accumulate] + rstd (g - mean_D(g) - xhat mean_D(g xhat))
 * dshift, dscale: row b at b * dmod_stride. Any of dx, dshift + dscale, dweight + dbias may be absent. */
struct fdit_norm_backward_args {
    int samples, tokens, width;
    struct fdit_tensor dx;
    bool accumulate;
    struct fdit_tensor dshift, dscale;
    int dmod_stride;
    struct fdit_tensor dweight, dbias;
    int beta;
    struct fdit_tensor dy, xhat, rstd;
    struct fdit_tensor weight, bias, scale;
    int mod_stride;
};

/* y [B, N, 3, H, dh] from x, the q, k and v of attention: each head's q and k is normalised over its dh
 * numbers, xhat = (x - mean) rstd, rstd = 1/sqrt(var + 1e-5), biased variance, and becomes xhat weight +
 * bias with the vectors [dh] that all heads share; v stays. y may be x. (Henry et al., arXiv 2010.04245;
 * with this eps, not that of norm, as in SiT and REPA.) */
struct fdit_qk_norm_args {
    int samples, tokens, heads, head_size;
    struct fdit_tensor y, x;
    struct fdit_tensor q_weight, q_bias, k_weight, k_bias;
    struct fdit_tensor xhat; /* optional out [B, N, 2, H, dh] */
    struct fdit_tensor rstd; /* optional out [B, N, 2, H] */
};

/* Backward: with g = dy weight, dx = rstd (g - mean(g) - xhat mean(g xhat)) for q and k, dy for v; dx may
 * be dy. The gradients of the four vectors are the sums over all tokens (column_sum) of these outputs [B
 * N, dh], which are sums over a token's heads: q_weight of dy xhat, q_bias of dy, and so for k. */
struct fdit_qk_norm_backward_args {
    int samples, tokens, heads, head_size;
    struct fdit_tensor dx, dy;
    struct fdit_tensor dq_weight, dq_bias, dk_weight, dk_bias;
    struct fdit_tensor xhat, rstd, q_weight, k_weight;
};

/* out [B, N, H, dh] = softmax(q k^T dh^-0.5) v for each sample and head, from qkv [B, N, 3, H, dh].
 * lse [B, H, N] (optional out) = log of the sum of exp of the scaled scores of a row.
 * Never holds N x N for all heads at once. dh up to 128. */
struct fdit_attention_args {
    int samples, tokens, heads, head_size;
    struct fdit_tensor out, lse, qkv;
};

/* dqkv [B, N, 3, H, dh] from dout [B, N, H, dh] and the forward's qkv, out and lse; the probabilities are
 * computed again: P = exp(q k^T dh^-0.5 - lse), dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), ... */
struct fdit_attention_backward_args {
    int samples, tokens, heads, head_size;
    struct fdit_tensor dqkv, dout, qkv, out, lse;
};

/* Forward y = residual + gate * branch (residual absent: 0; y may be the residual).
 * Backward (gate_backward): dbranch = gate * dy [M, D], dgate_b = sum_n dy * branch (overwritten; row b at
 * b * dgate_stride). dbranch may be the same tensor as branch. Either output may be absent. */
struct fdit_gate_args {
    int samples, tokens, width;
    struct fdit_tensor y, residual, branch, gate;
    int gate_stride;
};
struct fdit_gate_backward_args {
    int samples, tokens, width;
    struct fdit_tensor dbranch, dgate;
    int dgate_stride;
    struct fdit_tensor dy, branch, gate;
    int gate_stride;
};

/* activation: y = act(x). activation_backward: dx = dy * act'(x). n elements; in place allowed. */
struct fdit_activation_args {
    size_t n;
    enum fdit_act act;
    struct fdit_tensor y, x;
};
struct fdit_activation_backward_args {
    size_t n;
    enum fdit_act act;
    struct fdit_tensor dx, dy, x;
};

/* y = beta y + alpha x, n elements. */
struct fdit_axpy_args {
    size_t n;
    float alpha;
    struct fdit_tensor y, x;
    int beta;
};

/* gather: y [B, D] = beta y + table [index[b], D].  scatter_add: dtable [R, D] = beta dtable + sum over b
 * with index[b] = r of dy [b, D], b ascending. index: FDIT_I32 [B]; one outside 0..R-1 is a device error
 * where the device can see it (ref, cpu), and reads or writes nothing elsewhere. */
struct fdit_gather_args {
    int samples, table_rows, width;
    struct fdit_tensor y, table, index;
    int beta;
};
struct fdit_scatter_add_args {
    int samples, table_rows, width;
    struct fdit_tensor dtable, dy, index;
    int beta;
};

/* The columns first .. first + n - 1 of y [m, width] become x [m, n]; the others stay. */
struct fdit_copy_columns_args {
    int m, n, width, first;
    struct fdit_tensor y, x;
};

/* patchify: tokens [B, (S/p)^2, C p p] from image [B, C, S, S]; unpatchify: the inverse. Token = row of
 * patches * (S/p) + column. Order inside a token: (channel, py, px) for the patch embedding, or
 * (py, px, channel) for the head, whose backward is patchify in the same order. */
enum fdit_patch_order { FDIT_PATCH_CHANNEL_FIRST, FDIT_PATCH_CHANNEL_LAST };
struct fdit_patchify_args {
    int samples, channels, size, patch;
    enum fdit_patch_order order;
    struct fdit_tensor tokens, image;
};

/* Pictures as rows of channels: x [B, H, W, C]. A 1 x 1 convolution of stride 1 is also `linear`.
 *
 * conv: y [B, out_height, out_width, n_out] = act(sum over ky, kx, c of W(n, ky, kx, c) v(i, j, c) + bias)
 * [+ residual], summed in this order. v is x, or with `upsample` x with every pixel four times; 0 outside.
 *   i = stride_y row + ky + top,   j = stride_x column + kx + left,   in rows and columns of v
 * so top and left are minus the border of zeros above and on the left, and the sizes of y say how far it
 * goes below and on the right: every window must begin inside v or at its end. Another `top` and out_height
 * compute a band of a picture. With groups, channel n sees those n_in / groups channels alone that begin at
 * n / (n_out / groups) (n_in / groups); groups = n_in: depthwise. The weight is an object made with `conv`
 * and the same groups, [n_out, kernel_y kernel_x n_in / groups] in the order (ky, kx, channel). y may be the
 * residual, which has the shape of y. */
struct fdit_conv_args {
    int samples, height, width, n_in, n_out; /* height, width: of x */
    int kernel_y, kernel_x, stride_y, stride_x, groups;
    int out_height, out_width, top, left;
    bool upsample;
    enum fdit_act act;
    struct fdit_tensor y, x;
    const fdit_weight *weight;
    struct fdit_tensor bias, residual; /* optional [n_out]; optional */
};

/* Group norm in two ops. The width D is cut into groups of neighbours; a group of a sample has a mean and a
 * biased variance over its D / groups channels and all N pixels:
 *   group_stats: stats [B, groups, 2] = mean, 1/sqrt(var + 1e-6)   (about the mean of each chunk of pixels,
 *                so that a large mean costs no digits)
 *   group_apply: y = act((x - mean) rstd weight + bias), weight, bias [D], for any number of pixels.
 *                y may be x. */
struct fdit_group_stats_args {
    int samples, pixels, width, groups;
    struct fdit_tensor stats, x;
};
struct fdit_group_apply_args {
    int samples, pixels, width, groups;
    struct fdit_tensor y, x, stats, weight, bias;
    enum fdit_act act;
};

/* y [m, n] = softmax over n of scale x; y may be x. */
struct fdit_softmax_args {
    int m, n;
    struct fdit_tensor y, x;
    float scale;
};

/* y [B, H', W', C] = the maximum or the mean of x [B, H, W, C] over windows of kernel x kernel pixels,
 * `stride` apart, the first `pad` before the picture, the last at most pad + more behind it:
 * H' = (H + 2 pad + more - kernel) / stride + 1, rounded down. What lies outside x does not count: the mean
 * is that of the pixels inside (count_include_pad false elsewhere); with MEAN_ALL they are zeros (true). pad
 * is at most kernel / 2, and more below kernel - pad, so that a window has pixels; TensorFlow's SAME at
 * stride 2 has `more` where the border is odd. A NaN in a window comes out. Added row by row. */
enum fdit_pooling_kind { FDIT_POOLING_MAX, FDIT_POOLING_MEAN, FDIT_POOLING_MEAN_ALL };
struct fdit_pooling_args {
    int samples, height, width, channels; /* of x */
    int kernel, stride, pad, more;
    enum fdit_pooling_kind kind;
    struct fdit_tensor y, x;
};
static inline int fdit_pooling_size(const struct fdit_pooling_args *a,
                                    int n) /* H' of H, W' of W; 0: no window fits */
{
    long long room = (long long)n + 2LL * a->pad + a->more - a->kernel;
    return room < 0 ? 0 : (int)(room / a->stride + 1);
}

/* mean: y [B, D] = mean over N of x [B, N, D]. Backward: dx [b, n, d] = dy [b, d] / N. */
struct fdit_token_mean_args {
    int samples, tokens, width;
    struct fdit_tensor y, x;
};
struct fdit_token_mean_backward_args {
    int samples, tokens, width;
    struct fdit_tensor dx, dy;
};

/* x_t [b] = coef[b][0] x0 [b] + coef[b][1] noise [b]; n elements a sample, coef [B, 2].
 * xt may be x0. */
struct fdit_diffuse_args {
    int samples;
    size_t n;
    struct fdit_tensor xt, x0, noise, coef;
};

/* Per-sample coefficients of diffusion_loss, computed on the host in float64. */
struct fdit_loss_coef {
    float is_first;        /* 1 when t = 0: the discretised likelihood instead of the KL term */
    float log_beta;        /* ln beta_t */
    float log_var;         /* lv1: clipped posterior log-variance */
    float mean_eps;        /* (m1 - m2) = mean_eps * (eps_pred - noise): c_x0 sqrt(1/abar - 1) */
    float scale, scale_vb; /* weights of this sample's mse and vb in the loss whose gradient is wanted, 1/B */
    float pad[2];
};
/* out [B, 2C, n]: first C channels eps_pred, last C the variance value v; noise, x0 [B, C, n].
 * losses [B, 2] = (mse, vb in bits), means over C n elements, unscaled.
 * dout (optional) [B, 2C, n] = gradient of sum over b of scale_b mse_b + scale_vb_b vb_b; inside vb
 * eps_pred is detached. Formulas: doc/DESIGN.md, "Loss" (improved DDPM, arXiv 2102.09672, L_vlb and
 * L_simple). */
struct fdit_diffusion_loss_args {
    int samples, channels;
    size_t n; /* pixels: S S */
    struct fdit_tensor dout, losses, out, x0, noise;
    struct fdit_tensor coef; /* [B, 8]: struct fdit_loss_coef */
};

/* Per-sample coefficients of velocity_loss. */
struct fdit_velocity_coef {
    float of_x0, of_noise; /* the velocity that is to be predicted: of_x0 x0 + of_noise noise */
    float scale;           /* weight of this sample in the loss whose gradient is wanted, 1/B */
    float pad[5];
};
/* out [B, O C, n]: the first C channels are the velocity, others have no target; O is 1 or 2.
 * losses [B, 2] = (mean over C n elements of (out - velocity)^2, 0), unscaled. dout (optional) [B, O C, n] =
 * gradient of sum over b of scale_b mse_b, 0 where there is no target. Flow matching, arXiv 2209.03003,
 * 2401.08740. */
struct fdit_velocity_loss_args {
    int samples, channels, outputs;
    size_t n; /* pixels: S S */
    struct fdit_tensor dout, losses, out, x0, noise;
    struct fdit_tensor coef; /* [B, 8]: struct fdit_velocity_coef */
};

/* loss [B] = -log softmax(logits [b])[label[b]]; dlogits (optional) = (softmax - onehot) * scale.
 * A label outside 0..K-1 is an error where it can be seen. labels: FDIT_I32 [B]. */
struct fdit_cross_entropy_args {
    int samples, classes;
    struct fdit_tensor loss, dlogits, logits, labels;
    float scale;
};

/* One step of any of the samplers, for B pictures of C channels and n pixels. With eps, v the halves of
 * cond [B, 2C, n] and eps_u the first half of uncond (optional), or `single` and without v, both [B, C, n]:
 *   eps = eps_u + w (eps - eps_u) in the first guided_channels channels;
 *   x0 = x0_x x + x0_eps eps;  if clip_x0: x0 = clamp(x0, -1, 1), eps = (x0 - x0_x x) / x0_eps;
 *   sd = learned ? exp(0.5 (f log_beta + (1-f) log_var)), f = (v+1)/2 : 1;
 *   x' = to_x x + to_x0 x0 + to_eps eps + to_old old + to_z sd z;  then old = x0 (when old is present).
 * x' may be x. z absent: to_z is 0. */
struct fdit_sampler_step_args {
    int samples, channels;
    size_t n;
    struct fdit_tensor x_next, x, cond, uncond, z, old;
    float guidance;
    int guided_channels;
    float x0_x, x0_eps;
    bool clip_x0;
    float to_x, to_x0, to_eps, to_old, to_z;
    bool learned; /* not with single */
    bool single;
    float log_beta, log_var;
};

/* AdamW (decoupled weight decay) and EMA in one pass over n elements:
 *   g' = g * scale[0] (scale absent: 1); if scale[0] is not finite nothing is changed;
 *   p *= 1 - lr wd;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2;
 *   p -= lr_bias1 * m / (sqrt(v) * inv_sqrt_bias2 + eps);  ema = ema_decay ema + (1 - ema_decay) p.
 * lr_bias1 = lr / (1 - b1^t), inv_sqrt_bias2 = 1/sqrt(1 - b2^t), from float64 on the host. */
struct fdit_adamw_args {
    size_t n;
    struct fdit_tensor p, g, m, v;
    struct fdit_tensor ema;         /* optional */
    struct fdit_tensor scale;       /* optional [1] */
    float decay;                    /* lr * weight_decay */
    double beta1, beta2, ema_decay; /* float64: 1 - 0.999f is off by 1.3e-5 */
    float eps, lr_bias1, inv_sqrt_bias2;
};

/* Lion (arXiv 2302.06675) with decoupled weight decay, and EMA, in one pass over n elements:
 *   g' = g * scale[0] (scale absent: 1); if scale[0] is not finite nothing is changed;
 *   u = sign(b1 m + (1-b1) g'), 0 for 0;  p = p (1 - lr wd) - lr u;  m = b2 m + (1-b2) g';
 *   ema = ema_decay ema + (1 - ema_decay) p. (optional; default: on the host) */
struct fdit_lion_args {
    size_t n;
    struct fdit_tensor p, g, m;
    struct fdit_tensor ema;         /* optional */
    struct fdit_tensor scale;       /* optional [1] */
    float lr, decay;                /* decay: lr * weight_decay */
    double beta1, beta2, ema_decay; /* float64, as for adamw */
};

/* out[0] = sum of squares of x, fixed tree; not finite when any element is not. */
struct fdit_sum_squares_args {
    size_t n;
    struct fdit_tensor out, x;
};

/* scale[0] = min(1, max_norm / (sqrt(sum of partial[0..n-1]) + 1e-6)); max_norm <= 0: 1 when all partials
 * are finite. Not finite (NaN) when a partial is not. norm[0] (optional) = sqrt(sum). */
struct fdit_clip_scale_args {
    int n;
    struct fdit_tensor scale, norm, partial;
    float max_norm;
};

union fdit_op_args {
#define OP(entry, ENUM, arguments) struct fdit_##arguments entry;
#include "device/op_list.h"
};

/* ----------------------------------------------------------------- weights, shapes, information */

struct fdit_weight_desc {
    int n_out, n_in;
    enum fdit_dtype storage; /* how the device keeps it; host data is always f32 */
    bool need_dx;            /* linear_dx will be called on it */
    bool conv;               /* for conv: n_in = taps * channels that an element of y sees */
    int groups;              /* of a conv; 0 is 1 */
    bool exact;              /* int8 products of a device's precision leave it out */
};

enum fdit_op {
#define OP(entry, ENUM, arguments) FDIT_OP_##ENUM,
#include "device/op_list.h"
    FDIT_OP_FILL,
    FDIT_OP_COPY,
    FDIT_OP_COUNT
};
const char *fdit_op_name(enum fdit_op op); /* "linear", "linear_dx", ... */

/* What the workspace is asked about: the op and its largest shape. */
struct fdit_op_shape {
    enum fdit_op op;
    int samples, tokens;  /* conv: pixels of y a sample; group_*: pixels a sample; column_sum: m is both */
    int taps, groups;     /* conv: kernel_y kernel_x, and its groups (0 is 1) */
    int n_in, n_out;      /* linear family; conv; norm, gate, column_sum, group_*: n_out = width */
    int heads, head_size; /* attention */
    bool plain;           /* linear, linear_dx: a plain f32 matrix instead of a weight object */
    bool band;            /* the same: of the arguments */
    int low_rank;         /* linear, linear_dx: of `low` */
    size_t n;             /* element-wise ops */
};

/* What a device found for one product: what it was computed with before and is now, seconds of both. */
struct fdit_tune_result {
    const char *what, *before, *after;
    double flops, seconds_before, seconds_after;
};
struct fdit_tune_options {
    int candidates;     /* of the device's own kernels on each kind of product, spread evenly; 0: all */
    int library_trials; /* sets of parameters of a library (CLBlast) that are tried; 0: it is left out */
    void (*on_progress)(void *user, int done, int all, const char *what);
    void (*on_result)(void *user, const struct fdit_tune_result *r);
    void *user;
};

struct fdit_device_info {
    char *spec;    /* what --device calls it: "opencl:0:1" */
    char *name;    /* "AMD EPYC, 2 threads" */
    char *driver;  /* for cpu: instruction set and GEMM provider: "avx2, oneDNN 2.7.2" */
    bool tunable;  /* has a tune entry */
    size_t memory; /* total bytes that may be used */
    /* Where the process may not use the whole machine: what says so of threads and of memory ("": nothing),
     * and what the machine has. For processors. */
    char threads_by[160], memory_by[160];
    int machine_processors;
    size_t machine_memory;
    size_t max_buffer; /* largest single allocation */
    int threads;       /* 0 where it has no meaning */
    bool is_gpu;
    char capabilities[64]; /* for people: "local memory 64 kB, fp16"; "": nothing to say */
};

/* What the device was measured to reach; 0: not known. */
struct fdit_device_peak {
    double gflops;      /* multiply-adds of the device's precision in registers, counted as two */
    double copy_gbytes; /* a second, of a long copy: bytes read and bytes written; where it was asked for */
};

struct fdit_device_options {
    const char *spec; /* "cpu", "ref", "opencl:0:1", ...: what the user typed */
    int threads;      /* 0: all */
    /* From 1: this process is one of several of a host, and each takes another of the devices that spec
     * means, around in a ring. 0: spec must mean one; the default and "gpu" are the best. */
    int turn;
    enum fdit_dtype precision; /* of the matrix products' operands: FDIT_F32 (0), FDIT_BF16, ... */
    bool fastest; /* instead: the fastest that training can use; fdit_device_precision says which */
};

/* Counted by the wrappers for every op. Flops: linear 2 m n k a pass, conv 2 kernel_y kernel_x
 * n_in / groups n_out a pixel of y, attention 4 N^2 D forward and 8 N^2 D backward a sample; others 0.
 * Seconds only on devices that work in the calling thread. */
struct fdit_op_count {
    uint64_t calls, launches; /* launches: counted with timing, by devices that have a queue */
    double flops, bytes, seconds;
};

/* ----------------------------------------------------------------------------------- the calls */

/* Devices that work on one job side by side; what needs only one is done on the first. Opened by name:
 * fdit_devices_open, fdit_devices_open_one (host/devices.h). */
struct fdit_devices {
    int n;              /* 0: none, as after fdit_devices_close */
    fdit_device **list; /* [n] */
};
/* A set of this device alone, which lives as long as the block that it is in. */
#define FDIT_ONE_DEVICE(dev) (&(const struct fdit_devices){ 1, (fdit_device *[]){ (dev) } })
void fdit_devices_close(struct fdit_devices *set); /* as fdit_device_close of each, the last one first */
/* The first device out of the set, which the caller closes; the others are closed. NULL of an empty one. */
fdit_device *fdit_devices_take(struct fdit_devices *set);
/* "A + B": what they are called, for people. Free with fdit_free. */
enum fdit_status fdit_devices_names(fdit_context *ctx, const struct fdit_devices *set, char **out);
/* Threads that the job keeps busy: those of the processor where it is the only device. 0: they say nothing,
 * since the job waits for another device. */
int fdit_devices_threads(const struct fdit_devices *set);

void fdit_device_close(fdit_device *dev); /* NULL is allowed; all buffers must be freed before */
const struct fdit_device_info *fdit_device_info(const fdit_device *dev);
enum fdit_dtype fdit_device_precision(const fdit_device *dev); /* of matrix products, from open on */
/* Products that it was tuned for, by fdit_device_tune now or earlier. */
int fdit_device_tuned(const fdit_device *dev);
enum fdit_status fdit_device_sync(fdit_context *ctx, fdit_device *dev);
/* The sticky status without waiting. */
enum fdit_status fdit_device_status(fdit_context *ctx, const fdit_device *dev);
void fdit_device_clear_error(fdit_device *dev); /* tests */
bool fdit_device_failed(const fdit_device *dev);
/* [FDIT_OP_COUNT], since the last reset. */
const struct fdit_op_count *fdit_device_counts(const fdit_device *dev);
void fdit_device_reset_counts(fdit_device *dev);
/* Whether seconds are counted: each op then waits for its end. Worth something where fdit_device_can_time. */
void fdit_device_set_timing(fdit_device *dev, bool timing);
bool fdit_device_can_time(const fdit_device *dev);
/* It has a queue and measures the work in it: the time of an op has no part in the time of a step. */
bool fdit_device_has_queue(const fdit_device *dev);
/* Buffers, weights and reserves so far: a step must not raise it. */
uint64_t fdit_device_objects_made(const fdit_device *dev);
/* Bytes of buffers, weights and workspace that are alive; where the device is a processor they are among what
 * the process holds. */
size_t fdit_device_held(const fdit_device *dev);
/* What a report about the device says: lines "key: value". Free with fdit_free. */
enum fdit_status fdit_device_facts(fdit_context *ctx, fdit_device *dev, char **out);
/* Measures what the device can reach, by loops of its own; all 0 where it has none. `copying` as well takes
 * memory that no plan counts, 128 MiB on a processor, while it runs; without it none is taken. */
enum fdit_status fdit_device_peak(fdit_context *ctx, fdit_device *dev, bool copying,
                                  struct fdit_device_peak *out);

/* Zero-filled and touched, so that a shortage shows here. `label` is copied. Not inside a step. */
enum fdit_status fdit_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, const char *label,
                                 fdit_buffer **out);
void fdit_buffer_free(fdit_buffer *buffer);
static inline struct fdit_tensor fdit_tensor_of(fdit_buffer *buffer, enum fdit_dtype type)
{
    return (struct fdit_tensor){ buffer, 0, type };
}
/* n elements of t's type; host memory has the same type. */
void fdit_write(fdit_device *dev, struct fdit_tensor t, const void *host, size_t n);
enum fdit_status fdit_read(fdit_context *ctx, fdit_device *dev, struct fdit_tensor t, void *host, size_t n);
void fdit_read_begin(fdit_device *dev, struct fdit_tensor t, void *host, size_t n, int slot);
enum fdit_status fdit_read_end(fdit_context *ctx, fdit_device *dev, int slot);
void fdit_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value);
/* Both of the same type; or one f32, the other bf16: rounded to the nearest, ties to even, NaN stays NaN, and
 * back. */
void fdit_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n);

size_t fdit_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc);
enum fdit_status fdit_weight_new(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                 const float *data, fdit_weight **out);
void fdit_weight_free(fdit_weight *weight);
bool fdit_device_supports_storage(const fdit_device *dev, enum fdit_dtype storage);
bool fdit_device_supports_precision(const fdit_device *dev, enum fdit_dtype precision);
/* What computes matrix products in a precision that it supports, for people: "matrix unit mma",
 * "multiply-adds". refused, where it is not NULL: lines about units that were tried and failed, "" for none.
 * Free both with fdit_free. */
enum fdit_status fdit_device_engine(fdit_context *ctx, fdit_device *dev, enum fdit_dtype precision,
                                    char **out, char **refused);
/* Whether linear takes `low` on this device, at the precision that it has. */
bool fdit_device_fuses_low(const fdit_device *dev);

/* The largest need of the n shapes: pass it to fdit_device_reserve before the first op. Where the device
 * does not fuse act and gate it includes the scratch of composed linears; reserve follows the last call. */
size_t fdit_device_workspace(fdit_device *dev, const struct fdit_op_shape *shapes, size_t n);
/* FDIT_ERROR_UNSUPPORTED: the device has nothing to tune. */
enum fdit_status fdit_device_tune(fdit_context *ctx, fdit_device *dev, const struct fdit_op_shape *shapes,
                                  size_t n, const struct fdit_tune_options *options, char **where);
enum fdit_status fdit_device_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes);

#define OP(entry, ENUM, arguments) void fdit_##entry(fdit_device *dev, const struct fdit_##arguments *a);
#include "device/op_list.h"
/* The call as data: a->entry is what fdit_<entry> of this op takes. Nothing for fill and copy. */
void fdit_op_call(fdit_device *dev, enum fdit_op op, const union fdit_op_args *a);

#endif
