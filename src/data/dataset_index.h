/* SPDX-License-Identifier: Apache-2.0
 * dataset_index.h: the index of a data set, for the files that make it. Others use dataset.h. */
#ifndef FDIT_DATA_DATASET_INDEX_H
#define FDIT_DATA_DATASET_INDEX_H

#include "data/dataset.h"
#include "data/names.h"
#include "data/room.h"
#include "data/taxonomy_build.h"
#include "format/kind.h"

struct fdit_ds_item {
    uint64_t name;   /* start in names: the file's name, without its folder */
    uint64_t offset; /* archives: where the content begins in the archive, or in the spool */
    uint32_t size;   /* archives: of the content; more than FDIT_DS_LARGEST is kept as that + 1 */
    uint32_t place;
    int32_t label;
};

/* Sentences for people. */
struct fdit_ds_texts {
    char **list;
    size_t n, capacity;
};

struct fdit_dataset {
    struct fdit_dataset_options options;
    char *root;
    const char *kind;
    bool archives;
    bool mixed; /* there are pictures beside class folders: depths must differ */
    /* Folders that hold pictures, relative to the root; in archives "N:" stands before, the number
     * of the shard. */
    struct fdit_names places;
    struct fdit_names shards; /* archives */
    uint32_t *place_shard;    /* [places] archives */
    bool *packed;             /* [shards] contents are in the spool */
    size_t place_capacity, packed_capacity;
    int spool; /* unpacked contents of .tar.gz, a file without a name; -1 = none */
    uint64_t spool_size, spool_limit;
    bool spool_in_memory; /* it lies on a tmpfs */
    char *names;
    size_t n_names, names_capacity;
    struct fdit_ds_item *items;
    size_t n, items_capacity;
    size_t *first;              /* [classes + 1] */
    struct fdit_taxonomy *made; /* owned, when options.taxonomy was NULL */
    const struct fdit_taxonomy *taxonomy;
    struct fdit_room *room; /* of all threads that read pictures at the same time */
    bool tight;             /* it is less than they would take: a file is read when there is room for it */
    size_t ignored, missing, links, special;
    struct fdit_name_list ignored_names;
    size_t kinds[FDIT_KIND_COUNT]; /* of the ignored files */
    struct fdit_names left_out;    /* their names, when options.survey */
    struct fdit_ds_texts problems, notes;
    /* WebDataset whose class ids have names: their taxonomy, and which of its classes an id is. */
    struct fdit_taxonomy *named;
    char *named_text;            /* the member __taxonomy__ */
    struct fdit_names named_ids; /* ids in digits, in the order of draft's classes; empty: they are equal */
    struct fdit_taxonomy *draft; /* what the samples' .json say */
    struct {
        size_t agree, differ; /* samples whose .json has the id of its .cls, or another */
        char first[600];      /* that differs */
        char unclear[600];    /* what their ids and names contradict each other in */
    } told;
};

enum { FDIT_DS_LARGEST = 1 << 30 }; /* bytes of one encoded picture */

/* Fill places, items (labels = ids in `classes`) and classes (in any order) from a folder or from
 * archives; *numbered: labels are class ids already (WebDataset) and classes stays empty. */
enum fdit_status fdit_ds_index_folder(fdit_context *ctx, struct fdit_dataset *ds, struct fdit_names *classes);
enum fdit_status fdit_ds_index_tar(fdit_context *ctx, struct fdit_dataset *ds, const char *const *paths,
                                   size_t n_paths, struct fdit_names *classes, bool *numbered);
/* The folder of a place, without its shard. */
const char *fdit_ds_folder(const struct fdit_dataset *ds, size_t place);
/* What is never looked at: names with a dot in front, and what macOS, storage boxes and file
 * systems put beside people's files (__MACOSX, @eaDir, lost+found). */
bool fdit_ds_hidden(const char *name, size_t len);
/* Counts a file that is not a picture of a class. */
enum fdit_status fdit_ds_ignore(fdit_context *ctx, struct fdit_dataset *ds, const char *folder,
                                const char *name, enum fdit_kind kind);
/* What keeps the data from being used: gathered, so that all of them can be told at once. */
enum fdit_status fdit_ds_problem(fdit_context *ctx, struct fdit_dataset *ds, const char *format, ...)
    FDIT_PRINTF(3, 4);
/* What is worth knowing: a warning, which is also kept. */
enum fdit_status fdit_ds_note(fdit_context *ctx, struct fdit_dataset *ds, const char *format, ...)
    FDIT_PRINTF(3, 4);
void fdit_ds_texts_fini(struct fdit_ds_texts *texts);
/* Fails with the first problem, of which there is one, and the number of the others. */
enum fdit_status fdit_ds_fail(fdit_context *ctx, const struct fdit_dataset *ds);
/* Notes the files, links, pipes and devices that are left out, where there are any. */
enum fdit_status fdit_ds_note_left_out(fdit_context *ctx, struct fdit_dataset *ds);
/* To be called when folders are not in the taxonomy, all of them when `none`: refuses one whose first line
 * should name the columns and is a class, and one that has the folders as groups. Else FDIT_OK. */
enum fdit_status fdit_ds_refuse_taxonomy(fdit_context *ctx, const struct fdit_dataset *ds,
                                         const struct fdit_names *classes, bool none);
/* Whether files of weights are among what is left out. */
bool fdit_ds_has_weights(const struct fdit_dataset *ds);
/* Notes that the data set holds no picture, and what is there instead. */
enum fdit_status fdit_ds_no_picture(fdit_context *ctx, struct fdit_dataset *ds);
/* "1 BMP, 2 TIFF" of counts by kind, those of `group` only (FDIT_KIND_IS_OTHER: all). */
const char *fdit_ds_kinds_text(const size_t *kinds, enum fdit_kind_group group, char *text, size_t size);
/* The classes of a WebDataset get their names: labels, which are ids, become numbers in `classes`;
 * *ranks_done: ds->made is the taxonomy already. */
enum fdit_status fdit_ds_name_ids(fdit_context *ctx, struct fdit_dataset *ds, const char *ranks,
                                  struct fdit_names *classes, bool *numbered);
/* One member of a WebDataset that tells names: "__taxonomy__", or a sample's .json of n bytes. */
enum fdit_status fdit_ds_take_taxonomy(fdit_context *ctx, struct fdit_dataset *ds, const char *shard,
                                       const char *text, size_t n);
enum fdit_status fdit_ds_take_json(fdit_context *ctx, struct fdit_dataset *ds, const char *where,
                                   const char *text, size_t n, int64_t *class_id); /* -1: it tells none */
/* Memory that reading a picture with these headers takes. */
size_t fdit_ds_bytes_of(const struct fdit_dataset *ds, const struct fdit_picture_probe *p);
/* After the file of a picture, of this name, could not be opened or read: FDIT_ERROR_FORMAT, as of a broken
 * picture; but FDIT_ERROR_IO where others would fail as well, for want of descriptors or memory, or because
 * the whole data set is gone. */
enum fdit_status fdit_ds_unreadable(fdit_context *ctx, const struct fdit_dataset *ds, const char *name,
                                    int errnum);
/* Adds a picture; name is copied. */
enum fdit_status fdit_ds_add(fdit_context *ctx, struct fdit_dataset *ds, const char *name,
                             const struct fdit_ds_item *item);

#endif
