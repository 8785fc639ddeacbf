/* SPDX-License-Identifier: Apache-2.0
 * ops_heads.c: normalised queries and keys, a token a piece. Sums have LANES interleaved chains, which the
 * compiler makes vectors of; their order depends on the head size alone. */
#include "cpu/ops.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };

static float sum_lanes(const float *s)
{
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* sum of (x - minus)^power, power 1 or 2 */
static float sum_about(const float *x, size_t n, float minus, bool square)
{
    float s[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            const float d = x[i + j] - minus;
            s[j] += square ? d * d : d;
        }
    for (size_t j = 0; i < n; i++, j++) {
        const float d = x[i] - minus;
        s[j] += square ? d * d : d;
    }
    return sum_lanes(s);
}

static void norm_head(size_t n, float *y, const float *x, const float *weight, const float *bias, float *xhat,
                      float *rstd)
{
    const float mean = sum_about(x, n, 0, false) / (float)n;
    const float r = 1 / sqrtf(sum_about(x, n, mean, true) / (float)n + 1e-5f);
    if (rstd)
        *rstd = r;
    for (size_t d = 0; d < n; d++) {
        const float u = (x[d] - mean) * r;
        if (xhat)
            xhat[d] = u;
        y[d] = u * weight[d] + bias[d];
    }
}

static void norm_tokens(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_qk_norm_args *a = job;
    const size_t heads = (size_t)a->heads, n = (size_t)a->head_size;
    const float *weights[2] = { fdit_cpu_f32(a->q_weight), fdit_cpu_f32(a->k_weight) };
    const float *biases[2] = { fdit_cpu_f32(a->q_bias), fdit_cpu_f32(a->k_bias) };
    float *xhat = fdit_has(a->xhat) ? fdit_cpu_f32(a->xhat) : NULL;
    float *rstd = fdit_has(a->rstd) ? fdit_cpu_f32(a->rstd) : NULL;
    (void)cpu;
    (void)thread;
    for (size_t m = begin; m < end; m++) {
        const float *x = fdit_cpu_f32(a->x) + m * 3 * heads * n;
        float *y = fdit_cpu_f32(a->y) + m * 3 * heads * n;
        for (size_t h = 0; h < 2 * heads; h++) {
            const size_t v = m * 2 * heads + h;
            norm_head(n, y + h * n, x + h * n, weights[h / heads], biases[h / heads],
                      xhat ? xhat + v * n : NULL, rstd ? rstd + v : NULL);
        }
        if (y != x)
            memcpy(y + 2 * heads * n, x + 2 * heads * n, heads * n * sizeof *y);
    }
}

void fdit_cpu_qk_norm(fdit_device *dev, const struct fdit_qk_norm_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * 3 * (size_t)a->heads * (size_t)a->head_size, norm_tokens, a);
}

static void head_backward(size_t n, float *dx, const float *dy, const float *weight, const float *xhat,
                          float rstd, float *dweight, float *dbias)
{
    float mean[LANES] = { 0 }, along[LANES] = { 0 };
    for (size_t d = 0; d < n; d++) {
        const float g = dy[d] * weight[d];
        mean[d % LANES] += g;
        along[d % LANES] += g * xhat[d];
        dweight[d] += dy[d] * xhat[d];
        dbias[d] += dy[d];
    }
    const float of_one = sum_lanes(mean) / (float)n, of_xhat = sum_lanes(along) / (float)n;
    for (size_t d = 0; d < n; d++)
        dx[d] = rstd * (dy[d] * weight[d] - of_one - xhat[d] * of_xhat);
}

static void backward_tokens(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_qk_norm_backward_args *a = job;
    const size_t heads = (size_t)a->heads, n = (size_t)a->head_size;
    const float *weights[2] = { fdit_cpu_f32(a->q_weight), fdit_cpu_f32(a->k_weight) };
    float *of_weights[2] = { fdit_cpu_f32(a->dq_weight), fdit_cpu_f32(a->dk_weight) };
    float *of_biases[2] = { fdit_cpu_f32(a->dq_bias), fdit_cpu_f32(a->dk_bias) };
    const float *xhat = fdit_cpu_f32(a->xhat), *rstd = fdit_cpu_f32(a->rstd);
    (void)cpu;
    (void)thread;
    for (size_t m = begin; m < end; m++) {
        const float *dy = fdit_cpu_f32(a->dy) + m * 3 * heads * n;
        float *dx = fdit_cpu_f32(a->dx) + m * 3 * heads * n;
        for (size_t part = 0; part < 2; part++) {
            memset(of_weights[part] + m * n, 0, n * sizeof(float));
            memset(of_biases[part] + m * n, 0, n * sizeof(float));
        }
        for (size_t h = 0; h < 2 * heads; h++) {
            const size_t v = m * 2 * heads + h, part = h / heads;
            head_backward(n, dx + h * n, dy + h * n, weights[part], xhat + v * n, rstd[v],
                          of_weights[part] + m * n, of_biases[part] + m * n);
        }
        if (dx != dy)
            memcpy(dx + 2 * heads * n, dy + 2 * heads * n, heads * n * sizeof *dx);
    }
}

void fdit_cpu_qk_norm_backward(fdit_device *dev, const struct fdit_qk_norm_backward_args *a)
{
    const size_t m = (size_t)a->samples * (size_t)a->tokens;
    fdit_cpu_range(fdit_cpu_of(dev), m, m * 3 * (size_t)a->heads * (size_t)a->head_size, backward_tokens, a);
}
