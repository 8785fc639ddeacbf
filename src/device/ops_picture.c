/* SPDX-License-Identifier: Apache-2.0
 * ops_picture.c: the wrappers of the ops on pictures as rows of channels: conv, group norm,
 * softmax. See ops.c. */
#include "device/check.h"
#include "device/generic.h"

#include <math.h>

/* The last window of an axis may begin at the end of v, so that no place in v overflows. */
static bool check_windows(const struct fdit_call *call, const char *axis, int n, int stride, int first,
                          int size)
{
    long long last = (long long)(n - 1) * stride + first;
    if (last <= size)
        return true;
    return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the last %s of y looks at %s %lld of %d", axis, axis,
                          last, size);
}

static bool check_conv(const struct fdit_call *call, const struct fdit_conv_args *a)
{
    const fdit_weight *w = a->weight;
    const int up = a->upsample ? 2 : 1;
    if (a->n_in % a->groups || a->n_out % a->groups)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%d and %d channels cannot be cut into %d groups",
                              a->n_in, a->n_out, a->groups);
    if (!check_windows(call, "row", a->out_height, a->stride_y, a->top, up * a->height) ||
        !check_windows(call, "column", a->out_width, a->stride_x, a->left, up * a->width))
        return false;
    const size_t k = fdit_product(a->kernel_y, a->kernel_x, a->n_in / a->groups);
    if (!w)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the weight is missing");
    if (w->dev != call->dev)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the weight lies on another device, %s",
                              w->dev->ops->name);
    if (!w->desc.conv || w->desc.n_out != a->n_out || (size_t)w->desc.n_in != k ||
        (w->desc.groups ? w->desc.groups : 1) != a->groups)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT,
                              "the weight is %d x %d in %d groups%s, not %d x %zu in %d for a conv",
                              w->desc.n_out, w->desc.n_in, w->desc.groups ? w->desc.groups : 1,
                              w->desc.conv ? "" : " for a linear", a->n_out, k, a->groups);
    return true;
}

/* Elements of a picture of `rows` x `columns` a sample. */
static size_t picture(int samples, int rows, int columns, int channels)
{
    size_t pixels = fdit_product(samples, rows, columns);
    return pixels > SIZE_MAX / 2 ? SIZE_MAX : fdit_product((long long)pixels, channels, 1);
}

void fdit_conv(fdit_device *dev, const struct fdit_conv_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_RANGE("height", a->height, 1, INT_MAX / 4),
        FDIT_RANGE("width", a->width, 1, INT_MAX / 4),
        FDIT_SIZE("n_in", a->n_in),
        FDIT_SIZE("n_out", a->n_out),
        FDIT_RANGE("kernel_y", a->kernel_y, 1, INT_MAX / 4),
        FDIT_RANGE("kernel_x", a->kernel_x, 1, INT_MAX / 4),
        FDIT_SIZE("stride_y", a->stride_y),
        FDIT_SIZE("stride_x", a->stride_x),
        FDIT_SIZE("groups", a->groups),
        FDIT_SIZE("out_height", a->out_height),
        FDIT_SIZE("out_width", a->out_width),
        FDIT_RANGE("top", a->top, 1LL - a->kernel_y, 2LL * a->height),
        FDIT_RANGE("left", a->left, 1LL - a->kernel_x, 2LL * a->width),
        FDIT_RANGE("act", a->act, FDIT_ACT_NONE, FDIT_ACT_LAST),
    };
    const size_t out = picture(a->samples, a->out_height, a->out_width, a->n_out);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, out), "residual"),
        fdit_in("x", a->x, picture(a->samples, a->height, a->width, a->n_in)),
        fdit_optional(fdit_in("bias", a->bias, fdit_product(a->n_out, 1, 1))),
        fdit_optional(fdit_in("residual", a->residual, out)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_CONV, dims, operands);
    if (!fdit_call_check(&call) || !check_conv(&call, a) || !fdit_call_start(&call))
        return;
    (dev->ops->conv ? dev->ops->conv : fdit_generic_conv)(dev, a);
    fdit_call_end(&call, 2.0 * (double)out * a->kernel_y * a->kernel_x * (a->n_in / a->groups),
                  a->weight->bytes);
}

static bool check_groups(const struct fdit_call *call, int width, int groups)
{
    if (width % groups == 0)
        return true;
    return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%d channels cannot be cut into %d groups", width,
                          groups);
}

void fdit_group_stats(fdit_device *dev, const struct fdit_group_stats_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("pixels", a->pixels),
        FDIT_SIZE("width", a->width),
        FDIT_SIZE("groups", a->groups),
    };
    const struct fdit_operand operands[] = {
        fdit_out("stats", a->stats, fdit_product(a->samples, a->groups, 2)),
        fdit_in("x", a->x, fdit_product(a->samples, a->pixels, a->width)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_GROUP_STATS, dims, operands);
    if (!fdit_call_check(&call) || !check_groups(&call, a->width, a->groups) || !fdit_call_start(&call))
        return;
    (dev->ops->group_stats ? dev->ops->group_stats : fdit_generic_group_stats)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_group_apply(fdit_device *dev, const struct fdit_group_apply_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("pixels", a->pixels),
        FDIT_SIZE("width", a->width),
        FDIT_SIZE("groups", a->groups),
        FDIT_RANGE("act", a->act, FDIT_ACT_NONE, FDIT_ACT_LAST),
    };
    size_t all = fdit_product(a->samples, a->pixels, a->width), width = fdit_product(a->width, 1, 1);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, all), "x"),
        fdit_in("x", a->x, all),
        fdit_in("stats", a->stats, fdit_product(a->samples, a->groups, 2)),
        fdit_in("weight", a->weight, width),
        fdit_in("bias", a->bias, width),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_GROUP_APPLY, dims, operands);
    if (!fdit_call_check(&call) || !check_groups(&call, a->width, a->groups) || !fdit_call_start(&call))
        return;
    (dev->ops->group_apply ? dev->ops->group_apply : fdit_generic_group_apply)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_softmax(fdit_device *dev, const struct fdit_softmax_args *a)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("m", a->m), FDIT_SIZE("n", a->n) };
    size_t all = fdit_product(a->m, a->n, 1);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, all), "x"),
        fdit_in("x", a->x, all),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_SOFTMAX, dims, operands);
    if (!fdit_call_check(&call))
        return;
    if (!isfinite(a->scale)) {
        fdit_call_fail(&call, FDIT_ERROR_ARGUMENT, "scale is not finite");
        return;
    }
    if (!fdit_call_start(&call))
        return;
    (dev->ops->softmax ? dev->ops->softmax : fdit_generic_softmax)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_pooling(fdit_device *dev, const struct fdit_pooling_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("height", a->height),
        FDIT_SIZE("width", a->width),
        FDIT_SIZE("channels", a->channels),
        FDIT_SIZE("kernel", a->kernel),
        FDIT_SIZE("stride", a->stride),
        FDIT_RANGE("pad", a->pad, 0, a->kernel / 2),
        FDIT_RANGE("more", a->more, 0, (long long)a->kernel - 1 - a->pad),
        FDIT_RANGE("kind", a->kind, FDIT_POOLING_MAX, FDIT_POOLING_MEAN_ALL),
    };
    int out_h = a->stride < 1 ? 0 : fdit_pooling_size(a, a->height);
    int out_w = a->stride < 1 ? 0 : fdit_pooling_size(a, a->width);
    size_t in = fdit_product(a->samples, a->height, a->width), out = fdit_product(a->samples, out_h, out_w);
    const struct fdit_operand operands[] = {
        fdit_out("y", a->y, out > LLONG_MAX ? SIZE_MAX : fdit_product((long long)out, a->channels, 1)),
        fdit_in("x", a->x, in > LLONG_MAX ? SIZE_MAX : fdit_product((long long)in, a->channels, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_POOLING, dims, operands);
    if (!fdit_call_check(&call))
        return;
    if (!out) {
        fdit_call_fail(&call, FDIT_ERROR_ARGUMENT,
                       "a window of %d does not fit into %d x %d with a border of %d", a->kernel, a->height,
                       a->width, a->pad);
        return;
    }
    if (!fdit_call_start(&call))
        return;
    (dev->ops->pooling ? dev->ops->pooling : fdit_generic_pooling)(dev, a);
    fdit_call_end(&call, 0, 0);
}
