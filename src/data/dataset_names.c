/* SPDX-License-Identifier: Apache-2.0
 * dataset_names.c: the names of a WebDataset's classes, which its .cls members only number: from a
 * member
 * "__taxonomy__" (fdit_taxonomy_to_json), which readers of WebDataset pass over, or from the
 * samples' .json:
 * {"class":"Elfus/scout","id":5,"ranks":{"genus":"Elfus"}}. */
#include "core/mem.h"
#include "data/dataset_index.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { deepest_json = 16 };

enum fdit_status fdit_ds_take_taxonomy(fdit_context *ctx, struct fdit_dataset *ds, const char *shard,
                                       const char *text, size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *other = NULL;
    if (ds->named_text && strlen(ds->named_text) == n && !memcmp(ds->named_text, text, n))
        return FDIT_OK;
    TRY(fdit_taxonomy_parse(ctx, text, n, shard, NULL, &other));
    if (ds->named) {
        TRY(fdit_taxonomy_compare(ctx, ds->named, "the taxonomy of the shards before", other, shard));
    } else {
        TRY(fdit_strndup(ctx, text, n, &ds->named_text));
        ds->named = other;
        other = NULL;
    }
out:
    fdit_taxonomy_free(other);
    return status;
}

/* Class `name` of the draft with its ranks. */
static enum fdit_status add_named(fdit_context *ctx, struct fdit_dataset *ds, const char *where,
                                  const char *name, const json_t *ranks)
{
    enum fdit_status status = FDIT_OK;
    size_t id;
    const char *rank;
    const json_t *group;
    if (!ds->draft)
        TRY(fdit_tax_new(ctx, &ds->draft));
    id = ds->draft->classes.n;
    TRY(fdit_tax_add_class(ctx, ds->draft, where, name, strlen(name)));
    json_object_foreach((json_t *)(uintptr_t)ranks, rank, group) /* jansson 2.11 has none for const */
    {
        if (!json_string_length(group))
            continue;
        int32_t r = fdit_tax_find_rank(ds->draft, rank, strlen(rank));
        if (r < 0) {
            TRY(fdit_tax_add_rank(ctx, ds->draft, where, rank, strlen(rank)));
            r = ds->draft->n_ranks - 1;
            struct fdit_tax_rank *new = &ds->draft->ranks[r];
            TRY(fdit_grow(ctx, &new->of, &new->of_capacity, ds->draft->classes.n, sizeof *new->of));
            for (size_t c = 0; c < ds->draft->classes.n; c++)
                new->of[c] = -1;
        }
        TRY(fdit_tax_put(ctx, ds->draft, where, r, id, json_string_value(group), json_string_length(group)));
    }
out:
    return status;
}

enum fdit_status fdit_ds_take_json(fdit_context *ctx, struct fdit_dataset *ds, const char *where,
                                   const char *text, size_t n, int64_t *class_id)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    char digits[24];
    size_t at;
    bool added;
    *class_id = -1;
    fdit_context *quiet = fdit_context_child(ctx); /* other people's .json may be anything */
    if (!quiet)
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory", where);
    enum fdit_status parsed = fdit_json_parse(quiet, where, text, n, deepest_json, &root);
    fdit_context_free(quiet);
    if (parsed == FDIT_ERROR_MEMORY)
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory", where);
    const char *name = json_string_value(json_object_get(root, "class"));
    const json_t *id = json_object_get(root, "id");
    if (parsed != FDIT_OK || !name || !json_is_integer(id) || json_integer_value(id) < 0)
        goto out;
    *class_id = json_integer_value(id);
    if (ds->told.unclear[0]) /* other people's id and class may be of something else: nothing more is taken */
        goto out;
    snprintf(digits, sizeof digits, "%" PRId64, *class_id);
    at = fdit_names_find(&ds->named_ids, digits, strlen(digits));
    const char *other = at == FDIT_NAMES_NONE ? name : fdit_names_get(&ds->draft->classes, at);
    if (strcmp(other, name))
        snprintf(ds->told.unclear, sizeof ds->told.unclear,
                 "%.200s: class %s is \"%.150s\" here and \"%.150s\" in a sample before", where, digits, name,
                 other);
    else if (at == FDIT_NAMES_NONE && ds->draft &&
             fdit_names_find(&ds->draft->classes, name, strlen(name)) != FDIT_NAMES_NONE)
        snprintf(ds->told.unclear, sizeof ds->told.unclear,
                 "%.200s: class \"%.200s\" has the id %s here and another in a sample before", where, name,
                 digits);
    if (ds->told.unclear[0] || at != FDIT_NAMES_NONE)
        goto out;
    TRY(fdit_names_add(ctx, &ds->named_ids, digits, strlen(digits), &at, &added));
    TRY(add_named(ctx, ds, where, name, json_object_get(root, "ranks")));
out:
    json_decref(root);
    return status;
}

/* The number in ds->named of class id, -1: it has no name. */
static int32_t named_id(const struct fdit_dataset *ds, int32_t id)
{
    char digits[24];
    if (!ds->named_ids.n)
        return id < fdit_taxonomy_n_classes(ds->named) ? id : -1;
    snprintf(digits, sizeof digits, "%d", id);
    size_t at = fdit_names_find(&ds->named_ids, digits, strlen(digits));
    return at == FDIT_NAMES_NONE ? -1 : (int32_t)at;
}

static int by_id(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The ids that pictures have, each once, ascending. */
static enum fdit_status present_ids(fdit_context *ctx, const struct fdit_dataset *ds, int32_t **out,
                                    size_t *n)
{
    enum fdit_status status = FDIT_OK;
    int32_t *ids = NULL;
    TRY(fdit_alloc(ctx, ds->n, sizeof *ids, &ids));
    for (size_t i = 0; i < ds->n; i++)
        ids[i] = ds->items[i].label;
    qsort(ids, ds->n, sizeof *ids, by_id);
    *n = 0;
    for (size_t i = 0; i < ds->n; i++)
        if (!*n || ids[*n - 1] != ids[i])
            ids[(*n)++] = ids[i];
    *out = ids;
out:
    return status;
}

static enum fdit_status finish_draft(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    if (ds->named || !ds->draft) {
        fdit_names_fini(&ds->named_ids); /* ids are numbers of the taxonomy's classes */
        return FDIT_OK;
    }
    for (int32_t r = 0; r < ds->draft->n_ranks; r++)
        TRY(fdit_tax_sort(ctx, ds->draft, r));
    TRY(fdit_tax_warn_case(ctx, ds->draft, ds->root));
    TRY(fdit_tax_pick(ctx, ds->draft, ds->root, NULL, &ds->named));
out:
    return status;
}

/* Whether the names are of the ids that .cls members have. Most samples that say so are right, and one that
 * differs is a mistake; where most differ, .json speaks of something else, as of the picture's number. */
static enum fdit_status check_told(fdit_context *ctx, struct fdit_dataset *ds, bool *usable)
{
    enum fdit_status status = FDIT_OK;
    size_t differ = ds->told.differ, all = differ + ds->told.agree;
    *usable = ds->named_text || (!differ && !ds->told.unclear[0]);
    if (differ && differ < ds->told.agree)
        TRY(fdit_ds_problem(ctx, ds,
                            "%s: %zu of %zu samples have another class id in .json than in .cls: %s; correct "
                            "the one or the other",
                            ds->root, differ, all, ds->told.first));
    else if (differ)
        TRY(fdit_ds_note(ctx, ds,
                         "%s: the id in the samples' .json is not that of their .cls (%s), so the names in "
                         ".json are not used; the classes are %s",
                         ds->root, ds->told.first,
                         ds->named_text ? "what __taxonomy__ calls those of .cls" : "the numbers in .cls"));
    else if (ds->told.unclear[0])
        TRY(fdit_ds_problem(ctx, ds, "%s", ds->told.unclear));
out:
    return status;
}

enum fdit_status fdit_ds_name_ids(fdit_context *ctx, struct fdit_dataset *ds, const char *ranks,
                                  struct fdit_names *classes, bool *numbered)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *used = NULL;
    int32_t *ids = NULL, *named = NULL;
    size_t n = 0, nameless = 0, id;
    bool usable;
    TRY(check_told(ctx, ds, &usable));
    TRY(finish_draft(ctx, ds));
    if (!ds->named || !usable)
        return FDIT_OK;
    TRY(present_ids(ctx, ds, &ids, &n));
    TRY(fdit_alloc(ctx, n, sizeof *named, &named));
    for (size_t i = 0; i < n; i++) {
        named[i] = named_id(ds, ids[i]);
        nameless += named[i] < 0;
    }
    if (nameless) {
        TRY(fdit_ds_note(
            ctx, ds,
            "%s: %zu of %zu class ids have no name in the samples' .json or in __taxonomy__; the "
            "classes are the numbers",
            ds->root, nameless, n));
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = fdit_taxonomy_class_name(ds->named, named[i]);
        TRY(fdit_names_add(ctx, classes, name, strlen(name), &id, NULL));
    }
    for (size_t i = 0; i < ds->n; i++) {
        const int32_t *at = bsearch(&ds->items[i].label, ids, n, sizeof *ids, by_id);
        ds->items[i].label = (int32_t)(at - ids);
    }
    *numbered = false;
    if (!ds->taxonomy) {
        TRY(fdit_taxonomy_restrict(ctx, ds->named, named, n, &used));
        TRY(fdit_taxonomy_pick(ctx, used, ranks, &ds->made));
        ds->taxonomy = ds->made;
    }
out:
    fdit_taxonomy_free(used);
    fdit_free(named);
    fdit_free(ids);
    return status;
}
