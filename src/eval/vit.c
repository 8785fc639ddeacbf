/* SPDX-License-Identifier: Apache-2.0
 * vit.c: a vision transformer made of the device's ops.
 *
 * The norm op has eps 1e-6. Where a network has another, everything that is added to the stream x is
 * multiplied by s = sqrt(1e-6 / eps): the norm of s x with 1e-6 is that of x with eps. Quick GELU,
 * x sigmoid(1.702 x), is SiLU(1.702 x) / 1.702: the two layers around it take the factors. */
#include "eval/vit.h"

#include "core/fnv.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

/* Tokens that one pass is worth while for: more take memory and no less time. */
enum { TOKENS_AT_ONCE = 2048, TOKENS_ON_GPU = 16384 };

struct block {
    fdit_weight *qkv, *proj, *fc1, *fc2;
    fdit_weight *linear; /* the other half of SwiGLU */
    /* Of the roles that are vectors; absent: the network has none. */
    struct fdit_tensor vectors[FDIT_VIT_ROLES];
};

struct fdit_vit {
    fdit_device *dev;
    struct fdit_vit_file file; /* until it is loaded */
    enum fdit_vit_positions positions_by;
    struct fdit_plan plan;
    struct fdit_vit_config config;
    int size, patches, tokens, at_once; /* patches and tokens of a picture, pictures of a pass */
    double stream;                      /* s */
    uint64_t hash;
    fdit_weight *patch, *projection;
    struct block *blocks, net;                         /* net: vectors of no block */
    fdit_buffer *params;                               /* all vectors, head and positions */
    struct fdit_tensor head, positions;                /* [1 + R, D], [patches, D] */
    fdit_buffer *scratch;                              /* all of the following */
    struct fdit_tensor image, patched, x, u, wide, up; /* [at_once, tokens, ..]; wide: 3 D or H */
    struct fdit_tensor pooled, normed, out;            /* [at_once, D], [at_once, features] */
    fdit_buffer *rows;                                 /* of the class tokens */
};

const struct fdit_vit_config *fdit_vit_config(const struct fdit_vit *v)
{
    return &v->config;
}

int fdit_vit_size(const struct fdit_vit *v)
{
    return v->size;
}

uint64_t fdit_vit_hash(const struct fdit_vit *v)
{
    return v->hash;
}

void fdit_vit_close(struct fdit_vit *v)
{
    if (!v)
        return;
    for (int i = 0; v->blocks && i < v->config.depth; i++) {
        struct block *b = &v->blocks[i];
        fdit_weight *const weights[] = { b->qkv, b->proj, b->fc1, b->linear, b->fc2 };
        for (size_t k = 0; k < sizeof weights / sizeof *weights; k++)
            fdit_weight_free(weights[k]);
    }
    fdit_vit_file_close(&v->file);
    fdit_plan_fini(&v->plan);
    fdit_weight_free(v->patch);
    fdit_weight_free(v->projection);
    fdit_buffer_free(v->params);
    fdit_buffer_free(v->scratch);
    fdit_buffer_free(v->rows);
    fdit_free(v->blocks);
    fdit_free(v);
}

/* ------------------------------------------------------------------ loading */

/* What a role is multiplied by; see above. */
static float factor_of(const struct fdit_vit *v, enum fdit_vit_role role)
{
    const struct fdit_vit_config *c = &v->config;
    const double quick = c->act == FDIT_VIT_QUICK_GELU ? 1.702 : 1;
    const bool scaled = c->family == FDIT_VIT_DINO; /* LayerScale takes the stream's factor */
    switch (role) {
    case FDIT_VIT_CLASS:
    case FDIT_VIT_POSITION:
    case FDIT_VIT_REGISTERS:
    case FDIT_VIT_PATCH:
    case FDIT_VIT_PATCH_BIAS:
    case FDIT_VIT_PRE:
    case FDIT_VIT_PRE_BIAS:
    case FDIT_VIT_SCALE1:
    case FDIT_VIT_SCALE2: return (float)v->stream;
    case FDIT_VIT_PROJ:
    case FDIT_VIT_PROJ_BIAS:
    case FDIT_VIT_FC2_BIAS: return (float)(scaled ? 1 : v->stream);
    case FDIT_VIT_FC1:
    case FDIT_VIT_FC1_BIAS: return (float)quick;
    case FDIT_VIT_FC2: return (float)((scaled ? 1 : v->stream) / quick);
    default: return 1;
    }
}

static enum fdit_status read_role(fdit_context *ctx, struct fdit_vit *v, const struct fdit_vit_file *f,
                                  enum fdit_vit_role role, int block, float *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = fdit_vit_role_size(&v->config, role);
    float factor = factor_of(v, role);
    TRY(fdit_vit_file_read(ctx, f, role, block, out));
    v->hash = fdit_fnv(v->hash, out, n * sizeof *out);
    for (size_t i = 0; factor != 1 && i < n; i++)
        out[i] *= factor;
out:
    return status;
}

static struct fdit_weight_desc desc_of(const struct fdit_vit *v, int n_out, int n_in)
{
    const enum fdit_dtype precision = fdit_device_precision(v->dev);
    const bool fewer = precision != FDIT_F32 && fdit_device_supports_storage(v->dev, precision);
    return (struct fdit_weight_desc){ .n_out = n_out, .n_in = n_in, .storage = fewer ? precision : FDIT_F32 };
}

static enum fdit_status put_matrix(fdit_context *ctx, struct fdit_vit *v, int n_out, int n_in,
                                   const float *data, fdit_weight **out)
{
    const struct fdit_weight_desc desc = desc_of(v, n_out, n_in);
    return fdit_weight_new(ctx, v->dev, &desc, data, out);
}

static bool is_matrix(enum fdit_vit_role role)
{
    return role == FDIT_VIT_PATCH || role == FDIT_VIT_PROJECTION || role == FDIT_VIT_QKV ||
           role == FDIT_VIT_PROJ || role == FDIT_VIT_FC1 || role == FDIT_VIT_FC2;
}

static bool is_table(enum fdit_vit_role role)
{
    return role == FDIT_VIT_CLASS || role == FDIT_VIT_POSITION || role == FDIT_VIT_REGISTERS;
}

static enum fdit_status load_matrix(fdit_context *ctx, struct fdit_vit *v, enum fdit_vit_role role,
                                    struct block *b, const float *data)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_vit_config *c = &v->config;
    int d = c->width, h = c->hidden;
    switch (role) {
    case FDIT_VIT_PATCH: TRY(put_matrix(ctx, v, d, 3 * c->patch * c->patch, data, &v->patch)); break;
    case FDIT_VIT_PROJECTION: TRY(put_matrix(ctx, v, c->features, d, data, &v->projection)); break;
    case FDIT_VIT_QKV: TRY(put_matrix(ctx, v, 3 * d, d, data, &b->qkv)); break;
    case FDIT_VIT_PROJ: TRY(put_matrix(ctx, v, d, d, data, &b->proj)); break;
    case FDIT_VIT_FC2: TRY(put_matrix(ctx, v, d, h, data, &b->fc2)); break;
    default: /* FC1 */
        TRY(put_matrix(ctx, v, h, d, data, &b->fc1));
        if (c->act == FDIT_VIT_SWIGLU)
            TRY(put_matrix(ctx, v, h, d, data + (size_t)h * (size_t)d, &b->linear));
    }
out:
    return status;
}

/* The matrices and vectors of one block, or (block NULL) of the network without its tables. */
static enum fdit_status load_roles(fdit_context *ctx, struct fdit_vit *v, const struct fdit_vit_file *f,
                                   struct block *b, int number, float *data, size_t *at)
{
    enum fdit_status status = FDIT_OK;
    bool block = b != &v->net;
    for (int k = 0; k < FDIT_VIT_ROLES; k++) {
        enum fdit_vit_role role = (enum fdit_vit_role)k;
        size_t n = fdit_vit_role_size(&v->config, role);
        if (!n || fdit_vit_role_in_block(role) != block || is_table(role))
            continue;
        TRY(read_role(ctx, v, f, role, number, data));
        if (is_matrix(role)) {
            TRY(load_matrix(ctx, v, role, b, data));
            continue;
        }
        b->vectors[role] = fdit_at(fdit_tensor_of(v->params, FDIT_F32), *at);
        fdit_write(v->dev, b->vectors[role], data, n);
        *at += n;
    }
    TRY(fdit_device_sync(ctx, v->dev)); /* data may be used again, and nothing failed */
out:
    return status;
}

/* head: class token with its position, registers; and the positions of the patches. */
static enum fdit_status load_tables(fdit_context *ctx, struct fdit_vit *v, const struct fdit_vit_file *f,
                                    enum fdit_vit_positions positions, float *data, size_t *at)
{
    enum fdit_status status = FDIT_OK;
    size_t d = (size_t)v->config.width, side = (size_t)(v->size / v->config.patch);
    size_t n_head = (1 + (size_t)v->config.registers) * d, n = side * side * d;
    float *head = NULL, *table = NULL;
    TRY(fdit_alloc(ctx, n_head, sizeof *head, &head));
    TRY(fdit_alloc(ctx, d + n, sizeof *table, &table));
    TRY(read_role(ctx, v, f, FDIT_VIT_CLASS, 0, head));
    if (v->config.registers)
        TRY(read_role(ctx, v, f, FDIT_VIT_REGISTERS, 0, head + d));
    TRY(read_role(ctx, v, f, FDIT_VIT_POSITION, 0, data));
    TRY(fdit_vit_positions_for(ctx, &v->config, data, (int)side, positions, table));
    for (size_t i = 0; i < d; i++)
        head[i] += table[i];
    v->head = fdit_at(fdit_tensor_of(v->params, FDIT_F32), *at);
    v->positions = fdit_at(v->head, n_head);
    fdit_write(v->dev, v->head, head, n_head);
    fdit_write(v->dev, v->positions, table + d, n);
    *at += n_head + n;
    TRY(fdit_device_sync(ctx, v->dev));
out:
    fdit_free(head);
    fdit_free(table);
    return status;
}

/* Numbers of all vectors, head and positions, and of the largest role. */
static size_t vector_floats(const struct fdit_vit *v, size_t *largest)
{
    const struct fdit_vit_config *c = &v->config;
    size_t floats = (1 + (size_t)c->registers + (size_t)v->patches) * (size_t)c->width;
    *largest = 1;
    for (int k = 0; k < FDIT_VIT_ROLES; k++) {
        enum fdit_vit_role role = (enum fdit_vit_role)k;
        size_t n = fdit_vit_role_size(c, role);
        *largest = n > *largest ? n : *largest;
        if (!is_table(role) && !is_matrix(role))
            floats += n * (fdit_vit_role_in_block(role) ? (size_t)c->depth : 1);
    }
    return floats;
}

static enum fdit_status load(fdit_context *ctx, struct fdit_vit *v)
{
    enum fdit_status status = FDIT_OK;
    size_t largest, at = 0;
    float *data = NULL;
    (void)vector_floats(v, &largest);
    TRY(fdit_alloc(ctx, largest, sizeof *data, &data));
    TRY(fdit_alloc(ctx, (size_t)v->config.depth, sizeof *v->blocks, &v->blocks));
    v->hash = FDIT_FNV_START;
    TRY(load_tables(ctx, v, &v->file, v->positions_by, data, &at));
    TRY(load_roles(ctx, v, &v->file, &v->net, 0, data, &at));
    for (int i = 0; i < v->config.depth; i++)
        TRY(load_roles(ctx, v, &v->file, &v->blocks[i], i, data, &at));
out:
    fdit_free(data);
    return status;
}

/* ------------------------------------------------------------------ memory */

struct part {
    struct fdit_tensor *where;
    size_t n;
};
enum { PARTS = 9 };

/* What lies in v->scratch, each on pages of its own; the floats of all. */
static size_t scratch_parts(struct fdit_vit *v, struct part parts[PARTS])
{
    const struct fdit_vit_config *c = &v->config;
    const size_t k = (size_t)v->at_once, d = (size_t)c->width, h = (size_t)c->hidden, s = (size_t)v->size;
    const size_t rows = k * (size_t)v->tokens, wide = h > 3 * d ? h : 3 * d;
    const struct part list[PARTS] = {
        { &v->image, k * 3 * s * s },
        { &v->patched, k * (size_t)v->patches * 3 * (size_t)c->patch * (size_t)c->patch },
        { &v->x, rows * d },
        { &v->u, rows * d },
        { &v->wide, rows * wide },
        { &v->up, c->act == FDIT_VIT_SWIGLU ? rows * h : 0 },
        { &v->pooled, k * d },
        { &v->normed, k * d },
        { &v->out, k * (size_t)c->features },
    };
    size_t all = 0;
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = list[i];
        all += fdit_page_floats(parts[i].n);
    }
    return all;
}

static enum fdit_status place_scratch(fdit_context *ctx, struct fdit_vit *v)
{
    enum fdit_status status = FDIT_OK;
    struct part parts[PARTS];
    const size_t k = (size_t)v->at_once;
    int32_t *list = NULL;
    size_t at = 0;
    (void)scratch_parts(v, parts);
    for (size_t i = 0; i < PARTS; i++) {
        *parts[i].where = fdit_at(fdit_tensor_of(v->scratch, FDIT_F32), at);
        at += fdit_page_floats(parts[i].n);
    }
    TRY(fdit_alloc(ctx, k, sizeof *list, &list));
    for (size_t i = 0; i < k; i++)
        list[i] = (int32_t)(i * (size_t)v->tokens);
    fdit_write(v->dev, fdit_tensor_of(v->rows, FDIT_I32), list, k);
    TRY(fdit_device_sync(ctx, v->dev));
out:
    fdit_free(list);
    return status;
}

static size_t workspace(const struct fdit_vit *v)
{
    const struct fdit_vit_config *c = &v->config;
    int k = v->at_once, n = v->tokens, d = c->width, h = c->hidden, in = 3 * c->patch * c->patch;
    const size_t wide = (size_t)k * (size_t)n * (size_t)(h > 3 * d ? h : 3 * d);
#define LINEAR(b, r, from, to)                                                             \
    {                                                                                      \
        .op = FDIT_OP_LINEAR, .samples = (b), .tokens = (r), .n_in = (from), .n_out = (to) \
    }
    const struct fdit_op_shape shapes[] = {
        LINEAR(1, v->patches, in, d),
        LINEAR(k, n, d, 3 * d),
        LINEAR(k, n, d, d),
        LINEAR(k, n, d, h),
        LINEAR(k * n, 1, d, h),
        LINEAR(k, n, h, d),
        LINEAR(k, 1, d, c->features),
        { .op = FDIT_OP_NORM, .samples = k, .tokens = n, .n_out = d },
        { .op = FDIT_OP_ATTENTION, .samples = k, .tokens = n, .heads = c->heads, .head_size = d / c->heads },
        { .op = FDIT_OP_GATHER, .samples = k, .n_in = k * n, .n_out = d },
        { .op = FDIT_OP_PATCHIFY, .samples = k, .n = (size_t)k * (size_t)v->patches * (size_t)in },
        { .op = FDIT_OP_ACTIVATION, .samples = k, .n = wide },
        { .op = FDIT_OP_COPY, .samples = 1, .n = (size_t)(1 + c->registers) * (size_t)d },
    };
#undef LINEAR
    return fdit_device_workspace(v->dev, shapes, sizeof shapes / sizeof *shapes);
}

static size_t matrix_bytes(const struct fdit_vit *v, int n_out, int n_in)
{
    const struct fdit_weight_desc desc = desc_of(v, n_out, n_in);
    return fdit_weight_bytes(v->dev, &desc);
}

static enum fdit_status make_plan(fdit_context *ctx, struct fdit_vit *v)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_vit_config *c = &v->config;
    const int d = c->width, h = c->hidden;
    struct fdit_plan *plan = &v->plan;
    struct part parts[PARTS];
    size_t largest;
    size_t block = matrix_bytes(v, 3 * d, d) + matrix_bytes(v, d, d) + matrix_bytes(v, d, h) +
                   matrix_bytes(v, h, d) * (c->act == FDIT_VIT_SWIGLU ? 2 : 1);
    size_t others = matrix_bytes(v, d, 3 * c->patch * c->patch);
    if (fdit_vit_role_size(c, FDIT_VIT_PROJECTION))
        others += matrix_bytes(v, c->features, d);
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WEIGHTS, NULL, (size_t)c->depth * block + others,
                      "feature network: matrices"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WEIGHTS, &v->params, vector_floats(v, &largest) * sizeof(float),
                      "feature network: vectors"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_SCRATCH, &v->scratch, scratch_parts(v, parts) * sizeof(float),
                      "feature network: tokens of %d pictures", v->at_once));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_SCRATCH, &v->rows, (size_t)v->at_once * sizeof(int32_t),
                      "feature network: rows of the class tokens"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WORKSPACE, NULL, workspace(v), "feature network: workspace"));
out:
    return status;
}

enum fdit_status fdit_vit_plan(fdit_context *ctx, const struct fdit_vit *v, struct fdit_plan *plan)
{
    return fdit_plan_join(ctx, plan, &v->plan, "");
}

/* ------------------------------------------------------------------ a pass */

static void layer(struct fdit_vit *v, int k, int n, const fdit_weight *weight, int n_in, int n_out,
                  struct fdit_tensor bias, enum fdit_act act, struct fdit_tensor x, struct fdit_tensor y)
{
    fdit_linear(v->dev, &(struct fdit_linear_args){ .samples = k,
                                                    .tokens = n,
                                                    .n_in = n_in,
                                                    .n_out = n_out,
                                                    .weight = weight,
                                                    .bias = bias,
                                                    .act = act,
                                                    .x = x,
                                                    .y = y });
}

/* x += scale * (y W^T + b), scale absent: 1 */
static void add_branch(struct fdit_vit *v, int k, const fdit_weight *weight, int n_in,
                       struct fdit_tensor bias, struct fdit_tensor scale, struct fdit_tensor y,
                       struct fdit_tensor x)
{
    fdit_linear(v->dev, &(struct fdit_linear_args){ .samples = k,
                                                    .tokens = v->tokens,
                                                    .n_in = n_in,
                                                    .n_out = v->config.width,
                                                    .weight = weight,
                                                    .bias = bias,
                                                    .gate = scale,
                                                    .residual = x,
                                                    .x = y,
                                                    .y = x });
}

static void norm(struct fdit_vit *v, int k, int rows, const struct block *b, enum fdit_vit_role role,
                 struct fdit_tensor x, struct fdit_tensor y)
{
    fdit_norm(v->dev, &(struct fdit_norm_args){ .samples = k,
                                                .tokens = rows,
                                                .width = v->config.width,
                                                .weight = b->vectors[role],
                                                .bias = b->vectors[role + 1],
                                                .x = x,
                                                .y = y });
}

/* The patches of each picture go behind its class token and registers: a product for each. */
static void embed(struct fdit_vit *v, int k)
{
    const struct fdit_vit_config *c = &v->config;
    size_t d = (size_t)c->width, n_head = (1 + (size_t)c->registers) * d;
    int in = 3 * c->patch * c->patch;
    fdit_patchify(v->dev, &(struct fdit_patchify_args){ .samples = k,
                                                        .channels = 3,
                                                        .size = v->size,
                                                        .patch = c->patch,
                                                        .order = FDIT_PATCH_CHANNEL_FIRST,
                                                        .tokens = v->patched,
                                                        .image = v->image });
    for (size_t b = 0; b < (size_t)k; b++) {
        struct fdit_tensor x = fdit_at(v->x, b * (size_t)v->tokens * d);
        fdit_copy(v->dev, x, v->head, n_head);
        fdit_linear(v->dev,
                    &(struct fdit_linear_args){ .samples = 1,
                                                .tokens = v->patches,
                                                .n_in = in,
                                                .n_out = c->width,
                                                .weight = v->patch,
                                                .bias = v->net.vectors[FDIT_VIT_PATCH_BIAS],
                                                .residual = v->positions,
                                                .x = fdit_at(v->patched, b * (size_t)v->patches * (size_t)in),
                                                .y = fdit_at(x, n_head) });
    }
}

/* The hidden activations of the MLP; where they are is returned. */
static struct fdit_tensor hidden(struct fdit_vit *v, const struct block *b, int k, struct fdit_tensor u)
{
    const struct fdit_vit_config *c = &v->config;
    int d = c->width, h = c->hidden, n = v->tokens;
    struct fdit_tensor bias = b->vectors[FDIT_VIT_FC1_BIAS];
    enum fdit_act act = c->act == FDIT_VIT_GELU ? FDIT_ACT_GELU_ERF : FDIT_ACT_SILU;
    layer(v, k, n, b->fc1, d, h, bias, act, u, v->wide);
    if (c->act != FDIT_VIT_SWIGLU)
        return v->wide;
    /* times the other half, element by element: each token is a sample with a gate of its own */
    fdit_linear(v->dev, &(struct fdit_linear_args){ .samples = k * n,
                                                    .tokens = 1,
                                                    .n_in = d,
                                                    .n_out = h,
                                                    .weight = b->linear,
                                                    .bias = fdit_at(bias, (size_t)h),
                                                    .gate = v->wide,
                                                    .gate_stride = h,
                                                    .x = u,
                                                    .y = v->up });
    return v->up;
}

/* k pictures from v->image to v->out. */
static void pass(struct fdit_vit *v, int k)
{
    const struct fdit_vit_config *c = &v->config;
    struct fdit_tensor x = v->x, u = v->u;
    int d = c->width, n = v->tokens;
    embed(v, k);
    if (c->family == FDIT_VIT_CLIP) {
        norm(v, k, n, &v->net, FDIT_VIT_PRE, x, u);
        x = v->u;
        u = v->x;
    }
    for (int i = 0; i < c->depth; i++) {
        const struct block *b = &v->blocks[i];
        norm(v, k, n, b, FDIT_VIT_NORM1, x, u);
        layer(v, k, n, b->qkv, d, 3 * d, b->vectors[FDIT_VIT_QKV_BIAS], FDIT_ACT_NONE, u, v->wide);
        fdit_attention(v->dev, &(struct fdit_attention_args){ .samples = k,
                                                              .tokens = n,
                                                              .heads = c->heads,
                                                              .head_size = d / c->heads,
                                                              .out = u,
                                                              .qkv = v->wide });
        add_branch(v, k, b->proj, d, b->vectors[FDIT_VIT_PROJ_BIAS], b->vectors[FDIT_VIT_SCALE1], u, x);
        norm(v, k, n, b, FDIT_VIT_NORM2, x, u);
        add_branch(v, k, b->fc2, c->hidden, b->vectors[FDIT_VIT_FC2_BIAS], b->vectors[FDIT_VIT_SCALE2],
                   hidden(v, b, k, u), x);
    }
    fdit_gather(v->dev, &(struct fdit_gather_args){ .samples = k,
                                                    .table_rows = k * n,
                                                    .width = d,
                                                    .y = v->pooled,
                                                    .table = x,
                                                    .index = fdit_tensor_of(v->rows, FDIT_I32) });
    norm(v, k, 1, &v->net, FDIT_VIT_LAST, v->pooled, v->projection ? v->normed : v->out);
    if (v->projection)
        layer(v, k, 1, v->projection, d, c->features, FDIT_NO_TENSOR, FDIT_ACT_NONE, v->normed, v->out);
}

enum fdit_status fdit_vit_run(fdit_context *ctx, struct fdit_vit *v, const float *x, size_t n,
                              float *features)
{
    enum fdit_status status = FDIT_OK;
    size_t picture = 3 * (size_t)v->size * (size_t)v->size, width = (size_t)v->config.features, k;
    for (size_t done = 0; done < n; done += k) {
        k = n - done < (size_t)v->at_once ? n - done : (size_t)v->at_once;
        fdit_write(v->dev, v->image, x + done * picture, k * picture);
        pass(v, (int)k);
        TRY(fdit_read(ctx, v->dev, v->out, features + done * width, k * width));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ opening */

static enum fdit_status settle_size(fdit_context *ctx, struct fdit_vit *v, const char *path, int size,
                                    int batch)
{
    const struct fdit_vit_config *c = &v->config;
    int own = c->grid * c->patch;
    v->size = size ? size : own;
    if (v->size % c->patch || v->size > 4096)
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s: pictures of %d pixels are not a whole number of its patches of %d; this network is "
            "not one that is known",
            path, v->size, c->patch);
    int side = v->size / c->patch;
    v->patches = side * side;
    v->tokens = 1 + c->registers + v->patches;
    v->at_once = (fdit_device_info(v->dev)->is_gpu ? TOKENS_ON_GPU : TOKENS_AT_ONCE) / v->tokens;
    v->at_once = v->at_once < 1 ? 1 : v->at_once > batch ? batch : v->at_once;
    v->stream = sqrt(1e-6 / c->eps);
    if (fabs(c->eps - 1e-6) < 1e-12)
        v->stream = 1;
    return FDIT_OK;
}

enum fdit_status fdit_vit_prepare(fdit_context *ctx, fdit_device *dev, const char *path,
                                  enum fdit_vit_family family, int size, enum fdit_vit_positions positions,
                                  int batch, struct fdit_vit **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit *v = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *v, &v));
    v->dev = dev;
    v->positions_by = positions;
    TRY(fdit_vit_file_open(ctx, path, family, &v->file));
    v->config = v->file.config;
    TRY(settle_size(ctx, v, path, size, batch));
    TRY(make_plan(ctx, v));
    *out = v;
    v = NULL;
out:
    fdit_vit_close(v);
    return status;
}

enum fdit_status fdit_vit_load(fdit_context *ctx, struct fdit_vit *v)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_plan_check(ctx, &v->plan, v->dev, fdit_device_info(v->dev)->memory,
                        "take a device with more memory"));
    TRY(fdit_plan_allocate(ctx, &v->plan, v->dev));
    TRY(load(ctx, v));
    TRY(place_scratch(ctx, v));
    TRY(fdit_device_reserve(ctx, v->dev, workspace(v)));
    fdit_vit_file_close(&v->file);
out:
    return status;
}

enum fdit_status fdit_vit_open(fdit_context *ctx, fdit_device *dev, const char *path,
                               enum fdit_vit_family family, int size, enum fdit_vit_positions positions,
                               int batch, struct fdit_vit **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit *v = NULL;
    *out = NULL;
    TRY(fdit_vit_prepare(ctx, dev, path, family, size, positions, batch, &v));
    TRY(fdit_vit_load(ctx, v));
    *out = v;
    v = NULL;
out:
    fdit_vit_close(v);
    return status;
}
