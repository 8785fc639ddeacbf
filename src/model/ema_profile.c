/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ema_profile.h"

#include "core/mem.h"

#include <math.h>

const double fdit_ema_widths[FDIT_EMA_PROFILES] = { 0.05, 0.10 };

double fdit_ema_width(double g)
{
    return sqrt((g + 1) / ((g + 2) * (g + 2) * (g + 3)));
}

/* The width falls as the power rises. */
double fdit_ema_power(double width)
{
    double low = 0, high = 1;
    while (fdit_ema_width(high) > width)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = 0.5 * (low + high);
        if (fdit_ema_width(middle) > width)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

double fdit_ema_profile_decay(double power, int64_t n)
{
    return n <= 1 ? 0 : exp((power + 1) * log1p(-1 / (double)n));
}

/* Integral of a p_a p_b over the steps that both have, in logarithms: t^g overflows. */
static long double log_product(struct fdit_ema_profile a, struct fdit_ema_profile b)
{
    const long double ga = a.power, gb = b.power, low = a.t < b.t ? a.t : b.t;
    return logl((ga + 1) * (gb + 1) / (ga + gb + 1)) + (ga + gb + 1) * logl(low) - (ga + 1) * logl(a.t) -
           (gb + 1) * logl(b.t);
}

/* Cosine of the angle between two profiles. */
static long double cosine(struct fdit_ema_profile a, struct fdit_ema_profile b)
{
    return expl(log_product(a, b) - 0.5L * (log_product(a, a) + log_product(b, b)));
}

/* Profiles of which less than this part of their length is not in those before them are left out. */
static const long double least_part = 1e-13L;

/* Solves the normal equations of the profiles, each scaled to length 1, by Cholesky factors row by row:
 * l [n, n], lower; a profile that depends on those before it has 0 on the diagonal. y [n] on the way. */
static void solve(const struct fdit_ema_profile *p, size_t n, struct fdit_ema_profile wanted, long double *l,
                  long double *y, double *out)
{
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        long double rest = 1, right = cosine(p[i], wanted);
        for (size_t j = 0; j < i; j++) {
            long double x = cosine(p[i], p[j]);
            for (size_t k = 0; k < j; k++)
                x -= l[i * n + k] * l[j * n + k];
            x = l[j * n + j] > 0 ? x / l[j * n + j] : 0;
            l[i * n + j] = x;
            rest -= x * x;
            right -= x * y[j];
        }
        l[i * n + i] = rest > least_part ? sqrtl(rest) : 0;
        y[i] = l[i * n + i] > 0 ? right / l[i * n + i] : 0;
    }
    for (size_t i = n; i-- > 0;) {
        long double x = y[i];
        for (size_t k = i + 1; k < n; k++)
            x -= l[k * n + i] * y[k];
        y[i] = l[i * n + i] > 0 ? x / l[i * n + i] : 0;
    }
    for (size_t i = 0; i < n; i++) {
        y[i] *= expl(-0.5L * log_product(p[i], p[i]));
        sum += y[i];
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (double)(y[i] / sum);
}

enum fdit_status fdit_ema_coefficients(fdit_context *ctx, const struct fdit_ema_profile *stored, size_t n,
                                       struct fdit_ema_profile wanted, double *out)
{
    enum fdit_status status = FDIT_OK;
    long double *l = NULL, *y = NULL;
    double last = 0;
    for (size_t i = 0; i < n; i++)
        last = stored[i].t > last ? stored[i].t : last;
    if (!n || !(wanted.t > 0) || wanted.t > last)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "an average at step %.15g needs one that is stored there or later",
             wanted.t);
    TRY(fdit_alloc(ctx, n * n, sizeof *l, &l));
    TRY(fdit_alloc(ctx, n, sizeof *y, &y));
    solve(stored, n, wanted, l, y, out);
out:
    fdit_free(l);
    fdit_free(y);
    return status;
}
