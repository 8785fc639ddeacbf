/* SPDX-License-Identifier: Apache-2.0
 * The metrics of a pair of feature sets, as rows of a table: name, what it needs, and the function. */
#include "eval/evaluate.h"

#include "core/mem.h"
#include "core/phase.h"
#include "eval/frechet.h"
#include "eval/lapack.h"
#include "eval/mmd.h"
#include "eval/neighbours.h"
#include "eval/scores.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct fdit_metric_info fdit_metric_table[FDIT_METRICS] = {
    [FDIT_METRIC_FD] = { "fd", "Frechet distance (FID of these features)", -1, false, true, true, true },
    [FDIT_METRIC_SFID] = { "sfid", "fd of features that keep places (Inception)", -1, false, false, false,
                           false },
    [FDIT_METRIC_FD_INFINITY] = { "fd-infinity", "fd extrapolated to infinitely many pictures", -1, true,
                                  false, false, false },
    [FDIT_METRIC_KID] = { "kid", "kernel distance, unbiased, of all pictures", -1, true, true, true, true },
    [FDIT_METRIC_KID_SUBSETS] = { "kid-subsets", "kernel distance of 100 subsets, as published", -1, true,
                                  false, false, false },
    [FDIT_METRIC_CMMD] = { "cmmd", "Gaussian kernel distance times 1000", -1, true, false, true, true },
    [FDIT_METRIC_MEAN_DISTANCE] = { "mean-distance", "distance of the means, unbiased", -1, true, true, false,
                                    false },
    [FDIT_METRIC_PRECISION] = { "precision", "generated pictures that look real", 1, true, true, false,
                                true },
    [FDIT_METRIC_RECALL] = { "recall", "real pictures that are covered", 1, true, true, true, false },
    [FDIT_METRIC_DENSITY] = { "density", "real neighbourhoods around a picture", 1, true, true, false, true },
    [FDIT_METRIC_COVERAGE] = { "coverage", "real pictures with one of them near", 1, true, true, true,
                               false },
    [FDIT_METRIC_AUTHENTICITY] = { "authenticity", "pictures that are not near copies", 1, true, true, false,
                                   true },
    [FDIT_METRIC_NEAREST] = { "nearest", "median distance to a real picture", 0, true, true, false, false },
    [FDIT_METRIC_SCORE] = { "is", "Inception score of the classifier's words", 1, false, false, false,
                            false },
    [FDIT_METRIC_ACCURACY] = { "accuracy", "pictures that show their class", 1, false, true, false, true },
    [FDIT_METRIC_LPIPS] = { "lpips", "LPIPS of two pictures of a class (--lpips)", 1, false, false, false,
                            false },
};

enum {
    FEW_FOR_FD = 2048,
    FEW_FOR_NEIGHBOURS = 200,
    FEW_FOR_SCORE = 5000, /* the Inception score is published of 50,000 pictures in ten splits */
    FEW_FOR_CMMD = 1000,
    NEAREST_REAL = 3,  /* neighbours of precision and recall, as published */
    NEAREST_COVER = 5, /* of density and coverage */
    SUBSETS = 100,
    SUBSET_SIZE = 1000,
    SCORE_SPLITS = 10,
    INFINITY_SIZES = 8, /* a quarter of the pictures, ..., all */
};

struct measure {
    struct fdit_pool *pool;
    const struct fdit_eval_options *o;
    struct fdit_eval_result *r;
    unsigned wanted;
    bool asked;
    float *weights_x, *weights_y; /* of the draws; NULL without */
    size_t draws;
};

static bool wants(const struct measure *m, enum fdit_metric metric)
{
    return m->wanted >> metric & 1;
}

/* A line of the result; what it was computed from stands behind its name. */
static struct fdit_eval_value *add(struct measure *m, enum fdit_metric metric, double value)
{
    struct fdit_eval_result *r = m->r;
    const char *from = r->generated.features ? r->generated.features : r->real.features;
    if (r->n_values == FDIT_EVAL_VALUES)
        r->n_values--; /* cannot be: ranks are counted before */
    struct fdit_eval_value *v = &r->values[r->n_values++];
    *v = (struct fdit_eval_value){ .metric = metric, .value = value, .bar = { NAN, NAN, NAN } };
    fdit_extractor_metric(from ? from : "features", fdit_metric_table[metric].name, v->name, sizeof v->name);
    return v;
}

static void note(struct fdit_eval_value *v, const char *format, ...) FDIT_PRINTF(2, 3);
static void note(struct fdit_eval_value *v, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(v->note, sizeof v->note, format, list);
    va_end(list);
}

/* ------------------------------------------------------------------ distances of distributions */

/* Deviation of the distance over the draws. Its middle is biased upwards, so there is no interval. */
static enum fdit_status bar_of_frechet(fdit_context *ctx, struct measure *m, struct fdit_error_bar *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_points *sets[2] = { &m->r->real.points, &m->r->generated.points };
    const float *weights[2] = { m->weights_x, m->weights_y };
    struct fdit_moments moments[2] = { 0 };
    struct fdit_statistics *s = NULL;
    double *values = NULL;
    TRY(fdit_alloc(ctx, m->draws, sizeof *values, &values));
    for (size_t b = 0; b < m->draws; b++) {
        fdit_phase_at(ctx, b);
        for (int side = 0; side < 2; side++) {
            TRY(fdit_statistics_new(ctx, sets[side]->d, &s));
            fdit_statistics_add(s, m->pool, sets[side]->x, sets[side]->n, weights[side] + b + 1,
                                m->draws + 1);
            fdit_moments_fini(&moments[side]);
            TRY(fdit_statistics_moments(ctx, s, &moments[side]));
            fdit_statistics_free(s);
            s = NULL;
        }
        TRY(fdit_frechet(ctx, &moments[0], &moments[1], &values[b]));
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped");
    }
    *out = fdit_bootstrap_bar(values, m->draws);
    out->low = out->high = NAN;
out:
    fdit_statistics_free(s);
    fdit_moments_fini(&moments[0]);
    fdit_moments_fini(&moments[1]);
    fdit_free(values);
    return status;
}

/* Whether the draws cost little enough: d^2 operations for each picture, and d^3 for each draw. */
static bool redraws_frechet(size_t n, size_t k, size_t d, size_t draws)
{
    return d <= 256 && n + k >= d && (double)(n + k) * (double)d * (double)d * (double)draws < 4e10;
}

void fdit_eval_redraws(unsigned wanted, size_t n, size_t k, size_t d, size_t draws, bool *real,
                       bool *generated)
{
    *real = *generated = false;
    if (!redraws_frechet(n, k, d, draws))
        wanted &= ~(1u << FDIT_METRIC_FD);
    for (int metric = 0; metric < FDIT_METRICS && draws > 1; metric++) {
        *real = *real || (wanted >> metric & 1 && fdit_metric_table[metric].redraws_real);
        *generated = *generated || (wanted >> metric & 1 && fdit_metric_table[metric].redraws_generated);
    }
}

static enum fdit_status ensure_moments(fdit_context *ctx, struct measure *m, struct fdit_feature_set *s)
{
    return s->moments.d ? FDIT_OK : fdit_moments_of(ctx, m->pool, &s->points, &s->moments);
}

static void note_few(struct fdit_eval_value *v, size_t n, size_t k, size_t d)
{
    if (k && k <= d)
        note(v, "%zu pictures for %zu features: far too large for their number; read kid", k, d);
    else if ((n && n < FEW_FOR_FD) || (k && k < FEW_FOR_FD))
        note(v, "of fewer than %d pictures: too large by chance; compare equal numbers only, or read kid",
             FEW_FOR_FD);
}

static enum fdit_status measure_frechet(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *x = &m->r->real, *y = &m->r->generated;
    double value;
    size_t n = x->points.n, k = y->points.n, d = y->points.d;
    if (x->points.x && y->points.x) {
        TRY(fdit_frechet_points(ctx, m->pool, &x->points, &y->points, &value));
    } else {
        TRY(ensure_moments(ctx, m, x));
        TRY(ensure_moments(ctx, m, y));
        TRY(fdit_frechet(ctx, &x->moments, &y->moments, &value));
    }
    struct fdit_eval_value *v = add(m, FDIT_METRIC_FD, value);
    note_few(v, n, k, d);
    if (!m->draws || !x->points.x || !y->points.x || !redraws_frechet(n, k, d, m->draws))
        goto out;
    fdit_phase_begin(ctx, m->draws, "error bar of fd");
    status = bar_of_frechet(ctx, m, &v->bar);
    fdit_phase_end(ctx);
out:
    return status;
}

/* What chance adds is as for fd. */
static enum fdit_status measure_spatial(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *x = &m->r->real, *y = &m->r->generated;
    double value;
    size_t n = x->points.n, k = y->points.n, d = y->spatial.d;
    TRY(fdit_frechet(ctx, &x->spatial, &y->spatial, &value));
    note_few(add(m, FDIT_METRIC_SFID, value), n, k, d);
out:
    return status;
}

static enum fdit_status measure_infinity(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_points *x = &m->r->real.points, *y = &m->r->generated.points;
    size_t sizes[INFINITY_SIZES], least = y->n / 4;
    double values[INFINITY_SIZES], value;
    uint32_t *order = NULL;
    for (size_t i = 0; i < INFINITY_SIZES; i++)
        sizes[i] = least + (y->n - least) * i / (INFINITY_SIZES - 1);
    TRY(fdit_mmd_order(ctx, m->o->seed, y->n, &order));
    fdit_phase_begin(ctx, INFINITY_SIZES, "Frechet distances of subsets");
    status = fdit_frechet_infinity(ctx, m->pool, x, y, order, sizes, INFINITY_SIZES, values, &value);
    fdit_phase_end(ctx);
    TRY(status);
    struct fdit_eval_value *v = add(m, FDIT_METRIC_FD_INFINITY, value);
    if (least <= y->d)
        note(v, "subsets of %zu pictures for %zu features: the line through them is not straight; read kid",
             least, y->d);
out:
    fdit_free(order);
    return status;
}

static enum fdit_status measure_kernel(fdit_context *ctx, struct measure *m, enum fdit_metric metric,
                                       const struct fdit_mmd *mmd)
{
    enum fdit_status status = FDIT_OK;
    double *values = NULL;
    TRY(fdit_alloc(ctx, m->draws + 1, sizeof *values, &values));
    TRY(fdit_mmd_compute(ctx, m->pool, mmd, &m->r->real.points, &m->r->generated.points, m->weights_x,
                         m->weights_y, m->draws, values));
    struct fdit_eval_value *v = add(m, metric, values[0]);
    v->bar = fdit_bootstrap_bar(values + 1, m->draws);
    const char *network = m->r->generated.features;
    const size_t n = m->r->real.points.n, k = m->r->generated.points.n;
    if (metric == FDIT_METRIC_CMMD && (n < FEW_FOR_CMMD || k < FEW_FOR_CMMD))
        note(v,
             "of fewer than %d pictures: too large by the pairs of a picture with itself; compare equal "
             "numbers only, or read kid",
             FEW_FOR_CMMD);
    else if (metric == FDIT_METRIC_CMMD && (!network || strcmp(network, "clip") != 0))
        note(v, "the published numbers are of CLIP's features");
out:
    fdit_free(values);
    return status;
}

static enum fdit_status measure_subsets(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_mmd kid = fdit_mmd_kid();
    const struct fdit_points *x = &m->r->real.points, *y = &m->r->generated.points;
    uint32_t *a = NULL, *b = NULL;
    size_t size = x->n < y->n ? x->n : y->n;
    double value, deviation;
    if (size > SUBSET_SIZE)
        size = SUBSET_SIZE;
    TRY(fdit_mmd_picks(ctx, m->o->seed, y->n, x->n, SUBSETS, size, &b, &a));
    TRY(fdit_mmd_subsets(ctx, m->pool, &kid, x, y, SUBSETS, size, a, b, &value, &deviation));
    struct fdit_eval_value *v = add(m, FDIT_METRIC_KID_SUBSETS, value);
    v->bar.error = deviation;
    if (size < SUBSET_SIZE)
        note(v, "subsets of %zu pictures, since there are not %d", size, SUBSET_SIZE);
out:
    fdit_free(a);
    fdit_free(b);
    return status;
}

/* ------------------------------------------------------------------ neighbours */

/* A mean over pictures with its bar. The neighbourhoods stay as they are in the draws. */
static enum fdit_status add_mean(fdit_context *ctx, struct measure *m, enum fdit_metric metric,
                                 const double *value, size_t n, const float *weights)
{
    enum fdit_status status = FDIT_OK;
    double *means = NULL;
    struct fdit_eval_value *v = add(m, metric, fdit_mean_known(value, n));
    if (m->r->real.points.n < FEW_FOR_NEIGHBOURS || m->r->generated.points.n < FEW_FOR_NEIGHBOURS)
        note(v, "neighbourhoods of fewer than %d pictures are wide; compare equal numbers only",
             FEW_FOR_NEIGHBOURS);
    if (!m->draws)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, m->draws + 1, sizeof *means, &means));
    fdit_bootstrap_means(value, weights, n, m->draws, means);
    v->bar = fdit_bootstrap_bar(means + 1, m->draws);
out:
    fdit_free(means);
    return status;
}

static int by_number(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static enum fdit_status median(fdit_context *ctx, const double *value, size_t n, double *out)
{
    enum fdit_status status = FDIT_OK;
    double *sorted = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *sorted, &sorted));
    memcpy(sorted, value, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_number);
    *out = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
out:
    fdit_free(sorted);
    return status;
}

static enum fdit_status list_pairs(fdit_context *ctx, struct measure *m, const struct fdit_neighbours *n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_result *r = m->r;
    for (size_t i = 0; i < n->m; i++) {
        size_t at = r->n_pairs;
        while (at && r->pairs[at - 1].distance > n->distance[i])
            at--;
        if (at == FDIT_EVAL_PAIRS)
            continue;
        size_t last = r->n_pairs < FDIT_EVAL_PAIRS ? r->n_pairs++ : FDIT_EVAL_PAIRS - 1;
        memmove(r->pairs + at + 1, r->pairs + at, (last - at) * sizeof *r->pairs);
        r->pairs[at] =
            (struct fdit_eval_pair){ .generated = i, .real = n->nearest[i], .distance = n->distance[i] };
    }
    for (size_t k = 0; k < r->n_pairs; k++) {
        TRY(fdit_feature_set_name(ctx, &r->generated, r->pairs[k].generated, &r->pairs[k].generated_name));
        TRY(fdit_feature_set_name(ctx, &r->real, r->pairs[k].real, &r->pairs[k].real_name));
    }
out:
    return status;
}

static enum fdit_status measure_nearest(fdit_context *ctx, struct measure *m, const struct fdit_neighbours *n)
{
    enum fdit_status status = FDIT_OK;
    double distance, own;
    size_t copies = 0;
    TRY(median(ctx, n->distance, n->m, &distance));
    TRY(median(ctx, n->own, n->n, &own));
    struct fdit_eval_value *v = add(m, FDIT_METRIC_NEAREST, distance);
    for (size_t i = 0; i < n->m; i++)
        copies += n->distance[i] <= own / 100;
    if (copies)
        note(v, "%zu generated picture%s a copy of a real one; real pictures are %.3g apart", copies,
             copies == 1 ? " is" : "s are", own);
    else
        note(v, "real pictures are %.3g apart", own);
    TRY(list_pairs(ctx, m, n));
out:
    return status;
}

/* The part of each picture in a mean, as the mean of its class. */
static enum fdit_status class_means(fdit_context *ctx, struct fdit_eval_result *r,
                                    enum fdit_class_column column, const double *value,
                                    const struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    if (!r->classes || !s->label)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, r->classes, sizeof(double), &r->by_class[column]));
    TRY(fdit_mean_by_group(ctx, value, s->label, s->points.n, r->classes, r->by_class[column]));
out:
    return status;
}

static enum fdit_status measure_manifolds(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_neighbours n = { 0 };
    struct fdit_eval_result *r = m->r;
    TRY(fdit_neighbours_find(ctx, m->pool, &r->real.points, &r->generated.points, NEAREST_REAL, false, &n));
    if (wants(m, FDIT_METRIC_PRECISION)) {
        TRY(add_mean(ctx, m, FDIT_METRIC_PRECISION, n.precision, n.m, m->weights_y));
        TRY(class_means(ctx, r, FDIT_CLASS_PRECISION, n.precision, &r->generated));
    }
    if (wants(m, FDIT_METRIC_RECALL)) {
        TRY(add_mean(ctx, m, FDIT_METRIC_RECALL, n.recall, n.n, m->weights_x));
        TRY(class_means(ctx, r, FDIT_CLASS_RECALL, n.recall, &r->real));
    }
    if (wants(m, FDIT_METRIC_AUTHENTICITY)) {
        TRY(add_mean(ctx, m, FDIT_METRIC_AUTHENTICITY, n.authentic, n.m, m->weights_y));
        TRY(class_means(ctx, r, FDIT_CLASS_AUTHENTICITY, n.authentic, &r->generated));
    }
    if (wants(m, FDIT_METRIC_NEAREST)) {
        TRY(measure_nearest(ctx, m, &n));
        TRY(class_means(ctx, r, FDIT_CLASS_NEAREST, n.distance, &r->generated));
    }
out:
    fdit_neighbours_fini(&n);
    return status;
}

static enum fdit_status measure_coverage(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_neighbours n = { 0 };
    struct fdit_eval_result *r = m->r;
    TRY(fdit_neighbours_find(ctx, m->pool, &r->real.points, &r->generated.points, NEAREST_COVER, true, &n));
    if (wants(m, FDIT_METRIC_DENSITY)) {
        TRY(add_mean(ctx, m, FDIT_METRIC_DENSITY, n.density, n.m, m->weights_y));
        TRY(class_means(ctx, r, FDIT_CLASS_DENSITY, n.density, &r->generated));
    }
    if (wants(m, FDIT_METRIC_COVERAGE)) {
        TRY(add_mean(ctx, m, FDIT_METRIC_COVERAGE, n.coverage, n.n, m->weights_x));
        TRY(class_means(ctx, r, FDIT_CLASS_COVERAGE, n.coverage, &r->real));
    }
out:
    fdit_neighbours_fini(&n);
    return status;
}

/* ------------------------------------------------------------------ what a classifier says */

static enum fdit_status measure_score(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *s = &m->r->generated;
    uint32_t *order = NULL;
    double value, deviation;
    if (!s->logits)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "is needs the logits of a classifier, which %s does not have",
             s->path);
    TRY(fdit_mmd_order(ctx, m->o->seed, s->points.n, &order));
    TRY(fdit_inception_score(ctx, s->logits, s->points.n, s->logit_classes, SCORE_SPLITS, order, &value,
                             &deviation));
    struct fdit_eval_value *v = add(m, FDIT_METRIC_SCORE, value);
    v->bar.error = deviation;
    if (s->points.n < FEW_FOR_SCORE)
        note(v, "splits of %zu pictures: too low by chance; compare equal numbers only",
             s->points.n / SCORE_SPLITS);
out:
    fdit_free(order);
    return status;
}

/* Top-1 and, where there are more than five, top-5 for the classes or for the groups of one rank. */
static enum fdit_status add_hits(fdit_context *ctx, struct measure *m, int32_t rank, const int32_t *groups_of,
                                 const int32_t *label)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_result *r = m->r;
    const struct fdit_feature_set *s = &r->generated;
    size_t labels = rank < 0 ? s->logit_classes : (size_t)fdit_taxonomy_n_groups(s->taxonomy, rank);
    double *hits = NULL;
    TRY(fdit_alloc(ctx, s->points.n, sizeof *hits, &hits));
    for (size_t top = 1; top <= 5 && top < labels; top += 4) {
        TRY(fdit_top_hits(ctx, s->logits, s->points.n, s->logit_classes, groups_of, labels, label, top,
                          hits));
        TRY(add_mean(ctx, m, FDIT_METRIC_ACCURACY, hits, s->points.n, m->weights_y));
        struct fdit_eval_value *v = &r->values[r->n_values - 1];
        v->note[0] = 0;
        snprintf(v->name, sizeof v->name, "accuracy top-%zu %.100s", top,
                 rank < 0 ? "class" : fdit_taxonomy_rank_name(s->taxonomy, rank));
        if (rank < 0)
            TRY(class_means(ctx, r, top == 1 ? FDIT_CLASS_TOP1 : FDIT_CLASS_TOP5, hits, s));
    }
out:
    fdit_free(hits);
    return status;
}

static enum fdit_status measure_accuracy(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *s = &m->r->generated;
    size_t k = s->logit_classes, n = s->points.n;
    int32_t *group_of = NULL, *label = NULL, ranks = fdit_taxonomy_n_ranks(s->taxonomy);
    struct fdit_eval_result *r = m->r;
    TRY(add_hits(ctx, m, -1, NULL, s->label));
    TRY(fdit_alloc(ctx, k, sizeof *group_of, &group_of));
    TRY(fdit_alloc(ctx, n, sizeof *label, &label));
    for (int32_t rank = -1; rank < ranks && rank < FDIT_EVAL_RANKS; rank++) {
        TRY(fdit_confusion_make(ctx, s, rank, &r->confusions[r->n_confusions]));
        r->n_confusions++;
    }
    for (int32_t rank = 0; rank < ranks && rank < FDIT_EVAL_RANKS; rank++) {
        for (size_t c = 0; c < k; c++)
            group_of[c] = fdit_taxonomy_group(s->taxonomy, rank, (int32_t)c);
        for (size_t i = 0; i < n; i++)
            label[i] = group_of[s->label[i]];
        TRY(add_hits(ctx, m, rank, group_of, label));
    }
out:
    fdit_free(group_of);
    fdit_free(label);
    return status;
}

/* Whether the logits are of the classes that the labels mean. */
static bool has_accuracy(const struct fdit_feature_set *s)
{
    return s->logits && s->label && s->taxonomy &&
           s->logit_classes == (size_t)fdit_taxonomy_n_classes(s->taxonomy);
}

/* ------------------------------------------------------------------ all of them */

/* Pictures of each set below which a metric has no value. points: there are features of both. */
static size_t least_pictures(int metric, bool points)
{
    switch (metric) {
    case FDIT_METRIC_PRECISION:
    case FDIT_METRIC_RECALL:
    case FDIT_METRIC_AUTHENTICITY:
    case FDIT_METRIC_NEAREST: return NEAREST_REAL + 1;
    case FDIT_METRIC_DENSITY:
    case FDIT_METRIC_COVERAGE: return NEAREST_COVER + 1;
    case FDIT_METRIC_FD: return points ? 2 : 0;
    default: return fdit_metric_table[metric].pair ? 2 : 0;
    }
}

static void say_few(char words[160], size_t n, size_t k, size_t least)
{
    snprintf(words, 160, "%zu real and %zu generated pictures are too few; it needs %zu of each", n, k,
             least);
}

enum fdit_status fdit_eval_check_few(fdit_context *ctx, unsigned wanted, size_t n, size_t k, bool points)
{
    char words[160];
    for (int metric = 0; metric < FDIT_METRICS; metric++) {
        const size_t least = wanted >> metric & 1 ? least_pictures(metric, points) : 0;
        if (n >= least && k >= least)
            continue;
        say_few(words, n, k, least);
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--metrics %s: %s", fdit_metric_table[metric].name, words);
    }
    return FDIT_OK;
}

static enum fdit_status check_wanted(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_feature_set *x = &m->r->real, *y = &m->r->generated;
    const size_t n = x->points.n < y->points.n ? x->points.n : y->points.n;
    bool reference = x->points.x || x->moments.d;
    char why[512], needs_lapack[600];
    char few[160] = "", words[160];
    for (int k = 0; k < FDIT_METRICS; k++) {
        const struct fdit_metric_info *info = &fdit_metric_table[k];
        const char *lacks = NULL;
        bool frechet = k == FDIT_METRIC_FD || k == FDIT_METRIC_SFID || k == FDIT_METRIC_FD_INFINITY;
        if (!wants(m, (enum fdit_metric)k))
            continue;
        if (k == FDIT_METRIC_FD && !reference)
            lacks = "it needs real pictures; give --real or --stats";
        else if (k == FDIT_METRIC_SFID && !(x->spatial.d && y->spatial.d))
            lacks = "it needs features that keep places of both sets: pictures with --features "
                    "inception-tf:FILE, or statistics with mu_s and sigma_s";
        else if (frechet && !fdit_lapack_available(why, sizeof why)) {
            snprintf(needs_lapack, sizeof needs_lapack, "it needs LAPACK, %s", why);
            lacks = needs_lapack;
        } else if (info->pair && !(x->points.x && y->points.x))
            lacks = "it needs features of real and of generated pictures; give --real DATA";
        else if (k == FDIT_METRIC_LPIPS && !m->r->lpips_name[0])
            lacks = "give its network, --lpips FILE[,HEADS]";
        else if (k == FDIT_METRIC_ACCURACY && !has_accuracy(y))
            lacks = "it needs pictures in class folders and a classifier "
                    "of these classes; give --classifier FILE";
        const size_t least = lacks ? 0 : least_pictures(k, x->points.x && y->points.x);
        if (n < least) {
            say_few(words, x->points.n, y->points.n, least);
            lacks = words;
            snprintf(few + strlen(few), sizeof few - strlen(few), "%s%s", *few ? ", " : "", info->name);
        }
        if (!lacks)
            continue;
        if (m->asked)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--metrics %s: %s", info->name, lacks);
        if (k == FDIT_METRIC_FD && reference && n >= least)
            fdit_log(ctx, FDIT_LOG_WARNING, "fd is left out: %s", lacks);
        m->wanted &= ~(1u << k);
    }
    if (*few)
        fdit_log(ctx, FDIT_LOG_WARNING, "%zu real and %zu generated pictures are too few for %s, left out",
                 x->points.n, y->points.n, few);
out:
    return status;
}

static enum fdit_status measure_all(fdit_context *ctx, struct measure *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_mmd kid = fdit_mmd_kid(), cmmd = fdit_mmd_cmmd();
    const unsigned manifolds = 1u << FDIT_METRIC_PRECISION | 1u << FDIT_METRIC_RECALL |
                               1u << FDIT_METRIC_AUTHENTICITY | 1u << FDIT_METRIC_NEAREST;
    double value;
    if (wants(m, FDIT_METRIC_FD))
        TRY(measure_frechet(ctx, m));
    if (wants(m, FDIT_METRIC_SFID))
        TRY(measure_spatial(ctx, m));
    if (wants(m, FDIT_METRIC_FD_INFINITY))
        TRY(measure_infinity(ctx, m));
    if (wants(m, FDIT_METRIC_KID))
        TRY(measure_kernel(ctx, m, FDIT_METRIC_KID, &kid));
    if (wants(m, FDIT_METRIC_KID_SUBSETS))
        TRY(measure_subsets(ctx, m));
    if (wants(m, FDIT_METRIC_CMMD))
        TRY(measure_kernel(ctx, m, FDIT_METRIC_CMMD, &cmmd));
    if (wants(m, FDIT_METRIC_MEAN_DISTANCE)) {
        TRY(fdit_mean_distance(ctx, &m->r->real.points, &m->r->generated.points, &value));
        add(m, FDIT_METRIC_MEAN_DISTANCE, value);
    }
    if (m->wanted & manifolds)
        TRY(measure_manifolds(ctx, m));
    if (wants(m, FDIT_METRIC_DENSITY) || wants(m, FDIT_METRIC_COVERAGE))
        TRY(measure_coverage(ctx, m));
    if (wants(m, FDIT_METRIC_SCORE))
        TRY(measure_score(ctx, m));
    if (wants(m, FDIT_METRIC_ACCURACY))
        TRY(measure_accuracy(ctx, m));
    if (wants(m, FDIT_METRIC_LPIPS)) {
        struct fdit_eval_value *v = add(m, FDIT_METRIC_LPIPS, m->r->lpips);
        snprintf(v->name, sizeof v->name, "%s", m->r->lpips_name);
        if (isnan(v->value))
            note(v, "no class has two pictures");
    }
out:
    return status;
}

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Of features in memory: both covariances, the second beside the sums that it is made of. */
static size_t covariances_bytes(size_t n, size_t k, size_t d)
{
    const size_t each = fdit_moments_bytes(d);
    return each + most_of(each + fdit_frechet_bytes(n, k, d), each + fdit_statistics_bytes(d));
}

static size_t frechet_bytes(size_t n, size_t k, size_t d, bool points)
{
    if (!points)
        return fdit_frechet_bytes(n, k, d);
    return n + k < d ? ((n + k) * d + n * k) * sizeof(double) : covariances_bytes(n, k, d);
}

size_t fdit_eval_metrics_bytes(unsigned wanted, size_t n, size_t k, size_t d, size_t spatial, bool points,
                               size_t draws, int threads)
{
    const struct measure m = { .wanted = wanted };
    const size_t larger = most_of(n, k), least = n < k ? n : k,
                 size = least < SUBSET_SIZE ? least : SUBSET_SIZE;
    const size_t panels = (size_t)threads * d * FDIT_PAIR_COLUMNS * sizeof(double);
    const size_t sums = 2 * (larger / FDIT_PAIR_ROWS + 1) * (draws + 1) * sizeof(double);
    const size_t neighbours = (8 * larger + NEAREST_COVER * (n + k)) * sizeof(double);
    size_t most = 0;
    if (wants(&m, FDIT_METRIC_FD))
        most = most_of(most, frechet_bytes(n, k, d, points));
    if (wants(&m, FDIT_METRIC_FD_INFINITY))
        most = most_of(most, covariances_bytes(n, k, d));
    if (wants(&m, FDIT_METRIC_SFID))
        most = most_of(most, frechet_bytes(n, k, spatial, false));
    if (points && (wants(&m, FDIT_METRIC_KID) || wants(&m, FDIT_METRIC_CMMD)))
        most = most_of(most, sums + panels + (n + k) * sizeof(double));
    if (points && wants(&m, FDIT_METRIC_KID_SUBSETS))
        most = most_of(most, 2 * size * (SUBSETS * sizeof(uint32_t) + d * sizeof(float)) + panels);
    if (points)
        most = most_of(most, neighbours + panels);
    return most;
}

enum fdit_status fdit_eval_measure(fdit_context *ctx, struct fdit_pool *pool,
                                   const struct fdit_eval_options *o, unsigned wanted, bool asked,
                                   struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    struct measure m = { .pool = pool, .o = o, .r = r, .wanted = wanted, .asked = asked };
    const struct fdit_points *x = &r->real.points, *y = &r->generated.points;
    bool real, generated;
    TRY(check_wanted(ctx, &m));
    m.draws = o->draws > 1 ? (size_t)o->draws : 0;
    const unsigned moments = x->x && y->x ? 0 : 1u << FDIT_METRIC_FD; /* of which nothing is drawn again */
    fdit_eval_redraws(m.wanted & ~moments, x->n, y->n, y->d, m.draws, &real, &generated);
    if (real)
        TRY(fdit_bootstrap_weights(ctx, o->seed, 0, x->n, m.draws, &m.weights_x));
    if (generated)
        TRY(fdit_bootstrap_weights(ctx, o->seed, 1, y->n, m.draws, &m.weights_y));
    TRY(measure_all(ctx, &m));
out:
    fdit_free(m.weights_x);
    fdit_free(m.weights_y);
    return status;
}
