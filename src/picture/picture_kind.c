/* SPDX-License-Identifier: Apache-2.0
 * picture_kind.c: what kind of picture a file is, by its first bytes: those that are read, and
 * those that people have beside them and want to be told about. */
#include "picture/picture.h"

#include <string.h>
#include <strings.h>

#define CONVERT "convert it to PNG or JPEG"
#define HEIF "convert it to JPEG (heif-convert)"

struct magic {
    uint8_t at, length;
    const char *bytes;
    struct fdit_picture_kind kind;
};

/* The first that fits. */
static const struct magic magics[] = {
    { 0, 8, "\x89PNG\r\n\x1a\n", { "PNG", FDIT_PICTURE_PNG, NULL } },
    { 0, 3, "\xff\xd8\xff", { "JPEG", FDIT_PICTURE_JPEG, NULL } },
    { 0, 4, "GIF8", { "GIF", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "II*\0", { "TIFF or a camera's raw file", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "MM\0*", { "TIFF or a camera's raw file", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "II+\0", { "BigTIFF", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "MM\0+", { "BigTIFF", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 4, 8, "ftypheic", { "HEIC", FDIT_PICTURE_UNKNOWN, HEIF } },
    { 4, 8, "ftypheix", { "HEIC", FDIT_PICTURE_UNKNOWN, HEIF } },
    { 4, 8, "ftyphevc", { "HEIC", FDIT_PICTURE_UNKNOWN, HEIF } },
    { 4, 8, "ftypmif1", { "HEIF", FDIT_PICTURE_UNKNOWN, HEIF } },
    { 4, 8, "ftypmsf1", { "HEIF", FDIT_PICTURE_UNKNOWN, HEIF } },
    { 4, 8, "ftypavif", { "AVIF", FDIT_PICTURE_UNKNOWN, "convert it to PNG or JPEG (avifdec)" } },
    { 4, 8, "ftypavis", { "AVIF", FDIT_PICTURE_UNKNOWN, "convert it to PNG or JPEG (avifdec)" } },
    { 4, 7, "ftypcrx", { "a camera's raw file", FDIT_PICTURE_UNKNOWN, "export it as JPEG" } },
    { 4, 4, "ftyp", { "a film (MP4)", FDIT_PICTURE_UNKNOWN, "remove it, or save its frames as pictures" } },
    { 0, 12, "\0\0\0\x0cJXL \r\n\x87\n", { "JPEG XL", FDIT_PICTURE_UNKNOWN, "convert it to PNG (djxl)" } },
    { 0, 2, "\xff\x0a", { "JPEG XL", FDIT_PICTURE_UNKNOWN, "convert it to PNG or JPEG (djxl)" } },
    { 0, 12, "\0\0\0\x0cjP  \r\n\x87\n", { "JPEG 2000", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "\xff\x4f\xff\x51", { "JPEG 2000", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "8BPS", { "PSD (Photoshop)", FDIT_PICTURE_UNKNOWN, "export it as PNG" } },
    { 0, 9, "gimp xcf ", { "XCF (GIMP)", FDIT_PICTURE_UNKNOWN, "export it as PNG" } },
    { 0, 4, "qoif", { "QOI", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "\x76\x2f\x31\x01", { "OpenEXR", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 4, "DDS ", { "DDS", FDIT_PICTURE_UNKNOWN, CONVERT } },
    { 0, 8, "FUJIFILM", { "a camera's raw file", FDIT_PICTURE_UNKNOWN, "export it as JPEG" } },
    { 0, 4, "IIRO", { "a camera's raw file", FDIT_PICTURE_UNKNOWN, "export it as JPEG" } },
    { 0, 4, "IIU\0", { "a camera's raw file", FDIT_PICTURE_UNKNOWN, "export it as JPEG" } },
    { 0, 5, "%PDF-", { "PDF", FDIT_PICTURE_UNKNOWN, "save its pages as PNG" } },
    { 0, 4, "%!PS", { "PostScript", FDIT_PICTURE_UNKNOWN, "save it as PNG" } },
    { 0, 8, "\x8aMNG\r\n\x1a\n", { "MNG", FDIT_PICTURE_UNKNOWN, CONVERT } },
};

static bool starts_with(const uint8_t *bytes, size_t n, size_t at, const char *magic, size_t length)
{
    return n >= at + length && memcmp(bytes + at, magic, length) == 0;
}

/* "BM" alone could begin a text: the header's size and the two zero words behind the file's size
 * must be there, too. */
static bool is_bmp(const uint8_t *b, size_t n)
{
    return n >= 18 && b[0] == 'B' && b[1] == 'M' && !(b[6] | b[7] | b[8] | b[9]) && b[14] >= 12 &&
           b[14] <= 124 && !(b[15] | b[16] | b[17]);
}

/* A portable pixmap: P1 to P7, white space, then a number, a comment or a keyword. */
static bool is_pnm(const uint8_t *b, size_t n)
{
    return n >= 4 && b[0] == 'P' && b[1] >= '1' && b[1] <= '7' && (b[2] == '\n' || b[2] == ' ') &&
           ((b[3] >= '0' && b[3] <= '9') || b[3] == '#' || b[3] == 'W');
}

static bool is_ico(const uint8_t *b, size_t n)
{
    return n >= 22 && !b[0] && !b[1] && (b[2] == 1 || b[2] == 2) && !b[3] && b[4] && !b[5] && !b[9];
}

/* <svg in the beginning of a text that begins with < */
static bool is_svg(const uint8_t *b, size_t n)
{
    size_t at = starts_with(b, n, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < n && (b[at] == ' ' || b[at] == '\n' || b[at] == '\r' || b[at] == '\t'))
        at++;
    if (at >= n || b[at] != '<')
        return false;
    for (; at + 5 <= n; at++)
        if (strncasecmp((const char *)b + at, "<svg", 4) == 0 &&
            (b[at + 4] == ' ' || b[at + 4] == '>' || b[at + 4] == '\n' || b[at + 4] == '\r' ||
             b[at + 4] == '\t'))
            return true;
    return false;
}

struct fdit_picture_kind fdit_picture_kind(const uint8_t *bytes, size_t n)
{
    static const struct fdit_picture_kind none = { NULL, FDIT_PICTURE_UNKNOWN, NULL };
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (starts_with(bytes, n, magics[i].at, magics[i].bytes, magics[i].length))
            return magics[i].kind;
    if (starts_with(bytes, n, 0, "RIFF", 4) && starts_with(bytes, n, 8, "WEBP", 4))
        return (struct fdit_picture_kind){ "WebP", FDIT_PICTURE_WEBP, NULL };
    if (is_bmp(bytes, n))
        return (struct fdit_picture_kind){ "BMP", FDIT_PICTURE_UNKNOWN, CONVERT };
    if (is_pnm(bytes, n))
        return (struct fdit_picture_kind){ "PNM (PPM, PGM, PBM)", FDIT_PICTURE_UNKNOWN, CONVERT };
    if (is_ico(bytes, n))
        return (struct fdit_picture_kind){ "ICO", FDIT_PICTURE_UNKNOWN, CONVERT };
    if (is_svg(bytes, n < FDIT_PICTURE_KIND_BYTES ? n : FDIT_PICTURE_KIND_BYTES))
        return (struct fdit_picture_kind){ "SVG", FDIT_PICTURE_UNKNOWN, "save it as PNG (rsvg-convert)" };
    return none;
}

enum fdit_picture_format fdit_picture_sniff(const uint8_t *bytes, size_t n)
{
    if (starts_with(bytes, n, 0, "\x89PNG\r\n\x1a\n", 8))
        return FDIT_PICTURE_PNG;
    if (starts_with(bytes, n, 0, "\xff\xd8\xff", 3))
        return FDIT_PICTURE_JPEG;
    if (starts_with(bytes, n, 0, "RIFF", 4) && starts_with(bytes, n, 8, "WEBP", 4))
        return FDIT_PICTURE_WEBP;
    return FDIT_PICTURE_UNKNOWN;
}
