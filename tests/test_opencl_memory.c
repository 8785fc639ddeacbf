/* SPDX-License-Identifier: Apache-2.0
 * test_opencl_memory.c: what an OpenCL device takes of its memory at its highest is what the plan said, in
 * each precision, drawing and training. This program stands between the device and the library that loads
 * drivers, and counts what is asked for there: weights as they are kept, the workspace of quantised rows, and
 * whatever else. */
#include "bench/bench.h"
#include "core/mem.h"
#include "device/backend.h"
#include "harness.h"
#include "opencl/opencl.h"
#include "opencl_fixture.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* As the library has them, handles as void *. */
void *clCreateBuffer(void *context, uint64_t flags, size_t bytes, void *host, int32_t *error);
int32_t clReleaseMemObject(void *memory);

enum { MOST = 4096 };
static struct {
    void *memory;
    size_t bytes;
} alive[MOST];
static int n_alive;
static size_t now, highest;

/* The library's own function of this name. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    ck_assert_msg(found != NULL, "no %s behind this program", name);
    return found;
}

void *clCreateBuffer(void *context, uint64_t flags, size_t bytes, void *host, int32_t *error)
{
    void *(*create)(void *, uint64_t, size_t, void *, int32_t *);
    void *found = next("clCreateBuffer");
    memcpy(&create, &found, sizeof create);
    void *memory = create(context, flags, bytes, host, error);
    ck_assert_int_lt(n_alive, MOST);
    if (!memory)
        return NULL;
    alive[n_alive].memory = memory;
    alive[n_alive++].bytes = bytes;
    now += bytes;
    highest = now > highest ? now : highest;
    return memory;
}

/* Nothing here is retained: a release is the end. */
int32_t clReleaseMemObject(void *memory)
{
    int32_t (*release)(void *);
    void *found = next("clReleaseMemObject");
    memcpy(&release, &found, sizeof release);
    for (int i = 0; i < n_alive; i++)
        if (alive[i].memory == memory) {
            now -= alive[i].bytes;
            alive[i] = alive[--n_alive];
            break;
        }
    return release(memory);
}

static fdit_context *ctx;
static struct fdit_device_ops ops; /* of the device, which does not measure its peak */

static const struct {
    const char *problem;
    enum fdit_dtype precision, storage;
    const char *engine;
} cases[] = {
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_F32, FDIT_F32, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_BF16, FDIT_F32, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_F16, FDIT_F32, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_I8, FDIT_F32, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_I8, FDIT_I8, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_F32, FDIT_I8, NULL },
    { "sample 192,2,3,2 b2 size=16 classes=9", FDIT_I8, FDIT_F32, "block im=8 nv=4 bx=16 by=8 step=16" },
    { "train 192,2,3,2 b2 size=16 classes=9", FDIT_F32, FDIT_F32, NULL },
    { "train 192,2,3,2 b2 size=16 classes=9", FDIT_BF16, FDIT_F32, NULL },
    { "train full 192,2,3,2 b2 size=16 classes=9", FDIT_BF16, FDIT_F32, NULL },
};
enum { N_CASES = sizeof cases / sizeof *cases };

START_TEST(peak)
{
    const struct fdit_device_options options = { .spec = test_opencl_device(),
                                                 .precision = cases[_i].precision };
    const struct fdit_bench_options how = { .precision = cases[_i].precision,
                                            .storage = cases[_i].storage,
                                            .repetitions = 1 };
    struct fdit_bench_problem problem = { 0 };
    struct fdit_bench_result result;
    fdit_device *dev = NULL;
    if (cases[_i].engine)
        setenv("FINEDIFFUSION_OPENCL_GEMM", cases[_i].engine, 1);
    ck_assert_ok(ctx, fdit_device_open(ctx, &ops, &options, &dev));
    unsetenv("FINEDIFFUSION_OPENCL_GEMM");
    ck_assert_ok(ctx, fdit_bench_problem_parse(ctx, cases[_i].problem, &problem));
    const size_t before = now; /* a buffer for arguments that are absent */
    highest = now;
    ck_assert_ok(ctx, fdit_bench_run(ctx, dev, &problem, &how, &result));
    printf("%s in %s, weights %s: %zu bytes, planned %zu\n", cases[_i].problem,
           fdit_dtype_name(cases[_i].precision), fdit_dtype_name(cases[_i].storage), highest - before,
           result.plan_bytes);
    ck_assert_uint_eq(highest - before, result.plan_bytes);
    fdit_bench_problem_fini(&problem);
    fdit_device_close(dev);
    ck_assert_uint_eq(now, 0); /* all of it was given back */
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    if (!test_opencl_device())
        return test_no_opencl();
    ops = fdit_opencl_ops;
    ops.peak = NULL;
    Suite *suite = suite_create("memory of OpenCL devices");
    TCase *tests = tcase_create("plan");
    tcase_set_timeout(tests, 900);
    tcase_add_loop_test(tests, peak, 0, N_CASES);
    suite_add_tcase(suite, tests);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
