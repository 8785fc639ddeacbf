/* SPDX-License-Identifier: Apache-2.0
 * test_names.c: sets of names, and what is UTF-8. */
#include "core/utf8.h"
#include "data/names.h"
#include "harness.h"

#include <string.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

START_TEST(test_names)
{
    /* A set against the plain truth, with names that collide and prefix each other. */
    struct fdit_names names = { 0 };
    struct test_rng rng = test_rng_new("names");
    char kept[500][12];
    size_t n = 0;
    for (int i = 0; i < 3000; i++) {
        char name[12];
        int len = test_int(&rng, 4);
        for (int k = 0; k < len && k < (int)sizeof name - 1; k++) /* the bound is for gcc 14 */
            name[k] = (char)('a' + test_int(&rng, 4));
        name[len] = 0;
        size_t id, known = 0;
        bool added;
        while (known < n && strcmp(kept[known], name))
            known++;
        ck_assert_uint_eq(fdit_names_find(&names, name, (size_t)len), known < n ? known : FDIT_NAMES_NONE);
        ck_assert_ok(ctx, fdit_names_add(ctx, &names, name, (size_t)len, &id, &added));
        ck_assert_uint_eq(id, known);
        ck_assert_int_eq(added, known == n);
        if (added)
            memcpy(kept[n++], name, (size_t)len + 1);
        ck_assert_str_eq(fdit_names_get(&names, id), name);
        ck_assert_uint_eq(fdit_names_length(&names, id), (size_t)len);
    }
    uint32_t order[500];
    ck_assert_ok(ctx, fdit_names_sort(ctx, &names, order));
    for (size_t i = 1; i < n; i++)
        ck_assert_int_lt(strcmp(kept[order[i - 1]], kept[order[i]]), 0);
    fdit_names_fini(&names);
}
END_TEST

START_TEST(test_utf8)
{
    static const char *const good[] = { "",
                                        "a",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xef\xbf\xbf",
                                        "\xed\x9f\xbf",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf" };
    static const char *const bad[] = { "\x80",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xc2",
                                       "\xc2q",
                                       "\xe0\x9f\xbf",
                                       "\xe1\x80",
                                       "\xed\xa0\x80",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "a\xfe" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(fdit_utf8_valid(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!fdit_utf8_valid(bad[i], strlen(bad[i])), "bad %zu", i);
    ck_assert(!fdit_utf8_valid("a\0b", 3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("names");
    TCase *c = tcase_create("names");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_names);
    tcase_add_test(c, test_utf8);
    suite_add_tcase(suite, c);
    return test_run(suite);
}
