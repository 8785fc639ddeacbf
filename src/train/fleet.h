/* SPDX-License-Identifier: Apache-2.0
 * fleet.h: one training step on one or several devices at once: data parallel. Every device has the whole
 * network and takes an equal part of each batch; gradients meet on the host, are added in the order of the
 * devices, and go to the first one, which alone has optimiser and EMA; the new values go back to all. So all
 * devices compute with the same bits, whatever they are, and a run's state is the first device's.
 *
 *     TRY(fdit_fleet_new(ctx, model, step, micros, &fleet));  // the devices behind model->dev->next
 *     ... plans: fdit_fleet_model(fleet, i)->plan ...
 *     TRY(fdit_fleet_allocate(ctx, fleet));                   // all but the first model's buffers
 *     ... weights into every model ...
 *     TRY(fdit_fleet_share(ctx, fleet));                      // trained values of the first to the others
 *     for each step:
 *         for each micro-batch:  TRY(fdit_fleet_micro(ctx, fleet, &micro));   // samples of all devices
 *         TRY(fdit_fleet_update(ctx, fleet, &optimiser));
 *         fdit_fleet_report_begin(fleet);  ...  TRY(fdit_fleet_report_end(ctx, fleet, &losses));
 *         TRY(fdit_fleet_share(ctx, fleet));
 *
 * With one device all of it is fdit_step_* without a thread, a copy or a wait. */
#ifndef FDIT_TRAIN_FLEET_H
#define FDIT_TRAIN_FLEET_H

#include "train/step.h"

struct fdit_fleet;

/* `first` is for training and not yet allocated; `step` is its own, which stays the caller's. Adds what the
 * exchange needs on the host to first's plan. */
enum fdit_status fdit_fleet_new(fdit_context *ctx, struct fdit_model *first, struct fdit_step *step,
                                int micros, struct fdit_fleet **out);
void fdit_fleet_free(struct fdit_fleet *f); /* before `first` and `step`; NULL is allowed */
int fdit_fleet_size(const struct fdit_fleet *f);
struct fdit_model *fdit_fleet_model(struct fdit_fleet *f, int i); /* 0: first */

enum fdit_status fdit_fleet_allocate(fdit_context *ctx, struct fdit_fleet *f);
/* The trained values of the first device to the others. A failure leaves the first as it is: with every step
 * that was updated. Does nothing with one device. */
enum fdit_status fdit_fleet_share(fdit_context *ctx, struct fdit_fleet *f);

/* micro->samples is a multiple of the devices: each takes its part in order. A device that fails is named:
 * "device opencl:0:1 (NAME): ...". Where another than the first fails, in _micro or in _update, the first
 * device's values are those of the step before. */
enum fdit_status fdit_fleet_micro(fdit_context *ctx, struct fdit_fleet *f, const struct fdit_micro *micro);
enum fdit_status fdit_fleet_update(fdit_context *ctx, struct fdit_fleet *f, const struct fdit_optimiser *o);
void fdit_fleet_report_begin(struct fdit_fleet *f);
enum fdit_status fdit_fleet_report_end(fdit_context *ctx, struct fdit_fleet *f, struct fdit_step_losses *out);

#endif
