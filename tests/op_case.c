/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

#include "core/mem.h"
#include "devices.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct op_devices op_devices;

/* ------------------------------------------------------------------------------------ devices */

/* "opencl:0:0+bf16": the device's name and the precision behind it. */
static enum fdit_dtype precision_of(const char *spec, char *name, size_t bytes)
{
    static const enum fdit_dtype types[] = { FDIT_BF16, FDIT_F16, FDIT_I8, FDIT_BF16X3 };
    snprintf(name, bytes, "%s", spec);
    char *plus = strchr(name, '+');
    if (!plus)
        return FDIT_F32;
    *plus++ = '\0';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(plus, fdit_dtype_name(types[i])) == 0)
            return types[i];
    ck_abort_msg("%s: no such precision", spec);
    return FDIT_F32;
}

enum fdit_status op_devices_open(fdit_context *ctx, const char *spec)
{
    enum fdit_status status = FDIT_OK;
    struct op_devices *d = &op_devices;
    char name[64];
    enum fdit_dtype precision = precision_of(spec, name, sizeof name);
    struct fdit_device_options options = { .spec = name, .precision = precision };
    struct fdit_device_options one = { .spec = name, .threads = 1, .precision = precision };
    *d = (struct op_devices){ .ctx = ctx, .spec = spec };
    TRY(fdit_device_open(ctx, &fdit_ref_ops, &(struct fdit_device_options){ .spec = "ref" }, &d->ref));
    TRY(fdit_devices_open_one(ctx, &options, &d->main));
    if (d->main->info.threads > 1)
        TRY(fdit_device_open(ctx, d->main->ops, &one, &d->one_thread));
    d->composed_ops = *d->main->ops;
    d->composed_ops.read_begin = NULL;
    d->composed_ops.read_end = NULL;
#define OPTIONAL_OP(entry, ENUM, arguments) d->composed_ops.entry = NULL;
#include "device/op_list.h"
    d->composed_ops.fuses_act = false;
    d->composed_ops.fuses_gate = false;
    d->composed_ops.fuses_add = false;
    d->composed_ops.fuses_act_backward = false;
    TRY(fdit_device_open(ctx, &d->composed_ops, &options, &d->composed));
    return FDIT_OK;
out:
    op_devices_close();
    return status;
}

void op_devices_close(void)
{
    for (int i = 0; i < OP_DEVICES; i++)
        fdit_buffer_free(op_devices.buffers[i]);
    fdit_device_close(op_devices.composed);
    fdit_device_close(op_devices.one_thread);
    fdit_device_close(op_devices.main);
    fdit_device_close(op_devices.ref);
    op_devices = (struct op_devices){ 0 };
}

/* ----------------------------------------------------------------------------- making a case */

struct op_case *case_new(enum fdit_op op, const char *format, ...)
{
    struct op_case *c = calloc(1, sizeof *c);
    char text[256];
    ck_assert_ptr_nonnull(c);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fdit_probe_begin(&c->p, op_devices.ctx, op, "%s", text);
    c->floor = 1;
    c->rng = test_rng_new(c->p.text);
    return c;
}

static void case_free(struct op_case *c)
{
    for (int i = 0; i < c->p.n_slots; i++)
        free(c->wanted[i]);
    fdit_probe_end(&c->p);
    free(c);
}

static struct fdit_probe_slot *add_slot(struct op_case *c, size_t field, const char *name, size_t n,
                                        int samples, size_t stride, enum fdit_probe_role role)
{
    size_t all = samples ? (size_t)(samples - 1) * stride + n : n;
    struct fdit_probe_slot *s = role == FDIT_PROBE_IN    ? fdit_probe_in(&c->p, field, name, all)
                                : role == FDIT_PROBE_OUT ? fdit_probe_out(&c->p, field, name, all)
                                                         : fdit_probe_inout(&c->p, field, name, all);
    ck_assert_ok(op_devices.ctx, c->p.status);
    s->shared = !samples;
    s->stride = samples ? stride : 0;
    s->row = n;
    if (role != FDIT_PROBE_OUT)
        test_fill_normal(&c->rng, s->data, s->n, 0, 1);
    return s;
}

struct fdit_probe_slot *case_in(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, FDIT_PROBE_IN);
}

struct fdit_probe_slot *case_out(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, FDIT_PROBE_OUT);
}

struct fdit_probe_slot *case_inout(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, FDIT_PROBE_INOUT);
}

struct fdit_probe_slot *case_in_strided(struct op_case *c, size_t field, const char *name, size_t n,
                                        int samples, int stride)
{
    return add_slot(c, field, name, n, samples, (size_t)stride, FDIT_PROBE_IN);
}

struct fdit_probe_slot *case_out_strided(struct op_case *c, size_t field, const char *name, size_t n,
                                         int samples, int stride)
{
    return add_slot(c, field, name, n, samples, (size_t)stride, FDIT_PROBE_OUT);
}

struct fdit_probe_slot *case_index(struct op_case *c, size_t field, const char *name, int samples, int below)
{
    struct fdit_probe_slot *s = add_slot(c, field, name, 1, samples, 1, FDIT_PROBE_IN);
    s->type = FDIT_I32;
    for (size_t i = 0; i < s->n; i++) {
        int32_t row = test_int(&c->rng, below);
        memcpy(s->data + i, &row, sizeof row);
    }
    return s;
}

void case_weight(struct op_case *c, size_t field, int n_out, int n_in, float deviation)
{
    fdit_probe_weight(&c->p, field, n_out, n_in, FDIT_F32);
    ck_assert_ok(op_devices.ctx, c->p.status);
    test_fill_normal(&c->rng, c->p.weight, (size_t)n_out * (size_t)n_in, 0, deviation);
    c->p.desc.conv = c->p.op == FDIT_OP_CONV;
}

struct op_case *case_shared(enum fdit_op op, int variant)
{
    struct op_case *c = case_new(op, "shared");
    fdit_probe_end(&c->p);
    ck_assert_ok(op_devices.ctx,
                 fdit_case_make(op_devices.ctx, &c->p, op, variant, op_devices.ref, op_devices.main));
    c->rng = test_rng_new(c->p.text);
    c->has_limits = true;
    c->no_poison = !fdit_case_is_tiny(variant);
    return c;
}

/* ------------------------------------------------------------------------------- running one */

static void fail_case(const struct op_case *c, const char *variant, const char *what)
{
    char repeat[512], set[128];
    snprintf(set, sizeof set, "FDIT_TEST_DEVICE=%s", op_devices.spec);
    test_repeat_command(repeat, sizeof repeat, set, fdit_op_name(c->p.op));
    ck_abort_msg("%s, %s: %s: %s; repeat: %s", op_devices.spec, variant, c->p.text, what, repeat);
}

/* The buffer of this device, used again by its next call. */
static fdit_buffer **buffer_of(fdit_device *dev)
{
    int i = 0;
    while (op_devices.buffer_of[i] && op_devices.buffer_of[i] != dev)
        i++;
    op_devices.buffer_of[i] = dev;
    return &op_devices.buffers[i];
}

/* Makes the call (sample >= 0: of that sample alone) and checks guards, inputs and allocations. */
static void run_case(struct op_case *c, fdit_device *dev, int sample, const char *variant,
                     struct fdit_probe_run *r)
{
    char what[512];
    /* other storages are measured against the exact product */
    enum fdit_dtype storage = dev == op_devices.ref ? FDIT_F32 : c->p.desc.storage;
    struct fdit_probe_placing how = { .sample = sample, .storage = storage, .keep = buffer_of(dev) };
    ck_assert_ok(op_devices.ctx, fdit_probe_place(&c->p, dev, &how, r));
    if (fdit_probe_call(&c->p, r) != FDIT_OK) {
        snprintf(what, sizeof what, "%s", fdit_context_message(op_devices.ctx));
        fdit_device_clear_error(dev);
        fail_case(c, variant, what);
    }
    if (r->objects || r->allocations) {
        snprintf(what, sizeof what, "the op made %llu device objects and %llu allocations",
                 (unsigned long long)r->objects, (unsigned long long)r->allocations);
        fail_case(c, variant, what);
    }
    if (!fdit_probe_is_clean(&c->p, r, what, sizeof what))
        fail_case(c, variant, what);
}

/* ---------------------------------------------------------------------------------- comparing */

static void check_values(const struct op_case *c, const char *variant, struct fdit_probe_run *r, bool limits)
{
    char what[256];
    for (int i = 0; i < c->p.n_slots; i++) {
        const struct fdit_probe_slot *s = &c->p.slots[i];
        if (s->role == FDIT_PROBE_IN)
            continue;
        for (size_t k = 0; limits && k < s->n; k++)
            if (isnan(c->wanted[i][k]))
                r->after[r->at[i] + k] = NAN;
        struct fdit_difference e = fdit_compare(r->after + r->at[i], c->wanted[i], s->n);
        e.nmse *= e.norm / (e.norm + c->floor);
        if (e.nmse <= c->p.allowed)
            continue;
        snprintf(what, sizeof what, "%s: NMSE %.3g, allowed %.3g; worst at %zu of %zu: got %.9g, wanted %.9g",
                 s->name, e.nmse, c->p.allowed, e.worst, s->n, (double)e.got, (double)e.wanted);
        fail_case(c, variant, what);
    }
}

/* b's tensors hold sample `sample` alone when it is not negative. */
static void check_same_bits(const struct op_case *c, const char *variant, const struct fdit_probe_run *all,
                            const struct fdit_probe_run *b, int sample)
{
    char what[256];
    for (int i = 0; i < c->p.n_slots; i++) {
        const struct fdit_probe_slot *s = &c->p.slots[i];
        if (s->role == FDIT_PROBE_IN || (sample >= 0 && s->shared))
            continue; /* what all share is a sum over the samples */
        struct fdit_probe_part part = fdit_probe_part_of(&c->p, s, sample);
        const float *wanted = all->after + all->at[i] + part.from, *got = b->after + b->at[i];
        size_t at = test_first_difference(got, wanted, part.n, sizeof *got);
        if (at == part.n)
            continue;
        snprintf(what, sizeof what, "%s: element %zu of %zu differs: got %.9g, before %.9g", s->name, at,
                 part.n, (double)got[at], (double)wanted[at]);
        fail_case(c, variant, what);
    }
}

static void reference(struct op_case *c, const char *variant)
{
    struct fdit_probe_run r;
    run_case(c, op_devices.ref, FDIT_PROBE_ALL, variant, &r);
    for (int i = 0; i < c->p.n_slots; i++) {
        if (c->p.slots[i].role == FDIT_PROBE_IN)
            continue;
        free(c->wanted[i]);
        c->wanted[i] = calloc(r.n[i], sizeof(float));
        ck_assert_ptr_nonnull(c->wanted[i]);
        memcpy(c->wanted[i], r.after + r.at[i], r.n[i] * sizeof(float));
    }
    fdit_probe_run_end(&r);
}

enum { POISONS = 3, FEW = 6 };
static const struct {
    float value;
    const char *name;
} poison[POISONS] = { { NAN, "a NaN" }, { INFINITY, "an infinity" }, { -INFINITY, "a negative infinity" } };

/* poison[k] in element `at` of the slot. */
static void check_poisoned(struct op_case *c, fdit_device *dev, const char *variant,
                           struct fdit_probe_slot *s, size_t at, int k)
{
    const float old = s->data[at];
    struct fdit_probe_run r;
    char label[128];
    snprintf(label, sizeof label, "%s, %s in %s at %zu", variant, poison[k].name, s->name, at);
    s->data[at] = poison[k].value;
    reference(c, "reference");
    run_case(c, dev, FDIT_PROBE_ALL, label, &r);
    check_values(c, label, &r, k > 0 && c->has_limits);
    fdit_probe_run_end(&r);
    s->data[at] = old;
}

/* A value that is not finite, put into each input in turn, into each element where they are few, must come
 * out wherever the reference lets it out, and nowhere else. */
static void check_poison(struct op_case *c, fdit_device *dev, const char *variant)
{
    for (int i = 0; i < c->p.n_slots; i++) {
        struct fdit_probe_slot *s = &c->p.slots[i];
        if (s->role == FDIT_PROBE_OUT || s->type != FDIT_F32 || s->partly_read)
            continue;
        /* a row that becomes int8 is then NaN throughout, and so has no limits */
        const bool whole =
            c->p.op == FDIT_OP_LINEAR && fdit_device_precision(dev) == FDIT_I8 && !strcmp(s->name, "x");
        const bool few = s->n <= FEW;
        for (int k = 0; k < (whole ? 1 : POISONS); k++)
            for (size_t at = 0; at < (few ? s->n : 1); at++)
                check_poisoned(c, dev, variant, s, few ? at : (size_t)test_int(&c->rng, (int)s->n), k);
    }
}

/* FDIT_TEST_MAX_ELEMENTS leaves out the larger calls: simulators of devices are slow. */
static bool too_large(const struct op_case *c)
{
    const char *limit = getenv("FDIT_TEST_MAX_ELEMENTS");
    size_t n = c->p.weight ? (size_t)c->p.desc.n_out * (size_t)c->p.desc.n_in : 0;
    for (int i = 0; i < c->p.n_slots; i++)
        n += c->p.slots[i].n;
    return limit && *limit && n > strtoull(limit, NULL, 10);
}

void case_check(struct op_case *c)
{
    struct fdit_probe_run all, other;
    struct op_devices *d = &op_devices;
    if (too_large(c)) {
        case_free(c);
        return;
    }
    fdit_probe_round(&c->p, d->main);
    reference(c, "reference");

    run_case(c, d->main, FDIT_PROBE_ALL, "all threads", &all);
    check_values(c, "all threads", &all, false);

    run_case(c, d->main, FDIT_PROBE_ALL, "run again", &other);
    check_same_bits(c, "run again", &all, &other, FDIT_PROBE_ALL);
    fdit_probe_run_end(&other);

    if (d->one_thread) {
        run_case(c, d->one_thread, FDIT_PROBE_ALL, "one thread", &other);
        check_same_bits(c, "one thread", &all, &other, FDIT_PROBE_ALL);
        fdit_probe_run_end(&other);
    }

    run_case(c, d->composed, FDIT_PROBE_ALL, "without optional entries", &other);
    check_values(c, "without optional entries", &other, false);
    fdit_probe_run_end(&other);

    for (int b = 0; c->p.per_sample && c->p.args.linear.samples > 1 && b < c->p.args.linear.samples; b++) {
        char label[64];
        snprintf(label, sizeof label, "sample %d alone", b);
        run_case(c, d->main, b, label, &other);
        check_same_bits(c, label, &all, &other, b);
        fdit_probe_run_end(&other);
    }
    fdit_probe_run_end(&all);
    if (!c->no_poison) {
        check_poison(c, d->main, "all threads");
        check_poison(c, d->composed, "without optional entries");
    }
    case_free(c);
}

void case_reference(struct op_case *c, const char *name, float *to)
{
    bool found = false;
    reference(c, "reference");
    for (int i = 0; i < c->p.n_slots; i++)
        if (strcmp(c->p.slots[i].name, name) == 0) {
            memcpy(to, c->wanted[i], c->p.slots[i].n * sizeof *to);
            found = true;
        }
    ck_assert_msg(found, "%s has no output %s", c->p.text, name);
    case_free(c);
}
