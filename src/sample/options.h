/* SPDX-License-Identifier: Apache-2.0
 * options.h: everything a sampling job can be told. */
#ifndef FDIT_SAMPLE_OPTIONS_H
#define FDIT_SAMPLE_OPTIONS_H

#include "core/option_table.h"
#include "data/dataset.h"
#include "picture/picture_rules.h"
#include "sample/generate.h"

/* Of one job, which has each draw the same. */
enum { FDIT_SAMPLE_MOST_DELTAS = 64 };

struct fdit_sample_options {
    /* weights and classes */
    const char *base;  /* checkpoint */
    const char *delta; /* delta or training checkpoint over it; NULL: the base as it is */
    const char *deltas[FDIT_SAMPLE_MOST_DELTAS]; /* of several, `delta` first; see job.h */
    int n_deltas;                                /* 0 and 1: `delta` alone */
    enum fdit_values values;                     /* of files that hold raw and EMA weights */
    bool values_asked;         /* a delta, or a base without one, that does not hold these is refused */
    const char *objective;     /* of the weights, where the files do not say it; NULL: as they say */
    const char *model;         /* "DiT-XL/2" or "D,L,H,P"; NULL: as the files say */
    const char *taxonomy;      /* file; NULL: as the files say */
    const char *class_vector;  /* file of vectors of classes that were not trained; NULL: none */
    const char *ranks;         /* picked ranks of that file; NULL: all */
    enum fdit_dtype storage;   /* of the weights */
    enum fdit_dtype precision; /* what the device was opened for */
    bool merge;                /* an adapter into the weights, when they are loaded */
    bool force;                /* take a delta that was made from another base */
    /* what is drawn */
    const char *classes; /* see fdit_taxonomy_select; NULL: all */
    const char *counts;  /* file of classes and counts, instead of classes and per_class */
    int per_class;
    int candidates;        /* of each picture, of which the best is taken (candidates.h); 1: none */
    int top_up;            /* draw what each class lacks of so many pictures; 0: not */
    const char *counts_of; /* of this data set; NULL without top_up */
    const char *like;      /* picture to draw again: compared with what this job does, see like.h */
    uint64_t seed;         /* of picture 0 of each class; picture k has seed + k */
    int shard, shards;     /* pictures shard, shard + shards, ... of the list */
    /* how */
    struct fdit_guidance guidance; /* w NAN: by the model, see fdit_sample_settle */
    /* superclass[:RANK], empty, random, base, delta:FILE, input, none; NULL: what was trained */
    const char *guide;
    struct fdit_sampler_spec sampler;
    bool sampler_asked;              /* false: ddpm is what a model of ddpm gets */
    int steps;                       /* 0: the sampler's default */
    struct fdit_reuse_options reuse; /* results of blocks in the steps between full ones */
    int clip_x0;                     /* 1: on, 0: off, -1: by the model */
    enum fdit_noise_kind rng;
    int batch;     /* pictures at once; 0: chosen by size and memory */
    size_t memory; /* limit of the plan in bytes; 0: the device's memory */
    /* where to */
    const char *out; /* folder of the pictures; NULL: none are written */
    bool tar;        /* archives in the folder instead of single files */
    bool overwrite;
    const char *latents;            /* safetensors file of the last x; NULL: none */
    const char *grid;               /* PNG file of a contact sheet; NULL: none */
    const char *grid_real;          /* data set whose pictures head the sheet's rows; NULL: none */
    struct fdit_picture_words look; /* of those pictures: --orient and --matte */
    const char *vae;                /* decoder of latents: file or folder of an AutoencoderKL; NULL: none */
    double vae_scale;               /* its scaling factor; 0: as its config.json says */
};

/* A row for each option (core/option_table.h): what is typed, `--help`, and the options in run.json.
 * FDIT_KEEP_RESULT decides a picture of given class and seed, FDIT_KEEP_RUN what else is in the folder. */
extern const struct fdit_option fdit_sample_option_table[];

/* The defaults of `finediffusion sample`. */
struct fdit_sample_options fdit_sample_defaults(void);

struct fdit_sample_source;

/* A sampler, guidance and clip_x0 that were left to the model: ddpm, or euler for flow matching; a model
 * that draws pixels gets 2 and on, since with 4 its numbers leave the range of pixels in many pictures; one
 * on latents gets 4 and off, as does heun, which cannot clamp. A scale that the network is told keeps to
 * those it was trained with. FDIT_ERROR_ARGUMENT for a guidance interval that has no times of the objective,
 * and for a scale that was not trained. */
enum fdit_status fdit_sample_settle(fdit_context *ctx, struct fdit_sample_options *o,
                                    const struct fdit_sample_source *source, bool pixels);

/* How a generator draws by these options, settled; its hook and `user` are the caller's. */
struct fdit_generator_options fdit_sample_way(const struct fdit_sample_options *o,
                                              const struct fdit_sample_source *source);

enum { FDIT_SAMPLE_MOST_GUIDANCE = 1000, FDIT_SAMPLE_ODD_GUIDANCE = 30 };

/* Refuses what cannot be, by the option's name. plan_only: nothing will be written. */
enum fdit_status fdit_sample_check(fdit_context *ctx, const struct fdit_sample_options *o, bool plan_only);

#endif
