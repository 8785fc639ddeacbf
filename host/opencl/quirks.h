/* SPDX-License-Identifier: Apache-2.0
 * quirks.h: what is done differently for some drivers, and why. What a device can do is asked of the device
 * (opencl.c, platforms.c); here is only what a driver answers wrongly, or does badly. */
#ifndef FDIT_HOST_OPENCL_QUIRKS_H
#define FDIT_HOST_OPENCL_QUIRKS_H

#include "state.h"

enum { VENDOR_NVIDIA = 0x10de, VENDOR_AMD = 0x1002, VENDOR_INTEL = 0x8086 }; /* CL_DEVICE_VENDOR_ID */

/* Fills cl->quirks; the label, is_cpu and the device must be there. */
void fdit_opencl_quirks_find(struct opencl *cl);

/* A layer over a driver that may be in the list itself (Mesa's, clvk, PoCL): the driver goes before it. */
bool fdit_opencl_is_layer(const char *platform_name);

/* What a platform without devices may lack, for a message: "" or "; ...". */
const char *fdit_opencl_why_no_devices(const char *platform_name);

#endif
