/* SPDX-License-Identifier: Apache-2.0
 * Cases of test_ops for the ops that work element by element or row by row. */
#include "op_case.h"
#include "ops_pointwise.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define AT(args, field) offsetof(struct fdit_##args##_args, field)

static size_t mul(int a, int b)
{
    return (size_t)a * (size_t)b;
}

static struct fdit_op_shape shape_of(enum fdit_op op, int samples, int rows, int n_in, int n_out)
{
    return (struct fdit_op_shape){ .op = op,
                                   .samples = samples,
                                   .tokens = rows,
                                   .n_in = n_in,
                                   .n_out = n_out,
                                   .n = mul(samples, rows) * (size_t)n_out };
}

struct row_shape {
    int samples, rows, width;
};
static const struct row_shape row_shapes[] = {
    { 1, 1, 1 },   { 2, 3, 7 },    { 1, 17, 72 },   { 3, 2, 255 },
    { 2, 5, 256 }, { 1, 33, 257 }, { 2, 16, 1152 }, { 3, 1, 24 },
};
enum { N_ROW_SHAPES = sizeof row_shapes / sizeof *row_shapes };

/* ------------------------------------------------------------------ element-wise */

START_TEST(gate)
{
    for (int i = 0; i < N_ROW_SHAPES; i++)
        for (int residual = 0; residual < 3; residual++) {
            struct row_shape s = row_shapes[i];
            int stride = s.width + 3;
            size_t md = mul(s.rows, s.width);
            struct op_case *c =
                case_new(FDIT_OP_GATE, "%dx%dx%d residual %d", s.samples, s.rows, s.width, residual);
            c->p.args.gate = (struct fdit_gate_args){
                .samples = s.samples, .tokens = s.rows, .width = s.width, .gate_stride = stride
            };
            c->p.shape = shape_of(FDIT_OP_GATE, s.samples, s.rows, 0, s.width);
            c->p.per_sample = true;
            case_in(c, AT(gate, branch), "branch", md, s.samples);
            case_in_strided(c, AT(gate, gate), "gate", (size_t)s.width, s.samples, stride);
            if (residual == 2)
                case_inout(c, AT(gate, y), "y", md, s.samples)->alias = AT(gate, residual);
            else
                case_out(c, AT(gate, y), "y", md, s.samples);
            if (residual == 1)
                case_in(c, AT(gate, residual), "residual", md, s.samples);
            c->no_poison = i != 1;
            case_check(c);
        }
}
END_TEST

START_TEST(gate_backward)
{
    for (int i = 0; i < N_ROW_SHAPES + 1; i++)
        for (int form = 0; form < 5; form++) { /* both, dgate, dbranch, both in place, dbranch in place */
            struct row_shape s = i < N_ROW_SHAPES ? row_shapes[i] : (struct row_shape){ 2, 257, 31 };
            int stride = s.width + 3, dstride = 6 * s.width;
            size_t md = mul(s.rows, s.width);
            struct op_case *c =
                case_new(FDIT_OP_GATE_BACKWARD, "%dx%dx%d form %d", s.samples, s.rows, s.width, form);
            c->p.args.gate_backward = (struct fdit_gate_backward_args){
                .samples = s.samples,
                .tokens = s.rows,
                .width = s.width,
                .dgate_stride = form == 2 || form == 4 ? 0 : dstride,
                .gate_stride = stride,
            };
            c->p.shape = shape_of(FDIT_OP_GATE_BACKWARD, s.samples, s.rows, 0, s.width);
            c->p.per_sample = true;
            case_in(c, AT(gate_backward, dy), "dy", md, s.samples);
            case_in_strided(c, AT(gate_backward, gate), "gate", (size_t)s.width, s.samples, stride);
            if (form >= 3)
                case_inout(c, AT(gate_backward, dbranch), "dbranch", md, s.samples)->alias =
                    AT(gate_backward, branch);
            else
                case_in(c, AT(gate_backward, branch), "branch", md, s.samples);
            if (form == 0 || form == 2)
                case_out(c, AT(gate_backward, dbranch), "dbranch", md, s.samples);
            if (form == 0 || form == 1 || form == 3)
                case_out_strided(c, AT(gate_backward, dgate), "dgate", (size_t)s.width, s.samples, dstride);
            c->no_poison = i != 1;
            case_check(c);
        }
}
END_TEST

static const size_t lengths[] = { 1, 7, 16, 255, 256, 257, 1152, 70001 };
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

START_TEST(activation)
{
    for (int i = 0; i < N_LENGTHS; i++)
        for (int act = FDIT_ACT_GELU_TANH; act <= FDIT_ACT_LAST; act++)
            for (int in_place = 0; in_place < 2; in_place++) {
                size_t n = lengths[i];
                struct op_case *c =
                    case_new(FDIT_OP_ACTIVATION, "%zu act %d%s", n, act, in_place ? ", in place" : "");
                c->p.args.activation = (struct fdit_activation_args){ .n = n, .act = (enum fdit_act)act };
                c->p.shape.n = n;
                struct fdit_probe_slot *x;
                if (in_place) {
                    x = case_inout(c, AT(activation, y), "y", n, 0);
                    x->alias = AT(activation, x);
                } else {
                    x = case_in(c, AT(activation, x), "x", n, 0);
                    case_out(c, AT(activation, y), "y", n, 0);
                }
                test_fill_normal(&c->rng, x->data, n, 0, i % 2 ? 3 : 30);
                c->has_limits = true;
                c->no_poison = n > 300;
                case_check(c);
            }
}
END_TEST

START_TEST(activation_backward)
{
    for (int i = 0; i < N_LENGTHS; i++)
        for (int act = FDIT_ACT_GELU_TANH; act <= FDIT_ACT_LAST; act++)
            for (int in_place = 0; in_place < 2; in_place++) {
                size_t n = lengths[i];
                struct op_case *c = case_new(FDIT_OP_ACTIVATION_BACKWARD, "%zu act %d%s", n, act,
                                             in_place ? ", in place" : "");
                c->p.args.activation_backward =
                    (struct fdit_activation_backward_args){ .n = n, .act = (enum fdit_act)act };
                c->p.shape.n = n;
                struct fdit_probe_slot *x = case_in(c, AT(activation_backward, x), "x", n, 0);
                test_fill_normal(&c->rng, x->data, n, 0, i % 2 ? 3 : 30);
                if (in_place) {
                    case_inout(c, AT(activation_backward, dx), "dx", n, 0)->alias =
                        AT(activation_backward, dy);
                } else {
                    case_in(c, AT(activation_backward, dy), "dy", n, 0);
                    case_out(c, AT(activation_backward, dx), "dx", n, 0);
                }
                c->has_limits = true;
                c->no_poison = n > 300;
                case_check(c);
            }
}
END_TEST

START_TEST(axpy)
{
    for (int i = 0; i < N_LENGTHS; i++)
        for (int beta = 0; beta < 2; beta++) {
            size_t n = lengths[i];
            struct op_case *c = case_new(FDIT_OP_AXPY, "%zu beta %d", n, beta);
            c->p.args.axpy = (struct fdit_axpy_args){ .n = n, .alpha = beta ? -0.3f : 1.7f, .beta = beta };
            c->p.shape.n = n;
            case_in(c, AT(axpy, x), "x", n, 0);
            if (beta)
                case_inout(c, AT(axpy, y), "y", n, 0);
            else
                case_out(c, AT(axpy, y), "y", n, 0);
            c->no_poison = n > 300;
            case_check(c);
        }
}
END_TEST

START_TEST(gather)
{
    static const int tables[] = { 1, 3, 101 };
    for (int i = 0; i < N_ROW_SHAPES; i++)
        for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
            for (int beta = 0; beta < 2; beta++) {
                int samples = row_shapes[i].samples + (int)k * 4, width = row_shapes[i].width;
                struct op_case *c =
                    case_new(FDIT_OP_GATHER, "%d of %dx%d beta %d", samples, tables[k], width, beta);
                c->p.args.gather = (struct fdit_gather_args){
                    .samples = samples, .table_rows = tables[k], .width = width, .beta = beta
                };
                c->p.shape = shape_of(FDIT_OP_GATHER, samples, tables[k], 0, width);
                c->p.per_sample = true;
                case_in(c, AT(gather, table), "table", mul(tables[k], width), 0);
                case_index(c, AT(gather, index), "index", samples, tables[k]);
                if (beta)
                    case_inout(c, AT(gather, y), "y", (size_t)width, samples);
                else
                    case_out(c, AT(gather, y), "y", (size_t)width, samples);
                c->no_poison = i != 1;
                case_check(c);
            }
}
END_TEST

START_TEST(scatter_add)
{
    static const int tables[] = { 1, 3, 101 };
    for (int i = 0; i < N_ROW_SHAPES; i++)
        for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
            for (int beta = 0; beta < 2; beta++) {
                int samples = row_shapes[i].samples + (int)k * 4, width = row_shapes[i].width;
                struct op_case *c =
                    case_new(FDIT_OP_SCATTER_ADD, "%d to %dx%d beta %d", samples, tables[k], width, beta);
                c->p.args.scatter_add = (struct fdit_scatter_add_args){
                    .samples = samples,
                    .table_rows = tables[k],
                    .width = width,
                    .beta = beta,
                };
                c->p.shape = shape_of(FDIT_OP_SCATTER_ADD, samples, tables[k], 0, width);
                size_t n = mul(tables[k], width);
                case_in(c, AT(scatter_add, dy), "dy", (size_t)width, samples);
                case_index(c, AT(scatter_add, index), "index", samples, tables[k]);
                if (beta)
                    case_inout(c, AT(scatter_add, dtable), "dtable", n, 0);
                else
                    case_out(c, AT(scatter_add, dtable), "dtable", n, 0);
                c->no_poison = i != 1;
                case_check(c);
            }
}
END_TEST

static void patch_cases(enum fdit_op op)
{
    static const int shapes[][4] = { { 1, 1, 1, 1 }, { 2, 4, 8, 2 },  { 3, 3, 6, 3 }, { 1, 4, 32, 2 },
                                     { 2, 1, 8, 8 }, { 1, 8, 32, 4 }, { 2, 5, 7, 7 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int order = 0; order < 2; order++) {
            const int *s = shapes[i];
            struct op_case *c =
                case_new(op, "%dx%dx%dx%d patch %d order %d", s[0], s[1], s[2], s[2], s[3], order);
            c->p.args.patchify = (struct fdit_patchify_args){ .samples = s[0],
                                                              .channels = s[1],
                                                              .size = s[2],
                                                              .patch = s[3],
                                                              .order = (enum fdit_patch_order)order };
            size_t n = mul(s[1], s[2] * s[2]);
            c->p.shape = (struct fdit_op_shape){ .op = op, .samples = s[0], .n = n * (size_t)s[0] };
            c->p.per_sample = true;
            if (op == FDIT_OP_PATCHIFY) {
                case_in(c, AT(patchify, image), "image", n, s[0]);
                case_out(c, AT(patchify, tokens), "tokens", n, s[0]);
            } else {
                case_in(c, AT(patchify, tokens), "tokens", n, s[0]);
                case_out(c, AT(patchify, image), "image", n, s[0]);
            }
            c->p.allowed = 0;
            c->no_poison = i != 1;
            case_check(c);
        }
}

START_TEST(patchify)
{
    patch_cases(FDIT_OP_PATCHIFY);
}
END_TEST

START_TEST(unpatchify)
{
    patch_cases(FDIT_OP_UNPATCHIFY);
}
END_TEST

START_TEST(copy_columns)
{
    /* m, n, width, first */
    static const int shapes[][4] = { { 1, 1, 1, 0 },     { 5, 3, 8, 0 },     { 5, 3, 8, 5 },
                                     { 300, 17, 40, 9 }, { 7, 300, 301, 1 }, { 64, 96, 288, 192 },
                                     { 9, 50, 50, 0 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int m = shapes[i][0], n = shapes[i][1], width = shapes[i][2], first = shapes[i][3];
        struct op_case *c = case_new(FDIT_OP_COPY_COLUMNS, "%dx%d into %d from %d on", m, n, width, first);
        c->p.args.copy_columns =
            (struct fdit_copy_columns_args){ .m = m, .n = n, .width = width, .first = first };
        c->p.shape = shape_of(FDIT_OP_COPY_COLUMNS, 1, m, n, width);
        case_in(c, AT(copy_columns, x), "x", mul(m, n), 1);
        case_inout(c, AT(copy_columns, y), "y", mul(m, width), 1);
        case_check(c);
    }
}
END_TEST

START_TEST(token_mean)
{
    for (int i = 0; i < N_ROW_SHAPES; i++) {
        struct row_shape s = row_shapes[i];
        struct op_case *c = case_new(FDIT_OP_TOKEN_MEAN, "%dx%dx%d", s.samples, s.rows, s.width);
        c->p.args.token_mean =
            (struct fdit_token_mean_args){ .samples = s.samples, .tokens = s.rows, .width = s.width };
        c->p.shape = shape_of(FDIT_OP_TOKEN_MEAN, s.samples, s.rows, 0, s.width);
        c->p.per_sample = true;
        case_in(c, AT(token_mean, x), "x", mul(s.rows, s.width), s.samples);
        case_out(c, AT(token_mean, y), "y", (size_t)s.width, s.samples);
        c->no_poison = i != 1;
        case_check(c);
    }
}
END_TEST

START_TEST(token_mean_backward)
{
    for (int i = 0; i < N_ROW_SHAPES; i++) {
        struct row_shape s = row_shapes[i];
        struct op_case *c = case_new(FDIT_OP_TOKEN_MEAN_BACKWARD, "%dx%dx%d", s.samples, s.rows, s.width);
        c->p.args.token_mean_backward = (struct fdit_token_mean_backward_args){
            .samples = s.samples,
            .tokens = s.rows,
            .width = s.width,
        };
        c->p.shape = shape_of(FDIT_OP_TOKEN_MEAN_BACKWARD, s.samples, s.rows, 0, s.width);
        c->p.per_sample = true;
        case_in(c, AT(token_mean_backward, dy), "dy", (size_t)s.width, s.samples);
        case_out(c, AT(token_mean_backward, dx), "dx", mul(s.rows, s.width), s.samples);
        c->no_poison = i != 1;
        case_check(c);
    }
}
END_TEST

/* ------------------------------------------------------------------ diffusion and the samplers */

static const int image_shapes[][3] = {
    { 1, 1, 1 }, { 2, 4, 64 }, { 3, 3, 257 }, { 2, 1, 255 }, { 5, 4, 1024 }
};
enum { N_IMAGE_SHAPES = sizeof image_shapes / sizeof *image_shapes };

START_TEST(diffuse)
{
    for (int i = 0; i < N_IMAGE_SHAPES; i++) {
        int samples = image_shapes[i][0];
        size_t n = mul(image_shapes[i][1], image_shapes[i][2]);
        struct op_case *c = case_new(FDIT_OP_DIFFUSE, "%dx%zu", samples, n);
        c->p.args.diffuse = (struct fdit_diffuse_args){ .samples = samples, .n = n };
        c->p.shape =
            (struct fdit_op_shape){ .op = FDIT_OP_DIFFUSE, .samples = samples, .n = n * (size_t)samples };
        c->p.per_sample = true;
        case_in(c, AT(diffuse, x0), "x0", n, samples);
        case_in(c, AT(diffuse, noise), "noise", n, samples);
        case_in(c, AT(diffuse, coef), "coef", 2, samples);
        case_out(c, AT(diffuse, xt), "x_t", n, samples);
        c->no_poison = i != 1;
        case_check(c);
    }
}
END_TEST

/* Three steps of the 1000-step chain: the first, an early one, a late one. mean_eps is the
 * posterior mean's coefficient of x0 times sqrt(1/abar - 1). */
static const struct fdit_loss_coef loss_coefs[] = {
    { .is_first = 1, .log_beta = -9.21034037f, .log_var = -9.81672514f, .mean_eps = 0.0100005f },
    { .is_first = 0, .log_beta = -9.02868637f, .log_var = -9.81672514f, .mean_eps = 0.00808712f },
    { .is_first = 0, .log_beta = -4.59919209f, .log_var = -4.60004974f, .mean_eps = 0.01052904f },
};

START_TEST(diffusion_loss)
{
    for (int i = 0; i < N_IMAGE_SHAPES; i++)
        for (int step = 0; step < 3; step++)
            for (int dout = 0; dout < 2; dout++) {
                int samples = image_shapes[i][0], channels = image_shapes[i][1];
                size_t pixels = (size_t)image_shapes[i][2], n = (size_t)channels * pixels;
                struct op_case *c = case_new(FDIT_OP_DIFFUSION_LOSS, "%dx%dx%zu step %d%s", samples, channels,
                                             pixels, step, dout ? ", gradient" : "");
                c->p.args.diffusion_loss = (struct fdit_diffusion_loss_args){
                    .samples = samples,
                    .channels = channels,
                    .n = pixels,
                };
                c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_DIFFUSION_LOSS,
                                                     .samples = samples,
                                                     .n = 2 * n * (size_t)samples };
                c->p.per_sample = true;
                case_in(c, AT(diffusion_loss, out), "out", 2 * n, samples);
                case_in(c, AT(diffusion_loss, noise), "noise", n, samples);
                struct fdit_probe_slot *x0 = case_in(c, AT(diffusion_loss, x0), "x0", n, samples);
                for (size_t k = 0; k < x0->n; k++) /* pictures reach both ends, where the bins are open */
                    x0->data[k] = fmaxf(-1, fminf(1, x0->data[k]));
                struct fdit_probe_slot *coef = case_in(c, AT(diffusion_loss, coef), "coef", 8, samples);
                for (int b = 0; b < samples; b++) {
                    struct fdit_loss_coef one = loss_coefs[(step + b) % 3];
                    one.scale = (float)n; /* gradients of about 1 */
                    one.scale_vb = 0.5f * (float)n;
                    memcpy(coef->data + 8 * b, &one, sizeof one);
                }
                case_out(c, AT(diffusion_loss, losses), "losses", 2, samples);
                if (dout)
                    case_out(c, AT(diffusion_loss, dout), "dout", 2 * n, samples);
                c->p.allowed = 1e-9;      /* differences of two distribution functions */
                coef->partly_read = true; /* a step reads only some of it */
                c->has_limits = true;
                c->no_poison = i != 1;
                case_check(c);
            }
}
END_TEST

START_TEST(velocity_loss)
{
    for (int i = 0; i < N_IMAGE_SHAPES; i++)
        for (int bits = 0; bits < 4; bits++) {
            int samples = image_shapes[i][0], channels = image_shapes[i][1], outputs = 1 + bits % 2;
            size_t pixels = (size_t)image_shapes[i][2], n = (size_t)channels * pixels;
            struct op_case *c = case_new(FDIT_OP_VELOCITY_LOSS, "%dx%dx%zu, %d outputs%s", samples, channels,
                                         pixels, outputs, bits & 2 ? ", gradient" : "");
            c->p.args.velocity_loss = (struct fdit_velocity_loss_args){
                .samples = samples, .channels = channels, .outputs = outputs, .n = pixels
            };
            c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_VELOCITY_LOSS,
                                                 .samples = samples,
                                                 .n = 2 * n * (size_t)samples };
            c->p.per_sample = true;
            struct fdit_probe_slot *out =
                case_in(c, AT(velocity_loss, out), "out", (size_t)outputs * n, samples);
            case_in(c, AT(velocity_loss, noise), "noise", n, samples);
            case_in(c, AT(velocity_loss, x0), "x0", n, samples);
            struct fdit_probe_slot *coef = case_in(c, AT(velocity_loss, coef), "coef", 8, samples);
            for (int b = 0; b < samples; b++) {
                float sign = b % 2 ? 1.0f : -1.0f;
                struct fdit_velocity_coef one = { sign, -sign, (float)n, { 0 } };
                memcpy(coef->data + 8 * b, &one, sizeof one);
            }
            case_out(c, AT(velocity_loss, losses), "losses", 2, samples);
            if (bits & 2)
                case_out(c, AT(velocity_loss, dout), "dout", (size_t)outputs * n, samples);
            c->p.allowed = 1e-10;
            coef->partly_read = true;        /* only three of eight are read */
            out->partly_read = outputs == 2; /* and none of the second half */
            c->no_poison = i != 1;
            case_check(c);
        }
}
END_TEST

START_TEST(cross_entropy)
{
    static const int shapes[][2] = { { 1, 1 }, { 2, 3 }, { 3, 257 }, { 5, 1152 }, { 4, 1000 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gradient = 0; gradient < 2; gradient++) {
            int samples = shapes[i][0], classes = shapes[i][1];
            struct op_case *c =
                case_new(FDIT_OP_CROSS_ENTROPY, "%dx%d%s", samples, classes, gradient ? ", gradient" : "");
            c->p.args.cross_entropy =
                (struct fdit_cross_entropy_args){ .samples = samples, .classes = classes, .scale = 0.37f };
            c->p.shape = shape_of(FDIT_OP_CROSS_ENTROPY, samples, 1, 0, classes);
            c->p.per_sample = true;
            struct fdit_probe_slot *logits =
                case_in(c, AT(cross_entropy, logits), "logits", (size_t)classes, samples);
            test_fill_normal(&c->rng, logits->data, logits->n, 0, i % 2 ? 3 : 60);
            case_index(c, AT(cross_entropy, labels), "labels", samples, classes);
            case_out(c, AT(cross_entropy, loss), "loss", 1, samples);
            if (gradient)
                case_out(c, AT(cross_entropy, dlogits), "dlogits", (size_t)classes, samples);
            c->p.allowed = 1e-10;
            c->no_poison = i != 1;
            case_check(c);
        }
}
END_TEST

START_TEST(sampler)
{
    for (int i = 0; i < N_IMAGE_SHAPES; i++)
        for (int bits = 0; bits < 128; bits++) {
            int samples = image_shapes[i][0], channels = image_shapes[i][1];
            size_t pixels = (size_t)image_shapes[i][2], n = (size_t)channels * pixels;
            bool single = bits & 64, uncond = bits & 1, z = bits & 2, old = bits & 4, clip = bits & 8,
                 learned = bits & 16, in_place = bits & 32;
            if ((i > 1 && bits % 9 != i) || (single && learned))
                continue;
            size_t outputs = single ? 1 : 2;
            struct op_case *c =
                case_new(FDIT_OP_SAMPLER_STEP, "%dx%dx%zu options %d", samples, channels, pixels, bits);
            c->p.args.sampler_step = (struct fdit_sampler_step_args){
                .samples = samples,
                .channels = channels,
                .n = pixels,
                .guidance = 4,
                .guided_channels = channels > 3 ? 3 : channels,
                .x0_x = 1.25f,
                .x0_eps = -0.75f,
                .clip_x0 = clip,
                .to_x = 0.6f,
                .to_x0 = 0.3f,
                .to_eps = 0.1f,
                .to_old = old ? -0.2f : 0,
                .to_z = z ? 0.5f : 0,
                .learned = learned,
                .single = single,
                .log_beta = -1.5f,
                .log_var = -2.5f,
            };
            c->p.shape = (struct fdit_op_shape){ .op = FDIT_OP_SAMPLER_STEP,
                                                 .samples = samples,
                                                 .n = 2 * n * (size_t)samples };
            c->p.per_sample = true;
            case_in(c, AT(sampler_step, cond), "cond", outputs * n, samples);
            if (uncond)
                case_in(c, AT(sampler_step, uncond), "uncond", outputs * n, samples);
            if (z)
                case_in(c, AT(sampler_step, z), "z", n, samples);
            if (old)
                case_inout(c, AT(sampler_step, old), "old", n, samples);
            if (in_place) {
                case_inout(c, AT(sampler_step, x_next), "x", n, samples)->alias = AT(sampler_step, x);
            } else {
                case_in(c, AT(sampler_step, x), "x", n, samples);
                case_out(c, AT(sampler_step, x_next), "x_next", n, samples);
            }
            c->p.allowed = 1e-10;
            c->no_poison = i != 0;
            case_check(c);
        }
}
END_TEST

/* ------------------------------------------------------------------ optimiser */

START_TEST(adamw)
{
    for (int i = 0; i < N_LENGTHS; i++)
        for (int bits = 0; bits < 4; bits++) {
            size_t n = lengths[i];
            struct op_case *c =
                case_new(FDIT_OP_ADAMW, "%zu%s%s", n, bits & 1 ? ", ema" : "", bits & 2 ? ", scale" : "");
            c->p.args.adamw = (struct fdit_adamw_args){
                .n = n,
                .decay = i % 2 ? 0.01f : 0,
                .beta1 = 0.9f,
                .beta2 = 0.999f,
                .eps = 1e-8f,
                .lr_bias1 = 1e-2f / 0.271f,
                .inv_sqrt_bias2 = 18.26f,
                .ema_decay = 0.75f,
            };
            c->p.shape.n = n;
            case_inout(c, AT(adamw, p), "p", n, 0);
            case_in(c, AT(adamw, g), "g", n, 0);
            case_inout(c, AT(adamw, m), "m", n, 0);
            struct fdit_probe_slot *v = case_inout(c, AT(adamw, v), "v", n, 0);
            for (size_t k = 0; k < n; k++)
                v->data[k] *= v->data[k];
            if (bits & 1)
                case_inout(c, AT(adamw, ema), "ema", n, 0);
            if (bits & 2)
                *case_in(c, AT(adamw, scale), "scale", 1, 0)->data = 0.4f;
            c->no_poison = n > 300;
            case_check(c);
        }
}
END_TEST

START_TEST(lion)
{
    for (int i = 0; i < N_LENGTHS; i++)
        for (int bits = 0; bits < 4; bits++) {
            size_t n = lengths[i];
            struct op_case *c =
                case_new(FDIT_OP_LION, "%zu%s%s", n, bits & 1 ? ", ema" : "", bits & 2 ? ", scale" : "");
            c->p.args.lion = (struct fdit_lion_args){
                .n = n,
                .lr = 1e-2f,
                .decay = i % 2 ? 0.01f : 0,
                .beta1 = 0.9,
                .beta2 = 0.99,
                .ema_decay = 0.75,
            };
            c->p.shape.n = n;
            case_inout(c, AT(lion, p), "p", n, 0);
            float *g = case_in(c, AT(lion, g), "g", n, 0)->data;
            float *m = case_inout(c, AT(lion, m), "m", n, 0)->data;
            const float scale = bits & 2 ? 0.4f : 1;
            for (size_t k = 0; k < n; k++) /* rounding is not to decide a sign */
                if (fabsf(0.9f * m[k] + 0.1f * scale * g[k]) < 1e-3f)
                    g[k] += m[k] < 0 ? -1.0f : 1.0f;
            if (n > 2)
                g[2] = m[2] = 0; /* stays but for the decay */
            if (bits & 1)
                case_inout(c, AT(lion, ema), "ema", n, 0);
            if (bits & 2)
                *case_in(c, AT(lion, scale), "scale", 1, 0)->data = scale;
            c->no_poison = n > 300;
            case_check(c);
        }
}
END_TEST

START_TEST(sum_squares)
{
    static const size_t more[] = { 3, 1000, 65536, 262147 };
    for (size_t i = 0; i < N_LENGTHS + sizeof more / sizeof *more; i++) {
        size_t n = i < N_LENGTHS ? lengths[i] : more[i - N_LENGTHS];
        struct op_case *c = case_new(FDIT_OP_SUM_SQUARES, "%zu", n);
        c->p.args.sum_squares = (struct fdit_sum_squares_args){ .n = n };
        c->p.shape.n = n;
        case_in(c, AT(sum_squares, x), "x", n, 0);
        case_out(c, AT(sum_squares, out), "out", 1, 0);
        case_check(c);
    }
}
END_TEST

START_TEST(clip_scale)
{
    static const int sizes[] = { 1, 5, 257, 1000 };
    static const float limits[] = { 0, 0.5f, 1e9f };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++)
            for (int norm_too = 0; norm_too < 2; norm_too++) {
                int n = sizes[i];
                struct op_case *c = case_new(FDIT_OP_CLIP_SCALE, "%d limit %g%s", n, (double)limits[k],
                                             norm_too ? ", norm" : "");
                c->p.args.clip_scale = (struct fdit_clip_scale_args){ .n = n, .max_norm = limits[k] };
                c->p.shape.n = (size_t)n;
                struct fdit_probe_slot *partial =
                    case_in(c, AT(clip_scale, partial), "partial", (size_t)n, 0);
                for (size_t j = 0; j < partial->n; j++)
                    partial->data[j] *= partial->data[j];
                case_out(c, AT(clip_scale, scale), "scale", 1, 0);
                if (norm_too)
                    case_out(c, AT(clip_scale, norm), "norm", 1, 0);
                c->floor = 0;
                case_check(c);
            }
}
END_TEST

/* ------------------------------------------------------------------ the list */

void ops_pointwise_add(Suite *suite)
{
    const struct {
        const char *name;
        const TTest *test;
    } cases[] = {
        { "gate", gate },
        { "gate_backward", gate_backward },
        { "activation", activation },
        { "activation_backward", activation_backward },
        { "axpy", axpy },
        { "gather", gather },
        { "scatter_add", scatter_add },
        { "patchify", patchify },
        { "unpatchify", unpatchify },
        { "copy_columns", copy_columns },
        { "token_mean", token_mean },
        { "token_mean_backward", token_mean_backward },
        { "diffuse", diffuse },
        { "diffusion_loss", diffusion_loss },
        { "velocity_loss", velocity_loss },
        { "cross_entropy", cross_entropy },
        { "sampler", sampler },
        { "adamw", adamw },
        { "lion", lion },
        { "sum_squares", sum_squares },
        { "clip_scale", clip_scale },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TCase *tcase = tcase_create(cases[i].name);
        tcase_add_test(tcase, cases[i].test);
        suite_add_tcase(suite, tcase);
    }
}
