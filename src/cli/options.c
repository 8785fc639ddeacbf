/* SPDX-License-Identifier: Apache-2.0
 * options.c: GNU long options from tables: "--name value", "--name=value", "--" ends them, and
 * options and operands may be mixed. */
#include "cli/cli.h"

#include "core/pool.h"
#include "core/text.h"
#include "device_words.h"

#include <stddef.h>
#include <string.h>

static const int types[] = { FDIT_F32, FDIT_BF16, FDIT_F16, FDIT_I8 };
static const int precisions[] = { FDIT_F32, FDIT_BF16X3, FDIT_BF16, FDIT_F16, FDIT_I8, FDIT_CLI_AUTO };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_cli, field)

static const struct fdit_option device_options[] = {
    FDIT_HEADING("Device"),
    { ROW(TEXT, "device", "SPEC", device), .offers = FDIT_DEVICES_OFFERS,
      .note = ": $FINEDIFFUSION_DEVICE, else the best GPU whose self-test passes, else cpu",
      .help = FDIT_DEVICES_SPEC },
    { ROW(INT, "threads", "N", threads), FDIT_RANGE(1, FDIT_POOL_MOST_MEMBERS), .note = ": all",
      .help = "threads of the cpu device" },
    { ROW(CHOICE, "precision", "f32|bf16x3|bf16|f16|int8|auto", precision), .values = precisions,
      .note = " f32; auto for demo",
      .help = "arithmetic of matrix products; refused if the device lacks it; bf16x3: three products of "
              "parts of bf16 on a matrix unit, near to f32; auto: bf16 if the device is faster in it, "
              "else f32" },
    { 0 }
};
static const struct fdit_option weights_options[] = {
    { ROW(CHOICE, "weights", "f32|bf16|f16|int8", weights), .values = types, .usual = "f32",
      .help = "type in which frozen weights are stored; refused if the device lacks it" },
    { 0 }
};
static const struct fdit_option plan_options[] = {
    { ROW(SIZE, "memory", "SIZE", memory), FDIT_RANGE(1, 9e18), .note = ": the device's memory",
      .help = "refuse to start if the plan needs more, for example 6G or 512M, powers of 1024" },
    { ROW(FLAG, "plan", NULL, plan), .help = "print the memory plan and exit" },
    { 0 }
};
static const struct fdit_option json_options[] = { FDIT_HEADING("Messages"),
                                                   { ROW(FLAG, "json", NULL, json),
                                                     .help = "print results as JSON on standard output" },
                                                   { 0 } };
static const struct fdit_option common_options[] = {
    FDIT_HEADING("Messages"),
    { ROW(FLAG, "quiet", NULL, quiet), .help = "print only errors and warnings on standard error" },
    { ROW(FLAG, "verbose", NULL, verbose), .help = "print more on standard error" },
    { ROW(FLAG, "help", NULL, quiet), .help = "print this text and exit" },
    { 0 }
};

enum { MOST_TABLES = 8 };
struct tables {
    const struct fdit_option *list[MOST_TABLES];
    void *target[MOST_TABLES];
    const struct fdit_borrowed *part[MOST_TABLES]; /* only these of the table; NULL: all */
    int n;
};

static void add_table(struct tables *t, const struct fdit_option *list, void *target)
{
    if (!list)
        return;
    t->list[t->n] = list;
    t->target[t->n++] = target;
}

static void add_borrowed(struct tables *t, const struct fdit_borrowed *b, void *args)
{
    if (!b)
        return;
    t->part[t->n] = b;
    add_table(t, b->table, args ? (char *)args + b->offset : NULL);
}

/* Whether row o of table i may be typed. */
static bool is_offered(const struct tables *t, int i, const struct fdit_option *o)
{
    const char *const *name = t->part[i] ? t->part[i]->names : NULL;
    while (name && *name && strcmp(*name, o->name))
        name++;
    return o->help && (!name || *name);
}

static struct tables tables_of(const struct fdit_command *command, struct fdit_cli *cli, void *args)
{
    struct tables t = { .n = 0 };
    add_table(&t, command->job, args);
    add_borrowed(&t, command->borrowed, args);
    add_table(&t, command->options, args);
    add_table(&t, command->common & FDIT_COMMON_DEVICE ? device_options : NULL, cli);
    add_table(&t, command->common & FDIT_COMMON_WEIGHTS ? weights_options : NULL, cli);
    add_table(&t, command->common & FDIT_COMMON_PLAN ? plan_options : NULL, cli);
    add_table(&t, command->common & FDIT_COMMON_JSON ? json_options : NULL, cli);
    add_table(&t, common_options, cli);
    return t;
}

/* ------------------------------------------------------------------ names */

/* The table entry of this very name, NULL: none. */
static const struct fdit_option *find_exact(const struct tables *t, const char *name, size_t n)
{
    for (int i = 0; i < t->n; i++)
        for (const struct fdit_option *o = t->list[i]; o->name; o++)
            if (is_offered(t, i, o) && strlen(o->name) == n && !memcmp(o->name, name, n))
                return o;
    return NULL;
}

const struct fdit_option *fdit_options_find(const struct fdit_command *command, const char *name, size_t n)
{
    struct tables t = tables_of(command, NULL, NULL);
    return find_exact(&t, name, n);
}

void fdit_options_each(const struct fdit_command *command,
                       void (*see)(void *user, const struct fdit_option *o), void *user)
{
    struct tables t = tables_of(command, NULL, NULL);
    for (int i = 0; i < t.n; i++)
        for (const struct fdit_option *o = t.list[i]; o->name; o++)
            if (o->kind != FDIT_OPT_HEADING && is_offered(&t, i, o))
                see(user, o);
}

/* ". Did you mean --steps?" or the command that has such an option; "" when none is close. */
static void suggest(const struct fdit_command *command, const char *name, size_t length, char text[96])
{
    struct tables t = tables_of(command, NULL, NULL);
    struct fdit_text_guess guess = { .typed = name, .length = length };
    int n;
    const struct fdit_command *const *all = fdit_commands(&n);
    for (int i = 0; i < t.n; i++)
        for (const struct fdit_option *o = t.list[i]; o->name; o++)
            if (is_offered(&t, i, o))
                fdit_text_consider(&guess, o->name);
    text[0] = '\0';
    for (int i = 0; i < n && !(guess.best && guess.edits <= 1); i++) {
        struct tables other = tables_of(all[i], NULL, NULL);
        if (find_exact(&other, name, length)) {
            snprintf(text, 96, " to %s (%s has it)", command->name, all[i]->name);
            return;
        }
    }
    if (guess.best)
        snprintf(text, 96, ". Did you mean --%.60s?", guess.best);
}

/* One dash, or one of a text program. */
static enum fdit_status refuse_dash(struct fdit_cli *cli, const struct tables *t, const char *word)
{
    if (word[0] != '-')
        return fdit_fail(cli->ctx, FDIT_ERROR_ARGUMENT,
                         "'%s' begins with a dash that is not a hyphen; write --%s", word,
                         word + 3 + strspn(word + 3, "-"));
    const size_t n = strcspn(word + 1, "=");
    const bool known = find_exact(t, word + 1, n);
    return fdit_fail(
        cli->ctx, FDIT_ERROR_ARGUMENT,
        "option %s is not known; options begin with two dashes%s%.*s, see finediffusion %s --help", word,
        known ? ": --" : "", known ? (int)n : 0, word + 1, cli->command);
}

/* The option that the first n bytes of `text` mean: exactly, or as the beginning of only one. */
static enum fdit_status find(struct fdit_cli *cli, const struct tables *t, const char *text, size_t n,
                             const struct fdit_option **out, void **target)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_option *found = NULL, *second = NULL;
    for (int i = 0; i < t->n; i++) {
        for (const struct fdit_option *o = t->list[i]; o->name; o++) {
            if (!is_offered(t, i, o) || n == 0 || strncmp(o->name, text, n))
                continue;
            bool exact = strlen(o->name) == n;
            if (exact || !found) {
                second = NULL;
                found = o;
                *target = t->target[i];
            } else {
                second = o;
            }
            if (exact)
                goto done;
        }
    }
done:
    if (!found) {
        char meant[96];
        suggest(fdit_command_find(cli->command), text, n, meant);
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "option --%.*s is not known%s%s finediffusion %s --help", (int)n,
             text, meant, strchr(meant, '?') ? " See" : "; see", cli->command);
    }
    if (second)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "option --%.*s may mean --%s or --%s; write it in full", (int)n,
             text, found->name, second->name);
    *out = found;
out:
    return status;
}

void fdit_command_defaults(const struct fdit_command *command, void *args)
{
    static const struct fdit_option none[] = { { 0 } };
    fdit_options_defaults(command->job ? command->job : none, args);
    fdit_options_defaults(command->options ? command->options : none, args);
    if (command->defaults)
        command->defaults(args);
}

static void note_given(struct fdit_cli *cli, const struct fdit_option *o)
{
    size_t i = 0;
    while (i < FDIT_CLI_MOST_GIVEN - 1 && cli->given[i] && cli->given[i] != o)
        i++;
    if (i < FDIT_CLI_MOST_GIVEN - 1)
        cli->given[i] = o;
}

const char *fdit_options_given(const struct fdit_cli *cli, const char *const *names)
{
    for (; *names; names++)
        for (size_t i = 0; cli->given[i]; i++)
            if (!strcmp(cli->given[i]->name, *names))
                return *names;
    return NULL;
}

enum fdit_status fdit_options_parse(struct fdit_cli *cli, const struct fdit_command *command, void *args,
                                    int argc, char **argv, int *n, bool *help)
{
    enum fdit_status status = FDIT_OK;
    struct tables t = tables_of(command, cli, args);
    int operands = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        if (!only_operands && (!strncmp(word, "\xe2\x80\x93", 3) || !strncmp(word, "\xe2\x80\x94", 3)))
            TRY(refuse_dash(cli, &t, word));
        if (only_operands || word[0] != '-' || !word[1]) {
            if (command->most_operands >= 0 && operands >= command->most_operands)
                FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "'%s' is one word too many; usage: finediffusion %s %.*s",
                     word, command->name, (int)strcspn(command->synopsis, "\n"), command->synopsis);
            argv[operands++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_operands = true;
            continue;
        }
        if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
            *help = true;
            goto out;
        }
        if (word[1] != '-')
            TRY(refuse_dash(cli, &t, word));
        const struct fdit_option *o;
        void *target = NULL;
        const char *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
        TRY(find(cli, &t, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2), &o, &target));
        if (!o->arg && value)
            FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--%s takes no value; leave out '=%s'", o->name, value);
        if (!o->arg && !strcmp(o->name, "help")) {
            *help = true;
            goto out;
        }
        bool may_lack = o->arg && o->arg[0] == '[';
        if (may_lack && !value && i + 1 < argc && argv[i + 1][0] != '-')
            value = argv[++i];
        if (o->arg && !value && !may_lack) {
            if (i + 1 >= argc)
                FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
            value = argv[++i];
        }
        TRY(fdit_option_set(cli->ctx, o, target, value));
        note_given(cli, o);
    }
    *n = operands;
out:
    return status;
}

/* ------------------------------------------------------------------ help */

enum { HELP_COLUMN = 30, HELP_WIDTH = 80 };

/* The n bytes at text in lines of `width` columns from column `indent` on, broken at blanks. `column` is
 * where the first line stands already. */
static void wrapped(FILE *to, size_t column, size_t indent, const char *text, size_t n)
{
    while (n > 0) {
        const size_t room = HELP_WIDTH - indent;
        size_t take = n;
        if (take > room) {
            take = room;
            while (take > 0 && text[take] != ' ')
                take--;
            if (take == 0)
                take = strcspn(text, " ");
        }
        take = take < n ? take : n;
        fprintf(to, "%*s%.*s\n", column < indent ? (int)(indent - column) : 0, "", (int)take, text);
        column = 0;
        for (text += take, n -= take; n > 0 && *text == ' '; n--)
            text++;
    }
}

/* A text of one line for each paragraph; lines that begin with a blank stay as they are. */
static void paragraphs(FILE *to, const char *text)
{
    while (*text) {
        const size_t n = strcspn(text, "\n");
        if (n == 0 || *text == ' ')
            fprintf(to, "%.*s\n", (int)n, text);
        else
            wrapped(to, 0, 0, text, n);
        text += n + (text[n] == '\n');
    }
}

void fdit_options_help(const struct fdit_command *command, FILE *to)
{
    struct tables t = tables_of(command, NULL, NULL);
    bool messages = false;
    char help[1024];
    fprintf(to, "usage: finediffusion %s%s%s\n\n", command->name, *command->synopsis ? " " : "",
            command->synopsis);
    paragraphs(to, command->about);
    for (int i = 0; i < t.n; i++) {
        if (t.part[i])
            fprintf(to, "\n%s:\n", t.part[i]->heading);
        for (const struct fdit_option *o = t.list[i]; o->name; o++) {
            if (o->kind == FDIT_OPT_HEADING && !t.part[i]) {
                bool again = messages && !strcmp(o->name, "Messages");
                messages = messages || !strcmp(o->name, "Messages");
                if (!again)
                    fprintf(to, "\n%s:\n", o->name);
                continue;
            }
            if (!is_offered(&t, i, o))
                continue;
            int column = fprintf(to, "  --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
            if (column >= HELP_COLUMN - 1) {
                fputc('\n', to);
                column = 0;
            }
            fdit_option_help(o, help, sizeof help);
            wrapped(to, (size_t)column, HELP_COLUMN, help, strlen(help));
        }
    }
    if (command->examples)
        fprintf(to, "\nExamples:\n%s", command->examples);
}
