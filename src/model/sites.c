/* SPDX-License-Identifier: Apache-2.0
 * sites.c: which tensors a layer of a block works on. */
#include "model/model_internal.h"

/* `mod` holds `vectors` of D numbers a sample; shift and scale are two of them. */
static struct fdit_norm_site norm_site(const struct fdit_model *m, const struct fdit_layer *layer,
                                       struct fdit_tensor mod, int shift, int scale, int vectors)
{
    const int d = m->config.width;
    return (struct fdit_norm_site){ .layer = layer,
                                    .shift = fdit_mod_vector(mod, shift, d),
                                    .scale = fdit_mod_vector(mod, scale, d),
                                    .dshift = fdit_mod_vector(m->dmod, shift, d),
                                    .dscale = fdit_mod_vector(m->dmod, scale, d),
                                    .stride = vectors * d };
}

static struct fdit_gate_site gate_site(const struct fdit_model *m, struct fdit_tensor mod, int gate,
                                       struct fdit_tensor branch)
{
    const int d = m->config.width;
    return (struct fdit_gate_site){ .gate = fdit_mod_vector(mod, gate, d),
                                    .dgate = fdit_mod_vector(m->dmod, gate, d),
                                    .stride = 6 * d,
                                    .branch = branch,
                                    .dbranch = fdit_has(mod) ? m->du : m->dx };
}

struct fdit_block_site fdit_block_site_of(const struct fdit_model *m, int i, const struct fdit_block_saved *s)
{
    const struct fdit_block_layers *l = &m->params.blocks[i];
    struct fdit_block_site b = { .norm1 = norm_site(m, &l->norm1, s->mod, SHIFT1, SCALE1, 6),
                                 .norm2 = norm_site(m, &l->norm2, s->mod, SHIFT2, SCALE2, 6),
                                 .qkv = &l->qkv,
                                 .q_norm = &l->q_norm,
                                 .k_norm = &l->k_norm,
                                 .qk_xhat = s->qk_xhat,
                                 .qk_rstd = s->qk_rstd,
                                 .proj = &l->proj,
                                 .fc1 = &l->fc1,
                                 .fc2 = &l->fc2,
                                 .qkv_out = s->qkv,
                                 .lse = s->lse,
                                 .heads_out = s->heads_out,
                                 .fc1_out = s->fc1,
                                 .gate1 = gate_site(m, s->mod, GATE1, s->attn_out),
                                 .gate2 = gate_site(m, s->mod, GATE2, s->mlp_out) };
    b.norm1.xhat = s->xhat1;
    b.norm1.rstd = s->rstd1;
    b.norm2.xhat = s->xhat2;
    b.norm2.rstd = s->rstd2;
    return b;
}

struct fdit_norm_site fdit_final_norm_of(const struct fdit_model *m, int first)
{
    const size_t at = (size_t)first * 2 * (size_t)m->config.width;
    const struct fdit_tensor mod = fdit_has(m->head_mod) ? fdit_at(m->head_mod, at) : m->head_mod;
    struct fdit_norm_site s = norm_site(m, &m->params.ends.norm, mod, SHIFT1, SCALE1, 2);
    s.xhat = m->head_xhat;
    s.rstd = m->head_rstd;
    return s;
}
