/* SPDX-License-Identifier: Apache-2.0
 * model_internal.h: what model.c, forward.c and backward.c share. */
#ifndef FDIT_MODEL_MODEL_INTERNAL_H
#define FDIT_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

struct fdit_block_params {
    struct fdit_param *norm1_w, *norm1_b, *qkv_w, *qkv_b, *proj_w, *proj_b;
    struct fdit_param *norm2_w, *norm2_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    struct fdit_param *ada_w, *ada_b; /* NULL in a classifier */
};

struct fdit_end_params {
    struct fdit_param *pos, *patch_w, *patch_b, *t0_w, *t0_b, *t2_w, *t2_b, *table;
    struct fdit_param *norm_w, *norm_b, *linear_w, *linear_b, *ada_w, *ada_b;
};

/* The modulation vectors inside a row of `mod`, in the order of the adaLN output. */
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

struct fdit_binding {
    struct fdit_tensor *tensor;
    fdit_buffer **buffer;
};

/* Forward of one block from model->x into model->x; keeps into s what its tensors are there for.
 * `until_mlp_input` stops before proj and fc2 (recomputation with kept branch outputs). */
void fdit_block_forward(struct fdit_model *m, const struct fdit_block_params *p, struct fdit_block_saved *s,
                        int samples, bool until_mlp_input);

/* With bf16 activations: the shared tensors, and of block i those that stay f32. */
struct fdit_block_saved fdit_block_unrounded(const struct fdit_model *m, int i);
/* All of the shared tensors, [shared_count]. */
static inline struct fdit_tensor fdit_shared_all(const struct fdit_model *m)
{
    return (struct fdit_tensor){ m->shared.buffer, 0, FDIT_F32 };
}

/* Block i of the forward pass, with its modulation from model->silu_c: model->x into model->x. And of the
 * backward pass, for the same samples: model->dx (gradient of the block's output) into model->dx (of its
 * input); the gradient of silu_c is added to model->dsilu_c. */
void fdit_forward_block(struct fdit_model *m, int i, int samples);
void fdit_backward_block(struct fdit_model *m, int i, int samples, int beta);

/* linear with a parameter as the matrix, frozen or trained. */
void fdit_apply_linear(struct fdit_model *m, const struct fdit_param *w, const struct fdit_param *b,
                       struct fdit_linear_args a);
void fdit_apply_linear_dx(struct fdit_model *m, const struct fdit_param *w, struct fdit_linear_dx_args a);

#endif
