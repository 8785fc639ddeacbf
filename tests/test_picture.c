/* SPDX-License-Identifier: Apache-2.0
 * test_picture.c: pictures as people have them: turned by EXIF, transparent, of other kinds, slightly
 * damaged, very large. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "format/picture.h"
#include "format/picture_probe.h"
#include "format/png.h"
#include "format/resize.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static fdit_context *ctx;
static size_t live_before;

static void setup(void)
{
    live_before = fdit_mem_stats().count;
    ctx = fdit_context_new();
}

static void teardown(void)
{
    fdit_context_free(ctx);
    ck_assert_uint_eq(fdit_mem_stats().count, live_before);
}

/* ------------------------------------------------------------------ files made by hand */

struct bytes {
    uint8_t *at;
    size_t n, capacity;
};

static void put(struct bytes *b, const void *data, size_t n)
{
    ck_assert_ok(ctx, fdit_grow(ctx, &b->at, &b->capacity, b->n + n, 1));
    if (n)
        memcpy(b->at + b->n, data, n);
    b->n += n;
}

static void put32(struct bytes *b, uint32_t v)
{
    uint8_t t[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    put(b, t, 4);
}

static void chunk(struct bytes *b, const char *type, const void *data, size_t n)
{
    put32(b, (uint32_t)n);
    put(b, type, 4);
    put(b, data, n);
    put32(b, (uint32_t)crc32(0, b->at + b->n - n - 4, (uInt)(n + 4)));
}

static void header(struct bytes *b, uint32_t w, uint32_t h, int depth, int colour, int interlace)
{
    uint8_t ihdr[13] = { (uint8_t)(w >> 24), (uint8_t)(w >> 16), (uint8_t)(w >> 8), (uint8_t)w,
                         (uint8_t)(h >> 24), (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h,
                         (uint8_t)depth, (uint8_t)colour, 0, 0, (uint8_t)interlace };
    put(b, "\x89PNG\r\n\x1a\n", 8);
    chunk(b, "IHDR", ihdr, sizeof ihdr);
}

/* Rows with their filter bytes. */
static void data_chunk(struct bytes *b, const uint8_t *rows, size_t n)
{
    uLongf packed = compressBound((uLong)n);
    uint8_t *to = malloc(packed);
    ck_assert_int_eq(compress(to, &packed, rows, (uLong)n), Z_OK);
    chunk(b, "IDAT", to, packed);
    free(to);
}

/* EXIF with an orientation, in either byte order, behind another entry. */
static size_t exif(uint8_t out[64], bool little, int orientation)
{
    static const uint8_t big_end[] = { 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 2,
                                       1, 0x0f, 0, 2, 0, 0, 0, 2, 'x', 0, 0, 0,
                                       1, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t little_end[] = { 'I', 'I', '*', 0, 8, 0, 0, 0, 2, 0,
                                          0x0f, 1, 2, 0, 2, 0, 0, 0, 'x', 0, 0, 0,
                                          0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    memcpy(out, little ? little_end : big_end, sizeof big_end);
    out[little ? 30 : 31] = (uint8_t)orientation;
    return sizeof big_end;
}

static struct fdit_picture_probe probe(const uint8_t *bytes, size_t n)
{
    struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
    struct fdit_picture_probe p;
    ck_assert_ok(ctx, fdit_picture_probe(ctx, &from, "some picture", &p));
    return p;
}

/* ------------------------------------------------------------------ headers */

/* A grey picture of 3 x 2: EXIF before or behind the data, as a chunk or as hexadecimal text. */
static void small_png(struct bytes *b, int colour, const uint8_t *tiff, size_t n, int where)
{
    static const uint8_t rows[2][16] = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 },
                                         { 0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22 } };
    size_t row = 1 + 3 * (size_t)(colour == 0 ? 1 : colour == 2 ? 3 : colour == 4 ? 2 : 4);
    uint8_t all[32];
    b->n = 0;
    header(b, 3, 2, 8, colour, 0);
    if (n && where == 0)
        chunk(b, "eXIf", tiff, n);
    if (n && where == 2) {
        char text[400] = "Raw profile type exif";
        size_t k = strlen(text) + 1;
        k += (size_t)sprintf(text + k, "\nexif\n%8zu\n", n + 6);
        k += (size_t)sprintf(text + k, "457869660000");
        for (size_t i = 0; i < n; i++)
            k += (size_t)sprintf(text + k, "%02x%s", tiff[i], i == 30 ? "\n" : "");
        chunk(b, "tEXt", text, k);
    }
    memcpy(all, rows[0], row);
    memcpy(all + row, rows[1], row);
    data_chunk(b, all, 2 * row);
    if (n && where == 1)
        chunk(b, "eXIf", tiff, n);
    chunk(b, "IEND", NULL, 0);
}

START_TEST(test_orientation_is_found)
{
    struct bytes b = { 0 };
    uint8_t tiff[64];
    for (int little = 0; little < 2; little++)
        for (int o = 0; o <= 9; o++)
            for (int where = 0; where < 3; where++) {
                size_t n = exif(tiff, little, o);
                small_png(&b, 0, tiff, n, where);
                struct fdit_picture_probe p = probe(b.at, b.n);
                ck_assert_int_eq(p.orientation, o >= 1 && o <= 8 ? o : 1);
                ck_assert_uint_eq(p.width, 3);
                ck_assert_uint_eq(p.height, 2);
                ck_assert(!p.alpha && !p.animated && !p.interlaced);
                ck_assert_str_eq(p.kind.name, "PNG");
            }
    /* cut off and senseless EXIF is none */
    for (size_t n = 0; n < 38; n++) {
        exif(tiff, true, 6);
        small_png(&b, 0, tiff, n, 0);
        ck_assert_int_eq(probe(b.at, b.n).orientation, n >= 34 ? 6 : 1);
    }
    memset(tiff + 4, 0xff, 4);
    small_png(&b, 0, tiff, 38, 0);
    ck_assert_int_eq(probe(b.at, b.n).orientation, 1);
    fdit_free(b.at);
}
END_TEST

START_TEST(test_jpeg_headers)
{
    char *path = test_fixture("image/exif6_80x60.jpg");
    uint8_t *bytes;
    size_t n;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &bytes, &n));
    struct fdit_picture_probe p = probe(bytes, n);
    ck_assert_int_eq(p.orientation, 6);
    ck_assert_uint_eq(p.width, 80);
    ck_assert_uint_eq(p.height, 60);
    ck_assert_str_eq(p.kind.name, "JPEG");
    for (size_t cut = 0; cut < n; cut++) { /* anything may be missing */
        struct fdit_picture_bytes from = fdit_picture_memory(bytes, cut);
        enum fdit_status s = fdit_picture_probe(ctx, &from, "cut", &p);
        ck_assert(s == FDIT_OK || s == FDIT_ERROR_FORMAT || (s == FDIT_ERROR_UNSUPPORTED && cut < 4));
    }
    fdit_free(bytes);
    free(path);
}
END_TEST

START_TEST(test_alpha_is_seen)
{
    struct bytes b = { 0 };
    const int colours[] = { 0, 2, 4, 6 };
    for (int i = 0; i < 4; i++) {
        small_png(&b, colours[i], NULL, 0, 0);
        ck_assert_int_eq(probe(b.at, b.n).alpha, colours[i] >= 4);
    }
    const char *webps[] = { "lossless.webp", "alpha.webp", "animated.webp", "lossy.webp" };
    for (int i = 0; i < 4; i++) {
        char path[1000];
        uint8_t *bytes;
        size_t n;
        snprintf(path, sizeof path, "%s/corpus/picture/%s", TESTS_DIR, webps[i]);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 20, &bytes, &n));
        struct fdit_picture_probe p = probe(bytes, n);
        ck_assert_msg(p.alpha == (i == 1) || i == 2, "%s", webps[i]);
        ck_assert_int_eq(p.animated, i == 2);
        ck_assert_msg(p.width && p.height, "%s", webps[i]);
        fdit_free(bytes);
    }
    fdit_free(b.at);
}
END_TEST

/* ------------------------------------------------------------------ kinds */

START_TEST(test_kinds_are_named)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *name;
    } kinds[] = {
        { "GIF89a..............", 20, "GIF" },
        { "BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", 18, "BMP" },
        { "II*\0\x08\0\0\0", 8, "TIFF" },
        { "MM\0*\0\0\0\x08", 8, "TIFF" },
        { "II+\0\x08\0\0\0", 8, "BigTIFF" },
        { "\0\0\0\x18""ftypheic\0\0\0\0", 16, "HEIC" },
        { "\0\0\0\x18""ftypmif1\0\0\0\0", 16, "HEIF" },
        { "\0\0\0\x1c""ftypavif\0\0\0\0", 16, "AVIF" },
        { "\0\0\0\x1c""ftypisom\0\0\0\0", 16, "film" },
        { "\0\0\0\x0cJXL \r\n\x87\n", 12, "JPEG XL" },
        { "\xff\x0a\xfa\x1f", 4, "JPEG XL" },
        { "<?xml version=\"1.0\"?>\n<!-- x -->\n<svg xmlns=\"x\">", 49, "SVG" },
        { "<svg>", 5, "SVG" },
        { "8BPS\0\x01", 6, "PSD" },
        { "P6\n3 2\n255\n", 11, "PNM" },
        { "qoif\0\0\0\x03", 8, "QOI" },
        { "%PDF-1.4", 8, "PDF" },
        { "\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0", 22, "ICO" },
    };
    static const char *const none[] = { "BM is a text", "P6", "<html><svgx></html>", "hello", "" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct fdit_picture_kind k = fdit_picture_kind((const uint8_t *)kinds[i].bytes, kinds[i].n);
        ck_assert_msg(k.name && strstr(k.name, kinds[i].name), "%s", kinds[i].name);
        ck_assert_int_eq(k.format, FDIT_PICTURE_UNKNOWN);
        ck_assert_ptr_nonnull(k.remedy);
        struct fdit_picture p;
        ck_assert_int_eq(fdit_picture_decode(ctx, (const uint8_t *)kinds[i].bytes, kinds[i].n, "a/b", &p),
                         FDIT_ERROR_UNSUPPORTED);
        const char *message = fdit_context_message(ctx);
        ck_assert_msg(strstr(message, kinds[i].name) && strstr(message, k.remedy) && strstr(message, "a/b"),
                      "%s", message);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_ptr_null(fdit_picture_kind((const uint8_t *)none[i], strlen(none[i])).name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("picture");
    TCase *t = tcase_create("picture");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, test_orientation_is_found);
    tcase_add_test(t, test_jpeg_headers);
    tcase_add_test(t, test_alpha_is_seen);
    tcase_add_test(t, test_kinds_are_named);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
