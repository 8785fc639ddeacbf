/* SPDX-License-Identifier: Apache-2.0
 * run_folder.h: the folder of a run, and how it goes away again when the run fails before its first
 * checkpoint: a failed start leaves nothing behind that a second try would stumble over. */
#ifndef FDIT_TRAIN_RUN_FOLDER_H
#define FDIT_TRAIN_RUN_FOLDER_H

#include "core/folder_lock.h"

struct fdit_run_folder {
    struct fdit_folder_lock lock;
    bool fresh; /* nothing was in it: all in it is of this run */
};

#define FDIT_NO_RUN_FOLDER ((struct fdit_run_folder){ .lock = FDIT_FOLDER_UNLOCKED })

/* Makes the folder, locks it (see fdit_folder_lock) and looks what is there. What a run that was killed
 * before its config.json leaves (empty folders of its own, drawn pictures of the prior) counts as nothing.
 * Give back with fdit_run_folder_fini, also after a failure. */
enum fdit_status fdit_run_folder_init(fdit_context *ctx, const char *path, struct fdit_run_folder *out);
void fdit_run_folder_fini(struct fdit_run_folder *f);
/* Removes the folders that init made and, where it was fresh, the files of a run; files that no run makes
 * stay. */
void fdit_run_folder_undo(struct fdit_run_folder *f);

#endif
