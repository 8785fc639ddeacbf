/* SPDX-License-Identifier: Apache-2.0
 * html.h: pieces of a page that needs nothing but itself: text, tables, charts as SVG, pictures within it. */
#ifndef FDIT_EVAL_HTML_H
#define FDIT_EVAL_HTML_H

#include "picture/picture.h"

#include <stddef.h>
#include <stdio.h>

/* Head of the page with its styles, and what closes it. */
void fdit_html_begin(FILE *f, const char *title);
void fdit_html_end(FILE *f);
/* Text from outside: markup in it is shown, control characters and what is not UTF-8 become "?". */
void fdit_html_text(FILE *f, const char *text);
/* A cell with a number of 3 digits, a dash where it is NaN. */
void fdit_html_number(FILE *f, double value);
/* The picture as a PNG in an <img>, at most `side` pixels high and wide: larger ones are reduced. */
enum fdit_status fdit_html_picture(fdit_context *ctx, FILE *f, const struct fdit_picture *p, int side,
                                   const char *alt);

/* A point of a chart; low and high NaN: no bar. */
struct fdit_html_point {
    const char *label; /* of a row */
    double x, value, low, high;
};
/* A row for each point with a dot and its bar, between least and most (equal: what the values need). */
void fdit_html_dots(FILE *f, const char *title, const struct fdit_html_point *points, size_t n, double least,
                    double most);
/* Values over x, in the order that they have, joined by a line. */
void fdit_html_line(FILE *f, const char *title, const char *x_name, const struct fdit_html_point *points,
                    size_t n);

#endif
