/* SPDX-License-Identifier: Apache-2.0
 * A learnt linear map from vectors of classes to rows of the class table: its gradients against differences,
 * and that the identity is the table without it, to the bit. */
#include "core/mem.h"
#include "device/backend.h"
#include "devices.h"
#include "model/init.h"
#include "model/model.h"
#include "model_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 16, CLASSES = 3, ROWS = 5, WIDTH = 7, BATCH = 3, PIXELS = 16, OUT = 2 * PIXELS };

static fdit_context *ctx;
static fdit_device *dev;

static const struct fdit_model_config sizes = {
    .input_size = 4, .channels = 1, .patch = 2, .width = D, .depth = 2, .heads = 2, .mlp_ratio = 4
};
static const int32_t in_order[CLASSES] = { 0, 1, 2 };

static void open_device(const char *spec, int threads)
{
    struct fdit_device_options o = { .spec = spec, .threads = threads };
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
}

/* Every number of it is of ordinary size, so that each has an influence. */
static struct fdit_model *new_model(int width, bool training)
{
    struct fdit_model_config c = sizes;
    struct fdit_model *m = NULL;
    const struct fdit_model_options o = { .mask = training ? fdit_mask_find("finediffusion") : NULL,
                                          .training = training,
                                          .moments = training ? 2 : 0,
                                          .ema = training,
                                          .batch = BATCH,
                                          .storage = FDIT_F32 };
    c.table_rows = ROWS;
    c.class_vectors = width;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &c, &o, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    ck_assert_ok(ctx, fdit_model_init(ctx, m, 3));
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        float *x = calloc(p->count, sizeof *x);
        uint32_t state = (uint32_t)strlen(p->name);
        for (size_t k = 0; k < p->count; k++) {
            state = state * 1664525u + 1013904223u;
            x[k] = ((float)(state >> 8) / 8388608.0f - 1) * 0.4f + (p->kind == FDIT_PARAM_NORM);
        }
        if (!fdit_param_of_class_map(p->name))
            ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
        free(x);
    }
    return m;
}

static void fill_vectors(float v[CLASSES * WIDTH])
{
    for (int i = 0; i < CLASSES * WIDTH; i++)
        v[i] = (float)(i * 37 % 19) / 10 - 0.9f;
}

/* A class twice, and a group. */
static void forward(struct fdit_model *m, float out[BATCH * OUT])
{
    float x[BATCH * PIXELS];
    const int32_t rows[BATCH] = { 1, 4, 1 };
    const double t[BATCH] = { 3, 500, 900 };
    for (int i = 0; i < BATCH * PIXELS; i++)
        x[i] = (float)(i * 31 % 17) / 8 - 1;
    fdit_write(dev, m->input, x, sizeof x / sizeof *x);
    fdit_write(dev, m->index, rows, BATCH);
    fdit_model_write_times(m, BATCH, t);
    fdit_forward(m, BATCH);
    ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, out, BATCH * OUT));
}

static double value(struct fdit_model *m, const float weights[BATCH * OUT])
{
    float out[BATCH * OUT];
    double sum = 0;
    forward(m, out);
    for (int i = 0; i < BATCH * OUT; i++)
        sum += (double)out[i] * (double)weights[i];
    return sum;
}

/* Each number of a parameter against a difference of order four. */
static void check_differences(struct fdit_model *m, struct fdit_param *p, const float weights[BATCH * OUT])
{
    float *x = calloc(p->count, sizeof *x), *gradient = calloc(p->count, sizeof *x);
    const float h = 1.0f / 32;
    double size = 0;
    ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, x));
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), gradient, p->count));
    for (size_t i = 0; i < p->count; i++)
        size = fmax(size, fabs((double)gradient[i]));
    ck_assert_double_gt(size, 1e-3);
    for (size_t i = 0; i < p->count; i++) {
        const float was = x[i], steps[4] = { h, -h, 2 * h, -2 * h };
        double at[4];
        for (int k = 0; k < 4; k++) {
            x[i] = was + steps[k];
            ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
            at[k] = value(m, weights);
        }
        x[i] = was;
        const double wanted = (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * (double)h);
        ck_assert_msg(fabs(wanted - (double)gradient[i]) < 3e-3 * size, "%s %zu: %g, by differences %g",
                      p->name, i, (double)gradient[i], wanted);
    }
    ck_assert_ok(ctx, fdit_model_set(ctx, m, p, x));
    free(x);
    free(gradient);
}

/* _i: whether the classes' own rows are trained, too. */
START_TEST(test_differences)
{
    open_device("ref", 1);
    struct fdit_model *m = new_model(WIDTH, true);
    float v[CLASSES * WIDTH], weights[BATCH * OUT], out[BATCH * OUT], dtable[ROWS * D];
    fill_vectors(v);
    ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, v, in_order, CLASSES, !_i));
    for (int i = 0; i < BATCH * OUT; i++)
        weights[i] = (float)(i * 7919 % 101) / 50.0f - 1;
    forward(m, out);
    fdit_write(dev, m->doutput, weights, BATCH * OUT);
    fdit_backward(m, BATCH, 0);
    check_differences(m, m->params.ends.class_map.weight, weights);
    check_differences(m, m->params.ends.class_map.bias, weights);
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, m->params.ends.table), dtable, ROWS * D));
    for (int r = 0; r < ROWS; r++) {
        bool any = false;
        for (int j = 0; j < D; j++)
            any = any || dtable[r * D + j] != 0;
        ck_assert_msg(any == ((r == 1 && _i) || r == 4), "row %d", r);
    }
    fdit_model_free(m);
    fdit_device_close(dev);
}
END_TEST

/* Vectors of the identity: the rows of the table that there is without a map, and the same pictures. */
START_TEST(test_identity)
{
    const float identity[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    float table[ROWS * D], rows[ROWS * D], out[BATCH * OUT], wanted[BATCH * OUT];
    for (int threads = 1; threads <= 2; threads++) {
        open_device("cpu", threads);
        struct fdit_model *m = new_model(CLASSES, true), *plain = new_model(0, true);
        ck_assert_ok(ctx, fdit_model_init_table(ctx, plain, FDIT_TABLE_NORMAL, NULL, 9, NULL));
        ck_assert_ok(ctx, fdit_model_init_class_map(ctx, m, FDIT_TABLE_NORMAL, NULL, 9, CLASSES, false));
        ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, identity, in_order, CLASSES, true));
        ck_assert_ok(ctx, fdit_model_get(ctx, plain, plain->params.ends.table, FDIT_VALUES_RAW, table));
        ck_assert_ok(ctx, fdit_model_class_rows(ctx, m, FDIT_VALUES_EMA, 0, ROWS, rows));
        ck_assert_uint_eq(test_first_difference(rows, table, ROWS * D, sizeof *rows), ROWS * D);
        forward(m, out);
        forward(plain, wanted);
        ck_assert_uint_eq(test_first_difference(out, wanted, BATCH * OUT, sizeof *out), BATCH * OUT);
        fdit_model_free(m);
        fdit_model_free(plain);
        fdit_device_close(dev);
    }
}
END_TEST

/* Gradients of map and table on every device and in 16 bits, beside ref's. */
START_TEST(test_devices_agree)
{
    enum { MAP = D * WIDTH, ALL = MAP + D + ROWS * D };
    const char *names[8];
    const int n = test_all_devices(ctx, names);
    float v[CLASSES * WIDTH], weights[BATCH * OUT], out[BATCH * OUT], wanted[ALL], got[ALL];
    fill_vectors(v);
    for (int i = 0; i < BATCH * OUT; i++)
        weights[i] = (float)(i * 7919 % 101) / 50.0f - 1;
    for (int k = -1; k < n; k++) {
        dev = test_open_device(ctx, k < 0 ? "ref" : names[k], 2);
        struct fdit_model *m = new_model(WIDTH, true);
        const struct fdit_layer *map = &m->params.ends.class_map;
        float *g = k < 0 ? wanted : got;
        ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, v, in_order, CLASSES, false));
        forward(m, out);
        fdit_write(dev, m->doutput, weights, BATCH * OUT);
        fdit_backward(m, BATCH, 0);
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, map->weight), g, MAP));
        ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, map->bias), g + MAP, D));
        ck_assert_ok(ctx,
                     fdit_read(ctx, dev, fdit_param_grad(m, m->params.ends.table), g + MAP + D, ROWS * D));
        double error = 0, size = 0;
        for (int i = 0; k >= 0 && i < ALL; i++) {
            error += pow((double)got[i] - (double)wanted[i], 2);
            size += pow((double)wanted[i], 2);
        }
        const double most = test_precision() == FDIT_F32 ? 1e-9 : 4e-3;
        ck_assert_msg(error <= most * size, "%s: a normalised error of %g", names[k < 0 ? 0 : k],
                      error / size);
        fdit_model_free(m);
        fdit_device_close(dev);
    }
}
END_TEST

/* What is measured is what was planned. */
START_TEST(test_plan)
{
    float v[CLASSES * WIDTH], out[BATCH * OUT];
    fill_vectors(v);
    for (int training = 0; training < 2; training++) {
        open_device("cpu", 2);
        struct fdit_model *m = new_model(WIDTH, training);
        ck_assert_ok(ctx, fdit_model_set_class_vectors(ctx, m, v, in_order, CLASSES, true));
        const uint64_t made = fdit_device_objects_made(dev);
        forward(m, out);
        if (training)
            fdit_backward(m, BATCH, 0);
        ck_assert_ok(ctx, fdit_device_sync(ctx, dev));
        ck_assert_uint_eq(fdit_device_objects_made(dev), made);
        ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes +
                              fdit_plan_kind_bytes(&m->plan, FDIT_PLAN_WORKSPACE),
                          fdit_plan_device_bytes(&m->plan));
        fdit_model_free(m);
        fdit_device_close(dev);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("class map");
    TCase *tc = tcase_create("map");
    ctx = fdit_context_new();
    if (!ctx)
        return EXIT_FAILURE;
    tcase_add_loop_test(tc, test_differences, 0, 2);
    tcase_add_test(tc, test_identity);
    tcase_add_test(tc, test_devices_agree);
    tcase_add_test(tc, test_plan);
    suite_add_tcase(s, tc);
    int failed = test_run(s);
    fdit_context_free(ctx);
    return failed;
}
