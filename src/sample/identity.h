/* SPDX-License-Identifier: Apache-2.0
 * identity.h: what decides the bits of a picture of given class and seed, as DIR/run.json keeps it:
 *
 *     {"format":"finediffusion-sample","version":"1","hash":"...","weights":"...",
 *      "guide_weights":"...","taxonomy":"...","pictures":"...","options":{"guidance":4.0,...}}
 *
 * Batch, shard, threads and device are not in it: they do not change pictures (another device only
 * within rounding). */
#ifndef FDIT_SAMPLE_IDENTITY_H
#define FDIT_SAMPLE_IDENTITY_H

#include "sample/request.h"
#include "sample/source.h"

struct fdit_identity {
    char hash[17];    /* of all the rest, hexadecimal */
    char before[17];  /* the same by programs that wrote no texts into pictures */
    char picture[17]; /* of what decides a picture of given class and seed */
    char weights[17];
    char *options; /* one line of JSON: those that decide a picture */
    char *text;    /* run.json */
};

/* Hashes of what is drawn with. */
struct fdit_identity_files {
    uint64_t weights, guide, taxonomy;
    uint64_t vae; /* of the decoder; 0: none */
};
/* Reads all weights; `vae` is the caller's. */
enum fdit_status fdit_identity_read(fdit_context *ctx, const struct fdit_sample_source *source,
                                    struct fdit_identity_files *out);
/* `steps`: those of the sampler. With o->tar the request belongs to it, too, since archives hold many
 * pictures; else it may be NULL. Free with fdit_identity_fini. */
enum fdit_status fdit_identity_init(fdit_context *ctx, const struct fdit_sample_options *o,
                                    const struct fdit_sample_source *source,
                                    const struct fdit_identity_files *files,
                                    const struct fdit_request *request, int steps, struct fdit_identity *out);
void fdit_identity_fini(struct fdit_identity *id);
/* FDIT_OK when the n bytes of the run.json at `path` say the same; *older: in the words of a
 * program that wrote no texts into pictures. Else FDIT_ERROR_FORMAT that names the first
 * difference; *ours is false when no sample job wrote that file. */
enum fdit_status fdit_identity_compare(fdit_context *ctx, const struct fdit_identity *id, const char *path,
                                       const char *text, size_t n, bool *older, bool *ours);
/* What the folder `dir` was begun with by a program whose defaults did not depend on the model: *w and *clip
 * stay as they are unless its run.json is of such a program and says so. */
enum fdit_status fdit_identity_older_defaults(fdit_context *ctx, const char *dir, double *w, int *clip);

#endif
