/* SPDX-License-Identifier: Apache-2.0
 * grid.c: layout and drawing of contact sheets. */
#include "format/grid.h"

#include "format/font.h"

#include <string.h>

#define LINE_MOST 120 /* characters of a line of text */
#define LINES_MOST 8
#define SIDE_MOST (INT64_C(1) << 28)
#define HEADING_CHARS 24 /* a group is made wide enough for this much of its heading */
#define COLUMN_LABEL_LINES 2

static const uint8_t ink[3] = { 28, 28, 32 };
static const uint8_t heading_ink[3] = { 16, 64, 128 };
static const uint8_t rule[3] = { 190, 200, 212 };
static const uint8_t empty[3] = { 232, 232, 232 };

/* Settings with the defaults filled in, and distances in pixels. */
struct layout {
    int cell, upscale, scale, label_chars, gap, margin, line, across;
};

struct text {
    int n;
    char line[LINES_MOST][LINE_MOST + 1];
};

/* Where a line of at most `width` characters may end: behind a space, comma, dash or underscore in
 * its second half, else after `width`. */
static int break_at(const char *text, int width)
{
    for (int at = width; at > width / 2; at--) {
        if (text[at] == ' ' || strchr(" _-/,", text[at - 1]) != NULL)
            return at;
    }
    return width;
}

/* Fits a label into `most` lines of `width` characters; "..." ends the last if something is left
 * out. */
static void wrap(const char *label, int width, int most, struct text *out)
{
    char ascii[LINES_MOST * LINE_MOST + 1];
    const char *at = ascii;

    out->n = 0;
    if (width > LINE_MOST)
        width = LINE_MOST;
    if (most > LINES_MOST)
        most = LINES_MOST;
    if (label == NULL || width < 1 || most < 1)
        return;
    fdit_font_ascii(label, ascii, sizeof ascii - 1);
    while (*at != '\0' && out->n < most) {
        char *line = out->line[out->n++];
        int left = (int)strlen(at), n = left <= width ? left : break_at(at, width);
        const bool cut = left > width && out->n == most;
        if (cut)
            n = width > 3 ? width - 3 : 0;
        memcpy(line, at, (size_t)n);
        line[n] = '\0';
        if (cut)
            memcpy(line + n, "...", (size_t)(width < 3 ? width : 3) + 1);
        line[width] = '\0';
        at += n;
        while (*at == ' ')
            at++;
    }
}

static int64_t count_chars(const char *label, int64_t most)
{
    char none[1];
    int64_t n = (int64_t)fdit_font_ascii(label, none, 0);
    return n < most ? n : most;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Pixels left of the cells. */
static int64_t label_width(const struct layout *l, const struct fdit_grid_group *g)
{
    int64_t chars = 0;
    for (size_t r = 0; g->row_labels != NULL && r < g->n_rows; r++) {
        if (g->row_labels[r] != NULL)
            chars = larger(chars, count_chars(g->row_labels[r], l->label_chars));
    }
    return chars > 0 ? (chars * FDIT_FONT_WIDTH + 4) * l->scale : 0;
}

static int column_label_lines(const struct layout *l, const struct fdit_grid_group *g)
{
    int lines = 0;
    for (size_t c = 0; g->column_labels != NULL && c < g->n_columns; c++) {
        struct text text;
        wrap(g->column_labels[c], l->cell / (FDIT_FONT_WIDTH * l->scale), COLUMN_LABEL_LINES,
             &text);
        lines = text.n > lines ? text.n : lines;
    }
    return lines;
}

static int heading_height(const struct layout *l, const struct fdit_grid_group *g)
{
    return g->heading != NULL ? l->line + 3 * l->scale : 0;
}

static void group_size(const struct layout *l, const struct fdit_grid_group *g, int64_t *width,
                       int64_t *height)
{
    const int64_t pitch = l->cell + l->gap;
    *width = label_width(l, g) + (g->n_columns > 0 ? (int64_t)g->n_columns * pitch - l->gap : 0);
    *height = heading_height(l, g) + column_label_lines(l, g) * l->line +
              (g->n_rows > 0 ? (int64_t)g->n_rows * pitch - l->gap : 0);
    if (g->heading != NULL)
        *width =
            larger(*width, count_chars(g->heading, HEADING_CHARS) * FDIT_FONT_WIDTH * l->scale);
}

static void fill(struct fdit_picture *p, int x, int y, int width, int height,
                 const uint8_t colour[3])
{
    for (int row = y; row < y + height; row++) {
        uint8_t *pixel = p->pixels + ((size_t)row * (size_t)p->width + (size_t)x) * 3;
        for (int column = 0; column < width; column++, pixel += 3)
            memcpy(pixel, colour, 3);
    }
}

static void draw_cell(struct fdit_picture *p, int x, int y, const struct fdit_grid *grid,
                      const struct layout *l, const uint8_t *cell)
{
    if (cell == NULL) {
        fill(p, x, y, l->cell, l->cell, empty);
        return;
    }
    for (int row = 0; row < grid->size; row++) {
        for (int column = 0; column < grid->size; column++) {
            const uint8_t *from =
                cell + ((size_t)row * (size_t)grid->size + (size_t)column) * (size_t)grid->channels;
            const uint8_t colour[3] = { from[0], from[grid->channels == 3 ? 1 : 0],
                                        from[grid->channels == 3 ? 2 : 0] };
            fill(p, x + column * l->upscale, y + row * l->upscale, l->upscale, l->upscale, colour);
        }
    }
}

static void draw_group(struct fdit_picture *p, int x, int y, int width,
                       const struct fdit_grid *grid, const struct layout *l,
                       const struct fdit_grid_group *g)
{
    const int letter = FDIT_FONT_WIDTH * l->scale, pitch = l->cell + l->gap;
    const int left = x + (int)label_width(l, g), lines = column_label_lines(l, g);
    struct text text;

    if (g->heading != NULL) {
        wrap(g->heading, width / letter, 1, &text);
        if (text.n > 0)
            fdit_font_draw(p, x, y, l->scale, heading_ink, text.line[0]);
        fill(p, x, y + l->line - l->scale, width, l->scale, rule);
        y += heading_height(l, g);
    }
    for (size_t c = 0; g->column_labels != NULL && c < g->n_columns; c++) {
        wrap(g->column_labels[c], l->cell / letter, COLUMN_LABEL_LINES, &text);
        for (int k = 0; k < text.n; k++) {
            const int indent = (l->cell - ((int)strlen(text.line[k]) * letter - l->scale)) / 2;
            fdit_font_draw(p, left + (int)c * pitch + indent, y + (lines - text.n + k) * l->line,
                           l->scale, ink, text.line[k]);
        }
    }
    y += lines * l->line;
    for (size_t r = 0; r < g->n_rows; r++, y += pitch) {
        const int room = l->cell / l->line;
        wrap(g->row_labels != NULL ? g->row_labels[r] : NULL, l->label_chars, room > 1 ? room : 1,
             &text);
        for (int k = 0; k < text.n; k++)
            fdit_font_draw(p, x, y + (l->cell - text.n * l->line) / 2 + k * l->line, l->scale, ink,
                           text.line[k]);
        for (size_t c = 0; c < g->n_columns; c++)
            draw_cell(p, left + (int)c * pitch, y, grid, l, g->cells[r * g->n_columns + c]);
    }
}

/* One pass over the bands of groups: measures the sheet (p NULL) or draws it. */
static void each_band(const struct fdit_grid *grid, const struct layout *l, struct fdit_picture *p,
                      int64_t *sheet_width, int64_t *sheet_height)
{
    const int title_scale = l->scale + 1, letter = FDIT_FONT_WIDTH * title_scale;
    int64_t y = l->margin, widest = 0;

    if (grid->title != NULL) {
        widest = count_chars(grid->title, LINE_MOST) * letter;
        if (p != NULL) {
            struct text text;
            wrap(grid->title, (p->width - 2 * l->margin) / letter, 1, &text);
            if (text.n > 0)
                fdit_font_draw(p, l->margin, (int)y, title_scale, ink, text.line[0]);
        }
        y += FDIT_FONT_HEIGHT * title_scale + 4 * l->scale;
    }
    for (size_t first = 0; first < grid->n_groups; first += (size_t)l->across) {
        int64_t x = l->margin, tallest = 0, width, height;
        for (size_t k = first; k < grid->n_groups && k - first < (size_t)l->across; k++) {
            group_size(l, &grid->groups[k], &width, &height);
            if (p != NULL)
                draw_group(p, (int)x, (int)y, (int)width, grid, l, &grid->groups[k]);
            x += width + 2 * l->margin;
            tallest = larger(tallest, height);
        }
        widest = larger(widest, x - 3 * l->margin);
        y += tallest + l->margin + l->gap;
    }
    *sheet_width = widest + 2 * l->margin;
    *sheet_height = y;
}

static enum fdit_status check(fdit_context *ctx, const struct fdit_grid *grid, struct layout *l)
{
    l->upscale = grid->upscale == 0 ? 1 : grid->upscale;
    if (grid->size < 1 || l->upscale < 1 || (int64_t)grid->size * l->upscale > 1 << 15 ||
        (grid->channels != 1 && grid->channels != 3))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "contact sheet: pictures of %d pixels and %d channels, %d times enlarged; "
                         "1 or 3 channels and at most 32768 pixels a side fit",
                         grid->size, grid->channels, l->upscale);
    l->cell = grid->size * l->upscale;
    l->scale = grid->text_scale != 0 ? grid->text_scale : l->cell >= 128 ? 2 : 1;
    l->label_chars = grid->label_chars == 0 ? 20 : grid->label_chars;
    if (l->scale < 1 || l->scale > 64 || l->label_chars < 1 || l->label_chars > LINE_MOST)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "contact sheet: letters of size %d, row labels of %d characters; 1 to 64 and "
            "1 to %d fit",
            l->scale, l->label_chars, LINE_MOST);
    l->gap = l->cell >= 32 ? 2 * l->scale : l->scale;
    l->margin = 6 * l->scale;
    l->line = (FDIT_FONT_HEIGHT + 1) * l->scale;
    l->across = grid->across == 0 ? 1 : grid->across > 1 << 20 ? 1 << 20 : (int)grid->across;
    for (size_t k = 0; k < grid->n_groups; k++) {
        const struct fdit_grid_group *g = &grid->groups[k];
        if (g->n_rows > SIDE_MOST || g->n_columns > SIDE_MOST)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "contact sheet: group %zu has %zu x %zu pictures; show fewer", k,
                             g->n_rows, g->n_columns);
    }
    return FDIT_OK;
}

enum fdit_status fdit_grid_draw(fdit_context *ctx, const struct fdit_grid *grid,
                                struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct layout l;
    int64_t width, height;

    memset(out, 0, sizeof *out);
    TRY(check(ctx, grid, &l));
    each_band(grid, &l, NULL, &width, &height);
    if (width > SIDE_MOST || height > SIDE_MOST || width * height > SIDE_MOST)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "contact sheet: %lld x %lld pixels, more than 2^28; show fewer or smaller pictures",
             (long long)width, (long long)height);
    TRY(fdit_picture_new(ctx, (int)width, (int)height, 3, out));
    memset(out->pixels, 255, (size_t)width * (size_t)height * 3);
    each_band(grid, &l, out, &width, &height);
out:
    return status;
}
