/* SPDX-License-Identifier: Apache-2.0
 * feature_set.h: what is known of one set of pictures: features, labels, what a classifier says, or mean and
 * covariance alone; from pictures by a network, or from a file.
 *
 *   .safetensors   features F32 [n, d]; labels I64 [n] and logits F32 [n, k] where there are any; metadata
 *                  format "finediffusion-features", version "1", features (the network), weights (hash of its
 *                  numbers, 16 digits), taxonomy (JSON), and part "I/N" where it is one of N parts of a set
 *   .npz           features [n, d], or another single matrix of floats, and labels [n]; or mu [d] and sigma
 *                  [d, d] as pytorch-fid, clean-fid and ADM's suite write them; mu_s and sigma_s of features
 *                  that keep places (sFID), as ADM's; and from here n [1], the
 *                  number of pictures; part [2], I and N; network, its name as codes of characters, and
 *                  weights [1] */
#ifndef FDIT_EVAL_FEATURE_SET_H
#define FDIT_EVAL_FEATURE_SET_H

#include "data/dataset.h"
#include "data/loader.h"
#include "eval/deal.h"
#include "eval/drawing.h"
#include "eval/extractor.h"
#include "eval/statistics.h"
#include "format/cache.h"

struct fdit_feature_set {
    char *path;
    char *features;            /* the network's name; NULL: not known */
    uint64_t weights;          /* hash of its numbers; 0: not known */
    struct fdit_points points; /* n is the number of pictures also where x is NULL */
    int32_t *label;            /* [n] classes of `taxonomy`; NULL: without classes */
    float *logits;             /* [n, logit_classes]; NULL: none */
    size_t logit_classes;
    struct fdit_taxonomy *own_taxonomy;
    const struct fdit_taxonomy *taxonomy; /* own, or that it was read for; NULL: without classes */
    struct fdit_moments moments;          /* d 0: not computed */
    struct fdit_moments spatial;          /* likewise, of features that keep places (extractor.h) */
    struct fdit_dataset *dataset;         /* of pictures, which it names; NULL */
    struct fdit_cache *cache;
    const struct fdit_drawing *drawing; /* must outlive the set; NULL */
    uint32_t *index;                    /* [n] which pictures of those three; NULL: all */
    int part, parts;                    /* of a file; parts 0: it does not say */
    size_t skipped;                     /* pictures that were left out, with fdit_gather_options.skip_bad */
    int colours;    /* 1: all are grey, 3: none is, as far as looked at; 0: mixed or not known */
    size_t reading; /* bytes that decoding takes; see fdit_feature_set_plan */
};
void fdit_feature_set_fini(struct fdit_feature_set *s);

/* Whether the path is such a file, by its ending. */
bool fdit_feature_file_is(const char *path);
enum fdit_status fdit_feature_set_read(fdit_context *ctx, const char *path, struct fdit_feature_set *out);
/* By the ending of the path. Features that were not kept are FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_feature_set_write(fdit_context *ctx, const struct fdit_feature_set *s,
                                        const char *path);
/* mu, sigma and n of s->moments, mu_s and sigma_s of s->spatial where it is there, and what part of a set
 * they are of. */
enum fdit_status fdit_moments_write(fdit_context *ctx, const struct fdit_feature_set *s, const char *path);
/* FDIT_ERROR_ARGUMENT when both are known to come from a network, but with other weights. */
enum fdit_status fdit_feature_sets_check_weights(fdit_context *ctx, const struct fdit_feature_set *a,
                                                 const struct fdit_feature_set *b);
/* FDIT_ERROR_ARGUMENT when one is known to be grey and the other to be in colour. */
enum fdit_status fdit_feature_sets_check_colours(fdit_context *ctx, const struct fdit_feature_set *a,
                                                 const struct fdit_feature_set *b);
/* Sets of parts of one whole, in any order, into it: features and logits one behind the other, so that what
 * is computed from them has the bits of the whole; of statistics the pooled mean and covariance, right to
 * rounding. Parts that say which they are must be all of one whole, each once; others are taken as they come.
 * Both kinds mixed, other networks, widths or classes: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_feature_sets_merge(fdit_context *ctx, struct fdit_feature_set *sets, size_t n,
                                         struct fdit_feature_set *out);

/* Adds to the message about a picture that ends the work what may be done about it; other failures stay. */
enum fdit_status fdit_feature_set_advise(fdit_context *ctx, enum fdit_status found);
/* The class of picture i of the data set, cache or drawing that an open set was made for. */
static inline int32_t fdit_feature_set_label(const struct fdit_feature_set *s, size_t i)
{
    if (s->drawing)
        return s->drawing->label(s->drawing->self, i);
    return s->cache ? fdit_cache_label(s->cache, i) : fdit_dataset_label(s->dataset, i);
}

/* "DATA/class/file.png", or "picture 17 of FILE". Free with fdit_free. */
enum fdit_status fdit_feature_set_name(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                       char **out);

/* One side of the split of a run's data (data/split.h). */
struct fdit_eval_split {
    double fraction;
    uint64_t seed;
    bool train;      /* the pictures that were trained on, else the others */
    size_t pictures; /* that the data had then; 0: not known. Others make another split: an error */
    const char *run; /* in messages */
};

/* Picture i as it is stored, turned and blended by the rules. *found: false for a set out of a file, which
 * has none. Release with fdit_picture_fini. */
enum fdit_status fdit_feature_set_picture(fdit_context *ctx, const struct fdit_feature_set *s, size_t i,
                                          const struct fdit_picture_rules *rules, struct fdit_picture *out,
                                          bool *found);

/* Picture i of a cache of pixels, grey or in colour. Release with fdit_picture_fini. */
enum fdit_status fdit_feature_set_cached(fdit_context *ctx, const struct fdit_cache *c, size_t i,
                                         struct fdit_picture *out);

struct fdit_gather_options {
    const struct fdit_taxonomy *taxonomy; /* whose classes the pictures have; NULL: their folders' */
    const char *ranks;                    /* of the folders' */
    bool loose;                           /* nobody asks for classes: see fdit_dataset_options */
    enum fdit_fit fit;
    struct fdit_picture_rules rules;
    int workers;
    bool skip_bad; /* pictures that are broken or cannot be read are left out; else they are an error */
    bool features, logits, moments;      /* what is kept; memory without the first two does not grow */
    bool spatial;                        /* moments of the features that keep places, where there are any */
    const struct fdit_drawing *drawing;  /* in place of the pictures at the path; NULL */
    struct fdit_deal *deal;              /* the work is shared with other processes (deal.h); NULL */
    struct fdit_extractor *classifier;   /* of a drawing: whose logits are kept, in the same pass; NULL */
    const struct fdit_eval_split *split; /* NULL: all pictures */
    int part, parts;                     /* pictures part n / parts .. (part + 1) n / parts - 1; 0, 0: all */
    void (*on_begin)(void *user, const char *path, size_t total);
    void (*on_picture)(void *user, size_t done);
    void *user;
    /* Before the network gets a batch: in its index bad pictures are FDIT_LOADER_BAD. NULL: not told. */
    enum fdit_status (*on_batch)(fdit_context *ctx, void *batch_user, const struct fdit_batch *b);
    void *batch_user;
};
/* Opens a data set, a cache of pixels or a drawing for the network, which need not be loaded yet: out->points
 * says how many pictures there are, and of how many features. Grey pictures for a network of colours, or the
 * other way, are refused. */
enum fdit_status fdit_feature_set_open(fdit_context *ctx, const struct fdit_extractor *e, const char *path,
                                       const struct fdit_gather_options *o, struct fdit_feature_set *out);
/* What fdit_feature_set_run takes while it runs, in bytes. */
struct fdit_passing {
    size_t loading; /* batches of pictures and their decoding: free before moments are made */
    size_t sums;    /* of which moments are made */
    size_t moments; /* a part of what is kept, there from the end on */
};
/* Adds what fdit_feature_set_run keeps (features, logits, moments). Decoding keeps to `memory` bytes from now
 * on (0: none), or to what one picture needs. */
enum fdit_status fdit_feature_set_plan(fdit_context *ctx, struct fdit_feature_set *s,
                                       const struct fdit_extractor *e, const struct fdit_gather_options *o,
                                       size_t memory, struct fdit_plan *kept, struct fdit_passing *passing);
/* Runs every picture of an open set through the network; with o->deal, before deal->take, only this process's
 * pieces, of which the set keeps nothing. On failure the caller still closes the set. */
enum fdit_status fdit_feature_set_run(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                      const struct fdit_gather_options *o, struct fdit_feature_set *s);
/* Both. */
enum fdit_status fdit_feature_set_gather(fdit_context *ctx, struct fdit_pool *pool, struct fdit_extractor *e,
                                         const char *path, const struct fdit_gather_options *o,
                                         struct fdit_feature_set *out);

/* Classes as those of `taxonomy`, by name; by number where the set has no names. */
enum fdit_status fdit_feature_set_relabel(fdit_context *ctx, struct fdit_feature_set *s,
                                          const struct fdit_taxonomy *taxonomy);

#endif
