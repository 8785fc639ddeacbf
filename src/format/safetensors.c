/* SPDX-License-Identifier: Apache-2.0
 * The reader. The header is checked as the format's own implementation does: sorted by offset, each
 * tensor begins where the one before ends, the first at 0, the last ends with the file. */
#include "format/safetensors.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000 /* as in the format's own implementation */

struct shard {
    struct fdit_file_map map; /* of memory that is not ours: all zero */
    json_t *header;           /* owns the names */
};

struct fdit_safetensors {
    char *path;
    struct shard *shards;
    size_t n_shards;
    struct fdit_st_tensor *tensors;        /* file order */
    const struct fdit_st_tensor **by_name; /* sorted */
    size_t n, capacity;
    json_t *meta; /* borrowed from the first shard, NULL: none */
};

/* ------------------------------------------------------------------ the header */

static enum fdit_status bad_tensor(fdit_context *ctx, const char *file, const char *name, const char *what)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: %s; the file is damaged, get it again", file,
                     name, what);
}

static enum fdit_status read_type(fdit_context *ctx, const char *file, const char *name, const json_t *value,
                                  enum fdit_st_type *out)
{
    const char *text = json_string_value(value);
    if (!text)
        return bad_tensor(ctx, file, name, "has no dtype");
    if (fdit_st_type_find(text, out))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: tensor %.200s: unknown type %.40s; convert it to "
                     "F32, F16 or BF16",
                     file, name, text);
}

static enum fdit_status read_shape(fdit_context *ctx, const char *file, const json_t *value,
                                   struct fdit_st_tensor *t)
{
    if (!json_is_array(value))
        return bad_tensor(ctx, file, t->name, "has no shape");
    size_t rank = json_array_size(value);
    if (rank > FDIT_ST_MAX_RANK)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s: has %zu dimensions, more than "
                         "%d are not supported",
                         file, t->name, rank, FDIT_ST_MAX_RANK);
    t->rank = (int)rank;
    t->n = 1;
    bool overflow = false;
    for (size_t i = 0; i < rank; i++) {
        const json_t *side = json_array_get(value, i);
        if (!json_is_integer(side))
            return bad_tensor(ctx, file, t->name, "its shape is not a list of integers");
        t->shape[i] = json_integer_value(side);
        if (t->shape[i] < 0)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: tensor %.200s: dimension %zu of its shape "
                             "is negative (%lld); the file is damaged, get it again",
                             file, t->name, i, (long long)t->shape[i]);
        if ((uint64_t)t->shape[i] > SIZE_MAX || !fdit_mul(t->n, (size_t)t->shape[i], &t->n))
            overflow = true;
    }
    if (overflow || !fdit_mul(t->n, fdit_st_type_bytes(t->type), &t->bytes)) {
        char text[128];
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s: its shape %s is too large; the "
                         "file is damaged, get it again",
                         file, t->name, fdit_st_shape_text(t->rank, t->shape, text, sizeof text));
    }
    return FDIT_OK;
}

/* data: what follows the header, data_bytes of it. */
static enum fdit_status read_offsets(fdit_context *ctx, const char *file, const json_t *value,
                                     const uint8_t *data, size_t data_bytes, struct fdit_st_tensor *t)
{
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return bad_tensor(ctx, file, t->name, "data_offsets must be two integers");
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s: tensor %.200s: data_offsets %lld to %lld are not a range; the file is damaged, get it again",
            file, t->name, (long long)begin, (long long)end);
    if ((uint64_t)end > data_bytes)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s: data_offsets %lld to %lld are beyond the %zu bytes of numbers "
                         "in the file; it is cut off or damaged, get it again",
                         file, t->name, (long long)begin, (long long)end, data_bytes);
    if ((uint64_t)(end - begin) != t->bytes) {
        char text[128];
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s: shape %s of %s needs %zu bytes, "
                         "data_offsets give %lld; the file is damaged, get it again",
                         file, t->name, fdit_st_shape_text(t->rank, t->shape, text, sizeof text),
                         fdit_st_type_name(t->type), t->bytes, (long long)(end - begin));
    }
    t->data = data + begin;
    return FDIT_OK;
}

/* A total order, since the header's order breaks ties. */
static int by_offset(const void *pa, const void *pb)
{
    const struct fdit_st_tensor *a = pa, *b = pb;
    if (a->data != b->data)
        return a->data < b->data ? -1 : 1;
    if ((a->bytes == 0) != (b->bytes == 0))
        return a->bytes == 0 ? -1 : 1;
    return strcmp(a->name, b->name);
}

static enum fdit_status check_layout(fdit_context *ctx, const char *file, const uint8_t *data,
                                     size_t data_bytes, const struct fdit_st_tensor *t, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t begin = (size_t)(t[i].data - data);
        if (begin < at)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: tensor %.200s: its bytes from %zu lie on "
                             "those of %.200s, which end at %zu; the file is damaged, get it again",
                             file, t[i].name, begin, t[i - 1].name, at);
        if (begin > at)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: tensor %.200s: begins at %zu, but the "
                             "bytes before it end at %zu; the file is damaged, get it again",
                             file, t[i].name, begin, at);
        at = begin + t[i].bytes;
    }
    if (at != data_bytes)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: it has %zu bytes more than its tensors; the file is "
                         "damaged, get it again",
                         file, data_bytes - at);
    return FDIT_OK;
}

static enum fdit_status find_header(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                                    size_t *header)
{
    uint64_t length = 0;
    if (n < 8)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: is not a safetensors file: it has %zu bytes, the "
                         "length field alone has 8; get it again",
                         file, n);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > n - 8)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the header should have %ju bytes, but %zu "
                         "follow; the file is cut off, or not a safetensors file, get it again",
                         file, (uintmax_t)length, n - 8);
    if (length > MAX_HEADER)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: a header of %ju bytes is beyond the format's "
                         "limit of %d; the file is damaged, get it again",
                         file, (uintmax_t)length, MAX_HEADER);
    if (length == 0 || bytes[8] != '{')
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the header is not a JSON object; the file is "
                         "damaged, or not a safetensors file, get it again",
                         file);
    *header = (size_t)length;
    return FDIT_OK;
}

static enum fdit_status parse_header(fdit_context *ctx, const char *file, const char *text, size_t n,
                                     json_t **out)
{
    enum fdit_status status = fdit_json_parse_nul(ctx, file, text, n, 8, out);
    if (status == FDIT_ERROR_FORMAT)
        return fdit_fail(ctx, status, "%s in its header; the file is damaged, get it again",
                         fdit_context_message(ctx));
    return status;
}

static enum fdit_status check_meta(fdit_context *ctx, const char *file, json_t *meta)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: __metadata__ is not a JSON object; the file is "
                         "damaged, get it again",
                         file);
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: __metadata__ %.200s is not text; the file "
                             "is damaged, get it again",
                             file, key);
    }
    return FDIT_OK;
}

/* Such names would reach terminals through messages. */
static bool has_control_bytes(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return true;
    return false;
}

/* Adds the tensors of one file to st->tensors, sorted by offset; which: its index in st->shards. */
static enum fdit_status read_file(fdit_context *ctx, struct fdit_safetensors *st, const char *file,
                                  size_t which, const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    size_t header = 0;
    struct fdit_st_tensor *more;
    const char *name;
    json_t *info;
    TRY(find_header(ctx, file, bytes, n, &header));
    const uint8_t *data = bytes + 8 + header;
    size_t data_bytes = n - 8 - header, count = 0;
    json_t *root = NULL;
    TRY(parse_header(ctx, file, (const char *)bytes + 8, header, &root));
    st->shards[which].header = root;
    TRY(fdit_grow(ctx, &st->tensors, &st->capacity, st->n + json_object_size(root), sizeof *more));
    more = st->tensors;
    json_object_foreach(root, name, info)
    {
        if (strcmp(name, "__metadata__") == 0) {
            if (json_is_null(info))
                continue;
            TRY(check_meta(ctx, file, info));
            if (which == 0)
                st->meta = info;
            continue;
        }
        if (has_control_bytes(name))
            TRY(bad_tensor(ctx, file, "?", "its name has control characters"));
        struct fdit_st_tensor *t = more + st->n + count++;
        t->name = name;
        t->file = (int)which;
        if (!json_is_object(info))
            TRY(bad_tensor(ctx, file, name, "its entry in the header is not a JSON object"));
        TRY(read_type(ctx, file, name, json_object_get(info, "dtype"), &t->type));
        TRY(read_shape(ctx, file, json_object_get(info, "shape"), t));
        TRY(read_offsets(ctx, file, json_object_get(info, "data_offsets"), data, data_bytes, t));
    }
    if (count)
        qsort(more + st->n, count, sizeof *more, by_offset);
    TRY(check_layout(ctx, file, data, data_bytes, more + st->n, count));
    st->n += count;
out:
    return status;
}

static int by_name(const void *pa, const void *pb)
{
    const struct fdit_st_tensor *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static enum fdit_status index_names(fdit_context *ctx, struct fdit_safetensors *st)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, st->n, sizeof *st->by_name, &st->by_name));
    for (size_t i = 0; i < st->n; i++)
        st->by_name[i] = &st->tensors[i];
    if (st->n)
        qsort(st->by_name, st->n, sizeof *st->by_name, by_name);
    for (size_t i = 1; i < st->n; i++)
        if (strcmp(st->by_name[i - 1]->name, st->by_name[i]->name) == 0)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is in two of its files; get them again", st->path,
                 st->by_name[i]->name);
out:
    return status;
}

enum fdit_status fdit_safetensors_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes,
                                              size_t n, struct fdit_safetensors **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *st, &st));
    TRY(fdit_strdup(ctx, name, &st->path));
    TRY(fdit_alloc(ctx, 1, sizeof *st->shards, &st->shards));
    st->n_shards = 1;
    TRY(read_file(ctx, st, name, 0, bytes, n));
    TRY(index_names(ctx, st));
    *out = st;
    st = NULL;
out:
    fdit_safetensors_close(st);
    return status;
}

/* ------------------------------------------------------------------ sharded sets */

static enum fdit_status check_weight_map(fdit_context *ctx, const struct fdit_safetensors *st, json_t *map,
                                         const char **names)
{
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        const struct fdit_st_tensor *t = fdit_safetensors_find(st, key);
        if (!t || strcmp(names[t->file], json_string_value(value)) != 0)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: tensor %.200s is not in %.200s; index and "
                             "files do not belong together, get them again",
                             st->path, key, json_string_value(value));
    }
    return FDIT_OK;
}

static enum fdit_status open_shards(fdit_context *ctx, struct fdit_safetensors *st)
{
    enum fdit_status status = FDIT_OK;
    json_t *index = NULL;
    const char **names = NULL;
    char *folder = NULL, *path = NULL;
    size_t n = 0;
    TRY(fdit_json_read(ctx, st->path, MAX_HEADER, 8, &index));
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no weight_map; it is not an index of safetensors files",
             st->path);
    TRY(fdit_json_shard_names(ctx, st->path, map, &names, &n));
    TRY(fdit_path_folder(ctx, st->path, &folder));
    TRY(fdit_alloc(ctx, n, sizeof *st->shards, &st->shards));
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_path_join(ctx, folder, names[i], &path));
        TRY(fdit_file_map(ctx, path, &st->shards[i].map));
        st->n_shards = i + 1;
        TRY(read_file(ctx, st, path, i, st->shards[i].map.data, st->shards[i].map.size));
        fdit_free(path);
        path = NULL;
    }
    TRY(index_names(ctx, st));
    TRY(check_weight_map(ctx, st, map, names));
out:
    fdit_free(path);
    fdit_free(folder);
    fdit_free(names);
    json_decref(index);
    return status;
}

enum fdit_status fdit_safetensors_open(fdit_context *ctx, const char *path, struct fdit_safetensors **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *st, &st));
    TRY(fdit_strdup(ctx, path, &st->path));
    if (fdit_path_has_suffix(path, ".index.json")) {
        TRY(open_shards(ctx, st));
    } else {
        TRY(fdit_alloc(ctx, 1, sizeof *st->shards, &st->shards));
        TRY(fdit_file_map(ctx, path, &st->shards[0].map));
        st->n_shards = 1;
        TRY(read_file(ctx, st, path, 0, st->shards[0].map.data, st->shards[0].map.size));
        TRY(index_names(ctx, st));
    }
    *out = st;
    st = NULL;
out:
    fdit_safetensors_close(st);
    return status;
}

void fdit_safetensors_close(struct fdit_safetensors *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < st->n_shards; i++) {
        json_decref(st->shards[i].header);
        fdit_file_unmap(&st->shards[i].map);
    }
    fdit_free(st->shards);
    fdit_free(st->tensors);
    fdit_free(st->by_name);
    fdit_free(st->path);
    fdit_free(st);
}

/* ------------------------------------------------------------------ looking up */

const char *fdit_safetensors_path(const struct fdit_safetensors *st)
{
    return st->path;
}

size_t fdit_safetensors_count(const struct fdit_safetensors *st)
{
    return st->n;
}

const struct fdit_st_tensor *fdit_safetensors_at(const struct fdit_safetensors *st, size_t i)
{
    return &st->tensors[i];
}

const struct fdit_st_tensor *fdit_safetensors_find(const struct fdit_safetensors *st, const char *name)
{
    size_t lo = 0, hi = st->n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        int order = strcmp(name, st->by_name[middle]->name);
        if (order == 0)
            return st->by_name[middle];
        if (order < 0)
            hi = middle;
        else
            lo = middle + 1;
    }
    return NULL;
}

const char *fdit_safetensors_meta(const struct fdit_safetensors *st, const char *key)
{
    return json_string_value(json_object_get(st->meta, key));
}

size_t fdit_safetensors_meta_count(const struct fdit_safetensors *st)
{
    return json_object_size(st->meta);
}

void fdit_safetensors_meta_at(const struct fdit_safetensors *st, size_t i, const char **key,
                              const char **value)
{
    void *at = json_object_iter(st->meta);
    while (i-- > 0)
        at = json_object_iter_next(st->meta, at);
    *key = json_object_iter_key(at);
    *value = json_string_value(json_object_iter_value(at));
}

enum fdit_status fdit_safetensors_check_shape(fdit_context *ctx, const struct fdit_safetensors *st,
                                              const struct fdit_st_tensor *t, int rank, const int64_t *shape)
{
    return fdit_st_check_shape(ctx, st->path, t, rank, shape);
}

enum fdit_status fdit_safetensors_need(fdit_context *ctx, const struct fdit_safetensors *st, const char *name,
                                       int rank, const int64_t *shape, const struct fdit_st_tensor **out)
{
    *out = fdit_safetensors_find(st, name);
    if (!*out)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: tensor %.200s is missing among its %zu; is it "
                         "a checkpoint of this kind of model?",
                         st->path, name, st->n);
    return fdit_safetensors_check_shape(ctx, st, *out, rank, shape);
}

void fdit_safetensors_drop(const struct fdit_safetensors *st, const struct fdit_st_tensor *t)
{
    fdit_file_map_drop(&st->shards[t->file].map, t->data, t->bytes);
}

enum fdit_status fdit_safetensors_f32(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n, float *out)
{
    return fdit_st_f32(ctx, st->path, t, first, n, out);
}

enum fdit_status fdit_safetensors_weights(fdit_context *ctx, const struct fdit_safetensors *st,
                                          const struct fdit_st_tensor *t, size_t first, size_t n, float *out)
{
    return fdit_st_weights(ctx, st->path, t, first, n, out);
}

enum fdit_status fdit_safetensors_check_finite(fdit_context *ctx, const struct fdit_safetensors *st,
                                               const struct fdit_st_tensor *t)
{
    return fdit_st_check_finite(ctx, st->path, t);
}

enum fdit_status fdit_safetensors_i64(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n, int64_t *out)
{
    return fdit_st_i64(ctx, st->path, t, first, n, out);
}
