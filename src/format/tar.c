/* SPDX-License-Identifier: Apache-2.0
 * Reading: the headers, from a mapped file or from what zlib unpacks. */
#include "format/tar.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/kind.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BLOCK 512
#define MAX_EXTENSION ((size_t)1 << 20) /* bytes of a long name or a pax header */
#define MAX_RATIO 1032                  /* no deflate stream unpacks to more */
/* Pictures are compressed already, and small files come with zeros: an honest archive unpacks to at most some
 * twenty times its size. Looked at once so many bytes have come out. */
#define SUSPECT_RATIO 100
#define SUSPECT_BYTES ((uint64_t)256 << 20)
#define DROP_BYTES ((uint64_t)64 << 20) /* of a mapped archive that may stay resident behind us */

struct fdit_tar_stream {
    char *path;
    struct fdit_file_map map; /* all zero when the bytes are not ours */
    const uint8_t *bytes;
    size_t n;
    bool zipped, zip_open;
    z_stream zip;
    uint64_t at;      /* of the next byte to read, in the uncompressed archive */
    uint64_t left;    /* of the present member's content */
    uint64_t padding; /* behind it */
    uint64_t dropped; /* bytes of the map that were handed back */
    bool ended;
    bool cut;          /* the compressed bytes end too early, or without their checksum */
    uint64_t trailing; /* bytes behind the last gzip member */
    bool in_member;    /* a header was read and its content not yet passed */
    size_t headers;    /* so far */
    size_t links, special;
    char *name, *long_name; /* of the present member; from an extension header for the next one */
    bool has_size;
    uint64_t long_size;
    char *extension;
    size_t name_room, long_room, extension_room;
};

/* ------------------------------------------------------------------ bytes */

static enum fdit_status cut_off(fdit_context *ctx, const struct fdit_tar_stream *s)
{
    if (s->in_member)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the archive is cut off at byte %ju of its contents, "
                         "inside of the member \"%.200s\"; get it again",
                         s->path, (uintmax_t)s->at, s->name);
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the archive is cut off at byte %ju of its contents; get it again", s->path,
                     (uintmax_t)s->at);
}

/* The next gzip member, if there is one; zeros may pad the end, and what else follows is left. */
static enum fdit_status next_zip(fdit_context *ctx, struct fdit_tar_stream *s, bool *more)
{
    while (s->zip.avail_in && *s->zip.next_in == 0) {
        s->zip.next_in++;
        s->zip.avail_in--;
    }
    *more = s->zip.avail_in >= 2 && s->zip.next_in[0] == 0x1f && s->zip.next_in[1] == 0x8b;
    if (!*more)
        s->trailing = s->n - (size_t)(s->zip.next_in - s->bytes);
    if (*more && inflateReset(&s->zip) != Z_OK)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: zlib cannot continue", s->path);
    return FDIT_OK;
}

static void feed(struct fdit_tar_stream *s)
{
    size_t used = (size_t)(s->zip.next_in - s->bytes), rest = s->n - used;
    if (s->zip.avail_in == 0)
        s->zip.avail_in = rest < UINT_MAX ? (uInt)rest : UINT_MAX;
}

static enum fdit_status unzip(fdit_context *ctx, struct fdit_tar_stream *s, uint8_t *out, size_t n,
                              size_t *got)
{
    enum fdit_status status = FDIT_OK;
    *got = 0;
    while (*got < n) {
        size_t want = n - *got < UINT_MAX ? n - *got : UINT_MAX;
        feed(s);
        s->zip.next_out = out + *got;
        s->zip.avail_out = (uInt)want;
        int result = inflate(&s->zip, Z_NO_FLUSH);
        *got += want - s->zip.avail_out;
        if (result == Z_STREAM_END) {
            bool more;
            feed(s);
            TRY(next_zip(ctx, s, &more));
            if (!more)
                break;
        } else if (result == Z_BUF_ERROR) {
            s->cut = true; /* the input ends inside a gzip member: what follows finds the archive cut off */
            break;
        } else if (result == Z_MEM_ERROR) {
            FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while unpacking", s->path);
        } else if (result != Z_OK) {
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the compressed archive is damaged at byte %ju of its "
                 "contents (%s); get it again",
                 s->path, (uintmax_t)(s->at + *got), s->zip.msg ? s->zip.msg : "zlib refuses it");
        }
        uint64_t packed = (uint64_t)(s->zip.next_in - s->bytes), unpacked = s->at + *got;
        if (unpacked > SUSPECT_BYTES && unpacked / SUSPECT_RATIO > packed)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: %ju compressed bytes unpack to more than %ju, over %d times as "
                 "many, which no archive of pictures does; if it is meant so, unpack it to a folder",
                 s->path, (uintmax_t)packed, (uintmax_t)unpacked, SUSPECT_RATIO);
    }
out:
    return status;
}

/* Fewer than n only at the end of the archive. */
static enum fdit_status take(fdit_context *ctx, struct fdit_tar_stream *s, void *out, size_t n, size_t *got)
{
    enum fdit_status status = FDIT_OK;
    *got = 0;
    if (s->zipped) {
        TRY(unzip(ctx, s, out, n, got));
    } else {
        *got = n < s->n - s->at ? n : (size_t)(s->n - s->at);
        if (*got)
            memcpy(out, s->bytes + s->at, *got);
    }
    s->at += *got;
out:
    return status;
}

static enum fdit_status take_all(fdit_context *ctx, struct fdit_tar_stream *s, void *out, size_t n)
{
    enum fdit_status status = FDIT_OK;
    size_t got;
    TRY(take(ctx, s, out, n, &got));
    if (got < n)
        TRY(cut_off(ctx, s));
out:
    return status;
}

static enum fdit_status pass_over(fdit_context *ctx, struct fdit_tar_stream *s, uint64_t n)
{
    enum fdit_status status = FDIT_OK;
    uint8_t nowhere[8192];
    if (!s->zipped) {
        if (n > s->n - s->at)
            TRY(cut_off(ctx, s));
        s->at += n;
        return FDIT_OK;
    }
    while (n) {
        size_t chunk = n < sizeof nowhere ? (size_t)n : sizeof nowhere;
        TRY(take_all(ctx, s, nowhere, chunk));
        n -= chunk;
    }
out:
    return status;
}

static uint64_t padding_of(uint64_t size)
{
    return (BLOCK - size % BLOCK) % BLOCK;
}

/* ------------------------------------------------------------------ one header */

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], padding[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

/* Octal digits between spaces, ended by a space, a zero or the field's end; or GNU's binary form. */
static bool parse_number(const char *field, size_t n, uint64_t *out)
{
    size_t i = 0;
    uint64_t v = 0;
    if ((uint8_t)field[0] & 0x80) {
        if ((uint8_t)field[0] != 0x80) /* negative, or beyond 2^64 */
            return false;
        for (i = 1; i < n; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | (uint8_t)field[i];
        }
        *out = v;
        return true;
    }
    while (i < n && field[i] == ' ')
        i++;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
        if (v >> 61)
            return false;
        v = v << 3 | (uint64_t)(field[i] - '0');
    }
    if (i < n && field[i] != ' ' && field[i] != 0)
        return false;
    *out = v;
    return true;
}

/* Old programs summed signed bytes. */
static bool checksum_holds(const struct header *h)
{
    const uint8_t *bytes = (const uint8_t *)h;
    size_t at = offsetof(struct header, checksum);
    int64_t plain = 0, odd = 0;
    uint64_t want;
    for (size_t i = 0; i < BLOCK; i++) {
        uint8_t b = i >= at && i < at + sizeof h->checksum ? ' ' : bytes[i];
        plain += b;
        odd += (int8_t)b;
    }
    return parse_number(h->checksum, sizeof h->checksum, &want) &&
           ((int64_t)want == plain || (int64_t)want == odd);
}

static bool all_zero(const void *block)
{
    const uint8_t *p = block;
    for (size_t i = 0; i < BLOCK; i++)
        if (p[i])
            return false;
    return true;
}

static size_t field_length(const char *field, size_t n)
{
    const char *end = memchr(field, 0, n);
    return end ? (size_t)(end - field) : n;
}

/* The content of an extension header, with a zero behind it. */
static enum fdit_status read_extension(fdit_context *ctx, struct fdit_tar_stream *s, uint64_t size)
{
    enum fdit_status status = FDIT_OK;
    if (size > MAX_EXTENSION)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: an extended header of %ju bytes at byte %ju is too long; "
             "the archive is damaged, get it again",
             s->path, (uintmax_t)size, (uintmax_t)s->at);
    if (!s->zipped && size > s->n - s->at)
        TRY(cut_off(ctx, s));
    TRY(fdit_grow(ctx, &s->extension, &s->extension_room, (size_t)size + 1, 1));
    TRY(take_all(ctx, s, s->extension, (size_t)size));
    s->extension[size] = 0;
    TRY(pass_over(ctx, s, padding_of(size)));
out:
    return status;
}

static enum fdit_status set_text(fdit_context *ctx, char **text, size_t *room, const char *from, size_t n)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_grow(ctx, text, room, n + 1, 1));
    memcpy(*text, from, n);
    (*text)[n] = 0;
out:
    return status;
}

static enum fdit_status bad_pax(fdit_context *ctx, const struct fdit_tar_stream *s)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the pax header before byte %ju is wrong; the "
                     "archive is damaged, get it again",
                     s->path, (uintmax_t)s->at);
}

static bool is_key(const char *key, size_t n, const char *want)
{
    return n == strlen(want) && memcmp(key, want, n) == 0;
}

static enum fdit_status pax_record(fdit_context *ctx, struct fdit_tar_stream *s, const char *key,
                                   size_t key_n, const char *value, size_t n)
{
    if (is_key(key, key_n, "path")) {
        if (n == 0 || memchr(value, 0, n))
            return bad_pax(ctx, s);
        return set_text(ctx, &s->long_name, &s->long_room, value, n);
    }
    if (is_key(key, key_n, "size")) {
        uint64_t v = 0;
        for (size_t i = 0; i < n; i++) {
            if (value[i] < '0' || value[i] > '9' || v > (UINT64_MAX >> 4))
                return bad_pax(ctx, s);
            v = v * 10 + (uint64_t)(value[i] - '0');
        }
        s->has_size = true;
        s->long_size = v;
    }
    if (key_n > 11 && memcmp(key, "GNU.sparse.", 11) == 0)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the member at byte %ju is sparse; pack the "
                         "archive again without --sparse",
                         s->path, (uintmax_t)s->at);
    return FDIT_OK;
}

/* Records "LENGTH KEY=VALUE\n", LENGTH being all of the record. */
static enum fdit_status read_pax(fdit_context *ctx, struct fdit_tar_stream *s, size_t n)
{
    enum fdit_status status = FDIT_OK;
    const char *at = s->extension, *end = at + n;
    while (at < end) {
        size_t length = 0;
        const char *p = at;
        for (; p < end && *p >= '0' && *p <= '9' && length <= MAX_EXTENSION; p++)
            length = length * 10 + (size_t)(*p - '0');
        if (p == at || p == end || *p != ' ' || length > (size_t)(end - at) ||
            length < (size_t)(p - at) + 3 || at[length - 1] != '\n')
            TRY(bad_pax(ctx, s));
        const char *key = p + 1, *last = at + length - 1;
        const char *equals = memchr(key, '=', (size_t)(last - key));
        if (!equals)
            TRY(bad_pax(ctx, s));
        TRY(pax_record(ctx, s, key, (size_t)(equals - key), equals + 1, (size_t)(last - equals - 1)));
        at += length;
    }
out:
    return status;
}

/* ------------------------------------------------------------------ names */

/* Takes out "." parts and doubled slashes, in place. False: absolute, "..", or nothing is left. */
static bool tidy_name(char *name)
{
    char *out = name;
    const char *in = name;
    if (*in == '/')
        return false;
    while (*in) {
        size_t n = strcspn(in, "/");
        bool dot = n == 1 && in[0] == '.';
        if (n == 2 && in[0] == '.' && in[1] == '.')
            return false;
        if (n && !dot) {
            if (out != name)
                *out++ = '/';
            memmove(out, in, n);
            out += n;
        }
        in += n + (in[n] == '/');
    }
    *out = 0;
    return out != name;
}

static enum fdit_status member_name(fdit_context *ctx, struct fdit_tar_stream *s, const struct header *h)
{
    enum fdit_status status = FDIT_OK;
    if (s->long_name && s->long_name[0]) {
        TRY(set_text(ctx, &s->name, &s->name_room, s->long_name, strlen(s->long_name)));
    } else {
        size_t n = field_length(h->name, sizeof h->name), before = 0;
        if (memcmp(h->magic, "ustar", 6) == 0) /* GNU's has "ustar " and no prefix */
            before = field_length(h->prefix, sizeof h->prefix);
        char whole[sizeof h->prefix + 1 + sizeof h->name];
        memcpy(whole, h->prefix, before);
        if (before)
            whole[before++] = '/';
        memcpy(whole + before, h->name, n);
        TRY(set_text(ctx, &s->name, &s->name_room, whole, before + n));
    }
out:
    return status;
}

/* Text of a file in a message: no control bytes. */
static void printable(const char *name, char *out, size_t size)
{
    size_t i = 0;
    for (; name[i] && i + 1 < size; i++)
        out[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    out[i] = 0;
}

static enum fdit_status check_name(fdit_context *ctx, struct fdit_tar_stream *s)
{
    char shown[201];
    printable(s->name, shown, sizeof shown);
    if (!tidy_name(s->name))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the member \"%s\" before byte %ju lies outside "
                         "of the archive's root; pack the archive again with relative names",
                         s->path, shown, (uintmax_t)s->at);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ the stream */

/* Behind the end mark: another archive that was joined to this one (*h is its first header), or the
 * end. Compressed bytes are read to their end in any case: their checksum is there. */
static enum fdit_status after_mark(fdit_context *ctx, struct fdit_tar_stream *s, struct header *h)
{
    enum fdit_status status = FDIT_OK;
    uint64_t strange = 0;
    size_t got;
    for (;;) {
        TRY(take(ctx, s, h, BLOCK, &got));
        if (got < BLOCK)
            break;
        if (!strange && checksum_holds(h) && !all_zero(h))
            return FDIT_OK;
        if (strange || !all_zero(h))
            strange += got;
        if (strange && !s->zipped) {
            strange += s->n - s->at;
            s->at = s->n;
            got = 0;
            break;
        }
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: interrupted", s->path);
    }
    if (s->cut)
        TRY(cut_off(ctx, s));
    for (size_t i = 0; i < got; i++)
        if (((const char *)h)[i] || strange) {
            strange += got - i;
            break;
        }
    if (strange + s->trailing)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: %ju bytes follow the archive's end mark, are not tar, "
                 "and are not read",
                 s->path, (uintmax_t)(strange + s->trailing));
    s->ended = true;
out:
    return status;
}

/* The end of the bytes where a header or an end mark should be: killed writers and streams leave that. */
static enum fdit_status no_mark(fdit_context *ctx, struct fdit_tar_stream *s, size_t got)
{
    enum fdit_status status = FDIT_OK;
    if (got || s->cut || s->has_size || (s->long_name && s->long_name[0]))
        TRY(cut_off(ctx, s));
    if (!s->headers)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is empty; get it again", s->path);
    fdit_log(ctx, FDIT_LOG_WARNING,
             "%s: the archive has no end mark; what it has is whole and is read, but "
             "files may be missing behind it",
             s->path);
    s->ended = true;
out:
    return status;
}

static enum fdit_status no_header(fdit_context *ctx, const struct fdit_tar_stream *s)
{
    enum fdit_kind kind = s->headers ? FDIT_KIND_TAR : fdit_kind_of_bytes(s->bytes, s->n);
    if (!s->zipped && kind != FDIT_KIND_TAR && kind != FDIT_KIND_UNKNOWN)
        return fdit_kind_refuse(ctx, s->path, kind, "a tar archive", "get it again");
    if (s->at < BLOCK)
        return cut_off(ctx, s);
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: no tar header at byte %ju (wrong checksum); the archive is damaged, or not a tar "
                     "file, get it again",
                     s->path, (uintmax_t)(s->at - BLOCK));
}

static enum fdit_status next_header(fdit_context *ctx, struct fdit_tar_stream *s, struct header *h)
{
    enum fdit_status status = FDIT_OK;
    size_t got;
    TRY(take(ctx, s, h, BLOCK, &got));
    if (got == 0 || (got < BLOCK && s->headers))
        return no_mark(ctx, s, got);
    if (got == BLOCK && all_zero(h) && (s->headers || s->n <= (size_t)20 * BLOCK)) {
        TRY(after_mark(ctx, s, h));
        if (s->ended)
            return FDIT_OK;
    }
    if (got < BLOCK || !checksum_holds(h))
        TRY(no_header(ctx, s));
    s->headers++;
out:
    return status;
}

static void forget_extensions(struct fdit_tar_stream *s)
{
    if (s->long_name)
        s->long_name[0] = 0;
    s->has_size = false;
}

static bool is_link_or_device(char type)
{
    return type >= '1' && type <= '6' && type != '5';
}

/* Sets left and padding when the header is a regular file's; else passes over the member. */
static enum fdit_status use_header(fdit_context *ctx, struct fdit_tar_stream *s, const struct header *h,
                                   bool *found)
{
    enum fdit_status status = FDIT_OK;
    uint64_t size = 0;
    if (!parse_number(h->size, sizeof h->size, &size))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the header at byte %ju has no valid size; the archive is "
             "damaged, get it again",
             s->path, (uintmax_t)(s->at - BLOCK));
    if (h->type == 'x' || h->type == 'L') {
        TRY(read_extension(ctx, s, size));
        if (h->type == 'x')
            TRY(read_pax(ctx, s, (size_t)size));
        else
            TRY(set_text(ctx, &s->long_name, &s->long_room, s->extension, strlen(s->extension)));
        return FDIT_OK;
    }
    if (h->type == 'K' || h->type == 'g') { /* a long link's target; what holds for all members */
        TRY(read_extension(ctx, s, size));
        return FDIT_OK;
    }
    if (s->has_size)
        size = s->long_size;
    if (size > UINT64_MAX / 2)
        TRY(cut_off(ctx, s));
    TRY(member_name(ctx, s, h));
    forget_extensions(s);
    size_t n = strlen(s->name);
    bool folder = h->type == '5' || ((h->type == 0 || h->type == '0') && n && s->name[n - 1] == '/');
    if (h->type == 'S')
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the member before byte %ju is sparse; pack the archive "
             "again without --sparse",
             s->path, (uintmax_t)s->at);
    if (!folder && !is_link_or_device(h->type)) { /* unknown types count as files, says POSIX */
        TRY(check_name(ctx, s));
        s->in_member = true;
        if (!s->zipped && size > s->n - s->at)
            TRY(cut_off(ctx, s));
        if (s->zipped && size / MAX_RATIO > s->n)
            TRY(cut_off(ctx, s));
        s->left = size;
        s->padding = padding_of(size);
        *found = true;
        return FDIT_OK;
    }
    s->links += h->type == '1' || h->type == '2';
    s->special += !folder && h->type != '1' && h->type != '2';
    if (h->type >= '1' && h->type <= '6')
        size = 0; /* no content follows, whatever the field says */
    TRY(pass_over(ctx, s, size));
    TRY(pass_over(ctx, s, padding_of(size)));
out:
    return status;
}

enum fdit_status fdit_tar_stream_next(fdit_context *ctx, struct fdit_tar_stream *s,
                                      struct fdit_tar_member *member, bool *found)
{
    enum fdit_status status = FDIT_OK;
    *found = false;
    TRY(pass_over(ctx, s, s->left));
    s->left = 0;
    TRY(pass_over(ctx, s, s->padding));
    s->padding = 0;
    s->in_member = false;
    if (s->map.data && !s->zipped && s->at - s->dropped > DROP_BYTES) {
        fdit_file_map_drop(&s->map, s->bytes + s->dropped, (size_t)(s->at - s->dropped));
        s->dropped = s->at;
    }
    while (!*found && !s->ended) {
        struct header h;
        TRY(next_header(ctx, s, &h));
        if (!s->ended)
            TRY(use_header(ctx, s, &h, found));
    }
    if (*found)
        *member = (struct fdit_tar_member){ .name = s->name, .offset = s->at, .size = s->left };
out:
    return status;
}

enum fdit_status fdit_tar_stream_read(fdit_context *ctx, struct fdit_tar_stream *s, void *out, size_t n,
                                      size_t *got)
{
    enum fdit_status status = FDIT_OK;
    size_t want = n < s->left ? n : (size_t)s->left;
    *got = 0;
    TRY(take_all(ctx, s, out, want));
    s->left -= want;
    *got = want;
out:
    return status;
}

bool fdit_tar_stream_packed(const struct fdit_tar_stream *s)
{
    return s->zipped;
}

size_t fdit_tar_stream_links(const struct fdit_tar_stream *s)
{
    return s->links;
}

size_t fdit_tar_stream_special(const struct fdit_tar_stream *s)
{
    return s->special;
}

static enum fdit_status begin(fdit_context *ctx, struct fdit_tar_stream *s)
{
    s->zipped = s->n >= 2 && s->bytes[0] == 0x1f && s->bytes[1] == 0x8b;
    if (!s->zipped)
        return FDIT_OK;
    s->zip.next_in = (Bytef *)(uintptr_t)s->bytes; /* zlib does not write there */
    if (inflateInit2(&s->zip, 15 + 16) != Z_OK)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory for unpacking", s->path);
    s->zip_open = true;
    return FDIT_OK;
}

enum fdit_status fdit_tar_stream_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes,
                                             size_t n, struct fdit_tar_stream **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar_stream *s = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    TRY(fdit_strdup(ctx, name, &s->path));
    s->bytes = bytes;
    s->n = n;
    TRY(begin(ctx, s));
    *out = s;
    s = NULL;
out:
    fdit_tar_stream_close(s);
    return status;
}

enum fdit_status fdit_tar_stream_open(fdit_context *ctx, const char *path, struct fdit_tar_stream **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_file_map map = { 0 };
    *out = NULL;
    TRY(fdit_file_map(ctx, path, &map));
    TRY(fdit_tar_stream_open_memory(ctx, path, map.data, map.size, out));
    (*out)->map = map;
    memset(&map, 0, sizeof map);
out:
    fdit_file_unmap(&map);
    return status;
}

void fdit_tar_stream_close(struct fdit_tar_stream *s)
{
    if (!s)
        return;
    if (s->zip_open)
        inflateEnd(&s->zip);
    fdit_file_unmap(&s->map);
    fdit_free(s->path);
    fdit_free(s->name);
    fdit_free(s->long_name);
    fdit_free(s->extension);
    fdit_free(s);
}

/* ------------------------------------------------------------------ all members */

struct entry {
    struct fdit_tar_member member; /* first: fdit_tar_at hands out a pointer to it */
    const uint8_t *data;
    uint8_t *own; /* data of a compressed archive */
    char *name;
};

struct fdit_tar {
    struct fdit_tar_stream *stream; /* keeps the mapping */
    struct entry *entries;
    size_t n, capacity, memory;
    size_t *by_name;
};

static enum fdit_status keep_content(fdit_context *ctx, struct fdit_tar *t, struct entry *e, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    size_t got;
    if (e->member.size > limit - t->memory)
        FAIL(ctx, FDIT_ERROR_MEMORY,
             "%s: the unpacked pictures need more than %zu bytes of memory (%zu so far, the next has %ju); "
             "unpack the archive to .tar or a folder, or allow more memory",
             t->stream->path, limit, t->memory, (uintmax_t)e->member.size);
    TRY(fdit_alloc(ctx, (size_t)e->member.size, 1, &e->own));
    TRY(fdit_tar_stream_read(ctx, t->stream, e->own, (size_t)e->member.size, &got));
    t->memory += got;
    e->data = e->own;
out:
    return status;
}

struct sorted {
    const char *name;
    size_t i;
};

static int by_name_then_place(const void *pa, const void *pb)
{
    const struct sorted *a = pa, *b = pb;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->i > b->i) - (a->i < b->i);
}

static enum fdit_status sort_names(fdit_context *ctx, struct fdit_tar *t)
{
    enum fdit_status status = FDIT_OK;
    struct sorted *sorted = NULL;
    TRY(fdit_alloc(ctx, t->n, sizeof *sorted, &sorted));
    TRY(fdit_alloc(ctx, t->n, sizeof *t->by_name, &t->by_name));
    for (size_t i = 0; i < t->n; i++)
        sorted[i] = (struct sorted){ .name = t->entries[i].name, .i = i };
    if (t->n)
        qsort(sorted, t->n, sizeof *sorted, by_name_then_place);
    for (size_t i = 0; i < t->n; i++)
        t->by_name[i] = sorted[i].i;
out:
    fdit_free(sorted);
    return status;
}

/* Takes over the stream, also on failure. */
static enum fdit_status read_all(fdit_context *ctx, struct fdit_tar_stream *s, size_t limit,
                                 struct fdit_tar **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar *t = NULL;
    bool found = true;
    status = fdit_alloc(ctx, 1, sizeof *t, &t);
    if (status != FDIT_OK) {
        fdit_tar_stream_close(s);
        return status;
    }
    t->stream = s;
    for (;;) {
        struct fdit_tar_member member;
        TRY(fdit_tar_stream_next(ctx, s, &member, &found));
        if (!found)
            break;
        TRY(fdit_grow(ctx, &t->entries, &t->capacity, t->n + 1, sizeof *t->entries));
        struct entry *e = &t->entries[t->n];
        memset(e, 0, sizeof *e);
        t->n++;
        TRY(fdit_strdup(ctx, member.name, &e->name));
        e->member = member;
        e->member.name = e->name;
        if (s->zipped)
            TRY(keep_content(ctx, t, e, limit));
        else
            e->data = s->bytes + member.offset;
    }
    TRY(sort_names(ctx, t));
    *out = t;
    t = NULL;
out:
    fdit_tar_close(t);
    return status;
}

enum fdit_status fdit_tar_open(fdit_context *ctx, const char *path, size_t limit, struct fdit_tar **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar_stream *s = NULL;
    *out = NULL;
    TRY(fdit_tar_stream_open(ctx, path, &s));
    TRY(read_all(ctx, s, limit, out));
out:
    return status;
}

enum fdit_status fdit_tar_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                      size_t limit, struct fdit_tar **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar_stream *s = NULL;
    *out = NULL;
    TRY(fdit_tar_stream_open_memory(ctx, name, bytes, n, &s));
    TRY(read_all(ctx, s, limit, out));
out:
    return status;
}

void fdit_tar_close(struct fdit_tar *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++) {
        fdit_free(t->entries[i].own);
        fdit_free(t->entries[i].name);
    }
    fdit_free(t->entries);
    fdit_free(t->by_name);
    fdit_tar_stream_close(t->stream);
    fdit_free(t);
}

size_t fdit_tar_count(const struct fdit_tar *t)
{
    return t->n;
}

const struct fdit_tar_member *fdit_tar_at(const struct fdit_tar *t, size_t i)
{
    return &t->entries[i].member;
}

const uint8_t *fdit_tar_data(const struct fdit_tar *t, size_t i)
{
    return t->entries[i].data;
}

bool fdit_tar_find(const struct fdit_tar *t, const char *name, size_t *i)
{
    size_t lo = 0, hi = t->n; /* the first that is greater */
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (strcmp(t->entries[t->by_name[middle]].name, name) <= 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    if (lo == 0 || strcmp(t->entries[t->by_name[lo - 1]].name, name) != 0)
        return false;
    *i = t->by_name[lo - 1];
    return true;
}

size_t fdit_tar_memory(const struct fdit_tar *t)
{
    return t->memory;
}
