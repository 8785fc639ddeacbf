/* SPDX-License-Identifier: Apache-2.0
 * attention_kernels.c: softmax attention of one head, forward and backward, in tiles that stay in cache;
 * built once per instruction set (cpu.h).
 *
 * All products are one microkernel, C [rows, vectors] (+)= sum over k of A(i, k) B(k, :), with A read
 * element by element (row-major, or column-major for a transposed operand) and B read as vectors. So B
 * is the operand that must lie along the output's columns:
 *     S = Q K^T, dP = dO V^T     B = K^T, V^T: packed in panels [dh][PANEL keys]
 *     O = P V, dQ = dS K         B = V, K: rows copied without gaps, padded to whole vectors
 *     dV = P^T dO, dK = dS^T Q   B = dO, Q: the same; A = P, dS read down their columns
 *
 * Forward: a tile of queries passes over the keys tile by tile, with the running maximum m and sum l of
 * each row (online softmax, arXiv 1805.02867). Backward: P is computed again from lse (FlashAttention-2,
 * arXiv 2307.08691); key tiles outside, query tiles inside, so each of dQ, dK, dV is summed over tiles in
 * ascending order whether one thread does the whole head or several share it.
 *
 * Tile sizes are constants: they must not depend on anything but the shape, or the bits would. */
#include "cpu/attention_sizes.h"
#include "cpu/op_kernels.h"

#include "cpu/vmath.h"

#define VL FDIT_VLEN
#define PANEL (2 * VL) /* keys in a panel of K^T or V^T */
#define ROW_STEP 12    /* rows of tiles are padded to it: a multiple of every microkernel's rows */

#define Q_TILE 48 /* forward: queries and keys of a tile of scores */
#define K_TILE 256
#define S_STRIDE (K_TILE + 16) /* off a power of two, so that columns do not share a cache set */

#define BQ_TILE 48 /* backward */
#define BK_TILE 128
#define P_STRIDE (BK_TILE + 16)

/* ------------------------------------------------------------------------------- microkernels */

/* A(i, k) = a[i * ai + k * ak]; row k of B at b + k * bk; row i of C at c + i * ci. */
FDIT_KERNEL void micro(const int mr, const int nv, int n, const float *a, size_t ai, size_t ak,
                       const float *b, size_t bk, float *c, size_t ci, bool add)
{
    vf acc[12][3];
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 3
        for (int j = 0; j < nv; j++)
            acc[i][j] = add ? vload(c + (size_t)i * ci + j * VL) : vzero();
    for (int k = 0; k < n; k++) {
        vf row[3];
#pragma GCC unroll 3
        for (int j = 0; j < nv; j++)
            row[j] = vload(b + j * VL);
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++) {
            vf x = vset(a[(size_t)i * ai]);
#pragma GCC unroll 3
            for (int j = 0; j < nv; j++)
                acc[i][j] = vfma(x, row[j], acc[i][j]);
        }
        a += ak;
        b += bk;
    }
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 3
        for (int j = 0; j < nv; j++)
            vstore(c + (size_t)i * ci + j * VL, acc[i][j]);
}

/* Twelve accumulators each. One copy for A along rows (ak = 1), one for A along columns (ai = 1). */
#define MICRO(mr, nv)                                                                               \
    static __attribute__((noinline)) void micro_rows_##mr##x##nv(                                   \
        int n, const float *a, size_t ai, const float *b, size_t bk, float *c, size_t ci, bool add) \
    {                                                                                               \
        micro(mr, nv, n, a, ai, 1, b, bk, c, ci, add);                                              \
    }                                                                                               \
    static __attribute__((noinline)) void micro_columns_##mr##x##nv(                                \
        int n, const float *a, size_t ak, const float *b, size_t bk, float *c, size_t ci, bool add) \
    {                                                                                               \
        micro(mr, nv, n, a, 1, ak, b, bk, c, ci, add);                                              \
    }
MICRO(4, 3)
MICRO(6, 2)
MICRO(12, 1)

typedef void micro_fn(int n, const float *a, size_t ai, const float *b, size_t bk, float *c, size_t ci,
                      bool add);

/* C [rows, vectors * VL], rows rounded up to a multiple of the microkernel's. `columns`: A is the
 * transpose of the array at a. */
static void product(bool columns, int rows, int vectors, int n, const float *a, size_t lda, const float *b,
                    size_t bk, float *c, size_t ci, bool add)
{
    while (vectors > 0) {
        const int nv = vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
        const int mr = 12 / nv;
        micro_fn *f = nv == 3   ? (columns ? micro_columns_4x3 : micro_rows_4x3)
                      : nv == 2 ? (columns ? micro_columns_6x2 : micro_rows_6x2)
                                : (columns ? micro_columns_12x1 : micro_rows_12x1);
        const size_t step = columns ? 1 : lda;
        for (int i = 0; i < rows; i += mr)
            f(n, a + (size_t)i * step, lda, b, bk, c + (size_t)i * ci, ci, add);
        vectors -= nv;
        b += nv * VL;
        c += nv * VL;
    }
}

/* C [rows, keys rounded up to panels] = A [rows, dh] B, B in panels. */
static void product_panels(int rows, int keys, int dh, const float *a, size_t lda, const float *panels,
                           float *c, size_t ci)
{
    for (int j = 0; j < keys; j += PANEL)
        for (int i = 0; i < rows; i += 6)
            micro_rows_6x2(dh, a + (size_t)i * lda, lda, panels + (size_t)j * (size_t)dh, PANEL,
                           c + (size_t)i * ci + j, ci, false);
}

/* ------------------------------------------------------------------------------------ packing */

typedef float v4 __attribute__((vector_size(16)));
typedef float v4_mem __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
typedef int32_t v4i __attribute__((vector_size(16)));
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shuffle(a, b, (v4i){ i, j, k, l })
#endif

/* to[d * PANEL + j] = from[j * stride + d] for j, d = 0..3 */
FDIT_KERNEL void transpose4(float *to, const float *from, size_t stride)
{
    v4 a = *(const v4_mem *)from, b = *(const v4_mem *)(from + stride);
    v4 c = *(const v4_mem *)(from + 2 * stride), d = *(const v4_mem *)(from + 3 * stride);
    v4 ab_low = SHUFFLE4(a, b, 0, 4, 1, 5), ab_high = SHUFFLE4(a, b, 2, 6, 3, 7);
    v4 cd_low = SHUFFLE4(c, d, 0, 4, 1, 5), cd_high = SHUFFLE4(c, d, 2, 6, 3, 7);
    *(v4_mem *)to = SHUFFLE4(ab_low, cd_low, 0, 1, 4, 5);
    *(v4_mem *)(to + PANEL) = SHUFFLE4(ab_low, cd_low, 2, 3, 6, 7);
    *(v4_mem *)(to + 2 * PANEL) = SHUFFLE4(ab_high, cd_high, 0, 1, 4, 5);
    *(v4_mem *)(to + 3 * PANEL) = SHUFFLE4(ab_high, cd_high, 2, 3, 6, 7);
}

/* Rows 0..n-1 of `from` into panels [dh][PANEL]; the keys that fill up the last panel are 0. */
static void pack_panels(float *to, const float *from, size_t stride, int n, int dh)
{
    for (int j = 0; j < round_up(n, PANEL); j += 4) {
        float *panel = to + (size_t)(j / PANEL * PANEL) * (size_t)dh + j % PANEL;
        const float *rows = from + (size_t)j * stride;
        int d = 0;
        if (n - j >= 4)
            for (; d + 4 <= dh; d += 4)
                transpose4(panel + (size_t)d * PANEL, rows + d, stride);
        for (; d < dh; d++)
            for (int i = 0; i < 4; i++)
                panel[(size_t)d * PANEL + (size_t)i] = j + i < n ? rows[(size_t)i * stride + d] : 0.0f;
    }
}

/* Rows 0..n-1 of `from` times `scale` into rows of `vectors` whole vectors; up to `total` rows are 0. */
static void copy_rows(float *to, const float *from, size_t stride, int n, int total, int dh, float scale)
{
    const int vectors = vectors_of(dh), rest = dh % VL;
    for (int r = 0; r < total; r++) {
        float *row = to + (size_t)r * (size_t)(vectors * VL);
        const float *source = from + (size_t)r * stride;
        if (r >= n) {
            memset(row, 0, (size_t)(vectors * VL) * sizeof *row);
            continue;
        }
        for (int d = 0; d + VL <= dh; d += VL)
            vstore(row + d, vload(source + d) * scale);
        if (rest)
            vstore(row + dh - rest, vload_n(source + dh - rest, rest) * scale);
    }
}

/* One row of `from` times `scale` to a row of dh floats. */
FDIT_KERNEL void store_row(float *to, const float *from, int dh, vf scale)
{
    int d = 0;
    for (; d + VL <= dh; d += VL)
        vstore(to + d, vload(from + d) * scale);
    if (d < dh)
        vstore_n(to + d, vload(from + d) * scale, dh - d);
}

/* e^x for x up to 88, 0 below -87: shorter than vexp, for numbers that are about 1 at most. */
FDIT_KERNEL vf exp_score(vf x)
{
    vi low = (vi)(x < -87.0f), n;
    vf p = vexpm1_reduced(vselect(low, vset(-87.0f), x), &n);
    return (vf)(~low & (vi)((p + 1.0f) * vpow2(n)));
}

/* Columns n.. of the last panel: no key, no weight. */
static void mask_columns(float *s, size_t stride, int rows, int n)
{
    for (int j = n; j < round_up(n, PANEL); j++)
        for (int r = 0; r < rows; r++)
            s[(size_t)r * stride + (size_t)j] = -__builtin_inff();
}

/* -------------------------------------------------------------------------------------- forward */

/* A thread's scratch; kt and v hold the whole head. */
struct forward {
    float *kt, *v, *q, *s, *o, *m, *l, *alpha;
};

static size_t forward_layout(int rows, int dh, float *at, struct forward *f)
{
    const size_t width = (size_t)padded(dh);
    const size_t sizes[8] = {
        (size_t)round_up(rows, PANEL) * (size_t)dh,
        (size_t)rows * width,
        Q_TILE * width,
        (size_t)Q_TILE * S_STRIDE,
        Q_TILE * width,
        Q_TILE,
        Q_TILE,
        Q_TILE,
    };
    float **parts[8] = { &f->kt, &f->v, &f->q, &f->s, &f->o, &f->m, &f->l, &f->alpha };
    size_t total = 0;
    for (int i = 0; i < 8; i++) {
        if (at)
            *parts[i] = at + total;
        total += (sizes[i] + 15) / 16 * 16;
    }
    return total;
}

static size_t forward_floats(int rows, int head_size)
{
    struct forward f = { 0 };
    return forward_layout(rows, head_size, NULL, &f);
}

static void forward_pack(const struct fdit_cpu_attention_head *h, float *scratch)
{
    struct forward f;
    forward_layout(h->rows, h->head_size, scratch, &f);
    pack_panels(f.kt, h->k, h->stride, h->rows, h->head_size);
    copy_rows(f.v, h->v, h->stride, h->rows, h->rows, h->head_size, 1.0f);
}

/* Raises m [Q_TILE] to the maxima of the rows of s; alpha = what older sums must be multiplied by. */
static void raise_maxima(const struct forward *f, int rows, int columns)
{
    for (int r = 0; r < rows; r++) {
        const float *s = f->s + (size_t)r * S_STRIDE;
        vf a = vset(-__builtin_inff()), b = a;
        for (int j = 0; j < columns; j += PANEL) {
            a = vmax(vload(s + j), a);
            b = vmax(vload(s + j + VL), b);
        }
        f->alpha[r] = vmax_of(vmax(a, b));
    }
    for (int r = 0; r < rows; r += VL) {
        vf old = vload(f->m + r), top = vmax(vload(f->alpha + r), old);
        vstore(f->m + r, top);
        /* -infinity - -infinity would be NaN: nothing was summed yet, and the factor is of no effect */
        vstore(f->alpha + r, vselect((vi)(top == -__builtin_inff()), vset(1.0f), vexp(old - top)));
    }
}

/* s = exp(s - m); l = l alpha + the row's sum; o *= alpha. */
static void exponentials(const struct forward *f, int rows, int columns, int width, bool first)
{
    for (int r = 0; r < rows; r++) {
        float *s = f->s + (size_t)r * S_STRIDE;
        const float top = f->m[r];
        const vf m = vset(top == -__builtin_inff() ? 0.0f : top);
        vf a = vzero(), b = vzero();
        for (int j = 0; j < columns; j += PANEL) {
            vf x = exp_score(vload(s + j) - m), y = exp_score(vload(s + j + VL) - m);
            vstore(s + j, x);
            vstore(s + j + VL, y);
            a = a + x;
            b = b + y;
        }
        const float sum = vsum(a + b);
        if (first) {
            f->l[r] = sum;
            continue;
        }
        const float alpha = f->alpha[r];
        f->l[r] = f->l[r] * alpha + sum;
        float *o = f->o + (size_t)r * (size_t)width;
        for (int d = 0; d < width; d += VL)
            vstore(o + d, vload(o + d) * alpha);
    }
}

static void forward_tile(const struct fdit_cpu_attention_head *h, int query_tile, float *scratch)
{
    const int dh = h->head_size, width = padded(dh), vectors = vectors_of(dh);
    const int begin = query_tile * Q_TILE, n = min_int(Q_TILE, h->rows - begin);
    const int rows = round_up(n, ROW_STEP);
    struct forward f;
    forward_layout(h->rows, dh, scratch, &f);
    copy_rows(f.q, h->q + (size_t)begin * h->stride, h->stride, n, Q_TILE, dh, score_scale(dh));
    for (int r = 0; r < Q_TILE; r++)
        f.m[r] = -__builtin_inff();

    for (int key = 0; key < h->rows; key += K_TILE) {
        const int keys = min_int(K_TILE, h->rows - key), columns = round_up(keys, PANEL);
        const bool first = key == 0;
        product_panels(rows, keys, dh, f.q, (size_t)width, f.kt + (size_t)key * (size_t)dh, f.s, S_STRIDE);
        mask_columns(f.s, S_STRIDE, rows, keys);
        raise_maxima(&f, rows, columns);
        exponentials(&f, rows, columns, width, first);
        product(false, n, vectors, keys, f.s, S_STRIDE, f.v + (size_t)key * (size_t)width, (size_t)width, f.o,
                (size_t)width, !first);
    }
    for (int r = 0; r < n; r++)
        store_row(h->out + (size_t)(begin + r) * h->out_stride, f.o + (size_t)r * (size_t)width, dh,
                  vset(1.0f / f.l[r]));
    for (int r = 0; h->lse && r < n; r += VL) {
        vf lse = vload(f.m + r) + vlog(vload(f.l + r));
        vstore_n(h->lse + begin + r, lse, min_int(VL, n - r));
    }
}

/* ------------------------------------------------------------------------------------- backward */

struct backward {
    float *kt, *vt, *k, *dk, *dv;           /* of the key tile */
    float *q, *dout, *lse, *delta, *p, *ds; /* of the query tile */
    float *dq;                              /* of the whole head */
};

static size_t backward_layout(int rows, int dh, float *at, struct backward *f)
{
    const size_t width = (size_t)padded(dh);
    /* Rounding rows up to a microkernel's lets it write a few rows more, and read a few columns more. */
    const size_t dk = (size_t)(BK_TILE + ROW_STEP) * width, p = (size_t)BQ_TILE * P_STRIDE + ROW_STEP;
    const size_t sizes[12] = {
        (size_t)BK_TILE * (size_t)dh,
        (size_t)BK_TILE * (size_t)dh,
        BK_TILE * width,
        dk,
        dk,
        BQ_TILE * width,
        BQ_TILE * width,
        BQ_TILE,
        BQ_TILE,
        p,
        p,
        (size_t)round_up(rows, BQ_TILE) * width,
    };
    float **parts[12] = { &f->kt,   &f->vt,  &f->k,     &f->dk, &f->dv, &f->q,
                          &f->dout, &f->lse, &f->delta, &f->p,  &f->ds, &f->dq };
    size_t total = 0;
    for (int i = 0; i < 12; i++) {
        if (at)
            *parts[i] = at + total;
        total += (sizes[i] + 15) / 16 * 16;
    }
    return total;
}

static void load_keys(const struct fdit_cpu_attention_head *h, int begin, int n, const struct backward *f)
{
    const float *k = h->k + (size_t)begin * h->stride, *v = h->v + (size_t)begin * h->stride;
    pack_panels(f->kt, k, h->stride, n, h->head_size);
    pack_panels(f->vt, v, h->stride, n, h->head_size);
    copy_rows(f->k, k, h->stride, n, n, h->head_size, 1.0f);
}

/* The queries (times the scale), dO, lse and delta = rowsum(dO O). */
static void load_queries(const struct fdit_cpu_attention_head *h, int begin, int n, const struct backward *f)
{
    const int dh = h->head_size, rest = dh % VL, rows = round_up(n, ROW_STEP);
    copy_rows(f->q, h->q + (size_t)begin * h->stride, h->stride, n, rows, dh, score_scale(dh));
    copy_rows(f->dout, h->dout + (size_t)begin * h->out_stride, h->out_stride, n, rows, dh, 1.0f);
    for (int r = 0; r < rows; r++) {
        if (r >= n) {
            f->lse[r] = f->delta[r] = 0.0f;
            continue;
        }
        const float *o = h->o_in + (size_t)(begin + r) * h->out_stride;
        const float *d = h->dout + (size_t)(begin + r) * h->out_stride;
        vf sum = vzero();
        for (int i = 0; i + VL <= dh; i += VL)
            sum = vfma(vload(o + i), vload(d + i), sum);
        if (rest)
            sum = vfma(vload_n(o + dh - rest, rest), vload_n(d + dh - rest, rest), sum);
        f->lse[r] = h->lse_in[begin + r];
        f->delta[r] = vsum(sum);
    }
}

/* P = exp(S - lse) and dS = P (dP - delta) for the loaded tiles. The columns that fill up the last panel
 * hold nothing of use: no sum reaches over them, and no result of theirs is kept. */
static void scores(const struct backward *f, int n, int keys, int dh, bool columns_too, bool rows_too)
{
    (void)columns_too, (void)rows_too; /* one order serves both */
    const int rows = round_up(n, 6), columns = round_up(keys, PANEL);
    const size_t width = (size_t)padded(dh);
    product_panels(rows, keys, dh, f->q, width, f->kt, f->p, P_STRIDE);
    product_panels(rows, keys, dh, f->dout, width, f->vt, f->ds, P_STRIDE);
    for (int r = 0; r < n; r++) {
        float *p = f->p + (size_t)r * P_STRIDE, *ds = f->ds + (size_t)r * P_STRIDE;
        const vf lse = vset(f->lse[r]), delta = vset(f->delta[r]);
        for (int j = 0; j < columns; j += PANEL) {
            vf x = exp_score(vload(p + j) - lse), y = exp_score(vload(p + j + VL) - lse);
            vstore(p + j, x);
            vstore(p + j + VL, y);
            vstore(ds + j, x * (vload(ds + j) - delta));
            vstore(ds + j + VL, y * (vload(ds + j + VL) - delta));
        }
    }
}

/* dV (+)= P^T dO, dK (+)= dS^T Q (Q carries the scale). */
static void add_to_keys(const struct backward *f, int n, int keys, int dh, bool add)
{
    const int vectors = vectors_of(dh);
    const size_t width = (size_t)padded(dh);
    product(true, keys, vectors, n, f->p, P_STRIDE, f->dout, width, f->dv, width, add);
    product(true, keys, vectors, n, f->ds, P_STRIDE, f->q, width, f->dk, width, add);
}

static void add_to_queries(const struct backward *f, float *dq, int n, int keys, int dh, bool add)
{
    const size_t width = (size_t)padded(dh);
    product(false, n, vectors_of(dh), keys, f->ds, P_STRIDE, f->k, width, dq, width, add);
}

FDIT_KERNEL void store_scaled_row(float *to, const float *from, int dh, float scale)
{
    store_row(to, from, dh, vset(scale));
}

#include "cpu/attention_drive.h"

const struct fdit_cpu_attention_kernels FDIT_ISA_NAME(fdit_cpu_attention_kernels) = {
    .forward_query_tile = Q_TILE,
    .backward_query_tile = BQ_TILE,
    .backward_key_tile = BK_TILE,
    .forward_floats = forward_floats,
    .backward_floats = backward_floats,
    .forward_pack = forward_pack,
    .forward_tile = forward_tile,
    .backward_head = backward_head,
    .backward_keys = backward_keys,
    .backward_queries = backward_queries,
};
