/* SPDX-License-Identifier: Apache-2.0
 * Status and memory: what every other file stands on. */
#include "core/mem.h"
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static fdit_context *ctx;

START_TEST(test_messages)
{
    ck_assert_str_eq(fdit_context_message(ctx), "");
    ck_assert_int_eq(fdit_fail(ctx, FDIT_ERROR_IO, "%s: %d", "a\nb\x7f", 7), FDIT_ERROR_IO);
    ck_assert_str_eq(fdit_context_message(ctx), "a\\nb\\x7f: 7");
    fdit_fail_prefix(ctx, FDIT_ERROR_IO, "file");
    ck_assert_str_eq(fdit_context_message(ctx), "file: a\\nb\\x7f: 7");
    fdit_fail_errno(ctx, FDIT_ERROR_IO, 2, "open %s", "x");
    ck_assert_str_eq(fdit_context_message(ctx), "open x: No such file or directory");
    ck_assert_int_eq(fdit_fail(NULL, FDIT_ERROR_IO, "nowhere"), FDIT_ERROR_IO);
    for (int s = FDIT_OK; s <= FDIT_INTERRUPTED; s++)
        ck_assert_str_ne(fdit_status_text((enum fdit_status)s), "unknown status");
}
END_TEST

static void count_log(void *user, enum fdit_log_level level, const char *message)
{
    ck_assert_int_eq(level, FDIT_LOG_INFO);
    ck_assert_str_eq(message, "n = 3");
    ++*(int *)user;
}

START_TEST(test_children)
{
    int logged = 0;
    fdit_context *parent = fdit_context_new();
    fdit_context_set_log(parent, count_log, &logged);
    fdit_context *child = fdit_context_child(parent);
    fdit_log(child, FDIT_LOG_INFO, "n = %d", 3);
    ck_assert_int_eq(logged, 1);
    ck_assert(!fdit_stopped(child));
    fdit_context_stop(parent);
    ck_assert(fdit_stopped(child) && fdit_stopped(parent));
    fdit_fail(child, FDIT_ERROR_IO, "deep inside");
    fdit_context_take_message(parent, child);
    ck_assert_str_eq(fdit_context_message(parent), "deep inside");
    ck_assert_str_eq(fdit_context_message(child), "");
    fdit_context_free(child);
    fdit_context_free(parent);
}
END_TEST

START_TEST(test_sizes)
{
    size_t out = 7;
    void *p;
    ck_assert(!fdit_mul(SIZE_MAX / 2 + 1, 2, &out) && out == 7);
    ck_assert(!fdit_add(SIZE_MAX, 1, &out) && out == 7);
    ck_assert(fdit_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    ck_assert(fdit_mul(0, SIZE_MAX, &out) && out == 0);
    ck_assert_int_eq(fdit_alloc(ctx, SIZE_MAX / 4, 8, &p), FDIT_ERROR_MEMORY);
    ck_assert_ptr_null(p);
    ck_assert_int_eq(fdit_alloc(ctx, SIZE_MAX - 8, 1, &p), FDIT_ERROR_MEMORY);
    ck_assert_int_eq(fdit_alloc(ctx, 0, 8, &p), FDIT_OK);
    ck_assert_ptr_nonnull(p);
    fdit_free(p);
}
END_TEST

START_TEST(test_blocks)
{
    struct fdit_mem_stats before = fdit_mem_stats();
    uint8_t *a, *b;
    ck_assert_ok(ctx, fdit_alloc(ctx, 100, 1, &a));
    ck_assert_ok(ctx, fdit_alloc_pages(ctx, 5000, 2, &b));
    ck_assert_uint_eq((uintptr_t)a % 16, 0);
    ck_assert_uint_eq((uintptr_t)b % 4096, 0);
    for (size_t i = 0; i < 10000; i++)
        ck_assert_uint_eq(b[i], 0);
    ck_assert_uint_eq(fdit_mem_stats().bytes, before.bytes + 10100);
    ck_assert_uint_eq(fdit_mem_stats().count, before.count + 2);
    fdit_free(a);
    fdit_free(b);
    fdit_free(NULL);
    ck_assert_uint_eq(fdit_mem_stats().bytes, before.bytes);
    ck_assert_uint_eq(fdit_mem_stats().count, before.count);
    ck_assert_uint_ge(fdit_mem_stats().peak_bytes, before.bytes + 10100);
}
END_TEST

START_TEST(test_growing)
{
    int *list = NULL;
    size_t capacity = 0;
    for (size_t n = 0; n < 1000; n++) {
        ck_assert_ok(ctx, fdit_grow(ctx, &list, &capacity, n + 1, sizeof *list));
        ck_assert_uint_ge(capacity, n + 1);
        ck_assert_int_eq(list[n], 0);
        list[n] = (int)n;
    }
    for (int n = 0; n < 1000; n++)
        ck_assert_int_eq(list[n], n);
    int *was = list;
    size_t had = capacity;
    fdit_mem_fail_at(1);
    ck_assert_int_eq(fdit_grow(ctx, &list, &capacity, 10 * capacity, sizeof *list), FDIT_ERROR_MEMORY);
    ck_assert(list == was && capacity == had && list[999] == 999);
    fdit_free(list);
}
END_TEST

START_TEST(test_injected_failures)
{
    void *p;
    fdit_mem_fail_at(3);
    for (int i = 1; i <= 4; i++) {
        enum fdit_status status = fdit_alloc(ctx, 1, 1, &p);
        ck_assert_int_eq(status, i == 3 ? FDIT_ERROR_MEMORY : FDIT_OK);
        fdit_free(p);
    }
}
END_TEST

START_TEST(test_strings)
{
    char *s;
    ck_assert_ok(ctx, fdit_strndup(ctx, "abcdef", 3, &s));
    ck_assert_str_eq(s, "abc");
    fdit_free(s);
    ck_assert_ok(ctx, fdit_strf(ctx, &s, "%s-%05d", "x", 42));
    ck_assert_str_eq(s, "x-00042");
    fdit_free(s);
    ck_assert_ok(ctx, fdit_strdup(ctx, "", &s));
    ck_assert_str_eq(s, "");
    fdit_free(s);
}
END_TEST

static void *hammer(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        void *p;
        if (fdit_alloc(NULL, (size_t)(i % 50), 3, &p) == FDIT_OK)
            fdit_free(p);
    }
    return NULL;
}

/* The counts stay exact when several threads allocate. */
START_TEST(test_threads)
{
    struct fdit_mem_stats before = fdit_mem_stats();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(fdit_mem_stats().bytes, before.bytes);
    ck_assert_uint_eq(fdit_mem_stats().count, before.count);
    ck_assert_uint_eq(fdit_mem_stats().calls, before.calls + 8000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("core");
    TCase *tc = tcase_create("core");
    ctx = fdit_context_new();
    tcase_add_test(tc, test_messages);
    tcase_add_test(tc, test_children);
    tcase_add_test(tc, test_sizes);
    tcase_add_test(tc, test_blocks);
    tcase_add_test(tc, test_growing);
    tcase_add_test(tc, test_injected_failures);
    tcase_add_test(tc, test_strings);
    tcase_add_test(tc, test_threads);
    suite_add_tcase(s, tc);
    int failed = test_run(s);
    fdit_context_free(ctx);
    return failed;
}
