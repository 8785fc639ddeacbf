/* SPDX-License-Identifier: Apache-2.0
 * test_bench.c: a device that computes wrongly is found out before it is timed, and so is one that
 * makes memory inside a run. Each case breaks one op of the CPU device in one place. Charts hold the
 * same boxes and texts as SVG and as PNG. */
#include "device/backend.h"
#include "bench/bench.h"
#include "bench/chart.h"
#include "core/mem.h"
#include "devices.h"
#include "picture/picture.h"
#include "harness.h"

#include <stdlib.h>
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
    spoil(dev, a->y, (size_t)a->samples * (size_t)a->tokens * (size_t)a->n_out);
}

static void spoil_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    fdit_cpu_ops.linear_dx(dev, a);
    spoil(dev, a->dx, (size_t)a->samples * (size_t)a->tokens * (size_t)a->n_in);
}

static void spoil_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    fdit_cpu_ops.linear_dw(dev, a);
    spoil(dev, a->dw, (size_t)a->n_out * (size_t)a->n_in);
}

static void spoil_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    fdit_cpu_ops.attention(dev, a);
    spoil(dev, a->out, (size_t)a->samples * (size_t)a->tokens * (size_t)a->heads * (size_t)a->head_size);
}

static void spoil_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    fdit_cpu_ops.attention_backward(dev, a);
    spoil(dev, a->dqkv, 3 * (size_t)a->samples * (size_t)a->tokens * (size_t)a->heads * (size_t)a->head_size);
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
    fdit_fill(dev, a->dtable, (size_t)a->table_rows * (size_t)a->width, 0);
}

/* Leaves the guide out. */
static void unguided(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    struct fdit_sampler_step_args alone = *a;
    alone.uncond = FDIT_NO_TENSOR;
    fdit_cpu_ops.sampler_step(dev, &alone);
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
    static const char *const problems[] = { "linear 10x20x30",    "attention b2 n9 h3 d8",
                                            "block full " TINY,   "train full recompute=block " TINY,
                                            "train bitfit " TINY, "sample " TINY };
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
    broken.sampler_step = unguided;
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
                ctx, dev, &p, &(struct fdit_bench_options){ .repetitions = 1, .reference = reference }, &r);
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

/* -------------------------------------------------------------------------------------- charts */

/* A set of results: text is JSON with ' for ". */
static struct fdit_bench_set make_set(const char *name, const char *text)
{
    struct fdit_bench_set set = { 0 };
    char *json = NULL;
    json_error_t error;
    ck_assert_ok(ctx, fdit_strdup(ctx, name, &set.name));
    ck_assert_ok(ctx, fdit_strdup(ctx, text, &json));
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    set.results = json_loads(json, 0, &error);
    ck_assert_msg(set.results != NULL, "%s: %s", text, error.text);
    fdit_free(json);
    return set;
}

static const uint8_t *pixel(const struct fdit_picture *p, int x, int y)
{
    ck_assert(x >= 0 && y >= 0 && x < p->width && y < p->height);
    return p->pixels + 3 * ((size_t)y * (size_t)p->width + (size_t)x);
}

static unsigned colour_at(const struct fdit_picture *p, int x, int y)
{
    const uint8_t *c = pixel(p, x, y);
    return (unsigned)c[0] << 16 | (unsigned)c[1] << 8 | c[2];
}

/* Pixels of the rectangle that are not white. */
static int count_ink(const struct fdit_picture *p, int x0, int y0, int x1, int y1)
{
    int n = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            n += colour_at(p, x, y) != 0xffffff;
    return n;
}

/* The chart of the sets in both formats; *svg ends with a 0. Free both. */
static void make_charts(const struct fdit_bench_set *sets, int n, char **svg, struct fdit_picture *png)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    ck_assert_ok(ctx, fdit_bench_chart(ctx, sets, n, FDIT_CHART_SVG, &bytes, &size));
    *svg = strndup((const char *)bytes, size);
    ck_assert_uint_eq(strlen(*svg), size);
    fdit_free(bytes);
    ck_assert_ok(ctx, fdit_bench_chart(ctx, sets, n, FDIT_CHART_PNG, &bytes, &size));
    ck_assert_ok(ctx, fdit_picture_decode(ctx, bytes, size, "chart", png));
    fdit_free(bytes);
}

/* Every <rect> but the paper has its colour in the picture, to its edges and no further. Returns how
 * many there are. */
static int check_boxes(const char *svg, const struct fdit_picture *p)
{
    int found = 0;
    const char *at = strstr(svg, "<rect");
    while ((at = strstr(at + 1, "<rect")) != NULL) {
        int x, y, height;
        double width;
        unsigned colour;
        ck_assert_int_eq(sscanf(at, "<rect x=\"%d\" y=\"%d\" width=\"%lf\" height=\"%d\" fill=\"#%6x\"", &x,
                                &y, &width, &height, &colour),
                         5);
        int last = x + (int)width - 1, behind = x + (int)(width + 0.999);
        ck_assert_uint_eq(colour_at(p, x, y), colour);
        ck_assert_uint_eq(colour_at(p, x, y + height - 1), colour);
        ck_assert_uint_eq(colour_at(p, last, y), colour);
        ck_assert_uint_eq(colour_at(p, last, y + height - 1), colour);
        ck_assert_uint_eq(colour_at(p, behind, y + height / 2), 0xffffff);
        ck_assert_uint_eq(colour_at(p, x - 1, y + height / 2), 0xffffff);
        ck_assert_int_eq(count_ink(p, x, y - 1, last, y), 0);
        ck_assert_int_eq(count_ink(p, x, y + height, last, y + height + 1), 0);
        found++;
    }
    return found;
}

/* Every <text> is there: ink at its side of its place, as much as a text so long has, none before it. */
static int check_texts(const char *svg, const struct fdit_picture *p)
{
    int found = 0;
    for (const char *at = svg; (at = strstr(at, "<text")) != NULL; at++) {
        int x, y;
        const char *text = strchr(at, '>') + 1, *end = strstr(text, "</text>");
        const char *to_left = strstr(at, "text-anchor=\"end\"");
        bool left = to_left && to_left < text;
        ck_assert_int_eq(sscanf(at, "<text x=\"%d\" y=\"%d\"", &x, &y), 2);
        int n = (int)(end - text), wide = 6 * n;
        int ink = count_ink(p, left ? x - wide : x, y - 10, left ? x : x + wide, y + 3);
        ck_assert_msg(ink > 4 * n, "%d pixels of %.*s", ink, n, text);
        ck_assert_int_eq(count_ink(p, left ? x + 1 : x - 4, y - 10, left ? x + 5 : x, y + 3), 0);
        found++;
    }
    return found;
}

#define LONG_PROBLEM                                                                          \
    "train full recompute=block DiT-XL/2 b2 size=64 classes=10011 channels=1 and more words " \
    "than there is place for"

START_TEST(test_chart)
{
    struct fdit_bench_set sets[] = {
        make_set("one", "[{'problem': 'linear 1x2x3', 'seconds_min': 2, 'gflops': 100, 'peak_share': 0.5},"
                        " {'problem': 'block <&>', 'seconds_min': 1, 'gflops': 25.5}]"),
        make_set("two", "[{'problem': 'linear 1x2x3', 'seconds_min': 1, 'gflops': 200}]"),
    };
    struct fdit_picture p = { 0 };
    char *svg = NULL;
    make_charts(sets, 2, &svg, &p);
    /* 56 above, 3 bars of 19 and 2 groups of 16, 8 below */
    ck_assert(p.width == 860 && p.height == 153);
    ck_assert_ptr_nonnull(strstr(svg, "width=\"860\" height=\"153\""));
    ck_assert_ptr_nonnull(strstr(svg, ">block &lt;&amp;&gt;</text>"));
    ck_assert_ptr_nonnull(strstr(svg, "<title>one: 2000 ms</title>"));
    /* Bars begin at 270; 200 GFLOP/s are the longest, 430 pixels. */
    ck_assert_uint_eq(colour_at(&p, 270 + 214, 56 + 8), 0x2a78d6);
    ck_assert_uint_eq(colour_at(&p, 270 + 215, 56 + 8), 0xffffff);
    ck_assert_uint_eq(colour_at(&p, 270 + 429, 75 + 8), 0xeb6834);
    ck_assert_uint_eq(colour_at(&p, 270 + 430, 75 + 8), 0xffffff);
    ck_assert_uint_eq(colour_at(&p, 270 + 53, 110 + 8), 0x2a78d6); /* 54.8 pixels: */
    const uint8_t *edge = pixel(&p, 270 + 54, 110 + 8);
    ck_assert_int_le(abs(edge[0] - (int)(0xff - 0.8 * (0xff - 0x2a))), 1);
    ck_assert_uint_eq(colour_at(&p, 270 + 55, 110 + 8), 0xffffff);
    /* The legend's squares. */
    ck_assert_uint_eq(colour_at(&p, 270 + 6, 36), 0x2a78d6);
    ck_assert_int_eq(check_boxes(svg, &p), 5);
    ck_assert_int_eq(check_texts(svg, &p), 1 + 2 + 2 + 3);
    free(svg);
    fdit_picture_fini(&p);
    fdit_bench_set_fini(&sets[0]);
    fdit_bench_set_fini(&sets[1]);
}
END_TEST

/* Long texts make room or end in an ellipsis, a long legend takes more lines; numbers that no run gives
 * do no harm. */
START_TEST(test_chart_odd)
{
    static const char *const odd[] = {
        "[{'problem': '" LONG_PROBLEM "', 'seconds_min': 1, 'gflops': 1}]",
        "[{'problem': 'linear 1x2x3', 'seconds_min': 1}]",
        "[{'problem': 'x', 'seconds_min': 1, 'gflops': -5, 'peak_share': -1}]",
        "[{'problem': 'x', 'seconds_min': 1, 'gflops': 1e308, 'peak_share': 1e300}]",
        "[{'problem': 'x', 'seconds_min': 1e-300, 'gflops': 1234567, 'peak_share': 1}]",
        "[{'problem': '\\u0001\\uffff', 'seconds_min': 1, 'gflops': 'many'}]",
    };
    struct fdit_bench_set sets[6];
    struct fdit_picture p = { 0 };
    char *svg = NULL;
    for (int i = 0; i < 6; i++)
        sets[i] = make_set(i % 2 ? "a name of \xff bytes" : LONG_PROBLEM, odd[i]);
    for (int i = 0; i < 6; i++) {
        make_charts(&sets[i], 1, &svg, &p);
        ck_assert_int_eq(check_boxes(svg, &p), 2);
        ck_assert_int_eq(check_texts(svg, &p), 4);
        free(svg);
        fdit_picture_fini(&p);
    }
    make_charts(sets, 6, &svg, &p);
    ck_assert_int_eq(check_boxes(svg, &p), 12);
    ck_assert_int_eq(check_texts(svg, &p), 1 + 6 + 4 + 6);
    ck_assert_ptr_nonnull(strstr(svg, "\xe2\x80\xa6</text>"));
    ck_assert_ptr_nonnull(strstr(svg, "a name of \\xff bytes</text>"));
    ck_assert_int_eq(count_ink(&p, 0, 24, 12, p.height), 0); /* no label is cut off at the left */
    ck_assert_int_eq(count_ink(&p, p.width - 6, 0, p.width, p.height), 0);
    free(svg);
    fdit_picture_fini(&p);
    for (int i = 0; i < 6; i++)
        fdit_bench_set_fini(&sets[i]);
}
END_TEST

START_TEST(test_chart_too_large)
{
    enum { MANY = 17000 };
    struct fdit_bench_set one = make_set("x", "[{'problem': 'x', 'seconds_min': 1, 'gflops': 1}]"), *sets;
    uint8_t *bytes = NULL;
    size_t size = 0;
    ck_assert_ok(ctx, fdit_alloc(ctx, MANY, sizeof *sets, &sets));
    for (int i = 0; i < MANY; i++)
        sets[i] = one;
    ck_assert_int_eq(fdit_bench_chart(ctx, sets, MANY, FDIT_CHART_PNG, &bytes, &size), FDIT_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(fdit_context_message(ctx), "17000 bars"));
    ck_assert_ptr_null(bytes);
    ck_assert_ok(ctx, fdit_bench_chart(ctx, sets, MANY, FDIT_CHART_SVG, &bytes, &size));
    fdit_free(bytes);
    fdit_free(sets);
    fdit_bench_set_fini(&one);
}
END_TEST

START_TEST(test_chart_shortage)
{
    struct fdit_bench_set set = make_set("x", "[{'problem': 'x', 'seconds_min': 1, 'gflops': 1}]");
    enum fdit_status status = FDIT_ERROR_MEMORY;
    int failed = 0;
    for (uint64_t n = 1; status != FDIT_OK; n++) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        fdit_fail(ctx, FDIT_OK, "a message that the next one replaces");
        size_t before = fdit_mem_stats().count;
        fdit_mem_fail_at(n);
        status = fdit_bench_chart(ctx, &set, 1, _i ? FDIT_CHART_PNG : FDIT_CHART_SVG, &bytes, &size);
        fdit_mem_fail_at(0);
        ck_assert_msg(status == FDIT_OK || status == FDIT_ERROR_MEMORY, "allocation %d: %s", (int)n,
                      fdit_context_message(ctx));
        ck_assert((bytes != NULL) == (status == FDIT_OK));
        fdit_free(bytes);
        ck_assert_uint_le(fdit_mem_stats().count, before);
        failed += status != FDIT_OK;
    }
    ck_assert_int_ge(failed, 6);
    fdit_bench_set_fini(&set);
}
END_TEST

START_TEST(test_chart_endings)
{
    ck_assert_int_eq(fdit_chart_format_of("a.svg"), FDIT_CHART_SVG);
    ck_assert_int_eq(fdit_chart_format_of("a.png.SVG"), FDIT_CHART_SVG);
    ck_assert_int_eq(fdit_chart_format_of("x/a.Png"), FDIT_CHART_PNG);
    static const char *const none[] = { "", "png", "a", "a.png/", "a.png/b", "a.jpg", "a.svgz", "a.svg " };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_int_eq(fdit_chart_format_of(none[i]), FDIT_CHART_NONE);
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
    tcase_add_test(cases, test_chart);
    tcase_add_test(cases, test_chart_odd);
    tcase_add_test(cases, test_chart_too_large);
    tcase_add_loop_test(cases, test_chart_shortage, 0, 2);
    tcase_add_test(cases, test_chart_endings);
    suite_add_tcase(suite, cases);
    int result = test_run(suite);
    fdit_context_free(ctx);
    return result;
}
