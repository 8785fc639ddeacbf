/* SPDX-License-Identifier: Apache-2.0
 * test_memory.c: what a process takes at its highest, saving included, is what its plan said before it began.
 * The program runs in a child, whose peak the system reports. */
#include "data_fixture.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_JPEG
#include <jpeglib.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* shadow memory is in no plan */
#endif

static fdit_context *ctx;
static char *folder;

/* Runs the program with words (spaces between, DIR is the folder); returns its peak and the last line of its
 * JSON in *line. */
static double run(const char *words, char *line, int size)
{
    char *program = getenv("FDIT_PROGRAM"), *arguments[64] = { program }, text[2048];
    int n = 1, ends[2], status;
    size_t used = 0;
    for (const char *p = words; *p && used + strlen(folder) + 2 < sizeof text;) {
        bool is_folder = !strncmp(p, "DIR", 3);
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s", is_folder ? 1000 : 1,
                                 is_folder ? folder : p);
        p += is_folder ? 3 : 1;
    }
    for (char *word = strtok(text, " "); word && n < 63; word = strtok(NULL, " "))
        arguments[n++] = word;
    arguments[n] = NULL;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(program, arguments);
        _exit(127);
    }
    ck_assert_int_gt(child, 0);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    while (fgets(line, size, f)) {
    }
    fclose(f);
    struct rusage usage;
    ck_assert_int_eq(wait4(child, &status, 0, &usage), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "exit %d: %s", status, words);
    return 1024.0 * (double)usage.ru_maxrss;
}

static double number(const char *line, const char *key)
{
    char text[64];
    snprintf(text, sizeof text, "\"%s\":", key);
    const char *at = strstr(line, text);
    ck_assert_msg(at != NULL, "no %s in %s", text, line);
    return strtod(at + strlen(text), NULL);
}

/* 5 % are allowed, or 12 MB: stacks, the page tables of libraries, code that is touched later. */
static void check(const char *words, double least)
{
    char line[1 << 16] = "";
    double peak = run(words, line, sizeof line), plan = number(line, "process_plan_bytes");
    double device = number(line, "plan_bytes");
    double most = 0.05 * plan > 12e6 ? 0.05 * plan : 12e6;
    printf("%.1f MB measured, %.1f planned (%.1f for the device): %.40s\n", peak / 1e6, plan / 1e6,
           device / 1e6, words);
    ck_assert_msg(device > least, "the case is too small to show anything: %.0f bytes", device);
    ck_assert_msg(peak < plan + most && peak > plan - most, "%.1f MB measured, %.1f planned: %s", peak / 1e6,
                  plan / 1e6, words);
}

#define COMMON " --device cpu --json --quiet"
#define TRAIN "train --data DIR/data --steps 2 --batch 4 --preview-every 0" COMMON
#define TUNE TRAIN " --base DIR/base/delta.safetensors --label-drop empty"

START_TEST(test_plan)
{
    test_classes(ctx, test_path(folder, "data"), 4, 4, 40);
    check(TRAIN " --from-scratch --tune full --label-drop empty --model 256,8,4,2 --size 32 --channels 3"
                " --out DIR/base",
          200e6);
    /* the checkpoint, four times the weights, is never beside the plan */
    check("train --resume DIR/base --steps 3" COMMON, 200e6);
    check(TUNE " --out DIR/fine", 150e6);
    /* so small that what is measured for the summary would show */
    check(TRAIN " --from-scratch --tune full --label-drop empty --model 32,1,2,4 --size 16 --channels 3"
                " --out DIR/small",
          1e4);
    check(TUNE " --recompute block --out DIR/block", 60e6);
    check("sample --base DIR/base/delta.safetensors --delta DIR/fine/delta.safetensors --sampler ddim"
          " --steps 2 --per-class 2 --batch 8 --out DIR/out" COMMON,
          60e6);
    check(TRAIN " --from-scratch --tune full --objective flow --model 256,4,4,2 --size 32 --channels 3 "
                "--label-drop empty"
                " --out DIR/flow",
          100e6);
    check("sample --base DIR/flow/delta.safetensors --sampler heun --steps 2 --per-class 2 --batch 8"
          " --out DIR/flow.out" COMMON,
          40e6);
    check("sample --base DIR/base/delta.safetensors --sampler ddim --steps 9 --per-class 2 --batch 8"
          " --cache-interval 3 --cache-order 2 --overwrite --out DIR/out" COMMON,
          250e6);
}
END_TEST

/* Networks of features, what is kept of pictures, error bars, and a model that draws. */
START_TEST(test_eval)
{
    char line[1 << 16] = "", words[1024];
    char *inception = test_fixture("eval/inception_small.pth");
    test_classes(ctx, test_path(folder, "data"), 4, 24, 40);
#define EVAL "eval DIR/data --real DIR/data" COMMON
#define JUDGE " --features judge:DIR/judge/delta.safetensors"
    run(TRAIN " --classifier --from-scratch --tune full --model 128,4,4,2 --size 32 --channels 3"
              " --out DIR/judge",
        line, sizeof line);
    check(EVAL JUDGE " --batch 128", 60e6);
    test_classes(ctx, test_path(folder, "many"), 4, 150, 16);
    run("train --data DIR/many --steps 1 --batch 4 --preview-every 0 --classifier --from-scratch --tune full"
        " --model 32,1,2,4 --size 16 --channels 3 --out DIR/small" COMMON,
        line, sizeof line);
#define MANY "eval DIR/many --real DIR/many --features judge:DIR/small/delta.safetensors --draws 10000" COMMON
    check(MANY " --metrics recall,density", 1e6); /* 48 MB */
    check(MANY " --metrics none", 1e6);           /* nothing is drawn again */
    check(EVAL JUDGE " --batch 128 --memory 40M", 10e6);
    run(EVAL JUDGE " --batch 128 --memory 40M", line, sizeof line); /* by fewer pictures at once */
    ck_assert_msg(number(line, "plan_bytes") < 40 << 20, "%s", line);
    snprintf(words, sizeof words, "%s --metrics fd --draws 0 --features inception-tf:%s", EVAL, inception);
    check(words, 10e6);
    snprintf(words, sizeof words, "%s --metrics fd,sfid --draws 0 --features inception-tf:%s", EVAL,
             inception);
    check(words, 10e6);
    run(TRAIN " --from-scratch --tune full --label-drop empty --model 192,4,4,2 --size 32 --channels 3"
              " --out DIR/base",
        line, sizeof line);
    check("eval --base DIR/base/delta.safetensors --per-class 8 --sampler ddim --steps 2 --real DIR/data"
          " --draws 0" JUDGE COMMON,
          60e6);
    free(inception);
}
END_TEST

#ifdef HAVE_JPEG
/* Rows as they come; all coefficients kept until the last scan; noise, whose file is large (26 MB). */
enum kind { ROWS, LAYERS, NOISE };

/* 4800 x 3200 pixels, as a camera makes them. */
static void compress_photograph(const char *name, enum kind kind)
{
    enum { WIDTH = 4800, HEIGHT = 3200 };
    static JSAMPLE row[3 * WIDTH];
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    JSAMPROW rows[1] = { row };
    uint32_t noise = 1;
    FILE *f = fopen(test_path(folder, "%s", name), "wb");
    ck_assert_ptr_nonnull(f);
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = WIDTH;
    c.image_height = HEIGHT;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    if (kind == NOISE)
        jpeg_set_quality(&c, 95, TRUE);
    if (kind == LAYERS)
        jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        for (int i = 0; i < 3 * WIDTH; i++)
            row[i] = kind == NOISE ? (JSAMPLE)((noise = noise * 1664525 + 1013904223) >> 24)
                                   : (JSAMPLE)((i / 16 + y / 8) * (1 + i % 3));
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    ck_assert_int_eq(fclose(f), 0);
}

/* In another process: a child's peak counts what its parent had. */
static void make_photograph(const char *name, enum kind kind)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        compress_photograph(name, kind);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* 12 MB more than allowed are overlooked, as in check. Of a training without --json, which measures the
 * processor at the end. */
static void check_photographs(const char *words, double allowed)
{
    char line[1 << 16] = "";
    double peak = run(words, line, sizeof line);
    printf("%.1f MB measured, at most %.1f: %s\n", peak / 1e6, allowed / 1e6, words);
    ck_assert_msg(peak < allowed + 12e6, "%.1f MB measured, %.1f allowed: %s", peak / 1e6, allowed / 1e6,
                  words);
}

START_TEST(test_photographs)
{
    char name[64];
    static const char *const sets[] = { [ROWS] = "rows", [LAYERS] = "layers", [NOISE] = "noise" };
    for (enum kind kind = ROWS; kind <= NOISE; kind++) {
        snprintf(name, sizeof name, "%s/a", sets[kind]);
        ck_assert_int_eq(mkdir(test_path(folder, "%s", sets[kind]), 0777), 0);
        ck_assert_int_eq(mkdir(test_path(folder, "%s", name), 0777), 0);
        for (int i = 0; i < 6; i++) {
            snprintf(name, sizeof name, "%s/a/%d.jpg", sets[kind], i);
            make_photograph(name, kind);
        }
    }
#define PHOTOGRAPHS                                                                                 \
    "train --from-scratch --tune full --model 32,1,2,2 --size 16 --channels 3 --steps 4 --batch 4 " \
    "--workers 4"                                                                                   \
    " --cache-memory 0 --preview-every 0 --label-drop empty --device cpu --quiet"
    /* 46 MB of pixels each, of which some rows are held; of a progressive one all coefficients, 46 MB */
    check_photographs(PHOTOGRAPHS " --data DIR/rows --out DIR/r", 30e6);
    check_photographs(PHOTOGRAPHS " --data DIR/layers --out DIR/m --memory 100M", 100e6);
    check_photographs(PHOTOGRAPHS " --data DIR/noise --out DIR/n --memory 40M", 40e6);
    check_photographs("inspect --pictures --json DIR/layers --memory 80M", 80e6);
}
END_TEST
#endif

static void set_up(void)
{
    ctx = fdit_context_new();
    folder = test_folder();
}

static void tear_down(void)
{
    test_folder_remove(folder);
    fdit_context_free(ctx);
}

int main(void)
{
    if (SANITIZED || !getenv("FDIT_PROGRAM"))
        return TEST_SKIP;
    Suite *s = suite_create("memory");
    TCase *c = tcase_create("plan");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, test_plan);
    tcase_add_test(c, test_eval);
#ifdef HAVE_JPEG
    tcase_add_test(c, test_photographs);
#endif
    suite_add_tcase(s, c);
    return test_run(s);
}
