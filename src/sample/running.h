/* SPDX-License-Identifier: Apache-2.0
 * running.h: a sampling job while it runs: what job.c and several.c share. */
#ifndef FDIT_SAMPLE_RUNNING_H
#define FDIT_SAMPLE_RUNNING_H

#include "sample/album.h"
#include "sample/contact_sheet.h"
#include "sample/job.h"
#include "sample/painter.h"
#include "sample/top_up.h"

/* Everything a job holds, in the order of its making. */
struct job {
    const struct fdit_sample_options *o; /* = &options */
    struct fdit_sample_options options;  /* with what was left to the model filled in */
    const struct fdit_sample_hooks *hooks;
    const struct fdit_devices *devices;
    struct fdit_sample_summary *summary;
    struct job *lender; /* over the same base, which it has in memory; NULL: none */
    struct fdit_sample_source source;
    struct fdit_request request;
    struct fdit_top_up top_up; /* all zero: none */
    struct fdit_painter *painter;
    struct fdit_identity identity;
    struct fdit_caption caption;
    char *model_name, sampler_text[40];
    struct fdit_album *album;
    struct fdit_contact_sheet *sheet;
    struct fdit_dataset *real; /* for the sheet, until its pictures are read */
    size_t item;               /* elements of x of one picture */
    int round;                 /* pictures of all devices at once */
    float *x;                  /* [round, item] */
    struct fdit_picture picture;
    struct fdit_picture_spec *specs; /* [round] */
    size_t *places;                  /* [round]: pictures of the shard */
    size_t next;                     /* the first picture that was not looked at */
    size_t rows_first, rows_end;     /* --latents: x holds these rows */
    size_t done;                     /* pictures, kept ones included */
    bool loaded, choosing;           /* the weights are there; candidates are being scored */
};

/* Everything up to the plan; nothing is written or loaded. */
enum fdit_status fdit_sample_prepare(fdit_context *ctx, struct job *j, bool plan_only);
/* Weights, pictures and files of a job that is prepared; a lender is loaded first. */
enum fdit_status fdit_sample_draw(fdit_context *ctx, struct job *j);
void fdit_sample_close(struct job *j);
/* The hook on_job. */
void fdit_sample_tell(const struct job *j);

/* What `like` says for each of its deltas. */
enum fdit_status fdit_sample_several(fdit_context *ctx, const struct job *like, bool plan_only);

#endif
