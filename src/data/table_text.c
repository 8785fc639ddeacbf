/* SPDX-License-Identifier: Apache-2.0 */
#include "data/table_text.h"

#include "core/mem.h"
#include "core/text.h"
#include "data/spelling.h"
#include "format/kind.h"

#include <string.h>

/* ------------------------------------------------------------------ encodings */

static size_t put_code(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* UTF-16 of n bytes behind its mark into rows->text. */
static enum fdit_status from_utf16(fdit_context *ctx, struct fdit_rows *rows, const uint8_t *b, size_t n,
                                   bool big, size_t *len)
{
    enum fdit_status status = FDIT_OK;
    size_t bytes, used = 0;
    if (!fdit_mul(n / 2 + 1, 3, &bytes))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: too large", rows->what);
    TRY(fdit_alloc(ctx, bytes + 1, 1, &rows->text));
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t c = big ? (uint32_t)b[i] << 8 | b[i + 1] : (uint32_t)b[i + 1] << 8 | b[i];
        if (c >= 0xd800 && c < 0xdc00 && i + 3 < n) {
            uint32_t low = big ? (uint32_t)b[i + 2] << 8 | b[i + 3] : (uint32_t)b[i + 3] << 8 | b[i + 2];
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        if (c >= 0xd800 && c < 0xe000)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is damaged UTF-16; save it as UTF-8", rows->what);
        used += put_code(rows->text + used, c);
    }
    *len = used;
out:
    return status;
}

enum fdit_status fdit_rows_open(fdit_context *ctx, const char *text, size_t n, const char *what,
                                const char *wanted, struct fdit_rows *rows)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *b = (const uint8_t *)text;
    size_t len = n;
    *rows = (struct fdit_rows){ .what = what };
    bool little = n >= 2 && b[0] == 0xff && b[1] == 0xfe && !(n >= 4 && !b[2] && !b[3]);
    bool big = n >= 2 && b[0] == 0xfe && b[1] == 0xff;
    if (little || big) {
        TRY(from_utf16(ctx, rows, b + 2, n - 2, big, &len));
    } else {
        size_t mark = n >= 3 && !memcmp(b, "\xef\xbb\xbf", 3) ? 3 : 0;
        enum fdit_kind kind = fdit_kind_of_bytes(b, n);
        bool plain = kind == FDIT_KIND_TEXT || kind == FDIT_KIND_EMPTY || kind == FDIT_KIND_SCRIPT ||
                     kind == FDIT_KIND_JSON || kind == FDIT_KIND_UNKNOWN || kind == FDIT_KIND_TEXT_OTHER;
        const char *zero = n ? memchr(text, 0, n) : NULL;
        if (!plain)
            TRY(fdit_kind_refuse(ctx, what, kind, wanted, "give a text file"));
        if (zero)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: a zero byte at byte %zu: is not text, and not %s", what,
                 (size_t)(zero - text), wanted);
        TRY(fdit_alloc(ctx, n - mark + 1, 1, &rows->text));
        len = n - mark;
        memcpy(rows->text, text + mark, len);
    }
    rows->at = rows->text;
    rows->end = rows->text + len;
    rows->line_end = len && !memchr(rows->text, '\n', len) && memchr(rows->text, '\r', len) ? '\r' : '\n';
    if (len >= 5 && !strncmp(rows->text, "sep=", 4) && memchr("\t,;|", rows->text[4], 4) &&
        (len == 5 || rows->text[5] == '\r' || rows->text[5] == '\n')) { /* what Excel looks for */
        rows->separator = rows->text[4];
        rows->given = true;
        fdit_rows_next(rows);
    }
    for (size_t line = 1, i = 0, from = 0; i <= len; i++)
        if (i == len || rows->text[i] == rows->line_end) {
            if (!fdit_utf8_valid(rows->text + from, i - from))
                FAIL(ctx, FDIT_ERROR_FORMAT,
                     "%s:%zu: is not UTF-8 (an older encoding, as "
                     "Latin-1 or Windows-1252?); save it as UTF-8",
                     what, line);
            from = i + 1;
            line++;
        }
out:
    if (status != FDIT_OK)
        fdit_rows_close(rows);
    return status;
}

void fdit_rows_close(struct fdit_rows *rows)
{
    fdit_free(rows->text);
    fdit_free(rows->fields);
    *rows = (struct fdit_rows){ 0 };
}

/* ------------------------------------------------------------------ lines */

/* A line of nothing but dashes and bars, which Markdown and psql put under the header. */
static bool is_ruler(const struct fdit_rows *r)
{
    bool dash = false;
    for (size_t i = 0; i < r->raw_len; i++) {
        if (!strchr("-+|: ", r->raw[i]))
            return false;
        dash = dash || r->raw[i] == '-';
    }
    return dash;
}

bool fdit_rows_next(struct fdit_rows *r)
{
    while (r->at < r->end) {
        const char *stop = memchr(r->at, r->line_end, (size_t)(r->end - r->at));
        r->raw = r->at;
        r->raw_len = (size_t)((stop ? stop : r->end) - r->at);
        r->at = stop ? stop + 1 : r->end;
        r->line++;
        if (r->raw_len && r->raw[r->raw_len - 1] == '\r')
            r->raw_len--;
        const char *s = r->raw;
        size_t len = r->raw_len;
        fdit_spelling_trim(&s, &len);
        if (len && !(r->separator == '|' && is_ruler(r)))
            return true;
    }
    return false;
}

static char find_separator(const char *s, size_t len)
{
    size_t commas = 0, semicolons = 0, bars = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        quoted ^= s[i] == '"';
        if (s[i] == '\t')
            return '\t';
        commas += !quoted && s[i] == ',';
        semicolons += !quoted && s[i] == ';';
        bars += !quoted && s[i] == '|';
    }
    if (bars > commas && bars > semicolons)
        return '|';
    return commas && commas >= semicolons ? ',' : semicolons ? ';' : '\t';
}

/* The end of the quoted field that begins at s with its quote, NULL when it is not closed there: a name
 * may begin with a quote that is its own. */
static const char *quoted_end(const char *s, const char *end, char separator)
{
    for (const char *at = s + 1; at < end; at++) {
        if (*at != *s)
            continue;
        if (at + 1 < end && at[1] == *s) {
            at++;
            continue;
        }
        const char *next = at + 1;
        while (next < end && *next == ' ')
            next++;
        return next == end || *next == separator ? at : NULL;
    }
    return NULL;
}

/* Whether every field from s on is in single quotes, empty ones and numbers aside. */
static bool single_quoted(const char *s, const char *end, char separator)
{
    bool any = false;
    for (const char *at = s; at;) {
        while (at < end && *at == ' ')
            at++;
        const char *close = at < end && *at == '\'' ? quoted_end(at, end, separator) : NULL;
        const char *from = close ? close : at;
        const size_t left = from < end ? (size_t)(end - from) : 0;
        const char *stop = memchr(from, separator, left);
        for (const char *c = at; !close && c < (stop ? stop : end); c++)
            if ((*c < '0' || *c > '9') && *c != ' ')
                return false;
        any = any || close;
        at = stop ? stop + 1 : NULL;
    }
    return any;
}

/* The present line without the bars at both of its ends, as Markdown has them. */
static const char *between_bars(const struct fdit_rows *r, const char **end)
{
    const char *s = r->raw;
    size_t len = r->raw_len;
    if (r->separator != '|')
        return s;
    fdit_spelling_trim(&s, &len);
    if (len < 2 || s[0] != '|' || s[len - 1] != '|')
        return r->raw;
    *end = s + len - 1;
    return s + 1;
}

enum fdit_status fdit_rows_split(fdit_context *ctx, struct fdit_rows *r)
{
    enum fdit_status status = FDIT_OK;
    const char *end = r->raw + r->raw_len;
    if (!r->separator)
        r->separator = find_separator(r->raw, r->raw_len);
    const char *begin = between_bars(r, &end);
    if (r->split++ < 2 && single_quoted(begin, end, r->separator))
        r->single = true;
    r->n = 0;
    for (const char *at = begin; at;) {
        const char *from = at, *close = NULL;
        while (from < end && *from == ' ')
            from++;
        if (from < end && *from == '\'' && (r->single || r->separator != '\t'))
            close = quoted_end(from, end, r->separator);
        if (from < end && *from == '"') {
            close = quoted_end(from, end, r->separator);
            if (!close && r->separator != '\t' && !memchr(from + 1, '"', (size_t)(end - from - 1)))
                FAIL(ctx, FDIT_ERROR_FORMAT,
                     "%s:%zu: a double quote that is not closed on this line; names cannot hold line ends",
                     r->what, r->line);
        }
        const char *stop = memchr(close ? close : at, r->separator, (size_t)(end - (close ? close : at)));
        TRY(fdit_grow(ctx, &r->fields, &r->capacity, r->n + 1, sizeof *r->fields));
        struct fdit_field *f = &r->fields[r->n++];
        *f = (struct fdit_field){ at, (size_t)((stop ? stop : end) - at) };
        if (close) { /* doubled quotes become one, in place: the line is read once */
            char *out = r->text + (from - r->text);
            f->s = out;
            char quote = *from; /* out may overtake it */
            for (const char *c = from + 1; c < close; c++) {
                *out++ = *c;
                c += *c == quote;
            }
            f->len = (size_t)(out - f->s);
        }
        fdit_spelling_trim(&f->s, &f->len);
        if (r->escaped)
            f->len = fdit_text_unescape(r->text + (f->s - r->text), f->len);
        at = stop ? stop + 1 : NULL;
    }
out:
    return status;
}

const char *fdit_rows_separator(const struct fdit_rows *rows)
{
    return rows->separator == ','   ? "commas"
           : rows->separator == ';' ? "semicolons"
           : rows->separator == '|' ? "bars (|)"
                                    : "tabs";
}
