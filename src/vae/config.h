/* SPDX-License-Identifier: Apache-2.0
 * config.h: the sizes of an autoencoder, from the config.json of diffusers' AutoencoderKL. */
#ifndef FDIT_VAE_CONFIG_H
#define FDIT_VAE_CONFIG_H

#include "core/status.h"

enum { FDIT_VAE_LEVELS = 8 };

struct fdit_vae_config {
    int in_channels, out_channels; /* of pictures: 3, or 1 */
    int latent_channels;           /* L */
    int levels;                    /* each but the last halves the picture: factor 2^(levels - 1) */
    int channels[FDIT_VAE_LEVELS]; /* of each level, from the picture inwards */
    int layers;                    /* residual blocks of a level going in; one more coming out */
    int groups;                    /* of the group norms */
    bool attention;                /* between the two middle blocks */
    bool quant, post_quant;        /* 1 x 1 convolutions around the latents */
    double scale, shift;           /* what models see is (latent - shift) scale */
};

/* The Stable Diffusion autoencoder: 128, 256, 512, 512 channels, 2 layers, 32 groups, 4 latent
 * channels, scale 0.18215. */
struct fdit_vae_config fdit_vae_config_usual(void);
/* Whether latents can have such a scale; also for those that caches and options name. NaN is none. */
bool fdit_vae_scale_good(double scale);
/* Reads the keys; absent ones have diffusers' defaults. What this program cannot compute (other
 * blocks, activations, latents_mean) is FDIT_ERROR_UNSUPPORTED by its key; sizes that no network
 * can have are FDIT_ERROR_FORMAT. `name` is for messages. */
enum fdit_status fdit_vae_config_from_json(fdit_context *ctx, const char *name, const char *text, size_t n,
                                           struct fdit_vae_config *out);
/* Refuses sizes out of range, by key. */
enum fdit_status fdit_vae_config_check(fdit_context *ctx, const char *name, const struct fdit_vae_config *c);
static inline int fdit_vae_factor(const struct fdit_vae_config *c) /* pixels a latent cell, each way */
{
    return 1 << (c->levels - 1);
}

#endif
