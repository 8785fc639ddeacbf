/* SPDX-License-Identifier: Apache-2.0 */
#include "encode/sources.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "format/cache_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER = 16, ENTRY = 40, FILE_VERSION = 1 };

/* What a file looks like without reading it. */
struct stamp {
    uint64_t size;
    int64_t time;
};

struct fdit_sources {
    const struct fdit_dataset *ds;
    struct fdit_cache_writer *writer;
    char *path;
    int fd;
    struct stamp *stamps; /* [n] at the beginning of the job */
    char *archive;        /* of the last picture in one, with its stamp */
    struct stamp archive_stamp;
};

/* Of a picture that could not be read: what no file has, so that it is tried again. */
static const struct stamp never = { .size = UINT64_MAX };

size_t fdit_sources_bytes(size_t n)
{
    return n * sizeof(struct stamp);
}

static enum fdit_status take(fdit_context *ctx, const char *path, struct stamp *out, bool *taken)
{
    struct stat st;
    const bool there = stat(path, &st) == 0;
    if (!there && !fdit_is_absence(errno))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", path);
    *taken = there && S_ISREG(st.st_mode);
    if (!*taken)
        return FDIT_OK;
    out->size = (uint64_t)st.st_size;
    out->time = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return FDIT_OK;
}

/* Of picture i's file, or of the archive in front of the colon. Zeros when there is none to look
 * at. */
static enum fdit_status stamp_of(fdit_context *ctx, struct fdit_sources *s, size_t i, struct stamp *out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    bool taken;
    *out = (struct stamp){ 0 };
    TRY(fdit_dataset_name(ctx, s->ds, i, &name));
    TRY(take(ctx, name, out, &taken));
    if (taken)
        goto out;
    size_t n = s->archive ? strlen(s->archive) : 0;
    if (n && !strncmp(name, s->archive, n) && name[n] == ':') {
        *out = s->archive_stamp;
        goto out;
    }
    for (char *colon = strchr(name, ':'); colon; colon = strchr(colon + 1, ':')) {
        *colon = '\0';
        TRY(take(ctx, name, out, &taken));
        if (taken) {
            fdit_free(s->archive);
            s->archive = name;
            s->archive_stamp = *out;
            name = NULL;
            break;
        }
        *colon = ':';
    }
out:
    fdit_free(name);
    return status;
}

/* FNV-1a of the encoded bytes, never 0. may_fail: 0 for a picture that cannot be read, else an error. */
static enum fdit_status content_of(fdit_context *ctx, const struct fdit_sources *s, size_t i, bool may_fail,
                                   uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    uint64_t hash;
    uint8_t *bytes = NULL;
    size_t n;
    *out = 0;
    status = fdit_dataset_read(ctx, s->ds, i, &bytes, &n);
    if (may_fail && fdit_picture_is_bad(status))
        return FDIT_OK;
    TRY(status);
    hash = fdit_fnv(FDIT_FNV_START, bytes, n);
    *out = hash ? hash : 1;
out:
    fdit_free(bytes);
    return status;
}

static enum fdit_status write_entry(fdit_context *ctx, struct fdit_sources *s, size_t i,
                                    const struct stamp *stamp, uint64_t content)
{
    uint8_t entry[ENTRY] = { 0 };
    fdit_put64(entry, stamp->size);
    fdit_put64(entry + 8, (uint64_t)stamp->time);
    fdit_put64(entry + 16, content);
    fdit_put64(entry + 24, 1);
    fdit_put32(entry + 32, fdit_cache_record_crc(s->writer, i));
    return fdit_write_at(ctx, s->fd, s->path, entry, ENTRY, HEADER + i * ENTRY);
}

enum fdit_status fdit_sources_put(fdit_context *ctx, struct fdit_sources *s, size_t i, bool may_fail)
{
    enum fdit_status status = FDIT_OK;
    struct stamp now;
    uint64_t content = 0;
    TRY(stamp_of(ctx, s, i, &now));
    /* one that changed while it was encoded may be the one or the other: it will not be taken again
     */
    const bool same = now.size == s->stamps[i].size && now.time == s->stamps[i].time;
    if (same)
        TRY(content_of(ctx, s, i, may_fail, &content));
    /* one that could not be read may be readable the next time, with the same size and time */
    TRY(write_entry(ctx, s, i, same && !content ? &never : &s->stamps[i], content));
out:
    return status;
}

/* Whether the record was made from the picture as it is now. */
static enum fdit_status is_same(fdit_context *ctx, struct fdit_sources *s, size_t i, const uint8_t *entry,
                                bool *same)
{
    enum fdit_status status = FDIT_OK;
    const struct stamp *now = &s->stamps[i];
    uint64_t was = fdit_get64(entry + 16), is = 0;
    *same = fdit_get64(entry + 24) == 1 && fdit_get32(entry + 32) == fdit_cache_record_crc(s->writer, i);
    if (!*same || (fdit_get64(entry) == now->size && fdit_get64(entry + 8) == (uint64_t)now->time))
        return FDIT_OK;
    if (was)
        TRY(content_of(ctx, s, i, true, &is));
    *same = was && was == is;
    if (*same) /* only touched, or copied: not to be read the next time */
        TRY(write_entry(ctx, s, i, now, is));
out:
    return status;
}

static enum fdit_status check(fdit_context *ctx, struct fdit_sources *s, const uint8_t *old, size_t n_old)
{
    enum fdit_status status = FDIT_OK;
    size_t n = fdit_dataset_size(s->ds), changed = 0;
    char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        static const uint8_t nothing[ENTRY];
        bool same = true;
        TRY(stamp_of(ctx, s, i, &s->stamps[i]));
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped while looking at the pictures; nothing was changed");
        if (!fdit_cache_has(s->writer, i))
            continue;
        if (!old)
            TRY(write_entry(ctx, s, i, &s->stamps[i], 0));
        else
            TRY(is_same(ctx, s, i, i < n_old ? old + HEADER + i * ENTRY : nothing, &same));
        if (same)
            continue;
        fdit_cache_renew(s->writer, i);
        const bool unread = old && i < n_old && fdit_get64(old + HEADER + i * ENTRY) == never.size;
        if (!unread && !changed++)
            TRY(fdit_dataset_name(ctx, s->ds, i, &first));
    }
    if (changed)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%zu picture%s not what the cache holds and encoded again, the first: %s", changed,
                 changed == 1 ? " is" : "s are", first);
out:
    fdit_free(first);
    return status;
}

enum fdit_status fdit_sources_open(fdit_context *ctx, const char *dir, const struct fdit_dataset *ds,
                                   struct fdit_cache_writer *writer, struct fdit_sources **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sources *s = NULL;
    uint8_t *old = NULL, header[HEADER] = "FDITSRCS";
    size_t n = 0;
    bool there;
    *out = NULL;
    fdit_put32(header + 8, FILE_VERSION);
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->fd = -1;
    s->ds = ds;
    s->writer = writer;
    TRY(fdit_path_join(ctx, dir, "sources.fdc", &s->path));
    TRY(fdit_alloc(ctx, fdit_dataset_size(ds), sizeof *s->stamps, &s->stamps));
    TRY(fdit_file_regular(ctx, s->path, &there));
    if (there)
        TRY(fdit_file_read_all(ctx, s->path, (size_t)1 << 38, &old, &n));
    if (old && (n < HEADER || memcmp(old, header, HEADER) != 0)) {
        fdit_free(old);
        old = NULL;
    }
    if (!old)
        TRY(fdit_file_write(ctx, s->path, true, header, HEADER));
    s->fd = open(s->path, O_WRONLY | O_CLOEXEC);
    if (s->fd < 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot open for writing", s->path));
    fdit_cache_share(writer);
    TRY(check(ctx, s, old, old ? (n - HEADER) / ENTRY : 0));
    *out = s;
    s = NULL;
out:
    fdit_sources_close(s);
    fdit_free(old);
    return status;
}

enum fdit_status fdit_sources_sync(fdit_context *ctx, struct fdit_sources *s)
{
    if (fsync(s->fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot sync to the disk", s->path);
    return FDIT_OK;
}

void fdit_sources_close(struct fdit_sources *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    fdit_free(s->archive);
    fdit_free(s->path);
    fdit_free(s->stamps);
    fdit_free(s);
}
