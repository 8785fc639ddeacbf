/* SPDX-License-Identifier: Apache-2.0
 * ops_picture.c: conv, group norm, softmax.
 *
 * conv is a product whose rows A(m, .) are patches of the picture: blocks of them are collected, a
 * block of k at a time, where the GEMM would bring its rows together anyway (gather of
 * gemm_kernels.h), so nothing is written to memory but y, and patches cost what the rows of any
 * product cost. */
#include "cpu/gemm.h"
#include "cpu/linear.h"
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include <math.h>
#include <string.h>

/* Rows of which group_stats takes the mean at once; what is summed stays in the second-level cache.
 */
#define MOMENT_ROWS 128
/* Elements of a piece of group_apply. */
#define APPLY_PIECE 65536

static size_t moment_chunks(size_t rows)
{
    return (rows + MOMENT_ROWS - 1) / MOMENT_ROWS;
}

size_t fdit_cpu_picture_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *s)
{
    const size_t samples = s->samples > 0 ? (size_t)s->samples : 1;
    const size_t rows = s->tokens > 0 ? (size_t)s->tokens : 1, width = s->n_out > 0 ? (size_t)s->n_out : 1;
    switch (s->op) {
    case FDIT_OP_CONV:
        if (s->groups > 1)
            return 0;
        return fdit_cpu_gemm_workspace(cpu, (int)(samples * rows), s->n_out, s->taps * s->n_in, FDIT_B_PANELS,
                                       false);
    case FDIT_OP_GROUP_STATS: return samples * moment_chunks(rows) * 2 * width * sizeof(float);
    case FDIT_OP_GROUP_APPLY: return samples * 2 * width * sizeof(float);
    default: return 0;
    }
}

/* ------------------------------------------------------------------ conv */

/* The numbers of a pixel, of the enlarged picture with upsample; NULL: it lies outside, they are 0. */
static const float *pixel(const struct fdit_conv_args *a, const float *x, long row, long column)
{
    const int up = a->upsample ? 1 : 0;
    if (row < 0 || row >= (long)a->height << up || column < 0 || column >= (long)a->width << up)
        return NULL;
    return x + ((size_t)(row >> up) * (size_t)a->width + (size_t)(column >> up)) * (size_t)a->n_in;
}

/* Part k0 .. k0 + kc-1 of the patch whose first pixel is (i, j) of v. */
static void collect(const struct fdit_conv_args *a, const float *x, long i, long j, size_t k0, size_t kc,
                    float *to)
{
    const size_t n = (size_t)a->n_in, across = (size_t)a->kernel_x;
    const bool whole = !a->upsample && j >= 0 && j + a->kernel_x <= a->width;
    while (kc) {
        size_t tap = k0 / n, c = k0 % n, column = tap % across;
        const float *from = pixel(a, x, i + (long)(tap / across), j + (long)column);
        /* The taps of a row lie side by side, unless pixels are repeated or the border is near. */
        size_t run = (whole ? (across - column) * n : n) - c;
        run = run < kc ? run : kc;
        if (from)
            memcpy(to, from + c, run * sizeof *to);
        else
            memset(to, 0, run * sizeof *to);
        to += run;
        k0 += run;
        kc -= run;
    }
}

static void collect_block(const struct fdit_gemm *g, int m0, int mc, int k0, int kc, float *block)
{
    const struct fdit_conv_args *a = g->picture;
    const size_t sample = (size_t)a->height * (size_t)a->width * (size_t)a->n_in;
    const int out_w = a->out_width;
    int column = m0 % out_w, row = m0 / out_w % a->out_height, b = m0 / out_w / a->out_height;
    for (int m = 0; m < mc; m++, block += kc) {
        collect(a, fdit_cpu_f32(a->x) + (size_t)b * sample, (long)row * a->stride_y + a->top,
                (long)column * a->stride_x + a->left, (size_t)k0, (size_t)kc, block);
        if (++column < out_w)
            continue;
        column = 0;
        if (++row < a->out_height)
            continue;
        row = 0;
        b++;
    }
}

static void locate_taps(const struct fdit_gemm *g, int m, const float **at)
{
    const struct fdit_conv_args *a = g->picture;
    const int line = m / a->out_width;
    const float *x = fdit_cpu_f32(a->x) +
                     (size_t)(line / a->out_height) * (size_t)a->height * (size_t)a->width * (size_t)a->n_in;
    const long row = (long)(line % a->out_height) * a->stride_y + a->top,
               column = (long)(m % a->out_width) * a->stride_x + a->left;
    for (int ky = 0; ky < a->kernel_y; ky++)
        for (int kx = 0; kx < a->kernel_x; kx++)
            *at++ = pixel(a, x, row + ky, column + kx);
}

/* The taps first .. end - 1 of an axis, of a window that begins at `from`, that lie inside 0 .. size - 1. */
static void inside(long from, int kernel, long size, int *first, int *end)
{
    *first = from < 0 ? (int)-from : 0;
    *end = size - from < kernel ? (int)(size - from) : kernel;
}

/* Pixels of y: what a convolution in groups costs is reading x, so it is done straight from there. */
static void grouped_pixels(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_conv_args *a = job;
    const size_t n_out = (size_t)a->n_out, out_w = (size_t)a->out_width, out_h = (size_t)a->out_height;
    const size_t sample = (size_t)a->height * (size_t)a->width * (size_t)a->n_in;
    struct fdit_cpu_window w = { .up = a->upsample ? 1 : 0, .weight = fdit_cpu_conv_groups(a->weight) };
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        w.x = fdit_cpu_f32(a->x) + p / out_w / out_h * sample;
        w.row = (long)(p / out_w % out_h) * a->stride_y + a->top;
        w.column = (long)(p % out_w) * a->stride_x + a->left;
        inside(w.row, a->kernel_y, (long)a->height << w.up, &w.first_y, &w.end_y);
        inside(w.column, a->kernel_x, (long)a->width << w.up, &w.first_x, &w.end_x);
        cpu->op->picture->grouped(a, &w, fdit_cpu_f32(a->y) + p * n_out, fdit_cpu_f32(a->bias),
                                  fdit_has(a->residual) ? fdit_cpu_f32(a->residual) + p * n_out : NULL);
    }
}

void fdit_cpu_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const int rows = a->out_height * a->out_width, taps = a->kernel_y * a->kernel_x;
    struct fdit_gemm g = {
        .m = a->samples * rows,
        .n = a->n_out,
        .k = taps * a->n_in,
        .gather = collect_block,
        .taps = locate_taps,
        .n_taps = taps,
        .picture = a,
        .to = {
            .c = fdit_cpu_f32(a->y),
            .ldc = (size_t)a->n_out,
            .bias = fdit_cpu_f32(a->bias),
            .act = fdit_cpu_gemm_act(a->act),
            .residual = fdit_cpu_f32(a->residual),
            .rows = rows,
        },
    };
    const struct fdit_op_shape shape = { .op = FDIT_OP_CONV,
                                         .samples = a->samples,
                                         .tokens = rows,
                                         .taps = taps,
                                         .n_in = a->n_in,
                                         .n_out = a->n_out };
    if (a->groups > 1) {
        const size_t pixels = (size_t)a->samples * (size_t)rows;
        fdit_cpu_range(cpu, pixels, pixels * (size_t)a->n_out * (size_t)taps, grouped_pixels, a);
        return;
    }
    fdit_cpu_conv_panels(a->weight, &g);
    if (fdit_cpu_scratch(dev, FDIT_OP_CONV, fdit_cpu_picture_workspace(cpu, &shape)))
        fdit_cpu_gemm(cpu, &g);
}

/* ------------------------------------------------------------------ group norm */

/* Mean and rstd of group g from the moments [chunks][2][width] of its channels: Chan, Golub and
 * LeVeque 1979, in double, chunk after chunk. */
static void combine(const float *partial, size_t rows, size_t width, size_t per, size_t g, float *stats)
{
    double count = 0, mean = 0, m2 = 0;
    for (size_t at = 0; at < rows; at += MOMENT_ROWS, partial += 2 * width) {
        const double n = (double)(rows - at < MOMENT_ROWS ? rows - at : MOMENT_ROWS);
        for (size_t c = g * per; c < (g + 1) * per; c++) {
            double delta = (double)partial[c] - mean;
            mean += delta * n / (count + n);
            m2 += (double)partial[width + c] + delta * delta * count * n / (count + n);
            count += n;
        }
    }
    stats[0] = (float)mean;
    stats[1] = (float)(1 / sqrt(m2 / count + 1e-6));
}

struct group_stats {
    const struct fdit_group_stats_args *a;
    float *partial; /* [B, chunks, (mean, squares), D] */
};

static void group_stats_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                             int thread)
{
    const struct group_stats *g = job;
    const size_t rows = (size_t)g->a->pixels, width = (size_t)g->a->width, chunks = moment_chunks(rows);
    const float *x = fdit_cpu_f32(g->a->x);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t row = p % chunks * MOMENT_ROWS;
        float *to = g->partial + p * 2 * width;
        cpu->op->picture->moments(to, to + width, x + (p / chunks * rows + row) * width,
                                  (int)(rows - row < MOMENT_ROWS ? rows - row : MOMENT_ROWS), g->a->width);
    }
}

static void group_stats_groups(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                               int thread)
{
    const struct group_stats *g = job;
    const size_t rows = (size_t)g->a->pixels, width = (size_t)g->a->width, groups = (size_t)g->a->groups;
    float *stats = fdit_cpu_f32(g->a->stats);
    (void)cpu;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        combine(g->partial + i / groups * moment_chunks(rows) * 2 * width, rows, width, width / groups,
                i % groups, stats + 2 * i);
}

void fdit_cpu_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t rows = (size_t)a->pixels, width = (size_t)a->width, samples = (size_t)a->samples;
    const size_t pieces = samples * moment_chunks(rows);
    const struct group_stats g = {
        .a = a,
        .partial = fdit_cpu_scratch(dev, FDIT_OP_GROUP_STATS, pieces * 2 * width * sizeof(float)),
    };
    if (!g.partial)
        return;
    fdit_cpu_range(cpu, pieces, samples * rows * width, group_stats_rows, &g);
    fdit_cpu_range(cpu, samples * (size_t)a->groups, pieces * 2 * width, group_stats_groups, &g);
}

struct group_apply {
    const struct fdit_group_apply_args *a;
    float *channel;       /* [B, (mean, scale), D] */
    size_t chunk, chunks; /* rows of a piece, pieces of a sample */
};

static void group_apply_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                             int thread)
{
    const struct group_apply *g = job;
    const struct fdit_group_apply_args *a = g->a;
    const size_t rows = (size_t)a->pixels, width = (size_t)a->width, chunk = g->chunk;
    const float *x = fdit_cpu_f32(a->x), *bias = fdit_cpu_f32(a->bias);
    float *y = fdit_cpu_f32(a->y);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t b = p / g->chunks, row = p % g->chunks * chunk, at = (b * rows + row) * width;
        const float *mean = g->channel + 2 * b * width;
        cpu->op->picture->normalise(y + at, x + at, mean, mean + width, bias,
                                    (int)(rows - row < chunk ? rows - row : chunk), a->width, a->act);
    }
}

void fdit_cpu_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    const size_t rows = (size_t)a->pixels, width = (size_t)a->width, samples = (size_t)a->samples;
    const size_t groups = (size_t)a->groups, per = width / groups;
    const size_t chunk = APPLY_PIECE / width ? APPLY_PIECE / width : 1;
    const float *stats = fdit_cpu_f32(a->stats), *weight = fdit_cpu_f32(a->weight);
    const struct group_apply g = {
        .a = a,
        .channel = fdit_cpu_scratch(dev, FDIT_OP_GROUP_APPLY, samples * 2 * width * sizeof(float)),
        .chunk = chunk,
        .chunks = (rows + chunk - 1) / chunk,
    };
    if (!g.channel)
        return;
    for (size_t b = 0; b < samples; b++)
        for (size_t c = 0; c < width; c++) {
            const float *s = stats + (b * groups + c / per) * 2;
            g.channel[2 * b * width + c] = s[0];
            g.channel[(2 * b + 1) * width + c] = s[1] * weight[c];
        }
    fdit_cpu_range(fdit_cpu_of(dev), samples * g.chunks, samples * rows * width, group_apply_rows, &g);
}

static void softmax_rows(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_softmax_args *a = job;
    const size_t n = (size_t)a->n;
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
    (void)thread;
    for (size_t i = begin; i < end; i++)
        cpu->op->picture->softmax(y + i * n, x + i * n, a->n, a->scale);
}

void fdit_cpu_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    fdit_cpu_range(fdit_cpu_of(dev), (size_t)a->m, (size_t)a->m * (size_t)a->n, softmax_rows, a);
}

static void pool_pixels(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_pooling_args *a = job;
    const size_t n = (size_t)a->channels;
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const struct fdit_pooling_window w = fdit_pooling_window_at(a, p);
        cpu->op->picture->pool(fdit_cpu_f32(a->y) + p * n, fdit_cpu_f32(a->x) + w.first * n,
                               (size_t)a->width * n, w.rows, w.columns, a->channels,
                               a->kind == FDIT_POOLING_MAX ? 0 : fdit_pooling_count(a, &w));
    }
}

void fdit_cpu_pooling(fdit_device *dev, const struct fdit_pooling_args *a)
{
    const size_t out_h = (size_t)fdit_pooling_size(a, a->height),
                 out_w = (size_t)fdit_pooling_size(a, a->width);
    const size_t pixels = (size_t)a->samples * out_h * out_w, window = (size_t)a->kernel * (size_t)a->kernel;
    fdit_cpu_range(fdit_cpu_of(dev), pixels, pixels * (size_t)a->channels * window, pool_pixels, a);
}
