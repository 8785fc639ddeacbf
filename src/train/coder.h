/* SPDX-License-Identifier: Apache-2.0
 * coder.h: the autoencoder of a run (--vae): it encodes pictures at every step, where the data are no cache
 * of latents, and decodes previews. */
#ifndef FDIT_TRAIN_CODER_H
#define FDIT_TRAIN_CODER_H

#include "model/model.h"
#include "train/data.h"
#include "train/options.h"
#include "vae/vae.h"

struct fdit_coder;

/* For a model of this config; o->vae NULL: *out is NULL, also for one that nothing needs (all data are
 * encoded, no previews), which is told. */
enum fdit_status fdit_coder_open(fdit_context *ctx, const struct fdit_train_options *o,
                                 const struct fdit_model_config *config, struct fdit_coder **out);
void fdit_coder_free(struct fdit_coder *c); /* NULL is allowed */
/* Whether pictures of these options' data are encoded on the way; false for NULL. */
bool fdit_coder_encodes(const struct fdit_train_options *o);
/* Height and width, and channels, of the pictures. */
int fdit_coder_size(const struct fdit_coder *c);
int fdit_coder_channels_in(const struct fdit_coder *c);
int fdit_coder_channels_out(const struct fdit_coder *c);
bool fdit_coder_decodes(const struct fdit_coder *c); /* previews; false for NULL */
/* See fdit_vae_hash. */
enum fdit_status fdit_coder_hash(fdit_context *ctx, const struct fdit_coder *c, uint64_t *out);
/* Takes the scale of the cache that the run trains on, and warns if another autoencoder made it. */
enum fdit_status fdit_coder_match(fdit_context *ctx, struct fdit_coder *c,
                                  const struct fdit_train_data *data);

/* Its part of the plan, in what `model` leaves of `limit` bytes of the device (0: no limit). decode: there
 * will be previews. */
enum fdit_status fdit_coder_plan(fdit_context *ctx, struct fdit_coder *c, struct fdit_model *model,
                                 bool decode, size_t limit);
enum fdit_status fdit_coder_allocate(fdit_context *ctx, struct fdit_coder *c); /* memory, and the weights */

/* A sample x [L, h, w] of the latent of a picture: the one that a cache would give for this seed and
 * position. */
enum fdit_status fdit_coder_encode(fdit_context *ctx, struct fdit_coder *c, const float *picture,
                                   uint64_t seed, uint64_t position, float *x);
/* x -> picture [C, H, W], about [-1, 1]. */
enum fdit_status fdit_coder_decode(fdit_context *ctx, struct fdit_coder *c, const float *x, float *picture);

#endif
