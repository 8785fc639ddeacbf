/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/statistics.h"

#include "core/mem.h"

/* ALONE: sums of a batch below which waking threads takes longer than the work. */
enum { BATCH = 64, ROWS = 8, ALONE = 1 << 22 };

struct fdit_statistics {
    size_t d;
    double count;
    bool begun;
    double *shift;            /* [d] the first vector: sums are of differences from it, so little cancels */
    double *sum, *square;     /* [d], and the upper triangle of [d, d], row after row */
    double *centred, *scaled; /* [BATCH, d] differences, and those times their weights */
};

size_t fdit_moments_bytes(size_t d)
{
    return (d + d * d) * sizeof(double);
}

/* Numbers of the rows of a triangle before row i, which has d - i. */
static size_t before_row(size_t i, size_t d)
{
    return i * d - i * (i - 1) / 2;
}

size_t fdit_statistics_bytes(size_t d)
{
    return (2 * d + before_row(d, d) + (size_t)2 * BATCH * d) * sizeof(double);
}

void fdit_moments_fini(struct fdit_moments *m)
{
    fdit_free(m->mean);
    fdit_free(m->covariance);
    *m = (struct fdit_moments){ 0 };
}

enum fdit_status fdit_moments_new(fdit_context *ctx, size_t d, struct fdit_moments *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_moments){ .d = d };
    TRY(fdit_alloc(ctx, d, sizeof(double), &out->mean));
    TRY(fdit_alloc(ctx, d, d * sizeof(double), &out->covariance));
out:
    if (status != FDIT_OK)
        fdit_moments_fini(out);
    return status;
}

enum fdit_status fdit_statistics_new(fdit_context *ctx, size_t d, struct fdit_statistics **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_statistics *s = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *s, &s));
    s->d = d;
    TRY(fdit_alloc(ctx, d, sizeof(double), &s->shift));
    TRY(fdit_alloc(ctx, d, sizeof(double), &s->sum));
    TRY(fdit_alloc(ctx, before_row(d, d), sizeof(double), &s->square));
    TRY(fdit_alloc(ctx, BATCH * d, sizeof(double), &s->centred));
    TRY(fdit_alloc(ctx, BATCH * d, sizeof(double), &s->scaled));
    *out = s;
    s = NULL;
out:
    fdit_statistics_free(s);
    return status;
}

void fdit_statistics_free(struct fdit_statistics *s)
{
    if (!s)
        return;
    fdit_free(s->shift);
    fdit_free(s->sum);
    fdit_free(s->square);
    fdit_free(s->centred);
    fdit_free(s->scaled);
    fdit_free(s);
}

struct batch {
    struct fdit_statistics *s;
    size_t n;
};

/* Rows ROWS r .. of the triangle, vector after vector. */
static void add_rows(void *user, size_t begin, size_t end, int member)
{
    struct batch *b = user;
    struct fdit_statistics *s = b->s;
    size_t d = s->d;
    (void)member;
    for (size_t r = begin; r < end; r++)
        for (size_t v = 0; v < b->n; v++)
            for (size_t i = r * ROWS; i < (r + 1) * ROWS && i < d; i++) {
                double *to = s->square + before_row(i, d), factor = s->scaled[v * d + i];
                const double *from = s->centred + v * d + i;
                for (size_t j = 0; j < d - i; j++)
                    to[j] += factor * from[j];
            }
}

void fdit_statistics_add(struct fdit_statistics *s, struct fdit_pool *pool, const float *x, size_t n,
                         const float *weights, size_t stride)
{
    size_t d = s->d;
    if (BATCH * d * d < ALONE)
        pool = NULL;
    if (n && !s->begun)
        for (size_t k = 0; k < d; k++)
            s->shift[k] = (double)x[k];
    s->begun = s->begun || n;
    for (size_t done = 0; done < n;) {
        struct batch b = { s, 0 };
        for (; done < n && b.n < BATCH; done++) {
            double w = weights ? (double)weights[done * stride] : 1;
            if (w == 0)
                continue;
            double *centred = s->centred + b.n * d, *scaled = s->scaled + b.n * d;
            for (size_t k = 0; k < d; k++) {
                centred[k] = (double)x[done * d + k] - s->shift[k];
                scaled[k] = w * centred[k];
                s->sum[k] += scaled[k];
            }
            s->count += w;
            b.n++;
        }
        fdit_eval_share(pool, (d + ROWS - 1) / ROWS, add_rows, &b);
    }
}

uint64_t fdit_statistics_count(const struct fdit_statistics *s)
{
    return (uint64_t)s->count;
}

enum fdit_status fdit_statistics_moments(fdit_context *ctx, const struct fdit_statistics *s,
                                         struct fdit_moments *out)
{
    enum fdit_status status = FDIT_OK;
    size_t d = s->d;
    *out = (struct fdit_moments){ 0 };
    if (s->count < 2)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a covariance needs two pictures, there %s",
             s->count < 1 ? "is none" : "is one");
    TRY(fdit_moments_new(ctx, d, out));
    out->n = (uint64_t)s->count;
    for (size_t i = 0; i < d; i++)
        out->mean[i] = s->shift[i] + s->sum[i] / s->count;
    for (size_t i = 0; i < d; i++)
        for (size_t j = i; j < d; j++) {
            const double square = s->square[before_row(i, d) + j - i];
            double c = (square - s->sum[i] * (s->sum[j] / s->count)) / (s->count - 1);
            out->covariance[i * d + j] = out->covariance[j * d + i] = c;
        }
out:
    return status;
}

enum fdit_status fdit_moments_of(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *p,
                                 struct fdit_moments *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_statistics *s = NULL;
    *out = (struct fdit_moments){ 0 };
    TRY(fdit_statistics_new(ctx, p->d, &s));
    fdit_statistics_add(s, pool, p->x, p->n, NULL, 0);
    TRY(fdit_statistics_moments(ctx, s, out));
out:
    fdit_statistics_free(s);
    return status;
}

/* Mean of feature k, and *spread: its variance (divisor n - 1) over n, what chance adds to its square. */
static double mean_of(const struct fdit_points *p, size_t k, double *spread)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < p->n; i++)
        mean += (double)p->x[i * p->d + k];
    mean /= (double)p->n;
    for (size_t i = 0; i < p->n; i++) {
        double difference = (double)p->x[i * p->d + k] - mean;
        square += difference * difference;
    }
    *spread = square / (double)(p->n - 1) / (double)p->n;
    return mean;
}

enum fdit_status fdit_mean_distance(fdit_context *ctx, const struct fdit_points *x,
                                    const struct fdit_points *y, double *out)
{
    enum fdit_status status = FDIT_OK;
    *out = 0;
    TRY(fdit_points_check_pair(ctx, "distance of means", x, y, 2));
    for (size_t k = 0; k < x->d; k++) {
        double spread_x, spread_y, difference = mean_of(x, k, &spread_x) - mean_of(y, k, &spread_y);
        *out += difference * difference - spread_x - spread_y;
    }
out:
    return status;
}
