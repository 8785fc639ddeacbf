/* SPDX-License-Identifier: Apache-2.0
 * ranks.h: processes that work on one job together, on one machine or several: what they have to give each
 * other. Rank r of `size` is this process. A transport fills the struct: host/mpi with MPI, the tests with
 * threads.
 *
 * All calls are collective: every process makes the same ones in the same order. n counts bytes and is the
 * same in all processes. What cannot be delivered ends the job (the transport's deadline), or fails with
 * FDIT_ERROR_IO. */
#ifndef FDIT_CORE_RANKS_H
#define FDIT_CORE_RANKS_H

#include "core/status.h"

struct fdit_ranks {
    int rank, size;
    int local, local_size; /* of the processes on this host */
    const char *host;      /* its name */
    bool any_thread;       /* calls may be made in any thread, one at a time; else in that which opened it */
    size_t most;           /* bytes of a message, for a transport that has a limit: more goes in pieces */
    bool together; /* the job failed in all processes alike: fdit_ranks_settle, or what is built on it */
    /* send [size][n]: block q goes to rank q; receive [size][n]: block q came from rank q. */
    enum fdit_status (*all_to_all)(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                   size_t n);
    /* send [n] of each process; receive [size][n] in rank 0, in the order of ranks, unused in others. */
    enum fdit_status (*collect)(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                size_t n);
    /* send [sizes[rank]] of each process; receive: all of that in every process, in the order of ranks. sizes
     * [size] are the same in all. */
    enum fdit_status (*all_gather)(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                   const size_t *sizes);
    /* bytes [n] of rank 0 into those of all. */
    enum fdit_status (*broadcast)(fdit_context *ctx, struct fdit_ranks *r, void *bytes, size_t n);
};

/* One process without others, which only keeps to the order of several. */
struct fdit_ranks fdit_ranks_alone(void);

/* All processes say how they fared. FDIT_OK when all of them did; else each fails as the first that failed
 * did, with its message, which begins with its name, and r->together is set. What rank 0 says of options, or
 * what all met alike, has no name before it. */
enum fdit_status fdit_ranks_settle(fdit_context *ctx, struct fdit_ranks *r, enum fdit_status own);

#endif
