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
    float *x;           /* [batch, C, S, S] as the model has it */
    uint8_t *pixels;    /* [classes * per_class, size, size, channels] */
    size_t n;           /* pictures of the drawing */
    size_t first, have; /* pixels are of its pictures first .. first + have - 1 */
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
                                              .told = guide->input,
                                              .clip_x0 = !vae,
                                              .batch = p->batch };
    if (guide->input) /* --preview-guidance where it was trained, else the nearest that was */
        guidance = fdit_guide_nearest(guide, guidance);
    options.guidance.w = guidance;
    p->guided = (guided || guide->input) && guidance != 1;
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

/* ------------------------------------------------------------------ pictures to be measured */

static int32_t drawn_class(const struct fdit_preview *p, size_t i)
{
    return (int32_t)(i * (size_t)fdit_taxonomy_n_classes(p->taxonomy) / p->n);
}

/* Number of picture i in its class: the first has c n / classes, rounded up. */
static uint64_t drawn_seed(const struct fdit_preview *p, size_t i)
{
    size_t classes = (size_t)fdit_taxonomy_n_classes(p->taxonomy), c = (size_t)drawn_class(p, i);
    return i - (c * p->n + classes - 1) / classes;
}

static int32_t drawn_label(void *self, size_t i)
{
    return drawn_class(self, i);
}

static enum fdit_status drawn_title(fdit_context *ctx, void *self, size_t i, char **out)
{
    const struct fdit_preview *p = self;
    return fdit_strf(ctx, out, "%s, seed %" PRIu64, fdit_taxonomy_class_name(p->taxonomy, drawn_class(p, i)),
                     drawn_seed(p, i));
}

static enum fdit_status draw_some(fdit_context *ctx, struct fdit_preview *p, size_t i, size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_spec specs[MOST_CLASSES * PER_CLASS];
    size_t item = fdit_painter_item(p->painter);
    for (size_t k = 0; k < n; k++)
        specs[k] = fdit_guide_picture(&p->guide, p->taxonomy, drawn_class(p, i + k), drawn_seed(p, i + k));
    p->have = 0;
    TRY(fdit_painter_draw(ctx, p->painter, specs, n, p->x));
    for (size_t k = 0; k < n; k++)
        TRY(fdit_painter_decode(ctx, p->painter, p->x + k * item, p->pixels + k * picture_bytes(p)));
    p->first = i;
    p->have = n;
out:
    return status;
}

static enum fdit_status drawn_picture(fdit_context *ctx, void *self, size_t i, size_t end,
                                      struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_preview *p = self;
    struct fdit_model *model = fdit_painter_model(p->painter);
    size_t batch = (size_t)p->batch, n = end - i < batch ? end - i : batch;
    int size = fdit_painter_size(p->painter);
    if (i < p->first || i - p->first >= p->have) {
        model->values = FDIT_VALUES_EMA;
        status = draw_some(ctx, p, i, n);
        model->values = FDIT_VALUES_RAW;
        TRY(status);
    }
    *out = (struct fdit_picture){ size, size, fdit_painter_channels(p->painter),
                                  p->pixels + (i - p->first) * picture_bytes(p) };
out:
    return status;
}

void fdit_preview_drawing(struct fdit_preview *p, size_t n, struct fdit_drawing *out)
{
    p->n = n;
    fdit_preview_forget(p);
    *out = (struct fdit_drawing){ .self = p,
                                  .name = "the pictures of the run",
                                  .n = n,
                                  .size = fdit_painter_size(p->painter),
                                  .channels = fdit_painter_channels(p->painter),
                                  .taxonomy = p->taxonomy,
                                  .named = true,
                                  .label = drawn_label,
                                  .picture = drawn_picture,
                                  .title = drawn_title };
}

void fdit_preview_forget(struct fdit_preview *p)
{
    p->have = 0;
}

/* ------------------------------------------------------------------ the sheet */

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
    fdit_preview_forget(p);
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
