/* SPDX-License-Identifier: Apache-2.0
 * replica_rows.h: the rows of the class table in a data-parallel step of several processes (replicas.h). A
 * micro-batch reads and changes at most one row a picture, and a table may have 100,000 of them; so the table
 * travels whole only once. Before a micro-batch the values of the rows that its pictures need go from the
 * device with the optimiser to all others; after it the gradients of those rows go to that device's process,
 * which adds them up in the order of the shards. A shard that did not touch a row adds 0 to its sum, which
 * changes no bit: sums begin as 0 + x, so that none of them is -0.
 *
 * All functions are collective over the processes of the exchange, but for the _one functions, each called
 * for every device of this process, which may be at the same time. */
#ifndef FDIT_TRAIN_REPLICA_ROWS_H
#define FDIT_TRAIN_REPLICA_ROWS_H

#include "model/model.h"
#include "train/exchange.h"

struct fdit_replica_rows;

/* For `micros` micro-batches a step of at most model->options.batch pictures each on every device. *out NULL:
 * the model trains no class table. */
enum fdit_status fdit_replica_rows_new(fdit_context *ctx, const struct fdit_model *model, int micros,
                                       struct fdit_exchange *x, struct fdit_replica_rows **out);
enum fdit_status fdit_replica_rows_allocate(fdit_context *ctx, struct fdit_replica_rows *s);
void fdit_replica_rows_free(struct fdit_replica_rows *s); /* NULL is allowed */
/* Bytes of host memory that it takes when it is allocated. */
size_t fdit_replica_rows_bytes(const struct fdit_replica_rows *s);
/* The group that is the class table's; -1: s is NULL. */
int fdit_replica_rows_group(const struct fdit_replica_rows *s);

/* The whole table of the device with the optimiser (`first` in its process) to all of `models` [x->count]. */
enum fdit_status fdit_replica_rows_share(fdit_context *ctx, struct fdit_replica_rows *s,
                                         struct fdit_model *const *models);
/* Before a micro-batch, rows [samples] being those of this process's devices one after another. The rows that
 * any device needs, and that did not travel in this step, go to all of `models` [x->count]. begins: it is the
 * first of its step. */
enum fdit_status fdit_replica_rows_fetch(fdit_context *ctx, struct fdit_replica_rows *s,
                                         struct fdit_model *const *models, const int32_t *rows, int samples,
                                         bool begins);
/* After it: reads what local device i has for its rows. */
enum fdit_status fdit_replica_rows_read_one(fdit_context *ctx, struct fdit_replica_rows *s,
                                            struct fdit_model *model, int i);
/* All of that to the process with the optimiser, and into its sums. */
enum fdit_status fdit_replica_rows_add(fdit_context *ctx, struct fdit_replica_rows *s);
/* The sums of the step into the gradient of the device with the optimiser, which is 0 in all other rows. */
void fdit_replica_rows_write(struct fdit_replica_rows *s, struct fdit_model *first);

#endif
