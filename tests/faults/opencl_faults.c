/* SPDX-License-Identifier: Apache-2.0
 * opencl_faults.c: calls of OpenCL that fail on demand, to be preloaded: FDIT_CL_FAULT="clBuildProgram:3"
 * lets the third call fail, "clCreateSubBuffer:*" all of them, and the others through to the driver. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Counts a call and says whether it is the one. */
static int fails(const char *name, atomic_int *calls)
{
    const char *fault = getenv("FDIT_CL_FAULT");
    size_t n = strlen(name);
    if (!fault || strncmp(fault, name, n) != 0 || fault[n] != ':')
        return 0;
    return fault[n + 1] == '*' || atomic_fetch_add(calls, 1) + 1 == atoi(fault + n + 1);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error)
{
    static atomic_int calls;
    REAL(clCreateBuffer);
    if (!fails("clCreateBuffer", &calls))
        return real(context, flags, size, host, error);
    if (error)
        *error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

cl_mem clCreateSubBuffer(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const void *info,
                         cl_int *error)
{
    static atomic_int calls;
    REAL(clCreateSubBuffer);
    if (!fails("clCreateSubBuffer", &calls))
        return real(parent, flags, type, info, error);
    if (error)
        *error = CL_MISALIGNED_SUB_BUFFER_OFFSET;
    return NULL;
}

cl_int clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    static atomic_int calls;
    REAL(clBuildProgram);
    return fails("clBuildProgram", &calls) ? CL_BUILD_PROGRAM_FAILURE
                                           : real(program, n, devices, options, notify, user);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                              const size_t *offset, const size_t *global, const size_t *local, cl_uint n,
                              const cl_event *wait, cl_event *event)
{
    static atomic_int calls;
    REAL(clEnqueueNDRangeKernel);
    return fails("clEnqueueNDRangeKernel", &calls)
               ? CL_OUT_OF_RESOURCES
               : real(queue, kernel, dimensions, offset, global, local, n, wait, event);
}

cl_int clFinish(cl_command_queue queue)
{
    static atomic_int calls;
    REAL(clFinish);
    return fails("clFinish", &calls) ? CL_OUT_OF_RESOURCES : real(queue);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem memory, cl_bool blocking, size_t at, size_t bytes,
                           void *to, cl_uint n, const cl_event *wait, cl_event *event)
{
    static atomic_int calls;
    REAL(clEnqueueReadBuffer);
    return fails("clEnqueueReadBuffer", &calls)
               ? CL_DEVICE_NOT_AVAILABLE
               : real(queue, memory, blocking, at, bytes, to, n, wait, event);
}
