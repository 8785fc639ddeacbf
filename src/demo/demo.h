/* SPDX-License-Identifier: Apache-2.0
 * demo.h: the whole story on built-in data: a base model that knows the 52 letters is fine-tuned on 110
 * classes (letter x style), and a judge says how many generated pictures show what they should. */
#ifndef FDIT_DEMO_DEMO_H
#define FDIT_DEMO_DEMO_H

#include "core/option_table.h"
#include "eval/judge.h"
#include "train/run.h"

struct fdit_demo_options {
    const char *out; /* the picture, "demo.png" */
    const char *run; /* folder that keeps the training run; NULL: removed afterwards */
    bool full;       /* BitFit and full fine-tuning, too; 8 pictures a class */
    double seconds;  /* of fine-tuning */
    int train_steps; /* of fine-tuning, in place of seconds; 0: seconds */
    int per_class;   /* generated pictures of each class; 0: 2, full 8 */
    double guidance; /* of SCG */
    int steps;       /* of DDIM */
    double lr;
    uint64_t seed;
    enum fdit_dtype storage; /* of frozen weights */
};
/* A row for each option (core/option_table.h). */
extern const struct fdit_option fdit_demo_option_table[];

enum { FDIT_DEMO_ROWS = 8 };

/* One row of the table. */
struct fdit_demo_row {
    const char *name; /* "FineDiffusion", "same steps: full", ... */
    bool trained;     /* false: before fine-tuning */
    struct fdit_train_summary run;
    struct fdit_judge_score plain, guided;
    double sample_seconds; /* of both sets */
};

struct fdit_demo_result {
    struct fdit_demo_row rows[FDIT_DEMO_ROWS];
    int n_rows;
    struct fdit_judge_score real; /* of held-out real pictures: what the judge can do at best */
    double guidance;
    int per_class;
};

struct fdit_demo_hooks {
    void *user;
    /* A phase begins: "fine-tuning (FineDiffusion)", with its number and how many there are. */
    void (*on_phase)(void *user, int phase, int phases, const char *text);
    /* Within a phase: done of total units ("second", "step"), a note or NULL. */
    void (*on_progress)(void *user, double done, double total, const char *unit, const char *note);
    void (*on_row)(void *user, const struct fdit_demo_result *result, int row);
};

/* Runs everything and writes options->out. */
enum fdit_status fdit_demo_run(fdit_context *ctx, fdit_device *dev, const struct fdit_demo_options *options,
                               const struct fdit_demo_hooks *hooks, struct fdit_demo_result *result);

#endif
