/* SPDX-License-Identifier: Apache-2.0
 * test_json.c: what is read and refused, and that no failed allocation leaves half a value. */
#include "harness.h"

#include "core/mem.h"
#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char good[] =
    "{\"text\": \"a\\n\\u00e4\\ud83d\\ude00 and a text that is longer than sixteen bytes\",\r\n"
    "\t\"list\": [1, -0, 12345678901234567, 9223372036854775807, -9223372036854775808],\n"
    "\"reals\": [0.5, -1e-3, 0.10000000000000000555, 1E2], \"words\": [true, false, null],"
    "\"deep\": {\"a\": {\"b\": []}}, \"\": 1}";

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

START_TEST(test_read)
{
    json_t *root = NULL, *same = NULL;
    char *text = NULL;
    ck_assert_ok(ctx, fdit_json_parse(ctx, "x.json", good, strlen(good), 8, &root));
    const json_t *list = json_object_get(root, "list"), *reals = json_object_get(root, "reals");
    ck_assert_str_eq(json_string_value(json_object_get(root, "text")),
                     "a\n\xc3\xa4\xf0\x9f\x98\x80 and a text that is longer than sixteen bytes");
    ck_assert(json_integer_value(json_array_get(list, 2)) == INT64_C(12345678901234567));
    ck_assert(json_integer_value(json_array_get(list, 3)) == INT64_MAX);
    ck_assert(json_integer_value(json_array_get(list, 4)) == INT64_MIN);
    ck_assert(json_real_value(json_array_get(reals, 1)) == -1e-3);
    ck_assert(json_real_value(json_array_get(reals, 2)) == 0.1);
    ck_assert(json_is_null(json_array_get(json_object_get(root, "words"), 2)));
    ck_assert(json_integer_value(json_object_get(root, "")) == 1);
    ck_assert_ok(ctx, fdit_json_dump(ctx, root, JSON_COMPACT | JSON_REAL_PRECISION(17), &text));
    ck_assert_ok(ctx, fdit_json_parse(ctx, "again", text, strlen(text), 8, &same));
    ck_assert(json_equal(root, same));
    json_decref(root);
    json_decref(same);
    fdit_free(text);
}
END_TEST

static const char *const texts[] = {
    "{}",
    "[]",
    " [1,2 , 3]\n",
    "[1,]",
    "{\"a\":1,}",
    "[,]",
    "[1 2]",
    "{\"a\" 1}",
    "{1:2}",
    "{\"a\":}",
    "[01]",
    "[-]",
    "[-0]",
    "[1.]",
    "[.5]",
    "[1e]",
    "[1e+]",
    "[1e+5]",
    "[0x1]",
    "[+1]",
    "[1e999]",
    "[1e-999]",
    "[9223372036854775808]",
    "[-9223372036854775809]",
    "[\"\\u12\"]",
    "[\"\\ud800\"]",
    "[\"\\ud800\\u0041\"]",
    "[\"\\udc00\"]",
    "[\"\\ud834\\udd1e\"]",
    "[\"\\x\"]",
    "[\"\t\"]",
    "[\"a\x7f\"]",
    "[\"\\u0000\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"",
    "[\"a",
    "[\"a\\",
    "[\"\xff\"]",
    "[\"\xc3\"]",
    "[\"\xc3\xa9\"]",
    "[\"\xed\xa0\x80\"]",
    "[tru]",
    "[nul",
    "[true]",
    "[truee]",
    "[NaN]",
    "[Infinity]",
    "[] x",
    "[]]",
    "[",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,\"a\":2}",
    "[1]\xef\xbb\xbf",
    "\xef\xbb\xbf[1]",
    "",
    " ",
    "[[[[[]]]]]",
    "[1,[2,{\"b\":[3]}]]",
    "{\"\\u0061\":1}",
    "{\"a\\u0000b\":1}",
};

/* Against jansson's own reader: accepted by one, accepted by the other, with the same value. */
START_TEST(test_as_jansson)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *ours = NULL;
        enum fdit_status status = fdit_json_parse(ctx, "x", texts[i], strlen(texts[i]), 16, &ours);
        json_t *theirs = json_loadb(texts[i], strlen(texts[i]), JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg((status == FDIT_OK) == (theirs != NULL), "%zu: %s: %s", i, texts[i],
                      fdit_context_message(ctx));
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_FORMAT, "%zu: %s", i, texts[i]);
        if (theirs)
            ck_assert_msg(json_equal(ours, theirs), "%zu: %s", i, texts[i]);
        json_decref(ours);
        json_decref(theirs);
    }
}
END_TEST

static void refused(const char *text, const char *part)
{
    json_t *root = NULL;
    ck_assert_int_eq(fdit_json_parse(ctx, "x.json", text, strlen(text), 3, &root), FDIT_ERROR_FORMAT);
    ck_assert_msg(strstr(fdit_context_message(ctx), part), "%s: %s", text, fdit_context_message(ctx));
    ck_assert_ptr_null(root);
}

START_TEST(test_messages)
{
    json_t *root = NULL;
    refused("{\n \"a\": tru}", "x.json: wrong JSON in line 2, column 7: no value begins so");
    refused("{\"a\": 1, \"a\": 2}", "the name \"a\" twice");
    refused("[[[[]]]]", "deeper than 3");
    refused("[\"a", "ends too early");
    refused("[1] 2", "follows the value");
    refused("[\"\\u0000\"]", "\\u0000");
    refused("[\"\xff\"]", "not UTF-8");
    refused("[123456789012345678901]", "64 bits");
    const char nul[] = "{\"a\\u0000b\": \"c\\u0000d\"}";
    ck_assert_ok(ctx, fdit_json_parse_nul(ctx, "x", nul, strlen(nul), 3, &root));
    ck_assert_str_eq(json_string_value(json_object_get(root, "a\xef\xbf\xbd"
                                                             "b")),
                     "c\xef\xbf\xbd"
                     "d");
    json_decref(root);
}
END_TEST

/* jansson's own allocations, counted and made to fail. */
static size_t allocations, fail_at;

static void *failing_malloc(size_t n)
{
    return ++allocations == fail_at ? NULL : malloc(n);
}

static enum fdit_status build(char **out)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "name", "N\xc3\xa1nus");
    json_t *list = fdit_json_put_array(&b, NULL, "list");
    for (int i = 0; i < 40; i++) {
        json_t *entry = fdit_json_put_object(&b, list, NULL);
        fdit_json_put_int(&b, entry, "number", INT64_MIN + i);
        fdit_json_put_real(&b, entry, "real", i ? 0.1 * i : 0.0 / (double)i);
        fdit_json_put_bool(&b, entry, "word", i % 2);
        fdit_json_put_null(&b, entry, "nothing");
        fdit_json_put_text(&b, entry, "text", NULL);
    }
    enum fdit_status status =
        fdit_json_end(ctx, &b, "x.json", JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), out);
    fdit_json_fini(&b);
    fdit_json_fini(&b);
    return status;
}

static enum fdit_status parse(char **out)
{
    json_t *root = NULL;
    enum fdit_status status = fdit_json_parse(ctx, "x.json", good, strlen(good), 8, &root);
    *out = NULL;
    if (status == FDIT_OK)
        status = fdit_json_dump(ctx, root, JSON_COMPACT, out);
    json_decref(root);
    return status;
}

/* Every allocation, jansson's and ours, fails in turn: the whole text or FDIT_ERROR_MEMORY. */
static void fail_each(enum fdit_status (*work)(char **))
{
    char *whole = NULL, *text = NULL;
    ck_assert_ok(ctx, work(&whole));
    size_t done = 0;
    for (int ours = 0; ours < 2; ours++)
        for (size_t i = 1;; i++) {
            if (!ours)
                json_set_alloc_funcs(failing_malloc, free);
            allocations = 0;
            fail_at = ours ? 0 : i;
            uint64_t before = fdit_mem_stats().calls;
            fdit_mem_fail_at(ours ? i : 0);
            enum fdit_status status = work(&text);
            fdit_mem_fail_at(0);
            uint64_t calls = fdit_mem_stats().calls - before;
            json_set_alloc_funcs(malloc, free);
            if (status == FDIT_OK) {
                ck_assert_msg(!strcmp(text, whole), "ours %d, allocation %zu: another text", ours, i);
                fdit_free(text);
            } else {
                ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
                ck_assert_ptr_null(text);
                done++;
            }
            if (i > (ours ? (size_t)calls : allocations))
                break;
        }
    ck_assert_uint_gt(done, 20);
    fdit_free(whole);
}

START_TEST(test_no_memory)
{
    fail_each(build);
    fail_each(parse);
}
END_TEST

START_TEST(test_no_text)
{
    struct fdit_json b;
    char *text = NULL;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "note", "caf\xe9");
    fdit_json_put_text(&b, NULL, "more", "x");
    ck_assert_int_eq(fdit_json_end(ctx, &b, "run.json", 0, &text), FDIT_ERROR_ARGUMENT);
    ck_assert_str_eq(fdit_context_message(ctx),
                     "run.json: the text of \"note\" is not UTF-8 and cannot be written");
    fdit_json_fini(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *cases = tcase_create("json");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_read);
    tcase_add_test(cases, test_as_jansson);
    tcase_add_test(cases, test_messages);
    tcase_add_test(cases, test_no_memory);
    tcase_add_test(cases, test_no_text);
    suite_add_tcase(suite, cases);
    return test_run(suite);
}
