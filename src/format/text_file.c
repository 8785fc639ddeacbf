/* SPDX-License-Identifier: Apache-2.0 */
#include "format/text_file.h"

#include "core/file.h"
#include "format/kind.h"

#include <string.h>

struct look {
    const char *path, *wanted;
};

/* Kinds of text are left to who reads the text and knows what is wrong with it. */
static enum fdit_status look_at(fdit_context *ctx, void *user, const uint8_t *head, size_t n, size_t *limit)
{
    enum fdit_status status = FDIT_OK;
    const struct look *look = user;
    const enum fdit_kind kind = fdit_kind_of_bytes(head, n < FDIT_KIND_BYTES ? n : FDIT_KIND_BYTES);
    const bool text = fdit_kind_group(kind) == FDIT_KIND_IS_TEXT || kind == FDIT_KIND_EMPTY;
    if (!text && kind != FDIT_KIND_UNKNOWN)
        return fdit_kind_refuse(ctx, look->path, kind, look->wanted, "give a text file");
    if (!text && n >= FDIT_KIND_BYTES && memchr(head, 0, n))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has zero bytes: is not text, and not %s", look->path, look->wanted);
    if (kind != FDIT_KIND_JSON && *limit > FDIT_TEXT_MOST)
        *limit = FDIT_TEXT_MOST;
out:
    return status;
}

enum fdit_status fdit_text_file_read(fdit_context *ctx, const char *path, const char *wanted, size_t most,
                                     char **text, size_t *n)
{
    struct look look = { path, wanted };
    uint8_t *bytes = NULL;
    enum fdit_status status = fdit_file_read_checked(ctx, path, most, look_at, &look, &bytes, n);
    *text = (char *)bytes;
    return status;
}
