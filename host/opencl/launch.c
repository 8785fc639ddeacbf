/* SPDX-License-Identifier: Apache-2.0
 * launch.c: kernel calls into the one in-order queue. */
#include "state.h"

struct launch fdit_launch_begin(fdit_device *dev, enum program program, int kernel)
{
    fdit_opencl_program_need(dev, program); /* after a failure the launch does nothing */
    return (struct launch){ .dev = dev,
                            .kernel = opencl_of(dev)->programs[program].kernels[kernel],
                            .name = fdit_opencl_kernel_name(program, kernel),
                            .group = (size_t)fdit_opencl_group(opencl_of(dev), program) };
}

struct launch fdit_launch_variant(fdit_device *dev, const struct program_state *program, const char *name)
{
    return (struct launch){ .dev = dev, .kernel = program ? program->kernels[0] : NULL, .name = name };
}

static void set(struct launch *l, size_t bytes, const void *value)
{
    if (l->dev->status == FDIT_OK)
        fdit_opencl_ok(l->dev, clSetKernelArg(l->kernel, l->n, bytes, value), "clSetKernelArg", l->name);
    l->n++;
}

void fdit_launch_memory(struct launch *l, cl_mem memory, size_t at)
{
    cl_ulong offset = at;
    set(l, sizeof memory, &memory);
    set(l, sizeof offset, &offset);
}

void fdit_launch_tensor(struct launch *l, struct fdit_tensor t)
{
    fdit_launch_memory(l, fdit_has(t) ? t.buffer->handle : opencl_of(l->dev)->dummy, t.offset);
}

void fdit_launch_int(struct launch *l, int v)
{
    cl_int value = v;
    set(l, sizeof value, &value);
}

void fdit_launch_uint(struct launch *l, unsigned v)
{
    cl_uint value = v;
    set(l, sizeof value, &value);
}

void fdit_launch_size(struct launch *l, size_t v)
{
    cl_ulong value = v;
    set(l, sizeof value, &value);
}

void fdit_launch_float(struct launch *l, float v)
{
    cl_float value = v;
    set(l, sizeof value, &value);
}

/* Drivers hold work back until a flush, and some reset a device whose queue holds seconds of work:
 * every QUEUE_BOUND launches the queue is flushed, and the host waits for the marker before. */
static void bound_queue(fdit_device *dev, cl_event event, const char *name)
{
    struct opencl *cl = opencl_of(dev);
    cl_event before = cl->marker;
    cl->marker = event;
    cl->launches = 0;
    fdit_opencl_ok(dev, clFlush(cl->queue), "clFlush", name);
    if (before) {
        fdit_opencl_ok(dev, clWaitForEvents(1, &before), "clWaitForEvents", name);
        clReleaseEvent(before);
    }
}

cl_event *fdit_launch_foreign_begin(fdit_device *dev, cl_event *room)
{
    cl_event *timed = fdit_opencl_profile_want(dev);
    if (timed)
        return timed;
    return ++opencl_of(dev)->launches >= QUEUE_BOUND ? room : NULL;
}

void fdit_launch_foreign_end(fdit_device *dev, cl_event *event, const char *name)
{
    struct opencl *cl = opencl_of(dev);
    if (event && !cl->profile.on)
        bound_queue(dev, *event, name);
    if (cl->finish_each)
        fdit_opencl_ok(dev, clFinish(cl->queue), "clFinish", name);
}

void fdit_launch_run(struct launch *l, cl_uint dimensions, const size_t *items, const size_t *local)
{
    size_t global[3];
    cl_event room = NULL;
    if (l->dev->status != FDIT_OK)
        return;
    for (cl_uint i = 0; i < dimensions; i++)
        global[i] = (items[i] + local[i] - 1) / local[i] * local[i];
    cl_event *event = fdit_launch_foreign_begin(l->dev, &room);
    cl_int error = clEnqueueNDRangeKernel(opencl_of(l->dev)->queue, l->kernel, dimensions, NULL, global,
                                          local, 0, NULL, event);
    if (fdit_opencl_ok(l->dev, error, "clEnqueueNDRangeKernel", l->name))
        fdit_launch_foreign_end(l->dev, event, l->name);
}
