/* SPDX-License-Identifier: Apache-2.0
 * grid.h: a contact sheet: groups of square pictures with a heading each, row labels at the left,
 * column labels on top, and a title over all. Labels are wrapped between words; those that are too
 * long even so end in an ellipsis. */
#ifndef FDIT_PICTURE_GRID_H
#define FDIT_PICTURE_GRID_H

#include "picture/picture.h"

struct fdit_grid_group {
    const char *heading; /* NULL: none */
    size_t n_rows, n_columns;
    const char *const *row_labels;    /* [n_rows]; NULL: none; an entry may be NULL */
    const char *const *column_labels; /* [n_columns]; likewise */
    /* [n_rows * n_columns], row by row: pixels [size][size][channels]; NULL: an empty grey square
     */
    const uint8_t *const *cells;
    const char *const *row_headings; /* [n_rows]: a line with a rule before the row; NULL: none; an
                                        entry may be NULL */
    const int32_t *row_ids; /* [n_rows]: shown as #id where the font lacks a label's letters; NULL: not */
};

struct fdit_grid {
    const char *title;  /* NULL: none */
    int size, channels; /* of the pictures; channels 1 or 3 */
    int upscale;        /* each pixel becomes a square of this side; 0 = 1 */
    int text_scale;     /* size of the letters, see font.h; 0: 2 for cells of 128 pixels or more, else 1
                     */
    int label_chars;    /* widest row label in letters of usual width, 1 .. 120; 0 = 20. A longer word
                        widens it up to twice that */
    size_t across;      /* groups beside each other before the next band begins; 0 = 1 */
    size_t n_groups;
    const struct fdit_grid_group *groups;
};

/* Draws an RGB picture on white. FDIT_ERROR_ARGUMENT for sizes that make no sense or a sheet of
 * more than 2^28 pixels. Free with fdit_picture_fini. */
enum fdit_status fdit_grid_draw(fdit_context *ctx, const struct fdit_grid *grid, struct fdit_picture *out);
/* For plans: so many rows in `across` groups beside each other. */
struct fdit_grid_shape {
    size_t rows, columns, across;
};
/* The most pixels that a sheet of one of these shapes has, its title and headings as many and as long as they
 * can be. Of *grid the sizes count, and the row labels of its groups: all those that there may be. */
enum fdit_status fdit_grid_most_pixels(fdit_context *ctx, const struct fdit_grid *grid,
                                       const struct fdit_grid_shape *shapes, size_t n, size_t *pixels);

#endif
