/* SPDX-License-Identifier: Apache-2.0
 * config.h: the sizes of a model, and where they come from. */
#ifndef FDIT_MODEL_CONFIG_H
#define FDIT_MODEL_CONFIG_H

#include "core/status.h"
#include "diffusion/objective.h"
#include "model/adapter.h"

enum fdit_model_kind {
    FDIT_MODEL_DIT,        /* class-conditional diffusion transformer */
    FDIT_MODEL_CLASSIFIER, /* the same blocks without conditioning, mean over tokens, linear head */
};

/* Letters as in device.h. A size of 0 means: not known yet. */
struct fdit_model_config {
    enum fdit_model_kind kind;
    int input_size;                   /* S: height and width of the input, pixels or latent cells */
    int channels;                     /* Cin */
    int patch;                        /* p, divides S */
    int width;                        /* D, multiple of 4 (position table) */
    int depth;                        /* L */
    int heads;                        /* H, divides D */
    int mlp_ratio;                    /* hidden size of the MLP over D: 4 */
    int table_rows;                   /* rows of the class table; classifier: classes */
    enum fdit_objective_id objective; /* of a DiT: what it predicts */
    struct fdit_adapter adapter;      /* of the blocks; 0: none */
    int class_vectors;   /* of a DiT: numbers of the vectors that a learnt map adds to its rows; 0: none */
    bool qk_norm;        /* of a DiT: queries and keys are normalised, with weights and biases */
    bool guidance_input; /* of a DiT: it is told a guidance scale beside time and class (DogFit) */
};

static inline int fdit_config_tokens(const struct fdit_model_config *c)
{
    return (c->input_size / c->patch) * (c->input_size / c->patch);
}
static inline int fdit_config_patch_in(const struct fdit_model_config *c)
{
    return c->channels * c->patch * c->patch;
}
/* What a DiT predicts of each channel: the noise and the value v that sets the variance; or a velocity. */
static inline int fdit_config_outputs(const struct fdit_model_config *c)
{
    return fdit_objective_at(c->objective)->outputs;
}
static inline int
fdit_config_out_channels(const struct fdit_model_config *c) /* of a DiT's output [B, .., S, S] */
{
    return fdit_config_outputs(c) * c->channels;
}
static inline int fdit_config_patch_out(const struct fdit_model_config *c)
{
    return fdit_config_out_channels(c) * c->patch * c->patch;
}

/* Refuses sizes that no network can have, naming the size and what it must be. */
enum fdit_status fdit_config_check(fdit_context *ctx, const struct fdit_model_config *config);

/* "DiT-XL/2" (XL, L, B, S with patch 1..8) or "D,L,H,P" (width, depth, heads, patch) into width, depth,
 * heads, patch; the rest stays as it is, mlp_ratio becomes 4 when 0. Else FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_config_parse(fdit_context *ctx, const char *text, struct fdit_model_config *config);
/* "DiT-XL/2" where one fits, else "D,L,H,P". Free with fdit_free. */
enum fdit_status fdit_config_name(fdit_context *ctx, const struct fdit_model_config *config, char **out);
/* The number of heads that the published model of this width and depth has, or 0. */
int fdit_config_usual_heads(int width, int depth);

/* Reads a config.json: our keys (input_size, patch_size, in_channels, hidden_size, depth, num_heads,
 * mlp_ratio, table_rows) or those of a diffusers transformer (sample_size, num_layers, num_attention_heads,
 * attention_head_dim, num_embeds_ada_norm). "parameterisation" is the objective's name, ddpm without it.
 * "class_vectors" is not read: a file's class table has what the map gives (delta.h). Only keys that are
 * there change *config. `name` is for messages. */
enum fdit_status fdit_config_from_json(fdit_context *ctx, const char *name, const char *text, size_t n,
                                       struct fdit_model_config *config);
/* One line of JSON with our keys; deterministic. Free with fdit_free. */
enum fdit_status fdit_config_to_json(fdit_context *ctx, const struct fdit_model_config *config, char **out);

/* Multiply-add operations of one forward pass of one picture, times two. */
double fdit_config_forward_flops(const struct fdit_model_config *config);

#endif
