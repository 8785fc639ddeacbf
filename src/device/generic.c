/* SPDX-License-Identifier: Apache-2.0
 * generic.c: see generic.h. The host versions wait for the device at every read: they make a new back
 * end complete, not fast. */
#include "device/generic.h"
#include "core/mem.h"
#include "device/check.h"
#include "device/host_math.h"

#include <math.h>
#include <string.h>
#include <stdint.h>

/* ------------------------------------------------------------------- linear without its extras */

size_t fdit_generic_scratch(const fdit_device *dev, const struct fdit_op_shape *shape)
{
    size_t bytes;
    if (shape->op == FDIT_OP_CONV && !dev->ops->conv && shape->groups < 2 && shape->n_in > 0 &&
        shape->taps > 0) {
        const size_t k = (size_t)shape->taps * (size_t)shape->n_in;
        const size_t patches = fdit_generic_conv_patches(fdit_product(shape->samples, shape->tokens, 1), k);
        return patches * (k + (dev->ops->fuses_act ? 0 : (size_t)shape->n_out)) * sizeof(float);
    }
    if ((dev->ops->fuses_act && dev->ops->fuses_gate && dev->ops->fuses_add) || shape->op != FDIT_OP_LINEAR ||
        shape->samples < 1 || shape->tokens < 1 || shape->n_out < 1)
        return 0;
    if (!fdit_mul((size_t)shape->samples, (size_t)shape->tokens, &bytes) ||
        !fdit_mul(bytes, (size_t)shape->n_out, &bytes) || !fdit_mul(bytes, sizeof(float), &bytes))
        return SIZE_MAX;
    return bytes;
}

static bool same(struct fdit_tensor a, struct fdit_tensor b)
{
    return a.buffer == b.buffer && a.offset == b.offset;
}

/* n floats for a result that y has no room for yet; an absent tensor, and the error, when there are
 * none. */
static struct fdit_tensor scratch(fdit_device *dev, size_t n)
{
    size_t there = dev->scratch ? dev->scratch->bytes / sizeof(float) : 0;
    if (there >= n)
        return fdit_tensor_of(dev->scratch, FDIT_F32);
    fdit_device_fail(dev, FDIT_ERROR_DEVICE,
                     "a scratch of %zu floats is needed, %zu are reserved; this shape was not in "
                     "fdit_device_workspace",
                     n, there);
    return FDIT_NO_TENSOR;
}

/* act and add and nothing else: y = [y +] act(x W^T + b + add). */
static void linear_then_act(fdit_device *dev, const struct fdit_linear_args *a, size_t n)
{
    struct fdit_linear_args l = *a;
    struct fdit_tensor branch = a->beta ? scratch(dev, n) : a->y;
    if (!fdit_has(branch))
        return;
    l.act = FDIT_ACT_NONE;
    l.beta = 0;
    l.y = fdit_has(a->pre) ? a->pre : branch;
    l.pre = FDIT_NO_TENSOR;
    if (fdit_has(a->add) && !dev->ops->fuses_add) {
        dev->ops->copy(dev, l.y, a->add, n);
        l.add = FDIT_NO_TENSOR;
        l.beta = 1;
    }
    dev->ops->linear(dev, &l);
    if (a->act != FDIT_ACT_NONE)
        dev->ops->activation(dev,
                             &(struct fdit_activation_args){ .n = n, .act = a->act, .y = branch, .x = l.y });
    else if (!same(branch, l.y))
        dev->ops->copy(dev, branch, l.y, n);
    if (a->beta)
        dev->ops->axpy(dev,
                       &(struct fdit_axpy_args){ .n = n, .alpha = 1, .y = a->y, .x = branch, .beta = 1 });
}

/* y += residual, the same rows for every sample where it is shared. */
static void add_residual(fdit_device *dev, const struct fdit_linear_args *a, size_t n)
{
    int parts = a->residual_shared ? a->samples : 1;
    size_t part = n / (size_t)parts;
    for (int b = 0; b < parts; b++)
        dev->ops->axpy(
            dev,
            &(struct fdit_axpy_args){
                .n = part, .alpha = 1, .y = fdit_at(a->y, (size_t)b * part), .x = a->residual, .beta = 1 });
}

/* y = [residual +] gate * branch. */
static void add_gated(fdit_device *dev, const struct fdit_linear_args *a, struct fdit_tensor branch, size_t n)
{
    int parts = a->residual_shared ? a->samples : 1;
    size_t part = n / (size_t)parts;
    for (int b = 0; b < parts; b++)
        dev->ops->gate(dev,
                       &(struct fdit_gate_args){ .samples = a->samples / parts,
                                                 .tokens = a->tokens,
                                                 .width = a->n_out,
                                                 .y = fdit_at(a->y, (size_t)b * part),
                                                 .residual = a->residual,
                                                 .branch = fdit_at(branch, (size_t)b * part),
                                                 .gate = fdit_at(a->gate, (size_t)b * (size_t)a->gate_stride),
                                                 .gate_stride = a->gate_stride });
}

void fdit_compose_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    const struct fdit_device_ops *ops = dev->ops;
    size_t n = (size_t)a->samples * (size_t)a->tokens * (size_t)a->n_out;
    bool act_apart = (a->act != FDIT_ACT_NONE && !ops->fuses_act) || (fdit_has(a->add) && !ops->fuses_add);
    bool mixed = fdit_has(a->gate) || fdit_has(a->residual);
    /* Gate and residual come after act: where act is applied apart, or add, they are too. */
    bool mix_apart = mixed && (act_apart || !ops->fuses_gate);
    struct fdit_linear_args l = *a;
    if (!act_apart && !mix_apart) {
        ops->linear(dev, a);
        return;
    }
    if (!mix_apart) {
        linear_then_act(dev, a, n);
        return;
    }
    l.gate = l.residual = FDIT_NO_TENSOR;
    if (!fdit_has(a->gate) && !act_apart && same(a->y, a->residual)) {
        l.beta = 1;
        ops->linear(dev, &l);
        return;
    }
    if (!fdit_has(a->gate) && !same(a->y, a->residual)) {
        if (act_apart)
            linear_then_act(dev, &l, n);
        else
            ops->linear(dev, &l);
        add_residual(dev, a, n);
        return;
    }
    struct fdit_tensor branch = a->pre;
    if (a->act != FDIT_ACT_NONE || !fdit_has(a->pre)) {
        branch = scratch(dev, n);
        if (!fdit_has(branch))
            return;
    } else {
        l.pre = FDIT_NO_TENSOR;
    }
    l.y = branch;
    if (act_apart)
        linear_then_act(dev, &l, n);
    else
        ops->linear(dev, &l);
    if (fdit_has(a->gate))
        add_gated(dev, a, branch, n);
    else
        ops->axpy(dev, &(struct fdit_axpy_args){ .n = n, .alpha = 1, .y = a->y, .x = branch, .beta = 1 });
}

void fdit_compose_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    const size_t n = (size_t)a->samples * (size_t)a->tokens * (size_t)a->n_in;
    bool add_apart = fdit_has(a->add) && !dev->ops->fuses_add;
    bool act_apart = a->act != FDIT_ACT_NONE && (add_apart || !dev->ops->fuses_act_backward);
    struct fdit_linear_dx_args l = *a;
    if (act_apart) {
        l.act = FDIT_ACT_NONE;
        l.pre = FDIT_NO_TENSOR;
    }
    if (add_apart)
        l.add = FDIT_NO_TENSOR;
    dev->ops->linear_dx(dev, &l);
    if (add_apart)
        dev->ops->axpy(dev,
                       &(struct fdit_axpy_args){ .n = n, .alpha = 1, .y = a->dx, .x = a->add, .beta = 1 });
    if (!act_apart)
        return;
    dev->ops->activation_backward(dev, &(struct fdit_activation_backward_args){
                                           .n = n, .act = a->act, .dx = a->dx, .dy = a->dx, .x = a->pre });
}

/* ----------------------------------------------------------------------- on the host, in chunks */

/* Staging as `parts` arrays of `size` floats. */
struct staging {
    float *at;
    size_t size;
};

static struct staging staging(const fdit_device *dev, size_t parts)
{
    return (struct staging){ dev->staging, dev->staging_bytes / sizeof(float) / parts };
}

static float *part(const struct staging *s, size_t i)
{
    return s->at + i * s->size;
}

/* The first n floats from element `from` of t into part i, which it returns; NULL where t is absent. */
static float *get(fdit_device *dev, const struct staging *s, size_t i, struct fdit_tensor t, size_t from,
                  size_t n)
{
    if (!fdit_has(t))
        return NULL;
    dev->ops->read(dev, t.buffer, (t.offset + from) * sizeof(float), part(s, i), n * sizeof(float));
    return part(s, i);
}

static void put(fdit_device *dev, struct fdit_tensor t, size_t from, const float *host, size_t n)
{
    dev->ops->write(dev, t.buffer, (t.offset + from) * sizeof(float), host, n * sizeof(float));
}

void fdit_generic_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    struct staging s = staging(dev, 5);
    size_t width = (size_t)a->width, rows = (size_t)a->tokens;
    for (size_t from = 0; from < width; from += s.size) {
        size_t n = fdit_least(s.size, width - from);
        const float *weight = get(dev, &s, 1, a->weight, from, n);
        const float *bias = get(dev, &s, 2, a->bias, from, n);
        for (size_t b = 0; b < (size_t)a->samples; b++) {
            size_t mod = fdit_has(a->scale) ? b * (size_t)a->mod_stride + from : 0;
            const float *shift = get(dev, &s, 3, a->shift, mod, n);
            const float *scale = get(dev, &s, 4, a->scale, mod, n);
            for (size_t r = b * rows; r < (b + 1) * rows && dev->status == FDIT_OK; r++) {
                float *y = get(dev, &s, 0, a->xhat, r * width + from, n);
                fdit_host_modulate(n, y, y, weight, bias, shift, scale);
                put(dev, a->y, r * width + from, y, n);
            }
        }
    }
}

void fdit_generic_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    struct staging s = staging(dev, 1);
    const size_t n = (size_t)a->n, width = (size_t)a->width;
    for (size_t r = 0; r < (size_t)a->m && dev->status == FDIT_OK; r++)
        for (size_t from = 0; from < n; from += s.size) {
            const size_t some = fdit_least(s.size, n - from);
            put(dev, a->y, r * width + (size_t)a->first + from, get(dev, &s, 0, a->x, r * n + from, some),
                some);
        }
}

void fdit_generic_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
{
    /* One part of floats, and one twice as large that holds the sums. */
    struct staging s = staging(dev, 4);
    double *sum = (double *)(void *)part(&s, 2);
    size_t width = (size_t)a->width, rows = (size_t)a->tokens;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        for (size_t from = 0; from < width; from += s.size) {
            size_t n = fdit_least(s.size, width - from);
            for (size_t d = 0; d < n; d++)
                sum[d] = 0;
            for (size_t r = b * rows; r < (b + 1) * rows && dev->status == FDIT_OK; r++) {
                const float *x = get(dev, &s, 0, a->x, r * width + from, n);
                for (size_t d = 0; d < n; d++)
                    sum[d] += x[d];
            }
            for (size_t d = 0; d < n; d++)
                part(&s, 0)[d] = (float)(sum[d] / (double)rows);
            put(dev, a->y, b * width + from, part(&s, 0), n);
        }
    }
}

void fdit_generic_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    struct staging s = staging(dev, 1);
    size_t width = (size_t)a->width, rows = (size_t)a->tokens;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        for (size_t from = 0; from < width; from += s.size) {
            size_t n = fdit_least(s.size, width - from);
            float *dy = get(dev, &s, 0, a->dy, b * width + from, n);
            for (size_t d = 0; d < n; d++)
                dy[d] = (float)((double)dy[d] / (double)rows);
            for (size_t r = b * rows; r < (b + 1) * rows && dev->status == FDIT_OK; r++)
                put(dev, a->dx, r * width + from, dy, n);
        }
    }
}

void fdit_generic_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    struct staging s = staging(dev, 3);
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        const float *coef = get(dev, &s, 0, a->coef, 2 * b, 2);
        const double of_x0 = coef[0], of_noise = coef[1];
        for (size_t from = 0; from < a->n && dev->status == FDIT_OK; from += s.size) {
            size_t n = fdit_least(s.size, a->n - from), at = b * a->n + from;
            const float *x0 = get(dev, &s, 0, a->x0, at, n);
            const float *noise = get(dev, &s, 1, a->noise, at, n);
            fdit_host_diffuse(n, part(&s, 2), x0, noise, of_x0, of_noise);
            put(dev, a->xt, at, part(&s, 2), n);
        }
    }
}

void fdit_generic_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    struct staging s = staging(dev, 6);
    size_t count = (size_t)a->channels * a->n;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        struct fdit_loss_coef coef;
        double mse = 0, vb = 0;
        dev->ops->read(dev, a->coef.buffer, (a->coef.offset + 8 * b) * sizeof(float), &coef, sizeof coef);
        for (size_t from = 0; from < count && dev->status == FDIT_OK; from += s.size) {
            size_t n = fdit_least(s.size, count - from), at = b * count + from;
            size_t at_eps = 2 * b * count + from, at_v = at_eps + count;
            const float *eps = get(dev, &s, 0, a->out, at_eps, n);
            const float *v = get(dev, &s, 1, a->out, at_v, n);
            const float *x0 = get(dev, &s, 2, a->x0, at, n);
            const float *noise = get(dev, &s, 3, a->noise, at, n);
            float *deps = fdit_has(a->dout) ? part(&s, 4) : NULL;
            float *dv = fdit_has(a->dout) ? part(&s, 5) : NULL;
            fdit_host_diffusion_loss(n, count, &coef, eps, v, x0, noise, deps, dv, &mse, &vb);
            if (fdit_has(a->dout)) {
                put(dev, a->dout, at_eps, deps, n);
                put(dev, a->dout, at_v, dv, n);
            }
        }
        put(dev, a->losses, 2 * b, (float[2]){ (float)mse, (float)vb }, 2);
    }
}

void fdit_generic_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    struct staging s = staging(dev, 4);
    size_t count = (size_t)a->channels * a->n, outputs = (size_t)a->outputs;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        struct fdit_velocity_coef coef;
        double mse = 0;
        dev->ops->read(dev, a->coef.buffer, (a->coef.offset + 8 * b) * sizeof(float), &coef, sizeof coef);
        for (size_t from = 0; from < count && dev->status == FDIT_OK; from += s.size) {
            size_t n = fdit_least(s.size, count - from), at = b * count + from,
                   at_out = b * outputs * count + from;
            const float *out = get(dev, &s, 0, a->out, at_out, n);
            const float *x0 = get(dev, &s, 1, a->x0, at, n), *noise = get(dev, &s, 2, a->noise, at, n);
            float *dout = fdit_has(a->dout) ? part(&s, 3) : NULL;
            fdit_host_velocity_loss(n, count, &coef, out, x0, noise, dout, &mse);
            if (dout)
                put(dev, a->dout, at_out, dout, n);
            for (size_t k = 1; dout && k < outputs; k++) {
                memset(dout, 0, n * sizeof *dout);
                put(dev, a->dout, at_out + k * count, dout, n);
            }
        }
        put(dev, a->losses, 2 * b, (float[2]){ (float)mse, 0 }, 2);
    }
}

void fdit_generic_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    struct staging s = staging(dev, 2);
    size_t classes = (size_t)a->classes;
    if (classes > s.size) {
        fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED, "%zu classes, at most %zu are possible on the host",
                         classes, s.size);
        return;
    }
    for (size_t b = 0; b < (size_t)a->samples && dev->status == FDIT_OK; b++) {
        int32_t label;
        dev->ops->read(dev, a->labels.buffer, (a->labels.offset + b) * sizeof label, &label, sizeof label);
        const float *logits = get(dev, &s, 0, a->logits, b * classes, classes);
        if (dev->status != FDIT_OK)
            return;
        if (label < 0 || (size_t)label >= classes) {
            fdit_device_fail(dev, FDIT_ERROR_DEVICE, "label %d of sample %zu is not below %zu", (int)label, b,
                             classes);
            return;
        }
        float *dlogits = fdit_has(a->dlogits) ? part(&s, 1) : NULL;
        float loss = (float)fdit_host_cross_entropy(classes, logits, (size_t)label, a->scale, dlogits);
        put(dev, a->loss, b, &loss, 1);
        if (dlogits)
            put(dev, a->dlogits, b * classes, dlogits, classes);
    }
}

void fdit_generic_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    struct staging s = staging(dev, 6);
    size_t channels = (size_t)a->channels, outputs = a->single ? 1 : 2;
    for (size_t b = 0; b < (size_t)a->samples; b++) {
        for (size_t c = 0; c < channels; c++) {
            bool guided = fdit_has(a->uncond) && c < (size_t)a->guided_channels;
            for (size_t from = 0; from < a->n && dev->status == FDIT_OK; from += s.size) {
                size_t n = fdit_least(s.size, a->n - from);
                size_t at = (b * channels + c) * a->n + from;
                size_t at_eps = (outputs * b * channels + c) * a->n + from;
                float *x = get(dev, &s, 0, a->x, at, n);
                const float *eps = get(dev, &s, 1, a->cond, at_eps, n);
                const float *v = a->learned ? get(dev, &s, 2, a->cond, at_eps + channels * a->n, n) : NULL;
                const float *eps_u = guided ? get(dev, &s, 3, a->uncond, at_eps, n) : NULL;
                const float *z = get(dev, &s, 4, a->z, at, n);
                float *old = get(dev, &s, 5, a->old, at, n);
                fdit_host_sampler_step(n, a, x, x, eps, v, eps_u, z, old);
                put(dev, a->x_next, at, x, n);
                if (old)
                    put(dev, a->old, at, old, n);
            }
        }
    }
}

void fdit_generic_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    struct staging s = staging(dev, 4);
    float scale = fdit_has(a->scale) ? *get(dev, &s, 0, a->scale, 0, 1) : 1;
    for (size_t from = 0; isfinite(scale) && from < a->n && dev->status == FDIT_OK; from += s.size) {
        size_t n = fdit_least(s.size, a->n - from);
        float *p = get(dev, &s, 0, a->p, from, n), *m = get(dev, &s, 2, a->m, from, n);
        const float *g = get(dev, &s, 1, a->g, from, n);
        float *ema = fdit_has(a->ema) ? get(dev, &s, 3, a->ema, from, n) : NULL;
        fdit_host_lion(n, a, (double)scale, p, g, m, ema);
        put(dev, a->p, from, p, n);
        put(dev, a->m, from, m, n);
        if (ema)
            put(dev, a->ema, from, ema, n);
    }
}

void fdit_generic_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    struct staging s = staging(dev, 1);
    size_t n = (size_t)a->n;
    float scale, norm;
    if (n > s.size) {
        fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED,
                         "%zu partial sums, at most %zu are possible on the host", n, s.size);
        return;
    }
    const float *partial = get(dev, &s, 0, a->partial, 0, n);
    fdit_host_clip_scale(n, partial, a->max_norm, &scale, &norm);
    put(dev, a->scale, 0, &scale, 1);
    if (fdit_has(a->norm))
        put(dev, a->norm, 0, &norm, 1);
}
