/* SPDX-License-Identifier: Apache-2.0
 * opencl_faults.c: calls of OpenCL that fail on demand, to be preloaded:
 *
 *     FDIT_OPENCL_FAULT="clBuildProgram:3"      the third call fails, "clCreateSubBuffer:*" all of them
 *     FDIT_OPENCL_COUNT=FILE                    "NAME CALLS" of each, written when the program ends
 *
 * The names do not begin with FDIT_CL_: those are among what a verdict about a driver depends on
 * (host/opencl/drivers.c), and a fault shall not make the program look at its drivers again. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct call {
    const char *name;
    atomic_int calls;
};

/* Counts a call and says whether it is the one. */
static int fails(struct call *call)
{
    const char *fault = getenv("FDIT_OPENCL_FAULT");
    size_t n = strlen(call->name);
    int at = atomic_fetch_add(&call->calls, 1) + 1;
    if (!fault || strncmp(fault, call->name, n) != 0 || fault[n] != ':')
        return 0;
    return fault[n + 1] == '*' || at == atoi(fault + n + 1);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* A call that returns its error. */
#define RETURNS(name, error, parameters, arguments)            \
    static struct call call_##name = { #name, 0 };             \
    cl_int name parameters                                     \
    {                                                          \
        REAL(name);                                            \
        return fails(&call_##name) ? (error) : real arguments; \
    }

/* A call that returns an object, and its error through the last argument. */
#define MAKES(type, name, number, parameters, arguments) \
    static struct call call_##name = { #name, 0 };       \
    type name parameters                                 \
    {                                                    \
        REAL(name);                                      \
        if (!fails(&call_##name))                        \
            return real arguments;                       \
        if (error)                                       \
            *error = (number);                           \
        return NULL;                                     \
    }

typedef void(CL_CALLBACK *notify_build)(cl_program, void *);
typedef void(CL_CALLBACK *notify_context)(const char *, const void *, size_t, void *);

/* clang-format off */
RETURNS(clGetPlatformIDs, CL_OUT_OF_HOST_MEMORY,
        (cl_uint n, cl_platform_id *list, cl_uint *found), (n, list, found))
RETURNS(clGetPlatformInfo, CL_OUT_OF_HOST_MEMORY,
        (cl_platform_id p, cl_platform_info what, size_t n, void *to, size_t *m), (p, what, n, to, m))
RETURNS(clGetDeviceIDs, CL_OUT_OF_RESOURCES,
        (cl_platform_id p, cl_device_type type, cl_uint n, cl_device_id *list, cl_uint *found),
        (p, type, n, list, found))
RETURNS(clGetDeviceInfo, CL_OUT_OF_HOST_MEMORY,
        (cl_device_id d, cl_device_info what, size_t n, void *to, size_t *m), (d, what, n, to, m))
MAKES(cl_context, clCreateContext, CL_DEVICE_NOT_AVAILABLE,
      (const cl_context_properties *properties, cl_uint n, const cl_device_id *list, notify_context notify,
       void *user, cl_int *error),
      (properties, n, list, notify, user, error))
MAKES(cl_command_queue, clCreateCommandQueue, CL_OUT_OF_HOST_MEMORY,
      (cl_context context, cl_device_id d, cl_command_queue_properties properties, cl_int *error),
      (context, d, properties, error))
MAKES(cl_mem, clCreateBuffer, CL_MEM_OBJECT_ALLOCATION_FAILURE,
      (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error),
      (context, flags, size, host, error))
MAKES(cl_mem, clCreateSubBuffer, CL_MISALIGNED_SUB_BUFFER_OFFSET,
      (cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *error),
      (parent, flags, type, info, error))
MAKES(cl_program, clCreateProgramWithSource, CL_OUT_OF_HOST_MEMORY,
      (cl_context context, cl_uint n, const char **texts, const size_t *sizes, cl_int *error),
      (context, n, texts, sizes, error))
MAKES(cl_program, clCreateProgramWithBinary, CL_INVALID_BINARY,
      (cl_context context, cl_uint n, const cl_device_id *list, const size_t *sizes,
       const unsigned char **binaries, cl_int *status, cl_int *error),
      (context, n, list, sizes, binaries, status, error))
RETURNS(clBuildProgram, CL_BUILD_PROGRAM_FAILURE,
        (cl_program program, cl_uint n, const cl_device_id *list, const char *options, notify_build notify,
         void *user),
        (program, n, list, options, notify, user))
RETURNS(clGetProgramBuildInfo, CL_OUT_OF_HOST_MEMORY,
        (cl_program program, cl_device_id d, cl_program_build_info what, size_t n, void *to, size_t *m),
        (program, d, what, n, to, m))
RETURNS(clGetProgramInfo, CL_OUT_OF_HOST_MEMORY,
        (cl_program program, cl_program_info what, size_t n, void *to, size_t *m),
        (program, what, n, to, m))
MAKES(cl_kernel, clCreateKernel, CL_OUT_OF_HOST_MEMORY,
      (cl_program program, const char *kernel, cl_int *error), (program, kernel, error))
RETURNS(clSetKernelArg, CL_OUT_OF_RESOURCES,
        (cl_kernel kernel, cl_uint at, size_t n, const void *value), (kernel, at, n, value))
RETURNS(clGetKernelWorkGroupInfo, CL_OUT_OF_HOST_MEMORY,
        (cl_kernel kernel, cl_device_id d, cl_kernel_work_group_info what, size_t n, void *to, size_t *m),
        (kernel, d, what, n, to, m))
RETURNS(clEnqueueNDRangeKernel, CL_OUT_OF_RESOURCES,
        (cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
         const size_t *global, const size_t *local, cl_uint n, const cl_event *wait, cl_event *event),
        (queue, kernel, dimensions, offset, global, local, n, wait, event))
RETURNS(clEnqueueReadBuffer, CL_DEVICE_NOT_AVAILABLE,
        (cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t at, size_t bytes, void *to,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, memory, blocking, at, bytes, to, n, wait, event))
RETURNS(clEnqueueWriteBuffer, CL_OUT_OF_RESOURCES,
        (cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t at, size_t bytes, const void *from,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, memory, blocking, at, bytes, from, n, wait, event))
RETURNS(clEnqueueCopyBuffer, CL_OUT_OF_RESOURCES,
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_at, size_t to_at, size_t bytes,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, from, to, from_at, to_at, bytes, n, wait, event))
RETURNS(clEnqueueFillBuffer, CL_OUT_OF_RESOURCES,
        (cl_command_queue queue, cl_mem memory, const void *pattern, size_t size, size_t at, size_t bytes,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, memory, pattern, size, at, bytes, n, wait, event))
RETURNS(clFlush, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))
RETURNS(clFinish, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))
RETURNS(clWaitForEvents, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
        (cl_uint n, const cl_event *list), (n, list))
RETURNS(clGetEventProfilingInfo, CL_PROFILING_INFO_NOT_AVAILABLE,
        (cl_event event, cl_profiling_info what, size_t n, void *to, size_t *m), (event, what, n, to, m))
/* clang-format on */

static struct call *const all[] = {
    &call_clGetPlatformIDs,
    &call_clGetPlatformInfo,
    &call_clGetDeviceIDs,
    &call_clGetDeviceInfo,
    &call_clCreateContext,
    &call_clCreateCommandQueue,
    &call_clCreateBuffer,
    &call_clCreateSubBuffer,
    &call_clCreateProgramWithSource,
    &call_clCreateProgramWithBinary,
    &call_clBuildProgram,
    &call_clGetProgramBuildInfo,
    &call_clGetProgramInfo,
    &call_clCreateKernel,
    &call_clSetKernelArg,
    &call_clGetKernelWorkGroupInfo,
    &call_clEnqueueNDRangeKernel,
    &call_clEnqueueReadBuffer,
    &call_clEnqueueWriteBuffer,
    &call_clEnqueueCopyBuffer,
    &call_clEnqueueFillBuffer,
    &call_clFlush,
    &call_clFinish,
    &call_clWaitForEvents,
    &call_clGetEventProfilingInfo,
};

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FDIT_OPENCL_COUNT");
    char text[2048];
    size_t n = 0;
    if (!path || !*path)
        return;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        n +=
            (size_t)snprintf(text + n, sizeof text - n, "%s %d\n", all[i]->name, atomic_load(&all[i]->calls));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        _exit(99);
    close(fd);
}
