/* SPDX-License-Identifier: Apache-2.0
 * test_matrix_attention.c: cl/attention_matrix.cl with the fragments of every matrix unit, the instruction
 * emulated, on the first OpenCL device; no unit is needed. Forward, dq, dk and dv of ragged sizes against the
 * formulas in double, from operands that 16 bits hold, so that only the weights are rounded; in the groups
 * of an emulation and in those of the units; and the mistakes that are easily made in such a kernel, each
 * of which has to give wrong numbers. */
#include "device/backend.h"
#include "core/half.h"
#include "devices.h"
#include "harness.h"
#include "kernel_fixture.h"
#include "opencl_fixture.h"
#include "opencl/gemm.h"
#include "opencl/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORWARD, DQ, DKV };
struct problem {
    const struct matrix_unit *unit;
    int pass, tokens, heads, head_size;
    bool f16, whole; /* whole: the group that the unit itself has */
};
/* All by [heads][tokens] or as attention_rows.h says; one sample. */
struct numbers {
    float *qkv, *out, *lse, *dout, *delta, *dqkv;
    double *wanted_out, *wanted_lse, *wanted_dqkv;
    size_t rows, width;
};

static fdit_context *ctx;
static fdit_device *dev;

static void *zeroes(size_t n, size_t each)
{
    void *p = calloc(n, each);
    ck_assert_ptr_nonnull(p);
    return p;
}

static void fill(struct test_rng *rng, float *x, size_t n, float deviation)
{
    test_fill_normal(rng, x, n, 0, deviation);
    for (size_t i = 0; i < n; i++)
        x[i] = fdit_bf16_value(fdit_bf16_of(x[i]));
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* One head in double; P[i][j] is what exp(s - lse) is. */
static void head_in_double(const struct problem *p, struct numbers *x, int h)
{
    const int N = p->tokens, D = p->head_size;
    const size_t stride = 3 * x->width, first = (size_t)h * (size_t)D, k = x->width, v = 2 * x->width;
    const double scale = 1 / sqrt((double)D);
    double *P = zeroes((size_t)N, sizeof *P);
    for (int i = 0; i < N; i++) {
        const float *q = x->qkv + (size_t)i * stride + first, *o = x->dout + (size_t)i * x->width + first;
        double sum = 0, delta = 0;
        for (int j = 0; j < N; j++)
            sum += P[j] = exp(scale * dot(q, x->qkv + (size_t)j * stride + first + k, D));
        x->wanted_lse[h * N + i] = log(sum);
        x->lse[h * N + i] = (float)log(sum);
        for (int j = 0; j < N; j++) {
            const float *values = x->qkv + (size_t)j * stride + first + v;
            P[j] /= sum;
            delta += P[j] * dot(o, values, D);
            for (int d = 0; d < D; d++)
                x->wanted_out[(size_t)i * x->width + first + (size_t)d] += P[j] * (double)values[d];
        }
        x->delta[h * N + i] = (float)delta;
        for (int j = 0; j < N; j++) {
            const size_t at = (size_t)j * stride + first;
            double ds = scale * P[j] * (dot(o, x->qkv + at + v, D) - delta);
            for (int d = 0; d < D; d++) {
                x->wanted_dqkv[(size_t)i * stride + first + (size_t)d] +=
                    ds * (double)x->qkv[at + k + (size_t)d];
                x->wanted_dqkv[at + k + (size_t)d] += ds * (double)q[d];
                x->wanted_dqkv[at + v + (size_t)d] += P[j] * (double)o[d];
            }
        }
    }
    free(P);
}

static struct numbers numbers_of(const struct problem *p)
{
    struct numbers x = { .rows = (size_t)p->tokens, .width = (size_t)(p->heads * p->head_size) };
    const size_t n = x.rows * x.width, stats = x.rows * (size_t)p->heads;
    struct test_rng rng = test_rng_new(p->unit->name);
    x.qkv = zeroes(3 * n, sizeof(float));
    x.dqkv = zeroes(3 * n, sizeof(float));
    x.out = zeroes(n, sizeof(float));
    x.dout = zeroes(n, sizeof(float));
    x.lse = zeroes(stats, sizeof(float));
    x.delta = zeroes(stats, sizeof(float));
    x.wanted_out = zeroes(n, sizeof(double));
    x.wanted_lse = zeroes(stats, sizeof(double));
    x.wanted_dqkv = zeroes(3 * n, sizeof(double));
    fill(&rng, x.qkv, 3 * n, 1);
    fill(&rng, x.dout, n, 1);
    for (int h = 0; h < p->heads; h++)
        head_in_double(p, &x, h);
    return x;
}

static void numbers_free(struct numbers *x)
{
    void *all[] = { x->qkv,  x->out,        x->lse,        x->dout,       x->delta,
                    x->dqkv, x->wanted_out, x->wanted_lse, x->wanted_dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static const char *const kernels[] = { "attention_matrix", "attention_dq_matrix", "attention_dkv_matrix" };

/* The group; false: the device has too little local memory for it. */
static bool group_of(const struct problem *p, struct matrix_heads *group, char options[240])
{
    static const char *const defines[] = { "FORWARD", "DQ", "DKV" };
    const struct gemm_config c = fdit_matrix_config(p->unit, !p->whole);
    size_t local = opencl_of(dev)->local_bytes;
    char heads[120];
    if (!fdit_matrix_heads(&c, p->head_size, p->whole ? local / 2 : local, group))
        return false;
    fdit_matrix_heads_options(&c, group, p->head_size, heads);
    snprintf(options, 240, "-cl-std=CL1.2 -DGROUP=256 -D%s %s%s%s%s%s", defines[p->pass], heads,
             p->whole ? " -DEMULATED" : "",
             p->whole && strcmp(p->unit->name, "wmma64") == 0 ? " -DLANES=64" : "", p->f16 ? " -DF16" : "",
             p->head_size % 4 == 0 ? " -DALIGNED" : "");
    return true;
}

static void launch(const struct problem *p, cl_kernel kernel, const struct matrix_heads *group,
                   struct numbers *x)
{
    const size_t n = x->rows * x->width, stats = x->rows * (size_t)p->heads, rows = (size_t)group->rows;
    const bool forward = p->pass == FORWARD;
    float *result = forward ? x->out : x->dqkv, *second = forward ? x->lse : x->dout;
    cl_mem memory[5] = { test_memory(dev, result, forward ? n : 3 * n),
                         test_memory(dev, second, forward ? stats : n), test_memory(dev, x->qkv, 3 * n),
                         test_memory(dev, x->lse, stats), test_memory(dev, x->delta, stats) };
    const cl_ulong zero = 0;
    const cl_int numbers[2] = { p->tokens, p->heads }, has_lse = 1;
    const cl_float scale = (cl_float)(1 / sqrt((double)p->head_size));
    cl_uint at = 0;
    for (int i = 0; i < (forward ? 3 : 5); i++) {
        clSetKernelArg(kernel, at++, sizeof memory[i], &memory[i]);
        clSetKernelArg(kernel, at++, sizeof zero, &zero);
    }
    clSetKernelArg(kernel, at++, sizeof numbers[0], &numbers[0]);
    clSetKernelArg(kernel, at++, sizeof numbers[1], &numbers[1]);
    clSetKernelArg(kernel, at++, sizeof scale, &scale);
    if (forward)
        clSetKernelArg(kernel, at++, sizeof has_lse, &has_lse);
    const size_t items = (size_t)group->items;
    const size_t global[3] = { (x->rows + rows - 1) / rows * items, (size_t)p->heads, 1 };
    cl_command_queue queue = opencl_of(dev)->queue;
    ck_assert_int_eq(
        clEnqueueNDRangeKernel(queue, kernel, 3, NULL, global, (size_t[]){ items, 1, 1 }, 0, NULL, NULL),
        CL_SUCCESS);
    clEnqueueReadBuffer(queue, memory[0], CL_TRUE, 0, (forward ? n : 3 * n) * sizeof(float), result, 0, NULL,
                        NULL);
    if (forward)
        clEnqueueReadBuffer(queue, memory[1], CL_TRUE, 0, stats * sizeof(float), second, 0, NULL, NULL);
    for (int i = 0; i < 5; i++)
        clReleaseMemObject(memory[i]);
}

/* The worst NMSE of the parts of [rows][parts][width] from `from` up to `to`; infinite for NaN. */
static double worst_of(const float *is, const double *wanted, size_t rows, size_t width, int parts, int from,
                       int to)
{
    double worst = 0;
    for (int part = from; part < to; part++) {
        double off = 0, all = 0;
        for (size_t i = 0; i < rows * width; i++) {
            size_t at = (i / width * (size_t)parts + (size_t)part) * width + i % width;
            off += ((double)is[at] - wanted[at]) * ((double)is[at] - wanted[at]);
            all += wanted[at] * wanted[at];
        }
        worst = fmax(worst, isfinite(off) ? off / all : (double)INFINITY);
    }
    return worst;
}

/* The NMSE of what the kernel gives out; negative: it cannot run here. */
static double run(const struct problem *p, const char *from, const char *to)
{
    struct matrix_heads group;
    char options[240];
    double error;
    if (!group_of(p, &group, options))
        return -1;
    struct numbers x = numbers_of(p);
    char *text = test_kernel_source("attention_matrix.cl", from, to);
    cl_kernel kernel = test_kernel_build(dev, text, options, kernels[p->pass]);
    launch(p, kernel, &group, &x);
    if (p->pass == FORWARD)
        error = fmax(worst_of(x.out, x.wanted_out, x.rows, x.width, 1, 0, 1),
                     worst_of(x.lse, x.wanted_lse, (size_t)p->heads, x.rows, 1, 0, 1));
    else
        error =
            worst_of(x.dqkv, x.wanted_dqkv, x.rows, x.width, 3, p->pass == DQ ? 0 : 1, p->pass == DQ ? 1 : 3);
    clReleaseKernel(kernel);
    free(text);
    numbers_free(&x);
    return error;
}

/* A weight rounded to 8 digits is off by at most 2^-9 of itself, and the errors of a sum are independent:
 * 2e-6 was measured, 6e-8 in f16 (11 digits). */
static void right(struct problem p)
{
    const double allowed = p.f16 ? 1e-6 : 3e-5, error = run(&p, NULL, NULL);
    ck_assert_msg(error <= allowed, "%s, %s, %d tokens, %d heads of %d%s%s: NMSE %.3g, %.3g allowed",
                  p.unit->name, kernels[p.pass], p.tokens, p.heads, p.head_size, p.f16 ? ", f16" : "",
                  p.whole ? ", its own group" : "", error, allowed);
}

/* Each build takes a second: the groups of the units themselves are tried with one kernel of each unit. */
START_TEST(every_unit)
{
    const struct matrix_unit *unit = fdit_matrix_unit_at(_i);
    for (int pass = FORWARD; pass <= DKV; pass++)
        right((struct problem){ unit, pass, 45, 2, 72, false, false });
    right((struct problem){ unit, _i % 3, 70, 1, 64, false, true });
}
END_TEST

/* One token, fewer than a fragment, a head beyond 80, and where a tile of keys ends; f16. */
START_TEST(sizes)
{
    static const struct {
        const char *unit;
        int pass, tokens, head_size;
        bool f16;
    } all[] = {
        { "mma", FORWARD, 1, 1, false },   { "mma", FORWARD, 33, 128, false },
        { "mma", DQ, 3, 5, false },        { "mfma", DKV, 33, 128, false },
        { "mfma", FORWARD, 37, 31, true }, { "wmma", FORWARD, 64, 16, true },
        { "wmma12", DQ, 33, 128, false },  { "dpas16", DKV, 65, 9, false },
    };
    right((struct problem){ fdit_matrix_unit_find(all[_i].unit), all[_i].pass, all[_i].tokens, 1,
                            all[_i].head_size, all[_i].f16, false });
}
END_TEST
enum { SIZES = 8 };

/* Each is a mistake in the kernel or in a unit's map; found: the numbers are far off. */
START_TEST(mistakes)
{
    static const struct {
        const char *unit;
        int pass;
        const char *what, *from, *to;
    } all[] = {
        { "mma", FORWARD, "two fragments exchanged", "column + j * UN, k / 2)",
          "column + (j ^ 1) * UN, k / 2)" },
        { "mma", DQ, "a lane too far", "int r_ = (row) + lane / 4,",
          "int r_ = (row) + (lane + 1) % 32 / 4," },
        { "dpas16", DKV, "low and high half exchanged", "h_ = (uint)(lane % 2);",
          "h_ = (uint)(lane % 2 ^ 1);" },
        { "mfma", DQ, "the tail not zeroes", "d >= HEAD)\n        return (float4)(0.0f);",
          "d >= HEAD)\n        return (float4)(1.0f);" },
        { "mma", DKV, "one step of k too few", "k < K;", "k < K - UK;" },
        { "wmma12", FORWARD, "row and column of the result exchanged", "#define C_COLUMN(e) (lane % 16)",
          "#define C_COLUMN(e) (lane / 16 * 8 + (e))" },
        { "mma", DKV, "sums not cleared", "C_ELEMENT(c[j][i][0], e) = 0.0f;",
          "C_ELEMENT(c[j][i][0], e) = 1.0f;" },
        { "wmma", DKV, "the map of 64 lanes for 32", "#define C_ROW(e) (lane / 16 + (e) * (LANES / 16))",
          "#define C_ROW(e) ((lane / 16 + (e)*4) % 16)" },
        { "wmma", FORWARD, "the second copy missing", "int r_ = (row) + lane % 16;",
          "int r_ = (row) + (lane < 16 ? lane : 0);" },
        { "dpas8", FORWARD, "earlier sums not scaled", "shrink[row] = f;", "shrink[row] = 1.0f;" },
        { "mma", FORWARD, "weights of keys that are not there", "l, N - k0, scale);", "l, TN, scale);" },
        { "mfma", DKV, "another row's softmax", "- lse_of[n]);", "- lse_of[0]);" },
        { "dpas8", DQ, "turned by one row", "quad(at + stride, row + 1 < N, d);", "quad(at, row < N, d);" },
    };
    const struct problem p = { fdit_matrix_unit_find(all[_i].unit), all[_i].pass, 45, 2, 72, false, false };
    double error = run(&p, all[_i].from, all[_i].to);
    ck_assert_msg(error > 1e-3 || error == -1, "%s, %s: not found, NMSE %.3g", all[_i].unit, all[_i].what,
                  error);
}
END_TEST
enum { MISTAKES = 13 };

/* Its local memory is what the host takes it for: within the 36 KiB that tools/isa-check.sh allows. */
START_TEST(groups)
{
    for (int i = 0; fdit_matrix_unit_at(i); i++) {
        struct gemm_config c = fdit_matrix_config(fdit_matrix_unit_at(i), false);
        struct matrix_heads g;
        for (int head = 1; head <= MATRIX_HEAD_MOST; head++) {
            ck_assert_msg(fdit_matrix_heads(&c, head, 36 << 10, &g), "%s, heads of %d", c.unit->name, head);
            ck_assert_int_eq(g.items % (c.unit->lanes * g.waves_m), 0);
            ck_assert_int_eq(g.rows % (c.unit->m * g.waves_m), 0);
            ck_assert_int_le(g.items, GROUP);
        }
        ck_assert(!fdit_matrix_heads(&c, MATRIX_HEAD_MOST + 1, 1 << 20, &g));
        ck_assert(!fdit_matrix_heads(&c, 72, 16 << 10, &g));
    }
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    const char *spec = test_opencl_device();
    if (!spec)
        return test_no_opencl();
    if (fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = spec }, &dev) != FDIT_OK) {
        fprintf(stderr, "%s\n", fdit_context_message(ctx));
        return EXIT_FAILURE;
    }
    int units = 0;
    while (fdit_matrix_unit_at(units))
        units++;
    Suite *suite = suite_create("attention on matrix units");
    TCase *tc = tcase_create("attention");
    tcase_add_test(tc, groups);
    tcase_add_loop_test(tc, every_unit, 0, units);
    tcase_add_loop_test(tc, sizes, 0, SIZES);
    suite_add_tcase(suite, tc);
    tc = tcase_create("mistakes");
    tcase_add_loop_test(tc, mistakes, 0, MISTAKES);
    suite_add_tcase(suite, tc);
    int result = test_run(suite);
    fdit_device_close(dev);
    fdit_context_free(ctx);
    return result;
}
