/* SPDX-License-Identifier: Apache-2.0
 * picture.c: calls of cl/picture.cl. */
#include "state.h"

enum { CONV_BIAS = 1, CONV_RESIDUAL = 2, CONV_UPSAMPLE = 4 };
enum { CONV_TILE = 64, MOMENT_ROWS = 128 };

static size_t moment_chunks(int rows)
{
    return ((size_t)rows + MOMENT_ROWS - 1) / MOMENT_ROWS;
}

size_t opencl_picture_workspace(const struct fdit_op_shape *shape)
{
    size_t bytes = 2 * sizeof(float);
    if (shape->op != FDIT_OP_GROUP_STATS || shape->samples < 1 || shape->rows < 1 ||
        shape->n_out < 1)
        return 0;
    size_t chunks = moment_chunks(shape->rows);
    if (chunks > SIZE_MAX / bytes / (size_t)shape->samples / (size_t)shape->n_out)
        return SIZE_MAX;
    return bytes * chunks * (size_t)shape->samples * (size_t)shape->n_out;
}

void opencl_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    int out_w = fdit_conv_width(a), m = a->samples * a->out_height * out_w;
    size_t columns = ((size_t)a->n_out + CONV_TILE - 1) / CONV_TILE;
    size_t rows = ((size_t)m + CONV_TILE - 1) / CONV_TILE;
    struct launch l = launch_begin(dev, PROGRAM_PICTURE, KERNEL_CONV);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_memory(&l, a->weight->handle, 0);
    launch_tensor(&l, a->bias);
    launch_tensor(&l, a->residual);
    launch_int(&l, m);
    launch_int(&l, a->n_out);
    launch_int(&l, a->n_in);
    launch_int(&l, a->height);
    launch_int(&l, a->width);
    launch_int(&l, a->out_height);
    launch_int(&l, out_w);
    launch_int(&l, a->first);
    launch_int(&l, a->stride);
    launch_uint(&l, (fdit_has(a->bias) ? CONV_BIAS : 0u) |
                        (fdit_has(a->residual) ? CONV_RESIDUAL : 0u) |
                        (a->upsample ? CONV_UPSAMPLE : 0u));
    launch_run(&l, 2, (size_t[]){ columns * 16, rows * 16 }, (size_t[]){ 16, 16 });
}

void opencl_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    size_t chunks = moment_chunks(a->rows), samples = (size_t)a->samples;
    cl_mem partial = opencl_of(dev)->workspace;
    struct launch l = launch_begin(dev, PROGRAM_PICTURE, KERNEL_CHANNEL_MOMENTS);
    launch_memory(&l, partial, 0);
    launch_tensor(&l, a->x);
    launch_int(&l, a->rows);
    launch_int(&l, a->width);
    launch_int(&l, (int)chunks);
    launch_run(&l, 2, (size_t[]){ (size_t)a->width, samples * chunks * 4 }, (size_t[]){ 64, 4 });
    l = launch_begin(dev, PROGRAM_PICTURE, KERNEL_GROUP_STATS);
    launch_tensor(&l, a->stats);
    launch_memory(&l, partial, 0);
    launch_int(&l, a->samples * a->groups);
    launch_int(&l, a->groups);
    launch_int(&l, a->rows);
    launch_int(&l, a->width);
    launch_int(&l, (int)chunks);
    launch_run(&l, 1, (size_t[]){ samples * (size_t)a->groups }, (size_t[]){ GROUP });
}

void opencl_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_PICTURE, KERNEL_GROUP_APPLY);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_tensor(&l, a->stats);
    launch_tensor(&l, a->weight);
    launch_tensor(&l, a->bias);
    launch_int(&l, a->samples * a->rows);
    launch_int(&l, a->rows);
    launch_int(&l, a->width);
    launch_int(&l, a->groups);
    launch_uint(&l, (unsigned)a->act);
    launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples * (size_t)a->rows },
               (size_t[]){ 64, 4 });
}

void opencl_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_PICTURE, KERNEL_SOFTMAX);
    launch_tensor(&l, a->y);
    launch_tensor(&l, a->x);
    launch_int(&l, a->n);
    launch_float(&l, a->scale);
    launch_run(&l, 1, (size_t[]){ (size_t)a->m * GROUP }, (size_t[]){ GROUP });
}
