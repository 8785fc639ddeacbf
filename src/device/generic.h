/* SPDX-License-Identifier: Apache-2.0
 * generic.h: ops that a device's table leaves out, made of those it has, or computed on the host in
 * dev->staging. Called by the wrappers only, with checked arguments. */
#ifndef FDIT_DEVICE_GENERIC_H
#define FDIT_DEVICE_GENERIC_H

#include "device/device.h"

/* Bytes of dev->staging: host scratch, made at open. */
enum { FDIT_GENERIC_STAGING = 1 << 20 };

/* Bytes of dev->scratch that fdit_generic_linear may need for this shape; 0 where the device fuses
 * all. */
size_t fdit_generic_scratch(const fdit_device *dev, const struct fdit_op_shape *shape);

/* The op that the device runs for this one: linear on a block of patches, for a conv that it lacks. */
struct fdit_op_shape fdit_generic_shape(const fdit_device *dev, const struct fdit_op_shape *shape);

/* linear and linear_dx, with the arguments that the device does not fuse applied by ops of their own. */
void fdit_generic_linear(fdit_device *dev, const struct fdit_linear_args *a);
void fdit_generic_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a);

void fdit_generic_modulate(fdit_device *dev, const struct fdit_modulate_args *a);
void fdit_generic_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a);
void fdit_generic_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a);
void fdit_generic_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a);
void fdit_generic_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a);
void fdit_generic_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a);
void fdit_generic_sampler(fdit_device *dev, const struct fdit_sampler_args *a);
void fdit_generic_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a);
/* generic_picture.c */
void fdit_generic_conv(fdit_device *dev, const struct fdit_conv_args *a);
void fdit_generic_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a);
void fdit_generic_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a);
void fdit_generic_softmax(fdit_device *dev, const struct fdit_softmax_args *a);
/* Patches that the composed conv makes at once. */
size_t fdit_generic_conv_patches(size_t pixels, size_t n_in);

#endif
