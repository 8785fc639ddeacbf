/* SPDX-License-Identifier: Apache-2.0
 * The drawing half of finediffusion.h. */
#include "core/mem.h"
#include "devices.h"
#include "sample/pixels.h"
#include "sample/subject.h"

struct fdit_session {
    fdit_device *dev;
    struct fdit_sample_options options;
    struct fdit_subject subject;
    bool has_subject;
    struct fdit_model *model, *guide_model;
    int batch;
};

static enum fdit_status load(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_files *files,
                             int batch, bool both, struct fdit_model **out)
{
    enum fdit_status status = FDIT_OK;
    /* how many steps a drawing will have is not known */
    const struct fdit_generator_options g = { .batch = batch, .guided = true, .steps = FDIT_TRAIN_STEPS };
    struct fdit_model_options o = { .batch = fdit_generator_model_batch(&g, both),
                                    .conditions = fdit_generator_conditions(&g, both),
                                    .storage = FDIT_F32 };
    TRY(fdit_model_new(ctx, dev, &files->config, &o, out));
    TRY(fdit_plan_check(ctx, &(*out)->plan, dev, dev->info.memory, "use a smaller batch"));
    TRY(fdit_model_allocate(ctx, *out));
    TRY(fdit_model_load(ctx, *out, files->list, files->n, false, NULL));
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
    s->batch = o->batch > 0 ? o->batch : 16;
    s->options = fdit_sample_defaults();
    s->options.base = o->base;
    s->options.delta = o->delta;
    s->options.taxonomy = o->taxonomy;
    s->options.guide = o->guide;
    struct fdit_device_options d = { .spec = o->device, .threads = o->threads };
    TRY(fdit_devices_open(ctx, &d, &s->dev));
    if (s->dev->next)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "fdit_session_open: a session works on one device, '%s' names several",
             o->device ? o->device : "FINEDIFFUSION_DEVICE");
    TRY(fdit_subject_open(ctx, &s->options, &s->subject));
    s->has_subject = true;
    /* both branches of a guided step go through the network at once */
    bool own_guide = s->subject.guide != FDIT_GUIDE_NONE && !s->subject.guide_files.n;
    TRY(load(ctx, s->dev, &s->subject.files, s->batch, own_guide, &s->model));
    if (s->subject.guide_files.n)
        TRY(load(ctx, s->dev, &s->subject.guide_files, s->batch, false, &s->guide_model));
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
    fdit_model_free(s->guide_model);
    fdit_model_free(s->model);
    if (s->has_subject)
        fdit_subject_close(&s->subject);
    fdit_device_close(s->dev);
    fdit_free(s);
}

int32_t fdit_session_classes(const fdit_session *s)
{
    return fdit_taxonomy_n_classes(s->subject.taxonomy);
}

const char *fdit_session_class_name(const fdit_session *s, int32_t id)
{
    return id >= 0 && id < fdit_session_classes(s) ? fdit_taxonomy_class_name(s->subject.taxonomy, id) : NULL;
}

int32_t fdit_session_find_class(const fdit_session *s, const char *name)
{
    return fdit_taxonomy_find_class(s->subject.taxonomy, name);
}

int fdit_session_size(const fdit_session *s)
{
    return s->model->config.input_size;
}

int fdit_session_channels(const fdit_session *s)
{
    return s->model->config.channels;
}

size_t fdit_session_numbers(const fdit_session *s)
{
    size_t side = (size_t)s->model->config.input_size;
    return (size_t)s->model->config.channels * side * side;
}

/* One batch, k <= s->batch. */
static enum fdit_status draw(fdit_context *ctx, fdit_session *s, struct fdit_generator *g,
                             const int32_t *classes, const uint64_t *seeds, size_t k, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_spec *specs = NULL;
    TRY(fdit_alloc(ctx, k, sizeof *specs, &specs));
    for (size_t i = 0; i < k; i++) {
        if (classes[i] < 0 || classes[i] >= fdit_session_classes(s))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "class %d: the model has the classes 0 to %d", classes[i],
                 fdit_session_classes(s) - 1);
        specs[i] = fdit_subject_picture(&s->subject, classes[i], seeds[i]);
    }
    TRY(fdit_generator_run(ctx, g, specs, (int)k, x));
out:
    fdit_free(specs);
    return status;
}

enum fdit_status fdit_session_draw(fdit_context *ctx, fdit_session *s,
                                   const struct fdit_draw_options *options, const int32_t *classes,
                                   const uint64_t *seeds, size_t n, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_generator *g = NULL;
    struct fdit_generator_options o = { .steps = options->steps,
                                        .guidance = FDIT_GUIDANCE_DEFAULT,
                                        .guided = s->subject.guide != FDIT_GUIDE_NONE,
                                        .clip_x0 = options->clip_x0,
                                        .batch = s->batch };
    TRY(fdit_sampler_parse(ctx, options->sampler ? options->sampler : "ddpm", &o.sampler));
    o.guidance.w = options->guidance;
    o.guidance.channels = options->all_channels ? -1 : 0;
    TRY(fdit_generator_new(ctx, s->model, s->guide_model, &o, &g));
    TRY(fdit_model_allocate(ctx, s->model)); /* the generator's own buffer */
    fdit_generator_bind(g);
    for (size_t done = 0; done < n;) {
        size_t k = n - done < (size_t)s->batch ? n - done : (size_t)s->batch;
        TRY(draw(ctx, s, g, classes + done, seeds + done, k, x + done * fdit_session_numbers(s)));
        done += k;
    }
out:
    fdit_generator_free(g);
    return status;
}

void fdit_session_pixels(const fdit_session *s, const float *x, size_t n, uint8_t *pixels)
{
    size_t one = fdit_session_numbers(s), channels = (size_t)fdit_session_channels(s);
    for (size_t i = 0; i < n; i++)
        fdit_pixels(x + i * one, (int)channels, one / channels, pixels + i * one);
}
