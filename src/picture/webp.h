/* SPDX-License-Identifier: Apache-2.0
 * webp.h: WebP through libwebp, when the build has it (HAVE_WEBP); else FDIT_ERROR_UNSUPPORTED. */
#ifndef FDIT_PICTURE_WEBP_H
#define FDIT_PICTURE_WEBP_H

#include "picture/rows.h"

/* Rows for the sink; of the rules only the matte counts. Of an animation, the first frame on its canvas;
 * what it does not cover is transparent (black where alpha is dropped). */
enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_picture_rules *rules, const struct fdit_row_sink *sink);

#endif
