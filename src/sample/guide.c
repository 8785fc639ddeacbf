/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/guide.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "format/json.h"
#include "model/delta.h"
#include "model/ema_length.h"
#include "sample/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum fdit_status fdit_guide_taxonomy(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                     struct fdit_taxonomy **out)
{
    const char *json = cp ? fdit_checkpoint_meta(cp, "taxonomy") : NULL;
    *out = NULL;
    return json ? fdit_taxonomy_parse(ctx, json, strlen(json), fdit_checkpoint_path(cp), NULL, out) : FDIT_OK;
}

/* Where the labels that training dropped went. */
struct trained {
    bool known;     /* the file says so */
    bool empty;     /* to the empty row */
    int32_t *ranks; /* to these ranks' groups */
    size_t n_ranks;
    double learnt; /* guidance that one pass draws; 0: none */
    double from;   /* the network is told its scale, from here to `learnt`; 0: it is not */
    int32_t usual; /* the rank that guides unless another is named, -1: none */
};

static enum fdit_status read_trained(fdit_context *ctx, const struct fdit_sample_source *s, struct trained *t)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_checkpoint *cp = s->delta ? s->delta : s->base;
    const char *text = fdit_checkpoint_meta(cp, "train"), *guide = fdit_checkpoint_meta(cp, "guide");
    json_t *root = NULL;
    *t = (struct trained){ .usual = -1 };
    if (!text || !s->named)
        return FDIT_OK;
    TRY(fdit_json_parse(ctx, fdit_checkpoint_path(cp), text, strlen(text), 16, &root));
    const char *drop = json_string_value(json_object_get(root, "label-drop"));
    const char *list = json_string_value(json_object_get(root, "superclass-train"));
    const char *one = json_string_value(json_object_get(root, "superclass"));
    const json_t *share = json_object_get(root, "drop-prob");
    t->known = drop != NULL;
    t->learnt = json_number_value(json_object_get(root, "learn-guidance"));
    t->from = json_number_value(json_object_get(root, "learn-from"));
    if (!t->known || (json_is_number(share) && !(json_number_value(share) > 0)))
        goto out;
    t->empty = !strcmp(drop, "empty");
    if (t->empty)
        goto out;
    if (list) {
        TRY(fdit_taxonomy_ranks(ctx, s->taxonomy, list, &t->ranks, &t->n_ranks));
    } else {
        TRY(fdit_alloc(ctx, 1, sizeof *t->ranks, &t->ranks));
        TRY(fdit_taxonomy_superclass(ctx, s->taxonomy, one, &t->ranks[0]));
        t->n_ranks = 1;
    }
    t->usual = guide ? fdit_taxonomy_find_rank(s->taxonomy, guide) : -1;
    if (t->usual < 0)
        t->usual = t->ranks[0];
out:
    if (status != FDIT_OK)
        fdit_fail_prefix(ctx, status, fdit_checkpoint_path(cp));
    json_decref(root);
    return status;
}

/* What --guide can be, for messages: "superclass:genus, superclass:family, random or none". */
static void list_guides(const struct fdit_sample_source *s, const struct trained *t, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < t->n_ranks && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "superclass:%.60s, ",
                                 fdit_taxonomy_rank_name(s->taxonomy, t->ranks[i]));
    if (t->empty && used < size)
        used += (size_t)snprintf(text + used, size - used, "empty, ");
    if (used < size)
        snprintf(text + used, size - used, "random or none");
}

static enum fdit_status guide_by_rank(fdit_context *ctx, const char *wanted, const struct trained *t,
                                      const struct fdit_sample_source *s, struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    char list[400];
    list_guides(s, t, list, sizeof list);
    if (!s->named)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide superclass: %s carries no taxonomy that says which class belongs where; give "
             "--taxonomy FILE, or --guide empty or none",
             fdit_checkpoint_path(s->files.list[0]));
    g->rank = t->usual;
    if (wanted || t->usual < 0)
        status = fdit_taxonomy_superclass(ctx, s->taxonomy, wanted, &g->rank);
    if (status != FDIT_OK)
        return fdit_fail_prefix(ctx, status, "--guide superclass");
    bool found = !t->known;
    for (size_t i = 0; i < t->n_ranks; i++)
        found = found || t->ranks[i] == g->rank;
    if (!found)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide superclass:%s: %s was trained without dropping labels to this rank; trained guides: %s",
             fdit_taxonomy_rank_name(s->taxonomy, g->rank), fdit_checkpoint_path(s->files.list[0]), list);
    g->kind = FDIT_GUIDE_SUPERCLASS;
    TRY(fdit_strf(ctx, &g->text, "superclass:%s", fdit_taxonomy_rank_name(s->taxonomy, g->rank)));
out:
    return status;
}

static enum fdit_status guide_by_empty(fdit_context *ctx, const struct trained *t,
                                       const struct fdit_sample_source *s, struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    char list[400];
    list_guides(s, t, list, sizeof list);
    if (s->files.config.table_rows == fdit_taxonomy_n_rows(s->taxonomy) || (t->known && !t->empty))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--guide empty: %s has no row for it; trained guides: %s",
             fdit_checkpoint_path(s->files.list[0]), list);
    g->kind = FDIT_GUIDE_EMPTY;
    g->empty_row = s->files.config.table_rows - 1;
    TRY(fdit_strdup(ctx, "empty", &g->text));
out:
    return status;
}

/* Rows of the guide's table for our classes, by name. */
static enum fdit_status match_classes(fdit_context *ctx, const char *path, const struct fdit_sample_source *s,
                                      struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *theirs = NULL;
    int32_t *rows = NULL, n = fdit_taxonomy_n_classes(s->taxonomy);
    TRY(fdit_guide_taxonomy(ctx, g->delta, &theirs));
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_rows(s->taxonomy), sizeof *rows, &rows));
    if (theirs) {
        fdit_taxonomy_match_rows(theirs, s->taxonomy, rows);
    } else {
        for (int32_t i = 0; i < n; i++)
            rows[i] = i;
    }
    for (int32_t i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= g->files.config.table_rows)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "--guide delta:%s: it does not know the class %s; give a delta of "
                 "the same classes",
                 path, fdit_taxonomy_class_name(s->taxonomy, i));
    g->rows = rows;
    rows = NULL;
out:
    fdit_taxonomy_free(theirs);
    fdit_free(rows);
    return status;
}

struct names {
    char **list;
    size_t n, capacity;
};

static enum fdit_status add_name(fdit_context *ctx, void *user, const char *name, int64_t step, int profile)
{
    enum fdit_status status = FDIT_OK;
    struct names *n = user;
    (void)step;
    (void)profile;
    TRY(fdit_grow(ctx, &n->list, &n->capacity, n->n + 1, sizeof *n->list));
    TRY(fdit_strdup(ctx, name, &n->list[n->n]));
    n->n++;
out:
    return status;
}

/* By step, then by profile. */
static int in_order(const void *a, const void *b)
{
    int first, second;
    const int64_t x = fdit_ema_snapshot_step(*(char *const *)a, &first);
    const int64_t y = fdit_ema_snapshot_step(*(char *const *)b, &second);
    return x != y ? (x > y) - (x < y) : (first > second) - (first < second);
}

/* "step-2.safetensors, step-4.safetensors, ..." */
static void join_names(const struct names *n, char *text, size_t size)
{
    size_t used = 0;
    *text = 0;
    for (size_t i = 0; i < n->n; i++) {
        if (used + strlen(n->list[i]) + 8 >= size) {
            snprintf(text + used, size - used, ", ...");
            return;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", n->list[i]);
    }
}

/* A snapshot that is not there: which ones are. */
static enum fdit_status fail_gone(fdit_context *ctx, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct names names = { .list = NULL };
    char *folder = NULL, list[240];
    bool there;
    TRY(fdit_path_folder(ctx, path, &folder));
    TRY(fdit_ema_snapshot_each(ctx, folder, add_name, &names, &there));
    if (names.n)
        qsort(names.list, names.n, sizeof *names.list, in_order);
    join_names(&names, list, sizeof list);
    FAIL(ctx, FDIT_ERROR_IO, "--guide delta:%s: there is no such file; %s %s%s", path, folder,
         names.n ? "has "
         : there ? "has no snapshots"
                 : "does not exist",
         list);
out:
    for (size_t i = 0; i < names.n; i++)
        fdit_free(names.list[i]);
    fdit_free(names.list);
    fdit_free(folder);
    return status;
}

static enum fdit_status guide_by_model(fdit_context *ctx, const struct fdit_sample_options *o,
                                       const char *path, const struct fdit_sample_source *s,
                                       char **fingerprint, struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    g->files.config = s->files.config;
    if (!path && !s->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide base: without --delta the base is the sampled "
             "model itself; give a --delta or another guide");
    if (path) {
        if (!fdit_file_exists(path))
            TRY(fail_gone(ctx, path));
        TRY(fdit_checkpoint_open(ctx, path, o->values, &g->delta));
        TRY(fdit_delta_check(ctx, g->delta));
        status = fdit_weight_files_match(ctx, g->delta, s->base, &s->files.config);
        if (status != FDIT_OK)
            TRY(fdit_fail_prefix(ctx, status, "--guide delta"));
    }
    TRY(fdit_weight_files_join(ctx, g->delta, s->base, &g->files));
    g->kind = path ? FDIT_GUIDE_DELTA : FDIT_GUIDE_BASE;
    g->empty_row = g->files.config.table_rows - 1;
    if (path) {
        TRY(fdit_weight_files_check_base(ctx, g->delta, s->base, &s->files.config, o->force, fingerprint));
        TRY(match_classes(ctx, path, s, g));
    }
    TRY(fdit_strdup(ctx, path ? "delta" : "base", &g->text));
out:
    return status;
}

double fdit_guide_nearest(const struct fdit_guide *g, double w)
{
    return w == 1 ? 1 : fmin(fmax(w, g->from), g->to);
}

/* The scale that the network is told, in one pass. */
static enum fdit_status guide_by_input(fdit_context *ctx, const struct trained *t,
                                       const struct fdit_sample_source *s, struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    if (!s->files.config.guidance_input)
        FAIL(
            ctx, FDIT_ERROR_ARGUMENT,
            "--guide input: %s was trained without a guidance scale as an input ('train --learn-from'); give "
            "another guide",
            fdit_checkpoint_path(s->files.list[0]));
    g->input = true;
    g->from = t->from > 0 ? t->from : 1; /* a file that was converted may not say it */
    g->to = t->from > 0 ? t->learnt : FDIT_SAMPLE_MOST_GUIDANCE;
    TRY(fdit_strdup(ctx, "input", &g->text));
out:
    return status;
}

/* Without --guide: what training prepared. */
static enum fdit_status usual_guide(fdit_context *ctx, const struct fdit_sample_options *o,
                                    const struct trained *t, const struct fdit_sample_source *s,
                                    struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    if (s->files.config.guidance_input)
        return guide_by_input(ctx, t, s, g);
    if (t->learnt > 0) {
        if (!isnan(o->guidance.w) && o->guidance.w != 1)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--guidance %g: %s has learnt guidance of %g and draws with it in one pass (a scale is an "
                 "input "
                 "only after 'train --learn-from'); leave the option out, or name a --guide to add another "
                 "to it",
                 o->guidance.w, fdit_checkpoint_path(s->delta ? s->delta : s->base), t->learnt);
        TRY(fdit_strdup(ctx, "none", &g->text));
        return FDIT_OK;
    }
    bool spare = s->files.config.table_rows == fdit_taxonomy_n_rows(s->taxonomy) + 1;
    if (t->n_ranks || (!t->known && s->named && !spare && fdit_taxonomy_n_ranks(s->taxonomy)))
        return guide_by_rank(ctx, NULL, t, s, g);
    if (t->empty || (!t->known && s->named && spare))
        return guide_by_empty(ctx, t, s, g);
    if (!t->known && o->guidance.w != 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s does not say what can guide; give --taxonomy FILE with the superclasses, --guide empty (the "
             "last row of its table stands for no class), or --guide none",
             fdit_checkpoint_path(s->files.list[0]));
    if (o->guidance.w != 1)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s was trained without label drops and has no guide of its own: sampling without guidance",
                 fdit_checkpoint_path(s->files.list[0]));
    TRY(fdit_strdup(ctx, "none", &g->text));
out:
    return status;
}

enum fdit_status fdit_guide_choose(fdit_context *ctx, const struct fdit_sample_options *o,
                                   const struct fdit_sample_source *s, char **fingerprint,
                                   struct fdit_guide *g)
{
    enum fdit_status status = FDIT_OK;
    static const char superclass[] = "superclass:", delta[] = "delta:";
    const char *name = o->guide;
    struct trained t = { 0 };
    *g = (struct fdit_guide){ .rank = -1 };
    TRY(read_trained(ctx, s, &t));
    if (!name) {
        TRY(usual_guide(ctx, o, &t, s, g));
    } else if (!strcmp(name, "superclass")) {
        TRY(guide_by_rank(ctx, NULL, &t, s, g));
    } else if (!strncmp(name, superclass, strlen(superclass))) {
        TRY(guide_by_rank(ctx, name + strlen(superclass), &t, s, g));
    } else if (!strcmp(name, "empty")) {
        TRY(guide_by_empty(ctx, &t, s, g));
    } else if (!strcmp(name, "base")) {
        TRY(guide_by_model(ctx, o, NULL, s, fingerprint, g));
    } else if (!strncmp(name, delta, strlen(delta))) {
        TRY(guide_by_model(ctx, o, name + strlen(delta), s, fingerprint, g));
    } else if (!strcmp(name, "random")) {
        if (fdit_taxonomy_n_classes(s->taxonomy) < 2)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--guide random: there is no other class; use --guide none");
        g->kind = FDIT_GUIDE_RANDOM;
        TRY(fdit_strdup(ctx, name, &g->text));
    } else if (!strcmp(name, "input")) {
        TRY(guide_by_input(ctx, &t, s, g));
    } else if (!strcmp(name, "none")) {
        TRY(fdit_strdup(ctx, name, &g->text));
    } else {
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide %s is not known; use superclass, superclass:RANK, empty, random, base, "
             "delta:FILE, input or none",
             name);
    }
out:
    fdit_free(t.ranks);
    return status;
}

void fdit_guide_fini(struct fdit_guide *g)
{
    fdit_checkpoint_close(g->delta);
    fdit_free(g->rows);
    fdit_free(g->text);
    *g = (struct fdit_guide){ 0 };
}

struct fdit_picture_spec fdit_guide_picture(const struct fdit_guide *guide,
                                            const struct fdit_taxonomy *taxonomy, int32_t id, uint64_t seed)
{
    struct fdit_picture_spec p = { .seed = seed, .class_id = id, .row = id, .guide_row = id };
    switch (guide->kind) {
    case FDIT_GUIDE_NONE: break;
    case FDIT_GUIDE_SUPERCLASS: p.guide_row = fdit_taxonomy_superclass_row(taxonomy, guide->rank, id); break;
    case FDIT_GUIDE_RANDOM: {
        struct fdit_rng rng = { .seed = seed, .id = (uint32_t)id, .domain = FDIT_RNG_GUIDE };
        int32_t others = fdit_taxonomy_n_classes(taxonomy) - 1;
        int32_t drawn = (int32_t)fdit_rng_below(&rng, 0, (uint32_t)others);
        p.guide_row = drawn < id ? drawn : drawn + 1;
        break;
    }
    case FDIT_GUIDE_EMPTY:
    case FDIT_GUIDE_BASE: p.guide_row = guide->empty_row; break;
    case FDIT_GUIDE_DELTA: p.guide_row = guide->rows[id]; break;
    }
    return p;
}
