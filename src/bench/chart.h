/* SPDX-License-Identifier: Apache-2.0
 * chart.h: results as bars in a picture: GFLOP/s, longer is faster. */
#ifndef FDIT_BENCH_CHART_H
#define FDIT_BENCH_CHART_H

#include "bench/report.h"

enum fdit_chart_format { FDIT_CHART_NONE, FDIT_CHART_SVG, FDIT_CHART_PNG };
/* By the end of the file's name, letter case ignored; FDIT_CHART_NONE: neither .svg nor .png. */
enum fdit_chart_format fdit_chart_format_of(const char *path);

/* Problem by problem the sets' bars below each other, a colour and an entry of the legend for each set.
 * Both formats hold the same bars and texts at the same places; a pixel of the PNG is a unit of the SVG.
 * Too many bars for a PNG of 2^28 pixels: FDIT_ERROR_ARGUMENT. Free *bytes with fdit_free. */
enum fdit_status fdit_bench_chart(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
                                  enum fdit_chart_format format, uint8_t **bytes, size_t *size);

#endif
