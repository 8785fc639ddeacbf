/* SPDX-License-Identifier: Apache-2.0
 * phase.h: what a long function is busy with just now, for those who wait. The library prints nothing: it
 * tells the callback of its context, which may be NULL.
 *
 *     fdit_phase_ahead(ctx, "validating", 20, 0);      // once: it will happen 20 times in this job
 *     ...
 *     fdit_phase_begin(ctx, n, "validating");          // n: pictures, 0 where there is no count
 *     status = validate(...);                          // calls fdit_phase_at(ctx, i) now and then
 *     fdit_phase_end(ctx);                             // also after a failure
 *
 * Phases may contain others (a validation the first compilation of a kernel). Begin and end stand in the
 * same function around one call, so that no failure leaves a phase open. All of it happens in the thread
 * that the context belongs to; contexts of workers (fdit_context_child) have no callback. */
#ifndef FDIT_CORE_PHASE_H
#define FDIT_CORE_PHASE_H

#include "core/status.h"

enum fdit_phase_kind { FDIT_PHASE_BEGIN, FDIT_PHASE_AT, FDIT_PHASE_END, FDIT_PHASE_AHEAD };

struct fdit_phase_event {
    enum fdit_phase_kind kind;
    const char *name;     /* BEGIN, AHEAD: "validating"; valid during the call only */
    uint64_t done, total; /* BEGIN: total, 0: no count; AT: done; AHEAD: total, how often */
    double units;         /* AHEAD: what one takes, in units of the job (steps), 0: not known */
};

void fdit_context_set_phase(fdit_context *ctx, fdit_phase_fn phase, void *user);

/* The name is a word or a few that say what is done, with a file's name where that helps: "reading
 * base.safetensors", "compiling kernels (first time on this device)". */
void fdit_phase_begin(fdit_context *ctx, uint64_t total, const char *name, ...) FDIT_PRINTF(3, 4);
void fdit_phase_at(fdit_context *ctx, uint64_t done);
void fdit_phase_end(fdit_context *ctx);
/* How often the phase `name` will still happen in this job, so that the time left counts it. What it takes
 * is measured; `units` is a guess until then, in units of the job: a validation of 64 batches that costs a
 * third of 64 steps is 21. 0: not known. */
void fdit_phase_ahead(fdit_context *ctx, const char *name, uint64_t times, double units);

#endif
