/* SPDX-License-Identifier: Apache-2.0
 * ema_length.h: a delta with an average of any length, made of those that a run stored (train
 * --ema-profiles) as ema_profile.h says.
 *
 *     RUN/snapshots/step-N.safetensors            the usual average after step N
 *     RUN/snapshots/step-N.ema-0.05.safetensors   the averages of fdit_ema_widths */
#ifndef FDIT_MODEL_EMA_LENGTH_H
#define FDIT_MODEL_EMA_LENGTH_H

#include "format/safetensors.h"
#include "model/ema_profile.h"

#define FDIT_SNAPSHOTS "snapshots" /* folder in the run's */

/* profile: of fdit_ema_widths, -1: the usual average. Free with fdit_free. */
enum fdit_status fdit_ema_snapshot_path(fdit_context *ctx, const char *run, int64_t step, int profile,
                                        char **out);
/* The step of a file of that name, and its profile; -1: it is called otherwise. */
int64_t fdit_ema_snapshot_step(const char *name, int *profile);
/* Each snapshot in a folder, in no order; profile as above. *there: whether there is such a folder. */
typedef enum fdit_status (*fdit_ema_snapshot_fn)(fdit_context *ctx, void *user, const char *name,
                                                 int64_t step, int profile);
enum fdit_status fdit_ema_snapshot_each(fdit_context *ctx, const char *folder, fdit_ema_snapshot_fn each,
                                        void *user, bool *there);
/* What metadata "average" of a delta says: step and width, JSON. Free with fdit_free. */
enum fdit_status fdit_ema_snapshot_text(fdit_context *ctx, int64_t step, double width, char **out);

struct fdit_ema_length_options {
    const char *run;        /* folder of the run */
    const char *out;        /* *.safetensors */
    double width;           /* from FDIT_EMA_LEAST_WIDTH to FDIT_EMA_MOST_WIDTH */
    enum fdit_st_type type; /* F32, F16 or BF16 */
};
struct fdit_ema_length_report {
    size_t snapshots, used; /* files that were there; those that count */
    int64_t step;           /* of the average: the last that is stored */
    size_t tensors;
    uint64_t bytes;
    bool replaced; /* there was such a file before */
};
/* Sums in double, in the order of steps and widths. FDIT_ERROR_ARGUMENT for a folder without stored averages,
 * naming what is missing; FDIT_ERROR_FORMAT when they are not of one run. Neither file is ever in memory. */
enum fdit_status fdit_ema_length(fdit_context *ctx, const struct fdit_ema_length_options *options,
                                 struct fdit_ema_length_report *report);

#endif
