/* SPDX-License-Identifier: Apache-2.0
 * test_bench.c: a device that computes wrongly is found out before it is timed, and so is one that
 * makes memory inside a run. Each case breaks one op of the CPU device in one place. */
#include "bench/bench.h"
#include "bench/report.h"
#include "core/mem.h"
#include "devices.h"
#include "harness.h"

#include <string.h>

static fdit_context *ctx;
static struct fdit_device_ops broken; /* fdit_cpu_ops with one entry replaced */

/* Adds 1 to the last of n numbers. */
static void spoil(fdit_device *dev, struct fdit_tensor t, size_t n)
{
    float value;
    ck_assert_ok(ctx, fdit_read(ctx, dev, fdit_at(t, n - 1), &value, 1));
    value += 1;
    fdit_write(dev, fdit_at(t, n - 1), &value, 1);
}

static void spoil_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    fdit_cpu_ops.linear(dev, a);
    spoil(dev, a->y, (size_t)a->samples * (size_t)a->rows * (size_t)a->n_out);
}

static void spoil_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    fdit_cpu_ops.linear_dx(dev, a);
    spoil(dev, a->dx, (size_t)a->samples * (size_t)a->rows * (size_t)a->n_in);
}

static void spoil_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    fdit_cpu_ops.linear_dw(dev, a);
    spoil(dev, a->dw, (size_t)a->n_out * (size_t)a->n_in);
}

static void spoil_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    fdit_cpu_ops.attention(dev, a);
    spoil(dev, a->out,
          (size_t)a->samples * (size_t)a->rows * (size_t)a->heads * (size_t)a->head_size);
}

static void spoil_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    fdit_cpu_ops.attention_backward(dev, a);
    spoil(dev, a->dqkv,
          3 * (size_t)a->samples * (size_t)a->rows * (size_t)a->heads * (size_t)a->head_size);
}

static void spoil_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
{
    fdit_cpu_ops.norm_backward(dev, a);
    if (fdit_has(a->dbias))
        spoil(dev, a->dbias, (size_t)a->width);
}

/* The optimiser without its EMA. */
static void no_ema(fdit_device *dev, const struct fdit_adamw_args *a)
{
    struct fdit_adamw_args without = *a;
    without.ema = FDIT_NO_TENSOR;
    fdit_cpu_ops.adamw(dev, &without);
}

static void no_scatter(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    fdit_fill(dev, a->dtable, (size_t)a->n_rows * (size_t)a->width, 0);
}

/* Leaves the guide out. */
static void unguided(fdit_device *dev, const struct fdit_sampler_args *a)
{
    struct fdit_sampler_args alone = *a;
    alone.uncond = FDIT_NO_TENSOR;
    fdit_cpu_ops.sampler(dev, &alone);
}

static void allocating_gate(fdit_device *dev, const struct fdit_gate_backward_args *a)
{
    void *p = NULL;
    ck_assert_ok(ctx, fdit_alloc(ctx, 1, 1, &p));
    fdit_free(p);
    fdit_cpu_ops.gate_backward(dev, a);
}

/* Runs a problem on the table `broken`. The message of a failure stays in ctx. */
static enum fdit_status bench(const char *text, struct fdit_bench_result *r)
{
    fdit_device *dev = NULL, *reference = NULL;
    struct fdit_bench_problem p = { 0 };
    struct fdit_bench_options o = { .precision = FDIT_F32, .storage = FDIT_F32, .repetitions = 1 };
    broken.peak = NULL; /* saves time */
    ck_assert_ok(ctx, fdit_device_open(ctx, &broken, NULL, &dev));
    ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &reference));
    ck_assert_ok(ctx, fdit_bench_problem_parse(ctx, text, &p));
    o.reference = reference;
    enum fdit_status status = fdit_bench_run(ctx, dev, &p, &o, r);
    if (status == FDIT_OK) {
        struct fdit_json list;
        fdit_json_begin_list(&list);
        fdit_bench_json(dev, r, &list);
        ck_assert_ok(ctx, fdit_json_check(ctx, &list, "results"));
        const json_t *j = json_array_get(list.root, 0);
        ck_assert(json_is_null(json_object_get(j, "peak_gflops")));
        ck_assert(json_is_null(json_object_get(j, "peak_share")));
        ck_assert(json_is_true(json_object_get(j, "verified")));
        fdit_json_fini(&list);
    }
    fdit_device_close(dev);
    fdit_device_close(reference);
    fdit_bench_problem_fini(&p);
    r->problem = NULL;
    return status;
}

#define TINY "32,2,2,2 b2 size=8 classes=9"

START_TEST(test_sound)
{
    static const char *const problems[] = {
        "linear 10x20x30",    "attention b2 n9 h3 d8",
        "block full " TINY,   "train full recompute=block " TINY,
        "train bitfit " TINY, "sample " TINY
    };
    struct fdit_bench_result r;
    broken = fdit_cpu_ops;
    ck_assert_ok(ctx, bench(problems[_i], &r));
    ck_assert(r.check.done && r.check.max_error <= r.check.allowed);
    ck_assert(r.seconds_min > 0 && r.flops > 0 && r.bytes > 0);
}
END_TEST

static void break_linear(void)
{
    broken.linear = spoil_linear;
}
static void break_linear_dx(void)
{
    broken.linear_dx = spoil_linear_dx;
}
static void break_linear_dw(void)
{
    broken.linear_dw = spoil_linear_dw;
}
static void break_attention(void)
{
    broken.attention = spoil_attention;
}
static void break_attention_backward(void)
{
    broken.attention_backward = spoil_attention_backward;
}
static void break_norm_backward(void)
{
    broken.norm_backward = spoil_norm_backward;
}
static void break_adamw(void)
{
    broken.adamw = no_ema;
}
static void break_scatter(void)
{
    broken.scatter_add = no_scatter;
}
static void break_sampler(void)
{
    broken.sampler = unguided;
}

static const struct {
    const char *problem;
    void (*breaks)(void);
    const char *says;
} wrong[] = {
    { "linear 37x20x36", break_linear, "'linear 37x20x36': y on" },
    { "linear_dx 37x20x36", break_linear_dx, "dx on" },
    { "linear_dw 37x20x36", break_linear_dw, "dw on" },
    { "attention b2 n9 h3 d8", break_attention, "out on" },
    { "attention_backward b2 n9 h3 d8", break_attention_backward, "dqkv on" },
    { "block " TINY, break_linear_dx, "gradient" },
    { "block " TINY, break_attention, "gradient" },
    { "train " TINY, break_norm_backward, "norm" },
    { "train full " TINY, break_linear_dw, "gradient of" },
    { "train " TINY, break_adamw, "EMA" },
    { "train " TINY, break_scatter, "gradient of y_embedder" },
    { "sample " TINY, break_linear, "x on" },
    { "sample " TINY, break_sampler, "x on" },
};

START_TEST(test_wrong)
{
    struct fdit_bench_result r;
    broken = fdit_cpu_ops;
    wrong[_i].breaks();
    ck_assert_int_eq(bench(wrong[_i].problem, &r), FDIT_ERROR_NUMERIC);
    const char *message = fdit_context_message(ctx);
    ck_assert_msg(strstr(message, wrong[_i].says) && strstr(message, "is off by"), "%s: %s",
                  wrong[_i].problem, message);
    ck_assert_int_eq(r.repetitions, 0);
}
END_TEST

START_TEST(test_allocation)
{
    struct fdit_bench_result r;
    broken = fdit_cpu_ops;
    broken.gate_backward = allocating_gate;
    ck_assert_int_eq(bench("train " TINY, &r), FDIT_ERROR_NUMERIC);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "made 4 allocations"));
}
END_TEST

/* Any allocation may fail, and nothing is left behind. */
START_TEST(test_shortage)
{
    static const char *const problems[] = { "linear 4x8x8", "attention_backward n4 h1 d8",
                                            "train 8,1,1,2 size=4 classes=3",
                                            "sample 8,1,1,2 size=4 classes=3" };
    struct fdit_bench_result r;
    enum fdit_status status = FDIT_ERROR_MEMORY;
    broken = fdit_cpu_ops;
    broken.peak = NULL;
    for (uint64_t n = 1; status != FDIT_OK; n++) {
        fdit_device *dev = NULL, *reference = NULL;
        struct fdit_bench_problem p = { 0 };
        fdit_fail(ctx, FDIT_OK, "a message that the next one replaces");
        size_t before = fdit_mem_stats().count;
        ck_assert_ok(ctx, fdit_device_open(ctx, &broken, NULL, &dev));
        ck_assert_ok(ctx, fdit_device_open(ctx, &fdit_ref_ops, NULL, &reference));
        fdit_mem_fail_at(n);
        status = fdit_bench_problem_parse(ctx, problems[_i], &p);
        if (status == FDIT_OK)
            status = fdit_bench_run(
                ctx, dev, &p,
                &(struct fdit_bench_options){ .repetitions = 1, .reference = reference }, &r);
        fdit_mem_fail_at(0);
        fdit_bench_problem_fini(&p);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "allocation %d: %s", (int)n,
                      fdit_context_message(ctx));
        fdit_device_close(dev);
        fdit_device_close(reference);
        /* Less one when not even the message found memory. */
        ck_assert_uint_le(fdit_mem_stats().count, before);
    }
}
END_TEST

int main(void)
{
    ctx = fdit_context_new();
    Suite *suite = suite_create("bench");
    TCase *cases = tcase_create("bench");
    tcase_add_loop_test(cases, test_sound, 0, 6);
    tcase_add_loop_test(cases, test_wrong, 0, (int)(sizeof wrong / sizeof *wrong));
    tcase_add_test(cases, test_allocation);
    tcase_add_loop_test(cases, test_shortage, 0, 4);
    suite_add_tcase(suite, cases);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
