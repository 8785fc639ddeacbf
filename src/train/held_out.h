/* SPDX-License-Identifier: Apache-2.0
 * held_out.h: which pictures a run was trained on and which were kept apart, from its config.json, so that
 * what it draws is compared with pictures that it has not seen. */
#ifndef FDIT_TRAIN_HELD_OUT_H
#define FDIT_TRAIN_HELD_OUT_H

#include "eval/feature_set.h"
#include "train/config.h"

struct fdit_held_out {
    struct fdit_train_config *config;
    struct fdit_train_options o;    /* as the run was begun; paths are where the files are now */
    struct fdit_taxonomy *taxonomy; /* in the order of the run's classes; NULL: an older run does not say */
    const char *path;               /* the pictures, */
    bool some;                      /* those of them that `split` gives */
    struct fdit_eval_split split;
};

/* The pictures of a run that it was trained on (train) or that its --val kept apart. data: where its data are
 * now; NULL: where config.json says. whole: its base and autoencoder are looked for as well. A run without
 * --val has kept none apart: FDIT_ERROR_ARGUMENT. Release with fdit_held_out_fini, also after a failure. */
enum fdit_status fdit_held_out_open(fdit_context *ctx, const char *run, const char *data, bool train,
                                    bool whole, struct fdit_held_out *out);
/* Only what the run draws with: its base and autoencoder. */
enum fdit_status fdit_held_out_model(fdit_context *ctx, const char *run, struct fdit_held_out *out);
void fdit_held_out_fini(struct fdit_held_out *h);

#endif
