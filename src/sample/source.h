/* SPDX-License-Identifier: Apache-2.0
 * source.h: what is drawn from: the open files of the weights, the classes that they know, and the guide. */
#ifndef FDIT_SAMPLE_SOURCE_H
#define FDIT_SAMPLE_SOURCE_H

#include "sample/guide.h"
#include "sample/new_classes.h"

struct fdit_sample_source {
    struct fdit_checkpoint *base, *delta; /* open files; delta NULL: none */
    struct fdit_weight_files files;       /* of the sampled model */
    struct fdit_taxonomy *taxonomy;
    bool named; /* false: nothing names the classes, they are numbers */
    struct fdit_guide guide;
    struct fdit_new_classes fresh; /* of --class-vector */
    bool borrowed;                 /* the base is that of another source */
};

/* Opens the files, checks that they belong together (sizes, table, fingerprint of the base; with
 * o->force a fingerprint that differs is only warned about) and that the guide was trained.
 * On failure *s is empty. Close with fdit_sample_source_close. */
enum fdit_status fdit_sample_source_open(fdit_context *ctx, const struct fdit_sample_options *o,
                                         struct fdit_sample_source *s);
/* The same beside another source over the same o->base, whose open file it takes; that one must outlive
 * it. */
enum fdit_status fdit_sample_source_open_beside(fdit_context *ctx, const struct fdit_sample_options *o,
                                                const struct fdit_sample_source *beside,
                                                struct fdit_sample_source *s);
void fdit_sample_source_close(struct fdit_sample_source *s);

/* Rows and random stream of a picture. */
struct fdit_picture_spec fdit_sample_source_picture(const struct fdit_sample_source *s, int32_t id,
                                                    uint64_t seed);
/* How real pictures are read to look as those that the weights were trained on, but for what was typed. */
enum fdit_status fdit_sample_source_rules(fdit_context *ctx, const struct fdit_sample_source *s,
                                          const struct fdit_picture_words *typed,
                                          struct fdit_picture_rules *out);
/* FDIT_ERROR_NUMERIC, with class, seed and place, unless all n elements of a picture's x are finite. */
enum fdit_status fdit_sample_source_check(fdit_context *ctx, const struct fdit_sample_source *s,
                                          const struct fdit_picture_spec *p, const float *x, size_t n);

#endif
