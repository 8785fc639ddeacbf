/* SPDX-License-Identifier: Apache-2.0 */
#include "train/look.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/cache.h"
#include "format/json.h"
#include "model/delta.h"

#include <string.h>

/* The options of the run in o->out, when there is one. */
static enum fdit_status of_run(fdit_context *ctx, const struct fdit_train_options *o,
                               struct fdit_picture_notes *notes)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL;
    json_t *root = NULL;
    TRY(fdit_path_join(ctx, o->out, "config.json", &path));
    if (!fdit_is_file(path))
        goto out;
    TRY(fdit_json_read(ctx, path, FDIT_TEXT_MOST, 64, &root));
    TRY(fdit_json_dump(ctx, json_object_get(root, "options"), JSON_COMPACT | JSON_ENCODE_ANY, &text));
    TRY(fdit_picture_notes_read(ctx, path, text, strlen(text), notes));
out:
    json_decref(root);
    fdit_free(path);
    fdit_free(text);
    return status;
}

static enum fdit_status of_delta(fdit_context *ctx, const struct fdit_train_options *o,
                                 struct fdit_picture_notes *notes)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *file = NULL;
    TRY(fdit_checkpoint_open(ctx, o->delta, FDIT_VALUES_EMA, &file));
    const char *train = fdit_checkpoint_meta(file, "train");
    if (train)
        TRY(fdit_picture_notes_read(ctx, o->delta, train, strlen(train), notes));
out:
    fdit_checkpoint_close(file);
    return status;
}

enum fdit_status fdit_train_look_settle(fdit_context *ctx, struct fdit_train_options *o,
                                        struct fdit_train_look *kept)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_words words;
    size_t limit = o->rules.limit;
    bool typed = o->look.orient && o->look.matte;
    if (!typed && o->resume)
        TRY(of_run(ctx, o, &kept->notes));
    if (!typed && !kept->notes.orient && o->delta) {
        TRY(of_delta(ctx, o, &kept->notes));
        if (kept->notes.orient && !fdit_cache_is(o->data))
            fdit_log(ctx, FDIT_LOG_INFO, "%s was trained with --orient %s --matte %s, and so is this run",
                     o->delta, kept->notes.orient, kept->notes.matte);
    }
    words = fdit_picture_notes_words(&kept->notes);
    TRY(fdit_picture_words_rules(ctx, &o->look, &words, &o->rules));
    o->rules.limit = limit;
    o->look.orient = fdit_orient_text(&o->rules);
    o->look.matte = fdit_matte_text(&o->rules, kept->matte);
out:
    return status;
}

void fdit_train_look_fini(struct fdit_train_look *kept)
{
    fdit_picture_notes_fini(&kept->notes);
}
