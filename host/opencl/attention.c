/* SPDX-License-Identifier: Apache-2.0
 * attention.c: calls of cl/attention.cl; on processors of cl/attention_registers.cl, where the head size is
 * whole vectors; in 16 bits of cl/attention_matrix.cl, where a matrix unit passed its trial of it. All are
 * built for the head size itself. */
#include "gemm.h"
#include "matrix.h"

#include <math.h>
#include <stdio.h>

enum { HEAD_MAX = 128, TILE_COLUMNS = 16, DELTA_ROWS = 32, DELTA_ITEMS = 8 };

/* Floats of a vector; 0: attention.cl runs. */
static int vector_for(const struct opencl *cl, int head_size)
{
    if (!cl->is_cpu || cl->no_registers)
        return 0;
    for (int vw = cl->vector_floats >= 16 ? 16 : 8; vw >= 4; vw /= 2)
        if (head_size % vw == 0 && head_size / vw <= 16)
            return vw;
    return 0;
}

/* A kernel of attention_registers.cl, whose build has that of the forward pass or the others. */
static struct launch begin_registers(fdit_device *dev, int head_size, const char *kernel, bool forward)
{
    char options[160];
    int vw = vector_for(opencl_of(dev), head_size), dv = head_size / vw;
    snprintf(options, sizeof options, "-DDH=%d -DVW=%d -DIM=%d -DIM_KEYS=%d%s", head_size, vw,
             dv <= 5 ? 4 : 2, dv <= 5 ? 2 : 1, forward ? " -DFORWARD" : "");
    return fdit_launch_variant(dev, fdit_opencl_variant(dev, "attention_registers.cl", kernel, options),
                               kernel);
}

/* A kernel of attention.cl for `tall` groups, of 64 rows, or of 32. */
static struct launch begin_tiles(fdit_device *dev, int head_size, bool tall, bool aligned, const char *kernel,
                                 const char *which)
{
    char options[200];
    if (head_size > HEAD_MAX)
        fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED, "head size %d: at most %d", head_size, HEAD_MAX);
    snprintf(options, sizeof options, "-D%s -DHEAD=%d -DBY=%d -DUNROLL=%d%s", which, head_size, tall ? 16 : 8,
             opencl_of(dev)->quirks.unroll, aligned ? " -DALIGNED" : "");
    return fdit_launch_variant(dev, fdit_opencl_variant(dev, "attention.cl", kernel, options), kernel);
}

/* Groups of 64 rows reuse more; of 32 there are twice as many. */
static bool tall_groups(const struct opencl *cl, int samples, int rows, int heads)
{
    long long groups = (long long)samples * heads * ((rows + 63) / 64);
    return groups >= 2 * (long long)cl->compute_units;
}

/* What computes attention of an op on a matrix unit; unit NULL: something else does. Gradients have bf16's
 * range and not f16's. */
struct matrix_attention {
    const struct gemm_config *unit;
    struct matrix_heads group;
    enum fdit_dtype operands;
};

static struct matrix_attention matrix_for(const fdit_device *dev, int head_size, bool backward)
{
    const struct opencl *cl = opencl_of(dev);
    const enum fdit_dtype p = dev->precision;
    struct matrix_attention m = { .operands = (backward && p == FDIT_F16) || p == FDIT_I8 ? FDIT_BF16 : p };
    if (m.operands != FDIT_BF16 && m.operands != FDIT_F16)
        return m;
    const struct unit_choice *u = &cl->units[opencl_unit_place(m.operands)];
    if (cl->gemm_forced.engine == GEMM_MATRIX)
        m.unit = &cl->gemm_forced;
    else if (u->config.engine == GEMM_MATRIX && u->attention)
        m.unit = &u->config;
    if (m.unit && !fdit_matrix_heads(m.unit, head_size, cl->local_bytes, &m.group))
        m.unit = NULL;
    return m;
}

/* A kernel of attention_matrix.cl. */
static struct launch begin_matrix(fdit_device *dev, const struct matrix_attention *m, int head_size,
                                  bool aligned, const char *kernel, const char *which)
{
    char options[200], group[120];
    fdit_matrix_heads_options(m->unit, &m->group, head_size, group);
    snprintf(options, sizeof options, "-D%s %s%s%s", which, group, m->operands == FDIT_F16 ? " -DF16" : "",
             aligned ? " -DALIGNED" : "");
    return fdit_launch_variant(dev, fdit_opencl_variant(dev, "attention_matrix.cl", kernel, options), kernel);
}

static const char *const matrix_backward[2][2] = { { "attention_dq_matrix", "DQ" },
                                                   { "attention_dkv_matrix", "DKV" } };

/* For --verbose, once a shape. */
static void say_matrix(struct opencl *cl, const struct fdit_op_shape *shape, const struct matrix_attention *m,
                       bool backward)
{
    const int said[] = { GEMM_KINDS + backward, shape->tokens, shape->heads, shape->head_size };
    if (fdit_gemm_unsaid(cl, said))
        fdit_log(cl->ctx, FDIT_LOG_INFO, "%s: attention%s, %d tokens, %d heads of %d by matrix %s%s",
                 cl->label, backward ? " backward" : "", shape->tokens, shape->heads, shape->head_size,
                 m->unit->emulated ? "emulated-" : "", m->unit->unit->name);
}

void fdit_opencl_attention_programs(fdit_device *dev, const struct fdit_op_shape *shape, bool backward)
{
    int head_size = shape->head_size;
    const struct matrix_attention m = matrix_for(dev, head_size, backward);
    if (m.unit) {
        const bool fours = head_size % 4 == 0;
        say_matrix(opencl_of(dev), shape, &m, backward);
        if (!backward) {
            begin_matrix(dev, &m, head_size, fours, "attention_matrix", "FORWARD");
            return;
        }
        begin_tiles(dev, head_size, true, false, "attention_delta", "DELTA");
        for (int k = 0; k < 2; k++)
            begin_matrix(dev, &m, head_size, fours, matrix_backward[k][0], matrix_backward[k][1]);
        return;
    }
    if (vector_for(opencl_of(dev), head_size)) {
        begin_registers(dev, head_size, "attention_transpose", false);
        begin_registers(dev, head_size, backward ? "attention_dq" : "attention", !backward);
        if (backward)
            begin_registers(dev, head_size, "attention_dkv", false);
        return;
    }
    bool tall = tall_groups(opencl_of(dev), shape->samples, shape->tokens, shape->heads),
         aligned = head_size % 4 == 0;
    if (!backward) {
        begin_tiles(dev, head_size, tall, aligned, "attention", "FORWARD");
        return;
    }
    begin_tiles(dev, head_size, tall, false, "attention_delta", "DELTA");
    begin_tiles(dev, head_size, tall, aligned, "attention_dq", "DQ");
    begin_tiles(dev, head_size, tall, aligned, "attention_dkv", "DKV");
}

size_t fdit_opencl_attention_floats(const fdit_device *dev, const struct fdit_op_shape *shape)
{
    const struct opencl *cl = opencl_of(dev);
    bool backward = shape->op == FDIT_OP_ATTENTION_BACKWARD;
    if (shape->samples < 1 || shape->tokens < 1 || shape->heads < 1 || shape->head_size < 1)
        return 0;
    size_t heads = (size_t)shape->samples * (size_t)shape->heads, ld = (size_t)gemm_ld(cl, shape->tokens);
    size_t copy = heads * (size_t)shape->head_size * ld;
    if (!vector_for(cl, shape->head_size) || matrix_for(dev, shape->head_size, backward).unit)
        return backward ? heads * (size_t)shape->tokens : 0;
    return backward ? 4 * copy + heads * ld : copy;
}

/* ------------------------------------------------------------------------------- in registers */

struct heads {
    int samples, rows, heads, head_size, ld;
    size_t part; /* floats of one transposed copy */
};

static struct heads heads_of(const struct opencl *cl, int samples, int rows, int heads, int head_size)
{
    struct heads s = { samples, rows, heads, head_size, gemm_ld(cl, rows), 0 };
    s.part = (size_t)samples * (size_t)heads * (size_t)head_size * (size_t)s.ld;
    return s;
}

/* `parts` parts of rows of `stride` floats to the workspace, part `to` and the following. */
static void transpose(fdit_device *dev, const struct heads *s, struct fdit_tensor from, int to, int parts,
                      int stride)
{
    struct opencl *cl = opencl_of(dev);
    int vw = vector_for(cl, s->head_size);
    struct launch l = begin_registers(dev, s->head_size, "attention_transpose", false);
    fdit_launch_memory(&l, cl->workspace, (size_t)to * s->part);
    fdit_launch_tensor(&l, from);
    fdit_launch_int(&l, s->rows);
    fdit_launch_int(&l, s->heads);
    fdit_launch_int(&l, s->ld);
    fdit_launch_int(&l, stride);
    fdit_launch_int(&l, s->heads * s->head_size);
    fdit_launch_run(&l, 3,
                    (size_t[]){ (size_t)(s->ld / vw), (size_t)s->samples * (size_t)s->heads, (size_t)parts },
                    (size_t[]){ 1, 1, 1 });
}

static void run_rows(struct launch *l, const struct heads *s, int rows_an_item)
{
    fdit_launch_run(l, 3,
                    (size_t[]){ ((size_t)s->rows + (size_t)rows_an_item - 1) / (size_t)rows_an_item,
                                (size_t)s->heads, (size_t)s->samples },
                    (size_t[]){ 1, 1, 1 });
}

static int rows_an_item(const struct opencl *cl, int head_size)
{
    return head_size / vector_for(cl, head_size) <= 5 ? 4 : 2;
}

static void attention_in_registers(fdit_device *dev, const struct fdit_attention_args *a)
{
    struct opencl *cl = opencl_of(dev);
    struct heads s = heads_of(cl, a->samples, a->tokens, a->heads, a->head_size);
    int width = a->heads * a->head_size;
    transpose(dev, &s, fdit_at(a->qkv, (size_t)width), 0, 1, 3 * width);
    struct launch l = begin_registers(dev, a->head_size, "attention", true);
    fdit_launch_tensor(&l, a->out);
    fdit_launch_tensor(&l, a->lse);
    fdit_launch_tensor(&l, a->qkv);
    fdit_launch_memory(&l, cl->workspace, 0);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->heads);
    fdit_launch_int(&l, s.ld);
    fdit_launch_float(&l, (float)(1 / sqrt((double)a->head_size)));
    fdit_launch_int(&l, fdit_has(a->lse));
    run_rows(&l, &s, rows_an_item(cl, a->head_size));
}

/* The last arguments of both backward kernels. delta lies in the workspace behind q, k, v and dout,
 * transposed. */
static void launch_backward(struct launch *l, const struct fdit_attention_backward_args *a,
                            const struct heads *s)
{
    cl_mem workspace = opencl_of(l->dev)->workspace;
    fdit_launch_tensor(l, a->qkv);
    fdit_launch_tensor(l, a->lse);
    fdit_launch_memory(l, workspace, 4 * s->part);
    fdit_launch_memory(l, workspace, 0);
    fdit_launch_size(l, s->part);
    fdit_launch_int(l, a->tokens);
    fdit_launch_int(l, a->heads);
    fdit_launch_int(l, s->ld);
    fdit_launch_int(l, s->ld);
    fdit_launch_float(l, (float)(1 / sqrt((double)a->head_size)));
}

static void backward_in_registers(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    struct opencl *cl = opencl_of(dev);
    struct heads s = heads_of(cl, a->samples, a->tokens, a->heads, a->head_size);
    int width = a->heads * a->head_size;
    transpose(dev, &s, a->qkv, 0, 3, 3 * width);
    transpose(dev, &s, a->dout, 3, 1, width);
    struct launch l = begin_registers(dev, a->head_size, "attention_dq", false);
    fdit_launch_tensor(&l, a->dqkv);
    fdit_launch_tensor(&l, a->dout);
    fdit_launch_tensor(&l, a->out);
    launch_backward(&l, a, &s);
    run_rows(&l, &s, rows_an_item(cl, a->head_size));
    l = begin_registers(dev, a->head_size, "attention_dkv", false);
    fdit_launch_tensor(&l, a->dqkv);
    fdit_launch_tensor(&l, a->dout);
    launch_backward(&l, a, &s);
    run_rows(&l, &s, rows_an_item(cl, a->head_size) / 2);
}

/* ---------------------------------------------------------------------------- in local memory */

static bool fours(struct fdit_tensor t)
{
    return t.offset % 4 == 0;
}

static void run_tiles(struct launch *l, bool tall, int samples, int rows, int heads)
{
    size_t by = tall ? 16 : 8, groups = ((size_t)rows + 4 * by - 1) / (4 * by);
    fdit_launch_run(l, 3, (size_t[]){ groups * TILE_COLUMNS, (size_t)heads * by, (size_t)samples },
                    (size_t[]){ TILE_COLUMNS, by, 1 });
}

static void run_matrix(struct launch *l, const struct matrix_attention *m, int samples, int rows, int heads)
{
    size_t groups = ((size_t)rows + (size_t)m->group.rows - 1) / (size_t)m->group.rows;
    fdit_launch_run(l, 3, (size_t[]){ groups * (size_t)m->group.items, (size_t)heads, (size_t)samples },
                    (size_t[]){ (size_t)m->group.items, 1, 1 });
}

/* The arguments of attention and attention_matrix. */
static void launch_forward(struct launch *l, const struct fdit_attention_args *a)
{
    fdit_launch_tensor(l, a->out);
    fdit_launch_tensor(l, a->lse);
    fdit_launch_tensor(l, a->qkv);
    fdit_launch_int(l, a->tokens);
    fdit_launch_int(l, a->heads);
    fdit_launch_float(l, (float)(1 / sqrt((double)a->head_size)));
    fdit_launch_int(l, fdit_has(a->lse));
}

void fdit_opencl_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    const bool aligned = a->head_size % 4 == 0 && fours(a->qkv);
    const struct matrix_attention m = matrix_for(dev, a->head_size, false);
    if (m.unit) {
        struct launch l = begin_matrix(dev, &m, a->head_size, aligned, "attention_matrix", "FORWARD");
        launch_forward(&l, a);
        run_matrix(&l, &m, a->samples, a->tokens, a->heads);
        return;
    }
    if (vector_for(opencl_of(dev), a->head_size)) {
        attention_in_registers(dev, a);
        return;
    }
    bool tall = tall_groups(opencl_of(dev), a->samples, a->tokens, a->heads);
    struct launch l = begin_tiles(dev, a->head_size, tall, aligned, "attention", "FORWARD");
    launch_forward(&l, a);
    run_tiles(&l, tall, a->samples, a->tokens, a->heads);
}

static void launch_delta(fdit_device *dev, const struct fdit_attention_backward_args *a, bool tall)
{
    struct launch l = begin_tiles(dev, a->head_size, tall, false, "attention_delta", "DELTA");
    fdit_launch_memory(&l, opencl_of(dev)->workspace, 0);
    fdit_launch_tensor(&l, a->dout);
    fdit_launch_tensor(&l, a->out);
    fdit_launch_int(&l, a->tokens);
    fdit_launch_int(&l, a->heads);
    fdit_launch_run(&l, 3,
                    (size_t[]){ ((size_t)a->tokens + DELTA_ROWS - 1) / DELTA_ROWS * DELTA_ITEMS,
                                (size_t)a->heads * DELTA_ROWS, (size_t)a->samples },
                    (size_t[]){ DELTA_ITEMS, DELTA_ROWS, 1 });
}

void fdit_opencl_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    static const char *const kernels[2][2] = { { "attention_dq", "DQ" }, { "attention_dkv", "DKV" } };
    const struct matrix_attention m = matrix_for(dev, a->head_size, true);
    if (!m.unit && vector_for(opencl_of(dev), a->head_size)) {
        backward_in_registers(dev, a);
        return;
    }
    bool tall = m.unit || tall_groups(opencl_of(dev), a->samples, a->tokens, a->heads);
    bool aligned = a->head_size % 4 == 0 && fours(a->qkv) && fours(a->dout);
    launch_delta(dev, a, tall);
    for (int k = 0; k < 2; k++) {
        const char *const *names = m.unit ? matrix_backward[k] : kernels[k];
        struct launch l = m.unit ? begin_matrix(dev, &m, a->head_size, aligned, names[0], names[1])
                                 : begin_tiles(dev, a->head_size, tall, aligned, names[0], names[1]);
        fdit_launch_tensor(&l, a->dqkv);
        fdit_launch_tensor(&l, a->dout);
        fdit_launch_tensor(&l, a->qkv);
        fdit_launch_tensor(&l, a->lse);
        fdit_launch_memory(&l, opencl_of(dev)->workspace, 0);
        fdit_launch_int(&l, a->tokens);
        fdit_launch_int(&l, a->heads);
        fdit_launch_float(&l, (float)(1 / sqrt((double)a->head_size)));
        if (m.unit)
            run_matrix(&l, &m, a->samples, a->tokens, a->heads);
        else
            run_tiles(&l, tall, a->samples, a->tokens, a->heads);
    }
}
