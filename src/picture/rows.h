/* SPDX-License-Identifier: Apache-2.0
 * rows.h: where the decoders put a picture: row by row, from the top, as it is stored. */
#ifndef FDIT_PICTURE_ROWS_H
#define FDIT_PICTURE_ROWS_H

#include "picture/picture.h"

struct fdit_row_sink {
    void *self;
    /* Once, before the first row: the size as the decoder has it. */
    enum fdit_status (*begin)(void *self, int width, int height);
    /* Room for row y, 3 * width bytes; then the row is there. Each y once, rising. */
    uint8_t *(*row)(void *self, int y);
    enum fdit_status (*done)(void *self, int y);
};

/* n pixels with alpha over the rules' ground, or without it where the rules say so:
 * (v a + g (255 - a)) / 255, rounded. `to` may be `from`. */
void fdit_row_matte(const struct fdit_picture_rules *rules, const uint8_t *from, size_t n, uint8_t *to);

#endif
