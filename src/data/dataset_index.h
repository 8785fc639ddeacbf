/* SPDX-License-Identifier: Apache-2.0
 * dataset_index.h: the index of a data set, for the files that make it. Others use dataset.h. */
#ifndef FDIT_DATA_DATASET_INDEX_H
#define FDIT_DATA_DATASET_INDEX_H

#include "data/dataset.h"
#include "data/names.h"

struct fdit_ds_item {
    uint64_t name;   /* start in names: the file's name, or the whole name of an archive's member */
    uint64_t offset; /* archives: where the content begins in the archive, or in the spool */
    uint64_t size;   /* archives: of the content */
    uint32_t place;  /* the class folder, or the shard */
    int32_t label;
};

struct fdit_dataset {
    struct fdit_dataset_options options;
    char *root;
    const char *kind;
    bool archives; /* places are shards, not folders */
    struct fdit_names places;
    bool *packed; /* [places] archives: contents are in the spool */
    size_t packed_capacity;
    int spool; /* unpacked contents of .tar.gz, a file without a name; -1 = none */
    uint64_t spool_size;
    char *names;
    size_t n_names, names_capacity;
    struct fdit_ds_item *items;
    size_t n, items_capacity;
    size_t *first;              /* [classes + 1] */
    struct fdit_taxonomy *made; /* owned, when options.taxonomy was NULL */
    const struct fdit_taxonomy *taxonomy;
    size_t ignored, missing;
};

enum { FDIT_DS_LARGEST = 1 << 30 }; /* bytes of one encoded picture */

/* Fill places, items (labels = ids in `classes`) and classes (in any order) from a folder or from
 * archives; *numbered: labels are class ids already (WebDataset) and classes stays empty. */
enum fdit_status fdit_ds_index_folder(fdit_context *ctx, struct fdit_dataset *ds,
                                      struct fdit_names *classes);
enum fdit_status fdit_ds_index_tar(fdit_context *ctx, struct fdit_dataset *ds,
                                   const char *const *paths, size_t n_paths,
                                   struct fdit_names *classes, bool *numbered);
/* Adds a picture; name is copied. */
enum fdit_status fdit_ds_add(fdit_context *ctx, struct fdit_dataset *ds, const char *name,
                             const struct fdit_ds_item *item);

#endif
