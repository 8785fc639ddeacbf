/* SPDX-License-Identifier: Apache-2.0
 * job.h: what the files of one measuring share (evaluate.c, memory.c). */
#ifndef FDIT_EVAL_JOB_H
#define FDIT_EVAL_JOB_H

#include "eval/evaluate.h"

struct fdit_eval_job {
    fdit_device *dev;
    const struct fdit_eval_options *o;
    const struct fdit_eval_hooks *hooks;
    struct fdit_pool *pool;
    struct fdit_extractor *extractor;    /* NULL: no set needs a network */
    struct fdit_extractor *classifier;   /* NULL: that of the features */
    struct fdit_lpips *lpips;            /* NULL: not wanted */
    struct fdit_taxonomy *taxonomy;      /* of the file that was given; NULL */
    const struct fdit_taxonomy *classes; /* that, or what else is known before pictures are read; NULL */
    const char *const *parts_of;         /* feature files in place of generated pictures */
    size_t n_parts;                      /* 0: none */
    struct fdit_picture_rules rules;
    unsigned wanted;
    bool asked;                        /* for what is wanted, in a list */
    bool keep;                         /* features are needed one by one */
    bool runs[2];                      /* whether a set is of pictures: real, generated */
    struct fdit_gather_options how[2]; /* then: how they are run */
    struct fdit_plan plan;
};

/* Prepares extractor and classifier for `batch` pictures at once, in `memory` bytes of the device (0: what it
 * has); those that were prepared before go. */
enum fdit_status fdit_eval_prepare(fdit_context *ctx, struct fdit_eval_job *j, int batch, size_t memory);
/* The plan of a job whose networks are prepared and whose sets are open, in r; told and checked. Prepares the
 * networks again for fewer pictures at once where the limit asks for it. */
enum fdit_status fdit_eval_plan(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r);

#endif
