/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/taps.h"

#include "core/mem.h"

#include <math.h>

void fdit_taps_fini(struct fdit_taps *t)
{
    fdit_free(t->count);
    fdit_free(t->index);
    fdit_free(t->weight);
    *t = (struct fdit_taps){ 0 };
}

/* R. Keys, "Cubic convolution interpolation for digital image processing", 1981. */
static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static enum fdit_status make(fdit_context *ctx, int n, int most, struct fdit_taps *t)
{
    enum fdit_status status = FDIT_OK;
    *t = (struct fdit_taps){ .n = n, .most = most };
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *t->count, &t->count));
    TRY(fdit_alloc(ctx, (size_t)n, (size_t)most * sizeof *t->index, &t->index));
    TRY(fdit_alloc(ctx, (size_t)n, (size_t)most * sizeof *t->weight, &t->weight));
out:
    if (status != FDIT_OK)
        fdit_taps_fini(t);
    return status;
}

enum fdit_status fdit_taps_antialias(fdit_context *ctx, int n_in, int n_out, struct fdit_taps *out)
{
    enum fdit_status status = FDIT_OK;
    double scale = (double)n_in / n_out, wide = scale > 1 ? scale : 1, narrow = 1 / wide, reach = 2 * wide;
    double most = ceil(reach) * 2 + 1;
    TRY(make(ctx, n_out, most < n_in ? (int)most : n_in, out));
    for (int o = 0; o < n_out; o++) {
        double centre = (o + 0.5) * scale, sum = 0;
        int from = (int)(centre - reach + 0.5), to = (int)(centre + reach + 0.5);
        from = from < 0 ? 0 : from;
        to = to > n_in ? n_in : to;
        int *index = out->index + (size_t)o * (size_t)out->most;
        double *weight = out->weight + (size_t)o * (size_t)out->most;
        for (int k = from; k < to; k++) {
            index[k - from] = k;
            weight[k - from] = cubic((k - centre + 0.5) * narrow, -0.5);
            sum += weight[k - from];
        }
        for (int k = 0; k < to - from && sum != 0; k++)
            weight[k] /= sum;
        out->count[o] = to - from;
    }
out:
    return status;
}

enum fdit_status fdit_taps_cubic(fdit_context *ctx, int n_in, int n_out, double step, struct fdit_taps *out)
{
    enum fdit_status status = FDIT_OK;
    enum { TAPS = 4 };
    TRY(make(ctx, n_out, TAPS, out));
    for (int o = 0; o < n_out; o++) {
        double at = (o + 0.5) * step - 0.5, low = floor(at);
        out->count[o] = TAPS;
        for (int k = 0; k < TAPS; k++) {
            double sample = low + k - 1;
            double cut = sample < 0 ? 0 : sample > n_in - 1 ? n_in - 1 : sample;
            out->index[o * TAPS + k] = (int)cut;
            out->weight[o * TAPS + k] = cubic(at - sample, -0.75);
        }
    }
out:
    return status;
}
