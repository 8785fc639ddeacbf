/* SPDX-License-Identifier: Apache-2.0
 * main.c: finds the sub-command, runs it, and turns its status into a message and an exit code. */
#include "cli/cli.h"
#include "cli/complete.h"
#include "cli/launch.h"

#include "core/mem.h"
#include "build_info.h"
#include "devices.h"
#include "ranks.h"

#include <errno.h>
#include <fcntl.h>
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
                           "standard output cannot be written; results are not complete");
}

int fdit_cli_exit_code(enum fdit_status status)
{
    if (status == FDIT_INTERRUPTED && fdit_signals_caught())
        return 128 + fdit_signals_caught();
    return status == FDIT_OK ? 0 : status == FDIT_ERROR_ARGUMENT ? 2 : 1;
}

static int run_command(struct fdit_cli *cli, const struct fdit_command *command, int argc, char **argv)
{
    enum fdit_status status = FDIT_OK;
    void *args = NULL;
    bool help = false;
    int n = 0, code = 0;
    cli->command = command->name;
    cli->argc = argc;
    cli->argv = argv;
    TRY(fdit_alloc(cli->ctx, command->args_size ? command->args_size : 1, 1, &args));
    fdit_command_defaults(command, args);
    cli->mute = fdit_launch_of_environment().rank > 0; /* all processes of a job were typed the same */
    TRY(fdit_options_parse(cli, command, args, argc, argv, &n, &help));
    cli->mute = false;
    if (help) {
        fdit_options_help(command, stdout);
    } else {
        fdit_sigbus_install();
        fdit_signals_install(cli->ctx);
        if (strcmp(command->name, "help"))
            TRY(fdit_devices_environment(cli->ctx));
        fdit_cli_line_start(cli, command->common & FDIT_COMMON_LINE);
        TRY(command->run(cli, args, n, argv));
    }
    fdit_cli_line_stop(cli);
    if (cli->short_of_memory)
        FAIL(cli->ctx, FDIT_ERROR_MEMORY, "out of memory for the results; they are not complete");
    if (flush_results(cli->ctx) != FDIT_OK) {
        if (fdit_signals_caught() == SIGPIPE) /* nobody reads on (| head), which is not a failure of ours */
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
    return code ? code : fdit_cli_exit_code(status);
}

/* This program again, for looking at drivers; NULL where the system does not say where it lies. */
static const char *own_file(char **argv)
{
    static const char file[] = "/proc/self/exe";
    if (access(file, X_OK) == 0)
        return file;
    return argv[0] && strchr(argv[0], '/') && access(argv[0], X_OK) == 0 ? argv[0] : NULL;
}

/* What people call the commands elsewhere. */
static const char *other_name(const char *name)
{
    static const struct {
        const char *word, *command;
    } words[] = {
        { "finetune", "train" }, { "fine-tune", "train" }, { "fit", "train" },     { "generate", "sample" },
        { "infer", "sample" },   { "draw", "sample" },     { "info", "inspect" },  { "show", "inspect" },
        { "export", "convert" }, { "benchmark", "bench" }, { "test", "selftest" }, { "check", "inspect" },
        { "cache", "encode" },   { "autotune", "tune" },   { "list", "devices" },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].word, name))
            return words[i].command;
    return NULL;
}

const char *fdit_command_guess(const char *name)
{
    struct fdit_text_guess guess = { .typed = name, .length = strlen(name) };
    for (int i = 0; i < N_COMMANDS; i++)
        fdit_text_consider(&guess, commands[i]->name);
    fdit_text_consider(&guess, "version");
    return other_name(name) ? other_name(name) : guess.best;
}

static enum fdit_status unknown_command(fdit_context *ctx, const char *name)
{
    const char *guess = fdit_command_guess(name);
    char list[256] = "";
    if (name[0] == '-')
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: options follow a command, as finediffusion train %s; see finediffusion --help",
                         name, name);
    if (guess)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "'%s' is not a command of this version; did you mean %s? See finediffusion --help",
                         name, guess);
    for (int i = 0; i < N_COMMANDS; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", commands[i]->name);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "'%s' is not a command of this version; there are %s; see finediffusion --help", name,
                     list);
}

/* The first line stays what scripts look for. */
static enum fdit_status print_version(fdit_context *ctx)
{
    enum fdit_status status = FDIT_OK;
    char *features = NULL;
    TRY(fdit_build_info(ctx, &features));
    printf("finediffusion %s\n%sprocesses     %s\n", fdit_version(), features,
           fdit_ranks_library() ? fdit_ranks_library() : "one (built without MPI)");
    if (strchr(PACKAGE_BUGREPORT, '@') || strchr(PACKAGE_BUGREPORT, ':'))
        printf("reports to    %s\n", PACKAGE_BUGREPORT);
    TRY(flush_results(ctx));
out:
    fdit_free(features);
    return status;
}

/* A descriptor of standard input, output or error that is closed at the start would be given to the next
 * file that is opened, and messages would land in it. Reading gives nothing, standard error takes everything,
 * and standard output refuses, so that results which are lost are a failure. */
static void occupy_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            continue;
        /* without /dev a folder holds the place; writes to it fail */
        if (open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) < 0)
            (void)!open("/", O_RDONLY);
    }
}

static int start(struct fdit_cli *cli, int argc, char **argv)
{
    enum fdit_status status = FDIT_OK;
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct fdit_command *command = name ? fdit_command_find(name) : NULL;
    if (command)
        return run_command(cli, command, argc - 2, argv + 2);
    if (!name)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "no command given; see finediffusion --help");
    if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
        TRY(print_version(cli->ctx));
    } else if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        fdit_help_overview(stdout);
        TRY(flush_results(cli->ctx));
    } else {
        TRY(unknown_command(cli->ctx, name));
    }
out:
    if (status != FDIT_OK)
        fdit_cli_error(cli, fdit_context_message(cli->ctx));
    return fdit_cli_exit_code(status);
}

int main(int argc, char **argv)
{
    occupy_descriptors();
    if (argc > 1 && !strcmp(argv[1], "--helper"))
        return fdit_devices_helper(argc - 2, argv + 2);
    fdit_mem_return_large();
    fdit_results_begin();
    if (argc > 1 && !strcmp(argv[1], FDIT_COMPLETE_WORD))
        return fdit_complete(argc - 2, argv + 2);
    struct fdit_cli cli = { .precision = FDIT_CLI_NOT_GIVEN };
    cli.ctx = fdit_context_new();
    if (!cli.ctx) {
        fprintf(stderr, "finediffusion: out of memory\n");
        return 1;
    }
    cli.ctx->helper = own_file(argv);
    pthread_mutex_init(&cli.lock, NULL);
    fdit_context_set_log(cli.ctx, fdit_cli_log, &cli);
    const int code = start(&cli, argc, argv);
    pthread_mutex_destroy(&cli.lock);
    fdit_context_free(cli.ctx);
    return code;
}
