/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/drawer.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "core/phase.h"
#include "sample/identity.h"
#include "sample/painter.h"
#include "sample/request.h"

#include <inttypes.h>
#include <stdio.h>

struct fdit_drawer {
    struct fdit_drawing drawing;
    struct fdit_sample_options options;
    struct fdit_sample_source source;
    struct fdit_request request;
    struct fdit_painter *painter;
    fdit_drawer_step_fn on_step;
    void *user;
    char how[256];
    float *x;                        /* [round, item] */
    uint8_t *pixels;                 /* [round, size, size, channels] */
    struct fdit_picture_spec *specs; /* [round] */
    size_t bytes;                    /* of a picture */
    bool loaded;
    size_t first, have; /* pixels are of pictures first .. first + have - 1 */
};

static void on_step(void *user, int step, int steps)
{
    const struct fdit_drawer *d = user;
    if (d->on_step)
        d->on_step(d->user, d->have, step, steps);
}

/* ------------------------------------------------------------------ the pictures */

static int32_t label_of(void *self, size_t i)
{
    const struct fdit_drawer *d = self;
    return fdit_request_at(&d->request, i).id;
}

static enum fdit_status title_of(fdit_context *ctx, void *self, size_t i, char **out)
{
    const struct fdit_drawer *d = self;
    struct fdit_request_item item = fdit_request_at(&d->request, i);
    return fdit_strf(ctx, out, "%s, seed %" PRIu64, fdit_taxonomy_class_name(d->source.taxonomy, item.id),
                     item.seed);
}

/* Pictures i .. of one round, into d->pixels. */
static enum fdit_status draw_round(fdit_context *ctx, struct fdit_drawer *d, size_t i, size_t end)
{
    enum fdit_status status = FDIT_OK;
    size_t round = (size_t)fdit_painter_round(d->painter), n = end - i < round ? end - i : round;
    size_t item = fdit_painter_item(d->painter);
    for (size_t k = 0; k < n; k++) {
        struct fdit_request_item at = fdit_request_at(&d->request, i + k);
        d->specs[k] = fdit_sample_source_picture(&d->source, at.id, at.seed);
    }
    d->first = i;
    d->have = n;
    status = fdit_painter_draw(ctx, d->painter, d->specs, n, d->x);
    for (size_t k = 0; k < n && status == FDIT_OK; k++) {
        struct fdit_request_item at = fdit_request_at(&d->request, i + k);
        const struct fdit_picture_spec spec = { .class_id = at.id, .seed = at.seed };
        TRY(fdit_sample_source_check(ctx, &d->source, &spec, d->x + k * item, item));
        status = fdit_painter_decode(ctx, d->painter, d->x + k * item, d->pixels + k * d->bytes);
    }
out:
    if (status != FDIT_OK)
        d->have = 0;
    return status;
}

static enum fdit_status picture_of(fdit_context *ctx, void *self, size_t i, size_t end,
                                   struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_drawer *d = self;
    int size = fdit_painter_size(d->painter);
    if (i < d->first || i - d->first >= d->have)
        TRY(draw_round(ctx, d, i, end));
    *out = (struct fdit_picture){ size, size, d->drawing.channels, d->pixels + (i - d->first) * d->bytes };
out:
    return status;
}

static enum fdit_status identity_of(fdit_context *ctx, void *self, uint64_t *hash)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_drawer *d = self;
    struct fdit_identity_files files = { 0 };
    struct fdit_identity id = { .options = NULL };
    TRY(fdit_identity_read(ctx, &d->source, &files));
    if (fdit_painter_vae(d->painter))
        TRY(fdit_vae_hash(ctx, fdit_painter_vae(d->painter), &files.vae));
    TRY(fdit_identity_init(ctx, &d->options, &d->source, &files, NULL, fdit_painter_steps(d->painter), &id));
    *hash = fdit_fnv(FDIT_FNV_START, id.picture, sizeof id.picture);
    for (size_t i = 0; i < d->request.n; i++) {
        const struct fdit_request_item item = fdit_request_at(&d->request, i);
        const uint64_t pair[2] = { (uint64_t)item.id, item.seed };
        *hash = fdit_fnv(*hash, pair, sizeof pair);
    }
out:
    fdit_identity_fini(&id);
    return status;
}

/* ------------------------------------------------------------------ opening */

static enum fdit_status make_plan(fdit_context *ctx, struct fdit_drawer *d, size_t memory)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_sample_options *o = &d->options;
    struct fdit_generator_options how = fdit_sample_way(o, &d->source);
    char sampler[40], guide[64] = "";
    how.on_step = on_step;
    how.user = d;
    fdit_painter_limit(d->painter, memory);
    TRY(fdit_painter_plan(ctx, d->painter, &how, d->request.n));
    fdit_sampler_format(&o->sampler, sampler);
    const bool guided = how.guided || how.told;
    if (guided)
        snprintf(guide, sizeof guide, ", w = %g", o->guidance.w);
    snprintf(d->how, sizeof d->how, "%s in %d steps, %s%.100s%s%s", sampler, fdit_painter_steps(d->painter),
             guided ? "guide " : "", guided ? d->source.guide.text : "no guide", guide,
             o->clip_x0 > 0 ? ", x0 clipped" : "");
    d->bytes = (size_t)fdit_painter_size(d->painter) * (size_t)fdit_painter_size(d->painter) *
               (size_t)fdit_painter_channels(d->painter);
out:
    return status;
}

/* The painter's, without the process, which whoever plans has seen before, and the pixels of a round. */
static enum fdit_status plan_of(fdit_context *ctx, void *self, size_t memory, struct fdit_plan *plan)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_drawer *d = self;
    TRY(make_plan(ctx, d, memory));
    const struct fdit_plan *own = fdit_painter_plan_of(d->painter, 0);
    for (size_t i = 0; i < own->n; i++)
        if (own->list[i].kind != FDIT_PLAN_PROCESS)
            TRY(fdit_plan_add(ctx, plan, own->list[i].kind, own->list[i].where, own->list[i].bytes,
                              "drawing: %s", own->list[i].label));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, (size_t)fdit_painter_round(d->painter) * d->bytes,
                      "drawing: pixels"));
out:
    return status;
}

static const struct fdit_plan *other_plan(void *self, int i)
{
    const struct fdit_drawer *d = self;
    return i + 1 < fdit_painter_devices(d->painter) ? fdit_painter_plan_of(d->painter, i + 1) : NULL;
}

static enum fdit_status load(fdit_context *ctx, void *self)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_drawer *d = self;
    if (d->loaded)
        return FDIT_OK;
    for (int i = 0; i < fdit_painter_devices(d->painter); i++)
        TRY(fdit_painter_check(ctx, d->painter, i));
    fdit_phase_begin(ctx, 0, "reading %s", fdit_path_base(d->options.base));
    status = fdit_painter_load(ctx, d->painter, NULL);
    fdit_phase_end(ctx);
    TRY(status);
    size_t round = (size_t)fdit_painter_round(d->painter);
    TRY(fdit_alloc(ctx, round, fdit_painter_item(d->painter) * sizeof(float), &d->x));
    TRY(fdit_alloc(ctx, round, d->bytes, &d->pixels));
    TRY(fdit_alloc(ctx, round, sizeof *d->specs, &d->specs));
    d->loaded = true;
out:
    return status;
}

enum fdit_status fdit_drawer_open(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_options *options, fdit_drawer_step_fn step,
                                  void *user, struct fdit_drawer **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_drawer *d = NULL;
    *out = NULL;
    if (options->n_deltas > 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--delta %s: one model is measured at a time; give one --delta",
             options->deltas[1]);
    TRY(fdit_sample_check(ctx, options, true));
    TRY(fdit_alloc(ctx, 1, sizeof *d, &d));
    struct fdit_sample_options *o = &d->options;
    *o = *options;
    d->on_step = step;
    d->user = user;
    TRY(fdit_sample_source_open(ctx, o, &d->source));
    TRY(fdit_request_init(ctx, d->source.taxonomy, o->classes, o->counts, o->per_class, o->seed, 0, 1,
                          &d->request));
    const struct fdit_painter_options how = {
        .storage = o->storage, .vae = o->vae, .vae_scale = o->vae_scale, .memory = o->memory
    };
    TRY(fdit_painter_new(ctx, devices, &d->source, &how, &d->painter));
    if (!fdit_painter_decodes(d->painter))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s works on latents (%d channels), which cannot be measured; give the autoencoder that decodes "
             "them, --vae FILE",
             o->base, d->source.files.config.channels);
    TRY(fdit_sample_settle(ctx, o, &d->source, !fdit_painter_vae(d->painter)));
    TRY(make_plan(ctx, d, o->memory));
    d->drawing = (struct fdit_drawing){ .self = d,
                                        .name = o->delta ? o->delta : o->base,
                                        .n = d->request.n,
                                        .size = fdit_painter_size(d->painter),
                                        .channels = fdit_painter_channels(d->painter),
                                        .taxonomy = d->source.taxonomy,
                                        .named = d->source.named,
                                        .label = label_of,
                                        .plan = plan_of,
                                        .other = other_plan,
                                        .load = load,
                                        .picture = picture_of,
                                        .identity = identity_of,
                                        .title = title_of };
    *out = d;
    d = NULL;
out:
    fdit_drawer_close(d);
    return status;
}

void fdit_drawer_close(struct fdit_drawer *d)
{
    if (!d)
        return;
    fdit_painter_free(d->painter);
    fdit_request_fini(&d->request);
    fdit_sample_source_close(&d->source);
    fdit_free(d->x);
    fdit_free(d->pixels);
    fdit_free(d->specs);
    fdit_free(d);
}

const struct fdit_drawing *fdit_drawer_drawing(const struct fdit_drawer *d)
{
    return &d->drawing;
}

const char *fdit_drawer_how(const struct fdit_drawer *d)
{
    return d->how;
}
