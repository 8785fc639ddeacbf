/* SPDX-License-Identifier: Apache-2.0
 * The zip's layout: PKWARE's APPNOTE.TXT 6.3; an array's: numpy/lib/format.py. */
#include "format/npz.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,      /* the directory's end, a comment of at most 65535 bytes behind it */
    ENTRY_BYTES = 46,    /* of the directory, then name, extra field, comment */
    LOCAL_BYTES = 30,    /* before a member's bytes, then name and extra field */
    MOST_MEMBERS = 4096, /* archives of arrays have a few */
    MOST_HEADER = 1 << 16,
    MOST_RATIO = 1040, /* deflate gives at most 1032 bytes for one */
};

struct member {
    struct fdit_st_tensor t;
    char *name;
    int64_t *stride; /* Fortran order; NULL: C order */
    const uint8_t *packed;
    size_t packed_bytes, bytes; /* as they lie in the file, and unpacked with the array's header */
    size_t header;              /* bytes before the numbers */
    uint32_t crc;
    bool deflated;
};

struct fdit_npz {
    struct fdit_file_map map;
    char *file;
    const uint8_t *bytes;
    size_t size;
    struct member *members;
    size_t n;
};

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

static enum fdit_status damaged(fdit_context *ctx, const struct fdit_npz *z, const char *what)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: %s; it is not an .npz of numpy, or it is cut off or damaged: get it again", z->file,
                     what);
}

/* ------------------------------------------------------------------ members */

/* The first `want` unpacked bytes. The whole member must have the directory's checksum and length. */
static enum fdit_status unpack(fdit_context *ctx, const struct fdit_npz *z, const struct member *m,
                               uint8_t *out, size_t want)
{
    enum fdit_status status = FDIT_OK;
    z_stream s = { 0 };
    if (!m->deflated) {
        memcpy(out, m->packed, want);
    } else {
        if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
            return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory for unpacking", z->file);
        size_t in = 0, done = 0;
        int rc = Z_OK;
        while (rc == Z_OK && done < want) {
            const size_t most = 1 << 30;
            size_t give = m->packed_bytes - in < most ? m->packed_bytes - in : most;
            size_t room = want - done < most ? want - done : most;
            s.next_in = (Bytef *)(uintptr_t)(m->packed + in);
            s.avail_in = (uInt)give;
            s.next_out = out + done;
            s.avail_out = (uInt)room;
            rc = inflate(&s, Z_NO_FLUSH);
            if (rc == Z_OK && s.avail_in == give && s.avail_out == room)
                break; /* nothing moves */
            in += give - s.avail_in;
            done += room - s.avail_out;
        }
        inflateEnd(&s);
        if (rc == Z_MEM_ERROR)
            FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory for unpacking", z->file);
        if (done < want)
            TRY(damaged(ctx, z, "an array does not unpack to its length"));
    }
    if (want == m->bytes && crc32_z(0, out, want) != m->crc)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the bytes of array %s do not have their checksum; get it again",
             z->file, m->name ? m->name : "");
out:
    return status;
}

/* Sizes and place of 64 bits from the extra field, for those that the entry gives as 0xffffffff. */
static bool read_zip64(const uint8_t *extra, size_t n, uint64_t *bytes, uint64_t *packed, uint64_t *place)
{
    uint64_t *const wanted[] = { bytes, packed, place };
    for (size_t at = 0; at + 4 <= n;) {
        size_t id = u16(extra + at), length = u16(extra + at + 2);
        at += 4;
        if (length > n - at)
            return false;
        if (id == 1) {
            for (size_t k = 0; k < 3; k++) {
                if (*wanted[k] != UINT32_MAX)
                    continue;
                if (length < 8)
                    return false;
                *wanted[k] = u64(extra + at);
                at += 8;
                length -= 8;
            }
            return true;
        }
        at += length;
    }
    return *bytes != UINT32_MAX && *packed != UINT32_MAX && *place != UINT32_MAX;
}

/* Where the member's bytes lie: behind its own header, whose name and extra field may have other lengths than
 * those in the directory. */
static enum fdit_status place_member(fdit_context *ctx, const struct fdit_npz *z, struct member *m,
                                     uint64_t place, uint64_t packed, uint64_t bytes)
{
    if (place > z->size || z->size - place < LOCAL_BYTES || memcmp(z->bytes + place, "PK\3\4", 4) != 0)
        return damaged(ctx, z, "a member is not where the zip's directory says");
    const uint8_t *local = z->bytes + place;
    uint64_t head = (uint64_t)LOCAL_BYTES + u16(local + 26) + u16(local + 28), left = z->size - place;
    if (head > left || packed > left - head)
        return damaged(ctx, z, "a member reaches beyond the end of the file");
    if (m->deflated ? bytes / MOST_RATIO > packed : bytes != packed)
        return damaged(ctx, z, "a member's lengths contradict each other");
    m->packed = local + head;
    m->packed_bytes = (size_t)packed;
    m->bytes = (size_t)bytes;
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
             "%s: array %s holds %.20s, which is not read; save it as float32 or float64", z->file, m->name,
             descr);
    if (!read_shape(shape, &m->t) || m->t.bytes != m->bytes - m->header)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: array %s has %zu bytes, which is not what its shape says; get it again", z->file, m->name,
             m->bytes - m->header);
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
    if (m->bytes < sizeof start)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: array %s is cut off; get it again", z->file, m->name);
    TRY(unpack(ctx, z, m, start, sizeof start));
    if (memcmp(start, "\x93NUMPY", 6) != 0 || start[6] < 1 || start[6] > 3)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: member %s is not an array of numpy; take one that numpy.savez wrote", z->file, m->name);
    size_t before = start[6] == 1 ? 10 : 12, length = start[6] == 1 ? u16(start + 8) : u32(start + 8);
    if (length > MOST_HEADER || length > m->bytes - before)
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

/* ------------------------------------------------------------------ the directory */

static enum fdit_status read_entry(fdit_context *ctx, struct fdit_npz *z, const uint8_t *entry, size_t left,
                                   size_t *length)
{
    enum fdit_status status = FDIT_OK;
    struct member *m = &z->members[z->n++];
    if (left < ENTRY_BYTES || memcmp(entry, "PK\1\2", 4) != 0)
        TRY(damaged(ctx, z, "the zip's directory is broken"));
    size_t name = u16(entry + 28), extra = u16(entry + 30), comment = u16(entry + 32);
    *length = ENTRY_BYTES + name + extra + comment;
    uint64_t packed = u32(entry + 20), bytes = u32(entry + 24), place = u32(entry + 42);
    if (*length > left || !read_zip64(entry + ENTRY_BYTES + name, extra, &bytes, &packed, &place))
        TRY(damaged(ctx, z, "the zip's directory is broken"));
    const char *text = (const char *)entry + ENTRY_BYTES;
    size_t kept = name >= 4 && !memcmp(text + name - 4, ".npy", 4) ? name - 4 : name;
    if (memchr(text, 0, name))
        TRY(damaged(ctx, z, "a name in the zip's directory is broken"));
    TRY(fdit_strndup(ctx, text, kept, &m->name));
    m->t.name = m->name;
    m->crc = u32(entry + 16);
    m->deflated = u16(entry + 10) == 8;
    if (u16(entry + 8) & 1 || (u16(entry + 10) != 0 && !m->deflated))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: %s is encrypted, or packed in a way that numpy does not; save it with numpy.savez", z->file,
             m->name);
    TRY(place_member(ctx, z, m, place, packed, bytes));
    TRY(read_header(ctx, z, m));
out:
    return status;
}

/* The directory's end is searched from behind, since a comment may follow it. */
static const uint8_t *find_end(const struct fdit_npz *z)
{
    for (size_t back = END_BYTES; back <= z->size && back <= END_BYTES + UINT16_MAX; back++) {
        const uint8_t *p = z->bytes + z->size - back;
        if (!memcmp(p, "PK\5\6", 4) && u16(p + 20) == back - END_BYTES)
            return p;
    }
    return NULL;
}

static enum fdit_status read_directory(fdit_context *ctx, struct fdit_npz *z)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *end = find_end(z);
    if (!end)
        TRY(damaged(ctx, z, "there is no zip's directory at its end"));
    size_t members = u16(end + 10), bytes = u32(end + 12), place = u32(end + 16);
    if (place == UINT32_MAX || members > MOST_MEMBERS)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: a zip so large is not read; save the arrays in files of their own", z->file);
    size_t limit = (size_t)(end - z->bytes);
    if (place > limit || bytes > limit - place)
        TRY(damaged(ctx, z, "the zip's directory is not where its end says"));
    TRY(fdit_alloc(ctx, members, sizeof *z->members, &z->members));
    for (size_t i = 0, at = place, length = 0; i < members; i++, at += length)
        TRY(read_entry(ctx, z, z->bytes + at, place + bytes - at, &length));
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
    z->bytes = bytes;
    z->size = n;
    TRY(read_directory(ctx, z));
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
    TRY(fdit_alloc(ctx, m->bytes, 1, bytes));
    TRY(unpack(ctx, z, m, *bytes, m->bytes));
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
        uint64_t wide = width == 8 ? u64(p) : 0;
        uint32_t narrow = width == 4 ? u32(p) : 0;
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
