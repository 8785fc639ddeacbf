/* SPDX-License-Identifier: Apache-2.0
 * ref_ops.h: the ops of the ref device: the formulas of device.h with double accumulation. */
#ifndef FDIT_HOST_REF_OPS_H
#define FDIT_HOST_REF_OPS_H

#include "device/backend.h"

#define OP(entry, ENUM, arguments) void fdit_ref_##entry(fdit_device *dev, const struct fdit_##arguments *a);
#include "device/op_list.h"

#endif
