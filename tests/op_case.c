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

/* Both are NaNs: whoever reads them spoils a result, whoever does not write shows them. */
static const uint32_t guard_bits = 0x7fe5a5a5u, unwritten_bits = 0x7fd3c3c3u;

/* ------------------------------------------------------------------------------------ devices */

enum fdit_status op_devices_open(fdit_context *ctx, const char *spec)
{
    enum fdit_status status = FDIT_OK;
    struct op_devices *d = &op_devices;
    struct fdit_device_options options = { .spec = spec }, one = { .spec = spec, .threads = 1 };
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

static void *must_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

struct op_case *case_new(enum fdit_op op, const char *format, ...)
{
    struct op_case *c = must_alloc(sizeof *c);
    *c = (struct op_case){ .op = op, .tolerance = 1e-11, .floor = 1 };
    int at = snprintf(c->text, sizeof c->text, "%s", fdit_op_name(op));
    va_list args;
    va_start(args, format);
    vsnprintf(c->text + at, sizeof c->text - (size_t)at, format, args);
    va_end(args);
    c->rng = test_rng_new(c->text);
    c->shape.op = op;
    return c;
}

static void case_free(struct op_case *c)
{
    for (int i = 0; i < c->n_slots; i++) {
        free(c->slots[i].data);
        free(c->slots[i].wanted);
    }
    free(c->weight);
    free(c);
}

static struct slot *add_slot(struct op_case *c, size_t field, const char *name, size_t n, int samples,
                             size_t stride, enum slot_role role)
{
    ck_assert_int_lt(c->n_slots, CASE_SLOTS);
    struct slot *s = &c->slots[c->n_slots++];
    *s = (struct slot){ .name = name,
                        .field = field,
                        .alias = NO_FIELD,
                        .role = role,
                        .sample_n = n,
                        .sample_stride = samples ? stride : 0 };
    s->n = samples ? (size_t)(samples - 1) * stride + n : n;
    s->data = must_alloc(s->n * sizeof(float));
    if (role == SLOT_OUT)
        for (size_t i = 0; i < s->n; i++)
            memcpy((float *)s->data + i, &unwritten_bits, sizeof unwritten_bits);
    else
        test_fill_normal(&c->rng, s->data, s->n, 0, 1);
    return s;
}

struct slot *case_in(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, SLOT_IN);
}

struct slot *case_out(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, SLOT_OUT);
}

struct slot *case_inout(struct op_case *c, size_t field, const char *name, size_t n, int samples)
{
    return add_slot(c, field, name, n, samples, n, SLOT_INOUT);
}

struct slot *case_in_strided(struct op_case *c, size_t field, const char *name, size_t n, int samples,
                             int stride)
{
    return add_slot(c, field, name, n, samples, (size_t)stride, SLOT_IN);
}

struct slot *case_out_strided(struct op_case *c, size_t field, const char *name, size_t n, int samples,
                              int stride)
{
    return add_slot(c, field, name, n, samples, (size_t)stride, SLOT_OUT);
}

struct slot *case_index(struct op_case *c, size_t field, const char *name, int samples, int below)
{
    struct slot *s = add_slot(c, field, name, 1, samples, 1, SLOT_IN);
    s->type = FDIT_I32;
    for (size_t i = 0; i < s->n; i++) {
        int32_t row = test_int(&c->rng, below);
        memcpy((float *)s->data + i, &row, sizeof row);
    }
    return s;
}

void case_weight(struct op_case *c, size_t field, int n_out, int n_in, float deviation)
{
    size_t n = (size_t)n_out * (size_t)n_in;
    c->weight = must_alloc(n * sizeof *c->weight);
    test_fill_normal(&c->rng, c->weight, n, 0, deviation);
    c->weight_desc = (struct fdit_weight_desc){ .n_out = n_out,
                                                .n_in = n_in,
                                                .storage = FDIT_F32,
                                                .need_dx = c->op == FDIT_OP_LINEAR_DX,
                                                .conv = c->op == FDIT_OP_CONV };
    c->weight_field = field;
}

struct op_case *case_shared(enum fdit_op op, int variant)
{
    struct fdit_probe p;
    ck_assert_ok(op_devices.ctx,
                 fdit_case_make(op_devices.ctx, &p, op, variant, op_devices.ref, op_devices.main));
    struct op_case *c = case_new(op, "%s", p.text + strlen(fdit_op_name(op)));
    c->args = p.args;
    c->shape = p.shape;
    c->tolerance = p.allowed;
    c->per_sample = p.per_sample;
    c->has_limits = true;
    c->no_poison = !fdit_case_is_tiny(variant);
    size_t samples = p.per_sample ? (size_t)p.args.linear.samples : 1;
    for (int i = 0; i < p.n_slots; i++) {
        const struct fdit_probe_slot *from = &p.slots[i];
        bool each = p.per_sample && !from->shared;
        struct slot *s =
            add_slot(c, from->field, from->name, each ? from->n / samples : from->n, each ? (int)samples : 0,
                     each ? from->n / samples : 0, (enum slot_role)from->role);
        ck_assert_uint_eq(s->n, from->n);
        memcpy(s->data, from->data, s->n * sizeof(float));
        s->type = from->type;
        s->alias = from->has_alias ? from->alias : NO_FIELD;
        s->over_batch = from->shared && from->role != FDIT_PROBE_IN;
    }
    if (p.weight) {
        size_t n = (size_t)p.desc.n_out * (size_t)p.desc.n_in;
        c->weight = must_alloc(n * sizeof *c->weight);
        memcpy(c->weight, p.weight, n * sizeof *c->weight);
        c->weight_desc = p.desc;
        c->weight_field = p.weight_field;
    }
    fdit_probe_end(&p);
    return c;
}

/* ------------------------------------------------------------------------------- running one */

/* One run: all tensors in one buffer, each between guards, in slot order. */
struct run {
    fdit_buffer *buffer; /* the device's, of op_devices: used again by the next run */
    fdit_weight *weight;
    float *before, *after; /* host images of the buffer */
    size_t all;            /* elements */
    size_t at[CASE_SLOTS], n[CASE_SLOTS];
};

static const float *run_data(const struct run *r, int slot)
{
    return r->after + r->at[slot];
}

static void run_free(struct run *r)
{
    fdit_weight_free(r->weight);
    free(r->before);
    free(r->after);
    *r = (struct run){ 0 };
}

static void fail_case(const struct op_case *c, const char *variant, const char *what)
{
    char repeat[512], set[128];
    snprintf(set, sizeof set, "FDIT_TEST_DEVICE=%s", op_devices.spec);
    test_repeat_command(repeat, sizeof repeat, set, fdit_op_name(c->op));
    ck_abort_msg("%s, %s: %s: %s; repeat: %s", op_devices.spec, variant, c->text, what, repeat);
}

/* Odd distances between the tensors: only the alignment of an element is promised. */
static size_t guard_before(int slot)
{
    return slot % 2 ? CASE_GUARD : CASE_GUARD - 27;
}

/* Lays out the tensors and sets the arguments; `sample` >= 0: that sample's part only. */
static void lay_out(const struct op_case *c, int sample, struct run *r)
{
    r->all = CASE_GUARD;
    for (int i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        r->n[i] = sample >= 0 && s->sample_stride ? s->sample_n : s->n;
        r->at[i] = r->all + guard_before(i);
        r->all = r->at[i] + r->n[i];
    }
    r->all += CASE_GUARD;
    r->before = must_alloc(r->all * sizeof *r->before);
    r->after = must_alloc(r->all * sizeof *r->after);
    for (size_t k = 0; k < r->all; k++)
        memcpy(r->before + k, &guard_bits, sizeof guard_bits);
    for (int i = 0; i < c->n_slots; i++) {
        size_t from = sample >= 0 ? (size_t)sample * c->slots[i].sample_stride : 0;
        memcpy(r->before + r->at[i], (const float *)c->slots[i].data + from, r->n[i] * sizeof(float));
    }
}

/* The buffer of this device, grown to n floats. */
static fdit_buffer *buffer_for(fdit_device *dev, size_t n)
{
    int i = 0;
    while (op_devices.buffer_of[i] && op_devices.buffer_of[i] != dev)
        i++;
    op_devices.buffer_of[i] = dev;
    fdit_buffer **buffer = &op_devices.buffers[i];
    if (!*buffer || (*buffer)->bytes < n * sizeof(float)) {
        fdit_buffer_free(*buffer);
        *buffer = NULL;
        ck_assert_ok(op_devices.ctx,
                     fdit_buffer_new(op_devices.ctx, dev, 2 * n * sizeof(float), "tensors", buffer));
    }
    return *buffer;
}

static void prepare(const struct op_case *c, fdit_device *dev, int sample, union fdit_op_args *args,
                    struct run *r)
{
    fdit_context *ctx = op_devices.ctx;
    *args = c->args;
    if (sample >= 0)
        args->linear.samples = 1; /* every per-sample structure starts with it */
    lay_out(c, sample, r);
    r->buffer = buffer_for(dev, r->all);
    fdit_write(dev, fdit_tensor_of(r->buffer, FDIT_F32), r->before, r->all);
    for (int i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        struct fdit_tensor t = fdit_at(fdit_tensor_of(r->buffer, s->type), r->at[i]);
        memcpy((char *)args + s->field, &t, sizeof t);
        if (s->alias != NO_FIELD)
            memcpy((char *)args + s->alias, &t, sizeof t);
    }
    if (c->weight) {
        struct fdit_weight_desc desc = c->weight_desc;
        if (dev == op_devices.ref)
            desc.storage = FDIT_F32; /* other storages are measured against the exact product */
        ck_assert_ok(ctx, fdit_weight_new(ctx, dev, &desc, c->weight, &r->weight));
        const fdit_weight *weight = r->weight;
        memcpy((char *)args + c->weight_field, &weight, sizeof weight);
    }
    size_t bytes = fdit_device_workspace(dev, &c->shape, 1);
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, bytes));
}

/* Everything but the outputs must be as it was. */
static void check_guards(const struct op_case *c, const char *variant, const struct run *r)
{
    char what[256];
    size_t from = 0;
    for (int i = 0; i <= c->n_slots; i++) {
        if (i < c->n_slots && c->slots[i].role == SLOT_IN)
            continue;
        size_t end = i < c->n_slots ? r->at[i] : r->all;
        size_t bad =
            from + test_first_difference(r->after + from, r->before + from, end - from, sizeof *r->after);
        if (bad != end) {
            int near = 0; /* the last tensor that begins before it, or the first */
            while (near + 1 < c->n_slots && r->at[near + 1] <= bad)
                near++;
            snprintf(what, sizeof what,
                     "memory that is not an output was written: element %ld of %s, "
                     "which has %zu",
                     (long)bad - (long)r->at[near], c->slots[near].name, r->n[near]);
            fail_case(c, variant, what);
        }
        from = i < c->n_slots ? end + r->n[i] : end;
    }
}

/* Prepares, calls, reads everything back and checks guards, inputs and allocations. */
static void run_case(const struct op_case *c, fdit_device *dev, int sample, const char *variant,
                     struct run *r)
{
    char what[512];
    union fdit_op_args args;
    prepare(c, dev, sample, &args, r);
    uint64_t objects = dev->objects_made, allocations = fdit_mem_stats().calls;
    fdit_op_call(dev, c->op, &args);
    objects = dev->objects_made - objects;
    allocations = fdit_mem_stats().calls - allocations;
    enum fdit_status status =
        fdit_read(op_devices.ctx, dev, fdit_tensor_of(r->buffer, FDIT_F32), r->after, r->all);
    if (status != FDIT_OK) {
        snprintf(what, sizeof what, "%s", fdit_context_message(op_devices.ctx));
        fdit_device_clear_error(dev);
        fail_case(c, variant, what);
    }
    if (objects || allocations) {
        snprintf(what, sizeof what, "the op made %llu device objects and %llu allocations",
                 (unsigned long long)objects, (unsigned long long)allocations);
        fail_case(c, variant, what);
    }
    check_guards(c, variant, r);
}

/* ---------------------------------------------------------------------------------- comparing */

static bool is_unwritten(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits == unwritten_bits;
}

/* Strided outputs have gaps that nobody may write; everything else must be written. */
static void check_written(const struct op_case *c, const char *variant, const struct slot *s,
                          const float *got)
{
    char what[256];
    if (s->role != SLOT_OUT)
        return;
    for (size_t i = 0; i < s->n; i++) {
        bool gap = s->sample_stride && i % s->sample_stride >= s->sample_n;
        if (is_unwritten(got[i]) == gap)
            continue;
        snprintf(what, sizeof what, "%s: element %zu of %zu was %s", s->name, i, s->n,
                 gap ? "written, but lies between two rows" : "not written");
        fail_case(c, variant, what);
    }
}

static void check_values(const struct op_case *c, const char *variant, struct run *r, bool limits)
{
    char what[256];
    for (int i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        if (s->role == SLOT_IN)
            continue;
        check_written(c, variant, s, run_data(r, i));
        for (size_t k = 0; limits && k < s->n; k++)
            if (isnan(((float *)s->wanted)[k]))
                r->after[r->at[i] + k] = NAN;
        struct test_error e = test_compare(run_data(r, i), s->wanted, s->n);
        e.nmse *= e.norm / (e.norm + c->floor);
        if (e.nmse <= c->tolerance)
            continue;
        snprintf(what, sizeof what,
                 "%s: NMSE %.3g, allowed %.3g; worst at %zu of %zu: got %.9g, "
                 "wanted %.9g",
                 s->name, e.nmse, c->tolerance, e.worst, s->n, (double)e.got, (double)e.wanted);
        fail_case(c, variant, what);
    }
}

/* b's tensors hold sample `sample` alone when it is not negative. */
static void check_same_bits(const struct op_case *c, const char *variant, const struct run *all,
                            const struct run *b, int sample)
{
    char what[256];
    for (int i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        if (s->role == SLOT_IN || (sample >= 0 && s->over_batch))
            continue;
        bool part = sample >= 0 && s->sample_stride;
        size_t from = part ? (size_t)sample * s->sample_stride : 0, n = part ? s->sample_n : s->n;
        const float *wanted = run_data(all, i) + from, *got = run_data(b, i);
        size_t at = test_first_difference(got, wanted, n, sizeof *got);
        if (at == n)
            continue;
        snprintf(what, sizeof what, "%s: element %zu of %zu differs: got %.9g, before %.9g", s->name, at, n,
                 (double)got[at], (double)wanted[at]);
        fail_case(c, variant, what);
    }
}

static void reference(struct op_case *c, const char *variant)
{
    struct run r = { 0 };
    run_case(c, op_devices.ref, -1, variant, &r);
    for (int i = 0; i < c->n_slots; i++) {
        struct slot *s = &c->slots[i];
        if (s->role == SLOT_IN)
            continue;
        check_written(c, variant, s, run_data(&r, i));
        free(s->wanted);
        s->wanted = must_alloc(s->n * sizeof(float));
        memcpy(s->wanted, run_data(&r, i), s->n * sizeof(float));
    }
    run_free(&r);
}

/* A value that is not finite, put into each input in turn, must come out wherever the reference
 * lets it out, and nowhere else. */
static void check_poison(struct op_case *c, fdit_device *dev, const char *variant)
{
    const struct {
        float value;
        const char *name;
    } poison[] = { { NAN, "a NaN" }, { INFINITY, "an infinity" } };
    for (int i = 0; i < c->n_slots; i++) {
        struct slot *s = &c->slots[i];
        if (s->role == SLOT_OUT || s->type != FDIT_F32 || s->no_poison)
            continue;
        for (int k = 0; k < 2; k++) {
            float *at = (float *)s->data + (size_t)test_int(&c->rng, (int)s->n), old = *at;
            char label[128];
            snprintf(label, sizeof label, "%s, %s in %s at %zu", variant, poison[k].name, s->name,
                     (size_t)(at - (float *)s->data));
            *at = poison[k].value;
            reference(c, "reference");
            struct run r = { 0 };
            run_case(c, dev, -1, label, &r);
            check_values(c, label, &r, k == 1 && c->has_limits);
            run_free(&r);
            *at = old;
        }
    }
}

/* FDIT_TEST_MAX_ELEMENTS leaves out the larger calls: simulators of devices are slow. */
static bool too_large(const struct op_case *c)
{
    const char *limit = getenv("FDIT_TEST_MAX_ELEMENTS");
    size_t n = c->weight ? (size_t)c->weight_desc.n_out * (size_t)c->weight_desc.n_in : 0;
    for (int i = 0; i < c->n_slots; i++)
        n += c->slots[i].n;
    return limit && *limit && n > strtoull(limit, NULL, 10);
}

void case_check(struct op_case *c)
{
    struct run all = { 0 }, other = { 0 };
    struct op_devices *d = &op_devices;
    if (too_large(c)) {
        case_free(c);
        return;
    }
    reference(c, "reference");

    run_case(c, d->main, -1, "all threads", &all);
    check_values(c, "all threads", &all, false);

    run_case(c, d->main, -1, "run again", &other);
    check_same_bits(c, "run again", &all, &other, -1);
    run_free(&other);

    if (d->one_thread) {
        run_case(c, d->one_thread, -1, "one thread", &other);
        check_same_bits(c, "one thread", &all, &other, -1);
        run_free(&other);
    }

    run_case(c, d->composed, -1, "without optional entries", &other);
    check_values(c, "without optional entries", &other, false);
    run_free(&other);

    for (int b = 0; c->per_sample && c->args.linear.samples > 1 && b < c->args.linear.samples; b++) {
        char label[64];
        snprintf(label, sizeof label, "sample %d alone", b);
        run_case(c, d->main, b, label, &other);
        check_same_bits(c, label, &all, &other, b);
        run_free(&other);
    }
    run_free(&all);
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
    for (int i = 0; i < c->n_slots; i++)
        if (strcmp(c->slots[i].name, name) == 0) {
            memcpy(to, c->slots[i].wanted, c->slots[i].n * sizeof *to);
            found = true;
        }
    ck_assert_msg(found, "%s has no output %s", c->text, name);
    case_free(c);
}
