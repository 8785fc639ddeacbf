/* SPDX-License-Identifier: Apache-2.0 */
#include "train/source.h"

#include "core/fnv.h"
#include "core/mem.h"
#include "data/split.h"
#include "core/half.h"
#include "vae/vae.h"

#include <string.h>

enum { MARKED_ITEMS = 256 };

struct fdit_train_source {
    struct fdit_train_source_options options;
    struct fdit_dataset *ds;
    struct fdit_cache *cache;
    struct fdit_taxonomy *own; /* of the cache, or what was picked of it */
    const struct fdit_taxonomy *taxonomy;
    int32_t *ids;  /* cache: [its classes] ids in `taxonomy` */
    size_t *first; /* cache: [its classes + 1] pictures of a class */
    size_t classes, item;
    void *scratch;   /* cache: of `fixed` */
    uint8_t *pixels; /* data set: of `fixed` */
};

/* ------------------------------------------------------------------ a cache as a source */

/* Scratch of a sample of moments: mean and log-variance, then the noise. */
static size_t scratch_bytes(const struct fdit_train_source *d)
{
    const struct fdit_cache_info *i = fdit_cache_info_of(d->cache);
    return i->kind == FDIT_CACHE_MOMENTS ? 3 * d->item * sizeof(float) : 1;
}

static enum fdit_status sample_moments(fdit_context *ctx, const struct fdit_train_source *d, size_t i,
                                       bool mirror, uint64_t seed, uint64_t position, void *scratch,
                                       float *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_cache_info_of(d->cache);
    const struct fdit_vae_config c = { .scale = info->scale, .shift = info->shift };
    float *moments = scratch, *noise = moments + 2 * d->item;
    const uint8_t *data;
    TRY(fdit_cache_item(ctx, d->cache, i, mirror, &data));
    /* Trailers keep the data at even addresses: 64 + records of an even length. */
    fdit_f16_to_f32(2 * d->item, (const uint16_t *)(const void *)data, moments);
    fdit_vae_noise(seed, position, d->item, noise);
    fdit_vae_sample(&c, d->item, moments, moments + d->item, noise, out);
out:
    return status;
}

static enum fdit_status sample_pixels(fdit_context *ctx, const struct fdit_train_source *d, size_t i,
                                      bool mirror, float *out)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *v;
    size_t width = (size_t)fdit_cache_info_of(d->cache)->size;
    TRY(fdit_cache_item(ctx, d->cache, i, false, &v));
    for (size_t row = 0; row < d->item / width; row++, v += width, out += width)
        for (size_t x = 0; x < width; x++)
            out[x] = ((float)v[mirror ? width - 1 - x : x] / 255.0f - 0.5f) / 0.5f;
out:
    return status;
}

static enum fdit_status cache_sample(fdit_context *ctx, void *self, size_t i, bool mirror, uint64_t seed,
                                     uint64_t position, void *scratch, float *out)
{
    const struct fdit_train_source *d = self;
    if (fdit_cache_info_of(d->cache)->kind == FDIT_CACHE_PIXELS)
        return sample_pixels(ctx, d, i, mirror, out);
    return sample_moments(ctx, d, i, mirror, seed, position, scratch, out);
}

static int32_t cache_label(void *self, size_t i)
{
    const struct fdit_train_source *d = self;
    return d->ids[fdit_cache_label(d->cache, i)];
}

/* ------------------------------------------------------------------ opening */

static enum fdit_status check_cache(fdit_context *ctx, const struct fdit_train_source *d)
{
    const struct fdit_train_source_options *o = &d->options;
    const struct fdit_cache_info *i = fdit_cache_info_of(d->cache);
    if (i->channels == o->latent_channels && i->size == o->latent_size)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "%s holds %s of %d x %d x %d, the model works on %d x %d x %d; encode "
                     "the pictures for this model",
                     o->path, i->kind == FDIT_CACHE_MOMENTS ? "latents" : "pixels", i->channels, i->size,
                     i->size, o->latent_channels, o->latent_size, o->latent_size);
}

/* The classes of the cache among those of the run, and where each begins. */
static enum fdit_status match_classes(fdit_context *ctx, struct fdit_train_source *d)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_source_options *o = &d->options;
    const char *json = fdit_cache_info_of(d->cache)->taxonomy;
    struct fdit_taxonomy *all = NULL;
    size_t n = fdit_train_source_size(d), at = 0;
    TRY(fdit_taxonomy_parse(ctx, json, strlen(json), o->path, o->taxonomy ? NULL : o->ranks, &all));
    d->taxonomy = o->taxonomy ? o->taxonomy : all;
    d->classes = (size_t)fdit_taxonomy_n_classes(all);
    TRY(fdit_alloc(ctx, d->classes, sizeof *d->ids, &d->ids));
    TRY(fdit_alloc(ctx, d->classes + 1, sizeof *d->first, &d->first));
    for (size_t c = 0; c < d->classes; c++) {
        const char *name = fdit_taxonomy_class_name(all, (int32_t)c);
        d->ids[c] = o->taxonomy ? fdit_taxonomy_find_class(o->taxonomy, name) : (int32_t)c;
        if (d->ids[c] < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s has pictures of class %s, which the taxonomy lacks", o->path,
                 name);
        d->first[c] = at;
        for (; at < n && fdit_cache_label(d->cache, at) == (int32_t)c; at++)
            ;
        if (at == d->first[c] && !o->allow_missing)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s has no picture of class %s", o->path, name);
    }
    d->first[d->classes] = n;
    if (at != n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: picture %zu has label %d, %zu classes in ascending order were expected; "
             "encode the data again",
             o->path, at, (int)fdit_cache_label(d->cache, at), d->classes);
    if (!o->taxonomy) {
        d->own = all;
        all = NULL;
    }
out:
    fdit_taxonomy_free(all);
    return status;
}

static enum fdit_status open_cache(fdit_context *ctx, struct fdit_train_source *d)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_cache_open(ctx, d->options.path, &d->cache));
    TRY(check_cache(ctx, d));
    TRY(match_classes(ctx, d));
    const struct fdit_cache_info *i = fdit_cache_info_of(d->cache);
    d->options.flip = d->options.flip && i->flip;
    d->item = (size_t)i->channels * (size_t)i->size * (size_t)i->size;
    TRY(fdit_alloc(ctx, scratch_bytes(d), 1, &d->scratch));
out:
    return status;
}

static enum fdit_status open_pictures(fdit_context *ctx, struct fdit_train_source *d)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_source_options *o = &d->options;
    struct fdit_dataset_options options = { .taxonomy = o->taxonomy,
                                            .ranks = o->ranks,
                                            .size = o->size,
                                            .channels = o->channels,
                                            .fit = o->fit,
                                            .rules = o->rules,
                                            .flip = o->flip,
                                            .skip_bad = o->skip_bad,
                                            .allow_missing = o->allow_missing,
                                            .known = o->known,
                                            .memory = o->memory };
    TRY(fdit_dataset_open(ctx, o->path, &options, &d->ds));
    d->taxonomy = fdit_dataset_taxonomy(d->ds);
    d->item = (size_t)o->channels * (size_t)o->size * (size_t)o->size;
    TRY(fdit_alloc(ctx, d->item, 1, &d->pixels));
out:
    return status;
}

enum fdit_status fdit_train_source_open(fdit_context *ctx, const struct fdit_train_source_options *options,
                                        struct fdit_train_source **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_source *d = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *d, &d));
    d->options = *options;
    TRY(fdit_cache_is(options->path) ? open_cache(ctx, d) : open_pictures(ctx, d));
    *out = d;
    d = NULL;
out:
    fdit_train_source_close(d);
    return status;
}

void fdit_train_source_close(struct fdit_train_source *d)
{
    if (!d)
        return;
    fdit_dataset_close(d->ds);
    fdit_cache_close(d->cache);
    fdit_taxonomy_free(d->own);
    fdit_free(d->ids);
    fdit_free(d->first);
    fdit_free(d->scratch);
    fdit_free(d->pixels);
    fdit_free(d);
}

/* ------------------------------------------------------------------ reading */

const struct fdit_taxonomy *fdit_train_source_taxonomy(const struct fdit_train_source *d)
{
    return d->taxonomy;
}

size_t fdit_train_source_size(const struct fdit_train_source *d)
{
    return d->cache ? fdit_cache_info_of(d->cache)->n : fdit_dataset_size(d->ds);
}

bool fdit_train_source_is_cache(const struct fdit_train_source *d)
{
    return d->cache != NULL;
}

const struct fdit_cache_info *fdit_train_source_cache(const struct fdit_train_source *d)
{
    return d->cache ? fdit_cache_info_of(d->cache) : NULL;
}

const char *fdit_train_source_path(const struct fdit_train_source *d)
{
    return d->options.path;
}

enum fdit_status fdit_train_source_plan_reading(fdit_context *ctx, struct fdit_train_source *d, int threads,
                                                size_t limit, bool skip_bad, size_t *bytes)
{
    *bytes = 0;
    return d->cache ? FDIT_OK : fdit_dataset_plan_reading(ctx, d->ds, threads, limit, skip_bad, bytes);
}

bool fdit_train_source_flip(const struct fdit_train_source *d)
{
    return d->options.flip;
}

size_t fdit_train_source_item(const struct fdit_train_source *d)
{
    return d->item;
}

size_t fdit_train_source_item_bytes(const struct fdit_train_source *d)
{
    return d->cache ? scratch_bytes(d) : d->item;
}

int32_t fdit_train_source_label(const struct fdit_train_source *d, size_t i)
{
    return d->cache ? d->ids[fdit_cache_label(d->cache, i)] : fdit_dataset_label(d->ds, i);
}

enum fdit_status fdit_train_source_marks(fdit_context *ctx, const struct fdit_train_source *d,
                                         uint64_t *marks, fdit_looked_fn looked, void *user)
{
    if (!d->cache)
        return fdit_dataset_marks(ctx, d->ds, marks, looked, user);
    const struct fdit_cache_info *info = fdit_cache_info_of(d->cache);
    size_t n = info->n, most = n < MARKED_ITEMS ? n : MARKED_ITEMS, read = 0;
    for (int32_t id = 0; id < fdit_taxonomy_n_classes(d->taxonomy); id++)
        marks[id] = FDIT_FNV_START;
    for (size_t i = 0; i < n; i++) {
        uint64_t *mark = &marks[fdit_train_source_label(d, i)];
        const uint8_t *item;
        *mark = fdit_fnv(*mark, "+", 1);
        if (read >= most || i != read * n / most)
            continue;
        read++;
        /* a broken item is told when it is trained on */
        if (fdit_cache_item(ctx, d->cache, i, false, &item) == FDIT_OK)
            *mark = fdit_fnv(*mark, item, fdit_cache_item_bytes(info));
    }
    return FDIT_OK;
}

enum fdit_status fdit_train_source_split(fdit_context *ctx, const struct fdit_train_source *d,
                                         double fraction, uint64_t seed, uint32_t **train, size_t *n_train,
                                         uint32_t **validation, size_t *n_validation)
{
    if (d->cache)
        return fdit_split(ctx, d->options.path, d->first, d->classes, fraction, seed, train, n_train,
                          validation, n_validation);
    return fdit_dataset_split(ctx, d->ds, fraction, seed, train, n_train, validation, n_validation);
}

enum fdit_status fdit_train_source_loader(fdit_context *ctx, struct fdit_train_source *d,
                                          const uint32_t *subset, size_t n,
                                          const struct fdit_loader_options *options, struct fdit_loader **out)
{
    if (!d->cache)
        return fdit_loader_open(ctx, d->ds, subset, n, options, out);
    struct fdit_source source = { .self = d,
                                  .n = fdit_train_source_size(d),
                                  .item_bytes = scratch_bytes(d),
                                  .item_size = d->item,
                                  .label = cache_label,
                                  .sample = cache_sample };
    return fdit_loader_open_source(ctx, &source, subset, n, options, out);
}

enum fdit_status fdit_train_source_fixed(fdit_context *ctx, struct fdit_train_source *d, size_t i, float *out)
{
    enum fdit_status status = FDIT_OK;
    if (d->cache)
        return cache_sample(ctx, d, i, false, 0, i, d->scratch, out);
    TRY(fdit_dataset_decode(ctx, d->ds, i, d->pixels));
    for (size_t j = 0; j < d->item; j++)
        out[j] = ((float)d->pixels[j] / 255 - 0.5f) / 0.5f;
out:
    return status;
}
