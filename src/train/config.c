/* SPDX-License-Identifier: Apache-2.0 */
#include "train/config.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PATHS = 6, MOST_BYTES = 1 << 30 };

struct fdit_train_config {
    json_t *root, *options, *run; /* the last two belong to root; run NULL: none */
    char *cwd, *out;              /* where the run was begun; NULL: not known */
    char *found[MOST_PATHS];      /* of _resolve */
};

enum kind { TEXT, FLAG, INT, INT64, SIZE, REAL, SEED, MIRROR, BETAS, FIT, DTYPE, CHOICE };

/* How an enumeration is written. */
typedef const char *(*name_fn)(int value);
static const char *schedule_name(int v)
{
    return fdit_lr_schedule_name((enum fdit_lr_schedule)v);
}
static const char *table_name(int v)
{
    return fdit_class_table_init_name((enum fdit_class_table_init)v);
}
static const char *drop_name(int v)
{
    return fdit_label_drop_name((enum fdit_label_drop)v);
}
static const char *recompute_name(int v)
{
    return fdit_recompute_name((enum fdit_recompute)v);
}
static const char *old_name(int v)
{
    return fdit_old_classes_name((enum fdit_old_classes)v);
}

#define AT(field) offsetof(struct fdit_train_options, field)
static const struct field {
    const char *key;
    enum kind kind;
    size_t at;
    name_fn name;
    int n; /* of a CHOICE */
} fields[] = {
    { "base", TEXT, AT(base), NULL, 0 },
    { "from-scratch", FLAG, AT(from_scratch), NULL, 0 },
    { "classifier", FLAG, AT(classifier), NULL, 0 },
    { "model", TEXT, AT(model), NULL, 0 },
    { "size", INT, AT(size), NULL, 0 },
    { "channels", INT, AT(channels), NULL, 0 },
    { "delta", TEXT, AT(delta), NULL, 0 },
    { "tune", TEXT, AT(tune), NULL, 0 },
    { "recompute", CHOICE, AT(recompute), recompute_name, 3 },
    { "activations", DTYPE, AT(activations), NULL, 0 },
    { "weights", DTYPE, AT(storage), NULL, 0 },
    { "precision", DTYPE, AT(precision), NULL, 0 },
    { "data", TEXT, AT(data), NULL, 0 },
    { "val", TEXT, AT(validation), NULL, 0 },
    { "val-pictures", INT, AT(val_pictures), NULL, 0 },
    { "taxonomy", TEXT, AT(taxonomy), NULL, 0 },
    { "ranks", TEXT, AT(ranks), NULL, 0 },
    { "superclass", TEXT, AT(superclass), NULL, 0 },
    { "superclass-train", TEXT, AT(superclass_train), NULL, 0 },
    { "fit", FIT, AT(fit), NULL, 0 },
    { "orient", TEXT, AT(look.orient), NULL, 0 },
    { "matte", TEXT, AT(look.matte), NULL, 0 },
    { "flip", MIRROR, AT(flip), NULL, 0 },
    { "shift", INT, AT(shift), NULL, 0 },
    { "skip-bad", FLAG, AT(skip_bad), NULL, 0 },
    { "old-classes", CHOICE, AT(old_classes), old_name, 3 },
    { "vae", TEXT, AT(vae), NULL, 0 },
    { "vae-scale", REAL, AT(vae_scale), NULL, 0 },
    { "batch", INT, AT(batch), NULL, 0 },
    { "accumulate", INT, AT(accumulate), NULL, 0 },
    { "devices", INT, AT(devices), NULL, 0 },
    { "lr", REAL, AT(lr), NULL, 0 },
    { "lr-schedule", CHOICE, AT(schedule), schedule_name, 3 },
    { "warmup", INT64, AT(warmup), NULL, 0 },
    { "betas", BETAS, AT(beta1), NULL, 0 },
    { "weight-decay", REAL, AT(weight_decay), NULL, 0 },
    { "clip", REAL, AT(clip), NULL, 0 },
    { "ema", REAL, AT(ema), NULL, 0 },
    { "ema-exact", FLAG, AT(ema_exact), NULL, 0 },
    { "label-drop", CHOICE, AT(drop), drop_name, 2 },
    { "drop-prob", REAL, AT(drop_prob), NULL, 0 },
    { "table-init", CHOICE, AT(table_init), table_name, 3 },
    { "seed", SEED, AT(seed), NULL, 0 },
    { "steps", INT64, AT(steps), NULL, 0 },
    { "epochs", REAL, AT(epochs), NULL, 0 },
    { "checkpoint-every", INT64, AT(checkpoint_every), NULL, 0 },
    { "checkpoint-seconds", REAL, AT(checkpoint_seconds), NULL, 0 },
    { "preview-every", INT64, AT(preview_every), NULL, 0 },
    { "preview-guidance", REAL, AT(preview_guidance), NULL, 0 },
    { "keep", INT, AT(keep), NULL, 0 },
    { "workers", INT, AT(workers), NULL, 0 },
    { "cache-memory", SIZE, AT(cache_bytes), NULL, 0 },
    { "memory", SIZE, AT(memory), NULL, 0 },
    { "device", TEXT, AT(device), NULL, 0 },
    { "threads", INT, AT(threads), NULL, 0 },
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static const struct field *find(const char *key)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        if (!strcmp(fields[i].key, key))
            return &fields[i];
    return NULL;
}

/* ------------------------------------------------------------------ values */

static bool dtype_of(const char *text, enum fdit_dtype *out)
{
    static const enum fdit_dtype types[] = { FDIT_F32, FDIT_BF16, FDIT_F16, FDIT_I8 };
    for (size_t i = 0; text && i < sizeof types / sizeof *types; i++)
        if (!strcmp(text, fdit_dtype_name(types[i]))) {
            *out = types[i];
            return true;
        }
    return false;
}

static bool choice_of(const struct field *f, const char *text, int *out)
{
    for (int i = 0; text && i < f->n; i++)
        if (!strcmp(text, f->name(i))) {
            *out = i;
            return true;
        }
    return false;
}

/* Enumerations are stored as the compiler wants them; an int of the same value is written through a copy. */
#define SET_ENUM(type, value) (*(type *)at = (type)(value))

static void set_choice(const struct field *f, void *at, int value)
{
    if (f->name == schedule_name)
        SET_ENUM(enum fdit_lr_schedule, value);
    else if (f->name == table_name)
        SET_ENUM(enum fdit_class_table_init, value);
    else if (f->name == drop_name)
        SET_ENUM(enum fdit_label_drop, value);
    else if (f->name == recompute_name)
        SET_ENUM(enum fdit_recompute, value);
    else
        SET_ENUM(enum fdit_old_classes, value);
}

/* Puts a value into its option; false where it is not of its kind. null: the option was not given. */
static bool set_value(const struct field *f, const json_t *value, struct fdit_train_options *o)
{
    void *at = (char *)o + f->at;
    const char *text = json_string_value(value);
    json_int_t n = json_integer_value(value);
    enum fdit_dtype type = FDIT_F32;
    int choice = 0;
    switch (f->kind) {
    case TEXT:
        if (!json_is_null(value) && !text)
            return false;
        *(const char **)at = text;
        return true;
    case FLAG: *(bool *)at = json_is_true(value); return json_is_boolean(value);
    case INT: *(int *)at = (int)n; return json_is_integer(value) && n >= INT_MIN && n <= INT_MAX;
    case INT64: *(int64_t *)at = n; return json_is_integer(value);
    case SIZE: *(size_t *)at = (size_t)n; return json_is_integer(value) && n >= 0;
    case SEED: *(uint64_t *)at = (uint64_t)n; return json_is_integer(value) && n >= 0;
    case REAL: *(double *)at = json_number_value(value); return json_is_number(value);
    case FIT:
        SET_ENUM(enum fdit_fit, text && !strcmp(text, "pad") ? FDIT_FIT_PAD : FDIT_FIT_CROP);
        return text && (!strcmp(text, "crop") || !strcmp(text, "pad"));
    case MIRROR:
        *(bool *)at = text && !strcmp(text, "horizontal");
        return text && (!strcmp(text, "horizontal") || !strcmp(text, "none"));
    case BETAS:
        o->beta1 = json_number_value(json_array_get(value, 0));
        o->beta2 = json_number_value(json_array_get(value, 1));
        return json_array_size(value) == 2 && json_is_number(json_array_get(value, 0)) &&
               json_is_number(json_array_get(value, 1));
    case DTYPE:
        if (!dtype_of(text, &type))
            return false;
        SET_ENUM(enum fdit_dtype, type);
        return true;
    case CHOICE:
        if (!choice_of(f, text, &choice))
            return false;
        set_choice(f, at, choice);
        return true;
    }
    return false;
}

static enum fdit_status check_object(fdit_context *ctx, const char *path, json_t *object)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_options scratch = fdit_train_defaults();
    char text[64];
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const struct field *f = find(key);
        if (!f)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"%s\" is no option of train; is the file of a newer version?",
                 path, key);
        if (set_value(f, value, &scratch))
            continue;
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"%s\" cannot be %s; correct it", path, key,
             fdit_json_show(value, text, sizeof text));
    }
out:
    return status;
}

/* ------------------------------------------------------------------ the file */

static enum fdit_status parse(fdit_context *ctx, const char *path, struct fdit_train_config *c)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    status = fdit_json_read(ctx, path, MOST_BYTES, 64, &c->root);
    if (status == FDIT_ERROR_FORMAT) {
        TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s; correct it, or copy it from a run with the same options", message);
    }
    TRY(status);
    if (!json_is_object(c->root))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not the config.json of a run (no object); give another file",
             path);
    c->options = json_object_get(c->root, "options");
    c->run = json_object_get(c->root, "run");
    if (!c->options && json_object_get(c->root, "format"))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: is not the config.json of a run (it has no \"options\")", path);
    if (!c->options)
        c->options = c->root;
    if (!json_is_object(c->options) || (c->run && !json_is_object(c->run)))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"options\" and \"run\" must be objects; correct it", path);
out:
    fdit_free(message);
    return status;
}

enum fdit_status fdit_train_config_open(fdit_context *ctx, const char *path, struct fdit_train_config **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_config *c = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    TRY(parse(ctx, path, c));
    TRY(check_object(ctx, path, c->options));
    if (c->run)
        TRY(check_object(ctx, path, c->run));
    const json_t *steps = c->options == c->root ? NULL : json_object_get(c->root, "steps");
    if (steps && (!json_is_integer(steps) || json_integer_value(steps) < 1))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: \"steps\" must be a whole number above 0; correct it, or give --steps", path);
    const json_t *places = json_object_get(c->root, "places");
    const char *cwd = json_string_value(json_object_get(places, "cwd"));
    const char *run = json_string_value(json_object_get(places, "out"));
    if (cwd && run) {
        TRY(fdit_strdup(ctx, cwd, &c->cwd));
        TRY(fdit_strdup(ctx, run, &c->out));
    }
    *out = c;
    c = NULL;
out:
    fdit_train_config_close(c);
    return status;
}

void fdit_train_config_close(struct fdit_train_config *c)
{
    if (!c)
        return;
    json_decref(c->root);
    fdit_free(c->cwd);
    fdit_free(c->out);
    for (int i = 0; i < MOST_PATHS; i++)
        fdit_free(c->found[i]);
    fdit_free(c);
}

void fdit_train_config_apply(const struct fdit_train_config *c, struct fdit_train_options *o)
{
    json_t *objects[] = { c->options, c->run };
    const json_t *steps = json_object_get(c->root, "steps");
    const char *key;
    json_t *value;
    for (size_t i = 0; i < 2; i++)
        json_object_foreach(objects[i], key, value)
        {
            set_value(find(key), value, o);
        }
    /* runs of older versions say only how many steps they had */
    if (!c->run && c->options != c->root && json_is_integer(steps))
        o->steps = json_integer_value(steps);
}

/* ------------------------------------------------------------------ paths */

static bool is_list(const char *path)
{
    return strpbrk(path, ",{*?[") && !fdit_file_exists(path);
}

/* Of a list or pattern only the folder of its first part is looked at; opening it tells the rest. */
static bool is_there(const char *path)
{
    char *folder = NULL, *start = NULL;
    bool there = fdit_file_exists(path);
    if (there || !is_list(path))
        return there;
    if (fdit_strndup(NULL, path, strcspn(path, ",{*?["), &start) == FDIT_OK &&
        fdit_path_folder(NULL, start, &folder) == FDIT_OK)
        there = fdit_is_folder(folder);
    fdit_free(start);
    fdit_free(folder);
    return there;
}

/* Each part of a list of paths in `folder`. */
static enum fdit_status all_in(fdit_context *ctx, const char *folder, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *list = NULL, *part = NULL, *joined = NULL, *longer = NULL;
    *out = NULL;
    if (!is_list(path))
        return fdit_path_join(ctx, folder, path, out);
    for (const char *at = path; *at;) {
        int depth = 0;
        const char *end = at;
        for (; *end && (depth || *end != ','); end++)
            depth += *end == '{' ? 1 : *end == '}' && depth ? -1 : 0;
        TRY(fdit_strndup(ctx, at, (size_t)(end - at), &part));
        TRY(fdit_path_join(ctx, folder, part, &joined));
        TRY(fdit_strf(ctx, &longer, "%s%s%s", list ? list : "", list ? "," : "", joined));
        fdit_free(list);
        fdit_free(part);
        fdit_free(joined);
        list = longer;
        part = joined = longer = NULL;
        at = *end ? end + 1 : end;
    }
    *out = list;
    list = NULL;
out:
    fdit_free(list);
    fdit_free(part);
    fdit_free(joined);
    return status;
}

/* The path that `was` has now, when all that lay beside `out` lies beside `run` now: their common end is left
 * off, what remains is exchanged. *result NULL: `was` lies elsewhere. */
static enum fdit_status moved(fdit_context *ctx, const char *was, const char *out, const char *run,
                              char **result)
{
    size_t a = strlen(out), b = strlen(run);
    *result = NULL;
    while (a && b && out[a - 1] == run[b - 1])
        a--, b--;
    while (out[a] && out[a] != '/') /* whole names only */
        a++, b++;
    /* the last name of the run itself may be another */
    const char *name = strrchr(out, '/');
    if (a == strlen(out) && name) {
        a = (size_t)(name - out);
        const char *now = strrchr(run, '/');
        b = now ? (size_t)(now - run) : b;
    }
    if (strncmp(was, out, a) || was[a] != '/')
        return FDIT_OK;
    return fdit_strf(ctx, result, "%.*s%s", (int)b, run, was + a);
}

static enum fdit_status whole_path(fdit_context *ctx, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *here = getcwd(NULL, 0), *real = realpath(path, NULL);
    *out = NULL;
    if (!here)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "the current folder has no name"));
    TRY(real ? fdit_strdup(ctx, real, out) : fdit_path_join(ctx, here, path, out));
out:
    free(here);
    free(real);
    return status;
}

static enum fdit_status resolve_one(fdit_context *ctx, struct fdit_train_config *c, const char *run,
                                    const char *option, const char **path, char **found)
{
    enum fdit_status status = FDIT_OK;
    char *then = NULL, *now = NULL;
    if (c->cwd)
        TRY(all_in(ctx, c->cwd, *path, &then));
    if (then && is_there(then)) {
        *found = then;
        then = NULL;
    } else {
        if (then && run)
            TRY(moved(ctx, then, c->out, run, &now));
        if (now && is_there(now)) {
            *found = now;
            now = NULL;
        }
    }
    if (*found)
        *path = *found;
    else if (!is_there(*path))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--%s of the run is not there any more: %s; say with --%s where it is now", option,
             then ? then : *path, option);
out:
    fdit_free(then);
    fdit_free(now);
    return status;
}

enum fdit_status fdit_train_config_resolve(fdit_context *ctx, struct fdit_train_config *c, const char *run,
                                           struct fdit_train_options *o)
{
    enum fdit_status status = FDIT_OK;
    const struct {
        const char *key, **at;
    } paths[MOST_PATHS] = { { "base", &o->base },      { "delta", &o->delta },       { "data", &o->data },
                            { "val", &o->validation }, { "taxonomy", &o->taxonomy }, { "vae", &o->vae } };
    char *whole = NULL;
    double share;
    if (run)
        TRY(whole_path(ctx, run, &whole));
    for (int i = 0; i < MOST_PATHS; i++) {
        const char *text = json_string_value(json_object_get(c->options, paths[i].key));
        const char *other = json_string_value(json_object_get(c->run, paths[i].key));
        if (!*paths[i].at || (*paths[i].at != text && *paths[i].at != other) || c->found[i])
            continue;
        if (!strcmp(paths[i].key, "val") && fdit_train_is_fraction(*paths[i].at, &share))
            continue;
        TRY(resolve_one(ctx, c, whole, paths[i].key, paths[i].at, &c->found[i]));
    }
out:
    fdit_free(whole);
    return status;
}

enum fdit_status fdit_train_config_places(fdit_context *ctx, const char *run, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *here = NULL, *folder = NULL;
    *out = NULL;
    fdit_json_begin(&b);
    TRY(whole_path(ctx, ".", &here));
    TRY(whole_path(ctx, run, &folder));
    fdit_json_put_text(&b, NULL, "cwd", here);
    fdit_json_put_text(&b, NULL, "out", folder);
    status = fdit_json_end(ctx, &b, "config.json", JSON_COMPACT, out);
    if (status == FDIT_ERROR_ARGUMENT) /* no UTF-8: what is relative to such a folder will be asked for */
        status = fdit_strdup(ctx, "{}", out);
out:
    fdit_json_fini(&b);
    fdit_free(here);
    fdit_free(folder);
    return status;
}
