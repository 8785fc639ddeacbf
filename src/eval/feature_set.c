/* SPDX-License-Identifier: Apache-2.0
 * Feature sets from pictures. */
#include "eval/feature_set.h"

#include "core/mem.h"
#include "data/loader.h"

#include <string.h>

void fdit_feature_set_fini(struct fdit_feature_set *s)
{
    fdit_free(s->path);
    fdit_free(s->features);
    fdit_free((void *)(uintptr_t)s->points.x);
    fdit_free(s->label);
    fdit_free(s->logits);
    fdit_moments_fini(&s->moments);
    fdit_dataset_close(s->dataset); /* knows its taxonomy */
    fdit_cache_close(s->cache);
    fdit_taxonomy_free(s->own_taxonomy);
    *s = (struct fdit_feature_set){ 0 };
}

enum fdit_status fdit_feature_set_name(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                       char **out)
{
    if (s->dataset)
        return fdit_dataset_name(ctx, s->dataset, i, out);
    return fdit_strf(ctx, out, "picture %zu of %s", i, s->path);
}

enum fdit_status fdit_feature_set_relabel(fdit_context *ctx, struct fdit_feature_set *s,
                                          const struct fdit_taxonomy *taxonomy)
{
    enum fdit_status status = FDIT_OK;
    int32_t classes = fdit_taxonomy_n_classes(s->taxonomy), *id = NULL;
    TRY(fdit_alloc(ctx, (size_t)classes, sizeof *id, &id));
    for (int32_t c = 0; c < classes; c++)
        id[c] = fdit_taxonomy_find_class(taxonomy, fdit_taxonomy_class_name(s->taxonomy, c));
    for (size_t i = 0; i < s->points.n; i++) {
        if (id[s->label[i]] < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: class \"%s\" is not one of those that are compared (of --taxonomy, else of the real "
                 "pictures); compare sets of the same classes, or give --no-classes",
                 s->path, fdit_taxonomy_class_name(s->taxonomy, s->label[i]));
        s->label[i] = id[s->label[i]];
    }
    s->taxonomy = taxonomy;
out:
    fdit_free(id);
    return status;
}

/* ------------------------------------------------------------------ pictures as a network takes them */

/* What the loader reads for a network that resizes in its own way. */
struct shaped {
    const struct fdit_extractor *e;
    const struct fdit_feature_set *s;
};

struct shaping {
    const struct fdit_extractor *e;
    float *out;
};

static enum fdit_status shape(fdit_context *ctx, void *user, const struct fdit_picture *p)
{
    struct shaping *to = user;
    return fdit_input_fill(ctx, to->e->input, p, to->e->size, to->out);
}

/* Pixels of a cache lie in planes. */
static enum fdit_status shape_cached(fdit_context *ctx, const struct fdit_cache *c, size_t i,
                                     struct shaping *to)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    struct fdit_picture p = { 0 };
    const uint8_t *planes;
    size_t plane = (size_t)info->size * (size_t)info->size;
    TRY(fdit_cache_item(ctx, c, i, false, &planes));
    TRY(fdit_picture_new(ctx, info->size, info->size, 3, &p));
    for (size_t k = 0; k < plane; k++)
        for (size_t ch = 0; ch < 3; ch++)
            p.pixels[3 * k + ch] = planes[ch * plane + k];
    TRY(shape(ctx, to, &p));
out:
    fdit_picture_fini(&p);
    return status;
}

static enum fdit_status sample_shaped(fdit_context *ctx, void *self, size_t i, bool mirror, uint64_t seed,
                                      uint64_t position, void *scratch, float *out)
{
    const struct shaped *from = self;
    struct shaping to = { from->e, out };
    (void)mirror; /* none is asked for */
    (void)seed;
    (void)position;
    (void)scratch;
    if (from->s->cache)
        return shape_cached(ctx, from->s->cache, i, &to);
    return fdit_dataset_picture(ctx, from->s->dataset, i, shape, &to);
}

static int32_t label_shaped(void *self, size_t i)
{
    const struct shaped *from = self;
    return from->s->cache ? fdit_cache_label(from->s->cache, i) : fdit_dataset_label(from->s->dataset, i);
}

/* ------------------------------------------------------------------ a cache of pixels */

static enum fdit_status read_cache(fdit_context *ctx, void *self, size_t i, void *item)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache *c = self;
    const uint8_t *pixels;
    TRY(fdit_cache_item(ctx, c, i, false, &pixels));
    memcpy(item, pixels, fdit_cache_item_bytes(fdit_cache_info_of(c)));
out:
    return status;
}

static void expand_cache(void *self, const void *item, bool mirror, uint64_t seed, uint64_t position,
                         float *out)
{
    const uint8_t *v = item;
    size_t n = fdit_cache_item_bytes(fdit_cache_info_of(self));
    (void)mirror; /* none is asked for */
    (void)seed;
    (void)position;
    for (size_t k = 0; k < n; k++)
        out[k] = ((float)v[k] / 255.0f - 0.5f) / 0.5f;
}

static int32_t label_cache(void *self, size_t i)
{
    return fdit_cache_label(self, i);
}

static enum fdit_status open_cache(fdit_context *ctx, const struct fdit_extractor *e,
                                   struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_cache_open(ctx, s->path, &s->cache));
    const struct fdit_cache_info *i = fdit_cache_info_of(s->cache);
    if (i->kind != FDIT_CACHE_PIXELS)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s holds latents, which a feature network does not see; give the pictures they were made of",
             s->path);
    bool fits = e->input->resize != FDIT_INPUT_FIT || i->size == e->size;
    if (!fits || i->channels != e->channels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s holds pictures of %d x %d x %d and %s takes %d x %d x %d; give the pictures it was made of",
             s->path, i->channels, i->size, i->size, e->name, e->channels, e->size, e->size);
    TRY(fdit_taxonomy_parse(ctx, i->taxonomy, strlen(i->taxonomy), s->path, NULL, &s->own_taxonomy));
    s->taxonomy = s->own_taxonomy;
    s->points.n = i->n;
out:
    return status;
}

/* ------------------------------------------------------------------ a data set */

/* 1: grey, 3: colour, 0: its header does not say (palettes, WebP). */
static int colours_of(const struct fdit_picture_probe *p)
{
    if (p->kind.format == FDIT_PICTURE_PNG)
        return p->colour == 0 || p->colour == 4 ? 1 : p->colour == 3 ? 0 : 3;
    if (p->kind.format == FDIT_PICTURE_JPEG)
        return p->colour == 1 ? 1 : 3;
    return 0;
}

/* Looks at some pictures: a set that is all grey, or has no grey one, must be what the network takes. */
static enum fdit_status check_colours(fdit_context *ctx, const struct fdit_extractor *e,
                                      const struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    enum { LOOKED_AT = 16 };
    size_t n = s->points.n, grey = 0, colour = 0;
    for (size_t k = 0; k < LOOKED_AT && k < n; k++) {
        struct fdit_picture_probe p;
        TRY(fdit_dataset_probe(ctx, s->dataset, n <= LOOKED_AT ? k : k * (n - 1) / (LOOKED_AT - 1), &p));
        grey += colours_of(&p) == 1;
        colour += colours_of(&p) == 3;
    }
    if (e->channels == 1 ? colour && !grey : grey && !colour)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: the pictures are %s, but %s was made for %s ones; give --features judge:FILE with a "
             "classifier of such pictures",
             s->path, grey ? "grey" : "in colour", e->name, grey ? "coloured" : "grey");
out:
    return status;
}

static enum fdit_status open_dataset(fdit_context *ctx, const struct fdit_extractor *e,
                                     const struct fdit_gather_options *o, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_dataset_options options = { .taxonomy = o->taxonomy,
                                                  .ranks = o->ranks,
                                                  .size = e->size,
                                                  .channels = e->channels,
                                                  .fit = o->fit,
                                                  .rules = o->rules,
                                                  .whole = e->input->resize != FDIT_INPUT_FIT,
                                                  .allow_missing = true };
    size_t reading;
    TRY(fdit_dataset_open(ctx, s->path, &options, &s->dataset));
    s->points.n = fdit_dataset_size(s->dataset);
    s->taxonomy = fdit_dataset_taxonomy(s->dataset);
    TRY(check_colours(ctx, e, s));
    TRY(fdit_dataset_plan_reading(ctx, s->dataset, o->workers, 0, false, &reading));
out:
    return status;
}

/* ------------------------------------------------------------------ the pass over all pictures */

struct gather {
    struct fdit_pool *pool;
    struct fdit_extractor *e;
    const struct fdit_gather_options *o;
    struct fdit_feature_set *s;
    struct fdit_statistics *statistics;
    float *kept;     /* [n, d]; NULL */
    float *features; /* [batch, d], of the batch at hand */
    struct shaped shaped;
};

static enum fdit_status take_batch(fdit_context *ctx, struct gather *g, const struct fdit_batch *b, size_t at)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *s = g->s;
    size_t d = g->e->width;
    bool wanted = g->kept || g->statistics;
    float *features = g->kept ? g->kept + at * d : g->features;
    TRY(fdit_extractor_run(ctx, g->e, b->x, b->n, wanted ? features : NULL,
                           s->logits ? s->logits + at * s->logit_classes : NULL));
    if (wanted)
        TRY(fdit_points_check_finite(ctx, s->path, &(struct fdit_points){ b->n, d, features }));
    if (g->statistics)
        fdit_statistics_add(g->statistics, g->pool, features, b->n, NULL, 0);
    for (size_t i = 0; i < b->n; i++)
        s->label[at + i] = b->labels[i];
    if (g->o->on_picture)
        g->o->on_picture(g->o->user, at + b->n);
out:
    return status;
}

/* Pictures first .. end - 1, a multiple of `batch`. */
static enum fdit_status pass(fdit_context *ctx, struct gather *g, size_t first, size_t end, size_t batch)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *loader = NULL;
    struct fdit_batch b;
    uint32_t *subset = NULL;
    const struct fdit_loader_options options = { .batch = batch, .workers = g->o->workers, .in_order = true };
    if (first == end)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, end - first, sizeof *subset, &subset));
    for (size_t i = first; i < end; i++)
        subset[i - first] = (uint32_t)i;
    if (g->e->input->resize != FDIT_INPUT_FIT) {
        const struct fdit_source source = { .self = &g->shaped,
                                            .n = g->s->points.n,
                                            .item_bytes = 1,
                                            .item_size = 3 * (size_t)g->e->size * (size_t)g->e->size,
                                            .label = label_shaped,
                                            .sample = sample_shaped };
        TRY(fdit_loader_open_source(ctx, &source, subset, end - first, &options, &loader));
    } else if (g->s->dataset) {
        TRY(fdit_loader_open(ctx, g->s->dataset, subset, end - first, &options, &loader));
    } else {
        const struct fdit_cache_info *i = fdit_cache_info_of(g->s->cache);
        const struct fdit_source source = { .self = g->s->cache,
                                            .n = i->n,
                                            .item_bytes = fdit_cache_item_bytes(i),
                                            .item_size = fdit_cache_item_bytes(i),
                                            .read = read_cache,
                                            .expand = expand_cache,
                                            .label = label_cache };
        TRY(fdit_loader_open_source(ctx, &source, subset, end - first, &options, &loader));
    }
    for (size_t at = first; at < end; at += b.n) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures of %s", at, g->s->points.n,
                 g->s->path);
        TRY(fdit_loader_next(ctx, loader, &b));
        TRY(take_batch(ctx, g, &b, at));
    }
out:
    fdit_loader_close(loader);
    fdit_free(subset);
    return status;
}

enum fdit_status fdit_feature_set_gather(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                         const char *path, const struct fdit_gather_options *o,
                                         struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    struct gather g = { pool, e, o, out, NULL, NULL, NULL, { e, out } };
    *out = (struct fdit_feature_set){ .points.d = e->width, .logit_classes = e->classes };
    TRY(fdit_strdup(ctx, path, &out->path));
    TRY(fdit_strdup(ctx, e->name, &out->features));
    TRY(fdit_cache_is(path) ? open_cache(ctx, e, out) : open_dataset(ctx, e, o, out));
    size_t n = out->points.n, batch = (size_t)e->batch;
    TRY(fdit_alloc(ctx, n, sizeof *out->label, &out->label));
    TRY(fdit_alloc(ctx, batch, e->width * sizeof(float), &g.features));
    if (o->features)
        TRY(fdit_alloc(ctx, n, e->width * sizeof(float), &g.kept));
    out->points.x = g.kept;
    if (o->logits && e->classes)
        TRY(fdit_alloc(ctx, n, e->classes * sizeof(float), &out->logits));
    if (o->moments)
        TRY(fdit_statistics_new(ctx, e->width, &g.statistics));
    if (o->on_begin)
        o->on_begin(o->user, path, n);
    TRY(pass(ctx, &g, 0, n - n % batch, batch));
    TRY(pass(ctx, &g, n - n % batch, n, n % batch));
    if (o->moments && n > 1)
        TRY(fdit_statistics_moments(ctx, g.statistics, &out->moments));
out:
    fdit_statistics_free(g.statistics);
    fdit_free(g.features);
    if (status != FDIT_OK)
        fdit_feature_set_fini(out);
    return status;
}
