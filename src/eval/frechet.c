/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/frechet.h"

#include "core/mem.h"
#include "core/phase.h"
#include "eval/lapack.h"

#include <float.h>
#include <math.h>

/* From so many features on it takes long enough to say what is done; error bars are of fewer (measure.c). */
enum { SHOWN = 1024 };

/* A covariance of n pictures has at most n - 1 dimensions that are not empty. */
static size_t most_rank(uint64_t n, size_t d)
{
    return n > 1 && n - 1 < d ? (size_t)(n - 1) : d;
}

size_t fdit_frechet_bytes(uint64_t n, uint64_t m, size_t d)
{
    const size_t a = most_rank(n, d), b = most_rank(m, d);
    return ((a + b) * d + a * b) * sizeof(double);
}

/* Row p of the covariance less what the rows before explain of it, over the root of its variance. */
static void next_row(const double *covariance, const double *rows, size_t rank, size_t p, size_t d,
                     double variance, double *out)
{
    for (size_t k = 0; k < d; k++)
        out[k] = covariance[p * d + k];
    for (size_t i = 0; i < rank; i++) {
        const double factor = rows[i * d + p], *row = rows + i * d;
        for (size_t k = 0; k < d; k++)
            out[k] -= factor * row[k];
    }
    for (size_t k = 0; k < d; k++)
        out[k] /= sqrt(variance);
}

/* Rows that the covariance's root consists of: out [*rank, d] with out^T out = S, by Cholesky's method with
 * the largest variance first (Higham 1990, "Analysis of the Cholesky decomposition of a semi-definite
 * matrix"). Variances that are 0 but for rounding are left out. `before`: rows of the phase that are done. */
static enum fdit_status factor(fdit_context *ctx, const struct fdit_moments *m, size_t before, double **out,
                               size_t *rank)
{
    enum fdit_status status = FDIT_OK;
    const size_t d = m->d, most = most_rank(m->n, d);
    double *variance = NULL, largest = 0, left;
    *out = NULL;
    *rank = 0;
    TRY(fdit_alloc(ctx, most, d * sizeof(double), out));
    TRY(fdit_alloc(ctx, d, sizeof(double), &variance));
    for (size_t k = 0; k < d; k++) {
        variance[k] = m->covariance[k * d + k];
        largest = variance[k] > largest ? variance[k] : largest;
    }
    for (;; ++*rank) {
        size_t p = 0;
        for (size_t k = 1; k < d; k++)
            p = variance[k] > variance[p] ? k : p;
        left = variance[p];
        if (*rank == most || !(left > largest * (double)d * DBL_EPSILON))
            break;
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped");
        if (d >= SHOWN)
            fdit_phase_at(ctx, before + *rank);
        double *row = *out + *rank * d;
        next_row(m->covariance, *out, *rank, p, d, left, row);
        for (size_t k = 0; k < d; k++)
            variance[k] -= row[k] * row[k];
        variance[p] = 0;
    }
    if (left > largest * 1e-6)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "Frechet distance: a covariance of %llu pictures varies in more than %zu directions, which "
             "theirs cannot; its file says a wrong number of pictures",
             (unsigned long long)m->n, most);
out:
    fdit_free(variance);
    return status;
}

/* Sum of the singular values of a [rows, columns], which is overwritten. */
static enum fdit_status nuclear_norm(fdit_context *ctx, double *a, size_t rows, size_t columns, double *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = rows < columns ? rows : columns;
    double *values = NULL;
    *out = 0;
    if (!n)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, n, sizeof(double), &values));
    TRY(fdit_lapack_singular(ctx, a, rows, columns, values));
    for (size_t i = n; i-- > 0;)
        *out += values[i];
out:
    fdit_free(values);
    return status;
}

/* out [n, m] = a [n, d] b [m, d]^T. Blocks of b stay in the cache. */
static void outer_products(const double *a, size_t n, const double *b, size_t m, size_t d, double *out)
{
    enum { BLOCK = 32 };
    for (size_t first = 0; first < m; first += BLOCK)
        for (size_t i = 0; i < n; i++)
            for (size_t j = first; j < m && j < first + BLOCK; j++) {
                double s[4] = { 0 };
                size_t k = 0;
                for (; k + 4 <= d; k += 4)
                    for (size_t c = 0; c < 4; c++)
                        s[c] += a[i * d + k + c] * b[j * d + k + c];
                for (; k < d; k++)
                    s[0] += a[i * d + k] * b[j * d + k];
                out[i * m + j] = (s[0] + s[1]) + (s[2] + s[3]);
            }
}

static enum fdit_status root_trace(fdit_context *ctx, const double *a, size_t n, const double *b, size_t m,
                                   size_t d, double *out)
{
    enum fdit_status status = FDIT_OK;
    double *product = NULL;
    TRY(fdit_alloc(ctx, n, m * sizeof(double), &product));
    outer_products(a, n, b, m, d, product);
    TRY(nuclear_norm(ctx, product, n, m, out));
out:
    fdit_free(product);
    return status;
}

static enum fdit_status factors(fdit_context *ctx, const struct fdit_moments *x, const struct fdit_moments *y,
                                double *a[2], size_t rank[2])
{
    enum fdit_status status = FDIT_OK;
    TRY(factor(ctx, x, 0, &a[0], &rank[0]));
    TRY(factor(ctx, y, rank[0], &a[1], &rank[1]));
out:
    return status;
}

static bool equal(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static enum fdit_status check_width(fdit_context *ctx, size_t x, size_t y)
{
    if (x != y)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "Frechet distance: one set has %zu features a picture and the other %zu; take the "
                         "same feature network for both",
                         x, y);
    if (x < 1 || x > 46340) /* d d fits LAPACK's int */
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "Frechet distance: %zu features a picture are too many",
                         x);
    return FDIT_OK;
}

enum fdit_status fdit_frechet(fdit_context *ctx, const struct fdit_moments *x, const struct fdit_moments *y,
                              double *out)
{
    enum fdit_status status = FDIT_OK;
    double *a[2] = { NULL }, root = 0, sum = 0;
    size_t rank[2], d = x->d;
    const bool shown = d >= SHOWN;
    *out = 0;
    TRY(check_width(ctx, x->d, y->d));
    if (equal(x->mean, y->mean, d) && equal(x->covariance, y->covariance, d * d))
        goto out; /* 0 */
    if (shown)
        fdit_phase_begin(ctx, most_rank(x->n, d) + most_rank(y->n, d), "roots of covariances");
    status = factors(ctx, x, y, a, rank);
    if (shown)
        fdit_phase_end(ctx);
    TRY(status);
    if (shown)
        fdit_phase_begin(ctx, 0, "singular values of a Frechet distance");
    status = root_trace(ctx, a[0], rank[0], a[1], rank[1], d, &root);
    if (shown)
        fdit_phase_end(ctx);
    TRY(status);
    for (size_t i = 0; i < d; i++) {
        double difference = x->mean[i] - y->mean[i];
        sum += difference * difference + x->covariance[i * d + i] + y->covariance[i * d + i];
    }
    *out = sum - 2 * root;
out:
    fdit_free(a[0]);
    fdit_free(a[1]);
    return status;
}

/* (x_i - mean) / sqrt(n - 1); their squares, the trace of the covariance, are added to *trace. */
static enum fdit_status centre(fdit_context *ctx, const struct fdit_points *p, double *mean, double **out,
                               double *trace)
{
    enum fdit_status status = FDIT_OK;
    double scale = 1 / sqrt((double)(p->n - 1));
    TRY(fdit_alloc(ctx, p->n, p->d * sizeof(double), out));
    for (size_t k = 0; k < p->d; k++) {
        mean[k] = 0;
        for (size_t i = 0; i < p->n; i++)
            mean[k] += (double)p->x[i * p->d + k];
        mean[k] /= (double)p->n;
    }
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->d; k++) {
            double v = ((double)p->x[i * p->d + k] - mean[k]) * scale;
            (*out)[i * p->d + k] = v;
            *trace += v * v;
        }
out:
    return status;
}

static enum fdit_status few_points(fdit_context *ctx, const struct fdit_points *x,
                                   const struct fdit_points *y, double *out)
{
    enum fdit_status status = FDIT_OK;
    double *a = NULL, *b = NULL, *means = NULL, root = 0, sum = 0;
    size_t d = x->d;
    TRY(fdit_alloc(ctx, 2 * d, sizeof(double), &means));
    TRY(centre(ctx, x, means, &a, &sum));
    TRY(centre(ctx, y, means + d, &b, &sum));
    TRY(root_trace(ctx, a, x->n, b, y->n, d, &root));
    for (size_t k = 0; k < d; k++)
        sum += (means[k] - means[d + k]) * (means[k] - means[d + k]);
    *out = sum - 2 * root;
out:
    fdit_free(a);
    fdit_free(b);
    fdit_free(means);
    return status;
}

enum fdit_status fdit_frechet_points(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_points *x,
                                     const struct fdit_points *y, double *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_moments a = { 0 }, b = { 0 };
    *out = 0;
    TRY(fdit_points_check_pair(ctx, "Frechet distance", x, y, 2));
    if (x->n + y->n < x->d) {
        TRY(few_points(ctx, x, y, out));
        goto out;
    }
    TRY(fdit_moments_of(ctx, pool, x, &a));
    TRY(fdit_moments_of(ctx, pool, y, &b));
    TRY(fdit_frechet(ctx, &a, &b, out));
out:
    fdit_moments_fini(&a);
    fdit_moments_fini(&b);
    return status;
}
