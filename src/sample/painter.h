/* SPDX-License-Identifier: Apache-2.0
 * painter.h: a loaded model that draws: network, guide, sampling loop, autoencoder and memory plan, on one
 * device or on several.
 *
 *     struct fdit_painter *p = NULL;
 *     TRY(fdit_painter_new(ctx, devices, &source, &options, &p));     // sizes, autoencoder; no memory yet
 *     TRY(fdit_painter_plan(ctx, p, &how, n));                    // models and buffers, listed
 *     TRY(fdit_plan_check(ctx, fdit_painter_plan_of(p, 0), ...));
 *     TRY(fdit_painter_load(ctx, p, NULL));
 *     for (int i = 0; i < n; i++)
 *         specs[i] = fdit_sample_source_picture(&source, class[i], seed[i]);
 *     TRY(fdit_painter_draw(ctx, p, specs, n, x));                // x [n, C, S, S]
 *     TRY(fdit_painter_decode(ctx, p, x, pixels));                // 8 bits, of the first one
 * out:
 *     fdit_painter_free(p);                                       // before device and source
 *
 * Several devices: each has the whole model and takes an equal part of what is drawn, on a thread of its
 * own. A picture's bits are those that its device gives alone, in whatever batch it is. */
#ifndef FDIT_SAMPLE_PAINTER_H
#define FDIT_SAMPLE_PAINTER_H

#include "sample/source.h"
#include "vae/vae.h"

struct fdit_painter;

struct fdit_painter_options {
    enum fdit_dtype storage; /* of the weights on the device */
    const char *vae;         /* autoencoder that turns latents into pictures: file or folder; NULL: none */
    double vae_scale;        /* its scaling factor; 0: as its config.json says */
    size_t memory;           /* bytes of a device to keep to; 0: what the device has */
    bool merge;              /* adapters into the weights (model/merge.h) */
    bool new_table;          /* fdit_painter_load leaves the class table to the caller */
    /* A painter on the same devices over the same base (source.h, beside), planned and loaded before this one
     * and freed after it: matrices that both take from the base are its. NULL: none. */
    const struct fdit_painter *lender;
    bool glances;  /* fdit_painter_glance: decoding teaches it */
    bool lent_vae; /* the lender's autoencoder as well, which is the same: one of the two draws at a time */
};

/* `source` (its `files`, and `guide.files` where the guide is another model) and the devices must
 * outlive it. FDIT_ERROR_ARGUMENT when the autoencoder is not for this model. */
enum fdit_status fdit_painter_new(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_sample_source *source,
                                  const struct fdit_painter_options *options, struct fdit_painter **out);
/* A painter that draws with a model of the caller's, before fdit_model_allocate, and decodes with the
 * caller's autoencoder (NULL: none), which that plans and allocates. The generator joins the model's plan;
 * neither fdit_painter_plan nor _load is called, but fdit_painter_bind after fdit_model_allocate. */
enum fdit_status fdit_painter_over(fdit_context *ctx, struct fdit_model *model, struct fdit_vae *vae,
                                   const struct fdit_generator_options *how, struct fdit_painter **out);
void fdit_painter_free(struct fdit_painter *p); /* NULL is allowed */

/* Models for drawing in this way, how->batch pictures of a device at once; 0: the largest sensible number
 * that keeps to the limit, at most `pictures` (0: any). Before fdit_painter_load; again: plans anew. */
enum fdit_status fdit_painter_plan(fdit_context *ctx, struct fdit_painter *p,
                                   const struct fdit_generator_options *how, size_t pictures);
/* Memory of the caller while it draws, which the plans from now on list, for the first device; 0: none. The
 * label has to stay. */
void fdit_painter_beside(struct fdit_painter *p, size_t bytes, const char *label);
/* Plans keep to that many bytes of a device from now on; 0: what it has. */
void fdit_painter_limit(struct fdit_painter *p, size_t memory);
int fdit_painter_devices(const struct fdit_painter *p);
/* Of device i. That of the first has what it shares with the others: autoencoder, host memory, process. */
const struct fdit_plan *fdit_painter_plan_of(const struct fdit_painter *p, int i);
/* FDIT_ERROR_DEVICE when the plan of device i does not fit. */
enum fdit_status fdit_painter_check(fdit_context *ctx, const struct fdit_painter *p, int i);
int fdit_painter_batch(const struct fdit_painter *p); /* pictures of a device at once */
int fdit_painter_round(const struct fdit_painter *p); /* of all devices */

/* All memory; part of fdit_painter_load. A caller that fills the weights itself calls this instead. */
enum fdit_status fdit_painter_allocate(fdit_context *ctx, struct fdit_painter *p);
void fdit_painter_bind(struct fdit_painter *p);
/* Memory and weights on all devices; report: of the sampled model, may be NULL. */
enum fdit_status fdit_painter_load(fdit_context *ctx, struct fdit_painter *p,
                                   struct fdit_load_report *report);

/* Another way to draw from now on: see fdit_generator_set; how->batch is not looked at. */
enum fdit_status fdit_painter_set(fdit_context *ctx, struct fdit_painter *p,
                                  const struct fdit_generator_options *how);
int fdit_painter_steps(const struct fdit_painter *p);
/* x [n, C, S, S]: the last x of n pictures, unscaled and unclamped, a round after the other. how->on_step
 * is called for the first device. A device that fails is named. FDIT_INTERRUPTED between two steps after a
 * request to stop. */
enum fdit_status fdit_painter_draw(fdit_context *ctx, struct fdit_painter *p,
                                   const struct fdit_picture_spec *pictures, size_t n, float *x);

/* x [C, S, S] as it is between two steps of a round, from its on_step: the last picture of the i + 1 that
 * are read into x [i + 1, C, S, S]. Waits for the device. FDIT_ERROR_UNSUPPORTED for one that another
 * device draws. */
enum fdit_status fdit_painter_look(fdit_context *ctx, struct fdit_painter *p, int i, float *x);

/* fdit_painter_draw, and [n] fdit_generator_scores; planned with how->scored. */
enum fdit_status fdit_painter_draw_scored(fdit_context *ctx, struct fdit_painter *p,
                                          const struct fdit_picture_spec *pictures, size_t n, float *x,
                                          double *scores);

size_t fdit_painter_item(const struct fdit_painter *p); /* elements of x of one picture: C S S */
/* Whether x is a picture, or becomes one. Pictures are `size` high and wide, of 1 or 3 channels. */
bool fdit_painter_decodes(const struct fdit_painter *p);
int fdit_painter_size(const struct fdit_painter *p);
int fdit_painter_channels(const struct fdit_painter *p);
/* x [C, S, S] of one picture to pixels [size, size, channels]. FDIT_ERROR_ARGUMENT for latents without an
 * autoencoder. */
enum fdit_status fdit_painter_decode(fdit_context *ctx, struct fdit_painter *p, const float *x,
                                     uint8_t *pixels);
/* The same by a linear map that is fitted to what was decoded (vae/projection.h), in a hundredth of the time;
 * by the autoencoder itself as long as nothing was, and where x is a picture. With options.glances. */
enum fdit_status fdit_painter_glance(fdit_context *ctx, struct fdit_painter *p, const float *x,
                                     uint8_t *pixels);
struct fdit_model *fdit_painter_model(const struct fdit_painter *p);   /* of the first device */
const struct fdit_vae *fdit_painter_vae(const struct fdit_painter *p); /* NULL: none */

#endif
