/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"

#include "core/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ characters */

struct span {
    uint32_t first, last;
};

static bool within(uint32_t c, const struct span *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= list[i].first && c <= list[i].last)
            return true;
    return false;
}

/* What moves, hides or reorders other text: C1, soft hyphen, marks of direction, embeddings, isolates,
 * separators of lines and paragraphs, characters of no width, interlinear notes, tags, non-characters. The
 * joiners U+200C and U+200D are spelling in Persian, Hindi and emoji, and stay. */
static bool harmful(uint32_t c)
{
    static const struct span list[] = {
        { 0x80, 0x9f },     { 0xad, 0xad },     { 0x61c, 0x61c },   { 0x180e, 0x180e },
        { 0x200b, 0x200b }, { 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
        { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xfdd0, 0xfdef }, { 0xe0000, 0xe007f },
    };
    return within(c, list, sizeof list / sizeof *list) || (c & 0xfffe) == 0xfffe;
}

static bool wide(uint32_t c)
{
    static const struct span list[] = {
        { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },   { 0xa960, 0xa97f },
        { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },
        { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff },
        { 0x20000, 0x3fffd },
    };
    return within(c, list, sizeof list / sizeof *list);
}

static bool no_width(uint32_t c)
{
    static const struct span list[] = {
        { 0x300, 0x36f },   { 0x483, 0x489 },   { 0x591, 0x5bd },   { 0x610, 0x61a },
        { 0x64b, 0x65f },   { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x200c, 0x200d },
        { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f },
    };
    return within(c, list, sizeof list / sizeof *list);
}

/* ------------------------------------------------------------------ safe texts */

/* One character from *text on into out: itself or its escape. */
static void safe_character(const char **text, unsigned keep, char out[16])
{
    uint32_t c;
    int n = fdit_utf8_next(*text, &c);
    if (n < 0) {
        snprintf(out, 16, "\\x%02x", (unsigned)(unsigned char)**text);
        n = 1;
    } else if ((c == '\n' && keep & FDIT_TEXT_NEWLINES) || (c == '\t' && keep & FDIT_TEXT_TABS)) {
        snprintf(out, 16, "%c", (int)c);
    } else if (c == '\n' || c == '\t' || c == '\r') {
        snprintf(out, 16, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(out, 16, "\\x%02x", (unsigned)c);
    } else if (harmful(c)) {
        snprintf(out, 16, "\\u{%04x}", (unsigned)c);
    } else {
        memcpy(out, *text, (size_t)n);
        out[n] = '\0';
    }
    *text += n;
}

size_t fdit_text_safe(char *out, size_t size, const char *text, unsigned keep)
{
    size_t need = 0, used = 0;
    bool room = size > 0;
    char one[16];
    while (*text) {
        safe_character(&text, keep, one);
        const size_t n = strlen(one);
        room = room && used + n < size;
        if (room) {
            memcpy(out + used, one, n);
            used += n;
        }
        need += n;
    }
    if (size > 0)
        out[used] = '\0';
    return need;
}

bool fdit_text_is_safe(const char *text, unsigned keep)
{
    return fdit_text_safe(NULL, 0, text, keep) == strlen(text);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Writes one character as UTF-8; returns its bytes. */
static size_t encode(uint32_t c, char *out)
{
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* The escape at s, of n bytes: what it stands for into out, *bytes of it; returns its length, 0: none. */
static size_t read_escape(const char *s, size_t n, char out[4], size_t *bytes)
{
    uint32_t code = 0;
    size_t at = 3;
    *bytes = 1;
    if (n < 2 || s[0] != '\\')
        return 0;
    static const char letters[] = "\\nrt", meant[] = "\\\n\r\t";
    const char *simple = s[1] ? strchr(letters, s[1]) : NULL;
    if (simple) {
        out[0] = meant[simple - letters];
        return 2;
    }
    if (n >= 4 && s[1] == 'x' && hex(s[2]) >= 0 && hex(s[3]) >= 0 && hex(s[2]) + hex(s[3]) > 0) {
        out[0] = (char)(hex(s[2]) * 16 + hex(s[3]));
        return 4;
    }
    if (n < 5 || s[1] != 'u' || s[2] != '{')
        return 0;
    while (at < n && hex(s[at]) >= 0 && code < 0x110000)
        code = code * 16 + (uint32_t)hex(s[at++]);
    if (at == 3 || at >= n || s[at] != '}' || code == 0 || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *bytes = encode(code, out);
    return at + 1;
}

size_t fdit_text_unescape(char *text, size_t n)
{
    size_t to = 0;
    for (size_t from = 0; from < n;) {
        char out[4];
        size_t bytes = 0;
        const size_t taken = read_escape(text + from, n - from, out, &bytes);
        if (taken) {
            memcpy(text + to, out, bytes);
            to += bytes;
            from += taken;
        } else {
            text[to++] = text[from++];
        }
    }
    return to;
}

size_t fdit_text_columns(const char *text)
{
    size_t columns = 0;
    while (*text) {
        uint32_t c;
        const int n = fdit_utf8_next(text, &c);
        columns += n < 0 ? 1 : no_width(c) ? 0 : wide(c) ? 2 : 1;
        text += n < 0 ? 1 : n;
    }
    return columns;
}

/* ------------------------------------------------------------------ formatting */

struct output {
    char *text; /* NULL: memory was short */
    size_t used, capacity;
};

static void put(struct output *o, const char *bytes, size_t n)
{
    if (!o->text)
        return;
    if (n >= o->capacity - o->used) {
        const size_t more = o->capacity + n + 128;
        char *text = more > n ? realloc(o->text, 2 * more) : NULL;
        if (!text)
            free(o->text);
        o->text = text;
        o->capacity = 2 * more;
        if (!text)
            return;
    }
    memcpy(o->text + o->used, bytes, n);
    o->used += n;
    o->text[o->used] = '\0';
}

static void pad(struct output *o, size_t n)
{
    for (; n > 0; n--)
        put(o, " ", 1);
}

/* One conversion, as it stands in the format. */
struct directive {
    char text[48];        /* "%-8.3f", with * replaced by numbers */
    int width, precision; /* -1: none */
    bool left;
    char length, conversion; /* length: 'l', 'L' for ll, 'z', 't', 'j', 'h', 'H' for hh, 0 */
};

/* Of the first n bytes of s those that hold no half character at their end. */
static size_t whole_characters(const char *s, size_t n)
{
    size_t back = 0;
    while (back < 3 && back < n && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == n)
        return n;
    const unsigned char lead = (unsigned char)s[n - 1 - back];
    const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
    return bytes > back + 1 ? n - 1 - back : n;
}

/* The first n bytes made safe, from malloc. */
static char *safe_copy(const char *s, size_t n)
{
    char *part = malloc(n + 1), *safe = NULL;
    if (part) {
        memcpy(part, s, n);
        part[n] = '\0';
        const size_t need = fdit_text_safe(NULL, 0, part, FDIT_TEXT_LINE);
        safe = malloc(need + 1);
        if (safe)
            fdit_text_safe(safe, need + 1, part, FDIT_TEXT_LINE);
    }
    free(part);
    return safe;
}

static void put_string(struct output *o, const struct directive *d, const char *s)
{
    const size_t most = d->precision < 0 ? SIZE_MAX : (size_t)d->precision;
    size_t n = 0;
    s = s ? s : "(null)";
    while (n < most && s[n])
        n++;
    char *safe = safe_copy(s, n == most ? whole_characters(s, n) : n);
    if (!safe) {
        free(o->text);
        o->text = NULL;
        return;
    }
    const size_t columns = fdit_text_columns(safe);
    const size_t blanks = d->width > 0 && (size_t)d->width > columns ? (size_t)d->width - columns : 0;
    if (!d->left)
        pad(o, blanks);
    put(o, safe, strlen(safe));
    if (d->left)
        pad(o, blanks);
    free(safe);
}

static int read_number(const char **f)
{
    int n = 0;
    for (; **f >= '0' && **f <= '9'; (*f)++)
        n = n < 100000 ? 10 * n + (**f - '0') : n;
    return n;
}

/* Reads one conversion behind its %; numbers for * come from args. */
static const char *read_directive(const char *f, struct directive *d, va_list *args)
{
    char flags[6] = "";
    size_t n = 0;
    *d = (struct directive){ .width = -1, .precision = -1 };
    for (; *f && strchr("-+ #0", *f); f++) {
        d->left = d->left || *f == '-';
        if (n < sizeof flags - 1 && !strchr(flags, *f))
            flags[n++] = *f;
    }
    if (*f == '*') {
        d->width = va_arg(*args, int);
        d->left = d->left || d->width < 0;
        d->width = d->width < 0 ? -d->width : d->width;
        f++;
    } else if (*f >= '1' && *f <= '9') {
        d->width = read_number(&f);
    }
    if (*f == '.') {
        f++;
        if (*f == '*') {
            d->precision = va_arg(*args, int);
            f++;
        } else {
            d->precision = read_number(&f);
        }
    }
    for (; *f && strchr("hlLzjt", *f); f++)
        d->length = d->length == *f ? (char)(*f == 'l' ? 'q' : 'H') : *f;
    d->conversion = *f;
    char width[16] = "", precision[16] = "";
    if (d->width >= 0)
        snprintf(width, sizeof width, "%d", d->width);
    if (d->precision >= 0)
        snprintf(precision, sizeof precision, ".%d", d->precision);
    const bool dash = d->left && !strchr(flags, '-');
    const char *length = d->length == 'q' ? "ll" : d->length == 'H' ? "hh" : "";
    snprintf(d->text, sizeof d->text, "%%%s%s%s%s%s%.1s%c", dash ? "-" : "", flags, width, precision, length,
             *length || !d->length ? "" : &d->length, d->conversion);
    return *f ? f + 1 : f;
}

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the directive was read from a checked format */
#endif

/* Whether the number is 1 and stands in running text. */
static bool put_integer(struct output *o, const struct directive *d, va_list *args)
{
    char number[512];
    switch (d->length) {
    case 'l': snprintf(number, sizeof number, d->text, va_arg(*args, long)); break;
    case 'q': snprintf(number, sizeof number, d->text, va_arg(*args, long long)); break;
    case 'z': snprintf(number, sizeof number, d->text, va_arg(*args, size_t)); break;
    case 't': snprintf(number, sizeof number, d->text, va_arg(*args, ptrdiff_t)); break;
    case 'j': snprintf(number, sizeof number, d->text, va_arg(*args, intmax_t)); break;
    default: snprintf(number, sizeof number, d->text, va_arg(*args, int)); break;
    }
    put(o, number, strlen(number));
    return d->width < 0 && strcmp(number, "1") == 0;
}

static void put_real(struct output *o, const struct directive *d, va_list *args)
{
    char number[512];
    if (d->length == 'L')
        snprintf(number, sizeof number, d->text, va_arg(*args, long double));
    else
        snprintf(number, sizeof number, d->text, va_arg(*args, double));
    put(o, number, strlen(number));
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* What stands behind a 1 in a format, " pictures of": the noun goes out in the singular. Returns
 * what follows, or `format` where no noun of this list stands, perhaps behind one adjective. */
static const char *put_singular(struct output *o, const char *format)
{
    static const char *const adjectives[] = {
        " broken", " latent", " generated", " trained", " other", " new"
    };
    static const char *const nouns[] = {
        "archive", "block",   "buffer", "byte",    "channel", "checkpoint", "class", "column", "device",
        "epoch",   "error",   "field",  "file",    "folder",  "group",      "head",  "image",  "key",
        "layer",   "level",   "line",   "member",  "minute",  "model",      "name",  "number", "parameter",
        "pass",    "picture", "pixel",  "problem", "product", "rank",       "row",   "sample", "second",
        "shard",   "step",    "table",  "tensor",  "test",    "thread",     "time",  "value",  "worker"
    };
    const char *noun = format;
    for (size_t i = 0; i < sizeof adjectives / sizeof *adjectives; i++)
        if (!strncmp(format, adjectives[i], strlen(adjectives[i])))
            noun = format + strlen(adjectives[i]);
    if (*noun++ != ' ')
        return format;
    for (size_t i = 0; i < sizeof nouns / sizeof *nouns; i++) {
        const size_t n = strlen(nouns[i]);
        const char *ending = nouns[i][n - 1] == 's' ? "es" : "s";
        if (strncmp(noun, nouns[i], n) || strncmp(noun + n, ending, strlen(ending)))
            continue;
        const char *rest = noun + n + strlen(ending);
        if ((*rest >= 'a' && *rest <= 'z') || *rest == '_')
            continue;
        put(o, format, (size_t)(noun + n - format));
        return rest;
    }
    return format;
}

static void put_pointer(struct output *o, const void *p)
{
    char text[32];
    snprintf(text, sizeof text, "%p", p);
    put(o, text, strlen(text));
}

char *fdit_text_vformat(const char *format, va_list args)
{
    struct output o = { .text = malloc(128), .capacity = 128 };
    va_list at; /* a name of our own: an argument of this type cannot be passed on by address everywhere */
    if (!o.text)
        return NULL;
    o.text[0] = '\0';
    va_copy(at, args);
    while (*format && o.text) {
        const size_t plain = strcspn(format, "%");
        put(&o, format, plain);
        format += plain;
        if (!*format)
            break;
        struct directive d;
        char c[2] = "";
        format = read_directive(format + 1, &d, &at);
        switch (d.conversion) {
        case '%': put(&o, "%", 1); break;
        case 's': put_string(&o, &d, va_arg(at, const char *)); break;
        case 'c':
            c[0] = (char)va_arg(at, int);
            put_string(&o, &d, c);
            break;
        case 'p': put_pointer(&o, va_arg(at, void *)); break;
        case 'd':
        case 'i':
        case 'u':
        case 'x':
        case 'X':
        case 'o':
            if (put_integer(&o, &d, &at))
                format = put_singular(&o, format);
            break;
        default: put_real(&o, &d, &at); break;
        }
    }
    va_end(at);
    return o.text;
}

int fdit_text_compare(const void *pa, const void *pb)
{
    const char *const *a = pa, *const *b = pb;
    return strcmp(*a, *b);
}

enum fdit_status fdit_text_print(fdit_context *ctx, FILE *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = fdit_text_vformat(format, args);
    va_end(args);
    if (!text)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "out of memory for the results; they are not complete");
    fputs(text, to);
    free(text);
    return FDIT_OK;
}

void fdit_format_size(size_t bytes, char out[32])
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    double v = (double)bytes / 1024;
    int unit = 0;
    if (bytes < 1024) {
        snprintf(out, 32, "%zu byte%s", bytes, bytes == 1 ? "" : "s");
        return;
    }
    while (v >= 1023.5 && unit < 3) {
        v /= 1024;
        unit++;
    }
    snprintf(out, 32, v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

/* ------------------------------------------------------------------ words that were meant */

enum { LONGEST_COMPARED = 100 };

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

int fdit_text_edits(const char *a, size_t na, const char *b, size_t nb, int limit)
{
    int rows[3][LONGEST_COMPARED + 1];
    int *two = rows[0], *one = rows[1], *now = rows[2];
    if (na > LONGEST_COMPARED || nb > LONGEST_COMPARED || (na > nb ? na - nb : nb - na) > (size_t)limit)
        return limit + 1;
    for (size_t j = 0; j <= nb; j++)
        one[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int best = now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            int d = one[j - 1] + !same;
            d = one[j] + 1 < d ? one[j] + 1 : d;
            d = now[j - 1] + 1 < d ? now[j - 1] + 1 : d;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]) &&
                two[j - 2] + 1 < d)
                d = two[j - 2] + 1;
            now[j] = d;
            best = d < best ? d : best;
        }
        if (best > limit)
            return limit + 1;
        int *swap = two;
        two = one;
        one = now;
        now = swap;
    }
    return one[nb];
}

int fdit_text_edits_allowed(size_t length)
{
    return length < 6 ? 2 : length < 40 ? (int)(length / 3) : 13;
}

void fdit_text_consider(struct fdit_text_guess *g, const char *word)
{
    const size_t n = strlen(word);
    int limit = fdit_text_edits_allowed(g->length);
    /* of a word of three letters one has to be right, of one of two both are another word */
    if (limit >= (int)g->length)
        limit = (int)g->length - 1;
    if (g->best && g->edits - 1 < limit)
        limit = g->edits - 1;
    if (limit < 0)
        return;
    const int edits = fdit_text_edits(g->typed, g->length, word, n, limit);
    if (edits > limit || edits >= (int)n)
        return;
    g->best = word;
    g->edits = edits;
}
