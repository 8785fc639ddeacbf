/* SPDX-License-Identifier: Apache-2.0
 * report.h: results as JSON, as a table, and next to those of other files. */
#ifndef FDIT_BENCH_REPORT_H
#define FDIT_BENCH_REPORT_H

#include "bench/bench.h"
#include "format/json.h"

#include <stdio.h>

/* Puts an object with all numbers of a result at the end of the list. */
void fdit_bench_json(const fdit_device *dev, const struct fdit_bench_result *r, struct fdit_json *list);
/* The heads of the columns, and a line of the table, with the profile below it if there is one. */
enum fdit_status fdit_bench_print_header(fdit_context *ctx, FILE *to);
enum fdit_status fdit_bench_print(fdit_context *ctx, FILE *to, const struct fdit_bench_result *r);
/* "1.25 s", "12.5 ms", "3.1 us" */
void fdit_bench_format_seconds(double seconds, char out[16]);

/* One file of results, or the results of this run. */
struct fdit_bench_set {
    char *name;      /* of the file without folder and ending */
    json_t *results; /* array of objects as above; at least "problem" and "seconds_min" are there */
};
/* Reads what `bench --json` or a script of bench/peers wrote. FDIT_ERROR_FORMAT names the file. */
enum fdit_status fdit_bench_set_read(fdit_context *ctx, const char *path, struct fdit_bench_set *out);
void fdit_bench_set_fini(struct fdit_bench_set *set);
/* The set's first result of this problem; NULL when it has none. */
const json_t *fdit_bench_set_find(const struct fdit_bench_set *set, const char *problem);
double fdit_bench_number(const json_t *result, const char *key); /* 0 where there is none */
/* All problems of all sets, in the order of their first appearance; the texts are the sets'. Free the
 * array with fdit_free. */
enum fdit_status fdit_bench_list_problems(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
                                          const char ***out, size_t *count);
/* Problem by problem, the sets below each other; the last column is the first set's time over the
 * set's. */
enum fdit_status fdit_bench_print_compared(fdit_context *ctx, FILE *to, const struct fdit_bench_set *sets,
                                           int n);

#endif
