/* SPDX-License-Identifier: Apache-2.0
 * test_int8.c: the precision int8 on the first OpenCL device: rows of tokens by frozen weights as whole
 * numbers, against the formula of cl/quantise.cl written out, by each engine, which all have to give the
 * same bits; what stays out of it; and that a row's bits depend on the row alone. FDIT_INT8_ENGINES=all
 * takes every emulated matrix unit. */
#include "device/backend.h"
#include "core/mem.h"
#include "devices.h"
#include "harness.h"
#include "opencl/matrix.h"
#include "opencl/opencl.h"
#include "opencl_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

enum { ROWS = 19, IN = 102, OUT = 75, LONG = 2101, LONG_OUT = 64, ENGINES = 16 };

static fdit_device *open_with(const char *engine)
{
    fdit_device *dev = NULL;
    if (*engine)
        setenv("FINEDIFFUSION_OPENCL_GEMM", engine, 1);
    else
        unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    const struct fdit_device_options options = { .spec = test_opencl_device(), .precision = FDIT_I8 };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_opencl_ops, &options, &dev));
    unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    return dev;
}

struct problem {
    int rows, in, out;
    float *x, *w, *bias;
};

static struct problem problem_new(int rows, int in, int out, const char *seed)
{
    struct problem p = { rows, in, out, NULL, NULL, NULL };
    struct test_rng rng = test_rng_new(seed);
    p.x = calloc((size_t)rows * (size_t)in, sizeof(float));
    p.w = calloc((size_t)out * (size_t)in, sizeof(float));
    p.bias = calloc((size_t)out, sizeof(float));
    ck_assert(p.x && p.w && p.bias);
    test_fill_normal(&rng, p.x, (size_t)rows * (size_t)in, 0.25, 1);
    test_fill_normal(&rng, p.w, (size_t)out * (size_t)in, -0.125, 1);
    test_fill_normal(&rng, p.bias, (size_t)out, 0, 1);
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->x);
    free(p->w);
    free(p->bias);
}

/* y [rows, out] = x W + bias; vectors: each row is a sample. first, rows: of p's rows. */
static float *product(fdit_device *dev, const struct problem *p, int first, int rows, bool vectors)
{
    const size_t in = (size_t)p->in, out = (size_t)p->out, m = (size_t)rows;
    const struct fdit_weight_desc desc = { .n_out = p->out, .n_in = p->in };
    fdit_buffer *x = NULL, *y = NULL, *bias = NULL;
    fdit_weight *w = NULL;
    float *got = calloc(m * out, sizeof *got);
    ck_assert_ptr_nonnull(got);
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, m * in * sizeof(float), "x", &x));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, m * out * sizeof(float), "y", &y));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, out * sizeof(float), "bias", &bias));
    ck_assert_ok(ctx, fdit_weight_new(ctx, dev, &desc, p->w, &w));
    struct fdit_linear_args a = { .samples = vectors ? rows : 1,
                                  .tokens = vectors ? 1 : rows,
                                  .n_in = p->in,
                                  .n_out = p->out,
                                  .x = fdit_tensor_of(x, FDIT_F32),
                                  .y = fdit_tensor_of(y, FDIT_F32),
                                  .bias = fdit_tensor_of(bias, FDIT_F32),
                                  .weight = w };
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR, .samples = a.samples, .tokens = a.tokens, .n_in = p->in, .n_out = p->out
    };
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, dev->ops->workspace_bytes(dev, &shape)));
    fdit_write(dev, a.x, p->x + (size_t)first * in, m * in);
    fdit_write(dev, a.bias, p->bias, out);
    fdit_linear(dev, &a);
    ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, got, m * out));
    fdit_weight_free(w);
    fdit_buffer_free(x);
    fdit_buffer_free(y);
    fdit_buffer_free(bias);
    return got;
}

static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* Element (m, n): the sum of whole numbers times both scales. x_whole: x is one, too. */
static double element(const struct problem *p, int m, int n, bool x_whole)
{
    const float *x = p->x + (size_t)m * (size_t)p->in, *w = p->w + (size_t)n * (size_t)p->in;
    const float xs = x_whole ? largest(x, p->in) / 127 : 1, ws = largest(w, p->in) / 127;
    double sum = 0;
    for (int k = 0; k < p->in; k++)
        sum += (x_whole ? rint(x[k] / xs) : x[k]) * rint(w[k] / ws);
    return sum * xs * ws + p->bias[n];
}

static double error_of(const struct problem *p, const float *y, bool x_whole)
{
    double off = 0, all = 0;
    for (int m = 0; m < p->rows; m++)
        for (int n = 0; n < p->out; n++) {
            double wanted = element(p, m, n, x_whole), d = y[m * p->out + n] - wanted;
            off += d * d;
            all += wanted * wanted;
        }
    return isfinite(off) ? off / all : (double)INFINITY;
}

static const char *engines[ENGINES] = { "", "block im=8 nv=4 bx=16 by=8 step=16",
                                        "registers im=2 vw=4 nv=3 group=8", "matrix emulated-mma",
                                        "matrix emulated-dpas16" };
static int n_engines = 5;

/* A step of quantisation is 1e-4 of a result; of sums of f32, which is what is left, 1e-14. */
START_TEST(formula)
{
    struct problem p = problem_new(ROWS, IN, OUT, "int8"), q = problem_new(3, LONG, LONG_OUT, "long");
    float *first[2] = { NULL, NULL };
    for (int i = 0; i < 3 * LONG; i++) /* the largest sums: f32 holds a half of them */
        q.x[i] = i % 5 ? 1.0f : 0.992126f;
    for (int i = 0; i < LONG_OUT * LONG; i++)
        q.w[i] = i % 7 ? 1.0f : 0.984252f;
    for (int e = 0; e < n_engines; e++) {
        fdit_device *dev = open_with(engines[e]);
        float *y[2] = { product(dev, &p, 0, ROWS, false), product(dev, &q, 0, 3, false) };
        double error = error_of(&p, y[0], true), of_long = error_of(&q, y[1], true);
        ck_assert_msg(error <= 1e-12 && of_long <= 1e-13, "%s: NMSE %.3g, of long sums %.3g", engines[e],
                      error, of_long);
        if (e) {
            ck_assert_msg(!memcmp(y[0], first[0], ROWS * OUT * sizeof(float)) &&
                              !memcmp(y[1], first[1], 3 * LONG_OUT * sizeof(float)),
                          "%s has other bits than '%s'", engines[e], engines[0]);
            free(y[0]);
            free(y[1]);
        } else {
            first[0] = y[0];
            first[1] = y[1];
        }
        fdit_device_close(dev);
    }
    free(first[0]);
    free(first[1]);
    problem_free(&p);
    problem_free(&q);
}
END_TEST

START_TEST(rows)
{
    struct problem p = problem_new(ROWS, IN, OUT, "rows");
    fdit_device *dev = open_with("");
    const size_t row = OUT * sizeof(float);
    float *all = product(dev, &p, 0, ROWS, false), *some = product(dev, &p, 5, 3, false);
    ck_assert_msg(!memcmp(some, all + (size_t)5 * OUT, 3 * row),
                  "three rows differ from the same rows of 19");
    p.x[7 * IN + 3] = NAN;
    p.x[9 * IN + 100] = -INFINITY;
    memset(p.x + (size_t)11 * IN, 0, IN * sizeof(float));
    float *spoilt = product(dev, &p, 0, ROWS, false);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < OUT; n++) {
            float got = spoilt[m * OUT + n], was = all[m * OUT + n];
            bool good = m == 7 || m == 9 ? isnan(got) : m == 11 ? got == p.bias[n] : got == was;
            ck_assert_msg(good, "row %d beside rows that are not finite: %g", m, (double)got);
        }
    free(all);
    free(some);
    free(spoilt);
    fdit_device_close(dev);
    problem_free(&p);
}
END_TEST

/* Vectors are not rounded to whole numbers, whose error is 1e-4; the ends of the network and small weights
 * are kept as bf16, a convolution's as f32. */
START_TEST(what_stays_out)
{
    struct problem p = problem_new(ROWS, IN, OUT, "vectors");
    fdit_device *dev = open_with("");
    float *y = product(dev, &p, 0, ROWS, true);
    double error = error_of(&p, y, false);
    ck_assert_msg(error > 1e-8 && error < 2e-5, "vectors: NMSE %.3g", error);
    free(y);
    const struct fdit_weight_desc large = { .n_out = 128, .n_in = 128 },
                                  end = { .n_out = 128, .n_in = 128, .exact = true },
                                  narrow = { .n_out = 128, .n_in = 63 };
    ck_assert_uint_ge(fdit_weight_bytes(dev, &large), 128 * 128 + 128 * 4);
    ck_assert_uint_lt(fdit_weight_bytes(dev, &large), fdit_weight_bytes(dev, &end));
    ck_assert_uint_lt(fdit_weight_bytes(dev, &end), 128 * 160 * 4);
    ck_assert_uint_ge(fdit_weight_bytes(dev, &narrow), 128 * 63 * 2);
    fdit_device_close(dev);
    problem_free(&p);
}
END_TEST

int main(void)
{
    static char names[ENGINES][64];
    const char *wanted = getenv("FDIT_INT8_ENGINES");
    ctx = fdit_context_new();
    if (!test_opencl_device())
        return test_no_opencl();
    if (wanted && !strcmp(wanted, "all"))
        for (int i = n_engines = 3; fdit_matrix_unit_at(i - 3) && i < ENGINES; n_engines = ++i) {
            snprintf(names[i], sizeof names[i], "matrix emulated-%s", fdit_matrix_unit_at(i - 3)->name);
            engines[i] = names[i];
        }
    else if (wanted) {
        engines[1] = wanted;
        n_engines = 2;
    }
    Suite *suite = suite_create("int8");
    TCase *tc = tcase_create("products");
    tcase_set_timeout(tc, 900);
    tcase_add_test(tc, formula);
    tcase_add_test(tc, rows);
    tcase_add_test(tc, what_stays_out);
    suite_add_tcase(suite, tc);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
