/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"

#include "core/clock.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_PREFIX ".fdit-"
#define TEMPORARY_SUFFIX ".tmp"
#define BUFFER_BYTES ((size_t)1 << 16)

/* ------------------------------------------------------------------ fault injection */

static atomic_uint_fast64_t calls, fail_at;

void fdit_file_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}

uint64_t fdit_file_calls(void)
{
    return atomic_load(&calls);
}

static bool injected_failure(void)
{
    atomic_fetch_add(&calls, 1);
    uint_fast64_t left = atomic_load(&fail_at);
    while (left > 0)
        if (atomic_compare_exchange_weak(&fail_at, &left, left - 1)) {
            if (left == 1)
                errno = ENOSPC;
            return left == 1;
        }
    return false;
}

static bool write_fully(int fd, const uint8_t *bytes, size_t n)
{
    while (n) {
        size_t chunk = n < ((size_t)1 << 30) ? n : (size_t)1 << 30;
        ssize_t done = injected_failure() ? -1 : write(fd, bytes, chunk);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return false;
        }
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* Some file systems cannot sync this kind of file; that is not a loss of data. */
static bool sync_fully(int fd)
{
    int result;
    do
        result = injected_failure() ? -1 : fsync(fd);
    while (result < 0 && errno == EINTR);
    return result == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

/* After EINTR the descriptor is closed on the systems we know: never close twice. */
static bool close_fully(int fd)
{
    bool failed = injected_failure();
    int saved = errno;
    bool closed = close(fd) == 0 || errno == EINTR;
    if (failed)
        errno = saved;
    return closed && !failed;
}

/* ------------------------------------------------------------------ reading */

/* On failure *fd is -1. flags: O_NONBLOCK where nobody may wait here for the writer of a pipe. */
static enum fdit_status open_to_read(fdit_context *ctx, const char *path, int flags, int *fd, struct stat *st)
{
    enum fdit_status status = FDIT_OK;
    int errnum = EISDIR;
    *fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (*fd < 0) {
        errnum = errno;
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errnum, "%s: cannot open the file", path));
    }
    if (fstat(*fd, st) != 0) {
        errnum = errno;
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errnum, "%s: cannot read the file's size", path));
    }
    if (S_ISDIR(st->st_mode))
        FAIL(ctx, FDIT_ERROR_IO, "%s: is a folder where a file is needed", path);
    return FDIT_OK;
out:
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = errnum;
    return status;
}

enum fdit_status fdit_file_open(fdit_context *ctx, const char *path, int *fd, size_t *size)
{
    enum fdit_status status = FDIT_OK;
    struct stat st;
    TRY(open_to_read(ctx, path, O_NONBLOCK, fd, &st));
    if (!S_ISREG(st.st_mode))
        FAIL(ctx, FDIT_ERROR_IO, "%s: is not a regular file; copy its contents into one first", path);
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        FAIL(ctx, FDIT_ERROR_IO, "%s: has more bytes than this machine has addresses", path);
    *size = (size_t)st.st_size;
    return FDIT_OK;
out:
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return status;
}

enum fdit_status fdit_file_map(fdit_context *ctx, const char *path, struct fdit_file_map *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_file_map map = { 0 };
    size_t size;
    int fd = -1;
    memset(out, 0, sizeof *out);
    TRY(fdit_file_open(ctx, path, &fd, &size));
    void *at = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : (void *)(uintptr_t) "";
    if (at == MAP_FAILED)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot map %zu bytes", path, size));
    map.data = at;
    map.size = size;
    TRY(fdit_strdup(ctx, path, &map.path));
    *out = map;
    memset(&map, 0, sizeof map);
out:
    if (fd >= 0)
        close(fd);
    fdit_file_unmap(&map);
    return status;
}

void fdit_file_unmap(struct fdit_file_map *map)
{
    if (!map)
        return;
    if (map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    fdit_free(map->path);
    memset(map, 0, sizeof *map);
}

void fdit_file_map_drop(const struct fdit_file_map *map, const void *from, size_t n)
{
    long page_bytes = sysconf(_SC_PAGESIZE);
    if (!map->size || page_bytes <= 0)
        return;
    uintptr_t page = (uintptr_t)page_bytes, start = (uintptr_t)map->data;
    uintptr_t lo = (uintptr_t)from, hi = lo + n;
    lo = (lo + page - 1) / page * page;
    /* the last page of the map can only hold bytes of this file */
    hi = hi == start + map->size ? (hi + page - 1) / page * page : hi / page * page;
    if (lo >= start && lo < hi)
        madvise((void *)lo, hi - lo, MADV_DONTNEED);
}

/* A pipe may have no writer yet, for ever: who waits for it can be stopped. */
static enum fdit_status wait_for_bytes(fdit_context *ctx, int fd, const char *path)
{
    struct pollfd wanted = { .fd = fd, .events = POLLIN };
    int ready = 0;
    while (ready == 0) {
        if (fdit_stopped(ctx))
            return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped while waiting for %s, a pipe", path);
        ready = poll(&wanted, 1, 100);
        if (ready < 0 && errno == EINTR)
            ready = 0;
    }
    return FDIT_OK; /* what poll cannot do is left to read */
}

/* What is read into memory as it comes. */
struct incoming {
    const char *path;
    int fd;
    bool pipe;
    uint8_t *bytes;
    size_t capacity, n, limit;
    int errnum; /* of a read that failed */
};

/* Until `until` bytes are there, or its end. */
static enum fdit_status read_on(fdit_context *ctx, struct incoming *f, size_t want, size_t until, bool *end)
{
    enum fdit_status status = FDIT_OK;
    *end = false;
    while (f->n < until) {
        TRY(fdit_grow(ctx, &f->bytes, &f->capacity, want, 1));
        if (f->pipe)
            TRY(wait_for_bytes(ctx, f->fd, f->path));
        size_t room = f->capacity - 1 - f->n;
        ssize_t got =
            read(f->fd, f->bytes + f->n, until < SIZE_MAX && until - f->n < room ? until - f->n : room);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0) {
            f->errnum = errno;
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, f->errnum, "%s: cannot read after %zu bytes", f->path,
                                f->n));
        }
        *end = got == 0;
        if (*end)
            break;
        f->n += (size_t)got;
        if (f->n > f->limit)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has more than the %zu bytes that are allowed here", f->path,
                 f->limit);
        if (f->n + 2 > f->capacity)
            want = f->n + f->n / 2 + 2;
    }
out:
    return status;
}

enum fdit_status fdit_file_read_checked(fdit_context *ctx, const char *path, size_t limit,
                                        fdit_check_fn check, void *user, uint8_t **data, size_t *size)
{
    enum fdit_status status = FDIT_OK;
    struct incoming f = { .path = path, .fd = -1, .limit = limit, .errnum = 0 };
    struct stat st;
    bool end = false;
    *data = NULL;
    *size = 0;
    status = open_to_read(ctx, path, O_NONBLOCK, &f.fd, &st);
    f.errnum = errno;
    TRY(status);
    f.errnum = EINVAL;
    f.pipe = !S_ISREG(st.st_mode);
    if (f.pipe && !S_ISFIFO(st.st_mode))
        FAIL(ctx, FDIT_ERROR_IO, "%s: is a device or a socket, where a file or a pipe is needed", path);
    if (check) {
        TRY(read_on(ctx, &f, FDIT_LOOK_BYTES + 2, FDIT_LOOK_BYTES, &end));
        TRY(check(ctx, user, f.bytes, f.n, &f.limit));
    }
    size_t want = FDIT_LOOK_BYTES;
    if (!f.pipe && (uintmax_t)st.st_size > f.limit)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has %jd bytes, at most %zu are allowed here", path,
             (intmax_t)st.st_size, f.limit);
    if (!f.pipe)
        want = (size_t)st.st_size + 2; /* one read more sees the end; one zero behind */
    if (!end)
        TRY(read_on(ctx, &f, want > f.n + 2 ? want : f.n + 2, SIZE_MAX, &end));
    f.bytes[f.n] = 0;
    *data = f.bytes;
    *size = f.n;
    f.bytes = NULL;
out:
    if (f.fd >= 0)
        close(f.fd);
    fdit_free(f.bytes);
    errno = f.errnum;
    return status;
}

enum fdit_status fdit_file_read_all(fdit_context *ctx, const char *path, size_t limit, uint8_t **data,
                                    size_t *size)
{
    return fdit_file_read_checked(ctx, path, limit, NULL, NULL, data, size);
}

bool fdit_is_shortage(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

bool fdit_is_absence(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == EACCES || errnum == ELOOP ||
           errnum == ENAMETOOLONG;
}

bool fdit_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool fdit_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool fdit_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum fdit_status fdit_file_look(fdit_context *ctx, const char *path, bool *there, bool *folder)
{
    struct stat st;
    *there = stat(path, &st) == 0;
    *folder = *there && S_ISDIR(st.st_mode);
    if (!*there && !fdit_is_absence(errno))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", path);
    return FDIT_OK;
}

enum fdit_status fdit_file_size(fdit_context *ctx, const char *path, uint64_t *out)
{
    struct stat st;
    *out = 0;
    if (stat(path, &st) != 0)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot read the file's size", path);
    *out = (uint64_t)st.st_size;
    return FDIT_OK;
}

enum fdit_status fdit_file_regular(fdit_context *ctx, const char *path, bool *there)
{
    struct stat st;
    *there = stat(path, &st) == 0;
    if (!*there && !fdit_is_absence(errno))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", path);
    if (!*there || S_ISREG(st.st_mode))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_IO, "%s: is %s where a file is needed; remove it", path,
                     S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
}

int fdit_regular_open(const char *path, int flags)
{
    struct stat st;
    const int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
        return fd;
    close(fd);
    errno = ENOENT;
    return -1;
}

enum fdit_status fdit_file_remove(fdit_context *ctx, const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot remove the file", path);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ writing whole files */

struct fdit_writer {
    char *path;      /* where the file will be, links resolved */
    char *folder;    /* of path */
    char *temporary; /* NULL: the file has no name yet, or `direct` */
    int fd;
    bool direct; /* path is a device or a pipe, written directly */
    bool durable, failed;
    uint64_t bytes;
    size_t filled;
    uint8_t buffer[BUFFER_BYTES];
};

/* Gives `from` a name of a temporary file, or opens a new file under one where from is -1. *done: false when
 * the file system does not let `from` have a name.
 * No name is used again (a clock counts): a program that cleans the folder may have found the name of the
 * file before this one, and would remove this one under it.
 * A lock on the file tells fdit_folder_clean that somebody is writing it. It belongs to the open file, so it
 * ends with the program however that ends. */
static enum fdit_status take_name(fdit_context *ctx, struct fdit_writer *w, int from, bool *done)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, own[40];
    struct stat st;
    *done = false;
    snprintf(own, sizeof own, "/proc/self/fd/%d", from);
    for (unsigned i = 0; !*done && i < 100000; i++) {
        fdit_free(name);
        TRY(fdit_strf(ctx, &name, "%s/" TEMPORARY_PREFIX "%ld-%" PRIu64 TEMPORARY_SUFFIX, w->folder,
                      (long)getpid(), fdit_clock_ns()));
        if (from >= 0) {
            *done = linkat(AT_FDCWD, own, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
            if (!*done && errno != EEXIST)
                goto out;
            continue;
        }
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot write into its folder", w->path));
        if (fd < 0)
            continue;
        /* Between open and flock another program may have taken the file for one that was left. */
        bool taken = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        *done = !taken && (fstat(fd, &st) != 0 || st.st_nlink > 0);
        if (*done)
            w->fd = fd;
        else
            close(fd);
    }
    if (!*done)
        FAIL(ctx, FDIT_ERROR_IO,
             "%s: its folder is full of files " TEMPORARY_PREFIX "*" TEMPORARY_SUFFIX
             "; remove those that are left over",
             w->path);
    w->temporary = name;
    name = NULL;
out:
    fdit_free(name);
    return status;
}

/* A file without a name, which vanishes with the program however that ends; where the system has none of
 * these, or could not name it later, one with a temporary name. */
static enum fdit_status open_temporary(fdit_context *ctx, struct fdit_writer *w)
{
    bool done;
#ifdef O_TMPFILE
    char own[40];
    w->fd = open(w->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    snprintf(own, sizeof own, "/proc/self/fd/%d", w->fd);
    if (w->fd >= 0 && access(own, F_OK) == 0) {
        flock(w->fd, LOCK_EX | LOCK_NB); /* from before the moment when it has a name */
        return FDIT_OK;
    }
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
#endif
    return take_name(ctx, w, -1, &done);
}

/* A pipe may have no reader yet, for ever: who waits for one can be stopped. */
static enum fdit_status open_directly(fdit_context *ctx, struct fdit_writer *w, bool fifo)
{
    for (;;) {
        w->fd = open(w->path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        if (w->fd >= 0 || errno != ENXIO || !fifo)
            break;
        if (fdit_stopped(ctx))
            return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped while waiting for a reader of %s, a pipe",
                             w->path);
        poll(NULL, 0, 100);
    }
    int flags = w->fd >= 0 ? fcntl(w->fd, F_GETFL) : -1;
    if (flags < 0 || fcntl(w->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot open for writing", w->path);
    w->direct = true;
    return FDIT_OK;
}

enum fdit_status fdit_writer_open(fdit_context *ctx, const char *path, bool durable, struct fdit_writer **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    char *resolved = NULL;
    struct stat st;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    w->fd = -1;
    w->durable = durable;
    bool there = stat(path, &st) == 0;
    if (!there && !fdit_is_absence(errno)) /* it could be a link, or a pipe */
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked at", path));
    if (there && S_ISDIR(st.st_mode))
        FAIL(ctx, FDIT_ERROR_IO, "%s: is a folder, a file cannot take its place", path);
    struct stat link;
    if (there && lstat(path, &link) == 0 && S_ISLNK(link.st_mode))
        TRY(fdit_path_real(ctx, path, &resolved)); /* the file behind a link is replaced, not the link */
    TRY(fdit_strdup(ctx, resolved ? resolved : path, &w->path));
    TRY(fdit_path_folder(ctx, w->path, &w->folder));
    if (there && !S_ISREG(st.st_mode)) {
        TRY(open_directly(ctx, w, S_ISFIFO(st.st_mode)));
    } else {
        if (durable) /* what killed programs left goes when something is written there again */
            fdit_folder_clean(NULL, w->folder, NULL);
        TRY(open_temporary(ctx, w));
    }
    *out = w;
    w = NULL;
out:
    fdit_free(resolved);
    fdit_writer_abort(w);
    return status;
}

static enum fdit_status writer_failure(fdit_context *ctx, struct fdit_writer *w, const char *what)
{
    int saved = errno;
    w->failed = true;
    return fdit_fail_errno(ctx, FDIT_ERROR_IO, saved,
                           "%s: cannot %s after %ju bytes; nothing was written there", w->path, what,
                           (uintmax_t)w->bytes);
}

static enum fdit_status flush(fdit_context *ctx, struct fdit_writer *w)
{
    size_t n = w->filled;
    w->filled = 0;
    return write_fully(w->fd, w->buffer, n) ? FDIT_OK : writer_failure(ctx, w, "write");
}

enum fdit_status fdit_writer_write(fdit_context *ctx, struct fdit_writer *w, const void *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (w->failed)
        return fdit_fail(ctx, FDIT_ERROR_IO, "%s: an earlier write failed", w->path);
    w->bytes += n;
    if (n > BUFFER_BYTES - w->filled)
        TRY(flush(ctx, w));
    if (n >= BUFFER_BYTES)
        return write_fully(w->fd, bytes, n) ? FDIT_OK : writer_failure(ctx, w, "write");
    if (n)
        memcpy(w->buffer + w->filled, bytes, n);
    w->filled += n;
out:
    return status;
}

enum fdit_status fdit_writer_zeros(fdit_context *ctx, struct fdit_writer *w, size_t n)
{
    static const uint8_t zeros[4096];
    enum fdit_status status = FDIT_OK;
    while (n && status == FDIT_OK) {
        size_t chunk = n < sizeof zeros ? n : sizeof zeros;
        status = fdit_writer_write(ctx, w, zeros, chunk);
        n -= chunk;
    }
    return status;
}

uint64_t fdit_writer_bytes(const struct fdit_writer *w)
{
    return w->bytes;
}

static enum fdit_status sync_folder(fdit_context *ctx, const struct fdit_writer *w)
{
    int fd = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) /* a folder that may be written but not read */
        return FDIT_OK;
    bool synced = sync_fully(fd);
    int saved = errno;
    close(fd);
    if (synced)
        return FDIT_OK;
    return fdit_fail_errno(ctx, FDIT_ERROR_IO, saved,
                           "%s: is complete, but its folder cannot be synced to the disk", w->path);
}

/* The contents of a file that the system does not let have a name, into one that has. */
static enum fdit_status copy_unnamed(fdit_context *ctx, struct fdit_writer *w)
{
    enum fdit_status status = FDIT_OK;
    int from = w->fd;
    bool done;
    w->fd = -1;
    TRY(take_name(ctx, w, -1, &done));
    for (off_t at = 0;;) {
        ssize_t n = pread(from, w->buffer, BUFFER_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            break;
        if (n < 0 || !write_fully(w->fd, w->buffer, (size_t)n))
            TRY(writer_failure(ctx, w, "write"));
        at += n;
    }
out:
    close(from);
    return status;
}

/* A complete file without a name gets a temporary one: only a rename replaces what is at the path. It is
 * synced before, so that the name is there for a moment only, and after, because a file system may keep
 * nothing of a file without a name. */
static enum fdit_status give_name(fdit_context *ctx, struct fdit_writer *w)
{
    enum fdit_status status = FDIT_OK;
    bool done;
    if (w->durable && !sync_fully(w->fd))
        TRY(writer_failure(ctx, w, "sync to the disk"));
    TRY(take_name(ctx, w, w->fd, &done));
    if (!done)
        TRY(copy_unnamed(ctx, w));
out:
    return status;
}

enum fdit_status fdit_writer_commit(fdit_context *ctx, struct fdit_writer **writer)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = *writer;
    int lock = -1;
    *writer = NULL;
    if (w->failed)
        FAIL(ctx, FDIT_ERROR_IO, "%s: an earlier write failed; nothing was written there", w->path);
    TRY(flush(ctx, w));
    if (!w->direct && !w->temporary)
        TRY(give_name(ctx, w));
    if (w->durable && w->temporary && !sync_fully(w->fd))
        TRY(writer_failure(ctx, w, "sync to the disk"));
    /* Closing can report that the disk is full, so it comes before the rename; the second descriptor
     * keeps the lock until then. */
    lock = w->temporary ? fcntl(w->fd, F_DUPFD_CLOEXEC, 0) : -1;
    bool closed = close_fully(w->fd);
    w->fd = -1;
    if (!closed)
        TRY(writer_failure(ctx, w, "finish the file"));
    if (w->temporary) {
        if (injected_failure() || rename(w->temporary, w->path) != 0)
            TRY(writer_failure(ctx, w, "put the file in place"));
        fdit_free(w->temporary);
        w->temporary = NULL;
        if (w->durable)
            TRY(sync_folder(ctx, w));
    }
out:
    if (lock >= 0)
        close(lock);
    fdit_writer_abort(w);
    return status;
}

void fdit_writer_abort(struct fdit_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary)
        unlink(w->temporary);
    fdit_free(w->temporary);
    fdit_free(w->folder);
    fdit_free(w->path);
    fdit_free(w);
}

enum fdit_status fdit_file_target(fdit_context *ctx, const char *option, const char *path)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    bool there, is_folder;
    TRY(fdit_file_look(ctx, path, &there, &is_folder));
    if (is_folder)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s is a folder; give a file", option, path);
    TRY(fdit_path_folder(ctx, path, &folder));
    TRY(fdit_file_look(ctx, folder, &there, &is_folder));
    if (!is_folder)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: there is no folder %s; make it first", option, path, folder);
    if (access(folder, W_OK) != 0)
        status = fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s %s: cannot write into the folder %s", option,
                                 path, folder);
out:
    fdit_free(folder);
    return status;
}

enum fdit_status fdit_file_write(fdit_context *ctx, const char *path, bool durable, const void *bytes,
                                 size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    TRY(fdit_writer_open(ctx, path, durable, &w));
    TRY(fdit_writer_write(ctx, w, bytes, n));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    return status;
}

enum fdit_status fdit_write_at(fdit_context *ctx, int fd, const char *path, const void *bytes, size_t n,
                               uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pwrite(fd, (const uint8_t *)bytes + done, n - done, (off_t)(at + done));
        if (got < 0 && errno != EINTR)
            return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot write", path);
        done += got > 0 ? (size_t)got : 0;
    }
    return FDIT_OK;
}

/* One folder, all regular files in it, and its folders; links are not followed. */
static bool sync_tree(int fd)
{
    DIR *d = fdopendir(fd);
    bool good = d != NULL;
    if (!d)
        close(fd);
    for (struct dirent *e; good && (e = readdir(d));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
            continue;
        int one = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (one < 0)
            continue; /* gone, or not ours */
        if (S_ISDIR(st.st_mode)) {
            good = sync_tree(one);
        } else {
            good = sync_fully(one);
            close(one);
        }
    }
    if (!d)
        return false;
    good = good && sync_fully(dirfd(d));
    int saved = errno;
    closedir(d);
    errno = saved;
    return good;
}

/* With a single call where the system has one: a sync for each of many small files takes far longer. */
enum fdit_status fdit_folder_sync(fdit_context *ctx, const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) /* a folder that may be written but not read */
        return FDIT_OK;
#ifdef HAVE_SYNCFS
    int result;
    do
        result = injected_failure() ? -1 : syncfs(fd);
    while (result < 0 && errno == EINTR);
    bool good = result == 0;
    int saved = errno;
    if (good || saved != ENOSYS)
        close(fd);
    else
        good = sync_tree(fd);
    errno = saved == ENOSYS ? errno : saved;
#else
    bool good = sync_tree(fd);
#endif
    return good ? FDIT_OK
                : fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be synced to the disk", folder);
}

enum fdit_status fdit_folder_next(fdit_context *ctx, DIR *dir, const char *path, struct dirent **out)
{
    errno = 0;
    *out = readdir(dir);
    if (*out || !errno)
        return FDIT_OK;
    return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", path);
}

static bool is_temporary(const char *name)
{
    size_t n = strlen(name), before = strlen(TEMPORARY_PREFIX), behind = strlen(TEMPORARY_SUFFIX);
    return n > before + behind && strncmp(name, TEMPORARY_PREFIX, before) == 0 &&
           strcmp(name + n - behind, TEMPORARY_SUFFIX) == 0;
}

enum fdit_status fdit_folder_clean(fdit_context *ctx, const char *folder, size_t *removed)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot list the folder", folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_temporary(entry->d_name))
            continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            continue;
        /* Between open and flock the file may have got its place, and the name another file. */
        struct stat locked, named;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &locked) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            locked.st_ino == named.st_ino && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
            n++;
        close(fd);
    }
    closedir(dir);
    if (removed)
        *removed = n;
    return FDIT_OK;
}

/* ------------------------------------------------------------------ appending */

struct fdit_appender {
    char *path;
    int fd;
    uint64_t bytes;
};

enum fdit_status fdit_appender_open(fdit_context *ctx, const char *path, uint64_t offset,
                                    struct fdit_appender **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_appender *a = NULL;
    struct stat st;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *a, &a));
    a->fd = -1;
    TRY(fdit_strdup(ctx, path, &a->path));
    a->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (a->fd < 0 || fstat(a->fd, &st) != 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot open for appending", path));
    a->bytes = (uint64_t)st.st_size;
    if (offset != FDIT_APPEND_END && offset > a->bytes)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: has %ju bytes, but is to be continued at byte %ju; it "
             "does not belong to this run",
             path, (uintmax_t)a->bytes, (uintmax_t)offset);
    if (offset < a->bytes) {
        if (injected_failure() || ftruncate(a->fd, (off_t)offset) != 0)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot cut the file at byte %ju", path,
                                (uintmax_t)offset));
        a->bytes = offset;
    }
    *out = a;
    a = NULL;
out:
    if (a)
        fdit_appender_close(NULL, a);
    return status;
}

enum fdit_status fdit_appender_write(fdit_context *ctx, struct fdit_appender *a, const void *bytes, size_t n)
{
    if (!write_fully(a->fd, bytes, n)) {
        int saved = errno;
        bool cut = ftruncate(a->fd, (off_t)a->bytes) == 0;
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, saved, "%s: cannot append %zu bytes at byte %ju%s",
                               a->path, n, (uintmax_t)a->bytes, cut ? "" : " (its last line is cut off)");
    }
    a->bytes += n;
    return FDIT_OK;
}

enum fdit_status fdit_appender_sync(fdit_context *ctx, struct fdit_appender *a)
{
    if (!sync_fully(a->fd))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot sync to the disk", a->path);
    return FDIT_OK;
}

uint64_t fdit_appender_bytes(const struct fdit_appender *a)
{
    return a->bytes;
}

enum fdit_status fdit_appender_close(fdit_context *ctx, struct fdit_appender *a)
{
    enum fdit_status status = FDIT_OK;
    if (!a)
        return FDIT_OK;
    if (a->fd >= 0 && !close_fully(a->fd))
        status = fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot finish the file", a->path);
    fdit_free(a->path);
    fdit_free(a);
    return status;
}

enum fdit_status fdit_file_lines(fdit_context *ctx, const char *path, fdit_line_fn keep, void *user,
                                 uint64_t *offset)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_file_map map = { 0 };
    char *line = NULL;
    size_t capacity = 0, at = 0;
    *offset = 0;
    if (!fdit_file_exists(path))
        return FDIT_OK;
    TRY(fdit_file_map(ctx, path, &map));
    while (at < map.size) {
        const uint8_t *end = memchr(map.data + at, '\n', map.size - at);
        if (!end)
            break;
        size_t n = (size_t)(end - map.data) - at;
        TRY(fdit_grow(ctx, &line, &capacity, n + 1, 1));
        memcpy(line, map.data + at, n);
        line[n] = 0;
        if (!keep(user, line, n))
            break;
        at += n + 1;
    }
    *offset = at;
out:
    fdit_free(line);
    fdit_file_unmap(&map);
    return status;
}
