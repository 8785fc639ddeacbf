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
#define CHUNK 4096           /* elements converted at a time */

static const struct {
    const char *name;
    uint8_t bytes;
} types[FDIT_ST_TYPES] = {
    [FDIT_ST_BOOL] = { "BOOL", 1 },       [FDIT_ST_U8] = { "U8", 1 },
    [FDIT_ST_I8] = { "I8", 1 },           [FDIT_ST_F8_E5M2] = { "F8_E5M2", 1 },
    [FDIT_ST_F8_E4M3] = { "F8_E4M3", 1 }, [FDIT_ST_F8_E8M0] = { "F8_E8M0", 1 },
    [FDIT_ST_I16] = { "I16", 2 },         [FDIT_ST_U16] = { "U16", 2 },
    [FDIT_ST_F16] = { "F16", 2 },         [FDIT_ST_BF16] = { "BF16", 2 },
    [FDIT_ST_I32] = { "I32", 4 },         [FDIT_ST_U32] = { "U32", 4 },
    [FDIT_ST_F32] = { "F32", 4 },         [FDIT_ST_C64] = { "C64", 8 },
    [FDIT_ST_F64] = { "F64", 8 },         [FDIT_ST_I64] = { "I64", 8 },
    [FDIT_ST_U64] = { "U64", 8 },
};

size_t fdit_st_type_bytes(enum fdit_st_type type)
{
    return types[type].bytes;
}

const char *fdit_st_type_name(enum fdit_st_type type)
{
    return types[type].name;
}

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
    size_t n;
    json_t *meta; /* borrowed from the first shard, NULL: none */
};

const char *fdit_st_shape_text(int rank, const int64_t *shape, char *text, size_t size)
{
    size_t used = 0;
    if (size < 8)
        return "";
    text[used++] = '[';
    for (int i = 0; i < rank; i++) {
        char number[24];
        int n = shape[i] < 0 ? snprintf(number, sizeof number, "any")
                             : snprintf(number, sizeof number, "%lld", (long long)shape[i]);
        if (used + (size_t)n + 7 > size) {
            memcpy(text + used, "...", 3);
            used += 3;
            break;
        }
        if (i) {
            memcpy(text + used, ", ", 2);
            used += 2;
        }
        memcpy(text + used, number, (size_t)n);
        used += (size_t)n;
    }
    text[used++] = ']';
    text[used] = 0;
    return text;
}

/* ------------------------------------------------------------------ the header */

static enum fdit_status bad_tensor(fdit_context *ctx, const char *file, const char *name,
                                   const char *what)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: %s; the file is damaged, get it "
                     "again", file, name, what);
}

static enum fdit_status read_type(fdit_context *ctx, const char *file, const char *name,
                                  const json_t *value, enum fdit_st_type *out)
{
    const char *text = json_string_value(value);
    if (!text)
        return bad_tensor(ctx, file, name, "has no dtype");
    for (int i = 0; i < FDIT_ST_TYPES; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = (enum fdit_st_type)i;
            return FDIT_OK;
        }
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: unknown type %.40s; convert it to "
                     "F32, F16 or BF16", file, name, text);
}

static enum fdit_status read_shape(fdit_context *ctx, const char *file, const json_t *value,
                                   struct fdit_st_tensor *t)
{
    if (!json_is_array(value))
        return bad_tensor(ctx, file, t->name, "has no shape");
    size_t rank = json_array_size(value);
    if (rank > FDIT_ST_MAX_RANK)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: has %zu dimensions, more than "
                         "%d are not supported", file, t->name, rank, FDIT_ST_MAX_RANK);
    t->rank = (int)rank;
    t->n = 1;
    bool overflow = false;
    for (size_t i = 0; i < rank; i++) {
        const json_t *side = json_array_get(value, i);
        if (!json_is_integer(side))
            return bad_tensor(ctx, file, t->name, "its shape is no list of integers");
        t->shape[i] = json_integer_value(side);
        if (t->shape[i] < 0)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: dimension %zu of its shape "
                             "is negative (%lld); the file is damaged, get it again", file, t->name,
                             i, (long long)t->shape[i]);
        if ((uint64_t)t->shape[i] > SIZE_MAX || !fdit_mul(t->n, (size_t)t->shape[i], &t->n))
            overflow = true;
    }
    if (overflow || !fdit_mul(t->n, types[t->type].bytes, &t->bytes)) {
        char text[128];
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: its shape %s is too large; the "
                         "file is damaged, get it again", file, t->name,
                         fdit_st_shape_text(t->rank, t->shape, text, sizeof text));
    }
    return FDIT_OK;
}

/* data: what follows the header, data_bytes of it. */
static enum fdit_status read_offsets(fdit_context *ctx, const char *file, const json_t *value,
                                     const uint8_t *data, size_t data_bytes,
                                     struct fdit_st_tensor *t)
{
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return bad_tensor(ctx, file, t->name, "data_offsets are no two integers");
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: data_offsets %lld to %lld are "
                         "no range; the file is damaged, get it again", file, t->name,
                         (long long)begin, (long long)end);
    if ((uint64_t)end > data_bytes)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: data_offsets %lld to %lld are "
                         "beyond the %zu bytes of numbers in the file; it is cut off or damaged, "
                         "get it again", file, t->name, (long long)begin, (long long)end,
                         data_bytes);
    if ((uint64_t)(end - begin) != t->bytes) {
        char text[128];
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: shape %s of %s needs %zu bytes, "
                         "data_offsets give %lld; the file is damaged, get it again", file, t->name,
                         fdit_st_shape_text(t->rank, t->shape, text, sizeof text),
                         types[t->type].name, t->bytes, (long long)(end - begin));
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
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: its bytes from %zu lie on "
                             "those of %.200s, which end at %zu; the file is damaged, get it again",
                             file, t[i].name, begin, t[i - 1].name, at);
        if (begin > at)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: begins at %zu, but the "
                             "bytes before it end at %zu; the file is damaged, get it again", file,
                             t[i].name, begin, at);
        at = begin + t[i].bytes;
    }
    if (at != data_bytes)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %zu bytes follow the last tensor; the file is "
                         "damaged, get it again", file, data_bytes - at);
    return FDIT_OK;
}

static enum fdit_status find_header(fdit_context *ctx, const char *file, const uint8_t *bytes,
                                    size_t n, size_t *header)
{
    uint64_t length = 0;
    if (n < 8)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: is no safetensors file: it has %zu bytes, the "
                         "length field alone has 8; get it again", file, n);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > n - 8)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the header should have %ju bytes, but %zu "
                         "follow; the file is cut off or no safetensors file, get it again", file,
                         (uintmax_t)length, n - 8);
    if (length > MAX_HEADER)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: a header of %ju bytes is beyond the format's "
                         "limit of %d; the file is damaged, get it again", file, (uintmax_t)length,
                         MAX_HEADER);
    if (length == 0 || bytes[8] != '{')
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the header is no JSON object; the file is "
                         "damaged or no safetensors file, get it again", file);
    *header = (size_t)length;
    return FDIT_OK;
}

static enum fdit_status parse_header(fdit_context *ctx, const char *file, const char *text,
                                     size_t n, json_t **out)
{
    enum fdit_status status = fdit_json_parse(ctx, file, text, n, 8, out);
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
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: __metadata__ is no JSON object; the file is "
                         "damaged, get it again", file);
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: __metadata__ %.200s is no text; the file "
                             "is damaged, get it again", file, key);
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
    struct fdit_st_tensor *more = NULL;
    const char *name;
    json_t *info;
    TRY(find_header(ctx, file, bytes, n, &header));
    const uint8_t *data = bytes + 8 + header;
    size_t data_bytes = n - 8 - header, count = 0;
    json_t *root = NULL;
    TRY(parse_header(ctx, file, (const char *)bytes + 8, header, &root));
    st->shards[which].header = root;
    TRY(fdit_alloc(ctx, st->n + json_object_size(root), sizeof *more, &more));
    if (st->n)
        memcpy(more, st->tensors, st->n * sizeof *more);
    json_object_foreach(root, name, info) {
        if (strcmp(name, "__metadata__") == 0) {
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
            TRY(bad_tensor(ctx, file, name, "its entry in the header is no JSON object"));
        TRY(read_type(ctx, file, name, json_object_get(info, "dtype"), &t->type));
        TRY(read_shape(ctx, file, json_object_get(info, "shape"), t));
        TRY(read_offsets(ctx, file, json_object_get(info, "data_offsets"), data, data_bytes, t));
    }
    if (count)
        qsort(more + st->n, count, sizeof *more, by_offset);
    TRY(check_layout(ctx, file, data, data_bytes, more + st->n, count));
    fdit_free(st->tensors);
    st->tensors = more;
    st->n += count;
    more = NULL;
out:
    fdit_free(more);
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
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is in two of its files; get them again",
                 st->path, st->by_name[i]->name);
out:
    return status;
}

enum fdit_status fdit_safetensors_open_memory(fdit_context *ctx, const char *name,
                                              const uint8_t *bytes, size_t n,
                                              struct fdit_safetensors **out)
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

static int by_text(const void *pa, const void *pb)
{
    const char *const *a = pa, *const *b = pb;
    return strcmp(*a, *b);
}

/* The distinct file names of the weight map, sorted; they point into the map. */
static enum fdit_status shard_names(fdit_context *ctx, const char *path, json_t *map,
                                    const char ***out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const char **names = NULL, *key;
    size_t count = 0, distinct = 0;
    json_t *value;
    TRY(fdit_alloc(ctx, json_object_size(map), sizeof *names, &names));
    json_object_foreach(map, key, value) {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/') || strcmp(name, "..") == 0)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: its file must be the name of one in "
                 "the same folder; the index is damaged, get it again", path, key);
        names[count++] = name;
    }
    if (count)
        qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[distinct - 1]) != 0)
            names[distinct++] = names[i];
    *out = names;
    *n = distinct;
    names = NULL;
out:
    fdit_free(names);
    return status;
}

static enum fdit_status check_weight_map(fdit_context *ctx, const struct fdit_safetensors *st,
                                         json_t *map, const char **names)
{
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) {
        const struct fdit_st_tensor *t = fdit_safetensors_find(st, key);
        if (!t || strcmp(names[t->file], json_string_value(value)) != 0)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is not in %.200s; index and "
                             "files do not belong together, get them again", st->path, key,
                             json_string_value(value));
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
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no weight_map; it is no index of safetensors files",
             st->path);
    TRY(shard_names(ctx, st->path, map, &names, &n));
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

enum fdit_status fdit_safetensors_open(fdit_context *ctx, const char *path,
                                       struct fdit_safetensors **out)
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

const struct fdit_st_tensor *fdit_safetensors_find(const struct fdit_safetensors *st,
                                                   const char *name)
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
                                              const struct fdit_st_tensor *t, int rank,
                                              const int64_t *shape)
{
    bool same = rank < 0 || rank == t->rank;
    for (int i = 0; same && i < rank; i++)
        same = shape[i] < 0 || shape[i] == t->shape[i];
    if (same)
        return FDIT_OK;
    char got[128], want[128];
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s has the shape %s, this model needs "
                     "%s; is it the file of another model size?", st->path, t->name,
                     fdit_st_shape_text(t->rank, t->shape, got, sizeof got),
                     fdit_st_shape_text(rank, shape, want, sizeof want));
}

enum fdit_status fdit_safetensors_need(fdit_context *ctx, const struct fdit_safetensors *st,
                                       const char *name, int rank, const int64_t *shape,
                                       const struct fdit_st_tensor **out)
{
    *out = fdit_safetensors_find(st, name);
    if (!*out)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is missing among its %zu; is it "
                         "a checkpoint of this kind of model?", st->path, name, st->n);
    return fdit_safetensors_check_shape(ctx, st, *out, rank, shape);
}

void fdit_safetensors_drop(const struct fdit_safetensors *st, const struct fdit_st_tensor *t)
{
    fdit_file_map_drop(&st->shards[t->file].map, t->data, t->bytes);
}

/* ------------------------------------------------------------------ numbers */

static enum fdit_status check_range(fdit_context *ctx, const struct fdit_safetensors *st,
                                    const struct fdit_st_tensor *t, size_t first, size_t n)
{
    if (first > t->n || n > t->n - first)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s: tensor %.200s has %zu numbers, %zu from %zu "
                         "were asked for", st->path, t->name, t->n, n, first);
    return FDIT_OK;
}

static uint64_t load_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void load_u16(const uint8_t *p, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
}

static void load_f32(const uint8_t *p, size_t n, float *out)
{
    const union {
        uint32_t word;
        uint8_t bytes[4];
    } order = { .word = 1 };
    if (order.bytes[0]) {
        if (n)
            memcpy(out, p, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t v = (uint32_t)load_le(p + 4 * i, 4);
        memcpy(out + i, &v, sizeof v);
    }
}

static void load_f64(const uint8_t *p, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = load_le(p + 8 * i, 8);
        double d;
        memcpy(&d, &v, sizeof d);
        out[i] = (float)d;
    }
}

enum fdit_status fdit_safetensors_f32(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n,
                                      float *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(check_range(ctx, st, t, first, n));
    const uint8_t *p = t->data + first * types[t->type].bytes;
    if (t->type == FDIT_ST_F32) {
        load_f32(p, n, out);
    } else if (t->type == FDIT_ST_F64) {
        load_f64(p, n, out);
    } else if (t->type == FDIT_ST_F16 || t->type == FDIT_ST_BF16) {
        for (size_t i = 0; i < n; i += CHUNK) {
            uint16_t raw[CHUNK];
            size_t m = n - i < CHUNK ? n - i : CHUNK;
            load_u16(p + 2 * i, m, raw);
            (t->type == FDIT_ST_F16 ? fdit_f16_to_f32 : fdit_bf16_to_f32)(m, raw, out + i);
        }
    } else {
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is of type %s, weights must be F32, F16, "
             "BF16 or F64; convert it", st->path, t->name, types[t->type].name);
    }
out:
    return status;
}

/* The sum has its top bit set where the exponent is all ones. */
static bool all_finite(const float *x, size_t n)
{
    uint32_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        any |= (bits & 0x7fffffff) + 0x00800000;
    }
    return !(any >> 31);
}

static enum fdit_status refuse_nonfinite(fdit_context *ctx, const struct fdit_safetensors *st,
                                         const struct fdit_st_tensor *t, size_t first,
                                         const float *x, size_t n)
{
    if (all_finite(x, n))
        return FDIT_OK;
    size_t i = 0, bad = 0;
    while (isfinite(x[i]))
        i++;
    for (size_t j = i; j < n; j++)
        bad += !isfinite(x[j]);
    return fdit_fail(ctx, FDIT_ERROR_NUMERIC, "%s: tensor %.200s is not finite: element %zu of %zu "
                     "is %s (%zu such here); the training that wrote it diverged or the file is "
                     "damaged, take an earlier checkpoint", st->path, t->name, first + i, t->n,
                     isnan(x[i]) ? "NaN" : "infinity", bad);
}

enum fdit_status fdit_safetensors_weights(fdit_context *ctx, const struct fdit_safetensors *st,
                                          const struct fdit_st_tensor *t, size_t first, size_t n,
                                          float *out)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < n || i == 0; i += CHUNK) { /* checked while it is in the cache */
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        TRY(fdit_safetensors_f32(ctx, st, t, first + i, m, out + i));
        TRY(refuse_nonfinite(ctx, st, t, first + i, out + i, m));
    }
out:
    return status;
}

enum fdit_status fdit_safetensors_check_finite(fdit_context *ctx, const struct fdit_safetensors *st,
                                               const struct fdit_st_tensor *t)
{
    enum fdit_status status = FDIT_OK;
    float x[CHUNK];
    for (size_t i = 0; i < t->n || i == 0; i += CHUNK)
        TRY(fdit_safetensors_weights(ctx, st, t, i, t->n - i < CHUNK ? t->n - i : CHUNK, x));
out:
    return status;
}

enum fdit_status fdit_safetensors_i64(fdit_context *ctx, const struct fdit_safetensors *st,
                                      const struct fdit_st_tensor *t, size_t first, size_t n,
                                      int64_t *out)
{
    enum fdit_status status = FDIT_OK;
    int bytes = types[t->type].bytes;
    bool is_signed = t->type == FDIT_ST_I8 || t->type == FDIT_ST_I16 || t->type == FDIT_ST_I32 ||
                     t->type == FDIT_ST_I64;
    bool is_unsigned = t->type == FDIT_ST_BOOL || t->type == FDIT_ST_U8 ||
                       t->type == FDIT_ST_U16 || t->type == FDIT_ST_U32 || t->type == FDIT_ST_U64;
    TRY(check_range(ctx, st, t, first, n));
    if (!is_signed && !is_unsigned)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s is of type %s where integers are needed",
             st->path, t->name, types[t->type].name);
    for (size_t i = 0; i < n; i++) {
        uint64_t v = load_le(t->data + (first + i) * (size_t)bytes, bytes);
        if (is_signed && v >> (8 * bytes - 1))
            v |= bytes == 8 ? 0 : ~UINT64_C(0) << (8 * bytes);
        else if (v > INT64_MAX)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: tensor %.200s: element %zu is %ju, beyond 2^63 - 1",
                 st->path, t->name, first + i, (uintmax_t)v);
        memcpy(out + i, &v, sizeof v);
    }
out:
    return status;
}
