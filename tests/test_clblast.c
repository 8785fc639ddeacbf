/* SPDX-License-Identifier: Apache-2.0
 * test_clblast.c: products by CLBlast with the parameters of other people's GPUs. fdit_clblast_set
 * compares products of whole and ragged sizes, at offsets, both ways round, with sums in double;
 * here it does so for rows of the table: a few, which FDIT_TEST_SEED draws, or with
 * FDIT_CLBLAST_ALL=1 each set that fits the device (FDIT_CLBLAST_FROM: from this row on, counted
 * from 0; all take an hour on PoCL). */
#include "device/backend.h"
#include "core/mem.h"
#include "devices.h"
#include "harness.h"
#include "opencl_fixture.h"
#include "opencl/clblast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWN = 3 };
static fdit_context *ctx;
static const char *spec;

static fdit_device *open_device(void)
{
    fdit_device *dev;
    setenv("FINEDIFFUSION_OPENCL_GEMM", "default", 1);
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = spec }, &dev));
    return dev;
}

START_TEST(table)
{
    int n = 0;
    for (const char *const *row = fdit_clblast_rows; *row; row++, n++) {
        int tabs = 0;
        for (const char *c = *row; *c; c++)
            tabs += *c == '\t';
        ck_assert_msg(tabs == 5, "%s", *row);
        ck_assert_msg(!strstr(*row, "GEMMK"), "%s", *row);
        ck_assert_uint_lt(strlen(strrchr(*row, '\t')), CLBLAST_TEXT - 16);
    }
    ck_assert_int_gt(n, 400);
}
END_TEST

START_TEST(own_row)
{
    fdit_device *dev = open_device();
    char why[CLBLAST_TEXT] = "";
    for (int direct = 0; direct < 2; direct++) {
        const char *row = fdit_clblast_row(opencl_of(dev), direct);
        ck_assert_ptr_nonnull(row);
        ck_assert_msg(fdit_clblast_set(dev, strrchr(row, '\t') + 1, direct, why), "%s: %s", row, why);
    }
    fdit_device_close(dev);
}
END_TEST

/* From the closest to the farthest; a device of no known vendor, and a CPU not of Intel's, get the row for
 * all. */
START_TEST(rows_of_others)
{
    static const struct {
        struct clblast_identity id;
        const char *type, *architecture, *device;
    } cases[] = {
        { { "GPU", "AMD", "gfx1030", "AMD Radeon RX 6800 XT" }, "GPU", "gfx1030", "AMD Radeon RX 6800 XT" },
        { { "GPU", "AMD", "gfx1030", "a new board" }, "GPU", "gfx1030", "default" },
        { { "GPU", "AMD", "gfx1010:sramecc-:xnack-", "a new board" }, "GPU", "gfx1010:xnack-", "default" },
        { { "GPU", "AMD", "gfx9999", "a new board" }, "GPU", "default", "default" },
        { { "GPU", "NVIDIA", "SM8.0", "A100-PCIE-40GB" }, "GPU", "SM8.0", "A100-PCIE-40GB" },
        { { "GPU", "NVIDIA", "SM99.0", "a new card" }, "GPU", "default", "default" },
        { { "GPU", "", "default", "a new make" }, "All", "default", "default" },
        { { "CPU", "AMD", "cpu-znver9", "cpu-znver9" }, "All", "default", "default" },
        { { "CPU", "", "default", "llvmpipe" }, "All", "default", "default" },
    };
    fdit_device *dev = open_device();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int direct = 0; direct < 2; direct++) {
            const char *row = fdit_clblast_row_for(opencl_of(dev), &cases[i].id, direct);
            char wanted[256];
            ck_assert_msg(row != NULL, "%s %s: no row", cases[i].id.architecture, cases[i].id.device);
            snprintf(wanted, sizeof wanted, "%s\t%s\t%s\t%s\t%s\t", direct ? "XgemmDirect" : "Xgemm",
                     cases[i].type, strcmp(cases[i].type, "All") ? cases[i].id.vendor : "default",
                     cases[i].architecture, cases[i].device);
            ck_assert_msg(!strncmp(row, wanted, strlen(wanted)), "%s: %s", cases[i].id.device, row);
        }
    fdit_device_close(dev);
}
END_TEST

START_TEST(bad_parameters)
{
    static const char *const bad[] = { "", "KWG", "NOTHING=1", "KWG=32 NOTHING=1" };
    fdit_device *dev = open_device();
    char why[CLBLAST_TEXT] = "";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!fdit_clblast_set(dev, bad[i], false, why), "%s", bad[i]);
        ck_assert_uint_gt(strlen(why), 0);
        ck_assert_int_eq(dev->status, FDIT_OK);
    }
    ck_assert(!fdit_clblast_row_fits(opencl_of(dev), "KWG=4096 SA=1 SB=1 MWG=4096 NWG=4096 MDIMC=8 NDIMC=8",
                                     false));
    ck_assert(!fdit_clblast_row_fits(opencl_of(dev), "KWG=16 SA=0 SB=0 MDIMC=1024 NDIMC=1024", false));
    fdit_device_close(dev);
}
END_TEST

START_TEST(rows)
{
    fdit_device *dev = open_device();
    struct test_rng rng = test_rng_new("clblast");
    const char *all = getenv("FDIT_CLBLAST_ALL"), *from = getenv("FDIT_CLBLAST_FROM");
    char why[CLBLAST_TEXT] = "";
    int n = 0, tried = 0, wrong = 0, left_out = 0;
    while (fdit_clblast_rows[n])
        n++;
    for (int i = all && from ? atoi(from) : 0; all && *all == '1' ? i < n : tried < DRAWN; i++) {
        int at = all && *all == '1' ? i : test_int(&rng, n);
        const char *row = fdit_clblast_rows[at], *parameters = strrchr(row, '\t') + 1;
        bool direct = strncmp(row, "XgemmDirect", 11) == 0, known = false;
        for (int k = 0; k < at; k++)
            known |= strcmp(strrchr(fdit_clblast_rows[k], '\t') + 1, parameters) == 0;
        if (known || !fdit_clblast_row_fits(opencl_of(dev), parameters, direct)) {
            left_out += !known;
            continue;
        }
        tried++;
        if (!fdit_clblast_set(dev, parameters, direct, why)) {
            fprintf(stderr, "%s: %s\n", row, why);
            wrong++;
        }
    }
    printf("%d sets of parameters tried, %d wrong, %d do not fit\n", tried, wrong, left_out);
    ck_assert_int_eq(wrong, 0);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    setenv("FINEDIFFUSION_CACHE", "", 1);
    spec = test_opencl_device();
    if (!spec)
        return test_no_opencl();
    if (!fdit_clblast_built_in())
        return TEST_SKIP;
    ctx = fdit_context_new();
    Suite *suite = suite_create("clblast");
    TCase *tests = tcase_create(spec);
    tcase_add_test(tests, table);
    tcase_add_test(tests, own_row);
    tcase_add_test(tests, rows_of_others);
    tcase_add_test(tests, bad_parameters);
    tcase_add_test(tests, rows);
    suite_add_tcase(suite, tests);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
