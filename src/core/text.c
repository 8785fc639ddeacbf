/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"

#include "core/utf8.h"

#include <stdio.h>
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
    if (na > LONGEST_COMPARED || nb > LONGEST_COMPARED ||
        (na > nb ? na - nb : nb - na) > (size_t)limit)
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
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && two[j - 2] + 1 < d)
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
