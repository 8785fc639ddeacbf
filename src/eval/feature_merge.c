/* SPDX-License-Identifier: Apache-2.0
 * Parts of a feature set into the whole. */
#include "eval/feature_set.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static int by_part(const void *pa, const void *pb)
{
    const struct fdit_feature_set *const *a = pa, *const *b = pb;
    return ((*a)->part > (*b)->part) - ((*a)->part < (*b)->part);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : !a && !b;
}

static enum fdit_status check_pair(fdit_context *ctx, const struct fdit_feature_set *a,
                                   const struct fdit_feature_set *b)
{
    enum fdit_status status = FDIT_OK;
    if (!a->points.x != !b->points.x)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s has features and %s statistics alone; give parts of one kind, all of --features-out or all "
             "of --stats-out",
             a->points.x ? a->path : b->path, a->points.x ? b->path : a->path);
    if (a->points.d != b->points.d)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s has %zu features a picture and %s has %zu; take the same network",
             a->path, a->points.d, b->path, b->points.d);
    if (!same_text(a->features, b->features) && a->features && b->features)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s has features of %s and %s of %s; take the same network", a->path,
             a->features, b->path, b->features);
    TRY(fdit_feature_sets_check_weights(ctx, a, b));
    if (!a->label != !b->label || !a->logits != !b->logits || a->logit_classes != b->logit_classes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s and %s do not both have classes and logits; make them the same way", a->path, b->path);
    if (a->label && !fdit_taxonomy_equal(a->taxonomy, b->taxonomy))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s and %s have other classes; make all parts with the same --taxonomy, as .safetensors (a .npz "
             "numbers its classes and keeps no names)",
             a->path, b->path);
    if (a->spatial.d != b->spatial.d)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s and %s do not both have the same mu_s and sigma_s; make them the same way", a->path,
             b->path);
    if (!a->points.x && (!a->moments.n || !b->moments.n))
        FAIL(
            ctx, FDIT_ERROR_ARGUMENT,
            "%s does not say of how many pictures it is, so it cannot be merged; give what --stats-out wrote",
            a->moments.n ? b->path : a->path);
out:
    return status;
}

/* Each part of one whole, once; all or none say which they are. */
static enum fdit_status check_parts(fdit_context *ctx, struct fdit_feature_set *const *list, size_t n)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < n; i++) {
        const struct fdit_feature_set *s = list[i];
        if (s->parts != list[0]->parts)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s is one of %d parts and %s one of %d; give parts of one whole",
                 s->path, s->parts ? s->parts : 1, list[0]->path, list[0]->parts ? list[0]->parts : 1);
        if (s->parts && i && s->part == list[i - 1]->part)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s and %s are both part %d/%d; give each once", list[i - 1]->path,
                 s->path, s->part, s->parts);
        if (s->parts && (size_t)s->part != i)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "part %zu/%d is missing; give all parts", i, s->parts);
    }
    if (list[0]->parts && (size_t)list[0]->parts != n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "part %zu/%d is missing; give all parts", n, list[0]->parts);
out:
    return status;
}

static enum fdit_status join(fdit_context *ctx, struct fdit_feature_set *const *list, size_t n,
                             struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    size_t d = out->points.d, k = out->logit_classes, at = 0;
    float *x;
    TRY(fdit_alloc(ctx, out->points.n, d * sizeof *x, &x));
    out->points.x = x;
    if (list[0]->label)
        TRY(fdit_alloc(ctx, out->points.n, sizeof *out->label, &out->label));
    if (list[0]->logits)
        TRY(fdit_alloc(ctx, out->points.n, k * sizeof(float), &out->logits));
    for (size_t i = 0; i < n; i++) {
        const struct fdit_feature_set *s = list[i];
        memcpy(x + at * d, s->points.x, s->points.n * d * sizeof *x);
        if (out->label)
            memcpy(out->label + at, s->label, s->points.n * sizeof *out->label);
        if (out->logits)
            memcpy(out->logits + at * k, s->logits, s->points.n * k * sizeof(float));
        at += s->points.n;
    }
out:
    return status;
}

/* Sum of squares about the mean of all: those about the means of the parts, and of these about it (Chan,
 * Golub and LeVeque 1983, "Algorithms for computing the sample variance"). */
static enum fdit_status pool_moments(fdit_context *ctx, struct fdit_feature_set *const *list, size_t n,
                                     bool spatial, size_t total_n, struct fdit_moments *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_moments *first = spatial ? &list[0]->spatial : &list[0]->moments;
    size_t d = first->d;
    double total = (double)total_n;
    TRY(fdit_moments_new(ctx, d, m));
    m->n = total_n;
    for (size_t p = 0; p < n; p++) {
        const struct fdit_moments *part = spatial ? &list[p]->spatial : &list[p]->moments;
        for (size_t i = 0; i < d; i++)
            m->mean[i] += (double)part->n / total * part->mean[i];
    }
    for (size_t p = 0; p < n; p++) {
        const struct fdit_moments *part = spatial ? &list[p]->spatial : &list[p]->moments;
        double count = (double)part->n;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                double apart = (part->mean[i] - m->mean[i]) * (part->mean[j] - m->mean[j]);
                m->covariance[i * d + j] +=
                    ((count - 1) * part->covariance[i * d + j] + count * apart) / (total - 1);
            }
    }
out:
    return status;
}

enum fdit_status fdit_feature_sets_merge(fdit_context *ctx, struct fdit_feature_set *sets, size_t n,
                                         struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set **list = NULL;
    *out = (struct fdit_feature_set){ .points.d = sets[0].points.d, .logit_classes = sets[0].logit_classes };
    TRY(fdit_alloc(ctx, n, sizeof(struct fdit_feature_set *), &list));
    for (size_t i = 0; i < n; i++) {
        list[i] = &sets[i];
        TRY(check_pair(ctx, &sets[0], &sets[i]));
        out->points.n += sets[i].points.n;
    }
    if (sets[0].parts)
        qsort(list, n, sizeof *list, by_part);
    TRY(check_parts(ctx, list, n));
    TRY(fdit_strf(ctx, &out->path, "%zu parts of a set", n));
    if (sets[0].features)
        TRY(fdit_strdup(ctx, sets[0].features, &out->features));
    out->weights = sets[0].weights;
    if (sets[0].points.x)
        TRY(join(ctx, list, n, out));
    else
        TRY(pool_moments(ctx, list, n, false, out->points.n, &out->moments));
    if (sets[0].spatial.d)
        TRY(pool_moments(ctx, list, n, true, out->points.n, &out->spatial));
    out->taxonomy = out->own_taxonomy = sets[0].own_taxonomy;
    sets[0].own_taxonomy = NULL;
out:
    fdit_free(list);
    if (status != FDIT_OK)
        fdit_feature_set_fini(out);
    return status;
}
