/* SPDX-License-Identifier: Apache-2.0
 * request.h: the list of pictures of a job, class after class in the order of the request, then by
 * number k = 0, 1, ...; a shard has every N-th of them. */
#ifndef FDIT_SAMPLE_REQUEST_H
#define FDIT_SAMPLE_REQUEST_H

#include "data/taxonomy.h"

struct fdit_request {
    int32_t *ids;  /* [n_classes] in the order of the request */
    size_t *first; /* [n_classes + 1]: index of each class's first picture */
    size_t n_classes;
    size_t total; /* pictures of all shards */
    size_t n;     /* of this shard */
    int shard, shards;
    uint64_t seed;
    int candidates;   /* of each picture, with seeds seed + k N to seed + k N + N - 1; 0 and 1: one */
    uint64_t *chosen; /* [n] of this shard, once they are (candidates.h); NULL: the first of them */
    double *scores;   /* [n, candidates] of this shard; NULL: none */
};

struct fdit_request_item {
    size_t index; /* in the whole list */
    size_t place; /* of its class in ids */
    int32_t id;
    int32_t k;
    uint64_t seed; /* request.seed + k; with candidates see above */
};

/* classes (NULL: all) with per_class pictures each, or `counts`, a file of classes and counts, see
 * taxonomy.h. A total of 0, or of 2^31 or more: FDIT_ERROR_ARGUMENT. Free with
 * fdit_request_fini. */
enum fdit_status fdit_request_init(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                                   const char *classes, const char *counts, int per_class, uint64_t seed,
                                   int shard, int shards, struct fdit_request *out);
/* per_class pictures of each of the n classes first, first + 1, ... */
enum fdit_status fdit_request_range(fdit_context *ctx, int32_t first, int32_t n, int per_class, uint64_t seed,
                                    int shard, int shards, struct fdit_request *out);
/* The n classes `ids` with so many pictures each; totals and freeing as above. */
enum fdit_status fdit_request_counts(fdit_context *ctx, const int32_t *ids, const int32_t *counts, size_t n,
                                     uint64_t seed, int shard, int shards, struct fdit_request *out);
void fdit_request_fini(struct fdit_request *r);
/* Picture p < n of this shard. */
struct fdit_request_item fdit_request_at(const struct fdit_request *r, size_t p);
/* The seed of candidate i of picture p of this shard. */
uint64_t fdit_request_candidate(const struct fdit_request *r, size_t p, int i);
/* The picture with this index < total, of whatever shard. */
struct fdit_request_item fdit_request_index(const struct fdit_request *r, size_t index);

#endif
