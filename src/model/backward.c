/* SPDX-License-Identifier: Apache-2.0
 * The backward pass: forward.c read from the bottom up, each forward line quoted. Gradients of frozen
 * matrices are not computed (dX only); those of trained parameters obey `beta`. dx is the gradient of the
 * residual stream, updated in place from the head down to the patches. */
#include "model/model_internal.h"

void fdit_apply_linear_dx(struct fdit_model *m, const struct fdit_param *w, struct fdit_linear_dx_args a)
{
    a.n_in = w->n_in;
    a.n_out = w->n_out;
    if (w->trained)
        a.matrix = fdit_param_value(m, w);
    else
        a.weight = w->weight;
    fdit_linear_dx(m->dev, &a);
}

/* db += column sums of dy;  dW += dy^T x, each when trained. x absent: it was not rebuilt because W is
 * frozen. */
static void linear_param_grads(struct fdit_model *m, const struct fdit_param *w, const struct fdit_param *b,
                               int samples, int rows, struct fdit_tensor dy, struct fdit_tensor x, int beta)
{
    if (b->trained)
        fdit_column_sum(
            m->dev,
            &(struct fdit_column_sum_args){
                .m = samples * rows, .n = w->n_out, .db = fdit_param_grad(m, b), .dy = dy, .beta = beta });
    if (w->trained)
        fdit_linear_dw(m->dev, &(struct fdit_linear_dw_args){ .samples = samples,
                                                              .rows = rows,
                                                              .n_in = w->n_in,
                                                              .n_out = w->n_out,
                                                              .dw = fdit_param_grad(m, w),
                                                              .dy = dy,
                                                              .x = x,
                                                              .beta = beta });
}

static struct fdit_tensor grad_or_none(const struct fdit_model *m, const struct fdit_param *p)
{
    return p->trained ? fdit_param_grad(m, p) : FDIT_NO_TENSOR;
}

/* The shapes, statistics and parameters of one LayerNorm with its modulation. */
struct norm_site {
    const struct fdit_param *weight, *bias;
    struct fdit_tensor xhat, rstd, shift, scale, dshift, dscale;
    int mod_stride;
};

/* u = LN(x) (1 + scale) + shift, from what is kept. */
static struct fdit_tensor rebuild_u(struct fdit_model *m, const struct norm_site *s, int samples)
{
    fdit_modulate(m->dev, &(struct fdit_modulate_args){ .samples = samples,
                                                        .rows = fdit_config_tokens(&m->config),
                                                        .width = m->config.width,
                                                        .y = m->u,
                                                        .xhat = s->xhat,
                                                        .weight = fdit_param_value(m, s->weight),
                                                        .bias = fdit_param_value(m, s->bias),
                                                        .shift = s->shift,
                                                        .scale = s->scale,
                                                        .mod_stride = s->mod_stride });
    return m->u;
}

static void norm_backward(struct fdit_model *m, const struct norm_site *s, int samples, struct fdit_tensor dy,
                          bool accumulate, int beta)
{
    fdit_norm_backward(m->dev, &(struct fdit_norm_backward_args){ .samples = samples,
                                                                  .rows = fdit_config_tokens(&m->config),
                                                                  .width = m->config.width,
                                                                  .dx = m->dx,
                                                                  .accumulate = accumulate,
                                                                  .dshift = s->dshift,
                                                                  .dscale = s->dscale,
                                                                  .dmod_stride = s->mod_stride,
                                                                  .dweight = grad_or_none(m, s->weight),
                                                                  .dbias = grad_or_none(m, s->bias),
                                                                  .beta = beta,
                                                                  .dy = dy,
                                                                  .xhat = s->xhat,
                                                                  .rstd = s->rstd,
                                                                  .weight = fdit_param_value(m, s->weight),
                                                                  .bias = fdit_param_value(m, s->bias),
                                                                  .scale = s->scale,
                                                                  .mod_stride = s->mod_stride });
}

/* x' = x + gate * branch: the gradient of the branch, in m->du, or dx itself where there is no gate. */
static struct fdit_tensor branch_gradient(struct fdit_model *m, int samples, struct fdit_tensor branch,
                                          struct fdit_tensor gate, struct fdit_tensor dgate)
{
    int d = m->config.width;
    if (!fdit_has(gate))
        return m->dx;
    fdit_gate_backward(m->dev, &(struct fdit_gate_backward_args){ .samples = samples,
                                                                  .rows = fdit_config_tokens(&m->config),
                                                                  .width = d,
                                                                  .dbranch = m->du,
                                                                  .dgate = dgate,
                                                                  .dgate_stride = 6 * d,
                                                                  .dy = m->dx,
                                                                  .branch = branch,
                                                                  .gate = gate,
                                                                  .gate_stride = 6 * d });
    return m->du;
}

/* x += gate2 * Linear(GELU(Linear(LN2(x) (1 + scale2) + shift2))) */
static void mlp_backward(struct fdit_model *m, const struct fdit_block_params *p,
                         const struct fdit_block_saved *s, int samples, int beta)
{
    int n = fdit_config_tokens(&m->config), d = m->config.width;
    size_t wide = (size_t)samples * (size_t)n * (size_t)p->fc1_w->n_out;
    struct norm_site norm = { p->norm2_w,
                              p->norm2_b,
                              s->xhat2,
                              s->rstd2,
                              fdit_mod_vector(s->mod, SHIFT2, d),
                              fdit_mod_vector(s->mod, SCALE2, d),
                              fdit_mod_vector(m->dmod, SHIFT2, d),
                              fdit_mod_vector(m->dmod, SCALE2, d),
                              6 * d };
    struct fdit_tensor dy = branch_gradient(m, samples, s->mlp_out, fdit_mod_vector(s->mod, GATE2, d),
                                            fdit_mod_vector(m->dmod, GATE2, d));
    if (p->fc2_w->trained)
        fdit_activation(m->dev, &(struct fdit_activation_args){
                                    .n = wide, .act = FDIT_ACT_GELU_TANH, .y = m->wide, .x = s->fc1 });
    linear_param_grads(m, p->fc2_w, p->fc2_b, samples, n, dy, m->wide, beta);
    fdit_apply_linear_dx(m, p->fc2_w,
                         (struct fdit_linear_dx_args){ .samples = samples,
                                                       .rows = n,
                                                       .dx = m->dwide,
                                                       .dy = dy,
                                                       .act = FDIT_ACT_GELU_TANH,
                                                       .pre = s->fc1 });
    struct fdit_tensor u = p->fc1_w->trained ? rebuild_u(m, &norm, samples) : FDIT_NO_TENSOR;
    linear_param_grads(m, p->fc1_w, p->fc1_b, samples, n, m->dwide, u, beta);
    fdit_apply_linear_dx(
        m, p->fc1_w,
        (struct fdit_linear_dx_args){ .samples = samples, .rows = n, .dx = m->du, .dy = m->dwide });
    norm_backward(m, &norm, samples, m->du, true, beta);
}

/* x += gate1 * Linear(Attention(Linear(LN1(x) (1 + scale1) + shift1))) */
static void attention_backward(struct fdit_model *m, const struct fdit_block_params *p,
                               const struct fdit_block_saved *s, int samples, int beta)
{
    int n = fdit_config_tokens(&m->config), d = m->config.width;
    struct norm_site norm = { p->norm1_w,
                              p->norm1_b,
                              s->xhat1,
                              s->rstd1,
                              fdit_mod_vector(s->mod, SHIFT1, d),
                              fdit_mod_vector(s->mod, SCALE1, d),
                              fdit_mod_vector(m->dmod, SHIFT1, d),
                              fdit_mod_vector(m->dmod, SCALE1, d),
                              6 * d };
    struct fdit_tensor dy = branch_gradient(m, samples, s->attn_out, fdit_mod_vector(s->mod, GATE1, d),
                                            fdit_mod_vector(m->dmod, GATE1, d));
    linear_param_grads(m, p->proj_w, p->proj_b, samples, n, dy, s->heads_out, beta);
    /* m->u is free here and takes the gradient of the heads; rebuild_u comes after it. */
    fdit_apply_linear_dx(m, p->proj_w,
                         (struct fdit_linear_dx_args){ .samples = samples, .rows = n, .dx = m->u, .dy = dy });
    fdit_attention_backward(m->dev, &(struct fdit_attention_backward_args){ .samples = samples,
                                                                            .rows = n,
                                                                            .heads = m->config.heads,
                                                                            .head_size = d / m->config.heads,
                                                                            .dqkv = m->dwide,
                                                                            .dout = m->u,
                                                                            .qkv = s->qkv,
                                                                            .out = s->heads_out,
                                                                            .lse = s->lse });
    struct fdit_tensor u = p->qkv_w->trained ? rebuild_u(m, &norm, samples) : FDIT_NO_TENSOR;
    linear_param_grads(m, p->qkv_w, p->qkv_b, samples, n, m->dwide, u, beta);
    fdit_apply_linear_dx(
        m, p->qkv_w,
        (struct fdit_linear_dx_args){ .samples = samples, .rows = n, .dx = m->du, .dy = m->dwide });
    norm_backward(m, &norm, samples, m->du, true, beta);
}

/* mod = Linear(silu_c): d silu_c accumulates over all blocks and the head. */
static void modulation_backward(struct fdit_model *m, const struct fdit_param *w, const struct fdit_param *b,
                                int samples, int beta, int silu_beta)
{
    linear_param_grads(m, w, b, samples, 1, m->dmod, m->silu_c, beta);
    fdit_apply_linear_dx(
        m, w,
        (struct fdit_linear_dx_args){
            .samples = samples, .rows = 1, .dx = m->dsilu_c, .dy = m->dmod, .beta = silu_beta });
}

/* What the backward pass of block i reads: kept (in bf16: widened first), or computed again from the block's
 * input. */
static struct fdit_block_saved recall(struct fdit_model *m, int i, int samples)
{
    struct fdit_block_saved s = m->saved[i];
    bool branches_kept = m->options.recompute == FDIT_RECOMPUTE_BRANCHES;
    size_t md = (size_t)samples * (size_t)fdit_config_tokens(&m->config) * (size_t)m->config.width;
    if (m->options.activations == FDIT_BF16) {
        fdit_copy(m->dev, fdit_shared_all(m), s.rounded, m->shared_count);
        return fdit_block_unrounded(m, i);
    }
    if (m->options.recompute == FDIT_RECOMPUTE_NONE)
        return s;
    struct fdit_block_saved all = m->shared;
    all.mod = s.mod;
    all.x_in = s.x_in;
    if (branches_kept) {
        all.attn_out = s.attn_out;
        all.mlp_out = s.mlp_out;
    }
    fdit_copy(m->dev, m->x, s.x_in, md);
    fdit_block_forward(m, &m->blocks[i], &all, samples, branches_kept);
    return all;
}

static void head_backward(struct fdit_model *m, int samples, int beta)
{
    const struct fdit_model_config *c = &m->config;
    const struct fdit_end_params *e = m->ends;
    int n = fdit_config_tokens(c), d = c->width;
    struct norm_site norm = { e->norm_w,    e->norm_b,
                              m->head_xhat, m->head_rstd,
                              m->head_mod,  fdit_at(m->head_mod, (size_t)d),
                              m->dmod,      fdit_at(m->dmod, (size_t)d),
                              2 * d };
    /* out = unpatchify(tokens_out) */
    fdit_patchify(m->dev, &(struct fdit_patchify_args){ .samples = samples,
                                                        .channels = 2 * c->channels,
                                                        .size = c->input_size,
                                                        .patch = c->patch,
                                                        .order = FDIT_PATCH_CHANNEL_LAST,
                                                        .tokens = m->tokens_out,
                                                        .image = m->doutput });
    struct fdit_tensor u = e->linear_w->trained ? rebuild_u(m, &norm, samples) : FDIT_NO_TENSOR;
    linear_param_grads(m, e->linear_w, e->linear_b, samples, n, m->tokens_out, u, beta);
    fdit_apply_linear_dx(
        m, e->linear_w,
        (struct fdit_linear_dx_args){ .samples = samples, .rows = n, .dx = m->du, .dy = m->tokens_out });
    norm_backward(m, &norm, samples, m->du, false, beta);
    modulation_backward(m, e->ada_w, e->ada_b, samples, beta, 0);
}

static void classifier_head_backward(struct fdit_model *m, int samples, int beta)
{
    const struct fdit_end_params *e = m->ends;
    int n = fdit_config_tokens(&m->config), d = m->config.width;
    struct norm_site norm = {
        .weight = e->norm_w, .bias = e->norm_b, .xhat = m->head_xhat, .rstd = m->head_rstd
    };
    linear_param_grads(m, e->linear_w, e->linear_b, samples, 1, m->doutput, m->pooled, beta);
    fdit_apply_linear_dx(
        m, e->linear_w,
        (struct fdit_linear_dx_args){ .samples = samples, .rows = 1, .dx = m->dpooled, .dy = m->doutput });
    fdit_token_mean_backward(m->dev,
                             &(struct fdit_token_mean_backward_args){
                                 .samples = samples, .rows = n, .width = d, .dx = m->du, .dy = m->dpooled });
    norm_backward(m, &norm, samples, m->du, false, beta);
}

/* c = Linear(SiLU(Linear(features))) + table[row];  silu_c = SiLU(c) */
static void condition_backward(struct fdit_model *m, int samples, int beta)
{
    const struct fdit_end_params *e = m->ends;
    int d = m->config.width;
    struct fdit_tensor dc = m->dsilu_c, dt = m->head_mod; /* head_mod is done with: [B, 2D] of scratch */
    fdit_activation_backward(
        m->dev,
        &(struct fdit_activation_backward_args){
            .n = (size_t)samples * (size_t)d, .act = FDIT_ACT_SILU, .dx = dc, .dy = m->dsilu_c, .x = m->c });
    if (e->table->trained)
        fdit_scatter_add(m->dev, &(struct fdit_scatter_add_args){ .samples = samples,
                                                                  .n_rows = m->config.rows,
                                                                  .width = d,
                                                                  .dtable = fdit_param_grad(m, e->table),
                                                                  .dy = dc,
                                                                  .rows = m->rows,
                                                                  .beta = beta });
    linear_param_grads(m, e->t2_w, e->t2_b, samples, 1, dc, m->t_hidden, beta);
    if (!e->t0_b->trained && !e->t0_w->trained)
        return;
    fdit_apply_linear_dx(
        m, e->t2_w,
        (struct fdit_linear_dx_args){
            .samples = samples, .rows = 1, .dx = dt, .dy = dc, .act = FDIT_ACT_SILU, .pre = m->t_pre });
    linear_param_grads(m, e->t0_w, e->t0_b, samples, 1, dt, m->t_features, beta);
}

void fdit_backward_block(struct fdit_model *m, int i, int samples, int beta)
{
    struct fdit_block_saved s = recall(m, i, samples);
    mlp_backward(m, &m->blocks[i], &s, samples, beta);
    attention_backward(m, &m->blocks[i], &s, samples, beta);
    if (m->config.kind == FDIT_MODEL_DIT)
        modulation_backward(m, m->blocks[i].ada_w, m->blocks[i].ada_b, samples, beta, 1);
}

void fdit_backward(struct fdit_model *m, int samples, int beta)
{
    const struct fdit_end_params *e = m->ends;
    bool dit = m->config.kind == FDIT_MODEL_DIT;
    if (dit)
        head_backward(m, samples, beta);
    else
        classifier_head_backward(m, samples, beta);
    for (int i = m->config.depth - 1; i >= 0; i--)
        fdit_backward_block(m, i, samples, beta);
    /* x = patches W^T + b + pos */
    linear_param_grads(m, e->patch_w, e->patch_b, samples, fdit_config_tokens(&m->config), m->dx, m->patches,
                       beta);
    if (dit)
        condition_backward(m, samples, beta);
}
