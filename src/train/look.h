/* SPDX-License-Identifier: Apache-2.0
 * look.h: --orient and --matte of a run that were not typed: as the run or the delta that goes on
 * had them. */
#ifndef FDIT_TRAIN_LOOK_H
#define FDIT_TRAIN_LOOK_H

#include "train/options.h"

/* Fills o->look: what was typed or stands in the run's config.json; else what the run had that is
 * resumed, else what o->delta was trained with (both "none" where they are of a time before there
 * was a choice); else exif and white. Sets o->rules. The texts live in *kept, to be freed with
 * fdit_train_look_fini. */
struct fdit_train_look {
    struct fdit_picture_notes notes;
    char matte[8];
};
enum fdit_status fdit_train_look_settle(fdit_context *ctx, struct fdit_train_options *o,
                                        struct fdit_train_look *kept);
void fdit_train_look_fini(struct fdit_train_look *kept);

#endif
