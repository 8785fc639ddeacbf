/* SPDX-License-Identifier: Apache-2.0
 * cache.c: the layout of caches, and reading them. */
#include "format/cache_layout.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* ------------------------------------------------------------------ layout */

uint32_t fdit_cache_crc(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        uInt part = n > 1u << 30 ? 1u << 30 : (uInt)n;
        crc = (uint32_t)crc32(crc, p, part);
        p += part;
        n -= part;
    }
    return crc;
}

size_t fdit_cache_in_shard(const struct fdit_cache_layout *l, size_t shard)
{
    size_t first = shard * l->per_shard;
    if (first >= l->total)
        return 0;
    return l->total - first < l->per_shard ? l->total - first : l->per_shard;
}

void fdit_cache_header(const struct fdit_cache_layout *l, size_t shard, uint8_t out[FDIT_CACHE_HEADER])
{
    memset(out, 0, FDIT_CACHE_HEADER);
    memcpy(out, "FDITSHRD", 8);
    fdit_put32(out + 8, FDIT_CACHE_VERSION);
    fdit_put32(out + 12, (uint32_t)shard);
    fdit_put64(out + 16, shard * l->per_shard);
    fdit_put32(out + 24, (uint32_t)fdit_cache_in_shard(l, shard));
    fdit_put32(out + 28, (uint32_t)l->halves);
    fdit_put64(out + 32, l->item_bytes);
    fdit_put64(out + 40, l->identity);
    fdit_put32(out + 60, fdit_cache_crc(0, out, 60));
}

void fdit_cache_trailer(const uint8_t *data, size_t item_bytes, size_t picture, int32_t label, bool mirror,
                        uint8_t out[FDIT_CACHE_TRAILER])
{
    fdit_put32(out + 4, (uint32_t)picture);
    fdit_put32(out + 8, (uint32_t)label);
    fdit_put32(out + 12, mirror);
    fdit_put32(out, fdit_cache_crc(fdit_cache_crc(0, data, item_bytes), out + 4, 12));
}

bool fdit_cache_half_is_good(const uint8_t *data, size_t item_bytes, size_t picture, bool mirror)
{
    const uint8_t *trailer = data + item_bytes;
    return fdit_get32(trailer + 4) == (uint32_t)picture && fdit_get32(trailer + 12) == (uint32_t)mirror &&
           fdit_get32(trailer) == fdit_cache_crc(fdit_cache_crc(0, data, item_bytes), trailer + 4, 12);
}

enum fdit_status fdit_cache_shard_path(fdit_context *ctx, const char *dir, size_t shard, char **out)
{
    return fdit_strf(ctx, out, "%s/shard-%05zu.fdc", dir, shard);
}

/* ------------------------------------------------------------------ index */

struct fdit_cache {
    struct fdit_cache_info info; /* its strings are in root */
    struct fdit_cache_layout layout;
    char *dir, *name; /* name: of the index, for messages */
    json_t *root;
    int32_t *labels;
    uint32_t *places;
    struct fdit_file_map *shards; /* NULL: not opened */
    uint64_t bytes;
};

static enum fdit_status broken(fdit_context *ctx, const char *name, const char *what)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %s; encode the data again into an empty folder", name,
                     what);
}

static enum fdit_status number(fdit_context *ctx, const struct fdit_cache *c, const char *key,
                               json_int_t least, json_int_t most, json_int_t *out)
{
    const json_t *item = json_object_get(c->root, key);
    *out = json_integer_value(item);
    if (json_is_integer(item) && *out >= least && *out <= most)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: \"%s\" is not a number from %lld to %lld; encode the data again "
                     "into an empty folder",
                     c->name, key, (long long)least, (long long)most);
}

static enum fdit_status text(fdit_context *ctx, const struct fdit_cache *c, const char *key, const char **out)
{
    *out = json_string_value(json_object_get(c->root, key));
    return *out
               ? FDIT_OK
               : fdit_fail(ctx, FDIT_ERROR_FORMAT,
                           "%s: \"%s\" is missing; encode the data again into an empty folder", c->name, key);
}

static enum fdit_status real(fdit_context *ctx, const struct fdit_cache *c, const char *key, double *out)
{
    const json_t *item = json_object_get(c->root, key);
    *out = json_number_value(item);
    return json_is_number(item) ? FDIT_OK
                                : fdit_fail(ctx, FDIT_ERROR_FORMAT,
                                            "%s: \"%s\" is not a number; encode the data "
                                            "again into an empty folder",
                                            c->name, key);
}

static enum fdit_status read_json(fdit_context *ctx, struct fdit_cache *c, const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    const char *kind, *format, *identity;
    json_int_t channels, size, picture_size, total, per_shard;
    char *end;
    TRY(fdit_json_parse(ctx, c->name, (const char *)bytes, n, 32, &c->root));
    TRY(text(ctx, c, "format", &format));
    if (strcmp(format, "finediffusion-cache") != 0)
        TRY(broken(ctx, c->name, "\"format\" is not \"finediffusion-cache\""));
    TRY(text(ctx, c, "kind", &kind));
    if (strcmp(kind, "moments") != 0 && strcmp(kind, "pixels") != 0)
        TRY(broken(ctx, c->name, "\"kind\" is neither \"moments\" nor \"pixels\""));
    c->info.kind = strcmp(kind, "pixels") ? FDIT_CACHE_MOMENTS : FDIT_CACHE_PIXELS;
    TRY(number(ctx, c, "channels", 1, 1024, &channels));
    TRY(number(ctx, c, "size", 1, 8192, &size));
    TRY(number(ctx, c, "picture_size", 1, 8192, &picture_size));
    TRY(number(ctx, c, "pictures", 1, UINT32_MAX, &total));
    TRY(number(ctx, c, "shard_pictures", 1, UINT32_MAX, &per_shard));
    TRY(text(ctx, c, "fit", &c->info.fit));
    c->info.orient = json_string_value(json_object_get(c->root, "orient"));
    c->info.matte = json_string_value(json_object_get(c->root, "matte"));
    c->info.orient = c->info.orient ? c->info.orient : "none"; /* as it was before there was a choice */
    c->info.matte = c->info.matte ? c->info.matte : "none";
    TRY(text(ctx, c, "vae", &c->info.vae));
    TRY(text(ctx, c, "taxonomy", &c->info.taxonomy));
    TRY(text(ctx, c, "identity", &identity));
    TRY(real(ctx, c, "scale", &c->info.scale));
    TRY(real(ctx, c, "shift", &c->info.shift));
    if (!fdit_cache_scale_is_sensible(c->info.scale, c->info.shift))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: \"scale\" %g and \"shift\" %g cannot be those of an autoencoder; encode the data again "
             "into an empty folder",
             c->name, c->info.scale, c->info.shift);
    const json_t *flip = json_object_get(c->root, "flip");
    if (!json_is_boolean(flip))
        TRY(broken(ctx, c->name, "\"flip\" is neither true nor false"));
    c->info.flip = json_is_true(flip);
    c->info.channels = (int)channels;
    c->info.size = (int)size;
    c->info.picture_size = (int)picture_size;
    c->layout.total = (size_t)total;
    c->layout.per_shard = (size_t)per_shard;
    c->layout.identity = 0;
    for (end = (char *)(uintptr_t)identity; *end; end++) { /* 16 hexadecimal digits */
        const char *digits = "0123456789abcdef", *at = strchr(digits, *end);
        if (!at || end - identity >= 16)
            TRY(broken(ctx, c->name, "\"identity\" is not a hash"));
        c->layout.identity = c->layout.identity << 4 | (uint64_t)(at - digits);
    }
    c->layout.item_bytes = fdit_cache_item_bytes(&c->info);
    c->layout.halves = fdit_cache_halves(&c->info);
    c->layout.record_bytes = (size_t)c->layout.halves * (c->layout.item_bytes + FDIT_CACHE_TRAILER);
    c->layout.shards = (c->layout.total + c->layout.per_shard - 1) / c->layout.per_shard;
out:
    return status;
}

enum fdit_status fdit_cache_parse(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                  struct fdit_cache **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *c = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    TRY(fdit_strdup(ctx, name, &c->name));
    if (n < 28 || memcmp(bytes, "FDITCACH", 8) != 0)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is not an index of a cache; give the folder that 'finediffusion encode' made", name);
    uint32_t version = fdit_get32(bytes + 8);
    if (version > FDIT_CACHE_VERSION)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: cache version %u, this program reads up to %d; use a newer one", name, version,
             FDIT_CACHE_VERSION);
    size_t json = fdit_get32(bytes + 12), entries;
    uint64_t count = fdit_get64(bytes + 16);
    if (version < 1 || count < 1 || count > UINT32_MAX || !fdit_mul((size_t)count, 8, &entries) ||
        json > n - 28 || entries != n - 28 - json)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %llu pictures and %zu bytes of description do not fit into %zu bytes; "
             "encode the data again into an empty folder",
             name, (unsigned long long)count, json, n);
    if (fdit_get32(bytes + n - 4) != fdit_cache_crc(0, bytes, n - 4))
        TRY(broken(ctx, name, "the checksum is wrong"));
    TRY(read_json(ctx, c, bytes + 24, json));
    c->info.n = (size_t)count;
    TRY(fdit_alloc(ctx, c->info.n, sizeof *c->labels, &c->labels));
    TRY(fdit_alloc(ctx, c->info.n, sizeof *c->places, &c->places));
    const uint8_t *labels = bytes + 24 + json, *places = labels + 4 * c->info.n;
    for (size_t i = 0; i < c->info.n; i++) {
        c->labels[i] = (int32_t)fdit_get32(labels + 4 * i);
        c->places[i] = fdit_get32(places + 4 * i);
        if (c->labels[i] < 0 || c->places[i] >= c->layout.total || (i && c->places[i] <= c->places[i - 1]))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: picture %zu has label %d and place %u of %zu; encode the data again "
                 "into an empty folder",
                 name, i, (int)c->labels[i], c->places[i], c->layout.total);
    }
    *out = c;
    c = NULL;
out:
    fdit_cache_close(c);
    return status;
}

enum fdit_status fdit_cache_check_shard(fdit_context *ctx, const struct fdit_cache *c, const char *name,
                                        size_t shard, const uint8_t *bytes, size_t n)
{
    uint8_t header[FDIT_CACHE_HEADER];
    size_t wanted;
    fdit_cache_header(&c->layout, shard, header);
    if (n < FDIT_CACHE_HEADER || memcmp(bytes, "FDITSHRD", 8) != 0)
        return broken(ctx, name, "is not part of a cache");
    if (memcmp(bytes, header, FDIT_CACHE_HEADER) != 0)
        return broken(ctx, name, "does not belong to the index beside it");
    if (!fdit_mul(fdit_cache_in_shard(&c->layout, shard), c->layout.record_bytes, &wanted) ||
        !fdit_add(wanted, FDIT_CACHE_HEADER, &wanted) || n != wanted)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: has %zu bytes, %zu pictures need %zu; encode the data again "
                         "into an empty folder",
                         name, n, fdit_cache_in_shard(&c->layout, shard), wanted);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ opening */

static bool in_folder(const char *dir, const char *name)
{
    char *path = NULL;
    bool there = fdit_path_join(NULL, dir, name, &path) == FDIT_OK && fdit_is_file(path);
    fdit_free(path);
    return there;
}

bool fdit_cache_scale_is_sensible(double scale, double shift)
{
    return isfinite(scale) && scale >= 1e-4 && scale <= 1e4 && isfinite(shift) && fabs(shift) <= 1e4;
}

bool fdit_cache_is(const char *path)
{
    if (fdit_is_folder(path))
        return in_folder(path, "cache.fdc") || in_folder(path, "encode.json");
    return fdit_is_file(path) && !strcmp(fdit_path_base(path), "cache.fdc");
}

static enum fdit_status open_shards(fdit_context *ctx, struct fdit_cache *c)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    /* The number of shards comes from a file: one that is not there ends this before memory runs
     * out. */
    if (c->layout.shards > 1 << 20)
        TRY(broken(ctx, c->name, "more than a million shards"));
    TRY(fdit_alloc(ctx, c->layout.shards, sizeof *c->shards, &c->shards));
    for (size_t i = 0; i < c->layout.shards; i++) {
        fdit_free(path);
        path = NULL;
        TRY(fdit_cache_shard_path(ctx, c->dir, i, &path));
        TRY(fdit_file_map(ctx, path, &c->shards[i]));
        TRY(fdit_cache_check_shard(ctx, c, path, i, c->shards[i].data, c->shards[i].size));
        c->bytes += c->shards[i].size;
    }
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_cache_open(fdit_context *ctx, const char *path, struct fdit_cache **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache *c = NULL;
    char *dir = NULL, *index = NULL;
    uint8_t *bytes = NULL;
    size_t n;
    bool there;
    *out = NULL;
    if (fdit_is_folder(path))
        TRY(fdit_strdup(ctx, path, &dir));
    else
        TRY(fdit_path_folder(ctx, path, &dir));
    TRY(fdit_path_join(ctx, dir, "cache.fdc", &index));
    TRY(fdit_file_regular(ctx, index, &there));
    if (!there && in_folder(dir, "encode.json"))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the cache is not finished; the same 'finediffusion encode' goes on "
             "where it stopped",
             dir);
    TRY(fdit_file_read_all(ctx, index, (size_t)1 << 36, &bytes, &n));
    TRY(fdit_cache_parse(ctx, index, bytes, n, &c));
    c->dir = dir;
    dir = NULL;
    c->bytes = n;
    TRY(open_shards(ctx, c));
    *out = c;
    c = NULL;
out:
    fdit_cache_close(c);
    fdit_free(dir);
    fdit_free(index);
    fdit_free(bytes);
    return status;
}

void fdit_cache_close(struct fdit_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->shards && i < c->layout.shards; i++)
        fdit_file_unmap(&c->shards[i]);
    fdit_free(c->shards);
    fdit_free(c->labels);
    fdit_free(c->places);
    fdit_free(c->dir);
    fdit_free(c->name);
    json_decref(c->root);
    fdit_free(c);
}

const struct fdit_cache_info *fdit_cache_info_of(const struct fdit_cache *c)
{
    return &c->info;
}

size_t fdit_cache_shards(const struct fdit_cache *c)
{
    return c->layout.shards;
}

uint64_t fdit_cache_bytes(const struct fdit_cache *c)
{
    return c->bytes;
}

int32_t fdit_cache_label(const struct fdit_cache *c, size_t i)
{
    return c->labels[i];
}

enum fdit_status fdit_cache_item(fdit_context *ctx, const struct fdit_cache *c, size_t i, bool mirror,
                                 const uint8_t **out)
{
    const struct fdit_cache_layout *l = &c->layout;
    size_t place = c->places[i], shard = place / l->per_shard;
    const uint8_t *data = c->shards[shard].data + FDIT_CACHE_HEADER + place % l->per_shard * l->record_bytes +
                          (mirror ? l->item_bytes + FDIT_CACHE_TRAILER : 0);
    *out = data;
    if (fdit_cache_half_is_good(data, l->item_bytes, place, mirror) &&
        (int32_t)fdit_get32(data + l->item_bytes + 8) == c->labels[i])
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: picture %zu%s is damaged (checksum); the "
                     "same 'finediffusion encode' again repairs it",
                     c->shards[shard].path, place, mirror ? ", mirrored," : "");
}
