/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/report.h"

#include "core/mem.h"
#include "core/print.h"
#include "eval/groups.h"
#include "eval/html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 96,           /* pixels of a picture on the page */
    SHOWN = 6,           /* classes of the best and of the worst */
    OF_A_CLASS = 5,      /* pictures of each side */
    MOST_ROWS = 60,      /* groups of a chart */
    MOST_SQUARE = 40,    /* labels of a confusion that is shown as a square */
    MOST_CONFUSED = 20,  /* pairs of one that is not */
    MOST_CLASSES = 2000, /* rows of the table of classes; all are in --by-class */
};

struct page {
    FILE *f;
    const struct fdit_eval_result *r;
    const struct fdit_picture_rules *rules;
};

/* ------------------------------------------------------------------ pictures of the sets */

static enum fdit_status put_picture(fdit_context *ctx, const struct page *p, const struct fdit_feature_set *s,
                                    size_t i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture picture = { 0 };
    char *name = NULL;
    bool found;
    TRY(fdit_feature_set_picture(ctx, s, i, p->rules, &picture, &found));
    if (!found)
        goto out;
    TRY(fdit_feature_set_name(ctx, s, i, &name));
    TRY(fdit_html_picture(ctx, p->f, &picture, SIDE, name));
out:
    fdit_picture_fini(&picture);
    fdit_free(name);
    return status;
}

/* The first pictures of a class, in a cell. */
static enum fdit_status put_class_pictures(fdit_context *ctx, const struct page *p,
                                           const struct fdit_feature_set *s, size_t c)
{
    enum fdit_status status = FDIT_OK;
    int shown = 0;
    fputs("<td class=\"words\">", p->f);
    for (size_t i = 0; s->label && i < s->points.n && shown < OF_A_CLASS; i++)
        if ((size_t)s->label[i] == c) {
            TRY(put_picture(ctx, p, s, i));
            shown++;
        }
    fputs("</td>", p->f);
out:
    return status;
}

static bool has_pictures(const struct fdit_feature_set *s)
{
    return s->dataset || s->cache || s->drawing;
}

/* ------------------------------------------------------------------ the sets and the numbers */

static void put_set(const struct page *p, const char *what, const struct fdit_feature_set *s)
{
    if (!s->path)
        return;
    fprintf(p->f, "<tr><td>%s</td><td class=\"words\">", what);
    fdit_html_text(p->f, s->path);
    fputs("</td>", p->f);
    if (s->points.n)
        fprintf(p->f, "<td>%zu</td>", s->points.n);
    else
        fputs("<td>not known</td>", p->f);
    fputs("<td class=\"words\">", p->f);
    fdit_html_text(p->f, s->features ? s->features : "not said");
    fprintf(p->f, "</td><td>%zu</td></tr>\n", s->points.d);
}

static void put_values(const struct page *p)
{
    fputs("<h2>Numbers</h2>\n<table><tr><th>metric</th><th>value</th><th>&plusmn;</th><th>95 % interval</th>"
          "<th></th><th></th></tr>\n",
          p->f);
    for (size_t i = 0; i < p->r->n_values; i++) {
        const struct fdit_eval_value *v = &p->r->values[i];
        const struct fdit_metric_info *info = &fdit_metric_table[v->metric];
        fputs("<tr><td title=\"", p->f);
        fdit_html_text(p->f, info->what);
        fputs("\">", p->f);
        fdit_html_text(p->f, v->name);
        fprintf(p->f, "</td><td>%.4g</td>", v->value);
        if (isnan(v->bar.error))
            fputs("<td></td>", p->f);
        else
            fprintf(p->f, "<td>%.2g</td>", v->bar.error);
        if (isnan(v->bar.low))
            fputs("<td></td>", p->f);
        else
            fprintf(p->f, "<td>%.4g .. %.4g</td>", v->bar.low, v->bar.high);
        fprintf(p->f, "<td class=\"words better\">%s</td><td class=\"note\">",
                info->better < 0   ? "lower is better"
                : info->better > 0 ? "higher is better"
                                   : "");
        fdit_html_text(p->f, v->note);
        fputs("</td></tr>\n", p->f);
    }
    fputs("</table>\n", p->f);
}

/* Those that are shares, on one scale. */
static void put_shares(const struct page *p)
{
    struct fdit_html_point points[FDIT_EVAL_VALUES];
    size_t n = 0;
    for (size_t i = 0; i < p->r->n_values; i++) {
        const struct fdit_eval_value *v = &p->r->values[i];
        if (v->metric == FDIT_METRIC_PRECISION || v->metric == FDIT_METRIC_RECALL ||
            v->metric == FDIT_METRIC_COVERAGE || v->metric == FDIT_METRIC_AUTHENTICITY ||
            v->metric == FDIT_METRIC_ACCURACY)
            points[n++] = (struct fdit_html_point){
                .label = v->name, .value = v->value, .low = v->bar.low, .high = v->bar.high
            };
    }
    if (n)
        fdit_html_dots(p->f, "Shares of pictures", points, n, 0, 1);
}

/* ------------------------------------------------------------------ groups and classes */

static void put_columns(const struct page *p)
{
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (p->r->by_class[k])
            fprintf(p->f, "<th>%s</th>", fdit_class_column_names[k]);
}

/* Of the columns that there are, the one that says most of a class. */
static enum fdit_class_column main_column(const struct fdit_eval_result *r)
{
    static const enum fdit_class_column order[] = { FDIT_CLASS_KID, FDIT_CLASS_TOP1, FDIT_CLASS_PRECISION,
                                                    FDIT_CLASS_NEAREST };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (r->by_class[order[i]])
            return order[i];
    return FDIT_CLASS_COLUMNS;
}

static enum fdit_status put_group_chart(fdit_context *ctx, const struct page *p,
                                        const struct fdit_eval_groups *g)
{
    enum fdit_status status = FDIT_OK;
    enum fdit_class_column column = main_column(p->r);
    struct fdit_html_point *points = NULL;
    char title[160];
    if (column == FDIT_CLASS_COLUMNS || g->n > MOST_ROWS || g->n < 2)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, g->n, sizeof *points, &points));
    for (size_t i = 0; i < g->n; i++)
        points[i] = (struct fdit_html_point){ .label = fdit_eval_group_name(p->r, g, i),
                                              .value = fdit_eval_group_mean(g, column, i),
                                              .low = NAN,
                                              .high = NAN };
    snprintf(title, sizeof title, "%s by %.80s", fdit_class_column_names[column], g->title);
    fdit_html_dots(p->f, title, points, g->n, 0, 0);
out:
    fdit_free(points);
    return status;
}

static enum fdit_status put_groups(fdit_context *ctx, const struct page *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_result *r = p->r;
    struct fdit_eval_groups g = { 0 };
    for (int32_t rank = fdit_eval_first_rank(r); rank < fdit_eval_ranks(r); rank++) {
        TRY(fdit_eval_groups_make(ctx, r, rank, &g));
        fputs("<h2>By ", p->f);
        fdit_html_text(p->f, rank < 0 ? "head, middle and tail" : g.title);
        fputs("</h2>\n<p class=\"better\">Plain means over the classes of a group.</p>\n", p->f);
        TRY(put_group_chart(ctx, p, &g));
        fputs("<table><tr><th>group</th><th>classes</th>", p->f);
        put_columns(p);
        fputs("</tr>\n", p->f);
        for (size_t i = 0; i < g.n; i++) {
            fputs("<tr><td>", p->f);
            fdit_html_text(p->f, fdit_eval_group_name(r, &g, i));
            fprintf(p->f, "</td><td>%zu</td>", g.classes[i]);
            for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
                if (r->by_class[k])
                    fdit_html_number(p->f, fdit_eval_group_mean(&g, (enum fdit_class_column)k, i));
            fputs("</tr>\n", p->f);
        }
        fputs("</table>\n", p->f);
        fdit_eval_groups_fini(&g);
    }
out:
    fdit_eval_groups_fini(&g);
    return status;
}

static void put_class_row(const struct page *p, size_t c)
{
    const struct fdit_eval_result *r = p->r;
    fputs("<tr><td>", p->f);
    fdit_html_text(p->f, fdit_taxonomy_class_name(r->generated.taxonomy, (int32_t)c));
    fprintf(p->f, "</td><td>%zu</td><td>%zu</td>", r->n_real[c], r->n_generated[c]);
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fdit_html_number(p->f, r->by_class[k][c]);
    fputs("</tr>\n", p->f);
}

static void put_classes(const struct page *p)
{
    const struct fdit_eval_result *r = p->r;
    size_t shown = r->classes < MOST_CLASSES ? r->classes : MOST_CLASSES;
    fprintf(p->f, "<details><summary>%s%zu classes</summary>\n", shown < r->classes ? "The first " : "All ",
            shown);
    fputs("<table><tr><th>class</th><th>real</th><th>generated</th>", p->f);
    put_columns(p);
    fputs("</tr>\n", p->f);
    for (size_t c = 0; c < shown; c++)
        put_class_row(p, c);
    fputs("</table></details>\n", p->f);
}

/* ------------------------------------------------------------------ best and worst */

struct ranked {
    size_t c;
    double value; /* the smaller the better */
};

static int by_value(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return (a->c > b->c) - (a->c < b->c);
}

static enum fdit_status put_examples(fdit_context *ctx, const struct page *p, const char *title,
                                     const struct ranked *list, size_t n, enum fdit_class_column column)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_result *r = p->r;
    fprintf(p->f, "<h2>%s classes by %s</h2>\n<table><tr><th>class</th><th>%s</th>", title,
            fdit_class_column_names[column], fdit_class_column_names[column]);
    fputs("<th>generated</th><th>real</th></tr>\n", p->f);
    for (size_t i = 0; i < n; i++) {
        fputs("<tr><td>", p->f);
        fdit_html_text(p->f, fdit_taxonomy_class_name(r->generated.taxonomy, (int32_t)list[i].c));
        fputs("</td>", p->f);
        fdit_html_number(p->f, r->by_class[column][list[i].c]);
        TRY(put_class_pictures(ctx, p, &r->generated, list[i].c));
        TRY(put_class_pictures(ctx, p, &r->real, list[i].c));
        fputs("</tr>\n", p->f);
    }
    fputs("</table>\n", p->f);
out:
    return status;
}

static enum fdit_status put_best_and_worst(fdit_context *ctx, const struct page *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_result *r = p->r;
    enum fdit_class_column column = main_column(r);
    struct ranked *list = NULL;
    size_t n = 0, most;
    if (column == FDIT_CLASS_COLUMNS || !has_pictures(&r->generated))
        return FDIT_OK;
    bool lower = column == FDIT_CLASS_KID || column == FDIT_CLASS_NEAREST;
    TRY(fdit_alloc(ctx, r->classes, sizeof *list, &list));
    for (size_t c = 0; c < r->classes; c++)
        if (!isnan(r->by_class[column][c]) && r->n_generated[c])
            list[n++] = (struct ranked){ c, lower ? r->by_class[column][c] : -r->by_class[column][c] };
    qsort(list, n, sizeof *list, by_value);
    most = n / 2 < SHOWN ? (n + 1) / 2 : SHOWN;
    if (n) {
        TRY(put_examples(ctx, p, "Best", list, most, column));
        most = n - most < SHOWN ? n - most : SHOWN;
        for (size_t i = 0; i < most / 2; i++) { /* the worst first */
            struct ranked other = list[n - 1 - i];
            list[n - 1 - i] = list[n - most + i];
            list[n - most + i] = other;
        }
        TRY(put_examples(ctx, p, "Worst", list + n - most, most, column));
    }
out:
    fdit_free(list);
    return status;
}

/* ------------------------------------------------------------------ what is taken for what */

/* A row for what pictures are, a column for what the classifier says; darker cells have more of the row. */
static enum fdit_status put_square(fdit_context *ctx, const struct page *p, const struct fdit_confusion *c)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = p->r->generated.taxonomy;
    size_t *count = NULL, k = c->labels;
    TRY(fdit_alloc(ctx, k, k * sizeof *count, &count));
    for (size_t l = 0; l < k; l++)
        count[l * k + l] = c->pictures[l];
    for (size_t i = 0; i < c->n_pairs; i++) {
        const struct fdit_confused *pair = &c->pairs[i];
        count[(size_t)pair->is * k + (size_t)pair->said] = pair->pictures;
        count[(size_t)pair->is * k + (size_t)pair->is] -= pair->pictures;
    }
    fputs("<table><tr><th>is \\ taken for</th>", p->f);
    for (size_t l = 0; l < k; l++) {
        fputs("<th>", p->f);
        fdit_html_text(p->f, fdit_confusion_label(c, tax, (int32_t)l));
        fputs("</th>", p->f);
    }
    fputs("</tr>\n", p->f);
    for (size_t l = 0; l < k; l++) {
        fputs("<tr><td>", p->f);
        fdit_html_text(p->f, fdit_confusion_label(c, tax, (int32_t)l));
        fputs("</td>", p->f);
        for (size_t m = 0; m < k; m++) {
            double share = c->pictures[l] ? (double)count[l * k + m] / (double)c->pictures[l] : 0;
            if (count[l * k + m])
                fprintf(p->f, "<td style=\"background:rgba(%s,%.2f)\">%zu</td>",
                        l == m ? "60,140,70" : "200,60,40", 0.1 + 0.6 * share, count[l * k + m]);
            else
                fputs("<td></td>", p->f);
        }
        fputs("</tr>\n", p->f);
    }
    fputs("</table>\n", p->f);
out:
    fdit_free(count);
    return status;
}

static void put_confused(const struct page *p, const struct fdit_confusion *c)
{
    const struct fdit_taxonomy *tax = p->r->generated.taxonomy;
    fputs("<table><tr><th>is</th><th>taken for</th><th>pictures</th><th>of</th></tr>\n", p->f);
    for (size_t i = 0; i < c->n_pairs && i < MOST_CONFUSED; i++) {
        fputs("<tr><td>", p->f);
        fdit_html_text(p->f, fdit_confusion_label(c, tax, c->pairs[i].is));
        fputs("</td><td>", p->f);
        fdit_html_text(p->f, fdit_confusion_label(c, tax, c->pairs[i].said));
        fprintf(p->f, "</td><td>%zu</td><td>%zu</td></tr>\n", c->pairs[i].pictures,
                c->pictures[c->pairs[i].is]);
    }
    fputs("</table>\n", p->f);
}

static enum fdit_status put_confusions(fdit_context *ctx, const struct page *p)
{
    enum fdit_status status = FDIT_OK;
    for (size_t k = 0; k < p->r->n_confusions; k++) {
        const struct fdit_confusion *c = &p->r->confusions[k];
        fputs("<h2>What the classifier takes for what, by ", p->f);
        fdit_html_text(p->f, c->title);
        fprintf(p->f, "</h2>\n<p class=\"better\">%zu of %zu pictures right.</p>\n", c->right, c->all);
        if (c->labels <= MOST_SQUARE)
            TRY(put_square(ctx, p, c));
        else if (c->n_pairs)
            put_confused(p, c);
    }
out:
    return status;
}

static enum fdit_status put_pairs(fdit_context *ctx, const struct page *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_result *r = p->r;
    if (!r->n_pairs)
        return FDIT_OK;
    fputs("<h2>Closest to a real picture</h2>\n<p>At distance 0 a picture is a "
          "copy.</p>\n<table><tr><th>distance"
          "</th><th>generated</th><th>real</th></tr>\n",
          p->f);
    for (size_t i = 0; i < r->n_pairs; i++) {
        const struct fdit_eval_pair *pair = &r->pairs[i];
        fprintf(p->f, "<tr><td>%.4g</td><td class=\"words\">", pair->distance);
        TRY(put_picture(ctx, p, &r->generated, pair->generated));
        fputs(" ", p->f);
        fdit_html_text(p->f, pair->generated_name);
        fputs("</td><td class=\"words\">", p->f);
        TRY(put_picture(ctx, p, &r->real, pair->real));
        fputs(" ", p->f);
        fdit_html_text(p->f, pair->real_name);
        fputs("</td></tr>\n", p->f);
    }
    fputs("</table>\n", p->f);
out:
    return status;
}

/* ------------------------------------------------------------------ the page */

static enum fdit_status put_page(fdit_context *ctx, const struct page *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_result *r = p->r;
    char title[300];
    snprintf(title, sizeof title, "How good are the pictures of %.200s?", r->generated.path);
    fdit_html_begin(p->f, title);
    fputs("<h1>", p->f);
    fdit_html_text(p->f, title);
    fputs("</h1>\n<table><tr><th></th><th class=\"words\">pictures</th><th>number</th>"
          "<th class=\"words\">features by</th><th>width</th></tr>\n",
          p->f);
    put_set(p, "generated", &r->generated);
    put_set(p, "real", &r->real);
    fprintf(p->f,
            "</table>\n<p class=\"better\">Measured by finediffusion %s. Numbers compare only where "
            "features, numbers of pictures and real pictures are the same.</p>\n",
            fdit_version());
    put_values(p);
    put_shares(p);
    if (fdit_eval_has_columns(r)) {
        TRY(put_groups(ctx, p));
        TRY(put_best_and_worst(ctx, p));
        put_classes(p);
    }
    TRY(put_confusions(ctx, p));
    TRY(put_pairs(ctx, p));
    fdit_html_end(p->f);
out:
    return status;
}

enum fdit_status fdit_eval_report(fdit_context *ctx, const struct fdit_eval_result *r,
                                  const struct fdit_picture_rules *rules, const char *path)
{
    struct fdit_print page;
    enum fdit_status status = fdit_print_begin(ctx, &page, "the report");
    if (status != FDIT_OK)
        return status;
    return fdit_print_end(ctx, &page, put_page(ctx, &(struct page){ page.f, r, rules }), path);
}
