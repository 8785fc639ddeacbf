/* SPDX-License-Identifier: Apache-2.0
 * running.h: everything a run holds, for the files that it is made of: open.c (files, data, plan, weights),
 * resume.c (the folder and what stands in it), validate.c, and run.c, which trains. Others use run.h. */
#ifndef FDIT_TRAIN_RUNNING_H
#define FDIT_TRAIN_RUNNING_H

#include "core/phase.h"
#include "train/batch.h"
#include "train/autoencoder.h"
#include "train/source.h"
#include "train/replicas.h"
#include "train/run_folder.h"
#include "train/made_of.h"
#include "train/journal.h"
#include "train/pace.h"
#include "train/preview.h"
#include "train/run.h"
#include "train/state.h"
#include "train/step.h"
#include "train/class_table.h"

/* The pictures that a run is validated with. */
struct validation {
    struct fdit_train_source *data; /* NULL: none */
    uint32_t *ids;                  /* of data; NULL: all */
    size_t n, used;                 /* pictures, and how many of them are looked at */
    bool *bad;                      /* [used] cannot be decoded, found so far (--skip-bad) */
    size_t n_bad;
    float *x;       /* [batch, item] */
    float *picture; /* one, where it goes through the autoencoder */
};

/* In the order of their making. */
struct run {
    const struct fdit_train_options *o, *made_by; /* made_by: without what leaves the result as it is */
    const struct fdit_train_hooks *hooks;
    fdit_device *dev;
    struct fdit_run_folder folder;
    json_t *before;                       /* what config.json says of a run that goes on, NULL: it begins */
    struct fdit_checkpoint *base, *start; /* start: a delta to begin from */
    struct fdit_model_config config, base_config;
    struct fdit_taxonomy *taxonomy, *known; /* known: the classes of `start` */
    struct fdit_autoencoder *coder;         /* NULL: none */
    struct fdit_train_source *data;
    uint32_t *train_ids; /* NULL: all */
    size_t n_train;
    struct validation val;
    int32_t *ranks;
    struct fdit_row_rule rule;
    int32_t guide_rank;
    struct fdit_made_of identity;
    struct fdit_model *model;
    struct fdit_step *step;
    struct fdit_replicas *fleet; /* model and step, and those of the other devices */
    int round;                   /* pictures of a pass on all devices */
    struct fdit_preview *preview;
    struct fdit_loader *loader;
    struct fdit_journal *journal;
    char *taxonomy_json, *options_json, *identity_json, *names_json, *fingerprint, *guide, *train_json;
    float *noise;   /* [batch, item] */
    float *latents; /* [batch, item] of pictures encoded on the way */
    int32_t *t, *rows;
    size_t item;
    int64_t total; /* steps */
    struct fdit_train_position at;
    int64_t resumed_at; /* the step that the run began at */
    int64_t log_from;   /* the first step that log.jsonl has */
    bool checkpoints;   /* the run has written one, in this process or before */
    int64_t passing;    /* step of a checkpoint that goes with the next one; -1: none */
    double saved_time;  /* when the last checkpoint was written */
    struct fdit_train_progress last;
    bool pending; /* a report is on its way */
    bool kept;    /* there is a checkpoint or a log worth keeping in the folder */
    double pending_lr, pending_seconds;
    struct fdit_pace pace;
    struct fdit_train_summary *summary;
};

/* Phases that come again and again, for the time that is left. */
#define VALIDATING "validating"
#define PREVIEWING "drawing the preview"
#define SAVING "writing the checkpoint"
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

/* ---- resume.c */
/* Before any work the folder is locked, so that what is seen in it stays true: one that is not empty needs
 * --resume, and --resume the same options. */
enum fdit_status fdit_run_check_folder(fdit_context *ctx, struct run *r);
/* After fdit_run_identify: files and data are what they were when the run began. */
enum fdit_status fdit_run_check_identity(fdit_context *ctx, struct run *r);
/* config.json first: a run that is killed here can be resumed, one that is killed before it begun again. */
enum fdit_status fdit_run_make_folder(fdit_context *ctx, struct run *r);
/* The newest checkpoint that is whole and that the log reaches: into r->at and the model. */
enum fdit_status fdit_run_resume(fdit_context *ctx, struct run *r);
/* A checkpoint of the step that was reached. passing: one between those of --checkpoint-every, because
 * much time has passed; it goes with the next one, so that what stays does not depend on the speed. */
enum fdit_status fdit_run_save(fdit_context *ctx, struct run *r, bool passing);
enum fdit_status fdit_run_make_train_json(fdit_context *ctx, struct run *r);
struct fdit_delta_meta fdit_run_meta(const struct run *r);

/* ---- validate.c */
enum fdit_status fdit_run_validation_open(fdit_context *ctx, struct run *r);
void fdit_run_validation_close(struct run *r);
/* Validates the step that was reached, into log and summary; nothing without validation pictures. */
enum fdit_status fdit_run_validate(fdit_context *ctx, struct run *r);

#endif
