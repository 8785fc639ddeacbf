/* SPDX-License-Identifier: Apache-2.0
 * subject.h: what a job samples: the weights' files, the classes that they know, and the guide. */
#ifndef FDIT_SAMPLE_SUBJECT_H
#define FDIT_SAMPLE_SUBJECT_H

#include "model/checkpoint.h"
#include "sample/options.h"

enum fdit_guide {
    FDIT_GUIDE_NONE,       /* the class alone */
    FDIT_GUIDE_SUPERCLASS, /* the class's group at a rank */
    FDIT_GUIDE_EMPTY,      /* the table's last row, trained for dropped labels */
    FDIT_GUIDE_RANDOM,     /* another class, drawn for each picture */
    FDIT_GUIDE_BASE,       /* the base model at the last row of its own table */
    FDIT_GUIDE_DELTA,      /* the same class in another delta of the base */
};

/* Files in the order in which fdit_model_load asks them. */
struct fdit_weight_files {
    struct fdit_checkpoint *list[2];
    int n;
    struct fdit_model_config config;
};

struct fdit_subject {
    struct fdit_checkpoint *base, *delta, *guide_delta; /* open files; NULL where there is none */
    struct fdit_weight_files files;                     /* of the sampled model */
    struct fdit_taxonomy *taxonomy;
    bool named; /* false: nothing names the classes, they are numbers */
    enum fdit_guide guide;
    int32_t rank;                         /* FDIT_GUIDE_SUPERCLASS */
    struct fdit_weight_files guide_files; /* n = 0: the guide is the sampled model itself */
    int32_t *guide_rows;                  /* FDIT_GUIDE_DELTA: [classes] rows of its table */
    char *guide_text;                     /* as --guide takes it, for messages and files: no path */
};

/* Opens the files, checks that they belong together (sizes, table, fingerprint of the base; with
 * o->force a fingerprint that differs is only warned about) and that the guide was trained.
 * On failure *s is empty. Close with fdit_subject_close. */
enum fdit_status fdit_subject_open(fdit_context *ctx, const struct fdit_sample_options *o,
                                   struct fdit_subject *s);
void fdit_subject_close(struct fdit_subject *s);

/* Rows and random stream of a picture. A random guide depends on class and seed alone. */
struct fdit_picture_spec fdit_subject_picture(const struct fdit_subject *s, int32_t id, uint64_t seed);

/* A 64-bit hash of every parameter that a model would take from these files, so that the same
 * weights have the same hash whether they lie in one file or in two. Reads them all. */
enum fdit_status fdit_weight_files_hash(fdit_context *ctx, const struct fdit_weight_files *files,
                                        uint64_t *out);

#endif
