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

static size_t pieces_of(size_t n)
{
    return (n + PIECE - 1) / PIECE;
}
static size_t piece_length(size_t n, size_t begin)
{
    return n - begin < PIECE ? n - begin : PIECE;
}

static void activation_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                              int thread)
{
    const struct fdit_activation_args *a = job;
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        cpu->op->activation(y + i, x + i, piece_length(a->n, i), a->act);
}

void fdit_cpu_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(a->n), a->n, activation_pieces, a);
}

static void activation_backward_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                                       int thread)
{
    const struct fdit_activation_backward_args *a = job;
    float *dx = fdit_cpu_f32(a->dx);
    const float *dy = fdit_cpu_f32(a->dy), *x = fdit_cpu_f32(a->x);
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        cpu->op->activation_backward(dx + i, dy + i, x + i, piece_length(a->n, i), a->act);
}

void fdit_cpu_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(a->n), a->n, activation_backward_pieces, a);
}

static void axpy_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_axpy_args *a = job;
    float *y = fdit_cpu_f32(a->y);
    const float *x = fdit_cpu_f32(a->x);
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        cpu->op->axpy(y + i, x + i, piece_length(a->n, i), a->alpha, a->beta);
}

void fdit_cpu_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(a->n), a->n, axpy_pieces, a);
}

static void diffuse_pieces(const struct fdit_cpu *cpu, const void *job, size_t first, size_t end, int thread)
{
    const struct fdit_diffuse_args *a = job;
    const size_t pieces = pieces_of(a->n);
    float *xt = fdit_cpu_f32(a->xt);
    const float *x0 = fdit_cpu_f32(a->x0), *noise = fdit_cpu_f32(a->noise);
    const float *coef = fdit_cpu_f32(a->coef);
    (void)thread;
    for (size_t p = first; p < end; p++) {
        const size_t b = p / pieces, begin = p % pieces * PIECE, at = b * a->n + begin;
        cpu->op->blend(xt + at, x0 + at, noise + at, piece_length(a->n, begin), coef[2 * b], coef[2 * b + 1]);
    }
}

void fdit_cpu_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    const size_t samples = (size_t)a->samples;
    fdit_cpu_range(fdit_cpu_of(dev), samples * pieces_of(a->n), samples * a->n, diffuse_pieces, a);
}

static void sampler_pieces(const struct fdit_cpu *cpu, const void *job, size_t first, size_t end, int thread)
{
    const struct fdit_sampler_step_args *a = job;
    const size_t pieces = pieces_of(a->n), channels = (size_t)a->channels;
    const size_t outputs = a->single ? 1 : 2;
    float *x_next = fdit_cpu_f32(a->x_next), *old = fdit_cpu_f32(a->old);
    const float *x = fdit_cpu_f32(a->x), *z = fdit_cpu_f32(a->z);
    const float *cond = fdit_cpu_f32(a->cond), *uncond = fdit_cpu_f32(a->uncond);
    (void)thread;
    for (size_t p = first; p < end; p++) {
        const size_t plane = p / pieces, begin = p % pieces * PIECE;
        const size_t b = plane / channels, c = plane % channels;
        const size_t at = plane * a->n + begin;                         /* in [B, C, n] */
        const size_t out = (b * outputs * channels + c) * a->n + begin; /* in [B, O C, n] */
        const bool guided = uncond && c < (size_t)a->guided_channels;
        const struct fdit_cpu_sampler_piece piece = {
            .n = piece_length(a->n, begin),
            .x_next = x_next + at,
            .old = old ? old + at : NULL,
            .x = x + at,
            .eps = cond + out,
            .eps_uncond = guided ? uncond + out : NULL,
            .var = a->single ? NULL : cond + out + channels * a->n,
            .z = z ? z + at : NULL,
        };
        cpu->op->sampler(a, &piece);
    }
}

void fdit_cpu_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    const size_t planes = (size_t)a->samples * (size_t)a->channels;
    fdit_cpu_range(fdit_cpu_of(dev), planes * pieces_of(a->n), planes * a->n, sampler_pieces, a);
}

static void adamw_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_adamw_args *a = job;
    float *p = fdit_cpu_f32(a->p), *m = fdit_cpu_f32(a->m), *v = fdit_cpu_f32(a->v);
    float *ema = fdit_cpu_f32(a->ema);
    const float *g = fdit_cpu_f32(a->g);
    const float scale = fdit_has(a->scale) ? *fdit_cpu_f32(a->scale) : 1.0f;
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        cpu->op->adamw(a, scale, p + i, g + i, m + i, v + i, ema ? ema + i : NULL, piece_length(a->n, i));
}

void fdit_cpu_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    if (fdit_has(a->scale) && !isfinite(*fdit_cpu_f32(a->scale)))
        return;
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(a->n), a->n, adamw_pieces, a);
}

static void lion_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_lion_args *a = job;
    float *p = fdit_cpu_f32(a->p), *m = fdit_cpu_f32(a->m), *ema = fdit_cpu_f32(a->ema);
    const float *g = fdit_cpu_f32(a->g);
    const float scale = fdit_has(a->scale) ? *fdit_cpu_f32(a->scale) : 1.0f;
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        cpu->op->lion(a, scale, p + i, g + i, m + i, ema ? ema + i : NULL, piece_length(a->n, i));
}

void fdit_cpu_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    if (fdit_has(a->scale) && !isfinite(*fdit_cpu_f32(a->scale)))
        return;
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(a->n), a->n, lion_pieces, a);
}

struct squares {
    const float *x;
    size_t n, length; /* of a piece */
    double *partial;
};

static void square_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct squares *s = job;
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t at = p * s->length, left = s->n - at;
        s->partial[p] = cpu->op->sum_squares(s->x + at, left < s->length ? left : s->length);
    }
}

void fdit_cpu_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    /* Whole multiples of PIECE; at most SQUARE_PIECES of them. */
    const size_t length = (pieces_of(a->n) + SQUARE_PIECES - 1) / SQUARE_PIECES * PIECE;
    double partial[SQUARE_PIECES] = { 0 }, sum = 0;
    const struct squares s = { .x = fdit_cpu_f32(a->x), .n = a->n, .length = length, .partial = partial };
    if (a->n)
        fdit_cpu_range(fdit_cpu_of(dev), (a->n + length - 1) / length, a->n, square_pieces, &s);
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

struct filled {
    float *to;
    size_t n;
    float value;
};

static void fill_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct filled *f = job;
    const size_t last = end * PIECE < f->n ? end * PIECE : f->n;
    (void)cpu;
    (void)thread;
    for (size_t i = begin * PIECE; i < last; i++)
        f->to[i] = f->value;
}

void fdit_cpu_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    if (t.type == FDIT_I32) {
        int32_t *to = fdit_cpu_i32(t);
        for (size_t i = 0; i < n; i++)
            to[i] = (int32_t)value;
        return;
    }
    const struct filled f = { .to = fdit_cpu_f32(t), .n = n, .value = value };
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(n), n, fill_pieces, &f);
}

struct copied {
    struct fdit_tensor to, from;
    size_t n;
};

static void convert_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct copied *c = job;
    const struct fdit_tensor to = c->to, from = c->from;
    uint16_t *halves = to.type == FDIT_BF16 ? (uint16_t *)to.buffer->handle + to.offset
                                            : (uint16_t *)from.buffer->handle + from.offset;
    float *floats = to.type == FDIT_BF16 ? fdit_cpu_f32(from) : fdit_cpu_f32(to);
    (void)thread;
    for (size_t i = begin * PIECE; i < end * PIECE; i += PIECE)
        if (to.type == FDIT_BF16)
            cpu->op->to_bf16(halves + i, floats + i, piece_length(c->n, i));
        else
            cpu->op->from_bf16(floats + i, halves + i, piece_length(c->n, i));
}

static void copy_pieces(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct copied *c = job;
    const size_t bytes = fdit_dtype_bytes(c->to.type), first = begin * PIECE;
    const size_t last = end * PIECE < c->n ? end * PIECE : c->n;
    (void)cpu;
    (void)thread;
    memcpy((char *)c->to.buffer->handle + (c->to.offset + first) * bytes,
           (const char *)c->from.buffer->handle + (c->from.offset + first) * bytes, (last - first) * bytes);
}

void fdit_cpu_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    const struct copied c = { .to = to, .from = from, .n = n };
    const bool same = to.type == from.type;
    fdit_cpu_range(fdit_cpu_of(dev), pieces_of(n), n, same ? copy_pieces : convert_pieces, &c);
}
