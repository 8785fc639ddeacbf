/* SPDX-License-Identifier: Apache-2.0
 * ops_loss.c: the losses. */
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include <math.h>
#include <string.h>

#define LN2 0.69314718055994530942
#define SQRT_2_PI 0.79788456080286535588 /* sqrt(2 / pi) */

/* The normal distribution function as 0.5 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))), and its slope. */
static double normal_cdf(double z, double *slope)
{
    const double t = tanh(SQRT_2_PI * (z + 0.044715 * z * z * z));
    /* At an infinite z the slope is 0 times infinity: the limit is 0. */
    *slope = isinf(z) ? 0.0 : 0.5 * (1.0 - t * t) * SQRT_2_PI * (1.0 + 3.0 * 0.044715 * z * z);
    return 0.5 * (1.0 + t);
}

/* The term of t = 0: -ln of the mass that a Gaussian at distance `diff` from x0, with log-variance lv,
 * gives to the bin of half-width 1/255 around x0; the ends are open. Returns it and d/dlv. In double:
 * this is one step in a thousand, and the difference of two tails loses its digits in float. */
static double bin_nll(double x0, double diff, double lv, double *dlv)
{
    const double inv = exp(-0.5 * lv);
    const double z_high = (diff + 1.0 / 255.0) * inv, z_low = (diff - 1.0 / 255.0) * inv;
    double slope_high, slope_low, mass, dmass; /* dz/dlv = -z/2 */
    const double high = normal_cdf(z_high, &slope_high), low = normal_cdf(z_low, &slope_low);
    const double dhigh = slope_high * (-0.5 * z_high), dlow = slope_low * (-0.5 * z_low);
    if (x0 < -0.999) {
        mass = high;
        dmass = dhigh;
    } else if (x0 > 0.999) {
        mass = 1.0 - low;
        dmass = -dlow;
    } else {
        mass = high - low;
        dmass = dhigh - dlow;
    }
    if (mass < 1e-12) { /* false for NaN */
        *dlv = 0.0;
        return -log(1e-12);
    }
    *dlv = -dmass / mass;
    return -log(mass);
}

/* One channel of a sample at t = 0: adds the squared error and the likelihood term (nats) to sums. */
static void first_step_loss(const struct fdit_loss_coef *k, const struct fdit_cpu_loss_piece *p,
                            const float *x0, double sums[2])
{
    const double range = (double)k->log_beta - (double)k->log_var;
    for (size_t i = 0; i < p->n; i++) {
        const double error = (double)p->eps[i] - (double)p->noise[i];
        const double f = 0.5 * ((double)p->var[i] + 1.0);
        double dlv;
        sums[0] += error * error;
        /* As two products: an infinite v must give NaN, and the bins alone would hide it. */
        const double lv = f * (double)k->log_beta + (1.0 - f) * (double)k->log_var;
        sums[1] += bin_nll((double)x0[i], (double)k->mean_eps * error, lv, &dlv);
        if (p->deps) {
            p->deps[i] = (float)(2.0 * (double)p->grad_scale * error);
            p->dvar[i] = (float)((double)p->grad_scale_vb * dlv * 0.5 * range / LN2);
        }
    }
}

static void loss_samples(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_diffusion_loss_args *a = job;
    const size_t n = a->n, channels = (size_t)a->channels;
    const double count = (double)channels * (double)n;
    float *losses = fdit_cpu_f32(a->losses), *dout = fdit_cpu_f32(a->dout);
    const float *out = fdit_cpu_f32(a->out), *noise = fdit_cpu_f32(a->noise);
    const float *x0 = fdit_cpu_f32(a->x0), *coef = fdit_cpu_f32(a->coef);
    (void)thread;
    for (size_t b = begin; b < end; b++) {
        struct fdit_loss_coef k;
        double sums[2] = { 0, 0 };
        memcpy(&k, coef + 8 * b, sizeof k);
        for (size_t c = 0; c < channels; c++) {
            const size_t eps = (b * 2 * channels + c) * n, var = eps + channels * n;
            const size_t at = (b * channels + c) * n;
            const struct fdit_cpu_loss_piece piece = {
                .n = n,
                .deps = dout ? dout + eps : NULL,
                .dvar = dout ? dout + var : NULL,
                .eps = out + eps,
                .var = out + var,
                .noise = noise + at,
                .grad_scale = (float)((double)k.scale / count),
                .grad_scale_vb = (float)((double)k.scale_vb / count),
            };
            if (k.is_first != 0.0f)
                first_step_loss(&k, &piece, x0 + at, sums);
            else
                cpu->op->loss(&k, &piece, sums);
        }
        losses[2 * b] = (float)(sums[0] / count);
        losses[2 * b + 1] = (float)(sums[1] / count / LN2);
    }
}

/* Elements of both losses cost several times those of other ops. */
enum { COST = 4 };

void fdit_cpu_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    const size_t samples = (size_t)a->samples;
    fdit_cpu_range(fdit_cpu_of(dev), samples, COST * samples * (size_t)a->channels * a->n, loss_samples, a);
}

static void velocity_samples(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end,
                             int thread)
{
    const struct fdit_velocity_loss_args *a = job;
    const size_t count = (size_t)a->channels * a->n, outputs = (size_t)a->outputs;
    (void)cpu;
    (void)thread;
    for (size_t b = begin; b < end; b++) {
        const float *out = fdit_cpu_f32(a->out) + b * outputs * count;
        const float *x0 = fdit_cpu_f32(a->x0) + b * count, *noise = fdit_cpu_f32(a->noise) + b * count;
        float *dout = fdit_has(a->dout) ? fdit_cpu_f32(a->dout) + b * outputs * count : NULL;
        struct fdit_velocity_coef k;
        double sum = 0;
        memcpy(&k, fdit_cpu_f32(a->coef) + 8 * b, sizeof k);
        const double scale = 2.0 * (double)k.scale / (double)count;
        for (size_t i = 0; i < count; i++) {
            const double velocity = (double)k.of_x0 * (double)x0[i] + (double)k.of_noise * (double)noise[i];
            const double error = (double)out[i] - velocity;
            sum += error * error;
            if (dout)
                dout[i] = (float)(scale * error);
        }
        if (dout)
            memset(dout + count, 0, (outputs - 1) * count * sizeof *dout);
        fdit_cpu_f32(a->losses)[2 * b] = (float)(sum / (double)count);
        fdit_cpu_f32(a->losses)[2 * b + 1] = 0;
    }
}

void fdit_cpu_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    const size_t samples = (size_t)a->samples;
    fdit_cpu_range(fdit_cpu_of(dev), samples, samples * (size_t)a->channels * a->n, velocity_samples, a);
}

static void entropy_samples(const struct fdit_cpu *cpu, const void *job, size_t begin, size_t end, int thread)
{
    const struct fdit_cross_entropy_args *a = job;
    const size_t classes = (size_t)a->classes;
    const int32_t *labels = fdit_cpu_i32(a->labels);
    const float *logits = fdit_cpu_f32(a->logits);
    float *loss = fdit_cpu_f32(a->loss), *dlogits = fdit_cpu_f32(a->dlogits);
    (void)cpu;
    (void)thread;
    for (size_t b = begin; b < end; b++) {
        const float *x = logits + b * classes;
        const size_t label = (size_t)labels[b];
        float top = x[0]; /* a NaN that is passed over here comes back through exp */
        for (size_t c = 1; c < classes; c++)
            top = x[c] > top ? x[c] : top;
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += exp((double)x[c] - (double)top);
        loss[b] = (float)(log(sum) + (double)top - (double)x[label]);
        for (size_t c = 0; dlogits && c < classes; c++) {
            double p = exp((double)x[c] - (double)top) / sum;
            dlogits[b * classes + c] = (float)((p - (c == label ? 1.0 : 0.0)) * (double)a->scale);
        }
    }
}

void fdit_cpu_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    const size_t samples = (size_t)a->samples;
    const int32_t *labels = fdit_cpu_i32(a->labels);
    for (int b = 0; b < a->samples; b++)
        if (labels[b] < 0 || labels[b] >= a->classes) {
            fdit_device_fail(dev, FDIT_ERROR_DEVICE, "cross_entropy: label %d of sample %d is not in 0..%d",
                             (int)labels[b], b, a->classes - 1);
            return;
        }
    fdit_cpu_range(fdit_cpu_of(dev), samples, COST * samples * (size_t)a->classes, entropy_samples, a);
}
