/* SPDX-License-Identifier: Apache-2.0
 * chart_pen.h: what a chart is drawn with. chart.c says what is where, once; a pen makes SVG or pixels
 * of it. */
#ifndef FDIT_PICTURE_CHART_PEN_H
#define FDIT_PICTURE_CHART_PEN_H

#include "picture/font.h"

struct fdit_chart_box {
    double x, y, width, height; /* only the width may have a fraction */
    uint32_t colour;            /* 0xrrggbb */
    const char *name;           /* NULL, or a set and its milliseconds, shown by SVG under the mouse */
    double milliseconds;
};

struct fdit_chart_label {
    double x, y; /* where the feet of the first letter begin, or with to_left those of the last one end */
    bool to_left, title;
    uint32_t colour;
    const char *text;
};

/* Begin with one of the functions below, which hold a width and a height in pixels. A failure sticks in
 * `status`, and nothing is drawn any more. */
struct fdit_chart_pen {
    fdit_context *ctx;
    enum fdit_status status;
    void (*box)(struct fdit_chart_pen *pen, const struct fdit_chart_box *b);
    void (*label)(struct fdit_chart_pen *pen, const struct fdit_chart_label *l);
    /* The file's bytes, for fdit_free. */
    enum fdit_status (*finish)(struct fdit_chart_pen *pen, uint8_t **bytes, size_t *size);
    const struct fdit_font *font; /* the pixels' letters */
    struct fdit_picture picture;  /* the pixels */
    char *svg;                    /* the text so far */
    size_t length, capacity;
};
void fdit_chart_pen_svg(struct fdit_chart_pen *pen, fdit_context *ctx, double width, double height);
/* Wants width times height of at most FDIT_PICTURE_MAX_PIXELS. The font stays the caller's. */
void fdit_chart_pen_png(struct fdit_chart_pen *pen, fdit_context *ctx, double width, double height,
                        const struct fdit_font *font);
void fdit_chart_pen_fini(struct fdit_chart_pen *pen);

#endif
