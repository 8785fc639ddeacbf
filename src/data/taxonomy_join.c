/* SPDX-License-Identifier: Apache-2.0
 * Classes that join those of a taxonomy: see fdit_taxonomy_join. */
#include "core/mem.h"
#include "data/taxonomy.h"
#include "format/json.h"

#include <string.h>

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

enum fdit_status fdit_taxonomy_join(fdit_context *ctx, const char *what, const char *path,
                                    const struct fdit_taxonomy *old, const struct fdit_taxonomy *added,
                                    struct fdit_taxonomy **out)
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
                 "%s: %s has %d ranks, one of them \"%s\", and the new data %d others; give a --taxonomy "
                 "that lists old and new classes",
                 what, path, n_ranks, fdit_taxonomy_rank_name(old, k), fdit_taxonomy_n_ranks(added));
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
