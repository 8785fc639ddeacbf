/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"
#include "cli/cli.h"
#include "cli/topics.h"

#include "data/taxonomy.h"
#include "model/checkpoint.h"
#include "sample/guide.h"

#include <ctype.h>
#include <string.h>

enum { DESCRIPTION_BYTES = 70 };

struct line {
    fdit_context *ctx;
    const struct fdit_command *command;
    char **words;
    int n;             /* the last is being typed */
    const char *typed; /* of the last word, behind "--name=" where it begins so */
    size_t before;     /* bytes of the last word before `typed` */
    struct fdit_taxonomy *taxonomy;
    bool looked; /* for the taxonomy */
};

/* ------------------------------------------------------------------ candidates */

/* What an option means: its help to the first semicolon, or as many words as fit. */
static void describe(const char *help, char out[DESCRIPTION_BYTES])
{
    size_t n = strcspn(help, ";");
    if (n >= DESCRIPTION_BYTES) {
        n = DESCRIPTION_BYTES - 1;
        while (n > 0 && help[n] != ' ')
            n--;
        n -= n > 0 && ispunct((unsigned char)help[n - 1]);
    }
    memcpy(out, help, n);
    out[n] = '\0';
}

/* A name with a control character would end the candidate, or the terminal's patience. */
static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return false;
    return true;
}

/* The candidate start + name, where it goes on from what is typed behind the first `from` bytes. */
static void offer(const struct line *l, size_t from, const char *start, const char *name, const char *meaning)
{
    const char *typed = l->typed + from;
    const size_t n = strlen(typed), head = strlen(start);
    const bool fits = n <= head ? !strncmp(start, typed, n)
                                : !strncmp(start, typed, head) && !strncmp(name, typed + head, n - head);
    if (fits && is_printable(name))
        printf("%.*s%.*s%s%s\t%s\n", (int)l->before, l->words[l->n - 1], (int)from, l->typed, start, name,
               meaning);
}

/* ------------------------------------------------------------------ the taxonomy in use */

/* The value of --name among the words before the last, NULL: it is not there. */
static const char *value_of(const struct line *l, const char *name)
{
    const char *value = NULL;
    for (int i = 1; i + 1 < l->n; i++) {
        const char *word = l->words[i];
        const size_t n = strcspn(word, "=");
        if (strncmp(word, "--", 2) || strlen(name) != n - 2 || strncmp(word + 2, name, n - 2))
            continue;
        if (word[n])
            value = word + n + 1;
        else if (i + 2 < l->n)
            value = l->words[i + 1];
    }
    return value;
}

static struct fdit_taxonomy *carried_by(fdit_context *ctx, const char *file)
{
    struct fdit_checkpoint *cp = NULL;
    struct fdit_taxonomy *tax = NULL;
    if (file && fdit_checkpoint_open(ctx, file, FDIT_VALUES_RAW, &cp) == FDIT_OK)
        (void)fdit_guide_taxonomy(ctx, cp, &tax);
    fdit_checkpoint_close(cp);
    return tax;
}

/* That of --taxonomy, else of the delta, else of the base; NULL: none that can be read. */
static const struct fdit_taxonomy *taxonomy(struct line *l)
{
    if (l->looked)
        return l->taxonomy;
    l->looked = true;
    const char *file = value_of(l, "taxonomy");
    if (file)
        (void)fdit_taxonomy_load(l->ctx, file, NULL, &l->taxonomy);
    else
        l->taxonomy = carried_by(l->ctx, value_of(l, "delta"));
    if (!file && !l->taxonomy)
        l->taxonomy = carried_by(l->ctx, value_of(l, "base"));
    return l->taxonomy;
}

/* ------------------------------------------------------------------ values */

/* What is typed behind the last comma of a list. */
static size_t last_of_list(const char *typed)
{
    const char *comma = strrchr(typed, ',');
    return comma ? (size_t)(comma + 1 - typed) : 0;
}

static void offer_classes(struct line *l)
{
    const struct fdit_taxonomy *tax = taxonomy(l);
    const size_t from = last_of_list(l->typed);
    for (int32_t i = 0; tax && i < fdit_taxonomy_n_classes(tax); i++)
        offer(l, from, "", fdit_taxonomy_class_name(tax, i), "");
}

/* start + each rank + end */
static void offer_ranks(struct line *l, size_t from, const char *start, const char *end)
{
    const struct fdit_taxonomy *tax = taxonomy(l);
    char text[256];
    for (int32_t r = 0; tax && r < fdit_taxonomy_n_ranks(tax); r++)
        if ((size_t)snprintf(text, sizeof text, "%s%s", fdit_taxonomy_rank_name(tax, r), end) < sizeof text)
            offer(l, from, start, text, "");
}

/* "RANK=GROUP": ranks until one is typed, then its groups. */
static void offer_groups(struct line *l)
{
    const struct fdit_taxonomy *tax = taxonomy(l);
    const size_t from = last_of_list(l->typed);
    const char *typed = l->typed + from, *equals = strchr(typed, '=');
    if (!equals)
        offer_ranks(l, from, "", "=");
    for (int32_t r = 0; tax && equals && r < fdit_taxonomy_n_ranks(tax); r++) {
        const char *rank = fdit_taxonomy_rank_name(tax, r);
        if (strlen(rank) != (size_t)(equals - typed) || strncmp(rank, typed, strlen(rank)))
            continue;
        for (int32_t g = 0; g < fdit_taxonomy_n_groups(tax, r); g++)
            offer(l, from + strlen(rank) + 1, "", fdit_taxonomy_group_name(tax, r, g), "");
    }
}

static bool is_one_of(const char *word, size_t n, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == n && !strncmp(*list, word, n))
            return true;
    return false;
}

/* Whether what is offered holds a word of the list. */
static bool holds(const char *offers, const char *const *list)
{
    for (size_t n; *offers; offers += n + (offers[n] == '|')) {
        n = strcspn(offers, "|");
        if (is_one_of(offers, n, list))
            return true;
    }
    return false;
}

static void offer_value(struct line *l, const char *offers)
{
    static const char *const files[] = { "FILE", "DATA", "DELTA", "PICTURE", "IN", "@FILE", NULL },
                             *const folders[] = { "DIR", "RUN", NULL }, *const classes[] = { "CLASS", NULL },
                             *const ranks[] = { "RANK", NULL }, *const groups[] = { "RANK=GROUP", NULL };
    if (*offers == '[') /* "[RUN]": may be left out */
        offers++;
    puts(holds(offers, files) ? "files" : holds(offers, folders) ? "folders" : "words");
    for (size_t n; *offers; offers += n + (offers[n] == '|')) {
        char word[64];
        n = strcspn(offers, "|]");
        snprintf(word, sizeof word, "%.*s", (int)n, offers);
        const char *rank = strstr(word, ":RANK");
        if (is_one_of(offers, n, classes)) {
            offer_classes(l);
        } else if (is_one_of(offers, n, groups)) {
            offer_groups(l);
        } else if (is_one_of(offers, n, ranks)) {
            offer_ranks(l, 0, "", "");
        } else if (rank) {
            word[rank + 1 - word] = '\0';
            offer_ranks(l, 0, word, "");
        } else if (!isupper((unsigned char)*word) && !ispunct((unsigned char)*word)) {
            offer(l, 0, "", word, "");
        }
        if (offers[n] == ']')
            break;
    }
}

/* ------------------------------------------------------------------ names */

static void offer_option(void *user, const struct fdit_option *o)
{
    char meaning[DESCRIPTION_BYTES];
    describe(o->help, meaning);
    offer(user, 0, "--", o->name, meaning);
}

static void offer_commands(const struct line *l)
{
    int n;
    const struct fdit_command *const *list = fdit_commands(&n);
    for (int i = 0; i < n; i++)
        offer(l, 0, "", list[i]->name, list[i]->summary);
}

static void offer_topics(const struct line *l)
{
    int n;
    const struct fdit_topic *list = fdit_topics(&n);
    for (int i = 0; i < n; i++)
        offer(l, 0, "", list[i].name, list[i].summary);
}

/* The option that waits for the last word as its value; l->typed is then the value. NULL: none. */
static const struct fdit_option *awaited(struct line *l)
{
    const char *last = l->words[l->n - 1], *previous = l->n > 2 ? l->words[l->n - 2] : "";
    const char *equals = strchr(last, '=');
    const struct fdit_option *o = NULL;
    if (!strncmp(last, "--", 2) && equals) {
        o = fdit_options_find(l->command, last + 2, (size_t)(equals - last) - 2);
        l->before = (size_t)(equals + 1 - last);
        l->typed = equals + 1;
    } else if (!strncmp(previous, "--", 2) && last[0] != '-') {
        o = fdit_options_find(l->command, previous + 2, strlen(previous) - 2);
    }
    return o && o->arg ? o : NULL;
}

static void complete(struct line *l)
{
    const struct fdit_option *o;
    if (l->n == 1) {
        puts("words");
        offer_commands(l);
        offer(l, 0, "", "--help", "the commands and topics");
        offer(l, 0, "", "--version", "the version and how it was built");
    } else if (!l->command) {
        puts("files");
    } else if ((o = awaited(l))) {
        offer_value(l, o->offers ? o->offers : o->arg);
    } else if (l->typed[0] == '-') {
        puts("words");
        fdit_options_each(l->command, offer_option, l);
    } else if (!strcmp(l->command->name, "help")) {
        puts("words");
        offer_topics(l);
        offer_commands(l);
    } else {
        puts(l->command->most_operands ? "files" : "words");
    }
}

int fdit_complete(int n, char **words)
{
    static char nothing[] = "", *empty[] = { nothing };
    struct line l = { .words = n > 0 ? words : empty, .n = n > 0 ? n : 1 };
    l.typed = l.words[l.n - 1];
    l.command = fdit_command_find(l.words[0]);
    l.ctx = fdit_context_new();
    if (l.ctx)
        complete(&l);
    fdit_taxonomy_free(l.taxonomy);
    fdit_context_free(l.ctx);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
