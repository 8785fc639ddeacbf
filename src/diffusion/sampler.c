/* SPDX-License-Identifier: Apache-2.0
 * sampler.c: coefficients of the sampling steps; guidance settings. */
#include "diffusion/sampler.h"

#include "core/mem.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T FDIT_TRAIN_STEPS

/* The whole of text as a finite decimal number. */
static bool read_number(const char *text, double *out)
{
    char *end = NULL;
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    double value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

enum fdit_status fdit_sampler_parse(fdit_context *ctx, const char *text, struct fdit_sampler_spec *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sampler_spec spec = { FDIT_SAMPLER_DDPM, 0 };

    if (strcmp(text, "ddpm") == 0) {
        spec.kind = FDIT_SAMPLER_DDPM;
    } else if (strcmp(text, "dpm++") == 0) {
        spec.kind = FDIT_SAMPLER_DPMPP;
    } else if (strcmp(text, "ddim") == 0) {
        spec.kind = FDIT_SAMPLER_DDIM;
    } else if (strncmp(text, "ddim:", 5) == 0) {
        spec.kind = FDIT_SAMPLER_DDIM;
        if (!read_number(text + 5, &spec.eta) || spec.eta < 0 || spec.eta > 1)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "sampler \"%s\": eta must be a number from 0 to 1", text);
    } else {
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "unknown sampler \"%s\"; choose ddpm, ddim, ddim:ETA or dpm++", text);
    }
    *out = spec;
out:
    return status;
}

void fdit_sampler_format(const struct fdit_sampler_spec *spec, char out[40])
{
    static const char *const names[] = { "ddpm", "ddim", "dpm++" };
    if (spec->kind == FDIT_SAMPLER_DDIM && spec->eta > 0)
        snprintf(out, 40, "ddim:%.17g", spec->eta);
    else
        snprintf(out, 40, "%s", names[spec->kind]);
}

int fdit_sampler_default_steps(enum fdit_sampler_kind kind)
{
    switch (kind) {
    case FDIT_SAMPLER_DDPM: return 250;
    case FDIT_SAMPLER_DDIM: return 50;
    case FDIT_SAMPLER_DPMPP: return 20;
    }
    return 0;
}

/* x_{i-1} ~ N(c_x0 x0 + c_xt x, exp(logvar)); no noise at i = 0. */
static void ddpm_step(const struct fdit_schedule *s, int i, struct fdit_sampler_coef *c)
{
    c->to_x = s->c_xt[i];
    c->to_x0 = s->c_x0[i];
    c->to_z = i > 0 ? 1 : 0;
    c->learned = true;
    c->log_beta = s->log_beta[i];
    c->log_var = s->log_var[i];
}

/* x_{i-1} = sqrt(b) x0 + sqrt(1 - b - sigma^2) eps + sigma z, a = abar_i, b = abar_{i-1},
 * sigma = eta sqrt((1 - b)/(1 - a)) sqrt(1 - a/b). */
static void ddim_step(const struct fdit_schedule *s, int i, double eta, struct fdit_sampler_coef *c)
{
    double a = s->abar[i], b = s->abar_prev[i];
    double sigma = eta * sqrt((1 - b) / (1 - a)) * sqrt(1 - a / b);
    c->to_x0 = sqrt(b);
    c->to_eps = sqrt(fmax(0, 1 - b - sigma * sigma));
    c->to_z = i > 0 ? sigma : 0;
}

static enum fdit_status fill_chain(fdit_context *ctx, struct fdit_sampler *sampler)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_schedule *s = NULL;

    TRY(fdit_schedule_new(ctx, sampler->steps, &s));
    for (int k = 0; k < s->steps; k++) {
        struct fdit_sampler_coef *c = &sampler->coef[k];
        const int i = s->steps - 1 - k;
        c->t = s->t[i];
        c->x0_x = sqrt(1 / s->abar[i]);
        c->x0_eps = -sqrt(1 / s->abar[i] - 1);
        if (sampler->spec.kind == FDIT_SAMPLER_DDPM)
            ddpm_step(s, i, c);
        else
            ddim_step(s, i, sampler->spec.eta, c);
    }
    if (sampler->spec.kind == FDIT_SAMPLER_DDPM || sampler->spec.eta > 0)
        sampler->noise_steps = sampler->steps - 1;
out:
    fdit_schedule_free(s);
    return status;
}

/* With alpha = sqrt(abar), sigma = sqrt(1 - abar), lambda = ln(alpha / sigma), h = lambda' -
 * lambda: x' = sigma'/sigma x - alpha' expm1(-h) (x0 + slope (x0 - old)), slope = h / (2 (lambda -
 * lambda_before)) in the inner steps, 0 in the first and the last. */
static void fill_dpmpp(struct fdit_sampler *sampler)
{
    const int steps = sampler->steps;
    const double part = (double)(T - 1) / steps;
    double abar[T], lambda_before = 0;

    fdit_schedule_abar(abar);
    for (int k = 0; k < steps; k++) {
        struct fdit_sampler_coef *c = &sampler->coef[k];
        c->t = k == 0 ? T - 1 : (int32_t)nearbyint((steps - k) * part);
        double alpha = sqrt(abar[c->t]), sigma = sqrt(1 - abar[c->t]);
        double lambda = log(alpha) - log(sigma);
        double alpha_next = 1, sigma_next = 0, decay = -1, slope = 0;
        if (k < steps - 1) {
            int next = (int)nearbyint((steps - k - 1) * part);
            alpha_next = sqrt(abar[next]);
            sigma_next = sqrt(1 - abar[next]);
            double h = log(alpha_next) - log(sigma_next) - lambda;
            decay = expm1(-h);
            slope = k > 0 ? 0.5 * (h / (lambda - lambda_before)) : 0;
        }
        c->x0_x = 1 / alpha;
        c->x0_eps = -sigma / alpha;
        c->to_x = sigma_next / sigma;
        c->to_x0 = -alpha_next * decay * (1 + slope);
        c->to_old = alpha_next * decay * slope;
        lambda_before = lambda;
    }
    sampler->needs_old = true;
}

enum fdit_status fdit_sampler_new(fdit_context *ctx, const struct fdit_sampler_spec *spec, int steps,
                                  struct fdit_sampler **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sampler *s = NULL;
    const bool multistep = spec->kind == FDIT_SAMPLER_DPMPP;
    const int fewest = multistep ? 1 : 2, most = multistep ? T - 1 : T;

    *out = NULL;
    if (steps < fewest || steps > most) {
        char name[40];
        fdit_sampler_format(spec, name);
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%d steps with sampler %s; choose %d to %d", steps, name, fewest,
             most);
    }
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    TRY(fdit_alloc(ctx, (size_t)steps, sizeof *s->coef, &s->coef));
    s->spec = *spec;
    s->steps = steps;
    if (multistep)
        fill_dpmpp(s);
    else
        TRY(fill_chain(ctx, s));
    *out = s;
    return FDIT_OK;
out:
    fdit_sampler_free(s);
    return status;
}

void fdit_sampler_free(struct fdit_sampler *sampler)
{
    if (sampler == NULL)
        return;
    fdit_free(sampler->coef);
    fdit_free(sampler);
}

void fdit_sampler_set_args(const struct fdit_sampler *sampler, int k, struct fdit_sampler_step_args *args)
{
    const struct fdit_sampler_coef *c = &sampler->coef[k];
    args->x0_x = (float)c->x0_x;
    args->x0_eps = (float)c->x0_eps;
    args->to_x = (float)c->to_x;
    args->to_x0 = (float)c->to_x0;
    args->to_eps = (float)c->to_eps;
    args->to_old = (float)c->to_old;
    args->to_z = (float)c->to_z;
    args->learned = c->learned;
    args->log_beta = (float)c->log_beta;
    args->log_var = (float)c->log_var;
}

enum fdit_status fdit_guidance_parse_scale(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    double w = 0;
    if (!read_number(text, &w) || fabs(w) > 1e6)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "guidance \"%s\" is not a number; try 4, or 1 for none",
                         text);
    g->w = w;
    return FDIT_OK;
}

enum fdit_status fdit_guidance_parse_channels(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    if (strcmp(text, "3") == 0)
        g->channels = 3;
    else if (strcmp(text, "all") == 0)
        g->channels = -1;
    else
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "guidance channels \"%s\"; choose 3 or all", text);
    return FDIT_OK;
}

/* Digits up to `stop`; NULL when there are none, too many, or something else follows. */
static const char *read_time(const char *text, char stop, int *out)
{
    int value = 0, digits = 0;
    for (; *text >= '0' && *text <= '9'; text++, digits++) {
        value = value * 10 + (*text - '0');
        if (value >= T)
            return NULL;
    }
    if (digits == 0 || *text != stop)
        return NULL;
    *out = value;
    return text + 1;
}

enum fdit_status fdit_guidance_parse_interval(fdit_context *ctx, const char *text, struct fdit_guidance *g)
{
    int low = 0, high = 0;
    const char *rest = read_time(text, ':', &low);
    if (rest == NULL || read_time(rest, '\0', &high) == NULL || low > high)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "guidance interval \"%s\"; write LO:HI with 0 <= LO <= HI <= %d", text, T - 1);
    g->t_low = low;
    g->t_high = high;
    return FDIT_OK;
}

int fdit_guidance_channels(const struct fdit_guidance *g, int channels)
{
    int guided = g->channels > 0 ? g->channels : channels;
    if (g->channels == 0 && channels == 4)
        guided = 3;
    return guided < channels ? guided : channels;
}

bool fdit_guidance_active(const struct fdit_guidance *g, int t)
{
    return g->w != 1 && g->t_low <= t && t <= g->t_high;
}
