/* SPDX-License-Identifier: Apache-2.0
 * shards.h: names of the files of numbers beside an index (*.index.json), so that a model in shards
 * is replaced in one step: new files have names that were free, the index is renamed last, what
 * only the old index named goes then. Whoever reads the index at any moment finds the files that it
 * names. */
#ifndef FDIT_MODEL_SHARDS_H
#define FDIT_MODEL_SHARDS_H

#include "core/status.h"

/* "FOLDER/model", or "FOLDER/model.v2" and so on: with "-00001-of-0000N.safetensors" behind it,
 * none of the n names with `final` is taken. `index` is "FOLDER/model.safetensors.index.json" or without the
 * first ending. */
struct fdit_shards_stem {
    char *unfinished; /* "model.v0": while not all of them are there; such names are ours to replace */
    char *final;
};
enum fdit_status fdit_shards_stem(fdit_context *ctx, const char *index, size_t n,
                                  struct fdit_shards_stem *out);
void fdit_shards_stem_fini(struct fdit_shards_stem *s);
/* Gives the n shards their final names. */
enum fdit_status fdit_shards_publish(fdit_context *ctx, const struct fdit_shards_stem *s, size_t n);
/* Removes the first `written` of n shards, under either name. */
void fdit_shards_drop(const struct fdit_shards_stem *s, size_t written, size_t n);
/* Shard i (from 1) of n. */
enum fdit_status fdit_shards_name(fdit_context *ctx, const char *stem, size_t i, size_t n, char **out);

/* The files that an index names, as paths. An index that is not there or cannot be read names none. */
struct fdit_shards {
    char **paths;
    size_t n, capacity;
};
enum fdit_status fdit_shards_read(fdit_context *ctx, const char *index, struct fdit_shards *out);
void fdit_shards_fini(struct fdit_shards *s);
/* After the new index has taken its place: removes those of `old` that neither it nor another index in
 * the folder names, and numbered ones that a killed run left. Files that cannot be removed stay. */
enum fdit_status fdit_shards_clean(fdit_context *ctx, const char *index, const struct fdit_shards *old);

#endif
