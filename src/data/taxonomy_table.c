/* SPDX-License-Identifier: Apache-2.0
 * Taxonomies from tables: text with tabs, commas or semicolons. */
#include "core/mem.h"
#include "core/text.h"
#include "data/table_text.h"
#include "data/taxonomy_build.h"

#include <stdio.h>
#include <string.h>

struct directive {
    const char *text; /* what follows the word */
    size_t len, line;
};

struct directives {
    struct directive *list;
    size_t n, capacity;
};

struct table {
    fdit_context *ctx;
    const char *what;
    struct fdit_taxonomy *draft;
    struct fdit_rows rows;
    struct directives orders, nested;
    bool independent;
    struct fdit_field *header; /* of the columns that are used: the class, then the ranks */
    size_t n_header, header_line;
    int32_t *rank_of; /* [columns] of the header: its rank; -1: a column whose name begins with # */
    size_t skip;      /* columns before the class: numbers of rows, as R and pandas write them */
    size_t shift;     /* columns that rows have more than the header */
    bool begun, doubted;
    char *place; /* "FILE:LINE" */
};

static bool is_number(const struct fdit_field *f)
{
    for (size_t i = 0; i < f->len; i++)
        if (f->s[i] < '0' || f->s[i] > '9')
            return false;
    return f->len > 0;
}

/* Tells a table whose first column has groups, and another one the classes. Called when the class in the
 * first column is there for the second time. */
static enum fdit_status refuse_reversed(struct table *t)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *draft = t->draft;
    for (int32_t r = 0; r < draft->n_ranks; r++) {
        const struct fdit_tax_rank *rank = &draft->ranks[r];
        size_t column = t->skip + 1;
        while (t->rank_of[column] != r)
            column++;
        const struct fdit_field *f = column < t->rows.n ? &t->rows.fields[column] : NULL;
        if (!f || !f->len || rank->groups.n != draft->classes.n ||
            fdit_names_find(&rank->groups, f->s, f->len) != FDIT_NAMES_NONE)
            continue;
        FAIL(t->ctx, FDIT_ERROR_FORMAT,
             "%s: class \"%.*s\" is there twice; remove one, or put the column \"%.80s\", where no name is "
             "twice so far, before it: the classes come first, then their groups",
             t->place, (int)(t->rows.fields[t->skip].len < 80 ? t->rows.fields[t->skip].len : 80),
             t->rows.fields[t->skip].s, rank->name);
    }
out:
    return status;
}

/* The place for messages of taxonomy.c. */
static enum fdit_status here(struct table *t)
{
    fdit_free(t->place);
    t->place = NULL;
    return fdit_strf(t->ctx, &t->place, "%s:%zu", t->what, t->rows.line);
}

static enum fdit_status take_header(struct table *t)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_rows *rows = &t->rows;
    TRY(fdit_rows_split(t->ctx, rows));
    while (rows->n > 1 && !rows->fields[rows->n - 1].len) /* columns that a sheet had, but empty */
        rows->n--;
    TRY(fdit_alloc(t->ctx, rows->n, sizeof *t->header, &t->header));
    memcpy(t->header, rows->fields, rows->n * sizeof *t->header);
    t->n_header = rows->n;
    t->header_line = rows->line;
out:
    return status;
}

/* With the first row it is known which columns there are. */
static enum fdit_status begin(struct table *t, size_t n)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_field *first = t->rows.fields;
    size_t name = 0; /* column of the header that names the class */
    t->begun = true;
    if (n > 1 && first && is_number(first)) {
        if (t->n_header > 1 && !t->header[0].len) /* pandas, and R's write.csv */
            t->skip = name = 1;
        else if (n == t->n_header + 1) /* R's write.table */
            t->skip = 1;
    }
    TRY(fdit_strndup(t->ctx, t->header[name].s, t->header[name].len, &t->draft->header));
    fdit_free(t->place);
    t->place = NULL;
    TRY(fdit_strf(t->ctx, &t->place, "%s:%zu", t->what, t->header_line));
    TRY(fdit_alloc(t->ctx, t->n_header + 1, sizeof *t->rank_of, &t->rank_of));
    t->shift = t->skip - name;
    for (size_t c = name + 1; c < t->n_header; c++) {
        const struct fdit_field *f = &t->header[c];
        t->rank_of[c + t->shift] = -1;
        if (f->len && f->s[0] == '#') /* for people: the numbers of pictures that inspect prints */
            continue;
        TRY(fdit_tax_add_rank(t->ctx, t->draft, t->place, f->s, f->len));
        t->rank_of[c + t->shift] = t->draft->n_ranks - 1;
    }
out:
    return status;
}

/* A name of a rank that is also a group of it: the header is missing, most likely. */
static void doubt_header(struct table *t, const struct fdit_field *f, int32_t r)
{
    const char *name = t->draft->ranks[r].name;
    if (t->doubted || strlen(name) != f->len || memcmp(name, f->s, f->len))
        return;
    t->doubted = true;
    fdit_log(t->ctx, FDIT_LOG_WARNING,
             "%s:%zu: this line is taken as the header, but its \"%.80s\" is in column %d of line %zu "
             "too; if it is a class already, put a line with the names of the columns before it",
             t->what, t->header_line, name, r + 2, t->rows.line);
}

static enum fdit_status take_row(struct table *t)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_rows *rows = &t->rows;
    TRY(fdit_rows_split(t->ctx, rows));
    size_t n = rows->n, id = t->draft->classes.n;
    if (!t->begun)
        TRY(begin(t, n));
    size_t columns = t->n_header + t->shift;
    while (n > columns && !rows->fields[n - 1].len)
        n--;
    bool blank = true;
    for (size_t c = 0; c < n; c++)
        blank = blank && !rows->fields[c].len;
    if (blank)
        return FDIT_OK;
    if (t->skip && !is_number(&rows->fields[0]))
        FAIL(t->ctx, FDIT_ERROR_FORMAT,
             "%s:%zu: the first column has numbers of rows in the lines before, but \"%.*s\" here", t->what,
             rows->line, (int)(rows->fields[0].len < 80 ? rows->fields[0].len : 80), rows->fields[0].s);
    if (n > columns)
        FAIL(t->ctx, FDIT_ERROR_FORMAT,
             "%s:%zu: more columns (%zu) than the header's %zu (line %zu); %s separate the "
             "columns, so a name that "
             "has one in it needs double quotes around it%s",
             t->what, rows->line, n, columns, t->header_line, fdit_rows_separator(rows),
             n == columns + 1 ? "; or the header has no name for the last column, or the names of rows that "
                                "R writes are in the way (row.names = FALSE)"
                              : "");
    if (n <= t->skip || !rows->fields[t->skip].len)
        FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: no class in the first column", t->what, rows->line);
    TRY(here(t));
    if (fdit_names_find(&t->draft->classes, rows->fields[t->skip].s, rows->fields[t->skip].len) !=
        FDIT_NAMES_NONE)
        TRY(refuse_reversed(t));
    TRY(fdit_tax_add_class(t->ctx, t->draft, t->place, rows->fields[t->skip].s, rows->fields[t->skip].len));
    for (size_t c = t->skip + 1; c < n; c++) {
        const struct fdit_field *f = &rows->fields[c];
        int32_t r = t->rank_of[c];
        if (!f->len || r < 0)
            continue;
        doubt_header(t, f, r);
        TRY(fdit_tax_put(t->ctx, t->draft, t->place, r, id, f->s, f->len));
    }
out:
    return status;
}

/* "#order RANK=A,B,...": kept; groups are known at the end only. */
static enum fdit_status keep(struct table *t, struct directives *d, size_t word)
{
    enum fdit_status status = FDIT_OK;
    const char *s = t->rows.raw + word;
    size_t len = t->rows.raw_len - word;
    TRY(fdit_grow(t->ctx, &d->list, &d->capacity, d->n + 1, sizeof *d->list));
    fdit_spelling_trim(&s, &len);
    if (t->rows.escaped)
        len = fdit_text_unescape(t->rows.text + (s - t->rows.text), len);
    d->list[d->n++] = (struct directive){ s, len, t->rows.line };
out:
    return status;
}

static enum fdit_status apply_order(struct table *t, const struct directive *order, bool *ordered)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *ids = NULL;
    bool *seen = NULL;
    size_t n = 0, len;
    const char *end = order->text + order->len;
    const char *equals = order->len ? memchr(order->text, '=', order->len) : NULL;
    int32_t r = equals ? fdit_tax_find_rank(t->draft, order->text, (size_t)(equals - order->text)) : -1;
    if (r < 0)
        FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: \"#order\" needs RANK=A,B,... with a rank of the header",
             t->what, order->line);
    if (ordered[r])
        FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: a second #order of \"%s\"", t->what, order->line,
             t->draft->ranks[r].name);
    ordered[r] = true;
    const struct fdit_names *groups = &t->draft->ranks[r].groups;
    TRY(fdit_alloc(t->ctx, groups->n, sizeof *ids, &ids));
    TRY(fdit_alloc(t->ctx, groups->n, sizeof *seen, &seen));
    for (const char *at = equals + 1; at; at = at + len < end ? at + len + 1 : NULL) {
        size_t id = fdit_tax_first(groups, at, end, &len);
        if (id == FDIT_NAMES_NONE) {
            const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
            size_t shown = (size_t)((comma ? comma : end) - at);
            FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: \"%.*s\" is the %s of no class", t->what, order->line,
                 (int)(shown < 200 ? shown : 200), at, t->draft->ranks[r].name);
        }
        if (seen[id])
            FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: \"%s\" is there twice", t->what, order->line,
                 fdit_names_get(groups, id));
        seen[id] = true;
        ids[n++] = (uint32_t)id;
    }
    struct fdit_name_list left = { 0 };
    for (size_t g = 0; g < groups->n; g++)
        if (!seen[g])
            fdit_name_list_add(&left, fdit_names_get(groups, g), NULL);
    if (left.n)
        FAIL(t->ctx, FDIT_ERROR_FORMAT, "%s:%zu: #order of \"%s\" leaves out %zu groups: %s", t->what,
             order->line, t->draft->ranks[r].name, left.n, fdit_name_list_text(&left));
    TRY(fdit_tax_reorder(t->ctx, t->draft, r, ids));
out:
    fdit_free(seen);
    fdit_free(ids);
    return status;
}

/* "#nested genus,family,order": each lies within those that follow. */
static enum fdit_status apply_nested(struct table *t, const struct directive *d,
                                     struct fdit_tax_nesting *nesting)
{
    enum fdit_status status = FDIT_OK;
    int32_t chain[FDIT_TAX_MOST_RANKS], n = 0;
    const char *at = d->text, *piece;
    size_t len;
    while (fdit_tax_piece(&at, d->text + d->len, ',', &piece, &len)) {
        fdit_spelling_trim(&piece, &len);
        int32_t r = fdit_tax_find_rank(t->draft, piece, len);
        bool twice = false;
        for (int32_t i = 0; i < n; i++)
            twice = twice || chain[i] == r ||
                    nesting->coarser[(size_t)r * (size_t)t->draft->n_ranks + (size_t)chain[i]];
        if (r < 0 || twice || n >= t->draft->n_ranks)
            FAIL(t->ctx, FDIT_ERROR_FORMAT,
                 "%s:%zu: \"#nested\" needs ranks of the header, the finest first, each once: "
                 "\"#nested genus,family\"; \"%.*s\" is wrong",
                 t->what, d->line, (int)(len < 80 ? len : 80), piece);
        for (int32_t i = 0; i < n; i++)
            nesting->coarser[(size_t)chain[i] * (size_t)t->draft->n_ranks + (size_t)r] = true;
        chain[n++] = r;
    }
out:
    return status;
}

static enum fdit_status split_names(struct table *t)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tax_nesting nesting = { 0 };
    TRY(fdit_tax_nesting_new(t->ctx, t->draft, &nesting));
    nesting.told = t->independent || t->nested.n;
    for (size_t i = 0; i < t->nested.n; i++)
        TRY(apply_nested(t, &t->nested.list[i], &nesting));
    if (!nesting.told)
        fdit_tax_nesting_biology(t->draft, &nesting);
    TRY(fdit_tax_warn_case(t->ctx, t->draft, t->what));
    TRY(fdit_tax_split_homonyms(t->ctx, t->draft, t->what, &nesting));
    TRY(fdit_tax_warn_homonyms(t->ctx, t->draft, t->what, &nesting));
out:
    fdit_tax_nesting_fini(&nesting);
    return status;
}

/* Length of the directive's word when the line begins with it. */
static size_t word(const struct fdit_rows *rows, const char *text)
{
    size_t len = strlen(text);
    if (rows->raw_len < len || memcmp(rows->raw, text, len))
        return 0;
    return rows->raw_len == len || rows->raw[len] == ' ' || rows->raw[len] == '\t' ? len : 0;
}

static enum fdit_status take_line(struct table *t)
{
    enum fdit_status status = FDIT_OK;
    size_t len;
    if ((len = word(&t->rows, "#order")))
        TRY(keep(t, &t->orders, len));
    else if ((len = word(&t->rows, "#nested")))
        TRY(keep(t, &t->nested, len));
    else if (word(&t->rows, "#independent"))
        t->independent = true;
    else if (word(&t->rows, "#escaped"))
        t->rows.escaped = true;
    else if (word(&t->rows, "#"))
        return FDIT_OK;
    else
        TRY(t->header ? take_row(t) : take_header(t));
out:
    return status;
}

enum fdit_status fdit_tax_parse_table(fdit_context *ctx, const char *text, size_t n, const char *what,
                                      const char *ranks, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct table t = { .ctx = ctx, .what = what };
    bool ordered[FDIT_TAX_MOST_RANKS] = { false };
    TRY(fdit_tax_new(ctx, &t.draft));
    t.draft->strict = true;
    t.draft->paths = true;
    TRY(fdit_rows_open(ctx, text, n, what, "a taxonomy (a table of classes and their groups, or JSON)",
                       &t.rows));
    while (fdit_rows_next(&t.rows))
        TRY(take_line(&t));
    if (t.header && !t.begun)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: only one line (%zu), which names the columns; no class in it", what,
             t.header_line);
    TRY(split_names(&t));
    for (size_t i = 0; i < t.orders.n; i++)
        TRY(apply_order(&t, &t.orders.list[i], ordered));
    for (int32_t r = 0; r < t.draft->n_ranks; r++)
        if (!ordered[r])
            TRY(fdit_tax_sort(ctx, t.draft, r));
    TRY(fdit_tax_pick(ctx, t.draft, what, ranks, out));
out:
    fdit_rows_close(&t.rows);
    fdit_free(t.orders.list);
    fdit_free(t.nested.list);
    fdit_free(t.header);
    fdit_free(t.rank_of);
    fdit_free(t.place);
    fdit_taxonomy_free(t.draft);
    return status;
}
