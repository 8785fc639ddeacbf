/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/generate.h"

#include "core/mem.h"

#include <string.h>

struct fdit_generator {
    struct fdit_model *model, *guide;      /* guide: the model itself, or another one */
    struct fdit_generator_options options; /* with the number of steps */
    int batch;                             /* room of the buffers */
    struct fdit_sampler *sampler;
    struct fdit_noise_pictures *noise;
    int guided_channels;
    size_t picture; /* C S S */
    fdit_buffer *buffer;
    struct fdit_tensor x, z, old; /* [batch, C, S, S] */
    float *host;                  /* [batch, C, S, S] */
    float *outputs[2];            /* [O, S, S] of class and guide, for zero-star and scores */
    double *scores;               /* [batch] */
    int scored;                   /* steps that are in them */
    int32_t *rows;                /* [2 batch] */
    double *times;                /* [conditions of model or guide] */
    int32_t *all_rows;            /* likewise */
    float *strengths;             /* likewise, w - 1 */
    struct fdit_reuse reuse;      /* of the run in progress */
    struct fdit_branch_use use;   /* of its step */
    bool was_guided;              /* the step before */
    int conditioned[2];           /* first step whose conditions model and guide hold; -1: none */
};

int fdit_generator_model_batch(const struct fdit_generator_options *options, bool own_guide)
{
    return options->guided && own_guide ? 2 * options->batch : options->batch;
}

/* Samples for which a product with adaLN's matrices is about as fast as reading them, and more: from here
 * on, looking ahead costs memory (XL/2: 0.8 MB a sample) and wins nothing. */
enum { CONDITIONS = 64 };

static int steps_of(const struct fdit_generator_options *options)
{
    return options->steps ? options->steps : fdit_sampler_default_steps(options->sampler.kind);
}

int fdit_generator_conditions(const struct fdit_generator_options *options, bool own_guide)
{
    int each = fdit_generator_model_batch(options, own_guide), steps = CONDITIONS / each;
    if (steps > steps_of(options))
        steps = steps_of(options);
    return steps > 1 ? each * steps : 0;
}

enum fdit_status fdit_generator_set(fdit_context *ctx, struct fdit_generator *g,
                                    const struct fdit_generator_options *options)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sampler *sampler = NULL;
    struct fdit_noise_pictures *noise = NULL;
    int need = fdit_generator_model_batch(options, g->guide == g->model);
    if (options->batch < 1 || options->batch > g->batch || need > g->model->options.batch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "sampling %d pictures at once needs a model for %d "
             "samples, it has room for %d; use a smaller --batch",
             options->batch, need, g->model->options.batch);
    const int kept = fdit_generator_branches(options);
    if (kept > g->model->options.kept_branches || kept > g->guide->options.kept_branches)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "results of %d steps are to be kept, the model has room for %d; make it with them", kept,
             g->model->options.kept_branches);
    struct fdit_sampler_spec spec = options->sampler;
    struct fdit_guidance guidance = options->guidance;
    spec.objective = g->model->config.objective;
    if (!fdit_sampler_clamps(spec.kind) && options->clip_x0) {
        char name[40];
        fdit_sampler_format(&spec, name);
        FAIL(
            ctx, FDIT_ERROR_ARGUMENT,
            "the sampler %s takes the mean of two predictions and cannot clamp them; leave out --clip-x0, or "
            "choose another sampler",
            name);
    }
    TRY(fdit_guidance_settle(ctx, &guidance, spec.objective));
    TRY(fdit_sampler_new(ctx, &spec, steps_of(options), &sampler));
    TRY(fdit_guidance_check_rule(ctx, &guidance, &spec));
    if (guidance.rule == FDIT_GUIDANCE_ZERO_STAR && steps_of(options) < 2)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "guidance rule zero-star stands still in the first step, so %d step leaves the noise as it is; "
             "give more --steps",
             steps_of(options));
    if (options->scored && !g->scores)
        TRY(fdit_alloc(ctx, (size_t)g->batch, sizeof *g->scores, &g->scores));
    if ((guidance.rule == FDIT_GUIDANCE_ZERO_STAR || options->scored) && !g->outputs[0])
        for (int i = 0; i < 2; i++)
            TRY(fdit_alloc(ctx, 2 * g->picture, sizeof(float), &g->outputs[i]));
    TRY(fdit_noise_new(ctx, options->noise, options->batch, g->picture, options->guided, &noise));
    fdit_sampler_free(g->sampler);
    fdit_noise_free(g->noise);
    g->sampler = sampler;
    g->noise = noise;
    g->options = *options;
    g->options.steps = steps_of(options);
    g->options.guidance = guidance;
    g->guided_channels = fdit_guidance_channels(&guidance, g->model->config.channels);
    return FDIT_OK;
out:
    fdit_sampler_free(sampler);
    fdit_noise_free(noise);
    return status;
}

enum fdit_status fdit_generator_new(fdit_context *ctx, struct fdit_model *model,
                                    struct fdit_model *guide_model,
                                    const struct fdit_generator_options *options, struct fdit_generator **out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &model->config;
    struct fdit_generator *g = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *g, &g));
    g->model = model;
    g->guide = guide_model ? guide_model : model;
    g->batch = options->batch;
    g->picture = (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
    if (guide_model &&
        (guide_model->config.channels != c->channels || guide_model->config.input_size != c->input_size ||
         guide_model->options.batch < options->batch))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the guide's model has %d channels of %d x %d, the sampled one %d of %d x %d; use a guide of "
             "the same family",
             guide_model->config.channels, guide_model->config.input_size, guide_model->config.input_size,
             c->channels, c->input_size, c->input_size);
    if (guide_model && guide_model->config.objective != c->objective)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the guide was trained with the objective %s, the sampled "
             "model with %s; use a guide of the same objective",
             fdit_objective_at(guide_model->config.objective)->name, fdit_objective_at(c->objective)->name);
    TRY(fdit_generator_set(ctx, g, options));
    size_t b = (size_t)options->batch, padded = fdit_page_floats(b * g->picture);
    TRY(fdit_alloc(ctx, b * g->picture, sizeof(float), &g->host));
    TRY(fdit_alloc(ctx, 2 * b, sizeof(int32_t), &g->rows));
    int own = g->model->options.conditions, other = g->guide->options.conditions;
    size_t conditions = (size_t)(own > other ? own : other);
    TRY(fdit_alloc(ctx, conditions, sizeof *g->times, &g->times));
    TRY(fdit_alloc(ctx, conditions, sizeof(int32_t), &g->all_rows));
    TRY(fdit_alloc(ctx, conditions, sizeof(float), &g->strengths));
    g->x = (struct fdit_tensor){ NULL, 0, FDIT_F32 };
    g->z = fdit_at(g->x, padded);
    g->old = fdit_at(g->z, padded);
    TRY(fdit_plan_add(ctx, &model->plan, FDIT_PLAN_BATCH, &g->buffer, 3 * padded * sizeof(float),
                      "pictures in the making"));
    *out = g;
    return FDIT_OK;
out:
    fdit_generator_free(g);
    return status;
}

void fdit_generator_bind(struct fdit_generator *g)
{
    g->x.buffer = g->z.buffer = g->old.buffer = g->buffer;
}

void fdit_generator_free(struct fdit_generator *g)
{
    if (!g)
        return;
    fdit_plan_forget(&g->model->plan, &g->buffer);
    fdit_buffer_free(g->buffer);
    fdit_sampler_free(g->sampler);
    fdit_noise_free(g->noise);
    fdit_free(g->host);
    fdit_free(g->outputs[0]);
    fdit_free(g->outputs[1]);
    fdit_free(g->scores);
    fdit_free(g->rows);
    fdit_free(g->times);
    fdit_free(g->all_rows);
    fdit_free(g->strengths);
    fdit_free(g);
}

enum fdit_status fdit_generator_read(fdit_context *ctx, struct fdit_generator *g, int n, float *x)
{
    return fdit_read(ctx, g->model->dev, g->x, x, (size_t)n * g->picture);
}

const double *fdit_generator_scores(const struct fdit_generator *g)
{
    return g->scores;
}

int fdit_generator_steps(const struct fdit_generator *g)
{
    return g->options.steps;
}

/* One step's noise of n pictures onto the device. */
static void write_noise(struct fdit_generator *g, const struct fdit_noise *noise, int n, int step,
                        struct fdit_tensor to)
{
    for (int i = 0; i < n; i++)
        noise->fill(noise->self, i, step, g->host + (size_t)i * g->picture, g->picture);
    fdit_write(g->model->dev, to, g->host, (size_t)n * g->picture);
}

/* What the network is told of the scale at pass i, less 1. */
static float told(const struct fdit_generator *g, int i)
{
    const struct fdit_guidance *guidance = &g->options.guidance;
    return g->options.told && fdit_guidance_active(guidance, g->sampler->coef[i].at)
               ? (float)(guidance->w - 1)
               : 0;
}

/* The network's output for step k of n samples with the class rows `rows`; model->input is there. `room` >= n
 * samples have a condition in each step, and the model gets those of as many steps as it can hold at once. */
static void run_network(struct fdit_generator *g, struct fdit_model *m, const int32_t *rows, int n, int room,
                        int k)
{
    int ahead = m->options.conditions / room, first = k - k % ahead;
    int *conditioned = &g->conditioned[m != g->model];
    if (*conditioned != first) {
        int count = 0;
        *conditioned = first;
        for (int i = first; i < first + ahead && i < g->sampler->steps; i++)
            for (int j = 0; j < room; j++) {
                g->times[count] = g->sampler->coef[i].t;
                g->strengths[count] = told(g, i);
                g->all_rows[count++] = rows[j];
            }
        fdit_model_write_times(m, count, g->times);
        fdit_write(m->dev, m->index, g->all_rows, (size_t)count);
        fdit_model_write_strengths(m, count, g->strengths);
        fdit_condition(m, count);
    }
    fdit_forward_branches(m, n, (k - first) * room, fdit_generator_branches(&g->options) ? &g->use : NULL);
}

/* The network's outputs for both branches of step k: cond [n, O, S, S] (model.h), and uncond when asked. */
static void predict(struct fdit_generator *g, int n, int k, struct fdit_tensor *cond,
                    struct fdit_tensor *uncond)
{
    struct fdit_model *m = g->model;
    fdit_device *dev = m->dev;
    size_t count = (size_t)n * g->picture;
    bool guided = g->options.guided && fdit_guidance_active(&g->options.guidance, g->sampler->coef[k].at);
    bool own = g->options.guided && g->guide == m, both = guided && own;
    if (fdit_generator_branches(&g->options)) /* a guide that sets in has kept nothing */
        fdit_reuse_step(&g->reuse, k, guided && !g->was_guided, &g->use);
    g->was_guided = guided;
    *uncond = FDIT_NO_TENSOR;
    fdit_copy(dev, m->input, g->x, count);
    if (both)
        fdit_copy(dev, fdit_at(m->input, count), g->x, count);
    run_network(g, m, g->rows, both ? 2 * n : n, own ? 2 * n : n, k);
    *cond = m->output;
    if (both)
        *uncond = fdit_at(m->output, (size_t)fdit_config_outputs(&m->config) * count);
    else if (guided) {
        fdit_copy(dev, g->guide->input, g->x, count);
        run_network(g, g->guide, g->rows + n, n, n, k);
        *uncond = g->guide->output;
    }
}

/* CFG-Zero*: in the first step the velocity is 0; then the guide's is cut to its part along the class's. Sums
 * in double on the host, a sample at a time, so that neither device nor batch changes a bit. */
static enum fdit_status apply_zero_star(fdit_context *ctx, struct fdit_generator *g, int n, int k,
                                        struct fdit_tensor cond, struct fdit_tensor uncond)
{
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = g->model->dev;
    const size_t all = (size_t)fdit_config_outputs(&g->model->config) * g->picture;
    const size_t guided = g->picture / (size_t)g->model->config.channels * (size_t)g->guided_channels;
    if (g->sampler->coef[k].at == g->sampler->coef[0].at) { /* both passes of heun's first step */
        fdit_fill(dev, cond, (size_t)n * all, 0);
        fdit_fill(dev, uncond, (size_t)n * all, 0);
        return FDIT_OK;
    }
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * all;
        TRY(fdit_read(ctx, dev, fdit_at(cond, at), g->outputs[0], guided));
        TRY(fdit_read(ctx, dev, fdit_at(uncond, at), g->outputs[1], guided));
        fdit_zero_star(g->outputs[0], g->outputs[1], guided);
        fdit_write(dev, fdit_at(uncond, at), g->outputs[1], guided);
    }
out:
    return status;
}

static void begin_scores(struct fdit_generator *g, int n)
{
    g->scored = 0;
    for (int i = 0; i < n && g->options.scored; i++)
        g->scores[i] = 0;
}

static void end_scores(struct fdit_generator *g, int n)
{
    for (int i = 0; i < n && g->options.scored; i++)
        g->scores[i] /= g->scored;
}

/* Adds the distance of the two predictions, on the host, so that no batch changes the order. */
static enum fdit_status add_scores(fdit_context *ctx, struct fdit_generator *g, int n,
                                   struct fdit_tensor cond, struct fdit_tensor uncond)
{
    enum fdit_status status = FDIT_OK;
    const size_t all = (size_t)fdit_config_outputs(&g->model->config) * g->picture;
    const size_t guided = g->picture / (size_t)g->model->config.channels * (size_t)g->guided_channels;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        TRY(fdit_read(ctx, g->model->dev, fdit_at(cond, (size_t)i * all), g->outputs[0], guided));
        TRY(fdit_read(ctx, g->model->dev, fdit_at(uncond, (size_t)i * all), g->outputs[1], guided));
        for (size_t k = 0; k < guided; k++) {
            const double difference = (double)g->outputs[0][k] - (double)g->outputs[1][k];
            sum += difference * difference;
        }
        g->scores[i] += sum / (double)guided;
    }
    g->scored++;
out:
    return status;
}

/* g->x after pass k, from what the network says. The step overwrites `old`, which the next one may need as
 * the older: the network's input is free to keep it. */
static void move(struct fdit_generator *g, int n, int k, struct fdit_tensor cond, struct fdit_tensor uncond)
{
    struct fdit_model *m = g->model;
    const struct fdit_sampler *s = g->sampler;
    const bool draws = k < s->noise_steps;
    if (s->needs_older)
        fdit_copy(m->dev, m->input, g->old, (size_t)n * g->picture);
    struct fdit_sampler_step_args a = { .samples = n,
                                        .channels = m->config.channels,
                                        .n = g->picture / (size_t)m->config.channels,
                                        .x_next = g->x,
                                        .x = g->x,
                                        .cond = cond,
                                        .uncond = uncond,
                                        .z = draws || s->needs_older ? g->z : FDIT_NO_TENSOR,
                                        .old = s->needs_old ? g->old : FDIT_NO_TENSOR,
                                        .guidance = (float)g->options.guidance.w,
                                        .guided_channels = g->guided_channels,
                                        .clip_x0 = g->options.clip_x0,
                                        .single = fdit_config_outputs(&m->config) == 1 };
    fdit_sampler_set_args(s, k, &a);
    fdit_sampler_step(m->dev, &a);
    if (s->needs_older)
        fdit_copy(m->dev, g->z, m->input, (size_t)n * g->picture);
}

enum fdit_status fdit_generator_run_with(fdit_context *ctx, struct fdit_generator *g,
                                         const struct fdit_picture_spec *pictures, int n,
                                         const struct fdit_noise *noise, float *x)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = g->model;
    const struct fdit_sampler *s = g->sampler;
    const struct fdit_guidance *guidance = &g->options.guidance;
    for (int i = 0; i < n; i++) {
        g->rows[i] = pictures[i].row;
        g->rows[n + i] = pictures[i].guide_row;
    }
    g->conditioned[0] = g->conditioned[1] = -1;
    g->was_guided = false;
    begin_scores(g, n);
    fdit_reuse_begin(&g->reuse, &g->options.reuse, s->steps);
    write_noise(g, noise, n, -1, g->x);
    fdit_fill(m->dev, g->old, (size_t)n * g->picture, 0);
    if (s->needs_older)
        fdit_fill(m->dev, g->z, (size_t)n * g->picture, 0);
    for (int k = 0; k < s->steps; k++) {
        struct fdit_tensor cond, uncond;
        bool draws = k < s->noise_steps, always = fdit_noise_every_step(g->noise);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped at step %d of %d", k, s->steps);
        if (draws || (always && noise->self == g->noise))
            write_noise(g, noise, n, k, g->z);
        predict(g, n, k, &cond, &uncond);
        if (g->options.scored && fdit_has(uncond))
            TRY(add_scores(ctx, g, n, cond, uncond));
        if (guidance->rule == FDIT_GUIDANCE_ZERO_STAR && fdit_has(uncond))
            TRY(apply_zero_star(ctx, g, n, k, cond, uncond));
        move(g, n, k, cond, uncond);
        TRY(fdit_device_status(ctx, m->dev));
        if (g->options.on_step)
            g->options.on_step(g->options.user, k + 1, s->steps);
    }
    end_scores(g, n);
    TRY(fdit_read(ctx, m->dev, g->x, x, (size_t)n * g->picture));
out:
    return status;
}

enum fdit_status fdit_generator_run(fdit_context *ctx, struct fdit_generator *g,
                                    const struct fdit_picture_spec *pictures, int n, float *x)
{
    struct fdit_noise noise = fdit_noise_of(g->noise);
    for (int i = 0; i < n; i++)
        fdit_noise_seed(g->noise, i, pictures[i].seed, pictures[i].class_id);
    return fdit_generator_run_with(ctx, g, pictures, n, &noise, x);
}
