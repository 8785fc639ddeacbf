/* SPDX-License-Identifier: Apache-2.0 */
#include "train/held_out.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <string.h>

void fdit_held_out_fini(struct fdit_held_out *h)
{
    fdit_train_config_close(h->config);
    fdit_taxonomy_free(h->taxonomy);
    *h = (struct fdit_held_out){ 0 };
}

/* Classes and number of pictures of the run's data. */
static enum fdit_status read_made_of(fdit_context *ctx, const char *path, struct fdit_held_out *h)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    char *text = NULL;
    TRY(fdit_json_read(ctx, path, FDIT_TEXT_MOST, 64, &root));
    const json_t *made_of = json_object_get(root, "made_of");
    const json_t *taxonomy = json_object_get(made_of, "taxonomy");
    const json_t *pictures = json_object_get(json_object_get(made_of, "data"), "pictures");
    if (taxonomy) {
        TRY(fdit_json_dump(ctx, taxonomy, JSON_COMPACT, &text));
        TRY(fdit_taxonomy_parse(ctx, text, strlen(text), path, NULL, &h->taxonomy));
    }
    if (json_is_integer(pictures) && json_integer_value(pictures) > 0)
        h->split.pictures = (size_t)json_integer_value(pictures);
out:
    json_decref(root);
    fdit_free(text);
    return status;
}

/* Files that are not needed are not missed where they went away. */
static void leave_out(struct fdit_train_options *o, bool data, bool whole)
{
    o->delta = o->taxonomy = NULL;
    if (data)
        o->data = NULL;
    if (!whole)
        o->base = o->vae = NULL;
}

static enum fdit_status choose(fdit_context *ctx, const char *run, const char *data, bool train,
                               struct fdit_held_out *h)
{
    enum fdit_status status = FDIT_OK;
    double fraction;
    h->some = fdit_train_is_fraction(h->o.validation, &fraction);
    if (h->some) {
        h->split.fraction = fraction;
        h->split.seed = h->o.seed;
        h->split.train = train;
        h->split.run = run;
    }
    if (!train && !h->o.validation)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s was trained without --val, so it has seen every picture of its data; give others with "
             "--real, without --run, or compare with what it has seen by --split train",
             run);
    h->path = data ? data : train || h->some ? h->o.data : h->o.validation;
out:
    return status;
}

enum fdit_status fdit_held_out_open(fdit_context *ctx, const char *run, const char *data, bool train,
                                    bool whole, struct fdit_held_out *out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    double fraction;
    *out = (struct fdit_held_out){ .o = fdit_train_defaults() };
    TRY(fdit_path_join(ctx, run, "config.json", &path));
    if (!fdit_is_file(path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--run %s holds no run (no config.json)", run);
    TRY(fdit_train_config_open(ctx, path, &out->config));
    fdit_train_config_apply(out->config, &out->o);
    bool elsewhere = !train && out->o.validation && !fdit_train_is_fraction(out->o.validation, &fraction);
    leave_out(&out->o, data || elsewhere, whole);
    if (elsewhere && data)
        out->o.validation = data;
    TRY(fdit_train_config_resolve(ctx, out->config, run, &out->o));
    TRY(read_made_of(ctx, path, out));
    TRY(choose(ctx, run, data, train, out));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_held_out_model(fdit_context *ctx, const char *run, struct fdit_held_out *out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    *out = (struct fdit_held_out){ .o = fdit_train_defaults() };
    TRY(fdit_path_join(ctx, run, "config.json", &path));
    TRY(fdit_train_config_open(ctx, path, &out->config));
    fdit_train_config_apply(out->config, &out->o);
    leave_out(&out->o, true, true);
    out->o.validation = NULL;
    TRY(fdit_train_config_resolve(ctx, out->config, run, &out->o));
out:
    fdit_free(path);
    return status;
}
