/* SPDX-License-Identifier: Apache-2.0
 * test_picture.c: pictures as people have them: turned by EXIF, transparent, of other kinds,
 * slightly damaged, very large. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "picture/fit.h"
#include "picture/picture.h"
#include "picture/picture_probe.h"
#include "picture/png.h"
#include "picture/resize.h"
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
    uint8_t ihdr[13] = { (uint8_t)(w >> 24),
                         (uint8_t)(w >> 16),
                         (uint8_t)(w >> 8),
                         (uint8_t)w,
                         (uint8_t)(h >> 24),
                         (uint8_t)(h >> 16),
                         (uint8_t)(h >> 8),
                         (uint8_t)h,
                         (uint8_t)depth,
                         (uint8_t)colour,
                         0,
                         0,
                         (uint8_t)interlace };
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
    static const uint8_t big_end[] = { 'M', 'M', 0, '*', 0,    0, 0, 8, 0, 2, 1, 0x0f, 0, 2, 0, 0, 0, 2, 'x',
                                       0,   0,   0, 1,   0x12, 0, 3, 0, 0, 0, 1, 0,    0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t little_end[] = { 'I', 'I', '*', 0, 8, 0,   0, 0, 2, 0,    0x0f, 1, 2,
                                          0,   2,   0,   0, 0, 'x', 0, 0, 0, 0x12, 1,    3, 0,
                                          1,   0,   0,   0, 0, 0,   0, 0, 0, 0,    0,    0 };
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
        { "\0\0\0\x18"
          "ftypheic\0\0\0\0",
          16, "HEIC" },
        { "\0\0\0\x18"
          "ftypmif1\0\0\0\0",
          16, "HEIF" },
        { "\0\0\0\x1c"
          "ftypavif\0\0\0\0",
          16, "AVIF" },
        { "\0\0\0\x1c"
          "ftypisom\0\0\0\0",
          16, "film" },
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

/* ------------------------------------------------------------------ to the square */

/* Random pixels of a colour type, EXIF, and interlacing as asked for. */
static void random_png(struct test_rng *rng, struct bytes *b, int w, int h, int colour, int orientation,
                       int depth)
{
    static const int channels[] = { 1, 0, 3, 1, 2, 0, 4 };
    size_t row = 1 + ((size_t)w * (size_t)channels[colour] * (size_t)depth + 7) / 8, n = row * (size_t)h;
    uint8_t tiff[64], palette[768], clear[256], *rows = malloc(n);
    for (size_t i = 0; i < n; i++)
        rows[i] = i % row ? (uint8_t)test_bits(rng) : 0;
    b->n = 0;
    header(b, (uint32_t)w, (uint32_t)h, depth, colour, 0);
    if (colour == 3) {
        for (int i = 0; i < 768; i++)
            palette[i] = (uint8_t)test_bits(rng);
        for (int i = 0; i < 256; i++)
            clear[i] = (uint8_t)test_bits(rng);
        chunk(b, "PLTE", palette, (size_t)3 << depth);
        chunk(b, "tRNS", clear, (size_t)1 << (depth - 1));
    }
    if (orientation)
        chunk(b, "eXIf", tiff, exif(tiff, orientation & 1, orientation));
    data_chunk(b, rows, n);
    chunk(b, "IEND", NULL, 0);
    free(rows);
}

static void check_equal(const struct fdit_picture *a, const struct fdit_picture *b, const char *what)
{
    ck_assert_msg(a->width == b->width && a->height == b->height, "%s: %d x %d, %d x %d", what, a->width,
                  a->height, b->width, b->height);
    size_t n = (size_t)a->width * (size_t)a->height * 3;
    size_t i = test_first_difference(a->pixels, b->pixels, n, 1);
    ck_assert_msg(i == n, "%s: byte %zu is %d, wanted %d", what, i, a->pixels[i], b->pixels[i]);
}

START_TEST(test_fit_has_the_bits_of_decode_and_crop)
{
    struct test_rng rng = test_rng_new("fit");
    struct bytes b = { 0 };
    const int colours[] = { 0, 2, 3, 4, 6 };
    for (int k = 0; k < 400; k++) {
        int w = 1 + test_int(&rng, k % 4 ? 90 : 400), h = 1 + test_int(&rng, k % 3 ? 90 : 400);
        int size = 1 + test_int(&rng, 20), colour = colours[k % 5];
        bool pad = test_bits(&rng) & 1;
        struct fdit_picture_rules rules = { .exif = k & 1, .matte = k & 2, .ground = { 10, 200, 255 } };
        struct fdit_picture whole, want, got;
        char what[100];
        snprintf(what, sizeof what, "%d x %d to %d, %s, orientation %d, colour %d", w, h, size,
                 pad ? "pad" : "crop", k % 9, colour);
        random_png(&rng, &b, w, h, colour, k % 9, 8);
        ck_assert_ok(ctx, fdit_picture_decode_as(ctx, b.at, b.n, "x", &rules, &whole));
        ck_assert_ok(ctx, pad ? fdit_picture_pad(ctx, &whole, size, &want)
                              : fdit_picture_crop(ctx, &whole, size, &want));
        ck_assert_ok(ctx, fdit_picture_fit(ctx, b.at, b.n, "x", &rules, pad, size, &got));
        check_equal(&got, &want, what);
        fdit_picture_fini(&whole);
        fdit_picture_fini(&want);
        fdit_picture_fini(&got);
    }
    fdit_free(b.at);
}
END_TEST

/* Pixel (x, y) of the turned picture, as the standard draws the eight. */
START_TEST(test_turns)
{
    struct test_rng rng = test_rng_new("turns");
    struct bytes b = { 0 };
    enum { W = 7, H = 4 };
    struct fdit_picture plain, turned;
    for (int o = 1; o <= 8; o++) {
        const struct fdit_picture_rules rules = { .exif = true };
        random_png(&rng, &b, W, H, 2, o, 8);
        ck_assert_ok(ctx, fdit_picture_decode(ctx, b.at, b.n, "x", &plain));
        ck_assert_ok(ctx, fdit_picture_decode_as(ctx, b.at, b.n, "x", &rules, &turned));
        ck_assert_int_eq(turned.width, o < 5 ? W : H);
        for (int y = 0; y < turned.height; y++)
            for (int x = 0; x < turned.width; x++) {
                const int from[9][2] = { { 0 },
                                         { x, y },
                                         { W - 1 - x, y },
                                         { W - 1 - x, H - 1 - y },
                                         { x, H - 1 - y },
                                         { y, x },
                                         { y, H - 1 - x },
                                         { W - 1 - y, H - 1 - x },
                                         { W - 1 - y, x } };
                const uint8_t *a = plain.pixels + 3 * (from[o][1] * W + from[o][0]);
                ck_assert_msg(!memcmp(a, turned.pixels + 3 * (y * turned.width + x), 3), "%d: %d %d", o, x,
                              y);
            }
        fdit_picture_fini(&plain);
        fdit_picture_fini(&turned);
    }
    fdit_free(b.at);
}
END_TEST

START_TEST(test_transparency)
{
    static const uint8_t palette[] = { 200, 100, 0, 1, 2, 3 }, clear[] = { 51 };
    static const struct {
        int colour, depth;
        size_t n;
        uint8_t row[9], want[3]; /* one pixel over 255, 0, 100 */
    } cases[] = {
        { 6, 8, 5, { 0, 10, 20, 30, 0 }, { 255, 0, 100 } },
        { 6, 8, 5, { 0, 10, 20, 30, 255 }, { 10, 20, 30 } },
        { 6, 8, 5, { 0, 0, 100, 255, 51 }, { 204, 20, 131 } },
        { 4, 8, 3, { 0, 200, 128 }, { 227, 100, 150 } },
        { 4, 16, 5, { 0, 200, 99, 128, 99 }, { 227, 100, 150 } },
        { 6, 16, 9, { 0, 0, 9, 100, 9, 255, 9, 51, 9 }, { 204, 20, 131 } },
        { 3, 8, 2, { 0, 0 }, { 244, 20, 80 } },
        { 3, 1, 2, { 0, 0 }, { 244, 20, 80 } },
        { 3, 1, 2, { 0, 0x80 }, { 1, 2, 3 } },
        { 0, 8, 2, { 0, 7 }, { 255, 0, 100 } }, /* 7 is the transparent grey */
        { 0, 8, 2, { 0, 8 }, { 8, 8, 8 } },
        { 2, 8, 4, { 0, 7, 7, 7 }, { 255, 0, 100 } },
    };
    const struct fdit_picture_rules rules = { .matte = true, .ground = { 255, 0, 100 } };
    struct bytes b = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fdit_picture p;
        b.n = 0;
        header(&b, 1, 1, cases[i].depth, cases[i].colour, 0);
        if (cases[i].colour == 3) {
            chunk(&b, "PLTE", palette, sizeof palette);
            chunk(&b, "tRNS", clear, sizeof clear);
        } else if (cases[i].colour < 4) {
            chunk(&b, "tRNS", "\0\7\0\7\0\7", cases[i].colour ? 6 : 2);
        }
        data_chunk(&b, cases[i].row, cases[i].n);
        chunk(&b, "IEND", NULL, 0);
        ck_assert_ok(ctx, fdit_picture_decode_as(ctx, b.at, b.n, "x", &rules, &p));
        for (int c = 0; c < 3; c++)
            ck_assert_msg(p.pixels[c] == cases[i].want[c], "%zu: channel %d is %d, wanted %d", i, c,
                          p.pixels[c], cases[i].want[c]);
        fdit_picture_fini(&p);
    }
    fdit_free(b.at);
}
END_TEST

START_TEST(test_rules_as_text)
{
    struct fdit_picture_rules r = fdit_picture_rules_usual();
    char text[8];
    static const char *const good[] = { "white", "black", "none", "#80c0ff", "#808080" };
    static const char *const bad[] = { "", "#80c0f", "#80c0fff", "#80c0gg", "red", "White" };
    ck_assert_str_eq(fdit_orient_text(&r), "exif");
    ck_assert_str_eq(fdit_matte_text(&r, text), "white");
    for (size_t i = 0; i < 5; i++) {
        ck_assert_ok(ctx, fdit_matte_parse(ctx, "--matte", good[i], &r));
        ck_assert_str_eq(fdit_matte_text(&r, text), good[i]);
    }
    ck_assert_ok(ctx, fdit_matte_parse(ctx, "--matte", "#FFFFFF", &r));
    ck_assert_str_eq(fdit_matte_text(&r, text), "white");
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(fdit_matte_parse(ctx, "--matte", bad[i], &r), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_orient_parse(ctx, "--orient", "none", &r));
    ck_assert_str_eq(fdit_orient_text(&r), "none");
    ck_assert_int_eq(fdit_orient_parse(ctx, "--orient", "0", &r), FDIT_ERROR_ARGUMENT);
}
END_TEST

/* ------------------------------------------------------------------ slight damage, whole pixels */

START_TEST(test_png_damage_beside_the_pixels)
{
    struct test_rng rng = test_rng_new("damage");
    struct bytes b = { 0 }, odd = { 0 };
    struct fdit_picture want, got;
    random_png(&rng, &b, 200, 90, 2, 0, 8);
    ck_assert_ok(ctx, fdit_picture_decode(ctx, b.at, b.n, "x", &want));
    for (int k = 0; k < 6; k++) {
        odd.n = 0;
        put(&odd, b.at, 33);
        if (k == 0) { /* a text and a profile with wrong checksums */
            chunk(&odd, "tEXt", "a\0b", 3);
            odd.at[odd.n - 1] ^= 1;
            chunk(&odd, "iCCP", "a\0\0not a profile", 16);
            odd.at[odd.n - 2] ^= 1;
        }
        if (k == 1)
            chunk(&odd, "sRGB", "\xff\xff", 2);
        if (k == 2)
            chunk(&odd, "gAMA", "\0\0\0\0", 4);
        size_t at = odd.n;
        put(&odd, b.at + 33, b.n - 33);
        if (k == 3)
            odd.n -= 12; /* no IEND */
        if (k == 4)
            put(&odd, "behind the end", 14);
        if (k == 5) { /* a window of 256 bytes, as old writers state it */
            ck_assert_int_eq(odd.at[at + 8], 0x78);
            odd.at[at + 8] = 0x08;
            odd.at[at + 9] = 0x1d;
            size_t n = odd.n - at - 24;
            uint32_t crc = (uint32_t)crc32(0, odd.at + at + 4, (uInt)(n + 4));
            for (int i = 0; i < 4; i++)
                odd.at[at + 8 + n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        ck_assert_msg(fdit_picture_decode(ctx, odd.at, odd.n, "x", &got) == FDIT_OK, "%d: %s", k,
                      fdit_context_message(ctx));
        check_equal(&got, &want, "damaged");
        fdit_picture_fini(&got);
    }
    fdit_picture_fini(&want);
    fdit_free(b.at);
    fdit_free(odd.at);
}
END_TEST

START_TEST(test_jpeg_damage_beside_the_pixels)
{
    char *path = test_fixture("image/rgb_300x200.jpg");
    uint8_t *bytes;
    size_t n;
    struct bytes odd = { 0 };
    struct fdit_picture want, got;
    if (!fdit_jpeg_available())
        goto out;
    ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 24, &bytes, &n));
    ck_assert_ok(ctx, fdit_picture_decode(ctx, bytes, n, "x", &want));
    for (int k = 0; k < 3; k++) {
        odd.n = 0;
        put(&odd, bytes, 2);
        put(&odd, k == 0 ? "" : "\xff\xff\xff\xff", k == 0 ? 0 : 4); /* fill bytes before a marker */
        put(&odd, bytes + 2, n - 2 - (k == 2 ? 2 : 0));              /* no EOI */
        if (k == 0)
            put(&odd, "behind the end", 14);
        ck_assert_msg(fdit_picture_decode(ctx, odd.at, odd.n, "x", &got) == FDIT_OK, "%d: %s", k,
                      fdit_context_message(ctx));
        check_equal(&got, &want, "damaged");
        fdit_picture_fini(&got);
    }
    /* pixels that are missing are missed */
    for (size_t cut = 3; cut < 200; cut++) {
        enum fdit_status s = fdit_picture_decode(ctx, bytes, n - cut, "x", &got);
        ck_assert_msg(s == FDIT_ERROR_FORMAT || (s == FDIT_OK && cut < 4), "%zu bytes are missing: %d", cut,
                      s);
        fdit_picture_fini(&got);
    }
    fdit_picture_fini(&want);
    fdit_free(bytes);
    fdit_free(odd.at);
out:
    free(path);
}
END_TEST

/* ------------------------------------------------------------------ large */

START_TEST(test_refused_from_the_header)
{
    struct bytes b = { 0 };
    struct fdit_picture p;
    struct fdit_picture_rules rules = { .limit = 64 << 20 };
    uint8_t *zeros = calloc(1, 1 << 20);
    const struct {
        uint32_t w, h;
        int interlaced;
        size_t data;
        int size;
        enum fdit_status want;
        const char *word;
    } cases[] = {
        { 1u << 28, 1, 1, 1000, 16, FDIT_ERROR_FORMAT, "cut off" },
        { 1u << 28, 1, 0, 1000, 16, FDIT_ERROR_FORMAT, "cut off" },
        { 16000, 16000, 0, 1000, 16, FDIT_ERROR_FORMAT, "cut off" },
        { 3000000, 1, 0, 1 << 20, 4096, FDIT_ERROR_FORMAT, "too narrow for the size 4096" },
        { 1, 900000, 0, 1 << 20, 8192, FDIT_ERROR_FORMAT, "too narrow" },
        { 6000, 6000, 1, 1 << 20, 16, FDIT_ERROR_UNSUPPORTED, "interlaced" },
        { 600000, 100, 0, 1 << 20, 16, FDIT_ERROR_UNSUPPORTED, "memory limit" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.n = 0;
        header(&b, cases[i].w, cases[i].h, 8, 2, cases[i].interlaced);
        chunk(&b, "IDAT", zeros, cases[i].data);
        fdit_mem_reset_peak();
        size_t before = fdit_mem_stats().bytes;
        ck_assert_msg(fdit_picture_fit(ctx, b.at, b.n, "dir/it.png", &rules, false, cases[i].size, &p) ==
                          cases[i].want,
                      "%zu: %s", i, fdit_context_message(ctx));
        const char *message = fdit_context_message(ctx);
        ck_assert_msg(strstr(message, cases[i].word) && strstr(message, "dir/it.png"), "%s", message);
        ck_assert_uint_lt(fdit_mem_stats().peak_bytes - before, 1 << 20);
    }
    free(zeros);
    fdit_free(b.at);
}
END_TEST

/* 16000 x 16000 in rows: a few megabytes. */
START_TEST(test_rows_take_little_memory)
{
    struct bytes b = { 0 };
    struct fdit_picture p;
    enum { W = 16000, H = 2000 };
    size_t n = (1 + 3 * (size_t)W) * H;
    uint8_t *rows = calloc(1, n);
    header(&b, W, H, 8, 2, 0);
    data_chunk(&b, rows, n);
    free(rows);
    struct fdit_picture_probe probed = probe(b.at, b.n);
    fdit_mem_reset_peak();
    size_t before = fdit_mem_stats().bytes;
    ck_assert_ok(ctx, fdit_picture_fit(ctx, b.at, b.n, "x", NULL, false, 16, &p));
    size_t took = fdit_mem_stats().peak_bytes - before, said = fdit_picture_fit_bytes(&probed, 16);
    ck_assert_msg(took < 4 << 20 && took < said && said < 8 << 20, "%zu taken, %zu said", took, said);
    fdit_picture_fini(&p);
    fdit_free(b.at);
}
END_TEST

START_TEST(test_memory_failures_are_named)
{
    struct test_rng rng = test_rng_new("memory");
    struct bytes b = { 0 };
    const struct fdit_picture_rules rules = { .exif = true, .matte = true };
    random_png(&rng, &b, 90, 70, 6, 6, 8);
    bool done = false;
    for (uint64_t k = 1; !done; k++) {
        struct fdit_picture p;
        fdit_mem_fail_at(k);
        enum fdit_status s = fdit_picture_fit(ctx, b.at, b.n, "the/name", &rules, true, 9, &p);
        fdit_mem_fail_at(0);
        done = s == FDIT_OK;
        const char *message = done ? "" : fdit_context_message(ctx);
        ck_assert_msg(
            done || (s == FDIT_ERROR_MEMORY && strstr(message, "the/name: ") && strstr(message, "90 x 70")),
            "%s", message);
        fdit_picture_fini(&p);
        ck_assert_uint_lt(k, 1000);
    }
    fdit_free(b.at);
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
    tcase_add_test(t, test_fit_has_the_bits_of_decode_and_crop);
    tcase_add_test(t, test_turns);
    tcase_add_test(t, test_transparency);
    tcase_add_test(t, test_rules_as_text);
    tcase_add_test(t, test_png_damage_beside_the_pixels);
    tcase_add_test(t, test_jpeg_damage_beside_the_pixels);
    tcase_add_test(t, test_refused_from_the_header);
    tcase_add_test(t, test_rows_take_little_memory);
    tcase_add_test(t, test_memory_failures_are_named);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
