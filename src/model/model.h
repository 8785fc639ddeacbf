/* SPDX-License-Identifier: Apache-2.0
 * model.h: the network on a device.
 *
 *     struct fdit_model *m = NULL;
 *     TRY(fdit_model_new(ctx, dev, &config, &options, &m));    // sizes and the plan, no memory yet
 *     TRY(fdit_model_allocate(ctx, m));                        // everything, once
 *     TRY(fdit_model_load(ctx, m, &checkpoint, 1, false, NULL)); // checkpoint.h; or fdit_model_init (init.h)
 *     fdit_write(dev, m->input, pictures, 4 * picture);
 *     fdit_write(dev, m->index, rows, 4);
 *     fdit_model_write_times(m, 4, times);
 *     fdit_forward(m, 4);
 *     TRY(fdit_read(ctx, dev, m->output, out, 4 * output));
 *
 * With options.training the forward pass keeps what the backward pass needs. */
#ifndef FDIT_MODEL_MODEL_H
#define FDIT_MODEL_MODEL_H

#include "model/params.h"
#include "device/plan.h"

/* What the backward pass rebuilds instead of keeping. */
enum fdit_recompute {
    FDIT_RECOMPUTE_NONE,     /* 12 D numbers kept per token and block */
    FDIT_RECOMPUTE_BRANCHES, /* 3 D: block input and both branch outputs */
    FDIT_RECOMPUTE_BLOCK,    /* D: block input */
};

enum fdit_values {
    FDIT_VALUES_RAW,
    FDIT_VALUES_EMA,
    FDIT_VALUES_BASE,    /* options.base_values; its class table is one row */
    FDIT_VALUES_PROFILE, /* options.profiles: the first of FDIT_EMA_PROFILES averages; the others follow */
};

/* What a process has of moments and averages where several share them: those of a range of the class table's
 * rows, and of all other parameters or none of them. */
struct fdit_model_share {
    bool some;          /* false: all of both */
    bool others;        /* of all but the class table */
    size_t first, rows; /* of the class table */
};

struct fdit_model_options {
    const struct fdit_mask *mask; /* what is trained; NULL: nothing */
    bool training;                /* backward pass, gradients */
    int moments; /* training: kept by the optimiser, at most FDIT_MOST_MOMENTS; 0: it runs elsewhere */
    bool ema;    /* keep EMA of the trained parameters */
    struct fdit_model_share share; /* of moments and averages */
    bool profiles;     /* keep the averages of ema_profile.h, too; fdit_model_set gives them the value */
    bool base_values;  /* keep their values in the base, and one row of its table: fdit_model_set_base */
    int prior_rows;    /* keep so many frozen rows of another class table: fdit_model_set_prior */
    int batch;         /* the most samples of one forward pass */
    int conditions;    /* inference: hold the modulations of so many samples, those of several
                                   * passes: fdit_condition. 0: of a batch */
    int kept_branches; /* inference: hold so many earlier results of each branch, at most
                                   * FDIT_MOST_BRANCHES: fdit_forward_branches */
    enum fdit_recompute recompute;
    enum fdit_dtype activations; /* what is kept for the backward pass: FDIT_F32 (0), or FDIT_BF16, which
                                   * needs recompute none */
    enum fdit_dtype storage;     /* of frozen matrices: FDIT_F32, ... */
    /* Inference: a model of the same sizes, storage and device, loaded before this one and used no longer
     * than it; frozen matrices for which `borrows` (user first) says so are its, and take no memory. NULL:
     * none. */
    const struct fdit_model *lender;
    bool (*borrows)(const void *user, const struct fdit_param *p);
    const void *borrows_user;
};

enum { FDIT_MOST_BRANCHES = 3 };

/* What a pass does with the results of the branches, attention and MLP of every block, before their gates. */
struct fdit_branch_use {
    int n; /* 0: they are computed; else each is the sum of n earlier ones, times factor[i], at place[i] */
    int store; /* n = 0: the place where they are kept, below options.kept_branches */
    int place[FDIT_MOST_BRANCHES];
    float factor[FDIT_MOST_BRANCHES];
};

/* Everything one block keeps for its backward pass. Absent tensors were not planned. */
struct fdit_block_saved {
    fdit_buffer *buffer, *rounded_buffer;
    struct fdit_tensor rounded; /* with bf16 activations: a copy of model->shared, up to the small ones */
    struct fdit_tensor x_in;    /* [M, D] with recomputation */
    struct fdit_tensor mod;     /* of model->mods: [B, 6 D] shift1 scale1 gate1 shift2 scale2 gate2 */
    struct fdit_tensor xhat1, rstd1, qkv, lse, heads_out, attn_out;
    struct fdit_tensor xhat2, rstd2, fc1, mlp_out;
    struct fdit_tensor qk_xhat, qk_rstd; /* [M, 2 D], [M, 2 H] with config.qk_norm */
};

enum { FDIT_MODEL_TENSORS = 44 }; /* at the most, with a buffer of their own */

struct fdit_model {
    fdit_device *dev;
    struct fdit_model_config config;
    struct fdit_model_options options;
    struct fdit_mask mask; /* a copy of what options.mask was; options.mask is this one */
    struct fdit_params params;
    struct fdit_plan plan;
    enum fdit_values values; /* which set the forward pass uses */

    struct fdit_block_saved *saved; /* [depth], or one that all blocks share */
    struct fdit_block_saved shared; /* inference, recomputation, bf16 activations */
    size_t shared_count;            /* elements of it */
    struct fdit_binding *bindings;  /* tensors that get their buffer in fdit_model_allocate */
    size_t n_bindings, binding_capacity;
    fdit_buffer *own[FDIT_MODEL_TENSORS]; /* buffers of the tensors below, one each */
    int n_own;
    float *times;              /* host, [B, 256] */
    struct fdit_tensor x;      /* [M, D] residual stream */
    struct fdit_tensor u;      /* [M, D] modulated input of a branch */
    struct fdit_tensor wide;   /* [M, R D] activation of fc1 */
    struct fdit_tensor dx, du; /* [M, D] */
    struct fdit_tensor dwide;  /* [M, max(R, 3) D] */
    struct fdit_tensor dmod;   /* [B, 6 D] */
    struct fdit_tensor dqk;    /* [4, M, dh] with config.qk_norm: its gradients of each token */

    /* Of the adapter that is at work: A x or B^T dy, the same times s; and room for a layer's result. */
    struct fdit_tensor low, low_scaled; /* [M, rank] */
    struct fdit_tensor beside;          /* [M, max(R, 3) D], in dwide; inference: its own */
    struct fdit_tensor mod_scale;       /* gammas: [depth, 6 D] that the modulations are multiplied with */
    struct fdit_tensor mods_plain;      /* gammas: [depth, B, 6 D] before that; absent in inference */
    struct fdit_tensor dgamma;          /* [max(B R, 6) D] */

    /* Gradients that live for a moment, in the room of a tensor that is free then. */
    struct fdit_tensor dheads;  /* [M, D] in u: of the heads' output */
    struct fdit_tensor dtokens; /* in tokens_out: of it */
    struct fdit_tensor dt;      /* [B, D] in head_mod: of the time embedding before SiLU */

    struct fdit_tensor patches; /* [M, C p p] */
    /* K: options.conditions, at least B. */
    struct fdit_tensor t_features;      /* [K, 256] */
    struct fdit_tensor t_pre, t_hidden; /* [K, D] */
    struct fdit_tensor c, silu_c;       /* [K, D] */
    struct fdit_tensor mods;            /* [depth, K, 6 D] */
    struct fdit_tensor dsilu_c;         /* [B, D]: also dc */
    struct fdit_tensor head_xhat, head_rstd;
    struct fdit_tensor head_mod;        /* [K, 2 D] */
    struct fdit_tensor tokens_out;      /* [M, p p O], O: fdit_config_out_channels */
    struct fdit_tensor pooled, dpooled; /* classifier: [B, D] */
    /* config.guidance_input; no other tensor is like one of these when they are in use. */
    struct fdit_tensor strengths;        /* [K] w - 1 */
    struct fdit_tensor w_pre, w_hidden;  /* [K, D] before SiLU and after it */
    struct fdit_tensor w_in, w_out;      /* [K, D] what its LayerNorm takes and gives */
    struct fdit_tensor w_spread, c_xhat; /* [K] D times the deviation of c; [K, D] */
    struct fdit_tensor w_xhat, w_rstd;   /* [B, D], [B]: kept for the backward pass; absent without one */
    struct fdit_tensor class_vectors;    /* config.class_vectors, d: [rows of the table, d] */
    struct fdit_tensor class_in;         /* [K, d] those of the samples */
    int frozen_rows;                     /* of the class table, from the first: they get no gradient */
    struct fdit_tensor prior_table;      /* [options.prior_rows, D] */
    bool prior; /* the pass takes rows of prior_table, and they get no gradient, nor does a map of vectors */
    struct fdit_tensor branches;       /* [kept_branches, depth, 2, M, D] */
    const struct fdit_branch_use *use; /* of the pass in progress; NULL: computed, and not kept */

    /* Called by fdit_backward when the gradients of a group are queued whole: of the final layer, then of the
     * blocks from the last to the first, then of FDIT_GROUP_EMBED, with which those of all groups are. NULL:
     * nobody is told. */
    void (*final)(void *user, int group);
    void *final_user;

    /* Where options.share is some: brings what all processes keep of the class table, like `part` here, into
     * `whole`. fdit_model_gather calls it; NULL: it cannot be brought. */
    enum fdit_status (*gather)(fdit_context *ctx, void *user, fdit_buffer *part, fdit_buffer *whole);
    void *gather_user;
    fdit_buffer *gathered; /* the part of which the gradient's buffer has the whole; NULL: of none */

    /* In and out. */
    struct fdit_tensor input;   /* [B, C, S, S] */
    struct fdit_tensor index;   /* I32 [K]: rows of the class table; classifier: labels */
    struct fdit_tensor output;  /* [B, O, S, S]; classifier: [B, K] */
    struct fdit_tensor doutput; /* the same shape */
};

/* Sizes, parameter list and plan; allocates nothing on the device. The caller adds its own entries to
 * (*out)->plan before fdit_model_allocate, if it has any. */
enum fdit_status fdit_model_new(fdit_context *ctx, fdit_device *dev, const struct fdit_model_config *config,
                                const struct fdit_model_options *options, struct fdit_model **out);
void fdit_model_free(struct fdit_model *model);
/* The linear layers of a model as ops: for each of the ten, forward, dX and dW, in this order. `plain`: the
 * matrices are trained. Returns how many. */
enum { FDIT_MODEL_LINEARS = 30 };
int fdit_model_linears(const struct fdit_model_config *config, int batch, bool plain,
                       struct fdit_op_shape out[FDIT_MODEL_LINEARS]);
/* Buffers of the plan and the device's workspace. Frozen matrices follow by fdit_model_set. */
enum fdit_status fdit_model_allocate(fdit_context *ctx, struct fdit_model *model);

/* Gives a parameter its numbers (p->count floats, checkpoint layout); raw and EMA values both. */
enum fdit_status fdit_model_set(fdit_context *ctx, struct fdit_model *model, struct fdit_param *p,
                                const float *data);
/* A trained parameter's numbers in the base; of the class table [D], the one row that is kept. */
enum fdit_status fdit_model_set_base(fdit_context *ctx, struct fdit_model *model, const struct fdit_param *p,
                                     const float *data);
/* With config.class_vectors, d: gives class c the vector at[c] of `vectors` [.., d], all other rows of the
 * table zero. frozen: the classes' own rows stay as they are, so that only the map tells classes apart. */
enum fdit_status fdit_model_set_class_vectors(fdit_context *ctx, struct fdit_model *model,
                                              const float *vectors, const int32_t *at, int32_t classes,
                                              bool frozen);
/* The rows of options.prior_rows: table [prior_rows, D]. */
enum fdit_status fdit_model_set_prior(fdit_context *ctx, struct fdit_model *model, const float *table);
/* Rows first..first+n-1 of the class table as samples get them, what the map gives included: out [n, D]. Uses
 * the model's tensors of a pass. */
enum fdit_status fdit_model_class_rows(fdit_context *ctx, struct fdit_model *model, enum fdit_values values,
                                       int32_t first, int32_t n, float *out);
/* Reads a trained parameter or frozen vector back; frozen matrices cannot be read:
 * FDIT_ERROR_UNSUPPORTED. */
enum fdit_status fdit_model_get(fdit_context *ctx, const struct fdit_model *model, const struct fdit_param *p,
                                enum fdit_values values, float *data);
/* The buffer of a group that has these values of its trained parameters (gathered before, where they are
 * shared); NULL: they are not kept. */
fdit_buffer *fdit_group_values(const struct fdit_group *group, enum fdit_values values);
/* The sets of numbers that a run keeps of a trained parameter, in the order of its checkpoints: the values,
 * raw and EMA, the moments, the averages of other lengths. NULL: the model has no such buffer. */
static inline int fdit_group_sets(int moments)
{
    return 2 + moments + FDIT_EMA_PROFILES;
}
fdit_buffer *fdit_group_set(const struct fdit_group *group, int moments, int set);
/* With options.share: makes `part`, a buffer of a group, whole where it is a part of the class table's, for
 * fdit_group_whole, until the next call or pass: the gradient's buffer has it then, which needs no memory of
 * its own. The values (group->value) become those of all processes in their own place. */
enum fdit_status fdit_model_gather(fdit_context *ctx, struct fdit_model *model,
                                   const struct fdit_group *group, fdit_buffer *part);
/* Before a pass, or anything else that reads them, with these values. */
enum fdit_status fdit_model_gather_values(fdit_context *ctx, struct fdit_model *model,
                                          enum fdit_values values);
/* Of data [n], which stands from `at` on in a group, what is kept here, into `part` (NULL: nowhere). */
void fdit_group_write_part(fdit_device *dev, const struct fdit_group *group, fdit_buffer *part, size_t at,
                           const float *data, size_t n);
/* The buffer that has all of what `part` is of. */
fdit_buffer *fdit_group_whole(const struct fdit_group *group, fdit_buffer *part);
/* The tensor of a trained parameter: its value, gradient, ... */
struct fdit_tensor fdit_param_value(const struct fdit_model *model, const struct fdit_param *p);
struct fdit_tensor fdit_param_grad(const struct fdit_model *model, const struct fdit_param *p);

/* Puts the 256 time features of each sample's step t[b] on the device. */
void fdit_model_write_times(struct fdit_model *model, int samples, const double *t);

/* With config.guidance_input: the guidance scale of each sample less 1 (NULL: all 0, no guidance), to be
 * given before each fdit_forward or fdit_condition. Nothing without. */
void fdit_model_write_strengths(struct fdit_model *model, int samples, const float *w_less_1);

/* model->output [B, O, S, S] (or [B, K]) from model->input, model->t_features and model->index. Keeps the
 * activations when the model is for training. */
void fdit_forward(struct fdit_model *model, int samples);
/* Its two parts. First the modulations of all blocks for `samples` <= options.conditions, from
 * model->t_features and model->index; then passes with those from `first` on. With conditions of several
 * passes adaLN's matrices, a third of the weights, are read once for them. */
void fdit_condition(struct fdit_model *model, int samples);
void fdit_forward_conditioned(struct fdit_model *model, int samples, int first);
/* The same with the branches of earlier passes, or keeping them (arXiv 2407.01425, 2503.06923). Only patch
 * embedding, gates and final layer are computed where they are taken. NULL: fdit_forward_conditioned. */
void fdit_forward_branches(struct fdit_model *model, int samples, int first,
                           const struct fdit_branch_use *use);
/* Gradients of all trained parameters from model->doutput, after fdit_forward with the same samples.
 * beta 0 overwrites them, 1 accumulates. */
void fdit_backward(struct fdit_model *model, int samples, int beta);

/* Block i alone, with its modulations from model->silu_c: model->x into model->x. And backward, for the same
 * samples: model->dx (gradient of the block's output) into model->dx (of its input); the gradient of silu_c
 * is added to model->dsilu_c. */
void fdit_forward_block(struct fdit_model *model, int i, int samples);
void fdit_backward_block(struct fdit_model *model, int i, int samples, int beta);

#endif
