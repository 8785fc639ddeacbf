/* SPDX-License-Identifier: Apache-2.0
 * cmd_inspect.c: `finediffusion inspect`: what a file is, and whether it is whole. Everything is
 * gathered into one JSON object, which --json prints as it is and people get as lines. */
#include "cli/cli.h"

#include "cli/inspect_cache.h"
#include "cli/inspect_data.h"
#include "cli/inspect_file.h"
#include "cli/inspect_picture.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "format/cache.h"
#include "data/loader.h"
#include "picture/picture_rules.h"
#include "format/json.h"
#include "format/kind.h"
#include "format/tensor.h"
#include "format/weights.h"
#include "model/delta.h"
#include "train/class_losses.h"
#include "train/config.h"
#include "train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct args {
    const char *model, *taxonomy, *ranks;
    struct fdit_picture_words look;
    size_t memory; /* 0: what the process may have */
    bool pictures, classes, quick, list;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Files"),
    FDIT_OPTION("model", "NAME|D,L,H,P", TEXT, struct args, model,
                "size of the model, for a checkpoint that does not say its number of heads"),
    { FDIT_OPTION_ROW(TEXT, "taxonomy", "FILE", struct args, taxonomy), .note = ": its folders",
      .help = "classes that a data set must have" },
    { FDIT_OPTION_ROW(TEXT, "ranks", "A,B", struct args, ranks), .note = ": all",
      .help = "ranks of the taxonomy" },
    FDIT_OPTION("pictures", NULL, FLAG, struct args, pictures,
                "decode every picture of a data set, and name all that are broken"),
    { FDIT_OPTION_ROW(TEXT, "orient", "exif|none", struct args, look.orient), .note = " exif",
      .help = "with --pictures: turn them upright as their EXIF data say, or leave them as stored" },
    { FDIT_OPTION_ROW(TEXT, "matte", "white|black|#rrggbb", struct args, look.matte), .note = " white",
      .help = "with --pictures: background of transparent pixels" },
    { FDIT_OPTION_ROW(SIZE, "memory", "SIZE", struct args, memory), FDIT_RANGE(1, 9e18),
      .note = ": what the system allows",
      .help =
          "with --pictures: memory that this may take, for example 500M; pictures that need more are named" },
    FDIT_OPTION("quick", NULL, FLAG, struct args, quick,
                "of a data set, look only at names and counts; open no picture"),
    FDIT_OPTION("list", NULL, FLAG, struct args, list,
                "name every file of a data set that is left out, broken or a duplicate"),
    FDIT_OPTION("classes", NULL, FLAG, struct args, classes,
                "instead print the classes with their ranks, as a table that --taxonomy reads (for a "
                "data set also the number of pictures of each)"),
    { 0 }
};

/* ------------------------------------------------------------------ parts of the answer */

static void put_text(struct fdit_json *to, const char *key, const char *text)
{
    if (text)
        fdit_json_put_text(to, NULL, key, text);
}

static void put_number(struct fdit_json *to, const char *key, size_t n)
{
    fdit_json_put_int(to, NULL, key, (int64_t)n);
}

static void put_copy(struct fdit_json *to, const char *key, json_t *value)
{
    if (value)
        fdit_json_put(to, NULL, key, json_incref(value));
}

static enum fdit_status put_parsed(fdit_context *ctx, struct fdit_json *to, const char *key, const char *path,
                                   const char *text)
{
    enum fdit_status status = FDIT_OK;
    json_t *value = NULL;
    if (!text || !*text)
        return FDIT_OK;
    TRY(fdit_json_parse(ctx, path, text, strlen(text), 64, &value));
    fdit_json_put(to, NULL, key, value);
out:
    return status;
}

static enum fdit_status put_count(fdit_context *ctx, struct fdit_json *to, const char *key, const char *path,
                                  const char *text)
{
    int64_t n = -1;
    if (!text || fdit_parse_int64(ctx, key, text, &n) != FDIT_OK || n < 0)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: its metadata \"%s\" is not a number; the file is damaged, take an older one",
                         path, key);
    fdit_json_put_int(to, NULL, key, n);
    return FDIT_OK;
}

static enum fdit_status put_model(fdit_context *ctx, struct fdit_json *to, const struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, adapter[FDIT_ADAPTER_TEXT];
    TRY(fdit_config_name(ctx, c, &name));
    json_t *m = fdit_json_put_object(to, NULL, "model");
    fdit_json_put_text(to, m, "name", name);
    fdit_json_put_int(to, m, "width", c->width);
    fdit_json_put_int(to, m, "depth", c->depth);
    fdit_json_put_int(to, m, "heads", c->heads);
    fdit_json_put_int(to, m, "patch", c->patch);
    fdit_json_put_int(to, m, "input_size", c->input_size);
    fdit_json_put_int(to, m, "channels", c->channels);
    fdit_json_put_int(to, m, "rows", c->table_rows);
    if (fdit_adapter_any(&c->adapter)) {
        fdit_adapter_text(&c->adapter, adapter);
        fdit_json_put_text(to, m, "adapter", adapter);
    }
    if (c->guidance_input)
        fdit_json_put_bool(to, m, "guidance_input", true);
out:
    fdit_free(name);
    return status;
}

static enum fdit_status put_taxonomy(fdit_context *ctx, const struct args *a, struct fdit_json *to,
                                     const struct fdit_taxonomy *tax)
{
    enum fdit_status status = FDIT_OK;
    char *table = NULL;
    fdit_json_put_int(to, NULL, "classes", fdit_taxonomy_n_classes(tax));
    json_t *ranks = fdit_json_put_array(to, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++) {
        json_t *rank = fdit_json_put_object(to, ranks, NULL);
        fdit_json_put_text(to, rank, "name", fdit_taxonomy_rank_name(tax, r));
        fdit_json_put_int(to, rank, "groups", fdit_taxonomy_n_groups(tax, r));
    }
    fdit_json_put_int(to, NULL, "taxonomy_rows", fdit_taxonomy_n_rows(tax));
    if (a->classes)
        TRY(fdit_taxonomy_to_tsv(ctx, tax, &table));
    put_text(to, "taxonomy", table);
out:
    fdit_free(table);
    return status;
}

/* ------------------------------------------------------------------ weights */

/* A tensor of a training checkpoint against the parameter that it must be. */
static enum fdit_status check_state_tensor(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                           const struct fdit_params *params,
                                           const struct fdit_model_config *config,
                                           const struct fdit_st_tensor *t)
{
    enum fdit_status status = FDIT_OK;
    size_t prefix = fdit_state_prefix(t->name);
    const struct fdit_param *p = fdit_params_find(params, t->name + prefix);
    int64_t shape[4];
    if (!p || !prefix)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the tensor %s has no place in a DiT of depth %d; the file belongs to another model",
             fdit_checkpoint_path(cp), t->name, config->depth);
    for (int i = 0; i < p->rank; i++)
        shape[i] = p->shape[i];
    TRY(fdit_st_check_shape(ctx, fdit_checkpoint_path(cp), t, p->rank, shape));
out:
    return status;
}

/* What must be there for the file to be of use, with its shape. */
static enum fdit_status check_params(fdit_context *ctx, struct fdit_checkpoint *cp,
                                     const struct fdit_params *params, bool whole, size_t *numbers,
                                     size_t *missing_norms)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < params->n; i++) {
        const struct fdit_param *p = &params->list[i];
        float first;
        bool there = fdit_checkpoint_has(cp, p->name);
        if (there) {
            *numbers += p->count;
            TRY(fdit_checkpoint_read_part(ctx, cp, p, 0, 1, &first)); /* its shape */
        }
        if (there || (!whole && !p->trained))
            continue;
        *missing_norms += p->kind == FDIT_PARAM_NORM;
        if (p->kind != FDIT_PARAM_NORM || !whole)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %s%s is missing; the file is not complete, copy it again",
                 fdit_checkpoint_path(cp), fdit_checkpoint_prefix(cp), p->name);
    }
out:
    return status;
}

/* Every tensor among the weights must be a parameter of the model with its shape, every float in
 * the file finite. */
static enum fdit_status check_tensors(struct fdit_cli *cli, struct fdit_checkpoint *cp,
                                      const struct fdit_model_config *config, const struct fdit_mask *mask,
                                      bool state, bool whole, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const char *path = fdit_checkpoint_path(cp);
    struct fdit_params params = { 0 };
    size_t numbers = 0, missing_norms = 0, n = fdit_checkpoint_tensors(cp);
    int extra;
    TRY(fdit_params_init(ctx, config, mask, &params));
    TRY(fdit_checkpoint_check(ctx, cp, &params, config->depth, &extra));
    TRY(check_params(ctx, cp, &params, whole, &numbers, &missing_norms));
    fdit_cli_progress_begin(cli, "inspect", "tensor", 0, n);
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_checkpoint_at(cp, i);
        if (state)
            TRY(check_state_tensor(ctx, cp, &params, config, t));
        if (fdit_st_is_float(t->type))
            TRY(fdit_st_check_finite(ctx, path, t));
        fdit_checkpoint_drop(cp, t);
        fdit_cli_progress_update(cli, i + 1, NULL);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu tensors", path, i + 1, n);
    }
    put_number(out, "parameters", numbers);
    put_number(out, "norms_missing", missing_norms);
    fdit_cli_progress_end(cli);
out:
    fdit_cli_progress_drop(cli);
    fdit_params_fini(&params);
    return status;
}

static enum fdit_status put_meta(fdit_context *ctx, const struct args *a, const struct fdit_checkpoint *st,
                                 bool state, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_checkpoint_path(st), *taxonomy = fdit_checkpoint_meta(st, "taxonomy");
    struct fdit_taxonomy *tax = NULL;
    put_text(out, "guide", fdit_checkpoint_meta(st, "guide"));
    put_text(out, "flip", fdit_checkpoint_meta(st, "flip"));
    put_text(out, "fingerprint", fdit_checkpoint_meta(st, "base"));
    TRY(put_parsed(ctx, out, "validation", path, fdit_checkpoint_meta(st, "validation")));
    if (!state && fdit_checkpoint_meta(st, "steps"))
        TRY(put_count(ctx, out, "trained_steps", path, fdit_checkpoint_meta(st, "steps")));
    TRY(put_parsed(ctx, out, "train", path, fdit_checkpoint_meta(st, "train")));
    if (state)
        put_text(out, "optimiser", fdit_state_optimiser(st));
    if (state)
        TRY(put_count(ctx, out, "step", path, fdit_checkpoint_meta(st, "step")));
    if (state)
        TRY(put_count(ctx, out, "position", path, fdit_checkpoint_meta(st, "position")));
    if (taxonomy) {
        TRY(fdit_taxonomy_parse(ctx, taxonomy, strlen(taxonomy), path, NULL, &tax));
        TRY(put_taxonomy(ctx, a, out, tax));
    }
out:
    fdit_taxonomy_free(tax);
    return status;
}

static enum fdit_status check_rows(fdit_context *ctx, const char *path, const json_t *out,
                                   const struct fdit_model_config *config)
{
    bool classifier = config->kind == FDIT_MODEL_CLASSIFIER;
    const json_t *named = json_object_get(out, classifier ? "classes" : "taxonomy_rows");
    const char *guide = json_string_value(json_object_get(out, "guide"));
    int rows = config->table_rows;
    int want = (int)json_integer_value(named) + (!classifier && guide && !strcmp(guide, "empty"));
    if (!named || want == rows)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the model has %d classes and groups, its taxonomy %d; the file is "
                     "damaged, copy it again",
                     path, rows, want);
}

/* "F32", or "F32, I64" of a file with several. */
static void put_types(const struct fdit_checkpoint *cp, struct fdit_json *out)
{
    bool there[FDIT_ST_TYPES] = { 0 };
    char text[256];
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < fdit_checkpoint_tensors(cp); i++)
        there[fdit_checkpoint_at(cp, i)->type] = true;
    for (int i = 0; i < FDIT_ST_TYPES; i++)
        if (there[i])
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "",
                                     fdit_st_type_name((enum fdit_st_type)i));
    if (used)
        put_text(out, "type", text);
}

static enum fdit_status inspect_weights(struct fdit_cli *cli, const struct args *a, const char *given,
                                        struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    struct fdit_checkpoint *cp = NULL;
    struct fdit_model_config config = { 0 };
    struct fdit_mask mask;
    bool known;
    TRY(fdit_checkpoint_open(ctx, given, FDIT_VALUES_EMA, &cp));
    const char *path = fdit_checkpoint_path(cp);
    const char *format = fdit_checkpoint_meta(cp, "format"), *model = fdit_checkpoint_meta(cp, "model");
    bool state = format && !strcmp(format, "finediffusion-checkpoint");
    bool delta = format && !strcmp(format, FDIT_DELTA_FORMAT);
    if (state || delta)
        TRY(fdit_delta_check(ctx, cp));
    bool whole = fdit_checkpoint_has(cp, "pos_embed");
    put_text(out, "kind", state ? "training checkpoint" : delta && !whole ? "delta" : "checkpoint");
    put_text(out, "layout", fdit_checkpoint_layout(cp));
    if (!state && *fdit_checkpoint_prefix(cp))
        put_text(out, "weights", fdit_checkpoint_prefix(cp));
    size_t bytes = 0, n = fdit_checkpoint_tensors(cp);
    for (size_t i = 0; i < n; i++)
        bytes += fdit_checkpoint_at(cp, i)->bytes;
    put_number(out, "tensors", n);
    put_number(out, "bytes", bytes);
    TRY(put_meta(ctx, a, cp, state, out));
    if (whole || !model) {
        TRY(fdit_checkpoint_config(ctx, cp, a->model, &config));
    } else {
        TRY(fdit_config_from_json(ctx, path, model, strlen(model), &config));
        int64_t rows = fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0);
        if (rows > 0 && rows <= INT32_MAX)
            config.table_rows = (int)rows;
        TRY(fdit_config_check(ctx, &config));
    }
    TRY(put_model(ctx, out, &config));
    if (config.kind == FDIT_MODEL_CLASSIFIER && !state)
        put_text(out, "kind", "classifier");
    put_types(cp, out);
    TRY(fdit_delta_mask(ctx, cp, &mask, &known));
    TRY(check_tensors(cli, cp, &config, known ? &mask : NULL, state, whole, out));
    TRY(check_rows(ctx, path, out->root, &config));
out:
    fdit_checkpoint_close(cp);
    return status;
}

/* A folder with a file of weights of a transformer in it, or in its folder "transformer". */
static bool is_weights_folder(const char *path)
{
    char *file = NULL;
    bool found =
        fdit_weights_resolve(NULL, path, "transformer", &file) == FDIT_OK && !fdit_inspect_is_vae(file);
    fdit_free(file);
    return found;
}

/* ------------------------------------------------------------------ data sets and runs */

static enum fdit_status inspect_data(struct fdit_cli *cli, const struct args *a, const char *path,
                                     struct fdit_json *out, bool *usable)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_rules rules;
    TRY(fdit_picture_words_rules(cli->ctx, &a->look, NULL, &rules));
    TRY(fdit_inspect_data(cli, path,
                          &(struct fdit_inspect_data){ .taxonomy = a->taxonomy,
                                                       .ranks = a->ranks,
                                                       .rules = &rules,
                                                       .pictures = a->pictures,
                                                       .memory = a->memory,
                                                       .classes = a->classes,
                                                       .quick = a->quick,
                                                       .list = a->list },
                          out, usable));
out:
    return status;
}

/* Whether the folder is the RUN of a training: *config is its config.json then. */
static enum fdit_status open_run(fdit_context *ctx, const char *path, json_t **config)
{
    enum fdit_status status = FDIT_OK;
    char *file = NULL;
    *config = NULL;
    TRY(fdit_path_join(ctx, path, "config.json", &file));
    if (!fdit_is_file(file))
        goto out;
    TRY(fdit_json_read(ctx, file, FDIT_TEXT_MOST, 64, config));
    const char *format = json_string_value(json_object_get(*config, "format"));
    if (!format || strcmp(format, "finediffusion-run")) {
        json_decref(*config);
        *config = NULL;
    }
out:
    fdit_free(file);
    return status;
}

static void put_loss_lines(struct fdit_json *out, json_t *object, const char *key,
                           const struct fdit_class_loss_line *lines, size_t n)
{
    json_t *list = fdit_json_put_array(out, object, key);
    for (size_t i = 0; i < n; i++) {
        json_t *one = fdit_json_put_object(out, list, NULL);
        fdit_json_put_text(out, one, "class", lines[i].name);
        fdit_json_put_real(out, one, "val_loss", lines[i].loss);
        fdit_json_put_int(out, one, "pictures", (int64_t)lines[i].pictures);
    }
}

/* The last validation class by class. */
static enum fdit_status put_class_losses(fdit_context *ctx, const char *path, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_class_losses l;
    TRY(fdit_class_losses_read(ctx, path, &l));
    if (!l.classes)
        goto out;
    json_t *object = fdit_json_put_object(out, NULL, "validation_by_class");
    fdit_json_put_int(out, object, "step", l.step);
    fdit_json_put_int(out, object, "classes", (int64_t)l.classes);
    put_loss_lines(out, object, "highest", l.highest, l.shown ? l.shown : 1);
    put_loss_lines(out, object, "lowest", l.lowest, l.shown);
out:
    fdit_class_losses_fini(&l);
    return status;
}

static enum fdit_status inspect_run(struct fdit_cli *cli, const struct args *a, const char *path,
                                    const json_t *config, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_config *checked = NULL;
    char *newest = NULL, *delta = NULL, *file = NULL;
    TRY(fdit_path_join(cli->ctx, path, "config.json", &file));
    TRY(fdit_train_config_open(cli->ctx, file, &checked));
    TRY(fdit_train_config_check_run(cli->ctx, checked, file));
    TRY(fdit_state_newest(cli->ctx, path, &newest));
    TRY(fdit_path_join(cli->ctx, path, "delta.safetensors", &delta));
    if (newest)
        TRY(inspect_weights(cli, a, newest, out));
    put_text(out, "kind", "run");
    put_text(out, "newest_checkpoint", newest);
    if (!newest)
        put_copy(out, "train", json_object_get(config, "options"));
    put_copy(out, "steps", json_object_get(config, "steps"));
    fdit_json_put_bool(out, NULL, "finished", fdit_is_file(delta));
    TRY(put_class_losses(cli->ctx, path, out));
out:
    fdit_train_config_close(checked);
    fdit_free(newest);
    fdit_free(delta);
    fdit_free(file);
    return status;
}

/* ------------------------------------------------------------------ for people */

static void line(struct fdit_cli *cli, const char *label, const char *text)
{
    fdit_cli_print(cli, "  %-12s %s\n", label, text);
}

static void print_train(struct fdit_cli *cli, const json_t *train)
{
    static const char *const keys[] = { "tune",   "data", "batch",      "accumulate", "lr",  "lr-schedule",
                                        "warmup", "ema",  "label-drop", "drop-prob",  "seed" };
    fdit_cli_print(cli, "  %-12s", "trained with");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(train, keys[i]);
        if (json_is_string(v))
            fdit_cli_print(cli, " --%s %s", keys[i], json_string_value(v));
        else if (json_is_integer(v))
            fdit_cli_print(cli, " --%s %" JSON_INTEGER_FORMAT, keys[i], json_integer_value(v));
        else if (json_is_real(v))
            fdit_cli_print(cli, " --%s %g", keys[i], json_real_value(v));
    }
    fdit_cli_print(cli, "\n");
}

static void print_counts(struct fdit_cli *cli, const json_t *out)
{
    static const struct {
        const char *key, *label;
    } counts[] = {
        { "step", "step" },
        { "trained_steps", "steps" },
        { "steps", "of steps" },
        { "tensors", "tensors" },
        { "parameters", "parameters" },
        { "lines", "lines" },
        { "pictures", "pictures" },
        { "least_per_class", "fewest" },
        { "median_per_class", "median" },
        { "most_per_class", "most" },
        { "classes", "classes" },
        { "other_files", "other files" },
        { "classes_without_pictures", "empty" },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const json_t *v = json_object_get(out, counts[i].key);
        if (v)
            fdit_cli_print(cli, "  %-12s %" JSON_INTEGER_FORMAT "\n", counts[i].label, json_integer_value(v));
    }
}

/* The base that a delta was made from, by name and by a short form of its fingerprint, and how good
 * it was. */
static void print_origin(struct fdit_cli *cli, const json_t *out)
{
    const json_t *train = json_object_get(out, "train"), *v = json_object_get(out, "validation");
    const char *base = json_string_value(json_object_get(train, "base"));
    const char *print = json_string_value(json_object_get(out, "fingerprint"));
    const char *precision = json_string_value(json_object_get(train, "precision"));
    uint32_t hash = 2166136261u;
    for (const char *c = print; c && *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    if (base && print)
        fdit_cli_print(cli, "  %-12s %s, fingerprint %08" PRIx32 "\n", "base", base, hash);
    else if (print)
        fdit_cli_print(cli, "  %-12s fingerprint %08" PRIx32 "\n", "base", hash);
    else if (base)
        line(cli, "base", base);
    if (precision)
        line(cli, "precision", precision);
    if (v)
        fdit_cli_print(cli, "  %-12s mse %g, vb %g at step %" JSON_INTEGER_FORMAT "\n", "validation",
                       json_number_value(json_object_get(v, "val_mse")),
                       json_number_value(json_object_get(v, "val_vb")),
                       json_integer_value(json_object_get(v, "step")));
}

static void print_class_losses(struct fdit_cli *cli, const json_t *by_class)
{
    static const char *const keys[] = { "highest", "lowest" };
    for (int k = 0; k < 2; k++) {
        const json_t *list = json_object_get(by_class, keys[k]), *one;
        size_t i;
        json_array_foreach(list, i, one)
        {
            const json_int_t n = json_integer_value(json_object_get(one, "pictures"));
            fdit_cli_print(cli, "  %-12s %s: loss %.4g of %" JSON_INTEGER_FORMAT " validation picture%s\n",
                           i ? "" : keys[k], json_string_value(json_object_get(one, "class")),
                           json_number_value(json_object_get(one, "val_loss")), n, n == 1 ? "" : "s");
        }
    }
}

static void print_model(struct fdit_cli *cli, const json_t *m)
{
    if (!m)
        return;
    fdit_cli_print(cli,
                   "  %-12s %s: width %d, depth %d, heads %d, patch %d, input %dx%d with %d channels, "
                   "table of %d rows\n",
                   "model", json_string_value(json_object_get(m, "name")),
                   (int)json_integer_value(json_object_get(m, "width")),
                   (int)json_integer_value(json_object_get(m, "depth")),
                   (int)json_integer_value(json_object_get(m, "heads")),
                   (int)json_integer_value(json_object_get(m, "patch")),
                   (int)json_integer_value(json_object_get(m, "input_size")),
                   (int)json_integer_value(json_object_get(m, "input_size")),
                   (int)json_integer_value(json_object_get(m, "channels")),
                   (int)json_integer_value(json_object_get(m, "rows")));
    if (json_object_get(m, "adapter"))
        line(cli, "adapter", json_string_value(json_object_get(m, "adapter")));
    if (json_object_get(m, "guidance_input"))
        line(cli, "guidance",
             "its scale is an input: one pass draws with any --guidance that it was trained with");
}

static void print_text(struct fdit_cli *cli, const char *path, const json_t *out)
{
    const json_t *m = json_object_get(out, "model"), *ranks = json_object_get(out, "ranks"), *v;
    size_t i;
    char size[32];
    const char *form = json_string_value(json_object_get(out, "form"));
    if (!form)
        form = json_string_value(json_object_get(out, "layout"));
    fdit_cli_print(cli, "%s: %s%s%s%s\n", path, json_string_value(json_object_get(out, "kind")),
                   form ? " (" : "", form ? form : "", form ? ")" : "");
    print_model(cli, m);
    print_counts(cli, out);
    if ((v = json_object_get(out, "bytes"))) {
        fdit_format_size((size_t)json_integer_value(v), size);
        fdit_cli_print(cli, "  %-12s %s, %s\n", "size", size,
                       json_string_value(json_object_get(out, "type")));
    }
    if ((v = json_object_get(out, "drawn")))
        fdit_inspect_drawn_print(cli, v);
    if ((v = json_object_get(out, "latents")))
        line(cli, "latents", json_string_value(v));
    if ((v = json_object_get(out, "weights")))
        line(cli, "weights", json_string_value(v));
    if (json_integer_value(json_object_get(out, "norms_missing")))
        line(cli, "norms", "without weights, as in a stock DiT: scale 1 and offset 0 are meant");
    json_array_foreach(ranks, i, v) fdit_cli_print(
        cli, "  %-12s %s: %lld group%s\n", "rank", json_string_value(json_object_get(v, "name")),
        (long long)json_integer_value(json_object_get(v, "groups")),
        json_integer_value(json_object_get(v, "groups")) == 1 ? "" : "s");
    if ((v = json_object_get(out, "guide")))
        line(cli, "guide", json_string_value(v));
    if ((v = json_object_get(out, "flip")))
        line(cli, "flip", json_string_value(v));
    if ((v = json_object_get(out, "train")))
        print_train(cli, v);
    print_origin(cli, out);
    print_class_losses(cli, json_object_get(out, "validation_by_class"));
    if ((v = json_object_get(out, "newest_checkpoint")))
        line(cli, "checkpoint", json_string_value(v));
    if ((v = json_object_get(out, "finished")))
        line(cli, "finished",
             json_is_true(v) ? "yes, delta.safetensors is there" : "no; continue with --resume");
    if (json_object_get(out, "checksums"))
        line(cli, "checked", "every sample has the right checksum");
    fdit_inspect_data_print(cli, out);
    if (json_object_get(out, "pictures_decoded") && !json_object_get(out, "broken"))
        line(cli, "checked", "every picture can be decoded");
}

/* A list of shards, not a file. */
static bool is_list(const char *path)
{
    return strpbrk(path, "{,*?[") && !fdit_file_exists(path);
}

static enum fdit_status inspect_file(struct fdit_cli *cli, const struct args *a, const char *path,
                                     struct fdit_json *out, bool *usable)
{
    enum fdit_status status = FDIT_OK;
    enum fdit_kind kind;
    TRY(fdit_kind_of_file(cli->ctx, path, &kind));
    if (fdit_kind_group(kind) == FDIT_KIND_IS_ARCHIVE)
        return inspect_data(cli, a, path, out, usable);
    if (kind == FDIT_KIND_PNG && fdit_inspect_is_drawn(path))
        return fdit_inspect_drawn(cli, path, out);
    bool weights = fdit_kind_group(kind) == FDIT_KIND_IS_WEIGHTS || kind == FDIT_KIND_ZIP ||
                   kind == FDIT_KIND_UNKNOWN || fdit_path_has_suffix(path, ".index.json");
    if (weights && fdit_inspect_is_vae(path))
        return fdit_inspect_vae(cli, path, out);
    if (weights)
        return inspect_weights(cli, a, path, out);
    return fdit_inspect_other(cli, path, kind, out);
out:
    return status;
}

/* One operand into *out; *usable becomes false where "problems" in it say why it cannot be used. */
static enum fdit_status inspect_one(struct fdit_cli *cli, const struct args *a, const char *path,
                                    struct fdit_json *out, bool *usable)
{
    enum fdit_status status = FDIT_OK;
    json_t *config = NULL;
    struct fdit_taxonomy *tax = NULL;
    bool there, folder;
    put_text(out, "path", path);
    TRY(fdit_file_look(cli->ctx, path, &there, &folder));
    bool is_cache = fdit_cache_is(path);
    if (!is_cache && folder)
        TRY(open_run(cli->ctx, path, &config));
    if (is_cache) {
        TRY(fdit_inspect_cache(cli, path, out, &tax));
        TRY(put_taxonomy(cli->ctx, a, out, tax));
    } else if (config)
        TRY(inspect_run(cli, a, path, config, out));
    else if (folder && is_weights_folder(path))
        TRY(inspect_weights(cli, a, path, out));
    else if (folder && fdit_inspect_is_vae(path))
        TRY(fdit_inspect_vae(cli, path, out));
    else if (folder || is_list(path))
        TRY(inspect_data(cli, a, path, out, usable));
    else
        TRY(inspect_file(cli, a, path, out, usable));
    TRY(fdit_json_check(cli->ctx, out, path));
    if (a->classes && !json_object_get(out->root, "taxonomy") && *usable)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "--classes: %s says nothing of classes; give a delta, a run, a "
             "cache or a data set",
             path);
out:
    json_decref(config);
    fdit_taxonomy_free(tax);
    return status;
}

/* The failure of a file whose report is there, but which cannot be used. */
static enum fdit_status tell_problems(struct fdit_cli *cli, const char *path, const struct fdit_json *out)
{
    const json_t *problems = json_object_get(out->root, "problems");
    size_t count = json_array_size(problems);
    const char *first = json_string_value(json_array_get(problems, 0));
    if (count == 1)
        return fdit_fail(cli->ctx, FDIT_ERROR_FORMAT, "%s", first);
    return fdit_fail(cli->ctx, FDIT_ERROR_FORMAT, "%s: %zu problems, all in the report; the first: %s", path,
                     count, first);
}

static enum fdit_status inspect_alone(struct fdit_cli *cli, const struct args *a, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json out;
    bool usable = true;
    fdit_json_begin(&out);
    TRY(inspect_one(cli, a, path, &out, &usable));
    const char *table = json_string_value(json_object_get(out.root, "taxonomy"));
    if (cli->json)
        TRY(fdit_cli_print_json(cli, &out, JSON_INDENT(1) | JSON_REAL_PRECISION(15)));
    else if (table)
        fdit_cli_print_exactly(cli, table);
    else
        print_text(cli, path, out.root);
    if (!usable)
        TRY(tell_problems(cli, path, &out));
out:
    fdit_json_fini(&out);
    return status;
}

/* One of several: its report as text, or at the end of `list`, where one that cannot be read has "error" in
 * place of a report. What is wrong with it is told and goes into *fault, and the next one follows. */
static enum fdit_status inspect_next(struct fdit_cli *cli, const struct args *a, const char *path, bool first,
                                     struct fdit_json *list, enum fdit_status *fault)
{
    struct fdit_json out;
    bool usable = true;
    fdit_json_begin(&out);
    enum fdit_status status = inspect_one(cli, a, path, &out, &usable);
    if (status == FDIT_OK) {
        if (cli->json)
            put_copy(list, NULL, out.root);
        else {
            if (!first)
                fdit_cli_print(cli, "\n");
            print_text(cli, path, out.root);
        }
        if (!usable)
            status = tell_problems(cli, path, &out);
    } else if (cli->json && status != FDIT_INTERRUPTED && status != FDIT_ERROR_MEMORY) {
        json_t *object = fdit_json_put_object(list, NULL, NULL);
        fdit_json_put_text(list, object, "path", path);
        fdit_json_put_text(list, object, "error", fdit_context_message(cli->ctx));
    }
    fdit_json_fini(&out);
    if (status == FDIT_OK || status == FDIT_INTERRUPTED || status == FDIT_ERROR_MEMORY)
        return status;
    fflush(stdout); /* the message behind what was said before */
    fdit_cli_error(cli, fdit_context_message(cli->ctx));
    *fault = status;
    return FDIT_OK;
}

static enum fdit_status inspect_all(struct fdit_cli *cli, const struct args *a, int n, char **paths)
{
    enum fdit_status status = FDIT_OK, worst = FDIT_OK;
    struct fdit_json list;
    int bad = 0;
    fdit_json_begin_list(&list);
    for (int i = 0; i < n; i++) {
        enum fdit_status one = FDIT_OK;
        TRY(inspect_next(cli, a, paths[i], !i, &list, &one));
        bad += one != FDIT_OK;
        if (worst == FDIT_OK || one == FDIT_ERROR_ARGUMENT)
            worst = one;
    }
    if (cli->json)
        TRY(fdit_cli_print_json(cli, &list, JSON_INDENT(1) | JSON_REAL_PRECISION(15)));
    if (bad)
        FAIL(cli->ctx, worst, "%d of %d files cannot be used, as said above", bad, n);
out:
    fdit_json_fini(&list);
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    const struct args *a = p;
    if (n < 1)
        return fdit_fail(cli->ctx, FDIT_ERROR_ARGUMENT,
                         "no file given; usage: finediffusion inspect FILE...");
    if (n > 1 && a->classes && !cli->json)
        return fdit_fail(cli->ctx, FDIT_ERROR_ARGUMENT,
                         "--classes prints the table of one file, and %d are given; give one, or --json", n);
    return n == 1 ? inspect_alone(cli, a, operands[0]) : inspect_all(cli, a, n, operands);
}

const struct fdit_command fdit_command_inspect = {
    .name = "inspect",
    .summary = "describe and check a checkpoint, delta, run or data set",
    .synopsis = "FILE... [OPTION]...",
    .about = "Describes each FILE: a checkpoint or delta (safetensors, also in shards), a PyTorch file "
             "(.pt), a diffusers folder, a training run or one of its checkpoints, a data set (a "
             "folder, .tar, .tar.gz or WebDataset shards), a cache made by 'encode', or a "
             "picture drawn by 'sample'.\n\n"
             "Every tensor is checked for its shape and for values that are not finite, every sample "
             "of a cache for its checksum. Code in a PyTorch file is never executed.\n\n"
             "One FILE that cannot be used does not keep the others from being described; the exit "
             "status is the worst of all. With --json one FILE gives an object, several give a list of "
             "objects in their order, in which a FILE that cannot be read has only \"path\" and \"error\".",
    .examples = "  finediffusion inspect run/delta.safetensors\n"
                "  finediffusion inspect run/delta.safetensors --classes > taxonomy.tsv\n"
                "  finediffusion inspect DiT-XL-2-256x256.pt\n"
                "  finediffusion inspect birds --taxonomy birds.tsv --pictures\n"
                "  finediffusion inspect runs/*/delta.safetensors --json\n",
    .options = options,
    .common = FDIT_COMMON_JSON,
    .most_operands = -1,
    .args_size = sizeof(struct args),
    .run = run,
};
