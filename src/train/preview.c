/* SPDX-License-Identifier: Apache-2.0 */
#include "train/preview.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/grid.h"
#include "format/png.h"
#include "sample/pixels.h"

enum { MOST_CLASSES = 8, PER_CLASS = 4, STEPS = 25 };

struct fdit_preview {
    struct fdit_model *model;
    const struct fdit_taxonomy *taxonomy;
    struct fdit_generator *generator;
    int32_t rank, empty_row;
    int classes, batch;
    float *x;                 /* [batch, C, S, S] */
    uint8_t *pixels;          /* [classes * PER_CLASS, S, S, C] */
};

enum fdit_status fdit_preview_new(fdit_context *ctx, struct fdit_model *model,
                                  const struct fdit_taxonomy *taxonomy, int32_t rank,
                                  int32_t empty_row, double guidance, struct fdit_preview **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &model->config;
    size_t picture = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    int classes = fdit_taxonomy_n_classes(taxonomy);
    struct fdit_preview *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->model = model;
    p->taxonomy = taxonomy;
    p->rank = rank;
    p->empty_row = empty_row;
    p->classes = classes < MOST_CLASSES ? classes : MOST_CLASSES;
    bool guided = (rank >= 0 || empty_row >= 0) && model->options.batch > 1;
    int room = guided ? model->options.batch / 2 : model->options.batch;
    p->batch = room < p->classes * PER_CLASS ? room : p->classes * PER_CLASS;
    struct fdit_generator_options options = { .sampler = { .kind = FDIT_SAMPLER_DDIM },
                                              .steps = STEPS,
                                              .guidance = FDIT_GUIDANCE_DEFAULT,
                                              .guided = guided,
                                              .clip_x0 = true,
                                              .batch = p->batch };
    options.guidance.w = guidance;
    TRY(fdit_generator_new(ctx, model, NULL, &options, &p->generator));
    TRY(fdit_alloc(ctx, (size_t)p->batch * picture, sizeof(float), &p->x));
    TRY(fdit_alloc(ctx, (size_t)p->classes * PER_CLASS * picture, 1, &p->pixels));
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
    fdit_free(p->pixels);
    fdit_free(p);
}

/* Class k of the sheet: evenly spread over all. */
static int32_t class_at(const struct fdit_preview *p, int k)
{
    return (int32_t)((int64_t)k * fdit_taxonomy_n_classes(p->taxonomy) / p->classes);
}

static enum fdit_status sample_all(fdit_context *ctx, struct fdit_preview *p)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &p->model->config;
    size_t pixels = (size_t)c->input_size * (size_t)c->input_size;
    size_t picture = (size_t)c->channels * pixels;
    int total = p->classes * PER_CLASS;
    for (int done = 0; done < total;) {
        struct fdit_picture_spec specs[MOST_CLASSES * PER_CLASS];
        int n = total - done < p->batch ? total - done : p->batch;
        for (int i = 0; i < n; i++) {
            int32_t id = class_at(p, (done + i) / PER_CLASS);
            int32_t guide = p->rank >= 0 ? fdit_taxonomy_superclass_row(p->taxonomy, p->rank, id)
                                         : p->empty_row;
            specs[i] = (struct fdit_picture_spec){ .seed = (uint64_t)((done + i) % PER_CLASS),
                                                   .class_id = id, .row = id,
                                                   .guide_row = guide >= 0 ? guide : id };
        }
        TRY(fdit_generator_run(ctx, p->generator, specs, n, p->x));
        for (int i = 0; i < n; i++)
            fdit_pixels(p->x + (size_t)i * picture, c->channels, pixels,
                        p->pixels + (size_t)(done + i) * picture);
        done += n;
    }
out:
    return status;
}

enum fdit_status fdit_preview_write(fdit_context *ctx, struct fdit_preview *p, const char *path,
                                    int *width, int *height, uint8_t **png, size_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &p->model->config;
    size_t picture = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    const char *labels[MOST_CLASSES];
    const uint8_t *cells[MOST_CLASSES * PER_CLASS];
    struct fdit_picture sheet = { 0 };
    *png = NULL;
    p->model->values = FDIT_VALUES_EMA;
    status = sample_all(ctx, p);
    p->model->values = FDIT_VALUES_RAW;
    TRY(status);
    for (int i = 0; i < p->classes; i++)
        labels[i] = fdit_taxonomy_class_name(p->taxonomy, class_at(p, i));
    for (int i = 0; i < p->classes * PER_CLASS; i++)
        cells[i] = p->pixels + (size_t)i * picture;
    struct fdit_grid_group group = { .n_rows = (size_t)p->classes, .n_columns = PER_CLASS,
                                     .row_labels = labels, .cells = cells };
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .size = c->input_size, .channels = c->channels,
                                            .upscale = c->input_size < 64 ? 2 : 1, .n_groups = 1,
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
