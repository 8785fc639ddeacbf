/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/series.h"

#include "core/mem.h"
#include "core/print.h"
#include "eval/html.h"

#include <math.h>
#include <string.h>

static const struct fdit_eval_value *value_of(const struct fdit_eval_point *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->values[i].name, name))
            return &p->values[i];
    return NULL;
}

static void put_chart(FILE *f, const struct fdit_eval_point *points, size_t n, const char *name,
                      struct fdit_html_point *dots)
{
    for (size_t i = 0; i < n; i++) {
        const struct fdit_eval_value *v = value_of(&points[i], name);
        dots[i] =
            (struct fdit_html_point){ .x = (double)points[i].step, .value = NAN, .low = NAN, .high = NAN };
        if (!v)
            continue;
        dots[i].value = v->value;
        dots[i].low = isnan(v->bar.low) ? v->value - v->bar.error : v->bar.low;
        dots[i].high = isnan(v->bar.high) ? v->value + v->bar.error : v->bar.high;
    }
    fdit_html_line(f, name, "step", dots, n);
}

static void put_table(FILE *f, const struct fdit_eval_point *points, size_t n)
{
    const struct fdit_eval_point *first = &points[0];
    fputs("<h2>Numbers</h2>\n<table><tr><th>checkpoint</th><th>step</th>", f);
    for (size_t k = 0; k < first->n; k++) {
        fputs("<th>", f);
        fdit_html_text(f, first->values[k].name);
        fputs("</th>", f);
    }
    fputs("</tr>\n", f);
    for (size_t i = 0; i < n; i++) {
        fputs("<tr><td>", f);
        fdit_html_text(f, points[i].name);
        fprintf(f, "</td><td>%lld</td>", (long long)points[i].step);
        for (size_t k = 0; k < first->n; k++) {
            const struct fdit_eval_value *v = value_of(&points[i], first->values[k].name);
            fdit_html_number(f, v ? v->value : NAN);
        }
        fputs("</tr>\n", f);
    }
    fputs("</table>\n", f);
}

static enum fdit_status put_page(fdit_context *ctx, FILE *f, const struct fdit_eval_point *points, size_t n,
                                 const char *real)
{
    enum fdit_status status = FDIT_OK;
    static const char title[] = "Quality over the steps";
    struct fdit_html_point *dots = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *dots, &dots));
    fdit_html_begin(f, title);
    fprintf(f, "<h1>%s</h1>\n<p>%zu checkpoint%s", title, n, n == 1 ? "" : "s");
    if (real) {
        fputs(n == 1 ? ", beside " : ", each beside ", f);
        fdit_html_text(f, real);
    }
    fprintf(f, ". Measured by finediffusion %s.</p>\n", fdit_version());
    for (size_t k = 0; k < points[0].n; k++) {
        const struct fdit_eval_value *v = &points[0].values[k];
        int better = fdit_metric_table[v->metric].better;
        put_chart(f, points, n, v->name, dots);
        fprintf(f, "<p class=\"better\">%s</p>\n",
                better < 0   ? "Lower is better."
                : better > 0 ? "Higher is better."
                             : "");
    }
    put_table(f, points, n);
    fdit_html_end(f);
out:
    fdit_free(dots);
    return status;
}

enum fdit_status fdit_eval_series_report(fdit_context *ctx, const struct fdit_eval_point *points, size_t n,
                                         const char *real, const char *path)
{
    struct fdit_print page;
    enum fdit_status status = fdit_print_begin(ctx, &page, "the report");
    if (status != FDIT_OK)
        return status;
    return fdit_print_end(ctx, &page, put_page(ctx, page.f, points, n, real), path);
}
