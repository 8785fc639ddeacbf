/* SPDX-License-Identifier: Apache-2.0
 * linear.c: linear, linear_dx and linear_dw as products, and frozen weights.
 *
 * With our own GEMM a frozen weight is kept as packed panels that serve both directions; a
 * library's GEMM gets it as it is, if it is kept as f32. Where products are of bf16 a weight that
 * was asked for as f32 is kept as bf16 too: the products would round it to the same numbers. The same with
 * int8, where the products of large weights are. Rows that stand for whole samples (one token a sample:
 * conditioning vectors) always go through our own kernels: libraries choose another algorithm for a handful
 * of rows than for many. */
#include "cpu/linear.h"

#include "core/mem.h"
#include "cpu/gemm.h"
#include "cpu/ops.h"

#include <string.h>

struct fdit_cpu_weight {
    enum fdit_dtype type; /* of data */
    int n_out, n_in;
    bool packed;  /* panels of nr rows (gemm_kernels.h), else [n_out][n_in] */
    float *scale; /* int8: behind the panels, [n_out, rounded up to nr] */
    void *data;
};

/* ------------------------------------------------------------------------------------- weights */

bool fdit_cpu_fuses_low(const fdit_device *dev)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    return cpu->provider == FDIT_GEMM_OWN && !cpu->gemm_int8;
}

bool fdit_cpu_supports_storage(const fdit_device *dev, enum fdit_dtype storage)
{
    (void)dev;
    return storage == FDIT_F32 || storage == FDIT_BF16 || storage == FDIT_I8;
}

/* Below so many inputs or outputs int8 products save nothing. */
enum { INT8_SIZE = 64 };

/* A convolution in groups has no product: its weight stays in f32, [n_in][n_out]. */
static bool is_grouped(const struct fdit_weight_desc *desc)
{
    return desc->conv && desc->groups > 1;
}

static enum fdit_dtype type_of(const struct fdit_cpu *cpu, const struct fdit_weight_desc *desc)
{
    if (is_grouped(desc))
        return FDIT_F32;
    if (desc->storage != FDIT_F32)
        return desc->storage;
    bool int8 =
        cpu->gemm_int8 && !desc->conv && !desc->exact && desc->n_in >= INT8_SIZE && desc->n_out >= INT8_SIZE;
    return int8 ? FDIT_I8 : cpu->gemm->precision;
}

/* Our own kernels alone collect the patches of a convolution. */
static bool weight_is_packed(const struct fdit_cpu *cpu, enum fdit_dtype type,
                             const struct fdit_weight_desc *desc)
{
    return !is_grouped(desc) && (cpu->provider == FDIT_GEMM_OWN || type != FDIT_F32 || desc->conv);
}

static size_t panels_of(const struct fdit_cpu *cpu, int n_out)
{
    size_t nr = (size_t)cpu->gemm->nr;
    return ((size_t)n_out + nr - 1) / nr;
}

size_t fdit_cpu_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    enum fdit_dtype type = type_of(cpu, desc);
    if (!weight_is_packed(cpu, type, desc))
        return (size_t)desc->n_out * (size_t)desc->n_in * sizeof(float);
    size_t scales = type == FDIT_I8 ? (size_t)cpu->gemm->nr * sizeof(float) : 0;
    return panels_of(cpu, desc->n_out) * (cpu->gemm->panel_bytes(type, desc->n_in) + scales);
}

struct packing {
    const struct fdit_cpu_weight *w;
    const float *from;
};

static void pack_panels(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct packing *all = job;
    const struct fdit_cpu_weight *w = all->w;
    const size_t nr = (size_t)cpu->gemm->nr, n_in = (size_t)w->n_in, n_out = (size_t)w->n_out;
    const size_t each = cpu->gemm->panel_bytes(w->type, w->n_in);
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        size_t lanes = n_out - p * nr < nr ? n_out - p * nr : nr;
        cpu->gemm->pack_as(w->type, (char *)w->data + p * each, w->scale ? w->scale + p * nr : NULL,
                           all->from + p * nr * n_in, n_in, (int)lanes, w->n_in);
    }
}

enum fdit_status fdit_cpu_weight_new(fdit_context *ctx, fdit_device *dev, const struct fdit_weight_desc *desc,
                                     const float *data, void **handle)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    struct fdit_cpu_weight *w = NULL;
    if (!fdit_cpu_supports_storage(dev, desc->storage))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "weight of %d x %d: the CPU device keeps weights as f32, bf16 or int8, not %s", desc->n_out,
             desc->n_in, fdit_dtype_name(desc->storage));
    TRY(fdit_alloc(ctx, 1, sizeof *w, &w));
    w->type = type_of(cpu, desc);
    w->n_out = desc->n_out;
    w->n_in = desc->n_in;
    w->packed = weight_is_packed(cpu, w->type, desc);
    TRY(fdit_alloc_pages(ctx, fdit_cpu_weight_bytes(dev, desc), 1, &w->data));
    char *to = w->data;
    if (w->packed) {
        const size_t panels = panels_of(cpu, w->n_out);
        const struct packing all = { .w = w, .from = data };
        if (w->type == FDIT_I8)
            w->scale = (float *)(void *)(to + panels * cpu->gemm->panel_bytes(w->type, w->n_in));
        fdit_cpu_range(cpu, panels, (size_t)w->n_out * (size_t)w->n_in, pack_panels, &all);
    } else if (is_grouped(desc)) {
        const size_t n_in = (size_t)w->n_in, n_out = (size_t)w->n_out;
        for (size_t i = 0; i < n_in * n_out; i++)
            ((float *)w->data)[i] = data[i % n_out * n_in + i / n_out];
    } else {
        memcpy(to, data, fdit_cpu_weight_bytes(dev, desc));
    }
    *handle = w;
    return FDIT_OK;
out:
    fdit_cpu_weight_free(dev, w);
    return status;
}

void fdit_cpu_weight_free(fdit_device *dev, void *handle)
{
    struct fdit_cpu_weight *w = handle;
    (void)dev;
    if (!w)
        return;
    fdit_free(w->data);
    fdit_free(w);
}

void fdit_cpu_conv_panels(const fdit_weight *weight, struct fdit_gemm *g)
{
    const struct fdit_cpu_weight *w = weight->handle;
    g->form = FDIT_B_PANELS;
    g->b = w->data;
    g->b_type = w->type;
    g->b_scale = w->scale;
}

const float *fdit_cpu_conv_groups(const fdit_weight *weight)
{
    return ((const struct fdit_cpu_weight *)weight->handle)->data;
}

/* ------------------------------------------------------------------------------------ the three */

enum fdit_gemm_act fdit_cpu_gemm_act(enum fdit_act act)
{
    return act == FDIT_ACT_GELU_TANH  ? FDIT_GEMM_GELU
           : act == FDIT_ACT_SILU     ? FDIT_GEMM_SILU
           : act == FDIT_ACT_RELU     ? FDIT_GEMM_RELU
           : act == FDIT_ACT_GELU_ERF ? FDIT_GEMM_GELU_ERF
                                      : FDIT_GEMM_NO_ACT;
}

/* So many columns of a plain matrix are packed before the product: the panels of A that the other form packs
 * instead would be used for too few columns. */
enum { NARROW = 64 };

static bool packs_matrix(const struct fdit_cpu *cpu, const struct fdit_op_shape *s)
{
    return s->op == FDIT_OP_LINEAR && s->plain && s->n_out <= NARROW && (s->tokens > 1 || s->band) &&
           cpu->provider == FDIT_GEMM_OWN && cpu->gemm->precision == FDIT_F32;
}

/* Columns of a product and of its `low`. */
static int columns_of(const struct fdit_op_shape *s)
{
    return s->op == FDIT_OP_LINEAR ? s->n_out : s->n_in;
}

/* Floats of a matrix of n columns and k rows as panels in the precision of products. */
static size_t panel_floats(const struct fdit_cpu *cpu, int n, int k)
{
    return panels_of(cpu, n) * (cpu->gemm->panel_bytes(cpu->gemm->precision, k) / sizeof(float));
}

/* Floats for what is packed before a product: its narrow matrix, or the outer factor of `low`, which
 * linear_dx turns first. */
static size_t packed_floats(const struct fdit_cpu *cpu, const struct fdit_op_shape *s)
{
    if (packs_matrix(cpu, s))
        return panel_floats(cpu, s->n_out, s->n_in);
    if (!s->low_rank)
        return 0;
    const size_t turned = s->op == FDIT_OP_LINEAR ? 0 : (size_t)s->n_in * (size_t)s->low_rank;
    return fdit_page_floats(turned) + panel_floats(cpu, columns_of(s), s->low_rank);
}

size_t fdit_cpu_linear_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *s)
{
    int rows = s->samples * s->tokens;
    /* The storage of the weight is not known here: enough for any. */
    bool plain = s->plain || (cpu->provider != FDIT_GEMM_OWN && cpu->gemm->precision == FDIT_F32);
    size_t own = 0, provided = 0;
    if (s->op == FDIT_OP_LINEAR) {
        own = fdit_cpu_gemm_workspace(cpu, rows, s->n_out, s->n_in,
                                      plain && !packs_matrix(cpu, s) ? FDIT_B_COLUMNS : FDIT_B_PANELS, false);
        if (plain && !s->plain)
            provided = fdit_cpu_gemm_workspace(cpu, rows, s->n_out, s->n_in, FDIT_B_PANELS, false);
    } else if (s->op == FDIT_OP_LINEAR_DX) {
        own = fdit_cpu_gemm_workspace(cpu, rows, s->n_in, s->n_out, plain ? FDIT_B_ROWS : FDIT_B_PACKED_T,
                                      false);
        if (plain && !s->plain)
            provided = fdit_cpu_gemm_workspace(cpu, rows, s->n_in, s->n_out, FDIT_B_PACKED_T, false);
    } else
        own = fdit_cpu_gemm_workspace(cpu, s->n_out, s->n_in, rows, FDIT_B_ROWS, true);
    own = own > provided ? own : provided;
    if (cpu->provider != FDIT_GEMM_OWN)
        provided = fdit_cpu_gemm_provided_workspace(cpu);
    own = own > provided ? own : provided;
    return fdit_page_floats(own / sizeof(float)) * sizeof(float) + packed_floats(cpu, s) * sizeof(float);
}

/* The room behind the workspace of the product itself. */
static float *room_behind(const struct fdit_cpu *cpu, const struct fdit_op_shape *s)
{
    return (float *)cpu->workspace + fdit_cpu_linear_workspace(cpu, s) / sizeof(float) -
           packed_floats(cpu, s);
}

/* A plain matrix [n, k] as panels. */
static void pack_matrix(const struct fdit_cpu *cpu, float *panels, const float *matrix, int n, int k)
{
    const enum fdit_dtype type = cpu->gemm->precision;
    const size_t each = cpu->gemm->panel_bytes(type, k) / sizeof(float);
    const int nr = cpu->gemm->nr;
    for (int i = 0; i < n; i += nr, panels += each)
        cpu->gemm->pack_as(type, panels, NULL, matrix + (size_t)i * (size_t)k, (size_t)k, min_int(nr, n - i),
                           k);
}

/* low [M, low_rank] times the matrix that belongs to it, [n_out, low_rank], or for linear_dx [low_rank,
 * n_in], joins the product. */
static void join_low(const struct fdit_cpu *cpu, const struct fdit_op_shape *s, struct fdit_gemm *g,
                     struct fdit_tensor low, struct fdit_tensor low_matrix)
{
    const float *matrix = fdit_cpu_f32(low_matrix);
    const size_t k = (size_t)s->low_rank, n = (size_t)columns_of(s);
    float *room = room_behind(cpu, s);
    g->low = fdit_cpu_f32(low);
    g->low_k = s->low_rank;
    g->low_panels = room;
    if (s->op == FDIT_OP_LINEAR_DX) {
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < n; j++)
                room[j * k + i] = matrix[i * n + j];
        if (fdit_cpu_gemm_low_by_rows(cpu, g))
            return;
        matrix = room;
        room += fdit_page_floats(k * n);
        g->low_panels = room;
    }
    pack_matrix(cpu, room, matrix, (int)n, s->low_rank);
}

static void run(fdit_device *dev, const struct fdit_op_shape *shape, const struct fdit_gemm *g)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    if (!fdit_cpu_scratch(dev, shape->op, fdit_cpu_linear_workspace(cpu, shape)))
        return;
    bool plain = g->form == FDIT_B_ROWS || g->form == FDIT_B_COLUMNS;
    if (cpu->provider == FDIT_GEMM_OWN || cpu->gemm_parts || cpu->gemm->precision != FDIT_F32 || !plain ||
        (g->to.rows == 1 && !g->a_turned))
        fdit_cpu_gemm(cpu, g);
    else if (!fdit_cpu_gemm_provided(cpu, cpu->library, g))
        fdit_device_fail(dev, FDIT_ERROR_DEVICE, "%s: the GEMM library failed on %d x %d x %d",
                         fdit_op_name(shape->op), g->m, g->n, g->k);
}

void fdit_cpu_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_weight *w = a->weight ? a->weight->handle : NULL;
    struct fdit_gemm g = {
        .m = a->samples * a->tokens,
        .n = a->n_out,
        .k = a->n_in,
        .a = fdit_cpu_f32(a->x),
        .lda = (size_t)a->n_in,
        .vectors = a->tokens == 1 && !a->band,
        .b = w ? w->data : fdit_cpu_f32(a->matrix),
        .b_type = w ? w->type : FDIT_F32,
        .b_scale = w ? w->scale : NULL,
        .ldb = (size_t)a->n_in,
        .form = w && w->packed ? FDIT_B_PANELS : FDIT_B_COLUMNS,
        .to = {
            .c = fdit_cpu_f32(a->y),
            .ldc = (size_t)a->n_out,
            .bias = fdit_cpu_f32(a->bias),
            .add = fdit_cpu_f32(a->add),
            .pre = fdit_cpu_f32(a->pre),
            .act = fdit_cpu_gemm_act(a->act),
            .gate = fdit_cpu_f32(a->gate),
            .gate_stride = (size_t)a->gate_stride,
            .residual = fdit_cpu_f32(a->residual),
            .residual_shared = a->residual_shared,
            .rows = a->tokens,
            .beta = a->beta,
        },
    };
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR,
        .samples = a->samples,
        .tokens = a->tokens,
        .n_in = a->n_in,
        .n_out = a->n_out,
        .plain = !w,
        .band = a->band,
        .low_rank = a->low_rank,
    };
    if (packed_floats(cpu, &shape) &&
        !fdit_cpu_scratch(dev, shape.op, fdit_cpu_linear_workspace(cpu, &shape)))
        return; /* before something is packed behind it */
    if (packs_matrix(cpu, &shape)) {
        float *panels = room_behind(cpu, &shape);
        pack_matrix(cpu, panels, g.b, g.n, g.k);
        g.b = panels;
        g.form = FDIT_B_PANELS;
    }
    if (a->low_rank)
        join_low(cpu, &shape, &g, a->low, a->low_matrix);
    run(dev, &shape, &g);
}

void fdit_cpu_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    const struct fdit_cpu_weight *w = a->weight ? a->weight->handle : NULL;
    struct fdit_gemm g = {
        .m = a->samples * a->tokens,
        .n = a->n_in,
        .k = a->n_out,
        .a = fdit_cpu_f32(a->dy),
        .lda = (size_t)a->n_out,
        .vectors = a->tokens == 1 && !a->band,
        .b = w ? w->data : fdit_cpu_f32(a->matrix),
        .b_type = w ? w->type : FDIT_F32,
        .b_scale = w ? w->scale : NULL,
        .ldb = (size_t)a->n_in,
        .form = w && w->packed ? FDIT_B_PACKED_T : FDIT_B_ROWS,
        .to = {
            .c = fdit_cpu_f32(a->dx),
            .ldc = (size_t)a->n_in,
            .add = fdit_cpu_f32(a->add),
            .act = fdit_cpu_gemm_act(a->act),
            .slope_pre = a->act == FDIT_ACT_NONE ? NULL : fdit_cpu_f32(a->pre),
            .rows = a->tokens,
            .beta = a->beta,
        },
    };
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR_DX,
        .samples = a->samples,
        .tokens = a->tokens,
        .n_in = a->n_in,
        .n_out = a->n_out,
        .plain = !w,
        .band = a->band,
        .low_rank = a->low_rank,
    };
    if (a->low_rank) {
        if (!fdit_cpu_scratch(dev, shape.op, fdit_cpu_linear_workspace(cpu, &shape)))
            return; /* before something is packed behind it */
        join_low(cpu, &shape, &g, a->low, a->low_matrix);
    }
    run(dev, &shape, &g);
}

void fdit_cpu_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    struct fdit_gemm g = {
        .m = a->n_out,
        .n = a->n_in,
        .k = a->samples * a->tokens,
        .a = fdit_cpu_f32(a->dy),
        .lda = (size_t)a->n_out,
        .a_turned = true,
        .b = fdit_cpu_f32(a->x),
        .ldb = (size_t)a->n_in,
        .form = FDIT_B_ROWS,
        .to = {
            .c = fdit_cpu_f32(a->dw),
            .ldc = (size_t)a->n_in,
            .rows = a->n_out,
            .beta = a->beta,
        },
    };
    const struct fdit_op_shape shape = {
        .op = FDIT_OP_LINEAR_DW,
        .samples = a->samples,
        .tokens = a->tokens,
        .n_in = a->n_in,
        .n_out = a->n_out,
    };
    run(dev, &shape, &g);
}
