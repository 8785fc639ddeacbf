/* SPDX-License-Identifier: Apache-2.0
 * workload_op.c: single ops: the three products of a linear layer, and attention. */
#include "bench/workload.h"

#include "core/mem.h"
#include "device/plan.h"

#include <math.h>
#include <stdio.h>

/* Streams of random numbers. */
enum { STREAM_X = 1, STREAM_W, STREAM_BIAS, STREAM_DY, STREAM_SIGNS };

enum { MOST_BUFFERS = 5 };

/* Buffers named before they are made, so that the plan is checked first. */
struct op_state {
    fdit_device *dev;
    struct fdit_bench_problem p;
    struct fdit_plan plan;
    fdit_buffer *buffers[MOST_BUFFERS];
    fdit_weight *weight;
};

static struct fdit_tensor tensor(const struct op_state *s, int i)
{
    return fdit_tensor_of(s->buffers[i], FDIT_F32);
}

static void close_op(void *state)
{
    struct op_state *s = state;
    if (!s)
        return;
    fdit_weight_free(s->weight);
    for (int i = 0; i < MOST_BUFFERS; i++)
        fdit_buffer_free(s->buffers[i]);
    fdit_plan_fini(&s->plan);
    fdit_free(s);
}

static enum fdit_status new_op(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                               struct op_state **out)
{
    enum fdit_status status = fdit_alloc(ctx, 1, sizeof **out, out);
    if (status == FDIT_OK) {
        (*out)->dev = dev;
        (*out)->p = *p;
    }
    return status;
}

static enum fdit_status plan_floats(fdit_context *ctx, struct op_state *s, int i, size_t n, const char *label)
{
    return fdit_plan_add(ctx, &s->plan, FDIT_PLAN_BATCH, &s->buffers[i], n * sizeof(float), "%s", label);
}

/* Workspace, the check against the device's memory, and the buffers. */
static enum fdit_status allocate_op(fdit_context *ctx, struct op_state *s, const struct fdit_op_shape *shapes,
                                    size_t n, size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    size_t work = fdit_device_workspace(s->dev, shapes, n);
    TRY(fdit_plan_add(ctx, &s->plan, FDIT_PLAN_WORKSPACE, NULL, work, "workspace of the op"));
    TRY(fdit_plan_check(ctx, &s->plan, s->dev, fdit_device_info(s->dev)->memory, "use a smaller problem"));
    TRY(fdit_plan_allocate(ctx, &s->plan, s->dev));
    TRY(fdit_device_reserve(ctx, s->dev, work));
    *plan_bytes = fdit_plan_device_bytes(&s->plan);
out:
    return status;
}

/* ------------------------------------------------------------------------------ linear family */

/* Buffers: x [m, k] or its gradient, y [m, n] or its gradient, bias [n], dw [n, k]. */
enum { LINEAR_X, LINEAR_Y, LINEAR_BIAS, LINEAR_DW };

static enum fdit_status open_linear(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                                    enum fdit_dtype storage, void **out, size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    struct op_state *s = NULL;
    float *w = NULL;
    size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k;
    const struct fdit_weight_desc desc = { .n_out = p->n, .n_in = p->k, .storage = storage, .need_dx = true };
    static const enum fdit_op ops[] = { FDIT_OP_LINEAR, FDIT_OP_LINEAR_DX, FDIT_OP_LINEAR_DW };
    const struct fdit_op_shape shape = { .op = ops[p->kind - FDIT_BENCH_LINEAR],
                                         .samples = p->batch,
                                         .tokens = p->m / p->batch,
                                         .n_in = p->k,
                                         .n_out = p->n };
    TRY(new_op(ctx, dev, p, &s));
    TRY(plan_floats(ctx, s, LINEAR_X, m * k, "x"));
    TRY(plan_floats(ctx, s, LINEAR_Y, m * n, "y"));
    TRY(plan_floats(ctx, s, LINEAR_BIAS, n, "bias"));
    if (p->kind == FDIT_BENCH_LINEAR_DW)
        TRY(plan_floats(ctx, s, LINEAR_DW, n * k, "dw"));
    else
        TRY(fdit_plan_add(ctx, &s->plan, FDIT_PLAN_WEIGHTS, NULL, fdit_weight_bytes(dev, &desc), "W"));
    TRY(allocate_op(ctx, s, &shape, 1, plan_bytes));
    fdit_bench_write(dev, tensor(s, LINEAR_X), STREAM_X, m * k, 1);
    fdit_bench_write(dev, tensor(s, LINEAR_Y), STREAM_DY, m * n, 1);
    fdit_bench_write(dev, tensor(s, LINEAR_BIAS), STREAM_BIAS, n, 1);
    if (p->kind != FDIT_BENCH_LINEAR_DW) {
        TRY(fdit_alloc(ctx, n * k, sizeof *w, &w));
        fdit_bench_numbers(STREAM_W, 0, n * k, 0, 1 / sqrt((double)k), w);
        TRY(fdit_weight_new(ctx, dev, &desc, w, &s->weight));
    }
    TRY(fdit_device_sync(ctx, dev));
    *out = s;
    s = NULL;
out:
    fdit_free(w);
    close_op(s);
    return status;
}

static enum fdit_status run_linear(fdit_context *ctx, void *state)
{
    struct op_state *s = state;
    int b = s->p.batch, rows = s->p.m / b, n_in = s->p.k, n_out = s->p.n;
    struct fdit_tensor x = tensor(s, LINEAR_X), y = tensor(s, LINEAR_Y);
    if (s->p.kind == FDIT_BENCH_LINEAR)
        fdit_linear(s->dev, &(struct fdit_linear_args){ .samples = b,
                                                        .tokens = rows,
                                                        .n_in = n_in,
                                                        .n_out = n_out,
                                                        .y = y,
                                                        .x = x,
                                                        .weight = s->weight,
                                                        .bias = tensor(s, LINEAR_BIAS) });
    else if (s->p.kind == FDIT_BENCH_LINEAR_DX)
        fdit_linear_dx(s->dev, &(struct fdit_linear_dx_args){ .samples = b,
                                                              .tokens = rows,
                                                              .n_in = n_in,
                                                              .n_out = n_out,
                                                              .dx = x,
                                                              .dy = y,
                                                              .weight = s->weight });
    else
        fdit_linear_dw(s->dev, &(struct fdit_linear_dw_args){ .samples = b,
                                                              .tokens = rows,
                                                              .n_in = n_in,
                                                              .n_out = n_out,
                                                              .x = x,
                                                              .dy = y,
                                                              .dw = tensor(s, LINEAR_DW) });
    return fdit_device_status(ctx, s->dev);
}

/* The product G = A B is compared through a vector v of signs, G v = A (B v), which costs three
 * passes over the matrices instead of the product, and misses no row. In double. */

/* to [rows] = a [rows, columns] v, or (turned) to [columns] = v a. */
static void times_vector(const float *a, size_t rows, size_t columns, const double *v, bool turned,
                         double *to)
{
    for (size_t j = 0; turned && j < columns; j++)
        to[j] = 0;
    for (size_t i = 0; i < rows; i++) {
        const float *row = a + i * columns;
        double sum = 0;
        for (size_t j = 0; j < columns; j++) {
            if (turned)
                to[j] += v[i] * (double)row[j];
            else
                sum += v[j] * (double)row[j];
        }
        if (!turned)
            to[i] = sum;
    }
}

/* Largest difference over the root of the mean square of what it should be. */
static double vector_error(const double *got, const double *want, size_t n)
{
    double worst = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(got[i] - want[i]);
        if (!isfinite(d))
            return INFINITY;
        worst = d > worst ? d : worst;
        squares += want[i] * want[i];
    }
    return squares > 0 ? worst / sqrt(squares / (double)n) : worst;
}

/* want[m] += v[n] . bias; `numbers` has room for n. */
static void add_bias(const double *v, size_t n, double *want, size_t m, float *numbers)
{
    double bias = 0;
    fdit_bench_numbers(STREAM_BIAS, 0, n, 0, 1, numbers);
    for (size_t i = 0; i < n; i++)
        bias += v[i] * (double)numbers[i];
    for (size_t i = 0; i < m; i++)
        want[i] += bias;
}

static enum fdit_status verify_linear(fdit_context *ctx, fdit_device *dev, fdit_device *reference,
                                      const struct fdit_bench_problem *p, enum fdit_dtype storage,
                                      struct fdit_bench_check *check)
{
    enum fdit_status status = FDIT_OK;
    /* G [rows, columns] = A [rows, inner] B [inner, columns], where A, B may be stored turned:
     * y = x W^T, dx = dy W, dw = dy^T x. */
    bool dx = p->kind == FDIT_BENCH_LINEAR_DX, dw = p->kind == FDIT_BENCH_LINEAR_DW;
    size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k, most, ignored;
    size_t rows = dw ? n : m, columns = dx || dw ? k : n, inner = dw ? m : dx ? n : k;
    void *state = NULL;
    float *got = NULL, *matrix = NULL, sign;
    double *v = NULL, *g = NULL, *half = NULL, *want = NULL;
    TRY(open_linear(ctx, dev, p, storage, &state, &ignored));
    struct op_state *s = state;
    TRY(run_linear(ctx, s));
    most = rows > columns ? rows : columns;
    most = most > inner ? most : inner;
    TRY(fdit_alloc(ctx, rows * columns, sizeof *got, &got));
    TRY(fdit_alloc(ctx, m * (n > k ? n : k) + n * k, sizeof *matrix, &matrix));
    TRY(fdit_alloc(ctx, most, sizeof *v, &v));
    TRY(fdit_alloc(ctx, most, sizeof *g, &g));
    TRY(fdit_alloc(ctx, most, sizeof *half, &half));
    TRY(fdit_alloc(ctx, most, sizeof *want, &want));
    TRY(fdit_read(ctx, dev, tensor(s, dw ? LINEAR_DW : dx ? LINEAR_X : LINEAR_Y), got, rows * columns));
    for (size_t i = 0; i < columns; i++) {
        fdit_bench_numbers(STREAM_SIGNS, i, 1, 0, 1, &sign);
        v[i] = sign > 0 ? 1 : -1;
    }
    times_vector(got, rows, columns, v, false, g);
    if (dw) { /* x v, then dy^T of it */
        fdit_bench_numbers(STREAM_X, 0, m * k, 0, 1, matrix);
        times_vector(matrix, m, k, v, false, half);
        fdit_bench_numbers(STREAM_DY, 0, m * n, 0, 1, matrix);
        times_vector(matrix, m, n, half, true, want);
    } else { /* W^T v or W v, then x or dy of it */
        fdit_bench_numbers(STREAM_W, 0, n * k, 0, 1 / sqrt((double)k), matrix);
        times_vector(matrix, n, k, v, !dx, half);
        fdit_bench_numbers(dx ? STREAM_DY : STREAM_X, 0, m * inner, 0, 1, matrix);
        times_vector(matrix, m, inner, half, false, want);
    }
    if (p->kind == FDIT_BENCH_LINEAR)
        add_bias(v, n, want, m, matrix);
    fdit_bench_note_error(check, dw ? "dw" : dx ? "dx" : "y", vector_error(g, want, rows));
    snprintf(check->on, sizeof check->on, "all, by random projection");
    (void)reference;
out:
    fdit_free(got);
    fdit_free(matrix);
    fdit_free(v);
    fdit_free(g);
    fdit_free(half);
    fdit_free(want);
    close_op(state);
    return status;
}

const struct fdit_bench_workload fdit_bench_linear = {
    .open = open_linear,
    .run = run_linear,
    .close = close_op,
    .verify = verify_linear,
};

/* ---------------------------------------------------------------------------------- attention */

enum { ATT_QKV, ATT_OUT, ATT_LSE, ATT_DOUT, ATT_DQKV };
/* Tokens and heads that the reference is given: 4 N^2 dh a head forward, twice that backward. */
enum { CHECK_TOKENS = 1024, CHECK_HEADS = 2 };

static void forward_attention(struct op_state *s)
{
    fdit_attention(s->dev, &(struct fdit_attention_args){ .samples = s->p.batch,
                                                          .tokens = s->p.tokens,
                                                          .heads = s->p.heads,
                                                          .head_size = s->p.head_size,
                                                          .out = tensor(s, ATT_OUT),
                                                          .lse = tensor(s, ATT_LSE),
                                                          .qkv = tensor(s, ATT_QKV) });
}

static void backward_attention(struct op_state *s)
{
    fdit_attention_backward(s->dev, &(struct fdit_attention_backward_args){ .samples = s->p.batch,
                                                                            .tokens = s->p.tokens,
                                                                            .heads = s->p.heads,
                                                                            .head_size = s->p.head_size,
                                                                            .dqkv = tensor(s, ATT_DQKV),
                                                                            .dout = tensor(s, ATT_DOUT),
                                                                            .qkv = tensor(s, ATT_QKV),
                                                                            .out = tensor(s, ATT_OUT),
                                                                            .lse = tensor(s, ATT_LSE) });
}

/* Buffers and workspace without contents. */
static enum fdit_status make_attention(fdit_context *ctx, fdit_device *dev,
                                       const struct fdit_bench_problem *p, struct op_state **out,
                                       size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    struct op_state *s = NULL;
    bool back = p->kind == FDIT_BENCH_ATTENTION_BACKWARD;
    size_t heads = (size_t)p->batch * (size_t)p->heads, lse = heads * (size_t)p->tokens;
    size_t n = lse * (size_t)p->head_size;
    struct fdit_op_shape shapes[2] = { { .op = FDIT_OP_ATTENTION,
                                         .samples = p->batch,
                                         .tokens = p->tokens,
                                         .heads = p->heads,
                                         .head_size = p->head_size } };
    shapes[1] = shapes[0];
    shapes[1].op = FDIT_OP_ATTENTION_BACKWARD;
    TRY(new_op(ctx, dev, p, &s));
    TRY(plan_floats(ctx, s, ATT_QKV, 3 * n, "qkv"));
    TRY(plan_floats(ctx, s, ATT_OUT, n, "out"));
    TRY(plan_floats(ctx, s, ATT_LSE, lse, "lse"));
    if (back) {
        TRY(plan_floats(ctx, s, ATT_DOUT, n, "dout"));
        TRY(plan_floats(ctx, s, ATT_DQKV, 3 * n, "dqkv"));
    }
    TRY(allocate_op(ctx, s, shapes, back ? 2 : 1, plan_bytes));
    *out = s;
    return FDIT_OK;
out:
    close_op(s);
    return status;
}

static enum fdit_status open_attention(fdit_context *ctx, fdit_device *dev,
                                       const struct fdit_bench_problem *p, enum fdit_dtype storage,
                                       void **out, size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    struct op_state *s = NULL;
    size_t n = (size_t)p->batch * (size_t)p->tokens * (size_t)p->heads * (size_t)p->head_size;
    (void)storage;
    TRY(make_attention(ctx, dev, p, &s, plan_bytes));
    fdit_bench_write(dev, tensor(s, ATT_QKV), STREAM_X, 3 * n, 1);
    if (p->kind == FDIT_BENCH_ATTENTION_BACKWARD) {
        fdit_bench_write(dev, tensor(s, ATT_DOUT), STREAM_DY, n, 1);
        forward_attention(s);
    }
    TRY(fdit_device_sync(ctx, dev));
    *out = s;
    return FDIT_OK;
out:
    close_op(s);
    return status;
}

static enum fdit_status run_attention(fdit_context *ctx, void *state)
{
    struct op_state *s = state;
    if (s->p.kind == FDIT_BENCH_ATTENTION)
        forward_attention(s);
    else
        backward_attention(s);
    return fdit_device_status(ctx, s->dev);
}

/* The first and the last head of `parts` x [rows][heads][size] rows, next to each other. */
static void pick_heads(float *to, const float *from, size_t rows, int heads, int head_size, int picked)
{
    for (size_t r = 0; r < rows; r++)
        for (int h = 0; h < picked; h++) {
            int source = h ? heads - 1 : 0;
            for (int i = 0; i < head_size; i++)
                *to++ = from[(r * (size_t)heads + (size_t)source) * (size_t)head_size + (size_t)i];
        }
}

/* The last sample, and of it the first and the last head, against the reference. */
static enum fdit_status verify_attention(fdit_context *ctx, fdit_device *dev, fdit_device *reference,
                                         const struct fdit_bench_problem *whole, enum fdit_dtype storage,
                                         struct fdit_bench_check *check)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_bench_problem p = *whole, small;
    bool back = p.kind == FDIT_BENCH_ATTENTION_BACKWARD;
    struct op_state *ref = NULL;
    void *state = NULL;
    float *all = NULL, *part = NULL, *want = NULL;
    size_t ignored;
    p.tokens = p.tokens < CHECK_TOKENS ? p.tokens : CHECK_TOKENS;
    small = p;
    small.batch = 1;
    small.heads = p.heads < CHECK_HEADS ? p.heads : CHECK_HEADS;
    size_t tokens = (size_t)p.tokens, row = (size_t)p.heads * (size_t)p.head_size;
    size_t n = tokens * row, last = (size_t)(p.batch - 1) * n;
    size_t few = tokens * (size_t)small.heads * (size_t)small.head_size;
    TRY(open_attention(ctx, dev, &p, storage, &state, &ignored));
    struct op_state *s = state;
    TRY(run_attention(ctx, s));
    TRY(make_attention(ctx, reference, &small, &ref, &ignored));
    TRY(fdit_alloc(ctx, 3 * n, sizeof *all, &all));
    TRY(fdit_alloc(ctx, 3 * few, sizeof *part, &part));
    TRY(fdit_alloc(ctx, 3 * few, sizeof *want, &want));
    fdit_bench_numbers(STREAM_X, 3 * last, 3 * n, 0, 1, all);
    pick_heads(part, all, 3 * tokens, p.heads, p.head_size, small.heads);
    fdit_write(reference, tensor(ref, ATT_QKV), part, 3 * few);
    forward_attention(ref);
    if (back) {
        fdit_bench_numbers(STREAM_DY, last, n, 0, 1, all);
        pick_heads(part, all, tokens, p.heads, p.head_size, small.heads);
        fdit_write(reference, tensor(ref, ATT_DOUT), part, few);
        backward_attention(ref);
    }
    TRY(fdit_read(ctx, reference, tensor(ref, ATT_OUT), want, few));
    TRY(fdit_read(ctx, dev, fdit_at(tensor(s, ATT_OUT), last), all, n));
    pick_heads(part, all, tokens, p.heads, p.head_size, small.heads);
    fdit_bench_compare(check, "out", part, want, few);
    if (back) {
        TRY(fdit_read(ctx, reference, tensor(ref, ATT_DQKV), want, 3 * few));
        TRY(fdit_read(ctx, dev, fdit_at(tensor(s, ATT_DQKV), 3 * last), all, 3 * n));
        pick_heads(part, all, 3 * tokens, p.heads, p.head_size, small.heads);
        fdit_bench_compare(check, "dqkv", part, want, 3 * few);
    }
    snprintf(check->on, sizeof check->on, "%d of %d heads of the last sample, %d tokens", small.heads,
             p.heads, p.tokens);
out:
    close_op(ref);
    close_op(state);
    fdit_free(all);
    fdit_free(part);
    fdit_free(want);
    return status;
}

const struct fdit_bench_workload fdit_bench_attention = {
    .open = open_attention,
    .run = run_attention,
    .close = close_op,
    .verify = verify_attention,
};
