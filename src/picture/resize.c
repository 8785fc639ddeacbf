/* SPDX-License-Identifier: Apache-2.0
 * The chain of steps from a picture to its square; each is planned from the last to the first, so
 * that only pixels that reach the result are computed. The filter itself is in resample.c. */
#include "picture/resize.h"

#include "core/mem.h"
#include "picture/chain.h"

#include <math.h>
#include <string.h>

#define MAX_SIDE (1 << 30)

/* ------------------------------------------------------------------ halving */

/* Both sides even: the weights are one half, and (a + b) 2^21 + 2^21 >> 22 is (a + b + 1) / 2. Two
 * rows of 2 n pixels become one of n; c is a constant where this is called. */
static inline void halve_rows(const uint8_t *a, const uint8_t *b, int n, const int c, uint8_t *out)
{
    for (int x = 0; x < n; x++, a += 2 * c, b += 2 * c, out += c)
        for (int i = 0; i < c; i++) {
            int above = (a[i] + a[i + c] + 1) >> 1, below = (b[i] + b[i + c] + 1) >> 1;
            out[i] = (uint8_t)((above + below + 1) >> 1);
        }
}

/* The same along y first, as it comes when the picture is turned by a quarter. */
static inline void halve_rows_turned(const uint8_t *a, const uint8_t *b, int n, const int c, uint8_t *out)
{
    for (int x = 0; x < n; x++, a += 2 * c, b += 2 * c, out += c)
        for (int i = 0; i < c; i++) {
            int left = (a[i] + b[i] + 1) >> 1, right = (a[i + c] + b[i + c] + 1) >> 1;
            out[i] = (uint8_t)((left + right + 1) >> 1);
        }
}

void fdit_halve_rows(const uint8_t *a, const uint8_t *b, int n, int c, bool turned, uint8_t *out)
{
    if (turned)
        c == 3 ? halve_rows_turned(a, b, n, 3, out) : halve_rows_turned(a, b, n, 1, out);
    else
        c == 3 ? halve_rows(a, b, n, 3, out) : halve_rows(a, b, n, 1, out);
}

static void halve_even(const struct fdit_part *in, const struct fdit_axis *x, const struct fdit_axis *y,
                       uint8_t *out)
{
    size_t row_bytes = (size_t)x->n * (size_t)in->channels;
    for (int i = 0; i < y->n; i++, out += row_bytes) {
        ptrdiff_t first = (ptrdiff_t)(2 * x->lo - in->x) * in->channels;
        const uint8_t *a = fdit_part_row(in, 2 * (y->lo + i)) + first;
        const uint8_t *b = fdit_part_row(in, 2 * (y->lo + i) + 1) + first;
        fdit_halve_rows(a, b, x->n, in->channels, false, out);
    }
}

/* ------------------------------------------------------------------ a chain of steps */

void fdit_chain_fini(struct fdit_chain *c)
{
    for (int i = 0; i < c->n; i++) {
        fdit_axis_fini(&c->steps[i].x);
        fdit_axis_fini(&c->steps[i].y);
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

/* Plans halvings while `side` (the short or the long one) is at least 2 size, then the bicubic
 * step. */
static enum fdit_status chain_sizes(fdit_context *ctx, struct fdit_chain *c, const char *name, int w, int h,
                                    int size, bool long_side)
{
    c->n = 0;
    for (;;) {
        int side = (w < h) != long_side ? w : h;
        struct fdit_chain_step *s = &c->steps[c->n++];
        s->in_w = w;
        s->in_h = h;
        if (side / 2 >= size) {
            s->out_w = w = half(w);
            s->out_h = h = half(h);
            continue;
        }
        double scale = (double)size / side, long_out = rint((w > h ? w : h) * scale);
        if (long_out > MAX_SIDE)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: a picture of %d x %d is too narrow for the size %d; cut it, or remove it",
                             name, c->steps[0].in_w, c->steps[0].in_h, size);
        s->out_w = at_least_1(rint(w * scale)); /* half to even: the default of every thread */
        s->out_h = at_least_1(rint(h * scale));
        return FDIT_OK;
    }
}

/* From the last step back to the first: what each needs of the one before. */
static enum fdit_status chain_axes(fdit_context *ctx, struct fdit_chain *c, int x, int y, int w, int h)
{
    enum fdit_status status = FDIT_OK;
    for (int i = c->n - 1; i >= 0; i--) {
        struct fdit_chain_step *s = &c->steps[i];
        enum fdit_filter filter = i == c->n - 1 ? FDIT_FILTER_BICUBIC : FDIT_FILTER_BOX;
        TRY(fdit_axis_init(ctx, &s->x, filter, s->in_w, s->out_w, x, w));
        TRY(fdit_axis_init(ctx, &s->y, filter, s->in_h, s->out_h, y, h));
        s->even = filter == FDIT_FILTER_BOX && s->in_w % 2 == 0 && s->in_h % 2 == 0;
        int hi;
        fdit_axis_needs(&s->x, &x, &hi);
        w = hi - x;
        fdit_axis_needs(&s->y, &y, &hi);
        h = hi - y;
    }
out:
    return status;
}

enum fdit_status fdit_chain_check(fdit_context *ctx, const char *name, int w, int h, int size, bool pad)
{
    struct fdit_chain c;
    return chain_sizes(ctx, &c, name, w, h, size, pad);
}

enum fdit_status fdit_chain_init(fdit_context *ctx, struct fdit_chain *c, const char *name, int w, int h,
                                 int size, bool pad)
{
    enum fdit_status status = FDIT_OK;
    memset(c, 0, sizeof *c);
    TRY(chain_sizes(ctx, c, name, w, h, size, pad));
    const struct fdit_chain_step *last = &c->steps[c->n - 1];
    if (pad)
        TRY(chain_axes(ctx, c, 0, 0, last->out_w, last->out_h));
    else
        TRY(chain_axes(ctx, c, (last->out_w - size) / 2, (last->out_h - size) / 2, size, size));
out:
    return status;
}

/* out [h][w][channels] of the last step's window. */
static enum fdit_status chain_run(fdit_context *ctx, const struct fdit_chain *c,
                                  const struct fdit_picture *in, uint8_t *out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *old = NULL, *made = NULL;
    int channels = in->channels;
    struct fdit_part part = { .width = in->width,
                              .pixels = in->pixels,
                              .row_bytes = (size_t)in->width * (size_t)channels,
                              .channels = channels };
    for (int i = 0; i < c->n; i++) {
        const struct fdit_chain_step *s = &c->steps[i];
        uint8_t *to = out;
        if (i < c->n - 1) {
            TRY(fdit_alloc(ctx, (size_t)s->y.n, (size_t)s->x.n * (size_t)channels, &made));
            to = made;
        }
        if (s->even)
            halve_even(&part, &s->x, &s->y, to);
        else
            TRY(fdit_resample(ctx, &part, &s->x, &s->y, to));
        part = (struct fdit_part){ .width = s->x.n,
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

enum fdit_status fdit_chain_check_size(fdit_context *ctx, int size)
{
    if (size < 1 || (uint64_t)size * (uint64_t)size > FDIT_PICTURE_MAX_PIXELS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "a picture size of %d is not possible, 1 to 16384 are",
                         size);
    return FDIT_OK;
}

enum fdit_status fdit_picture_resize(fdit_context *ctx, const struct fdit_picture *in,
                                     enum fdit_filter filter, int width, int height, struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_axis x = { 0 }, y = { 0 };
    struct fdit_part part = { .width = in->width,
                              .pixels = in->pixels,
                              .row_bytes = (size_t)in->width * (size_t)in->channels,
                              .channels = in->channels };
    TRY(fdit_picture_new(ctx, width, height, in->channels, out));
    TRY(fdit_axis_init(ctx, &x, filter, in->width, width, 0, width));
    TRY(fdit_axis_init(ctx, &y, filter, in->height, height, 0, height));
    TRY(fdit_resample(ctx, &part, &x, &y, out->pixels));
out:
    fdit_axis_fini(&x);
    fdit_axis_fini(&y);
    if (status != FDIT_OK)
        fdit_picture_fini(out);
    return status;
}

enum fdit_status fdit_picture_crop(fdit_context *ctx, const struct fdit_picture *in, int size,
                                   struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_chain chain = { .n = 0 };
    memset(out, 0, sizeof *out);
    TRY(fdit_chain_check_size(ctx, size));
    TRY(fdit_picture_new(ctx, size, size, in->channels, out));
    TRY(fdit_chain_init(ctx, &chain, "crop", in->width, in->height, size, false));
    TRY(chain_run(ctx, &chain, in, out->pixels));
out:
    fdit_chain_fini(&chain);
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

void fdit_chain_place(const uint8_t *in, int w, int h, struct fdit_picture *out)
{
    uint8_t colour[3];
    int size = out->width;
    size_t channels = (size_t)out->channels, row = (size_t)w * channels;
    edge_colour(in, w, h, out->channels, colour);
    for (size_t i = 0; i < (size_t)size * (size_t)size; i++)
        memcpy(out->pixels + i * channels, colour, channels);
    size_t x = (size_t)(size - w) / 2, y = (size_t)(size - h) / 2;
    for (size_t i = 0; i < (size_t)h; i++)
        memcpy(out->pixels + ((y + i) * (size_t)size + x) * channels, in + i * row, row);
}

enum fdit_status fdit_picture_pad(fdit_context *ctx, const struct fdit_picture *in, int size,
                                  struct fdit_picture *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_chain chain = { .n = 0 };
    uint8_t *scaled = NULL;
    memset(out, 0, sizeof *out);
    TRY(fdit_chain_check_size(ctx, size));
    TRY(fdit_picture_new(ctx, size, size, in->channels, out));
    TRY(fdit_chain_init(ctx, &chain, "pad", in->width, in->height, size, true));
    int w = chain.steps[chain.n - 1].out_w, h = chain.steps[chain.n - 1].out_h;
    TRY(fdit_alloc(ctx, (size_t)h, (size_t)w * (size_t)in->channels, &scaled));
    TRY(chain_run(ctx, &chain, in, scaled));
    fdit_chain_place(scaled, w, h, out);
out:
    fdit_chain_fini(&chain);
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
