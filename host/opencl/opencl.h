/* SPDX-License-Identifier: Apache-2.0
 * opencl.h: the OpenCL devices, as host/devices.c sees them. Needs no CL header. */
#ifndef FDIT_HOST_OPENCL_OPENCL_H
#define FDIT_HOST_OPENCL_OPENCL_H

#include "device/device.h"
#include "devices.h"

extern const struct fdit_device_ops fdit_opencl_ops;

/* An entry for every device of every platform, usable or not, GPUs first. No platform is no
 * error. */
enum fdit_status fdit_opencl_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n);

/* For tests: programs that this device took from the disk, and wrote there. */
void fdit_opencl_cache_counts(const fdit_device *dev, int *hits, int *stores);

#endif
