/* SPDX-License-Identifier: Apache-2.0
 * test_device_life.c: opening and closing, buffers and weights, transfers, shortages, and the ops that a
 * device leaves to generic.c. Uses tables made from ref's: with entries removed, or that fail. */
#include "device/backend.h"
#include "core/mem.h"
#include "device/generic.h"
#include "devices.h"
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    unsetenv("FINEDIFFUSION_DEVICE");
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

/* ------------------------------------------------------------------------------- life cycle */

START_TEST(names)
{
    for (int op = 0; op < FDIT_OP_COUNT; op++) {
        ck_assert_ptr_null(strchr(fdit_op_name((enum fdit_op)op), ' '));
        for (int other = 0; other < op; other++)
            ck_assert_str_ne(fdit_op_name((enum fdit_op)op), fdit_op_name((enum fdit_op)other));
    }
    ck_assert_str_eq(fdit_op_name(FDIT_OP_LINEAR_DX), "linear_dx");
    static const size_t bytes[] = { 4, 4, 2, 2, 1 };
    static const char *const text[] = { "f32", "i32", "bf16", "f16", "int8" };
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(fdit_dtype_bytes((enum fdit_dtype)i), bytes[i]);
        ck_assert_str_eq(fdit_dtype_name((enum fdit_dtype)i), text[i]);
    }
}
END_TEST

START_TEST(incomplete_table)
{
    static const struct {
        const char *name;
        size_t at;
    } required[] = {
#define REQUIRED_OP(entry, ENUM, arguments) { #entry, offsetof(struct fdit_device_ops, entry) },
#include "device/op_list.h"
        { "weight_new", offsetof(struct fdit_device_ops, weight_new) },
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        struct fdit_device_ops ops = fdit_ref_ops;
        fdit_device *dev;
        memset((char *)&ops + required[i].at, 0, sizeof ops.linear);
        ck_assert_int_eq(fdit_device_open(ctx, &ops, NULL, &dev), FDIT_ERROR_UNSUPPORTED);
        ck_assert_ptr_null(dev);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), required[i].name));
    }
    struct fdit_device_ops other = fdit_ref_ops; /* of another version of the interface */
    fdit_device *dev;
    other.version++;
    ck_assert_int_eq(fdit_device_open(ctx, &other, NULL, &dev), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_null(dev);
    char version[32];
    snprintf(version, sizeof version, "version %d", FDIT_BACKEND_VERSION + 1);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), version));
    fdit_device_close(NULL);
    fdit_buffer_free(NULL);
    fdit_weight_free(NULL);
}
END_TEST

/* A device's memory that is not zero to begin with. */
static enum fdit_status dirty_buffer(fdit_context *c, fdit_device *dev, size_t bytes, void **handle)
{
    enum fdit_status status = fdit_ref_ops.buffer_new(c, dev, bytes, handle);
    if (status == FDIT_OK)
        memset(*handle, 0xa5, bytes);
    return status;
}

START_TEST(buffers)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    fdit_device *dev;
    fdit_buffer *a, *b, *empty;
    unsigned char bytes[8];
    ops.buffer_new = dirty_buffer;
    ck_assert_ok(ctx, fdit_device_open(ctx, &ops, NULL, &dev));
    char label[] = "seven";
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, 7, label, &a));
    label[0] = 'x';
    ck_assert_str_eq(a->label, "seven");
    ck_assert_uint_eq(a->bytes, 8); /* whole floats */
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_tensor_of(a, FDIT_I8), bytes, 8));
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(bytes[i], 0);
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, 0, NULL, &empty));
    ck_assert_uint_eq(dev->buffer_bytes, 12);
    ck_assert_uint_eq(dev->objects_made, 2);
    ck_assert_int_eq(fdit_buffer_new(ctx, dev, SIZE_MAX, "huge", &b), FDIT_ERROR_MEMORY);
    ck_assert_int_eq(fdit_buffer_new(ctx, dev, SIZE_MAX - 3, "huge", &b), FDIT_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "'huge'"));
    ck_assert_ptr_null(b);
    ck_assert_int_eq(fdit_device_status(ctx, dev), FDIT_OK); /* not sticky */
    fdit_buffer_free(a);
    fdit_buffer_free(empty);
    ck_assert_uint_eq(dev->buffer_bytes, 0);
    fdit_device_close(dev);
}
END_TEST

/* Drivers that promise memory and fail at its first use. */
static void short_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    if (n > 100)
        fdit_device_fail(dev, FDIT_ERROR_DEVICE, "no memory behind '%s'", t.buffer->label);
    else
        fdit_ref_ops.fill(dev, t, n, value);
}

START_TEST(shortage_at_first_use)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    fdit_device *dev;
    fdit_buffer *a, *b;
    ops.fill = short_fill;
    struct fdit_mem_stats before = fdit_mem_stats();
    ck_assert_ok(ctx, fdit_device_open(ctx, &ops, NULL, &dev));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, 400, "small", &a));
    ck_assert_int_eq(fdit_buffer_new(ctx, dev, 404, "large", &b), FDIT_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "no memory behind 'large'"));
    ck_assert_uint_eq(dev->buffer_bytes, 400);
    ck_assert_int_eq(fdit_device_status(ctx, dev), FDIT_OK);
    fdit_buffer_free(a);
    fdit_device_close(dev);
    ck_assert_uint_eq(fdit_mem_stats().count, before.count);
}
END_TEST

START_TEST(weights)
{
    fdit_device *dev;
    fdit_weight *w;
    const float data[6] = { 1, 2, 3, 4, 5, 6 };
    struct fdit_weight_desc desc = { .n_out = 2, .n_in = 3, .storage = FDIT_F32 };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &dev));
    ck_assert_ok(ctx, fdit_weight_new(ctx, dev, &desc, data, &w));
    ck_assert_uint_eq(w->bytes, fdit_weight_bytes(dev, &desc));
    ck_assert_uint_eq(dev->weight_bytes, 24);
    fdit_weight_free(w);
    ck_assert_uint_eq(dev->weight_bytes, 0);
    desc.storage = FDIT_I8;
    ck_assert_int_eq(fdit_weight_new(ctx, dev, &desc, data, &w), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "int8"));
    ck_assert_ptr_null(w);
    desc.storage = FDIT_F32;
    ck_assert_int_eq(fdit_weight_new(ctx, dev, &desc, NULL, &w), FDIT_ERROR_ARGUMENT);
    desc.n_in = 0;
    ck_assert_int_eq(fdit_weight_new(ctx, dev, &desc, data, &w), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "2 x 0"));
    fdit_device_close(dev);
}
END_TEST

/* -------------------------------------------------------------------------------- transfers */

START_TEST(transfers)
{
    fdit_device *dev;
    fdit_buffer *buffer;
    float host[4] = { 1, 2, 3, 4 }, back[4] = { 0 };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &dev));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, 24, "six", &buffer));
    struct fdit_tensor t = fdit_tensor_of(buffer, FDIT_F32);
    fdit_write(dev, fdit_at(t, 2), host, 4);
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_at(t, 1), back, 3));
    ck_assert(back[0] == 0 && back[1] == 1 && back[2] == 2 && back[3] == 0);
    fdit_fill(dev, fdit_at(t, 5), 1, 9);
    fdit_copy(dev, t, fdit_at(t, 4), 2);
    ck_assert_ok(ctx, fdit_read(ctx, dev, t, back, 2));
    ck_assert(back[0] == 3 && back[1] == 9);

    fdit_write(dev, fdit_at(t, 3), host, 4);
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "write on ref (n 4)"));
    fdit_device_clear_error(dev);
    fdit_write(dev, t, NULL, 4);
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_ARGUMENT);
    fdit_device_clear_error(dev);
    ck_assert_int_eq(fdit_read(ctx, dev, fdit_at(t, 3), back, 4), FDIT_ERROR_ARGUMENT);
    fdit_device_clear_error(dev);
    ck_assert_int_eq(fdit_read(ctx, dev, t, NULL, 4), FDIT_ERROR_ARGUMENT);
    fdit_device_clear_error(dev);
    ck_assert_int_eq(fdit_read(ctx, dev, t, back, SIZE_MAX / 2), FDIT_ERROR_ARGUMENT);
    fdit_device_clear_error(dev);
    fdit_buffer_free(buffer);
    fdit_device_close(dev);
}
END_TEST

START_TEST(reads_in_slots)
{
    fdit_device *dev;
    fdit_buffer *buffer;
    float back[2] = { 0 };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &dev));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, 8, "two", &buffer));
    struct fdit_tensor t = fdit_tensor_of(buffer, FDIT_F32);
    fdit_fill(dev, t, 2, 6);
    fdit_read_begin(dev, t, back, 2, 7);
    fdit_read_begin(dev, t, back, 1, 0);
    ck_assert_ok(ctx, fdit_read_end(ctx, dev, 0));
    ck_assert_ok(ctx, fdit_read_end(ctx, dev, 7));
    ck_assert(back[1] == 6);
    static const int wrong[] = { 7, -1, 8 };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(fdit_read_end(ctx, dev, wrong[i]), FDIT_ERROR_ARGUMENT);
        fdit_device_clear_error(dev);
    }
    fdit_read_begin(dev, t, back, 2, 3);
    fdit_read_begin(dev, t, back, 2, 3);
    ck_assert_int_eq(fdit_read_end(ctx, dev, 3), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "slot 3"));
    ck_assert_uint_eq(dev->reads_in_flight, 0);
    fdit_device_clear_error(dev);
    for (int i = 1; i < 3; i++) {
        fdit_read_begin(dev, t, back, 2, wrong[i]);
        ck_assert_int_eq(fdit_device_status(ctx, dev), FDIT_ERROR_ARGUMENT);
        fdit_device_clear_error(dev);
    }
    fdit_buffer_free(buffer);
    fdit_device_close(dev);
}
END_TEST

/* ------------------------------------------------------------------------- composed linear */

/* ref's entries without the fused arguments: they must not arrive. */
static void bare_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    ck_assert(dev->ops->fuses_act || a->act == FDIT_ACT_NONE);
    ck_assert(dev->ops->fuses_gate || (!fdit_has(a->gate) && !fdit_has(a->residual)));
    ck_assert(dev->ops->fuses_add || !fdit_has(a->add));
    fdit_ref_ops.linear(dev, a);
}

static void bare_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    ck_assert(a->act == FDIT_ACT_NONE && !fdit_has(a->pre));
    ck_assert(dev->ops->fuses_add || !fdit_has(a->add));
    fdit_ref_ops.linear_dx(dev, a);
}

static void bare_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    ck_assert(a->y.buffer != a->branch.buffer); /* which the entry does not allow */
    fdit_ref_ops.gate(dev, a);
}

enum { SB = 2, SN = 3, SI = 4, SO = 5, SM = SB * SN };

struct linear_world {
    fdit_device *dev;
    fdit_buffer *x, *w, *b, *add, *gate, *residual, *y, *pre;
    float y_out[SM * SO], pre_out[SM * SO];
};

static fdit_buffer *filled(fdit_device *dev, const char *name, size_t n)
{
    struct test_rng rng = test_rng_new(name);
    fdit_buffer *buffer;
    float *values = malloc(n * sizeof *values);
    test_fill_normal(&rng, values, n, 0, 1);
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, n * sizeof *values, name, &buffer));
    fdit_write(dev, fdit_tensor_of(buffer, FDIT_F32), values, n);
    free(values);
    return buffer;
}

/* Residual: 0 none, 1 apart, 2 y itself, 3 shared rows. */
struct linear_case {
    enum fdit_act act;
    int residual, beta;
    bool gate, pre, add;
};

static void run_linear(struct linear_world *l, const struct fdit_device_ops *ops, const struct linear_case *c)
{
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR, .samples = SB, .tokens = SN, .n_in = SI, .n_out = SO
    };
    ck_assert_ok(ctx, fdit_device_open(ctx, ops, NULL, &l->dev));
    ck_assert_ok(ctx, fdit_device_reserve(ctx, l->dev, fdit_device_workspace(l->dev, &shape, 1)));
    l->x = filled(l->dev, "x", SM * SI);
    l->w = filled(l->dev, "w", SO * SI);
    l->b = filled(l->dev, "b", SO);
    l->add = filled(l->dev, "add", SM * SO);
    l->gate = filled(l->dev, "gate", SB * SO);
    l->residual = filled(l->dev, "residual", SM * SO);
    l->y = filled(l->dev, "y", SM * SO);
    l->pre = filled(l->dev, "pre", SM * SO);
    uint64_t made = l->dev->objects_made, allocations = fdit_mem_stats().calls;
    struct fdit_linear_args a = {
        .samples = SB, .tokens = SN, .n_in = SI, .n_out = SO, .act = c->act, .beta = c->beta
    };
    a.y = fdit_tensor_of(l->y, FDIT_F32);
    a.x = fdit_tensor_of(l->x, FDIT_F32);
    a.matrix = fdit_tensor_of(l->w, FDIT_F32);
    a.bias = fdit_tensor_of(l->b, FDIT_F32);
    if (c->add)
        a.add = fdit_tensor_of(l->add, FDIT_F32);
    if (c->pre)
        a.pre = fdit_tensor_of(l->pre, FDIT_F32);
    if (c->gate) {
        a.gate = fdit_tensor_of(l->gate, FDIT_F32);
        a.gate_stride = SO;
    }
    if (c->residual)
        a.residual = fdit_tensor_of(c->residual == 2 ? l->y : l->residual, FDIT_F32);
    a.residual_shared = c->residual == 3;
    fdit_linear(l->dev, &a);
    ck_assert_ok(ctx, fdit_device_sync(ctx, l->dev));
    ck_assert_uint_eq(l->dev->objects_made, made);
    ck_assert_uint_eq(fdit_mem_stats().calls, allocations);
    ck_assert_uint_eq(l->dev->counts[FDIT_OP_LINEAR].calls, 1);
    ck_assert_uint_eq(l->dev->counts[FDIT_OP_ACTIVATION].calls, 0);
    ck_assert_ok(ctx, fdit_read(ctx, l->dev, a.y, l->y_out, SM * SO));
    ck_assert_ok(ctx, fdit_read(ctx, l->dev, fdit_tensor_of(l->pre, FDIT_F32), l->pre_out, SM * SO));
    fdit_buffer_free(l->x);
    fdit_buffer_free(l->w);
    fdit_buffer_free(l->b);
    fdit_buffer_free(l->add);
    fdit_buffer_free(l->gate);
    fdit_buffer_free(l->residual);
    fdit_buffer_free(l->y);
    fdit_buffer_free(l->pre);
    fdit_device_close(l->dev);
}

START_TEST(composed_linear)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    ops.linear = bare_linear;
    ops.gate = bare_gate;
    ops.fuses_act = (_i & 1) != 0;
    ops.fuses_gate = (_i & 2) != 0;
    ops.fuses_add = (_i & 4) != 0;
    for (int k = 0; k < 3 * 4 * 2 * 2 * 2 * 2; k++) {
        struct linear_case c = { .act = (enum fdit_act)(k % 3),
                                 .residual = k / 3 % 4,
                                 .gate = k / 12 % 2,
                                 .pre = k / 24 % 2,
                                 .beta = k / 48 % 2,
                                 .add = k / 96 % 2 };
        struct linear_world got, wanted;
        if (c.beta && (c.gate || c.residual))
            continue;
        run_linear(&wanted, &fdit_ref_ops, &c);
        run_linear(&got, &ops, &c);
        struct fdit_difference y = fdit_compare(got.y_out, wanted.y_out, SM * SO);
        struct fdit_difference pre = fdit_compare(got.pre_out, wanted.pre_out, SM * SO);
        ck_assert_msg(y.nmse < 1e-13 && pre.nmse < 1e-13,
                      "act %d, residual %d, gate %d, pre %d, beta %d, add %d: y nmse %g, pre nmse %g",
                      (int)c.act, c.residual, c.gate, c.pre, c.beta, c.add, y.nmse, pre.nmse);
    }
}
END_TEST

START_TEST(composed_linear_dx)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    float got[2][SM * SI];
    bool add = (_i & 1) != 0, act = (_i & 4) != 0;
    ops.linear_dx = bare_linear_dx;
    ops.fuses_act_backward = false;
    ops.fuses_add = (_i & 2) != 0;
    for (int k = 0; k < 2; k++) {
        fdit_device *dev;
        ck_assert_ok(ctx, fdit_device_open(ctx, k ? &ops : &fdit_ref_ops, NULL, &dev));
        fdit_buffer *dx = filled(dev, "dx", SM * SI), *dy = filled(dev, "dy", SM * SO);
        fdit_buffer *w = filled(dev, "w", SO * SI), *pre = filled(dev, "pre", SM * SI);
        fdit_buffer *more = filled(dev, "add", SM * SI);
        struct fdit_tensor none = FDIT_NO_TENSOR;
        fdit_linear_dx(dev, &(struct fdit_linear_dx_args){ .samples = SB,
                                                           .tokens = SN,
                                                           .n_in = SI,
                                                           .n_out = SO,
                                                           .dx = fdit_tensor_of(dx, FDIT_F32),
                                                           .dy = fdit_tensor_of(dy, FDIT_F32),
                                                           .matrix = fdit_tensor_of(w, FDIT_F32),
                                                           .add = add ? fdit_tensor_of(more, FDIT_F32) : none,
                                                           .act = act ? FDIT_ACT_GELU_TANH : FDIT_ACT_NONE,
                                                           .pre = act ? fdit_tensor_of(pre, FDIT_F32) : none,
                                                           .beta = !act });
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_tensor_of(dx, FDIT_F32), got[k], SM * SI));
        fdit_buffer_free(dx);
        fdit_buffer_free(dy);
        fdit_buffer_free(w);
        fdit_buffer_free(pre);
        fdit_buffer_free(more);
        fdit_device_close(dev);
    }
    ck_assert(fdit_compare(got[1], got[0], SM * SI).nmse < 1e-13);
}
END_TEST

/* What needs scratch says so when it was not reserved, and changes nothing. */
START_TEST(scratch_is_missing)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    for (int k = 0; k < 2; k++) {
        fdit_device *dev;
        float before[SM * SO], after[SM * SO];
        ops.fuses_act = false;
        ops.fuses_gate = k == 1;
        ck_assert_ok(ctx, fdit_device_open(ctx, &ops, NULL, &dev));
        fdit_buffer *x = filled(dev, "x", SM * SI), *w = filled(dev, "w", SO * SI);
        fdit_buffer *y = filled(dev, "y", SM * SO), *gate = filled(dev, "gate", SB * SO);
        struct fdit_linear_args a = { .samples = SB,
                                      .tokens = SN,
                                      .n_in = SI,
                                      .n_out = SO,
                                      .y = fdit_tensor_of(y, FDIT_F32),
                                      .x = fdit_tensor_of(x, FDIT_F32),
                                      .matrix = fdit_tensor_of(w, FDIT_F32) };
        if (k == 0) {
            a.gate = fdit_tensor_of(gate, FDIT_F32);
            a.gate_stride = SO;
        } else {
            a.act = FDIT_ACT_SILU;
            a.beta = 1;
        }
        ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, before, SM * SO));
        fdit_linear(dev, &a);
        ck_assert_int_ne(fdit_device_sync(ctx, dev), FDIT_OK);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "30 floats"));
        fdit_device_clear_error(dev);
        ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, after, SM * SO));
        ck_assert_uint_eq(test_first_difference(after, before, SM * SO, 4), SM * SO);
        fdit_buffer_free(x);
        fdit_buffer_free(w);
        fdit_buffer_free(y);
        fdit_buffer_free(gate);
        fdit_device_close(dev);
    }
}
END_TEST

/* ------------------------------------------------------------------------- ops on the host */

enum { HB = 3, HN = 5, HD = 41, HC = 3 };

/* Where an op of the runs below reads, and where its outputs go, one behind the other. */
struct run_tensors {
    struct fdit_tensor in, out, labels;
    size_t used;
};

static struct fdit_tensor take(struct run_tensors *r, size_t n)
{
    r->used += n;
    return fdit_at(r->out, r->used - n);
}
#define TAKE(n) take(r, (size_t)(n))

static void run_modulate(fdit_device *dev, struct run_tensors *r)
{
    for (int k = 0; k < 4; k++) {
        struct fdit_modulate_args a = {
            .samples = HB, .tokens = HN, .width = HD, .xhat = r->in, .mod_stride = 6 * HD
        };
        a.y = TAKE(HB * HN * HD);
        if (k & 1) {
            a.weight = fdit_at(r->in, 1000);
            a.bias = fdit_at(r->in, 1100);
        }
        if (k & 2) {
            a.shift = fdit_at(r->in, 1200);
            a.scale = fdit_at(r->in, 1200 + HD);
        }
        fdit_modulate(dev, &a);
    }
}

static void run_token_means(fdit_device *dev, struct run_tensors *r)
{
    fdit_token_mean(dev, &(struct fdit_token_mean_args){
                             .samples = HB, .tokens = HN, .width = HD, .y = TAKE(HB * HD), .x = r->in });
    fdit_token_mean_backward(
        dev, &(struct fdit_token_mean_backward_args){
                 .samples = HB, .tokens = HN, .width = HD, .dx = TAKE(HB * HN * HD), .dy = r->in });
}

static void run_losses(fdit_device *dev, struct run_tensors *r)
{
    struct fdit_loss_coef coef[HB] = {
        { .is_first = 1,
          .log_beta = -9.2f,
          .log_var = -9.8f,
          .mean_eps = 0.01f,
          .scale = 0.5f,
          .scale_vb = 0.5f },
        { .log_beta = -4, .log_var = -4.1f, .mean_eps = 0.1f, .scale = 0.5f, .scale_vb = 0.5f },
        { .log_beta = -5, .log_var = -5.1f, .mean_eps = 0.2f, .scale = 0.5f, .scale_vb = 0.5f },
    };
    struct fdit_tensor coefs = TAKE(HB * 8);
    fdit_write(dev, coefs, coef, HB * 8);
    for (int k = 0; k < 2; k++)
        fdit_diffusion_loss(
            dev, &(struct fdit_diffusion_loss_args){ .samples = HB,
                                                     .channels = 2,
                                                     .n = HD,
                                                     .out = r->in,
                                                     .x0 = fdit_at(r->in, 700),
                                                     .noise = fdit_at(r->in, 1000),
                                                     .coef = coefs,
                                                     .losses = TAKE(HB * 2),
                                                     .dout = k ? TAKE(HB * 4 * HD) : FDIT_NO_TENSOR });
    for (int k = 0; k < 2; k++)
        fdit_cross_entropy(
            dev, &(struct fdit_cross_entropy_args){ .samples = HB,
                                                    .classes = HD,
                                                    .logits = r->in,
                                                    .scale = 0.25f,
                                                    .labels = r->labels,
                                                    .loss = TAKE(HB),
                                                    .dlogits = k ? TAKE(HB * HD) : FDIT_NO_TENSOR });
}

/* Every optional op once. */
static size_t run_optional(fdit_device *dev, float *got, size_t most)
{
    fdit_buffer *in = filled(dev, "in", 4096), *out = filled(dev, "out", 8192);
    fdit_buffer *labels = filled(dev, "labels", HB);
    const int32_t label[HB] = { 0, HD - 1, 7 };
    struct run_tensors tensors = { fdit_tensor_of(in, FDIT_F32), fdit_tensor_of(out, FDIT_F32),
                                   fdit_tensor_of(labels, FDIT_I32), 0 };
    struct run_tensors *r = &tensors;
    fdit_write(dev, r->labels, label, HB);
    run_modulate(dev, r);
    run_token_means(dev, r);
    fdit_diffuse(dev, &(struct fdit_diffuse_args){ .samples = HB,
                                                   .n = HC * HD,
                                                   .x0 = r->in,
                                                   .noise = fdit_at(r->in, 500),
                                                   .coef = fdit_at(r->in, 9),
                                                   .xt = TAKE(HB * HC * HD) });
    run_losses(dev, r);
    ck_assert_uint_le(r->used, 8192);
    ck_assert_uint_le(r->used, most);
    ck_assert_ok(ctx, fdit_read(ctx, dev, r->out, got, r->used));
    fdit_buffer_free(in);
    fdit_buffer_free(out);
    fdit_buffer_free(labels);
    return r->used;
}

static size_t run_sampler(fdit_device *dev, float *got, size_t most)
{
    fdit_buffer *in = filled(dev, "sampler in", 4096), *out = filled(dev, "sampler out", 4096);
    struct fdit_tensor i = fdit_tensor_of(in, FDIT_F32), o = fdit_tensor_of(out, FDIT_F32);
    size_t used = 0, half = HB * HC * HD;
    for (int k = 0; k < 32; k++) {
        struct fdit_sampler_step_args a = { .samples = HB,
                                            .channels = HC,
                                            .n = HD,
                                            .guidance = 3,
                                            .guided_channels = 2,
                                            .x0_x = 1.5f,
                                            .x0_eps = -0.75f,
                                            .to_x = 0.3f,
                                            .to_x0 = 0.4f,
                                            .to_eps = 0.5f,
                                            .to_z = 0.6f,
                                            .log_beta = -1,
                                            .log_var = -2 };
        a.x_next = a.x = o; /* in place */
        a.cond = i;
        if (k & 1)
            a.uncond = fdit_at(i, 2 * half);
        if (k & 2)
            a.z = fdit_at(i, 100);
        if (k & 4) {
            a.old = fdit_at(o, half);
            a.to_old = 0.1f;
        }
        a.learned = k & 8;
        a.clip_x0 = k & 16;
        fdit_sampler_step(dev, &a);
    }
    used = 2 * half;
    fdit_clip_scale(dev, &(struct fdit_clip_scale_args){ .n = HD,
                                                         .partial = fdit_at(i, 1),
                                                         .scale = fdit_at(o, used),
                                                         .norm = fdit_at(o, used + 1),
                                                         .max_norm = 0.5f });
    ck_assert_uint_le(used + 2, most);
    ck_assert_ok(ctx, fdit_read(ctx, dev, o, got, used + 2));
    fdit_buffer_free(in);
    fdit_buffer_free(out);
    return used + 2;
}

static struct fdit_device_ops without_optional(void)
{
    struct fdit_device_ops ops = fdit_ref_ops;
#define OPTIONAL_OP(entry, ENUM, arguments) ops.entry = NULL;
#include "device/op_list.h"
    return ops;
}

/* The same bits as ref's own entries, whatever the size of the chunks. */
START_TEST(optional_ops_on_the_host)
{
    static float wanted[2][8192], got[2][8192];
    struct fdit_device_ops ops = without_optional();
    static const size_t staging[] = { FDIT_GENERIC_STAGING, 2 * HD * sizeof(float) };
    fdit_device *dev;
    size_t n[2];
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &dev));
    n[0] = run_optional(dev, wanted[0], 8192);
    n[1] = run_sampler(dev, wanted[1], 8192);
    fdit_device_close(dev);
    for (size_t k = 0; k < 2; k++) {
        ck_assert_ok(ctx, fdit_device_open(ctx, &ops, NULL, &dev));
        dev->staging_bytes = staging[k];
        ck_assert_uint_eq(run_optional(dev, got[0], 8192), n[0]);
        ck_assert_uint_eq(run_sampler(dev, got[1], 8192), n[1]);
        for (int j = 0; j < 2; j++) {
            size_t at = test_first_difference(got[j], wanted[j], n[j], sizeof(float));
            ck_assert_msg(at == n[j], "staging %zu, part %d, element %zu: %g, wanted %g", staging[k], j, at,
                          got[j][at], wanted[j][at]);
        }
        fdit_device_close(dev);
    }
}
END_TEST

START_TEST(host_limits)
{
    struct fdit_device_ops ops = without_optional();
    fdit_device *dev;
    ck_assert_ok(ctx, fdit_device_open(ctx, &ops, NULL, &dev));
    dev->staging_bytes = 16 * sizeof(float);
    fdit_buffer *in = filled(dev, "in", 64), *out = filled(dev, "out", 64);
    struct fdit_tensor i = fdit_tensor_of(in, FDIT_F32), o = fdit_tensor_of(out, FDIT_F32);
    fdit_clip_scale(dev, &(struct fdit_clip_scale_args){ .n = 17, .partial = i, .scale = o });
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_UNSUPPORTED);
    fdit_device_clear_error(dev);
    fdit_cross_entropy(
        dev,
        &(struct fdit_cross_entropy_args){
            .samples = 1, .classes = 9, .logits = i, .loss = o, .labels = fdit_tensor_of(in, FDIT_I32) });
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_UNSUPPORTED);
    fdit_device_clear_error(dev);
    const int32_t label = 8;
    fdit_write(dev, fdit_tensor_of(in, FDIT_I32), &label, 1);
    fdit_cross_entropy(dev, &(struct fdit_cross_entropy_args){ .samples = 1,
                                                               .classes = 8,
                                                               .logits = fdit_at(i, 1),
                                                               .loss = o,
                                                               .labels = fdit_tensor_of(in, FDIT_I32) });
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "label 8"));
    fdit_device_clear_error(dev);
    fdit_buffer_free(in);
    fdit_buffer_free(out);
    fdit_device_close(dev);
}
END_TEST

/* ------------------------------------------------------------------------------- shortages */

/* Everything that allocates, once. */
static enum fdit_status everything(const struct fdit_device_ops *ops)
{
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = NULL;
    fdit_buffer *a = NULL, *b = NULL;
    fdit_weight *w = NULL;
    const float data[6] = { 0 };
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR, .samples = 2, .tokens = 3, .n_in = 3, .n_out = 2
    };
    struct fdit_op_shape larger = shape;
    const struct fdit_weight_desc desc = { .n_out = 2, .n_in = 3, .storage = FDIT_F32 };
    larger.tokens = 9;
    TRY(fdit_device_open(ctx, ops, NULL, &dev));
    TRY(fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, &shape, 1)));
    TRY(fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, &larger, 1)));
    TRY(fdit_buffer_new(ctx, dev, 100, "a", &a));
    TRY(fdit_buffer_new(ctx, dev, 100, NULL, &b));
    TRY(fdit_weight_new(ctx, dev, &desc, data, &w));
    ck_assert_uint_eq(dev->reserved, 2 * 9 * 2 * sizeof(float));
    ck_assert_uint_eq(dev->scratch->bytes, dev->reserved);
out:
    fdit_weight_free(w);
    fdit_buffer_free(b);
    fdit_buffer_free(a);
    fdit_device_close(dev);
    return status;
}

START_TEST(failing_allocations)
{
    struct fdit_device_ops ops = fdit_ref_ops;
    ops.fuses_gate = false; /* so that reserve makes the scratch */
    struct fdit_mem_stats before = fdit_mem_stats();
    for (uint64_t n = 1;; n++) {
        fdit_mem_fail_at(n);
        enum fdit_status status = everything(&ops);
        fdit_mem_fail_at(0);
        ck_assert_uint_eq(fdit_mem_stats().count, before.count);
        ck_assert_uint_eq(fdit_mem_stats().bytes, before.bytes);
        ck_assert_uint_lt(n, 100);
        if (status == FDIT_OK) {
            ck_assert_uint_gt(n, 10);
            break;
        }
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "memory"));
    }
}
END_TEST

/* The sticky error stands without its text when there is no memory for it. */
START_TEST(error_without_memory)
{
    fdit_device *dev;
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &dev));
    fdit_mem_fail_at(1);
    fdit_device_fail(dev, FDIT_ERROR_DEVICE, "lost");
    fdit_mem_fail_at(0);
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_DEVICE);
    ck_assert_str_eq(fdit_context_message(ctx), "device error");
    fdit_device_fail(dev, FDIT_ERROR_MEMORY, "later");
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_DEVICE); /* the first one stays */
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device life");
    TCase *tc = tcase_create("objects");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, names);
    tcase_add_test(tc, incomplete_table);
    tcase_add_test(tc, buffers);
    tcase_add_test(tc, shortage_at_first_use);
    tcase_add_test(tc, weights);
    tcase_add_test(tc, transfers);
    tcase_add_test(tc, reads_in_slots);
    tcase_add_test(tc, failing_allocations);
    tcase_add_test(tc, error_without_memory);
    suite_add_tcase(suite, tc);
    tc = tcase_create("composed");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, composed_linear, 0, 8);
    tcase_add_loop_test(tc, composed_linear_dx, 0, 8);
    tcase_add_test(tc, scratch_is_missing);
    tcase_add_test(tc, optional_ops_on_the_host);
    tcase_add_test(tc, host_limits);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
