/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/frechet.h"

#include "core/mem.h"
#include "core/phase.h"

#include <math.h>
#include <string.h>

/* The line through (1 / size, value) at 0. */
static double line_at_zero(const size_t *sizes, const double *values, size_t n)
{
    double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += 1 / (double)sizes[i] / (double)n;
        mean_y += values[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double x = 1 / (double)sizes[i] - mean_x;
        xx += x * x;
        xy += x * (values[i] - mean_y);
    }
    return mean_y - xy / xx * mean_x;
}

static enum fdit_status check_sizes(fdit_context *ctx, const size_t *sizes, size_t n, size_t most)
{
    bool differ = false;
    for (size_t i = 0; i < n; i++) {
        differ = differ || sizes[i] != sizes[0];
        if (sizes[i] < 2 || sizes[i] > most)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "Frechet distance of infinitely many pictures: "
                             "subsets of %zu of %zu pictures; give more pictures",
                             sizes[i], most);
    }
    if (!differ)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "Frechet distance of infinitely many pictures: %zu "
                         "pictures are too few for subsets of different sizes",
                         most);
    return FDIT_OK;
}

enum fdit_status fdit_frechet_infinity(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                       const struct fdit_points *y, const uint32_t *order,
                                       const size_t *sizes, size_t n, double *values, double *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_moments real = { 0 }, some = { 0 };
    struct fdit_statistics *sums = NULL;
    *out = 0;
    TRY(fdit_points_check_pair(ctx, "Frechet distance of infinitely many pictures", x, y, 2));
    TRY(check_sizes(ctx, sizes, n, y->n));
    TRY(fdit_moments_of(ctx, pool, x, &real));
    for (size_t i = 0; i < n; i++) {
        TRY(fdit_statistics_new(ctx, y->d, &sums));
        for (size_t k = 0; k < sizes[i]; k++)
            fdit_statistics_add(sums, pool, y->x + (size_t)order[k] * y->d, 1, NULL, 0);
        fdit_moments_fini(&some);
        TRY(fdit_statistics_moments(ctx, sums, &some));
        fdit_statistics_free(sums);
        sums = NULL;
        TRY(fdit_frechet(ctx, &real, &some, &values[i]));
        fdit_phase_at(ctx, i + 1);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped");
    }
    *out = line_at_zero(sizes, values, n);
out:
    fdit_statistics_free(sums);
    fdit_moments_fini(&real);
    fdit_moments_fini(&some);
    return status;
}
