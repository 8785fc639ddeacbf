/* SPDX-License-Identifier: Apache-2.0
 * compare.c: results of several files side by side, as a table and as a chart. */
#include "bench/report.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/json.h"

#include <stdarg.h>
#include <string.h>

enum { MOST_FILE = 16 << 20 };

enum fdit_status fdit_bench_set_read(fdit_context *ctx, const char *path,
                                     struct fdit_bench_set *out)
{
    enum fdit_status status = FDIT_OK;
    const char *base = fdit_path_base(path), *dot = strrchr(base, '.');
    *out = (struct fdit_bench_set){ 0 };
    TRY(fdit_json_read(ctx, path, MOST_FILE, 16, &out->results));
    TRY(fdit_strndup(ctx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base),
                     &out->name));
    if (!json_is_array(out->results) || !json_array_size(out->results))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not an array of results; write one with bench --json",
             path);
    for (size_t i = 0; i < json_array_size(out->results); i++) {
        const json_t *r = json_array_get(out->results, i);
        if (!json_is_string(json_object_get(r, "problem")) ||
            !(json_number_value(json_object_get(r, "seconds_min")) > 0))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: result %zu lacks \"problem\" or \"seconds_min\"; write it with bench --json",
                 path, i + 1);
    }
    return FDIT_OK;
out:
    fdit_bench_set_fini(out);
    return status;
}

void fdit_bench_set_fini(struct fdit_bench_set *set)
{
    json_decref(set->results);
    fdit_free(set->name);
    *set = (struct fdit_bench_set){ 0 };
}

static const char *problem_at(const struct fdit_bench_set *set, size_t i)
{
    return json_string_value(json_object_get(json_array_get(set->results, i), "problem"));
}

/* The set's first result of this problem; NULL when it has none. */
static const json_t *find(const struct fdit_bench_set *set, const char *problem)
{
    for (size_t i = 0; i < json_array_size(set->results); i++)
        if (!strcmp(problem_at(set, i), problem))
            return json_array_get(set->results, i);
    return NULL;
}

static double number(const json_t *result, const char *key)
{
    return json_number_value(json_object_get(result, key));
}

/* All problems of all sets, in the order of their first appearance. Free the array with fdit_free.
 */
static enum fdit_status list_problems(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
                                      const char ***out, size_t *count)
{
    enum fdit_status status = FDIT_OK;
    size_t most = 0, found = 0;
    const char **list = NULL;
    for (int s = 0; s < n; s++)
        most += json_array_size(sets[s].results);
    TRY(fdit_alloc(ctx, most, sizeof *list, &list));
    for (int s = 0; s < n; s++)
        for (size_t i = 0; i < json_array_size(sets[s].results); i++) {
            const char *problem = problem_at(&sets[s], i);
            size_t at = 0;
            while (at < found && strcmp(list[at], problem))
                at++;
            if (at == found)
                list[found++] = problem;
        }
    *out = list;
    *count = found;
out:
    return status;
}

static void print_row(FILE *to, const struct fdit_bench_set *set, const json_t *r, double first)
{
    double seconds = number(r, "seconds_min"), share = number(r, "peak_share");
    char peak[16] = "-", ratio[16] = "-", min[16], median[16], each[16];
    fdit_bench_format_seconds(seconds, min);
    fdit_bench_format_seconds(number(r, "seconds_median"), median);
    fdit_bench_format_seconds(number(r, "seconds_per_image"), each);
    if (share > 0)
        snprintf(peak, sizeof peak, "%.0f %%", 100 * share);
    if (first > 0)
        snprintf(ratio, sizeof ratio, "%.2f", first / seconds);
    fdit_text_print(to, "  %-24.24s %10s %10s %10s %8.4g %6s %8s\n", set->name, min, median, each,
            number(r, "gflops"), peak, ratio);
}

enum fdit_status fdit_bench_print_compared(fdit_context *ctx, FILE *to,
                                           const struct fdit_bench_set *sets, int n)
{
    enum fdit_status status = FDIT_OK;
    const char **problems = NULL;
    size_t count = 0;
    TRY(list_problems(ctx, sets, n, &problems, &count));
    fdit_text_print(to, "%-26s %10s %10s %10s %8s %6s %8s\n", "", "min", "median", "per image", "GFLOP/s",
            "peak", "times");
    for (size_t p = 0; p < count; p++) {
        const json_t *first = find(&sets[0], problems[p]);
        fdit_text_print(to, "%s\n", problems[p]);
        for (int s = 0; s < n; s++) {
            const json_t *r = find(&sets[s], problems[p]);
            if (r)
                print_row(to, &sets[s], r, first ? number(first, "seconds_min") : 0);
        }
    }
    fdit_text_print(to, "\ntimes: how many times as fast as %s\n", sets[0].name);
    for (int s = 0; s < n; s++) {
        const json_t *r = json_array_get(sets[s].results, 0);
        const char *device = json_string_value(json_object_get(r, "device"));
        const char *driver = json_string_value(json_object_get(r, "driver"));
        fdit_text_print(to, "%s: %s%s%s\n", sets[s].name, device ? device : "device not named",
                driver ? ", " : "", driver ? driver : "");
    }
out:
    fdit_free(problems);
    return status;
}

/* --------------------------------------------------------------------------------------- chart */

/* Text that grows; `status` sticks. */
struct text {
    fdit_context *ctx;
    enum fdit_status status;
    char *at;
    size_t length, capacity;
};

static void put(struct text *t, const char *format, ...) FDIT_PRINTF(2, 3);
static void put(struct text *t, const char *format, ...)
{
    va_list args, again;
    if (t->status != FDIT_OK)
        return;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    t->status = fdit_grow(t->ctx, &t->at, &t->capacity, t->length + (size_t)n + 1, 1);
    if (t->status == FDIT_OK)
        t->length += (size_t)vsnprintf(t->at + t->length, (size_t)n + 1, format, again);
    va_end(again);
}

/* XML's special characters escaped, control bytes as spaces. */
static void put_escaped(struct text *t, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&': put(t, "&amp;"); break;
        case '<': put(t, "&lt;"); break;
        case '>': put(t, "&gt;"); break;
        case '"': put(t, "&quot;"); break;
        default: put(t, "%c", (unsigned char)*s < ' ' ? ' ' : *s);
        }
    }
}

static void put_text(struct text *t, double x, double y, const char *attributes, const char *s)
{
    put(t, "<text x=\"%.0f\" y=\"%.0f\"%s>", x, y, attributes);
    put_escaped(t, s);
    put(t, "</text>\n");
}

/* Pixels. */
enum { WIDTH = 860, LEFT = 270, BAR = 16, GAP = 3, GROUP_GAP = 16, TOP = 56, BAR_MOST = 430 };
static const char *const colours[] = { "#2a78d6", "#eb6834", "#1baf7a",
                                       "#a05cc4", "#d8a31a", "#6b7280" };
enum { N_COLOURS = sizeof colours / sizeof colours[0] };

static void put_bar(struct text *t, double y, const struct fdit_bench_set *set, const json_t *r,
                    const char *colour, double most)
{
    double speed = number(r, "gflops"), share = number(r, "peak_share");
    double length = most > 0 ? BAR_MOST * speed / most : 0;
    char label[96];
    int n = snprintf(label, sizeof label, "%.4g", speed);
    if (share > 0)
        n += snprintf(label + n, sizeof label - (size_t)n, " (%.0f %% of peak)", 100 * share);
    put(t, "<rect x=\"%d\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>", LEFT, y,
        length > 1 ? length : 1, BAR, colour);
    put_escaped(t, set->name);
    put(t, ": %.4g ms</title></rect>\n", 1e3 * number(r, "seconds_min"));
    put_text(t, LEFT + length + 6, y + BAR - 4, " fill=\"#333\"", label);
}

enum fdit_status fdit_bench_chart(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
                                  char **svg)
{
    enum fdit_status status = FDIT_OK;
    struct text t = { .ctx = ctx };
    const char **problems = NULL;
    size_t count = 0, bars = 0;
    double most = 0, x = LEFT, y = TOP;
    TRY(list_problems(ctx, sets, n, &problems, &count));
    for (size_t p = 0; p < count; p++)
        for (int s = 0; s < n; s++) {
            const json_t *r = find(&sets[s], problems[p]);
            bars += r != NULL;
            most = r && number(r, "gflops") > most ? number(r, "gflops") : most;
        }
    size_t height = TOP + bars * (BAR + GAP) + count * GROUP_GAP + 8;
    put(&t,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" viewBox=\"0 0 %d "
        "%zu\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" "
        "fill=\"#fff\"/>\n",
        WIDTH, height, WIDTH, height);
    put_text(&t, 12, 20, " font-size=\"14\" fill=\"#111\"", "GFLOP/s (longer is faster)");
    for (int s = 0; s < n; s++) { /* the legend: about 7 pixels a letter */
        put(&t, "<rect x=\"%.0f\" y=\"30\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x,
            colours[s % N_COLOURS]);
        put_text(&t, x + 17, 40, " fill=\"#333\"", sets[s].name);
        x += 36 + 7 * (double)strlen(sets[s].name);
    }
    for (size_t p = 0; p < count; p++) {
        put_text(&t, LEFT - 10, y + BAR - 4, " text-anchor=\"end\" fill=\"#111\"", problems[p]);
        for (int s = 0; s < n; s++) {
            const json_t *r = find(&sets[s], problems[p]);
            if (!r)
                continue;
            put_bar(&t, y, &sets[s], r, colours[s % N_COLOURS], most);
            y += BAR + GAP;
        }
        y += GROUP_GAP;
    }
    put(&t, "</svg>\n");
    TRY(t.status);
    *svg = t.at;
    t.at = NULL;
out:
    fdit_free(problems);
    fdit_free(t.at);
    return status;
}
