/* SPDX-License-Identifier: Apache-2.0
 * The drawing half of finediffusion.h. */
#include "core/mem.h"
#include "devices.h"
#include "sample/painter.h"
#include "sample/pixels.h"

struct fdit_session {
    fdit_device *dev;
    struct fdit_sample_source source;
    bool has_source;
    struct fdit_painter *painter;
    struct fdit_picture_spec *specs; /* [batch] */
};

static enum fdit_status open_all(fdit_context *ctx, fdit_session *s, const struct fdit_session_options *o)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options options = fdit_sample_defaults();
    struct fdit_device_options d = { .spec = o->device, .threads = o->threads };
    const struct fdit_painter_options painter = { .storage = FDIT_F32 };
    /* how many steps a drawing will have is not known */
    struct fdit_generator_options how = { .batch = o->batch > 0 ? o->batch : 16, .steps = FDIT_TRAIN_STEPS };
    options.base = o->base;
    options.delta = o->delta;
    options.taxonomy = o->taxonomy;
    options.guide = o->guide;
    TRY(fdit_devices_open(ctx, &d, &s->dev));
    TRY(fdit_sample_source_open(ctx, &options, &s->source));
    s->has_source = true;
    how.guided = s->source.guide.kind != FDIT_GUIDE_NONE;
    TRY(fdit_painter_new(ctx, s->dev, &s->source, &painter, &s->painter));
    TRY(fdit_painter_plan(ctx, s->painter, &how, 0));
    for (int i = 0; i < fdit_painter_devices(s->painter); i++)
        TRY(fdit_painter_check(ctx, s->painter, i));
    TRY(fdit_painter_load(ctx, s->painter, NULL));
    TRY(fdit_alloc(ctx, (size_t)fdit_painter_round(s->painter), sizeof *s->specs, &s->specs));
out:
    return status;
}

enum fdit_status fdit_session_open(fdit_context *ctx, const struct fdit_session_options *o,
                                   fdit_session **out)
{
    enum fdit_status status = FDIT_OK;
    fdit_session *s = NULL;
    *out = NULL;
    if (!o->base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "fdit_session_open: base is NULL; give a checkpoint");
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    TRY(open_all(ctx, s, o));
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
    fdit_painter_free(s->painter);
    if (s->has_source)
        fdit_sample_source_close(&s->source);
    fdit_device_close(s->dev);
    fdit_free(s->specs);
    fdit_free(s);
}

int32_t fdit_session_classes(const fdit_session *s)
{
    return fdit_taxonomy_n_classes(s->source.taxonomy);
}

const char *fdit_session_class_name(const fdit_session *s, int32_t id)
{
    return id >= 0 && id < fdit_session_classes(s) ? fdit_taxonomy_class_name(s->source.taxonomy, id) : NULL;
}

int32_t fdit_session_find_class(const fdit_session *s, const char *name)
{
    return fdit_taxonomy_find_class(s->source.taxonomy, name);
}

int fdit_session_size(const fdit_session *s)
{
    return s->source.files.config.input_size;
}

int fdit_session_channels(const fdit_session *s)
{
    return s->source.files.config.channels;
}

size_t fdit_session_numbers(const fdit_session *s)
{
    return fdit_painter_item(s->painter);
}

/* The next k pictures, at most a round. */
static enum fdit_status draw(fdit_context *ctx, fdit_session *s, const int32_t *classes,
                             const uint64_t *seeds, size_t k, float *x)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < k; i++) {
        if (classes[i] < 0 || classes[i] >= fdit_session_classes(s))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "class %d: the model has the classes 0 to %d", classes[i],
                 fdit_session_classes(s) - 1);
        s->specs[i] = fdit_sample_source_picture(&s->source, classes[i], seeds[i]);
    }
    TRY(fdit_painter_draw(ctx, s->painter, s->specs, k, x));
out:
    return status;
}

enum fdit_status fdit_session_draw(fdit_context *ctx, fdit_session *s,
                                   const struct fdit_draw_options *options, const int32_t *classes,
                                   const uint64_t *seeds, size_t n, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_generator_options how = { .steps = options->steps,
                                          .guidance = FDIT_GUIDANCE_DEFAULT,
                                          .guided = s->source.guide.kind != FDIT_GUIDE_NONE,
                                          .clip_x0 = options->clip_x0 };
    size_t round = (size_t)fdit_painter_round(s->painter);
    TRY(fdit_sampler_parse(ctx, options->sampler ? options->sampler : "ddpm", &how.sampler));
    how.guidance.w = options->guidance;
    how.guidance.channels = options->all_channels ? -1 : 0;
    TRY(fdit_painter_set(ctx, s->painter, &how));
    for (size_t done = 0; done < n;) {
        size_t k = n - done < round ? n - done : round;
        TRY(draw(ctx, s, classes + done, seeds + done, k, x + done * fdit_painter_item(s->painter)));
        done += k;
    }
out:
    return status;
}

void fdit_session_pixels(const fdit_session *s, const float *x, size_t n, uint8_t *pixels)
{
    size_t one = fdit_painter_item(s->painter), channels = (size_t)fdit_session_channels(s);
    for (size_t i = 0; i < n; i++)
        fdit_pixels(x + i * one, (int)channels, one / channels, pixels + i * one);
}
