/* SPDX-License-Identifier: Apache-2.0
 * weights.c: frozen matrices, row-major [n_out][n_in] in their storage type: one copy serves linear
 * and linear_dx. int8: the rows first, padded to whole floats, then one f32 scale a row. */
#include "state.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

bool opencl_supports_storage(const fdit_device *dev, enum fdit_dtype storage)
{
    (void)dev; /* all are widened by OpenCL C 1.2's own vload_half and by integer arithmetic */
    return storage == FDIT_F32 || storage == FDIT_BF16 || storage == FDIT_F16 || storage == FDIT_I8;
}

static size_t elements(const struct fdit_weight_desc *desc)
{
    return (size_t)desc->n_out * (size_t)desc->n_in;
}

size_t opencl_weight_scales(const struct fdit_weight_desc *desc)
{
    return (elements(desc) + 3) / 4;
}

size_t opencl_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc)
{
    (void)dev;
    if (desc->storage == FDIT_I8)
        return (opencl_weight_scales(desc) + (size_t)desc->n_out) * sizeof(float);
    return elements(desc) * fdit_dtype_bytes(desc->storage);
}

/* Both round to nearest, ties to even; NaN stays NaN. */
static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static uint16_t to_f16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* subnormal: counted in units of 2^-24 */
        float units = fabsf(x) * 0x1p24f;
        return (uint16_t)(sign | (uint32_t)lrintf(units));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

static void to_i8(const struct fdit_weight_desc *desc, const float *data, int8_t *q, float *scales)
{
    for (int r = 0; r < desc->n_out; r++) {
        const float *row = data + (size_t)r * (size_t)desc->n_in;
        float most = 0;
        bool finite = true;
        for (int i = 0; i < desc->n_in; i++) {
            finite = finite && isfinite(row[i]);
            most = fmaxf(most, fabsf(row[i]));
        }
        scales[r] = finite ? most / 127 : NAN; /* a row that has no scale must not look healthy */
        for (int i = 0; i < desc->n_in; i++)
            q[(size_t)r * (size_t)desc->n_in + (size_t)i] =
                finite && most > 0 ? (int8_t)lrintf(row[i] / scales[r]) : 1;
        if (finite && most <= 0)
            scales[r] = 0;
    }
}

static void convert(const struct fdit_weight_desc *desc, const float *data, void *to)
{
    size_t n = elements(desc);
    uint16_t *halves = to;
    if (desc->storage == FDIT_BF16)
        for (size_t i = 0; i < n; i++)
            halves[i] = to_bf16(data[i]);
    else if (desc->storage == FDIT_F16)
        for (size_t i = 0; i < n; i++)
            halves[i] = to_f16(data[i]);
    else
        to_i8(desc, data, to, (float *)to + opencl_weight_scales(desc));
}

enum fdit_status opencl_weight_new(fdit_context *ctx, fdit_device *dev,
                                   const struct fdit_weight_desc *desc, const float *data,
                                   void **handle)
{
    struct opencl *cl = opencl_of(dev);
    enum fdit_status status = FDIT_OK;
    size_t bytes = opencl_weight_bytes(dev, desc);
    cl_mem memory = NULL;
    void *converted = NULL;
    cl_int error;
    if (bytes > cl->max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "a weight of %d x %d as %s has %zu bytes; %s allows %zu in one "
             "buffer; use a smaller storage type",
             desc->n_out, desc->n_in, fdit_dtype_name(desc->storage), bytes, cl->label,
             cl->max_buffer);
    if (desc->conv && desc->storage != FDIT_F32)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "the weight of a conv as %s: only f32 is possible",
             fdit_dtype_name(desc->storage));
    if (!desc->conv)
        opencl_linear_programs(dev, desc->storage, false);
    if (desc->need_dx)
        opencl_linear_programs(dev, desc->storage, true);
    TRY(fdit_device_status(ctx, dev));
    if (desc->storage != FDIT_F32) {
        TRY(fdit_alloc(ctx, bytes, 1, &converted));
        convert(desc, data, converted);
    }
    memory = clCreateBuffer(cl->context, CL_MEM_READ_ONLY, bytes, NULL, &error);
    TRY(opencl_status(ctx, cl, error, "clCreateBuffer", "a weight"));
    TRY(opencl_status(ctx, cl,
                      clEnqueueWriteBuffer(cl->queue, memory, CL_TRUE, 0, bytes,
                                           converted ? converted : (const void *)data, 0, NULL,
                                           NULL),
                      "clEnqueueWriteBuffer", "a weight"));
    *handle = memory;
    memory = NULL;
out:
    if (memory)
        clReleaseMemObject(memory);
    fdit_free(converted);
    return status;
}

void opencl_weight_free(fdit_device *dev, void *handle)
{
    (void)dev;
    if (handle)
        clReleaseMemObject(handle);
}
