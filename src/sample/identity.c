/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/identity.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "format/option_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY_FORMAT "finediffusion-sample"
#define IDENTITY_VERSION "1"

static void put_hex(struct fdit_json *b, json_t *to, const char *key, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    fdit_json_put_text(b, to, key, text);
}

/* Of the whole text so far. */
static enum fdit_status hash_text(fdit_context *ctx, const struct fdit_json *b, char out[17])
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    TRY(fdit_json_end(ctx, b, "run.json", JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), &text));
    snprintf(out, 17, "%016" PRIx64, fdit_fnv(FDIT_FNV_START, text, strlen(text)));
out:
    fdit_free(text);
    return status;
}

static uint64_t hash_request(const struct fdit_request *r)
{
    uint64_t hash = fdit_fnv(FDIT_FNV_START, &r->shards, sizeof r->shards);
    for (size_t i = 0; i < r->n_classes; i++) {
        uint64_t pair[2] = { (uint64_t)r->ids[i], (uint64_t)r->first[i + 1] };
        hash = fdit_fnv(hash, pair, sizeof pair);
    }
    return hash;
}

/* The options that decide a picture of given class and seed, with what was left to the model settled. */
static struct fdit_sample_options settled(const struct fdit_sample_options *o,
                                          const struct fdit_sample_source *s, int steps)
{
    struct fdit_sample_options all = *o;
    all.guide = s->guide.text;
    all.guidance.channels = fdit_guidance_channels(&o->guidance, s->files.config.channels);
    all.steps = steps;
    return all;
}

/* And those that decide what is in the folder. */
static void put_more_options(struct fdit_json *b, json_t *j, const struct fdit_sample_options *o,
                             const struct fdit_request *request)
{
    fdit_options_put(b, j, fdit_sample_option_table, FDIT_KEEP_RUN, FDIT_KEEP_RUN, o);
    if (o->tar)
        put_hex(b, j, "classes", hash_request(request));
}

enum fdit_status fdit_identity_read(fdit_context *ctx, const struct fdit_sample_source *s,
                                    struct fdit_identity_files *out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_weight_files_hash(ctx, &s->files, &out->weights));
    if (s->guide.files.n)
        TRY(fdit_weight_files_hash(ctx, &s->guide.files, &out->guide));
    TRY(fdit_taxonomy_hash(ctx, s->taxonomy, &out->taxonomy));
out:
    return status;
}

enum fdit_status fdit_identity_init(fdit_context *ctx, const struct fdit_sample_options *o,
                                    const struct fdit_sample_source *s,
                                    const struct fdit_identity_files *files,
                                    const struct fdit_request *request, int steps, struct fdit_identity *out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    struct fdit_json b;
    *out = (struct fdit_identity){ .text = NULL };
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "format", IDENTITY_FORMAT);
    fdit_json_put_text(&b, NULL, "version", IDENTITY_VERSION);
    put_hex(&b, NULL, "weights", files->weights);
    if (s->guide.files.n)
        put_hex(&b, NULL, "guide_weights", files->guide);
    else
        fdit_json_put_null(&b, NULL, "guide_weights");
    if (files->vae) /* without one the text is as it was before there were any */
        put_hex(&b, NULL, "vae", files->vae);
    put_hex(&b, NULL, "taxonomy", files->taxonomy);
    const struct fdit_sample_options all = settled(o, s, steps);
    json_t *list = fdit_json_put_object(&b, NULL, "options");
    fdit_options_put(&b, list, fdit_sample_option_table, FDIT_KEEP_RESULT, FDIT_KEEP_RESULT, &all);
    TRY(hash_text(ctx, &b, out->picture));
    snprintf(out->weights, sizeof out->weights, "%016" PRIx64, files->weights);
    TRY(fdit_json_dump(ctx, list, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), &out->options));
    put_more_options(&b, list, o, request);
    TRY(hash_text(ctx, &b, out->before));
    fdit_json_put_text(&b, NULL, "pictures", out->picture);
    TRY(hash_text(ctx, &b, out->hash));
    fdit_json_put_text(&b, NULL, "hash", out->hash);
    TRY(fdit_json_end(ctx, &b, "run.json", JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), &text));
    TRY(fdit_strf(ctx, &out->text, "%s\n", text));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    if (status != FDIT_OK)
        fdit_identity_fini(out);
    return status;
}

void fdit_identity_fini(struct fdit_identity *id)
{
    fdit_free(id->text);
    fdit_free(id->options);
    *id = (struct fdit_identity){ .text = NULL };
}

static const char remedy[] = "choose another --out, or --overwrite to replace its pictures";

enum fdit_status fdit_identity_compare(fdit_context *ctx, const struct fdit_identity *id, const char *path,
                                       const char *text, size_t n, bool *older, bool *ours)
{
    enum fdit_status status = FDIT_OK;
    static const char *const parts[] = { "weights", "guide_weights", "vae", "taxonomy" };
    static const char *const names[] = { "weights", "weights of the guide", "autoencoder", "taxonomy" };
    json_t *mine = NULL, *root = NULL, *value;
    const char *key;
    char was[200], is[200];
    *older = *ours = false;
    TRY(fdit_json_parse(ctx, path, id->text, strlen(id->text), 16, &mine));
    status = fdit_json_parse(ctx, path, text, n, 16, &root);
    if (status == FDIT_ERROR_MEMORY)
        goto out;
    const json_t *old = json_object_get(root, "options");
    const char *hash = json_string_value(json_object_get(root, "hash"));
    if (!hash || !json_is_object(old))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s was not written by this program; choose another --out", path);
    *ours = true;
    *older = !strcmp(hash, id->before);
    if (*older || !strcmp(hash, id->hash))
        goto out;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *a = json_object_get(mine, parts[i]), *b = json_object_get(root, parts[i]);
        if ((a || b) && !json_equal(a, b))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the pictures there come from %s%s; %s", path,
                 i == 3   ? "other classes: another "
                 : i == 2 ? "another "
                          : "other ",
                 names[i], remedy);
    }
    json_object_foreach(json_object_get(mine, "options"), key, value)
    {
        const json_t *before = json_object_get(old, key);
        if (json_equal(before, value) || !before) /* what is new follows from another difference */
            continue;
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the pictures there were made with --%s %s, now it is %s; %s", path,
             key, fdit_json_show(before, was, sizeof was), fdit_json_show(value, is, sizeof is), remedy);
    }
    FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the pictures there were made with other options; %s", path, remedy);
out:
    json_decref(root);
    json_decref(mine);
    return status;
}

enum fdit_status fdit_identity_older_defaults(fdit_context *ctx, const char *dir, double *w, int *clip)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    json_t *root = NULL;
    bool there;
    TRY(fdit_path_join(ctx, dir, "run.json", &path));
    TRY(fdit_file_regular(ctx, path, &there));
    if (!there)
        goto out;
    status = fdit_json_read(ctx, path, (size_t)1 << 20, 16, &root);
    if (status == FDIT_ERROR_FORMAT)
        status = FDIT_OK; /* not ours: refused later, by name */
    TRY(status);
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *o = json_object_get(root, "options");
    if (!format || strcmp(format, IDENTITY_FORMAT) != 0 || json_object_get(root, "pictures"))
        goto out;
    const json_t *old_w = json_object_get(o, "guidance"), *old_clip = json_object_get(o, "clip-x0");
    if (json_is_number(old_w) && json_number_value(old_w) == 4)
        *w = 4;
    if (json_is_false(old_clip))
        *clip = 0;
out:
    json_decref(root);
    fdit_free(path);
    return status;
}
