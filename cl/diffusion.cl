/* SPDX-License-Identifier: Apache-2.0
 * diffusion.cl: the training loss with its gradient, cross entropy, and one step of the samplers.
 * The forms below are those without cancellation, since there is no double here. */

/* The tanh form of the normal distribution function, 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)): as
 * many digits in the lower tail as anywhere. */
float cdf(float z)
{
    float u = 0.7978845608f * (z + 0.044715f * z * z * z);
    return 1.0f / (1.0f + exp(-2.0f * u));
}

/* z times the derivative of cdf, which is even; 0 where that has died out and z may be infinite. */
float times_slope(float z)
{
    float c = cdf(-fabs(z));
    float slope = 2.0f * c * (1.0f - c) * 0.7978845608f * (1.0f + 3.0f * 0.044715f * z * z);
    return c == 0.0f ? 0.0f : z * slope;
}

/* -ln of the mass of the bin x +- 1/255 under a Gaussian with log variance lv2 whose mean lies
 * `off` below x; ends open beyond +-0.999; floor 1e-12. *dlv2 is the derivative. */
float discretised_nll(float x, float off, float lv2, float *dlv2)
{
    float inv = exp(-0.5f * lv2);
    float above = (off + 1.0f / 255.0f) * inv, below = (off - 1.0f / 255.0f) * inv;
    float d_above = -0.5f * times_slope(above), d_below = -0.5f * times_slope(below);
    float mass, d_mass;
    if (x < -0.999f) {
        mass = cdf(above);
        d_mass = d_above;
    } else if (x > 0.999f) {
        mass = cdf(-below); /* 1 - cdf(below) */
        d_mass = -d_below;
    } else { /* on the side where both are small */
        mass = off > 0.0f ? cdf(-below) - cdf(-above) : cdf(above) - cdf(below);
        d_mass = d_above - d_below;
    }
    if (mass < 1e-12f) { /* false for NaN, which goes on */
        mass = 1e-12f;
        d_mass = 0.0f;
    }
    *dlv2 = -d_mass / mass;
    return -log(mass);
}

/* coef [b]: is_first, log_beta, log_var, mean_eps, scale, scale_vb, 2 unused. One group a sample; n pixels, C
 * channels. losses [b] = mean squared error, mean bound in bits; dout = their gradient. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
diffusion_loss(__global float *dout, ulong dout_at, __global float *losses, ulong losses_at,
               __global const float *out, ulong out_at, __global const float *x0, ulong x0_at,
               __global const float *noise, ulong noise_at, __global const float *coef, ulong coef_at,
               ulong n, int has_dout)
{
    __local float s[GROUP];
    const float bits = 1.4426950409f; /* 1 / ln 2 */
    size_t b = get_group_id(0), l = get_local_id(0);
    __global const float *c = coef + coef_at + 8 * b;
    float is_first = c[0], log_beta = c[1], lv1 = c[2], mean_eps = c[3], mean = 1.0f / (float)n;
    float range = log_beta - lv1, scale = c[4] * mean, scale_vb = c[5] * mean, mse = 0.0f, vb = 0.0f;
    for (size_t i = l; i < (size_t)n; i += GROUP) {
        float v = out[out_at + (2 * b + 1) * (size_t)n + i];
        float error = out[out_at + 2 * b * (size_t)n + i] - noise[noise_at + b * (size_t)n + i];
        float off = mean_eps * error, f = 0.5f * (v + 1.0f), d = f * range, bound, dlv2;
        float lv2 = f * log_beta + (1.0f - f) * lv1; /* NaN for an infinite v, which d may hide */
        if (is_first != 0.0f) {
            bound = discretised_nll(x0[x0_at + b * (size_t)n + i], off, lv2, &dlv2);
        } else {
            float less = expm1(-d), far = off * off * exp(-lv2);
            bound = 0.5f * (less + d + far);
            dlv2 = -0.5f * (less + far);
        }
        mse += error * error;
        vb += bound;
        if (has_dout) {
            dout[dout_at + 2 * b * (size_t)n + i] = scale * 2.0f * error;
            dout[dout_at + (2 * b + 1) * (size_t)n + i] = scale_vb * dlv2 * bits * 0.5f * range;
        }
    }
    mse = group_sum(s, mse);
    vb = group_sum(s, vb);
    if (l == 0) {
        losses[losses_at + 2 * b] = mse * mean;
        losses[losses_at + 2 * b + 1] = vb * bits * mean;
    }
}

/* coef [b]: of_x0, of_noise, scale, 5 unused. One group a sample; n elements have a target, `rest` behind
 * them none. losses [b] = mean of (out - of_x0 x0 - of_noise noise)^2, and 0; dout = its gradient. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
velocity_loss(__global float *dout, ulong dout_at, __global float *losses, ulong losses_at,
              __global const float *out, ulong out_at, __global const float *x0, ulong x0_at,
              __global const float *noise, ulong noise_at, __global const float *coef, ulong coef_at, ulong n,
              ulong rest, int has_dout)
{
    __local float s[GROUP];
    size_t b = get_group_id(0), l = get_local_id(0), row = b * (size_t)(n + rest);
    __global const float *c = coef + coef_at + 8 * b;
    float of_x0 = c[0], of_noise = c[1], mean = 1.0f / (float)n, scale = 2.0f * c[2] * mean, mse = 0.0f;
    for (size_t i = l; i < (size_t)n; i += GROUP) {
        size_t at = b * (size_t)n + i;
        float error = out[out_at + row + i] - (of_x0 * x0[x0_at + at] + of_noise * noise[noise_at + at]);
        mse += error * error;
        if (has_dout)
            dout[dout_at + row + i] = scale * error;
    }
    if (has_dout)
        for (size_t i = l; i < (size_t)rest; i += GROUP)
            dout[dout_at + row + (size_t)n + i] = 0.0f;
    mse = group_sum(s, mse);
    if (l == 0) {
        losses[losses_at + 2 * b] = mse * mean;
        losses[losses_at + 2 * b + 1] = 0.0f;
    }
}

/* loss [b] = -log softmax(logits [b])[label];  dlogits = (softmax - onehot) factor. One group a
 * sample. A label that is not a class gives NaN. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
cross_entropy(__global float *loss, ulong loss_at, __global float *dlogits, ulong dlogits_at,
              __global const float *logits, ulong logits_at, __global const int *labels, ulong labels_at,
              int classes, float factor, int has_dlogits)
{
    __local float s[GROUP];
    int l = (int)get_local_id(0), b = (int)get_group_id(0);
    size_t row = (size_t)b * (size_t)classes;
    int label = labels[labels_at + (size_t)b];
    float top = -3.0e38f, sum = 0.0f;
    for (int k = l; k < classes; k += GROUP)
        top = fmax(top, logits[logits_at + row + (size_t)k]);
    s[l] = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size)
            s[l] = fmax(s[l], s[l + half_size]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    top = s[0];
    for (int k = l; k < classes; k += GROUP)
        if (k != label)
            sum += exp(logits[logits_at + row + (size_t)k] - top);
    sum = group_sum(s, sum); /* of the other classes */
    float own = label < 0 || label >= classes ? nan(0u) : logits[logits_at + row + (size_t)label] - top;
    if (l == 0) /* a sure answer has a loss near 0, whose digits log(1 + sum) would lose */
        loss[loss_at + (size_t)b] = own == 0.0f ? log1p(sum) : log(sum + exp(own)) - own;
    sum += exp(own);
    if (has_dlogits)
        for (int k = l; k < classes; k += GROUP) {
            float p = exp(logits[logits_at + row + (size_t)k] - top) / sum;
            dlogits[dlogits_at + row + (size_t)k] = (p - (k == label ? 1.0f : 0.0f)) * factor;
        }
}

/* x_next = a linear rule of x, x0, eps, old and noise: struct fdit_sampler_step_args says what the numbers
 * mean. x_next may be x: (element, sample) */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
sampler(__global float *x_next, ulong x_next_at, __global const float *x, ulong x_at,
        __global const float *cond, ulong cond_at, __global const float *uncond, ulong uncond_at,
        __global const float *z, ulong z_at, __global float *old, ulong old_at, ulong n, ulong guided,
        float guidance, float x0_x, float x0_eps, float to_x, float to_x0, float to_eps, float to_old,
        float to_z, float log_beta, float log_var, uint flags)
{
    size_t i = get_global_id(0), b = get_global_id(1);
    if (i >= (size_t)n)
        return;
    size_t at = b * (size_t)n + i, pair = FLAG(flags, SAMPLER_SINGLE) ? at : at + b * (size_t)n;
    float e = cond[cond_at + pair], xi = x[x_at + at];
    if (FLAG(flags, SAMPLER_UNCOND) && i < (size_t)guided) {
        float u = uncond[uncond_at + pair];
        e = u + guidance * (e - u);
    }
    float x0 = x0_x * xi + x0_eps * e;
    if (FLAG(flags, SAMPLER_CLIP_X0)) {
        x0 = x0 < -1.0f ? -1.0f : x0 > 1.0f ? 1.0f : x0;
        e = (x0 - x0_x * xi) / x0_eps;
    }
    float to = to_x * xi + to_x0 * x0 + to_eps * e;
    if (FLAG(flags, SAMPLER_OLD)) {
        to += to_old * old[old_at + at];
        old[old_at + at] = x0;
    }
    if (FLAG(flags, SAMPLER_Z)) {
        float sd = 1.0f;
        if (FLAG(flags, SAMPLER_LEARNED)) {
            float f = 0.5f * (cond[cond_at + pair + (size_t)n] + 1.0f);
            sd = exp(0.5f * (f * log_beta + (1.0f - f) * log_var));
        }
        to += to_z * sd * z[z_at + at];
    }
    x_next[x_next_at + at] = to;
}
