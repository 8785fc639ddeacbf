/* SPDX-License-Identifier: Apache-2.0
 * picture_probe.h: what the headers of a picture say, without decoding it.
 *
 *     struct fdit_picture_probe p;
 *     struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
 *     TRY(fdit_picture_probe(ctx, &from, name, &p));    // p.width, p.orientation, p.alpha, ...
 */
#ifndef FDIT_PICTURE_PICTURE_PROBE_H
#define FDIT_PICTURE_PICTURE_PROBE_H

#include "picture/picture.h"

/* Where the bytes of a picture come from: a file, a member of an archive, memory. */
struct fdit_picture_bytes {
    void *self;
    uint64_t n; /* bytes in all */
    /* n bytes from place `at` on, all inside; false: they cannot be read. */
    bool (*read)(void *self, uint64_t at, void *to, size_t n);
    const uint8_t *memory; /* where they lie, when they are in memory; else NULL */
};
struct fdit_picture_bytes fdit_picture_memory(const uint8_t *bytes, size_t n);

struct fdit_picture_probe {
    struct fdit_picture_kind kind; /* .name "PNG", "JPEG", "WebP" */
    uint32_t width, height;        /* as they are stored: orientations 5 to 8 exchange them */
    int orientation;               /* EXIF: 1 (as stored, also where nothing is said) to 8 */
    bool alpha;            /* has an alpha channel or a transparent colour; its pixels may be opaque all the
                      same */
    bool animated;         /* of several frames, of which the first is taken */
    bool interlaced;       /* PNG: interlaced, JPEG: progressive */
    bool lossless;         /* WebP */
    bool arithmetic;       /* JPEG: its entropy code */
    uint64_t blocks;       /* JPEG: of 8 x 8 samples, of all components */
    uint64_t coefficients; /* JPEG in several scans: numbers that are kept until the last; else 0 */
    int bits;              /* of a sample; PNG and JPEG */
    int colour;            /* PNG: colour type; JPEG: components */
    uint64_t data_bytes;   /* that hold the pixels */
    uint64_t file_bytes;
};

/* Reads a few kilobytes. Another kind of file: FDIT_ERROR_UNSUPPORTED, headers that make no sense
 * or are cut off: FDIT_ERROR_FORMAT; with the name, the kind and the remedy. The pixels may still
 * be broken. */
enum fdit_status fdit_picture_probe(fdit_context *ctx, const struct fdit_picture_bytes *from,
                                    const char *name, struct fdit_picture_probe *out);

#endif
