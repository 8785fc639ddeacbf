/* SPDX-License-Identifier: Apache-2.0
 * grid.c: layout and drawing of contact sheets. */
#include "picture/grid.h"

#include "core/mem.h"
#include "picture/font.h"

#include <string.h>

enum { LINES_MOST = 8, COLUMN_LABEL_LINES = 2, ROW_LABEL_LINES = 3, TITLE_LINES = 4, TITLE_CHARS = 60 };
#define SIDE_MOST (INT64_C(1) << 28)
#define ELLIPSIS "\xe2\x80\xa6"

static const uint8_t ink[3] = { 28, 28, 32 };
static const uint8_t heading_ink[3] = { 16, 64, 128 };
static const uint8_t rule[3] = { 190, 200, 212 };
static const uint8_t empty[3] = { 232, 232, 232 };

/* Settings with the defaults filled in, and distances in pixels. */
struct layout {
    int cell, upscale, scale, gap, margin, line, title_line, across;
    int64_t label; /* widest row label */
    struct fdit_font *font, *title_font;
    char ***labels; /* [groups][rows]: as they are drawn; NULL: none */
};

/* Lines of a wrapped text: pieces of it. */
struct text {
    int n;
    struct {
        const char *at;
        size_t n;
        bool cut;
    } line[LINES_MOST];
};

/* ------------------------------------------------------------------ text into lines */

/* Where a line of at most n bytes of text may end: behind the last space, or sign that joins words;
 * 0: nowhere. */
static size_t break_at(const char *text, size_t n)
{
    for (size_t at = n; at > 0; at--)
        if (text[at] == ' ' || strchr(" _-/,", text[at - 1]) != NULL)
            return at;
    return 0;
}

/* Fits a text into `most` lines of `width` pixels; an ellipsis ends the last if something is left
 * out. */
static void wrap(const struct fdit_font *f, const char *text, int64_t width, int most, struct text *out)
{
    out->n = 0;
    if (text == NULL || width < 1 || most < 1)
        return;
    most = most > LINES_MOST ? LINES_MOST : most;
    while (*text != '\0' && out->n < most) {
        size_t left = strlen(text), n = fdit_font_fits(f, text, width), word = 0;
        bool cut = n < left && out->n + 1 == most;
        if (cut)
            n = fdit_font_fits(f, text, width - fdit_font_width(f, ELLIPSIS, 3));
        else if (n < left)
            word = break_at(text, n);
        n = word ? word : n;
        if (n == 0 && !cut)
            break; /* narrower than one letter */
        size_t shown = n;
        while (shown > 0 && text[shown - 1] == ' ')
            shown--;
        out->line[out->n].at = text;
        out->line[out->n].n = shown;
        out->line[out->n++].cut = cut;
        text += n;
        while (*text == ' ')
            text++;
    }
}

static int64_t line_width(const struct fdit_font *f, const struct text *t, int k)
{
    return fdit_font_width(f, t->line[k].at, t->line[k].n) +
           (t->line[k].cut ? fdit_font_width(f, ELLIPSIS, 3) : 0);
}

static void draw_line(const struct fdit_font *f, struct fdit_picture *p, int x, int y,
                      const uint8_t colour[3], const struct text *t, int k)
{
    fdit_font_draw(f, p, x, y, colour, t->line[k].at, t->line[k].n);
    if (t->line[k].cut)
        fdit_font_draw(f, p, x + (int)fdit_font_width(f, t->line[k].at, t->line[k].n), y, colour, ELLIPSIS,
                       3);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t text_width(const struct fdit_font *f, const char *text)
{
    return fdit_font_width(f, text, strlen(text));
}

/* The widest word of a text, with the sign behind it. */
static int64_t widest_word(const struct fdit_font *f, const char *text)
{
    int64_t most = 0;
    for (size_t n; *text; text += n) {
        n = strcspn(text, " _-/,");
        n += text[n] != '\0';
        most = larger(most, fdit_font_width(f, text, n));
    }
    return most;
}

/* ------------------------------------------------------------------ sizes */

static const char *label_of(const struct layout *l, const struct fdit_grid *grid,
                            const struct fdit_grid_group *g, size_t r)
{
    char **labels = l->labels ? l->labels[g - grid->groups] : NULL;
    return labels ? labels[r] : NULL;
}

/* Pixels left of the cells. */
static int64_t label_width(const struct layout *l, const struct fdit_grid *grid,
                           const struct fdit_grid_group *g)
{
    int64_t most = 0, width = l->label;
    for (size_t r = 0; r < g->n_rows; r++) {
        const char *label = label_of(l, grid, g, r);
        if (label)
            width = larger(width, smaller(widest_word(l->font, label), 2 * l->label));
    }
    for (size_t r = 0; r < g->n_rows; r++) {
        struct text text;
        wrap(l->font, label_of(l, grid, g, r), width, ROW_LABEL_LINES, &text);
        for (int k = 0; k < text.n; k++)
            most = larger(most, line_width(l->font, &text, k));
    }
    return most > 0 ? most + 4 * l->scale : 0;
}

static int column_label_lines(const struct layout *l, const struct fdit_grid_group *g)
{
    int lines = 0;
    for (size_t c = 0; g->column_labels != NULL && c < g->n_columns; c++) {
        struct text text;
        wrap(l->font, g->column_labels[c], l->cell, COLUMN_LABEL_LINES, &text);
        lines = text.n > lines ? text.n : lines;
    }
    return lines;
}

static int heading_height(const struct layout *l, const char *heading)
{
    return heading != NULL ? l->line + 3 * l->scale : 0;
}

static const char *row_heading(const struct fdit_grid_group *g, size_t r)
{
    return g->row_headings != NULL ? g->row_headings[r] : NULL;
}

/* A row is as high as its cells, or its label. */
static int row_height(const struct layout *l, const struct fdit_grid *grid, const struct fdit_grid_group *g,
                      size_t r, int64_t left)
{
    struct text text;
    wrap(l->font, label_of(l, grid, g, r), left - 4 * l->scale, ROW_LABEL_LINES, &text);
    return (int)larger(l->cell, text.n * l->line);
}

static void group_size(const struct layout *l, const struct fdit_grid *grid, const struct fdit_grid_group *g,
                       int64_t *width, int64_t *height)
{
    const int64_t pitch = l->cell + l->gap, left = label_width(l, grid, g);
    *width = left + (g->n_columns > 0 ? (int64_t)g->n_columns * pitch - l->gap : 0);
    *height = heading_height(l, g->heading) + column_label_lines(l, g) * l->line;
    for (size_t r = 0; r < g->n_rows; r++) {
        *height += heading_height(l, row_heading(g, r)) + row_height(l, grid, g, r, left) +
                   (r + 1 < g->n_rows ? l->gap : 0);
        if (row_heading(g, r) != NULL)
            *width = larger(*width, smaller(text_width(l->font, row_heading(g, r)), l->label));
    }
    if (g->heading != NULL)
        *width = larger(*width, smaller(text_width(l->font, g->heading), l->label));
}

/* ------------------------------------------------------------------ drawing */

static void fill(struct fdit_picture *p, int x, int y, int width, int height, const uint8_t colour[3])
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

static void draw_heading(struct fdit_picture *p, int x, int y, int width, const struct layout *l,
                         const char *heading)
{
    struct text text;
    wrap(l->font, heading, width, 1, &text);
    if (text.n > 0)
        draw_line(l->font, p, x, y, heading_ink, &text, 0);
    fill(p, x, y + l->line, width, l->scale, rule);
}

static void draw_group(struct fdit_picture *p, int x, int y, int width, const struct fdit_grid *grid,
                       const struct layout *l, const struct fdit_grid_group *g)
{
    const int pitch = l->cell + l->gap, lines = column_label_lines(l, g);
    const int64_t labels = label_width(l, grid, g);
    const int left = x + (int)labels;
    struct text text;

    if (g->heading != NULL) {
        draw_heading(p, x, y, width, l, g->heading);
        y += heading_height(l, g->heading);
    }
    for (size_t c = 0; g->column_labels != NULL && c < g->n_columns; c++) {
        wrap(l->font, g->column_labels[c], l->cell, COLUMN_LABEL_LINES, &text);
        for (int k = 0; k < text.n; k++) {
            const int indent = (l->cell - (int)line_width(l->font, &text, k)) / 2;
            draw_line(l->font, p, left + (int)c * pitch + indent, y + (lines - text.n + k) * l->line, ink,
                      &text, k);
        }
    }
    y += lines * l->line;
    for (size_t r = 0; r < g->n_rows; r++) {
        const int height = row_height(l, grid, g, r, labels);
        if (row_heading(g, r) != NULL) {
            draw_heading(p, x, y, width, l, row_heading(g, r));
            y += heading_height(l, row_heading(g, r));
        }
        wrap(l->font, label_of(l, grid, g, r), labels - 4 * l->scale, ROW_LABEL_LINES, &text);
        for (int k = 0; k < text.n; k++)
            draw_line(l->font, p, x, y + (height - text.n * l->line) / 2 + k * l->line, ink, &text, k);
        for (size_t c = 0; c < g->n_columns; c++)
            draw_cell(p, left + (int)c * pitch, y + (height - l->cell) / 2, grid, l,
                      g->cells[r * g->n_columns + c]);
        y += height + l->gap;
    }
}

static int64_t draw_title(const struct fdit_grid *grid, const struct layout *l, struct fdit_picture *p,
                          int64_t width)
{
    struct text text;
    wrap(l->title_font, grid->title, width, TITLE_LINES, &text);
    for (int k = 0; p != NULL && k < text.n; k++)
        draw_line(l->title_font, p, l->margin, l->margin + k * l->title_line, ink, &text, k);
    return text.n * l->title_line + 4 * l->scale;
}

/* One pass over the bands of groups from y on: measures them (p NULL) or draws them. */
static void each_band(const struct fdit_grid *grid, const struct layout *l, struct fdit_picture *p, int64_t y,
                      int64_t *widest, int64_t *bottom)
{
    *widest = 0;
    for (size_t first = 0; first < grid->n_groups; first += (size_t)l->across) {
        int64_t x = l->margin, tallest = 0, width, height;
        for (size_t k = first; k < grid->n_groups && k - first < (size_t)l->across; k++) {
            group_size(l, grid, &grid->groups[k], &width, &height);
            if (p != NULL)
                draw_group(p, (int)x, (int)y, (int)width, grid, l, &grid->groups[k]);
            x += width + 2 * l->margin;
            tallest = larger(tallest, height);
        }
        *widest = larger(*widest, x - 3 * l->margin);
        y += tallest + l->margin + l->gap;
    }
    *bottom = y;
}

static enum fdit_status check(fdit_context *ctx, const struct fdit_grid *grid, struct layout *l)
{
    int chars = grid->label_chars == 0 ? 20 : grid->label_chars;
    l->upscale = grid->upscale == 0 ? 1 : grid->upscale;
    if (grid->size < 1 || l->upscale < 1 || (int64_t)grid->size * l->upscale > 1 << 15 ||
        (grid->channels != 1 && grid->channels != 3))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "contact sheet: pictures of %d pixels and %d channels, %d times enlarged; "
                         "1 or 3 channels and at most 32768 pixels a side fit",
                         grid->size, grid->channels, l->upscale);
    l->cell = grid->size * l->upscale;
    l->scale = grid->text_scale != 0 ? grid->text_scale : l->cell >= 128 ? 2 : 1;
    if (l->scale < 1 || l->scale > 64 || chars < 1 || chars > 120)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "contact sheet: letters of size %d, row labels of %d letters; 1 to 64 and 1 to 120 fit", l->scale,
            chars);
    l->gap = l->cell >= 32 ? 2 * l->scale : l->scale;
    l->margin = 6 * l->scale;
    l->across = grid->across == 0 ? 1 : grid->across > 1 << 20 ? 1 << 20 : (int)grid->across;
    for (size_t k = 0; k < grid->n_groups; k++) {
        const struct fdit_grid_group *g = &grid->groups[k];
        if (g->n_rows > SIDE_MOST || g->n_columns > SIDE_MOST || g->n_rows * g->n_columns > SIDE_MOST)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "contact sheet: group %zu has %zu x %zu pictures; show fewer", k, g->n_rows,
                             g->n_columns);
    }
    enum fdit_status status = fdit_font_new(ctx, l->scale, &l->font);
    if (status == FDIT_OK)
        status = fdit_font_new(ctx, l->scale + 1, &l->title_font);
    if (status != FDIT_OK)
        return status;
    l->line = fdit_font_line(l->font);
    l->title_line = fdit_font_line(l->title_font);
    l->label = chars * text_width(l->font, "n");
    return FDIT_OK;
}

/* Row labels with numbers in place of what the font lacks. */
static enum fdit_status make_labels(fdit_context *ctx, const struct fdit_grid *grid, struct layout *l)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, grid->n_groups, sizeof *l->labels, &l->labels));
    for (size_t k = 0; k < grid->n_groups; k++) {
        const struct fdit_grid_group *g = &grid->groups[k];
        if (g->row_labels == NULL)
            continue;
        TRY(fdit_alloc(ctx, g->n_rows, sizeof *l->labels[k], &l->labels[k]));
        for (size_t r = 0; r < g->n_rows; r++)
            if (g->row_labels[r] != NULL)
                TRY(fdit_font_label(ctx, l->font, g->row_labels[r], g->row_ids ? g->row_ids[r] : -1,
                                    &l->labels[k][r]));
    }
out:
    return status;
}

static void layout_fini(const struct fdit_grid *grid, struct layout *l)
{
    for (size_t k = 0; l->labels != NULL && k < grid->n_groups; k++) {
        for (size_t r = 0; l->labels[k] != NULL && r < grid->groups[k].n_rows; r++)
            fdit_free(l->labels[k][r]);
        fdit_free(l->labels[k]);
    }
    fdit_free(l->labels);
    fdit_font_free(l->font);
    fdit_font_free(l->title_font);
}

enum fdit_status fdit_grid_draw(fdit_context *ctx, const struct fdit_grid *grid, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct layout l = { .labels = NULL };
    int64_t width, height, top;

    memset(out, 0, sizeof *out);
    TRY(check(ctx, grid, &l));
    TRY(make_labels(ctx, grid, &l));
    each_band(grid, &l, NULL, 0, &width, &height);
    if (grid->title != NULL) /* a narrow sheet is made wide enough for a title in a few lines */
        width = larger(width, smaller(text_width(l.title_font, grid->title),
                                      TITLE_CHARS * text_width(l.title_font, "n")));
    top = l.margin + (grid->title != NULL ? draw_title(grid, &l, NULL, width) : 0);
    width += 2 * l.margin;
    height += top;
    if (width > SIDE_MOST || height > SIDE_MOST || width * height > SIDE_MOST)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "contact sheet: %lld x %lld pixels, more than 2^28; show fewer or smaller pictures",
             (long long)width, (long long)height);
    TRY(fdit_picture_new(ctx, (int)width, (int)height, 3, out));
    memset(out->pixels, 255, (size_t)width * (size_t)height * 3);
    if (grid->title != NULL)
        draw_title(grid, &l, out, width - 2 * l.margin);
    each_band(grid, &l, out, top, &width, &height);
out:
    layout_fini(grid, &l);
    return status;
}

/* ------------------------------------------------------------------ for plans */

static int64_t most_area(const struct layout *l, int64_t labels, const struct fdit_grid_shape *s)
{
    const int64_t across = larger(1, (int64_t)s->across), each = ((int64_t)s->rows + across - 1) / across;
    const int64_t cells = labels + (int64_t)s->columns * (l->cell + l->gap);
    const int64_t group = larger(cells, l->label) + 2 * l->margin;
    const int64_t title = TITLE_CHARS * text_width(l->title_font, "n") + 2 * l->margin;
    const int64_t row = l->line + 3 * l->scale + larger(l->cell, ROW_LABEL_LINES * l->line) + l->gap;
    return larger(across * group, title) *
           (TITLE_LINES * l->title_line + 4 * l->scale + COLUMN_LABEL_LINES * l->line + each * row +
            2 * l->margin + l->gap);
}

enum fdit_status fdit_grid_most_pixels(fdit_context *ctx, const struct fdit_grid *grid,
                                       const struct fdit_grid_shape *shapes, size_t n, size_t *pixels)
{
    enum fdit_status status = FDIT_OK;
    struct layout l = { .labels = NULL };
    int64_t most = 0, labels = 0;
    *pixels = 0;
    TRY(check(ctx, grid, &l));
    TRY(make_labels(ctx, grid, &l));
    for (size_t k = 0; k < grid->n_groups; k++)
        labels = larger(labels, label_width(&l, grid, &grid->groups[k]));
    for (size_t i = 0; i < n; i++)
        most = larger(most, most_area(&l, labels, &shapes[i]));
    *pixels = (size_t)smaller(most, SIDE_MOST); /* a larger one is refused */
out:
    layout_fini(grid, &l);
    return status;
}
