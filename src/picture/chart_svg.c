/* SPDX-License-Identifier: Apache-2.0
 * chart_svg.c: a chart as SVG. */
#include "picture/chart_pen.h"

#include "core/mem.h"

#include <stdarg.h>
#include <stdio.h>

static void put(struct fdit_chart_pen *pen, const char *format, ...) FDIT_PRINTF(2, 3);
static void put(struct fdit_chart_pen *pen, const char *format, ...)
{
    va_list args, again;
    if (pen->status != FDIT_OK)
        return;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    pen->status = fdit_grow(pen->ctx, &pen->svg, &pen->capacity, pen->length + (size_t)n + 1, 1);
    if (pen->status == FDIT_OK)
        pen->length += (size_t)vsnprintf(pen->svg + pen->length, (size_t)n + 1, format, again);
    va_end(again);
}

/* Without XML's special characters. */
static void put_escaped(struct fdit_chart_pen *pen, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&': put(pen, "&amp;"); break;
        case '<': put(pen, "&lt;"); break;
        case '>': put(pen, "&gt;"); break;
        case '"': put(pen, "&quot;"); break;
        default: put(pen, "%c", *s);
        }
    }
}

static void draw_box(struct fdit_chart_pen *pen, const struct fdit_chart_box *b)
{
    put(pen, "<rect x=\"%.0f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\" fill=\"#%06x\"", b->x, b->y,
        b->width, b->height, (unsigned)b->colour);
    if (b->name) {
        put(pen, "><title>");
        put_escaped(pen, b->name);
        put(pen, ": %.4g ms</title></rect>\n", b->milliseconds);
    } else {
        put(pen, "/>\n");
    }
}

static void draw_label(struct fdit_chart_pen *pen, const struct fdit_chart_label *l)
{
    put(pen, "<text x=\"%.0f\" y=\"%.0f\"%s%s fill=\"#%06x\">", l->x, l->y,
        l->title ? " font-size=\"14\"" : "", l->to_left ? " text-anchor=\"end\"" : "", (unsigned)l->colour);
    put_escaped(pen, l->text);
    put(pen, "</text>\n");
}

static enum fdit_status finish(struct fdit_chart_pen *pen, uint8_t **bytes, size_t *size)
{
    put(pen, "</svg>\n");
    if (pen->status == FDIT_OK) {
        *bytes = (uint8_t *)pen->svg;
        *size = pen->length;
        pen->svg = NULL;
    }
    return pen->status;
}

void fdit_chart_pen_svg(struct fdit_chart_pen *pen, fdit_context *ctx, double width, double height)
{
    *pen = (struct fdit_chart_pen){ .ctx = ctx, .box = draw_box, .label = draw_label, .finish = finish };
    put(pen,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f "
        "%.0f\" font-family=\"sans-serif\" font-size=\"12\">\n",
        width, height, width, height);
}

void fdit_chart_pen_fini(struct fdit_chart_pen *pen)
{
    fdit_picture_fini(&pen->picture);
    fdit_free(pen->svg);
    pen->svg = NULL;
}
