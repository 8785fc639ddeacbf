/* SPDX-License-Identifier: Apache-2.0
 * Ranks that lie within each other: one word under two groups of a coarser rank is two groups. */
#include "core/mem.h"
#include "data/taxonomy_build.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { most_compared_ranks = 8 };

enum fdit_status fdit_tax_nesting_new(fdit_context *ctx, const struct fdit_taxonomy *draft,
                                      struct fdit_tax_nesting *out)
{
    size_t n = (size_t)draft->n_ranks;
    *out = (struct fdit_tax_nesting){ 0 };
    return fdit_alloc(ctx, n * n, sizeof *out->coarser, &out->coarser);
}

void fdit_tax_nesting_fini(struct fdit_tax_nesting *n)
{
    fdit_free(n->coarser);
    *n = (struct fdit_tax_nesting){ 0 };
}

/* From fine to coarse, in English and in the Latin of lists of species. iNaturalist's supercategory
 * mixes kingdoms, phyla and classes: it is coarser than an order, and never lies within anything.
 */
static int level_of(const char *rank)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {
        { "form", 1 },         { "forma", 1 },       { "variety", 2 },     { "varietas", 2 },
        { "subspecies", 3 },   { "species", 4 },     { "section", 6 },     { "subgenus", 7 },
        { "genus", 8 },        { "subtribe", 9 },    { "tribe", 10 },      { "tribus", 10 },
        { "subfamily", 11 },   { "subfamilia", 11 }, { "family", 12 },     { "familia", 12 },
        { "superfamily", 13 }, { "infraorder", 14 }, { "suborder", 15 },   { "order", 16 },
        { "ordo", 16 },        { "superorder", 17 }, { "infraclass", 18 }, { "subclass", 19 },
        { "class", 20 },       { "classis", 20 },    { "superclass", 21 }, { "subphylum", 22 },
        { "phylum", 23 },      { "division", 23 },   { "divisio", 23 },    { "superphylum", 24 },
        { "subkingdom", 25 },  { "kingdom", 26 },    { "regnum", 26 },     { "superkingdom", 27 },
        { "domain", 27 },
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (!strcasecmp(rank, levels[i].name))
            return levels[i].level;
    return 0;
}

void fdit_tax_nesting_biology(const struct fdit_taxonomy *draft, struct fdit_tax_nesting *n)
{
    const int order = 16;
    int levels[FDIT_TAX_MOST_RANKS];
    size_t ranks = (size_t)draft->n_ranks;
    for (size_t r = 0; r < ranks; r++)
        levels[r] = level_of(draft->ranks[r].name);
    for (size_t r = 0; r < ranks; r++)
        for (size_t s = 0; s < ranks; s++)
            n->coarser[r * ranks + s] =
                levels[r] && (levels[s] > levels[r] ||
                              (levels[r] <= order && !strcasecmp(draft->ranks[s].name, "supercategory")));
}

/* ------------------------------------------------------------------ splitting */

struct split {
    fdit_context *ctx;
    struct fdit_taxonomy *draft;
    const char *what;
    int32_t above[FDIT_TAX_MOST_RANKS]; /* coarser ranks, the nearest first */
    int32_t n_above;
    bool *usable;            /* [groups][above]: all classes of the group have that rank */
    struct fdit_names paths; /* "group:a:b:...": a group and what is above it */
    int32_t *path_of;        /* [classes] or -1 */
    int32_t *group_of;       /* [paths] */
    int32_t *class_of;       /* [paths] one of its classes */
    int32_t *variants;       /* [groups] paths of it */
};

/* The coarser ranks of r, those that have most above them themselves first. */
static void find_above(struct split *s, const struct fdit_tax_nesting *n, int32_t r)
{
    size_t ranks = (size_t)s->draft->n_ranks;
    int depth[FDIT_TAX_MOST_RANKS] = { 0 };
    s->n_above = 0;
    for (size_t a = 0; a < ranks; a++)
        for (size_t b = 0; b < ranks; b++)
            depth[a] += n->coarser[a * ranks + b];
    for (size_t a = 0; a < ranks; a++) {
        if (!n->coarser[(size_t)r * ranks + a])
            continue;
        int32_t i = s->n_above++;
        for (; i > 0 && depth[s->above[i - 1]] < depth[a]; i--)
            s->above[i] = s->above[i - 1];
        s->above[i] = (int32_t)a;
    }
}

static enum fdit_status find_paths(struct split *s, const struct fdit_tax_rank *rank)
{
    enum fdit_status status = FDIT_OK;
    size_t classes = s->draft->classes.n, n = (size_t)s->n_above, bytes;
    char *text = NULL;
    TRY(fdit_alloc(s->ctx, n + 1, 12, &text));
    if (!fdit_mul(rank->groups.n, n, &bytes))
        FAIL(s->ctx, FDIT_ERROR_MEMORY, "%s: too many groups", s->what);
    TRY(fdit_alloc(s->ctx, bytes, sizeof *s->usable, &s->usable));
    TRY(fdit_alloc(s->ctx, classes, sizeof *s->path_of, &s->path_of));
    TRY(fdit_alloc(s->ctx, classes, sizeof *s->group_of, &s->group_of));
    TRY(fdit_alloc(s->ctx, classes, sizeof *s->class_of, &s->class_of));
    TRY(fdit_alloc(s->ctx, rank->groups.n, sizeof *s->variants, &s->variants));
    memset(s->usable, 1, bytes);
    for (size_t c = 0; c < classes; c++)
        for (size_t a = 0; rank->of[c] >= 0 && a < n; a++)
            if (s->draft->ranks[s->above[a]].of[c] < 0)
                s->usable[(size_t)rank->of[c] * n + a] = false;
    for (size_t c = 0; c < classes; c++) {
        int32_t g = rank->of[c];
        size_t id;
        bool added;
        s->path_of[c] = -1;
        if (g < 0)
            continue;
        int used = sprintf(text, "%d", g);
        for (size_t a = 0; a < n; a++)
            if (s->usable[(size_t)g * n + a])
                used += sprintf(text + used, ":%d", s->draft->ranks[s->above[a]].of[c]);
        TRY(fdit_names_add(s->ctx, &s->paths, text, (size_t)used, &id, &added));
        s->path_of[c] = (int32_t)id;
        if (added) {
            s->group_of[id] = g;
            s->class_of[id] = (int32_t)c;
            s->variants[g]++;
        }
    }
out:
    fdit_free(text);
    return status;
}

static const char *above_name(const struct split *s, size_t path, int32_t a)
{
    const struct fdit_tax_rank *rank = &s->draft->ranks[s->above[a]];
    return fdit_names_get(&rank->groups, (size_t)rank->of[s->class_of[path]]);
}

/* The name of a path of a group that has several: with the nearest coarser group that is known, and
 * with all of them when `whole`. */
static enum fdit_status path_name(const struct split *s, const struct fdit_tax_rank *rank, size_t path,
                                  bool whole, char **out)
{
    enum fdit_status status = FDIT_OK;
    int32_t g = s->group_of[path];
    char *name = NULL, *longer = NULL;
    TRY(fdit_strdup(s->ctx, fdit_names_get(&rank->groups, (size_t)g), &name));
    for (int32_t a = 0; a < s->n_above; a++) {
        if (!s->usable[(size_t)g * (size_t)s->n_above + (size_t)a])
            continue;
        TRY(fdit_strf(s->ctx, &longer, "%s/%s", above_name(s, path, a), name));
        fdit_free(name);
        name = longer;
        longer = NULL;
        if (!whole)
            break;
    }
    *out = name;
    name = NULL;
out:
    fdit_free(name);
    return status;
}

static enum fdit_status split_rank(struct split *s, struct fdit_tax_rank *rank)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names groups = { 0 };
    struct fdit_name_list split = { 0 };
    int32_t *place = NULL; /* [paths] */
    char *name = NULL;
    size_t id;
    bool added;
    TRY(fdit_alloc(s->ctx, s->paths.n, sizeof *place, &place));
    for (size_t p = 0; p < s->paths.n; p++) {
        bool several = s->variants[s->group_of[p]] > 1;
        if (several)
            TRY(path_name(s, rank, p, false, &name));
        else
            TRY(fdit_strdup(s->ctx, fdit_names_get(&rank->groups, (size_t)s->group_of[p]), &name));
        TRY(fdit_names_add(s->ctx, &groups, name, strlen(name), &id, &added));
        if (!added && several) {
            fdit_free(name);
            name = NULL;
            TRY(path_name(s, rank, p, true, &name));
            TRY(fdit_names_add(s->ctx, &groups, name, strlen(name), &id, &added));
        }
        if (!added)
            FAIL(s->ctx, FDIT_ERROR_FORMAT,
                 "%s: two groups of %s would both be called \"%.200s\"; rename one", s->what, rank->name,
                 name);
        if (several)
            fdit_name_list_add(&split, name, NULL);
        place[p] = (int32_t)id;
        fdit_free(name);
        name = NULL;
    }
    for (size_t c = 0; c < s->draft->classes.n; c++)
        rank->of[c] = s->path_of[c] < 0 ? -1 : place[s->path_of[c]];
    fdit_names_fini(&rank->groups);
    rank->groups = groups;
    groups = (struct fdit_names){ 0 };
    fdit_log(s->ctx, FDIT_LOG_INFO, "%s: equal names of %s in different groups are told apart: %s", s->what,
             rank->name, fdit_name_list_text(&split));
out:
    fdit_free(name);
    fdit_free(place);
    fdit_names_fini(&groups);
    return status;
}

static enum fdit_status split_one(fdit_context *ctx, struct fdit_taxonomy *draft, const char *what,
                                  const struct fdit_tax_nesting *n, int32_t r)
{
    enum fdit_status status = FDIT_OK;
    struct split s = { .ctx = ctx, .draft = draft, .what = what };
    struct fdit_tax_rank *rank = &draft->ranks[r];
    find_above(&s, n, r);
    if (!s.n_above)
        return FDIT_OK;
    TRY(find_paths(&s, rank));
    if (s.paths.n > rank->groups.n)
        TRY(split_rank(&s, rank));
out:
    fdit_names_fini(&s.paths);
    fdit_free(s.usable);
    fdit_free(s.path_of);
    fdit_free(s.group_of);
    fdit_free(s.class_of);
    fdit_free(s.variants);
    return status;
}

enum fdit_status fdit_tax_split_homonyms(fdit_context *ctx, struct fdit_taxonomy *draft, const char *what,
                                         const struct fdit_tax_nesting *n)
{
    enum fdit_status status = FDIT_OK;
    size_t ranks = (size_t)draft->n_ranks;
    /* The coarsest first: what lies below is told apart by their identity, not by their word. */
    for (size_t depth = 0; depth < ranks; depth++)
        for (size_t r = 0; r < ranks; r++) {
            size_t above = 0;
            for (size_t a = 0; a < ranks; a++)
                above += n->coarser[r * ranks + a];
            if (above == depth && depth)
                TRY(split_one(ctx, draft, what, n, (int32_t)r));
        }
out:
    return status;
}

/* ------------------------------------------------------------------ ranks of which nothing is said */

/* Groups of rank a that lie in one group of rank b, and the others, of which *first is one. */
static enum fdit_status count_spread(fdit_context *ctx, const struct fdit_taxonomy *draft, int32_t a,
                                     int32_t b, size_t *one, size_t *several, int32_t *first)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_tax_rank *fine = &draft->ranks[a], *coarse = &draft->ranks[b];
    int32_t *in = NULL; /* [groups of a] 0: none yet; g + 1; -1: several */
    *one = *several = 0;
    TRY(fdit_alloc(ctx, fine->groups.n, sizeof *in, &in));
    for (size_t c = 0; c < draft->classes.n; c++) {
        int32_t g = fine->of[c], above = coarse->of[c];
        if (g < 0 || above < 0 || in[g] == -1)
            continue;
        in[g] = !in[g] || in[g] == above + 1 ? above + 1 : -1;
    }
    for (size_t g = 0; g < fine->groups.n; g++) {
        if (in[g] == -1 && !(*several)++)
            *first = (int32_t)g;
        *one += in[g] > 0;
    }
out:
    fdit_free(in);
    return status;
}

enum fdit_status fdit_tax_warn_homonyms(fdit_context *ctx, const struct fdit_taxonomy *draft,
                                        const char *what, const struct fdit_tax_nesting *n)
{
    enum fdit_status status = FDIT_OK;
    size_t ranks = (size_t)draft->n_ranks, one, several;
    if (n->told || ranks > most_compared_ranks)
        return FDIT_OK;
    for (int32_t a = 0; a < draft->n_ranks; a++)
        for (int32_t b = 0; b < draft->n_ranks; b++) {
            const struct fdit_tax_rank *fine = &draft->ranks[a], *coarse = &draft->ranks[b];
            int32_t first = 0;
            if (a == b || n->coarser[(size_t)a * ranks + (size_t)b] ||
                n->coarser[(size_t)b * ranks + (size_t)a] || !strcasecmp(fine->name, "supercategory") ||
                fine->groups.n <= coarse->groups.n)
                continue;
            TRY(count_spread(ctx, draft, a, b, &one, &several, &first));
            if (!several || one < several)
                continue;
            fdit_log(ctx, FDIT_LOG_WARNING,
                     "%s: %s \"%.80s\" lies in several groups of %s%s, and stays one group; if they are "
                     "different things with one name, write the line \"#nested %s,%s\" into it, else "
                     "\"#independent\"",
                     what, fine->name, fdit_names_get(&fine->groups, (size_t)first), coarse->name,
                     several > 1 ? ", as others do" : "", fine->name, coarse->name);
        }
out:
    return status;
}

/* Those of one rank: one warning. */
static enum fdit_status warn_case_of(fdit_context *ctx, const struct fdit_tax_rank *rank, const char *what)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names forms = { 0 };
    char text[FDIT_SPELLING_BYTES];
    size_t id, twins = 0, one = 0, other = 0;
    uint32_t *first = NULL; /* [forms] group */
    TRY(fdit_alloc(ctx, rank->groups.n, sizeof *first, &first));
    for (size_t g = 0; g < rank->groups.n; g++) {
        size_t n =
            fdit_spelling_fold(fdit_names_get(&rank->groups, g), fdit_names_length(&rank->groups, g), text);
        bool added;
        TRY(fdit_names_add(ctx, &forms, text, n, &id, &added));
        if (added) {
            first[id] = (uint32_t)g;
        } else if (!twins++) {
            one = first[id];
            other = g;
        }
    }
    if (twins)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s: the groups \"%.100s\" and \"%.100s\" of %s differ in capitals only%s, and are two "
                 "groups; if they are one, write them alike",
                 what, fdit_names_get(&rank->groups, one), fdit_names_get(&rank->groups, other), rank->name,
                 twins > 1 ? ", as others do" : "");
out:
    fdit_names_fini(&forms);
    fdit_free(first);
    return status;
}

enum fdit_status fdit_tax_warn_case(fdit_context *ctx, const struct fdit_taxonomy *draft, const char *what)
{
    enum fdit_status status = FDIT_OK;
    for (int32_t r = 0; r < draft->n_ranks; r++)
        TRY(warn_case_of(ctx, &draft->ranks[r], what));
out:
    return status;
}
