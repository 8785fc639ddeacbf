/* SPDX-License-Identifier: Apache-2.0
 * threads.h: a fixed number of threads that all call the same function, again and again. The caller is
 * member 0; the others sleep between two calls. */
#ifndef FDIT_CORE_THREADS_H
#define FDIT_CORE_THREADS_H

#include "core/status.h"

struct fdit_threads;
typedef enum fdit_status (*fdit_threads_fn)(fdit_context *ctx, void *user, int member);

/* n >= 1 members; of one member there is no thread. The members' contexts are children of ctx, which must
 * outlive the threads. */
enum fdit_status fdit_threads_new(fdit_context *ctx, int n, struct fdit_threads **out);
void fdit_threads_free(struct fdit_threads *threads); /* NULL is allowed */

/* fn(context, user, member) once for every member, at the same time; returns when all have. The failure of
 * the lowest member is returned with its message in ctx; *failed (optional) says whose it is, -1: none. */
enum fdit_status fdit_threads_run(fdit_context *ctx, struct fdit_threads *threads, fdit_threads_fn fn,
                                  void *user, int *failed);

#endif
