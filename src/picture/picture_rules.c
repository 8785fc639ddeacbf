/* SPDX-License-Identifier: Apache-2.0 */
#include "picture/picture_rules.h"

#include "core/mem.h"
#include "format/json.h"

enum fdit_status fdit_picture_words_rules(fdit_context *ctx, const struct fdit_picture_words *typed,
                                          const struct fdit_picture_words *file,
                                          struct fdit_picture_rules *out)
{
    enum fdit_status status = FDIT_OK;
    const char *orient = typed->orient ? typed->orient : file ? file->orient : NULL;
    const char *matte = typed->matte ? typed->matte : file ? file->matte : NULL;
    *out = fdit_picture_rules_usual();
    if (orient)
        TRY(fdit_orient_parse(ctx, "--orient", orient, out));
    if (matte)
        TRY(fdit_matte_parse(ctx, "--matte", matte, out));
out:
    return status;
}

void fdit_picture_notes_fini(struct fdit_picture_notes *n)
{
    fdit_free(n->orient);
    fdit_free(n->matte);
    *n = (struct fdit_picture_notes){ NULL, NULL };
}

static enum fdit_status note(fdit_context *ctx, const json_t *root, const char *key, char **out)
{
    const char *text = json_string_value(json_object_get(root, key));
    return fdit_strdup(ctx, text ? text : "none", out);
}

enum fdit_status fdit_picture_notes_read(fdit_context *ctx, const char *name, const char *json, size_t n,
                                         struct fdit_picture_notes *out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    *out = (struct fdit_picture_notes){ NULL, NULL };
    status = fdit_json_parse(ctx, name, json, n, 64, &root);
    if (status == FDIT_ERROR_FORMAT || (status == FDIT_OK && !json_is_object(root))) {
        status = FDIT_OK; /* whoever reads the rest of it says so */
        goto out;
    }
    TRY(status);
    TRY(note(ctx, root, "orient", &out->orient));
    TRY(note(ctx, root, "matte", &out->matte));
out:
    json_decref(root);
    if (status != FDIT_OK)
        fdit_picture_notes_fini(out);
    return status;
}
