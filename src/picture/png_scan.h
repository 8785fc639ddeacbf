/* SPDX-License-Identifier: Apache-2.0
 * png_scan.h: whether a PNG file is whole, without decoding it: signature, order, lengths and checksums of
 * its chunks. What a kill, a full disk or a power cut leaves does not pass. */
#ifndef FDIT_PICTURE_PNG_SCAN_H
#define FDIT_PICTURE_PNG_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdit_png_scan {
    uint32_t width, height;
    const char *text; /* of the chunk asked for, inside the bytes, without a final zero; NULL: none */
    size_t text_n;
};

/* False unless the n bytes are one whole PNG file. key (NULL: none): of the tEXt or uncompressed iTXt chunk
 * whose text is wanted. */
bool fdit_png_scan(const uint8_t *bytes, size_t n, const char *key, struct fdit_png_scan *out);

#endif
