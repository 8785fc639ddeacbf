/* SPDX-License-Identifier: Apache-2.0
 * test_launches.c: launches of a block on an OpenCL device with the kernels for GPUs, forward and
 * backward, as doc/OPENCL.md lists them: a launch costs a GPU 5 microseconds and more, and small
 * models are made of them. */
#include "bench/bench.h"
#include "core/mem.h"
#include "devices.h"
#include "harness.h"
#include "opencl_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORWARD = 8, BACKWARD = 27 }; /* at most 16 and 28 are allowed */
static fdit_context *ctx;
static const char *spec;

START_TEST(block)
{
    struct fdit_bench_problem p;
    struct fdit_bench_result r;
    fdit_device *dev;
    int forward = 0, all = 0;
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = spec }, &dev));
    /* 256 tokens: gradients of biases are sums in two launches, as in every model of the public
     * sizes. */
    ck_assert_ok(ctx, fdit_bench_problem_parse(ctx, "block 64,1,2,2 b2", &p));
    ck_assert_ok(ctx, fdit_bench_run(ctx, dev, &p,
                                     &(struct fdit_bench_options){ .repetitions = 1, .profile = true }, &r));
    ck_assert(r.profiled);
    for (int op = 0; op < FDIT_OP_COUNT; op++) {
        int n = (int)r.counts[op].launches;
        all += n;
        if (op == FDIT_OP_LINEAR || op == FDIT_OP_NORM || op == FDIT_OP_ATTENTION)
            forward += n;
        if (n)
            printf("%-20s %3d calls %3d launches\n", fdit_op_name((enum fdit_op)op), (int)r.counts[op].calls,
                   n);
    }
    ck_assert_int_eq(forward, FORWARD);
    ck_assert_int_eq(all - forward, BACKWARD);
    fdit_bench_problem_fini(&p);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    setenv("FINEDIFFUSION_OPENCL_GEMM", "block im=8 nv=4 bx=16 by=8 step=16", 1);
    spec = test_opencl_device();
    if (!spec)
        return test_no_opencl();
    ctx = fdit_context_new();
    Suite *suite = suite_create("launches");
    TCase *tests = tcase_create(spec);
    tcase_add_test(tests, block);
    suite_add_tcase(suite, tests);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
