/* SPDX-License-Identifier: Apache-2.0
 * run.h: a training run from options to RUN/delta.safetensors.
 *
 *     RUN/config.json               options, model, everything needed to repeat it
 *     RUN/log.jsonl                 one line a step, and one a validation
 *     RUN/events.out.tfevents.*     the same for TensorBoard, with the previews
 *     RUN/checkpoints/step-N.safetensors
 *     RUN/previews/step-N.png
 *     RUN/snapshots/step-N.safetensors  see snapshot.h
 *     RUN/prior/                    pictures that the base drew before, see prior.h
 *     RUN/val-classes.tsv           losses of each class in the last validation, see class_losses.h
 *     RUN/delta.safetensors         trained parameters (EMA), the result */
#ifndef FDIT_TRAIN_RUN_H
#define FDIT_TRAIN_RUN_H

#include "model/delta.h"
#include "train/exchange.h"
#include "train/lr_range.h"
#include "train/options.h"
#include "train/snapshot.h"

struct fdit_train_progress {
    int64_t step, steps; /* done, of */
    double loss, mse, vb, lr, images_per_second, seconds;
    double prior_mse, prior_vb; /* of the prior; NaN: there is none */
};

/* What a run is, known before its first step. */
struct fdit_train_banner {
    const char *devices; /* names, with " + " between */
    enum fdit_dtype precision, storage;
    const struct fdit_model_config *model;
    const char *tune, *base, *data, *out, *guide; /* base NULL: from scratch; guide: what takes label drops */
    size_t pictures, classes, groups;
    size_t trained, parameters;
    int64_t step, steps, epoch_steps; /* done, of; steps of a pass over the pictures */
    int batch, accumulate, devices_n; /* a step has their product of pictures */
    size_t val_pictures, val_all;     /* looked at, of */
    const char *prior;                /* folder of its pictures; NULL: none */
    size_t prior_pictures, prior_classes;
    double prior_weight;
    size_t plan_bytes, process_plan_bytes;
};

/* Called from the training thread. Each function may be NULL. What goes on beside the steps is told by
 * core/phase.h. */
struct fdit_train_hooks {
    void *user;
    void (*on_plan)(void *user, const struct fdit_plan *plan);
    void (*on_start)(void *user, const struct fdit_train_banner *banner);
    void (*on_step)(void *user, const struct fdit_train_progress *p);
    void (*on_validation)(void *user, int64_t step, double mse, double vb);
    void (*on_quality)(void *user, int64_t step, size_t n, const char *const *names, const double *values);
    void (*on_saved)(void *user, const char *path);
    /* For a process that trains together with others. silent: it writes nothing and tells only the plan, as
     * all but the first do. exchange: how it reaches them, NULL: it does not. */
    bool silent;
    struct fdit_exchange *exchange;
};

struct fdit_train_summary {
    struct fdit_lr_found lr_range; /* n 0: not a range test */
    size_t trained, total;         /* parameters */
    int64_t step, steps;           /* reached, wanted */
    uint64_t images;               /* seen in this process */
    double seconds;                /* of training, without set-up, validation, previews and checkpoints */
    double all_seconds;            /* with all of that */
    double images_per_second, gflops;
    double first_val_mse, first_val_vb; /* before training; NaN without validation data */
    double val_mse, val_vb;             /* at the end */
    size_t plan_bytes;                  /* on the device */
    size_t process_plan_bytes;          /* of this process: to compare with peak_bytes */
    size_t peak_bytes;                  /* resident memory of the process at its highest */
    double stall_seconds;               /* the step waited for pictures */
    uint64_t skipped;                   /* broken pictures left out, of training and validation */
    size_t n_classes, n_rows;
    size_t n_pictures, n_val;                   /* used: without the broken ones that were found */
    int64_t epoch_steps;                        /* of one pass over the pictures */
    struct fdit_snapshots snapshots;            /* in the folder at the end */
    bool nothing;                               /* the steps were done before: nothing was left to do */
    struct fdit_op_count counts[FDIT_OP_COUNT]; /* with fdit_device_set_timing */
};

/* Runs to the end, or to FDIT_INTERRUPTED with a checkpoint when ctx is asked to stop. plan_only: makes
 * the plan, calls on_plan, and returns. */
enum fdit_status fdit_train_run(fdit_context *ctx, const struct fdit_devices *devices,
                                const struct fdit_train_options *options,
                                const struct fdit_train_hooks *hooks, bool plan_only,
                                struct fdit_train_summary *summary);

#endif
