/* SPDX-License-Identifier: Apache-2.0
 * schedule.c: tables of the noise process, timestep features, position table. */
#include "diffusion/schedule.h"

#include "core/mem.h"

#include <math.h>

#define T FDIT_TRAIN_STEPS
#define BETA_FIRST 1e-4
#define BETA_LAST 0.02
#define LN_10000 9.210340371976182736

void fdit_schedule_abar(double abar[T])
{
    const double step = (BETA_LAST - BETA_FIRST) / (T - 1);
    double product = 1;
    for (int i = 0; i < T; i++) {
        double beta = i == T - 1 ? BETA_LAST : i * step + BETA_FIRST;
        product *= 1 - beta;
        abar[i] = product;
    }
}

void fdit_schedule_respace(int steps, int32_t *t)
{
    const double stride = steps > 1 ? (double)(T - 1) / (steps - 1) : 1;
    double at = 0;
    for (int i = 0; i < steps; i++) {
        t[i] = (int32_t)nearbyint(at);
        at += stride;
    }
}

enum fdit_status fdit_schedule_new(fdit_context *ctx, int steps, struct fdit_schedule **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_schedule *s = NULL;
    double *tables = NULL;
    double abar[T];

    *out = NULL;
    if (steps < 2 || steps > T)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%d diffusion steps; choose 2 to %d", steps, T);
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    TRY(fdit_alloc(ctx, (size_t)steps, sizeof *s->t, &s->t));
    TRY(fdit_alloc(ctx, (size_t)steps * 7, sizeof *tables, &tables));
    s->steps = steps;
    s->abar = tables;
    s->abar_prev = tables + steps;
    s->beta = tables + 2 * steps;
    s->log_beta = tables + 3 * steps;
    s->log_var = tables + 4 * steps;
    s->c_x0 = tables + 5 * steps;
    s->c_xt = tables + 6 * steps;

    fdit_schedule_abar(abar);
    fdit_schedule_respace(steps, s->t);
    for (int i = 0; i < steps; i++) {
        double a = abar[s->t[i]], b = i == 0 ? 1.0 : s->abar[i - 1], beta = 1 - a / b;
        s->abar[i] = a;
        s->abar_prev[i] = b;
        s->beta[i] = beta;
        s->log_beta[i] = log(beta);
        s->log_var[i] = log(beta * (1 - b) / (1 - a));
        s->c_x0[i] = beta * sqrt(b) / (1 - a);
        s->c_xt[i] = (1 - b) * sqrt(1 - beta) / (1 - a);
    }
    s->log_var[0] = s->log_var[1];
    *out = s;
    return FDIT_OK;
out:
    fdit_schedule_free(s);
    return status;
}

void fdit_schedule_free(struct fdit_schedule *s)
{
    if (s == NULL)
        return;
    fdit_free(s->abar);
    fdit_free(s->t);
    fdit_free(s);
}

void fdit_schedule_diffuse_coef(const struct fdit_schedule *s, int i, float out[2])
{
    out[0] = (float)sqrt(s->abar[i]);
    out[1] = (float)sqrt(1 - s->abar[i]);
}

void fdit_schedule_loss_coef(const struct fdit_schedule *s, int i, double scale, struct fdit_loss_coef *out)
{
    *out = (struct fdit_loss_coef){
        .is_first = i == 0 ? 1.0f : 0.0f,
        .log_beta = (float)s->log_beta[i],
        .log_var = (float)s->log_var[i],
        .mean_eps = (float)(s->c_x0[i] * sqrt(1 / s->abar[i] - 1)),
        .scale = (float)scale,
        .scale_vb = (float)scale,
    };
}

void fdit_time_frequencies(float out[FDIT_TIME_FEATURES / 2])
{
    const int half = FDIT_TIME_FEATURES / 2;
    for (int i = 0; i < half; i++) {
        float exponent = (float)i * (float)-LN_10000 / (float)half;
        out[i] = (float)exp((double)exponent);
    }
    /* PyTorch's float32 exp is within one unit in the last place, not always the nearest: of these
     * 128 numbers it has two one unit higher. Models were trained on its numbers. */
    out[12] = nextafterf(out[12], 1.0f);
    out[106] = nextafterf(out[106], 1.0f);
}

void fdit_time_features(double t, float out[FDIT_TIME_FEATURES])
{
    const int half = FDIT_TIME_FEATURES / 2;
    float frequency[FDIT_TIME_FEATURES / 2];
    fdit_time_frequencies(frequency);
    for (int i = 0; i < half; i++) {
        float phase = (float)t * frequency[i];
        out[i] = (float)cos((double)phase);
        out[half + i] = (float)sin((double)phase);
    }
}

/* [grid, width/2]: the sines, then the cosines, of each position. */
static void axis_table(int width, int grid, float *out)
{
    const int quarter = width / 4;
    for (int pos = 0; pos < grid; pos++) {
        float *row = out + (size_t)pos * 2 * (size_t)quarter;
        for (int i = 0; i < quarter; i++) {
            double angle = pos * pow(10000.0, -(i / (width / 4.0)));
            row[i] = (float)sin(angle);
            row[quarter + i] = (float)cos(angle);
        }
    }
}

enum fdit_status fdit_pos_embed(fdit_context *ctx, int width, int grid, float *out)
{
    enum fdit_status status = FDIT_OK;
    float *axis = NULL;

    if (width < 4 || width % 4 != 0 || grid < 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "position table of width %d on a grid of %d; the width must be a multiple of 4", width, grid);
    const size_t half = (size_t)width / 2, side = (size_t)grid;
    TRY(fdit_alloc(ctx, side * half, sizeof *axis, &axis));
    axis_table(width, grid, axis);
    for (size_t row = 0; row < side; row++) {
        for (size_t column = 0; column < side; column++) {
            float *token = out + (row * side + column) * 2 * half;
            for (size_t i = 0; i < half; i++) {
                token[i] = axis[column * half + i];
                token[half + i] = axis[row * half + i];
            }
        }
    }
out:
    fdit_free(axis);
    return status;
}
