/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/extractor.h"

#include "core/datadir.h"
#include "core/file.h"
#include "core/mem.h"
#include "eval/inception.h"
#include "eval/judge.h"
#include "eval/vit.h"

#include <stdio.h>
#include <string.h>

static enum fdit_status open_judge(fdit_context *ctx, fdit_device *dev, const char *path, size_t memory,
                                   struct fdit_extractor *e)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_judge *judge = NULL;
    (void)memory;
    TRY(fdit_judge_prepare(ctx, dev, path, e->batch, &judge));
    const struct fdit_model_config *c = fdit_judge_config(judge);
    e->self = judge;
    e->input = &fdit_input_fit;
    e->size = c->input_size;
    e->channels = c->channels;
    e->width = (size_t)c->width;
    e->classes = (size_t)c->table_rows;
    e->taxonomy = fdit_judge_taxonomy(judge);
out:
    return status;
}

static enum fdit_status plan_judge(fdit_context *ctx, const void *self, struct fdit_plan *plan)
{
    return fdit_judge_plan(ctx, self, plan);
}

static enum fdit_status load_judge(fdit_context *ctx, void *self, uint64_t *weights)
{
    enum fdit_status status = fdit_judge_load(ctx, self);
    *weights = fdit_judge_hash(self);
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

/* ------------------------------------------------------------------ vision transformers */

static enum fdit_status open_vit(fdit_context *ctx, fdit_device *dev, const char *path,
                                 enum fdit_vit_family family, enum fdit_vit_positions positions,
                                 const struct fdit_net_input *input, struct fdit_extractor *e)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit *v = NULL;
    TRY(fdit_vit_prepare(ctx, dev, path, family, family == FDIT_VIT_DINO ? 224 : 0, positions, e->batch, &v));
    e->self = v;
    e->input = input;
    e->size = fdit_vit_size(v);
    e->channels = 3;
    e->width = (size_t)fdit_vit_config(v)->features;
out:
    return status;
}

static enum fdit_status plan_vit(fdit_context *ctx, const void *self, struct fdit_plan *plan)
{
    return fdit_vit_plan(ctx, self, plan);
}

static enum fdit_status load_vit(fdit_context *ctx, void *self, uint64_t *weights)
{
    enum fdit_status status = fdit_vit_load(ctx, self);
    *weights = fdit_vit_hash(self);
    return status;
}

static enum fdit_status run_vit(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                                float *logits)
{
    (void)logits; /* it has none */
    return features ? fdit_vit_run(ctx, self, x, n, features) : FDIT_OK;
}

static void close_vit(void *self)
{
    fdit_vit_close(self);
}

#define OPEN_VIT(name, family, positions, input)                                               \
    static enum fdit_status open_##name(fdit_context *ctx, fdit_device *dev, const char *path, \
                                        size_t memory, struct fdit_extractor *e)               \
    {                                                                                          \
        (void)memory; /* one picture at a time takes least: the batch says it */               \
        return open_vit(ctx, dev, path, family, positions, &(input), e);                       \
    }
OPEN_VIT(dinov2, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino)
OPEN_VIT(dinov2_clean, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_clean)
OPEN_VIT(dinov2_tf, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_tf)
OPEN_VIT(dinov2_crop, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_crop)
OPEN_VIT(dinov2_hf, FDIT_VIT_DINO, FDIT_VIT_TRANSFORMERS, fdit_input_dino_hf)
OPEN_VIT(clip, FDIT_VIT_CLIP, FDIT_VIT_AUTHORS, fdit_input_clip)
#undef OPEN_VIT

/* ------------------------------------------------------------------ Inception */

static enum fdit_status open_inception(fdit_context *ctx, fdit_device *dev, const char *path, size_t memory,
                                       const struct fdit_net_input *input, bool spatial,
                                       struct fdit_extractor *e)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_inception *net = NULL;
    TRY(fdit_inception_prepare(ctx, dev, path, e->batch, memory, &net));
    e->self = net;
    e->input = input;
    e->size = FDIT_INCEPTION_SIZE;
    e->channels = 3;
    e->width = spatial ? fdit_inception_spatial(net) : fdit_inception_width(net);
    e->classes = spatial ? 0 : fdit_inception_classes(net);
    e->spatial = spatial ? 0 : fdit_inception_spatial(net);
out:
    return status;
}

#define OPEN_INCEPTION(name, input, spatial)                                                   \
    static enum fdit_status open_##name(fdit_context *ctx, fdit_device *dev, const char *path, \
                                        size_t memory, struct fdit_extractor *e)               \
    {                                                                                          \
        return open_inception(ctx, dev, path, memory, &input, spatial, e);                     \
    }
OPEN_INCEPTION(inception_torch, fdit_input_pytorch_fid, false)
OPEN_INCEPTION(inception_tf, fdit_input_torch_fidelity, false)
OPEN_INCEPTION(inception_clean, fdit_input_clean_fid, false)
OPEN_INCEPTION(spatial_torch, fdit_input_pytorch_fid, true)
OPEN_INCEPTION(spatial_tf, fdit_input_torch_fidelity, true)
OPEN_INCEPTION(spatial_clean, fdit_input_clean_fid, true)
#undef OPEN_INCEPTION

static enum fdit_status plan_inception(fdit_context *ctx, const void *self, struct fdit_plan *plan)
{
    return fdit_inception_plan(ctx, self, plan);
}

static enum fdit_status load_inception(fdit_context *ctx, void *self, uint64_t *weights)
{
    enum fdit_status status = fdit_inception_load(ctx, self);
    *weights = fdit_inception_hash(self);
    return status;
}

static enum fdit_status run_inception(fdit_context *ctx, void *self, const float *x, size_t n,
                                      float *features, float *logits)
{
    return fdit_inception_run(ctx, self, x, n, features, logits, NULL);
}

static enum fdit_status run_inception_all(fdit_context *ctx, void *self, const float *x, size_t n,
                                          float *features, float *logits, float *spatial)
{
    return fdit_inception_run(ctx, self, x, n, features, logits, spatial);
}

static enum fdit_status run_spatial(fdit_context *ctx, void *self, const float *x, size_t n, float *features,
                                    float *logits)
{
    (void)logits;
    return fdit_inception_run(ctx, self, x, n, NULL, NULL, features);
}

static void close_inception(void *self)
{
    fdit_inception_close(self);
}

/* ------------------------------------------------------------------ the table */

#define VIT(name_, words, open_)                                                               \
    {                                                                                          \
        .name = (name_), .what = (words), .open = (open_), .plan = plan_vit, .load = load_vit, \
        .run = run_vit, .close = close_vit                                                     \
    }
#define INCEPTION(way, words)                                                                             \
    {                                                                                                     \
        .name = "inception-" #way, .what = (words), .open = open_inception_##way, .plan = plan_inception, \
        .load = load_inception, .run = run_inception, .close = close_inception, .frechet = "fid:" #way,   \
        .score = "is:" #way, .run_spatial = run_inception_all, .spatial_frechet = "sfid:" #way            \
    }
#define SPATIAL(way, words)                                                                           \
    {                                                                                                 \
        .name = "spatial-" #way, .what = (words), .open = open_spatial_##way, .plan = plan_inception, \
        .load = load_inception, .run = run_spatial, .close = close_inception, .frechet = "sfid:" #way \
    }

const struct fdit_extractor_kind fdit_extractor_kinds[] = {
    { .name = "judge",
      .what = "a classifier of this program (train --classifier); built in: one of letters",
      .usual = "judge.safetensors",
      .open = open_judge,
      .plan = plan_judge,
      .load = load_judge,
      .run = run_judge,
      .close = close_judge },
    VIT("dinov2", "a DINOv2 file, pictures as dgm-eval prepares them: fd is then FD-DINOv2", open_dinov2),
    VIT("dinov2-clean", "the same, resized in floats as clean-fid does", open_dinov2_clean),
    VIT("dinov2-tf", "the same, resized as torch-fidelity does", open_dinov2_tf),
    VIT("dinov2-crop", "the same, resized and cut as DINOv2's authors evaluate it", open_dinov2_crop),
    VIT("dinov2-hf", "the same, input and positions as in transformers", open_dinov2_hf),
    VIT("clip", "a CLIP file (ViT-L/14-336 in the paper): cmmd is then as published", open_clip),
    INCEPTION(torch, "FID's Inception, pictures resized as pytorch-fid does"),
    INCEPTION(tf, "the same, resized as TensorFlow 1, torch-fidelity and ADM do"),
    INCEPTION(clean, "the same, resized as clean-fid does"),
    SPATIAL(torch, "its features that keep places, for sFID"),
    SPATIAL(tf, "the same, as published"),
    SPATIAL(clean, "the same"),
    { 0 }
};
#undef VIT
#undef INCEPTION
#undef SPATIAL

/* "letters" of "judges/letters.safetensors", and of "letters/delta.safetensors", as runs call theirs. */
static void name_file(const char *path, char *out, size_t size)
{
    const char *base = fdit_path_base(path), *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    if (n == 5 && !strncmp(base, "delta", n) && base > path + 1) {
        const char *end = base - 1;
        for (base = end; base > path && base[-1] != '/'; base--)
            ;
        n = (size_t)(end - base);
    }
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), base);
}

void fdit_extractor_metric(const char *features, const char *metric, char *out, size_t size)
{
    const char *colon = strchr(features, ':');
    char file[128] = "";
    if (colon)
        name_file(colon + 1, file, sizeof file);
    if (colon)
        snprintf(out, size, "%s:%.*s:%s", metric, (int)(colon - features), features, file);
    else
        snprintf(out, size, "%s:%s", metric, features);
    for (const struct fdit_extractor_kind *k = fdit_extractor_kinds; k->name; k++) {
        const char *name = !strcmp(metric, "fd")     ? k->frechet
                           : !strcmp(metric, "is")   ? k->score
                           : !strcmp(metric, "sfid") ? k->spatial_frechet
                                                     : NULL;
        if (name && !strcmp(k->name, features))
            snprintf(out, size, "%s", name);
    }
}

static enum fdit_status find_kind(fdit_context *ctx, const char *what, const struct fdit_extractor_kind **out)
{
    char list[512] = "";
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

enum fdit_status fdit_extractor_prepare(fdit_context *ctx, fdit_device *dev, const char *what, int batch,
                                        size_t memory, struct fdit_extractor **out)
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
    TRY(fdit_strdup(ctx, kind->usual ? what : kind->name, &e->name)); /* which file it was, e->weights says */
    if (file)
        TRY(fdit_strdup(ctx, file + 1, &path));
    else
        TRY(fdit_data_file(ctx, kind->usual, &path));
    e->kind = kind;
    TRY(kind->open(ctx, dev, path, memory, e));
    *out = e;
    e = NULL;
out:
    fdit_free(path);
    fdit_extractor_close(e);
    return status;
}

enum fdit_status fdit_extractor_plan(fdit_context *ctx, const struct fdit_extractor *e,
                                     struct fdit_plan *plan)
{
    return e->kind->plan(ctx, e->self, plan);
}

enum fdit_status fdit_extractor_load(fdit_context *ctx, struct fdit_extractor *e)
{
    return e->kind->load(ctx, e->self, &e->weights);
}

enum fdit_status fdit_extractor_open(fdit_context *ctx, fdit_device *dev, const char *what, int batch,
                                     struct fdit_extractor **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_extractor *e = NULL;
    *out = NULL;
    TRY(fdit_extractor_prepare(ctx, dev, what, batch, 0, &e));
    TRY(fdit_extractor_load(ctx, e));
    *out = e;
    e = NULL;
out:
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

enum fdit_status fdit_extractor_run_all(fdit_context *ctx, struct fdit_extractor *e, const float *x, size_t n,
                                        float *features, float *logits, float *spatial)
{
    return spatial ? e->kind->run_spatial(ctx, e->self, x, n, features, logits, spatial)
                   : e->kind->run(ctx, e->self, x, n, features, logits);
}
