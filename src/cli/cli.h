/* SPDX-License-Identifier: Apache-2.0
 * cli.h: what every sub-command shares. A sub-command is one file, src/cli/cmd_NAME.c, that ends with
 *
 *     const struct fdit_command fdit_command_NAME = { .name = "NAME", ..., .run = run };
 *
 * and joins the program by its line in src/cli/sources.mk and one line in src/cli/commands.h. Its options
 * are a table (core/option_table.h): that of the job it runs (.job), and what only the command knows
 * (.options). Parsing, --help, the common options, messages and exit codes come from here:
 *
 *     struct args { struct fdit_bake_options o; bool dry; };
 *     static const struct fdit_option options[] = {
 *         FDIT_HEADING("Output"),
 *         FDIT_OPTION("dry", NULL, FLAG, struct args, dry, "write nothing"),
 *         { 0 } };                              // the end
 *     static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
 *     {
 *         struct args *a = p;
 *         TRY(fdit_cli_device(cli, &dev));      // --device, --threads; checks --precision and --weights
 *         ...                                   // failure: return the status, the message is in cli->ctx
 *     }
 *
 * A command returns a status and prints no error: main prints `finediffusion: NAME: message` and chooses
 * the exit code: 0; 2 for FDIT_ERROR_ARGUMENT; 128 and the signal's number for FDIT_INTERRUPTED; else 1. */
#ifndef FDIT_CLI_CLI_H
#define FDIT_CLI_CLI_H

#include "cli/results.h"
#include "cli/progress.h"
#include "core/option_table.h"
#include "core/status.h"
#include "core/text.h"
#include "device/device.h"
#include "format/json.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* Common options that a command takes; --quiet, --verbose and --help belong to all. */
enum {
    FDIT_COMMON_DEVICE = 1,   /* --device, --threads, --precision */
    FDIT_COMMON_WEIGHTS = 2,  /* --weights */
    FDIT_COMMON_PLAN = 4,     /* --plan, --memory */
    FDIT_COMMON_JSON = 8,     /* --json */
    FDIT_COMMON_DEVICES = 16, /* --device may name several: a set */
    FDIT_COMMON_FASTEST = 32, /* --precision is auto where it is not given */
    FDIT_COMMON_LINE = 64,    /* never silent: a line says that it works where no phase is told; what it
                                 writes on stdout goes through fdit_cli_print */
};

/* A row (core/option_table.h) of which only what is typed and its help matter. */
#define FDIT_OPTION(n, a, k, type, field, h)             \
    {                                                    \
        FDIT_OPTION_ROW(k, n, a, type, field), .help = h \
    }
#define FDIT_OPTION_CALL(n, a, function, h)                                       \
    {                                                                             \
        .name = n, .arg = a, .kind = FDIT_OPT_PARSE, .parse = function, .help = h \
    }

enum { FDIT_CLI_NOT_GIVEN = -1, FDIT_CLI_AUTO = -2 }; /* of --precision */
enum { FDIT_CLI_MOST_GIVEN = 128 };                   /* more than any command has rows */

struct fdit_cli {
    fdit_context *ctx;
    const char *command;
    int argc; /* the words behind the command's name, as typed: options can be read again over
                 others */
    char **argv;
    const struct fdit_option *given[FDIT_CLI_MOST_GIVEN]; /* rows that were typed; NULL ends them */
    bool quiet, verbose, json, plan;
    const char *device;                /* as typed, NULL: not given */
    int threads;                       /* 0: all */
    int device_turn;                   /* see fdit_device_options.turn */
    int precision;                     /* enum fdit_dtype, FDIT_CLI_AUTO or FDIT_CLI_NOT_GIVEN */
    enum fdit_dtype weights;           /* storage of frozen weights */
    size_t memory;                     /* 0: the device's */
    pthread_mutex_t lock;              /* of the terminal: log messages may come from workers */
    struct fdit_progress *progress;    /* the line that is shown: `job`, else `waiting`; NULL: none */
    struct fdit_progress job, waiting; /* waiting: for phases outside a job */
    bool partial;                      /* stdout stands within a line */
    bool short_of_memory;              /* something could not be printed */
    struct fdit_ticker *ticker;        /* keeps the line alive; NULL: none */
    int rank;                          /* of processes that work together (cli/launch.h) */
    char before[96];                   /* before every message: "rank 2 (host): " */
    bool mute;                         /* another process says it */
};

/* Options of another command's job that a command takes as well: rows of its table, by name. */
struct fdit_borrowed {
    const char *heading;
    const struct fdit_option *table;
    const char *const *names; /* NULL ends the list */
    size_t offset;            /* of the table's struct in the command's */
};

struct fdit_command {
    const char *name;
    const char *summary;  /* half a line for the list of commands */
    const char *synopsis; /* what follows the name: "[OPTION]... FILE" */
    /* For --help: a line for each paragraph, which is then set to 80 columns; a line that begins with a blank
     * stays as it is. */
    const char *about;
    const char *examples;          /* lines that can be typed as they stand, each with two spaces before */
    const struct fdit_option *job; /* the table of the job's own options, whose struct begins that of the
                                        * command; NULL: none */
    const struct fdit_borrowed *borrowed; /* NULL: none */
    const struct fdit_option *options; /* what only the command knows; ends with a zero entry; NULL: none */
    unsigned common;                   /* FDIT_COMMON_... */
    int most_operands;                 /* -1: any number */
    size_t args_size;                  /* of the struct that offsets refer to */
    void (*defaults)(void *args);      /* fills it before parsing; NULL: zero, then the tables' defaults */
    enum fdit_status (*run)(struct fdit_cli *cli, void *args, int n, char **operands);
};

#define X(name) extern const struct fdit_command fdit_command_##name;
#include "cli/commands.h"
#undef X

/* ---- options.c */

/* What holds where nothing is typed, into args that are all zero. */
void fdit_command_defaults(const struct fdit_command *command, void *args);
/* Options into cli and args, operands to the front of argv: *n of them. *help: --help was there and
 * the rest was not looked at. An option may be shortened as long as it stays unique. */
enum fdit_status fdit_options_parse(struct fdit_cli *cli, const struct fdit_command *command, void *args,
                                    int argc, char **argv, int *n, bool *help);
/* The first of the names (NULL ends them) that was typed as an option, NULL: none. */
const char *fdit_options_given(const struct fdit_cli *cli, const char *const *names);
/* The option of this very name of n bytes that a command takes, NULL: none. */
const struct fdit_option *fdit_options_find(const struct fdit_command *command, const char *name, size_t n);
/* see() for each option that a command takes, in the order of --help. */
void fdit_options_each(const struct fdit_command *command,
                       void (*see)(void *user, const struct fdit_option *o), void *user);
/* Everything --help says about a command. */
void fdit_options_help(const struct fdit_command *command, FILE *to);

/* ---- signals.c */

/* SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXCPU and SIGUSR1 ask ctx to stop; a second one of the first two ends
 * the program at once. A limit of a file's size (SIGXFSZ) only makes the write fail. */
void fdit_signals_install(fdit_context *ctx);
/* After drivers were loaded: LLVM in them puts handlers of its own in place. It takes them away before a
 * fault comes again, but abort() does not come again. */
void fdit_signals_watch_device(void);
/* From now on a signal only sets *flag: who looks at it decides when to stop. */
void fdit_signals_note(volatile sig_atomic_t *flag);
int fdit_signals_caught(void); /* the number of the signal, 0: none */

/* ---- messages.c */

/* The log callback: warnings and errors on stderr, the rest with --verbose. user: struct fdit_cli.
 */
void fdit_cli_log(void *user, enum fdit_log_level level, const char *message);
/* "finediffusion: COMMAND: message" on stderr. */
void fdit_cli_error(struct fdit_cli *cli, const char *message);
/* What the program ends with after this; see above. */
int fdit_cli_exit_code(enum fdit_status status);
/* A line on stderr (unless --quiet), beside the progress line. No newline in format. Here and below, what %s
 * brings in is made safe for the terminal (fdit_text_vformat): no name out of a file needs care. */
void fdit_cli_note(struct fdit_cli *cli, const char *format, ...) FDIT_PRINTF(2, 3);
/* Lines that are safe as they are: a plan. */
void fdit_cli_note_table(struct fdit_cli *cli, const char *lines);
/* Results for people on stdout, beside the progress line. Commands print with this alone: printf would bring
 * names out of files to the terminal as they are. */
void fdit_cli_print(struct fdit_cli *cli, const char *format, ...) FDIT_PRINTF(2, 3);
/* The text as it is: JSON, tables that the program reads again, texts of our own. */
void fdit_cli_print_exactly(struct fdit_cli *cli, const char *text);
/* One line of the banner with which a long command begins, on stderr (unless --quiet):
 *
 *     fdit_cli_banner(cli, "device", "%s, %d threads", ...);
 *     fdit_cli_banner(cli, "data", "%zu pictures of %zu classes", ...);
 *
 * gives lines of two columns, a long value in several lines. The name in at most 11 characters.
 * With --json too: the banner is for people, the numbers stand in the last line of the JSON. */
void fdit_cli_banner(struct fdit_cli *cli, const char *name, const char *format, ...) FDIT_PRINTF(3, 4);

/* A progress line on stderr (none with --quiet); label and unit must live until _end or _drop. A
 * command that fails returns with _drop, so that the error is the only line. Phases that the
 * library reports through the context (core/phase.h) appear in it, and outside a job in a line of
 * their own. */
void fdit_cli_progress_begin(struct fdit_cli *cli, const char *label, const char *unit, uint64_t done,
                             uint64_t total);
void fdit_cli_progress_update(struct fdit_cli *cli, uint64_t done, const char *note);
/* With a part of what is under way: 16 pictures after 14 of 64 steps are 3.5. */
void fdit_cli_progress_part(struct fdit_cli *cli, uint64_t done, double part, const char *note);
void fdit_cli_progress_end(struct fdit_cli *cli);  /* both do nothing when none is there */
void fdit_cli_progress_drop(struct fdit_cli *cli); /* without a last line */

/* ---- sigbus.c */

/* From here on a mapped file that becomes shorter while it is used ends the program with a message
 * and 1. */
void fdit_sigbus_install(void);

/* ---- print_json.c */

/* The built value on standard output with jansson's flags, and a newline; nothing when it is not
 * whole. */
enum fdit_status fdit_cli_print_json(struct fdit_cli *cli, const struct fdit_json *b, size_t flags);
/* ---- print_plan.c */

struct fdit_plan;
/* With --plan on stdout, as JSON with --json; else with --verbose on stderr. disk: bytes of the
 * cache that will be made, 0: none. */
enum fdit_status fdit_cli_plan(struct fdit_cli *cli, const struct fdit_plan *plan, uint64_t disk);

/* ---- ticker.c */

/* Phases of the library and the time that passes are shown from here on. Without memory or threads
 * for it all goes on without. */
void fdit_cli_line_start(struct fdit_cli *cli, bool alone);
void fdit_cli_line_stop(struct fdit_cli *cli);

/* ---- common.c */

/* Opens the devices that the options name: several only for a command that has FDIT_COMMON_DEVICES. Refuses
 * --precision and --weights that one lacks. The precision is then fdit_device_precision of the first, and the
 * same for the others. */
enum fdit_status fdit_cli_devices(struct fdit_cli *cli, struct fdit_devices *out);
enum fdit_status fdit_cli_device(struct fdit_cli *cli, fdit_device **out); /* for a command with one */

/* ---- help.c: `finediffusion help [TOPIC|COMMAND]`, the list of commands */
void fdit_help_overview(FILE *to);
const struct fdit_command *fdit_command_find(const char *name); /* NULL: none; main.c */
const struct fdit_command *const *fdit_commands(int *n);        /* main.c */
const char *fdit_command_guess(const char *name); /* what may have been meant, NULL: nothing; main.c */

#endif
