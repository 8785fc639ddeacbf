/* SPDX-License-Identifier: Apache-2.0
 * Cases of test_ops for the ops on pictures as rows of channels. */
#include "op_case.h"
#include "ops_picture.h"

#include <math.h>
#include <stddef.h>

#define AT(args, field) offsetof(struct fdit_##args##_args, field)

static size_t mul(int a, int b)
{
    return (size_t)a * (size_t)b;
}

/* ------------------------------------------------------------------ conv */

enum residual { RESIDUAL_NONE, RESIDUAL_OWN, RESIDUAL_IN_PLACE };
struct conv_form {
    int samples, height, width, n_in, n_out;
    int stride;
    bool upsample;
    int first, out_height; /* out_height 0: all of the picture */
    bool bias;
    enum residual residual;
};
static const struct conv_form conv_forms[] = {
    { 1, 1, 1, 1, 1, 1, false, -1, 0, false, RESIDUAL_NONE },
    { 2, 3, 5, 3, 7, 1, false, -1, 0, true, RESIDUAL_OWN },
    { 1, 8, 8, 16, 33, 1, false, -1, 0, true, RESIDUAL_IN_PLACE },
    { 3, 4, 6, 5, 4, 2, false, 0, 0, true, RESIDUAL_NONE },
    { 1, 7, 5, 9, 17, 2, false, 0, 3, false, RESIDUAL_OWN },
    { 2, 3, 4, 6, 8, 1, true, -1, 0, true, RESIDUAL_NONE },
    { 1, 5, 2, 72, 40, 1, true, -1, 0, true, RESIDUAL_IN_PLACE },
    { 1, 17, 13, 31, 67, 1, false, -1, 0, true, RESIDUAL_OWN },
    { 1, 16, 16, 255, 3, 1, false, -1, 0, true, RESIDUAL_NONE },
    { 1, 3, 9, 257, 64, 1, false, -1, 0, false, RESIDUAL_NONE },
    /* bands: rows 2.. of a picture whose rows 1.. are here, up to the last but one, and to the end
     */
    { 1, 6, 5, 4, 6, 1, false, 0, 3, true, RESIDUAL_OWN },
    { 2, 6, 5, 4, 6, 1, false, 1, 5, true, RESIDUAL_NONE },
    { 1, 6, 5, 4, 6, 1, true, 1, 8, true, RESIDUAL_NONE },
    { 1, 6, 4, 4, 6, 2, false, 2, 2, true, RESIDUAL_NONE },
    { 1, 4, 4, 3, 6, 2, true, 0, 0, true, RESIDUAL_NONE },
};

static struct op_case *conv_case(struct conv_form f)
{
    int up = f.upsample ? 2 : 1;
    int out_w = up * f.width / f.stride;
    int left = f.stride == 1 ? -1 : 0;
    int out_h = f.out_height ? f.out_height : up * f.height / f.stride;
    struct op_case *c =
        case_new(FDIT_OP_CONV, "%dx%dx%dx%d to %d, stride %d%s, %d rows from %d%s, residual %d", f.samples,
                 f.height, f.width, f.n_in, f.n_out, f.stride, f.upsample ? ", upsampled" : "", out_h,
                 f.first, f.bias ? ", bias" : "", f.residual);
    c->p.args.conv = (struct fdit_conv_args){ .samples = f.samples,
                                              .height = f.height,
                                              .width = f.width,
                                              .n_in = f.n_in,
                                              .n_out = f.n_out,
                                              .out_height = out_h,
                                              .out_width = out_w,
                                              .kernel_y = 3,
                                              .kernel_x = 3,
                                              .groups = 1,
                                              .top = f.first,
                                              .left = left,
                                              .stride_y = f.stride,
                                              .stride_x = f.stride,
                                              .upsample = f.upsample };
    c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_CONV,
                                         .samples = f.samples,
                                         .tokens = out_h * out_w,
                                         .taps = 9,
                                         .n_in = f.n_in,
                                         .n_out = f.n_out };
    c->p.per_sample = true;
    size_t y = mul(out_h, out_w) * (size_t)f.n_out;
    case_in(c, AT(conv, x), "x", mul(f.height, f.width) * (size_t)f.n_in, f.samples);
    if (f.residual == RESIDUAL_IN_PLACE)
        case_inout(c, AT(conv, y), "y", y, f.samples)->alias = AT(conv, residual);
    else
        case_out(c, AT(conv, y), "y", y, f.samples);
    case_weight(c, AT(conv, weight), f.n_out, 9 * f.n_in, 1 / sqrtf(9 * (float)f.n_in));
    if (f.bias)
        case_in(c, AT(conv, bias), "bias", (size_t)f.n_out, 0);
    if (f.residual == RESIDUAL_OWN)
        case_in(c, AT(conv, residual), "residual", y, f.samples);
    c->no_poison = mul(f.n_in, f.n_out) * mul(f.height, f.width) > 20000;
    return c;
}

START_TEST(conv)
{
    for (size_t i = 0; i < sizeof conv_forms / sizeof *conv_forms; i++)
        case_check(conv_case(conv_forms[i]));
}
END_TEST

enum { H = 9, W = 7, C = 6, N = 10, OUT_H = 2 * H, OUT_W = 2 * W };

/* The `count` rows of `a`'s picture from `row` on, computed of the rows of x that they see. */
static void convolve_band(fdit_device *dev, const struct fdit_conv_args *a, int row, int count)
{
    struct fdit_conv_args b = *a;
    int above = row > 0 ? (row - 1) / 2 : 0; /* the first row of x that it sees */
    int below = (row + count) / 2;           /* the last */
    b.out_height = count;
    b.height = (below < H ? below + 1 : H) - above;
    b.top = row - 1 - 2 * above;
    b.x = fdit_at(a->x, (size_t)(above * W * C));
    b.y = fdit_at(a->y, (size_t)(row * OUT_W * N));
    fdit_conv(dev, &b);
}

/* A picture in bands is the same bits as the whole of it. */
START_TEST(conv_bands)
{
    fdit_device *dev = op_devices.main;
    fdit_context *ctx = op_devices.ctx;
    float x[H * W * C], w[N * 9 * C], whole[OUT_H * OUT_W * N], band[OUT_H * OUT_W * N];
    struct test_rng rng = test_rng_new("bands");
    fdit_buffer *from = NULL, *to = NULL;
    fdit_weight *weight = NULL;
    test_fill_normal(&rng, x, H * W * C, 0, 1);
    test_fill_normal(&rng, w, N * 9 * C, 0, 0.1f);
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, sizeof x, "x", &from));
    ck_assert_ok(ctx, fdit_buffer_new(ctx, dev, sizeof whole, "y", &to));
    ck_assert_ok(ctx, fdit_weight_new(ctx, dev,
                                      &(struct fdit_weight_desc){
                                          .n_out = N, .n_in = 9 * C, .storage = FDIT_F32, .conv = true },
                                      w, &weight));
    size_t bytes = fdit_device_workspace(
        dev,
        &(struct fdit_op_shape){
            .op = FDIT_OP_CONV, .samples = 1, .tokens = OUT_H * OUT_W, .taps = 9, .n_in = C, .n_out = N },
        1);
    ck_assert_ok(ctx, fdit_device_reserve(ctx, dev, bytes));
    struct fdit_conv_args a = { .samples = 1,
                                .height = H,
                                .width = W,
                                .n_in = C,
                                .n_out = N,
                                .out_height = OUT_H,
                                .out_width = OUT_W,
                                .kernel_y = 3,
                                .kernel_x = 3,
                                .groups = 1,
                                .top = -1,
                                .left = -1,
                                .stride_y = 1,
                                .stride_x = 1,
                                .upsample = true,
                                .y = fdit_tensor_of(to, FDIT_F32),
                                .x = fdit_tensor_of(from, FDIT_F32),
                                .weight = weight };
    fdit_write(dev, a.x, x, H * W * C);
    fdit_conv(dev, &a);
    ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, whole, OUT_H * OUT_W * N));
    fdit_fill(dev, a.y, OUT_H * OUT_W * N, 0);
    for (int row = 0; row < OUT_H; row += 5)
        convolve_band(dev, &a, row, row + 5 < OUT_H ? 5 : OUT_H - row);
    ck_assert_ok(ctx, fdit_read(ctx, dev, a.y, band, OUT_H * OUT_W * N));
    ck_assert_uint_eq(test_first_difference(band, whole, OUT_H * OUT_W * N, sizeof *band), OUT_H * OUT_W * N);
    fdit_weight_free(weight);
    fdit_buffer_free(from);
    fdit_buffer_free(to);
}
END_TEST

/* ------------------------------------------------------------------ groups, softmax */

struct group_form {
    int samples, rows, width, groups;
    float mean;
};
static const struct group_form group_forms[] = {
    { 1, 1, 1, 1, 0 },     { 2, 3, 6, 2, 0 },     { 1, 130, 72, 8, 0 },   { 3, 17, 33, 3, 5 },
    { 1, 257, 64, 32, 0 }, { 2, 300, 20, 1, 30 }, { 1, 64, 512, 32, -2 }, { 1, 1000, 7, 7, 100 },
};
enum { N_GROUP_FORMS = sizeof group_forms / sizeof *group_forms };

static struct op_case *group_case(enum fdit_op op, struct group_form f, const char *more)
{
    struct op_case *c = case_new(op, "%dx%dx%d in %d groups, mean %g%s", f.samples, f.rows, f.width, f.groups,
                                 (double)f.mean, more);
    c->p.shape = (struct fdit_op_shape){ .op = op, .samples = f.samples, .tokens = f.rows, .n_out = f.width };
    c->p.per_sample = true;
    c->no_poison = mul(f.rows, f.width) > 5000;
    return c;
}

START_TEST(group_stats)
{
    for (int i = 0; i < N_GROUP_FORMS; i++) {
        struct group_form f = group_forms[i];
        struct op_case *c = group_case(FDIT_OP_GROUP_STATS, f, "");
        c->p.args.group_stats = (struct fdit_group_stats_args){
            .samples = f.samples, .pixels = f.rows, .width = f.width, .groups = f.groups
        };
        struct fdit_probe_slot *x = case_in(c, AT(group_stats, x), "x", mul(f.rows, f.width), f.samples);
        test_fill_normal(&c->rng, x->data, x->n, f.mean, 1);
        case_out(c, AT(group_stats, stats), "stats", mul(f.groups, 2), f.samples);
        if (f.rows * (f.width / f.groups) == 1)
            c->no_poison = true; /* 1 / sqrt(0 + 1e-6), or no number at all */
        case_check(c);
    }
}
END_TEST

START_TEST(group_apply)
{
    for (int i = 0; i < N_GROUP_FORMS; i++)
        for (int act = FDIT_ACT_NONE; act <= FDIT_ACT_LAST; act++) {
            struct group_form f = group_forms[i];
            bool in_place = (i + act) % 2;
            struct op_case *c = group_case(FDIT_OP_GROUP_APPLY, f, in_place ? ", in place" : "");
            c->p.args.group_apply = (struct fdit_group_apply_args){ .samples = f.samples,
                                                                    .pixels = f.rows,
                                                                    .width = f.width,
                                                                    .groups = f.groups,
                                                                    .act = (enum fdit_act)act };
            size_t all = mul(f.rows, f.width);
            if (in_place) {
                case_inout(c, AT(group_apply, y), "y", all, f.samples)->alias = AT(group_apply, x);
            } else {
                case_in(c, AT(group_apply, x), "x", all, f.samples);
                case_out(c, AT(group_apply, y), "y", all, f.samples);
            }
            case_in(c, AT(group_apply, stats), "stats", mul(f.groups, 2), f.samples);
            case_in(c, AT(group_apply, weight), "weight", (size_t)f.width, 0);
            case_in(c, AT(group_apply, bias), "bias", (size_t)f.width, 0);
            c->has_limits = act != FDIT_ACT_NONE;
            case_check(c);
        }
}
END_TEST

START_TEST(softmax)
{
    static const int shapes[][2] = { { 1, 1 }, { 3, 7 }, { 2, 255 }, { 5, 64 }, { 4, 257 }, { 1, 4096 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int in_place = 0; in_place < 2; in_place++) {
            int m = shapes[i][0], n = shapes[i][1];
            struct op_case *c = case_new(FDIT_OP_SOFTMAX, "%dx%d%s", m, n, in_place ? ", in place" : "");
            c->p.args.softmax = (struct fdit_softmax_args){ .m = m, .n = n, .scale = i % 2 ? 30 : -0.125f };
            c->p.shape =
                (struct fdit_op_shape){ .op = FDIT_OP_SOFTMAX, .samples = 1, .tokens = m, .n_out = n };
            if (in_place) {
                case_inout(c, AT(softmax, y), "y", mul(m, n), 1)->alias = AT(softmax, x);
            } else {
                case_in(c, AT(softmax, x), "x", mul(m, n), 1);
                case_out(c, AT(softmax, y), "y", mul(m, n), 1);
            }
            c->has_limits = true;
            c->no_poison = n > 1000;
            case_check(c);
        }
}
END_TEST

void ops_picture_add(Suite *suite)
{
    const struct {
        const char *name;
        const TTest *tests[2];
    } cases[] = {
        { "conv", { conv, conv_bands } },
        { "group_stats", { group_stats, NULL } },
        { "group_apply", { group_apply, NULL } },
        { "softmax", { softmax, NULL } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TCase *tcase = tcase_create(cases[i].name);
        for (int k = 0; k < 2 && cases[i].tests[k]; k++)
            tcase_add_test(tcase, cases[i].tests[k]);
        suite_add_tcase(suite, tcase);
    }
}
