/* SPDX-License-Identifier: Apache-2.0
 * workspace.c: what ops need beside their tensors, asked of each file of ops and handed out to it. */
#include "cpu/cpu.h"

#include "cpu/linear.h"
#include "cpu/op_kernels.h"
#include "cpu/ops.h"

#include "core/mem.h"

static size_t attention_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape)
{
    const struct fdit_cpu_attention_kernels *kernels = cpu->attention;
    const int rows = shape->tokens > 0 ? shape->tokens : 1;
    size_t floats = shape->op == FDIT_OP_ATTENTION ? kernels->forward_floats(rows, shape->head_size)
                                                   : kernels->backward_floats(rows, shape->head_size);
    return (size_t)cpu->threads * sizeof(float) * fdit_page_floats(floats);
}

size_t fdit_cpu_op_workspace(const struct fdit_cpu *cpu, const struct fdit_op_shape *shape)
{
    switch (shape->op) {
    case FDIT_OP_LINEAR:
    case FDIT_OP_LINEAR_DX:
    case FDIT_OP_LINEAR_DW: return fdit_cpu_linear_workspace(cpu, shape);
    case FDIT_OP_COLUMN_SUM:
    case FDIT_OP_NORM_BACKWARD:
    case FDIT_OP_GATE_BACKWARD: return fdit_cpu_rows_workspace(shape);
    case FDIT_OP_ATTENTION:
    case FDIT_OP_ATTENTION_BACKWARD: return attention_workspace(cpu, shape);
    default: return fdit_cpu_picture_workspace(cpu, shape);
    }
}

float *fdit_cpu_scratch(fdit_device *dev, enum fdit_op op, size_t bytes)
{
    const struct fdit_cpu *cpu = fdit_cpu_of(dev);
    if (bytes <= cpu->workspace_bytes)
        return cpu->workspace;
    fdit_device_fail(dev, FDIT_ERROR_DEVICE, "%s needs %zu bytes of workspace, %zu are reserved",
                     fdit_op_name(op), bytes, cpu->workspace_bytes);
    return NULL;
}
