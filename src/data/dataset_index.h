/* SPDX-License-Identifier: Apache-2.0
 * dataset_index.h: the index of a data set, for the files that make it. Others use dataset.h. */
#ifndef FDIT_DATA_DATASET_INDEX_H
#define FDIT_DATA_DATASET_INDEX_H

#include "data/dataset.h"
#include "data/names.h"
#include "data/room.h"

struct fdit_ds_item {
    uint64_t name;   /* start in names: the file's name, without its folder */
    uint64_t offset; /* archives: where the content begins in the archive, or in the spool */
    uint32_t size;   /* archives: of the content; more than FDIT_DS_LARGEST is kept as that + 1 */
    uint32_t place;
    int32_t label;
};

struct fdit_dataset {
    struct fdit_dataset_options options;
    char *root;
    const char *kind;
    bool archives;
    /* Folders that hold pictures, relative to the root; in archives "N:" stands before, the number
     * of the shard. */
    struct fdit_names places;
    struct fdit_names shards; /* archives */
    uint32_t *place_shard;    /* [places] archives */
    bool *packed;             /* [shards] contents are in the spool */
    size_t place_capacity, packed_capacity;
    int spool; /* unpacked contents of .tar.gz, a file without a name; -1 = none */
    uint64_t spool_size;
    char *names;
    size_t n_names, names_capacity;
    struct fdit_ds_item *items;
    size_t n, items_capacity;
    size_t *first;              /* [classes + 1] */
    struct fdit_taxonomy *made; /* owned, when options.taxonomy was NULL */
    const struct fdit_taxonomy *taxonomy;
    struct fdit_room *room; /* of all threads that read pictures at the same time */
    size_t ignored, missing, links;
    struct fdit_name_list ignored_names;
};

enum { FDIT_DS_LARGEST = 1 << 30 }; /* bytes of one encoded picture */

/* Fill places, items (labels = ids in `classes`) and classes (in any order) from a folder or from
 * archives; *numbered: labels are class ids already (WebDataset) and classes stays empty. */
enum fdit_status fdit_ds_index_folder(fdit_context *ctx, struct fdit_dataset *ds,
                                      struct fdit_names *classes);
enum fdit_status fdit_ds_index_tar(fdit_context *ctx, struct fdit_dataset *ds,
                                   const char *const *paths, size_t n_paths,
                                   struct fdit_names *classes, bool *numbered);
/* The folder of a place, without its shard. */
const char *fdit_ds_folder(const struct fdit_dataset *ds, size_t place);
/* What is never looked at: names with a dot in front, and what macOS, storage boxes and file
 * systems put beside people's files (__MACOSX, @eaDir, lost+found). */
bool fdit_ds_hidden(const char *name, size_t len);
/* Counts a file that is no picture of a class. */
void fdit_ds_ignore(struct fdit_dataset *ds, const char *name);
/* Adds a picture; name is copied. */
enum fdit_status fdit_ds_add(fdit_context *ctx, struct fdit_dataset *ds, const char *name,
                             const struct fdit_ds_item *item);

#endif
