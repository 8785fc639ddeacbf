/* SPDX-License-Identifier: Apache-2.0
 * eval_deal.c: one `eval` of several processes that a launcher started (eval/deal.h). */
#include "cli/eval_job.h"

#include "cli/launch.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER "eval-features"
#define BEGUN "begun" /* by rank 0 */
#define MEASURED "measured"

enum fdit_status fdit_cli_eval_alone(struct fdit_cli *cli)
{
    const struct fdit_launch launch = fdit_launch_of_environment();
    if (launch.size < 2)
        return FDIT_OK;
    cli->mute = launch.rank > 0; /* all fail alike */
    return fdit_fail(
        cli->ctx, FDIT_ERROR_ARGUMENT,
        "--utility trains in one process, and this is one of %d (%s); start it without a launcher",
        launch.size, launch.by);
}

/* The same words make the same job. */
static enum fdit_status job_folder(fdit_context *ctx, const struct fdit_cli *cli, char **out)
{
    uint64_t hash = FDIT_FNV_START;
    for (int i = 0; i < cli->argc; i++)
        hash = fdit_fnv(hash, cli->argv[i], strlen(cli->argv[i]) + 1);
    return fdit_strf(ctx, out, "%s/job-%016" PRIx64, FOLDER, hash);
}

/* waits: until no other process has the folder in a way that forbids this one. */
static enum fdit_status lock_job(fdit_context *ctx, struct fdit_eval_dealing *d, enum fdit_folder_use use,
                                 bool waits)
{
    enum fdit_status status;
    const struct timespec moment = { .tv_nsec = 50000000 };
    while ((status = fdit_folder_lock(ctx, d->job, use, &d->lock)) != FDIT_OK && d->lock.busy && waits) {
        fdit_folder_unlock(&d->lock);
        if (fdit_stopped(ctx))
            return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped; the same command goes on with the others");
        nanosleep(&moment, NULL);
    }
    return status;
}

/* A file of the job's whose time of change tells what came first: by the clock of the file system, which is
 * the same for all. */
static enum fdit_status mark(fdit_context *ctx, const struct fdit_eval_dealing *d, const char *name)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    TRY(fdit_path_join(ctx, d->job, name, &path));
    TRY(fdit_file_write(ctx, path, false, "", 0));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_cli_eval_deal(struct fdit_cli *cli, struct fdit_eval_args *a, bool pictures,
                                    struct fdit_eval_dealing *d)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_launch launch = fdit_launch_of_environment();
    *d = (struct fdit_eval_dealing){ .lock = FDIT_FOLDER_UNLOCKED, .turn = launch.rank == 0 };
    if (launch.size < 2)
        return FDIT_OK;
    if (a->o.parts) { /* this process has its own */
        d->turn = true;
        return FDIT_OK;
    }
    d->quiet = cli->quiet;
    d->verbose = cli->verbose;
    d->json = cli->json;
    fdit_cli_deal(cli, &d->deal.rank, &d->deal.size);
    if (cli->plan || !pictures)
        return FDIT_OK;
    TRY(job_folder(cli->ctx, cli, &d->job));
    TRY(lock_job(cli->ctx, d, FDIT_FOLDER_TOGETHER, true));
    if (!d->deal.rank)
        TRY(mark(cli->ctx, d, BEGUN));
    d->deal.folder = FOLDER;
    a->o.deal = &d->deal;
    fdit_cli_note(cli, "features of %d processes meet in %s", d->deal.size, FOLDER);
out:
    return status;
}

/* Whether b was changed last, or at the same time. */
static bool is_newer(const char *a, const char *b)
{
    struct stat x, y;
    if (stat(a, &x) || stat(b, &y))
        return false;
    return y.st_mtim.tv_sec != x.st_mtim.tv_sec ? y.st_mtim.tv_sec > x.st_mtim.tv_sec
                                                : y.st_mtim.tv_nsec >= x.st_mtim.tv_nsec;
}

/* It is the turn of the last one that computed something, or of rank 0 where nobody had to. */
static enum fdit_status take_turn(struct fdit_cli *cli, struct fdit_eval_dealing *d, bool *turn)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const size_t missing = fdit_deal_missing(&d->deal);
    char *begun = NULL, *measured = NULL;
    if (missing) {
        fdit_log(
            ctx, FDIT_LOG_WARNING,
            "%zu of %zu parts are missing: other processes are late or lost; the same command goes on from "
            "what is there",
            missing, d->deal.n);
        goto out;
    }
    TRY(fdit_path_join(ctx, d->job, BEGUN, &begun));
    TRY(fdit_path_join(ctx, d->job, MEASURED, &measured));
    *turn = d->deal.computed ? !is_newer(d->deal.files[d->deal.last], measured)
                             : !d->deal.rank && !is_newer(begun, measured);
    if (*turn)
        TRY(mark(ctx, d, MEASURED));
out:
    fdit_free(begun);
    fdit_free(measured);
    return status;
}

enum fdit_status fdit_cli_eval_turn(struct fdit_cli *cli, struct fdit_eval_dealing *d)
{
    enum fdit_status status = FDIT_OK;
    d->turn = false;
    fdit_folder_unlock(&d->lock);
    /* rank 0 measures where nobody has computed anything, so it may not leave before it knows */
    status = lock_job(cli->ctx, d, FDIT_FOLDER_ALONE, !d->deal.rank && !d->deal.computed);
    if (d->lock.busy)
        return FDIT_OK;
    TRY(status);
    TRY(take_turn(cli, d, &d->turn));
    if (!d->turn)
        goto out;
    d->deal.take = true;
    cli->quiet = d->quiet;
    cli->verbose = d->verbose;
    cli->json = d->json;
out:
    return status;
}

void fdit_cli_eval_deal_end(struct fdit_eval_dealing *d)
{
    fdit_folder_unlock(&d->lock);
    fdit_free(d->job);
    fdit_deal_fini(&d->deal);
}
