/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/launch.h"

#include "ranks.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ------------------------------------------------------------------ the launcher */

static int number_of(const char *name, int least)
{
    const char *text = name ? getenv(name) : NULL;
    char *end;
    long value = text ? strtol(text, &end, 10) : -1;
    return text && end != text && !*end && value >= least && value <= 1 << 24 ? (int)value : -1;
}

struct fdit_launch fdit_launch_of_environment(void)
{
    /* not SLURM_NTASKS, which the script of a job has as well */
    static const struct {
        const char *rank, *size, *local, *local_size;
    } launchers[] = {
        { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
          "OMPI_COMM_WORLD_LOCAL_SIZE" },
        { "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS" },
        { "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL },
        { "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL },
    };
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        int rank = number_of(launchers[i].rank, 0), size = number_of(launchers[i].size, 1);
        const int here = number_of(launchers[i].local_size, 1);
        if (rank >= 0 && rank < size)
            return (struct fdit_launch){ .rank = rank,
                                         .size = size,
                                         .by = launchers[i].rank,
                                         .local = number_of(launchers[i].local, 0),
                                         .local_size = here < 0 ? 0 : here };
    }
    return (struct fdit_launch){ .size = 1, .local = -1 };
}

/* ------------------------------------------------------------------ joining and leaving */

void fdit_cli_rank(struct fdit_cli *cli, int rank, const char *host)
{
    char name[64] = "";
    cli->rank = rank;
    if (!rank)
        return;
    gethostname(name, sizeof name - 1);
    snprintf(cli->before, sizeof cli->before, "rank %d (%.60s): ", rank, host ? host : name);
    fdit_cli_line_stop(cli);
    cli->quiet = true;
    cli->verbose = cli->json = false;
}

/* Where the launcher has bound this process to some processors they are its own. */
static void share_host(struct fdit_cli *cli, int local, int local_size)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    cli->device_turn = local + 1;
    if (cli->threads || local_size < 2 || sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    int mine = CPU_COUNT(&set);
    if (mine < online)
        return;
    cli->threads = mine / local_size > 0 ? mine / local_size : 1;
}

void fdit_cli_deal(struct fdit_cli *cli, int *part, int *parts)
{
    const struct fdit_launch launch = fdit_launch_of_environment();
    if (launch.size < 2)
        return;
    *part = launch.rank;
    *parts = launch.size;
    fdit_cli_rank(cli, launch.rank, NULL);
    share_host(cli, launch.local, launch.local_size);
}

enum fdit_status fdit_cli_ranks_open(struct fdit_cli *cli, double timeout, volatile sig_atomic_t *asked,
                                     struct fdit_ranks **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_launch launch = fdit_launch_of_environment();
    *out = NULL;
    if (!launch.by)
        return FDIT_OK;
    if (launch.size > 1)
        cli->mute = launch.rank > 0; /* until all are joined, all fail alike */
    if (!fdit_ranks_library()) {
        if (launch.size == 1)
            return FDIT_OK;
        FAIL(cli->ctx, FDIT_ERROR_UNSUPPORTED,
             "started as one of %d processes (%s), but this program was built without MPI: configure it with "
             "--with-mpi, or start one process with several --device",
             launch.size, launch.by);
    }
    TRY(fdit_ranks_open(cli->ctx, cli->command, launch.rank, timeout, out));
    cli->mute = false;
    fdit_cli_rank(cli, (*out)->rank, (*out)->host);
    share_host(cli, (*out)->local, (*out)->local_size);
    fdit_signals_note(asked);
out:
    return status;
}

void fdit_cli_ranks_close(struct fdit_cli *cli, struct fdit_ranks *ranks, enum fdit_status status)
{
    if (!ranks)
        return;
    const int code = status == FDIT_OK ? 0 : status == FDIT_ERROR_ARGUMENT ? 2 : 1;
    /* what all failed with is rank 0's to say; what it met alone, a disk that is full, is of its host */
    if (code && !ranks->together && !cli->rank && ranks->size > 1)
        snprintf(cli->before, sizeof cli->before, "rank 0 (%.60s): ", ranks->host);
    if (code && (!ranks->together || !cli->rank))
        fdit_cli_error(cli, *fdit_context_message(cli->ctx) ? fdit_context_message(cli->ctx)
                                                            : fdit_status_text(status));
    if (code && !ranks->together)
        fdit_ranks_abort(ranks, code);
    cli->mute = code || cli->rank > 0;
    fdit_ranks_close(ranks);
}
