/* SPDX-License-Identifier: Apache-2.0 */
#include "train/journal.h"

#include "core/file.h"
#include "core/mem.h"
#include "train/tfevents.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fdit_journal {
    struct fdit_appender *log;
    struct fdit_tfevents *events;
    bool validated;
};

struct cut {
    int64_t step;
    bool validated; /* a validation of that very step is kept */
};

/* Keeps the lines up to the step. Every line begins with {"step":N. */
static bool keep_line(void *user, const char *line, size_t n)
{
    struct cut *cut = user;
    int64_t step;
    (void)n;
    if (sscanf(line, "{\"step\":%" SCNd64, &step) != 1 || step > cut->step)
        return false;
    cut->validated = step == cut->step && strstr(line, "\"val_loss\"");
    return true;
}

enum fdit_status fdit_journal_open(fdit_context *ctx, const char *run, int64_t step,
                                   struct fdit_journal **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_journal *j = NULL;
    struct cut cut = { .step = step };
    char *path = NULL;
    uint64_t offset = 0;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *j, &j));
    TRY(fdit_path_join(ctx, run, "log.jsonl", &path));
    TRY(fdit_file_lines(ctx, path, keep_line, &cut, &offset));
    TRY(fdit_appender_open(ctx, path, offset, &j->log));
    TRY(fdit_tfevents_open(ctx, run, step ? step + 1 : 0, &j->events));
    j->validated = cut.validated;
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

enum fdit_status fdit_journal_close(fdit_context *ctx, struct fdit_journal *j)
{
    if (!j)
        return FDIT_OK;
    enum fdit_status a = fdit_appender_close(ctx, j->log), b = fdit_tfevents_close(ctx, j->events);
    fdit_free(j);
    return a != FDIT_OK ? a : b;
}

enum fdit_status fdit_journal_step(fdit_context *ctx, struct fdit_journal *j,
                                   const struct fdit_journal_step *s)
{
    enum fdit_status status = FDIT_OK;
    static const char *const tags[] = { "loss", "mse", "vb", "lr", "images_per_second" };
    const float values[] = { (float)s->loss, (float)s->mse, (float)s->vb, (float)s->lr,
                             (float)s->images_per_second };
    char line[320];
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"loss\":%.9g,\"mse\":%.9g,\"vb\":%.9g,\"lr\":%.9g,"
                     "\"images_per_second\":%.4g,\"seconds\":%.3f}\n",
                     s->step, s->loss, s->mse, s->vb, s->lr, s->images_per_second, s->seconds);
    TRY(fdit_appender_write(ctx, j->log, line, (size_t)n));
    TRY(fdit_tfevents_scalars(ctx, j->events, s->step, 5, tags, values));
out:
    return status;
}

enum fdit_status fdit_journal_validation(fdit_context *ctx, struct fdit_journal *j, int64_t step,
                                         double mse, double vb)
{
    enum fdit_status status = FDIT_OK;
    static const char *const tags[] = { "val_loss", "val_mse", "val_vb" };
    const float values[] = { (float)(mse + vb), (float)mse, (float)vb };
    char line[192];
    int n = snprintf(line, sizeof line,
                     "{\"step\":%" PRId64 ",\"val_loss\":%.9g,\"val_mse\":%.9g,\"val_vb\":%.9g}\n", step,
                     mse + vb, mse, vb);
    j->validated = true;
    TRY(fdit_appender_write(ctx, j->log, line, (size_t)n));
    TRY(fdit_tfevents_scalars(ctx, j->events, step, 3, tags, values));
out:
    return status;
}

enum fdit_status fdit_journal_picture(fdit_context *ctx, struct fdit_journal *j, int64_t step, int width,
                                      int height, int channels, const uint8_t *png, size_t bytes)
{
    return fdit_tfevents_image(ctx, j->events, step, "preview", width, height, channels, png, bytes);
}

enum fdit_status fdit_journal_sync(fdit_context *ctx, struct fdit_journal *j)
{
    return fdit_appender_sync(ctx, j->log);
}
