/* SPDX-License-Identifier: Apache-2.0
 * sheet.h: the demo's picture: rows are letters, columns styles; each cell shows a real picture (tinted),
 * beside it one before fine-tuning, below one without guidance and one with. */
#ifndef FDIT_DEMO_SHEET_H
#define FDIT_DEMO_SHEET_H

#include "data/taxonomy.h"

struct fdit_sheet {
    const struct fdit_taxonomy *taxonomy; /* ranks: row, column */
    int size, channels;
    uint8_t *real, *before, *plain, *guided; /* [n_classes, S, S, C]; ink is bright */
};

enum fdit_status fdit_sheet_init(fdit_context *ctx, struct fdit_sheet *sheet,
                                 const struct fdit_taxonomy *taxonomy, int size, int channels);
void fdit_sheet_fini(struct fdit_sheet *sheet);
enum fdit_status fdit_sheet_write(fdit_context *ctx, const struct fdit_sheet *sheet, double guidance,
                                  const char *path);

#endif
