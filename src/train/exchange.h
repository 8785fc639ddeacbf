/* SPDX-License-Identifier: Apache-2.0
 * exchange.h: how the parts of a data-parallel step come together. Members are devices, in this process or
 * in several; member 0 has the optimiser. An exchange adds up vectors, one of each member, and hands one
 * vector of member 0 to all. Sums are made in the order of the members, so that they have the same bits
 * however the members are spread over threads and processes.
 *
 * A filler is a struct that begins with this one. fdit_exchange_local is that of the devices of one process;
 * another one reaches other processes: the hooks of run.h take it. What fails in one process must fail in all
 * of them. */
#ifndef FDIT_TRAIN_EXCHANGE_H
#define FDIT_TRAIN_EXCHANGE_H

#include "core/threads.h"

struct fdit_exchange {
    int members;      /* in all processes */
    int first, count; /* those of this process: first .. first + count - 1; first 0: it has the optimiser */
    /* vectors[k]: n numbers of member first + k. The sum over all members into vectors[0] of the process with
     * member 0; the other vectors are lost. */
    enum fdit_status (*sum)(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, size_t n);
    /* vector [n] of the process with member 0 into that of all processes. */
    enum fdit_status (*share)(fdit_context *ctx, struct fdit_exchange *x, float *vector, size_t n);
    /* values [count][n]: few, as losses are. The sums over all members into values[0 .. n-1] of every
     * process. */
    enum fdit_status (*total)(fdit_context *ctx, struct fdit_exchange *x, double *values, size_t n);
    void (*free)(struct fdit_exchange *x);
};

/* Of `count` devices of this process, which add up together: threads has as many members, and must outlive
 * it. */
enum fdit_status fdit_exchange_local(fdit_context *ctx, struct fdit_threads *threads, int count,
                                     struct fdit_exchange **out);
void fdit_exchange_free(struct fdit_exchange *x); /* NULL is allowed */

#endif
