/* SPDX-License-Identifier: Apache-2.0 */
#include "vae/layers.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ the list */

/* Makes the list; the first failure stays in `status`. */
struct maker {
    fdit_context *ctx;
    enum fdit_status status;
    struct fdit_vae_layers *l;
    bool decoder;
};

static int layer(struct maker *m, enum fdit_vae_layer_kind kind, int n_out, int n_in, const char *prefix,
                 const char *name, const char *old)
{
    struct fdit_vae_layers *l = m->l;
    if (m->status != FDIT_OK)
        return -1;
    m->status = fdit_grow(m->ctx, &l->list, &l->capacity, l->n + 1, sizeof *l->list);
    if (m->status != FDIT_OK)
        return -1;
    struct fdit_vae_layer *at = &l->list[l->n];
    *at = (struct fdit_vae_layer){ .kind = kind, .of_decoder = m->decoder, .n_in = n_in, .n_out = n_out };
    m->status = fdit_strf(m->ctx, &at->name, "%s%s", prefix, name);
    l->n++;
    if (m->status == FDIT_OK && old)
        m->status = fdit_strf(m->ctx, &at->old_name, "%s%s", prefix, old);
    if (kind == FDIT_VAE_NORM) {
        at->weight_at = l->params;
        l->params += (size_t)n_out;
    }
    at->bias_at = l->params;
    l->params += (size_t)n_out;
    return (int)l->n - 1;
}

/* NULL after a failure. */
static struct fdit_vae_step *step(struct maker *m, enum fdit_vae_step_kind kind, int at)
{
    struct fdit_vae_way *w = &m->l->ways[m->decoder];
    if (m->status == FDIT_OK)
        m->status = fdit_grow(m->ctx, &w->list, &w->capacity, w->n + 1, sizeof *w->list);
    if (m->status != FDIT_OK)
        return NULL;
    w->list[w->n] = (struct fdit_vae_step){ .kind = kind, .layer = at };
    return &w->list[w->n++];
}

static void residual(struct maker *m, int n_out, int n_in, const char *prefix)
{
    struct fdit_vae_residual r = { .shortcut = -1 };
    r.norm1 = layer(m, FDIT_VAE_NORM, n_in, n_in, prefix, ".norm1", NULL);
    r.conv1 = layer(m, FDIT_VAE_CONV, n_out, n_in, prefix, ".conv1", NULL);
    r.norm2 = layer(m, FDIT_VAE_NORM, n_out, n_out, prefix, ".norm2", NULL);
    r.conv2 = layer(m, FDIT_VAE_CONV, n_out, n_out, prefix, ".conv2", NULL);
    if (n_out != n_in)
        r.shortcut = layer(m, FDIT_VAE_LINEAR, n_out, n_in, prefix, ".conv_shortcut", NULL);
    struct fdit_vae_step *s = step(m, FDIT_VAE_STEP_RESIDUAL, -1);
    if (s)
        s->residual = r;
}

static void middle(struct maker *m, const struct fdit_vae_config *c, const char *way)
{
    char prefix[64];
    int n = c->channels[c->levels - 1];
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.0", way);
    residual(m, n, n, prefix);
    if (c->attention) {
        snprintf(prefix, sizeof prefix, "%s.mid_block.attentions.0.", way);
        struct fdit_vae_attention a;
        a.norm = layer(m, FDIT_VAE_NORM, n, n, prefix, "group_norm", NULL);
        a.q = layer(m, FDIT_VAE_LINEAR, n, n, prefix, "to_q", "query");
        a.k = layer(m, FDIT_VAE_LINEAR, n, n, prefix, "to_k", "key");
        a.v = layer(m, FDIT_VAE_LINEAR, n, n, prefix, "to_v", "value");
        a.out = layer(m, FDIT_VAE_LINEAR, n, n, prefix, "to_out.0", "proj_attn");
        struct fdit_vae_step *s = step(m, FDIT_VAE_STEP_ATTENTION, -1);
        if (s)
            s->attention = a;
    }
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.1", way);
    residual(m, n, n, prefix);
}

static void end(struct maker *m, int n_out, int n_in, const char *way)
{
    int norm = layer(m, FDIT_VAE_NORM, n_in, n_in, way, ".conv_norm_out", NULL);
    int conv = layer(m, FDIT_VAE_CONV, n_out, n_in, way, ".conv_out", NULL);
    struct fdit_vae_step *s = step(m, FDIT_VAE_STEP_END, conv);
    if (s)
        s->residual.norm1 = norm;
}

static void encoder(struct maker *m, const struct fdit_vae_config *c)
{
    char prefix[64];
    int n = c->channels[0];
    step(m, FDIT_VAE_STEP_CONV, layer(m, FDIT_VAE_CONV, n, c->in_channels, "encoder", ".conv_in", NULL));
    for (int i = 0; i < c->levels; i++) {
        for (int j = 0; j < c->layers; j++) {
            snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.resnets.%d", i, j);
            residual(m, c->channels[i], n, prefix);
            n = c->channels[i];
        }
        if (i + 1 == c->levels)
            break;
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.downsamplers.0.", i);
        step(m, FDIT_VAE_STEP_DOWN, layer(m, FDIT_VAE_CONV, n, n, prefix, "conv", NULL));
    }
    middle(m, c, "encoder");
    end(m, 2 * c->latent_channels, n, "encoder");
    if (c->quant)
        step(m, FDIT_VAE_STEP_LINEAR,
             layer(m, FDIT_VAE_LINEAR, 2 * c->latent_channels, 2 * c->latent_channels, "quant_conv", "",
                   NULL));
}

static void decoder(struct maker *m, const struct fdit_vae_config *c)
{
    char prefix[64];
    int n = c->channels[c->levels - 1];
    if (c->post_quant)
        step(m, FDIT_VAE_STEP_LINEAR,
             layer(m, FDIT_VAE_LINEAR, c->latent_channels, c->latent_channels, "post_quant_conv", "", NULL));
    step(m, FDIT_VAE_STEP_CONV, layer(m, FDIT_VAE_CONV, n, c->latent_channels, "decoder", ".conv_in", NULL));
    middle(m, c, "decoder");
    for (int i = 0; i < c->levels; i++) {
        int n_out = c->channels[c->levels - 1 - i];
        for (int j = 0; j < c->layers + 1; j++) {
            snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.resnets.%d", i, j);
            residual(m, n_out, n, prefix);
            n = n_out;
        }
        if (i + 1 == c->levels)
            break;
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.upsamplers.0.", i);
        step(m, FDIT_VAE_STEP_UP, layer(m, FDIT_VAE_CONV, n, n, prefix, "conv", NULL));
    }
    end(m, c->out_channels, n, "decoder");
}

enum fdit_status fdit_vae_layers_make(fdit_context *ctx, const struct fdit_vae_config *c,
                                      struct fdit_vae_layers *out)
{
    *out = (struct fdit_vae_layers){ 0 };
    struct maker m = { .ctx = ctx, .l = out };
    encoder(&m, c);
    m.decoder = true;
    decoder(&m, c);
    return m.status;
}

void fdit_vae_layers_fini(struct fdit_vae_layers *l)
{
    for (size_t i = 0; i < l->n; i++) {
        fdit_free(l->list[i].name);
        fdit_free(l->list[i].old_name);
        fdit_weight_free(l->list[i].weight);
    }
    fdit_free(l->list);
    fdit_free(l->ways[0].list);
    fdit_free(l->ways[1].list);
    *l = (struct fdit_vae_layers){ 0 };
}

/* ------------------------------------------------------------------------------------ the file */

enum fdit_status fdit_vae_layer_tensor(fdit_context *ctx, const struct fdit_vae_file *file,
                                       const struct fdit_vae_layer *layer, const char *part,
                                       const struct fdit_st_tensor **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    const struct fdit_st_tensor *t;
    TRY(fdit_strf(ctx, &name, "%s.%s", layer->name, part));
    t = fdit_vae_file_tensor(file, name);
    if (!t && layer->old_name) {
        fdit_free(name);
        name = NULL;
        TRY(fdit_strf(ctx, &name, "%s.%s", layer->old_name, part));
        t = fdit_vae_file_tensor(file, name);
    }
    if (!t)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %s.%s is missing; is it the AutoencoderKL that its "
             "config.json describes?",
             fdit_vae_file_path(file), layer->name, part);
    int64_t shape[4] = { layer->n_out, layer->n_in, 1, 1 };
    int rank = 1;
    if (!strcmp(part, "weight") && layer->kind != FDIT_VAE_NORM) {
        rank = layer->kind == FDIT_VAE_LINEAR && t->rank == 2 ? 2 : 4;
        if (layer->kind == FDIT_VAE_CONV)
            shape[2] = shape[3] = 3;
    }
    TRY(fdit_st_check_shape(ctx, fdit_vae_file_path(file), t, rank, shape));
    *out = t;
out:
    fdit_free(name);
    return status;
}

enum fdit_status fdit_vae_layers_check(fdit_context *ctx, const struct fdit_vae_layers *l,
                                       const struct fdit_vae_file *file)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t;
    size_t n = fdit_weights_count(file->weights);
    bool *used = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *used, &used));
    const struct fdit_st_tensor *first = fdit_weights_at(file->weights, 0);
    for (size_t i = 0; i < l->n; i++)
        for (int k = 0; k < 2; k++) {
            TRY(fdit_vae_layer_tensor(ctx, file, &l->list[i], k ? "bias" : "weight", &t));
            used[t - first] = true;
        }
    for (size_t i = 0; i < n; i++)
        if (!used[i] && fdit_vae_file_owns(file, i))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %.200s has no place in the AutoencoderKL that its config.json "
                 "describes (levels, layers, "
                 "attention or quant_conv); the two do not belong together",
                 fdit_vae_file_path(file), first[i].name);
out:
    fdit_free(used);
    return status;
}

struct fdit_weight_desc fdit_vae_layer_desc(const struct fdit_vae_layer *layer)
{
    bool conv = layer->kind == FDIT_VAE_CONV;
    return (struct fdit_weight_desc){
        .n_out = layer->n_out, .n_in = conv ? 9 * layer->n_in : layer->n_in, .storage = FDIT_F32, .conv = conv
    };
}

/* [n_out][n_in][3][3] to [n_out][3][3][n_in] */
static void turn(const struct fdit_vae_layer *layer, const float *from, float *to)
{
    size_t n_in = (size_t)layer->n_in;
    for (size_t o = 0; o < (size_t)layer->n_out; o++, from += 9 * n_in, to += 9 * n_in)
        for (size_t c = 0; c < n_in; c++)
            for (size_t tap = 0; tap < 9; tap++)
                to[tap * n_in + c] = from[c * 9 + tap];
}

enum fdit_status fdit_vae_layers_load(fdit_context *ctx, struct fdit_vae_layers *l,
                                      const struct fdit_vae_file *file, fdit_device *dev,
                                      const bool wanted[2], struct fdit_tensor params)
{
    enum fdit_status status = FDIT_OK;
    float *small = NULL, *raw = NULL, *turned = NULL;
    size_t largest = 1;
    for (size_t i = 0; i < l->n; i++) {
        struct fdit_weight_desc d = fdit_vae_layer_desc(&l->list[i]);
        size_t n = (size_t)d.n_out * (size_t)d.n_in;
        largest = l->list[i].kind != FDIT_VAE_NORM && n > largest ? n : largest;
    }
    TRY(fdit_alloc(ctx, l->params, sizeof *small, &small));
    TRY(fdit_alloc(ctx, largest, sizeof *raw, &raw));
    TRY(fdit_alloc(ctx, largest, sizeof *turned, &turned));
    for (size_t i = 0; i < l->n; i++) {
        struct fdit_vae_layer *layer = &l->list[i];
        const struct fdit_st_tensor *weight, *bias;
        if (!wanted[layer->of_decoder])
            continue;
        TRY(fdit_vae_layer_tensor(ctx, file, layer, "weight", &weight));
        TRY(fdit_vae_layer_tensor(ctx, file, layer, "bias", &bias));
        TRY(fdit_st_weights(ctx, fdit_vae_file_path(file), bias, 0, bias->n, small + layer->bias_at));
        if (layer->kind == FDIT_VAE_NORM) {
            TRY(fdit_st_weights(ctx, fdit_vae_file_path(file), weight, 0, weight->n,
                                small + layer->weight_at));
            continue;
        }
        struct fdit_weight_desc desc = fdit_vae_layer_desc(layer);
        TRY(fdit_st_weights(ctx, fdit_vae_file_path(file), weight, 0, weight->n, raw));
        fdit_weights_drop(file->weights, weight);
        if (desc.conv)
            turn(layer, raw, turned);
        TRY(fdit_weight_new(ctx, dev, &desc, desc.conv ? turned : raw, &layer->weight));
    }
    fdit_write(dev, params, small, l->params);
    TRY(fdit_device_sync(ctx, dev));
out:
    fdit_free(small);
    fdit_free(raw);
    fdit_free(turned);
    return status;
}
