/* SPDX-License-Identifier: Apache-2.0
 * test_ema_profile.c: averages of any length: widths, decays, coefficients and a reconstruction against the
 * fixtures' numbers (an independent computation), and what cannot be. */
#include "tables_fixture.h"
#include "model/ema_profile.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_to(double got, double wanted, double absolute)
{
    ck_assert_msg(fabs(got - wanted) <= 1e-9 * fabs(wanted) + absolute, "%.17g, wanted %.17g", got, wanted);
}

START_TEST(test_widths)
{
    const json_t *t = json_object_get(tables, "ema_gamma"), *decays = json_object_get(tables, "ema_beta");
    const json_t *widths = json_object_get(t, "width"), *steps = json_object_get(decays, "n");
    ck_assert_uint_gt(json_array_size(widths), 3);
    for (size_t i = 0; i < json_array_size(widths); i++) {
        close_to(fdit_ema_power(table_item(widths, i)), table_item(json_object_get(t, "gamma"), i), 0);
        close_to(fdit_ema_width(fdit_ema_power(table_item(widths, i))), table_item(widths, i), 0);
    }
    ck_assert_uint_gt(json_array_size(steps), 3);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const int64_t n = (int64_t)table_item(steps, i);
        close_to(fdit_ema_profile_decay(fdit_ema_power(0.05), n),
                 table_item(json_object_get(decays, "width_0.05"), i), 1e-15);
        close_to(fdit_ema_profile_decay(fdit_ema_power(0.1), n),
                 table_item(json_object_get(decays, "width_0.1"), i), 1e-15);
    }
}
END_TEST

START_TEST(test_coefficients)
{
    const json_t *t = json_object_get(tables, "ema_coefficients");
    const json_t *times = json_object_get(t, "times"), *widths = json_object_get(t, "widths");
    const size_t n = json_array_size(times);
    struct fdit_ema_profile stored[16];
    double got[16];
    int cases = 0;
    const char *key;
    json_t *wanted;
    ck_assert(n >= 4 && n <= 16);
    for (size_t i = 0; i < n; i++)
        stored[i] = (struct fdit_ema_profile){ table_item(times, i), fdit_ema_power(table_item(widths, i)) };
    json_object_foreach(json_object_get(tables, "ema_coefficients"), key, wanted)
    {
        double step, width;
        if (sscanf(key, "to_%lf_width_%lf", &step, &width) != 2)
            continue;
        cases++;
        ck_assert_ok(ctx, fdit_ema_coefficients(
                              ctx, stored, n, (struct fdit_ema_profile){ step, fdit_ema_power(width) }, got));
        for (size_t i = 0; i < n; i++)
            close_to(got[i], table_item(wanted, i), 1e-9);
    }
    ck_assert_int_ge(cases, 3);
}
END_TEST

/* What is stored is had exactly; twins get one coefficient; nothing can be had behind the last. */
START_TEST(test_special)
{
    const double p = fdit_ema_power(0.05), q = fdit_ema_power(0.1);
    const struct fdit_ema_profile stored[] = { { 100, p }, { 100, q }, { 200, p }, { 200, q }, { 200, q } };
    double got[5];
    ck_assert_ok(ctx, fdit_ema_coefficients(ctx, stored, 5, stored[2], got));
    for (int i = 0; i < 5; i++)
        close_to(got[i], i == 2, 1e-12);
    ck_assert_ok(ctx, fdit_ema_coefficients(ctx, stored, 5, stored[3], got));
    close_to(got[3], 1, 1e-12);
    ck_assert(got[4] == 0);
    ck_assert_int_eq(fdit_ema_coefficients(ctx, stored, 4, (struct fdit_ema_profile){ 201, p }, got),
                     FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_ema_coefficients(ctx, stored, 0, stored[0], got), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* Many stored averages: the combination has the length that was asked for. Over weights s -> s^k the average
 * of power g at t is t^k (g+1)/(g+k+1). */
START_TEST(test_many)
{
    enum { STEPS = 60 };
    struct fdit_ema_profile stored[2 * STEPS];
    double got[2 * STEPS];
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < 2; k++)
            stored[2 * i + k] =
                (struct fdit_ema_profile){ 1000.0 * (i + 1), fdit_ema_power(fdit_ema_widths[k]) };
    const double widths[] = { 0.03, 0.07, 0.15, 0.2 }, within[] = { 2e-3, 1e-6, 1e-4, 1e-3 };
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        const double g = fdit_ema_power(widths[w]), t = 1000.0 * STEPS;
        ck_assert_ok(ctx,
                     fdit_ema_coefficients(ctx, stored, 2 * STEPS, (struct fdit_ema_profile){ t, g }, got));
        for (int k = 1; k <= 2; k++) {
            double sum = 0;
            for (int i = 0; i < 2 * STEPS; i++)
                sum += got[i] * pow(stored[i].t / t, k) * (stored[i].power + 1) / (stored[i].power + k + 1);
            ck_assert_msg(fabs(sum / ((g + 1) / (g + k + 1)) - 1) < within[w], "width %g: %.9g, wanted %.9g",
                          widths[w], sum, (g + 1) / (g + k + 1));
        }
    }
}
END_TEST

/* A walk of weights: averaged step by step, stored four times, and put together again. */
START_TEST(test_walk)
{
    const json_t *walk = json_object_get(tables, "ema_walk"), *list = json_object_get(walk, "parameters");
    const json_t *kept = json_object_get(walk, "stored");
    const size_t steps = json_array_size(list) / 3, n = json_array_size(kept);
    struct fdit_ema_profile stored[16];
    double got[16], average[3];
    ck_assert(n >= 4 && n <= 16 && steps > 8);
    for (size_t k = 0; k < n; k++) {
        const json_t *row = json_array_get(kept, k);
        stored[k] = (struct fdit_ema_profile){ table_item(row, 0), fdit_ema_power(table_item(row, 1)) };
        for (size_t s = 1; s <= (size_t)stored[k].t; s++) {
            const double b = fdit_ema_profile_decay(stored[k].power, (int64_t)s);
            for (size_t i = 0; i < 3; i++)
                average[i] = (s > 1 ? b * average[i] : 0) + (1 - b) * table_item(list, 3 * (s - 1) + i);
        }
        for (size_t i = 0; i < 3; i++)
            close_to(average[i], table_item(row, 2 + i), 1e-8); /* the walk is rounded to nine digits */
    }
    static const double widths[] = { 0.05, 0.07, 0.15 };
    static const char *const names[] = { "reconstructed_0.05", "reconstructed_0.07", "reconstructed_0.15" };
    for (size_t w = 0; w < 3; w++) {
        const struct fdit_ema_profile wanted = { (double)steps, fdit_ema_power(widths[w]) };
        ck_assert_ok(ctx, fdit_ema_coefficients(ctx, stored, n, wanted, got));
        for (size_t i = 0; i < 3; i++) {
            double made = 0;
            for (size_t k = 0; k < n; k++)
                made += got[k] * table_item(json_array_get(kept, k), 2 + i);
            close_to(made, table_item(json_object_get(walk, names[w]), i), 1e-9);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ema_profile");
    TCase *tc = tcase_create("ema_profile");
    tcase_add_checked_fixture(tc, tables_open, tables_close);
    tcase_add_test(tc, test_widths);
    tcase_add_test(tc, test_coefficients);
    tcase_add_test(tc, test_special);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_walk);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
