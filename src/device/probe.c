/* SPDX-License-Identifier: Apache-2.0 */
#include "device/probe_run.h"

#include "core/difference.h"
#include "core/fnv.h"
#include "core/half.h"
#include "core/mem.h"
#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void fdit_probe_begin(struct fdit_probe *p, fdit_context *ctx, enum fdit_op op, const char *format, ...)
{
    *p = (struct fdit_probe){ .ctx = ctx, .op = op, .allowed = 1e-11, .shape.op = op };
    int at = snprintf(p->text, sizeof p->text, "%s ", fdit_op_name(op));
    va_list args;
    va_start(args, format);
    vsnprintf(p->text + at, sizeof p->text - (size_t)at, format, args);
    va_end(args);
    p->seed = fdit_fnv(FDIT_FNV_START, p->text, strlen(p->text));
}

void fdit_probe_end(struct fdit_probe *p)
{
    for (int i = 0; i < p->n_slots; i++)
        fdit_free(p->slots[i].data);
    fdit_free(p->weight);
    *p = (struct fdit_probe){ 0 };
}

static struct fdit_probe_slot *add(struct fdit_probe *p, size_t field, const char *name, size_t n,
                                   enum fdit_probe_role role)
{
    struct fdit_probe_slot *s = &p->slots[p->n_slots];
    if (p->n_slots == FDIT_PROBE_SLOTS - 1) { /* the last one is the harmless place */
        if (p->status == FDIT_OK)
            p->status = fdit_fail(p->ctx, FDIT_ERROR_ARGUMENT, "%s: too many tensors", p->text);
        return s;
    }
    *s = (struct fdit_probe_slot){
        .name = name, .field = field, .alias = FDIT_PROBE_NO_FIELD, .role = role, .n = n
    };
    if (p->status == FDIT_OK && role != FDIT_PROBE_OUT)
        p->status = fdit_alloc(p->ctx, n, sizeof(float), &s->data);
    if (p->status != FDIT_OK)
        return s;
    p->n_slots++;
    if (role != FDIT_PROBE_OUT)
        fdit_rng_fill_normals(&(struct fdit_rng){ .seed = p->seed, .stream = (uint32_t)p->n_slots }, 0, n,
                              s->data);
    return s;
}

struct fdit_probe_slot *fdit_probe_in(struct fdit_probe *p, size_t field, const char *name, size_t n)
{
    return add(p, field, name, n, FDIT_PROBE_IN);
}

struct fdit_probe_slot *fdit_probe_out(struct fdit_probe *p, size_t field, const char *name, size_t n)
{
    return add(p, field, name, n, FDIT_PROBE_OUT);
}

struct fdit_probe_slot *fdit_probe_inout(struct fdit_probe *p, size_t field, const char *name, size_t n)
{
    return add(p, field, name, n, FDIT_PROBE_INOUT);
}

void fdit_probe_index(struct fdit_probe *p, size_t field, const char *name, size_t n, int below)
{
    struct fdit_probe_slot *s = add(p, field, name, n, FDIT_PROBE_IN);
    struct fdit_rng rng = { .seed = p->seed, .stream = 99 };
    s->type = FDIT_I32;
    for (size_t i = 0; s->data && i < n; i++) {
        int32_t row = (int32_t)fdit_rng_below(&rng, (uint32_t)i, (uint32_t)below);
        memcpy(s->data + i, &row, sizeof row);
    }
}

void fdit_probe_sizes(struct fdit_probe *p, const struct fdit_probe_size *sizes)
{
    while (sizes->name && p->n_sizes < FDIT_PROBE_SIZES)
        p->sizes[p->n_sizes++] = *sizes++;
    if (sizes->name && p->status == FDIT_OK)
        p->status = fdit_fail(p->ctx, FDIT_ERROR_ARGUMENT, "%s: too many sizes", p->text);
}

void fdit_probe_weight(struct fdit_probe *p, size_t field, int n_out, int n_in, enum fdit_dtype storage)
{
    struct fdit_rng rng = { .seed = p->seed, .stream = 98 };
    if (p->status == FDIT_OK)
        p->status = fdit_alloc(p->ctx, (size_t)n_out * (size_t)n_in, sizeof(float), &p->weight);
    if (p->status != FDIT_OK)
        return;
    /* whole numbers of 1/256 up to 127: bf16 and f16 hold them, and int8 with one 127 a row */
    for (int r = 0; r < n_out; r++)
        for (int i = 0; i < n_in; i++) {
            uint32_t at = (uint32_t)r * (uint32_t)n_in + (uint32_t)i;
            int q = i == r % n_in ? 127 : (int)fdit_rng_below(&rng, at, 255) - 127;
            p->weight[at] = (float)q / 256;
        }
    p->desc = (struct fdit_weight_desc){
        .n_out = n_out, .n_in = n_in, .storage = storage, .need_dx = p->op == FDIT_OP_LINEAR_DX
    };
    p->weight_field = field;
}

static void round_all(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fdit_bf16_value(fdit_bf16_of(x[i]));
}

/* Rows of n numbers, as whole numbers up to 127 of a power of two, with one 127: int8 with a scale a row
 * has them, and so has bf16. */
static void whole_rows(float *x, size_t rows, size_t n)
{
    for (; rows--; x += n) {
        size_t largest = 0;
        int exponent;
        for (size_t i = 1; i < n; i++)
            if (fabsf(x[i]) > fabsf(x[largest]))
                largest = i;
        frexpf(fabsf(x[largest]) / 127, &exponent);
        const float unit = ldexpf(1, exponent);
        if (x[largest] == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            x[i] = i == largest ? copysignf(127 * unit, x[i]) : rintf(x[i] / unit) * unit;
    }
}

/* In int8 what is multiplied has to be held by it, too. */
static void make_whole(struct fdit_probe *p)
{
    const size_t n_in = (size_t)p->desc.n_in;
    if (!p->weight)
        return;
    whole_rows(p->weight, (size_t)p->desc.n_out, n_in);
    for (int i = 0; p->op == FDIT_OP_LINEAR && i < p->n_slots; i++)
        if (strcmp(p->slots[i].name, "x") == 0)
            whole_rows(p->slots[i].data, p->slots[i].n / n_in, n_in);
}

/* In 16 bits attention may round its operands, and does round its weights, which no input makes exact: what
 * tests/test_cpu_ops.c allows. */
static void allow_attention(struct fdit_probe *p, enum fdit_dtype precision)
{
    const double allowed = p->op == FDIT_OP_ATTENTION ? 1e-4 : 1e-3;
    if ((p->op == FDIT_OP_ATTENTION || p->op == FDIT_OP_ATTENTION_BACKWARD) && precision != FDIT_F32 &&
        precision != FDIT_BF16X3 && p->allowed < allowed)
        p->allowed = allowed;
}

void fdit_probe_round(struct fdit_probe *p, const fdit_device *dev)
{
    const enum fdit_dtype precision = fdit_device_precision(dev);
    allow_attention(p, precision);
    bool product = p->op == FDIT_OP_LINEAR || p->op == FDIT_OP_LINEAR_DX || p->op == FDIT_OP_LINEAR_DW ||
                   p->op == FDIT_OP_CONV;
    if (p->status != FDIT_OK || !product ||
        (precision != FDIT_BF16 && precision != FDIT_F16 && precision != FDIT_BF16X3 && precision != FDIT_I8))
        return;
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i].role != FDIT_PROBE_OUT && p->slots[i].type == FDIT_F32)
            round_all(p->slots[i].data, p->slots[i].n);
    if (p->weight)
        round_all(p->weight, (size_t)p->desc.n_out * (size_t)p->desc.n_in);
    if (precision == FDIT_I8)
        make_whole(p);
}

/* ----------------------------------------------------------------------------- checking */

static void complain(struct fdit_probe_result *r, const char *format, ...) FDIT_PRINTF(2, 3);
static void complain(struct fdit_probe_result *r, const char *format, ...)
{
    va_list args;
    r->passed = false;
    if (r->reason[0])
        return;
    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
}

static void check_output(const struct fdit_probe *p, const struct fdit_probe_run *got,
                         const struct fdit_probe_run *wanted, int slot, struct fdit_probe_result *r)
{
    const struct fdit_probe_slot *s = &p->slots[slot];
    struct fdit_difference d =
        fdit_compare(got->after + got->at[slot], wanted->after + wanted->at[slot], s->n);
    double error = d.nmse * d.norm / (1 + d.norm);
    if (!(error <= r->error))
        r->error = error;
    if (!(error <= p->allowed))
        complain(r, "%s: error %.2g, %.2g allowed; element %zu of %zu is %.9g, not %.9g", s->name, error,
                 p->allowed, d.worst, s->n, (double)d.got, (double)d.wanted);
}

enum fdit_status fdit_probe_check(struct fdit_probe *p, fdit_device *reference, fdit_device *dev,
                                  struct fdit_probe_result *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_probe_run wanted = { 0 }, got = { 0 };
    struct fdit_probe_placing how = { .sample = FDIT_PROBE_ALL, .storage = FDIT_F32 };
    char what[256];
    *out = (struct fdit_probe_result){ .passed = true };
    TRY(fdit_probe_place(p, reference, &how, &wanted));
    TRY(fdit_probe_call(p, &wanted));
    how.storage = p->desc.storage;
    how.spoil = p->spoil;
    enum fdit_status ran = fdit_probe_place(p, dev, &how, &got);
    if (ran == FDIT_OK)
        ran = fdit_probe_call(p, &got);
    out->seconds = got.seconds;
    if (ran == FDIT_ERROR_MEMORY)
        TRY(ran);
    if (ran != FDIT_OK) {
        complain(out, "%s", fdit_context_message(p->ctx));
        fdit_device_clear_error(dev);
        goto out;
    }
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i].role != FDIT_PROBE_IN)
            check_output(p, &got, &wanted, i, out);
    if (!fdit_probe_is_clean(p, &got, what, sizeof what))
        complain(out, "%s", what);
out:
    fdit_probe_run_end(&got);
    fdit_probe_run_end(&wanted);
    return status;
}
