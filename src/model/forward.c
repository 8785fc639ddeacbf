/* SPDX-License-Identifier: Apache-2.0
 * The forward pass, line by line as in doc/DESIGN.md, "The network". Letters: B samples, N tokens, D width,
 * M = B N. First the ops on a site, each one call to the device; then the network made of them, which
 * backward.c mirrors function by function. n: samples of this pass. */
#include "model/model_internal.h"

#include "core/mem.h"

/* ------------------------------------------------------------------ ops on a site */

/* s B (A x), what the adapter of a layer adds to its product: by the layer's op itself or, where the device
 * does not do that, a product before it. A x is multiplied by s, the smallest of the tensors. */
static void add_adapter(struct fdit_model *m, const struct fdit_layer *l, int n, struct fdit_linear_args *a)
{
    if (!l->low_a)
        return;
    fdit_low_rank_inner(m, l, a->x, n);
    if (fdit_device_fuses_low(m->dev)) {
        a->low = m->low_scaled;
        a->low_matrix = fdit_param_value(m, l->low_b);
        a->low_rank = l->low_b->n_in;
        return;
    }
    fdit_linear(m->dev, &(struct fdit_linear_args){ .samples = n,
                                                    .tokens = l->tokens,
                                                    .n_in = l->low_b->n_in,
                                                    .n_out = l->low_b->n_out,
                                                    .y = m->beside,
                                                    .x = m->low_scaled,
                                                    .matrix = fdit_param_value(m, l->low_b) });
    a->add = m->beside;
}

void fdit_low_rank_inner(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x, int n)
{
    fdit_linear(m->dev, &(struct fdit_linear_args){ .samples = n,
                                                    .tokens = l->tokens,
                                                    .n_in = l->low_a->n_in,
                                                    .n_out = l->low_a->n_out,
                                                    .y = m->low,
                                                    .x = x,
                                                    .matrix = fdit_param_value(m, l->low_a) });
    fdit_low_rank_scale(m, l, n);
}

void fdit_low_rank_scale(struct fdit_model *m, const struct fdit_layer *l, int n)
{
    fdit_axpy(m->dev, &(struct fdit_axpy_args){ .n = (size_t)n * (size_t)l->tokens * (size_t)l->low_a->n_out,
                                                .alpha = fdit_adapter_scale(&m->config.adapter),
                                                .y = m->low_scaled,
                                                .x = m->low });
}

/* The op of a linear layer; the caller's `a` says what is fused. */
static void apply(struct fdit_model *m, const struct fdit_layer *l, int n, struct fdit_linear_args a)
{
    a.samples = n;
    a.tokens = l->tokens;
    a.n_in = l->weight->n_in;
    a.n_out = l->weight->n_out;
    if (l->weight->trained)
        a.matrix = fdit_param_value(m, l->weight);
    else
        a.weight = l->weight->weight;
    a.bias = fdit_param_value(m, l->bias);
    add_adapter(m, l, n, &a);
    fdit_linear(m->dev, &a);
}

/* y = Linear(x) */
static void linear(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x,
                   struct fdit_tensor y, int n)
{
    apply(m, l, n, (struct fdit_linear_args){ .y = y, .x = x });
}

struct fdit_tensor fdit_scaled(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor result,
                               int n)
{
    if (!l->gamma)
        return result;
    fdit_gate(m->dev, &(struct fdit_gate_args){ .samples = n,
                                                .tokens = l->tokens,
                                                .width = l->weight->n_out,
                                                .y = m->wide,
                                                .branch = result,
                                                .gate = fdit_param_value(m, l->gamma) });
    return m->wide;
}

/* y = act(pre), pre = Linear(x) */
static void linear_act(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x,
                       enum fdit_act act, struct fdit_tensor pre, struct fdit_tensor y, int n)
{
    apply(m, l, n, (struct fdit_linear_args){ .y = y, .x = x, .act = act, .pre = pre });
}

/* x += gate branch, branch = Linear(in) */
static void add_branch(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor in,
                       const struct fdit_gate_site *s, int n)
{
    apply(m, l, n,
          (struct fdit_linear_args){ .y = m->x,
                                     .x = in,
                                     .pre = s->branch,
                                     .gate = s->gate,
                                     .gate_stride = s->stride,
                                     .residual = m->x });
}

/* x += gate branch, with the branch that is kept */
static void add_kept_branch(struct fdit_model *m, const struct fdit_gate_site *s, int n)
{
    fdit_gate(m->dev, &(struct fdit_gate_args){ .samples = n,
                                                .tokens = fdit_config_tokens(&m->config),
                                                .width = m->config.width,
                                                .y = m->x,
                                                .residual = m->x,
                                                .branch = s->branch,
                                                .gate = s->gate,
                                                .gate_stride = s->stride });
}

/* u = LN(x) (1 + scale) + shift */
static void norm(struct fdit_model *m, const struct fdit_norm_site *s, int n)
{
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = n,
                                                .tokens = s->layer->tokens,
                                                .width = m->config.width,
                                                .y = m->u,
                                                .x = m->x,
                                                .weight = fdit_param_value(m, s->layer->weight),
                                                .bias = fdit_param_value(m, s->layer->bias),
                                                .shift = s->shift,
                                                .scale = s->scale,
                                                .mod_stride = s->stride,
                                                .xhat = s->xhat,
                                                .rstd = s->rstd });
}

/* q, k of each head = LN(q), LN(k), in place */
static void qk_norm(struct fdit_model *m, const struct fdit_block_site *b, struct fdit_tensor qkv, int n)
{
    fdit_qk_norm(m->dev, &(struct fdit_qk_norm_args){ .samples = n,
                                                      .tokens = fdit_config_tokens(&m->config),
                                                      .heads = m->config.heads,
                                                      .head_size = m->config.width / m->config.heads,
                                                      .y = qkv,
                                                      .x = qkv,
                                                      .q_weight = fdit_param_value(m, b->q_norm->weight),
                                                      .q_bias = fdit_param_value(m, b->q_norm->bias),
                                                      .k_weight = fdit_param_value(m, b->k_norm->weight),
                                                      .k_bias = fdit_param_value(m, b->k_norm->bias),
                                                      .xhat = b->qk_xhat,
                                                      .rstd = b->qk_rstd });
}

struct fdit_tensor fdit_attention_input(struct fdit_model *m, const struct fdit_block_site *b, int n,
                                        bool again)
{
    const struct fdit_tensor qkv = fdit_scaled(m, b->qkv, b->qkv_out, n);
    if (b->q_norm->weight && (!again || b->qkv->gamma))
        qk_norm(m, b, qkv, n);
    return qkv;
}

/* heads = softmax(q k^T / sqrt dh) v */
static void attention(struct fdit_model *m, const struct fdit_block_site *b, struct fdit_tensor qkv, int n)
{
    fdit_attention(m->dev, &(struct fdit_attention_args){ .samples = n,
                                                          .tokens = fdit_config_tokens(&m->config),
                                                          .heads = m->config.heads,
                                                          .head_size = m->config.width / m->config.heads,
                                                          .out = b->heads_out,
                                                          .lse = b->lse,
                                                          .qkv = qkv });
}

/* c += Linear(vector of the row) */
static void add_class_map(struct fdit_model *m, int n)
{
    fdit_gather(m->dev, &(struct fdit_gather_args){ .samples = n,
                                                    .table_rows = m->config.table_rows,
                                                    .width = m->config.class_vectors,
                                                    .y = m->class_in,
                                                    .table = m->class_vectors,
                                                    .index = m->index });
    apply(m, &m->params.ends.class_map, n,
          (struct fdit_linear_args){ .y = m->c, .x = m->class_in, .beta = 1 });
}

/* c += table[row], and what the map of class vectors gives; or row of the prior's table alone */
static void add_class(struct fdit_model *m, int n)
{
    const int own = m->values == FDIT_VALUES_BASE ? 1 : m->config.table_rows;
    fdit_gather(m->dev, &(struct fdit_gather_args){
                            .samples = n,
                            .table_rows = m->prior ? m->options.prior_rows : own,
                            .width = m->config.width,
                            .y = m->c,
                            .table = m->prior ? m->prior_table : fdit_param_value(m, m->params.ends.table),
                            .index = m->index,
                            .beta = 1 });
    if (m->config.class_vectors && !m->prior)
        add_class_map(m, n);
}

enum fdit_status fdit_model_class_rows(fdit_context *ctx, struct fdit_model *m, enum fdit_values values,
                                       int32_t first, int32_t n, float *out)
{
    enum fdit_status status = FDIT_OK;
    const enum fdit_values before = m->values;
    const size_t d = (size_t)m->config.width;
    const int32_t most = m->options.batch;
    int32_t *rows = NULL;
    m->values = values;
    TRY(fdit_alloc(ctx, (size_t)most, sizeof *rows, &rows));
    for (int32_t done = 0; done < n; done += most) {
        const int32_t k = n - done < most ? n - done : most;
        for (int32_t i = 0; i < k; i++)
            rows[i] = first + done + i;
        fdit_write(m->dev, m->index, rows, (size_t)k);
        fdit_fill(m->dev, m->c, (size_t)k * d, 0);
        add_class(m, k);
        TRY(fdit_read(ctx, m->dev, m->c, out + (size_t)done * d, (size_t)k * d));
    }
out:
    m->values = before;
    fdit_free(rows);
    return status;
}

static void scale(struct fdit_model *m, struct fdit_tensor y, float alpha, struct fdit_tensor x, int n)
{
    fdit_axpy(m->dev, &(struct fdit_axpy_args){
                          .n = (size_t)n * (size_t)m->config.width, .alpha = alpha, .y = y, .x = x });
}

/* w_spread = D std(c) of each sample */
static void spread_of_condition(struct fdit_model *m, int n)
{
    scale(m, m->w_in, FDIT_GUIDANCE_MAGNIFY, m->c, n);
    fdit_norm(m->dev,
              &(struct fdit_norm_args){
                  .samples = n, .tokens = 1, .width = m->config.width, .x = m->w_in, .xhat = m->c_xhat });
    fdit_gate_backward(m->dev, &(struct fdit_gate_backward_args){ .samples = n,
                                                                  .tokens = m->config.width,
                                                                  .width = 1,
                                                                  .dgate = m->w_spread,
                                                                  .dgate_stride = 1,
                                                                  .dy = m->c,
                                                                  .branch = m->c_xhat });
}

/* c += 0.5 std(c) LN(Linear(SiLU(Linear(w - 1)))): see model_internal.h */
static void add_guidance(struct fdit_model *m, int n)
{
    const struct fdit_end_layers *e = &m->params.ends;
    if (!m->config.guidance_input)
        return;
    linear_act(m, &e->w0, m->strengths, FDIT_ACT_SILU, m->w_pre, m->w_hidden, n);
    linear(m, &e->w2, m->w_hidden, m->w_out, n);
    scale(m, m->w_in, FDIT_GUIDANCE_SHRINK, m->w_out, n);
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = n,
                                                .tokens = 1,
                                                .width = m->config.width,
                                                .y = m->w_out,
                                                .x = m->w_in,
                                                .weight = fdit_param_value(m, e->w_norm.weight),
                                                .bias = fdit_param_value(m, e->w_norm.bias),
                                                .xhat = m->w_xhat,
                                                .rstd = m->w_rstd });
    spread_of_condition(m, n);
    scale(m, m->w_in, fdit_guidance_factor(m), m->w_out, n);
    fdit_gate(m->dev, &(struct fdit_gate_args){ .samples = n,
                                                .tokens = m->config.width,
                                                .width = 1,
                                                .y = m->c,
                                                .residual = m->c,
                                                .branch = m->w_in,
                                                .gate = m->w_spread,
                                                .gate_stride = 1 });
}

/* silu_c = SiLU(c) */
static void silu(struct fdit_model *m, int n)
{
    fdit_activation(m->dev, &(struct fdit_activation_args){ .n = (size_t)n * (size_t)m->config.width,
                                                            .act = FDIT_ACT_SILU,
                                                            .y = m->silu_c,
                                                            .x = m->c });
}

static void patchify(struct fdit_model *m, int n)
{
    const struct fdit_model_config *c = &m->config;
    fdit_patchify(m->dev, &(struct fdit_patchify_args){ .samples = n,
                                                        .channels = c->channels,
                                                        .size = c->input_size,
                                                        .patch = c->patch,
                                                        .order = FDIT_PATCH_CHANNEL_FIRST,
                                                        .tokens = m->patches,
                                                        .image = m->input });
}

static void unpatchify(struct fdit_model *m, int n)
{
    const struct fdit_model_config *c = &m->config;
    fdit_unpatchify(m->dev, &(struct fdit_patchify_args){ .samples = n,
                                                          .channels = fdit_config_out_channels(c),
                                                          .size = c->input_size,
                                                          .patch = c->patch,
                                                          .order = FDIT_PATCH_CHANNEL_LAST,
                                                          .tokens = m->tokens_out,
                                                          .image = m->output });
}

/* pooled = mean over tokens of u */
static void token_mean(struct fdit_model *m, int n)
{
    fdit_token_mean(m->dev, &(struct fdit_token_mean_args){ .samples = n,
                                                            .tokens = fdit_config_tokens(&m->config),
                                                            .width = m->config.width,
                                                            .y = m->pooled,
                                                            .x = m->u });
}

/* ------------------------------------------------------------------ the network */

/* c = Linear(SiLU(Linear(features(t)))) + table[row], and what the guidance scale adds;  silu_c = SiLU(c)
 * [B, D] */
static void condition(struct fdit_model *m, int n)
{
    const struct fdit_end_layers *e = &m->params.ends;
    linear_act(m, &e->t0, m->t_features, FDIT_ACT_SILU, m->t_pre, m->t_hidden, n);
    linear(m, &e->t2, m->t_hidden, m->c, n);
    add_class(m, n);
    add_guidance(m, n);
    silu(m, n);
}

/* x = patches W^T + b + pos    [B, N, D] */
static void embed(struct fdit_model *m, int n)
{
    const struct fdit_end_layers *e = &m->params.ends;
    patchify(m, n);
    apply(m, &e->patch, n,
          (struct fdit_linear_args){
              .y = m->x, .x = m->patches, .residual = fdit_param_value(m, e->pos), .residual_shared = true });
}

static void attention_heads(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    norm(m, &b->norm1, n);                                    /* u = LN1(x) (1 + scale1) + shift1 */
    linear(m, b->qkv, m->u, b->qkv_out, n);                   /* q, k, v = Linear(u) */
    attention(m, b, fdit_attention_input(m, b, n, false), n); /* heads = softmax(q k^T / sqrt dh) v */
}

static void attention_branch(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    attention_heads(m, b, n);
    add_branch(m, b->proj, b->heads_out, &b->gate1, n); /* x += gate1 Linear(heads) */
}

/* wide = GELU(Linear(u)). A gamma comes between the two, so that they are not one op then. */
static void expand(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    const enum fdit_act gelu = FDIT_ACT_GELU_TANH;
    const struct fdit_layer *l = b->fc1;
    if (!l->gamma) {
        linear_act(m, l, m->u, gelu, b->fc1_out, m->wide, n);
        return;
    }
    const struct fdit_tensor plain = fdit_has(b->fc1_out) ? b->fc1_out : m->beside;
    linear(m, l, m->u, plain, n);
    fdit_scaled(m, l, plain, n);
    fdit_activation(
        m->dev, &(struct fdit_activation_args){ .n = (size_t)n * (size_t)l->tokens * (size_t)l->weight->n_out,
                                                .act = gelu,
                                                .y = m->wide,
                                                .x = m->wide });
}

static void mlp_branch(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    norm(m, &b->norm2, n);                        /* u = LN2(x) (1 + scale2) + shift2 */
    expand(m, b, n);                              /* wide = GELU(Linear(u)) */
    add_branch(m, b->fc2, m->wide, &b->gate2, n); /* x += gate2 Linear(wide) */
}

void fdit_block_forward(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    attention_branch(m, b, n);
    mlp_branch(m, b, n);
}

void fdit_block_rebuild(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    attention_heads(m, b, n);
    add_kept_branch(m, &b->gate1, n);
    norm(m, &b->norm2, n);
    linear(m, b->fc1, m->u, b->fc1_out, n);
}

/* out = unpatchify(Linear(LN(x) (1 + scale) + shift)) */
static void final_layer(struct fdit_model *m, int n, int first)
{
    const struct fdit_norm_site site = fdit_final_norm_of(m, first);
    norm(m, &site, n);
    linear(m, &m->params.ends.linear, m->u, m->tokens_out, n);
    unpatchify(m, n);
}

/* logits = Linear(mean over tokens of LN(x)) */
static void classifier_head(struct fdit_model *m, int n)
{
    const struct fdit_norm_site site = fdit_final_norm_of(m, 0);
    norm(m, &site, n);
    token_mean(m, n);
    linear(m, &m->params.ends.linear, m->pooled, m->output, n);
}

/* ------------------------------------------------------------------ passes */

struct fdit_block_saved fdit_block_unrounded(const struct fdit_model *m, int i)
{
    struct fdit_block_saved s = m->shared;
    s.rstd1 = m->saved[i].rstd1;
    s.lse = m->saved[i].lse;
    s.qk_rstd = m->saved[i].qk_rstd;
    s.rstd2 = m->saved[i].rstd2;
    s.mod = m->saved[i].mod;
    return s;
}

/* What block i keeps in a pass with the modulations from sample `first` on: its own tensors, and the shared
 * ones where only scratch is needed. */
static struct fdit_block_saved keeps(const struct fdit_model *m, int i, int first)
{
    struct fdit_block_saved s = m->saved ? m->saved[i] : m->shared;
    if (fdit_has(s.rounded)) {
        s = fdit_block_unrounded(m, i);
    } else if (!fdit_has(s.qkv)) {
        s.qkv = m->shared.qkv;
        s.heads_out = m->shared.heads_out;
    }
    if (m->config.kind == FDIT_MODEL_DIT)
        s.mod = fdit_block_mods(m, i, first);
    return s;
}

/* Branch 0 (attention) or 1 (MLP) of block i as it is kept at a place. */
static struct fdit_tensor kept_branch(const struct fdit_model *m, int i, int branch, int place)
{
    const size_t md =
        (size_t)m->options.batch * (size_t)fdit_config_tokens(&m->config) * (size_t)m->config.width;
    return fdit_at(m->branches,
                   (((size_t)place * (size_t)m->config.depth + (size_t)i) * 2 + (size_t)branch) * md);
}

/* x += gate branch with the branch made of kept ones, in u where there are several. */
static void add_earlier_branch(struct fdit_model *m, int i, int branch, struct fdit_gate_site s, int n)
{
    const struct fdit_branch_use *use = m->use;
    s.branch = kept_branch(m, i, branch, use->place[0]);
    if (use->n > 1) {
        for (int k = 0; k < use->n; k++)
            fdit_axpy(m->dev,
                      &(struct fdit_axpy_args){ .n = (size_t)n * (size_t)fdit_config_tokens(&m->config) *
                                                     (size_t)m->config.width,
                                                .alpha = use->factor[k],
                                                .y = m->u,
                                                .x = kept_branch(m, i, branch, use->place[k]),
                                                .beta = k > 0 });
        s.branch = m->u;
    }
    add_kept_branch(m, &s, n);
}

static void run_block(struct fdit_model *m, int i, int n, int first)
{
    size_t md = (size_t)n * (size_t)fdit_config_tokens(&m->config) * (size_t)m->config.width;
    const struct fdit_block_saved s = keeps(m, i, first);
    struct fdit_block_site block = fdit_block_site_of(m, i, &s);
    if (m->use && m->use->n) {
        add_earlier_branch(m, i, 0, block.gate1, n);
        add_earlier_branch(m, i, 1, block.gate2, n);
        return;
    }
    if (m->use) {
        block.gate1.branch = kept_branch(m, i, 0, m->use->store);
        block.gate2.branch = kept_branch(m, i, 1, m->use->store);
    }
    if (fdit_has(s.x_in))
        fdit_copy(m->dev, s.x_in, m->x, md);
    fdit_block_forward(m, &block, n);
    if (m->options.activations == FDIT_BF16)
        fdit_copy(m->dev, m->saved[i].rounded, fdit_shared_all(m), m->shared_count);
}

/* mod = (shift1, scale1, gate1, shift2, scale2, gate2) = Linear(silu_c) */
static void block_modulations(struct fdit_model *m, int i, int n)
{
    const struct fdit_block_layers *l = &m->params.blocks[i];
    const size_t d = (size_t)m->config.width;
    struct fdit_linear_args a = { .y = fdit_block_mods(m, i, 0), .x = m->silu_c };
    if (l->gamma1) { /* gate gamma branch = (gamma gate) branch: nothing to do at the tokens */
        a.gate = fdit_at(m->mod_scale, (size_t)i * 6 * d);
        fdit_copy(m->dev, fdit_mod_vector(a.gate, GATE1, (int)d), fdit_param_value(m, l->gamma1), d);
        fdit_copy(m->dev, fdit_mod_vector(a.gate, GATE2, (int)d), fdit_param_value(m, l->gamma2), d);
        a.pre = fdit_plain_mods(m, i);
    }
    apply(m, &l->ada, n, a);
}

void fdit_forward_block(struct fdit_model *m, int i, int samples)
{
    if (m->config.kind == FDIT_MODEL_DIT)
        block_modulations(m, i, samples);
    run_block(m, i, samples, 0);
}

void fdit_condition(struct fdit_model *m, int samples)
{
    condition(m, samples);
    for (int i = 0; i < m->config.depth; i++)
        block_modulations(m, i, samples);
    linear(m, &m->params.ends.ada, m->silu_c, m->head_mod, samples); /* (shift, scale) of the final layer */
}

void fdit_forward_conditioned(struct fdit_model *m, int samples, int first)
{
    embed(m, samples);
    for (int i = 0; i < m->config.depth; i++)
        run_block(m, i, samples, first);
    if (m->config.kind == FDIT_MODEL_DIT)
        final_layer(m, samples, first);
    else
        classifier_head(m, samples);
}

void fdit_forward_branches(struct fdit_model *m, int samples, int first, const struct fdit_branch_use *use)
{
    m->use = use;
    fdit_forward_conditioned(m, samples, first);
    m->use = NULL;
}

void fdit_forward(struct fdit_model *m, int samples)
{
    if (m->config.kind == FDIT_MODEL_DIT)
        fdit_condition(m, samples);
    fdit_forward_conditioned(m, samples, 0);
}
