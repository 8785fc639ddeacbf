/* SPDX-License-Identifier: Apache-2.0
 * launch.h: a command that several processes work on, started by mpirun or srun. */
#ifndef FDIT_CLI_LAUNCH_H
#define FDIT_CLI_LAUNCH_H

#include "cli/cli.h"

#include "core/ranks.h"

#include <signal.h>

/* What a launcher says in the environment of a process that it starts. */
struct fdit_launch {
    int rank, size; /* size 1: it was not started together with others */
    const char *by; /* the variable that says so */
    /* Of the processes on this host; -1 and 0: not known. */
    int local, local_size;
};
/* Of Open MPI, MPICH and Intel MPI (PMI), PMIx and Slurm's srun. */
struct fdit_launch fdit_launch_of_environment(void);

/* From now on this process is `rank` of several, on the host (NULL: as the system calls it): all but rank 0
 * print nothing but warnings and failures, which their name stands before. */
void fdit_cli_rank(struct fdit_cli *cli, int rank, const char *host);
/* Where several processes were started together and do not talk to each other: *part of *parts becomes this
 * one's. They share a host's devices and processors as those of fdit_cli_ranks_open do. */
void fdit_cli_deal(struct fdit_cli *cli, int *part, int *parts);
/* Joins the processes that were started together with this one; *out NULL where there are none. From then on
 * all but the first print nothing but failures, which their name stands before; a signal is not a request to
 * stop at once but noted in *asked; a host's processors are shared between its processes, where --threads was
 * not given and the launcher has not bound them; and where --device means several, each has its own.
 * FDIT_ERROR_UNSUPPORTED when the program was built without MPI: two of them would do the same work in the
 * same folder. */
enum fdit_status fdit_cli_ranks_open(struct fdit_cli *cli, double timeout, volatile sig_atomic_t *asked,
                                     struct fdit_ranks **out);
/* The end of the command. A failure that is not that of all (ranks->together) ends the others, after its
 * message; one of all is told by rank 0. ranks NULL: nothing. */
void fdit_cli_ranks_close(struct fdit_cli *cli, struct fdit_ranks *ranks, enum fdit_status status);

#endif
