/* SPDX-License-Identifier: Apache-2.0 */
#include "train/preview.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "picture/grid.h"
#include "picture/png.h"
#include "sample/pixels.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Models on latents are large: a sheet of them must not take longer than a few steps of training. */
enum { MOST_CLASSES = 8, PER_CLASS = 4, PER_CLASS_LATENT = 2, STEPS = 25 };

struct fdit_preview {
    struct fdit_model *model;
    struct fdit_autoencoder *coder; /* NULL: the model works on pixels */
    const struct fdit_taxonomy *taxonomy;
    struct fdit_generator *generator;
    int32_t rank, empty_row;
    bool guided;
    double guidance;
    int classes, per_class, batch;
    int size, channels; /* of a picture */
    float *x;           /* [batch, C, S, S] as the model has it */
    float *decoded;     /* [channels, size, size] of one; NULL: is in x */
    uint8_t *pixels;    /* [classes * per_class, size, size, channels] */
};

/* Numbers of one picture. */
static size_t numbers(const struct fdit_preview *p)
{
    return (size_t)p->channels * (size_t)p->size * (size_t)p->size;
}

enum fdit_status fdit_preview_new(fdit_context *ctx, struct fdit_model *model, struct fdit_autoencoder *coder,
                                  const struct fdit_taxonomy *taxonomy, int32_t rank, int32_t empty_row,
                                  double guidance, struct fdit_preview **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &model->config;
    size_t item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    int classes = fdit_taxonomy_n_classes(taxonomy);
    struct fdit_preview *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->model = model;
    p->coder = coder;
    p->size = coder ? fdit_autoencoder_size(coder) : c->input_size;
    p->channels = coder ? fdit_autoencoder_channels_out(coder) : c->channels;
    p->per_class = coder ? PER_CLASS_LATENT : PER_CLASS;
    p->taxonomy = taxonomy;
    p->rank = rank;
    p->empty_row = empty_row;
    p->classes = classes < MOST_CLASSES ? classes : MOST_CLASSES;
    bool guided = (rank >= 0 || empty_row >= 0) && model->options.batch > 1;
    int room = guided ? model->options.batch / 2 : model->options.batch;
    p->batch = room < p->classes * p->per_class ? room : p->classes * p->per_class;
    struct fdit_generator_options options = { .sampler = { .kind = FDIT_SAMPLER_DDIM },
                                              .steps = STEPS,
                                              .guidance = FDIT_GUIDANCE_DEFAULT,
                                              .guided = guided,
                                              .clip_x0 = !coder,
                                              .batch = p->batch };
    options.guidance.w = guidance;
    p->guided = guided && guidance != 1;
    p->guidance = guidance;
    TRY(fdit_generator_new(ctx, model, NULL, &options, &p->generator));
    TRY(fdit_alloc(ctx, (size_t)p->batch * item, sizeof(float), &p->x));
    if (coder)
        TRY(fdit_alloc(ctx, numbers(p), sizeof(float), &p->decoded));
    TRY(fdit_alloc(ctx, (size_t)(p->classes * p->per_class) * numbers(p), 1, &p->pixels));
    *out = p;
    return FDIT_OK;
out:
    fdit_preview_free(p);
    return status;
}

void fdit_preview_bind(struct fdit_preview *p)
{
    fdit_generator_bind(p->generator);
}

void fdit_preview_free(struct fdit_preview *p)
{
    if (!p)
        return;
    fdit_generator_free(p->generator);
    fdit_free(p->x);
    fdit_free(p->decoded);
    fdit_free(p->pixels);
    fdit_free(p);
}

/* Class k of the sheet: evenly spread over all. */
static int32_t class_at(const struct fdit_preview *p, int k)
{
    return (int32_t)((int64_t)k * fdit_taxonomy_n_classes(p->taxonomy) / p->classes);
}

int fdit_preview_pictures(const struct fdit_preview *p)
{
    return p->classes * p->per_class;
}

static enum fdit_status sample_all(fdit_context *ctx, struct fdit_preview *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &p->model->config;
    size_t item = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    int total = p->classes * p->per_class;
    for (int done = 0; done < total;) {
        struct fdit_picture_spec specs[MOST_CLASSES * PER_CLASS];
        int n = total - done < p->batch ? total - done : p->batch;
        fdit_phase_at(ctx, (uint64_t)done);
        for (int i = 0; i < n; i++) {
            int32_t id = class_at(p, (done + i) / p->per_class);
            int32_t guide =
                p->rank >= 0 ? fdit_taxonomy_superclass_row(p->taxonomy, p->rank, id) : p->empty_row;
            specs[i] = (struct fdit_picture_spec){ .seed = (uint64_t)((done + i) % p->per_class),
                                                   .class_id = id,
                                                   .row = id,
                                                   .guide_row = guide >= 0 ? guide : id };
        }
        TRY(fdit_generator_run(ctx, p->generator, specs, n, p->x));
        for (int i = 0; i < n; i++) {
            const float *x = p->x + (size_t)i * item;
            if (p->coder)
                TRY(fdit_autoencoder_decode(ctx, p->coder, x, p->decoded));
            fdit_pixels(p->coder ? p->decoded : x, p->channels, (size_t)p->size * (size_t)p->size,
                        p->pixels + (size_t)(done + i) * numbers(p));
        }
        done += n;
    }
out:
    return status;
}

enum fdit_status fdit_preview_write(fdit_context *ctx, struct fdit_preview *p, int64_t step, const char *path,
                                    int *width, int *height, uint8_t **png, size_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    static const char *const seeds[PER_CLASS] = { "seed 0", "seed 1", "seed 2", "seed 3" };
    const char *labels[MOST_CLASSES];
    int32_t ids[MOST_CLASSES];
    char title[128];
    const uint8_t *cells[MOST_CLASSES * PER_CLASS];
    struct fdit_picture sheet = { 0 };
    *png = NULL;
    p->model->values = FDIT_VALUES_EMA;
    status = sample_all(ctx, p);
    p->model->values = FDIT_VALUES_RAW;
    TRY(status);
    for (int i = 0; i < p->classes; i++)
        labels[i] = fdit_taxonomy_class_name(p->taxonomy, ids[i] = class_at(p, i));
    for (int i = 0; i < p->classes * p->per_class; i++)
        cells[i] = p->pixels + (size_t)i * numbers(p);
    struct fdit_grid_group group = { .n_rows = (size_t)p->classes,
                                     .n_columns = (size_t)p->per_class,
                                     .row_labels = labels,
                                     .column_labels = seeds,
                                     .row_ids = ids,
                                     .cells = cells };
    snprintf(title, sizeof title, "step %" PRId64 ": ddim, %d steps, ", step, STEPS);
    if (p->guided)
        snprintf(title + strlen(title), 64, "w = %g%s", p->guidance, p->coder ? "" : ", clip-x0");
    else
        snprintf(title + strlen(title), 64, "no guidance%s", p->coder ? "" : ", clip-x0");
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .title = title,
                                            .size = p->size,
                                            .channels = p->channels,
                                            .upscale = p->size < 64 ? 2 : 1,
                                            .n_groups = 1,
                                            .groups = &group },
                       &sheet));
    *width = sheet.width;
    *height = sheet.height;
    TRY(fdit_png_encode(ctx, &sheet, png, bytes));
    TRY(fdit_file_write(ctx, path, false, *png, *bytes));
out:
    fdit_picture_fini(&sheet);
    return status;
}
