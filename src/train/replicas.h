/* SPDX-License-Identifier: Apache-2.0
 * replicas.h: one training step on one or several devices at once: data parallel. Every device has the whole
 * network and takes an equal part of each batch; gradients meet on the host, are added in the order of the
 * devices (exchange.h), and go to the first one, which alone has optimiser and EMA; the new values go back to
 * all, and with learnt guidance the averages that it looks at. So all devices compute with the same bits,
 * whatever they are, and a run's state is the first device's. Of several processes the first device of each
 * has optimiser and EMA of some rows of the class table (replica_rows.h), and answers the first process when
 * that needs all of them.
 *
 *     TRY(fdit_replicas_new(ctx, devices, model, step, objective, micros, NULL, &r));
 *     ... plans: fdit_replicas_model(r, i)->plan ...
 *     TRY(fdit_replicas_allocate(ctx, r));                   // all but the first model's buffers
 *     ... weights into every model ...
 *     TRY(fdit_replicas_share(ctx, r));                      // trained values of the first to the others
 *     for each step:
 *         for each micro-batch:  TRY(fdit_replicas_micro(ctx, r, &micro));   // samples of all devices
 *         TRY(fdit_replicas_update(ctx, r, &update));
 *         fdit_replicas_report_begin(r);  ...  TRY(fdit_replicas_report_end(ctx, r, &losses));
 *         TRY(fdit_replicas_share(ctx, r));
 *
 * With one device all of it is fdit_step_* without a thread, a copy or a wait. */
#ifndef FDIT_TRAIN_REPLICAS_H
#define FDIT_TRAIN_REPLICAS_H

#include "train/exchange.h"
#include "train/replica_rows.h"
#include "train/step.h"

struct fdit_replicas;

/* `first` is for training on the first device and not yet allocated; `step` is its own, which stays the
 * caller's. Adds what the exchange needs on the host to first's plan. exchange: has all devices of this
 * process as members, and must outlive the replicas; NULL: one of this process alone is made. */
enum fdit_status fdit_replicas_new(fdit_context *ctx, const struct fdit_devices *devices,
                                   struct fdit_model *first, struct fdit_step *step,
                                   const struct fdit_objective *objective, int micros,
                                   struct fdit_exchange *exchange, struct fdit_replicas **out);
void fdit_replicas_free(struct fdit_replicas *r);      /* before `first` and `step`; NULL is allowed */
int fdit_replicas_size(const struct fdit_replicas *r); /* in this process */
/* Whether devices wait for each other, here or elsewhere. */
bool fdit_replicas_several(const struct fdit_replicas *r);
struct fdit_model *fdit_replicas_model(struct fdit_replicas *r, int i); /* 0: first */

enum fdit_status fdit_replicas_allocate(fdit_context *ctx, struct fdit_replicas *r);
/* The trained values of the first device to the others; between processes the rows of the class table only
 * for the first time: later each step fetches those that it needs (replica_rows.h). A failure leaves the
 * first as it is: with every step that was updated. Does nothing with one device. */
enum fdit_status fdit_replicas_share(fdit_context *ctx, struct fdit_replicas *r);

/* micro->samples is a multiple of the devices: each takes its part in order. A device that fails is named:
 * "device opencl:0:1 (NAME): ...". Where another than the first fails, in _micro or in _update, the first
 * device's values are those of the step before. */
enum fdit_status fdit_replicas_micro(fdit_context *ctx, struct fdit_replicas *r,
                                     const struct fdit_micro *micro);
enum fdit_status fdit_replicas_update(fdit_context *ctx, struct fdit_replicas *r,
                                      const struct fdit_update *u);
void fdit_replicas_report_begin(struct fdit_replicas *r);
enum fdit_status fdit_replicas_report_end(fdit_context *ctx, struct fdit_replicas *r,
                                          struct fdit_step_losses *out);

/* Of the exchange (exchange.h); nothing where the devices are those of one process. */
enum fdit_status fdit_replicas_tell(fdit_context *ctx, struct fdit_replicas *r, void *bytes, size_t n);
/* Before a step. A process other than the first answers here what that asks of it after the step before: its
 * part of moments and averages (fdit_model_gather). */
enum fdit_status fdit_replicas_agree(fdit_context *ctx, struct fdit_replicas *r, bool *over);
/* The last of all calls: the others have answered whatever the first process wrote at the end. */
enum fdit_status fdit_replicas_part(fdit_context *ctx, struct fdit_replicas *r);
/* Whether the first process can have all of the run's state: it has, or others can be asked between two
 * steps. */
bool fdit_replicas_reachable(const struct fdit_replicas *r);
/* Of a run that goes on, of which the first process has loaded its part: moments and averages of the class
 * table to those that keep them. read: numbers first..first+n-1 of a set (model.h, fdit_group_set) of the
 * table, called in the first process only. */
enum fdit_status fdit_replicas_deal(fdit_context *ctx, struct fdit_replicas *r, fdit_replica_rows_read read,
                                    void *user);
/* When a report is not finite: which member of all processes it comes from, and the step of its device, NULL
 * where that is not this process's. *of_all: it is not one member's, since all have it or only their sum
 * does, or there are no other processes; then it is member 0, which has that sum. A collective call. */
enum fdit_status fdit_replicas_suspect(fdit_context *ctx, struct fdit_replicas *r, struct fdit_step **step,
                                       bool *of_all);
/* A failure of one process becomes that of all (fdit_ranks_settle). */
enum fdit_status fdit_replicas_settle(fdit_context *ctx, struct fdit_replicas *r, enum fdit_status own);
struct fdit_exchange_traffic fdit_replicas_traffic(const struct fdit_replicas *r);

#endif
