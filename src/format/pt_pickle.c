/* SPDX-License-Identifier: Apache-2.0
 * The instructions of pickle protocols 0 to 5 (https://docs.python.org/3/library/pickletools.html).
 */
#include "format/pt_machine.h"

#include "core/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ failing */

static const char *instruction_name(uint8_t op); /* NULL: not an instruction */

enum fdit_status fdit_pt_bad(struct fdit_pt_pickle *p, const char *what)
{
    const char *name = p->op ? instruction_name(*p->op) : NULL;
    return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                     "%s: %s (pickle, byte %zu%s%s); the file is damaged or not a checkpoint, get it again",
                     p->file, what, p->op ? (size_t)(p->op - p->bytes) : p->at, name ? ", " : "",
                     name ? name : "");
}

/* ------------------------------------------------------------------ values */

enum fdit_status fdit_pt_pickle_new(fdit_context *ctx, const char *file, struct fdit_pt_pickle **out)
{
    enum fdit_status status = fdit_alloc(ctx, 1, sizeof **out, out);
    if (status == FDIT_OK)
        (*out)->file = file;
    return status;
}

void fdit_pt_pickle_free(struct fdit_pt_pickle *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_values; i++)
        fdit_free(p->blocks[i / BLOCK][i % BLOCK].items);
    for (size_t i = 0; i < p->n_blocks; i++)
        fdit_free(p->blocks[i]);
    fdit_free(p->blocks);
    fdit_free(p->stack);
    fdit_free(p->memo);
    fdit_free(p);
}

size_t fdit_pt_pickle_values(const struct fdit_pt_pickle *p)
{
    return p->n_values;
}

enum fdit_status fdit_pt_value_new(struct fdit_pt_pickle *p, enum fdit_pt_kind kind,
                                   struct fdit_pt_value **out)
{
    enum fdit_status status = FDIT_OK;
    if (p->n_values == MOST_VALUES)
        return fdit_fail(p->ctx, FDIT_ERROR_FORMAT, "%s: describes more than %d values; no checkpoint does",
                         p->file, MOST_VALUES);
    if (p->n_values == p->n_blocks * BLOCK) {
        TRY(fdit_grow(p->ctx, &p->blocks, &p->blocks_capacity, p->n_blocks + 1, sizeof *p->blocks));
        TRY(fdit_alloc(p->ctx, BLOCK, sizeof **p->blocks, &p->blocks[p->n_blocks]));
        p->n_blocks++;
    }
    *out = &p->blocks[p->n_values / BLOCK][p->n_values % BLOCK];
    p->n_values++;
    (*out)->kind = kind;
    (*out)->depth =
        kind == FDIT_PT_TUPLE || kind == FDIT_PT_LIST || kind == FDIT_PT_DICT || kind == FDIT_PT_OBJECT;
out:
    return status;
}

enum fdit_status fdit_pt_push(struct fdit_pt_pickle *p, struct fdit_pt_value *v)
{
    enum fdit_status status = FDIT_OK;
    if (p->n_stack == MOST_VALUES)
        return fdit_pt_bad(p, "its stack grows without end");
    TRY(fdit_grow(p->ctx, &p->stack, &p->stack_capacity, p->n_stack + 1, sizeof *p->stack));
    p->stack[p->n_stack++] = v;
out:
    return status;
}

enum fdit_status fdit_pt_push_new(struct fdit_pt_pickle *p, enum fdit_pt_kind kind, int64_t i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    TRY(fdit_pt_value_new(p, kind, &v));
    v->i = i;
    TRY(fdit_pt_push(p, v));
out:
    return status;
}

static enum fdit_status push_text(struct fdit_pt_pickle *p, enum fdit_pt_kind kind, const uint8_t *text,
                                  size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    TRY(fdit_pt_value_new(p, kind, &v));
    v->text = (const char *)text;
    v->n = n;
    TRY(fdit_pt_push(p, v));
out:
    return status;
}

/* The lowest place that instructions may take from: behind the last mark. */
static size_t floor_of(const struct fdit_pt_pickle *p)
{
    return p->n_marks ? p->marks[p->n_marks - 1] : 0;
}

enum fdit_status fdit_pt_pop(struct fdit_pt_pickle *p, struct fdit_pt_value **out)
{
    if (p->n_stack <= floor_of(p))
        return fdit_pt_bad(p, "takes more from the stack than is there");
    *out = p->stack[--p->n_stack];
    return FDIT_OK;
}

enum fdit_status fdit_pt_top(struct fdit_pt_pickle *p, struct fdit_pt_value **out)
{
    if (p->n_stack <= floor_of(p))
        return fdit_pt_bad(p, "takes more from the stack than is there");
    *out = p->stack[p->n_stack - 1];
    return FDIT_OK;
}

/* The values behind the last mark: *n from stack[*first]; the mark is gone then. */
static enum fdit_status pop_mark(struct fdit_pt_pickle *p, size_t *first, size_t *n)
{
    if (!p->n_marks)
        return fdit_pt_bad(p, "takes a mark that is not there");
    *first = p->marks[--p->n_marks];
    *n = p->n_stack - *first;
    return FDIT_OK;
}

/* Appends n values to a container. */
enum fdit_status fdit_pt_append(struct fdit_pt_pickle *p, struct fdit_pt_value *to,
                                struct fdit_pt_value *const *values, size_t n)
{
    enum fdit_status status = FDIT_OK;
    if (n > MOST_VALUES - p->n_items)
        return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                         "%s: its lists hold more than %d values; no checkpoint's do", p->file, MOST_VALUES);
    for (size_t i = 0; i < n; i++) {
        if (values[i] == to)
            return fdit_pt_bad(p, "a list or dictionary holds itself");
        if (values[i]->depth + 1 > to->depth)
            to->depth = values[i]->depth + 1;
        if (to->depth > MOST_DEPTH)
            return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                             "%s: lists or dictionaries nested deeper than %d levels; no checkpoint has them",
                             p->file, MOST_DEPTH);
    }
    TRY(fdit_grow(p->ctx, &to->items, &to->capacity, to->n + n, sizeof *to->items));
    if (n)
        memcpy(to->items + to->n, values, n * sizeof *values);
    to->n += n;
    p->n_items += n;
out:
    return status;
}

/* Replaces the n values from stack[first] by a container of them. */
static enum fdit_status gather(struct fdit_pt_pickle *p, enum fdit_pt_kind kind, size_t first, size_t n)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    if (kind == FDIT_PT_DICT && n % 2)
        return fdit_pt_bad(p, "a dictionary has a key without a value");
    TRY(fdit_pt_value_new(p, kind, &v));
    if (n)
        TRY(fdit_pt_append(p, v, p->stack + first, n));
    p->n_stack = first;
    TRY(fdit_pt_push(p, v));
out:
    return status;
}

static enum fdit_status gather_last(struct fdit_pt_pickle *p, enum fdit_pt_kind kind, size_t n)
{
    if (p->n_stack - floor_of(p) < n)
        return fdit_pt_bad(p, "takes more from the stack than is there");
    return gather(p, kind, p->n_stack - n, n);
}

/* ------------------------------------------------------------------ the bytes */

static enum fdit_status take(struct fdit_pt_pickle *p, size_t n, const uint8_t **out)
{
    if (n > p->n - p->at)
        return fdit_pt_bad(p, "ends in the middle of an instruction");
    *out = p->bytes + p->at;
    p->at += n;
    return FDIT_OK;
}

/* An unsigned number of `size` bytes, little-endian. */
static enum fdit_status take_number(struct fdit_pt_pickle *p, size_t size, uint64_t *out)
{
    const uint8_t *b = NULL;
    enum fdit_status status = take(p, size, &b);
    *out = 0;
    for (size_t i = size; status == FDIT_OK && i-- > 0;)
        *out = *out << 8 | b[i];
    return status;
}

/* The bytes up to a newline, which is skipped. */
static enum fdit_status take_line(struct fdit_pt_pickle *p, const uint8_t **out, size_t *n)
{
    const uint8_t *end = memchr(p->bytes + p->at, '\n', p->n - p->at);
    if (!end)
        return fdit_pt_bad(p, "ends in the middle of an instruction");
    *out = p->bytes + p->at;
    *n = (size_t)(end - *out);
    p->at += *n + 1;
    return FDIT_OK;
}

static enum fdit_status take_text(struct fdit_pt_pickle *p, size_t length_bytes, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *text = NULL;
    uint64_t n = 0;
    TRY(take_number(p, length_bytes, &n));
    if (n > p->n - p->at)
        return fdit_pt_bad(p, "a text is longer than the pickle");
    TRY(take(p, (size_t)n, &text));
    TRY(push_text(p, kind, text, (size_t)n));
out:
    return status;
}

/* Two's complement of n bytes. */
static enum fdit_status take_long(struct fdit_pt_pickle *p, size_t length_bytes)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *b = NULL;
    uint64_t n = 0, v = 0;
    TRY(take_number(p, length_bytes, &n));
    if (n > p->n - p->at)
        return fdit_pt_bad(p, "a number is longer than the pickle");
    TRY(take(p, (size_t)n, &b));
    if (n > 8)
        return push_text(p, FDIT_PT_LONG, b, (size_t)n);
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)b[i] << 8 * i;
    if (n && n < 8 && b[n - 1] & 0x80)
        v |= ~UINT64_C(0) << 8 * n;
    int64_t i;
    memcpy(&i, &v, sizeof i);
    return fdit_pt_push_new(p, FDIT_PT_INT, i);
out:
    return status;
}

/* I, L and F of the text protocol. */
static enum fdit_status take_text_number(struct fdit_pt_pickle *p, bool is_float)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *line = NULL;
    size_t n = 0;
    char text[64], *end = text;
    TRY(take_line(p, &line, &n));
    if (!is_float && n == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1'))
        return fdit_pt_push_new(p, FDIT_PT_BOOL, line[1] - '0');
    if (!is_float && n && line[n - 1] == 'L')
        n--;
    if (n == 0 || n >= sizeof text)
        return fdit_pt_bad(p, "a number that is none");
    memcpy(text, line, n);
    text[n] = 0;
    errno = 0;
    double f = is_float ? strtod(text, &end) : 0;
    long long i = is_float ? 0 : strtoll(text, &end, 10);
    if (*end || end == text)
        return fdit_pt_bad(p, "a number that is none");
    if (errno && !is_float)
        return push_text(p, FDIT_PT_LONG, line, n);
    TRY(fdit_pt_push_new(p, is_float ? FDIT_PT_FLOAT : FDIT_PT_INT, i));
    if (is_float)
        p->stack[p->n_stack - 1]->f = f;
out:
    return status;
}

static enum fdit_status take_double(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *b = NULL;
    uint64_t v = 0;
    TRY(take(p, 8, &b));
    for (int i = 0; i < 8; i++)
        v = v << 8 | b[i];
    TRY(fdit_pt_push_new(p, FDIT_PT_FLOAT, 0));
    memcpy(&p->stack[p->n_stack - 1]->f, &v, sizeof v);
out:
    return status;
}

/* S'...' and V...: escapes stay as they are. */
static enum fdit_status take_text_line(struct fdit_pt_pickle *p, bool quoted)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *line = NULL;
    size_t n = 0;
    TRY(take_line(p, &line, &n));
    if (quoted) {
        if (n < 2 || line[0] != line[n - 1] || (line[0] != '\'' && line[0] != '"'))
            return fdit_pt_bad(p, "a text without quotes");
        line++;
        n -= 2;
    }
    TRY(push_text(p, FDIT_PT_TEXT, line, n));
out:
    return status;
}

static enum fdit_status take_global(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    const uint8_t *module = NULL, *name = NULL;
    size_t n_module = 0, n_name = 0;
    TRY(take_line(p, &module, &n_module));
    TRY(take_line(p, &name, &n_name));
    TRY(fdit_pt_push_name(p, (const char *)module, n_module, (const char *)name, n_name));
out:
    return status;
}

static enum fdit_status stack_global(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *module = NULL, *name = NULL;
    TRY(fdit_pt_pop(p, &name));
    TRY(fdit_pt_pop(p, &module));
    if (module->kind != FDIT_PT_TEXT || name->kind != FDIT_PT_TEXT)
        return fdit_pt_bad(p, "a name that is not text");
    TRY(fdit_pt_push_name(p, module->text, module->n, name->text, name->n));
out:
    return status;
}

/* INST and OBJ: a call of the name with the values behind the mark. */
static enum fdit_status call_mark(struct fdit_pt_pickle *p, bool name_on_stack)
{
    enum fdit_status status = FDIT_OK;
    size_t first = 0, n = 0;
    if (!name_on_stack) { /* the name becomes the first value behind the mark */
        TRY(take_global(p));
        struct fdit_pt_value *g = p->stack[p->n_stack - 1];
        if (!p->n_marks)
            return fdit_pt_bad(p, "takes a mark that is not there");
        first = p->marks[p->n_marks - 1];
        memmove(p->stack + first + 1, p->stack + first, (p->n_stack - 1 - first) * sizeof *p->stack);
        p->stack[first] = g;
    }
    TRY(pop_mark(p, &first, &n));
    if (n < 1)
        return fdit_pt_bad(p, "a call without a name");
    TRY(gather(p, FDIT_PT_TUPLE, first + 1, n - 1));
    TRY(fdit_pt_reduce(p));
out:
    return status;
}

/* ------------------------------------------------------------------ containers */

static enum fdit_status append_one(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL, *list = NULL;
    TRY(fdit_pt_pop(p, &v));
    TRY(fdit_pt_top(p, &list));
    if (list->kind == FDIT_PT_INERT)
        return FDIT_OK;
    if (list->kind != FDIT_PT_LIST)
        return fdit_pt_bad(p, "appends to something that is not a list");
    TRY(fdit_pt_append(p, list, &v, 1));
out:
    return status;
}

static enum fdit_status append_many(struct fdit_pt_pickle *p, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *to = NULL;
    size_t first = 0, n = 0;
    TRY(pop_mark(p, &first, &n));
    p->n_stack = first; /* the values stay behind the end until they are copied */
    TRY(fdit_pt_top(p, &to));
    if (to->kind != kind && to->kind != FDIT_PT_INERT)
        return fdit_pt_bad(p, kind == FDIT_PT_DICT ? "sets a key of something that is not a dictionary"
                                                   : "appends to something that is not a list");
    if (kind == FDIT_PT_DICT && n % 2)
        return fdit_pt_bad(p, "a dictionary has a key without a value");
    if (to->kind == kind)
        TRY(fdit_pt_append(p, to, p->stack + first, n));
out:
    return status;
}

static enum fdit_status set_item(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *pair[2] = { NULL, NULL }, *dict = NULL;
    TRY(fdit_pt_pop(p, &pair[1]));
    TRY(fdit_pt_pop(p, &pair[0]));
    TRY(fdit_pt_top(p, &dict));
    if (dict->kind == FDIT_PT_INERT)
        return FDIT_OK;
    if (dict->kind != FDIT_PT_DICT)
        return fdit_pt_bad(p, "sets a key of something that is not a dictionary");
    TRY(fdit_pt_append(p, dict, pair, 2));
out:
    return status;
}

static enum fdit_status set_memo(struct fdit_pt_pickle *p, uint64_t i)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    TRY(fdit_pt_top(p, &v));
    if (i > p->n || i >= MOST_VALUES) /* each entry takes at least a byte of the pickle */
        return fdit_pt_bad(p, "a memo entry beyond those that there can be");
    TRY(fdit_grow(p->ctx, &p->memo, &p->memo_capacity, (size_t)i + 1, sizeof *p->memo));
    if (i >= p->n_memo)
        p->n_memo = (size_t)i + 1;
    p->memo[i] = v;
out:
    return status;
}

static enum fdit_status get_memo(struct fdit_pt_pickle *p, uint64_t i)
{
    if (i >= p->n_memo || !p->memo[i])
        return fdit_pt_bad(p, "takes a memo entry that is not there");
    return fdit_pt_push(p, p->memo[i]);
}

static enum fdit_status take_memo(struct fdit_pt_pickle *p, size_t size, bool set)
{
    enum fdit_status status = FDIT_OK;
    uint64_t i = 0;
    if (size) {
        TRY(take_number(p, size, &i));
    } else {
        const uint8_t *line = NULL;
        size_t n = 0;
        TRY(take_line(p, &line, &n));
        if (n == 0 || n > 9)
            return fdit_pt_bad(p, "a memo entry that is not a number");
        for (size_t k = 0; k < n; k++) {
            if (line[k] < '0' || line[k] > '9')
                return fdit_pt_bad(p, "a memo entry that is not a number");
            i = 10 * i + (uint64_t)(line[k] - '0');
        }
    }
    return set ? set_memo(p, i) : get_memo(p, i);
out:
    return status;
}

/* ------------------------------------------------------------------ instructions */

/* What an instruction does: `arg` and `kind` are those of its row in the table below. */
typedef enum fdit_status (*step_fn)(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind);

/* arg is the value */
static enum fdit_status step_constant(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    return fdit_pt_push_new(p, kind, (int64_t)arg);
}

/* arg bytes; four of them have a sign */
static enum fdit_status step_int(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    uint64_t v = 0;
    TRY(take_number(p, arg, &v));
    TRY(fdit_pt_push_new(p, kind, arg == 4 && v >> 31 ? (int64_t)v - (INT64_C(1) << 32) : (int64_t)v));
out:
    return status;
}

/* arg bytes of length */
static enum fdit_status step_long(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return take_long(p, arg);
}

static enum fdit_status step_number_line(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg;
    return take_text_number(p, kind == FDIT_PT_FLOAT);
}

static enum fdit_status step_double(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return take_double(p);
}

/* arg bytes of length */
static enum fdit_status step_text(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    return take_text(p, arg, kind);
}

/* arg: whether it has quotes */
static enum fdit_status step_text_line(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return take_text_line(p, arg != 0);
}

/* of the last arg values */
static enum fdit_status step_gather(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    return gather_last(p, kind, arg);
}

/* of the values since the mark */
static enum fdit_status step_gather_marked(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    size_t first = 0, n = 0;
    (void)arg;
    TRY(pop_mark(p, &first, &n));
    TRY(gather(p, kind, first, n));
out:
    return status;
}

static enum fdit_status step_append(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return append_one(p);
}

static enum fdit_status step_append_marked(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg;
    return append_many(p, kind);
}

static enum fdit_status step_set_item(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return set_item(p);
}

static enum fdit_status step_mark(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    if (p->n_marks == MOST_MARKS)
        return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                         "%s: lists or dictionaries nested deeper than %d levels; no checkpoint has them",
                         p->file, MOST_MARKS);
    p->marks[p->n_marks++] = p->n_stack;
    return FDIT_OK;
}

static enum fdit_status step_pop(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    struct fdit_pt_value *v = NULL;
    (void)arg, (void)kind;
    if (p->n_marks && p->n_stack == floor_of(p)) { /* as Python does: the mark itself */
        p->n_marks--;
        return FDIT_OK;
    }
    return fdit_pt_pop(p, &v);
}

static enum fdit_status step_pop_mark(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    size_t first = 0, n = 0;
    (void)arg, (void)kind;
    TRY(pop_mark(p, &first, &n));
    p->n_stack = first;
out:
    return status;
}

static enum fdit_status step_dup(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    (void)arg, (void)kind;
    TRY(fdit_pt_top(p, &v));
    TRY(fdit_pt_push(p, v));
out:
    return status;
}

/* arg bytes of the entry's number; 0: a line */
static enum fdit_status step_put(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return take_memo(p, arg, true);
}

static enum fdit_status step_get(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return take_memo(p, arg, false);
}

static enum fdit_status step_memoize(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return set_memo(p, p->n_memo);
}

static enum fdit_status step_proto(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    uint64_t n = 0;
    (void)kind;
    TRY(take_number(p, arg, &n));
    if (n > 5)
        FAIL(p->ctx, FDIT_ERROR_UNSUPPORTED, "%s: pickle protocol %d; this program reads 0 to 5", p->file,
             (int)n);
out:
    return status;
}

/* The length of a frame does not matter. */
static enum fdit_status step_frame(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    uint64_t n = 0;
    (void)kind;
    return take_number(p, arg, &n);
}

/* arg: whether module and name are on the stack */
static enum fdit_status step_global(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return arg ? stack_global(p) : take_global(p);
}

/* arg: whether the name is on the stack */
static enum fdit_status step_call_marked(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return call_mark(p, arg != 0);
}

/* arg: values on the stack that are left out: keyword arguments */
static enum fdit_status step_reduce(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    (void)kind;
    if (arg)
        TRY(fdit_pt_pop(p, &v));
    TRY(fdit_pt_reduce(p));
out:
    return status;
}

static enum fdit_status step_build(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return fdit_pt_set_state(p);
}

/* arg: whether in the text form */
static enum fdit_status step_persistent(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)kind;
    return arg ? fdit_pt_bad(p, "an outside reference in the text form, which torch does not write")
               : fdit_pt_persistent(p);
}

static enum fdit_status step_extension(struct fdit_pt_pickle *p, size_t arg, enum fdit_pt_kind kind)
{
    (void)arg, (void)kind;
    return fdit_fail(p->ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: asks for a Python extension by number, which no checkpoint does; "
                     "nothing was executed",
                     p->file);
}

/* By byte; the names are those of Python's pickletools. STOP ends the loop in fdit_pt_pickle_run. Sets become
 * lists: nothing asks whether a value is in one. Bytes are text: names are compared, not shown. */
static const struct {
    const char *name;
    step_fn step;
    size_t arg;
    enum fdit_pt_kind kind;
} instructions[256] = {
    ['N'] = { "NONE", step_constant, 0, FDIT_PT_NONE },
    [0x88] = { "NEWTRUE", step_constant, 1, FDIT_PT_BOOL },
    [0x89] = { "NEWFALSE", step_constant, 0, FDIT_PT_BOOL },
    ['K'] = { "BININT1", step_int, 1, FDIT_PT_INT },
    ['M'] = { "BININT2", step_int, 2, FDIT_PT_INT },
    ['J'] = { "BININT", step_int, 4, FDIT_PT_INT },
    ['I'] = { "INT", step_number_line, 0, FDIT_PT_INT },
    ['L'] = { "LONG", step_number_line, 0, FDIT_PT_INT },
    ['F'] = { "FLOAT", step_number_line, 0, FDIT_PT_FLOAT },
    ['G'] = { "BINFLOAT", step_double, 0, FDIT_PT_FLOAT },
    [0x8a] = { "LONG1", step_long, 1, FDIT_PT_LONG },
    [0x8b] = { "LONG4", step_long, 4, FDIT_PT_LONG },

    ['X'] = { "BINUNICODE", step_text, 4, FDIT_PT_TEXT },
    ['T'] = { "BINSTRING", step_text, 4, FDIT_PT_TEXT },
    [0x8c] = { "SHORT_BINUNICODE", step_text, 1, FDIT_PT_TEXT },
    ['U'] = { "SHORT_BINSTRING", step_text, 1, FDIT_PT_TEXT },
    [0x8d] = { "BINUNICODE8", step_text, 8, FDIT_PT_TEXT },
    ['C'] = { "SHORT_BINBYTES", step_text, 1, FDIT_PT_TEXT },
    ['B'] = { "BINBYTES", step_text, 4, FDIT_PT_TEXT },
    [0x8e] = { "BINBYTES8", step_text, 8, FDIT_PT_TEXT },
    [0x96] = { "BYTEARRAY8", step_text, 8, FDIT_PT_TEXT },
    ['S'] = { "STRING", step_text_line, 1, FDIT_PT_TEXT },
    ['V'] = { "UNICODE", step_text_line, 0, FDIT_PT_TEXT },

    [')'] = { "EMPTY_TUPLE", step_gather, 0, FDIT_PT_TUPLE },
    [0x85] = { "TUPLE1", step_gather, 1, FDIT_PT_TUPLE },
    [0x86] = { "TUPLE2", step_gather, 2, FDIT_PT_TUPLE },
    [0x87] = { "TUPLE3", step_gather, 3, FDIT_PT_TUPLE },
    [']'] = { "EMPTY_LIST", step_gather, 0, FDIT_PT_LIST },
    [0x8f] = { "EMPTY_SET", step_gather, 0, FDIT_PT_LIST },
    ['}'] = { "EMPTY_DICT", step_gather, 0, FDIT_PT_DICT },
    ['t'] = { "TUPLE", step_gather_marked, 0, FDIT_PT_TUPLE },
    ['l'] = { "LIST", step_gather_marked, 0, FDIT_PT_LIST },
    [0x91] = { "FROZENSET", step_gather_marked, 0, FDIT_PT_LIST },
    ['d'] = { "DICT", step_gather_marked, 0, FDIT_PT_DICT },
    ['a'] = { "APPEND", step_append, 0, FDIT_PT_LIST },
    ['e'] = { "APPENDS", step_append_marked, 0, FDIT_PT_LIST },
    [0x90] = { "ADDITEMS", step_append_marked, 0, FDIT_PT_LIST },
    ['s'] = { "SETITEM", step_set_item, 0, FDIT_PT_DICT },
    ['u'] = { "SETITEMS", step_append_marked, 0, FDIT_PT_DICT },

    ['('] = { "MARK", step_mark, 0, FDIT_PT_NONE },
    ['0'] = { "POP", step_pop, 0, FDIT_PT_NONE },
    ['1'] = { "POP_MARK", step_pop_mark, 0, FDIT_PT_NONE },
    ['2'] = { "DUP", step_dup, 0, FDIT_PT_NONE },
    ['p'] = { "PUT", step_put, 0, FDIT_PT_NONE },
    ['q'] = { "BINPUT", step_put, 1, FDIT_PT_NONE },
    ['r'] = { "LONG_BINPUT", step_put, 4, FDIT_PT_NONE },
    [0x94] = { "MEMOIZE", step_memoize, 0, FDIT_PT_NONE },
    ['g'] = { "GET", step_get, 0, FDIT_PT_NONE },
    ['h'] = { "BINGET", step_get, 1, FDIT_PT_NONE },
    ['j'] = { "LONG_BINGET", step_get, 4, FDIT_PT_NONE },

    [0x80] = { "PROTO", step_proto, 1, FDIT_PT_NONE },
    [0x95] = { "FRAME", step_frame, 8, FDIT_PT_NONE },
    ['c'] = { "GLOBAL", step_global, 0, FDIT_PT_NONE },
    [0x93] = { "STACK_GLOBAL", step_global, 1, FDIT_PT_NONE },
    ['i'] = { "INST", step_call_marked, 0, FDIT_PT_NONE },
    ['o'] = { "OBJ", step_call_marked, 1, FDIT_PT_NONE },
    ['R'] = { "REDUCE", step_reduce, 0, FDIT_PT_NONE },
    [0x81] = { "NEWOBJ", step_reduce, 0, FDIT_PT_NONE },
    [0x92] = { "NEWOBJ_EX", step_reduce, 1, FDIT_PT_NONE },
    ['b'] = { "BUILD", step_build, 0, FDIT_PT_NONE },
    ['Q'] = { "BINPERSID", step_persistent, 0, FDIT_PT_NONE },
    ['P'] = { "PERSID", step_persistent, 1, FDIT_PT_NONE },
    [0x82] = { "EXT1", step_extension, 0, FDIT_PT_NONE },
    [0x83] = { "EXT2", step_extension, 0, FDIT_PT_NONE },
    [0x84] = { "EXT4", step_extension, 0, FDIT_PT_NONE },
};

static const char *instruction_name(uint8_t op)
{
    return instructions[op].name;
}

static enum fdit_status step(struct fdit_pt_pickle *p, uint8_t op)
{
    char what[64];
    if (instructions[op].step)
        return instructions[op].step(p, instructions[op].arg, instructions[op].kind);
    snprintf(what, sizeof what, "the byte 0x%02x is not an instruction", op);
    return fdit_pt_bad(p, what);
}

enum fdit_status fdit_pt_pickle_run(fdit_context *ctx, struct fdit_pt_pickle *p, const uint8_t *bytes,
                                    size_t n, size_t *used, const struct fdit_pt_value **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    p->ctx = ctx;
    p->bytes = bytes;
    p->n = n;
    p->at = p->n_stack = p->n_marks = p->n_memo = 0;
    for (size_t i = 0; i < p->memo_capacity; i++)
        p->memo[i] = NULL;
    *out = NULL;
    for (;;) {
        p->op = NULL;
        if (p->at == n)
            return fdit_pt_bad(p, "ends without its last instruction");
        p->op = bytes + p->at++;
        if (*p->op == '.')
            break;
        TRY(step(p, *p->op));
    }
    TRY(fdit_pt_pop(p, &v));
    *out = v;
    if (used)
        *used = p->at;
out:
    return status;
}

/* ------------------------------------------------------------------ looking at values */

bool fdit_pt_is_text(const struct fdit_pt_value *v, const char *text)
{
    return v->kind == FDIT_PT_TEXT && v->n == strlen(text) && !memcmp(v->text, text, v->n);
}

const struct fdit_pt_value *fdit_pt_get(const struct fdit_pt_value *v, const char *key)
{
    if (v->kind == FDIT_PT_OBJECT)
        v = v->n ? v->items[0] : v;
    for (size_t i = 0; v->kind == FDIT_PT_DICT && i + 1 < v->n; i += 2)
        if (fdit_pt_is_text(v->items[i], key))
            return v->items[i + 1];
    return NULL;
}
