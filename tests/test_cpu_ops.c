/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_ops.c: what only the CPU device has, of the ops outside the linear family: kernels for several
 * instruction sets (all that this processor can run, and the 16-wide body on vectors of 8), sharing of an
 * attention head among threads, tiles. test_ops.c tests the same ops through the best set alone. */
#include "device/backend.h"
#include "core/mem.h"
#include "cpu/cpu.h"
#include "cpu/op_kernels.h"
#include "cpu/ops.h"
#include "devices.h"
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TABLES = 6 };
struct table {
    const char *name;
    const struct fdit_cpu_op_kernels *kernels;
    const struct fdit_cpu_attention_kernels *attention;
    double nmse, gradient_nmse; /* that its attention is allowed */
};

static void add(struct table *list, int *n, struct table t)
{
    for (int i = 0; i < *n; i++)
        if (list[i].kernels == t.kernels && list[i].attention == t.attention) /* of a lesser set */
            return;
    ck_assert_int_lt(*n, MAX_TABLES);
    list[(*n)++] = t;
}

static int tables(struct table *out)
{
    struct fdit_cpu_isa_entry entry;
    int n = 0;
    bool avx2 = false;
    for (int i = 0; fdit_cpu_isa_get(i, &entry); i++) {
        avx2 = avx2 || (strcmp(entry.name, "avx2") == 0 && entry.supported);
        if (!entry.supported)
            continue;
        if (entry.attention_bf16)
            add(out, &n, (struct table){ entry.name, entry.op, entry.attention_bf16, 1e-4, 1e-3 });
        else
            add(out, &n, (struct table){ entry.name, entry.op, entry.op->attention, 1e-11, 1e-11 });
    }
#ifdef HAVE_AVX2
    if (avx2)
        add(out, &n,
            (struct table){ "wide", &fdit_cpu_op_kernels_wide, fdit_cpu_op_kernels_wide.attention, 1e-11,
                            1e-11 });
#endif
    (void)avx2;
    return n;
}

/* The CPU device with the kernels of a table (NULL: the best). */
static fdit_device *cpu_device(fdit_context *ctx, const struct table *table, int threads)
{
    fdit_device *dev = NULL;
    struct fdit_device_options options = { .spec = "cpu", .threads = threads };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_cpu_ops, &options, &dev));
    if (table) {
        fdit_cpu_of(dev)->op = table->kernels;
        fdit_cpu_of(dev)->attention = table->attention;
    }
    return dev;
}

static float *host_memory(size_t n)
{
    float *p = malloc((n ? n : 1) * sizeof *p);
    ck_assert_ptr_nonnull(p);
    return p;
}

static struct fdit_tensor upload(fdit_context *ctx, fdit_device *dev, const float *host, size_t n)
{
    fdit_buffer *buffer = NULL;
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, n * sizeof *host, "test", &buffer));
    struct fdit_tensor t = fdit_tensor_of(buffer, FDIT_F32);
    fdit_write(dev, t, host, n);
    return t;
}

/* ------------------------------------------------------------------------------------ attention */

struct heads {
    int samples, rows, heads, size;
};
/* Around one tile of 48 queries, 128 or 256 keys; sizes below, at and off whole vectors. */
static const struct heads head_shapes[] = {
    { 1, 1, 1, 1 },   { 2, 3, 2, 5 },    { 1, 17, 3, 7 },   { 1, 47, 1, 24 },   { 2, 64, 2, 72 },
    { 1, 49, 2, 33 }, { 1, 127, 1, 16 }, { 1, 129, 2, 40 }, { 1, 255, 1, 72 },  { 1, 256, 1, 64 },
    { 1, 257, 2, 9 }, { 1, 300, 1, 19 }, { 1, 517, 1, 8 },  { 1, 130, 1, 128 },
};
enum { N_HEAD_SHAPES = sizeof head_shapes / sizeof *head_shapes };

static size_t out_size(struct heads s)
{
    return (size_t)(s.samples * s.rows * s.heads * s.size);
}
static size_t lse_size(struct heads s)
{
    return (size_t)(s.samples * s.rows * s.heads);
}

enum { QKV, OUT, LSE, DOUT, DQKV, N_ARRAYS };
struct attention {
    struct heads shape;
    size_t n[N_ARRAYS];
    float *a[N_ARRAYS];
};

static struct attention attention_new(struct heads shape)
{
    size_t out = out_size(shape), lse = lse_size(shape);
    struct attention p = { .shape = shape, .n = { 3 * out, out, lse, out, 3 * out } };
    for (int i = 0; i < N_ARRAYS; i++)
        p.a[i] = host_memory(p.n[i]);
    return p;
}
static void attention_free(struct attention *p)
{
    for (int i = 0; i < N_ARRAYS; i++)
        free(p->a[i]);
}

/* Row n of q (part 0), k or v (1, 2) of head h of sample b, in qkv or dqkv. */
static float *part_row(struct heads s, float *qkv, int b, int n, int part, int h)
{
    return qkv +
           (((size_t)(b * s.rows + n) * 3 + (size_t)part) * (size_t)s.heads + (size_t)h) * (size_t)s.size;
}
static float *out_row(struct heads s, float *out, int b, int n, int h)
{
    return out + ((size_t)(b * s.rows + n) * (size_t)s.heads + (size_t)h) * (size_t)s.size;
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* One head in double: out, lse and the gradients from qkv and dout. */
static void head_reference(struct attention *p, int b, int h)
{
    const struct heads s = p->shape;
    const int n = s.rows, size = s.size;
    const double scale = 1 / sqrt((double)size);
    double *prob = calloc((size_t)n, sizeof *prob), *sum = calloc((size_t)(3 * n * size), sizeof *sum);
    ck_assert(prob && sum);
    for (int i = 0; i < n; i++) {
        float *q = part_row(s, p->a[QKV], b, i, 0, h), *dout = out_row(s, p->a[DOUT], b, i, h);
        float *out = out_row(s, p->a[OUT], b, i, h);
        double top = -INFINITY, total = 0, delta = 0;
        for (int j = 0; j < n; j++) {
            prob[j] = scale * dot(q, part_row(s, p->a[QKV], b, j, 1, h), size);
            top = prob[j] > top ? prob[j] : top;
        }
        for (int j = 0; j < n; j++)
            total += prob[j] = exp(prob[j] - top);
        p->a[LSE][((size_t)b * (size_t)s.heads + (size_t)h) * (size_t)n + (size_t)i] =
            (float)(top + log(total));
        for (int d = 0; d < size; d++) {
            double o = 0;
            for (int j = 0; j < n; j++)
                o += prob[j] / total * (double)part_row(s, p->a[QKV], b, j, 2, h)[d];
            out[d] = (float)o;
            delta += o * (double)dout[d];
        }
        for (int j = 0; j < n; j++) {
            const float *k = part_row(s, p->a[QKV], b, j, 1, h), *v = part_row(s, p->a[QKV], b, j, 2, h);
            const double pij = prob[j] / total, ds = pij * (dot(dout, v, size) - delta) * scale;
            for (int d = 0; d < size; d++) {
                sum[i * size + d] += ds * (double)k[d];
                sum[(n + j) * size + d] += ds * (double)q[d];
                sum[(2 * n + j) * size + d] += pij * (double)dout[d];
            }
        }
    }
    for (int part = 0; part < 3; part++)
        for (int i = 0; i < n; i++)
            for (int d = 0; d < size; d++)
                part_row(s, p->a[DQKV], b, i, part, h)[d] = (float)sum[(part * n + i) * size + d];
    free(prob);
    free(sum);
}

/* Forward and, if asked, backward on the device; into r's OUT, LSE, DQKV. */
static void attention_run(fdit_context *ctx, fdit_device *dev, const struct attention *p, struct attention *r,
                          bool backward)
{
    const struct heads s = p->shape;
    struct fdit_tensor t[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++)
        t[i] = upload(ctx, dev, p->a[i], p->n[i]);
    const struct fdit_op_shape shapes[2] = {
        { .op = FDIT_OP_ATTENTION,
          .samples = s.samples,
          .tokens = s.rows,
          .heads = s.heads,
          .head_size = s.size },
        { .op = FDIT_OP_ATTENTION_BACKWARD,
          .samples = s.samples,
          .tokens = s.rows,
          .heads = s.heads,
          .head_size = s.size },
    };
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, shapes, 2)));
    fdit_attention(dev, &(struct fdit_attention_args){ .samples = s.samples,
                                                       .tokens = s.rows,
                                                       .heads = s.heads,
                                                       .head_size = s.size,
                                                       .out = t[OUT],
                                                       .lse = t[LSE],
                                                       .qkv = t[QKV] });
    if (backward)
        fdit_attention_backward(dev, &(struct fdit_attention_backward_args){ .samples = s.samples,
                                                                             .tokens = s.rows,
                                                                             .heads = s.heads,
                                                                             .head_size = s.size,
                                                                             .dqkv = t[DQKV],
                                                                             .dout = t[DOUT],
                                                                             .qkv = t[QKV],
                                                                             .out = t[OUT],
                                                                             .lse = t[LSE] });
    for (int i = 0; i < N_ARRAYS; i++) {
        ck_assert_ok(ctx, fdit_read(ctx, dev, t[i], r->a[i], r->n[i]));
        fdit_buffer_free(t[i].buffer);
    }
}

static void attention_compare(const struct attention *got, const struct attention *wanted,
                              const struct table *table, bool backward)
{
    static const char *const names[N_ARRAYS] = { "qkv", "out", "lse", "dout", "dqkv" };
    const struct heads s = wanted->shape;
    for (int i = OUT; i <= (backward ? DQKV : LSE); i++) {
        struct fdit_difference e = fdit_compare(got->a[i], wanted->a[i], wanted->n[i]);
        ck_assert_msg(e.nmse < (i == DQKV ? table->gradient_nmse : table->nmse),
                      "%s, %dx%dx%dx%d: %s: NMSE %g; worst at %zu: got %.9g, wanted %.9g", table->name,
                      s.samples, s.rows, s.heads, s.size, names[i], e.nmse, e.worst, (double)e.got,
                      (double)e.wanted);
    }
}

/* Against double, and the same bits for any number of threads: with more threads than heads, a head's
 * gradients are made by pieces. */
START_TEST(attention_sets)
{
    struct table list[MAX_TABLES];
    const int n = tables(list);
    fdit_context *ctx = fdit_context_new();
    struct test_rng rng = test_rng_new("attention_sets");
    for (int i = 0; i < N_HEAD_SHAPES; i++) {
        struct attention p = attention_new(head_shapes[i]), one = attention_new(head_shapes[i]);
        struct attention more = attention_new(head_shapes[i]);
        /* Large queries: some rows attend to one key, others to many. */
        test_fill_normal(&rng, p.a[QKV], p.n[QKV], 0, i % 2 ? 1 : 2);
        test_fill_normal(&rng, p.a[DOUT], p.n[DOUT], 0, 1);
        for (int b = 0; b < p.shape.samples; b++)
            for (int h = 0; h < p.shape.heads; h++)
                head_reference(&p, b, h);
        for (int k = 0; k < n; k++) {
            fdit_device *dev = cpu_device(ctx, &list[k], 1);
            attention_run(ctx, dev, &p, &one, true);
            fdit_device_close(dev);
            attention_compare(&one, &p, &list[k], true);
            for (int threads = 2; threads <= 5; threads += 3) {
                dev = cpu_device(ctx, &list[k], threads);
                attention_run(ctx, dev, &p, &more, true);
                fdit_device_close(dev);
                for (int a = 0; a < N_ARRAYS; a++) {
                    size_t at = test_first_difference(more.a[a], one.a[a], p.n[a], sizeof(float));
                    ck_assert_msg(at == p.n[a], "%s, rows %d: array %d differs at %zu for %d threads",
                                  list[k].name, p.shape.rows, a, at, threads);
                }
            }
        }
        attention_free(&p);
        attention_free(&one);
        attention_free(&more);
    }
    fdit_context_free(ctx);
}
END_TEST

/* Scores of -infinity for all keys of the first tiles, or for all but the first: the other keys share the
 * weight. A row whose every score is -infinity has no answer. */
START_TEST(attention_infinite_scores)
{
    static const int ranges[][2] = { { 0, 1 }, { 0, 256 }, { 0, 512 }, { 1, 600 }, { 256, 600 } };
    struct table list[MAX_TABLES];
    const int n = tables(list);
    const struct heads shape = { 1, 600, 1, 12 };
    fdit_context *ctx = fdit_context_new();
    struct test_rng rng = test_rng_new("attention_infinite_scores");
    struct attention p = attention_new(shape), got = attention_new(shape);
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        test_fill_normal(&rng, p.a[QKV], p.n[QKV], 0, 1);
        for (int i = 0; i < shape.rows; i++) {
            part_row(shape, p.a[QKV], 0, i, 0, 0)[3] = 1;
            if (i >= ranges[r][0] && i < ranges[r][1])
                part_row(shape, p.a[QKV], 0, i, 1, 0)[3] = -INFINITY;
        }
        head_reference(&p, 0, 0);
        for (int k = 0; k < n; k++) {
            fdit_device *dev = cpu_device(ctx, &list[k], 2);
            attention_run(ctx, dev, &p, &got, false);
            fdit_device_close(dev);
            attention_compare(&got, &p, &list[k], false);
        }
    }
    for (int i = 0; i < shape.rows; i++)
        part_row(shape, p.a[QKV], 0, i, 1, 0)[3] = -INFINITY;
    for (int k = 0; k < n; k++) {
        fdit_device *dev = cpu_device(ctx, &list[k], 2);
        attention_run(ctx, dev, &p, &got, false);
        fdit_device_close(dev);
        for (size_t i = 0; i < got.n[OUT]; i++)
            ck_assert_msg(isnan(got.a[OUT][i]), "%s: out %zu is %g", list[k].name, i, (double)got.a[OUT][i]);
    }
    attention_free(&p);
    attention_free(&got);
    fdit_context_free(ctx);
}
END_TEST

/* A NaN in a query spoils its own row and head; one in a value all rows of its head in one column. */
START_TEST(attention_nan)
{
    struct table list[MAX_TABLES];
    const int n = tables(list);
    const struct heads shape = { 2, 300, 2, 10 };
    fdit_context *ctx = fdit_context_new();
    struct test_rng rng = test_rng_new("attention_nan");
    struct attention p = attention_new(shape), clean = attention_new(shape), got = attention_new(shape);
    test_fill_normal(&rng, p.a[QKV], p.n[QKV], 0, 1);
    for (int k = 0; k < n; k++)
        for (int part = 0; part < 3; part += 2) {
            fdit_device *dev = cpu_device(ctx, &list[k], 2);
            float *at = part_row(shape, p.a[QKV], 1, 270, part, 1) + 4, keep = *at;
            attention_run(ctx, dev, &p, &clean, false);
            *at = NAN;
            attention_run(ctx, dev, &p, &got, false);
            *at = keep;
            fdit_device_close(dev);
            for (int i = 0; i < (int)got.n[OUT]; i++) {
                const int d = i % 10, h = i / 10 % 2, row = i / 20 % 300, b = i / 6000;
                const bool spoiled = b == 1 && h == 1 && (part == 0 ? row == 270 : d == 4);
                const float x = got.a[OUT][i], y = clean.a[OUT][i];
                ck_assert_msg(spoiled ? isnan(x) : memcmp(&x, &y, sizeof x) == 0,
                              "%s: NaN in part %d: out of sample %d, row %d, head %d, %d is %g", list[k].name,
                              part, b, row, h, d, (double)x);
            }
        }
    attention_free(&p);
    attention_free(&clean);
    attention_free(&got);
    fdit_context_free(ctx);
}
END_TEST

/* ------------------------------------------------------------- rows, sums, element-wise ops */

enum { N_TENSORS = 16 };
struct shape {
    int samples, rows, width;
};
typedef void op_run(fdit_device *dev, struct shape s, const struct fdit_tensor *t);

static size_t elements(struct shape s)
{
    return (size_t)s.samples * (size_t)s.rows * (size_t)s.width;
}

static void run_norm(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    for (int options = 0; options < 4; options++) {
        struct fdit_norm_args a = { .samples = s.samples,
                                    .tokens = s.rows,
                                    .width = s.width,
                                    .y = t[options],
                                    .x = t[6],
                                    .mod_stride = 2 * s.width };
        if (options & 1) {
            a.weight = t[7];
            a.bias = t[8];
        }
        if (options & 2) {
            a.shift = t[9];
            a.scale = fdit_at(t[9], (size_t)s.width);
        }
        a.xhat = options == 3 ? t[4] : FDIT_NO_TENSOR;
        a.rstd = options == 3 ? t[5] : FDIT_NO_TENSOR;
        fdit_norm(dev, &a);
    }
    fdit_modulate(dev, &(struct fdit_modulate_args){ .samples = s.samples,
                                                     .tokens = s.rows,
                                                     .width = s.width,
                                                     .y = t[10],
                                                     .xhat = t[11],
                                                     .weight = t[7],
                                                     .bias = t[8],
                                                     .shift = t[9],
                                                     .scale = fdit_at(t[9], (size_t)s.width),
                                                     .mod_stride = 2 * s.width });
}

static void run_norm_backward(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    struct fdit_norm_backward_args a = {
        .samples = s.samples,
        .tokens = s.rows,
        .width = s.width,
        .dx = t[0],
        .accumulate = true,
        .dshift = t[1],
        .dscale = fdit_at(t[1], (size_t)s.width),
        .dmod_stride = 2 * s.width,
        .dweight = t[2],
        .dbias = t[3],
        .beta = 1,
        .dy = t[4],
        .xhat = t[5],
        .rstd = t[6],
        .weight = t[7],
        .bias = t[8],
        .scale = t[9],
        .mod_stride = 2 * s.width,
    };
    fdit_norm_backward(dev, &a);
    a = (struct fdit_norm_backward_args){ .samples = s.samples,
                                          .tokens = s.rows,
                                          .width = s.width,
                                          .dx = t[10],
                                          .dy = t[4],
                                          .xhat = t[5],
                                          .rstd = t[6] };
    fdit_norm_backward(dev, &a);
}

static void run_gates(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    fdit_gate(dev, &(struct fdit_gate_args){ .samples = s.samples,
                                             .tokens = s.rows,
                                             .width = s.width,
                                             .y = t[0],
                                             .residual = t[1],
                                             .branch = t[2],
                                             .gate = t[3],
                                             .gate_stride = s.width + 1 });
    fdit_gate(dev, &(struct fdit_gate_args){ .samples = s.samples,
                                             .tokens = s.rows,
                                             .width = s.width,
                                             .y = t[4],
                                             .branch = t[2],
                                             .gate = t[3],
                                             .gate_stride = s.width });
    fdit_gate_backward(dev, &(struct fdit_gate_backward_args){ .samples = s.samples,
                                                               .tokens = s.rows,
                                                               .width = s.width,
                                                               .dbranch = t[5],
                                                               .dgate = t[6],
                                                               .dgate_stride = s.width,
                                                               .dy = t[7],
                                                               .branch = t[2],
                                                               .gate = t[3],
                                                               .gate_stride = s.width });
}

static void run_sums(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    for (int beta = 0; beta < 2; beta++)
        fdit_column_sum(dev,
                        &(struct fdit_column_sum_args){
                            .m = s.samples * s.rows, .n = s.width, .db = t[beta], .dy = t[2], .beta = beta });
    fdit_token_mean(dev,
                    &(struct fdit_token_mean_args){
                        .samples = s.samples, .tokens = s.rows, .width = s.width, .y = t[3], .x = t[2] });
    fdit_sum_squares(dev, &(struct fdit_sum_squares_args){ .n = elements(s), .out = t[4], .x = t[2] });
}

static void run_elementwise(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    const size_t n = elements(s);
    for (int act = FDIT_ACT_GELU_TANH; act <= FDIT_ACT_SILU; act++) {
        fdit_activation(dev, &(struct fdit_activation_args){
                                 .n = n, .act = (enum fdit_act)act, .y = t[2 * act], .x = t[0] });
        fdit_activation_backward(
            dev, &(struct fdit_activation_backward_args){
                     .n = n, .act = (enum fdit_act)act, .dx = t[2 * act + 1], .dy = t[1], .x = t[0] });
    }
    for (int beta = 0; beta < 2; beta++)
        fdit_axpy(dev, &(struct fdit_axpy_args){
                           .n = n, .alpha = -0.7f, .y = t[6 + beta], .x = t[1], .beta = beta });
    fdit_diffuse(dev, &(struct fdit_diffuse_args){ .samples = s.samples,
                                                   .n = (size_t)s.rows * (size_t)s.width,
                                                   .xt = t[8],
                                                   .x0 = t[0],
                                                   .noise = t[1],
                                                   .coef = t[9] });
}

/* rows: pixels; width: channels. */
static void run_sampler(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    struct fdit_sampler_step_args a = {
        .samples = s.samples,
        .channels = s.width,
        .n = (size_t)s.rows,
        .x_next = t[0],
        .x = t[1],
        .cond = t[2],
        .uncond = t[3],
        .z = t[4],
        .guidance = 4,
        .guided_channels = (s.width + 1) / 2,
        .x0_x = 1.3f,
        .x0_eps = -0.8f,
        .to_x = 0.4f,
        .to_x0 = 0.6f,
        .to_eps = 0.1f,
        .to_z = 1,
        .learned = true,
        .log_beta = -3,
        .log_var = -4,
    };
    fdit_sampler_step(dev, &a);
    a.x_next = t[6];
    a.old = t[5];
    a.uncond = a.z = FDIT_NO_TENSOR;
    a.clip_x0 = true;
    a.to_old = -0.3f;
    a.to_z = 0;
    a.learned = false;
    fdit_sampler_step(dev, &a);
}

static void run_adamw(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    const size_t n = elements(s);
    struct fdit_adamw_args a = { .n = n,
                                 .p = t[0],
                                 .g = t[1],
                                 .m = t[2],
                                 .v = t[3],
                                 .ema = t[4],
                                 .decay = 1e-3f,
                                 .beta1 = 0.9f,
                                 .beta2 = 0.999f,
                                 .eps = 1e-8f,
                                 .lr_bias1 = 1e-2f,
                                 .inv_sqrt_bias2 = 3,
                                 .ema_decay = 0.9f };
    fdit_activation(dev,
                    &(struct fdit_activation_args){ .n = n, .act = FDIT_ACT_SILU, .y = t[3], .x = t[5] });
    /* v must not be negative: silu's least value is -0.28. */
    fdit_fill(dev, t[6], n, 0.3f);
    fdit_axpy(dev, &(struct fdit_axpy_args){ .n = n, .alpha = 1, .y = t[3], .x = t[6], .beta = 1 });
    fdit_adamw(dev, &a);
}

static void run_lion(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    fdit_lion(dev, &(struct fdit_lion_args){ .n = elements(s),
                                             .p = t[0],
                                             .g = t[1],
                                             .m = t[2],
                                             .ema = t[4],
                                             .lr = 1e-2f,
                                             .decay = 1e-3f,
                                             .beta1 = 0.9,
                                             .beta2 = 0.99,
                                             .ema_decay = 0.9 });
}

static void run_loss(fdit_device *dev, struct shape s, const struct fdit_tensor *t)
{
    float coef[8 * 8] = { 0 };
    ck_assert_int_le(s.samples, 8);
    for (int b = 0; b < s.samples; b++) {
        const struct fdit_loss_coef one = {
            .is_first = b == 0,
            .log_beta = b % 2 ? -4.59919209f : -9.21034037f,
            .log_var = b % 2 ? -4.60004974f : -9.81672514f,
            .mean_eps = 0.0101f,
            .scale = 0.25f,
        };
        memcpy(coef + 8 * b, &one, sizeof one);
    }
    fdit_write(dev, t[5], coef, 8 * (size_t)s.samples);
    fdit_diffusion_loss(dev, &(struct fdit_diffusion_loss_args){ .samples = s.samples,
                                                                 .channels = s.width,
                                                                 .n = (size_t)s.rows,
                                                                 .dout = t[0],
                                                                 .losses = t[1],
                                                                 .out = t[2],
                                                                 .x0 = t[3],
                                                                 .noise = t[4],
                                                                 .coef = t[5] });
}

static const struct {
    const char *name;
    op_run *run;
} ops[] = {
    { "norm and modulate", run_norm },
    { "norm_backward", run_norm_backward },
    { "gate and gate_backward", run_gates },
    { "sums", run_sums },
    { "element-wise", run_elementwise },
    { "sampler", run_sampler },
    { "adamw", run_adamw },
    { "lion", run_lion },
    { "diffusion_loss", run_loss },
};
enum { N_OPS = sizeof ops / sizeof *ops };

static const struct shape op_shapes[] = {
    { 1, 1, 1 },   { 2, 33, 7 },   { 3, 65, 16 },  { 1, 100, 31 },
    { 2, 31, 72 }, { 4, 17, 129 }, { 2, 4200, 3 }, { 2, 40, 1152 },
};
enum { N_OP_SHAPES = sizeof op_shapes / sizeof *op_shapes };

/* The tensors' values after the op, N_TENSORS * n floats. All begin as the same random numbers. */
static float *op_results(fdit_context *ctx, fdit_device *dev, int op, struct shape s, const float *begin,
                         size_t n)
{
    struct fdit_tensor t[N_TENSORS];
    float *results = host_memory(N_TENSORS * n);
    struct fdit_op_shape shapes[FDIT_OP_COUNT];
    for (int i = 0; i < FDIT_OP_COUNT; i++)
        shapes[i] = (struct fdit_op_shape){ .op = (enum fdit_op)i,
                                            .samples = s.samples,
                                            .tokens = s.rows,
                                            .n_in = s.width,
                                            .n_out = s.width,
                                            .heads = 1,
                                            .head_size = s.width,
                                            .n = 2 * elements(s) };
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev,
                                          fdit_device_workspace(dev, shapes + FDIT_OP_COLUMN_SUM,
                                                                FDIT_OP_COUNT - FDIT_OP_COLUMN_SUM)));
    for (int i = 0; i < N_TENSORS; i++)
        t[i] = upload(ctx, dev, begin + (size_t)i * n, n);
    ops[op].run(dev, s, t);
    for (int i = 0; i < N_TENSORS; i++) {
        ck_assert_ok(ctx, fdit_read(ctx, dev, t[i], results + (size_t)i * n, n));
        fdit_buffer_free(t[i].buffer);
    }
    return results;
}

/* Every set against the reference device, and the same bits for one thread and three. */
START_TEST(other_ops)
{
    struct table list[MAX_TABLES];
    const int n_tables = tables(list);
    fdit_context *ctx = fdit_context_new();
    fdit_device *ref = NULL;
    struct test_rng rng = test_rng_new(ops[_i].name);
    ck_assert_ok(ctx,
                 fdit_device_open(ctx, &fdit_ref_ops, &(struct fdit_device_options){ .spec = "ref" }, &ref));
    for (int i = 0; i < N_OP_SHAPES; i++) {
        const struct shape s = op_shapes[i];
        const size_t n = 2 * elements(s) + 64;
        float *begin = host_memory(N_TENSORS * n);
        test_fill_normal(&rng, begin, N_TENSORS * n, 0, 1.5f);
        float *wanted = op_results(ctx, ref, _i, s, begin, n);
        for (int k = 0; k < n_tables; k++) {
            float *got[2];
            for (int threads = 0; threads < 2; threads++) {
                fdit_device *dev = cpu_device(ctx, &list[k], 1 + 2 * threads);
                got[threads] = op_results(ctx, dev, _i, s, begin, n);
                fdit_device_close(dev);
            }
            for (int t = 0; t < N_TENSORS; t++) {
                struct fdit_difference e = fdit_compare(got[0] + (size_t)t * n, wanted + (size_t)t * n, n);
                ck_assert_msg(e.nmse < 1e-11,
                              "%s on %s, %dx%dx%d, tensor %d: NMSE %g; worst at %zu: "
                              "got %.9g, wanted %.9g",
                              ops[_i].name, list[k].name, s.samples, s.rows, s.width, t, e.nmse, e.worst,
                              (double)e.got, (double)e.wanted);
            }
            size_t at = test_first_difference(got[1], got[0], N_TENSORS * n, sizeof(float));
            ck_assert_msg(at == N_TENSORS * n,
                          "%s on %s, %dx%dx%d: three threads differ in tensor %zu at %zu", ops[_i].name,
                          list[k].name, s.samples, s.rows, s.width, at / n, at % n);
            free(got[0]);
            free(got[1]);
        }
        free(wanted);
        free(begin);
    }
    fdit_device_close(ref);
    fdit_context_free(ctx);
}
END_TEST

/* What the processor is called by what the system says of it. */
START_TEST(processor_names)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        { "processor\t: 0\nmodel\t\t: 106\nmodel name\t: Some CPU @ 2.60GHz\nmodel name\t: Other\n",
          "Some CPU @ 2.60GHz" },
        { "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n",
          "ARM Neoverse-N1" },
        { "CPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
          "ARM Cortex-A72" },
        { "CPU implementer\t: 0x61\nCPU part\t: 0x23\n", "ARM CPU, implementer 0x61, part 0x023" },
        { "processor\t: 0\n", "CPU" },
        { "", "CPU" },
    };
    fdit_context *ctx = fdit_context_new();
    char path[] = "/tmp/fdit-cpuinfo-XXXXXX", *name;
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        fputs(cases[i].text, f);
        fclose(f);
        ck_assert_ok(ctx, fdit_cpu_name(ctx, path, &name));
        ck_assert_str_eq(name, cases[i].name);
        fdit_free(name);
    }
    unlink(path);
    ck_assert_ok(ctx, fdit_cpu_name(ctx, path, &name));
    ck_assert_str_eq(name, "CPU");
    fdit_free(name);
    fdit_context_free(ctx);
}
END_TEST

/* An op that finds less workspace than it needs says so and touches nothing. */
START_TEST(short_workspace)
{
    fdit_context *ctx = fdit_context_new();
    fdit_device *dev = cpu_device(ctx, NULL, 1);
    const int rows = 64, width = 4096;
    float *host = host_memory((size_t)rows * (size_t)width);
    for (int i = 0; i < rows * width; i++)
        host[i] = 1;
    struct fdit_tensor dy = upload(ctx, dev, host, (size_t)rows * (size_t)width);
    struct fdit_tensor db = upload(ctx, dev, host, (size_t)width);
    const struct fdit_column_sum_args a = { .m = rows, .n = width, .db = db, .dy = dy };
    fdit_cpu_column_sum(dev, &a);
    ck_assert_int_eq(fdit_device_sync(ctx, dev), FDIT_ERROR_DEVICE);
    ck_assert_msg(strstr(fdit_context_message(ctx), "workspace"), "%s", fdit_context_message(ctx));
    fdit_device_clear_error(dev);
    ck_assert_ok(ctx, fdit_read(ctx, dev, db, host, (size_t)width));
    for (int i = 0; i < width; i++)
        ck_assert(host[i] == 1.0f);

    const struct fdit_op_shape shape = {
        .op = FDIT_OP_COLUMN_SUM, .samples = 1, .tokens = rows, .n_out = width
    };
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, &shape, 1)));
    fdit_cpu_column_sum(dev, &a);
    ck_assert_ok(ctx, fdit_read(ctx, dev, db, host, (size_t)width));
    for (int i = 0; i < width; i++)
        ck_assert(host[i] == (float)rows);
    fdit_buffer_free(dy.buffer);
    fdit_buffer_free(db.buffer);
    free(host);
    fdit_device_close(dev);
    fdit_context_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cpu ops");
    TCase *attention = tcase_create("attention"), *rest = tcase_create("others");
    tcase_add_test(attention, attention_sets);
    tcase_add_test(attention, attention_infinite_scores);
    tcase_add_test(attention, attention_nan);
    tcase_add_loop_test(rest, other_ops, 0, N_OPS);
    tcase_add_test(rest, short_workspace);
    tcase_add_test(rest, processor_names);
    suite_add_tcase(suite, attention);
    suite_add_tcase(suite, rest);
    return test_run(suite);
}
