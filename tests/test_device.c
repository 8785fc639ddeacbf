/* SPDX-License-Identifier: Apache-2.0
 * test_device.c: the checking wrappers. Every op is called with valid arguments, then with each number
 * and each tensor made wrong in turn: each time a sticky error that names the op, and not one byte of
 * device memory changed. Life cycle, transfers and composed ops: test_device_life.c. */
#include "core/mem.h"
#include "device/backend.h"
#include "device/cases.h"
#include "device/probe_run.h"
#include "devices.h"
#include "harness.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A tensor argument, in a buffer that ends where the tensor ends. */
struct field {
    const struct fdit_probe_slot *slot;
    struct fdit_tensor *at;
    fdit_buffer *buffer;
};

struct number {
    const char *name;
    int *at;
    size_t *big;
};

struct world {
    fdit_context *ctx;
    fdit_device *dev, *other;
    fdit_buffer *foreign; /* of the other device */
    fdit_weight *weight, *no_dx, *foreign_weight, *wrong_weight;
    enum fdit_op op;
    struct fdit_probe p;
    struct fdit_probe_run run; /* its `before` is what the last valid call left */
    union fdit_op_args *a;     /* the run's; of fill and copy a struct transfer */
    struct field fields[FDIT_PROBE_SLOTS];
    size_t n_fields;
    struct number numbers[FDIT_PROBE_SIZES]; /* sizes: each must be at least 1 */
    size_t n_numbers;
};

/* What fill and copy are called with, which have no structure of their own. */
struct transfer {
    struct fdit_tensor to, from;
    size_t n;
};

static const int B = 2, N = 3, D = 4, K = 5; /* samples, rows, width, n_out of FDIT_CASE_ALL */

static void call(struct world *w)
{
    struct transfer t;
    memcpy(&t, w->a, sizeof t);
    switch (w->op) {
    case FDIT_OP_FILL: fdit_fill(w->dev, t.to, t.n, 3.0f); break;
    case FDIT_OP_COPY: fdit_copy(w->dev, t.to, t.from, t.n); break;
    default: fdit_op_call(w->dev, w->op, w->a);
    }
}

/* For linear_dx and linear, whose case has a plain matrix, and for conv, which takes its own. */
static void weights(struct world *w)
{
    static const float zeroes[64] = { 0 };
    const float *data = w->p.weight ? w->p.weight : zeroes;
    struct fdit_weight_desc desc = { .n_out = K, .n_in = D, .storage = FDIT_F32, .need_dx = true };
    if (w->p.weight)
        desc = w->p.desc;
    else
        ck_assert_ok(w->ctx, fdit_weight_new(w->ctx, w->dev, &desc, data, &w->weight));
    ck_assert_ok(w->ctx, fdit_weight_new(w->ctx, w->other, &desc, data, &w->foreign_weight));
    desc.need_dx = desc.conv = false;
    ck_assert_ok(w->ctx, fdit_weight_new(w->ctx, w->dev, &desc, data, &w->no_dx));
    desc.n_in++;
    if (!w->p.weight)
        ck_assert_ok(w->ctx, fdit_weight_new(w->ctx, w->dev, &desc, data, &w->wrong_weight));
}

static void make_transfer(struct world *w)
{
    struct transfer t = { .n = 7 };
    fdit_probe_begin(&w->p, w->ctx, w->op, "7");
    memcpy(&w->p.args, &t, sizeof t);
    fdit_probe_sizes(&w->p, (const struct fdit_probe_size[]){ { "n", offsetof(struct transfer, n), true },
                                                              { NULL, 0, false } });
    fdit_probe_out(&w->p, offsetof(struct transfer, to), w->op == FDIT_OP_FILL ? "the tensor" : "to", 7);
    if (w->op == FDIT_OP_COPY)
        fdit_probe_in(&w->p, offsetof(struct transfer, from), "from", 7);
    ck_assert_ok(w->ctx, w->p.status);
}

/* The case of this op with all it may be given, every tensor in a buffer of its own. */
static void setup(struct world *w)
{
    bool transfer = w->op == FDIT_OP_FILL || w->op == FDIT_OP_COPY;
    if (transfer)
        make_transfer(w);
    else
        ck_assert_ok(w->ctx, fdit_case_make(w->ctx, &w->p, w->op, FDIT_CASE_ALL, w->dev, w->dev));
    struct fdit_probe_placing how = { .sample = FDIT_PROBE_ALL, .apart = true, .storage = w->p.desc.storage };
    ck_assert_ok(w->ctx, fdit_probe_place(&w->p, w->dev, &how, &w->run));
    w->a = &w->run.args;
    for (int i = 0; i < w->p.n_slots; i++) {
        const struct fdit_probe_slot *s = &w->p.slots[i];
        struct fdit_tensor *at = (struct fdit_tensor *)(void *)((char *)w->a + s->field);
        w->fields[w->n_fields++] = (struct field){ s, at, w->run.pieces[i].buffer };
    }
    for (int i = 0; i < w->p.n_sizes; i++) {
        const struct fdit_probe_size *size = &w->p.sizes[i];
        void *at = (char *)w->a + size->field;
        w->numbers[w->n_numbers++] =
            (struct number){ size->name, size->wide ? NULL : at, size->wide ? at : NULL };
    }
    if (!transfer)
        weights(w);
}

/* ------------------------------------------------------------------------------- judgement */

static void remember(struct world *w)
{
    ck_assert_ok(w->ctx, fdit_probe_read(&w->p, &w->run, w->run.before));
}

static void check_unchanged(struct world *w, const char *what)
{
    struct fdit_probe_run *r = &w->run;
    ck_assert_ok(w->ctx, fdit_probe_read(&w->p, r, r->after));
    for (int i = 0; i < r->n_pieces; i++)
        ck_assert_msg(test_first_difference(r->after + r->pieces[i].from, r->before + r->pieces[i].from,
                                            r->pieces[i].n, sizeof(float)) == r->pieces[i].n,
                      "%s, %s: %s has changed", fdit_op_name(w->op), what, w->fields[i].slot->name);
}

static void world_init(struct world *w, enum fdit_op op)
{
    memset(w, 0, sizeof *w);
    w->ctx = fdit_context_new();
    w->op = op;
    ck_assert_ok(w->ctx, fdit_device_open(w->ctx, &fdit_ref_ops, NULL, &w->dev));
    ck_assert_ok(w->ctx, fdit_device_open(w->ctx, &fdit_ref_ops, NULL, &w->other));
    ck_assert_ok(w->ctx, fdit_buffer_new(w->ctx, w->other, 4096, "foreign", &w->foreign));
    setup(w);
    call(w);
    ck_assert_ok(w->ctx, fdit_device_sync(w->ctx, w->dev));
    remember(w);
}

static void world_free(struct world *w)
{
    fdit_probe_run_end(&w->run);
    fdit_probe_end(&w->p);
    fdit_buffer_free(w->foreign);
    fdit_weight_free(w->weight);
    fdit_weight_free(w->no_dx);
    fdit_weight_free(w->wrong_weight);
    fdit_weight_free(w->foreign_weight);
    fdit_device_close(w->dev);
    fdit_device_close(w->other);
    fdit_context_free(w->ctx);
}

/* The call, with arguments that are wrong in the way of `what`, fails as it must. */
static void expect_failure(struct world *w, const char *what, const char *in_message)
{
    struct fdit_op_count before = w->dev->counts[w->op];
    const char *name = fdit_op_name(w->op);
    call(w);
    ck_assert_msg(w->dev->status != FDIT_OK, "%s, %s: no error", name, what);
    ck_assert_int_ne(fdit_device_sync(w->ctx, w->dev), FDIT_OK);
    const char *message = fdit_context_message(w->ctx);
    ck_assert_msg(strncmp(message, name, strlen(name)) == 0 && strstr(message, in_message),
                  "%s, %s: the message is '%s'", name, what, message);
    ck_assert_ptr_null(strchr(message, '\n'));
    ck_assert_uint_eq(w->dev->counts[w->op].calls, before.calls);
    fdit_device_clear_error(w->dev);
    check_unchanged(w, what);
}

static void expect_success(struct world *w, const char *what)
{
    call(w);
    ck_assert_msg(w->dev->status == FDIT_OK, "%s, %s: %s", fdit_op_name(w->op), what, w->dev->message);
    remember(w);
}

START_TEST(valid_calls_are_counted)
{
    struct world w;
    world_init(&w, (enum fdit_op)_i);
    const struct fdit_op_count *count = &w.dev->counts[_i];
    ck_assert_uint_eq(count->calls, 1);
    ck_assert(count->bytes > 0);
    ck_assert(count->seconds == 0);
    double flops = 0;
    if (_i <= FDIT_OP_LINEAR_DW)
        flops = 2.0 * B * N * D * K;
    else if (_i == FDIT_OP_ATTENTION)
        flops = 4.0 * B * N * N * 2 * D;
    else if (_i == FDIT_OP_ATTENTION_BACKWARD)
        flops = 8.0 * B * N * N * 2 * D;
    else if (_i == FDIT_OP_CONV)
        flops = 2.0 * B * 2 * 3 * 9 * 4; /* each sees one channel */
    ck_assert(count->flops == flops);
    w.dev->timing = true;
    expect_success(&w, "again");
    ck_assert_uint_eq(count->calls, 2);
    ck_assert(count->seconds > 0);
    fdit_device_reset_counts(w.dev);
    ck_assert_uint_eq(count->calls, 0);
    world_free(&w);
}
END_TEST

START_TEST(wrong_numbers)
{
    struct world w;
    world_init(&w, (enum fdit_op)_i);
    for (size_t i = 0; i < w.n_numbers; i++) {
        const struct number *number = &w.numbers[i];
        if (number->at) {
            static const int wrong[] = { 0, -1, INT_MIN, INT_MAX };
            int right = *number->at;
            for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
                *number->at = wrong[j];
                expect_failure(&w, number->name, wrong[j] < 1 ? number->name : "");
            }
            *number->at = right;
        } else {
            static const size_t wrong[] = { 0, SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 4 + 1 };
            size_t right = *number->big;
            for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
                *number->big = wrong[j];
                expect_failure(&w, number->name, wrong[j] < 1 ? number->name : "");
            }
            *number->big = right;
        }
    }
    expect_success(&w, "right again");
    world_free(&w);
}
END_TEST

START_TEST(wrong_tensors)
{
    struct world w;
    world_init(&w, (enum fdit_op)_i);
    for (size_t i = 0; i < w.n_fields; i++) {
        struct field *f = &w.fields[i];
        struct fdit_tensor right = *f->at;
        char name[64];
        snprintf(name, sizeof name, "%s", f->slot->name);
        if (!(f->slot->optional)) {
            *f->at = FDIT_NO_TENSOR;
            expect_failure(&w, "missing", name);
        }
        *f->at = right;
        f->at->buffer = w.foreign;
        expect_failure(&w, "on another device", "another device");
        *f->at = right;
        f->at->type = w.op == FDIT_OP_COPY ? FDIT_I32 : FDIT_BF16; /* copy converts bf16 */
        expect_failure(&w, "of another type", w.op == FDIT_OP_COPY ? "" : "bf16");
        *f->at = right;
        static const size_t beyond[] = { SIZE_MAX, SIZE_MAX / 4, SIZE_MAX / 4 + 2 };
        for (size_t j = 0; j <= sizeof beyond / sizeof *beyond; j++) {
            f->at->offset = j ? beyond[j - 1] : right.offset + 1;
            expect_failure(&w, "out of bounds", "do not fit");
        }
        *f->at = right;
    }
    expect_success(&w, "right again");
    world_free(&w);
}
END_TEST

/* An output is put on every other argument in turn: exactly, and one element apart. */
START_TEST(overlaps)
{
    struct world w;
    world_init(&w, (enum fdit_op)_i);
    for (size_t i = 0; i < w.n_fields; i++) {
        struct field *out = &w.fields[i];
        struct fdit_tensor right = *out->at;
        if (out->slot->role == FDIT_PROBE_IN)
            continue;
        for (size_t j = 0; j < w.n_fields; j++) {
            const struct field *with = &w.fields[j];
            if (j == i || with->at->type != FDIT_F32)
                continue;
            /* The buffer ends with its tensor: the output fits only if it is no longer. */
            bool fits = out->slot->n <= with->slot->n,
                 allowed = out->slot->may_be && strstr(out->slot->may_be, with->slot->name);
            *out->at = *with->at;
            if (allowed)
                expect_success(&w, with->slot->name);
            else
                expect_failure(&w, with->slot->name, fits ? "overlap" : "do not fit");
            out->at->offset--;
            if (out->slot->n <= with->slot->n + 1 && out->slot->n > 1)
                expect_failure(&w, with->slot->name, "overlap");
        }
        *out->at = right;
    }
    expect_success(&w, "right again");
    world_free(&w);
}
END_TEST

/* After a failure nothing runs until the error is cleared, and a read says why. */
START_TEST(errors_are_sticky)
{
    struct world w;
    world_init(&w, (enum fdit_op)_i);
    const char *name = fdit_op_name(w.op);
    w.dev->fail_op_at = 1;
    expect_failure(&w, "injected", "a test asked");
    for (size_t i = 0; i < w.n_fields; i++) /* outputs become recognisable */
        if (w.fields[i].slot->role != FDIT_PROBE_IN)
            memset((char *)w.fields[i].buffer->handle, 0x41, w.fields[i].buffer->bytes);
    remember(&w);
    w.dev->fail_op_at = 2;
    fdit_fill(w.dev, fdit_tensor_of(w.fields[0].buffer, FDIT_F32), 1, 0); /* the first of two */
    memcpy(w.fields[0].buffer->handle, w.run.before, sizeof(float));
    ck_assert_int_eq(w.dev->status, FDIT_OK);
    call(&w); /* fails */
    call(&w); /* does nothing */
    ck_assert_int_eq(w.dev->status, FDIT_ERROR_DEVICE);
    ck_assert_uint_eq(w.dev->fail_op_at, 0);
    float value = 5, zero = 0;
    fdit_write(w.dev, fdit_tensor_of(w.fields[0].buffer, FDIT_F32), &zero, 1);
    ck_assert_int_eq(fdit_read(w.ctx, w.dev, *w.fields[0].at, &value, 1), FDIT_ERROR_DEVICE);
    ck_assert(value == 5);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(w.ctx), name));
    fdit_buffer *buffer;
    ck_assert_int_eq(fdit_buffer_new(w.ctx, w.dev, 4, "late", &buffer), FDIT_ERROR_DEVICE);
    ck_assert_ptr_null(buffer);
    fdit_device_clear_error(w.dev);
    check_unchanged(&w, "sticky");
    expect_success(&w, "cleared");
    world_free(&w);
}
END_TEST

/* ------------------------------------------------------- what only one op forbids or allows */

#define WITH(w, place, value, what, message)     \
    do {                                         \
        __typeof__(place) right_ = (place);      \
        (place) = (value);                       \
        expect_failure(&(w), (what), (message)); \
        (place) = right_;                        \
    } while (0)

START_TEST(linear_arguments)
{
    struct world w;
    world_init(&w, FDIT_OP_LINEAR);
    struct fdit_linear_args *a = &w.a->linear;
    WITH(w, a->weight, w.weight, "both", "weight and matrix");
    WITH(w, a->matrix, FDIT_NO_TENSOR, "neither", "neither weight nor matrix");
    WITH(w, a->act, (enum fdit_act)7, "act", "act is 7");
    WITH(w, a->beta, 1, "beta with gate", "beta 1 excludes");
    WITH(w, a->beta, 2, "beta 2", "beta is 2");
    WITH(w, a->gate_stride, -1, "stride", "gate_stride is -1");
    WITH(w, a->gate_stride, K + 1, "stride beyond the buffer", "gate");
    a->gate_stride = 0;
    expect_success(&w, "one gate for all samples");
    a->gate_stride = K;
    struct fdit_tensor matrix = a->matrix;
    a->matrix = FDIT_NO_TENSOR;
    WITH(w, a->weight, w.foreign_weight, "foreign weight", "another device");
    WITH(w, a->weight, w.wrong_weight, "wrong weight", "5 x 5, not 5 x 4");
    a->weight = w.weight;
    expect_success(&w, "weight");
    a->weight = NULL;
    a->matrix = matrix;
    a->residual_shared = true;
    expect_success(&w, "shared residual");
    WITH(w, a->y, a->residual, "y as the shared residual", "overlap");
    a->residual_shared = false;
    a->gate = FDIT_NO_TENSOR;
    WITH(w, a->beta, 1, "beta with residual", "beta 1 excludes");
    a->residual = FDIT_NO_TENSOR;
    a->beta = 1;
    a->gate_stride = -5; /* without a gate it has no meaning */
    expect_success(&w, "beta");
    world_free(&w);

    world_init(&w, FDIT_OP_LINEAR_DX);
    struct fdit_linear_dx_args *dx = &w.a->linear_dx;
    WITH(w, dx->weight, w.weight, "both", "weight and matrix");
    WITH(w, dx->pre, FDIT_NO_TENSOR, "no pre", "act needs pre");
    WITH(w, dx->act, FDIT_ACT_NONE, "no act", "pre is given without act");
    WITH(w, dx->act, (enum fdit_act) - 1, "act", "act is");
    WITH(w, dx->beta, 1, "beta with act", "act excludes beta");
    dx->matrix = FDIT_NO_TENSOR;
    WITH(w, dx->weight, w.no_dx, "weight without dx", "need_dx");
    WITH(w, dx->weight, w.wrong_weight, "wrong weight", "5 x 5, not 5 x 4");
    dx->weight = w.weight;
    expect_success(&w, "weight");
    dx->act = FDIT_ACT_NONE;
    dx->pre = FDIT_NO_TENSOR;
    dx->beta = 1;
    expect_success(&w, "beta");
    world_free(&w);

    world_init(&w, FDIT_OP_LINEAR_DW);
    WITH(w, w.a->linear_dw.beta, -1, "beta", "beta is -1");
    world_free(&w);
    world_init(&w, FDIT_OP_COLUMN_SUM);
    WITH(w, w.a->column_sum.beta, 2, "beta", "beta is 2");
    world_free(&w);
}
END_TEST

START_TEST(norm_arguments)
{
    struct world w;
    world_init(&w, FDIT_OP_NORM);
    struct fdit_norm_args *a = &w.a->norm;
    WITH(w, a->weight, FDIT_NO_TENSOR, "bias alone", "only bias");
    WITH(w, a->scale, FDIT_NO_TENSOR, "shift alone", "only shift");
    WITH(w, a->mod_stride, -D, "stride", "mod_stride");
    a->rstd = a->xhat = FDIT_NO_TENSOR;
    WITH(w, a->y, FDIT_NO_TENSOR, "no output", "none of");
    a->weight = a->bias = FDIT_NO_TENSOR;
    a->scale = a->shift = FDIT_NO_TENSOR;
    a->mod_stride = -1;
    expect_success(&w, "plain");
    world_free(&w);

    world_init(&w, FDIT_OP_NORM_BACKWARD);
    struct fdit_norm_backward_args *b = &w.a->norm_backward;
    WITH(w, b->dmod_stride, D - 1, "rows overlap", "overlap each other");
    WITH(w, b->dmod_stride, -D, "stride", "dmod_stride");
    WITH(w, b->beta, 2, "beta", "beta is 2");
    struct fdit_tensor dx = b->dx;
    b->dx = b->dshift = b->dscale = FDIT_NO_TENSOR;
    expect_success(&w, "dweight and dbias");
    b->rstd = FDIT_NO_TENSOR;
    expect_success(&w, "no rstd");
    b->dweight = b->dbias = FDIT_NO_TENSOR;
    expect_failure(&w, "no output", "none of");
    b->dx = dx;
    expect_failure(&w, "dx without rstd", "rstd");
    world_free(&w);
}
END_TEST

/* The slices of a [B, 6 D] tensor interleave; they may touch and not overlap. */
START_TEST(strided_outputs)
{
    struct world w;
    world_init(&w, FDIT_OP_NORM_BACKWARD);
    struct fdit_norm_backward_args *a = &w.a->norm_backward;
    fdit_buffer *mod, *dmod;
    size_t bytes = (size_t)(B * 6 * D) * sizeof(float);
    ck_assert_ok(w.ctx, fdit_buffer_new(w.ctx, w.dev, bytes, "mod", &mod));
    ck_assert_ok(w.ctx, fdit_buffer_new(w.ctx, w.dev, bytes, "dmod", &dmod));
    a->mod_stride = a->dmod_stride = 6 * D;
    a->scale = fdit_at(fdit_tensor_of(mod, FDIT_F32), (size_t)D);
    a->dshift = fdit_tensor_of(dmod, FDIT_F32);
    for (int place = 1; place < 6; place++) {
        a->dscale = fdit_at(a->dshift, (size_t)(place * D));
        expect_success(&w, "side by side");
        if (place < 5) {
            a->dscale.offset++;
            expect_success(&w, "apart");
        }
    }
    a->dscale = fdit_at(a->dshift, (size_t)(D - 1));
    expect_failure(&w, "one element shared", "overlap");
    a->dscale = fdit_at(a->dshift, (size_t)(5 * D));
    a->dshift.offset = 1;
    expect_success(&w, "apart");
    a->dshift.offset = (size_t)D;
    a->dscale.offset = (size_t)(5 * D + 1); /* its second row ends beyond the buffer */
    expect_failure(&w, "out of bounds", "dscale");
    a->dscale = a->scale; /* outputs into the rows that are read */
    expect_failure(&w, "dscale is scale", "overlap");
    a->dscale = fdit_tensor_of(mod, FDIT_F32);
    expect_success(&w, "dscale beside scale");
    fdit_buffer_free(mod);
    fdit_buffer_free(dmod);
    world_free(&w);
}
END_TEST

START_TEST(branch_arguments)
{
    struct world w;
    world_init(&w, FDIT_OP_MODULATE);
    WITH(w, w.a->modulate.mod_stride, -1, "stride", "mod_stride");
    world_free(&w);

    world_init(&w, FDIT_OP_ATTENTION);
    WITH(w, w.a->attention.head_size, 129, "head size", "at most 128");
    world_free(&w);
    world_init(&w, FDIT_OP_ATTENTION_BACKWARD);
    WITH(w, w.a->attention_backward.head_size, 129, "head size", "at most 128");
    world_free(&w);

    world_init(&w, FDIT_OP_GATE);
    WITH(w, w.a->gate.gate_stride, -1, "stride", "gate_stride");
    world_free(&w);
    world_init(&w, FDIT_OP_GATE_BACKWARD);
    struct fdit_gate_backward_args *g = &w.a->gate_backward;
    WITH(w, g->dgate_stride, D - 1, "rows overlap", "overlap each other");
    struct fdit_tensor dbranch = g->dbranch;
    g->dbranch = FDIT_NO_TENSOR;
    WITH(w, g->dgate, FDIT_NO_TENSOR, "no output", "neither");
    WITH(w, g->branch, FDIT_NO_TENSOR, "dgate without branch", "branch is missing");
    g->gate = FDIT_NO_TENSOR;
    expect_success(&w, "dgate alone");
    g->dgate = g->branch = FDIT_NO_TENSOR;
    g->dbranch = dbranch;
    expect_failure(&w, "dbranch without gate", "gate is missing");
    world_free(&w);

    world_init(&w, FDIT_OP_ACTIVATION);
    WITH(w, w.a->activation.act, FDIT_ACT_NONE, "no act", "act is 0");
    world_free(&w);
    world_init(&w, FDIT_OP_ACTIVATION_BACKWARD);
    WITH(w, w.a->activation_backward.act, (enum fdit_act)(FDIT_ACT_LAST + 1), "act", "act is");
    world_free(&w);
    world_init(&w, FDIT_OP_AXPY);
    WITH(w, w.a->axpy.beta, 2, "beta", "beta is 2");
    world_free(&w);
}
END_TEST

START_TEST(diffusion_arguments)
{
    struct world w;
    for (int order = 0; order < 2; order++) {
        world_init(&w, order ? FDIT_OP_PATCHIFY : FDIT_OP_UNPATCHIFY);
        WITH(w, w.a->patchify.patch, 3, "patch 3 of 4", "not a multiple");
        WITH(w, w.a->patchify.order, (enum fdit_patch_order)2, "order", "order is 2");
        world_free(&w);
    }

    world_init(&w, FDIT_OP_SAMPLER_STEP);
    struct fdit_sampler_step_args *s = &w.a->sampler_step;
    WITH(w, s->guided_channels, 4, "channels", "guided_channels is 4");
    WITH(w, s->guided_channels, -1, "channels", "guided_channels is -1");
    WITH(w, s->x0_eps, 0, "clip", "x0_eps");
    WITH(w, s->single, true, "single", "learned needs v");
    s->uncond = FDIT_NO_TENSOR;
    s->guided_channels = 99; /* without a guide it has no meaning */
    expect_success(&w, "no guide");
    s->z = FDIT_NO_TENSOR;
    expect_success(&w, "no noise");
    world_free(&w);

    world_init(&w, FDIT_OP_VELOCITY_LOSS);
    WITH(w, w.a->velocity_loss.outputs, 0, "no outputs", "outputs is 0");
    WITH(w, w.a->velocity_loss.outputs, 3, "outputs", "outputs is 3");
    world_free(&w);

    world_init(&w, FDIT_OP_CLIP_SCALE);
    WITH(w, w.a->clip_scale.max_norm, NAN, "max_norm", "max_norm");
    world_free(&w);
}
END_TEST

START_TEST(picture_arguments)
{
    struct world w;
    world_init(&w, FDIT_OP_CONV);
    struct fdit_conv_args *conv = &w.a->conv;
    WITH(w, conv->weight, NULL, "no weight", "weight is missing");
    WITH(w, conv->weight, w.foreign_weight, "foreign weight", "another device");
    WITH(w, conv->weight, w.no_dx, "weight of a linear", "for a linear");
    WITH(w, conv->n_out, 2, "n_out", "not 2 x 9");
    WITH(w, conv->n_out, 3, "n_out", "2 and 3 channels cannot be cut into 2 groups");
    WITH(w, conv->groups, 1, "groups", "not 4 x 18 in 1");
    WITH(w, conv->kernel_x, 2, "kernel", "not 4 x 6 in 2");
    WITH(w, conv->stride_y, 4, "stride", "the last row of y looks at row 3 of 2");
    WITH(w, conv->stride_x, INT_MAX, "stride", "the last column of y looks at column");
    WITH(w, conv->top, -3, "top", "top is -3");
    WITH(w, conv->top, 5, "top", "top is 5");
    WITH(w, conv->left, -3, "left", "left is -3");
    WITH(w, conv->act, (enum fdit_act)(FDIT_ACT_LAST + 1), "act", "act is");
    world_free(&w);
    world_init(&w, FDIT_OP_GROUP_STATS);
    WITH(w, w.a->group_stats.width, 3, "groups", "3 channels cannot be cut into 2 groups");
    world_free(&w);
    world_init(&w, FDIT_OP_GROUP_APPLY);
    WITH(w, w.a->group_apply.width, 3, "groups", "cannot be cut into 2 groups");
    WITH(w, w.a->group_apply.act, (enum fdit_act)(FDIT_ACT_LAST + 1), "act", "act is");
    world_free(&w);
    world_init(&w, FDIT_OP_SOFTMAX);
    WITH(w, w.a->softmax.scale, INFINITY, "scale", "scale");
    world_free(&w);

    world_init(&w, FDIT_OP_POOLING);
    WITH(w, w.a->pooling.pad, 2, "pad", "pad is 2, at most 1");
    WITH(w, w.a->pooling.pad, -1, "pad", "pad is -1");
    WITH(w, w.a->pooling.stride, 0, "stride", "stride is 0");
    WITH(w, w.a->pooling.stride, INT_MIN, "stride", "stride is -");
    WITH(w, w.a->pooling.kind, (enum fdit_pooling_kind)3, "kind", "kind is 3");
    WITH(w, w.a->pooling.more, 2, "more", "more is 2, at most 1");
    WITH(w, w.a->pooling.more, -1, "more", "more is -1");
    w.a->pooling.pad = w.a->pooling.more = 0;
    WITH(w, w.a->pooling.kernel, 5, "window", "does not fit into 4 x 5");
    world_free(&w);
}
END_TEST

/* A row or label outside the table is found by the device, whose message gets op and numbers. */
START_TEST(wrong_rows)
{
    static const enum fdit_op ops[] = { FDIT_OP_GATHER, FDIT_OP_SCATTER_ADD, FDIT_OP_CROSS_ENTROPY };
    static const int32_t wrong[] = { -1, 6, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            struct world w;
            world_init(&w, ops[i]);
            struct field *rows = w.fields;
            while (rows->at->type != FDIT_I32)
                rows++;
            fdit_write(w.dev, fdit_at(*rows->at, 1), &wrong[j], 1);
            call(&w);
            ck_assert_int_eq(fdit_device_sync(w.ctx, w.dev), FDIT_ERROR_DEVICE);
            const char *message = fdit_context_message(w.ctx);
            ck_assert_msg(strncmp(message, fdit_op_name(ops[i]), strlen(fdit_op_name(ops[i]))) == 0 &&
                              strstr(message, "samples 2") && strstr(message, "of sample 1"),
                          "the message is '%s'", message);
            fdit_device_clear_error(w.dev);
            world_free(&w);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *tc = tcase_create("every op");
    tcase_add_loop_test(tc, valid_calls_are_counted, 0, FDIT_OP_COUNT);
    tcase_add_loop_test(tc, wrong_numbers, 0, FDIT_OP_COUNT);
    tcase_add_loop_test(tc, wrong_tensors, 0, FDIT_OP_COUNT);
    tcase_add_loop_test(tc, overlaps, 0, FDIT_OP_COUNT);
    tcase_add_loop_test(tc, errors_are_sticky, 0, FDIT_OP_COUNT);
    suite_add_tcase(suite, tc);
    tc = tcase_create("single ops");
    tcase_add_test(tc, linear_arguments);
    tcase_add_test(tc, norm_arguments);
    tcase_add_test(tc, strided_outputs);
    tcase_add_test(tc, branch_arguments);
    tcase_add_test(tc, diffusion_arguments);
    tcase_add_test(tc, picture_arguments);
    tcase_add_test(tc, wrong_rows);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
