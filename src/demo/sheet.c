/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/sheet.h"

#include "core/mem.h"
#include "picture/grid.h"
#include "picture/png.h"

#include <stdio.h>
#include <string.h>

enum { GAP = 2, RGB = 3 };

enum fdit_status fdit_sheet_init(fdit_context *ctx, struct fdit_sheet *s,
                                 const struct fdit_taxonomy *taxonomy, int size, int channels)
{
    enum fdit_status status = FDIT_OK;
    size_t n = (size_t)fdit_taxonomy_n_classes(taxonomy);
    size_t picture = (size_t)size * (size_t)size * (size_t)channels;
    *s = (struct fdit_sheet){ .taxonomy = taxonomy, .size = size, .channels = channels };
    TRY(fdit_alloc(ctx, n, picture, &s->real));
    TRY(fdit_alloc(ctx, n, picture, &s->before));
    TRY(fdit_alloc(ctx, n, picture, &s->plain));
    TRY(fdit_alloc(ctx, n, picture, &s->guided));
out:
    return status;
}

void fdit_sheet_fini(struct fdit_sheet *s)
{
    fdit_free(s->real);
    fdit_free(s->before);
    fdit_free(s->plain);
    fdit_free(s->guided);
    *s = (struct fdit_sheet){ 0 };
}

/* Puts a picture, dark on paper of the given colour, into a cell of side x side RGB pixels. */
static void put(const struct fdit_sheet *s, const uint8_t *picture, int x, int y, const uint8_t paper[RGB],
                uint8_t *cell, int side)
{
    for (int row = 0; row < s->size; row++)
        for (int column = 0; column < s->size; column++)
            for (int c = 0; c < RGB; c++) {
                int from = (row * s->size + column) * s->channels + (s->channels == RGB ? c : 0);
                cell[((y + row) * side + x + column) * RGB + c] =
                    (uint8_t)(paper[c] * (255 - picture[from]) / 255);
            }
}

static void fill_cells(const struct fdit_sheet *s, size_t rows, size_t columns, int side, uint8_t *pixels,
                       const uint8_t **cells)
{
    static const uint8_t tinted[RGB] = { 255, 226, 178 }, white[RGB] = { 255, 255, 255 };
    size_t cell = (size_t)side * (size_t)side * RGB;
    size_t picture = (size_t)s->size * (size_t)s->size * (size_t)s->channels;
    for (int32_t k = 0; k < fdit_taxonomy_n_classes(s->taxonomy); k++) {
        size_t row = (size_t)fdit_taxonomy_group(s->taxonomy, 0, k);
        size_t column = (size_t)fdit_taxonomy_group(s->taxonomy, 1, k);
        if (row >= rows || column >= columns)
            continue;
        size_t at = row * columns + column, from = (size_t)k * picture;
        uint8_t *to = pixels + at * cell;
        memset(to, 208, cell);
        put(s, s->real + from, 0, 0, tinted, to, side);
        put(s, s->before + from, s->size + GAP, 0, white, to, side);
        put(s, s->plain + from, 0, s->size + GAP, white, to, side);
        put(s, s->guided + from, s->size + GAP, s->size + GAP, white, to, side);
        cells[at] = to;
    }
}

enum fdit_status fdit_sheet_write(fdit_context *ctx, const struct fdit_sheet *s, double guidance,
                                  const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture sheet = { 0 };
    size_t rows = (size_t)fdit_taxonomy_n_groups(s->taxonomy, 0);
    size_t columns = (size_t)fdit_taxonomy_n_groups(s->taxonomy, 1);
    int side = 2 * s->size + GAP;
    const char **row_labels = NULL, **column_labels = NULL;
    const uint8_t **cells = NULL;
    uint8_t *pixels = NULL;
    char title[200];
    TRY(fdit_alloc(ctx, rows, sizeof *row_labels, &row_labels));
    TRY(fdit_alloc(ctx, columns, sizeof *column_labels, &column_labels));
    TRY(fdit_alloc(ctx, rows * columns, sizeof *cells, &cells));
    TRY(fdit_alloc(ctx, rows * columns, (size_t)side * (size_t)side * RGB, &pixels));
    for (size_t i = 0; i < rows; i++)
        row_labels[i] = fdit_taxonomy_group_name(s->taxonomy, 0, (int32_t)i);
    for (size_t i = 0; i < columns; i++)
        column_labels[i] = fdit_taxonomy_group_name(s->taxonomy, 1, (int32_t)i);
    fill_cells(s, rows, columns, side, pixels, cells);
    snprintf(title, sizeof title,
             "Each cell, above: a real letter (tinted), the base before; below: fine-tuned, without "
             "guidance and guided by its superclass (w = %g)",
             guidance);
    struct fdit_grid_group group = { .n_rows = rows,
                                     .n_columns = columns,
                                     .row_labels = row_labels,
                                     .column_labels = column_labels,
                                     .cells = cells };
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .title = title,
                                            .size = side,
                                            .channels = RGB,
                                            .upscale = 2,
                                            .text_scale = 1,
                                            .label_chars = 8,
                                            .n_groups = 1,
                                            .groups = &group },
                       &sheet));
    TRY(fdit_png_write(ctx, path, &sheet));
out:
    fdit_picture_fini(&sheet);
    fdit_free(row_labels);
    fdit_free(column_labels);
    fdit_free(cells);
    fdit_free(pixels);
    return status;
}
