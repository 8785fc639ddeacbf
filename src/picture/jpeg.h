/* SPDX-License-Identifier: Apache-2.0
 * jpeg.h: JPEG through libjpeg, when the build has it (HAVE_JPEG); else FDIT_ERROR_UNSUPPORTED. */
#ifndef FDIT_PICTURE_JPEG_H
#define FDIT_PICTURE_JPEG_H

#include "picture/rows.h"

/* Rows for the sink. CMYK becomes (255 - C)(255 - K)/255 and so on, rounded. A missing mark of the end is
 * no fault where all pixels are there. */
enum fdit_status fdit_jpeg_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_row_sink *sink);

#endif
