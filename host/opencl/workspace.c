/* SPDX-License-Identifier: Apache-2.0
 * workspace.c: what ops need beside their tensors, and the programs they run. */
#include "state.h"

#include "core/mem.h"

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
    case FDIT_OP_LINEAR_DW: fdit_opencl_linear_prepare(dev, shape); break;
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD:
        fdit_opencl_attention_programs(dev, shape, shape->op == FDIT_OP_ATTENTION_BACKWARD);
        break;
    case FDIT_OP_NORM:
    case FDIT_OP_MODULATE: fdit_opencl_program_need(dev, PROGRAM_NORM); break;
    case FDIT_OP_NORM_BACKWARD:
        fdit_opencl_program_need(dev, PROGRAM_NORM);
        fdit_opencl_program_need(dev, PROGRAM_REDUCE);
        break;
    case FDIT_OP_COLUMN_SUM:
    case FDIT_OP_TOKEN_MEAN:
    case FDIT_OP_SUM_SQUARES:
    case FDIT_OP_CLIP_SCALE: fdit_opencl_program_need(dev, PROGRAM_REDUCE); break;
    case FDIT_OP_DIFFUSION_LOSS:
    case FDIT_OP_CROSS_ENTROPY:
    case FDIT_OP_SAMPLER_STEP: fdit_opencl_program_need(dev, PROGRAM_DIFFUSION); break;
    case FDIT_OP_ADAMW:
    case FDIT_OP_LION: fdit_opencl_program_need(dev, PROGRAM_OPTIMISER); break;
    case FDIT_OP_CONV: fdit_opencl_conv_prepare(dev, shape); break;
    case FDIT_OP_GROUP_STATS:
    case FDIT_OP_GROUP_APPLY:
    case FDIT_OP_SOFTMAX:
    case FDIT_OP_POOLING: fdit_opencl_program_need(dev, PROGRAM_PICTURE); break;
    case FDIT_OP_GATE_BACKWARD: fdit_opencl_program_need(dev, PROGRAM_REDUCE); /* fall through */
    default: fdit_opencl_program_need(dev, PROGRAM_POINTWISE); break;
    }
}

size_t fdit_opencl_workspace_bytes(fdit_device *dev, const struct fdit_op_shape *shape)
{
    programs_of(dev, shape);
    switch (shape->op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX:
    case FDIT_OP_LINEAR_DW: return fdit_opencl_linear_workspace(dev, shape);
    case FDIT_OP_COLUMN_SUM: { /* one partial sum a block of rows */
        long long rows = (long long)shape->samples * shape->tokens;
        return floats((int)((rows + SUM_ROWS - 1) / SUM_ROWS), shape->n_out, 1);
    }
    case FDIT_OP_NORM_BACKWARD: /* two sums a sample */ return floats(shape->samples, shape->n_out, 2);
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD: return fdit_opencl_attention_floats(dev, shape) * sizeof(float);
    case FDIT_OP_SUM_SQUARES: return SUM_PARTS * sizeof(float);
    default: return fdit_opencl_picture_workspace(dev, shape);
    }
}

enum fdit_status fdit_opencl_reserve(fdit_context *ctx, fdit_device *dev, size_t bytes)
{
    struct opencl *cl = opencl_of(dev);
    enum fdit_status status = FDIT_OK;
    cl_float zero = 0;
    cl_int error;
    if (bytes <= cl->reserved)
        return FDIT_OK;
    bytes = (bytes + sizeof zero - 1) / sizeof zero * sizeof zero; /* no more: a plan has it to the byte */
    if (bytes > cl->max_buffer)
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "opencl, %s: %zu bytes of workspace are needed, one buffer may "
             "have %zu; use a smaller batch",
             cl->label, bytes, cl->max_buffer);
    if (cl->workspace)
        clReleaseMemObject(cl->workspace);
    cl->reserved = 0;
    cl->workspace = clCreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    TRY(fdit_opencl_status(ctx, cl, error, "clCreateBuffer", "the workspace"));
    TRY(fdit_opencl_status(
        ctx, cl, clEnqueueFillBuffer(cl->queue, cl->workspace, &zero, sizeof zero, 0, bytes, 0, NULL, NULL),
        "clEnqueueFillBuffer", "the workspace"));
    TRY(fdit_opencl_status(ctx, cl, clFinish(cl->queue), "clFinish", "the workspace"));
    cl->reserved = bytes;
out:
    return status;
}
