/* SPDX-License-Identifier: Apache-2.0 */
#include "train/folder.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool fdit_run_folder_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool empty = true;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            empty = false;
    if (dir)
        closedir(dir);
    return empty;
}

static enum fdit_status lock(fdit_context *ctx, const char *path, int *out)
{
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0 && flock(*out, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return fdit_fail(
            ctx, FDIT_ERROR_IO,
            "%s: another process is training there; wait for its end, or give another --out", path);
    return FDIT_OK;
}

enum fdit_status fdit_run_folder_init(fdit_context *ctx, const char *path,
                                      struct fdit_run_folder *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_run_folder f = { .lock = -1 };
    char *part = NULL;
    *out = (struct fdit_run_folder){ .lock = -1 };
    TRY(fdit_strdup(ctx, path, &f.path));
    f.existed = strlen(path);
    while (f.existed > 1 && path[f.existed - 1] == '/')
        f.existed--;
    f.path[f.existed] = '\0';
    while (f.existed > 0) {
        fdit_free(part);
        TRY(fdit_strndup(ctx, f.path, f.existed, &part));
        if (fdit_file_exists(part))
            break;
        while (f.existed > 0 && f.path[f.existed - 1] != '/')
            f.existed--;
        while (f.existed > 1 && f.path[f.existed - 1] == '/')
            f.existed--;
    }
    *out = f;
    out->ours = f.path[f.existed] != '\0'; /* what mkdirs makes before it fails */
    f.path = NULL;
    TRY(fdit_mkdirs(ctx, path));
    out->ours = false;
    TRY(lock(ctx, path, &out->lock));
    out->ours = fdit_run_folder_is_empty(path);
out:
    fdit_free(part);
    fdit_free(f.path);
    return status;
}

void fdit_run_folder_fini(struct fdit_run_folder *f)
{
    if (f->lock >= 0)
        close(f->lock);
    fdit_free(f->path);
    *f = (struct fdit_run_folder){ .lock = -1 };
}

/* Removes the entries of folder/name whose names begin with one of the texts. */
static void remove_in(const char *folder, const char *name, const char *const *begin, size_t n)
{
    char *path = NULL, *file = NULL;
    if (fdit_path_join(NULL, folder, name, &path) != FDIT_OK)
        return;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        for (size_t i = 0; i < n; i++) {
            if (strncmp(e->d_name, begin[i], strlen(begin[i])))
                continue;
            if (fdit_path_join(NULL, path, e->d_name, &file) == FDIT_OK)
                unlink(file);
            fdit_free(file);
            file = NULL;
            break;
        }
    }
    if (dir)
        closedir(dir);
    if (*name)
        rmdir(path);
    fdit_free(path);
}

void fdit_run_folder_undo(struct fdit_run_folder *f)
{
    static const char *const pictures[] = { "step-" };
    static const char *const own[] = { "config.json", "log.jsonl", "events.out.tfevents." };
    if (!f->path || !f->ours)
        return;
    remove_in(f->path, "checkpoints", pictures, 1);
    remove_in(f->path, "previews", pictures, 1);
    remove_in(f->path, "", own, 3);
    for (size_t n = strlen(f->path); n > f->existed;) {
        if (rmdir(f->path) && errno != ENOENT)
            return;
        while (n > f->existed && f->path[n - 1] != '/')
            n--;
        while (n > f->existed && f->path[n - 1] == '/')
            n--;
        f->path[n] = '\0';
    }
}
