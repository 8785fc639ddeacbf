/* SPDX-License-Identifier: Apache-2.0
 * answers.c: what a driver says about its platform and device. It is not believed: texts become safe lines of
 * a bounded length, limits that no device has are cut down to what can be, and a device that by its own words
 * cannot compute is refused by a reason. */
#include "opencl.h"
#include "state.h"

#include "core/mem.h"
#include "core/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MOST = 1 << 16, NAME_MOST = 120 };
/* More than any device has; what is above is a mistake, as 2^64 - 1. */
static const uint64_t memory_most = UINT64_C(1) << 48, local_most = 16 << 20;

static void trim(char *text)
{
    size_t from = strspn(text, " \t"), n = strlen(text);
    while (n > from && isspace((unsigned char)text[n - 1]))
        n--;
    memmove(text, text + from, n - from);
    text[n - from] = 0;
}

/* raw becomes a line of at most `most` bytes. */
static enum fdit_status make_line(fdit_context *ctx, char *raw, size_t most, char **out)
{
    enum fdit_status status = FDIT_OK;
    trim(raw);
    size_t n = fdit_text_safe(NULL, 0, raw, FDIT_TEXT_LINE), room = n < most ? n : most;
    TRY(fdit_alloc(ctx, room + 4, 1, out));
    fdit_text_safe(*out, room + 1, raw, FDIT_TEXT_LINE);
    if (n > most)
        strcat(*out, "...");
out:
    return status;
}

/* What is asked: a device, or else a platform. */
struct asked {
    bool is_device;
    cl_device_id device;
    cl_platform_id platform;
    cl_uint what;
};

static cl_int ask(const struct asked *a, size_t n, void *to, size_t *bytes)
{
    return a->is_device ? clGetDeviceInfo(a->device, a->what, n, to, bytes)
                        : clGetPlatformInfo(a->platform, a->what, n, to, bytes);
}

/* "" where it does not answer. */
static enum fdit_status read_line(fdit_context *ctx, const struct asked *a, size_t most, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    size_t bytes = 0;
    if (ask(a, 0, NULL, &bytes) != CL_SUCCESS || bytes > TEXT_MOST)
        bytes = 0;
    TRY(fdit_alloc(ctx, bytes + 1, 1, &text));
    if (bytes && ask(a, bytes, text, NULL) != CL_SUCCESS)
        text[0] = 0;
    TRY(make_line(ctx, text, most, out));
out:
    fdit_free(text);
    return status;
}

enum fdit_status fdit_opencl_device_text(fdit_context *ctx, cl_device_id device, cl_device_info what,
                                         char **out)
{
    return read_line(ctx, &(struct asked){ .is_device = true, .device = device, .what = what },
                     what == CL_DEVICE_EXTENSIONS ? TEXT_MOST : NAME_MOST, out);
}

enum fdit_status fdit_opencl_platform_text(fdit_context *ctx, cl_platform_id platform, cl_platform_info what,
                                           char **out)
{
    enum fdit_status status = FDIT_OK;
    TRY(read_line(ctx, &(struct asked){ .platform = platform, .what = what }, NAME_MOST, out));
    if (**out || what != CL_PLATFORM_NAME)
        return FDIT_OK;
    fdit_free(*out);
    *out = NULL;
    TRY(fdit_strdup(ctx, "platform without a name", out));
out:
    return status;
}

static uint64_t ulong_of(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0;
    if (clGetDeviceInfo(device, what, sizeof value, &value, NULL) != CL_SUCCESS)
        value = 0;
    return value;
}

struct opencl_limits fdit_opencl_limits_of(cl_device_id device)
{
    uint64_t memory = ulong_of(device, CL_DEVICE_GLOBAL_MEM_SIZE),
             buffer = ulong_of(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE),
             local = ulong_of(device, CL_DEVICE_LOCAL_MEM_SIZE);
    if (memory > memory_most) /* refused; but kept in range for who shows it */
        memory = memory_most + 1;
    return (struct opencl_limits){
        .memory = (size_t)memory,
        .max_buffer = (size_t)(buffer < memory ? buffer : memory),
        .local = (size_t)(local > local_most ? OPENCL_LOCAL_LEAST : local),
    };
}

/* The version of "OpenCL 3.0 of the vendor" as 30; 0: it is not of this form. */
static int version_of(const char *text)
{
    if (strncmp(text, "OpenCL ", 7) != 0 || !isdigit((unsigned char)text[7]) || text[8] != '.' ||
        !isdigit((unsigned char)text[9]))
        return 0;
    return (text[7] - '0') * 10 + text[9] - '0';
}

const char *fdit_opencl_unusable(cl_device_id device)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    size_t items = 0;
    char *version = NULL;
    struct opencl_limits limits = fdit_opencl_limits_of(device);
    if (clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL) ||
        clGetDeviceInfo(device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL) ||
        clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof items, &items, NULL))
        return "the driver does not answer";
    if (fdit_opencl_device_text(NULL, device, CL_DEVICE_VERSION, &version) != FDIT_OK)
        return "out of memory";
    int number = version_of(version);
    fdit_free(version);
    if (!number)
        return "the driver does not say which version of OpenCL it has";
    if (number < 12)
        return "OpenCL 1.2 is needed";
    if (!available)
        return "the driver says it is not available";
    if (!compiler)
        return "the driver has no compiler";
    if (items < GROUP)
        return "work-groups of 256 are needed";
    if (limits.local < OPENCL_LOCAL_LEAST)
        return "32 KiB of local memory are needed";
    if (!limits.memory)
        return "the driver says that the device has no memory";
    if (limits.memory > memory_most)
        return "the driver says that the device has more than 256 TiB of memory";
    if (!limits.max_buffer)
        return "the driver says that no buffer can be made";
    return NULL;
}
