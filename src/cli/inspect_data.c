/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_data.h"

#include "core/limits.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/survey.h"
#include "device/plan.h"
#include "format/kind.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { n_shown = 5, n_bins = 32, bar_length = 40 };

struct job {
    struct fdit_cli *cli;
    const struct fdit_inspect_data *how;
    const char *path;
    struct fdit_json *out;
    json_t *problems, *notes; /* borrowed from out */
    struct fdit_dataset *ds;
    struct fdit_survey survey;
};

/* Names of files may not be UTF-8, which JSON cannot hold: only those are changed, to escapes. */
static void put_clean(struct fdit_json *out, json_t *to, const char *key, const char *text)
{
    char clean[4096];
    const bool exact = fdit_utf8_valid(text, strlen(text));
    if (!exact)
        fdit_text_safe(clean, sizeof clean, text, FDIT_TEXT_LINE);
    fdit_json_put_text(out, to, key, exact ? text : clean);
}

static void put_problem(struct job *j, const char *text)
{
    if (!j->problems)
        j->problems = fdit_json_put_array(j->out, NULL, "problems");
    put_clean(j->out, j->problems, NULL, text);
}

/* ------------------------------------------------------------------ decoding */

/* What the loader says of broken pictures, from any of its threads. */
struct capture {
    pthread_mutex_t lock;
    struct fdit_cli *cli;
    char **list;
    size_t n, capacity;
    bool no_memory;
};

static void capture(void *user, enum fdit_log_level level, const char *message)
{
    struct capture *c = user;
    pthread_mutex_lock(&c->lock);
    if (level == FDIT_LOG_WARNING) {
        c->no_memory = c->no_memory ||
                       fdit_grow(NULL, &c->list, &c->capacity, c->n + 1, sizeof *c->list) != FDIT_OK ||
                       fdit_strdup(NULL, message, &c->list[c->n]) != FDIT_OK;
        c->n += !c->no_memory;
    }
    fdit_cli_log(c->cli, level, message);
    pthread_mutex_unlock(&c->lock);
}

/* Bounds what decoding takes, as `train` does. Pictures that need more count as broken. */
static enum fdit_status bound_memory(struct job *j, const struct fdit_loader_options *loader)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = j->cli->ctx;
    struct fdit_limits limits;
    struct fdit_plan plan = { 0 };
    size_t bytes;
    TRY(fdit_limits_read(ctx, NULL, &limits));
    TRY(fdit_plan_add_process(ctx, &plan, NULL));
    TRY(fdit_dataset_plan_reading(ctx, j->ds, loader->workers,
                                  fdit_plan_room(&plan, j->how->memory ? j->how->memory : limits.memory),
                                  true, &bytes));
out:
    fdit_plan_fini(&plan);
    return status;
}

/* Decodes all pictures on two threads. */
static enum fdit_status decode_all(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = j->cli->ctx;
    struct fdit_loader *l = NULL;
    struct fdit_batch b;
    const struct fdit_loader_options options = {
        .batch = 1, .workers = 2, .in_order = true, .skip_bad = true, .leave_bad = true, .ring = 16
    };
    struct capture said = { .lock = PTHREAD_MUTEX_INITIALIZER, .cli = j->cli };
    size_t n = fdit_dataset_size(j->ds);
    char *text = NULL;
    fdit_context_set_log(ctx, capture, &said);
    TRY(bound_memory(j, &options));
    TRY(fdit_loader_open(ctx, j->ds, NULL, 0, &options, &l));
    fdit_cli_progress_begin(j->cli, "inspect", "picture", 0, n);
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_loader_next(ctx, l, &b));
        fdit_cli_progress_update(j->cli, i + 1, NULL);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu pictures", j->path, i + 1, n);
    }
    size_t broken = (size_t)fdit_loader_stats(l).skipped;
    fdit_cli_progress_end(j->cli);
    fdit_json_put_int(j->out, NULL, "pictures_decoded", (int64_t)(n - broken));
    if (said.no_memory)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the list of broken pictures");
    if (broken) {
        TRY(fdit_strf(ctx, &text,
                      "%s: %zu of %zu pictures cannot be decoded; get them again or remove them, or train "
                      "with --skip-bad",
                      j->path, broken, n));
        put_problem(j, text);
        json_t *list = fdit_json_put_array(j->out, NULL, "broken");
        for (size_t i = 0; i < said.n; i++)
            put_clean(j->out, list, NULL, said.list[i]);
    }
out:
    fdit_context_set_log(ctx, fdit_cli_log, j->cli);
    fdit_cli_progress_drop(j->cli);
    fdit_loader_close(l);
    for (size_t i = 0; i < said.n; i++)
        fdit_free(said.list[i]);
    fdit_free(said.list);
    fdit_free(text);
    return status;
}

/* ------------------------------------------------------------------ counts */

static int by_count(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Pictures a class: fewest, median, most, and how many classes have 1, 2 to 3, 4 to 7, ... of them.
 */
static enum fdit_status put_counts(struct job *j, const struct fdit_taxonomy *classes)
{
    enum fdit_status status = FDIT_OK;
    size_t n = (size_t)fdit_taxonomy_n_classes(classes), bins[n_bins] = { 0 }, *counts = NULL;
    TRY(fdit_alloc(j->cli->ctx, n, sizeof *counts, &counts));
    for (size_t c = 0; c < n; c++) {
        counts[c] = fdit_dataset_class_count(j->ds, (int32_t)c);
        int bin = 0;
        for (size_t k = counts[c]; k; k >>= 1)
            bin++;
        bins[bin < n_bins ? bin : n_bins - 1]++;
    }
    qsort(counts, n, sizeof *counts, by_count);
    fdit_json_put_int(j->out, NULL, "least_per_class", (int64_t)counts[0]);
    fdit_json_put_int(j->out, NULL, "median_per_class", (int64_t)counts[n / 2]);
    fdit_json_put_int(j->out, NULL, "most_per_class", (int64_t)counts[n - 1]);
    json_t *list = fdit_json_put_array(j->out, NULL, "histogram");
    for (int b = 0; b < n_bins; b++) {
        if (!bins[b])
            continue;
        json_t *bin = fdit_json_put_object(j->out, list, NULL);
        fdit_json_put_int(j->out, bin, "from", b ? (int64_t)1 << (b - 1) : 0);
        fdit_json_put_int(j->out, bin, "to", b ? ((int64_t)1 << b) - 1 : 0);
        fdit_json_put_int(j->out, bin, "classes", (int64_t)bins[b]);
    }
out:
    fdit_free(counts);
    return status;
}

/* The table of classes with the number of pictures as a last column "#pictures", which --taxonomy
 * passes over. */
static enum fdit_status put_table(struct job *j, const struct fdit_taxonomy *classes)
{
    enum fdit_status status = FDIT_OK;
    char *table = NULL, *text = NULL;
    int32_t id = 0;
    bool header = true;
    TRY(fdit_taxonomy_to_tsv(j->cli->ctx, classes, &table));
    size_t lines = 1, used = 0;
    for (const char *c = table; *c; c++)
        lines += *c == '\n';
    TRY(fdit_alloc(j->cli->ctx, strlen(table) + 24 * lines + 1, 1, &text));
    for (const char *at = table; *at;) {
        size_t len = strcspn(at, "\n");
        bool directive = at[0] == '#';
        memcpy(text + used, at, len);
        used += len;
        if (!directive && header)
            used += (size_t)sprintf(text + used, "\t#pictures");
        else if (!directive)
            used += (size_t)sprintf(text + used, "\t%zu", fdit_dataset_class_count(j->ds, id++));
        text[used++] = '\n';
        header = header && directive;
        at += len + (at[len] == '\n');
    }
    fdit_json_put_text(j->out, NULL, "taxonomy", text);
out:
    fdit_free(table);
    fdit_free(text);
    return status;
}

static enum fdit_status put_classes(struct job *j, const struct fdit_taxonomy *classes)
{
    enum fdit_status status = FDIT_OK;
    fdit_json_put_int(j->out, NULL, "classes", fdit_taxonomy_n_classes(classes));
    json_t *ranks = fdit_json_put_array(j->out, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(classes); r++) {
        json_t *rank = fdit_json_put_object(j->out, ranks, NULL);
        fdit_json_put_text(j->out, rank, "name", fdit_taxonomy_rank_name(classes, r));
        fdit_json_put_int(j->out, rank, "groups", fdit_taxonomy_n_groups(classes, r));
    }
    fdit_json_put_int(j->out, NULL, "taxonomy_rows", fdit_taxonomy_n_rows(classes));
    TRY(put_counts(j, classes));
    if (j->how->classes)
        TRY(put_table(j, classes));
out:
    return status;
}

/* ------------------------------------------------------------------ pictures */

static bool surveyed(void *user, size_t done)
{
    struct job *j = user;
    fdit_cli_progress_update(j->cli, done, NULL);
    return true;
}

static enum fdit_status put_size(struct job *j, const char *key, const struct fdit_survey_size *size)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    json_t *o = fdit_json_put_object(j->out, NULL, key);
    TRY(fdit_dataset_name(j->cli->ctx, j->ds, size->picture, &name));
    fdit_json_put_int(j->out, o, "width", size->width);
    fdit_json_put_int(j->out, o, "height", size->height);
    put_clean(j->out, o, "picture", name);
out:
    fdit_free(name);
    return status;
}

static enum fdit_status put_duplicates(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_survey *s = &j->survey;
    size_t n = s->n_pairs < n_shown || j->how->list ? s->n_pairs : n_shown;
    char *a = NULL, *b = NULL;
    fdit_json_put_int(j->out, NULL, "duplicates", (int64_t)s->duplicates);
    fdit_json_put_int(j->out, NULL, "duplicates_in_other_classes", (int64_t)s->duplicate_labels);
    json_t *list = n ? fdit_json_put_array(j->out, NULL, "duplicate_pictures") : NULL;
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_dataset_name(j->cli->ctx, j->ds, s->pairs[i].picture, &a));
        TRY(fdit_dataset_name(j->cli->ctx, j->ds, s->pairs[i].same, &b));
        json_t *pair = fdit_json_put_array(j->out, list, NULL);
        put_clean(j->out, pair, NULL, a);
        put_clean(j->out, pair, NULL, b);
        fdit_free(a);
        fdit_free(b);
        a = b = NULL;
    }
out:
    fdit_free(a);
    fdit_free(b);
    return status;
}

static enum fdit_status put_survey(struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_survey *s = &j->survey;
    char *text = NULL;
    fdit_cli_progress_begin(j->cli, "inspect", "picture", 0, fdit_dataset_size(j->ds));
    TRY(fdit_survey_make(j->cli->ctx, j->ds, surveyed, j, s));
    fdit_cli_progress_drop(j->cli);
    if (s->unreadable < s->n) {
        TRY(put_size(j, "smallest", &s->smallest));
        TRY(put_size(j, "median", &s->median));
        TRY(put_size(j, "largest", &s->largest));
    }
    fdit_json_put_int(j->out, NULL, "rotated", (int64_t)s->rotated);
    fdit_json_put_int(j->out, NULL, "transparent", (int64_t)s->alpha);
    fdit_json_put_int(j->out, NULL, "animated", (int64_t)s->animated);
    fdit_json_put_int(j->out, NULL, "unreadable", (int64_t)s->unreadable);
    TRY(put_duplicates(j));
    if (j->how->pictures) /* which finds these and more */
        goto out;
    for (size_t i = 0; i < s->n_unread && (i < n_shown || j->how->list); i++)
        put_problem(j, s->why[i]);
    if (s->unreadable > n_shown && !j->how->list) {
        TRY(fdit_strf(j->cli->ctx, &text, "%s: %zu more pictures cannot be read; --list names them", j->path,
                      s->unreadable - n_shown));
        put_problem(j, text);
    }
out:
    fdit_cli_progress_drop(j->cli);
    fdit_free(text);
    return status;
}

static void put_left_out(struct job *j)
{
    struct fdit_dataset_info info = fdit_dataset_info(j->ds);
    fdit_json_put_int(j->out, NULL, "other_files", (int64_t)info.ignored);
    json_t *kinds = info.ignored ? fdit_json_put_object(j->out, NULL, "other_files_by_kind") : NULL;
    for (int k = 0; k < FDIT_KIND_COUNT; k++) {
        size_t n = fdit_dataset_left_out_kind(j->ds, k);
        if (n)
            fdit_json_put_int(j->out, kinds, fdit_kind_word((enum fdit_kind)k), (int64_t)n);
    }
    json_t *names = j->how->list ? fdit_json_put_array(j->out, NULL, "other_file_names") : NULL;
    for (size_t i = 0; names && i < fdit_dataset_left_out(j->ds); i++)
        put_clean(j->out, names, NULL, fdit_dataset_left_out_name(j->ds, i));
    if (info.links)
        fdit_json_put_int(j->out, NULL, "links", (int64_t)info.links);
    if (info.special)
        fdit_json_put_int(j->out, NULL, "pipes_and_devices", (int64_t)info.special);
}

enum fdit_status fdit_inspect_data(struct fdit_cli *cli, const char *path,
                                   const struct fdit_inspect_data *how, struct fdit_json *out, bool *usable)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *tax = NULL;
    struct fdit_dataset *ds = NULL;
    struct job j = { .cli = cli, .how = how, .path = path, .out = out };
    *usable = false;
    if (how->taxonomy)
        TRY(fdit_taxonomy_load(cli->ctx, how->taxonomy, how->ranks, &tax));
    TRY(fdit_dataset_open(cli->ctx, path,
                          &(struct fdit_dataset_options){ .taxonomy = tax,
                                                          .ranks = how->ranks,
                                                          .rules = *how->rules,
                                                          .size = 8,
                                                          .channels = 3,
                                                          .survey = true,
                                                          .allow_missing = true },
                          &ds));
    j.ds = ds;
    struct fdit_dataset_info info = fdit_dataset_info(ds);
    fdit_json_put_text(out, NULL, "kind", "data set");
    fdit_json_put_text(out, NULL, "form", info.kind);
    fdit_json_put_int(out, NULL, "pictures", (int64_t)info.n);
    if (fdit_dataset_taxonomy(ds))
        TRY(put_classes(&j, fdit_dataset_taxonomy(ds)));
    fdit_json_put_int(out, NULL, "classes_without_pictures", (int64_t)info.missing);
    put_left_out(&j);
    for (size_t i = 0; i < fdit_dataset_problems(ds); i++)
        put_problem(&j, fdit_dataset_problem(ds, i));
    if (info.n && !how->quick)
        TRY(put_survey(&j));
    if (info.n && how->pictures)
        TRY(decode_all(&j));
    json_t *notes = fdit_dataset_notes(ds) ? fdit_json_put_array(out, NULL, "notes") : NULL;
    for (size_t i = 0; i < fdit_dataset_notes(ds); i++)
        put_clean(out, notes, NULL, fdit_dataset_note(ds, i));
    *usable = !j.problems;
out:
    fdit_survey_fini(&j.survey);
    fdit_dataset_close(ds);
    fdit_taxonomy_free(tax);
    return status;
}

/* ------------------------------------------------------------------ for people */

static long long number(const json_t *out, const char *key)
{
    return (long long)json_integer_value(json_object_get(out, key));
}

static void print_histogram(struct fdit_cli *cli, const json_t *list)
{
    size_t i;
    const json_t *bin;
    long long most = 1;
    json_array_foreach(list, i, bin)
    {
        long long n = number(bin, "classes");
        most = n > most ? n : most;
    }
    json_array_foreach(list, i, bin)
    {
        char range[32], bar[bar_length + 1];
        long long from = number(bin, "from"), to = number(bin, "to"), n = number(bin, "classes");
        int length = (int)(n * bar_length / most);
        memset(bar, '#', sizeof bar);
        bar[length ? length : 1] = 0;
        snprintf(range, sizeof range, from == to ? "%lld" : "%lld to %lld", from, to);
        fdit_cli_print(cli, "  %12s  %-40s %lld %s\n", range, bar, n, n == 1 ? "class" : "classes");
    }
}

static void print_sizes(struct fdit_cli *cli, const json_t *out)
{
    const json_t *smallest = json_object_get(out, "smallest"), *median = json_object_get(out, "median"),
                 *largest = json_object_get(out, "largest");
    if (smallest)
        fdit_cli_print(cli, "  %-12s %lldx%lld to %lldx%lld, median %lldx%lld\n", "sizes",
                       number(smallest, "width"), number(smallest, "height"), number(largest, "width"),
                       number(largest, "height"), number(median, "width"), number(median, "height"));
    static const char *const keys[][3] = {
        { "rotated", "rotated", "by EXIF" },
        { "transparent", "transparent", "with an alpha channel or a transparent colour" },
        { "animated", "animated", "of several frames; the first is taken" },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (number(out, keys[i][0]))
            fdit_cli_print(cli, "  %-12s %lld %s\n", keys[i][1], number(out, keys[i][0]), keys[i][2]);
    if (number(out, "duplicates"))
        fdit_cli_print(cli, "  %-12s %lld, %lld of them in another class\n", "duplicates",
                       number(out, "duplicates"), number(out, "duplicates_in_other_classes"));
}

static void print_list(struct fdit_cli *cli, const char *title, const json_t *list)
{
    size_t i;
    const json_t *v;
    if (json_array_size(list))
        fdit_cli_print(cli, "%s:\n", title);
    json_array_foreach(list, i, v)
    {
        if (json_is_array(v))
            fdit_cli_print(cli, "  %s = %s\n", json_string_value(json_array_get(v, 0)),
                           json_string_value(json_array_get(v, 1)));
        else
            fdit_cli_print(cli, "  %s\n", json_string_value(v));
    }
}

static void print_kinds(struct fdit_cli *cli, const json_t *kinds)
{
    const char *kind;
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)kinds, kind, n) /* jansson 2.11 has none for const */
        fdit_cli_print(cli, "  %12s  %lld %s\n", "left out", (long long)json_integer_value(n), kind);
}

void fdit_inspect_data_print(struct fdit_cli *cli, const json_t *out)
{
    print_kinds(cli, json_object_get(out, "other_files_by_kind"));
    print_histogram(cli, json_object_get(out, "histogram"));
    print_sizes(cli, out);
    print_list(cli, "same file twice", json_object_get(out, "duplicate_pictures"));
    print_list(cli, "left out", json_object_get(out, "other_file_names"));
    print_list(cli, "problems", json_object_get(out, "problems"));
}
