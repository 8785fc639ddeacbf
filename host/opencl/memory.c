/* SPDX-License-Identifier: Apache-2.0
 * memory.c: buffers and transfers. */
#include "clblast.h"
#include "state.h"

#include "core/mem.h"

#include <string.h>

enum fdit_status fdit_opencl_buffer_new(fdit_context *ctx, fdit_device *dev, size_t bytes, void **handle)
{
    struct opencl *cl = opencl_of(dev);
    cl_int error;
    cl_mem memory = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    enum fdit_status status = fdit_opencl_status(ctx, cl, error, "clCreateBuffer", "a tensor buffer");
    if (status == FDIT_OK)
        *handle = memory;
    return status;
}

void fdit_opencl_buffer_free(fdit_device *dev, void *handle)
{
    if (!handle)
        return;
    fdit_clblast_forget(opencl_of(dev), handle);
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
            fdit_opencl_ok(dev, clWaitForEvents(1, last), "clWaitForEvents", "a write");
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
void fdit_opencl_write(fdit_device *dev, fdit_buffer *to, size_t byte_offset, const void *host, size_t bytes)
{
    struct opencl *cl = opencl_of(dev);
    cl_event event = NULL;
    char *staged = stage(dev, host, bytes);
    cl_int error = clEnqueueWriteBuffer(cl->queue, to->handle, staged ? CL_FALSE : CL_TRUE, byte_offset,
                                        bytes, staged ? staged : host, 0, NULL, staged ? &event : NULL);
    if (!fdit_opencl_ok(dev, error, "clEnqueueWriteBuffer", to->label) || !staged)
        return;
    cl_event *last = &cl->staging[cl->staging_now].last;
    if (*last)
        clReleaseEvent(*last); /* the queue is in order: the new one ends after it */
    *last = event;
}

void fdit_opencl_read(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host, size_t bytes)
{
    fdit_opencl_ok(dev,
                   clEnqueueReadBuffer(opencl_of(dev)->queue, from->handle, CL_TRUE, byte_offset, bytes, host,
                                       0, NULL, NULL),
                   "clEnqueueReadBuffer", from->label);
}

void fdit_opencl_read_begin(fdit_device *dev, const fdit_buffer *from, size_t byte_offset, void *host,
                            size_t bytes, int slot)
{
    struct opencl *cl = opencl_of(dev);
    if (fdit_opencl_ok(dev,
                       clEnqueueReadBuffer(cl->queue, from->handle, CL_FALSE, byte_offset, bytes, host, 0,
                                           NULL, &cl->reads[slot]),
                       "clEnqueueReadBuffer", from->label))
        fdit_opencl_ok(dev, clFlush(cl->queue), "clFlush", from->label);
}

void fdit_opencl_read_end(fdit_device *dev, int slot)
{
    cl_event *event = &opencl_of(dev)->reads[slot];
    if (!*event)
        return;
    fdit_opencl_ok(dev, clWaitForEvents(1, event), "clWaitForEvents", "a read");
    clReleaseEvent(*event);
    *event = NULL;
}

void fdit_opencl_fill(fdit_device *dev, struct fdit_tensor t, size_t n, float value)
{
    cl_float pattern = value;
    fdit_opencl_ok(dev,
                   clEnqueueFillBuffer(opencl_of(dev)->queue, t.buffer->handle, &pattern, sizeof pattern,
                                       t.offset * sizeof pattern, n * sizeof pattern, 0, NULL, NULL),
                   "clEnqueueFillBuffer", t.buffer->label);
}

void fdit_opencl_copy(fdit_device *dev, struct fdit_tensor to, struct fdit_tensor from, size_t n)
{
    size_t bytes = fdit_dtype_bytes(to.type);
    if (to.type != from.type) {
        fdit_opencl_convert(dev, to, from, n);
        return;
    }
    fdit_opencl_ok(dev,
                   clEnqueueCopyBuffer(opencl_of(dev)->queue, from.buffer->handle, to.buffer->handle,
                                       from.offset * bytes, to.offset * bytes, n * bytes, 0, NULL, NULL),
                   "clEnqueueCopyBuffer", to.buffer->label);
}

void fdit_opencl_sync(fdit_device *dev)
{
    fdit_opencl_ok(dev, clFinish(opencl_of(dev)->queue), "clFinish", "the queue");
}
