/* SPDX-License-Identifier: Apache-2.0
 * class_losses.h: the validation's losses of each class, RUN/val-classes.tsv: a header, then
 *     step  class  pictures  val_loss  val_mse  val_vb
 * a line for each class that has validation pictures, in the order of class ids; of the last validation. */
#ifndef FDIT_TRAIN_CLASS_LOSSES_H
#define FDIT_TRAIN_CLASS_LOSSES_H

#include "data/taxonomy.h"

struct fdit_class_loss {
    double mse, vb; /* sums over the pictures */
    size_t pictures;
};

/* classes [n of the taxonomy] into RUN/val-classes.tsv, in place of what was there. */
enum fdit_status fdit_class_losses_write(fdit_context *ctx, const char *run, int64_t step,
                                         const struct fdit_taxonomy *taxonomy,
                                         const struct fdit_class_loss *classes);

enum { FDIT_CLASS_LOSSES_SHOWN = 5 };

struct fdit_class_loss_line {
    char *name;
    double loss;
    size_t pictures;
};

/* What such a file says: the classes of the highest losses, and of the lowest, each from its end on. */
struct fdit_class_losses {
    int64_t step;
    size_t classes;
    size_t shown; /* lines in each of the two, at most half of the classes (of one: 1 and 0) */
    struct fdit_class_loss_line highest[FDIT_CLASS_LOSSES_SHOWN], lowest[FDIT_CLASS_LOSSES_SHOWN];
};
/* classes 0: the run has no such file. FDIT_ERROR_FORMAT names the line that is not one of such a file. */
enum fdit_status fdit_class_losses_read(fdit_context *ctx, const char *run, struct fdit_class_losses *out);
void fdit_class_losses_fini(struct fdit_class_losses *l);

#endif
