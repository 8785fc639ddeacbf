/* SPDX-License-Identifier: Apache-2.0 */
#include "train/preview.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "picture/grid.h"
#include "picture/png.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Models on latents are large: a sheet of them must not take longer than a few steps of training. */
enum { MOST_CLASSES = 8, PER_CLASS = 4, PER_CLASS_LATENT = 2, STEPS = 25 };

struct fdit_preview {
    struct fdit_painter *painter;
    struct fdit_guide guide;
    const struct fdit_taxonomy *taxonomy;
    bool latents, guided;
    double guidance;
    int classes, per_class, batch;
    float *x;        /* [batch, C, S, S] as the model has it */
    uint8_t *pixels; /* [classes * per_class, size, size, channels] */
};

/* Bytes of one picture. */
static size_t picture_bytes(const struct fdit_preview *p)
{
    size_t size = (size_t)fdit_painter_size(p->painter);
    return (size_t)fdit_painter_channels(p->painter) * size * size;
}

enum fdit_status fdit_preview_new(fdit_context *ctx, struct fdit_model *model, struct fdit_vae *vae,
                                  const struct fdit_taxonomy *taxonomy, const struct fdit_guide *guide,
                                  double guidance, struct fdit_preview **out)
{
    enum fdit_status status = FDIT_OK;
    int classes = fdit_taxonomy_n_classes(taxonomy);
    struct fdit_preview *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->latents = vae != NULL;
    p->per_class = vae ? PER_CLASS_LATENT : PER_CLASS;
    p->taxonomy = taxonomy;
    p->guide = *guide;
    p->classes = classes < MOST_CLASSES ? classes : MOST_CLASSES;
    bool guided = guide->kind != FDIT_GUIDE_NONE && model->options.batch > 1;
    int room = guided ? model->options.batch / 2 : model->options.batch;
    p->batch = room < p->classes * p->per_class ? room : p->classes * p->per_class;
    struct fdit_generator_options options = { .sampler.kind = fdit_sampler_usual(model->config.objective,
                                                                                 FDIT_SAMPLER_DDIM),
                                              .steps = STEPS,
                                              .guidance = FDIT_GUIDANCE_DEFAULT,
                                              .guided = guided,
                                              .clip_x0 = !vae,
                                              .batch = p->batch };
    options.guidance.w = guidance;
    p->guided = guided && guidance != 1;
    p->guidance = guidance;
    TRY(fdit_painter_over(ctx, model, vae, &options, &p->painter));
    TRY(fdit_alloc(ctx, (size_t)p->batch * fdit_painter_item(p->painter), sizeof(float), &p->x));
    TRY(fdit_alloc(ctx, (size_t)(p->classes * p->per_class) * picture_bytes(p), 1, &p->pixels));
    *out = p;
    return FDIT_OK;
out:
    fdit_preview_free(p);
    return status;
}

void fdit_preview_bind(struct fdit_preview *p)
{
    fdit_painter_bind(p->painter);
}

void fdit_preview_free(struct fdit_preview *p)
{
    if (!p)
        return;
    fdit_painter_free(p->painter);
    fdit_free(p->x);
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
    int total = p->classes * p->per_class;
    for (int done = 0; done < total;) {
        struct fdit_picture_spec specs[MOST_CLASSES * PER_CLASS];
        int n = total - done < p->batch ? total - done : p->batch;
        fdit_phase_at(ctx, (uint64_t)done);
        for (int i = 0; i < n; i++) {
            int32_t id = class_at(p, (done + i) / p->per_class);
            uint64_t seed = (uint64_t)((done + i) % p->per_class);
            specs[i] = fdit_guide_picture(&p->guide, p->taxonomy, id, seed);
        }
        TRY(fdit_painter_draw(ctx, p->painter, specs, (size_t)n, p->x));
        for (int i = 0; i < n; i++)
            TRY(fdit_painter_decode(ctx, p->painter, p->x + (size_t)i * fdit_painter_item(p->painter),
                                    p->pixels + (size_t)(done + i) * picture_bytes(p)));
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
    struct fdit_model *model = fdit_painter_model(p->painter);
    int size = fdit_painter_size(p->painter);
    model->values = FDIT_VALUES_EMA;
    status = sample_all(ctx, p);
    model->values = FDIT_VALUES_RAW;
    TRY(status);
    for (int i = 0; i < p->classes; i++)
        labels[i] = fdit_taxonomy_class_name(p->taxonomy, ids[i] = class_at(p, i));
    for (int i = 0; i < p->classes * p->per_class; i++)
        cells[i] = p->pixels + (size_t)i * picture_bytes(p);
    struct fdit_grid_group group = { .n_rows = (size_t)p->classes,
                                     .n_columns = (size_t)p->per_class,
                                     .row_labels = labels,
                                     .column_labels = seeds,
                                     .row_ids = ids,
                                     .cells = cells };
    snprintf(title, sizeof title, "step %" PRId64 ": ddim, %d steps, ", step, STEPS);
    if (p->guided)
        snprintf(title + strlen(title), 64, "w = %g%s", p->guidance, p->latents ? "" : ", clip-x0");
    else
        snprintf(title + strlen(title), 64, "no guidance%s", p->latents ? "" : ", clip-x0");
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .title = title,
                                            .size = size,
                                            .channels = fdit_painter_channels(p->painter),
                                            .upscale = size < 64 ? 2 : 1,
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
