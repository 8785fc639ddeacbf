/* SPDX-License-Identifier: Apache-2.0
 * folder_lock.h: who writes into a folder takes its lock before he looks at what is in it; what he saw then
 * stays true until he gives it back.
 *
 *     struct fdit_folder_lock lock = FDIT_FOLDER_UNLOCKED;
 *     TRY(fdit_folder_lock(ctx, dir, FDIT_FOLDER_ALONE, &lock)); // makes the folder
 *     if (!fdit_folder_is_empty(dir))
 *         ... refuse, or go on with what is there
 * out:
 *     if (status != FDIT_OK)
 *         fdit_folder_remove_made(&lock);  // folders that were not there before and are empty still
 *     fdit_folder_unlock(&lock);
 *
 * The lock belongs to the process: it ends with it, however that ends. Where the file system has no locks
 * there is none. */
#ifndef FDIT_CORE_FOLDER_LOCK_H
#define FDIT_CORE_FOLDER_LOCK_H

#include "core/status.h"

enum fdit_folder_use {
    FDIT_FOLDER_ALONE,    /* no other process may have it */
    FDIT_FOLDER_TOGETHER, /* others that take it so as well may: the parts of one job */
};

struct fdit_folder_lock {
    char *path;     /* without slashes at its end; NULL: nothing is held */
    size_t existed; /* length of the leading part of path that was there before */
    int fd;         /* of the folder; -1: none */
    bool busy;      /* it was not given because another process has it */
};

#define FDIT_FOLDER_UNLOCKED ((struct fdit_folder_lock){ .fd = -1 })

/* Makes the folder, with those above it, and locks it. FDIT_ERROR_IO when it cannot be made, or when
 * another process has it (out->busy). ALONE also removes temporary files that a killed program left in it.
 * After a failure *out still tells which folders were made; give it back in any case. */
enum fdit_status fdit_folder_lock(fdit_context *ctx, const char *path, enum fdit_folder_use use,
                                  struct fdit_folder_lock *out);
void fdit_folder_unlock(struct fdit_folder_lock *lock); /* also of one that is not held */
/* Removes the folders that _lock made, from the innermost outwards, as far as they are empty. */
void fdit_folder_remove_made(struct fdit_folder_lock *lock);

/* A locked file that says by its name what of a folder is being written: for parts of one job, and where a
 * folder itself cannot be locked. It goes with the lock. */
struct fdit_file_lock {
    char *path; /* NULL: nothing is held */
    int fd;
};

#define FDIT_FILE_UNLOCKED ((struct fdit_file_lock){ .fd = -1 })

/* *busy: another process has it; that is FDIT_OK, too. Give *out back in any case. */
enum fdit_status fdit_file_lock(fdit_context *ctx, const char *path, struct fdit_file_lock *out, bool *busy);
void fdit_file_unlock(struct fdit_file_lock *lock); /* removes the file; also of one that is not held */

/* Also when it does not exist; false where it cannot be read to its end. */
bool fdit_folder_is_empty(const char *path);

#endif
