/* SPDX-License-Identifier: Apache-2.0
 * class_table.h: how the rows of a new class table start. */
#ifndef FDIT_TRAIN_CLASS_TABLE_H
#define FDIT_TRAIN_CLASS_TABLE_H

#include "data/taxonomy.h"
#include "model/init.h"

/* Fills the class table of the model. FDIT_TABLE_NAMES: a row whose class or group has the name of a class
 * of the base starts as that class's row; a class without such a name starts as its group's row, the
 * first rank that has one; all others as FDIT_TABLE_BASE says. The base must carry its class names:
 * FDIT_ERROR_FORMAT otherwise. An empty row takes the base's, if both have one. from: vectors that the
 * classes' rows start as, NULL: none; not with FDIT_TABLE_NAMES. */
enum fdit_status fdit_class_table_start(fdit_context *ctx, struct fdit_model *model,
                                        enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                        const struct fdit_taxonomy *taxonomy, uint64_t seed,
                                        const struct fdit_row_vectors *from);
/* Rows of a delta that have the same name here (a class, or a group of the same rank) keep their values, as
 * does the empty row if both have one; all others stay as they are. Classes and ranks that the new table
 * lacks are named in a warning. `old`: the class tree of the delta; NULL, when it carries none, is
 * refused. */
enum fdit_status fdit_class_table_take(fdit_context *ctx, struct fdit_model *model,
                                       struct fdit_checkpoint *delta, const struct fdit_taxonomy *old,
                                       const struct fdit_taxonomy *taxonomy);
/* The same in a model with a map of class vectors, which has its numbers and vectors: the delta's rows are
 * what samples got, so what the map gives is taken away from them. A row of a class that is to stay 0
 * (model->frozen_rows) is not taken over; then the delta must hold the map, too: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_class_map_take(fdit_context *ctx, struct fdit_model *model,
                                     struct fdit_checkpoint *delta, const struct fdit_taxonomy *old,
                                     const struct fdit_taxonomy *taxonomy);

#endif
