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

enum fdit_status fdit_feature_set_cached(fdit_context *ctx, const struct fdit_cache *c, size_t i,
                                         struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_cache_info_of(c);
    const uint8_t *planes;
    TRY(fdit_cache_item(ctx, c, i, false, &planes));
    TRY(fdit_picture_new(ctx, info->size, info->size, info->channels, out));
    fdit_picture_from_planes(planes, out);
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
        TRY(fdit_feature_set_cached(ctx, s->cache, i, out));
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

enum fdit_status fdit_feature_sets_check_colours(fdit_context *ctx, const struct fdit_feature_set *a,
                                                 const struct fdit_feature_set *b)
{
    static const char *const are[] = { [1] = "grey", [3] = "in colour" };
    if (!a->colours || !b->colours || a->colours == b->colours)
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_ARGUMENT,
        "the pictures of %s are %s and those of %s %s: it is colour that would be measured; give both "
        "of one kind",
        a->path, are[a->colours], b->path, are[b->colours]);
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

/* ------------------------------------------------------------------ a cache of pixels */

/* A published network takes grey pictures, too, as three equal channels, which is what its own programs make
 * of them; a classifier takes what it was trained on. */
static bool takes(const struct fdit_extractor *e, int channels)
{
    return e->channels == channels || (channels == 1 && e->input->resize != FDIT_INPUT_FIT);
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
    s->colours = i->channels;
    if (!fits || !takes(e, i->channels))
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

enum fdit_status fdit_feature_set_advise(fdit_context *ctx, enum fdit_status found)
{
    if (!fdit_picture_is_bad(found))
        return found;
    return fdit_fail(ctx, found, "%s; or leave out such pictures with --skip-bad", fdit_context_message(ctx));
}

/* Looks at some pictures: a set that is all grey, or has no grey one, must be what the network takes. */
static enum fdit_status check_colours(fdit_context *ctx, const struct fdit_extractor *e,
                                      struct fdit_feature_set *s, bool skip_bad)
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
        TRY(fdit_feature_set_advise(ctx, status));
        grey += colours_of(&p) == 1;
        colour += colours_of(&p) == 3;
    }
    s->colours = grey && !colour ? 1 : colour && !grey ? 3 : 0;
    if (s->colours && !takes(e, s->colours))
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
                                                  .ranks = o->loose ? "none" : o->ranks,
                                                  .size = e->size,
                                                  .channels = e->channels,
                                                  .fit = o->fit,
                                                  .rules = o->rules,
                                                  .whole = e->input->resize != FDIT_INPUT_FIT,
                                                  .skip_bad = o->skip_bad,
                                                  .allow_missing = true,
                                                  .loose = o->loose };
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
    if (e && !takes(e, d->channels))
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
    s->colours = o->drawing->channels;
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
        first[fdit_feature_set_label(s, i) + 1]++;
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

/* ------------------------------------------------------------------ opening */

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
