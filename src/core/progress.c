/* SPDX-License-Identifier: Apache-2.0
 * progress.c: the progress line. */
#include "core/progress.h"

#include "core/clock.h"
#include "core/status.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIVE_INTERVAL 0.1
#define PLAIN_FIRST 10.0
#define PLAIN_MOST 600.0
#define SAMPLE_INTERVAL 0.25
#define RATE_MEMORY 10.0 /* seconds after which an old rate counts 1/e */
#define LINE_BYTES 512

static int terminal_columns(FILE *file)
{
    struct winsize size;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void fdit_progress_begin(struct fdit_progress *p, FILE *file, const char *label, const char *unit,
                         uint64_t done, uint64_t total)
{
    memset(p, 0, sizeof *p);
    p->file = file;
    p->label = label;
    p->unit = unit;
    p->first = p->done = done;
    p->total = total;
    p->now = fdit_clock_seconds;
    p->columns = 80;
    if (file != NULL) {
        const char *terminal = getenv("TERM");
        p->live = isatty(fileno(file)) && (terminal == NULL || strcmp(terminal, "dumb") != 0);
        if (p->live)
            p->columns = terminal_columns(file);
    }
    p->began = p->now();
    p->shown = p->live ? p->began - LIVE_INTERVAL : p->began;
    p->sampled = p->began;
    p->sampled_done = done;
}

void fdit_format_duration(double seconds, char out[24])
{
    if (!(seconds >= 0) || seconds >= 1000.0 * 86400) {
        snprintf(out, 24, "?");
        return;
    }
    long s = (long)(seconds + 0.5);
    if (s >= 86400)
        snprintf(out, 24, "%ld d %02ld:%02ld", s / 86400, s / 3600 % 24, s / 60 % 60);
    else if (s >= 3600)
        snprintf(out, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 24, "%ld:%02ld", s / 60, s % 60);
}

void fdit_format_rate(double per_second, const char *unit, char out[64])
{
    char duration[24];
    if (!(per_second > 0) || !isfinite(per_second)) {
        snprintf(out, 64, "? %ss/s", unit);
    } else if (per_second >= 0.5) {
        int digits = per_second >= 99.95 ? 0 : per_second >= 9.995 ? 1 : 2;
        snprintf(out, 64, "%.*f %ss/s", digits, per_second, unit);
    } else if (1 / per_second < 120) {
        snprintf(out, 64, "%.*f s/%s", 1 / per_second >= 9.995 ? 1 : 2, 1 / per_second, unit);
    } else {
        fdit_format_duration(1 / per_second, duration);
        snprintf(out, 64, "%s/%s", duration, unit);
    }
}

/* Looks at the count every quarter of a second and smooths with a memory of ten seconds. */
static void sample_rate(struct fdit_progress *p, double now)
{
    const double passed = now - p->sampled;
    if (passed < SAMPLE_INTERVAL || p->done <= p->sampled_done)
        return;
    const double rate = (double)(p->done - p->sampled_done) / passed;
    const double keep = p->rate > 0 ? exp(-passed / RATE_MEMORY) : 0;
    p->rate = keep * p->rate + (1 - keep) * rate;
    p->sampled = now;
    p->sampled_done = p->done;
}

/* Appends to a line of LINE_BYTES; what does not fit is cut. */
static void append(char *line, const char *format, ...) FDIT_PRINTF(2, 3);
static void append(char *line, const char *format, ...)
{
    const size_t used = strlen(line);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, LINE_BYTES - used, format, args);
    va_end(args);
}

static void compose(const struct fdit_progress *p, const char *note, char line[LINE_BYTES])
{
    char rate[64], left[24];
    line[0] = '\0';
    append(line, "%s: %llu", p->label, (unsigned long long)p->done);
    if (p->total > 0)
        append(line, " of %llu %ss (%d %%)", (unsigned long long)p->total, p->unit,
               (int)(100.0 * (double)p->done / (double)p->total));
    else
        append(line, " %ss", p->unit);
    if (p->rate > 0) {
        fdit_format_rate(p->rate, p->unit, rate);
        append(line, ", %s", rate);
        if (p->total > p->done) {
            fdit_format_duration((double)(p->total - p->done) / p->rate, left);
            append(line, ", %s left", left);
        }
    }
    if (note != NULL && note[0] != '\0')
        append(line, ", %s", note);
}

/* Over the line that is there; blanks cover what was longer. Bytes count as columns: a name that is
 * not ASCII only makes the line a little shorter. */
static void draw(struct fdit_progress *p, char line[LINE_BYTES])
{
    int length = (int)strlen(line);
    if (length > p->columns - 1) {
        length = p->columns > 1 ? p->columns - 1 : 0;
        while (length > 0 && ((unsigned char)line[length] & 0xC0) == 0x80)
            length--;
        line[length] = '\0';
    }
    fprintf(p->file, "\r%s%*s", line, p->drawn > length ? p->drawn - length : 0, "");
    fflush(p->file);
    p->drawn = length;
}

void fdit_progress_update(struct fdit_progress *p, uint64_t done, const char *note)
{
    char line[LINE_BYTES];

    p->done = done;
    if (p->file == NULL)
        return;
    const double now = p->now();
    sample_rate(p, now);
    /* a quarter of what had passed at the line before */
    const double growing = (now - p->began) / 5;
    double interval = growing < PLAIN_FIRST ? PLAIN_FIRST : growing;
    if (interval > PLAIN_MOST)
        interval = PLAIN_MOST;
    if (p->live)
        interval = LIVE_INTERVAL;
    if (now - p->shown < interval)
        return;
    p->shown = now;
    compose(p, note, line);
    if (p->live) {
        draw(p, line);
    } else {
        fprintf(p->file, "%s\n", line);
        fflush(p->file);
    }
}

void fdit_progress_clear(struct fdit_progress *p)
{
    if (p->file == NULL || p->drawn == 0)
        return;
    fprintf(p->file, "\r%*s\r", p->drawn, "");
    fflush(p->file);
    p->drawn = 0;
    p->shown -= LIVE_INTERVAL;
}

void fdit_progress_end(struct fdit_progress *p)
{
    char rate[64], taken[24];
    if (p->file == NULL)
        return;
    const double seconds = p->now() - p->began;
    fdit_progress_clear(p);
    if (seconds < 1)
        return;
    fdit_format_duration(seconds, taken);
    if (p->done > p->first) {
        fdit_format_rate((double)(p->done - p->first) / seconds, p->unit, rate);
        fprintf(p->file, "%s: %llu %ss in %s, %s\n", p->label, (unsigned long long)p->done, p->unit,
                taken, rate);
    } else {
        fprintf(p->file, "%s: %llu %ss in %s\n", p->label, (unsigned long long)p->done, p->unit,
                taken);
    }
    fflush(p->file);
}
