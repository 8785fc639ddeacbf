/* SPDX-License-Identifier: Apache-2.0
 * The backward pass: a function for each of forward.c's, from the last line of it to the first. Gradients of
 * frozen matrices are not computed (dX only); those of trained parameters obey `beta`. model->dx is the
 * gradient of the residual stream, updated in place from the final layer down to the patches.
 *
 * Gradients that live only for a moment lie in scratch of the forward pass (model.c, share): dheads in u,
 * dtokens in tokens_out, dt in head_mod. So u is rebuilt only when dheads has been used; and what an adapter
 * gives to dx lies in wide. */
#include "model/model_internal.h"

/* ------------------------------------------------------------------ ops on a site */

/* dx = dy W;  in `a` also: times act'(pre), added to dx. */
static void apply_dx(struct fdit_model *m, const struct fdit_layer *l, int n, struct fdit_linear_dx_args a)
{
    a.samples = n;
    a.tokens = l->tokens;
    a.n_in = l->weight->n_in;
    a.n_out = l->weight->n_out;
    if (l->weight->trained)
        a.matrix = fdit_param_value(m, l->weight);
    else
        a.weight = l->weight->weight;
    fdit_linear_dx(m->dev, &a);
}

/* y = Linear(x): dx = dy W */
static void linear_dx(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor dy,
                      struct fdit_tensor dx, int n)
{
    apply_dx(m, l, n, (struct fdit_linear_dx_args){ .dx = dx, .dy = dy });
}

/* y = Linear(act(pre)): dpre = (dy W) act'(pre) */
static void linear_act_dx(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor dy,
                          enum fdit_act act, struct fdit_tensor pre, struct fdit_tensor dpre, int n)
{
    apply_dx(m, l, n, (struct fdit_linear_dx_args){ .dx = dpre, .dy = dy, .act = act, .pre = pre });
}

/* y = Linear(x): db = column sums of dy, dW = dy^T x, each when trained. x may be absent when W is frozen. */
static void linear_dw(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor dy,
                      struct fdit_tensor x, int n, int beta)
{
    if (l->bias->trained)
        fdit_column_sum(m->dev, &(struct fdit_column_sum_args){ .m = n * l->tokens,
                                                                .n = l->weight->n_out,
                                                                .db = fdit_param_grad(m, l->bias),
                                                                .dy = dy,
                                                                .beta = beta });
    if (l->weight->trained)
        fdit_linear_dw(m->dev, &(struct fdit_linear_dw_args){ .samples = n,
                                                              .tokens = l->tokens,
                                                              .n_in = l->weight->n_in,
                                                              .n_out = l->weight->n_out,
                                                              .dw = fdit_param_grad(m, l->weight),
                                                              .dy = dy,
                                                              .x = x,
                                                              .beta = beta });
}

/* A plain product with a matrix of an adapter: dx = dy W. */
static void low_rank_dx(struct fdit_model *m, const struct fdit_param *w, int tokens, struct fdit_tensor dy,
                        struct fdit_tensor dx, int n)
{
    fdit_linear_dx(m->dev, &(struct fdit_linear_dx_args){ .samples = n,
                                                          .tokens = tokens,
                                                          .n_in = w->n_in,
                                                          .n_out = w->n_out,
                                                          .dx = dx,
                                                          .dy = dy,
                                                          .matrix = fdit_param_value(m, w) });
}

static void low_rank_dw(struct fdit_model *m, const struct fdit_param *w, int tokens, struct fdit_tensor dy,
                        struct fdit_tensor x, int n, int beta)
{
    fdit_linear_dw(m->dev, &(struct fdit_linear_dw_args){ .samples = n,
                                                          .tokens = tokens,
                                                          .n_in = w->n_in,
                                                          .n_out = w->n_out,
                                                          .dw = fdit_param_grad(m, w),
                                                          .dy = dy,
                                                          .x = x,
                                                          .beta = beta });
}

/* y += s B (A x): dB = dy^T (s A x), dA = (s dy B)^T x; what it gives to dx, (s dy B) A, joins the product
 * `a`, on a device that does not fuse it from the room of model->wide, which may be x: x is not needed any
 * more then. A x is computed again rather than kept: it costs rank / n_out of the layer. */
static void adapter_backward(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x, int n,
                             int beta, struct fdit_linear_dx_args *a)
{
    const struct fdit_tensor dy = a->dy;
    if (!l->low_a)
        return;
    fdit_low_rank_inner(m, l, x, n);
    low_rank_dw(m, l->low_b, l->tokens, dy, m->low_scaled, n, beta);
    low_rank_dx(m, l->low_b, l->tokens, dy, m->low, n);
    fdit_low_rank_scale(m, l, n);
    low_rank_dw(m, l->low_a, l->tokens, m->low_scaled, x, n, beta);
    if (fdit_device_fuses_low(m->dev)) {
        a->low = m->low_scaled;
        a->low_matrix = fdit_param_value(m, l->low_a);
        a->low_rank = l->low_a->n_out;
        return;
    }
    low_rank_dx(m, l->low_a, l->tokens, m->low_scaled, m->wide, n);
    a->add = m->wide;
}

/* y = gamma z, z = Linear(x): dgamma = sum over all of dy z, returns dz, in the room of model->wide. dy where
 * there is no gamma. */
static struct fdit_tensor scaled_backward(struct fdit_model *m, const struct fdit_layer *l,
                                          struct fdit_tensor dy, struct fdit_tensor z, int n, int beta)
{
    const int width = l->weight->n_out;
    if (!l->gamma)
        return dy;
    fdit_gate_backward(m->dev, &(struct fdit_gate_backward_args){ .samples = n,
                                                                  .tokens = l->tokens,
                                                                  .width = width,
                                                                  .dbranch = m->wide,
                                                                  .dgate = m->dgamma,
                                                                  .dgate_stride = width,
                                                                  .dy = dy,
                                                                  .branch = z,
                                                                  .gate = fdit_param_value(m, l->gamma) });
    fdit_column_sum(
        m->dev, &(struct fdit_column_sum_args){
                    .m = n, .n = width, .db = fdit_param_grad(m, l->gamma), .dy = m->dgamma, .beta = beta });
    return m->wide;
}

/* Whether the gradients of a layer's parameters need its input. */
static bool needs_input(const struct fdit_layer *l)
{
    return l->weight->trained || l->low_a;
}

/* y = Linear(x) with all that belongs to the layer: gradients of its parameters, and `a.dx` from `a.dy`, also
 * times act'(pre). x may be absent unless needs_input. */
static void linear_backward(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x,
                            struct fdit_linear_dx_args a, int n, int beta)
{
    linear_dw(m, l, a.dy, x, n, beta);
    adapter_backward(m, l, x, n, beta, &a);
    apply_dx(m, l, n, a);
}

/* x += gate branch: dbranch = gate dx, dgate = sum over tokens of dx branch. Without a gate dbranch is dx. */
static void gate_backward(struct fdit_model *m, const struct fdit_gate_site *s, int n)
{
    if (fdit_has(s->gate))
        fdit_gate_backward(m->dev,
                           &(struct fdit_gate_backward_args){ .samples = n,
                                                              .tokens = fdit_config_tokens(&m->config),
                                                              .width = m->config.width,
                                                              .dbranch = s->dbranch,
                                                              .dgate = s->dgate,
                                                              .dgate_stride = s->stride,
                                                              .dy = m->dx,
                                                              .branch = s->branch,
                                                              .gate = s->gate,
                                                              .gate_stride = s->stride });
}

/* u = LN(x) (1 + scale) + shift, again from xhat, where the gradient of the weight behind it needs it. */
static struct fdit_tensor rebuild_u(struct fdit_model *m, const struct fdit_norm_site *s,
                                    const struct fdit_layer *behind, int n)
{
    if (!needs_input(behind))
        return FDIT_NO_TENSOR;
    fdit_modulate(m->dev, &(struct fdit_modulate_args){ .samples = n,
                                                        .tokens = s->layer->tokens,
                                                        .width = m->config.width,
                                                        .y = m->u,
                                                        .xhat = s->xhat,
                                                        .weight = fdit_param_value(m, s->layer->weight),
                                                        .bias = fdit_param_value(m, s->layer->bias),
                                                        .shift = s->shift,
                                                        .scale = s->scale,
                                                        .mod_stride = s->stride });
    return m->u;
}

/* wide = GELU(fc1_out), again, where the gradient of fc2's weight needs it. */
static struct fdit_tensor rebuild_wide(struct fdit_model *m, const struct fdit_block_site *b, int n)
{
    if (!needs_input(b->fc2))
        return FDIT_NO_TENSOR;
    fdit_activation(m->dev, &(struct fdit_activation_args){ .n = (size_t)n * (size_t)b->fc2->tokens *
                                                                 (size_t)b->fc2->weight->n_in,
                                                            .act = FDIT_ACT_GELU_TANH,
                                                            .y = m->wide,
                                                            .x = b->fc1_out });
    return m->wide;
}

static struct fdit_tensor grad_or_none(const struct fdit_model *m, const struct fdit_param *p)
{
    return p->trained ? fdit_param_grad(m, p) : FDIT_NO_TENSOR;
}

/* u = LN(x) (1 + scale) + shift, from du: dshift, dscale, dweight, dbias, and dx or what is added to it. */
static void norm_backward(struct fdit_model *m, const struct fdit_norm_site *s, bool add_to_dx, int n,
                          int beta)
{
    const struct fdit_param *weight = s->layer->weight, *bias = s->layer->bias;
    fdit_norm_backward(m->dev, &(struct fdit_norm_backward_args){ .samples = n,
                                                                  .tokens = s->layer->tokens,
                                                                  .width = m->config.width,
                                                                  .dx = m->dx,
                                                                  .accumulate = add_to_dx,
                                                                  .dshift = s->dshift,
                                                                  .dscale = s->dscale,
                                                                  .dmod_stride = s->stride,
                                                                  .dweight = grad_or_none(m, weight),
                                                                  .dbias = grad_or_none(m, bias),
                                                                  .beta = beta,
                                                                  .dy = m->du,
                                                                  .xhat = s->xhat,
                                                                  .rstd = s->rstd,
                                                                  .weight = fdit_param_value(m, weight),
                                                                  .bias = fdit_param_value(m, bias),
                                                                  .scale = s->scale,
                                                                  .mod_stride = s->stride });
}

/* heads = softmax(q k^T / sqrt dh) v */
static void attention_backward(struct fdit_model *m, const struct fdit_block_site *b, struct fdit_tensor qkv,
                               struct fdit_tensor dheads, struct fdit_tensor dqkv, int n)
{
    fdit_attention_backward(
        m->dev, &(struct fdit_attention_backward_args){ .samples = n,
                                                        .tokens = fdit_config_tokens(&m->config),
                                                        .heads = m->config.heads,
                                                        .head_size = m->config.width / m->config.heads,
                                                        .dqkv = dqkv,
                                                        .dout = dheads,
                                                        .qkv = qkv,
                                                        .out = b->heads_out,
                                                        .lse = b->lse });
}

/* q, k of each head = LN(q), LN(k): dqkv in place, and the sums over all tokens for what is trained */
static void qk_norm_backward(struct fdit_model *m, const struct fdit_block_site *b, struct fdit_tensor dqkv,
                             int n, int beta)
{
    if (!b->q_norm->weight)
        return;
    const int size = m->config.width / m->config.heads, tokens = n * fdit_config_tokens(&m->config);
    const struct fdit_param *params[4] = { b->q_norm->weight, b->q_norm->bias, b->k_norm->weight,
                                           b->k_norm->bias };
    struct fdit_tensor sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = fdit_at(m->dqk, (size_t)i * (size_t)tokens * (size_t)size);
    fdit_qk_norm_backward(m->dev,
                          &(struct fdit_qk_norm_backward_args){ .samples = n,
                                                                .tokens = fdit_config_tokens(&m->config),
                                                                .heads = m->config.heads,
                                                                .head_size = size,
                                                                .dx = dqkv,
                                                                .dy = dqkv,
                                                                .dq_weight = sums[0],
                                                                .dq_bias = sums[1],
                                                                .dk_weight = sums[2],
                                                                .dk_bias = sums[3],
                                                                .xhat = b->qk_xhat,
                                                                .rstd = b->qk_rstd,
                                                                .q_weight = fdit_param_value(m, params[0]),
                                                                .k_weight = fdit_param_value(m, params[2]) });
    for (int i = 0; i < 4; i++)
        if (params[i]->trained)
            fdit_column_sum(m->dev, &(struct fdit_column_sum_args){ .m = tokens,
                                                                    .n = size,
                                                                    .db = fdit_param_grad(m, params[i]),
                                                                    .dy = sums[i],
                                                                    .beta = beta });
}

/* A pass with rows of the prior's table: what stands for the model's own rows gets no gradient. */
static void no_class_gradient(struct fdit_model *m, int beta)
{
    const struct fdit_end_layers *e = &m->params.ends;
    const struct fdit_param *of_class[] = { e->table, e->class_map.weight, e->class_map.bias };
    for (size_t i = 0; beta == 0 && i < sizeof of_class / sizeof *of_class; i++)
        if (of_class[i] && of_class[i]->trained)
            fdit_fill(m->dev, fdit_param_grad(m, of_class[i]), of_class[i]->count, 0);
}

/* c += table[row], and what the map of class vectors gives */
static void add_class_backward(struct fdit_model *m, struct fdit_tensor dc, int n, int beta)
{
    const struct fdit_param *table = m->params.ends.table;
    if (m->prior) {
        no_class_gradient(m, beta);
        return;
    }
    if (table->trained)
        fdit_scatter_add(m->dev, &(struct fdit_scatter_add_args){ .samples = n,
                                                                  .table_rows = m->config.table_rows,
                                                                  .width = m->config.width,
                                                                  .dtable = fdit_param_grad(m, table),
                                                                  .dy = dc,
                                                                  .index = m->index,
                                                                  .beta = beta });
    if (table->trained && m->frozen_rows)
        fdit_fill(m->dev, fdit_param_grad(m, table), (size_t)m->frozen_rows * (size_t)m->config.width, 0);
    if (m->config.class_vectors)
        linear_dw(m, &m->params.ends.class_map, dc, m->class_in, n, beta);
}

static void scale(struct fdit_model *m, struct fdit_tensor y, float alpha, struct fdit_tensor x, int n)
{
    fdit_axpy(m->dev, &(struct fdit_axpy_args){
                          .n = (size_t)n * (size_t)m->config.width, .alpha = alpha, .y = y, .x = x });
}

/* c += 0.5 std(c) LN(Linear(SiLU(Linear(w - 1)))), std(c) a constant: nothing comes to what c was */
static void add_guidance_backward(struct fdit_model *m, struct fdit_tensor dc, int n, int beta)
{
    const struct fdit_end_layers *e = &m->params.ends;
    if (!m->config.guidance_input)
        return;
    fdit_gate(m->dev, &(struct fdit_gate_args){ .samples = n,
                                                .tokens = m->config.width,
                                                .width = 1,
                                                .y = m->w_in,
                                                .branch = dc,
                                                .gate = m->w_spread,
                                                .gate_stride = 1 });
    scale(m, m->w_out, fdit_guidance_factor(m), m->w_in, n);
    fdit_norm_backward(m->dev,
                       &(struct fdit_norm_backward_args){ .samples = n,
                                                          .tokens = 1,
                                                          .width = m->config.width,
                                                          .dx = m->w_in,
                                                          .dweight = grad_or_none(m, e->w_norm.weight),
                                                          .dbias = grad_or_none(m, e->w_norm.bias),
                                                          .beta = beta,
                                                          .dy = m->w_out,
                                                          .xhat = m->w_xhat,
                                                          .rstd = m->w_rstd,
                                                          .weight = fdit_param_value(m, e->w_norm.weight),
                                                          .bias = fdit_param_value(m, e->w_norm.bias) });
    scale(m, m->w_out, FDIT_GUIDANCE_SHRINK, m->w_in, n);
    linear_dw(m, &e->w2, m->w_out, m->w_hidden, n, beta);
    linear_act_dx(m, &e->w2, m->w_out, FDIT_ACT_SILU, m->w_pre, m->w_in, n);
    linear_dw(m, &e->w0, m->w_in, m->strengths, n, beta);
}

/* silu_c = SiLU(c), in place of its gradient */
static struct fdit_tensor silu_backward(struct fdit_model *m, int n)
{
    const size_t bd = (size_t)n * (size_t)m->config.width;
    fdit_activation_backward(
        m->dev, &(struct fdit_activation_backward_args){
                    .n = bd, .act = FDIT_ACT_SILU, .dx = m->dsilu_c, .dy = m->dsilu_c, .x = m->c });
    return m->dsilu_c;
}

static void unpatchify_backward(struct fdit_model *m, int n)
{
    const struct fdit_model_config *c = &m->config;
    fdit_patchify(m->dev, &(struct fdit_patchify_args){ .samples = n,
                                                        .channels = fdit_config_out_channels(c),
                                                        .size = c->input_size,
                                                        .patch = c->patch,
                                                        .order = FDIT_PATCH_CHANNEL_LAST,
                                                        .tokens = m->dtokens,
                                                        .image = m->doutput });
}

static void token_mean_backward(struct fdit_model *m, int n)
{
    fdit_token_mean_backward(
        m->dev, &(struct fdit_token_mean_backward_args){ .samples = n,
                                                         .tokens = fdit_config_tokens(&m->config),
                                                         .width = m->config.width,
                                                         .dx = m->du,
                                                         .dy = m->dpooled });
}

/* ------------------------------------------------------------------ the network */

/* c = Linear(SiLU(Linear(features(t)))) + table[row], and what the guidance scale adds;  silu_c = SiLU(c) */
static void condition_backward(struct fdit_model *m, int n, int beta)
{
    const struct fdit_end_layers *e = &m->params.ends;
    const struct fdit_tensor dc = silu_backward(m, n);
    add_guidance_backward(m, dc, n, beta);
    add_class_backward(m, dc, n, beta);
    linear_dw(m, &e->t2, dc, m->t_hidden, n, beta);
    if (!e->t0.bias->trained && !e->t0.weight->trained)
        return;
    linear_act_dx(m, &e->t2, dc, FDIT_ACT_SILU, m->t_pre, m->dt, n);
    linear_dw(m, &e->t0, m->dt, m->t_features, n, beta);
}

/* x = patches W^T + b + pos */
static void embed_backward(struct fdit_model *m, int n, int beta)
{
    linear_dw(m, &m->params.ends.patch, m->dx, m->patches, n, beta);
}

static void attention_branch_backward(struct fdit_model *m, const struct fdit_block_site *b, int n, int beta)
{
    const struct fdit_tensor dbranch = b->gate1.dbranch, dqkv = m->dwide;
    gate_backward(m, &b->gate1, n); /* x += gate1 Linear(heads) */
    linear_backward(m, b->proj, b->heads_out, (struct fdit_linear_dx_args){ .dx = m->dheads, .dy = dbranch },
                    n, beta);
    attention_backward(m, b, fdit_attention_input(m, b, n, true), m->dheads, dqkv,
                       n);                                         /* heads = softmax(q k^T / sqrt dh) v */
    qk_norm_backward(m, b, dqkv, n, beta);                         /* q, k = LN(q), LN(k) */
    linear_backward(m, b->qkv, rebuild_u(m, &b->norm1, b->qkv, n), /* q, k, v = Linear(u) */
                    (struct fdit_linear_dx_args){
                        .dx = m->du, .dy = scaled_backward(m, b->qkv, dqkv, b->qkv_out, n, beta) },
                    n, beta);
    norm_backward(m, &b->norm1, true, n, beta); /* u = LN1(x) (1 + scale1) + shift1 */
}

static void mlp_branch_backward(struct fdit_model *m, const struct fdit_block_site *b, int n, int beta)
{
    const struct fdit_tensor dbranch = b->gate2.dbranch, dfc1 = m->dwide;
    gate_backward(m, &b->gate2, n); /* x += gate2 Linear(wide) */
    linear_backward(m, b->fc2, rebuild_wide(m, b, n),
                    (struct fdit_linear_dx_args){ .dx = dfc1,
                                                  .dy = dbranch,
                                                  .act = FDIT_ACT_GELU_TANH,
                                                  .pre = fdit_scaled(m, b->fc1, b->fc1_out, n) },
                    n, beta);
    linear_backward(m, b->fc1, rebuild_u(m, &b->norm2, b->fc1, n), /* wide = GELU(Linear(u)) */
                    (struct fdit_linear_dx_args){
                        .dx = m->du, .dy = scaled_backward(m, b->fc1, dfc1, b->fc1_out, n, beta) },
                    n, beta);
    norm_backward(m, &b->norm2, true, n, beta); /* u = LN2(x) (1 + scale2) + shift2 */
}

/* (shift, scale, ..) = Linear(silu_c): dsilu_c is the sum over all blocks and the final layer. */
static void modulations_backward(struct fdit_model *m, const struct fdit_layer *ada, struct fdit_tensor dmod,
                                 int silu_beta, int n, int beta)
{
    linear_dw(m, ada, dmod, m->silu_c, n, beta);
    apply_dx(m, ada, n, (struct fdit_linear_dx_args){ .dx = m->dsilu_c, .dy = dmod, .beta = silu_beta });
}

/* Gates times gammas: dgamma of both branches, returns the gradient before them. */
static struct fdit_tensor gammas_backward(struct fdit_model *m, int i, int n, int beta)
{
    const struct fdit_block_layers *l = &m->params.blocks[i];
    const int d = m->config.width, gates[] = { GATE1, GATE2 };
    const struct fdit_param *gammas[] = { l->gamma1, l->gamma2 };
    const struct fdit_tensor plain = fdit_plain_mods(m, i);
    if (!l->gamma1)
        return m->dmod;
    fdit_gate_backward(m->dev, &(struct fdit_gate_backward_args){
                                   .samples = 1,
                                   .tokens = n,
                                   .width = 6 * d,
                                   .dbranch = plain,
                                   .dgate = m->dgamma,
                                   .dgate_stride = 6 * d,
                                   .dy = m->dmod,
                                   .branch = plain,
                                   .gate = fdit_at(m->mod_scale, (size_t)i * 6 * (size_t)d) });
    for (int k = 0; k < 2; k++)
        fdit_axpy(m->dev, &(struct fdit_axpy_args){ .n = (size_t)d,
                                                    .alpha = 1,
                                                    .y = fdit_param_grad(m, gammas[k]),
                                                    .x = fdit_mod_vector(m->dgamma, gates[k], d),
                                                    .beta = beta });
    return plain;
}

/* out = unpatchify(Linear(LN(x) (1 + scale) + shift)) */
static void final_layer_backward(struct fdit_model *m, int n, int beta)
{
    const struct fdit_norm_site site = fdit_final_norm_of(m, 0);
    const struct fdit_layer *l = &m->params.ends.linear;
    unpatchify_backward(m, n);
    linear_dw(m, l, m->dtokens, rebuild_u(m, &site, l, n), n, beta);
    linear_dx(m, l, m->dtokens, m->du, n);
    norm_backward(m, &site, false, n, beta);
    modulations_backward(m, &m->params.ends.ada, m->dmod, 0, n, beta);
}

/* logits = Linear(mean over tokens of LN(x)) */
static void classifier_head_backward(struct fdit_model *m, int n, int beta)
{
    const struct fdit_norm_site site = fdit_final_norm_of(m, 0);
    linear_dw(m, &m->params.ends.linear, m->doutput, m->pooled, n, beta);
    linear_dx(m, &m->params.ends.linear, m->doutput, m->dpooled, n);
    token_mean_backward(m, n);
    norm_backward(m, &site, false, n, beta);
}

/* ------------------------------------------------------------------ passes */

/* What the backward pass of block i reads: kept (in bf16: widened first), or computed again from the block's
 * input. */
static struct fdit_block_site recall(struct fdit_model *m, int i, int n)
{
    struct fdit_block_saved s = m->saved[i];
    size_t md = (size_t)n * (size_t)fdit_config_tokens(&m->config) * (size_t)m->config.width;
    if (m->options.activations == FDIT_BF16) {
        fdit_copy(m->dev, fdit_shared_all(m), s.rounded, m->shared_count);
        s = fdit_block_unrounded(m, i);
        return fdit_block_site_of(m, i, &s);
    }
    if (m->options.recompute == FDIT_RECOMPUTE_NONE)
        return fdit_block_site_of(m, i, &s);
    struct fdit_block_saved all = m->shared;
    const bool branches_kept = m->options.recompute == FDIT_RECOMPUTE_BRANCHES;
    all.mod = s.mod;
    if (branches_kept) {
        all.attn_out = s.attn_out;
        all.mlp_out = s.mlp_out;
    }
    const struct fdit_block_site block = fdit_block_site_of(m, i, &all);
    fdit_copy(m->dev, m->x, s.x_in, md);
    if (branches_kept)
        fdit_block_rebuild(m, &block, n);
    else
        fdit_block_forward(m, &block, n);
    return block;
}

void fdit_backward_block(struct fdit_model *m, int i, int samples, int beta)
{
    const struct fdit_block_site block = recall(m, i, samples);
    mlp_branch_backward(m, &block, samples, beta);
    attention_branch_backward(m, &block, samples, beta);
    if (m->config.kind == FDIT_MODEL_DIT)
        modulations_backward(m, &m->params.blocks[i].ada, gammas_backward(m, i, samples, beta), 1, samples,
                             beta);
}

static void tell_final(const struct fdit_model *m, int group)
{
    if (m->final)
        m->final(m->final_user, group);
}

void fdit_backward(struct fdit_model *m, int samples, int beta)
{
    const bool dit = m->config.kind == FDIT_MODEL_DIT;
    if (dit)
        final_layer_backward(m, samples, beta);
    else
        classifier_head_backward(m, samples, beta);
    tell_final(m, fdit_group_head(&m->config));
    for (int i = m->config.depth - 1; i >= 0; i--) {
        fdit_backward_block(m, i, samples, beta);
        tell_final(m, fdit_group_block(i));
    }
    embed_backward(m, samples, beta);
    if (dit)
        condition_backward(m, samples, beta);
    tell_final(m, FDIT_GROUP_EMBED);
}
