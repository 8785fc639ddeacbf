/* SPDX-License-Identifier: Apache-2.0
 * test_steps.c: training steps of whole models: ten of each mask against the fixtures, the terms of an
 * objective, Lion, and gradients that are not finite. */
#include "device/backend.h"
#include "core/mem.h"
#include "model/model_internal.h"
#include "model_fixture.h"
#include "step_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *dev;
static const char *device_name;

static void close_device(void)
{
    if (dev->buffer_bytes == 0 && dev->weight_bytes == 0) /* else a test failed half-way */
        fdit_device_close(dev);
    dev = NULL;
}

/* ------------------------------------------------------------------ ten steps */

/* The part of qkv.bias that the softmax ignores: entries D .. 2D-1. */
static void check_training_tensor(const char *run, int step, const char *what, const char *name,
                                  const float *got, const float *wanted, size_t n, double excess)
{
    char key[128], label[224];
    size_t width = n / 3, exceptions = n / 200 + 1;
    bool qkv = strstr(name, "qkv.bias") != NULL;
    bool moments = !strcmp(what, "m") || !strcmp(what, "v");
    snprintf(key, sizeof key, "train10.safetensors: %s: %s, step %d", run, what, step);
    snprintf(label, sizeof label, "%s step %d %s %s", run, step, what, name);
    if (!test_has_tolerance(key)) /* not every pair has a row of its own */
        snprintf(key, sizeof key, "train10.safetensors: %s: %s, step 10", run, what);
    for (size_t third = 0; third < 3; third++) {
        if (third && !qkv)
            break;
        size_t from = qkv ? third * width : 0, count = qkv ? width : n;
        if (qkv && third == 1)
            continue;
        test_agree_except(key, label, got + from, wanted + from, count, moments ? 0 : exceptions, excess);
    }
}

/* rows [n]: the class, or its superclass row where the label is dropped; the map of both is in config.json.
 * */
static void rows_of(const int32_t *y, const int32_t *drop, size_t n, int32_t *rows)
{
    char text[65536], *path = test_fixture("config.json");
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    size_t got = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    free(path);
    text[got] = 0;
    int classes = 0;
    const char *at = strstr(text, "\"num_classes\"");
    ck_assert(at && sscanf(at, "\"num_classes\": %d", &classes) == 1);
    at = strstr(text, "\"superclass_of\"");
    ck_assert_ptr_nonnull(at);
    at = strchr(at, '[');
    int *super = calloc((size_t)classes, sizeof *super);
    for (int i = 0; i < classes; i++)
        super[i] = (int)strtol(at + 1, (char **)(void *)&at, 10);
    for (size_t i = 0; i < n; i++)
        rows[i] = drop[i] ? classes + super[y[i]] : y[i];
    free(super);
}

/* Moments, values and average of a parameter after step k; how many of them the fixture has. */
static size_t check_parameter(struct fdit_safetensors *st, const struct fdit_model *m,
                              const struct fdit_param *p, const char *run, int k, double lr, double decay,
                              const char *ema_name)
{
    const struct fdit_group *g = &m->params.groups[p->group];
    const struct {
        const char *what;
        fdit_buffer *buffer;
        double excess;
    } sets[] = { { "m", g->moment[0], 0 },
                 { "v", g->moment[1], 0 },
                 { "param", g->value, lr * k },
                 { ema_name, g->ema, lr * k * (1 - pow(decay, k)) } };
    size_t compared = 0;
    for (size_t s = 0; s < 4; s++) {
        char name[192];
        snprintf(name, sizeof name, "%s.step%d.%s.%s", run, k, sets[s].what, p->name);
        if (!fdit_safetensors_find(st, name))
            continue;
        float *wanted = test_floats(ctx, st, name, NULL), *got = calloc(p->count, sizeof *got);
        ck_assert_ok(ctx, fdit_read(ctx, dev, (struct fdit_tensor){ sets[s].buffer, p->offset, FDIT_F32 },
                                    got, p->count));
        check_training_tensor(run, k, sets[s].what, p->name, got, wanted, p->count,
                              sets[s].excess * 1.001 + 1e-7);
        fdit_free(wanted);
        free(got);
        compared++;
    }
    return compared;
}

static void train_ten(const char *run, const char *mask, double lr, double decay, const char *ema_name)
{
    struct fdit_safetensors *st = test_open(ctx, "train10.safetensors");
    size_t total, n_losses, compared = 0;
    float *x0 = test_floats(ctx, st, "x0", NULL), *noise = test_floats(ctx, st, "noise", NULL);
    double *t = step_times(ctx, st, "t", &total);
    int32_t *y = test_ints(ctx, st, "y", NULL);
    int32_t *drop = test_ints(ctx, st, "drop", NULL), *rows = calloc(total, sizeof *rows);
    char name[192], key[96];
    snprintf(name, sizeof name, "%s.losses", run);
    float *losses = test_floats(ctx, st, name, &n_losses);
    int steps = (int)(fdit_safetensors_find(st, name)->shape[0]), b = (int)total / steps;
    struct fdit_model_options options = step_training(mask, b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
    size_t picture = (size_t)m->config.channels * (size_t)m->config.input_size * (size_t)m->config.input_size;
    rows_of(y, drop, total, rows);
    snprintf(key, sizeof key, "train10.safetensors: %s: losses", run);
    for (int k = 0; k < steps; k++) {
        size_t from = (size_t)k * (size_t)b;
        float mse[64], vb[64], want_mse[64], want_vb[64];
        ck_assert_int_le(b, 64);
        fdit_step_micro(step, &(struct fdit_micro){ .samples = b,
                                                    .x0 = x0 + from * picture,
                                                    .noise = noise + from * picture,
                                                    .t = t + from,
                                                    .rows = rows + from,
                                                    .first = true,
                                                    .loss_scale = 1.0 / b });
        fdit_step_update(step, &(struct fdit_update){ .optimiser = fdit_optimiser_find("adamw"),
                                                      .lr = lr,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .eps = 1e-8,
                                                      .ema_decay = decay,
                                                      .n = k + 1 });
        ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, b, mse, vb));
        for (int i = 0; i < b; i++) { /* [steps, (mse, vb, sum), b] */
            want_mse[i] = losses[((size_t)k * 3 + 0) * (size_t)b + (size_t)i];
            want_vb[i] = losses[((size_t)k * 3 + 1) * (size_t)b + (size_t)i];
        }
        test_agree(key, "mse", mse, want_mse, (size_t)b);
        test_agree(key, "vb", vb, want_vb, (size_t)b);
        for (int i = 0; i < m->params.n; i++)
            if (m->params.list[i].trained)
                compared += check_parameter(st, m, &m->params.list[i], run, k + 1, lr, decay, ema_name);
    }
    ck_assert_uint_gt(compared, 0);
    fdit_step_free(step);
    fdit_model_free(m);
    fdit_free(x0);
    fdit_free(noise);
    fdit_free(t);
    fdit_free(y);
    fdit_free(drop);
    free(rows);
    fdit_free(losses);
    fdit_safetensors_close(st);
}

START_TEST(test_train10)
{
    switch (_i) {
    case 0: train_ten("lr1e-2", "finediffusion", 1e-2, 0.9999, "ema0.9999"); break;
    case 1: train_ten("lr1e-2", "finediffusion", 1e-2, 0.9, "ema0.9"); break;
    case 2: train_ten("lr1e-4", "finediffusion", 1e-4, 0.9999, "ema0.9999"); break;
    case 3: train_ten("full_lr1e-4", "full", 1e-4, 0.9, "ema0.9"); break;
    }
}
END_TEST

/* A step does what its objective's row says: one that weighs every sample twice doubles each gradient, one
 * whose outputs the model does not have is refused. */
static void heavy(const struct fdit_objective *o, const struct fdit_schedule *s, double t, double scale,
                  const struct fdit_loss_weight *weight, float out[FDIT_LOSS_COEFS])
{
    fdit_objective_find(NULL)->coefficients(o, s, t, 2 * scale, weight, out);
}

static void plain(const struct fdit_objective *o, const struct fdit_schedule *s, double t, float out[2])
{
    (void)o, (void)s, (void)t;
    out[0] = 1;
    out[1] = 0;
}

START_TEST(test_objective)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training("finediffusion", (int)l.b);
    const struct fdit_objective *ddpm = fdit_objective_find(NULL);
    struct fdit_objective twice = *ddpm, without_noise = *ddpm, one_output = *ddpm;
    const struct fdit_objective *const objectives[] = { ddpm, &twice, &without_noise };
    struct fdit_step *step = NULL, *refused = NULL;
    float *g[3];
    size_t n = 0, other = 0;
    ck_assert_ptr_eq(fdit_objective_find("ddpm"), ddpm);
    ck_assert_ptr_eq(fdit_objective_find("flow"), fdit_objective_at(FDIT_OBJECTIVE_FLOW_REPA));
    ck_assert_ptr_null(fdit_objective_find("flows"));
    twice.coefficients = heavy;
    without_noise.diffuse = plain;
    one_output.outputs = 1;
    for (int i = 0; i < 3; i++) {
        struct fdit_model *m = step_model(ctx, dev, "dit.safetensors", &options, objectives[i], 1, &step);
        const struct fdit_param *p = fdit_params_find(&m->params, "blocks.1.mlp.fc1.bias");
        n = p->count;
        g[i] = calloc(n, sizeof *g[i]);
        loss_run(step, &l);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), g[i], n));
        ck_assert_int_eq(fdit_step_new(ctx, m, &one_output, 1, &refused), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(refused);
        fdit_step_free(step);
        fdit_model_free(m);
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert_float_eq(g[1][i], 2 * g[0][i]);
        other += g[2][i] != g[0][i];
    }
    ck_assert_uint_gt(other, n / 2);
    for (int i = 0; i < 3; i++)
        free(g[i]);
    loss_close(&l);
}
END_TEST

/* Two steps of Lion against its rule in float64, from the gradients that the device made; clipped, with decay
 * of the weights and EMA. Only where rounding does not decide the sign. */
START_TEST(test_lion)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training("finediffusion", (int)l.b);
    const struct fdit_optimiser *lion = fdit_optimiser_find("lion");
    struct fdit_step *step = NULL;
    options.moments = lion->moments;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
    const struct fdit_param *p = fdit_params_find(&m->params, "blocks.1.mlp.fc1.bias");
    const size_t n = p->count;
    float *value = calloc(n, sizeof *value), *ema = calloc(n, sizeof *ema), *g = calloc(n, sizeof *g);
    double *to = calloc(n, sizeof *to), *average = calloc(n, sizeof *average),
           *moment = calloc(n, sizeof *moment);
    const double lr = 1e-2, decay = 0.5, clip = 0.01;
    size_t compared = 0;
    ck_assert_ptr_null(m->params.groups[p->group].moment[1]);
    ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, value));
    for (size_t i = 0; i < n; i++)
        to[i] = average[i] = (double)value[i];
    for (int k = 0; k < 2; k++) {
        struct fdit_step_losses losses;
        loss_run(step, &l);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), g, n));
        fdit_step_update(step, &(struct fdit_update){ .optimiser = lion,
                                                      .lr = lr,
                                                      .beta1 = lion->beta1,
                                                      .beta2 = lion->beta2,
                                                      .weight_decay = decay,
                                                      .clip = clip,
                                                      .ema_decay = 0.75,
                                                      .n = k + 1 });
        fdit_step_report_begin(step);
        ck_assert_ok(ctx, fdit_step_report_end(ctx, step, &losses));
        ck_assert_double_gt(losses.gradient_norm, 2 * clip);
        ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, value));
        ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_EMA, ema));
        for (size_t i = 0; i < n; i++) {
            double grad = (double)g[i] * clip / losses.gradient_norm;
            double toward = 0.9 * moment[i] + 0.1 * grad;
            moment[i] = 0.99 * moment[i] + 0.01 * grad;
            to[i] = to[i] * (1 - lr * decay) - (toward > 0 ? lr : -lr);
            average[i] = 0.75 * average[i] + 0.25 * to[i];
            if (fabs(toward) < 1e-9)
                to[i] = average[i] = NAN; /* not compared from here on */
            if (isnan(to[i]))
                continue;
            ck_assert_double_eq_tol((double)value[i], to[i], 1e-6);
            ck_assert_double_eq_tol((double)ema[i], average[i], 1e-6);
            compared++;
        }
    }
    ck_assert_uint_gt(compared, n);
    void *blocks[] = { value, ema, g, to, average, moment };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}
END_TEST

/* Gradients that are not finite leave every parameter as it is, and the culprit is named. */
START_TEST(test_nan_gradient)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training("finediffusion", (int)l.b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
    const struct fdit_param *p = fdit_params_find(&m->params, "blocks.1.mlp.fc1.bias");
    float *before = calloc(p->count, sizeof *before), *after = calloc(p->count, sizeof *after);
    const float nan = NAN;
    const float huge = 3e20f; /* its square is beyond float32 */
    struct fdit_step_bad bad;
    struct fdit_step_losses losses;
    loss_run(step, &l);
    fdit_write(dev, fdit_at(fdit_param_grad(m, p), 3), &nan, 1);
    ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, before));
    const struct fdit_optimiser *optimiser;
    for (size_t i = 0; (optimiser = fdit_optimiser_at(i)); i++) {
        fdit_step_update(step, &(struct fdit_update){ .optimiser = optimiser,
                                                      .lr = 1e-2,
                                                      .beta1 = optimiser->beta1,
                                                      .beta2 = optimiser->beta2,
                                                      .eps = optimiser->eps,
                                                      .weight_decay = 0.1,
                                                      .ema_decay = 0.9,
                                                      .n = 1 });
        ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, after));
        ck_assert_msg(!memcmp(before, after, p->count * sizeof *before), "%s", optimiser->name);
    }
    fdit_step_report_begin(step);
    ck_assert_ok(ctx, fdit_step_report_end(ctx, step, &losses));
    ck_assert(!isfinite(losses.gradient_norm));
    ck_assert_ok(ctx, fdit_step_find_bad(ctx, step, &bad));
    ck_assert_str_eq(bad.name, p->name);
    ck_assert(!bad.finite);
    /* all are finite, their norm is not: the one that makes it so is named, too */
    fdit_write(dev, fdit_at(fdit_param_grad(m, p), 3), &huge, 1);
    ck_assert_ok(ctx, fdit_step_find_bad(ctx, step, &bad));
    ck_assert_str_eq(bad.name, p->name);
    ck_assert(bad.finite && bad.largest == (double)huge);
    free(before);
    free(after);
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}
END_TEST

static void open_device(void)
{
    dev = test_open_device(ctx, device_name, 0);
}

int main(void)
{
    const char *names[8];
    int n = test_devices(names), failed = 0;
    ctx = fdit_context_new();
    for (int i = 0; i < n; i++) {
        device_name = names[i];
        printf("device %s\n", device_name);
        Suite *s = suite_create("steps");
        TCase *tc = tcase_create("fixtures");
        tcase_add_checked_fixture(tc, open_device, close_device);
        tcase_add_loop_test(tc, test_train10, 0, 4);
        tcase_add_test(tc, test_objective);
        tcase_add_test(tc, test_lion);
        tcase_add_test(tc, test_nan_gradient);
        suite_add_tcase(s, tc);
        failed |= test_run(s);
    }
    fdit_context_free(ctx);
    return failed;
}
