/* SPDX-License-Identifier: Apache-2.0
 * op_kernels.c: rows and element-wise kernels; built once per instruction set (cpu.h).
 *
 * A loop's body is a function with a constant argument `full`: called with true for whole vectors and
 * with false for the last elements, so both round alike. Structures of pointers are copied first: stores
 * through their pointers might change the original, and every vector would load all of them again. */
#include "cpu/op_kernels.h"

#include "core/half.h"
#include "cpu/vmath.h"

#define VL FDIT_VLEN

FDIT_KERNEL vf ld(const float *p, bool full, int rest)
{
    return full ? vload(p) : vload_n(p, rest);
}
FDIT_KERNEL void st(float *p, vf v, bool full, int rest)
{
    if (full)
        vstore(p, v);
    else
        vstore_n(p, v, rest);
}
/* Zeroes the elements from n on. */
FDIT_KERNEL vf first_n(vf v, int n)
{
    float part[VL];
    vstore(part, v);
    return vload_n(part, n);
}

/* ------------------------------------------------------------------------------- element-wise */

static void activation(float *y, const float *x, size_t n, enum fdit_act act)
{
    size_t i = 0;
    int rest = (int)(n % VL);
    if (act == FDIT_ACT_GELU_TANH) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vgelu(vload(x + i)));
        if (rest)
            vstore_n(y + i, vgelu(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_SILU) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vsilu(vload(x + i)));
        if (rest)
            vstore_n(y + i, vsilu(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_RELU) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vrelu(vload(x + i)));
        if (rest)
            vstore_n(y + i, vrelu(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_GELU_ERF) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vgelu_erf(vload(x + i)));
        if (rest)
            vstore_n(y + i, vgelu_erf(vload_n(x + i, rest)), rest);
    } else if (y != x) {
        memcpy(y, x, n * sizeof *y);
    }
}

static void activation_backward(float *dx, const float *dy, const float *x, size_t n, enum fdit_act act)
{
    size_t i = 0;
    int rest = (int)(n % VL);
    if (act == FDIT_ACT_GELU_TANH) {
        for (; i + VL <= n; i += VL)
            vstore(dx + i, vload(dy + i) * vgelu_slope(vload(x + i)));
        if (rest)
            vstore_n(dx + i, vload_n(dy + i, rest) * vgelu_slope(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_SILU) {
        for (; i + VL <= n; i += VL)
            vstore(dx + i, vload(dy + i) * vsilu_slope(vload(x + i)));
        if (rest)
            vstore_n(dx + i, vload_n(dy + i, rest) * vsilu_slope(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_RELU) {
        for (; i + VL <= n; i += VL)
            vstore(dx + i, vload(dy + i) * vrelu_slope(vload(x + i)));
        if (rest)
            vstore_n(dx + i, vload_n(dy + i, rest) * vrelu_slope(vload_n(x + i, rest)), rest);
    } else if (act == FDIT_ACT_GELU_ERF) {
        for (; i + VL <= n; i += VL)
            vstore(dx + i, vload(dy + i) * vgelu_erf_slope(vload(x + i)));
        if (rest)
            vstore_n(dx + i, vload_n(dy + i, rest) * vgelu_erf_slope(vload_n(x + i, rest)), rest);
    } else if (dx != dy) {
        memcpy(dx, dy, n * sizeof *dx);
    }
}

static void axpy(float *y, const float *x, size_t n, float alpha, int beta)
{
    size_t i = 0;
    int rest = (int)(n % VL);
    vf a = vset(alpha);
    if (beta) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vfma(a, vload(x + i), vload(y + i)));
        if (rest)
            vstore_n(y + i, vfma(a, vload_n(x + i, rest), vload_n(y + i, rest)), rest);
    } else {
        for (; i + VL <= n; i += VL)
            vstore(y + i, a * vload(x + i));
        if (rest)
            vstore_n(y + i, a * vload_n(x + i, rest), rest);
    }
}

static void blend(float *y, const float *x, const float *z, size_t n, float a, float b)
{
    size_t i = 0;
    int rest = (int)(n % VL);
    vf va = vset(a), vb = vset(b);
    for (; i + VL <= n; i += VL)
        vstore(y + i, vfma(va, vload(x + i), vb * vload(z + i)));
    if (rest)
        vstore_n(y + i, vfma(va, vload_n(x + i, rest), vb * vload_n(z + i, rest)), rest);
}

static void gate(float *y, const float *residual, const float *branch, const float *g, size_t n)
{
    size_t i = 0;
    int rest = (int)(n % VL);
    if (residual) {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vfma(vload(g + i), vload(branch + i), vload(residual + i)));
        if (rest)
            vstore_n(y + i,
                     vfma(vload_n(g + i, rest), vload_n(branch + i, rest), vload_n(residual + i, rest)),
                     rest);
    } else {
        for (; i + VL <= n; i += VL)
            vstore(y + i, vload(g + i) * vload(branch + i));
        if (rest)
            vstore_n(y + i, vload_n(g + i, rest) * vload_n(branch + i, rest), rest);
    }
}

FDIT_KERNEL void sampler_step(const struct fdit_sampler_step_args *a, const struct fdit_cpu_sampler_piece *p,
                              size_t i, bool full, int rest)
{
    vf x = ld(p->x + i, full, rest), eps = ld(p->eps + i, full, rest);
    if (p->eps_uncond) {
        vf u = ld(p->eps_uncond + i, full, rest);
        eps = vfma(vset(a->guidance), eps - u, u);
    }
    vf from_x = a->x0_x * x;
    vf x0 = vfma(vset(a->x0_eps), eps, from_x);
    if (a->clip_x0) {
        x0 = vselect((vi)(x0 > 1.0f), vset(1.0f), x0);
        x0 = vselect((vi)(x0 < -1.0f), vset(-1.0f), x0);
        eps = (x0 - from_x) / a->x0_eps;
    }
    vf next = a->to_x * x;
    next = vfma(vset(a->to_x0), x0, next);
    next = vfma(vset(a->to_eps), eps, next);
    if (p->old) {
        next = vfma(vset(a->to_old), ld(p->old + i, full, rest), next);
        st(p->old + i, x0, full, rest);
    }
    if (p->z) {
        vf z = a->to_z * ld(p->z + i, full, rest);
        if (a->learned) {
            vf f = (ld(p->var + i, full, rest) + 1.0f) * 0.5f;
            vf log_sd = 0.5f * vfma(f, vset(a->log_beta), (1.0f - f) * a->log_var);
            z = z * vexp(log_sd);
        }
        next = next + z;
    }
    st(p->x_next + i, next, full, rest);
}

static void sampler(const struct fdit_sampler_step_args *args, const struct fdit_cpu_sampler_piece *piece)
{
    const struct fdit_sampler_step_args a = *args;
    const struct fdit_cpu_sampler_piece p = *piece;
    size_t i = 0;
    for (; i + VL <= p.n; i += VL)
        sampler_step(&a, &p, i, true, 0);
    if (i < p.n)
        sampler_step(&a, &p, i, false, (int)(p.n - i));
}

/* The running average of the parameters, where there is one: at = keep at + add p. */
struct average {
    float *at;
    float keep, add;
};

static struct average average_of(float *at, double decay)
{
    return (struct average){ .at = at, .keep = (float)decay, .add = (float)(1.0 - decay) };
}

FDIT_KERNEL void follow(const struct average *a, vf p, size_t i, bool full, int rest)
{
    if (a->at)
        st(a->at + i, vfma(vset(a->keep), ld(a->at + i, full, rest), a->add * p), full, rest);
}

struct adamw_state {
    float scale, keep, b1, c1, b2, c2, eps, lr, inv_sqrt_bias2;
    float *p, *m, *v;
    const float *g;
    struct average average;
};

FDIT_KERNEL void adamw_step(const struct adamw_state *s, size_t i, bool full, int rest)
{
    vf g = s->scale * ld(s->g + i, full, rest);
    vf m = vfma(vset(s->b1), ld(s->m + i, full, rest), s->c1 * g);
    vf v = vfma(vset(s->b2), ld(s->v + i, full, rest), s->c2 * g * g);
    vf p = s->keep * ld(s->p + i, full, rest);
    p = p - s->lr * m / vfma(vsqrt(v), vset(s->inv_sqrt_bias2), vset(s->eps));
    st(s->m + i, m, full, rest);
    st(s->v + i, v, full, rest);
    st(s->p + i, p, full, rest);
    follow(&s->average, p, i, full, rest);
}

static void adamw(const struct fdit_adamw_args *a, float scale, float *p, const float *g, float *m, float *v,
                  float *ema, size_t n)
{
    const struct adamw_state s = {
        .scale = scale,
        .keep = 1.0f - a->decay,
        .b1 = (float)a->beta1,
        .c1 = (float)(1.0 - a->beta1),
        .b2 = (float)a->beta2,
        .c2 = (float)(1.0 - a->beta2),
        .eps = a->eps,
        .lr = a->lr_bias1,
        .inv_sqrt_bias2 = a->inv_sqrt_bias2,
        .p = p,
        .m = m,
        .v = v,
        .average = average_of(ema, a->ema_decay),
        .g = g,
    };
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        adamw_step(&s, i, true, 0);
    if (i < n)
        adamw_step(&s, i, false, (int)(n - i));
}

struct lion_state {
    float scale, keep, b1, c1, b2, c2, lr;
    float *p, *m;
    const float *g;
    struct average average;
};

FDIT_KERNEL void lion_step(const struct lion_state *s, size_t i, bool full, int rest)
{
    const vf zero = vset(0.0f), up = vset(s->lr), down = vset(-s->lr);
    vf g = s->scale * ld(s->g + i, full, rest), m = ld(s->m + i, full, rest);
    vf toward = vfma(vset(s->b1), m, s->c1 * g);
    vf move = vselect((vi)(toward > zero), up, vselect((vi)(toward < zero), down, zero));
    vf p = s->keep * ld(s->p + i, full, rest) - move;
    st(s->m + i, vfma(vset(s->b2), m, s->c2 * g), full, rest);
    st(s->p + i, p, full, rest);
    follow(&s->average, p, i, full, rest);
}

static void lion(const struct fdit_lion_args *a, float scale, float *p, const float *g, float *m, float *ema,
                 size_t n)
{
    const struct lion_state s = {
        .scale = scale,
        .keep = 1.0f - a->decay,
        .b1 = (float)a->beta1,
        .c1 = (float)(1.0 - a->beta1),
        .b2 = (float)a->beta2,
        .c2 = (float)(1.0 - a->beta2),
        .lr = a->lr,
        .p = p,
        .m = m,
        .average = average_of(ema, a->ema_decay),
        .g = g,
    };
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        lion_step(&s, i, true, 0);
    if (i < n)
        lion_step(&s, i, false, (int)(n - i));
}

/* --------------------------------------------------------------------------------------- sums */

static double sum_squares(const float *x, size_t n)
{
    double total = 0;
    for (size_t begin = 0; begin < n; begin += 4096) {
        size_t end = n - begin < 4096 ? n : begin + 4096, i = begin;
        vf a = vzero(), b = vzero(), c = vzero(), d = vzero();
        for (; i + 4 * VL <= end; i += 4 * VL) {
            vf p = vload(x + i), q = vload(x + i + VL);
            vf r = vload(x + i + 2 * VL), s = vload(x + i + 3 * VL);
            a = vfma(p, p, a);
            b = vfma(q, q, b);
            c = vfma(r, r, c);
            d = vfma(s, s, d);
        }
        for (; i < end; i += VL) {
            vf p = end - i >= VL ? vload(x + i) : vload_n(x + i, (int)(end - i));
            a = vfma(p, p, a);
        }
        total += (double)vsum((a + b) + (c + d));
    }
    return total;
}

FDIT_KERNEL void sum_rows_step(float *acc, const float *x, int rows, size_t stride, bool first, bool full,
                               int rest)
{
    vf s = ld(x, full, rest);
    if (rows > 1)
        s = s + ld(x + stride, full, rest);
    if (rows > 2) {
        vf t = ld(x + 2 * stride, full, rest);
        if (rows > 3)
            t = t + ld(x + 3 * stride, full, rest);
        s = s + t;
    }
    st(acc, first ? s : ld(acc, full, rest) + s, full, rest);
}

FDIT_KERNEL void sum_rows_group(float *acc, const float *x, int rows, size_t stride, size_t n, bool first)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        sum_rows_step(acc + i, x + i, rows, stride, first, true, 0);
    if (i < n)
        sum_rows_step(acc + i, x + i, rows, stride, first, false, (int)(n - i));
}

static void sum_rows(float *acc, const float *x, int rows, size_t stride, size_t n)
{
    if (rows < 1) {
        memset(acc, 0, n * sizeof *acc);
        return;
    }
    for (int r = 0; r < rows; r += 4) {
        const float *at = x + (size_t)r * stride;
        if (rows - r >= 4)
            sum_rows_group(acc, at, 4, stride, n, r == 0);
        else
            sum_rows_group(acc, at, rows - r, stride, n, r == 0);
    }
}

struct loss_state {
    float half_range; /* (ln beta - lv1) / 2 = d lv2 / dv */
    float inv_var;    /* e^-lv1 */
    float mean_eps, deps, dvar;
};

/* With d = lv2 - lv1 = f (ln beta - lv1): KL = 0.5 (-1 + d + e^-d + dm^2 e^-d e^-lv1). Not through lv2,
 * whose rounding is as large as d late in the chain. */
FDIT_KERNEL void loss_step(const struct loss_state *s, const struct fdit_cpu_loss_piece *p, size_t i, vf *mse,
                           vf *vb, bool full, int rest)
{
    vf error = ld(p->eps + i, full, rest) - ld(p->noise + i, full, rest);
    vf v = ld(p->var + i, full, rest);
    /* v - v: an infinite v gives NaN, as it does in lv2; e^-d alone would hide it. */
    vf d = (v + 1.0f) * s->half_range + (v - v);
    vf e = vexp(-d);
    vf dm = s->mean_eps * error;
    vf square = dm * dm * (e * s->inv_var);
    vf kl = 0.5f * (((d - 1.0f) + e) + square);
    if (p->deps) {
        st(p->deps + i, s->deps * error, full, rest);
        st(p->dvar + i, s->dvar * ((1.0f - e) - square), full, rest);
    }
    vf error2 = error * error;
    if (!full) {
        error2 = first_n(error2, rest);
        kl = first_n(kl, rest);
    }
    *mse = *mse + error2;
    *vb = *vb + kl;
}

static void loss(const struct fdit_loss_coef *coef, const struct fdit_cpu_loss_piece *piece, double sums[2])
{
    const struct fdit_cpu_loss_piece copy = *piece, *const p = &copy;
    const float half_range = 0.5f * (coef->log_beta - coef->log_var);
    const struct loss_state s = {
        .half_range = half_range,
        .inv_var = (float)__builtin_exp(-(double)coef->log_var),
        .mean_eps = coef->mean_eps,
        .deps = 2.0f * p->grad_scale,
        .dvar = 0.5f * half_range * p->grad_scale_vb * 1.44269504088896341f,
    };
    for (size_t begin = 0; begin < p->n; begin += 1024) {
        size_t end = p->n - begin < 1024 ? p->n : begin + 1024, i = begin;
        vf mse = vzero(), vb = vzero();
        for (; i + VL <= end; i += VL)
            loss_step(&s, p, i, &mse, &vb, true, 0);
        if (i < end)
            loss_step(&s, p, i, &mse, &vb, false, (int)(end - i));
        sums[0] += (double)vsum(mse);
        sums[1] += (double)vsum(vb);
    }
}

/* --------------------------------------------------------------------------------------- rows */

/* Mean, and 1 / sqrt(var + 1e-6), in two passes. */
FDIT_KERNEL void row_statistics(const float *x, int n, float *mean, float *rstd)
{
    int i = 0;
    vf a = vzero(), b = vzero(), c = vzero(), d = vzero();
    for (; i + 4 * VL <= n; i += 4 * VL) {
        a = a + vload(x + i);
        b = b + vload(x + i + VL);
        c = c + vload(x + i + 2 * VL);
        d = d + vload(x + i + 3 * VL);
    }
    for (; i + VL <= n; i += VL)
        a = a + vload(x + i);
    if (i < n)
        b = b + vload_n(x + i, n - i);
    float mu = vsum((a + b) + (c + d)) / (float)n;

    a = b = c = d = vzero();
    for (i = 0; i + 4 * VL <= n; i += 4 * VL) {
        vf p = vload(x + i) - mu, q = vload(x + i + VL) - mu;
        vf r = vload(x + i + 2 * VL) - mu, s = vload(x + i + 3 * VL) - mu;
        a = vfma(p, p, a);
        b = vfma(q, q, b);
        c = vfma(r, r, c);
        d = vfma(s, s, d);
    }
    for (; i + VL <= n; i += VL) {
        vf p = vload(x + i) - mu;
        a = vfma(p, p, a);
    }
    if (i < n) {
        vf p = first_n(vload_n(x + i, n - i) - mu, n - i);
        b = vfma(p, p, b);
    }
    *mean = mu;
    *rstd = 1.0f / __builtin_sqrtf(vsum((a + b) + (c + d)) / (float)n + 1e-6f);
}

FDIT_KERNEL void norm_step(const struct fdit_cpu_norm_row *r, const float *x, int i, vf mean, vf rstd,
                           bool normalise, bool affine, bool modulated, bool full, int rest)
{
    vf u = ld(x + i, full, rest);
    if (normalise) {
        u = (u - mean) * rstd;
        if (r->xhat)
            st(r->xhat + i, u, full, rest);
        if (!r->y)
            return;
    }
    if (affine)
        u = vfma(u, ld(r->weight + i, full, rest), ld(r->bias + i, full, rest));
    if (modulated)
        u = vfma(u, 1.0f + ld(r->scale + i, full, rest), ld(r->shift + i, full, rest));
    st(r->y + i, u, full, rest);
}

FDIT_KERNEL void norm_row(const struct fdit_cpu_norm_row *r, const float *x, int n, float mean, float rstd,
                          bool normalise, bool affine, bool modulated)
{
    vf m = vset(mean), s = vset(rstd);
    int i = 0;
    for (; i + VL <= n; i += VL)
        norm_step(r, x, i, m, s, normalise, affine, modulated, true, 0);
    if (i < n)
        norm_step(r, x, i, m, s, normalise, affine, modulated, false, n - i);
}

FDIT_KERNEL void norm_any(const struct fdit_cpu_norm_row *r, const float *x, int n, float mean, float rstd,
                          bool normalise)
{
    if (r->weight && r->scale)
        norm_row(r, x, n, mean, rstd, normalise, true, true);
    else if (r->weight)
        norm_row(r, x, n, mean, rstd, normalise, true, false);
    else if (r->scale)
        norm_row(r, x, n, mean, rstd, normalise, false, true);
    else
        norm_row(r, x, n, mean, rstd, normalise, false, false);
}

static void norm(const struct fdit_cpu_norm_row *row, int width)
{
    const struct fdit_cpu_norm_row r = *row;
    float mean, rstd;
    row_statistics(r.x, width, &mean, &rstd);
    if (r.rstd)
        *r.rstd = rstd;
    if (r.y || r.xhat)
        norm_any(&r, r.x, width, mean, rstd, true);
}

static void modulate(const struct fdit_cpu_norm_row *row, const float *xhat, int width)
{
    const struct fdit_cpu_norm_row r = *row;
    norm_any(&r, xhat, width, 0.0f, 1.0f, false);
}

/* g = dy (1 + scale) weight */
FDIT_KERNEL vf norm_slope(const struct fdit_cpu_norm_backward_rows *r, vf dy, int i, bool full, int rest)
{
    if (r->scale)
        dy = dy * (1.0f + ld(r->scale + i, full, rest));
    if (r->weight)
        dy = dy * ld(r->weight + i, full, rest);
    return dy;
}

FDIT_KERNEL void norm_backward_sums(const struct fdit_cpu_norm_backward_rows *r, const float *dy,
                                    const float *xhat, int i, vf *sum_g, vf *sum_gx, bool first, bool full,
                                    int rest)
{
    vf d = ld(dy + i, full, rest), x = ld(xhat + i, full, rest);
    if (r->sum_dy) {
        vf dx = d * x;
        st(r->sum_dy + i, first ? d : ld(r->sum_dy + i, full, rest) + d, full, rest);
        st(r->sum_dy_xhat + i, first ? dx : ld(r->sum_dy_xhat + i, full, rest) + dx, full, rest);
    }
    if (r->dx) {
        vf g = norm_slope(r, d, i, full, rest);
        *sum_g = *sum_g + g;
        *sum_gx = vfma(g, x, *sum_gx);
    }
}

FDIT_KERNEL void norm_backward_dx(const struct fdit_cpu_norm_backward_rows *r, float *dx, const float *dy,
                                  const float *xhat, int i, vf rstd, vf mean_g, vf mean_gx, bool full,
                                  int rest)
{
    vf g = norm_slope(r, ld(dy + i, full, rest), i, full, rest);
    vf d = rstd * ((g - mean_g) - ld(xhat + i, full, rest) * mean_gx);
    if (r->accumulate)
        d = ld(dx + i, full, rest) + d;
    st(dx + i, d, full, rest);
}

static void norm_backward(const struct fdit_cpu_norm_backward_rows *rows)
{
    const struct fdit_cpu_norm_backward_rows copy = *rows, *const r = &copy;
    const int n = r->width;
    for (int row = 0; row < r->rows; row++) {
        const float *dy = r->dy + (size_t)row * (size_t)n;
        const float *xhat = r->xhat + (size_t)row * (size_t)n;
        const bool first = row == 0;
        vf g0 = vzero(), g1 = vzero(), x0 = vzero(), x1 = vzero();
        int i = 0;
        for (; i + 2 * VL <= n; i += 2 * VL) {
            norm_backward_sums(r, dy, xhat, i, &g0, &x0, first, true, 0);
            norm_backward_sums(r, dy, xhat, i + VL, &g1, &x1, first, true, 0);
        }
        for (; i + VL <= n; i += VL)
            norm_backward_sums(r, dy, xhat, i, &g0, &x0, first, true, 0);
        if (i < n)
            norm_backward_sums(r, dy, xhat, i, &g1, &x1, first, false, n - i);
        if (!r->dx)
            continue;
        float *dx = r->dx + (size_t)row * (size_t)n;
        vf mean_g = vset(vsum(g0 + g1) / (float)n), mean_gx = vset(vsum(x0 + x1) / (float)n);
        vf rstd = vset(r->rstd[row]);
        for (i = 0; i + VL <= n; i += VL)
            norm_backward_dx(r, dx, dy, xhat, i, rstd, mean_g, mean_gx, true, 0);
        if (i < n)
            norm_backward_dx(r, dx, dy, xhat, i, rstd, mean_g, mean_gx, false, n - i);
    }
}

FDIT_KERNEL void gate_backward_step(float *dbranch, float *sum, const float *dy, const float *branch,
                                    const float *g, bool first, bool full, int rest)
{
    vf d = ld(dy, full, rest);
    if (sum) {
        vf b = ld(branch, full, rest);
        st(sum, first ? d * b : vfma(d, b, ld(sum, full, rest)), full, rest);
    }
    if (dbranch)
        st(dbranch, ld(g, full, rest) * d, full, rest);
}

static void gate_backward(float *dbranch, float *sum, const float *dy, const float *branch, const float *g,
                          int rows, int width)
{
    for (int row = 0; row < rows; row++) {
        size_t at = (size_t)row * (size_t)width;
        int i = 0;
        for (; i < width; i += VL) {
            float *db = dbranch ? dbranch + at + i : NULL, *s = sum ? sum + i : NULL;
            const float *b = sum ? branch + at + i : NULL;
            if (width - i >= VL)
                gate_backward_step(db, s, dy + at + i, b, g + i, row == 0, true, 0);
            else
                gate_backward_step(db, s, dy + at + i, b, g + i, row == 0, false, width - i);
        }
    }
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fdit_bf16_of(x[i]);
}

static void from_bf16(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fdit_bf16_value(x[i]);
}

const struct fdit_cpu_op_kernels FDIT_ISA_NAME(fdit_cpu_op_kernels) = {
    .vlen = VL,
    .activation = activation,
    .activation_backward = activation_backward,
    .axpy = axpy,
    .blend = blend,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .gate = gate,
    .sampler = sampler,
    .adamw = adamw,
    .lion = lion,
    .sum_squares = sum_squares,
    .sum_rows = sum_rows,
    .loss = loss,
    .norm = norm,
    .modulate = modulate,
    .norm_backward = norm_backward,
    .gate_backward = gate_backward,
    .attention = &FDIT_ISA_NAME(fdit_cpu_attention_kernels),
    .picture = &FDIT_ISA_NAME(fdit_cpu_picture_kernels),
    .probe = &FDIT_ISA_NAME(fdit_cpu_probe_kernels),
};
