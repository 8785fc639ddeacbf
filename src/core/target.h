/* SPDX-License-Identifier: Apache-2.0
 * target.h: what a command writes must not be what it reads, whatever the two are called.
 *
 *     const struct fdit_input sources[] = { { "--base", o->base }, { "DATA", o->data } };
 *     TRY(fdit_target_check(ctx, "--grid", o->grid, sources, 2));
 *
 * Files are compared by device and inode, so links, other spellings of a path and mounts do not matter. */
#ifndef FDIT_CORE_TARGET_H
#define FDIT_CORE_TARGET_H

#include "core/status.h"

struct fdit_input {
    const char *option; /* as messages call it: "--base", "DATA" */
    const char *path;   /* file or folder; NULL, or one that is not there: passed over */
    bool data;          /* a data set: no file may be written in its folder, nor a new one */
};

/* FDIT_ERROR_ARGUMENT when the file at `path` is a source; a file of weights in or below the folder that is
 * a source; or a part X-00001-of-00002.safetensors of the index X.safetensors.index.json that is one. When
 * `path` is such an index itself, the parts that it would get are looked at as well. A `path` that is not
 * there yet hits only a data set in whose folder it would lie. NULL is allowed. */
enum fdit_status fdit_target_check(fdit_context *ctx, const char *option, const char *path,
                                   const struct fdit_input *sources, size_t n);

/* FDIT_ERROR_ARGUMENT unless the name ends with `ending` (".png", letter case ignored); devices and pipes
 * may be called anything. `what` is what is written: "a contact sheet". */
enum fdit_status fdit_target_ending(fdit_context *ctx, const char *option, const char *path,
                                    const char *ending, const char *what);

#endif
