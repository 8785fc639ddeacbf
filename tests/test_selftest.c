/* SPDX-License-Identifier: Apache-2.0
 * test_selftest.c: the self-test passes on devices that are right (FDIT_TEST_DEVICE; cpu) on tiny shapes, and
 * finds each kind of wrong one: another number, a NaN, a write beside the output, a changed input, an op that
 * fails. Each case breaks one entry of the CPU device. */
#include "device/backend.h"
#include "core/mem.h"
#include "devices.h"
#include "harness.h"
#include "device/cases.h"
#include "selftest/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static fdit_device *reference;

struct seen {
    int passed, failed, ops[FDIT_OP_COUNT];
    char reason[512], text[128];
};

static void look(void *user, const struct fdit_probe *p, const struct fdit_probe_result *r)
{
    struct seen *s = user;
    s->ops[p->op]++;
    s->passed += r->passed;
    s->failed += !r->passed;
    if (!r->passed && !s->reason[0]) {
        memcpy(s->reason, r->reason, sizeof s->reason);
        memcpy(s->text, p->text, sizeof s->text);
    }
}

START_TEST(right_device)
{
    const char *spec = getenv("FDIT_TEST_DEVICE");
    fdit_device *dev;
    struct seen seen = { 0 };
    ck_assert_ok(
        ctx, fdit_devices_open_one(ctx, &(struct fdit_device_options){ .spec = spec ? spec : "cpu" }, &dev));
    ck_assert_ok(ctx, fdit_cases_run(ctx, reference, dev, true, look, &seen));
    ck_assert_msg(seen.failed == 0, "%s: %s", seen.text, seen.reason);
    for (int op = 0; op < FDIT_OP_COUNT; op++)
        ck_assert_msg(seen.ops[op] >= 4 || op == FDIT_OP_FILL || op == FDIT_OP_COPY, "%s: %d cases",
                      fdit_op_name((enum fdit_op)op), seen.ops[op]);
    ck_assert_int_eq(fdit_cases_families(), FDIT_OP_COUNT - 2);
    ck_assert_uint_eq(dev->buffer_bytes + dev->weight_bytes, 0);
    fdit_device_close(dev);
}
END_TEST

/* ------------------------------------------------------------------ wrong devices */

static void poke(fdit_device *dev, struct fdit_tensor t, ptrdiff_t at, float value)
{
    t.offset = (size_t)((ptrdiff_t)t.offset + at);
    fdit_write(dev, t, &value, 1);
}

static void wrong_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    float y;
    size_t last = (size_t)a->samples * (size_t)a->tokens * (size_t)a->width - 1;
    fdit_cpu_ops.gate(dev, a);
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_at(a->y, last), &y, 1));
    poke(dev, a->y, (ptrdiff_t)last, y + 0.01f);
}

static void nan_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    fdit_cpu_ops.norm(dev, a);
    poke(dev, a->rstd, 0, NAN);
}

static void wide_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    fdit_cpu_ops.axpy(dev, a);
    poke(dev, a->y, (ptrdiff_t)a->n, 1);
}

static void early_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
{
    fdit_cpu_ops.column_sum(dev, a);
    poke(dev, a->db, -1, 1);
}

static void greedy_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    fdit_cpu_ops.linear_dw(dev, a);
    poke(dev, a->x, 0, 7);
}

static void idle_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    (void)dev;
    (void)a;
}

static void failing_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    (void)a;
    fdit_device_fail(dev, FDIT_ERROR_DEVICE, "the card fell off the bus");
}

static struct fdit_device_ops broken;

static void expect(const char *op, const char *words, bool quick)
{
    fdit_device *dev;
    struct seen seen = { 0 };
    ck_assert_ok(ctx, fdit_device_open(ctx, &broken, NULL, &dev));
    ck_assert_ok(ctx, fdit_cases_run(ctx, reference, dev, true, look, &seen));
    ck_assert_msg(seen.failed > 0 && seen.passed > 0, "%s broken: %d failed", op, seen.failed);
    ck_assert_msg(strncmp(seen.text, op, strlen(op)) == 0, "%s broken, found in %s", op, seen.text);
    ck_assert_msg(strstr(seen.reason, words) != NULL, "%s: '%s' is not in: %s", op, words, seen.reason);
    enum fdit_status status = fdit_cases_quick(ctx, reference, dev, false);
    ck_assert_int_eq(status, quick ? FDIT_ERROR_DEVICE : FDIT_OK);
    if (quick)
        ck_assert_msg(strstr(fdit_context_message(ctx), op) != NULL, "%s", fdit_context_message(ctx));
    fdit_device_close(dev);
    broken = fdit_cpu_ops;
}

START_TEST(wrong_devices)
{
    broken = fdit_cpu_ops;
    broken.gate = wrong_gate;
    expect("gate", "y: error", false);
    broken.norm = nan_norm;
    expect("norm", "rstd: error inf", true);
    broken.axpy = wide_axpy;
    expect("axpy", "memory behind y, the last tensor, was written", true);
    broken.column_sum = early_column_sum;
    expect("column_sum", "memory before db was written", true);
    broken.linear_dw = greedy_linear_dw;
    expect("linear_dw", "the input x was changed", false);
    broken.scatter_add = idle_scatter_add;
    expect("scatter_add", "dtable", false);
    broken.attention = failing_attention;
    expect("attention", "the card fell off the bus", false);
}
END_TEST

/* The whole report: it names the op, counts, and the device can be used again. */
START_TEST(report)
{
    fdit_device *dev;
    struct fdit_selftest_summary s;
    struct fdit_selftest_options o = { .reference = reference, .tiny = true };
    broken = fdit_cpu_ops;
    ck_assert_ok(ctx, fdit_device_open(ctx, &broken, NULL, &dev));
    ck_assert_ok(ctx, fdit_selftest_run(ctx, dev, &o, &s));
    ck_assert_int_eq(s.failed, 0);
    ck_assert_ptr_nonnull(strstr(s.report, "pass: attention_backward: 4 cases"));
    ck_assert_ptr_nonnull(strstr(s.report, "pass: computes afterwards"));
    int passed = s.passed;
    fdit_free(s.report);
    fdit_device_close(dev);
    broken.scatter_add = idle_scatter_add;
    ck_assert_ok(ctx, fdit_device_open(ctx, &broken, NULL, &dev));
    ck_assert_ok(ctx, fdit_selftest_run(ctx, dev, &o, &s));
    ck_assert_int_eq(s.passed + s.failed, passed);
    ck_assert_int_gt(s.failed, 0);
    ck_assert_ptr_nonnull(strstr(s.report, "FAIL: scatter_add: 4 cases"));
    ck_assert_ptr_nonnull(strstr(s.report, "FAIL: scatter_add 9 to 6x33: dtable"));
    fdit_free(s.report);
    fdit_device_close(dev);
    broken = fdit_cpu_ops;
}
END_TEST

/* A stop request and a lack of memory are not the device's. */
START_TEST(not_its_fault)
{
    fdit_device *dev;
    struct seen seen = { 0 };
    struct fdit_selftest_summary s;
    struct fdit_selftest_options o = { .reference = reference, .tiny = true };
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_cpu_ops, NULL, &dev));
    /* the devices keep the largest workspace they were asked for */
    ck_assert_ok(ctx, fdit_selftest_run(ctx, dev, &o, &s));
    fdit_free(s.report);
    size_t before = fdit_mem_stats().count;
    enum fdit_status status = FDIT_ERROR_MEMORY;
    for (uint64_t n = 1; n < 60 && status != FDIT_OK; n++) {
        fdit_mem_fail_at(n);
        status = fdit_cases_quick(ctx, reference, dev, false);
        fdit_mem_fail_at(0);
        ck_assert(status == FDIT_OK || status == FDIT_ERROR_MEMORY);
        ck_assert_uint_eq(fdit_mem_stats().count, before);
    }
    for (uint64_t n = 1; n < 4000; n = n * 3 / 2 + 1) {
        fdit_mem_fail_at(n);
        status = fdit_selftest_run(ctx, dev, &o, &s);
        fdit_mem_fail_at(0);
        if (status == FDIT_OK)
            fdit_free(s.report);
        ck_assert(status == FDIT_OK || status == FDIT_ERROR_MEMORY);
        ck_assert_uint_eq(fdit_mem_stats().count, before);
    }
    fdit_context *stopped = fdit_context_new();
    fdit_context_stop(stopped);
    ck_assert_int_eq(fdit_cases_run(stopped, reference, dev, true, look, &seen), FDIT_INTERRUPTED);
    fdit_context_free(stopped);
    fdit_device_close(dev);
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    if (fdit_device_open(ctx, &fdit_ref_ops, NULL, &reference) != FDIT_OK)
        return EXIT_FAILURE;
    Suite *suite = suite_create("selftest");
    TCase *tcase = tcase_create("selftest");
    tcase_add_test(tcase, right_device);
    /* under a simulator only its device is looked at */
    if (!getenv("FDIT_TEST_DEVICE")) {
        tcase_add_test(tcase, wrong_devices);
        tcase_add_test(tcase, report);
        tcase_add_test(tcase, not_its_fault);
    }
    suite_add_tcase(suite, tcase);
    int result = test_run(suite);
    fdit_device_close(reference);
    fdit_context_free(ctx);
    return result;
}
