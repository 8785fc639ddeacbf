/* SPDX-License-Identifier: Apache-2.0
 * font.h: text in pictures: Latin, Greek and Cyrillic letters of DejaVu Sans with smooth edges, at
 * two sizes.
 *
 * Text is UTF-8. A letter and a combining mark become the one letter that they stand for, where
 * there is one; other marks are drawn over the letter. Bytes that are no UTF-8 count as U+FFFD.
 * Letters run from left to right and are not joined: scripts that need more have no letters here
 * (fdit_font_label). */
#ifndef FDIT_PICTURE_FONT_H
#define FDIT_PICTURE_FONT_H

#include "picture/picture.h"

struct fdit_font;

/* scale 1: letters of 12 pixels, 2: of 18; above, the larger ones, each pixel a square. 1 to 64.
 * Free with fdit_font_free. */
enum fdit_status fdit_font_new(fdit_context *ctx, int scale, struct fdit_font **out);
void fdit_font_free(struct fdit_font *f);        /* NULL is allowed */
int fdit_font_line(const struct fdit_font *f);   /* pixels from one line to the next */
int fdit_font_ascent(const struct fdit_font *f); /* from the top of a line to the feet of its letters */
/* Pixels of the first n bytes of text, which end with a whole letter. */
int64_t fdit_font_width(const struct fdit_font *f, const char *text, size_t n);
/* Bytes of the longest beginning of text that is at most `width` pixels wide: whole letters with
 * their marks. */
size_t fdit_font_fits(const struct fdit_font *f, const char *text, int64_t width);
bool fdit_font_has(const struct fdit_font *f, const char *text, size_t n); /* a letter for all of it */

/* Draws n bytes with the upper left corner of the line at (x, y); what is outside the picture is
 * left out. Grey pictures take colour[0]. A letter that the font lacks is drawn as a box. */
void fdit_font_draw(const struct fdit_font *f, struct fdit_picture *p, int x, int y, const uint8_t colour[3],
                    const char *text, size_t n);

/* The text itself where the font has all of it; else "#id" and those of its words that can be
 * drawn. id < 0: no number. Free *out with fdit_free. */
enum fdit_status fdit_font_label(fdit_context *ctx, const struct fdit_font *f, const char *text, int32_t id,
                                 char **out);

#endif
