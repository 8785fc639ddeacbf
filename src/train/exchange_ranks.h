/* SPDX-License-Identifier: Apache-2.0
 * exchange_ranks.h: the exchange of processes (core/ranks.h) that train together, each on equally many
 * devices.
 *
 * The shard. Each micro-batch of each device is a shard, and a step's gradient is the sum of its shards
 * one after another, ((s0 + s1) + s2) + ..., in the order of the pictures. A sum in another order has other
 * bits, and that of MPI_Allreduce depends on the number of processes. Here every process adds up its own part
 * of the vector, over all shards, so that none of them receives more than the others: for vectors of n
 * numbers and R processes each sends n (R - 1) / R numbers a shard of its own, and n / R of the sum to rank
 * 0; rank 0 sends the n new values to all. The class table is not among the n: replica_rows.h.
 */
#ifndef FDIT_TRAIN_EXCHANGE_RANKS_H
#define FDIT_TRAIN_EXCHANGE_RANKS_H

#include "core/ranks.h"
#include "train/exchange.h"

#include <signal.h>

/* devices: of this process, the same number in all. asked: set when this process was asked to stop, which
 * then stops all after the step (agree); NULL: ctx's own request is taken. ranks and asked must outlive it.
 * Free with fdit_exchange_free. */
enum fdit_status fdit_exchange_ranks(fdit_context *ctx, struct fdit_ranks *ranks, int devices,
                                     const volatile sig_atomic_t *asked, struct fdit_exchange **out);

#endif
