/* SPDX-License-Identifier: Apache-2.0
 * The runner of convolutional networks against plain loops in double: networks of random steps, whose
 * pictures are read long after they were made, so that a buffer given away too early shows; in bands, under
 * failing memory, and steps that do not fit. */
#include "core/mem.h"
#include "device/backend.h"
#include "model_fixture.h"
#include "net/net_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PICTURES = 32, MOST_LAYERS = 64, MOST_FLOATS = 1 << 17 };

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

/* ------------------------------------------------------------------ by plain loops */

/* [c, h, w] */
struct picture {
    int c, h, w;
    double *x;
};

static struct picture blank(int c, int h, int w)
{
    struct picture p = { c, h, w, calloc((size_t)(c * h * w), sizeof(double)) };
    ck_assert_ptr_nonnull(p.x);
    return p;
}

static double *pixel(const struct picture *p, int c, int i, int j)
{
    return &p->x[((size_t)c * (size_t)p->h + (size_t)i) * (size_t)p->w + (size_t)j];
}

static double activate(double x, enum fdit_act act)
{
    switch (act) {
    case FDIT_ACT_SILU: return x / (1 + exp(-x));
    case FDIT_ACT_RELU: return x > 0 ? x : 0;
    case FDIT_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case FDIT_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    default: return x;
    }
}

/* weight [n_out, x.c / groups, kernel_y, kernel_x]; border: zeros around x. */
static struct picture loop_conv(const struct picture *x, const float *weight, const float *bias, int n_out,
                                const struct fdit_net_layer *l, int stride,
                                const struct fdit_net_border *border)
{
    struct picture y = blank(n_out, (x->h + border->top + border->bottom - l->kernel_y) / stride + 1,
                             (x->w + border->left + border->right - l->kernel_x) / stride + 1);
    const int each = x->c / l->groups;
    for (int o = 0; o < n_out; o++)
        for (int i = 0; i < y.h; i++)
            for (int j = 0; j < y.w; j++) {
                double sum = (double)bias[o];
                for (int c = 0; c < each; c++)
                    for (int ky = 0; ky < l->kernel_y; ky++)
                        for (int kx = 0; kx < l->kernel_x; kx++) {
                            int row = i * stride + ky - border->top, column = j * stride + kx - border->left;
                            if (row >= 0 && row < x->h && column >= 0 && column < x->w)
                                sum +=
                                    (double)weight[((o * each + c) * l->kernel_y + ky) * l->kernel_x + kx] *
                                    *pixel(x, o / (n_out / l->groups) * each + c, row, column);
                        }
                *pixel(&y, o, i, j) = sum;
            }
    return y;
}

static struct picture loop_twice(const struct picture *x)
{
    struct picture y = blank(x->c, 2 * x->h, 2 * x->w);
    for (int c = 0; c < y.c; c++)
        for (int i = 0; i < y.h; i++)
            for (int j = 0; j < y.w; j++)
                *pixel(&y, c, i, j) = *pixel(x, c, i / 2, j / 2);
    return y;
}

static struct picture loop_norm(const struct picture *x, const float *weight, const float *bias, int groups,
                                enum fdit_act act)
{
    struct picture y = blank(x->c, x->h, x->w);
    const int channels = x->c / groups, n = channels * x->h * x->w;
    for (int g = 0; g < groups; g++) {
        const double *in = pixel(x, g * channels, 0, 0);
        double mean = 0, variance = 0;
        for (int k = 0; k < n; k++)
            mean += in[k] / n;
        for (int k = 0; k < n; k++)
            variance += (in[k] - mean) * (in[k] - mean) / n;
        for (int k = 0; k < n; k++) {
            const int c = g * channels + k / (x->h * x->w);
            const double u = (in[k] - mean) / sqrt(variance + 1e-6) * (double)weight[c] + (double)bias[c];
            pixel(&y, g * channels, 0, 0)[k] = activate(u, act);
        }
    }
    return y;
}

static struct picture loop_attend(const struct picture *q, const struct picture *k, const struct picture *v)
{
    struct picture y = blank(q->c, q->h, q->w);
    const int n = q->h * q->w;
    double *p = calloc((size_t)n, sizeof *p);
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
            double dot = 0;
            for (int c = 0; c < q->c; c++)
                dot += q->x[c * n + i] * k->x[c * n + j];
            sum += p[j] = exp(dot / sqrt(q->c));
        }
        for (int j = 0; j < n; j++)
            for (int c = 0; c < q->c; c++)
                y.x[c * n + i] += p[j] / sum * v->x[c * n + j];
    }
    free(p);
    return y;
}

static struct picture loop_pool(const struct picture *x, enum fdit_pooling_kind kind, int kernel, int stride,
                                int pad, int more)
{
    struct picture y = blank(x->c, (x->h + 2 * pad + more - kernel) / stride + 1,
                             (x->w + 2 * pad + more - kernel) / stride + 1);
    for (int c = 0; c < y.c; c++)
        for (int i = 0; i < y.h; i++)
            for (int j = 0; j < y.w; j++) {
                double most = -INFINITY, sum = 0;
                int inside = 0;
                for (int ky = i * stride - pad; ky < i * stride - pad + kernel; ky++)
                    for (int kx = j * stride - pad; kx < j * stride - pad + kernel; kx++) {
                        if (ky < 0 || ky >= x->h || kx < 0 || kx >= x->w)
                            continue;
                        most = fmax(most, *pixel(x, c, ky, kx));
                        sum += *pixel(x, c, ky, kx);
                        inside++;
                    }
                *pixel(&y, c, i, j) = kind == FDIT_POOLING_MAX    ? most
                                      : kind == FDIT_POOLING_MEAN ? sum / inside
                                                                  : sum / (kernel * kernel);
            }
    return y;
}

/* ------------------------------------------------------------------ a network and its double */

struct twin {
    struct fdit_net *net;
    struct test_rng rng;
    struct picture pictures[MOST_PICTURES]; /* by number; [0]: none */
    float *weights[MOST_LAYERS][2];         /* by layer and part */
    int n_layers;
};

/* The source of the weights. */
static enum fdit_status give(fdit_context *context, void *user, const struct fdit_net_layer *layer, size_t i,
                             enum fdit_net_part part, float *to)
{
    const struct twin *t = user;
    (void)context;
    memcpy(to, t->weights[i][part], fdit_net_part_floats(layer, part) * sizeof *to);
    return FDIT_OK;
}

/* Gives layer i, which was just added, random numbers. */
static int fill_layer(struct twin *t, int i)
{
    const struct fdit_net_layer *l = fdit_net_layer(t->net, (size_t)i);
    const bool norm = l->kind == FDIT_NET_NORM;
    ck_assert_ok(ctx, fdit_net_status(t->net));
    ck_assert(i == t->n_layers && i < MOST_LAYERS);
    for (int part = 0; part < 2; part++) {
        const size_t n = fdit_net_part_floats(l, (enum fdit_net_part)part);
        t->weights[i][part] = calloc(n, sizeof(float));
        test_fill_normal(&t->rng, t->weights[i][part], n, norm && !part ? 1 : 0,
                         (float)(1 / sqrt((double)n / l->n_out)) / (norm ? 4 : 1));
    }
    t->n_layers++;
    return i;
}

static int layer_of(struct twin *t, bool norm, int n_out, int n_in, int kernel_or_groups)
{
    char name[32];
    snprintf(name, sizeof name, "layer.%d", t->n_layers);
    return fill_layer(t, norm ? fdit_net_add_norm(t->net, n_out, kernel_or_groups, name, NULL)
                              : fdit_net_add_conv(t->net, n_out, n_in, kernel_or_groups, name, NULL));
}

static fdit_net_id keep(struct twin *t, fdit_net_id id, struct picture p)
{
    ck_assert_ok(ctx, fdit_net_status(t->net));
    ck_assert(id > 0 && id < MOST_PICTURES && !t->pictures[id].x);
    ck_assert_int_le(p.c * p.h * p.w, MOST_FLOATS);
    t->pictures[id] = p;
    return id;
}

static fdit_net_id twin_conv(struct twin *t, fdit_net_id x, int n_out, int kernel, int groups,
                             enum fdit_act act, fdit_net_id add, int stride, bool upsample)
{
    const struct picture *p = &t->pictures[x];
    struct fdit_net_conv c = {
        .has_norm = groups > 0, .act = act, .add = add, .stride = stride, .upsample = upsample
    };
    struct picture normed = { 0 }, twice = { 0 };
    const int n_in = p->c;
    if (groups) {
        c.norm = layer_of(t, true, n_in, n_in, groups);
        normed = loop_norm(p, t->weights[c.norm][0], t->weights[c.norm][1], groups, act);
        p = &normed;
    }
    if (upsample) {
        twice = loop_twice(p);
        p = &twice;
    }
    c.layer = layer_of(t, false, n_out, n_in, kernel);
    if (kernel == 3)
        c.border = stride == 1 ? fdit_net_border(1, 1) : (struct fdit_net_border){ 0, 1, 0, 1 };
    struct picture y = loop_conv(p, t->weights[c.layer][0], t->weights[c.layer][1], n_out,
                                 fdit_net_layer(t->net, (size_t)c.layer), stride, &c.border);
    if (add)
        for (int i = 0; i < y.c * y.h * y.w; i++)
            y.x[i] += t->pictures[add].x[i];
    free(normed.x);
    free(twice.x);
    return keep(t, fdit_net_conv(t->net, x, &c), y);
}

/* A convolution of any kernel, border and groups, with ReLU. */
static fdit_net_id twin_windows(struct twin *t, fdit_net_id x, int n_out, int kernel_y, int kernel_x,
                                int groups, int stride, struct fdit_net_border border)
{
    const struct picture *p = &t->pictures[x];
    struct fdit_net_conv c = { .stride = stride, .border = border, .then = FDIT_ACT_RELU };
    c.layer = fill_layer(t, fdit_net_add_windows(t->net, n_out, p->c, kernel_y, kernel_x, groups, "windows"));
    struct picture y = loop_conv(p, t->weights[c.layer][0], t->weights[c.layer][1], n_out,
                                 fdit_net_layer(t->net, (size_t)c.layer), stride, &border);
    for (int i = 0; i < y.c * y.h * y.w; i++)
        y.x[i] = activate(y.x[i], FDIT_ACT_RELU);
    return keep(t, fdit_net_conv(t->net, x, &c), y);
}

static fdit_net_id twin_norm(struct twin *t, fdit_net_id x, int groups, enum fdit_act act)
{
    const struct picture *p = &t->pictures[x];
    const int norm = layer_of(t, true, p->c, p->c, groups);
    return keep(t, fdit_net_norm(t->net, x, norm, act),
                loop_norm(p, t->weights[norm][0], t->weights[norm][1], groups, act));
}

static fdit_net_id twin_act(struct twin *t, fdit_net_id x, enum fdit_act act)
{
    const struct picture *p = &t->pictures[x];
    struct picture y = blank(p->c, p->h, p->w);
    for (int i = 0; i < y.c * y.h * y.w; i++)
        y.x[i] = activate(p->x[i], act);
    return keep(t, fdit_net_act(t->net, x, act), y);
}

static fdit_net_id twin_attend(struct twin *t, fdit_net_id q, fdit_net_id k, fdit_net_id v)
{
    const struct picture *p = t->pictures;
    return keep(t, fdit_net_attend(t->net, q, k, v), loop_attend(&p[q], &p[k], &p[v]));
}

static fdit_net_id twin_pool(struct twin *t, fdit_net_id x, enum fdit_pooling_kind kind, int kernel,
                             int stride, int pad, int more)
{
    return keep(t, fdit_net_pool(t->net, x, kind, kernel, stride, pad, more),
                loop_pool(&t->pictures[x], kind, kernel, stride, pad, more));
}

static fdit_net_id twin_join(struct twin *t, const fdit_net_id *x, int n)
{
    const struct picture *p = &t->pictures[x[0]];
    int channels = 0;
    for (int i = 0; i < n; i++)
        channels += t->pictures[x[i]].c;
    struct picture y = blank(channels, p->h, p->w);
    double *to = y.x;
    for (int i = 0; i < n; i++) {
        const size_t some = (size_t)(t->pictures[x[i]].c * p->h * p->w);
        memcpy(to, t->pictures[x[i]].x, some * sizeof *to);
        to += some;
    }
    return keep(t, fdit_net_join(t->net, x, n), y);
}

static struct twin twin_new(const char *name, int c, int h, int w)
{
    struct twin t = { .rng = test_rng_new(name) };
    ck_assert_ok(ctx, fdit_net_new(ctx, "twin", &t.net));
    struct picture x = blank(c, h, w);
    for (int i = 0; i < c * h * w; i++)
        x.x[i] = (double)test_normal(&t.rng);
    keep(&t, fdit_net_begin(t.net, "pass", c), x);
    return t;
}

static void twin_free(struct twin *t)
{
    fdit_net_free(t->net);
    for (int i = 0; i < MOST_PICTURES; i++)
        free(t->pictures[i].x);
    for (int i = 0; i < t->n_layers; i++)
        for (int part = 0; part < 2; part++)
            free(t->weights[i][part]);
}

/* Plans, runs and compares with the double; `out`: the result, MOST_FLOATS. */
static void compare(struct twin *t, fdit_device *dev, size_t memory, fdit_net_id y, const char *what,
                    float *out)
{
    static float in[MOST_FLOATS], wanted[MOST_FLOATS];
    const struct picture *x = &t->pictures[1], *p = &t->pictures[y];
    const size_t n_in = (size_t)(x->c * x->h * x->w), n = (size_t)(p->c * p->h * p->w);
    for (size_t i = 0; i < n_in; i++)
        in[i] = (float)x->x[i];
    for (size_t i = 0; i < n; i++)
        wanted[i] = (float)p->x[i];
    fdit_net_want(t->net, 0, x->h, x->w);
    ck_assert_ok(ctx, fdit_net_plan(ctx, t->net, dev, memory));
    ck_assert_ok(ctx, fdit_net_allocate(ctx, t->net));
    ck_assert_ok(ctx, fdit_net_load(ctx, t->net, give, t));
    ck_assert_ok(ctx, fdit_net_run(ctx, t->net, 0, FDIT_NET_AS_IS, in, out));
    struct fdit_difference e = fdit_compare(out, wanted, n);
    ck_assert_msg(e.nmse < 1e-10, "%s: NMSE %g; number %zu is %g, not %g", what, e.nmse, e.worst,
                  (double)e.got, (double)e.wanted);
}

/* Three pictures at once give the bits that each gives alone, in the output and in `kept` (0: none). */
static void compare_batch(struct twin *t, fdit_device *dev, fdit_net_id y, fdit_net_id kept, const char *what)
{
    enum { N = 3 };
    static float in[N * MOST_FLOATS], alone[2][N * MOST_FLOATS], all[2][N * MOST_FLOATS];
    const struct picture *x = &t->pictures[1], *p = &t->pictures[y], *k = kept ? &t->pictures[kept] : p;
    const size_t n_in = (size_t)(x->c * x->h * x->w), n = (size_t)(p->c * p->h * p->w),
                 n_kept = (size_t)(k->c * k->h * k->w);
    for (size_t i = 0; i < N * n_in; i++)
        in[i] = test_normal(&t->rng);
    fdit_net_want(t->net, 0, x->h, x->w);
    fdit_net_want_batch(t->net, N);
    ck_assert_ok(ctx, fdit_net_plan(ctx, t->net, dev, 0));
    ck_assert_int_eq(fdit_net_batch(t->net), N);
    ck_assert_ok(ctx, fdit_net_allocate(ctx, t->net));
    ck_assert_ok(ctx, fdit_net_load(ctx, t->net, give, t));
    for (size_t i = 0; i < N; i++) {
        ck_assert_ok(ctx, fdit_net_run(ctx, t->net, 0, FDIT_NET_AS_IS, in + i * n_in, alone[0] + i * n));
        if (kept)
            ck_assert_ok(ctx, fdit_net_read(ctx, t->net, kept, alone[1] + i * n_kept));
    }
    ck_assert_ok(ctx, fdit_net_run_batch(ctx, t->net, 0, FDIT_NET_AS_IS, N, in, all[0]));
    ck_assert_msg(test_first_difference(alone[0], all[0], N * n, sizeof(float)) == N * n,
                  "%s: other bits in a batch", what);
    if (kept) {
        ck_assert_ok(ctx, fdit_net_read(ctx, t->net, kept, all[1]));
        ck_assert_uint_eq(test_first_difference(alone[1], all[1], N * n_kept, sizeof(float)), N * n_kept);
    }
    ck_assert_int_eq(fdit_net_run_batch(ctx, t->net, 0, FDIT_NET_AS_IS, N + 1, in, all[0]),
                     FDIT_ERROR_ARGUMENT);
    fdit_net_want_batch(t->net, 1);
}

/* Of test_devices those in f32: the others round. */
static int exact_devices(const char *names[8])
{
    const char *all[8];
    int n = 0;
    for (int i = 0, count = test_all_devices(ctx, all); i < count; i++)
        if (!strchr(all[i], '+'))
            names[n++] = all[i];
    return n;
}

/* ------------------------------------------------------------------ tests */

/* A picture of `like`'s size, and channels if they matter; 0: there is only `like` itself. */
static fdit_net_id other_like(struct twin *t, fdit_net_id like, fdit_net_id last, int channels)
{
    const struct picture *p = &t->pictures[like];
    for (int k = 0; k < 8; k++) {
        const fdit_net_id x = 1 + test_int(&t->rng, last);
        const struct picture *q = &t->pictures[x];
        if (x != like && q->h == p->h && q->w == p->w && q->c == channels)
            return x;
    }
    return 0;
}

static fdit_net_id random_step(struct twin *t, fdit_net_id last)
{
    static const enum fdit_act acts[] = { FDIT_ACT_NONE, FDIT_ACT_SILU, FDIT_ACT_GELU_TANH, FDIT_ACT_RELU };
    const fdit_net_id x = test_int(&t->rng, 3) ? last : 1 + test_int(&t->rng, last);
    const struct picture *p = &t->pictures[x];
    const enum fdit_act act = acts[test_int(&t->rng, 4)];
    const int n_out = 4 * (1 + test_int(&t->rng, 4)), groups = test_int(&t->rng, 2) ? 4 : 2;
    fdit_net_id k, v;
    switch (test_int(&t->rng, 14)) {
    case 0: return twin_norm(t, x, groups, act);
    case 1: return twin_act(t, x, test_int(&t->rng, 2) ? FDIT_ACT_SILU : FDIT_ACT_RELU);
    case 8:
        if (p->h >= 3 && p->w >= 3)
            return twin_pool(t, x, (enum fdit_pooling_kind)test_int(&t->rng, 3), 2 + test_int(&t->rng, 2),
                             1 + test_int(&t->rng, 2), test_int(&t->rng, 2), 0);
        return twin_pool(t, x, FDIT_POOLING_MEAN, 3, 1, 1, 0);
    case 9:
    case 10:
        if (p->c > 32)
            return twin_act(t, x, FDIT_ACT_RELU);
        k = other_like(t, x, last, n_out);
        return twin_join(t, (fdit_net_id[3]){ x, k ? k : x, last == x ? x : 0 }, last == x ? 3 : 2);
    case 2:
        k = other_like(t, x, last, p->c);
        v = other_like(t, x, last, p->c);
        return twin_attend(t, x, k ? k : x, v ? v : x);
    case 11: return twin_windows(t, x, n_out, 1, 5, 1, 1, fdit_net_border(0, 2));
    case 12: return twin_windows(t, x, p->c, 5, 3, p->c, 1, (struct fdit_net_border){ 3, 1, 0, 2 });
    case 13:
        return twin_windows(t, x, n_out, 1, 1, p->c % 4 ? 1 : 4, p->h > 3 && p->w > 3 ? 2 : 1,
                            fdit_net_border(0, 0));
    case 3: return twin_conv(t, x, n_out, 1, 0, FDIT_ACT_NONE, other_like(t, x, last, n_out), 1, false);
    case 4: return twin_conv(t, x, n_out, 3, 0, FDIT_ACT_NONE, other_like(t, x, last, n_out), 1, false);
    case 5:
        if (p->h >= 4 && p->w >= 4)
            return twin_conv(t, x, n_out, 3, 0, FDIT_ACT_NONE, 0, 2, false);
        return twin_conv(t, x, n_out, 3, 0, FDIT_ACT_NONE, 0, 1, true);
    case 6:
        if (p->h <= 10)
            return twin_conv(t, x, n_out, 3, 0, FDIT_ACT_NONE, 0, 1, true);
        /* fall through */
    default: return twin_conv(t, x, n_out, 3, groups, act, other_like(t, x, last, n_out), 1, false);
    }
}

/* Random steps, one after the other; a third of them from a picture made earlier. */
START_TEST(random_networks)
{
    static float out[MOST_FLOATS], flat[MOST_FLOATS];
    const char *names[8];
    const int n_devices = exact_devices(names);
    for (int round = 0; round < 24; round++) {
        char name[32];
        snprintf(name, sizeof name, "random network %d", round);
        /* a third are one pixel wide, so that a band may be one pixel */
        struct twin t = round % 3 ? twin_new(name, 4, 5, 7) : twin_new(name, 4, 35, 1);
        fdit_net_id last = 1;
        for (int steps = 2 + test_int(&t.rng, 12); steps > 0; steps--)
            last = random_step(&t, last);
        fdit_net_end(t.net, last);
        ck_assert_ok(ctx, fdit_net_status(t.net));
        const struct picture *p = &t.pictures[last];
        for (int d = 0; d < n_devices; d++) {
            fdit_device *dev = test_open_device(ctx, names[d], 0);
            compare(&t, dev, 0, last, name, out);
            compare(&t, dev, 1, last, name, flat); /* cannot be met: the flattest bands */
            const size_t n = (size_t)(p->c * p->h * p->w);
            ck_assert_uint_eq(test_first_difference(out, flat, n, sizeof *out), n);
            compare_batch(&t, dev, last, 0, name);
            fdit_net_release(t.net);
            fdit_device_close(dev);
        }
        twin_free(&t);
    }
}
END_TEST

enum { ROWS = 7, INPUTS = 96, OUTPUTS = 80 };

/* What a product of `tokens` rows from row `first` on gives with a frozen weight or a plain matrix. */
static void product_of_rows(fdit_device *dev, bool back, const fdit_weight *weight, struct fdit_tensor matrix,
                            struct fdit_tensor to, struct fdit_tensor from, int first, int tokens)
{
    const int wide = back ? INPUTS : OUTPUTS, deep = back ? OUTPUTS : INPUTS;
    const struct fdit_tensor y = fdit_at(to, (size_t)(first * wide)),
                             x = fdit_at(from, (size_t)(first * deep));
    if (back)
        fdit_linear_dx(dev, &(struct fdit_linear_dx_args){ .samples = 1,
                                                           .tokens = tokens,
                                                           .band = true,
                                                           .n_in = INPUTS,
                                                           .n_out = OUTPUTS,
                                                           .dx = y,
                                                           .dy = x,
                                                           .weight = weight,
                                                           .matrix = matrix });
    else
        fdit_linear(dev, &(struct fdit_linear_args){ .samples = 1,
                                                     .tokens = tokens,
                                                     .band = true,
                                                     .n_in = INPUTS,
                                                     .n_out = OUTPUTS,
                                                     .y = y,
                                                     .x = x,
                                                     .weight = weight,
                                                     .matrix = matrix });
}

/* Pixels have the same bits one at a time as all together, in every precision: a band may be one pixel. */
START_TEST(single_pixels)
{
    enum { SIZE = INPUTS * OUTPUTS, WIDEST = ROWS * INPUTS };
    static float numbers[SIZE], x[WIDEST], all[WIDEST], single[WIDEST];
    const char *names[8];
    const int n_devices = test_all_devices(ctx, names);
    struct test_rng rng = test_rng_new("single pixels");
    for (int i = 0; i < SIZE; i++)
        numbers[i] = (float)test_normal(&rng);
    for (int i = 0; i < WIDEST; i++)
        x[i] = (float)test_normal(&rng);
    for (int d = 0; d < n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, names[d], 2);
        const struct fdit_weight_desc desc = { .n_out = OUTPUTS, .n_in = INPUTS, .need_dx = true };
        fdit_weight *weight;
        fdit_buffer *buffers[3];
        struct fdit_tensor t[3];
        for (int i = 0; i < 3; i++) {
            ck_assert_ok(
                ctx, fdit_buffer_new(ctx, dev, (i ? WIDEST : SIZE) * sizeof(float), "pixels", &buffers[i]));
            t[i] = fdit_tensor_of(buffers[i], FDIT_F32);
        }
        ck_assert_ok(ctx, fdit_weight_new(ctx, dev, &desc, numbers, &weight));
        struct fdit_op_shape shapes[4];
        for (int i = 0; i < 4; i++)
            shapes[i] = (struct fdit_op_shape){ .op = i & 1 ? FDIT_OP_LINEAR_DX : FDIT_OP_LINEAR,
                                                .samples = 1,
                                                .tokens = ROWS,
                                                .n_in = INPUTS,
                                                .n_out = OUTPUTS,
                                                .plain = i & 2,
                                                .band = true };
        ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, fdit_device_workspace(dev, shapes, 4)));
        fdit_write(dev, t[0], numbers, SIZE);
        fdit_write(dev, t[1], x, WIDEST);
        for (int kind = 0; kind < 4; kind++) {
            const bool back = kind & 1, plain = kind & 2;
            const size_t n = (size_t)(ROWS * (back ? INPUTS : OUTPUTS));
            for (int step = ROWS; step; step = step > 1 ? 1 : 0) {
                for (int row = 0; row < ROWS; row += step)
                    product_of_rows(dev, back, plain ? NULL : weight, plain ? t[0] : FDIT_NO_TENSOR, t[2],
                                    t[1], row, step);
                ck_assert_ok(ctx, fdit_read(ctx, dev, t[2], step > 1 ? all : single, n));
            }
            const size_t at = test_first_difference(all, single, n, sizeof *all);
            ck_assert_msg(at == n, "%s%s%s: element %zu is %.9g alone and %.9g with others", names[d],
                          back ? " dx" : "", plain ? " of a matrix" : "", at, (double)single[at],
                          (double)all[at]);
        }
        fdit_weight_free(weight);
        for (int i = 0; i < 3; i++)
            fdit_buffer_free(buffers[i]);
        fdit_device_close(dev);
    }
}
END_TEST

/* A picture beside the output, as rows of channels. */
static void read_kept(struct twin *t, fdit_net_id x)
{
    static float out[MOST_FLOATS];
    const struct picture *p = &t->pictures[x];
    int h, w, c;
    fdit_net_size(t->net, x, &h, &w, &c);
    ck_assert(h == p->h && w == p->w && c == p->c);
    ck_assert_ok(ctx, fdit_net_read(ctx, t->net, x, out));
    for (int i = 0; i < h * w; i++)
        for (int k = 0; k < c; k++)
            ck_assert_double_eq_tol((double)out[i * c + k], p->x[k * h * w + i], 1e-5);
}

/* The kind of block that classifiers are made of: convolutions and poolings side by side, joined. */
START_TEST(branches)
{
    static float out[MOST_FLOATS];
    const char *names[8];
    const int n_devices = exact_devices(names);
    struct twin t = twin_new("branches", 3, 12, 14);
    fdit_net_id x = twin_act(&t, twin_conv(&t, 1, 8, 3, 0, FDIT_ACT_NONE, 0, 2, false), FDIT_ACT_RELU);
    const fdit_net_id small =
        twin_act(&t, twin_conv(&t, x, 5, 1, 0, FDIT_ACT_NONE, 0, 1, false), FDIT_ACT_RELU);
    const fdit_net_id wide =
        twin_act(&t, twin_conv(&t, x, 12, 3, 0, FDIT_ACT_NONE, 0, 1, false), FDIT_ACT_RELU);
    const fdit_net_id mean = twin_pool(&t, x, FDIT_POOLING_MEAN, 3, 1, 1, 0);
    const fdit_net_id most = twin_pool(&t, x, FDIT_POOLING_MAX, 3, 1, 1, 0);
    x = twin_join(&t, (fdit_net_id[4]){ small, wide, mean, most }, 4);
    ck_assert_int_eq(t.pictures[x].c, 5 + 12 + 8 + 8);
    x = twin_pool(&t, twin_conv(&t, x, 6, 1, 0, FDIT_ACT_NONE, 0, 1, false), FDIT_POOLING_MAX, 3, 2, 0, 1);
    fdit_net_keep(t.net, small);
    fdit_net_end(t.net, x);
    for (int d = 0; d < n_devices; d++) {
        fdit_device *dev = test_open_device(ctx, names[d], 0);
        compare(&t, dev, 0, x, names[d], out);
        read_kept(&t, small);
        ck_assert_int_eq(fdit_net_read(ctx, t.net, wide, out), FDIT_ERROR_ARGUMENT); /* not kept */
        compare_batch(&t, dev, x, small, names[d]);
        fdit_net_release(t.net);
        fdit_device_close(dev);
    }
    twin_free(&t);
}
END_TEST

/* A chain of residual blocks needs two buffers, whatever its length, also where a shortcut changes the number
 * of channels: that works in place. The plan holds all that is allocated, and a run allocates nothing. */
START_TEST(memory)
{
    static float out[MOST_FLOATS];
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct twin t = twin_new("memory", 8, 6, 6);
    fdit_net_id x = 1;
    for (int i = 0; i < 4; i++) {
        const int n = i % 2 ? 8 : 16;
        const fdit_net_id h = twin_conv(&t, x, n, 3, 4, FDIT_ACT_SILU, 0, 1, false);
        const fdit_net_id s = twin_conv(&t, x, n, 1, 0, FDIT_ACT_NONE, 0, 1, false);
        x = twin_conv(&t, h, n, 3, 4, FDIT_ACT_SILU, s, 1, false);
    }
    fdit_net_end(t.net, x);
    compare(&t, dev, 0, x, "residual blocks", out);
    const struct fdit_plan *plan = fdit_net_plan_of(t.net);
    ck_assert_uint_eq(t.net->n_rooms, 2);
    ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes + fdit_plan_kind_bytes(plan, FDIT_PLAN_WORKSPACE),
                      fdit_plan_device_bytes(plan));
    const uint64_t calls = fdit_mem_stats().calls, objects = dev->objects_made;
    ck_assert_ok(ctx, fdit_net_run(ctx, t.net, 0, FDIT_NET_AS_IS, out, out));
    ck_assert_uint_eq(fdit_mem_stats().calls, calls);
    ck_assert_uint_eq(dev->objects_made, objects);
    const size_t one = t.net->rooms[0].floats;
    double counted = 0;
    for (int op = 0; op < FDIT_OP_COUNT; op++)
        counted += dev->counts[op].flops;
    ck_assert(counted == 2 * fdit_net_flops(t.net, 0)); /* of both runs */
    /* Three at once, where there is room for all that they need; where not, fewer. */
    fdit_net_want_batch(t.net, 3);
    ck_assert_ok(ctx, fdit_net_plan(ctx, t.net, dev, 0));
    ck_assert(counted == 2 * fdit_net_flops(t.net, 0));
    ck_assert_uint_eq(t.net->rooms[0].floats, 3 * one);
    const size_t three = fdit_plan_device_bytes(plan);
    ck_assert_ok(ctx, fdit_net_allocate(ctx, t.net));
    ck_assert_ok(ctx, fdit_net_load(ctx, t.net, give, &t));
    ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes + fdit_plan_kind_bytes(plan, FDIT_PLAN_WORKSPACE),
                      three);
    ck_assert_ok(ctx, fdit_net_plan(ctx, t.net, dev, three - 1));
    ck_assert_int_eq(fdit_net_batch(t.net), 1);
    ck_assert_uint_eq(t.net->rooms[0].floats, one);
    ck_assert_ok(ctx, fdit_net_allocate(ctx, t.net));
    ck_assert_ok(ctx, fdit_net_load(ctx, t.net, give, &t));
    fdit_context_stop(ctx);
    ck_assert_int_eq(fdit_net_run(ctx, t.net, 0, FDIT_NET_AS_IS, out, out), FDIT_INTERRUPTED);
    twin_free(&t);
    fdit_device_close(dev);
}
END_TEST

/* Two passes over one list of layers, each with its own weights; only what is wanted is loaded and run. The
 * input is scaled on the way. */
START_TEST(passes)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct twin t = { .rng = test_rng_new("passes") };
    float in[2 * 4] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[3 * 4], wanted;
    ck_assert_ok(ctx, fdit_net_new(ctx, "two", &t.net));
    for (int pass = 0; pass < 2; pass++) {
        fdit_net_id x = fdit_net_begin(t.net, pass ? "second" : "first", 2);
        const int layer = layer_of(&t, false, 3, 2, 1);
        fdit_net_end(t.net, fdit_net_conv(t.net, x, &(struct fdit_net_conv){ .layer = layer }));
        ck_assert_int_eq(fdit_net_layer(t.net, (size_t)layer)->pass, pass);
    }
    ck_assert_ok(ctx, fdit_net_status(t.net));
    fdit_net_want(t.net, 1, 2, 2);
    ck_assert_ok(ctx, fdit_net_plan(ctx, t.net, dev, 0));
    ck_assert_int_eq(fdit_net_run(ctx, t.net, 1, FDIT_NET_AS_IS, in, out),
                     FDIT_ERROR_ARGUMENT); /* no weights */
    ck_assert_ok(ctx, fdit_net_allocate(ctx, t.net));
    ck_assert_ok(ctx, fdit_net_load(ctx, t.net, give, &t));
    ck_assert_ptr_null(fdit_net_layer(t.net, 0)->weight);
    ck_assert_int_eq(fdit_net_run(ctx, t.net, 0, FDIT_NET_AS_IS, in, out), FDIT_ERROR_ARGUMENT);
    ck_assert_int_eq(fdit_net_run(ctx, t.net, 2, FDIT_NET_AS_IS, in, out), FDIT_ERROR_ARGUMENT);
    ck_assert_ok(ctx, fdit_net_run(ctx, t.net, 1, (struct fdit_net_range){ 0.5, -1 }, in, out));
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < 4; i++) {
            const float *w = t.weights[1][0] + 2 * o;
            wanted = t.weights[1][1][o] + w[0] * (0.5f * in[i] - 1) + w[1] * (0.5f * in[4 + i] - 1);
            ck_assert_float_eq_tol(out[4 * o + i], wanted, 1e-5f);
        }
    ck_assert(fdit_net_flops(t.net, 0) == 0 && fdit_net_flops(t.net, 1) == 2.0 * 4 * 2 * 3);
    twin_free(&t);
    fdit_device_close(dev);
}
END_TEST

/* What does not fit together is refused where it is described, and stays refused. */
START_TEST(misfits)
{
    for (int i = 0; i < 20; i++) {
        struct fdit_net *net = NULL;
        ck_assert_ok(ctx, fdit_net_new(ctx, "odd", &net));
        fdit_net_id x = fdit_net_begin(net, "pass", 4);
        const int conv = fdit_net_add_conv(net, 8, 4, 3, "conv", NULL),
                  one = fdit_net_add_conv(net, 8, 4, 1, "one", NULL);
        const int norm = fdit_net_add_norm(net, 4, 2, "norm", NULL),
                  wide = fdit_net_add_norm(net, 8, 2, "wide", NULL);
        ck_assert_ok(ctx, fdit_net_status(net));
        struct fdit_net_conv c = { .layer = conv };
        switch (i) {
        case 0: c.layer = norm; break;
        case 1: c.layer = 99; break;
        case 2: c.add = x; break; /* 4 channels to 8 */
        case 3: c.add = 77; break;
        case 4:
            c = (struct fdit_net_conv){
                .layer = conv, .border = fdit_net_border(1, 1), .has_norm = true, .norm = wide
            };
            break;
        case 5: c = (struct fdit_net_conv){ .layer = one, .has_norm = true, .norm = norm }; break;
        case 6: c = (struct fdit_net_conv){ .layer = one, .border = { 0, 1, 0, 0 } }; break;
        case 7: c.stride = -1; break;
        case 8: c.act = FDIT_ACT_SILU; break; /* without a norm before it */
        case 9: x = 42; break;
        case 10: fdit_net_add_windows(net, 4, 4, 5, 0, 1, "five"); break;
        case 11: fdit_net_add_norm(net, 4, 3, "thirds", NULL); break;
        case 12: fdit_net_pool(net, x, FDIT_POOLING_MAX, 3, 1, 2, 0); break;
        case 13: fdit_net_join(net, (fdit_net_id[2]){ x, 9 }, 2); break;
        case 14: fdit_net_join(net, &x, 0); break;
        case 15: fdit_net_pool(net, x, FDIT_POOLING_MAX, 3, 1, 1, 2); break;
        case 16: fdit_net_add_windows(net, 4, 4, 3, 3, 3, "thirds"); break;
        case 17: fdit_net_keep(net, 9); break;
        case 18: c.border = fdit_net_border(3, 1); break;
        case 19: c = (struct fdit_net_conv){ .layer = conv, .has_norm = true, .norm = norm }; break;
        }
        ck_assert_int_eq(fdit_net_conv(net, x, &c), 0);
        ck_assert_int_eq(fdit_net_status(net), FDIT_ERROR_ARGUMENT);
        ck_assert_msg(!strncmp(fdit_context_message(ctx), "odd: ", 5), "%s", fdit_context_message(ctx));
        ck_assert_int_eq(fdit_net_act(net, 1, FDIT_ACT_SILU), 0);
        fdit_net_end(net, 1);
        ck_assert_int_eq(fdit_net_plan(ctx, net, NULL, 0), FDIT_ERROR_ARGUMENT);
        fdit_net_free(net);
    }
}
END_TEST

/* Sizes that do not fit show when they are known. */
START_TEST(sizes)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    struct twin t = twin_new("sizes", 4, 6, 6);
    const fdit_net_id half = twin_conv(&t, 1, 4, 3, 0, FDIT_ACT_NONE, 0, 2, false);
    const int layer = layer_of(&t, false, 4, 4, 1);
    const fdit_net_id y = fdit_net_conv(t.net, half, &(struct fdit_net_conv){ .layer = layer, .add = 1 });
    fdit_net_want(t.net, 0, 6, 6);
    ck_assert_int_eq(fdit_net_plan(ctx, t.net, dev, 0), FDIT_ERROR_ARGUMENT); /* has no end */
    fdit_net_end(t.net, y);
    ck_assert_int_eq(fdit_net_plan(ctx, t.net, dev, 0), FDIT_ERROR_ARGUMENT);
    ck_assert(strstr(fdit_context_message(ctx), "two sizes") != NULL);
    fdit_net_want(t.net, 0, 1, 6);
    ck_assert_int_eq(fdit_net_plan(ctx, t.net, dev, 0), FDIT_ERROR_ARGUMENT);
    ck_assert_msg(strstr(fdit_context_message(ctx), "1 x 6 become 0 x 3") != NULL, "%s",
                  fdit_context_message(ctx));
    twin_free(&t);
    fdit_device_close(dev);
}
END_TEST

/* Every allocation in turn fails: an error, no leak, no crash. */
START_TEST(failing_memory)
{
    fdit_device *dev = test_open_device(ctx, "cpu", 1);
    float weights[4 * 9 + 4] = { 0 };
    struct twin t = { .n_layers = 2, .weights = { { weights, weights }, { weights, weights } } };
    for (uint64_t i = 1;; i++) {
        const size_t count = fdit_mem_stats().count;
        struct fdit_net *net = NULL;
        fdit_mem_fail_at(i);
        enum fdit_status status = fdit_net_new(ctx, "short", &net);
        if (status == FDIT_OK) {
            const int norm = fdit_net_add_norm(net, 2, 1, "norm", "old"),
                      conv = fdit_net_add_conv(net, 2, 2, 3, "conv", NULL);
            fdit_net_id x = fdit_net_begin(net, "pass", 2);
            x = fdit_net_conv(
                net, x,
                &(struct fdit_net_conv){
                    .layer = conv, .border = fdit_net_border(1, 1), .has_norm = true, .norm = norm });
            fdit_net_end(net, fdit_net_attend(net, x, x, x));
            status = fdit_net_status(net);
        }
        if (status == FDIT_OK) {
            fdit_net_want(net, 0, 4, 4);
            status = fdit_net_plan(ctx, net, dev, 0);
        }
        if (status == FDIT_OK)
            status = fdit_net_allocate(ctx, net);
        if (status == FDIT_OK)
            status = fdit_net_load(ctx, net, give, &t);
        fdit_net_free(net);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            break;
        ck_assert_int_eq(status, FDIT_ERROR_MEMORY);
        ck_assert_uint_le(fdit_mem_stats().count, count + 1); /* + the message */
        fdit_device_clear_error(dev);
    }
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net");
    TCase *tcase = tcase_create("net");
    tcase_add_checked_fixture(tcase, setup, teardown);
    const TTest *tests[] = { random_networks, single_pixels, branches, memory,
                             passes,          misfits,       sizes,    failing_memory };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
