/* SPDX-License-Identifier: Apache-2.0
 * chart_png.c: a chart as pixels: boxes, and text in the letters of font.h. */
#include "picture/chart_pen.h"

#include "picture/png.h"

#include <string.h>

static void to_rgb(uint32_t colour, uint8_t rgb[3])
{
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)(colour >> (16 - 8 * c));
}

/* The last column is covered as far as the width's fraction says. */
static void draw_box(struct fdit_chart_pen *pen, const struct fdit_chart_box *b)
{
    const struct fdit_picture *p = &pen->picture;
    uint8_t rgb[3];
    if (pen->status != FDIT_OK)
        return;
    to_rgb(b->colour, rgb);
    for (int y = (int)b->y; y < (int)(b->y + b->height) && y < p->height; y++)
        for (int x = (int)b->x; x < b->x + b->width && x < p->width; x++) {
            uint8_t *at = p->pixels + 3 * ((size_t)y * (size_t)p->width + (size_t)x);
            double cover = b->x + b->width - x < 1 ? b->x + b->width - x : 1;
            for (int c = 0; c < 3; c++)
                at[c] = (uint8_t)(at[c] * (1 - cover) + rgb[c] * cover + 0.5);
        }
}

static void draw_label(struct fdit_chart_pen *pen, const struct fdit_chart_label *l)
{
    size_t n = strlen(l->text);
    int x = (int)(l->x + 0.5);
    uint8_t rgb[3];
    if (pen->status != FDIT_OK)
        return;
    to_rgb(l->colour, rgb);
    if (l->to_left)
        x -= (int)fdit_font_width(pen->font, l->text, n);
    fdit_font_draw(pen->font, &pen->picture, x, (int)l->y - fdit_font_ascent(pen->font), rgb, l->text, n);
}

static enum fdit_status finish(struct fdit_chart_pen *pen, uint8_t **bytes, size_t *size)
{
    if (pen->status == FDIT_OK)
        pen->status = fdit_png_encode(pen->ctx, &pen->picture, bytes, size);
    return pen->status;
}

void fdit_chart_pen_png(struct fdit_chart_pen *pen, fdit_context *ctx, double width, double height,
                        const struct fdit_font *font)
{
    *pen = (struct fdit_chart_pen){
        .ctx = ctx, .box = draw_box, .label = draw_label, .finish = finish, .font = font
    };
    pen->status = fdit_picture_new(ctx, (int)width, (int)height, 3, &pen->picture);
}
