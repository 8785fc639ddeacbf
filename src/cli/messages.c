/* SPDX-License-Identifier: Apache-2.0
 * messages.c: what goes to stderr, one line at a time and never into the middle of a progress line.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

static void line(struct fdit_cli *cli, const char *kind, const char *message)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    fprintf(stderr, "finediffusion: %s%s%s%s\n", cli->command ? cli->command : "",
            cli->command ? ": " : "", kind, message);
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_log(void *user, enum fdit_log_level level, const char *message)
{
    struct fdit_cli *cli = user;
    if (strchr(message, '\n')) { /* a table: the memory plan that did not fit */
        if (!cli->plan)
            fdit_cli_note(cli, "%s", message);
        return;
    }
    if (level <= FDIT_LOG_WARNING)
        line(cli, "warning: ", message);
    else if (cli->verbose)
        line(cli, "", message);
}

void fdit_cli_error(struct fdit_cli *cli, const char *message)
{
    line(cli, "", message);
}

void fdit_cli_note(struct fdit_cli *cli, const char *format, ...)
{
    va_list args;
    if (cli->quiet)
        return;
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_begin(struct fdit_cli *cli, struct fdit_progress *p, const char *label,
                             const char *unit, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&cli->lock);
    fdit_progress_begin(p, cli->quiet ? NULL : stderr, label, unit, done, total);
    cli->progress = p;
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_update(struct fdit_cli *cli, uint64_t done, const char *note)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_update(cli->progress, done, note);
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_end(struct fdit_cli *cli)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_end(cli->progress);
    cli->progress = NULL;
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_drop(struct fdit_cli *cli)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    cli->progress = NULL;
    pthread_mutex_unlock(&cli->lock);
}
