/* SPDX-License-Identifier: Apache-2.0
 * step.h: one optimiser step of diffusion training, queued on the device.
 *
 *     struct fdit_step *s;
 *     TRY(fdit_step_new(ctx, model, objective, 1, &s));       // adds its tensors to model->plan
 *     TRY(fdit_model_allocate(ctx, model));
 *     fdit_step_bind(s);
 *     for each step n = 1, 2, ...:
 *         for each micro-batch i:  fdit_step_micro(s, &micro);     // forward, loss, backward
 *         fdit_step_update(s, &update);                            // clip, optimiser, EMA
 *         fdit_step_report_begin(s);  ... one step later ...  TRY(fdit_step_report_end(ctx, s, &r));
 *
 * Nothing is read back inside a step. The formulas: doc/DESIGN.md, "Loss" and "Optimiser". */
#ifndef FDIT_TRAIN_STEP_H
#define FDIT_TRAIN_STEP_H

#include "diffusion/objective.h"
#include "train/optimiser.h"

struct fdit_step;

/* The model must be for training and not yet allocated. objective: of a diffusion model; NULL for a
 * classifier. micros: micro-batches of one step (gradient accumulation), at least 1. FDIT_ERROR_ARGUMENT for
 * an objective that needs another number of outputs than the model has. */
enum fdit_status fdit_step_new(fdit_context *ctx, struct fdit_model *model,
                               const struct fdit_objective *objective, int micros, struct fdit_step **out);
void fdit_step_free(struct fdit_step *step); /* before the model; NULL is allowed */
void fdit_step_bind(struct fdit_step *step); /* after fdit_model_allocate */

/* Learnt guidance (DogFit, arXiv 2508.05685; the guide by superclass rows is ours): the prediction is trained
 * towards target + strength (E - G) instead of the target, both without gradient: E the running average
 * for the true class, G the guide. Call before fdit_model_allocate; the model needs options.ema, and for
 * micro.guide FDIT_VALUES_BASE options.base_values. Adds tensors to the plan. */
enum fdit_status fdit_step_learn_guidance(fdit_context *ctx, struct fdit_step *step);
bool fdit_step_learns_guidance(const struct fdit_step *step);

/* One micro-batch, host memory: samples <= the model's batch. A classifier has no t and noise; its
 * labels are in `rows`. */
struct fdit_micro {
    int samples;
    const float *x0, *noise;               /* [samples, C, S, S] */
    const double *t;                       /* [samples] as the objective's times */
    const int32_t *rows;                   /* [samples] of the class table */
    bool first;                            /* of its step: gradients are overwritten */
    int index;                             /* 0 .. micros-1 */
    double loss_scale;                     /* 1 / (samples of the whole step) */
    const double *scales;                  /* [samples] of each sample, in place of that; NULL: none */
    const struct fdit_loss_weight *weight; /* of mse; NULL: uniform. Losses are told without it */
    bool prior; /* of prior preservation: rows are those of the model's prior table, and its losses are told
                 * apart */
    /* After fdit_step_learn_guidance; strength NULL: the plain target. */
    const float *strength;     /* [samples] w - 1, or 0; a model with a guidance input is told it */
    const int32_t *class_rows; /* [samples] what E sees */
    const int32_t *guide_rows; /* [samples] what G sees */
    enum fdit_values guide;    /* whose values G has */
};
void fdit_step_micro(struct fdit_step *step, const struct fdit_micro *micro);
/* Forward and losses only, with the values that model->values selects. For validation. */
void fdit_step_evaluate(struct fdit_step *step, const struct fdit_micro *micro);

/* Clips, makes the optimiser's step and the EMA of all trained parameters. Gradients that are not finite
 * change nothing. */
void fdit_step_update(struct fdit_step *step, const struct fdit_update *u);
/* Its two parts: the norm of the gradient, and the step itself with the factor that comes of it: how much of
 * the gradient is taken, not finite where nothing is. _scale waits for it. A model of which processes share
 * moments and averages (model.h) is updated in what is kept of it. */
void fdit_step_clip(struct fdit_step *step, const struct fdit_update *u);
enum fdit_status fdit_step_scale(fdit_context *ctx, const struct fdit_step *step, float *scale);
void fdit_step_set_scale(struct fdit_step *step, float scale);
void fdit_step_apply(struct fdit_step *step, const struct fdit_update *u);

/* min(decay, (1+n)/(10+n)) for step n from 1, or decay itself when `exact`. */
double fdit_ema_decay(double decay, bool exact, int64_t n);

struct fdit_step_losses {
    double mse, vb;       /* means over the samples of the step, without the prior's; classifier: cross
                           * entropy, and 0 */
    double gradient_norm; /* before clipping */
    /* Of which mse and vb are the means. Float32 losses added in double: as long as they differ by less than
     * 2^20 the sums are exact, so that their order does not matter. */
    double mse_sum, vb_sum, samples;
    /* The same of the micro-batches of the prior; NaN and 0 without them. */
    double prior_mse, prior_vb, prior_mse_sum, prior_vb_sum, prior_samples;
};
/* The means, from the sums that *losses has. */
void fdit_step_losses_mean(struct fdit_step_losses *losses);
/* Starts reading back the losses of the last step (all its micro-batches); _end waits for them. */
void fdit_step_report_begin(struct fdit_step *step);
enum fdit_status fdit_step_report_end(fdit_context *ctx, struct fdit_step *step,
                                      struct fdit_step_losses *out);
/* Per-sample mse and vb of micro-batch `index`, [samples] each; waits. */
enum fdit_status fdit_step_sample_losses(fdit_context *ctx, struct fdit_step *step, int index, int samples,
                                         float *mse, float *vb);
struct fdit_step_bad {
    const char *name; /* of a parameter; belongs to the model */
    bool finite;      /* all gradients and parameters are */
    double largest;   /* with `finite`: the size of the largest number in the gradient of `name` */
};
/* What failed: the first gradient, else parameter, that is not finite; when all are, the parameter with the
 * largest gradient. Reads everything: only after a failure. */
enum fdit_status fdit_step_find_bad(fdit_context *ctx, struct fdit_step *step, struct fdit_step_bad *out);

#endif
