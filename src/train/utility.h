/* SPDX-License-Identifier: Apache-2.0
 * utility.h: what generated pictures are good for. Classifiers are trained on real pictures, on generated
 * ones, and on real ones with generated ones added to the classes that have the fewest; each is tested on
 * real pictures that none of them has seen.
 *
 *     OUT/real OUT/generated OUT/both OUT/test   caches of pixels (format/cache.h)
 *     OUT/real-1 OUT/generated-1 OUT/both-1 ...  a run of `train --classifier` for each set and seed
 *
 * What is there is kept, so the same job goes on after an interruption; OUT/utility.json says what it was. */
#ifndef FDIT_TRAIN_UTILITY_H
#define FDIT_TRAIN_UTILITY_H

#include "eval/drawing.h"
#include "eval/feature_set.h"
#include "train/run.h"

enum fdit_utility_set { FDIT_UTILITY_REAL, FDIT_UTILITY_GENERATED, FDIT_UTILITY_BOTH, FDIT_UTILITY_SETS };
extern const char *const fdit_utility_set_names[FDIT_UTILITY_SETS]; /* "real", "generated", "both" */

struct fdit_utility_options {
    const char *real, *generated, *test, *out; /* sets as `eval` takes them; a folder */
    const struct fdit_drawing *drawing;        /* in place of generated; NULL */
    const char *drawn_how;                     /* all that decides its pictures, in words; NULL without one */
    const char *taxonomy, *ranks;              /* file; NULL: the folders of the real pictures */
    enum fdit_fit fit;
    struct fdit_picture_rules rules;
    bool skip_bad;                   /* broken pictures are left out; else they are an error */
    int workers, seeds;              /* classifiers of seeds 1 .. seeds for each set */
    struct fdit_train_options train; /* of the classifiers; data, out, seed and classifier are set here */
};

struct fdit_utility_hooks {
    void *user;
    void (*on_begin)(void *user, const char *path, size_t total); /* of a set of pictures */
    void (*on_picture)(void *user, size_t done);
    void (*on_classifier)(void *user, enum fdit_utility_set set, int seed, int64_t steps);
    void (*on_step)(void *user, const struct fdit_train_progress *p);
};

enum { FDIT_UTILITY_MOST_SEEDS = 100 };
/* Shares of right pictures: of all test pictures, and means over the classes of the head, middle and tail of
 * the real pictures. NaN where there are none. */
enum fdit_utility_measure {
    FDIT_UTILITY_ALL,
    FDIT_UTILITY_HEAD,
    FDIT_UTILITY_MIDDLE,
    FDIT_UTILITY_TAIL,
    FDIT_UTILITY_MEASURES
};
extern const char *const fdit_utility_measure_names[FDIT_UTILITY_MEASURES]; /* "all", "head", ... */

struct fdit_utility_result {
    size_t pictures[FDIT_UTILITY_SETS], test, classes, tail; /* tail: classes that get generated ones */
    size_t skipped;                                          /* broken pictures, of sets that were made now */
    int seeds;
    double value[FDIT_UTILITY_SETS][FDIT_UTILITY_MOST_SEEDS][FDIT_UTILITY_MEASURES];
};
/* Mean over the seeds, and their deviation (divisor seeds - 1; NaN for one). */
void fdit_utility_mean(const struct fdit_utility_result *r, enum fdit_utility_set set,
                       enum fdit_utility_measure m, double *mean, double *deviation);

/* Tells what training a classifier takes at the most, and writes nothing: until its pictures are in OUT/real
 * they are planned as they are, which takes more. on_plan is called for each device. */
enum fdit_status fdit_utility_plan(fdit_context *ctx, const struct fdit_devices *devices,
                                   const struct fdit_utility_options *o,
                                   void (*on_plan)(void *user, const struct fdit_plan *plan), void *user);

/* A test picture that is also one to train on, a class without generated pictures, classes that differ:
 * FDIT_ERROR_ARGUMENT. FDIT_INTERRUPTED: the same job goes on. */
enum fdit_status fdit_utility_run(fdit_context *ctx, const struct fdit_devices *devices,
                                  const struct fdit_utility_options *o,
                                  const struct fdit_utility_hooks *hooks, struct fdit_utility_result *out);

#endif
