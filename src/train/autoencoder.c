/* SPDX-License-Identifier: Apache-2.0 */
#include "train/autoencoder.h"

#include "core/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fdit_autoencoder {
    const char *path;
    struct fdit_vae *vae;
    int size;              /* of pictures */
    size_t item;           /* numbers of a latent */
    bool encodes, decodes; /* what is asked for */
    bool used;             /* by the plan */
    bool own_scale;        /* --vae-scale */
    float *moments;        /* [3, item]: mean, log-variance, noise */
};

bool fdit_autoencoder_encodes(const struct fdit_train_options *o)
{
    if (!o->vae)
        return false;
    char *end = NULL;
    bool pictures = o->validation && (strtod(o->validation, &end), *end);
    return !fdit_cache_is(o->data) || (pictures && !fdit_cache_is(o->validation)) || o->prior_per_class ||
           (o->prior && !fdit_cache_is(o->prior));
}

enum fdit_status fdit_autoencoder_open(fdit_context *ctx, const struct fdit_train_options *o,
                                       const struct fdit_model_config *config, struct fdit_autoencoder **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_autoencoder *c = NULL;
    *out = NULL;
    if (!o->vae)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    TRY(fdit_vae_open(ctx, o->vae, &c->vae));
    const struct fdit_vae_config *v = fdit_vae_config_of(c->vae);
    if (v->latent_channels != config->channels)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--vae %s has latents of %d channels, the model works on %d", o->vae,
             v->latent_channels, config->channels);
    c->path = o->vae;
    c->size = config->input_size * fdit_vae_factor(v);
    c->item = (size_t)config->channels * (size_t)config->input_size * (size_t)config->input_size;
    c->encodes = fdit_autoencoder_encodes(o);
    c->decodes = o->preview_every > 0 && (v->out_channels == 1 || v->out_channels == 3);
    c->own_scale = o->vae_scale > 0;
    if (!c->encodes && !c->decodes) {
        fdit_log(ctx, FDIT_LOG_NOTE,
                 "%s is encoded already, and there are no previews to decode%s: --vae is not used", o->data,
                 o->preview_every ? "" : " (--preview-every 0)");
        goto out;
    }
    if (c->own_scale)
        fdit_vae_set_scale(c->vae, o->vae_scale);
    TRY(fdit_alloc(ctx, 3 * c->item, sizeof(float), &c->moments));
    *out = c;
    return FDIT_OK;
out:
    fdit_autoencoder_free(c);
    return status;
}

void fdit_autoencoder_free(struct fdit_autoencoder *c)
{
    if (!c)
        return;
    fdit_vae_free(c->vae);
    fdit_free(c->moments);
    fdit_free(c);
}

int fdit_autoencoder_size(const struct fdit_autoencoder *c)
{
    return c->size;
}

int fdit_autoencoder_channels_in(const struct fdit_autoencoder *c)
{
    return fdit_vae_config_of(c->vae)->in_channels;
}

enum fdit_status fdit_autoencoder_hash(fdit_context *ctx, const struct fdit_autoencoder *c, uint64_t *out)
{
    return fdit_vae_hash(ctx, c->vae, out);
}

bool fdit_autoencoder_decodes(const struct fdit_autoencoder *c)
{
    return c && c->decodes;
}

enum fdit_status fdit_autoencoder_match(fdit_context *ctx, struct fdit_autoencoder *c,
                                        const struct fdit_train_source *data)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_cache_info *info = fdit_train_source_cache(data);
    uint64_t hash;
    char text[17];
    if (!info || info->kind != FDIT_CACHE_MOMENTS)
        return FDIT_OK;
    if (!c->own_scale)
        fdit_vae_set_scale(c->vae, info->scale);
    TRY(fdit_vae_hash(ctx, c->vae, &hash));
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (strcmp(text, info->vae) != 0)
        fdit_log(ctx, FDIT_LOG_WARNING,
                 "--vae %s is not what %s was encoded with (or --vae-scale is another): %s", c->path,
                 fdit_train_source_path(data),
                 c->encodes ? "its latents and those made on the way differ" : "previews may look wrong");
out:
    return status;
}

enum fdit_status fdit_autoencoder_plan(fdit_context *ctx, struct fdit_autoencoder *c,
                                       struct fdit_model *model, bool decode, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    size_t used = fdit_plan_device_bytes(&model->plan);
    struct fdit_vae_options v = { .height = c->size,
                                  .encode = c->encodes,
                                  .decode = decode,
                                  .memory = !limit         ? 0
                                            : limit > used ? limit - used
                                                           : 1 };
    c->used = c->encodes || decode;
    if (!c->used)
        return FDIT_OK;
    TRY(fdit_vae_plan(ctx, c->vae, model->dev, &v));
    const struct fdit_plan *plan = fdit_vae_plan_of(c->vae);
    for (size_t i = 0; i < plan->n; i++) /* without `where`: the autoencoder makes its buffers itself */
        TRY(fdit_plan_add(ctx, &model->plan, plan->list[i].kind, NULL, plan->list[i].bytes, "%s",
                          plan->list[i].label));
out:
    return status;
}

enum fdit_status fdit_autoencoder_allocate(fdit_context *ctx, struct fdit_autoencoder *c)
{
    return c->used ? fdit_vae_allocate(ctx, c->vae) : FDIT_OK;
}

enum fdit_status fdit_autoencoder_encode(fdit_context *ctx, struct fdit_autoencoder *c, const float *picture,
                                         uint64_t seed, uint64_t position, float *x)
{
    enum fdit_status status = FDIT_OK;
    float *noise = c->moments + 2 * c->item;
    TRY(fdit_vae_encode(ctx, c->vae, picture, c->moments));
    fdit_vae_noise(seed, position, c->item, noise);
    fdit_vae_sample(fdit_vae_config_of(c->vae), c->item, c->moments, c->moments + c->item, noise, x);
out:
    return status;
}

struct fdit_vae *fdit_autoencoder_vae(const struct fdit_autoencoder *c)
{
    return c ? c->vae : NULL;
}
