/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json.h"

#include "core/file.h"
#include "core/mem.h"

#include <string.h>

#define MAX_VALUES 4000000

/* Brackets and commas outside of strings, without recursion. Wrong JSON is the parser's to refuse. */
static enum fdit_status check_shape(fdit_context *ctx, const char *name, const char *text, size_t n,
                                    int max_depth)
{
    int depth = 0;
    size_t values = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > max_depth)
                return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: JSON nested deeper than %d brackets "
                                 "at byte %zu", name, max_depth, i);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' || c == ':') {
            values++;
        }
        if (values > MAX_VALUES)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: JSON with more than %d values", name,
                             MAX_VALUES);
    }
    return FDIT_OK;
}

static void hide_control_bytes(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

/* The last string in text[0..n), at most size - 1 bytes of it: the name that occurs twice. */
static void last_string(const char *text, size_t n, char *out, size_t size)
{
    size_t from = 0, to = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '"')
            continue;
        from = ++i;
        while (i < n && text[i] != '"')
            i += text[i] == '\\' ? 2 : 1;
        to = i < n ? i : n;
    }
    if (to - from < size)
        size = to - from + 1;
    memcpy(out, text + from, size - 1);
    out[size - 1] = 0;
    hide_control_bytes(out);
}

enum fdit_status fdit_json_parse(fdit_context *ctx, const char *name, const char *text, size_t n,
                                 int max_depth, json_t **out)
{
    enum fdit_status status = FDIT_OK;
    json_error_t error;
    *out = NULL;
    TRY(check_shape(ctx, name, text, n, max_depth < 64 ? max_depth : 64));
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!*out && json_error_code(&error) == json_error_out_of_memory)
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while reading JSON of %zu bytes", name, n);
    if (!*out && json_error_code(&error) == json_error_duplicate_key) {
        char twice[201];
        size_t at = error.position > 0 ? (size_t)error.position : 0;
        last_string(text, at < n ? at : n, twice, sizeof twice);
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the name \"%s\" twice in one JSON object, line %d, "
             "column %d", name, twice, error.line, error.column);
    }
    hide_control_bytes(error.text); /* it can quote the file */
    if (!*out)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: wrong JSON in line %d, column %d: %s", name, error.line,
             error.column, error.text);
out:
    return status;
}

enum fdit_status fdit_json_read(fdit_context *ctx, const char *path, size_t limit, int max_depth,
                                json_t **out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *text = NULL;
    size_t n;
    *out = NULL;
    TRY(fdit_file_read_all(ctx, path, limit, &text, &n));
    TRY(fdit_json_parse(ctx, path, (const char *)text, n, max_depth, out));
out:
    fdit_free(text);
    return status;
}
