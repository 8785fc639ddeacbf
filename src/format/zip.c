/* SPDX-License-Identifier: Apache-2.0 */
#include "format/zip.h"

#include "core/mem.h"
#include "format/little.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,     /* the directory's end, a comment of at most 65535 bytes behind it */
    END64_BYTES = 56,   /* the end of a directory with numbers of 64 bits ... */
    LOCATOR_BYTES = 20, /* ... and where that is, right before the usual end */
    ENTRY_BYTES = 46,   /* of the directory, then name, extra field, comment */
    LOCAL_BYTES = 30,   /* before a member's bytes, then name and extra field */
    MOST_RATIO = 1040,  /* deflate gives at most 1032 bytes for one */
};

struct entry {
    char *name;
    uint64_t place, packed, bytes;
    uint32_t crc;
    enum fdit_zip_method method;
};

struct fdit_zip {
    const char *file;
    const uint8_t *bytes;
    size_t size;
    struct entry *entries;
    const struct entry **sorted; /* by name, then in the directory's order */
    size_t n;
    bool has_sums;
};

struct directory {
    uint64_t members, bytes, place;
};

static enum fdit_status damaged(fdit_context *ctx, const struct fdit_zip *z, const char *what)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: begins like a zip file, but %s; it is cut off or damaged, get it again", z->file,
                     what);
}

/* ------------------------------------------------------------------ the directory */

/* The directory's end is searched from behind, since a comment may follow it. */
static const uint8_t *find_end(const struct fdit_zip *z)
{
    for (size_t back = END_BYTES; back <= z->size && back <= END_BYTES + UINT16_MAX; back++) {
        const uint8_t *p = z->bytes + z->size - back;
        if (!memcmp(p, "PK\5\6", 4) && fdit_get16(p + 20) == back - END_BYTES)
            return p;
    }
    return NULL;
}

static enum fdit_status find_directory(fdit_context *ctx, const struct fdit_zip *z, struct directory *d)
{
    const uint8_t *end = find_end(z);
    if (!end)
        return damaged(ctx, z, "has no whole directory at its end");
    *d = (struct directory){ fdit_get16(end + 10), fdit_get32(end + 12), fdit_get32(end + 16) };
    uint64_t limit = (uint64_t)(end - z->bytes);
    bool wide = d->members == UINT16_MAX || d->bytes == UINT32_MAX || d->place == UINT32_MAX;
    if (wide && limit >= LOCATOR_BYTES && !memcmp(end - LOCATOR_BYTES, "PK\6\7", 4)) {
        uint64_t at = fdit_get64(end - LOCATOR_BYTES + 8);
        limit -= LOCATOR_BYTES;
        if (at > limit || limit - at < END64_BYTES || memcmp(z->bytes + at, "PK\6\6", 4) != 0)
            return damaged(ctx, z, "the end of its directory is not where it says");
        *d = (struct directory){ fdit_get64(z->bytes + at + 32), fdit_get64(z->bytes + at + 40),
                                 fdit_get64(z->bytes + at + 48) };
        limit = at;
    }
    if (d->place > limit || d->bytes > limit - d->place || d->members > d->bytes / ENTRY_BYTES)
        return damaged(ctx, z, "its directory is not where the end says");
    return FDIT_OK;
}

/* Sizes and place of 64 bits from the extra field, for those that the entry gives as 0xffffffff. */
static bool read_zip64(const uint8_t *extra, size_t n, struct entry *e)
{
    uint64_t *const wanted[] = { &e->bytes, &e->packed, &e->place };
    for (size_t at = 0; at + 4 <= n;) {
        size_t id = fdit_get16(extra + at), length = fdit_get16(extra + at + 2);
        at += 4;
        if (length > n - at)
            return false;
        for (size_t k = 0; id == 1 && k < 3; k++) {
            if (*wanted[k] != UINT32_MAX)
                continue;
            if (length < 8)
                return false;
            *wanted[k] = fdit_get64(extra + at);
            at += 8;
            length -= 8;
        }
        if (id == 1)
            return true;
        at += length;
    }
    return e->bytes != UINT32_MAX && e->packed != UINT32_MAX && e->place != UINT32_MAX;
}

static enum fdit_status read_entry(fdit_context *ctx, struct fdit_zip *z, const uint8_t *p, uint64_t left,
                                   size_t *length)
{
    enum fdit_status status = FDIT_OK;
    struct entry *e = &z->entries[z->n];
    if (left < ENTRY_BYTES || memcmp(p, "PK\1\2", 4) != 0)
        TRY(damaged(ctx, z, "its directory is broken"));
    size_t name = fdit_get16(p + 28), extra = fdit_get16(p + 30);
    *length = ENTRY_BYTES + name + extra + fdit_get16(p + 32);
    *e = (struct entry){ .packed = fdit_get32(p + 20),
                         .bytes = fdit_get32(p + 24),
                         .place = fdit_get32(p + 42),
                         .crc = fdit_get32(p + 16) };
    if (*length > left || !read_zip64(p + ENTRY_BYTES + name, extra, e))
        TRY(damaged(ctx, z, "its directory is broken"));
    if (memchr(p + ENTRY_BYTES, 0, name))
        TRY(damaged(ctx, z, "a name in its directory is broken"));
    uint32_t method = fdit_get16(p + 10);
    bool encrypted = fdit_get16(p + 8) & 1;
    e->method = encrypted || (method != 0 && method != 8) ? FDIT_ZIP_OTHER
                : method                                  ? FDIT_ZIP_DEFLATED
                                                          : FDIT_ZIP_STORED;
    TRY(fdit_strndup(ctx, (const char *)p + ENTRY_BYTES, name, &e->name));
    z->has_sums = z->has_sums || e->crc;
    z->n++;
out:
    return status;
}

static int by_name(const void *pa, const void *pb)
{
    const struct entry *const *a = pa, *const *b = pb;
    int order = strcmp((*a)->name, (*b)->name);
    return order ? order : (*a > *b) - (*a < *b);
}

enum fdit_status fdit_zip_open(fdit_context *ctx, const char *file, const uint8_t *bytes, size_t n,
                               struct fdit_zip **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_zip *z = NULL;
    struct directory d = { 0 };
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *z, &z));
    *z = (struct fdit_zip){ .file = file, .bytes = bytes, .size = n };
    TRY(find_directory(ctx, z, &d));
    TRY(fdit_alloc(ctx, (size_t)d.members, sizeof *z->entries, &z->entries));
    TRY(fdit_alloc(ctx, (size_t)d.members, sizeof *z->sorted, &z->sorted));
    for (size_t at = (size_t)d.place, end = (size_t)(d.place + d.bytes), length; z->n < d.members;
         at += length)
        TRY(read_entry(ctx, z, bytes + at, end - at, &length));
    for (size_t i = 0; i < z->n; i++)
        z->sorted[i] = &z->entries[i];
    if (z->n)
        qsort(z->sorted, z->n, sizeof *z->sorted, by_name);
    *out = z;
    z = NULL;
out:
    fdit_zip_close(z);
    return status;
}

void fdit_zip_close(struct fdit_zip *z)
{
    if (!z)
        return;
    for (size_t i = 0; i < z->n; i++)
        fdit_free(z->entries[i].name);
    fdit_free(z->entries);
    fdit_free(z->sorted);
    fdit_free(z);
}

size_t fdit_zip_count(const struct fdit_zip *z)
{
    return z->n;
}

const char *fdit_zip_name(const struct fdit_zip *z, size_t i)
{
    return z->entries[i].name;
}

bool fdit_zip_has_sums(const struct fdit_zip *z)
{
    return z->has_sums;
}

bool fdit_zip_find(const struct fdit_zip *z, const char *name, size_t *i)
{
    size_t low = 0, high = z->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(z->sorted[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == z->n || strcmp(z->sorted[low]->name, name) != 0)
        return false;
    *i = (size_t)(z->sorted[low] - z->entries);
    return true;
}

/* ------------------------------------------------------------------ members */

static enum fdit_status misplaced(fdit_context *ctx, const struct fdit_zip *z, const struct entry *e)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: %.100s is not where the zip's directory says, "
                     "or not whole; the file is damaged, get it again",
                     z->file, e->name);
}

/* The member's own header may give name and extra field other lengths than the directory's entry does. */
enum fdit_status fdit_zip_place(fdit_context *ctx, const struct fdit_zip *z, size_t i,
                                struct fdit_zip_member *out)
{
    const struct entry *e = &z->entries[i];
    if (e->place > z->size || z->size - e->place < LOCAL_BYTES ||
        memcmp(z->bytes + e->place, "PK\3\4", 4) != 0)
        return misplaced(ctx, z, e);
    const uint8_t *local = z->bytes + e->place;
    uint64_t head = (uint64_t)LOCAL_BYTES + fdit_get16(local + 26) + fdit_get16(local + 28),
             left = z->size - e->place;
    if (head > left || e->packed > left - head)
        return misplaced(ctx, z, e);
    if (e->method == FDIT_ZIP_DEFLATED ? e->bytes / MOST_RATIO > e->packed : e->bytes != e->packed)
        return fdit_fail(ctx, e->method == FDIT_ZIP_OTHER ? FDIT_ERROR_UNSUPPORTED : FDIT_ERROR_FORMAT,
                         "%s: %.100s is %s", z->file, e->name,
                         e->method == FDIT_ZIP_OTHER
                             ? "encrypted, or packed in a way that is not read; save the file again"
                             : "of two lengths by the zip's directory; the file is damaged, get it again");
    *out = (struct fdit_zip_member){ .name = e->name,
                                     .data = local + head,
                                     .packed = (size_t)e->packed,
                                     .bytes = (size_t)e->bytes,
                                     .crc = e->crc,
                                     .method = e->method };
    return FDIT_OK;
}

/* Inflates until `want` bytes are there, or nothing more comes: *done bytes. */
static enum fdit_status inflate_member(fdit_context *ctx, const struct fdit_zip *z,
                                       const struct fdit_zip_member *m, uint8_t *out, size_t want,
                                       size_t *done)
{
    const size_t most = 1 << 30; /* zlib counts in 32 bits */
    z_stream s = { 0 };
    int rc = inflateInit2(&s, -MAX_WBITS);
    *done = 0;
    for (size_t in = 0; rc == Z_OK && *done < want;) {
        size_t give = m->packed - in < most ? m->packed - in : most;
        size_t room = want - *done < most ? want - *done : most;
        s.next_in = (Bytef *)(uintptr_t)(m->data + in);
        s.avail_in = (uInt)give;
        s.next_out = out + *done;
        s.avail_out = (uInt)room;
        rc = inflate(&s, Z_NO_FLUSH);
        if (rc == Z_OK && s.avail_in == give && s.avail_out == room)
            break; /* nothing moves */
        in += give - s.avail_in;
        *done += room - s.avail_out;
    }
    inflateEnd(&s);
    if (rc == Z_MEM_ERROR)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory for unpacking %.100s", z->file, m->name);
    return FDIT_OK;
}

enum fdit_status fdit_zip_unpack(fdit_context *ctx, const struct fdit_zip *z, const struct fdit_zip_member *m,
                                 uint8_t *out, size_t want)
{
    enum fdit_status status = FDIT_OK;
    size_t done = want;
    if (m->method == FDIT_ZIP_STORED)
        memcpy(out, m->data, want);
    else
        TRY(inflate_member(ctx, z, m, out, want, &done));
    if (done < want)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %.100s does not unpack to its length; the file is damaged, get it again", z->file, m->name);
    if (want == m->bytes && crc32_z(0, out, want) != m->crc)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the bytes of %.100s do not have their checksum; get the file again",
             z->file, m->name);
out:
    return status;
}
