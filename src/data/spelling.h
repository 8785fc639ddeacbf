/* SPDX-License-Identifier: Apache-2.0
 * spelling.h: when two names are the same name to a reader: they differ only in blanks at their
 * ends, in how many or which blanks stand between words, in marks that cannot be seen, or in the
 * Unicode form of accented letters (macOS decomposes names of files, nearly everybody else composes
 * them). Names keep their bytes; this is for finding and for telling twins. */
#ifndef FDIT_DATA_SPELLING_H
#define FDIT_DATA_SPELLING_H

#include "data/names.h"

enum { FDIT_SPELLING_BYTES = 4096 };

/* The name in its canonical form (Unicode NFC, blanks as above) into out; returns its length. Equal
 * for twins. A name that does not fit or is not UTF-8 is taken as it is, cut to the room. A build
 * without utf8proc composes nothing. */
size_t fdit_spelling(const char *s, size_t len, char out[FDIT_SPELLING_BYTES]);
/* As fdit_spelling, and without the difference between capitals and small letters (of ASCII only in a build
 * without utf8proc). */
size_t fdit_spelling_fold(const char *s, size_t len, char out[FDIT_SPELLING_BYTES]);
/* Whether this build knows composed and decomposed letters as the same. */
bool fdit_spelling_unicode(void);
/* Takes blanks (also those of Unicode) and marks that cannot be seen off both ends. */
void fdit_spelling_trim(const char **s, size_t *len);

/* What fdit_names lacks: finding by the canonical form. All zero is empty. */
struct fdit_spellings {
    struct fdit_names forms; /* canonical forms of those names that are not their own form */
    uint32_t *ids;           /* [forms] which name */
    size_t ids_capacity;
};

/* To be called after name `id` was added to `names`. *twin: another name of the same form, or
 * FDIT_NAMES_NONE; then the first stays the one that is found. */
enum fdit_status fdit_spellings_add(fdit_context *ctx, struct fdit_spellings *sp,
                                    const struct fdit_names *names, size_t id, size_t *twin);
/* All of names; twins do not matter. sp must be empty. */
enum fdit_status fdit_spellings_all(fdit_context *ctx, struct fdit_spellings *sp,
                                    const struct fdit_names *names);
/* The name itself, else one of the same form, else FDIT_NAMES_NONE. */
size_t fdit_spellings_find(const struct fdit_spellings *sp, const struct fdit_names *names, const char *s,
                           size_t len);
void fdit_spellings_fini(struct fdit_spellings *sp);

/* In what two twins differ, behind "differ only in": "blanks or marks that cannot be seen", or
 * "Unicode normalisation (composed and decomposed accents)". */
const char *fdit_spelling_difference(const char *a, size_t na, const char *b, size_t nb);

#endif
