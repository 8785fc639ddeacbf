/* SPDX-License-Identifier: Apache-2.0 */
#include "diffusion/weighting.h"

#include "core/option_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As many digits as the text of both in a file holds: a run that goes on has the same numbers. */
static double six_digits(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", x);
    return strtod(text, NULL);
}

static enum fdit_status parse_two(fdit_context *ctx, const char *what, const char *text, double *a, double *b)
{
    enum fdit_status status = FDIT_OK;
    const char *comma = strchr(text, ',');
    char first[64];
    if (!comma || (size_t)(comma - text) >= sizeof first)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s logit-normal:%s: give mean and spread, as logit-normal:0,1", what,
             text);
    snprintf(first, sizeof first, "%.*s", (int)(comma - text), text);
    TRY(fdit_parse_real(ctx, what, first, a));
    TRY(fdit_parse_real(ctx, what, comma + 1, b));
    *a = six_digits(*a);
    *b = six_digits(*b);
out:
    return status;
}

enum fdit_status fdit_time_density_parse(fdit_context *ctx, const char *text, struct fdit_time_density *out)
{
    enum fdit_status status = FDIT_OK;
    static const char what[] = "--time-density", normal[] = "logit-normal", shift[] = "shift:";
    struct fdit_time_density d = { .kind = FDIT_TIMES_UNIFORM };
    if (!strncmp(text, normal, strlen(normal)) && (!text[strlen(normal)] || text[strlen(normal)] == ':')) {
        const char *numbers = text + strlen(normal);
        d = (struct fdit_time_density){ FDIT_TIMES_LOGIT_NORMAL, 0, 1 };
        if (*numbers)
            TRY(parse_two(ctx, what, numbers + 1, &d.a, &d.b));
        if (!(fabs(d.a) <= 20) || !(d.b >= 0.01 && d.b <= 20))
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s %s: the mean must lie in -20 .. 20 and the spread in 0.01 .. 20", what, text);
    } else if (!strncmp(text, shift, strlen(shift))) {
        d.kind = FDIT_TIMES_SHIFT;
        TRY(fdit_parse_real(ctx, what, text + strlen(shift), &d.a));
        if (!(d.a >= 1e-3 && d.a <= 1e3))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: the shift must lie in 0.001 .. 1000; 1 is uniform", what,
                 text);
    } else if (strcmp(text, "uniform")) {
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not known; give one of " FDIT_TIME_DENSITY_NAMES, what, text);
    }
    *out = d;
out:
    return status;
}

void fdit_time_density_format(const struct fdit_time_density *d, char out[40])
{
    char text[64] = "";
    switch (d->kind) {
    case FDIT_TIMES_UNIFORM: snprintf(out, 40, "uniform"); break;
    case FDIT_TIMES_LOGIT_NORMAL:
        snprintf(text, sizeof text, "logit-normal:%.6g,%.6g", d->a, d->b);
        memcpy(out, text, 40); /* of numbers of this size it needs 39 */
        break;
    case FDIT_TIMES_SHIFT: snprintf(out, 40, "shift:%.17g", d->a); break;
    }
}

enum fdit_status fdit_loss_weight_parse(fdit_context *ctx, const char *text, struct fdit_loss_weight *out)
{
    enum fdit_status status = FDIT_OK;
    static const char what[] = "--loss-weight", name[] = "min-snr";
    struct fdit_loss_weight w = { .min_snr = false };
    if (!strncmp(text, name, strlen(name)) && (!text[strlen(name)] || text[strlen(name)] == ':')) {
        w = (struct fdit_loss_weight){ .min_snr = true, .most = 5 };
        if (text[strlen(name)])
            TRY(fdit_parse_real(ctx, what, text + strlen(name) + 1, &w.most));
        if (!(w.most >= 1e-3 && w.most <= 1e6))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: the most must lie in 0.001 .. 1e6; 5 is usual", what,
                 text);
    } else if (strcmp(text, "uniform")) {
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not known; give one of " FDIT_LOSS_WEIGHT_NAMES, what, text);
    }
    *out = w;
out:
    return status;
}

void fdit_loss_weight_format(const struct fdit_loss_weight *w, char out[40])
{
    if (w->min_snr)
        snprintf(out, 40, "min-snr:%.17g", w->most);
    else
        snprintf(out, 40, "uniform");
}

double fdit_time_density_at(const struct fdit_time_density *d, double x)
{
    switch (d->kind) {
    case FDIT_TIMES_UNIFORM: return x;
    case FDIT_TIMES_LOGIT_NORMAL: return 1 / (1 + exp(-(d->a + d->b * x)));
    case FDIT_TIMES_SHIFT: return d->a * x / (1 + (d->a - 1) * x);
    }
    return x;
}

double fdit_time_density_draw(const struct fdit_time_density *d, const struct fdit_rng *rng)
{
    float z;
    if (d->kind != FDIT_TIMES_LOGIT_NORMAL)
        return fdit_time_density_at(d, fdit_rng_uniform(rng, 0));
    fdit_rng_fill_normals(rng, 0, 1, &z);
    return fdit_time_density_at(d, (double)z);
}

double fdit_loss_weight_noise(const struct fdit_loss_weight *w, double abar)
{
    const double snr = abar / (1 - abar);
    return w->min_snr && snr > w->most ? w->most / snr : 1;
}

/* As a minimum of two products, so that u = 0, where SNR is infinite, needs no case of its own. */
double fdit_loss_weight_velocity(const struct fdit_loss_weight *w, double u)
{
    return w->min_snr ? fmin((1 - u) * (1 - u), w->most * u * u) : 1;
}
