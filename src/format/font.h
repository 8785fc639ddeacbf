/* SPDX-License-Identifier: Apache-2.0
 * font.h: a small fixed-width font for printable ASCII, drawn for this program: 5 x 7 letters, two
 * rows for descenders, one column and one row of space. */
#ifndef FDIT_FORMAT_FONT_H
#define FDIT_FORMAT_FONT_H

#include "format/picture.h"

enum { FDIT_FONT_WIDTH = 6, FDIT_FONT_HEIGHT = 10, FDIT_FONT_ROWS = 9, FDIT_FONT_GLYPHS = 95 };

/* Glyph c - 32 of character c: rows from the top, bit 4 is the leftmost of five columns. */
extern const uint8_t fdit_font_glyphs[FDIT_FONT_GLYPHS][FDIT_FONT_ROWS];

/* Draws the zero-ended text with its upper left corner at (x, y), each dot a square of `scale`
 * pixels; what is outside the picture is left out. Grey pictures take colour[0]. A character that
 * is not printable ASCII is drawn as '?', one for each UTF-8 sequence. */
void fdit_font_draw(struct fdit_picture *p, int x, int y, int scale, const uint8_t colour[3],
                    const char *text);

/* At most `most` characters of text as printable ASCII into out (most + 1 bytes), as fdit_font_draw
 * would show them. Returns how many characters text has in all. */
size_t fdit_font_ascii(const char *text, char *out, size_t most);

#endif
