/* SPDX-License-Identifier: Apache-2.0 */
#include "train/state.h"

#include "core/file.h"
#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_FORMAT "finediffusion-checkpoint"

enum { SETS = 4 };
static const char *const prefixes[SETS] = { "raw.", "ema.", "m.", "v." };

static fdit_buffer *set_of(const struct fdit_group *g, int set)
{
    fdit_buffer *const buffers[SETS] = { g->value, g->ema, g->m, g->v };
    return buffers[set];
}

struct reader {
    fdit_device *dev;
    struct fdit_tensor t;
};

/* Gives the writer a part of a device tensor. */
static enum fdit_status fill(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    const struct reader *r = user;
    return fdit_read(ctx, r->dev, fdit_at(r->t, first), out, n);
}

static enum fdit_status put_meta(fdit_context *ctx, struct fdit_st_writer *w,
                                 const struct fdit_model *m, const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at)
{
    enum fdit_status status = FDIT_OK;
    char *model = NULL, *step = NULL, *position = NULL;
    TRY(fdit_config_to_json(ctx, &m->config, &model));
    TRY(fdit_strf(ctx, &step, "%" PRId64, at->step));
    TRY(fdit_strf(ctx, &position, "%" PRIu64, at->position));
    const struct {
        const char *key, *value;
    } entries[] = {
        { "format", STATE_FORMAT },     { "version", FDIT_FILE_VERSION }, { "model", model },
        { "taxonomy", meta->taxonomy }, { "guide", meta->guide },     { "flip", meta->flip },
        { "train", meta->train },       { "base", meta->fingerprint }, { "step", step },
        { "position", position },
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].value)
            TRY(fdit_st_writer_meta(ctx, w, entries[i].key, entries[i].value));
out:
    fdit_free(model);
    fdit_free(step);
    fdit_free(position);
    return status;
}

enum fdit_status fdit_state_save(fdit_context *ctx, const struct fdit_model *m,
                                 const struct fdit_delta_meta *meta,
                                 const struct fdit_train_position *at, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    struct reader *readers = NULL;
    size_t n = 0;
    bool whole = fdit_params_whole(&m->params);
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, w, m, meta, at));
    TRY(fdit_alloc(ctx, (size_t)m->params.n * SETS, sizeof *readers, &readers));
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < m->params.n; i++) {
            const struct fdit_param *p = &m->params.list[i];
            const struct fdit_group *g = &m->params.groups[p->group];
            /* a checkpoint of all weights is complete by itself: with the position table */
            bool fixed = whole && p->kind == FDIT_PARAM_POS && set < 2;
            fdit_buffer *buffer = fixed ? g->fixed : set_of(g, set);
            int64_t shape[4];
            char name[192];
            if ((!p->trained && !fixed) || !buffer)
                continue;
            for (int k = 0; k < p->rank; k++)
                shape[k] = p->shape[k];
            snprintf(name, sizeof name, "%s%s", prefixes[set], p->name);
            readers[n] = (struct reader){ m->dev, { buffer, p->offset, FDIT_F32 } };
            TRY(fdit_st_writer_fill(ctx, w, name, FDIT_ST_F32, p->rank, shape, fill, &readers[n]));
            n++;
        }
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    fdit_free(readers);
    return status;
}

static enum fdit_status meta_number(fdit_context *ctx, const struct fdit_safetensors *st,
                                    const char *key, uint64_t *out)
{
    const char *text = fdit_safetensors_meta(st, key);
    char *end = NULL;
    errno = 0;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno || end == text || *end)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: its metadata \"%s\" is no number; the checkpoint is "
                         "damaged, resume from an older one", fdit_safetensors_path(st), key);
    *out = value;
    return FDIT_OK;
}

enum fdit_status fdit_state_load(fdit_context *ctx, struct fdit_model *m, const char *path,
                                 struct fdit_train_position *at)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_safetensors *st = NULL;
    float *data = NULL;
    uint64_t step = 0;
    TRY(fdit_safetensors_open(ctx, path, &st));
    const char *format = fdit_safetensors_meta(st, "format");
    if (!format || strcmp(format, STATE_FORMAT))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is no checkpoint of a run", path);
    TRY(fdit_file_version_check(ctx, path, format, fdit_safetensors_meta(st, "version")));
    TRY(meta_number(ctx, st, "step", &step));
    TRY(meta_number(ctx, st, "position", &at->position));
    at->step = (int64_t)step;
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < m->params.n; i++) {
            const struct fdit_param *p = &m->params.list[i];
            fdit_buffer *buffer = set_of(&m->params.groups[p->group], set);
            const struct fdit_st_tensor *t;
            int64_t shape[4];
            char name[192];
            if (!p->trained || !buffer)
                continue;
            for (int k = 0; k < p->rank; k++)
                shape[k] = p->shape[k];
            snprintf(name, sizeof name, "%s%s", prefixes[set], p->name);
            TRY(fdit_safetensors_need(ctx, st, name, p->rank, shape, &t));
            fdit_free(data);
            TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
            TRY(fdit_safetensors_weights(ctx, st, t, 0, t->n, data));
            fdit_write(m->dev, (struct fdit_tensor){ buffer, p->offset, FDIT_F32 }, data, p->count);
        }
    TRY(fdit_device_status(ctx, m->dev));
out:
    fdit_free(data);
    fdit_safetensors_close(st);
    return status;
}

enum fdit_status fdit_state_path(fdit_context *ctx, const char *run, int64_t step, char **out)
{
    return fdit_strf(ctx, out, "%s/checkpoints/step-%" PRId64 ".safetensors", run, step);
}

/* The step of "step-N.safetensors", or -1. */
static int64_t step_of(const char *name)
{
    int64_t step;
    int used = 0;
    if (sscanf(name, "step-%" SCNd64 ".safetensors%n", &step, &used) != 1 || !used || name[used])
        return -1;
    return step;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* All steps with a checkpoint, rising. */
static enum fdit_status list_steps(fdit_context *ctx, const char *run, int64_t **out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    DIR *dir = NULL;
    size_t capacity = 0;
    *out = NULL;
    *n = 0;
    TRY(fdit_path_join(ctx, run, "checkpoints", &folder));
    dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int64_t step = step_of(e->d_name);
        if (step < 0)
            continue;
        TRY(fdit_grow(ctx, out, &capacity, *n + 1, sizeof **out));
        (*out)[(*n)++] = step;
    }
    if (*n)
        qsort(*out, *n, sizeof **out, ascending);
out:
    if (dir)
        closedir(dir);
    fdit_free(folder);
    return status;
}

enum fdit_status fdit_state_newest(fdit_context *ctx, const char *run, char **out)
{
    enum fdit_status status = FDIT_OK;
    int64_t *steps = NULL;
    size_t n;
    *out = NULL;
    TRY(list_steps(ctx, run, &steps, &n));
    if (n)
        TRY(fdit_state_path(ctx, run, steps[n - 1], out));
out:
    fdit_free(steps);
    return status;
}

enum fdit_status fdit_state_prune(fdit_context *ctx, const char *run, int keep)
{
    enum fdit_status status = FDIT_OK;
    int64_t *steps = NULL;
    char *path = NULL;
    size_t n;
    if (keep <= 0)
        return FDIT_OK;
    TRY(list_steps(ctx, run, &steps, &n));
    for (size_t i = 0; i + (size_t)keep < n; i++) {
        fdit_free(path);
        TRY(fdit_state_path(ctx, run, steps[i], &path));
        TRY(fdit_file_remove(ctx, path));
    }
out:
    fdit_free(path);
    fdit_free(steps);
    return status;
}
