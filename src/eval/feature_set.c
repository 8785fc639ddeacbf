/* SPDX-License-Identifier: Apache-2.0
 * Feature sets from pictures. */
#include "eval/feature_set.h"

#include "core/file.h"
#include "core/mem.h"
#include "data/loader.h"
#include "data/split.h"
#include "eval/manifest.h"
#include "picture/resize.h"

#include <inttypes.h>
#include <string.h>

void fdit_feature_set_fini(struct fdit_feature_set *s)
{
    fdit_free(s->path);
    fdit_free(s->features);
    fdit_free((void *)(uintptr_t)s->points.x);
    fdit_free(s->label);
    fdit_free(s->logits);
    fdit_moments_fini(&s->moments);
    fdit_moments_fini(&s->spatial);
    fdit_dataset_close(s->dataset); /* knows its taxonomy */
    fdit_cache_close(s->cache);
    fdit_free(s->index);
    fdit_taxonomy_free(s->own_taxonomy);
    *s = (struct fdit_feature_set){ 0 };
}

enum fdit_status fdit_feature_set_name(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                       char **out)
{
    if (s->index)
        i = s->index[i];
    if (s->dataset)
        return fdit_dataset_name(ctx, s->dataset, i, out);
    if (s->drawing)
        return s->drawing->title(ctx, s->drawing->self, i, out);
    return fdit_strf(ctx, out, "picture %zu of %s", i, s->path);
}

static enum fdit_status copy_picture(fdit_context *ctx, const struct fdit_picture *p,
                                     struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_picture_new(ctx, p->width, p->height, p->channels, out));
    memcpy(out->pixels, p->pixels, (size_t)p->width * (size_t)p->height * (size_t)p->channels);
out:
    return status;
}

static enum fdit_status cached_picture(fdit_context *ctx, const struct fdit_cache *c, size_t i,
                                       struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    const uint8_t *planes;
    size_t plane = (size_t)info->size * (size_t)info->size, channels = (size_t)info->channels;
    TRY(fdit_cache_item(ctx, c, i, false, &planes));
    TRY(fdit_picture_new(ctx, info->size, info->size, info->channels, out));
    for (size_t k = 0; k < plane; k++)
        for (size_t ch = 0; ch < channels; ch++)
            out->pixels[channels * k + ch] = planes[ch * plane + k];
out:
    return status;
}

enum fdit_status fdit_feature_set_picture(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                          const struct fdit_picture_rules *rules, struct fdit_picture *out,
                                          bool *found)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture drawn;
    uint8_t *bytes = NULL;
    char *name = NULL;
    size_t n;
    *out = (struct fdit_picture){ 0 };
    *found = s->dataset || s->cache || s->drawing;
    if (s->index)
        i = s->index[i];
    if (s->drawing) {
        TRY(s->drawing->picture(ctx, s->drawing->self, i, i + 1, &drawn));
        TRY(copy_picture(ctx, &drawn, out));
    } else if (s->cache) {
        TRY(cached_picture(ctx, s->cache, i, out));
    } else if (s->dataset) {
        TRY(fdit_dataset_name(ctx, s->dataset, i, &name));
        TRY(fdit_dataset_read(ctx, s->dataset, i, &bytes, &n));
        TRY(fdit_picture_decode_as(ctx, bytes, n, name, rules, out));
    }
out:
    fdit_free(bytes);
    fdit_free(name);
    return status;
}

enum fdit_status fdit_feature_sets_check_weights(fdit_context *ctx, const struct fdit_feature_set *a,
                                                 const struct fdit_feature_set *b)
{
    if (!a->weights || !b->weights || a->weights == b->weights)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "%s and %s have features of %s, but of other weights (%016" PRIx64 " and %016" PRIx64
                     "); take the same file for both",
                     a->path, b->path, b->features ? b->features : "a network", a->weights, b->weights);
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
        if (id[s->label[i]] < 0 && fdit_path_has_suffix(s->path, ".npz"))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: a .npz numbers its classes and keeps no names, so they cannot be told to be those that "
                 "are compared; write the features as .safetensors, or give --no-classes",
                 s->path);
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
    const struct shaped *from = self;
    const struct fdit_drawing *d = from->s->drawing;
    if (d)
        return d->label(d->self, i);
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

/* Behind the message about a picture that ends the work. */
static enum fdit_status advise_skipping(fdit_context *ctx, enum fdit_status found)
{
    if (!fdit_picture_is_bad(found))
        return found;
    return fdit_fail(ctx, found, "%s; or leave out such pictures with --skip-bad", fdit_context_message(ctx));
}

/* Looks at some pictures: a set that is all grey, or has no grey one, must be what the network takes. */
static enum fdit_status check_colours(fdit_context *ctx, const struct fdit_extractor *e,
                                      const struct fdit_feature_set *s, bool skip_bad)
{
    enum fdit_status status = FDIT_OK;
    enum { LOOKED_AT = 16 };
    size_t n = s->points.n, grey = 0, colour = 0;
    for (size_t k = 0; k < LOOKED_AT && k < n; k++) {
        struct fdit_picture_probe p;
        status = fdit_dataset_probe(ctx, s->dataset, n <= LOOKED_AT ? k : k * (n - 1) / (LOOKED_AT - 1), &p);
        if (skip_bad && fdit_picture_is_bad(status)) {
            status = FDIT_OK;
            continue;
        }
        TRY(advise_skipping(ctx, status));
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
    struct fdit_manifest *m = NULL;
    const struct fdit_dataset_options options = { .taxonomy = o->taxonomy,
                                                  .ranks = o->ranks,
                                                  .size = e->size,
                                                  .channels = e->channels,
                                                  .fit = o->fit,
                                                  .rules = o->rules,
                                                  .whole = e->input->resize != FDIT_INPUT_FIT,
                                                  .skip_bad = o->skip_bad,
                                                  .allow_missing = true };
    if (fdit_manifest_is(s->path))
        TRY(fdit_manifest_open(ctx, s->path, &m));
    if (m && o->split)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: a manifest is not the data of %s; give the data that it was trained on", s->path,
             o->split->run);
    TRY(fdit_dataset_open(ctx, m ? fdit_manifest_folder(m) : s->path, &options, &s->dataset));
    s->points.n = fdit_dataset_size(s->dataset);
    s->taxonomy = fdit_dataset_taxonomy(s->dataset);
    TRY(check_colours(ctx, e, s, o->skip_bad));
    if (m)
        TRY(fdit_manifest_choose(ctx, m, s->dataset, &s->index, &s->points.n));
out:
    fdit_manifest_close(m);
    return status;
}

/* ------------------------------------------------------------------ drawn pictures */

static enum fdit_status check_drawn(fdit_context *ctx, const struct fdit_extractor *e,
                                    const struct fdit_drawing *d)
{
    if (e && e->channels != d->channels)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s draws %s pictures, but %s was made for %s ones; give --features judge:FILE with "
                         "a classifier of such pictures",
                         d->name, d->channels == 1 ? "grey" : "coloured", e->name,
                         e->channels == 1 ? "grey" : "coloured");
    return FDIT_OK;
}

static enum fdit_status open_drawing(fdit_context *ctx, const struct fdit_extractor *e,
                                     const struct fdit_gather_options *o, struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    TRY(check_drawn(ctx, e, o->drawing));
    TRY(check_drawn(ctx, o->classifier, o->drawing));
    s->drawing = o->drawing;
    s->points.n = o->drawing->n;
    s->taxonomy = o->drawing->taxonomy;
out:
    return status;
}

/* ------------------------------------------------------------------ some of the pictures */

static enum fdit_status split(fdit_context *ctx, const struct fdit_eval_split *how,
                              struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *lists[2] = { NULL, NULL };
    size_t n[2], *first = NULL, classes = (size_t)fdit_taxonomy_n_classes(s->taxonomy);
    if (how->pictures && how->pictures != s->points.n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s has %zu pictures, and the data of %s had %zu: which of them it was trained on is not known; "
             "give the same data, or pictures of their own without --run",
             s->path, s->points.n, how->run, how->pictures);
    TRY(fdit_alloc(ctx, classes + 1, sizeof *first, &first));
    for (size_t i = 0; i < s->points.n; i++)
        first[(s->dataset ? fdit_dataset_label(s->dataset, i) : fdit_cache_label(s->cache, i)) + 1]++;
    for (size_t c = 0; c < classes; c++)
        first[c + 1] += first[c];
    TRY(fdit_split(ctx, s->path, first, classes, how->fraction, how->seed, &lists[1], &n[1], &lists[0],
                   &n[0]));
    s->index = lists[how->train];
    s->points.n = n[how->train];
    lists[how->train] = NULL;
out:
    fdit_free(lists[0]);
    fdit_free(lists[1]);
    fdit_free(first);
    return status;
}

/* Which pictures are meant, into s->index and s->points.n. */
static enum fdit_status choose(fdit_context *ctx, const struct fdit_gather_options *o,
                               struct fdit_feature_set *s)
{
    enum fdit_status status = FDIT_OK;
    if (s->points.n > UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: %zu pictures are more than the %lu that can be measured at once",
             s->path, s->points.n, (unsigned long)UINT32_MAX);
    if (o->split)
        TRY(split(ctx, o->split, s));
    if (!s->index) {
        TRY(fdit_alloc(ctx, s->points.n, sizeof *s->index, &s->index));
        for (size_t i = 0; i < s->points.n; i++)
            s->index[i] = (uint32_t)i;
    }
    if (o->parts > 1) {
        size_t n = s->points.n, part = (size_t)o->part, parts = (size_t)o->parts;
        size_t low = n / parts * part + n % parts * part / parts;
        size_t high = n / parts * (part + 1) + n % parts * (part + 1) / parts;
        if (low == high)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--part %d/%d: %s has %zu pictures; give fewer parts", o->part,
                 o->parts, s->path, n);
        memmove(s->index, s->index + low, (high - low) * sizeof *s->index);
        s->points.n = high - low;
        s->part = o->part;
        s->parts = o->parts;
    }
out:
    return status;
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
    if (wanted)
        TRY(fdit_points_check_finite(ctx, s->path, &(struct fdit_points){ n, d, features }));
    if (g->statistics && n)
        fdit_statistics_add(g->statistics, g->pool, features, n, NULL, 0);
    if (g->places && n) {
        TRY(fdit_points_check_finite(ctx, s->path, &(struct fdit_points){ n, g->e->spatial, g->places }));
        fdit_statistics_add(g->spatial, g->pool, g->places, n, NULL, 0);
    }
    g->taken += n;
    if (g->o->on_picture)
        g->o->on_picture(g->o->user, at + b->n);
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
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped after %zu of %zu pictures of %s", at, g->s->points.n,
                 g->s->path);
        status = fdit_loader_next(ctx, loader, &b);
        TRY(g->s->dataset ? advise_skipping(ctx, status) : status);
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

enum fdit_status fdit_feature_set_open(fdit_context *ctx, const struct fdit_extractor *e, const char *path,
                                       const struct fdit_gather_options *o, struct fdit_feature_set *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_feature_set){ .points.d = e->width,
                                      .logit_classes = o->classifier ? o->classifier->classes : e->classes };
    TRY(fdit_strdup(ctx, path, &out->path));
    TRY(fdit_strdup(ctx, e->name, &out->features));
    if (o->drawing)
        TRY(open_drawing(ctx, e, o, out));
    else
        TRY(fdit_cache_is(path) ? open_cache(ctx, e, out) : open_dataset(ctx, e, o, out));
    TRY(choose(ctx, o, out));
out:
    if (status != FDIT_OK)
        fdit_feature_set_fini(out);
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
    if (s->drawing && s->drawing->load)
        TRY(s->drawing->load(ctx, s->drawing->self));
    TRY(make_room(ctx, &g));
    if (o->on_begin)
        o->on_begin(o->user, s->path, n);
    TRY(pass(ctx, &g, 0, n - n % batch, batch));
    TRY(pass(ctx, &g, n - n % batch, n, n % batch));
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
