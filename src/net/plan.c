/* SPDX-License-Identifier: Apache-2.0
 * plan.c: sizes of the pictures of a pass, which buffer each lies in, and the plan. */
#include "net/net_internal.h"

#include "core/mem.h"

#include <string.h>

/* Aims of bands and of rows of scores: what stays in a processor's last-level cache; on a GPU enough rows to
 * keep it busy. */
enum { BAND_BYTES = 8 << 20, BAND_BYTES_GPU = 64 << 20 };
/* Pictures of a side above this are not planned: their pixels are counted in int. */
enum { MOST_SIDE = 1 << 14 };

void fdit_net_release(struct fdit_net *net)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        fdit_weight_free(net->layers[i].weight);
        net->layers[i].weight = NULL;
    }
    for (size_t i = 0; i < net->n_rooms; i++)
        fdit_buffer_free(net->rooms[i].buffer);
    for (int i = 0; i < FDIT_NET_SCRATCH; i++) {
        fdit_buffer_free(net->scratch[i].buffer);
        net->scratch[i] = (struct fdit_net_room){ 0 };
    }
    net->n_rooms = 0;
    fdit_buffer_free(net->params);
    net->params = NULL;
    fdit_plan_fini(&net->plan);
    fdit_free(net->host);
    net->host = NULL;
    net->allocated = net->loaded = false;
}

void fdit_net_want(struct fdit_net *net, int pass, int height, int width)
{
    net->passes[pass].height = height;
    net->passes[pass].width = width;
}

void fdit_net_want_batch(struct fdit_net *net, int most)
{
    net->most = most;
}

int fdit_net_batch(const struct fdit_net *net)
{
    return net->batch;
}

/* ------------------------------------------------------------------ sizes */

static int windows(int size, const struct fdit_net_step *s, int border, int kernel)
{
    const int room = size * (s->upsample ? 2 : 1) + border - kernel;
    return room < 0 ? 0 : room / s->stride + 1;
}

/* Height and width of what the step gives. */
static void size_after(const struct fdit_net *net, const struct fdit_net_step *s,
                       const struct fdit_net_picture *in, struct fdit_net_picture *out)
{
    const struct fdit_pooling_args pooling = {
        .kernel = s->kernel, .stride = s->stride, .pad = s->pad, .more = s->border.bottom
    };
    out->height = in->height;
    out->width = in->width;
    if (s->kind == FDIT_NET_STEP_POOL) {
        out->height = fdit_pooling_size(&pooling, in->height);
        out->width = fdit_pooling_size(&pooling, in->width);
    } else if (s->kind == FDIT_NET_STEP_CONV) {
        const struct fdit_net_layer *l = &net->layers[s->layer];
        out->height = windows(in->height, s, s->border.top + s->border.bottom, l->kernel_y);
        out->width = windows(in->width, s, s->border.left + s->border.right, l->kernel_x);
    }
}

/* Sizes of what each step gives, and who reads each picture last. */
static enum fdit_status measure(fdit_context *ctx, struct fdit_net *net, const struct fdit_net_pass *pass)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net_picture *const p = net->pictures;
    p[pass->input].height = pass->height;
    p[pass->input].width = pass->width;
    p[pass->input].last = pass->first;
    for (size_t i = pass->first; i < pass->end; i++) {
        const struct fdit_net_step *s = &net->steps[i];
        struct fdit_net_picture *in = &p[s->in], *out = &p[s->out];
        if (s->kind == FDIT_NET_STEP_JOIN && s->first &&
            (in->height != out->height || in->width != out->width))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: step %zu of %s puts pictures of two sizes together",
                 net->title, i - pass->first, pass->name);
        size_after(net, s, in, out);
        out->last = i;
        if (out->height < 1 || out->width < 1 || out->height > MOST_SIDE || out->width > MOST_SIDE)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "%s: pictures of %d x %d become %d x %d in step "
                 "%zu of %s; they must have 1 to %d pixels a side",
                 net->title, pass->height, pass->width, out->height, out->width, i - pass->first, pass->name,
                 MOST_SIDE);
        in->last = i;
        for (int k = 0; k < 2; k++)
            if (s->more[k]) {
                const struct fdit_net_picture *like = s->kind == FDIT_NET_STEP_CONV ? out : in;
                if (p[s->more[k]].height != like->height || p[s->more[k]].width != like->width)
                    FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: step %zu of %s puts pictures of two sizes together",
                         net->title, i - pass->first, pass->name);
                p[s->more[k]].last = i;
            }
    }
    p[pass->output].last = SIZE_MAX;
    for (size_t i = pass->first; i < pass->end; i++)
        if (p[net->steps[i].out].kept)
            p[net->steps[i].out].last = SIZE_MAX;
out:
    return status;
}

/* ------------------------------------------------------------------ rooms */

/* Whether a room holds a picture of the pass that is still read in step i or later. Numbers of pictures rise
 * with the steps that make them. */
static bool is_taken(const struct fdit_net *net, const struct fdit_net_pass *pass, int room, size_t i,
                     fdit_net_id before)
{
    for (fdit_net_id x = pass->input; x < before; x++)
        if (net->pictures[x].room == room && net->pictures[x].last >= i)
            return true;
    return false;
}

/* The free room that grows least by n floats, the first of several; -1: none. */
static int free_room(const struct fdit_net *net, const struct fdit_net_pass *pass, size_t i, fdit_net_id x,
                     size_t n)
{
    int best = -1;
    size_t least = SIZE_MAX;
    for (size_t r = 0; r < net->n_rooms; r++) {
        const size_t grows = n > net->rooms[r].floats ? n - net->rooms[r].floats : 0;
        if (grows < least && !is_taken(net, pass, (int)r, i, x)) {
            best = (int)r;
            least = grows;
        }
    }
    return best;
}

static enum fdit_status new_room(fdit_context *ctx, struct fdit_net *net, int *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_grow(ctx, &net->rooms, &net->room_capacity, net->n_rooms + 1, sizeof *net->rooms));
    *out = (int)net->n_rooms;
    net->rooms[net->n_rooms++] = (struct fdit_net_room){ 0 };
out:
    return status;
}

/* What a room must hold: a picture for each of the batch. */
static size_t room_floats(const struct fdit_net *net, const struct fdit_net_picture *p)
{
    return fdit_net_floats(p) * (size_t)net->batch;
}

/* Where step i puts its picture: where what it adds lies, or what it takes, when nobody reads that later and
 * the step can work in place; a 1 x 1 convolution does so only to save memory. Else a room that is free. */
static enum fdit_status place(fdit_context *ctx, struct fdit_net *net, const struct fdit_net_pass *pass,
                              size_t i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net_step *s = &net->steps[i];
    const struct fdit_net_picture *p = net->pictures;
    const bool dies = p[s->in].last == i && s->in != pass->output, conv = s->kind == FDIT_NET_STEP_CONV;
    const bool pointwise = s->kind == FDIT_NET_STEP_NORM || s->kind == FDIT_NET_STEP_ACT;
    const size_t n = room_floats(net, &p[s->out]);
    const fdit_net_id add = conv ? s->more[0] : 0;
    int room = add && p[add].last == i && add != s->in ? p[add].room : dies && pointwise ? p[s->in].room : -1;
    s->in_place = false;
    if (room < 0) {
        room = free_room(net, pass, i, s->out, n);
        bool grows = room < 0 || net->rooms[room].floats < n;
        if (conv && net->layers[s->layer].linear && dies && !add && grows) {
            s->in_place = true;
            room = p[s->in].room;
        }
    }
    if (room < 0)
        TRY(new_room(ctx, net, &room));
    net->pictures[s->out].room = room;
    net->rooms[room].floats = n > net->rooms[room].floats ? n : net->rooms[room].floats;
out:
    return status;
}

/* Two rooms serve a chain of convolutions; more are made where a pass needs them. */
static enum fdit_status place_all(fdit_context *ctx, struct fdit_net *net, const struct fdit_net_pass *pass)
{
    enum fdit_status status = FDIT_OK;
    int room;
    while (net->n_rooms < 2)
        TRY(new_room(ctx, net, &room));
    const size_t n = room_floats(net, &net->pictures[pass->input]);
    room = free_room(net, pass, pass->first, pass->input, n);
    net->pictures[pass->input].room = room;
    net->rooms[room].floats = n > net->rooms[room].floats ? n : net->rooms[room].floats;
    for (size_t i = pass->first; i < pass->end; i++)
        if (net->steps[i].kind != FDIT_NET_STEP_JOIN || !net->steps[i].first)
            TRY(place(ctx, net, pass, i));
out:
    return status;
}

/* ------------------------------------------------------------------ the plan */

/* What all wanted passes need with the present aims. */
static enum fdit_status dry_runs(fdit_context *ctx, struct fdit_net *net)
{
    enum fdit_status status = FDIT_OK;
    net->n_shapes = net->n_rooms = net->host_floats = 0;
    memset(net->scratch, 0, sizeof net->scratch);
    for (size_t i = 0; i < net->n_passes; i++) {
        struct fdit_net_pass *pass = &net->passes[i];
        if (!pass->height)
            continue;
        struct fdit_net_walk w = { .ctx = ctx, .net = net, .n = net->batch, .dry = true };
        TRY(measure(ctx, net, pass));
        TRY(place_all(ctx, net, pass));
        TRY(fdit_net_walk(&w, pass, pass->end));
        pass->flops = w.flops / net->batch;
        const size_t in = room_floats(net, &net->pictures[pass->input]);
        const size_t out = room_floats(net, &net->pictures[pass->output]);
        net->host_floats = in > net->host_floats ? in : net->host_floats;
        net->host_floats = out > net->host_floats ? out : net->host_floats;
    }
out:
    return status;
}

static enum fdit_status fill_plan(fdit_context *ctx, struct fdit_net *net)
{
    enum fdit_status status = FDIT_OK;
    static const char *const labels[FDIT_NET_SCRATCH] = { "bands", "attention scores",
                                                          "statistics of norms" };
    struct fdit_plan *plan = &net->plan;
    size_t weights = 0;
    fdit_plan_fini(plan);
    for (size_t i = 0; i < net->n_layers; i++) {
        struct fdit_weight_desc desc = fdit_net_weight_desc(&net->layers[i]);
        if (net->layers[i].kind == FDIT_NET_CONV && net->passes[net->layers[i].pass].height)
            weights += fdit_weight_bytes(net->dev, &desc);
    }
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WEIGHTS, NULL, weights, "%s: weights", net->title));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WEIGHTS, &net->params, net->n_params * sizeof(float),
                      "%s: norms and biases", net->title));
    for (size_t i = 0; i < net->n_rooms; i++)
        TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_SCRATCH, &net->rooms[i].buffer,
                          net->rooms[i].floats * sizeof(float), "%s: pictures %zu", net->title, i + 1));
    for (int i = 0; i < FDIT_NET_SCRATCH; i++)
        TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_SCRATCH, &net->scratch[i].buffer,
                          net->scratch[i].floats * sizeof(float), "%s: %s", net->title, labels[i]));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_WORKSPACE, NULL,
                      fdit_device_workspace(net->dev, net->shapes, net->n_shapes), "%s: workspace",
                      net->title));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, net->host_floats * sizeof(float), "%s: transfer",
                      net->title));
out:
    return status;
}

enum fdit_status fdit_net_plan(fdit_context *ctx, struct fdit_net *net, fdit_device *dev, size_t memory)
{
    enum fdit_status status = net->status;
    TRY(status);
    for (size_t i = 0; i < net->n_passes; i++)
        if (!net->passes[i].output)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: pass %s has no end", net->title, net->passes[i].name);
    fdit_net_release(net);
    net->dev = dev;
    net->batch = net->most;
    net->band_floats = (fdit_device_info(dev)->is_gpu ? BAND_BYTES_GPU : BAND_BYTES) / sizeof(float);
    net->score_floats = net->band_floats;
    for (;;) {
        TRY(dry_runs(ctx, net));
        TRY(fill_plan(ctx, net));
        if (!memory || fdit_plan_device_bytes(&net->plan) <= memory || net->band_floats < 1024)
            break;
        if (net->batch > 1) {
            net->batch /= 2;
            continue;
        }
        net->band_floats /= 2;
        net->score_floats /= 2;
    }
out:
    return status;
}

const struct fdit_plan *fdit_net_plan_of(const struct fdit_net *net)
{
    return &net->plan;
}

double fdit_net_flops(const struct fdit_net *net, int pass)
{
    return net->passes[pass].height ? net->passes[pass].flops : 0;
}

enum fdit_status fdit_net_allocate(fdit_context *ctx, struct fdit_net *net)
{
    enum fdit_status status = FDIT_OK;
    if (net->allocated)
        return FDIT_OK;
    TRY(fdit_plan_allocate(ctx, &net->plan, net->dev));
    TRY(fdit_alloc(ctx, net->host_floats, sizeof *net->host, &net->host));
    TRY(fdit_device_reserve(ctx, net->dev, fdit_device_workspace(net->dev, net->shapes, net->n_shapes)));
    net->allocated = true;
out:
    return status;
}
