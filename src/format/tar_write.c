/* SPDX-License-Identifier: Apache-2.0
 * Writing ustar; a name or size that does not fit there gets a pax header before it. */
#include "format/tar.h"

#include "core/file.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

#define BLOCK 512
#define NAME_BYTES 100
#define PREFIX_BYTES 155
#define MAX_OCTAL ((UINT64_C(1) << 33) - 1) /* 11 digits */

struct fdit_tar_writer {
    struct fdit_writer *file;
};

enum fdit_status fdit_tar_writer_open(fdit_context *ctx, const char *path, bool durable,
                                      struct fdit_tar_writer **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar_writer *w = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    TRY(fdit_writer_open(ctx, path, durable, &w->file));
    *out = w;
    w = NULL;
out:
    fdit_tar_writer_abort(w);
    return status;
}

/* Where the name can be cut into prefix and name, 0: it fits whole, SIZE_MAX: nowhere. */
static size_t split(const char *name, size_t n)
{
    if (n <= NAME_BYTES)
        return 0;
    for (size_t i = n - NAME_BYTES - 1; i < n - 1 && i <= PREFIX_BYTES; i++)
        if (name[i] == '/' && i > 0)
            return i;
    return SIZE_MAX;
}

static enum fdit_status write_header(fdit_context *ctx, struct fdit_writer *f, const char *name,
                                     size_t name_n, const char *prefix, size_t prefix_n, char type,
                                     uint64_t size)
{
    char h[BLOCK] = { 0 };
    memcpy(h, name, name_n);
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    snprintf(h + 124, 12, "%011llo", (unsigned long long)(size <= MAX_OCTAL ? size : 0));
    memcpy(h + 136, "00000000000", 12);
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 257, "ustar\00000", 8);
    if (prefix_n)
        memcpy(h + 345, prefix, prefix_n);
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum); /* six digits, a zero, and the space that is there */
    return fdit_writer_write(ctx, f, h, sizeof h);
}

static enum fdit_status pad(fdit_context *ctx, struct fdit_writer *f, size_t n)
{
    return fdit_writer_zeros(ctx, f, (BLOCK - n % BLOCK) % BLOCK);
}

/* "LENGTH KEY=VALUE\n" where LENGTH counts its own digits. */
static enum fdit_status pax_record(fdit_context *ctx, char **out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;
    for (size_t limit = 10; length >= limit; limit *= 10)
        length = rest + (size_t)snprintf(NULL, 0, "%zu", limit);
    return fdit_strf(ctx, out, "%zu %s=%s\n", length, key, value);
}

static enum fdit_status write_pax(fdit_context *ctx, struct fdit_writer *f, const char *name, uint64_t size)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *bytes = NULL, *all = NULL, number[24];
    TRY(pax_record(ctx, &path, "path", name));
    if (size > MAX_OCTAL) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)size);
        TRY(pax_record(ctx, &bytes, "size", number));
    }
    TRY(fdit_strf(ctx, &all, "%s%s", path, bytes ? bytes : ""));
    size_t n = strlen(all);
    TRY(write_header(ctx, f, "pax_header", 10, NULL, 0, 'x', n));
    TRY(fdit_writer_write(ctx, f, all, n));
    TRY(pad(ctx, f, n));
out:
    fdit_free(path);
    fdit_free(bytes);
    fdit_free(all);
    return status;
}

/* What fdit_tar_stream_next would change or refuse. */
static bool is_clean(const char *name)
{
    if (!*name)
        return false;
    for (;;) {
        size_t n = strcspn(name, "/");
        if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        if (!name[n])
            return true;
        name += n + 1;
    }
}

enum fdit_status fdit_tar_writer_add(fdit_context *ctx, struct fdit_tar_writer *w, const char *name,
                                     const void *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    size_t length = strlen(name), cut = split(name, length);
    if (!is_clean(name))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "\"%.200s\" cannot be the name of an archive's member", name);
    if (cut == SIZE_MAX || n > MAX_OCTAL)
        TRY(write_pax(ctx, w->file, name, n));
    if (cut == SIZE_MAX)
        TRY(write_header(ctx, w->file, name, NAME_BYTES, NULL, 0, '0', n));
    else
        TRY(write_header(ctx, w->file, cut ? name + cut + 1 : name, cut ? length - cut - 1 : length, name,
                         cut, '0', n));
    TRY(fdit_writer_write(ctx, w->file, bytes, n));
    TRY(pad(ctx, w->file, n));
out:
    return status;
}

enum fdit_status fdit_tar_writer_commit(fdit_context *ctx, struct fdit_tar_writer **writer)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tar_writer *w = *writer;
    *writer = NULL;
    TRY(fdit_writer_zeros(ctx, w->file, 2 * BLOCK));
    TRY(fdit_writer_commit(ctx, &w->file));
out:
    fdit_tar_writer_abort(w);
    return status;
}

void fdit_tar_writer_abort(struct fdit_tar_writer *w)
{
    if (!w)
        return;
    fdit_writer_abort(w->file);
    fdit_free(w);
}
