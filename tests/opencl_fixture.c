/* SPDX-License-Identifier: Apache-2.0
 * opencl_fixture.c: the OpenCL device of tests that need one. */
#include "opencl_fixture.h"

#include "core/mem.h"
#include "devices.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *test_opencl_device(void)
{
    static char spec[64];
    struct fdit_device_entry *entries;
    fdit_context *ctx = fdit_context_new();
    size_t n;
    if (!spec[0] && fdit_devices_list(ctx, &entries, &n) == FDIT_OK) {
        for (size_t i = 0; i < n && !spec[0]; i++)
            if (entries[i].usable && strncmp(entries[i].spec, "opencl", 6) == 0)
                snprintf(spec, sizeof spec, "%s", entries[i].spec);
        fdit_devices_list_free(entries, n);
    }
    fdit_context_free(ctx);
    return spec[0] ? spec : NULL;
}

int test_no_opencl(void)
{
    fprintf(stderr, "no OpenCL device\n");
    return getenv("FDIT_REQUIRE_DEVICES") ? EXIT_FAILURE : TEST_SKIP;
}
