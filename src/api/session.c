/* SPDX-License-Identifier: Apache-2.0
 * Sessions of finediffusion.h: opening, and what they know. */
#include "api/session.h"

#include "api/api.h"
#include "core/mem.h"

#include <string.h>

void fdit_session_options_init_size(struct fdit_session_options *o, size_t size)
{
    memset(o, 0, size);
    memcpy(o, &size, sizeof size);
}

/* ------------------------------------------------------------------ opening */

static bool is_auto(const struct fdit_session_options *o)
{
    return o->precision && !strcmp(o->precision, "auto");
}

static bool given_as(const char *text, const char *have)
{
    return !text || (have && !strcmp(text, have));
}

/* What must be as it is in the session beside this one. */
static enum fdit_status check_beside(fdit_context *ctx, const struct fdit_session_options *o)
{
    const fdit_session *s = o->beside;
    const struct {
        const char *name, *given, *have;
    } texts[] = { { "base", o->base, s->base },
                  { "device", o->device, s->device },
                  { "precision", o->precision, fdit_dtype_name(s->precision) },
                  { "weights", o->weights, fdit_dtype_name(s->storage) } };
    if (!s->loaded || s->closed)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "fdit_session_options.beside: that session has no weights; open it without plan_only");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!given_as(texts[i].given, texts[i].have))
            return fdit_fail(
                ctx, FDIT_ERROR_ARGUMENT,
                "fdit_session_options.beside: %s is %s here and %s there; leave it NULL or open a session "
                "of its own",
                texts[i].name, texts[i].given, texts[i].have ? texts[i].have : "the default");
    return FDIT_OK;
}

/* Its own devices, or those of the session beside it. */
static enum fdit_status open_devices(fdit_context *ctx, fdit_session *s, const struct fdit_session_options *o,
                                     struct fdit_sample_options *options)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_device_options device = { .spec = o->device, .threads = o->threads, .fastest = is_auto(o) };
    if (o->beside) {
        s->devices = o->beside->devices;
        s->beside = o->beside;
        s->beside->users++;
        options->storage = s->beside->storage;
        options->precision = s->beside->precision;
    } else {
        device.precision = options->precision;
        TRY(fdit_api_devices(ctx, &device, options->storage, &s->devices));
    }
    s->storage = options->storage;
    s->precision = fdit_device_precision(s->devices.list[0]);
    TRY(fdit_strdup(ctx, options->base, &s->base));
    if (o->beside ? o->beside->device : o->device)
        TRY(fdit_strdup(ctx, o->beside ? o->beside->device : o->device, &s->device));
out:
    return status;
}

/* The options of a sampling job that say the same. */
static enum fdit_status convert(fdit_context *ctx, const struct fdit_session_options *o,
                                struct fdit_sample_options *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_option *table = fdit_sample_option_table;
    *out = fdit_sample_defaults();
    out->base = o->base || !o->beside ? o->base : o->beside->base;
    out->delta = o->delta;
    out->model = o->model;
    out->objective = o->objective;
    out->taxonomy = o->taxonomy;
    out->ranks = o->ranks;
    out->guide = o->guide;
    out->force = o->force;
    out->vae = o->vae;
    out->vae_scale = o->vae_scale;
    out->memory = o->memory;
    out->batch = o->batch;
    out->merge = o->merge;
    TRY(fdit_api_set(ctx, table, out, "cache-interval", o->cache_interval));
    TRY(fdit_api_set(ctx, table, out, "cache-order", o->cache_order));
    TRY(fdit_api_set(ctx, table, out, "cache-full", o->cache_full));
    TRY(fdit_api_set(ctx, table, out, "weights-from", o->weights_from));
    TRY(fdit_api_set(ctx, table, out, "weights", o->weights));
    if (!is_auto(o))
        TRY(fdit_api_set(ctx, table, out, "precision", o->precision));
    TRY(fdit_sample_check(ctx, out, true));
out:
    return status;
}

/* The plans of all devices, as text and as sums. */
static enum fdit_status describe_plan(fdit_context *ctx, fdit_session *s)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL, *longer = NULL;
    s->process_bytes = fdit_plan_process_bytes(fdit_painter_plan_of(s->painter, 0));
    for (int i = 0; i < fdit_painter_devices(s->painter); i++) {
        const struct fdit_plan *plan = fdit_painter_plan_of(s->painter, i);
        s->device_bytes += fdit_plan_device_bytes(plan);
        TRY(fdit_plan_text(ctx, plan, &part));
        TRY(fdit_strf(ctx, &longer, "%s%s", s->plan_text ? s->plan_text : "", part));
        fdit_free(s->plan_text);
        fdit_free(part);
        s->plan_text = longer;
        part = longer = NULL;
    }
out:
    fdit_free(part);
    return status;
}

static enum fdit_status open_all(fdit_context *ctx, fdit_session *s, const struct fdit_session_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options options;
    struct fdit_painter_options painter;
    /* how many steps a drawing will have is not known */
    struct fdit_generator_options how = { .batch = o->batch, .steps = FDIT_TRAIN_STEPS };
    if (o->beside)
        TRY(check_beside(ctx, o));
    TRY(convert(ctx, o, &options));
    TRY(open_devices(ctx, s, o, &options));
    s->merge = options.merge;
    s->reuse = options.reuse;
    TRY(fdit_sample_source_open_beside(ctx, &options, s->beside ? &s->beside->source : NULL, &s->source));
    s->has_source = true;
    TRY(fdit_config_name(ctx, &s->source.files.config, &s->model));
    painter = (struct fdit_painter_options){ .storage = options.storage,
                                             .vae = o->vae,
                                             .vae_scale = o->vae_scale,
                                             .memory = o->memory,
                                             .merge = o->merge,
                                             .lender = s->beside ? s->beside->painter : NULL };
    how.reuse = s->reuse;
    how.sampler.kind = fdit_sampler_usual(s->source.files.config.objective, FDIT_SAMPLER_DDPM);
    how.guided = s->source.guide.kind != FDIT_GUIDE_NONE;
    TRY(fdit_painter_new(ctx, &s->devices, &s->source, &painter, &s->painter));
    TRY(fdit_painter_plan(ctx, s->painter, &how, 0));
    TRY(describe_plan(ctx, s));
    if (o->plan_only)
        goto out;
    for (int i = 0; i < fdit_painter_devices(s->painter); i++)
        TRY(fdit_painter_check(ctx, s->painter, i));
    TRY(fdit_painter_load(ctx, s->painter, NULL));
    TRY(fdit_alloc(ctx, (size_t)fdit_painter_round(s->painter), sizeof *s->specs, &s->specs));
    s->loaded = true;
out:
    return status;
}

enum fdit_status fdit_session_open(fdit_context *ctx, const struct fdit_session_options *options,
                                   fdit_session **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_session_options o;
    fdit_session *s = NULL;
    *out = NULL;
    fdit_session_options_init(&o);
    TRY(fdit_api_options(ctx, "fdit_session_options", options, &o, sizeof o));
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    TRY(open_all(ctx, s, &o));
    *out = s;
    return FDIT_OK;
out:
    fdit_session_close(s);
    return status;
}

void fdit_session_close(fdit_session *s)
{
    if (!s)
        return;
    s->closed = true;
    if (s->users) /* the last of them closes it */
        return;
    fdit_session *beside = s->beside;
    fdit_painter_free(s->painter);
    if (s->has_source)
        fdit_sample_source_close(&s->source);
    if (!beside)
        fdit_devices_close(&s->devices);
    fdit_free(s->base);
    fdit_free(s->device);
    fdit_free(s->model);
    fdit_free(s->plan_text);
    fdit_free(s->specs);
    fdit_free(s);
    if (beside && --beside->users == 0 && beside->closed)
        fdit_session_close(beside);
}

/* ------------------------------------------------------------------ the plan */

const char *fdit_session_plan(const fdit_session *s)
{
    return s->plan_text;
}

size_t fdit_session_device_bytes(const fdit_session *s)
{
    return s->device_bytes;
}

size_t fdit_session_process_bytes(const fdit_session *s)
{
    return s->process_bytes;
}

int fdit_session_batch(const fdit_session *s)
{
    return fdit_painter_batch(s->painter);
}

/* ------------------------------------------------------------------ classes and sizes */

const char *fdit_session_model(const fdit_session *s)
{
    return s->model;
}

const char *fdit_session_guide(const fdit_session *s)
{
    return s->source.guide.text;
}

int32_t fdit_session_n_classes(const fdit_session *s)
{
    return fdit_taxonomy_n_classes(s->source.taxonomy);
}

const char *fdit_session_class_name(const fdit_session *s, int32_t id)
{
    return id >= 0 && id < fdit_session_n_classes(s) ? fdit_taxonomy_class_name(s->source.taxonomy, id)
                                                     : NULL;
}

int32_t fdit_session_find_class(const fdit_session *s, const char *name)
{
    return fdit_taxonomy_find_class(s->source.taxonomy, name);
}

int32_t fdit_session_n_ranks(const fdit_session *s)
{
    return fdit_taxonomy_n_ranks(s->source.taxonomy);
}

static bool has_rank(const fdit_session *s, int32_t rank)
{
    return rank >= 0 && rank < fdit_session_n_ranks(s);
}

const char *fdit_session_rank_name(const fdit_session *s, int32_t rank)
{
    return has_rank(s, rank) ? fdit_taxonomy_rank_name(s->source.taxonomy, rank) : NULL;
}

int32_t fdit_session_find_rank(const fdit_session *s, const char *name)
{
    return fdit_taxonomy_find_rank(s->source.taxonomy, name);
}

int32_t fdit_session_n_groups(const fdit_session *s, int32_t rank)
{
    return has_rank(s, rank) ? fdit_taxonomy_n_groups(s->source.taxonomy, rank) : 0;
}

const char *fdit_session_group_name(const fdit_session *s, int32_t rank, int32_t group)
{
    return group >= 0 && group < fdit_session_n_groups(s, rank)
               ? fdit_taxonomy_group_name(s->source.taxonomy, rank, group)
               : NULL;
}

int32_t fdit_session_find_group(const fdit_session *s, int32_t rank, const char *name)
{
    return has_rank(s, rank) ? fdit_taxonomy_find_group(s->source.taxonomy, rank, name) : -1;
}

int32_t fdit_session_class_group(const fdit_session *s, int32_t rank, int32_t id)
{
    return has_rank(s, rank) && id >= 0 && id < fdit_session_n_classes(s)
               ? fdit_taxonomy_group(s->source.taxonomy, rank, id)
               : -1;
}

enum fdit_status fdit_session_select(fdit_context *ctx, const fdit_session *s, const char *what, int32_t *ids,
                                     size_t room, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    int32_t *found = NULL;
    *n = 0;
    TRY(fdit_taxonomy_select(ctx, s->source.taxonomy, what, &found, n));
    if (room)
        memcpy(ids, found, (*n < room ? *n : room) * sizeof *ids);
out:
    fdit_free(found);
    return status;
}

int fdit_session_size(const fdit_session *s)
{
    return s->source.files.config.input_size;
}

int fdit_session_channels(const fdit_session *s)
{
    return s->source.files.config.channels;
}

size_t fdit_session_elements(const fdit_session *s)
{
    return fdit_painter_item(s->painter);
}

int fdit_session_picture_size(const fdit_session *s)
{
    return fdit_painter_decodes(s->painter) ? fdit_painter_size(s->painter) : 0;
}

int fdit_session_picture_channels(const fdit_session *s)
{
    return fdit_painter_decodes(s->painter) ? fdit_painter_channels(s->painter) : 0;
}

size_t fdit_session_picture_bytes(const fdit_session *s)
{
    size_t size = (size_t)fdit_session_picture_size(s);
    return size * size * (size_t)fdit_session_picture_channels(s);
}
