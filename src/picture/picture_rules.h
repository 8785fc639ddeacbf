/* SPDX-License-Identifier: Apache-2.0
 * picture_rules.h: --orient and --matte as they were typed, and what files say where nothing was.
 */
#ifndef FDIT_PICTURE_PICTURE_RULES_H
#define FDIT_PICTURE_PICTURE_RULES_H

#include "picture/picture.h"

/* Texts as of fdit_orient_parse and fdit_matte_parse; NULL: nothing is said. */
struct fdit_picture_words {
    const char *orient, *matte;
};

/* What was typed, else what `file` says, else exif and white; each by itself. */
enum fdit_status fdit_picture_words_rules(fdit_context *ctx, const struct fdit_picture_words *typed,
                                          const struct fdit_picture_words *file,
                                          struct fdit_picture_rules *out);

/* The keys "orient" and "matte" of a JSON object (a delta's `train`, encode.json), as texts of
 * their own; an object without them was made when pictures were taken as they are stored: "none".
 * Text that is not an object: NULL both. Free with fdit_picture_notes_fini. */
struct fdit_picture_notes {
    char *orient, *matte;
};
enum fdit_status fdit_picture_notes_read(fdit_context *ctx, const char *name, const char *json, size_t n,
                                         struct fdit_picture_notes *out);
void fdit_picture_notes_fini(struct fdit_picture_notes *n);
static inline struct fdit_picture_words fdit_picture_notes_words(const struct fdit_picture_notes *n)
{
    return (struct fdit_picture_words){ n->orient, n->matte };
}

#endif
