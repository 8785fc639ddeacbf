/* SPDX-License-Identifier: Apache-2.0
 * test_weighting.c: loss weights and densities of noise times against the fixtures' numbers, what objectives
 * make of them, and what is refused. */
#include "diffusion/objective.h"
#include "tables_fixture.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_to(double got, double wanted)
{
    ck_assert_msg(fabs(got - wanted) <= 1e-9 * fabs(wanted) + 1e-15, "%.17g, wanted %.17g", got, wanted);
}

static struct fdit_loss_weight weight_of(const char *text)
{
    struct fdit_loss_weight w;
    ck_assert_ok(ctx, fdit_loss_weight_parse(ctx, text, &w));
    return w;
}

static struct fdit_time_density density_of(const char *text)
{
    struct fdit_time_density d;
    ck_assert_ok(ctx, fdit_time_density_parse(ctx, text, &d));
    return d;
}

START_TEST(test_weights)
{
    const json_t *t = json_object_get(tables, "loss_weights"),
                 *flow = json_object_get(tables, "flow_min_snr_5");
    const struct fdit_loss_weight five = weight_of("min-snr"), one = weight_of("min-snr:1"),
                                  uniform = weight_of("uniform");
    double abar[FDIT_TRAIN_STEPS];
    size_t n = json_array_size(json_object_get(t, "t")), m = json_array_size(json_object_get(flow, "u"));
    fdit_schedule_abar(abar);
    ck_assert_uint_gt(n, 3);
    ck_assert_uint_gt(m, 3);
    for (size_t i = 0; i < n; i++) {
        const double a = abar[(int)table_item(json_object_get(t, "t"), i)];
        close_to(fdit_loss_weight_noise(&five, a), table_item(json_object_get(t, "min_snr_5_eps"), i));
        close_to(fdit_loss_weight_noise(&one, a), table_item(json_object_get(t, "min_snr_1_eps"), i));
        ck_assert(fdit_loss_weight_noise(&uniform, a) == 1);
    }
    for (size_t i = 0; i < m; i++) {
        const double u = table_item(json_object_get(flow, "u"), i);
        close_to(fdit_loss_weight_velocity(&five, u), table_item(json_object_get(flow, "weight"), i));
        ck_assert(fdit_loss_weight_velocity(&uniform, u) == 1);
    }
}
END_TEST

START_TEST(test_densities)
{
    static const char *const names[][3] = { { "logit-normal", "z", "logit_normal_0_1" },
                                            { "logit-normal:-0.8,0.8", "z", "logit_normal_-0.8_0.8" },
                                            { "shift:0.3", "u", "shift_0.3_of_u" },
                                            { "shift:1", "u", "shift_1_of_u" },
                                            { "shift:3", "u", "shift_3_of_u" },
                                            { "uniform", "u", "u" } };
    const json_t *t = json_object_get(tables, "time_densities");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const struct fdit_time_density d = density_of(names[k][0]);
        const json_t *x = json_object_get(t, names[k][1]), *wanted = json_object_get(t, names[k][2]);
        ck_assert_uint_gt(json_array_size(x), 3);
        for (size_t i = 0; i < json_array_size(x); i++)
            close_to(fdit_time_density_at(&d, *names[k][1] == 'z' ? (double)(float)table_item(x, i)
                                                                  : table_item(x, i)),
                     table_item(wanted, i)); /* z is of float32 numbers */
    }
}
END_TEST

/* The error of the noise is weighed, the variance's bound is not. */
START_TEST(test_coefficients)
{
    struct fdit_schedule *s = NULL;
    struct fdit_loss_coef plain, heavy;
    struct fdit_velocity_coef v;
    const struct fdit_loss_weight uniform = weight_of("uniform"), five = weight_of("min-snr:5");
    const struct fdit_objective *ddpm = fdit_objective_find("ddpm"), *sit = fdit_objective_find("flow-sit");
    float out[FDIT_LOSS_COEFS];
    ck_assert_ok(ctx, fdit_schedule_new(ctx, FDIT_TRAIN_STEPS, &s));
    ddpm->coefficients(ddpm, s, 100, 0.25, &uniform, out);
    memcpy(&plain, out, sizeof plain);
    ddpm->coefficients(ddpm, s, 100, 0.25, &five, out);
    memcpy(&heavy, out, sizeof heavy);
    ck_assert(plain.scale == 0.25f && plain.scale_vb == 0.25f && heavy.scale_vb == 0.25f);
    ck_assert_double_eq_tol((double)heavy.scale, 0.25 * 0.585708508, 1e-7);
    sit->coefficients(sit, s, 0.8, 0.5, &five, out); /* SiT's time is 1 - u */
    memcpy(&v, out, sizeof v);
    ck_assert_double_eq_tol((double)v.scale, 0.5 * 5 * 0.04, 1e-7);
    fdit_schedule_free(s);
}
END_TEST

/* The share of samples whose noise time is below `u`. */
static double below(const struct fdit_objective *o, const struct fdit_time_density *d, double u)
{
    enum { N = 20000 };
    int n = 0;
    for (uint32_t i = 0; i < N; i++) {
        const struct fdit_rng rng = { .seed = 5, .stream = i, .domain = FDIT_RNG_TIME };
        const bool whole = o->process == FDIT_PROCESS_CHAIN;
        const double t = o->draw(o, d, &rng), most = whole ? FDIT_TRAIN_STEPS - 1 : 1;
        ck_assert(t >= 0 && t <= most && (!whole || t == floor(t)));
        if (d->kind == FDIT_TIMES_UNIFORM && whole)
            ck_assert(t == fdit_rng_below(&rng, 0, FDIT_TRAIN_STEPS));
        n += (o->reversed ? 1 - t : whole ? t / FDIT_TRAIN_STEPS : t) < u;
    }
    return (double)n / N;
}

/* Distribution functions at three places; of 20,000 samples the spread is 0.0035 at most. */
START_TEST(test_draws)
{
    static const char *const objectives[] = { "ddpm", "flow-sit", "flow-repa" };
    const struct fdit_time_density uniform = density_of("uniform"), shift = density_of("shift:3"),
                                   middle = density_of("logit-normal");
    for (int k = 0; k < 3; k++) {
        const struct fdit_objective *o = fdit_objective_find(objectives[k]);
        for (double u = 0.25; u < 1; u += 0.25) {
            const double v = u / (3 - 2 * u), z = log(u / (1 - u));
            ck_assert_double_eq_tol(below(o, &uniform, u), u, 0.016);
            ck_assert_double_eq_tol(below(o, &shift, u), v, 0.016);
            ck_assert_double_eq_tol(below(o, &middle, u), 0.5 * erfc(-z / sqrt(2)), 0.016);
        }
    }
}
END_TEST

START_TEST(test_texts)
{
    static const char *const densities[] = { "logit",
                                             "logit-normal:",
                                             "logit-normal:1",
                                             "logit-normal:0,0",
                                             "logit-normal:nan,1",
                                             "logit-normal:0,-1",
                                             "shift",
                                             "shift:",
                                             "shift:0",
                                             "shift:-3",
                                             "shift:1e9",
                                             "" };
    static const char *const weights[] = { "min-snr:0", "min-snr:", "min-snr:x", "min-snr:-5", "minsnr", "" };
    static const char *const kept[] = { "uniform", "logit-normal:0,1", "logit-normal:-0.8,0.8", "shift:0.3" };
    struct fdit_time_density d;
    struct fdit_loss_weight w;
    char text[40];
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        ck_assert_int_eq(fdit_time_density_parse(ctx, densities[i], &d), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "--time-density"));
    }
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        ck_assert_int_eq(fdit_loss_weight_parse(ctx, weights[i], &w), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "--loss-weight"));
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct fdit_time_density first = density_of(kept[i]), again;
        fdit_time_density_format(&first, text);
        again = density_of(text);
        ck_assert(first.kind == again.kind && first.a == again.a && first.b == again.b);
    }
    d = density_of("logit-normal:0.123456789,1.23456789");
    fdit_time_density_format(&d, text);
    ck_assert(density_of(text).a == d.a && density_of(text).b == d.b);
    w = weight_of("min-snr:4.3");
    fdit_loss_weight_format(&w, text);
    ck_assert(weight_of(text).most == 4.3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("weighting");
    TCase *tc = tcase_create("weighting");
    tcase_add_checked_fixture(tc, tables_open, tables_close);
    tcase_add_test(tc, test_weights);
    tcase_add_test(tc, test_densities);
    tcase_add_test(tc, test_coefficients);
    tcase_add_test(tc, test_draws);
    tcase_add_test(tc, test_texts);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
