/* SPDX-License-Identifier: Apache-2.0
 * png.h: PNG through libpng. */
#ifndef FDIT_PICTURE_PNG_H
#define FDIT_PICTURE_PNG_H

#include "picture/rows.h"

/* Rows for the sink; of the rules only the matte counts. Bytes behind the picture's end are ignored,
 * damage to what is not pixels is passed over. */
enum fdit_status fdit_png_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                 const struct fdit_picture_rules *rules, const struct fdit_row_sink *sink);

/* A text in a PNG file: key of 1 to 79 Latin letters, value in UTF-8. */
struct fdit_png_text {
    const char *key, *value;
};

/* An 8-bit grey or RGB file. The same picture gives the same bytes on one machine. Free *bytes with
 * fdit_free. */
enum fdit_status fdit_png_encode(fdit_context *ctx, const struct fdit_picture *p, uint8_t **bytes, size_t *n);
/* The same with texts before the pixels: tEXt chunks, iTXt where a value is not plain ASCII. */
enum fdit_status fdit_png_encode_with(fdit_context *ctx, const struct fdit_picture *p,
                                      const struct fdit_png_text *texts, size_t n_texts, uint8_t **bytes,
                                      size_t *n);
/* Encodes and writes as it goes, so that the file is never whole in memory; atomically, without waiting for
 * the disk. */
enum fdit_status fdit_png_write(fdit_context *ctx, const char *path, const struct fdit_picture *p);
enum fdit_status fdit_png_write_with(fdit_context *ctx, const char *path, const struct fdit_picture *p,
                                     const struct fdit_png_text *texts, size_t n_texts);

#endif
