/* SPDX-License-Identifier: Apache-2.0 */
#include "train/journal.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"
#include "format/tfevents.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fdit_journal {
    struct fdit_appender *log;
    struct fdit_tfevents *events;
    bool validated, evaluated;
    double seconds;
    char *late; /* lines that could not be written yet */
    size_t n_late, late_capacity;
    bool events_failed;
};

struct cut {
    int64_t step;
    int64_t next;   /* the step that the next line of a step must have */
    int64_t first;  /* the step of the first line of a step; 0: there is none */
    bool validated; /* a validation of that very step is kept */
    bool evaluated; /* an evaluation of it */
    double seconds;
};

/* Keeps the lines up to the step. Every line begins with {"step":N. */
static bool keep_line(void *user, const char *line, size_t n)
{
    struct cut *cut = user;
    int64_t step;
    (void)n;
    if (sscanf(line, "{\"step\":%" SCNd64, &step) != 1)
        return false;
    bool validation = strstr(line, "\"val_loss\"") != NULL;
    bool evaluation = strstr(line, "\"eval\":{") != NULL;
    if (!cut->first && !validation && !evaluation)
        cut->first = step;
    if (step > cut->step)
        return false;
    cut->validated = step == cut->step && (validation || cut->validated);
    cut->evaluated = step == cut->step && (evaluation || cut->evaluated);
    if (validation || evaluation)
        return true;
    if (step != cut->next)
        return false;
    cut->next++;
    const char *seconds = strstr(line, "\"seconds\":");
    cut->seconds = seconds ? strtod(seconds + strlen("\"seconds\":"), NULL) : cut->seconds;
    return true;
}

enum fdit_status fdit_journal_open(fdit_context *ctx, const char *run, int64_t from, int64_t step,
                                   struct fdit_journal **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_journal *j = NULL;
    struct cut cut = { .step = step, .next = from };
    char *path = NULL;
    uint64_t offset = 0;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *j, &j));
    TRY(fdit_path_join(ctx, run, "log.jsonl", &path));
    TRY(fdit_file_lines(ctx, path, keep_line, &cut, &offset));
    if (from > 1 && cut.first && cut.first < from)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: begins with step %" PRId64 ", and \"log-from\" of %s/config.json says %" PRId64
             "; put the old value back",
             path, cut.first, run, from);
    if (cut.next <= step)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the line of step %" PRId64 " is missing, and the run goes on after step %" PRId64
             "; put the whole "
             "log back, or take it away and a new one begins at step %" PRId64,
             path, cut.next, step, step + 1);
    TRY(fdit_appender_open(ctx, path, offset, &j->log));
    TRY(fdit_tfevents_open(ctx, run, step ? step + 1 : 0, &j->events));
    j->validated = cut.validated;
    j->evaluated = cut.evaluated;
    j->seconds = cut.seconds;
    *out = j;
    j = NULL;
out:
    fdit_free(path);
    fdit_journal_close(NULL, j);
    return status;
}

bool fdit_journal_validated(const struct fdit_journal *j)
{
    return j->validated;
}

bool fdit_journal_evaluated(const struct fdit_journal *j)
{
    return j->evaluated;
}

double fdit_journal_seconds(const struct fdit_journal *j)
{
    return j->seconds;
}

enum fdit_status fdit_journal_close(fdit_context *ctx, struct fdit_journal *j)
{
    if (!j)
        return FDIT_OK;
    enum fdit_status a = fdit_appender_close(ctx, j->log), b = fdit_tfevents_close(ctx, j->events);
    fdit_free(j->late);
    fdit_free(j);
    return a != FDIT_OK ? a : b;
}

/* What waits, then the line; whatever cannot be written waits on. */
static enum fdit_status put_line(fdit_context *ctx, struct fdit_journal *j, const char *line, size_t n)
{
    enum fdit_status status = FDIT_OK;
    bool waiting = j->n_late > 0;
    if (!waiting && fdit_appender_write(ctx, j->log, line, n) == FDIT_OK)
        return FDIT_OK;
    TRY(fdit_grow(ctx, &j->late, &j->late_capacity, j->n_late + n, 1));
    memcpy(j->late + j->n_late, line, n);
    j->n_late += n;
    if (!waiting)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s; the line is kept and written later", fdit_context_message(ctx));
    else if (fdit_appender_write(ctx, j->log, j->late, j->n_late) == FDIT_OK)
        j->n_late = 0;
out:
    return status;
}

/* TensorBoard's file says nothing that the log does not: training goes on without it. */
static enum fdit_status put_events(fdit_context *ctx, struct fdit_journal *j, enum fdit_status status)
{
    if (status != FDIT_ERROR_IO)
        return status;
    if (!j->events_failed)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s; its events are incomplete", fdit_context_message(ctx));
    j->events_failed = true;
    return FDIT_OK;
}

enum fdit_status fdit_journal_step(fdit_context *ctx, struct fdit_journal *j,
                                   const struct fdit_journal_step *s)
{
    enum fdit_status status = FDIT_OK;
    static const char *const tags[] = { "loss", "mse", "vb", "lr", "images_per_second" };
    static const char *const prior_tags[] = { "prior_mse", "prior_vb" };
    static const char *const sent_tags[] = { "sent_bytes", "waiting" };
    const float values[] = { (float)s->loss, (float)s->mse, (float)s->vb, (float)s->lr,
                             (float)s->images_per_second };
    const float prior_values[] = { (float)s->prior_mse, (float)s->prior_vb };
    const float sent_values[] = { (float)s->sent_bytes, (float)s->waiting };
    const bool has_prior = !isnan(s->prior_mse);
    static const char *const memory_tags[] = { "resident_bytes", "peak_bytes", "device_bytes" };
    const float memory_values[] = { (float)s->resident_bytes, (float)s->peak_bytes, (float)s->device_bytes };
    const size_t n_memory = !s->resident_bytes ? 0 : s->device_bytes ? 3 : 2;
    char line[640], travelled[80] = "", prior[80] = "", memory[120] = "", device[40] = "";
    if (s->several)
        snprintf(travelled, sizeof travelled, ",\"sent_bytes\":%.0f,\"waiting\":%.4f", s->sent_bytes,
                 s->waiting);
    if (has_prior)
        snprintf(prior, sizeof prior, ",\"prior_mse\":%.9g,\"prior_vb\":%.9g", s->prior_mse, s->prior_vb);
    if (s->device_bytes)
        snprintf(device, sizeof device, ",\"device_bytes\":%zu", s->device_bytes);
    if (n_memory)
        snprintf(memory, sizeof memory, ",\"resident_bytes\":%zu,\"peak_bytes\":%zu%s", s->resident_bytes,
                 s->peak_bytes, device);
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"loss\":%.9g,\"mse\":%.9g,\"vb\":%.9g,\"lr\":%.9g,"
                     "\"images_per_second\":%.4g,\"seconds\":%.3f%s%s%s}\n",
                     s->step, s->loss, s->mse, s->vb, s->lr, s->images_per_second, s->seconds, prior,
                     travelled, memory);
    TRY(put_line(ctx, j, line, (size_t)n));
    TRY(put_events(ctx, j, fdit_tfevents_scalars(ctx, j->events, s->step, 5, tags, values)));
    if (has_prior)
        TRY(put_events(ctx, j, fdit_tfevents_scalars(ctx, j->events, s->step, 2, prior_tags, prior_values)));
    if (s->several)
        TRY(put_events(ctx, j, fdit_tfevents_scalars(ctx, j->events, s->step, 2, sent_tags, sent_values)));
    if (n_memory)
        TRY(put_events(
            ctx, j,
            fdit_tfevents_scalars(ctx, j->events, s->step, (int)n_memory, memory_tags, memory_values)));
out:
    return status;
}

enum fdit_status fdit_journal_validation(fdit_context *ctx, struct fdit_journal *j, int64_t step, double mse,
                                         double vb, size_t pictures)
{
    enum fdit_status status = FDIT_OK;
    static const char *const tags[] = { "val_loss", "val_mse", "val_vb" };
    const float values[] = { (float)(mse + vb), (float)mse, (float)vb };
    char line[192];
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"val_loss\":%.9g,\"val_mse\":%.9g,\"val_vb\":%.9g,"
                     "\"val_pictures\":%zu}\n",
                     step, mse + vb, mse, vb, pictures);
    j->validated = true;
    TRY(put_line(ctx, j, line, (size_t)n));
    TRY(put_events(ctx, j, fdit_tfevents_scalars(ctx, j->events, step, 3, tags, values)));
out:
    return status;
}

/* One line, whatever its length: names are of networks' files. */
static enum fdit_status quality_line(fdit_context *ctx, int64_t step, size_t n, const char *const *names,
                                     const double *values, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *text = NULL;
    *out = NULL;
    fdit_json_begin(&b);
    for (size_t i = 0; i < n; i++)
        fdit_json_put_real(&b, NULL, names[i], values[i]);
    TRY(fdit_json_end(ctx, &b, "log.jsonl", JSON_COMPACT | JSON_REAL_PRECISION(9), &text));
    TRY(fdit_strf(ctx, out, "{\"step\":%" PRId64 ",\"eval\":%s}\n", step, text));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    return status;
}

enum fdit_status fdit_journal_quality(fdit_context *ctx, struct fdit_journal *j, int64_t step, size_t n,
                                      const char *const *names, const double *values)
{
    enum fdit_status status = FDIT_OK;
    char *line = NULL, *tag = NULL;
    TRY(quality_line(ctx, step, n, names, values, &line));
    j->evaluated = true;
    TRY(put_line(ctx, j, line, strlen(line)));
    for (size_t i = 0; i < n; i++) {
        const float value = (float)values[i];
        fdit_free(tag);
        tag = NULL;
        TRY(fdit_strf(ctx, &tag, "eval/%s", names[i]));
        TRY(put_events(ctx, j,
                       fdit_tfevents_scalars(ctx, j->events, step, 1, (const char *const *)&tag, &value)));
    }
out:
    fdit_free(line);
    fdit_free(tag);
    return status;
}

enum fdit_status fdit_journal_picture(fdit_context *ctx, struct fdit_journal *j, int64_t step, int width,
                                      int height, int channels, const uint8_t *png, size_t bytes)
{
    return put_events(
        ctx, j, fdit_tfevents_image(ctx, j->events, step, "preview", width, height, channels, png, bytes));
}

enum fdit_status fdit_journal_sync(fdit_context *ctx, struct fdit_journal *j)
{
    enum fdit_status status = FDIT_OK;
    if (j->n_late)
        TRY(fdit_appender_write(ctx, j->log, j->late, j->n_late));
    j->n_late = 0;
    TRY(fdit_appender_sync(ctx, j->log));
out:
    return status;
}

struct last {
    char line[512];
};

static bool keep_validation(void *user, const char *line, size_t n)
{
    struct last *last = user;
    if (n < sizeof last->line && strstr(line, "\"val_loss\""))
        memcpy(last->line, line, n + 1);
    return true;
}

enum fdit_status fdit_journal_last_validation(fdit_context *ctx, const char *run, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct last last = { "" };
    char *path = NULL;
    uint64_t end = 0;
    *out = NULL;
    TRY(fdit_path_join(ctx, run, "log.jsonl", &path));
    TRY(fdit_file_lines(ctx, path, keep_validation, &last, &end));
    if (*last.line)
        TRY(fdit_strdup(ctx, last.line, out));
out:
    fdit_free(path);
    return status;
}
