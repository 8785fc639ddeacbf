/* SPDX-License-Identifier: Apache-2.0
 * Sizes, the plan, and the life of a model's buffers. */
#include "model/model_internal.h"

#include "core/mem.h"

#include <string.h>

/* ------------------------------------------------------------------ the plan */

/* Lays out the tensors of one buffer; `status` sticks. */
struct layout {
    fdit_context *ctx;
    enum fdit_status status;
    struct fdit_model *m;
    fdit_buffer **buffer;
    size_t used; /* elements */
};

static void place(struct layout *l, struct fdit_tensor *t, enum fdit_dtype type, size_t count)
{
    struct fdit_model *m = l->m;
    size_t next;
    if (l->status != FDIT_OK)
        return;
    if (!fdit_add(l->used, fdit_page_floats(count), &next)) {
        l->status = fdit_fail(l->ctx, FDIT_ERROR_MEMORY, "model: the plan is too large; use a smaller batch");
        return;
    }
    *t = (struct fdit_tensor){ NULL, l->used, type };
    l->used = next;
    l->status = fdit_grow(l->ctx, &m->bindings, &m->binding_capacity, m->n_bindings + 1, sizeof *m->bindings);
    if (l->status == FDIT_OK)
        m->bindings[m->n_bindings++] = (struct fdit_binding){ t, l->buffer, count };
}

/* A tensor with a buffer of its own, named in the plan. */
static enum fdit_status own(fdit_context *ctx, struct fdit_model *m, enum fdit_plan_kind kind,
                            struct fdit_tensor *t, enum fdit_dtype type, size_t count, const char *label)
{
    if (m->n_own == FDIT_MODEL_TENSORS)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "model: no room for %s among its %d tensors; raise %s",
                         label, m->n_own, "FDIT_MODEL_TENSORS");
    struct layout l = { .ctx = ctx, .m = m, .buffer = &m->own[m->n_own++] };
    place(&l, t, type, count);
    if (l.status != FDIT_OK)
        return l.status;
    return fdit_plan_add(ctx, &m->plan, kind, l.buffer, l.used * sizeof(float), "%s", label);
}

/* A tensor of `count` elements in the room of `owner`, which is not in use while this one is. */
static enum fdit_status share(fdit_context *ctx, struct fdit_model *m, struct fdit_tensor *t,
                              const struct fdit_tensor *owner, size_t count, const char *label)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_binding *of = NULL;
    for (size_t i = 0; i < m->n_bindings; i++)
        if (m->bindings[i].tensor == owner)
            of = &m->bindings[i];
    if (!of || of->count < count)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "model: the %s is to share a room of %zu numbers and has %zu",
             label, of ? of->count : 0, count);
    struct fdit_binding shared = { t, of->buffer, count };
    *t = *owner;
    TRY(fdit_grow(ctx, &m->bindings, &m->binding_capacity, m->n_bindings + 1, sizeof *m->bindings));
    m->bindings[m->n_bindings++] = shared;
out:
    return status;
}

/* What of a block is laid out where. */
enum { PART_X_IN = 1, PART_BRANCHES = 2, PART_WORK = 4, PART_INNER = 8, PART_SMALL = 16 };

static enum fdit_status plan_block(fdit_context *ctx, struct fdit_model *m, struct fdit_block_saved *s,
                                   int parts, enum fdit_plan_kind kind, const char *label)
{
    const struct fdit_model_config *c = &m->config;
    size_t b = (size_t)m->options.batch, n = (size_t)fdit_config_tokens(c), d = (size_t)c->width;
    size_t md = b * n * d;
    struct layout l = { .ctx = ctx, .m = m, .buffer = &s->buffer };
    if (parts & PART_X_IN)
        place(&l, &s->x_in, FDIT_F32, md);
    if (parts & PART_BRANCHES) {
        place(&l, &s->attn_out, FDIT_F32, md);
        place(&l, &s->mlp_out, FDIT_F32, md);
    }
    if (parts & PART_WORK) {
        place(&l, &s->qkv, FDIT_F32, 3 * md);
        place(&l, &s->heads_out, FDIT_F32, md);
    }
    if (parts & PART_INNER) {
        place(&l, &s->xhat1, FDIT_F32, md);
        place(&l, &s->xhat2, FDIT_F32, md);
        if (c->qk_norm)
            place(&l, &s->qk_xhat, FDIT_F32, 2 * md);
        place(&l, &s->fc1, FDIT_F32, md * (size_t)c->mlp_ratio);
    }
    if (parts & PART_SMALL) {
        place(&l, &s->rstd1, FDIT_F32, b * n);
        place(&l, &s->lse, FDIT_F32, b * n * (size_t)c->heads);
        place(&l, &s->rstd2, FDIT_F32, b * n);
        if (c->qk_norm)
            place(&l, &s->qk_rstd, FDIT_F32, 2 * b * n * (size_t)c->heads);
    }
    if (l.status != FDIT_OK)
        return l.status;
    if (s == &m->shared)
        m->shared_count = l.used;
    return fdit_plan_add(ctx, &m->plan, kind, &s->buffer, l.used * sizeof(float), "%s", label);
}

/* The bf16 copy of what the shared buffer holds when the block is done. */
static enum fdit_status plan_rounded(fdit_context *ctx, struct fdit_model *m, struct fdit_block_saved *s,
                                     const char *label)
{
    struct layout l = { .ctx = ctx, .m = m, .buffer = &s->rounded_buffer };
    place(&l, &s->rounded, FDIT_BF16, m->shared_count);
    if (l.status != FDIT_OK)
        return l.status;
    return fdit_plan_add(ctx, &m->plan, FDIT_PLAN_ACTIVATIONS, l.buffer, l.used * fdit_dtype_bytes(FDIT_BF16),
                         "%s", label);
}

static enum fdit_status plan_blocks(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    char *label = NULL;
    int each = 0, once = PART_WORK;
    const bool rounded = m->options.activations == FDIT_BF16;
    if (m->options.training) {
        switch (m->options.recompute) {
        case FDIT_RECOMPUTE_NONE:
            each = PART_SMALL | (rounded ? 0 : PART_BRANCHES | PART_WORK | PART_INNER);
            once = rounded ? PART_BRANCHES | PART_WORK | PART_INNER : 0;
            break;
        case FDIT_RECOMPUTE_BRANCHES:
            each = PART_X_IN | PART_BRANCHES;
            once = PART_WORK | PART_INNER | PART_SMALL;
            break;
        case FDIT_RECOMPUTE_BLOCK:
            each = PART_X_IN;
            once = PART_BRANCHES | PART_WORK | PART_INNER | PART_SMALL;
            break;
        }
    }
    if (once)
        TRY(plan_block(ctx, m, &m->shared, once, FDIT_PLAN_SCRATCH, "activations shared by blocks"));
    if (each) {
        TRY(fdit_alloc(ctx, (size_t)m->config.depth, sizeof *m->saved, &m->saved));
        for (int i = 0; i < m->config.depth; i++) {
            TRY(fdit_strf(ctx, &label, "activations of block %d", i));
            TRY(plan_block(ctx, m, &m->saved[i], each, FDIT_PLAN_ACTIVATIONS, label));
            if (rounded)
                TRY(plan_rounded(ctx, m, &m->saved[i], label));
            fdit_free(label);
            label = NULL;
        }
    }
out:
    fdit_free(label);
    return status;
}

/* Whether a linear layer whose input is rebuilt for a weight gradient is trained anywhere. */
static bool trains_matrices(const struct fdit_model *m)
{
    for (int i = 0; i < m->params.n; i++)
        if (m->params.list[i].trained && m->params.list[i].kind == FDIT_PARAM_MATRIX &&
            !fdit_param_of_guidance(m->params.list[i].name))
            return true;
    return false;
}

/* What adapters need besides: `dwide`, the widest result of a layer. */
static enum fdit_status plan_adapters(fdit_context *ctx, struct fdit_model *m, size_t dwide)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &m->config;
    const size_t b = (size_t)m->options.batch, n = (size_t)fdit_config_tokens(c), d = (size_t)c->width;
    const size_t ratio = (size_t)c->mlp_ratio, low = b * n * (size_t)c->adapter.rank;
    const bool train = m->options.training, gammas = c->adapter.gammas != FDIT_GAMMAS_NONE;
    const enum fdit_plan_kind scratch = FDIT_PLAN_SCRATCH;
    if (low) {
        TRY(own(ctx, m, scratch, &m->low, FDIT_F32, low, "adapter, inner product"));
        TRY(own(ctx, m, scratch, &m->low_scaled, FDIT_F32, low, "adapter, scaled"));
    }
    if (gammas)
        TRY(own(ctx, m, scratch, &m->mod_scale, FDIT_F32, (size_t)c->depth * 6 * d,
                "factors of modulations"));
    if (gammas && train) {
        TRY(own(ctx, m, FDIT_PLAN_ACTIVATIONS, &m->mods_plain, FDIT_F32, (size_t)c->depth * b * 6 * d,
                "modulations before their factors"));
        TRY(own(ctx, m, scratch, &m->dgamma, FDIT_F32, (b * ratio > 6 ? b * ratio : 6) * d,
                "gradients of factors"));
    }
    if ((gammas || (low && !fdit_device_fuses_low(m->dev))) && !train)
        TRY(own(ctx, m, scratch, &m->beside, FDIT_F32, dwide, "adapter, result of a layer"));
out:
    return status;
}

/* The embedding of the guidance scale. */
static enum fdit_status plan_guidance(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    const size_t k = (size_t)m->options.conditions, b = (size_t)m->options.batch, d = (size_t)m->config.width;
    const enum fdit_plan_kind scratch = FDIT_PLAN_SCRATCH;
    if (!m->config.guidance_input)
        return FDIT_OK;
    TRY(own(ctx, m, FDIT_PLAN_BATCH, &m->strengths, FDIT_F32, k, "guidance scales"));
    TRY(own(ctx, m, scratch, &m->w_pre, FDIT_F32, k * d, "guidance embedding before SiLU"));
    TRY(own(ctx, m, scratch, &m->w_hidden, FDIT_F32, k * d, "guidance embedding after SiLU"));
    TRY(own(ctx, m, scratch, &m->w_in, FDIT_F32, k * d, "guidance embedding before its norm"));
    TRY(own(ctx, m, scratch, &m->w_out, FDIT_F32, k * d, "guidance embedding"));
    TRY(own(ctx, m, scratch, &m->c_xhat, FDIT_F32, k * d, "condition without its deviation"));
    TRY(own(ctx, m, scratch, &m->w_spread, FDIT_F32, k, "deviation of the condition"));
    if (m->options.training) {
        TRY(own(ctx, m, FDIT_PLAN_ACTIVATIONS, &m->w_xhat, FDIT_F32, b * d,
                "norm of the guidance embedding"));
        TRY(own(ctx, m, FDIT_PLAN_ACTIVATIONS, &m->w_rstd, FDIT_F32, b, "its deviations"));
    }
out:
    return status;
}

/* For training; `out`: numbers of the network's output. */
static enum fdit_status plan_gradients(fdit_context *ctx, struct fdit_model *m, size_t dwide, size_t out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &m->config;
    const size_t b = (size_t)m->options.batch, n = (size_t)fdit_config_tokens(c), d = (size_t)c->width;
    const size_t md = b * n * d;
    const bool dit = c->kind == FDIT_MODEL_DIT;
    const enum fdit_plan_kind scratch = FDIT_PLAN_SCRATCH, batch = FDIT_PLAN_BATCH;
    if (c->qk_norm)
        TRY(own(ctx, m, scratch, &m->dqk, FDIT_F32, 4 * (md / (size_t)c->heads),
                "gradients of normalised queries and keys"));
    TRY(own(ctx, m, scratch, &m->dx, FDIT_F32, md, "gradient of the residual stream"));
    TRY(own(ctx, m, scratch, &m->du, FDIT_F32, md, "gradient of a branch"));
    TRY(own(ctx, m, scratch, &m->dwide, FDIT_F32, dwide, "gradient inside a branch"));
    if (fdit_adapter_any(&c->adapter))
        TRY(share(ctx, m, &m->beside, &m->dwide, dwide, "result of a layer beside an adapter"));
    TRY(own(ctx, m, scratch, &m->head_xhat, FDIT_F32, md, "head norm"));
    TRY(own(ctx, m, scratch, &m->head_rstd, FDIT_F32, b * n, "head norm deviations"));
    TRY(own(ctx, m, batch, &m->doutput, FDIT_F32, out, "gradient of the output"));
    TRY(share(ctx, m, &m->dheads, &m->u, md, "gradient of the heads"));
    if (dit) {
        TRY(share(ctx, m, &m->dtokens, &m->tokens_out, b * n * (size_t)fdit_config_patch_out(c),
                  "gradient of the output tokens"));
        TRY(share(ctx, m, &m->dt, &m->head_mod, b * d, "gradient of the time embedding"));
        TRY(own(ctx, m, scratch, &m->dmod, FDIT_F32, b * 6 * d, "gradient of a modulation"));
        TRY(own(ctx, m, scratch, &m->dsilu_c, FDIT_F32, b * d, "gradient of the condition"));
    } else {
        TRY(own(ctx, m, scratch, &m->dpooled, FDIT_F32, b * d, "gradient of the mean token"));
    }
out:
    return status;
}

static enum fdit_status plan_tensors(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &m->config;
    bool dit = c->kind == FDIT_MODEL_DIT, train = m->options.training;
    size_t b = (size_t)m->options.batch, n = (size_t)fdit_config_tokens(c), d = (size_t)c->width;
    size_t md = b * n * d, pixels = (size_t)c->input_size * (size_t)c->input_size;
    size_t ratio = (size_t)c->mlp_ratio, k = (size_t)m->options.conditions;
    size_t out = b * (dit ? (size_t)fdit_config_out_channels(c) * pixels : (size_t)c->table_rows);
    const enum fdit_plan_kind scratch = FDIT_PLAN_SCRATCH, batch = FDIT_PLAN_BATCH;
    TRY(own(ctx, m, scratch, &m->x, FDIT_F32, md, "residual stream"));
    TRY(own(ctx, m, scratch, &m->u, FDIT_F32, md, "branch input"));
    TRY(own(ctx, m, scratch, &m->wide, FDIT_F32, md * ratio, "MLP activation"));
    TRY(own(ctx, m, scratch, &m->patches, FDIT_F32, b * n * (size_t)fdit_config_patch_in(c), "patches"));
    TRY(own(ctx, m, batch, &m->input, FDIT_F32, b * (size_t)c->channels * pixels, "input"));
    TRY(own(ctx, m, batch, &m->output, FDIT_F32, out, "output"));
    TRY(own(ctx, m, batch, &m->index, FDIT_I32, k, dit ? "class rows" : "labels"));
    if (dit) {
        TRY(own(ctx, m, batch, &m->t_features, FDIT_F32, k * FDIT_TIME_FEATURES, "time features"));
        TRY(own(ctx, m, scratch, &m->t_pre, FDIT_F32, k * d, "time embedding before SiLU"));
        TRY(own(ctx, m, scratch, &m->t_hidden, FDIT_F32, k * d, "time embedding after SiLU"));
        TRY(own(ctx, m, scratch, &m->c, FDIT_F32, k * d, "condition"));
        if (c->class_vectors) {
            const size_t width = (size_t)c->class_vectors;
            TRY(own(ctx, m, FDIT_PLAN_WEIGHTS, &m->class_vectors, FDIT_F32, (size_t)c->table_rows * width,
                    "vectors of the classes"));
            TRY(own(ctx, m, batch, &m->class_in, FDIT_F32, k * width, "vectors of the samples"));
        }
        if (m->options.prior_rows)
            TRY(own(ctx, m, FDIT_PLAN_WEIGHTS, &m->prior_table, FDIT_F32, (size_t)m->options.prior_rows * d,
                    "class rows of the prior"));
        TRY(plan_guidance(ctx, m));
        TRY(own(ctx, m, scratch, &m->silu_c, FDIT_F32, k * d, "SiLU of the condition"));
        TRY(own(ctx, m, scratch, &m->head_mod, FDIT_F32, k * 2 * d, "head modulation"));
        TRY(own(ctx, m, train ? FDIT_PLAN_ACTIVATIONS : scratch, &m->mods, FDIT_F32,
                (size_t)c->depth * k * 6 * d, "modulations of all blocks"));
        TRY(own(ctx, m, scratch, &m->tokens_out, FDIT_F32, b * n * (size_t)fdit_config_patch_out(c),
                "output tokens"));
    } else {
        TRY(own(ctx, m, scratch, &m->pooled, FDIT_F32, b * d, "mean token"));
    }
    if (m->options.kept_branches)
        TRY(own(ctx, m, scratch, &m->branches, FDIT_F32,
                (size_t)m->options.kept_branches * (size_t)c->depth * 2 * md, "branches of earlier steps"));
    size_t dwide = md * (ratio > 3 ? ratio : 3);
    TRY(plan_adapters(ctx, m, dwide));
    if (train)
        TRY(plan_gradients(ctx, m, dwide, out));
out:
    return status;
}

/* The patch embedding and the head are exact: in int8 what they lose is the picture itself. So is the
 * embedding of the guidance scale, which is small. */
static void weight_desc(const struct fdit_model *m, const struct fdit_param *p, struct fdit_weight_desc *desc)
{
    const struct fdit_end_layers *ends = &m->params.ends;
    *desc = (struct fdit_weight_desc){ .n_out = p->n_out,
                                       .n_in = p->n_in,
                                       .exact = p == ends->patch.weight || p == ends->linear.weight ||
                                                p == ends->w0.weight || p == ends->w2.weight,
                                       .storage = m->options.storage,
                                       .need_dx = m->options.training && p->need_dx };
}

static size_t matrix_bytes(const struct fdit_model *m, int group)
{
    size_t bytes = 0;
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        struct fdit_weight_desc desc;
        if (p->group != group || p->trained || p->borrowed || p->kind != FDIT_PARAM_MATRIX)
            continue;
        weight_desc(m, p, &desc);
        bytes += fdit_weight_bytes(m->dev, &desc);
    }
    return bytes;
}

static enum fdit_status plan_group(fdit_context *ctx, struct fdit_model *m, int g)
{
    struct fdit_group *group = &m->params.groups[g];
    const bool training = m->options.training;
    const int moments = training ? m->options.moments : 0;
    const size_t trained = group->trained * sizeof(float), kept = group->kept * sizeof(float);
    const bool row = g == fdit_group_table(&m->config) && trained;
    const size_t base = row ? fdit_page_floats((size_t)m->config.width) * sizeof(float) : trained;
    const struct {
        bool wanted;
        enum fdit_plan_kind kind;
        fdit_buffer **where;
        size_t bytes;
        const char *what;
    } parts[] = {
        { true, FDIT_PLAN_WEIGHTS, NULL, matrix_bytes(m, g), "matrices" },
        { true, FDIT_PLAN_WEIGHTS, &group->fixed, group->frozen * sizeof(float), "biases, norms and tables" },
        { true, FDIT_PLAN_TRAINED, &group->value, trained, "parameters" },
        { m->options.ema, FDIT_PLAN_EMA, &group->ema, kept, "averages" },
        { m->options.profiles, FDIT_PLAN_EMA, &group->profile[0], kept, "averages of width 0.05" },
        { m->options.profiles, FDIT_PLAN_EMA, &group->profile[1], kept, "averages of width 0.10" },
        { m->options.base_values, FDIT_PLAN_WEIGHTS, &group->base, base, "what it was in the base" },
        { training, FDIT_PLAN_GRADIENTS, &group->grad, trained, "gradients" },
        { moments > 0, FDIT_PLAN_OPTIMISER, &group->moment[0], kept, "first moments" },
        { moments > 1, FDIT_PLAN_OPTIMISER, &group->moment[1], kept, "second moments" },
    };
    _Static_assert(FDIT_MOST_MOMENTS == 2 && FDIT_EMA_PROFILES == 2, "a row for each moment and average");
    enum fdit_status status = FDIT_OK;
    char name[FDIT_GROUP_NAME];
    fdit_group_name(&m->config, g, name);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].wanted)
            TRY(fdit_plan_add(ctx, &m->plan, parts[i].kind, parts[i].where, parts[i].bytes, "%s of %s",
                              parts[i].what, name));
out:
    return status;
}

/* What options.share leaves of the groups here. */
static void share_groups(struct fdit_model *m)
{
    const struct fdit_model_share *s = &m->options.share;
    const struct fdit_param *table = m->params.ends.table;
    if (!s->some)
        return;
    for (int g = 0; g < m->params.n_groups; g++)
        m->params.groups[g].kept = s->others ? m->params.groups[g].trained : 0;
    if (table && table->trained) {
        struct fdit_group *group = &m->params.groups[table->group];
        group->first = table->offset + s->first * (size_t)m->config.width;
        group->kept = s->rows * (size_t)m->config.width;
    }
}

static enum fdit_status plan_params(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    for (int g = 0; g < m->params.n_groups; g++)
        TRY(plan_group(ctx, m, g));
out:
    return status;
}

int fdit_model_linears(const struct fdit_model_config *c, int batch, bool plain,
                       struct fdit_op_shape out[FDIT_MODEL_LINEARS])
{
    int n = fdit_config_tokens(c), d = c->width, wide = c->mlp_ratio * d;
    int head = c->kind == FDIT_MODEL_DIT ? fdit_config_patch_out(c) : c->table_rows;
    const struct {
        int tokens, n_in, n_out;
    } linears[] = {
        { n, fdit_config_patch_in(c), d },
        { 1, FDIT_TIME_FEATURES, d },
        { 1, d, d },
        { 1, d, 6 * d },
        { 1, d, 2 * d },
        { n, d, 3 * d },
        { n, d, d },
        { n, d, wide },
        { n, wide, d },
        { c->kind == FDIT_MODEL_DIT ? n : 1, d, head },
    };
    static const enum fdit_op ops[] = { FDIT_OP_LINEAR, FDIT_OP_LINEAR_DX, FDIT_OP_LINEAR_DW };
    int k = 0;
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++)
        for (size_t j = 0; j < 3; j++)
            out[k++] = (struct fdit_op_shape){ .op = ops[j],
                                               .samples = batch,
                                               .tokens = linears[i].tokens,
                                               .n_in = linears[i].n_in,
                                               .n_out = linears[i].n_out,
                                               .plain = plain };
    return k;
}

/* Shapes of ops; `status` sticks. */
struct shape_list {
    fdit_context *ctx;
    enum fdit_status status;
    struct fdit_op_shape *list;
    size_t n, capacity;
};

static void add_shape(struct shape_list *l, struct fdit_op_shape shape)
{
    if (l->status == FDIT_OK)
        l->status = fdit_grow(l->ctx, &l->list, &l->capacity, l->n + 1, sizeof *l->list);
    if (l->status == FDIT_OK)
        l->list[l->n++] = shape;
}

/* The linear layers (those on one vector a sample: of all conditions) and the sums for their biases. */
static void add_linears(struct shape_list *l, const struct fdit_model *m)
{
    struct fdit_op_shape linears[FDIT_MODEL_LINEARS];
    const int b = m->options.batch, k = fdit_model_linears(&m->config, b, trains_matrices(m), linears);
    for (int i = 0; i < k; i++) {
        struct fdit_op_shape s = linears[i];
        if (s.op == FDIT_OP_LINEAR)
            add_shape(l, (struct fdit_op_shape){
                             .op = FDIT_OP_COLUMN_SUM, .samples = b, .tokens = s.tokens, .n_out = s.n_out });
        if (s.op == FDIT_OP_LINEAR && s.tokens == 1)
            s.samples = m->options.conditions;
        add_shape(l, s);
        if (s.plain) { /* beside matrices that are trained some may be frozen */
            s.plain = false;
            add_shape(l, s);
        }
    }
}

/* The products with A [rank, n_in] and B [n_out, rank] of each layer that has an adapter, or what gammas
 * need. */
static void add_adapters(struct shape_list *l, const struct fdit_model *m)
{
    static const enum fdit_op ops[] = { FDIT_OP_LINEAR, FDIT_OP_LINEAR_DX, FDIT_OP_LINEAR_DW };
    static const enum fdit_op gamma_ops[] = { FDIT_OP_GATE, FDIT_OP_GATE_BACKWARD, FDIT_OP_COLUMN_SUM };
    const struct fdit_block_layers *block = m->params.blocks;
    const struct fdit_layer *layers[] = { &block->qkv, &block->proj, &block->fc1, &block->fc2 };
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        const struct fdit_param *parts[] = { layers[i]->low_a, layers[i]->low_b };
        if (layers[i]->gamma)
            for (size_t j = 0; j < 3; j++)
                add_shape(l, (struct fdit_op_shape){ .op = gamma_ops[j],
                                                     .samples = m->options.batch,
                                                     .tokens = layers[i]->tokens,
                                                     .n_out = layers[i]->weight->n_out });
        for (size_t j = 0; j < 2 && parts[0] && fdit_device_fuses_low(m->dev); j++)
            add_shape(l, (struct fdit_op_shape){ .op = ops[j],
                                                 .samples = m->options.batch,
                                                 .tokens = layers[i]->tokens,
                                                 .n_in = layers[i]->weight->n_in,
                                                 .n_out = layers[i]->weight->n_out,
                                                 .low_rank = m->config.adapter.rank });
        for (size_t j = 0; j < 6 && parts[j / 3]; j++)
            add_shape(l, (struct fdit_op_shape){ .op = ops[j % 3],
                                                 .samples = m->options.batch,
                                                 .tokens = layers[i]->tokens,
                                                 .n_in = parts[j / 3]->n_in,
                                                 .n_out = parts[j / 3]->n_out,
                                                 .plain = true });
    }
    if (m->config.adapter.gammas)
        add_shape(l, (struct fdit_op_shape){ .op = FDIT_OP_GATE_BACKWARD,
                                             .samples = 1,
                                             .tokens = m->options.batch,
                                             .n_out = 6 * m->config.width });
}

static void add_blocks_ops(struct shape_list *l, const struct fdit_model *m)
{
    static const enum fdit_op row_ops[] = { FDIT_OP_COLUMN_SUM, FDIT_OP_NORM,
                                            FDIT_OP_MODULATE,   FDIT_OP_NORM_BACKWARD,
                                            FDIT_OP_GATE,       FDIT_OP_GATE_BACKWARD,
                                            FDIT_OP_TOKEN_MEAN, FDIT_OP_TOKEN_MEAN_BACKWARD };
    static const enum fdit_op head_ops[] = { FDIT_OP_ATTENTION, FDIT_OP_ATTENTION_BACKWARD, FDIT_OP_QK_NORM,
                                             FDIT_OP_QK_NORM_BACKWARD };
    static const enum fdit_op flat_ops[] = { FDIT_OP_ACTIVATION, FDIT_OP_ACTIVATION_BACKWARD,
                                             FDIT_OP_PATCHIFY, FDIT_OP_UNPATCHIFY };
    const struct fdit_model_config *c = &m->config;
    const int b = m->options.batch, n = fdit_config_tokens(c), d = c->width;
    const size_t wide = (size_t)b * (size_t)n * (size_t)c->mlp_ratio * (size_t)d;
    for (size_t i = 0; i < sizeof row_ops / sizeof row_ops[0]; i++)
        add_shape(l, (struct fdit_op_shape){ .op = row_ops[i], .samples = b, .tokens = n, .n_out = d });
    for (size_t i = 0; i < sizeof head_ops / sizeof head_ops[0]; i++)
        add_shape(
            l,
            (struct fdit_op_shape){
                .op = head_ops[i], .samples = b, .tokens = n, .heads = c->heads, .head_size = d / c->heads });
    if (c->qk_norm)
        add_shape(l, (struct fdit_op_shape){
                         .op = FDIT_OP_COLUMN_SUM, .samples = b, .tokens = n, .n_out = d / c->heads });
    for (size_t i = 0; i < sizeof flat_ops / sizeof flat_ops[0]; i++)
        add_shape(l, (struct fdit_op_shape){ .op = flat_ops[i], .samples = b, .n = wide });
}

/* The map of class vectors. */
static void add_class_map(struct shape_list *l, const struct fdit_model *m)
{
    static const enum fdit_op ops[] = { FDIT_OP_LINEAR, FDIT_OP_LINEAR_DW };
    const struct fdit_model_config *c = &m->config;
    if (!c->class_vectors)
        return;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        add_shape(l, (struct fdit_op_shape){ .op = ops[i],
                                             .samples = m->options.conditions,
                                             .tokens = 1,
                                             .n_in = c->class_vectors,
                                             .n_out = c->width,
                                             .plain = true });
    add_shape(l, (struct fdit_op_shape){ .op = FDIT_OP_GATHER,
                                         .samples = m->options.conditions,
                                         .n_in = c->table_rows,
                                         .n_out = c->class_vectors });
}

/* The embedding of the guidance scale. */
static void add_guidance(struct shape_list *l, const struct fdit_model *m)
{
    static const enum fdit_op linears[] = { FDIT_OP_LINEAR, FDIT_OP_LINEAR_DX, FDIT_OP_LINEAR_DW };
    static const enum fdit_op rows[] = { FDIT_OP_NORM, FDIT_OP_NORM_BACKWARD, FDIT_OP_COLUMN_SUM };
    static const enum fdit_op gates[] = { FDIT_OP_GATE, FDIT_OP_GATE_BACKWARD };
    const int k = m->options.conditions, d = m->config.width, widths[] = { 1, d };
    if (!m->config.guidance_input)
        return;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            add_shape(l, (struct fdit_op_shape){ .op = linears[j],
                                                 .samples = k,
                                                 .tokens = 1,
                                                 .n_in = widths[i],
                                                 .n_out = d,
                                                 .plain = m->options.training });
    for (int i = 0; i < 3; i++)
        add_shape(l, (struct fdit_op_shape){ .op = rows[i], .samples = k, .tokens = 1, .n_out = d });
    for (int i = 0; i < 2; i++)
        add_shape(l, (struct fdit_op_shape){ .op = gates[i], .samples = k, .tokens = d, .n_out = 1 });
}

/* The largest workspace of all ops that forward and backward will call. */
static enum fdit_status workspace(fdit_context *ctx, struct fdit_model *m, size_t *bytes)
{
    const struct fdit_model_config *c = &m->config;
    const int b = m->options.batch, k = m->options.conditions, d = c->width;
    struct shape_list l = { .ctx = ctx };
    add_linears(&l, m);
    add_adapters(&l, m);
    add_blocks_ops(&l, m);
    add_class_map(&l, m);
    add_guidance(&l, m);
    add_shape(&l,
              (struct fdit_op_shape){ .op = FDIT_OP_ACTIVATION, .samples = k, .n = (size_t)k * (size_t)d });
    add_shape(
        &l, (struct fdit_op_shape){ .op = FDIT_OP_GATHER, .samples = k, .n_in = c->table_rows, .n_out = d });
    add_shape(&l, (struct fdit_op_shape){
                      .op = FDIT_OP_SCATTER_ADD, .samples = b, .n_in = c->table_rows, .n_out = d });
    if (m->options.activations != FDIT_F32)
        add_shape(&l, (struct fdit_op_shape){ .op = FDIT_OP_COPY, .samples = b, .n = m->shared_count });
    if (l.status == FDIT_OK)
        *bytes = fdit_device_workspace(m->dev, l.list, l.n);
    fdit_free(l.list);
    return l.status;
}

enum fdit_status fdit_model_new(fdit_context *ctx, fdit_device *dev, const struct fdit_model_config *config,
                                const struct fdit_model_options *options, struct fdit_model **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = NULL;
    size_t workspace_bytes = 0;
    *out = NULL;
    if (options->batch < 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "model: a batch of %d; it must be at least 1", options->batch);
    int conditions = options->conditions ? options->conditions : options->batch;
    bool several = !options->training && config->kind == FDIT_MODEL_DIT;
    if (conditions < options->batch || (conditions > options->batch && !several))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "model: conditions of %d samples for a batch of %d; they "
             "are for the inference of a DiT and at least a batch",
             options->conditions, options->batch);
    if (options->kept_branches < 0 || options->kept_branches > FDIT_MOST_BRANCHES ||
        (options->kept_branches && !several))
        FAIL(
            ctx, FDIT_ERROR_ARGUMENT,
            "model: %d results of each branch are to be kept; it can be up to %d, for the inference of a DiT",
            options->kept_branches, FDIT_MOST_BRANCHES);
    bool keeps_all = options->training && options->recompute == FDIT_RECOMPUTE_NONE;
    if (options->activations != FDIT_F32 && (options->activations != FDIT_BF16 || !keeps_all))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "model: activations in %s; bf16 is for training, without recomputation",
             fdit_dtype_name(options->activations));
    TRY(fdit_alloc(ctx, 1, sizeof *m, &m));
    m->dev = dev;
    m->config = *config;
    m->options = *options;
    m->options.conditions = conditions;
    if (options->mask) {
        m->mask = *options->mask;
        m->options.mask = &m->mask;
    }
    TRY(fdit_params_init(ctx, config, options->mask, &m->params));
    share_groups(m);
    for (int i = 0; options->lender && i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        p->borrowed =
            p->kind == FDIT_PARAM_MATRIX && !p->trained && options->borrows(options->borrows_user, p);
    }
    m->options.borrows_user = NULL; /* the caller's, for this call */
    TRY(fdit_alloc(ctx, (size_t)m->options.conditions, FDIT_TIME_FEATURES * sizeof(float), &m->times));
    TRY(plan_params(ctx, m));
    TRY(plan_blocks(ctx, m));
    TRY(plan_tensors(ctx, m));
    TRY(workspace(ctx, m, &workspace_bytes));
    TRY(fdit_plan_add(ctx, &m->plan, FDIT_PLAN_WORKSPACE, NULL, workspace_bytes, "workspace of the ops"));
    *out = m;
    return FDIT_OK;
out:
    fdit_model_free(m);
    return status;
}

void fdit_model_free(struct fdit_model *m)
{
    if (!m)
        return;
    for (int i = 0; m->saved && i < m->config.depth; i++)
        fdit_buffer_free(m->saved[i].buffer);
    for (int i = 0; m->saved && i < m->config.depth; i++)
        fdit_buffer_free(m->saved[i].rounded_buffer);
    fdit_buffer_free(m->shared.buffer);
    for (int i = 0; i < m->n_own; i++)
        fdit_buffer_free(m->own[i]);
    fdit_params_fini(&m->params);
    fdit_plan_fini(&m->plan);
    fdit_free(m->saved);
    fdit_free(m->bindings);
    fdit_free(m->times);
    fdit_free(m);
}

enum fdit_status fdit_model_allocate(fdit_context *ctx, struct fdit_model *m)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_plan_allocate(ctx, &m->plan, m->dev));
    for (size_t i = 0; i < m->n_bindings; i++)
        m->bindings[i].tensor->buffer = *m->bindings[i].buffer;
    for (int i = 0; m->saved && fdit_has(m->mods) && i < m->config.depth; i++)
        m->saved[i].mod = fdit_block_mods(m, i, 0);
    TRY(fdit_device_reserve(ctx, m->dev, fdit_plan_kind_bytes(&m->plan, FDIT_PLAN_WORKSPACE)));
    if (fdit_has(m->mod_scale))
        fdit_fill(m->dev, m->mod_scale, (size_t)m->config.depth * 6 * (size_t)m->config.width, 1);
out:
    return status;
}

/* ------------------------------------------------------------------ parameter values */

static fdit_buffer *kept_values(const struct fdit_group *g, enum fdit_values values)
{
    if (values >= FDIT_VALUES_PROFILE)
        return g->profile[values - FDIT_VALUES_PROFILE];
    return values == FDIT_VALUES_EMA ? g->ema : values == FDIT_VALUES_BASE ? g->base : g->value;
}

fdit_buffer *fdit_group_values(const struct fdit_group *g, enum fdit_values values)
{
    return values == FDIT_VALUES_BASE ? g->base : fdit_group_whole(g, kept_values(g, values));
}

fdit_buffer *fdit_group_set(const struct fdit_group *g, int moments, int set)
{
    if (set < 2)
        return set ? g->ema : g->value;
    return set < 2 + moments ? g->moment[set - 2] : g->profile[set - 2 - moments];
}

fdit_buffer *fdit_group_whole(const struct fdit_group *g, fdit_buffer *part)
{
    return part && part != g->value && g->kept < g->trained ? g->grad : part;
}

enum fdit_status fdit_model_gather(fdit_context *ctx, struct fdit_model *m, const struct fdit_group *g,
                                   fdit_buffer *part)
{
    enum fdit_status status = FDIT_OK;
    if (!part || g->kept == g->trained || m->gathered == part)
        return FDIT_OK;
    if (!m->gather)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "the class table is shared with processes that do not answer");
    m->gathered = NULL;
    TRY(m->gather(ctx, m->gather_user, part, fdit_group_whole(g, part)));
    m->gathered = part;
out:
    return status;
}

enum fdit_status fdit_model_gather_values(fdit_context *ctx, struct fdit_model *m, enum fdit_values values)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < m->params.n_groups && values != FDIT_VALUES_BASE; i++)
        TRY(fdit_model_gather(ctx, m, &m->params.groups[i], kept_values(&m->params.groups[i], values)));
out:
    return status;
}

struct fdit_tensor fdit_param_value(const struct fdit_model *m, const struct fdit_param *p)
{
    const struct fdit_group *g = &m->params.groups[p->group];
    fdit_buffer *buffer = p->trained ? fdit_group_values(g, m->values) : g->fixed;
    return (struct fdit_tensor){ buffer, p->offset, FDIT_F32 };
}

struct fdit_tensor fdit_param_grad(const struct fdit_model *m, const struct fdit_param *p)
{
    return (struct fdit_tensor){ m->params.groups[p->group].grad, p->offset, FDIT_F32 };
}

void fdit_group_write_part(fdit_device *dev, const struct fdit_group *g, fdit_buffer *part, size_t at,
                           const float *data, size_t n)
{
    const size_t begin = at > g->first ? at : g->first;
    const size_t end = fdit_least(at + n, g->first + g->kept);
    if (part && begin < end)
        fdit_write(dev, (struct fdit_tensor){ part, begin - g->first, FDIT_F32 }, data + (begin - at),
                   end - begin);
}

enum fdit_status fdit_model_set(fdit_context *ctx, struct fdit_model *m, struct fdit_param *p,
                                const float *data)
{
    const struct fdit_group *g = &m->params.groups[p->group];
    if (!p->trained && p->kind == FDIT_PARAM_MATRIX) {
        struct fdit_weight_desc desc;
        weight_desc(m, p, &desc);
        fdit_weight_free(p->weight);
        p->weight = NULL;
        return fdit_weight_new(ctx, m->dev, &desc, data, &p->weight);
    }
    if (p->trained) {
        fdit_write(m->dev, (struct fdit_tensor){ g->value, p->offset, FDIT_F32 }, data, p->count);
        fdit_buffer *averages[] = { g->ema, g->profile[0], g->profile[1] };
        for (size_t i = 0; i < sizeof averages / sizeof *averages; i++)
            fdit_group_write_part(m->dev, g, averages[i], p->offset, data, p->count);
    } else {
        fdit_write(m->dev, (struct fdit_tensor){ g->fixed, p->offset, FDIT_F32 }, data, p->count);
    }
    return fdit_device_status(ctx, m->dev);
}

enum fdit_status fdit_model_set_base(fdit_context *ctx, struct fdit_model *m, const struct fdit_param *p,
                                     const float *data)
{
    const struct fdit_group *g = &m->params.groups[p->group];
    const size_t n = p->kind == FDIT_PARAM_TABLE ? (size_t)m->config.width : p->count;
    fdit_write(m->dev, (struct fdit_tensor){ g->base, p->offset, FDIT_F32 }, data, n);
    return fdit_device_status(ctx, m->dev);
}

enum fdit_status fdit_model_set_class_vectors(fdit_context *ctx, struct fdit_model *m, const float *vectors,
                                              const int32_t *at, int32_t classes, bool frozen)
{
    const size_t d = (size_t)m->config.class_vectors;
    fdit_fill(m->dev, m->class_vectors, (size_t)m->config.table_rows * d, 0);
    for (int32_t c = 0; c < classes; c++)
        fdit_write(m->dev, fdit_at(m->class_vectors, (size_t)c * d), vectors + (size_t)at[c] * d, d);
    m->frozen_rows = frozen ? classes : 0;
    return fdit_device_status(ctx, m->dev);
}

enum fdit_status fdit_model_set_prior(fdit_context *ctx, struct fdit_model *m, const float *table)
{
    fdit_write(m->dev, m->prior_table, table, (size_t)m->options.prior_rows * (size_t)m->config.width);
    return fdit_device_status(ctx, m->dev);
}

enum fdit_status fdit_model_get(fdit_context *ctx, const struct fdit_model *m, const struct fdit_param *p,
                                enum fdit_values values, float *data)
{
    const struct fdit_group *g = &m->params.groups[p->group];
    if (!p->trained && p->kind == FDIT_PARAM_MATRIX)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s is frozen and packed for the device; read it from its checkpoint", p->name);
    fdit_buffer *buffer = p->trained ? fdit_group_values(g, values) : g->fixed;
    return fdit_read(ctx, m->dev, (struct fdit_tensor){ buffer, p->offset, FDIT_F32 }, data, p->count);
}

void fdit_model_write_times(struct fdit_model *m, int samples, const double *t)
{
    for (int b = 0; b < samples; b++)
        fdit_time_features(t[b], m->times + (size_t)b * FDIT_TIME_FEATURES);
    fdit_write(m->dev, m->t_features, m->times, (size_t)samples * FDIT_TIME_FEATURES);
}

void fdit_model_write_strengths(struct fdit_model *m, int samples, const float *w_less_1)
{
    if (!m->config.guidance_input)
        return;
    if (w_less_1)
        fdit_write(m->dev, m->strengths, w_less_1, (size_t)samples);
    else
        fdit_fill(m->dev, m->strengths, (size_t)samples, 0);
}
