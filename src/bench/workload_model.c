/* SPDX-License-Identifier: Apache-2.0
 * workload_model.c: a block, a training step, a sampling step. The code that trains and samples is
 * what runs here; only the weights and pictures are random numbers. */
#include "bench/workload.h"

#include "core/mem.h"
#include "model/model.h"
#include "sample/painter.h"
#include "train/step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STREAM_PICTURES = 1, STREAM_NOISE, STREAM_X, STREAM_DX, STREAM_SILU, STREAM_PARAM };

/* The reference computes a problem of so many floating-point operations within a few seconds. */
static const double check_flops = 7e9;

struct model_state {
    fdit_device *dev;
    struct fdit_bench_problem p;
    struct fdit_model *model;
    struct fdit_step *step;           /* train */
    struct fdit_sample_source source; /* sample: the sizes alone */
    struct fdit_painter *painter;     /* sample: has the model */
    float *pictures, *noise;          /* train: [batch, C, S, S] */
    float *x;                         /* sample: [batch, C, S, S] */
    double *t;                        /* [batch] */
    int32_t *rows;                    /* [batch] */
    struct fdit_picture_spec *specs;  /* sample: [batch] */
    struct fdit_update update;
    fdit_buffer *fresh; /* block: its input and the gradient of its output, as they were */
};

static void close_model(void *state)
{
    struct model_state *s = state;
    if (!s)
        return;
    fdit_step_free(s->step);
    fdit_buffer_free(s->fresh);
    if (s->painter)
        fdit_painter_free(s->painter);
    else
        fdit_model_free(s->model);
    fdit_free(s->pictures);
    fdit_free(s->noise);
    fdit_free(s->x);
    fdit_free(s->t);
    fdit_free(s->rows);
    fdit_free(s->specs);
    fdit_free(s);
}

/* ------------------------------------------------------------------------------------- set-up */

/* Such numbers that the activations stay near 1 through all blocks and that every branch, gate and
 * bias has a visible part in the result. */
static enum fdit_status fill_params(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    float *data = NULL;
    size_t most = 0;
    for (int i = 0; i < m->params.n; i++)
        most = m->params.list[i].count > most ? m->params.list[i].count : most;
    TRY(fdit_alloc(ctx, most, sizeof *data, &data));
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        double mean = 0, deviation = 0.1;
        switch (p->kind) {
        case FDIT_PARAM_MATRIX: deviation = 1 / sqrt((double)p->n_in); break;
        case FDIT_PARAM_NORM: mean = strstr(p->name, ".weight") ? 1 : 0; break;
        case FDIT_PARAM_TABLE:
        case FDIT_PARAM_POS: deviation = 0.5; break;
        case FDIT_PARAM_GAMMA: mean = 1; break;
        case FDIT_PARAM_LOW_RANK: deviation = 0.02; break;
        case FDIT_PARAM_BIAS: break;
        }
        fdit_bench_numbers((uint32_t)(STREAM_PARAM + i), 0, p->count, mean, deviation, data);
        TRY(fdit_model_set(ctx, m, p, data));
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped while weights were made");
    }
out:
    fdit_free(data);
    return status;
}

static size_t item_of(const struct fdit_model_config *c)
{
    return (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
}

static size_t output_of(const struct model_state *s) /* numbers that the network gives for the batch */
{
    return (size_t)s->p.batch * (size_t)fdit_config_outputs(&s->p.config) * item_of(&s->p.config);
}

static size_t stream_of(const struct model_state *s) /* numbers in the residual stream */
{
    return (size_t)s->p.batch * (size_t)fdit_config_tokens(&s->p.config) * (size_t)s->p.config.width;
}

/* What a training step is given: host memory. */
static enum fdit_status fill_batch(fdit_context *ctx, struct model_state *s)
{
    enum fdit_status status = FDIT_OK;
    size_t b = (size_t)s->p.batch, n = b * item_of(&s->p.config);
    TRY(fdit_alloc(ctx, n, sizeof(float), &s->pictures));
    TRY(fdit_alloc(ctx, n, sizeof(float), &s->noise));
    fdit_bench_numbers(STREAM_PICTURES, 0, n, 0, 1, s->pictures);
    fdit_bench_numbers(STREAM_NOISE, 0, n, 0, 1, s->noise);
    TRY(fdit_alloc(ctx, b, sizeof *s->t, &s->t));
    TRY(fdit_alloc(ctx, b, sizeof(int32_t), &s->rows));
    for (size_t i = 0; i < b; i++) {
        s->t[i] = (double)((i * 331 + 500) % FDIT_TRAIN_STEPS);
        s->rows[i] = (int32_t)(i * 7919 % (size_t)s->p.config.table_rows);
    }
    s->update = (struct fdit_update){
        .optimiser = fdit_optimiser_find("adamw"), .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8
    };
out:
    return status;
}

/* One step of order 1 from t = 999, both branches: noise drawn, network, sampler, picture read
 * back. */
static enum fdit_status plan_sampling(fdit_context *ctx, struct model_state *s, enum fdit_dtype storage)
{
    enum fdit_status status = FDIT_OK;
    size_t b = (size_t)s->p.batch;
    const struct fdit_generator_options how = {
        .sampler = { .kind = FDIT_SAMPLER_DPMPP },
        .steps = 1,
        .guidance = FDIT_GUIDANCE_DEFAULT,
        .guided = true,
        .batch = s->p.batch,
        .noise = FDIT_NOISE_PHILOX,
    };
    s->source.files.config = s->p.config;
    TRY(fdit_painter_new(ctx, FDIT_ONE_DEVICE(s->dev), &s->source,
                         &(struct fdit_painter_options){ .storage = storage }, &s->painter));
    TRY(fdit_painter_plan(ctx, s->painter, &how, 0));
    s->model = fdit_painter_model(s->painter);
    TRY(fdit_alloc(ctx, b * item_of(&s->p.config), sizeof(float), &s->x));
    TRY(fdit_alloc(ctx, b, sizeof *s->specs, &s->specs));
    for (size_t i = 0; i < b; i++)
        s->specs[i] = (struct fdit_picture_spec){ .seed = i,
                                                  .class_id = (int32_t)i,
                                                  .row = (int32_t)(i * 7919 % (size_t)s->p.config.table_rows),
                                                  .guide_row = s->p.config.table_rows - 1 };
out:
    return status;
}

/* A block or a whole step of training. */
static enum fdit_status plan_training(fdit_context *ctx, struct model_state *s, enum fdit_dtype storage)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_bench_problem *p = &s->p;
    struct fdit_model_options options = { .mask = &p->mask,
                                          .training = true,
                                          .moments = p->kind == FDIT_BENCH_TRAIN ? FDIT_MOST_MOMENTS : 0,
                                          .ema = p->kind == FDIT_BENCH_TRAIN,
                                          .batch = p->batch,
                                          .recompute = p->recompute,
                                          .activations = p->activations,
                                          .storage = storage };
    if (p->kind == FDIT_BENCH_BLOCK)
        s->p.config.depth = s->p.config.table_rows = 1;
    TRY(fdit_model_new(ctx, s->dev, &p->config, &options, &s->model));
    if (p->kind == FDIT_BENCH_TRAIN)
        TRY(fdit_step_new(ctx, s->model, fdit_objective_find("ddpm"), 1, &s->step));
    else
        TRY(fdit_plan_add(ctx, &s->model->plan, FDIT_PLAN_BATCH, &s->fresh, 2 * stream_of(s) * sizeof(float),
                          "input of the block and a gradient"));
out:
    return status;
}

static enum fdit_status open_model(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                                   enum fdit_dtype storage, void **out, size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    struct model_state *s = NULL;
    bool sampling = p->kind == FDIT_BENCH_SAMPLE;
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->dev = dev;
    s->p = *p;
    TRY(sampling ? plan_sampling(ctx, s, storage) : plan_training(ctx, s, storage));
    const struct fdit_plan *plan = sampling ? fdit_painter_plan_of(s->painter, 0) : &s->model->plan;
    TRY(fdit_plan_check(ctx, plan, dev, fdit_device_info(dev)->memory,
                        "use a smaller batch or recompute=block"));
    *plan_bytes = fdit_plan_device_bytes(plan);
    TRY(sampling ? fdit_painter_allocate(ctx, s->painter) : fdit_model_allocate(ctx, s->model));
    TRY(fill_params(ctx, s->model));
    if (s->step) {
        fdit_step_bind(s->step);
        TRY(fill_batch(ctx, s));
    } else if (!sampling) {
        struct fdit_tensor fresh = fdit_tensor_of(s->fresh, FDIT_F32);
        fdit_bench_write(dev, fresh, STREAM_X, stream_of(s), 1);
        fdit_bench_write(dev, fdit_at(fresh, stream_of(s)), STREAM_DX, stream_of(s), 1);
        fdit_bench_write(dev, s->model->silu_c, STREAM_SILU, (size_t)p->batch * (size_t)s->p.config.width,
                         0.5);
    }
    TRY(fdit_device_sync(ctx, dev));
    *out = s;
    return FDIT_OK;
out:
    close_model(s);
    return status;
}

/* ---------------------------------------------------------------------------------------- run */

static void prepare_model(void *state)
{
    struct model_state *s = state;
    if (s->p.kind != FDIT_BENCH_BLOCK)
        return;
    struct fdit_tensor fresh = fdit_tensor_of(s->fresh, FDIT_F32);
    fdit_copy(s->dev, s->model->x, fresh, stream_of(s));
    fdit_copy(s->dev, s->model->dx, fdit_at(fresh, stream_of(s)), stream_of(s));
    fdit_fill(s->dev, s->model->dsilu_c, (size_t)s->p.batch * (size_t)s->p.config.width, 0);
}

static enum fdit_status run_step(fdit_context *ctx, struct model_state *s, struct fdit_step_losses *losses)
{
    enum fdit_status status = FDIT_OK;
    fdit_step_micro(s->step, &(struct fdit_micro){ .samples = s->p.batch,
                                                   .x0 = s->pictures,
                                                   .noise = s->noise,
                                                   .t = s->t,
                                                   .rows = s->rows,
                                                   .first = true,
                                                   .loss_scale = 1.0 / s->p.batch });
    fdit_step_update(s->step, &s->update);
    fdit_step_report_begin(s->step);
    TRY(fdit_step_report_end(ctx, s->step, losses));
out:
    return status;
}

static enum fdit_status run_model(fdit_context *ctx, void *state)
{
    struct model_state *s = state;
    struct fdit_step_losses losses;
    switch (s->p.kind) {
    case FDIT_BENCH_TRAIN:
        s->update.n++;
        s->update.ema_decay = fdit_ema_decay(0.9999, false, s->update.n);
        return run_step(ctx, s, &losses);
    case FDIT_BENCH_SAMPLE: return fdit_painter_draw(ctx, s->painter, s->specs, (size_t)s->p.batch, s->x);
    default:
        fdit_forward_block(s->model, 0, s->p.batch);
        fdit_backward_block(s->model, 0, s->p.batch, 0);
        return fdit_device_status(ctx, s->dev);
    }
}

/* What the backward pass computes a second time (forward.c, backward.c): the products and the
 * attention of a block, without those whose results are kept. */
static double recomputed_flops(const struct fdit_bench_problem *p)
{
    const struct fdit_model_config *c = &p->config;
    double n = fdit_config_tokens(c), d = c->width, blocks = p->kind == FDIT_BENCH_BLOCK ? 1 : c->depth;
    double ratio = c->mlp_ratio, attention = 4 * n * n * d, square = 2 * n * d * d;
    if (p->kind == FDIT_BENCH_SAMPLE || p->recompute == FDIT_RECOMPUTE_NONE)
        return 0;
    if (p->recompute == FDIT_RECOMPUTE_BRANCHES)
        return p->batch * blocks * ((3 + ratio) * square + attention);
    return p->batch * blocks * ((4 + 2 * ratio) * square + attention);
}

/* ------------------------------------------------------------------------------- verification */

struct pair {
    fdit_context *ctx;
    struct fdit_bench_check *check;
    struct model_state *got, *want;
    float *a, *b; /* room for the largest tensor */
};

static enum fdit_status compare_tensors(struct pair *v, const char *name, struct fdit_tensor got,
                                        struct fdit_tensor want, size_t n)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_read(v->ctx, v->got->dev, got, v->a, n));
    TRY(fdit_read(v->ctx, v->want->dev, want, v->b, n));
    fdit_bench_compare(v->check, name, v->a, v->b, n);
out:
    return status;
}

/* Gradients of the trained parameters in the groups first .. last; with `values` also what the
 * optimiser made of them, raw and EMA. */
static enum fdit_status compare_params(struct pair *v, int first, int last, bool values)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *got = v->got->model, *want = v->want->model;
    char name[128];
    for (int i = 0; i < got->params.n; i++) {
        struct fdit_param *p = &got->params.list[i], *q = &want->params.list[i];
        if (!p->trained || p->group < first || p->group > last)
            continue;
        snprintf(name, sizeof name, "gradient of %s", p->name);
        TRY(compare_tensors(v, name, fdit_param_grad(got, p), fdit_param_grad(want, q), p->count));
        for (int ema = 0; values && ema < 2; ema++) {
            TRY(fdit_model_get(v->ctx, got, p, (enum fdit_values)ema, v->a));
            TRY(fdit_model_get(v->ctx, want, q, (enum fdit_values)ema, v->b));
            snprintf(name, sizeof name, "%s after the step%s", p->name, ema ? ", EMA" : "");
            fdit_bench_compare(v->check, name, v->a, v->b, p->count);
        }
    }
out:
    return status;
}

/* One step with an optimiser whose result is a smooth function of the gradients: eps is not far
 * below them, so that rounding in those that are nearly 0 does not decide a sign. */
static enum fdit_status compare_steps(struct pair *v)
{
    const struct fdit_update smooth = { .optimiser = fdit_optimiser_find("adamw"),
                                        .lr = 0.1,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .eps = 1e-3,
                                        .weight_decay = 0.1,
                                        .ema_decay = 0.5,
                                        .n = 1 };
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &v->got->p.config;
    struct fdit_step_losses a, b;
    v->got->update = v->want->update = smooth;
    TRY(run_step(v->ctx, v->got, &a));
    TRY(run_step(v->ctx, v->want, &b));
    TRY(compare_tensors(v, "output", v->got->model->output, v->want->model->output, output_of(v->got)));
    fdit_bench_note_error(v->check, "mse", fabs(a.mse - b.mse) / fabs(b.mse));
    fdit_bench_note_error(v->check, "vb", fabs(a.vb - b.vb) / fabs(b.vb));
    fdit_bench_note_error(v->check, "norm of the gradient",
                          fabs(a.gradient_norm - b.gradient_norm) / b.gradient_norm);
    TRY(compare_params(v, 0, fdit_group_count(c) - 1, true));
out:
    return status;
}

static enum fdit_status compare_blocks(struct pair *v)
{
    enum fdit_status status = FDIT_OK;
    struct model_state *const both[2] = { v->got, v->want };
    size_t n = stream_of(v->got), bd = (size_t)v->got->p.batch * (size_t)v->got->p.config.width;
    for (int i = 0; i < 2; i++) {
        prepare_model(both[i]);
        fdit_forward_block(both[i]->model, 0, both[i]->p.batch);
        TRY(fdit_device_status(v->ctx, both[i]->dev));
    }
    TRY(compare_tensors(v, "output", v->got->model->x, v->want->model->x, n));
    for (int i = 0; i < 2; i++) {
        fdit_backward_block(both[i]->model, 0, both[i]->p.batch, 0);
        TRY(fdit_device_status(v->ctx, both[i]->dev));
    }
    TRY(compare_tensors(v, "gradient of the input", v->got->model->dx, v->want->model->dx, n));
    TRY(compare_tensors(v, "gradient of the condition", v->got->model->dsilu_c, v->want->model->dsilu_c, bd));
    TRY(compare_params(v, fdit_group_block(0), fdit_group_block(0), false));
out:
    return status;
}

static enum fdit_status compare_pictures(struct pair *v)
{
    enum fdit_status status = FDIT_OK;
    TRY(run_model(v->ctx, v->got));
    TRY(run_model(v->ctx, v->want));
    fdit_bench_compare(v->check, "x", v->got->x, v->want->x,
                       (size_t)v->got->p.batch * item_of(&v->got->p.config));
out:
    return status;
}

/* Depth 1; then fewer samples, then fewer tokens, until the reference can do it in seconds. */
static void make_small(struct fdit_bench_problem *p)
{
    struct fdit_model_config *c = &p->config;
    int passes = p->kind == FDIT_BENCH_SAMPLE ? 2 : 3;
    c->depth = 1;
    while (p->batch > 1 && p->batch * passes * fdit_config_forward_flops(c) > check_flops)
        p->batch--;
    while (passes * fdit_config_forward_flops(c) > check_flops && c->input_size / 2 >= c->patch &&
           c->input_size / 2 % c->patch == 0)
        c->input_size /= 2;
}

static enum fdit_status verify_model(fdit_context *ctx, fdit_device *dev, fdit_device *reference,
                                     const struct fdit_bench_problem *whole, enum fdit_dtype storage,
                                     struct fdit_bench_check *check)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_problem p = *whole;
    struct pair v = { .ctx = ctx, .check = check };
    void *got = NULL, *want = NULL;
    size_t most, ignored;
    make_small(&p);
    TRY(open_model(ctx, dev, &p, storage, &got, &ignored));
    TRY(open_model(ctx, reference, &p, FDIT_F32, &want, &ignored));
    v.got = got;
    v.want = want;
    most = stream_of(v.got) > output_of(v.got) ? stream_of(v.got) : output_of(v.got);
    for (int i = 0; i < v.got->model->params.n; i++)
        most = v.got->model->params.list[i].count > most ? v.got->model->params.list[i].count : most;
    TRY(fdit_alloc(ctx, most, sizeof(float), &v.a));
    TRY(fdit_alloc(ctx, most, sizeof(float), &v.b));
    TRY(p.kind == FDIT_BENCH_TRAIN    ? compare_steps(&v)
        : p.kind == FDIT_BENCH_SAMPLE ? compare_pictures(&v)
                                      : compare_blocks(&v));
    snprintf(check->on, sizeof check->on, "depth 1, batch %d, %d tokens", p.batch,
             fdit_config_tokens(&p.config));
out:
    close_model(got);
    close_model(want);
    fdit_free(v.a);
    fdit_free(v.b);
    return status;
}

const struct fdit_bench_workload fdit_bench_model = {
    .open = open_model,
    .prepare = prepare_model,
    .run = run_model,
    .close = close_model,
    .verify = verify_model,
    .recomputed = recomputed_flops,
};
