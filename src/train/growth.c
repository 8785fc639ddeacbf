/* SPDX-License-Identifier: Apache-2.0 */
#include "train/growth.h"

#include "core/mem.h"

#include <string.h>

static enum fdit_status lost_classes(fdit_context *ctx, const char *path, const struct fdit_taxonomy *old,
                                     const struct fdit_taxonomy *taxonomy, bool refuse)
{
    enum fdit_status status = FDIT_OK;
    int32_t *match = NULL, lost = 0, first = 0, classes = fdit_taxonomy_n_classes(old);
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_rows(old), sizeof *match, &match));
    fdit_taxonomy_match_rows(taxonomy, old, match);
    for (int32_t i = classes; i-- > 0;)
        if (match[i] < 0) {
            first = i;
            lost++;
        }
    const char *name = fdit_taxonomy_class_name(old, first), *more = lost > 1 ? ", ..." : "";
    if (lost && refuse)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--delta %s: %d of its %d classes (%s%s) are not among the classes of this run, and their rows "
             "would be lost; to keep them add --old-classes keep, or a --taxonomy that lists old and new "
             "classes; to go on without them --old-classes drop",
             path, lost, classes, name, more);
    if (lost)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: %d of its %d classes (%s%s) are not among the "
                 "classes of this run, and their rows are left out",
                 path, lost, classes, name, more);
out:
    fdit_free(match);
    return status;
}

/* A delta of an earlier version had one row where this one tells groups of one name apart. */
static enum fdit_status split_groups(fdit_context *ctx, const char *path, const struct fdit_taxonomy *old,
                                     const struct fdit_taxonomy *taxonomy)
{
    enum fdit_status status = FDIT_OK;
    int32_t *match = NULL, split = 0, first_rank = 0, first = 0;
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_rows(taxonomy), sizeof *match, &match));
    fdit_taxonomy_match_rows(old, taxonomy, match);
    for (int32_t k = fdit_taxonomy_n_ranks(taxonomy); k-- > 0;) {
        int32_t other = fdit_taxonomy_find_rank(old, fdit_taxonomy_rank_name(taxonomy, k));
        for (int32_t g = fdit_taxonomy_n_groups(taxonomy, k); g-- > 0;)
            if (match[fdit_taxonomy_group_row(taxonomy, k, g)] >= 0 &&
                fdit_taxonomy_find_group(old, other, fdit_taxonomy_group_name(taxonomy, k, g)) < 0) {
                split++;
                first_rank = k;
                first = g;
            }
    }
    if (split)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s was made when groups of one name were one group: %d groups (%s \"%s\"%s) are told "
                 "apart now, and begin as the row that they had together; to keep them one, write the line "
                 "\"#independent\" into the taxonomy",
                 path, split, fdit_taxonomy_rank_name(taxonomy, first_rank),
                 fdit_taxonomy_group_name(taxonomy, first_rank, first), split > 1 ? ", ..." : "");
out:
    fdit_free(match);
    return status;
}

enum fdit_status fdit_growth_check(fdit_context *ctx, const char *path, const struct fdit_taxonomy *old,
                                   const struct fdit_taxonomy *taxonomy, bool refuse)
{
    enum fdit_status status = FDIT_OK;
    TRY(lost_classes(ctx, path, old, taxonomy, refuse));
    TRY(split_groups(ctx, path, old, taxonomy));
    for (int32_t k = 0; k < fdit_taxonomy_n_ranks(old); k++) {
        if (fdit_taxonomy_find_rank(taxonomy, fdit_taxonomy_rank_name(old, k)) >= 0)
            continue;
        if (refuse)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--delta %s: rank \"%s\" does not exist in this run, and the %d rows of its groups would be "
                 "lost; to keep them name the rank so in the taxonomy (or pick it with --ranks); to go on "
                 "without them --old-classes drop",
                 path, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_groups(old, k));
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: rank \"%s\" does not exist in this run, and its groups (%d) are left out; "
                 "to keep them name the rank so in the taxonomy",
                 path, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_groups(old, k));
    }
out:
    return status;
}
