/* SPDX-License-Identifier: Apache-2.0
 * weights.c: frozen matrices, [n_in][ld] in their storage type, ld = n_out rounded up: one copy
 * serves linear and linear_dx. int8: the numbers first, padded to whole floats, then one f32 scale
 * for each of the n_out features. */
#include "gemm.h"

#include "core/half.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

bool fdit_opencl_supports_storage(const fdit_device *dev, enum fdit_dtype storage)
{
    (void)dev; /* all are widened by OpenCL C 1.2's own vload_half and by integer arithmetic */
    return storage == FDIT_F32 || storage == FDIT_BF16 || storage == FDIT_F16 || storage == FDIT_I8;
}

/* Below so many inputs or outputs int8 products save nothing. */
enum { INT8_SIZE = 64 };

/* Operands are rounded, so that weights of f32 may be already: half the memory, the same bits. Those of a
 * conv are read by kernels that know f32. In int8 what is too small for it is as in bf16. */
enum fdit_dtype fdit_opencl_weight_storage(const fdit_device *dev, const struct fdit_weight_desc *desc)
{
    const enum fdit_dtype p = dev->precision;
    if (desc->conv || desc->storage != FDIT_F32)
        return desc->storage;
    if (p == FDIT_I8)
        return !desc->exact && desc->n_in >= INT8_SIZE && desc->n_out >= INT8_SIZE ? FDIT_I8 : FDIT_BF16;
    return p == FDIT_BF16 || p == FDIT_F16 ? p : FDIT_F32;
}

/* 16 bits by arithmetic, where there is no unit: the operands of products are rounded as they are loaded.
 * bf16x3 is then f32, which is better. Whole numbers every device has. */
bool fdit_opencl_supports_precision(const fdit_device *dev, enum fdit_dtype precision)
{
    (void)dev;
    return precision == FDIT_F32 || precision == FDIT_BF16X3 || precision == FDIT_BF16 ||
           precision == FDIT_F16 || precision == FDIT_I8;
}

static size_t elements(const struct opencl *cl, const struct fdit_weight_desc *desc)
{
    bool plain = opencl_weight_is_plain(cl, desc);
    return (size_t)(plain ? desc->n_out : gemm_ld(cl, desc->n_out)) * (size_t)desc->n_in;
}

size_t fdit_opencl_weight_scales(const struct opencl *cl, const struct fdit_weight_desc *desc)
{
    return (elements(cl, desc) + 3) / 4;
}

size_t fdit_opencl_weight_bytes(fdit_device *dev, const struct fdit_weight_desc *desc)
{
    const struct opencl *cl = opencl_of(dev);
    const enum fdit_dtype storage = fdit_opencl_weight_storage(dev, desc);
    if (storage == FDIT_I8)
        return (fdit_opencl_weight_scales(cl, desc) + (size_t)desc->n_out) * sizeof(float);
    return elements(cl, desc) * fdit_dtype_bytes(storage);
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
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

/* The scale of a row: 0 for a row of zeroes; NaN for one that is not finite, which must not
 * look healthy. */
static void row_scale(const float *row, int n, float *scale)
{
    float most = 0;
    bool finite = true;
    for (int i = 0; i < n; i++) {
        finite = finite && isfinite(row[i]);
        most = fmaxf(most, fabsf(row[i]));
    }
    *scale = finite ? most / 127 : NAN;
}

/* One number of the matrix in its storage type, at `at` of `to`. */
static void store(enum fdit_dtype storage, void *to, size_t at, float x, float scale)
{
    switch (storage) {
    case FDIT_BF16: ((uint16_t *)to)[at] = fdit_bf16_of(x); break;
    case FDIT_F16: ((uint16_t *)to)[at] = to_f16(x); break;
    case FDIT_I8: ((int8_t *)to)[at] = isnan(scale) ? 1 : scale > 0 ? (int8_t)lrintf(x / scale) : 0; break;
    default: ((float *)to)[at] = x; break;
    }
}

/* data [n_out][n_in] to [n_in][ld], square by square; the columns behind n_out stay 0. */
static void convert(const fdit_device *dev, const struct fdit_weight_desc *desc, const float *data, void *to)
{
    enum { SQUARE = 32 };
    const struct opencl *cl = opencl_of(dev);
    const enum fdit_dtype storage = fdit_opencl_weight_storage(dev, desc);
    size_t n_in = (size_t)desc->n_in, ld = (size_t)gemm_ld(cl, desc->n_out);
    float *scales = storage == FDIT_I8 ? (float *)to + fdit_opencl_weight_scales(cl, desc) : NULL;
    for (int r = 0; scales && r < desc->n_out; r++)
        row_scale(data + (size_t)r * n_in, desc->n_in, &scales[r]);
    for (int r0 = 0; r0 < desc->n_out; r0 += SQUARE)
        for (int i0 = 0; i0 < desc->n_in; i0 += SQUARE)
            for (int i = i0; i < i0 + SQUARE && i < desc->n_in; i++)
                for (int r = r0; r < r0 + SQUARE && r < desc->n_out; r++)
                    store(storage, to, (size_t)i * ld + (size_t)r, data[(size_t)r * n_in + (size_t)i],
                          scales ? scales[r] : 0);
}

enum fdit_status fdit_opencl_weight_new(fdit_context *ctx, fdit_device *dev,
                                        const struct fdit_weight_desc *desc, const float *data, void **handle)
{
    struct opencl *cl = opencl_of(dev);
    enum fdit_status status = FDIT_OK;
    size_t bytes = fdit_opencl_weight_bytes(dev, desc);
    cl_mem memory = NULL;
    void *converted = NULL;
    cl_int error;
    if (bytes > cl->max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "a weight of %d x %d as %s has %zu bytes; %s allows %zu in one "
             "buffer; use a smaller storage type",
             desc->n_out, desc->n_in, fdit_dtype_name(desc->storage), bytes, cl->label, cl->max_buffer);
    if (desc->conv && desc->storage != FDIT_F32)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "the weight of a conv as %s: only f32 is possible",
             fdit_dtype_name(desc->storage));
    if (!opencl_weight_is_plain(cl, desc)) {
        TRY(fdit_alloc(ctx, bytes, 1, &converted));
        convert(dev, desc, data, converted);
    }
    memory = clCreateBuffer(cl->context, CL_MEM_READ_ONLY, bytes, NULL, &error);
    TRY(fdit_opencl_status(ctx, cl, error, "clCreateBuffer", "a weight"));
    TRY(fdit_opencl_status(ctx, cl,
                           clEnqueueWriteBuffer(cl->queue, memory, CL_TRUE, 0, bytes,
                                                converted ? converted : (const void *)data, 0, NULL, NULL),
                           "clEnqueueWriteBuffer", "a weight"));
    *handle = memory;
    memory = NULL;
out:
    if (memory)
        clReleaseMemObject(memory);
    fdit_free(converted);
    return status;
}

void fdit_opencl_weight_free(fdit_device *dev, void *handle)
{
    (void)dev;
    if (handle)
        clReleaseMemObject(handle);
}
