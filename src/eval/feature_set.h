/* SPDX-License-Identifier: Apache-2.0
 * feature_set.h: what is known of one set of pictures: features, labels, what a classifier says, or mean and
 * covariance alone; from pictures by a network, or from a file.
 *
 *   .safetensors   features F32 [n, d]; labels I64 [n] and logits F32 [n, k] where there are any; metadata
 *                  format "finediffusion-features", version "1", features (the network), taxonomy (JSON)
 *   .npz           features [n, d], or another single matrix of floats, and labels [n]; or mu [d] and sigma
 *                  [d, d] as pytorch-fid, clean-fid and ADM's suite write them */
#ifndef FDIT_EVAL_FEATURE_SET_H
#define FDIT_EVAL_FEATURE_SET_H

#include "data/dataset.h"
#include "eval/extractor.h"
#include "eval/statistics.h"
#include "format/cache.h"

struct fdit_feature_set {
    char *path;
    char *features;            /* the network's name; NULL: not known */
    struct fdit_points points; /* n is the number of pictures also where x is NULL */
    int32_t *label;            /* [n] classes of `taxonomy`; NULL: without classes */
    float *logits;             /* [n, logit_classes]; NULL: none */
    size_t logit_classes;
    struct fdit_taxonomy *own_taxonomy;
    const struct fdit_taxonomy *taxonomy; /* own, or that it was read for; NULL: without classes */
    struct fdit_moments moments;          /* d 0: not computed */
    struct fdit_dataset *dataset;         /* of pictures, which it names; NULL */
    struct fdit_cache *cache;
};
void fdit_feature_set_fini(struct fdit_feature_set *s);

/* Whether the path is such a file, by its ending. */
bool fdit_feature_file_is(const char *path);
enum fdit_status fdit_feature_set_read(fdit_context *ctx, const char *path, struct fdit_feature_set *out);
/* By the ending of the path. Features that were not kept are FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_feature_set_write(fdit_context *ctx, const struct fdit_feature_set *s,
                                        const char *path);
/* mu and sigma. */
enum fdit_status fdit_moments_write(fdit_context *ctx, const struct fdit_moments *m, const char *path);

/* "DATA/class/file.png", or "picture 17 of FILE". Free with fdit_free. */
enum fdit_status fdit_feature_set_name(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                       char **out);

struct fdit_gather_options {
    const struct fdit_taxonomy *taxonomy; /* whose classes the pictures have; NULL: their folders' */
    const char *ranks;                    /* of the folders' */
    enum fdit_fit fit;
    struct fdit_picture_rules rules;
    int workers;
    bool features, logits, moments; /* what is kept; memory without the first two does not grow */
    void (*on_begin)(void *user, const char *path, size_t total);
    void (*on_picture)(void *user, size_t done);
    void *user;
};
/* Runs every picture of a data set or of a cache of pixels through the network. Grey pictures for a network
 * of colours, or the other way, are refused. */
enum fdit_status fdit_feature_set_gather(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                         const char *path, const struct fdit_gather_options *o,
                                         struct fdit_feature_set *out);

/* Classes as those of `taxonomy`, by name; by number where the set has no names. */
enum fdit_status fdit_feature_set_relabel(fdit_context *ctx, struct fdit_feature_set *s,
                                          const struct fdit_taxonomy *taxonomy);

#endif
