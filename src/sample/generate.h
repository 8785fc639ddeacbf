/* SPDX-License-Identifier: Apache-2.0
 * generate.h: from noise to the last x, for a batch of pictures: the guided sampling loop.
 *
 *     struct fdit_generator *g;
 *     TRY(fdit_generator_new(ctx, model, NULL, &options, &g)); // adds its tensors to model->plan
 *     TRY(fdit_model_allocate(ctx, model));
 *     fdit_generator_bind(g);
 *     TRY(fdit_generator_run(ctx, g, pictures, n, x));
 *
 * A picture is a function of weights, class, seed and options: batch size, order and the other pictures
 * of the batch change nothing. */
#ifndef FDIT_SAMPLE_GENERATE_H
#define FDIT_SAMPLE_GENERATE_H

#include "diffusion/sampler.h"
#include "model/model.h"
#include "sample/noise.h"
#include "sample/reuse.h"

struct fdit_generator_options {
    struct fdit_sampler_spec sampler;
    int steps;                     /* 0: the sampler's default */
    struct fdit_guidance guidance; /* w = 1: no guide is asked */
    bool guided;                   /* false: the class alone */
    bool told; /* without a guide: the network is told w, which is its input (config.guidance_input) */
    bool clip_x0;
    bool scored; /* keep fdit_generator_scores; needs a guide */
    int batch;   /* the most pictures of one run */
    enum fdit_noise_kind noise;
    struct fdit_reuse_options reuse; /* of blocks' results; passes count as steps */
    /* Called after each step of a run with (user, steps done, steps); may be NULL. */
    void (*on_step)(void *user, int done, int steps);
    void *user;
};

struct fdit_picture_spec {
    uint64_t seed;
    int32_t class_id;  /* of the random stream */
    int32_t row;       /* of the class table */
    int32_t guide_row; /* of the guide's table */
};

struct fdit_generator;

/* The model's batch must be at least fdit_generator_model_batch(options). guide_model NULL: the guide is
 * the model itself with guide_row; else another model of the same input size on the same device. */
enum fdit_status fdit_generator_new(fdit_context *ctx, struct fdit_model *model,
                                    struct fdit_model *guide_model,
                                    const struct fdit_generator_options *options,
                                    struct fdit_generator **out);
/* Another way to sample for the runs that follow: everything but what decides the memory, so the batch may
 * only be smaller and `guided` needs a model that was made for it. On failure the way stays. */
enum fdit_status fdit_generator_set(fdit_context *ctx, struct fdit_generator *g,
                                    const struct fdit_generator_options *options);
int fdit_generator_model_batch(const struct fdit_generator_options *options, bool own_guide);
/* What its options.conditions should be, for the model and the guide's; any other value serves too. */
/* And its options.kept_branches. */
static inline int fdit_generator_branches(const struct fdit_generator_options *options)
{
    return fdit_reuse_kept(&options->reuse);
}
int fdit_generator_conditions(const struct fdit_generator_options *options, bool own_guide);
void fdit_generator_bind(struct fdit_generator *g);
void fdit_generator_free(struct fdit_generator *g); /* before the model; NULL is allowed */

/* x [n, C, S, S]: the last x of n <= batch pictures, unscaled and unclamped. Ends with FDIT_INTERRUPTED
 * between two steps when ctx is asked to stop. */
enum fdit_status fdit_generator_run(fdit_context *ctx, struct fdit_generator *g,
                                    const struct fdit_picture_spec *pictures, int n, float *x);
/* The same with noise from elsewhere (tests, parity with stored noise). */
enum fdit_status fdit_generator_run_with(fdit_context *ctx, struct fdit_generator *g,
                                         const struct fdit_picture_spec *pictures, int n,
                                         const struct fdit_noise *noise, float *x);
/* The x of the run in progress (from on_step) or of the last one: [n, C, S, S]. Waits for the device. */
enum fdit_status fdit_generator_read(fdit_context *ctx, struct fdit_generator *g, int n, float *x);
/* [n] of the last run with `scored`: the mean over guided steps and channels of the squared difference
 * between the predictions of class and guide, summed in double: a number of the picture alone. NaN without a
 * guided step. */
const double *fdit_generator_scores(const struct fdit_generator *g);
int fdit_generator_steps(const struct fdit_generator *g);

#endif
