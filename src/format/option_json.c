/* SPDX-License-Identifier: Apache-2.0 */
#include "format/option_json.h"

#include <limits.h>

void fdit_option_put(struct fdit_json *b, json_t *to, const struct fdit_option *o, const void *args)
{
    const void *at = (const char *)args + o->offset;
    char word[40];
    json_t *list;
    switch (o->kind) {
    case FDIT_OPT_HEADING: break;
    case FDIT_OPT_PARSE:
        if (!o->format)
            break;
        o->format(args, word);
        fdit_json_put_text(b, to, o->name, word);
        break;
    case FDIT_OPT_MAYBE: fdit_json_put_bool(b, to, o->name, *(const int *)at > 0); break;
    case FDIT_OPT_FLAG: fdit_json_put_bool(b, to, o->name, *(const bool *)at); break;
    case FDIT_OPT_TEXT: fdit_json_put_text(b, to, o->name, *(const char *const *)at); break;
    case FDIT_OPT_INT: fdit_json_put_int(b, to, o->name, *(const int *)at); break;
    case FDIT_OPT_INT64: fdit_json_put_int(b, to, o->name, *(const int64_t *)at); break;
    case FDIT_OPT_SEED: fdit_json_put_int(b, to, o->name, (int64_t) * (const uint64_t *)at); break;
    case FDIT_OPT_SIZE: fdit_json_put_int(b, to, o->name, (int64_t) * (const size_t *)at); break;
    case FDIT_OPT_REAL: fdit_json_put_real(b, to, o->name, *(const double *)at); break;
    case FDIT_OPT_REALS:
        list = fdit_json_put_array(b, to, o->name);
        fdit_json_put_real(b, list, NULL, ((const double *)at)[0]);
        fdit_json_put_real(b, list, NULL, ((const double *)at)[1]);
        break;
    case FDIT_OPT_SWITCH:
    case FDIT_OPT_CHOICE: fdit_json_put_text(b, to, o->name, fdit_option_word(o, args, word)); break;
    }
}

void fdit_options_put(struct fdit_json *b, json_t *to, const struct fdit_option *table,
                      enum fdit_option_keep first, enum fdit_option_keep last, const void *args)
{
    for (const struct fdit_option *o = table; o->name; o++)
        if (o->keep >= first && o->keep <= last && (!o->kept || o->kept(args)))
            fdit_option_put(b, to, o, args);
}

static bool take_reals(const json_t *value, double *at)
{
    const json_t *first = json_array_get(value, 0), *second = json_array_get(value, 1);
    at[0] = json_number_value(first);
    at[1] = json_number_value(second);
    return json_array_size(value) == 2 && json_is_number(first) && json_is_number(second);
}

bool fdit_option_take(const struct fdit_option *o, const json_t *value, void *args)
{
    void *at = (char *)args + o->offset;
    const char *text = json_string_value(value);
    const json_int_t n = json_integer_value(value);
    switch (o->kind) {
    case FDIT_OPT_HEADING: return false;
    case FDIT_OPT_PARSE: return o->format && text && o->parse(NULL, args, text) == FDIT_OK;
    case FDIT_OPT_MAYBE: *(int *)at = json_is_true(value); return json_is_boolean(value);
    case FDIT_OPT_TEXT:
        if (!json_is_null(value) && !text)
            return false;
        *(const char **)at = text;
        return true;
    case FDIT_OPT_FLAG: *(bool *)at = json_is_true(value); return json_is_boolean(value);
    case FDIT_OPT_INT: *(int *)at = (int)n; return json_is_integer(value) && n >= INT_MIN && n <= INT_MAX;
    case FDIT_OPT_INT64: *(int64_t *)at = n; return json_is_integer(value);
    case FDIT_OPT_SIZE: *(size_t *)at = (size_t)n; return json_is_integer(value) && n >= 0;
    case FDIT_OPT_SEED: *(uint64_t *)at = (uint64_t)n; return json_is_integer(value) && n >= 0;
    case FDIT_OPT_REAL: *(double *)at = json_number_value(value); return json_is_number(value);
    case FDIT_OPT_REALS: return take_reals(value, at);
    case FDIT_OPT_SWITCH:
    case FDIT_OPT_CHOICE: return text && fdit_option_take_word(o, args, text);
    }
    return false;
}
