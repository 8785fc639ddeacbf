/* SPDX-License-Identifier: Apache-2.0
 * picture.c: calls of cl/picture.cl. */
#include "gemm.h"

enum { CONV_TILE = 64, MOMENT_ROWS = 128, PATCH_FLOATS = 4 << 20, PATCH_GROUP = 64 };

static size_t moment_chunks(int rows)
{
    return ((size_t)rows + MOMENT_ROWS - 1) / MOMENT_ROWS;
}

/* Patches of k numbers that are multiplied at once, of all `pixels`. */
static size_t patch_rows(size_t pixels, size_t k)
{
    size_t rows = PATCH_FLOATS / k;
    rows = rows < 64 ? 64 : rows;
    return rows < pixels ? rows : pixels;
}

static bool shape_by_patches(const fdit_device *dev, const struct fdit_op_shape *shape)
{
    return shape->groups < 2 && opencl_conv_by_patches(opencl_of(dev));
}

size_t fdit_opencl_picture_workspace(const fdit_device *dev, const struct fdit_op_shape *shape)
{
    size_t bytes = 2 * sizeof(float);
    if (shape->samples < 1 || shape->tokens < 1)
        return 0;
    if (shape->op == FDIT_OP_CONV && shape->n_in > 0 && shape->taps > 0 && shape_by_patches(dev, shape)) {
        const size_t k = (size_t)shape->taps * (size_t)shape->n_in;
        return patch_rows((size_t)shape->samples * (size_t)shape->tokens, k) * k * sizeof(float);
    }
    if (shape->op != FDIT_OP_GROUP_STATS || shape->n_out < 1)
        return 0;
    size_t chunks = moment_chunks(shape->tokens);
    if (chunks > SIZE_MAX / bytes / (size_t)shape->samples / (size_t)shape->n_out)
        return SIZE_MAX;
    return bytes * chunks * (size_t)shape->samples * (size_t)shape->n_out;
}

void fdit_opencl_conv_prepare(fdit_device *dev, const struct fdit_op_shape *shape)
{
    struct fdit_op_shape product = *shape;
    fdit_opencl_program_need(dev, PROGRAM_PICTURE);
    if (!shape_by_patches(dev, shape))
        return;
    product.op = FDIT_OP_LINEAR;
    product.n_in *= shape->taps;
    fdit_opencl_linear_prepare(dev, &product);
}

/* The picture and the windows, as all kernels of convolution take them. */
static void launch_windows(struct launch *l, const struct fdit_conv_args *a)
{
    fdit_launch_int(l, a->n_in);
    fdit_launch_int(l, a->height);
    fdit_launch_int(l, a->width);
    fdit_launch_int(l, a->out_height);
    fdit_launch_int(l, a->out_width);
    fdit_launch_int(l, a->kernel_y);
    fdit_launch_int(l, a->kernel_x);
    fdit_launch_int(l, a->top);
    fdit_launch_int(l, a->left);
    fdit_launch_int(l, a->stride_y);
    fdit_launch_int(l, a->stride_x);
}

/* Patches of output pixels from .. from + n-1 (over all samples) to the workspace, [n][taps n_in]. */
static void run_patches(fdit_device *dev, const struct fdit_conv_args *a, size_t from, size_t n)
{
    const size_t taps = (size_t)(a->kernel_y * a->kernel_x);
    struct launch l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_PATCHES);
    fdit_launch_memory(&l, opencl_of(dev)->workspace, 0);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_size(&l, from);
    launch_windows(&l, a);
    fdit_launch_uint(&l, BIT(a->upsample, CONV_UPSAMPLE));
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->n_in, taps * n }, (size_t[]){ PATCH_GROUP, 1 });
}

static void conv_by_patches(fdit_device *dev, const struct fdit_conv_args *a)
{
    size_t each = (size_t)a->out_height * (size_t)a->out_width, pixels = (size_t)a->samples * each;
    size_t k = (size_t)(a->kernel_y * a->kernel_x) * (size_t)a->n_in, n_out = (size_t)a->n_out;
    size_t block = patch_rows(pixels, k);
    struct fdit_buffer workspace = { .dev = dev, .handle = opencl_of(dev)->workspace };
    for (size_t from = 0; from < pixels && dev->status == FDIT_OK; from += block) {
        size_t n = pixels - from < block ? pixels - from : block;
        run_patches(dev, a, from, n);
        /* A sample of one pixel is a vector, alone and in a batch. */
        fdit_opencl_linear(dev, &(struct fdit_linear_args){
                                    .samples = each == 1 ? (int)n : 1,
                                    .tokens = each == 1 ? 1 : (int)n,
                                    .n_in = (int)k,
                                    .n_out = a->n_out,
                                    .y = fdit_at(a->y, from * n_out),
                                    .x = fdit_tensor_of(&workspace, FDIT_F32),
                                    .weight = a->weight,
                                    .bias = a->bias,
                                    .act = a->act,
                                    .residual = fdit_has(a->residual) ? fdit_at(a->residual, from * n_out)
                                                                      : FDIT_NO_TENSOR });
    }
}

void fdit_opencl_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    if (a->groups == 1 && opencl_conv_by_patches(opencl_of(dev))) {
        conv_by_patches(dev, a);
        return;
    }
    int m = a->samples * a->out_height * a->out_width;
    size_t columns = ((size_t)a->n_out + CONV_TILE - 1) / CONV_TILE;
    size_t rows = ((size_t)m + CONV_TILE - 1) / CONV_TILE;
    struct launch l =
        fdit_launch_begin(dev, PROGRAM_PICTURE, a->groups == 1 ? KERNEL_CONV : KERNEL_CONV_GROUPS);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_memory(&l, a->weight->handle, 0);
    fdit_launch_tensor(&l, a->bias);
    fdit_launch_tensor(&l, a->residual);
    fdit_launch_int(&l, m);
    fdit_launch_int(&l, a->n_out);
    launch_windows(&l, a);
    fdit_launch_uint(&l, BIT(fdit_has(a->bias), CONV_BIAS) | BIT(fdit_has(a->residual), CONV_RESIDUAL) |
                             BIT(a->upsample, CONV_UPSAMPLE) | (unsigned)a->act << CONV_ACT);
    if (a->groups == 1) {
        fdit_launch_run(&l, 2, (size_t[]){ columns * 16, rows * 16 }, (size_t[]){ 16, 16 });
        return;
    }
    fdit_launch_int(&l, a->groups);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->n_out, (size_t)m }, (size_t[]){ 64, 4 });
}

void fdit_opencl_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    size_t chunks = moment_chunks(a->pixels), samples = (size_t)a->samples;
    cl_mem partial = opencl_of(dev)->workspace;
    struct launch l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_CHANNEL_MOMENTS);
    fdit_launch_memory(&l, partial, 0);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_int(&l, a->pixels);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, (int)chunks);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->width, samples * chunks * 4 }, (size_t[]){ 64, 4 });
    l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_GROUP_STATS);
    fdit_launch_tensor(&l, a->stats);
    fdit_launch_memory(&l, partial, 0);
    fdit_launch_int(&l, a->samples * a->groups);
    fdit_launch_int(&l, a->groups);
    fdit_launch_int(&l, a->pixels);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, (int)chunks);
    fdit_launch_run(&l, 1, (size_t[]){ samples * (size_t)a->groups }, (size_t[]){ GROUP });
}

void fdit_opencl_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_GROUP_APPLY);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_tensor(&l, a->stats);
    fdit_launch_tensor(&l, a->weight);
    fdit_launch_tensor(&l, a->bias);
    fdit_launch_int(&l, a->samples * a->pixels);
    fdit_launch_int(&l, a->pixels);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, a->groups);
    fdit_launch_uint(&l, (unsigned)a->act);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->width, (size_t)a->samples * (size_t)a->pixels },
                    (size_t[]){ 64, 4 });
}

void fdit_opencl_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_SOFTMAX);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_int(&l, a->n);
    fdit_launch_float(&l, a->scale);
    fdit_launch_run(&l, 1, (size_t[]){ (size_t)a->m * GROUP }, (size_t[]){ GROUP });
}

void fdit_opencl_pooling(fdit_device *dev, const struct fdit_pooling_args *a)
{
    int out_h = fdit_pooling_size(a, a->height), out_w = fdit_pooling_size(a, a->width),
        m = a->samples * out_h * out_w;
    struct launch l = fdit_launch_begin(dev, PROGRAM_PICTURE, KERNEL_POOLING);
    fdit_launch_tensor(&l, a->y);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_int(&l, m);
    fdit_launch_int(&l, a->channels);
    fdit_launch_int(&l, a->height);
    fdit_launch_int(&l, a->width);
    fdit_launch_int(&l, out_h);
    fdit_launch_int(&l, out_w);
    fdit_launch_int(&l, a->kernel);
    fdit_launch_int(&l, a->stride);
    fdit_launch_int(&l, a->pad);
    fdit_launch_int(&l, (int)a->kind);
    fdit_launch_run(&l, 2, (size_t[]){ (size_t)a->channels, (size_t)m }, (size_t[]){ 64, 4 });
}
