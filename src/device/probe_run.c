/* SPDX-License-Identifier: Apache-2.0 */
#include "device/probe_run.h"

#include "core/clock.h"
#include "core/mem.h"
#include "device/backend.h"

#include <stdio.h>
#include <string.h>

/* Both are NaNs: who reads them spoils a result, who does not write shows them. */
static const uint32_t guard_bits = 0x7fe5a5a5u, unwritten_bits = 0x7fd3c3c3u;

static void fill_bits(float *to, size_t n, uint32_t bits)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + i, &bits, sizeof bits);
}

static bool has_bits(const float *x, uint32_t bits)
{
    return memcmp(x, &bits, sizeof bits) == 0;
}

/* ------------------------------------------------------------------------------------ layout */

struct fdit_probe_part fdit_probe_part_of(const struct fdit_probe *p, const struct fdit_probe_slot *s,
                                          int sample)
{
    if (sample < 0 || s->shared)
        return (struct fdit_probe_part){ 0, s->n };
    size_t each = s->n / (size_t)p->args.linear.samples; /* every structure of samples begins with it */
    size_t stride = s->stride ? s->stride : each;
    return (struct fdit_probe_part){ (size_t)sample * stride, s->stride ? s->row : each };
}

/* Odd distances between the tensors: only the alignment of an element is promised. */
static size_t guard_before(int slot)
{
    return slot % 2 ? FDIT_PROBE_GUARD : FDIT_PROBE_GUARD - 27;
}

static enum fdit_status lay_out(struct fdit_probe *p, const struct fdit_probe_placing *how,
                                struct fdit_probe_run *run)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < p->n_slots; i++) {
        run->n[i] = fdit_probe_part_of(p, &p->slots[i], how->sample).n;
        run->at[i] = run->total + guard_before(i);
        run->total = run->at[i] + run->n[i];
    }
    run->total += FDIT_PROBE_GUARD;
    TRY(fdit_alloc(p->ctx, run->total, sizeof(float), &run->before));
    TRY(fdit_alloc(p->ctx, run->total, sizeof(float), &run->after));
    fill_bits(run->before, run->total, guard_bits);
    for (int i = 0; i < p->n_slots; i++) {
        const struct fdit_probe_slot *s = &p->slots[i];
        float *to = run->before + run->at[i];
        if (s->role == FDIT_PROBE_OUT)
            fill_bits(to, run->n[i], unwritten_bits);
        else
            memcpy(to, s->data + fdit_probe_part_of(p, s, how->sample).from, run->n[i] * sizeof *to);
    }
    run->before[run->at[0]] += how->spoil;
    memcpy(run->after, run->before, run->total * sizeof *run->after);
out:
    return status;
}

/* The buffer of a piece of the image, from its place `from` on. */
static enum fdit_status add_piece(struct fdit_probe *p, struct fdit_probe_run *run, size_t from, size_t n,
                                  fdit_buffer **keep)
{
    enum fdit_status status = FDIT_OK;
    fdit_buffer *buffer = keep ? *keep : NULL;
    if (buffer && buffer->bytes < n * sizeof(float)) {
        fdit_buffer_free(buffer);
        *keep = buffer = NULL;
    }
    if (!buffer)
        TRY(fdit_buffer_new(p->ctx, run->dev, (keep ? 2 : 1) * n * sizeof(float), p->text, &buffer));
    if (keep)
        *keep = buffer;
    run->kept = keep;
    run->pieces[run->n_pieces].buffer = buffer;
    run->pieces[run->n_pieces].from = from;
    run->pieces[run->n_pieces++].n = n;
    fdit_write(run->dev, fdit_tensor_of(buffer, FDIT_F32), run->before + from, n);
out:
    return status;
}

static enum fdit_status upload(struct fdit_probe *p, const struct fdit_probe_placing *how,
                               struct fdit_probe_run *run)
{
    enum fdit_status status = FDIT_OK;
    size_t end = 0;
    if (!how->apart)
        TRY(add_piece(p, run, 0, run->total, how->keep));
    for (int i = 0; i < p->n_slots; i++) {
        const struct fdit_probe_slot *s = &p->slots[i];
        if (how->apart)
            TRY(add_piece(p, run, end, run->at[i] + run->n[i] - end, NULL));
        int piece = how->apart ? i : 0;
        struct fdit_tensor t = { run->pieces[piece].buffer, run->at[i] - run->pieces[piece].from, s->type };
        end = run->at[i] + run->n[i];
        run->tensors[i] = t;
        memcpy((char *)&run->args + s->field, &t, sizeof t);
        if (s->alias != FDIT_PROBE_NO_FIELD)
            memcpy((char *)&run->args + s->alias, &t, sizeof t);
    }
out:
    return status;
}

enum fdit_status fdit_probe_place(struct fdit_probe *p, fdit_device *dev,
                                  const struct fdit_probe_placing *how, struct fdit_probe_run *run)
{
    enum fdit_status status = p->status;
    *run = (struct fdit_probe_run){ .dev = dev, .args = p->args };
    TRY(status);
    if (how->sample >= 0)
        run->args.linear.samples = 1;
    TRY(lay_out(p, how, run));
    TRY(upload(p, how, run));
    if (p->weight) {
        struct fdit_weight_desc desc = p->desc;
        desc.storage = how->storage;
        TRY(fdit_weight_new(p->ctx, dev, &desc, p->weight, &run->weight));
        const fdit_weight *weight = run->weight;
        memcpy((char *)&run->args + p->weight_field, &weight, sizeof weight);
    }
    TRY(fdit_device_reserve(p->ctx, dev, fdit_device_workspace(dev, &p->shape, 1)));
out:
    if (status != FDIT_OK)
        fdit_probe_run_end(run);
    return status;
}

void fdit_probe_run_end(struct fdit_probe_run *run)
{
    fdit_weight_free(run->weight);
    for (int i = 0; i < run->n_pieces && !run->kept; i++)
        fdit_buffer_free(run->pieces[i].buffer);
    fdit_free(run->before);
    fdit_free(run->after);
    *run = (struct fdit_probe_run){ 0 };
}

/* ----------------------------------------------------------------------------------- running */

enum fdit_status fdit_probe_read(struct fdit_probe *p, struct fdit_probe_run *run, float *image)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < run->n_pieces; i++)
        TRY(fdit_read(p->ctx, run->dev, fdit_tensor_of(run->pieces[i].buffer, FDIT_F32),
                      image + run->pieces[i].from, run->pieces[i].n));
out:
    return status;
}

enum fdit_status fdit_probe_call(struct fdit_probe *p, struct fdit_probe_run *run)
{
    enum fdit_status status = FDIT_OK;
    uint64_t objects = run->dev->objects_made, allocations = fdit_mem_stats().calls;
    double began = fdit_clock_seconds();
    fdit_op_call(run->dev, p->op, &run->args);
    run->objects = run->dev->objects_made - objects;
    run->allocations = fdit_mem_stats().calls - allocations;
    TRY(fdit_device_sync(p->ctx, run->dev));
    run->seconds = fdit_clock_seconds() - began;
    TRY(fdit_probe_read(p, run, run->after));
out:
    return status;
}

/* ---------------------------------------------------------------------------------- judging */

/* The first element of [from, end) that is not as it was; end: none. */
static size_t first_changed(const struct fdit_probe_run *run, size_t from, size_t end)
{
    if (memcmp(run->after + from, run->before + from, (end - from) * sizeof *run->after) == 0)
        return end;
    while (memcmp(run->after + from, run->before + from, sizeof *run->after) == 0)
        from++;
    return from;
}

/* Which memory element `bad` of the image is. */
static void describe(const struct fdit_probe *p, const struct fdit_probe_run *run, size_t bad, char *what,
                     size_t bytes)
{
    int next = 0; /* the first tensor that ends behind it */
    while (next < p->n_slots && run->at[next] + run->n[next] <= bad)
        next++;
    if (next == p->n_slots)
        snprintf(what, bytes, "memory behind %s, the last tensor, was written (element %zu of %zu)",
                 p->slots[next - 1].name, bad - run->at[next - 1], run->n[next - 1]);
    else if (bad < run->at[next])
        snprintf(what, bytes, "memory before %s was written (%zu elements before it)", p->slots[next].name,
                 run->at[next] - bad);
    else
        snprintf(what, bytes, "the input %s was changed (element %zu of %zu)", p->slots[next].name,
                 bad - run->at[next], run->n[next]);
}

static bool is_untouched(const struct fdit_probe *p, const struct fdit_probe_run *run, char *what,
                         size_t bytes)
{
    size_t from = 0;
    for (int i = 0; i <= p->n_slots; i++) {
        if (i < p->n_slots && p->slots[i].role == FDIT_PROBE_IN)
            continue;
        size_t end = i < p->n_slots ? run->at[i] : run->total, bad = first_changed(run, from, end);
        if (bad != end) {
            describe(p, run, bad, what, bytes);
            return false;
        }
        from = i < p->n_slots ? end + run->n[i] : end;
    }
    return true;
}

bool fdit_probe_is_clean(const struct fdit_probe *p, const struct fdit_probe_run *run, char *what,
                         size_t bytes)
{
    if (!is_untouched(p, run, what, bytes))
        return false;
    for (int i = 0; i < p->n_slots; i++) {
        const struct fdit_probe_slot *s = &p->slots[i];
        for (size_t k = 0; s->role == FDIT_PROBE_OUT && k < run->n[i]; k++) {
            bool gap = s->stride && k % s->stride >= s->row;
            if (has_bits(run->after + run->at[i] + k, unwritten_bits) == gap)
                continue;
            snprintf(what, bytes, "%s: element %zu of %zu was %s", s->name, k, run->n[i],
                     gap ? "written, but lies between two rows" : "not written");
            return false;
        }
    }
    return true;
}
