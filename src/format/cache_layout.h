/* SPDX-License-Identifier: Apache-2.0
 * cache_layout.h: the bytes of a cache, for its reader and its writer. See cache.h. */
#ifndef FDIT_FORMAT_CACHE_LAYOUT_H
#define FDIT_FORMAT_CACHE_LAYOUT_H

#include "format/cache.h"
#include "format/little.h"

enum { FDIT_CACHE_VERSION = 1, FDIT_CACHE_HEADER = 64, FDIT_CACHE_TRAILER = 16 };

/* Where pictures lie. */
struct fdit_cache_layout {
    size_t item_bytes, record_bytes; /* with the trailers */
    int halves;
    size_t total, per_shard, shards; /* pictures, broken ones included */
    uint64_t identity;               /* hash of encode.json */
};

uint32_t fdit_cache_crc(uint32_t crc, const void *bytes, size_t n); /* CRC-32 of zlib, from 0 */
/* Pictures of a shard. */
size_t fdit_cache_in_shard(const struct fdit_cache_layout *l, size_t shard);
void fdit_cache_header(const struct fdit_cache_layout *l, size_t shard, uint8_t out[FDIT_CACHE_HEADER]);
/* The trailer of one half of picture `picture`. */
void fdit_cache_trailer(const uint8_t *data, size_t item_bytes, size_t picture, int32_t label, bool mirror,
                        uint8_t out[FDIT_CACHE_TRAILER]);
/* Whether data and the trailer behind them belong together, and to this half. */
bool fdit_cache_half_is_good(const uint8_t *data, size_t item_bytes, size_t picture, bool mirror);
/* DIR/shard-00000.fdc; free with fdit_free. */
enum fdit_status fdit_cache_shard_path(fdit_context *ctx, const char *dir, size_t shard, char **out);

#endif
