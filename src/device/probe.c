/* SPDX-License-Identifier: Apache-2.0 */
#include "device/probe.h"

#include "core/clock.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Both are NaNs. */
static const uint32_t guard_bits = 0x7fe5a5a5u, unwritten_bits = 0x7fd3c3c3u;

/* ----------------------------------------------------------------------------- making one */

void fdit_probe_begin(struct fdit_probe *p, fdit_context *ctx, enum fdit_op op, const char *format, ...)
{
    *p = (struct fdit_probe){ .ctx = ctx, .op = op, .allowed = 1e-11, .shape.op = op };
    int at = snprintf(p->text, sizeof p->text, "%s ", fdit_op_name(op));
    va_list args;
    va_start(args, format);
    vsnprintf(p->text + at, sizeof p->text - (size_t)at, format, args);
    va_end(args);
    p->seed = fdit_fnv(FDIT_FNV_START, p->text, strlen(p->text));
    p->total = FDIT_PROBE_GUARD;
}

void fdit_probe_end(struct fdit_probe *p)
{
    for (int i = 0; i < p->n_slots; i++)
        fdit_free(p->slots[i].data);
    fdit_free(p->weight);
    *p = (struct fdit_probe){ 0 };
}

static void fill_bits(float *to, size_t n, uint32_t bits)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + i, &bits, sizeof bits);
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
    *s = (struct fdit_probe_slot){ .name = name, .field = field, .role = role, .n = n };
    if (p->status == FDIT_OK)
        p->status = fdit_alloc(p->ctx, n, sizeof(float), &s->data);
    if (p->status != FDIT_OK)
        return s;
    p->n_slots++;
    s->at = p->total;
    p->total += n + FDIT_PROBE_GUARD - (size_t)(p->n_slots % 2); /* even and odd offsets */
    if (role == FDIT_PROBE_OUT)
        fill_bits(s->data, n, unwritten_bits);
    else
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

/* ----------------------------------------------------------------------------- running it */

static void set_tensor(union fdit_op_args *a, size_t field, struct fdit_tensor t)
{
    memcpy((char *)a + field, &t, sizeof t);
}

/* The image after the call, into *after (fdit_free). A failure of the device is the returned status. */
static enum fdit_status run(struct fdit_probe *p, fdit_device *dev, enum fdit_dtype storage, float spoil,
                            float **after, double *seconds)
{
    enum fdit_status status = FDIT_OK;
    union fdit_op_args args = p->args;
    fdit_buffer *buffer = NULL;
    fdit_weight *weight = NULL;
    struct fdit_weight_desc desc = p->desc;
    float *image = NULL;
    TRY(fdit_alloc(p->ctx, p->total, sizeof *image, &image));
    fill_bits(image, p->total, guard_bits);
    TRY(fdit_buffer_new(p->ctx, dev, p->total * sizeof *image, p->text, &buffer));
    for (int i = 0; i < p->n_slots; i++) {
        const struct fdit_probe_slot *s = &p->slots[i];
        memcpy(image + s->at, s->data, s->n * sizeof *image);
        struct fdit_tensor t = { buffer, s->at, s->type };
        set_tensor(&args, s->field, t);
        if (s->has_alias)
            set_tensor(&args, s->alias, t);
    }
    image[p->slots[0].at] += spoil;
    fdit_write(dev, fdit_tensor_of(buffer, FDIT_F32), image, p->total);
    if (p->weight) {
        const fdit_weight *one;
        desc.storage = storage;
        TRY(fdit_weight_new(p->ctx, dev, &desc, p->weight, &weight));
        one = weight;
        memcpy((char *)&args + p->weight_field, &one, sizeof one);
    }
    TRY(fdit_device_reserve(p->ctx, dev, fdit_device_workspace(dev, &p->shape, 1)));
    double began = fdit_clock_seconds();
    fdit_op_call(dev, p->op, &args);
    TRY(fdit_device_sync(p->ctx, dev));
    *seconds = fdit_clock_seconds() - began;
    TRY(fdit_read(p->ctx, dev, fdit_tensor_of(buffer, FDIT_F32), image, p->total));
    *after = image;
    image = NULL;
out:
    fdit_weight_free(weight);
    fdit_buffer_free(buffer);
    fdit_free(image);
    return status;
}

/* ----------------------------------------------------------------------------- comparing */

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

static void check_output(const struct fdit_probe *p, const struct fdit_probe_slot *s, const float *got,
                         const float *wanted, struct fdit_probe_result *r)
{
    double difference = 0, size = 0, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        double d = (double)got[i] - (double)wanted[i];
        difference += d * d;
        size += (double)wanted[i] * (double)wanted[i];
        if (!(fabs(d) <= worst)) {
            worst = fabs(d);
            at = i;
        }
        if (isnan(d))
            break;
    }
    double error = difference / (1 + size);
    if (!(error <= r->error))
        r->error = error;
    if (!(error <= p->allowed))
        complain(r, "%s: error %.2g, %.2g allowed; element %zu of %zu is %.9g, not %.9g", s->name, error,
                 p->allowed, at, s->n, (double)got[at], (double)wanted[at]);
}

/* Guards and inputs are as they were. */
static void check_untouched(const struct fdit_probe *p, const float *after, struct fdit_probe_result *r)
{
    size_t end = 0;
    for (int i = 0; i <= p->n_slots; i++) {
        size_t next = i < p->n_slots ? p->slots[i].at : p->total;
        for (; end < next; end++)
            if (memcmp(after + end, &guard_bits, sizeof guard_bits)) {
                complain(r, "memory %s %s was written", i < p->n_slots ? "before" : "behind the last of",
                         i < p->n_slots ? p->slots[i].name : "its tensors");
                break;
            }
        if (i == p->n_slots)
            break;
        if (p->slots[i].role == FDIT_PROBE_IN &&
            memcmp(after + next, p->slots[i].data, p->slots[i].n * sizeof *after))
            complain(r, "the input %s was changed", p->slots[i].name);
        end = next + p->slots[i].n;
    }
}

enum fdit_status fdit_probe_check(struct fdit_probe *p, fdit_device *reference, fdit_device *dev,
                                  struct fdit_probe_result *out, float **wanted)
{
    enum fdit_status status = p->status;
    float *want = NULL, *got = NULL;
    double unused;
    *out = (struct fdit_probe_result){ .passed = true };
    TRY(status);
    TRY(run(p, reference, FDIT_F32, 0, &want, &unused));
    enum fdit_status ran = run(p, dev, p->desc.storage, p->spoil, &got, &out->seconds);
    if (ran == FDIT_ERROR_MEMORY)
        TRY(ran);
    if (ran != FDIT_OK) {
        complain(out, "%s", fdit_context_message(p->ctx));
        fdit_device_clear_error(dev);
        goto out;
    }
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i].role != FDIT_PROBE_IN)
            check_output(p, &p->slots[i], got + p->slots[i].at, want + p->slots[i].at, out);
    check_untouched(p, got, out);
out:
    fdit_free(got);
    if (wanted && status == FDIT_OK)
        *wanted = want;
    else
        fdit_free(want);
    return status;
}
