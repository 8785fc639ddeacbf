/* SPDX-License-Identifier: Apache-2.0
 * no_mpi.c: in place of mpi.c where the program is built without MPI. */
#include "ranks.h"

#include <stdlib.h>

const char *fdit_ranks_library(void)
{
    return NULL;
}

enum fdit_status fdit_ranks_open(fdit_context *ctx, const char *command, int rank, double timeout,
                                 struct fdit_ranks **out)
{
    (void)command, (void)rank, (void)timeout;
    *out = NULL;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "this program was built without MPI");
}

void fdit_ranks_close(struct fdit_ranks *ranks)
{
    (void)ranks;
}

_Noreturn void fdit_ranks_abort(struct fdit_ranks *ranks, int code)
{
    (void)ranks;
    exit(code);
}
