/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/extractor.h"

#include "core/datadir.h"
#include "core/mem.h"
#include "eval/judge.h"

#include <stdio.h>
#include <string.h>

static enum fdit_status open_judge(fdit_context *ctx, fdit_device *dev, const char *path,
                                   struct fdit_extractor *e)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_judge *judge = NULL;
    TRY(fdit_judge_open(ctx, dev, path, e->batch, &judge));
    const struct fdit_model_config *c = fdit_judge_config(judge);
    e->self = judge;
    e->input = &fdit_input_fit;
    e->size = c->input_size;
    e->channels = c->channels;
    e->width = (size_t)c->width;
    e->classes = (size_t)c->rows;
    e->taxonomy = fdit_judge_taxonomy(judge);
out:
    return status;
}

static enum fdit_status run_judge(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                                  float *logits)
{
    return fdit_judge_run(ctx, self, x, n, features, logits);
}

static void close_judge(void *self)
{
    fdit_judge_close(self);
}

const struct fdit_extractor_kind fdit_extractor_kinds[] = {
    { "judge", "a classifier of this program (train --classifier); built in: one of letters",
      "judge.safetensors", open_judge, run_judge, close_judge },
    { 0 }
};

static enum fdit_status find_kind(fdit_context *ctx, const char *what, const struct fdit_extractor_kind **out)
{
    char list[256] = "";
    size_t n = strcspn(what, ":");
    for (const struct fdit_extractor_kind *k = fdit_extractor_kinds; k->name; k++) {
        if (strlen(k->name) == n && !strncmp(k->name, what, n)) {
            *out = k;
            return FDIT_OK;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "", k->name);
    }
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--features %s: not a feature network that is known; there is %s[:FILE]", what, list);
}

enum fdit_status fdit_extractor_open(fdit_context *ctx, fdit_device *dev, const char *what, int batch,
                                     struct fdit_extractor **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_extractor *e = NULL;
    const struct fdit_extractor_kind *kind;
    const char *file = strchr(what, ':');
    char *path = NULL;
    *out = NULL;
    TRY(find_kind(ctx, what, &kind));
    if (file ? !file[1] : !kind->usual)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--features %s: give its file, as %s:FILE", what, kind->name);
    TRY(fdit_alloc(ctx, 1, sizeof *e, &e));
    e->batch = batch;
    TRY(fdit_strdup(ctx, what, &e->name));
    if (file)
        TRY(fdit_strdup(ctx, file + 1, &path));
    else
        TRY(fdit_data_file(ctx, kind->usual, &path));
    e->kind = kind;
    TRY(kind->open(ctx, dev, path, e));
    *out = e;
    e = NULL;
out:
    fdit_free(path);
    fdit_extractor_close(e);
    return status;
}

void fdit_extractor_close(struct fdit_extractor *e)
{
    if (!e)
        return;
    if (e->self)
        e->kind->close(e->self);
    fdit_free(e->name);
    fdit_free(e);
}

enum fdit_status fdit_extractor_run(fdit_context *ctx, struct fdit_extractor *e, const float *x, size_t n,
                                    float *features, float *logits)
{
    return e->kind->run(ctx, e->self, x, n, features, logits);
}
