/* SPDX-License-Identifier: Apache-2.0
 * webp.h: WebP through libwebp, when the build has it (HAVE_WEBP); else both functions return
 * FDIT_ERROR_UNSUPPORTED. */
#ifndef FDIT_FORMAT_WEBP_H
#define FDIT_FORMAT_WEBP_H

#include "format/picture.h"

/* See fdit_picture_decode. Of an animation, the first frame on its canvas (what it does not cover
 * is black). */
enum fdit_status fdit_webp_decode(fdit_context *ctx, const uint8_t *bytes, size_t n,
                                  const char *name, struct fdit_picture *out);
enum fdit_status fdit_webp_size(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                int *width, int *height);

#endif
