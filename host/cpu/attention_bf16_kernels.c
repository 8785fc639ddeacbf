/* SPDX-License-Identifier: Apache-2.0
 * attention_bf16_kernels.c: attention_kernels.c with the operands of its products rounded to bf16,
 * for processors with AVX-512-BF16, and again for those with AMX. Scores, softmax, sums and results
 * are f32.
 *
 * The tiling, and the order of every sum, are those of attention_kernels.c. Here one multiply-add
 * takes two neighbouring k of a product, so that each operand lies in pairs along k:
 *     S = Q K^T, dP = dO V^T     Q, dO: rows of pairs [dh / 2]; K^T, V^T: panels [dh / 2][32 keys]
 *     O = P V, dQ = dS K         P, dS: rows of pairs [keys / 2]; V, K: [keys / 2][dh]
 *     dV = P^T dO, dK = dS^T Q   P, dS: [queries / 2][keys]; dO, Q: [queries / 2][dh]
 * Pairs that are filled up hold zeros in both operands: NaN and infinity stay where they belong.
 *
 * Scores are computed in units of ln 2: P is then a power of two with a short series. */
#include "cpu/attention_sizes.h"
#include "cpu/op_kernels.h"

#include "cpu/bf16.h"
#include "cpu/vmath.h"

#define VL 16
#define PANEL 32
/* Queries and keys of a tile of scores, forward and (B) backward: multiples of the register tiles' rows, and
 * what fits into the second-level cache of the processors (with AMX 2 MB). */
#ifdef __AMX_BF16__
#define Q_TILE 64
#define BQ_TILE 64
#define BK_TILE 256
#else
#define Q_TILE 48
#define BQ_TILE 48
#define BK_TILE 256
#endif
#define K_TILE 256
#define S_STRIDE (K_TILE + 16)        /* floats */
#define PAIR_STRIDE (K_TILE / 2 + 16) /* pairs */
#define P_STRIDE (BK_TILE + 16)
#define BPAIR_STRIDE (BK_TILE / 2 + 16)

#define LOG2E 1.44269504088896341f
#define LN2 0.693147180559945309f

static int pairs_of(int n)
{
    return (n + 1) / 2;
}
/* Pairs from one row of Q or dO to the next: whole vectors of 32 numbers. */
static int row_pairs(int head_size)
{
    return round_up(head_size, 32) / 2;
}

#ifdef __AMX_BF16__
#include "cpu/attention_bf16_amx.h"
#else
#include "cpu/attention_bf16_dot.h"
#endif

/* ------------------------------------------------------------------------------------ packing */

/* Keys 0 .. n-1 into panels [dh / 2][PANEL]; those that fill up the last panel are 0. */
static void pack_panels(uint32_t *to, const float *from, size_t stride, int n, int dh)
{
    const int pairs = pairs_of(dh);
    uint32_t part[16 * PANEL];
    for (int j = 0; j < n; j += PANEL, to += (size_t)pairs * PANEL)
        for (int d = 0; d < dh; d += 32) {
            const int there = min_int(16, pairs - d / 2);
            uint32_t *panel = there == 16 ? to + (size_t)d / 2 * PANEL : part;
            for (int h = 0; h < PANEL; h += 16) {
                __m512i r[16];
                FDIT_UNROLL
                for (int i = 0; i < 16; i++) {
                    const float *row = from + (size_t)(j + h + i) * stride + d;
                    r[i] = j + h + i < n ? round_2(load_some(row, dh - d), load_some(row + 16, dh - d - 16))
                                         : _mm512_setzero_si512();
                }
                transpose_16(panel + h, PANEL, r);
            }
            if (panel == part)
                memcpy(to + (size_t)d / 2 * PANEL, part, (size_t)there * PANEL * sizeof *to);
        }
}

/* Rows 0 .. n-1 times `scale`, as pairs along the row; up to `total` rows are 0. */
static void pack_rows(uint32_t *to, const float *from, size_t stride, int n, int total, int dh, float scale)
{
    const int width = row_pairs(dh);
    const __m512 s = _mm512_set1_ps(scale);
    for (int r = 0; r < total; r++, to += width, from += stride)
        for (int d = 0; d < dh; d += 32) {
            __m512i x = _mm512_setzero_si512();
            if (r < n)
                x = round_2(load_some(from + d, dh - d) * s, load_some(from + d + 16, dh - d - 16) * s);
            _mm512_storeu_si512(to + d / 2, x);
        }
}

/* Rows 0 .. n-1 times `scale`, as pairs of rows [n / 2][padded(dh)]. */
static void pack_row_pairs(uint32_t *to, const float *from, size_t stride, int n, int dh, float scale)
{
    const int width = padded(dh);
    const __m512 s = _mm512_set1_ps(scale);
    for (int r = 0; r < n; r += 2, to += width, from += 2 * stride)
        for (int d = 0; d < dh; d += VL) {
            __m512 a = load_some(from + d, dh - d) * s, b = _mm512_setzero_ps();
            if (r + 1 < n)
                b = load_some(from + stride + d, dh - d) * s;
            _mm512_storeu_si512(to + d, round_pairs(a, b));
        }
}

/* One row of results times `scale` to a row of dh floats. */
FDIT_KERNEL void store_scaled_row(float *to, const float *from, int dh, float scale)
{
    for (int d = 0; d < dh; d += VL) {
        int n = dh - d;
        __mmask16 mask = n >= VL ? 0xffff : (__mmask16)((1u << n) - 1);
        _mm512_mask_storeu_ps(to + d, mask, _mm512_loadu_ps(from + d) * _mm512_set1_ps(scale));
    }
}

/* 2^x, relative error 4e-6; 0 from -126 down, infinity from 128 up. NaN stays. */
FDIT_KERNEL __m512 power_of_2(__m512 x)
{
    x = _mm512_min_ps(_mm512_set1_ps(150.0f), x);
    x = _mm512_max_ps(_mm512_set1_ps(-150.0f), x);
    __m512 k = _mm512_roundscale_ps(x, 0), r = x - k;
    __m512 q = _mm512_set1_ps(9.6180991e-3f);
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(5.5504109e-2f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(2.4022651e-1f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(6.9314718e-1f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(q, k);
}

/* x as bf16 has it. */
FDIT_KERNEL __m512 rounded(__m512 x)
{
    __m512i wide = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
    return (__m512)_mm512_slli_epi32(wide, 16);
}

/* -------------------------------------------------------------------------------------- forward */

/* A thread's scratch; kt and v hold the whole head. */
struct forward {
    uint32_t *kt, *v, *q, *p;
    float *s, *o, *m, *l, *alpha;
};

/* Takes the next n elements of scratch, of 4 bytes each. */
static void *take(float *at, size_t *total, size_t n)
{
    void *part = at ? at + *total : NULL;
    *total += (n + 15) / 16 * 16;
    return part;
}

static size_t forward_layout(int rows, int dh, float *at, struct forward *f)
{
    const size_t width = (size_t)padded(dh);
    size_t n = 0;
    f->kt = take(at, &n, (size_t)round_up(rows, PANEL) * (size_t)pairs_of(dh));
    f->v = take(at, &n, (size_t)pairs_of(rows) * width);
    f->q = take(at, &n, (size_t)Q_TILE * (size_t)row_pairs(dh));
    f->p = take(at, &n, (size_t)Q_TILE * PAIR_STRIDE);
    f->s = take(at, &n, (size_t)Q_TILE * S_STRIDE);
    f->o = take(at, &n, Q_TILE * width);
    f->m = take(at, &n, Q_TILE);
    f->l = take(at, &n, Q_TILE);
    f->alpha = take(at, &n, Q_TILE);
    return n;
}

static size_t forward_floats(int rows, int head_size)
{
    struct forward f;
    return forward_layout(rows, head_size, NULL, &f);
}

static void forward_pack(const struct fdit_cpu_attention_head *h, float *scratch)
{
    struct forward f;
    forward_layout(h->rows, h->head_size, scratch, &f);
    pack_panels(f.kt, h->k, h->stride, h->rows, h->head_size);
    pack_row_pairs(f.v, h->v, h->stride, h->rows, h->head_size, 1.0f);
}

/* Raises m [Q_TILE] to the maxima of the rows of s; alpha = what older sums must be multiplied by.
 */
static void raise_maxima(const struct forward *f, int rows, int columns)
{
    for (int r = 0; r < rows; r++) {
        const float *s = f->s + (size_t)r * S_STRIDE;
        __m512 a = _mm512_set1_ps(-__builtin_inff()), b = a;
        for (int j = 0; j < columns; j += PANEL) {
            a = _mm512_max_ps(_mm512_loadu_ps(s + j), a);
            b = _mm512_max_ps(_mm512_loadu_ps(s + j + VL), b);
        }
        f->alpha[r] = _mm512_reduce_max_ps(_mm512_max_ps(a, b));
    }
    for (int r = 0; r < rows; r += VL) {
        vf old = vload(f->m + r), top = vmax(vload(f->alpha + r), old);
        vstore(f->m + r, top);
        /* nothing was summed yet: any finite factor */
        vf factor = (vf)power_of_2((__m512)(old - top));
        vstore(f->alpha + r, vselect((vi)(old == -__builtin_inff()), vset(1.0f), factor));
    }
}

/* p = 2^(s - m) as pairs; l = l alpha + the row's sum; o *= alpha. */
static void exponentials(const struct forward *f, int rows, int columns, int width, bool first)
{
    for (int r = 0; r < rows; r++) {
        const float *s = f->s + (size_t)r * S_STRIDE;
        uint32_t *p = f->p + (size_t)r * PAIR_STRIDE;
        const float top = f->m[r];
        const __m512 m = _mm512_set1_ps(top == -__builtin_inff() ? 0.0f : top);
        __m512 a = _mm512_setzero_ps(), b = a;
        for (int j = 0; j < columns; j += PANEL) {
            __m512 x = power_of_2(_mm512_loadu_ps(s + j) - m);
            __m512 y = power_of_2(_mm512_loadu_ps(s + j + VL) - m);
            _mm512_storeu_si512(p + j / 2, round_2(x, y));
            a = a + x;
            b = b + y;
        }
        const float sum = vsum((vf)(a + b));
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
    const int dh = h->head_size, width = padded(dh);
    const int begin = query_tile * Q_TILE, n = min_int(Q_TILE, h->rows - begin);
    const int rows = round_up(n, ROW_STEP);
    const size_t ld = (size_t)row_pairs(dh);
    struct forward f;
    forward_layout(h->rows, dh, scratch, &f);
    pack_rows(f.q, h->q + (size_t)begin * h->stride, h->stride, n, Q_TILE, dh, score_scale(dh) * LOG2E);
    for (int r = 0; r < Q_TILE; r++)
        f.m[r] = -__builtin_inff();

    for (int key = 0; key < h->rows; key += K_TILE) {
        const int keys = min_int(K_TILE, h->rows - key), columns = round_up(keys, PANEL);
        const bool first = key == 0;
        product_panels(rows, keys, pairs_of(dh), f.q, ld, f.kt + (size_t)key * (size_t)pairs_of(dh), f.s,
                       S_STRIDE);
        for (int j = keys; j < columns; j++)
            for (int r = 0; r < rows; r++)
                f.s[(size_t)r * S_STRIDE + (size_t)j] = -__builtin_inff();
        raise_maxima(&f, rows, columns);
        exponentials(&f, rows, columns, width, first);
        product(false, n, vectors_of(dh), pairs_of(keys), f.p, PAIR_STRIDE,
                f.v + (size_t)key / 2 * (size_t)width, (size_t)width, f.o, (size_t)width, !first);
    }
    for (int r = 0; r < n; r++)
        store_scaled_row(h->out + (size_t)(begin + r) * h->out_stride, f.o + (size_t)r * (size_t)width, dh,
                         1.0f / f.l[r]);
    for (int r = 0; h->lse && r < n; r += VL) {
        vf lse = vload(f.m + r) * LN2 + vlog(vload(f.l + r));
        vstore_n(h->lse + begin + r, lse, min_int(VL, n - r));
    }
}

/* ------------------------------------------------------------------------------------- backward */

struct backward {
    uint32_t *kt, *vt, *k; /* of the key tile */
    float *dk, *dv;
    uint32_t *q, *q_pairs, *dout, *dout_pairs; /* of the query tile */
    float *lse, *delta, *s, *dp;
    uint32_t *p_columns, *ds_columns, *ds_rows;
    float *dq; /* of the whole head */
};

static size_t backward_layout(int rows, int dh, float *at, struct backward *f)
{
    const size_t width = (size_t)padded(dh), pairs = (size_t)pairs_of(dh);
    const size_t row = (size_t)row_pairs(dh);
    size_t n = 0;
    f->kt = take(at, &n, BK_TILE * pairs);
    f->vt = take(at, &n, BK_TILE * pairs);
    f->k = take(at, &n, BK_TILE / 2 * width);
    /* Rows are rounded up to a register tile's: it writes, and reads, a few more. */
    f->dk = take(at, &n, (BK_TILE + ROW_STEP) * width);
    f->dv = take(at, &n, (BK_TILE + ROW_STEP) * width);
    f->q = take(at, &n, BQ_TILE * row);
    f->q_pairs = take(at, &n, BQ_TILE / 2 * width);
    f->dout = take(at, &n, BQ_TILE * row);
    f->dout_pairs = take(at, &n, BQ_TILE / 2 * width);
    f->lse = take(at, &n, BQ_TILE);
    f->delta = take(at, &n, BQ_TILE);
    f->s = take(at, &n, (size_t)BQ_TILE * P_STRIDE);
    f->dp = take(at, &n, (size_t)BQ_TILE * P_STRIDE);
    f->p_columns = take(at, &n, (size_t)BQ_TILE / 2 * P_STRIDE + ROW_STEP);
    f->ds_columns = take(at, &n, (size_t)BQ_TILE / 2 * P_STRIDE + ROW_STEP);
    f->ds_rows = take(at, &n, (size_t)BQ_TILE * BPAIR_STRIDE);
    f->dq = take(at, &n, (size_t)round_up(rows, BQ_TILE) * width);
    return n;
}

static void load_keys(const struct fdit_cpu_attention_head *h, int begin, int n, const struct backward *f)
{
    const float *k = h->k + (size_t)begin * h->stride, *v = h->v + (size_t)begin * h->stride;
    pack_panels(f->kt, k, h->stride, n, h->head_size);
    pack_panels(f->vt, v, h->stride, n, h->head_size);
    pack_row_pairs(f->k, k, h->stride, n, h->head_size, 1.0f);
}

/* The queries and dO in both orders, lse in units of ln 2 and delta = rowsum(dO O). delta takes the
 * dO that dP is made of: it is what makes the sum of a row of dS vanish. */
static void load_queries(const struct fdit_cpu_attention_head *h, int begin, int n, const struct backward *f)
{
    const int dh = h->head_size, rows = round_up(n, ROW_STEP);
    const float *q = h->q + (size_t)begin * h->stride;
    const float *dout = h->dout + (size_t)begin * h->out_stride;
    pack_rows(f->q, q, h->stride, n, rows, dh, score_scale(dh) * LOG2E);
    pack_row_pairs(f->q_pairs, q, h->stride, n, dh, score_scale(dh));
    pack_rows(f->dout, dout, h->out_stride, n, rows, dh, 1.0f);
    pack_row_pairs(f->dout_pairs, dout, h->out_stride, n, dh, 1.0f);
    for (int r = 0; r < rows; r++) {
        __m512 sum = _mm512_setzero_ps();
        if (r >= n) {
            f->lse[r] = f->delta[r] = 0.0f;
            continue;
        }
        const float *o = h->o_in + (size_t)(begin + r) * h->out_stride;
        const float *d = dout + (size_t)r * h->out_stride;
        for (int i = 0; i < dh; i += VL)
            sum = _mm512_fmadd_ps(load_some(o + i, dh - i), rounded(load_some(d + i, dh - i)), sum);
        f->lse[r] = h->lse_in[begin + r] * LOG2E;
        f->delta[r] = vsum((vf)sum);
    }
}

/* The first of each pair, n of them `stride` apart. */
static void clear_seconds(uint32_t *pairs, size_t stride, int n)
{
    for (int i = 0; i < n; i++)
        pairs[(size_t)i * stride] &= 0xffffu;
}

/* The halves of pairs that fill up an odd number of queries or keys: an infinite q or k makes them NaN, and
 * the zero that each is multiplied by would not end that. */
static void clear_fillers(const struct backward *f, int n, int keys, bool columns_too, bool rows_too)
{
    if (columns_too && n % 2) {
        const size_t last = (size_t)(n / 2) * P_STRIDE;
        clear_seconds(f->p_columns + last, 1, keys);
        clear_seconds(f->ds_columns + last, 1, keys);
    }
    if (rows_too && keys % 2)
        clear_seconds(f->ds_rows + keys / 2, BPAIR_STRIDE, n);
}

/* P = 2^(S - lse) and dS = P (dP - delta) for the loaded tiles, in the orders that are wanted. */
static void scores(const struct backward *f, int n, int keys, int dh, bool columns_too, bool rows_too)
{
    const int rows = round_up(n, ROW_STEP), columns = round_up(keys, PANEL), pairs = pairs_of(dh);
    const size_t ld = (size_t)row_pairs(dh);
    product_panels(rows, keys, pairs, f->q, ld, f->kt, f->s, P_STRIDE);
    product_panels(rows, keys, pairs, f->dout, ld, f->vt, f->dp, P_STRIDE);
    for (int r = 0; r < n; r += 2) {
        const size_t at = (size_t)r * P_STRIDE, to = (size_t)r / 2 * P_STRIDE;
        const __m512 lse0 = _mm512_set1_ps(f->lse[r]), delta0 = _mm512_set1_ps(f->delta[r]);
        const __m512 lse1 = _mm512_set1_ps(f->lse[r + 1]), delta1 = _mm512_set1_ps(f->delta[r + 1]);
        for (int j = 0; j < columns; j += PANEL) {
            __m512 ds[2][2];
            FDIT_UNROLL
            for (int i = 0; i < 2; i++) {
                const float *s = f->s + at + j + i * VL, *dp = f->dp + at + j + i * VL;
                __m512 p0 = power_of_2(_mm512_loadu_ps(s) - lse0);
                __m512 p1 = power_of_2(_mm512_loadu_ps(s + P_STRIDE) - lse1);
                ds[0][i] = p0 * (_mm512_loadu_ps(dp) - delta0);
                ds[1][i] = p1 * (_mm512_loadu_ps(dp + P_STRIDE) - delta1);
                if (columns_too) {
                    _mm512_storeu_si512(f->p_columns + to + j + i * VL, round_pairs(p0, p1));
                    _mm512_storeu_si512(f->ds_columns + to + j + i * VL, round_pairs(ds[0][i], ds[1][i]));
                }
            }
            if (!rows_too)
                continue;
            FDIT_UNROLL
            for (int i = 0; i < 2; i++)
                _mm512_storeu_si512(f->ds_rows + (size_t)(r + i) * BPAIR_STRIDE + j / 2,
                                    round_2(ds[i][0], ds[i][1]));
        }
    }
    clear_fillers(f, n, keys, columns_too, rows_too);
}

/* dV (+)= P^T dO, dK (+)= dS^T Q (Q carries the scale). */
static void add_to_keys(const struct backward *f, int n, int keys, int dh, bool add)
{
    const int vectors = vectors_of(dh), pairs = pairs_of(n);
    const size_t width = (size_t)padded(dh);
    product(true, keys, vectors, pairs, f->p_columns, P_STRIDE, f->dout_pairs, width, f->dv, width, add);
    product(true, keys, vectors, pairs, f->ds_columns, P_STRIDE, f->q_pairs, width, f->dk, width, add);
}

static void add_to_queries(const struct backward *f, float *dq, int n, int keys, int dh, bool add)
{
    const size_t width = (size_t)padded(dh);
    product(false, n, vectors_of(dh), pairs_of(keys), f->ds_rows, BPAIR_STRIDE, f->k, width, dq, width, add);
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
