/* SPDX-License-Identifier: Apache-2.0
 * fit.h: from the bytes of a file to the square that a model sees, without the whole picture in
 * memory where its format allows that. */
#ifndef FDIT_PICTURE_FIT_H
#define FDIT_PICTURE_FIT_H

#include "picture/picture_probe.h"

/* What fdit_picture_decode, and then fdit_picture_crop or (pad) fdit_picture_pad give, to the bit,
 * for any rules. Rows are halved as they are decoded: PNG and baseline JPEG take memory for some
 * rows and for the square, an interlaced PNG, a progressive JPEG and a WebP also for the whole
 * picture. Errors as of those functions; a picture that is too narrow, or whose reading would take
 * more than rules->limit, is refused from its header. */
enum fdit_status fdit_picture_fit(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                  const struct fdit_picture_rules *rules, bool pad, int size,
                                  struct fdit_picture *out);

/* Bytes that fdit_picture_fit takes at the most for a picture with these headers, its file
 * included; SIZE_MAX on overflow. */
size_t fdit_picture_fit_bytes(const struct fdit_picture_probe *p, int size);

#endif
