/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/resize_float.h"

#include "core/mem.h"
#include "picture/picture_read.h"
#include "picture/taps.h"

#include <math.h>

/* ------------------------------------------------------------------ bilinear */

/* Between samples low and high of output o; `part` of the way to high. */
struct between {
    int low, high;
    float part;
};

static void place(enum fdit_float_filter filter, int n_in, int n_out, struct between *b)
{
    float scale = (float)n_in / (float)n_out;
    for (int o = 0; o < n_out; o++) {
        float at = filter == FDIT_FLOAT_TORCH ? ((float)o + 0.5f) * scale - 0.5f : (float)o * scale;
        at = at < 0 ? 0 : at;
        int low = (int)at;
        b[o].low = low < n_in ? low : n_in - 1;
        b[o].high = low + 1 < n_in ? low + 1 : n_in - 1;
        b[o].part = at - (float)b[o].low;
    }
}

/* Each in the order of operations of its package. */
static inline float mix(enum fdit_float_filter filter, float a, float b, float part)
{
    return filter == FDIT_FLOAT_TORCH ? a * (1 - part) + b * part : a + (b - a) * part;
}

static enum fdit_status bilinear(fdit_context *ctx, const struct fdit_picture *in,
                                 enum fdit_float_filter filter, float divisor, int width, int height,
                                 float *out)
{
    enum fdit_status status = FDIT_OK;
    struct between *x = NULL, *y = NULL;
    size_t channels = (size_t)in->channels, row = (size_t)in->width * channels;
    float value[256];
    for (int v = 0; v < 256; v++)
        value[v] = (float)v / divisor;
    TRY(fdit_alloc(ctx, (size_t)width, sizeof *x, &x));
    TRY(fdit_alloc(ctx, (size_t)height, sizeof *y, &y));
    place(filter, in->width, width, x);
    place(filter, in->height, height, y);
    for (size_t c = 0; c < channels; c++)
        for (int i = 0; i < height; i++) {
            const uint8_t *above = in->pixels + (size_t)y[i].low * row + c;
            const uint8_t *below = in->pixels + (size_t)y[i].high * row + c;
            for (int j = 0; j < width; j++) {
                size_t low = (size_t)x[j].low * channels, high = (size_t)x[j].high * channels;
                float a = mix(filter, value[above[low]], value[above[high]], x[j].part);
                float b = mix(filter, value[below[low]], value[below[high]], x[j].part);
                *out++ = mix(filter, a, b, y[i].part);
            }
        }
out:
    fdit_free(x);
    fdit_free(y);
    return status;
}

/* ------------------------------------------------------------------ Pillow's bicubic of floats */

/* One channel along x: to [height, width]. */
static void along_x(const struct fdit_picture *in, int channel, const struct fdit_taps *t, int width,
                    float *to)
{
    const uint8_t *from = in->pixels + channel;
    size_t step = (size_t)in->channels;
    for (int i = 0; i < in->height; i++, from += (size_t)in->width * step)
        for (int j = 0; j < width; j++) {
            double sum = 0;
            size_t at = (size_t)j * (size_t)t->most;
            for (int k = 0; t->n && k < t->count[j]; k++)
                sum += from[(size_t)t->index[at + (size_t)k] * step] * t->weight[at + (size_t)k];
            *to++ = t->n ? (float)sum : from[(size_t)j * step];
        }
}

static inline float cut(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

static void along_y(const float *from, const struct fdit_taps *t, int width, int height, float divisor,
                    float *to)
{
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            double sum = 0;
            size_t at = (size_t)i * (size_t)t->most;
            for (int k = 0; t->n && k < t->count[i]; k++)
                sum += (double)from[(size_t)t->index[at + (size_t)k] * (size_t)width + (size_t)j] *
                       t->weight[at + (size_t)k];
            float v = t->n ? (float)sum : from[(size_t)i * (size_t)width + (size_t)j];
            *to++ = cut(v) / divisor;
        }
}

static enum fdit_status bicubic(fdit_context *ctx, const struct fdit_picture *in, float divisor, int width,
                                int height, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taps x = { 0 }, y = { 0 }; /* n 0: the axis has the right length */
    float *between = NULL;
    if (in->width != width)
        TRY(fdit_taps_antialias(ctx, in->width, width, &x));
    if (in->height != height)
        TRY(fdit_taps_antialias(ctx, in->height, height, &y));
    TRY(fdit_alloc(ctx, (size_t)in->height, (size_t)width * sizeof *between, &between));
    for (int c = 0; c < in->channels; c++, out += (size_t)width * (size_t)height) {
        along_x(in, c, &x, width, between);
        along_y(between, &y, width, height, divisor, out);
    }
out:
    fdit_free(between);
    fdit_taps_fini(&x);
    fdit_taps_fini(&y);
    return status;
}

enum fdit_status fdit_picture_resize_float(fdit_context *ctx, const struct fdit_picture *in,
                                           enum fdit_float_filter filter, float divisor, int width,
                                           int height, float *out)
{
    if (filter == FDIT_FLOAT_PILLOW)
        return bicubic(ctx, in, divisor, width, height, out);
    return bilinear(ctx, in, filter, divisor, width, height, out);
}

/* Twice the pixels, which are turned or copied in part; a pass along x; the weights of both axes. */
size_t fdit_picture_whole_bytes(const struct fdit_picture_probe *p, int size)
{
    size_t w = p->width, h = p->height, side = (size_t)size, pixels, between, sum;
    if (!fdit_mul(w, h, &pixels) || !fdit_mul(pixels, 6, &pixels) ||
        !fdit_mul(w > h ? w : h, side * sizeof(float), &between) || !fdit_add(pixels, between, &sum) ||
        !fdit_add(sum, fdit_picture_read_bytes(p) + 128 * (w + h + 2 * side) + 3 * side * side, &sum))
        return SIZE_MAX;
    return sum;
}
