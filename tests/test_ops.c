/* SPDX-License-Identifier: Apache-2.0
 * Every op of device/device.h on every usable device against the reference device. See op_case.h
 * for what is compared.
 *
 * FDIT_TEST_DEVICE: the device to test (cpu, opencl:0:0, opencl+bf16, ...); otherwise all usable ones, those
 * of OpenCL in test_ops_opencl and the others, also in bf16 and int8, in test_ops.
 * FDIT_TEST_SEED repeats a run, CK_RUN_CASE chooses one op, and FDIT_TEST_MAX_ELEMENTS leaves out
 * calls with more elements, for simulators of devices. */
#include "op_case.h"
#include "ops_picture.h"
#include "ops_pointwise.h"

#include "core/mem.h"
#include "devices.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(args, field) offsetof(struct fdit_##args##_args, field)

static size_t mul(int a, int b)
{
    return (size_t)a * (size_t)b;
}

static struct fdit_op_shape shape_of(enum fdit_op op, int samples, int rows, int n_in, int n_out)
{
    return (struct fdit_op_shape){ .op = op,
                                   .samples = samples,
                                   .tokens = rows,
                                   .n_in = n_in,
                                   .n_out = n_out,
                                   .n = mul(samples, rows) * (size_t)n_out };
}

/* -------------------------------------------------------------------------------- linear family */

struct matrix_shape {
    int samples, rows, n_in, n_out;
};
static const struct matrix_shape matrix_shapes[] = {
    { 1, 1, 1, 1 },       { 2, 3, 5, 7 },      { 3, 1, 72, 72 },    { 1, 17, 31, 13 },
    { 2, 8, 255, 257 },   { 1, 257, 72, 216 }, { 2, 1, 256, 1152 }, { 3, 1, 1152, 6 * 72 },
    { 1, 16, 1152, 255 }, { 2, 64, 16, 1152 }, { 1, 2, 4, 33 },     { 5, 1, 257, 1 },
    { 1, 67, 19, 70 },
};
enum { N_MATRIX_SHAPES = sizeof matrix_shapes / sizeof *matrix_shapes };

enum residual { RESIDUAL_NONE, RESIDUAL_OWN, RESIDUAL_SHARED, RESIDUAL_IN_PLACE, N_RESIDUALS };
struct linear_options {
    bool plain, bias, pre, gate;
    enum fdit_act act;
    enum residual residual;
    int beta;
    enum fdit_dtype storage;
};

static struct op_case *linear_case(struct matrix_shape s, struct linear_options o)
{
    static const char *const residuals[] = { "", ", residual", ", shared residual", ", residual in place" };
    static const char *const acts[] = { "", ", gelu", ", silu", ", relu", ", gelu (erf)" };
    struct op_case *c =
        case_new(FDIT_OP_LINEAR, "%dx%dx%dx%d %s%s%s%s%s%s beta %d", s.samples, s.rows, s.n_in, s.n_out,
                 o.plain ? "plain" : fdit_dtype_name(o.storage), o.bias ? ", bias" : "", acts[o.act],
                 o.pre ? ", pre" : "", o.gate ? ", gate" : "", residuals[o.residual], o.beta);
    int samples = s.samples, stride = s.n_out + 5;
    size_t y = mul(s.rows, s.n_out);
    float deviation = 1 / sqrtf((float)s.n_in);
    c->p.args.linear = (struct fdit_linear_args){
        .samples = samples,
        .tokens = s.rows,
        .n_in = s.n_in,
        .n_out = s.n_out,
        .act = o.act,
        .gate_stride = o.gate ? stride : 0,
        .residual_shared = o.residual == RESIDUAL_SHARED,
        .beta = o.beta,
    };
    c->p.shape = shape_of(FDIT_OP_LINEAR, samples, s.rows, s.n_in, s.n_out);
    c->p.shape.plain = o.plain;
    c->p.per_sample = true;
    c->has_limits = o.act != FDIT_ACT_NONE;
    case_in(c, AT(linear, x), "x", mul(s.rows, s.n_in), samples);
    if (o.residual == RESIDUAL_IN_PLACE)
        case_inout(c, AT(linear, y), "y", y, samples)->alias = AT(linear, residual);
    else if (o.beta)
        case_inout(c, AT(linear, y), "y", y, samples);
    else
        case_out(c, AT(linear, y), "y", y, samples);
    if (o.plain)
        test_fill_normal(&c->rng, case_in(c, AT(linear, matrix), "W", mul(s.n_out, s.n_in), 0)->data,
                         mul(s.n_out, s.n_in), 0, deviation);
    else
        case_weight(c, AT(linear, weight), s.n_out, s.n_in, deviation);
    c->p.desc.storage = o.storage;
    if (o.bias)
        case_in(c, AT(linear, bias), "bias", (size_t)s.n_out, 0);
    if (o.pre)
        case_out(c, AT(linear, pre), "pre", y, samples);
    if (o.gate)
        case_in_strided(c, AT(linear, gate), "gate", (size_t)s.n_out, samples, stride);
    if (o.residual == RESIDUAL_OWN)
        case_in(c, AT(linear, residual), "residual", y, samples);
    if (o.residual == RESIDUAL_SHARED)
        case_in(c, AT(linear, residual), "residual", y, 0);
    return c;
}

START_TEST(linear_shapes)
{
    for (int i = 0; i < N_MATRIX_SHAPES; i++)
        for (int k = 0; k < 2; k++) {
            struct linear_options o = { .plain = k, .bias = k ^ (i & 1), .beta = i % 3 == 0 };
            struct op_case *c = linear_case(matrix_shapes[i], o);
            c->no_poison = mul(matrix_shapes[i].n_in, matrix_shapes[i].n_out) > 10000;
            case_check(c);
        }
}
END_TEST

START_TEST(linear_options)
{
    struct matrix_shape s = { 2, 3, 9, 21 };
    int n = 0;
    for (int bits = 0; bits < 16; bits++)
        for (int act = FDIT_ACT_NONE; act <= FDIT_ACT_LAST; act++)
            for (int residual = 0; residual < N_RESIDUALS; residual++)
                for (int beta = 0; beta < 2; beta++) {
                    struct linear_options o = { .plain = bits & 1,
                                                .bias = bits & 2,
                                                .pre = bits & 4,
                                                .gate = bits & 8,
                                                .act = (enum fdit_act)act,
                                                .residual = (enum residual)residual,
                                                .beta = beta };
                    if (beta && (o.gate || o.residual != RESIDUAL_NONE))
                        continue;
                    struct op_case *c = linear_case(s, o);
                    c->no_poison = n++ % 17 != 0;
                    case_check(c);
                }
    /* The calls of the model: adaLN vectors, the branch outputs, the patch embedding. */
    case_check(linear_case((struct matrix_shape){ 3, 1, 257, 36 },
                           (struct linear_options){ .bias = true, .act = FDIT_ACT_SILU, .pre = true }));
    case_check(linear_case(
        (struct matrix_shape){ 2, 16, 72, 72 },
        (struct linear_options){ .bias = true, .gate = true, .pre = true, .residual = RESIDUAL_IN_PLACE }));
    case_check(linear_case((struct matrix_shape){ 2, 16, 16, 72 },
                           (struct linear_options){ .bias = true, .residual = RESIDUAL_SHARED }));
}
END_TEST

static struct op_case *linear_dx_case(struct matrix_shape s, bool plain, enum fdit_act act, int beta,
                                      enum fdit_dtype storage)
{
    struct op_case *c = case_new(FDIT_OP_LINEAR_DX, "%dx%dx%dx%d %s act %d beta %d", s.samples, s.rows,
                                 s.n_in, s.n_out, plain ? "plain" : fdit_dtype_name(storage), (int)act, beta);
    float deviation = 1 / sqrtf((float)s.n_out);
    c->p.args.linear_dx = (struct fdit_linear_dx_args){
        .samples = s.samples, .tokens = s.rows, .n_in = s.n_in, .n_out = s.n_out, .act = act, .beta = beta
    };
    c->p.shape = shape_of(FDIT_OP_LINEAR_DX, s.samples, s.rows, s.n_in, s.n_out);
    c->p.shape.plain = plain;
    c->p.per_sample = true;
    c->has_limits = act != FDIT_ACT_NONE;
    size_t dx = mul(s.rows, s.n_in);
    if (beta)
        case_inout(c, AT(linear_dx, dx), "dx", dx, s.samples);
    else
        case_out(c, AT(linear_dx, dx), "dx", dx, s.samples);
    case_in(c, AT(linear_dx, dy), "dy", mul(s.rows, s.n_out), s.samples);
    if (plain)
        test_fill_normal(&c->rng, case_in(c, AT(linear_dx, matrix), "W", mul(s.n_out, s.n_in), 0)->data,
                         mul(s.n_out, s.n_in), 0, deviation);
    else
        case_weight(c, AT(linear_dx, weight), s.n_out, s.n_in, deviation);
    c->p.desc.storage = storage;
    if (act != FDIT_ACT_NONE)
        case_in(c, AT(linear_dx, pre), "pre", dx, s.samples);
    return c;
}

START_TEST(linear_dx)
{
    for (int i = 0; i < N_MATRIX_SHAPES; i++)
        for (int plain = 0; plain < 2; plain++)
            for (int act = FDIT_ACT_NONE; act <= FDIT_ACT_LAST; act++)
                for (int beta = 0; beta < 2; beta++) {
                    bool large = mul(matrix_shapes[i].n_in, matrix_shapes[i].n_out) > 10000;
                    if ((act != FDIT_ACT_NONE && beta) || (large && (act + beta + plain + i) % 2))
                        continue;
                    struct op_case *c =
                        linear_dx_case(matrix_shapes[i], plain, (enum fdit_act)act, beta, FDIT_F32);
                    c->no_poison = i != 1 && i != 3;
                    case_check(c);
                }
}
END_TEST

/* Packed storage types: errors as their rounding allows, the same rules of independence. */
START_TEST(storage)
{
    static const struct {
        enum fdit_dtype type;
        double tolerance;
    } kinds[] = { { FDIT_BF16, 1e-4 }, { FDIT_F16, 1e-4 }, { FDIT_I8, 1e-3 } };
    static const struct matrix_shape shapes[] = {
        { 2, 3, 5, 7 }, { 1, 17, 257, 72 }, { 3, 1, 256, 216 }, { 2, 16, 1152, 255 }
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!fdit_device_supports_storage(op_devices.main, kinds[k].type))
            continue;
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            struct linear_options o = { .bias = true,
                                        .storage = kinds[k].type,
                                        .act = i % 2 ? FDIT_ACT_GELU_TANH : FDIT_ACT_NONE,
                                        .gate = i % 3 == 0,
                                        .beta = i == 2 };
            struct op_case *c = linear_case(shapes[i], o);
            c->p.allowed = kinds[k].tolerance;
            c->no_poison = true;
            case_check(c);
            c = linear_dx_case(shapes[i], false, o.act, o.beta, kinds[k].type);
            if (o.act != FDIT_ACT_NONE)
                c->p.args.linear_dx.beta = 0;
            c->p.allowed = kinds[k].tolerance;
            c->no_poison = true;
            case_check(c);
        }
    }
}
END_TEST

START_TEST(linear_dw)
{
    for (int i = 0; i < N_MATRIX_SHAPES; i++)
        for (int beta = 0; beta < 2; beta++) {
            struct matrix_shape s = matrix_shapes[i];
            struct op_case *c =
                case_new(FDIT_OP_LINEAR_DW, "%dx%dx%dx%d beta %d", s.samples, s.rows, s.n_in, s.n_out, beta);
            c->p.args.linear_dw = (struct fdit_linear_dw_args){
                .samples = s.samples, .tokens = s.rows, .n_in = s.n_in, .n_out = s.n_out, .beta = beta
            };
            c->p.shape = shape_of(FDIT_OP_LINEAR_DW, s.samples, s.rows, s.n_in, s.n_out);
            size_t dw = mul(s.n_out, s.n_in);
            if (beta)
                case_inout(c, AT(linear_dw, dw), "dW", dw, 0);
            else
                case_out(c, AT(linear_dw, dw), "dW", dw, 0);
            case_in(c, AT(linear_dw, dy), "dy", mul(s.rows, s.n_out), s.samples);
            case_in(c, AT(linear_dw, x), "x", mul(s.rows, s.n_in), s.samples);
            c->no_poison = dw > 10000;
            case_check(c);
        }
}
END_TEST

START_TEST(column_sum)
{
    static const int sizes[][2] = { { 1, 1 },   { 3, 7 },     { 257, 72 }, { 1, 1152 },
                                    { 255, 5 }, { 1031, 17 }, { 64, 1152 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int beta = 0; beta < 2; beta++) {
            int m = sizes[i][0], n = sizes[i][1];
            struct op_case *c = case_new(FDIT_OP_COLUMN_SUM, "%dx%d beta %d", m, n, beta);
            c->p.args.column_sum = (struct fdit_column_sum_args){ .m = m, .n = n, .beta = beta };
            c->p.shape = shape_of(FDIT_OP_COLUMN_SUM, 1, m, 0, n);
            if (beta)
                case_inout(c, AT(column_sum, db), "db", (size_t)n, 0);
            else
                case_out(c, AT(column_sum, db), "db", (size_t)n, 0);
            case_in(c, AT(column_sum, dy), "dy", mul(m, n), 0);
            case_check(c);
        }
}
END_TEST

/* ------------------------------------------------------------------ norm */

struct row_shape {
    int samples, rows, width;
};
static const struct row_shape row_shapes[] = {
    { 1, 1, 1 },   { 2, 3, 7 },    { 1, 17, 72 },   { 3, 2, 255 },
    { 2, 5, 256 }, { 1, 33, 257 }, { 2, 16, 1152 }, { 3, 1, 24 },
};
enum { N_ROW_SHAPES = sizeof row_shapes / sizeof *row_shapes };

START_TEST(norm)
{
    for (int i = 0; i < N_ROW_SHAPES; i++)
        for (int bits = 1; bits < 32; bits++) {
            struct row_shape s = row_shapes[i];
            bool weight = bits & 8, mod = bits & 16;
            int stride = 6 * s.width;
            size_t d = (size_t)s.width, md = mul(s.rows, s.width);
            if (!(bits & 7) || (i > 1 && bits != 7 && bits != 31 && bits != 1 + 16 && bits != 6))
                continue;
            struct op_case *c =
                case_new(FDIT_OP_NORM, "%dx%dx%d options %d", s.samples, s.rows, s.width, bits);
            c->p.args.norm = (struct fdit_norm_args){
                .samples = s.samples, .tokens = s.rows, .width = s.width, .mod_stride = mod ? stride : 0
            };
            c->p.shape = shape_of(FDIT_OP_NORM, s.samples, s.rows, 0, s.width);
            c->p.per_sample = true;
            struct fdit_probe_slot *x = case_in(c, AT(norm, x), "x", md, s.samples);
            test_fill_normal(&c->rng, x->data, x->n, 3, 2); /* a mean that must be taken off first */
            if (bits & 1)
                case_out(c, AT(norm, y), "y", md, s.samples);
            if (bits & 2)
                case_out(c, AT(norm, xhat), "xhat", md, s.samples);
            if (bits & 4)
                case_out(c, AT(norm, rstd), "rstd", (size_t)s.rows, s.samples);
            if (weight) {
                case_in(c, AT(norm, weight), "weight", d, 0);
                case_in(c, AT(norm, bias), "bias", d, 0);
            }
            if (mod) {
                case_in_strided(c, AT(norm, shift), "shift", d, s.samples, stride);
                case_in_strided(c, AT(norm, scale), "scale", d, s.samples, stride);
            }
            c->p.allowed = 1e-10;
            c->no_poison = i != 1 && i != 5;
            case_check(c);
        }
}
END_TEST

START_TEST(modulate)
{
    for (int i = 0; i < N_ROW_SHAPES; i++)
        for (int bits = 0; bits < 4; bits++) {
            struct row_shape s = row_shapes[i];
            int stride = 2 * s.width + 1;
            size_t d = (size_t)s.width, md = mul(s.rows, s.width);
            struct op_case *c =
                case_new(FDIT_OP_MODULATE, "%dx%dx%d options %d", s.samples, s.rows, s.width, bits);
            c->p.args.modulate = (struct fdit_modulate_args){
                .samples = s.samples, .tokens = s.rows, .width = s.width, .mod_stride = bits & 2 ? stride : 0
            };
            c->p.shape = shape_of(FDIT_OP_MODULATE, s.samples, s.rows, 0, s.width);
            c->p.per_sample = true;
            case_in(c, AT(modulate, xhat), "xhat", md, s.samples);
            case_out(c, AT(modulate, y), "y", md, s.samples);
            if (bits & 1) {
                case_in(c, AT(modulate, weight), "weight", d, 0);
                case_in(c, AT(modulate, bias), "bias", d, 0);
            }
            if (bits & 2) {
                case_in_strided(c, AT(modulate, shift), "shift", d, s.samples, stride);
                case_in_strided(c, AT(modulate, scale), "scale", d, s.samples, stride);
            }
            c->no_poison = i != 1;
            case_check(c);
        }
}
END_TEST

/* A norm followed by its modulation rebuilt from xhat: the same bits are asked for, because
 * recomputed activations must equal those of the forward pass. */
START_TEST(modulate_repeats_norm)
{
    fdit_context *ctx = op_devices.ctx;
    fdit_device *dev = op_devices.main;
    enum { B = 2, N = 5, D = 72 };
    struct fdit_op_shape shapes[] = { shape_of(FDIT_OP_NORM, B, N, 0, D),
                                      shape_of(FDIT_OP_MODULATE, B, N, 0, D) };
    fdit_buffer *buffer;
    size_t md = B * N * D, n = 5 * md;
    float *host = calloc(n, sizeof *host);
    struct test_rng rng = test_rng_new("modulate_repeats_norm");
    ck_assert_ptr_nonnull(host);
    test_fill_normal(&rng, host, n, 0, 1);
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, n * sizeof *host, "norm", &buffer));
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, shapes, 2)));
    struct fdit_tensor x = fdit_tensor_of(buffer, FDIT_F32), y = fdit_at(x, md), xhat = fdit_at(x, 2 * md),
                       again = fdit_at(x, 3 * md), p = fdit_at(x, 4 * md);
    fdit_write(dev, x, host, n);
    fdit_norm(dev, &(struct fdit_norm_args){ .samples = B,
                                             .tokens = N,
                                             .width = D,
                                             .y = y,
                                             .x = x,
                                             .xhat = xhat,
                                             .weight = p,
                                             .bias = fdit_at(p, D),
                                             .shift = fdit_at(p, 2 * D),
                                             .scale = fdit_at(p, 3 * D),
                                             .mod_stride = 2 * D });
    fdit_modulate(dev, &(struct fdit_modulate_args){ .samples = B,
                                                     .tokens = N,
                                                     .width = D,
                                                     .y = again,
                                                     .xhat = xhat,
                                                     .weight = p,
                                                     .bias = fdit_at(p, D),
                                                     .shift = fdit_at(p, 2 * D),
                                                     .scale = fdit_at(p, 3 * D),
                                                     .mod_stride = 2 * D });
    ck_assert_ok(ctx, fdit_read(ctx, dev, x, host, n));
    struct fdit_difference e = fdit_compare(host + 3 * md, host + md, md);
    ck_assert_msg(e.nmse <= 1e-12, "%s: modulate after norm: NMSE %g, at %zu got %.9g, wanted %.9g",
                  op_devices.spec, e.nmse, e.worst, (double)e.got, (double)e.wanted);
    fdit_buffer_free(buffer);
    free(host);
}
END_TEST

static void norm_backward_case(struct row_shape s, int bits, bool poison)
{
    bool dx = bits & 1, dmod = bits & 2, dparam = bits & 4, weight = bits & 8, scale = bits & 16,
         accumulate = bits & 32;
    int beta = (bits & 64) != 0, stride = 6 * s.width, dstride = 3 * s.width + 2;
    size_t d = (size_t)s.width, md = mul(s.rows, s.width);
    if (!(bits & 7) || (!dx && accumulate) || (!dparam && beta))
        return;
    struct op_case *c =
        case_new(FDIT_OP_NORM_BACKWARD, "%dx%dx%d options %d", s.samples, s.rows, s.width, bits);
    c->p.args.norm_backward = (struct fdit_norm_backward_args){
        .samples = s.samples,
        .tokens = s.rows,
        .width = s.width,
        .accumulate = accumulate,
        .dmod_stride = dmod ? dstride : 0,
        .beta = beta,
        .mod_stride = scale ? stride : 0,
    };
    c->p.shape = shape_of(FDIT_OP_NORM_BACKWARD, s.samples, s.rows, 0, s.width);
    c->p.per_sample = true;
    case_in(c, AT(norm_backward, dy), "dy", md, s.samples);
    case_in(c, AT(norm_backward, xhat), "xhat", md, s.samples);
    struct fdit_probe_slot *rstd = case_in(c, AT(norm_backward, rstd), "rstd", (size_t)s.rows, s.samples);
    for (size_t i = 0; i < rstd->n; i++)
        rstd->data[i] = 0.5f + (float)test_uniform(&c->rng);
    if (dx && accumulate)
        case_inout(c, AT(norm_backward, dx), "dx", md, s.samples);
    else if (dx)
        case_out(c, AT(norm_backward, dx), "dx", md, s.samples);
    if (dmod) {
        case_out_strided(c, AT(norm_backward, dshift), "dshift", d, s.samples, dstride);
        case_out_strided(c, AT(norm_backward, dscale), "dscale", d, s.samples, dstride);
    }
    if (dparam && beta) {
        case_inout(c, AT(norm_backward, dweight), "dweight", d, 0);
        case_inout(c, AT(norm_backward, dbias), "dbias", d, 0);
    } else if (dparam) {
        case_out(c, AT(norm_backward, dweight), "dweight", d, 0);
        case_out(c, AT(norm_backward, dbias), "dbias", d, 0);
    }
    if (weight) {
        case_in(c, AT(norm_backward, weight), "weight", d, 0);
        case_in(c, AT(norm_backward, bias), "bias", d, 0);
    }
    if (scale)
        case_in_strided(c, AT(norm_backward, scale), "scale", d, s.samples, stride);
    c->p.allowed = 1e-10;
    c->no_poison = !poison;
    case_check(c);
}

START_TEST(norm_backward)
{
    struct row_shape small = { 2, 3, 21 };
    for (int bits = 0; bits < 128; bits++)
        norm_backward_case(small, bits, bits == 31 || bits == 39);
    for (int i = 0; i < N_ROW_SHAPES; i++) {
        norm_backward_case(row_shapes[i], 1 + 2 + 8 + 16, false);
        norm_backward_case(row_shapes[i], 1 + 2 + 4 + 8 + 16 + 32 + 64, false);
    }
    norm_backward_case((struct row_shape){ 2, 257, 72 }, 1 + 2 + 4 + 8 + 16 + 32, false);
}
END_TEST

/* ------------------------------------------------------------------ attention */

struct heads_shape {
    int samples, rows, heads, head_size;
};
static const struct heads_shape heads_shapes[] = {
    { 1, 1, 1, 1 },    { 1, 2, 1, 1 },     { 2, 3, 2, 5 },    { 1, 17, 3, 8 },   { 2, 33, 2, 72 },
    { 1, 257, 1, 64 }, { 1, 255, 1, 128 }, { 1, 256, 2, 72 }, { 3, 16, 6, 64 },  { 2, 65, 1, 31 },
    { 1, 31, 2, 127 }, { 1, 35, 1, 72 },   { 1, 37, 2, 9 },   { 1, 19, 1, 128 },
};
enum { N_HEADS_SHAPES = sizeof heads_shapes / sizeof *heads_shapes };

static struct op_case *attention_case(struct heads_shape s, bool with_lse, float sharpness)
{
    struct op_case *c = case_new(FDIT_OP_ATTENTION, "%dx%dx%dx%d%s sharpness %g", s.samples, s.rows, s.heads,
                                 s.head_size, with_lse ? ", lse" : "", (double)sharpness);
    size_t width = mul(s.heads, s.head_size), rows = (size_t)s.rows;
    c->p.args.attention = (struct fdit_attention_args){
        .samples = s.samples, .tokens = s.rows, .heads = s.heads, .head_size = s.head_size
    };
    c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_ATTENTION,
                                         .samples = s.samples,
                                         .tokens = s.rows,
                                         .heads = s.heads,
                                         .head_size = s.head_size };
    c->p.per_sample = true;
    struct fdit_probe_slot *qkv = case_in(c, AT(attention, qkv), "qkv", 3 * rows * width, s.samples);
    test_fill_normal(&c->rng, qkv->data, qkv->n, 0, sharpness);
    case_out(c, AT(attention, out), "out", rows * width, s.samples);
    if (with_lse)
        case_out(c, AT(attention, lse), "lse", mul(s.heads, s.rows), s.samples);
    return c;
}

/* In 16 bits weights are rounded, whatever the operands are: what fdit_probe_round allows. */
static double attention_allowed(double in_f32, double in_16_bits)
{
    return fdit_device_precision(op_devices.main) == FDIT_F32 ? in_f32 : in_16_bits;
}

START_TEST(attention)
{
    for (int i = 0; i < N_HEADS_SHAPES; i++)
        for (int lse = 0; lse < 2; lse++) {
            struct op_case *c = attention_case(heads_shapes[i], lse, 1);
            c->p.allowed = attention_allowed(c->p.allowed, 1e-4);
            c->no_poison = i > 4;
            case_check(c);
        }
    /* Scores in the hundreds: exp of anything but (score - maximum) would overflow. 16 bits have them to 1.
     * */
    if (attention_allowed(0, 1) > 0)
        return;
    struct op_case *c = attention_case((struct heads_shape){ 2, 70, 2, 24 }, true, 8);
    c->p.allowed = 1e-9; /* an absolute error of 1e-5 in a score of 300 is one of 1e-5 in exp */
    c->no_poison = true;
    case_check(c);
}
END_TEST

START_TEST(attention_backward)
{
    for (int i = 0; i < N_HEADS_SHAPES; i++) {
        struct heads_shape s = heads_shapes[i];
        size_t rows = (size_t)s.rows, width = mul(s.heads, s.head_size);
        struct op_case *c =
            case_new(FDIT_OP_ATTENTION_BACKWARD, "%dx%dx%dx%d", s.samples, s.rows, s.heads, s.head_size);
        c->p.args.attention_backward = (struct fdit_attention_backward_args){
            .samples = s.samples,
            .tokens = s.rows,
            .heads = s.heads,
            .head_size = s.head_size,
        };
        c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_ATTENTION_BACKWARD,
                                             .samples = s.samples,
                                             .tokens = s.rows,
                                             .heads = s.heads,
                                             .head_size = s.head_size };
        c->p.per_sample = true;
        struct fdit_probe_slot *qkv =
            case_in(c, AT(attention_backward, qkv), "qkv", 3 * rows * width, s.samples);
        struct fdit_probe_slot *out = case_in(c, AT(attention_backward, out), "out", rows * width, s.samples);
        struct fdit_probe_slot *lse =
            case_in(c, AT(attention_backward, lse), "lse", mul(s.heads, s.rows), s.samples);
        case_in(c, AT(attention_backward, dout), "dout", rows * width, s.samples);
        case_out(c, AT(attention_backward, dqkv), "dqkv", 3 * rows * width, s.samples);
        /* The same name gives the same random numbers: forward twice for its two outputs. */
        for (int k = 0; k < 2; k++) {
            struct op_case *forward = attention_case(s, true, 1);
            memcpy(qkv->data, forward->p.slots[0].data, qkv->n * sizeof(float));
            case_reference(forward, k ? "lse" : "out", k ? lse->data : out->data);
        }
        c->p.allowed = attention_allowed(1e-10, 1e-3);
        c->no_poison = i > 3;
        case_check(c);
    }
}
END_TEST

/* ------------------------------------------------------------------ transfers */

START_TEST(fill_and_copy)
{
    fdit_context *ctx = op_devices.ctx;
    fdit_device *dev = op_devices.main;
    enum { ALL = 3000 };
    float *host = calloc(ALL, sizeof *host), *wanted = calloc(ALL, sizeof *wanted);
    fdit_buffer *a, *b;
    ck_assert_ptr_nonnull(host);
    ck_assert_ptr_nonnull(wanted);
    struct test_rng rng = test_rng_new("fill_and_copy");
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, ALL * sizeof *host, "a", &a));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, ALL * sizeof *host, "b", &b));
    struct fdit_tensor ta = fdit_tensor_of(a, FDIT_F32), tb = fdit_tensor_of(b, FDIT_F32);
    ck_assert_ok(ctx, fdit_read(ctx, dev, ta, host, ALL));
    ck_assert_uint_eq(test_first_difference(host, wanted, ALL, sizeof *host), ALL); /* new: zeroes */
    for (int k = 0; k < 60; k++) {
        int from = test_int(&rng, ALL), to = test_int(&rng, ALL), most = from > to ? from : to;
        int n = 1 + test_int(&rng, ALL - most);
        float value = test_normal(&rng);
        test_fill_normal(&rng, host, ALL, 0, 1);
        memcpy(wanted, host, ALL * sizeof *host);
        fdit_write(dev, ta, host, ALL);
        fdit_write(dev, tb, host, ALL);
        memset(host, 0, ALL * sizeof *host); /* may be used again at once */
        fdit_fill(dev, fdit_at(ta, (size_t)from), (size_t)n, value);
        fdit_copy(dev, fdit_at(tb, (size_t)to), fdit_at(ta, (size_t)from), (size_t)n);
        for (int i = 0; i < n; i++)
            wanted[to + i] = value;
        ck_assert_ok(ctx, fdit_read(ctx, dev, tb, host, ALL));
        ck_assert_uint_eq(test_first_difference(host, wanted, ALL, sizeof *host), ALL);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_at(ta, (size_t)from), host, (size_t)n));
        ck_assert_uint_eq(test_first_difference(host, wanted + to, (size_t)n, sizeof *host), (size_t)n);
    }
    fdit_buffer_free(a);
    fdit_buffer_free(b);
    free(host);
    free(wanted);
}
END_TEST

/* Between f32 and bf16 at odd places: every bit, whatever the number. */
START_TEST(copies_that_convert)
{
    fdit_context *ctx = op_devices.ctx;
    fdit_device *devices[] = { op_devices.main, op_devices.composed };
    static const uint32_t special[] = {
        0,          0x80000000, 0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff, 0xffc12345, 1,
        0x807fffff, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x7f7fffff, 0x7f7f7fff, 0x00008000,
    };
    enum { N = 20011, SPECIAL = sizeof special / sizeof *special };
    uint32_t *bits = calloc(N, sizeof *bits), *back = calloc(N, sizeof *back);
    uint16_t *halves = calloc(N, sizeof *halves);
    struct test_rng rng = test_rng_new("copies_that_convert");
    for (int i = 0; i < N; i++)
        bits[i] = i < SPECIAL ? special[i] : (uint32_t)test_bits(&rng);
    for (int d = 0; d < 2; d++) {
        fdit_device *dev = devices[d];
        fdit_buffer *a, *b;
        size_t bytes = fdit_device_workspace(dev, &(struct fdit_op_shape){ .op = FDIT_OP_COPY, .n = N }, 1);
        ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, bytes));
        ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, (N + 5) * sizeof *bits, "floats", &a));
        ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, (N + 3) * sizeof *halves, "halves", &b));
        struct fdit_tensor f = fdit_at(fdit_tensor_of(a, FDIT_F32), 5),
                           h = fdit_at(fdit_tensor_of(b, FDIT_BF16), 3);
        fdit_write(dev, f, bits, N);
        fdit_copy(dev, h, f, N);
        ck_assert_ok(ctx, fdit_read(ctx, dev, h, halves, N));
        for (int i = 0; i < N; i++) {
            uint32_t x = bits[i], near = (x + 0x7fff + (x >> 16 & 1)) >> 16;
            bool nan = (x & 0x7fffffff) > 0x7f800000;
            bool right = nan ? (halves[i] & 0x7fff) > 0x7f80 : halves[i] == (uint16_t)near;
            ck_assert_msg(right, "%08x became %04x", x, halves[i]);
        }
        fdit_fill(dev, f, N, 0);
        fdit_copy(dev, f, h, N);
        ck_assert_ok(ctx, fdit_read(ctx, dev, f, back, N));
        for (int i = 0; i < N; i++)
            ck_assert_msg(back[i] == (uint32_t)halves[i] << 16, "%04x became %08x", halves[i], back[i]);
        fdit_buffer_free(a);
        fdit_buffer_free(b);
    }
    free(bits);
    free(back);
    free(halves);
}
END_TEST

/* A read sees the work queued before read_begin and none of what follows it. */
START_TEST(reads_in_flight)
{
    fdit_context *ctx = op_devices.ctx;
    fdit_device *devices[] = { op_devices.main, op_devices.composed };
    for (int d = 0; d < 2; d++) {
        fdit_device *dev = devices[d];
        enum { N = 257, SLOTS = 8 };
        static float host[SLOTS][N];
        fdit_buffer *buffer;
        ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, N * sizeof(float), "reads", &buffer));
        struct fdit_tensor t = fdit_tensor_of(buffer, FDIT_F32);
        for (int round = 0; round < 3; round++) {
            for (int slot = 0; slot < SLOTS; slot++) {
                fdit_fill(dev, t, N, (float)(100 * round + slot));
                fdit_read_begin(dev, t, host[slot], N, slot);
            }
            fdit_fill(dev, t, N, -1);
            for (int slot = SLOTS - 1; slot >= 0; slot--) {
                ck_assert_ok(ctx, fdit_read_end(ctx, dev, slot));
                for (int i = 0; i < N; i++)
                    ck_assert_msg(host[slot][i] == (float)(100 * round + slot),
                                  "%s: slot %d, element %d: got %g, wanted %d", op_devices.spec, slot, i,
                                  (double)host[slot][i], 100 * round + slot);
            }
        }
        fdit_buffer_free(buffer);
    }
}
END_TEST

/* The case that every op has. What follows by hand above and in ops_*.c are further options of single ops. */
START_TEST(shared_cases)
{
    for (int v = 0; v < fdit_case_variants((enum fdit_op)_i); v++)
        case_check(case_shared((enum fdit_op)_i, v));
}
END_TEST

/* ------------------------------------------------------------------ the suite */

static Suite *ops_suite(const char *spec)
{
    const struct {
        const char *name;
        const TTest *tests[4];
    } cases[] = {
        { "transfers", { fill_and_copy, copies_that_convert, reads_in_flight, NULL } },
        { "linear", { linear_shapes, linear_options, NULL } },
        { "linear_dx", { linear_dx, NULL, NULL } },
        { "storage", { storage, NULL, NULL } },
        { "linear_dw", { linear_dw, NULL, NULL } },
        { "column_sum", { column_sum, NULL, NULL } },
        { "norm", { norm, NULL, NULL } },
        { "modulate", { modulate, modulate_repeats_norm, NULL } },
        { "norm_backward", { norm_backward, NULL, NULL } },
        { "attention", { attention, NULL, NULL } },
        { "attention_backward", { attention_backward, NULL, NULL } },
    };
    Suite *suite = suite_create(spec);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TCase *tcase = tcase_create(cases[i].name);
        for (int k = 0; k < 3 && cases[i].tests[k]; k++)
            tcase_add_test(tcase, cases[i].tests[k]);
        suite_add_tcase(suite, tcase);
    }
    for (int op = 0; op < FDIT_OP_COUNT; op++) {
        TCase *tcase = tcase_create(fdit_op_name((enum fdit_op)op));
        tcase_add_loop_test(tcase, shared_cases, op, op + 1);
        suite_add_tcase(suite, tcase);
    }
    ops_pointwise_add(suite);
    ops_picture_add(suite);
    return suite;
}

static int run_on(fdit_context *ctx, const char *spec)
{
    enum fdit_status status = op_devices_open(ctx, spec);
    if (status != FDIT_OK) {
        fprintf(stderr, "%s: %s: %s\n", spec, fdit_status_text(status), fdit_context_message(ctx));
        return EXIT_FAILURE;
    }
    printf("%s: %s, %s\n", spec, op_devices.main->info.name, op_devices.main->info.driver);
    int result = test_run(ops_suite(spec));
    if (result == EXIT_SUCCESS)
        op_devices_close(); /* a failed test leaves its buffers behind */
    return result;
}

/* test_ops, test_ops_opencl and test_ops_opencl_gpu are built from the same files and run side by side; the
 * last has a processor use the kernels for GPUs (TEST_OPS_GEMM). */
#ifndef TEST_OPS_OPENCL
#define TEST_OPS_OPENCL 0
#endif

/* Whether the device has its precision. */
static bool opens(fdit_context *ctx, const char *spec)
{
    bool does = op_devices_open(ctx, spec) == FDIT_OK;
    op_devices_close();
    return does;
}

static bool is_ours(const struct fdit_device_entry *e)
{
    bool opencl = strncmp(e->spec, "opencl", 6) == 0;
    return e->usable && opencl == TEST_OPS_OPENCL && strcmp(e->spec, "ref") != 0;
}

int main(void)
{
    fdit_context *ctx = fdit_context_new();
    const char *asked = getenv("FDIT_TEST_DEVICE");
    struct fdit_device_entry *entries = NULL;
    size_t n = 0;
    int result = TEST_SKIP;
    setenv("FINEDIFFUSION_CACHE", "", 1); /* an op that allocates fails, and some build their programs here */
#ifdef TEST_OPS_GEMM
    setenv("FINEDIFFUSION_OPENCL_GEMM", TEST_OPS_GEMM, 0);
#endif
    if (asked && *asked) {
        result = run_on(ctx, asked);
    } else if (fdit_devices_list(ctx, &entries, &n) != FDIT_OK) {
        fprintf(stderr, "%s\n", fdit_context_message(ctx));
        result = EXIT_FAILURE;
    }
    for (size_t i = 0; i < n; i++)
        for (int k = 0; is_ours(&entries[i]) && k < 3; k++) {
            char spec[64];
            snprintf(spec, sizeof spec, "%s%s", entries[i].spec, k == 0 ? "" : k == 1 ? "+bf16" : "+int8");
            if (k && (TEST_OPS_OPENCL || !opens(ctx, spec)))
                continue;
            int one = run_on(ctx, spec);
            if (result != EXIT_FAILURE)
                result = one;
        }
    fdit_devices_list_free(entries, n);
    fdit_context_free(ctx);
    return result;
}
