/* SPDX-License-Identifier: Apache-2.0
 * vae.c: opening, planning and the two ways through. */
#include "vae/vae.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "vae/layers.h"

#include <math.h>
#include <string.h>

struct fdit_vae {
    struct fdit_vae_file file; /* of fdit_vae_open */
    struct fdit_vae_config config;
    struct fdit_net *net;
    struct fdit_vae_options options;
    bool allocated;
};

/* ------------------------------------------------------------------ opening */

/* The config.json beside the file; *out stays NULL when there is none. */
static enum fdit_status find_config(fdit_context *ctx, const char *file, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    TRY(fdit_path_folder(ctx, file, &folder));
    TRY(fdit_path_join(ctx, folder, "config.json", out));
    if (!fdit_is_file(*out)) {
        fdit_free(*out);
        *out = NULL;
    }
out:
    fdit_free(folder);
    return status;
}

enum fdit_status fdit_vae_open(fdit_context *ctx, const char *path, struct fdit_vae **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae *v = NULL;
    char *config = NULL;
    uint8_t *text = NULL;
    size_t n;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *v, &v));
    TRY(fdit_vae_file_open(ctx, path, &v->file));
    TRY(find_config(ctx, fdit_vae_file_path(&v->file), &config));
    if (config) {
        TRY(fdit_file_read_all(ctx, config, 1 << 20, &text, &n));
        TRY(fdit_vae_config_from_json(ctx, config, (const char *)text, n, &v->config));
        v->file.levels = v->config.levels;
    } else {
        TRY(fdit_vae_file_config(ctx, &v->file, &v->config));
        fdit_log(ctx, FDIT_LOG_INFO, "%s: no config.json beside it; 32 groups, scale %g",
                 fdit_vae_file_path(&v->file), v->config.scale);
    }
    TRY(fdit_vae_describe(ctx, &v->config, &v->net));
    TRY(fdit_vae_check_file(ctx, v->net, &v->file));
    *out = v;
    v = NULL;
out:
    fdit_vae_free(v);
    fdit_free(config);
    fdit_free(text);
    return status;
}

enum fdit_status fdit_vae_new(fdit_context *ctx, const struct fdit_vae_config *config, struct fdit_vae **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae *v = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *v, &v));
    v->config = *config;
    TRY(fdit_vae_describe(ctx, &v->config, &v->net));
    *out = v;
    v = NULL;
out:
    fdit_vae_free(v);
    return status;
}

void fdit_vae_free(struct fdit_vae *v)
{
    if (!v)
        return;
    fdit_net_free(v->net);
    fdit_vae_file_close(&v->file);
    fdit_free(v);
}

struct fdit_net *fdit_vae_net(struct fdit_vae *v)
{
    return v->net;
}

const struct fdit_vae_config *fdit_vae_config_of(const struct fdit_vae *v)
{
    return &v->config;
}

void fdit_vae_set_scale(struct fdit_vae *v, double scale)
{
    v->config.scale = scale;
}

/* Words through multiply and shift: a checksum against mix-ups, not against intent. */
static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t n)
{
    for (; n >= 8; n -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    for (; n; n--, bytes++)
        hash = (hash ^ *bytes) * UINT64_C(0x100000001b3);
    return hash;
}

enum fdit_status fdit_vae_hash(fdit_context *ctx, const struct fdit_vae *v, uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    double numbers[3] = { v->config.groups, v->config.scale, v->config.shift };
    hash = hash_bytes(hash, (const uint8_t *)numbers, sizeof numbers);
    for (size_t i = 0; i < fdit_net_layers(v->net); i++)
        for (int part = FDIT_NET_WEIGHT; part <= FDIT_NET_BIAS; part++) {
            const struct fdit_net_layer *layer = fdit_net_layer(v->net, i);
            const struct fdit_st_tensor *t;
            TRY(fdit_vae_layer_tensor(ctx, &v->file, layer, (enum fdit_net_part)part, &t));
            TRY(fdit_st_check_sum(ctx, fdit_vae_file_path(&v->file), t));
            hash = hash_bytes(hash, (const uint8_t *)layer->name, strlen(layer->name));
            hash = hash_bytes(hash, t->data, t->bytes);
            fdit_weights_drop(v->file.weights, t);
        }
    *out = hash;
out:
    return status;
}

/* ------------------------------------------------------------------ the plan */

enum fdit_status fdit_vae_plan(fdit_context *ctx, struct fdit_vae *v, fdit_device *dev,
                               const struct fdit_vae_options *options)
{
    enum fdit_status status = FDIT_OK;
    int factor = fdit_vae_factor(&v->config);
    int height = options->height, width = options->width ? options->width : height;
    if (height < factor || height % factor || height > 1 << 13 || width < factor || width % factor ||
        width > 1 << 13)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the autoencoder takes pictures of %d to %d pixels, multiples of %d; not %d x %d", factor,
             1 << 13, factor, height, width);
    v->options = *options;
    v->options.width = width;
    v->allocated = false;
    fdit_net_want(v->net, FDIT_VAE_ENCODER, options->encode ? height : 0, options->encode ? width : 0);
    fdit_net_want(v->net, FDIT_VAE_DECODER, options->decode ? height / factor : 0,
                  options->decode ? width / factor : 0);
    TRY(fdit_net_plan(ctx, v->net, dev, options->memory));
out:
    return status;
}

const struct fdit_plan *fdit_vae_plan_of(const struct fdit_vae *v)
{
    return fdit_net_plan_of(v->net);
}

double fdit_vae_flops(const struct fdit_vae *v, bool decode)
{
    return fdit_net_flops(v->net, decode ? FDIT_VAE_DECODER : FDIT_VAE_ENCODER);
}

enum fdit_status fdit_vae_allocate(fdit_context *ctx, struct fdit_vae *v)
{
    enum fdit_status status = FDIT_OK;
    if (v->allocated)
        return FDIT_OK;
    TRY(fdit_net_allocate(ctx, v->net));
    TRY(fdit_net_load(ctx, v->net, fdit_vae_read_layer, &v->file));
    v->allocated = true;
out:
    return status;
}

/* ------------------------------------------------------------------ the two ways */

enum fdit_status fdit_vae_encode(fdit_context *ctx, struct fdit_vae *v, const float *picture, float *moments)
{
    if (!v->options.encode)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "the autoencoder was not made for encoding");
    return fdit_net_run(ctx, v->net, FDIT_VAE_ENCODER, FDIT_NET_AS_IS, picture, moments);
}

enum fdit_status fdit_vae_decode(fdit_context *ctx, struct fdit_vae *v, const float *x, float *picture)
{
    const struct fdit_net_range range = { 1 / v->config.scale, v->config.shift };
    if (!v->options.decode)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "the autoencoder was not made for decoding");
    return fdit_net_run(ctx, v->net, FDIT_VAE_DECODER, range, x, picture);
}

void fdit_vae_sample(const struct fdit_vae_config *c, size_t n, const float *mean, const float *logvar,
                     const float *noise, float *x)
{
    for (size_t i = 0; i < n; i++) {
        double l = logvar[i] < -30 ? -30 : logvar[i] > 20 ? 20 : logvar[i];
        x[i] = (float)(((double)mean[i] + exp(0.5 * l) * noise[i] - c->shift) * c->scale);
    }
}

void fdit_vae_noise(uint64_t seed, uint64_t position, size_t n, float *out)
{
    const struct fdit_rng rng = { .seed = seed,
                                  .stream = (uint32_t)position,
                                  .id = (uint32_t)(position >> 32),
                                  .domain = FDIT_RNG_LATENT };
    fdit_rng_fill_normals(&rng, 0, n, out);
}
