/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/eval_print.h"

#include "core/mem.h"
#include "eval/groups.h"

#include <math.h>
#include <string.h>

enum {
    MOST_CONFUSED = 5,        /* pairs of a rank on the terminal */
    MOST_CONFUSED_JSON = 1000 /* in the JSON; all are in --confusion */
};
enum { MOST_GROUPS = 40 }; /* of a rank's table on the terminal; all are in the JSON */

/* ------------------------------------------------------------------ for people */

static void print_values(struct fdit_cli *cli, const struct fdit_eval_result *r)
{
    int width = 30;
    for (size_t i = 0; i < r->n_values; i++)
        if ((int)strlen(r->values[i].name) > width)
            width = (int)strlen(r->values[i].name);
    fdit_cli_print(cli, "%-*s %10s %10s  %s\n", width, "metric", "value", "+-", "95 % interval");
    for (size_t i = 0; i < r->n_values; i++) {
        const struct fdit_eval_value *v = &r->values[i];
        int better = fdit_metric_table[v->metric].better;
        char error[24] = "", interval[64] = "";
        if (!isnan(v->bar.error))
            snprintf(error, sizeof error, "%.2g", v->bar.error);
        if (!isnan(v->bar.low))
            snprintf(interval, sizeof interval, "%.4g .. %.4g", v->bar.low, v->bar.high);
        fdit_cli_print(cli, "%-*s %10.4g %10s  %-20s %s\n", width, v->name, v->value, error, interval,
                       better < 0   ? "lower is better"
                       : better > 0 ? "higher is better"
                                    : "");
        if (*v->note)
            fdit_cli_print(cli, "    %s\n", v->note);
    }
}

/* The name of a group in a column of 20, the thirds with what they are. */
static const char *row_name(const struct fdit_eval_result *r, const struct fdit_eval_groups *g, size_t i)
{
    static const char *const thirds[] = { "head (most pictures)", "middle", "tail (fewest)" };
    return g->rank < 0 ? thirds[i] : fdit_eval_group_name(r, g, i);
}

static void print_groups(struct fdit_cli *cli, const struct fdit_eval_result *r,
                         const struct fdit_eval_groups *g)
{
    fdit_cli_print(cli, "\n%-20.20s", g->title);
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fdit_cli_print(cli, " %9.9s", fdit_class_column_names[k]);
    fdit_cli_print(cli, "\n");
    for (size_t i = 0; i < g->n; i++) {
        fdit_cli_print(cli, "%-20.20s", row_name(r, g, i));
        for (int k = 0; k < FDIT_CLASS_COLUMNS; k++) {
            double v = fdit_eval_group_mean(g, (enum fdit_class_column)k, i);
            if (r->by_class[k] && isnan(v))
                fdit_cli_print(cli, " %9s", "-");
            else if (r->by_class[k])
                fdit_cli_print(cli, " %9.3g", v);
        }
        fdit_cli_print(cli, "\n");
    }
}

/* Classes by name, where they are asked for. */
static void print_classes(struct fdit_cli *cli, const struct fdit_eval_result *r)
{
    fdit_cli_print(cli, "\n%-20.20s", "class");
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fdit_cli_print(cli, " %9.9s", fdit_class_column_names[k]);
    fdit_cli_print(cli, "\n");
    for (size_t c = 0; c < r->classes; c++) {
        fdit_cli_print(cli, "%-20.20s", fdit_taxonomy_class_name(r->generated.taxonomy, (int32_t)c));
        for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
            if (r->by_class[k] && isnan(r->by_class[k][c]))
                fdit_cli_print(cli, " %9s", "-");
            else if (r->by_class[k])
                fdit_cli_print(cli, " %9.3g", r->by_class[k][c]);
        fdit_cli_print(cli, "\n");
    }
}

/* What the classifier takes for what, most often first. */
static void print_confusions(struct fdit_cli *cli, const struct fdit_eval_result *r)
{
    const struct fdit_taxonomy *tax = r->generated.taxonomy;
    for (size_t k = 0; k < r->n_confusions; k++) {
        const struct fdit_confusion *c = &r->confusions[k];
        if (!c->n_pairs)
            continue;
        fdit_cli_print(cli, "\n%zu of %zu pictures of the wrong %s, most often\n", c->all - c->right, c->all,
                       c->title);
        for (size_t i = 0; i < c->n_pairs && i < MOST_CONFUSED; i++)
            fdit_cli_print(cli, "%6zu of %-6zu %s taken for %s\n", c->pairs[i].pictures,
                           c->pictures[c->pairs[i].is], fdit_confusion_label(c, tax, c->pairs[i].is),
                           fdit_confusion_label(c, tax, c->pairs[i].said));
    }
}

static enum fdit_status print_all_groups(struct fdit_cli *cli, const char *by,
                                         const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_groups g = { 0 };
    if (!fdit_eval_has_columns(r))
        return FDIT_OK;
    for (int32_t rank = fdit_eval_first_rank(r); rank < fdit_eval_ranks(r); rank++) {
        TRY(fdit_eval_groups_make(cli->ctx, r, rank, &g));
        if (by ? fdit_eval_wants_by(by, rank < 0 ? "tail" : g.title) : g.n <= MOST_GROUPS)
            print_groups(cli, r, &g);
        fdit_eval_groups_fini(&g);
    }
    if (by && fdit_eval_wants_by(by, "class"))
        print_classes(cli, r);
out:
    return status;
}

/* Behind a number of pictures: how many were broken; "" where none was. */
static const char *left_out(const struct fdit_feature_set *s, char text[64])
{
    text[0] = '\0';
    if (s->skipped)
        snprintf(text, 64, "; %zu broken %s left out", s->skipped, s->skipped == 1 ? "one was" : "ones were");
    return text;
}

enum fdit_status fdit_cli_print_eval(struct fdit_cli *cli, const struct fdit_eval_options *o,
                                     const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *x = &r->real, *y = &r->generated;
    char skipped[64];
    if (y->points.n)
        fdit_cli_print(cli, "%s: %zu pictures, %zu features each%s\n", y->path, y->points.n, y->points.d,
                       left_out(y, skipped));
    if (x->path && x->points.n)
        fdit_cli_print(cli, "%s: %zu real pictures%s\n", x->path, x->points.n, left_out(x, skipped));
    else if (x->path)
        fdit_cli_print(cli, "%s: statistics of real pictures\n", x->path);
    if (r->n_values)
        print_values(cli, r);
    TRY(print_all_groups(cli, o->by, r));
    print_confusions(cli, r);
    if (r->n_pairs)
        fdit_cli_print(cli, "\nclosest to a real picture\n");
    for (size_t i = 0; i < r->n_pairs; i++)
        fdit_cli_print(cli, "%10.4g  %s  %s\n", r->pairs[i].distance, r->pairs[i].generated_name,
                       r->pairs[i].real_name);
    if (o->features_out)
        fdit_cli_note(cli, "features in %s", o->features_out);
    if (o->stats_out)
        fdit_cli_note(cli, "statistics in %s", o->stats_out);
    if (o->by_class)
        fdit_cli_note(cli, "a line for each class in %s", o->by_class);
    if (o->confusion)
        fdit_cli_note(cli, "what is taken for what in %s", o->confusion);
out:
    return status;
}

/* ------------------------------------------------------------------ for programs */

static void put_set(struct fdit_json *b, const char *key, const struct fdit_feature_set *s)
{
    if (!s->path)
        return;
    json_t *to = fdit_json_put_object(b, NULL, key);
    fdit_json_put_text(b, to, "path", s->path);
    fdit_json_put_text(b, to, "features", s->features);
    if (s->points.n)
        fdit_json_put_int(b, to, "pictures", (int64_t)s->points.n);
    if (s->skipped)
        fdit_json_put_int(b, to, "skipped", (int64_t)s->skipped);
    fdit_json_put_int(b, to, "width", (int64_t)s->points.d);
}

static void put_row(struct fdit_json *b, json_t *list, const char *rank, const char *group,
                    const struct fdit_eval_result *r, const double *column, size_t stride, size_t i)
{
    json_t *to = fdit_json_put_object(b, list, NULL);
    fdit_json_put_text(b, to, "rank", rank);
    fdit_json_put_text(b, to, "group", group);
    json_t *metrics = fdit_json_put_object(b, to, "metrics");
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fdit_json_put_real(b, metrics, fdit_class_column_names[k], column[(size_t)k * stride + i]);
}

/* Head, middle and tail, the groups of each rank, and the classes. */
static enum fdit_status put_by(struct fdit_cli *cli, struct fdit_json *b, const char *by,
                               const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_groups g = { 0 };
    json_t *list = fdit_json_put_array(b, NULL, "by");
    double row[FDIT_CLASS_COLUMNS];
    if (!fdit_eval_has_columns(r))
        return FDIT_OK;
    for (int32_t rank = fdit_eval_first_rank(r); rank < fdit_eval_ranks(r); rank++) {
        TRY(fdit_eval_groups_make(cli->ctx, r, rank, &g));
        for (size_t i = 0; i < g.n && fdit_eval_wants_by(by, rank < 0 ? "tail" : g.title); i++)
            put_row(b, list, rank < 0 ? "tail" : g.title, fdit_eval_group_name(r, &g, i), r, g.means, g.n, i);
        fdit_eval_groups_fini(&g);
    }
    for (size_t c = 0; c < r->classes && fdit_eval_wants_by(by, "class"); c++) {
        for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
            row[k] = r->by_class[k] ? r->by_class[k][c] : NAN;
        put_row(b, list, "class", fdit_taxonomy_class_name(r->generated.taxonomy, (int32_t)c), r, row, 1, 0);
    }
out:
    return status;
}

static void put_confusions(struct fdit_json *b, const struct fdit_eval_result *r)
{
    const struct fdit_taxonomy *tax = r->generated.taxonomy;
    json_t *list = r->n_confusions ? fdit_json_put_array(b, NULL, "confusion") : NULL;
    for (size_t k = 0; k < r->n_confusions; k++) {
        const struct fdit_confusion *c = &r->confusions[k];
        json_t *to = fdit_json_put_object(b, list, NULL);
        fdit_json_put_text(b, to, "rank", c->title);
        fdit_json_put_int(b, to, "pictures", (int64_t)c->all);
        fdit_json_put_int(b, to, "right", (int64_t)c->right);
        json_t *pairs = fdit_json_put_array(b, to, "pairs");
        for (size_t i = 0; i < c->n_pairs && i < MOST_CONFUSED_JSON; i++) {
            json_t *pair = fdit_json_put_object(b, pairs, NULL);
            fdit_json_put_text(b, pair, "is", fdit_confusion_label(c, tax, c->pairs[i].is));
            fdit_json_put_text(b, pair, "said", fdit_confusion_label(c, tax, c->pairs[i].said));
            fdit_json_put_int(b, pair, "pictures", (int64_t)c->pairs[i].pictures);
            fdit_json_put_int(b, pair, "of", (int64_t)c->pictures[c->pairs[i].is]);
        }
    }
}

static void put_memory(struct fdit_json *b, const struct fdit_eval_result *r)
{
    json_t *to = fdit_json_put_object(b, NULL, "memory");
    fdit_json_put_int(b, to, "plan_bytes", (int64_t)r->plan_bytes);
    fdit_json_put_int(b, to, "process_plan_bytes", (int64_t)r->process_plan_bytes);
    fdit_json_put_int(b, to, "peak_bytes", (int64_t)fdit_mem_highest());
}

enum fdit_status fdit_cli_eval_json(struct fdit_cli *cli, const struct fdit_eval_options *o,
                                    const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    fdit_json_begin(&b);
    put_memory(&b, r); /* what follows does not depend on batch and threads */
    put_set(&b, "generated", &r->generated);
    put_set(&b, "real", &r->real);
    json_t *metrics = fdit_json_put_object(&b, NULL, "metrics"), *list = NULL;
    for (size_t i = 0; i < r->n_values; i++) {
        const struct fdit_eval_value *v = &r->values[i];
        json_t *to = fdit_json_put_object(&b, metrics, v->name);
        fdit_json_put_text(&b, to, "name", v->name);
        fdit_json_put_text(&b, to, "metric", fdit_metric_table[v->metric].name);
        fdit_json_put_real(&b, to, "value", v->value);
        fdit_json_put_real(&b, to, "error", v->bar.error);
        fdit_json_put_real(&b, to, "low", v->bar.low);
        fdit_json_put_real(&b, to, "high", v->bar.high);
        fdit_json_put_int(&b, to, "n", (int64_t)r->generated.points.n);
        if (*v->note)
            fdit_json_put_text(&b, to, "note", v->note);
    }
    TRY(put_by(cli, &b, o->by, r));
    put_confusions(&b, r);
    if (r->n_pairs)
        list = fdit_json_put_array(&b, NULL, "closest");
    for (size_t i = 0; i < r->n_pairs; i++) {
        json_t *to = fdit_json_put_object(&b, list, NULL);
        fdit_json_put_real(&b, to, "distance", r->pairs[i].distance);
        fdit_json_put_text(&b, to, "generated", r->pairs[i].generated_name);
        fdit_json_put_text(&b, to, "real", r->pairs[i].real_name);
    }
    TRY(fdit_cli_print_json(cli, &b, JSON_COMPACT));
out:
    fdit_json_fini(&b);
    return status;
}
