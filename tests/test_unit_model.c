/* SPDX-License-Identifier: Apache-2.0
 * test_unit_model.c: a whole model with its products and its attention on the emulated matrix units of every
 * vendor: forward, the gradient of every parameter, three training steps and a guided sample of the fixture
 * model (two heads of 72, 16 tokens) beside the CPU device in f32, in every precision that a unit multiplies
 * in. A unit and a precision each by default; FDIT_UNITS=all takes
 * every pair, FDIT_UNITS=mfma+bf16 that one. */
#include "device/backend.h"
#include "core/difference.h"
#include "core/mem.h"
#include "model/model_internal.h"
#include "model_fixture.h"
#include "opencl_fixture.h"
#include "opencl/matrix.h"
#include "sample/generate.h"
#include "step_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

enum { STEPS = 3, PARAMETERS = 64 };
/* What one device computes. */
struct run {
    float *losses;                                    /* [STEPS][2][pictures] */
    float *gradients[PARAMETERS], *moved[PARAMETERS]; /* of the first step; by all steps */
    size_t counts[PARAMETERS];
    const char *names[PARAMETERS];
    int n;
    size_t n_losses, n_sample;
    float *sample;
};

static float *read_floats(fdit_device *dev, struct fdit_tensor t, size_t n)
{
    float *x = calloc(n, sizeof *x);
    ck_assert_ptr_nonnull(x);
    ck_assert_ok(ctx, fdit_read(ctx, dev, t, x, n));
    return x;
}

static struct fdit_tensor value_of(const struct fdit_model *m, const struct fdit_param *p)
{
    return (struct fdit_tensor){ m->params.groups[p->group].value, p->offset, FDIT_F32 };
}

static void train(fdit_device *dev, const char *mask, struct run *r)
{
    struct loss_case l = loss_open(ctx, "loss.safetensors");
    struct fdit_model_options options = step_training(mask, (int)l.b);
    struct fdit_step *step = NULL;
    struct fdit_model *m = step_model_ddpm(ctx, dev, "dit.safetensors", &options, 1, &step);
    r->n_losses = 2 * STEPS * l.b;
    r->losses = calloc(r->n_losses, sizeof(float));
    ck_assert_int_le(m->params.n, PARAMETERS);
    r->n = m->params.n;
    for (int i = 0; i < r->n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        r->counts[i] = p->trained ? p->count : 0;
        r->moved[i] = p->trained ? read_floats(dev, value_of(m, p), p->count) : NULL;
    }
    for (int k = 0; k < STEPS; k++) {
        float *mse = r->losses + 2 * (size_t)k * l.b;
        loss_run(step, &l);
        for (int i = 0; i < r->n && !k; i++)
            if (r->counts[i])
                r->gradients[i] = read_floats(dev, fdit_param_grad(m, &m->params.list[i]), r->counts[i]);
        fdit_step_update(step, &(struct fdit_update){ .optimiser = fdit_optimiser_find("adamw"),
                                                      .lr = 1e-3,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .eps = 1e-8,
                                                      .ema_decay = 0.9,
                                                      .n = k + 1 });
        ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, (int)l.b, mse, mse + l.b));
    }
    for (int i = 0; i < r->n; i++) {
        if (!r->counts[i])
            continue;
        float *now = read_floats(dev, value_of(m, &m->params.list[i]), r->counts[i]);
        for (size_t j = 0; j < r->counts[i]; j++)
            r->moved[i][j] = now[j] - r->moved[i][j];
        free(now);
    }
    fdit_step_free(step);
    fdit_model_free(m);
    loss_close(&l);
}

/* Two pictures by four steps with guidance, from the same noise on every device. */
static void draw(fdit_device *dev, struct run *r)
{
    struct fdit_generator_options o = {
        .steps = 4, .guided = true, .batch = 2, .guidance = { .w = 1.5, .t_low = 0, .t_high = 1000 }
    };
    const struct fdit_picture_spec specs[2] = { { .seed = 5, .class_id = 1, .row = 1, .guide_row = 10 },
                                                { .seed = 6, .class_id = 2, .row = 2, .guide_row = 11 } };
    struct fdit_model_options options = { .batch = fdit_generator_model_batch(&o, true),
                                          .conditions = fdit_generator_conditions(&o, true) };
    struct fdit_checkpoint *cp = NULL;
    struct fdit_model_config config;
    struct fdit_model *m = NULL;
    struct fdit_generator *g = NULL;
    char *path = test_fixture("dit.safetensors");
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_RAW, &cp));
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, NULL, &config));
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m));
    ck_assert_ok(ctx, fdit_generator_new(ctx, m, NULL, &o, &g));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_generator_bind(g);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    r->n_sample = 2 * (size_t)config.channels * (size_t)config.input_size * (size_t)config.input_size;
    r->sample = calloc(r->n_sample, sizeof(float));
    ck_assert_ok(ctx, fdit_generator_run(ctx, g, specs, 2, r->sample));
    fdit_generator_free(g);
    fdit_model_free(m);
    fdit_checkpoint_close(cp);
    free(path);
}

static void end(struct run *r)
{
    for (int i = 0; i < r->n; i++) {
        free(r->gradients[i]);
        free(r->moved[i]);
    }
    free(r->losses);
    free(r->sample);
}

static struct run run_on(const char *device, const char *mask)
{
    struct run r = { 0 };
    fdit_device *dev = test_open_device(ctx, device, 0);
    train(dev, mask, &r);
    draw(dev, &r);
    fdit_device_close(dev);
    return r;
}

/* NMSE. Adam divides a gradient by its own size, so that a parameter whose gradient is rounding alone moves
 * as far as any other: what all parameters moved by together is compared. */
struct bounds {
    double losses, gradient, moved, sample;
};
static const struct bounds of_f32 = { 1e-11, 1e-10, 1e-3, 1e-10 }, of_parts = { 1e-9, 1e-7, 1e-2, 1e-8 },
                           of_halves = { 1e-4, 1e-2, 2e-1, 2e-3 };

static void agree(const char *where, const char *what, const float *got, const float *wanted, size_t n,
                  double allowed)
{
    struct fdit_difference d = fdit_compare(got, wanted, n);
    bool nothing = sqrt(d.norm / (double)n) < 1e-7;
    if (getenv("FDIT_UNITS_PRINT"))
        printf("%s: %s: NMSE %.2g\n", where, what, d.nmse);
    ck_assert_msg(nothing || d.nmse <= allowed,
                  "%s: %s: NMSE %.3g, %.3g allowed; element %zu is %.9g, not %.9g", where, what, d.nmse,
                  allowed, d.worst, (double)d.got, (double)d.wanted);
}

static float *together(const struct run *r, size_t *n)
{
    size_t at = 0;
    *n = 0;
    for (int i = 0; i < r->n; i++)
        *n += r->counts[i];
    float *all = calloc(*n, sizeof *all);
    for (int i = 0; i < r->n; at += r->counts[i++])
        if (r->counts[i])
            memcpy(all + at, r->moved[i], r->counts[i] * sizeof *all);
    return all;
}

static void compare(const char *where, const struct run *got, const struct run *wanted,
                    const struct bounds *b)
{
    char what[48];
    size_t n;
    ck_assert_int_eq(got->n, wanted->n);
    agree(where, "losses", got->losses, wanted->losses, wanted->n_losses, b->losses);
    for (int i = 0; i < got->n; i++) {
        snprintf(what, sizeof what, "gradient of parameter %d", i);
        if (got->counts[i])
            agree(where, what, got->gradients[i], wanted->gradients[i], wanted->counts[i], b->gradient);
    }
    float *is = together(got, &n), *should = together(wanted, &n);
    agree(where, "steps of training", is, should, n, b->moved);
    agree(where, "sample", got->sample, wanted->sample, wanted->n_sample, b->sample);
    free(is);
    free(should);
}

/* All vendors' layouts and all precisions. Most of the time is the compiler's, and what is frozen needs half
 * of its kernels. */
static const struct {
    const char *unit, *precision, *mask;
} pairs[] = { { "mma", "", "finediffusion" },
              { "mfma", "+bf16", "full" },
              { "wmma12", "+f16", "finediffusion" },
              { "dpas16", "+bf16x3", "finediffusion" } };
enum { PAIRS = sizeof pairs / sizeof *pairs };
static const char *const precisions[] = { "", "+bf16", "+f16", "+bf16x3" };

static void pair(const char *unit, const char *precision, const char *mask)
{
    char device[64], engine[64];
    unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    struct run wanted = run_on("cpu", mask);
    snprintf(device, sizeof device, "%s%s", test_opencl_device(), precision);
    snprintf(engine, sizeof engine, "matrix emulated-%s", unit);
    setenv("FINEDIFFUSION_OPENCL_GEMM", engine, 1);
    struct run got = run_on(device, mask);
    unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    snprintf(engine, sizeof engine, "%s, %s", unit, *precision ? precision + 1 : "f32");
    compare(engine, &got, &wanted,
            !*precision                     ? &of_f32
            : !strcmp(precision, "+bf16x3") ? &of_parts
                                            : &of_halves);
    end(&got);
    end(&wanted);
}

START_TEST(one_each)
{
    pair(pairs[_i].unit, pairs[_i].precision, pairs[_i].mask);
}
END_TEST

START_TEST(every_pair)
{
    pair(fdit_matrix_unit_at(_i / 4)->name, precisions[_i % 4], "full");
}
END_TEST

START_TEST(one_pair)
{
    char unit[64];
    const char *wanted = getenv("FDIT_UNITS");
    size_t n = strcspn(wanted, "+");
    snprintf(unit, sizeof unit, "%.*s", (int)n, wanted);
    pair(unit, wanted + n, "full");
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    if (!test_opencl_device())
        return test_no_opencl();
    int units = 0;
    while (fdit_matrix_unit_at(units))
        units++;
    Suite *suite = suite_create("model on matrix units");
    TCase *tc = tcase_create("pairs");
    const char *wanted = getenv("FDIT_UNITS");
    if (wanted && strcmp(wanted, "all") != 0)
        tcase_add_test(tc, one_pair);
    else if (wanted)
        tcase_add_loop_test(tc, every_pair, 0, 4 * units);
    else
        tcase_add_loop_test(tc, one_each, 0, PAIRS);
    suite_add_tcase(suite, tc);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
