/* SPDX-License-Identifier: Apache-2.0
 * weight_files.h: the files that the weights of one model come from: a checkpoint, and perhaps a delta over
 * it. */
#ifndef FDIT_SAMPLE_WEIGHT_FILES_H
#define FDIT_SAMPLE_WEIGHT_FILES_H

#include "model/checkpoint.h"

/* Files in the order in which fdit_model_load asks them; they belong to someone else. */
struct fdit_weight_files {
    struct fdit_checkpoint *list[2];
    int n;
    struct fdit_model_config config;
};

/* Sizes of the model in `base`, from model_text ("DiT-XL/2", "D,L,H,P") where that is not NULL. `delta`
 * (NULL: none) helps where the base alone leaves the heads open, and must be for the same sizes:
 * FDIT_ERROR_FORMAT. A classifier is refused. */
enum fdit_status fdit_weight_files_sizes(fdit_context *ctx, struct fdit_checkpoint *base,
                                         const struct fdit_checkpoint *delta, const char *model_text,
                                         struct fdit_model_config *out);
/* FDIT_ERROR_FORMAT unless `delta` is for a model of these sizes, which are those of `base`. */
enum fdit_status fdit_weight_files_match(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                         const struct fdit_checkpoint *base,
                                         const struct fdit_model_config *config);
/* A model of the sizes in f->config with the trained values of `delta` over `base` (delta NULL: the base
 * alone); the height of its class table comes from the files. */
enum fdit_status fdit_weight_files_join(fdit_context *ctx, struct fdit_checkpoint *delta,
                                        struct fdit_checkpoint *base, struct fdit_weight_files *f);
/* FDIT_ERROR_FORMAT unless `base` is the one that `delta` was made from; with `force` only a warning.
 * *fingerprint: of the base, made when it is NULL; free with fdit_free. */
enum fdit_status fdit_weight_files_check_base(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                              struct fdit_checkpoint *base,
                                              const struct fdit_model_config *config, bool force,
                                              char **fingerprint);

/* A 64-bit hash of every parameter that a model would take from these files, so that the same
 * weights have the same hash whether they lie in one file or in two. Reads them all. */
enum fdit_status fdit_weight_files_hash(fdit_context *ctx, const struct fdit_weight_files *files,
                                        uint64_t *out);

#endif
