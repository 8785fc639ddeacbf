/* SPDX-License-Identifier: Apache-2.0
 * ranks.h: the processes that a launcher (mpirun, srun) has started for one job, through MPI where the
 * program was built with it (configure --with-mpi). */
#ifndef FDIT_HOST_RANKS_H
#define FDIT_HOST_RANKS_H

#include "core/ranks.h"

/* Whether the program was built with MPI, and with which: "Open MPI 4.1.4", NULL: it was not. */
const char *fdit_ranks_library(void);

/* Joins the others; every process calls it. rank: as the launcher says. timeout: seconds after which one
 * that does not come (at least 30), or gives no sign of life, ends the job: with a line on stderr, which
 * `command` begins, and exit code 1. A process that works gives signs of life from a thread of its own,
 * however long its work takes. FDIT_ERROR_UNSUPPORTED without MPI. End with fdit_ranks_close, in all
 * processes, or fdit_ranks_abort in one. */
enum fdit_status fdit_ranks_open(fdit_context *ctx, const char *command, int rank, double timeout,
                                 struct fdit_ranks **out);
/* Waits for the others, and leaves them. NULL is allowed. */
void fdit_ranks_close(struct fdit_ranks *ranks);
/* Ends all processes of the job with this exit code. Does not return. */
_Noreturn void fdit_ranks_abort(struct fdit_ranks *ranks, int code);

#endif
