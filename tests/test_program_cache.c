/* SPDX-License-Identifier: Apache-2.0
 * test_program_cache.c: OpenCL programs on the disk. What is found there computes the same bits;
 * what is damaged, or lies where others may write, is not used, and none of it is an error. */
#include "core/mem.h"
#include "data_fixture.h"
#include "devices.h"
#include "harness.h"
#include "opencl_fixture.h"
#include "opencl/opencl.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ROWS = 40, WIDTH = 24 };

static fdit_context *ctx;
static char *folder, programs[512];
static const char *spec;

static void setup(void)
{
    ctx = fdit_context_new();
    folder = test_folder();
    setenv("FINEDIFFUSION_CACHE", folder, 1);
    snprintf(programs, sizeof programs, "%s/opencl", folder);
}

static void teardown(void)
{
    test_folder_remove(folder);
    fdit_context_free(ctx);
}

/* Opens the device and runs an activation; out [ROWS][WIDTH]. */
static void run(float *out, int *hits, int *stores)
{
    struct fdit_device_entry *entries;
    size_t n, at = 0;
    fdit_device *dev;
    fdit_buffer *buffer;
    float in[ROWS * WIDTH];
    for (int i = 0; i < ROWS * WIDTH; i++)
        in[i] = (float)(i % 37) / 11.0f - 1.5f;
    ck_assert_ok(ctx, fdit_devices_list(ctx, &entries, &n));
    while (strcmp(entries[at].spec, spec) != 0)
        at++;
    ck_assert_ok(ctx, fdit_devices_open_entry(ctx, &entries[at], NULL, &dev));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, sizeof in, "numbers", &buffer));
    struct fdit_tensor t = fdit_tensor_of(buffer, FDIT_F32);
    fdit_write(dev, t, in, ROWS * WIDTH);
    fdit_activation(
        dev, &(struct fdit_activation_args){ .act = FDIT_ACT_GELU_TANH, .n = ROWS * WIDTH, .x = t, .y = t });
    ck_assert_ok(ctx, fdit_read(ctx, dev, t, out, ROWS * WIDTH));
    fdit_opencl_cache_counts(dev, hits, stores);
    fdit_buffer_free(buffer);
    fdit_device_close(dev);
    fdit_devices_list_free(entries, n);
}

/* Calls change(path) for each file of the cache; returns how many there are. */
static int each_file(void (*change)(const char *path))
{
    DIR *d = opendir(programs);
    int n = 0;
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') {
            char path[1024];
            snprintf(path, sizeof path, "%s/%s", programs, e->d_name);
            if (change)
                change(path);
            n++;
        }
    closedir(d);
    return n;
}

static void flip(const char *path, long at, int whence)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, whence), 0);
    int c = fgetc(f);
    ck_assert_int_eq(fseek(f, at, whence), 0);
    fputc(c ^ 0x10, f);
    ck_assert_int_eq(fclose(f), 0);
}
static void flip_magic(const char *path)
{
    flip(path, 0, SEEK_SET);
}
static void flip_key(const char *path)
{
    flip(path, 9, SEEK_SET);
}
static void flip_bytes(const char *path)
{
    flip(path, 24, SEEK_SET);
}
static void flip_hash(const char *path)
{
    flip(path, 32, SEEK_SET);
}
static void flip_end(const char *path)
{
    flip(path, -1, SEEK_END);
}
static void empty(const char *path)
{
    fclose(fopen(path, "wb"));
}
static void shorten(const char *path)
{
    struct stat s;
    ck_assert_int_eq(stat(path, &s), 0);
    ck_assert_int_eq(truncate(path, s.st_size / 2), 0);
}
static void into_folder(const char *path)
{
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

START_TEST(reused)
{
    float first[ROWS * WIDTH], second[ROWS * WIDTH];
    int hits, stores, again;
    struct stat s;
    run(first, &hits, &stores);
    ck_assert_int_eq(hits, 0);
    ck_assert_int_gt(stores, 0);
    ck_assert_int_eq(each_file(NULL), stores);
    ck_assert_int_eq(stat(programs, &s), 0);
    ck_assert_int_eq(s.st_mode & 0777, 0700);
    run(second, &hits, &again);
    ck_assert_int_eq(hits, stores);
    ck_assert_int_eq(again, 0);
    ck_assert_uint_eq(test_first_difference(first, second, ROWS * WIDTH, sizeof *first), ROWS * WIDTH);
}
END_TEST

START_TEST(damaged)
{
    static void (*const damages[])(const char *) = { flip_magic, flip_key, flip_bytes, flip_hash,
                                                     flip_end,   empty,    shorten };
    float first[ROWS * WIDTH], second[ROWS * WIDTH];
    int hits, stores, again;
    run(first, &hits, &stores);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        each_file(damages[i]);
        run(second, &hits, &again);
        ck_assert_msg(hits == 0 && again == stores, "damage %zu: %d taken, %d of %d written", i, hits, again,
                      stores);
        ck_assert_uint_eq(test_first_difference(first, second, ROWS * WIDTH, sizeof *first), ROWS * WIDTH);
    }
    run(second, &hits, &again);
    ck_assert_int_eq(hits, stores); /* replaced, and good again */
    each_file(into_folder);
    run(second, &hits, &again);
    ck_assert_int_eq(hits + again, 0);
}
END_TEST

START_TEST(not_ours)
{
    float out[ROWS * WIDTH];
    int hits, stores, again;
    run(out, &hits, &stores);
    ck_assert_int_gt(stores, 0);
    ck_assert_int_eq(chmod(programs, 0777), 0);
    run(out, &hits, &again);
    ck_assert_int_eq(hits + again, 0);
    ck_assert_int_eq(chmod(programs, 0700), 0);
    run(out, &hits, &again);
    ck_assert_int_eq(hits, stores);
    setenv("FINEDIFFUSION_CACHE", "", 1);
    run(out, &hits, &again);
    ck_assert_int_eq(hits + again, 0);
    setenv("FINEDIFFUSION_CACHE", "/dev/null/nowhere", 1);
    run(out, &hits, &again);
    ck_assert_int_eq(hits + again, 0);
}
END_TEST

START_TEST(default_folders)
{
    float out[ROWS * WIDTH];
    int hits, stores, again;
    const char *home = getenv("HOME");
    char *old = strdup(home ? home : "/");
    unsetenv("FINEDIFFUSION_CACHE");
    setenv("XDG_CACHE_HOME", folder, 1);
    run(out, &hits, &stores);
    ck_assert_int_gt(stores, 0);
    snprintf(programs, sizeof programs, "%s/finediffusion/opencl", folder);
    ck_assert_int_eq(each_file(NULL), stores);
    setenv("XDG_CACHE_HOME", "not/absolute", 1);
    setenv("HOME", folder, 1);
    run(out, &hits, &again);
    ck_assert_int_eq(again, stores);
    snprintf(programs, sizeof programs, "%s/.cache/finediffusion/opencl", folder);
    ck_assert_int_eq(each_file(NULL), stores);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", old, 1);
    free(old);
}
END_TEST

int main(void)
{
    spec = test_opencl_device();
    if (!spec)
        return test_no_opencl();
    Suite *suite = suite_create("program cache");
    TCase *tests = tcase_create(spec);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, reused);
    tcase_add_test(tests, damaged);
    tcase_add_test(tests, not_ours);
    tcase_add_test(tests, default_folders);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
