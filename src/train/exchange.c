/* SPDX-License-Identifier: Apache-2.0 */
#include "train/exchange.h"

#include "core/mem.h"

#include <string.h>

/* ------------------------------------------------------------------ one process */

struct local {
    struct fdit_exchange x;
    struct fdit_threads *threads;
    float *const *vectors; /* of the call in progress, */
    size_t begin, n;       /* and what of them is added up */
};

/* Thread i adds up its share of the numbers. */
static enum fdit_status add_share(fdit_context *ctx, void *user, int i)
{
    const struct local *l = user;
    size_t count = (size_t)l->x.count, share = (l->n + count - 1) / count, at = share * (size_t)i;
    const size_t from = l->begin + at, end = l->begin + (at + share < l->n ? at + share : l->n);
    (void)ctx;
    for (size_t d = 1; d < count; d++)
        for (size_t k = from; k < end; k++)
            l->vectors[0][k] += l->vectors[d][k];
    return FDIT_OK;
}

static enum fdit_status sum(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, int piece)
{
    struct local *l = (struct local *)x;
    l->vectors = vectors;
    l->begin = fdit_exchange_begin(x, piece);
    l->n = x->ends[piece] - l->begin;
    return fdit_threads_run(ctx, l->threads, add_share, l, NULL);
}

/* All devices read the one vector. */
static enum fdit_status share(fdit_context *ctx, struct fdit_exchange *x, float *vector, size_t n)
{
    (void)ctx, (void)x, (void)vector, (void)n;
    return FDIT_OK;
}

static enum fdit_status total(fdit_context *ctx, struct fdit_exchange *x, double *values, size_t n)
{
    (void)ctx;
    for (size_t d = 1; d < (size_t)x->count; d++)
        for (size_t k = 0; k < n; k++)
            values[k] += values[d * n + k];
    return FDIT_OK;
}

static void free_local(struct fdit_exchange *x)
{
    fdit_free(x);
}

enum fdit_status fdit_exchange_local(fdit_context *ctx, struct fdit_threads *threads, int count,
                                     struct fdit_exchange **out)
{
    struct local *l = NULL;
    *out = NULL;
    enum fdit_status status = fdit_alloc(ctx, 1, sizeof *l, &l);
    if (status != FDIT_OK)
        return status;
    l->x = (struct fdit_exchange){
        .members = count, .count = count, .sum = sum, .share = share, .total = total, .free = free_local
    };
    l->threads = threads;
    *out = &l->x;
    return FDIT_OK;
}

enum fdit_status fdit_exchange_cut(fdit_context *ctx, struct fdit_exchange *x, const size_t *ends, int pieces)
{
    enum fdit_status status = FDIT_OK;
    fdit_free(x->ends);
    x->ends = NULL;
    x->pieces = 0;
    TRY(fdit_alloc(ctx, (size_t)pieces, sizeof *x->ends, &x->ends));
    memcpy(x->ends, ends, (size_t)pieces * sizeof *ends);
    x->pieces = pieces;
out:
    return status;
}

void fdit_exchange_free(struct fdit_exchange *x)
{
    if (!x)
        return;
    fdit_free(x->ends);
    x->free(x);
}
