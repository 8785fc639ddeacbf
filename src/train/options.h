/* SPDX-License-Identifier: Apache-2.0
 * options.h: everything a training run can be told, and RUN/config.json, which keeps it. */
#ifndef FDIT_TRAIN_OPTIONS_H
#define FDIT_TRAIN_OPTIONS_H

#include "core/option_table.h"
#include "data/balance.h"
#include "data/dataset.h"
#include "diffusion/weighting.h"
#include "picture/picture_rules.h"
#include "model/init.h"

#define FDIT_TRAIN_MOST_STEPS 1e15 /* so that steps, and samples of them, stay whole numbers everywhere */

enum fdit_lr_schedule { FDIT_LR_CONSTANT, FDIT_LR_LINEAR, FDIT_LR_COSINE };
/* Refuse, add them to those of the data, or go without. */
enum fdit_old_classes { FDIT_OLD_CLASSES_REFUSE, FDIT_OLD_CLASSES_KEEP, FDIT_OLD_CLASSES_DROP };
enum fdit_learn_guide { FDIT_LEARN_SUPERCLASS, FDIT_LEARN_BASE };
/* What the vectors of classes from outside are for. */
enum fdit_vectors_as { FDIT_VECTORS_ROWS, FDIT_VECTORS_PROJECTION, FDIT_VECTORS_MAP, FDIT_VECTORS_MAP_ROW };
enum fdit_label_drop { FDIT_DROP_SUPERCLASS, FDIT_DROP_EMPTY };

struct fdit_train_options {
    /* the model */
    const char *base; /* checkpoint; NULL with from_scratch */
    bool from_scratch;
    bool classifier;       /* train a classifier of the classes instead; needs from_scratch */
    const char *objective; /* name of diffusion/objective.h; NULL: the base's, from scratch ddpm */
    const char *model;     /* "DiT-XL/2" or "D,L,H,P"; needed from scratch, else NULL allowed */
    int size, channels;    /* of the input; 0: from the base (from scratch: 32 and 4) */
    const char *delta;     /* start from this delta; NULL allowed */
    const char *tune;      /* name of a mask */
    enum fdit_recompute recompute;
    enum fdit_dtype activations; /* kept for the backward pass: FDIT_F32, or FDIT_BF16 */
    enum fdit_dtype storage;     /* of frozen weights */
    enum fdit_dtype precision;   /* what the device was opened for */
    /* data */
    const char *data;
    const char *validation;       /* NULL, a data set, or a fraction as text */
    const char *taxonomy;         /* file; NULL: folders */
    const char *ranks;            /* picked ranks; NULL: all */
    const char *superclass;       /* rank that takes the drops; NULL: the first */
    const char *superclass_train; /* "all" or "A,B": shares the drops equally; NULL: superclass alone */
    enum fdit_fit fit;
    struct fdit_picture_words look;  /* --orient and --matte; NULL: see look.h */
    struct fdit_picture_rules rules; /* the same for those who read; fdit_train_run fills it in */
    bool flip;
    int shift; /* classifier: pictures are moved by up to this many pixels */
    bool skip_bad;
    int val_pictures;                  /* most validation pictures, spread evenly; 0: all */
    enum fdit_balance balance;         /* how often each class is drawn */
    int repeats;                       /* of each picture in an epoch */
    bool data_changed;                 /* resume: the pictures may be others than at the beginning */
    enum fdit_old_classes old_classes; /* with delta: what of its classes that the data lack */
    const char *vae;  /* autoencoder that encodes pictures on the way; NULL: a cache, or pixels */
    double vae_scale; /* its scaling factor; 0: as its config.json says */
    /* optimisation */
    int64_t steps; /* optimiser steps; 0 with epochs */
    double epochs;
    int batch, accumulate; /* of one device; a step has their product times `devices` pictures */
    bool shards;           /* gradients are added up as between processes (exchange_ranks.h) */
    int devices;           /* fdit_train_run fills it in */
    int optimiser;         /* row of optimiser.h */
    double lr, weight_decay, clip;
    double lr_low, lr_high; /* of a range test; 0: none */
    double beta1, beta2;    /* NaN: as usual for the optimiser */
    int64_t warmup;
    enum fdit_lr_schedule schedule;
    double ema;
    bool ema_exact;
    enum fdit_label_drop drop;
    double drop_prob;
    double learn_guidance; /* 0: none */
    double learn_from;     /* 0: that one scale; else scales from here on, told to the network */
    enum fdit_learn_guide learn_guide;
    int64_t learn_after; /* steps of the plain target, besides the first */
    double learn_below;  /* noise time, 0: at all */
    enum fdit_class_table_init table_init;
    const char *class_vectors; /* file; NULL: none */
    enum fdit_vectors_as vectors_as;
    struct fdit_loss_weight loss_weight;
    struct fdit_time_density time_density;
    uint64_t seed;
    /* prior preservation (prior.h) */
    const char *prior;         /* data set of classes of the model that the run begins from; NULL: none */
    int prior_per_class;       /* in its place: pictures of each class that are drawn before; 0: none */
    const char *prior_classes; /* which, as --classes of sample; NULL: all */
    double prior_weight;       /* of its loss */
    /* the run */
    const char *out;
    bool resume;
    bool or_begin; /* with resume: where no checkpoint is whole the run begins, which else is an error */
    int workers;
    size_t cache_bytes;                      /* of decoded pictures */
    size_t memory;                           /* limit of the plan in bytes, 0: the device's memory */
    int64_t checkpoint_every, preview_every; /* steps, 0: off; checkpoints always at the end */
    double checkpoint_seconds; /* another checkpoint when so much time has passed since the last; 0: off */
    int keep;                  /* checkpoints that stay; 0: all */
    double preview_guidance;
    int64_t snapshots;         /* steps between averages that are kept for good; 0: off */
    bool ema_profiles;         /* and the averages of model/ema_profile.h with them */
    int64_t eval_every;        /* steps; 0: off */
    const char *eval_real;     /* data set, or file of features; NULL: the validation pictures */
    const char *eval_features; /* "NAME[:FILE]" */
    const char *eval_metrics;  /* NULL: those that can be computed */
    int eval_pictures;         /* drawn each time */
    double seconds;            /* stop after this much training time; 0: no limit (demo) */
    const char *device;        /* as it was asked for, NULL: not at all; only kept in config.json, like */
    int threads;               /* this, 0: not asked for */
};

/* A row for each option: name, kind, range, default, whether it decides the result, help. Texts of
 * `--help`, config.json, what a resumed run compares, and fdit_train_options_set come from it. */
extern const struct fdit_option fdit_train_option_table[];

/* The defaults of `finediffusion train`. */
struct fdit_train_options fdit_train_defaults(void);

/* Sets an option by its name, as it would be typed: (ctx, &o, "clip", "1"); a flag takes "true" or
 * "false". FDIT_ERROR_ARGUMENT names the option, the value and what is possible. `value` must live as long
 * as the options: a text is not copied. */
enum fdit_status fdit_train_options_set(fdit_context *ctx, struct fdit_train_options *o, const char *name,
                                        const char *value);

/* The word of an option that is a choice: "cosine" for "lr-schedule". Returns out. */
const char *fdit_train_option_word(const struct fdit_train_options *o, const char *name, char out[32]);

/* Puts the optimiser's usual numbers in the place of betas that were not given. */
void fdit_train_betas_settle(struct fdit_train_options *o);

/* Refuses what cannot be, by the option's name. */
enum fdit_status fdit_train_check(fdit_context *ctx, const struct fdit_train_options *o);

/* Learning rate of step n from 1 of `total`: warm-up from 0 over o->warmup steps, then constant, or down
 * to 0 at the end in a straight line or half a cosine. */
double fdit_train_lr(const struct fdit_train_options *o, int64_t n, int64_t total);

/* One line of JSON with every option that decides the numbers, deterministic. Free with fdit_free. */
enum fdit_status fdit_train_options_json(fdit_context *ctx, const struct fdit_train_options *o, char **out);
/* One line of JSON with the others that a resumed run goes on with: steps, intervals, workers, device.
 * Free with fdit_free. */
enum fdit_status fdit_train_settings_json(fdit_context *ctx, const struct fdit_train_options *o, char **out);
/* The option that differs between the text of a run's config.json and o: FDIT_ERROR_ARGUMENT naming it
 * and both values; FDIT_OK when they agree. Paths are not compared (see made_of.h), nor is what leaves
 * the numbers as they are. */
enum fdit_status fdit_train_options_compare(fdit_context *ctx, const char *path, const char *text, size_t n,
                                            const struct fdit_train_options *o);
/* The same between `theirs`, what _options_json wrote into the checkpoint `path`, and `mine`, what it writes
 * now for o: config.json alone cannot tell that it was edited. The message has no remedy. */
enum fdit_status fdit_train_options_same(fdit_context *ctx, const char *path, const char *theirs,
                                         const char *mine, const struct fdit_train_options *o);

/* Whether `validation` is a share of the data, not a data set: *fraction is then set. */
bool fdit_train_is_fraction(const char *validation, double *fraction);

#endif
