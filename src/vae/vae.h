/* SPDX-License-Identifier: Apache-2.0
 * vae.h: the autoencoder between pictures and latents: AutoencoderKL of Stable Diffusion, of any
 * size.
 *
 *     struct fdit_vae *vae = NULL;
 *     TRY(fdit_vae_open(ctx, "sd-vae-ft-mse", &vae));         // folder, or the .safetensors in it
 *     TRY(fdit_vae_plan(ctx, vae, dev, &(struct fdit_vae_options){ .height = 256, .decode = true }));
 *     ... look at fdit_vae_plan_of(vae), check it ...
 *     TRY(fdit_vae_allocate(ctx, vae));                       // memory, and the weights
 *     TRY(fdit_vae_decode(ctx, vae, x, picture));
 * out:
 *     fdit_vae_free(vae);                                     // before its device
 *
 * Pictures are [C, H, W] in [-1, 1]. Moments are [2 L, H/f, W/f]: mean, then log-variance. What
 * models see is x = (z - shift) scale, z ~ N(mean, exp(logvar)).
 *
 * Memory: net/net.h. A limit makes the bands flatter; any height of them gives the same bits. */
#ifndef FDIT_VAE_VAE_H
#define FDIT_VAE_VAE_H

#include "net/net.h"
#include "vae/config.h"

struct fdit_vae;

enum { FDIT_VAE_ENCODER, FDIT_VAE_DECODER };

struct fdit_vae_options {
    int height, width;   /* of pictures: multiples of the factor; width 0: the same */
    bool encode, decode; /* which halves are wanted */
    size_t memory;       /* bytes that the plan should keep to, by flatter bands; 0: no limit. A plan that
                    * cannot stays larger: fdit_plan_check refuses it */
};

/* Reads config.json (beside the file; without one the sizes are taken from the tensors, 32 groups
 * and scale 0.18215) and checks that all tensors are there with their shapes, in the names of old
 * or new diffusers versions. `path`: a safetensors file, or a folder with
 * diffusion_pytorch_model.safetensors. */
enum fdit_status fdit_vae_open(fdit_context *ctx, const char *path, struct fdit_vae **out);
/* One of these sizes without a file: fdit_net_load gives its network weights after the plan. */
enum fdit_status fdit_vae_new(fdit_context *ctx, const struct fdit_vae_config *config, struct fdit_vae **out);
void fdit_vae_free(struct fdit_vae *vae); /* NULL is allowed */
/* The network that it is, with the passes FDIT_VAE_ENCODER and FDIT_VAE_DECODER. */
struct fdit_net *fdit_vae_net(struct fdit_vae *vae);
const struct fdit_vae_config *fdit_vae_config_of(const struct fdit_vae *vae);
/* Another scale than the file's (`--vae-scale`). */
void fdit_vae_set_scale(struct fdit_vae *vae, double scale);
/* A 64-bit hash of the weights and of what decides the numbers; reads the file. */
enum fdit_status fdit_vae_hash(fdit_context *ctx, const struct fdit_vae *vae, uint64_t *out);

/* Lists what the network needs; again with other options: plans anew, what was allocated goes. */
enum fdit_status fdit_vae_plan(fdit_context *ctx, struct fdit_vae *vae, fdit_device *dev,
                               const struct fdit_vae_options *options);
const struct fdit_plan *fdit_vae_plan_of(const struct fdit_vae *vae);
double fdit_vae_flops(const struct fdit_vae *vae, bool decode); /* of one picture; after the plan */
enum fdit_status fdit_vae_allocate(fdit_context *ctx, struct fdit_vae *vae);

/* picture [in_channels, H, W] -> moments [2 L, h, w], the log-variance not clamped. */
enum fdit_status fdit_vae_encode(fdit_context *ctx, struct fdit_vae *vae, const float *picture,
                                 float *moments);
/* x [L, h, w] as models see it -> picture [out_channels, H, W], about [-1, 1], not clamped. */
enum fdit_status fdit_vae_decode(fdit_context *ctx, struct fdit_vae *vae, const float *x, float *picture);

/* n numbers of x from moments: x = (mean + exp(clamp(logvar, -30, 20) / 2) noise - shift) scale. */
void fdit_vae_sample(const struct fdit_vae_config *c, size_t n, const float *mean, const float *logvar,
                     const float *noise, float *x);
/* The noise of training sample `position` of a run with this seed: a fresh one each time. */
void fdit_vae_noise(uint64_t seed, uint64_t position, size_t n, float *out);

#endif
