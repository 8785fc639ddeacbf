/* SPDX-License-Identifier: Apache-2.0
 * facts.c: what a report about a device says: the part of clinfo that has mattered. */
#include "units.h"

#include "core/mem.h"

#include <string.h>

enum kind { TEXT, ULONG, UINT, SIZE, SIZE3, BOOL };

static const struct {
    cl_device_info what;
    enum kind kind;
    const char *key;
} facts[] = {
    { CL_DEVICE_NAME, TEXT, "device" },
    { CL_DEVICE_VENDOR, TEXT, "vendor" },
    { CL_DEVICE_VENDOR_ID, UINT, "vendor id" },
    { CL_DRIVER_VERSION, TEXT, "driver" },
    { CL_DEVICE_VERSION, TEXT, "version" },
    { CL_DEVICE_OPENCL_C_VERSION, TEXT, "OpenCL C" },
    { CL_DEVICE_PROFILE, TEXT, "profile" },
    { CL_DEVICE_MAX_COMPUTE_UNITS, UINT, "compute units" },
    { CL_DEVICE_MAX_CLOCK_FREQUENCY, UINT, "clock, MHz" },
    { CL_DEVICE_GLOBAL_MEM_SIZE, ULONG, "memory, bytes" },
    { CL_DEVICE_MAX_MEM_ALLOC_SIZE, ULONG, "largest buffer, bytes" },
    { CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, ULONG, "cache, bytes" },
    { CL_DEVICE_LOCAL_MEM_SIZE, ULONG, "local memory, bytes" },
    { CL_DEVICE_LOCAL_MEM_TYPE, UINT, "local memory type (1 own, 2 global)" },
    { CL_DEVICE_MAX_WORK_GROUP_SIZE, SIZE, "work-group items" },
    { CL_DEVICE_MAX_WORK_ITEM_SIZES, SIZE3, "work-group shape" },
    { CL_DEVICE_MAX_PARAMETER_SIZE, SIZE, "kernel arguments, bytes" },
    { CL_DEVICE_MEM_BASE_ADDR_ALIGN, UINT, "sub-buffer alignment, bits" },
    { CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, UINT, "preferred float vector" },
    { CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF, UINT, "native half vector" },
    { CL_DEVICE_HOST_UNIFIED_MEMORY, BOOL, "memory shared with the host" },
    { CL_DEVICE_ENDIAN_LITTLE, BOOL, "little endian" },
    { CL_DEVICE_ERROR_CORRECTION_SUPPORT, BOOL, "error correction" },
    { CL_DEVICE_SINGLE_FP_CONFIG, ULONG, "float abilities, bits" },
    { CL_DEVICE_PROFILING_TIMER_RESOLUTION, SIZE, "timer, ns" },
    { CL_DEVICE_EXTENSIONS, TEXT, "extensions" },
};

static enum fdit_status value_of(fdit_context *ctx, cl_device_id device, size_t i, char **out)
{
    union {
        cl_ulong u64;
        cl_uint u32;
        cl_bool flag;
        size_t size[3];
    } v;
    size_t bytes = 0;
    memset(&v, 0, sizeof v);
    if (facts[i].kind == TEXT)
        return fdit_opencl_device_text(ctx, device, facts[i].what, out);
    if (clGetDeviceInfo(device, facts[i].what, sizeof v, &v, &bytes) != CL_SUCCESS || !bytes)
        return fdit_strdup(ctx, "no answer", out);
    switch (facts[i].kind) {
    case ULONG: return fdit_strf(ctx, out, "%llu", (unsigned long long)v.u64);
    case UINT: return fdit_strf(ctx, out, facts[i].what == CL_DEVICE_VENDOR_ID ? "0x%x" : "%u", v.u32);
    case BOOL: return fdit_strdup(ctx, v.flag ? "yes" : "no", out);
    case SIZE3: return fdit_strf(ctx, out, "%zu x %zu x %zu", v.size[0], v.size[1], v.size[2]);
    default: return fdit_strf(ctx, out, "%zu", v.size[0]);
    }
}

enum fdit_status fdit_opencl_facts(fdit_context *ctx, fdit_device *dev, char **out)
{
    const struct opencl *cl = opencl_of(dev);
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer = NULL, *value = NULL, *platform = NULL, *version = NULL;
    TRY(fdit_opencl_platform_text(ctx, cl->platform, CL_PLATFORM_NAME, &platform));
    TRY(fdit_opencl_platform_text(ctx, cl->platform, CL_PLATFORM_VERSION, &version));
    TRY(fdit_strf(ctx, &text, "platform: %s, %s\n", platform, version));
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        TRY(value_of(ctx, cl->device, i, &value));
        TRY(fdit_strf(ctx, &longer, "%s%s: %s\n", text, facts[i].key, value));
        fdit_free(value);
        value = NULL;
        fdit_free(text);
        text = longer;
    }
    TRY(fdit_units_report(ctx, dev, &value));
    TRY(fdit_strf(ctx, &longer, "%s%s", text, value));
    fdit_free(text);
    text = longer;
    *out = text;
    text = NULL;
out:
    fdit_free(platform);
    fdit_free(version);
    fdit_free(value);
    fdit_free(text);
    return status;
}
