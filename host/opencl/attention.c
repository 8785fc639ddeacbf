/* SPDX-License-Identifier: Apache-2.0
 * attention.c: calls of cl/attention.cl, in the smallest build that holds the head size. */
#include "state.h"

#include <math.h>

static int build_for(fdit_device *dev, int head_size)
{
    for (int i = 0; i < HEADS; i++)
        if (head_size <= attention_heads[i])
            return i;
    fdit_device_fail(dev, FDIT_ERROR_UNSUPPORTED, "head size %d: at most %d", head_size,
                     attention_heads[HEADS - 1]);
    return 0;
}

void opencl_attention_programs(fdit_device *dev, int head_size, bool backward)
{
    int first = backward ? PROGRAM_ATTENTION_BACKWARD_32 : PROGRAM_ATTENTION_32;
    opencl_program_need(dev, (enum program)(first + build_for(dev, head_size)));
}

static void run_groups(struct launch *l, int samples, int rows, int heads, int rows_a_group)
{
    size_t groups = ((size_t)rows + (size_t)rows_a_group - 1) / (size_t)rows_a_group;
    launch_run(l, 3, (size_t[]){ groups * GROUP, (size_t)heads, (size_t)samples },
               (size_t[]){ GROUP, 1, 1 });
}

void opencl_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    int build = build_for(dev, a->head_size);
    struct launch l =
        launch_begin(dev, (enum program)(PROGRAM_ATTENTION_32 + build), KERNEL_ATTENTION);
    launch_tensor(&l, a->out);
    launch_tensor(&l, a->lse);
    launch_tensor(&l, a->qkv);
    launch_int(&l, a->rows);
    launch_int(&l, a->heads);
    launch_int(&l, a->head_size);
    launch_float(&l, (float)(1 / sqrt((double)a->head_size)));
    launch_int(&l, fdit_has(a->lse));
    run_groups(&l, a->samples, a->rows, a->heads, attention_rows[build]);
}

void opencl_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    int build = build_for(dev, a->head_size);
    enum program program = (enum program)(PROGRAM_ATTENTION_BACKWARD_32 + build);
    cl_mem delta = opencl_of(dev)->workspace;
    struct launch l = launch_begin(dev, program, KERNEL_ATTENTION_DELTA);
    launch_memory(&l, delta, 0);
    launch_tensor(&l, a->dout);
    launch_tensor(&l, a->out);
    launch_int(&l, a->rows);
    launch_int(&l, a->heads);
    launch_int(&l, a->head_size);
    launch_run(&l, 3, (size_t[]){ (size_t)a->rows, (size_t)a->heads, (size_t)a->samples },
               (size_t[]){ GROUP, 1, 1 });
    for (int kernel = KERNEL_ATTENTION_DQ; kernel <= KERNEL_ATTENTION_DKV; kernel++) {
        l = launch_begin(dev, program, kernel);
        launch_tensor(&l, a->dqkv);
        launch_tensor(&l, a->dout);
        launch_tensor(&l, a->qkv);
        launch_tensor(&l, a->lse);
        launch_memory(&l, delta, 0);
        launch_int(&l, a->rows);
        launch_int(&l, a->heads);
        launch_int(&l, a->head_size);
        launch_float(&l, (float)(1 / sqrt((double)a->head_size)));
        run_groups(&l, a->samples, a->rows, a->heads, attention_backward_rows[build]);
    }
}
