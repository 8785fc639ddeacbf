/* SPDX-License-Identifier: Apache-2.0
 * runs.h: what runs of `train` have written down so far: their logs, a part at a time, and their previews. */
#ifndef FDIT_SERVE_RUNS_H
#define FDIT_SERVE_RUNS_H

#include "core/status.h"

enum { FDIT_RUNS_PART = 1 << 20 };

/* Lines of RUN/log.jsonl from byte `from` on: whole ones, FDIT_RUNS_PART bytes at the most. *n 0: nothing
 * new, or no log yet. Free with fdit_free. */
enum fdit_status fdit_runs_log(fdit_context *ctx, const char *run, int64_t from, char **bytes, size_t *n);
/* The steps of RUN/previews/step-N.png, rising; *n 0: there are none. Free with fdit_free. */
enum fdit_status fdit_runs_previews(fdit_context *ctx, const char *run, int64_t **steps, size_t *n);
/* One of them, of n bytes, opened; FDIT_ERROR_ARGUMENT where it is not there. *file is the caller's to
 * close. */
enum fdit_status fdit_runs_preview(fdit_context *ctx, const char *run, int64_t step, int *file, size_t *n);

#endif
