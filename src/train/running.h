/* SPDX-License-Identifier: Apache-2.0
 * running.h: everything a run holds, for the files that it is made of: run.c (sets up, and calls the others),
 * open.c (files, data, plan, weights), resume.c (what stands in the folder already), run_loop.c (trains),
 * run_output.c and validate.c (what it writes and tells). Others use run.h. */
#ifndef FDIT_TRAIN_RUNNING_H
#define FDIT_TRAIN_RUNNING_H

#include "core/phase.h"
#include "data/class_vectors.h"
#include "train/batch.h"
#include "train/autoencoder.h"
#include "train/source.h"
#include "train/replicas.h"
#include "train/replica_rows.h"
#include "train/run_folder.h"
#include "train/made_of.h"
#include "train/journal.h"
#include "train/learn.h"
#include "train/lr_range.h"
#include "train/pace.h"
#include "train/preview.h"
#include "train/prior.h"
#include "train/quality.h"
#include "train/run.h"
#include "train/state.h"
#include "train/class_losses.h"
#include "train/step.h"
#include "train/class_table.h"

/* The pictures that a run is validated with. */
struct fdit_validation {
    struct fdit_train_source *data; /* NULL: none */
    uint32_t *ids;                  /* of data; NULL: all */
    size_t n, used;                 /* pictures, and how many of them are looked at */
    bool *bad;                      /* [used] cannot be decoded, found so far (--skip-bad) */
    size_t n_bad;
    float *x;                        /* [batch, item] */
    float *picture;                  /* one, where it goes through the autoencoder */
    float *mse, *vb;                 /* [batch] losses */
    struct fdit_class_loss *classes; /* [classes] sums of the validation in progress */
};

/* What the process held when that was measured last, and its devices that have memory of their own. */
struct fdit_run_memory {
    size_t resident, peak, device;
    double next; /* before when it is not measured again */
};

/* All that a run writes and tells while it goes. Of processes that train together only the first has any: the
 * others hold FDIT_NO_RUN_OUTPUT, with which every call of run_output.c and validate.c does nothing. */
struct fdit_run_output {
    const char *run;               /* the folder; NULL: none, nothing is written */
    struct fdit_train_hooks hooks; /* who is told; NULL functions: nobody */
    struct fdit_run_folder folder;
    struct fdit_journal *journal;
    struct fdit_preview *preview; /* NULL: none */
    struct fdit_quality *quality; /* draws by the preview; NULL: none */
    struct fdit_validation val;
    int64_t resumed_at; /* the step that the run began at */
    int64_t log_from;   /* the first step that log.jsonl has */
    bool checkpoints;   /* the run has written one, in this process or before */
    bool kept;          /* there is a checkpoint or a log worth keeping in the folder */
    int64_t passing;    /* step of a checkpoint that goes with the next one; -1: none */
    double saved_time;  /* when the last checkpoint was written */
    struct fdit_run_memory memory;
};

#define FDIT_NO_RUN_OUTPUT \
    ((struct fdit_run_output){ .folder = FDIT_NO_RUN_FOLDER, .log_from = 1, .passing = -1 })

/* What the micro-batches of a step are made of: first those of the run's pictures, then those of the prior,
 * as many of each. */
struct fdit_run_stream {
    struct fdit_train_source *data;
    struct fdit_loader *loader;
    const struct fdit_row_rule *rule;
    struct fdit_learn *learn; /* NULL: the target is the plain one */
    uint64_t seed;
    double weight; /* of its loss */
    bool prior;
};
enum { FDIT_RUN_STREAMS = 2 };

/* In the order of their making. */
struct run {
    const struct fdit_train_options *o, *made_by; /* made_by: only those that affect the result */
    const struct fdit_devices *devices;
    fdit_device *dev; /* the first of them */
    struct fdit_run_output output;
    json_t *before;                       /* what config.json says of a run that goes on, NULL: it begins */
    struct fdit_checkpoint *base, *start; /* start: a delta to begin from */
    struct fdit_model_config config, base_config;
    struct fdit_mask mask;
    struct fdit_taxonomy *taxonomy, *known; /* known: the classes of `start` */
    struct fdit_autoencoder *autoencoder;   /* NULL: none */
    struct fdit_train_source *data;
    uint32_t *train_ids; /* NULL: all */
    size_t n_train;
    int32_t *ranks;
    struct fdit_row_rule rule;
    int32_t guide_rank;
    struct fdit_class_vectors vectors; /* empty: none */
    int32_t *vector_of;                /* [classes] the vector of each */
    struct fdit_made_of identity;
    const struct fdit_objective *objective; /* NULL: of a classifier */
    const struct fdit_optimiser *optimiser;
    struct fdit_model *model;
    struct fdit_step *step;
    struct fdit_learn *learn;       /* NULL: guidance is not learnt */
    struct fdit_lr_range range;     /* of a test of rates, which o->lr_high asks for */
    struct fdit_replicas *replicas; /* model and step, and those of the other devices */
    int members;                    /* devices in all processes */
    int round, local;               /* pictures of a pass on all devices, and on those of this process */
    struct fdit_prior prior;
    bool failed_together; /* all processes know that the set-up of one failed, and end */
    struct fdit_run_stream streams[FDIT_RUN_STREAMS];
    int n_streams;
    char *taxonomy_json, *options_json, *identity_json, *names_json, *fingerprint, *guide, *train_json;
    float *noise;   /* [batch, item] */
    float *latents; /* [batch, item] of pictures encoded on the way */
    double *t;      /* [batch] */
    int32_t *rows;
    size_t item;
    int64_t total; /* steps */
    struct fdit_train_position at;
    struct fdit_train_progress last; /* what is known of the last step; its losses come with the report */
    bool pending;                    /* that report is on its way */
    struct fdit_pace pace;
    struct {
        bool several;                        /* processes */
        struct fdit_exchange_traffic before; /* at the step before, whose time was `at` */
        double at, bytes, waiting;           /* of the last step: sent bytes, share of the time */
    } travelled;
    struct fdit_train_summary *summary;
};

/* Whether another process has the optimiser, and tells where the run stands. */
static inline bool fdit_run_follows(const struct run *r)
{
    return r->output.hooks.exchange && r->output.hooks.exchange->first > 0;
}

/* Pictures that the model takes only after the autoencoder. */
bool fdit_run_encodes(const struct run *r, const struct fdit_train_source *data);
/* A picture that cannot be decoded is told with what may be done about it. */
enum fdit_status fdit_run_bad_picture(fdit_context *ctx, const struct run *r, enum fdit_status found);

/* ---- open.c */
enum fdit_status fdit_run_open_files(fdit_context *ctx, struct run *r);
enum fdit_status fdit_run_open_data(fdit_context *ctx, struct run *r);
enum fdit_status fdit_run_plan(fdit_context *ctx, struct run *r);
enum fdit_status fdit_run_load(fdit_context *ctx, struct run *r); /* all weights, on all devices */
/* After all of the above: what config.json keeps of it. */
enum fdit_status fdit_run_identify(fdit_context *ctx, struct run *r);
struct fdit_loader_options fdit_run_loader(const struct run *r);
/* The prior: its pictures, drawn if they are not there yet, and its classes. plan_only: they need not be. */
enum fdit_status fdit_run_open_prior(fdit_context *ctx, struct run *r, bool plan_only);
/* Micro-batches of a step, of all streams. */
static inline int fdit_run_micros(const struct run *r)
{
    return r->o->accumulate * (fdit_prior_wanted(r->o) ? 2 : 1);
}

/* ---- resume.c */
/* Before any work the folder is locked, so that what is seen in it stays true: one that is not empty needs
 * --resume, and --resume the same options. */
enum fdit_status fdit_run_check_folder(fdit_context *ctx, struct run *r);
/* After fdit_run_identify: files and data are what they were when the run began. */
enum fdit_status fdit_run_check_identity(fdit_context *ctx, struct run *r);
/* The newest checkpoint that is whole and that the log reaches: into r->at and the model. */
enum fdit_status fdit_run_resume(fdit_context *ctx, struct run *r);
/* What that checkpoint has for other processes (fdit_replicas_deal). */
enum fdit_status fdit_run_deal(fdit_context *ctx, struct run *r);
enum fdit_status fdit_run_make_train_json(fdit_context *ctx, struct run *r);

/* ---- run_loop.c */
/* From r->at to the last step, or to FDIT_INTERRUPTED with the last whole step in a checkpoint. */
enum fdit_status fdit_run_loop(fdit_context *ctx, struct run *r);

/* ---- run_output.c: nothing of it happens with an empty output */
/* The folder's files and the log; tells the caller what the run is and what lies ahead; makes up for what an
 * interrupted run did not come to. config.json first: a run that is killed here can be resumed, one that is
 * killed before it begun again. */
enum fdit_status fdit_run_output_begin(fdit_context *ctx, struct run *r);
/* r->last, complete: into the log and to the caller. r->last.seconds are those of this process, and get those
 * before it added. */
enum fdit_status fdit_run_output_step(fdit_context *ctx, struct run *r);
/* What the step that was reached calls for, by the intervals of the options and by the clock. */
struct fdit_run_due {
    bool checkpoint;
    bool late; /* a checkpoint between those of --checkpoint-every, for its time */
    bool preview, evaluation, snapshot;
};
struct fdit_run_due fdit_run_output_due(const struct run *r);
/* Gives that out: the checkpoint first, then what looks at the step, which may take long: a stop request ends
 * it with FDIT_INTERRUPTED and nothing lost. *saved: the step has its checkpoint. */
enum fdit_status fdit_run_output_due_now(fdit_context *ctx, struct run *r, struct fdit_run_due due,
                                         bool *saved);
/* A checkpoint of the step that was reached. passing: it goes with the next one, so that what stays does not
 * depend on the speed. */
enum fdit_status fdit_run_output_save(fdit_context *ctx, struct run *r, bool passing);
/* The end of a test of rates: its curve and table, no checkpoint and no delta; what there is of them when it
 * was interrupted. */
enum fdit_status fdit_run_output_range(fdit_context *ctx, struct run *r);
/* The last step is in a checkpoint: log on the disk, RUN/delta.safetensors. */
enum fdit_status fdit_run_output_end(fdit_context *ctx, struct run *r);
/* A failed run leaves nothing behind that a second try would stumble over. */
void fdit_run_output_close(struct run *r, bool failed);

#define FDIT_VALIDATING "validating" /* the phase, for the time that is left */
/* ---- validate.c: nothing of it happens without validation pictures */
enum fdit_status fdit_run_validation_open(fdit_context *ctx, struct run *r);
void fdit_run_validation_close(struct run *r);
/* Validates the step that was reached, into log and summary. */
enum fdit_status fdit_run_validate(fdit_context *ctx, struct run *r);

#endif
