/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/neighbours.h"

#include "core/mem.h"

#include <math.h>

/* The k smallest squared distances of each vector to the others of its set, rising. */
struct radii {
    double *least; /* [n, k] */
    size_t k;
};

static void keep_least(void *job, size_t i, size_t j, size_t n, const double *value)
{
    const struct radii *r = job;
    double *least = r->least + i * r->k;
    for (size_t c = 0; c < n; c++) {
        if (i == j + c || !(value[c] < least[r->k - 1]))
            continue;
        size_t at = r->k - 1;
        for (; at && least[at - 1] > value[c]; at--)
            least[at] = least[at - 1];
        least[at] = value[c];
    }
}

static enum fdit_status find_radii(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *p,
                                   size_t k, struct radii *out)
{
    enum fdit_status status = FDIT_OK;
    out->k = k;
    TRY(fdit_alloc(ctx, p->n, k * sizeof(double), &out->least));
    for (size_t i = 0; i < p->n * k; i++)
        out->least[i] = INFINITY;
    TRY(fdit_pairs_run(ctx, pool, "finding neighbours", p, p, FDIT_PAIR_DISTANCE, keep_least, out));
out:
    return status;
}

struct search {
    struct fdit_neighbours *out;
    const struct radii *real, *generated;
    bool strict;
};

static bool within(const struct search *s, double squared, double radius)
{
    return s->strict ? squared < radius : squared <= radius;
}

/* i is a generated picture, j real ones. */
static void look_around_generated(void *job, size_t i, size_t j, size_t n, const double *value)
{
    const struct search *s = job;
    size_t k = s->real->k;
    for (size_t c = 0; c < n; c++) {
        bool inside = within(s, value[c], s->real->least[(j + c) * k + k - 1]);
        s->out->density[i] += inside; /* counted first */
        if (value[c] < s->out->distance[i]) {
            s->out->distance[i] = value[c];
            s->out->nearest[i] = j + c;
        }
    }
}

/* i is a real picture, j generated ones. */
static void look_around_real(void *job, size_t i, size_t j, size_t n, const double *value)
{
    const struct search *s = job;
    size_t k = s->real->k;
    for (size_t c = 0; c < n; c++) {
        if (within(s, value[c], s->generated->least[(j + c) * k + k - 1]))
            s->out->recall[i] = 1;
        if (within(s, value[c], s->real->least[i * k + k - 1]))
            s->out->coverage[i] = 1;
    }
}

static enum fdit_status allocate(fdit_context *ctx, size_t n, size_t m, struct fdit_neighbours *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_neighbours){ .n = n, .m = m };
    TRY(fdit_alloc(ctx, m, sizeof(double), &out->precision));
    TRY(fdit_alloc(ctx, n, sizeof(double), &out->recall));
    TRY(fdit_alloc(ctx, m, sizeof(double), &out->density));
    TRY(fdit_alloc(ctx, n, sizeof(double), &out->coverage));
    TRY(fdit_alloc(ctx, m, sizeof(double), &out->authentic));
    TRY(fdit_alloc(ctx, m, sizeof(size_t), &out->nearest));
    TRY(fdit_alloc(ctx, m, sizeof(double), &out->distance));
    TRY(fdit_alloc(ctx, n, sizeof(double), &out->own));
    for (size_t i = 0; i < m; i++)
        out->distance[i] = INFINITY;
out:
    return status;
}

enum fdit_status fdit_neighbours_find(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                      const struct fdit_points *y, int k, bool strict,
                                      struct fdit_neighbours *out)
{
    enum fdit_status status = FDIT_OK;
    struct radii real = { 0 }, generated = { 0 };
    struct search s = { out, &real, &generated, strict };
    TRY(allocate(ctx, x->n, y->n, out));
    TRY(fdit_points_check_pair(ctx, "nearest neighbours", x, y, (size_t)k + 1));
    TRY(find_radii(ctx, pool, x, (size_t)k, &real));
    TRY(find_radii(ctx, pool, y, (size_t)k, &generated));
    TRY(fdit_pairs_run(ctx, pool, "finding neighbours", y, x, FDIT_PAIR_DISTANCE, look_around_generated, &s));
    TRY(fdit_pairs_run(ctx, pool, "finding neighbours", x, y, FDIT_PAIR_DISTANCE, look_around_real, &s));
    for (size_t i = 0; i < y->n; i++) {
        out->precision[i] = out->density[i] > 0;
        out->density[i] /= k;
        out->authentic[i] = out->distance[i] > real.least[out->nearest[i] * real.k];
        out->distance[i] = sqrt(out->distance[i]);
    }
    for (size_t i = 0; i < x->n; i++)
        out->own[i] = sqrt(real.least[i * real.k]);
out:
    fdit_free(real.least);
    fdit_free(generated.least);
    if (status != FDIT_OK)
        fdit_neighbours_fini(out);
    return status;
}

void fdit_neighbours_fini(struct fdit_neighbours *n)
{
    fdit_free(n->precision);
    fdit_free(n->recall);
    fdit_free(n->density);
    fdit_free(n->coverage);
    fdit_free(n->authentic);
    fdit_free(n->nearest);
    fdit_free(n->distance);
    fdit_free(n->own);
    *n = (struct fdit_neighbours){ 0 };
}
