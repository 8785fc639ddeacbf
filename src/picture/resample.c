/* SPDX-License-Identifier: Apache-2.0
 * Resampling runs row by row: a row of the input is resampled along x when the first output row
 * needs it and kept while others do, so the picture between the passes never exists as a whole. */
#include "picture/resample.h"

#include "core/mem.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ------------------------------------------------------------------ weights of one axis */

void fdit_axis_fini(struct fdit_axis *a)
{
    fdit_free(a->first);
    fdit_free(a->taps);
    fdit_free(a->weights);
    fdit_free(a->split);
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

/* All as Pillow does it, in the same order of operations; w has room for one output's weights. */
static void fill_axis(struct fdit_axis *a, enum fdit_filter filter, int n_in, int n_out, double *w)
{
    double scale = (double)n_in / n_out, wide = scale > 1 ? scale : 1, narrow = 1 / wide;
    double reach = (filter == FDIT_FILTER_BOX ? 0.5 : 2.0) * wide;
    for (int o = 0; o < a->n; o++) {
        if (n_in == n_out) { /* what the filters come to as well */
            a->first[o] = a->lo + o;
            a->taps[o] = 1;
            a->weights[(size_t)o * (size_t)a->max_taps] = 1 << FDIT_WEIGHT_BITS;
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
            double v = (sum != 0 ? w[k] / sum : w[k]) * (1 << FDIT_WEIGHT_BITS);
            out[k] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        a->first[o] = from;
        a->taps[o] = to - from;
    }
}

/* ------------------------------------------------------------------ rows, plainly */

static inline uint8_t to_byte(int32_t sum)
{
    int32_t v = sum >> FDIT_WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row along x. in: the row from pixel x0 on; out [a->n][3]. */
static void along_x(const struct fdit_axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    for (int o = 0; o < a->n; o++, out += 3) {
        const int32_t *w = a->weights + (size_t)o * (size_t)a->max_taps;
        const uint8_t *p = in + 3 * (ptrdiff_t)(a->first[o] - x0);
        int32_t r = 1 << (FDIT_WEIGHT_BITS - 1), g = r, b = r;
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

static void along_x_grey(const struct fdit_axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    for (int o = 0; o < a->n; o++) {
        const int32_t *w = a->weights + (size_t)o * (size_t)a->max_taps;
        int32_t sum = 1 << (FDIT_WEIGHT_BITS - 1);
        for (int k = 0; k < a->taps[o]; k++)
            sum += w[k] * in[a->first[o] - x0 + k];
        out[o] = to_byte(sum);
    }
}

/* Bytes i..n of one output row along y, from `taps` rows. */
static void along_y(const int32_t *w, int taps, const uint8_t *const *rows, size_t i, size_t n, uint8_t *out)
{
    enum { piece = 64 };
    for (; i < n; i += piece) {
        int32_t sums[piece];
        size_t m = n - i < piece ? n - i : piece;
        for (size_t j = 0; j < m; j++)
            sums[j] = 1 << (FDIT_WEIGHT_BITS - 1);
        for (int k = 0; k < taps; k++)
            for (size_t j = 0; j < m; j++)
                sums[j] += w[k] * rows[k][i + j];
        for (size_t j = 0; j < m; j++)
            out[i + j] = to_byte(sums[j]);
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include "picture/resample_x86.h"
#else
enum { SLACK = 0 };
static bool have_vectors(void)
{
    return false;
}
static enum fdit_status split_weights(fdit_context *ctx, struct fdit_axis *a)
{
    (void)ctx;
    (void)a;
    return FDIT_OK;
}
static void along_x_vectors(const struct fdit_axis *a, const uint8_t *in, int x0, uint8_t *out)
{
    along_x(a, in, x0, out);
}
static void along_y_vectors(const struct fdit_axis *y, int o, const uint8_t *const *rows, size_t n,
                            uint8_t *out)
{
    along_y(y->weights + (size_t)o * (size_t)y->max_taps, y->taps[o], rows, 0, n, out);
}
#endif

static atomic_bool plain_only;

void fdit_resample_plain(bool plain)
{
    atomic_store(&plain_only, plain);
}

enum fdit_status fdit_axis_init(fdit_context *ctx, struct fdit_axis *a, enum fdit_filter filter, int n_in,
                                int n_out, int lo, int n)
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
    if (have_vectors())
        TRY(split_weights(ctx, a));
out:
    fdit_free(w);
    if (status != FDIT_OK)
        fdit_axis_fini(a);
    return status;
}

void fdit_axis_needs(const struct fdit_axis *a, int *lo, int *hi)
{
    *lo = a->first[0];
    *hi = a->first[a->n - 1] + a->taps[a->n - 1];
}

void fdit_resample_along(const struct fdit_axis *x, const uint8_t *in, int x0, uint8_t *out)
{
    if (have_vectors() && !atomic_load(&plain_only))
        along_x_vectors(x, in, x0, out);
    else
        along_x(x, in, x0, out);
}

void fdit_resample_down(const struct fdit_axis *y, int o, const uint8_t *const *rows, size_t n, uint8_t *out)
{
    if (have_vectors() && !atomic_load(&plain_only))
        along_y_vectors(y, o, rows, n, out);
    else
        along_y(y->weights + (size_t)o * (size_t)y->max_taps, y->taps[o], rows, 0, n, out);
}

/* ------------------------------------------------------------------ the two passes */

/* Rows that were resampled along x, kept in a ring: row y is at y % size. */
struct ring {
    const struct fdit_part *in;
    const struct fdit_axis *x;
    bool vectors;
    uint8_t *bytes, *padded; /* padded: one row of the input, with room behind it */
    const uint8_t **taps;
    size_t row_bytes;
    int size, next; /* rows below `next` have been made */
};

static void make_row(struct ring *r, int y)
{
    const struct fdit_part *in = r->in;
    const uint8_t *row = fdit_part_row(in, y);
    uint8_t *out = r->bytes + (size_t)(y % r->size) * r->row_bytes;
    if (in->channels == 1) {
        along_x_grey(r->x, row, in->x, out);
    } else if (r->vectors) { /* loads may reach beyond the row, which may end the picture */
        memcpy(r->padded, row, 3 * (size_t)in->width);
        along_x_vectors(r->x, r->padded, in->x, out);
    } else {
        along_x(r->x, row, in->x, out);
    }
}

static const uint8_t *ring_row(struct ring *r, int y)
{
    for (; r->next <= y; r->next++)
        make_row(r, r->next);
    return r->bytes + (size_t)(y % r->size) * r->row_bytes;
}

enum fdit_status fdit_resample(fdit_context *ctx, const struct fdit_part *in, const struct fdit_axis *x,
                               const struct fdit_axis *y, uint8_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct ring ring = { .in = in,
                         .x = x,
                         .vectors = have_vectors() && !atomic_load(&plain_only),
                         .row_bytes = (size_t)x->n * (size_t)in->channels,
                         .size = y->max_taps,
                         .next = y->first[0] };
    TRY(fdit_alloc(ctx, (size_t)ring.size, ring.row_bytes, &ring.bytes));
    TRY(fdit_alloc(ctx, (size_t)ring.size, sizeof *ring.taps, &ring.taps));
    if (ring.vectors && in->channels == 3)
        TRY(fdit_alloc(ctx, (size_t)in->width * 3 + SLACK, 1, &ring.padded));
    for (int o = 0; o < y->n; o++, out += ring.row_bytes) {
        const int32_t *w = y->weights + (size_t)o * (size_t)y->max_taps;
        for (int k = 0; k < y->taps[o]; k++)
            ring.taps[k] = ring_row(&ring, y->first[o] + k);
        if (ring.vectors)
            along_y_vectors(y, o, ring.taps, ring.row_bytes, out);
        else
            along_y(w, y->taps[o], ring.taps, 0, ring.row_bytes, out);
    }
out:
    fdit_free(ring.bytes);
    fdit_free(ring.taps);
    fdit_free(ring.padded);
    return status;
}
