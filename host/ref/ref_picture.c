/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/ref_ops.h"

#include "ref/ref_math.h"

#include <math.h>

static float *f32(struct fdit_tensor t)
{
    return t.buffer ? (float *)t.buffer->handle + t.offset : NULL;
}

/* v of device.h: one pixel of the input, 0 outside; NULL there. */
static const float *pixel(const struct fdit_conv_args *a, size_t sample, long i, long j)
{
    long up = a->upsample ? 2 : 1;
    if (i < 0 || i >= up * a->height || j < 0 || j >= up * a->width)
        return NULL;
    size_t at = (sample * (size_t)a->height + (size_t)(i / up)) * (size_t)a->width + (size_t)(j / up);
    return f32(a->x) + at * (size_t)a->n_in;
}

/* The sum over the taps for channel o of a pixel of y, whose window begins at (i0, j0). */
static double conv_sum(const struct fdit_conv_args *a, size_t sample, long i0, long j0, size_t o)
{
    const size_t each = (size_t)(a->n_in / a->groups), taps = (size_t)(a->kernel_y * a->kernel_x);
    const size_t first = o / (size_t)(a->n_out / a->groups) * each;
    const float *w = (const float *)a->weight->handle + o * taps * each;
    double sum = 0;
    for (long ky = 0; ky < a->kernel_y; ky++)
        for (long kx = 0; kx < a->kernel_x; kx++, w += each) {
            const float *x = pixel(a, sample, i0 + ky, j0 + kx);
            for (size_t c = 0; x && c < each; c++)
                sum += (double)w[c] * (double)x[first + c];
        }
    return sum;
}

void fdit_ref_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    (void)dev;
    const float *bias = f32(a->bias), *residual = f32(a->residual);
    const size_t n_out = (size_t)a->n_out, out_w = (size_t)a->out_width, out_h = (size_t)a->out_height;
    float *y = f32(a->y);
    for (size_t p = 0; p < (size_t)a->samples * out_h * out_w; p++) {
        const long i0 = (long)(p / out_w % out_h) * a->stride_y + a->top;
        const long j0 = (long)(p % out_w) * a->stride_x + a->left;
        for (size_t o = 0; o < n_out; o++) {
            double sum = conv_sum(a, p / (out_h * out_w), i0, j0, o);
            sum = fdit_ref_act(a->act, sum + (bias ? (double)bias[o] : 0));
            y[p * n_out + o] = (float)(sum + (residual ? (double)residual[p * n_out + o] : 0));
        }
    }
}

void fdit_ref_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    (void)dev;
    const size_t rows = (size_t)a->pixels, width = (size_t)a->width;
    const size_t per = width / (size_t)a->groups;
    const double count = (double)rows * (double)per;
    for (size_t i = 0; i < (size_t)a->samples * (size_t)a->groups; i++) {
        size_t b = i / (size_t)a->groups, g = i % (size_t)a->groups;
        const float *x = f32(a->x) + b * rows * width + g * per;
        double mean = 0, var = 0;
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < per; c++)
                mean += (double)x[r * width + c];
        mean /= count;
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < per; c++)
                var += ((double)x[r * width + c] - mean) * ((double)x[r * width + c] - mean);
        f32(a->stats)[2 * i] = (float)mean;
        f32(a->stats)[2 * i + 1] = (float)(1 / sqrt(var / count + 1e-6));
    }
}

void fdit_ref_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    (void)dev;
    const size_t width = (size_t)a->width, groups = (size_t)a->groups, per = width / groups;
    const float *weight = f32(a->weight), *bias = f32(a->bias);
    for (size_t r = 0; r < (size_t)a->samples * (size_t)a->pixels; r++) {
        const float *stats = f32(a->stats) + r / (size_t)a->pixels * groups * 2;
        for (size_t c = 0; c < width; c++) {
            double v = (double)f32(a->x)[r * width + c] - (double)stats[c / per * 2];
            v = v * (double)stats[c / per * 2 + 1] * (double)weight[c] + (double)bias[c];
            f32(a->y)[r * width + c] = (float)fdit_ref_act(a->act, v);
        }
    }
}

void fdit_ref_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    (void)dev;
    const size_t n = (size_t)a->n;
    for (size_t r = 0; r < (size_t)a->m; r++) {
        const float *x = f32(a->x) + r * n;
        float *y = f32(a->y) + r * n;
        double most = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) {
            double v = (double)a->scale * (double)x[i]; /* fmax here breaks GCC 12 for AArch64 */
            most = v > most ? v : most;
        }
        for (size_t i = 0; i < n; i++)
            sum += exp((double)a->scale * (double)x[i] - most);
        for (size_t i = 0; i < n; i++)
            y[i] = (float)(exp((double)a->scale * (double)x[i] - most) / sum);
    }
}

void fdit_ref_pooling(fdit_device *dev, const struct fdit_pooling_args *a)
{
    (void)dev;
    const size_t n = (size_t)a->channels, width = (size_t)a->width;
    const size_t out = (size_t)fdit_pooling_size(a, a->height) * (size_t)fdit_pooling_size(a, a->width);
    for (size_t p = 0; p < (size_t)a->samples * out; p++) {
        const struct fdit_pooling_window w = fdit_pooling_window_at(a, p);
        for (size_t c = 0; c < n; c++) {
            double sum = 0, most = -INFINITY;
            for (int k = 0; k < w.rows * w.columns; k++) {
                size_t at = w.first + (size_t)(k / w.columns) * width + (size_t)(k % w.columns);
                double v = (double)f32(a->x)[at * n + c];
                sum += v;
                most = v > most || isnan(v) ? v : most;
            }
            const double count = (double)fdit_pooling_count(a, &w);
            f32(a->y)[p * n + c] = (float)(a->kind == FDIT_POOLING_MAX ? most : sum / count);
        }
    }
}
