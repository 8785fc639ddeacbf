/* SPDX-License-Identifier: Apache-2.0
 * network.c: the steps of an autoencoder on a device. The same code runs dry for the plan, so that
 * what is planned is what is used. Pictures are rows of channels: [height, width, channels]. */
#include "vae/vae_internal.h"

#include "core/mem.h"

#include <math.h>

/* ---------------------------------------------------------------------------- rooms and operations
 */

/* Room `which`, n floats of it. */
static struct fdit_tensor room(struct fdit_vae_run *r, enum fdit_vae_room which, size_t n)
{
    if (!r->dry)
        return fdit_tensor_of(r->vae->rooms[which], FDIT_F32);
    r->need[which] = n > r->need[which] ? n : r->need[which];
    return FDIT_NO_TENSOR;
}

static struct fdit_tensor param(const struct fdit_vae_run *r, size_t at)
{
    return r->dry ? FDIT_NO_TENSOR : fdit_at(fdit_tensor_of(r->vae->params, FDIT_F32), at);
}

static const struct fdit_vae_layer *layer_of(const struct fdit_vae_run *r, int i)
{
    return &r->vae->layers.list[i];
}

static void remember(struct fdit_vae_run *r, struct fdit_op_shape shape, double flops)
{
    struct fdit_vae *v = r->vae;
    r->flops += flops;
    if (r->status == FDIT_OK)
        r->status = fdit_grow(r->ctx, &v->shapes, &v->shape_capacity, v->n_shapes + 1, sizeof *v->shapes);
    if (r->status == FDIT_OK)
        v->shapes[v->n_shapes++] = shape;
}

static struct fdit_op_shape shape_of(enum fdit_op op, int rows, int n_in, int n_out)
{
    return (struct fdit_op_shape){
        .op = op, .samples = 1, .rows = rows, .n_in = n_in, .n_out = n_out, .n = (size_t)rows * (size_t)n_out
    };
}

static void conv(struct fdit_vae_run *r, int layer, struct fdit_conv_args a)
{
    const struct fdit_vae_layer *l = layer_of(r, layer);
    a.samples = 1;
    a.n_in = l->n_in;
    a.n_out = l->n_out;
    a.weight = l->weight;
    a.bias = param(r, l->bias_at);
    if (!r->dry) {
        fdit_conv(r->vae->dev, &a);
        return;
    }
    int pixels = a.out_height * fdit_conv_width(&a);
    remember(r, shape_of(FDIT_OP_CONV, pixels, l->n_in, l->n_out), 18.0 * pixels * l->n_in * l->n_out);
}

static void linear(struct fdit_vae_run *r, int layer, int rows, struct fdit_tensor y, struct fdit_tensor x,
                   struct fdit_tensor residual)
{
    const struct fdit_vae_layer *l = layer_of(r, layer);
    if (!r->dry)
        fdit_linear(r->vae->dev, &(struct fdit_linear_args){ .samples = 1,
                                                             .rows = rows,
                                                             .n_in = l->n_in,
                                                             .n_out = l->n_out,
                                                             .y = y,
                                                             .x = x,
                                                             .weight = l->weight,
                                                             .bias = param(r, l->bias_at),
                                                             .residual = residual });
    else
        remember(r, shape_of(FDIT_OP_LINEAR, rows, l->n_in, l->n_out), 2.0 * rows * l->n_in * l->n_out);
}

static void stats(struct fdit_vae_run *r, struct fdit_tensor x, int rows, int width)
{
    int groups = r->vae->config.groups;
    struct fdit_tensor to = room(r, FDIT_VAE_STATS, 2 * (size_t)groups);
    if (!r->dry)
        fdit_group_stats(
            r->vae->dev,
            &(struct fdit_group_stats_args){
                .samples = 1, .rows = rows, .width = width, .groups = groups, .stats = to, .x = x });
    else
        remember(r, shape_of(FDIT_OP_GROUP_STATS, rows, 0, width), 0);
}

static void apply(struct fdit_vae_run *r, int norm, int rows, struct fdit_tensor y, struct fdit_tensor x,
                  enum fdit_act act)
{
    const struct fdit_vae_layer *l = layer_of(r, norm);
    int groups = r->vae->config.groups;
    struct fdit_tensor from = room(r, FDIT_VAE_STATS, 2 * (size_t)groups);
    if (!r->dry)
        fdit_group_apply(r->vae->dev, &(struct fdit_group_apply_args){ .samples = 1,
                                                                       .rows = rows,
                                                                       .width = l->n_out,
                                                                       .groups = groups,
                                                                       .y = y,
                                                                       .x = x,
                                                                       .stats = from,
                                                                       .weight = param(r, l->weight_at),
                                                                       .bias = param(r, l->bias_at),
                                                                       .act = act });
    else
        remember(r, shape_of(FDIT_OP_GROUP_APPLY, rows, 0, l->n_out), 0);
}

static struct fdit_tensor at(const struct fdit_vae_run *r, struct fdit_tensor t, size_t n)
{
    return r->dry ? t : fdit_at(t, n);
}

/* ------------------------------------------------------------------------------------------- bands
 */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Rows of a band of which `floats` are needed each and `more` at its borders. */
static int band_rows(const struct fdit_vae_run *r, size_t floats, int more)
{
    size_t fit = r->vae->band_floats / floats;
    int rows = fit > (size_t)r->height ? r->height + more : (int)fit;
    rows -= more;
    return rows < 1 ? 1 : least(rows, r->height);
}

/* y = conv(SiLU(norm(x))) [+ residual], band after band; the statistics are there. */
static void norm_conv(struct fdit_vae_run *r, int norm, int layer, struct fdit_tensor y, struct fdit_tensor x,
                      struct fdit_tensor residual)
{
    const struct fdit_vae_layer *l = layer_of(r, layer);
    size_t in_row = (size_t)r->width * (size_t)l->n_in, out_row = (size_t)r->width * (size_t)l->n_out;
    int step = band_rows(r, in_row, 2);
    struct fdit_tensor band = room(r, FDIT_VAE_BAND, (size_t)least(step + 2, r->height) * in_row);
    for (int row = 0; row < r->height; row += step) {
        int rows = least(step, r->height - row);
        int above = row ? row - 1 : 0, below = least(row + rows + 1, r->height);
        apply(r, norm, (below - above) * r->width, band, at(r, x, (size_t)above * in_row), FDIT_ACT_SILU);
        conv(r, layer,
             (struct fdit_conv_args){
                 .height = below - above,
                 .width = r->width,
                 .out_height = rows,
                 .first = row - 1 - above,
                 .stride = 1,
                 .y = at(r, y, (size_t)row * out_row),
                 .x = band,
                 .residual = r->dry || !fdit_has(residual) ? FDIT_NO_TENSOR
                                                           : fdit_at(residual, (size_t)row * out_row),
             });
    }
}

/* x = shortcut(x), in place: from the end where rows grow, so that none is overwritten unread. */
static void shortcut(struct fdit_vae_run *r, int layer, struct fdit_tensor x)
{
    const struct fdit_vae_layer *l = layer_of(r, layer);
    size_t in_row = (size_t)r->width * (size_t)l->n_in, out_row = (size_t)r->width * (size_t)l->n_out;
    int step = band_rows(r, out_row, 0), bands = (r->height + step - 1) / step;
    struct fdit_tensor band = room(r, FDIT_VAE_BAND, (size_t)step * out_row);
    for (int i = 0; i < bands; i++) {
        int row = (l->n_out > l->n_in ? bands - 1 - i : i) * step, rows = least(step, r->height - row);
        linear(r, layer, rows * r->width, band, at(r, x, (size_t)row * in_row), FDIT_NO_TENSOR);
        if (!r->dry)
            fdit_copy(r->vae->dev, fdit_at(x, (size_t)row * out_row), band, (size_t)rows * out_row);
    }
}

/* ------------------------------------------------------------------------------------------- steps
 */

static size_t floats(const struct fdit_vae_run *r, int channels)
{
    return (size_t)r->height * (size_t)r->width * (size_t)channels;
}

static enum fdit_vae_room other(enum fdit_vae_room room)
{
    return room == FDIT_VAE_A ? FDIT_VAE_B : FDIT_VAE_A;
}

/* A convolution of the whole picture into the other room. */
static void whole(struct fdit_vae_run *r, int layer, int stride, bool upsample)
{
    const struct fdit_vae_layer *l = layer_of(r, layer);
    struct fdit_tensor x = room(r, r->at, floats(r, r->channels));
    int height = r->height, width = r->width;
    r->height = upsample ? 2 * height : height / stride;
    r->width = upsample ? 2 * width : width / stride;
    r->channels = l->n_out;
    r->at = other(r->at);
    conv(r, layer,
         (struct fdit_conv_args){ .height = height,
                                  .width = width,
                                  .out_height = r->height,
                                  .first = stride == 1 ? -1 : 0,
                                  .stride = stride,
                                  .upsample = upsample,
                                  .y = room(r, r->at, floats(r, r->channels)),
                                  .x = x });
}

static void residual(struct fdit_vae_run *r, const struct fdit_vae_residual *s)
{
    int pixels = r->height * r->width, n_out = layer_of(r, s->conv1)->n_out;
    int most = n_out > r->channels ? n_out : r->channels;
    struct fdit_tensor x = room(r, r->at, floats(r, most)), h = room(r, other(r->at), floats(r, n_out));
    stats(r, x, pixels, r->channels);
    norm_conv(r, s->norm1, s->conv1, h, x, FDIT_NO_TENSOR);
    stats(r, h, pixels, n_out);
    if (s->shortcut >= 0)
        shortcut(r, s->shortcut, x);
    norm_conv(r, s->norm2, s->conv2, x, h, x);
    r->channels = n_out;
}

/* x += out(softmax(q k^T / sqrt(C)) v): one head over all pixels, a few rows of scores at a time.
 */
static void attention(struct fdit_vae_run *r, const struct fdit_vae_attention *s)
{
    fdit_device *dev = r->vae->dev;
    int n = r->height * r->width, c = r->channels;
    size_t all = floats(r, c), fit = r->vae->score_floats / (size_t)n;
    int step = fit < 1 ? 1 : fit > (size_t)n ? n : (int)fit;
    struct fdit_tensor x = room(r, r->at, all), u = room(r, other(r->at), all);
    struct fdit_tensor q = room(r, FDIT_VAE_QKV, 3 * all), k = at(r, q, all), v = at(r, q, 2 * all);
    struct fdit_tensor scores = room(r, FDIT_VAE_SCORES, (size_t)step * (size_t)n);
    stats(r, x, n, c);
    apply(r, s->norm, n, u, x, FDIT_ACT_NONE);
    linear(r, s->q, n, q, u, FDIT_NO_TENSOR);
    linear(r, s->k, n, k, u, FDIT_NO_TENSOR);
    linear(r, s->v, n, v, u, FDIT_NO_TENSOR);
    for (int row = 0; row < n; row += step) {
        int rows = least(step, n - row);
        size_t from = (size_t)row * (size_t)c;
        if (r->dry) {
            struct fdit_op_shape shape = shape_of(FDIT_OP_LINEAR, rows, c, n);
            shape.plain = true;
            remember(r, shape, 2.0 * rows * n * c);
            shape.op = FDIT_OP_LINEAR_DX;
            remember(r, shape, 2.0 * rows * n * c);
            remember(r, shape_of(FDIT_OP_SOFTMAX, rows, 0, n), 0);
            continue;
        }
        fdit_linear(dev, &(struct fdit_linear_args){ .samples = 1,
                                                     .rows = rows,
                                                     .n_in = c,
                                                     .n_out = n,
                                                     .y = scores,
                                                     .x = fdit_at(q, from),
                                                     .matrix = k });
        fdit_softmax(
            dev, &(struct fdit_softmax_args){
                     .m = rows, .n = n, .y = scores, .x = scores, .scale = (float)(1 / sqrt((double)c)) });
        fdit_linear_dx(dev, &(struct fdit_linear_dx_args){ .samples = 1,
                                                           .rows = rows,
                                                           .n_in = c,
                                                           .n_out = n,
                                                           .dx = fdit_at(u, from),
                                                           .dy = scores,
                                                           .matrix = v });
    }
    linear(r, s->out, n, x, u, x);
}

static void take(struct fdit_vae_run *r, const struct fdit_vae_step *s)
{
    struct fdit_tensor x;
    switch (s->kind) {
    case FDIT_VAE_STEP_CONV: whole(r, s->layer, 1, false); break;
    case FDIT_VAE_STEP_DOWN: whole(r, s->layer, 2, false); break;
    case FDIT_VAE_STEP_UP: whole(r, s->layer, 1, true); break;
    case FDIT_VAE_STEP_RESIDUAL: residual(r, &s->residual); break;
    case FDIT_VAE_STEP_ATTENTION: attention(r, &s->attention); break;
    case FDIT_VAE_STEP_LINEAR:
        x = room(r, r->at, floats(r, r->channels));
        r->at = other(r->at);
        r->channels = layer_of(r, s->layer)->n_out;
        linear(r, s->layer, r->height * r->width, room(r, r->at, floats(r, r->channels)), x, FDIT_NO_TENSOR);
        break;
    case FDIT_VAE_STEP_END:
        x = room(r, r->at, floats(r, r->channels));
        stats(r, x, r->height * r->width, r->channels);
        r->at = other(r->at);
        r->channels = layer_of(r, s->layer)->n_out;
        norm_conv(r, s->residual.norm1, s->layer, room(r, r->at, floats(r, r->channels)), x, FDIT_NO_TENSOR);
        break;
    }
}

enum fdit_status fdit_vae_walk(struct fdit_vae_run *r, int way)
{
    const struct fdit_vae_way *w = &r->vae->layers.ways[way];
    for (size_t i = 0; i < w->n && r->status == FDIT_OK; i++) {
        if (!r->dry && fdit_stopped(r->ctx)) {
            /* Nothing may use the host's memory after this. */
            (void)fdit_device_sync(r->ctx, r->vae->dev);
            return fdit_fail(r->ctx, FDIT_INTERRUPTED, "interrupted in the autoencoder");
        }
        take(r, &w->list[i]);
    }
    return r->status;
}
