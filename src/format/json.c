/* SPDX-License-Identifier: Apache-2.0
 * The reader. It builds jansson's values but does not call its parser: that one ignores a failed allocation
 * in the middle of a text or number, and then a byte is missing in it. */
#include "format/json.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "core/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUES 4000000

struct reader {
    fdit_context *ctx;
    const char *name, *text;
    size_t n, at;
    bool nul; /* \u0000 is read as U+FFFD */
    char *buffer;
    size_t used, capacity; /* texts that are being read, each behind the one before */
};

/* Brackets and commas outside of strings, without recursion. Wrong JSON is the reader's to refuse. */
static enum fdit_status check_shape(fdit_context *ctx, const char *name, const char *text, size_t n,
                                    int max_depth)
{
    int depth = 0;
    size_t values = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > max_depth)
                return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                                 "%s: JSON nested deeper than %d brackets at byte %zu", name, max_depth, i);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' || c == ':') {
            values++;
        }
        if (values > MAX_VALUES)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: JSON with more than %d values", name, MAX_VALUES);
    }
    return FDIT_OK;
}

static enum fdit_status wrong_at(const struct reader *r, size_t at, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < r->n; i++) {
        if (r->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)r->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return fdit_fail(r->ctx, FDIT_ERROR_FORMAT, "%s: wrong JSON in line %zu, column %zu: %s", r->name, line,
                     column, what);
}

static enum fdit_status wrong(const struct reader *r, const char *what)
{
    return wrong_at(r, r->at, r->at < r->n ? what : "it ends too early");
}

static enum fdit_status no_memory(const struct reader *r)
{
    return fdit_fail(r->ctx, FDIT_ERROR_MEMORY, "%s: out of memory while reading JSON of %zu bytes", r->name,
                     r->n);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->n && strchr(" \t\r\n", r->text[r->at]) && r->text[r->at])
        r->at++;
}

/* ------------------------------------------------------------------ texts */

static enum fdit_status keep(struct reader *r, const char *bytes, size_t n)
{
    enum fdit_status status = FDIT_OK;
    size_t need;
    if (!fdit_add(r->used, n, &need) || !fdit_add(need, 64, &need))
        return no_memory(r);
    TRY(fdit_grow(r->ctx, &r->buffer, &r->capacity, need, 1));
    memcpy(r->buffer + r->used, bytes, n);
    r->used += n;
    r->buffer[r->used] = 0;
out:
    return status == FDIT_ERROR_MEMORY ? no_memory(r) : status;
}

/* The four hexadecimal digits behind "\u". */
static bool take_unit(struct reader *r, unsigned *out)
{
    *out = 0;
    if (r->n - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        char c = r->text[r->at];
        const char *found = c ? strchr(digits, c) : NULL;
        if (!found)
            return false;
        *out = *out << 4 | (unsigned)((found - digits) & 15);
        r->at++;
    }
    return true;
}

static enum fdit_status keep_code(struct reader *r, unsigned code)
{
    char bytes[4];
    if (code < 0x80) {
        bytes[0] = (char)code;
        return keep(r, bytes, 1);
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[] = { 0, 0xc0, 0xe0, 0xf0 };
    bytes[0] = (char)(first[more] | code >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        bytes[i] = (char)(0x80 | (code >> 6 * (more - i) & 0x3f));
    return keep(r, bytes, more + 1);
}

static enum fdit_status read_unicode(struct reader *r)
{
    unsigned code, low;
    size_t from = r->at;
    if (!take_unit(r, &code))
        return wrong_at(r, from, "\\u wants four hexadecimal digits");
    if (code >= 0xdc00 && code <= 0xdfff)
        return wrong_at(r, from, "\\u names the second half of a pair");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (r->n - r->at < 2 || memcmp(r->text + r->at, "\\u", 2))
            return wrong_at(r, from, "\\u names the first half of a pair");
        r->at += 2;
        if (!take_unit(r, &low) || low < 0xdc00 || low > 0xdfff)
            return wrong_at(r, from, "\\u names the first half of a pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code == 0 && !r->nul)
        return wrong_at(r, from, "\\u0000 in a text is not allowed here");
    return keep_code(r, code ? code : 0xfffd);
}

/* Behind the opening quote; the text is put behind those in the buffer. */
static enum fdit_status read_text(struct reader *r)
{
    enum fdit_status status = FDIT_OK;
    static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    for (;;) {
        size_t from = r->at;
        while (r->at < r->n && r->text[r->at] != '"' && r->text[r->at] != '\\' &&
               (unsigned char)r->text[r->at] >= 0x20)
            r->at++;
        TRY(keep(r, r->text + from, r->at - from));
        if (r->at == r->n)
            return wrong(r, "");
        char c = r->text[r->at++];
        if (c == '"')
            return FDIT_OK;
        if (c != '\\')
            return wrong_at(r, r->at - 1, "a control character in a text");
        if (r->at == r->n)
            return wrong(r, "");
        c = r->text[r->at++];
        const char *escape = c ? strchr(escapes, c) : NULL;
        if (escape)
            TRY(keep(r, values + (escape - escapes), 1));
        else if (c == 'u')
            TRY(read_unicode(r));
        else
            return wrong_at(r, r->at - 1, "a \\ before a character that needs none");
    }
out:
    return status;
}

/* ------------------------------------------------------------------ numbers */

static size_t digits(const struct reader *r, size_t at)
{
    size_t n = 0;
    while (at + n < r->n && r->text[at + n] >= '0' && r->text[at + n] <= '9')
        n++;
    return n;
}

/* The length of the number at r->at; 0: there is none. */
static size_t number_length(const struct reader *r, bool *real)
{
    size_t at = r->at, n;
    *real = false;
    at += at < r->n && r->text[at] == '-';
    n = digits(r, at);
    if (n == 0 || (n > 1 && r->text[at] == '0'))
        return 0;
    at += n;
    if (at < r->n && r->text[at] == '.') {
        *real = true;
        n = digits(r, at + 1);
        if (n == 0)
            return 0;
        at += n + 1;
    }
    if (at < r->n && (r->text[at] == 'e' || r->text[at] == 'E')) {
        *real = true;
        at++;
        at += at < r->n && (r->text[at] == '+' || r->text[at] == '-');
        n = digits(r, at);
        if (n == 0)
            return 0;
        at += n;
    }
    return at - r->at;
}

static enum fdit_status read_number(struct reader *r, json_t **out)
{
    enum fdit_status status = FDIT_OK;
    size_t mark = r->used;
    bool real;
    size_t n = number_length(r, &real);
    if (!n)
        return wrong(r, "no value begins so");
    const char *point = localeconv()->decimal_point; /* strtod wants the locale's */
    for (size_t i = 0; i < n; i++) {
        const char *c = r->text + r->at + i;
        TRY(*c == '.' ? keep(r, point, strlen(point)) : keep(r, c, 1));
    }
    errno = 0;
    if (real) {
        double value = strtod(r->buffer + mark, NULL);
        if (!isfinite(value))
            return wrong(r, "a number beyond the largest");
        *out = json_real(value);
    } else {
        intmax_t value = strtoimax(r->buffer + mark, NULL, 10);
        if (errno == ERANGE || value > INT64_MAX || value < INT64_MIN)
            return wrong(r, "a whole number of more than 64 bits");
        *out = json_integer((json_int_t)value);
    }
    r->used = mark;
    r->at += n;
    if (!*out)
        return no_memory(r);
out:
    return status;
}

/* ------------------------------------------------------------------ values */

static enum fdit_status read_value(struct reader *r, json_t **out);

static enum fdit_status twice(const struct reader *r, size_t at, const char *key)
{
    char shown[201];
    snprintf(shown, sizeof shown, "%s", key);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    size_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += r->text[i] == '\n';
    return fdit_fail(r->ctx, FDIT_ERROR_FORMAT, "%s: the name \"%s\" twice in one JSON object, line %zu",
                     r->name, shown, line);
}

/* A name, a colon, a value into the object. */
static enum fdit_status read_member(struct reader *r, json_t *object)
{
    enum fdit_status status = FDIT_OK;
    json_t *value = NULL;
    size_t mark = r->used, from = r->at;
    if (r->at == r->n || r->text[r->at] != '"')
        return wrong(r, "a name in quotes is wanted");
    r->at++;
    TRY(read_text(r));
    TRY(keep(r, "", 1)); /* the zero byte stays behind the name while the value is read */
    if (json_object_get(object, r->buffer + mark))
        return twice(r, from, r->buffer + mark);
    skip_blanks(r);
    if (r->at == r->n || r->text[r->at] != ':')
        return wrong(r, "':' is wanted");
    r->at++;
    TRY(read_value(r, &value));
    if (json_object_set_new_nocheck(object, r->buffer + mark, value) != 0)
        return no_memory(r);
    r->used = mark;
out:
    return status;
}

/* Behind the opening bracket. */
static enum fdit_status read_container(struct reader *r, json_t *to, char end)
{
    enum fdit_status status = FDIT_OK;
    json_t *value = NULL;
    skip_blanks(r);
    if (r->at < r->n && r->text[r->at] == end) {
        r->at++;
        return FDIT_OK;
    }
    for (;;) {
        skip_blanks(r);
        if (end == '}') {
            TRY(read_member(r, to));
        } else {
            TRY(read_value(r, &value));
            if (json_array_append_new(to, value) != 0)
                return no_memory(r);
        }
        skip_blanks(r);
        if (r->at == r->n || (r->text[r->at] != ',' && r->text[r->at] != end))
            return wrong(r, end == '}' ? "',' or '}' is wanted" : "',' or ']' is wanted");
        if (r->text[r->at++] == end)
            return FDIT_OK;
    }
out:
    return status;
}

static enum fdit_status read_word(struct reader *r, json_t **out)
{
    static const char *const words[] = { "true", "false", "null" };
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (r->n - r->at < n || memcmp(r->text + r->at, words[i], n))
            continue;
        r->at += n;
        *out = i == 0 ? json_true() : i == 1 ? json_false() : json_null();
        return FDIT_OK;
    }
    return read_number(r, out);
}

static enum fdit_status read_value(struct reader *r, json_t **out)
{
    enum fdit_status status = FDIT_OK;
    json_t *value = NULL;
    *out = NULL;
    skip_blanks(r);
    if (r->at == r->n)
        return wrong(r, "");
    char c = r->text[r->at];
    if (c == '{' || c == '[') {
        value = c == '{' ? json_object() : json_array();
        if (!value)
            return no_memory(r);
        r->at++;
        TRY(read_container(r, value, c == '{' ? '}' : ']'));
    } else if (c == '"') {
        size_t mark = r->used;
        r->at++;
        TRY(read_text(r));
        value = json_stringn_nocheck(r->buffer + mark, r->used - mark);
        r->used = mark;
        if (!value)
            return no_memory(r);
    } else {
        TRY(read_word(r, &value));
    }
    *out = value;
    value = NULL;
out:
    json_decref(value);
    return status;
}

static enum fdit_status parse(fdit_context *ctx, const char *name, const char *text, size_t n, int max_depth,
                              bool nul, json_t **out)
{
    enum fdit_status status = FDIT_OK;
    struct reader r = { .ctx = ctx, .name = name, .text = text, .n = n, .nul = nul };
    json_t *value = NULL;
    *out = NULL;
    TRY(check_shape(ctx, name, text, n, max_depth < 64 ? max_depth : 64));
    size_t good = fdit_utf8_prefix(text, n);
    if (good < n)
        TRY(wrong_at(&r, good, "bytes that are not UTF-8"));
    TRY(read_value(&r, &value));
    skip_blanks(&r);
    if (r.at < n)
        TRY(wrong(&r, "something follows the value"));
    *out = value;
    value = NULL;
out:
    json_decref(value);
    fdit_free(r.buffer);
    return status;
}

enum fdit_status fdit_json_parse(fdit_context *ctx, const char *name, const char *text, size_t n,
                                 int max_depth, json_t **out)
{
    return parse(ctx, name, text, n, max_depth, false, out);
}

enum fdit_status fdit_json_parse_nul(fdit_context *ctx, const char *name, const char *text, size_t n,
                                     int max_depth, json_t **out)
{
    return parse(ctx, name, text, n, max_depth, true, out);
}

enum fdit_status fdit_json_read(fdit_context *ctx, const char *path, size_t limit, int max_depth,
                                json_t **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    size_t n;
    *out = NULL;
    TRY(fdit_text_file_read(ctx, path, "JSON", limit, &text, &n));
    TRY(fdit_json_parse(ctx, path, text, n, max_depth, out));
out:
    fdit_free(text);
    return status;
}

enum fdit_status fdit_json_shard_names(fdit_context *ctx, const char *path, json_t *map, const char ***out,
                                       size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const char **names = NULL, *key;
    size_t count = 0, distinct = 0;
    json_t *value;
    TRY(fdit_alloc(ctx, json_object_size(map), sizeof *names, &names));
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/') || strcmp(name, "..") == 0)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %.200s: its file must be the name of one in "
                 "the same folder; the index is damaged, get it again",
                 path, key);
        names[count++] = name;
    }
    if (count)
        qsort(names, count, sizeof *names, fdit_text_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[distinct - 1]) != 0)
            names[distinct++] = names[i];
    *out = names;
    *n = distinct;
    names = NULL;
out:
    fdit_free(names);
    return status;
}

enum fdit_status fdit_json_get_int(fdit_context *ctx, const char *name, const json_t *root, const char *key,
                                   int most, int *out)
{
    const json_t *item = json_object_get(root, key);
    if (!item || json_is_null(item))
        return FDIT_OK;
    const double number = json_is_number(item) ? json_number_value(item) : -1;
    if (number < 0 || number > most || number != (double)(int)number)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: \"%s\" must be a whole number from 0 to %d", name, key,
                         most);
    *out = (int)number;
    return FDIT_OK;
}
