/* SPDX-License-Identifier: Apache-2.0
 * ref_picture.h: the ops on pictures for the ref device: the formulas of device.h with double
 * accumulation. */
#ifndef FDIT_HOST_REF_PICTURE_H
#define FDIT_HOST_REF_PICTURE_H

#include "device/device.h"

void ref_conv(fdit_device *dev, const struct fdit_conv_args *a);
void ref_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a);
void ref_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a);
void ref_softmax(fdit_device *dev, const struct fdit_softmax_args *a);

#endif
