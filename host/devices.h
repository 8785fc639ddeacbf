/* SPDX-License-Identifier: Apache-2.0
 * devices.h: the only place that lists the back ends. */
#ifndef FDIT_HOST_DEVICES_H
#define FDIT_HOST_DEVICES_H

#include "device/device.h"

extern const struct fdit_device_ops fdit_ref_ops; /* host/ref/ref.c */
extern const struct fdit_device_ops fdit_cpu_ops; /* host/cpu/cpu.c */

/* Opens the device that `options->spec` names ("cpu", "ref", "gpu", "opencl:P:D", part of a name; NULL:
 * FINEDIFFUSION_DEVICE, else the best). An unknown or unusable one fails by name with what exists. */
enum fdit_status fdit_devices_open(fdit_context *ctx, const struct fdit_device_options *options,
                                   fdit_device **out);

/* One line of `finediffusion devices`. Strings are owned by the entry. */
struct fdit_device_entry {
    char *spec;    /* what to type for --device */
    struct fdit_device_info info;
    char *note;    /* instruction set, GEMM provider, or why it cannot be used */
    bool usable;
};
enum fdit_status fdit_devices_list(fdit_context *ctx, struct fdit_device_entry **out, size_t *n);
void fdit_devices_list_free(struct fdit_device_entry *entries, size_t n);

#endif
