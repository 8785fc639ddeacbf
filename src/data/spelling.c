/* SPDX-License-Identifier: Apache-2.0 */
#include "data/spelling.h"

#include "core/mem.h"

#include <string.h>
#ifdef HAVE_UTF8PROC
#include <utf8proc.h>
#endif

/* Bytes of the blank or unseen mark at s, 0 when there is none; *unseen tells which. Of UTF-8: the
 * blanks of Unicode, and zero-width marks, which sheets and web pages leave in names. */
static size_t blank(const char *s, size_t len, bool *unseen)
{
    const unsigned char *p = (const unsigned char *)s;
    *unseen = false;
    if (len && (p[0] == ' ' || (p[0] >= '\t' && p[0] <= '\r')))
        return 1;
    if (len >= 2 && p[0] == 0xc2 && (p[1] == 0xa0 || p[1] == 0xad)) {
        *unseen = p[1] == 0xad; /* U+00A0 no-break space, U+00AD soft hyphen */
        return 2;
    }
    if (len < 3)
        return 0;
    unsigned code = (unsigned)(p[0] & 15) << 12 | (unsigned)(p[1] & 63) << 6 | (p[2] & 63u);
    if (p[0] != 0xe1 && p[0] != 0xe2 && p[0] != 0xe3 && p[0] != 0xef)
        return 0;
    /* U+200C and U+200D (joiners) mean something in Persian, Indic scripts and emoji */
    *unseen = code == 0x200b || code == 0x200e || code == 0x200f || code == 0x2060 || code == 0xfeff;
    bool wide = code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
                code == 0x202f || code == 0x205f || code == 0x3000;
    return *unseen || wide ? 3 : 0;
}

void fdit_spelling_trim(const char **s, size_t *len)
{
    bool unseen;
    size_t n;
    while ((n = blank(*s, *len, &unseen))) {
        *s += n;
        *len -= n;
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t k = 1; k <= 3 && k <= *len && !more; k++)
            more = blank(*s + *len - k, k, &unseen) == k;
        if (more) {
            for (size_t k = 1; k <= 3; k++)
                if (blank(*s + *len - k, k, &unseen) == k) {
                    *len -= k;
                    break;
                }
        }
    }
}

/* Whether the name is ASCII with single spaces between words: its own canonical form. */
static bool is_plain(const char *s, size_t len)
{
    if (len && (s[0] == ' ' || s[len - 1] == ' '))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] >= 0x80 || (s[i] >= '\t' && s[i] <= '\r') || (s[i] == ' ' && s[i + 1] == ' '))
            return false;
    return true;
}

bool fdit_spelling_unicode(void)
{
#ifdef HAVE_UTF8PROC
    return true;
#else
    return false;
#endif
}

/* NFC in place, in small letters when `fold`; what does not fit or is not UTF-8 stays. */
static size_t compose(char *text, size_t n, bool fold)
{
#ifdef HAVE_UTF8PROC
    utf8proc_int32_t codes[FDIT_SPELLING_BYTES];
    const utf8proc_option_t options =
        (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE | (fold ? UTF8PROC_CASEFOLD : 0));
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, codes,
                                                FDIT_SPELLING_BYTES - 1, options);
    if (count < 0 || count >= FDIT_SPELLING_BYTES - 1)
        return n;
    /* works in place and never makes it longer than 4 bytes a code and a zero */
    utf8proc_ssize_t bytes = utf8proc_reencode(codes, count, options);
    if (bytes < 0 || bytes > FDIT_SPELLING_BYTES)
        return n;
    memcpy(text, codes, (size_t)bytes);
    return (size_t)bytes;
#else
    (void)text;
    (void)fold;
    return n;
#endif
}

size_t fdit_spelling(const char *s, size_t len, char out[FDIT_SPELLING_BYTES])
{
    size_t n = 0;
    bool gap = false, unseen;
    if (len > FDIT_SPELLING_BYTES || !fdit_utf8_valid(s, len)) {
        n = len < FDIT_SPELLING_BYTES ? len : FDIT_SPELLING_BYTES;
        memcpy(out, s, n);
        return n;
    }
    fdit_spelling_trim(&s, &len);
    for (size_t i = 0; i < len;) {
        size_t skip = blank(s + i, len - i, &unseen);
        i += skip;
        gap = gap || (skip && !unseen);
        if (skip)
            continue;
        if (gap)
            out[n++] = ' ';
        gap = false;
        out[n++] = s[i++];
    }
    return is_plain(out, n) ? n : compose(out, n, false);
}

size_t fdit_spelling_fold(const char *s, size_t len, char out[FDIT_SPELLING_BYTES])
{
    size_t n = fdit_spelling(s, len, out);
    bool ascii = true;
    for (size_t i = 0; i < n; i++) {
        ascii = ascii && (unsigned char)out[i] < 0x80;
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] + 32);
    }
    return ascii ? n : compose(out, n, true);
}

enum fdit_status fdit_spellings_add(fdit_context *ctx, struct fdit_spellings *sp,
                                    const struct fdit_names *names, size_t id, size_t *twin)
{
    enum fdit_status status = FDIT_OK;
    const char *s = fdit_names_get(names, id);
    size_t len = fdit_names_length(names, id), form;
    char text[FDIT_SPELLING_BYTES];
    bool added;
    *twin = FDIT_NAMES_NONE;
    if (is_plain(s, len)) { /* its form is the name: only another that is not plain can be a twin */
        form = fdit_names_find(&sp->forms, s, len);
        if (form != FDIT_NAMES_NONE && sp->ids[form] != id)
            *twin = sp->ids[form];
        return FDIT_OK;
    }
    size_t n = fdit_spelling(s, len, text);
    size_t same = fdit_names_find(names, text, n);
    TRY(fdit_names_add(ctx, &sp->forms, text, n, &form, &added));
    if (added) {
        TRY(fdit_grow(ctx, &sp->ids, &sp->ids_capacity, form + 1, sizeof *sp->ids));
        sp->ids[form] = (uint32_t)id;
    } else if (sp->ids[form] != id) {
        *twin = sp->ids[form];
    }
    if (same != FDIT_NAMES_NONE && same != id)
        *twin = same;
out:
    return status;
}

enum fdit_status fdit_spellings_all(fdit_context *ctx, struct fdit_spellings *sp,
                                    const struct fdit_names *names)
{
    enum fdit_status status = FDIT_OK;
    size_t twin;
    for (size_t id = 0; id < names->n; id++)
        TRY(fdit_spellings_add(ctx, sp, names, id, &twin));
out:
    return status;
}

size_t fdit_spellings_find(const struct fdit_spellings *sp, const struct fdit_names *names, const char *s,
                           size_t len)
{
    char text[FDIT_SPELLING_BYTES];
    size_t id = fdit_names_find(names, s, len);
    if (id != FDIT_NAMES_NONE)
        return id;
    size_t n = fdit_spelling(s, len, text);
    id = fdit_names_find(names, text, n);
    if (id != FDIT_NAMES_NONE)
        return id;
    id = fdit_names_find(&sp->forms, text, n);
    return id == FDIT_NAMES_NONE ? id : sp->ids[id];
}

void fdit_spellings_fini(struct fdit_spellings *sp)
{
    fdit_names_fini(&sp->forms);
    fdit_free(sp->ids);
    *sp = (struct fdit_spellings){ 0 };
}

/* Without blanks and unseen marks. */
static size_t squeeze(const char *s, size_t len, char out[FDIT_SPELLING_BYTES])
{
    size_t n = 0;
    bool unseen;
    for (size_t i = 0; i < len && n < FDIT_SPELLING_BYTES;) {
        size_t skip = blank(s + i, len - i, &unseen);
        i += skip;
        if (!skip)
            out[n++] = s[i++];
    }
    return n;
}

const char *fdit_spelling_difference(const char *a, size_t na, const char *b, size_t nb)
{
    char left[FDIT_SPELLING_BYTES], right[FDIT_SPELLING_BYTES];
    size_t nl = squeeze(a, na, left), nr = squeeze(b, nb, right);
    return nl == nr && !memcmp(left, right, nl) ? "blanks or marks that cannot be seen"
                                                : "Unicode normalisation (accents composed and decomposed)";
}
