/* SPDX-License-Identifier: Apache-2.0 */
#include "quirks.h"

#include <string.h>

void fdit_opencl_quirks_find(struct opencl *cl)
{
    struct opencl_quirks *q = &cl->quirks;
    cl_uint vendor = 0;
    if (clGetDeviceInfo(cl->device, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL) != CL_SUCCESS)
        vendor = 0;
    *q = (struct opencl_quirks){ .unroll = 4, .options = "" };
    /* NVIDIA's own driver. With 128 registers two groups of 256 fit a multiprocessor; its compiler would take
     * a few more and leave room for one. Its "binary" is PTX, which it compiles anew at each load unless it
     * finds the source in a cache of its own. */
    if (vendor == VENDOR_NVIDIA && strncmp(cl->label, "NVIDIA ", 7) == 0) {
        q->unroll = 8;
        q->options = "-cl-nv-maxrregcount=128 ";
        q->has_own_cache = true;
    }
    /* Intel's GPUs have few registers a work-item: tools/isa-check.sh counts what spills. */
    if (vendor == VENDOR_INTEL && !cl->is_cpu) {
        q->unroll = 2;
        q->choose_simd = true;
    }
    /* Mesa's rusticl (22.3.6, llvmpipe) answers the size of a kernel's group with the size of a sub-group,
     * 32, and its local memory with twice what the kernel declares. A launch that does not fit fails there
     * all the same. */
    q->misreports_kernels = strncmp(cl->label, "rusticl ", 8) == 0;
}

bool fdit_opencl_is_layer(const char *platform_name)
{
    static const char *const layers[] = { "rusticl", "Clover", "clvk", "Portable Computing Language" };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (strstr(platform_name, layers[i]))
            return true;
    return false;
}

const char *fdit_opencl_why_no_devices(const char *platform_name)
{
    return strstr(platform_name, "rusticl") ? "; RUSTICL_ENABLE chooses its drivers" : "";
}
