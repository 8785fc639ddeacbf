/* SPDX-License-Identifier: Apache-2.0
 * test_device_set.c: devices opened by name, one or several, and the list of all. */
#include "core/mem.h"
#include "device/backend.h"
#include "devices.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    unsetenv("FINEDIFFUSION_DEVICE");
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

static enum fdit_status open_named(const char *spec, fdit_device **dev)
{
    return fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = spec, .threads = 1 }, dev);
}

START_TEST(devices_by_name)
{
    fdit_device *dev;
    ck_assert_ok(ctx, open_named("ref", &dev));
    ck_assert_str_eq(dev->ops->name, "ref");
    fdit_device_close(dev);
    ck_assert_ok(ctx, open_named("CPU", &dev));
    ck_assert_str_eq(dev->ops->name, "cpu");
    ck_assert_ptr_nonnull(dev->info.name);
    fdit_device_close(dev);
    ck_assert_ok(ctx, open_named("Reference Loops", &dev)); /* part of its name */
    ck_assert_str_eq(dev->ops->name, "ref");
    fdit_device_close(dev);
    ck_assert_int_eq(open_named("e", &dev), FDIT_ERROR_ARGUMENT); /* part of several names */
    ck_assert_ptr_null(dev);
    ck_assert_int_eq(open_named("abacus", &dev), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(dev);
    const char *message = fdit_context_message(ctx);
    ck_assert_msg(strstr(message, "'abacus'") && strstr(message, "cpu (") && strstr(message, "ref ("), "%s",
                  message);
}
END_TEST

START_TEST(devices_by_default)
{
    fdit_device *dev;
    setenv("FINEDIFFUSION_DEVICE", "ref", 1);
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, NULL, &dev));
    ck_assert_str_eq(dev->ops->name, "ref");
    fdit_device_close(dev);
    ck_assert_ok(ctx, open_named("cpu", &dev)); /* what is typed counts more */
    ck_assert_str_eq(dev->ops->name, "cpu");
    fdit_device_close(dev);
    setenv("FINEDIFFUSION_DEVICE", "abacus", 1);
    ck_assert_int_eq(fdit_devices_open_one(ctx, NULL, &dev), FDIT_ERROR_ARGUMENT);
    setenv("FINEDIFFUSION_DEVICE", "", 1);
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, NULL, &dev));
    ck_assert_str_ne(dev->ops->name, "ref");
    bool gpu = dev->info.is_gpu;
    fdit_device_close(dev);
    enum fdit_status status = open_named("gpu", &dev);
    ck_assert_int_eq(status, gpu ? FDIT_OK : FDIT_ERROR_UNSUPPORTED);
    if (!gpu)
        ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "--device cpu"));
    fdit_device_close(dev);
}
END_TEST

/* Processes of one host that are given one word for several devices: each its own, around in a ring. "e" is
 * part of the names of the reference and of any processor's maker. */
START_TEST(devices_in_turn)
{
    struct fdit_device_options o = { .spec = "e", .threads = 1 };
    fdit_device *dev;
    const char *message = NULL;
    char *first = NULL;
    int meant = 0;
    if (fdit_devices_open_one(ctx, &o, &dev) == FDIT_ERROR_ARGUMENT)
        message = strstr(fdit_context_message(ctx), "means ");
    ck_assert_msg(message && sscanf(message, "means %d devices", &meant) == 1, "%s",
                  fdit_context_message(ctx));
    for (o.turn = 1; o.turn <= meant + 1; o.turn++) {
        ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
        if (!first)
            first = strdup(dev->info.spec);
        ck_assert_int_eq(!strcmp(dev->info.spec, first), o.turn == 1 || o.turn == meant + 1);
        fdit_device_close(dev);
    }
    o.spec = "ref"; /* a name that means one is everybody's */
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
    ck_assert_str_eq(dev->info.spec, "ref");
    fdit_device_close(dev);
    free(first);
}
END_TEST

/* The fastest precision is bf16 with AMX and with AMD's AVX-512-BF16, and f32 elsewhere. */
START_TEST(fastest_precision)
{
    fdit_device *dev;
    struct fdit_device_options o = { .spec = "ref", .fastest = true };
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
    ck_assert_int_eq(dev->precision, FDIT_F32);
    fdit_device_close(dev);
    o.spec = "cpu";
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
    bool fast = !strncmp(dev->info.driver, "amx,", 4) ||
                (!strncmp(dev->info.driver, "avx512bf16,", 11) && !strncmp(dev->info.name, "AMD", 3));
    ck_assert_int_eq(dev->precision, fast ? FDIT_BF16 : FDIT_F32);
    ck_assert(fdit_device_supports_precision(dev, dev->precision));
    fdit_device_close(dev);
    setenv("FINEDIFFUSION_ISA", "generic", 1);
    ck_assert_ok(ctx, fdit_devices_open_one(ctx, &o, &dev));
    ck_assert_int_eq(dev->precision, FDIT_F32);
    fdit_device_close(dev);
    unsetenv("FINEDIFFUSION_ISA");
}
END_TEST

START_TEST(devices_listed)
{
    struct fdit_device_entry *entries;
    size_t n;
    ck_assert_ok(ctx, fdit_devices_list(ctx, &entries, &n));
    ck_assert_uint_ge(n, 2);
    for (size_t i = 0; i < n; i++) {
        ck_assert(entries[i].spec && entries[i].note && entries[i].info.name);
        ck_assert(entries[i].usable || *entries[i].note); /* a reason */
        if (!entries[i].usable || (strcmp(entries[i].spec, "cpu") && strcmp(entries[i].spec, "ref")))
            continue;
        fdit_device *dev;
        ck_assert_ok(ctx, open_named(entries[i].spec, &dev));
        ck_assert_str_eq(dev->ops->name, entries[i].spec);
        fdit_device_close(dev);
    }
    fdit_devices_list_free(entries, n);
    fdit_devices_list_free(NULL, 0);
}
END_TEST

/* A list of names gives a set in that order, of which one can be taken. */
START_TEST(sets_of_devices)
{
    struct fdit_mem_stats before = fdit_mem_stats();
    struct fdit_device_options o = { .spec = "ref,cpu", .threads = 1 };
    struct fdit_devices set;
    char *text = NULL, wanted[512];
    ck_assert_ok(ctx, fdit_devices_open(ctx, &o, &set));
    ck_assert_int_eq(set.n, 2);
    ck_assert_str_eq(set.list[0]->ops->name, "ref");
    ck_assert_str_eq(set.list[1]->ops->name, "cpu");
    ck_assert_int_eq(fdit_devices_threads(&set), 0); /* the processor is not alone */
    ck_assert_ok(ctx, fdit_devices_names(ctx, &set, &text));
    snprintf(wanted, sizeof wanted, "%s + %s", set.list[0]->info.name, set.list[1]->info.name);
    ck_assert_str_eq(text, wanted);
    fdit_free(text);
    fdit_device *dev = fdit_devices_take(&set);
    ck_assert_str_eq(dev->ops->name, "ref");
    ck_assert(set.n == 0 && !set.list);
    fdit_device_close(dev);
    o.spec = "cpu";
    ck_assert_ok(ctx, fdit_devices_open(ctx, &o, &set));
    ck_assert_int_eq(fdit_devices_threads(&set), 1);
    fdit_devices_close(&set);
    fdit_devices_close(&set);
    ck_assert_ptr_null(fdit_devices_take(&set));
    static const char *const wrong[] = { "cpu,cpu", "cpu,", "cpu,,ref", "ref,abacus" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o.spec = wrong[i];
        ck_assert_int_eq(fdit_devices_open(ctx, &o, &set), FDIT_ERROR_ARGUMENT);
        ck_assert(set.n == 0 && !set.list);
    }
    ck_assert_int_eq(open_named("ref,cpu", &dev), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(dev);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "name one of them"));
    ck_assert_uint_eq(fdit_mem_stats().count, before.count);
}
END_TEST

/* Lists all, and opens one by part of its name, which lists as well. */
START_TEST(devices_without_memory)
{
    struct fdit_mem_stats before = fdit_mem_stats();
    enum fdit_status status = FDIT_ERROR_MEMORY;
    uint64_t n = 0;
    while (status != FDIT_OK) {
        struct fdit_device_entry *entries = NULL;
        size_t n_entries = 0;
        fdit_device *dev = NULL;
        fdit_mem_fail_at(++n);
        status = fdit_devices_list(ctx, &entries, &n_entries);
        if (status == FDIT_OK)
            status = open_named("reference loops", &dev);
        fdit_mem_fail_at(0);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "allocation %llu: %s",
                      (unsigned long long)n, fdit_context_message(ctx));
        ck_assert_uint_lt(n, 3000);
        fdit_device_close(dev);
        fdit_devices_list_free(entries, n_entries);
        ck_assert_uint_eq(fdit_mem_stats().count, before.count);
        ck_assert_uint_eq(fdit_mem_stats().bytes, before.bytes);
    }
    ck_assert_uint_gt(n, 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("devices");
    TCase *tc = tcase_create("devices");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, devices_by_name);
    tcase_add_test(tc, devices_by_default);
    tcase_add_test(tc, devices_in_turn);
    tcase_add_test(tc, fastest_precision);
    tcase_add_test(tc, devices_listed);
    tcase_add_test(tc, sets_of_devices);
    tcase_add_test(tc, devices_without_memory);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
