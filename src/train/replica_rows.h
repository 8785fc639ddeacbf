/* SPDX-License-Identifier: Apache-2.0
 * replica_rows.h: the rows of the class table in a data-parallel step of several processes (replicas.h). A
 * micro-batch reads and changes at most one row a picture, and a table may have 100,000 of them; so the table
 * travels whole only once.
 *
 * Moments and averages of the rows are shared: of R processes, q keeps those of the rows from
 * fdit_replica_rows_first(rows, R, q) on up to where q + 1 begins, on its first device, and makes the
 * optimiser's step for them, so that it alone has their present values. Before a micro-batch the values of
 * the rows that its pictures need go from those that keep them to all; after it the gradients of those rows
 * go to the first process, which adds them up in the order of the shards. A shard that did not touch a row
 * adds 0 to its sum, which changes no bit: sums begin as 0 + x, so that none of them is -0. The first process
 * has so the gradient of all that is trained, and takes its norm as one process does; the sums and the factor
 * that comes of it then go to all, and each makes the step for what it keeps, number by number. What needs
 * all rows (a checkpoint, a picture) gathers them then.
 *
 * All functions are collective over the processes of the exchange, but for the _one functions, each called
 * for every device of this process, which may be at the same time. */
#ifndef FDIT_TRAIN_REPLICA_ROWS_H
#define FDIT_TRAIN_REPLICA_ROWS_H

#include "model/model.h"
#include "train/exchange.h"

struct fdit_replica_rows;

/* The first row that process q of `size` keeps; of q = size: all rows. The first process keeps one at
 * least. */
static inline size_t fdit_replica_rows_first(size_t rows, int size, int q)
{
    return (rows * (size_t)q + (size_t)size - 1) / (size_t)size;
}
/* What this process keeps of a model with such a table; all of it where x is NULL, of one process, or not by
 * shards (exchange.h, add). */
struct fdit_model_share fdit_replica_rows_share_of(const struct fdit_exchange *x, int table_rows);

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

/* The whole table of the first process's first device to all of `models` [x->count]: once, before the first
 * step. */
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
/* The sums of the step into the gradient of the first process's first device, which is 0 in all
 * other rows. */
void fdit_replica_rows_write(struct fdit_replica_rows *s, struct fdit_model *first);
/* Of several processes: the sums, and *scale of the first process, to all; into the gradient of `model`, the
 * first device's, what is kept here. */
enum fdit_status fdit_replica_rows_give(fdit_context *ctx, struct fdit_replica_rows *s,
                                        struct fdit_model *model, float *scale);

/* Which set (model.h, fdit_group_set) of the table a buffer has. */
int fdit_replica_rows_set(const struct fdit_replica_rows *s, const struct fdit_model *model,
                          const fdit_buffer *part);
/* What all keep of a set, into the buffer `whole` of the first process's first device; NULL in others. */
enum fdit_status fdit_replica_rows_gather(fdit_context *ctx, struct fdit_replica_rows *s,
                                          struct fdit_model *model, int set, fdit_buffer *whole);
/* The way back for a run that goes on: numbers first..first+n-1 of a set, asked in the first process, which
 * has its own part already, to those that keep them. */
typedef enum fdit_status (*fdit_replica_rows_read)(fdit_context *ctx, void *user, int set, size_t first,
                                                   size_t n, float *out);
enum fdit_status fdit_replica_rows_deal(fdit_context *ctx, struct fdit_replica_rows *s,
                                        struct fdit_model *model, fdit_replica_rows_read read, void *user);

#endif
