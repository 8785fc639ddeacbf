/* SPDX-License-Identifier: Apache-2.0
 * test_runtimes.c: at most one OpenMP runtime in the process, that of a GEMM library. Each keeps a pool of
 * threads beside ours, and two fight for the cores. */
#include "devices.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which of the names occur among the mapped files: bits. */
static unsigned mapped(const char *const *names, int n)
{
    unsigned found = 0;
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        return 0;
    while (fgets(line, sizeof line, maps))
        for (int i = 0; i < n; i++)
            if (strstr(line, names[i]))
                found |= 1u << i;
    fclose(maps);
    return found;
}

START_TEST(one_openmp_runtime)
{
    static const char *const runtimes[] = { "/libgomp", "/libomp", "/libiomp5" };
    fdit_context *ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
    fdit_device *dev = NULL;
    const struct fdit_device_options options = { .spec = "cpu" };
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &options, &dev));
    unsigned found = mapped(runtimes, 3);
    ck_assert_msg(!(found & (found - 1)), "mapped: %s%s%s", found & 1 ? "libgomp " : "",
                  found & 2 ? "libomp " : "", found & 4 ? "libiomp5" : "");
    fdit_device_close(dev);
    fdit_context_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runtimes");
    TCase *tcase = tcase_create("openmp");
    tcase_add_test(tcase, one_openmp_runtime);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
