/* SPDX-License-Identifier: Apache-2.0
 * plan.h: every byte a job will hold on a device, listed before anything is allocated. One table serves
 * the printed plan, the check against the memory limit, and the allocation itself. */
#ifndef FDIT_DEVICE_PLAN_H
#define FDIT_DEVICE_PLAN_H

#include "device/device.h"

enum fdit_plan_kind {
    FDIT_PLAN_WEIGHTS, /* frozen */
    FDIT_PLAN_TRAINED, /* trained values */
    FDIT_PLAN_GRADIENTS,
    FDIT_PLAN_OPTIMISER, /* its moments */
    FDIT_PLAN_EMA,
    FDIT_PLAN_ACTIVATIONS, /* kept for the backward pass */
    FDIT_PLAN_SCRATCH,     /* shared by the blocks */
    FDIT_PLAN_BATCH,       /* inputs, noise, outputs */
    FDIT_PLAN_WORKSPACE,   /* the device's own */
    FDIT_PLAN_HOST,        /* picture cache, loader: host memory, not the device's */
    FDIT_PLAN_FEATURES,    /* what a feature network said of pictures, kept: host memory, too */
    FDIT_PLAN_METRICS,     /* what is computed from features: host memory */
    FDIT_PLAN_PROCESS,     /* what the process holds before it begins: program, libraries, drivers */
    FDIT_PLAN_KINDS
};
const char *fdit_plan_kind_name(enum fdit_plan_kind kind);

struct fdit_plan_entry {
    enum fdit_plan_kind kind;
    char *label; /* "block 3 activations" */
    size_t bytes;
    fdit_buffer **where; /* the buffer to make, NULL when something else allocates it */
};

struct fdit_plan {
    const char *title; /* whose plan it is, where there are several; NULL: nobody asks */
    struct fdit_plan_entry *list;
    size_t n, capacity;
    bool in_process; /* the device's memory is the process's own */
};

void fdit_plan_fini(struct fdit_plan *plan);
/* Adds an entry; bytes 0 adds nothing. */
enum fdit_status fdit_plan_add(fdit_context *ctx, struct fdit_plan *plan, enum fdit_plan_kind kind,
                               fdit_buffer **where, size_t bytes, const char *label, ...) FDIT_PRINTF(6, 7);
/* Adds the entries of a part of the job, their labels behind `prefix`. */
enum fdit_status fdit_plan_join(fdit_context *ctx, struct fdit_plan *plan, const struct fdit_plan *part,
                                const char *prefix);
/* Networks that run one after the other on a device have one workspace: of its entries the largest stays. */
void fdit_plan_share_workspace(struct fdit_plan *plan);
/* Takes the entry of a buffer out, when its owner goes before the plan. */
void fdit_plan_forget(struct fdit_plan *plan, fdit_buffer **where);
/* Adds what the process holds at this moment, as the last entry before anything is allocated. */
enum fdit_status fdit_plan_add_process(fdit_context *ctx, struct fdit_plan *plan, const fdit_device *dev);
/* Sum over the kinds that are on the device; of what the process will hold at the most (without the
 * device's part where that has memory of its own); and of one kind. */
size_t fdit_plan_device_bytes(const struct fdit_plan *plan);
size_t fdit_plan_process_bytes(const struct fdit_plan *plan);
size_t fdit_plan_host_bytes(const struct fdit_plan *plan); /* of the process, beside what it held before */
size_t fdit_plan_kind_bytes(const struct fdit_plan *plan, enum fdit_plan_kind kind);
/* What a limit leaves beside the plan for pictures that are decoded; at least an eighth of the limit and
 * 16 MiB, which usual pictures get by with: whether the rest of the plan is within the limit others say.
 * limit 0: 0, none. */
size_t fdit_plan_room(const struct fdit_plan *plan, size_t limit);
/* FDIT_ERROR_DEVICE with the table's sums when the plan exceeds `limit` bytes (0: no limit) or an entry
 * exceeds the device's largest buffer; `remedy` ends the message ("use a smaller --batch"). */
enum fdit_status fdit_plan_check(fdit_context *ctx, const struct fdit_plan *plan, const fdit_device *dev,
                                 size_t limit, const char *remedy);
/* Makes the buffers of all entries with `where`. On failure those made stay with their owners. */
enum fdit_status fdit_plan_allocate(fdit_context *ctx, const struct fdit_plan *plan, fdit_device *dev);
/* A row of the table for people that is a sum: three texts, name, empty, size. */
#define FDIT_PLAN_SUM "%-22s %8s %12s"
/* The table for people: one line a kind with its largest buffer, then the sums. Free with fdit_free. */
enum fdit_status fdit_plan_text(fdit_context *ctx, const struct fdit_plan *plan, char **out);

#endif
