/* SPDX-License-Identifier: Apache-2.0 */
#include "step_fixture.h"

#include "core/mem.h"
#include "model_fixture.h"

#include <stdlib.h>

struct fdit_model_options step_training(const char *mask, int batch)
{
    return (struct fdit_model_options){ .mask = fdit_mask_find(mask),
                                        .training = true,
                                        .moments = 2,
                                        .ema = true,
                                        .batch = batch,
                                        .storage = FDIT_F32 };
}

/* The times of a fixture; free with fdit_free. */
double *step_times(fdit_context *ctx, const struct fdit_safetensors *st, const char *name, size_t *n)
{
    size_t count;
    int32_t *whole = test_ints(ctx, st, name, &count);
    double *t;
    ck_assert_ok(ctx, fdit_alloc(ctx, count, sizeof *t, &t));
    for (size_t i = 0; i < count; i++)
        t[i] = whole[i];
    fdit_free(whole);
    if (n)
        *n = count;
    return t;
}

struct loss_case loss_open(fdit_context *ctx, const char *file)
{
    struct loss_case l = { .st = test_open(ctx, file) };
    l.x0 = test_floats(ctx, l.st, "x0", NULL);
    l.noise = test_floats(ctx, l.st, "noise", NULL);
    l.t = step_times(ctx, l.st, "t", &l.b);
    l.rows = test_ints(ctx, l.st, "rows", NULL);
    return l;
}

void loss_close(struct loss_case *l)
{
    fdit_free(l->x0);
    fdit_free(l->noise);
    fdit_free(l->t);
    fdit_free(l->rows);
    fdit_safetensors_close(l->st);
}

/* The model with its step, allocated, weights loaded. */
struct fdit_model *step_model(fdit_context *ctx, fdit_device *dev, const char *file,
                              const struct fdit_model_options *options,
                              const struct fdit_objective *objective, int micros, struct fdit_step **step)
{
    struct fdit_checkpoint *cp = NULL;
    struct fdit_model_config config;
    struct fdit_model *m = NULL;
    char *path = test_fixture("%s", file);
    ck_assert_ok(ctx, fdit_checkpoint_open(ctx, path, FDIT_VALUES_RAW, &cp));
    ck_assert_ok(ctx, fdit_checkpoint_config(ctx, cp, NULL, &config));
    ck_assert_ok(ctx, fdit_model_new(ctx, dev, &config, options, &m));
    ck_assert_ok(ctx, fdit_step_new(ctx, m, objective, micros, step));
    ck_assert_ok(ctx, fdit_model_allocate(ctx, m));
    fdit_step_bind(*step);
    ck_assert_ok(ctx, fdit_model_load(ctx, m, &cp, 1, false, NULL));
    fdit_checkpoint_close(cp);
    free(path);
    return m;
}

struct fdit_model *step_model_ddpm(fdit_context *ctx, fdit_device *dev, const char *file,
                                   const struct fdit_model_options *options, int micros,
                                   struct fdit_step **step)
{
    return step_model(ctx, dev, file, options, fdit_objective_find("ddpm"), micros, step);
}

void loss_run(struct fdit_step *step, const struct loss_case *l)
{
    fdit_step_micro(step, &(struct fdit_micro){ .samples = (int)l->b,
                                                .x0 = l->x0,
                                                .noise = l->noise,
                                                .t = l->t,
                                                .rows = l->rows,
                                                .first = true,
                                                .loss_scale = 1.0 / (double)l->b });
}
