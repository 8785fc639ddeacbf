/* SPDX-License-Identifier: Apache-2.0
 * test_progress.c: what the progress line says, on a clock of the test's own. */
#include "core/progress.h"
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double clock_now;
static double test_clock(void)
{
    return clock_now;
}

/* A job of `total` units at `rate` units a second (a power of two, so that times are exact) for
 * `seconds`, with an update at each unit. */
static char *run(bool live, uint64_t total, double rate, double seconds, const char *note)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    struct fdit_progress p;
    ck_assert_ptr_nonnull(file);
    fdit_progress_begin(&p, file, "train", "step", 0, total);
    clock_now = 1000;
    p.now = test_clock;
    p.live = live;
    p.columns = 80;
    p.began = p.shown = p.sampled = clock_now;
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
    ck_assert_ptr_nonnull(
        strstr(text, "train: 40 of 1000 steps (4 %), 4.00 steps/s, 4:00 left, loss 0.5\n"));
    ck_assert_ptr_nonnull(strstr(text, "train: 400 steps in 1:40, 4.00 steps/s\n"));
    /* at 10 s, 20, 30, 40, 50, then by quarters: 62.5, 78.1, 97.7; and the end */
    ck_assert_int_eq(count(text, '\n'), 9);
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
    } cases[] = { { 152.3, "152 steps/s" },   { 12.34, "12.3 steps/s" },
                  { 1.52, "1.52 steps/s" },   { 0.66, "0.66 steps/s" },
                  { 0.25, "4.00 s/step" },    { 1 / 12.3, "12.3 s/step" },
                  { 1 / 250.0, "4:10/step" }, { 0, "? steps/s" },
                  { NAN, "? steps/s" } };
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
    tcase_add_test(lines, test_live_line);
    tcase_add_test(lines, test_no_file);
    tcase_add_test(lines, test_durations);
    tcase_add_test(lines, test_rates);
    suite_add_tcase(suite, lines);
    return test_run(suite);
}
