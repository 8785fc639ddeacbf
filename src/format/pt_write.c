/* SPDX-License-Identifier: Apache-2.0
 * The zip layout: PREFIX/data.pkl describes the tensors, PREFIX/data/N holds the numbers of the
 * N-th. Members are stored, their bytes begin at multiples of 64, as torch writes them. */
#include "format/pt.h"

#include "core/file.h"
#include "core/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define PREFIX "archive/"
enum { MOST_ARGS = 4, ALIGN = 64, MOST_TENSORS = 1 << 18, LOCAL = 30, CENTRAL = 46 };

struct entry {
    char *name;
    enum fdit_st_type type;
    int rank;
    int64_t shape[FDIT_ST_MAX_RANK];
    size_t n, bytes;
};

/* What the zip's directory says about a member. */
struct member {
    char name[40];
    uint32_t crc, bytes;
    uint64_t at;
};

struct text {
    uint8_t *bytes;
    size_t n, capacity;
};

struct fdit_pt_writer {
    struct entry *entries;
    size_t n, capacity;
    const char *args[MOST_ARGS][2];
    size_t n_args;
    struct member *members;
    size_t n_members, members_capacity;
    struct fdit_writer *file;
};

enum fdit_status fdit_pt_writer_new(fdit_context *ctx, struct fdit_pt_writer **out)
{
    return fdit_alloc(ctx, 1, sizeof **out, out);
}

void fdit_pt_writer_free(struct fdit_pt_writer *w)
{
    if (!w)
        return;
    fdit_writer_abort(w->file);
    for (size_t i = 0; i < w->n; i++)
        fdit_free(w->entries[i].name);
    fdit_free(w->entries);
    fdit_free(w->members);
    fdit_free(w);
}

enum fdit_status fdit_pt_writer_add(fdit_context *ctx, struct fdit_pt_writer *w, const char *name,
                                    enum fdit_st_type type, int rank, const int64_t *shape)
{
    enum fdit_status status = FDIT_OK;
    struct entry e = { .type = type, .rank = rank, .n = 1 };
    if (rank < 0 || rank > FDIT_ST_MAX_RANK || !fdit_st_is_float(type) || w->n == MOST_TENSORS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: %d dimensions of %s cannot be written", name, rank,
             fdit_st_type_name(type));
    for (int i = 0; i < rank; i++) {
        e.shape[i] = shape[i];
        if (shape[i] < 0 || !fdit_mul(e.n, (size_t)shape[i], &e.n))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "tensor %.200s: its shape is too large", name);
    }
    if (!fdit_mul(e.n, fdit_st_type_bytes(type), &e.bytes) || e.bytes >= UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "tensor %.200s: more than 4 GB in one tensor cannot be "
             "written to a torch file; write safetensors",
             name);
    TRY(fdit_strdup(ctx, name, &e.name));
    TRY(fdit_grow(ctx, &w->entries, &w->capacity, w->n + 1, sizeof *w->entries));
    w->entries[w->n++] = e;
    e.name = NULL;
out:
    fdit_free(e.name);
    return status;
}

enum fdit_status fdit_pt_writer_arg(fdit_context *ctx, struct fdit_pt_writer *w, const char *key,
                                    const char *value)
{
    if (w->n_args == MOST_ARGS)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "torch file: %s is one argument too many", key);
    w->args[w->n_args][0] = key;
    w->args[w->n_args++][1] = value;
    return FDIT_OK;
}

/* ------------------------------------------------------------------ the pickle */

static enum fdit_status put(fdit_context *ctx, struct text *t, const void *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_grow(ctx, &t->bytes, &t->capacity, t->n + n, 1));
    if (n)
        memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
out:
    return status;
}

static void put_le(uint8_t *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static enum fdit_status put_code(fdit_context *ctx, struct text *t, const char *code)
{
    return put(ctx, t, code, strlen(code));
}

static enum fdit_status put_unicode(fdit_context *ctx, struct text *t, const char *s)
{
    enum fdit_status status = FDIT_OK;
    uint8_t head[5] = { 'X' };
    put_le(head + 1, strlen(s), 4);
    TRY(put(ctx, t, head, sizeof head));
    TRY(put_code(ctx, t, s));
out:
    return status;
}

static enum fdit_status put_int(fdit_context *ctx, struct text *t, int64_t v)
{
    uint8_t code[10] = { 'J' };
    if (v <= INT32_MAX) {
        put_le(code + 1, (uint64_t)v, 4);
        return put(ctx, t, code, 5);
    }
    code[0] = 0x8a; /* LONG1 of 8 bytes */
    code[1] = 8;
    put_le(code + 2, (uint64_t)v, 8);
    return put(ctx, t, code, 10);
}

static enum fdit_status put_ints(fdit_context *ctx, struct text *t, int n, const int64_t *v)
{
    enum fdit_status status = FDIT_OK;
    TRY(put_code(ctx, t, "("));
    for (int i = 0; i < n; i++)
        TRY(put_int(ctx, t, v[i]));
    TRY(put_code(ctx, t, "t"));
out:
    return status;
}

static enum fdit_status put_tensor(fdit_context *ctx, struct text *t, const struct entry *e, size_t i)
{
    enum fdit_status status = FDIT_OK;
    int64_t stride[FDIT_ST_MAX_RANK], step = 1;
    char key[24];
    for (int k = e->rank - 1; k >= 0; k--) {
        stride[k] = step;
        step *= e->shape[k] ? e->shape[k] : 1;
    }
    snprintf(key, sizeof key, "%zu", i);
    TRY(put_unicode(ctx, t, e->name));
    TRY(put_code(ctx, t, "ctorch._utils\n_rebuild_tensor_v2\n(("));
    TRY(put_unicode(ctx, t, "storage"));
    TRY(put_code(ctx, t,
                 e->type == FDIT_ST_F16    ? "ctorch\nHalfStorage\n"
                 : e->type == FDIT_ST_BF16 ? "ctorch\nBFloat16Storage\n"
                 : e->type == FDIT_ST_F64  ? "ctorch\nDoubleStorage\n"
                                           : "ctorch\nFloatStorage\n"));
    TRY(put_unicode(ctx, t, key));
    TRY(put_unicode(ctx, t, "cpu"));
    TRY(put_int(ctx, t, (int64_t)e->n));
    TRY(put_code(ctx, t, "tQ"));
    TRY(put_int(ctx, t, 0));
    TRY(put_ints(ctx, t, e->rank, e->shape));
    TRY(put_ints(ctx, t, e->rank, stride));
    TRY(put_code(ctx, t,
                 "\x89"
                 "ccollections\nOrderedDict\n)RtR"));
out:
    return status;
}

static enum fdit_status describe(fdit_context *ctx, const struct fdit_pt_writer *w, struct text *t)
{
    enum fdit_status status = FDIT_OK;
    TRY(put_code(ctx, t, "\x80\x02"));
    if (w->n_args) {
        TRY(put_code(ctx, t, "}("));
        TRY(put_unicode(ctx, t, "ema"));
    }
    TRY(put_code(ctx, t, "ccollections\nOrderedDict\n)R("));
    for (size_t i = 0; i < w->n; i++)
        TRY(put_tensor(ctx, t, &w->entries[i], i));
    TRY(put_code(ctx, t, "u"));
    if (w->n_args) {
        TRY(put_unicode(ctx, t, "args"));
        TRY(put_code(ctx, t, "}("));
        for (size_t i = 0; i < w->n_args; i++)
            for (int k = 0; k < 2; k++)
                TRY(put_unicode(ctx, t, w->args[i][k]));
        TRY(put_code(ctx, t, "uu"));
    }
    TRY(put_code(ctx, t, "."));
out:
    return status;
}

/* ------------------------------------------------------------------ the zip */

static enum fdit_status write_member(fdit_context *ctx, struct fdit_pt_writer *w, const char *name,
                                     const uint8_t *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    uint8_t head[LOCAL] = { 'P', 'K', 3, 4, 20 }, extra[4 + ALIGN] = { 'F', 'B' };
    struct member m = { .bytes = (uint32_t)n, .at = fdit_writer_bytes(w->file) };
    snprintf(m.name, sizeof m.name, PREFIX "%s", name);
    size_t n_name = strlen(m.name), at = (size_t)(m.at % ALIGN) + LOCAL + n_name + 4;
    size_t pad = (ALIGN - at % ALIGN) % ALIGN;
    m.crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, n);
    put_le(head + 14, m.crc, 4);
    put_le(head + 18, n, 4);
    put_le(head + 22, n, 4);
    put_le(head + 26, n_name, 2);
    put_le(head + 28, 4 + pad, 2);
    put_le(extra + 2, pad, 2);
    TRY(fdit_writer_write(ctx, w->file, head, sizeof head));
    TRY(fdit_writer_write(ctx, w->file, m.name, n_name));
    TRY(fdit_writer_write(ctx, w->file, extra, 4 + pad));
    TRY(fdit_writer_write(ctx, w->file, bytes, n));
    TRY(fdit_grow(ctx, &w->members, &w->members_capacity, w->n_members + 1, sizeof *w->members));
    w->members[w->n_members++] = m;
out:
    return status;
}

static enum fdit_status write_directory_entry(fdit_context *ctx, struct fdit_pt_writer *w,
                                              const struct member *m)
{
    enum fdit_status status = FDIT_OK;
    uint8_t head[CENTRAL] = { 'P', 'K', 1, 2, 20, 0, 20 }, extra[12] = { 1, 0, 8, 0 };
    bool far = m->at >= UINT32_MAX; /* then its place follows in a zip64 field */
    size_t n_name = strlen(m->name);
    head[4] = head[6] = far ? 45 : 20;
    put_le(head + 16, m->crc, 4);
    put_le(head + 20, m->bytes, 4);
    put_le(head + 24, m->bytes, 4);
    put_le(head + 28, n_name, 2);
    put_le(head + 30, far ? sizeof extra : 0, 2);
    put_le(head + 42, far ? UINT32_MAX : m->at, 4);
    put_le(extra + 4, m->at, 8);
    TRY(fdit_writer_write(ctx, w->file, head, sizeof head));
    TRY(fdit_writer_write(ctx, w->file, m->name, n_name));
    if (far)
        TRY(fdit_writer_write(ctx, w->file, extra, sizeof extra));
out:
    return status;
}

static enum fdit_status write_directory(fdit_context *ctx, struct fdit_pt_writer *w)
{
    enum fdit_status status = FDIT_OK;
    uint8_t end64[56] = { 'P', 'K', 6, 6, 44, 0 }, locator[20] = { 'P', 'K', 6, 7 },
            end[22] = { 'P', 'K', 5, 6 };
    uint64_t at = fdit_writer_bytes(w->file), n = w->n_members;
    for (size_t i = 0; i < w->n_members; i++)
        TRY(write_directory_entry(ctx, w, &w->members[i]));
    uint64_t behind = fdit_writer_bytes(w->file), bytes = behind - at;
    if (behind >= UINT32_MAX || n >= UINT16_MAX) {
        end64[12] = end64[14] = 45;
        put_le(end64 + 24, n, 8);
        put_le(end64 + 32, n, 8);
        put_le(end64 + 40, bytes, 8);
        put_le(end64 + 48, at, 8);
        put_le(locator + 8, behind, 8);
        locator[16] = 1;
        TRY(fdit_writer_write(ctx, w->file, end64, sizeof end64));
        TRY(fdit_writer_write(ctx, w->file, locator, sizeof locator));
    }
    put_le(end + 8, n < UINT16_MAX ? n : UINT16_MAX, 2);
    put_le(end + 10, n < UINT16_MAX ? n : UINT16_MAX, 2);
    put_le(end + 12, bytes < UINT32_MAX ? bytes : UINT32_MAX, 4);
    put_le(end + 16, at < UINT32_MAX ? at : UINT32_MAX, 4);
    TRY(fdit_writer_write(ctx, w->file, end, sizeof end));
out:
    return status;
}

enum fdit_status fdit_pt_writer_save(fdit_context *ctx, struct fdit_pt_writer *w, const char *path,
                                     fdit_pt_fill fill, void *user, uint64_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    struct text pickle = { 0 };
    float *values = NULL;
    uint8_t *stored = NULL;
    size_t most = 1;
    char name[32];
    w->n_members = 0;
    for (size_t i = 0; i < w->n; i++)
        most = w->entries[i].n > most ? w->entries[i].n : most;
    TRY(describe(ctx, w, &pickle));
    if (pickle.n >= UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: too many tensors for a torch file", path);
    TRY(fdit_alloc(ctx, most, sizeof *values, &values));
    TRY(fdit_alloc(ctx, most, sizeof(double), &stored));
    TRY(fdit_writer_open(ctx, path, true, &w->file));
    TRY(write_member(ctx, w, "data.pkl", pickle.bytes, pickle.n));
    TRY(write_member(ctx, w, "byteorder", (const uint8_t *)"little", 6));
    for (size_t i = 0; i < w->n; i++) {
        const struct entry *e = &w->entries[i];
        TRY(fill(ctx, user, i, values));
        TRY(fdit_st_check_fits(ctx, e->name, e->type, 0, values, e->n));
        fdit_st_store(e->type, values, e->n, stored);
        snprintf(name, sizeof name, "data/%zu", i);
        TRY(write_member(ctx, w, name, stored, e->bytes));
    }
    TRY(write_member(ctx, w, "version", (const uint8_t *)"3\n", 2));
    TRY(write_directory(ctx, w));
    if (bytes)
        *bytes = fdit_writer_bytes(w->file);
    TRY(fdit_writer_commit(ctx, &w->file));
out:
    fdit_free(stored);
    fdit_free(values);
    fdit_free(pickle.bytes);
    return status;
}
