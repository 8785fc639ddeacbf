/* SPDX-License-Identifier: Apache-2.0
 * test_eval.c: the numbers of src/eval against tests/fixtures/eval, and cases whose result is known. */
#include "harness.h"

#include "core/file.h"
#include "core/mem.h"
#include "eval/evaluate.h"
#include "eval/feature_set.h"
#include "eval/frechet.h"
#include "eval/lapack.h"
#include "eval/mmd.h"
#include "eval/neighbours.h"
#include "eval/scores.h"
#include "format/json.h"
#include "format/npz.h"
#include "format/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fdit_context *ctx;
static struct fdit_safetensors *sets;
static json_t *wanted;
static struct fdit_points real, fake, tie_real, tie_fake;

static void set_up(void)
{
    ctx = fdit_context_new();
    char *path = test_fixture("eval/metrics.safetensors");
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &sets));
    free(path);
    path = test_fixture("eval/metrics.json");
    ck_assert_ok(ctx, fdit_json_read(ctx, path, 1 << 20, 16, &wanted));
    free(path);
    struct fdit_points *const points[] = { &real, &fake, &tie_real, &tie_fake };
    const char *const names[] = { "real", "fake", "tie_real", "tie_fake" };
    for (size_t i = 0; i < 4; i++) {
        const struct fdit_st_tensor *t = fdit_safetensors_find(sets, names[i]);
        float *x;
        ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof(float), &x));
        ck_assert_ok(ctx, fdit_safetensors_f32(ctx, sets, t, 0, t->n, x));
        *points[i] = (struct fdit_points){ (size_t)t->shape[0], (size_t)t->shape[1], x };
    }
}

static void tear_down(void)
{
    const struct fdit_points *const points[] = { &real, &fake, &tie_real, &tie_fake };
    for (size_t i = 0; i < 4; i++)
        fdit_free((void *)(uintptr_t)points[i]->x);
    fdit_safetensors_close(sets);
    json_decref(wanted);
    fdit_context_free(ctx);
}

static double number(const char *part, const char *key)
{
    const json_t *v = json_object_get(json_object_get(wanted, part), key);
    ck_assert_msg(json_is_number(v), "%s.%s", part, key);
    return json_number_value(v);
}

static double entry(const char *part, const char *key, size_t i)
{
    const json_t *v = json_array_get(json_object_get(json_object_get(wanted, part), key), i);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void check_near(double got, double want, double relative)
{
    ck_assert_msg(isnan(got) == isnan(want) && !(fabs(got - want) > relative * fmax(fabs(want), 1)),
                  "%.15g instead of %.15g", got, want);
}

static int64_t *integers(const char *name, size_t *n)
{
    const struct fdit_st_tensor *t = fdit_safetensors_find(sets, name);
    int64_t *out;
    ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof *out, &out));
    ck_assert_ok(ctx, fdit_safetensors_i64(ctx, sets, t, 0, t->n, out));
    *n = t->n;
    return out;
}

static struct fdit_points first(const struct fdit_points *p, size_t n)
{
    return (struct fdit_points){ n, p->d, p->x };
}

static struct fdit_pool *pool_of(int members)
{
    struct fdit_pool *pool;
    ck_assert_ok(ctx, fdit_pool_new(ctx, members, 1000, 1000, NULL, &pool));
    return pool;
}

/* ------------------------------------------------------------------ Frechet */

START_TEST(frechet_is_the_reference)
{
    double got;
    struct fdit_points few = first(&real, 5), fewer = first(&fake, 7);
    if (!fdit_lapack_available(NULL, 0)) {
        ck_assert_int_eq(fdit_frechet_points(ctx, NULL, &real, &fake, &got), FDIT_ERROR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "LAPACK"));
        return;
    }
    ck_assert_ok(ctx, fdit_frechet_points(ctx, NULL, &real, &fake, &got));
    check_near(got, number("frechet", "90_and_70"), 1e-9);
    ck_assert_ok(ctx, fdit_frechet_points(ctx, NULL, &few, &fewer, &got));
    check_near(got, number("frechet", "first_5_and_first_7_of_12_dimensions"), 1e-9);
    /* the way for fewer pictures than features gives the same as the covariances, which are singular there */
    few = first(&real, 5), fewer = first(&fake, 6);
    double other;
    struct fdit_moments a, b;
    ck_assert_ok(ctx, fdit_frechet_points(ctx, NULL, &few, &fewer, &got));
    ck_assert_ok(ctx, fdit_moments_of(ctx, NULL, &few, &a));
    ck_assert_ok(ctx, fdit_moments_of(ctx, NULL, &fewer, &b));
    ck_assert_ok(ctx, fdit_frechet(ctx, &a, &b, &other));
    check_near(got, other, 1e-10);
    fdit_moments_fini(&a);
    fdit_moments_fini(&b);
}
END_TEST

START_TEST(frechet_of_endlessly_many)
{
    static const size_t sizes[] = { 30, 40, 50, 60, 70 }, same[] = { 40, 40 }, beyond[] = { 40, 71 };
    uint32_t order[70];
    double got, values[5];
    for (uint32_t i = 0; i < 70; i++)
        order[i] = i;
    if (!fdit_lapack_available(NULL, 0))
        return;
    ck_assert_ok(ctx, fdit_frechet_infinity(ctx, NULL, &real, &fake, order, sizes, 5, values, &got));
    check_near(got, number("frechet", "infinity"), 1e-8);
    for (size_t i = 0; i < 5; i++)
        check_near(values[i], entry("frechet", "infinity_values", i), 1e-9);
    ck_assert_int_eq(fdit_frechet_infinity(ctx, NULL, &real, &fake, order, same, 2, values, &got),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_frechet_infinity(ctx, NULL, &real, &fake, order, beyond, 2, values, &got),
                     FDIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(frechet_of_known_gaussians)
{
    double mean_a[2] = { 0, 0 }, mean_b[2] = { 1, -1 }, a[4] = { 2, 0, 0, 3 }, b[4] = { 8, 0, 0, 0.75 };
    struct fdit_moments x = { 2, 0, mean_a, a }, y = { 2, 0, mean_b, b };
    double got, tiny[4] = { 1, 0, 0, 1e-12 }, line[4] = { 1, 1, 1, 1 }, none[4] = { 0 };
    if (!fdit_lapack_available(NULL, 0))
        return;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    check_near(got, 4.75, 1e-12);
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &x, &got));
    ck_assert(got == 0);
    /* singular: all on one line, and a single point. tr sqrt(Sx Sy) = sqrt(tr(Sx Sy)) for rank 1 */
    x.covariance = line;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    check_near(got, 2 + 2 + 8.75 - 2 * sqrt(8.75), 1e-12);
    x.covariance = none;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    check_near(got, 2 + 8.75, 1e-12);
    /* the same covariance moved a little is near 0, not near the root of a rounding error */
    x.covariance = line;
    y = (struct fdit_moments){ 2, 0, mean_a, line };
    mean_b[0] = 1e-9, mean_b[1] = 0;
    y.mean = mean_b;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    ck_assert_msg(fabs(got) < 1e-14, "%g", got);
    x.covariance = tiny;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    check_near(got, 1 + 1e-12 + 2 - 2 * sqrt(1 + 1e-12), 1e-12);
    /* two pictures lie on a line */
    x.n = 2;
    x.covariance = a;
    ck_assert_int_eq(fdit_frechet(ctx, &x, &y, &got), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "a wrong number of pictures"));
    x.covariance = line;
    ck_assert_ok(ctx, fdit_frechet(ctx, &x, &y, &got));
    y.d = 3;
    ck_assert_int_eq(fdit_frechet(ctx, &x, &y, &got), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* A normal distribution and one of other mean and spread: the distance of the two is known, and that of sets
 * of 20000 comes near it. */
START_TEST(frechet_of_drawn_gaussians)
{
    enum { N = 20000, D = 3 };
    struct test_rng rng = test_rng_new("gaussians");
    float *x, *y;
    double got;
    if (!fdit_lapack_available(NULL, 0))
        return;
    ck_assert_ok(ctx, fdit_alloc(ctx, 2 * N * D, sizeof(float), &x));
    y = x + N * D;
    test_fill_normal(&rng, x, N * D, 0, 1);
    test_fill_normal(&rng, y, N * D, 100, 2);
    struct fdit_points a = { N, D, x }, b = { N, D, y };
    ck_assert_ok(ctx, fdit_frechet_points(ctx, NULL, &a, &b, &got));
    check_near(got, D * (100.0 * 100 + 1), 1e-3);
    fdit_free(x);
}
END_TEST

START_TEST(statistics_come_in_any_batches)
{
    struct fdit_statistics *whole, *parts;
    struct fdit_moments a, b;
    struct fdit_pool *pool = pool_of(3);
    ck_assert_ok(ctx, fdit_statistics_new(ctx, real.d, &whole));
    ck_assert_ok(ctx, fdit_statistics_new(ctx, real.d, &parts));
    fdit_statistics_add(whole, NULL, real.x, real.n, NULL, 0);
    for (size_t i = 0, n = 1; i < real.n; i += n, n = n % 7 + 1)
        fdit_statistics_add(parts, pool, real.x + i * real.d, n < real.n - i ? n : real.n - i, NULL, 0);
    ck_assert_uint_eq(fdit_statistics_count(parts), real.n);
    ck_assert_ok(ctx, fdit_statistics_moments(ctx, whole, &a));
    ck_assert_ok(ctx, fdit_statistics_moments(ctx, parts, &b));
    ck_assert_mem_eq(a.mean, b.mean, real.d * sizeof(double));
    ck_assert_mem_eq(a.covariance, b.covariance, real.d * real.d * sizeof(double));
    fdit_statistics_free(whole);
    fdit_statistics_free(parts);
    fdit_moments_fini(&a);
    fdit_moments_fini(&b);
    ck_assert_ok(ctx, fdit_statistics_new(ctx, 2, &whole));
    fdit_statistics_add(whole, NULL, real.x, 1, NULL, 0);
    ck_assert_int_eq(fdit_statistics_moments(ctx, whole, &a), FDIT_ERROR_ARGUMENT);
    fdit_statistics_free(whole);
    fdit_pool_free(pool);
}
END_TEST

/* ------------------------------------------------------------------ kernels */

START_TEST(kid_is_the_reference)
{
    struct fdit_mmd kid = fdit_mmd_kid();
    struct fdit_points three = first(&real, 3), four = first(&fake, 4);
    double got, deviation;
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &real, &fake, NULL, NULL, 0, &got));
    check_near(got, number("kid", "all"), 1e-9);
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &three, &four, NULL, NULL, 0, &got));
    check_near(got, number("kid", "first_3_and_first_4"), 1e-9);

    size_t n;
    int64_t *a = integers("kid_picks_real", &n), *b = integers("kid_picks_fake", &n);
    uint32_t picks[2][200];
    ck_assert_uint_eq(n, 200);
    for (size_t i = 0; i < n; i++)
        picks[0][i] = (uint32_t)a[i], picks[1][i] = (uint32_t)b[i];
    ck_assert_ok(
        ctx, fdit_mmd_subsets(ctx, NULL, &kid, &real, &fake, 5, 40, picks[0], picks[1], &got, &deviation));
    check_near(got, entry("kid", "subsets_mean_std", 0), 1e-9);
    check_near(deviation, entry("kid", "subsets_mean_std", 1), 1e-9);
    uint32_t *of_real, *of_fake; /* which subsets: torch-fidelity's */
    ck_assert_ok(ctx, fdit_mmd_picks(ctx, 0, real.n, fake.n, 5, 40, &of_real, &of_fake));
    ck_assert(!memcmp(of_real, picks[0], sizeof picks[0]) && !memcmp(of_fake, picks[1], sizeof picks[1]));
    fdit_free(of_real);
    fdit_free(of_fake);
    ck_assert_int_eq(fdit_mmd_picks(ctx, 0, 39, 90, 5, 40, &of_real, &of_fake), FDIT_ERROR_ARGUMENT);
    fdit_free(a);
    fdit_free(b);

    const float x[] = { 0, 1, 1, 0, 1, 1 }, y[] = { 0, 0, 2, 1 }; /* by hand */
    struct fdit_points p = { 3, 2, x }, q = { 2, 2, y };
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &p, &q, NULL, NULL, 0, &got));
    check_near(got, -6.41666666666667, 1e-12);
    q.n = 1;
    ck_assert_int_eq(fdit_mmd_compute(ctx, NULL, &kid, &p, &q, NULL, NULL, 0, &got), FDIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(cmmd_is_the_reference)
{
    struct fdit_mmd cmmd = fdit_mmd_cmmd();
    double got;
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &cmmd, &real, &fake, NULL, NULL, 0, &got));
    check_near(got, number("cmmd", "biased"), 1e-9);
    cmmd.biased = false;
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &cmmd, &real, &fake, NULL, NULL, 0, &got));
    check_near(got, number("cmmd", "unbiased"), 1e-9);
    const float zero[4] = { 0 };
    struct fdit_points p = { 2, 2, zero };
    ck_assert_int_eq(fdit_mmd_compute(ctx, NULL, &cmmd, &p, &p, NULL, NULL, 0, &got), FDIT_ERROR_NUMERIC);
}
END_TEST

/* Counts [draws, n] of the fixture as weights [n, draws + 1]. */
static float *weights_of(const char *name, size_t n, size_t draws)
{
    size_t all;
    int64_t *counts = integers(name, &all);
    float *w;
    ck_assert_uint_eq(all, n * draws);
    ck_assert_ok(ctx, fdit_alloc(ctx, n, (draws + 1) * sizeof(float), &w));
    for (size_t i = 0; i < n; i++) {
        w[i * (draws + 1)] = 1;
        for (size_t b = 0; b < draws; b++)
            w[i * (draws + 1) + b + 1] = (float)counts[b * n + i];
    }
    fdit_free(counts);
    return w;
}

START_TEST(error_bars_are_the_reference)
{
    enum { DRAWS = 30 };
    struct fdit_mmd kid = fdit_mmd_kid();
    float *a = weights_of("bootstrap_real", real.n, DRAWS), *b = weights_of("bootstrap_fake", fake.n, DRAWS);
    double values[DRAWS + 1];
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &real, &fake, a, b, DRAWS, values));
    check_near(values[0], number("kid", "all"), 1e-9);
    for (size_t i = 0; i < 3; i++)
        check_near(values[i + 1], entry("bootstrap_kid", "values_first_3", i), 1e-9);
    struct fdit_error_bar bar = fdit_bootstrap_bar(values + 1, DRAWS);
    check_near(bar.error, number("bootstrap_kid", "standard_error"), 1e-9);
    check_near(bar.low, number("bootstrap_kid", "percent_2.5"), 1e-9);
    check_near(bar.high, number("bootstrap_kid", "percent_97.5"), 1e-9);
    fdit_free(a);
    fdit_free(b);
    ck_assert(isnan(fdit_bootstrap_bar(values, 1).error));
    /* draws of one picture again and again have no value */
    double some[] = { NAN, 1, NAN, 3, NAN };
    bar = fdit_bootstrap_bar(some, 5);
    check_near(bar.error, sqrt(2), 1e-12);
    check_near(bar.low, 1.05, 1e-12);
    check_near(bar.high, 2.95, 1e-12);

    double mean[3]; /* every draw takes n pictures */
    ck_assert_ok(ctx, fdit_bootstrap_weights(ctx, 7, 0, 50, 2, &a));
    double one[50];
    for (size_t i = 0; i < 50; i++)
        one[i] = 1;
    fdit_bootstrap_means(one, a, 50, 2, mean);
    ck_assert(mean[0] == 1 && mean[1] == 1 && mean[2] == 1);
    fdit_free(a);
}
END_TEST

/* What the metrics allocate at the most. */
static size_t peak_of(unsigned metrics, int draws)
{
    struct fdit_eval_options o = { .draws = draws };
    struct fdit_eval_result r = { .real = { .points = real }, .generated = { .points = fake } };
    size_t before = fdit_mem_stats().bytes;
    fdit_mem_reset_peak();
    ck_assert_ok(ctx, fdit_eval_measure(ctx, NULL, &o, metrics, true, &r));
    ck_assert_uint_eq(r.n_values, metrics ? 1 : 0);
    return fdit_mem_stats().peak_bytes - before;
}

/* Pictures are drawn again only where a metric has an error bar, and only those of the set that it moves. */
START_TEST(draws_are_made_where_they_are_needed)
{
    enum { DRAWS = 10000 };
    const size_t of_a_picture = (DRAWS + 1) * sizeof(float);
    ck_assert_uint_eq(peak_of(0, DRAWS), 0);
    ck_assert_uint_lt(peak_of(1u << FDIT_METRIC_MEAN_DISTANCE, DRAWS), of_a_picture);
    size_t recall = peak_of(1u << FDIT_METRIC_RECALL, DRAWS);
    size_t density = peak_of(1u << FDIT_METRIC_DENSITY, DRAWS);
    ck_assert_uint_ge(recall, real.n * of_a_picture);
    ck_assert_uint_lt(recall, (real.n + fake.n) * of_a_picture);
    ck_assert_uint_ge(density, fake.n * of_a_picture);
    ck_assert_uint_lt(density, (real.n + fake.n) * of_a_picture);
    ck_assert_uint_ge(peak_of(1u << FDIT_METRIC_KID, DRAWS), (real.n + fake.n) * of_a_picture);
}
END_TEST

/* The same bits alone and on four threads. */
START_TEST(threads_change_no_bit)
{
    struct fdit_pool *pool = pool_of(4);
    struct fdit_mmd kid = fdit_mmd_kid();
    struct fdit_neighbours alone, shared;
    double a, b;
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &real, &fake, NULL, NULL, 0, &a));
    ck_assert_ok(ctx, fdit_mmd_compute(ctx, pool, &kid, &real, &fake, NULL, NULL, 0, &b));
    ck_assert(a == b);
    ck_assert_ok(ctx, fdit_neighbours_find(ctx, NULL, &real, &fake, 3, false, &alone));
    ck_assert_ok(ctx, fdit_neighbours_find(ctx, pool, &real, &fake, 3, false, &shared));
    ck_assert_mem_eq(alone.distance, shared.distance, fake.n * sizeof(double));
    ck_assert_mem_eq(alone.density, shared.density, fake.n * sizeof(double));
    fdit_neighbours_fini(&alone);
    fdit_neighbours_fini(&shared);
    fdit_pool_free(pool);
}
END_TEST

/* ------------------------------------------------------------------ neighbours */

static void check_neighbours(const struct fdit_points *x, const struct fdit_points *y, int k, bool strict,
                             const char *key)
{
    struct fdit_neighbours n;
    const json_t *want = json_object_get(json_object_get(wanted, "neighbours"), key);
    ck_assert_ok(ctx, fdit_neighbours_find(ctx, NULL, x, y, k, strict, &n));
    check_near(fdit_mean_known(n.precision, n.m), json_number_value(json_object_get(want, "precision")),
               1e-12);
    check_near(fdit_mean_known(n.recall, n.n), json_number_value(json_object_get(want, "recall")), 1e-12);
    check_near(fdit_mean_known(n.density, n.m), json_number_value(json_object_get(want, "density")), 1e-12);
    check_near(fdit_mean_known(n.coverage, n.n), json_number_value(json_object_get(want, "coverage")), 1e-12);
    fdit_neighbours_fini(&n);
}

START_TEST(neighbours_are_the_reference)
{
    check_neighbours(&real, &fake, 5, true, "k5_strict");
    check_neighbours(&real, &fake, 3, false, "k3_not_strict");
    check_neighbours(&tie_real, &tie_fake, 3, true, "ties_k3_strict");
    check_neighbours(&tie_real, &tie_fake, 3, false, "ties_k3_not_strict");
    struct fdit_neighbours n;
    struct fdit_points few = first(&real, 3);
    ck_assert_int_eq(fdit_neighbours_find(ctx, NULL, &few, &fake, 3, false, &n), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* A generated set with one real picture in it, and one that shows a single real picture again and again. */
START_TEST(copies_and_collapse_are_seen)
{
    float *x;
    struct fdit_neighbours n;
    ck_assert_ok(ctx, fdit_alloc(ctx, fake.n * fake.d, sizeof(float), &x));
    struct fdit_points copies = { fake.n, fake.d, x };
    memcpy(x, fake.x, fake.n * fake.d * sizeof(float));
    memcpy(x + 41 * fake.d, real.x + 17 * real.d, real.d * sizeof(float));
    ck_assert_ok(ctx, fdit_neighbours_find(ctx, NULL, &real, &copies, 3, false, &n));
    ck_assert_uint_eq(n.nearest[41], 17);
    ck_assert(n.distance[41] == 0);
    ck_assert(n.authentic[41] == 0);
    for (size_t i = 0; i < n.m; i++)
        ck_assert(i == 41 || n.distance[i] > 0);
    fdit_neighbours_fini(&n);

    for (size_t i = 0; i < fake.n; i++)
        memcpy(x + i * fake.d, real.x + 17 * real.d, real.d * sizeof(float));
    ck_assert_ok(ctx, fdit_neighbours_find(ctx, NULL, &real, &copies, 3, false, &n));
    check_near(fdit_mean_known(n.precision, n.m), 1, 0);
    check_near(fdit_mean_known(n.recall, n.n), 1 / 90.0, 1e-12);
    check_near(fdit_mean_known(n.authentic, n.m), 0, 0);
    fdit_neighbours_fini(&n);
    fdit_free(x);
}
END_TEST

/* ------------------------------------------------------------------ scores, classes */

START_TEST(inception_score_is_the_reference)
{
    const struct fdit_st_tensor *t = fdit_safetensors_find(sets, "logits");
    size_t n = (size_t)t->shape[0], k = (size_t)t->shape[1], count;
    int64_t *order = integers("is_order", &count);
    uint32_t places[64], *shuffled;
    float *logits;
    double mean, deviation;
    ck_assert_uint_eq(count, n);
    for (size_t i = 0; i < n; i++)
        places[i] = (uint32_t)order[i];
    ck_assert_ok(ctx, fdit_mmd_order(ctx, 0, n, &shuffled)); /* as torch-fidelity shuffles */
    ck_assert_int_eq(memcmp(shuffled, places, n * sizeof *places), 0);
    fdit_free(shuffled);
    ck_assert_ok(ctx, fdit_mmd_order(ctx, 1, n, &shuffled));
    ck_assert_int_ne(memcmp(shuffled, places, n * sizeof *places), 0);
    fdit_free(shuffled);
    ck_assert_ok(ctx, fdit_alloc(ctx, t->n, sizeof(float), &logits));
    ck_assert_ok(ctx, fdit_safetensors_f32(ctx, sets, t, 0, t->n, logits));
    ck_assert_ok(ctx, fdit_inception_score(ctx, logits, n, k, 10, places, &mean, &deviation));
    check_near(mean, entry("inception_score", "splits_10_shuffled", 0), 1e-9);
    check_near(deviation, entry("inception_score", "splits_10_shuffled", 1), 1e-9);
    ck_assert_ok(ctx, fdit_inception_score(ctx, logits, n, k, 1, NULL, &mean, &deviation));
    check_near(mean, entry("inception_score", "splits_1", 0), 1e-9);
    ck_assert_int_eq(fdit_inception_score(ctx, logits, 9, k, 10, NULL, &mean, &deviation),
                     FDIT_ERROR_ARGUMENT);
    fdit_free(order);
    fdit_free(logits);
}
END_TEST

START_TEST(hits_of_classes_and_groups)
{
    /* classes a b | c d: b is the likeliest class, but c and d together the likelier group */
    const float logits[] = { -9, 2.0f, 1.7f, 1.6f, /* of equals the first is likelier */ 1, 1, 0, 0 };
    const int32_t group_of[] = { 0, 0, 1, 1 }, classes[] = { 2, 1 }, groups[] = { 1, 0 };
    double hits[2];
    ck_assert_ok(ctx, fdit_top_hits(ctx, logits, 2, 4, NULL, 0, classes, 1, hits));
    ck_assert(hits[0] == 0 && hits[1] == 0);
    ck_assert_ok(ctx, fdit_top_hits(ctx, logits, 2, 4, NULL, 0, classes, 2, hits));
    ck_assert(hits[0] == 1 && hits[1] == 1);
    ck_assert_ok(ctx, fdit_top_hits(ctx, logits, 2, 4, group_of, 2, groups, 1, hits));
    ck_assert(hits[0] == 1 && hits[1] == 1);
}
END_TEST

/* measure of each class; NaN where a side has fewer than two pictures. */
static void per_class(bool kernel, double out[6])
{
    struct fdit_mmd kid = fdit_mmd_kid();
    size_t n, m;
    int64_t *a = integers("real_class", &n), *b = integers("fake_class", &m);
    float *x;
    ck_assert_ok(ctx, fdit_alloc(ctx, (n + m) * real.d, sizeof(float), &x));
    for (int64_t c = 0; c < 6; c++) {
        struct fdit_points p = { 0, real.d, x }, q = { 0, real.d, x + n * real.d };
        for (size_t i = 0; i < n; i++)
            if (a[i] == c)
                memcpy(x + p.n++ * real.d, real.x + i * real.d, real.d * sizeof(float));
        for (size_t i = 0; i < m; i++)
            if (b[i] == c)
                memcpy(x + (n + q.n++) * real.d, fake.x + i * real.d, real.d * sizeof(float));
        out[c] = NAN;
        if (p.n < 2 || q.n < 2)
            continue;
        if (kernel)
            ck_assert_ok(ctx, fdit_mmd_compute(ctx, NULL, &kid, &p, &q, NULL, NULL, 0, &out[c]));
        else
            ck_assert_ok(ctx, fdit_mean_distance(ctx, &p, &q, &out[c]));
    }
    fdit_free(a);
    fdit_free(b);
    fdit_free(x);
}

START_TEST(classes_groups_and_thirds)
{
    const char *const parts[] = { "per_class_mean_distance_unbiased", "per_class_kid" };
    const int32_t group_of[] = { 0, 0, 1, 1, 2, 2 };
    const size_t pictures[] = { 40, 7, 7, 30, 2, 90 };
    int32_t third[6];
    ck_assert_ok(ctx, fdit_thirds(ctx, pictures, 6, third));
    for (int kernel = 0; kernel < 2; kernel++) {
        double value[6], mean[3];
        per_class(kernel, value);
        for (size_t c = 0; c < 6; c++)
            check_near(value[c], entry(parts[kernel], "values", c), 1e-9);
        ck_assert_ok(ctx, fdit_mean_by_group(ctx, value, group_of, 6, 3, mean));
        for (size_t g = 0; g < 3; g++)
            check_near(mean[g], entry(parts[kernel], "per_rank", g), 1e-9);
        ck_assert_ok(ctx, fdit_mean_by_group(ctx, value, third, 6, 3, mean));
        for (size_t g = 0; g < 3; g++)
            check_near(mean[g], entry(parts[kernel], "head_middle_tail", g), 1e-9);
    }
    const size_t seven[] = { 1, 1, 1, 1, 1, 1, 1 }; /* 3, 2, 2 */
    int32_t parts_of_seven[7];
    ck_assert_ok(ctx, fdit_thirds(ctx, seven, 7, parts_of_seven));
    for (size_t i = 0; i < 7; i++)
        ck_assert_int_eq(parts_of_seven[i], i < 3 ? FDIT_HEAD : i < 5 ? FDIT_MIDDLE : FDIT_TAIL);
}
END_TEST

START_TEST(bad_features_are_refused)
{
    float x[] = { 0, 1, NAN, 2 };
    struct fdit_points p = { 2, 2, x };
    ck_assert_int_eq(fdit_points_check_finite(ctx, "x.npz", &p), FDIT_ERROR_NUMERIC);
    ck_assert_str_eq(fdit_context_message(ctx),
                     "x.npz: feature 0 of picture 1 is not a finite number; make the features again");
    struct fdit_points narrow = { 4, 1, x };
    struct fdit_mmd kid = fdit_mmd_kid();
    double got;
    ck_assert_int_eq(fdit_mmd_compute(ctx, NULL, &kid, &p, &narrow, NULL, NULL, 0, &got),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "the same feature network"));
}
END_TEST

/* ------------------------------------------------------------------ npz */

static struct fdit_npz *npz_of(const char *name)
{
    struct fdit_npz *z;
    char *path = test_fixture("eval/%s", name);
    ck_assert_ok(ctx, fdit_npz_open(ctx, path, &z));
    free(path);
    return z;
}

START_TEST(npz_statistics_are_read)
{
    const char *const files[] = { "statistics.npz", "statistics_deflated.npz" };
    struct fdit_moments m;
    double mu[12], sigma[144];
    ck_assert_ok(ctx, fdit_moments_of(ctx, NULL, &real, &m));
    for (size_t f = 0; f < 2; f++) {
        struct fdit_npz *z = npz_of(files[f]);
        const struct fdit_st_tensor *a = fdit_npz_find(z, "mu"), *b = fdit_npz_find(z, "sigma");
        ck_assert(a && a->rank == 1 && a->shape[0] == 12 && b && b->rank == 2 && b->shape[1] == 12);
        ck_assert_ptr_null(fdit_npz_find(z, "mu.npy"));
        ck_assert_ok(ctx, fdit_npz_f64(ctx, z, a, mu));
        ck_assert_ok(ctx, fdit_npz_f64(ctx, z, b, sigma));
        for (size_t i = 0; i < 144; i++)
            check_near(m.covariance[i], sigma[i], 1e-12);
        for (size_t i = 0; i < 12; i++)
            check_near(m.mean[i], mu[i], 1e-12);
        fdit_npz_close(z);
    }
    fdit_moments_fini(&m);
}
END_TEST

START_TEST(npz_orders_and_types)
{
    struct fdit_npz *z = npz_of("orders.npz");
    float x[6];
    double d[6];
    int64_t k[3];
    for (int f = 0; f < 2; f++) {
        const struct fdit_st_tensor *t = fdit_npz_find(z, f ? "f" : "c");
        ck_assert_ok(ctx, fdit_npz_f32(ctx, z, t, x));
        ck_assert_ok(ctx, fdit_npz_f64(ctx, z, t, d));
        for (int i = 0; i < 6; i++)
            ck_assert(x[i] == (float)i && d[i] == i);
    }
    ck_assert_ok(ctx, fdit_npz_i64(ctx, z, fdit_npz_find(z, "v2"), k));
    ck_assert(k[0] == -1 && k[1] == 2 && k[2] == (int64_t)1 << 40);
    ck_assert_ok(ctx, fdit_npz_f64(ctx, z, fdit_npz_find(z, "scalar"), d));
    ck_assert(d[0] == 2.5);
    ck_assert_int_eq(fdit_npz_f64(ctx, z, fdit_npz_find(z, "v2"), d), FDIT_ERROR_FORMAT);
    fdit_npz_close(z);
    char *path = test_fixture("eval/objects.npz");
    ck_assert_int_eq(fdit_npz_open(ctx, path, &z), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "features holds '|O'"));
    free(path);
}
END_TEST

/* Every file that is cut off, and every one with a byte changed, is refused or gives the same numbers. */
START_TEST(npz_damage_is_seen)
{
    const char *const files[] = { "statistics.npz", "statistics_deflated.npz" };
    for (size_t f = 0; f < 2; f++) {
        char *path = test_fixture("eval/%s", files[f]);
        uint8_t *bytes;
        size_t n;
        double right[144], got[144];
        struct fdit_npz *z = npz_of(files[f]);
        ck_assert_ok(ctx, fdit_npz_f64(ctx, z, fdit_npz_find(z, "sigma"), right));
        fdit_npz_close(z);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 20, &bytes, &n));
        for (size_t i = 0; i < n; i++) {
            ck_assert_int_ne(fdit_npz_open_memory(ctx, "cut", bytes, i, &z), FDIT_OK);
            bytes[i] ^= 0x41;
            if (fdit_npz_open_memory(ctx, "changed", bytes, n, &z) == FDIT_OK) {
                const struct fdit_st_tensor *t = fdit_npz_find(z, "sigma");
                if (t && t->n == 144 && fdit_npz_f64(ctx, z, t, got) == FDIT_OK)
                    for (size_t k = 0; k < 144; k++)
                        ck_assert(got[k] == right[k] || t->type != FDIT_ST_F64);
                fdit_npz_close(z);
            }
            bytes[i] ^= 0x41;
        }
        fdit_free(bytes);
        free(path);
    }
}
END_TEST

START_TEST(npz_written_is_read)
{
    char folder[] = "/tmp/fdit-npz-XXXXXX", path[64];
    const double mu[3] = { 1, -2, 1e300 };
    const float x[4] = { 0.5f, 1, 2, 3 };
    const int64_t labels[2] = { 7, -1 };
    const struct fdit_npz_array arrays[] = { { "mu", FDIT_ST_F64, 1, { 3 }, mu },
                                             { "features", FDIT_ST_F32, 2, { 2, 2 }, x },
                                             { "labels", FDIT_ST_I64, 1, { 2 }, labels } };
    struct fdit_npz *z;
    double d[3];
    float f[4];
    int64_t k[2];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.npz", folder);
    ck_assert_ok(ctx, fdit_npz_write(ctx, path, arrays, 3));
    ck_assert_ok(ctx, fdit_npz_open(ctx, path, &z));
    ck_assert_uint_eq(fdit_npz_count(z), 3);
    ck_assert_str_eq(fdit_npz_at(z, 1)->name, "features");
    ck_assert_ok(ctx, fdit_npz_f64(ctx, z, fdit_npz_find(z, "mu"), d));
    ck_assert_mem_eq(d, mu, sizeof mu);
    ck_assert_ok(ctx, fdit_npz_f32(ctx, z, fdit_npz_find(z, "features"), f));
    ck_assert_mem_eq(f, x, sizeof x);
    ck_assert_ok(ctx, fdit_npz_i64(ctx, z, fdit_npz_find(z, "labels"), k));
    ck_assert_mem_eq(k, labels, sizeof labels);
    fdit_npz_close(z);
    /* half of a file of statistics is not a matrix of features */
    const double sigma[4] = { 1, 0, 0, 1 };
    struct fdit_feature_set set;
    ck_assert_ok(
        ctx,
        fdit_npz_write(ctx, path, &(struct fdit_npz_array){ "sigma", FDIT_ST_F64, 2, { 2, 2 }, sigma }, 1));
    ck_assert_int_eq(fdit_feature_set_read(ctx, path, &set), FDIT_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "it has no mu"));
    fdit_feature_set_fini(&set);
    ck_assert_ok(ctx, fdit_file_remove(ctx, path));
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("eval");
    TCase *t = tcase_create("metrics");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, frechet_is_the_reference);
    tcase_add_test(t, frechet_of_endlessly_many);
    tcase_add_test(t, frechet_of_known_gaussians);
    tcase_add_test(t, frechet_of_drawn_gaussians);
    tcase_add_test(t, statistics_come_in_any_batches);
    tcase_add_test(t, kid_is_the_reference);
    tcase_add_test(t, cmmd_is_the_reference);
    tcase_add_test(t, error_bars_are_the_reference);
    tcase_add_test(t, draws_are_made_where_they_are_needed);
    tcase_add_test(t, threads_change_no_bit);
    tcase_add_test(t, neighbours_are_the_reference);
    tcase_add_test(t, copies_and_collapse_are_seen);
    tcase_add_test(t, inception_score_is_the_reference);
    tcase_add_test(t, hits_of_classes_and_groups);
    tcase_add_test(t, classes_groups_and_thirds);
    tcase_add_test(t, bad_features_are_refused);
    suite_add_tcase(suite, t);
    t = tcase_create("npz");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, npz_statistics_are_read);
    tcase_add_test(t, npz_orders_and_types);
    tcase_add_test(t, npz_damage_is_seen);
    tcase_add_test(t, npz_written_is_read);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
