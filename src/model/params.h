/* SPDX-License-Identifier: Apache-2.0
 * params.h: the one list of a model's parameters. Names are those of the public checkpoints
 * ("blocks.0.attn.qkv.weight"); masks are rules over these names; checkpoints, deltas, the optimiser and
 * the memory plan all walk this list in this order.
 *
 * Parameters are grouped: embedders, one group per block, the head, the class table, the position
 * table. A group's trained parameters lie in one buffer, each aligned to 4096 bytes, and its gradients,
 * moments and EMA in buffers of the same layout. Frozen vectors lie in a second buffer; frozen matrices
 * are weight objects of the device. */
#ifndef FDIT_MODEL_PARAMS_H
#define FDIT_MODEL_PARAMS_H

#include "device/device.h"
#include "model/config.h"
#include "model/ema_profile.h"

enum fdit_param_kind {
    FDIT_PARAM_MATRIX, /* [n_out, n_in] (the patch weight [D, C, p, p] counts as [D, C p p]) */
    FDIT_PARAM_BIAS,
    FDIT_PARAM_NORM, /* scale or offset of a LayerNorm; missing in a stock DiT */
    FDIT_PARAM_TABLE,
    FDIT_PARAM_POS,
    FDIT_PARAM_GAMMA,    /* a vector of DiffFit (adapter.h) */
    FDIT_PARAM_LOW_RANK, /* A [rank, n_in] or B [n_out, rank] of an adapter: plain numbers also when frozen */
};

struct fdit_param {
    char *name;
    enum fdit_param_kind kind;
    int group;
    int rank, shape[4];
    size_t count;
    int n_out, n_in; /* matrices, also those of an adapter */
    bool trained;
    bool need_dx;        /* the backward pass multiplies by it */
    size_t offset;       /* elements, in the group's trained or frozen buffer */
    fdit_weight *weight; /* frozen matrices, once set */
    bool borrowed;       /* it is another model's (model.h, lender) */
};

enum { FDIT_MOST_MOMENTS = 2 };

struct fdit_group {
    size_t trained, frozen; /* elements with padding; 0: no such buffer */
    /* Of the trained ones those whose moments and averages are here, and which the optimiser updates: kept
     * from first on. All, unless processes share them (model.h, fdit_model_share). */
    size_t first, kept;
    fdit_buffer *value, *grad;               /* trained */
    fdit_buffer *ema;                        /* [kept], like what follows but for base and fixed */
    fdit_buffer *base;                       /* what they were; of the class table one row */
    fdit_buffer *moment[FDIT_MOST_MOMENTS];  /* what the optimiser keeps for each trained number */
    fdit_buffer *profile[FDIT_EMA_PROFILES]; /* averages of other lengths (ema_profile.h) */
    fdit_buffer *fixed;                      /* frozen vectors */
};

/* Indices of the groups: 0 embedders, 1 + i block i, then head, table, positions. */
enum { FDIT_GROUP_EMBED = 0 };
static inline int fdit_group_block(int block)
{
    return 1 + block;
}
static inline int fdit_group_head(const struct fdit_model_config *c)
{
    return 1 + c->depth;
}
static inline int fdit_group_table(const struct fdit_model_config *c)
{
    return 2 + c->depth;
}
static inline int fdit_group_pos(const struct fdit_model_config *c)
{
    return 3 + c->depth;
}
static inline int fdit_group_count(const struct fdit_model_config *c)
{
    return 4 + c->depth;
}
/* "block 0", "the class table", ...: for people. */
enum { FDIT_GROUP_NAME = 32 };
void fdit_group_name(const struct fdit_model_config *c, int group, char out[FDIT_GROUP_NAME]);

/* A layer by its role in the network: a Linear (weight [n_out, n_in], bias [n_out]) or a LayerNorm (both
 * [D]). */
struct fdit_layer {
    struct fdit_param *weight, *bias;
    struct fdit_param *low_a, *low_b; /* of its adapter (adapter.h); NULL: none */
    struct fdit_param *gamma;         /* multiplies its result; NULL: none. Those of proj and fc2: below */
    int tokens;                       /* of a sample where the layer is, or 1 */
};

/* The roles of a block's layers and of the others: ROLE(name, whether a classifier has it, too; else it is
 * empty there). The structs and the check that none is missing are made of these lists; what each is called
 * in a file and how large it is stands in params.c. */
#define FDIT_BLOCK_ROLES(ROLE) \
    ROLE(norm1, true)          \
    ROLE(qkv, true)            \
    ROLE(proj, true)           \
    ROLE(norm2, true)          \
    ROLE(fc1, true)            \
    ROLE(fc2, true)            \
    ROLE(ada, false)
#define FDIT_END_ROLES(ROLE) \
    ROLE(patch, true)        \
    ROLE(t0, false)          \
    ROLE(t2, false)          \
    ROLE(norm, true)         \
    ROLE(linear, true)       \
    ROLE(ada, false)

#define FDIT_ROLE_FIELD(name, in_classifier) struct fdit_layer name;
struct fdit_block_layers {
    FDIT_BLOCK_ROLES(FDIT_ROLE_FIELD)
    struct fdit_param *gamma1, *gamma2; /* multiply the gates of the branches; NULL: none */
    struct fdit_layer q_norm, k_norm;   /* [dh], of all heads; empty without config.qk_norm */
};
struct fdit_end_layers {
    FDIT_END_ROLES(FDIT_ROLE_FIELD)
    struct fdit_param *pos, *table;   /* table: NULL in a classifier */
    struct fdit_layer class_map;      /* [D, config.class_vectors] and [D]; empty without them */
    struct fdit_layer w0, w2, w_norm; /* [D, 1], [D, D] and [D]; empty without config.guidance_input */
};
#undef FDIT_ROLE_FIELD

/* Which parameters are trained: those whose name matches a rule, that is, contains `has` and does not
 * contain `lacks` (NULL: no condition). */
struct fdit_mask_rule {
    const char *has, *lacks;
};
enum { FDIT_MASK_RULES = 16, FDIT_MASK_NAME = 64 };
struct fdit_mask {
    char name[FDIT_MASK_NAME]; /* "finediffusion+lora:16": what --tune takes */
    struct fdit_mask_rule rules[FDIT_MASK_RULES];
    int n_rules;
    struct fdit_adapter adapter; /* that it puts on a model: its config must have it */
};
/* A mask from words joined by "+"; the words with an adapter take numbers behind ":". FDIT_ERROR_ARGUMENT,
 * beginning with "--tune TEXT", says what is not known or does not go together. */
enum fdit_status fdit_mask_parse(fdit_context *ctx, const char *text, struct fdit_mask *out);
/* One of the words that take no numbers as a mask; NULL: there is none of that name. */
const struct fdit_mask *fdit_mask_find(const char *name);
bool fdit_mask_trains(const struct fdit_mask *mask, const char *param);
#define FDIT_MASK_NAMES                                                                       \
    "finediffusion, bitfit, norm, table, full, lora:R[:ALPHA], rslora:R[:ALPHA], difffit or " \
    "difffit-linear, or several, as "                                                         \
    "finediffusion+lora:16"

struct fdit_params {
    struct fdit_param *list;
    int n;
    struct fdit_group *groups;
    int n_groups;
    struct fdit_block_layers *blocks; /* [depth] the same parameters by their roles */
    struct fdit_end_layers ends;
};

/* Builds the list of a model of these sizes and its roles; mask NULL trains nothing. Free with
 * fdit_params_fini. */
enum fdit_status fdit_params_init(fdit_context *ctx, const struct fdit_model_config *config,
                                  const struct fdit_mask *mask, struct fdit_params *out);
void fdit_params_fini(struct fdit_params *params);
/* FDIT_ERROR_UNSUPPORTED, naming it, when a role that such a model needs has no parameter. */
enum fdit_status fdit_params_check(fdit_context *ctx, const struct fdit_model_config *config,
                                   const struct fdit_params *params);
/* Weight or bias of the map of class vectors. */
bool fdit_param_of_class_map(const char *name);
/* What tells the network a guidance scale: trained by every mask, and in a delta that has it. */
bool fdit_param_of_guidance(const char *name);
#define FDIT_PARAM_GUIDANCE "w_embed.mlp.0.weight" /* one of them, by which files are told */
/* NULL when there is none. */
struct fdit_param *fdit_params_find(const struct fdit_params *params, const char *name);
/* Numbers in trained parameters and in all of them, the position table included. */
size_t fdit_params_trained(const struct fdit_params *params);
size_t fdit_params_total(const struct fdit_params *params);
/* Whether everything but the position table is trained: a file of the trained parameters and that table
 * is then a checkpoint by itself. */
bool fdit_params_whole(const struct fdit_params *params);

#endif
