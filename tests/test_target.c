/* SPDX-License-Identifier: Apache-2.0
 * test_target.c: outputs never hit an input, however the paths are written; endings; what is not a file. */
#include "core/file.h"
#include "core/mem.h"
#include "core/target.h"
#include "data_fixture.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static fdit_context *ctx;
static char *folder;

static void setup(void)
{
    ctx = fdit_context_new();
    folder = test_folder();
    static const char *const files[] = {
        "model.safetensors",           "part-00001-of-00002.safetensors",  "part-00002-of-00002.safetensors",
        "part.safetensors.index.json", "other-00001-of-00002.safetensors", "notes.txt"
    };
    ck_assert_int_eq(chdir(folder), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        ck_assert_ok(ctx, fdit_file_write(ctx, files[i], false, "x", 1));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, "xl/transformer"));
    ck_assert_ok(ctx, fdit_mkdirs(ctx, "birds/a"));
    ck_assert_ok(ctx, fdit_file_write(ctx, "xl/transformer/w.safetensors", false, "x", 1));
    ck_assert_ok(ctx, fdit_file_write(ctx, "xl/sheet.png", false, "x", 1));
    ck_assert_ok(ctx, fdit_file_write(ctx, "birds/a/1.png", false, "x", 1));
    ck_assert_int_eq(symlink("model.safetensors", "link.safetensors"), 0);
    ck_assert_int_eq(link("model.safetensors", "hard.safetensors"), 0);
    ck_assert_int_eq(symlink("birds", "voegel"), 0);
    ck_assert_int_eq(link("xl/transformer/w.safetensors", "elsewhere.bin"), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    test_folder_remove(folder);
    fdit_context_free(ctx);
}

static bool refused(const char *out, const char *source, bool data)
{
    const struct fdit_input s[] = { { "--other", "notes.txt", false },
                                    { "--in", source, data },
                                    { "--none", NULL, false } };
    enum fdit_status status = fdit_target_check(ctx, "--out", out, s, 3);
    if (status == FDIT_OK)
        return false;
    ck_assert_int_eq(status, FDIT_ERROR_ARGUMENT);
    const char *message = fdit_context_message(ctx);
    ck_assert_msg(strstr(message, "--out") && strstr(message, "--in"), "%s", message);
    return true;
}

START_TEST(test_files)
{
    static const char *const hits[] = { "model.safetensors", "./model.safetensors", "xl/../model.safetensors",
                                        "link.safetensors", "hard.safetensors" };
    for (size_t i = 0; i < 5; i++) {
        ck_assert_msg(refused(hits[i], "model.safetensors", false), "%s", hits[i]);
        ck_assert_msg(refused(hits[i], "link.safetensors", false), "%s", hits[i]);
    }
    ck_assert(!refused("new.safetensors", "model.safetensors", false));
    ck_assert(!refused("part.safetensors.index.json", "model.safetensors", false));
    ck_assert(!refused("/dev/null", "model.safetensors", false));
    ck_assert(!refused("/dev/null", "/dev/null", false));
    ck_assert(!refused("model.safetensors", "nowhere.safetensors", false));
}
END_TEST

START_TEST(test_parts)
{
    /* parts of an index are read with it */
    ck_assert(refused("part-00002-of-00002.safetensors", "part.safetensors.index.json", false));
    ck_assert(!refused("other-00001-of-00002.safetensors", "part.safetensors.index.json", false));
    /* and written with it: one of them may be what is read */
    ck_assert(refused("part.safetensors.index.json", "part-00001-of-00002.safetensors", false));
    ck_assert(refused("./part.safetensors.index.json", "part.safetensors.index.json", false));
    ck_assert(!refused("part.safetensors.index.json", "other-00001-of-00002.safetensors", false));
    ck_assert(!refused("model.safetensors.index.json", "model.safetensors", false));
}
END_TEST

START_TEST(test_folders)
{
    ck_assert(refused("xl/transformer/w.safetensors", "xl", false));
    ck_assert(refused("elsewhere.bin", "xl/transformer", false));
    ck_assert(!refused("xl/sheet.png", "xl", false));
    ck_assert(!refused("xl/new.safetensors", "xl", false));
    /* a data set: new files would be pictures of it */
    ck_assert(refused("birds", "birds", true));
    ck_assert(refused("birds/cache", "voegel/", true));
    ck_assert(refused("voegel/a/b/c/new.png", "birds", true));
    ck_assert(refused("xl/../birds/a/1.png", "birds", true));
    ck_assert(!refused("birds-256", "birds", true));
    ck_assert(!refused("new/birds", "birds", true));
    ck_assert(!refused("xl", "xl/transformer", true));
}
END_TEST

START_TEST(test_endings)
{
    static const char *const good[] = { "a.png", "x/b.PNG", "/dev/null", "a.jpg.png" };
    static const char *const bad[] = { "a.jpg", "a.webp", "sheet", "png", ".png", "x/.png", "a.png.tmp" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_ok(ctx, fdit_target_ending(ctx, "--grid", good[i], ".png", "a sheet"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(fdit_target_ending(ctx, "--grid", bad[i], ".png", "a sheet"), FDIT_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), ".png"));
    }
}
END_TEST

START_TEST(test_no_files)
{
    struct fdit_file_map map;
    bool there;
    ck_assert_int_eq(mkfifo("pipe", 0600), 0);
    ck_assert_int_eq(fdit_file_map(ctx, "pipe", &map), FDIT_ERROR_IO); /* and does not wait */
    ck_assert_int_eq(fdit_file_regular(ctx, "pipe", &there), FDIT_ERROR_IO);
    ck_assert_int_eq(fdit_file_regular(ctx, "xl", &there), FDIT_ERROR_IO);
    ck_assert_ok(ctx, fdit_file_regular(ctx, "nothing", &there));
    ck_assert(!there);
    ck_assert_ok(ctx, fdit_file_regular(ctx, "link.safetensors", &there));
    ck_assert(there);
}
END_TEST

START_TEST(test_sync)
{
    uint64_t calls = fdit_file_calls();
    ck_assert_ok(ctx, fdit_folder_sync(ctx, "."));
    ck_assert_uint_gt(fdit_file_calls(), calls);
    fdit_file_fail_at(1);
    ck_assert_int_eq(fdit_folder_sync(ctx, "."), FDIT_ERROR_IO);
    fdit_file_fail_at(0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("target");
    TCase *tc = tcase_create("target");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_files);
    tcase_add_test(tc, test_parts);
    tcase_add_test(tc, test_folders);
    tcase_add_test(tc, test_endings);
    tcase_add_test(tc, test_no_files);
    tcase_add_test(tc, test_sync);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
