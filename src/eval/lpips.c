/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/lpips.h"

#include "core/mem.h"
#include "eval/net_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TAPS = 5 };

/* A convolution with its ReLU: its number among torchvision's layers, its window; whether a maximum comes
 * before it, and whether its picture is a tap. */
struct row {
    int number, kernel, stride, border;
    bool pool, tap;
};
static const struct row alex[] = { { 0, 11, 4, 2, false, true }, { 3, 5, 1, 2, true, true },
                                   { 6, 3, 1, 1, true, true },   { 8, 3, 1, 1, false, true },
                                   { 10, 3, 1, 1, false, true }, { 0 } };
static const struct row vgg[] = { { 0, 3, 1, 1, false, false },  { 2, 3, 1, 1, false, true },
                                  { 5, 3, 1, 1, true, false },   { 7, 3, 1, 1, false, true },
                                  { 10, 3, 1, 1, true, false },  { 12, 3, 1, 1, false, false },
                                  { 14, 3, 1, 1, false, true },  { 17, 3, 1, 1, true, false },
                                  { 19, 3, 1, 1, false, false }, { 21, 3, 1, 1, false, true },
                                  { 24, 3, 1, 1, true, false },  { 26, 3, 1, 1, false, false },
                                  { 28, 3, 1, 1, false, true },  { 0 } };

struct fdit_lpips {
    fdit_device *dev;
    struct fdit_net_file file;
    const char *name;
    struct fdit_net *net;
    int size;
    fdit_net_id taps[TAPS];
    float *heads[TAPS];     /* [channels] */
    size_t first[TAPS + 1]; /* places of the taps in the features */
    int channels[TAPS];
    float *input, *last; /* a picture as the network sees it; the output of a pass */
};

/* ------------------------------------------------------------------ the network */

/* torchvision's name, or that within LPIPS's own module: convolutions up to tap K are its slice K. */
static void layer_name(const struct fdit_lpips *self, int number, int tap, char out[64])
{
    char weight[64];
    snprintf(weight, sizeof weight, "features.%d.weight", number);
    if (fdit_net_file_tensor(&self->file, weight))
        snprintf(out, 64, "features.%d", number);
    else
        snprintf(out, 64, "net.slice%d.%d", tap + 1, number);
}

static enum fdit_status add_row(fdit_context *ctx, struct fdit_lpips *self, const struct row *r, int tap,
                                int *channels, fdit_net_id *x)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t, *bias;
    const int64_t shape[4] = { -1, *channels, r->kernel, r->kernel };
    const bool is_alex = self->name[0] == 'a';
    char name[64];
    layer_name(self, r->number, tap, name);
    TRY(fdit_net_file_need(ctx, &self->file, name, ".weight", 4, shape, &t));
    TRY(fdit_net_file_need(ctx, &self->file, name, ".bias", 1, t->shape, &bias));
    if (t->shape[0] < 1 || t->shape[0] > 1 << 14)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s has %lld channels", fdit_net_file_path(&self->file), t->name,
             (long long)t->shape[0]);
    if (r->pool)
        *x = fdit_net_pool(self->net, *x, FDIT_POOLING_MAX, is_alex ? 3 : 2, 2, 0, 0);
    const int layer = fdit_net_add_conv(self->net, (int)t->shape[0], *channels, r->kernel, name, NULL);
    *x = fdit_net_conv(self->net, *x,
                       &(struct fdit_net_conv){ .layer = layer,
                                                .stride = r->stride,
                                                .border = fdit_net_border(r->border, r->border),
                                                .then = FDIT_ACT_RELU });
    *channels = (int)t->shape[0];
out:
    return status;
}

static enum fdit_status describe(fdit_context *ctx, struct fdit_lpips *self)
{
    enum fdit_status status = FDIT_OK;
    const struct row *rows = self->name[0] == 'a' ? alex : vgg;
    int channels = 3, tap = 0;
    TRY(fdit_net_new(ctx, "LPIPS", &self->net));
    fdit_net_id x = fdit_net_begin(self->net, "features", 3);
    for (const struct row *r = rows; r->kernel; r++) {
        TRY(add_row(ctx, self, r, tap, &channels, &x));
        if (!r->tap)
            continue;
        fdit_net_keep(self->net, x);
        self->channels[tap] = channels;
        self->taps[tap++] = x;
    }
    fdit_net_end(self->net, x);
    TRY(fdit_net_status(self->net));
    fdit_net_want(self->net, 0, self->size, self->size);
out:
    return status;
}

static enum fdit_status read_layer(fdit_context *ctx, void *user, const struct fdit_net_layer *l, size_t i,
                                   enum fdit_net_part part, float *to)
{
    const struct fdit_lpips *self = user;
    (void)i;
    return fdit_net_file_read(ctx, &self->file, l->name, part == FDIT_NET_BIAS ? ".bias" : ".weight",
                              fdit_net_part_floats(l, part), to);
}

/* ------------------------------------------------------------------ opening */

/* Which network the file has. */
static enum fdit_status find_kind(fdit_context *ctx, struct fdit_lpips *self)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net_file *f = &self->file;
    const struct fdit_st_tensor *t = NULL;
    if (fdit_net_file_find(f, "features.0.weight"))
        t = fdit_net_file_tensor(f, "features.0.weight");
    else if (fdit_net_file_find(f, "net.slice1.0.weight"))
        t = fdit_net_file_tensor(f, "net.slice1.0.weight");
    if (t && t->rank == 4 && t->shape[1] == 3 && t->shape[2] == 11)
        self->name = "alex";
    else if (t && t->rank == 4 && t->shape[1] == 3 && t->shape[2] == 3 &&
             (fdit_net_file_tensor(f, "features.28.weight") ||
              fdit_net_file_tensor(f, "net.slice5.28.weight")))
        self->name = "vgg";
    else
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: not a network of LPIPS: give torchvision's AlexNet (alexnet-owt-*.pth) or VGG16 "
             "(vgg16-*.pth), with features.0.weight of 11 x 11 or 3 x 3, or a file of LPIPS().state_dict()",
             fdit_net_file_path(f));
out:
    return status;
}

static enum fdit_status read_heads(fdit_context *ctx, struct fdit_lpips *self, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_net_file own = { 0 };
    const struct fdit_net_file *f = &self->file;
    const struct fdit_st_tensor *t;
    char name[32];
    if (path) {
        TRY(fdit_net_file_open(ctx, path, "LPIPS's heads", &own));
        f = &own;
    }
    if (!fdit_net_file_tensor(f, "lin0.model.1.weight"))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the heads of LPIPS (lin0.model.1.weight, ...) are not there; give the file of the lpips "
             "package (weights/v0.1/%s.pth) beside the network, with a comma between",
             fdit_net_file_path(f), self->name);
    for (int k = 0; k < TAPS; k++) {
        const size_t n = (size_t)self->channels[k];
        snprintf(name, sizeof name, "lin%d.model.1", k);
        TRY(fdit_net_file_need(ctx, f, name, ".weight", 4, (int64_t[]){ 1, (int64_t)n, 1, 1 }, &t));
        TRY(fdit_alloc(ctx, n, sizeof(float), &self->heads[k]));
        TRY(fdit_net_file_read(ctx, f, name, ".weight", n, self->heads[k]));
    }
out:
    fdit_net_file_close(&own);
    return status;
}

/* What the poolings leave something of. */
static enum fdit_status check_size(fdit_context *ctx, const struct fdit_lpips *self)
{
    enum fdit_status status = FDIT_OK;
    const bool is_alex = !strcmp(self->name, "alex");
    const int least = is_alex ? 31 : 16;
    if (self->size < least)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--lpips: pictures of %d pixels are too small for %s, which takes %d and more; %s", self->size,
             fdit_net_file_path(&self->file), least,
             is_alex ? "give VGG16, which takes 16 and more, or leave --lpips out" : "leave --lpips out");
out:
    return status;
}

enum fdit_status fdit_lpips_prepare(fdit_context *ctx, fdit_device *dev, const char *path, const char *heads,
                                    int size, size_t memory, struct fdit_lpips **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_lpips *self = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *self, &self));
    self->size = size;
    self->dev = dev;
    TRY(fdit_net_file_open(ctx, path, "LPIPS's network", &self->file));
    TRY(find_kind(ctx, self));
    TRY(check_size(ctx, self));
    TRY(describe(ctx, self));
    TRY(read_heads(ctx, self, heads));
    TRY(fdit_net_plan(ctx, self->net, dev, memory));
    for (int k = 0; k < TAPS; k++) {
        int height, width, channels;
        fdit_net_size(self->net, self->taps[k], &height, &width, &channels);
        self->first[k + 1] = self->first[k] + (size_t)height * (size_t)width * (size_t)channels;
    }
    *out = self;
    self = NULL;
out:
    fdit_lpips_close(self);
    return status;
}

static size_t input_floats(const struct fdit_lpips *self)
{
    return 3 * (size_t)self->size * (size_t)self->size;
}

static size_t last_floats(const struct fdit_lpips *self)
{
    return self->first[TAPS] - self->first[TAPS - 1];
}

enum fdit_status fdit_lpips_plan(fdit_context *ctx, const struct fdit_lpips *self, struct fdit_plan *plan)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_plan_join(ctx, plan, fdit_net_plan_of(self->net), ""));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL,
                      (input_floats(self) + last_floats(self)) * sizeof(float), "LPIPS: a picture"));
out:
    return status;
}

enum fdit_status fdit_lpips_load(fdit_context *ctx, struct fdit_lpips *self)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_plan_check(ctx, fdit_net_plan_of(self->net), self->dev, fdit_device_info(self->dev)->memory,
                        "take a device with more memory"));
    TRY(fdit_net_allocate(ctx, self->net));
    TRY(fdit_net_load(ctx, self->net, read_layer, self));
    TRY(fdit_alloc(ctx, input_floats(self), sizeof(float), &self->input));
    TRY(fdit_alloc(ctx, last_floats(self), sizeof(float), &self->last));
    fdit_net_file_close(&self->file);
out:
    return status;
}

enum fdit_status fdit_lpips_open(fdit_context *ctx, fdit_device *dev, const char *path, const char *heads,
                                 int size, struct fdit_lpips **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_lpips *self = NULL;
    *out = NULL;
    TRY(fdit_lpips_prepare(ctx, dev, path, heads, size, 0, &self));
    TRY(fdit_lpips_load(ctx, self));
    *out = self;
    self = NULL;
out:
    fdit_lpips_close(self);
    return status;
}

void fdit_lpips_close(struct fdit_lpips *self)
{
    if (!self)
        return;
    fdit_net_file_close(&self->file);
    fdit_net_free(self->net);
    for (int k = 0; k < TAPS; k++)
        fdit_free(self->heads[k]);
    fdit_free(self->input);
    fdit_free(self->last);
    fdit_free(self);
}

const char *fdit_lpips_name(const struct fdit_lpips *self)
{
    return self->name;
}

int fdit_lpips_size(const struct fdit_lpips *self)
{
    return self->size;
}

size_t fdit_lpips_width(const struct fdit_lpips *self)
{
    return self->first[TAPS];
}

/* ------------------------------------------------------------------ features and distances */

/* Every pixel's channels over their length. */
static void normalise(float *x, size_t pixels, size_t channels)
{
    for (size_t p = 0; p < pixels; p++, x += channels) {
        double squares = 0;
        for (size_t c = 0; c < channels; c++)
            squares += (double)x[c] * (double)x[c];
        const double length = sqrt(squares) + 1e-10;
        for (size_t c = 0; c < channels; c++)
            x[c] = (float)((double)x[c] / length);
    }
}

enum fdit_status fdit_lpips_run(fdit_context *ctx, struct fdit_lpips *self, const float *x, float *features)
{
    static const double shift[3] = { -.030, -.088, -.188 }, scale[3] = { .458, .448, .450 };
    enum fdit_status status = FDIT_OK;
    const size_t plane = (size_t)self->size * (size_t)self->size;
    for (size_t i = 0; i < 3 * plane; i++)
        self->input[i] = (float)(((double)x[i] - shift[i / plane]) / scale[i / plane]);
    TRY(fdit_net_run(ctx, self->net, 0, FDIT_NET_AS_IS, self->input, self->last));
    for (int k = 0; k < TAPS; k++) {
        const size_t channels = (size_t)self->channels[k], n = self->first[k + 1] - self->first[k];
        TRY(fdit_net_read(ctx, self->net, self->taps[k], features + self->first[k]));
        normalise(features + self->first[k], n / channels, channels);
    }
out:
    return status;
}

double fdit_lpips_distance(const struct fdit_lpips *self, const float *a, const float *b)
{
    double all = 0;
    for (int k = 0; k < TAPS; k++) {
        const size_t channels = (size_t)self->channels[k], n = self->first[k + 1] - self->first[k];
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            const double d = (double)a[self->first[k] + i] - (double)b[self->first[k] + i];
            sum += (double)self->heads[k][i % channels] * d * d;
        }
        all += sum / (double)(n / channels);
    }
    return all;
}

/* The same form of a vector of doubles. */
static double form(const struct fdit_lpips *self, const double *v)
{
    double all = 0;
    for (int k = 0; k < TAPS; k++) {
        const size_t channels = (size_t)self->channels[k], n = self->first[k + 1] - self->first[k];
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)self->heads[k][i % channels] * v[self->first[k] + i] * v[self->first[k] + i];
        all += sum / (double)(n / channels);
    }
    return all;
}

enum fdit_status fdit_lpips_spread_new(fdit_context *ctx, const struct fdit_lpips *self,
                                       struct fdit_lpips_spread *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_lpips_spread){ 0 };
    TRY(fdit_alloc(ctx, fdit_lpips_width(self), sizeof(float), &out->first));
    TRY(fdit_alloc(ctx, fdit_lpips_width(self), sizeof(double), &out->sum));
out:
    if (status != FDIT_OK)
        fdit_lpips_spread_fini(out);
    return status;
}

void fdit_lpips_spread_fini(struct fdit_lpips_spread *s)
{
    fdit_free(s->first);
    fdit_free(s->sum);
    *s = (struct fdit_lpips_spread){ 0 };
}

void fdit_lpips_spread_clear(struct fdit_lpips_spread *s)
{
    s->n = 0;
    s->squares = 0;
}

void fdit_lpips_spread_add(const struct fdit_lpips *self, struct fdit_lpips_spread *s, const float *features)
{
    const size_t n = fdit_lpips_width(self);
    if (!s->n++) {
        memcpy(s->first, features, n * sizeof *features);
        memset(s->sum, 0, n * sizeof *s->sum);
        return;
    }
    for (size_t i = 0; i < n; i++)
        s->sum[i] += (double)features[i] - (double)s->first[i];
    s->squares += fdit_lpips_distance(self, features, s->first);
}

/* Of differences d_i: sum over pairs of (d_i - d_j)^2 = n sum d_i^2 - (sum d_i)^2. */
double fdit_lpips_spread_mean(const struct fdit_lpips *self, const struct fdit_lpips_spread *s)
{
    const double n = (double)s->n;
    return s->n < 2 ? (double)NAN : 2 * (n * s->squares - form(self, s->sum)) / (n * (n - 1));
}
