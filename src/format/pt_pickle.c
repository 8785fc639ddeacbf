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

enum fdit_status fdit_pt_bad(struct fdit_pt_pickle *p, const char *what)
{
    return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                     "%s: %s (pickle, byte %zu); the file is damaged or no checkpoint, get it again", p->file,
                     what, p->op ? (size_t)(p->op - p->bytes) : p->at);
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
                             "%s: lists or dictionaries nested deeper than %d levels; no checkpoint "
                             "has them",
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

static enum fdit_status step_number(struct fdit_pt_pickle *p, uint8_t op)
{
    enum fdit_status status = FDIT_OK;
    uint64_t v = 0;
    switch (op) {
    case 'N': return fdit_pt_push_new(p, FDIT_PT_NONE, 0);
    case 0x88: return fdit_pt_push_new(p, FDIT_PT_BOOL, 1);
    case 0x89: return fdit_pt_push_new(p, FDIT_PT_BOOL, 0);
    case 'K': TRY(take_number(p, 1, &v)); break;
    case 'M': TRY(take_number(p, 2, &v)); break;
    case 'J':
        TRY(take_number(p, 4, &v));
        return fdit_pt_push_new(p, FDIT_PT_INT, v >> 31 ? (int64_t)v - (INT64_C(1) << 32) : (int64_t)v);
    case 'I':
    case 'L': return take_text_number(p, false);
    case 'F': return take_text_number(p, true);
    case 'G': return take_double(p);
    case 0x8a: return take_long(p, 1);
    case 0x8b: return take_long(p, 4);
    default: return FDIT_ERROR_ARGUMENT;
    }
    return fdit_pt_push_new(p, FDIT_PT_INT, (int64_t)v);
out:
    return status;
}

static enum fdit_status step_text(struct fdit_pt_pickle *p, uint8_t op)
{
    switch (op) {
    case 'X':
    case 'T': return take_text(p, 4, FDIT_PT_TEXT);
    case 0x8c:
    case 'U': return take_text(p, 1, FDIT_PT_TEXT);
    case 0x8d: return take_text(p, 8, FDIT_PT_TEXT);
    case 'C': return take_text(p, 1, FDIT_PT_TEXT);
    case 'B': return take_text(p, 4, FDIT_PT_TEXT);
    case 0x8e:
    case 0x96: return take_text(p, 8, FDIT_PT_TEXT);
    case 'S': return take_text_line(p, true);
    case 'V': return take_text_line(p, false);
    default: return FDIT_ERROR_ARGUMENT;
    }
}

static enum fdit_status step_container(struct fdit_pt_pickle *p, uint8_t op)
{
    enum fdit_status status = FDIT_OK;
    size_t first = 0, n = 0;
    switch (op) {
    case ')': return gather_last(p, FDIT_PT_TUPLE, 0);
    case 0x85: return gather_last(p, FDIT_PT_TUPLE, 1);
    case 0x86: return gather_last(p, FDIT_PT_TUPLE, 2);
    case 0x87: return gather_last(p, FDIT_PT_TUPLE, 3);
    case ']':
    case 0x8f: return gather_last(p, FDIT_PT_LIST, 0);
    case '}': return gather_last(p, FDIT_PT_DICT, 0);
    case 't': TRY(pop_mark(p, &first, &n)); return gather(p, FDIT_PT_TUPLE, first, n);
    case 'l':
    case 0x91: TRY(pop_mark(p, &first, &n)); return gather(p, FDIT_PT_LIST, first, n);
    case 'd': TRY(pop_mark(p, &first, &n)); return gather(p, FDIT_PT_DICT, first, n);
    case 'a': return append_one(p);
    case 'e':
    case 0x90: return append_many(p, FDIT_PT_LIST);
    case 's': return set_item(p);
    case 'u': return append_many(p, FDIT_PT_DICT);
    default: return FDIT_ERROR_ARGUMENT;
    }
out:
    return status;
}

static enum fdit_status step_stack(struct fdit_pt_pickle *p, uint8_t op)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    size_t first = 0, n = 0;
    switch (op) {
    case '(':
        if (p->n_marks == MOST_MARKS)
            return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                             "%s: lists or dictionaries nested deeper than %d levels; no checkpoint "
                             "has them",
                             p->file, MOST_MARKS);
        p->marks[p->n_marks++] = p->n_stack;
        return FDIT_OK;
    case '0':
        if (p->n_marks && p->n_stack == floor_of(p)) { /* as Python does: the mark itself */
            p->n_marks--;
            return FDIT_OK;
        }
        return fdit_pt_pop(p, &v);
    case '1':
        TRY(pop_mark(p, &first, &n));
        p->n_stack = first;
        return FDIT_OK;
    case '2': TRY(fdit_pt_top(p, &v)); return fdit_pt_push(p, v);
    case 'p': return take_memo(p, 0, true);
    case 'q': return take_memo(p, 1, true);
    case 'r': return take_memo(p, 4, true);
    case 0x94: return set_memo(p, p->n_memo);
    case 'g': return take_memo(p, 0, false);
    case 'h': return take_memo(p, 1, false);
    case 'j': return take_memo(p, 4, false);
    default: return FDIT_ERROR_ARGUMENT;
    }
out:
    return status;
}

static enum fdit_status step_object(struct fdit_pt_pickle *p, uint8_t op)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *v = NULL;
    uint64_t n = 0;
    switch (op) {
    case 0x80: /* PROTO */
        TRY(take_number(p, 1, &n));
        if (n > 5)
            return fdit_fail(p->ctx, FDIT_ERROR_UNSUPPORTED,
                             "%s: pickle protocol %d; this program reads 0 to 5", p->file, (int)n);
        return FDIT_OK;
    case 0x95: return take_number(p, 8, &n); /* FRAME: its length does not matter */
    case 'c': return take_global(p);
    case 0x93: return stack_global(p);
    case 'i': return call_mark(p, false);
    case 'o': return call_mark(p, true);
    case 'R':
    case 0x81: return fdit_pt_reduce(p);
    case 0x92: /* NEWOBJ_EX: keyword arguments are left out */
        TRY(fdit_pt_pop(p, &v));
        return fdit_pt_reduce(p);
    case 'b': return fdit_pt_set_state(p);
    case 'Q': return fdit_pt_persistent(p);
    case 'P': return fdit_pt_bad(p, "an outside reference in the text form, which torch does not write");
    case 0x82:
    case 0x83:
    case 0x84:
        return fdit_fail(p->ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: asks for a Python extension by number, which no checkpoint does; "
                         "nothing was executed",
                         p->file);
    default: return FDIT_ERROR_ARGUMENT;
    }
out:
    return status;
}

static enum fdit_status step(struct fdit_pt_pickle *p, uint8_t op)
{
    if (memchr("NKMJILFG\x88\x89\x8a\x8b", op, 12))
        return step_number(p, op);
    if (memchr("XTU\x8c\x8d"
               "CB\x8e\x96SV",
               op, 11))
        return step_text(p, op);
    if (memchr(")\x85\x86\x87]\x8f}tl\x91"
               "dae\x90su",
               op, 16))
        return step_container(p, op);
    if (memchr("(012pqr\x94ghj", op, 11))
        return step_stack(p, op);
    if (memchr("\x80\x95"
               "c\x93ioR\x81\x92"
               "bQP\x82\x83\x84",
               op, 15))
        return step_object(p, op);
    char what[64];
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
