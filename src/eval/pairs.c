/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/pairs.h"

#include "core/mem.h"
#include "core/phase.h"

#include <math.h>

enum {
    COLUMNS = FDIT_PAIR_COLUMNS,
    ROWS = FDIT_PAIR_ROWS,
    SLAB = 64 /* blocks of rows between two looks at whether to stop */
};

enum fdit_status fdit_points_check_finite(fdit_context *ctx, const char *name, const struct fdit_points *p)
{
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->d; k++)
            if (!isfinite(p->x[i * p->d + k]))
                return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                                 "%s: feature %zu of picture %zu is not a "
                                 "finite number; make the features again",
                                 name, k, i);
    return FDIT_OK;
}

enum fdit_status fdit_points_check_pair(fdit_context *ctx, const char *what, const struct fdit_points *x,
                                        const struct fdit_points *y, size_t least)
{
    if (x->d != y->d)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: one set has %zu features a picture and the other %zu; take the same feature "
                         "network for both",
                         what, x->d, y->d);
    if (x->n < least || y->n < least)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: %zu real and %zu generated pictures are too few; it needs %zu of each", what,
                         x->n, y->n, least);
    return FDIT_OK;
}

void fdit_eval_share(struct fdit_pool *pool, size_t n, fdit_pool_fn fn, void *job)
{
    if (pool)
        fdit_pool_run(pool, n, 1, fn, job);
    else if (n)
        fn(job, 0, n, 0);
}

struct pass {
    const struct fdit_points *x, *y;
    enum fdit_pair_value kind;
    fdit_pair_fn fn;
    void *job;
    double *panels; /* [members][d, COLUMNS] */
    size_t first;   /* block of rows */
};

/* Columns j .. j + n - 1 of y, the index of the vector fastest; zeroes behind them. */
static void fill_panel(const struct fdit_points *y, size_t j, size_t n, double *panel)
{
    for (size_t c = 0; c < COLUMNS; c++)
        for (size_t k = 0; k < y->d; k++)
            panel[k * COLUMNS + c] = c < n ? (double)y->x[(j + c) * y->d + k] : 0;
}

static void products(const float *x, const double *panel, size_t d, double *out)
{
    double sum[COLUMNS] = { 0 };
    for (size_t k = 0; k < d; k++, panel += COLUMNS)
        for (size_t c = 0; c < COLUMNS; c++)
            sum[c] += (double)x[k] * panel[c];
    for (size_t c = 0; c < COLUMNS; c++)
        out[c] = sum[c];
}

static void distances(const float *x, const double *panel, size_t d, double *out)
{
    double sum[COLUMNS] = { 0 };
    for (size_t k = 0; k < d; k++, panel += COLUMNS)
        for (size_t c = 0; c < COLUMNS; c++) {
            double difference = (double)x[k] - panel[c];
            sum[c] += difference * difference;
        }
    for (size_t c = 0; c < COLUMNS; c++)
        out[c] = sum[c];
}

static void do_blocks(void *user, size_t begin, size_t end, int member)
{
    struct pass *p = user;
    size_t d = p->x->d;
    double *panel = p->panels + (size_t)member * d * COLUMNS, value[COLUMNS];
    for (size_t block = p->first + begin; block < p->first + end; block++)
        for (size_t j = 0; j < p->y->n; j += COLUMNS) {
            size_t n = p->y->n - j < COLUMNS ? p->y->n - j : COLUMNS;
            fill_panel(p->y, j, n, panel);
            for (size_t i = block * ROWS; i < (block + 1) * ROWS && i < p->x->n; i++) {
                (p->kind == FDIT_PAIR_PRODUCT ? products : distances)(p->x->x + i * d, panel, d, value);
                p->fn(p->job, i, j, n, value);
            }
        }
}

static enum fdit_status run_slabs(fdit_context *ctx, struct fdit_pool *pool, struct pass *p)
{
    size_t blocks = (p->x->n + ROWS - 1) / ROWS;
    for (; p->first < blocks; p->first += SLAB) {
        size_t n = blocks - p->first < SLAB ? blocks - p->first : SLAB;
        if (fdit_stopped(ctx))
            return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped");
        fdit_eval_share(pool, n, do_blocks, p);
        fdit_phase_at(ctx, (p->first + n) * ROWS < p->x->n ? (p->first + n) * ROWS : p->x->n);
    }
    return FDIT_OK;
}

enum fdit_status fdit_pairs_run(fdit_context *ctx, struct fdit_pool *pool, const char *name,
                                const struct fdit_points *x, const struct fdit_points *y,
                                enum fdit_pair_value kind, fdit_pair_fn fn, void *job)
{
    enum fdit_status status = FDIT_OK;
    struct pass p = { .x = x, .y = y, .kind = kind, .fn = fn, .job = job };
    size_t members = pool ? (size_t)fdit_pool_members(pool) : 1;
    TRY(fdit_alloc(ctx, members * x->d, COLUMNS * sizeof(double), &p.panels));
    fdit_phase_begin(ctx, x->n, "%s", name);
    status = run_slabs(ctx, pool, &p);
    fdit_phase_end(ctx);
out:
    fdit_free(p.panels);
    return status;
}
