/* SPDX-License-Identifier: Apache-2.0
 * picture_read.h: what picture.c and fit.c share: limits, the choice of the decoder, EXIF's turns.
 */
#ifndef FDIT_PICTURE_PICTURE_READ_H
#define FDIT_PICTURE_PICTURE_READ_H

#include "picture/picture_probe.h"
#include "picture/rows.h"

/* First the stored rows and columns change their order, then (turned) rows become columns. */
struct fdit_turn {
    bool flip_x, flip_y, turned;
};
struct fdit_turn fdit_picture_turn(int orientation);

/* Bytes that the file and its decoder take, without what the rows go to; SIZE_MAX / 2 on overflow.
 */
size_t fdit_picture_read_bytes(const struct fdit_picture_probe *p);
/* Refuses by the headers: too many pixels, too few bytes for them, or `bytes` above the rules'
 * limit. */
enum fdit_status fdit_picture_read_check(fdit_context *ctx, const char *name,
                                         const struct fdit_picture_probe *p,
                                         const struct fdit_picture_rules *rules, size_t bytes);
enum fdit_status fdit_picture_read_rows(fdit_context *ctx, const uint8_t *bytes, size_t n, const char *name,
                                        const struct fdit_picture_probe *p,
                                        const struct fdit_picture_rules *rules,
                                        const struct fdit_row_sink *sink);
/* Puts name and size before the message of FDIT_ERROR_MEMORY; returns status. */
enum fdit_status fdit_picture_read_failed(fdit_context *ctx, enum fdit_status status, const char *name,
                                          const struct fdit_picture_probe *p);

#endif
