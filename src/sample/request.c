/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/request.h"

#include "core/mem.h"

#include <string.h>

enum fdit_status fdit_request_init(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                                   const char *classes, const char *counts, int per_class, uint64_t seed,
                                   int shard, int shards, struct fdit_request *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request r = { .shard = shard, .shards = shards, .seed = seed };
    int32_t *numbers = NULL;
    status = counts ? fdit_taxonomy_counts(ctx, taxonomy, counts, &r.ids, &numbers, &r.n_classes)
                    : fdit_taxonomy_select(ctx, taxonomy, classes ? classes : "all", &r.ids, &r.n_classes);
    if (status != FDIT_OK)
        TRY(fdit_fail_prefix(ctx, status, counts ? "--counts" : "--classes"));
    TRY(fdit_alloc(ctx, r.n_classes + 1, sizeof *r.first, &r.first));
    for (size_t i = 0; i < r.n_classes; i++) {
        size_t more = (size_t)(numbers ? numbers[i] : per_class);
        r.first[i + 1] = r.first[i] + more;
        if (r.first[i + 1] > INT32_MAX)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "the request is for more than %d pictures; ask for fewer at a time", INT32_MAX);
    }
    r.total = r.first[r.n_classes];
    if (!r.total)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s asks for no picture at all; give counts above 0",
             counts ? counts : "the request");
    r.n = (r.total + (size_t)(shards - 1 - shard)) / (size_t)shards;
    *out = r;
    r = (struct fdit_request){ 0 };
out:
    fdit_free(numbers);
    fdit_request_fini(&r);
    return status;
}

enum fdit_status fdit_request_counts(fdit_context *ctx, const int32_t *ids, const int32_t *counts, size_t n,
                                     uint64_t seed, int shard, int shards, struct fdit_request *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_request r = { .n_classes = n, .shard = shard, .shards = shards, .seed = seed };
    TRY(fdit_alloc(ctx, n, sizeof *r.ids, &r.ids));
    memcpy(r.ids, ids, n * sizeof *r.ids);
    TRY(fdit_alloc(ctx, n + 1, sizeof *r.first, &r.first));
    for (size_t i = 0; i < n; i++) {
        r.first[i + 1] = r.first[i] + (size_t)counts[i];
        if (r.first[i + 1] > INT32_MAX)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "the request is for more than %d pictures; ask for fewer at a time", INT32_MAX);
    }
    r.total = r.first[n];
    r.n = (r.total + (size_t)(shards - 1 - shard)) / (size_t)shards;
    *out = r;
    r = (struct fdit_request){ 0 };
out:
    fdit_request_fini(&r);
    return status;
}

enum fdit_status fdit_request_range(fdit_context *ctx, int32_t first, int32_t n, int per_class, uint64_t seed,
                                    int shard, int shards, struct fdit_request *out)
{
    enum fdit_status status = FDIT_OK;
    int32_t *ids = NULL, *counts = NULL;
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *ids, &ids));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *counts, &counts));
    for (int32_t i = 0; i < n; i++) {
        ids[i] = first + i;
        counts[i] = per_class;
    }
    TRY(fdit_request_counts(ctx, ids, counts, (size_t)n, seed, shard, shards, out));
out:
    fdit_free(ids);
    fdit_free(counts);
    return status;
}

void fdit_request_fini(struct fdit_request *r)
{
    fdit_free(r->ids);
    fdit_free(r->first);
    fdit_free(r->chosen);
    fdit_free(r->scores);
    *r = (struct fdit_request){ 0 };
}

struct fdit_request_item fdit_request_index(const struct fdit_request *r, size_t index)
{
    size_t low = 0, high = r->n_classes; /* the class is in low .. high-1 */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (r->first[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    size_t k = index - r->first[low];
    return (struct fdit_request_item){ .index = index,
                                       .place = low,
                                       .id = r->ids[low],
                                       .k = (int32_t)k,
                                       .seed =
                                           r->seed + k * (r->candidates > 1 ? (size_t)r->candidates : 1) };
}

struct fdit_request_item fdit_request_at(const struct fdit_request *r, size_t p)
{
    struct fdit_request_item item = fdit_request_index(r, p * (size_t)r->shards + (size_t)r->shard);
    if (r->chosen)
        item.seed = r->chosen[p];
    return item;
}

uint64_t fdit_request_candidate(const struct fdit_request *r, size_t p, int i)
{
    return fdit_request_index(r, p * (size_t)r->shards + (size_t)r->shard).seed + (uint64_t)i;
}
