/* SPDX-License-Identifier: Apache-2.0
 * vae.c: opening, planning and the two ways through. */
#include "vae/vae_internal.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"

#include <math.h>
#include <string.h>

/* Aims of bands and of rows of scores: what stays in a processor's last-level cache; on a GPU
 * enough rows to keep it busy. */
enum { BAND_BYTES = 8 << 20, BAND_BYTES_GPU = 64 << 20 };

/* ----------------------------------------------------------------------------------------- opening
 */

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
    TRY(fdit_vae_layers_make(ctx, &v->config, &v->layers));
    TRY(fdit_vae_layers_check(ctx, &v->layers, &v->file));
    *out = v;
    v = NULL;
out:
    fdit_vae_free(v);
    fdit_free(config);
    fdit_free(text);
    return status;
}

static void release(struct fdit_vae *v)
{
    for (size_t i = 0; i < v->layers.n; i++) {
        fdit_weight_free(v->layers.list[i].weight);
        v->layers.list[i].weight = NULL;
    }
    for (int i = 0; i < FDIT_VAE_ROOMS; i++) {
        fdit_buffer_free(v->rooms[i]);
        v->rooms[i] = NULL;
    }
    fdit_buffer_free(v->params);
    v->params = NULL;
    fdit_plan_fini(&v->plan);
    fdit_free(v->host);
    v->host = NULL;
    v->allocated = false;
}

void fdit_vae_free(struct fdit_vae *v)
{
    if (!v)
        return;
    release(v);
    fdit_vae_layers_fini(&v->layers);
    fdit_vae_file_close(&v->file);
    fdit_free(v->shapes);
    fdit_free(v);
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
    for (size_t i = 0; i < v->layers.n; i++)
        for (int k = 0; k < 2; k++) {
            const struct fdit_vae_layer *layer = &v->layers.list[i];
            const struct fdit_st_tensor *t;
            TRY(fdit_vae_layer_tensor(ctx, &v->file, layer, k ? "bias" : "weight", &t));
            TRY(fdit_st_check_sum(ctx, fdit_vae_file_path(&v->file), t));
            hash = hash_bytes(hash, (const uint8_t *)layer->name, strlen(layer->name));
            hash = hash_bytes(hash, t->data, t->bytes);
            fdit_weights_drop(v->file.weights, t);
        }
    *out = hash;
out:
    return status;
}

/* ---------------------------------------------------------------------------------------- the plan
 */

/* Of pictures, or of latents. */
static int height_of(const struct fdit_vae *v, bool latents)
{
    return latents ? v->options.height / fdit_vae_factor(&v->config) : v->options.height;
}
static int width_of(const struct fdit_vae *v, bool latents)
{
    return latents ? v->options.width / fdit_vae_factor(&v->config) : v->options.width;
}
static size_t pixels_of(const struct fdit_vae *v, bool latents)
{
    return (size_t)height_of(v, latents) * (size_t)width_of(v, latents);
}

/* What both ways need with the present aims, into `need`. */
static enum fdit_status dry_runs(fdit_context *ctx, struct fdit_vae *v, size_t need[FDIT_VAE_ROOMS])
{
    enum fdit_status status = FDIT_OK;
    memset(need, 0, FDIT_VAE_ROOMS * sizeof *need);
    v->n_shapes = 0;
    for (int way = 0; way < 2; way++) {
        if (!(way ? v->options.decode : v->options.encode))
            continue;
        struct fdit_vae_run r = { .ctx = ctx, .vae = v, .dry = true };
        r.height = height_of(v, way);
        r.width = width_of(v, way);
        r.channels = way ? v->config.latent_channels : v->config.in_channels;
        TRY(fdit_vae_walk(&r, way));
        v->flops[way] = r.flops;
        for (int i = 0; i < FDIT_VAE_ROOMS; i++)
            need[i] = r.need[i] > need[i] ? r.need[i] : need[i];
    }
    v->workspace = fdit_device_workspace(v->dev, v->shapes, v->n_shapes);
out:
    return status;
}

static enum fdit_status fill_plan(fdit_context *ctx, struct fdit_vae *v, const size_t need[FDIT_VAE_ROOMS])
{
    enum fdit_status status = FDIT_OK;
    static const char *const labels[FDIT_VAE_ROOMS] = { "VAE picture", "VAE second picture",
                                                        "VAE band",    "VAE attention",
                                                        "VAE scores",  "VAE statistics" };
    size_t weights = 0, largest = 0;
    fdit_plan_fini(&v->plan);
    for (size_t i = 0; i < v->layers.n; i++) {
        const struct fdit_vae_layer *l = &v->layers.list[i];
        struct fdit_weight_desc desc = fdit_vae_layer_desc(l);
        if (l->kind != FDIT_VAE_NORM && (l->of_decoder ? v->options.decode : v->options.encode))
            weights += fdit_weight_bytes(v->dev, &desc);
    }
    TRY(fdit_plan_add(ctx, &v->plan, FDIT_PLAN_WEIGHTS, NULL, weights, "VAE weights"));
    TRY(fdit_plan_add(ctx, &v->plan, FDIT_PLAN_WEIGHTS, &v->params, v->layers.params * sizeof(float),
                      "VAE norms and biases"));
    for (int i = 0; i < FDIT_VAE_ROOMS; i++)
        TRY(fdit_plan_add(ctx, &v->plan, FDIT_PLAN_SCRATCH, &v->rooms[i], need[i] * sizeof(float), "%s",
                          labels[i]));
    TRY(fdit_plan_add(ctx, &v->plan, FDIT_PLAN_WORKSPACE, NULL, v->workspace, "VAE workspace"));
    size_t channels = (size_t)(v->config.in_channels > v->config.out_channels ? v->config.in_channels
                                                                              : v->config.out_channels);
    largest = pixels_of(v, false) * channels;
    v->host_floats = 2 * pixels_of(v, true) * (size_t)v->config.latent_channels;
    v->host_floats = largest > v->host_floats ? largest : v->host_floats;
    TRY(fdit_plan_add(ctx, &v->plan, FDIT_PLAN_HOST, NULL, v->host_floats * sizeof(float), "VAE transfer"));
out:
    return status;
}

enum fdit_status fdit_vae_plan(fdit_context *ctx, struct fdit_vae *v, fdit_device *dev,
                               const struct fdit_vae_options *options)
{
    enum fdit_status status = FDIT_OK;
    size_t need[FDIT_VAE_ROOMS];
    int factor = fdit_vae_factor(&v->config);
    int height = options->height, width = options->width ? options->width : height;
    if (height < factor || height % factor || height > 1 << 13 || width < factor || width % factor ||
        width > 1 << 13)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "the autoencoder takes pictures of %d to %d pixels, multiples of %d; "
             "not %d x %d",
             factor, 1 << 13, factor, height, width);
    release(v);
    v->dev = dev;
    v->options = *options;
    v->options.width = width;
    v->band_floats = (fdit_device_info(dev)->is_gpu ? BAND_BYTES_GPU : BAND_BYTES) / sizeof(float);
    v->score_floats = v->band_floats;
    for (;;) {
        TRY(dry_runs(ctx, v, need));
        TRY(fill_plan(ctx, v, need));
        if (!options->memory || fdit_plan_device_bytes(&v->plan) <= options->memory || v->band_floats < 1024)
            break;
        v->band_floats /= 2;
        v->score_floats /= 2;
    }
out:
    return status;
}

const struct fdit_plan *fdit_vae_plan_of(const struct fdit_vae *v)
{
    return &v->plan;
}

double fdit_vae_flops(const struct fdit_vae *v, bool decode)
{
    return v->flops[decode];
}

enum fdit_status fdit_vae_allocate_rooms(fdit_context *ctx, struct fdit_vae *v)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_plan_allocate(ctx, &v->plan, v->dev));
    TRY(fdit_alloc(ctx, v->host_floats, sizeof *v->host, &v->host));
    TRY(fdit_device_reserve(ctx, v->dev, fdit_device_workspace(v->dev, v->shapes, v->n_shapes)));
    v->allocated = true;
out:
    return status;
}

enum fdit_status fdit_vae_allocate(fdit_context *ctx, struct fdit_vae *v)
{
    enum fdit_status status = FDIT_OK;
    const bool wanted[2] = { v->options.encode, v->options.decode };
    if (v->allocated)
        return FDIT_OK;
    TRY(fdit_vae_allocate_rooms(ctx, v));
    v->allocated = false; /* until the weights are there */
    TRY(fdit_vae_layers_load(ctx, &v->layers, &v->file, v->dev, wanted, fdit_tensor_of(v->params, FDIT_F32)));
    v->allocated = true;
out:
    return status;
}

/* ------------------------------------------------------------------------------------ the two ways
 */

/* to [n, channels] = a from + b, from [channels, n]; and back. */
static void to_rows(const float *from, size_t channels, size_t n, double a, double b, float *to)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            to[i * channels + c] = (float)(a * from[c * n + i] + b);
}

static void from_rows(const float *from, size_t channels, size_t n, float *to)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            to[c * n + i] = from[i * channels + c];
}

static enum fdit_status pass(fdit_context *ctx, struct fdit_vae *v, int way, int channels, int out_channels,
                             float *out)
{
    enum fdit_status status = FDIT_OK;
    size_t in = pixels_of(v, way), n = pixels_of(v, !way);
    struct fdit_vae_run r = { .ctx = ctx, .vae = v, .channels = channels };
    r.height = height_of(v, way);
    r.width = width_of(v, way);
    fdit_write(v->dev, fdit_tensor_of(v->rooms[FDIT_VAE_A], FDIT_F32), v->host, in * (size_t)channels);
    TRY(fdit_vae_walk(&r, way));
    TRY(fdit_read(ctx, v->dev, fdit_tensor_of(v->rooms[r.at], FDIT_F32), v->host, n * (size_t)out_channels));
    from_rows(v->host, (size_t)out_channels, n, out);
out:
    return status;
}

enum fdit_status fdit_vae_encode(fdit_context *ctx, struct fdit_vae *v, const float *picture, float *moments)
{
    const struct fdit_vae_config *c = &v->config;
    if (!v->allocated || !v->options.encode)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "the autoencoder was not made for encoding");
    to_rows(picture, (size_t)c->in_channels, pixels_of(v, false), 1, 0, v->host);
    return pass(ctx, v, 0, c->in_channels, 2 * c->latent_channels, moments);
}

enum fdit_status fdit_vae_decode(fdit_context *ctx, struct fdit_vae *v, const float *x, float *picture)
{
    const struct fdit_vae_config *c = &v->config;
    if (!v->allocated || !v->options.decode)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "the autoencoder was not made for decoding");
    to_rows(x, (size_t)c->latent_channels, pixels_of(v, true), 1 / c->scale, c->shift, v->host);
    return pass(ctx, v, 1, c->latent_channels, c->out_channels, picture);
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
