/* SPDX-License-Identifier: Apache-2.0
 * exchange.h: how the parts of a data-parallel step come together. Members are devices, in this process or
 * in several; member 0 has the optimiser. An exchange adds up vectors, one of each member, and hands one
 * vector of member 0 to all. Sums are made in the order of the members, so that they have the same bits
 * however the members are spread over threads and processes.
 *
 * A filler is a struct that begins with this one. fdit_exchange_local is that of the devices of one
 * process; exchange_ranks.h reaches other processes, which have equal numbers of members: the hooks of run.h
 * take it. What fails in one process must fail in all of them. */
#ifndef FDIT_TRAIN_EXCHANGE_H
#define FDIT_TRAIN_EXCHANGE_H

#include "core/threads.h"

/* What processes that train together must agree in; texts, of which hashes are compared. */
struct fdit_exchange_identity {
    const char *options, *classes, *data;
};

/* Bytes that this process has sent to others, and seconds in which it has waited for them and did nothing
 * else. */
struct fdit_exchange_traffic {
    uint64_t bytes;
    double seconds;
};

struct fdit_exchange {
    int members;      /* in all processes */
    int first, count; /* those of this process: first .. first + count - 1; first 0: it has the optimiser */
    /* Vectors are gradients, which go in pieces: piece k is what stands before ends[k] and not before
     * ends[k - 1]. fdit_exchange_cut. */
    size_t *ends;
    int pieces;
    /* add and sum may be called in another thread than the rest, when no other call is in progress, so that
     * the calling one computes meanwhile (overlap.h). */
    bool behind;
    struct fdit_exchange_traffic traffic; /* so far */
    /* [members] of which a gradient of the step was not finite, in any of its shards and in what this process
     * adds up of them; NULL: that is not looked at. */
    bool *spoilt;
    /* NULL: each member adds up the micro-batches of a step by itself, and sum takes what that gave. Else
     * each micro-batch of each member is a shard of its own: vectors[k] is the gradient of one, whose `piece`
     * is added to those of the step before it, within a micro-batch in the order of the members; `begins`:
     * it is the first of its step. sum then gives what was added. So the bits depend on the shards alone: A
     * micro-batches of M members give those of A M micro-batches of one. */
    enum fdit_status (*add)(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, int piece,
                            bool begins);
    /* vectors[k]: of member first + k. The sum of a piece over all members into vectors[0] of the process
     * with member 0; the piece in the other vectors is lost. */
    enum fdit_status (*sum)(fdit_context *ctx, struct fdit_exchange *x, float *const *vectors, int piece);
    /* vector [n] of the process with member 0 into that of all processes. */
    enum fdit_status (*share)(fdit_context *ctx, struct fdit_exchange *x, float *vector, size_t n);
    /* values [count][n]: few, as losses are. The sums over all members into values[0 .. n-1] of every
     * process. */
    enum fdit_status (*total)(fdit_context *ctx, struct fdit_exchange *x, double *values, size_t n);
    /* The others are NULL in an exchange of one process. */
    /* All processes call it once, before the first step, with the status (and message) of their own set-up:
     * FDIT_OK when all are set up and agree in `id`. Else all fail with the message of the first that
     * failed. */
    enum fdit_status (*ready)(fdit_context *ctx, struct fdit_exchange *x, enum fdit_status own,
                              const struct fdit_exchange_identity *id);
    /* How each process has fared, at a place that all of them come to; as `ready`, which begins with it. */
    enum fdit_status (*settle)(fdit_context *ctx, struct fdit_exchange *x, enum fdit_status own);
    /* n bytes of the process with member 0 into all. */
    enum fdit_status (*tell)(fdit_context *ctx, struct fdit_exchange *x, void *bytes, size_t n);
    /* Between two steps: *stop is whether any process was asked to stop, and *word becomes that of the
     * process with member 0. */
    enum fdit_status (*agree)(fdit_context *ctx, struct fdit_exchange *x, int32_t *word, bool *stop);
    /* own [count][n] of the members of each process: into all [members][n] of every process; or, `bring`, of
     * the process with member 0 (NULL in the others). In the order of the members. */
    enum fdit_status (*meet)(fdit_context *ctx, struct fdit_exchange *x, const int32_t *own, size_t n,
                             int32_t *all);
    enum fdit_status (*bring)(fdit_context *ctx, struct fdit_exchange *x, const float *own, size_t n,
                              float *all);
    /* own [sizes[rank]] of each process, into `all` of every process, one after another; sizes
     * [processes]. */
    enum fdit_status (*spread)(fdit_context *ctx, struct fdit_exchange *x, const float *own,
                               const size_t *sizes, float *all);
    /* own [n] of each process, into all [processes][n] of that with member 0. */
    enum fdit_status (*collect)(fdit_context *ctx, struct fdit_exchange *x, const float *own, size_t n,
                                float *all);
    size_t (*bytes)(const struct fdit_exchange *x); /* of host memory that it takes, once cut */
    void (*free)(struct fdit_exchange *x);
};

/* Of `count` devices of this process, which add up together: threads has as many members, and must outlive
 * it. */
enum fdit_status fdit_exchange_local(fdit_context *ctx, struct fdit_threads *threads, int count,
                                     struct fdit_exchange **out);
/* Says in which pieces [pieces] vectors go, before they do; the same in all processes. */
enum fdit_status fdit_exchange_cut(fdit_context *ctx, struct fdit_exchange *x, const size_t *ends,
                                   int pieces);
/* How many processes there are, and which of them this is. */
static inline int fdit_exchange_size(const struct fdit_exchange *x)
{
    return x->members / x->count;
}
static inline int fdit_exchange_rank(const struct fdit_exchange *x)
{
    return x->first / x->count;
}
static inline size_t fdit_exchange_begin(const struct fdit_exchange *x, int piece)
{
    return piece ? x->ends[piece - 1] : 0;
}
void fdit_exchange_free(struct fdit_exchange *x); /* NULL is allowed */

#endif
