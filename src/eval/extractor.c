/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/extractor.h"

#include "core/datadir.h"
#include "core/mem.h"
#include "eval/judge.h"
#include "eval/vit.h"

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

/* ------------------------------------------------------------------ vision transformers */

static enum fdit_status open_vit(fdit_context *ctx, fdit_device *dev, const char *path,
                                 enum fdit_vit_family family, enum fdit_vit_positions positions,
                                 const struct fdit_net_input *input, struct fdit_extractor *e)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit *v = NULL;
    TRY(fdit_vit_open(ctx, dev, path, family, family == FDIT_VIT_DINO ? 224 : 0, positions, e->batch, &v));
    e->self = v;
    e->input = input;
    e->size = fdit_vit_size(v);
    e->channels = 3;
    e->width = (size_t)fdit_vit_config(v)->features;
    e->weights = fdit_vit_hash(v);
out:
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
                                        struct fdit_extractor *e)                              \
    {                                                                                          \
        return open_vit(ctx, dev, path, family, positions, &(input), e);                       \
    }
OPEN_VIT(dinov2, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino)
OPEN_VIT(dinov2_clean, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_clean)
OPEN_VIT(dinov2_tf, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_tf)
OPEN_VIT(dinov2_crop, FDIT_VIT_DINO, FDIT_VIT_AUTHORS, fdit_input_dino_crop)
OPEN_VIT(dinov2_hf, FDIT_VIT_DINO, FDIT_VIT_TRANSFORMERS, fdit_input_dino_hf)
OPEN_VIT(clip, FDIT_VIT_CLIP, FDIT_VIT_AUTHORS, fdit_input_clip)
#undef OPEN_VIT

/* ------------------------------------------------------------------ the table */

const struct fdit_extractor_kind fdit_extractor_kinds[] = {
    { "judge", "a classifier of this program (train --classifier); built in: one of letters",
      "judge.safetensors", open_judge, run_judge, close_judge },
    { "dinov2", "a DINOv2 file, pictures as dgm-eval prepares them: fd is then FD-DINOv2", NULL, open_dinov2,
      run_vit, close_vit },
    { "dinov2-clean", "the same, resized in floats as clean-fid does", NULL, open_dinov2_clean, run_vit,
      close_vit },
    { "dinov2-tf", "the same, resized as torch-fidelity does", NULL, open_dinov2_tf, run_vit, close_vit },
    { "dinov2-crop", "the same, resized and cut as DINOv2's authors evaluate it", NULL, open_dinov2_crop,
      run_vit, close_vit },
    { "dinov2-hf", "the same, input and positions as in transformers", NULL, open_dinov2_hf, run_vit,
      close_vit },
    { "clip", "a CLIP file (ViT-L/14-336 in the paper): cmmd is then as published", NULL, open_clip, run_vit,
      close_vit },
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
    if (e->weights) { /* which file it was, its numbers say */
        fdit_free(e->name);
        e->name = NULL;
        TRY(fdit_strdup(ctx, kind->name, &e->name));
    }
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
