/* SPDX-License-Identifier: Apache-2.0
 * feature_run.c: the pass of a feature set's pictures through the networks, alone or dealt out. */
#include "eval/feature_set.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "data/identity.h"
#include "data/loader.h"
#include "picture/resize.h"

#include <string.h>

/* ------------------------------------------------------------------ pictures as a network takes them */

/* What the loader reads for a network that resizes in its own way, and for pictures that are drawn. */
struct shaped {
    const struct fdit_extractor *e;
    const struct fdit_extractor *classifier; /* NULL: none; its input stands behind the other */
    const struct fdit_feature_set *s;
    enum fdit_fit fit;
    size_t end; /* of the pictures that will be asked for */
};

static size_t input_of(const struct fdit_extractor *e)
{
    return (size_t)e->channels * (size_t)e->size * (size_t)e->size;
}

struct shaping {
    const struct fdit_extractor *e;
    float *out;
};

static enum fdit_status shape(fdit_context *ctx, void *user, const struct fdit_picture *p)
{
    struct shaping *to = user;
    return fdit_input_fill(ctx, to->e->input, p, to->e->size, to->out);
}

static enum fdit_status shape_cached(fdit_context *ctx, const struct fdit_cache *c, size_t i,
                                     struct shaping *to)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture p = { 0 };
    TRY(fdit_feature_set_cached(ctx, c, i, &p));
    TRY(shape(ctx, to, &p));
out:
    fdit_picture_fini(&p);
    return status;
}

/* As a data set does it with the file of such a picture, to the bit. */
static enum fdit_status shape_fit(fdit_context *ctx, const struct fdit_extractor *e, enum fdit_fit fit,
                                  const struct fdit_picture *p, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture square = { 0 };
    TRY(fit == FDIT_FIT_PAD ? fdit_picture_pad(ctx, p, e->size, &square)
                            : fdit_picture_crop(ctx, p, e->size, &square));
    fdit_picture_to_f32(&square, out);
out:
    fdit_picture_fini(&square);
    return status;
}

static enum fdit_status shape_drawn(fdit_context *ctx, const struct shaped *from, size_t i, float *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_drawing *d = from->s->drawing;
    const struct fdit_extractor *list[] = { from->e, from->classifier };
    struct fdit_picture p;
    TRY(d->picture(ctx, d->self, i, from->end, &p));
    for (int k = 0; k < 2 && list[k]; k++) {
        if (list[k]->input->resize == FDIT_INPUT_FIT)
            TRY(shape_fit(ctx, list[k], from->fit, &p, out));
        else
            TRY(fdit_input_fill(ctx, list[k]->input, &p, list[k]->size, out));
        out += input_of(list[k]);
    }
out:
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
    if (from->s->drawing)
        return shape_drawn(ctx, from, i, out);
    if (from->s->cache)
        return shape_cached(ctx, from->s->cache, i, &to);
    return fdit_dataset_picture(ctx, from->s->dataset, i, shape, &to);
}

static int32_t label_shaped(void *self, size_t i)
{
    return fdit_feature_set_label(((const struct shaped *)self)->s, i);
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

/* ------------------------------------------------------------------ the pass over all pictures */

struct gather {
    struct fdit_pool *pool;
    struct fdit_extractor *e;
    const struct fdit_gather_options *o;
    struct fdit_feature_set *s;
    struct fdit_statistics *statistics, *spatial; /* NULL */
    float *kept;                                  /* [n, d]; NULL */
    float *features;                              /* [batch, d], of the batch at hand */
    float *places;                                /* [batch, e->spatial], likewise; NULL */
    float *rows;                                  /* [n, e->spatial] of a piece (deal.h); NULL */
    size_t before;                                /* pictures of pieces before this one */
    float *inputs; /* with a classifier: [batch, inputs] of the first network, then of the second */
    struct shaped shaped;
    size_t taken; /* pictures so far, without bad ones */
};

/* The inputs of both networks, which the loader gives picture after picture, one network after the other. */
static enum fdit_status run_both(fdit_context *ctx, struct gather *g, const struct fdit_batch *b,
                                 float *features, float *logits)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_extractor *second = g->o->classifier;
    size_t a = input_of(g->e), c = input_of(second);
    for (size_t i = 0; i < b->n; i++) {
        memcpy(g->inputs + i * a, b->x + i * (a + c), a * sizeof(float));
        memcpy(g->inputs + b->n * a + i * c, b->x + i * (a + c) + a, c * sizeof(float));
    }
    if (features || g->places)
        TRY(fdit_extractor_run_all(ctx, g->e, g->inputs, b->n, features, NULL, g->places));
    TRY(fdit_extractor_run(ctx, second, g->inputs + b->n * a, b->n, NULL, logits));
out:
    return status;
}

/* Moves the rows of pictures that are not bad to the front. */
static void close_up(const struct fdit_batch *b, float *rows, size_t width)
{
    size_t kept = 0;
    for (size_t i = 0; rows && i < b->n; i++) {
        if (b->index[i] == FDIT_LOADER_BAD)
            continue;
        if (kept != i)
            memcpy(rows + kept * width, rows + i * width, width * sizeof *rows);
        kept++;
    }
}

/* Labels and places of the pictures of the batch that are not bad, behind those before; how many. `at`: the
 * place of its first picture in s->index. */
static size_t keep(struct gather *g, const struct fdit_batch *b, size_t at)
{
    struct fdit_feature_set *s = g->s;
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->index[i] == FDIT_LOADER_BAD)
            continue;
        s->label[g->taken + kept] = b->labels[i];
        s->index[g->taken + kept++] = s->index[at + i];
    }
    return kept;
}

/* n rows of pictures that are not bad into the sums. features, places: NULL where they are not wanted. */
static enum fdit_status add_rows(fdit_context *ctx, struct gather *g, size_t n, const float *features,
                                 const float *places)
{
    enum fdit_status status = FDIT_OK;
    const char *path = g->s->path;
    if (features)
        TRY(fdit_points_check_finite(ctx, path, &(struct fdit_points){ n, g->e->width, features }));
    if (g->statistics && n)
        fdit_statistics_add(g->statistics, g->pool, features, n, NULL, 0);
    if (places && n)
        TRY(fdit_points_check_finite(ctx, path, &(struct fdit_points){ n, g->e->spatial, places }));
    if (g->spatial && n)
        fdit_statistics_add(g->spatial, g->pool, places, n, NULL, 0);
out:
    return status;
}

/* The batch whose first picture stands at place `at` of s->index. */
static enum fdit_status take_batch(fdit_context *ctx, struct gather *g, const struct fdit_batch *b, size_t at)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *s = g->s;
    if (g->o->on_batch)
        TRY(g->o->on_batch(ctx, g->o->batch_user, b));
    size_t d = g->e->width, n = keep(g, b, at);
    bool wanted = g->kept || g->statistics;
    float *features = g->kept ? g->kept + g->taken * d : g->features;
    float *logits = s->logits ? s->logits + g->taken * s->logit_classes : NULL;
    if (g->o->classifier)
        TRY(run_both(ctx, g, b, wanted ? features : NULL, logits));
    else
        TRY(fdit_extractor_run_all(ctx, g->e, b->x, b->n, wanted ? features : NULL, logits, g->places));
    if (n < b->n) {
        close_up(b, wanted ? features : NULL, d);
        close_up(b, logits, s->logit_classes);
        close_up(b, g->places, g->e->spatial);
    }
    TRY(add_rows(ctx, g, n, wanted ? features : NULL, g->places));
    if (g->rows)
        memcpy(g->rows + g->taken * g->e->spatial, g->places, n * g->e->spatial * sizeof *g->rows);
    g->taken += n;
    if (g->o->on_picture)
        g->o->on_picture(g->o->user, g->before + at + b->n);
out:
    return status;
}

/* How pictures reach the networks: one after the other, drawn ones by one thread. */
static struct fdit_loader_options loader_options(const struct gather *g, size_t batch)
{
    return (struct fdit_loader_options){ .batch = batch,
                                         .workers = g->s->drawing ? 0 : g->o->workers,
                                         .skip_bad = g->o->skip_bad,
                                         .leave_bad = true,
                                         .in_order = true };
}

static bool is_shaped(const struct gather *g)
{
    return g->s->drawing || g->e->input->resize != FDIT_INPUT_FIT;
}

/* Of places up to end - 1 of s->index, which ascends. */
static struct fdit_source source_of(struct gather *g, size_t end)
{
    const struct fdit_feature_set *s = g->s;
    struct fdit_source source = { .self = &g->shaped,
                                  .n = (size_t)s->index[end - 1] + 1,
                                  .item_bytes = 1,
                                  .item_size = input_of(g->e),
                                  .label = label_shaped,
                                  .sample = sample_shaped };
    if (g->o->classifier)
        source.item_size += input_of(g->o->classifier);
    if (!is_shaped(g)) {
        source.self = s->cache;
        source.item_bytes = s->cache ? fdit_cache_item_bytes(fdit_cache_info_of(s->cache)) : input_of(g->e);
        source.read = read_cache;
        source.expand = expand_cache;
        source.label = label_cache;
        source.sample = NULL;
    }
    return source;
}

/* A loader of places first .. end - 1 of s->index. */
static enum fdit_status open_loader(fdit_context *ctx, struct gather *g, size_t first, size_t end,
                                    size_t batch, struct fdit_loader **out)
{
    const struct fdit_feature_set *s = g->s;
    const struct fdit_loader_options options = loader_options(g, batch);
    const uint32_t *list = s->index + first;
    if (s->dataset && !is_shaped(g))
        return fdit_loader_open(ctx, s->dataset, list, end - first, &options, out);
    const struct fdit_source source = source_of(g, end);
    return fdit_loader_open_source(ctx, &source, list, end - first, &options, out);
}

/* Whoever was at work when the run was asked to stop: how far it was. */
static enum fdit_status say_where(fdit_context *ctx, const struct gather *g, size_t at,
                                  enum fdit_status status)
{
    if (status != FDIT_INTERRUPTED)
        return status;
    return fdit_fail(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures of %s", g->before + at,
                     g->before + g->s->points.n, g->s->path);
}

/* Places first .. end - 1 of the pictures, a multiple of `batch`. */
static enum fdit_status pass(fdit_context *ctx, struct gather *g, size_t first, size_t end, size_t batch)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_loader *loader = NULL;
    struct fdit_batch b;
    if (first == end)
        return FDIT_OK;
    TRY(open_loader(ctx, g, first, end, batch, &loader));
    for (size_t at = first; at < end; at += b.n) {
        status = fdit_stopped(ctx) ? FDIT_INTERRUPTED : fdit_loader_next(ctx, loader, &b);
        TRY(say_where(ctx, g, at, g->s->dataset ? fdit_feature_set_advise(ctx, status) : status));
        TRY(take_batch(ctx, g, &b, at));
    }
out:
    fdit_loader_close(loader);
    return status;
}

static enum fdit_status make_room(fdit_context *ctx, struct gather *g)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_gather_options *o = g->o;
    struct fdit_feature_set *s = g->s;
    size_t n = s->points.n, batch = (size_t)g->e->batch;
    if (o->classifier)
        TRY(fdit_alloc(ctx, batch, (input_of(g->e) + input_of(o->classifier)) * sizeof(float), &g->inputs));
    TRY(fdit_alloc(ctx, n, sizeof *s->label, &s->label));
    TRY(fdit_alloc(ctx, batch, g->e->width * sizeof(float), &g->features));
    if (o->features)
        TRY(fdit_alloc(ctx, n, g->e->width * sizeof(float), &g->kept));
    s->points.x = g->kept;
    if (o->logits && s->logit_classes)
        TRY(fdit_alloc(ctx, n, s->logit_classes * sizeof(float), &s->logits));
    if (o->moments)
        TRY(fdit_statistics_new(ctx, g->e->width, &g->statistics));
    if (o->spatial && g->e->spatial) {
        TRY(fdit_alloc(ctx, batch, g->e->spatial * sizeof(float), &g->places));
        TRY(fdit_statistics_new(ctx, g->e->spatial, &g->spatial));
    }
out:
    return status;
}

/* What make_room and the statistics take. */
static enum fdit_status plan_room(fdit_context *ctx, const struct gather *g, struct fdit_plan *kept,
                                  struct fdit_passing *passing)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_gather_options *o = g->o;
    const struct fdit_feature_set *s = g->s;
    const size_t n = s->points.n, d = g->e->width, batch = (size_t)g->e->batch, place = g->e->spatial;
    const bool spatial = o->spatial && place;
    const char *path = s->path;
    passing->loading += batch * d * sizeof(float);
    if (o->classifier)
        passing->loading += batch * (input_of(g->e) + input_of(o->classifier)) * sizeof(float);
    if (spatial) {
        passing->loading += batch * place * sizeof(float);
        passing->sums += fdit_statistics_bytes(place);
        passing->moments += fdit_moments_bytes(place);
    }
    if (o->moments) {
        passing->sums += fdit_statistics_bytes(d);
        passing->moments += fdit_moments_bytes(d);
    }
    TRY(fdit_plan_add(ctx, kept, FDIT_PLAN_FEATURES, NULL, n * sizeof *s->label, "classes of %s", path));
    if (o->features)
        TRY(fdit_plan_add(ctx, kept, FDIT_PLAN_FEATURES, NULL, n * d * sizeof(float), "features of %s",
                          path));
    if (o->logits)
        TRY(fdit_plan_add(ctx, kept, FDIT_PLAN_FEATURES, NULL, n * s->logit_classes * sizeof(float),
                          "logits of %s", path));
    if (o->moments)
        TRY(fdit_plan_add(ctx, kept, FDIT_PLAN_FEATURES, NULL, fdit_moments_bytes(d), "covariance of %s",
                          path));
    if (spatial)
        TRY(fdit_plan_add(ctx, kept, FDIT_PLAN_FEATURES, NULL, fdit_moments_bytes(place),
                          "covariance of places of %s", path));
out:
    return status;
}

enum fdit_status fdit_feature_set_plan(fdit_context *ctx, struct fdit_feature_set *s,
                                       const struct fdit_extractor *e, const struct fdit_gather_options *o,
                                       size_t memory, struct fdit_plan *kept, struct fdit_passing *passing)
{
    enum fdit_status status = FDIT_OK;
    struct gather g = { .e = (struct fdit_extractor *)(uintptr_t)e, .o = o, .s = s };
    const size_t n = s->points.n, batch = (size_t)e->batch < n ? (size_t)e->batch : n;
    const struct fdit_source source = source_of(&g, n);
    const struct fdit_loader_options options = loader_options(&g, batch);
    if (s->dataset)
        TRY(fdit_dataset_plan_reading(ctx, s->dataset, o->workers, memory, o->skip_bad, &s->reading));
    *passing = (struct fdit_passing){
        .loading = s->reading + fdit_loader_bytes(n, source.item_bytes, source.item_size, &options),
    };
    TRY(plan_room(ctx, &g, kept, passing));
out:
    return status;
}

/* ------------------------------------------------------------------ pieces of several processes */

static bool is_dealt(const struct fdit_gather_options *o)
{
    return o->deal && (o->features || o->moments || o->logits || o->spatial);
}

static uint64_t hash_words(uint64_t hash, const struct fdit_extractor *e)
{
    hash = fdit_fnv(hash, e->name, strlen(e->name));
    return fdit_fnv(hash, &e->weights, sizeof e->weights);
}

/* What the pictures are: *hash goes on. */
static enum fdit_status hash_pictures(fdit_context *ctx, const struct fdit_feature_set *s, uint64_t *hash)
{
    enum fdit_status status = FDIT_OK;
    const size_t classes = (size_t)fdit_taxonomy_n_classes(s->taxonomy);
    uint64_t *marks = NULL, drawn = 0;
    *hash = fdit_fnv(*hash, s->index, s->points.n * sizeof *s->index);
    if (s->drawing) {
        TRY(s->drawing->identity(ctx, s->drawing->self, &drawn));
        *hash = fdit_fnv(*hash, &drawn, sizeof drawn);
    } else if (s->dataset) {
        TRY(fdit_alloc(ctx, classes, sizeof *marks, &marks));
        TRY(fdit_dataset_marks(ctx, s->dataset, marks, NULL, NULL));
        *hash = fdit_fnv(*hash, marks, classes * sizeof *marks);
    }
    for (size_t i = 0; s->cache && i < s->points.n; i += 1 + s->points.n / 1024) { /* spread, as marks are */
        const uint8_t *pixels;
        TRY(fdit_cache_item(ctx, s->cache, s->index[i], false, &pixels));
        *hash = fdit_fnv(*hash, pixels, fdit_cache_item_bytes(fdit_cache_info_of(s->cache)));
    }
out:
    fdit_free(marks);
    return status;
}

/* Of all that decides the rows of the set. */
static enum fdit_status key_of(fdit_context *ctx, const struct gather *g, uint64_t *key)
{
    const struct fdit_gather_options *o = g->o;
    const struct fdit_picture_rules *rules = &o->rules;
    const uint64_t numbers[] = { o->features || o->moments,
                                 o->logits,
                                 o->spatial,
                                 (uint64_t)o->fit,
                                 rules->exif,
                                 rules->matte,
                                 rules->ground[0],
                                 rules->ground[1],
                                 rules->ground[2],
                                 o->skip_bad };
    *key = hash_words(fdit_fnv(FDIT_FNV_START, numbers, sizeof numbers), g->e);
    if (o->classifier)
        *key = hash_words(*key, o->classifier);
    return hash_pictures(ctx, g->s, key);
}

static enum fdit_status new_rows(fdit_context *ctx, const struct gather *g, size_t n, struct fdit_rows *out)
{
    const struct fdit_gather_options *o = g->o;
    return fdit_rows_new(ctx, n, o->features || o->moments ? g->e->width : 0,
                         o->logits ? g->s->logit_classes : 0, o->spatial ? g->e->spatial : 0, out);
}

/* Places first .. end - 1 through the networks, into the file: a set of its own. */
static enum fdit_status compute_piece(fdit_context *ctx, const struct gather *g, size_t first, size_t end,
                                      const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_gather_options o = *g->o;
    struct fdit_feature_set part = *g->s;
    struct gather own = { .pool = g->pool, .e = g->e, .o = &o, .s = &part, .before = g->before };
    struct fdit_rows rows;
    const size_t n = end - first, batch = (size_t)g->e->batch;
    uint32_t index[FDIT_DEAL_PIECE];
    memcpy(index, g->s->index + first, n * sizeof *index);
    part.index = index;
    part.points = (struct fdit_points){ .n = n, .d = g->s->points.d };
    part.label = NULL;
    part.logits = NULL;
    own.shaped = g->shaped;
    own.shaped.s = &part;
    own.shaped.end = (size_t)index[n - 1] + 1;
    o.features = o.features || o.moments;
    o.moments = false;
    TRY(new_rows(ctx, g, n, &rows));
    own.rows = rows.places;
    if (part.drawing && part.drawing->load)
        TRY(part.drawing->load(ctx, part.drawing->self));
    TRY(make_room(ctx, &own));
    TRY(pass(ctx, &own, 0, n - n % batch, batch));
    TRY(pass(ctx, &own, n - n % batch, n, n % batch));
    rows.count = own.taken;
    for (size_t i = 0, k = 0; i < n && k < own.taken; i++)
        if (g->s->index[first + i] == index[k]) {
            rows.whole[i] = 1;
            k++;
        }
    if (rows.features)
        memcpy(rows.features, own.kept, rows.count * rows.widths[0] * sizeof(float));
    if (rows.logits)
        memcpy(rows.logits, part.logits, rows.count * rows.widths[1] * sizeof(float));
    TRY(fdit_rows_write(ctx, &rows, path));
    g->o->deal->computed++;
out:
    fdit_rows_fini(&rows);
    fdit_statistics_free(own.spatial);
    fdit_free(own.kept);
    fdit_free(own.features);
    fdit_free(own.places);
    fdit_free(own.inputs);
    fdit_free(part.label);
    fdit_free(part.logits);
    return status;
}

/* The rows of the file behind those before; one that is not there, or is of something else, is computed. */
static enum fdit_status take_piece(fdit_context *ctx, struct gather *g, size_t first, size_t end,
                                   const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *s = g->s;
    struct fdit_rows rows;
    TRY(new_rows(ctx, g, end - first, &rows));
    if (!fdit_is_file(path) || fdit_rows_read(NULL, path, &rows) != FDIT_OK) {
        TRY(compute_piece(ctx, g, first, end, path));
        TRY(fdit_rows_read(ctx, path, &rows));
    }
    for (size_t i = 0, k = 0; i < rows.n; i++) {
        const uint32_t at = s->index[first + i];
        if (!rows.whole[i])
            continue;
        s->label[g->taken + k] = fdit_feature_set_label(s, at);
        s->index[g->taken + k++] = at;
    }
    if (g->kept && rows.features)
        memcpy(g->kept + g->taken * rows.widths[0], rows.features,
               rows.count * rows.widths[0] * sizeof(float));
    if (s->logits && rows.logits)
        memcpy(s->logits + g->taken * rows.widths[1], rows.logits,
               rows.count * rows.widths[1] * sizeof(float));
    TRY(add_rows(ctx, g, rows.count, rows.features, rows.places));
    g->taken += rows.count;
    if (g->o->on_picture)
        g->o->on_picture(g->o->user, end);
out:
    fdit_rows_fini(&rows);
    return status;
}

/* This process's pieces into files, or all files into the set. */
static enum fdit_status run_dealt(fdit_context *ctx, struct gather *g)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_deal *deal = g->o->deal;
    const size_t n = g->s->points.n, pieces = (n + FDIT_DEAL_PIECE - 1) / FDIT_DEAL_PIECE;
    size_t mine = 0;
    char *path = NULL;
    uint64_t key;
    TRY(key_of(ctx, g, &key));
    for (size_t i = 0; i < pieces; i++)
        if (deal->take || i % (size_t)deal->size == (size_t)deal->rank)
            mine += i + 1 < pieces ? FDIT_DEAL_PIECE : n - i * FDIT_DEAL_PIECE;
    if (deal->take)
        TRY(make_room(ctx, g));
    if (g->o->on_begin && mine)
        g->o->on_begin(g->o->user, g->s->path, mine);
    for (size_t i = 0; i < pieces; i++) {
        const size_t first = i * FDIT_DEAL_PIECE, end = i + 1 < pieces ? first + FDIT_DEAL_PIECE : n;
        const bool own = i % (size_t)deal->size == (size_t)deal->rank;
        TRY(fdit_deal_path(ctx, deal, key, i, &path));
        if (deal->take) {
            TRY(take_piece(ctx, g, first, end, path));
            fdit_free(path);
            path = NULL;
            continue;
        }
        if (own && !fdit_is_file(path)) {
            TRY(compute_piece(ctx, g, first, end, path));
            deal->last = deal->n;
        }
        g->before += own ? end - first : 0;
        if (own && g->o->on_picture)
            g->o->on_picture(g->o->user, g->before);
        char *noted = path;
        path = NULL;
        TRY(fdit_deal_note(ctx, deal, noted));
    }
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_feature_set_run(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                      const struct fdit_gather_options *o, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    struct gather g = { .pool = pool, .e = e, .o = o, .s = s };
    size_t n = s->points.n, batch = (size_t)e->batch;
    s->weights = e->weights;
    g.shaped = (struct shaped){ e, o->classifier, s, o->fit, (size_t)s->index[n - 1] + 1 };
    if (s->dataset && !s->reading)
        TRY(fdit_dataset_plan_reading(ctx, s->dataset, o->workers, 0, o->skip_bad, &s->reading));
    if (is_dealt(o)) {
        TRY(run_dealt(ctx, &g));
        if (!o->deal->take)
            goto out;
    } else {
        if (s->drawing && s->drawing->load)
            TRY(s->drawing->load(ctx, s->drawing->self));
        TRY(make_room(ctx, &g));
        if (o->on_begin)
            o->on_begin(o->user, s->path, n);
        TRY(pass(ctx, &g, 0, n - n % batch, batch));
        TRY(pass(ctx, &g, n - n % batch, n, n % batch));
    }
    if (!g.taken)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: none of its %zu pictures can be read", s->path, n);
    s->skipped = n - g.taken;
    n = s->points.n = g.taken;
    if (o->moments && n > 1)
        TRY(fdit_statistics_moments(ctx, g.statistics, &s->moments));
    if (g.spatial && n > 1)
        TRY(fdit_statistics_moments(ctx, g.spatial, &s->spatial));
out:
    fdit_statistics_free(g.statistics);
    fdit_statistics_free(g.spatial);
    fdit_free(g.features);
    fdit_free(g.places);
    fdit_free(g.inputs);
    return status;
}

enum fdit_status fdit_feature_set_gather(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                         const char *path, const struct fdit_gather_options *o,
                                         struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_feature_set_open(ctx, e, path, o, out));
    TRY(fdit_feature_set_run(ctx, pool, e, o, out));
out:
    if (status != FDIT_OK)
        fdit_feature_set_fini(out);
    return status;
}
