/* SPDX-License-Identifier: Apache-2.0
 * messages.c: what goes to stderr, one line at a time and never into the middle of a progress line.
 */
#include "cli/cli.h"

#include "core/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Lines on stderr over the live line. Nobody can be told when stderr does not take them. */
static void say(struct fdit_cli *cli, const char *before, const char *text)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    fprintf(stderr, "%s%s\n", before, text);
    pthread_mutex_unlock(&cli->lock);
}

/* Messages are safe already (core/status.h); once more does not change them. */
static void line(struct fdit_cli *cli, const char *kind, const char *message)
{
    char before[192];
    if (cli->mute)
        return;
    snprintf(before, sizeof before, "finediffusion: %s%s%s%s", cli->command ? cli->command : "",
             cli->command ? ": " : "", cli->before, kind);
    say(cli, before, message);
}

void fdit_cli_log(void *user, enum fdit_log_level level, const char *message)
{
    struct fdit_cli *cli = user;
    if (strchr(message, '\n')) { /* a table: the memory plan that did not fit */
        if (!cli->plan)
            fdit_cli_note_table(cli, message);
        return;
    }
    if (level == FDIT_LOG_NOTE)
        fdit_cli_note(cli, "%s", message);
    else if (level <= FDIT_LOG_WARNING)
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
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    if (text)
        say(cli, "", text);
    free(text);
}

void fdit_cli_note_table(struct fdit_cli *cli, const char *lines)
{
    if (!cli->quiet)
        say(cli, "", lines);
}

/* Whether standard output took it is looked at when the program ends. */
void fdit_cli_print_exactly(struct fdit_cli *cli, const char *text)
{
    const size_t n = strlen(text);
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    fputs(text, stdout);
    cli->partial = n > 0 ? text[n - 1] != '\n' : cli->partial;
    if (!cli->partial && cli->progress)
        fflush(stdout);
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_print(struct fdit_cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    if (text)
        fdit_cli_print_exactly(cli, text);
    else
        cli->short_of_memory = true;
    free(text);
}

/* ------------------------------------------------------------------ the banner */

enum { BANNER_COLUMN = 14, BANNER_WIDTH = 100 };

/* `text` from BANNER_COLUMN on, broken at blanks. */
static void print_wrapped(const char *text)
{
    size_t column = BANNER_COLUMN;
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (column > BANNER_COLUMN && column + 1 + n > BANNER_WIDTH) {
            fprintf(stderr, "\n%*s", BANNER_COLUMN, "");
            column = BANNER_COLUMN;
        } else if (column > BANNER_COLUMN) {
            fputc(' ', stderr);
            column++;
        }
        fprintf(stderr, "%.*s", (int)n, text);
        column += n;
        text += n;
        while (*text == ' ')
            text++;
    }
    fputc('\n', stderr);
}

void fdit_cli_banner(struct fdit_cli *cli, const char *name, const char *format, ...)
{
    va_list args;
    if (cli->quiet)
        return;
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    if (!text)
        return;
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    fprintf(stderr, "  %-*s", BANNER_COLUMN - 2, name);
    print_wrapped(text);
    pthread_mutex_unlock(&cli->lock);
    free(text);
}

/* ------------------------------------------------------------------ progress */

void fdit_cli_progress_begin(struct fdit_cli *cli, const char *label, const char *unit, uint64_t done,
                             uint64_t total)
{
    struct fdit_progress job;
    pthread_mutex_lock(&cli->lock);
    fdit_progress_begin(&job, cli->quiet ? NULL : stderr, label, unit, done, total);
    if (cli->progress)
        fdit_progress_follow(&job, cli->progress);
    cli->job = job;
    cli->progress = &cli->job;
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_update(struct fdit_cli *cli, uint64_t done, const char *note)
{
    fdit_cli_progress_part(cli, done, 0, note);
}

void fdit_cli_progress_part(struct fdit_cli *cli, uint64_t done, double part, const char *note)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_update_part(cli->progress, done, part, note);
    pthread_mutex_unlock(&cli->lock);
}

/* Back to the line that shows phases outside a job. */
static void leave(struct fdit_cli *cli)
{
    if (cli->progress != &cli->job)
        return;
    if (cli->ticker)
        fdit_progress_follow(&cli->waiting, &cli->job);
    cli->progress = cli->ticker ? &cli->waiting : NULL;
}

void fdit_cli_progress_end(struct fdit_cli *cli)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_end(cli->progress);
    leave(cli);
    pthread_mutex_unlock(&cli->lock);
}

void fdit_cli_progress_drop(struct fdit_cli *cli)
{
    pthread_mutex_lock(&cli->lock);
    if (cli->progress)
        fdit_progress_clear(cli->progress);
    leave(cli);
    pthread_mutex_unlock(&cli->lock);
}
