/* SPDX-License-Identifier: Apache-2.0
 * table_text.h: tables as text, line by line: columns with tabs, commas, semicolons or bars (|) between them,
 * fields in quotes or not, as sheets, data bases and statistics programs write them. Comments and
 * directives are the caller's: he sees each line as it is before he takes it apart. */
#ifndef FDIT_DATA_TABLE_TEXT_H
#define FDIT_DATA_TABLE_TEXT_H

#include "core/status.h"

struct fdit_field {
    const char *s; /* not ended by a zero; blanks at the ends taken off */
    size_t len;
};

struct fdit_rows {
    const char *what; /* for messages */
    char *text;       /* a copy in UTF-8, own */
    const char *at, *end;
    char line_end;
    char separator; /* '\t', ',', ';' or '|'; 0: no line was taken apart yet */
    size_t split;   /* lines taken apart */
    bool single; /* tabs, but single quotes are quotes: all names of one of the first two lines are in them */
    bool given;  /* by a line "sep=;" */
    bool escaped;    /* fields hold escapes (fdit_text_unescape): the caller saw a line that says so */
    size_t line;     /* number of the present line, from 1 */
    const char *raw; /* the present line without its end */
    size_t raw_len;
    struct fdit_field *fields;
    size_t n, capacity;
};

/* A copy of n bytes of text in UTF-8 or, with its mark, UTF-16. FDIT_ERROR_FORMAT, by name:
 * something that is not text, or in another encoding. `wanted` is what should have been given. */
enum fdit_status fdit_rows_open(fdit_context *ctx, const char *text, size_t n, const char *what,
                                const char *wanted, struct fdit_rows *rows);
void fdit_rows_close(struct fdit_rows *rows); /* all zero is allowed */
/* The next line that is not blank, nor a ruler of dashes in a table with bars; false at the end. */
bool fdit_rows_next(struct fdit_rows *rows);
/* The present line as fields. The first line so taken decides the separator: tabs if it has any,
 * else whatever of commas, semicolons and bars it has more of outside of quotes. Single quotes count as
 * double ones do; in tables with tabs only where all names of the first or the second line are in
 * them. A double quote that is not closed on its line: FDIT_ERROR_FORMAT with the line. */
enum fdit_status fdit_rows_split(fdit_context *ctx, struct fdit_rows *rows);
/* "commas" */
const char *fdit_rows_separator(const struct fdit_rows *rows);

#endif
