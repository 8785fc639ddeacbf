/* SPDX-License-Identifier: Apache-2.0
 * dataset.h: pictures with class labels, wherever they lie.
 *
 *   folder       one sub-folder per class; nested: the class is the path relative to the folder
 *   .tar         of such a folder, or .tar.gz or .tgz. A single top folder around all class folders
 *                (what `tar c DATA` makes) is left out of the names, unless only the names with it
 *                are in the taxonomy.
 *   WebDataset   .tar shards with KEY.cls (an ASCII class id) beside each picture KEY.jpg, .png or
 *                .webp (beside KEY.jpg, a KEY.other.png is left out): one file, a folder that holds
 *                nothing but shards, or a list with commas, braces and * ? [ as a shell has them,
 *                "train-{000..041}.tar,extra/{a,b}-*.tar"
 *
 * Which files are pictures: those named .png, .jpg, .jpeg or .webp, and among the others those whose
 * first bytes are a PNG's, JPEG's or WebP's. Decoding goes by content alone. Other files are counted
 * and left out; names that start with a dot, and __MACOSX, @eaDir and lost+found, are not looked at.
 * Symbolic links are followed; in archives links are counted and left out.
 *
 * Order: by class id, then (archives) by shard and folder, then by name in byte order, so a folder
 * and its tar give the same indices. Class ids: those of the taxonomy; without one, the byte order of
 * the folder names (WebDataset: the ids themselves).
 *
 * Memory: 32 bytes and the file's name (without its folder) per picture; twice that while the index
 * grows. A .tar.gz is unpacked once into a nameless file in $TMPDIR (else /var/tmp). */
#ifndef FDIT_DATA_DATASET_H
#define FDIT_DATA_DATASET_H

#include "core/status.h"
#include "data/taxonomy.h"
#include "picture/picture_probe.h"

struct fdit_dataset;

enum fdit_fit { FDIT_FIT_CROP, FDIT_FIT_PAD }; /* fdit_picture_crop, fdit_picture_pad */

struct fdit_dataset_options {
    const struct fdit_taxonomy *taxonomy; /* NULL: made from the folders; must outlive the set */
    const char *ranks;                    /* for a taxonomy made from folders; NULL = all levels */
    int size;                             /* S: pictures become S x S */
    int channels;                         /* 3 = RGB, 1 = grey */
    enum fdit_fit fit;
    struct fdit_picture_rules rules; /* orientation, transparency, and what reading one may take */
    bool flip;                       /* mirror images may be used; only kept here, nothing is mirrored */
    bool survey;                     /* problems are gathered, see fdit_dataset_problem, and do not fail */
    bool whole;         /* pictures are read by fdit_dataset_picture; `size` is what they are resized to */
    bool skip_bad;      /* pictures that cannot be read will be left out: fdit_dataset_marks goes on */
    bool allow_missing; /* classes without a picture are counted, not refused */
    bool loose;         /* nobody asks for classes: pictures may lie in no class folder (they are of class
                           "."), beside folders, and at any depth; with ranks "none" */
    const struct fdit_taxonomy *known; /* or only those that are classes of this one; NULL: none */
    size_t memory; /* what is unpacked is within it where TMPDIR lies in memory; 0: no bound but its own */
};

struct fdit_dataset_info {
    const char *kind; /* "folder", "tar", "webdataset" */
    size_t n;         /* pictures */
    int size, channels;
    enum fdit_fit fit;
    bool flip;
    size_t missing;      /* classes without a picture */
    size_t ignored;      /* files that are not pictures */
    size_t links;        /* in archives */
    size_t special;      /* pipes and devices, in archives */
    size_t memory_bytes; /* of the index */
};

/* Makes the index; no picture is decoded. With options.survey it also succeeds with data that cannot be
 * used, as far as they can be read: what is wrong is then listed, pictures without a valid class are left
 * out, and a set without a picture has no taxonomy (NULL).
 * Errors name the folder: a class that is not in the taxonomy, a class folder without pictures or one that
 * cannot be read, pictures beside class folders, a .cls that is not an id, no picture at all. Several of a
 * kind are counted and the first few named. */
enum fdit_status fdit_dataset_open(fdit_context *ctx, const char *path,
                                   const struct fdit_dataset_options *options, struct fdit_dataset **out);
void fdit_dataset_close(struct fdit_dataset *ds); /* NULL is allowed */

/* With options.survey: sentences on what keeps the data from being used, and what is worth knowing. */
size_t fdit_dataset_problems(const struct fdit_dataset *ds);
const char *fdit_dataset_problem(const struct fdit_dataset *ds, size_t i);
size_t fdit_dataset_notes(const struct fdit_dataset *ds);
const char *fdit_dataset_note(const struct fdit_dataset *ds, size_t i);
/* Files that were left out, by fdit_kind (kind.h), and with options.survey their names. */
size_t fdit_dataset_left_out_kind(const struct fdit_dataset *ds, int kind);
size_t fdit_dataset_left_out(const struct fdit_dataset *ds);
const char *fdit_dataset_left_out_name(const struct fdit_dataset *ds, size_t i);

struct fdit_dataset_info fdit_dataset_info(const struct fdit_dataset *ds);
size_t fdit_dataset_size(const struct fdit_dataset *ds); /* number of pictures */
/* Of the options, or the one made from the folders (then owned by ds). */
const struct fdit_taxonomy *fdit_dataset_taxonomy(const struct fdit_dataset *ds);
int32_t fdit_dataset_label(const struct fdit_dataset *ds, size_t i);
/* Pictures of class id are those with indices first .. first + count - 1. */
size_t fdit_dataset_class_first(const struct fdit_dataset *ds, int32_t id);
size_t fdit_dataset_class_count(const struct fdit_dataset *ds, int32_t id);
/* "DATA/class/file.jpg" or "shard.tar:member.jpg"; free with fdit_free. */
enum fdit_status fdit_dataset_name(fdit_context *ctx, const struct fdit_dataset *ds, size_t i, char **out);

/* Picture i: decoded, fitted to S x S, to `channels` planes: chw [channels, S, S]. Any number of
 * threads at once, each with its own context. A picture that is broken or cannot be read: FDIT_ERROR_FORMAT
 * or _UNSUPPORTED with its name and the reason; an archive or a folder that went away, and a want of
 * descriptors: FDIT_ERROR_IO. */
enum fdit_status fdit_dataset_decode(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                     uint8_t *chw);
/* Picture i decoded whole, in RGB, given to `use`, whose status is returned. With options.whole, for then
 * its memory is that of the plan. Threads and errors as for decode. */
typedef enum fdit_status (*fdit_dataset_use_fn)(fdit_context *ctx, void *user, const struct fdit_picture *p);
enum fdit_status fdit_dataset_picture(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                      fdit_dataset_use_fn use, void *user);
/* The encoded bytes of picture i, *bytes from fdit_alloc. Errors as for decode. */
enum fdit_status fdit_dataset_read(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                   uint8_t **bytes, size_t *n);

/* What the headers of picture i say: size, EXIF orientation, alpha, kind; reads a few kilobytes. Any number
 * of threads at once. Errors as for decode. */
enum fdit_status fdit_dataset_probe(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                    struct fdit_picture_probe *out);

/* Memory that `threads` (0: one) threads take while they read and decode pictures, for the plan: by the
 * headers of some pictures, evenly spread. From now on all threads together stay within *bytes; a picture
 * that needs more is read while nobody else reads. limit (0: none) is the most that *bytes may be; a
 * picture that needs more is refused when it is read, and now if it is among those looked at, but for
 * skip_bad. Broken headers are left to those who read. Before any thread reads. */
enum fdit_status fdit_dataset_plan_reading(fdit_context *ctx, struct fdit_dataset *ds, int threads,
                                           size_t limit, bool skip_bad, size_t *bytes);

/* A split that depends on (data set, fraction, seed) only. A class with pictures first .. first+n-1
 * gives round(fraction (first+n)) - round(fraction first) of them, so rounding errors do not add up
 * over the classes, but never its last one; which, is the order that (seed, FDIT_RNG_SPLIT, stream
 * = class id) gives. Both lists ascend; both from fdit_alloc. fraction in (0, 1); no picture for
 * validation: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_dataset_split(fdit_context *ctx, const struct fdit_dataset *ds, double fraction,
                                    uint64_t seed, uint32_t **train, size_t *n_train, uint32_t **validation,
                                    size_t *n_validation);

#endif
