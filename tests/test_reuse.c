/* SPDX-License-Identifier: Apache-2.0
 * Fewer evaluations for a picture: UniPC and kept branches against the PyTorch fixtures after each stored
 * step, which steps are full, and that neither batch nor guide changes a bit. */
#include "core/mem.h"
#include "format/json.h"
#include "model_fixture.h"
#include "sample/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *dev;
static struct fdit_safetensors *st;
static json_t *tolerances;

static void agree(const char *key, const float *got, const float *wanted, size_t n)
{
    const json_t *row = json_object_get(tolerances, key);
    double largest = test_largest(wanted, n);
    ck_assert_msg(row != NULL, "no tolerance \"%s\"", key);
    double absolute = json_number_value(json_object_get(row, "absolute"));
    double relative = json_number_value(json_object_get(row, "relative"));
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)wanted[i]);
        ck_assert_msg(d <= absolute && d <= relative * largest, "%s: element %zu is %.9g, wanted %.9g", key,
                      i, (double)got[i], (double)wanted[i]);
    }
}

static struct fdit_model *new_model(const struct fdit_generator_options *o, bool other,
                                    struct fdit_checkpoint **cp)
{
    struct fdit_model_options options = { .batch = fdit_generator_model_batch(o, !other),
                                          .conditions = fdit_generator_conditions(o, !other),
                                          .kept_branches = fdit_generator_branches(o) };
    struct fdit_model_config config;
    struct fdit_model *m = NULL;
    char *path = test_fixture("methods/student.safetensors");
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_RAW, cp));
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, *cp, "48,2,3,2", &config));
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m));
    free(path);
    return m;
}

/* ------------------------------------------------------------------ against the fixtures */

struct comparing {
    struct fdit_generator *g;
    const char *name;
    int n, compared;
};

static void compare_step(void *user, int done, int steps)
{
    struct comparing *c = user;
    char tensor[96], key[128];
    size_t n;
    (void)steps;
    snprintf(tensor, sizeof tensor, "%s.x%d", c->name, done);
    if (!fdit_safetensors_find(st, tensor))
        return;
    float *wanted = test_floats(ctx, st, tensor, &n), *got = calloc(n, sizeof *got);
    ck_assert_ok(ctx, fdit_generator_read(ctx, c->g, c->n, got));
    snprintf(key, sizeof key, "sampling2.safetensors: %s, after %d steps", c->name, done);
    agree(key, got, wanted, n);
    fdit_free(wanted);
    free(got);
    c->compared++;
}

static const struct {
    const char *name, *sampler;
    int steps;
    struct fdit_reuse_options reuse;
} runs[] = {
    { "unipc8_w3_ch3", "unipc", 8, { 0 } },
    { "unipc16_w3_ch3", "unipc", 16, { 0 } },
    { "ddpm20_fora0_interval3_w3_ch3", "ddpm", 20, { 3, 0, FDIT_REUSE_FORA } },
    { "ddim20_taylor0_interval4_w3_ch3", "ddim", 20, { 4, 0, FDIT_REUSE_TAYLOR } },
    { "ddim20_taylor1_interval3_w3_ch3", "ddim", 20, { 3, 1, FDIT_REUSE_TAYLOR } },
    { "ddpm20_taylor2_interval4_w3_ch3", "ddpm", 20, { 4, 2, FDIT_REUSE_TAYLOR } },
    { "ddim20_taylor1_interval1_w3_ch3", "ddim", 20, { 1, 1, FDIT_REUSE_TAYLOR } },
};
enum { N_RUNS = sizeof runs / sizeof *runs };

static void check_run(int k)
{
    struct comparing c = { .name = runs[k].name };
    struct fdit_generator_options o = { .steps = runs[k].steps,
                                        .guided = true,
                                        .guidance = { .w = 3, .channels = 3, .t_high = 999 },
                                        .reuse = runs[k].reuse,
                                        .on_step = compare_step,
                                        .user = &c };
    struct test_noise s = { .pictures = 0 };
    struct fdit_noise noise = { &s, test_fill_noise };
    struct fdit_picture_spec specs[2];
    struct fdit_checkpoint *cp;
    size_t n;
    int32_t *y = test_ints(ctx, st, "y", &s.pictures), *guide = test_ints(ctx, st, "guide_rows", NULL);
    float *start = test_floats(ctx, st, "x_start", &n), *z = test_floats(ctx, st, "noise", NULL);
    float *x = calloc(n, sizeof *x);
    s.start = start;
    s.noise = z;
    ck_assert_uint_eq(s.pictures, 2);
    for (size_t i = 0; i < s.pictures; i++)
        specs[i] = (struct fdit_picture_spec){ .class_id = y[i], .row = y[i], .guide_row = guide[i] };
    c.n = o.batch = (int)s.pictures;
    ck_assert_ok(ctx, fdit_sampler_parse(ctx, runs[k].sampler, &o.sampler));
    struct fdit_model *m = new_model(&o, false, &cp);
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, NULL, &o, &c.g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_generator_bind(c.g);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    ck_assert_ok(ctx, fdit_generator_run_with(ctx, c.g, specs, c.n, &noise, x));
    ck_assert_msg(c.compared == 5, "%s: %d steps compared", c.name, c.compared);
    o.reuse = (struct fdit_reuse_options){ .interval = 2, .order = FDIT_MOST_BRANCHES - 1 };
    if (m->options.kept_branches < FDIT_MOST_BRANCHES) { /* no room was planned for it */
        ck_assert_int_eq(fdit_generator_set(ctx, c.g, &o), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "results of 3 steps"));
    }
    fdit_generator_free(c.g);
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
    fdit_free(y);
    fdit_free(guide);
    fdit_free(start);
    fdit_free(z);
    free(x);
}

static void on_devices(void (*check)(void))
{
    const char *devices[8];
    int n = test_devices(devices), used = 0;
    for (int d = 0; d < n; d++) {
        if (strchr(devices[d], '+')) /* the fixtures' tolerances are those of f32 */
            continue;
        dev = test_open_device(ctx, devices[d], 2);
        check();
        fdit_device_close(dev);
        used++;
    }
    ck_assert_int_gt(used, 0);
}

static void check_runs(void)
{
    for (int k = 0; k < N_RUNS; k++)
        check_run(k);
}

START_TEST(test_fixtures)
{
    on_devices(check_runs);
}
END_TEST

/* ------------------------------------------------------------------ same bits */

enum { PICTURES = 3 };

/* `count` pictures from number `first` on, a guide of its own or the model itself, guidance from the
 * middle on. */
static size_t draw(int first, int count, bool other, const struct fdit_reuse_options *reuse, float **x)
{
    struct fdit_generator_options o = { .sampler = { .kind = FDIT_SAMPLER_DDIM },
                                        .steps = 12,
                                        .guided = true,
                                        .batch = count,
                                        .guidance = { .w = 3, .t_low = 100, .t_high = 600 },
                                        .reuse = *reuse };
    struct fdit_picture_spec specs[PICTURES];
    struct fdit_checkpoint *cp[2] = { NULL, NULL };
    struct fdit_generator *g = NULL;
    struct fdit_model *m = new_model(&o, other, &cp[0]), *guide = other ? new_model(&o, true, &cp[1]) : NULL;
    const size_t picture =
        (size_t)m->config.channels * (size_t)m->config.input_size * (size_t)m->config.input_size;
    *x = calloc((size_t)count * picture, sizeof **x);
    for (int i = 0; i < count; i++)
        specs[i] = (struct fdit_picture_spec){ .seed = (uint64_t)(first + i),
                                               .class_id = first + i,
                                               .row = first + i,
                                               .guide_row = 10 + (first + i) % 2 };
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, guide, &o, &g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp[0], 1, false, NULL));
    if (guide) {
        ck_assert_ok(ctx, fdit_model_allocate(ctx, guide));
        ck_assert_ok(ctx, fdit_model_load(ctx, guide, &cp[1], 1, false, NULL));
    }
    fdit_generator_bind(g);
    for (int i = 0; i < 2; i++) /* nothing of a run is left for the next */
        ck_assert_ok(ctx, fdit_generator_run(ctx, g, specs, count, *x));
    fdit_generator_free(g);
    fdit_model_free(m);
    fdit_model_free(guide);
    fdit_checkpoint_close(cp[0]);
    if (cp[1])
        fdit_checkpoint_close(cp[1]);
    return picture;
}

static void check_bits(void)
{
    static const struct fdit_reuse_options reuse[] = { { 3, 2, FDIT_REUSE_ENDS },
                                                       { 4, 1, FDIT_REUSE_TAYLOR },
                                                       { 2, 0, FDIT_REUSE_FORA } };
    static const struct fdit_reuse_options none = { 1, 2, FDIT_REUSE_ENDS };
    float *all, *one, *plain;
    draw(0, PICTURES, false, &none, &plain);
    for (size_t k = 0; k < sizeof reuse / sizeof *reuse; k++) {
        size_t n = draw(0, PICTURES, false, &reuse[k], &all);
        ck_assert_msg(memcmp(all, plain, PICTURES * n * sizeof *all), "nothing is taken from earlier steps");
        for (int i = 0; i < PICTURES; i++) {
            draw(i, 1, false, &reuse[k], &one);
            ck_assert_msg(!memcmp(one, all + (size_t)i * n, n * sizeof *one),
                          "case %zu, picture %d: the batch changes bits", k, i);
            free(one);
        }
        draw(0, PICTURES, true, &reuse[k], &one);
        ck_assert_msg(!memcmp(one, all, PICTURES * n * sizeof *one),
                      "case %zu: another model that is the same", k);
        free(one);
        free(all);
    }
    free(plain);
}

START_TEST(test_same_bits)
{
    on_devices(check_bits);
}
END_TEST

/* ------------------------------------------------------------------ the rules */

static void check_full(const json_t *table, const char *key, const struct fdit_reuse_options *o)
{
    const json_t *wanted = json_object_get(table, key);
    struct fdit_reuse r;
    struct fdit_branch_use use;
    size_t at = 0;
    ck_assert_msg(json_array_size(wanted) > 0, "no table %s", key);
    fdit_reuse_begin(&r, o, 20);
    for (int k = 0; k < 20; k++)
        if (fdit_reuse_step(&r, k, false, &use))
            ck_assert_int_eq(json_integer_value(json_array_get(wanted, at++)), 19 - k);
    ck_assert_uint_eq(at, json_array_size(wanted));
}

START_TEST(test_full_steps)
{
    json_t *root = test_json(ctx, "methods/tables2.json");
    const json_t *table = json_object_get(root, "full_steps_of_20");
    check_full(table, "taylor0_4", &(struct fdit_reuse_options){ 4, 0, FDIT_REUSE_TAYLOR });
    check_full(table, "taylor1_3", &(struct fdit_reuse_options){ 3, 1, FDIT_REUSE_TAYLOR });
    check_full(table, "taylor2_4", &(struct fdit_reuse_options){ 4, 2, FDIT_REUSE_TAYLOR });
    check_full(table, "taylor1_1", &(struct fdit_reuse_options){ 1, 1, FDIT_REUSE_TAYLOR });
    json_decref(root);
    struct fdit_reuse r;
    struct fdit_branch_use use;
    static const int ends[] = { 9, 8, 5, 2, 0 };
    static const int fora[] = { 9, 6, 3, 0 };
    for (int rule = 0; rule < 2; rule++) {
        const int *wanted = rule ? fora : ends;
        fdit_reuse_begin(&r, &(struct fdit_reuse_options){ 3, 0, rule ? FDIT_REUSE_FORA : FDIT_REUSE_ENDS },
                         10);
        int at = 0;
        for (int k = 0; k < 10; k++)
            if (fdit_reuse_step(&r, k, false, &use))
                ck_assert_int_eq(wanted[at++], 9 - k);
        ck_assert_int_eq(at, rule ? 4 : 5);
    }
}
END_TEST

/* Constants and straight lines in the number of the step come out exactly (of order 2 the rule's differences
 * are backward ones, so that a parabola does not: the fixtures check it); places are used in turn. */
START_TEST(test_polynomials)
{
    for (int order = 0; order < FDIT_MOST_BRANCHES; order++) {
        struct fdit_reuse r;
        struct fdit_branch_use use;
        double kept[FDIT_MOST_BRANCHES] = { 0 };
        int full = 0, taken = 0;
        fdit_reuse_begin(&r, &(struct fdit_reuse_options){ 3, order, FDIT_REUSE_FORA }, 31);
        for (int k = 0; k < 31; k++) {
            const double i = 30 - k, value = order == 0 ? 7 : 2 - 3 * i;
            if (fdit_reuse_step(&r, k, k == 9, &use)) {
                ck_assert_int_le(use.store, order);
                kept[use.store] = value;
                full++;
                continue;
            }
            ck_assert_int_le(use.n, order + 1);
            ck_assert(k < 9 || k > 11 || use.n == 1); /* anew: what was kept is not looked at */
            double sum = 0, factors = 0;
            for (int j = 0; j < use.n; j++) {
                sum += (double)use.factor[j] * kept[use.place[j]];
                factors += (double)use.factor[j];
            }
            ck_assert_double_eq_tol(factors, 1, 1e-6);
            if (order < 2 && use.n == order + 1) {
                ck_assert_double_eq_tol(sum, value, 1e-4);
                taken++;
            }
        }
        ck_assert_int_eq(full, 11);
        ck_assert(order == 2 || taken > 10);
    }
}
END_TEST

/* The worked example of the rule, and the table. */
START_TEST(test_zero_star)
{
    const float cond[] = { 1, 2, 2 };
    float guide[] = { 2, 0, 1 };
    static const double wanted[] = { -0.2, 6, 4.4 };
    fdit_zero_star(cond, guide, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq_tol((double)guide[i] + 3 * ((double)cond[i] - (double)guide[i]), wanted[i], 1e-6);
    struct fdit_guidance g = FDIT_GUIDANCE_DEFAULT;
    struct fdit_sampler_spec spec = { .kind = FDIT_SAMPLER_SDE, .objective = FDIT_OBJECTIVE_FLOW_REPA };
    ck_assert_ok(ctx, fdit_guidance_check_rule(ctx, &g, &spec));
    g.rule = FDIT_GUIDANCE_ZERO_STAR;
    ck_assert_int_eq(fdit_guidance_check_rule(ctx, &g, &spec), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "choose euler, heun or unipc"));
    spec = (struct fdit_sampler_spec){ .kind = FDIT_SAMPLER_DDIM };
    ck_assert_int_eq(fdit_guidance_check_rule(ctx, &g, &spec), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "objective ddpm"));
}
END_TEST

static void open_fixtures(void)
{
    st = test_open(ctx, "methods/sampling2.safetensors");
    tolerances = test_json(ctx, "methods/tolerances.json");
}

static void close_fixtures(void)
{
    json_decref(tolerances);
    fdit_safetensors_close(st);
}

int main(void)
{
    Suite *suite = suite_create("reuse");
    TCase *tc = tcase_create("reuse");
    ctx = fdit_context_new();
    tcase_add_unchecked_fixture(tc, open_fixtures, close_fixtures);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_fixtures);
    tcase_add_test(tc, test_same_bits);
    tcase_add_test(tc, test_full_steps);
    tcase_add_test(tc, test_polynomials);
    tcase_add_test(tc, test_zero_star);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
