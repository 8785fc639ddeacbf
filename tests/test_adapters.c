/* SPDX-License-Identifier: Apache-2.0
 * Adapters against the PyTorch fixtures on every device: outputs apart and merged, losses, the gradient of
 * every trained parameter, three optimiser steps; PEFT's folders; how they start; and what is refused. */
#include "core/mem.h"
#include "device/backend.h"
#include "format/json.h"
#include "model/init.h"
#include "model/merge.h"
#include "model/peft.h"
#include "model_fixture.h"
#include "train/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *dev;
static struct fdit_safetensors *st;
static json_t *tolerances;

/* A normalised mean square error is allowed where products are rounded to less than f32. Measured in bf16:
 * 1.1e-4 of an output, apart and merged, 4.2e-3 of a gradient of A, which two rounded products make. */
static void agree(const char *tag, const char *key, const char *what, const float *got, const float *wanted,
                  size_t n, size_t exceptions, double exception_size)
{
    char row_name[96];
    snprintf(row_name, sizeof row_name, "%s: %s", tag, key);
    const json_t *row = json_object_get(tolerances, row_name);
    const double largest = test_largest(wanted, n);
    size_t off = 0;
    ck_assert_msg(row != NULL, "no tolerance \"%s\"", row_name);
    if (test_precision() != FDIT_F32) {
        const bool gradient = strstr(key, "gradients") || strstr(key, "steps");
        const double allowed = (gradient ? 1e-2 : 3e-4) * (test_precision() == FDIT_I8 ? 12 : 1);
        const struct fdit_difference e = fdit_compare(got, wanted, n);
        ck_assert_msg(sqrt(e.norm / (double)n) < 1e-7 || e.nmse <= allowed, "%s: NMSE %g, allowed %g", what,
                      e.nmse, allowed);
        return;
    }
    /* A loss is one number, and ten times the rounding of a number that happened to be nearly exact is next
     * to nothing: of the first loss of difffit, cpu and OpenCL are off by 1.1e-6 where 9e-7 is allowed; ref
     * is within. */
    const double wider = !strcmp(tag, "difffit") && (strstr(key, "mse") || strstr(key, "losses")) ? 2 : 1;
    const double absolute = wider * json_number_value(json_object_get(row, "absolute"));
    const double relative = wider * json_number_value(json_object_get(row, "relative"));
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - (double)wanted[i]);
        if (d <= absolute && (largest < 1e-12 || d <= relative * largest))
            continue;
        ck_assert_msg(d <= exception_size && ++off <= exceptions,
                      "%s: element %zu of %zu is %.9g, wanted %.9g", what, i, n, (double)got[i],
                      (double)wanted[i]);
    }
}

static struct fdit_checkpoint *open_file(const char *file)
{
    struct fdit_checkpoint *cp = NULL;
    char *path = test_fixture("adapters/%s", file);
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    free(path);
    return cp;
}

/* The student with the adapter of one of the fixtures. */
struct tuned {
    const char *tag, *mask;
    struct fdit_checkpoint *files[2];
    struct fdit_model_config config;
};

static const struct tuned cases[] = {
    { .tag = "lora", .mask = "lora:3:5" },
    { .tag = "finediffusion+lora", .mask = "finediffusion+lora:3:5" },
    { .tag = "rslora", .mask = "rslora:3:5" },
    { .tag = "difffit", .mask = "difffit" },
    { .tag = "difffit_linear", .mask = "difffit-linear" },
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* The fixture has PEFT's folders for low-rank adapters; its gammas are tensors "TAG.NAME", which become a
 * delta. */
static struct fdit_checkpoint *delta_of_gammas(const struct tuned *t)
{
    struct fdit_checkpoint *cp = NULL;
    struct fdit_st_writer *w = NULL;
    char *model = NULL, file[64];
    const size_t before = strlen(t->tag) + 1;
    snprintf(file, sizeof file, "%s.safetensors", t->tag);
    ck_assert_ok(ctx, fdit_config_to_json(ctx, &t->config, &model));
    ck_assert_ok(ctx, fdit_st_writer_new(ctx, &w));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "format", "finediffusion-delta"));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "version", "1"));
    ck_assert_ok(ctx, fdit_st_writer_meta(ctx, w, "model", model));
    for (size_t i = 0; i < fdit_safetensors_count(st); i++) {
        const struct fdit_st_tensor *e = fdit_safetensors_at(st, i);
        if (!strncmp(e->name, t->tag, before - 1) && !strncmp(e->name + before - 1, ".blocks.", 8))
            ck_assert_ok(
                ctx, fdit_st_writer_raw(ctx, w, e->name + before, FDIT_ST_F32, e->rank, e->shape, e->data));
    }
    ck_assert_ok(ctx, fdit_st_writer_save(ctx, w, file));
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, file, FDIT_VALUES_EMA, &cp));
    remove(file);
    fdit_st_writer_free(w);
    fdit_free(model);
    return cp;
}

static void open_tuned(struct tuned *t)
{
    char folder[64];
    struct fdit_mask mask;
    ck_assert_ok(ctx, fdit_mask_parse(ctx, t->mask, &mask));
    t->files[1] = open_file("student.safetensors");
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, t->files[1], "48,2,3,2", &t->config));
    if (mask.adapter.gammas) {
        t->config.adapter = mask.adapter;
        t->files[0] = delta_of_gammas(t);
        return;
    }
    snprintf(folder, sizeof folder, "peft_%s", t->tag);
    t->files[0] = open_file(folder);
    ck_assert(fdit_checkpoint_is_peft(t->files[0]));
    t->config.adapter = *fdit_checkpoint_adapter(t->files[0]);
    ck_assert_int_eq(t->config.adapter.rank, 3);
}

static void close_tuned(struct tuned *t)
{
    fdit_checkpoint_close(t->files[0]);
    fdit_checkpoint_close(t->files[1]);
}

static float *forward(struct fdit_model *m, size_t *n)
{
    size_t b, size;
    float *x = test_floats(ctx, st, "x", &size);
    int32_t *t = test_ints(ctx, st, "t", &b), *rows = test_ints(ctx, st, "rows", NULL);
    double times[3];
    ck_assert_uint_eq(b, 3);
    for (size_t i = 0; i < b; i++)
        times[i] = t[i];
    fdit_write(dev, m->input, x, size);
    fdit_write(dev, m->index, rows, b);
    fdit_model_write_times(m, (int)b, times);
    fdit_forward(m, (int)b);
    *n = 2 * size;
    float *out = calloc(*n, sizeof *out);
    ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, out, *n));
    fdit_free(x);
    fdit_free(t);
    fdit_free(rows);
    return out;
}

/* The output of a model without backward pass, with the adapter apart or merged at load. */
static void check_drawing(const struct tuned *t, bool merged)
{
    const struct fdit_model_options options = { .batch = 3, .conditions = 5, .storage = FDIT_F32 };
    struct fdit_model_config config = t->config;
    struct fdit_model *m = NULL;
    char name[96];
    size_t n;
    if (merged)
        config.adapter = (struct fdit_adapter){ 0 };
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    ck_assert_ok(ctx, fdit_model_load(ctx, m, t->files, 2, false, NULL));
    snprintf(name, sizeof name, "%s.out", t->tag);
    float *got = forward(m, &n), *wanted = test_floats(ctx, st, name, NULL);
    agree(t->tag, "out", name, got, wanted, n, 0, 0);
    fdit_free(wanted);
    free(got);
    fdit_model_free(m);
}

/* Parameters whose merged numbers the fixture has. */
static void check_merged(const struct tuned *t)
{
    struct fdit_params params = { 0 };
    size_t compared = 0;
    ck_assert_ok(ctx, fdit_params_init(ctx, &t->config, NULL, &params));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        char name[160];
        size_t n;
        snprintf(name, sizeof name, "%s.merged.%s", t->tag, p->name);
        if (!fdit_safetensors_find(st, name))
            continue;
        float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
        ck_assert_uint_eq(n, p->count);
        ck_assert_ok(ctx, fdit_checkpoint_read(ctx, t->files[1], p, got));
        ck_assert(fdit_merge_changes(t->files[0], p));
        for (size_t at = 0; at < n; at += 1000) { /* pieces end within rows */
            size_t piece = n - at < 1000 ? n - at : 1000;
            ck_assert_ok(ctx, fdit_merge_adapter(ctx, t->files[0], p, at, piece, got + at));
        }
        agree(t->tag, "merged weights", name, got, wanted, n, 0, 0);
        fdit_free(wanted);
        free(got);
        compared++;
    }
    ck_assert_uint_ge(compared, 2);
    fdit_params_fini(&params);
}

struct batch {
    float *x0, *noise;
    int32_t *rows;
    double t[3];
};

static struct batch open_batch(void)
{
    struct batch b = { .x0 = test_floats(ctx, st, "loss.x0", NULL),
                       .noise = test_floats(ctx, st, "loss.noise", NULL),
                       .rows = test_ints(ctx, st, "loss.rows", NULL) };
    int32_t *t = test_ints(ctx, st, "loss.t", NULL);
    for (int i = 0; i < 3; i++)
        b.t[i] = t[i];
    fdit_free(t);
    return b;
}

static void close_batch(struct batch *b)
{
    fdit_free(b->x0);
    fdit_free(b->noise);
    fdit_free(b->rows);
}

/* Samples first .. first + n - 1; index: of the micro-batch. */
static void run_part(struct fdit_step *step, const struct batch *b, int first, int n, int index)
{
    const size_t item = 4 * 8 * 8;
    fdit_step_micro(step, &(struct fdit_micro){ .samples = n,
                                                .x0 = b->x0 + (size_t)first * item,
                                                .noise = b->noise + (size_t)first * item,
                                                .t = b->t + first,
                                                .rows = b->rows + first,
                                                .first = index == 0,
                                                .index = index,
                                                .loss_scale = 1.0 / 3 });
}

/* Compares tag.PREFIX.NAME of every trained parameter. The key third of qkv.bias has no true gradient, and
 * what an optimiser makes of it is rounding. */
static size_t compare_params(const struct tuned *t, struct fdit_model *m, bool gradients, size_t exceptions,
                             double size)
{
    const char *key = gradients                  ? "gradients"
                      : t->config.adapter.gammas ? "gammas after 3 steps"
                                                 : "parameters after 3 steps";
    const size_t d = (size_t)m->config.width;
    size_t compared = 0;
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        char name[160];
        size_t n;
        snprintf(name, sizeof name, "%s.%s.%s", t->tag, gradients ? "grad" : "train.step3", p->name);
        if (!p->trained || (!gradients && !fdit_safetensors_find(st, name)))
            continue;
        float *wanted = test_floats(ctx, st, name, &n), *got = calloc(n, sizeof *got);
        ck_assert_uint_eq(n, p->count);
        ck_assert_ok(ctx,
                     fdit_read(ctx, dev, gradients ? fdit_param_grad(m, p) : fdit_param_value(m, p), got, n));
        if (!gradients && strstr(p->name, "qkv.bias"))
            memcpy(got + d, wanted + d, d * sizeof *got);
        agree(t->tag, key, name, got, wanted, n, exceptions ? n / 200 + 1 : 0, size);
        fdit_free(wanted);
        free(got);
        compared++;
    }
    return compared;
}

static struct fdit_model *train_model(const struct tuned *t, enum fdit_recompute recompute, int micros,
                                      struct fdit_step **step)
{
    struct fdit_model_options options = {
        .training = true, .moments = 2, .ema = true, .batch = 3, .recompute = recompute
    };
    struct fdit_model *m = NULL;
    struct fdit_mask mask;
    ck_assert_ok(ctx, fdit_mask_parse(ctx, t->mask, &mask));
    ck_assert(fdit_adapter_equal(&mask.adapter, &t->config.adapter));
    options.mask = &mask;
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &t->config, &options, &m));
    ck_assert_ok(ctx, fdit_step_new(ctx, m, fdit_objective_find("ddpm"), micros, step));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_step_bind(*step);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, t->files, 2, false, NULL));
    return m;
}

static void check_losses(const struct tuned *t, struct fdit_step *step)
{
    char name[64];
    float mse[3], vb[3];
    ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, 3, mse, vb));
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.%s", t->tag, i ? "vb" : "mse");
        float *wanted = test_floats(ctx, st, name, NULL);
        agree(t->tag, "mse, vb", name, i ? vb : mse, wanted, 3, 0, 0);
        fdit_free(wanted);
    }
}

/* Losses and gradients: whole, with everything computed again, and of micro-batches. */
static void check_gradients(const struct tuned *t)
{
    struct batch b = open_batch();
    for (int k = 0; k < 4; k++) {
        struct fdit_step *step = NULL;
        struct fdit_model *m = train_model(t, k < 3 ? (enum fdit_recompute)k : FDIT_RECOMPUTE_NONE, 2, &step);
        if (k < 3) {
            run_part(step, &b, 0, 3, 0);
            check_losses(t, step);
        } else {
            run_part(step, &b, 0, 1, 0);
            run_part(step, &b, 1, 2, 1);
        }
        ck_assert_uint_ge(compare_params(t, m, true, 0, 0), 17);
        fdit_step_free(step);
        fdit_model_free(m);
    }
    close_batch(&b);
}

static void check_training(const struct tuned *t)
{
    struct batch b = open_batch();
    struct fdit_step *step = NULL;
    char name[64];
    size_t n;
    snprintf(name, sizeof name, "%s.train.losses", t->tag);
    if (!fdit_safetensors_find(st, name)) {
        close_batch(&b);
        return;
    }
    float *losses = test_floats(ctx, st, name, &n), got[9];
    ck_assert_uint_eq(n, 9);
    struct fdit_model *m = train_model(t, FDIT_RECOMPUTE_NONE, 1, &step);
    for (int k = 0; k < 3; k++) {
        float mse[3], vb[3];
        run_part(step, &b, 0, 3, 0);
        ck_assert_ok(ctx, fdit_step_sample_losses(ctx, step, 0, 3, mse, vb));
        for (int i = 0; i < 3; i++)
            got[3 * k + i] = mse[i] + vb[i];
        fdit_step_update(step, &(struct fdit_update){ .optimiser = fdit_optimiser_find("adamw"),
                                                      .n = k + 1,
                                                      .lr = 1e-2,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .eps = 1e-8,
                                                      .ema_decay = 0.9 });
    }
    agree(t->tag, "losses of 3 steps, rate 1e-2", name, got, losses, n, 0, 0);
    if (test_precision() == FDIT_F32) /* else the signs of small gradients are those of rounding */
        ck_assert_uint_ge(compare_params(t, m, false, 1, 3e-2), t->config.adapter.gammas ? 4 : 17);
    fdit_free(losses);
    fdit_step_free(step);
    fdit_model_free(m);
    close_batch(&b);
}

START_TEST(test_methods)
{
    const char *devices[8];
    struct tuned t = cases[_i];
    const int n = test_devices(devices);
    open_tuned(&t);
    check_merged(&t);
    for (int d = 0; d < n; d++) {
        dev = test_open_device(ctx, devices[d], 2);
        check_drawing(&t, false);
        check_drawing(&t, true);
        if (test_precision() != FDIT_I8) {
            check_gradients(&t);
            check_training(&t);
        }
        fdit_device_close(dev);
    }
    close_tuned(&t);
}
END_TEST

/* ------------------------------------------------------------------ without a reference */

/* What is measured is what was planned, in training and drawing. */
START_TEST(test_plan)
{
    const char *devices[8];
    const int n = test_devices(devices);
    for (int d = 0; d < n; d++)
        for (int k = 0; k < 2 * N_CASES; k++) {
            struct tuned t = cases[k / 2];
            struct fdit_mask mask;
            struct fdit_model *m = NULL;
            open_tuned(&t);
            dev = test_open_device(ctx, devices[d], 2);
            ck_assert_ok(ctx, fdit_mask_parse(ctx, t.mask, &mask));
            const struct fdit_model_options options = {
                .training = k % 2, .mask = k % 2 ? &mask : NULL, .moments = k % 2 ? 2 : 0, .batch = 3
            };
            ck_assert_ok(ctx, fdit_model_new(ctx, dev, &t.config, &options, &m));
            ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
            ck_assert_ok(ctx, fdit_model_load(ctx, m, t.files, 2, false, NULL));
            const uint64_t made = fdit_device_objects_made(dev);
            fdit_fill(dev, m->input, 3 * 4 * 8 * 8, 0.5f);
            fdit_forward(m, 3);
            if (k % 2)
                fdit_backward(m, 3, 0);
            ck_assert_ok(ctx, fdit_device_sync(ctx, dev));
            ck_assert_uint_eq(fdit_device_objects_made(dev), made);
            if (!strstr(devices[d], "opencl")) /* which counts its alignment, too */
                ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes +
                                      fdit_plan_kind_bytes(&m->plan, FDIT_PLAN_WORKSPACE),
                                  fdit_plan_device_bytes(&m->plan));
            fdit_model_free(m);
            fdit_device_close(dev);
            close_tuned(&t);
        }
}
END_TEST

static double inner(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* <output, weights> after the parameter was set to values + h direction. */
static double moved(struct fdit_model *m, struct fdit_param *p, const float *values, const float *direction,
                    double h, const float *weights, float *room)
{
    size_t n;
    for (size_t i = 0; i < p->count; i++)
        room[i] = (float)((double)values[i] + h * (double)direction[i]);
    ck_assert_ok(ctx, fdit_model_set(ctx, m, p, room));
    float *out = forward(m, &n);
    const double sum = inner(out, weights, n);
    free(out);
    return sum;
}

/* The gradient of a parameter of an adapter along a random direction, against differences of order four. */
static void check_direction(struct fdit_model *m, struct fdit_param *p, const float *weights)
{
    float *values = calloc(p->count, sizeof(float)), *direction = calloc(p->count, sizeof(float));
    float *gradient = calloc(p->count, sizeof(float)), *room = calloc(p->count, sizeof(float));
    const double h = 0.02;
    uint32_t state = 1;
    ck_assert_ok(ctx, fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, values));
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_param_grad(m, p), gradient, p->count));
    for (size_t i = 0; i < p->count; i++) {
        state = state * 1664525u + 1013904223u;
        direction[i] = (state >> 31 ? 1.0f : -1.0f) / sqrtf((float)p->count);
    }
    const double near =
        moved(m, p, values, direction, h, weights, room) - moved(m, p, values, direction, -h, weights, room);
    const double far = moved(m, p, values, direction, 2 * h, weights, room) -
                       moved(m, p, values, direction, -2 * h, weights, room);
    const double wanted = (8 * near - far) / (12 * h), got = inner(gradient, direction, p->count);
    const double size = sqrt(inner(gradient, gradient, p->count));
    ck_assert_msg(fabs(got - wanted) <= 2e-3 * size, "%s: %.9g along a direction, %.9g by differences, of %g",
                  p->name, got, wanted, size);
    ck_assert_ok(ctx, fdit_model_set(ctx, m, p, values));
    free(values);
    free(direction);
    free(gradient);
    free(room);
}

START_TEST(test_differences)
{
    struct tuned t = cases[_i];
    struct fdit_step *step = NULL;
    size_t n, checked = 0;
    open_tuned(&t);
    dev = test_open_device(ctx, "ref", 1);
    struct fdit_model *m = train_model(&t, FDIT_RECOMPUTE_NONE, 1, &step);
    float *out = forward(m, &n), *weights = calloc(n, sizeof *weights);
    for (size_t i = 0; i < n; i++)
        weights[i] = (float)(i * 7919 % 101) / 50.0f - 1;
    fdit_write(dev, m->doutput, weights, n);
    fdit_backward(m, 3, 0);
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        if (p->kind != FDIT_PARAM_LOW_RANK && p->kind != FDIT_PARAM_GAMMA)
            continue;
        check_direction(m, p, weights);
        checked++;
    }
    ck_assert_uint_eq(checked, t.config.adapter.rank                           ? 16
                               : t.config.adapter.gammas == FDIT_GAMMAS_BRANCH ? 4
                                                                               : 8);
    free(out);
    free(weights);
    fdit_step_free(step);
    fdit_model_free(m);
    fdit_device_close(dev);
    close_tuned(&t);
}
END_TEST

/* A batch is its samples alone, and any number of threads, to the bit. */
START_TEST(test_same_bits)
{
    struct tuned t = cases[0];
    float *first = NULL;
    size_t n;
    open_tuned(&t);
    for (int threads = 1; threads <= 3; threads++) {
        const struct fdit_model_options options = { .batch = 3 };
        struct fdit_model *m = NULL;
        dev = test_open_device(ctx, "cpu", threads);
        ck_assert_ok(ctx, fdit_model_new(ctx, dev, &t.config, &options, &m));
        ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
        ck_assert_ok(ctx, fdit_model_load(ctx, m, t.files, 2, false, NULL));
        float *got = forward(m, &n);
        if (first) {
            ck_assert_uint_eq(test_first_difference(got, first, n, sizeof *got), n);
            free(got);
        } else {
            first = got;
        }
        if (threads == 3) { /* its last sample alone */
            float *x = test_floats(ctx, st, "x", NULL);
            int32_t *time = test_ints(ctx, st, "t", NULL), *rows = test_ints(ctx, st, "rows", NULL);
            const double at = time[2];
            const size_t each = n / 3;
            float *one = calloc(each, sizeof *one);
            fdit_write(dev, m->input, x + each, each / 2);
            fdit_write(dev, m->index, rows + 2, 1);
            fdit_model_write_times(m, 1, &at);
            fdit_forward(m, 1);
            ck_assert_ok(ctx, fdit_read(ctx, dev, m->output, one, each));
            ck_assert_uint_eq(test_first_difference(one, first + 2 * each, each, sizeof *one), each);
            fdit_free(x);
            fdit_free(time);
            fdit_free(rows);
            free(one);
        }
        fdit_model_free(m);
        fdit_device_close(dev);
    }
    free(first);
    close_tuned(&t);
}
END_TEST

/* At first an adapter changes nothing; A is uniform in +- 1/sqrt(n_in), a function of seed and name. */
START_TEST(test_start)
{
    struct tuned t = cases[0];
    struct fdit_model *m[3] = { NULL };
    struct fdit_model_options options = { .batch = 3 };
    float *out[3];
    size_t n;
    open_tuned(&t);
    dev = test_open_device(ctx, "cpu", 2);
    for (int k = 0; k < 3; k++) {
        struct fdit_model_config config = t.config;
        if (k == 2)
            config.adapter = (struct fdit_adapter){ 0 };
        ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, &options, &m[k]));
        ck_assert_ok(ctx, fdit_model_allocate(ctx, m[k]));
        ck_assert_ok(ctx, fdit_model_load(ctx, m[k], &t.files[1], 1, false, NULL));
        ck_assert_ok(ctx, fdit_model_init_adapters(ctx, m[k], NULL, (uint64_t)(7 + k)));
        out[k] = forward(m[k], &n);
    }
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < n; i++)
            ck_assert(!(out[k][i] < out[2][i]) && !(out[k][i] > out[2][i]));
    const struct fdit_param *a = fdit_params_find(&m[0]->params, "blocks.1.mlp.fc2.lora_A");
    const struct fdit_param *b = fdit_params_find(&m[0]->params, "blocks.1.mlp.fc2.lora_B");
    float *numbers[2] = { calloc(a->count, sizeof(float)), calloc(a->count, sizeof(float)) },
          *zero = calloc(b->count, sizeof(float));
    double squares = 0, largest = 0;
    for (int k = 0; k < 2; k++)
        ck_assert_ok(ctx, fdit_model_get(ctx, m[k], fdit_params_find(&m[k]->params, a->name), FDIT_VALUES_RAW,
                                         numbers[k]));
    ck_assert_ok(ctx, fdit_model_get(ctx, m[0], b, FDIT_VALUES_RAW, zero));
    for (size_t i = 0; i < a->count; i++) {
        const double x = (double)numbers[0][i];
        squares += x * x;
        largest = fabs(x) > largest ? fabs(x) : largest;
    }
    for (size_t i = 0; i < b->count; i++)
        ck_assert(!(zero[i] < 0) && !(zero[i] > 0));
    ck_assert_uint_eq(a->count, 3 * 192);
    ck_assert(largest <= 1 / sqrt(192.0) && largest > 0.95 / sqrt(192.0));
    ck_assert_double_eq_tol(squares / (double)a->count, 1 / (3 * 192.0), 0.1 / (3 * 192.0));
    ck_assert_uint_lt(test_first_difference(numbers[0], numbers[1], a->count, sizeof(float)), a->count);
    for (int k = 0; k < 3; k++) {
        free(out[k]);
        fdit_model_free(m[k]);
    }
    free(numbers[0]);
    free(numbers[1]);
    free(zero);
    fdit_device_close(dev);
    close_tuned(&t);
}
END_TEST

static const struct {
    const char *text;
    const char *says; /* NULL: it is one */
    const char *trains[3], *leaves[3];
} masks[] = {
    { "lora:16",
      NULL,
      { "y_embedder.embedding_table.weight", "blocks.0.attn.qkv.lora_A", "blocks.0.mlp.fc2.lora_B" },
      { "blocks.0.attn.qkv.bias", "blocks.0.norm1.weight", "blocks.0.attn.qkv.weight" } },
    { "lora:16+bias", NULL, { "blocks.0.attn.qkv.bias" }, { "blocks.0.norm1.bias" } },
    { "table+lora:16:8.5+norm",
      NULL,
      { "blocks.0.norm1.bias", "final_layer.norm_final.weight" },
      { "blocks.0.attn.qkv.bias" } },
    { "finediffusion+rslora:4",
      NULL,
      { "blocks.0.attn.qkv.bias", "blocks.0.norm1.weight", "blocks.0.attn.qkv.lora_B" },
      { "blocks.0.attn.qkv.weight" } },
    { "bitfit+norm",
      NULL,
      { "blocks.0.attn.qkv.bias", "blocks.0.norm1.weight" },
      { "blocks.0.attn.qkv.weight" } },
    { "difffit",
      NULL,
      { "blocks.0.gamma1", "blocks.0.attn.qkv.bias", "blocks.0.norm1.weight" },
      { "blocks.0.attn.qkv.weight" } },
    { "difffit-linear",
      NULL,
      { "blocks.0.attn.gamma1", "blocks.0.mlp.gamma2" },
      { "blocks.0.attn.qkv.weight" } },
    { "difffit+lora:4", "takes one adapter", { NULL }, { NULL } },
    { "difffit+full", "leave \"full\" out", { NULL }, { NULL } },
    { "difffit:4", "takes no number", { NULL }, { NULL } },
    { "lora", "give the rank, as lora:16", { NULL }, { NULL } },
    { "lora:", "give the rank", { NULL }, { NULL } },
    { "lora:x", "give the rank", { NULL }, { NULL } },
    { "lora:-4", "give the rank", { NULL }, { NULL } },
    { "lora:16x", "give the rank", { NULL }, { NULL } },
    { "lora:16:", "give the rank", { NULL }, { NULL } },
    { "lora:0", "1 to the width", { NULL }, { NULL } },
    { "lora:99999999999999999999", "1 to the width", { NULL }, { NULL } },
    { "lora:16:nan", "alpha must be a number above 0", { NULL }, { NULL } },
    { "lora:16:inf", "alpha must be", { NULL }, { NULL } },
    { "lora:16:0", "alpha must be", { NULL }, { NULL } },
    { "lora:16:-1", "alpha must be", { NULL }, { NULL } },
    { "lora:4+rslora:4", "takes one adapter", { NULL }, { NULL } },
    { "full+lora:4", "leave \"full\" out", { NULL }, { NULL } },
    { "lora:4+everything", "\"everything\" is not known", { NULL }, { NULL } },
    { "norm:4", "takes no number", { NULL }, { NULL } },
    { "norm+", "\"\" is not known", { NULL }, { NULL } },
    { "", "\"\" is not known", { NULL }, { NULL } },
    { "norm+norm+norm+norm+norm+norm+norm+norm+norm", "too many words", { NULL }, { NULL } },
};

START_TEST(test_masks)
{
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        struct fdit_mask mask;
        const enum fdit_status status = fdit_mask_parse(ctx, masks[i].text, &mask);
        ck_assert_msg((status == FDIT_OK) == !masks[i].says, "%s: %s", masks[i].text,
                      fdit_context_message(ctx));
        if (masks[i].says)
            ck_assert_msg(strstr(fdit_context_message(ctx), masks[i].says) != NULL, "%s: %s", masks[i].text,
                          fdit_context_message(ctx));
        for (int k = 0; k < 3 && !masks[i].says; k++) {
            ck_assert(!masks[i].trains[k] || fdit_mask_trains(&mask, masks[i].trains[k]));
            ck_assert(!masks[i].leaves[k] || !fdit_mask_trains(&mask, masks[i].leaves[k]));
        }
    }
}
END_TEST

/* A rank above the width is refused by the model, which knows its width. */
START_TEST(test_rank)
{
    struct tuned t = cases[0];
    struct fdit_params params = { 0 };
    open_tuned(&t);
    t.config.adapter.rank = 48;
    ck_assert_ok(ctx, fdit_params_init(ctx, &t.config, NULL, &params));
    fdit_params_fini(&params);
    t.config.adapter.rank = 49;
    ck_assert_int_eq(fdit_params_init(ctx, &t.config, NULL, &params), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "rank 49: the model has width 48"));
    close_tuned(&t);
}
END_TEST

/* ------------------------------------------------------------------ PEFT's names and description */

START_TEST(test_peft_names)
{
    static const char *const pairs[][2] = {
        { "blocks.0.attn.qkv.lora_A", "base_model.model.blocks.0.attn.qkv.lora_A.weight" },
        { "blocks.11.mlp.fc2.lora_B", "base_model.model.blocks.11.mlp.fc2.lora_B.weight" },
        { "blocks.0.attn.proj.bias", "base_model.model.blocks.0.attn.proj.base_layer.bias" },
        { "x_embedder.proj.bias", "base_model.model.x_embedder.proj.bias" },
        { "blocks.0.norm1.bias", "base_model.model.blocks.0.norm1.bias" },
        { "y_embedder.embedding_table.weight", "base_model.model.y_embedder.embedding_table.weight" },
    };
    static const char *const others[] = { "base_model.model.blocks.0.norm1.modules_to_save.bias",
                                          "base_model.model.blocks.0.norm1.original_module.bias",
                                          "blocks.0.attn.qkv.weight" };
    char ours[128], *theirs = NULL;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ck_assert(fdit_peft_ours(pairs[i][1], ours));
        ck_assert_str_eq(ours, pairs[i][0]);
        ck_assert_ok(ctx, fdit_peft_theirs(ctx, pairs[i][0], &theirs));
        ck_assert_str_eq(theirs, pairs[i][1]);
        fdit_free(theirs);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert(!fdit_peft_ours(others[i], ours));
}
END_TEST

static const struct {
    const char *more; /* entries in place of a rank and an alpha that are fine */
    const char *says; /* NULL: accepted */
} configs[] = {
    { "\"r\":4,\"lora_alpha\":8", NULL },
    { "\"r\":4,\"lora_alpha\":8,\"rank_pattern\":{},\"layers_to_transform\":null,\"lora_bias\":false", NULL },
    { "\"r\":4,\"lora_alpha\":8,\"init_lora_weights\":\"gaussian\",\"megatron_core\":\"megatron.core\"",
      NULL },
    { "\"r\":4,\"lora_alpha\":8,\"target_modules\":\"blocks.*(qkv|proj|fc1|fc2)\"", NULL },
    { "\"r\":0,\"lora_alpha\":8", "\"r\" is 0" },
    { "\"r\":4,\"lora_alpha\":null", "\"lora_alpha\" is null" },
    { "\"r\":4,\"lora_alpha\":8,\"rank_pattern\":{\"qkv\":8}", "\"rank_pattern\"" },
    { "\"r\":4,\"lora_alpha\":8,\"alpha_pattern\":{\"qkv\":8}", "\"alpha_pattern\"" },
    { "\"r\":4,\"lora_alpha\":8,\"fan_in_fan_out\":true", "\"fan_in_fan_out\" is true" },
    { "\"r\":4,\"lora_alpha\":8,\"lora_bias\":true", "\"lora_bias\" is true" },
    { "\"r\":4,\"lora_alpha\":8,\"layers_to_transform\":[1]", "\"layers_to_transform\"" },
    { "\"r\":4,\"lora_alpha\":8,\"init_lora_weights\":\"pissa\"", "\"init_lora_weights\"" },
    { "\"r\":4,\"lora_alpha\":8,\"bias\":\"lora_only\"", "\"bias\" is \"lora_only\"" },
    { "\"r\":4,\"lora_alpha\":8,\"use_new_trick\":true", "\"use_new_trick\" is true" },
};

START_TEST(test_peft_config)
{
    struct fdit_adapter a = { .rank = 3, .alpha = 5.5, .rslora = true }, b;
    ck_assert_ok(ctx, fdit_peft_write(ctx, "adapter_config.json", &a, true, true));
    ck_assert_ok(ctx, fdit_peft_read(ctx, FDIT_PEFT_WEIGHTS, &b));
    ck_assert(fdit_adapter_equal(&a, &b));
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        FILE *f = fopen("adapter_config.json", "w");
        ck_assert_ptr_nonnull(f);
        fprintf(f, "{\"peft_type\":\"LORA\",%s}", configs[i].more);
        fclose(f);
        const enum fdit_status status = fdit_peft_read(ctx, FDIT_PEFT_WEIGHTS, &b);
        ck_assert_msg((status == FDIT_OK) == !configs[i].says, "%s: %s", configs[i].more,
                      fdit_context_message(ctx));
        if (configs[i].says)
            ck_assert_msg(strstr(fdit_context_message(ctx), configs[i].says) != NULL, "%s: %s",
                          configs[i].more, fdit_context_message(ctx));
    }
    remove("adapter_config.json");
}
END_TEST

static void open_fixtures(void)
{
    st = test_open(ctx, "adapters/adapters.safetensors");
    tolerances = test_json(ctx, "adapters/tolerances.json");
}

static void close_fixtures(void)
{
    json_decref(tolerances);
    fdit_safetensors_close(st);
}

int main(void)
{
    Suite *suite = suite_create("adapters");
    TCase *tc = tcase_create("adapters");
    ctx = fdit_context_new();
    tcase_add_unchecked_fixture(tc, open_fixtures, close_fixtures);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, test_methods, 0, N_CASES);
    tcase_add_test(tc, test_plan);
    tcase_add_loop_test(tc, test_differences, 0, N_CASES);
    tcase_add_test(tc, test_same_bits);
    tcase_add_test(tc, test_start);
    tcase_add_test(tc, test_masks);
    tcase_add_test(tc, test_rank);
    tcase_add_test(tc, test_peft_names);
    tcase_add_test(tc, test_peft_config);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
