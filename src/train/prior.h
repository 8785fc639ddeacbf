/* SPDX-License-Identifier: Apache-2.0
 * prior.h: prior preservation (DreamBooth, arXiv 2208.12242): beside its own pictures every step trains on
 * as many of the classes that the model knew when the run began, drawn by that model, so that it does not
 * forget them. The loss is L + W L_prior, each the mean over its pictures. A picture of the prior has its
 * class's row of that model's table, which stays as it was; its label is not dropped and its target is the
 * plain one. */
#ifndef FDIT_TRAIN_PRIOR_H
#define FDIT_TRAIN_PRIOR_H

#include "model/checkpoint.h"
#include "sample/job.h"
#include "train/batch.h"
#include "train/source.h"

struct fdit_prior {
    char *path;                      /* of the pictures; NULL: there is no prior */
    struct fdit_taxonomy *known;     /* classes of the model that the run begins from */
    struct fdit_train_source *data;  /* NULL: only planned, the pictures are not drawn yet */
    const struct fdit_taxonomy *tax; /* classes of data */
    struct fdit_row_rule rule;       /* labels as they are */
    size_t pictures, classes;        /* of data, or to be drawn */
    size_t process_bytes;            /* of the process while it draws them, as planned */
    float *table;                    /* [classes, D] their rows, of fdit_prior_rows */
};

/* Whether the options ask for it. */
static inline bool fdit_prior_wanted(const struct fdit_train_options *o)
{
    return o->prior || o->prior_per_class > 0;
}
/* Refuses what cannot be, by the option's name. */
enum fdit_status fdit_prior_check(fdit_context *ctx, const struct fdit_train_options *o);

/* Draws what RUN/prior lacks of --prior-per-class pictures, by the model that the run begins from, without
 * guidance, as `sample` does; tells how far it is by core/phase.h. RUN/prior becomes p->path. plan_only:
 * nothing is drawn. on_plan of hooks gets the plan of it. vae_scale: of o->vae, 0: its own. When ctx is asked
 * to stop: FDIT_INTERRUPTED, and the same call goes on. */
enum fdit_status fdit_prior_draw(fdit_context *ctx, const struct fdit_devices *devices,
                                 const struct fdit_train_options *o, double vae_scale,
                                 const struct fdit_sample_hooks *hooks, bool plan_only, struct fdit_prior *p);

/* from: the checkpoint or delta that the run begins from. What it calls its classes: names, or the numbers of
 * its rows. */
enum fdit_status fdit_prior_classes(fdit_context *ctx, struct fdit_checkpoint *from, struct fdit_prior *p);
/* The rows of the classes of p->data, by name: p->table. FDIT_ERROR_ARGUMENT names a class that `from` does
 * not know. */
enum fdit_status fdit_prior_rows(fdit_context *ctx, struct fdit_checkpoint *from, int width,
                                 struct fdit_prior *p);

/* Of its loader: as the run's own, with times and noise of its own, and as many repeats as fill a step. */
struct fdit_loader_options fdit_prior_loader(const struct fdit_prior *p, struct fdit_loader_options run);
uint64_t fdit_prior_seed(uint64_t seed);
void fdit_prior_fini(struct fdit_prior *p); /* an all-zero one is allowed */

#endif
