/* SPDX-License-Identifier: Apache-2.0 */
#include "data/balance.h"

#include "core/mem.h"
#include "core/rng.h"

#include <math.h>
#include <string.h>

struct fdit_balanced {
    size_t n, classes, samples;
    size_t *start;  /* [classes + 1] of each class in list */
    uint32_t *list; /* [n] items, class by class */
    double *share;  /* [classes] end of each class's part of 0 .. samples */
};

static double weight_of(enum fdit_balance balance, size_t n)
{
    switch (balance) {
    case FDIT_BALANCE_NONE: return (double)n;
    case FDIT_BALANCE_SQRT: return sqrt((double)n);
    case FDIT_BALANCE_UNIFORM: return n ? 1 : 0;
    }
    return (double)n;
}

enum fdit_status fdit_balanced_new(fdit_context *ctx, const int32_t *labels, size_t n, size_t classes,
                                   enum fdit_balance balance, size_t samples, struct fdit_balanced **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_balanced *b = NULL;
    size_t *next = NULL;
    double sum = 0, total = 0;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *b, &b));
    *b = (struct fdit_balanced){ .n = n, .classes = classes, .samples = samples };
    TRY(fdit_alloc(ctx, classes + 1, sizeof *b->start, &b->start));
    TRY(fdit_alloc(ctx, classes, sizeof *next, &next));
    TRY(fdit_alloc(ctx, n, sizeof *b->list, &b->list));
    TRY(fdit_alloc(ctx, classes, sizeof *b->share, &b->share));
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0 || (size_t)labels[i] >= classes)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "picture %zu is of class %d of %zu", i, (int)labels[i], classes);
        b->start[labels[i] + 1]++;
    }
    for (size_t c = 0; c < classes; c++) {
        total += weight_of(balance, b->start[c + 1]);
        b->start[c + 1] += b->start[c];
        next[c] = b->start[c];
    }
    for (size_t i = 0; i < n; i++)
        b->list[next[labels[i]]++] = (uint32_t)i;
    size_t last = 0;
    for (size_t c = 0; c < classes; c++) {
        sum += weight_of(balance, b->start[c + 1] - b->start[c]);
        b->share[c] = (double)samples * (sum / total);
        last = b->start[c + 1] > b->start[c] ? c : last;
    }
    for (size_t c = last; c < classes; c++) /* whatever the rounding, the last one with pictures ends at E */
        b->share[c] = (double)samples;
    *out = b;
    b = NULL;
out:
    fdit_balanced_free(b);
    fdit_free(next);
    return status;
}

void fdit_balanced_free(struct fdit_balanced *b)
{
    if (!b)
        return;
    fdit_free(b->start);
    fdit_free(b->list);
    fdit_free(b->share);
    fdit_free(b);
}

static void shuffle(const struct fdit_rng *rng, uint32_t *x, size_t n)
{
    for (size_t i = n; i-- > 1;) {
        const size_t j = fdit_rng_below(rng, i, (uint32_t)(i + 1));
        const uint32_t held = x[i];
        x[i] = x[j];
        x[j] = held;
    }
}

void fdit_balanced_order(const struct fdit_balanced *b, uint64_t seed, uint64_t epoch, uint32_t *scratch,
                         uint32_t *items)
{
    /* one stream for the places of an epoch, one for the pictures within their classes */
    const struct fdit_rng places = {
        .seed = seed, .stream = (uint32_t)epoch, .id = (uint32_t)(epoch >> 32), .domain = FDIT_RNG_BALANCE
    };
    struct fdit_rng within = places;
    const double u = fdit_rng_uniform(&places, (uint64_t)UINT32_MAX + 1);
    within.domain = FDIT_RNG_BALANCE_WITHIN;
    memcpy(scratch, b->list, b->n * sizeof *scratch);
    size_t c = 0, k = 0;
    for (size_t j = 0; j < b->samples; j++) {
        while (c + 1 < b->classes && (double)j + u >= b->share[c]) {
            c++;
            k = 0;
        }
        const size_t n = b->start[c + 1] - b->start[c];
        if (k == 0) {
            within.id = (uint32_t)(epoch >> 32) ^ (uint32_t)c; /* another stream for each class */
            shuffle(&within, scratch + b->start[c], n);
        }
        items[j] = scratch[b->start[c] + k++ % n];
    }
    shuffle(&places, items, b->samples);
}

size_t fdit_balanced_bytes(size_t n, size_t classes)
{
    size_t of_items, of_classes, bytes;
    if (!fdit_mul(n, sizeof(uint32_t), &of_items) ||
        !fdit_mul(classes + 1, sizeof(size_t) + sizeof(double), &of_classes) ||
        !fdit_add(of_items, of_classes, &bytes))
        return SIZE_MAX;
    return bytes;
}
