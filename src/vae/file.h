/* SPDX-License-Identifier: Apache-2.0
 * file.h: the file of an autoencoder, and what its tensors are called there. */
#ifndef FDIT_VAE_FILE_H
#define FDIT_VAE_FILE_H

#include "format/weights.h"
#include "vae/config.h"

/* Names are those of diffusers: "encoder.down_blocks.0.resnets.1.conv1.weight". A file may have
 * those of the code that autoencoders were first published with
 * ("encoder.down.0.block.1.conv1.weight"), and have something before all of them
 * ("first_stage_model."). */
struct fdit_vae_file {
    struct fdit_weights *weights;
    char prefix[256];
    bool original; /* the first names */
    int levels;    /* decoders count them from the other end there */
};

/* Whether there is an autoencoder among the tensors; fills prefix, original and levels then. */
bool fdit_vae_file_find(struct fdit_vae_file *f);
/* Opens a file of weights, or the one in a folder or in its sub-folder "vae". FDIT_ERROR_FORMAT
 * when it holds no autoencoder. */
enum fdit_status fdit_vae_file_open(fdit_context *ctx, const char *path, struct fdit_vae_file *out);
void fdit_vae_file_close(struct fdit_vae_file *f);
const char *fdit_vae_file_path(const struct fdit_vae_file *f);
/* The tensor of that name of diffusers, NULL: none. */
const struct fdit_st_tensor *fdit_vae_file_tensor(const struct fdit_vae_file *f, const char *name);
/* Whether tensor i belongs to an autoencoder, by its name. */
bool fdit_vae_file_owns(const struct fdit_vae_file *f, size_t i);
/* Sizes by the tensors alone; what they do not say (groups, scale) is that of Stable Diffusion. */
enum fdit_status fdit_vae_file_config(fdit_context *ctx, const struct fdit_vae_file *f,
                                      struct fdit_vae_config *c);

#endif
