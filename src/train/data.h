/* SPDX-License-Identifier: Apache-2.0
 * data.h: what a run trains on: a data set of pictures, or a cache of encoded ones. */
#ifndef FDIT_TRAIN_DATA_H
#define FDIT_TRAIN_DATA_H

#include "data/identity.h"
#include "data/loader.h"
#include "format/cache.h"

struct fdit_train_data_options {
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
    size_t memory;                     /* see fdit_dataset_options */
    const struct fdit_taxonomy *known; /* of which classes of this one; NULL: of none */
};

struct fdit_train_data;

/* A cache must hold what the model is given; its classes must all be in the taxonomy. */
enum fdit_status fdit_train_data_open(fdit_context *ctx, const struct fdit_train_data_options *options,
                                      struct fdit_train_data **out);
void fdit_train_data_close(struct fdit_train_data *d); /* NULL is allowed */
const struct fdit_taxonomy *fdit_train_data_taxonomy(const struct fdit_train_data *d);
size_t fdit_train_data_size(const struct fdit_train_data *d);
bool fdit_train_data_is_cache(const struct fdit_train_data *d);
/* NULL for pictures. */
const struct fdit_cache_info *fdit_train_data_cache(const struct fdit_train_data *d);
const char *fdit_train_data_path(const struct fdit_train_data *d); /* as in the options */
/* For the plan: see fdit_dataset_plan_reading; of a cache 0. */
enum fdit_status fdit_train_data_plan_reading(fdit_context *ctx, struct fdit_train_data *d, int threads,
                                              size_t limit, bool skip_bad, size_t *bytes);
bool fdit_train_data_flip(const struct fdit_train_data *d);         /* as asked for, and as the cache can */
size_t fdit_train_data_item(const struct fdit_train_data *d);       /* floats */
size_t fdit_train_data_item_bytes(const struct fdit_train_data *d); /* as a loader keeps it */
int32_t fdit_train_data_label(const struct fdit_train_data *d, size_t i);
/* "DATA/class/file.jpg", or of a cache "picture 17 of CACHE". Free with fdit_free. */
enum fdit_status fdit_train_data_name(fdit_context *ctx, const struct fdit_train_data *d, size_t i,
                                      char **out);
/* See fdit_dataset_marks; of a cache: what was encoded and how, and the contents of some of its items. */
enum fdit_status fdit_train_data_marks(fdit_context *ctx, const struct fdit_train_data *d, uint64_t *marks,
                                       fdit_looked_fn looked, void *user);
/* See fdit_split. */
enum fdit_status fdit_train_data_split(fdit_context *ctx, const struct fdit_train_data *d, double fraction,
                                       uint64_t seed, uint32_t **train, size_t *n_train,
                                       uint32_t **validation, size_t *n_validation);
enum fdit_status fdit_train_data_loader(fdit_context *ctx, struct fdit_train_data *d, const uint32_t *subset,
                                        size_t n, const struct fdit_loader_options *options,
                                        struct fdit_loader **out);
/* Item i, not mirrored, always with the same noise: for validation. */
enum fdit_status fdit_train_data_fixed(fdit_context *ctx, struct fdit_train_data *d, size_t i, float *out);

#endif
