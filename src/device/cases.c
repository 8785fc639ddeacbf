/* SPDX-License-Identifier: Apache-2.0
 * cases.c: calls of every op on ragged shapes. A variant below N_SHAPES chooses the shape, the others
 * repeat one with other options. */
#include "device/cases.h"
#include "device/case_parts.h"
#include "device/probe_run.h"

#include <math.h>
#include <string.h>

/* samples, tokens, n_in, n_out: single elements, primes, one more and one less than a tile, the width of
 * DiT-XL/2's heads. The first TINY are small enough for a simulator. */
static const int shapes[N_SHAPES + 1][4] = {
    { 1, 1, 1, 1 },     { 2, 3, 5, 7 },       { 1, 9, 33, 17 },      { 3, 17, 65, 31 }, { 2, 64, 64, 64 },
    { 1, 67, 257, 72 }, { 2, 128, 192, 320 }, { 1, 256, 1152, 255 }, { 2, 3, 4, 5 },
};

struct size {
    int b, n, in, out;
    size_t m, x, y; /* rows, elements of [m, in] and [m, out] */
};

static struct size size_of(int variant)
{
    const int *s = shapes[shape_at(variant)];
    struct size z = { .b = s[0], .n = s[1], .in = s[2], .out = s[3] };
    z.m = (size_t)z.b * (size_t)z.n;
    z.x = z.m * (size_t)z.in;
    z.y = z.m * (size_t)z.out;
    return z;
}

/* For ops without tokens: every row is a sample, but the full case has only its two. */
static struct size vectors_of(int variant)
{
    struct size z = size_of(variant);
    if (variant != FDIT_CASE_ALL)
        return z;
    z.n = 1;
    z.m = (size_t)z.b;
    z.x = z.m * (size_t)z.in;
    z.y = z.m * (size_t)z.out;
    return z;
}

static struct fdit_op_shape shape_of(enum fdit_op op, const struct size *z)
{
    return (struct fdit_op_shape){ .op = op,
                                   .samples = z->b,
                                   .tokens = z->n,
                                   .n_in = z->in,
                                   .n_out = z->out,
                                   .n = z->x > z->y ? z->x : z->y };
}

/* ------------------------------------------------------------------ products */

enum { KINDS = 5 };

/* The rank of `low` in a case; 0: none. */
static int low_of(const struct fdit_case_on *on, bool plain, int variant)
{
    static const int ranks[3] = { 0, 5, 40 };
    return !plain && fdit_device_fuses_low(on->dev) ? ranks[variant / N_SHAPES % 3] : 0;
}

/* Each shape meets a plain matrix (true) and weights of each storage type in KINDS rounds. */
static bool matrix_kind(int variant, const struct fdit_device *dev, enum fdit_dtype *storage)
{
    static const enum fdit_dtype types[KINDS] = { FDIT_F32, FDIT_F32, FDIT_F16, FDIT_BF16, FDIT_I8 };
    int kind = variant == FDIT_CASE_ALL ? 0 : (variant % N_SHAPES + 2 * (variant / N_SHAPES)) % KINDS;
    *storage = fdit_device_supports_storage(dev, types[kind]) ? types[kind] : FDIT_F32;
    return kind == 0;
}

void fdit_case_linear(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    enum fdit_dtype storage;
    bool plain = matrix_kind(variant, on->dev, &storage), gate = variant % 3 == 2,
         residual = variant % 3 != 0, add = variant / N_SHAPES % 2 || variant == FDIT_CASE_ALL;
    const int low = low_of(on, plain, variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_LINEAR, "%dx%dx%dx%d %s%s%s%s%s", z.b, z.n, z.in, z.out,
                     plain ? "plain" : fdit_dtype_name(storage), add ? " add" : "", low ? " low" : "",
                     gate ? " gate" : "", residual ? " residual" : "");
    p->shape = shape_of(FDIT_OP_LINEAR, &z);
    p->shape.plain = plain;
    p->args.linear = (struct fdit_linear_args){ .samples = z.b,
                                                .tokens = z.n,
                                                .n_in = z.in,
                                                .n_out = z.out,
                                                .act = (enum fdit_act)(variant % (FDIT_ACT_LAST + 1)),
                                                .gate_stride = gate ? z.out : 0 };
    SIZES(p, SIZE(linear, samples), SIZE(linear, tokens), SIZE(linear, n_in), SIZE(linear, n_out));
    p->per_sample = true;
    fdit_probe_in(p, AT(linear, x), "x", z.x);
    optional(shared(fdit_probe_in(p, AT(linear, bias), "bias", (size_t)z.out)));
    if (plain)
        scale(shared(fdit_probe_in(p, AT(linear, matrix), "matrix", (size_t)z.in * (size_t)z.out)),
              1 / sqrtf((float)z.in), 0);
    else
        fdit_probe_weight(p, AT(linear, weight), z.out, z.in, storage);
    may_be(fdit_probe_out(p, AT(linear, y), "y", z.y), "residual");
    optional(fdit_probe_out(p, AT(linear, pre), "pre", z.y));
    if (add)
        optional(fdit_probe_in(p, AT(linear, add), "add", z.y));
    if (low) {
        p->shape.low_rank = p->args.linear.low_rank = low;
        fdit_probe_in(p, AT(linear, low), "low", z.m * (size_t)low);
        scale(shared(fdit_probe_in(p, AT(linear, low_matrix), "low_matrix", (size_t)z.out * (size_t)low)),
              0.25f, 0);
    }
    if (gate)
        optional(fdit_probe_in(p, AT(linear, gate), "gate", (size_t)z.b * (size_t)z.out));
    if (residual)
        optional(fdit_probe_in(p, AT(linear, residual), "residual", z.y));
}

void fdit_case_linear_dx(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    enum fdit_dtype storage;
    bool plain = matrix_kind(variant, on->dev, &storage), act = variant % 3 == 1 || variant == FDIT_CASE_ALL;
    const int low = low_of(on, plain, variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_LINEAR_DX, "%dx%dx%dx%d %s%s%s", z.b, z.n, z.in, z.out,
                     plain ? "plain" : fdit_dtype_name(storage), low ? " low" : "", act ? " GELU" : "");
    p->shape = shape_of(FDIT_OP_LINEAR_DX, &z);
    p->shape.plain = plain;
    p->args.linear_dx = (struct fdit_linear_dx_args){ .samples = z.b,
                                                      .tokens = z.n,
                                                      .n_in = z.in,
                                                      .n_out = z.out,
                                                      .beta = !act,
                                                      .act = act ? FDIT_ACT_GELU_TANH : FDIT_ACT_NONE };
    SIZES(p, SIZE(linear_dx, samples), SIZE(linear_dx, tokens), SIZE(linear_dx, n_in),
          SIZE(linear_dx, n_out));
    p->per_sample = true;
    fdit_probe_in(p, AT(linear_dx, dy), "dy", z.y);
    if (plain)
        scale(shared(fdit_probe_in(p, AT(linear_dx, matrix), "matrix", (size_t)z.in * (size_t)z.out)),
              1 / sqrtf((float)z.out), 0);
    else
        fdit_probe_weight(p, AT(linear_dx, weight), z.out, z.in, storage);
    if (variant / N_SHAPES % 2 || variant == FDIT_CASE_ALL)
        optional(fdit_probe_in(p, AT(linear_dx, add), "add", z.x));
    if (low) {
        p->shape.low_rank = p->args.linear_dx.low_rank = low;
        fdit_probe_in(p, AT(linear_dx, low), "low", z.m * (size_t)low);
        scale(shared(fdit_probe_in(p, AT(linear_dx, low_matrix), "low_matrix", (size_t)low * (size_t)z.in)),
              0.25f, 0);
    }
    if (act) {
        fdit_probe_in(p, AT(linear_dx, pre), "pre", z.x);
        fdit_probe_out(p, AT(linear_dx, dx), "dx", z.x);
    } else {
        fdit_probe_inout(p, AT(linear_dx, dx), "dx", z.x);
    }
}

void fdit_case_linear_dw(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t w = (size_t)z.in * (size_t)z.out;
    fdit_probe_begin(p, on->ctx, FDIT_OP_LINEAR_DW, "%dx%dx%dx%d", z.b, z.n, z.in, z.out);
    p->shape = shape_of(FDIT_OP_LINEAR_DW, &z);
    p->args.linear_dw = (struct fdit_linear_dw_args){
        .samples = z.b, .tokens = z.n, .n_in = z.in, .n_out = z.out, .beta = variant % 2
    };
    SIZES(p, SIZE(linear_dw, samples), SIZE(linear_dw, tokens), SIZE(linear_dw, n_in),
          SIZE(linear_dw, n_out));
    fdit_probe_in(p, AT(linear_dw, dy), "dy", z.y);
    fdit_probe_in(p, AT(linear_dw, x), "x", z.x);
    if (variant % 2)
        fdit_probe_inout(p, AT(linear_dw, dw), "dw", w);
    else
        fdit_probe_out(p, AT(linear_dw, dw), "dw", w);
}

void fdit_case_column_sum(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_COLUMN_SUM, "%zux%d", z.m, z.out);
    p->shape = shape_of(FDIT_OP_COLUMN_SUM, &z);
    p->args.column_sum = (struct fdit_column_sum_args){ .m = (int)z.m, .n = z.out, .beta = variant % 2 };
    SIZES(p, SIZE(column_sum, m), SIZE(column_sum, n));
    fdit_probe_in(p, AT(column_sum, dy), "dy", z.y);
    if (variant % 2)
        fdit_probe_inout(p, AT(column_sum, db), "db", (size_t)z.out);
    else
        fdit_probe_out(p, AT(column_sum, db), "db", (size_t)z.out);
}

/* ------------------------------------------------------------------ norms */

void fdit_case_norm(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    fdit_probe_begin(p, on->ctx, FDIT_OP_NORM, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_NORM, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.norm =
        (struct fdit_norm_args){ .samples = z.b, .tokens = z.n, .width = z.in, .mod_stride = z.in };
    SIZES(p, SIZE(norm, samples), SIZE(norm, tokens), SIZE(norm, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(norm, x), "x", z.x);
    shared(fdit_probe_in(p, AT(norm, weight), "weight", d));
    shared(fdit_probe_in(p, AT(norm, bias), "bias", d));
    fdit_probe_in(p, AT(norm, shift), "shift", vectors);
    fdit_probe_in(p, AT(norm, scale), "scale", vectors);
    optional(fdit_probe_out(p, AT(norm, y), "y", z.x));
    optional(fdit_probe_out(p, AT(norm, xhat), "xhat", z.x));
    optional(fdit_probe_out(p, AT(norm, rstd), "rstd", z.m));
}

void fdit_case_modulate(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    fdit_probe_begin(p, on->ctx, FDIT_OP_MODULATE, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_MODULATE, &z);
    p->shape.n_out = z.in;
    p->args.modulate =
        (struct fdit_modulate_args){ .samples = z.b, .tokens = z.n, .width = z.in, .mod_stride = z.in };
    SIZES(p, SIZE(modulate, samples), SIZE(modulate, tokens), SIZE(modulate, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(modulate, xhat), "xhat", z.x);
    shared(fdit_probe_in(p, AT(modulate, weight), "weight", d));
    shared(fdit_probe_in(p, AT(modulate, bias), "bias", d));
    fdit_probe_in(p, AT(modulate, shift), "shift", vectors);
    fdit_probe_in(p, AT(modulate, scale), "scale", vectors);
    fdit_probe_out(p, AT(modulate, y), "y", z.x);
}

void fdit_case_norm_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    fdit_probe_begin(p, on->ctx, FDIT_OP_NORM_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_NORM_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.norm_backward = (struct fdit_norm_backward_args){ .samples = z.b,
                                                              .tokens = z.n,
                                                              .width = z.in,
                                                              .accumulate = true,
                                                              .dmod_stride = z.in,
                                                              .beta = 1,
                                                              .mod_stride = z.in };
    SIZES(p, SIZE(norm_backward, samples), SIZE(norm_backward, tokens), SIZE(norm_backward, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(norm_backward, dy), "dy", z.x);
    fdit_probe_in(p, AT(norm_backward, xhat), "xhat", z.x);
    make_positive(fdit_probe_in(p, AT(norm_backward, rstd), "rstd", z.m));
    shared(fdit_probe_in(p, AT(norm_backward, weight), "weight", d));
    shared(fdit_probe_in(p, AT(norm_backward, bias), "bias", d));
    optional(fdit_probe_in(p, AT(norm_backward, scale), "scale", vectors));
    optional(fdit_probe_inout(p, AT(norm_backward, dx), "dx", z.x));
    fdit_probe_out(p, AT(norm_backward, dshift), "dshift", vectors);
    fdit_probe_out(p, AT(norm_backward, dscale), "dscale", vectors);
    shared(fdit_probe_inout(p, AT(norm_backward, dweight), "dweight", d));
    shared(fdit_probe_inout(p, AT(norm_backward, dbias), "dbias", d));
}

/* ------------------------------------------------------------------ attention */

/* samples, tokens, heads, head size */
static const int attention_shapes[N_SHAPES + 1][4] = {
    { 1, 1, 1, 1 },   { 2, 5, 1, 3 },     { 1, 9, 3, 8 },    { 1, 33, 2, 16 }, { 2, 64, 2, 32 },
    { 1, 77, 3, 72 }, { 1, 130, 2, 128 }, { 1, 256, 2, 64 }, { 2, 3, 2, 4 },
};

void fdit_case_attention(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = attention_shapes[shape_at(variant)];
    size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3];
    fdit_probe_begin(p, on->ctx, FDIT_OP_ATTENTION, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_ATTENTION, .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    p->allowed = 1e-10;
    p->args.attention =
        (struct fdit_attention_args){ .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3] };
    SIZES(p, SIZE(attention, samples), SIZE(attention, tokens), SIZE(attention, heads),
          SIZE(attention, head_size));
    p->per_sample = true;
    fdit_probe_in(p, AT(attention, qkv), "qkv", 3 * rows * d);
    fdit_probe_out(p, AT(attention, out), "out", rows * d);
    optional(fdit_probe_out(p, AT(attention, lse), "lse", rows * (size_t)s[2]));
}

void fdit_case_qk_norm(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = attention_shapes[shape_at(variant)];
    const size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3], size = (size_t)s[3];
    fdit_probe_begin(p, on->ctx, FDIT_OP_QK_NORM, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_QK_NORM, .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    p->args.qk_norm =
        (struct fdit_qk_norm_args){ .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3] };
    SIZES(p, SIZE(qk_norm, samples), SIZE(qk_norm, tokens), SIZE(qk_norm, heads), SIZE(qk_norm, head_size));
    p->per_sample = true;
    fdit_probe_in(p, AT(qk_norm, x), "x", 3 * rows * d);
    shared(fdit_probe_in(p, AT(qk_norm, q_weight), "q_weight", size));
    shared(fdit_probe_in(p, AT(qk_norm, q_bias), "q_bias", size));
    shared(fdit_probe_in(p, AT(qk_norm, k_weight), "k_weight", size));
    shared(fdit_probe_in(p, AT(qk_norm, k_bias), "k_bias", size));
    may_be(fdit_probe_out(p, AT(qk_norm, y), "y", 3 * rows * d), "x");
    optional(fdit_probe_out(p, AT(qk_norm, xhat), "xhat", 2 * rows * d));
    optional(fdit_probe_out(p, AT(qk_norm, rstd), "rstd", 2 * rows * (size_t)s[2]));
}

void fdit_case_qk_norm_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = attention_shapes[shape_at(variant)];
    const size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3], size = (size_t)s[3];
    fdit_probe_begin(p, on->ctx, FDIT_OP_QK_NORM_BACKWARD, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_QK_NORM_BACKWARD, .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    p->args.qk_norm_backward = (struct fdit_qk_norm_backward_args){
        .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    SIZES(p, SIZE(qk_norm_backward, samples), SIZE(qk_norm_backward, tokens), SIZE(qk_norm_backward, heads),
          SIZE(qk_norm_backward, head_size));
    p->per_sample = true;
    fdit_probe_in(p, AT(qk_norm_backward, dy), "dy", 3 * rows * d);
    fdit_probe_in(p, AT(qk_norm_backward, xhat), "xhat", 2 * rows * d);
    make_positive(fdit_probe_in(p, AT(qk_norm_backward, rstd), "rstd", 2 * rows * (size_t)s[2]));
    shared(fdit_probe_in(p, AT(qk_norm_backward, q_weight), "q_weight", size));
    shared(fdit_probe_in(p, AT(qk_norm_backward, k_weight), "k_weight", size));
    may_be(fdit_probe_out(p, AT(qk_norm_backward, dx), "dx", 3 * rows * d), "dy");
    fdit_probe_out(p, AT(qk_norm_backward, dq_weight), "dq_weight", rows * size);
    fdit_probe_out(p, AT(qk_norm_backward, dq_bias), "dq_bias", rows * size);
    fdit_probe_out(p, AT(qk_norm_backward, dk_weight), "dk_weight", rows * size);
    fdit_probe_out(p, AT(qk_norm_backward, dk_bias), "dk_bias", rows * size);
}

/* out and lse belong to qkv: fdit_case_make fills these three from the forward call. */
void fdit_case_attention_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = attention_shapes[shape_at(variant)];
    size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3];
    fdit_probe_begin(p, on->ctx, FDIT_OP_ATTENTION_BACKWARD, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_ATTENTION_BACKWARD, .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    p->allowed = 1e-9;
    p->args.attention_backward = (struct fdit_attention_backward_args){
        .samples = s[0], .tokens = s[1], .heads = s[2], .head_size = s[3]
    };
    SIZES(p, SIZE(attention_backward, samples), SIZE(attention_backward, tokens),
          SIZE(attention_backward, heads), SIZE(attention_backward, head_size));
    p->per_sample = true;
    fdit_probe_in(p, AT(attention_backward, qkv), "qkv", 3 * rows * d);
    fdit_probe_in(p, AT(attention_backward, out), "out", rows * d);
    fdit_probe_in(p, AT(attention_backward, lse), "lse", rows * (size_t)s[2]);
    fdit_probe_in(p, AT(attention_backward, dout), "dout", rows * d);
    fdit_probe_out(p, AT(attention_backward, dqkv), "dqkv", 3 * rows * d);
}

static enum fdit_status take_forward(fdit_context *ctx, struct fdit_probe *p, int variant,
                                     fdit_device *reference)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_probe forward;
    struct fdit_probe_run run = { 0 };
    fdit_case_attention(&forward, &(struct fdit_case_on){ ctx, reference }, variant);
    TRY(fdit_probe_place(&forward, reference, &(struct fdit_probe_placing){ .sample = FDIT_PROBE_ALL },
                         &run));
    TRY(fdit_probe_call(&forward, &run));
    for (int i = 0; i < 3 && p->status == FDIT_OK; i++)
        memcpy(p->slots[i].data, run.after + run.at[i], p->slots[i].n * sizeof *run.after);
out:
    fdit_probe_run_end(&run);
    fdit_probe_end(&forward);
    return status;
}

/* ------------------------------------------------------------------ element by element */

void fdit_case_gate(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_GATE, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_GATE, &z);
    p->args.gate =
        (struct fdit_gate_args){ .samples = z.b, .tokens = z.n, .width = z.in, .gate_stride = z.in };
    SIZES(p, SIZE(gate, samples), SIZE(gate, tokens), SIZE(gate, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(gate, branch), "branch", z.x);
    fdit_probe_in(p, AT(gate, gate), "gate", (size_t)z.b * (size_t)z.in);
    if (variant % 2) { /* in place: y is the residual */
        also(fdit_probe_inout(p, AT(gate, y), "y", z.x), AT(gate, residual));
        return;
    }
    may_be(fdit_probe_out(p, AT(gate, y), "y", z.x), "residual");
    if (variant == FDIT_CASE_ALL)
        optional(fdit_probe_in(p, AT(gate, residual), "residual", z.x));
}

void fdit_case_gate_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t vectors = (size_t)z.b * (size_t)z.in;
    fdit_probe_begin(p, on->ctx, FDIT_OP_GATE_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_GATE_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->args.gate_backward = (struct fdit_gate_backward_args){
        .samples = z.b, .tokens = z.n, .width = z.in, .gate_stride = z.in, .dgate_stride = z.in
    };
    SIZES(p, SIZE(gate_backward, samples), SIZE(gate_backward, tokens), SIZE(gate_backward, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(gate_backward, dy), "dy", z.x);
    fdit_probe_in(p, AT(gate_backward, branch), "branch", z.x);
    fdit_probe_in(p, AT(gate_backward, gate), "gate", vectors);
    may_be(optional(fdit_probe_out(p, AT(gate_backward, dbranch), "dbranch", z.x)), "branch");
    optional(fdit_probe_out(p, AT(gate_backward, dgate), "dgate", vectors));
}

static const char *const act_names[] = { "", "GELU", "SiLU", "ReLU", "GELU (erf)" }; /* by enum fdit_act */

void fdit_case_activation(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    enum fdit_act act = (enum fdit_act)(1 + variant % FDIT_ACT_LAST);
    fdit_probe_begin(p, on->ctx, FDIT_OP_ACTIVATION, "%zu %s", z.x, act_names[act]);
    p->shape = shape_of(FDIT_OP_ACTIVATION, &z);
    p->args.activation = (struct fdit_activation_args){ .n = z.x, .act = act };
    SIZES(p, SIZE(activation, n));
    scale(fdit_probe_in(p, AT(activation, x), "x", z.x), 3, 0);
    may_be(fdit_probe_out(p, AT(activation, y), "y", z.x), "x");
}

void fdit_case_activation_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    enum fdit_act act = (enum fdit_act)(1 + variant % FDIT_ACT_LAST);
    fdit_probe_begin(p, on->ctx, FDIT_OP_ACTIVATION_BACKWARD, "%zu %s", z.x, act_names[act]);
    p->shape = shape_of(FDIT_OP_ACTIVATION_BACKWARD, &z);
    p->args.activation_backward = (struct fdit_activation_backward_args){ .n = z.x, .act = act };
    SIZES(p, SIZE(activation_backward, n));
    scale(fdit_probe_in(p, AT(activation_backward, x), "x", z.x), 3, 0);
    fdit_probe_in(p, AT(activation_backward, dy), "dy", z.x);
    may_be(fdit_probe_out(p, AT(activation_backward, dx), "dx", z.x), "dy x");
}

void fdit_case_axpy(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_AXPY, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_AXPY, &z);
    p->args.axpy = (struct fdit_axpy_args){ .n = z.x, .alpha = -0.75f, .beta = 1 };
    SIZES(p, SIZE(axpy, n));
    fdit_probe_in(p, AT(axpy, x), "x", z.x);
    fdit_probe_inout(p, AT(axpy, y), "y", z.x);
}

void fdit_case_gather(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = vectors_of(variant);
    int rows = z.out + 1;
    fdit_probe_begin(p, on->ctx, FDIT_OP_GATHER, "%zu of %dx%d", z.m, rows, z.in);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GATHER, .samples = (int)z.m, .n_in = rows, .n_out = z.in };
    p->args.gather =
        (struct fdit_gather_args){ .samples = (int)z.m, .table_rows = rows, .width = z.in, .beta = 1 };
    SIZES(p, SIZE(gather, samples), SIZE(gather, table_rows), SIZE(gather, width));
    p->per_sample = true;
    fdit_probe_index(p, AT(gather, index), "index", z.m, rows);
    shared(fdit_probe_in(p, AT(gather, table), "table", (size_t)rows * (size_t)z.in));
    fdit_probe_inout(p, AT(gather, y), "y", z.x);
}

void fdit_case_copy_columns(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = vectors_of(variant);
    const int first = z.out / 2, width = z.in + z.out;
    fdit_probe_begin(p, on->ctx, FDIT_OP_COPY_COLUMNS, "%zux%d into %d from %d on", z.m, z.in, width, first);
    p->shape = shape_of(FDIT_OP_COPY_COLUMNS, &z);
    p->args.copy_columns =
        (struct fdit_copy_columns_args){ .m = (int)z.m, .n = z.in, .width = width, .first = first };
    SIZES(p, SIZE(copy_columns, m), SIZE(copy_columns, n), SIZE(copy_columns, width));
    fdit_probe_in(p, AT(copy_columns, x), "x", z.x);
    fdit_probe_inout(p, AT(copy_columns, y), "y", z.m * (size_t)width);
}

void fdit_case_scatter_add(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = vectors_of(variant);
    int rows = z.out / 3 + 1; /* several samples of a row */
    fdit_probe_begin(p, on->ctx, FDIT_OP_SCATTER_ADD, "%zu to %dx%d", z.m, rows, z.in);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_SCATTER_ADD, .samples = (int)z.m, .n_in = rows, .n_out = z.in };
    p->args.scatter_add = (struct fdit_scatter_add_args){
        .samples = (int)z.m, .table_rows = rows, .width = z.in, .beta = variant % 2
    };
    SIZES(p, SIZE(scatter_add, samples), SIZE(scatter_add, table_rows), SIZE(scatter_add, width));
    fdit_probe_index(p, AT(scatter_add, index), "index", z.m, rows);
    fdit_probe_in(p, AT(scatter_add, dy), "dy", z.x);
    if (variant % 2)
        fdit_probe_inout(p, AT(scatter_add, dtable), "dtable", (size_t)rows * (size_t)z.in);
    else
        fdit_probe_out(p, AT(scatter_add, dtable), "dtable", (size_t)rows * (size_t)z.in);
}

/* samples, channels, size, patch */
static const int images[N_SHAPES + 1][4] = {
    { 1, 1, 1, 1 },  { 2, 3, 4, 2 },  { 1, 4, 6, 3 },  { 3, 1, 10, 5 }, { 2, 4, 8, 2 },
    { 1, 3, 24, 4 }, { 2, 4, 32, 2 }, { 1, 8, 32, 4 }, { 2, 3, 4, 2 },
};

static void patches(struct fdit_probe *p, const struct fdit_case_on *on, int variant, enum fdit_op op)
{
    const int *s = images[shape_at(variant)];
    size_t n = (size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[2];
    fdit_probe_begin(p, on->ctx, op, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){ .op = op, .samples = s[0], .n = n };
    p->allowed = 0;
    p->args.patchify = (struct fdit_patchify_args){ .samples = s[0],
                                                    .channels = s[1],
                                                    .size = s[2],
                                                    .patch = s[3],
                                                    .order = variant % 2 ? FDIT_PATCH_CHANNEL_LAST
                                                                         : FDIT_PATCH_CHANNEL_FIRST };
    SIZES(p, SIZE(patchify, samples), SIZE(patchify, channels), SIZE(patchify, size), SIZE(patchify, patch));
    p->per_sample = true;
    size_t tokens = AT(patchify, tokens), image = AT(patchify, image);
    bool forward = op == FDIT_OP_PATCHIFY;
    fdit_probe_in(p, forward ? image : tokens, forward ? "image" : "tokens", n);
    fdit_probe_out(p, forward ? tokens : image, forward ? "tokens" : "image", n);
}

void fdit_case_patchify(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    patches(p, on, variant, FDIT_OP_PATCHIFY);
}

void fdit_case_unpatchify(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    patches(p, on, variant, FDIT_OP_UNPATCHIFY);
}

void fdit_case_token_mean(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_TOKEN_MEAN, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_TOKEN_MEAN, &z);
    p->shape.n_out = z.in;
    p->args.token_mean = (struct fdit_token_mean_args){ .samples = z.b, .tokens = z.n, .width = z.in };
    SIZES(p, SIZE(token_mean, samples), SIZE(token_mean, tokens), SIZE(token_mean, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(token_mean, x), "x", z.x);
    fdit_probe_out(p, AT(token_mean, y), "y", (size_t)z.b * (size_t)z.in);
}

void fdit_case_token_mean_backward(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_TOKEN_MEAN_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_TOKEN_MEAN_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->args.token_mean_backward =
        (struct fdit_token_mean_backward_args){ .samples = z.b, .tokens = z.n, .width = z.in };
    SIZES(p, SIZE(token_mean_backward, samples), SIZE(token_mean_backward, tokens),
          SIZE(token_mean_backward, width));
    p->per_sample = true;
    fdit_probe_in(p, AT(token_mean_backward, dy), "dy", (size_t)z.b * (size_t)z.in);
    fdit_probe_out(p, AT(token_mean_backward, dx), "dx", z.x);
}

/* ------------------------------------------------------------------ diffusion, losses, optimiser */

void fdit_case_diffuse(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    size_t n = (size_t)z.n * (size_t)z.in;
    fdit_probe_begin(p, on->ctx, FDIT_OP_DIFFUSE, "%dx%zu", z.b, n);
    p->shape = shape_of(FDIT_OP_DIFFUSE, &z);
    p->args.diffuse = (struct fdit_diffuse_args){ .samples = z.b, .n = n };
    SIZES(p, SIZE(diffuse, samples), SIZE(diffuse, n));
    p->per_sample = true;
    fdit_probe_in(p, AT(diffuse, x0), "x0", z.x);
    fdit_probe_in(p, AT(diffuse, noise), "noise", z.x);
    fdit_probe_in(p, AT(diffuse, coef), "coef", 2 * (size_t)z.b);
    may_be(fdit_probe_out(p, AT(diffuse, xt), "xt", z.x), "x0");
}

void fdit_case_diffusion_loss(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    /* t = 0, 1 and 500 of the 1000-step chain */
    static const struct fdit_loss_coef coefs[3] = {
        { 1, -9.21034037f, -9.81672514f, 0.0100005f, 1, 1, { 0 } },
        { 0, -9.02868637f, -9.81672514f, 0.00808767f, 1, 1, { 0 } },
        { 0, -4.59919209f, -4.60004974f, 0.0105291f, 1, 1, { 0 } },
    };
    const int *s = images[shape_at(variant)];
    size_t pixels = (size_t)s[2] * (size_t)s[2], n = (size_t)s[1] * pixels, b = (size_t)s[0];
    fdit_probe_begin(p, on->ctx, FDIT_OP_DIFFUSION_LOSS, "%dx%dx%zu", s[0], s[1], pixels);
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_DIFFUSION_LOSS, .samples = s[0], .n = 2 * n * b };
    p->allowed = 1e-9;
    p->args.diffusion_loss =
        (struct fdit_diffusion_loss_args){ .samples = s[0], .channels = s[1], .n = pixels };
    SIZES(p, SIZE(diffusion_loss, samples), SIZE(diffusion_loss, channels), SIZE(diffusion_loss, n));
    p->per_sample = true;
    fdit_probe_in(p, AT(diffusion_loss, out), "out", 2 * n * b);
    fdit_probe_in(p, AT(diffusion_loss, noise), "noise", n * b);
    struct fdit_probe_slot *x0 = fdit_probe_in(p, AT(diffusion_loss, x0), "x0", n * b);
    for (size_t i = 0; x0->data && i < x0->n; i++)
        x0->data[i] = fmaxf(-1, fminf(1, x0->data[i]));
    struct fdit_probe_slot *coef = fdit_probe_in(p, AT(diffusion_loss, coef), "coef", 8 * b);
    for (size_t i = 0; coef->data && i < b; i++) {
        struct fdit_loss_coef one = coefs[((size_t)variant + i) % 3];
        one.scale = (float)n; /* gradients of about 1 */
        one.scale_vb = 0.5f * (float)n;
        memcpy(coef->data + 8 * i, &one, sizeof one);
    }
    fdit_probe_out(p, AT(diffusion_loss, losses), "losses", 2 * b);
    optional(fdit_probe_out(p, AT(diffusion_loss, dout), "dout", 2 * n * b));
}

void fdit_case_velocity_loss(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = images[shape_at(variant)], outputs = 1 + variant % 2;
    size_t pixels = (size_t)s[2] * (size_t)s[2], n = (size_t)s[1] * pixels, b = (size_t)s[0];
    size_t full = (size_t)outputs * n * b;
    fdit_probe_begin(p, on->ctx, FDIT_OP_VELOCITY_LOSS, "%dx%dx%zu, %d outputs", s[0], s[1], pixels, outputs);
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_VELOCITY_LOSS, .samples = s[0], .n = full };
    p->allowed = 1e-10;
    p->args.velocity_loss = (struct fdit_velocity_loss_args){
        .samples = s[0], .channels = s[1], .outputs = outputs, .n = pixels
    };
    SIZES(p, SIZE(velocity_loss, samples), SIZE(velocity_loss, channels), SIZE(velocity_loss, n));
    p->per_sample = true;
    fdit_probe_in(p, AT(velocity_loss, out), "out", full);
    fdit_probe_in(p, AT(velocity_loss, noise), "noise", n * b);
    fdit_probe_in(p, AT(velocity_loss, x0), "x0", n * b);
    struct fdit_probe_slot *coef = fdit_probe_in(p, AT(velocity_loss, coef), "coef", 8 * b);
    for (size_t i = 0; coef->data && i < b; i++) {
        float sign = i % 2 ? 1.0f : -1.0f;
        struct fdit_velocity_coef one = { sign, -sign, (float)n, { 0 } }; /* gradients of about 1 */
        memcpy(coef->data + 8 * i, &one, sizeof one);
    }
    fdit_probe_out(p, AT(velocity_loss, losses), "losses", 2 * b);
    optional(fdit_probe_out(p, AT(velocity_loss, dout), "dout", full));
}

void fdit_case_cross_entropy(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = vectors_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_CROSS_ENTROPY, "%zux%d", z.m, z.out);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_CROSS_ENTROPY, .samples = (int)z.m, .tokens = 1, .n_out = z.out
    };
    p->allowed = 1e-10;
    p->args.cross_entropy =
        (struct fdit_cross_entropy_args){ .samples = (int)z.m, .classes = z.out, .scale = 0.37f };
    SIZES(p, SIZE(cross_entropy, samples), SIZE(cross_entropy, classes));
    p->per_sample = true;
    scale(fdit_probe_in(p, AT(cross_entropy, logits), "logits", z.y), 3, 0);
    fdit_probe_index(p, AT(cross_entropy, labels), "labels", z.m, z.out);
    fdit_probe_out(p, AT(cross_entropy, loss), "loss", z.m);
    optional(fdit_probe_out(p, AT(cross_entropy, dlogits), "dlogits", z.y));
}

void fdit_case_sampler_step(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = images[shape_at(variant)];
    size_t pixels = (size_t)s[2] * (size_t)s[2], n = (size_t)s[0] * (size_t)s[1] * pixels;
    fdit_probe_begin(p, on->ctx, FDIT_OP_SAMPLER_STEP, "%dx%dx%zu", s[0], s[1], pixels);
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_SAMPLER_STEP, .samples = s[0], .n = n };
    p->args.sampler_step =
        (struct fdit_sampler_step_args){ .samples = s[0],
                                         .channels = s[1],
                                         .n = pixels,
                                         .guidance = 4,
                                         .guided_channels = s[1] > 3 ? 3 : s[1],
                                         .x0_x = 1.25f,
                                         .x0_eps = -0.75f,
                                         .clip_x0 = variant % 2 || variant == FDIT_CASE_ALL,
                                         .to_x = 0.6f,
                                         .to_x0 = 0.3f,
                                         .to_eps = 0.1f,
                                         .to_old = -0.2f,
                                         .to_z = 0.4f,
                                         .learned = true,
                                         .log_beta = -4.5f,
                                         .log_var = -4.6f };
    SIZES(p, SIZE(sampler_step, samples), SIZE(sampler_step, channels), SIZE(sampler_step, n));
    p->per_sample = true;
    if (variant == FDIT_CASE_ALL) {
        fdit_probe_in(p, AT(sampler_step, x), "x", n);
        may_be(fdit_probe_out(p, AT(sampler_step, x_next), "x_next", n), "x");
    } else {
        also(fdit_probe_inout(p, AT(sampler_step, x), "x", n), AT(sampler_step, x_next));
    }
    fdit_probe_in(p, AT(sampler_step, cond), "cond", 2 * n);
    optional(fdit_probe_in(p, AT(sampler_step, uncond), "uncond", 2 * n));
    optional(fdit_probe_in(p, AT(sampler_step, z), "z", n));
    fdit_probe_inout(p, AT(sampler_step, old), "old", n);
}

void fdit_case_adamw(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_ADAMW, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_ADAMW, &z);
    p->allowed = 1e-10;
    p->args.adamw = (struct fdit_adamw_args){ .n = z.x,
                                              .decay = 1e-4f,
                                              .beta1 = 0.9,
                                              .beta2 = 0.999,
                                              .ema_decay = 0.9999,
                                              .eps = 1e-8f,
                                              .lr_bias1 = 1e-2f,
                                              .inv_sqrt_bias2 = 1.5f };
    SIZES(p, SIZE(adamw, n));
    fdit_probe_inout(p, AT(adamw, p), "p", z.x);
    fdit_probe_in(p, AT(adamw, g), "g", z.x);
    fdit_probe_inout(p, AT(adamw, m), "m", z.x);
    make_positive(fdit_probe_inout(p, AT(adamw, v), "v", z.x));
    optional(fdit_probe_inout(p, AT(adamw, ema), "ema", z.x));
    make_positive(optional(fdit_probe_in(p, AT(adamw, scale), "scale", 1)));
}

/* No element's direction is so near 0 that rounding decides its sign. */
void fdit_case_lion(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_LION, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_LION, &z);
    p->allowed = 1e-10;
    p->args.lion = (struct fdit_lion_args){
        .n = z.x, .lr = 1e-2f, .decay = 1e-4f, .beta1 = 0.9, .beta2 = 0.99, .ema_decay = 0.9999
    };
    SIZES(p, SIZE(lion, n));
    fdit_probe_inout(p, AT(lion, p), "p", z.x);
    struct fdit_probe_slot *g = fdit_probe_in(p, AT(lion, g), "g", z.x);
    struct fdit_probe_slot *m = fdit_probe_inout(p, AT(lion, m), "m", z.x);
    for (size_t i = 0; g->data && m->data && i < z.x; i++) {
        float *gi = (float *)g->data + i, mi = ((const float *)m->data)[i];
        if (fabsf(0.9f * mi + 0.05f * *gi) < 1e-3f)
            *gi += mi < 0 ? -1.0f : 1.0f;
    }
    optional(fdit_probe_inout(p, AT(lion, ema), "ema", z.x));
    struct fdit_probe_slot *scale = optional(fdit_probe_in(p, AT(lion, scale), "scale", 1));
    if (scale->data)
        scale->data[0] = 0.5f;
}

void fdit_case_sum_squares(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_SUM_SQUARES, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_SUM_SQUARES, &z);
    p->args.sum_squares = (struct fdit_sum_squares_args){ .n = z.x };
    SIZES(p, SIZE(sum_squares, n));
    fdit_probe_in(p, AT(sum_squares, x), "x", z.x);
    fdit_probe_out(p, AT(sum_squares, out), "out", 1);
}

void fdit_case_clip_scale(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_CLIP_SCALE, "%d", z.in);
    p->shape = shape_of(FDIT_OP_CLIP_SCALE, &z);
    p->args.clip_scale = (struct fdit_clip_scale_args){ .n = z.in, .max_norm = variant % 2 ? 0.5f : 0 };
    SIZES(p, SIZE(clip_scale, n));
    make_positive(fdit_probe_in(p, AT(clip_scale, partial), "partial", (size_t)z.in));
    fdit_probe_out(p, AT(clip_scale, scale), "scale", 1);
    optional(fdit_probe_out(p, AT(clip_scale, norm), "norm", 1));
}

void fdit_case_softmax(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    struct size z = size_of(variant);
    fdit_probe_begin(p, on->ctx, FDIT_OP_SOFTMAX, "%zux%d", z.m, z.in);
    p->shape = shape_of(FDIT_OP_SOFTMAX, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.softmax = (struct fdit_softmax_args){ .m = (int)z.m, .n = z.in, .scale = 2 };
    SIZES(p, SIZE(softmax, m), SIZE(softmax, n));
    fdit_probe_in(p, AT(softmax, x), "x", z.x);
    may_be(fdit_probe_out(p, AT(softmax, y), "y", z.x), "x");
}

/* ------------------------------------------------------------------ all of them */

static fdit_case_fn *const cases[FDIT_OP_COUNT] = {
#define OP(entry, ENUM, arguments) [FDIT_OP_##ENUM] = fdit_case_##entry,
#include "device/op_list.h"
};

int fdit_case_variants(enum fdit_op op)
{
    if (!cases[op])
        return 0;
    switch (op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX: return KINDS * N_SHAPES;
    case FDIT_OP_CONV: return 2 * N_SHAPES;    /* other acts */
    case FDIT_OP_POOLING: return 3 * N_SHAPES; /* all kinds */
    default: return N_SHAPES;
    }
}

bool fdit_case_is_tiny(int variant)
{
    return variant % N_SHAPES < TINY;
}

int fdit_cases_families(void)
{
    int n = 0;
    for (int op = 0; op < FDIT_OP_COUNT; op++)
        n += cases[op] != NULL;
    return n;
}

enum fdit_status fdit_case_make(fdit_context *ctx, struct fdit_probe *p, enum fdit_op op, int variant,
                                fdit_device *reference, const struct fdit_device *dev)
{
    cases[op](p, &(struct fdit_case_on){ ctx, dev }, variant);
    if (op == FDIT_OP_ATTENTION_BACKWARD && p->status == FDIT_OK)
        p->status = take_forward(ctx, p, variant, reference);
    fdit_probe_round(p, dev);
    return p->status;
}

enum fdit_status fdit_cases_run(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool tiny,
                                fdit_cases_fn report, void *user)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < FDIT_OP_COUNT; i++) {
        enum fdit_op op = (enum fdit_op)i;
        for (int v = 0; v < fdit_case_variants(op); v++) {
            struct fdit_probe p;
            struct fdit_probe_result result;
            if (fdit_stopped(ctx))
                return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped before %s", fdit_op_name(op));
            if (tiny && v % N_SHAPES >= TINY)
                continue;
            fdit_case_make(ctx, &p, op, v, reference, dev);
            status = fdit_probe_check(&p, reference, dev, &result);
            if (status == FDIT_OK)
                report(user, &p, &result);
            fdit_probe_end(&p);
            TRY(status);
        }
    }
out:
    return status;
}

enum fdit_status fdit_cases_quick(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool spoil)
{
    /* Both kinds of product on multiples of 64, where libraries take other kernels than elsewhere, and one
     * kernel of each further family that every job runs. */
    static const struct {
        fdit_case_fn *make;
        int variant;
    } quick[] = {
        { fdit_case_linear, 4 + 3 * N_SHAPES }, /* kind 0: a plain matrix, 64 x 64 x 64 */
        { fdit_case_linear, 4 + N_SHAPES },     /* kind 1: a weight, 64 x 64 x 64 */
        { fdit_case_linear, 3 + 4 * N_SHAPES }, /* the same, ragged */
        { fdit_case_norm, 3 },
        { fdit_case_column_sum, 3 },
        { fdit_case_axpy, 3 },
    };
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < sizeof quick / sizeof *quick; i++) {
        struct fdit_probe p;
        struct fdit_probe_result r;
        quick[i].make(&p, &(struct fdit_case_on){ ctx, dev }, quick[i].variant);
        fdit_probe_round(&p, dev);
        p.spoil = spoil ? 1 : 0;
        status = fdit_probe_check(&p, reference, dev, &r);
        if (status == FDIT_OK && !r.passed)
            status = fdit_fail(ctx, FDIT_ERROR_DEVICE, "self-test: %s: %s", p.text, r.reason);
        fdit_probe_end(&p);
        TRY(status);
    }
out:
    return status;
}
