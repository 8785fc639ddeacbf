/* SPDX-License-Identifier: Apache-2.0
 * autoencoder.h: the autoencoder of a run (--vae): it encodes pictures at every step where the data are not a
 * cache of latents, and decodes previews. */
#ifndef FDIT_TRAIN_AUTOENCODER_H
#define FDIT_TRAIN_AUTOENCODER_H

#include "model/model.h"
#include "train/source.h"
#include "train/options.h"
#include "vae/vae.h"

struct fdit_autoencoder;

/* For a model of this config; o->vae NULL: *out is NULL, also for one that nothing needs (all data are
 * encoded, no previews), which is told. */
enum fdit_status fdit_autoencoder_open(fdit_context *ctx, const struct fdit_train_options *o,
                                       const struct fdit_model_config *config, struct fdit_autoencoder **out);
void fdit_autoencoder_free(struct fdit_autoencoder *c); /* NULL is allowed */
/* Whether pictures of these options' data are encoded on the way; false for NULL. */
bool fdit_autoencoder_encodes(const struct fdit_train_options *o);
/* Height and width, and channels, of the pictures that it encodes. */
int fdit_autoencoder_size(const struct fdit_autoencoder *c);
int fdit_autoencoder_channels_in(const struct fdit_autoencoder *c);
bool fdit_autoencoder_decodes(const struct fdit_autoencoder *c); /* previews; false for NULL */
/* See fdit_vae_hash. */
enum fdit_status fdit_autoencoder_hash(fdit_context *ctx, const struct fdit_autoencoder *c, uint64_t *out);
/* Takes the scale of the cache that the run trains on, and warns if another autoencoder made it. */
enum fdit_status fdit_autoencoder_match(fdit_context *ctx, struct fdit_autoencoder *c,
                                        const struct fdit_train_source *data);

/* Its part of the plan, in what `model` leaves of `limit` bytes of the device (0: no limit). decode: there
 * will be previews. */
enum fdit_status fdit_autoencoder_plan(fdit_context *ctx, struct fdit_autoencoder *c,
                                       struct fdit_model *model, bool decode, size_t limit);
enum fdit_status fdit_autoencoder_allocate(fdit_context *ctx,
                                           struct fdit_autoencoder *c); /* memory, and the weights */

/* A sample x [L, h, w] of the latent of a picture: the one that a cache would give for this seed and
 * position. */
enum fdit_status fdit_autoencoder_encode(fdit_context *ctx, struct fdit_autoencoder *c, const float *picture,
                                         uint64_t seed, uint64_t position, float *x);
/* What decodes; NULL for NULL. */
struct fdit_vae *fdit_autoencoder_vae(const struct fdit_autoencoder *c);

#endif
