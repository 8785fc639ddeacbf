/* SPDX-License-Identifier: Apache-2.0 */
#include "encode/encode.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "core/phase.h"
#include "core/target.h"
#include "data/loader.h"
#include "encode/sources.h"
#include "format/cache.h"
#include "core/half.h"
#include "format/option_json.h"
#include "format/weights.h"
#include "vae/vae.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const struct fdit_encode_options *o;
    const struct fdit_encode_hooks *hooks;
    struct fdit_encode_summary *summary;
    fdit_device *dev;
    struct fdit_vae *vae;
    struct fdit_taxonomy *taxonomy;
    struct fdit_dataset *ds;
    struct fdit_loader *loader;
    struct fdit_cache_job cache;
    struct fdit_cache_writer *writer;
    struct fdit_sources *sources;
    struct fdit_plan plan;
    int channels;        /* of pictures */
    size_t pixels, item; /* floats of a picture; numbers of one half of a record */
    int32_t *labels;
    char *taxonomy_json, *identity;
    struct fdit_picture_rules rules;
    bool noted; /* the cache's encode.json names them, or shall do so */
    char matte[8];
    char vae_hash[17];
    float *mirrored, *moments;
    uint8_t *record; /* both halves */
};

static enum fdit_status check(fdit_context *ctx, const struct fdit_encode_options *o)
{
    enum fdit_status status = FDIT_OK;
    if (!o->data || !o->out)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "give the data and the folder of the cache: encode DATA OUT");
    TRY(fdit_options_check(ctx, fdit_encode_option_table, o));
    if (o->pixels && o->vae)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--pixels and --vae: give one of the two");
    if (o->channels != 1 && o->channels != 3)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--channels %d: pictures have 1 (grey) or 3", o->channels);
    if (o->vae_scale < 0 || !isfinite(o->vae_scale) || (o->vae_scale > 0 && !o->vae))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g: give a number above 0, with --vae FILE",
             o->vae_scale);
    if (o->vae_scale > 0 && !fdit_cache_scale_is_sensible(o->vae_scale, 0))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae-scale %g is not one of an autoencoder; give 0.0001 to 10000",
             o->vae_scale);
    if (fdit_cache_is(o->data))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s is a cache already; give the pictures that it was made from",
             o->data);
    if (fdit_file_exists(o->out) && !fdit_is_folder(o->out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s is a file; give a folder for the cache", o->out);
    const struct fdit_input sources[] = { { "DATA", o->data, true },
                                          { "--vae", o->vae, false },
                                          { "--taxonomy", o->taxonomy, false } };
    TRY(fdit_target_check(ctx, "OUT", o->out, sources, sizeof sources / sizeof *sources));
out:
    return status;
}

/* ------------------------------------------------------------------ opening */

/* What was asked for; else what the job had that goes on in this folder; else the usual. A job of a time
 * before there was a choice does not name it. */
static enum fdit_status choose_rules(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_encode_options *o = j->o;
    struct fdit_picture_notes notes = { NULL, NULL };
    struct fdit_picture_words file = { NULL, NULL };
    char *path = NULL;
    uint8_t *text = NULL;
    size_t n = 0;
    j->noted = true;
    TRY(fdit_path_join(ctx, o->out, "encode.json", &path));
    if (fdit_is_file(path)) {
        TRY(fdit_file_read_all(ctx, path, (size_t)1 << 26, &text, &n));
        TRY(fdit_picture_notes_read(ctx, path, (const char *)text, n, &notes));
        file = fdit_picture_notes_words(&notes);
        j->noted = strstr((const char *)text, "\"orient\"") != NULL || o->look.orient || o->look.matte;
    }
    TRY(fdit_picture_words_rules(ctx, &o->look, &file, &j->rules));
    j->noted = j->noted || j->rules.exif || j->rules.matte;
out:
    fdit_picture_notes_fini(&notes);
    fdit_free(path);
    fdit_free(text);
    return status;
}

/* A finished cache of an earlier version keeps its groups, where this one tells more of them apart. */
static enum fdit_status keep_classes(fdit_context *ctx, struct job *j, struct fdit_dataset_options *d)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *is = fdit_dataset_taxonomy(j->ds);
    struct fdit_taxonomy *was = NULL;
    struct fdit_cache *cache = NULL;
    fdit_context *quiet = NULL; /* what is wrong with the cache is said by who goes on with it */
    if (!fdit_taxonomy_by_path(is) || !fdit_cache_is(j->o->out))
        return FDIT_OK;
    if (!(quiet = fdit_context_child(ctx)))
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory");
    if (fdit_cache_open(quiet, j->o->out, &cache) != FDIT_OK)
        goto out;
    const char *json = fdit_cache_info_of(cache)->taxonomy;
    if (fdit_taxonomy_parse(quiet, json, strlen(json), j->o->out, NULL, &was) != FDIT_OK ||
        fdit_taxonomy_equal(was, is) || !fdit_taxonomy_earlier(was, is))
        goto out;
    fdit_log(ctx, FDIT_LOG_WARNING,
             "%s was made when groups of one name were one group; it keeps the %d groups that it has",
             j->o->out, fdit_taxonomy_n_rows(was) - fdit_taxonomy_n_classes(was));
    fdit_dataset_close(j->ds);
    j->ds = NULL;
    fdit_taxonomy_free(j->taxonomy);
    d->taxonomy = j->taxonomy = was;
    was = NULL;
    TRY(fdit_dataset_open(ctx, j->o->data, d, &j->ds));
out:
    fdit_cache_close(cache);
    fdit_taxonomy_free(was);
    fdit_context_free(quiet);
    return status;
}

static enum fdit_status open_data(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_encode_options *o = j->o;
    j->channels = o->channels;
    TRY(choose_rules(ctx, j));
    if (o->vae) {
        status = fdit_vae_open(ctx, o->vae, &j->vae);
        TRY(fdit_weights_explain(ctx, status, "--vae", o->vae, "DATA", o->data));
        j->channels = fdit_vae_config_of(j->vae)->in_channels;
        if (o->vae_scale > 0)
            fdit_vae_set_scale(j->vae, o->vae_scale);
        if (j->channels != 1 && j->channels != 3)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s takes pictures of %d channels; files have 1 or 3",
                 o->vae, j->channels);
    }
    if (o->taxonomy)
        TRY(fdit_taxonomy_load(ctx, o->taxonomy, o->ranks, &j->taxonomy));
    struct fdit_dataset_options d = { .taxonomy = j->taxonomy,
                                      .ranks = o->ranks,
                                      .size = o->size,
                                      .channels = j->channels,
                                      .fit = o->fit,
                                      .rules = j->rules,
                                      .flip = o->flip,
                                      .allow_missing = true,
                                      .memory = o->memory };
    TRY(fdit_dataset_open(ctx, o->data, &d, &j->ds));
    TRY(keep_classes(ctx, j, &d));
    struct fdit_dataset_info info = fdit_dataset_info(j->ds);
    if (info.missing)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s has no picture of %zu of its classes", o->data, info.missing);
    j->pixels = (size_t)j->channels * (size_t)o->size * (size_t)o->size;
    TRY(fdit_taxonomy_to_json(ctx, fdit_dataset_taxonomy(j->ds), &j->taxonomy_json));
    TRY(fdit_alloc(ctx, info.n, sizeof *j->labels, &j->labels));
    for (size_t i = 0; i < info.n; i++)
        j->labels[i] = fdit_dataset_label(j->ds, i);
out:
    return status;
}

static void describe(struct job *j)
{
    const struct fdit_encode_options *o = j->o;
    struct fdit_cache_info *i = &j->cache.info;
    *i = (struct fdit_cache_info){ .kind = FDIT_CACHE_PIXELS,
                                   .channels = j->channels,
                                   .size = o->size,
                                   .picture_size = o->size,
                                   .flip = o->flip,
                                   .fit = o->fit == FDIT_FIT_PAD ? "pad" : "crop",
                                   .orient = fdit_orient_text(&j->rules),
                                   .matte = fdit_matte_text(&j->rules, j->matte),
                                   .scale = 1,
                                   .vae = "",
                                   .taxonomy = j->taxonomy_json,
                                   .n = fdit_dataset_size(j->ds) };
    j->cache.labels = j->labels;
    j->cache.shard_pictures = o->shard_pictures;
    j->cache.part = o->part;
    j->cache.parts = o->parts;
    if (j->vae) {
        const struct fdit_vae_config *c = fdit_vae_config_of(j->vae);
        i->kind = FDIT_CACHE_MOMENTS;
        i->channels = c->latent_channels;
        i->size = o->size / fdit_vae_factor(c);
        i->scale = c->scale;
        i->shift = c->shift;
        i->vae = j->vae_hash;
    }
    j->item = fdit_cache_item_bytes(i) / (j->vae ? sizeof(uint16_t) : 1);
    j->summary->size = i->size;
    j->summary->channels = i->channels;
    j->summary->pictures = i->n;
    j->summary->classes = (size_t)fdit_taxonomy_n_classes(fdit_dataset_taxonomy(j->ds));
    j->summary->bytes = fdit_cache_job_bytes(&j->cache);
}

static enum fdit_status make_plan(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_encode_options *o = j->o;
    struct fdit_loader_options l = { .batch = 1, .workers = o->workers, .ring = 8 };
    size_t limit = o->memory ? o->memory : j->dev ? fdit_device_info(j->dev)->memory : 0, reading;
    if (j->vae) {
        struct fdit_vae_options v = { .height = o->size, .encode = true, .memory = limit };
        TRY(fdit_vae_plan(ctx, j->vae, j->dev, &v));
        TRY(fdit_plan_join(ctx, &j->plan, fdit_vae_plan_of(j->vae), ""));
    }
    TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_HOST, NULL,
                      fdit_loader_bytes(j->cache.info.n, j->pixels, j->pixels, &l), "pictures"));
    TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_HOST, NULL,
                      fdit_sources_bytes(j->cache.info.n) + 10 * j->cache.info.n, "what is there"));
    TRY(fdit_plan_add_process(ctx, &j->plan, j->dev));
    size_t rest = fdit_plan_room(&j->plan, limit);
    TRY(fdit_dataset_plan_reading(ctx, j->ds, o->workers, rest, o->skip_bad, &reading));
    TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_HOST, NULL, reading, "decoding, %d worker%s",
                      o->workers > 1 ? o->workers : 1, o->workers > 1 ? "s" : ""));
    j->summary->process_plan_bytes = fdit_plan_process_bytes(&j->plan);
    if (j->hooks && j->hooks->on_plan)
        j->hooks->on_plan(j->hooks->user, &j->plan, j->summary->bytes);
    j->summary->plan_bytes = fdit_plan_device_bytes(&j->plan);
    if (j->dev)
        TRY(fdit_plan_check(ctx, &j->plan, j->dev, limit, "use a smaller --size"));
out:
    return status;
}

/* What the cache is made from: pictures by number, name and label, not by where they lie. */
static enum fdit_status make_identity(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *i = &j->cache.info;
    uint64_t hash = FDIT_FNV_START, vae;
    char data[17], taxonomy[17], *name = NULL;
    struct fdit_json b;
    fdit_json_begin(&b);
    if (j->vae) {
        TRY(fdit_vae_hash(ctx, j->vae, &vae));
        snprintf(j->vae_hash, sizeof j->vae_hash, "%016" PRIx64, vae);
    }
    for (size_t k = 0; k < i->n; k++) {
        fdit_free(name);
        name = NULL;
        TRY(fdit_dataset_name(ctx, j->ds, k, &name));
        hash = fdit_fnv(hash, fdit_path_base(name), strlen(fdit_path_base(name)));
        hash = (hash ^ (uint32_t)j->labels[k]) * UINT64_C(0x100000001b3);
    }
    snprintf(data, sizeof data, "%016" PRIx64, hash);
    TRY(fdit_taxonomy_hash(ctx, fdit_dataset_taxonomy(j->ds), &hash));
    snprintf(taxonomy, sizeof taxonomy, "%016" PRIx64, hash);
    fdit_json_put_text(&b, NULL, "format", "finediffusion-encode");
    fdit_json_put_int(&b, NULL, "pictures", (int64_t)i->n);
    fdit_json_put_text(&b, NULL, "data", data);
    fdit_json_put_text(&b, NULL, "classes", taxonomy);
    fdit_json_put_text(&b, NULL, "kind", j->vae ? "moments" : "pixels");
    struct fdit_encode_options settled = *j->o; /* what was left to the autoencoder and the cache filled in */
    settled.channels = i->channels;
    settled.vae = j->vae_hash;
    settled.vae_scale = i->scale;
    settled.look = (struct fdit_picture_words){ j->noted ? i->orient : NULL, j->noted ? i->matte : NULL };
    fdit_options_put(&b, NULL, fdit_encode_option_table, FDIT_KEEP_RESULT, FDIT_KEEP_RESULT, &settled);
    TRY(fdit_json_end(ctx, &b, "the description of the cache",
                      JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), &j->identity));
    j->cache.identity = j->identity;
out:
    fdit_json_fini(&b);
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ encoding */

static enum fdit_status encode_half(fdit_context *ctx, struct job *j, const float *picture, uint8_t *to)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_vae_encode(ctx, j->vae, picture, j->moments));
    for (size_t i = 0; i < j->item; i++) {
        /* The log-variance is clamped when it is used; here only so that f16 can hold it. */
        if (i >= j->item / 2)
            j->moments[i] = j->moments[i] < -30 ? -30 : j->moments[i] > 20 ? 20 : j->moments[i];
        if (!(fabsf(j->moments[i]) < 65504))
            FAIL(ctx, FDIT_ERROR_NUMERIC, "a moment is %g, which f16 cannot hold; check the autoencoder",
                 (double)j->moments[i]);
    }
    fdit_f32_to_f16(j->item, j->moments, (uint16_t *)(void *)to);
out:
    return status;
}

static enum fdit_status encode_picture(fdit_context *ctx, struct job *j, const float *x)
{
    enum fdit_status status = FDIT_OK;
    size_t width = (size_t)j->o->size;
    if (!j->vae) {
        for (size_t i = 0; i < j->item; i++)
            j->record[i] = (uint8_t)lrintf((x[i] * 0.5f + 0.5f) * 255);
        return FDIT_OK;
    }
    TRY(encode_half(ctx, j, x, j->record));
    if (!j->cache.info.flip)
        goto out;
    for (size_t row = 0; row < j->pixels / width; row++)
        for (size_t i = 0; i < width; i++)
            j->mirrored[row * width + i] = x[row * width + width - 1 - i];
    TRY(encode_half(ctx, j, j->mirrored, j->record + j->item * sizeof(uint16_t)));
out:
    return status;
}

static size_t count_there(const struct job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->cache.info.n; i++)
        n += fdit_cache_has(j->writer, i);
    return n;
}

/* The pictures of the part that are not there, in order. */
static enum fdit_status list_missing(fdit_context *ctx, struct job *j, uint32_t **out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, j->cache.info.n, sizeof **out, out));
    *n = 0;
    for (size_t i = 0; i < j->cache.info.n; i++)
        if (fdit_cache_is_mine(&j->cache, i) && !fdit_cache_has(j->writer, i))
            (*out)[(*n)++] = (uint32_t)i;
out:
    return status;
}

/* Encodes what is not there; *broken: pictures left out. */
static enum fdit_status encode_rest(fdit_context *ctx, struct job *j, size_t *broken)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *missing = NULL;
    size_t n, done = count_there(j);
    const bool skip = j->o->skip_bad;
    struct fdit_loader_options l = {
        .batch = 1, .workers = j->o->workers, .ring = 8, .in_order = true, .skip_bad = skip, .leave_bad = skip
    };
    TRY(list_missing(ctx, j, &missing, &n));
    if (!n)
        goto out;
    TRY(fdit_loader_open(ctx, j->ds, missing, n, &l, &j->loader));
    for (size_t i = 0; i < n; i++) {
        struct fdit_batch b;
        status = fdit_loader_next(ctx, j->loader, &b);
        if (fdit_picture_is_bad(status) && !skip)
            FAIL(ctx, status, "%s; or leave out such pictures with --skip-bad", fdit_context_message(ctx));
        TRY(status);
        bool bad = b.index[0] == FDIT_LOADER_BAD;
        if (!bad)
            TRY(encode_picture(ctx, j, b.x));
        TRY(fdit_cache_put(ctx, j->writer, bad ? NULL : j->record)); /* the missing ones come in order */
        TRY(fdit_sources_put(ctx, j->sources, missing[i], skip));
        j->summary->encoded += !bad;
        *broken += bad;
        if (j->hooks && j->hooks->on_picture)
            j->hooks->on_picture(j->hooks->user, done + i + 1, j->summary->mine);
    }
out:
    fdit_free(missing);
    return status;
}

/* The writer of the part, or of all, with what its pictures were made from. *busy: another process has the
 * folder. */
static enum fdit_status open_writer(fdit_context *ctx, struct job *j, bool all, bool *busy)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_cache_job job = j->cache;
    if (all)
        job.parts = 0;
    TRY(fdit_cache_begin(ctx, j->o->out, &job, busy, &j->writer));
    fdit_phase_begin(ctx, 0, "looking at what is there");
    status = fdit_sources_open(ctx, j->o->out, j->ds, j->writer, &j->sources);
    fdit_phase_end(ctx);
out:
    return status;
}

static void close_writer(struct job *j)
{
    fdit_sources_close(j->sources);
    fdit_cache_writer_free(j->writer);
    j->sources = NULL;
    j->writer = NULL;
}

/* The index, when nothing is missing. Of several parts the last to come here writes it: each gives the folder
 * back before it asks for it alone, so that one of them gets it. */
static enum fdit_status finish(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_encode_summary *s = j->summary;
    bool busy = false;
    TRY(fdit_sources_sync(ctx, j->sources));
    if (j->cache.parts > 1) {
        TRY(fdit_cache_sync(ctx, j->writer));
        close_writer(j);
        status = open_writer(ctx, j, true, &busy);
        if (busy)
            return FDIT_OK;
        TRY(status);
        s->missing = s->pictures - count_there(j);
        if (s->missing)
            return FDIT_OK;
    }
    TRY(fdit_cache_end(ctx, j->writer, &s->bad));
    s->whole = true;
out:
    return status;
}

static enum fdit_status work(fdit_context *ctx, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_encode_summary *s = j->summary;
    size_t kept, broken = 0;
    TRY(open_writer(ctx, j, false, NULL));
    kept = count_there(j);
    for (size_t i = 0; i < j->cache.info.n; i++)
        s->mine += fdit_cache_is_mine(&j->cache, i);
    if (j->hooks && j->hooks->on_begin)
        j->hooks->on_begin(j->hooks->user);
    if (j->vae && kept < s->mine) {
        fdit_phase_begin(ctx, 0, "reading %s", j->o->vae);
        status = fdit_vae_allocate(ctx, j->vae);
        fdit_phase_end(ctx);
        TRY(status);
    }
    TRY(fdit_alloc(ctx, j->pixels, sizeof *j->mirrored, &j->mirrored));
    TRY(fdit_alloc(ctx, j->item, sizeof *j->moments, &j->moments));
    TRY(fdit_alloc(ctx, 2 * j->item, sizeof(uint16_t), &j->record));
    if (j->hooks && j->hooks->on_start)
        j->hooks->on_start(j->hooks->user, kept, s->mine);
    double began = fdit_clock_seconds();
    status = encode_rest(ctx, j, &broken);
    s->seconds = fdit_clock_seconds() - began;
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, status, "stopped after %zu of %zu pictures; the same command goes on with the others",
             count_there(j), s->mine);
    TRY(status);
    s->bad = broken;
    s->kept = s->mine - s->encoded - broken;
    TRY(finish(ctx, j));
    s->pictures_per_second = s->seconds > 0 ? (double)s->encoded / s->seconds : 0;
    if (j->vae)
        s->gflops =
            s->pictures_per_second * fdit_vae_flops(j->vae, false) * (j->cache.info.flip ? 2 : 1) / 1e9;
    s->peak_bytes = fdit_mem_highest();
out:
    return status;
}

enum fdit_status fdit_encode_run(fdit_context *ctx, fdit_device *dev, const struct fdit_encode_options *o,
                                 const struct fdit_encode_hooks *hooks, bool plan_only,
                                 struct fdit_encode_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_encode_summary own;
    struct job j = { .o = o, .hooks = hooks, .dev = dev, .summary = summary ? summary : &own };
    *j.summary = (struct fdit_encode_summary){ 0 };
    TRY(check(ctx, o));
    TRY(open_data(ctx, &j));
    describe(&j);
    TRY(make_plan(ctx, &j));
    if (plan_only)
        goto out;
    TRY(make_identity(ctx, &j));
    TRY(work(ctx, &j));
out:
    fdit_loader_close(j.loader);
    close_writer(&j);
    fdit_plan_fini(&j.plan);
    fdit_vae_free(j.vae);
    fdit_dataset_close(j.ds);
    fdit_taxonomy_free(j.taxonomy);
    void *blocks[] = { j.labels, j.taxonomy_json, j.identity, j.mirrored, j.moments, j.record };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        fdit_free(blocks[i]);
    return status;
}
