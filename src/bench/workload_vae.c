/* SPDX-License-Identifier: Apache-2.0
 * workload_vae.c: one picture through an autoencoder of Stable Diffusion's size: "vae encode 256",
 * "vae decode 256". The code that encodes and samples is what runs here, transfers of the picture
 * included; only the weights and pictures are random numbers. */
#include "bench/workload.h"

#include "core/mem.h"
#include "vae/vae.h"

#include <math.h>
#include <stdio.h>

enum { STREAM_PICTURE = 1, STREAM_PARAM };

struct vae_state {
    struct fdit_vae *vae;
    bool decode;
    float *in, *out;
    size_t n_in, n_out;
};

static void close_vae(void *state)
{
    struct vae_state *s = state;
    if (!s)
        return;
    fdit_vae_free(s->vae);
    fdit_free(s->in);
    fdit_free(s->out);
    fdit_free(s);
}

/* Weights that keep activations near 1; norms near 1; every bias visible. */
static enum fdit_status random_weights(fdit_context *ctx, void *user, const struct fdit_net_layer *layer,
                                       size_t i, enum fdit_net_part part, float *to)
{
    const uint32_t stream = STREAM_PARAM + 2 * (uint32_t)i;
    const size_t n = fdit_net_part_floats(layer, part);
    (void)user;
    if (part == FDIT_NET_BIAS)
        fdit_bench_numbers(stream, 0, n, 0, 0.1, to);
    else if (layer->kind == FDIT_NET_NORM)
        fdit_bench_numbers(stream + 1, 0, n, 1, 0.1, to);
    else
        fdit_bench_numbers(stream + 1, 0, n, 0, 1 / sqrt((double)n / layer->n_out), to);
    return fdit_stopped(ctx) ? fdit_fail(ctx, FDIT_INTERRUPTED, "stopped while weights were made") : FDIT_OK;
}

static enum fdit_status open_config(fdit_context *ctx, fdit_device *dev, const struct fdit_vae_config *c,
                                    int size, bool decode, struct vae_state **out, size_t *plan_bytes)
{
    enum fdit_status status = FDIT_OK;
    struct vae_state *s = NULL;
    struct fdit_vae_options o = { .height = size, .encode = !decode, .decode = decode };
    size_t pixels = (size_t)size * (size_t)size, cells;
    int factor = fdit_vae_factor(c);
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->decode = decode;
    TRY(fdit_vae_new(ctx, c, &s->vae));
    TRY(fdit_vae_plan(ctx, s->vae, dev, &o));
    *plan_bytes = fdit_plan_device_bytes(fdit_vae_plan_of(s->vae));
    TRY(fdit_plan_check(ctx, fdit_vae_plan_of(s->vae), dev, fdit_device_info(dev)->memory,
                        "use a smaller picture"));
    TRY(fdit_net_allocate(ctx, fdit_vae_net(s->vae)));
    TRY(fdit_net_load(ctx, fdit_vae_net(s->vae), random_weights, NULL));
    cells = pixels / (size_t)(factor * factor);
    s->n_in = decode ? cells * (size_t)c->latent_channels : pixels * (size_t)c->in_channels;
    s->n_out = decode ? pixels * (size_t)c->out_channels : 2 * cells * (size_t)c->latent_channels;
    TRY(fdit_alloc(ctx, s->n_in, sizeof *s->in, &s->in));
    TRY(fdit_alloc(ctx, s->n_out, sizeof *s->out, &s->out));
    fdit_bench_numbers(STREAM_PICTURE, 0, s->n_in, 0, 0.5, s->in);
    *out = s;
    s = NULL;
out:
    close_vae(s);
    return status;
}

static enum fdit_status open_vae(fdit_context *ctx, fdit_device *dev, const struct fdit_bench_problem *p,
                                 enum fdit_dtype storage, void **out, size_t *plan_bytes)
{
    (void)storage; /* the autoencoder keeps its weights in f32 */
    struct fdit_vae_config c = fdit_vae_config_usual();
    struct vae_state *s = NULL;
    enum fdit_status status = open_config(ctx, dev, &c, p->m, p->decode, &s, plan_bytes);
    *out = s;
    return status;
}

static enum fdit_status run_vae(fdit_context *ctx, void *state)
{
    struct vae_state *s = state;
    return s->decode ? fdit_vae_decode(ctx, s->vae, s->in, s->out)
                     : fdit_vae_encode(ctx, s->vae, s->in, s->out);
}

/* The same levels, a quarter as wide, on the smallest picture that has more than one latent cell.
 */
static enum fdit_status verify_vae(fdit_context *ctx, fdit_device *dev, fdit_device *reference,
                                   const struct fdit_bench_problem *p, enum fdit_dtype storage,
                                   struct fdit_bench_check *check)
{
    enum fdit_status status = FDIT_OK;
    struct vae_state *s[2] = { NULL, NULL };
    struct fdit_vae_config c = fdit_vae_config_usual();
    fdit_device *devices[2] = { dev, reference };
    size_t bytes;
    int size = 4 * fdit_vae_factor(&c);
    for (int i = 0; i < c.levels; i++)
        c.channels[i] /= 4;
    for (int i = 0; i < 2; i++) {
        TRY(open_config(ctx, devices[i], &c, size, p->decode, &s[i], &bytes));
        TRY(run_vae(ctx, s[i]));
    }
    check->done = true;
    check->allowed = fdit_bench_allowed(FDIT_F32);
    (void)storage;
    snprintf(check->on, sizeof check->on, "%d x %d pixels, a quarter of the channels", size, size);
    fdit_bench_compare(check, p->decode ? "picture" : "moments", s[0]->out, s[1]->out, s[0]->n_out);
out:
    close_vae(s[0]);
    close_vae(s[1]);
    return status;
}

const struct fdit_bench_workload fdit_bench_vae = {
    .open = open_vae,
    .run = run_vae,
    .close = close_vae,
    .verify = verify_vae,
};
