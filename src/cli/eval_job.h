/* SPDX-License-Identifier: Apache-2.0
 * eval_job.h: what the files of `eval` share: its arguments, what must outlive a result, its progress. */
#ifndef FDIT_CLI_EVAL_JOB_H
#define FDIT_CLI_EVAL_JOB_H

#include "cli/cli.h"

#include "core/folder_lock.h"
#include "eval/evaluate.h"
#include "sample/drawer.h"
#include "train/held_out.h"

struct fdit_eval_args {
    struct fdit_eval_options o;
    struct fdit_sample_options drawn; /* what is drawn where no pictures are given */
    const char *run;                  /* a training run whose split the real pictures follow; NULL */
    bool train;                       /* its training pictures, not its validation pictures */
    bool utility;                     /* classifiers are trained and tested */
    const char *out, *train_words;    /* their folder; options of theirs, "steps=500 batch=64"; NULL */
    int seeds;                        /* of each set */
};

struct fdit_eval_watch {
    struct fdit_cli *cli;
    size_t done, total;      /* pictures of the set at hand */
    enum fdit_status status; /* of printing a plan */
};
/* Its hooks. */
void fdit_cli_eval_begin_set(void *user, const char *path, size_t total);
void fdit_cli_eval_picture(void *user, size_t done);
void fdit_cli_eval_print_plan(void *user, const struct fdit_plan *plan);
/* fdit_eval_run with them, --memory and --plan, after which the result is empty. */
enum fdit_status fdit_cli_eval_measure(struct fdit_cli *cli, fdit_device *dev, struct fdit_eval_options *o,
                                       struct fdit_eval_watch *watch, struct fdit_eval_result *r);

struct fdit_eval_work {
    struct fdit_held_out held_out;
    struct fdit_drawer *drawer;
    struct fdit_taxonomy *classes; /* of a series; NULL */
    char *run, *delta, *words, *features;
    struct fdit_devices devices; /* the first computes the features */
};

/* Opens what a->drawn says into w->drawer (closing the one before) and a->o.drawing. */
enum fdit_status fdit_cli_eval_draw(struct fdit_cli *cli, struct fdit_eval_args *a,
                                    struct fdit_eval_watch *watch, struct fdit_eval_work *w);

/* ---- eval_deal.c */
/* Processes that a launcher started together share the work of one command (eval/deal.h): all compute
 * features, and one of them measures and prints. */
struct fdit_eval_dealing {
    struct fdit_deal deal;
    char *job; /* a folder of this command's, which says who is at work; NULL: nothing is shared */
    struct fdit_folder_lock lock;
    bool turn;                 /* this process measures */
    bool quiet, verbose, json; /* as they were typed */
};
/* Before anything is opened; pictures: there are some that go through a network. Then a->o.deal is set where
 * the work is shared. End with fdit_cli_eval_deal_end, also after a failure. */
enum fdit_status fdit_cli_eval_deal(struct fdit_cli *cli, struct fdit_eval_args *a, bool pictures,
                                    struct fdit_eval_dealing *d);
/* FDIT_ERROR_ARGUMENT for --utility in one of several processes. */
enum fdit_status fdit_cli_eval_alone(struct fdit_cli *cli);
/* When this process has computed its part: whether it is its turn to measure, in d->turn. */
enum fdit_status fdit_cli_eval_turn(struct fdit_cli *cli, struct fdit_eval_dealing *d);
void fdit_cli_eval_deal_end(struct fdit_eval_dealing *d);

/* ---- eval_utility.c */
/* eval [GENERATED] --utility REAL TEST: the devices in w are open. */
enum fdit_status fdit_cli_eval_utility(struct fdit_cli *cli, struct fdit_eval_args *a,
                                       struct fdit_eval_watch *watch, struct fdit_eval_work *w, int n,
                                       char **operands);

/* ---- eval_series.c */
/* Whether the file holds weights of a model, so that several of them make a series. */
bool fdit_cli_eval_is_checkpoint(const char *path);
/* Draws from each of the n checkpoints and measures it beside the same real pictures: a line for each by its
 * step, and with --report charts over the steps. a and w are as for one run, with the real pictures settled;
 * a->drawn.base NULL: each checkpoint is a whole model. */
enum fdit_status fdit_cli_eval_series(struct fdit_cli *cli, struct fdit_eval_args *a,
                                      struct fdit_eval_watch *watch, struct fdit_eval_work *w, int n,
                                      char **checkpoints);

#endif
