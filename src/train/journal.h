/* SPDX-License-Identifier: Apache-2.0
 * journal.h: what a run writes down while it goes: RUN/log.jsonl and a TensorBoard event file. */
#ifndef FDIT_TRAIN_JOURNAL_H
#define FDIT_TRAIN_JOURNAL_H

#include "core/status.h"

struct fdit_journal;

/* Opens both. Lines of log.jsonl for steps after `step` are cut off (a resumed run writes them
 * again); a log that lacks one of the steps `from` to `step`, or has one before `from`, is
 * FDIT_ERROR_FORMAT, and stays as it is. */
enum fdit_status fdit_journal_open(fdit_context *ctx, const char *run, int64_t from, int64_t step,
                                   struct fdit_journal **out);
/* Seconds of training that the log tells of, at `step` of its opening. */
double fdit_journal_seconds(const struct fdit_journal *j);
/* Whether the log held a validation of `step` itself when it was opened, or got one since. */
bool fdit_journal_validated(const struct fdit_journal *j);
/* NULL is allowed. */
enum fdit_status fdit_journal_close(fdit_context *ctx, struct fdit_journal *j);

struct fdit_journal_step {
    int64_t step;
    double loss, mse, vb, lr, images_per_second, seconds;
    double prior_mse, prior_vb; /* of a prior (prior.h); NaN: there is none */
    /* of processes: what this one sent since the step before, and its share of the time waiting */
    bool several;
    double sent_bytes, waiting;
    /* memory of this process, now and at the most, and on devices with memory of their own; 0: not known */
    size_t resident_bytes, peak_bytes, device_bytes;
};
/* A line that cannot be written (a full disk) is kept for the next time, with a warning: only _sync
 * fails for it. */
enum fdit_status fdit_journal_step(fdit_context *ctx, struct fdit_journal *j,
                                   const struct fdit_journal_step *s);
/* {"step":N,"val_loss":..,"val_mse":..,"val_vb":..,"val_pictures":..} */
enum fdit_status fdit_journal_validation(fdit_context *ctx, struct fdit_journal *j, int64_t step, double mse,
                                         double vb, size_t pictures);
/* {"step":N,"eval":{"kid:judge":..}}, in TensorBoard under eval/; values that are not finite are null. */
enum fdit_status fdit_journal_quality(fdit_context *ctx, struct fdit_journal *j, int64_t step, size_t n,
                                      const char *const *names, const double *values);
/* As fdit_journal_validated. */
bool fdit_journal_evaluated(const struct fdit_journal *j);
enum fdit_status fdit_journal_picture(fdit_context *ctx, struct fdit_journal *j, int64_t step, int width,
                                      int height, int channels, const uint8_t *png, size_t bytes);
/* Puts the log onto the disk, with the lines that were kept: before a checkpoint is renamed into
 * place. */
enum fdit_status fdit_journal_sync(fdit_context *ctx, struct fdit_journal *j);

/* The last line of RUN/log.jsonl that has a validation, without its newline; NULL in *out: none.
 * Read from the log, so that a run in parts says what an unbroken one does. Free with fdit_free. */
enum fdit_status fdit_journal_last_validation(fdit_context *ctx, const char *run, char **out);

#endif
