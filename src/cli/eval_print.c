/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/eval_print.h"

#include "core/mem.h"
#include "eval/scores.h"

#include <math.h>
#include <string.h>

enum { MOST_GROUPS = 40 }; /* of a rank's table on the terminal; all are in the JSON */

/* ------------------------------------------------------------------ groups of classes */

struct groups {
    const char *title; /* of the rank; "pictures" for head, middle, tail */
    size_t n;
    const int32_t *of; /* [classes] */
};

static const char *group_name(const struct fdit_eval_result *r, int32_t rank, size_t g)
{
    static const char *const thirds[] = { "head (most pictures)", "middle", "tail (fewest)" };
    return rank < 0 ? thirds[g] : fdit_taxonomy_group_name(r->generated.taxonomy, rank, (int32_t)g);
}

/* out [columns that are there][groups] */
static enum fdit_status group_means(fdit_context *ctx, const struct fdit_eval_result *r,
                                    const struct groups *g, double **out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, FDIT_CLASS_COLUMNS, g->n * sizeof(double), out));
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            TRY(fdit_mean_by_group(ctx, r->by_class[k], g->of, r->classes, g->n, *out + (size_t)k * g->n));
out:
    return status;
}

/* The groups of a rank, or (rank -1) the thirds; *of from fdit_alloc. */
static enum fdit_status groups_of(fdit_context *ctx, const struct fdit_eval_result *r, int32_t rank,
                                  int32_t **of, struct groups *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = r->generated.taxonomy;
    TRY(fdit_alloc(ctx, r->classes, sizeof **of, of));
    for (size_t c = 0; c < r->classes; c++)
        (*of)[c] = rank < 0 ? r->third[c] : fdit_taxonomy_group(tax, rank, (int32_t)c);
    *out = (struct groups){ rank < 0 ? "classes by their pictures" : fdit_taxonomy_rank_name(tax, rank),
                            rank < 0 ? 3 : (size_t)fdit_taxonomy_n_groups(tax, rank), *of };
out:
    return status;
}

/* Calls fn with the thirds, where there are any, and each rank. */
typedef void (*each_fn)(void *user, const struct fdit_eval_result *r, int32_t rank, const struct groups *g,
                        const double *means);
static enum fdit_status each_grouping(fdit_context *ctx, const struct fdit_eval_result *r, each_fn fn,
                                      void *user)
{
    enum fdit_status status = FDIT_OK;
    int32_t *of = NULL;
    double *means = NULL;
    if (!r->classes)
        return FDIT_OK;
    for (int32_t rank = r->third ? -1 : 0; rank < fdit_taxonomy_n_ranks(r->generated.taxonomy); rank++) {
        struct groups g;
        TRY(groups_of(ctx, r, rank, &of, &g));
        TRY(group_means(ctx, r, &g, &means));
        fn(user, r, rank, &g, means);
        fdit_free(of);
        fdit_free(means);
        of = NULL;
        means = NULL;
    }
out:
    fdit_free(of);
    fdit_free(means);
    return status;
}

/* ------------------------------------------------------------------ for people */

static void print_values(struct fdit_cli *cli, const struct fdit_eval_result *r)
{
    fdit_cli_print(cli, "%-30s %10s %10s  %s\n", "metric", "value", "+-", "95 % interval");
    for (size_t i = 0; i < r->n_values; i++) {
        const struct fdit_eval_value *v = &r->values[i];
        int better = fdit_metric_table[v->metric].better;
        char error[24] = "", interval[64] = "";
        if (!isnan(v->bar.error))
            snprintf(error, sizeof error, "%.2g", v->bar.error);
        if (!isnan(v->bar.low))
            snprintf(interval, sizeof interval, "%.4g .. %.4g", v->bar.low, v->bar.high);
        fdit_cli_print(cli, "%-30s %10.4g %10s  %-20s %s\n", v->name, v->value, error, interval,
                       better < 0   ? "lower is better"
                       : better > 0 ? "higher is better"
                                    : "");
        if (*v->note)
            fdit_cli_print(cli, "    %s\n", v->note);
    }
}

static void print_groups(void *user, const struct fdit_eval_result *r, int32_t rank, const struct groups *g,
                         const double *means)
{
    struct fdit_cli *cli = user;
    bool any = false;
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        any = any || r->by_class[k];
    if (!any || g->n > MOST_GROUPS)
        return;
    fdit_cli_print(cli, "\n%-20.20s", g->title);
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fdit_cli_print(cli, " %9.9s", fdit_class_column_names[k]);
    fdit_cli_print(cli, "\n");
    for (size_t i = 0; i < g->n; i++) {
        fdit_cli_print(cli, "%-20.20s", group_name(r, rank, i));
        for (int k = 0; k < FDIT_CLASS_COLUMNS; k++) {
            double v = means[(size_t)k * g->n + i];
            if (r->by_class[k] && isnan(v))
                fdit_cli_print(cli, " %9s", "-");
            else if (r->by_class[k])
                fdit_cli_print(cli, " %9.3g", v);
        }
        fdit_cli_print(cli, "\n");
    }
}

enum fdit_status fdit_cli_print_eval(struct fdit_cli *cli, const struct fdit_eval_options *o,
                                     const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *x = &r->real, *y = &r->generated;
    if (y->points.n)
        fdit_cli_print(cli, "%s: %zu pictures, %zu features each\n", y->path, y->points.n, y->points.d);
    if (x->path && x->points.n)
        fdit_cli_print(cli, "%s: %zu real pictures\n", x->path, x->points.n);
    else if (x->path)
        fdit_cli_print(cli, "%s: statistics of real pictures\n", x->path);
    if (r->n_values)
        print_values(cli, r);
    TRY(each_grouping(cli->ctx, r, print_groups, cli));
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
    fdit_json_put_int(b, to, "width", (int64_t)s->points.d);
}

static void put_groups(void *user, const struct fdit_eval_result *r, int32_t rank, const struct groups *g,
                       const double *means)
{
    struct fdit_json *b = user;
    json_t *ranks = json_object_get(b->root, "groups"), *list;
    if (!ranks)
        ranks = fdit_json_put_object(b, NULL, "groups");
    list = fdit_json_put_array(b, ranks, rank < 0 ? "pictures" : g->title);
    for (size_t i = 0; i < g->n; i++) {
        static const char *const thirds[] = { "head", "middle", "tail" };
        json_t *to = fdit_json_put_object(b, list, NULL);
        fdit_json_put_text(b, to, "name", rank < 0 ? thirds[i] : group_name(r, rank, i));
        for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
            if (r->by_class[k])
                fdit_json_put_real(b, to, fdit_class_column_names[k], means[(size_t)k * g->n + i]);
    }
}

enum fdit_status fdit_cli_eval_json(struct fdit_cli *cli, const struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    fdit_json_begin(&b);
    put_set(&b, "generated", &r->generated);
    put_set(&b, "real", &r->real);
    json_t *list = fdit_json_put_array(&b, NULL, "metrics");
    for (size_t i = 0; i < r->n_values; i++) {
        const struct fdit_eval_value *v = &r->values[i];
        json_t *to = fdit_json_put_object(&b, list, NULL);
        fdit_json_put_text(&b, to, "name", v->name);
        fdit_json_put_text(&b, to, "metric", fdit_metric_table[v->metric].name);
        fdit_json_put_real(&b, to, "value", v->value);
        fdit_json_put_real(&b, to, "error", v->bar.error);
        fdit_json_put_real(&b, to, "low", v->bar.low);
        fdit_json_put_real(&b, to, "high", v->bar.high);
        if (*v->note)
            fdit_json_put_text(&b, to, "note", v->note);
    }
    TRY(each_grouping(cli->ctx, r, put_groups, &b));
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
