/* SPDX-License-Identifier: Apache-2.0
 * compare.c: results of several files side by side, as a table. */
#include "bench/report.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/json.h"

#include <string.h>

enum { MOST_FILE = 16 << 20 };

enum fdit_status fdit_bench_set_read(fdit_context *ctx, const char *path, struct fdit_bench_set *out)
{
    enum fdit_status status = FDIT_OK;
    const char *base = fdit_path_base(path), *dot = strrchr(base, '.');
    *out = (struct fdit_bench_set){ 0 };
    TRY(fdit_json_read(ctx, path, MOST_FILE, 16, &out->results));
    TRY(fdit_strndup(ctx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base), &out->name));
    if (!json_is_array(out->results) || !json_array_size(out->results))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not an array of results; write one with bench --json", path);
    for (size_t i = 0; i < json_array_size(out->results); i++) {
        const json_t *r = json_array_get(out->results, i);
        if (!json_is_string(json_object_get(r, "problem")) ||
            !(json_number_value(json_object_get(r, "seconds_min")) > 0))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: result %zu lacks \"problem\" or \"seconds_min\"; write it with bench --json", path,
                 i + 1);
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

const json_t *fdit_bench_set_find(const struct fdit_bench_set *set, const char *problem)
{
    for (size_t i = 0; i < json_array_size(set->results); i++)
        if (!strcmp(problem_at(set, i), problem))
            return json_array_get(set->results, i);
    return NULL;
}

double fdit_bench_number(const json_t *result, const char *key)
{
    return json_number_value(json_object_get(result, key));
}

enum fdit_status fdit_bench_list_problems(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
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

static enum fdit_status print_row(fdit_context *ctx, FILE *to, const struct fdit_bench_set *set,
                                  const json_t *r, double first)
{
    double seconds = fdit_bench_number(r, "seconds_min"), share = fdit_bench_number(r, "peak_share");
    char peak[16] = "-", ratio[16] = "-", min[16], median[16], each[16];
    fdit_bench_format_seconds(seconds, min);
    fdit_bench_format_seconds(fdit_bench_number(r, "seconds_median"), median);
    fdit_bench_format_seconds(fdit_bench_number(r, "seconds_per_image"), each);
    if (share > 0)
        snprintf(peak, sizeof peak, "%.0f %%", 100 * share);
    if (first > 0)
        snprintf(ratio, sizeof ratio, "%.2f", first / seconds);
    return fdit_text_print(ctx, to, "  %-24.24s %10s %10s %10s %8.4g %6s %8s\n", set->name, min, median, each,
                           fdit_bench_number(r, "gflops"), peak, ratio);
}

enum fdit_status fdit_bench_print_compared(fdit_context *ctx, FILE *to, const struct fdit_bench_set *sets,
                                           int n)
{
    enum fdit_status status = FDIT_OK;
    const char **problems = NULL;
    size_t count = 0;
    TRY(fdit_bench_list_problems(ctx, sets, n, &problems, &count));
    TRY(fdit_text_print(ctx, to, "%-26s %10s %10s %10s %8s %6s %8s\n", "", "min", "median", "per image",
                        "GFLOP/s", "peak", "times"));
    for (size_t p = 0; p < count; p++) {
        const json_t *first = fdit_bench_set_find(&sets[0], problems[p]);
        TRY(fdit_text_print(ctx, to, "%s\n", problems[p]));
        for (int s = 0; s < n; s++) {
            const json_t *r = fdit_bench_set_find(&sets[s], problems[p]);
            if (r)
                TRY(print_row(ctx, to, &sets[s], r, first ? fdit_bench_number(first, "seconds_min") : 0));
        }
    }
    TRY(fdit_text_print(ctx, to, "\ntimes: how many times as fast as %s\n", sets[0].name));
    for (int s = 0; s < n; s++) {
        const json_t *r = json_array_get(sets[s].results, 0);
        const char *device = json_string_value(json_object_get(r, "device"));
        const char *driver = json_string_value(json_object_get(r, "driver"));
        TRY(fdit_text_print(ctx, to, "%s: %s%s%s\n", sets[s].name, device ? device : "device not named",
                            driver ? ", " : "", driver ? driver : ""));
    }
out:
    fdit_free(problems);
    return status;
}
