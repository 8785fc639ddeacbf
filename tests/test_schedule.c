/* SPDX-License-Identifier: Apache-2.0
 * test_schedule.c: tables of the noise process and the fixed embeddings against tables.json. */
#include "core/mem.h"
#include "diffusion/schedule.h"
#include "harness.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static json_t *tables;

static void setup(void)
{
    char *path = test_fixture("tables.json");
    json_error_t error;
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
    tables = json_load_file(path, 0, &error);
    ck_assert_msg(tables != NULL, "%s:%d: %s", path, error.line, error.text);
    free(path);
}

static void teardown(void)
{
    json_decref(tables);
    fdit_context_free(ctx);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    ck_assert_msg(json_is_number(value), "no number %s", key);
    return json_number_value(value);
}

/* Relative to the larger of the wanted value and `floor`. */
static void close_to(const char *what, int i, double got, double wanted, double relative, double floor)
{
    double size = fabs(wanted) > floor ? fabs(wanted) : floor;
    ck_assert_msg(fabs(got - wanted) <= relative * size, "%s [%d]: %.17g, wanted %.17g", what, i, got,
                  wanted);
}

START_TEST(test_abar)
{
    double abar[FDIT_TRAIN_STEPS];
    const char *key;
    json_t *value;
    int n = 0;
    fdit_schedule_abar(abar);
    json_object_foreach(json_object_get(tables, "abar"), key, value)
    {
        int i = atoi(key);
        close_to("abar", i, abar[i], json_number_value(value), 1e-15, 0);
        n++;
    }
    ck_assert_int_ge(n, 2);
}
END_TEST

START_TEST(test_respaced_times)
{
    const char *key;
    json_t *value;
    int n = 0;
    json_object_foreach(json_object_get(tables, "respaced_times"), key, value)
    {
        int32_t t[FDIT_TRAIN_STEPS];
        int steps = atoi(key);
        ck_assert_uint_eq(json_array_size(value), (size_t)steps);
        fdit_schedule_respace(steps, t);
        for (int i = 0; i < steps; i++)
            ck_assert_msg(t[i] == json_integer_value(json_array_get(value, (size_t)i)), "%d steps, [%d]: %d",
                          steps, i, (int)t[i]);
        n++;
    }
    ck_assert_int_ge(n, 3);
}
END_TEST

/* 166.5 and 832.5 go to the even number; with 21 steps the middle, 499.5, is a little less than
 * that, because the stride is added up and not multiplied. */
START_TEST(test_respacing_ties)
{
    static const int32_t seven[7] = { 0, 166, 333, 500, 666, 832, 999 };
    int32_t t[21];
    fdit_schedule_respace(7, t);
    ck_assert_mem_eq(t, seven, sizeof seven);
    fdit_schedule_respace(21, t);
    ck_assert_int_eq(t[10], 499);
}
END_TEST

/* Every chain is strictly rising from 0 to 999, so that no beta is zero. */
START_TEST(test_respacing_of_every_length)
{
    int32_t t[FDIT_TRAIN_STEPS];
    for (int steps = 2; steps <= FDIT_TRAIN_STEPS; steps++) {
        fdit_schedule_respace(steps, t);
        ck_assert_int_eq(t[0], 0);
        ck_assert_int_eq(t[steps - 1], FDIT_TRAIN_STEPS - 1);
        for (int i = 1; i < steps; i++)
            ck_assert_msg(t[i] > t[i - 1], "%d steps: time %d twice", steps, (int)t[i]);
    }
}
END_TEST

START_TEST(test_chains)
{
    const char *name, *key;
    json_t *chain, *row;
    int n = 0;
    json_object_foreach(tables, name, chain)
    {
        struct fdit_schedule *s;
        if (strncmp(name, "chain_", 6) != 0)
            continue;
        ck_assert_ok(ctx, fdit_schedule_new(ctx, atoi(name + 6), &s));
        ck_assert_int_eq(s->steps, atoi(name + 6));
        json_object_foreach(chain, key, row)
        {
            int i = atoi(key);
            ck_assert_int_eq(s->t[i], (int)number(row, "t"));
            /* 1 - abar/abar_prev loses digits where beta is small: 2e-16 / 1e-4 */
            close_to("beta", i, s->beta[i], number(row, "beta"), 1e-14, 0.1);
            close_to("abar", i, s->abar[i], number(row, "abar"), 1e-15, 0);
            close_to("abar_prev", i, s->abar_prev[i], number(row, "abar_prev"), 1e-15, 0);
            close_to("log_beta", i, s->log_beta[i], number(row, "log_beta"), 1e-12, 0);
            close_to("log_var", i, s->log_var[i], number(row, "clipped_log_var"), 1e-12, 0);
            close_to("c_x0", i, s->c_x0[i], number(row, "coef_x0"), 1e-11, 0);
            close_to("c_xt", i, s->c_xt[i], number(row, "coef_xt"), 1e-11, 0);
            n++;
        }
        fdit_schedule_free(s);
    }
    ck_assert_int_ge(n, 6);
}
END_TEST

START_TEST(test_refused_lengths)
{
    const int lengths[] = { -1, 0, 1, FDIT_TRAIN_STEPS + 1 };
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        struct fdit_schedule *s = NULL;
        ck_assert_int_eq(fdit_schedule_new(ctx, lengths[k], &s), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(s);
        ck_assert_str_ne(fdit_context_message(ctx), "");
    }
    fdit_schedule_free(NULL);
}
END_TEST

START_TEST(test_short_memory)
{
    const struct fdit_mem_stats before = fdit_mem_stats();
    struct fdit_schedule *s = NULL;
    float pos[4 * 4];
    int failures = 0;
    for (uint64_t n = 1; n < 20; n++) {
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_schedule_new(ctx, 50, &s);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_ptr_null(s);
        failures++;
    }
    ck_assert_int_ge(failures, 3);
    fdit_schedule_free(s);
    fdit_mem_fail_at(1);
    ck_assert_int_eq(fdit_pos_embed(ctx, 4, 2, pos), FDIT_ERROR_MEMORY);
    fdit_mem_fail_at(0);
    ck_assert_ok(ctx, fdit_pos_embed(ctx, 4, 2, pos));
    ck_assert_uint_eq(fdit_mem_stats().count, before.count);
}
END_TEST

/* The loss coefficients describe the same means as the definition: with x_t from x0 and noise, the
 * true and the predicted posterior mean differ by mean_eps (eps - noise). */
START_TEST(test_loss_coefficients)
{
    struct fdit_schedule *s;
    struct test_rng random = test_rng_new("loss coefficients");
    ck_assert_ok(ctx, fdit_schedule_new(ctx, FDIT_TRAIN_STEPS, &s));
    for (int i = 0; i < s->steps; i++) {
        struct fdit_loss_coef c;
        float diffuse[2];
        double x0 = (double)test_normal(&random), noise = (double)test_normal(&random);
        double eps = (double)test_normal(&random);
        double x = sqrt(s->abar[i]) * x0 + sqrt(1 - s->abar[i]) * noise;
        double x0_pred = (x - sqrt(1 - s->abar[i]) * eps) / sqrt(s->abar[i]);
        double m1 = s->c_x0[i] * x0 + s->c_xt[i] * x, m2 = s->c_x0[i] * x0_pred + s->c_xt[i] * x;

        fdit_schedule_loss_coef(s, i, 1.0 / 3, &c);
        close_to("mean difference", i, (double)c.mean_eps * (eps - noise), m1 - m2, 1e-5, 1e-4);
        ck_assert(c.is_first == (i == 0 ? 1.0f : 0.0f));
        ck_assert(c.log_beta == (float)s->log_beta[i] && c.log_var == (float)s->log_var[i]);
        ck_assert(c.scale == (float)(1.0 / 3));
        fdit_schedule_diffuse_coef(s, i, diffuse);
        close_to("x_t", i, (double)diffuse[0] * x0 + (double)diffuse[1] * noise, x, 1e-6, 1);
        ck_assert(c.log_var <= c.log_beta || i == 0);
    }
    fdit_schedule_free(s);
}
END_TEST

START_TEST(test_time_frequencies_are_exact)
{
    float got[FDIT_TIME_FEATURES / 2];
    const json_t *want = json_object_get(tables, "timestep_frequencies_float32");
    fdit_time_frequencies(got);
    ck_assert_uint_eq(json_array_size(want), FDIT_TIME_FEATURES / 2);
    for (size_t i = 0; i < FDIT_TIME_FEATURES / 2; i++) {
        float wanted = (float)json_number_value(json_array_get(want, i));
        ck_assert_msg(got[i] == wanted, "frequency %zu: %a, wanted %a", i, (double)got[i], (double)wanted);
    }
}
END_TEST

START_TEST(test_time_features)
{
    const char *name, *key;
    json_t *features, *value;
    int n = 0;
    json_object_foreach(tables, name, features)
    {
        float got[FDIT_TIME_FEATURES];
        if (strncmp(name, "timestep_features_t", 19) != 0)
            continue;
        fdit_time_features(atoi(name + 19), got);
        json_object_foreach(features, key, value)
        {
            int i = atoi(key);
            close_to(name, i, (double)got[i], json_number_value(value), 6e-8, 1);
            n++;
        }
    }
    ck_assert_int_ge(n, 20);
}
END_TEST

START_TEST(test_pos_embed)
{
    json_t *one = json_object_get(tables, "pos_embed_width1152_grid16_row3_col5");
    const json_t *small = json_object_get(tables, "pos_embed_this_model_token1_float32");
    const char *key;
    json_t *value;
    float *pos = malloc((size_t)16 * 16 * 1152 * sizeof *pos);
    ck_assert_ptr_nonnull(pos);

    ck_assert_ok(ctx, fdit_pos_embed(ctx, 1152, 16, pos));
    ck_assert_uint_ge(json_object_size(one), 6);
    json_object_foreach(one, key, value)
    {
        size_t i = (size_t)atoi(key);
        float got = pos[(3 * 16 + 5) * 1152 + i];
        close_to("width 1152", (int)i, (double)got, json_number_value(value), 6e-8, 1);
    }

    const int width = (int)json_array_size(small);
    ck_assert_int_ge(width, 4);
    ck_assert_int_le(width, 1152);
    ck_assert_ok(ctx, fdit_pos_embed(ctx, width, 4, pos));
    for (int i = 0; i < width; i++)
        close_to("token 1", i, (double)pos[width + i], json_number_value(json_array_get(small, (size_t)i)),
                 1.2e-7, 1e-3);
    free(pos);
}
END_TEST

START_TEST(test_pos_embed_refuses)
{
    float pos[8];
    ck_assert_int_eq(fdit_pos_embed(ctx, 6, 1, pos), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pos_embed(ctx, 0, 1, pos), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pos_embed(ctx, -4, 1, pos), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_pos_embed(ctx, 4, 0, pos), FDIT_ERROR_ARGUMENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *chain = tcase_create("chain");
    tcase_add_checked_fixture(chain, setup, teardown);
    tcase_add_test(chain, test_abar);
    tcase_add_test(chain, test_respaced_times);
    tcase_add_test(chain, test_respacing_ties);
    tcase_add_test(chain, test_respacing_of_every_length);
    tcase_add_test(chain, test_chains);
    tcase_add_test(chain, test_refused_lengths);
    tcase_add_test(chain, test_short_memory);
    tcase_add_test(chain, test_loss_coefficients);
    suite_add_tcase(suite, chain);
    TCase *embed = tcase_create("embeddings");
    tcase_add_checked_fixture(embed, setup, teardown);
    tcase_add_test(embed, test_time_frequencies_are_exact);
    tcase_add_test(embed, test_time_features);
    tcase_add_test(embed, test_pos_embed);
    tcase_add_test(embed, test_pos_embed_refuses);
    suite_add_tcase(suite, embed);
    return test_run(suite);
}
