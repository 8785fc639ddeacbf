/* SPDX-License-Identifier: Apache-2.0
 * Resampling runs row by row: a row of the input is resampled along x when the first output row needs
 * it and kept while others do, so the picture between the passes never exists as a whole. */
#include "format/resize.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

#define WEIGHT_BITS 22
#define MAX_HALVINGS 28 /* of 2^28 pixels in a row */
#define MAX_SIDE (1 << 30)

/* ------------------------------------------------------------------ weights of one axis */

/* Output o of lo..lo+n is the sum over k < taps[o - lo] of weights[(o - lo) max_taps + k] times
 * sample first[o - lo] + k. */
struct axis {
    int lo, n, max_taps;
    int *first, *taps;
    int32_t *weights;
};

static void axis_fini(struct axis *a)
{
    fdit_free(a->first);
    fdit_free(a->taps);
    fdit_free(a->weights);
    memset(a, 0, sizeof *a);
}

static double bicubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

/* Outputs lo..lo+n of an axis that goes from n_in to n_out samples. All as Pillow does it, in the same
 * order of operations; w has room for one output's weights. */
static void fill_axis(struct axis *a, enum fdit_filter filter, int n_in, int n_out, double *w)
{
    double scale = (double)n_in / n_out, wide = scale > 1 ? scale : 1, narrow = 1 / wide;
    double reach = (filter == FDIT_FILTER_BOX ? 0.5 : 2.0) * wide;
    for (int o = 0; o < a->n; o++) {
        if (n_in == n_out) { /* what the filters come to as well */
            a->first[o] = a->lo + o;
            a->taps[o] = 1;
            a->weights[(size_t)o * (size_t)a->max_taps] = 1 << WEIGHT_BITS;
            continue;
        }
        double centre = (a->lo + o + 0.5) * scale, sum = 0;
        int from = (int)(centre - reach + 0.5), to = (int)(centre + reach + 0.5);
        if (from < 0)
            from = 0;
        if (to > n_in)
            to = n_in;
        for (int k = from; k < to; k++) {
            double x = (k - centre + 0.5) * narrow;
            w[k - from] = filter == FDIT_FILTER_BOX ? box(x) : bicubic(x);
            sum += w[k - from];
        }
        int32_t *out = a->weights + (size_t)o * (size_t)a->max_taps;
        for (int k = 0; k < to - from; k++) {
            double v = (sum != 0 ? w[k] / sum : w[k]) * (1 << WEIGHT_BITS);
            out[k] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        a->first[o] = from;
        a->taps[o] = to - from;
    }
}

static enum fdit_status axis_init(fdit_context *ctx, struct axis *a, enum fdit_filter filter,
                                  int n_in, int n_out, int lo, int n)
{
    enum fdit_status status = FDIT_OK;
    double scale = (double)n_in / n_out, *w = NULL;
    double reach = (filter == FDIT_FILTER_BOX ? 0.5 : 2.0) * (scale > 1 ? scale : 1);
    memset(a, 0, sizeof *a);
    a->lo = lo;
    a->n = n;
    double most = ceil(reach) * 2 + 1;
    a->max_taps = most < n_in ? (int)most : n_in;
    TRY(fdit_alloc(ctx, (size_t)a->max_taps, sizeof *w, &w));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *a->first, &a->first));
    TRY(fdit_alloc(ctx, (size_t)n, sizeof *a->taps, &a->taps));
    TRY(fdit_alloc(ctx, (size_t)n, (size_t)a->max_taps * sizeof *a->weights, &a->weights));
    fill_axis(a, filter, n_in, n_out, w);
out:
    fdit_free(w);
    if (status != FDIT_OK)
        axis_fini(a);
    return status;
}

/* The samples lo..hi that outputs of the axis need. */
static void axis_needs(const struct axis *a, int *lo, int *hi)
{
    *lo = a->first[0];
    *hi = a->first[a->n - 1] + a->taps[a->n - 1];
}

/* ------------------------------------------------------------------ the two passes */

static inline uint8_t to_byte(int32_t sum)
{
    int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row along x. in: the row from pixel x0 on; out [a->n][3]. */
static void along_x(const struct axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    for (int o = 0; o < a->n; o++, out += 3) {
        const int32_t *w = a->weights + (size_t)o * (size_t)a->max_taps;
        const uint8_t *p = in + 3 * (ptrdiff_t)(a->first[o] - x0);
        int32_t r = 1 << (WEIGHT_BITS - 1), g = r, b = r;
        for (int k = 0, taps = a->taps[o]; k < taps; k++, p += 3) {
            r += w[k] * p[0];
            g += w[k] * p[1];
            b += w[k] * p[2];
        }
        out[0] = to_byte(r);
        out[1] = to_byte(g);
        out[2] = to_byte(b);
    }
}

static void along_x_grey(const struct axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    for (int o = 0; o < a->n; o++) {
        const int32_t *w = a->weights + (size_t)o * (size_t)a->max_taps;
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < a->taps[o]; k++)
            sum += w[k] * in[a->first[o] - x0 + k];
        out[o] = to_byte(sum);
    }
}

/* One output row along y from `taps` rows of n bytes; sums: room for n. */
static void along_y(const int32_t *w, int taps, const uint8_t *const *rows, size_t n, int32_t *sums,
                    uint8_t *out)
{
    for (size_t i = 0; i < n; i++)
        sums[i] = (1 << (WEIGHT_BITS - 1)) + w[0] * rows[0][i];
    for (int k = 1; k < taps; k++) {
        const uint8_t *row = rows[k];
        int32_t weight = w[k];
        for (size_t i = 0; i < n; i++)
            sums[i] += weight * row[i];
    }
    for (size_t i = 0; i < n; i++)
        out[i] = to_byte(sums[i]);
}

/* A part of a picture whose full size is width x height: pixels of columns x.. and rows y.. */
struct part {
    int width, height, x, y;
    const uint8_t *pixels;
    size_t row_bytes;
    int channels;
};

static const uint8_t *part_row(const struct part *p, int y)
{
    return p->pixels + (size_t)(y - p->y) * p->row_bytes;
}

/* Rows that were resampled along x, kept in a ring: row y is at y % size. */
struct ring {
    uint8_t *bytes;
    const uint8_t **taps;
    int32_t *sums;
    int size, next; /* rows below `next` have been made */
};

static const uint8_t *ring_row(struct ring *r, const struct part *in, const struct axis *x, int y)
{
    size_t row_bytes = (size_t)x->n * (size_t)in->channels;
    for (; r->next <= y; r->next++) {
        uint8_t *out = r->bytes + (size_t)(r->next % r->size) * row_bytes;
        (in->channels == 3 ? along_x : along_x_grey)(x, part_row(in, r->next), in->x, out);
    }
    return r->bytes + (size_t)(y % r->size) * row_bytes;
}

/* out: [y->n][x->n][channels]. */
static enum fdit_status resample(fdit_context *ctx, const struct part *in, const struct axis *x,
                                 const struct axis *y, uint8_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct ring ring = { .size = y->max_taps, .next = y->first[0] };
    size_t row_bytes = (size_t)x->n * (size_t)in->channels;
    TRY(fdit_alloc(ctx, (size_t)ring.size, row_bytes, &ring.bytes));
    TRY(fdit_alloc(ctx, (size_t)ring.size, sizeof *ring.taps, &ring.taps));
    TRY(fdit_alloc(ctx, row_bytes, sizeof *ring.sums, &ring.sums));
    for (int o = 0; o < y->n; o++) {
        for (int k = 0; k < y->taps[o]; k++)
            ring.taps[k] = ring_row(&ring, in, x, y->first[o] + k);
        along_y(y->weights + (size_t)o * (size_t)y->max_taps, y->taps[o], ring.taps, row_bytes,
                ring.sums, out + (size_t)o * row_bytes);
    }
out:
    fdit_free(ring.bytes);
    fdit_free(ring.taps);
    fdit_free(ring.sums);
    return status;
}

/* ------------------------------------------------------------------ halving */

/* Both sides even: the weights are one half, and (a + b) 2^21 + 2^21 >> 22 is (a + b + 1) / 2. Two rows
 * of 2 n pixels become one of n; c is a constant where this is called. */
static inline void halve_rows(const uint8_t *a, const uint8_t *b, int n, const int c, uint8_t *out)
{
    for (int x = 0; x < n; x++, a += 2 * c, b += 2 * c, out += c)
        for (int i = 0; i < c; i++) {
            int above = (a[i] + a[i + c] + 1) >> 1, below = (b[i] + b[i + c] + 1) >> 1;
            out[i] = (uint8_t)((above + below + 1) >> 1);
        }
}

static void halve_even(const struct part *in, const struct axis *x, const struct axis *y,
                       uint8_t *out)
{
    size_t row_bytes = (size_t)x->n * (size_t)in->channels;
    for (int i = 0; i < y->n; i++, out += row_bytes) {
        ptrdiff_t first = (ptrdiff_t)(2 * x->lo - in->x) * in->channels;
        const uint8_t *a = part_row(in, 2 * (y->lo + i)) + first;
        const uint8_t *b = part_row(in, 2 * (y->lo + i) + 1) + first;
        if (in->channels == 3)
            halve_rows(a, b, x->n, 3, out);
        else
            halve_rows(a, b, x->n, 1, out);
    }
}

/* ------------------------------------------------------------------ a chain of steps */

/* One step from a picture of in_w x in_h to out_w x out_h, of which columns x.lo..x.lo+x.n and rows
 * y.lo..y.lo+y.n are made. */
struct step {
    int in_w, in_h, out_w, out_h;
    struct axis x, y;
    bool even;
};

struct chain {
    struct step steps[MAX_HALVINGS + 1];
    int n;
};

static void chain_fini(struct chain *c)
{
    for (int i = 0; i < c->n; i++) {
        axis_fini(&c->steps[i].x);
        axis_fini(&c->steps[i].y);
    }
}

static int half(int side)
{
    return side > 1 ? side / 2 : 1;
}

static int at_least_1(double side)
{
    return side < 1 ? 1 : (int)side;
}

/* Plans halvings while `side` (the short or the long one) is at least 2 size, then the bicubic step. */
static enum fdit_status chain_sizes(fdit_context *ctx, struct chain *c, int w, int h, int size,
                                    bool long_side)
{
    c->n = 0;
    for (;;) {
        int side = (w < h) != long_side ? w : h;
        struct step *s = &c->steps[c->n++];
        s->in_w = w;
        s->in_h = h;
        if (side / 2 >= size) {
            s->out_w = w = half(w);
            s->out_h = h = half(h);
            continue;
        }
        double scale = (double)size / side, long_out = rint((w > h ? w : h) * scale);
        if (long_out > MAX_SIDE)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "a picture of %d x %d is too narrow for the "
                             "size %d; remove it", c->steps[0].in_w, c->steps[0].in_h, size);
        s->out_w = at_least_1(rint(w * scale)); /* half to even: the default of every thread */
        s->out_h = at_least_1(rint(h * scale));
        return FDIT_OK;
    }
}

/* From the last step back to the first: what each needs of the one before. */
static enum fdit_status chain_axes(fdit_context *ctx, struct chain *c, int x, int y, int w, int h)
{
    enum fdit_status status = FDIT_OK;
    for (int i = c->n - 1; i >= 0; i--) {
        struct step *s = &c->steps[i];
        enum fdit_filter filter = i == c->n - 1 ? FDIT_FILTER_BICUBIC : FDIT_FILTER_BOX;
        TRY(axis_init(ctx, &s->x, filter, s->in_w, s->out_w, x, w));
        TRY(axis_init(ctx, &s->y, filter, s->in_h, s->out_h, y, h));
        s->even = filter == FDIT_FILTER_BOX && s->in_w % 2 == 0 && s->in_h % 2 == 0;
        int hi;
        axis_needs(&s->x, &x, &hi);
        w = hi - x;
        axis_needs(&s->y, &y, &hi);
        h = hi - y;
    }
out:
    return status;
}

/* out [h][w][channels] of the last step's window. */
static enum fdit_status chain_run(fdit_context *ctx, const struct chain *c,
                                  const struct fdit_picture *in, uint8_t *out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *old = NULL, *made = NULL;
    int channels = in->channels;
    struct part part = { .width = in->width,
                         .height = in->height,
                         .pixels = in->pixels,
                         .row_bytes = (size_t)in->width * (size_t)channels,
                         .channels = channels };
    for (int i = 0; i < c->n; i++) {
        const struct step *s = &c->steps[i];
        uint8_t *to = out;
        if (i < c->n - 1) {
            TRY(fdit_alloc(ctx, (size_t)s->y.n, (size_t)s->x.n * (size_t)channels, &made));
            to = made;
        }
        if (s->even)
            halve_even(&part, &s->x, &s->y, to);
        else
            TRY(resample(ctx, &part, &s->x, &s->y, to));
        part = (struct part){ .width = s->out_w,
                              .height = s->out_h,
                              .x = s->x.lo,
                              .y = s->y.lo,
                              .pixels = to,
                              .row_bytes = (size_t)s->x.n * (size_t)channels,
                              .channels = channels };
        fdit_free(old);
        old = made;
        made = NULL;
    }
out:
    fdit_free(made);
    fdit_free(old);
    return status;
}

/* ------------------------------------------------------------------ public */

static enum fdit_status check_size(fdit_context *ctx, int size)
{
    if (size < 1 || (uint64_t)size * (uint64_t)size > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "a picture size of %d is not possible, 1 to 16384 "
                         "are", size);
    return FDIT_OK;
}

enum fdit_status fdit_picture_resize(fdit_context *ctx, const struct fdit_picture *in,
                                     enum fdit_filter filter, int width, int height,
                                     struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct axis x = { 0 }, y = { 0 };
    struct part part = { .width = in->width,
                         .height = in->height,
                         .pixels = in->pixels,
                         .row_bytes = (size_t)in->width * (size_t)in->channels,
                         .channels = in->channels };
    TRY(fdit_picture_new(ctx, width, height, in->channels, out));
    TRY(axis_init(ctx, &x, filter, in->width, width, 0, width));
    TRY(axis_init(ctx, &y, filter, in->height, height, 0, height));
    TRY(resample(ctx, &part, &x, &y, out->pixels));
out:
    axis_fini(&x);
    axis_fini(&y);
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return status;
}

enum fdit_status fdit_picture_crop(fdit_context *ctx, const struct fdit_picture *in, int size,
                                   struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct chain chain = { .n = 0 };
    memset(out, 0, sizeof *out);
    TRY(check_size(ctx, size));
    TRY(fdit_picture_new(ctx, size, size, in->channels, out));
    TRY(chain_sizes(ctx, &chain, in->width, in->height, size, false));
    const struct step *last = &chain.steps[chain.n - 1];
    TRY(chain_axes(ctx, &chain, (last->out_w - size) / 2, (last->out_h - size) / 2, size, size));
    TRY(chain_run(ctx, &chain, in, out->pixels));
out:
    chain_fini(&chain);
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return status;
}

/* Mean of the outermost pixels of [h][w][channels], rounded. */
static void edge_colour(const uint8_t *p, int w, int h, int channels, uint8_t *colour)
{
    uint64_t sum[3] = { 0 }, n = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x += y == 0 || y == h - 1 || w == 1 ? 1 : w - 1) {
            for (int c = 0; c < channels; c++)
                sum[c] += p[((size_t)y * (size_t)w + (size_t)x) * (size_t)channels + (size_t)c];
            n++;
        }
    for (int c = 0; c < channels; c++)
        colour[c] = (uint8_t)((sum[c] + n / 2) / n);
}

enum fdit_status fdit_picture_pad(fdit_context *ctx, const struct fdit_picture *in, int size,
                                  struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct chain chain = { .n = 0 };
    uint8_t *scaled = NULL, colour[3];
    size_t channels = (size_t)in->channels;
    memset(out, 0, sizeof *out);
    TRY(check_size(ctx, size));
    TRY(fdit_picture_new(ctx, size, size, in->channels, out));
    TRY(chain_sizes(ctx, &chain, in->width, in->height, size, true));
    int w = chain.steps[chain.n - 1].out_w, h = chain.steps[chain.n - 1].out_h;
    TRY(chain_axes(ctx, &chain, 0, 0, w, h));
    TRY(fdit_alloc(ctx, (size_t)h, (size_t)w * channels, &scaled));
    TRY(chain_run(ctx, &chain, in, scaled));
    edge_colour(scaled, w, h, in->channels, colour);
    for (size_t i = 0; i < (size_t)size * (size_t)size; i++)
        memcpy(out->pixels + i * channels, colour, channels);
    size_t x = (size_t)(size - w) / 2, y = (size_t)(size - h) / 2, row = (size_t)w * channels;
    for (size_t i = 0; i < (size_t)h; i++)
        memcpy(out->pixels + ((y + i) * (size_t)size + x) * channels, scaled + i * row, row);
out:
    chain_fini(&chain);
    fdit_free(scaled);
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return status;
}

void fdit_picture_mirror(struct fdit_picture *p)
{
    int c = p->channels;
    for (int y = 0; y < p->height; y++) {
        uint8_t *a = p->pixels + (size_t)y * (size_t)p->width * (size_t)c;
        uint8_t *b = a + (size_t)(p->width - 1) * (size_t)c;
        for (; a < b; a += c, b -= c)
            for (int i = 0; i < c; i++) {
                uint8_t t = a[i];
                a[i] = b[i];
                b[i] = t;
            }
    }
}

void fdit_picture_grey(struct fdit_picture *p)
{
    if (p->channels == 1)
        return;
    size_t n = (size_t)p->width * (size_t)p->height;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *v = p->pixels + 3 * i;
        p->pixels[i] = (uint8_t)((19595u * v[0] + 38470u * v[1] + 7471u * v[2] + 32768u) >> 16);
    }
    p->channels = 1;
}

void fdit_picture_to_f32(const struct fdit_picture *p, float *out)
{
    float value[256];
    for (int i = 0; i < 256; i++)
        value[i] = ((float)i / 255.0f - 0.5f) / 0.5f;
    size_t n = (size_t)p->width * (size_t)p->height, channels = (size_t)p->channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n; i++)
            out[c * n + i] = value[p->pixels[i * channels + c]];
}

enum fdit_status fdit_picture_from_f32(fdit_context *ctx, const float *x, int channels, int height,
                                       int width, struct fdit_picture *out)
{
    enum fdit_status status = fdit_picture_new(ctx, width, height, channels, out);
    if (status != FDIT_OK)
        return status;
    size_t n = (size_t)width * (size_t)height, step = (size_t)channels;
    for (size_t c = 0; c < step; c++)
        for (size_t i = 0; i < n; i++) {
            float v = x[c * n + i];
            v = v >= -1 ? (v <= 1 ? v : 1) : -1; /* NaN fails the first test */
            out->pixels[i * step + c] = (uint8_t)((v + 1) / 2 * 255 + 0.5f);
        }
    return FDIT_OK;
}
