/* SPDX-License-Identifier: Apache-2.0
 * option_json.h: a table of options (core/option_table.h) as JSON. The key is the option's name, the value
 * is a text (a choice by its word, null where none was given), a number, true or false, or a list of
 * numbers. */
#ifndef FDIT_FORMAT_OPTION_JSON_H
#define FDIT_FORMAT_OPTION_JSON_H

#include "core/option_table.h"
#include "format/json.h"

/* One option under its name into the object `to` (NULL: the root). */
void fdit_option_put(struct fdit_json *b, json_t *to, const struct fdit_option *o, const void *args);
/* All options of the table that are kept as `first` to `last` say, in the table's order. */
void fdit_options_put(struct fdit_json *b, json_t *to, const struct fdit_option *table,
                      enum fdit_option_keep first, enum fdit_option_keep last, const void *args);
/* A value from a file into its option; false where it is not of its kind or does not fit its type. Ranges
 * are left to fdit_options_check. A text belongs to `value`; null is a text that was not given. */
bool fdit_option_take(const struct fdit_option *o, const json_t *value, void *args);

#endif
