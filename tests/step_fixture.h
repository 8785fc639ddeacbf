/* SPDX-License-Identifier: Apache-2.0
 * step_fixture.h: a model of a fixture with its training step, and the pictures of the fixture's losses. */
#ifndef FDIT_TESTS_STEP_FIXTURE_H
#define FDIT_TESTS_STEP_FIXTURE_H

#include "format/safetensors.h"
#include "model/model.h"
#include "train/step.h"

struct fdit_model_options step_training(const char *mask, int batch); /* AdamW, EMA, float32 */
/* The times of a fixture, how many to *n (may be NULL); free with fdit_free. */
double *step_times(fdit_context *ctx, const struct fdit_safetensors *st, const char *name, size_t *n);

struct loss_case {
    struct fdit_safetensors *st;
    float *x0, *noise;
    double *t;
    int32_t *rows;
    size_t b;
};
struct loss_case loss_open(fdit_context *ctx, const char *file);
void loss_close(struct loss_case *l);
void loss_run(struct fdit_step *step, const struct loss_case *l); /* as one whole step */

/* The model of a fixture with its step, allocated, weights loaded; of the objective ddpm, or another. */
struct fdit_model *step_model(fdit_context *ctx, fdit_device *dev, const char *file,
                              const struct fdit_model_options *options,
                              const struct fdit_objective *objective, int micros, struct fdit_step **step);
struct fdit_model *step_model_ddpm(fdit_context *ctx, fdit_device *dev, const char *file,
                                   const struct fdit_model_options *options, int micros,
                                   struct fdit_step **step);

#endif
