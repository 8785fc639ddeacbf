/* SPDX-License-Identifier: Apache-2.0
 * text.h: texts that came from elsewhere (names of files, classes, tensors, devices; error texts of drivers)
 * on their way to a terminal, and words that were meant. */
#ifndef FDIT_CORE_TEXT_H
#define FDIT_CORE_TEXT_H

#include "core/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#if defined(__GNUC__)
#define FDIT_TEXT_FORMAT(f, a) __attribute__((format(printf, f, a)))
#else
#define FDIT_TEXT_FORMAT(f, a)
#endif

enum fdit_text_keep {
    FDIT_TEXT_LINE = 0,     /* nothing: one line without tabs */
    FDIT_TEXT_NEWLINES = 1, /* a text of several lines of our own, as a table */
    FDIT_TEXT_TABS = 2,
};

/* The text as it may be shown on a terminal and kept in a line: control characters (C0 with ESC, DEL, C1),
 * marks that turn the direction of writing or cannot be seen, line separators and bytes that are not UTF-8
 * become \n, \t, \xNN or \u{NNNN}. All other text, a backslash too, stays, so that a safe text is not
 * changed again. Writes at most size - 1 bytes and a 0, never half a character or escape; returns the bytes
 * that the whole needs without the 0, as snprintf does. `keep` are flags of enum fdit_text_keep. */
size_t fdit_text_safe(char *out, size_t size, const char *text, unsigned keep);
/* True where fdit_text_safe would change nothing. */
bool fdit_text_is_safe(const char *text, unsigned keep);

/* Takes the escapes of fdit_text_safe, and \\ for a backslash, out of the n bytes at text, in
 * place; what looks like none stays. Returns the bytes that are left. Where a text is to come back,
 * every backslash has to be doubled before it is made safe. */
size_t fdit_text_unescape(char *text, size_t n);

/* For qsort of const char *: by bytes. */
int fdit_text_compare(const void *a, const void *b);

/* printf's formatting into a text from malloc (NULL when memory is short), with three differences:
 * what %s brings in is made safe, as a line, so that only the format itself can hold a newline; the
 * width of %s counts columns, not bytes; and "%zu pictures of %d classes" becomes "1 picture of 1
 * class" (pictures, classes, rows, ... as text.c lists them). Conversions: d i u o x X c s f F e E g G a A p
 * %, lengths hh h l ll z t j. */
char *fdit_text_vformat(const char *format, va_list args) FDIT_TEXT_FORMAT(1, 0);
/* The same into a file: everything that people read and that may hold names out of files. FDIT_ERROR_MEMORY;
 * that a file took not all of it is found by whoever closes it. */
enum fdit_status fdit_text_print(fdit_context *ctx, FILE *to, const char *format, ...) FDIT_TEXT_FORMAT(3, 4);

/* Columns that a safe text takes on a terminal: wide characters (CJK, Hangul, emoji) take two, combining
 * marks none. */
size_t fdit_text_columns(const char *text);

/* "6.0 GiB", "512 MiB", "10.0 KiB", "10 bytes": the one unit system of plans, summaries and messages, which
 * options of sizes read (but for the blank). */
void fdit_format_size(size_t bytes, char out[32]);

/* Edits (insert, delete, replace, swap of neighbours; the case of ASCII letters is free) from a of na bytes
 * to b of nb, or limit + 1 as soon as it is clear that there are more. */
int fdit_text_edits(const char *a, size_t na, const char *b, size_t nb, int limit);
/* The edits that a word of so many bytes may be away to be worth a question. */
int fdit_text_edits_allowed(size_t length);

/* The closest of the words that were considered, for "did you mean". Begin with
 * { .typed = "trian", .length = 5 }. */
struct fdit_text_guess {
    const char *typed;
    size_t length;
    const char *best; /* NULL: none is close */
    int edits;
};
void fdit_text_consider(struct fdit_text_guess *g, const char *word);

#endif
