/* SPDX-License-Identifier: Apache-2.0
 * progress.c: the progress line. */
#include "cli/progress.h"

#include "core/clock.h"
#include "core/status.h"
#include "core/text.h"
#include "core/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIVE_INTERVAL 0.1
#define TICK_INTERVAL 0.5 /* of the live line while nothing is reported */
#define PLAIN_LEAST 2.5
#define PLAIN_MOST 300.0
#define PLAIN_SHARE 48 /* of the time that has passed: 2.5 s at two minutes */
#define SAMPLE_INTERVAL 0.25
#define MEMORY_LEAST 10.0 /* seconds after which an old rate counts 1/e; */
#define MEMORY_SHARE 4    /* it grows with the time that has passed, so that the time left is steady, */
#define MEMORY_MOST 600.0 /* and yet follows when the machine becomes slower */
#define LINE_BYTES 512

/* ------------------------------------------------------------------ begin */

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
    p->shown = p->live ? p->began - TICK_INTERVAL : p->began;
    p->sampled_done = (double)done;
}

void fdit_progress_follow(struct fdit_progress *p, struct fdit_progress *from)
{
    fdit_progress_clear(from);
    p->shown = from->shown;
    memcpy(p->kinds, from->kinds, sizeof p->kinds);
    p->n_kinds = from->n_kinds;
    for (int i = 0; i < p->n_kinds; i++)
        p->kinds[i].in_job = 0;
}

/* ------------------------------------------------------------------ numbers */

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

/* ------------------------------------------------------------------ the rate and what is left */

/* Seconds since the job began in which no phase was under way. */
static double working_seconds(const struct fdit_progress *p, double now)
{
    const double phase = p->depth > 0 ? now - p->phases[0].began : 0;
    return now - p->began - p->in_phases - phase;
}

/* Looks at the count every quarter of a second. Both sums fade with a memory that grows, so that their ratio
 * is units by time whatever the gaps. The first gap, with its first touches of memory and its kernels that
 * are built, counts only while there is no other. */
static void sample_rate(struct fdit_progress *p, double now)
{
    const double at = working_seconds(p, now), count = (double)p->done + p->part;
    const double passed = at - p->sampled;
    if (p->depth > 0 || passed < SAMPLE_INTERVAL || count <= p->sampled_done)
        return;
    double memory = at / MEMORY_SHARE;
    memory = memory < MEMORY_LEAST ? MEMORY_LEAST : memory > MEMORY_MOST ? MEMORY_MOST : memory;
    const double keep = p->samples <= 1 ? 0 : exp(-passed / memory);
    p->sum_seconds = keep * p->sum_seconds + passed;
    p->sum_units = keep * p->sum_units + (count - p->sampled_done);
    p->sampled = at;
    p->sampled_done = count;
    p->gap = passed;
    p->samples++;
}

/* Units a second; 0: not known yet. Where nothing has come for longer than usual the rate sinks. */
static double rate_now(const struct fdit_progress *p, double now)
{
    if (p->samples == 0 || !(p->sum_seconds > 0))
        return 0;
    const double late = working_seconds(p, now) - p->sampled - 2 * p->gap;
    return p->sum_units / (p->sum_seconds + (late > 0 ? late : 0));
}

static const struct fdit_progress_kind *kind_of(const struct fdit_progress *p, const char *name)
{
    for (int i = 0; i < p->n_kinds; i++)
        if (strcmp(p->kinds[i].name, name) == 0)
            return &p->kinds[i];
    return NULL;
}

/* What one phase of the kind takes; negative: not known. */
static double kind_seconds(const struct fdit_progress_kind *k, double rate)
{
    if (k->times > 0)
        return k->seconds / (double)k->times;
    return k->units > 0 && rate > 0 ? k->units / rate : -1;
}

/* Of the outermost phase; negative: not known. */
static double phase_left(const struct fdit_progress *p, double now, double rate)
{
    const struct fdit_progress_phase *f = &p->phases[0];
    const struct fdit_progress_kind *k = kind_of(p, f->name);
    const double passed = now - f->began;
    if (f->total > 0 && f->done > 0 && passed >= 1)
        return passed * (double)(f->total - f->done) / (double)f->done;
    const double whole = k != NULL ? kind_seconds(k, rate) : -1;
    return whole < 0 ? -1 : whole > passed ? whole - passed : 0;
}

static double left_at(const struct fdit_progress *p, double now)
{
    const double rate = rate_now(p, now), count = (double)p->done + p->part;
    if (p->unit == NULL || p->total == 0 || !(rate > 0) || count >= (double)p->total)
        return -1;
    double since = working_seconds(p, now) - p->sampled;
    since = since < p->gap ? since : p->gap;
    double left = ((double)p->total - count) / rate - since;
    left = left > 0 ? left : 0;
    for (int i = 0; i < p->n_kinds; i++) {
        const double each = kind_seconds(&p->kinds[i], rate);
        left += each > 0 ? each * (double)p->kinds[i].ahead : 0;
    }
    if (p->depth > 0) {
        const double phase = phase_left(p, now, rate);
        left += phase > 0 ? phase : 0;
    }
    return left;
}

double fdit_progress_left(const struct fdit_progress *p)
{
    return left_at(p, p->now());
}

/* ------------------------------------------------------------------ the line */

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

static void append_phases(const struct fdit_progress *p, double now, char *line)
{
    char passed[24];
    const int shown = p->depth < FDIT_PHASES_DEEP ? p->depth : FDIT_PHASES_DEEP;
    for (int i = 0; i < shown; i++) {
        const struct fdit_progress_phase *f = &p->phases[i];
        append(line, "%s%s", i > 0 ? ", " : "", f->name);
        if (f->total > 0)
            append(line, " %llu of %llu", (unsigned long long)f->done, (unsigned long long)f->total);
    }
    const struct fdit_progress_phase *last = &p->phases[shown - 1];
    if (last->total == 0 && now - last->began >= 2) {
        fdit_format_duration(now - last->began, passed);
        append(line, ", %s", passed);
    }
}

static void append_left(const struct fdit_progress *p, double now, char *line)
{
    char text[24];
    double left = left_at(p, now);
    if (left < 0 && p->depth > 0 && p->samples == 0)
        left = phase_left(p, now, 0);
    if (left < 0)
        return;
    fdit_format_duration(left, text);
    append(line, ", %s left", text);
}

static void compose(const struct fdit_progress *p, double now, char line[LINE_BYTES])
{
    char rate[64];
    const double per_second = rate_now(p, now);
    line[0] = '\0';
    append(line, "%s: ", p->label);
    if (p->depth > 0)
        append_phases(p, now, line);
    if (p->depth > 0 && p->unit != NULL)
        append(line, "; ");
    if (p->depth == 0 && p->unit == NULL) {
        fdit_format_duration(now - p->began, rate);
        append(line, "working, %s", rate);
    }
    if (p->unit != NULL) {
        const double share = 100 * ((double)p->done + p->part) / (double)(p->total ? p->total : 1);
        append(line, "%llu", (unsigned long long)p->done);
        if (p->total > 0)
            append(line, " of %llu", (unsigned long long)p->total);
        append(line, " %s%s", p->unit, (p->total ? p->total : p->done) == 1 ? "" : "s");
        if (p->total > 0)
            append(line, " (%d %%)", share < 100 ? (int)share : 100);
    }
    if (per_second > 0 && p->depth == 0) {
        fdit_format_rate(per_second, p->unit, rate);
        append(line, ", %s", rate);
    }
    append_left(p, now, line);
    if (p->note[0] != '\0' && p->depth == 0)
        append(line, ", %s", p->note);
}

/* Cuts the line to what the terminal is wide, at a character. */
static size_t cut(char *line, size_t columns)
{
    size_t used = 0;
    for (char *c = line; *c != '\0';) {
        uint32_t code;
        const int n = fdit_utf8_next(c, &code), bytes = n < 1 ? 1 : n;
        const char after = c[bytes];
        c[bytes] = '\0';
        const size_t wide = fdit_text_columns(c);
        c[bytes] = after;
        if (used + wide > columns) {
            *c = '\0';
            break;
        }
        used += wide;
        c += bytes;
    }
    return used;
}

/* Over the line that is there; blanks cover what was longer. */
static void draw(struct fdit_progress *p, char line[LINE_BYTES])
{
    const int length = (int)cut(line, p->columns > 1 ? (size_t)p->columns - 1 : 0);
    fprintf(p->file, "\r%s%*s", line, p->drawn > length ? p->drawn - length : 0, "");
    fflush(p->file);
    p->drawn = length;
}

static void show(struct fdit_progress *p, double now)
{
    char text[LINE_BYTES], line[LINE_BYTES];
    p->shown = now;
    compose(p, now, text);
    fdit_text_safe(line, sizeof line, text, FDIT_TEXT_LINE); /* names of files are in it */
    if (p->live) {
        draw(p, line);
    } else {
        fprintf(p->file, "%s\n", line);
        fflush(p->file);
    }
}

/* Seconds between lines: short in the first minutes, and for a phase that has just begun. */
static double interval(const struct fdit_progress *p, double now, double live)
{
    if (p->live)
        return live;
    double seconds = (now - p->began) / PLAIN_SHARE;
    if (p->depth > 0 && p->shown - p->phases[0].began < seconds)
        seconds = p->shown - p->phases[0].began;
    return seconds < PLAIN_LEAST ? PLAIN_LEAST : seconds > PLAIN_MOST ? PLAIN_MOST : seconds;
}

static void show_if_due(struct fdit_progress *p, double live)
{
    const double now = p->now();
    sample_rate(p, now);
    if (now - p->shown >= interval(p, now, live) && (p->unit != NULL || p->depth > 0 || p->alone))
        show(p, now);
}

void fdit_progress_update_part(struct fdit_progress *p, uint64_t done, double part, const char *note)
{
    p->done = done;
    p->part = part > 0 ? part : 0;
    snprintf(p->note, sizeof p->note, "%s", note != NULL ? note : "");
    if (p->file != NULL)
        show_if_due(p, LIVE_INTERVAL);
}

void fdit_progress_update(struct fdit_progress *p, uint64_t done, const char *note)
{
    fdit_progress_update_part(p, done, 0, note);
}

void fdit_progress_tick(struct fdit_progress *p)
{
    if (p->file != NULL)
        show_if_due(p, TICK_INTERVAL);
}

/* ------------------------------------------------------------------ phases */

/* NULL: there are too many kinds. */
static struct fdit_progress_kind *find_kind(struct fdit_progress *p, const char *name)
{
    char key[FDIT_PHASE_NAME];
    snprintf(key, sizeof key, "%s", name);
    for (int i = 0; i < p->n_kinds; i++)
        if (strcmp(p->kinds[i].name, key) == 0)
            return &p->kinds[i];
    int at = p->n_kinds < FDIT_PHASES_KNOWN ? p->n_kinds++ : -1;
    for (int i = 0; at < 0 && i < FDIT_PHASES_KNOWN; i++)
        at = p->kinds[i].told ? -1 : i;
    if (at < 0)
        return NULL;
    struct fdit_progress_kind *k = &p->kinds[at];
    memset(k, 0, sizeof *k);
    memcpy(k->name, key, sizeof key);
    return k;
}

void fdit_progress_ahead(struct fdit_progress *p, const char *name, uint64_t times, double units)
{
    struct fdit_progress_kind *k = find_kind(p, name);
    if (k == NULL)
        return;
    k->ahead = times;
    k->units = units;
    k->told = true;
}

void fdit_progress_phase(struct fdit_progress *p, const char *name, uint64_t total)
{
    const double now = p->now();
    if (p->depth == 0) {
        sample_rate(p, now);
        struct fdit_progress_kind *k = find_kind(p, name);
        if (k != NULL && k->ahead > 0)
            k->ahead--;
    }
    if (p->depth < FDIT_PHASES_DEEP) {
        struct fdit_progress_phase *f = &p->phases[p->depth];
        snprintf(f->name, sizeof f->name, "%s", name);
        f->done = 0;
        f->total = total;
        f->began = now;
    }
    p->depth++;
    if (p->live && p->file != NULL) /* what follows may report nothing for long */
        show_if_due(p, LIVE_INTERVAL);
}

void fdit_progress_phase_at(struct fdit_progress *p, uint64_t done)
{
    if (p->depth < 1 || p->depth > FDIT_PHASES_DEEP)
        return;
    struct fdit_progress_phase *f = &p->phases[p->depth - 1];
    f->done = f->total > 0 && done > f->total ? f->total : done;
    if (p->file != NULL)
        show_if_due(p, LIVE_INTERVAL);
}

void fdit_progress_phase_end(struct fdit_progress *p)
{
    if (p->depth == 0)
        return;
    if (p->depth == 1) {
        const double seconds = p->now() - p->phases[0].began;
        struct fdit_progress_kind *k = find_kind(p, p->phases[0].name);
        p->in_phases += seconds;
        if (k != NULL) {
            k->seconds += seconds;
            k->in_job += seconds;
            k->times++;
        }
    }
    p->depth--;
}

/* ------------------------------------------------------------------ end */

void fdit_progress_clear(struct fdit_progress *p)
{
    if (p->file == NULL || p->drawn == 0)
        return;
    fprintf(p->file, "\r%*s\r", p->drawn, "");
    fflush(p->file);
    p->drawn = 0;
    p->shown -= TICK_INTERVAL;
}

void fdit_progress_end(struct fdit_progress *p)
{
    char rate[64], taken[24];
    if (p->file == NULL || p->unit == NULL)
        return;
    const double seconds = p->now() - p->began, working = working_seconds(p, p->now());
    const char *plural = p->done == 1 ? "" : "s";
    fdit_progress_clear(p);
    if (seconds < 1)
        return;
    fdit_format_duration(seconds, taken);
    fprintf(p->file, "%s: %llu %s%s in %s", p->label, (unsigned long long)p->done, p->unit, plural, taken);
    if (p->done > p->first && working > 0) {
        fdit_format_rate((double)(p->done - p->first) / working, p->unit, rate);
        fprintf(p->file, ", %s", rate);
    }
    const char *between = " (with ";
    for (int i = 0; i < p->n_kinds; i++) {
        if (p->kinds[i].in_job < 1)
            continue;
        fdit_format_duration(p->kinds[i].in_job, taken);
        fprintf(p->file, "%s%s %s", between, taken, p->kinds[i].name);
        between = ", ";
    }
    fprintf(p->file, "%s\n", strcmp(between, ", ") == 0 ? ")" : "");
    fflush(p->file);
}
