/* SPDX-License-Identifier: Apache-2.0
 * ticker.c: a thread that draws the progress line while the work says nothing: inside one long call of a
 * driver's compiler, or while a file is read. */
#include "cli/cli.h"

#include "core/phase.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define TICK_NANOSECONDS 500000000L

struct fdit_ticker {
    pthread_t thread;
    pthread_cond_t wake;
    bool stop; /* under cli->lock */
};

static void *tick(void *user)
{
    struct fdit_cli *cli = user;
    struct timespec until;
    pthread_mutex_lock(&cli->lock);
    while (!cli->ticker->stop) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_NANOSECONDS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_cond_timedwait(&cli->ticker->wake, &cli->lock, &until) == ETIMEDOUT &&
            !cli->ticker->stop && cli->progress && !cli->partial)
            fdit_progress_tick(cli->progress);
    }
    pthread_mutex_unlock(&cli->lock);
    return NULL;
}

static void on_phase(void *user, const struct fdit_phase_event *event)
{
    struct fdit_cli *cli = user;
    pthread_mutex_lock(&cli->lock);
    struct fdit_progress *p = cli->progress;
    switch (p ? (int)event->kind : -1) {
    case FDIT_PHASE_BEGIN: fdit_progress_phase(p, event->name, event->total); break;
    case FDIT_PHASE_AT: fdit_progress_phase_at(p, event->done); break;
    case FDIT_PHASE_END: fdit_progress_phase_end(p); break;
    case FDIT_PHASE_AHEAD: fdit_progress_ahead(p, event->name, event->total, event->units); break;
    }
    pthread_mutex_unlock(&cli->lock);
}

/* Signals are for the thread that works. */
static int start_thread(struct fdit_cli *cli)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* of a mapped file: it belongs to the thread that reads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    int failed = pthread_create(&cli->ticker->thread, &attributes, tick, cli);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

void fdit_cli_line_start(struct fdit_cli *cli, bool alone)
{
    if (cli->quiet || cli->ticker)
        return;
    cli->ticker = calloc(1, sizeof *cli->ticker);
    if (!cli->ticker)
        return;
    fdit_progress_begin(&cli->waiting, stderr, cli->command, NULL, 0, 0);
    cli->waiting.alone = alone;
    cli->waiting.shown = cli->waiting.began; /* a command that is done at once shows no line */
    cli->progress = &cli->waiting;
    pthread_cond_init(&cli->ticker->wake, NULL);
    if (start_thread(cli)) {
        pthread_cond_destroy(&cli->ticker->wake);
        free(cli->ticker);
        cli->ticker = NULL;
        cli->progress = NULL;
        return;
    }
    fdit_context_set_phase(cli->ctx, on_phase, cli);
}

void fdit_cli_line_stop(struct fdit_cli *cli)
{
    if (!cli->ticker)
        return;
    fdit_context_set_phase(cli->ctx, NULL, NULL);
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    cli->progress = NULL;
    cli->ticker->stop = true;
    pthread_cond_signal(&cli->ticker->wake);
    pthread_mutex_unlock(&cli->lock);
    pthread_join(cli->ticker->thread, NULL);
    pthread_cond_destroy(&cli->ticker->wake);
    free(cli->ticker);
    cli->ticker = NULL;
}
