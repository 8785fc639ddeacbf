/* SPDX-License-Identifier: Apache-2.0
 * Prior preservation in a step, on every device: the gradient is that of L + W L_prior (against differences,
 * and against a model that has the prior's rows in its own table), the model's own rows get none of it, and
 * the two losses are told apart. */
#include "core/mem.h"
#include "device/backend.h"
#include "model/init.h"
#include "model_fixture.h"
#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 16, ROWS = 5, PRIOR = 3, VECTORS = 4, BATCH = 3, PIXELS = 16 };
#define WEIGHT 0.75

static fdit_context *ctx;
static fdit_device *dev;

static float number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

static void set_numbers(struct fdit_model *m, struct fdit_param *p)
{
    float *x = calloc(p->count, sizeof *x);
    uint32_t state = (uint32_t)strlen(p->name);
    for (size_t k = 0; k < p->count; k++)
        x[k] = number(&state) * 0.4f + (p->kind == FDIT_PARAM_NORM);
    ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
    free(x);
}

/* Of flow matching, whose loss has nothing but the gradient that it is given. */
static struct fdit_model *new_model(int prior_rows, int vectors, struct fdit_step **step)
{
    const struct fdit_objective *flow = fdit_objective_find("flow");
    struct fdit_model_config c = { .input_size = 4,
                                   .channels = 1,
                                   .patch = 2,
                                   .width = D,
                                   .depth = 2,
                                   .heads = 2,
                                   .mlp_ratio = 4,
                                   .table_rows = ROWS,
                                   .class_vectors = vectors,
                                   .objective = flow->id };
    const struct fdit_model_options o = { .mask = fdit_mask_find("finediffusion"),
                                          .training = true,
                                          .moments = 2,
                                          .ema = true,
                                          .prior_rows = prior_rows,
                                          .batch = BATCH };
    struct fdit_model *m = NULL;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &c, &o, &m));
    ck_assert_ok(ctx, fdit_step_new(ctx, m, flow, 2, step));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_step_bind(*step);
    ck_assert_ok(ctx, fdit_model_init(ctx, m, 3));
    for (int i = 0; i < m->params.n; i++)
        set_numbers(m, &m->params.list[i]);
    return m;
}

static void fill_rows(float table[ROWS * D])
{
    uint32_t state = 5;
    for (int i = 0; i < ROWS * D; i++)
        table[i] = number(&state);
}

/* Micro-batch `index`, its pictures of the prior or not. */
static struct fdit_micro micro_of(int index, bool first, double weight, bool prior)
{
    static float x0[2][BATCH * PIXELS], noise[2][BATCH * PIXELS];
    static const double t[2][BATCH] = { { 0.1, 0.5, 0.9 }, { 0.3, 0.6, 0.8 } };
    static const int32_t rows[2][BATCH] = { { 1, 4, 1 }, { 2, 0, 2 } };
    uint32_t state = 11 + (uint32_t)index;
    for (int i = 0; i < BATCH * PIXELS; i++) {
        x0[index][i] = number(&state);
        noise[index][i] = number(&state) * 2;
    }
    return (struct fdit_micro){ .samples = BATCH,
                                .x0 = x0[index],
                                .noise = noise[index],
                                .t = t[index],
                                .rows = rows[index],
                                .first = first,
                                .index = index,
                                .loss_scale = weight / BATCH,
                                .prior = prior };
}

static struct fdit_step_losses report(struct fdit_step *s)
{
    struct fdit_step_losses l;
    fdit_step_report_begin(s);
    ck_assert_ok(ctx, fdit_step_report_end(ctx, s, &l));
    return l;
}

static struct fdit_step_losses both(struct fdit_step *s)
{
    const struct fdit_micro own = micro_of(0, true, 1, false), prior = micro_of(1, false, WEIGHT, true);
    fdit_step_micro(s, &own);
    fdit_step_micro(s, &prior);
    return report(s);
}

static float *gradient(const struct fdit_model *m, const struct fdit_param *p)
{
    float *g = calloc(p->count, sizeof *g);
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), g, p->count));
    return g;
}

static bool of_class(const struct fdit_param *p)
{
    return p->kind == FDIT_PARAM_TABLE || fdit_param_of_class_map(p->name);
}

/* Losses and gradients of both micro-batches beside those of each by itself; the prior's of a model in whose
 * own table its rows stand. */
static void compare(int vectors)
{
    struct fdit_step *step, *plain_step;
    struct fdit_model *m = new_model(PRIOR, vectors, &step), *plain = new_model(0, 0, &plain_step);
    float table[ROWS * D], v[VECTORS] = { 1, -1, 0.5f, 2 };
    const int32_t at[ROWS] = { 0 };
    fill_rows(table);
    ck_assert_ok(ctx, fdit_model_set_prior(ctx, m, table));
    if (vectors)
        ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, v, at, ROWS, false));
    ck_assert_ok(ctx, fdit_model_set(ctx, plain, plain->params.ends.table, table));
    const struct fdit_micro as_own = micro_of(1, true, WEIGHT, false), first = micro_of(0, true, 1, false);
    fdit_step_micro(plain_step, &as_own);
    fdit_step_micro(step, &first);
    float **alone = calloc((size_t)m->params.n, sizeof *alone);
    for (int i = 0; i < m->params.n; i++)
        alone[i] = m->params.list[i].trained ? gradient(m, &m->params.list[i]) : NULL;
    const struct fdit_step_losses l = both(step);
    ck_assert_double_eq(l.samples, BATCH);
    ck_assert_double_eq(l.prior_samples, BATCH);
    const double tolerance = test_precision() == FDIT_F32 ? 2e-5 : 0.05;
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        if (!p->trained)
            continue;
        float *got = gradient(m, p);
        float *other = of_class(p) ? calloc(p->count, sizeof *other)
                                   : gradient(plain, fdit_params_find(&plain->params, p->name));
        double size = 0;
        for (size_t k = 0; k < p->count; k++)
            size = fmax(size, fabs((double)alone[i][k]) + fabs((double)other[k]));
        for (size_t k = 0; k < p->count; k++) {
            const double wanted = (double)alone[i][k] + (double)other[k];
            ck_assert_msg(fabs((double)got[k] - wanted) <= tolerance * size, "%s %zu: %g, wanted %g", p->name,
                          k, (double)got[k], wanted);
            ck_assert_msg(!of_class(p) || got[k] == alone[i][k], "%s %zu has a gradient of the prior",
                          p->name, k);
        }
        free(got);
        free(other);
        free(alone[i]);
    }
    free(alone);
    fdit_step_free(step);
    fdit_step_free(plain_step);
    fdit_model_free(m);
    fdit_model_free(plain);
}

START_TEST(test_sum)
{
    const char *names[8];
    const int n = test_all_devices(ctx, names);
    for (int i = 0; i < n; i++) {
        dev = test_open_device(ctx, names[i], 2);
        compare(0);
        compare(VECTORS);
        fdit_device_close(dev);
    }
}
END_TEST

static double objective_of(struct fdit_step *s)
{
    const struct fdit_micro own = micro_of(0, true, 1, false), prior = micro_of(1, false, WEIGHT, true);
    fdit_step_evaluate(s, &own);
    fdit_step_evaluate(s, &prior);
    const struct fdit_step_losses l = report(s);
    return l.mse + WEIGHT * l.prior_mse;
}

START_TEST(test_differences)
{
    struct fdit_step *step;
    float table[ROWS * D];
    dev = test_open_device(ctx, "ref", 1);
    struct fdit_model *m = new_model(PRIOR, 0, &step);
    fill_rows(table);
    ck_assert_ok(ctx, fdit_model_set_prior(ctx, m, table));
    (void)both(step);
    const char *names[] = { "blocks.1.norm1.weight", "blocks.0.attn.qkv.bias", "t_embedder.mlp.2.bias",
                            "y_embedder.embedding_table.weight" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fdit_param *p = fdit_params_find(&m->params, names[i]);
        float *g = gradient(m, p), *x = calloc(p->count, sizeof *x);
        const float h = 1.0f / 64;
        double size = 0;
        ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, x));
        for (size_t k = 0; k < p->count; k++)
            size = fmax(size, fabs((double)g[k]));
        ck_assert_double_gt(size, 1e-4);
        for (size_t k = 0; k < p->count; k += 3) {
            const float was = x[k], steps[4] = { h, -h, 2 * h, -2 * h };
            double at[4];
            for (int j = 0; j < 4; j++) {
                x[k] = was + steps[j];
                ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
                at[j] = objective_of(step);
            }
            x[k] = was;
            const double wanted = (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * (double)h);
            ck_assert_msg(fabs(wanted - (double)g[k]) < 5e-3 * size, "%s %zu: %g, by differences %g", p->name,
                          k, (double)g[k], wanted);
        }
        ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
        free(g);
        free(x);
    }
    fdit_step_free(step);
    fdit_model_free(m);
    fdit_device_close(dev);
}
END_TEST

/* As shards are: each micro-batch overwrites what was there, so the rows' gradient is 0. */
START_TEST(test_first)
{
    struct fdit_step *step;
    float table[ROWS * D], v[VECTORS] = { 1, -1, 0.5f, 2 };
    const int32_t at[ROWS] = { 0 };
    dev = test_open_device(ctx, "cpu", 2);
    struct fdit_model *m = new_model(PRIOR, VECTORS, &step);
    fill_rows(table);
    ck_assert_ok(ctx, fdit_model_set_prior(ctx, m, table));
    ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, v, at, ROWS, false));
    (void)both(step);
    const struct fdit_micro prior = micro_of(1, true, WEIGHT, true);
    fdit_step_micro(step, &prior);
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        if (!p->trained || !of_class(p))
            continue;
        float *g = gradient(m, p);
        for (size_t k = 0; k < p->count; k++)
            ck_assert_msg(g[k] == 0, "%s %zu: %g", p->name, k, (double)g[k]);
        free(g);
    }
    const struct fdit_micro own =
        micro_of(0, true, 1, false); /* and the next pass takes its own rows again */
    fdit_step_micro(step, &own);
    const struct fdit_step_losses l = report(step);
    ck_assert(isfinite(l.mse));
    fdit_step_free(step);
    fdit_model_free(m);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prior");
    TCase *tc = tcase_create("prior");
    ctx = fdit_context_new();
    if (!ctx)
        return EXIT_FAILURE;
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_sum);
    tcase_add_test(tc, test_differences);
    tcase_add_test(tc, test_first);
    suite_add_tcase(s, tc);
    int failed = test_run(s);
    fdit_context_free(ctx);
    return failed;
}
