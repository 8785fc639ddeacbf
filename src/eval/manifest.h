/* SPDX-License-Identifier: Apache-2.0
 * manifest.h: the pictures that a manifest of `sample` names, among those of its folder: a line of JSON for
 * each, with "file" and, where they lie in archives, "tar", both beside the manifest. */
#ifndef FDIT_EVAL_MANIFEST_H
#define FDIT_EVAL_MANIFEST_H

#include "data/dataset.h"

struct fdit_manifest;

/* Whether the path is one: a file named *.jsonl. */
bool fdit_manifest_is(const char *path);
/* A line that names no picture is FDIT_ERROR_FORMAT. */
enum fdit_status fdit_manifest_open(fdit_context *ctx, const char *path, struct fdit_manifest **out);
void fdit_manifest_close(struct fdit_manifest *m); /* NULL is allowed */
const char *fdit_manifest_folder(const struct fdit_manifest *m);
/* Which pictures of the folder's data set are meant, ascending; *index from fdit_alloc. One that the manifest
 * names and the set does not have is FDIT_ERROR_ARGUMENT with its name. */
enum fdit_status fdit_manifest_choose(fdit_context *ctx, const struct fdit_manifest *m,
                                      const struct fdit_dataset *ds, uint32_t **index, size_t *n);

#endif
