/* SPDX-License-Identifier: Apache-2.0
 * weights.c: from where they come to where the device wants them. */
#include "net/net_internal.h"

#include "core/mem.h"

#include <string.h>

size_t fdit_net_part_floats(const struct fdit_net_layer *l, enum fdit_net_part part)
{
    if (part == FDIT_NET_BIAS || l->kind == FDIT_NET_NORM)
        return (size_t)l->n_out;
    return (size_t)l->n_out * (size_t)(l->n_in / l->groups) * (size_t)(l->kernel_y * l->kernel_x);
}

struct fdit_weight_desc fdit_net_weight_desc(const struct fdit_net_layer *l)
{
    return (struct fdit_weight_desc){ .n_out = l->n_out,
                                      .n_in = l->kernel_y * l->kernel_x * (l->n_in / l->groups),
                                      .storage = FDIT_F32,
                                      .conv = !l->linear,
                                      .groups = l->groups };
}

/* Turns w from [n_out][n][taps] to [n_out][taps][n], n = n_in / groups; row has room for n taps. */
static void turn(const struct fdit_net_layer *l, float *w, float *row)
{
    const size_t n_in = (size_t)(l->n_in / l->groups), taps = (size_t)(l->kernel_y * l->kernel_x);
    for (size_t o = 0; o < (size_t)l->n_out; o++, w += taps * n_in) {
        memcpy(row, w, taps * n_in * sizeof *row);
        for (size_t c = 0; c < n_in; c++)
            for (size_t tap = 0; tap < taps; tap++)
                w[tap * n_in + c] = row[c * taps + tap];
    }
}

static bool is_wanted(const struct fdit_net *net, const struct fdit_net_layer *l)
{
    return net->passes[l->pass].height > 0;
}

enum fdit_status fdit_net_load(fdit_context *ctx, struct fdit_net *net, fdit_net_source source, void *user)
{
    enum fdit_status status = FDIT_OK;
    float *small = NULL, *raw = NULL, *row = NULL;
    size_t largest = 1, longest = 1;
    for (size_t i = 0; i < net->n_layers; i++) {
        size_t n = fdit_net_part_floats(&net->layers[i], FDIT_NET_WEIGHT);
        if (!is_wanted(net, &net->layers[i]))
            continue;
        largest = n > largest ? n : largest;
        n /= (size_t)net->layers[i].n_out;
        longest = n > longest ? n : longest;
    }
    net->loaded = false;
    TRY(fdit_alloc(ctx, net->n_params, sizeof *small, &small));
    TRY(fdit_alloc(ctx, largest, sizeof *raw, &raw));
    TRY(fdit_alloc(ctx, longest, sizeof *row, &row));
    for (size_t i = 0; i < net->n_layers; i++) {
        struct fdit_net_layer *l = &net->layers[i];
        if (!is_wanted(net, l))
            continue;
        TRY(source(ctx, user, l, i, FDIT_NET_BIAS, small + l->bias_at));
        if (l->kind == FDIT_NET_NORM) {
            TRY(source(ctx, user, l, i, FDIT_NET_WEIGHT, small + l->weight_at));
            continue;
        }
        struct fdit_weight_desc desc = fdit_net_weight_desc(l);
        TRY(source(ctx, user, l, i, FDIT_NET_WEIGHT, raw));
        if (l->kernel_y * l->kernel_x > 1)
            turn(l, raw, row);
        fdit_weight_free(l->weight);
        l->weight = NULL;
        TRY(fdit_weight_new(ctx, net->dev, &desc, raw, &l->weight));
    }
    if (net->n_params)
        fdit_write(net->dev, fdit_tensor_of(net->params, FDIT_F32), small, net->n_params);
    TRY(fdit_device_sync(ctx, net->dev));
    net->loaded = true;
out:
    fdit_free(small);
    fdit_free(raw);
    fdit_free(row);
    return status;
}
