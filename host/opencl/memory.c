/* SPDX-License-Identifier: Apache-2.0
 * memory.c: buffers, transfers and the workspace. */
#include "clblast.h"
#include "state.h"

#include "core/mem.h"

#include <string.h>

enum fdit_status opencl_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle)
{
    struct opencl *cl = opencl_of(dev);
    cl_int error;
    cl_mem memory = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    enum fdit_status status = opencl_status(ctx, cl, error, "clCreateBuffer", "a tensor buffer");
    if (status == FDIT_OK)
        *handle = memory;
    return status;
}

void opencl_buffer_free(fdit_device *dev, void *handle)
{
    if (!handle)
        return;
    clblast_forget(opencl_of(dev), handle);
    clReleaseMemObject(handle);
}

/* ----------------------------------------------------------------------------------- transfers */

/* Copies `bytes` to staging memory whose previous writes have ended; NULL: they do not fit. */
static char *stage(fdit_device *dev, const void *host, size_t bytes)
{
    struct opencl *cl = opencl_of(dev);
    if (bytes > STAGING_BYTES)
        return NULL;
    if (cl->staging[cl->staging_now].used + bytes > STAGING_BYTES) {
        cl->staging_now ^= 1;
        cl_event *last = &cl->staging[cl->staging_now].last;
        cl->staging[cl->staging_now].used = 0;
        if (*last) {
            opencl_ok(dev, clWaitForEvents(1, last), "clWaitForEvents", "a write");
            clReleaseEvent(*last);
            *last = NULL;
        }
    }
    char *at = cl->staging[cl->staging_now].memory + cl->staging[cl->staging_now].used;
    cl->staging[cl->staging_now].used += (bytes + 63) & ~(size_t)63;
    memcpy(at, host, bytes);
    return at;
}

/* Small writes go through staging memory and do not wait for the queue, large ones do. */
void opencl_write(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes)
{
    struct opencl *cl = opencl_of(dev);
    cl_event event = NULL;
    char *staged = stage(dev, host, bytes);
    cl_int error = clEnqueueWriteBuffer(cl->queue, to->handle, staged ? CL_FALSE : CL_TRUE, byte_offset,
                                        bytes, staged ? staged : host, 0, NULL, staged ? &event : NULL);
    if (!opencl_ok(dev, error, "clEnqueueWriteBuffer", to->label) || !staged)
        return;
    cl_event *last = &cl->staging[cl->staging_now].last;
    if (*last)
        clReleaseEvent(*last); /* the queue is in order: the new one ends after it */
    *last = event;
}

void opencl_read(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host, size_t bytes)
{
    opencl_ok(dev,
              clEnqueueReadBuffer(opencl_of(dev)->queue, from->handle, CL_TRUE, byte_offset, bytes, host, 0,
                                  NULL, NULL),
              "clEnqueueReadBuffer", from->label);
}

void opencl_read_begin(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                       size_t bytes, int slot)
{
    struct opencl *cl = opencl_of(dev);
    if (opencl_ok(dev,
                  clEnqueueReadBuffer(cl->queue, from->handle, CL_FALSE, byte_offset, bytes, host, 0, NULL,
                                      &cl->reads[slot]),
                  "clEnqueueReadBuffer", from->label))
        opencl_ok(dev, clFlush(cl->queue), "clFlush", from->label);
}

void opencl_read_end(fdit_device *dev, int slot)
{
    cl_event *event = &opencl_of(dev)->reads[slot];
    if (!*event)
        return;
    opencl_ok(dev, clWaitForEvents(1, event), "clWaitForEvents", "a read");
    clReleaseEvent(*event);
    *event = NULL;
}

void opencl_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    cl_float pattern = value;
    opencl_ok(dev,
              clEnqueueFillBuffer(opencl_of(dev)->queue, t.buffer->handle, &pattern, sizeof pattern,
                                  t.offset * sizeof pattern, n * sizeof pattern, 0, NULL, NULL),
              "clEnqueueFillBuffer", t.buffer->label);
}

void opencl_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    size_t bytes = fdit_dtype_bytes(to.type);
    if (to.type != from.type) {
        opencl_convert(dev, to, from, n);
        return;
    }
    opencl_ok(dev,
              clEnqueueCopyBuffer(opencl_of(dev)->queue, from.buffer->handle, to.buffer->handle,
                                  from.offset * bytes, to.offset * bytes, n * bytes, 0, NULL, NULL),
              "clEnqueueCopyBuffer", to.buffer->label);
}

void opencl_sync(fdit_device *dev)
{
    opencl_ok(dev, clFinish(opencl_of(dev)->queue), "clFinish", "the queue");
}

/* ----------------------------------------------------------------------------------- workspace */

/* a * b * c floats, SIZE_MAX when that is too many. */
static size_t floats(int a, int b, int c)
{
    size_t n;
    if (a < 0 || b < 0 || c < 0 || !fdit_mul((size_t)a, (size_t)b, &n) || !fdit_mul(n, (size_t)c, &n) ||
        !fdit_mul(n, sizeof(float), &n))
        return SIZE_MAX;
    return n;
}

/* Builds the programs of the op, so that the first step does not. */
static void programs_of(fdit_device *dev, const struct fdit_op_shape *shape)
{
    switch (shape->op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX:
    case FDIT_OP_LINEAR_DW: opencl_linear_prepare(dev, shape); break;
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD:
        opencl_attention_programs(dev, shape, shape->op == FDIT_OP_ATTENTION_BACKWARD);
        break;
    case FDIT_OP_NORM:
    case FDIT_OP_MODULATE: opencl_program_need(dev, PROGRAM_NORM); break;
    case FDIT_OP_NORM_BACKWARD:
        opencl_program_need(dev, PROGRAM_NORM);
        opencl_program_need(dev, PROGRAM_REDUCE);
        break;
    case FDIT_OP_COLUMN_SUM:
    case FDIT_OP_TOKEN_MEAN:
    case FDIT_OP_SUM_SQUARES:
    case FDIT_OP_CLIP_SCALE: opencl_program_need(dev, PROGRAM_REDUCE); break;
    case FDIT_OP_DIFFUSION_LOSS:
    case FDIT_OP_CROSS_ENTROPY:
    case FDIT_OP_SAMPLER_STEP: opencl_program_need(dev, PROGRAM_DIFFUSION); break;
    case FDIT_OP_ADAMW: opencl_program_need(dev, PROGRAM_OPTIMISER); break;
    case FDIT_OP_CONV: opencl_conv_prepare(dev, shape); break;
    case FDIT_OP_GROUP_STATS:
    case FDIT_OP_GROUP_APPLY:
    case FDIT_OP_SOFTMAX: opencl_program_need(dev, PROGRAM_PICTURE); break;
    case FDIT_OP_GATE_BACKWARD: opencl_program_need(dev, PROGRAM_REDUCE); /* fall through */
    default: opencl_program_need(dev, PROGRAM_POINTWISE); break;
    }
}

size_t opencl_workspace_bytes(fdit_device *dev, const struct fdit_op_shape *shape)
{
    programs_of(dev, shape);
    switch (shape->op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX:
    case FDIT_OP_LINEAR_DW: return opencl_linear_workspace(dev, shape);
    case FDIT_OP_COLUMN_SUM: { /* one partial sum a block of rows */
        long long rows = (long long)shape->samples * shape->rows;
        return floats((int)((rows + SUM_ROWS - 1) / SUM_ROWS), shape->n_out, 1);
    }
    case FDIT_OP_NORM_BACKWARD: /* two sums a sample */ return floats(shape->samples, shape->n_out, 2);
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD: return opencl_attention_floats(opencl_of(dev), shape) * sizeof(float);
    case FDIT_OP_SUM_SQUARES: return SUM_PARTS * sizeof(float);
    default: return opencl_picture_workspace(dev, shape);
    }
}

enum fdit_status opencl_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes)
{
    struct opencl *cl = opencl_of(dev);
    enum fdit_status status = FDIT_OK;
    cl_float zero = 0;
    cl_int error;
    if (bytes <= cl->reserved)
        return FDIT_OK;
    bytes = (bytes + 4095) & ~(size_t)4095;
    if (bytes > cl->max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "opencl, %s: %zu bytes of workspace are needed, one buffer may "
             "have %zu; use a smaller batch",
             cl->label, bytes, cl->max_buffer);
    if (cl->workspace)
        clReleaseMemObject(cl->workspace);
    cl->reserved = 0;
    cl->workspace = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    TRY(opencl_status(ctx, cl, error, "clCreateBuffer", "the workspace"));
    TRY(opencl_status(
        ctx, cl, clEnqueueFillBuffer(cl->queue, cl->workspace, &zero, sizeof zero, 0, bytes, 0, NULL, NULL),
        "clEnqueueFillBuffer", "the workspace"));
    TRY(opencl_status(ctx, cl, clFinish(cl->queue), "clFinish", "the workspace"));
    cl->reserved = bytes;
out:
    return status;
}
