/* SPDX-License-Identifier: Apache-2.0
 * The writer: the whole header is known before the first byte, the numbers follow in chunks. */
#include "format/safetensors.h"

#include "core/file.h"
#include "core/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 65536 /* elements */

enum source { SOURCE_F32, SOURCE_RAW, SOURCE_FILL };

struct entry {
    char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[FDIT_ST_MAX_RANK];
    size_t n, bytes;
    enum source source;
    const void *data;
    fdit_st_fill fill;
    void *user;
};

struct fdit_st_writer {
    json_t *header; /* in the order of adding; also finds names given twice */
    json_t *meta;   /* inside header, NULL: none yet */
    struct entry *entries;
    size_t n, capacity;
    uint64_t data_bytes;
};

enum fdit_status fdit_st_writer_new(fdit_context *ctx, struct fdit_st_writer **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    w->header = json_object();
    w->meta = json_object();
    if (!w->header || !w->meta)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the header of a safetensors file");
    *out = w;
    w = NULL;
out:
    fdit_st_writer_free(w);
    return status;
}

void fdit_st_writer_free(struct fdit_st_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        fdit_free(w->entries[i].name);
    fdit_free(w->entries);
    json_decref(w->header);
    json_decref(w->meta);
    fdit_free(w);
}

enum fdit_status fdit_st_writer_meta(fdit_context *ctx, struct fdit_st_writer *w, const char *key,
                                     const char *value)
{
    if (json_object_get(w->meta, key))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "metadata %.200s is given twice", key);
    json_t *text = json_string(value); /* NULL: no UTF-8, or memory is short */
    if (!text || json_object_set_new(w->meta, key, text) != 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "metadata %.200s is no UTF-8 text", key);
    return FDIT_OK;
}

static enum fdit_status measure(fdit_context *ctx, struct entry *e)
{
    e->n = 1;
    for (int i = 0; i < e->rank; i++)
        if (e->shape[i] < 0 || (uint64_t)e->shape[i] > SIZE_MAX ||
            !fdit_mul(e->n, (size_t)e->shape[i], &e->n))
            goto bad;
    if (fdit_mul(e->n, fdit_st_type_bytes(e->type), &e->bytes))
        return FDIT_OK;
bad:;
    char text[128];
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s cannot have the shape %s", e->name,
                     fdit_st_shape_text(e->rank, e->shape, text, sizeof text));
}

static json_t *describe(const struct entry *e, uint64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < e->rank; i++)
        if (shape && json_array_append_new(shape, json_integer(e->shape[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    if (!shape)
        return NULL;
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", fdit_st_type_name(e->type), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + e->bytes));
}

static enum fdit_status add(fdit_context *ctx, struct fdit_st_writer *w, const char *name, int rank,
                            const int64_t *shape, struct entry e)
{
    enum fdit_status status = FDIT_OK;
    e.name = NULL;
    if (rank < 0 || rank > FDIT_ST_MAX_RANK)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s has %d dimensions, 0 to %d are possible", name,
             rank, FDIT_ST_MAX_RANK);
    if (strcmp(name, "__metadata__") == 0 || json_object_get(w->header, name))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s is given twice or its name is reserved", name);
    e.rank = rank;
    if (rank)
        memcpy(e.shape, shape, (size_t)rank * sizeof *shape);
    TRY(fdit_strdup(ctx, name, &e.name));
    TRY(measure(ctx, &e));
    if (e.bytes > INT64_MAX - w->data_bytes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: its %zu bytes are too many for one file",
             name, e.bytes);
    TRY(fdit_grow(ctx, &w->entries, &w->capacity, w->n + 1, sizeof *w->entries));
    if (json_object_set_new(w->header, name, describe(&e, w->data_bytes)) != 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: the name is no UTF-8 text", name);
    w->entries[w->n++] = e;
    w->data_bytes += e.bytes;
    e.name = NULL;
out:
    fdit_free(e.name);
    return status;
}

enum fdit_status fdit_st_writer_f32(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape,
                                    const float *data)
{
    if (!fdit_st_is_float(type))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: float32 numbers cannot be stored "
                         "as %s", name, fdit_st_type_name(type));
    return add(ctx, w, name, rank, shape,
               (struct entry){ .type = type, .source = SOURCE_F32, .data = data });
}

enum fdit_status fdit_st_writer_raw(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape,
                                    const void *data)
{
    return add(ctx, w, name, rank, shape,
               (struct entry){ .type = type, .source = SOURCE_RAW, .data = data });
}

enum fdit_status fdit_st_writer_fill(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                     enum fdit_st_type type, int rank, const int64_t *shape,
                                     fdit_st_fill fill, void *user)
{
    return add(ctx, w, name, rank, shape,
               (struct entry){ .type = type, .source = SOURCE_FILL, .fill = fill, .user = user });
}

/* The header's text padded with spaces to a multiple of 8. */
static enum fdit_status header_text(fdit_context *ctx, const struct fdit_st_writer *w, char **out,
                                    size_t *n)
{
    enum fdit_status status = FDIT_OK;
    json_t *all = NULL;
    char *text = NULL;
    size_t room;
    *out = NULL;
    all = json_object();
    if (!all || (json_object_size(w->meta) && json_object_set(all, "__metadata__", w->meta) != 0) ||
        json_object_update(all, w->header) != 0)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the header of a safetensors file");
    room = json_dumpb(all, NULL, 0, JSON_COMPACT);
    if (room == 0)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the header of a safetensors file");
    size_t padded = (room + 7) / 8 * 8;
    TRY(fdit_alloc(ctx, padded, 1, &text));
    memset(text, ' ', padded);
    json_dumpb(all, text, room, JSON_COMPACT);
    *out = text;
    *n = padded;
out:
    json_decref(all);
    return status;
}

uint64_t fdit_st_writer_bytes(const struct fdit_st_writer *w)
{
    char *text = NULL;
    size_t n = 0;
    if (header_text(NULL, w, &text, &n) != FDIT_OK)
        n = 0;
    fdit_free(text);
    return 8 + n + w->data_bytes;
}

/* values: room for CHUNK floats; stored: for CHUNK elements of 8 bytes. */
static enum fdit_status write_entry(fdit_context *ctx, struct fdit_writer *f, const struct entry *e,
                                    float *values, uint8_t *stored)
{
    enum fdit_status status = FDIT_OK;
    size_t size = fdit_st_type_bytes(e->type);
    for (size_t first = 0; first < e->n; first += CHUNK) {
        size_t n = e->n - first < CHUNK ? e->n - first : CHUNK;
        if (e->source == SOURCE_RAW) {
            memcpy(stored, (const uint8_t *)e->data + first * size, n * size);
            fdit_st_swap(e->type, n, stored);
        } else if (e->source == SOURCE_F32) {
            fdit_st_store(e->type, (const float *)e->data + first, n, stored);
        } else if (fdit_st_is_float(e->type)) {
            TRY(e->fill(ctx, e->user, first, n, values));
            fdit_st_store(e->type, values, n, stored);
        } else {
            TRY(e->fill(ctx, e->user, first, n, stored));
            fdit_st_swap(e->type, n, stored);
        }
        TRY(fdit_writer_write(ctx, f, stored, n * size));
    }
out:
    return status;
}

enum fdit_status fdit_st_writer_save(fdit_context *ctx, struct fdit_st_writer *w, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *f = NULL;
    char *header = NULL;
    float *values = NULL;
    uint8_t *stored = NULL, length[8];
    size_t n = 0;
    TRY(header_text(ctx, w, &header, &n));
    TRY(fdit_alloc(ctx, CHUNK, sizeof *values, &values));
    TRY(fdit_alloc(ctx, CHUNK, 8, &stored));
    TRY(fdit_writer_open(ctx, path, true, &f));
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)n >> 8 * i);
    TRY(fdit_writer_write(ctx, f, length, sizeof length));
    TRY(fdit_writer_write(ctx, f, header, n));
    for (size_t i = 0; i < w->n; i++)
        TRY(write_entry(ctx, f, &w->entries[i], values, stored));
    TRY(fdit_writer_commit(ctx, &f));
out:
    fdit_writer_abort(f);
    fdit_free(stored);
    fdit_free(values);
    fdit_free(header);
    return status;
}
