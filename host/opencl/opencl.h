/* SPDX-License-Identifier: Apache-2.0
 * opencl.h: the OpenCL devices, as host/devices.c sees them. Needs no CL header. */
#ifndef FDIT_HOST_OPENCL_OPENCL_H
#define FDIT_HOST_OPENCL_OPENCL_H

#include "device/backend.h"
#include "devices.h"

extern const struct fdit_device_ops fdit_opencl_ops;

/* An entry for every device of every platform, usable or not, GPUs first, and behind them drivers that were
 * left out or print. No platform is not an error. gpus: they are not loaded when none has a GPU. */
enum fdit_status fdit_opencl_list(fdit_context *ctx, bool gpus, struct fdit_device_entry **out, size_t *n);
/* Tries the entry's device out in another process (drivers.h): what ruins that makes it unusable,
 * with a note; what is printed there goes to e->said. */
enum fdit_status fdit_opencl_try(fdit_context *ctx, struct fdit_device_entry *e);
/* The process that looks at drivers: its exit status. */
int fdit_opencl_helper(int argc, char **argv);
/* In a signal handler, before the process ends: what is open is remembered as a device that crashed. */
void fdit_opencl_crashed(int number);
/* How many platforms the loader has; loads whatever it finds. */
enum fdit_status fdit_opencl_count_platforms(fdit_context *ctx, int *out);

/* For tests: programs that this device took from the disk, and wrote there. */
void fdit_opencl_cache_counts(const fdit_device *dev, int *hits, int *stores);

#endif
