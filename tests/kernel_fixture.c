/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_fixture.h"

#include "harness.h"

#include <stdlib.h>
#include <string.h>

static const char *embedded(const char *name)
{
    const struct cl_source *s = fdit_cl_sources;
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    ck_assert_msg(s->name != NULL, "%s is not in the program", name);
    return s->text;
}

char *test_kernel_source(const char *file, const char *from, const char *to)
{
    const char *prelude = embedded("prelude.cl"), *kernel = embedded(file), *next;
    char *out = malloc(strlen(prelude) + 4 * strlen(kernel) + 1);
    ck_assert_ptr_nonnull(out);
    strcpy(out, prelude);
    ck_assert_msg(!from || strstr(kernel, from), "%s does not contain: %s", file, from);
    for (; from && (next = strstr(kernel, from)); kernel = next + strlen(from)) {
        strncat(out, kernel, (size_t)(next - kernel));
        strcat(out, to);
    }
    strcat(out, kernel);
    return out;
}

cl_kernel test_kernel_build(fdit_device *dev, const char *text, const char *options, const char *kernel)
{
    struct opencl *cl = opencl_of(dev);
    char log[4096] = "";
    cl_int error;
    cl_program program = clCreateProgramWithSource(cl->context, 1, &text, NULL, &error);
    ck_assert_int_eq(error, CL_SUCCESS);
    error = clBuildProgram(program, 1, &cl->device, options, NULL, NULL);
    if (error)
        clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
    ck_assert_msg(error == CL_SUCCESS, "%s: %d: %.2000s", options, (int)error, log);
    cl_kernel built = clCreateKernel(program, kernel, &error);
    ck_assert_int_eq(error, CL_SUCCESS);
    clReleaseProgram(program);
    return built;
}

cl_mem test_memory(fdit_device *dev, float *from, size_t n)
{
    cl_int error;
    cl_mem memory = clCreateBuffer(opencl_of(dev)->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                   n * sizeof *from, from, &error);
    ck_assert_int_eq(error, CL_SUCCESS);
    return memory;
}
