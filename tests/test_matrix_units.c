/* SPDX-License-Identifier: Apache-2.0
 * test_matrix_units.c: cl/linear_matrix.cl with the fragments of every matrix unit, the instruction
 * emulated, on the first OpenCL device; no unit is needed. Products of ragged sizes against sums in double,
 * from operands that 16 bits hold, so that the result is as near as f32 is; from operands of f32 in parts;
 * and the mistakes that are easily made in such a kernel, each of which has to give wrong numbers. */
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

enum form { WEIGHT, PLAIN, GRADIENT }; /* -DB_ROWS, nothing, -DA_COLUMNS -DB_ROWS */
struct product {
    const struct matrix_unit *unit;
    enum form form;
    int M, N, K, parts;
    bool f16;
};

static fdit_context *ctx;
static fdit_device *dev;

static cl_kernel build(const struct product *p, const char *text)
{
    struct gemm_config c = fdit_matrix_config(p->unit, true);
    char tile[120], options[320];
    c.step = p->f16 ? 32 : 16;
    fdit_matrix_options(&c, tile);
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DGROUP=256 %s -DPARTS=%d%s%s%s%s", tile, p->parts,
             p->f16 ? " -DF16" : "", p->form == GRADIENT ? " -DA_COLUMNS" : "",
             p->form != PLAIN ? " -DB_ROWS" : "",
             p->M % 4 == 0 && p->N % 4 == 0 && p->K % 4 == 0 ? " -DALIGNED" : "");
    return test_kernel_build(dev, text, options, "linear_matrix");
}

/* Runs it: y [M, N] from a and b as the form has them. */
static void launch(const struct product *p, cl_kernel kernel, float *y, float *a, float *b)
{
    const struct gemm_config c = fdit_matrix_config(p->unit, true);
    const size_t M = (size_t)p->M, N = (size_t)p->N, K = (size_t)p->K, items = (size_t)c.group;
    cl_mem out = test_memory(dev, y, M * N), in = test_memory(dev, a, M * K), w = test_memory(dev, b, N * K);
    const cl_mem tensors[9] = { out, in, w, in, in, in, in, in, in };
    const cl_int numbers[8] = {
        p->M, p->N, p->K, p->form == GRADIENT ? p->M : p->K, p->form == PLAIN ? p->K : p->N, 1, 0, 0
    };
    const cl_ulong zero = 0;
    cl_uint n = 0;
    for (int i = 0; i < 9; i++) {
        clSetKernelArg(kernel, n++, sizeof tensors[i], &tensors[i]);
        clSetKernelArg(kernel, n++, sizeof zero, &zero);
    }
    for (int i = 0; i < 8; i++)
        clSetKernelArg(kernel, n++, sizeof numbers[i], &numbers[i]);
    const size_t tn = (size_t)c.tn, tm = (size_t)c.tm;
    const size_t global[2] = { (N + tn - 1) / tn * items, (M + tm - 1) / tm }, local[2] = { items, 1 };
    cl_command_queue queue = opencl_of(dev)->queue;
    ck_assert_int_eq(clEnqueueNDRangeKernel(queue, kernel, 2, NULL, global, local, 0, NULL, NULL),
                     CL_SUCCESS);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, M * N * sizeof *y, y, 0, NULL, NULL),
                     CL_SUCCESS);
    clReleaseMemObject(out);
    clReleaseMemObject(in);
    clReleaseMemObject(w);
}

/* The sum of squared differences from sums in double, over the sum of squares; infinite for NaN. */
static double error_of(const struct product *p, const float *y, const float *a, const float *b)
{
    double off = 0, all = 0;
    for (int m = 0; m < p->M; m++)
        for (int n = 0; n < p->N; n++) {
            double sum = 0;
            for (int k = 0; k < p->K; k++)
                sum += (double)a[p->form == GRADIENT ? k * p->M + m : m * p->K + k] *
                       (double)b[p->form == PLAIN ? n * p->K + k : k * p->N + n];
            off += (y[m * p->N + n] - sum) * (y[m * p->N + n] - sum);
            all += sum * sum;
        }
    return isfinite(off) ? off / all : (double)INFINITY;
}

static double run(const struct product *p, const char *from, const char *to)
{
    const size_t m = (size_t)p->M, n = (size_t)p->N, k = (size_t)p->K;
    float *a = calloc(m * k, sizeof *a), *b = calloc(n * k, sizeof *b), *y = calloc(m * n, sizeof *y);
    char *text = test_kernel_source("linear_matrix.cl", from, to);
    struct test_rng rng = test_rng_new(p->unit->name);
    ck_assert(a && b && y);
    test_fill_normal(&rng, a, m * k, 0.5, 1);
    test_fill_normal(&rng, b, n * k, -0.25, 1);
    for (size_t i = 0; p->parts == 1 && i < m * k; i++)
        a[i] = fdit_bf16_value(fdit_bf16_of(a[i]));
    for (size_t i = 0; p->parts == 1 && i < n * k; i++)
        b[i] = fdit_bf16_value(fdit_bf16_of(b[i]));
    cl_kernel kernel = build(p, text);
    launch(p, kernel, y, a, b);
    double error = error_of(p, y, a, b);
    clReleaseKernel(kernel);
    free(text);
    free(a);
    free(b);
    free(y);
    return error;
}

static void right(struct product p, double allowed)
{
    double error = run(&p, NULL, NULL);
    ck_assert_msg(error <= allowed, "%s, form %d, %dx%dx%d, %d parts%s: NMSE %.3g, %.3g allowed",
                  p.unit->name, (int)p.form, p.M, p.N, p.K, p.parts, p.f16 ? ", f16" : "", error, allowed);
}

/* f32's own error in a sum of 50 numbers: 1e-15 was measured. */
START_TEST(every_unit)
{
    const struct matrix_unit *unit = fdit_matrix_unit_at(_i);
    right((struct product){ unit, WEIGHT, 37, 45, 50, 1, false }, 1e-13);
    right((struct product){ unit, GRADIENT, 37, 45, 50, 1, false }, 1e-13);
    right((struct product){ unit, PLAIN, 64, 36, 96, 1, true }, 1e-13);
}
END_TEST

/* Two parts have 16 digits of an operand, three all of f32's. */
START_TEST(parts)
{
    const struct matrix_unit *unit = fdit_matrix_unit_at(_i);
    right((struct product){ unit, WEIGHT, 33, 40, 52, 2, false }, 1e-9);
    right((struct product){ unit, PLAIN, 33, 40, 52, 3, false }, 1e-13);
    struct product two = { unit, GRADIENT, 33, 40, 52, 2, false };
    ck_assert_double_gt(run(&two, NULL, NULL), 1e-13);
}
END_TEST

/* Each is a mistake in the kernel or in a unit's map; found: the numbers are far off. */
START_TEST(mistakes)
{
    static const struct {
        const char *unit, *what, *from, *to;
    } all[] = {
        { "mma", "two fragments exchanged", "column + j * UN, k / 2)", "column + (j ^ 1) * UN, k / 2)" },
        { "mma", "a lane too far", "int r_ = (row) + lane / 4,", "int r_ = (row) + (lane + 1) % 32 / 4," },
        { "dpas16", "low and high half exchanged", "h_ = (uint)(lane % 2);", "h_ = (uint)(lane % 2 ^ 1);" },
        { "mfma", "the tail not zeroes", "if (row >= rows || i >= n)\n        return (float4)(0.0f);",
          "if (row >= rows || i >= n)\n        return (float4)(1.0f);" },
        { "mma", "one step of k too few", "next < K + TK;", "next < K;" },
        { "wmma12", "row and column of the result exchanged", "#define C_COLUMN(e) (lane % 16)",
          "#define C_COLUMN(e) (lane / 16 * 8 + (e))" },
        { "mma", "sums not cleared", "C_ELEMENT(c[i][j], e) = 0;", "C_ELEMENT(c[i][j], e) = 1;" },
        { "wmma", "the map of 64 lanes for 32", "#define C_ROW(e) (lane / 16 + (e) * (LANES / 16))",
          "#define C_ROW(e) ((lane / 16 + (e)*4) % 16)" },
        { "wmma", "the second copy missing", "int r_ = (row) + lane % 16;",
          "int r_ = (row) + (lane < 16 ? lane : 0);" },
        { "mfma", "one buffer of two", "stage(tiles + (t + 1) % 2 * (PARTS * PLANE),", "stage(tiles," },
        { "dpas8", "rows in another place than they are read", "tile + p * PLANE;",
          "tile + p * PLANE + LDW;" },
    };
    const struct product p = { fdit_matrix_unit_find(all[_i].unit), GRADIENT, 37, 45, 50, 1, false };
    double error = run(&p, all[_i].from, all[_i].to);
    ck_assert_msg(error > 1e-4, "%s, %s: not found, NMSE %.3g", all[_i].unit, all[_i].what, error);
}
END_TEST
enum { MISTAKES = 11 };

START_TEST(words)
{
    struct gemm_config c;
    char text[GEMM_TEXT];
    for (int i = 0; fdit_matrix_unit_at(i); i++)
        for (int emulated = 0; emulated < 2; emulated++) {
            struct gemm_config usual = fdit_matrix_config(fdit_matrix_unit_at(i), emulated);
            ck_assert(fdit_matrix_valid(&usual));
            fdit_gemm_config_text(&usual, text);
            ck_assert_msg(fdit_gemm_config_parse(text, &c), "%s", text);
            ck_assert(c.unit == usual.unit && c.emulated == usual.emulated && c.tm == usual.tm &&
                      c.waves == usual.waves && c.group == usual.group);
        }
    for (int i = 0; fdit_matrix_unit_at(i); i++) {
        c = fdit_matrix_config(fdit_matrix_unit_at(i), false);
        ck_assert_uint_le(fdit_matrix_local_bytes(&c), 32 << 10);
        c.parts = 3;
        fdit_matrix_fit(&c, 48 << 10);
        ck_assert_msg(fdit_matrix_valid(&c) && fdit_matrix_local_bytes(&c) <= 48 << 10, "%s",
                      fdit_matrix_unit_at(i)->name);
    }
    ck_assert(fdit_gemm_config_parse("matrix emulated-mma tm=64 parts=2", &c) && c.tm == 64 && c.parts == 2);
    static const char *const wrong[] = { "matrix",
                                         "matrix mmaa",
                                         "matrix mma tm=8",
                                         "matrix mma waves=3",
                                         "matrix mma step=8",
                                         "matrix emulated-mma group=512",
                                         "matrix mma parts=4",
                                         "matrix mma x=1" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(!fdit_gemm_config_parse(wrong[i], &c), "%s", wrong[i]);
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
    Suite *suite = suite_create("matrix units");
    TCase *tc = tcase_create("units");
    tcase_add_test(tc, words);
    tcase_add_loop_test(tc, every_unit, 0, units);
    tcase_add_loop_test(tc, parts, 0, 2); /* mma and wmma: parts are not the unit's */
    tcase_add_loop_test(tc, mistakes, 0, MISTAKES);
    suite_add_tcase(suite, tc);
    int result = test_run(suite);
    fdit_device_close(dev);
    fdit_context_free(ctx);
    return result;
}
