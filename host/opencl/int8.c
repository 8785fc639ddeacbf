/* SPDX-License-Identifier: Apache-2.0 */
#include "int8.h"

#include "core/mem.h"
#include "quirks.h"

#include <stdio.h>
#include <string.h>

size_t fdit_int8_workspace(int M, int K)
{
    size_t n;
    if (!fdit_mul((size_t)M, int8_ld(K), &n) || n > SIZE_MAX - int8_rows_at(M))
        return SIZE_MAX;
    return int8_rows_at(M) + n;
}

void fdit_int8_quantise(fdit_device *dev, struct fdit_tensor x, int M, int K)
{
    cl_mem workspace = opencl_of(dev)->workspace;
    struct launch l = fdit_launch_begin(dev, PROGRAM_QUANTISE, KERNEL_QUANTISE);
    fdit_launch_memory(&l, workspace, int8_rows_at(M) / sizeof(cl_uint));
    fdit_launch_memory(&l, workspace, 0);
    fdit_launch_tensor(&l, x);
    fdit_launch_int(&l, K);
    fdit_launch_int(&l, (int)int8_ld(K));
    fdit_launch_run(&l, 2, (size_t[]){ l.group, (size_t)M }, (size_t[]){ l.group, 1 });
}

/* ------------------------------------------------------------------------------------- DOT */

enum { ARITHMETIC, KHR, DP4A, SDOT4, SUDOT4, DOTS, WORDS = 64 };
static const char *const names[DOTS] = { "whole numbers by arithmetic", "cl_khr_integer_dot_product", "dp4a",
                                         "v_dot4", "v_dot4 of RDNA3" };

/* Four int8, the extremes among them. */
static cl_uint word(uint32_t *seed)
{
    cl_uint w = 0;
    for (int i = 0; i < 4; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        int x = *seed >> 30 == 0 ? -128 : *seed >> 30 == 1 ? 127 : (int)(*seed >> 16 & 255) - 128;
        w = w << 8 | ((cl_uint)x & 255u);
    }
    return w;
}

static cl_int byte_of(cl_uint w, int i)
{
    return (cl_int)(w >> 8 * i & 255u) - (w >> (8 * i + 7) & 1u ? 256 : 0);
}

/* The kernel's results for these; false: not computed. */
static bool run_words(struct opencl *cl, cl_kernel kernel, cl_int to[WORDS], cl_uint a[WORDS],
                      cl_uint b[WORDS])
{
    const cl_mem_flags copy = CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR;
    void *const host[3] = { to, a, b };
    cl_mem memory[3] = { NULL };
    cl_int error = CL_SUCCESS;
    for (cl_uint i = 0; i < 3 && error == CL_SUCCESS; i++) {
        memory[i] = clCreateBuffer(cl->context, copy, WORDS * sizeof(cl_int), host[i], &error);
        if (error == CL_SUCCESS)
            error = clSetKernelArg(kernel, i, sizeof memory[i], &memory[i]);
    }
    if (error == CL_SUCCESS)
        error = clEnqueueNDRangeKernel(cl->queue, kernel, 1, NULL, (size_t[]){ WORDS }, NULL, 0, NULL, NULL);
    if (error == CL_SUCCESS)
        error = clEnqueueReadBuffer(cl->queue, memory[0], CL_TRUE, 0, WORDS * sizeof *to, to, 0, NULL, NULL);
    for (int i = 0; i < 3; i++)
        if (memory[i])
            clReleaseMemObject(memory[i]);
    return error == CL_SUCCESS;
}

static bool is_right(fdit_device *dev, int dot)
{
    struct opencl *cl = opencl_of(dev);
    char options[16];
    cl_int to[WORDS], wanted[WORDS];
    cl_uint a[WORDS], b[WORDS];
    uint32_t seed = 1;
    snprintf(options, sizeof options, "-DDOT=%d", dot);
    const struct program_state *p = fdit_opencl_variant(dev, "dot.cl", "dot_words", options);
    if (!p) { /* this driver's compiler does not have it */
        fdit_device_clear_error(dev);
        return false;
    }
    for (int i = 0; i < WORDS; i++) {
        a[i] = word(&seed);
        b[i] = word(&seed);
        to[i] = wanted[i] = 1000 * i - 30000;
        for (int k = 0; k < 4; k++)
            wanted[i] += byte_of(a[i], k) * byte_of(b[i], k);
    }
    return run_words(cl, p->kernels[0], to, a, b) && memcmp(to, wanted, sizeof to) == 0;
}

/* Those that the device may have, the best first; 0 behind the last. */
static void may_have(const struct opencl *cl, int out[DOTS])
{
    cl_uint vendor = 0;
    char *extensions = NULL;
    int n = 0;
    if (clGetDeviceInfo(cl->device, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL) ||
        fdit_opencl_device_text(NULL, cl->device, CL_DEVICE_EXTENSIONS, &extensions) != FDIT_OK)
        goto out;
    if (vendor == VENDOR_NVIDIA && strstr(extensions, "cl_nv_device_attribute_query"))
        out[n++] = DP4A;
    if (strstr(extensions, "cl_khr_integer_dot_product"))
        out[n++] = KHR;
    if (vendor == VENDOR_AMD && strstr(extensions, "cl_amd_device_attribute_query")) {
        out[n++] = SDOT4;
        out[n++] = SUDOT4;
    }
out:
    fdit_free(extensions);
}

void fdit_int8_find_dot(fdit_device *dev)
{
    struct opencl *cl = opencl_of(dev);
    int list[DOTS] = { ARITHMETIC };
    if (cl->dot_asked || dev->status != FDIT_OK)
        return;
    cl->dot_asked = true;
    may_have(cl, list);
    for (int i = 0; list[i] && !cl->dot; i++)
        if (is_right(dev, list[i]))
            cl->dot = list[i];
}

const char *fdit_int8_engine(fdit_device *dev)
{
    if (opencl_int8_by_registers(opencl_of(dev)))
        return "whole numbers by multiply-adds";
    fdit_int8_find_dot(dev);
    return names[opencl_of(dev)->dot];
}
