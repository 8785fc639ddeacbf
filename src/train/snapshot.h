/* SPDX-License-Identifier: Apache-2.0
 * snapshot.h: what a run keeps for good of its averages: RUN/snapshots/step-N.safetensors, a delta of the
 * usual average, and with --ema-profiles step-N.ema-0.05.safetensors and step-N.ema-0.10.safetensors, deltas
 * of the averages of which model/ema_length.h makes others. */
#ifndef FDIT_TRAIN_SNAPSHOT_H
#define FDIT_TRAIN_SNAPSHOT_H

#include "model/delta.h"

/* Writes those of the step, each atomically. meta: its steps and average are filled in here. */
enum fdit_status fdit_snapshot_save(fdit_context *ctx, struct fdit_model *model,
                                    const struct fdit_delta_meta *meta, int64_t step, const char *run);

struct fdit_snapshots {
    size_t n; /* steps that have one */
    int64_t first, last;
    uint64_t bytes; /* of all their files */
};
/* What is in the folder of the run; none without it. */
enum fdit_status fdit_snapshot_count(fdit_context *ctx, const char *run, struct fdit_snapshots *out);

#endif
