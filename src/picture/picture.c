/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/picture.h"

#include "core/file.h"
#include "core/mem.h"
#include "picture/jpeg.h"
#include "picture/picture_read.h"
#include "picture/png.h"
#include "picture/resize.h"
#include "picture/webp.h"

#include <stdio.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 31)

enum fdit_status fdit_picture_new(fdit_context *ctx, int width, int height, int channels,
                                  struct fdit_picture *out)
{
    memset(out, 0, sizeof *out);
    if (width < 1 || height < 1 || (channels != 1 && channels != 3) ||
        (uint64_t)width * (uint64_t)height > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "a picture of %d x %d with %d channels is not "
                         "possible; at most 2^28 pixels in 1 or 3 channels",
                         width, height, channels);
    enum fdit_status status = fdit_alloc(ctx, (size_t)width * (size_t)height, (size_t)channels, &out->pixels);
    if (status == FDIT_OK) {
        out->width = width;
        out->height = height;
        out->channels = channels;
    }
    return status;
}

void fdit_picture_from_planes(const uint8_t *planes, struct fdit_picture *p)
{
    const size_t area = (size_t)p->width * (size_t)p->height, channels = (size_t)p->channels;
    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < channels; c++)
            p->pixels[i * channels + c] = planes[c * area + i];
}

void fdit_picture_fini(struct fdit_picture *p)
{
    if (!p)
        return;
    fdit_free(p->pixels);
    memset(p, 0, sizeof *p);
}

bool fdit_picture_is_bad(enum fdit_status status)
{
    return status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_UNSUPPORTED;
}

bool fdit_picture_is_name(const char *name)
{
    return fdit_path_has_suffix(name, ".png") || fdit_path_has_suffix(name, ".jpg") ||
           fdit_path_has_suffix(name, ".jpeg") || fdit_path_has_suffix(name, ".webp");
}

enum fdit_status fdit_picture_refuse(fdit_context *ctx, const uint8_t *bytes, size_t n, uint64_t size,
                                     const char *name)
{
    struct fdit_picture_kind kind = fdit_picture_kind(bytes, n);
    if (size == 0)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: the picture is empty; get it again", name);
    if (kind.name)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: is %s, pictures must be PNG, JPEG or WebP; %s",
                         name, kind.name, kind.remedy);
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is neither PNG nor JPEG nor WebP (%llu bytes, the "
                     "first is 0x%02x); convert or remove it",
                     name, (unsigned long long)size, n ? bytes[0] : 0);
}

/* ------------------------------------------------------------------ rules */

struct fdit_picture_rules fdit_picture_rules_usual(void)
{
    return (struct fdit_picture_rules){ .exif = true, .matte = true, .ground = { 255, 255, 255 } };
}

enum fdit_status fdit_orient_parse(fdit_context *ctx, const char *option, const char *text,
                                   struct fdit_picture_rules *rules)
{
    if (strcmp(text, "exif") != 0 && strcmp(text, "none") != 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not known; give one of exif|none", option, text);
    rules->exif = text[0] == 'e';
    return FDIT_OK;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

enum fdit_status fdit_matte_parse(fdit_context *ctx, const char *option, const char *text,
                                  struct fdit_picture_rules *rules)
{
    bool hex = text[0] == '#' && strlen(text) == 7;
    for (int i = 1; hex && i < 7; i++)
        hex = digit(text[i]) >= 0;
    if (!hex && strcmp(text, "white") != 0 && strcmp(text, "black") != 0 && strcmp(text, "none") != 0)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s %s: not a colour; give white, black, #rrggbb (as '#80c0ff'), or none to drop "
                         "transparency without blending",
                         option, text);
    rules->matte = strcmp(text, "none") != 0;
    for (int c = 0; c < 3; c++)
        rules->ground[c] = hex              ? (uint8_t)(16 * digit(text[1 + 2 * c]) + digit(text[2 + 2 * c]))
                           : text[0] == 'w' ? 255
                                            : 0;
    return FDIT_OK;
}

const char *fdit_orient_text(const struct fdit_picture_rules *rules)
{
    return rules->exif ? "exif" : "none";
}

const char *fdit_matte_text(const struct fdit_picture_rules *rules, char out[8])
{
    const uint8_t *g = rules->ground;
    if (!rules->matte)
        return "none";
    if (g[0] == g[1] && g[1] == g[2] && (g[0] == 0 || g[0] == 255))
        return g[0] ? "white" : "black";
    snprintf(out, 8, "#%02x%02x%02x", g[0], g[1], g[2]);
    return out;
}

void fdit_row_matte(const struct fdit_picture_rules *rules, const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++, from += 4, to += 3) {
        unsigned a = from[3];
        for (int c = 0; c < 3; c++) {
            unsigned t = rules->matte ? from[c] * a + rules->ground[c] * (255 - a) + 128 : 0;
            to[c] = rules->matte ? (uint8_t)((t + (t >> 8)) >> 8) : from[c];
        }
    }
}

struct fdit_turn fdit_picture_turn(int orientation)
{
    return (struct fdit_turn){
        .flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8,
        .flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7,
        .turned = orientation >= 5
    };
}

/* ------------------------------------------------------------------ limits */

static size_t plus(size_t a, size_t b)
{
    size_t sum;
    return fdit_add(a, b, &sum) ? sum : SIZE_MAX / 2;
}

size_t fdit_picture_read_bytes(const struct fdit_picture_probe *p)
{
    size_t w = p->width, pixels = w * (size_t)p->height, channels = p->alpha ? 4 : 3;
    size_t fixed = plus((size_t)p->file_bytes, (size_t)1 << 18), bytes = 0;
    switch (p->kind.format) {
    case FDIT_PICTURE_PNG: /* libpng: two rows, of which one is expanded */
        bytes = w * (p->bits == 16 ? 16 : 8) + 4 * w + (p->interlaced ? channels * pixels : 0);
        break;
    case FDIT_PICTURE_JPEG: /* libjpeg: rows of blocks, with their neighbours for smoothing */
        bytes = 160 * w + (size_t)p->coefficients * 2;
        break;
    case FDIT_PICTURE_WEBP: /* libwebp: lossless all pixels as u32; alpha apart */
        bytes = channels * pixels + (p->lossless ? 4 * pixels : 0) + (p->alpha ? pixels : 0) + 256 * w;
        break;
    case FDIT_PICTURE_UNKNOWN: break;
    }
    return plus(fixed, bytes);
}

/* The fewest bytes that these pixels can be compressed to; 0: not known. Deflate makes at most 1032
 * bytes of one. A block of a JPEG takes a bit in its first scan, and two where that is the only
 * one. */
static uint64_t fewest_bytes(const struct fdit_picture_probe *p)
{
    uint64_t w = p->width, h = p->height;
    if (p->kind.format == FDIT_PICTURE_PNG) {
        static const int channels[] = { 1, 0, 3, 1, 2, 0, 4 };
        uint64_t bits = w * (uint64_t)p->bits * (uint64_t)(p->colour < 7 ? channels[p->colour] : 0);
        return h * (p->interlaced ? bits / 8 : 1 + (bits + 7) / 8) / 1032;
    }
    if (p->kind.format == FDIT_PICTURE_JPEG && !p->arithmetic)
        return p->coefficients || p->interlaced ? p->coefficients / 64 / 8 : p->blocks * 2 / 8;
    return 0;
}

static const char *layout(const struct fdit_picture_probe *p)
{
    return !p->interlaced ? "" : p->kind.format == FDIT_PICTURE_PNG ? "interlaced " : "progressive ";
}

enum fdit_status fdit_picture_read_check(fdit_context *ctx, const char *name,
                                         const struct fdit_picture_probe *p,
                                         const struct fdit_picture_rules *rules, size_t bytes)
{
    uint64_t there = p->data_bytes < p->file_bytes ? p->data_bytes : p->file_bytes;
    if ((uint64_t)p->width * p->height > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: %u x %u are more than 2^28 pixels; make the "
                         "picture smaller",
                         name, p->width, p->height);
    if (there < fewest_bytes(p))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: the %s picture is cut off: %llu bytes cannot hold "
                         "%u x %u pixels; get it again or remove it",
                         name, p->kind.name, (unsigned long long)there, p->width, p->height);
    if (!rules->limit || bytes <= rules->limit)
        return FDIT_OK;
    const char *remedy = p->kind.format == FDIT_PICTURE_WEBP  ? "save it as JPEG or PNG"
                         : !p->interlaced                     ? "make it smaller"
                         : p->kind.format == FDIT_PICTURE_PNG ? "save it without interlacing"
                                                              : "save it as a baseline JPEG";
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: reading the %s%s picture of %u x %u takes %zu MiB, and "
                     "the memory limit leaves %zu; %s, or give more --memory",
                     name, layout(p), p->kind.name, p->width, p->height, (bytes >> 20) + 1,
                     rules->limit >> 20, remedy);
}

enum fdit_status fdit_picture_read_failed(fdit_context *ctx, enum fdit_status status, const char *name,
                                          const struct fdit_picture_probe *p)
{
    char prefix[64];
    if (status != FDIT_ERROR_MEMORY || !p->kind.name)
        return status;
    if (strncmp(fdit_context_message(ctx), name, strlen(name)) != 0) {
        snprintf(prefix, sizeof prefix, "reading the %s%s picture of %u x %u", layout(p), p->kind.name,
                 p->width, p->height);
        fdit_fail_prefix(ctx, status, prefix);
        fdit_fail_prefix(ctx, status, name);
    }
    return status;
}

enum fdit_status fdit_picture_read_rows(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                        const struct fdit_picture_probe *p,
                                        const struct fdit_picture_rules *rules,
                                        const struct fdit_row_sink *sink)
{
    switch (p->kind.format) {
    case FDIT_PICTURE_PNG: return fdit_png_decode(ctx, bytes, n, name, rules, sink);
    case FDIT_PICTURE_JPEG: return fdit_jpeg_decode(ctx, bytes, n, name, sink);
    case FDIT_PICTURE_WEBP: return fdit_webp_decode(ctx, bytes, n, name, rules, sink);
    case FDIT_PICTURE_UNKNOWN: break;
    }
    return fdit_picture_refuse(ctx, bytes, n, n, name);
}

/* ------------------------------------------------------------------ whole pictures */

struct whole {
    fdit_context *ctx;
    struct fdit_turn turn;
    struct fdit_picture picture;
};

static enum fdit_status whole_begin(void *self, int width, int height)
{
    struct whole *w = self;
    return fdit_picture_new(w->ctx, width, height, 3, &w->picture);
}

static uint8_t *whole_row(void *self, int y)
{
    struct whole *w = self;
    int row = w->turn.flip_y ? w->picture.height - 1 - y : y;
    return w->picture.pixels + (size_t)row * 3 * (size_t)w->picture.width;
}

static enum fdit_status whole_done(void *self, int y)
{
    struct whole *w = self;
    if (w->turn.flip_x) {
        struct fdit_picture row = {
            .width = w->picture.width, .height = 1, .channels = 3, .pixels = whole_row(self, y)
        };
        fdit_picture_mirror(&row);
    }
    return FDIT_OK;
}

static enum fdit_status turn_whole(struct whole *w)
{
    struct fdit_picture *p = &w->picture, out;
    enum fdit_status status = fdit_picture_new(w->ctx, p->height, p->width, 3, &out);
    if (status != FDIT_OK)
        return status;
    size_t width = (size_t)p->width, height = (size_t)p->height;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy(out.pixels + 3 * (x * height + y), p->pixels + 3 * (y * width + x), 3);
    fdit_picture_fini(p);
    *p = out;
    return FDIT_OK;
}

enum fdit_status fdit_picture_decode_as(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                        const struct fdit_picture_rules *rules, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    static const struct fdit_picture_rules plain = { .limit = 0 };
    struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
    struct fdit_picture_probe p = { .width = 0 };
    struct whole w = { .ctx = ctx };
    struct fdit_row_sink sink = { .self = &w, .begin = whole_begin, .row = whole_row, .done = whole_done };
    rules = rules ? rules : &plain;
    memset(out, 0, sizeof *out);
    TRY(fdit_picture_probe(ctx, &from, name, &p));
    w.turn = fdit_picture_turn(rules->exif ? p.orientation : 1);
    size_t pixels = (size_t)p.width * p.height * (w.turn.turned ? 6 : 3);
    TRY(fdit_picture_read_check(ctx, name, &p, rules, plus(fdit_picture_read_bytes(&p), pixels)));
    TRY(fdit_picture_read_rows(ctx, bytes, n, name, &p, rules, &sink));
    if (w.turn.turned)
        TRY(turn_whole(&w));
    *out = w.picture;
    w.picture.pixels = NULL;
out:
    fdit_picture_fini(&w.picture);
    return fdit_picture_read_failed(ctx, status, name, &p);
}

enum fdit_status fdit_picture_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                     struct fdit_picture *out)
{
    return fdit_picture_decode_as(ctx, bytes, n, name, NULL, out);
}

enum fdit_status fdit_picture_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                   int *width, int *height)
{
    static const struct fdit_picture_rules plain = { .limit = 0 };
    struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
    struct fdit_picture_probe p;
    *width = *height = 0;
    enum fdit_status status = fdit_picture_probe(ctx, &from, name, &p);
    if (status == FDIT_OK)
        status = fdit_picture_read_check(ctx, name, &p, &plain, 0);
    if (status == FDIT_OK) {
        *width = (int)p.width;
        *height = (int)p.height;
    }
    return status;
}

enum fdit_status fdit_picture_read(fdit_context *ctx, const char *path, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *bytes = NULL;
    size_t n = 0;
    memset(out, 0, sizeof *out);
    TRY(fdit_file_read_all(ctx, path, MAX_FILE, &bytes, &n));
    TRY(fdit_picture_decode(ctx, bytes, n, path, out));
out:
    fdit_free(bytes);
    return status;
}
