/* SPDX-License-Identifier: Apache-2.0
 * layers.h: an autoencoder as a network (net/net.h) with the names of its file. */
#ifndef FDIT_VAE_LAYERS_H
#define FDIT_VAE_LAYERS_H

#include "net/net.h"
#include "vae/config.h"
#include "vae/file.h"

/* Layers and steps of an autoencoder of these sizes, its passes in the order of vae.h. Free with
 * fdit_net_free. */
enum fdit_status fdit_vae_describe(fdit_context *ctx, const struct fdit_vae_config *c, struct fdit_net **out);

/* ------------------------------------------------------------------ weights.c */

/* The tensor of a layer's weight or bias. FDIT_ERROR_FORMAT when it is absent or of another shape. */
enum fdit_status fdit_vae_layer_tensor(fdit_context *ctx, const struct fdit_vae_file *file,
                                       const struct fdit_net_layer *layer, enum fdit_net_part part,
                                       const struct fdit_st_tensor **out);
/* All tensors are there, and the file has none of an autoencoder beside them: it is the one that the
 * network was described for. */
enum fdit_status fdit_vae_check_file(fdit_context *ctx, const struct fdit_net *net,
                                     const struct fdit_vae_file *file);
/* A source of weights (net.h): `user` is a const struct fdit_vae_file. */
enum fdit_status fdit_vae_read_layer(fdit_context *ctx, void *user, const struct fdit_net_layer *layer,
                                     size_t i, enum fdit_net_part part, float *to);

#endif
