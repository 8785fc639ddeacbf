/* SPDX-License-Identifier: Apache-2.0
 * Numbers of each class. */
#include "eval/evaluate.h"

#include "core/mem.h"
#include "core/print.h"
#include "core/phase.h"
#include "eval/mmd.h"
#include "eval/scores.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const fdit_class_column_names[FDIT_CLASS_COLUMNS] = {
    [FDIT_CLASS_KID] = "kid",
    [FDIT_CLASS_MEAN_DISTANCE] = "mean-distance",
    [FDIT_CLASS_PRECISION] = "precision",
    [FDIT_CLASS_RECALL] = "recall",
    [FDIT_CLASS_DENSITY] = "density",
    [FDIT_CLASS_COVERAGE] = "coverage",
    [FDIT_CLASS_AUTHENTICITY] = "authenticity",
    [FDIT_CLASS_NEAREST] = "nearest",
    [FDIT_CLASS_TOP1] = "top-1",
    [FDIT_CLASS_TOP5] = "top-5",
    [FDIT_CLASS_LPIPS] = "lpips",
};

/* Rows of the set sorted by class: those of class c are order[first[c]] .. order[first[c + 1] - 1]. */
static enum fdit_status sort_rows(fdit_context *ctx, const struct fdit_feature_set *s, size_t classes,
                                  size_t **first, size_t **order)
{
    enum fdit_status status = FDIT_OK;
    size_t *next = NULL;
    TRY(fdit_alloc(ctx, classes + 1, sizeof **first, first));
    TRY(fdit_alloc(ctx, s->points.n, sizeof **order, order));
    TRY(fdit_alloc(ctx, classes, sizeof *next, &next));
    for (size_t i = 0; i < s->points.n; i++)
        ++(*first)[(size_t)s->label[i] + 1];
    for (size_t c = 0; c < classes; c++) {
        (*first)[c + 1] += (*first)[c];
        next[c] = (*first)[c];
    }
    for (size_t i = 0; i < s->points.n; i++)
        (*order)[next[s->label[i]]++] = i;
out:
    fdit_free(next);
    return status;
}

static enum fdit_status gather(fdit_context *ctx, const struct fdit_points *p, const size_t *rows, size_t n,
                               struct fdit_points *out)
{
    enum fdit_status status = FDIT_OK;
    float *x;
    TRY(fdit_alloc(ctx, n, p->d * sizeof(float), &x));
    for (size_t i = 0; i < n; i++)
        memcpy(x + i * p->d, p->x + rows[i] * p->d, p->d * sizeof(float));
    *out = (struct fdit_points){ n, p->d, x };
out:
    return status;
}

static enum fdit_status measure_class(fdit_context *ctx, struct fdit_eval_result *r, size_t c,
                                      const size_t *rows_x, const size_t *rows_y)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_mmd kid = fdit_mmd_kid();
    struct fdit_points x = { 0 }, y = { 0 };
    r->by_class[FDIT_CLASS_KID][c] = r->by_class[FDIT_CLASS_MEAN_DISTANCE][c] = NAN;
    if (r->n_real[c] < 2 || r->n_generated[c] < 2)
        return FDIT_OK;
    TRY(gather(ctx, &r->real.points, rows_x, r->n_real[c], &x));
    TRY(gather(ctx, &r->generated.points, rows_y, r->n_generated[c], &y));
    /* alone: sets of some pictures are not worth waking threads for */
    TRY(fdit_mmd_compute(ctx, NULL, &kid, &x, &y, NULL, NULL, 0, &r->by_class[FDIT_CLASS_KID][c]));
    TRY(fdit_mean_distance(ctx, &x, &y, &r->by_class[FDIT_CLASS_MEAN_DISTANCE][c]));
out:
    fdit_free((void *)(uintptr_t)x.x);
    fdit_free((void *)(uintptr_t)y.x);
    return status;
}

static enum fdit_status measure_classes(fdit_context *ctx, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    size_t *first_x = NULL, *first_y = NULL, *order_x = NULL, *order_y = NULL;
    fdit_phase_fn phase = ctx->phase; /* of one class it would be a flicker */
    TRY(fdit_alloc(ctx, r->classes, sizeof(double), &r->by_class[FDIT_CLASS_KID]));
    TRY(fdit_alloc(ctx, r->classes, sizeof(double), &r->by_class[FDIT_CLASS_MEAN_DISTANCE]));
    TRY(sort_rows(ctx, &r->real, r->classes, &first_x, &order_x));
    TRY(sort_rows(ctx, &r->generated, r->classes, &first_y, &order_y));
    for (size_t c = 0; c < r->classes; c++) {
        ctx->phase = NULL;
        status = measure_class(ctx, r, c, order_x + first_x[c], order_y + first_y[c]);
        ctx->phase = phase;
        TRY(status);
        fdit_phase_at(ctx, c + 1);
    }
out:
    fdit_free(first_x);
    fdit_free(first_y);
    fdit_free(order_x);
    fdit_free(order_y);
    return status;
}

enum fdit_status fdit_eval_by_class(fdit_context *ctx, struct fdit_pool *pool, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    (void)pool;
    size_t classes = (size_t)fdit_taxonomy_n_classes(r->generated.taxonomy);
    TRY(fdit_alloc(ctx, classes, sizeof *r->n_real, &r->n_real));
    TRY(fdit_alloc(ctx, classes, sizeof *r->n_generated, &r->n_generated));
    for (size_t i = 0; r->real.label && i < r->real.points.n; i++)
        r->n_real[r->real.label[i]]++;
    for (size_t i = 0; i < r->generated.points.n; i++)
        r->n_generated[r->generated.label[i]]++;
    r->classes = classes;
    if (r->real.label) {
        TRY(fdit_alloc(ctx, classes, sizeof *r->third, &r->third));
        TRY(fdit_thirds(ctx, r->n_real, classes, r->third));
    }
    if (r->real.label && r->real.points.x && r->generated.points.x) {
        fdit_phase_begin(ctx, classes, "comparing classes");
        status = measure_classes(ctx, r);
        fdit_phase_end(ctx);
    }
out:
    return status;
}

/* ------------------------------------------------------------------ the table */

static const char *const third_names[] = { "head", "middle", "tail" };

static void put_class(FILE *f, const struct fdit_eval_result *r, size_t c)
{
    const struct fdit_taxonomy *tax = r->generated.taxonomy;
    fprintf(f, "%s", fdit_taxonomy_class_name(tax, (int32_t)c));
    for (int32_t k = 0; k < fdit_taxonomy_n_ranks(tax); k++)
        fprintf(f, "\t%s", fdit_taxonomy_group_name(tax, k, fdit_taxonomy_group(tax, k, (int32_t)c)));
    fprintf(f, "\t%s\t%zu\t%zu", r->third ? third_names[r->third[c]] : "", r->n_real[c], r->n_generated[c]);
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++) {
        char text[32];
        if (!r->by_class[k])
            continue;
        if (isnan(r->by_class[k][c]))
            fputc('\t', f); /* not known: empty, as tables have it */
        else
            fprintf(f, "\t%s", fdit_format_number(r->by_class[k][c], text));
    }
    fputc('\n', f);
}

enum fdit_status fdit_eval_table(fdit_context *ctx, const struct fdit_eval_result *r, const char *path)
{
    struct fdit_print table;
    enum fdit_status status = fdit_print_begin(ctx, &table, "the table of classes");
    if (status != FDIT_OK)
        return status;
    FILE *f = table.f;
    fprintf(f, "class");
    for (int32_t k = 0; k < fdit_taxonomy_n_ranks(r->generated.taxonomy); k++)
        fprintf(f, "\t%s", fdit_taxonomy_rank_name(r->generated.taxonomy, k));
    fprintf(f, "\tthird\treal\tgenerated");
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            fprintf(f, "\t%s", fdit_class_column_names[k]);
    fputc('\n', f);
    for (size_t c = 0; c < r->classes; c++)
        put_class(f, r, c);
    return fdit_print_end(ctx, &table, FDIT_OK, path);
}
