/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/png_scan.h"

#include <string.h>
#include <zlib.h>

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The text of a chunk with this key. tEXt: KEY 0 TEXT. iTXt: KEY 0 COMPRESSED METHOD LANGUAGE 0 WORD 0 TEXT.
 */
static void take_text(const uint8_t *data, size_t n, bool international, const char *key,
                      struct fdit_png_scan *out)
{
    size_t at = strlen(key) + 1;
    if (n < at || memcmp(data, key, at) != 0)
        return;
    if (international) {
        if (n - at < 2 || data[at])
            return;
        at += 2;
        for (int i = 0; i < 2; i++) {
            const uint8_t *zero = memchr(data + at, 0, n - at);
            if (!zero)
                return;
            at = (size_t)(zero - data) + 1;
        }
    }
    out->text = (const char *)data + at;
    out->text_n = n - at;
}

bool fdit_png_scan(const uint8_t *bytes, size_t n, const char *key, struct fdit_png_scan *out)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    bool pixels = false, first = true;
    size_t at = sizeof signature;
    memset(out, 0, sizeof *out);
    if (n < sizeof signature || memcmp(bytes, signature, sizeof signature) != 0)
        return false;
    for (;; first = false) {
        if (n - at < 12)
            return false;
        const uint8_t *type = bytes + at + 4, *data = type + 4;
        uint32_t length = big32(bytes + at);
        if (length > INT32_MAX || length > n - at - 12 ||
            big32(data + length) != (uint32_t)crc32(0, type, (uInt)length + 4))
            return false;
        if (first != !memcmp(type, "IHDR", 4))
            return false;
        if (first) {
            if (length != 13)
                return false;
            out->width = big32(data);
            out->height = big32(data + 4);
        }
        pixels = pixels || !memcmp(type, "IDAT", 4);
        if (key && (!memcmp(type, "tEXt", 4) || !memcmp(type, "iTXt", 4)))
            take_text(data, length, type[0] == 'i', key, out);
        at += (size_t)length + 12;
        if (!memcmp(type, "IEND", 4))
            return pixels && at == n;
    }
}
