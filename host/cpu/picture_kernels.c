/* SPDX-License-Identifier: Apache-2.0
 * picture_kernels.c: group norm and softmax; built once per instruction set (cpu.h). */
#include "cpu/op_kernels.h"

#include "cpu/vmath.h"

#define VL FDIT_VLEN
#define WIDE 4 /* vectors side by side in moments: whole cache lines of every row */

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

/* n vectors of columns, the last of `rest` elements unless `full`. */
FDIT_KERNEL void moments_of(float *mean, float *m2, const float *x, int rows, size_t width, int n, bool full,
                            int rest)
{
    vf sum[WIDE], square[WIDE];
    FDIT_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] = square[i] = vzero();
    for (int r = 0; r < rows; r++)
        FDIT_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] += ld(x + (size_t)r * width + i * VL, full, rest);
    FDIT_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] /= (float)rows;
    for (int r = 0; r < rows; r++)
        FDIT_UNROLL
    for (int i = 0; i < n; i++) {
        vf d = ld(x + (size_t)r * width + i * VL, full, rest) - sum[i];
        square[i] = vfma(d, d, square[i]);
    }
    FDIT_UNROLL
    for (int i = 0; i < n; i++) {
        st(mean + i * VL, sum[i], full, rest);
        st(m2 + i * VL, square[i], full, rest);
    }
}

static void moments(float *mean, float *m2, const float *x, int rows, int width)
{
    int c = 0;
    for (; c + WIDE * VL <= width; c += WIDE * VL)
        moments_of(mean + c, m2 + c, x + c, rows, (size_t)width, WIDE, true, 0);
    for (; c + VL <= width; c += VL)
        moments_of(mean + c, m2 + c, x + c, rows, (size_t)width, 1, true, 0);
    if (c < width)
        moments_of(mean + c, m2 + c, x + c, rows, (size_t)width, 1, false, width - c);
}

FDIT_KERNEL void normalise_row(float *y, const float *x, const float *mean, const float *scale,
                               const float *bias, int width, enum fdit_act act)
{
    for (int c = 0; c < width; c += VL) {
        bool full = c + VL <= width;
        int rest = width - c;
        vf v = vfma(ld(x + c, full, rest) - ld(mean + c, full, rest), ld(scale + c, full, rest),
                    ld(bias + c, full, rest));
        if (act == FDIT_ACT_SILU)
            v = vsilu(v);
        else if (act == FDIT_ACT_GELU_TANH)
            v = vgelu(v);
        else if (act == FDIT_ACT_RELU)
            v = vrelu(v);
        else if (act == FDIT_ACT_GELU_ERF)
            v = vgelu_erf(v);
        st(y + c, v, full, rest);
    }
}

static void normalise(float *y, const float *x, const float *mean, const float *scale, const float *bias,
                      int rows, int width, enum fdit_act act)
{
    for (int r = 0; r < rows; r++, x += width, y += width) {
        if (act == FDIT_ACT_SILU)
            normalise_row(y, x, mean, scale, bias, width, FDIT_ACT_SILU);
        else if (act == FDIT_ACT_GELU_TANH)
            normalise_row(y, x, mean, scale, bias, width, FDIT_ACT_GELU_TANH);
        else if (act == FDIT_ACT_RELU)
            normalise_row(y, x, mean, scale, bias, width, FDIT_ACT_RELU);
        else if (act == FDIT_ACT_GELU_ERF)
            normalise_row(y, x, mean, scale, bias, width, FDIT_ACT_GELU_ERF);
        else
            normalise_row(y, x, mean, scale, bias, width, FDIT_ACT_NONE);
    }
}

static void softmax(float *y, const float *x, int n, float scale)
{
    const float low = -__builtin_inff();
    float part[VL], most = low, sum = 0;
    vf top = vset(low), total = vzero();
    int i = 0, rest = n % VL;
    for (; i + VL <= n; i += VL)
        top = vmax(vload(x + i) * scale, top);
    vstore(part, top);
    for (int k = 0; k < rest; k++) {
        float v = x[i + k] * scale;
        part[k] = v > part[k] ? v : part[k];
    }
    for (int k = 0; k < VL; k++)
        most = part[k] > most ? part[k] : most;
    for (i = 0; i + VL <= n; i += VL) {
        vf e = vexp(vload(x + i) * scale - most);
        total += e;
        vstore(y + i, e);
    }
    vstore(part, total);
    if (rest) {
        float tail[VL];
        vf e = vexp(vload_n(x + i, rest) * scale - most);
        vstore(tail, e);
        for (int k = 0; k < rest; k++)
            part[k] += tail[k];
        vstore_n(y + i, e, rest);
    }
    for (int k = 0; k < VL; k++)
        sum += part[k];
    for (i = 0; i + VL <= n; i += VL)
        vstore(y + i, vload(y + i) / sum);
    if (rest)
        vstore_n(y + i, vload_n(y + i, rest) / sum, rest);
}

static void pool(float *y, const float *x, size_t row, int rows, int columns, int channels, float count)
{
    for (int c = 0; c < channels; c += VL) {
        bool full = c + VL <= channels;
        int rest = channels - c;
        vf all = ld(x + c, full, rest);
        for (int k = 1; k < rows * columns; k++) {
            vf v = ld(x + (size_t)(k / columns) * row + (size_t)(k % columns) * (size_t)channels + c, full,
                      rest);
            all = count > 0 ? all + v : vselect((vi)(v > all) | (vi)(v != v), v, all); /* a NaN stays */
        }
        st(y + c, count > 0 ? all / count : all, full, rest);
    }
}

/* The sum over the window for outputs o .. o + n-1, n <= VL, of one group; each with a channel of its own
 * where the convolution is depthwise. */
FDIT_KERNEL vf window_sum(const struct fdit_conv_args *a, const struct fdit_cpu_window *w, int o, int n,
                          bool depthwise)
{
    const int each = a->n_in / a->groups, first = depthwise ? o : o / (a->n_out / a->groups) * each;
    const bool full = n == VL;
    vf sum = vzero();
    for (int ky = w->first_y; ky < w->end_y; ky++)
        for (int kx = w->first_x; kx < w->end_x; kx++) {
            const size_t pixel =
                (size_t)((w->row + ky) >> w->up) * (size_t)a->width + (size_t)((w->column + kx) >> w->up);
            const float *x = w->x + pixel * (size_t)a->n_in + first;
            const float *weight =
                w->weight + (size_t)(ky * a->kernel_x + kx) * (size_t)each * (size_t)a->n_out + o;
            if (depthwise)
                sum = vfma(ld(x, full, n), ld(weight, full, n), sum);
            else
                for (int c = 0; c < each; c++, weight += a->n_out)
                    sum = vfma(vset(x[c]), ld(weight, full, n), sum);
        }
    return sum;
}

static void grouped(const struct fdit_conv_args *a, const struct fdit_cpu_window *w, float *y,
                    const float *bias, const float *residual)
{
    const bool depthwise = a->groups == a->n_in && a->groups == a->n_out;
    const int end = depthwise ? a->n_out : a->n_out / a->groups;
    for (int group = 0; group < a->n_out; group += end)
        for (int o = group; o < group + end; o += VL) {
            const int rest = group + end - o, n = rest < VL ? rest : VL;
            vf v = window_sum(a, w, o, n, depthwise);
            if (bias)
                v += ld(bias + o, n == VL, n);
            if (a->act == FDIT_ACT_SILU)
                v = vsilu(v);
            else if (a->act == FDIT_ACT_GELU_TANH)
                v = vgelu(v);
            else if (a->act == FDIT_ACT_RELU)
                v = vrelu(v);
            if (residual)
                v += ld(residual + o, n == VL, n);
            st(y + o, v, n == VL, n);
        }
}

const struct fdit_cpu_picture_kernels FDIT_ISA_NAME(fdit_cpu_picture_kernels) = {
    .moments = moments,
    .normalise = normalise,
    .softmax = softmax,
    .pool = pool,
    .grouped = grouped,
};
