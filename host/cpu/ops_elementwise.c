/* SPDX-License-Identifier: Apache-2.0
 * ops_elementwise.c: ops that treat each element alone, and the two sums of the optimiser. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include <math.h>
#include <string.h>

/* Elements of a piece. */
#define PIECE 8192
/* sum_squares cuts its input into at most so many pieces. */
#define SQUARE_PIECES 256

static size_t pieces_of(size_t n) { return (n + PIECE - 1) / PIECE; }
static size_t piece_length(size_t n, size_t begin) { return n - begin < PIECE ? n - begin : PIECE; }

void fdit_cpu_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (a->n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < a->n; i += PIECE)
        cpu->op->activation(y + i, x + i, piece_length(a->n, i), a->act);
}

void fdit_cpu_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    float *dx = fdit_cpu_f32(a->dx);
    const float *dy = fdit_cpu_f32(a->dy), *x = fdit_cpu_f32(a->x);
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (a->n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < a->n; i += PIECE)
        cpu->op->activation_backward(dx + i, dy + i, x + i, piece_length(a->n, i), a->act);
}

void fdit_cpu_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (a->n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < a->n; i += PIECE)
        cpu->op->axpy(y + i, x + i, piece_length(a->n, i), a->alpha, a->beta);
}

void fdit_cpu_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t pieces = pieces_of(a->n), samples = (size_t)a->samples;
    float *xt = fdit_cpu_f32(a->xt);
    const float *x0 = fdit_cpu_f32(a->x0), *noise = fdit_cpu_f32(a->noise);
    const float *coef = fdit_cpu_f32(a->coef);
#pragma omp parallel for num_threads(cpu->threads) schedule(static)                                \
    if (samples * a->n > FDIT_CPU_SERIAL)
    for (size_t p = 0; p < samples * pieces; p++) {
        const size_t b = p / pieces, begin = p % pieces * PIECE, at = b * a->n + begin;
        cpu->op->blend(xt + at, x0 + at, noise + at, piece_length(a->n, begin), coef[2 * b],
                       coef[2 * b + 1]);
    }
}

void fdit_cpu_sampler(fdit_device *dev, const struct fdit_sampler_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const size_t pieces = pieces_of(a->n), channels = (size_t)a->channels;
    const size_t all = (size_t)a->samples * channels * pieces;
    float *x_next = fdit_cpu_f32(a->x_next), *old = fdit_cpu_f32(a->old);
    const float *x = fdit_cpu_f32(a->x), *z = fdit_cpu_f32(a->z);
    const float *cond = fdit_cpu_f32(a->cond), *uncond = fdit_cpu_f32(a->uncond);
#pragma omp parallel for num_threads(cpu->threads) schedule(static)                                \
    if ((size_t)a->samples * channels * a->n > FDIT_CPU_SERIAL)
    for (size_t p = 0; p < all; p++) {
        const size_t plane = p / pieces, begin = p % pieces * PIECE;
        const size_t b = plane / channels, c = plane % channels;
        const size_t at = plane * a->n + begin;               /* in [B, C, n] */
        const size_t out = (b * 2 * channels + c) * a->n + begin; /* in [B, 2C, n] */
        const bool guided = uncond && c < (size_t)a->guided_channels;
        const struct fdit_cpu_sampler_piece piece = {
            .n = piece_length(a->n, begin),
            .x_next = x_next + at,
            .old = old ? old + at : NULL,
            .x = x + at,
            .eps = cond + out,
            .eps_uncond = guided ? uncond + out : NULL,
            .var = cond + out + channels * a->n,
            .z = z ? z + at : NULL,
        };
        cpu->op->sampler(a, &piece);
    }
}

void fdit_cpu_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    float *p = fdit_cpu_f32(a->p), *m = fdit_cpu_f32(a->m), *v = fdit_cpu_f32(a->v);
    float *ema = fdit_cpu_f32(a->ema);
    const float *g = fdit_cpu_f32(a->g);
    const float scale = fdit_has(a->scale) ? *fdit_cpu_f32(a->scale) : 1.0f;
    if (!isfinite(scale))
        return;
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (a->n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < a->n; i += PIECE)
        cpu->op->adamw(a, scale, p + i, g + i, m + i, v + i, ema ? ema + i : NULL,
                       piece_length(a->n, i));
}

void fdit_cpu_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const float *x = fdit_cpu_f32(a->x);
    /* Whole multiples of PIECE; at most SQUARE_PIECES of them. */
    const size_t length = (pieces_of(a->n) + SQUARE_PIECES - 1) / SQUARE_PIECES * PIECE;
    double partial[SQUARE_PIECES] = { 0 }, sum = 0;
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (a->n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < a->n; i += length)
        partial[i / length] = cpu->op->sum_squares(x + i, a->n - i < length ? a->n - i : length);
    for (size_t i = 0; i < SQUARE_PIECES; i++)
        sum += partial[i];
    *fdit_cpu_f32(a->out) = (float)sum;
}

void fdit_cpu_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    (void)dev;
    const float *partial = fdit_cpu_f32(a->partial);
    double sum = 0;
    for (int i = 0; i < a->n; i++)
        sum += (double)partial[i];
    const float norm = (float)sqrt(sum);
    float scale = 1.0f;
    if (!isfinite(norm))
        scale = NAN;
    else if (a->max_norm > 0.0f && a->max_norm < norm + 1e-6f)
        scale = a->max_norm / (norm + 1e-6f);
    if (fdit_has(a->norm))
        *fdit_cpu_f32(a->norm) = norm;
    *fdit_cpu_f32(a->scale) = scale;
}

void fdit_cpu_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    (void)cpu; /* without OpenMP its threads are not asked for */
    if (t.type == FDIT_I32) {
        int32_t *to = fdit_cpu_i32(t);
        for (size_t i = 0; i < n; i++)
            to[i] = (int32_t)value;
        return;
    }
    float *to = fdit_cpu_f32(t);
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (n > FDIT_CPU_SERIAL)
    for (size_t begin = 0; begin < n; begin += PIECE) {
        const size_t end = begin + piece_length(n, begin);
        for (size_t i = begin; i < end; i++)
            to[i] = value;
    }
}

static void convert(const struct fdit_cpu *cpu, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    uint16_t *halves = to.type == FDIT_BF16 ? (uint16_t *)to.buffer->handle + to.offset
                                            : (uint16_t *)from.buffer->handle + from.offset;
    float *floats = to.type == FDIT_BF16 ? fdit_cpu_f32(from) : fdit_cpu_f32(to);
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < n; i += PIECE)
        if (to.type == FDIT_BF16)
            cpu->op->to_bf16(halves + i, floats + i, piece_length(n, i));
        else
            cpu->op->from_bf16(floats + i, halves + i, piece_length(n, i));
}

void fdit_cpu_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    (void)cpu; /* without OpenMP its threads are not asked for */
    if (to.type != from.type) {
        convert(cpu, to, from, n);
        return;
    }
    const size_t bytes = fdit_dtype_bytes(to.type), piece = PIECE * bytes, all = n * bytes;
    char *t = (char *)to.buffer->handle + to.offset * bytes;
    const char *f = (const char *)from.buffer->handle + from.offset * bytes;
#pragma omp parallel for num_threads(cpu->threads) schedule(static) if (n > FDIT_CPU_SERIAL)
    for (size_t i = 0; i < all; i += piece)
        memcpy(t + i, f + i, all - i < piece ? all - i : piece);
}
