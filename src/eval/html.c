/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/html.h"

#include "core/mem.h"
#include "core/utf8.h"
#include "picture/png.h"
#include "picture/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void fdit_html_begin(FILE *f, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          f);
    fdit_html_text(f, title);
    fputs("</title>\n<style>\n"
          ":root{color-scheme:light dark;--ink:#222;--paper:#fff;--rule:#ddd;--soft:#595959;--mark:#1f5fa8;"
          "--bar:#7aa6d8;--note:#8a4b00;--mat:#eee}\n"
          "@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#17191c;--rule:#3a3d42;--soft:#a3a7ad;"
          "--mark:#7db4f0;--bar:#3c6a9c;--note:#e0a458;--mat:#2a2d31}}\n"
          "body{font:15px/1.45 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;"
          "color:var(--ink);background:var(--paper);overflow-wrap:anywhere}\n"
          "h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid var(--rule)}\n"
          "table{border-collapse:collapse;margin:.7em 0;display:block;overflow-x:auto}\n"
          "th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\n"
          "th:first-child,th.words,td:first-child,td.words{text-align:left;white-space:normal}\n"
          "td:first-child,td.words,td.note{overflow-wrap:break-word;min-width:9em}\n"
          "td.note{text-align:left;color:var(--note);font-size:.9em;white-space:normal;min-width:20em}\n"
          "td.note:empty,td.words:empty{min-width:0}\n"
          "img{image-rendering:pixelated;margin:1px;background:var(--mat);vertical-align:middle}\n"
          ".chart{overflow-x:auto;margin:.7em 0}\n"
          "svg{display:block;max-width:100%;min-width:46em;height:auto;font:12px system-ui,sans-serif}\n"
          "svg text{fill:var(--ink)}svg .soft{fill:var(--soft)}svg .rule{stroke:var(--rule)}\n"
          "svg .mark{fill:var(--mark)}svg .bar{stroke:var(--bar)}\n"
          "svg .curve{fill:none;stroke:var(--mark);stroke-width:2}\n"
          ".better{color:var(--soft);font-size:.9em}td.better{white-space:nowrap;min-width:0}\n"
          "summary{cursor:pointer}\n"
          "</style>\n</head>\n<body>\n",
          f);
}

void fdit_html_end(FILE *f)
{
    fputs("</body>\n</html>\n", f);
}

void fdit_html_text(FILE *f, const char *text)
{
    uint32_t code;
    for (const char *at = text ? text : ""; *at;) {
        int n = fdit_utf8_next(at, &code);
        if (*at == '&')
            fputs("&amp;", f);
        else if (*at == '<')
            fputs("&lt;", f);
        else if (*at == '>')
            fputs("&gt;", f);
        else if (*at == '"')
            fputs("&quot;", f);
        else if (n < 1 || code < ' ' || code == 127)
            fputc('?', f);
        else
            fwrite(at, 1, (size_t)n, f);
        at += n < 1 ? 1 : n;
    }
}

void fdit_html_number(FILE *f, double value)
{
    if (isnan(value))
        fputs("<td>&ndash;</td>", f);
    else
        fprintf(f, "<td>%.3g</td>", value);
}

/* ------------------------------------------------------------------ pictures */

static void put_base64(FILE *f, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= i + 2 < n ? bytes[i + 2] : 0;
        fputc(digits[v >> 18], f);
        fputc(digits[v >> 12 & 63], f);
        fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digits[v & 63] : '=', f);
    }
}

enum fdit_status fdit_html_picture(fdit_context *ctx, FILE *f, const struct fdit_picture *p, int side,
                                   const char *alt)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture small = { 0 };
    uint8_t *bytes = NULL;
    size_t n;
    int longest = p->width > p->height ? p->width : p->height;
    if (longest > side) {
        double scale = (double)side / longest;
        int width = (int)lround(p->width * scale), height = (int)lround(p->height * scale);
        TRY(fdit_picture_resize(ctx, p, FDIT_FILTER_BICUBIC, width > 0 ? width : 1, height > 0 ? height : 1,
                                &small));
    }
    const struct fdit_picture *shown = longest > side ? &small : p;
    TRY(fdit_png_encode(ctx, shown, &bytes, &n));
    int zoom = side / longest > 1 ? side / longest : 1; /* small ones in whole pixels */
    fprintf(f, "<img width=\"%d\" height=\"%d\" alt=\"", shown->width * zoom, shown->height * zoom);
    fdit_html_text(f, alt);
    fputs("\" title=\"", f);
    fdit_html_text(f, alt);
    fputs("\" src=\"data:image/png;base64,", f);
    put_base64(f, bytes, n);
    fputs("\">", f);
out:
    fdit_picture_fini(&small);
    fdit_free(bytes);
    return status;
}

/* ------------------------------------------------------------------ charts */

enum { WIDTH = 760, LEFT = 230, RIGHT = 60, ROW = 22, TOP = 30, HEIGHT = 300, TICKS = 5 };

struct range {
    double least, most;
};

static void widen(struct range *r, double v)
{
    if (isfinite(v) && v < r->least)
        r->least = v;
    if (isfinite(v) && v > r->most)
        r->most = v;
}

static struct range range_of(const struct fdit_html_point *points, size_t n)
{
    struct range r = { INFINITY, -INFINITY };
    for (size_t i = 0; i < n; i++) {
        widen(&r, points[i].value);
        widen(&r, points[i].low);
        widen(&r, points[i].high);
    }
    if (r.least > r.most)
        r = (struct range){ 0, 1 };
    double room = r.most > r.least ? (r.most - r.least) * 0.05 : fabs(r.most) * 0.1 + 0.1;
    return (struct range){ r.least - room, r.most + room };
}

static double across(const struct range *r, double v)
{
    return LEFT + (v - r->least) / (r->most - r->least) * (WIDTH - LEFT - RIGHT);
}

static double up(const struct range *r, double v)
{
    return TOP + (r->most - v) / (r->most - r->least) * (HEIGHT - TOP - 40);
}

static void begin_chart(FILE *f, const char *title, int height)
{
    fprintf(f,
            "<div class=\"chart\"><svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\"><title>",
            WIDTH, height, WIDTH, height);
    fdit_html_text(f, title);
    fputs("</title><text x=\"4\" y=\"16\" font-weight=\"bold\">", f);
    fdit_html_text(f, title);
    fputs("</text>\n", f);
}

void fdit_html_dots(FILE *f, const char *title, const struct fdit_html_point *points, size_t n, double least,
                    double most)
{
    struct range r = { least, most };
    int height = TOP + (int)n * ROW + 26, bottom = height - 22;
    if (least >= most)
        r = range_of(points, n);
    begin_chart(f, title, height);
    for (int k = 0; k <= TICKS; k++) {
        double v = r.least + (r.most - r.least) * k / TICKS, x = across(&r, v);
        fprintf(f,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" class=\"rule\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" class=\"soft\">%.3g</text>\n",
                x, x, TOP - 6, bottom, x, height - 6, v);
    }
    for (size_t i = 0; i < n; i++) {
        const struct fdit_html_point *p = &points[i];
        double y = TOP + ROW * ((double)i + 0.5);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 10, y + 4);
        fdit_html_text(f, p->label);
        fputs("</text>", f);
        if (isfinite(p->low) && isfinite(p->high))
            fprintf(f,
                    "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" class=\"bar\" "
                    "stroke-width=\"4\"/>",
                    across(&r, p->low), across(&r, p->high), y, y);
        if (isfinite(p->value))
            fprintf(f,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"mark\"><title>%.4g</title></circle>\n",
                    across(&r, p->value), y, p->value);
    }
    fputs("</svg></div>\n", f);
}

void fdit_html_line(FILE *f, const char *title, const char *x_name, const struct fdit_html_point *points,
                    size_t n)
{
    struct range r = range_of(points, n), x = { INFINITY, -INFINITY };
    bool drawing = false;
    for (size_t i = 0; i < n; i++)
        widen(&x, points[i].x);
    if (!(x.most > x.least))
        x = (struct range){ x.least - 1, x.least + 1 };
    begin_chart(f, title, HEIGHT);
    for (int k = 0; k <= TICKS; k++) {
        double v = r.least + (r.most - r.least) * k / TICKS, at = x.least + (x.most - x.least) * k / TICKS;
        fprintf(f,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"rule\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" class=\"soft\">%.3g</text>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" class=\"soft\">%.6g</text>\n",
                LEFT, WIDTH - RIGHT, up(&r, v), up(&r, v), LEFT - 8, up(&r, v) + 4, v, across(&x, at),
                HEIGHT - 22, at);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" class=\"soft\">", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 6);
    fdit_html_text(f, x_name);
    fputs("</text>\n<path class=\"curve\" d=\"", f);
    for (size_t i = 0; i < n; i++) {
        if (isfinite(points[i].value))
            fprintf(f, "%c%.1f %.1f", drawing ? 'L' : 'M', across(&x, points[i].x), up(&r, points[i].value));
        drawing = isfinite(points[i].value);
    }
    fputs("\"/>\n", f);
    for (size_t i = 0; i < n; i++) {
        const struct fdit_html_point *p = &points[i];
        double at = across(&x, p->x);
        if (isfinite(p->low) && isfinite(p->high))
            fprintf(f,
                    "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" class=\"bar\" "
                    "stroke-width=\"2\"/>",
                    at, at, up(&r, p->low), up(&r, p->high));
        if (isfinite(p->value))
            fprintf(f,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"mark\"><title>%.6g: "
                    "%.4g</title></circle>\n",
                    at, up(&r, p->value), p->x, p->value);
    }
    fputs("</svg></div>\n", f);
}
