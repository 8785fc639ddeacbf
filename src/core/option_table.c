/* SPDX-License-Identifier: Apache-2.0 */
#include "core/option_table.h"

#include "core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ numbers */

/* strtod of the C locale. *end is where the number ends; `text` where none begins there. */
static double real_of(const char *text, const char **end)
{
    const char *point = localeconv()->decimal_point;
    char copy[256], *stop;
    size_t n = 0;
    if (!strcmp(point, ".") || strlen(point) != 1) {
        double value = strtod(text, &stop);
        *end = stop;
        return value;
    }
    for (; n + 1 < sizeof copy && text[n] && text[n] != *point; n++)
        copy[n] = text[n] == '.' ? *point : text[n];
    copy[n] = '\0';
    double value = strtod(copy, &stop);
    *end = text + (stop - copy);
    return value;
}

const char *fdit_format_number(double value, char out[32])
{
    if (fabs(value) < 1e16 && value == floor(value)) {
        snprintf(out, 32, "%.0f", value);
        return out;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    char *point = strpbrk(out, localeconv()->decimal_point);
    if (point)
        *point = '.';
    return out;
}

static bool leading_blank(const char *text)
{
    return *text && strchr(" \t\n\v\f\r", *text);
}

/* Says what is wrong with a whole number, as far as it can be guessed. */
static enum fdit_status refuse_whole(fdit_context *ctx, const char *what, const char *text, bool range)
{
    const char *end;
    if (range)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: a number so %s is out of range", what, text,
                         *text == '-' ? "small" : "large");
    double v = real_of(text, &end);
    if (end != text && !*end && !leading_blank(text) && !strpbrk(text, "xX") && v == floor(v) &&
        fabs(v) < 1e15)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: a whole number is written in digits; give %.0f",
                         what, text, v);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not a whole number; give one in digits, like 100",
                     what, text);
}

enum fdit_status fdit_parse_int64(fdit_context *ctx, const char *what, const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || leading_blank(text))
        return refuse_whole(ctx, what, text, end != text && !*end && errno == ERANGE);
    *out = v;
    return FDIT_OK;
}

enum fdit_status fdit_parse_part(fdit_context *ctx, const char *what, const char *text, int *part, int *parts)
{
    enum fdit_status status = FDIT_OK;
    const char *slash = strchr(text, '/');
    char first[32];
    int64_t i = 0, n = 0;
    if (!slash || (size_t)(slash - text) >= sizeof first)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: give I/N with I from 0, as 0/4", what, text);
    snprintf(first, sizeof first, "%.*s", (int)(slash - text), text);
    TRY(fdit_parse_int64(ctx, what, first, &i));
    TRY(fdit_parse_int64(ctx, what, slash + 1, &n));
    if (n < 1 || n > INT32_MAX || i < 0 || i >= n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: give I/N with 0 <= I < N", what, text);
    *part = (int)i;
    *parts = (int)n;
out:
    return status;
}

enum fdit_status fdit_parse_real(fdit_context *ctx, const char *what, const char *text, double *out)
{
    const char *end;
    errno = 0;
    double v = real_of(text, &end);
    const bool number = end != text && !*end && !leading_blank(text) && !strpbrk(text, "xXnN");
    if (number && errno == ERANGE)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: a number so %s is out of range", what, text,
                         fabs(v) > 1 ? "large" : "close to 0");
    if (!number || !isfinite(v))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not a number; give one like 0.1 or 1e-4%s", what,
                         text, strchr(text, ',') ? ", with a point" : "");
    *out = v;
    return FDIT_OK;
}

enum fdit_status fdit_parse_size(fdit_context *ctx, const char *what, const char *text, size_t *out)
{
    static const char units[] = "kmgtKMGT";
    const char *end;
    errno = 0;
    double v = real_of(text, &end);
    const bool range = errno == ERANGE, digits = end != text && !leading_blank(text);
    const char *unit = digits && *end ? strchr(units, *end) : NULL;
    int power = unit ? (int)((unit - units) % 4) + 1 : 0;
    if (unit)
        end++;
    if (unit && *end == 'i')
        end++;
    if (*end == 'B')
        end++;
    double bytes = ldexp(v, 10 * power);
    if (!digits || *end || !(v >= 0) || strpbrk(text, "xXnN"))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: not a size; give one like 6G, 512M or 1.5G", what,
                         text);
    if (range || !(bytes < 9e18) || bytes >= (double)SIZE_MAX)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s %s: a size out of range; give one like 6G, 512M or 1.5G", what, text);
    *out = (size_t)bytes;
    return FDIT_OK;
}

/* ------------------------------------------------------------------ words */

static int place_of(const char *arg, const char *text, size_t n)
{
    int i = 0;
    for (const char *p = arg; p; i++) {
        const char *bar = strchr(p, '|');
        size_t length = bar ? (size_t)(bar - p) : strlen(p);
        if (length == n && !memcmp(p, text, n))
            return i;
        p = bar ? bar + 1 : NULL;
    }
    return -1;
}

/* Word i of "a|b|c"; NULL: it has fewer. */
static const char *word_at(const char *arg, int i, char out[32])
{
    for (; i > 0 && arg; i--) {
        arg = strchr(arg, '|');
        arg = arg ? arg + 1 : NULL;
    }
    if (!arg || i < 0)
        return NULL;
    snprintf(out, 32, "%.*s", (int)strcspn(arg, "|"), arg);
    return out;
}

static enum fdit_status refuse_word(fdit_context *ctx, const struct fdit_option *o, const char *text)
{
    struct fdit_text_guess guess = { .typed = text, .length = strlen(text) };
    char word[32], meant[32] = "";
    for (int i = 0; word_at(o->arg, i, word); i++) {
        const int before = guess.best ? guess.edits : INT_MAX;
        fdit_text_consider(&guess, word);
        if (guess.best && guess.edits < before)
            memcpy(meant, word, sizeof word);
    }
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--%s %s: not known; %s%s%sgive one of %s", o->name, text,
                     *meant ? "did you mean " : "", meant, *meant ? "? Else " : "", o->arg);
}

bool fdit_option_take_word(const struct fdit_option *o, void *args, const char *text)
{
    void *at = (char *)args + o->offset;
    const int i = place_of(o->arg, text, strlen(text));
    if (i < 0)
        return false;
    if (o->kind == FDIT_OPT_SWITCH)
        *(bool *)at = i == 0;
    else
        memcpy(at, o->values ? &o->values[i] : &i, sizeof i);
    return true;
}

const char *fdit_option_word(const struct fdit_option *o, const void *args, char out[32])
{
    const void *at = (const char *)args + o->offset;
    int value = 0, i = 0;
    if (o->kind == FDIT_OPT_SWITCH)
        return word_at(o->arg, *(const bool *)at ? 0 : 1, out);
    memcpy(&value, at, sizeof value);
    if (!o->values)
        return word_at(o->arg, value, out);
    while (word_at(o->arg, i, out) && o->values[i] != value)
        i++;
    return word_at(o->arg, i, out);
}

/* ------------------------------------------------------------------ ranges */

static bool has_range(const struct fdit_option *o)
{
    return o->least != 0 || o->most != 0;
}

/* "from 1 to 100"; "of at least 1" where the range ends only where numbers end, which helps nobody. */
static const char *range_in_words(const struct fdit_option *o, double v, char out[96])
{
    static const double worth_telling = 1 << 20;
    char low[32], high[32];
    fdit_format_number(o->least, low);
    if (v < o->least && o->most > worth_telling)
        snprintf(out, 96, "of at least %s", low);
    else
        snprintf(out, 96, "from %s to %s", low, fdit_format_number(o->most, high));
    return out;
}

/* Of what was typed. */
static enum fdit_status check_typed(fdit_context *ctx, const struct fdit_option *o, const char *text,
                                    double v)
{
    char range[96];
    if (!has_range(o) || (v >= o->least && v <= o->most))
        return FDIT_OK;
    if (o->kind == FDIT_OPT_SIZE)
        return fdit_fail(
            ctx, FDIT_ERROR_ARGUMENT,
            "--%s %s: nothing fits into that; give a size like 512M or 6G, or leave the option out", o->name,
            text);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--%s %s: give a number %s", o->name, text,
                     range_in_words(o, v, range));
}

/* The numbers of a row; 0: it has none. */
static int numbers_of(const struct fdit_option *o, const void *args, double out[2])
{
    const void *at = (const char *)args + o->offset;
    switch (o->kind) {
    case FDIT_OPT_INT: out[0] = *(const int *)at; return 1;
    case FDIT_OPT_INT64: out[0] = (double)*(const int64_t *)at; return 1;
    case FDIT_OPT_SEED: out[0] = (double)*(const uint64_t *)at; return 1;
    case FDIT_OPT_SIZE: out[0] = (double)*(const size_t *)at; return 1;
    case FDIT_OPT_REAL: out[0] = *(const double *)at; return 1;
    case FDIT_OPT_REALS: memcpy(out, at, 2 * sizeof *out); return 2;
    case FDIT_OPT_HEADING:
    case FDIT_OPT_FLAG:
    case FDIT_OPT_SWITCH:
    case FDIT_OPT_TEXT:
    case FDIT_OPT_CHOICE:
    case FDIT_OPT_MAYBE:
    case FDIT_OPT_PARSE: return 0;
    }
    return 0;
}

/* Two numbers may both be 0 where that is in the range, so these are NaN until they are given. */
static bool not_given(const struct fdit_option *o, double v)
{
    return !o->usual && (o->kind == FDIT_OPT_REALS ? isnan(v) : v == 0);
}

/* Of what lies in the struct. */
static enum fdit_status check_value(fdit_context *ctx, const struct fdit_option *o, const void *args)
{
    static const char *const places[] = { ": the first number", ": the second number" };
    double v[2];
    char a[32], range[96];
    const int n = has_range(o) ? numbers_of(o, args, v) : 0;
    for (int i = 0; i < n; i++)
        if (!(v[i] >= o->least && v[i] <= o->most) && !not_given(o, v[i]))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--%s%s %s is out of range; it must be %s", o->name,
                             n > 1 ? places[i] : "", fdit_format_number(v[i], a),
                             range_in_words(o, v[i], range));
    return FDIT_OK;
}

enum fdit_status fdit_options_check(fdit_context *ctx, const struct fdit_option *table, const void *args)
{
    enum fdit_status status = FDIT_OK;
    for (const struct fdit_option *o = table; o->name; o++)
        TRY(check_value(ctx, o, args));
out:
    return status;
}

/* ------------------------------------------------------------------ values */

/* Whole numbers of all widths. A text that leaves int64 is told the option's own range where it has one. */
static enum fdit_status set_whole(fdit_context *ctx, const struct fdit_option *o, const char *what,
                                  const char *text, void *at)
{
    enum fdit_status status = FDIT_OK;
    int64_t v = 0;
    status = fdit_parse_int64(ctx, what, text, &v);
    if (status != FDIT_OK && o->most > 0 && text[strspn(text, "-+0123456789")] == '\0')
        TRY(check_typed(ctx, o, text, *text == '-' ? -HUGE_VAL : HUGE_VAL));
    TRY(status);
    TRY(check_typed(ctx, o, text, (double)v));
    if (o->kind == FDIT_OPT_INT && (v < INT_MIN || v > INT_MAX))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: out of range; at most %d", what, text, INT_MAX);
    if (o->kind == FDIT_OPT_SEED && v < 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: a seed is a number from 0 to %" PRId64, what, text, INT64_MAX);
    if (o->kind == FDIT_OPT_INT)
        *(int *)at = (int)v;
    else if (o->kind == FDIT_OPT_INT64)
        *(int64_t *)at = v;
    else
        *(uint64_t *)at = (uint64_t)v;
out:
    return status;
}

static enum fdit_status set_reals(fdit_context *ctx, const struct fdit_option *o, const char *what,
                                  const char *text, double *at)
{
    enum fdit_status status = FDIT_OK;
    const char *comma = strchr(text, ',');
    char first[64];
    if (!comma || (size_t)(comma - text) >= sizeof first)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s %s: give two numbers with a comma between, like %s", what, text,
             o->usual ? o->usual : "0.9,0.99");
    snprintf(first, sizeof first, "%.*s", (int)(comma - text), text);
    TRY(fdit_parse_real(ctx, what, first, &at[0]));
    TRY(fdit_parse_real(ctx, what, comma + 1, &at[1]));
out:
    return status;
}

static enum fdit_status set_flag(fdit_context *ctx, const char *what, const char *text, bool *at)
{
    if (text && strcmp(text, "true") && strcmp(text, "false"))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "%s %s: give true or false", what, text);
    *at = !text || !strcmp(text, "true");
    return FDIT_OK;
}

enum fdit_status fdit_option_set(fdit_context *ctx, const struct fdit_option *o, void *args, const char *text)
{
    enum fdit_status status = FDIT_OK;
    void *at = (char *)args + o->offset;
    bool yes = true;
    char what[64];
    snprintf(what, sizeof what, "--%s", o->name);
    if (text ? !*text : o->arg && *o->arg != '[')
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: the value is empty; give %s", what,
             o->arg ? o->arg : "true or false");
    if (o->parse) {
        TRY(o->parse(ctx, args, text));
        TRY(check_value(ctx, o, args));
        goto out;
    }
    switch (o->kind) {
    case FDIT_OPT_HEADING:
    case FDIT_OPT_PARSE: break;
    case FDIT_OPT_FLAG: TRY(set_flag(ctx, what, text, at)); break;
    case FDIT_OPT_MAYBE:
        TRY(set_flag(ctx, what, text, &yes));
        *(int *)at = yes;
        break;
    case FDIT_OPT_TEXT: *(const char **)at = text; break;
    case FDIT_OPT_REAL:
        TRY(fdit_parse_real(ctx, what, text, at));
        TRY(check_typed(ctx, o, text, *(double *)at));
        break;
    case FDIT_OPT_REALS:
        TRY(set_reals(ctx, o, what, text, at));
        TRY(check_value(ctx, o, args));
        break;
    case FDIT_OPT_SIZE:
        TRY(fdit_parse_size(ctx, what, text, at));
        TRY(check_typed(ctx, o, text, (double)*(size_t *)at));
        break;
    case FDIT_OPT_SWITCH:
    case FDIT_OPT_CHOICE:
        if (!fdit_option_take_word(o, args, text))
            TRY(refuse_word(ctx, o, text));
        break;
    case FDIT_OPT_INT:
    case FDIT_OPT_INT64:
    case FDIT_OPT_SEED: TRY(set_whole(ctx, o, what, text, at)); break;
    }
out:
    return status;
}

/* ------------------------------------------------------------------ tables */

const struct fdit_option *fdit_option_find(const struct fdit_option *table, const char *name)
{
    for (const struct fdit_option *o = table; o->name; o++)
        if (o->kind != FDIT_OPT_HEADING && !strcmp(o->name, name))
            return o;
    return NULL;
}

void fdit_options_defaults(const struct fdit_option *table, void *args)
{
    for (const struct fdit_option *o = table; o->name; o++) {
        double *at = (double *)((char *)args + o->offset);
        if (o->usual)
            (void)fdit_option_set(NULL, o, args, o->usual); /* tests/test_options.c sets every one of them */
        else if (o->kind == FDIT_OPT_REALS)
            at[0] = at[1] = NAN;
    }
}

enum fdit_status fdit_options_set(fdit_context *ctx, const struct fdit_option *table, void *args,
                                  const char *name, const char *text)
{
    const struct fdit_option *found = fdit_option_find(table, name);
    struct fdit_text_guess guess = { .typed = name, .length = strlen(name) };
    if (found)
        return fdit_option_set(ctx, found, args, text);
    for (const struct fdit_option *o = table; o->name; o++)
        if (o->kind != FDIT_OPT_HEADING)
            fdit_text_consider(&guess, o->name);
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "option %s is not known%s%s%s", name,
                     guess.best ? "; did you mean " : "", guess.best ? guess.best : "",
                     guess.best ? "?" : "");
}

size_t fdit_option_help(const struct fdit_option *o, char *out, size_t size)
{
    const char *usual = o->usual ? o->usual : "", *note = o->note ? o->note : "";
    const bool tells = *usual || *note;
    return (size_t)snprintf(out, size, "%s%s%s%s%s%s", o->help, tells ? " (default" : "", *usual ? " " : "",
                            usual, note, tells ? ")" : "");
}
