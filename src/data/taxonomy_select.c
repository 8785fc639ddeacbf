/* SPDX-License-Identifier: Apache-2.0
 * What users type: classes, groups, ranks, and files of them. */
#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/text_file.h"
#include "data/table_text.h"
#include "data/taxonomy_build.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ suggestions */

enum { n_suggested = 3 };

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool contains(const char *text, size_t n, const char *part, size_t len)
{
    for (size_t at = 0; at + len <= n; at++) {
        size_t i = 0;
        while (i < len && lower(text[at + i]) == lower(part[i]))
            i++;
        if (i == len)
            return true;
    }
    return false;
}

/* "; did you mean "a" or "b"?" into text: the closest names, or those that contain what was typed;
 * when none is close, where to find them. */
static const char *suggest(const struct fdit_names *names, const char *s, size_t len, char *text, size_t size)
{
    size_t ids[n_suggested];
    int scores[n_suggested], n = 0;
    int limit = fdit_text_edits_allowed(len);
    for (size_t id = 0; id < names->n; id++) {
        const char *name = fdit_names_get(names, id);
        size_t n_name = fdit_names_length(names, id);
        int worst = n == n_suggested ? scores[n - 1] - 1 : limit;
        int score = fdit_text_edits(s, len, name, n_name, worst < 0 ? 0 : worst);
        if (score > limit && len >= 3 && contains(name, n_name, s, len))
            score = limit;
        if (score > limit || (n == n_suggested && score >= scores[n - 1]))
            continue;
        int at = n < n_suggested ? n++ : n - 1;
        for (; at > 0 && scores[at - 1] > score; at--) {
            scores[at] = scores[at - 1];
            ids[at] = ids[at - 1];
        }
        scores[at] = score;
        ids[at] = id;
    }
    size_t used = 0;
    snprintf(text, size, "; finediffusion inspect --classes lists all of them");
    for (int i = 0; i < n; i++) {
        int more = snprintf(text + used, size - used, "%s\"%.80s\"%s",
                            !i          ? "; did you mean "
                            : i + 1 < n ? ", "
                                        : " or ",
                            fdit_names_get(names, ids[i]), i + 1 == n ? "?" : "");
        used += more > 0 ? (size_t)more : 0;
        if (used >= size)
            break;
    }
    return text;
}

/* ------------------------------------------------------------------ ranks */

static const char *list_ranks(const struct fdit_taxonomy *tax, struct fdit_name_list *list)
{
    for (int32_t r = 0; r < tax->n_ranks; r++)
        fdit_name_list_add(list, tax->ranks[r].name, NULL);
    return fdit_name_list_text(list);
}

static enum fdit_status find_rank(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *name,
                                  size_t len, int32_t *rank)
{
    struct fdit_name_list list = { 0 };
    if (!tax->n_ranks)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "the classes have no groups: no rank \"%.*s\"; give a --taxonomy with ranks",
                         (int)len, name);
    for (*rank = 0; *rank < tax->n_ranks; ++*rank)
        if (strlen(tax->ranks[*rank].name) == len && !memcmp(tax->ranks[*rank].name, name, len))
            return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "no rank \"%.*s\"; the ranks are %s", (int)len, name,
                     list_ranks(tax, &list));
}

enum fdit_status fdit_taxonomy_superclass(fdit_context *ctx, const struct fdit_taxonomy *tax,
                                          const char *name, int32_t *rank)
{
    *rank = 0;
    if (name)
        return find_rank(ctx, tax, name, strlen(name), rank);
    if (!tax->n_ranks)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "the classes have no groups, so there is no superclass; give a --taxonomy with "
                         "ranks, nest the class folders, or use --label-drop empty");
    return FDIT_OK;
}

enum fdit_status fdit_taxonomy_ranks(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *list,
                                     int32_t **out, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    int32_t *ranks = NULL, rank;
    size_t count = 0, len;
    const char *at = list, *piece;
    *out = NULL;
    *n = 0;
    TRY(fdit_alloc(ctx, (size_t)tax->n_ranks, sizeof *ranks, &ranks));
    if (!strcmp(list, "all") && fdit_taxonomy_find_rank(tax, "all") < 0) {
        if (!tax->n_ranks)
            TRY(fdit_taxonomy_superclass(ctx, tax, NULL, &rank));
        for (rank = 0; rank < tax->n_ranks; rank++)
            ranks[count++] = rank;
        at = NULL;
    }
    while (fdit_tax_piece(&at, list + strlen(list), ',', &piece, &len)) {
        TRY(find_rank(ctx, tax, piece, len, &rank));
        for (size_t i = 0; i < count; i++)
            if (ranks[i] == rank)
                FAIL(ctx, FDIT_ERROR_ARGUMENT, "rank \"%.*s\" is there twice in \"%s\"", (int)len, piece,
                     list);
        ranks[count++] = rank;
    }
    *out = ranks;
    *n = count;
    return FDIT_OK;
out:
    fdit_free(ranks);
    return status;
}

/* ------------------------------------------------------------------ classes */

/* Decimal digits only, and below 2^31. */
static bool number(const char *s, size_t len, int64_t *out)
{
    int64_t value = 0;
    if (!len || len > 12)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        value = value * 10 + (s[i] - '0');
    }
    *out = value;
    return value <= INT32_MAX;
}

static size_t find_class(const struct fdit_taxonomy *tax, const char *s, size_t len)
{
    size_t id = fdit_names_find(&tax->classes, s, len);
    return id != FDIT_NAMES_NONE ? id : fdit_names_find(&tax->folders, s, len);
}

/* The same for one that differs in spelling only. */
static size_t find_alike(const struct fdit_taxonomy *tax, const char *s, size_t len)
{
    size_t id = fdit_spellings_find(&tax->class_spellings, &tax->classes, s, len);
    return id != FDIT_NAMES_NONE ? id : fdit_spellings_find(&tax->folder_spellings, &tax->folders, s, len);
}

/* "#5" or "5": true when it has that form. */
static bool class_number(const char *s, size_t len, int64_t *id)
{
    return len && s[0] == '#' ? number(s + 1, len - 1, id) : number(s, len, id);
}

static enum fdit_status check_number(fdit_context *ctx, const struct fdit_taxonomy *tax, int64_t id)
{
    if (id < (int64_t)tax->classes.n)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "class id %lld is out of range: there are %zu classes, 0 .. %zu", (long long)id,
                     tax->classes.n, tax->classes.n - 1);
}

static enum fdit_status one_class(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *s,
                                  size_t len, int32_t *out)
{
    enum fdit_status status = FDIT_OK;
    char hint[320];
    int64_t number_given;
    size_t id = find_class(tax, s, len);
    if (id == FDIT_NAMES_NONE && !class_number(s, len, &number_given))
        id = find_alike(tax, s, len);
    if (id == FDIT_NAMES_NONE) {
        if (!class_number(s, len, &number_given))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "no class \"%.*s\"%s", (int)(len < 300 ? len : 300), s,
                 suggest(&tax->classes, s, len, hint, sizeof hint));
        TRY(check_number(ctx, tax, number_given));
        id = (size_t)number_given;
    }
    *out = (int32_t)id;
out:
    return status;
}

struct selection {
    fdit_context *ctx;
    const struct fdit_taxonomy *tax;
    int32_t *ids;
    size_t n;
    bool *chosen; /* [classes] */
};

static void choose(struct selection *sel, size_t id)
{
    if (!sel->chosen[id])
        sel->ids[sel->n++] = (int32_t)id;
    sel->chosen[id] = true;
}

/* Takes s as one item: a class, an id, all, or RANK=GROUP. *taken is false when it is none of them.
 */
static enum fdit_status take(struct selection *sel, const char *s, size_t len, bool *taken)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = sel->tax;
    size_t id = find_class(tax, s, len);
    int64_t given;
    const char *equals = len ? memchr(s, '=', len) : NULL;
    *taken = true;
    if (id != FDIT_NAMES_NONE) {
        choose(sel, id);
        return FDIT_OK;
    }
    if (class_number(s, len, &given)) {
        TRY(check_number(sel->ctx, tax, given));
        choose(sel, (size_t)given);
        return FDIT_OK;
    }
    if (len == 3 && !memcmp(s, "all", 3)) {
        for (size_t c = 0; c < tax->classes.n; c++)
            choose(sel, c);
        return FDIT_OK;
    }
    for (int32_t r = 0; equals && r < tax->n_ranks; r++) {
        const struct fdit_tax_rank *rank = &tax->ranks[r];
        size_t n = (size_t)(equals - s);
        if (strlen(rank->name) != n || memcmp(rank->name, s, n))
            continue;
        id = fdit_spellings_find(&rank->spellings, &rank->groups, equals + 1, len - n - 1);
        for (size_t c = 0; id != FDIT_NAMES_NONE && c < tax->classes.n; c++)
            if (rank->of[c] == (int32_t)id)
                choose(sel, c);
        *taken = id != FDIT_NAMES_NONE;
        return FDIT_OK;
    }
    id = find_alike(tax, s, len);
    *taken = id != FDIT_NAMES_NONE;
    if (*taken)
        choose(sel, id);
out:
    return status;
}

/* The groups whose path ends with this word. */
static size_t list_same(const struct fdit_tax_rank *rank, const char *s, size_t len,
                        struct fdit_name_list *list)
{
    for (size_t g = 0; g < rank->groups.n; g++) {
        const char *name = fdit_names_get(&rank->groups, g);
        size_t n = fdit_names_length(&rank->groups, g);
        if (n > len && name[n - len - 1] == '/' && !memcmp(name + n - len, s, len))
            fdit_name_list_add(list, name, NULL);
    }
    return list->n;
}

/* Says why an item was not taken. */
static enum fdit_status unknown(const struct selection *sel, const char *s, size_t len)
{
    char hint[320];
    const struct fdit_taxonomy *tax = sel->tax;
    const char *equals = len ? memchr(s, '=', len) : NULL;
    int shown = (int)(len < 300 ? len : 300);
    if (!len)
        return fdit_fail(sel->ctx, FDIT_ERROR_ARGUMENT,
                         "an empty class name; write NAME,NAME,... or #ID or RANK=GROUP or all or @FILE");
    for (int32_t r = 0; equals && r < tax->n_ranks; r++) {
        const struct fdit_tax_rank *rank = &tax->ranks[r];
        size_t n = (size_t)(equals - s);
        if (strlen(rank->name) != n || memcmp(rank->name, s, n))
            continue;
        struct fdit_name_list same = { 0 };
        if (list_same(rank, equals + 1, len - n - 1, &same) > 1)
            return fdit_fail(sel->ctx, FDIT_ERROR_ARGUMENT,
                             "the %s \"%.*s\" is several groups: %s; give one of them", rank->name, shown,
                             equals + 1, fdit_name_list_text(&same));
        return fdit_fail(sel->ctx, FDIT_ERROR_ARGUMENT, "no %s \"%.*s\"%s", rank->name, shown, equals + 1,
                         suggest(&rank->groups, equals + 1, len - n - 1, hint, sizeof hint));
    }
    if (equals) {
        struct fdit_name_list ranks = { 0 };
        return fdit_fail(sel->ctx, FDIT_ERROR_ARGUMENT, "no class and no RANK=GROUP \"%.*s\"; %s%s", shown, s,
                         tax->n_ranks ? "the ranks are " : "there are no ranks", list_ranks(tax, &ranks));
    }
    return fdit_fail(sel->ctx, FDIT_ERROR_ARGUMENT, "no class \"%.*s\"%s", shown, s,
                     suggest(&tax->classes, s, len, hint, sizeof hint));
}

/* Items with commas between; an item is the shortest run of pieces that means something, without
 * spaces around it if it means nothing with them. */
static enum fdit_status take_list(struct selection *sel, const char *s, const char *end)
{
    enum fdit_status status = FDIT_OK;
    enum { most_pieces = 16 };
    const char *at = s;
    while (at) {
        const char *stop = at, *next = NULL;
        bool taken = false;
        for (int i = 0; i < most_pieces && !taken; i++) {
            const char *comma = stop < end ? memchr(stop, ',', (size_t)(end - stop)) : NULL;
            const char *from = at, *to = comma ? comma : end;
            TRY(take(sel, from, (size_t)(to - from), &taken));
            while (!taken && from < to && (*from == ' ' || *from == '\t'))
                from++;
            while (!taken && from < to && (to[-1] == ' ' || to[-1] == '\t'))
                to--;
            if (!taken)
                TRY(take(sel, from, (size_t)(to - from), &taken));
            next = comma ? comma + 1 : NULL;
            if (!comma)
                break;
            stop = comma + 1;
        }
        if (!taken) {
            const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
            TRY(unknown(sel, at, (size_t)((comma ? comma : end) - at)));
        }
        at = next;
    }
out:
    return status;
}

static enum fdit_status read_list(fdit_context *ctx, const char *path, char **text, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_text_file_read(ctx, path, "a list of classes", FDIT_TEXT_MOST, text, n));
    if (*n >= 3 && !memcmp(*text, "\xef\xbb\xbf", 3)) {
        *n -= 3;
        memmove(*text, *text + 3, *n);
    }
out:
    return status;
}

/* Calls for each line that is not blank, without its end. */
static bool list_line(const char **at, const char *end, size_t *number_of_line, const char **line,
                      size_t *len)
{
    while (*at && *at < end) {
        fdit_tax_piece(at, end, '\n', line, len);
        ++*number_of_line;
        if (*len && (*line)[*len - 1] == '\r')
            --*len;
        for (size_t i = 0; i < *len; i++)
            if ((*line)[i] != ' ' && (*line)[i] != '\t')
                return true;
    }
    return false;
}

static enum fdit_status line_error(fdit_context *ctx, enum fdit_status status, const char *path, size_t line)
{
    char *said = NULL;
    if (fdit_strf(NULL, &said, "%s:%zu", path, line) == FDIT_OK)
        fdit_fail_prefix(ctx, status, said);
    fdit_free(said);
    return status;
}

static enum fdit_status take_file(struct selection *sel, const char *path)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    const char *line;
    size_t n, len, number_of_line = 0;
    TRY(read_list(sel->ctx, path, &text, &n));
    const char *at = text;
    while (list_line(&at, text + n, &number_of_line, &line, &len)) {
        bool taken;
        status = take(sel, line, len, &taken);
        if (status == FDIT_OK && !taken)
            status = unknown(sel, line, len);
        if (status != FDIT_OK)
            TRY(line_error(sel->ctx, status, path, number_of_line));
    }
    if (!sel->n)
        FAIL(sel->ctx, FDIT_ERROR_ARGUMENT, "%s: no class in it", path);
out:
    fdit_free(text);
    return status;
}

enum fdit_status fdit_taxonomy_select(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *what,
                                      int32_t **ids, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct selection sel = { .ctx = ctx, .tax = tax };
    bool taken;
    *ids = NULL;
    *n = 0;
    TRY(fdit_alloc(ctx, tax->classes.n, sizeof *sel.ids, &sel.ids));
    TRY(fdit_alloc(ctx, tax->classes.n, sizeof *sel.chosen, &sel.chosen));
    TRY(take(&sel, what, strlen(what), &taken));
    if (!taken && what[0] == '@')
        TRY(take_file(&sel, what + 1));
    else if (!taken)
        TRY(take_list(&sel, what, what + strlen(what)));
    *ids = sel.ids;
    *n = sel.n;
    sel.ids = NULL;
out:
    fdit_free(sel.ids);
    fdit_free(sel.chosen);
    return status;
}

/* A line of two fields, or as it was written before tables were read: the class, and behind the
 * last space or tab the count. */
static bool class_and_count(const struct fdit_rows *rows, struct fdit_field *name, int64_t *count)
{
    if (rows->n >= 2) {
        size_t last = rows->n - 1;
        while (last > 1 && !rows->fields[last].len)
            last--;
        *name = rows->fields[0];
        if (last > 1) /* a separator in the name itself */
            name->len = (size_t)(rows->fields[last - 1].s + rows->fields[last - 1].len - name->s);
        return name->len && number(rows->fields[last].s, rows->fields[last].len, count);
    }
    const char *s = rows->fields[0].s;
    size_t gap = rows->fields[0].len, len = gap;
    while (gap > 0 && s[gap - 1] != ' ')
        gap--;
    *name = (struct fdit_field){ s, gap ? gap - 1 : 0 };
    return gap > 1 && number(s + gap, len - gap, count);
}

static enum fdit_status take_count(struct selection *sel, const struct fdit_rows *rows, int32_t *given,
                                   bool first)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_field name;
    int64_t count = 0;
    int32_t id = 0;
    if (!class_and_count(rows, &name, &count)) {
        bool header = first && rows->n >= 2 &&
                      find_class(sel->tax, rows->fields[0].s, rows->fields[0].len) == FDIT_NAMES_NONE;
        if (header)
            return FDIT_OK;
        FAIL(sel->ctx, FDIT_ERROR_ARGUMENT,
             "%s:%zu: a class and a count from 0 to 2147483647 are "
             "needed, with a tab, comma or semicolon between them",
             rows->what, rows->line);
    }
    status = one_class(sel->ctx, sel->tax, name.s, name.len, &id);
    if (status != FDIT_OK)
        TRY(line_error(sel->ctx, status, rows->what, rows->line));
    if (sel->chosen[id])
        FAIL(sel->ctx, FDIT_ERROR_ARGUMENT, "%s:%zu: class \"%s\" is there twice", rows->what, rows->line,
             fdit_names_get(&sel->tax->classes, (size_t)id));
    given[sel->n] = (int32_t)count;
    choose(sel, (size_t)id);
out:
    return status;
}

enum fdit_status fdit_taxonomy_counts(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *path,
                                      int32_t **ids, int32_t **counts, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    struct selection sel = { .ctx = ctx, .tax = tax };
    struct fdit_rows rows = { 0 };
    int32_t *given = NULL;
    char *text = NULL;
    size_t size;
    *ids = NULL;
    *counts = NULL;
    *n = 0;
    TRY(fdit_alloc(ctx, tax->classes.n, sizeof *sel.ids, &sel.ids));
    TRY(fdit_alloc(ctx, tax->classes.n, sizeof *sel.chosen, &sel.chosen));
    TRY(fdit_alloc(ctx, tax->classes.n, sizeof *given, &given));
    TRY(fdit_text_file_read(ctx, path, "a list of classes and counts", FDIT_TEXT_MOST, &text, &size));
    TRY(fdit_rows_open(ctx, text, size, path, "a list of classes and counts", &rows));
    for (bool first = true; fdit_rows_next(&rows); first = false) {
        TRY(fdit_rows_split(ctx, &rows));
        TRY(take_count(&sel, &rows, given, first));
    }
    if (!sel.n)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: no class in it", path);
    *ids = sel.ids;
    *counts = given;
    *n = sel.n;
    sel.ids = NULL;
    given = NULL;
out:
    fdit_rows_close(&rows);
    fdit_free(text);
    fdit_free(given);
    fdit_free(sel.ids);
    fdit_free(sel.chosen);
    return status;
}
