/* SPDX-License-Identifier: Apache-2.0
 * test_tune.c: tuning a device. What is kept is found again by the next process, changes no bit
 * where our own kernels compute, and counts as nothing where its file is damaged. */
#include "device/backend.h"
#include "core/file.h"
#include "core/mem.h"
#include "data_fixture.h"
#include "devices.h"
#include "harness.h"
#include "opencl_fixture.h"
#include "model/model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 2, ROWS = 32, IN = 48, OUT = 64 };
static fdit_context *ctx;
static char *folder;
static const char *spec; /* of the device */

static const struct fdit_op_shape shapes[] = {
    { .op = FDIT_OP_LINEAR, .samples = SAMPLES, .tokens = ROWS, .n_in = IN, .n_out = OUT },
    { .op = FDIT_OP_LINEAR_DX, .samples = SAMPLES, .tokens = ROWS, .n_in = IN, .n_out = OUT },
    { .op = FDIT_OP_LINEAR, .samples = SAMPLES, .tokens = 1, .n_in = IN, .n_out = OUT },
    { .op = FDIT_OP_NORM, .samples = SAMPLES, .tokens = ROWS, .n_out = OUT },
};
enum { SHAPES = 4, PRODUCTS = 2 }; /* one row a sample is not tuned */

static int warnings;
static void on_log(void *user, enum fdit_log_level level, const char *message)
{
    (void)user;
    (void)message;
    warnings += level == FDIT_LOG_WARNING;
}

static void setup(void)
{
    ctx = fdit_context_new();
    folder = test_folder();
    setenv("FINEDIFFUSION_CACHE", folder, 1);
    unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    warnings = 0;
    fdit_context_set_log(ctx, on_log, NULL);
}

static void teardown(void)
{
    test_folder_remove(folder);
    fdit_context_free(ctx);
}

static fdit_device *open_in(enum fdit_dtype precision)
{
    const struct fdit_device_options options = { .spec = spec, .precision = precision };
    fdit_device *dev;
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &options, &dev));
    ck_assert(dev->info.tunable);
    return dev;
}

static fdit_device *open_device(void)
{
    return open_in(FDIT_F32);
}

/* y = x W^T of the first shape. */
static void product(fdit_device *dev, float *y)
{
    static float x[SAMPLES * ROWS * IN], w[OUT * IN];
    struct test_rng rng = test_rng_new("tune");
    fdit_buffer *buffer;
    fdit_weight *weight;
    test_fill_normal(&rng, x, SAMPLES * ROWS * IN, 0, 1);
    test_fill_normal(&rng, w, OUT * IN, 0, 1);
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, shapes, SHAPES)));
    ck_assert_ok(ctx,
                 fdit_buffer_new(ctx, dev, sizeof x + SAMPLES * ROWS * OUT * sizeof *y, "rows", &buffer));
    ck_assert_ok(
        ctx, fdit_weight_new(ctx, dev, &(struct fdit_weight_desc){ .n_in = IN, .n_out = OUT }, w, &weight));
    struct fdit_tensor at = fdit_tensor_of(buffer, FDIT_F32), to = fdit_at(at, SAMPLES * ROWS * IN);
    fdit_write(dev, at, x, SAMPLES * ROWS * IN);
    fdit_linear(dev, &(struct fdit_linear_args){ .samples = SAMPLES,
                                                 .tokens = ROWS,
                                                 .n_in = IN,
                                                 .n_out = OUT,
                                                 .x = at,
                                                 .y = to,
                                                 .weight = weight });
    ck_assert_ok(ctx, fdit_read(ctx, dev, to, y, SAMPLES * ROWS * OUT));
    fdit_weight_free(weight);
    fdit_buffer_free(buffer);
}

struct seen {
    int results, trials, most;
    bool interrupt;
};

static void on_progress(void *user, int done, int all, const char *what)
{
    struct seen *s = user;
    s->trials++;
    s->most = all;
    ck_assert_int_le(done, all);
    ck_assert_uint_gt(strlen(what), 0);
    if (s->interrupt && s->trials == 3)
        fdit_context_stop(ctx);
}

static void on_result(void *user, const struct fdit_tune_result *r)
{
    struct seen *s = user;
    s->results++;
    ck_assert(r->seconds_after <= r->seconds_before && r->seconds_after > 0);
    ck_assert(r->flops == 2.0 * SAMPLES * ROWS * IN * OUT);
}

static enum fdit_status tune(fdit_device *dev, struct seen *seen, int library, char **where)
{
    const struct fdit_tune_options o = {
        .library_trials = library, .on_progress = on_progress, .on_result = on_result, .user = seen
    };
    return fdit_device_tune(ctx, dev, shapes, SHAPES, &o, where);
}

START_TEST(kept)
{
    static float before[SAMPLES * ROWS * OUT], after[SAMPLES * ROWS * OUT], later[SAMPLES * ROWS * OUT];
    struct seen seen = { 0 };
    fdit_device *dev = open_device();
    char *where = NULL;
    ck_assert_int_eq(fdit_device_tuned(dev), 0);
    product(dev, before);
    ck_assert_ok(ctx, tune(dev, &seen, 0, &where));
    ck_assert_int_eq(seen.results, PRODUCTS);
    ck_assert_int_gt(seen.trials, 8);
    ck_assert_int_eq(fdit_device_tuned(dev), PRODUCTS);
    ck_assert(fdit_is_file(where));
    product(dev, after);
    fdit_device_close(dev);
    dev = open_device();
    ck_assert_int_eq(fdit_device_tuned(dev), PRODUCTS);
    product(dev, later);
    fdit_device_close(dev);
    ck_assert_uint_eq(test_first_difference(before, after, SAMPLES * ROWS * OUT, sizeof *after),
                      SAMPLES * ROWS * OUT);
    ck_assert_uint_eq(test_first_difference(before, later, SAMPLES * ROWS * OUT, sizeof *after),
                      SAMPLES * ROWS * OUT);
    setenv("FINEDIFFUSION_OPENCL_GEMM", "default", 1);
    dev = open_device();
    ck_assert_int_eq(fdit_device_tuned(dev), 0);
    fdit_device_close(dev);
    ck_assert_int_eq(warnings, 0);
    fdit_free(where);
}
END_TEST

static void rewrite(const char *path, const char *text)
{
    ck_assert_ok(ctx, fdit_file_write(ctx, path, false, text, strlen(text)));
}

START_TEST(files)
{
    struct seen seen = { 0 };
    fdit_device *dev = open_device();
    char *where = NULL;
    uint8_t *good = NULL;
    size_t size;
    ck_assert_ok(ctx, tune(dev, &seen, 0, &where));
    fdit_device_close(dev);
    ck_assert_ok(ctx, fdit_file_read_all(ctx, where, 1 << 16, &good, &size));
    static const char *const bad[] = {
        "",
        "finediffusion tuned 2\nend 0\n",
        "finediffusion tuned 1\n",
        "finediffusion tuned 1\nforward weight f32 64 48 tile im=4 nv=4 step=16\n",
        "finediffusion tuned 1\nforward weight f32 64 48 tile im=99 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nsideways weight f32 64 48 tile im=4 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nforward weight f99 64 48 tile im=4 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nforward weight f32 -64 48 tile im=4 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nforward weight f32 64 48 default\nend 1\n",
        "finediffusion tuned 1\nforward weight bf16 64 48 in f99 tile im=4 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nforward weight bf16 64 48 in bf16\nend 1\n",
        "finediffusion tuned 1\nforward weight bf16 64 48 bf16 tile im=4 nv=4 step=16\nend 1\n",
        "finediffusion tuned 1\nend 0\nforward weight f32 64 48 tile im=4 nv=4 step=16\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        warnings = 0;
        rewrite(where, bad[i]);
        dev = open_device();
        ck_assert_msg(fdit_device_tuned(dev) == 0 && warnings > 0, "file %zu", i);
        fdit_device_close(dev);
    }
    /* Cut anywhere, it is not half of it. */
    for (size_t cut = 0; cut + 1 < size; cut += 1 + size / 16) {
        ck_assert_ok(ctx, fdit_file_write(ctx, where, false, good, cut));
        dev = open_device();
        ck_assert_msg(fdit_device_tuned(dev) == 0, "cut at %zu", cut);
        fdit_device_close(dev);
    }
    warnings = 0; /* CLBlast's product without its parameters */
    rewrite(where, "finediffusion tuned 1\nforward weight f32 64 48 clblast\n"
                   "dx weight f32 48 64 tile im=2 nv=2 step=8\nend 2\n");
    dev = open_device();
    ck_assert_int_eq(fdit_device_tuned(dev), 1);
    fdit_device_close(dev);
    rewrite(where, "finediffusion tuned 1\nclblast indirect NOTHING=1\nforward weight f32 64 48 clblast\n"
                   "dx weight f32 48 64 tile im=2 nv=2 step=8\nend 2\n");
    dev = open_device();
    ck_assert_int_eq(fdit_device_tuned(dev), 1);
    ck_assert_int_gt(warnings, 0);
    fdit_device_close(dev);
    fdit_free(good);
    fdit_free(where);
}
END_TEST

/* Each precision has lines of its own, by what its products multiply and how their weights are kept, and
 * takes the place of no other's. In int8 a product of small weights is one of bf16. */
START_TEST(precisions)
{
    static const struct fdit_op_shape products[] = {
        { .op = FDIT_OP_LINEAR, .samples = 1, .tokens = 32, .n_in = 64, .n_out = 96 },
        { .op = FDIT_OP_LINEAR, .samples = 1, .tokens = 32, .n_in = 32, .n_out = 96 },
        { .op = FDIT_OP_LINEAR_DX, .samples = 1, .tokens = 32, .n_in = 64, .n_out = 96 },
        { .op = FDIT_OP_LINEAR_DW, .samples = 1, .tokens = 32, .n_in = 64, .n_out = 96 },
    };
    static const struct {
        enum fdit_dtype precision;
        const char *lines[4];
    } wanted[] = {
        { FDIT_F32,
          { "forward weight f32 96 64 registers ", "forward weight f32 96 32 registers ",
            "dx weight f32 64 96 registers ", "dw plain f32 64 0 registers " } },
        { FDIT_BF16,
          { "forward weight bf16 96 64 in bf16 ", "forward weight bf16 96 32 in bf16 ",
            "dx weight bf16 64 96 in bf16 ", "dw plain f32 64 0 in bf16 " } },
        { FDIT_F16,
          { "forward weight f16 96 64 in f16 ", "forward weight f16 96 32 in f16 ",
            "dx weight f16 64 96 in bf16 ", "dw plain f32 64 0 in bf16 " } },
        { FDIT_I8,
          { "forward weight int8 96 64 in int8 ", "forward weight bf16 96 32 in bf16 ",
            "dx weight int8 64 96 in bf16 ", "dw plain f32 64 0 in bf16 " } },
        { FDIT_BF16X3,
          { "forward weight f32 96 64 in bf16x3 ", "forward weight f32 96 32 in bf16x3 ",
            "dx weight f32 64 96 in bf16x3 ", "dw plain f32 64 0 in bf16x3 " } },
    };
    const struct fdit_tune_options o = { .candidates = 1 };
    static const int known[] = { 4, 8, 11, 13, 17 }; /* dw in bf16 is three precisions' */
    for (int i = 0; i < 5; i++) {
        fdit_device *dev = open_in(wanted[i].precision);
        char *where = NULL;
        uint8_t *text = NULL;
        size_t size;
        ck_assert_ok(ctx, fdit_device_tune(ctx, dev, products, 4, &o, &where));
        fdit_device_close(dev);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, where, 1 << 16, &text, &size));
        for (int k = 0; k <= i; k++)
            for (int l = 0; l < 4; l++)
                ck_assert_msg(strstr((const char *)text, wanted[k].lines[l]), "no line '%s' in\n%s",
                              wanted[k].lines[l], (const char *)text);
        dev = open_in(wanted[0].precision);
        ck_assert_int_eq(fdit_device_tuned(dev), known[i]);
        fdit_device_close(dev);
        fdit_free(text);
        fdit_free(where);
    }
    ck_assert_int_eq(warnings, 0);
}
END_TEST

/* A file that is full forgets what it has known longest. */
START_TEST(full)
{
    struct seen seen = { 0 };
    enum { MOST = 256, ROOM = MOST * 64 };
    fdit_device *dev = open_device();
    char *where = NULL, *text = malloc(ROOM);
    uint8_t *read = NULL;
    size_t size, n;
    ck_assert_ptr_nonnull(text);
    const struct fdit_tune_options o = { .candidates = 1, .on_progress = on_progress, .user = &seen };
    ck_assert_ok(ctx, fdit_device_tune(ctx, dev, shapes, SHAPES, &o, &where));
    fdit_device_close(dev);
    n = (size_t)snprintf(text, ROOM, "finediffusion tuned 1\n");
    for (int i = 0; i < MOST; i++)
        n += (size_t)snprintf(text + n, ROOM - n, "dx weight f32 %d 96 tile im=4 nv=4 step=16\n", 1000 + i);
    snprintf(text + n, ROOM - n, "end %d\n", MOST);
    rewrite(where, text);
    dev = open_device();
    ck_assert_int_eq(fdit_device_tuned(dev), MOST);
    fdit_free(where);
    ck_assert_ok(ctx, fdit_device_tune(ctx, dev, shapes, SHAPES, &o, &where));
    ck_assert_int_eq(fdit_device_tuned(dev), MOST);
    ck_assert_ok(ctx, fdit_file_read_all(ctx, where, 1 << 16, &read, &size));
    ck_assert_ptr_null(strstr((const char *)read, "dx weight f32 1001 "));
    ck_assert_ptr_nonnull(strstr((const char *)read, "dx weight f32 1002 "));
    ck_assert_ptr_nonnull(strstr((const char *)read, "forward weight f32 64 48 "));
    fdit_device_close(dev);
    fdit_free(read);
    fdit_free(where);
    free(text);
}
END_TEST

START_TEST(interrupted)
{
    struct seen seen = { .interrupt = true };
    fdit_device *dev = open_device();
    char *where = NULL;
    ck_assert_int_eq(tune(dev, &seen, 0, &where), FDIT_INTERRUPTED);
    ck_assert_int_eq(seen.results, 0);
    ck_assert_int_eq(fdit_device_tuned(dev), 0);
    fdit_free(where);
    fdit_device_close(dev);
}
END_TEST

START_TEST(library)
{
    struct seen seen = { 0 };
    fdit_device *dev = open_device();
    char *where = NULL;
    ck_assert_ok(ctx, tune(dev, &seen, 1, &where));
    ck_assert_int_eq(seen.results, PRODUCTS);
    fdit_free(where);
    fdit_device_close(dev);
}
END_TEST

START_TEST(nowhere)
{
    struct seen seen = { 0 };
    setenv("FINEDIFFUSION_CACHE", "", 1);
    fdit_device *dev = open_device(), *cpu;
    char *where = NULL;
    ck_assert_int_eq(tune(dev, &seen, 0, &where), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "FINEDIFFUSION_CACHE"));
    ck_assert_int_eq(seen.trials, 0); /* said before the work */
    fdit_device_close(dev);
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = "cpu" }, &cpu));
    ck_assert(!cpu->info.tunable);
    ck_assert_int_eq(tune(cpu, &seen, 0, &where), FDIT_ERROR_UNSUPPORTED);
    ck_assert_ptr_null(where);
    fdit_device_close(cpu);
}
END_TEST

int main(void)
{
    unsetenv("FINEDIFFUSION_DEVICE");
    spec = test_opencl_device();
    if (!spec)
        return test_no_opencl();
    Suite *suite = suite_create("tune");
    TCase *tests = tcase_create(spec);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, kept);
    tcase_add_test(tests, files);
    tcase_add_test(tests, precisions);
    tcase_add_test(tests, full);
    tcase_add_test(tests, interrupted);
    tcase_add_test(tests, library);
    tcase_add_test(tests, nowhere);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
