/* SPDX-License-Identifier: Apache-2.0 */
#include "device/host_math.h"

#include <math.h>

void fdit_host_modulate(size_t width, float *y, const float *xhat, const float *weight, const float *bias,
                        const float *shift, const float *scale)
{
    for (size_t d = 0; d < width; d++) {
        double u = weight ? (double)xhat[d] * weight[d] + bias[d] : xhat[d];
        y[d] = (float)(scale ? u * (1.0 + scale[d]) + shift[d] : u);
    }
}

void fdit_host_diffuse(size_t n, float *xt, const float *x0, const float *noise, double of_x0,
                       double of_noise)
{
    for (size_t i = 0; i < n; i++)
        xt[i] = (float)(of_x0 * x0[i] + of_noise * noise[i]);
}

/* The tanh form of the normal distribution function, and its derivative. */
static double cdf(double z, double *slope)
{
    const double k = 0.79788456080286535588; /* sqrt(2/pi) */
    double t = tanh(k * (z + 0.044715 * z * z * z));
    *slope = 0.5 * (1 - t * t) * k * (1 + 3 * 0.044715 * z * z);
    return 0.5 * (1 + t);
}

/* z slope(z), 0 where the slope has died out: z may be infinite there. */
static double times_slope(double z, double slope)
{
    return slope == 0 ? 0 : z * slope;
}

/* -ln of the mass that a Gaussian with log standard deviation lv2/2 gives to the bin of half-width 1/255
 * around x, `off` = x - mean away from its mean; open ends; floor 1e-12, under which nothing depends on
 * lv2. *dlv2: the derivative. */
static double discretised_nll(double x, double off, double lv2, double *dlv2)
{
    const double half_bin = 1.0 / 255, end = 0.999, floor_mass = 1e-12;
    double inv = exp(-0.5 * lv2);
    double above = (off + half_bin) * inv, below = (off - half_bin) * inv;
    double slope_above, slope_below;
    double c_above = cdf(above, &slope_above), c_below = cdf(below, &slope_below);
    /* d above / d lv2 = -above / 2 */
    double d_above = -0.5 * times_slope(above, slope_above);
    double d_below = -0.5 * times_slope(below, slope_below);
    double mass, d_mass;
    if (x < -end) {
        mass = c_above;
        d_mass = d_above;
    } else if (x > end) {
        mass = 1 - c_below;
        d_mass = -d_below;
    } else {
        mass = c_above - c_below;
        d_mass = d_above - d_below;
    }
    if (mass < floor_mass) { /* false for NaN, which goes on */
        mass = floor_mass;
        d_mass = 0;
    }
    *dlv2 = -d_mass / mass;
    return -log(mass);
}

void fdit_host_loss_element(const struct fdit_loss_coef *coef, double eps, double v, double x0, double noise,
                            double *mse, double *vb, double *dmse_deps, double *dvb_dv)
{
    const double bits = 1.0 / 0.69314718055994530942; /* 1 / ln 2 */
    double lv1 = coef->log_var, f = 0.5 * (v + 1);
    double lv2 = f * coef->log_beta + (1 - f) * lv1;
    double error = eps - noise;
    double off = coef->mean_eps * error; /* m1 - m2; at t = 0 m1 is x0 */
    double bound, dlv2;
    if (coef->is_first != 0) {
        bound = discretised_nll(x0, off, lv2, &dlv2);
    } else {
        double ratio = exp(lv1 - lv2), far = off * off * exp(-lv2);
        bound = 0.5 * (-1 + lv2 - lv1 + ratio + far);
        dlv2 = 0.5 * (1 - ratio - far);
    }
    if (mse)
        *mse = error * error;
    if (vb)
        *vb = bound * bits;
    if (dmse_deps)
        *dmse_deps = 2 * error;
    if (dvb_dv)
        *dvb_dv = dlv2 * bits * 0.5 * ((double)coef->log_beta - lv1);
}

void fdit_host_diffusion_loss(size_t n, size_t count, const struct fdit_loss_coef *coef, const float *eps,
                              const float *v, const float *x0, const float *noise, float *deps, float *dv,
                              double *mse, double *vb)
{
    double mean = 1.0 / (double)count, scale = coef->scale * mean, scale_vb = coef->scale_vb * mean;
    for (size_t i = 0; i < n; i++) {
        double error2, bound, d_error2, d_bound;
        fdit_host_loss_element(coef, eps[i], v[i], x0[i], noise[i], &error2, &bound, &d_error2, &d_bound);
        *mse += error2 * mean;
        *vb += bound * mean;
        if (deps) {
            deps[i] = (float)(scale * d_error2);
            dv[i] = (float)(scale_vb * d_bound);
        }
    }
}

void fdit_host_velocity_loss(size_t n, size_t count, const struct fdit_velocity_coef *coef, const float *out,
                             const float *x0, const float *noise, float *dout, double *mse)
{
    double mean = 1.0 / (double)count, scale = 2 * (double)coef->scale * mean;
    for (size_t i = 0; i < n; i++) {
        double error = out[i] - ((double)coef->of_x0 * x0[i] + (double)coef->of_noise * noise[i]);
        *mse += error * error * mean;
        if (dout)
            dout[i] = (float)(scale * error);
    }
}

double fdit_host_cross_entropy(size_t classes, const float *logits, size_t label, double scale,
                               float *dlogits)
{
    double most = logits[0], sum = 0;
    for (size_t k = 1; k < classes; k++)
        if (!(logits[k] <= most)) /* NaN wins and stays */
            most = logits[k] > most || isnan(logits[k]) ? logits[k] : most;
    for (size_t k = 0; k < classes; k++)
        sum += exp(logits[k] - most);
    double loss = log(sum) - (logits[label] - most);
    if (dlogits)
        for (size_t k = 0; k < classes; k++)
            dlogits[k] = (float)((exp(logits[k] - most) / sum - (k == label)) * scale);
    return loss;
}

void fdit_host_sampler_step(size_t n, const struct fdit_sampler_step_args *a, float *x_next, const float *x,
                            const float *eps, const float *v, const float *eps_u, const float *z, float *old)
{
    for (size_t i = 0; i < n; i++) {
        double e = eps_u ? eps_u[i] + (double)a->guidance * ((double)eps[i] - eps_u[i]) : eps[i];
        double x0 = (double)a->x0_x * x[i] + (double)a->x0_eps * e;
        if (a->clip_x0) {
            x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
            e = (x0 - (double)a->x0_x * x[i]) / a->x0_eps;
        }
        double to = (double)a->to_x * x[i] + (double)a->to_x0 * x0 + (double)a->to_eps * e;
        if (old) {
            to += (double)a->to_old * old[i];
            old[i] = (float)x0;
        }
        if (z) {
            double sd = 1;
            if (a->learned) {
                double f = 0.5 * (v[i] + 1.0);
                sd = exp(0.5 * (f * a->log_beta + (1 - f) * a->log_var));
            }
            to += a->to_z * sd * z[i];
        }
        x_next[i] = (float)to;
    }
}

void fdit_host_lion(size_t n, const struct fdit_lion_args *a, double scale, float *p, const float *g,
                    float *m, float *ema)
{
    for (size_t i = 0; i < n; i++) {
        double grad = scale * (double)g[i];
        double toward = a->beta1 * (double)m[i] + (1 - a->beta1) * grad;
        double sign = (double)(toward > 0) - (double)(toward < 0);
        double to = (double)p[i] * (1 - (double)a->decay) - (double)a->lr * sign;
        m[i] = (float)(a->beta2 * (double)m[i] + (1 - a->beta2) * grad);
        p[i] = (float)to;
        if (ema)
            ema[i] = (float)(a->ema_decay * (double)ema[i] + (1 - a->ema_decay) * to);
    }
}

void fdit_host_clip_scale(size_t n, const float *partial, double max_norm, float *scale, float *norm)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += partial[i];
    double length = sqrt(sum);
    if (norm)
        *norm = (float)length;
    if (!isfinite(sum)) {
        *scale = NAN;
        return;
    }
    double clip = max_norm > 0 ? max_norm / (length + 1e-6) : 1;
    *scale = (float)(clip < 1 ? clip : 1);
}
