/* SPDX-License-Identifier: Apache-2.0
 * json.h: JSON that comes from outside, through jansson. */
#ifndef FDIT_FORMAT_JSON_H
#define FDIT_FORMAT_JSON_H

#include "core/status.h"

#include <jansson.h>

/* Parses n bytes. Nesting beyond max_depth (64 at most) is refused before the parser sees the text,
 * so that no text can use up the stack; so are more than 4 million values, names that occur twice in
 * one object, and anything behind the value. FDIT_ERROR_FORMAT with `name`, line and reason. *out is
 * released with json_decref. */
enum fdit_status fdit_json_parse(fdit_context *ctx, const char *name, const char *text, size_t n,
                                 int max_depth, json_t **out);
/* The same for a file of at most `limit` bytes. */
enum fdit_status fdit_json_read(fdit_context *ctx, const char *path, size_t limit, int max_depth,
                                json_t **out);

#endif
