/* SPDX-License-Identifier: Apache-2.0 */
#include "train/lr_range.h"

#include "core/file.h"
#include "core/mem.h"
#include "picture/chart_pen.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEAST = 10 }; /* steps before anything is said */

void fdit_lr_range_init(struct fdit_lr_range *r, int64_t steps)
{
    const double reach = fmax(2, (double)steps / 20);
    *r = (struct fdit_lr_range){ .decay = 1 - 1 / reach };
}

void fdit_lr_range_fini(struct fdit_lr_range *r)
{
    fdit_free(r->points);
    *r = (struct fdit_lr_range){ .n = 0 };
}

double fdit_lr_range_rate(double low, double high, int64_t n, int64_t total)
{
    return total > 1 ? low * pow(high / low, (double)(n - 1) / (double)(total - 1)) : low;
}

/* Mean of the losses first..last. */
static double mean_of(const struct fdit_lr_range *r, size_t first, size_t last)
{
    double sum = 0;
    for (size_t i = first; i <= last; i++)
        sum += r->points[i].loss;
    return sum / (double)(last - first + 1);
}

enum fdit_status fdit_lr_range_add(fdit_context *ctx, struct fdit_lr_range *r, int64_t steps, double lr,
                                   double loss)
{
    enum fdit_status status = FDIT_OK;
    const size_t some = (size_t)steps / 10 > 5 ? (size_t)steps / 10 : 5;
    r->over = r->over || !isfinite(loss);
    if (r->over)
        return FDIT_OK;
    TRY(fdit_grow(ctx, &r->points, &r->capacity, r->n + 1, sizeof *r->points));
    r->points[r->n++] = (struct fdit_lr_point){ lr, loss, loss };
    r->over = r->n > 2 * some && mean_of(r, r->n - 5, r->n - 1) > 4 * mean_of(r, 0, some - 1);
out:
    return status;
}

static void smooth(struct fdit_lr_range *r)
{
    for (size_t i = 0; i < r->n; i++) {
        double sum = r->points[i].loss, weights = 1, weight = r->decay;
        for (size_t k = 1; weight > 1e-3; k++, weight *= r->decay) {
            if (k <= i) {
                sum += weight * r->points[i - k].loss;
                weights += weight;
            }
            if (i + k < r->n) {
                sum += weight * r->points[i + k].loss;
                weights += weight;
            }
        }
        r->points[i].smooth = sum / weights;
    }
}

struct fdit_lr_found fdit_lr_range_find(struct fdit_lr_range *r)
{
    struct fdit_lr_found f = { .n = r->n };
    const size_t some = r->n / 5;
    double squares = 0;
    size_t best = 0, rises = r->n;
    smooth(r);
    if (r->n < LEAST)
        return f;
    const double start = mean_of(r, 0, some - 1);
    for (size_t i = 0; i < some; i++)
        squares += (r->points[i].loss - start) * (r->points[i].loss - start);
    /* standard errors of a smoothed loss, which is a mean of about (1 + decay) / (1 - decay) of them, and of
     * the mean that it is compared with */
    const double each = squares / (double)(some - 1), reach = (1 + r->decay) / (1 - r->decay);
    const double scatter = sqrt(each / reach + each / (double)some);
    for (size_t i = 0; i < r->n; i++)
        best = r->points[i].smooth < r->points[best].smooth ? i : best;
    while (rises > 0 && r->points[rises - 1].smooth > start)
        rises--;
    if (r->points[best].smooth < start - 2 * scatter)
        f.lowest = r->points[best].lr;
    if (rises < r->n && r->points[r->n - 1].smooth > start + 2 * scatter)
        f.rises = r->points[rises].lr;
    f.proposed = (f.lowest > 0 ? f.lowest : f.rises) / 10;
    return f;
}

/* ------------------------------------------------------------------ files */

static enum fdit_status write_table(fdit_context *ctx, const struct fdit_lr_range *r, const char *folder)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    char *path = NULL, line[128];
    static const char head[] = "lr\tloss\tsmoothed\n";
    TRY(fdit_path_join(ctx, folder, "lr-range.tsv", &path));
    TRY(fdit_writer_open(ctx, path, true, &w));
    TRY(fdit_writer_write(ctx, w, head, sizeof head - 1));
    for (size_t i = 0; i < r->n; i++) {
        const struct fdit_lr_point *p = &r->points[i];
        const int n = snprintf(line, sizeof line, "%.6g\t%.6g\t%.6g\n", p->lr, p->loss, p->smooth);
        TRY(fdit_writer_write(ctx, w, line, (size_t)n));
    }
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(path);
    return status;
}

/* Pixels. */
enum { WIDTH = 860, HEIGHT = 420, LEFT = 80, RIGHT = 20, TOP = 44, BOTTOM = 44 };
enum { PAPER = 0xffffff, INK = 0x111111, SOFT = 0xe3e3e3, DOT = 0xb9cbe6, LINE = 0x2a78d6, MARK = 0xeb6834 };

struct frame {
    double lr0, lr1, low, high; /* what lies at the edges */
};

static double x_of(const struct frame *f, double lr)
{
    const double part = f->lr1 > f->lr0 ? log(lr / f->lr0) / log(f->lr1 / f->lr0) : 0;
    return LEFT + part * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *f, double loss)
{
    const double part = (loss - f->low) / (f->high - f->low);
    return HEIGHT - BOTTOM - fmin(fmax(part, 0), 1) * (HEIGHT - TOP - BOTTOM);
}

static void box(struct fdit_chart_pen *pen, double x, double y, double width, double height, uint32_t colour)
{
    pen->box(pen, &(struct fdit_chart_box){ round(x), round(y), width, height, colour, NULL, 0 });
}

static void text(struct fdit_chart_pen *pen, double x, double y, bool to_left, const char *s)
{
    pen->label(pen, &(struct fdit_chart_label){ x, y, to_left, false, INK, s });
}

static void draw_axes(struct fdit_chart_pen *pen, const struct frame *f)
{
    char s[48];
    for (double lr = pow(10, ceil(log10(f->lr0) - 1e-9)); lr <= f->lr1 * (1 + 1e-9); lr *= 10) {
        box(pen, x_of(f, lr), TOP, 1, HEIGHT - TOP - BOTTOM, SOFT);
        snprintf(s, sizeof s, "%.0e", lr);
        text(pen, x_of(f, lr) - 16, HEIGHT - BOTTOM + 18, false, s);
    }
    for (int i = 0; i <= 4; i++) {
        const double loss = f->low + (f->high - f->low) * i / 4;
        box(pen, LEFT, y_of(f, loss), WIDTH - LEFT - RIGHT, 1, SOFT);
        snprintf(s, sizeof s, "%.3g", loss);
        text(pen, LEFT - 8, y_of(f, loss) + 4, true, s);
    }
}

/* The smoothed loss as a line of pixels, interpolated between its points. */
static void draw_line(struct fdit_chart_pen *pen, const struct fdit_lr_range *r, const struct frame *f)
{
    for (size_t i = 0; i + 1 < r->n; i++) {
        const double x0 = x_of(f, r->points[i].lr), x1 = x_of(f, r->points[i + 1].lr);
        const double y0 = y_of(f, r->points[i].smooth), y1 = y_of(f, r->points[i + 1].smooth);
        const int steps = (int)ceil(fmax(x1 - x0, fabs(y1 - y0))) + 1;
        for (int k = 0; k < steps; k++)
            box(pen, x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps - 1, 2, 2, LINE);
    }
}

static void draw(struct fdit_chart_pen *pen, const struct fdit_lr_range *r, const struct fdit_lr_found *found)
{
    struct frame f = { .lr0 = r->points[0].lr, .lr1 = r->points[r->n - 1].lr, .low = INFINITY, .high = 0 };
    char s[96];
    for (size_t i = 0; i < r->n; i++) {
        f.low = fmin(f.low, r->points[i].smooth);
        f.high = fmax(f.high, r->points[i].smooth);
    }
    f.high += 0.1 * (f.high - f.low) + 1e-9;
    f.low -= 0.1 * (f.high - f.low);
    box(pen, 0, 0, WIDTH, HEIGHT, PAPER);
    snprintf(s, sizeof s, "Loss over the learning rate");
    if (found->proposed > 0)
        snprintf(s, sizeof s, "Loss over the learning rate; proposed: %.2g", found->proposed);
    pen->label(pen, &(struct fdit_chart_label){ LEFT, 24, false, true, INK, s });
    draw_axes(pen, &f);
    for (size_t i = 0; i < r->n; i++)
        box(pen, x_of(&f, r->points[i].lr) - 1, y_of(&f, r->points[i].loss) - 1, 2, 2, DOT);
    draw_line(pen, r, &f);
    if (found->proposed >= f.lr0)
        box(pen, x_of(&f, found->proposed), TOP, 2, HEIGHT - TOP - BOTTOM, MARK);
}

static enum fdit_status write_chart(fdit_context *ctx, const struct fdit_lr_range *r,
                                    const struct fdit_lr_found *found, const char *folder, bool svg)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_chart_pen pen = { 0 };
    struct fdit_font *font = NULL;
    uint8_t *bytes = NULL;
    char *path = NULL;
    size_t n = 0;
    TRY(fdit_font_new(ctx, 1, &font));
    if (svg)
        fdit_chart_pen_svg(&pen, ctx, WIDTH, HEIGHT);
    else
        fdit_chart_pen_png(&pen, ctx, WIDTH, HEIGHT, font);
    draw(&pen, r, found);
    TRY(pen.finish(&pen, &bytes, &n));
    TRY(fdit_path_join(ctx, folder, svg ? "lr-range.svg" : "lr-range.png", &path));
    TRY(fdit_file_write(ctx, path, true, bytes, n));
out:
    fdit_chart_pen_fini(&pen);
    fdit_font_free(font);
    fdit_free(bytes);
    fdit_free(path);
    return status;
}

enum fdit_status fdit_lr_range_write(fdit_context *ctx, struct fdit_lr_range *r, const char *folder)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_lr_found found = fdit_lr_range_find(r);
    if (!r->n)
        return FDIT_OK;
    TRY(write_table(ctx, r, folder));
    TRY(write_chart(ctx, r, &found, folder, true));
    TRY(write_chart(ctx, r, &found, folder, false));
out:
    return status;
}
