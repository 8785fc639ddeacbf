/* SPDX-License-Identifier: Apache-2.0
 * numbers.h: numbers of each class out of tables: `eval --by-class FILE.tsv`, val-classes.tsv of a run, or
 * one's own. The first line names the columns, one of which is "class"; the others are shown where they
 * hold numbers. */
#ifndef FDIT_SERVE_NUMBERS_H
#define FDIT_SERVE_NUMBERS_H

#include "data/taxonomy.h"

enum { FDIT_NUMBERS_MOST_COLUMNS = 32 };

struct fdit_numbers {
    char *names[FDIT_NUMBERS_MOST_COLUMNS];
    double *values[FDIT_NUMBERS_MOST_COLUMNS]; /* [classes]; NAN: not there */
    int n;
};

/* Adds the table's columns, as "label: name" (label NULL: by name alone). Classes that the taxonomy does
 * not have are passed over. FDIT_ERROR_FORMAT for a table without a column "class", or without a class of
 * the taxonomy. On failure what was added before stays. */
enum fdit_status fdit_numbers_read(fdit_context *ctx, const char *path, const char *label,
                                   const struct fdit_taxonomy *taxonomy, struct fdit_numbers *out);
void fdit_numbers_fini(struct fdit_numbers *numbers);
/* The mean of a column over n classes that have a value; NAN: none. */
double fdit_numbers_mean(const struct fdit_numbers *numbers, int column, const int32_t *classes, int32_t n);

#endif
