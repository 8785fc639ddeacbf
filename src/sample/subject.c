/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/subject.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "format/json.h"
#include "model/delta.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char table_name[] = "y_embedder.embedding_table.weight";

/* ------------------------------------------------------------------ files */

/* The sizes a delta says it is for; all 0 when it says nothing. */
static enum fdit_status sizes_of_delta(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                       struct fdit_model_config *c)
{
    const char *meta = fdit_checkpoint_meta(delta, "model");
    *c = (struct fdit_model_config){ 0 };
    return meta ? fdit_config_from_json(ctx, fdit_checkpoint_path(delta), meta, strlen(meta), c) : FDIT_OK;
}

static enum fdit_status check_sizes(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                    const struct fdit_model_config *d, const struct fdit_checkpoint *base,
                                    const struct fdit_model_config *b)
{
    const struct {
        const char *what;
        int delta, base;
    } sizes[] = { { "width", d->width, b->width },          { "depth", d->depth, b->depth },
                  { "heads", d->heads, b->heads },          { "patch", d->patch, b->patch },
                  { "channels", d->channels, b->channels }, { "input size", d->input_size, b->input_size } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].delta && sizes[i].delta != sizes[i].base)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s is for a model of %s %d, %s has %s %d; give the base that it was made from",
                             fdit_checkpoint_path(delta), sizes[i].what, sizes[i].delta,
                             fdit_checkpoint_path(base), sizes[i].what, sizes[i].base);
    return FDIT_OK;
}

static enum fdit_status open_base(fdit_context *ctx, const struct fdit_sample_options *o,
                                  struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_checkpoint_open(ctx, o->base, o->values, &s->base));
    TRY(fdit_delta_refuse_as_base(ctx, s->base));
out:
    return status;
}

/* Sizes of the sampled model. The delta helps where the base alone leaves the heads open. */
static enum fdit_status find_sizes(fdit_context *ctx, const struct fdit_sample_options *o,
                                   struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config said = { 0 };
    char text[96];
    const char *model = o->model;
    if (s->delta)
        TRY(sizes_of_delta(ctx, s->delta, &said));
    if (!model && said.heads && !fdit_checkpoint_meta(s->base, "model")) {
        snprintf(text, sizeof text, "%d,%d,%d,%d", said.width, said.depth, said.heads, said.patch);
        int64_t width = fdit_checkpoint_dim(s->base, "x_embedder.proj.weight", 0);
        if (width == said.width && !fdit_config_usual_heads(said.width, said.depth))
            model = text;
    }
    TRY(fdit_checkpoint_config(ctx, s->base, model, &s->files.config));
    if (s->files.config.kind == FDIT_MODEL_CLASSIFIER)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base %s is a classifier; give a diffusion model", o->base);
    if (s->delta)
        TRY(check_sizes(ctx, s->delta, &said, s->base, &s->files.config));
out:
    return status;
}

/* A model of the base's sizes with the trained values of `delta` over it (NULL: the base alone). */
static enum fdit_status put_together(fdit_context *ctx, struct fdit_checkpoint *delta,
                                     struct fdit_checkpoint *base, struct fdit_weight_files *f)
{
    f->n = 0;
    if (delta)
        f->list[f->n++] = delta;
    f->list[f->n++] = base;
    int64_t rows = fdit_checkpoint_dim(f->list[0], table_name, 0);
    if (rows < 1 && delta)
        rows = fdit_checkpoint_dim(base, table_name, 0);
    if (rows < 1 || rows > INT32_MAX)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: has no class table", fdit_checkpoint_path(f->list[0]));
    f->config.rows = (int)rows;
    return FDIT_OK;
}

/* The base must be the one that the delta was made from. */
static enum fdit_status check_base(fdit_context *ctx, const struct fdit_sample_options *o,
                                   const struct fdit_subject *s, const struct fdit_checkpoint *delta,
                                   char **fingerprint)
{
    enum fdit_status status = FDIT_OK;
    const char *wanted = fdit_checkpoint_meta(delta, "base");
    if (!wanted)
        return FDIT_OK;
    if (!*fingerprint)
        TRY(fdit_checkpoint_fingerprint(ctx, s->base, &s->files.config, NULL, fingerprint));
    status = fdit_fingerprint_compare(ctx, wanted, *fingerprint, fdit_checkpoint_path(delta),
                                      fdit_checkpoint_path(s->base));
    if (status == FDIT_ERROR_FORMAT && o->force) {
        fdit_log(ctx, FDIT_LOG_WARNING, "--force: %s", fdit_context_message(ctx));
        status = FDIT_OK;
    }
out:
    return status;
}

/* ------------------------------------------------------------------ classes */

/* "genus,family" of a taxonomy; "none" without ranks. */
static enum fdit_status rank_list(fdit_context *ctx, const struct fdit_taxonomy *tax, char **out)
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

/* The taxonomy that a file carries; NULL in *out when it carries none. */
static enum fdit_status carried_taxonomy(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                         struct fdit_taxonomy **out)
{
    const char *json = cp ? fdit_checkpoint_meta(cp, "taxonomy") : NULL;
    *out = NULL;
    return json ? fdit_taxonomy_parse(ctx, json, strlen(json), fdit_checkpoint_path(cp), NULL, out) : FDIT_OK;
}

static enum fdit_status open_taxonomy(fdit_context *ctx, const struct fdit_sample_options *o,
                                      struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_checkpoint *source = s->delta ? s->delta : s->base;
    struct fdit_taxonomy *file = NULL;
    char *ranks = NULL;
    TRY(carried_taxonomy(ctx, source, &s->taxonomy));
    s->named = s->taxonomy || o->taxonomy;
    if (o->ranks && (s->taxonomy || !o->taxonomy))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--ranks %s: %s; leave it out", o->ranks,
             s->taxonomy ? "the weights carry their taxonomy, whose ranks are fixed"
                         : "there is no --taxonomy FILE to pick them from");
    if (o->taxonomy && s->taxonomy) {
        TRY(rank_list(ctx, s->taxonomy, &ranks));
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, ranks, &file));
        if (!fdit_taxonomy_earlier(s->taxonomy, file))
            TRY(fdit_taxonomy_compare(ctx, s->taxonomy, fdit_checkpoint_path(source), file, o->taxonomy));
    } else if (o->taxonomy) {
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &s->taxonomy));
    }
out:
    fdit_taxonomy_free(file);
    fdit_free(ranks);
    return status;
}

/* The table has a row for each class and group, and perhaps one for the empty label. */
static enum fdit_status check_rows(fdit_context *ctx, const struct fdit_sample_options *o,
                                   const struct fdit_subject *s)
{
    int rows = s->files.config.rows, wanted = fdit_taxonomy_n_rows(s->taxonomy);
    if (rows == wanted || rows == wanted + 1)
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_FORMAT,
        "%s: its class table has %d rows, the taxonomy %s has %d classes and %d groups; give "
        "the taxonomy and --ranks that it was trained with (where groups of one name are told apart and "
        "were one when it was trained, write the line \"#independent\" into the taxonomy)",
        fdit_checkpoint_path(s->files.list[0]), rows, o->taxonomy ? o->taxonomy : "in its metadata",
        fdit_taxonomy_n_classes(s->taxonomy), wanted - fdit_taxonomy_n_classes(s->taxonomy));
}

/* ------------------------------------------------------------------ the guide */

/* Where the labels that training dropped went. */
struct trained {
    bool known;     /* the file says so */
    bool empty;     /* to the empty row */
    int32_t *ranks; /* to these ranks' groups */
    size_t n_ranks;
    int32_t usual; /* the rank that guides unless another is named, -1: none */
};

static enum fdit_status read_trained(fdit_context *ctx, const struct fdit_subject *s, struct trained *t)
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
static void list_guides(const struct fdit_subject *s, const struct trained *t, char *text, size_t size)
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
                                      struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    char list[400];
    list_guides(s, t, list, sizeof list);
    if (!s->named)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide superclass: %s carries no taxonomy that says which class belongs where; give "
             "--taxonomy FILE, or --guide empty or none",
             fdit_checkpoint_path(s->files.list[0]));
    s->rank = t->usual;
    if (wanted || t->usual < 0)
        status = fdit_taxonomy_superclass(ctx, s->taxonomy, wanted, &s->rank);
    if (status != FDIT_OK)
        return fdit_fail_prefix(ctx, status, "--guide superclass");
    bool found = !t->known;
    for (size_t i = 0; i < t->n_ranks; i++)
        found = found || t->ranks[i] == s->rank;
    if (!found)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide superclass:%s: %s was trained without dropping labels to this rank; trained "
             "guides: %s",
             fdit_taxonomy_rank_name(s->taxonomy, s->rank), fdit_checkpoint_path(s->files.list[0]), list);
    s->guide = FDIT_GUIDE_SUPERCLASS;
    TRY(fdit_strf(ctx, &s->guide_text, "superclass:%s", fdit_taxonomy_rank_name(s->taxonomy, s->rank)));
out:
    return status;
}

static enum fdit_status guide_by_empty(fdit_context *ctx, const struct trained *t, struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    char list[400];
    list_guides(s, t, list, sizeof list);
    if (s->files.config.rows == fdit_taxonomy_n_rows(s->taxonomy) || (t->known && !t->empty))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--guide empty: %s has no row for it; trained guides: %s",
             fdit_checkpoint_path(s->files.list[0]), list);
    s->guide = FDIT_GUIDE_EMPTY;
    TRY(fdit_strdup(ctx, "empty", &s->guide_text));
out:
    return status;
}

/* Rows of the guide's table for our classes, by name. */
static enum fdit_status match_classes(fdit_context *ctx, const char *path, struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *theirs = NULL;
    int32_t *rows = NULL, n = fdit_taxonomy_n_classes(s->taxonomy);
    TRY(carried_taxonomy(ctx, s->guide_delta, &theirs));
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_rows(s->taxonomy), sizeof *rows, &rows));
    if (theirs) {
        fdit_taxonomy_match_rows(theirs, s->taxonomy, rows);
    } else {
        for (int32_t i = 0; i < n; i++)
            rows[i] = i;
    }
    for (int32_t i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= s->guide_files.config.rows)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "--guide delta:%s: it does not know the class %s; give a delta of "
                 "the same classes",
                 path, fdit_taxonomy_class_name(s->taxonomy, i));
    s->guide_rows = rows;
    rows = NULL;
out:
    fdit_taxonomy_free(theirs);
    fdit_free(rows);
    return status;
}

static enum fdit_status guide_by_model(fdit_context *ctx, const struct fdit_sample_options *o,
                                       const char *path, struct fdit_subject *s, char **fingerprint)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config said;
    s->guide_files.config = s->files.config;
    if (!path && !s->delta)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide base: without --delta the base is the sampled model itself; give a --delta or "
             "another guide");
    if (path) {
        TRY(fdit_checkpoint_open(ctx, path, o->values, &s->guide_delta));
        TRY(fdit_delta_check(ctx, s->guide_delta));
        TRY(sizes_of_delta(ctx, s->guide_delta, &said));
        TRY(check_sizes(ctx, s->guide_delta, &said, s->base, &s->files.config));
    }
    TRY(put_together(ctx, s->guide_delta, s->base, &s->guide_files));
    s->guide = path ? FDIT_GUIDE_DELTA : FDIT_GUIDE_BASE;
    if (path) {
        TRY(check_base(ctx, o, s, s->guide_delta, fingerprint));
        TRY(match_classes(ctx, path, s));
    }
    TRY(fdit_strdup(ctx, path ? "delta" : "base", &s->guide_text));
out:
    return status;
}

/* Without --guide: what training prepared. */
static enum fdit_status usual_guide(fdit_context *ctx, const struct fdit_sample_options *o,
                                    const struct trained *t, struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    bool spare = s->files.config.rows == fdit_taxonomy_n_rows(s->taxonomy) + 1;
    if (t->n_ranks || (!t->known && s->named && !spare && fdit_taxonomy_n_ranks(s->taxonomy)))
        return guide_by_rank(ctx, NULL, t, s);
    if (t->empty || (!t->known && s->named && spare))
        return guide_by_empty(ctx, t, s);
    if (!t->known && o->guidance.w != 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s does not say what can guide; give --taxonomy FILE with the superclasses, --guide "
             "empty "
             "(the last row of its table stands for no class), or --guide none",
             fdit_checkpoint_path(s->files.list[0]));
    if (o->guidance.w != 1)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "%s was trained without label drops and has no guide of its own: sampling without "
                 "guidance",
                 fdit_checkpoint_path(s->files.list[0]));
    TRY(fdit_strdup(ctx, "none", &s->guide_text));
out:
    return status;
}

static enum fdit_status choose_guide(fdit_context *ctx, const struct fdit_sample_options *o,
                                     struct fdit_subject *s, char **fingerprint)
{
    enum fdit_status status = FDIT_OK;
    static const char superclass[] = "superclass:", delta[] = "delta:";
    const char *g = o->guide;
    struct trained t = { 0 };
    TRY(read_trained(ctx, s, &t));
    if (!g) {
        TRY(usual_guide(ctx, o, &t, s));
    } else if (!strcmp(g, "superclass")) {
        TRY(guide_by_rank(ctx, NULL, &t, s));
    } else if (!strncmp(g, superclass, strlen(superclass))) {
        TRY(guide_by_rank(ctx, g + strlen(superclass), &t, s));
    } else if (!strcmp(g, "empty")) {
        TRY(guide_by_empty(ctx, &t, s));
    } else if (!strcmp(g, "base")) {
        TRY(guide_by_model(ctx, o, NULL, s, fingerprint));
    } else if (!strncmp(g, delta, strlen(delta))) {
        TRY(guide_by_model(ctx, o, g + strlen(delta), s, fingerprint));
    } else if (!strcmp(g, "random")) {
        if (fdit_taxonomy_n_classes(s->taxonomy) < 2)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--guide random: there is no other class; use --guide none");
        s->guide = FDIT_GUIDE_RANDOM;
        TRY(fdit_strdup(ctx, g, &s->guide_text));
    } else if (!strcmp(g, "none")) {
        TRY(fdit_strdup(ctx, g, &s->guide_text));
    } else {
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--guide %s is not known; use superclass, superclass:RANK, empty, random, base, "
             "delta:FILE or none",
             g);
    }
out:
    fdit_free(t.ranks);
    return status;
}

/* ------------------------------------------------------------------ all together */

enum fdit_status fdit_subject_open(fdit_context *ctx, const struct fdit_sample_options *o,
                                   struct fdit_subject *s)
{
    enum fdit_status status = FDIT_OK;
    char *fingerprint = NULL;
    *s = (struct fdit_subject){ .rank = -1 };
    TRY(open_base(ctx, o, s));
    if (o->delta) {
        TRY(fdit_checkpoint_open(ctx, o->delta, o->values, &s->delta));
        TRY(fdit_delta_check(ctx, s->delta));
        TRY(fdit_delta_match(ctx, s->delta, s->base));
    }
    if (o->values_asked)
        TRY(fdit_checkpoint_check_kind(ctx, s->delta ? s->delta : s->base, o->values));
    TRY(find_sizes(ctx, o, s));
    TRY(put_together(ctx, s->delta, s->base, &s->files));
    TRY(open_taxonomy(ctx, o, s));
    if (!s->named) { /* classes are numbers; the empty row is none of them */
        bool empty = o->guide && !strcmp(o->guide, "empty");
        TRY(fdit_taxonomy_from_count(ctx, (size_t)s->files.config.rows - (empty ? 1 : 0), &s->taxonomy));
    }
    TRY(check_rows(ctx, o, s));
    if (s->delta)
        TRY(check_base(ctx, o, s, s->delta, &fingerprint));
    TRY(choose_guide(ctx, o, s, &fingerprint));
out:
    fdit_free(fingerprint);
    if (status != FDIT_OK)
        fdit_subject_close(s);
    return status;
}

void fdit_subject_close(struct fdit_subject *s)
{
    fdit_checkpoint_close(s->base);
    fdit_checkpoint_close(s->delta);
    fdit_checkpoint_close(s->guide_delta);
    fdit_taxonomy_free(s->taxonomy);
    fdit_free(s->guide_rows);
    fdit_free(s->guide_text);
    *s = (struct fdit_subject){ 0 };
}

struct fdit_picture_spec fdit_subject_picture(const struct fdit_subject *s, int32_t id, uint64_t seed)
{
    struct fdit_picture_spec p = { .seed = seed, .class_id = id, .row = id, .guide_row = id };
    switch (s->guide) {
    case FDIT_GUIDE_NONE: break;
    case FDIT_GUIDE_SUPERCLASS: p.guide_row = fdit_taxonomy_superclass_row(s->taxonomy, s->rank, id); break;
    case FDIT_GUIDE_EMPTY: p.guide_row = s->files.config.rows - 1; break;
    case FDIT_GUIDE_RANDOM: {
        struct fdit_rng rng = { .seed = seed, .id = (uint32_t)id, .domain = FDIT_RNG_GUIDE };
        int32_t others = fdit_taxonomy_n_classes(s->taxonomy) - 1;
        int32_t drawn = (int32_t)fdit_rng_below(&rng, 0, (uint32_t)others);
        p.guide_row = drawn < id ? drawn : drawn + 1;
        break;
    }
    case FDIT_GUIDE_BASE: p.guide_row = s->guide_files.config.rows - 1; break;
    case FDIT_GUIDE_DELTA: p.guide_row = s->guide_rows[id]; break;
    }
    return p;
}

/* Four lanes, so that it runs at the speed of memory; the words are the floats' bits. */
static uint64_t hash_floats(uint64_t hash, const float *x, size_t n)
{
    uint64_t lane[4] = { hash, hash + 1, hash + 2, hash + 3 };
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        uint64_t h = (lane[i % 4] ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        lane[i % 4] = h ^ (h >> 32);
    }
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ lane[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return hash;
}

enum fdit_status fdit_weight_files_hash(fdit_context *ctx, const struct fdit_weight_files *files,
                                        uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { 0 };
    float *data = NULL;
    uint64_t hash = 0;
    TRY(fdit_params_init(ctx, &files->config, NULL, &params));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        int from = 0;
        while (from < files->n && !fdit_checkpoint_has(files->list[from], p->name))
            from++;
        hash++;
        if (from == files->n) /* a stock DiT's norms; fdit_model_load refuses anything else */
            continue;
        fdit_free(data);
        TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
        TRY(fdit_checkpoint_read(ctx, files->list[from], p, data));
        hash = hash_floats(hash, data, p->count);
    }
    *out = hash;
out:
    fdit_free(data);
    fdit_params_fini(&params);
    return status;
}
