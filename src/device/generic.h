/* SPDX-License-Identifier: Apache-2.0
 * generic.h: ops that a device's table leaves out, made of those it has, or computed on the host in
 * dev->staging. Called by the wrappers only, with checked arguments. */
#ifndef FDIT_DEVICE_GENERIC_H
#define FDIT_DEVICE_GENERIC_H

#include "device/backend.h"

/* Bytes of dev->staging: host scratch, made at open. */
enum { FDIT_GENERIC_STAGING = 1 << 20 };

/* Bytes of dev->scratch that fdit_compose_linear may need for this shape; 0 where the device fuses
 * all. */
size_t fdit_generic_scratch(const fdit_device *dev, const struct fdit_op_shape *shape);

/* The op that the device runs for this one: linear on a block of patches, for a conv that it lacks. */
struct fdit_op_shape fdit_generic_shape(const fdit_device *dev, const struct fdit_op_shape *shape);

/* linear and linear_dx, with the arguments that the device does not fuse applied by ops of their own. */
void fdit_compose_linear(fdit_device *dev, const struct fdit_linear_args *a);
void fdit_compose_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a);

#define OPTIONAL_OP(entry, ENUM, arguments) \
    void fdit_generic_##entry(fdit_device *dev, const struct fdit_##arguments *a);
#include "device/op_list.h"
/* Patches of k numbers that the composed conv makes at once. */
size_t fdit_generic_conv_patches(size_t pixels, size_t k);
/* Whether the weight, of a conv in groups, stays on the host, as the device leaves conv out; and its making
 * there. */
bool fdit_generic_keeps(const fdit_device *dev, const struct fdit_weight_desc *desc);
enum fdit_status fdit_generic_weight_new(fdit_context *ctx, const struct fdit_weight_desc *desc,
                                         const float *data, void **handle);

#endif
