/* SPDX-License-Identifier: Apache-2.0 */
#include "core/folder_lock.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_TRIES = 100 };

bool fdit_folder_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool empty = true;
    for (struct dirent *e; dir && (errno = 0, e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            empty = false;
    if (dir && errno)
        empty = false;
    if (dir)
        closedir(dir);
    return empty;
}

/* How much of the path is there: the length of its longest leading part that exists. */
static enum fdit_status find_existing(fdit_context *ctx, const char *path, size_t *out)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL;
    size_t n = strlen(path);
    while (n > 0) {
        fdit_free(part);
        TRY(fdit_strndup(ctx, path, n, &part));
        if (fdit_file_exists(part))
            break;
        while (n > 0 && path[n - 1] != '/')
            n--;
        while (n > 1 && path[n - 1] == '/')
            n--;
    }
    *out = n;
out:
    fdit_free(part);
    return status;
}

/* The folder may have been removed, or replaced, between its opening and its lock. */
static bool is_still_there(int fd, const char *path)
{
    struct stat held, there;
    return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

enum fdit_status fdit_folder_lock(fdit_context *ctx, const char *path, enum fdit_folder_use use,
                                  struct fdit_folder_lock *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = strlen(path);
    *out = FDIT_FOLDER_UNLOCKED;
    while (n > 1 && path[n - 1] == '/')
        n--;
    TRY(fdit_strndup(ctx, path, n, &out->path));
    TRY(find_existing(ctx, out->path, &out->existed));
    for (int i = 0; i < MOST_TRIES; i++) {
        TRY(fdit_mkdirs(ctx, out->path));
        out->fd = open(out->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (out->fd < 0 && errno == ENOENT)
            continue; /* another process that failed has removed what it made */
        if (out->fd < 0)
            break; /* may be written but not read: there is no lock then */
        if (flock(out->fd, (use == FDIT_FOLDER_ALONE ? LOCK_EX : LOCK_SH) | LOCK_NB) &&
            errno == EWOULDBLOCK) {
            out->busy = true;
            out->existed = strlen(out->path); /* the other's now, whoever made it */
            FAIL(ctx, FDIT_ERROR_IO,
                 "%s: another process is writing there; wait for its end, or give another folder", path);
        }
        if (is_still_there(out->fd, out->path))
            break;
        close(out->fd);
        out->fd = -1;
    }
    if (use == FDIT_FOLDER_ALONE && out->fd >= 0)
        TRY(fdit_folder_clean(ctx, out->path, NULL));
out:
    return status;
}

void fdit_folder_unlock(struct fdit_folder_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    fdit_free(lock->path);
    *lock = FDIT_FOLDER_UNLOCKED;
}

void fdit_folder_remove_made(struct fdit_folder_lock *lock)
{
    for (size_t n = lock->path ? strlen(lock->path) : 0; n > lock->existed;) {
        if (rmdir(lock->path) && errno != ENOENT)
            return;
        while (n > lock->existed && lock->path[n - 1] != '/')
            n--;
        while (n > lock->existed && lock->path[n - 1] == '/')
            n--;
        lock->path[n] = '\0';
    }
}

enum fdit_status fdit_file_lock(fdit_context *ctx, const char *path, struct fdit_file_lock *out, bool *busy)
{
    enum fdit_status status = FDIT_OK;
    *out = FDIT_FILE_UNLOCKED;
    *busy = false;
    TRY(fdit_strdup(ctx, path, &out->path));
    for (int i = 0; i < MOST_TRIES; i++) {
        out->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        if (out->fd < 0)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be made or opened", path));
        *busy = flock(out->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        /* another process may have removed it between the two */
        if (!*busy && is_still_there(out->fd, path))
            break;
        close(out->fd);
        out->fd = -1;
        if (*busy)
            break;
    }
out:
    return status;
}

void fdit_file_unlock(struct fdit_file_lock *lock)
{
    if (lock->fd >= 0) {
        unlink(lock->path); /* while it is locked */
        close(lock->fd);
    }
    fdit_free(lock->path);
    *lock = FDIT_FILE_UNLOCKED;
}
