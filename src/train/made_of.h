/* SPDX-License-Identifier: Apache-2.0
 * made_of.h: what a run is made of, by content: its classes and groups, the list of its pictures, the
 * numbers of the files that it starts from. RUN/config.json keeps it, so that --resume notices when one of
 * them is another than it was, and accepts another path to the same. */
#ifndef FDIT_TRAIN_MADE_OF_H
#define FDIT_TRAIN_MADE_OF_H

#include "train/source.h"

#include <jansson.h>

struct fdit_made_of {
    const char *taxonomy; /* fdit_taxonomy_to_json, the caller's: with many classes it is long */
    size_t n_classes;
    uint64_t *marks; /* [n_classes], see fdit_train_source_marks */
    size_t *counts;  /* [n_classes] pictures */
    size_t pictures;
    bool has_val, has_prior, has_base, has_delta, has_vae, has_vectors;
    size_t val_pictures, prior_pictures;
    uint64_t val, prior, base, delta, vae, vectors; /* marks of other data, hashes of the files' numbers */
};

/* Fills classes, whose JSON stays the caller's, and pictures; val NULL: no validation data of their own;
 * prior NULL: none. */
enum fdit_status fdit_made_of_data(fdit_context *ctx, const struct fdit_train_source *data,
                                   const char *taxonomy, const struct fdit_train_source *val,
                                   const struct fdit_train_source *prior, fdit_looked_fn looked, void *user,
                                   struct fdit_made_of *out);
void fdit_made_of_fini(struct fdit_made_of *id); /* an all-zero one is allowed */

/* An object of one line of JSON, the same for the same contents, of all but the classes. Free with
 * fdit_free. */
enum fdit_status fdit_made_of_json(fdit_context *ctx, const struct fdit_made_of *id, char **out);

/* Names for messages: NULL where there is no such file. */
struct fdit_made_of_names {
    const char *run, *data, *val, *prior, *base, *delta, *vae, *vectors;
};
/* Compares with what `was` (the object of fdit_made_of_json, with "taxonomy" in it) says: FDIT_ERROR_ARGUMENT
 * with the first difference, what it was and is, and what to do. other_data: the pictures may be others, the
 * classes may not; *differs is then set. */
enum fdit_status fdit_made_of_compare(fdit_context *ctx, const json_t *was, const struct fdit_made_of *is,
                                      const struct fdit_made_of_names *names, bool other_data, bool *differs);

#endif
