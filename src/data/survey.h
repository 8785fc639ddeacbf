/* SPDX-License-Identifier: Apache-2.0
 * survey.h: what the pictures of a data set are, from their headers: sizes, kinds, how they are
 * turned, and which are the same file twice. Nothing is decoded. */
#ifndef FDIT_DATA_SURVEY_H
#define FDIT_DATA_SURVEY_H

#include "data/dataset.h"

struct fdit_survey {
    size_t n;               /* pictures looked at */
    size_t rotated;         /* EXIF says that they are to be turned or mirrored */
    size_t alpha, animated; /* with an alpha channel or a transparent colour; of several frames */
    size_t unreadable;      /* headers that make no sense, another kind of file, or one that cannot be read */
    size_t duplicates;      /* pictures whose bytes an earlier one has */
    size_t duplicate_labels; /* of them, those where the earlier one is of another class */
    /* By shorter side, then area; the picture's number in the data set. */
    struct fdit_survey_size {
        uint32_t width, height;
        size_t picture;
    } smallest, median, largest;
    struct fdit_survey_pair { /* the first duplicates, at most FDIT_SURVEY_SHOWN */
        size_t picture, same;
    } * pairs;
    size_t n_pairs;
    size_t *unread; /* the first that are unreadable, at most FDIT_SURVEY_SHOWN */
    char **why;
    size_t n_unread;
};

enum { FDIT_SURVEY_SHOWN = 1000 };

/* Called now and then with the pictures looked at; false stops with FDIT_INTERRUPTED. */
typedef bool (*fdit_survey_fn)(void *user, size_t done);

/* Looks at every picture's headers, and reads whole those that have another one of their length.
 * Memory: some 40 bytes a picture. */
enum fdit_status fdit_survey_make(fdit_context *ctx, const struct fdit_dataset *ds, fdit_survey_fn progress,
                                  void *user, struct fdit_survey *out);
void fdit_survey_fini(struct fdit_survey *s);

#endif
