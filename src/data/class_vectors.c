/* SPDX-License-Identifier: Apache-2.0 */
#include "data/class_vectors.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/kind.h"
#include "format/npz.h"
#include "format/safetensors.h"
#include "format/text_file.h"

#include <math.h>
#include <string.h>

enum { MOST_WIDTH = 1 << 20 };

static enum fdit_status add_name(fdit_context *ctx, struct fdit_class_vectors *v, const char *name, size_t n)
{
    enum fdit_status status = FDIT_OK;
    bool added;
    size_t id;
    TRY(fdit_names_add(ctx, &v->names, name, n, &id, &added));
    if (!added)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: names \"%.*s\" twice (rows %zu and %zu); keep one vector of a class", v->path, (int)n, name,
             id + 1, v->names.n + 1);
out:
    return status;
}

/* ------------------------------------------------------------------ names beside a matrix */

/* vectors.npy: vectors.txt */
static enum fdit_status names_path(fdit_context *ctx, const char *path, char **out)
{
    const char *base = fdit_path_base(path), *dot = strrchr(base, '.');
    const size_t kept = dot && dot != base ? (size_t)(dot - path) : strlen(path);
    return fdit_strf(ctx, out, "%.*s.txt", (int)kept, path);
}

static enum fdit_status read_names(fdit_context *ctx, struct fdit_class_vectors *v)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    char *text = NULL;
    size_t n = 0;
    TRY(names_path(ctx, v->path, &path));
    if (!strcmp(path, v->path) || !fdit_is_file(path))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the classes of its vectors are not known; write their names, one a line in the "
             "order of the rows, into %s",
             v->path, path);
    TRY(fdit_text_file_read(ctx, path, "a list of names", FDIT_TEXT_MOST, &text, &n));
    const char *at = text, *end = at + n;
    if (n >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
        at += 3;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        stop = stop ? stop : end;
        while (stop > at && stop[-1] == '\r')
            stop--;
        if (stop == at && next == end)
            break;
        if (stop == at)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: line %zu is empty; write one name a line", path,
                 v->names.n + 1);
        TRY(add_name(ctx, v, at, (size_t)(stop - at)));
        at = next;
    }
out:
    fdit_free(text);
    fdit_free(path);
    return status;
}

static enum fdit_status parse_names(fdit_context *ctx, struct fdit_class_vectors *v, const char *text)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL, *name;
    size_t i;
    TRY(fdit_json_parse(ctx, v->path, text, strlen(text), 4, &root));
    if (!json_is_array(root))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: its metadata \"names\" is not a list of names", v->path);
    json_array_foreach(root, i, name)
    {
        if (!json_is_string(name))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: entry %zu of its metadata \"names\" is not a text", v->path,
                 i + 1);
        TRY(add_name(ctx, v, json_string_value(name), json_string_length(name)));
    }
out:
    json_decref(root);
    return status;
}

/* ------------------------------------------------------------------ numbers */

static enum fdit_status check_finite(fdit_context *ctx, const struct fdit_class_vectors *v)
{
    const size_t d = (size_t)v->width;
    for (size_t i = 0; i < v->names.n * d; i++)
        if (!isfinite(v->data[i]))
            return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                             "%s: number %zu of the vector of \"%s\" is not finite; correct it", v->path,
                             i % d, fdit_names_get(&v->names, i / d));
    return FDIT_OK;
}

/* A width that a vector may have, and memory for n of them. */
static enum fdit_status make_room(fdit_context *ctx, struct fdit_class_vectors *v, int64_t n, int64_t width)
{
    enum fdit_status status = FDIT_OK;
    size_t count;
    if (n < 1 || width < 1 || width > MOST_WIDTH)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: holds %lld vectors of %lld numbers; a vector has 1 to %d", v->path,
             (long long)n, (long long)width, MOST_WIDTH);
    if (!fdit_mul((size_t)n, (size_t)width, &count))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory");
    v->width = (int)width;
    TRY(fdit_alloc(ctx, count, sizeof *v->data, &v->data));
out:
    return status;
}

/* The names of the rows of a matrix; `list` NULL: in a text beside it. */
static enum fdit_status name_rows(fdit_context *ctx, struct fdit_class_vectors *v, int64_t rows,
                                  const char *list)
{
    enum fdit_status status = FDIT_OK;
    TRY(list ? parse_names(ctx, v, list) : read_names(ctx, v));
    if (v->names.n != (size_t)rows)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has %lld vectors and %zu names; give each vector its name", v->path,
             (long long)rows, v->names.n);
out:
    return status;
}

static enum fdit_status open_npy(fdit_context *ctx, struct fdit_class_vectors *v)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_npz *z = NULL;
    char shape[64];
    TRY(fdit_npz_open(ctx, v->path, &z));
    const struct fdit_st_tensor *t = fdit_npz_at(z, 0);
    if (t->rank != 2)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: holds an array %s; save one of [classes, width]", v->path,
             fdit_st_shape_text(t->rank, t->shape, shape, sizeof shape));
    TRY(name_rows(ctx, v, t->shape[0], NULL));
    TRY(make_room(ctx, v, t->shape[0], t->shape[1]));
    TRY(fdit_npz_f32(ctx, z, t, v->data));
out:
    fdit_npz_close(z);
    return status;
}

static enum fdit_status one_matrix(fdit_context *ctx, struct fdit_class_vectors *v,
                                   const struct fdit_safetensors *st)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t = fdit_safetensors_at(st, 0);
    TRY(name_rows(ctx, v, t->shape[0], fdit_safetensors_meta(st, "names")));
    TRY(make_room(ctx, v, t->shape[0], t->shape[1]));
    TRY(fdit_safetensors_f32(ctx, st, t, 0, t->n, v->data));
out:
    return status;
}

static enum fdit_status open_safetensors(fdit_context *ctx, struct fdit_class_vectors *v)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    char shape[64];
    TRY(fdit_safetensors_open(ctx, v->path, &st));
    const size_t n = fdit_safetensors_count(st);
    const struct fdit_st_tensor *first = n ? fdit_safetensors_at(st, 0) : NULL;
    if (n == 1 && first->rank == 2 && (first->shape[0] != 1 || fdit_safetensors_meta(st, "names"))) {
        TRY(one_matrix(ctx, v, st));
        goto out;
    }
    TRY(make_room(ctx, v, (int64_t)n, first ? (int64_t)first->n : 0));
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_safetensors_at(st, i);
        if (t->rank != 1 && !(t->rank == 2 && t->shape[0] == 1))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %s is %s; save a vector for each class, called as the class, or one matrix "
                 "[classes, width]",
                 v->path, t->name, fdit_st_shape_text(t->rank, t->shape, shape, sizeof shape));
        if (t->n != (size_t)v->width)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the vector of \"%s\" has %d numbers, that of \"%s\" %zu; give all the same width",
                 v->path, first->name, v->width, t->name, t->n);
        TRY(add_name(ctx, v, t->name, strlen(t->name)));
        TRY(fdit_safetensors_f32(ctx, st, t, 0, t->n, v->data + i * t->n));
    }
out:
    fdit_safetensors_close(st);
    return status;
}

enum fdit_status fdit_class_vectors_open(fdit_context *ctx, const char *path, struct fdit_class_vectors *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_class_vectors v = { .width = 0 };
    enum fdit_kind kind;
    *out = v;
    TRY(fdit_kind_of_file(ctx, path, &kind));
    TRY(fdit_strdup(ctx, path, &v.path));
    if (kind == FDIT_KIND_NPY)
        TRY(open_npy(ctx, &v));
    else if (kind == FDIT_KIND_SAFETENSORS)
        TRY(open_safetensors(ctx, &v));
    else
        TRY(fdit_kind_refuse(ctx, path, kind, "vectors of classes (.npy or safetensors)",
                             "save them with numpy.save or safetensors"));
    TRY(check_finite(ctx, &v));
    *out = v;
    v = (struct fdit_class_vectors){ .width = 0 };
out:
    fdit_class_vectors_fini(&v);
    return status;
}

void fdit_class_vectors_fini(struct fdit_class_vectors *v)
{
    fdit_names_fini(&v->names);
    fdit_free(v->data);
    fdit_free(v->path);
    *v = (struct fdit_class_vectors){ .width = 0 };
}

/* ------------------------------------------------------------------ classes */

enum fdit_status fdit_class_vectors_match(fdit_context *ctx, const struct fdit_class_vectors *v,
                                          const struct fdit_taxonomy *tax, int32_t **at)
{
    enum fdit_status status = FDIT_OK;
    const int32_t classes = fdit_taxonomy_n_classes(tax);
    struct fdit_name_list unknown = { 0 }, lacking = { 0 };
    int32_t *rows = NULL;
    *at = NULL;
    TRY(fdit_alloc(ctx, (size_t)classes, sizeof *rows, &rows));
    for (int32_t c = 0; c < classes; c++)
        rows[c] = -1;
    for (size_t i = 0; i < v->names.n; i++) {
        const char *name = fdit_names_get(&v->names, i);
        const int32_t c = fdit_taxonomy_find_class(tax, name);
        if (c < 0) {
            fdit_name_list_add(&unknown, name, NULL);
            continue;
        }
        if (rows[c] >= 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: \"%s\" and \"%s\" are one class; keep one vector of it",
                 v->path, fdit_names_get(&v->names, (size_t)rows[c]), name);
        rows[c] = (int32_t)i;
    }
    for (int32_t c = 0; c < classes; c++)
        if (rows[c] < 0)
            fdit_name_list_add(&lacking, fdit_taxonomy_class_name(tax, c), NULL);
    if (lacking.n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: has no vector for %zu of the %d classes (%s); add them", v->path,
             lacking.n, classes, fdit_name_list_text(&lacking));
    if (unknown.n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: %zu of its %zu vectors do not belong to a class here (%s); leave them out of the file",
             v->path, unknown.n, v->names.n, fdit_name_list_text(&unknown));
    *at = rows;
    rows = NULL;
out:
    fdit_free(rows);
    return status;
}

enum fdit_status fdit_class_vectors_scale(fdit_context *ctx, struct fdit_class_vectors *v)
{
    const size_t d = (size_t)v->width;
    for (size_t i = 0; i < v->names.n; i++) {
        float *x = v->data + i * d;
        double squares = 0;
        for (size_t k = 0; k < d; k++)
            squares += (double)x[k] * x[k];
        if (!(squares > 0))
            return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                             "%s: the vector of \"%s\" is zero, which has no direction; correct it", v->path,
                             fdit_names_get(&v->names, i));
        for (size_t k = 0; k < d; k++)
            x[k] = (float)(x[k] / sqrt(squares));
    }
    return FDIT_OK;
}
