/* SPDX-License-Identifier: Apache-2.0
 * unit_trial.c: what a matrix unit has to pass before it is used. Runs in a process of its own (helper.c):
 * compilers have crashed on such kernels, drivers hung, and units that were announced were not there.
 *
 * 1. Products of all three kinds whose operands are multiples of 1/8 below 2 and not symmetric: every sum is
 *    a number of f32, whatever the order, so that one other bit is a mistake. Ragged, and over several tiles.
 * 2. Long sums of normal numbers, rounded to 16 bits where the precision is that, against double: what sums
 * in 16
 *    bits, or drops digits, is far off. In f32, which is taken apart, the error may be no larger than that
 * of the
 *    engine that multiplies by numbers; in bf16x3 it may be what two parts leave of it.
 *    In int8 both are whole numbers up to 127, and forward alone.
 * 3. Its time beside that of the engine that multiplies by numbers. */
#include "gemm.h"
#include "int8.h"
#include "matrix.h"
#include "units.h"

#include "core/clock.h"
#include "core/half.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct trial {
    fdit_context *ctx;
    fdit_device *dev;
    enum fdit_dtype operands;
    fdit_buffer *w, *a, *y;
    float *host_w, *host_a, *host_y;
    uint16_t *halves;
};

static const char *const kinds[] = { "forward", "dX", "dW" };

static size_t largest(const struct opencl *cl, const struct gemm_shape *s)
{
    size_t w = fdit_gemm_matrix_floats(cl, s), a = (size_t)s->M * (size_t)s->K,
           y = (size_t)s->M * (size_t)s->N;
    return w > a ? (w > y ? w : y) : a > y ? a : y;
}

static void end(struct trial *t)
{
    fdit_buffer_free(t->w);
    fdit_buffer_free(t->a);
    fdit_buffer_free(t->y);
    fdit_free(t->host_w);
    fdit_free(t->host_a);
    fdit_free(t->host_y);
    fdit_free(t->halves);
}

static enum fdit_status make(struct trial *t, const struct gemm_shape *s)
{
    enum fdit_status status = FDIT_OK;
    size_t n = largest(opencl_of(t->dev), s), scratch = n;
    TRY(fdit_buffer_new(t->ctx, t->dev, n * sizeof(float), "matrix of a trial", &t->w));
    TRY(fdit_buffer_new(t->ctx, t->dev, n * sizeof(float), "rows of a trial", &t->a));
    TRY(fdit_buffer_new(t->ctx, t->dev, n * sizeof(float), "results of a trial", &t->y));
    TRY(fdit_device_reserve(t->ctx, t->dev, 2 * scratch * sizeof(float)));
    TRY(fdit_alloc(t->ctx, n, sizeof(float), &t->host_w));
    TRY(fdit_alloc(t->ctx, n, sizeof(float), &t->host_a));
    TRY(fdit_alloc(t->ctx, n, sizeof(float), &t->host_y));
    TRY(fdit_alloc(t->ctx, n, sizeof(uint16_t), &t->halves));
out:
    return status;
}

/* The 16 bits that hold each number, and back: what the kernel is to round to. Nothing where it takes them
 * apart. */
static void round_numbers(struct trial *t, float *x, size_t n)
{
    if (fdit_matrix_parts(t->operands) > 1)
        return;
    if (t->operands == FDIT_F16) {
        fdit_f32_to_f16(n, x, t->halves);
        fdit_f16_to_f32(n, t->halves, x);
    } else {
        fdit_f32_to_bf16(n, x, t->halves);
        fdit_bf16_to_f32(n, t->halves, x);
    }
}

/* Whole numbers; a first one of 127 in each row, whose scale is then 1. */
static void fill_whole(float *x, size_t rows, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < rows * n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = i % n ? (float)((int)((seed >> 16) % 255u) - 127) : 127.0f;
    }
}

static void give_whole(struct trial *t, const struct gemm_shape *s)
{
    const struct fdit_weight_desc desc = { .storage = FDIT_I8, .n_out = s->N, .n_in = s->K };
    const size_t scales = fdit_opencl_weight_scales(opencl_of(t->dev), &desc);
    size_t w = fdit_gemm_matrix_floats(opencl_of(t->dev), s);
    int8_t *bytes = (int8_t *)t->halves;
    fill_whole(t->host_a, (size_t)s->M, (size_t)s->K, 1);
    fdit_write(t->dev, fdit_tensor_of(t->a, FDIT_F32), t->host_a, (size_t)s->M * (size_t)s->K);
    fill_whole(t->host_w, 1, w, 2);
    for (size_t i = 0; i < w; i++)
        bytes[i] = (int8_t)t->host_w[i];
    fdit_opencl_write(t->dev, t->w, 0, bytes, w);
    fdit_fill(t->dev, (struct fdit_tensor){ t->w, scales, FDIT_F32 }, (size_t)s->N, 1.0f);
}

static void fill(float *x, size_t n, uint32_t seed, bool exact)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            sum += (float)(seed >> 8) / 8388608.0f - 1.0f;
        }
        x[i] = exact ? (float)((int)(seed >> 27) - 15) / 8.0f : sum;
    }
}

/* Operands to the device; the matrix in 16 bits where the shape says so. */
static void give(struct trial *t, const struct gemm_shape *s, bool exact)
{
    size_t w = fdit_gemm_matrix_floats(opencl_of(t->dev), s), a = (size_t)s->M * (size_t)s->K;
    if (t->operands == FDIT_I8) {
        give_whole(t, s);
        return;
    }
    fill(t->host_a, a, 1, exact);
    round_numbers(t, t->host_a, a);
    fdit_write(t->dev, fdit_tensor_of(t->a, FDIT_F32), t->host_a, a);
    fill(t->host_w, w, 2, exact);
    round_numbers(t, t->host_w, w); /* leaves the halves of w */
    if (s->storage == FDIT_F32)
        fdit_write(t->dev, fdit_tensor_of(t->w, FDIT_F32), t->host_w, w);
    else
        fdit_opencl_write(t->dev, t->w, 0, t->halves, w * sizeof(uint16_t));
}

/* Element (m, n) in double: gemm.h has the layouts. */
static double wanted(const struct trial *t, const struct gemm_shape *s, int m, int n)
{
    bool weight_forward = s->kind == GEMM_FORWARD;
    int ld = s->kind == GEMM_DW ? s->N : gemm_ld(opencl_of(t->dev), weight_forward ? s->N : s->K);
    double sum = 0;
    for (int k = 0; k < s->K; k++) {
        float a = t->host_a[s->kind == GEMM_DW ? (size_t)k * (size_t)s->M + (size_t)m
                                               : (size_t)m * (size_t)s->K + (size_t)k];
        float w = t->host_w[s->kind == GEMM_DX ? (size_t)n * (size_t)ld + (size_t)k
                                               : (size_t)k * (size_t)ld + (size_t)n];
        sum += (double)a * (double)w;
    }
    return sum;
}

static bool refused(struct trial *t, const char *what, char out[UNIT_NOTE])
{
    if (t->dev->status == FDIT_OK)
        return false;
    const char *log = opencl_of(t->dev)->build_log;
    snprintf(out, UNIT_NOTE, "%s: %.700s%s%.1200s", what,
             t->dev->message ? t->dev->message : fdit_status_text(t->dev->status), log ? "; whole log: " : "",
             log ? log : "");
    return true;
}

/* 2e-11 was measured in two parts; otherwise 1e-13. */
static double most_error(enum fdit_dtype operands)
{
    return fdit_matrix_parts(operands) > 1 ? 1e-10 : 1e-11;
}

/* Sums that f32 holds; in int8 times a scale that a division may have rounded. */
static bool is_sum(const struct trial *t, double is, double sum)
{
    return t->operands == FDIT_I8 ? fabs(is - sum) <= 0.25 + 4e-7 * fabs(sum) : is == sum;
}

/* False: the result is wrong, `out` says where. *nmse: of all elements. */
static bool compare(struct trial *t, const struct gemm_shape *s, const struct gemm_config *unit, bool exact,
                    double *nmse, char out[UNIT_NOTE])
{
    char what[64];
    size_t n = (size_t)s->M * (size_t)s->N, wrong = 0, first = 0;
    double off = 0, all = 0, should = 0;
    struct fdit_tensor y = fdit_tensor_of(t->y, FDIT_F32);
    snprintf(what, sizeof what, "%s %dx%dx%d", kinds[s->kind], s->M, s->N, s->K);
    give(t, s, exact);
    fdit_fill(t->dev, y, n, NAN);
    fdit_gemm_run(t->dev, s, t->w->handle, t->a, t->y, unit);
    bool read = fdit_read(t->ctx, t->dev, y, t->host_y, n) == FDIT_OK;
    if (refused(t, what, out) || !read)
        return false;
    for (size_t i = 0; i < n; i++) {
        double is = t->host_y[i], sum = wanted(t, s, (int)(i / (size_t)s->N), (int)(i % (size_t)s->N));
        off += (is - sum) * (is - sum);
        all += sum * sum;
        if (exact ? is_sum(t, is, sum) : isfinite(is))
            continue;
        if (!wrong++) {
            first = i;
            should = sum;
        }
    }
    *nmse = off / all;
    if (!wrong && *nmse <= most_error(t->operands))
        return true;
    snprintf(out, UNIT_NOTE,
             "%s: wrong by NMSE %.3g; %zu of %zu numbers, the first in row %zu, column %zu: "
             "%.9g instead of %.9g",
             what, *nmse, wrong, n, first / (size_t)s->N, first % (size_t)s->N, (double)t->host_y[first],
             wrong ? should : wanted(t, s, 0, 0));
    return false;
}

/* GFLOP/s of the product; 0 where it is refused. */
static double speed(struct trial *t, const struct gemm_shape *s, const struct gemm_config *c)
{
    double seconds = 0, flops = 2.0 * s->M * s->N * s->K;
    for (int runs = 1, round = 0; round < 12 && seconds < 0.01; runs *= 2, round++) {
        double begin = fdit_clock_seconds();
        for (int i = 0; i < runs; i++)
            fdit_gemm_run(t->dev, s, t->w->handle, t->a, t->y, c);
        fdit_opencl_sync(t->dev);
        seconds = fdit_clock_seconds() - begin;
        if (t->dev->status != FDIT_OK)
            return 0;
        flops = round ? 2 * flops : flops;
    }
    return seconds > 0 ? flops / seconds / 1e9 : 0;
}

/* Weights are kept in 16 bits where they are rounded to them. */
static enum fdit_dtype storage_of(enum fdit_dtype operands)
{
    return fdit_matrix_parts(operands) > 1 ? FDIT_F32 : operands;
}

/* On a device that is fast enough a product as large as those of DiT-XL/2. */
static struct gemm_shape timed_shape(struct trial *t, const struct gemm_config *unit, double *small)
{
    struct gemm_shape s = { .kind = GEMM_FORWARD, .M = 128, .N = 128, .K = 128, .operands = t->operands };
    s.storage = storage_of(t->operands);
    speed(t, &s, unit); /* builds it */
    *small = speed(t, &s, unit);
    if (*small > 50) {
        s.M = 2048;
        s.N = s.K = 1024;
    }
    return s;
}

/* The long sums again by numbers. False: in f32 the unit's are further from double. */
static bool as_good(struct trial *t, const struct gemm_shape *s, double nmse, double *plain,
                    char out[UNIT_NOTE])
{
    const struct gemm_config c = fdit_gemm_default(opencl_of(t->dev), s);
    if (!compare(t, s, &c, false, plain, out))
        return false;
    if (t->operands != FDIT_F32 || nmse <= *plain)
        return true;
    snprintf(out, UNIT_NOTE, "%s %dx%dx%d: NMSE %.1e, further from double than multiply-adds, %.1e",
             kinds[s->kind], s->M, s->N, s->K, nmse, *plain);
    return false;
}

bool fdit_unit_trial(fdit_context *ctx, fdit_device *dev, const struct gemm_config *unit,
                     enum fdit_dtype operands, void (*phase)(const char *what), char out[UNIT_NOTE])
{
    struct opencl *cl = opencl_of(dev);
    struct trial t = { .ctx = ctx, .dev = dev, .operands = operands };
    const enum fdit_dtype kept = storage_of(operands);
    const struct gemm_shape shapes[] = {
        { .kind = GEMM_FORWARD, .storage = kept, .M = 37, .N = 45, .K = 50, .operands = operands },
        { .kind = GEMM_DX, .storage = kept, .M = 160, .N = 136, .K = 96, .operands = operands },
        { .kind = GEMM_DW, .plain = true, .M = 132, .N = 72, .K = 200, .operands = operands },
        { .kind = GEMM_FORWARD, .storage = kept, .M = 64, .N = 64, .K = 1152, .operands = operands },
    };
    const struct gemm_shape most = { .kind = GEMM_FORWARD, .M = 2048, .N = 1024, .K = 1024 };
    const struct gemm_shape whole[] = {
        { .kind = GEMM_FORWARD, .storage = kept, .M = 37, .N = 45, .K = 50, .operands = operands },
        { .kind = GEMM_FORWARD, .storage = kept, .M = 160, .N = 136, .K = 96, .operands = operands },
        { .kind = GEMM_FORWARD, .storage = kept, .M = 132, .N = 72, .K = 200, .operands = operands },
    };
    struct gemm_config c = *unit;
    double nmse = 0, plain_nmse = 0, small = 0;
    bool good = false;
    if (!c.parts)
        c.parts = fdit_matrix_parts(operands);
    fdit_matrix_fit(&c, cl->local_bytes);
    snprintf(out, UNIT_NOTE, "out of memory for the trial: %.300s", fdit_context_message(ctx));
    if (make(&t, &most) != FDIT_OK)
        goto out;
    if (operands == FDIT_I8)
        fdit_int8_find_dot(dev);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        phase(i < 3 ? "when its products are compared" : "when its long sums are compared");
        const struct gemm_shape *shape = operands == FDIT_I8 && i < 3 ? &whole[i] : &shapes[i];
        if (!compare(&t, shape, &c, i < 3, &nmse, out))
            goto out;
    }
    if (!as_good(&t, &shapes[3], nmse, &plain_nmse, out))
        goto out;
    phase("when its products are timed");
    struct gemm_shape s = timed_shape(&t, &c, &small);
    struct gemm_config plain = fdit_gemm_default(cl, &s);
    double with = speed(&t, &s, &c);
    speed(&t, &s, &plain);
    double without = speed(&t, &s, &plain);
    if (refused(&t, "timing", out))
        goto out;
    snprintf(out, UNIT_NOTE, "%.4g GFLOP/s, %.4g by multiply-adds, NMSE %.1e, %.1e by multiply-adds", with,
             without, nmse, plain_nmse);
    good = true;
out:
    end(&t);
    return good;
}
