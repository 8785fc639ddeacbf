/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/mmd.h"

#include "core/mem.h"
#include "diffusion/torch_rng.h"

#include <math.h>
#include <string.h>

struct fdit_mmd fdit_mmd_kid(void)
{
    return (struct fdit_mmd){ .kernel = FDIT_KERNEL_CUBIC, .scale = 1 };
}

struct fdit_mmd fdit_mmd_cmmd(void)
{
    return (struct fdit_mmd){ .kernel = FDIT_KERNEL_GAUSSIAN, .sigma = 10, .biased = true, .scale = 1000 };
}

/* One of the three sums: over all pairs of x and y, or of one set with itself. */
struct sum {
    const struct fdit_mmd *mmd;
    const struct fdit_points *x, *y;
    const double *length_x, *length_y; /* of the vectors; Gaussian */
    const float *weights_x, *weights_y;
    size_t columns;   /* draws + 1 */
    bool own;         /* x and y are one set */
    double *blocks;   /* [blocks of rows, columns] */
    double *products; /* [blocks of rows, columns] sums of the weights' products */
};

static double kernel(const struct sum *s, size_t i, size_t j, double product)
{
    if (s->mmd->kernel == FDIT_KERNEL_CUBIC) {
        double v = product / (double)s->x->d + 1;
        return v * v * v;
    }
    double squared = 2 - 2 * product / (s->length_x[i] * s->length_y[j]);
    return exp(-squared / (2 * s->mmd->sigma * s->mmd->sigma));
}

static void add_pairs(void *job, size_t i, size_t j, size_t n, const double *value)
{
    const struct sum *s = job;
    size_t columns = s->columns, block = i / FDIT_PAIR_ROWS;
    double *sum = s->blocks + block * columns, *product = s->products + block * columns;
    const float *own = s->weights_x ? s->weights_x + i * columns : NULL;
    for (size_t c = 0; c < n; c++) {
        if (s->own && i == j + c && !s->mmd->biased)
            continue;
        double k = kernel(s, i, j + c, value[c]);
        if (!own) {
            sum[0] += k;
            product[0] += 1;
            continue;
        }
        const float *other = s->weights_y + (j + c) * columns;
        for (size_t b = 0; b < columns; b++) {
            double w = (double)own[b] * (double)other[b];
            sum[b] += w * k;
            product[b] += w;
        }
    }
}

/* out [columns] gets factor times the mean kernel value added. */
static enum fdit_status add_mean(fdit_context *ctx, struct fdit_pool *pool, struct sum *s, double factor,
                                 double *out)
{
    enum fdit_status status = FDIT_OK;
    size_t blocks = (s->x->n + FDIT_PAIR_ROWS - 1) / FDIT_PAIR_ROWS, columns = s->columns;
    TRY(fdit_alloc(ctx, blocks, columns * sizeof(double), &s->blocks));
    TRY(fdit_alloc(ctx, blocks, columns * sizeof(double), &s->products));
    TRY(fdit_pairs_run(ctx, pool, "comparing pictures", s->x, s->y, FDIT_PAIR_PRODUCT, add_pairs, s));
    for (size_t b = 0; b < columns; b++) {
        double sum = 0, product = 0;
        for (size_t k = 0; k < blocks; k++) {
            sum += s->blocks[k * columns + b];
            product += s->products[k * columns + b];
        }
        out[b] += factor * (sum / product);
    }
out:
    fdit_free(s->blocks);
    fdit_free(s->products);
    s->blocks = s->products = NULL;
    return status;
}

static enum fdit_status find_lengths(fdit_context *ctx, const struct fdit_points *p, double *out)
{
    for (size_t i = 0; i < p->n; i++) {
        double square = 0;
        for (size_t k = 0; k < p->d; k++)
            square += (double)p->x[i * p->d + k] * (double)p->x[i * p->d + k];
        if (!(square > 0))
            return fdit_fail(ctx, FDIT_ERROR_NUMERIC,
                             "the features of picture %zu are all zero and cannot be scaled to length 1; "
                             "leave cmmd out",
                             i);
        out[i] = sqrt(square);
    }
    return FDIT_OK;
}

enum fdit_status fdit_mmd_compute(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_mmd *mmd,
                                  const struct fdit_points *x, const struct fdit_points *y,
                                  const float *weights_x, const float *weights_y, size_t draws, double *out)
{
    enum fdit_status status = FDIT_OK;
    double *lengths = NULL, *length_y = NULL;
    size_t columns = draws + 1;
    for (size_t b = 0; b < columns; b++)
        out[b] = 0;
    TRY(fdit_points_check_pair(ctx, "a kernel distance", x, y, 2));
    if (mmd->kernel == FDIT_KERNEL_GAUSSIAN) {
        TRY(fdit_alloc(ctx, x->n + y->n, sizeof(double), &lengths));
        length_y = lengths + x->n;
        TRY(find_lengths(ctx, x, lengths));
        TRY(find_lengths(ctx, y, length_y));
    }
    struct sum xx = { mmd, x, x, lengths, lengths, weights_x, weights_x, columns, true, NULL, NULL };
    struct sum yy = { mmd, y, y, length_y, length_y, weights_y, weights_y, columns, true, NULL, NULL };
    struct sum xy = { mmd, x, y, lengths, length_y, weights_x, weights_y, columns, false, NULL, NULL };
    TRY(add_mean(ctx, pool, &xx, mmd->scale, out));
    TRY(add_mean(ctx, pool, &yy, mmd->scale, out));
    TRY(add_mean(ctx, pool, &xy, -2 * mmd->scale, out));
out:
    fdit_free(lengths);
    return status;
}

static void gather(const struct fdit_points *p, const uint32_t *picks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * p->d, p->x + picks[i] * p->d, p->d * sizeof(float));
}

enum fdit_status fdit_mmd_subsets(fdit_context *ctx, struct fdit_pool *pool, const struct fdit_mmd *mmd,
                                  const struct fdit_points *x, const struct fdit_points *y, size_t subsets,
                                  size_t size, const uint32_t *picks_x, const uint32_t *picks_y, double *mean,
                                  double *deviation)
{
    enum fdit_status status = FDIT_OK;
    double *values = NULL;
    float *rows = NULL;
    *mean = *deviation = 0;
    TRY(fdit_points_check_pair(ctx, "a kernel distance of subsets", x, y, size > 2 ? size : 2));
    TRY(fdit_alloc(ctx, subsets, sizeof(double), &values));
    TRY(fdit_alloc(ctx, 2 * size, x->d * sizeof(float), &rows));
    const struct fdit_points a = { size, x->d, rows }, b = { size, x->d, rows + size * x->d };
    for (size_t s = 0; s < subsets; s++) {
        gather(x, picks_x + s * size, size, rows);
        gather(y, picks_y + s * size, size, rows + size * x->d);
        TRY(fdit_mmd_compute(ctx, pool, mmd, &a, &b, NULL, NULL, 0, &values[s]));
        *mean += values[s] / (double)subsets;
    }
    for (size_t s = 0; s < subsets; s++)
        *deviation += (values[s] - *mean) * (values[s] - *mean) / (double)subsets;
    *deviation = sqrt(*deviation);
out:
    fdit_free(values);
    fdit_free(rows);
    return status;
}

/* numpy.random.RandomState(2020) for seed 0: torch-fidelity's default. */
static void begin_published(uint64_t seed, struct fdit_torch_cpu *out)
{
    fdit_torch_cpu_seed(out, 2020 + seed);
}

enum fdit_status fdit_mmd_picks(fdit_context *ctx, uint64_t seed, size_t n, size_t m, size_t subsets,
                                size_t size, uint32_t **first, uint32_t **second)
{
    enum fdit_status status = FDIT_OK;
    const size_t of[2] = { n, m }, larger = n > m ? n : m;
    uint32_t **const out[2] = { first, second };
    struct fdit_torch_cpu rng;
    uint32_t *order = NULL;
    *first = *second = NULL;
    if (size > n || size > m || larger > UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "subsets of %zu cannot be taken of %zu and %zu pictures", size, n, m);
    TRY(fdit_alloc(ctx, larger, sizeof *order, &order));
    TRY(fdit_alloc(ctx, subsets, size * sizeof **first, first));
    TRY(fdit_alloc(ctx, subsets, size * sizeof **second, second));
    begin_published(seed, &rng);
    for (size_t s = 0; s < subsets; s++)
        for (int set = 0; set < 2; set++) {
            fdit_numpy_permutation(&rng, (uint32_t)of[set], order);
            memcpy(*out[set] + s * size, order, size * sizeof *order);
        }
out:
    fdit_free(order);
    return status;
}

enum fdit_status fdit_mmd_order(fdit_context *ctx, uint64_t seed, size_t n, uint32_t **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_torch_cpu rng;
    *out = NULL;
    if (n > UINT32_MAX)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%zu pictures are more than can be shuffled", n);
    TRY(fdit_alloc(ctx, n, sizeof **out, out));
    begin_published(seed, &rng);
    fdit_numpy_permutation(&rng, (uint32_t)n, *out);
out:
    return status;
}
