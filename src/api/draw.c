/* SPDX-License-Identifier: Apache-2.0
 * Drawing with a session of finediffusion.h: x, pixels, PNG files. */
#include "api/api.h"
#include "api/session.h"
#include "core/mem.h"
#include "picture/png.h"
#include "sample/caption.h"

#include <math.h>
#include <string.h>

void fdit_draw_options_init_size(struct fdit_draw_options *o, size_t size)
{
    const struct fdit_draw_options usual = { .size = size, .guidance = NAN, .clip_x0 = -1 };
    memset(o, 0, size);
    memcpy(o, &usual, size < sizeof usual ? size : sizeof usual);
}

/* What a step's report needs. */
struct drawing {
    const struct fdit_draw_options *o;
    fdit_context *ctx; /* of this drawing alone, so that a callback stops nothing else */
    size_t done, total;
};

static void on_step(void *user, int step, int steps)
{
    struct drawing *d = user;
    const struct fdit_draw_progress p = { .done = d->done, .total = d->total, .step = step, .steps = steps };
    if (!d->o->progress(d->o->user, &p))
        fdit_context_stop(d->ctx);
}

/* The options of a sampling job that say the same, with what is left to the model settled. */
static enum fdit_status settle(fdit_context *ctx, const fdit_session *s, const struct fdit_draw_options *o,
                               struct fdit_sample_options *options)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_option *table = fdit_sample_option_table;
    *options = fdit_sample_defaults();
    options->base = fdit_checkpoint_path(s->source.base);
    options->delta = s->source.delta ? fdit_checkpoint_path(s->source.delta) : NULL;
    options->storage = s->storage;
    options->precision = s->precision;
    options->merge = s->merge;
    options->reuse = s->reuse;
    options->guidance.w = o->guidance;
    options->clip_x0 = o->clip_x0;
    TRY(fdit_sample_check(ctx, options, true));
    TRY(fdit_api_set(ctx, table, options, "guidance-channels", o->guidance_channels));
    TRY(fdit_api_set(ctx, table, options, "guidance-interval", o->guidance_interval));
    TRY(fdit_api_set(ctx, table, options, "guidance-rule", o->guidance_rule));
    TRY(fdit_api_set(ctx, table, options, "rng", o->rng));
    TRY(fdit_api_set(ctx, table, options, "sampler", o->sampler));
    TRY(fdit_sample_settle(ctx, options, &s->source,
                           fdit_painter_decodes(s->painter) && !fdit_painter_vae(s->painter)));
out:
    return status;
}

static struct fdit_generator_options way(const fdit_session *s, const struct fdit_draw_options *o,
                                         const struct fdit_sample_options *options)
{
    return (struct fdit_generator_options){ .sampler = options->sampler,
                                            .steps = o->steps,
                                            .guidance = options->guidance,
                                            .reuse = options->reuse,
                                            .guided = s->source.guide.kind != FDIT_GUIDE_NONE,
                                            .told = s->source.guide.input,
                                            .clip_x0 = options->clip_x0 > 0,
                                            .noise = options->rng };
}

/* The next k pictures, at most a round. */
static enum fdit_status draw_round(fdit_context *ctx, fdit_session *s, const int32_t *classes,
                                   const uint64_t *seeds, size_t k, float *x)
{
    enum fdit_status status = FDIT_OK;
    size_t item = fdit_painter_item(s->painter);
    for (size_t i = 0; i < k; i++)
        s->specs[i] = fdit_sample_source_picture(&s->source, classes[i], seeds[i]);
    TRY(fdit_painter_draw(ctx, s->painter, s->specs, k, x));
    for (size_t i = 0; i < k; i++)
        TRY(fdit_sample_source_check(ctx, &s->source, &s->specs[i], x + i * item, item));
out:
    return status;
}

static enum fdit_status draw_all(fdit_context *ctx, fdit_session *s, const struct fdit_draw_options *o,
                                 const int32_t *classes, const uint64_t *seeds, size_t n, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options options;
    struct fdit_generator_options how;
    struct drawing d = { .o = o, .ctx = ctx, .total = n };
    size_t round = (size_t)fdit_painter_round(s->painter), item = fdit_painter_item(s->painter);
    TRY(settle(ctx, s, o, &options));
    how = way(s, o, &options);
    how.on_step = o->progress ? on_step : NULL;
    how.user = &d;
    TRY(fdit_painter_set(ctx, s->painter, &how));
    while (d.done < n) {
        size_t k = n - d.done < round ? n - d.done : round;
        TRY(draw_round(ctx, s, classes + d.done, seeds + d.done, k, x + d.done * item));
        d.done += k;
    }
out:
    return status;
}

static enum fdit_status check_class(fdit_context *ctx, const fdit_session *s, int32_t id)
{
    const int32_t n = fdit_session_n_classes(s);
    if (id >= 0 && id < n)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "class %d: the model has the classes 0 to %d", (int)id,
                     (int)n - 1);
}

enum fdit_status fdit_session_draw(fdit_context *ctx, fdit_session *s,
                                   const struct fdit_draw_options *options, const int32_t *classes,
                                   const uint64_t *seeds, size_t n, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_draw_options o;
    fdit_context *own = NULL;
    fdit_draw_options_init(&o);
    if (options)
        TRY(fdit_api_options(ctx, "fdit_draw_options", options, &o, sizeof o));
    if (!s->loaded)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "opened with plan_only: there are no weights to draw with");
    for (size_t i = 0; i < n; i++)
        TRY(check_class(ctx, s, classes[i]));
    own = fdit_context_child(ctx);
    if (!own)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory");
    status = draw_all(own, s, &o, classes, seeds, n, x);
    if (status != FDIT_OK)
        fdit_context_take_message(ctx, own);
out:
    fdit_context_free(own);
    return status;
}

/* ------------------------------------------------------------------ pictures */

enum fdit_status fdit_session_pixels(fdit_context *ctx, fdit_session *s, const float *x, size_t n,
                                     unsigned char *pixels)
{
    enum fdit_status status = FDIT_OK;
    size_t item = fdit_painter_item(s->painter), bytes = fdit_session_picture_bytes(s);
    if (!s->loaded)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "opened with plan_only: there is nothing to decode with");
    for (size_t i = 0; i < n; i++)
        TRY(fdit_painter_decode(ctx, s->painter, x + i * item, pixels + i * bytes));
out:
    return status;
}

enum fdit_status fdit_session_save_png(fdit_context *ctx, fdit_session *s, const float *x, const char *path)
{
    enum fdit_status status = FDIT_OK;
    unsigned char *pixels = NULL;
    int size = fdit_session_picture_size(s);
    TRY(fdit_alloc(ctx, fdit_session_picture_bytes(s) + 1, 1, &pixels));
    TRY(fdit_session_pixels(ctx, s, x, 1, pixels));
    TRY(fdit_save_png(ctx, path, pixels, size, size, fdit_session_picture_channels(s)));
out:
    fdit_free(pixels);
    return status;
}

static enum fdit_status read_files(fdit_context *ctx, fdit_session *s)
{
    enum fdit_status status = FDIT_OK;
    if (s->has_files)
        return FDIT_OK;
    if (fdit_painter_vae(s->painter))
        TRY(fdit_vae_hash(ctx, fdit_painter_vae(s->painter), &s->files.vae));
    TRY(fdit_identity_read(ctx, &s->source, &s->files));
    s->has_files = true;
out:
    return status;
}

/* With the texts of a picture of this class and seed that was drawn in this way. */
static enum fdit_status write_picture(fdit_context *ctx, fdit_session *s,
                                      const struct fdit_sample_options *options, int32_t id, uint64_t seed,
                                      const struct fdit_picture *picture, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_identity identity = { .text = NULL };
    struct fdit_caption_texts texts = { 0 };
    const int steps = fdit_painter_steps(s->painter);
    char sampler[40];
    TRY(fdit_identity_init(ctx, options, &s->source, &s->files, NULL, steps, &identity));
    fdit_sampler_format(&options->sampler, sampler);
    const struct fdit_caption caption = { .identity = &identity,
                                          .model = s->model,
                                          .sampler = sampler,
                                          .guide = s->source.guide.text,
                                          .w = options->guidance.w,
                                          .clip_x0 = options->clip_x0 > 0,
                                          .steps = steps,
                                          .width = picture->width,
                                          .height = picture->height };
    TRY(fdit_caption_make(ctx, &caption, fdit_session_class_name(s, id), id, seed, &texts));
    TRY(fdit_png_write_with(ctx, path, picture, texts.list, FDIT_CAPTION_TEXTS));
out:
    fdit_caption_fini(&texts);
    fdit_identity_fini(&identity);
    return status;
}

enum fdit_status fdit_session_save_picture(fdit_context *ctx, fdit_session *s,
                                           const struct fdit_draw_options *options, int32_t class_id,
                                           uint64_t seed, const float *x, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_draw_options o;
    struct fdit_sample_options settled;
    struct fdit_generator_options how;
    struct fdit_picture picture = { 0 };
    const int size = fdit_session_picture_size(s);
    fdit_draw_options_init(&o);
    if (options)
        TRY(fdit_api_options(ctx, "fdit_draw_options", options, &o, sizeof o));
    TRY(check_class(ctx, s, class_id));
    if (!size)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: latents are not a picture; open the session with an autoencoder",
             path);
    TRY(settle(ctx, s, &o, &settled));
    how = way(s, &o, &settled);
    TRY(fdit_painter_set(ctx, s->painter, &how));
    TRY(read_files(ctx, s));
    TRY(fdit_picture_new(ctx, size, size, fdit_session_picture_channels(s), &picture));
    TRY(fdit_session_pixels(ctx, s, x, 1, picture.pixels));
    TRY(write_picture(ctx, s, &settled, class_id, seed, &picture, path));
out:
    fdit_picture_fini(&picture);
    return status;
}

enum fdit_status fdit_save_png(fdit_context *ctx, const char *path, const unsigned char *pixels, int width,
                               int height, int channels)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture p = { 0 };
    if (width < 1 || height < 1 || (channels != 1 && channels != 3))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: %d x %d of %d channels is not a picture; give at least 1 x 1, of 1 or 3 channels", path,
             width, height, channels);
    TRY(fdit_picture_new(ctx, width, height, channels, &p));
    memcpy(p.pixels, pixels, (size_t)width * (size_t)height * (size_t)channels);
    TRY(fdit_png_write(ctx, path, &p));
out:
    fdit_picture_fini(&p);
    return status;
}
