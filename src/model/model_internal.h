/* SPDX-License-Identifier: Apache-2.0
 * model_internal.h: what model.c, forward.c and backward.c share: the sites of the network, that is, a layer
 * with the tensors that it works on. */
#ifndef FDIT_MODEL_MODEL_INTERNAL_H
#define FDIT_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

#include <math.h>

/* The modulation vectors inside a row of `mod`, in the order of the adaLN output; the final layer has the
 * first two. */
enum { SHIFT1, SCALE1, GATE1, SHIFT2, SCALE2, GATE2 };

/* One of the six; absent in a classifier, whose blocks have no modulation. */
static inline struct fdit_tensor fdit_mod_vector(struct fdit_tensor mod, int which, int width)
{
    return fdit_has(mod) ? fdit_at(mod, (size_t)which * (size_t)width) : mod;
}

/* The modulations of a block from a sample on: [.., 6 D]. */
static inline struct fdit_tensor fdit_block_mods(const struct fdit_model *m, int block, int sample)
{
    size_t k = (size_t)m->options.conditions;
    return fdit_at(m->mods, ((size_t)block * k + (size_t)sample) * 6 * (size_t)m->config.width);
}

/* The same before the gammas of branches: [B, 6 D]; absent without gammas, or without a backward pass. */
static inline struct fdit_tensor fdit_plain_mods(const struct fdit_model *m, int block)
{
    const size_t each = (size_t)m->options.batch * 6 * (size_t)m->config.width;
    return fdit_has(m->mods_plain) ? fdit_at(m->mods_plain, (size_t)block * each) : FDIT_NO_TENSOR;
}

struct fdit_binding {
    struct fdit_tensor *tensor;
    fdit_buffer **buffer;
    size_t count; /* elements that there is room for */
};

/* y = (xhat w + b) (1 + scale) + shift, xhat = (x - mean) rstd */
struct fdit_norm_site {
    const struct fdit_layer *layer;
    /* A row a sample, `stride` apart; absent in a classifier. */
    struct fdit_tensor shift, scale, dshift, dscale;
    int stride;
    struct fdit_tensor xhat, rstd; /* [M, D] and [M], kept for the backward pass; absent without one */
};

/* x += gate * branch */
struct fdit_gate_site {
    struct fdit_tensor gate, dgate; /* a row a sample, `stride` apart; absent in a classifier */
    int stride;
    struct fdit_tensor branch;  /* [M, D], kept for the backward pass; absent without one */
    struct fdit_tensor dbranch; /* [M, D], its gradient: model->du, or without a gate model->dx itself */
};

/* A block in one pass: its layers, and where their results go. */
struct fdit_block_site {
    struct fdit_norm_site norm1, norm2;
    const struct fdit_layer *qkv, *proj, *fc1, *fc2;
    const struct fdit_layer *q_norm, *k_norm;   /* without a weight: none */
    struct fdit_tensor qk_xhat, qk_rstd;        /* kept for the backward pass; absent without one */
    struct fdit_tensor qkv_out, lse, heads_out; /* [M, 3 D], [B, H, N], [M, D] */
    struct fdit_tensor fc1_out;                 /* [M, R D] before GELU; absent without a backward pass */
    struct fdit_gate_site gate1, gate2;
};

/* Block i with these tensors, and the final layer's norm with the modulations from sample `first` on. */
struct fdit_block_site fdit_block_site_of(const struct fdit_model *m, int i,
                                          const struct fdit_block_saved *s);
struct fdit_norm_site fdit_final_norm_of(const struct fdit_model *m, int first);

/* gamma times the result of a layer, in model->wide; the result itself where it has none. */
struct fdit_tensor fdit_scaled(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor result,
                               int samples);
/* The q, k and v that attention takes: scaled and normalised. The latter is done in place, so in
 * b->qkv_out it is there `again` unless a gamma keeps the plain result. */
struct fdit_tensor fdit_attention_input(struct fdit_model *m, const struct fdit_block_site *b, int samples,
                                        bool again);
/* model->low = A x of the layer's adapter, model->low_scaled = s A x; the second alone, from model->low. */
void fdit_low_rank_inner(struct fdit_model *m, const struct fdit_layer *l, struct fdit_tensor x, int samples);
void fdit_low_rank_scale(struct fdit_model *m, const struct fdit_layer *l, int samples);

/* Embedding of the guidance scale w (DogFit, arXiv 2508.05685): what is added to c, the sum of the
 * embeddings of time and class, is
 *     0.5 std(c) LN(W2 SiLU(W1 (w - 1) + b1) + b2)
 * with the deviation over D with divisor D - 1, a constant for gradients, and a LayerNorm of eps 1e-5. The
 * op norm has 1e-6: LN of e with the one is LN of e times the root of their quotient with the other. The
 * deviation is c times its own normalised values, added up, over D; c is magnified for it, so that the
 * norm's eps does not tell. */
#define FDIT_GUIDANCE_SHRINK 0.316227766016837933f /* sqrt(1e-6 / 1e-5) */
enum { FDIT_GUIDANCE_MAGNIFY = 4096 };
/* What the sum for the deviation is multiplied with. */
static inline float fdit_guidance_factor(const struct fdit_model *m)
{
    const double d = m->config.width;
    return (float)(0.5 * sqrt(d / (d - 1)) / d);
}

/* One block, model->x into model->x. */
void fdit_block_forward(struct fdit_model *m, const struct fdit_block_site *b, int samples);
/* The same as far as its backward pass needs it when the outputs of both branches are kept: without proj, fc2
 * and GELU. model->x is then the input of the second branch. */
void fdit_block_rebuild(struct fdit_model *m, const struct fdit_block_site *b, int samples);

/* With bf16 activations: the shared tensors, and of block i those that stay f32. */
struct fdit_block_saved fdit_block_unrounded(const struct fdit_model *m, int i);
/* All of the shared tensors, [shared_count]. */
static inline struct fdit_tensor fdit_shared_all(const struct fdit_model *m)
{
    return (struct fdit_tensor){ m->shared.buffer, 0, FDIT_F32 };
}

#endif
