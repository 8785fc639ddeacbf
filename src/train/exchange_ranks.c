/* SPDX-License-Identifier: Apache-2.0 */
#include "train/exchange_ranks.h"

#include "core/clock.h"
#include "core/finite.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "commit.h"

#include <stdio.h>
#include <string.h>

enum {
    PART = 1 << 18, /* numbers of a process's part that travel at once: 1 MiB of each to each */
    MESSAGE = 1000, /* bytes of a failure that the others are told */
};

struct ranked {
    struct fdit_exchange x;
    struct fdit_ranks *ranks;
    const volatile sig_atomic_t *asked;
    float *sum;      /* this process's parts of the gradient, those of all blocks one after another */
    float *send;     /* [size][largest part]: a block that reaches beyond its piece */
    float *received; /* [count][size][largest part] */
    double *values;  /* [size][n_values] */
    size_t n_values;
    unsigned char *stops; /* [size] */
    size_t *sizes;        /* [size] of a call whose processes send different amounts */
};

/* ------------------------------------------------------------------ transport, with its account */

static enum fdit_status all_to_all(fdit_context *ctx, struct ranked *e, const void *send, void *receive,
                                   size_t n)
{
    double begun = fdit_clock_seconds();
    enum fdit_status status = e->ranks->all_to_all(ctx, e->ranks, send, receive, n);
    e->x.traffic.seconds += fdit_clock_seconds() - begun;
    e->x.traffic.bytes += (uint64_t)n * (uint64_t)(e->ranks->size - 1);
    return status;
}

static enum fdit_status collect(fdit_context *ctx, struct ranked *e, const void *send, void *receive,
                                size_t n)
{
    double begun = fdit_clock_seconds();
    enum fdit_status status = e->ranks->collect(ctx, e->ranks, send, receive, n);
    e->x.traffic.seconds += fdit_clock_seconds() - begun;
    e->x.traffic.bytes += e->ranks->rank ? n : 0;
    return status;
}

/* e->sizes are of bytes. */
static enum fdit_status all_gather(fdit_context *ctx, struct ranked *e, const void *send, void *receive)
{
    double begun = fdit_clock_seconds();
    enum fdit_status status = e->ranks->all_gather(ctx, e->ranks, send, receive, e->sizes);
    e->x.traffic.seconds += fdit_clock_seconds() - begun;
    e->x.traffic.bytes += (uint64_t)e->sizes[e->ranks->rank] * (uint64_t)(e->ranks->size - 1);
    return status;
}

static enum fdit_status broadcast(fdit_context *ctx, struct ranked *e, void *bytes, size_t n)
{
    double begun = fdit_clock_seconds();
    enum fdit_status status = e->ranks->broadcast(ctx, e->ranks, bytes, n);
    e->x.traffic.seconds += fdit_clock_seconds() - begun;
    e->x.traffic.bytes += e->ranks->rank ? 0 : (uint64_t)n * (uint64_t)(e->ranks->size - 1);
    return status;
}

/* ------------------------------------------------------------------ the gradient */

/* A piece goes in blocks; of the block at `base` each process has `part` numbers of the n that are left, rank
 * q those from base + q part on. The last part may reach beyond the piece. */
static size_t part_of(const struct ranked *e, size_t n)
{
    size_t size = (size_t)e->ranks->size, part = (n + size - 1) / size;
    return part < PART ? part : PART;
}

/* Numbers that one process's parts of the pieces before `piece` have together. */
static size_t parts_before(const struct ranked *e, int piece)
{
    size_t sum = 0, size = (size_t)e->ranks->size;
    for (int k = 0; k < piece; k++)
        for (size_t base = fdit_exchange_begin(&e->x, k); base < e->x.ends[k];) {
            const size_t part = part_of(e, e->x.ends[k] - base);
            sum += part;
            base += part * size;
        }
    return sum;
}

/* The largest part of a block. */
static size_t largest_part(const struct ranked *e)
{
    size_t most = 0;
    for (int k = 0; k < e->x.pieces; k++) {
        const size_t part = part_of(e, e->x.ends[k] - fdit_exchange_begin(&e->x, k));
        most = part > most ? part : most;
    }
    return most;
}

static size_t bytes(const struct fdit_exchange *x)
{
    const struct ranked *e = (const struct ranked *)x;
    const size_t block = (size_t)e->ranks->size * largest_part(e);
    return (parts_before(e, x->pieces) + ((size_t)x->count + 1) * block) * sizeof(float);
}

static enum fdit_status room(fdit_context *ctx, struct ranked *e)
{
    enum fdit_status status = FDIT_OK;
    const size_t block = (size_t)e->ranks->size * largest_part(e);
    if (e->sum)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, parts_before(e, e->x.pieces), sizeof(float), &e->sum));
    TRY(fdit_alloc(ctx, block, sizeof(float), &e->send));
    TRY(fdit_alloc(ctx, (size_t)e->x.count * block, sizeof(float), &e->received));
out:
    return status;
}

/* sum [part] += what all members have there, in their order: those of rank 0, of rank 1, ... */
static void add_part(const struct ranked *e, float *sum, size_t part, bool begins)
{
    size_t size = (size_t)e->ranks->size, count = (size_t)e->x.count;
    for (size_t q = 0; q < size; q++)
        for (size_t k = 0; k < count; k++) {
            const float *shard = e->received + (k * size + q) * part;
            if (!fdit_all_finite(shard, part))
                e->x.spoilt[q * count + k] = true;
            if (begins && !q && !k)
                memcpy(sum, shard, part * sizeof *sum);
            else
                for (size_t i = 0; i < part; i++)
                    sum[i] += shard[i];
        }
}

static enum fdit_status add(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, int piece,
                            bool begins)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = (struct ranked *)x;
    const size_t size = (size_t)e->ranks->size, end = x->ends[piece];
    size_t own = parts_before(e, piece), part;
    TRY(room(ctx, e));
    if (begins && piece == 0)
        memset(x->spoilt, 0, (size_t)x->members * sizeof *x->spoilt);
    for (size_t base = fdit_exchange_begin(x, piece); base < end; base += part * size) {
        part = part_of(e, end - base);
        const size_t block = part * size, there = fdit_least(end - base, block);
        for (int k = 0; k < x->count; k++) {
            const float *from = vectors[k] + base;
            if (there < block) {
                memcpy(e->send, from, there * sizeof *from);
                memset(e->send + there, 0, (block - there) * sizeof *from);
                from = e->send;
            }
            TRY(all_to_all(ctx, e, from, e->received + (size_t)k * block, part * sizeof *from));
        }
        add_part(e, e->sum + own, part, begins);
        own += part;
    }
out:
    return status;
}

static enum fdit_status sum(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, int piece)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = (struct ranked *)x;
    const size_t size = (size_t)e->ranks->size, end = x->ends[piece];
    size_t own = parts_before(e, piece), part;
    for (size_t base = fdit_exchange_begin(x, piece); base < end; base += part * size) {
        part = part_of(e, end - base);
        TRY(collect(ctx, e, e->sum + own, e->received, part * sizeof(float)));
        if (!e->ranks->rank)
            memcpy(vectors[0] + base, e->received, fdit_least(end - base, part * size) * sizeof(float));
        own += part;
    }
out:
    return status;
}

static enum fdit_status share(fdit_context *ctx, struct fdit_exchange *x, float *vector, size_t n)
{
    return broadcast(ctx, (struct ranked *)x, vector, n * sizeof *vector);
}

static enum fdit_status meet(fdit_context *ctx, struct fdit_exchange *x, const int32_t *own, size_t n,
                             int32_t *all)
{
    struct ranked *e = (struct ranked *)x;
    for (int q = 0; q < e->ranks->size; q++)
        e->sizes[q] = (size_t)x->count * n * sizeof *own;
    return all_gather(ctx, e, own, all);
}

static enum fdit_status bring(fdit_context *ctx, struct fdit_exchange *x, const float *own, size_t n,
                              float *all)
{
    return collect(ctx, (struct ranked *)x, own, all, (size_t)x->count * n * sizeof *own);
}

static enum fdit_status spread(fdit_context *ctx, struct fdit_exchange *x, const float *own,
                               const size_t *sizes, float *all)
{
    struct ranked *e = (struct ranked *)x;
    for (int q = 0; q < e->ranks->size; q++)
        e->sizes[q] = sizes[q] * sizeof *own;
    return all_gather(ctx, e, own, all);
}

static enum fdit_status collect_parts(fdit_context *ctx, struct fdit_exchange *x, const float *own, size_t n,
                                      float *all)
{
    return collect(ctx, (struct ranked *)x, own, all, n * sizeof *own);
}

/* ------------------------------------------------------------------ small things */

static enum fdit_status tell(fdit_context *ctx, struct fdit_exchange *x, void *bytes_, size_t n)
{
    return broadcast(ctx, (struct ranked *)x, bytes_, n);
}

static enum fdit_status total(fdit_context *ctx, struct fdit_exchange *x, double *values, size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = (struct ranked *)x;
    size_t all = (size_t)x->count * n, size = (size_t)e->ranks->size;
    if (e->n_values < all) {
        fdit_free(e->values);
        e->values = NULL;
        TRY(fdit_alloc(ctx, size * all, sizeof *e->values, &e->values));
        e->n_values = all;
    }
    TRY(collect(ctx, e, values, e->values, all * sizeof *values));
    for (size_t d = 0; !e->ranks->rank && d < size * (size_t)x->count; d++)
        for (size_t k = 0; k < n; k++)
            values[k] = d ? values[k] + e->values[d * n + k] : e->values[k];
    TRY(broadcast(ctx, e, values, n * sizeof *values));
out:
    return status;
}

static enum fdit_status agree(fdit_context *ctx, struct fdit_exchange *x, int32_t *word, bool *stop)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = (struct ranked *)x;
    const unsigned char own = e->asked ? *e->asked != 0 : fdit_stopped(ctx);
    int32_t decided[2] = { 0, *word };
    TRY(collect(ctx, e, &own, e->stops, 1));
    for (int q = 0; !e->ranks->rank && q < e->ranks->size; q++)
        decided[0] |= e->stops[q];
    TRY(broadcast(ctx, e, decided, sizeof decided));
    *stop = decided[0] != 0;
    *word = decided[1];
out:
    return status;
}

/* ------------------------------------------------------------------ the beginning */

/* What processes must have in common. */
struct facts {
    uint64_t build, options, data;
    int32_t devices;
    char host[64];
};

static uint64_t hash_of(const char *text)
{
    return fdit_fnv(FDIT_FNV_START, text, text ? strlen(text) : 0);
}

/* The first process that differs from rank 0 fails. */
static enum fdit_status compare(fdit_context *ctx, const struct facts *facts, int size)
{
    const struct facts *first = facts;
    for (int q = 1; q < size; q++) {
        const struct facts *f = &facts[q];
        const char *differs = f->build != first->build       ? "is another build of the program than"
                              : f->devices != first->devices ? "has another number of devices than"
                              : f->options != first->options ? "has other options, files or classes than"
                              : f->data != first->data       ? "has other pictures or base weights than"
                                                             : NULL;
        if (differs)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "rank %d (%s) %s rank 0 (%s); start all "
                             "with the same program, options and files",
                             q, f->host, differs, first->host);
    }
    return FDIT_OK;
}

static enum fdit_status settle(fdit_context *ctx, struct fdit_exchange *x, enum fdit_status own)
{
    return fdit_ranks_settle(ctx, ((struct ranked *)x)->ranks, own);
}

static enum fdit_status ready(fdit_context *ctx, struct fdit_exchange *x, enum fdit_status own,
                              const struct fdit_exchange_identity *id)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = (struct ranked *)x;
    struct facts *all = NULL, said = { .devices = x->count };
    TRY(fdit_ranks_settle(ctx, e->ranks, own));
    said.build = hash_of(FDIT_COMMIT) ^ hash_of(fdit_version());
    said.options = hash_of(id->options);
    said.data = fdit_fnv(hash_of(id->classes), id->data, strlen(id->data));
    snprintf(said.host, sizeof said.host, "%s", e->ranks->host);
    TRY(fdit_alloc(ctx, (size_t)e->ranks->size, sizeof *all, &all));
    TRY(collect(ctx, e, &said, all, sizeof said));
    if (!e->ranks->rank)
        status = compare(ctx, all, e->ranks->size);
    TRY(fdit_ranks_settle(ctx, e->ranks, status));
out:
    fdit_free(all);
    return status;
}

/* ------------------------------------------------------------------ making it */

static void free_ranked(struct fdit_exchange *x)
{
    struct ranked *e = (struct ranked *)x;
    fdit_free(e->sum);
    fdit_free(e->send);
    fdit_free(e->received);
    fdit_free(e->values);
    fdit_free(e->x.spoilt);
    fdit_free(e->stops);
    fdit_free(e->sizes);
    fdit_free(e);
}

enum fdit_status fdit_exchange_ranks(fdit_context *ctx, struct fdit_ranks *ranks, int devices,
                                     const volatile sig_atomic_t *asked, struct fdit_exchange **out)
{
    enum fdit_status status = FDIT_OK;
    struct ranked *e = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *e, &e));
    TRY(fdit_alloc(ctx, (size_t)ranks->size, 1, &e->stops));
    TRY(fdit_alloc(ctx, (size_t)ranks->size, sizeof *e->sizes, &e->sizes));
    e->x = (struct fdit_exchange){ .members = ranks->size * devices,
                                   .first = ranks->rank * devices,
                                   .count = devices,
                                   .add = add,
                                   .sum = sum,
                                   .share = share,
                                   .total = total,
                                   .ready = ready,
                                   .settle = settle,
                                   .tell = tell,
                                   .agree = agree,
                                   .meet = meet,
                                   .bring = bring,
                                   .spread = spread,
                                   .collect = collect_parts,
                                   .behind = ranks->size > 1 && ranks->any_thread,
                                   .bytes = bytes,
                                   .free = free_ranked };
    e->ranks = ranks;
    TRY(fdit_alloc(ctx, (size_t)e->x.members, sizeof *e->x.spoilt, &e->x.spoilt));
    e->asked = asked;
    *out = &e->x;
    return FDIT_OK;
out:
    if (e)
        free_ranked(&e->x);
    return status;
}
