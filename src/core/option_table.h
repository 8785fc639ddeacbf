/* SPDX-License-Identifier: Apache-2.0
 * option_table.h: options as a table, a row for each: what is typed, what is possible, what holds where
 * nothing was typed, where the value lies in a struct, and in which files it is kept. Reading a text,
 * checking the range, the defaults and the text of --help come from the row; the JSON form is in
 * format/option_json.h.
 *
 *     struct job { const char *out; int64_t steps; double lr; enum fit fit; bool tar; };
 *     #define JOB(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct job, field)
 *     static const struct fdit_option options[] = {
 *         FDIT_HEADING("Output"),
 *         { JOB(TEXT, "out", "DIR", out), .help = "folder of the pictures" },
 *         { JOB(INT64, "steps", "N", steps), FDIT_RANGE(1, 1000), .usual = "250", .help = "sampler steps" },
 *         { JOB(REAL, "lr", "X", lr), FDIT_RANGE(0, 10), .note = ": the base's", .help = "learning rate" },
 *         { JOB(CHOICE, "fit", "crop|pad", fit), .usual = "crop", .help = "how pictures become square" },
 *         { JOB(FLAG, "tar", NULL, tar), .help = "archives instead of files" },
 *         { 0 } }; // the end
 *
 *     struct job j = { 0 };
 *     fdit_options_defaults(options, &j);
 *     TRY(fdit_option_set(ctx, fdit_option_find(options, "steps"), &j, "50"));
 *     TRY(fdit_options_check(ctx, options, &j)); */
#ifndef FDIT_CORE_OPTION_TABLE_H
#define FDIT_CORE_OPTION_TABLE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fdit_option_kind {
    FDIT_OPT_HEADING, /* the name heads the options that follow */
    FDIT_OPT_FLAG,    /* bool: true when it is typed */
    FDIT_OPT_SWITCH,  /* bool: `arg` is "word|word", the first is true */
    FDIT_OPT_TEXT,    /* const char *: as typed, never empty; the text is not copied */
    FDIT_OPT_INT,     /* int */
    FDIT_OPT_INT64,   /* int64_t */
    FDIT_OPT_SEED,    /* uint64_t: 0 .. 2^63 - 1 */
    FDIT_OPT_REAL,    /* double: finite, "1e-4" */
    FDIT_OPT_REALS,   /* double[2]: "0.9,0.999" */
    FDIT_OPT_SIZE,    /* size_t bytes: "6G", "512M", "1.5g", "4096"; powers of 1024 */
    FDIT_OPT_CHOICE,  /* int or enum: place in `arg`, "crop|pad", or what `values` says of the place */
    FDIT_OPT_MAYBE,   /* int: -1 not given, 0 no, 1 yes; typed as a flag */
    FDIT_OPT_PARSE,   /* all is done by `parse`; in files it is the text of `format`, if there is one */
};

/* Where a job keeps an option, and whether a job that goes on may change it. */
enum fdit_option_keep {
    FDIT_KEEP_NOT,     /* in no file */
    FDIT_KEEP_RESULT,  /* decides the result: must stay */
    FDIT_KEEP_CONTENT, /* a file that decides it: another path may hold the same, none may not */
    FDIT_KEEP_NOTE,    /* kept beside those, but may change */
    FDIT_KEEP_RUN,     /* kept apart: how the job runs, or what else its folder is for */
};

struct fdit_option {
    const char *name; /* without the two dashes; the key in files, too */
    /* "FILE", "N"; NULL: takes none; a choice: "a|b|c"; "[RUN]": may be left out before another option or the
     * end (then `parse` gets NULL) */
    const char *arg;
    enum fdit_option_kind kind;
    size_t offset; /* of the value in its struct */
    /* One sentence without a final dot and without the default; NULL: not on the command line of this table,
     * only in files and by fdit_option_set. */
    const char *help;
    double least, most; /* of a number; both 0: as far as the type goes */
    /* the default, as it would be typed; NULL: zero (of two numbers: NaN), which means "not given" */
    const char *usual;
    /* What a shell may offer as the value, words with bars between; NULL: `arg`. In capitals: FILE, DIR and
     * the like are paths, RANK, GROUP and CLASS those of the taxonomy in use ("superclass:RANK"), others
     * nothing. */
    const char *offers;
    const char *note;  /* behind the default in --help, within its brackets: "; 0: all", ": the base's" */
    const int *values; /* of a choice, one for each word; NULL: 0, 1, 2, ... */
    enum fdit_option_keep keep;
    bool path;                      /* a text that is a path where it is kept */
    bool (*kept)(const void *args); /* whether it is written; NULL: always */
    /* Reads what is typed in place of the kind's own way: value into *args, or FDIT_ERROR_ARGUMENT "--name
     * VALUE: ...; remedy". */
    enum fdit_status (*parse)(fdit_context *ctx, void *args, const char *value);
    void (*format)(const void *args, char out[40]); /* the text that `parse` reads back */
};

/* Parts of a row; a table names its struct once, in a macro of its own (see above). */
#define FDIT_HEADING(text) \
    {                      \
        .name = text       \
    }
#define FDIT_OPTION_ROW(k, n, a, type, field) \
    .name = n, .arg = a, .kind = FDIT_OPT_##k, .offset = offsetof(type, field)
#define FDIT_RANGE(low, high) .least = low, .most = high

/* The row of this name, NULL: none. */
const struct fdit_option *fdit_option_find(const struct fdit_option *table, const char *name);

/* Gives every option of the table that has a default its default; two numbers without one become NaN, the
 * others are left as they are. */
void fdit_options_defaults(const struct fdit_option *table, void *args);

/* What was typed into the option's place. A flag takes NULL, "true" or "false". FDIT_ERROR_ARGUMENT names
 * the option, the value and what is possible. */
enum fdit_status fdit_option_set(fdit_context *ctx, const struct fdit_option *o, void *args,
                                 const char *text);
/* The same by name; an unknown name is FDIT_ERROR_ARGUMENT with the closest one. */
enum fdit_status fdit_options_set(fdit_context *ctx, const struct fdit_option *table, void *args,
                                  const char *name, const char *text);

/* Refuses the first number of the table that is out of its range, by the option's name. Zero (of two
 * numbers: NaN) where there is not a default means that the option was not given, and is allowed. */
enum fdit_status fdit_options_check(fdit_context *ctx, const struct fdit_option *table, const void *args);

/* The value of a choice or switch as it is typed; NULL where the value is none of them. */
const char *fdit_option_word(const struct fdit_option *o, const void *args, char out[32]);
/* The other way; false, and nothing is changed, where the text is none of the words. An enumeration is
 * written as the int that it is in every ABI in use. */
bool fdit_option_take_word(const struct fdit_option *o, void *args, const char *text);
/* The help with the default: "learning rate (default 1e-4)". At most size - 1 bytes; returns what the
 * whole needs. */
size_t fdit_option_help(const struct fdit_option *o, char *out, size_t size);

/* Numbers as options take them, the same in every locale; `what` begins the message: "--steps". */
enum fdit_status fdit_parse_int64(fdit_context *ctx, const char *what, const char *text, int64_t *out);
/* "I/N", part I of N, 0 <= I < N <= INT32_MAX: of `what` ("--shard"), or FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_parse_part(fdit_context *ctx, const char *what, const char *text, int *part,
                                 int *parts);
enum fdit_status fdit_parse_real(fdit_context *ctx, const char *what, const char *text, double *out);
enum fdit_status fdit_parse_size(fdit_context *ctx, const char *what, const char *text, size_t *out);
/* As it would be typed: "1048576", "0.999999999": the fewest digits that are this value. Returns out. */
const char *fdit_format_number(double value, char out[32]);

#endif
