/* SPDX-License-Identifier: Apache-2.0 */
#include "train/step.h"

#include "core/mem.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <string.h>

enum { NORM_SLOT = 0, LOSS_SLOT = 1 };

struct micro_kind {
    int samples;
    bool prior;
};

struct fdit_step {
    struct fdit_model *model;
    const struct fdit_objective *objective; /* NULL: of a classifier */
    struct fdit_schedule *schedule;
    int micros;
    fdit_buffer *inputs, *small;
    struct fdit_tensor x0, noise;               /* [B, C, S, S] */
    struct fdit_tensor diffuse_coef, loss_coef; /* [B, 2], [B, 8] */
    struct fdit_tensor losses;                  /* [micros, B, 2] */
    struct fdit_tensor partial, scale, norm;    /* [groups], [1], [1] */
    struct fdit_tensor decay;                   /* [2] of an average of ema_profile.h; absent without them */
    float *host_coef;                           /* [B, 8] */
    float *host_losses;                         /* [micros, B, 2] */
    float host_norm;
    /* learnt guidance; absent without it */
    bool learns;
    fdit_buffer *guided;
    struct fdit_tensor average, difference; /* [B, O C, S, S] E; E - G */
    struct fdit_tensor target;              /* [B, C, S, S] noise that makes the target of it */
    struct micro_kind *samples, *reported;  /* [micros] of the step in progress, and of the one being read */
};

/* Floats of a set of losses. With learnt guidance there are two: the one whose mse counts, and that
 * against the plain target, whose vb does. */
static size_t set_of(const struct fdit_step *s)
{
    return (size_t)s->micros * (size_t)s->model->options.batch * 2;
}

static size_t sets(const struct fdit_step *s)
{
    return s->learns ? 2 : 1;
}

/* Losses b of a micro-batch: (mse, vb) pairs, or one cross entropy each. */
static void pair_of(const struct fdit_step *s, const float *losses, int b, double *mse, double *vb)
{
    *mse = (double)(s->objective ? losses[2 * b] : losses[b]);
    *vb = s->objective ? (double)losses[(sets(s) - 1) * set_of(s) + 2 * (size_t)b + 1] : 0;
}

enum fdit_status fdit_step_new(fdit_context *ctx, struct fdit_model *model,
                               const struct fdit_objective *objective, int micros, struct fdit_step **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &model->config;
    size_t b = (size_t)model->options.batch;
    size_t pixels = b * (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    struct fdit_step *s = NULL;
    *out = NULL;
    if (objective && objective->outputs != fdit_config_outputs(c))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the model predicts %d numbers for each channel, the objective %s needs %d",
             fdit_config_outputs(c), objective->name, objective->outputs);
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->model = model;
    s->objective = objective;
    s->micros = micros;
    TRY(fdit_schedule_new(ctx, FDIT_TRAIN_STEPS, &s->schedule));
    TRY(fdit_alloc(ctx, b, sizeof(struct fdit_loss_coef), &s->host_coef));
    TRY(fdit_alloc(ctx, (size_t)micros * b, 4 * sizeof(float), &s->host_losses));
    TRY(fdit_alloc(ctx, (size_t)micros, sizeof *s->samples, &s->samples));
    TRY(fdit_alloc(ctx, (size_t)micros, sizeof *s->reported, &s->reported));
    s->x0 = (struct fdit_tensor){ NULL, 0, FDIT_F32 };
    s->noise = fdit_at(s->x0, fdit_page_floats(pixels));
    s->diffuse_coef = s->x0;
    s->loss_coef = fdit_at(s->diffuse_coef, fdit_page_floats(2 * b));
    s->losses = fdit_at(s->loss_coef, fdit_page_floats(FDIT_LOSS_COEFS * b));
    s->partial = fdit_at(s->losses, fdit_page_floats((size_t)micros * b * 4));
    s->scale = fdit_at(s->partial, fdit_page_floats((size_t)model->params.n_groups));
    s->norm = fdit_at(s->scale, fdit_page_floats(1));
    s->decay = fdit_at(s->norm, fdit_page_floats(1));
    const size_t end = s->decay.offset + (model->options.profiles ? fdit_page_floats(2) : 0);
    TRY(fdit_plan_add(ctx, &model->plan, FDIT_PLAN_BATCH, &s->inputs,
                      2 * fdit_page_floats(pixels) * sizeof(float), "pictures and noise"));
    TRY(fdit_plan_add(ctx, &model->plan, FDIT_PLAN_BATCH, &s->small, end * sizeof(float),
                      "coefficients and losses"));
    *out = s;
    return FDIT_OK;
out:
    fdit_step_free(s);
    return status;
}

enum fdit_status fdit_step_learn_guidance(fdit_context *ctx, struct fdit_step *s)
{
    const struct fdit_model_config *c = &s->model->config;
    const size_t n = (size_t)s->model->options.batch * (size_t)c->input_size * (size_t)c->input_size;
    const size_t out = fdit_page_floats(n * (size_t)fdit_config_out_channels(c));
    s->average = (struct fdit_tensor){ NULL, 0, FDIT_F32 };
    s->difference = fdit_at(s->average, out);
    s->target = fdit_at(s->difference, out);
    s->learns = true;
    return fdit_plan_add(ctx, &s->model->plan, FDIT_PLAN_BATCH, &s->guided,
                         (2 * out + fdit_page_floats(n * (size_t)c->channels)) * sizeof(float),
                         "targets of learnt guidance");
}

bool fdit_step_learns_guidance(const struct fdit_step *s)
{
    return s->learns;
}

void fdit_step_free(struct fdit_step *s)
{
    if (!s)
        return;
    fdit_plan_forget(&s->model->plan, &s->guided);
    fdit_buffer_free(s->guided);
    fdit_plan_forget(&s->model->plan, &s->inputs);
    fdit_plan_forget(&s->model->plan, &s->small);
    fdit_buffer_free(s->inputs);
    fdit_buffer_free(s->small);
    fdit_schedule_free(s->schedule);
    fdit_free(s->host_coef);
    fdit_free(s->host_losses);
    fdit_free(s->samples);
    fdit_free(s->reported);
    fdit_free(s);
}

void fdit_step_bind(struct fdit_step *s)
{
    struct fdit_tensor *small[] = { &s->diffuse_coef, &s->loss_coef, &s->losses, &s->partial,
                                    &s->scale,        &s->norm,      &s->decay };
    s->x0.buffer = s->noise.buffer = s->inputs;
    s->average.buffer = s->difference.buffer = s->target.buffer = s->guided;
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        small[i]->buffer = s->small;
}

/* Output of the network with these values, rows and guidance scales (NULL: none) for the x_t in
 * model->input. */
static void pass(struct fdit_model *m, enum fdit_values values, const int32_t *rows, const float *strengths,
                 int n)
{
    const enum fdit_values were = m->values;
    m->values = values;
    fdit_write(m->dev, m->index, rows, (size_t)n);
    fdit_model_write_strengths(m, n, strengths);
    fdit_forward(m, n);
    m->values = were;
}

/* s->target: the noise with which the objective's target becomes target + strength (E - G): as
 * much more of it as the target has. The loss's coefficients are not on the device yet. */
static void make_target(struct fdit_step *s, const struct fdit_micro *in, size_t picture)
{
    struct fdit_model *m = s->model;
    const size_t b = (size_t)in->samples, out = (size_t)fdit_config_outputs(&m->config) * picture;
    pass(m, FDIT_VALUES_EMA, in->class_rows, NULL, in->samples);
    fdit_copy(m->dev, s->average, m->output, b * out);
    pass(m, in->guide, in->guide_rows, NULL, in->samples);
    for (size_t i = 0; i < b; i++) {
        s->host_coef[2 * i] = 1;
        s->host_coef[2 * i + 1] = -1;
    }
    fdit_write(m->dev, s->diffuse_coef, s->host_coef, 2 * b);
    fdit_diffuse(m->dev, &(struct fdit_diffuse_args){ .samples = in->samples,
                                                      .n = out,
                                                      .xt = s->difference,
                                                      .x0 = s->average,
                                                      .noise = m->output,
                                                      .coef = s->diffuse_coef });
    fdit_copy(m->dev, s->target, s->noise, b * picture);
    for (size_t i = 0; i < b; i++) {
        float noising[2];
        double target[2];
        s->objective->diffuse(s->objective, s->schedule, in->t[i], noising);
        s->objective->target(s->objective, (double)noising[0], (double)noising[1], target);
        fdit_axpy(m->dev, &(struct fdit_axpy_args){ .n = picture,
                                                    .alpha = (float)((double)in->strength[i] / target[1]),
                                                    .y = fdit_at(s->target, i * picture),
                                                    .x = fdit_at(s->difference, i * out),
                                                    .beta = 1 });
    }
}

/* Losses and gradient against the target. What the variance learns comes from the plain noise: its loss,
 * and its half of the gradient, which the other half has no part in. */
static void guided_loss(struct fdit_step *s, const struct fdit_micro *in, struct fdit_objective_batch batch,
                        size_t picture)
{
    const struct fdit_model *m = s->model;
    batch.noise = s->target;
    s->objective->loss(s->objective, m->dev, &batch);
    batch.noise = s->noise;
    batch.losses = fdit_at(batch.losses, set_of(s));
    batch.dout = s->average;
    s->objective->loss(s->objective, m->dev, &batch);
    if (!s->objective->variance)
        return;
    for (size_t i = 0; i < (size_t)in->samples; i++) {
        const size_t at = (2 * i + 1) * picture;
        fdit_copy(m->dev, fdit_at(m->doutput, at), fdit_at(s->average, at), picture);
    }
}

/* x_t, network, losses; with_gradient: also the gradient of the output. */
static void forward_and_loss(struct fdit_step *s, const struct fdit_micro *in, bool with_gradient)
{
    struct fdit_model *m = s->model;
    const struct fdit_model_config *c = &m->config;
    size_t n = (size_t)c->input_size * (size_t)c->input_size, b = (size_t)in->samples;
    size_t picture = (size_t)c->channels * n;
    static const struct fdit_loss_weight uniform;
    const bool guided = with_gradient && in->strength;
    fdit_write(m->dev, s->x0, in->x0, b * picture);
    fdit_write(m->dev, s->noise, in->noise, b * picture);
    for (size_t i = 0; i < b; i++)
        s->objective->diffuse(s->objective, s->schedule, in->t[i], s->host_coef + 2 * i);
    fdit_write(m->dev, s->diffuse_coef, s->host_coef, 2 * b);
    fdit_model_write_times(m, in->samples, in->t);
    fdit_diffuse(m->dev, &(struct fdit_diffuse_args){ .samples = in->samples,
                                                      .n = picture,
                                                      .xt = m->input,
                                                      .x0 = s->x0,
                                                      .noise = s->noise,
                                                      .coef = s->diffuse_coef });
    if (guided)
        make_target(s, in, picture);
    for (size_t i = 0; i < b; i++)
        s->objective->coefficients(s->objective, s->schedule, in->t[i],
                                   in->scales ? in->scales[i] : in->loss_scale,
                                   in->weight ? in->weight : &uniform, s->host_coef + FDIT_LOSS_COEFS * i);
    fdit_write(m->dev, s->loss_coef, s->host_coef, FDIT_LOSS_COEFS * b);
    m->prior = in->prior;
    pass(m, m->values, in->rows, in->strength, in->samples);
    s->samples[in->index] = (struct micro_kind){ in->samples, in->prior };
    const struct fdit_objective_batch batch = {
        .samples = in->samples,
        .channels = c->channels,
        .n = n,
        .dout = with_gradient ? m->doutput : FDIT_NO_TENSOR,
        .losses = fdit_at(s->losses, (size_t)in->index * (size_t)m->options.batch * 2),
        .out = m->output,
        .x0 = s->x0,
        .noise = s->noise,
        .coef = s->loss_coef
    };
    if (guided) {
        guided_loss(s, in, batch, picture);
        return;
    }
    s->objective->loss(s->objective, m->dev, &batch);
    if (sets(s) > 1)
        fdit_copy(m->dev, fdit_at(batch.losses, set_of(s)), batch.losses, 2 * b);
}

/* Logits and cross entropy of a classifier; in->rows are the labels. The second loss is 0. */
static void classify_and_loss(struct fdit_step *s, const struct fdit_micro *in, bool with_gradient)
{
    struct fdit_model *m = s->model;
    const struct fdit_model_config *c = &m->config;
    size_t b = (size_t)in->samples, n = (size_t)c->input_size * (size_t)c->input_size;
    fdit_write(m->dev, m->input, in->x0, b * (size_t)c->channels * n);
    fdit_write(m->dev, m->index, in->rows, b);
    fdit_forward(m, in->samples);
    s->samples[in->index] = (struct micro_kind){ .samples = in->samples };
    fdit_cross_entropy(m->dev,
                       &(struct fdit_cross_entropy_args){
                           .samples = in->samples,
                           .classes = c->table_rows,
                           .loss = fdit_at(s->losses, (size_t)in->index * (size_t)m->options.batch * 2),
                           .dlogits = with_gradient ? m->doutput : FDIT_NO_TENSOR,
                           .logits = m->output,
                           .labels = m->index,
                           .scale = (float)in->loss_scale });
}

static void losses_of(struct fdit_step *s, const struct fdit_micro *in, bool with_gradient)
{
    if (s->objective)
        forward_and_loss(s, in, with_gradient);
    else
        classify_and_loss(s, in, with_gradient);
}

void fdit_step_micro(struct fdit_step *s, const struct fdit_micro *in)
{
    losses_of(s, in, true);
    fdit_backward(s->model, in->samples, in->first ? 0 : 1);
    s->model->prior = false;
}

void fdit_step_evaluate(struct fdit_step *s, const struct fdit_micro *in)
{
    losses_of(s, in, false);
    s->model->prior = false;
}

double fdit_ema_decay(double decay, bool exact, int64_t n)
{
    double warm = (1.0 + (double)n) / (10.0 + (double)n);
    return exact || decay < warm ? decay : warm;
}

/* The averages of ema_profile.h, in place. The factors are float32 numbers whose sum is exactly 1, so
 * that no step shrinks an average or makes it grow. */
static void update_profiles(struct fdit_step *s, int64_t n)
{
    struct fdit_model *m = s->model;
    for (int i = 0; i < FDIT_EMA_PROFILES; i++) {
        const float keep = (float)fdit_ema_profile_decay(fdit_ema_power(fdit_ema_widths[i]), n);
        const float factors[2] = { keep, 1 - keep };
        fdit_write(m->dev, s->decay, factors, 2);
        for (int g = 0; g < m->params.n_groups; g++) {
            const struct fdit_group *group = &m->params.groups[g];
            if (!group->kept)
                continue;
            const struct fdit_tensor average = fdit_tensor_of(group->profile[i], FDIT_F32);
            const struct fdit_tensor value = fdit_at(fdit_tensor_of(group->value, FDIT_F32), group->first);
            fdit_diffuse(m->dev, &(struct fdit_diffuse_args){ .samples = 1,
                                                              .n = group->kept,
                                                              .xt = average,
                                                              .x0 = average,
                                                              .noise = value,
                                                              .coef = s->decay });
        }
    }
}

void fdit_step_clip(struct fdit_step *s, const struct fdit_update *u)
{
    struct fdit_model *m = s->model;
    int used = 0;
    for (int g = 0; g < m->params.n_groups; g++)
        if (m->params.groups[g].trained)
            fdit_sum_squares(m->dev, &(struct fdit_sum_squares_args){
                                         .n = m->params.groups[g].trained,
                                         .out = fdit_at(s->partial, (size_t)used++),
                                         .x = fdit_tensor_of(m->params.groups[g].grad, FDIT_F32) });
    fdit_clip_scale(m->dev, &(struct fdit_clip_scale_args){ .n = used,
                                                            .scale = s->scale,
                                                            .norm = s->norm,
                                                            .partial = s->partial,
                                                            .max_norm = (float)u->clip });
}

enum fdit_status fdit_step_scale(fdit_context *ctx, const struct fdit_step *s, float *scale)
{
    return fdit_read(ctx, s->model->dev, s->scale, scale, 1);
}

void fdit_step_set_scale(struct fdit_step *s, float scale)
{
    fdit_write(s->model->dev, s->scale, &scale, 1);
}

void fdit_step_apply(struct fdit_step *s, const struct fdit_update *u)
{
    struct fdit_model *m = s->model;
    for (int g = 0; g < m->params.n_groups; g++)
        if (m->params.groups[g].kept)
            u->optimiser->update(m->dev, &m->params.groups[g], s->scale, u);
    if (m->options.profiles)
        update_profiles(s, u->n);
}

void fdit_step_update(struct fdit_step *s, const struct fdit_update *u)
{
    fdit_step_clip(s, u);
    fdit_step_apply(s, u);
}

void fdit_step_report_begin(struct fdit_step *s)
{
    struct fdit_device *dev = s->model->dev;
    memcpy(s->reported, s->samples, (size_t)s->micros * sizeof *s->reported);
    fdit_read_begin(dev, s->norm, &s->host_norm, 1, NORM_SLOT);
    fdit_read_begin(dev, s->losses, s->host_losses, sets(s) * set_of(s), LOSS_SLOT);
}

enum fdit_status fdit_step_report_end(fdit_context *ctx, struct fdit_step *s, struct fdit_step_losses *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_step_losses){ .mse_sum = 0 };
    TRY(fdit_read_end(ctx, s->model->dev, NORM_SLOT));
    TRY(fdit_read_end(ctx, s->model->dev, LOSS_SLOT));
    for (int i = 0; i < s->micros; i++) {
        const bool prior = s->reported[i].prior;
        double *mse = prior ? &out->prior_mse_sum : &out->mse_sum;
        double *vb = prior ? &out->prior_vb_sum : &out->vb_sum;
        for (int b = 0; b < s->reported[i].samples; b++) {
            double one_mse, one_vb;
            pair_of(s, s->host_losses + 2 * (size_t)i * (size_t)s->model->options.batch, b, &one_mse,
                    &one_vb);
            *mse += one_mse;
            *vb += one_vb;
        }
        *(prior ? &out->prior_samples : &out->samples) += s->reported[i].samples;
    }
    out->gradient_norm = (double)s->host_norm;
    fdit_step_losses_mean(out);
out:
    return status;
}

void fdit_step_losses_mean(struct fdit_step_losses *l)
{
    l->mse = l->mse_sum / l->samples;
    l->vb = l->vb_sum / l->samples;
    l->prior_mse = l->prior_samples > 0 ? l->prior_mse_sum / l->prior_samples : NAN;
    l->prior_vb = l->prior_samples > 0 ? l->prior_vb_sum / l->prior_samples : NAN;
}

enum fdit_status fdit_step_sample_losses(fdit_context *ctx, struct fdit_step *s, int index, int samples,
                                         float *mse, float *vb)
{
    enum fdit_status status = FDIT_OK;
    size_t first = (size_t)index * (size_t)s->model->options.batch * 2;
    for (size_t k = 0; k < sets(s); k++)
        TRY(fdit_read(ctx, s->model->dev, fdit_at(s->losses, first + k * set_of(s)),
                      s->host_losses + first + k * set_of(s), (size_t)samples * 2));
    for (int b = 0; b < samples; b++) {
        double one_mse, one_vb;
        pair_of(s, s->host_losses + first, b, &one_mse, &one_vb);
        mse[b] = (float)one_mse;
        vb[b] = (float)one_vb;
    }
out:
    return status;
}

/* The largest size of x's numbers; infinity when one of them is not finite. */
static double largest_of(const float *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return INFINITY;
        largest = fmax(largest, fabs((double)x[i]));
    }
    return largest;
}

enum fdit_status fdit_step_find_bad(fdit_context *ctx, struct fdit_step *s, struct fdit_step_bad *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = s->model;
    float *data = NULL;
    *out = (struct fdit_step_bad){ .name = "none", .finite = true, .largest = -1 };
    for (int pass = 0; pass < 2 && out->finite; pass++)
        for (int i = 0; i < m->params.n && out->finite; i++) {
            const struct fdit_param *p = &m->params.list[i];
            if (!p->trained)
                continue;
            struct fdit_tensor t = fdit_param_grad(m, p);
            if (pass == 1)
                t.buffer = m->params.groups[p->group].value;
            fdit_free(data);
            TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
            TRY(fdit_read(ctx, m->dev, t, data, p->count));
            double largest = largest_of(data, p->count);
            out->finite = isfinite(largest);
            if (!out->finite || (pass == 0 && largest > out->largest)) {
                out->name = p->name;
                out->largest = largest;
            }
        }
out:
    fdit_free(data);
    return status;
}
