/* SPDX-License-Identifier: Apache-2.0
 * programs.c: which programs there are, and building them. */
#include "state.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

#define DX "-DB_ROWS"
#define VECTOR "-DITEM_M=1"
#define FORWARD(head, rows, tile) "-DFORWARD -DHEAD=" #head " -DROWS=" #rows " -DTILE=" #tile
#define BACKWARD(head, rows, tile) "-DHEAD=" #head " -DROWS=" #rows " -DTILE=" #tile

/* The tiles of a group's local memory stay below 32 KiB: floats are
 * forward (ROWS + TILE) (HEAD + 1) + 2 ROWS (TILE + 1), backward twice the first term. */
const int attention_heads[HEADS] = { 32, 64, 72, 128 };
const int attention_rows[HEADS] = { 32, 32, 32, 32 };
const int attention_backward_rows[HEADS] = { 32, 32, 32, 16 };

static const struct {
    const char *source, *options;
    const char *kernels[PROGRAM_KERNELS];
} programs[PROGRAM_COUNT] = {
    [PROGRAM_LINEAR] = { "linear.cl", "", { "linear" } },
    [PROGRAM_LINEAR_VECTOR] = { "linear.cl", VECTOR, { "linear" } },
    [PROGRAM_LINEAR_DX] = { "linear.cl", DX, { "linear" } },
    [PROGRAM_LINEAR_DX_VECTOR] = { "linear.cl", DX " " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_DW] = { "linear.cl", "-DA_COLUMNS -DB_ROWS", { "linear" } },
    [PROGRAM_LINEAR_F16] = { "linear.cl", "-DW_TYPE=1", { "linear" } },
    [PROGRAM_LINEAR_VECTOR_F16] = { "linear.cl", "-DW_TYPE=1 " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_DX_F16] = { "linear.cl", "-DW_TYPE=1 " DX, { "linear" } },
    [PROGRAM_LINEAR_DX_VECTOR_F16] = { "linear.cl", "-DW_TYPE=1 " DX " " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_BF16] = { "linear.cl", "-DW_TYPE=2", { "linear" } },
    [PROGRAM_LINEAR_VECTOR_BF16] = { "linear.cl", "-DW_TYPE=2 " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_DX_BF16] = { "linear.cl", "-DW_TYPE=2 " DX, { "linear" } },
    [PROGRAM_LINEAR_DX_VECTOR_BF16] = { "linear.cl", "-DW_TYPE=2 " DX " " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_I8] = { "linear.cl", "-DW_TYPE=3", { "linear" } },
    [PROGRAM_LINEAR_VECTOR_I8] = { "linear.cl", "-DW_TYPE=3 " VECTOR, { "linear" } },
    [PROGRAM_LINEAR_DX_I8] = { "linear.cl", "-DW_TYPE=3 " DX, { "linear" } },
    [PROGRAM_LINEAR_DX_VECTOR_I8] = { "linear.cl", "-DW_TYPE=3 " DX " " VECTOR, { "linear" } },
    [PROGRAM_NORM] = { "norm.cl",
                       "",
                       { "norm", "modulate", "norm_dx", "norm_dmod", "norm_dparam" } },
    [PROGRAM_REDUCE] = { "reduce.cl",
                         "",
                         { "column_sums", "sum_squares", "sum_all", "clip_scale" } },
    [PROGRAM_POINTWISE] = { "pointwise.cl",
                            "",
                            { "gate", "activation", "activation_backward", "axpy", "gather",
                              "scatter_add", "patchify", "token_mean_backward", "diffuse" } },
    [PROGRAM_DIFFUSION] = { "diffusion.cl", "", { "diffusion_loss", "cross_entropy", "sampler" } },
    [PROGRAM_OPTIMISER] = { "optimiser.cl", "", { "adamw" } },
    [PROGRAM_PICTURE] = { "picture.cl",
                          "",
                          { "conv", "channel_moments", "group_stats", "group_apply", "softmax" } },
    [PROGRAM_ATTENTION_32] = { "attention.cl", FORWARD(32, 32, 32), { "attention" } },
    [PROGRAM_ATTENTION_64] = { "attention.cl", FORWARD(64, 32, 32), { "attention" } },
    [PROGRAM_ATTENTION_72] = { "attention.cl", FORWARD(72, 32, 32), { "attention" } },
    [PROGRAM_ATTENTION_128] = { "attention.cl", FORWARD(128, 32, 16), { "attention" } },
    [PROGRAM_ATTENTION_BACKWARD_32] = { "attention.cl",
                                        BACKWARD(32, 32, 32),
                                        { "attention_delta", "attention_dq", "attention_dkv" } },
    [PROGRAM_ATTENTION_BACKWARD_64] = { "attention.cl",
                                        BACKWARD(64, 32, 16),
                                        { "attention_delta", "attention_dq", "attention_dkv" } },
    [PROGRAM_ATTENTION_BACKWARD_72] = { "attention.cl",
                                        BACKWARD(72, 32, 16),
                                        { "attention_delta", "attention_dq", "attention_dkv" } },
    [PROGRAM_ATTENTION_BACKWARD_128] = { "attention.cl",
                                         BACKWARD(128, 16, 8),
                                         { "attention_delta", "attention_dq", "attention_dkv" } },
};

static const char *source_of(const char *name)
{
    for (const struct cl_source *s = fdit_cl_sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

/* "linear.cl -DB_ROWS: BUILD LOG", shortened to one line that fits a message. */
static enum fdit_status build_failed(fdit_context *ctx, const struct opencl *cl, cl_program program,
                                     cl_int error, const char *what)
{
    enum fdit_status status = FDIT_OK;
    char *log = NULL;
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes))
        bytes = 0;
    TRY(fdit_alloc(ctx, bytes + 1, 1, &log));
    if (bytes)
        clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    for (char *c = log; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    FAIL(ctx, FDIT_ERROR_DEVICE, "opencl, %s: its compiler refuses %s: %s (%d): %.600s", cl->label,
         what, opencl_error_name(error), (int)error, log);
out:
    fdit_free(log);
    return status;
}

static enum fdit_status build(fdit_context *ctx, struct opencl *cl, enum program which,
                              const char *what)
{
    const char *parts[2] = { source_of("prelude.cl"), source_of(programs[which].source) };
    struct program_state *p = &cl->programs[which];
    enum fdit_status status = FDIT_OK;
    char options[128];
    cl_int error;
    /* Drivers without the option compile as 1.2 anyway. */
    for (int attempt = 0; attempt < 2; attempt++) {
        snprintf(options, sizeof options, "%s%s", attempt ? "" : "-cl-std=CL1.2 ",
                 programs[which].options);
        p->program = clCreateProgramWithSource(cl->context, 2, parts, NULL, &error);
        TRY(opencl_status(ctx, cl, error, "clCreateProgramWithSource", what));
        error = clBuildProgram(p->program, 1, &cl->device, options, NULL, NULL);
        if (error == CL_SUCCESS)
            return FDIT_OK;
        if (error != CL_INVALID_BUILD_OPTIONS || attempt)
            break;
        clReleaseProgram(p->program);
        p->program = NULL;
    }
    status = build_failed(ctx, cl, p->program, error, what);
out:
    return status;
}

/* Mesa's rusticl answers these two questions wrongly (22.3.6, llvmpipe): the size of a group with the size
 * of a sub-group, 32, and local memory with twice what the kernel declares. A launch that does not fit fails
 * there all the same. */
static bool misreports_kernels(const struct opencl *cl)
{
    return strncmp(cl->label, "rusticl ", 8) == 0;
}

/* A driver may find at build time that a group of the size we ask for does not fit. */
static enum fdit_status check_kernel(fdit_context *ctx, struct opencl *cl, cl_kernel kernel,
                                     const char *what)
{
    enum fdit_status status = FDIT_OK;
    size_t items = 0;
    cl_ulong local = 0;
    TRY(opencl_status(ctx, cl,
                      clGetKernelWorkGroupInfo(kernel, cl->device, CL_KERNEL_WORK_GROUP_SIZE,
                                               sizeof items, &items, NULL),
                      "clGetKernelWorkGroupInfo", what));
    TRY(opencl_status(ctx, cl,
                      clGetKernelWorkGroupInfo(kernel, cl->device, CL_KERNEL_LOCAL_MEM_SIZE,
                                               sizeof local, &local, NULL),
                      "clGetKernelWorkGroupInfo", what));
    if (!misreports_kernels(cl) && (items < GROUP || local > cl->local_bytes))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "opencl, %s: kernel %s needs groups of %d and %llu bytes of "
             "local memory; the device allows %zu and %zu; use another device",
             cl->label, what, GROUP, (unsigned long long)local, items, cl->local_bytes);
out:
    return status;
}

static enum fdit_status make(fdit_context *ctx, struct opencl *cl, enum program which)
{
    enum fdit_status status = FDIT_OK;
    struct program_state *p = &cl->programs[which];
    char what[160];
    cl_int error;
    snprintf(what, sizeof what, "%s %s", programs[which].source, programs[which].options);
    TRY(build(ctx, cl, which, what));
    for (int k = 0; k < PROGRAM_KERNELS && programs[which].kernels[k]; k++) {
        p->kernels[k] = clCreateKernel(p->program, programs[which].kernels[k], &error);
        TRY(opencl_status(ctx, cl, error, "clCreateKernel", programs[which].kernels[k]));
        TRY(check_kernel(ctx, cl, p->kernels[k], programs[which].kernels[k]));
    }
out:
    return status;
}

bool opencl_program_need(fdit_device *dev, enum program which)
{
    struct opencl *cl = opencl_of(dev);
    if (cl->programs[which].program || dev->status != FDIT_OK)
        return dev->status == FDIT_OK;
    enum fdit_status status = make(cl->ctx, cl, which);
    if (status != FDIT_OK)
        fdit_device_fail(dev, status, "%s", fdit_context_message(cl->ctx));
    return status == FDIT_OK;
}

const char *opencl_kernel_name(enum program which, int kernel)
{
    return programs[which].kernels[kernel];
}

void opencl_programs_free(struct opencl *cl)
{
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        for (int k = 0; k < PROGRAM_KERNELS; k++)
            if (cl->programs[i].kernels[k])
                clReleaseKernel(cl->programs[i].kernels[k]);
        if (cl->programs[i].program)
            clReleaseProgram(cl->programs[i].program);
    }
}
