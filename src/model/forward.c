/* SPDX-License-Identifier: Apache-2.0
 * The forward pass, line by line as in doc/DESIGN.md, "The network". Letters: B samples, N tokens, D width,
 * M = B N. Every call below queues one op on the device. */
#include "model/model_internal.h"

void fdit_apply_linear(struct fdit_model *m, const struct fdit_param *w, const struct fdit_param *b,
                       struct fdit_linear_args a)
{
    a.n_in = w->n_in;
    a.n_out = w->n_out;
    if (w->trained)
        a.matrix = fdit_param_value(m, w);
    else
        a.weight = w->weight;
    if (b)
        a.bias = fdit_param_value(m, b);
    fdit_linear(m->dev, &a);
}

/* c = Linear(SiLU(Linear(features(t)))) + table[row];  silu_c = SiLU(c)    [B, D] */
static void condition(struct fdit_model *m, int samples)
{
    const struct fdit_end_params *e = m->ends;
    size_t bd = (size_t)samples * (size_t)m->config.width;
    fdit_apply_linear(m, e->t0_w, e->t0_b,
                      (struct fdit_linear_args){ .samples = samples,
                                                 .rows = 1,
                                                 .y = m->t_hidden,
                                                 .x = m->t_features,
                                                 .act = FDIT_ACT_SILU,
                                                 .pre = m->t_pre });
    fdit_apply_linear(
        m, e->t2_w, e->t2_b,
        (struct fdit_linear_args){ .samples = samples, .rows = 1, .y = m->c, .x = m->t_hidden });
    fdit_gather(m->dev, &(struct fdit_gather_args){ .samples = samples,
                                                    .n_rows = m->config.rows,
                                                    .width = m->config.width,
                                                    .y = m->c,
                                                    .table = fdit_param_value(m, e->table),
                                                    .rows = m->rows,
                                                    .beta = 1 });
    fdit_activation(
        m->dev, &(struct fdit_activation_args){ .n = bd, .act = FDIT_ACT_SILU, .y = m->silu_c, .x = m->c });
}

/* x = patches W^T + b + pos    [B, N, D] */
static void embed(struct fdit_model *m, int samples)
{
    const struct fdit_model_config *c = &m->config;
    const struct fdit_end_params *e = m->ends;
    fdit_patchify(m->dev, &(struct fdit_patchify_args){ .samples = samples,
                                                        .channels = c->channels,
                                                        .size = c->input_size,
                                                        .patch = c->patch,
                                                        .order = FDIT_PATCH_CHANNEL_FIRST,
                                                        .tokens = m->patches,
                                                        .image = m->input });
    fdit_apply_linear(m, e->patch_w, e->patch_b,
                      (struct fdit_linear_args){ .samples = samples,
                                                 .rows = fdit_config_tokens(c),
                                                 .y = m->x,
                                                 .x = m->patches,
                                                 .residual = fdit_param_value(m, e->pos),
                                                 .residual_shared = true });
}

void fdit_block_forward(struct fdit_model *m, const struct fdit_block_params *p, struct fdit_block_saved *s,
                        int samples, bool until_mlp_input)
{
    int n = fdit_config_tokens(&m->config), d = m->config.width, stride = 6 * d;
    struct fdit_tensor gate1 = fdit_mod_vector(s->mod, GATE1, d), gate2 = fdit_mod_vector(s->mod, GATE2, d);

    /* u = LN1(x) (1 + scale1) + shift1;  q, k, v = Linear(u) */
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = samples,
                                                .rows = n,
                                                .width = d,
                                                .y = m->u,
                                                .x = m->x,
                                                .weight = fdit_param_value(m, p->norm1_w),
                                                .bias = fdit_param_value(m, p->norm1_b),
                                                .shift = fdit_mod_vector(s->mod, SHIFT1, d),
                                                .scale = fdit_mod_vector(s->mod, SCALE1, d),
                                                .mod_stride = stride,
                                                .xhat = s->xhat1,
                                                .rstd = s->rstd1 });
    fdit_apply_linear(m, p->qkv_w, p->qkv_b,
                      (struct fdit_linear_args){ .samples = samples, .rows = n, .y = s->qkv, .x = m->u });
    fdit_attention(m->dev, &(struct fdit_attention_args){ .samples = samples,
                                                          .rows = n,
                                                          .heads = m->config.heads,
                                                          .head_size = d / m->config.heads,
                                                          .out = s->heads_out,
                                                          .lse = s->lse,
                                                          .qkv = s->qkv });
    /* x += gate1 * Linear(heads) */
    if (until_mlp_input)
        fdit_gate(m->dev, &(struct fdit_gate_args){ .samples = samples,
                                                    .rows = n,
                                                    .width = d,
                                                    .y = m->x,
                                                    .residual = m->x,
                                                    .branch = s->attn_out,
                                                    .gate = gate1,
                                                    .gate_stride = stride });
    else
        fdit_apply_linear(m, p->proj_w, p->proj_b,
                          (struct fdit_linear_args){ .samples = samples,
                                                     .rows = n,
                                                     .y = m->x,
                                                     .x = s->heads_out,
                                                     .pre = s->attn_out,
                                                     .gate = gate1,
                                                     .gate_stride = stride,
                                                     .residual = m->x });

    /* u = LN2(x) (1 + scale2) + shift2;  x += gate2 * Linear(GELU(Linear(u))) */
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = samples,
                                                .rows = n,
                                                .width = d,
                                                .y = m->u,
                                                .x = m->x,
                                                .weight = fdit_param_value(m, p->norm2_w),
                                                .bias = fdit_param_value(m, p->norm2_b),
                                                .shift = fdit_mod_vector(s->mod, SHIFT2, d),
                                                .scale = fdit_mod_vector(s->mod, SCALE2, d),
                                                .mod_stride = stride,
                                                .xhat = s->xhat2,
                                                .rstd = s->rstd2 });
    if (until_mlp_input) {
        fdit_apply_linear(m, p->fc1_w, p->fc1_b,
                          (struct fdit_linear_args){ .samples = samples, .rows = n, .y = s->fc1, .x = m->u });
        return;
    }
    fdit_apply_linear(m, p->fc1_w, p->fc1_b,
                      (struct fdit_linear_args){ .samples = samples,
                                                 .rows = n,
                                                 .y = m->wide,
                                                 .x = m->u,
                                                 .act = FDIT_ACT_GELU_TANH,
                                                 .pre = s->fc1 });
    fdit_apply_linear(m, p->fc2_w, p->fc2_b,
                      (struct fdit_linear_args){ .samples = samples,
                                                 .rows = n,
                                                 .y = m->x,
                                                 .x = m->wide,
                                                 .pre = s->mlp_out,
                                                 .gate = gate2,
                                                 .gate_stride = stride,
                                                 .residual = m->x });
}

struct fdit_block_saved fdit_block_unrounded(const struct fdit_model *m, int i)
{
    struct fdit_block_saved s = m->shared;
    s.rstd1 = m->saved[i].rstd1;
    s.lse = m->saved[i].lse;
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

/* Modulations (shift, scale, ...) = Linear(SiLU(c)) of a block, and of the head. */
static void modulations(struct fdit_model *m, const struct fdit_param *w, const struct fdit_param *b,
                        int samples, struct fdit_tensor to)
{
    fdit_apply_linear(m, w, b,
                      (struct fdit_linear_args){ .samples = samples, .rows = 1, .y = to, .x = m->silu_c });
}

/* out = unpatchify(Linear(LN(x) (1 + scale) + shift)), the modulations from `first` on of head_mod */
static void head(struct fdit_model *m, int samples, int first)
{
    const struct fdit_model_config *c = &m->config;
    const struct fdit_end_params *e = m->ends;
    int n = fdit_config_tokens(c), d = c->width;
    struct fdit_tensor mod = fdit_at(m->head_mod, (size_t)first * 2 * (size_t)d);
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = samples,
                                                .rows = n,
                                                .width = d,
                                                .y = m->u,
                                                .x = m->x,
                                                .weight = fdit_param_value(m, e->norm_w),
                                                .bias = fdit_param_value(m, e->norm_b),
                                                .shift = mod,
                                                .scale = fdit_at(mod, (size_t)d),
                                                .mod_stride = 2 * d,
                                                .xhat = m->head_xhat,
                                                .rstd = m->head_rstd });
    fdit_apply_linear(
        m, e->linear_w, e->linear_b,
        (struct fdit_linear_args){ .samples = samples, .rows = n, .y = m->tokens_out, .x = m->u });
    fdit_unpatchify(m->dev, &(struct fdit_patchify_args){ .samples = samples,
                                                          .channels = 2 * c->channels,
                                                          .size = c->input_size,
                                                          .patch = c->patch,
                                                          .order = FDIT_PATCH_CHANNEL_LAST,
                                                          .tokens = m->tokens_out,
                                                          .image = m->output });
}

/* logits = Linear(mean over tokens of LN(x)) */
static void classifier_head(struct fdit_model *m, int samples)
{
    const struct fdit_end_params *e = m->ends;
    int n = fdit_config_tokens(&m->config), d = m->config.width;
    fdit_norm(m->dev, &(struct fdit_norm_args){ .samples = samples,
                                                .rows = n,
                                                .width = d,
                                                .y = m->u,
                                                .x = m->x,
                                                .weight = fdit_param_value(m, e->norm_w),
                                                .bias = fdit_param_value(m, e->norm_b),
                                                .xhat = m->head_xhat,
                                                .rstd = m->head_rstd });
    fdit_token_mean(m->dev, &(struct fdit_token_mean_args){
                                .samples = samples, .rows = n, .width = d, .y = m->pooled, .x = m->u });
    fdit_apply_linear(
        m, e->linear_w, e->linear_b,
        (struct fdit_linear_args){ .samples = samples, .rows = 1, .y = m->output, .x = m->pooled });
}

static void run_block(struct fdit_model *m, int i, int samples, int first)
{
    size_t md = (size_t)samples * (size_t)fdit_config_tokens(&m->config) * (size_t)m->config.width;
    struct fdit_block_saved s = keeps(m, i, first);
    if (fdit_has(s.x_in))
        fdit_copy(m->dev, s.x_in, m->x, md);
    fdit_block_forward(m, &m->blocks[i], &s, samples, false);
    if (m->options.activations == FDIT_BF16)
        fdit_copy(m->dev, m->saved[i].rounded, fdit_shared_all(m), m->shared_count);
}

static void block_modulations(struct fdit_model *m, int i, int samples)
{
    modulations(m, m->blocks[i].ada_w, m->blocks[i].ada_b, samples, fdit_block_mods(m, i, 0));
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
    modulations(m, m->ends->ada_w, m->ends->ada_b, samples, m->head_mod);
}

void fdit_forward_conditioned(struct fdit_model *m, int samples, int first)
{
    embed(m, samples);
    for (int i = 0; i < m->config.depth; i++)
        run_block(m, i, samples, first);
    if (m->config.kind == FDIT_MODEL_DIT)
        head(m, samples, first);
    else
        classifier_head(m, samples);
}

void fdit_forward(struct fdit_model *m, int samples)
{
    if (m->config.kind == FDIT_MODEL_DIT)
        fdit_condition(m, samples);
    fdit_forward_conditioned(m, samples, 0);
}
