/* SPDX-License-Identifier: Apache-2.0
 * evaluate.h: how good a set of generated pictures is, beside real ones: the job of `finediffusion eval`. */
#ifndef FDIT_EVAL_EVALUATE_H
#define FDIT_EVAL_EVALUATE_H

#include "core/option_table.h"
#include "eval/bootstrap.h"
#include "eval/confusion.h"
#include "eval/feature_set.h"
#include "eval/lpips.h"
#include "picture/picture_rules.h"

struct fdit_eval_options {
    const char *generated;               /* folder, archive, cache or feature file; NULL with `drawing` */
    const char *const *parts_of;         /* or feature files that are its parts, */
    size_t n_parts;                      /* this many; 0: none */
    const struct fdit_drawing *drawing;  /* or pictures that are drawn for this; NULL */
    const struct fdit_eval_split *split; /* which of the real pictures; NULL: all */
    const struct fdit_eval_split *split_generated; /* likewise, where GENERATED is a run's data; NULL */
    int part, parts;                               /* of GENERATED, see fdit_gather_options */
    const char *real;                              /* likewise; NULL: none */
    const char *stats;                             /* .npz of mu and sigma in place of real pictures; NULL */
    const char *features;                          /* extractor of the features, "NAME[:FILE]" */
    const char *lpips;      /* "NET[,HEADS]": files of LPIPS, for diversity within classes; NULL */
    const char *classifier; /* checkpoint whose logits give the accuracy; NULL: that of the features */
    const char *metrics;    /* names with commas between, or "all"; NULL: those that can be computed */
    const char *taxonomy, *ranks;
    const struct fdit_taxonomy *classes; /* in place of the file; must outlive the result; NULL */
    bool no_classes;
    enum fdit_fit fit;
    struct fdit_picture_words look;
    int draws; /* of the error bars; 0: none */
    uint64_t seed;
    int batch, workers;
    bool skip_bad;                                                        /* see fdit_gather_options */
    const char *features_out, *stats_out, *by_class, *confusion, *report; /* files, see below; NULL */
    const char *by;                     /* tables: class, tail and ranks, with commas between; NULL: all */
    struct fdit_extractor *extractor;   /* open already, in place of `features`; stays open; NULL */
    struct fdit_feature_set *kept_real; /* the real set of a result before, which is taken; NULL */
    struct fdit_deal *deal; /* the pictures are shared with other processes; before deal->take nothing is
                             * measured (deal.h); NULL: they are not */
    int threads;            /* for the metrics; 0: as the machine has */
    size_t memory;          /* limit of the plan in bytes; 0: what the device has */
    bool plan_only;         /* the plan is made, told and checked, and nothing is measured */
};
/* A row for each option (core/option_table.h). */
extern const struct fdit_option fdit_eval_option_table[];
/* What can be seen from the options alone: FDIT_ERROR_ARGUMENT. *device: pictures go through a network. */
enum fdit_status fdit_eval_check(fdit_context *ctx, const struct fdit_eval_options *o, bool *device);

/* ------------------------------------------------------------------ the metrics */

enum fdit_metric {
    FDIT_METRIC_FD,
    FDIT_METRIC_SFID,
    FDIT_METRIC_FD_INFINITY,
    FDIT_METRIC_KID,
    FDIT_METRIC_KID_SUBSETS,
    FDIT_METRIC_CMMD,
    FDIT_METRIC_MEAN_DISTANCE,
    FDIT_METRIC_PRECISION,
    FDIT_METRIC_RECALL,
    FDIT_METRIC_DENSITY,
    FDIT_METRIC_COVERAGE,
    FDIT_METRIC_AUTHENTICITY,
    FDIT_METRIC_NEAREST,
    FDIT_METRIC_SCORE,
    FDIT_METRIC_ACCURACY,
    FDIT_METRIC_LPIPS,
    FDIT_METRICS
};
/* A metric as people ask for it and read it. */
struct fdit_metric_info {
    const char *name;
    const char *what;                     /* half a line */
    int better;                           /* -1: lower, 1: higher, 0: neither */
    bool pair;                            /* needs features of real pictures */
    bool usual;                           /* computed where nothing is asked for */
    bool redraws_real, redraws_generated; /* which pictures its error bar draws again (bootstrap.h) */
};
extern const struct fdit_metric_info fdit_metric_table[FDIT_METRICS];

/* One line of the result. */
struct fdit_eval_value {
    enum fdit_metric metric;
    char name[160]; /* with what it was computed from: "fd:judge", "accuracy top-1 letter" */
    double value;
    struct fdit_error_bar bar; /* NaN where it was not computed */
    char note[200];            /* why it means little here; "": it does not */
};

/* Columns of the table of classes. */
enum fdit_class_column {
    FDIT_CLASS_KID,
    FDIT_CLASS_MEAN_DISTANCE,
    FDIT_CLASS_PRECISION,
    FDIT_CLASS_RECALL,
    FDIT_CLASS_DENSITY,
    FDIT_CLASS_COVERAGE,
    FDIT_CLASS_AUTHENTICITY,
    FDIT_CLASS_NEAREST,
    FDIT_CLASS_TOP1,
    FDIT_CLASS_TOP5,
    FDIT_CLASS_LPIPS,
    FDIT_CLASS_COLUMNS
};
extern const char *const fdit_class_column_names[FDIT_CLASS_COLUMNS];

struct fdit_eval_pair {
    size_t generated, real;
    double distance;
    char *generated_name, *real_name;
};
enum { FDIT_EVAL_VALUES = 64, FDIT_EVAL_PAIRS = 10, FDIT_EVAL_RANKS = 16 };

struct fdit_eval_result {
    struct fdit_feature_set generated, real; /* real.path NULL: none */
    struct fdit_taxonomy *taxonomy;          /* of the file that was given; NULL */
    struct fdit_eval_value values[FDIT_EVAL_VALUES];
    size_t n_values;
    struct fdit_eval_pair pairs[FDIT_EVAL_PAIRS]; /* closest first */
    size_t n_pairs;
    struct fdit_confusion confusions[FDIT_EVAL_RANKS + 1]; /* of the classes, then of each rank */
    size_t n_confusions;                                   /* 0: without accuracy */
    /* By class, of generated.taxonomy; NULL: without classes. NaN: not known. */
    size_t classes;
    size_t *n_real, *n_generated;          /* [classes] pictures */
    double *by_class[FDIT_CLASS_COLUMNS];  /* [classes]; NULL: not computed */
    int32_t *third;                        /* [classes] enum fdit_third, by the real pictures */
    double lpips;                          /* mean of its column; lpips_name "": not computed */
    char lpips_name[32];                   /* "lpips:alex" */
    size_t plan_bytes, process_plan_bytes; /* of the device, of the process; 0: in another plan */
};
void fdit_eval_result_fini(struct fdit_eval_result *r);

struct fdit_eval_hooks {
    void *user;
    void (*on_begin)(void *user, const char *path, size_t total); /* of a set of pictures */
    void (*on_picture)(void *user, size_t done);
    /* The plan of the device, then those of others that draw; NULL: nobody asks. */
    void (*on_plan)(void *user, const struct fdit_plan *plan);
};
/* Plans the memory of networks, features, error bars and decoding before any of it is taken. Where the limit
 * asks for it fewer pictures go through the networks at once; a plan above it is FDIT_ERROR_DEVICE, which
 * names the largest part. An extractor of the caller's is in the caller's plan: then none is made. dev NULL
 * where fdit_eval_check said that none is needed. Features and statistics that are asked for are in their
 * files before metrics are computed, tables after. FDIT_INTERRUPTED when ctx is asked to stop. */
enum fdit_status fdit_eval_run(fdit_context *ctx, fdit_device *dev, const struct fdit_eval_options *o,
                               const struct fdit_eval_hooks *hooks, struct fdit_eval_result *out);

/* o->report, which fdit_eval_run leaves to be written when its numbers have been told: it reads, or draws,
 * the pictures that it shows again. What drew them must be open. */
enum fdit_status fdit_eval_write_report(fdit_context *ctx, const struct fdit_eval_options *o,
                                        const struct fdit_eval_result *r);

/* ------------------------------------------------------------------ its parts */

/* Values of the metrics in the set `wanted` (bits of enum fdit_metric) from out->generated and out->real.
 * Given in a list (`asked`), one that cannot be computed is an error; else it is left out. */
enum fdit_status fdit_eval_measure(fdit_context *ctx, struct fdit_pool *pool,
                                   const struct fdit_eval_options *o, unsigned wanted, bool asked,
                                   struct fdit_eval_result *out);
/* Of a list that was asked for: FDIT_ERROR_ARGUMENT where n real and k generated pictures are too few for one
 * of them. points: their features are kept. */
enum fdit_status fdit_eval_check_few(fdit_context *ctx, unsigned wanted, size_t n, size_t k, bool points);
/* Of which pictures (n real, k generated, each of d features) the error bars of these metrics need draws,
 * each of n or k weights of 4 bytes for every draw and one more. */
void fdit_eval_redraws(unsigned wanted, size_t n, size_t k, size_t d, size_t draws, bool *real,
                       bool *generated);
/* Bytes that these metrics hold at the most, beside features, covariances and the weights of the draws: n
 * real and k generated pictures of d features (`points`: they are kept) and of `spatial` that keep places. */
size_t fdit_eval_metrics_bytes(unsigned wanted, size_t n, size_t k, size_t d, size_t spatial, bool points,
                               size_t draws, int threads);
/* The column of LPIPS: the mean distance of all pairs of a class's generated pictures, as squares of their
 * shorter side, at most 256 pixels; after the table of classes. The network is prepared for the size of the
 * set's first picture, and loaded by the caller. */
enum fdit_status fdit_eval_diversity_prepare(fdit_context *ctx, fdit_device *dev,
                                             const struct fdit_eval_options *o,
                                             const struct fdit_picture_rules *rules,
                                             const struct fdit_feature_set *s, struct fdit_lpips **out);
size_t fdit_eval_diversity_bytes(const struct fdit_lpips *net); /* beside the network's own plan */
enum fdit_status fdit_eval_diversity(fdit_context *ctx, struct fdit_lpips *net,
                                     const struct fdit_eval_options *o,
                                     const struct fdit_picture_rules *rules, struct fdit_eval_result *out);
/* The table of classes, without top-1, top-5 and LPIPS. */
enum fdit_status fdit_eval_by_class(fdit_context *ctx, struct fdit_pool *pool, struct fdit_eval_result *out);
/* Whether `name` is one of a list as of --by; NULL: all are. */
bool fdit_eval_wants_by(const char *list, const char *name);
/* As tab-separated text with a header: class, ranks, third, pictures, columns. */
enum fdit_status fdit_eval_table(fdit_context *ctx, const struct fdit_eval_result *r, const char *path);

#endif
