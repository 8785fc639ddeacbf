/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run_folder.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Whether path has at most the empty folders that a run makes, and pictures that were drawn before it. */
static enum fdit_status look(fdit_context *ctx, const char *path, bool *fresh)
{
    enum fdit_status status = FDIT_OK;
    char *inner = NULL;
    DIR *dir = opendir(path);
    *fresh = true;
    while (dir && *fresh) {
        struct dirent *e;
        TRY(fdit_folder_next(ctx, dir, path, &e));
        if (!e)
            break;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (!strcmp(e->d_name, "prior")) /* drawing it goes on */
            continue;
        if (strcmp(e->d_name, "checkpoints") && strcmp(e->d_name, "previews") &&
            strcmp(e->d_name, "snapshots")) {
            *fresh = false;
            break;
        }
        fdit_free(inner);
        TRY(fdit_path_join(ctx, path, e->d_name, &inner));
        if (fdit_is_folder(inner))
            TRY(fdit_folder_clean(ctx, inner, NULL));
        *fresh = fdit_is_folder(inner) && fdit_folder_is_empty(inner);
    }
out:
    if (dir)
        closedir(dir);
    fdit_free(inner);
    return status;
}

enum fdit_status fdit_run_folder_init(fdit_context *ctx, const char *path, struct fdit_run_folder *out)
{
    enum fdit_status status = FDIT_OK;
    *out = FDIT_NO_RUN_FOLDER;
    TRY(fdit_folder_lock(ctx, path, FDIT_FOLDER_ALONE, &out->lock));
    TRY(look(ctx, path, &out->fresh));
out:
    return status;
}

void fdit_run_folder_fini(struct fdit_run_folder *f)
{
    fdit_folder_unlock(&f->lock);
    *f = FDIT_NO_RUN_FOLDER;
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
    static const char *const own[] = { "config.json", "log.jsonl", "val-classes.tsv",
                                       "events.out.tfevents." };
    if (f->lock.path && f->fresh) {
        remove_in(f->lock.path, "checkpoints", pictures, 1);
        remove_in(f->lock.path, "previews", pictures, 1);
        remove_in(f->lock.path, "snapshots", pictures, 1);
        remove_in(f->lock.path, "", own, sizeof own / sizeof *own);
    }
    fdit_folder_remove_made(&f->lock);
}
