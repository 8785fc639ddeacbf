/* SPDX-License-Identifier: Apache-2.0
 * job.h: pictures by the thousand: from options to a folder, archives, a sheet, a file of latents.
 *
 * The modules below it: options.h, request.h (which pictures), source.h (weights, classes, guide),
 * painter.h (the model that draws), identity.h (what decides their bits), album.h and contact_sheet.h
 * (files). */
#ifndef FDIT_SAMPLE_JOB_H
#define FDIT_SAMPLE_JOB_H

#include "sample/options.h"

/* One picture that is done (or was there already). */
struct fdit_sample_picture {
    size_t index; /* in the list of all shards */
    const char *class_name;
    int32_t id;
    uint64_t seed;
    const char *file; /* in the folder; NULL: no file */
    bool kept;        /* was there */
};

struct fdit_sample_summary;

/* Called from the sampling thread. Each may be NULL. */
struct fdit_sample_hooks {
    void *user;
    void (*on_plan)(void *user, const struct fdit_plan *plan);
    /* All is checked and about to begin: the summary has what is known then. */
    void (*on_begin)(void *user);
    /* Before everything else of a job, and after it: of several deltas, for each. The options are those that
     * it goes by: its delta, folder and sheet. */
    void (*on_job)(void *user, const struct fdit_sample_options *o, const struct fdit_sample_summary *s);
    void (*on_end)(void *user);
    /* `total` pictures of this shard, of which `kept` are there already. */
    void (*on_start)(void *user, size_t kept, size_t total);
    void (*on_step)(void *user, size_t done, size_t total, int step, int steps);
    void (*on_picture)(void *user, const struct fdit_sample_picture *p);
};

struct fdit_sample_summary {
    char model[64];           /* "DiT-S/2" */
    size_t in_flight;         /* pictures of the batch under way */
    size_t classes, pictures; /* of the shard */
    size_t computed, kept;
    int steps, batch;
    char guide[128];       /* "superclass:genus" */
    int evaluations, full; /* of the sampler for a picture, and those in which the blocks are computed */
    int passes;            /* through the blocks for a picture, the guide's included */
    double w;              /* of the guidance; 1 with the guide "none" */
    bool clip_x0;
    bool settled;                                /* w or clip_x0 were chosen for pixels, not by the options */
    double seconds, pictures_per_second, gflops; /* of sampling alone */
    size_t plan_bytes;                           /* on the device */
    size_t process_plan_bytes;                   /* of this process: to compare with peak_bytes */
    size_t peak_bytes;                           /* resident memory of the process at its highest */
    size_t sheet_classes, sheet_pages;           /* rows of the contact sheet, of so many pages */
    int norms_missing;                           /* a stock DiT: scales and offsets taken as 1 and 0 */
};

/* With several deltas (options->n_deltas) each draws what the options say into the folder DIR/NAME and the
 * sheet FILE-NAME.png, with the bits of a job of its own. NAME is that of its file, or, where that is
 * "delta", of its folder. All are looked at before the first draws; the first stays loaded and lends the
 * base's matrices to the others, which come and go one after the other; the summary is that of the last.
 *
 * Does what the options say. Until weights are loaded nothing is written. When ctx is asked to
 * stop: FDIT_INTERRUPTED; finished pictures stay, and the same job again goes on after them.
 * plan_only: makes the plan, calls on_plan, and returns. */
enum fdit_status fdit_sample_run(fdit_context *ctx, const struct fdit_devices *devices,
                                 const struct fdit_sample_options *options,
                                 const struct fdit_sample_hooks *hooks, bool plan_only,
                                 struct fdit_sample_summary *summary);

#endif
