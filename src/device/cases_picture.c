/* SPDX-License-Identifier: Apache-2.0
 * cases_picture.c: calls of the ops on pictures as rows of channels. */
#include "device/case_parts.h"

/* samples, height, width, channels in and out; kernel, stride, border above and on the left; groups.
 * Upsampled where the variant is odd and stride 1. */
static const int convs[N_SHAPES + 1][12] = {
    { 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1 },      { 2, 3, 5, 3, 7, 3, 3, 1, 1, 1, 1, 1 },
    { 1, 4, 6, 5, 4, 3, 3, 2, 2, 0, 0, 1 },      { 1, 5, 3, 9, 18, 3, 5, 1, 1, 1, 2, 9 },
    { 1, 8, 8, 16, 33, 1, 7, 1, 1, 0, 3, 1 },    { 1, 7, 5, 72, 40, 5, 5, 1, 1, 2, 2, 1 },
    { 2, 16, 16, 64, 64, 3, 3, 2, 1, 1, 0, 64 }, { 1, 23, 27, 31, 67, 11, 7, 4, 3, 2, 3, 1 },
    { 2, 2, 3, 2, 4, 3, 3, 1, 1, 1, 1, 2 },
};

void fdit_case_conv(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    static const enum fdit_act acts[] = { FDIT_ACT_NONE, FDIT_ACT_RELU, FDIT_ACT_SILU };
    const int *s = convs[shape_at(variant)];
    const bool upsample = variant % 2 && s[7] == 1 && s[8] == 1;
    const int up = upsample ? 2 : 1, taps = s[5] * s[6], k = taps * s[3] / s[11];
    const int height = (up * s[1] + 2 * s[9] - s[5]) / s[7] + 1,
              width = (up * s[2] + 2 * s[10] - s[6]) / s[8] + 1;
    const size_t y = (size_t)s[0] * (size_t)height * (size_t)width * (size_t)s[4];
    fdit_probe_begin(p, on->ctx, FDIT_OP_CONV, "%dx%dx%dx%d to %d, %dx%d stride %dx%d, %d groups%s", s[0],
                     s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[11], upsample ? ", upsampled" : "");
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_CONV,
                                       .samples = s[0],
                                       .tokens = height * width,
                                       .taps = taps,
                                       .groups = s[11],
                                       .n_in = s[3],
                                       .n_out = s[4] };
    p->args.conv = (struct fdit_conv_args){ .samples = s[0],
                                            .height = s[1],
                                            .width = s[2],
                                            .n_in = s[3],
                                            .n_out = s[4],
                                            .kernel_y = s[5],
                                            .kernel_x = s[6],
                                            .stride_y = s[7],
                                            .stride_x = s[8],
                                            .groups = s[11],
                                            .out_height = height,
                                            .out_width = width,
                                            .top = -s[9],
                                            .left = -s[10],
                                            .upsample = upsample,
                                            .act = acts[variant % 3] };
    SIZES(p, SIZE(conv, samples), SIZE(conv, height), SIZE(conv, width), SIZE(conv, n_in), SIZE(conv, n_out),
          SIZE(conv, kernel_y), SIZE(conv, kernel_x), SIZE(conv, stride_y), SIZE(conv, stride_x),
          SIZE(conv, groups), SIZE(conv, out_height), SIZE(conv, out_width));
    p->per_sample = true;
    fdit_probe_in(p, AT(conv, x), "x", (size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[3]);
    optional(shared(fdit_probe_in(p, AT(conv, bias), "bias", (size_t)s[4])));
    optional(fdit_probe_in(p, AT(conv, residual), "residual", y));
    may_be(fdit_probe_out(p, AT(conv, y), "y", y), "residual");
    fdit_probe_weight(p, AT(conv, weight), s[4], k, FDIT_F32);
    p->desc.conv = true;
    p->desc.groups = s[11];
}

/* samples, pixels, width, groups */
static const int groups[N_SHAPES + 1][4] = {
    { 1, 1, 2, 1 },    { 2, 5, 6, 3 },       { 1, 9, 32, 32 },   { 1, 33, 64, 4 }, { 2, 64, 96, 32 },
    { 1, 257, 72, 8 }, { 1, 1024, 128, 32 }, { 1, 63, 512, 32 }, { 2, 3, 4, 2 },
};

void fdit_case_group_stats(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = groups[shape_at(variant)];
    fdit_probe_begin(p, on->ctx, FDIT_OP_GROUP_STATS, "%dx%dx%d in %d", s[0], s[1], s[2], s[3]);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GROUP_STATS, .samples = s[0], .tokens = s[1], .n_out = s[2] };
    p->allowed = 1e-10;
    p->args.group_stats =
        (struct fdit_group_stats_args){ .samples = s[0], .pixels = s[1], .width = s[2], .groups = s[3] };
    SIZES(p, SIZE(group_stats, samples), SIZE(group_stats, pixels), SIZE(group_stats, width),
          SIZE(group_stats, groups));
    p->per_sample = true;
    fdit_probe_in(p, AT(group_stats, x), "x", (size_t)s[0] * (size_t)s[1] * (size_t)s[2]);
    fdit_probe_out(p, AT(group_stats, stats), "stats", 2 * (size_t)s[0] * (size_t)s[3]);
}

void fdit_case_group_apply(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    const int *s = groups[shape_at(variant)];
    size_t n = (size_t)s[0] * (size_t)s[1] * (size_t)s[2];
    fdit_probe_begin(p, on->ctx, FDIT_OP_GROUP_APPLY, "%dx%dx%d in %d", s[0], s[1], s[2], s[3]);
    p->shape =
        (struct fdit_op_shape){ .op = FDIT_OP_GROUP_APPLY, .samples = s[0], .tokens = s[1], .n_out = s[2] };
    p->args.group_apply = (struct fdit_group_apply_args){
        .samples = s[0], .pixels = s[1], .width = s[2], .groups = s[3], .act = FDIT_ACT_SILU
    };
    SIZES(p, SIZE(group_apply, samples), SIZE(group_apply, pixels), SIZE(group_apply, width),
          SIZE(group_apply, groups));
    p->per_sample = true;
    fdit_probe_in(p, AT(group_apply, x), "x", n);
    make_positive(fdit_probe_in(p, AT(group_apply, stats), "stats", 2 * (size_t)s[0] * (size_t)s[3]));
    shared(fdit_probe_in(p, AT(group_apply, weight), "weight", (size_t)s[2]));
    shared(fdit_probe_in(p, AT(group_apply, bias), "bias", (size_t)s[2]));
    may_be(fdit_probe_out(p, AT(group_apply, y), "y", n), "x");
}

void fdit_case_pooling(struct fdit_probe *p, const struct fdit_case_on *on, int variant)
{
    /* samples, height, width, channels, kernel, stride, pad, more */
    static const int pools[N_SHAPES + 1][8] = {
        { 1, 1, 1, 1, 1, 1, 0, 0 },    { 2, 5, 4, 3, 3, 2, 0, 1 },   { 1, 6, 7, 17, 3, 1, 1, 0 },
        { 3, 5, 5, 9, 2, 2, 1, 0 },    { 1, 8, 8, 64, 8, 1, 0, 0 },  { 2, 9, 4, 40, 4, 3, 2, 1 },
        { 1, 17, 13, 72, 3, 2, 1, 0 }, { 1, 4, 4, 257, 5, 5, 2, 2 }, { 2, 4, 5, 3, 3, 2, 1, 1 },
    };
    static const char *const kinds[] = { "max", "mean", "mean of all" };
    const int *s = pools[shape_at(variant)];
    const enum fdit_pooling_kind kind =
        (enum fdit_pooling_kind)(variant == FDIT_CASE_ALL ? 0 : variant / N_SHAPES % 3);
    fdit_probe_begin(p, on->ctx, FDIT_OP_POOLING, "%dx%dx%dx%d window %d stride %d pad %d+%d %s", s[0], s[1],
                     s[2], s[3], s[4], s[5], s[6], s[7], kinds[kind]);
    p->args.pooling = (struct fdit_pooling_args){ .samples = s[0],
                                                  .height = s[1],
                                                  .width = s[2],
                                                  .channels = s[3],
                                                  .kernel = s[4],
                                                  .stride = s[5],
                                                  .pad = s[6],
                                                  .more = s[7],
                                                  .kind = kind };
    SIZES(p, SIZE(pooling, samples), SIZE(pooling, height), SIZE(pooling, width), SIZE(pooling, channels),
          SIZE(pooling, kernel));
    p->per_sample = true;
    p->shape = (struct fdit_op_shape){ .op = FDIT_OP_POOLING, .samples = s[0], .n_out = s[3] };
    size_t y =
        (size_t)fdit_pooling_size(&p->args.pooling, s[1]) * (size_t)fdit_pooling_size(&p->args.pooling, s[2]);
    fdit_probe_in(p, AT(pooling, x), "x", (size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[3]);
    fdit_probe_out(p, AT(pooling, y), "y", (size_t)s[0] * y * (size_t)s[3]);
}
