/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/inception.h"

#include "core/fnv.h"
#include "core/mem.h"
#include "eval/net_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ the blocks */

/* A convolution of a block: its names in the two kinds of files, its window, and whose picture it sees. */
enum { INPUT = -1, POOLED = -2 };
struct row {
    const char *name, *script;
    int kernel_y, kernel_x, stride, border_y, border_x;
    int from; /* a row, INPUT, or POOLED */
    bool out; /* its picture is a part of the block's */
};
enum pool { MEAN_BESIDE, MAX_BESIDE, MAX_OF_INPUT }; /* the last is itself a part of the block's picture */
struct block {
    const char *name, *script;
    const struct row *rows;
    enum pool pool;
};

static const struct row rows_a[] = { { "branch1x1", "conv", 1, 1, 1, 0, 0, INPUT, true },
                                     { "branch5x5_1", "tower.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch5x5_2", "tower.conv_1", 5, 5, 1, 2, 2, 1, true },
                                     { "branch3x3dbl_1", "tower_1.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch3x3dbl_2", "tower_1.conv_1", 3, 3, 1, 1, 1, 3, false },
                                     { "branch3x3dbl_3", "tower_1.conv_2", 3, 3, 1, 1, 1, 4, true },
                                     { "branch_pool", "tower_2.conv", 1, 1, 1, 0, 0, POOLED, true },
                                     { 0 } };
static const struct row rows_b[] = { { "branch3x3", "conv", 3, 3, 2, 0, 0, INPUT, true },
                                     { "branch3x3dbl_1", "tower.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch3x3dbl_2", "tower.conv_1", 3, 3, 1, 1, 1, 1, false },
                                     { "branch3x3dbl_3", "tower.conv_2", 3, 3, 2, 0, 0, 2, true },
                                     { 0 } };
static const struct row rows_c[] = { { "branch1x1", "conv", 1, 1, 1, 0, 0, INPUT, true },
                                     { "branch7x7_1", "tower.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch7x7_2", "tower.conv_1", 1, 7, 1, 0, 3, 1, false },
                                     { "branch7x7_3", "tower.conv_2", 7, 1, 1, 3, 0, 2, true },
                                     { "branch7x7dbl_1", "tower_1.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch7x7dbl_2", "tower_1.conv_1", 7, 1, 1, 3, 0, 4, false },
                                     { "branch7x7dbl_3", "tower_1.conv_2", 1, 7, 1, 0, 3, 5, false },
                                     { "branch7x7dbl_4", "tower_1.conv_3", 7, 1, 1, 3, 0, 6, false },
                                     { "branch7x7dbl_5", "tower_1.conv_4", 1, 7, 1, 0, 3, 7, true },
                                     { "branch_pool", "tower_2.conv", 1, 1, 1, 0, 0, POOLED, true },
                                     { 0 } };
static const struct row rows_d[] = { { "branch3x3_1", "tower.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch3x3_2", "tower.conv_1", 3, 3, 2, 0, 0, 0, true },
                                     { "branch7x7x3_1", "tower_1.conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch7x7x3_2", "tower_1.conv_1", 1, 7, 1, 0, 3, 2, false },
                                     { "branch7x7x3_3", "tower_1.conv_2", 7, 1, 1, 3, 0, 3, false },
                                     { "branch7x7x3_4", "tower_1.conv_3", 3, 3, 2, 0, 0, 4, true },
                                     { 0 } };
static const struct row rows_e[] = { { "branch1x1", "conv", 1, 1, 1, 0, 0, INPUT, true },
                                     { "branch3x3_1", "tower_conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch3x3_2a", "tower_mixed_conv", 1, 3, 1, 0, 1, 1, true },
                                     { "branch3x3_2b", "tower_mixed_conv_1", 3, 1, 1, 1, 0, 1, true },
                                     { "branch3x3dbl_1", "tower_1_conv", 1, 1, 1, 0, 0, INPUT, false },
                                     { "branch3x3dbl_2", "tower_1_conv_1", 3, 3, 1, 1, 1, 4, false },
                                     { "branch3x3dbl_3a", "tower_1_mixed_conv", 1, 3, 1, 0, 1, 5, true },
                                     { "branch3x3dbl_3b", "tower_1_mixed_conv_1", 3, 1, 1, 1, 0, 5, true },
                                     { "branch_pool", "tower_2_conv", 1, 1, 1, 0, 0, POOLED, true },
                                     { 0 } };
static const struct block blocks[] = {
    { "Mixed_5b", "layers.mixed", rows_a, MEAN_BESIDE },
    { "Mixed_5c", "layers.mixed_1", rows_a, MEAN_BESIDE },
    { "Mixed_5d", "layers.mixed_2", rows_a, MEAN_BESIDE },
    { "Mixed_6a", "layers.mixed_3", rows_b, MAX_OF_INPUT },
    { "Mixed_6b", "layers.mixed_4", rows_c, MEAN_BESIDE },
    { "Mixed_6c", "layers.mixed_5", rows_c, MEAN_BESIDE },
    { "Mixed_6d", "layers.mixed_6", rows_c, MEAN_BESIDE },
    { "Mixed_6e", "layers.mixed_7", rows_c, MEAN_BESIDE },
    { "Mixed_7a", "layers.mixed_8", rows_d, MAX_OF_INPUT },
    { "Mixed_7b", "layers.mixed_9", rows_e, MEAN_BESIDE },
    { "Mixed_7c", "layers.mixed_10", rows_e, MAX_BESIDE },
};
/* Before the blocks; a maximum of 3 x 3, stride 2, after the third and the fifth. */
static const struct row stem[] = {
    { "Conv2d_1a_3x3", "layers.conv", 3, 3, 2, 0, 0, INPUT, true },
    { "Conv2d_2a_3x3", "layers.conv_1", 3, 3, 1, 0, 0, INPUT, true },
    { "Conv2d_2b_3x3", "layers.conv_2", 3, 3, 1, 1, 1, INPUT, true },
    { "Conv2d_3b_1x1", "layers.conv_3", 1, 1, 1, 0, 0, INPUT, true },
    { "Conv2d_4a_3x3", "layers.conv_4", 3, 3, 1, 0, 0, INPUT, true },
};

/* ------------------------------------------------------------------ the network */

/* The last blocks have 64 pixels a picture: with fewer pictures, reading their weights takes the time; with
 * more, the first blocks' pictures leave the cache. */
enum { MOST_AT_ONCE = 8 };

struct fdit_inception {
    fdit_device *dev;
    struct fdit_net_file file;
    bool script; /* names and tensors of the TorchScript file */
    struct fdit_net *net;
    fdit_net_id spatial, pooled, logits;
    float *map; /* of kept pictures, [batch, 17, 17, channels] */
    float *row; /* the output of a pass, [batch, classes] */
    uint64_t hash;
};

/* How the parts of a layer end, in the two kinds of files. */
enum part { WEIGHT, BETA, MEAN, VARIANCE, GAMMA };
static const char *const ends[2][5] = {
    { ".conv.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var", ".bn.weight" },
    { ".weight", ".beta", ".mean", ".var", NULL /* all 1 */ },
};

struct maker {
    fdit_context *ctx;
    struct fdit_inception *self;
    enum fdit_status status;
    int channels; /* of the picture that the last step gave */
};

/* One convolution with its ReLU; the number of its channels is the tensor's. */
static fdit_net_id add_row(struct maker *m, fdit_net_id x, int n_in, const char *block, const struct row *r)
{
    enum fdit_status status = m->status;
    const struct fdit_inception *self = m->self;
    const struct fdit_st_tensor *t;
    const int64_t shape[4] = { -1, n_in, r->kernel_y, r->kernel_x };
    const bool script = self->script;
    char name[128];
    fdit_net_id y = 0;
    TRY(status);
    snprintf(name, sizeof name, "%s%s%s", block, *block ? "." : "", script ? r->script : r->name);
    TRY(fdit_net_file_need(m->ctx, &self->file, name, ends[script][WEIGHT], 4, shape, &t));
    for (enum part p = BETA; p <= GAMMA; p++) {
        const struct fdit_st_tensor *other;
        if (ends[script][p])
            TRY(fdit_net_file_need(m->ctx, &self->file, name, ends[script][p], 1, t->shape, &other));
    }
    if (t->shape[0] < 1 || t->shape[0] > 1 << 14)
        FAIL(m->ctx, FDIT_ERROR_FORMAT, "%s: %s has %lld channels", fdit_net_file_path(&self->file), t->name,
             (long long)t->shape[0]);
    m->channels = (int)t->shape[0];
    const int layer = fdit_net_add_windows(self->net, m->channels, n_in, r->kernel_y, r->kernel_x, 1, name);
    y = fdit_net_conv(self->net, x,
                      &(struct fdit_net_conv){ .layer = layer,
                                               .stride = r->stride,
                                               .border = fdit_net_border(r->border_y, r->border_x),
                                               .then = FDIT_ACT_RELU });
out:
    m->status = status;
    return y;
}

static fdit_net_id add_block(struct maker *m, fdit_net_id x, const struct block *b)
{
    enum { MOST_ROWS = 16 };
    struct fdit_inception *self = m->self;
    const int n_in = m->channels;
    fdit_net_id y[MOST_ROWS], parts[MOST_ROWS], pooled = 0;
    int channels[MOST_ROWS], n_parts = 0, all = 0;
    if (b->pool != MAX_OF_INPUT)
        pooled = fdit_net_pool(self->net, x, b->pool == MEAN_BESIDE ? FDIT_POOLING_MEAN : FDIT_POOLING_MAX, 3,
                               1, 1, 0);
    for (int i = 0; b->rows[i].name; i++) {
        const struct row *r = &b->rows[i];
        const fdit_net_id from = r->from == INPUT ? x : r->from == POOLED ? pooled : y[r->from];
        y[i] =
            add_row(m, from, r->from < 0 ? n_in : channels[r->from], self->script ? b->script : b->name, r);
        if (m->status != FDIT_OK)
            return 0;
        channels[i] = m->channels;
        if (r->out) {
            parts[n_parts++] = y[i];
            all += channels[i];
        }
    }
    if (b->pool == MAX_OF_INPUT) {
        parts[n_parts++] = fdit_net_pool(self->net, x, FDIT_POOLING_MAX, 3, 2, 0, 0);
        all += n_in;
    }
    if (!strcmp(b->name, "Mixed_6d")) {
        self->spatial = parts[0];
        fdit_net_keep(self->net, parts[0]);
    }
    m->channels = all;
    return fdit_net_join(self->net, parts, n_parts);
}

static enum fdit_status describe(fdit_context *ctx, struct fdit_inception *self, int batch)
{
    enum fdit_status status = FDIT_OK;
    struct maker m = { .ctx = ctx, .self = self, .channels = 3 };
    const struct fdit_st_tensor *t;
    const char *head = self->script ? "output" : "fc";
    int height, width, channels;
    TRY(fdit_net_new(ctx, "Inception", &self->net));
    fdit_net_id x = fdit_net_begin(self->net, "features", 3);
    for (size_t i = 0; i < sizeof stem / sizeof *stem; i++) {
        x = add_row(&m, x, m.channels, "", &stem[i]);
        TRY(m.status);
        if (i == 2 || i == 4)
            x = fdit_net_pool(self->net, x, FDIT_POOLING_MAX, 3, 2, 0, 0);
    }
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        x = add_block(&m, x, &blocks[i]);
        TRY(m.status);
    }
    self->pooled = x = fdit_net_pool(self->net, x, FDIT_POOLING_MEAN, 8, 1, 0, 0);
    fdit_net_keep(self->net, x);
    TRY(fdit_net_file_need(ctx, &self->file, head, ".weight", 2, (int64_t[]){ -1, m.channels }, &t));
    if (t->shape[0] < 1 || t->shape[0] > 1 << 14)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s has %lld classes", fdit_net_file_path(&self->file), t->name,
             (long long)t->shape[0]);
    const int layer = fdit_net_add_conv(self->net, (int)t->shape[0], m.channels, 1, head, NULL);
    self->logits = fdit_net_conv(self->net, x, &(struct fdit_net_conv){ .layer = layer });
    fdit_net_end(self->net, self->logits);
    TRY(fdit_net_status(self->net));
    fdit_net_want(self->net, 0, FDIT_INCEPTION_SIZE, FDIT_INCEPTION_SIZE);
    fdit_net_want_batch(self->net, batch < MOST_AT_ONCE ? batch : MOST_AT_ONCE);
    fdit_net_size(self->net, self->spatial, &height, &width, &channels);
    if (channels < FDIT_INCEPTION_SPATIAL)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: Mixed_6d.branch1x1 has %d channels, and sFID takes %d of them",
             fdit_net_file_path(&self->file), channels, FDIT_INCEPTION_SPATIAL);
out:
    return status;
}

/* ------------------------------------------------------------------ its weights */

/* y = gamma (x - mean) / sqrt(var + 0.001) + beta, as a factor of each channel and a bias. */
static enum fdit_status read_fold(fdit_context *ctx, const struct fdit_inception *self,
                                  const struct fdit_net_layer *l, double *factor, float *bias)
{
    enum fdit_status status = FDIT_OK;
    const size_t n = (size_t)l->n_out;
    float *parts = NULL;
    TRY(fdit_alloc(ctx, 5 * n, sizeof *parts, &parts));
    for (size_t c = 0; c < n; c++)
        parts[GAMMA * n + c] = 1;
    for (enum part p = BETA; p <= GAMMA; p++)
        if (ends[self->script][p])
            TRY(fdit_net_file_read(ctx, &self->file, l->name, ends[self->script][p], n,
                                   parts + (size_t)p * n));
    for (size_t c = 0; c < n; c++) {
        const double variance = (double)parts[VARIANCE * n + c] + 1e-3;
        if (!(variance > 0))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the variance of channel %zu of %s is negative",
                 fdit_net_file_path(&self->file), c, l->name);
        factor[c] = (double)parts[GAMMA * n + c] / sqrt(variance);
        bias[c] = (float)((double)parts[BETA * n + c] - (double)parts[MEAN * n + c] * factor[c]);
    }
out:
    fdit_free(parts);
    return status;
}

static enum fdit_status read_layer(fdit_context *ctx, void *user, const struct fdit_net_layer *l, size_t i,
                                   enum fdit_net_part part, float *to)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_inception *self = user;
    const size_t n_out = (size_t)l->n_out, n = fdit_net_part_floats(l, FDIT_NET_WEIGHT), each = n / n_out;
    double *factor = NULL;
    float *bias = NULL;
    if (i + 1 == fdit_net_layers(self->net)) { /* the classes: their bias is left out */
        if (part == FDIT_NET_BIAS)
            memset(to, 0, n_out * sizeof *to);
        else
            TRY(fdit_net_file_read(ctx, &self->file, l->name, ".weight", n, to));
        goto out;
    }
    TRY(fdit_alloc(ctx, n_out, sizeof *factor, &factor));
    TRY(fdit_alloc(ctx, n_out, sizeof *bias, &bias));
    TRY(read_fold(ctx, self, l, factor, bias));
    if (part == FDIT_NET_BIAS) {
        memcpy(to, bias, n_out * sizeof *to);
        goto out;
    }
    TRY(fdit_net_file_read(ctx, &self->file, l->name, ends[self->script][WEIGHT], n, to));
    for (size_t k = 0; k < n; k++)
        to[k] = (float)((double)to[k] * factor[k / each]);
out:
    if (status == FDIT_OK)
        self->hash = fdit_fnv(self->hash, to, fdit_net_part_floats(l, part) * sizeof *to);
    fdit_free(factor);
    fdit_free(bias);
    return status;
}

/* ------------------------------------------------------------------ opening and running */

static enum fdit_status open_file(fdit_context *ctx, const char *path, struct fdit_inception *self)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_net_file_open(ctx, path, "FID's Inception", &self->file));
    if (fdit_net_file_find(&self->file, "Conv2d_1a_3x3.conv.weight"))
        goto out;
    self->script = true;
    if (!fdit_net_file_find(&self->file, "layers.conv.weight"))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: not the Inception of FID: it has neither Conv2d_1a_3x3.conv.weight (pytorch-fid's "
             "pt_inception-2015-12-05.pth, torch-fidelity's weights-inception-2015-12-05.pth) nor "
             "layers.conv.weight (clean-fid's inception-2015-12-05.pt)",
             fdit_net_file_path(&self->file));
out:
    return status;
}

enum fdit_status fdit_inception_prepare(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                        size_t memory, struct fdit_inception **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_inception *self = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *self, &self));
    self->hash = FDIT_FNV_START;
    self->dev = dev;
    TRY(open_file(ctx, path, self));
    TRY(describe(ctx, self, batch));
    TRY(fdit_net_plan(ctx, self->net, dev, memory ? memory : fdit_device_info(dev)->memory));
    *out = self;
    self = NULL;
out:
    fdit_inception_close(self);
    return status;
}

/* Floats of a batch of its pictures: those of Mixed_6d's, and of the logits. */
static void batch_floats(const struct fdit_inception *self, size_t *map, size_t *row)
{
    const size_t batch = (size_t)fdit_net_batch(self->net);
    int height, width, channels;
    fdit_net_size(self->net, self->spatial, &height, &width, &channels);
    *map = batch * (size_t)height * (size_t)width * (size_t)channels;
    *row = batch * fdit_inception_classes(self);
}

enum fdit_status fdit_inception_load(fdit_context *ctx, struct fdit_inception *self)
{
    enum fdit_status status = FDIT_OK;
    size_t map, row;
    TRY(fdit_plan_check(ctx, fdit_net_plan_of(self->net), self->dev, fdit_device_info(self->dev)->memory,
                        "take a device with more memory"));
    TRY(fdit_net_allocate(ctx, self->net));
    TRY(fdit_net_load(ctx, self->net, read_layer, self));
    batch_floats(self, &map, &row);
    TRY(fdit_alloc(ctx, map, sizeof(float), &self->map));
    TRY(fdit_alloc(ctx, row, sizeof(float), &self->row));
    fdit_net_file_close(&self->file);
out:
    return status;
}

enum fdit_status fdit_inception_open(fdit_context *ctx, fdit_device *dev, const char *path, int batch,
                                     struct fdit_inception **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_inception *self = NULL;
    *out = NULL;
    TRY(fdit_inception_prepare(ctx, dev, path, batch, 0, &self));
    TRY(fdit_inception_load(ctx, self));
    *out = self;
    self = NULL;
out:
    fdit_inception_close(self);
    return status;
}

enum fdit_status fdit_inception_plan(fdit_context *ctx, const struct fdit_inception *self,
                                     struct fdit_plan *plan)
{
    enum fdit_status status = FDIT_OK;
    size_t map, row;
    batch_floats(self, &map, &row);
    TRY(fdit_plan_join(ctx, plan, fdit_net_plan_of(self->net), ""));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, (map + row) * sizeof(float), "Inception: a batch"));
out:
    return status;
}

void fdit_inception_close(struct fdit_inception *self)
{
    if (!self)
        return;
    fdit_net_file_close(&self->file);
    fdit_net_free(self->net);
    fdit_free(self->map);
    fdit_free(self->row);
    fdit_free(self);
}

/* Channels of a picture of one pixel. */
static size_t channels_of(const struct fdit_inception *self, fdit_net_id x)
{
    int height, width, channels;
    fdit_net_size(self->net, x, &height, &width, &channels);
    return (size_t)channels;
}

size_t fdit_inception_width(const struct fdit_inception *self)
{
    return channels_of(self, self->pooled);
}

size_t fdit_inception_classes(const struct fdit_inception *self)
{
    return channels_of(self, self->logits);
}

uint64_t fdit_inception_hash(const struct fdit_inception *self)
{
    return self->hash;
}

size_t fdit_inception_spatial(const struct fdit_inception *self)
{
    int height, width, channels;
    fdit_net_size(self->net, self->spatial, &height, &width, &channels);
    return (size_t)height * (size_t)width * FDIT_INCEPTION_SPATIAL;
}

/* Of the n pictures of the last run. */
static enum fdit_status read_spatial(fdit_context *ctx, struct fdit_inception *self, size_t n, float *to)
{
    enum fdit_status status = FDIT_OK;
    const size_t all = n * fdit_inception_spatial(self), channels = channels_of(self, self->spatial);
    TRY(fdit_net_read(ctx, self->net, self->spatial, self->map));
    for (size_t i = 0; i < all; i++)
        to[i] = self->map[i / FDIT_INCEPTION_SPATIAL * channels + i % FDIT_INCEPTION_SPATIAL];
out:
    return status;
}

enum fdit_status fdit_inception_run(fdit_context *ctx, struct fdit_inception *self, const float *x, size_t n,
                                    float *features, float *logits, float *spatial)
{
    enum fdit_status status = FDIT_OK;
    const size_t picture = 3 * (size_t)FDIT_INCEPTION_SIZE * FDIT_INCEPTION_SIZE;
    const size_t width = fdit_inception_width(self), classes = fdit_inception_classes(self);
    const size_t batch = (size_t)fdit_net_batch(self->net);
    for (size_t i = 0; i < n; i += batch) {
        const size_t some = n - i < batch ? n - i : batch;
        TRY(fdit_net_run_batch(ctx, self->net, 0, FDIT_NET_AS_IS, (int)some, x + i * picture,
                               logits ? logits + i * classes : self->row));
        if (features)
            TRY(fdit_net_read(ctx, self->net, self->pooled, features + i * width));
        if (spatial)
            TRY(read_spatial(ctx, self, some, spatial + i * fdit_inception_spatial(self)));
    }
out:
    return status;
}
