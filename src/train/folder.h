/* SPDX-License-Identifier: Apache-2.0
 * folder.h: the folder of a run, and how it goes away again when the run fails before its first
 * checkpoint: a failed start leaves nothing behind that a second try would stumble over. */
#ifndef FDIT_TRAIN_FOLDER_H
#define FDIT_TRAIN_FOLDER_H

#include "core/status.h"

struct fdit_run_folder {
    char *path;
    size_t existed; /* length of the leading part of path that was there before */
    bool ours;      /* the folder was empty or absent: all in it is of this run */
    int lock;       /* open descriptor of the folder, locked; -1: none */
};

bool fdit_run_folder_is_empty(const char *path); /* also when it does not exist */
/* Notes what is there, makes the folder, and locks it as long as *out lives (the lock of a process
 * that was killed is gone): a folder that another process has locked is FDIT_ERROR_IO. Where the
 * file system has no locks there is none. Give back with fdit_run_folder_fini, also after a
 * failure. */
enum fdit_status fdit_run_folder_init(fdit_context *ctx, const char *path,
                                      struct fdit_run_folder *out);
void fdit_run_folder_fini(struct fdit_run_folder *f);
/* Removes the files of a run and the folders that init did not find. Does nothing unless it is
 * ours; files that no run makes stay. */
void fdit_run_folder_undo(struct fdit_run_folder *f);

#endif
