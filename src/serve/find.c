/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/find.h"

#include "core/mem.h"
#include "data/spelling.h"

#include <stdlib.h>
#include <string.h>

/* How well a word fits a name. */
enum { WHOLE, BEGINS, BEGINS_WORD, WITHIN, ABOVE = 6, NOT = 255 };

struct fdit_find {
    const struct fdit_tree *tree;
    int32_t n_classes, n_rows;
    char *text; /* folded names, a zero byte behind each, groups from n_classes on as in the table */
    size_t bytes, capacity;
    size_t *start;  /* [n_rows + 1] */
    int32_t *order; /* [n_rows] groups from the coarsest on, then classes */
};

/* Rows so that what is above a row comes before it. */
static void order_rows(struct fdit_find *f)
{
    int32_t *order = f->order;
    int32_t n = 0;
    /* the roots of the views, then what is below each */
    for (int32_t row = f->n_classes; row < f->n_rows; row++)
        if (fdit_tree_parent(f->tree, row) < 0)
            order[n++] = row;
    for (int32_t i = 0; i < n; i++) {
        int32_t children = fdit_tree_children(f->tree, order[i]);
        for (int32_t c = 0; c < children; c++) {
            int32_t child = fdit_tree_child(f->tree, order[i], c);
            if (!fdit_tree_is_class(f->tree, child))
                order[n++] = child;
        }
    }
    for (int32_t id = 0; id < f->n_classes; id++)
        order[n++] = id;
}

enum fdit_status fdit_find_new(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                               const struct fdit_tree *tree, struct fdit_find **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_find *f = NULL;
    char form[FDIT_SPELLING_BYTES];
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *f, &f));
    f->tree = tree;
    f->n_classes = fdit_taxonomy_n_classes(taxonomy);
    f->n_rows = fdit_taxonomy_n_rows(taxonomy);
    TRY(fdit_alloc(ctx, (size_t)f->n_rows + 1, sizeof *f->start, &f->start));
    for (int32_t row = 0; row < f->n_rows; row++) {
        const char *name = fdit_tree_name(tree, row);
        size_t n = fdit_spelling_fold(name, strlen(name), form);
        TRY(fdit_grow(ctx, &f->text, &f->capacity, f->bytes + n + 1, 1));
        f->start[row] = f->bytes;
        memcpy(f->text + f->bytes, form, n);
        f->text[f->bytes + n] = '\0';
        f->bytes += n + 1;
    }
    f->start[f->n_rows] = f->bytes;
    TRY(fdit_alloc(ctx, (size_t)f->n_rows, sizeof *f->order, &f->order));
    order_rows(f);
    *out = f;
    f = NULL;
out:
    fdit_find_free(f);
    return status;
}

void fdit_find_free(struct fdit_find *f)
{
    if (!f)
        return;
    fdit_free(f->text);
    fdit_free(f->start);
    fdit_free(f->order);
    fdit_free(f);
}

/* ------------------------------------------------------------------ a word */

static bool is_gap(char c)
{
    return c == ' ' || c == '-' || c == '_' || c == '/' || c == '.' || c == '(';
}

/* fits [n_rows]: by the names alone. One pass over all of them. */
static void look_for(const struct fdit_find *f, const char *word, size_t n, uint8_t *fits)
{
    const char *at = f->text, *end = f->text + f->bytes;
    int32_t row = 0;
    memset(fits, NOT, (size_t)f->n_rows);
    while (at < end && (at = memmem(at, (size_t)(end - at), word, n))) {
        size_t place = (size_t)(at - f->text);
        while (f->start[row + 1] <= place)
            row++;
        bool first = place == f->start[row];
        uint8_t fit = first && place + n + 1 == f->start[row + 1] ? WHOLE
                      : first                                     ? BEGINS
                      : is_gap(at[-1])                            ? BEGINS_WORD
                                                                  : WITHIN;
        if (fit < fits[row])
            fits[row] = fit;
        at++;
    }
}

/* A word that the name lacks may be in a group's above it. Groups first, from the coarsest on: what is above
 * is then complete. */
static void look_above(const struct fdit_find *f, uint8_t *fits)
{
    for (int32_t i = 0; i < f->n_rows; i++) {
        int32_t row = f->order[i];
        int32_t above = fits[row] == NOT ? fdit_tree_parent(f->tree, row) : FDIT_TREE_ROOT;
        if (above >= 0 && fits[above] != NOT)
            fits[row] = ABOVE;
    }
}

/* ------------------------------------------------------------------ a query */

struct query {
    char text[FDIT_SPELLING_BYTES];
    const char *words[FDIT_FIND_MOST_WORDS];
    size_t lengths[FDIT_FIND_MOST_WORDS];
    int n;
    int32_t id; /* of "#12" or "12"; -1: none */
    bool only;  /* "#12" */
};

static enum fdit_status read_query(fdit_context *ctx, const struct fdit_find *f, const char *typed,
                                   struct query *q)
{
    size_t n = fdit_spelling_fold(typed, strlen(typed), q->text);
    char *end;
    q->n = 0;
    q->id = -1;
    q->text[n < sizeof q->text ? n : sizeof q->text - 1] = '\0';
    q->only = q->text[0] == '#';
    const char *digits = q->text + q->only;
    long id = strtol(digits, &end, 10);
    if (*digits >= '0' && *digits <= '9' && !*end && id < f->n_classes)
        q->id = (int32_t)id;
    q->only = q->only && q->id >= 0;
    for (char *at = q->text; *at;) {
        size_t word = strcspn(at, " /");
        if (word && q->n == FDIT_FIND_MOST_WORDS)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "more than %d words; search for fewer",
                             FDIT_FIND_MOST_WORDS);
        if (word) {
            q->words[q->n] = at;
            q->lengths[q->n++] = word;
        }
        at += word + strspn(at + word, " /");
    }
    return FDIT_OK;
}

/* scores [n_rows]: the sum over the words; NOT where one of them is nowhere. */
static enum fdit_status score_rows(fdit_context *ctx, const struct fdit_find *f, const struct query *q,
                                   uint8_t *scores)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *fits = NULL;
    TRY(fdit_alloc(ctx, (size_t)f->n_rows, 1, &fits));
    memset(scores, q->n && !q->only ? 1 : NOT, (size_t)f->n_rows);
    for (int w = 0; !q->only && w < q->n; w++) {
        look_for(f, q->words[w], q->lengths[w], fits);
        look_above(f, fits);
        for (int32_t row = 0; row < f->n_rows; row++)
            scores[row] = scores[row] == NOT || fits[row] == NOT ? NOT : (uint8_t)(scores[row] + fits[row]);
    }
    if (q->id >= 0)
        scores[q->id] = 0;
out:
    fdit_free(fits);
    return status;
}

enum fdit_status fdit_find_run(fdit_context *ctx, const struct fdit_find *f, const char *query, size_t first,
                               size_t room, int32_t *nodes, size_t *n, size_t *total)
{
    enum { MOST = 1 + FDIT_FIND_MOST_WORDS * ABOVE };
    enum fdit_status status = FDIT_OK;
    struct query q;
    uint8_t *scores = NULL;
    size_t at[MOST + 1] = { 0 };
    *n = *total = 0;
    TRY(read_query(ctx, f, query, &q));
    TRY(fdit_alloc(ctx, (size_t)f->n_rows, 1, &scores));
    TRY(score_rows(ctx, f, &q, scores));
    for (int32_t row = 0; row < f->n_rows; row++)
        if (scores[row] != NOT)
            at[scores[row]]++;
    for (int s = 0; s <= MOST; s++) { /* where the nodes of a score begin */
        size_t count = at[s];
        at[s] = *total;
        *total += count;
    }
    for (int32_t i = 0; i < f->n_rows; i++) {
        int32_t row = (i + f->n_classes) % f->n_rows; /* groups first */
        size_t place = scores[row] == NOT ? 0 : at[scores[row]]++;
        if (scores[row] != NOT && place >= first && place - first < room)
            nodes[place - first] = row;
    }
    *n = *total <= first ? 0 : *total - first < room ? *total - first : room;
out:
    fdit_free(scores);
    return status;
}
