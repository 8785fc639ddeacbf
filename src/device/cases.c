/* SPDX-License-Identifier: Apache-2.0
 * cases.c: calls of every op on ragged shapes. A variant below N_SHAPES chooses the shape, the others
 * repeat one with other options. */
#include "device/cases.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

#define AT(kind, field) (offsetof(union fdit_op_args, kind) + offsetof(struct fdit_##kind##_args, field))

/* samples, rows, n_in, n_out: single elements, primes, one more and one less than a tile, the width of
 * DiT-XL/2's heads. The first TINY are small enough for a simulator. */
static const int shapes[][4] = {
    { 1, 1, 1, 1 },    { 2, 3, 5, 7 },     { 1, 9, 33, 17 },     { 3, 17, 65, 31 },
    { 2, 64, 64, 64 }, { 1, 67, 257, 72 }, { 2, 128, 192, 320 }, { 1, 256, 1152, 255 },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, TINY = 4 };

struct size {
    int b, n, in, out;
    size_t m, x, y; /* rows, elements of [m, in] and [m, out] */
};

static struct size size_of(int variant)
{
    const int *s = shapes[variant % N_SHAPES];
    struct size z = { .b = s[0], .n = s[1], .in = s[2], .out = s[3] };
    z.m = (size_t)z.b * (size_t)z.n;
    z.x = z.m * (size_t)z.in;
    z.y = z.m * (size_t)z.out;
    return z;
}

static struct fdit_op_shape shape_of(enum fdit_op op, const struct size *z)
{
    return (struct fdit_op_shape){ .op = op,
                                   .samples = z->b,
                                   .rows = z->n,
                                   .n_in = z->in,
                                   .n_out = z->out,
                                   .n = z->x > z->y ? z->x : z->y };
}

static void scale(struct fdit_probe_slot *s, float by, float plus)
{
    for (size_t i = 0; s->data && i < s->n; i++)
        s->data[i] = s->data[i] * by + plus;
}

static void make_positive(struct fdit_probe_slot *s)
{
    for (size_t i = 0; s->data && i < s->n; i++)
        s->data[i] = 0.5f + fabsf(s->data[i]);
}

/* ------------------------------------------------------------------ products */

enum { KINDS = 5 };

/* Each shape meets a plain matrix (true) and weights of each storage type in KINDS rounds. */
static bool matrix_kind(int variant, const struct fdit_device *dev, enum fdit_dtype *storage)
{
    static const enum fdit_dtype types[KINDS] = { FDIT_F32, FDIT_F32, FDIT_F16, FDIT_BF16, FDIT_I8 };
    int kind = (variant % N_SHAPES + 2 * (variant / N_SHAPES)) % KINDS;
    *storage = fdit_device_supports_storage(dev, types[kind]) ? types[kind] : FDIT_F32;
    return kind == 0;
}

static void linear(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    enum fdit_dtype storage;
    bool plain = matrix_kind(variant, dev, &storage), gate = variant % 3 == 2, residual = variant % 3 != 0;
    fdit_probe_begin(p, ctx, FDIT_OP_LINEAR, "%dx%dx%dx%d %s%s%s", z.b, z.n, z.in, z.out,
                     plain ? "plain" : fdit_dtype_name(storage), gate ? " gate" : "",
                     residual ? " residual" : "");
    p->shape = shape_of(FDIT_OP_LINEAR, &z);
    p->shape.plain = plain;
    p->args.linear = (struct fdit_linear_args){ .samples = z.b,
                                                .rows = z.n,
                                                .n_in = z.in,
                                                .n_out = z.out,
                                                .act = (enum fdit_act)(variant % 3),
                                                .gate_stride = gate ? z.out : 0 };
    fdit_probe_in(p, AT(linear, x), "x", z.x);
    fdit_probe_in(p, AT(linear, bias), "bias", (size_t)z.out);
    if (plain)
        scale(fdit_probe_in(p, AT(linear, matrix), "W", (size_t)z.in * (size_t)z.out), 1 / sqrtf((float)z.in),
              0);
    else
        fdit_probe_weight(p, AT(linear, weight), z.out, z.in, storage);
    fdit_probe_out(p, AT(linear, y), "y", z.y);
    fdit_probe_out(p, AT(linear, pre), "pre", z.y);
    if (gate)
        fdit_probe_in(p, AT(linear, gate), "gate", (size_t)z.b * (size_t)z.out);
    if (residual)
        fdit_probe_in(p, AT(linear, residual), "residual", z.y);
}

static void linear_dx(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    enum fdit_dtype storage;
    bool plain = matrix_kind(variant, dev, &storage), act = variant % 3 == 1;
    fdit_probe_begin(p, ctx, FDIT_OP_LINEAR_DX, "%dx%dx%dx%d %s%s", z.b, z.n, z.in, z.out,
                     plain ? "plain" : fdit_dtype_name(storage), act ? " GELU" : "");
    p->shape = shape_of(FDIT_OP_LINEAR_DX, &z);
    p->shape.plain = plain;
    p->args.linear_dx = (struct fdit_linear_dx_args){ .samples = z.b,
                                                      .rows = z.n,
                                                      .n_in = z.in,
                                                      .n_out = z.out,
                                                      .beta = !act,
                                                      .act = act ? FDIT_ACT_GELU_TANH : FDIT_ACT_NONE };
    fdit_probe_in(p, AT(linear_dx, dy), "dy", z.y);
    if (plain)
        scale(fdit_probe_in(p, AT(linear_dx, matrix), "W", (size_t)z.in * (size_t)z.out),
              1 / sqrtf((float)z.out), 0);
    else
        fdit_probe_weight(p, AT(linear_dx, weight), z.out, z.in, storage);
    if (act) {
        fdit_probe_in(p, AT(linear_dx, pre), "pre", z.x);
        fdit_probe_out(p, AT(linear_dx, dx), "dx", z.x);
    } else {
        fdit_probe_inout(p, AT(linear_dx, dx), "dx", z.x);
    }
}

static void linear_dw(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t w = (size_t)z.in * (size_t)z.out;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_LINEAR_DW, "%dx%dx%dx%d", z.b, z.n, z.in, z.out);
    p->shape = shape_of(FDIT_OP_LINEAR_DW, &z);
    p->args.linear_dw = (struct fdit_linear_dw_args){
        .samples = z.b, .rows = z.n, .n_in = z.in, .n_out = z.out, .beta = variant % 2
    };
    fdit_probe_in(p, AT(linear_dw, dy), "dy", z.y);
    fdit_probe_in(p, AT(linear_dw, x), "x", z.x);
    if (variant % 2)
        fdit_probe_inout(p, AT(linear_dw, dw), "dw", w);
    else
        fdit_probe_out(p, AT(linear_dw, dw), "dw", w);
}

static void column_sum(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_COLUMN_SUM, "%zux%d", z.m, z.out);
    p->shape = shape_of(FDIT_OP_COLUMN_SUM, &z);
    p->args.column_sum = (struct fdit_column_sum_args){ .m = (int)z.m, .n = z.out, .beta = variant % 2 };
    fdit_probe_in(p, AT(column_sum, dy), "dy", z.y);
    if (variant % 2)
        fdit_probe_inout(p, AT(column_sum, db), "db", (size_t)z.out);
    else
        fdit_probe_out(p, AT(column_sum, db), "db", (size_t)z.out);
}

/* ------------------------------------------------------------------ norms */

static void norm(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_NORM, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_NORM, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.norm = (struct fdit_norm_args){ .samples = z.b, .rows = z.n, .width = z.in, .mod_stride = z.in };
    fdit_probe_in(p, AT(norm, x), "x", z.x);
    fdit_probe_in(p, AT(norm, weight), "weight", d);
    fdit_probe_in(p, AT(norm, bias), "bias", d);
    fdit_probe_in(p, AT(norm, shift), "shift", vectors);
    fdit_probe_in(p, AT(norm, scale), "scale", vectors);
    fdit_probe_out(p, AT(norm, y), "y", z.x);
    fdit_probe_out(p, AT(norm, xhat), "xhat", z.x);
    fdit_probe_out(p, AT(norm, rstd), "rstd", z.m);
}

static void modulate(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_MODULATE, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_MODULATE, &z);
    p->shape.n_out = z.in;
    p->args.modulate =
        (struct fdit_modulate_args){ .samples = z.b, .rows = z.n, .width = z.in, .mod_stride = z.in };
    fdit_probe_in(p, AT(modulate, xhat), "xhat", z.x);
    fdit_probe_in(p, AT(modulate, weight), "weight", d);
    fdit_probe_in(p, AT(modulate, bias), "bias", d);
    fdit_probe_in(p, AT(modulate, shift), "shift", vectors);
    fdit_probe_in(p, AT(modulate, scale), "scale", vectors);
    fdit_probe_out(p, AT(modulate, y), "y", z.x);
}

static void norm_backward(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t d = (size_t)z.in, vectors = (size_t)z.b * d;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_NORM_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_NORM_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.norm_backward = (struct fdit_norm_backward_args){ .samples = z.b,
                                                              .rows = z.n,
                                                              .width = z.in,
                                                              .accumulate = true,
                                                              .dmod_stride = z.in,
                                                              .beta = 1,
                                                              .mod_stride = z.in };
    fdit_probe_in(p, AT(norm_backward, dy), "dy", z.x);
    fdit_probe_in(p, AT(norm_backward, xhat), "xhat", z.x);
    make_positive(fdit_probe_in(p, AT(norm_backward, rstd), "rstd", z.m));
    fdit_probe_in(p, AT(norm_backward, weight), "weight", d);
    fdit_probe_in(p, AT(norm_backward, bias), "bias", d);
    fdit_probe_in(p, AT(norm_backward, scale), "scale", vectors);
    fdit_probe_inout(p, AT(norm_backward, dx), "dx", z.x);
    fdit_probe_out(p, AT(norm_backward, dshift), "dshift", vectors);
    fdit_probe_out(p, AT(norm_backward, dscale), "dscale", vectors);
    fdit_probe_inout(p, AT(norm_backward, dweight), "dweight", d);
    fdit_probe_inout(p, AT(norm_backward, dbias), "dbias", d);
}

/* ------------------------------------------------------------------ attention */

/* samples, rows, heads, head size */
static const int attention_shapes[N_SHAPES][4] = {
    { 1, 1, 1, 1 },   { 2, 5, 1, 3 },   { 1, 9, 3, 8 },     { 1, 33, 2, 16 },
    { 2, 64, 2, 32 }, { 1, 77, 3, 72 }, { 1, 130, 2, 128 }, { 1, 256, 2, 64 },
};

static void attention(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    const int *s = attention_shapes[variant % N_SHAPES];
    size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_ATTENTION, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_ATTENTION, .samples = s[0], .rows = s[1], .heads = s[2], .head_size = s[3]
    };
    p->allowed = 1e-10;
    p->args.attention =
        (struct fdit_attention_args){ .samples = s[0], .rows = s[1], .heads = s[2], .head_size = s[3] };
    fdit_probe_in(p, AT(attention, qkv), "qkv", 3 * rows * d);
    fdit_probe_out(p, AT(attention, out), "out", rows * d);
    fdit_probe_out(p, AT(attention, lse), "lse", rows * (size_t)s[2]);
}

/* out and lse belong to qkv: fdit_selftest_ops fills these three from the forward call. */
static void attention_backward(struct fdit_probe *p, fdit_context *ctx, int variant,
                               const struct fdit_device *dev)
{
    const int *s = attention_shapes[variant % N_SHAPES];
    size_t rows = (size_t)s[0] * (size_t)s[1], d = (size_t)s[2] * (size_t)s[3];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_ATTENTION_BACKWARD, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_ATTENTION_BACKWARD, .samples = s[0], .rows = s[1], .heads = s[2], .head_size = s[3]
    };
    p->allowed = 1e-9;
    p->args.attention_backward = (struct fdit_attention_backward_args){
        .samples = s[0], .rows = s[1], .heads = s[2], .head_size = s[3]
    };
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
    struct fdit_probe_result unused;
    float *image = NULL;
    attention(&forward, ctx, variant, reference);
    TRY(fdit_probe_check(&forward, reference, reference, &unused, &image));
    for (int i = 0; i < 3 && p->status == FDIT_OK; i++)
        memcpy(p->slots[i].data, image + forward.slots[i].at, p->slots[i].n * sizeof *image);
out:
    fdit_probe_end(&forward);
    fdit_free(image);
    return status;
}

/* ------------------------------------------------------------------ element by element */

static void gate(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_GATE, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_GATE, &z);
    p->args.gate = (struct fdit_gate_args){ .samples = z.b, .rows = z.n, .width = z.in, .gate_stride = z.in };
    fdit_probe_in(p, AT(gate, branch), "branch", z.x);
    fdit_probe_in(p, AT(gate, gate), "gate", (size_t)z.b * (size_t)z.in);
    if (variant % 2) { /* in place: y is the residual */
        struct fdit_probe_slot *y = fdit_probe_inout(p, AT(gate, y), "y", z.x);
        y->alias = AT(gate, residual);
        y->has_alias = true;
    } else {
        fdit_probe_out(p, AT(gate, y), "y", z.x);
    }
}

static void gate_backward(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t vectors = (size_t)z.b * (size_t)z.in;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_GATE_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_GATE_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->args.gate_backward = (struct fdit_gate_backward_args){
        .samples = z.b, .rows = z.n, .width = z.in, .gate_stride = z.in, .dgate_stride = z.in
    };
    fdit_probe_in(p, AT(gate_backward, dy), "dy", z.x);
    fdit_probe_in(p, AT(gate_backward, branch), "branch", z.x);
    fdit_probe_in(p, AT(gate_backward, gate), "gate", vectors);
    fdit_probe_out(p, AT(gate_backward, dbranch), "dbranch", z.x);
    fdit_probe_out(p, AT(gate_backward, dgate), "dgate", vectors);
}

static void activation(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    enum fdit_act act = variant % 2 ? FDIT_ACT_SILU : FDIT_ACT_GELU_TANH;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_ACTIVATION, "%zu %s", z.x, variant % 2 ? "SiLU" : "GELU");
    p->shape = shape_of(FDIT_OP_ACTIVATION, &z);
    p->args.activation = (struct fdit_activation_args){ .n = z.x, .act = act };
    scale(fdit_probe_in(p, AT(activation, x), "x", z.x), 3, 0);
    fdit_probe_out(p, AT(activation, y), "y", z.x);
}

static void activation_backward(struct fdit_probe *p, fdit_context *ctx, int variant,
                                const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    enum fdit_act act = variant % 2 ? FDIT_ACT_SILU : FDIT_ACT_GELU_TANH;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_ACTIVATION_BACKWARD, "%zu %s", z.x, variant % 2 ? "SiLU" : "GELU");
    p->shape = shape_of(FDIT_OP_ACTIVATION_BACKWARD, &z);
    p->args.activation_backward = (struct fdit_activation_backward_args){ .n = z.x, .act = act };
    scale(fdit_probe_in(p, AT(activation_backward, x), "x", z.x), 3, 0);
    fdit_probe_in(p, AT(activation_backward, dy), "dy", z.x);
    fdit_probe_out(p, AT(activation_backward, dx), "dx", z.x);
}

static void axpy(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_AXPY, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_AXPY, &z);
    p->args.axpy = (struct fdit_axpy_args){ .n = z.x, .alpha = -0.75f, .beta = 1 };
    fdit_probe_in(p, AT(axpy, x), "x", z.x);
    fdit_probe_inout(p, AT(axpy, y), "y", z.x);
}

static void gather(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    int rows = z.out + 1;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_GATHER, "%zu of %dx%d", z.m, rows, z.in);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GATHER, .samples = (int)z.m, .n_in = rows, .n_out = z.in };
    p->args.gather =
        (struct fdit_gather_args){ .samples = (int)z.m, .n_rows = rows, .width = z.in, .beta = 1 };
    fdit_probe_rows(p, AT(gather, rows), "rows", z.m, rows);
    fdit_probe_in(p, AT(gather, table), "table", (size_t)rows * (size_t)z.in);
    fdit_probe_inout(p, AT(gather, y), "y", z.x);
}

static void scatter_add(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    int rows = z.out / 3 + 1; /* several samples of a row */
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_SCATTER_ADD, "%zu to %dx%d", z.m, rows, z.in);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_SCATTER_ADD, .samples = (int)z.m, .n_in = rows, .n_out = z.in };
    p->args.scatter_add = (struct fdit_scatter_add_args){
        .samples = (int)z.m, .n_rows = rows, .width = z.in, .beta = variant % 2
    };
    fdit_probe_rows(p, AT(scatter_add, rows), "rows", z.m, rows);
    fdit_probe_in(p, AT(scatter_add, dy), "dy", z.x);
    if (variant % 2)
        fdit_probe_inout(p, AT(scatter_add, dtable), "dtable", (size_t)rows * (size_t)z.in);
    else
        fdit_probe_out(p, AT(scatter_add, dtable), "dtable", (size_t)rows * (size_t)z.in);
}

/* samples, channels, size, patch */
static const int images[N_SHAPES][4] = {
    { 1, 1, 1, 1 }, { 2, 3, 4, 2 },  { 1, 4, 6, 3 },  { 3, 1, 10, 5 },
    { 2, 4, 8, 2 }, { 1, 3, 24, 4 }, { 2, 4, 32, 2 }, { 1, 8, 32, 4 },
};

static void patches(struct fdit_probe *p, fdit_context *ctx, int variant, enum fdit_op op)
{
    const int *s = images[variant % N_SHAPES];
    size_t n = (size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[2];
    fdit_probe_begin(p, ctx, op, "%dx%dx%dx%d", s[0], s[1], s[2], s[3]);
    p->shape = (struct fdit_op_shape){ .op = op, .samples = s[0], .n = n };
    p->allowed = 0;
    p->args.patchify = (struct fdit_patchify_args){ .samples = s[0],
                                                    .channels = s[1],
                                                    .size = s[2],
                                                    .patch = s[3],
                                                    .order = variant % 2 ? FDIT_PATCH_CHANNEL_LAST
                                                                         : FDIT_PATCH_CHANNEL_FIRST };
    size_t tokens = AT(patchify, tokens), image = AT(patchify, image);
    bool forward = op == FDIT_OP_PATCHIFY;
    fdit_probe_in(p, forward ? image : tokens, "from", n);
    fdit_probe_out(p, forward ? tokens : image, "to", n);
}

static void patchify(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    (void)dev;
    patches(p, ctx, variant, FDIT_OP_PATCHIFY);
}

static void unpatchify(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    (void)dev;
    patches(p, ctx, variant, FDIT_OP_UNPATCHIFY);
}

static void token_mean(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_TOKEN_MEAN, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_TOKEN_MEAN, &z);
    p->shape.n_out = z.in;
    p->args.token_mean = (struct fdit_token_mean_args){ .samples = z.b, .rows = z.n, .width = z.in };
    fdit_probe_in(p, AT(token_mean, x), "x", z.x);
    fdit_probe_out(p, AT(token_mean, y), "y", (size_t)z.b * (size_t)z.in);
}

static void token_mean_backward(struct fdit_probe *p, fdit_context *ctx, int variant,
                                const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_TOKEN_MEAN_BACKWARD, "%dx%dx%d", z.b, z.n, z.in);
    p->shape = shape_of(FDIT_OP_TOKEN_MEAN_BACKWARD, &z);
    p->shape.n_out = z.in;
    p->args.token_mean_backward =
        (struct fdit_token_mean_backward_args){ .samples = z.b, .rows = z.n, .width = z.in };
    fdit_probe_in(p, AT(token_mean_backward, dy), "dy", (size_t)z.b * (size_t)z.in);
    fdit_probe_out(p, AT(token_mean_backward, dx), "dx", z.x);
}

/* ------------------------------------------------------------------ diffusion, losses, optimiser */

static void diffuse(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    size_t n = (size_t)z.n * (size_t)z.in;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_DIFFUSE, "%dx%zu", z.b, n);
    p->shape = shape_of(FDIT_OP_DIFFUSE, &z);
    p->args.diffuse = (struct fdit_diffuse_args){ .samples = z.b, .n = n };
    fdit_probe_in(p, AT(diffuse, x0), "x0", z.x);
    fdit_probe_in(p, AT(diffuse, noise), "noise", z.x);
    fdit_probe_in(p, AT(diffuse, coef), "coef", 2 * (size_t)z.b);
    fdit_probe_out(p, AT(diffuse, xt), "xt", z.x);
}

static void diffusion_loss(struct fdit_probe *p, fdit_context *ctx, int variant,
                           const struct fdit_device *dev)
{
    /* t = 0, 1 and 500 of the 1000-step chain */
    static const struct fdit_loss_coef coefs[3] = {
        { 1, -9.21034037f, -9.81672514f, 0.0100005f, 1, { 0 } },
        { 0, -9.02868637f, -9.81672514f, 0.00808767f, 1, { 0 } },
        { 0, -4.59919209f, -4.60004974f, 0.0105291f, 1, { 0 } },
    };
    const int *s = images[variant % N_SHAPES];
    size_t pixels = (size_t)s[2] * (size_t)s[2], n = (size_t)s[1] * pixels, b = (size_t)s[0];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_DIFFUSION_LOSS, "%dx%dx%zu", s[0], s[1], pixels);
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_DIFFUSION_LOSS, .samples = s[0], .n = 2 * n * b };
    p->allowed = 1e-9;
    p->args.diffusion_loss =
        (struct fdit_diffusion_loss_args){ .samples = s[0], .channels = s[1], .n = pixels };
    fdit_probe_in(p, AT(diffusion_loss, out), "out", 2 * n * b);
    fdit_probe_in(p, AT(diffusion_loss, noise), "noise", n * b);
    struct fdit_probe_slot *x0 = fdit_probe_in(p, AT(diffusion_loss, x0), "x0", n * b);
    for (size_t i = 0; x0->data && i < x0->n; i++)
        x0->data[i] = fmaxf(-1, fminf(1, x0->data[i]));
    struct fdit_probe_slot *coef = fdit_probe_in(p, AT(diffusion_loss, coef), "coef", 8 * b);
    for (size_t i = 0; coef->data && i < b; i++) {
        struct fdit_loss_coef one = coefs[((size_t)variant + i) % 3];
        one.scale = (float)n; /* gradients of about 1 */
        memcpy(coef->data + 8 * i, &one, sizeof one);
    }
    fdit_probe_out(p, AT(diffusion_loss, losses), "losses", 2 * b);
    fdit_probe_out(p, AT(diffusion_loss, dout), "dout", 2 * n * b);
}

static void cross_entropy(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_CROSS_ENTROPY, "%zux%d", z.m, z.out);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_CROSS_ENTROPY, .samples = (int)z.m, .rows = 1, .n_out = z.out };
    p->allowed = 1e-10;
    p->args.cross_entropy =
        (struct fdit_cross_entropy_args){ .samples = (int)z.m, .classes = z.out, .scale = 0.37f };
    scale(fdit_probe_in(p, AT(cross_entropy, logits), "logits", z.y), 3, 0);
    fdit_probe_rows(p, AT(cross_entropy, labels), "labels", z.m, z.out);
    fdit_probe_out(p, AT(cross_entropy, loss), "loss", z.m);
    fdit_probe_out(p, AT(cross_entropy, dlogits), "dlogits", z.y);
}

static void sampler(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    const int *s = images[variant % N_SHAPES];
    size_t pixels = (size_t)s[2] * (size_t)s[2], n = (size_t)s[0] * (size_t)s[1] * pixels;
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_SAMPLER_STEP, "%dx%dx%zu", s[0], s[1], pixels);
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_SAMPLER_STEP, .samples = s[0], .n = n };
    p->args.sampler_step = (struct fdit_sampler_step_args){ .samples = s[0],
                                                            .channels = s[1],
                                                            .n = pixels,
                                                            .guidance = 4,
                                                            .guided_channels = s[1] > 3 ? 3 : s[1],
                                                            .x0_x = 1.25f,
                                                            .x0_eps = -0.75f,
                                                            .clip_x0 = variant % 2,
                                                            .to_x = 0.6f,
                                                            .to_x0 = 0.3f,
                                                            .to_eps = 0.1f,
                                                            .to_old = -0.2f,
                                                            .to_z = 0.4f,
                                                            .learned = true,
                                                            .log_beta = -4.5f,
                                                            .log_var = -4.6f };
    struct fdit_probe_slot *x = fdit_probe_inout(p, AT(sampler_step, x), "x", n);
    x->alias = AT(sampler_step, x_next);
    x->has_alias = true;
    fdit_probe_in(p, AT(sampler_step, cond), "cond", 2 * n);
    fdit_probe_in(p, AT(sampler_step, uncond), "uncond", 2 * n);
    fdit_probe_in(p, AT(sampler_step, z), "z", n);
    fdit_probe_inout(p, AT(sampler_step, old), "old", n);
}

static void adamw(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_ADAMW, "%zu", z.x);
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
    fdit_probe_inout(p, AT(adamw, p), "p", z.x);
    fdit_probe_in(p, AT(adamw, g), "g", z.x);
    fdit_probe_inout(p, AT(adamw, m), "m", z.x);
    make_positive(fdit_probe_inout(p, AT(adamw, v), "v", z.x));
    fdit_probe_inout(p, AT(adamw, ema), "ema", z.x);
    make_positive(fdit_probe_in(p, AT(adamw, scale), "scale", 1));
}

static void sum_squares(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_SUM_SQUARES, "%zu", z.x);
    p->shape = shape_of(FDIT_OP_SUM_SQUARES, &z);
    p->args.sum_squares = (struct fdit_sum_squares_args){ .n = z.x };
    fdit_probe_in(p, AT(sum_squares, x), "x", z.x);
    fdit_probe_out(p, AT(sum_squares, out), "sum", 1);
}

static void clip_scale(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_CLIP_SCALE, "%d", z.in);
    p->shape = shape_of(FDIT_OP_CLIP_SCALE, &z);
    p->args.clip_scale = (struct fdit_clip_scale_args){ .n = z.in, .max_norm = variant % 2 ? 0.5f : 0 };
    make_positive(fdit_probe_in(p, AT(clip_scale, partial), "partial", (size_t)z.in));
    fdit_probe_out(p, AT(clip_scale, scale), "scale", 1);
    fdit_probe_out(p, AT(clip_scale, norm), "norm", 1);
}

/* ------------------------------------------------------------------ pictures */

/* samples, height, width, channels in and out, stride; upsampled where the variant is odd and stride 1 */
static const int convs[N_SHAPES][6] = {
    { 1, 1, 1, 1, 1, 1 },   { 2, 3, 5, 3, 7, 1 },   { 1, 4, 6, 5, 4, 2 },     { 1, 5, 3, 9, 17, 1 },
    { 1, 8, 8, 16, 33, 1 }, { 1, 7, 5, 72, 40, 1 }, { 2, 16, 16, 64, 64, 2 }, { 1, 17, 13, 31, 67, 1 },
};

static void conv(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    const int *s = convs[variant % N_SHAPES];
    bool upsample = variant % 2 && s[5] == 1;
    int up = upsample ? 2 : 1, height = up * s[1] / s[5], width = up * s[2] / s[5];
    size_t y = (size_t)s[0] * (size_t)height * (size_t)width * (size_t)s[4];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_CONV, "%dx%dx%dx%d to %d stride %d%s", s[0], s[1], s[2], s[3], s[4],
                     s[5], upsample ? " upsampled" : "");
    p->shape = (struct fdit_op_shape){
        .op = FDIT_OP_CONV, .samples = s[0], .rows = height * width, .n_in = s[3], .n_out = s[4]
    };
    p->args.conv = (struct fdit_conv_args){ .samples = s[0],
                                            .height = s[1],
                                            .width = s[2],
                                            .n_in = s[3],
                                            .n_out = s[4],
                                            .out_height = height,
                                            .first = s[5] == 2 ? 0 : -1,
                                            .stride = s[5],
                                            .upsample = upsample };
    fdit_probe_in(p, AT(conv, x), "x", (size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[3]);
    fdit_probe_in(p, AT(conv, bias), "bias", (size_t)s[4]);
    fdit_probe_in(p, AT(conv, residual), "residual", y);
    fdit_probe_out(p, AT(conv, y), "y", y);
    fdit_probe_weight(p, AT(conv, weight), s[4], 9 * s[3], FDIT_F32);
    p->desc.conv = true;
}

/* samples, rows, width, groups */
static const int groups[N_SHAPES][4] = {
    { 1, 1, 2, 1 },    { 2, 5, 6, 3 },    { 1, 9, 32, 32 },     { 1, 33, 64, 4 },
    { 2, 64, 96, 32 }, { 1, 257, 72, 8 }, { 1, 1024, 128, 32 }, { 1, 63, 512, 32 },
};

static void group_stats(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    const int *s = groups[variant % N_SHAPES];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_GROUP_STATS, "%dx%dx%d in %d", s[0], s[1], s[2], s[3]);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GROUP_STATS, .samples = s[0], .rows = s[1], .n_out = s[2] };
    p->allowed = 1e-10;
    p->args.group_stats =
        (struct fdit_group_stats_args){ .samples = s[0], .rows = s[1], .width = s[2], .groups = s[3] };
    fdit_probe_in(p, AT(group_stats, x), "x", (size_t)s[0] * (size_t)s[1] * (size_t)s[2]);
    fdit_probe_out(p, AT(group_stats, stats), "stats", 2 * (size_t)s[0] * (size_t)s[3]);
}

static void group_apply(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    const int *s = groups[variant % N_SHAPES];
    size_t n = (size_t)s[0] * (size_t)s[1] * (size_t)s[2];
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_GROUP_APPLY, "%dx%dx%d in %d", s[0], s[1], s[2], s[3]);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GROUP_APPLY, .samples = s[0], .rows = s[1], .n_out = s[2] };
    p->args.group_apply = (struct fdit_group_apply_args){
        .samples = s[0], .rows = s[1], .width = s[2], .groups = s[3], .act = FDIT_ACT_SILU
    };
    fdit_probe_in(p, AT(group_apply, x), "x", n);
    make_positive(fdit_probe_in(p, AT(group_apply, stats), "stats", 2 * (size_t)s[0] * (size_t)s[3]));
    fdit_probe_in(p, AT(group_apply, weight), "weight", (size_t)s[2]);
    fdit_probe_in(p, AT(group_apply, bias), "bias", (size_t)s[2]);
    fdit_probe_out(p, AT(group_apply, y), "y", n);
}

static void softmax(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev)
{
    struct size z = size_of(variant);
    (void)dev;
    fdit_probe_begin(p, ctx, FDIT_OP_SOFTMAX, "%zux%d", z.m, z.in);
    p->shape = shape_of(FDIT_OP_SOFTMAX, &z);
    p->shape.n_out = z.in;
    p->allowed = 1e-10;
    p->args.softmax = (struct fdit_softmax_args){ .m = (int)z.m, .n = z.in, .scale = 2 };
    fdit_probe_in(p, AT(softmax, x), "x", z.x);
    fdit_probe_out(p, AT(softmax, y), "y", z.x);
}

/* ------------------------------------------------------------------ all of them */

static const struct family {
    enum fdit_op op;
    int variants; /* the shapes, and more where options go through a longer cycle */
    void (*make)(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev);
} families[] = {
    { FDIT_OP_LINEAR, KINDS *N_SHAPES, linear },
    { FDIT_OP_LINEAR_DX, KINDS *N_SHAPES, linear_dx },
    { FDIT_OP_LINEAR_DW, N_SHAPES, linear_dw },
    { FDIT_OP_COLUMN_SUM, N_SHAPES, column_sum },
    { FDIT_OP_NORM, N_SHAPES, norm },
    { FDIT_OP_MODULATE, N_SHAPES, modulate },
    { FDIT_OP_NORM_BACKWARD, N_SHAPES, norm_backward },
    { FDIT_OP_ATTENTION, N_SHAPES, attention },
    { FDIT_OP_ATTENTION_BACKWARD, N_SHAPES, attention_backward },
    { FDIT_OP_GATE, N_SHAPES, gate },
    { FDIT_OP_GATE_BACKWARD, N_SHAPES, gate_backward },
    { FDIT_OP_ACTIVATION, N_SHAPES, activation },
    { FDIT_OP_ACTIVATION_BACKWARD, N_SHAPES, activation_backward },
    { FDIT_OP_AXPY, N_SHAPES, axpy },
    { FDIT_OP_GATHER, N_SHAPES, gather },
    { FDIT_OP_SCATTER_ADD, N_SHAPES, scatter_add },
    { FDIT_OP_PATCHIFY, N_SHAPES, patchify },
    { FDIT_OP_UNPATCHIFY, N_SHAPES, unpatchify },
    { FDIT_OP_TOKEN_MEAN, N_SHAPES, token_mean },
    { FDIT_OP_TOKEN_MEAN_BACKWARD, N_SHAPES, token_mean_backward },
    { FDIT_OP_DIFFUSE, N_SHAPES, diffuse },
    { FDIT_OP_DIFFUSION_LOSS, N_SHAPES, diffusion_loss },
    { FDIT_OP_CROSS_ENTROPY, N_SHAPES, cross_entropy },
    { FDIT_OP_SAMPLER_STEP, N_SHAPES, sampler },
    { FDIT_OP_ADAMW, N_SHAPES, adamw },
    { FDIT_OP_SUM_SQUARES, N_SHAPES, sum_squares },
    { FDIT_OP_CLIP_SCALE, N_SHAPES, clip_scale },
    { FDIT_OP_CONV, N_SHAPES, conv },
    { FDIT_OP_GROUP_STATS, N_SHAPES, group_stats },
    { FDIT_OP_GROUP_APPLY, N_SHAPES, group_apply },
    { FDIT_OP_SOFTMAX, N_SHAPES, softmax },
};
enum { N_FAMILIES = sizeof families / sizeof *families };

int fdit_selftest_families(void)
{
    return N_FAMILIES;
}

enum fdit_status fdit_selftest_ops(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool tiny,
                                   fdit_selftest_fn report, void *user)
{
    enum fdit_status status = FDIT_OK;
    for (int f = 0; f < N_FAMILIES; f++) {
        for (int v = 0; v < families[f].variants; v++) {
            struct fdit_probe p;
            struct fdit_probe_result result;
            if (fdit_stopped(ctx))
                return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped before %s", fdit_op_name(families[f].op));
            if (tiny && v % N_SHAPES >= TINY)
                continue;
            families[f].make(&p, ctx, v, dev);
            if (families[f].op == FDIT_OP_ATTENTION_BACKWARD && p.status == FDIT_OK)
                p.status = take_forward(ctx, &p, v, reference);
            status = fdit_probe_check(&p, reference, dev, &result, NULL);
            if (status == FDIT_OK)
                report(user, &p, &result);
            fdit_probe_end(&p);
            TRY(status);
        }
    }
out:
    return status;
}

enum fdit_status fdit_selftest_quick(fdit_context *ctx, fdit_device *reference, fdit_device *dev, bool spoil)
{
    /* Both kinds of product on multiples of 64, where libraries take other kernels than elsewhere, and one
     * kernel of each further family that every job runs. */
    static const struct {
        void (*make)(struct fdit_probe *p, fdit_context *ctx, int variant, const struct fdit_device *dev);
        int variant;
    } quick[] = {
        { linear, 4 + 3 * N_SHAPES }, /* kind 0: a plain matrix, 64 x 64 x 64 */
        { linear, 4 + N_SHAPES },     /* kind 1: a weight, 64 x 64 x 64 */
        { linear, 3 + 4 * N_SHAPES }, /* the same, ragged */
        { norm, 3 },
        { column_sum, 3 },
        { axpy, 3 },
    };
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < sizeof quick / sizeof *quick; i++) {
        struct fdit_probe p;
        struct fdit_probe_result r;
        quick[i].make(&p, ctx, quick[i].variant, dev);
        p.spoil = spoil ? 1 : 0;
        status = fdit_probe_check(&p, reference, dev, &r, NULL);
        if (status == FDIT_OK && !r.passed)
            status = fdit_fail(ctx, FDIT_ERROR_DEVICE, "self-test: %s: %s", p.text, r.reason);
        fdit_probe_end(&p);
        TRY(status);
    }
out:
    return status;
}
