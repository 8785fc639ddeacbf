/* SPDX-License-Identifier: Apache-2.0 */
#include "vae/projection.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

struct fdit_projection {
    struct fdit_projection_size size;
    size_t cells, terms, colours; /* terms: of the map, the latents and a constant */
    /* Sums over cells, the newest picture with weight 1: products of the terms with each other [terms, terms]
     * and with the colours [terms, channels]. */
    double *squares, *products;
    double *factor; /* [terms, terms] of Cholesky, lower */
    double *map;    /* [terms, channels] */
    double *cell;   /* [terms + channels] */
    float *seen;    /* [cells] in one colour */
    bool ready;
};

enum fdit_status fdit_projection_new(fdit_context *ctx, const struct fdit_projection_size *size,
                                     struct fdit_projection **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_projection *p = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *p, &p));
    p->size = *size;
    p->cells = (size_t)size->height * (size_t)size->width;
    p->terms = (size_t)size->latents + 1;
    p->colours = (size_t)size->channels;
    TRY(fdit_alloc(ctx, p->terms * p->terms, sizeof *p->squares, &p->squares));
    TRY(fdit_alloc(ctx, p->terms * p->terms, sizeof *p->factor, &p->factor));
    TRY(fdit_alloc(ctx, p->terms * p->colours, sizeof *p->products, &p->products));
    TRY(fdit_alloc(ctx, p->terms * p->colours, sizeof *p->map, &p->map));
    TRY(fdit_alloc(ctx, p->terms + p->colours, sizeof *p->cell, &p->cell));
    TRY(fdit_alloc(ctx, p->cells, sizeof *p->seen, &p->seen));
    *out = p;
    p = NULL;
out:
    fdit_projection_free(p);
    return status;
}

void fdit_projection_free(struct fdit_projection *p)
{
    if (!p)
        return;
    fdit_free(p->squares);
    fdit_free(p->factor);
    fdit_free(p->products);
    fdit_free(p->map);
    fdit_free(p->cell);
    fdit_free(p->seen);
    fdit_free(p);
}

bool fdit_projection_ready(const struct fdit_projection *p)
{
    return p->ready;
}

/* ------------------------------------------------------------------ the fit */

/* squares + ridge = L L^T. The ridge makes it definite where a latent is a constant or a sum of others: it is
 * far below what the fit notices. */
static bool factorise(struct fdit_projection *p)
{
    const size_t n = p->terms;
    double trace = 0;
    for (size_t i = 0; i < n; i++)
        trace += p->squares[i * n + i];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = p->squares[i * n + j] + (i == j ? 1e-9 * trace : 0);
            for (size_t k = 0; k < j; k++)
                sum -= p->factor[i * n + k] * p->factor[j * n + k];
            if (i == j && !(sum > 0))
                return false;
            p->factor[i * n + j] = i == j ? sqrt(sum) : sum / p->factor[j * n + j];
        }
    return true;
}

static void solve(struct fdit_projection *p, size_t colour)
{
    const size_t n = p->terms, colours = p->colours;
    double *map = p->map + colour;
    for (size_t i = 0; i < n; i++) {
        double sum = p->products[i * colours + colour];
        for (size_t k = 0; k < i; k++)
            sum -= p->factor[i * n + k] * map[k * colours];
        map[i * colours] = sum / p->factor[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        double sum = map[i * colours];
        for (size_t k = i + 1; k < n; k++)
            sum -= p->factor[k * n + i] * map[k * colours];
        map[i * colours] = sum / p->factor[i * n + i];
    }
}

/* Terms and colours of a cell into p->cell. False: a number is not finite. */
static bool read_cell(struct fdit_projection *p, const float *x, const float *picture, size_t at)
{
    const size_t f = (size_t)p->size.factor, w = (size_t)p->size.width, row = w * f, plane = p->cells * f * f;
    const float *corner = picture + at / w * f * row + at % w * f;
    double sum = 0;
    for (size_t i = 0; i + 1 < p->terms; i++)
        sum += p->cell[i] = x[i * p->cells + at];
    p->cell[p->terms - 1] = 1;
    for (size_t c = 0; c < p->colours; c++) {
        double colour = 0;
        for (size_t y = 0; y < f; y++)
            for (size_t k = 0; k < f; k++)
                colour += corner[c * plane + y * row + k];
        sum += p->cell[p->terms + c] = colour / (double)(f * f);
    }
    return isfinite(sum);
}

void fdit_projection_learn(struct fdit_projection *p, const float *x, const float *picture)
{
    const size_t n = p->terms, colours = p->colours;
    for (size_t i = 0; i < n * n; i++)
        p->squares[i] /= 2;
    for (size_t i = 0; i < n * colours; i++)
        p->products[i] /= 2;
    for (size_t at = 0; at < p->cells; at++) {
        if (!read_cell(p, x, picture, at))
            continue;
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i; j++)
                p->squares[i * n + j] += p->cell[i] * p->cell[j];
            for (size_t c = 0; c < colours; c++)
                p->products[i * colours + c] += p->cell[i] * p->cell[n + c];
        }
    }
    if (!factorise(p))
        return; /* nothing finite was seen yet */
    for (size_t c = 0; c < colours; c++)
        solve(p, c);
    p->ready = true;
}

/* ------------------------------------------------------------------ the picture */

static void see(struct fdit_projection *p, const float *x, size_t colour)
{
    for (size_t at = 0; at < p->cells; at++) {
        double sum = p->map[(p->terms - 1) * p->colours + colour];
        for (size_t i = 0; i + 1 < p->terms; i++)
            sum += p->map[i * p->colours + colour] * x[i * p->cells + at];
        p->seen[at] = (float)sum;
    }
}

/* The two of n cells whose centres are beside a pixel's, and the share of the second. */
static float beside(int pixel, int factor, int n, size_t *a, size_t *b)
{
    const float at = ((float)pixel + 0.5f) / (float)factor - 0.5f, low = floorf(at);
    *a = low < 0 ? 0 : (size_t)low;
    *b = low + 1 < (float)n ? (size_t)(low + 1) : (size_t)n - 1;
    return at - low;
}

void fdit_projection_make(struct fdit_projection *p, const float *x, float *picture)
{
    const struct fdit_projection_size *s = &p->size;
    for (size_t c = 0; c < p->colours; c++) {
        see(p, x, c);
        for (int y = 0; y < s->height * s->factor; y++) {
            size_t above, below, left, right;
            const float down = beside(y, s->factor, s->height, &above, &below);
            const float *up = p->seen + above * (size_t)s->width, *low = p->seen + below * (size_t)s->width;
            for (int k = 0; k < s->width * s->factor; k++) {
                const float across = beside(k, s->factor, s->width, &left, &right);
                const float a = up[left] + across * (up[right] - up[left]);
                const float b = low[left] + across * (low[right] - low[left]);
                *picture++ = a + down * (b - a);
            }
        }
    }
}
