/* SPDX-License-Identifier: Apache-2.0
 * new_classes.h: classes that were not trained, drawn by their vectors through the map of class vectors that
 * was (train --class-vectors-as map). */
#ifndef FDIT_SAMPLE_NEW_CLASSES_H
#define FDIT_SAMPLE_NEW_CLASSES_H

#include "data/taxonomy.h"
#include "model/checkpoint.h"
#include "sample/options.h"

struct fdit_new_classes {
    int32_t first, n;              /* their ids follow those of the trained classes; n 0: there are none */
    struct fdit_taxonomy *trained; /* what the weights know; NULL: there are none */
};

/* The classes of o->class_vector (NULL: nothing happens) join those that `cp` was trained for: *taxonomy has
 * both, and the class table of cp a row W v + b for each new one, v being its vector at length 1. Their
 * groups come from o->taxonomy, which lists them, else from their names as paths. FDIT_ERROR_ARGUMENT or
 * _FORMAT for weights without a map, vectors of another width, classes that were trained. */
enum fdit_status fdit_new_classes_add(fdit_context *ctx, const struct fdit_sample_options *o,
                                      struct fdit_checkpoint *cp, int width, struct fdit_taxonomy **taxonomy,
                                      struct fdit_new_classes *out);
/* FDIT_ERROR_ARGUMENT for a new class whose group at `rank` has no trained row to guide with. */
enum fdit_status fdit_new_classes_check_guide(fdit_context *ctx, const struct fdit_new_classes *c,
                                              const struct fdit_taxonomy *taxonomy, int32_t rank);
void fdit_new_classes_fini(struct fdit_new_classes *c);

#endif
