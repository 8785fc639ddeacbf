/* SPDX-License-Identifier: Apache-2.0
 * host_math.h: the arithmetic of the optional ops on arrays in host memory: f32 in and out, double in
 * between. Used where a device leaves an op out, and by the ref device. */
#ifndef FDIT_DEVICE_HOST_MATH_H
#define FDIT_DEVICE_HOST_MATH_H

#include "device/device.h"

/* One row of modulate: y = u (1 + scale) + shift, u = xhat * weight + bias. weight and bias, shift and
 * scale may be NULL in pairs. y may be xhat. */
void fdit_host_modulate(size_t width, float *y, const float *xhat, const float *weight, const float *bias,
                        const float *shift, const float *scale);

/* xt = of_x0 x0 + of_noise noise. xt may be x0 or noise. */
void fdit_host_diffuse(size_t n, float *xt, const float *x0, const float *noise, double of_x0,
                       double of_noise);

/* One element of the loss: the squared error and the variational bound in bits, and their derivatives:
 * of the error by eps, of the bound by v (in the bound eps is a constant). Any result may be NULL. */
void fdit_host_loss_element(const struct fdit_loss_coef *coef, double eps, double v, double x0, double noise,
                            double *mse, double *vb, double *dmse_deps, double *dvb_dv);

/* n elements of one sample, whose means are over `count`: adds to mse and vb, and writes the gradients
 * coef->scale d(mse + vb) into deps and dv (both or neither NULL). */
void fdit_host_diffusion_loss(size_t n, size_t count, const struct fdit_loss_coef *coef, const float *eps,
                              const float *v, const float *x0, const float *noise, float *deps, float *dv,
                              double *mse, double *vb);
/* The same of velocity_loss: adds to *mse, writes n numbers of dout (NULL: none). */
void fdit_host_velocity_loss(size_t n, size_t count, const struct fdit_velocity_coef *coef, const float *out,
                             const float *x0, const float *noise, float *dout, double *mse);

/* -log softmax(logits)[label]; dlogits (or NULL) = (softmax - onehot) * scale, may be logits. */
double fdit_host_cross_entropy(size_t classes, const float *logits, size_t label, double scale,
                               float *dlogits);

/* n elements of one channel. a: the numbers of the step, its tensors are not looked at. eps_u is NULL in
 * a channel without guidance; v is read only when a->learned; z and old may be NULL. x_next may be x. */
void fdit_host_sampler_step(size_t n, const struct fdit_sampler_step_args *a, float *x_next, const float *x,
                            const float *eps, const float *v, const float *eps_u, const float *z, float *old);

/* As the entry lion, n elements; a: the numbers of the step, its tensors are not looked at; scale is finite;
 * ema may be NULL. */
void fdit_host_lion(size_t n, const struct fdit_lion_args *a, double scale, float *p, const float *g,
                    float *m, float *ema);

/* As the entry clip_scale; norm may be NULL. */
void fdit_host_clip_scale(size_t n, const float *partial, double max_norm, float *scale, float *norm);

#endif
