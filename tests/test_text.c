/* SPDX-License-Identifier: Apache-2.0
 * test_text.c: texts on their way to a terminal, formatting, sizes, words that were meant. */
#include "core/text.h"
#include "harness.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_safe)
{
    static const struct {
        const char *text, *safe;
    } cases[] = {
        { "", "" },
        { "Pão d'água/中文 (ß)", "Pão d'água/中文 (ß)" },
        { "a\\b \\x1b", "a\\b \\x1b" },
        { "\x1b[31mred\x1b[0m\x07", "\\x1b[31mred\\x1b[0m\\x07" },
        { "\x1b]0;title\x07", "\\x1b]0;title\\x07" },
        { "tab\tline\nreturn\r", "tab\\tline\\nreturn\\r" },
        { "del\x7f", "del\\x7f" },
        { "c1 \xc2\x9b"
          "31m",
          "c1 \\u{009b}31m" }, /* CSI as one character */
        { "bare \x9b"
          "31m",
          "bare \\x9b31m" }, /* CSI as one byte: not UTF-8 */
        { "rlo \xe2\x80\xae"
          "txt",
          "rlo \\u{202e}txt" },
        { "isolate \xe2\x81\xa6x\xe2\x81\xa9", "isolate \\u{2066}x\\u{2069}" },
        { "ls\xe2\x80\xa8ps\xe2\x80\xa9", "ls\\u{2028}ps\\u{2029}" },
        { "bom\xef\xbb\xbf", "bom\\u{feff}" },
        { "tag\xf3\xa0\x81\x81", "tag\\u{e0041}" },
        { "cut \xe4\xb8", "cut \\xe4\\xb8" },
        { "overlong \xc0\x9b", "overlong \\xc0\\x9b" },
        { "surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80" },
        { "emoji \xf0\x9f\x90\xa6", "emoji \xf0\x9f\x90\xa6" },
        { "zwj \xe0\xa4\x95\xe2\x80\x8d", "zwj \xe0\xa4\x95\xe2\x80\x8d" }, /* spelling in Hindi */
    };
    char out[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = fdit_text_safe(out, sizeof out, cases[i].text, FDIT_TEXT_LINE);
        ck_assert_str_eq(out, cases[i].safe);
        ck_assert_uint_eq(n, strlen(cases[i].safe));
        ck_assert(fdit_text_is_safe(out, FDIT_TEXT_LINE));
        /* never half an escape or half a character, whatever the room */
        for (size_t size = 1; size <= n; size++) {
            char small[128];
            ck_assert_uint_eq(fdit_text_safe(small, size, cases[i].text, FDIT_TEXT_LINE), n);
            ck_assert_uint_lt(strlen(small), size);
            ck_assert(strncmp(small, cases[i].safe, strlen(small)) == 0);
            ck_assert(fdit_text_is_safe(small, FDIT_TEXT_LINE));
        }
    }
    fdit_text_safe(out, sizeof out, "a\tb\nc\x1b", FDIT_TEXT_NEWLINES | FDIT_TEXT_TABS);
    ck_assert_str_eq(out, "a\tb\nc\\x1b");
}
END_TEST

START_TEST(test_unescape)
{
    static const char *const texts[] = { "",          "a",   "a\\n", "\x1b[2J\\", "\xe2\x80\xae\xff\n",
                                         "\\u{202e}", "\\\\" };
    char doubled[64], safe[128];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = 0;
        for (const char *c = texts[i]; *c; c++) {
            doubled[n++] = *c;
            if (*c == '\\')
                doubled[n++] = *c;
        }
        doubled[n] = '\0';
        fdit_text_safe(safe, sizeof safe, doubled, FDIT_TEXT_LINE);
        safe[fdit_text_unescape(safe, strlen(safe))] = '\0';
        ck_assert_str_eq(safe, texts[i]);
    }
    static const char *const none[] = { "\\",    "\\x",         "\\x1",      "\\x00", "\\u{",
                                        "\\u{}", "\\u{110000}", "\\u{d800}", "\\q",   "\\u{1" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        strcpy(safe, none[i]);
        ck_assert_uint_eq(fdit_text_unescape(safe, strlen(safe)), strlen(none[i]));
        ck_assert_str_eq(safe, none[i]);
    }
}
END_TEST

static char *format(const char *f, ...)
{
    va_list args;
    va_start(args, f);
    char *text = fdit_text_vformat(f, args);
    va_end(args);
    ck_assert_ptr_nonnull(text);
    return text;
}
#define ck_format(expected, ...)           \
    do {                                   \
        char *text_ = format(__VA_ARGS__); \
        ck_assert_str_eq(text_, expected); \
        free(text_);                       \
    } while (0)

START_TEST(test_format)
{
    ck_format("plain %", "plain %%");
    ck_format("-3|  7|007|+5|2a|52", "%d|%3d|%03d|%+d|%x|%o", -3, 7, 7, 5, 42, 42);
    ck_format("18446744073709551615 -9223372036854775808", "%zu %lld", SIZE_MAX, (long long)INT64_MIN);
    ck_format("-1 255 -7", "%hhd %hu %jd", -1, 255, (intmax_t)-7);
    ck_format("0.5 1e-05 3.14 1e+300", "%g %g %.2f %.*g", 0.5, 1e-5, 3.14159, 3, 1e300);
    ck_format("x|ab  |  ab|abc", "%c|%-4s|%4s|%.3s", 'x', "ab", "ab", "abcdef");
    ck_format("   7|7   ", "%*d|%*d", 4, 7, -4, 7);
    ck_format("a\\nb\nnext", "%s\nnext", "a\nb");
    ck_format("\\x1b[2J", "%s", "\x1b[2J");
    ck_format("é   |中文|", "%-4s|%4s|", "é", "中文"); /* the width counts columns */
    ck_format("中|", "%.5s|", "中文");                 /* and no character is cut */
    ck_format("(null)", "%s", (const char *)NULL);
    char two[2] = { 'o', 'k' }; /* no final 0 */
    ck_format("ok", "%.*s", 2, two);
}
END_TEST

START_TEST(test_singular)
{
    ck_format("1 picture of 1 class", "%zu pictures of %d classes", (size_t)1, 1);
    ck_format("2 pictures of 0 classes", "%zu pictures of %d classes", (size_t)2, 0);
    ck_format("21 pictures, 11 rows", "%d pictures, %d rows", 21, 11);
    ck_format("1 broken picture, 1 group", "%d broken pictures, %d groups", 1, 1);
    ck_format("1 passes", "%d %s", 1, "passes"); /* only what stands in the format */
    ck_format("--keep 1 is from", "--keep %d is from", 1);
    ck_format("1 stepsize", "%d stepsize", 1);
    ck_format("in 1 pass", "in %d passes", 1);
}
END_TEST

START_TEST(test_sizes)
{
    static const struct {
        size_t bytes;
        const char *text;
    } cases[] = { { 0, "0 bytes" },       { 1, "1 byte" },
                  { 1023, "1023 bytes" }, { 1024, "1.0 KiB" },
                  { 102400, "100 KiB" },  { (1 << 20) - 1, "1.0 MiB" },
                  { 1 << 20, "1.0 MiB" }, { (size_t)3 << 29, "1.5 GiB" } };
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fdit_format_size(cases[i].bytes, out);
        ck_assert_str_eq(out, cases[i].text);
    }
}
END_TEST

START_TEST(test_guesses)
{
    static const char *const words[] = { "train", "sample", "inspect", "tune", "bench", "help" };
    static const struct {
        const char *typed, *meant;
    } cases[] = { { "trian", "train" },   { "Train", "train" }, { "inpsect", "inspect" },
                  { "smaple", "sample" }, { "tun", "tune" },    { "benchs", "bench" },
                  { "frobnicate", NULL }, { "xy", NULL },       { "", NULL },
                  { "trainings", NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fdit_text_guess g = { .typed = cases[i].typed, .length = strlen(cases[i].typed) };
        for (size_t k = 0; k < sizeof words / sizeof *words; k++)
            fdit_text_consider(&g, words[k]);
        if (cases[i].meant)
            ck_assert_pstr_eq(g.best, cases[i].meant);
        else
            ck_assert_ptr_null(g.best);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *all = tcase_create("all");
    tcase_add_test(all, test_safe);
    tcase_add_test(all, test_unescape);
    tcase_add_test(all, test_format);
    tcase_add_test(all, test_singular);
    tcase_add_test(all, test_sizes);
    tcase_add_test(all, test_guesses);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
