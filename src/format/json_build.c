/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mem.h"
#include "core/utf8.h"
#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void fdit_json_begin(struct fdit_json *b)
{
    *b = (struct fdit_json){ .root = json_object() };
    b->no_memory = !b->root;
}

void fdit_json_begin_list(struct fdit_json *b)
{
    *b = (struct fdit_json){ .root = json_array() };
    b->no_memory = !b->root;
}

void fdit_json_fini(struct fdit_json *b)
{
    json_decref(b->root);
    b->root = NULL;
}

static bool failed(const struct fdit_json *b)
{
    return b->no_memory || *b->no_text;
}

static void refuse_text(struct fdit_json *b, const char *key)
{
    if (!failed(b))
        snprintf(b->no_text, sizeof b->no_text, "%.*s", 40, key ? key : "an entry of a list");
}

void fdit_json_put(struct fdit_json *b, json_t *to, const char *key, json_t *value)
{
    to = to ? to : b->root;
    if (failed(b) || !value) {
        b->no_memory = b->no_memory || !value;
        json_decref(value);
    } else if (key && fdit_utf8_prefix(key, strlen(key)) != strlen(key)) {
        refuse_text(b, "a key");
        json_decref(value);
    } else if ((key ? json_object_set_new_nocheck(to, key, value) : json_array_append_new(to, value)) != 0) {
        b->no_memory = true;
    }
}

json_t *fdit_json_put_object(struct fdit_json *b, json_t *to, const char *key)
{
    json_t *value = json_object();
    fdit_json_put(b, to, key, value);
    return failed(b) ? NULL : value;
}

json_t *fdit_json_put_array(struct fdit_json *b, json_t *to, const char *key)
{
    json_t *value = json_array();
    fdit_json_put(b, to, key, value);
    return failed(b) ? NULL : value;
}

void fdit_json_put_text(struct fdit_json *b, json_t *to, const char *key, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (!text)
        fdit_json_put_null(b, to, key);
    else if (fdit_utf8_prefix(text, n) != n)
        refuse_text(b, key);
    else
        fdit_json_put(b, to, key, json_stringn_nocheck(text, n));
}

void fdit_json_put_int(struct fdit_json *b, json_t *to, const char *key, int64_t value)
{
    fdit_json_put(b, to, key, json_integer((json_int_t)value));
}

void fdit_json_put_real(struct fdit_json *b, json_t *to, const char *key, double value)
{
    fdit_json_put(b, to, key, isfinite(value) ? json_real(value) : json_null());
}

void fdit_json_put_bool(struct fdit_json *b, json_t *to, const char *key, bool value)
{
    fdit_json_put(b, to, key, json_boolean(value));
}

void fdit_json_put_null(struct fdit_json *b, json_t *to, const char *key)
{
    fdit_json_put(b, to, key, json_null());
}

enum fdit_status fdit_json_check(fdit_context *ctx, const struct fdit_json *b, const char *what)
{
    if (b->no_memory || !b->root)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while it was put together; free memory",
                         what);
    if (*b->no_text)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "%s: the text of \"%s\" is not UTF-8 and cannot be written", what, b->no_text);
    return FDIT_OK;
}

struct text {
    fdit_context *ctx;
    enum fdit_status status;
    char *bytes;
    size_t n, capacity;
};

static int take(const char *bytes, size_t n, void *user)
{
    struct text *t = user;
    size_t need;
    if (t->status != FDIT_OK) /* jansson goes on after some failures */
        return -1;
    t->status = fdit_add(t->n, n, &need) && fdit_add(need, 1, &need)
                    ? fdit_grow(t->ctx, &t->bytes, &t->capacity, need < 256 ? 256 : need, 1)
                    : fdit_fail(t->ctx, FDIT_ERROR_MEMORY, "a JSON text is too long");
    if (t->status != FDIT_OK)
        return -1;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
    return 0;
}

enum fdit_status fdit_json_dump(fdit_context *ctx, const json_t *value, size_t flags, char **out)
{
    struct text t = { .ctx = ctx };
    *out = NULL;
    if (json_dump_callback(value, take, &t, flags) != 0 || t.status != FDIT_OK || !t.bytes) {
        fdit_free(t.bytes);
        return t.status != FDIT_OK
                   ? t.status
                   : fdit_fail(ctx, FDIT_ERROR_MEMORY, "out of memory while JSON is written; free memory");
    }
    *out = t.bytes;
    return FDIT_OK;
}

enum fdit_status fdit_json_end(fdit_context *ctx, const struct fdit_json *b, const char *what, size_t flags,
                               char **out)
{
    enum fdit_status status = fdit_json_check(ctx, b, what);
    *out = NULL;
    return status == FDIT_OK ? fdit_json_dump(ctx, b->root, flags, out) : status;
}

const char *fdit_json_show(const json_t *value, char *out, size_t size)
{
    char *text = NULL;
    json_t *null = json_null();
    fdit_json_dump(NULL, value ? value : null, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6), &text);
    snprintf(out, size, "%s", text ? text : "?");
    fdit_free(text);
    return out;
}
