/* SPDX-License-Identifier: Apache-2.0
 * error.c: the one checker of all cl* calls. */
#include "state.h"

#include <stdio.h>
#include <string.h>

const char *fdit_opencl_error_name(cl_int error)
{
    switch (error) {
#define NAME(e) \
    case e: return #e
        NAME(CL_SUCCESS);
        NAME(CL_DEVICE_NOT_FOUND);
        NAME(CL_DEVICE_NOT_AVAILABLE);
        NAME(CL_COMPILER_NOT_AVAILABLE);
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        NAME(CL_OUT_OF_RESOURCES);
        NAME(CL_OUT_OF_HOST_MEMORY);
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE);
        NAME(CL_MEM_COPY_OVERLAP);
        NAME(CL_BUILD_PROGRAM_FAILURE);
        NAME(CL_MAP_FAILURE);
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        NAME(CL_INVALID_VALUE);
        NAME(CL_INVALID_DEVICE_TYPE);
        NAME(CL_INVALID_PLATFORM);
        NAME(CL_INVALID_DEVICE);
        NAME(CL_INVALID_CONTEXT);
        NAME(CL_INVALID_QUEUE_PROPERTIES);
        NAME(CL_INVALID_COMMAND_QUEUE);
        NAME(CL_INVALID_HOST_PTR);
        NAME(CL_INVALID_MEM_OBJECT);
        NAME(CL_INVALID_BINARY);
        NAME(CL_INVALID_BUILD_OPTIONS);
        NAME(CL_INVALID_PROGRAM);
        NAME(CL_INVALID_PROGRAM_EXECUTABLE);
        NAME(CL_INVALID_KERNEL_NAME);
        NAME(CL_INVALID_KERNEL_DEFINITION);
        NAME(CL_INVALID_KERNEL);
        NAME(CL_INVALID_ARG_INDEX);
        NAME(CL_INVALID_ARG_VALUE);
        NAME(CL_INVALID_ARG_SIZE);
        NAME(CL_INVALID_KERNEL_ARGS);
        NAME(CL_INVALID_WORK_DIMENSION);
        NAME(CL_INVALID_WORK_GROUP_SIZE);
        NAME(CL_INVALID_WORK_ITEM_SIZE);
        NAME(CL_INVALID_GLOBAL_OFFSET);
        NAME(CL_INVALID_EVENT_WAIT_LIST);
        NAME(CL_INVALID_EVENT);
        NAME(CL_INVALID_OPERATION);
        NAME(CL_INVALID_BUFFER_SIZE);
        NAME(CL_INVALID_GLOBAL_WORK_SIZE);
#undef NAME
    case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
    }
    return "an error of this driver";
}

/* Drivers take memory at the first use of a buffer, so shortage comes back from any call. */
static const char *advice(cl_int error)
{
    switch (error) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_BUFFER_SIZE:
        return "; the device's memory is short: use a smaller --batch, --weights f16 or --recompute "
               "(--plan shows the bytes)";
    case CL_OUT_OF_HOST_MEMORY: return "; the driver found no host memory";
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_COMMAND_QUEUE: return "; the driver may have reset the device: see the system log";
    }
    return "";
}

static void describe(char *text, size_t bytes, struct opencl *cl, cl_int error, const char *api,
                     const char *what)
{
    char said[sizeof cl->said] = "";
    if (cl) {
        while (atomic_flag_test_and_set(&cl->said_lock)) {
        }
        memcpy(said, cl->said, sizeof said);
        cl->said[0] = 0;
        atomic_flag_clear(&cl->said_lock);
    }
    snprintf(text, bytes, "opencl, %s: %s of %s: %s (%d)%s%s%s", cl && cl->label ? cl->label : "-", api, what,
             fdit_opencl_error_name(error), (int)error, *said ? "; the driver says: " : "", said,
             advice(error));
}

bool fdit_opencl_ok(fdit_device *dev, cl_int error, const char *api, const char *what)
{
    if (error == CL_SUCCESS)
        return true;
    char text[768];
    describe(text, sizeof text, opencl_of(dev), error, api, what);
    fdit_device_fail(dev, FDIT_ERROR_DEVICE, "%s", text);
    return false;
}

enum fdit_status fdit_opencl_status(fdit_context *ctx, struct opencl *cl, cl_int error, const char *api,
                                    const char *what)
{
    if (error == CL_SUCCESS)
        return FDIT_OK;
    char text[768];
    describe(text, sizeof text, cl, error, api, what);
    return fdit_fail(ctx, FDIT_ERROR_DEVICE, "%s", text);
}
