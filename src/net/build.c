/* SPDX-License-Identifier: Apache-2.0
 * build.c: the list of layers and the passes. */
#include "net/net_internal.h"

#include "core/mem.h"

#include <stdio.h>

enum fdit_status fdit_net_new(fdit_context *ctx, const char *title, struct fdit_net **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net *net = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *net, &net));
    net->building = ctx;
    TRY(fdit_strdup(ctx, title, &net->title));
    TRY(fdit_grow(ctx, &net->pictures, &net->picture_capacity, 1, sizeof *net->pictures));
    net->n_pictures = 1; /* number 0 is none */
    net->most = 1;
    *out = net;
    net = NULL;
out:
    fdit_net_free(net);
    return status;
}

void fdit_net_free(struct fdit_net *net)
{
    if (!net)
        return;
    fdit_net_release(net);
    for (size_t i = 0; i < net->n_layers; i++) {
        fdit_free(net->layers[i].name);
        fdit_free(net->layers[i].alias);
    }
    fdit_free(net->layers);
    fdit_free(net->steps);
    fdit_free(net->pictures);
    fdit_free(net->passes);
    fdit_free(net->rooms);
    fdit_free(net->shapes);
    fdit_free(net->title);
    fdit_free(net);
}

enum fdit_status fdit_net_status(const struct fdit_net *net)
{
    return net->status;
}

/* ------------------------------------------------------------------ layers */

static int add_layer(struct fdit_net *net, struct fdit_net_layer layer, const char *name, const char *alias)
{
    fdit_context *ctx = net->building;
    enum fdit_status status = net->status;
    TRY(status);
    TRY(fdit_grow(ctx, &net->layers, &net->layer_capacity, net->n_layers + 1, sizeof *net->layers));
    net->layers[net->n_layers] = layer;
    struct fdit_net_layer *l = &net->layers[net->n_layers++];
    TRY(fdit_strdup(ctx, name, &l->name));
    if (alias)
        TRY(fdit_strdup(ctx, alias, &l->alias));
    if (l->n_out < 1 || l->n_in < 1 || l->kernel_y < 1 || l->kernel_x < 1 || l->groups < 1 ||
        l->n_out % l->groups || l->n_in % l->groups)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s: %s of %d from %d channels, kernel %d x %d, %d groups: sizes are at least 1, and groups "
             "divide the channels",
             net->title, name, l->n_out, l->n_in, l->kernel_y, l->kernel_x, l->groups);
    l->linear = l->kind == FDIT_NET_CONV && l->kernel_y == 1 && l->kernel_x == 1 && l->groups == 1;
    l->pass =
        net->n_passes && !net->passes[net->n_passes - 1].output ? (int)net->n_passes - 1 : (int)net->n_passes;
    if (l->kind == FDIT_NET_NORM) {
        l->weight_at = net->n_params;
        net->n_params += (size_t)l->n_out;
    }
    l->bias_at = net->n_params;
    net->n_params += (size_t)l->n_out;
out:
    net->status = status;
    return status == FDIT_OK ? (int)net->n_layers - 1 : -1;
}

int fdit_net_add_conv(struct fdit_net *net, int n_out, int n_in, int kernel, const char *name,
                      const char *alias)
{
    return add_layer(net,
                     (struct fdit_net_layer){ .kind = FDIT_NET_CONV,
                                              .n_in = n_in,
                                              .n_out = n_out,
                                              .kernel_y = kernel,
                                              .kernel_x = kernel,
                                              .groups = 1 },
                     name, alias);
}

int fdit_net_add_windows(struct fdit_net *net, int n_out, int n_in, int kernel_y, int kernel_x, int groups,
                         const char *name)
{
    return add_layer(net,
                     (struct fdit_net_layer){ .kind = FDIT_NET_CONV,
                                              .n_in = n_in,
                                              .n_out = n_out,
                                              .kernel_y = kernel_y,
                                              .kernel_x = kernel_x,
                                              .groups = groups },
                     name, NULL);
}

int fdit_net_add_norm(struct fdit_net *net, int channels, int groups, const char *name, const char *alias)
{
    return add_layer(net,
                     (struct fdit_net_layer){ .kind = FDIT_NET_NORM,
                                              .n_in = channels,
                                              .n_out = channels,
                                              .kernel_y = 1,
                                              .kernel_x = 1,
                                              .groups = groups },
                     name, alias);
}

size_t fdit_net_layers(const struct fdit_net *net)
{
    return net->n_layers;
}

const struct fdit_net_layer *fdit_net_layer(const struct fdit_net *net, size_t i)
{
    return &net->layers[i];
}

/* ------------------------------------------------------------------ passes and steps */

static fdit_net_id add_picture(struct fdit_net *net, int channels)
{
    if (net->status == FDIT_OK)
        net->status = fdit_grow(net->building, &net->pictures, &net->picture_capacity, net->n_pictures + 1,
                                sizeof *net->pictures);
    if (net->status != FDIT_OK)
        return 0;
    net->pictures[net->n_pictures] = (struct fdit_net_picture){ .channels = channels };
    return (fdit_net_id)net->n_pictures++;
}

fdit_net_id fdit_net_begin(struct fdit_net *net, const char *name, int channels)
{
    enum fdit_status status = net->status;
    struct fdit_net_pass *pass;
    TRY(status);
    if (net->n_passes && !net->passes[net->n_passes - 1].output)
        FAIL(net->building, FDIT_ERROR_ARGUMENT, "%s: pass %s begins before %s has ended", net->title, name,
             net->passes[net->n_passes - 1].name);
    TRY(fdit_grow(net->building, &net->passes, &net->pass_capacity, net->n_passes + 1, sizeof *net->passes));
    pass = &net->passes[net->n_passes++];
    *pass = (struct fdit_net_pass){ .first = net->n_steps, .end = net->n_steps };
    snprintf(pass->name, sizeof pass->name, "%s", name);
    pass->input = add_picture(net, channels);
    return pass->input;
out:
    net->status = status;
    return 0;
}

/* Pictures are of the pass that is being described, and layers, of the right kind and width. */
static bool is_open(const struct fdit_net *net, fdit_net_id x)
{
    const struct fdit_net_pass *pass = net->n_passes ? &net->passes[net->n_passes - 1] : NULL;
    return pass && !pass->output && x >= pass->input && (size_t)x < net->n_pictures;
}
static bool is_layer(const struct fdit_net *net, int i, enum fdit_net_kind kind, int n_in)
{
    return i >= 0 && (size_t)i < net->n_layers && net->layers[i].kind == kind &&
           net->layers[i].n_in == n_in && (size_t)net->layers[i].pass == net->n_passes - 1;
}

static fdit_net_id refuse(struct fdit_net *net, const char *step)
{
    if (net->status == FDIT_OK)
        net->status = fdit_fail(net->building, FDIT_ERROR_ARGUMENT,
                                "%s: step %zu, the %s, does not fit the pictures or layers that it is given",
                                net->title, net->n_steps, step);
    return 0;
}

void fdit_net_end(struct fdit_net *net, fdit_net_id y)
{
    if (net->status != FDIT_OK)
        return;
    if (!is_open(net, y)) {
        refuse(net, "output");
        return;
    }
    struct fdit_net_pass *pass = &net->passes[net->n_passes - 1];
    pass->end = net->n_steps;
    pass->output = y;
}

void fdit_net_keep(struct fdit_net *net, fdit_net_id x)
{
    if (net->status != FDIT_OK)
        return;
    if (!is_open(net, x))
        refuse(net, "kept picture");
    else
        net->pictures[x].kept = true;
}

/* Adds a step that gives, or gives part of, picture `out`. */
static fdit_net_id add_step_to(struct fdit_net *net, struct fdit_net_step step, fdit_net_id out)
{
    if (net->status == FDIT_OK)
        net->status =
            fdit_grow(net->building, &net->steps, &net->step_capacity, net->n_steps + 1, sizeof *net->steps);
    if (net->status != FDIT_OK)
        return 0;
    step.out = out;
    net->steps[net->n_steps++] = step;
    return out;
}

/* Adds a step that gives a picture of so many channels. */
static fdit_net_id add_step(struct fdit_net *net, struct fdit_net_step step, int channels)
{
    return add_step_to(net, step, add_picture(net, channels));
}

static bool fits_border(const struct fdit_net_layer *l, const struct fdit_net_border *b)
{
    return b->top >= 0 && b->bottom >= 0 && b->left >= 0 && b->right >= 0 && b->top < l->kernel_y &&
           b->bottom < l->kernel_y && b->left < l->kernel_x && b->right < l->kernel_x;
}

/* Whether a band of the normalised picture can be convolved by itself (run.c). */
static bool can_norm(const struct fdit_net *net, const struct fdit_net_conv *c,
                     const struct fdit_net_layer *l)
{
    const struct fdit_net_border *b = &c->border;
    return l->kernel_y == 3 && l->kernel_x == 3 && l->groups == 1 && c->stride <= 1 && !c->upsample &&
           b->top == 1 && b->bottom == 1 && b->left == 1 && b->right == 1 &&
           is_layer(net, c->norm, FDIT_NET_NORM, l->n_in);
}

fdit_net_id fdit_net_conv(struct fdit_net *net, fdit_net_id x, const struct fdit_net_conv *c)
{
    if (net->status != FDIT_OK)
        return 0;
    if (!is_open(net, x) || !is_layer(net, c->layer, FDIT_NET_CONV, net->pictures[x].channels))
        return refuse(net, "convolution");
    struct fdit_net_layer *l = &net->layers[c->layer];
    if (c->stride < 0 || !fits_border(l, &c->border) || (c->has_norm && !can_norm(net, c, l)) ||
        (!c->has_norm && c->act != FDIT_ACT_NONE) ||
        (c->add && (!is_open(net, c->add) || net->pictures[c->add].channels != l->n_out)))
        return refuse(net, "convolution");
    l->linear = l->linear && c->stride <= 1 && !c->upsample;
    return add_step(net,
                    (struct fdit_net_step){ .kind = FDIT_NET_STEP_CONV,
                                            .in = x,
                                            .more = { c->add },
                                            .layer = c->layer,
                                            .norm = c->has_norm ? c->norm : -1,
                                            .act = c->act,
                                            .then = c->then,
                                            .stride = c->stride ? c->stride : 1,
                                            .border = c->border,
                                            .upsample = c->upsample },
                    l->n_out);
}

fdit_net_id fdit_net_norm(struct fdit_net *net, fdit_net_id x, int norm, enum fdit_act act)
{
    if (net->status != FDIT_OK)
        return 0;
    if (!is_open(net, x) || !is_layer(net, norm, FDIT_NET_NORM, net->pictures[x].channels))
        return refuse(net, "norm");
    return add_step(
        net,
        (struct fdit_net_step){ .kind = FDIT_NET_STEP_NORM, .in = x, .layer = -1, .norm = norm, .act = act },
        net->pictures[x].channels);
}

fdit_net_id fdit_net_act(struct fdit_net *net, fdit_net_id x, enum fdit_act act)
{
    if (net->status != FDIT_OK)
        return 0;
    if (!is_open(net, x))
        return refuse(net, "activation");
    return add_step(
        net,
        (struct fdit_net_step){ .kind = FDIT_NET_STEP_ACT, .in = x, .layer = -1, .norm = -1, .act = act },
        net->pictures[x].channels);
}

fdit_net_id fdit_net_attend(struct fdit_net *net, fdit_net_id q, fdit_net_id k, fdit_net_id v)
{
    if (net->status != FDIT_OK)
        return 0;
    const int channels = is_open(net, q) ? net->pictures[q].channels : 0;
    if (!is_open(net, k) || !is_open(net, v) || net->pictures[k].channels != channels ||
        net->pictures[v].channels != channels)
        return refuse(net, "attention");
    return add_step(net,
                    (struct fdit_net_step){
                        .kind = FDIT_NET_STEP_ATTEND, .in = q, .more = { k, v }, .layer = -1, .norm = -1 },
                    channels);
}

fdit_net_id fdit_net_pool(struct fdit_net *net, fdit_net_id x, enum fdit_pooling_kind kind, int kernel,
                          int stride, int pad, int more)
{
    if (net->status != FDIT_OK)
        return 0;
    if (!is_open(net, x) || kernel < 1 || stride < 1 || pad < 0 || pad > kernel / 2 || more < 0 ||
        more >= kernel - pad)
        return refuse(net, "pooling");
    return add_step(net,
                    (struct fdit_net_step){ .kind = FDIT_NET_STEP_POOL,
                                            .in = x,
                                            .layer = -1,
                                            .norm = -1,
                                            .pooling = kind,
                                            .kernel = kernel,
                                            .stride = stride,
                                            .pad = pad,
                                            .border = { .bottom = more } },
                    net->pictures[x].channels);
}

fdit_net_id fdit_net_join(struct fdit_net *net, const fdit_net_id *x, int n)
{
    int channels = 0, first = 0;
    if (net->status != FDIT_OK)
        return 0;
    for (int i = 0; i < n; i++) {
        if (!is_open(net, x[i]))
            return refuse(net, "join");
        channels += net->pictures[x[i]].channels;
    }
    if (n < 1)
        return refuse(net, "join");
    const fdit_net_id out = add_picture(net, channels);
    for (int i = 0; i < n; i++) {
        add_step_to(net,
                    (struct fdit_net_step){
                        .kind = FDIT_NET_STEP_JOIN, .in = x[i], .layer = -1, .norm = -1, .first = first },
                    out);
        first += net->pictures[x[i]].channels;
    }
    return net->status == FDIT_OK ? out : 0;
}
