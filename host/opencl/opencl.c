/* SPDX-License-Identifier: Apache-2.0
 * opencl.c: opening and closing a device, and its table. One context and one in-order queue a
 * device; all kernels are ours (cl/), in OpenCL C 1.2 without extensions. */
#include "clblast.h"
#include "drivers.h"
#include "guard.h"
#include "opencl.h"
#include "gemm.h"
#include "int8.h"
#include "quirks.h"
#include "state.h"
#include "tune.h"
#include "tuned.h"
#include "units.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

/* May be called from the driver's threads. */
static void CL_CALLBACK driver_says(const char *message, const void *data, size_t bytes, void *user)
{
    struct opencl *cl = user;
    (void)data;
    (void)bytes;
    while (atomic_flag_test_and_set(&cl->said_lock)) {
    }
    strncpy(cl->said, message ? message : "", sizeof cl->said - 1);
    atomic_flag_clear(&cl->said_lock);
}

static void state_free(struct opencl *cl)
{
    if (!cl)
        return;
    if (cl->queue)
        clFinish(cl->queue);
    fdit_opencl_programs_free(cl);
    fdit_clblast_close(cl);
    for (int i = 0; i < cl->profile.n; i++)
        if (cl->profile.events[i])
            clReleaseEvent(cl->profile.events[i]);
    for (int i = 0; i < READ_SLOTS; i++)
        if (cl->reads[i])
            clReleaseEvent(cl->reads[i]);
    for (int i = 0; i < 2; i++) {
        if (cl->staging[i].last)
            clReleaseEvent(cl->staging[i].last);
        fdit_free(cl->staging[i].memory);
    }
    if (cl->marker)
        clReleaseEvent(cl->marker);
    if (cl->workspace)
        clReleaseMemObject(cl->workspace);
    if (cl->dummy)
        clReleaseMemObject(cl->dummy);
    if (cl->queue)
        clReleaseCommandQueue(cl->queue);
    if (cl->context)
        clReleaseContext(cl->context);
    fdit_context_free(cl->ctx);
    fdit_free(cl->label);
    fdit_free(cl->build_log);
    for (int i = 0; i < UNIT_TYPES; i++)
        fdit_free(cl->units[i].refused);
    fdit_free(cl);
}

static enum fdit_status number(fdit_context *ctx, struct opencl *cl, cl_device_info what, size_t *out)
{
    cl_ulong value = 0;
    enum fdit_status status =
        fdit_opencl_status(ctx, cl, clGetDeviceInfo(cl->device, what, sizeof value, &value, NULL),
                           "clGetDeviceInfo", "a limit of the device");
    *out = (size_t)value;
    return status;
}

/* Intel's GPUs that begin at 16 lanes have registers for a tile of results at 16, not at 32. */
static enum fdit_status choose_simd(fdit_context *ctx, struct opencl *cl)
{
    enum { SUB_GROUP_SIZES_INTEL = 0x4108 };
    enum fdit_status status = FDIT_OK;
    char *extensions = NULL;
    size_t sizes[8] = { 0 }, bytes = 0, least = SIZE_MAX;
    TRY(fdit_opencl_device_text(ctx, cl->device, CL_DEVICE_EXTENSIONS, &extensions));
    if (strstr(extensions, "cl_intel_required_subgroup_size") &&
        clGetDeviceInfo(cl->device, SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) == CL_SUCCESS)
        for (size_t i = 0; i < bytes / sizeof *sizes && i < sizeof sizes / sizeof *sizes; i++)
            least = sizes[i] < least ? sizes[i] : least;
    cl->simd = least == 16 ? 16 : 0;
out:
    fdit_free(extensions);
    return status;
}

static enum fdit_status describe(fdit_context *ctx, struct opencl *cl, struct fdit_device_info *info)
{
    enum fdit_status status = FDIT_OK;
    cl_device_type type = 0;
    size_t units = 0, align = 0;
    const struct opencl_limits limits = fdit_opencl_limits_of(cl->device);
    /* fdit_opencl_find has taken it for usable: so it was not told this time */
    if (!limits.local || !limits.memory || !limits.max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE, "opencl, %s: clGetDeviceInfo does not say what memory the device has",
             cl->label);
    cl->local_bytes = limits.local;
    cl->max_buffer = limits.max_buffer;
    info->memory = limits.memory;
    TRY(number(ctx, cl, CL_DEVICE_MAX_WORK_GROUP_SIZE, &cl->group_items));
    TRY(number(ctx, cl, CL_DEVICE_MEM_BASE_ADDR_ALIGN, &align));
    cl->view_align = align >= 8 ? align / 8 : 1;
    TRY(fdit_opencl_status(ctx, cl, clGetDeviceInfo(cl->device, CL_DEVICE_TYPE, sizeof type, &type, NULL),
                           "clGetDeviceInfo", "its type"));
    cl_uint floats = 0;
    cl->is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    cl->group = GROUP;
    cl->no_registers = cl->gemm_forced.engine == GEMM_TILE || cl->gemm_forced.engine == GEMM_BLOCK ||
                       cl->gemm_forced.engine == GEMM_MATRIX;
    TRY(number(ctx, cl, CL_DEVICE_MAX_COMPUTE_UNITS, &units));
    fdit_opencl_quirks_find(cl);
    cl->compute_units = units < 1 ? 1 : units > 65536 ? 65536 : (int)units;
    if (cl->quirks.choose_simd)
        TRY(choose_simd(ctx, cl));
    TRY(fdit_opencl_status(
        ctx, cl,
        clGetDeviceInfo(cl->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof floats, &floats, NULL),
        "clGetDeviceInfo", "its vectors"));
    cl->vector_floats = floats >= 16 ? 16 : floats >= 8 ? 8 : floats >= 4 ? 4 : (int)floats;
    info->max_buffer = cl->max_buffer;
    info->is_gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    TRY(fdit_strdup(ctx, cl->label, &info->name));
    TRY(fdit_opencl_device_text(ctx, cl->device, CL_DRIVER_VERSION, &info->driver));
out:
    return status;
}

/* What was tuned, or what FINEDIFFUSION_OPENCL_GEMM says ("default": as if nothing were). */
static enum fdit_status choose_products(fdit_context *ctx, fdit_device *dev, bool forced)
{
    struct opencl *cl = opencl_of(dev);
    char why[CLBLAST_TEXT];
    if (!forced)
        fdit_opencl_tuned_load(ctx, dev);
    if (cl->gemm_forced.engine != GEMM_CLBLAST)
        return FDIT_OK;
    const char *row = fdit_clblast_row(cl, false), *parameters = row ? strrchr(row, '\t') + 1 : NULL;
    if (!fdit_clblast_set(dev, parameters, false, why))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "FINEDIFFUSION_OPENCL_GEMM=clblast: %s: %s", cl->label,
                         why);
    return FDIT_OK;
}

static enum fdit_status open_device(fdit_context *ctx, const struct fdit_device_options *options,
                                    fdit_device *dev)
{
    enum fdit_status status = FDIT_OK;
    struct opencl *cl = NULL;
    struct guard guard;
    const char *finish_each = getenv("FINEDIFFUSION_OPENCL_SYNC");
    const char *forced = getenv("FINEDIFFUSION_OPENCL_GEMM");
    cl_int error;
    fdit_guard_begin(&guard);
    TRY(fdit_alloc(ctx, 1, sizeof *cl, &cl));
    atomic_flag_clear(&cl->said_lock);
    cl->ctx = fdit_context_new();
    if (!cl->ctx)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory when opening an OpenCL device");
    fdit_context_set_log(cl->ctx, ctx->log, ctx->log_user);
    cl->engines_fixed = forced && *forced;
    cl->finish_each = finish_each && *finish_each && *finish_each != '0';
    if (forced && *forced && !fdit_gemm_config_parse(forced, &cl->gemm_forced))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "FINEDIFFUSION_OPENCL_GEMM='%s' is not one of 'default', 'clblast', 'tile im=4 nv=4 step=16', "
             "'block im=8 nv=4 bx=16 by=8 step=16', 'registers im=4 vw=16 nv=4 group=8', "
             "'matrix mma', 'matrix emulated-mma'; also wmma, wmma64, wmma12, mfma, dpas8, dpas16",
             forced);
    TRY(fdit_opencl_find(ctx, options->spec, &cl->platform, &cl->device, &cl->label));
    cl->context = clCreateContext(
        (cl_context_properties[]){ CL_CONTEXT_PLATFORM, (cl_context_properties)cl->platform, 0 }, 1,
        &cl->device, driver_says, cl, &error);
    TRY(fdit_opencl_status(ctx, cl, error, "clCreateContext", "the device"));
    cl->queue = clCreateCommandQueue(cl->context, cl->device, 0, &error);
    TRY(fdit_opencl_status(ctx, cl, error, "clCreateCommandQueue", "the device"));
    TRY(describe(ctx, cl, &dev->info));
    cl->dummy = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, 4096, NULL, &error);
    TRY(fdit_opencl_status(ctx, cl, error, "clCreateBuffer", "the dummy"));
    for (int i = 0; i < 2; i++)
        TRY(fdit_alloc_pages(ctx, STAGING_BYTES, 1, &cl->staging[i].memory));
    dev->state = cl;
    TRY(choose_products(ctx, dev, cl->engines_fixed));
    TRY(fdit_units_find(ctx, dev, dev->precision));
    if (dev->precision == FDIT_F16 || dev->precision == FDIT_I8) /* the other products: fdit_gemm_operands */
        TRY(fdit_units_find(ctx, dev, FDIT_BF16));
    if (dev->precision == FDIT_I8 && !opencl_int8_by_registers(cl))
        fdit_int8_find_dot(dev);
    cl = NULL;
out:
    if (cl) {
        state_free(cl);
        dev->state = NULL;
    }
    fdit_guard_end(&guard);
    return status;
}

static void close_device(fdit_device *dev)
{
    struct guard guard;
    fdit_guard_begin(&guard);
    state_free(opencl_of(dev));
    fdit_guard_end(&guard);
    dev->state = NULL;
    fdit_crash_unwatch(dev->info.spec);
}

void fdit_opencl_cache_counts(const fdit_device *dev, int *hits, int *stores)
{
    *hits = opencl_of(dev)->cache_hits;
    *stores = opencl_of(dev)->cache_stores;
}

static int opencl_tuned(const fdit_device *dev)
{
    return opencl_of(dev)->n_tuned;
}

const struct fdit_device_ops fdit_opencl_ops = {
    .version = FDIT_BACKEND_VERSION,
    .name = "opencl",
    .open = open_device,
    .tune = fdit_opencl_tune,
    .tuned = opencl_tuned,
    .close = close_device,
    .buffer_new = fdit_opencl_buffer_new,
    .buffer_free = fdit_opencl_buffer_free,
    .write = fdit_opencl_write,
    .read = fdit_opencl_read,
    .fill = fdit_opencl_fill,
    .copy = fdit_opencl_copy,
    .sync = fdit_opencl_sync,
    .read_begin = fdit_opencl_read_begin,
    .read_end = fdit_opencl_read_end,
    .weight_bytes = fdit_opencl_weight_bytes,
    .weight_new = fdit_opencl_weight_new,
    .weight_free = fdit_opencl_weight_free,
    .supports_storage = fdit_opencl_supports_storage,
    .supports_precision = fdit_opencl_supports_precision,
    .workspace_bytes = fdit_opencl_workspace_bytes,
    .reserve = fdit_opencl_reserve,
    .facts = fdit_opencl_facts,
    .engine = fdit_opencl_engine,
    .busy = fdit_opencl_busy,
#define OP(entry, ENUM, arguments) .entry = fdit_opencl_##entry,
#include "device/op_list.h"
    .fuses_act = true,
    .fuses_gate = true,
    .fuses_add = true,
    .fuses_act_backward = true,
};
