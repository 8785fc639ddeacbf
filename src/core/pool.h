/* SPDX-License-Identifier: Apache-2.0
 * pool.h: the pieces of a loop, dealt out to threads.
 *
 * Made for a machine that other programs use as well:
 * - A thread with nothing to do looks for work for some microseconds and then sleeps; so does the caller
 *   who waits for the last pieces. Nobody holds a core that another program could use. While other programs
 *   take processors away from the members, they sleep sooner: who spins on a shared core uses up the share
 *   of it that the next piece needs.
 * - The caller works too, and waits only for threads that have begun a piece: one that has not woken up yet
 *   loses its pieces to those that run. A core that is taken away delays at most the piece it had.
 * - Each member begins with the same part of the loop every time, so that what it wrote in one call lies in
 *   its cache in the next, and takes from the others when it is done.
 * Which member computes a piece is chance: pieces must not depend on it. */
#ifndef FDIT_CORE_POOL_H
#define FDIT_CORE_POOL_H

#include "core/status.h"

struct fdit_pool;

/* Pieces begin .. end - 1 in member 0 .. members - 1; two calls never have the same member at a time. */
typedef void (*fdit_pool_fn)(void *job, size_t begin, size_t end, int member);
/* Called once in each new thread, with its member number, before its first piece. */
typedef void (*fdit_pool_setup)(int member);

enum { FDIT_POOL_MOST_MEMBERS = 1024 };

/* `members` 1 .. FDIT_POOL_MOST_MEMBERS, the caller of fdit_pool_run among them. Threads start when they are
 * first of use; those that the system refuses are done without. A thread looks for work for `spin`
 * nanoseconds before it sleeps (0 where there are more members than processors), and for `spin_crowded`
 * while members lose their processor to other programs more than 100 times a second. */
enum fdit_status fdit_pool_new(fdit_context *ctx, int members, long spin, long spin_crowded,
                               fdit_pool_setup setup, struct fdit_pool **out);
void fdit_pool_free(struct fdit_pool *pool); /* NULL is allowed */
int fdit_pool_members(const struct fdit_pool *pool);

/* fn for all n pieces, `grain` (>= 1) or more at a time; returns when all are done. One thread at a time may
 * call this for a pool, and fn must not. In a process forked from the one that began, the caller does all
 * the pieces alone. */
void fdit_pool_run(struct fdit_pool *pool, size_t n, size_t grain, fdit_pool_fn fn, void *job);

#endif
