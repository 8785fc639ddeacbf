/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/judge.h"

#include "core/fnv.h"
#include "core/mem.h"

#include <string.h>

struct fdit_judge {
    struct fdit_checkpoint *checkpoint; /* until it is loaded */
    struct fdit_model *model;
    uint64_t hash;
    struct fdit_taxonomy *taxonomy;
    float *x, *logits; /* [batch, C, S, S], [batch, K] */
};

static enum fdit_status hash_weights(fdit_context *ctx, struct fdit_judge *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *cp = j->checkpoint;
    const struct fdit_params *params = &j->model->params;
    float *data = NULL;
    j->hash = FDIT_FNV_START;
    for (int i = 0; i < params->n; i++) {
        const struct fdit_param *p = &params->list[i];
        if (!fdit_checkpoint_has(cp, p->name))
            continue;
        fdit_free(data);
        TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
        TRY(fdit_checkpoint_read(ctx, cp, p, data));
        j->hash = fdit_fnv(j->hash, data, p->count * sizeof *data);
    }
out:
    fdit_free(data);
    return status;
}

enum fdit_status fdit_judge_prepare(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                    struct fdit_judge **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_judge *j = NULL;
    struct fdit_model_config config;
    struct fdit_model_options options = { .batch = batch, .storage = FDIT_F32 };
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *j, &j));
    TRY(fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &j->checkpoint));
    TRY(fdit_checkpoint_config(ctx, j->checkpoint, NULL, &config));
    const char *json = fdit_checkpoint_meta(j->checkpoint, "taxonomy");
    if (config.kind != FDIT_MODEL_CLASSIFIER || !json)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s is not a classifier; make one with train --classifier", path);
    TRY(fdit_taxonomy_parse(ctx, json, strlen(json), path, NULL, &j->taxonomy));
    if (fdit_taxonomy_n_classes(j->taxonomy) != config.table_rows)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s tells %d classes apart, its taxonomy has %d", path,
             config.table_rows, fdit_taxonomy_n_classes(j->taxonomy));
    TRY(fdit_model_new(ctx, dev, &config, &options, &j->model));
    *out = j;
    j = NULL;
out:
    fdit_judge_close(j);
    return status;
}

static size_t picture_of(const struct fdit_judge *j)
{
    const struct fdit_model_config *c = &j->model->config;
    return (size_t)c->channels * (size_t)c->input_size * (size_t)c->input_size;
}

enum fdit_status fdit_judge_plan(fdit_context *ctx, const struct fdit_judge *j, struct fdit_plan *plan)
{
    enum fdit_status status = FDIT_OK;
    const size_t floats = picture_of(j) + (size_t)j->model->config.table_rows;
    TRY(fdit_plan_join(ctx, plan, &j->model->plan, "classifier: "));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL,
                      (size_t)j->model->options.batch * floats * sizeof(float), "classifier: a batch"));
out:
    return status;
}

enum fdit_status fdit_judge_load(fdit_context *ctx, struct fdit_judge *j)
{
    enum fdit_status status = FDIT_OK;
    const size_t batch = (size_t)j->model->options.batch;
    TRY(fdit_model_allocate(ctx, j->model));
    TRY(fdit_model_load(ctx, j->model, &j->checkpoint, 1, false, NULL));
    TRY(hash_weights(ctx, j));
    TRY(fdit_alloc(ctx, batch, picture_of(j) * sizeof(float), &j->x));
    TRY(fdit_alloc(ctx, batch, (size_t)j->model->config.table_rows * sizeof(float), &j->logits));
    fdit_checkpoint_close(j->checkpoint);
    j->checkpoint = NULL;
out:
    return status;
}

enum fdit_status fdit_judge_open(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                 struct fdit_judge **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_judge *j = NULL;
    *out = NULL;
    TRY(fdit_judge_prepare(ctx, dev, path, batch, &j));
    TRY(fdit_judge_load(ctx, j));
    *out = j;
    j = NULL;
out:
    fdit_judge_close(j);
    return status;
}

void fdit_judge_close(struct fdit_judge *j)
{
    if (!j)
        return;
    fdit_checkpoint_close(j->checkpoint);
    fdit_model_free(j->model);
    fdit_taxonomy_free(j->taxonomy);
    fdit_free(j->x);
    fdit_free(j->logits);
    fdit_free(j);
}

const struct fdit_taxonomy *fdit_judge_taxonomy(const struct fdit_judge *j)
{
    return j->taxonomy;
}

uint64_t fdit_judge_hash(const struct fdit_judge *j)
{
    return j->hash;
}

const struct fdit_model_config *fdit_judge_config(const struct fdit_judge *j)
{
    return &j->model->config;
}

enum fdit_status fdit_judge_run(fdit_context *ctx, struct fdit_judge *j, const float *x, size_t n,
                                float *features, float *logits)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = j->model;
    size_t side = (size_t)m->config.input_size;
    fdit_write(m->dev, m->input, x, n * (size_t)m->config.channels * side * side);
    fdit_forward(m, (int)n);
    if (features)
        TRY(fdit_read(ctx, m->dev, m->pooled, features, n * (size_t)m->config.width));
    if (logits)
        TRY(fdit_read(ctx, m->dev, m->output, logits, n * (size_t)m->config.table_rows));
out:
    return status;
}

static int32_t largest(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

enum fdit_status fdit_judge_classify(fdit_context *ctx, struct fdit_judge *j, const uint8_t *pixels, size_t n,
                                     int32_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model *m = j->model;
    size_t side = (size_t)m->config.input_size, channels = (size_t)m->config.channels;
    size_t plane = side * side, picture = channels * plane, batch = (size_t)m->options.batch;
    for (size_t done = 0; done < n;) {
        size_t k = n - done < batch ? n - done : batch;
        for (size_t i = 0; i < k; i++)
            for (size_t p = 0; p < plane; p++)
                for (size_t c = 0; c < channels; c++) {
                    uint8_t v = pixels[(done + i) * picture + p * channels + c];
                    j->x[i * picture + c * plane + p] = ((float)v / 255 - 0.5f) / 0.5f;
                }
        fdit_write(m->dev, m->input, j->x, k * picture);
        fdit_forward(m, (int)k);
        TRY(fdit_read(ctx, m->dev, m->output, j->logits, k * (size_t)m->config.table_rows));
        for (size_t i = 0; i < k; i++)
            out[done + i] = largest(j->logits + i * (size_t)m->config.table_rows, m->config.table_rows);
        done += k;
    }
out:
    return status;
}

static bool same_group(const struct fdit_judge *j, int32_t got, const struct fdit_taxonomy *tax,
                       int32_t wanted, int32_t rank)
{
    if (rank >= fdit_taxonomy_n_ranks(tax) || rank >= fdit_taxonomy_n_ranks(j->taxonomy))
        return false;
    const char *a = fdit_taxonomy_group_name(j->taxonomy, rank, fdit_taxonomy_group(j->taxonomy, rank, got));
    const char *b = fdit_taxonomy_group_name(tax, rank, fdit_taxonomy_group(tax, rank, wanted));
    return !strcmp(a, b);
}

enum fdit_status fdit_judge_score(fdit_context *ctx, struct fdit_judge *j, const uint8_t *pixels,
                                  const int32_t *wanted, size_t n, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_judge_score *out)
{
    enum fdit_status status = FDIT_OK;
    int32_t *got = NULL;
    *out = (struct fdit_judge_score){ .n = n };
    TRY(fdit_alloc(ctx, n, sizeof *got, &got));
    TRY(fdit_judge_classify(ctx, j, pixels, n, got));
    for (size_t i = 0; i < n; i++) {
        const char *a = fdit_taxonomy_class_name(j->taxonomy, got[i]);
        const char *b = fdit_taxonomy_class_name(taxonomy, wanted[i]);
        out->superclass += same_group(j, got[i], taxonomy, wanted[i], 0);
        out->other += same_group(j, got[i], taxonomy, wanted[i], 1);
        out->both += !strcmp(a, b);
    }
out:
    fdit_free(got);
    return status;
}
