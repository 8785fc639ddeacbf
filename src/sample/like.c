/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/like.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/option_json.h"
#include "picture/png_scan.h"
#include "sample/caption.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const size_t most_picture = (size_t)1 << 30;

static const char *text_of(const struct fdit_like *like, const char *key)
{
    return json_string_value(json_object_get(like->text, key));
}

enum fdit_status fdit_like_read(fdit_context *ctx, const char *path, struct fdit_like *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_like like = { .path = path };
    struct fdit_png_scan scan;
    uint8_t *bytes = NULL;
    size_t n;
    *out = (struct fdit_like){ .path = NULL };
    TRY(fdit_file_read_all(ctx, path, most_picture, &bytes, &n));
    if (!fdit_png_scan(bytes, n, FDIT_CAPTION_KEY, &scan))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not a whole PNG picture; give one that 'sample' wrote", path);
    if (!scan.text)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: does not say how it was made (no text \"" FDIT_CAPTION_KEY
             "\"); give a picture as 'sample' wrote it, for many programs drop such texts",
             path);
    TRY(fdit_json_parse(ctx, path, scan.text, scan.text_n, 16, &like.text));
    const json_t *id = json_object_get(like.text, "id"), *seed = json_object_get(like.text, "seed");
    if (!text_of(&like, "class") || !text_of(&like, "weights") || !text_of(&like, "run") ||
        !json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX ||
        !json_is_integer(seed) || json_integer_value(seed) < 0 ||
        !json_is_object(json_object_get(like.text, "options")))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: what it says of how it was made lacks class, seed, weights or options; give a picture as "
             "'sample' wrote it",
             path);
    snprintf(like.class_id, sizeof like.class_id, "#%" PRId32, (int32_t)json_integer_value(id));
    like.width = scan.width;
    like.height = scan.height;
    *out = like;
    like.text = NULL;
out:
    json_decref(like.text);
    fdit_free(bytes);
    return status;
}

void fdit_like_fini(struct fdit_like *like)
{
    json_decref(like->text);
    *like = (struct fdit_like){ .path = NULL };
}

enum fdit_status fdit_like_apply(fdit_context *ctx, const struct fdit_like *like,
                                 struct fdit_sample_options *o)
{
    enum fdit_status status = FDIT_OK;
    const char *key;
    json_t *value;
    if (!o->base)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--like %s: give the files that it was drawn with, --base (and --delta, --vae), whose weights "
             "have the hash %s",
             like->path, text_of(like, "weights"));
    json_object_foreach(json_object_get(like->text, "options"), key, value)
    {
        const struct fdit_option *row = fdit_option_find(fdit_sample_option_table, key);
        if (!row || row->keep != FDIT_KEEP_RESULT)
            FAIL(ctx, FDIT_ERROR_FORMAT, "--like %s: \"%s\" is not an option here; is it of a newer version?",
                 like->path, key);
        if (!strcmp(key, "precision") || !strcmp(key, "weights")) /* the device is open: compared later */
            continue;
        if (!strcmp(key, "guide") && json_is_string(value) && !strcmp(json_string_value(value), "delta")) {
            if (!o->guide || strncmp(o->guide, "delta:", 6) != 0) /* texts hold no paths */
                FAIL(ctx, FDIT_ERROR_ARGUMENT,
                     "--like %s: was guided by another delta; give that file, --guide delta:FILE",
                     like->path);
            continue;
        }
        if (!fdit_option_take(row, value, o))
            FAIL(ctx, FDIT_ERROR_FORMAT, "--like %s: its --%s is not a value of that option", like->path,
                 key);
    }
    o->classes = like->class_id;
    o->per_class = 1;
    o->seed = (uint64_t)json_integer_value(json_object_get(like->text, "seed"));
out:
    return status;
}

enum fdit_status fdit_like_compare(fdit_context *ctx, const struct fdit_like *like,
                                   const struct fdit_identity *id)
{
    enum fdit_status status = FDIT_OK;
    json_t *mine = NULL, *value;
    const char *key;
    char was[200], is[200];
    if (strcmp(text_of(like, "weights"), id->weights) != 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--like %s: was drawn with weights of the hash %s, --base and --delta have %s; give those files",
             like->path, text_of(like, "weights"), id->weights);
    TRY(fdit_json_parse(ctx, "options", id->options, strlen(id->options), 8, &mine));
    json_t *old = json_object_get(like->text, "options");
    json_object_foreach(mine, key, value)
    {
        const json_t *before = json_object_get(old, key);
        if (!json_equal(before, value))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--like %s: was drawn with --%s %s, now it is %s; give that one",
                 like->path, key, before ? fdit_json_show(before, was, sizeof was) : "f32",
                 fdit_json_show(value, is, sizeof is));
    }
    json_object_foreach(old, key, value)
    {
        if (!json_object_get(mine, key))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--like %s: was drawn with --%s %s; give that", like->path, key,
                 fdit_json_show(value, was, sizeof was));
    }
    if (strcmp(text_of(like, "run"), id->picture) != 0)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--like %s: was drawn with another taxonomy, autoencoder or weights of the guide; give the same "
             "--taxonomy, --vae and --guide",
             like->path);
out:
    json_decref(mine);
    return status;
}
