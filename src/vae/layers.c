/* SPDX-License-Identifier: Apache-2.0
 * layers.c: AutoencoderKL of diffusers, layer by layer in the order of its file's names. */
#include "vae/layers.h"

#include <stdio.h>

/* A layer's name is its prefix and what it is called there. */
struct maker {
    struct fdit_net *net;
    const struct fdit_vae_config *c;
};

static int norm_layer(const struct maker *m, int channels, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return fdit_net_add_norm(m->net, channels, m->c->groups, full, NULL);
}

/* `old`: what earlier files call it after the prefix, or NULL. */
static int conv_layer(const struct maker *m, int n_out, int n_in, int kernel, const char *prefix,
                      const char *name, const char *old)
{
    char full[128], alias[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    snprintf(alias, sizeof alias, "%s%s", prefix, old ? old : "");
    return fdit_net_add_conv(m->net, n_out, n_in, kernel, full, old ? alias : NULL);
}

/* y = conv(x) of a layer of its own */
static fdit_net_id conv(const struct maker *m, fdit_net_id x, int n_out, int n_in, const char *prefix,
                        const char *name)
{
    const int layer = conv_layer(m, n_out, n_in, 3, prefix, name, NULL);
    return fdit_net_conv(m->net, x,
                         &(struct fdit_net_conv){ .layer = layer, .border = fdit_net_border(1, 1) });
}

static fdit_net_id linear(const struct maker *m, fdit_net_id x, int n_out, int n_in, const char *name)
{
    const int layer = conv_layer(m, n_out, n_in, 1, name, "", NULL);
    return fdit_net_conv(m->net, x, &(struct fdit_net_conv){ .layer = layer });
}

/* y = conv(SiLU(norm(x))) + add */
static fdit_net_id norm_conv(const struct maker *m, fdit_net_id x, int norm, int layer, fdit_net_id add)
{
    return fdit_net_conv(m->net, x,
                         &(struct fdit_net_conv){ .layer = layer,
                                                  .border = fdit_net_border(1, 1),
                                                  .has_norm = true,
                                                  .norm = norm,
                                                  .act = FDIT_ACT_SILU,
                                                  .add = add });
}

/* h = conv1(SiLU(norm1(x)));  y = conv2(SiLU(norm2(h))) + shortcut(x) */
static fdit_net_id residual(const struct maker *m, fdit_net_id x, int n_out, int n_in, const char *prefix)
{
    const int norm1 = norm_layer(m, n_in, prefix, ".norm1");
    const int conv1 = conv_layer(m, n_out, n_in, 3, prefix, ".conv1", NULL);
    const int norm2 = norm_layer(m, n_out, prefix, ".norm2");
    const int conv2 = conv_layer(m, n_out, n_out, 3, prefix, ".conv2", NULL);
    const fdit_net_id h = norm_conv(m, x, norm1, conv1, 0);
    if (n_out != n_in) {
        const int shortcut = conv_layer(m, n_out, n_in, 1, prefix, ".conv_shortcut", NULL);
        x = fdit_net_conv(m->net, x, &(struct fdit_net_conv){ .layer = shortcut });
    }
    return norm_conv(m, h, norm2, conv2, x);
}

/* u = norm(x);  y = to_out(softmax(q k^T / sqrt(C)) v) + x;  q, k, v = to_q(u), to_k(u), to_v(u) */
static fdit_net_id attention(const struct maker *m, fdit_net_id x, int n, const char *prefix)
{
    static const char *const names[4][2] = {
        { "to_q", "query" }, { "to_k", "key" }, { "to_v", "value" }, { "to_out.0", "proj_attn" }
    };
    const int norm = norm_layer(m, n, prefix, "group_norm");
    int layers[4];
    fdit_net_id qkv[3];
    for (int i = 0; i < 4; i++)
        layers[i] = conv_layer(m, n, n, 1, prefix, names[i][0], names[i][1]);
    const fdit_net_id u = fdit_net_norm(m->net, x, norm, FDIT_ACT_NONE);
    for (int i = 0; i < 3; i++)
        qkv[i] = fdit_net_conv(m->net, u, &(struct fdit_net_conv){ .layer = layers[i] });
    const fdit_net_id heads = fdit_net_attend(m->net, qkv[0], qkv[1], qkv[2]);
    return fdit_net_conv(m->net, heads, &(struct fdit_net_conv){ .layer = layers[3], .add = x });
}

static fdit_net_id middle(const struct maker *m, fdit_net_id x, const char *way)
{
    const int n = m->c->channels[m->c->levels - 1];
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.0", way);
    x = residual(m, x, n, n, prefix);
    if (m->c->attention) {
        snprintf(prefix, sizeof prefix, "%s.mid_block.attentions.0.", way);
        x = attention(m, x, n, prefix);
    }
    snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.1", way);
    return residual(m, x, n, n, prefix);
}

static fdit_net_id end(const struct maker *m, fdit_net_id x, int n_out, int n_in, const char *way)
{
    const int norm = norm_layer(m, n_in, way, ".conv_norm_out");
    const int layer = conv_layer(m, n_out, n_in, 3, way, ".conv_out", NULL);
    return norm_conv(m, x, norm, layer, 0);
}

static void encoder(const struct maker *m)
{
    const struct fdit_vae_config *c = m->c;
    char prefix[64];
    int n = c->channels[0];
    fdit_net_id x = fdit_net_begin(m->net, "encoder", c->in_channels);
    x = conv(m, x, n, c->in_channels, "encoder", ".conv_in");
    for (int i = 0; i < c->levels; i++) {
        for (int j = 0; j < c->layers; j++) {
            snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.resnets.%d", i, j);
            x = residual(m, x, c->channels[i], n, prefix);
            n = c->channels[i];
        }
        if (i + 1 == c->levels)
            break;
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.downsamplers.0.", i);
        const int down = conv_layer(m, n, n, 3, prefix, "conv", NULL);
        x = fdit_net_conv(m->net, x,
                          &(struct fdit_net_conv){ .layer = down, .stride = 2, .border = { 0, 1, 0, 1 } });
    }
    x = middle(m, x, "encoder");
    x = end(m, x, 2 * c->latent_channels, n, "encoder");
    if (c->quant)
        x = linear(m, x, 2 * c->latent_channels, 2 * c->latent_channels, "quant_conv");
    fdit_net_end(m->net, x);
}

static void decoder(const struct maker *m)
{
    const struct fdit_vae_config *c = m->c;
    char prefix[64];
    int n = c->channels[c->levels - 1];
    fdit_net_id x = fdit_net_begin(m->net, "decoder", c->latent_channels);
    if (c->post_quant)
        x = linear(m, x, c->latent_channels, c->latent_channels, "post_quant_conv");
    x = conv(m, x, n, c->latent_channels, "decoder", ".conv_in");
    x = middle(m, x, "decoder");
    for (int i = 0; i < c->levels; i++) {
        const int n_out = c->channels[c->levels - 1 - i];
        for (int j = 0; j < c->layers + 1; j++) {
            snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.resnets.%d", i, j);
            x = residual(m, x, n_out, n, prefix);
            n = n_out;
        }
        if (i + 1 == c->levels)
            break;
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.upsamplers.0.", i);
        const int up = conv_layer(m, n, n, 3, prefix, "conv", NULL);
        x = fdit_net_conv(
            m->net, x,
            &(struct fdit_net_conv){ .layer = up, .upsample = true, .border = fdit_net_border(1, 1) });
    }
    fdit_net_end(m->net, end(m, x, c->out_channels, n, "decoder"));
}

enum fdit_status fdit_vae_describe(fdit_context *ctx, const struct fdit_vae_config *c, struct fdit_net **out)
{
    enum fdit_status status = FDIT_OK;
    struct maker m = { .c = c };
    *out = NULL;
    TRY(fdit_net_new(ctx, "autoencoder", &m.net));
    encoder(&m);
    decoder(&m);
    TRY(fdit_net_status(m.net));
    *out = m.net;
    m.net = NULL;
out:
    fdit_net_free(m.net);
    return status;
}
