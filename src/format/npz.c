/* SPDX-License-Identifier: Apache-2.0
 * The layout of an array: numpy/lib/format.py. */
#include "format/npz.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/little.h"
#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "\x93NUMPY"

enum { MOST_HEADER = 1 << 16 };

struct member {
    struct fdit_st_tensor t;
    char *name;
    int64_t *stride; /* Fortran order; NULL: C order */
    struct fdit_zip_member packed;
    size_t header; /* unpacked bytes before the numbers */
};

struct fdit_npz {
    struct fdit_file_map map;
    char *file;
    struct fdit_zip *zip;
    const uint8_t *alone; /* the bytes of one array without an archive; NULL: there is an archive */
    struct member *members;
    size_t n;
};

/* The first n bytes of a member. */
static enum fdit_status unpack(fdit_context *ctx, const struct fdit_npz *z, const struct member *m,
                               uint8_t *out, size_t n)
{
    if (!z->alone)
        return fdit_zip_unpack(ctx, z->zip, &m->packed, out, n);
    memcpy(out, z->alone, n);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ headers of arrays */

static bool find_type(const char *descr, size_t n, enum fdit_st_type *out)
{
    static const struct {
        const char *descr;
        enum fdit_st_type type;
    } types[] = {
        { "<f2", FDIT_ST_F16 }, { "<f4", FDIT_ST_F32 }, { "<f8", FDIT_ST_F64 }, { "<i8", FDIT_ST_I64 },
        { "<i4", FDIT_ST_I32 }, { "<i2", FDIT_ST_I16 }, { "|i1", FDIT_ST_I8 },  { "|u1", FDIT_ST_U8 },
        { "<u2", FDIT_ST_U16 }, { "<u4", FDIT_ST_U32 }, { "<u8", FDIT_ST_U64 }, { "|b1", FDIT_ST_BOOL },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (n == 3 && !strncmp(types[i].descr, descr, n)) {
            *out = types[i].type;
            return true;
        }
    return false;
}

/* The text behind 'key': in the dictionary, NULL: none. */
static const char *value_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    if (!at)
        return NULL;
    at += strlen(key);
    while (*at == ' ')
        at++;
    if (*at != ':')
        return NULL;
    at++;
    while (*at == ' ')
        at++;
    return at;
}

/* "(2048,)", "(50000, 2048)", "()": false for anything else, and for more numbers than memory can have. */
static bool read_shape(const char *at, struct fdit_st_tensor *t)
{
    size_t n = 1;
    if (*at++ != '(')
        return false;
    while (*at != ')') {
        char *end;
        if (*at < '0' || *at > '9' || t->rank == FDIT_ST_MAX_RANK)
            return false;
        unsigned long long v = strtoull(at, &end, 10);
        if (end - at > 18 || !fdit_mul(n, (size_t)v, &n))
            return false;
        t->shape[t->rank++] = (int64_t)v;
        at = end;
        while (*at == ' ' || *at == ',' || *at == 'L')
            at++;
    }
    t->n = n;
    return fdit_mul(n, fdit_st_type_bytes(t->type), &t->bytes);
}

/* {'descr': '<f8', 'fortran_order': False, 'shape': (2048, 2048), } */
static enum fdit_status read_dictionary(fdit_context *ctx, const struct fdit_npz *z, struct member *m,
                                        const char *text)
{
    enum fdit_status status = FDIT_OK;
    const char *descr = value_of(text, "'descr'"), *order = value_of(text, "'fortran_order'");
    const char *shape = value_of(text, "'shape'");
    const char *end = descr && *descr == '\'' ? strchr(descr + 1, '\'') : NULL;
    if (!descr || !order || !shape)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: array %s has no header of numpy; get it again", z->file, m->name);
    if (!end || !find_type(descr + 1, (size_t)(end - descr - 1), &m->t.type))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: array %s holds %.*s, which is not read; save it as float32 or float64", z->file, m->name,
             end && end - descr < 40 ? (int)(end - descr) + 1 : 20, descr);
    if (!read_shape(shape, &m->t) || m->t.bytes != m->packed.bytes - m->header)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: array %s has %zu bytes, which is not what its shape says; get it again", z->file, m->name,
             m->packed.bytes - m->header);
    if (strncmp(order, "True", 4) != 0 || m->t.rank < 2 || !m->t.n)
        goto out;
    TRY(fdit_alloc(ctx, (size_t)m->t.rank, sizeof *m->stride, &m->stride));
    for (int64_t k = 0, step = 1; k < m->t.rank; k++) {
        m->stride[k] = step;
        step *= m->t.shape[k];
    }
    m->t.stride = m->stride;
out:
    return status;
}

static enum fdit_status read_header(fdit_context *ctx, const struct fdit_npz *z, struct member *m)
{
    enum fdit_status status = FDIT_OK;
    uint8_t start[12];
    char *text = NULL;
    if (m->packed.bytes < sizeof start)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: array %s is cut off; get it again", z->file, m->name);
    TRY(unpack(ctx, z, m, start, sizeof start));
    if (memcmp(start, MAGIC, 6) != 0 || start[6] < 1 || start[6] > 3)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: member %s is not an array of numpy; take one that numpy.savez wrote", z->file, m->name);
    size_t before = start[6] == 1 ? 10 : 12,
           length = start[6] == 1 ? fdit_get16(start + 8) : fdit_get32(start + 8);
    if (length > MOST_HEADER || length > m->packed.bytes - before)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the header of array %s is too long; get it again", z->file,
             m->name);
    m->header = before + length;
    TRY(fdit_alloc(ctx, m->header + 1, 1, &text));
    TRY(unpack(ctx, z, m, (uint8_t *)text, m->header));
    TRY(read_dictionary(ctx, z, m, text + before));
out:
    fdit_free(text);
    return status;
}

/* ------------------------------------------------------------------ the archive */

static enum fdit_status read_member(fdit_context *ctx, struct fdit_npz *z, size_t i)
{
    enum fdit_status status = FDIT_OK;
    struct member *m = &z->members[z->n++];
    const char *name = fdit_zip_name(z->zip, i);
    size_t length = strlen(name),
           kept = length >= 4 && !strcmp(name + length - 4, ".npy") ? length - 4 : length;
    TRY(fdit_strndup(ctx, name, kept, &m->name));
    m->t.name = m->name;
    TRY(fdit_zip_place(ctx, z->zip, i, &m->packed));
    if (m->packed.method == FDIT_ZIP_OTHER)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: %s is encrypted, or packed in a way that numpy does not; save it with numpy.savez", z->file,
             m->name);
    TRY(read_header(ctx, z, m));
out:
    return status;
}

enum fdit_status fdit_npz_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                      struct fdit_npz **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_npz *z = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *z, &z));
    TRY(fdit_strdup(ctx, name, &z->file));
    if (n >= 6 && !memcmp(bytes, MAGIC, 6)) {
        z->alone = bytes;
        TRY(fdit_alloc(ctx, 1, sizeof *z->members, &z->members));
        z->members[z->n++].packed.bytes = n;
        TRY(fdit_strdup(ctx, "", &z->members[0].name));
        z->members[0].t.name = z->members[0].name;
        TRY(read_header(ctx, z, z->members));
        *out = z;
        return FDIT_OK;
    }
    TRY(fdit_zip_open(ctx, z->file, bytes, n, &z->zip));
    TRY(fdit_alloc(ctx, fdit_zip_count(z->zip), sizeof *z->members, &z->members));
    for (size_t i = 0; i < fdit_zip_count(z->zip); i++)
        TRY(read_member(ctx, z, i));
    *out = z;
    z = NULL;
out:
    fdit_npz_close(z);
    return status;
}

enum fdit_status fdit_npz_open(fdit_context *ctx, const char *path, struct fdit_npz **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_file_map map = { 0 };
    *out = NULL;
    TRY(fdit_file_map(ctx, path, &map));
    TRY(fdit_npz_open_memory(ctx, path, map.data, map.size, out));
    (*out)->map = map;
    map = (struct fdit_file_map){ 0 };
out:
    fdit_file_unmap(&map);
    return status;
}

void fdit_npz_close(struct fdit_npz *z)
{
    if (!z)
        return;
    for (size_t i = 0; i < z->n; i++) {
        fdit_free(z->members[i].name);
        fdit_free(z->members[i].stride);
    }
    fdit_free(z->members);
    fdit_zip_close(z->zip);
    fdit_free(z->file);
    fdit_file_unmap(&z->map);
    fdit_free(z);
}

size_t fdit_npz_count(const struct fdit_npz *z)
{
    return z->n;
}

const struct fdit_st_tensor *fdit_npz_at(const struct fdit_npz *z, size_t i)
{
    return &z->members[i].t;
}

const struct fdit_st_tensor *fdit_npz_find(const struct fdit_npz *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (!strcmp(z->members[i].name, name))
            return &z->members[i].t;
    return NULL;
}

/* ------------------------------------------------------------------ numbers */

/* All of a member's bytes, and a tensor over the numbers in them. */
static enum fdit_status load(fdit_context *ctx, const struct fdit_npz *z, const struct fdit_st_tensor *t,
                             uint8_t **bytes, struct fdit_st_tensor *out)
{
    enum fdit_status status = FDIT_OK;
    const struct member *m = (const struct member *)(const void *)t;
    TRY(fdit_alloc(ctx, m->packed.bytes, 1, bytes));
    TRY(unpack(ctx, z, m, *bytes, m->packed.bytes));
    *out = *t;
    out->data = *bytes + m->header;
out:
    return status;
}

enum fdit_status fdit_npz_f32(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_tensor loaded;
    uint8_t *bytes = NULL;
    TRY(load(ctx, z, t, &bytes, &loaded));
    TRY(fdit_st_f32(ctx, z->file, &loaded, 0, loaded.n, out));
out:
    fdit_free(bytes);
    return status;
}

enum fdit_status fdit_npz_i64(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              int64_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_tensor loaded;
    uint8_t *bytes = NULL;
    TRY(load(ctx, z, t, &bytes, &loaded));
    TRY(fdit_st_i64(ctx, z->file, &loaded, 0, loaded.n, out));
out:
    fdit_free(bytes);
    return status;
}

/* Where element i, counted with the last index fastest, lies among the numbers. */
static size_t element(const struct fdit_st_tensor *t, size_t i)
{
    size_t at = 0;
    if (!t->stride)
        return i;
    for (int k = t->rank; k-- > 0;) {
        at += i % (size_t)t->shape[k] * (size_t)t->stride[k];
        i /= (size_t)t->shape[k];
    }
    return at;
}

enum fdit_status fdit_npz_f64(fdit_context *ctx, struct fdit_npz *z, const struct fdit_st_tensor *t,
                              double *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_tensor loaded;
    uint8_t *bytes = NULL;
    if (t->type != FDIT_ST_F32 && t->type != FDIT_ST_F64)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: array %s holds %s, not float32 or float64; save it as one of these",
             z->file, t->name, fdit_st_type_name(t->type));
    TRY(load(ctx, z, t, &bytes, &loaded));
    size_t width = fdit_st_type_bytes(t->type);
    for (size_t i = 0; i < loaded.n; i++) {
        const uint8_t *p = loaded.data + element(&loaded, i) * width;
        uint64_t wide = width == 8 ? fdit_get64(p) : 0;
        uint32_t narrow = width == 4 ? fdit_get32(p) : 0;
        float f;
        if (width == 8) {
            memcpy(&out[i], &wide, sizeof wide);
        } else {
            memcpy(&f, &narrow, sizeof f);
            out[i] = (double)f;
        }
    }
out:
    fdit_free(bytes);
    return status;
}
