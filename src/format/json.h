/* SPDX-License-Identifier: Apache-2.0
 * json.h: JSON that comes from outside, and JSON that is written. Values are those of jansson; its reader
 * and its setters are called from here only, since they go on after a failed allocation as if nothing had
 * happened. */
#ifndef FDIT_FORMAT_JSON_H
#define FDIT_FORMAT_JSON_H

#include "core/status.h"
#include "format/text_file.h"

#include <jansson.h>

/* ---- Reading ---- */

/* Parses n bytes. Nesting beyond max_depth (64 at most) is refused before anything is built, so that no text
 * can use up the stack; so are more than 4 million values, names that occur twice in one object, a zero byte
 * (\u0000) in a text, and anything behind the value. FDIT_ERROR_FORMAT with `name`, line and reason;
 * FDIT_ERROR_MEMORY when memory is short, never anything else then. *out is released with json_decref. */
enum fdit_status fdit_json_parse(fdit_context *ctx, const char *name, const char *text, size_t n,
                                 int max_depth, json_t **out);
/* The same, but a \u0000 in a text or name is read as U+FFFD: some formats allow it, C strings do not. */
enum fdit_status fdit_json_parse_nul(fdit_context *ctx, const char *name, const char *text, size_t n,
                                     int max_depth, json_t **out);
/* fdit_json_parse of a file of at most `limit` bytes. */
enum fdit_status fdit_json_read(fdit_context *ctx, const char *path, size_t limit, int max_depth,
                                json_t **out);

/* ---- Writing ----
 *
 *     struct fdit_json b;
 *     char *text = NULL;
 *     fdit_json_begin(&b);
 *     fdit_json_put_text(&b, NULL, "name", name);
 *     json_t *list = fdit_json_put_array(&b, NULL, "sizes");
 *     fdit_json_put_int(&b, list, NULL, 7);
 *     TRY(fdit_json_end(ctx, &b, "run.json", JSON_COMPACT, &text));
 * out:
 *     fdit_json_fini(&b);
 *     fdit_free(text);
 *
 * The first failure stays in the builder; what is put behind it goes nowhere. So one check at the end is
 * enough, and nothing that lacks a value is ever written. */

struct fdit_json {
    json_t *root;
    bool no_memory;
    char no_text[64]; /* where a text is not UTF-8; "": nowhere */
};

void fdit_json_begin(struct fdit_json *b);      /* the root is an object */
void fdit_json_begin_list(struct fdit_json *b); /* the root is an array */
void fdit_json_fini(struct fdit_json *b);       /* once more does no harm; nor does an all-zero one */

/* Puts a value under `key` of the object `to`, in place of one that is there, or with key NULL at the end of
 * the array `to`. `to` NULL is the root. The containers that are given back are borrowed from the builder.
 * A real that is not finite becomes null: JSON has none. */
json_t *fdit_json_put_object(struct fdit_json *b, json_t *to, const char *key);
json_t *fdit_json_put_array(struct fdit_json *b, json_t *to, const char *key);
void fdit_json_put_text(struct fdit_json *b, json_t *to, const char *key, const char *text); /* NULL: null */
void fdit_json_put_int(struct fdit_json *b, json_t *to, const char *key, int64_t value);
void fdit_json_put_real(struct fdit_json *b, json_t *to, const char *key, double value);
void fdit_json_put_bool(struct fdit_json *b, json_t *to, const char *key, bool value);
void fdit_json_put_null(struct fdit_json *b, json_t *to, const char *key);
/* A value of jansson's; the reference is taken. NULL counts as memory that was short. */
void fdit_json_put(struct fdit_json *b, json_t *to, const char *key, json_t *value);

/* Whether all was put: FDIT_ERROR_MEMORY, or FDIT_ERROR_ARGUMENT for text that is not UTF-8; `what` (a file)
 * begins the message. */
enum fdit_status fdit_json_check(fdit_context *ctx, const struct fdit_json *b, const char *what);
/* The text of a value with jansson's flags; free with fdit_free. Short memory is the only failure. */
enum fdit_status fdit_json_dump(fdit_context *ctx, const json_t *value, size_t flags, char **out);
/* fdit_json_check, then fdit_json_dump of the root. */
enum fdit_status fdit_json_end(fdit_context *ctx, const struct fdit_json *b, const char *what, size_t flags,
                               char **out);
/* A value in a message: at most size - 1 bytes of its text, reals with 6 digits. Returns out. */
const char *fdit_json_show(const json_t *value, char *out, size_t size);
/* The whole number `key` of an object, from 0 to most; *out stays as it is without the key, or with null.
 * FDIT_ERROR_FORMAT names file and key. */
enum fdit_status fdit_json_get_int(fdit_context *ctx, const char *name, const json_t *root, const char *key,
                                   int most, int *out);

/* Of the "weight_map" of a model in several files (tensor: file): the distinct names of the files, sorted,
 * which point into the map. One that is not the name of a file in the same folder: FDIT_ERROR_FORMAT. Free
 * *out with fdit_free. */
enum fdit_status fdit_json_shard_names(fdit_context *ctx, const char *path, json_t *map, const char ***out,
                                       size_t *n);

#endif
