/* SPDX-License-Identifier: Apache-2.0
 * attention_trial.c: what attention on a matrix unit has to pass before it is used, in a process of its own
 * as unit_trial.c: one case of the self-test against the formulas in double, forward and, in bf16, which is
 * what gradients have, backward; and its time beside that of multiply-adds, both on the device as it is. */
#include "matrix.h"
#include "units.h"

#include "core/clock.h"
#include "devices.h"
#include "device/cases.h"

#include <stdio.h>

/* 77 tokens, 3 heads of 72: whole tiles and ragged ones. */
enum { CASE = 5 };

struct trial {
    fdit_context *ctx;
    fdit_device *dev, *reference;
    bool backward;
    struct fdit_op_shape shape; /* what is timed */
    fdit_buffer *qkv, *out, *lse, *dout, *dqkv;
};

static void by_unit(struct trial *t, enum fdit_dtype operands, bool on)
{
    opencl_of(t->dev)->units[opencl_unit_place(operands)].attention = on;
}

/* The error of one op, as the self-test has it; false: it is wrong, or does not run. */
static bool compare(struct trial *t, enum fdit_op op, double *error, char out[UNIT_NOTE])
{
    struct fdit_probe p;
    struct fdit_probe_result r = { 0 };
    snprintf(out, UNIT_NOTE, "%s: cannot be tried", fdit_op_name(op));
    enum fdit_status status = fdit_case_make(t->ctx, &p, op, CASE, t->reference, t->dev);
    if (status == FDIT_OK)
        status = fdit_probe_check(&p, t->reference, t->dev, &r);
    if (status == FDIT_OK && !r.passed)
        snprintf(out, UNIT_NOTE, "%s: %s%s%.1200s", p.text, r.reason,
                 opencl_of(t->dev)->build_log ? "; whole log: " : "",
                 opencl_of(t->dev)->build_log ? opencl_of(t->dev)->build_log : "");
    else if (status != FDIT_OK)
        snprintf(out, UNIT_NOTE, "%s: %.700s", fdit_op_name(op), fdit_context_message(t->ctx));
    fdit_probe_end(&p);
    *error = r.error > *error ? r.error : *error;
    return status == FDIT_OK && r.passed;
}

static bool compare_all(struct trial *t, double *error, char out[UNIT_NOTE])
{
    *error = 0;
    return compare(t, FDIT_OP_ATTENTION, error, out) &&
           (!t->backward || compare(t, FDIT_OP_ATTENTION_BACKWARD, error, out));
}

static void end_buffers(struct trial *t)
{
    fdit_buffer **all[] = { &t->qkv, &t->out, &t->lse, &t->dout, &t->dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fdit_buffer_free(*all[i]);
        *all[i] = NULL;
    }
}

static enum fdit_status make_buffers(struct trial *t, struct fdit_op_shape shape)
{
    enum fdit_status status = FDIT_OK;
    size_t rows = (size_t)shape.samples * (size_t)shape.tokens, stats = rows * (size_t)shape.heads,
           n = stats * (size_t)shape.head_size, f = sizeof(float);
    end_buffers(t);
    t->shape = shape;
    TRY(fdit_buffer_new(t->ctx, t->dev, 3 * n * f, "q, k and v of a trial", &t->qkv));
    TRY(fdit_buffer_new(t->ctx, t->dev, n * f, "results of a trial", &t->out));
    TRY(fdit_buffer_new(t->ctx, t->dev, stats * f, "sums of a trial", &t->lse));
    TRY(fdit_buffer_new(t->ctx, t->dev, n * f, "gradients of a trial", &t->dout));
    TRY(fdit_buffer_new(t->ctx, t->dev, 3 * n * f, "gradients of a trial", &t->dqkv));
    fdit_fill(t->dev, fdit_tensor_of(t->qkv, FDIT_F32), 3 * n, 0.25f);
    fdit_fill(t->dev, fdit_tensor_of(t->dout, FDIT_F32), n, 0.5f);
    for (int backward = 0; backward < 2; backward++) {
        shape.op = backward ? FDIT_OP_ATTENTION_BACKWARD : FDIT_OP_ATTENTION;
        TRY(fdit_device_reserve(t->ctx, t->dev, fdit_opencl_workspace_bytes(t->dev, &shape)));
    }
out:
    return status;
}

static void run(struct trial *t)
{
    const struct fdit_op_shape *s = &t->shape;
    const struct fdit_tensor qkv = fdit_tensor_of(t->qkv, FDIT_F32), out = fdit_tensor_of(t->out, FDIT_F32),
                             lse = fdit_tensor_of(t->lse, FDIT_F32), dout = fdit_tensor_of(t->dout, FDIT_F32),
                             dqkv = fdit_tensor_of(t->dqkv, FDIT_F32);
    fdit_opencl_attention(t->dev, &(struct fdit_attention_args){ .out = out,
                                                                 .lse = lse,
                                                                 .qkv = qkv,
                                                                 .samples = s->samples,
                                                                 .tokens = s->tokens,
                                                                 .heads = s->heads,
                                                                 .head_size = s->head_size });
    if (t->backward)
        fdit_opencl_attention_backward(t->dev,
                                       &(struct fdit_attention_backward_args){ .dqkv = dqkv,
                                                                               .dout = dout,
                                                                               .qkv = qkv,
                                                                               .out = out,
                                                                               .lse = lse,
                                                                               .samples = s->samples,
                                                                               .tokens = s->tokens,
                                                                               .heads = s->heads,
                                                                               .head_size = s->head_size });
}

/* GFLOP/s, of 4 multiplications and additions a score, head and place forward and 10 backward; 0 where it
 * is refused. */
static double speed(struct trial *t)
{
    const struct fdit_op_shape *s = &t->shape;
    double pairs = (double)s->samples * s->heads * s->tokens * s->tokens, seconds = 0,
           flops = pairs * s->head_size * (t->backward ? 14 : 4), all = 0;
    run(t); /* builds it */
    fdit_opencl_sync(t->dev);
    for (int runs = 1, round = 0; round < 12 && seconds < 0.01; runs *= 2, round++) {
        double begin = fdit_clock_seconds();
        for (int i = 0; i < runs; i++)
            run(t);
        fdit_opencl_sync(t->dev);
        seconds = fdit_clock_seconds() - begin;
        all = flops * runs;
        if (t->dev->status != FDIT_OK)
            return 0;
    }
    return seconds > 0 ? all / seconds / 1e9 : 0;
}

/* On a device that is fast enough the attention of DiT-XL/2. */
static bool time_both(struct trial *t, enum fdit_dtype operands, double *with, double *without)
{
    struct fdit_op_shape shape = { .samples = 1, .tokens = 77, .heads = 3, .head_size = 72 };
    if (make_buffers(t, shape) != FDIT_OK)
        return false;
    *with = speed(t);
    if (*with > 20) {
        shape = (struct fdit_op_shape){ .samples = 4, .tokens = 256, .heads = 16, .head_size = 72 };
        if (make_buffers(t, shape) != FDIT_OK)
            return false;
        *with = speed(t);
    }
    by_unit(t, operands, false);
    bool made = make_buffers(t, shape) == FDIT_OK; /* what multiply-adds want of the workspace */
    *without = made ? speed(t) : 0;
    by_unit(t, operands, true);
    return made && t->dev->status == FDIT_OK;
}

bool fdit_attention_trial(fdit_context *ctx, fdit_device *dev, const struct gemm_config *unit,
                          enum fdit_dtype operands, void (*phase)(const char *what), char out[UNIT_NOTE])
{
    struct trial t = { .ctx = ctx, .dev = dev, .backward = operands == FDIT_BF16 };
    double error = 0, plain = 0, with = 0, without = 0;
    char why[UNIT_NOTE];
    bool good = false;
    dev->precision = operands;
    opencl_of(dev)->units[opencl_unit_place(operands)] =
        (struct unit_choice){ .asked = true, .config = *unit, .attention = true };
    phase("when its attention is compared");
    snprintf(out, UNIT_NOTE, "out of memory for the trial: %.300s", fdit_context_message(ctx));
    if (fdit_device_open(ctx, &fdit_ref_ops, NULL, &t.reference) != FDIT_OK)
        return false;
    if (!compare_all(&t, &error, out))
        goto out;
    by_unit(&t, operands, false);
    if (!compare_all(&t, &plain, why)) /* says nothing against the unit */
        plain = 0;
    by_unit(&t, operands, true);
    phase("when its attention is timed");
    snprintf(out, UNIT_NOTE, "timing: %.700s", dev->message ? dev->message : fdit_context_message(ctx));
    if (!time_both(&t, operands, &with, &without))
        goto out;
    snprintf(out, UNIT_NOTE, "%.4g GFLOP/s, %.4g by multiply-adds, NMSE %.1e, %.1e by multiply-adds", with,
             without, error, plain);
    good = true;
out:
    end_buffers(&t);
    fdit_device_close(t.reference);
    return good;
}
