/* SPDX-License-Identifier: Apache-2.0
 * test_progress.c: what the progress line says, on a clock of the test's own. */
#include "cli/progress.h"
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double clock_now;
static double test_clock(void)
{
    return clock_now;
}

/* A line on the test's clock, which stands at 1000. */
static FILE *begin(struct fdit_progress *p, bool live, const char *unit, uint64_t done, uint64_t total,
                   char **text, size_t *size)
{
    FILE *file = open_memstream(text, size);
    ck_assert_ptr_nonnull(file);
    fdit_progress_begin(p, file, "train", unit, done, total);
    clock_now = 1000;
    p->now = test_clock;
    p->live = live;
    p->columns = 80;
    p->began = p->shown = clock_now;
    return file;
}

/* A job of `total` units at `rate` units a second (a power of two, so that times are exact) for
 * `seconds`, with an update at each unit. */
static char *run(bool live, uint64_t total, double rate, double seconds, const char *note)
{
    char *text = NULL;
    size_t size = 0;
    struct fdit_progress p;
    FILE *file = begin(&p, live, "step", 0, total, &text, &size);
    for (int k = 1; k <= (int)(seconds * rate); k++) {
        clock_now = 1000 + k / rate;
        fdit_progress_update(&p, (uint64_t)k, note);
    }
    fdit_progress_end(&p);
    fclose(file);
    return text;
}

static int count(const char *text, char c)
{
    int n = 0;
    for (; *text; text++)
        n += *text == c;
    return n;
}

START_TEST(test_plain_lines)
{
    char *text = run(false, 1000, 4, 100, "loss 0.5");
    ck_assert_ptr_null(strchr(text, '\r'));
    ck_assert_ptr_nonnull(strstr(text, "train: 40 of 1000 steps (4 %), 4.00 steps/s, 4:00 left, loss 0.5\n"));
    ck_assert_ptr_nonnull(strstr(text, "train: 400 steps in 1:40, 4.00 steps/s\n"));
    /* at 2.5 s, 5, ... 100; and the end */
    ck_assert_int_eq(count(text, '\n'), 41);
    free(text);
    text = run(false, 1000, 4, 0.9, NULL);
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

START_TEST(test_live_line)
{
    char *text = run(true, 0, 256, 5, NULL);
    ck_assert_int_ge(count(text, '\r'), 20);
    ck_assert_int_le(count(text, '\r'), 60);
    ck_assert_int_eq(count(text, '\n'), 1);
    ck_assert_ptr_nonnull(strstr(text, " steps, 256 steps/s"));
    free(text);
    /* never longer than the terminal is wide, which would make it scroll */
    char note[301];
    memset(note, 'x', 300);
    note[300] = '\0';
    text = run(true, 10, 1, 3, note);
    for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n"))
        ck_assert_uint_lt(strlen(line), 80);
    free(text);
}
END_TEST

/* The longest time in seconds without a line, by a job that tells `step` seconds apart. */
START_TEST(test_plain_lines_of_a_long_job)
{
    char *text = NULL;
    size_t size = 0, before = 0;
    struct fdit_progress p;
    FILE *file = begin(&p, false, "step", 0, 100000, &text, &size);
    double last = 1000, longest_at_first = 0, longest = 0;
    int lines = 0;
    for (int k = 1; k <= 100000; k++) {
        clock_now = 1000 + k / 2.0;
        fdit_progress_update(&p, (uint64_t)k, NULL);
        fflush(file);
        if (size == before)
            continue;
        before = size;
        lines++;
        if (clock_now <= 1120 && clock_now - last > longest_at_first)
            longest_at_first = clock_now - last;
        longest = clock_now - last > longest ? clock_now - last : longest;
        last = clock_now;
    }
    ck_assert_double_le(longest_at_first, 3);
    ck_assert_double_le(longest, 301);
    ck_assert_int_lt(lines, 500);
    fclose(file);
    free(text);
}
END_TEST

START_TEST(test_phases)
{
    char *text = NULL;
    size_t size = 0;
    struct fdit_progress p;
    FILE *file = begin(&p, false, NULL, 0, 0, &text, &size);
    /* outside a job, with nothing reported but the time */
    fdit_progress_phase(&p, "reading base.\x1b[31m", 0);
    for (int k = 1; k <= 12; k++) {
        clock_now = 1000 + k / 2.0;
        fdit_progress_tick(&p);
    }
    fdit_progress_phase_end(&p);
    struct fdit_progress job = { 0 };
    fdit_progress_begin(&job, file, "train", "step", 0, 10);
    job.now = test_clock;
    job.live = false;
    job.began = clock_now;
    fdit_progress_follow(&job, &p);
    /* within one, in another phase: no rate, and not counted as time of the job */
    fdit_progress_phase(&job, "validating", 1024);
    for (int k = 1; k <= 8; k++) {
        clock_now += 0.5;
        fdit_progress_phase_at(&job, (uint64_t)k * 100);
    }
    fdit_progress_phase(&job, "compiling kernels", 0);
    clock_now += 3;
    fdit_progress_tick(&job);
    fdit_progress_phase_end(&job);
    fdit_progress_phase_end(&job);
    for (int k = 1; k <= 10; k++) {
        clock_now += 1;
        fdit_progress_update(&job, (uint64_t)k, NULL);
    }
    fdit_progress_end(&job);
    fclose(file);
    ck_assert_ptr_nonnull(strstr(text, "train: reading base.\\x1b[31m, 0:03\n"));
    ck_assert_ptr_nonnull(strstr(text, "train: reading base.\\x1b[31m, 0:05\n"));
    ck_assert_ptr_nonnull(strstr(text, "train: validating 300 of 1024; 0 of 10 steps (0 %), 0:04 left\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "train: validating 800 of 1024, compiling kernels, 0:03; 0 of 10 steps (0 %), "));
    ck_assert_ptr_nonnull(strstr(text, "train: 3 of 10 steps (30 %), 1.00 steps/s, 0:07 left\n"));
    ck_assert_ptr_nonnull(strstr(text, "train: 10 steps in 0:17, 1.00 steps/s (with 0:07 validating)\n"));
    free(text);
}
END_TEST

/* Steps of 1 s, validations of 40 s after each 50, previews of 20 s after each 100 that were told as worth 10
 * steps: the time left goes down with the clock. */
START_TEST(test_time_left_is_steady)
{
    char *text = NULL;
    size_t size = 0;
    struct fdit_progress p;
    FILE *file = begin(&p, false, "step", 0, 400, &text, &size);
    const double all = 400 + 8 * 40 + 4 * 20;
    fdit_progress_ahead(&p, "validating", 8, 40);
    fdit_progress_ahead(&p, "preview", 4, 10);
    for (int k = 1; k <= 400; k++) {
        clock_now += k == 1 ? 6 : k % 2 ? 0.75 : 1.25; /* the first one is slow */
        fdit_progress_update(&p, (uint64_t)k, NULL);
        if (k % 50 == 0) {
            fdit_progress_phase(&p, "validating", 0);
            clock_now += 40;
            fdit_progress_phase_end(&p);
        }
        if (k % 100 == 0) {
            fdit_progress_phase(&p, "preview", 0);
            clock_now += 20;
            fdit_progress_phase_end(&p);
        }
        const double left = fdit_progress_left(&p), truth = 1000 + all + 5.25 - clock_now;
        if (k >= 10 && k < 400)
            ck_assert_double_le(fabs(left - truth), k < 100 ? 60 : 10);
    }
    fclose(file);
    free(text);
}
END_TEST

/* A batch of 64 pictures in 250 sampler steps of 2 s: known within the first steps. */
START_TEST(test_parts)
{
    char *text = NULL;
    size_t size = 0;
    struct fdit_progress p;
    FILE *file = begin(&p, false, "picture", 0, 128, &text, &size);
    for (int k = 1; k <= 5; k++) {
        clock_now += 2;
        fdit_progress_update_part(&p, 0, 64.0 * k / 250, "step");
    }
    ck_assert_double_le(fabs(fdit_progress_left(&p) - 990), 1);
    fclose(file);
    ck_assert_ptr_nonnull(strstr(text, "train: 0 of 128 pictures (0 %), 7.81 s/picture, 16:32 left, step\n"));
    /* and when the work stands still the time left grows again */
    clock_now += 100;
    ck_assert_double_ge(fdit_progress_left(&p), 2000);
    free(text);
}
END_TEST

START_TEST(test_no_file)
{
    struct fdit_progress p;
    fdit_progress_begin(&p, NULL, "train", "step", 3, 10);
    fdit_progress_update(&p, 4, "note");
    fdit_progress_clear(&p);
    fdit_progress_end(&p);
    ck_assert_uint_eq(p.done, 4);
}
END_TEST

START_TEST(test_durations)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = { { 0, "0:00" },         { 6.6, "0:07" },     { 725, "12:05" },
                  { 3599.6, "1:00:00" }, { 3723, "1:02:03" }, { 273900, "3 d 04:05" },
                  { -1, "?" },           { NAN, "?" },        { 1e30, "?" } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char out[24];
        fdit_format_duration(cases[k].seconds, out);
        ck_assert_str_eq(out, cases[k].text);
    }
}
END_TEST

START_TEST(test_rates)
{
    static const struct {
        double rate;
        const char *text;
    } cases[] = { { 152.3, "152 steps/s" },   { 12.34, "12.3 steps/s" }, { 1.52, "1.52 steps/s" },
                  { 0.66, "0.66 steps/s" },   { 0.25, "4.00 s/step" },   { 1 / 12.3, "12.3 s/step" },
                  { 1 / 250.0, "4:10/step" }, { 0, "? steps/s" },        { NAN, "? steps/s" } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char out[64];
        fdit_format_rate(cases[k].rate, "step", out);
        ck_assert_str_eq(out, cases[k].text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *lines = tcase_create("lines");
    tcase_add_test(lines, test_plain_lines);
    tcase_add_test(lines, test_plain_lines_of_a_long_job);
    tcase_add_test(lines, test_live_line);
    tcase_add_test(lines, test_phases);
    tcase_add_test(lines, test_time_left_is_steady);
    tcase_add_test(lines, test_parts);
    tcase_add_test(lines, test_no_file);
    tcase_add_test(lines, test_durations);
    tcase_add_test(lines, test_rates);
    suite_add_tcase(suite, lines);
    return test_run(suite);
}
