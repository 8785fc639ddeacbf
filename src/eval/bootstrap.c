/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/bootstrap.h"

#include "core/mem.h"
#include "core/rng.h"

#include <math.h>
#include <stdlib.h>

enum fdit_status fdit_bootstrap_weights(fdit_context *ctx, uint64_t seed, uint32_t side, size_t n,
                                        size_t draws, float **weights)
{
    enum fdit_status status = FDIT_OK;
    size_t columns = draws + 1;
    *weights = NULL;
    if (n > UINT32_MAX || draws >= UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%zu pictures are too many for error bars", n);
    TRY(fdit_alloc(ctx, n, columns * sizeof(float), weights));
    for (size_t i = 0; i < n; i++)
        (*weights)[i * columns] = 1;
    for (size_t b = 1; b < columns; b++) {
        const struct fdit_rng rng = { seed, (uint32_t)b, side, FDIT_RNG_EVAL };
        for (size_t j = 0; j < n; j++)
            (*weights)[fdit_rng_below(&rng, j, (uint32_t)n) * columns + b] += 1;
    }
out:
    return status;
}

static int by_value(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double point(const double *sorted, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

struct fdit_error_bar fdit_bootstrap_bar(double *values, size_t draws)
{
    struct fdit_error_bar bar = { NAN, NAN, NAN };
    double mean = 0, square = 0;
    size_t known = 0;
    for (size_t b = 0; b < draws; b++) /* one picture again and again has no pairs */
        if (!isnan(values[b]))
            values[known++] = values[b];
    draws = known;
    if (draws < 2)
        return bar;
    for (size_t b = 0; b < draws; b++)
        mean += values[b];
    mean /= (double)draws;
    for (size_t b = 0; b < draws; b++)
        square += (values[b] - mean) * (values[b] - mean);
    bar.error = sqrt(square / (double)(draws - 1));
    qsort(values, draws, sizeof *values, by_value);
    bar.low = point(values, draws, 0.025);
    bar.high = point(values, draws, 0.975);
    return bar;
}

void fdit_bootstrap_means(const double *value, const float *weights, size_t n, size_t draws, double *out)
{
    for (size_t b = 0; b <= draws; b++)
        out[b] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b <= draws; b++)
            out[b] += (double)weights[i * (draws + 1) + b] * value[i];
    for (size_t b = 0; b <= draws; b++)
        out[b] /= (double)n;
}
