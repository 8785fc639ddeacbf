/* SPDX-License-Identifier: Apache-2.0
 * run.c: the steps on a device. The same code runs dry for the plan, so that what is planned is what is
 * used. */
#include "net/net_internal.h"

#include "core/mem.h"

#include <math.h>

/* ------------------------------------------------------------------ tensors and ops */

static struct fdit_tensor scratch(struct fdit_net_walk *w, enum fdit_net_scratch which, size_t n)
{
    struct fdit_net_room *room = &w->net->scratch[which];
    if (!w->dry)
        return fdit_tensor_of(room->buffer, FDIT_F32);
    room->floats = n > room->floats ? n : room->floats;
    return FDIT_NO_TENSOR;
}

/* From element n on; absent pictures, and all in a dry walk, stay absent. */
static struct fdit_tensor at(struct fdit_tensor t, size_t n)
{
    return fdit_has(t) ? fdit_at(t, n) : t;
}

static struct fdit_tensor tensor_of(const struct fdit_net_walk *w, fdit_net_id x)
{
    const struct fdit_net *net = w->net;
    return w->dry || !x ? FDIT_NO_TENSOR : fdit_tensor_of(net->rooms[net->pictures[x].room].buffer, FDIT_F32);
}

static struct fdit_tensor param(const struct fdit_net_walk *w, size_t n)
{
    return w->dry ? FDIT_NO_TENSOR : fdit_at(fdit_tensor_of(w->net->params, FDIT_F32), n);
}

static void remember(struct fdit_net_walk *w, struct fdit_op_shape shape, double flops)
{
    struct fdit_net *net = w->net;
    w->flops += flops;
    if (w->status == FDIT_OK)
        w->status =
            fdit_grow(w->ctx, &net->shapes, &net->shape_capacity, net->n_shapes + 1, sizeof *net->shapes);
    if (w->status == FDIT_OK)
        net->shapes[net->n_shapes++] = shape;
}

static struct fdit_op_shape shape_of(enum fdit_op op, int samples, int rows, int n_in, int n_out)
{
    return (struct fdit_op_shape){ .op = op,
                                   .samples = samples,
                                   .tokens = rows,
                                   .band = true,
                                   .n_in = n_in,
                                   .n_out = n_out,
                                   .n = (size_t)samples * (size_t)rows * (size_t)n_out };
}

static void conv(struct fdit_net_walk *w, const struct fdit_net_step *s, struct fdit_conv_args a)
{
    const struct fdit_net_layer *l = &w->net->layers[s->layer];
    a.n_in = l->n_in;
    a.n_out = l->n_out;
    a.kernel_y = l->kernel_y;
    a.kernel_x = l->kernel_x;
    a.groups = l->groups;
    a.stride_y = a.stride_x = s->stride;
    a.left = -s->border.left;
    a.upsample = s->upsample;
    a.act = s->then;
    a.weight = l->weight;
    a.bias = param(w, l->bias_at);
    if (!w->dry) {
        fdit_conv(w->net->dev, &a);
        return;
    }
    const int pixels = a.out_height * a.out_width, taps = l->kernel_y * l->kernel_x;
    struct fdit_op_shape shape = shape_of(FDIT_OP_CONV, a.samples, pixels, l->n_in, l->n_out);
    shape.taps = taps;
    shape.groups = l->groups;
    remember(w, shape, 2.0 * taps * pixels * a.samples * (l->n_in / l->groups) * l->n_out);
}

static void linear(struct fdit_net_walk *w, const struct fdit_net_step *s, int samples, int rows,
                   struct fdit_tensor y, struct fdit_tensor x, struct fdit_tensor residual)
{
    const struct fdit_net_layer *l = &w->net->layers[s->layer];
    if (!w->dry)
        fdit_linear(w->net->dev, &(struct fdit_linear_args){ .samples = samples,
                                                             .tokens = rows,
                                                             .band = true,
                                                             .n_in = l->n_in,
                                                             .n_out = l->n_out,
                                                             .y = y,
                                                             .x = x,
                                                             .weight = l->weight,
                                                             .bias = param(w, l->bias_at),
                                                             .act = s->then,
                                                             .residual = residual });
    else
        remember(w, shape_of(FDIT_OP_LINEAR, samples, rows, l->n_in, l->n_out),
                 2.0 * samples * rows * l->n_in * l->n_out);
}

/* Statistics of the groups of a norm over all rows of each picture of x. */
static void stats(struct fdit_net_walk *w, const struct fdit_net_layer *norm, int rows, struct fdit_tensor x)
{
    struct fdit_tensor to = scratch(w, FDIT_NET_STATS, 2 * (size_t)norm->groups * (size_t)w->n);
    if (!w->dry)
        fdit_group_stats(w->net->dev, &(struct fdit_group_stats_args){ .samples = w->n,
                                                                       .pixels = rows,
                                                                       .width = norm->n_out,
                                                                       .groups = norm->groups,
                                                                       .stats = to,
                                                                       .x = x });
    else
        remember(w, shape_of(FDIT_OP_GROUP_STATS, w->n, rows, 0, norm->n_out), 0);
}

/* y = act(norm(x)) of some rows of pictures first .. first + n - 1, with the statistics that are there. */
static void apply(struct fdit_net_walk *w, const struct fdit_net_layer *norm, int first, int n, int rows,
                  struct fdit_tensor y, struct fdit_tensor x, enum fdit_act act)
{
    const size_t each = 2 * (size_t)norm->groups;
    struct fdit_tensor from = at(scratch(w, FDIT_NET_STATS, each * (size_t)w->n), each * (size_t)first);
    if (!w->dry)
        fdit_group_apply(w->net->dev, &(struct fdit_group_apply_args){ .samples = n,
                                                                       .pixels = rows,
                                                                       .width = norm->n_out,
                                                                       .groups = norm->groups,
                                                                       .y = y,
                                                                       .x = x,
                                                                       .stats = from,
                                                                       .weight = param(w, norm->weight_at),
                                                                       .bias = param(w, norm->bias_at),
                                                                       .act = act });
    else
        remember(w, shape_of(FDIT_OP_GROUP_APPLY, n, rows, 0, norm->n_out), 0);
}

/* ------------------------------------------------------------------ bands */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Rows of a band of which `floats` are needed each and `more` at its borders. */
static int band_rows(const struct fdit_net_walk *w, int height, size_t floats, int more)
{
    size_t fit = w->net->band_floats / floats;
    int rows = fit > (size_t)height ? height + more : (int)fit;
    rows -= more;
    return rows < 1 ? 1 : least(rows, height);
}

/* y = conv(act(norm(x))) [+ add] of one picture, band after band of `step` rows. */
static void norm_conv_picture(struct fdit_net_walk *w, const struct fdit_net_step *s, int picture, int step)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in];
    const struct fdit_net_layer *l = &w->net->layers[s->layer], *norm = &w->net->layers[s->norm];
    const size_t in_row = (size_t)p->width * (size_t)l->n_in, out_row = (size_t)p->width * (size_t)l->n_out;
    const size_t before = (size_t)picture * (size_t)p->height;
    struct fdit_tensor x = at(tensor_of(w, s->in), before * in_row);
    struct fdit_tensor y = at(tensor_of(w, s->out), before * out_row);
    struct fdit_tensor add = at(tensor_of(w, s->more[0]), before * out_row);
    struct fdit_tensor band = scratch(w, FDIT_NET_BAND, (size_t)least(step + 2, p->height) * in_row);
    for (int row = 0; row < p->height; row += step) {
        int rows = least(step, p->height - row);
        int above = row ? row - 1 : 0, below = least(row + rows + 1, p->height);
        apply(w, norm, picture, 1, (below - above) * p->width, band, at(x, (size_t)above * in_row), s->act);
        conv(w, s,
             (struct fdit_conv_args){ .samples = 1,
                                      .height = below - above,
                                      .width = p->width,
                                      .out_height = rows,
                                      .out_width = p->width,
                                      .top = row - 1 - above,
                                      .y = at(y, (size_t)row * out_row),
                                      .x = band,
                                      .residual = at(add, (size_t)row * out_row) });
    }
}

static void norm_conv(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in];
    const struct fdit_net_layer *l = &w->net->layers[s->layer], *norm = &w->net->layers[s->norm];
    const int step = band_rows(w, p->height, (size_t)p->width * (size_t)l->n_in, 2);
    stats(w, norm, p->height * p->width, tensor_of(w, s->in));
    for (int i = 0; i < w->n; i++)
        norm_conv_picture(w, s, i, step);
}

/* x = linear(x), in place, of all pictures as one of as many rows: from the end where rows grow, so that none
 * is overwritten unread. */
static void linear_in_place(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in];
    const struct fdit_net_layer *l = &w->net->layers[s->layer];
    const size_t in_row = (size_t)p->width * (size_t)l->n_in, out_row = (size_t)p->width * (size_t)l->n_out;
    const int height = p->height * w->n, step = band_rows(w, height, out_row, 0);
    const int bands = (height + step - 1) / step;
    struct fdit_tensor x = tensor_of(w, s->in), band = scratch(w, FDIT_NET_BAND, (size_t)step * out_row);
    for (int i = 0; i < bands; i++) {
        int row = (l->n_out > l->n_in ? bands - 1 - i : i) * step, rows = least(step, height - row);
        linear(w, s, 1, rows * p->width, band, at(x, (size_t)row * in_row), FDIT_NO_TENSOR);
        if (!w->dry)
            fdit_copy(w->net->dev, fdit_at(x, (size_t)row * out_row), band, (size_t)rows * out_row);
    }
}

/* ------------------------------------------------------------------ steps */

static void take_conv(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in], *q = &w->net->pictures[s->out];
    struct fdit_tensor x = tensor_of(w, s->in), y = tensor_of(w, s->out), add = tensor_of(w, s->more[0]);
    if (s->norm >= 0)
        norm_conv(w, s);
    else if (s->in_place)
        linear_in_place(w, s);
    else if (w->net->layers[s->layer].linear)
        linear(w, s, w->n, p->height * p->width, y, x, add);
    else
        conv(w, s,
             (struct fdit_conv_args){ .samples = w->n,
                                      .height = p->height,
                                      .width = p->width,
                                      .out_height = q->height,
                                      .out_width = q->width,
                                      .top = -s->border.top,
                                      .y = y,
                                      .x = x,
                                      .residual = add });
}

static void take_norm(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in];
    const struct fdit_net_layer *norm = &w->net->layers[s->norm];
    const int rows = p->height * p->width;
    stats(w, norm, rows, tensor_of(w, s->in));
    apply(w, norm, 0, w->n, rows, tensor_of(w, s->out), tensor_of(w, s->in), s->act);
}

static void take_act(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const size_t n = fdit_net_floats(&w->net->pictures[s->in]) * (size_t)w->n;
    if (!w->dry)
        fdit_activation(w->net->dev,
                        &(struct fdit_activation_args){
                            .n = n, .act = s->act, .y = tensor_of(w, s->out), .x = tensor_of(w, s->in) });
    else
        remember(w, (struct fdit_op_shape){ .op = FDIT_OP_ACTIVATION, .samples = 1, .n = n }, 0);
}

/* Rows first .. first + rows - 1 of softmax(q k^T / sqrt(c)) v, over n pixels of a picture. */
static void attend_rows(struct fdit_net_walk *w, const struct fdit_net_step *s, struct fdit_tensor scores,
                        int n, int c, int picture, int first, int rows)
{
    fdit_device *dev = w->net->dev;
    const size_t before = (size_t)picture * (size_t)n * (size_t)c, from = before + (size_t)first * (size_t)c;
    if (w->dry) {
        struct fdit_op_shape shape = shape_of(FDIT_OP_LINEAR, 1, rows, c, n);
        shape.plain = true;
        remember(w, shape, 2.0 * rows * n * c);
        shape.op = FDIT_OP_LINEAR_DX;
        remember(w, shape, 2.0 * rows * n * c);
        remember(w, shape_of(FDIT_OP_SOFTMAX, 1, rows, 0, n), 0);
        return;
    }
    fdit_linear(dev, &(struct fdit_linear_args){ .samples = 1,
                                                 .tokens = rows,
                                                 .band = true,
                                                 .n_in = c,
                                                 .n_out = n,
                                                 .y = scores,
                                                 .x = at(tensor_of(w, s->in), from),
                                                 .matrix = at(tensor_of(w, s->more[0]), before) });
    fdit_softmax(dev,
                 &(struct fdit_softmax_args){
                     .m = rows, .n = n, .y = scores, .x = scores, .scale = (float)(1 / sqrt((double)c)) });
    fdit_linear_dx(dev, &(struct fdit_linear_dx_args){ .samples = 1,
                                                       .tokens = rows,
                                                       .band = true,
                                                       .n_in = c,
                                                       .n_out = n,
                                                       .dx = at(tensor_of(w, s->out), from),
                                                       .dy = scores,
                                                       .matrix = at(tensor_of(w, s->more[1]), before) });
}

static void take_attend(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in];
    const int n = p->height * p->width;
    const size_t fit = w->net->score_floats / (size_t)n;
    const int step = fit < 1 ? 1 : fit > (size_t)n ? n : (int)fit;
    struct fdit_tensor scores = scratch(w, FDIT_NET_SCORES, (size_t)step * (size_t)n);
    for (int i = 0; i < w->n; i++)
        for (int row = 0; row < n; row += step)
            attend_rows(w, s, scores, n, p->channels, i, row, least(step, n - row));
}

static void take_pool(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in], *q = &w->net->pictures[s->out];
    if (!w->dry)
        fdit_pooling(w->net->dev, &(struct fdit_pooling_args){ .samples = w->n,
                                                               .height = p->height,
                                                               .width = p->width,
                                                               .channels = p->channels,
                                                               .kernel = s->kernel,
                                                               .stride = s->stride,
                                                               .pad = s->pad,
                                                               .more = s->border.bottom,
                                                               .kind = s->pooling,
                                                               .y = tensor_of(w, s->out),
                                                               .x = tensor_of(w, s->in) });
    else
        remember(w, shape_of(FDIT_OP_POOLING, w->n, q->height * q->width, 0, q->channels), 0);
}

static void take_join(struct fdit_net_walk *w, const struct fdit_net_step *s)
{
    const struct fdit_net_picture *p = &w->net->pictures[s->in], *q = &w->net->pictures[s->out];
    const int pixels = p->height * p->width * w->n;
    if (!w->dry)
        fdit_copy_columns(w->net->dev, &(struct fdit_copy_columns_args){ .m = pixels,
                                                                         .n = p->channels,
                                                                         .width = q->channels,
                                                                         .first = s->first,
                                                                         .y = tensor_of(w, s->out),
                                                                         .x = tensor_of(w, s->in) });
    else
        remember(w, shape_of(FDIT_OP_COPY_COLUMNS, 1, pixels, p->channels, q->channels), 0);
}

enum fdit_status fdit_net_walk(struct fdit_net_walk *w, const struct fdit_net_pass *pass, size_t end)
{
    for (size_t i = pass->first; i < end && w->status == FDIT_OK; i++) {
        const struct fdit_net_step *s = &w->net->steps[i];
        if (!w->dry && fdit_stopped(w->ctx)) {
            /* Nothing may use the host's memory after this. */
            (void)fdit_device_sync(w->ctx, w->net->dev);
            return fdit_fail(w->ctx, FDIT_INTERRUPTED, "interrupted in the %s", w->net->title);
        }
        switch (s->kind) {
        case FDIT_NET_STEP_CONV: take_conv(w, s); break;
        case FDIT_NET_STEP_NORM: take_norm(w, s); break;
        case FDIT_NET_STEP_ACT: take_act(w, s); break;
        case FDIT_NET_STEP_ATTEND: take_attend(w, s); break;
        case FDIT_NET_STEP_POOL: take_pool(w, s); break;
        case FDIT_NET_STEP_JOIN: take_join(w, s); break;
        }
    }
    return w->status;
}

/* ------------------------------------------------------------------ a picture */

/* to [n, channels] = scale from + shift, from [channels, n]; and back. */
static void to_rows(const float *from, size_t channels, size_t n, struct fdit_net_range r, float *to)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            to[i * channels + c] = (float)(r.scale * from[c * n + i] + r.shift);
}

static void from_rows(const float *from, size_t channels, size_t n, float *to)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            to[c * n + i] = from[i * channels + c];
}

enum fdit_status fdit_net_run_batch(fdit_context *ctx, struct fdit_net *net, int pass,
                                    struct fdit_net_range range, int n, const float *in, float *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_net_pass *p = pass >= 0 && (size_t)pass < net->n_passes ? &net->passes[pass] : NULL;
    if (!p || !p->height || !net->loaded || n < 1 || n > net->batch)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: pass %d was not planned for %d at once, or has no weights",
             net->title, pass, n);
    const struct fdit_net_picture *x = &net->pictures[p->input], *y = &net->pictures[p->output];
    const size_t n_in = fdit_net_floats(x), n_out = fdit_net_floats(y);
    struct fdit_net_walk w = { .ctx = ctx, .net = net, .n = n };
    net->last = n;
    for (size_t i = 0; i < (size_t)n; i++)
        to_rows(in + i * n_in, (size_t)x->channels, n_in / (size_t)x->channels, range, net->host + i * n_in);
    fdit_write(net->dev, tensor_of(&w, p->input), net->host, n_in * (size_t)n);
    TRY(fdit_net_walk(&w, p, p->end));
    TRY(fdit_read(ctx, net->dev, tensor_of(&w, p->output), net->host, n_out * (size_t)n));
    for (size_t i = 0; i < (size_t)n; i++)
        from_rows(net->host + i * n_out, (size_t)y->channels, n_out / (size_t)y->channels, out + i * n_out);
out:
    return status;
}

enum fdit_status fdit_net_run(fdit_context *ctx, struct fdit_net *net, int pass, struct fdit_net_range range,
                              const float *in, float *out)
{
    return fdit_net_run_batch(ctx, net, pass, range, 1, in, out);
}

enum fdit_status fdit_net_read(fdit_context *ctx, struct fdit_net *net, fdit_net_id x, float *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net_walk w = { .ctx = ctx, .net = net };
    if (x < 1 || (size_t)x >= net->n_pictures || net->pictures[x].last != SIZE_MAX || !net->loaded)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: picture %d is not a result of a pass that was run", net->title,
             x);
    TRY(fdit_read(ctx, net->dev, tensor_of(&w, x), out,
                  fdit_net_floats(&net->pictures[x]) * (size_t)net->last));
out:
    return status;
}

void fdit_net_size(const struct fdit_net *net, fdit_net_id x, int *height, int *width, int *channels)
{
    *height = net->pictures[x].height;
    *width = net->pictures[x].width;
    *channels = net->pictures[x].channels;
}
