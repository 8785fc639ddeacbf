/* SPDX-License-Identifier: Apache-2.0
 * test_png_text.c: texts in PNG files, and whether a file is whole. */
#include "core/mem.h"
#include "picture/picture.h"
#include "picture/png.h"
#include "picture/png_scan.h"
#include "harness.h"

#include <string.h>

static fdit_context *ctx;

static const struct fdit_png_text texts[] = { { "parameters", "a/b\nSteps: 50, Seed: 7" },
                                              { "finediffusion",
                                                "{\"class\":\"v\xc3\xb6gel/\xe4\xb8\xad\"}" },
                                              { "Title", "" } };

static void make(uint8_t **bytes, size_t *n)
{
    struct fdit_picture p = { 0 };
    ck_assert_ok(ctx, fdit_picture_new(ctx, 5, 3, 3, &p));
    memset(p.pixels, 77, 45);
    ck_assert_ok(ctx, fdit_png_encode_with(ctx, &p, texts, 3, bytes, n));
    fdit_picture_fini(&p);
}

START_TEST(test_texts)
{
    struct fdit_png_scan scan;
    struct fdit_picture back;
    uint8_t *bytes, *again;
    size_t n, m;
    make(&bytes, &n);
    make(&again, &m);
    ck_assert(n == m && !memcmp(bytes, again, n));
    for (int i = 0; i < 3; i++) {
        ck_assert(fdit_png_scan(bytes, n, texts[i].key, &scan));
        ck_assert(scan.width == 5 && scan.height == 3);
        ck_assert_ptr_nonnull(scan.text);
        ck_assert_uint_eq(scan.text_n, strlen(texts[i].value));
        ck_assert(!memcmp(scan.text, texts[i].value, scan.text_n));
    }
    ck_assert(fdit_png_scan(bytes, n, "param", &scan) && !scan.text);
    ck_assert(fdit_png_scan(bytes, n, NULL, &scan) && !scan.text);
    ck_assert_ok(ctx, fdit_picture_decode(ctx, bytes, n, "x.png", &back));
    ck_assert_int_eq(back.pixels[44], 77);
    fdit_picture_fini(&back);
    fdit_free(bytes);
    fdit_free(again);
}
END_TEST

START_TEST(test_whole)
{
    struct fdit_png_scan scan;
    uint8_t *bytes, *more = NULL;
    size_t n;
    make(&bytes, &n);
    for (size_t k = 0; k < n; k++) {
        ck_assert_msg(!fdit_png_scan(bytes, k, "Title", &scan), "%zu of %zu bytes", k, n);
        bytes[k] ^= 4;
        ck_assert_msg(!fdit_png_scan(bytes, n, "Title", &scan), "byte %zu", k);
        bytes[k] ^= 4;
    }
    ck_assert_ok(ctx, fdit_alloc(ctx, n + 1, 1, &more));
    memcpy(more, bytes, n);
    ck_assert(fdit_png_scan(more, n, "Title", &scan));
    ck_assert(!fdit_png_scan(more, n + 1, "Title", &scan));
    fdit_free(more);
    fdit_free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("png_text");
    TCase *tc = tcase_create("png_text");
    ctx = fdit_context_new();
    tcase_add_test(tc, test_texts);
    tcase_add_test(tc, test_whole);
    suite_add_tcase(suite, tc);
    int code = test_run(suite);
    fdit_context_free(ctx);
    return code;
}
