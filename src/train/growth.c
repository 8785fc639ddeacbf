/* SPDX-License-Identifier: Apache-2.0 */
#include "train/growth.h"

#include "core/mem.h"
#include "format/json.h"

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
                 "%s: %d of its %d classes (%s%s) are not among the classes of this run, and their rows are "
                 "left out",
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
                 "--delta %s: rank \"%s\" does not exist in this run, and the %d rows of its groups would "
                 "be lost; "
                 "to keep them name the rank so in the taxonomy (or pick it with --ranks); to go on "
                 "without "
                 "them --old-classes drop",
                 path, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_groups(old, k));
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: rank \"%s\" does not exist in this run, and its groups (%d) are left out; "
                 "to keep them name the rank so in the taxonomy",
                 path, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_groups(old, k));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ old and new in one */

static void put_group(struct fdit_json *b, json_t *groups, json_t *of, json_t *known, const char *name)
{
    json_t *at = json_object_get(known, name);
    int64_t place = at ? json_integer_value(at) : (int64_t)json_array_size(groups);
    if (!at) {
        fdit_json_put_int(b, known, name, place);
        fdit_json_put_text(b, groups, NULL, name);
    }
    if (of)
        fdit_json_put_int(b, of, NULL, place);
}

/* used[g]: group g of old keeps a class when the classes of `added` are in the groups that it says. A group
 * that does not, goes. */
static void mark_used(const struct fdit_taxonomy *old, int32_t k, const struct fdit_taxonomy *added,
                      int32_t other, bool *used)
{
    for (int32_t i = 0; i < fdit_taxonomy_n_classes(old); i++)
        if (fdit_taxonomy_find_class(added, fdit_taxonomy_class_name(old, i)) < 0)
            used[fdit_taxonomy_group(old, k, i)] = true;
    for (int32_t g = 0; g < fdit_taxonomy_n_groups(added, other); g++) {
        const char *name = fdit_taxonomy_group_name(added, other, g);
        int32_t same = fdit_taxonomy_find_group(old, k, name);
        if (same >= 0 && !strcmp(fdit_taxonomy_group_name(old, k, same), name))
            used[same] = true;
    }
}

/* Rank k of old, with the groups of both. known: where the place of each group is kept meanwhile. */
static void put_rank(struct fdit_json *b, json_t *ranks, json_t *known, const struct fdit_taxonomy *old,
                     int32_t k, const struct fdit_taxonomy *added, const int32_t *fresh, size_t n_fresh,
                     const bool *used)
{
    const char *name = fdit_taxonomy_rank_name(old, k);
    int32_t other = fdit_taxonomy_find_rank(added, name);
    json_t *rank = fdit_json_put_object(b, ranks, NULL);
    fdit_json_put_text(b, rank, "name", name);
    json_t *groups = fdit_json_put_array(b, rank, "groups"), *of = fdit_json_put_array(b, rank, "of");
    for (int32_t g = 0; g < fdit_taxonomy_n_groups(old, k); g++)
        if (used[g])
            put_group(b, groups, NULL, known, fdit_taxonomy_group_name(old, k, g));
    for (int32_t i = 0; i < fdit_taxonomy_n_classes(old); i++) {
        int32_t id = fdit_taxonomy_find_class(added, fdit_taxonomy_class_name(old, i));
        put_group(b, groups, of, known,
                  id >= 0 ? fdit_taxonomy_group_name(added, other, fdit_taxonomy_group(added, other, id))
                          : fdit_taxonomy_group_name(old, k, fdit_taxonomy_group(old, k, i)));
    }
    for (size_t i = 0; i < n_fresh; i++)
        put_group(b, groups, of, known,
                  fdit_taxonomy_group_name(added, other, fdit_taxonomy_group(added, other, fresh[i])));
}

enum fdit_status fdit_growth_join(fdit_context *ctx, const char *path, const struct fdit_taxonomy *old,
                                  const struct fdit_taxonomy *added, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b, places;
    int32_t *fresh = NULL, n_ranks = fdit_taxonomy_n_ranks(old);
    size_t n_fresh = 0;
    bool *used = NULL;
    char *text = NULL;
    *out = NULL;
    fdit_json_begin(&b);
    fdit_json_begin(&places);
    for (int32_t k = 0; k < n_ranks; k++)
        if (n_ranks != fdit_taxonomy_n_ranks(added) ||
            fdit_taxonomy_find_rank(added, fdit_taxonomy_rank_name(old, k)) < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--old-classes keep: %s has %d ranks, one of them \"%s\", and the new data %d others; "
                 "give a "
                 "--taxonomy that lists old and new classes",
                 path, n_ranks, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_ranks(added));
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_classes(added), sizeof *fresh, &fresh));
    json_t *classes = fdit_json_put_array(&b, NULL, "classes"),
           *ranks = fdit_json_put_array(&b, NULL, "ranks");
    for (int32_t i = 0; i < fdit_taxonomy_n_classes(old); i++)
        fdit_json_put_text(&b, classes, NULL, fdit_taxonomy_class_name(old, i));
    for (int32_t i = 0; i < fdit_taxonomy_n_classes(added); i++) {
        const char *name = fdit_taxonomy_class_name(added, i);
        if (fdit_taxonomy_find_class(old, name) >= 0)
            continue;
        fresh[n_fresh++] = i;
        fdit_json_put_text(&b, classes, NULL, name);
    }
    for (int32_t k = 0; k < n_ranks; k++) {
        const char *name = fdit_taxonomy_rank_name(old, k);
        fdit_free(used);
        used = NULL;
        TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_groups(old, k), sizeof *used, &used));
        mark_used(old, k, added, fdit_taxonomy_find_rank(added, name), used);
        put_rank(&b, ranks, fdit_json_put_object(&places, NULL, name), old, k, added, fresh, n_fresh, used);
    }
    if (fdit_taxonomy_by_path(old) || fdit_taxonomy_by_path(added))
        fdit_json_put_bool(&b, NULL, "paths", true);
    TRY(fdit_json_check(ctx, &places, path));
    TRY(fdit_json_end(ctx, &b, path, JSON_COMPACT, &text));
    TRY(fdit_taxonomy_parse(ctx, text, strlen(text), path, NULL, out));
out:
    fdit_json_fini(&b);
    fdit_json_fini(&places);
    fdit_free(text);
    fdit_free(fresh);
    fdit_free(used);
    return status;
}
