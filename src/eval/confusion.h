/* SPDX-License-Identifier: Apache-2.0
 * confusion.h: which classes, and which groups of each rank, a classifier takes for which others. */
#ifndef FDIT_EVAL_CONFUSION_H
#define FDIT_EVAL_CONFUSION_H

#include "eval/feature_set.h"

struct fdit_confused {
    int32_t is, said; /* labels: classes, or groups of a rank; never the same */
    size_t pictures;
};
struct fdit_confusion {
    int32_t rank;                /* -1: classes */
    const char *title;           /* the rank's name; "class" */
    size_t labels;               /* classes or groups */
    size_t *pictures;            /* [labels] of each */
    size_t all, right;           /* pictures; those that the likeliest label is right for */
    struct fdit_confused *pairs; /* most pictures first, then by labels */
    size_t n_pairs;
};

/* From logits and labels of the set, whose logits are those of its taxonomy's classes. A label of a rank has
 * the sum of its classes' probabilities, so `right` is what fdit_top_hits counts (scores.h). */
enum fdit_status fdit_confusion_make(fdit_context *ctx, const struct fdit_feature_set *s, int32_t rank,
                                     struct fdit_confusion *out);
void fdit_confusion_fini(struct fdit_confusion *c);
const char *fdit_confusion_label(const struct fdit_confusion *c, const struct fdit_taxonomy *taxonomy,
                                 int32_t label);
/* Tab-separated text with a header: rank, is, said, pictures, of (all of that label); right ones too. */
enum fdit_status fdit_confusion_table(fdit_context *ctx, const struct fdit_confusion *list, size_t n,
                                      const struct fdit_taxonomy *taxonomy, const char *path);

#endif
