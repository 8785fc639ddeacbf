/* SPDX-License-Identifier: Apache-2.0
 * layers.h: the layers of an autoencoder, in the order of its file's names, and their weights. */
#ifndef FDIT_VAE_LAYERS_H
#define FDIT_VAE_LAYERS_H

#include "device/plan.h"
#include "vae/config.h"
#include "vae/file.h"

enum fdit_vae_layer_kind {
    FDIT_VAE_CONV,   /* 3 x 3 */
    FDIT_VAE_LINEAR, /* 1 x 1 */
    FDIT_VAE_NORM,   /* group norm; n_in = n_out */
};

struct fdit_vae_layer {
    enum fdit_vae_layer_kind kind;
    char *name, *old_name; /* without ".weight"; old_name NULL: there is only one */
    bool of_decoder;
    int n_in, n_out;
    size_t weight_at, bias_at; /* places in the parameter buffer; weight_at: norms only */
    fdit_weight *weight;
};

/* What a residual block, the attention and a way of steps are made of: places in the list; -1:
 * none. */
struct fdit_vae_residual {
    int norm1, conv1, norm2, conv2, shortcut;
};
struct fdit_vae_attention {
    int norm, q, k, v, out;
};

enum fdit_vae_step_kind {
    FDIT_VAE_STEP_CONV, /* layer */
    FDIT_VAE_STEP_DOWN, /* layer, stride 2 */
    FDIT_VAE_STEP_UP,   /* layer, on a picture of twice the size */
    FDIT_VAE_STEP_LINEAR,
    FDIT_VAE_STEP_RESIDUAL,
    FDIT_VAE_STEP_ATTENTION,
    FDIT_VAE_STEP_END, /* residual.norm1 and layer: norm, SiLU, convolution */
};
struct fdit_vae_step {
    enum fdit_vae_step_kind kind;
    int layer;
    struct fdit_vae_residual residual;
    struct fdit_vae_attention attention;
};

struct fdit_vae_way {
    struct fdit_vae_step *list;
    size_t n, capacity;
};

struct fdit_vae_layers {
    struct fdit_vae_layer *list;
    size_t n, capacity;
    struct fdit_vae_way ways[2]; /* encoder, decoder */
    size_t params;               /* floats of the parameter buffer, both ways */
};

enum fdit_status fdit_vae_layers_make(fdit_context *ctx, const struct fdit_vae_config *c,
                                      struct fdit_vae_layers *out);
void fdit_vae_layers_fini(struct fdit_vae_layers *l); /* with the weights */

/* The tensor of a layer: "weight" or "bias". FDIT_ERROR_FORMAT when it is absent or of another
 * shape. */
enum fdit_status fdit_vae_layer_tensor(fdit_context *ctx, const struct fdit_vae_file *file,
                                       const struct fdit_vae_layer *layer, const char *part,
                                       const struct fdit_st_tensor **out);
/* All tensors are there, and the file has none of an autoencoder beside them: it is the one that
 * the list was made for. */
enum fdit_status fdit_vae_layers_check(fdit_context *ctx, const struct fdit_vae_layers *l,
                                       const struct fdit_vae_file *file);
struct fdit_weight_desc fdit_vae_layer_desc(const struct fdit_vae_layer *layer);
/* Makes the weights of the ways that are wanted, and writes the parameter buffer. */
enum fdit_status fdit_vae_layers_load(fdit_context *ctx, struct fdit_vae_layers *l,
                                      const struct fdit_vae_file *file, fdit_device *dev,
                                      const bool wanted[2], struct fdit_tensor params);

#endif
