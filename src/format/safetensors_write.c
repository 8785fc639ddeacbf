/* SPDX-License-Identifier: Apache-2.0
 * The writer: the whole header is known before the first byte, the numbers follow in chunks. */
#include "format/safetensors.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <stdio.h>
#include <string.h>

#define CHUNK 65536 /* elements */

static const char header_name[] = "the header of a safetensors file";

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
    struct fdit_json header; /* in the order of adding; also finds names given twice */
    struct fdit_json meta;
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
    fdit_json_begin(&w->header);
    fdit_json_begin(&w->meta);
    TRY(fdit_json_check(ctx, &w->header, header_name));
    TRY(fdit_json_check(ctx, &w->meta, header_name));
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
    fdit_json_fini(&w->header);
    fdit_json_fini(&w->meta);
    fdit_free(w);
}

enum fdit_status fdit_st_writer_meta(fdit_context *ctx, struct fdit_st_writer *w, const char *key,
                                     const char *value)
{
    if (json_object_get(w->meta.root, key))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "metadata %.200s is given twice", key);
    fdit_json_put_text(&w->meta, NULL, key, value);
    return fdit_json_check(ctx, &w->meta, header_name);
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

static enum fdit_status describe(fdit_context *ctx, struct fdit_json *header, const char *name,
                                 const struct entry *e, uint64_t begin)
{
    json_t *about = fdit_json_put_object(header, NULL, name);
    fdit_json_put_text(header, about, "dtype", fdit_st_type_name(e->type));
    json_t *shape = fdit_json_put_array(header, about, "shape");
    for (int i = 0; i < e->rank; i++)
        fdit_json_put_int(header, shape, NULL, e->shape[i]);
    json_t *offsets = fdit_json_put_array(header, about, "data_offsets");
    fdit_json_put_int(header, offsets, NULL, (int64_t)begin);
    fdit_json_put_int(header, offsets, NULL, (int64_t)(begin + e->bytes));
    return fdit_json_check(ctx, header, header_name);
}

static enum fdit_status add(fdit_context *ctx, struct fdit_st_writer *w, const char *name, int rank,
                            const int64_t *shape, struct entry e)
{
    enum fdit_status status = FDIT_OK;
    e.name = NULL;
    if (rank < 0 || rank > FDIT_ST_MAX_RANK)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s has %d dimensions, 0 to %d are possible", name, rank,
             FDIT_ST_MAX_RANK);
    if (strcmp(name, "__metadata__") == 0 || json_object_get(w->header.root, name))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s is given twice or its name is reserved", name);
    e.rank = rank;
    if (rank)
        memcpy(e.shape, shape, (size_t)rank * sizeof *shape);
    TRY(fdit_strdup(ctx, name, &e.name));
    TRY(measure(ctx, &e));
    if (e.bytes > INT64_MAX - w->data_bytes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: its %zu bytes are too many for one file", name,
             e.bytes);
    TRY(fdit_grow(ctx, &w->entries, &w->capacity, w->n + 1, sizeof *w->entries));
    TRY(describe(ctx, &w->header, name, &e, w->data_bytes));
    w->entries[w->n++] = e;
    w->data_bytes += e.bytes;
    e.name = NULL;
out:
    fdit_free(e.name);
    return status;
}

enum fdit_status fdit_st_writer_f32(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape, const float *data)
{
    if (!fdit_st_is_float(type))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: float32 numbers cannot be stored as %s",
                         name, fdit_st_type_name(type));
    return add(ctx, w, name, rank, shape, (struct entry){ .type = type, .source = SOURCE_F32, .data = data });
}

enum fdit_status fdit_st_writer_raw(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape, const void *data)
{
    return add(ctx, w, name, rank, shape, (struct entry){ .type = type, .source = SOURCE_RAW, .data = data });
}

enum fdit_status fdit_st_writer_fill(fdit_context *ctx, struct fdit_st_writer *w, const char *name,
                                     enum fdit_st_type type, int rank, const int64_t *shape,
                                     fdit_st_fill fill, void *user)
{
    return add(ctx, w, name, rank, shape,
               (struct entry){ .type = type, .source = SOURCE_FILL, .fill = fill, .user = user });
}

/* Where the header's text goes: into the file, or nowhere, to be counted. */
struct pour {
    fdit_context *ctx;
    struct fdit_writer *f;
    size_t n;
    enum fdit_status status;
};

static int pour(const char *bytes, size_t n, void *user)
{
    struct pour *p = user;
    p->n += n;
    if (p->f && p->status == FDIT_OK)
        p->status = fdit_writer_write(p->ctx, p->f, bytes, n);
    return p->status == FDIT_OK ? 0 : -1;
}

/* The header, of *n bytes: its length in 8 bytes and its text, padded with spaces to a multiple of 8.
 * The text is not made before: the classes in it may be many. */
static enum fdit_status pour_header(fdit_context *ctx, const struct fdit_st_writer *w, struct fdit_writer *f,
                                    uint64_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json all;
    struct pour count = { .ctx = ctx }, text = { .ctx = ctx, .f = f };
    const char *key;
    uint8_t length[8];
    json_t *value;
    fdit_json_begin(&all);
    if (json_object_size(w->meta.root))
        fdit_json_put(&all, NULL, "__metadata__", json_incref(w->meta.root));
    json_object_foreach(w->header.root, key, value)
    {
        fdit_json_put(&all, NULL, key, json_incref(value));
    }
    TRY(fdit_json_check(ctx, &all, header_name));
    if (json_dump_callback(all.root, pour, &count, JSON_COMPACT))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for %s", header_name);
    const size_t padded = (count.n + 7) / 8 * 8;
    *n = 8 + padded;
    if (!f)
        goto out;
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    TRY(fdit_writer_write(ctx, f, length, sizeof length));
    const int code = json_dump_callback(all.root, pour, &text, JSON_COMPACT);
    TRY(text.status);
    if (code)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for %s", header_name);
    TRY(fdit_writer_write(ctx, f, "       ", padded - count.n));
out:
    fdit_json_fini(&all);
    return status;
}

uint64_t fdit_st_writer_bytes(const struct fdit_st_writer *w)
{
    uint64_t n = 8;
    if (pour_header(NULL, w, NULL, &n) != FDIT_OK)
        n = 8;
    return n + w->data_bytes;
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
            TRY(fdit_st_check_fits(ctx, e->name, e->type, first, (const float *)e->data + first, n));
            fdit_st_store(e->type, (const float *)e->data + first, n, stored);
        } else if (fdit_st_is_float(e->type)) {
            TRY(e->fill(ctx, e->user, first, n, values));
            TRY(fdit_st_check_fits(ctx, e->name, e->type, first, values, n));
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
    float *values = NULL;
    uint8_t *stored = NULL;
    uint64_t n;
    TRY(fdit_alloc(ctx, CHUNK, sizeof *values, &values));
    TRY(fdit_alloc(ctx, CHUNK, 8, &stored));
    TRY(fdit_writer_open(ctx, path, true, &f));
    TRY(pour_header(ctx, w, f, &n));
    for (size_t i = 0; i < w->n; i++)
        TRY(write_entry(ctx, f, &w->entries[i], values, stored));
    TRY(fdit_writer_commit(ctx, &f));
out:
    fdit_writer_abort(f);
    fdit_free(stored);
    fdit_free(values);
    return status;
}
