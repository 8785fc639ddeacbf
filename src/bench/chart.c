/* SPDX-License-Identifier: Apache-2.0
 * chart.c: lays results out as bars, the same for every kind of file. */
#include "bench/chart.h"

#include "picture/chart_pen.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"

/* Pixels. */
enum {
    WIDTH = 860,      /* the least */
    LEFT = 270,       /* where bars begin, unless a problem's text is longer */
    TOP = 56,         /* where they begin, with one line of legend */
    LABEL_MOST = 480, /* a problem's text */
    NAME_MOST = 280,  /* a set's name in the legend */
    MARGIN = 12,
    BAR = 16,
    GAP = 3,
    GROUP_GAP = 16,
    BAR_MOST = 430,
    LEGEND_LINE = 18
};
static const uint32_t colours[] = { 0x2a78d6, 0xeb6834, 0x1baf7a, 0xa05cc4, 0xd8a31a, 0x6b7280 };
enum { N_COLOURS = sizeof colours / sizeof colours[0] };
enum { PAPER = 0xffffff, INK = 0x111111, SOFT_INK = 0x333333 };

struct layout {
    const struct fdit_bench_set *sets;
    int n;
    const char **problems;
    size_t n_problems, n_bars;
    struct fdit_font *font; /* also what SVG's texts are measured with */
    char **texts;           /* as they are shown: [n] names of sets, [n_problems] problems */
    double most, left, top, width, height;
};

/* The text made safe, its end an ellipsis where it is wider than `width`. */
static enum fdit_status fit(fdit_context *ctx, const struct fdit_font *f, const char *text, int width,
                            char **out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = fdit_text_safe(NULL, 0, text, FDIT_TEXT_LINE);
    char *safe = NULL;
    TRY(fdit_alloc(ctx, n + sizeof ELLIPSIS, 1, &safe));
    fdit_text_safe(safe, n + 1, text, FDIT_TEXT_LINE);
    if (fdit_font_fits(f, safe, width) < n)
        strcpy(safe + fdit_font_fits(f, safe, width - fdit_font_width(f, ELLIPSIS, 3)), ELLIPSIS);
    *out = safe;
out:
    return status;
}

static double text_width(const struct layout *l, const char *text)
{
    return (double)fdit_font_width(l->font, text, strlen(text));
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* In tenths of a pixel, which is what SVG writes. */
static double bar_length(const struct layout *l, const json_t *r)
{
    double speed = fdit_bench_number(r, "gflops");
    return larger(1, l->most > 0 ? round(10 * BAR_MOST * (speed / l->most)) / 10 : 0);
}

static void bar_text(const json_t *r, char out[96])
{
    double share = fdit_bench_number(r, "peak_share");
    int n = snprintf(out, 96, "%.4g", fdit_bench_number(r, "gflops"));
    if (share > 0)
        snprintf(out + n, 96 - (size_t)n, " (%.0f %% of peak)", 100 * share);
}

/* Draws the legend, or with pen NULL only measures it: the y below its last line. */
static double legend(const struct layout *l, struct fdit_chart_pen *pen)
{
    double x = l->left, y = 30;
    for (int s = 0; s < l->n; s++) {
        double need = 17 + text_width(l, l->texts[s]);
        if (x > l->left && x + need > l->width - MARGIN) {
            x = l->left;
            y += LEGEND_LINE;
        }
        if (pen) {
            pen->box(pen, &(struct fdit_chart_box){ x, y, 12, 12, colours[s % N_COLOURS], NULL, 0 });
            pen->label(pen,
                       &(struct fdit_chart_label){ x + 17, y + 10, false, false, SOFT_INK, l->texts[s] });
        }
        x += need + 19;
    }
    return y + LEGEND_LINE;
}

static enum fdit_status lay_out(fdit_context *ctx, struct layout *l)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_bench_list_problems(ctx, l->sets, l->n, &l->problems, &l->n_problems));
    TRY(fdit_font_new(ctx, 1, &l->font));
    TRY(fdit_alloc(ctx, (size_t)l->n + l->n_problems, sizeof *l->texts, &l->texts));
    l->left = LEFT;
    for (int s = 0; s < l->n; s++)
        TRY(fit(ctx, l->font, l->sets[s].name, NAME_MOST, &l->texts[s]));
    for (size_t p = 0; p < l->n_problems; p++) {
        char **text = &l->texts[(size_t)l->n + p];
        TRY(fit(ctx, l->font, l->problems[p], LABEL_MOST, text));
        l->left = larger(l->left, MARGIN + text_width(l, *text) + 10);
        for (int s = 0; s < l->n; s++) {
            const json_t *r = fdit_bench_set_find(&l->sets[s], l->problems[p]);
            l->n_bars += r != NULL;
            l->most = r ? larger(l->most, fdit_bench_number(r, "gflops")) : l->most;
        }
    }
    l->width = WIDTH - LEFT + l->left;
    for (int s = 0; s < l->n; s++)
        for (size_t i = 0; i < json_array_size(l->sets[s].results); i++) {
            const json_t *r = json_array_get(l->sets[s].results, i);
            char text[96];
            bar_text(r, text);
            l->width = larger(l->width, l->left + ceil(bar_length(l, r)) + 6 + text_width(l, text) + MARGIN);
        }
    l->top = legend(l, NULL) + TOP - 30 - LEGEND_LINE;
    l->height = l->top + (double)l->n_bars * (BAR + GAP) + (double)l->n_problems * GROUP_GAP + 8;
out:
    return status;
}

static void draw(const struct layout *l, struct fdit_chart_pen *pen)
{
    double y = l->top;
    pen->box(pen, &(struct fdit_chart_box){ 0, 0, l->width, l->height, PAPER, NULL, 0 });
    pen->label(pen, &(struct fdit_chart_label){ MARGIN, 20, false, true, INK, "GFLOP/s (longer is faster)" });
    legend(l, pen);
    for (size_t p = 0; p < l->n_problems; p++) {
        const char *problem = l->texts[(size_t)l->n + p];
        pen->label(pen, &(struct fdit_chart_label){ l->left - 10, y + BAR - 4, true, false, INK, problem });
        for (int s = 0; s < l->n; s++) {
            const json_t *r = fdit_bench_set_find(&l->sets[s], l->problems[p]);
            char text[96];
            if (!r)
                continue;
            double length = bar_length(l, r), ms = 1e3 * fdit_bench_number(r, "seconds_min");
            bar_text(r, text);
            pen->box(pen, &(struct fdit_chart_box){ l->left, y, length, BAR, colours[s % N_COLOURS],
                                                    l->texts[s], ms });
            pen->label(pen, &(struct fdit_chart_label){ l->left + length + 6, y + BAR - 4, false, false,
                                                        SOFT_INK, text });
            y += BAR + GAP;
        }
        y += GROUP_GAP;
    }
}

enum fdit_chart_format fdit_chart_format_of(const char *path)
{
    return fdit_path_has_suffix(path, ".svg")   ? FDIT_CHART_SVG
           : fdit_path_has_suffix(path, ".png") ? FDIT_CHART_PNG
                                                : FDIT_CHART_NONE;
}

enum fdit_status fdit_bench_chart(fdit_context *ctx, const struct fdit_bench_set *sets, int n,
                                  enum fdit_chart_format format, uint8_t **bytes, size_t *size)
{
    enum fdit_status status = FDIT_OK;
    struct layout l = { .sets = sets, .n = n };
    struct fdit_chart_pen pen = { 0 };
    TRY(lay_out(ctx, &l));
    if (format != FDIT_CHART_PNG)
        fdit_chart_pen_svg(&pen, ctx, l.width, l.height);
    else if (l.width * l.height <= (double)FDIT_PICTURE_MAX_PIXELS)
        fdit_chart_pen_png(&pen, ctx, l.width, l.height, l.font);
    else
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "a PNG chart of %zu bars would be too large; give a name that ends in .svg", l.n_bars);
    draw(&l, &pen);
    TRY(pen.finish(&pen, bytes, size));
out:
    fdit_chart_pen_fini(&pen);
    for (size_t i = 0; l.texts && i < (size_t)n + l.n_problems; i++)
        fdit_free(l.texts[i]);
    fdit_free(l.texts);
    fdit_free(l.problems);
    fdit_font_free(l.font);
    return status;
}
