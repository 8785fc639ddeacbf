/* SPDX-License-Identifier: Apache-2.0
 * The public interface as an installed program sees it: linked with libfinediffusion alone, so a function
 * that the header declares and the library does not export fails here. */
#include <finediffusion.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static char folder[] = "/tmp/fdit-api-XXXXXX", base[64], run[64], delta[96];

#define OK(expr)                                                                       \
    do {                                                                               \
        enum fdit_status status_ = (expr);                                             \
        ck_assert_msg(status_ == FDIT_OK, "%s: %s", #expr, fdit_context_message(ctx)); \
    } while (0)

static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static void count_steps(void *user, const struct fdit_training_progress *p)
{
    int *n = user;
    ck_assert_int_eq(p->step, ++*n);
    ck_assert_int_eq(p->steps, 3);
    ck_assert(isfinite(p->loss));
}

/* Makes a tiny base with the program, tunes it through the library. */
START_TEST(test_training)
{
    const char *program = getenv("FDIT_PROGRAM");
    int steps = 0;
    char data[512];
    ck_assert_msg(program != NULL, "FDIT_PROGRAM is not set; run make check");
    snprintf(data, sizeof data, TESTS_DIR "/../data/letters-test.tar.gz");
    shell("'%s' train --quiet --from-scratch --tune full --model 32,2,2,6 --size 24 --channels 1 "
          "--data '%s' --flip none --batch 8 --steps 2 --workers 1 --preview-every 0 --device cpu "
          "--out %s/base",
          program, data, folder);
    struct fdit_training t = { .device = "cpu",
                               .threads = 1,
                               .base = base,
                               .data = data,
                               .out = run,
                               .steps = 3,
                               .batch = 8,
                               .lr = 1e-3,
                               .seed = 5 };
    OK(fdit_train(ctx, &t, count_steps, &steps));
    ck_assert_int_eq(steps, 3);
    t.tune = "nothing";
    ck_assert_int_eq(fdit_train(ctx, &t, NULL, NULL), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "nothing"));
}
END_TEST

START_TEST(test_drawing)
{
    struct fdit_session_options o = {
        .device = "cpu", .threads = 1, .base = base, .delta = delta, .batch = 2
    };
    struct fdit_draw_options how = FDIT_DRAW_DEFAULTS;
    fdit_session *s = NULL;
    OK(fdit_session_open(ctx, &o, &s));
    ck_assert_int_eq(fdit_session_classes(s), 110);
    ck_assert_int_eq(fdit_session_size(s), 24);
    ck_assert_int_eq(fdit_session_channels(s), 1);
    ck_assert_uint_eq(fdit_session_numbers(s), 576);
    ck_assert_str_eq(fdit_session_class_name(s, fdit_session_find_class(s, "K/mono")), "K/mono");
    ck_assert_int_eq(fdit_session_find_class(s, "no such letter"), -1);
    ck_assert_ptr_null(fdit_session_class_name(s, 110));
    how.sampler = "ddim";
    how.steps = 3;
    const int32_t classes[3] = { 4, 4, 70 };
    const uint64_t seeds[3] = { 1, 2, 1 };
    float x[3 * 576], again[576];
    uint8_t pixels[3 * 576];
    OK(fdit_session_draw(ctx, s, &how, classes, seeds, 3, x));
    for (int i = 0; i < 3 * 576; i++)
        ck_assert(isfinite(x[i]));
    ck_assert_mem_ne(x, x + 576, 576 * sizeof *x);
    /* the same picture whatever stood beside it */
    OK(fdit_session_draw(ctx, s, &how, classes + 2, seeds + 2, 1, again));
    ck_assert_mem_eq(again, x + 2 * 576, sizeof again);
    fdit_session_pixels(s, x, 3, pixels);
    const int32_t bad = 110;
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, &bad, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    how.sampler = "euler";
    ck_assert_int_eq(fdit_session_draw(ctx, s, &how, classes, seeds, 1, again), FDIT_ERROR_ARGUMENT);
    fdit_session_close(s);
    o.base = "absent.safetensors";
    ck_assert_int_eq(fdit_session_open(ctx, &o, &s), FDIT_ERROR_IO);
    ck_assert_ptr_null(s);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(base, sizeof base, "%s/base/delta.safetensors", folder);
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(delta, sizeof delta, "%s/delta.safetensors", run);
    ctx = fdit_context_new();
    Suite *suite = suite_create("api");
    TCase *tc = tcase_create("library");
    tcase_add_test(tc, test_training);
    tcase_add_test(tc, test_drawing);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    fdit_context_free(ctx);
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
