/* SPDX-License-Identifier: Apache-2.0
 * test_image.c: decoding, resampling bit for bit, and the way from bytes to numbers and back. */
#include "core/file.h"
#include "core/mem.h"
#include "picture/picture.h"
#include "picture/png.h"
#include "picture/resample.h"
#include "picture/resize.h"
#include "sample/pixels.h"
#include "format/safetensors.h"
#include "harness.h"

#include <dirent.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static struct fdit_picture read_fixture(const char *name)
{
    struct fdit_picture p;
    char *path = test_fixture("image/%s", name);
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    free(path);
    return p;
}

static void check_same(const char *what, const struct fdit_picture *got, const struct fdit_picture *want)
{
    ck_assert_msg(got->width == want->width && got->height == want->height && got->channels == want->channels,
                  "%s: %dx%dx%d, wanted %dx%dx%d", what, got->width, got->height, got->channels, want->width,
                  want->height, want->channels);
    size_t n = (size_t)got->width * (size_t)got->height * (size_t)got->channels;
    size_t i = test_first_difference(got->pixels, want->pixels, n, 1);
    ck_assert_msg(i == n, "%s: byte %zu is %d, wanted %d", what, i, i < n ? got->pixels[i] : 0,
                  i < n ? want->pixels[i] : 0);
}

/* Random smooth picture with noise: values reach 0 and 255. */
static struct fdit_picture random_picture(struct test_rng *rng, int w, int h, int channels)
{
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_picture_new(ctx, w, h, channels, &p));
    size_t n = (size_t)w * (size_t)h * (size_t)channels;
    for (size_t i = 0; i < n; i++)
        p.pixels[i] = (uint8_t)(test_bits(rng) & 3 ? test_bits(rng) : test_bits(rng) & 1 ? 0 : 255);
    return p;
}

/* ------------------------------------------------------------------ crops of the fixtures */

/* NAME.cropS.png with its source: the JPEG as it was decoded there, and of 16-bit grey the one that was
 * made from the high byte. */
START_TEST(test_fixture_crops)
{
    char *folder = test_fixture("image");
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char stem[128], source[160];
        int size;
        const char *at = strstr(e->d_name, ".crop");
        if (!at || sscanf(at, ".crop%d.png", &size) != 1)
            continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(at - e->d_name), e->d_name);
        char *high = strstr(stem, ".high_byte");
        if (high)
            *high = 0;
        else if (strncmp(stem, "grey16", 6) == 0)
            continue; /* made by a decoder that saturates */
        snprintf(source, sizeof source, "image/%s.decoded.png", stem);
        bool jpeg = test_fixture_exists(source);
        snprintf(source, sizeof source, jpeg ? "%s.decoded.png" : "%s.png", stem);
        struct fdit_picture in = read_fixture(source), want = read_fixture(e->d_name), got;
        ck_assert_ok(ctx, fdit_picture_crop(ctx, &in, size, &got));
        check_same(e->d_name, &got, &want);
        fdit_picture_fini(&in);
        fdit_picture_fini(&want);
        fdit_picture_fini(&got);
        n++;
    }
    closedir(dir);
    free(folder);
    ck_assert_int_ge(n, 20);
}
END_TEST

/* Decoders may differ by a few levels. EXIF orientation is ignored. */
START_TEST(test_fixture_jpegs)
{
    const char *names[] = { "rgb_300x200", "exif6_80x60" };
    if (!fdit_jpeg_available()) {
        char *path = test_fixture("image/%s.jpg", names[0]);
        struct fdit_picture p;
        ck_assert_int_eq(fdit_picture_read(ctx, path, &p), FDIT_ERROR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "libjpeg"));
        free(path);
        return;
    }
    for (int k = 0; k < 2; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s.jpg", names[k]);
        struct fdit_picture got = read_fixture(name);
        snprintf(name, sizeof name, "%s.decoded.png", names[k]);
        struct fdit_picture want = read_fixture(name);
        ck_assert_int_eq(got.width, want.width);
        ck_assert_int_eq(got.height, want.height);
        size_t n = 3 * (size_t)got.width * (size_t)got.height;
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(abs(got.pixels[i] - want.pixels[i]) <= 4, "%s: byte %zu is %d, wanted %d", name, i,
                          got.pixels[i], want.pixels[i]);
        fdit_picture_fini(&got);
        fdit_picture_fini(&want);
    }
}
END_TEST

START_TEST(test_fixture_values)
{
    struct fdit_safetensors *st;
    const struct fdit_st_tensor *t;
    struct fdit_picture in = read_fixture("rgb_37x53.png"), crop, all;
    float got[3 * 256], want[3 * 256];
    char *path = test_fixture("image/values.safetensors");
    ck_assert_ok(ctx, fdit_safetensors_open(ctx, path, &st));
    ck_assert_ok(ctx, fdit_safetensors_need(ctx, st, "rgb_37x53.crop16", 3, (int64_t[]){ 3, 16, 16 }, &t));
    ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, t->n, want));
    ck_assert_ok(ctx, fdit_picture_crop(ctx, &in, 16, &crop));
    fdit_picture_to_f32(&crop, got);
    ck_assert_mem_eq(got, want, sizeof got);
    ck_assert_ok(ctx, fdit_safetensors_need(ctx, st, "all_256", 1, (int64_t[]){ 256 }, &t));
    ck_assert_ok(ctx, fdit_safetensors_weights(ctx, st, t, 0, t->n, want));
    ck_assert_ok(ctx, fdit_picture_new(ctx, 256, 1, 1, &all));
    for (int i = 0; i < 256; i++)
        all.pixels[i] = (uint8_t)i;
    fdit_picture_to_f32(&all, got);
    ck_assert_mem_eq(got, want, 256 * sizeof *got);
    free(path);
    fdit_safetensors_close(st);
    fdit_picture_fini(&in);
    fdit_picture_fini(&crop);
    fdit_picture_fini(&all);
}
END_TEST

/* ------------------------------------------------------------------ resampling against plain loops */

static double filter_value(enum fdit_filter filter, double x)
{
    if (filter == FDIT_FILTER_BOX)
        return x > -0.5 && x <= 0.5;
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
}

/* Sample o of an axis, straight from the definition, with 64-bit sums. */
static int plain_sample(enum fdit_filter filter, int n_in, int n_out, int o, const uint8_t *in, size_t stride)
{
    double scale = (double)n_in / n_out, wide = fmax(scale, 1), centre = (o + 0.5) * scale, sum = 0;
    double reach = (filter == FDIT_FILTER_BOX ? 0.5 : 2) * wide;
    int lo = (int)fmax((int)(centre - reach + 0.5), 0), hi = (int)fmin((int)(centre + reach + 0.5), n_in);
    for (int k = lo; k < hi; k++)
        sum += filter_value(filter, (k - centre + 0.5) * (1 / wide));
    int64_t total = 1 << 21;
    for (int k = lo; k < hi; k++) {
        double w = filter_value(filter, (k - centre + 0.5) * (1 / wide)) / sum * (1 << 22);
        total += (int64_t)trunc(w + (w < 0 ? -0.5 : 0.5)) * in[(size_t)k * stride];
    }
    total >>= 22;
    return total < 0 ? 0 : total > 255 ? 255 : (int)total;
}

static void plain_resize(const struct fdit_picture *in, enum fdit_filter filter, int w, int h,
                         struct fdit_picture *out)
{
    struct fdit_picture mid;
    size_t c = (size_t)in->channels;
    ck_assert_ok(ctx, fdit_picture_new(ctx, w, in->height, in->channels, &mid));
    ck_assert_ok(ctx, fdit_picture_new(ctx, w, h, in->channels, out));
    for (size_t y = 0; y < (size_t)in->height; y++)
        for (size_t x = 0; x < (size_t)w; x++)
            for (size_t i = 0; i < c; i++)
                mid.pixels[(y * (size_t)w + x) * c + i] = (uint8_t)plain_sample(
                    filter, in->width, w, (int)x, in->pixels + y * (size_t)in->width * c + i, c);
    for (size_t y = 0; y < (size_t)h; y++)
        for (size_t x = 0; x < (size_t)w; x++)
            for (size_t i = 0; i < c; i++)
                out->pixels[(y * (size_t)w + x) * c + i] = (uint8_t)plain_sample(
                    filter, in->height, h, (int)y, mid.pixels + x * c + i, (size_t)w * c);
    fdit_picture_fini(&mid);
}

START_TEST(test_resize_is_the_definition)
{
    struct test_rng rng = test_rng_new("resize");
    for (int k = 0; k < 60; k++) {
        int w = 1 + test_int(&rng, 70), h = 1 + test_int(&rng, 70), channels = k % 2 ? 3 : 1;
        int w2 = 1 + test_int(&rng, 70), h2 = 1 + test_int(&rng, 70);
        enum fdit_filter filter = test_int(&rng, 2) ? FDIT_FILTER_BOX : FDIT_FILTER_BICUBIC;
        struct fdit_picture in = random_picture(&rng, w, h, channels), got, want;
        char what[96];
        snprintf(what, sizeof what, "%dx%d -> %dx%d filter %d", w, h, w2, h2, (int)filter);
        ck_assert_ok(ctx, fdit_picture_resize(ctx, &in, filter, w2, h2, &got));
        plain_resize(&in, filter, w2, h2, &want);
        check_same(what, &got, &want);
        fdit_picture_fini(&got);
        fdit_resample_plain(true); /* the loops of a processor without AVX2 */
        ck_assert_ok(ctx, fdit_picture_resize(ctx, &in, filter, w2, h2, &got));
        fdit_resample_plain(false);
        check_same(what, &got, &want);
        fdit_picture_fini(&in);
        fdit_picture_fini(&got);
        fdit_picture_fini(&want);
    }
}
END_TEST

/* The whole pictures, step by step, and the middle cut out: what crop does with a part only. */
static void plain_crop(const struct fdit_picture *from, int size, struct fdit_picture *out)
{
    struct fdit_picture p, next;
    ck_assert_ok(ctx, fdit_picture_resize(ctx, from, FDIT_FILTER_BOX, from->width, from->height, &p));
    while ((p.width < p.height ? p.width : p.height) >= 2 * size) {
        plain_resize(&p, FDIT_FILTER_BOX, p.width / 2, p.height / 2, &next);
        fdit_picture_fini(&p);
        p = next;
    }
    double scale = (double)size / (p.width < p.height ? p.width : p.height);
    plain_resize(&p, FDIT_FILTER_BICUBIC, (int)nearbyint(p.width * scale), (int)nearbyint(p.height * scale),
                 &next);
    ck_assert_ok(ctx, fdit_picture_new(ctx, size, size, p.channels, out));
    size_t c = (size_t)p.channels, row = (size_t)size * c;
    int x = (next.width - size) / 2, y = (next.height - size) / 2;
    for (int i = 0; i < size; i++)
        memcpy(out->pixels + (size_t)i * row,
               next.pixels + ((size_t)(y + i) * (size_t)next.width + (size_t)x) * c, row);
    fdit_picture_fini(&p);
    fdit_picture_fini(&next);
}

START_TEST(test_crop_needs_only_its_part)
{
    struct test_rng rng = test_rng_new("crop");
    for (int k = 0; k < 40; k++) {
        int w = 1 + test_int(&rng, k < 30 ? 200 : 20), h = 1 + test_int(&rng, k < 20 ? 200 : 20);
        int size = 1 + test_int(&rng, 40);
        struct fdit_picture in = random_picture(&rng, w, h, k % 2 ? 3 : 1), got, want;
        char what[96];
        snprintf(what, sizeof what, "%dx%d cropped to %d", w, h, size);
        ck_assert_ok(ctx, fdit_picture_crop(ctx, &in, size, &got));
        plain_crop(&in, size, &want);
        check_same(what, &got, &want);
        fdit_picture_fini(&in);
        fdit_picture_fini(&got);
        fdit_picture_fini(&want);
    }
}
END_TEST

START_TEST(test_crop_of_its_own_size_is_a_copy)
{
    struct test_rng rng = test_rng_new("copy");
    struct fdit_picture in = random_picture(&rng, 24, 24, 3), got;
    ck_assert_ok(ctx, fdit_picture_crop(ctx, &in, 24, &got));
    check_same("copy", &got, &in);
    fdit_picture_fini(&got);
    ck_assert_ok(ctx, fdit_picture_pad(ctx, &in, 24, &got));
    check_same("copy", &got, &in);
    fdit_picture_fini(&got);
    fdit_picture_fini(&in);
}
END_TEST

START_TEST(test_pad_keeps_all_and_fills_with_the_edge)
{
    const int sizes[][4] = { /* w, h -> w, h inside 16 */
                             { 40, 20, 16, 8 },
                             { 5, 40, 2, 16 },
                             { 200, 1, 16, 1 },
                             { 3, 7, 7, 16 },
                             { 90, 90, 16, 16 }
    };
    struct test_rng rng = test_rng_new("pad");
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int w = sizes[k][2], h = sizes[k][3], x0 = (16 - w) / 2, y0 = (16 - h) / 2;
        struct fdit_picture in = random_picture(&rng, sizes[k][0], sizes[k][1], 3), out;
        ck_assert_ok(ctx, fdit_picture_pad(ctx, &in, 16, &out));
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            int n = 0;
            for (int y = y0; y < y0 + h; y++)
                for (int x = x0; x < x0 + w; x++)
                    if (x == x0 || x == x0 + w - 1 || y == y0 || y == y0 + h - 1) {
                        sum += out.pixels[(y * 16 + x) * 3 + c];
                        n++;
                    }
            for (int y = 0; y < 16; y++)
                for (int x = 0; x < 16; x++)
                    if (x < x0 || x >= x0 + w || y < y0 || y >= y0 + h)
                        ck_assert_int_eq(out.pixels[(y * 16 + x) * 3 + c], (int)floor(sum / n + 0.5));
        }
        fdit_picture_fini(&in);
        fdit_picture_fini(&out);
    }
    /* the inside is the same picture that a plain resize gives */
    struct fdit_picture in = random_picture(&rng, 25, 13, 3), out, want;
    ck_assert_ok(ctx, fdit_picture_pad(ctx, &in, 16, &out));
    plain_resize(&in, FDIT_FILTER_BICUBIC, 16, 8, &want);
    ck_assert_mem_eq(out.pixels + 4 * 16 * 3, want.pixels, 8 * 16 * 3);
    fdit_picture_fini(&in);
    fdit_picture_fini(&out);
    fdit_picture_fini(&want);
}
END_TEST

START_TEST(test_sizes_are_checked)
{
    struct test_rng rng = test_rng_new("sizes");
    struct fdit_picture in = random_picture(&rng, 4, 4, 3), line, out;
    ck_assert_int_eq(fdit_picture_crop(ctx, &in, 0, &out), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_picture_crop(ctx, &in, -3, &out), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_picture_pad(ctx, &in, 1 << 20, &out), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_picture_new(ctx, 1 << 15, 1 << 14, 3, &out), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_picture_new(ctx, 2, 2, 4, &out), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_picture_new(ctx, 1 << 22, 1, 1, &line));
    ck_assert_int_eq(fdit_picture_crop(ctx, &line, 4096, &out), FDIT_ERROR_FORMAT);
    ck_assert_ok(ctx, fdit_picture_crop(ctx, &line, 8, &out));
    fdit_picture_fini(&out);
    ck_assert_ok(ctx, fdit_picture_pad(ctx, &line, 8, &out));
    fdit_picture_fini(&out);
    fdit_picture_fini(&line);
    fdit_picture_fini(&in);
}
END_TEST

/* ------------------------------------------------------------------ pixels */

START_TEST(test_mirror_and_grey)
{
    struct test_rng rng = test_rng_new("mirror");
    for (int w = 1; w < 6; w++)
        for (int c = 1; c <= 3; c += 2) {
            struct fdit_picture p = random_picture(&rng, w, 3, c), q = random_picture(&rng, w, 3, c);
            memcpy(q.pixels, p.pixels, (size_t)(w * 3 * c));
            fdit_picture_mirror(&q);
            for (int y = 0; y < 3; y++)
                for (int x = 0; x < w; x++)
                    ck_assert_mem_eq(q.pixels + (y * w + x) * c, p.pixels + (y * w + w - 1 - x) * c,
                                     (size_t)c);
            fdit_picture_grey(&q);
            ck_assert_int_eq(q.channels, 1);
            fdit_picture_fini(&p);
            fdit_picture_fini(&q);
        }
    struct fdit_picture p;
    const uint8_t rgb[] = { 255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 12, 200, 77 };
    const uint8_t grey[] = { 255, 76, 150, 29, 0, 130 };
    ck_assert_ok(ctx, fdit_picture_new(ctx, 6, 1, 3, &p));
    memcpy(p.pixels, rgb, sizeof rgb);
    fdit_picture_grey(&p);
    ck_assert_mem_eq(p.pixels, grey, sizeof grey);
    fdit_picture_fini(&p);
}
END_TEST

START_TEST(test_numbers_to_bytes)
{
    const float x[] = { -1, 1, 0, -7, 7, NAN, INFINITY, -INFINITY, 0.003f, -0.003f };
    const uint8_t want[] = { 0, 255, 128, 0, 255, 0, 255, 0, 128, 127 };
    uint8_t got[sizeof want];
    fdit_pixels(x, 1, sizeof want, got);
    ck_assert_mem_eq(got, want, sizeof want);
    /* every byte comes back, whatever the layout */
    struct fdit_picture all, back;
    float values[3 * 256];
    ck_assert_ok(ctx, fdit_picture_new(ctx, 16, 16, 3, &all));
    for (int i = 0; i < 3 * 256; i++)
        all.pixels[i] = (uint8_t)(i * 7);
    fdit_picture_to_f32(&all, values);
    ck_assert_ok(ctx, fdit_picture_new(ctx, 16, 16, 3, &back));
    fdit_pixels(values, 3, 16 * 16, back.pixels);
    check_same("round trip", &back, &all);
    fdit_picture_fini(&all);
    fdit_picture_fini(&back);
}
END_TEST

/* ------------------------------------------------------------------ PNG */

START_TEST(test_png_round_trip)
{
    struct test_rng rng = test_rng_new("png");
    for (int c = 1; c <= 3; c += 2)
        for (int k = 0; k < 10; k++) {
            struct fdit_picture p = random_picture(&rng, 1 + test_int(&rng, 40), 1 + test_int(&rng, 40), c);
            struct fdit_picture back;
            uint8_t *bytes, *again;
            size_t n, n_again;
            int w, h;
            ck_assert_ok(ctx, fdit_png_encode(ctx, &p, &bytes, &n));
            ck_assert_ok(ctx, fdit_png_encode(ctx, &p, &again, &n_again));
            ck_assert_uint_eq(n, n_again);
            ck_assert_mem_eq(bytes, again, n);
            ck_assert_int_eq(fdit_picture_sniff(bytes, n), FDIT_PICTURE_PNG);
            ck_assert_ok(ctx, fdit_picture_size(ctx, bytes, n, "x.png", &w, &h));
            ck_assert_int_eq(w, p.width);
            ck_assert_int_eq(h, p.height);
            ck_assert_ok(ctx, fdit_picture_decode(ctx, bytes, n, "x.png", &back));
            ck_assert_int_eq(back.channels, 3);
            for (int i = 0; i < p.width * p.height; i++)
                for (int j = 0; j < 3; j++)
                    ck_assert_int_eq(back.pixels[3 * i + j], p.pixels[c * i + (c == 3 ? j : 0)]);
            fdit_free(bytes);
            fdit_free(again);
            fdit_picture_fini(&p);
            fdit_picture_fini(&back);
        }
}
END_TEST

struct sink {
    uint8_t bytes[1 << 16];
    size_t n;
};

static void to_sink(png_structp png, png_bytep bytes, size_t n)
{
    struct sink *s = png_get_io_ptr(png);
    ck_assert_uint_le(s->n + n, sizeof s->bytes);
    memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
}

static void no_flush(png_structp png)
{
    (void)png;
}

/* Sample c of pixel (x, y) of the test pictures, `depth` bits. */
static unsigned sample(int x, int y, int c, int depth)
{
    return (unsigned)(x * 2654435 + y * 40503 + c * 97 + x * y * 31) >> 3 & ((1u << depth) - 1);
}

/* A w x h file of the colour type and depth, with a transparent colour or palette alpha if it can have
 * one, and texts and a gamma that must not matter. */
static void write_png(struct sink *s, int w, int h, int type, int depth, bool interlaced)
{
    static uint8_t row[64 * 8];
    png_color palette[256];
    png_byte alpha[256];
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    int channels = type == PNG_COLOR_TYPE_RGB          ? 3
                   : type == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                   : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                       : 1;
    s->n = 0;
    if (setjmp(png_jmpbuf(png)))
        ck_abort_msg("libpng cannot write the test picture");
    png_set_write_fn(png, s, to_sink, no_flush);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, type,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    for (int i = 0; i < 256; i++) {
        palette[i] = (png_color){ (png_byte)(i * 3), (png_byte)(255 - i), (png_byte)(i * 5 + 1) };
        alpha[i] = (png_byte)(i * 11);
    }
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 1 << depth);
        png_set_tRNS(png, info, alpha, 1 << depth, NULL);
    } else if (channels % 2) {
        png_color_16 clear = { .red = 1, .green = 1, .blue = 1, .gray = 1 };
        png_set_tRNS(png, info, NULL, 0, &clear);
    }
    png_set_gAMA(png, info, 0.2);
    png_text text = { .compression = PNG_TEXT_COMPRESSION_NONE,
                      .key = (char[]){ "Comment" },
                      .text = (char[]){ "of no interest" },
                      .text_length = 14 };
    png_set_text(png, info, &text, 1);
    png_write_info(png, info);
    int passes = interlaced ? png_set_interlace_handling(png) : 1;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < h; y++) {
            memset(row, 0, sizeof row);
            for (int x = 0; x < w; x++)
                for (int c = 0; c < channels; c++) {
                    unsigned v = sample(x, y, c, depth);
                    int i = x * channels + c;
                    if (depth == 16) {
                        row[2 * i] = (uint8_t)(v >> 8);
                        row[2 * i + 1] = (uint8_t)v;
                    } else {
                        row[i * depth / 8] |= (uint8_t)(v << (8 - depth - i * depth % 8));
                    }
                }
            png_write_row(png, row);
        }
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
}

static int wanted_byte(int x, int y, int c, int type, int depth)
{
    bool grey = type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA;
    unsigned v = sample(x, y, type == PNG_COLOR_TYPE_PALETTE || grey ? 0 : c, depth);
    if (type == PNG_COLOR_TYPE_PALETTE)
        return (uint8_t)(c == 0 ? v * 3 : c == 1 ? 255 - v : v * 5 + 1);
    return (int)(depth == 16 ? v >> 8 : v * 255 / ((1u << depth) - 1));
}

START_TEST(test_every_kind_of_png)
{
    const int types[] = { PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_PALETTE,
                          PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB_ALPHA };
    static struct sink file;
    int n = 0;
    for (int t = 0; t < 5; t++)
        for (int depth = 1; depth <= 16; depth *= 2)
            for (int interlaced = 0; interlaced < 2; interlaced++) {
                int type = types[t], w = 13 + n % 7, h = 11;
                if ((type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE && depth < 8) ||
                    (type == PNG_COLOR_TYPE_PALETTE && depth == 16))
                    continue;
                struct fdit_picture p;
                write_png(&file, w, h, type, depth, interlaced);
                ck_assert_ok(ctx, fdit_picture_decode(ctx, file.bytes, file.n, "x.png", &p));
                ck_assert_int_eq(p.width, w);
                ck_assert_int_eq(p.height, h);
                for (int i = 0; i < w * h * 3; i++)
                    ck_assert_msg(p.pixels[i] == wanted_byte(i / 3 % w, i / 3 / w, i % 3, type, depth),
                                  "type %d depth %d interlaced %d: byte %d is %d, wanted %d", type, depth,
                                  interlaced, i, p.pixels[i],
                                  wanted_byte(i / 3 % w, i / 3 / w, i % 3, type, depth));
                fdit_picture_fini(&p);
                n++;
            }
    ck_assert_int_eq(n, 30);
}
END_TEST

static void check_refused(const uint8_t *bytes, size_t n, enum fdit_status want, const char *word)
{
    struct fdit_picture p;
    int w, h;
    enum fdit_status got = fdit_picture_decode(ctx, bytes, n, "some.png", &p);
    ck_assert_msg(got == want, "%s instead of %s: %s", fdit_status_text(got), fdit_status_text(want),
                  fdit_context_message(ctx));
    ck_assert_ptr_null(p.pixels);
    ck_assert_msg(strstr(fdit_context_message(ctx), "some.png: ") && strstr(fdit_context_message(ctx), word),
                  "no \"%s\" in: %s", word, fdit_context_message(ctx));
    if (want == FDIT_ERROR_UNSUPPORTED)
        ck_assert_int_eq(fdit_picture_size(ctx, bytes, n, "some.png", &w, &h), want);
}

START_TEST(test_broken_pictures)
{
    static struct sink file;
    write_png(&file, 15, 12, PNG_COLOR_TYPE_RGB, 8, false);
    /* cut anywhere before the last row is there: refused, never a crash */
    size_t refused = 0;
    for (size_t n = 8; n < file.n; n++) {
        struct fdit_picture p;
        enum fdit_status s = fdit_picture_decode(ctx, file.bytes, n, "some.png", &p);
        ck_assert(s == FDIT_OK || s == FDIT_ERROR_FORMAT);
        refused += s != FDIT_OK;
        fdit_picture_fini(&p);
    }
    ck_assert_uint_gt(refused, file.n / 2);
    check_refused(file.bytes, 40, FDIT_ERROR_FORMAT, "cut off");
    file.bytes[60] ^= 0x55;
    file.bytes[file.n / 2] ^= 0x55;
    check_refused(file.bytes, file.n, FDIT_ERROR_FORMAT, "damaged");
    check_refused((const uint8_t *)"", 0, FDIT_ERROR_FORMAT, "empty");
    check_refused((const uint8_t *)"GIF89a..........", 16, FDIT_ERROR_UNSUPPORTED, "GIF");
    check_refused((const uint8_t *)"RIFF....WEBPVP8 ", 16,
                  fdit_webp_available() ? FDIT_ERROR_FORMAT : FDIT_ERROR_UNSUPPORTED, "WebP");
    check_refused((const uint8_t *)"RIFF....WAVEfmt ", 16, FDIT_ERROR_UNSUPPORTED, "neither");
    check_refused((const uint8_t *)"hello", 5, FDIT_ERROR_UNSUPPORTED, "neither");
    if (fdit_jpeg_available()) {
        char *path = test_fixture("image/rgb_300x200.jpg");
        uint8_t *jpeg;
        size_t n;
        ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 20, &jpeg, &n));
        check_refused(jpeg, n / 2, FDIT_ERROR_FORMAT, "cut off");
        check_refused(jpeg, 20, FDIT_ERROR_FORMAT, "cut off");
        fdit_free(jpeg);
        free(path);
    }
}
END_TEST

/* 12 x 10 pixels (16 x, 16 y, 8 (x + y)), written by another program. */
static void check_ramp(const char *name, int tolerance)
{
    char path[1000];
    struct fdit_picture p;
    snprintf(path, sizeof path, "%s/corpus/picture/%s", TESTS_DIR, name);
    ck_assert_ok(ctx, fdit_picture_read(ctx, path, &p));
    ck_assert_msg(p.width == 12 && p.height == 10 && p.channels == 3, "%s: %dx%d", name, p.width, p.height);
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 12; x++) {
            const uint8_t *got = p.pixels + 3 * (12 * y + x);
            int want[3] = { 16 * x, 16 * y, 8 * (x + y) };
            for (int c = 0; c < 3; c++)
                ck_assert_msg(abs(got[c] - want[c]) <= tolerance, "%s: (%d, %d) channel %d: %d, not %d", name,
                              x, y, c, got[c], want[c]);
        }
    fdit_picture_fini(&p);
}

START_TEST(test_webp)
{
    if (!fdit_webp_available())
        return;
    check_ramp("lossless.webp", 0);
    check_ramp("alpha.webp", 0); /* a third of it is transparent, and counts all the same */
    check_ramp("animated.webp", 0);
    check_ramp("lossy.webp", 40);
    /* cut anywhere: refused; of an animation what follows the first frame may be missing */
    static const char *const names[] = { "lossless.webp", "lossy.webp", "animated.webp" };
    for (size_t k = 0; k < 3; k++) {
        char path[1000];
        uint8_t *bytes;
        size_t n, taken = 0;
        snprintf(path, sizeof path, "%s/corpus/picture/%s", TESTS_DIR, names[k]);
        ck_assert_ok(ctx, fdit_file_read_all(ctx, path, 1 << 20, &bytes, &n));
        for (size_t cut = 12; cut < n; cut++) {
            struct fdit_picture p;
            enum fdit_status s = fdit_picture_decode(ctx, bytes, cut, "some.webp", &p);
            ck_assert(s == FDIT_OK || s == FDIT_ERROR_FORMAT);
            taken += s == FDIT_OK;
            fdit_picture_fini(&p);
        }
        ck_assert_msg(k == 2 ? taken < n - 200 : taken <= 1, "%s: %zu of %zu", names[k], taken, n);
        fdit_free(bytes);
    }
}
END_TEST

/* 2^14 x 2^14 + 1 rows: refused from the header, before memory is taken. */
START_TEST(test_too_many_pixels)
{
    static struct sink file;
    write_png(&file, 15, 12, PNG_COLOR_TYPE_RGB, 8, false);
    const uint8_t ihdr[] = { 'I', 'H', 'D', 'R', 0, 0, 0x40, 0, 0, 0, 0x40, 1, 8, 2, 0, 0, 0 };
    memcpy(file.bytes + 12, ihdr, sizeof ihdr);
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < sizeof ihdr; i++) {
        crc ^= ihdr[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    for (int i = 0; i < 4; i++)
        file.bytes[29 + i] = (uint8_t)(~crc >> (24 - 8 * i));
    fdit_mem_reset_peak();
    size_t before = fdit_mem_stats().bytes;
    check_refused(file.bytes, file.n, FDIT_ERROR_FORMAT, "2^28");
    ck_assert_uint_lt(fdit_mem_stats().peak_bytes - before, 1 << 20);
}
END_TEST

START_TEST(test_png_file_and_failures)
{
    struct test_rng rng = test_rng_new("png file");
    struct fdit_picture p = random_picture(&rng, 30, 20, 3), back;
    char path[] = "test_image.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(path));
    char file[64];
    snprintf(file, sizeof file, "%s/a.png", path);
    ck_assert_ok(ctx, fdit_png_write(ctx, file, &p));
    ck_assert_ok(ctx, fdit_picture_read(ctx, file, &back));
    check_same("file", &back, &p);
    fdit_picture_fini(&back);
    /* every allocation fails once: an error, no leak (teardown counts) */
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct fdit_picture crop = { 0 };
        fdit_mem_fail_at(n);
        enum fdit_status status = fdit_picture_read(ctx, file, &back);
        if (status == FDIT_OK)
            status = fdit_picture_crop(ctx, &back, 7, &crop);
        if (status == FDIT_OK)
            status = fdit_png_write(ctx, file, &p);
        fdit_mem_fail_at(0);
        done = status == FDIT_OK;
        ck_assert_msg(done || status == FDIT_ERROR_MEMORY, "allocation %ju: %s", (uintmax_t)n,
                      fdit_context_message(ctx));
        fdit_picture_fini(&back);
        fdit_picture_fini(&crop);
        ck_assert_uint_lt(n, 1000);
    }
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(rmdir(path), 0); /* no temporary file is left */
    fdit_picture_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *t = tcase_create("image");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_fixture_crops);
    tcase_add_test(t, test_fixture_jpegs);
    tcase_add_test(t, test_fixture_values);
    tcase_add_test(t, test_resize_is_the_definition);
    tcase_add_test(t, test_crop_needs_only_its_part);
    tcase_add_test(t, test_crop_of_its_own_size_is_a_copy);
    tcase_add_test(t, test_pad_keeps_all_and_fills_with_the_edge);
    tcase_add_test(t, test_sizes_are_checked);
    tcase_add_test(t, test_mirror_and_grey);
    tcase_add_test(t, test_numbers_to_bytes);
    tcase_add_test(t, test_png_round_trip);
    tcase_add_test(t, test_every_kind_of_png);
    tcase_add_test(t, test_broken_pictures);
    tcase_add_test(t, test_webp);
    tcase_add_test(t, test_too_many_pixels);
    tcase_add_test(t, test_png_file_and_failures);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
