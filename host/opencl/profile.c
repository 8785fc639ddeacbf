/* SPDX-License-Identifier: Apache-2.0
 * profile.c: how long launches take on the device. A queue that keeps times slows every launch on some
 * drivers, so the device has one only while somebody asks (dev->timing). */
#include "state.h"

/* Replaces the queue, when everything in it has ended. */
static void switch_queue(fdit_device *dev, bool on)
{
    struct opencl *cl = opencl_of(dev);
    cl_int error;
    if (!fdit_opencl_ok(dev, clFinish(cl->queue), "clFinish", "the queue"))
        return;
    cl_command_queue queue =
        clCreateCommandQueue(cl->context, cl->device, on ? CL_QUEUE_PROFILING_ENABLE : 0, &error);
    if (!fdit_opencl_ok(dev, error, "clCreateCommandQueue", "a queue that keeps times"))
        return;
    clReleaseCommandQueue(cl->queue);
    cl->queue = queue;
    cl->profile.on = on;
}

static double seconds_of(cl_event event)
{
    cl_ulong begin = 0, end = 0;
    if (!event || clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL) ||
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL))
        return 0;
    return 1e-9 * (double)(end - begin);
}

/* Waits for all launches and adds them up. */
static void collect(fdit_device *dev)
{
    struct opencl *cl = opencl_of(dev);
    fdit_opencl_ok(dev, clFinish(cl->queue), "clFinish", "the queue");
    for (int i = 0; i < cl->profile.n; i++) {
        cl_event event = cl->profile.events[i];
        cl->profile.seconds += seconds_of(event);
        if (event)
            clReleaseEvent(event);
    }
    cl->profile.launches += (uint64_t)cl->profile.n;
    cl->profile.n = 0;
}

cl_event *fdit_opencl_profile_want(fdit_device *dev)
{
    struct opencl *cl = opencl_of(dev);
    if (dev->timing != cl->profile.on)
        switch_queue(dev, dev->timing);
    if (!cl->profile.on)
        return NULL;
    if (cl->profile.n == PROFILE_EVENTS)
        collect(dev);
    cl_event *event = &cl->profile.events[cl->profile.n++];
    *event = NULL;
    return event;
}

double fdit_opencl_busy(fdit_device *dev, uint64_t *launches)
{
    struct opencl *cl = opencl_of(dev);
    collect(dev);
    double seconds = cl->profile.seconds;
    *launches += cl->profile.launches;
    cl->profile.seconds = 0;
    cl->profile.launches = 0;
    return seconds;
}
