/* SPDX-License-Identifier: Apache-2.0
 * Drafts, picking of ranks, rows, and comparison. Reading of files: taxonomy_read.c; what users
 * type: taxonomy_select.c. */
#include "data/taxonomy_build.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ drafts */

enum fdit_status fdit_tax_new(fdit_context *ctx, struct fdit_taxonomy **out)
{
    return fdit_alloc(ctx, 1, sizeof **out, out);
}

void fdit_taxonomy_free(struct fdit_taxonomy *tax)
{
    if (!tax)
        return;
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        fdit_free(tax->ranks[r].name);
        fdit_names_fini(&tax->ranks[r].groups);
        fdit_spellings_fini(&tax->ranks[r].spellings);
        fdit_free(tax->ranks[r].of);
    }
    fdit_free(tax->ranks);
    fdit_names_fini(&tax->classes);
    fdit_names_fini(&tax->folders);
    fdit_spellings_fini(&tax->class_spellings);
    fdit_spellings_fini(&tax->folder_spellings);
    fdit_free(tax->header);
    fdit_free(tax);
}

int32_t fdit_tax_find_rank(const struct fdit_taxonomy *tax, const char *name, size_t len)
{
    for (int32_t r = 0; r < tax->n_ranks; r++)
        if (strlen(tax->ranks[r].name) == len && !memcmp(tax->ranks[r].name, name, len))
            return r;
    return -1;
}

/* What is wrong with a name of a class, group or rank; NULL when nothing is. */
static const char *name_fault(const char *name, size_t len)
{
    if (!len)
        return "is empty";
    if (len > 65535)
        return "is longer than 65535 bytes";
    return fdit_utf8_valid(name, len) ? NULL : "is not UTF-8";
}

enum fdit_status fdit_tax_add_rank(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what,
                                   const char *name, size_t len)
{
    enum fdit_status status = FDIT_OK;
    const char *fault = name_fault(name, len);
    if (fault)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the name of rank %d %s", what, tax->n_ranks + 1, fault);
    if (tax->n_ranks >= FDIT_TAX_MOST_RANKS)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: more than %d ranks", what, FDIT_TAX_MOST_RANKS);
    if (memchr(name, ',', len) || memchr(name, '=', len))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: rank \"%.*s\" has a ',' or '=' in its name; rename the column",
             what, (int)len, name);
    if (fdit_tax_find_rank(tax, name, len) >= 0)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: rank \"%.*s\" is there twice", what, (int)len, name);
    TRY(fdit_grow(ctx, &tax->ranks, &tax->ranks_capacity, (size_t)tax->n_ranks + 1, sizeof *tax->ranks));
    TRY(fdit_strndup(ctx, name, len, &tax->ranks[tax->n_ranks].name));
    tax->n_ranks++;
out:
    return status;
}

/* Refuses name `id` when another one looks the same. */
static enum fdit_status check_twin(fdit_context *ctx, struct fdit_spellings *sp,
                                   const struct fdit_names *names, size_t id, const char *what,
                                   const char *kind)
{
    enum fdit_status status = FDIT_OK;
    size_t twin;
    TRY(fdit_spellings_add(ctx, sp, names, id, &twin));
    if (twin == FDIT_NAMES_NONE)
        return FDIT_OK;
    const char *a = fdit_names_get(names, twin), *b = fdit_names_get(names, id);
    FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"%.200s\" and \"%.200s\" (%s) differ only in %s; give both one name",
         what, a, b, kind,
         fdit_spelling_difference(a, fdit_names_length(names, twin), b, fdit_names_length(names, id)));
out:
    return status;
}

enum fdit_status fdit_tax_add_class(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what,
                                    const char *name, size_t len)
{
    enum fdit_status status = FDIT_OK;
    const char *fault = name_fault(name, len);
    size_t id;
    bool added;
    if (fault)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the name of class %zu (\"%.*s\") %s; rename it", what,
             tax->classes.n, (int)(len < 60 ? len : 60), name, fault);
    TRY(fdit_names_add(ctx, &tax->classes, name, len, &id, &added));
    if (!added)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: class \"%.*s\" is there twice; remove one", what, (int)len, name);
    if (tax->strict)
        TRY(check_twin(ctx, &tax->class_spellings, &tax->classes, id, what, "classes"));
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        struct fdit_tax_rank *rank = &tax->ranks[r];
        TRY(fdit_grow(ctx, &rank->of, &rank->of_capacity, id + 1, sizeof *rank->of));
        rank->of[id] = -1;
    }
out:
    return status;
}

enum fdit_status fdit_tax_put(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what, int32_t rank,
                              size_t id, const char *group, size_t len)
{
    enum fdit_status status = FDIT_OK;
    const char *fault = name_fault(group, len);
    size_t g;
    bool added;
    if (fault)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the %s of class \"%s\" %s", what, tax->ranks[rank].name,
             fdit_names_get(&tax->classes, id), fault);
    TRY(fdit_names_add(ctx, &tax->ranks[rank].groups, group, len, &g, &added));
    if (added && tax->strict)
        TRY(check_twin(ctx, &tax->ranks[rank].spellings, &tax->ranks[rank].groups, g, what,
                       tax->ranks[rank].name));
    tax->ranks[rank].of[id] = (int32_t)g;
out:
    return status;
}

enum fdit_status fdit_tax_reorder(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank,
                                  const uint32_t *order)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tax_rank *r = &tax->ranks[rank];
    struct fdit_names sorted = { 0 };
    int32_t *place = NULL;
    size_t id;
    TRY(fdit_alloc(ctx, r->groups.n, sizeof *place, &place));
    for (size_t i = 0; i < r->groups.n; i++) {
        TRY(fdit_names_add(ctx, &sorted, fdit_names_get(&r->groups, order[i]),
                           fdit_names_length(&r->groups, order[i]), &id, NULL));
        place[order[i]] = (int32_t)i;
    }
    for (size_t c = 0; c < tax->classes.n; c++)
        if (r->of[c] >= 0)
            r->of[c] = place[r->of[c]];
    fdit_names_fini(&r->groups);
    r->groups = sorted;
    sorted = (struct fdit_names){ 0 };
out:
    fdit_names_fini(&sorted);
    fdit_free(place);
    return status;
}

enum fdit_status fdit_tax_sort(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *order = NULL;
    TRY(fdit_alloc(ctx, tax->ranks[rank].groups.n, sizeof *order, &order));
    TRY(fdit_names_sort(ctx, &tax->ranks[rank].groups, order));
    TRY(fdit_tax_reorder(ctx, tax, rank, order));
out:
    fdit_free(order);
    return status;
}

/* ------------------------------------------------------------------ picking */

bool fdit_tax_piece(const char **at, const char *end, char separator, const char **piece, size_t *len)
{
    if (!*at)
        return false;
    const char *stop = *at < end ? memchr(*at, separator, (size_t)(end - *at)) : NULL;
    *piece = *at;
    *len = (size_t)((stop ? stop : end) - *at);
    *at = stop ? stop + 1 : NULL;
    return true;
}

size_t fdit_tax_first(const struct fdit_names *names, const char *s, const char *end, size_t *len)
{
    enum { most_commas = 16 };
    const char *stop = s;
    for (int i = 0; i <= most_commas; i++) {
        const char *comma = stop < end ? memchr(stop, ',', (size_t)(end - stop)) : NULL;
        *len = (size_t)((comma ? comma : end) - s);
        size_t id = fdit_names_find(names, s, *len);
        if (id != FDIT_NAMES_NONE || !comma)
            return id;
        stop = comma + 1;
    }
    return FDIT_NAMES_NONE;
}

/* The names of all ranks, for messages. */
static const char *rank_names(const struct fdit_taxonomy *tax, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int32_t r = 0; r < tax->n_ranks && used + 40 < size; r++) {
        int n = snprintf(text + used, size - used, "%s%.40s", r ? ", " : "", tax->ranks[r].name);
        used += n > 0 ? (size_t)n : 0;
        if (used >= size)
            used = size - 1;
    }
    if (!tax->n_ranks)
        snprintf(text, size, "none");
    return text;
}

static enum fdit_status copy_rank(fdit_context *ctx, const struct fdit_taxonomy *from, int32_t rank,
                                  struct fdit_taxonomy *to)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_tax_rank *a = &from->ranks[rank];
    TRY(fdit_grow(ctx, &to->ranks, &to->ranks_capacity, (size_t)to->n_ranks + 1, sizeof *to->ranks));
    struct fdit_tax_rank *b = &to->ranks[to->n_ranks++];
    *b = (struct fdit_tax_rank){ 0 };
    TRY(fdit_strdup(ctx, a->name, &b->name));
    TRY(fdit_names_copy(ctx, &a->groups, &b->groups));
    TRY(fdit_alloc(ctx, from->classes.n, sizeof *b->of, &b->of));
    b->of_capacity = from->classes.n;
    if (from->classes.n)
        memcpy(b->of, a->of, from->classes.n * sizeof *b->of);
out:
    return status;
}

/* Every class has a group at every rank; sets the rows. */
static enum fdit_status finish(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_name_list missing = { 0 };
    size_t row = tax->classes.n;
    if (!tax->classes.n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: no class in it", what);
    fdit_spellings_fini(&tax->class_spellings);
    fdit_spellings_fini(&tax->folder_spellings);
    TRY(fdit_spellings_all(ctx, &tax->class_spellings, &tax->classes));
    TRY(fdit_spellings_all(ctx, &tax->folder_spellings, &tax->folders));
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        struct fdit_tax_rank *rank = &tax->ranks[r];
        for (size_t c = 0; c < tax->classes.n; c++)
            if (rank->of[c] < 0)
                fdit_name_list_add(&missing, fdit_names_get(&tax->classes, c), rank->name);
        rank->first_row = (int32_t)row;
        fdit_spellings_fini(&rank->spellings);
        TRY(fdit_spellings_all(ctx, &rank->spellings, &rank->groups));
        row += rank->groups.n;
        if (row > INT32_MAX)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: more than %d classes and groups", what, INT32_MAX);
    }
    if (missing.n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %zu missing: class (rank) %s; fill them, or pick other ranks with --ranks", what, missing.n,
             fdit_name_list_text(&missing));
out:
    return status;
}

enum fdit_status fdit_tax_pick(fdit_context *ctx, const struct fdit_taxonomy *draft, const char *what,
                               const char *ranks, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *tax = NULL;
    char known[300];
    *out = NULL;
    TRY(fdit_tax_new(ctx, &tax));
    TRY(fdit_names_copy(ctx, &draft->classes, &tax->classes));
    TRY(fdit_names_copy(ctx, &draft->folders, &tax->folders));
    tax->paths = draft->paths;
    if (draft->header)
        TRY(fdit_strdup(ctx, draft->header, &tax->header));
    bool none = ranks && (!*ranks || (!strcmp(ranks, "none") && fdit_tax_find_rank(draft, "none", 4) < 0));
    for (int32_t r = 0; !ranks && r < draft->n_ranks; r++)
        TRY(copy_rank(ctx, draft, r, tax));
    const char *at = ranks && !none ? ranks : NULL, *end = at ? at + strlen(at) : NULL, *piece;
    size_t len;
    while (fdit_tax_piece(&at, end, ',', &piece, &len)) {
        int32_t r = fdit_tax_find_rank(draft, piece, len);
        if (r < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: no rank \"%.*s\"; there are: %s", what, (int)len, piece,
                 rank_names(draft, known, sizeof known));
        if (fdit_tax_find_rank(tax, piece, len) >= 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: rank \"%.*s\" is picked twice", what, (int)len, piece);
        TRY(copy_rank(ctx, draft, r, tax));
    }
    TRY(finish(ctx, tax, what));
    *out = tax;
    return FDIT_OK;
out:
    fdit_taxonomy_free(tax);
    return status;
}

enum fdit_status fdit_taxonomy_pick(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *ranks,
                                    struct fdit_taxonomy **out)
{
    return fdit_tax_pick(ctx, tax, "taxonomy", ranks, out);
}

/* ------------------------------------------------------------------ other ways to make one */

/* level1 of "a/b/c" is "a/b", level2 is "a": each rank cuts one part more. */
static enum fdit_status put_parents(fdit_context *ctx, struct fdit_taxonomy *draft, size_t id)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_names_get(&draft->classes, id);
    size_t len = fdit_names_length(&draft->classes, id);
    for (int32_t r = 0; r < draft->n_ranks; r++) {
        while (len > 0 && path[len - 1] != '/')
            len--;
        if (!len)
            break;
        len--;
        TRY(fdit_tax_put(ctx, draft, "data", r, id, path, len));
    }
out:
    return status;
}

enum fdit_status fdit_taxonomy_from_folders(fdit_context *ctx, const char *const *paths, size_t n,
                                            const char *ranks, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *draft = NULL;
    size_t depth = 0;
    *out = NULL;
    TRY(fdit_tax_new(ctx, &draft));
    draft->strict = true;
    for (size_t i = 0; i < n; i++) {
        size_t slashes = 0;
        for (const char *c = paths[i]; *c; c++)
            slashes += *c == '/';
        depth = slashes > depth ? slashes : depth;
    }
    if (depth > 100)
        FAIL(ctx, FDIT_ERROR_FORMAT, "data: folders %zu deep; at most 100", depth);
    for (size_t r = 0; r < depth; r++) {
        char name[32];
        int len = snprintf(name, sizeof name, "level%zu", r + 1);
        TRY(fdit_tax_add_rank(ctx, draft, "data", name, (size_t)len));
    }
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_tax_add_class(ctx, draft, "data", paths[i], strlen(paths[i])));
        TRY(put_parents(ctx, draft, i));
    }
    TRY(fdit_tax_warn_case(ctx, draft, "data"));
    for (int32_t r = 0; r < draft->n_ranks; r++)
        TRY(fdit_tax_sort(ctx, draft, r));
    TRY(fdit_tax_pick(ctx, draft, "data", ranks, out));
out:
    fdit_taxonomy_free(draft);
    return status;
}

enum fdit_status fdit_taxonomy_from_count(fdit_context *ctx, size_t n, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *tax = NULL;
    *out = NULL;
    TRY(fdit_tax_new(ctx, &tax));
    for (size_t i = 0; i < n; i++) {
        char name[32];
        int len = snprintf(name, sizeof name, "%zu", i);
        TRY(fdit_tax_add_class(ctx, tax, "data", name, (size_t)len));
    }
    TRY(finish(ctx, tax, "data"));
    *out = tax;
    return FDIT_OK;
out:
    fdit_taxonomy_free(tax);
    return status;
}

enum fdit_status fdit_taxonomy_restrict(fdit_context *ctx, const struct fdit_taxonomy *tax,
                                        const int32_t *ids, size_t n, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *t = NULL;
    size_t folder;
    *out = NULL;
    TRY(fdit_tax_new(ctx, &t));
    t->paths = tax->paths;
    for (int32_t r = 0; r < tax->n_ranks; r++)
        TRY(fdit_tax_add_rank(ctx, t, "taxonomy", tax->ranks[r].name, strlen(tax->ranks[r].name)));
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tax->classes.n)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "class %d is outside of 0 .. %zu", ids[i], tax->classes.n - 1);
        size_t id = (size_t)ids[i];
        TRY(fdit_tax_add_class(ctx, t, "taxonomy", fdit_names_get(&tax->classes, id),
                               fdit_names_length(&tax->classes, id)));
        if (tax->folders.n)
            TRY(fdit_names_add(ctx, &t->folders, fdit_names_get(&tax->folders, id),
                               fdit_names_length(&tax->folders, id), &folder, NULL));
    }
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        const struct fdit_tax_rank *from = &tax->ranks[r];
        struct fdit_tax_rank *to = &t->ranks[r];
        int32_t *place = NULL; /* by group of `from`: 1 = wanted */
        TRY(fdit_alloc(ctx, from->groups.n, sizeof *place, &place));
        for (size_t i = 0; i < n; i++)
            place[from->of[ids[i]]] = 1;
        for (size_t g = 0; g < from->groups.n && status == FDIT_OK; g++) {
            size_t id = 0;
            if (place[g])
                status = fdit_names_add(ctx, &to->groups, fdit_names_get(&from->groups, g),
                                        fdit_names_length(&from->groups, g), &id, NULL);
            place[g] = (int32_t)id;
        }
        for (size_t i = 0; i < n; i++)
            to->of[i] = place[from->of[ids[i]]];
        fdit_free(place);
        TRY(status);
    }
    TRY(finish(ctx, t, "taxonomy"));
    *out = t;
    return FDIT_OK;
out:
    fdit_taxonomy_free(t);
    return status;
}

/* ------------------------------------------------------------------ reading */

int32_t fdit_taxonomy_n_classes(const struct fdit_taxonomy *tax)
{
    return (int32_t)tax->classes.n;
}

int32_t fdit_taxonomy_n_ranks(const struct fdit_taxonomy *tax)
{
    return tax->n_ranks;
}

int32_t fdit_taxonomy_n_groups(const struct fdit_taxonomy *tax, int32_t rank)
{
    return (int32_t)tax->ranks[rank].groups.n;
}

int32_t fdit_taxonomy_n_rows(const struct fdit_taxonomy *tax)
{
    if (!tax->n_ranks)
        return (int32_t)tax->classes.n;
    const struct fdit_tax_rank *last = &tax->ranks[tax->n_ranks - 1];
    return last->first_row + (int32_t)last->groups.n;
}

const char *fdit_taxonomy_class_name(const struct fdit_taxonomy *tax, int32_t id)
{
    return fdit_names_get(&tax->classes, (size_t)id);
}

const char *fdit_taxonomy_rank_name(const struct fdit_taxonomy *tax, int32_t rank)
{
    return tax->ranks[rank].name;
}

const char *fdit_taxonomy_group_name(const struct fdit_taxonomy *tax, int32_t rank, int32_t group)
{
    return fdit_names_get(&tax->ranks[rank].groups, (size_t)group);
}

int32_t fdit_taxonomy_group(const struct fdit_taxonomy *tax, int32_t rank, int32_t id)
{
    return tax->ranks[rank].of[id];
}

int32_t fdit_taxonomy_group_row(const struct fdit_taxonomy *tax, int32_t rank, int32_t group)
{
    return tax->ranks[rank].first_row + group;
}

int32_t fdit_taxonomy_superclass_row(const struct fdit_taxonomy *tax, int32_t rank, int32_t id)
{
    return tax->ranks[rank].first_row + tax->ranks[rank].of[id];
}

int32_t fdit_taxonomy_find_class(const struct fdit_taxonomy *tax, const char *name)
{
    size_t len = strlen(name), id = fdit_names_find(&tax->classes, name, len);
    if (id == FDIT_NAMES_NONE)
        id = fdit_names_find(&tax->folders, name, len);
    if (id == FDIT_NAMES_NONE)
        id = fdit_spellings_find(&tax->class_spellings, &tax->classes, name, len);
    if (id == FDIT_NAMES_NONE)
        id = fdit_spellings_find(&tax->folder_spellings, &tax->folders, name, len);
    return id == FDIT_NAMES_NONE ? -1 : (int32_t)id;
}

const char *fdit_taxonomy_header(const struct fdit_taxonomy *tax)
{
    return tax->header;
}

int32_t fdit_taxonomy_find_rank(const struct fdit_taxonomy *tax, const char *name)
{
    return fdit_tax_find_rank(tax, name, strlen(name));
}

enum fdit_status fdit_taxonomy_rank_list(fdit_context *ctx, const struct fdit_taxonomy *tax, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer = NULL;
    int32_t n = fdit_taxonomy_n_ranks(tax);
    TRY(fdit_strdup(ctx, n ? fdit_taxonomy_rank_name(tax, 0) : "none", &text));
    for (int32_t r = 1; r < n; r++) {
        TRY(fdit_strf(ctx, &longer, "%s,%s", text, fdit_taxonomy_rank_name(tax, r)));
        fdit_free(text);
        text = longer;
        longer = NULL;
    }
    *out = text;
    text = NULL;
out:
    fdit_free(text);
    return status;
}

int32_t fdit_taxonomy_find_group(const struct fdit_taxonomy *tax, int32_t rank, const char *name)
{
    size_t id =
        fdit_spellings_find(&tax->ranks[rank].spellings, &tax->ranks[rank].groups, name, strlen(name));
    return id == FDIT_NAMES_NONE ? -1 : (int32_t)id;
}

/* ------------------------------------------------------------------ comparing */

bool fdit_taxonomy_equal(const struct fdit_taxonomy *a, const struct fdit_taxonomy *b)
{
    return fdit_taxonomy_compare(NULL, a, "", b, "") == FDIT_OK;
}

static enum fdit_status compare_names(fdit_context *ctx, const struct fdit_names *a, const char *name_a,
                                      const struct fdit_names *b, const char *name_b, const char *kind)
{
    if (a->n != b->n)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s and %s differ: %zu and %zu names of %s", name_a, name_b,
                         a->n, b->n, kind);
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(fdit_names_get(a, i), fdit_names_get(b, i)))
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s and %s differ: number %zu of %s is \"%s\" and \"%s\"", name_a, name_b, i,
                             kind, fdit_names_get(a, i), fdit_names_get(b, i));
    return FDIT_OK;
}

enum fdit_status fdit_taxonomy_compare(fdit_context *ctx, const struct fdit_taxonomy *a, const char *name_a,
                                       const struct fdit_taxonomy *b, const char *name_b)
{
    enum fdit_status status = FDIT_OK;
    char ranks_a[200], ranks_b[200];
    TRY(compare_names(ctx, &a->classes, name_a, &b->classes, name_b, "the classes"));
    bool same = a->n_ranks == b->n_ranks;
    for (int32_t r = 0; same && r < a->n_ranks; r++)
        same = !strcmp(a->ranks[r].name, b->ranks[r].name);
    if (!same)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s differ: ranks %s and %s", name_a, name_b,
             rank_names(a, ranks_a, sizeof ranks_a), rank_names(b, ranks_b, sizeof ranks_b));
    for (int32_t r = 0; r < a->n_ranks; r++) {
        const struct fdit_tax_rank *ra = &a->ranks[r], *rb = &b->ranks[r];
        TRY(compare_names(ctx, &ra->groups, name_a, &rb->groups, name_b, ra->name));
        for (size_t c = 0; c < a->classes.n; c++)
            if (ra->of[c] != rb->of[c])
                FAIL(ctx, FDIT_ERROR_FORMAT, "%s and %s differ: the %s of class \"%s\" is \"%s\" and \"%s\"",
                     name_a, name_b, ra->name, fdit_names_get(&a->classes, c),
                     fdit_names_get(&ra->groups, (size_t)ra->of[c]),
                     fdit_names_get(&rb->groups, (size_t)rb->of[c]));
    }
out:
    return status;
}

static bool alike(const struct fdit_names *a, size_t i, const struct fdit_names *b, size_t k)
{
    char one[FDIT_SPELLING_BYTES], other[FDIT_SPELLING_BYTES];
    size_t n = fdit_spelling(fdit_names_get(a, i), fdit_names_length(a, i), one);
    return n == fdit_spelling(fdit_names_get(b, k), fdit_names_length(b, k), other) && !memcmp(one, other, n);
}

/* The group of an unmarked rank that became the group `name`: itself, or "y" for "F/y". */
static size_t earlier_group(const struct fdit_tax_rank *rank, const char *name, size_t len)
{
    size_t id = fdit_spellings_find(&rank->spellings, &rank->groups, name, len);
    for (size_t i = 0; i < len && id == FDIT_NAMES_NONE; i++)
        if (name[i] == '/')
            id = fdit_spellings_find(&rank->spellings, &rank->groups, name + i + 1, len - i - 1);
    return id;
}

bool fdit_taxonomy_by_path(const struct fdit_taxonomy *tax)
{
    return tax->paths && tax->n_ranks;
}

bool fdit_taxonomy_earlier(const struct fdit_taxonomy *was, const struct fdit_taxonomy *is)
{
    bool same = !was->paths && is->paths && was->classes.n == is->classes.n && was->n_ranks == is->n_ranks;
    for (size_t c = 0; same && c < was->classes.n; c++)
        same = alike(&was->classes, c, &is->classes, c);
    for (int32_t r = 0; same && r < was->n_ranks; r++) {
        const struct fdit_tax_rank *a = &was->ranks[r], *b = &is->ranks[r];
        same = !strcmp(a->name, b->name);
        for (size_t c = 0; same && c < was->classes.n; c++) {
            size_t group = (size_t)b->of[c];
            size_t before =
                earlier_group(a, fdit_names_get(&b->groups, group), fdit_names_length(&b->groups, group));
            same = before != FDIT_NAMES_NONE && alike(&a->groups, before, &a->groups, (size_t)a->of[c]);
        }
    }
    return same;
}

int32_t fdit_taxonomy_match_rows(const struct fdit_taxonomy *from, const struct fdit_taxonomy *to,
                                 int32_t *rows)
{
    int32_t found = 0;
    size_t row = 0;
    bool earlier = !from->paths && to->paths;
    for (size_t c = 0; c < to->classes.n; c++, row++) {
        size_t id = fdit_spellings_find(&from->class_spellings, &from->classes,
                                        fdit_names_get(&to->classes, c), fdit_names_length(&to->classes, c));
        rows[row] = id == FDIT_NAMES_NONE ? -1 : (int32_t)id;
        found += id != FDIT_NAMES_NONE;
    }
    for (int32_t r = 0; r < to->n_ranks; r++) {
        int32_t other = fdit_taxonomy_find_rank(from, to->ranks[r].name);
        for (size_t g = 0; g < to->ranks[r].groups.n; g++, row++) {
            rows[row] = -1;
            if (other < 0)
                continue;
            const struct fdit_tax_rank *rank = &from->ranks[other];
            const char *name = fdit_names_get(&to->ranks[r].groups, g);
            size_t len = fdit_names_length(&to->ranks[r].groups, g);
            size_t id = earlier ? earlier_group(rank, name, len)
                                : fdit_spellings_find(&rank->spellings, &rank->groups, name, len);
            if (id == FDIT_NAMES_NONE)
                continue;
            rows[row] = rank->first_row + (int32_t)id;
            found++;
        }
    }
    return found;
}
