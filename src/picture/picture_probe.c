/* SPDX-License-Identifier: Apache-2.0
 * picture_probe.c: the headers of a picture, read from wherever its bytes lie, without the
 * libraries that decode: a few reads of the file, whatever its size. */
#include "picture/picture_probe.h"

#include <string.h>

enum { WINDOW = 1024, LONGEST_EXIF = 1 << 16, MOST_CHUNKS = 100000 };

/* ------------------------------------------------------------------ reading at places */

struct cursor {
    const struct fdit_picture_bytes *from;
    uint64_t start; /* of the window */
    size_t n;
    uint8_t window[WINDOW];
};

/* length bytes at `at`, at most WINDOW; NULL: they are not there. */
static const uint8_t *look(struct cursor *c, uint64_t at, size_t length)
{
    if (at > c->from->n || c->from->n - at < length)
        return NULL;
    if (c->from->memory)
        return c->from->memory + at;
    if (at < c->start || at + length > c->start + c->n) {
        uint64_t rest = c->from->n - at;
        c->start = at;
        c->n = rest < WINDOW ? (size_t)rest : WINDOW;
        if (!c->from->read(c->from->self, at, c->window, c->n)) {
            c->n = 0;
            return NULL;
        }
    }
    return c->window + (at - c->start);
}

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static uint32_t le16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t le24(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | le16(p);
}

static uint32_t le32(const uint8_t *p)
{
    return le16(p + 2) << 16 | le16(p);
}

/* ------------------------------------------------------------------ EXIF */

/* The orientation in n bytes of EXIF at `at`; 1 where there is none that makes sense. */
static int exif_orientation(struct cursor *c, uint64_t at, uint64_t n)
{
    const uint8_t *p = n >= 6 ? look(c, at, 6) : NULL;
    if (p && memcmp(p, "Exif\0", 5) == 0) { /* a mark that JPEG needs and others copy */
        at += 6;
        n -= 6;
    }
    p = n >= 8 ? look(c, at, 8) : NULL;
    if (!p || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    bool little = p[0] == 'I';
    uint64_t directory = little ? le32(p + 4) : be32(p + 4);
    if (directory > n || n - directory < 2 || !(p = look(c, at + directory, 2)))
        return 1;
    uint32_t entries = little ? le16(p) : be16(p);
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t entry = directory + 2 + (uint64_t)12 * i;
        if (entry + 12 > n || !(p = look(c, at + entry, 12)))
            return 1;
        if ((little ? le16(p) : be16(p)) != 0x0112)
            continue;
        uint32_t type = little ? le16(p + 2) : be16(p + 2);
        /* SHORT as the standard says; some programs write BYTE or LONG */
        uint32_t value = type == 1   ? p[8]
                         : type == 4 ? (little ? le32(p + 8) : be32(p + 8))
                         : type == 3 ? (little ? le16(p + 8) : be16(p + 8))
                                     : 1;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* ------------------------------------------------------------------ PNG */

static int hex(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* EXIF as older programs kept it: tEXt "Raw profile type exif", with the bytes in hexadecimal
 * behind two lines. The beginning is enough for the directory. */
static int raw_profile(struct cursor *c, uint64_t at, uint64_t n)
{
    static const char key[] = "Raw profile type exif";
    uint8_t bytes[1024];
    struct fdit_picture_bytes memory;
    struct cursor inner = { .n = 0 };
    const uint8_t *p;
    size_t length = n < WINDOW ? (size_t)n : WINDOW, i = sizeof key, k = 0;
    if (length < sizeof key || !(p = look(c, at, length)) || memcmp(p, key, sizeof key))
        return 1;
    for (int lines = 0; i < length && lines < 3; i++) /* "\nexif\n    1234\n" */
        lines += p[i] == '\n';
    int high = -1;
    for (; i < length && k < sizeof bytes; i++) {
        int digit = hex(p[i]);
        if (digit < 0)
            continue;
        if (high >= 0)
            bytes[k++] = (uint8_t)(high << 4 | digit);
        high = high >= 0 ? -1 : digit;
    }
    memory = fdit_picture_memory(bytes, k);
    inner.from = &memory;
    return exif_orientation(&inner, 0, k);
}

static bool probe_png(struct cursor *c, struct fdit_picture_probe *out)
{
    const uint8_t *p = look(c, 8, 8 + 13);
    uint64_t at = 8;
    if (!p || be32(p) != 13 || memcmp(p + 4, "IHDR", 4))
        return false;
    out->width = be32(p + 8);
    out->height = be32(p + 12);
    out->bits = p[16];
    out->colour = p[17];
    out->interlaced = p[20] != 0;
    out->alpha = (p[17] & 4) != 0;
    if (!out->width || !out->height || out->width > INT32_MAX || out->height > INT32_MAX)
        return false;
    for (int i = 0; i < MOST_CHUNKS && (p = look(c, at, 8)) != NULL; i++) {
        uint64_t length = be32(p), body = at + 8;
        if (!memcmp(p + 4, "IDAT", 4))
            out->data_bytes += length;
        else if (!memcmp(p + 4, "tRNS", 4) && length)
            out->alpha = true;
        else if (!memcmp(p + 4, "acTL", 4))
            out->animated = true;
        else if (!memcmp(p + 4, "eXIf", 4) && out->orientation == 1)
            out->orientation = exif_orientation(c, body, length);
        else if (!memcmp(p + 4, "tEXt", 4) && out->orientation == 1)
            out->orientation = raw_profile(c, body, length);
        else if (!memcmp(p + 4, "IEND", 4))
            break;
        at = body + length + 4;
    }
    return true;
}

/* ------------------------------------------------------------------ JPEG */

/* A frame header: SOF0 to SOF15 but for DHT, JPG and DAC. */
static bool is_frame(int marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/* Blocks of all components of a frame header with its components at p, of which n bytes are there.
 */
static uint64_t count_blocks(const uint8_t *p, size_t n, const struct fdit_picture_probe *out)
{
    uint32_t most_h = 1, most_v = 1;
    uint64_t blocks = 0;
    size_t components = n / 3;
    for (size_t i = 0; i < components; i++) {
        uint32_t h = p[3 * i + 1] >> 4, v = p[3 * i + 1] & 15;
        most_h = h > most_h ? h : most_h;
        most_v = v > most_v ? v : most_v;
    }
    for (size_t i = 0; i < components; i++) {
        uint64_t w = ((uint64_t)out->width * (p[3 * i + 1] >> 4) + most_h - 1) / most_h;
        uint64_t h = ((uint64_t)out->height * (p[3 * i + 1] & 15) + most_v - 1) / most_v;
        blocks += (w + 7) / 8 * ((h + 7) / 8);
    }
    return blocks;
}

static bool probe_jpeg(struct cursor *c, struct fdit_picture_probe *out)
{
    const uint8_t *p;
    uint64_t at = 2;
    bool framed = false;
    for (int i = 0; i < MOST_CHUNKS; i++) {
        while ((p = look(c, at, 1)) && *p != 0xff) /* odd bytes before a marker are passed over */
            at++;
        while (p && *p == 0xff && (p = look(c, at + 1, 1)) && *p == 0xff)
            at++;
        int marker = p ? *p : 0xd9;
        at += 2;
        if (marker == 0xda && (p = look(c, at, 3)) && (out->interlaced || p[2] < out->colour))
            out->coefficients = 64 * out->blocks;
        if (marker == 0xd9 || marker == 0xda)
            break;
        if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8))
            continue;
        if (!(p = look(c, at, 2)) || be16(p) < 2)
            break;
        uint32_t length = be16(p);
        if (is_frame(marker) && (p = look(c, at, 8)) && !framed) {
            framed = true;
            out->bits = p[2];
            out->height = be16(p + 3);
            out->width = be16(p + 5);
            out->colour = p[7];
            out->interlaced = marker == 0xc2 || marker == 0xc6 || marker == 0xca || marker == 0xce;
            out->arithmetic = marker >= 0xc9;
            size_t components = 3 * (size_t)out->colour;
            if ((p = look(c, at + 8, components)) != NULL)
                out->blocks = count_blocks(p, components, out);
        } else if (marker == 0xe1 && length >= 8 && (p = look(c, at + 2, 6)) && !memcmp(p, "Exif\0", 5) &&
                   out->orientation == 1) { /* of several the first, as other readers have it */
            out->orientation = exif_orientation(c, at + 2, length - 2);
        }
        at += length;
    }
    out->data_bytes = c->from->n > at ? c->from->n - at : 0;
    /* a height of 0 stands behind the first scan, which nobody writes for pictures */
    return framed && out->width && out->height;
}

/* ------------------------------------------------------------------ WebP */

/* The first frame: lossy or lossless, and where the file has no header of its own, its size. */
static void webp_frame(struct cursor *c, const uint8_t *tag, uint64_t body, bool extended,
                       struct fdit_picture_probe *out)
{
    const uint8_t *p;
    if (!memcmp(tag, "VP8 ", 4) && (p = look(c, body, 10))) {
        if (!extended) {
            out->width = le16(p + 6) & 0x3fff;
            out->height = le16(p + 8) & 0x3fff;
        }
    } else if (!memcmp(tag, "VP8L", 4) && (p = look(c, body, 5))) {
        uint32_t bits = le32(p + 1);
        out->lossless = true;
        if (!extended) {
            out->width = (bits & 0x3fff) + 1;
            out->height = (bits >> 14 & 0x3fff) + 1;
            out->alpha = bits >> 28 & 1;
        }
    }
}

static bool probe_webp(struct cursor *c, struct fdit_picture_probe *out)
{
    const uint8_t *p;
    uint64_t at = 12;
    bool extended = false;
    for (int i = 0; i < MOST_CHUNKS && (p = look(c, at, 8)) != NULL; i++) {
        uint8_t tag[4];
        uint64_t length = le32(p + 4), body = at + 8;
        memcpy(tag, p, 4);
        if (!memcmp(tag, "VP8X", 4) && (p = look(c, body, 10))) {
            extended = true;
            out->alpha = (p[0] & 0x10) != 0;
            out->animated = (p[0] & 0x02) != 0;
            out->width = le24(p + 4) + 1;
            out->height = le24(p + 7) + 1;
        } else if (!memcmp(tag, "EXIF", 4) && out->orientation == 1) {
            out->orientation = exif_orientation(c, body, length < LONGEST_EXIF ? length : LONGEST_EXIF);
        } else if (!memcmp(tag, "VP8", 3)) {
            webp_frame(c, tag, body, extended, out);
            out->data_bytes += length;
            if (!extended)
                break;
        } else if (!memcmp(tag, "ANMF", 4)) {
            out->data_bytes += length;
        }
        at = body + length + (length & 1);
    }
    return out->width && out->height;
}

/* ------------------------------------------------------------------ public */

static bool read_memory(void *self, uint64_t at, void *to, size_t n)
{
    memcpy(to, (const uint8_t *)self + at, n);
    return true;
}

struct fdit_picture_bytes fdit_picture_memory(const uint8_t *bytes, size_t n)
{
    return (struct fdit_picture_bytes){
        .self = (void *)(uintptr_t)bytes, .n = n, .read = read_memory, .memory = bytes
    };
}

static enum fdit_status refuse(fdit_context *ctx, struct cursor *c, const char *name)
{
    uint64_t n = c->from->n < FDIT_PICTURE_KIND_BYTES ? c->from->n : FDIT_PICTURE_KIND_BYTES;
    const uint8_t *p = look(c, 0, (size_t)n);
    return fdit_picture_refuse(ctx, p, p ? (size_t)n : 0, c->from->n, name);
}

enum fdit_status fdit_picture_probe(fdit_context *ctx, const struct fdit_picture_bytes *from,
                                    const char *name, struct fdit_picture_probe *out)
{
    struct cursor c = { .from = from };
    uint64_t n = from->n < FDIT_PICTURE_KIND_BYTES ? from->n : FDIT_PICTURE_KIND_BYTES;
    const uint8_t *head = look(&c, 0, (size_t)n);
    bool good = false;
    *out = (struct fdit_picture_probe){ .orientation = 1, .file_bytes = from->n };
    if (head)
        out->kind = fdit_picture_kind(head, (size_t)n);
    switch (out->kind.format) {
    case FDIT_PICTURE_PNG: good = probe_png(&c, out); break;
    case FDIT_PICTURE_JPEG: good = probe_jpeg(&c, out); break;
    case FDIT_PICTURE_WEBP: good = probe_webp(&c, out); break;
    case FDIT_PICTURE_UNKNOWN: return refuse(ctx, &c, name);
    }
    if (!good)
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s: the %s picture of %llu bytes is cut off or damaged (no header that makes sense); "
            "get it again or remove it",
            name, out->kind.name, (unsigned long long)from->n);
    return FDIT_OK;
}
