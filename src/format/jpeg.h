/* SPDX-License-Identifier: Apache-2.0
 * jpeg.h: JPEG through libjpeg, when the build has it (HAVE_JPEG); else both functions return
 * FDIT_ERROR_UNSUPPORTED. */
#ifndef FDIT_FORMAT_JPEG_H
#define FDIT_FORMAT_JPEG_H

#include "format/picture.h"

/* See fdit_picture_decode. CMYK becomes (255 - C)(255 - K)/255 and so on, rounded. */
enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out);
enum fdit_status fdit_jpeg_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height);

#endif
