/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/font.h"

#include "core/mem.h"
#include "picture/font_data.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

struct glyph {
    uint16_t code;
    uint8_t advance;
    int8_t left, top;
    uint8_t width, height;
    const uint8_t *pixels;
};

struct pair {
    uint16_t base, mark, composed;
};

struct fdit_font {
    uint8_t *bytes;
    struct glyph *glyphs;
    struct pair *pairs;
    size_t n_glyphs, n_pairs;
    int dot, ascent, line; /* dot: side of a pixel of the font */
};

enum { UNKNOWN = 0xfffd };

/* ------------------------------------------------------------------ the data */

static unsigned u16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static enum fdit_status unpack(fdit_context *ctx, struct fdit_font *f)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *packed = NULL;
    uLongf n = (uLongf)fdit_font_bytes;
    TRY(fdit_alloc(ctx, fdit_font_packed + 8, 1, &packed));
    TRY(fdit_alloc(ctx, fdit_font_bytes, 1, &f->bytes));
    for (size_t i = 0; i < fdit_font_packed; i++)
        packed[i] = (uint8_t)(fdit_font_words[i / 8] >> (8 * (i % 8)));
    if (uncompress(f->bytes, &n, packed, (uLong)fdit_font_packed) != Z_OK || n != fdit_font_bytes)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory for the letters of a sheet");
out:
    fdit_free(packed);
    return status;
}

/* The letters at `at`; *end is behind them. */
static enum fdit_status take_size(fdit_context *ctx, struct fdit_font *f, const uint8_t *at,
                                  const uint8_t **end)
{
    fdit_free(f->glyphs);
    f->glyphs = NULL;
    f->ascent = at[1];
    f->line = at[2];
    f->n_glyphs = u16(at + 4);
    enum fdit_status status = fdit_alloc(ctx, f->n_glyphs, sizeof *f->glyphs, &f->glyphs);
    if (status != FDIT_OK)
        return status;
    at += 6;
    for (size_t i = 0; i < f->n_glyphs; i++) {
        struct glyph *g = &f->glyphs[i];
        *g = (struct glyph){ .code = (uint16_t)u16(at),
                             .advance = at[2],
                             .left = (int8_t)at[3],
                             .top = (int8_t)at[4],
                             .width = at[5],
                             .height = at[6],
                             .pixels = at + 7 };
        at += 7 + ((size_t)g->width * g->height + 1) / 2;
    }
    *end = at;
    return FDIT_OK;
}

enum fdit_status fdit_font_new(fdit_context *ctx, int scale, struct fdit_font **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_font *f = NULL;
    const uint8_t *at, *wanted;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *f, &f));
    TRY(unpack(ctx, f));
    at = wanted = f->bytes + 2;
    for (unsigned i = 0; i < u16(f->bytes); i++) {
        if (i < (unsigned)scale)
            wanted = at;
        TRY(take_size(ctx, f, at, &at));
    }
    f->n_pairs = u16(at);
    TRY(fdit_alloc(ctx, f->n_pairs, sizeof *f->pairs, &f->pairs));
    for (size_t i = 0; i < f->n_pairs; i++)
        f->pairs[i] = (struct pair){ (uint16_t)u16(at + 2 + 6 * i), (uint16_t)u16(at + 4 + 6 * i),
                                     (uint16_t)u16(at + 6 + 6 * i) };
    TRY(take_size(ctx, f, wanted, &at));
    f->dot = scale < 4 ? 1 : scale / 2;
    *out = f;
    return FDIT_OK;
out:
    fdit_font_free(f);
    return status;
}

void fdit_font_free(struct fdit_font *f)
{
    if (!f)
        return;
    fdit_free(f->bytes);
    fdit_free(f->glyphs);
    fdit_free(f->pairs);
    fdit_free(f);
}

static const struct glyph *find(const struct fdit_font *f, uint32_t code)
{
    size_t lo = 0, hi = f->n_glyphs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (f->glyphs[mid].code < code)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->n_glyphs && f->glyphs[lo].code == code ? &f->glyphs[lo] : NULL;
}

/* ------------------------------------------------------------------ text */

static uint32_t decode(const char *text, size_t n, size_t *length)
{
    const unsigned char *p = (const unsigned char *)text;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t k = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    uint32_t code = k < 2 ? p[0] : p[0] & (0x7fu >> k);
    *length = 1;
    if (k == 0 || k > n)
        return UNKNOWN;
    for (size_t i = 1; i < k; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return UNKNOWN;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least[k] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return UNKNOWN;
    *length = k;
    return code;
}

static uint32_t compose(const struct fdit_font *f, uint32_t base, uint32_t mark)
{
    size_t lo = 0, hi = f->n_pairs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct pair *p = &f->pairs[mid];
        if (p->base < base || (p->base == base && p->mark < mark))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->n_pairs && f->pairs[lo].base == base && f->pairs[lo].mark == mark ? f->pairs[lo].composed
                                                                                     : 0;
}

static bool is_mark(uint32_t code)
{
    return code >= 0x300 && code < 0x370;
}

/* Control characters and those that show nothing: joiners, marks of direction, variants of emoji.
 */
static bool is_silent(uint32_t code)
{
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) || code == 0xfeff ||
           (code >= 0xfe00 && code <= 0xfe0f) || code == 0xad;
}

/* The letter that begins at *at, composed with the marks that can be; *at moves behind it. 0 at the
 * end. */
static uint32_t next_letter(const struct fdit_font *f, const char *text, size_t n, size_t *at)
{
    size_t length;
    if (*at >= n)
        return 0;
    uint32_t code = decode(text + *at, n - *at, &length);
    *at += length;
    if (code < 0x20 || code == 0x7f)
        code = UNKNOWN;
    while (*at < n) {
        uint32_t mark = decode(text + *at, n - *at, &length),
                 both = is_mark(mark) ? compose(f, code, mark) : 0;
        if (!both)
            break;
        code = both;
        *at += length;
    }
    return code;
}

static const struct glyph *glyph_of(const struct fdit_font *f, uint32_t code)
{
    const struct glyph *g = find(f, code);
    if (is_silent(code))
        return NULL;
    return g ? g : find(f, 0x25a1);
}

int fdit_font_line(const struct fdit_font *f)
{
    return f->line * f->dot;
}

int fdit_font_ascent(const struct fdit_font *f)
{
    return f->ascent * f->dot;
}

int64_t fdit_font_width(const struct fdit_font *f, const char *text, size_t n)
{
    int64_t width = 0;
    size_t at = 0;
    for (uint32_t code; (code = next_letter(f, text, n, &at)) != 0;) {
        const struct glyph *g = glyph_of(f, code);
        width += g ? g->advance : 0;
    }
    return width * f->dot;
}

size_t fdit_font_fits(const struct fdit_font *f, const char *text, int64_t width)
{
    size_t n = strlen(text), at = 0, good = 0;
    int64_t sum = 0;
    for (uint32_t code; (code = next_letter(f, text, n, &at)) != 0;) {
        const struct glyph *g = glyph_of(f, code);
        sum += g ? g->advance : 0;
        if (sum * f->dot > width)
            break;
        good = at;
    }
    return good;
}

bool fdit_font_has(const struct fdit_font *f, const char *text, size_t n)
{
    size_t at = 0;
    for (uint32_t code; (code = next_letter(f, text, n, &at)) != 0;)
        if (code == UNKNOWN || (!is_silent(code) && !find(f, code)))
            return false;
    return true;
}

static void draw_dot(struct fdit_picture *p, int x, int y, int dot, unsigned cover, const uint8_t colour[3])
{
    for (int row = y < 0 ? 0 : y; row < y + dot && row < p->height; row++)
        for (int column = x < 0 ? 0 : x; column < x + dot && column < p->width; column++) {
            uint8_t *pixel =
                p->pixels + ((size_t)row * (size_t)p->width + (size_t)column) * (size_t)p->channels;
            for (int c = 0; c < p->channels; c++)
                pixel[c] = (uint8_t)((pixel[c] * (15 - cover) + colour[c] * cover + 7) / 15);
        }
}

static void draw_glyph(const struct fdit_font *f, struct fdit_picture *p, int x, int y,
                       const uint8_t colour[3], const struct glyph *g)
{
    for (int i = 0; i < g->width * g->height; i++) {
        unsigned cover = g->pixels[i / 2] >> (i % 2 * 4) & 15;
        if (cover)
            draw_dot(p, x + (g->left + i % g->width) * f->dot, y + (g->top + i / g->width) * f->dot, f->dot,
                     cover, colour);
    }
}

void fdit_font_draw(const struct fdit_font *f, struct fdit_picture *p, int x, int y, const uint8_t colour[3],
                    const char *text, size_t n)
{
    size_t at = 0;
    int64_t pen = x;
    for (uint32_t code; pen < p->width && (code = next_letter(f, text, n, &at)) != 0;) {
        const struct glyph *g = glyph_of(f, code);
        if (!g)
            continue;
        draw_glyph(f, p, (int)pen, y, colour, g);
        pen += g->advance * f->dot;
    }
}

/* ------------------------------------------------------------------ labels */

enum fdit_status fdit_font_label(fdit_context *ctx, const struct fdit_font *f, const char *text, int32_t id,
                                 char **out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = strlen(text), k = 0;
    char *made = NULL;
    *out = NULL;
    if (fdit_font_has(f, text, n))
        return fdit_strdup(ctx, text, out);
    TRY(fdit_alloc(ctx, n + 24, 1, &made));
    if (id >= 0)
        k = (size_t)snprintf(made, 16, "#%d", (int)id);
    for (size_t at = 0; at < n;) {
        size_t word = strcspn(text + at, " /_");
        if (word && fdit_font_has(f, text + at, word)) {
            if (k)
                made[k++] = ' ';
            memcpy(made + k, text + at, word);
            k += word;
        }
        at += word + (at + word < n);
    }
    made[k] = '\0';
    *out = made;
    made = NULL;
out:
    fdit_free(made);
    return status;
}
