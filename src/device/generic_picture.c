/* SPDX-License-Identifier: Apache-2.0
 * generic_picture.c: conv, group norm and softmax for devices without them; see generic.h. */
#include "device/generic.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

static void get(fdit_device *dev, struct fdit_tensor t, size_t from, float *host, size_t n)
{
    dev->ops->read(dev, t.buffer, (t.offset + from) * sizeof(float), host, n * sizeof(float));
}

static void put(fdit_device *dev, struct fdit_tensor t, size_t from, const float *host, size_t n)
{
    dev->ops->write(dev, t.buffer, (t.offset + from) * sizeof(float), host, n * sizeof(float));
}

/* ------------------------------------------------------------------ conv */

size_t fdit_generic_conv_patches(size_t pixels, size_t k)
{
    size_t fit = FDIT_GENERIC_STAGING / sizeof(float) / k;
    return fdit_least(pixels, fit ? fit : 1);
}

/* A convolution in groups is not a product, and a matrix with zeros would carry a NaN of one group into
 * another: where the device leaves conv out, its weight stays on the host. */
bool fdit_generic_keeps(const fdit_device *dev, const struct fdit_weight_desc *desc)
{
    return !dev->ops->conv && desc->conv && desc->groups > 1;
}

enum fdit_status fdit_generic_weight_new(fdit_context *ctx, const struct fdit_weight_desc *desc,
                                         const float *data, void **handle)
{
    enum fdit_status status = FDIT_OK;
    const size_t bytes = (size_t)desc->n_out * (size_t)desc->n_in * sizeof *data;
    TRY(fdit_alloc(ctx, bytes, 1, handle));
    memcpy(*handle, data, bytes);
out:
    return status;
}

struct fdit_op_shape fdit_generic_shape(const fdit_device *dev, const struct fdit_op_shape *shape)
{
    struct fdit_op_shape s = *shape;
    if (s.op != FDIT_OP_CONV || dev->ops->conv || s.samples < 1 || s.tokens < 1 || s.n_in < 1 || s.taps < 1 ||
        s.groups > 1)
        return s;
    size_t patches =
        fdit_generic_conv_patches((size_t)s.samples * (size_t)s.tokens, (size_t)s.taps * (size_t)s.n_in);
    s.op = FDIT_OP_LINEAR;
    s.samples = 1;
    s.tokens = (int)patches;
    s.n_in *= s.taps;
    return s;
}

/* The numbers of all channels that output pixel p (over all samples) sees. */
static void patch(fdit_device *dev, const struct fdit_conv_args *a, size_t p, float *to)
{
    size_t out_w = (size_t)a->out_width, n = (size_t)a->n_in;
    size_t row = p / out_w, sample = row / (size_t)a->out_height;
    long up = a->upsample ? 2 : 1, height = up * a->height, width = up * a->width;
    long i0 = (long)(row % (size_t)a->out_height) * a->stride_y + a->top;
    long j0 = (long)(p % out_w) * a->stride_x + a->left;
    for (long ky = 0; ky < a->kernel_y; ky++)
        for (long kx = 0; kx < a->kernel_x; kx++, to += n) {
            long i = i0 + ky, j = j0 + kx;
            if (i < 0 || i >= height || j < 0 || j >= width) {
                memset(to, 0, n * sizeof *to);
                continue;
            }
            size_t at = (sample * (size_t)a->height + (size_t)(i / up)) * (size_t)a->width + (size_t)(j / up);
            get(dev, a->x, at * n, to, n);
        }
}

/* Rows from .. from + n-1 of y (of all pixels) from their patches; `act` by an op of its own where the device
 * does not fuse it, through the floats behind the patches. y holds what is added already. */
static void multiply_patches(fdit_device *dev, const struct fdit_conv_args *a, struct fdit_tensor patches,
                             struct fdit_tensor behind, size_t from, size_t n)
{
    const bool add = fdit_has(a->residual), fused = a->act == FDIT_ACT_NONE || dev->ops->fuses_act;
    const size_t n_out = (size_t)a->n_out;
    const struct fdit_tensor y = fdit_at(a->y, from * n_out), to = fused ? y : behind;
    dev->ops->linear(dev, &(struct fdit_linear_args){ .samples = 1,
                                                      .tokens = (int)n,
                                                      .band = true,
                                                      .n_in = a->kernel_y * a->kernel_x * a->n_in,
                                                      .n_out = a->n_out,
                                                      .y = to,
                                                      .x = patches,
                                                      .weight = a->weight,
                                                      .bias = a->bias,
                                                      .act = fused ? a->act : FDIT_ACT_NONE,
                                                      .beta = fused && add });
    if (fused)
        return;
    dev->ops->activation(
        dev, &(struct fdit_activation_args){ .n = n * n_out, .act = a->act, .y = add ? to : y, .x = to });
    if (add)
        dev->ops->axpy(dev,
                       &(struct fdit_axpy_args){ .n = n * n_out, .alpha = 1, .y = y, .x = to, .beta = 1 });
}

static double activate(enum fdit_act act, double v);

/* Pixel p of y on the host, from its patch; `y` has what is added and becomes the result. */
static void grouped_pixel(const struct fdit_conv_args *a, const float *patch_of, const float *bias, float *y)
{
    const size_t n_in = (size_t)a->n_in, each = n_in / (size_t)a->groups;
    const size_t taps = (size_t)a->kernel_y * (size_t)a->kernel_x, per = (size_t)(a->n_out / a->groups);
    const float *w = a->weight->handle;
    for (size_t o = 0; o < (size_t)a->n_out; o++) {
        double sum = 0;
        for (size_t tap = 0; tap < taps; tap++)
            for (size_t c = 0; c < each; c++)
                sum += (double)*w++ * (double)patch_of[tap * n_in + o / per * each + c];
        y[o] = (float)(activate(a->act, sum + (double)bias[o]) + (double)y[o]);
    }
}

static void generic_groups(fdit_device *dev, const struct fdit_conv_args *a)
{
    const size_t pixels = (size_t)a->samples * (size_t)a->out_height * (size_t)a->out_width;
    const size_t k = (size_t)a->kernel_y * (size_t)a->kernel_x * (size_t)a->n_in, n_out = (size_t)a->n_out;
    float *host = dev->staging, *bias = host + k, *y = bias + n_out;
    if ((k + 2 * n_out) * sizeof *host > dev->staging_bytes) {
        fdit_device_fail(
            dev, FDIT_ERROR_UNSUPPORTED,
            "windows of %zu numbers to %zu channels, at most %zu together are possible on the host", k, n_out,
            dev->staging_bytes / sizeof *host);
        return;
    }
    memset(bias, 0, n_out * sizeof *bias);
    if (fdit_has(a->bias))
        get(dev, a->bias, 0, bias, n_out);
    for (size_t p = 0; p < pixels && dev->status == FDIT_OK; p++) {
        patch(dev, a, p, host);
        memset(y, 0, n_out * sizeof *y);
        if (fdit_has(a->residual))
            get(dev, a->residual, p * n_out, y, n_out);
        grouped_pixel(a, host, bias, y);
        put(dev, a->y, p * n_out, y, n_out);
    }
}

void fdit_generic_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    if (a->groups > 1) {
        generic_groups(dev, a);
        return;
    }
    size_t pixels = (size_t)a->samples * (size_t)a->out_height * (size_t)a->out_width;
    size_t k = (size_t)a->kernel_y * (size_t)a->kernel_x * (size_t)a->n_in, n_out = (size_t)a->n_out;
    size_t block = fdit_generic_conv_patches(pixels, k);
    size_t need = block * (k + (dev->ops->fuses_act ? 0 : n_out)) * sizeof(float);
    float *host = dev->staging;
    if (k * sizeof(float) > dev->staging_bytes || !dev->scratch || dev->scratch->bytes < need) {
        fdit_device_fail(dev, FDIT_ERROR_DEVICE,
                         "%zu patches of %zu numbers need a scratch; this shape was not in "
                         "fdit_device_workspace",
                         block, k);
        return;
    }
    struct fdit_tensor patches = fdit_tensor_of(dev->scratch, FDIT_F32);
    if (fdit_has(a->residual) && (a->residual.buffer != a->y.buffer || a->residual.offset != a->y.offset))
        dev->ops->copy(dev, a->y, a->residual, pixels * n_out);
    for (size_t from = 0; from < pixels && dev->status == FDIT_OK; from += block) {
        size_t n = fdit_least(block, pixels - from);
        for (size_t p = 0; p < n; p++)
            patch(dev, a, from + p, host + p * k);
        put(dev, patches, 0, host, n * k);
        multiply_patches(dev, a, patches, fdit_at(patches, block * k), from, n);
    }
}

/* ------------------------------------------------------------------ group norm */

/* Sum over a group of (x - mean)^power. */
static double group_sum(fdit_device *dev, const struct fdit_group_stats_args *a, size_t b, size_t g,
                        double mean, bool square)
{
    size_t per = (size_t)a->width / (size_t)a->groups, width = (size_t)a->width;
    size_t most = dev->staging_bytes / sizeof(float);
    float *x = dev->staging;
    double sum = 0;
    for (size_t r = 0; r < (size_t)a->pixels; r++)
        for (size_t c = 0; c < per; c += most) {
            size_t n = fdit_least(most, per - c);
            get(dev, a->x, (b * (size_t)a->pixels + r) * width + g * per + c, x, n);
            for (size_t i = 0; i < n; i++)
                sum += square ? (x[i] - mean) * (x[i] - mean) : (double)x[i];
        }
    return sum;
}

void fdit_generic_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    double count = (double)a->pixels * (a->width / a->groups);
    for (size_t b = 0; b < (size_t)a->samples; b++)
        for (size_t g = 0; g < (size_t)a->groups && dev->status == FDIT_OK; g++) {
            double mean = group_sum(dev, a, b, g, 0, false) / count;
            double var = group_sum(dev, a, b, g, mean, true) / count;
            float stats[2] = { (float)mean, (float)(1 / sqrt(var + 1e-6)) };
            put(dev, a->stats, (b * (size_t)a->groups + g) * 2, stats, 2);
        }
}

static double activate(enum fdit_act act, double v)
{
    if (act == FDIT_ACT_SILU)
        return v / (1 + exp(-v));
    if (act == FDIT_ACT_RELU)
        return v < 0 ? 0 : v;
    if (act == FDIT_ACT_GELU_ERF)
        return v * 0.5 * erfc(-0.70710678118654752440 * v);
    if (act == FDIT_ACT_GELU_TANH)
        return v / (1 + exp(-2 * 0.79788456080286535588 * (v + 0.044715 * v * v * v)));
    return v;
}

void fdit_generic_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    size_t per = (size_t)a->width / (size_t)a->groups, width = (size_t)a->width;
    size_t most = dev->staging_bytes / sizeof(float) / 3;
    float *x = dev->staging, *w = x + most, *bias = w + most, stats[2];
    for (size_t b = 0; b < (size_t)a->samples; b++)
        for (size_t g = 0; g < (size_t)a->groups; g++) {
            get(dev, a->stats, (b * (size_t)a->groups + g) * 2, stats, 2);
            for (size_t c = g * per; c < (g + 1) * per && dev->status == FDIT_OK; c += most) {
                size_t n = fdit_least(most, (g + 1) * per - c);
                get(dev, a->weight, c, w, n);
                get(dev, a->bias, c, bias, n);
                for (size_t r = b * (size_t)a->pixels; r < (b + 1) * (size_t)a->pixels; r++) {
                    get(dev, a->x, r * width + c, x, n);
                    for (size_t i = 0; i < n; i++)
                        x[i] = (float)activate(a->act, ((double)x[i] - stats[0]) * stats[1] * w[i] + bias[i]);
                    put(dev, a->y, r * width + c, x, n);
                }
            }
        }
}

/* ------------------------------------------------------------------ softmax */

void fdit_generic_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    size_t n = (size_t)a->n;
    float *x = dev->staging;
    if (n > dev->staging_bytes / sizeof(float)) {
        fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED, "rows of %zu, at most %zu are possible on the host", n,
                         dev->staging_bytes / sizeof(float));
        return;
    }
    for (size_t r = 0; r < (size_t)a->m && dev->status == FDIT_OK; r++) {
        double most = -INFINITY, sum = 0;
        get(dev, a->x, r * n, x, n);
        for (size_t i = 0; i < n; i++) {
            double v = (double)a->scale * x[i]; /* fmax here breaks GCC 12 for AArch64 */
            most = v > most ? v : most;
        }
        for (size_t i = 0; i < n; i++)
            sum += exp((double)a->scale * x[i] - most);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(exp((double)a->scale * x[i] - most) / sum);
        put(dev, a->y, r * n, x, n);
    }
}

/* -------------------------------------------------------------------------------------------- pooling */

struct fdit_pooling_window fdit_pooling_window_at(const struct fdit_pooling_args *a, size_t p)
{
    size_t out_w = (size_t)fdit_pooling_size(a, a->width), out_h = (size_t)fdit_pooling_size(a, a->height);
    long row = (long)(p / out_w % out_h) * a->stride - a->pad,
         column = (long)(p % out_w) * a->stride - a->pad;
    long top = row < 0 ? 0 : row, left = column < 0 ? 0 : column;
    long bottom = row + a->kernel < a->height ? row + a->kernel : a->height;
    long right = column + a->kernel < a->width ? column + a->kernel : a->width;
    size_t sample = p / out_w / out_h;
    return (struct fdit_pooling_window){
        .first = (sample * (size_t)a->height + (size_t)top) * (size_t)a->width + (size_t)left,
        .rows = (int)(bottom - top),
        .columns = (int)(right - left),
    };
}

void fdit_generic_pooling(fdit_device *dev, const struct fdit_pooling_args *a)
{
    size_t pixels =
        (size_t)a->samples * (size_t)fdit_pooling_size(a, a->height) * (size_t)fdit_pooling_size(a, a->width);
    size_t width = (size_t)a->channels, most = dev->staging_bytes / (sizeof(float) + sizeof(double));
    double *all = dev->staging;
    float *x = (float *)(void *)(all + most);
    for (size_t p = 0; p < pixels; p++) {
        struct fdit_pooling_window w = fdit_pooling_window_at(a, p);
        for (size_t c = 0; c < width && dev->status == FDIT_OK; c += most) {
            size_t n = fdit_least(most, width - c);
            for (int k = 0; k < w.rows * w.columns; k++) {
                size_t at = w.first + (size_t)(k / w.columns) * (size_t)a->width + (size_t)(k % w.columns);
                get(dev, a->x, at * width + c, x, n);
                for (size_t i = 0; i < n; i++)
                    if (a->kind != FDIT_POOLING_MAX)
                        all[i] = k ? all[i] + (double)x[i] : (double)x[i];
                    else if (!k || (double)x[i] > all[i] || isnan(x[i]))
                        all[i] = (double)x[i];
            }
            const double count = (double)fdit_pooling_count(a, &w);
            for (size_t i = 0; i < n; i++)
                x[i] = (float)(a->kind == FDIT_POOLING_MAX ? all[i] : all[i] / count);
            put(dev, a->y, p * width + c, x, n);
        }
    }
}
