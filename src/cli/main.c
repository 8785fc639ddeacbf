/* SPDX-License-Identifier: Apache-2.0
 * main.c: finds the sub-command, runs it, and turns its status into a message and an exit code. */
#include "cli/cli.h"

#include "core/mem.h"
#include "devices.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define X(name) &fdit_command_##name,
static const struct fdit_command *const commands[] = {
#include "cli/commands.h"
};
#undef X
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

const struct fdit_command *const *fdit_commands(int *n)
{
    *n = N_COMMANDS;
    return commands;
}

const struct fdit_command *fdit_command_find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

/* Results are complete only when stdout took them all. */
static enum fdit_status flush_results(fdit_context *ctx)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return FDIT_OK;
    return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno,
                           "standard output cannot be written; results are "
                           "not complete");
}

/* The end of what is printed without a command. */
static int flushed(struct fdit_cli *cli)
{
    if (flush_results(cli->ctx) == FDIT_OK)
        return 0;
    fdit_cli_error(cli, fdit_context_message(cli->ctx));
    return 1;
}

static int exit_code(enum fdit_status status)
{
    if (status == FDIT_INTERRUPTED && fdit_signals_caught())
        return 128 + fdit_signals_caught();
    return status == FDIT_OK ? 0 : status == FDIT_ERROR_ARGUMENT ? 2 : 1;
}

static int run_command(struct fdit_cli *cli, const struct fdit_command *command, int argc,
                       char **argv)
{
    enum fdit_status status = FDIT_OK;
    void *args = NULL;
    bool help = false;
    int n = 0, code = 0;
    cli->command = command->name;
    cli->argc = argc;
    cli->argv = argv;
    TRY(fdit_alloc(cli->ctx, command->args_size ? command->args_size : 1, 1, &args));
    if (command->defaults)
        command->defaults(args);
    TRY(fdit_options_parse(cli, command, args, argc, argv, &n, &help));
    if (help) {
        fdit_options_help(command, stdout);
    } else {
        fdit_sigbus_install();
        fdit_signals_install(cli->ctx);
        fdit_cli_line_start(cli, command->common & FDIT_COMMON_LINE);
        TRY(command->run(cli, args, n, argv));
    }
    fdit_cli_line_stop(cli);
    if (flush_results(cli->ctx) != FDIT_OK) {
        if (fdit_signals_caught() ==
            SIGPIPE) /* nobody reads on (| head), which is no failure of ours */
            code = 128 + SIGPIPE;
        else
            status = FDIT_ERROR_IO;
    }
out:
    fdit_cli_line_stop(cli);
    if (status != FDIT_OK) {
        fflush(stdout);
        fdit_cli_error(cli, *fdit_context_message(cli->ctx) ? fdit_context_message(cli->ctx)
                                                            : fdit_status_text(status));
    }
    fdit_free(args);
    return code ? code : exit_code(status);
}

/* This program again, for looking at drivers; NULL where the system does not say where it lies. */
static const char *own_file(char **argv)
{
    static const char file[] = "/proc/self/exe";
    if (access(file, X_OK) == 0)
        return file;
    return argv[0] && strchr(argv[0], '/') && access(argv[0], X_OK) == 0 ? argv[0] : NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--helper"))
        return fdit_devices_helper(argc - 2, argv + 2);
    fdit_results_begin();
    struct fdit_cli cli = { .ctx = fdit_context_new(), .precision = -1 };
    const char *name = argc > 1 ? argv[1] : NULL;
    int code = 2;
    if (!cli.ctx) {
        fprintf(stderr, "finediffusion: out of memory\n");
        return 1;
    }
    cli.ctx->helper = own_file(argv);
    pthread_mutex_init(&cli.lock, NULL);
    fdit_context_set_log(cli.ctx, fdit_cli_log, &cli);
    const struct fdit_command *command = name ? fdit_command_find(name) : NULL;
    if (command) {
        code = run_command(&cli, command, argc - 2, argv + 2);
    } else if (name && !strcmp(name, "--version")) {
        printf("finediffusion %s\n", fdit_version());
        code = flushed(&cli);
    } else if (name && (!strcmp(name, "--help") || !strcmp(name, "-h"))) {
        fdit_help_overview(stdout);
        code = flushed(&cli);
    } else if (!name) {
        fdit_cli_error(&cli, "no command given; see finediffusion --help");
    } else {
        fdit_fail(cli.ctx, FDIT_ERROR_ARGUMENT,
                  "'%s' is not a command of this version; see finediffusion --help", name);
        fdit_cli_error(&cli, fdit_context_message(cli.ctx));
    }
    pthread_mutex_destroy(&cli.lock);
    fdit_context_free(cli.ctx);
    return code;
}
