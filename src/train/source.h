/* SPDX-License-Identifier: Apache-2.0
 * source.h: what a run trains on: a data set of pictures, or a cache of encoded ones. */
#ifndef FDIT_TRAIN_SOURCE_H
#define FDIT_TRAIN_SOURCE_H

#include "data/identity.h"
#include "data/loader.h"
#include "format/cache.h"

struct fdit_train_source_options {
    const char *path;
    const struct fdit_taxonomy *taxonomy; /* NULL: the data's own; must outlive the data */
    const char *ranks;                    /* picked ranks of the data's own; NULL: all */
    int size, channels;                   /* of an item: of pictures, or of the latents of a cache */
    int latent_size, latent_channels;     /* of what the model is given: as size and channels, unless
                                       * pictures are encoded on the way */
    enum fdit_fit fit;
    struct fdit_picture_rules rules;
    bool flip;
    bool allow_missing;                /* classes without a picture */
    bool skip_bad;                     /* see fdit_dataset_options */
    size_t memory;                     /* see fdit_dataset_options */
    const struct fdit_taxonomy *known; /* of which classes of this one; NULL: of none */
};

struct fdit_train_source;

/* A cache must hold what the model is given; its classes must all be in the taxonomy. */
enum fdit_status fdit_train_source_open(fdit_context *ctx, const struct fdit_train_source_options *options,
                                        struct fdit_train_source **out);
void fdit_train_source_close(struct fdit_train_source *d); /* NULL is allowed */
const struct fdit_taxonomy *fdit_train_source_taxonomy(const struct fdit_train_source *d);
size_t fdit_train_source_size(const struct fdit_train_source *d);
bool fdit_train_source_is_cache(const struct fdit_train_source *d);
/* NULL for pictures. */
const struct fdit_cache_info *fdit_train_source_cache(const struct fdit_train_source *d);
const char *fdit_train_source_path(const struct fdit_train_source *d); /* as in the options */
/* For the plan: see fdit_dataset_plan_reading; of a cache 0. */
enum fdit_status fdit_train_source_plan_reading(fdit_context *ctx, struct fdit_train_source *d, int threads,
                                                size_t limit, bool skip_bad, size_t *bytes);
bool fdit_train_source_flip(const struct fdit_train_source *d);   /* as asked for, and as the cache can */
size_t fdit_train_source_item(const struct fdit_train_source *d); /* floats */
size_t fdit_train_source_item_bytes(const struct fdit_train_source *d); /* as a loader keeps it */
int32_t fdit_train_source_label(const struct fdit_train_source *d, size_t i);
/* See fdit_dataset_marks; of a cache: what was encoded and how, and the contents of some of its items. */
enum fdit_status fdit_train_source_marks(fdit_context *ctx, const struct fdit_train_source *d,
                                         uint64_t *marks, fdit_looked_fn looked, void *user);
/* See fdit_split. */
enum fdit_status fdit_train_source_split(fdit_context *ctx, const struct fdit_train_source *d,
                                         double fraction, uint64_t seed, uint32_t **train, size_t *n_train,
                                         uint32_t **validation, size_t *n_validation);
enum fdit_status fdit_train_source_loader(fdit_context *ctx, struct fdit_train_source *d,
                                          const uint32_t *subset, size_t n,
                                          const struct fdit_loader_options *options,
                                          struct fdit_loader **out);
/* Item i, not mirrored, always with the same noise: for validation. */
enum fdit_status fdit_train_source_fixed(fdit_context *ctx, struct fdit_train_source *d, size_t i,
                                         float *out);

#endif
