/* SPDX-License-Identifier: Apache-2.0
 * gemm_epilogue.h: what happens to a product on its way to memory (struct fdit_gemm_epilogue), for
 * the kernel files that define MR and NR, the register tile's rows and columns, before. */
#ifndef FDIT_CPU_GEMM_EPILOGUE_H
#define FDIT_CPU_GEMM_EPILOGUE_H

#include "cpu/gemm_kernels.h"
#include "cpu/vmath.h"

/* Where a row of the epilogue is. Absent pointers are NULL and stay so. */
struct epilogue_row {
    const float *bias, *add, *gate, *residual, *slope_pre;
    float *pre, *c;
    int in_sample; /* m mod rows */
};

FDIT_KERNEL struct epilogue_row epilogue_begin(const struct fdit_gemm_epilogue *to, int m, int n)
{
    struct epilogue_row r = { 0 };
    size_t at = (size_t)m * to->ldc + (size_t)n;
    r.c = to->c + at;
    if (to->bias)
        r.bias = to->bias + n;
    if (to->add)
        r.add = to->add + at;
    if (to->pre)
        r.pre = to->pre + at;
    if (to->slope_pre)
        r.slope_pre = to->slope_pre + at;
    if (to->gate || to->residual_shared)
        r.in_sample = m % to->rows;
    if (to->gate)
        r.gate = to->gate + (size_t)(m / to->rows) * to->gate_stride + n;
    if (to->residual)
        r.residual = to->residual + (to->residual_shared ? (size_t)r.in_sample * to->ldc + (size_t)n : at);
    return r;
}

FDIT_KERNEL void epilogue_next(const struct fdit_gemm_epilogue *to, struct epilogue_row *r)
{
    r->c += to->ldc;
    if (r->add)
        r->add += to->ldc;
    if (r->pre)
        r->pre += to->ldc;
    if (r->residual)
        r->residual += to->ldc;
    if (!r->gate && !to->residual_shared)
        return;
    if (++r->in_sample < to->rows)
        return;
    r->in_sample = 0;
    if (r->gate)
        r->gate += to->gate_stride;
    if (r->residual && to->residual_shared)
        r->residual -= (size_t)to->rows * to->ldc;
}

/* Elements j .. j + n-1 of a row; n is FDIT_VLEN but in the last vector of a row. `before`: bias, add
 * and pre; `after`: gate, residual, beta and the store to c. Without `after` the result goes back
 * to v. */
FDIT_KERNEL void epilogue_vector(const struct fdit_gemm_epilogue *to, const struct epilogue_row *r,
                                 bool before, bool after, float *v, int j, int n)
{
#define EPILOGUE_LOAD(p) (n == FDIT_VLEN ? vload((p) + j) : vload_n((p) + j, n))
#define EPILOGUE_STORE(p) (n == FDIT_VLEN ? vstore((p) + j, x) : vstore_n((p) + j, x, n))
    vf x = EPILOGUE_LOAD(v);
    if (before && r->bias)
        x += EPILOGUE_LOAD(r->bias);
    if (before && r->add)
        x += EPILOGUE_LOAD(r->add);
    if (before && r->pre)
        EPILOGUE_STORE(r->pre);
    if (!after) {
        EPILOGUE_STORE(v);
        return;
    }
    if (r->gate && r->residual)
        x = vfma(EPILOGUE_LOAD(r->gate), x, EPILOGUE_LOAD(r->residual));
    else if (r->gate)
        x *= EPILOGUE_LOAD(r->gate);
    else if (r->residual)
        x += EPILOGUE_LOAD(r->residual);
    if (to->beta)
        x += EPILOGUE_LOAD(r->c);
    EPILOGUE_STORE(r->c);
#undef EPILOGUE_LOAD
#undef EPILOGUE_STORE
}

/* v = act(v), or v = v * slope(x). */
enum { NO_ACT, GELU, SILU, RELU, GELU_ERF, GELU_SLOPE, SILU_SLOPE, RELU_SLOPE, GELU_ERF_SLOPE };
FDIT_KERNEL vf activate(int kind, vf v, vf x)
{
    return kind == GELU         ? vgelu(v)
           : kind == SILU       ? vsilu(v)
           : kind == RELU       ? vrelu(v)
           : kind == GELU_ERF   ? vgelu_erf(v)
           : kind == GELU_SLOPE ? v * vgelu_slope(x)
           : kind == SILU_SLOPE ? v * vsilu_slope(x)
           : kind == RELU_SLOPE ? v * vrelu_slope(x)
                                : v * vgelu_erf_slope(x);
}

/* Rows of a register tile (n = NR) within one sample, by what is asked for; constants in the common
 * cases. BACK: the result goes back to v. */
enum { BIAS = 1, PRE = 2, GATE = 4, RESIDUAL = 8, BETA = 16, BACK = 32, STREAM = 64, ADD = 128 };
FDIT_KERNEL void epilogue_tile(int what, int kind, const struct epilogue_row *r, size_t ldc, float *v,
                               size_t ldv, int rows)
{
    FDIT_UNROLL
    for (int h = 0; h < NR; h += FDIT_VLEN) {
        const vf bias = what & BIAS ? vload(r->bias + h) : vzero();
        const vf gate = what & GATE ? vload(r->gate + h) : vzero();
        for (int i = 0; i < rows; i++) {
            size_t at = (size_t)i * ldc + (size_t)h;
            float *from = v + (size_t)i * ldv + h;
            vf x = vload(from);
            if (what & BIAS)
                x += bias;
            if (what & ADD)
                x += vload(r->add + at);
            if (what & PRE)
                ((what & STREAM) ? vstream : vstore)(r->pre + at, x);
            if (kind)
                x = activate(kind, x, kind >= GELU_SLOPE ? vload(r->slope_pre + at) : vzero());
            if (what & BACK) {
                vstore(from, x);
                continue;
            }
            if ((what & GATE) && (what & RESIDUAL))
                x = vfma(gate, x, vload(r->residual + at));
            else if (what & GATE)
                x *= gate;
            else if (what & RESIDUAL)
                x += vload(r->residual + at);
            if (what & BETA)
                x += vload(r->c + at);
            vstore(r->c + at, x);
        }
    }
}

static void epilogue_full(const struct fdit_gemm_epilogue *to, const struct epilogue_row *r, bool before,
                          bool after, float *v, size_t ldv, int rows)
{
    int what = after ? 0 : BACK;
    if (before)
        what |= (r->bias ? BIAS : 0) | (r->add ? ADD : 0) | (r->pre ? PRE : 0);
    if (after)
        what |= (r->gate ? GATE : 0) | (r->residual ? RESIDUAL : 0) | (to->beta ? BETA : 0);
    switch (what) {
#define CASE(w) \
    case (w): epilogue_tile((w), NO_ACT, r, to->ldc, v, ldv, rows); break
        CASE(0);
        CASE(BIAS);
        CASE(BIAS | PRE);
        CASE(BIAS | GATE | RESIDUAL);
        CASE(GATE | RESIDUAL);
        CASE(BETA);
        CASE(BIAS | BACK);
        CASE(BIAS | PRE | BACK);
#undef CASE
    default: epilogue_tile(what, NO_ACT, r, to->ldc, v, ldv, rows);
    }
}

/* Whether there are registers enough for the constants of an activation beside the rest. */
#ifdef __AVX512F__
#define ONE_PASS true
#else
#define ONE_PASS false
#endif

/* The common cases with an activation in one pass. False: nothing was done. `pre` is read again when the pass
 * over the network comes back, so it goes past the caches. */
static bool epilogue_active(const struct fdit_gemm_epilogue *to, float *v, size_t ldv, int m0, int rows,
                            int n0, int n)
{
    if (!ONE_PASS || n != NR || to->act != FDIT_GEMM_GELU || to->add || to->gate || to->residual || to->beta)
        return false;
    const struct epilogue_row r = epilogue_begin(to, m0, n0);
    if (r.slope_pre && !r.bias && !r.pre)
        epilogue_tile(0, GELU_SLOPE, &r, to->ldc, v, ldv, rows);
    else if (r.slope_pre)
        return false;
    else if (r.bias && r.pre && can_stream(r.pre, to->ldc))
        epilogue_tile(BIAS | PRE | STREAM, GELU, &r, to->ldc, v, ldv, rows);
    else if (r.bias && r.pre)
        epilogue_tile(BIAS | PRE, GELU, &r, to->ldc, v, ldv, rows);
    else if (r.bias)
        epilogue_tile(BIAS, GELU, &r, to->ldc, v, ldv, rows);
    else
        return false;
    return true;
}

FDIT_KERNEL void epilogue_rows(const struct fdit_gemm_epilogue *to, bool before, bool after, float *v,
                               size_t ldv, int m0, int rows, int n0, int n)
{
    struct epilogue_row r = epilogue_begin(to, m0, n0);
    if (n == NR && ((!to->gate && !to->residual_shared) || r.in_sample + rows <= to->rows)) {
        epilogue_full(to, &r, before, after, v, ldv, rows);
        return;
    }
    for (int i = 0; i < rows; i++, v += ldv) {
        int j = 0;
        for (; j + FDIT_VLEN <= n; j += FDIT_VLEN)
            epilogue_vector(to, &r, before, after, v, j, FDIT_VLEN);
        if (j < n)
            epilogue_vector(to, &r, before, after, v, j, n - j);
        epilogue_next(to, &r);
    }
}

FDIT_KERNEL void activate_floats(int kind, float *v, const float *x, int n)
{
    int j = 0;
    for (; j + FDIT_VLEN <= n; j += FDIT_VLEN)
        vstore(v + j, activate(kind, vload(v + j), kind >= GELU_SLOPE ? vload(x + j) : vzero()));
    if (j < n)
        vstore_n(v + j,
                 activate(kind, vload_n(v + j, n - j), kind >= GELU_SLOPE ? vload_n(x + j, n - j) : vzero()),
                 n - j);
}
static void gelu_floats(float *v, int n)
{
    activate_floats(GELU, v, NULL, n);
}
static void silu_floats(float *v, int n)
{
    activate_floats(SILU, v, NULL, n);
}
static void relu_floats(float *v, int n)
{
    activate_floats(RELU, v, NULL, n);
}
static void gelu_erf_floats(float *v, int n)
{
    activate_floats(GELU_ERF, v, NULL, n);
}
static void gelu_slope_floats(float *v, const float *x, int n)
{
    activate_floats(GELU_SLOPE, v, x, n);
}
static void silu_slope_floats(float *v, const float *x, int n)
{
    activate_floats(SILU_SLOPE, v, x, n);
}
static void relu_slope_floats(float *v, const float *x, int n)
{
    activate_floats(RELU_SLOPE, v, x, n);
}
static void gelu_erf_slope_floats(float *v, const float *x, int n)
{
    activate_floats(GELU_ERF_SLOPE, v, x, n);
}

static void activate_rows(const struct fdit_gemm_epilogue *to, float *v, size_t ldv, int m0, int rows, int n0,
                          int n)
{
    static void (*const acts[])(float *, int) = { NULL, gelu_floats, silu_floats, relu_floats,
                                                  gelu_erf_floats };
    static void (*const slopes[])(float *, const float *, int) = { NULL, gelu_slope_floats, silu_slope_floats,
                                                                   relu_slope_floats, gelu_erf_slope_floats };
    if (to->slope_pre) {
        const float *x = to->slope_pre + (size_t)m0 * to->ldc + n0;
        if (n == NR && ldv == NR && rows <= MR) {
            float tile[MR * NR];
            for (int i = 0; i < rows; i++)
                memcpy(tile + i * NR, x + (size_t)i * to->ldc, NR * sizeof *tile);
            slopes[to->act](v, tile, rows * NR);
            return;
        }
        for (int i = 0; i < rows; i++, v += ldv, x += to->ldc)
            slopes[to->act](v, x, n);
        return;
    }
    /* A register tile is one piece of memory. */
    if (ldv == (size_t)n) {
        n *= rows;
        rows = 1;
    }
    for (int i = 0; i < rows; i++, v += ldv)
        acts[to->act](v, n);
}

static void finish(const struct fdit_gemm_epilogue *to, float *v, size_t ldv, int m0, int rows, int n0, int n)
{
    if (to->act == FDIT_GEMM_NO_ACT) {
        epilogue_rows(to, true, true, v, ldv, m0, rows, n0, n);
        return;
    }
    if (epilogue_active(to, v, ldv, m0, rows, n0, n))
        return;
    if (to->bias || to->add || to->pre)
        epilogue_rows(to, true, false, v, ldv, m0, rows, n0, n);
    activate_rows(to, v, ldv, m0, rows, n0, n);
    epilogue_rows(to, false, true, v, ldv, m0, rows, n0, n);
}

/* The same for a tile by itself. */
static void finish_tile(const struct fdit_gemm_epilogue *to, float *v, size_t ldv, int m0, int rows, int n0,
                        int n)
{
    finish(to, v, ldv, m0, rows, n0, n);
    vstream_end();
}

#endif
