/* SPDX-License-Identifier: Apache-2.0
 * cmd_inspect.c: `finediffusion inspect`: what a file is, and whether it is whole. Everything is
 * gathered into one JSON object, which --json prints as it is and people get as lines. */
#include "cli/cli.h"

#include "cli/inspect_cache.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "format/cache.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "model/delta.h"
#include "train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct args {
    const char *model, *taxonomy, *ranks;
    bool pictures;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("Files"),
    FDIT_OPTION("model", "NAME|D,L,H,P", TEXT, struct args, model,
                "size of the model, for a checkpoint that does not say its number of heads"),
    FDIT_OPTION("taxonomy", "FILE", TEXT, struct args, taxonomy,
                "classes that a data set must have (default: its folders)"),
    FDIT_OPTION("ranks", "A,B", TEXT, struct args, ranks, "ranks of the taxonomy (default: all)"),
    FDIT_OPTION("pictures", NULL, FLAG, struct args, pictures,
                "decode every picture of a data set, and name the first that is broken"),
    { 0 }
};

/* ------------------------------------------------------------------ parts of the answer */

static void put_text(json_t *to, const char *key, const char *text)
{
    if (text)
        json_object_set_new(to, key, json_string(text));
}

static void put_number(json_t *to, const char *key, size_t n)
{
    json_object_set_new(to, key, json_integer((json_int_t)n));
}

static enum fdit_status put_parsed(fdit_context *ctx, json_t *to, const char *key, const char *path,
                                   const char *text)
{
    enum fdit_status status = FDIT_OK;
    json_t *value = NULL;
    if (!text || !*text)
        return FDIT_OK;
    TRY(fdit_json_parse(ctx, path, text, strlen(text), 64, &value));
    json_object_set_new(to, key, value);
out:
    return status;
}

static enum fdit_status put_count(fdit_context *ctx, json_t *to, const char *key, const char *path,
                                  const char *text)
{
    int64_t n = -1;
    if (!text || fdit_parse_int64(ctx, key, text, &n) != FDIT_OK || n < 0)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: its metadata \"%s\" is no number; the file is damaged, take an "
                         "older one",
                         path, key);
    put_number(to, key, (size_t)n);
    return FDIT_OK;
}

static enum fdit_status put_model(fdit_context *ctx, json_t *to, const struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(fdit_config_name(ctx, c, &name));
    json_object_set_new(to, "model",
                        json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "name", name, "width",
                                  c->width, "depth", c->depth, "heads", c->heads, "patch", c->patch,
                                  "input_size", c->input_size, "channels", c->channels, "rows",
                                  c->rows));
out:
    fdit_free(name);
    return status;
}

static void put_taxonomy(json_t *to, const struct fdit_taxonomy *tax)
{
    json_t *ranks = json_array();
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++)
        json_array_append_new(ranks, json_pack("{s:s,s:i}", "name", fdit_taxonomy_rank_name(tax, r),
                                               "groups", (int)fdit_taxonomy_n_groups(tax, r)));
    put_number(to, "classes", (size_t)fdit_taxonomy_n_classes(tax));
    json_object_set_new(to, "ranks", ranks);
    put_number(to, "taxonomy_rows", (size_t)fdit_taxonomy_n_rows(tax));
}

/* ------------------------------------------------------------------ safetensors */

/* A tensor of the file against the parameter that it must be. */
static enum fdit_status check_tensor(fdit_context *ctx, const struct fdit_safetensors *st,
                                     const struct fdit_st_tensor *t, const struct fdit_param *p)
{
    enum fdit_status status = FDIT_OK;
    int64_t shape[4];
    for (int i = 0; i < p->rank; i++)
        shape[i] = p->shape[i];
    TRY(fdit_safetensors_check_shape(ctx, st, t, p->rank, shape));
    TRY(fdit_safetensors_check_finite(ctx, st, t));
    fdit_safetensors_drop(st, t);
out:
    return status;
}

/* "raw.", "ema.", "m.", "v." of a training checkpoint; "" of other files. */
static size_t prefix_length(const char *name, bool state)
{
    static const char *const prefixes[] = { "raw.", "ema.", "m.", "v." };
    for (size_t i = 0; state && i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return strlen(prefixes[i]);
    return 0;
}

/* Every tensor must be a parameter of the model with its shape and finite numbers; what must be
 * there for the file to be of use must be there. */
static enum fdit_status check_tensors(struct fdit_cli *cli, const struct fdit_safetensors *st,
                                      const struct fdit_model_config *config,
                                      const struct fdit_mask *mask, bool state, bool whole,
                                      json_t *out)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    const char *path = fdit_safetensors_path(st);
    struct fdit_params params = { 0 };
    struct fdit_progress progress;
    size_t numbers = 0, missing_norms = 0, n = fdit_safetensors_count(st);
    char name[256];
    TRY(fdit_params_init(ctx, config, mask, &params));
    fdit_cli_progress_begin(cli, &progress, "inspect", "tensor", 0, n);
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_safetensors_at(st, i);
        const struct fdit_param *p =
            fdit_params_find(&params, t->name + prefix_length(t->name, state));
        if (!p || (state && !prefix_length(t->name, state)))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %s has no place in a DiT of depth %d; the file belongs to "
                 "another model",
                 path, t->name, config->depth);
        TRY(check_tensor(ctx, st, t, p));
        if (!state || !strncmp(t->name, "ema.", 4))
            numbers += t->n;
        fdit_cli_progress_update(cli, i + 1, NULL);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu tensors", path, i + 1, n);
    }
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        if (!whole && !p->trained)
            continue;
        snprintf(name, sizeof name, "%s%s", state ? "ema." : "", p->name);
        bool there = fdit_safetensors_find(st, name) != NULL;
        missing_norms += !there && p->kind == FDIT_PARAM_NORM;
        if (!there && (p->kind != FDIT_PARAM_NORM || !whole))
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %s is missing; the file is not complete, copy it again",
                 path, name);
    }
    put_number(out, "parameters", numbers);
    put_number(out, "norms_missing", missing_norms);
    fdit_cli_progress_end(cli);
out:
    fdit_cli_progress_drop(cli);
    fdit_params_fini(&params);
    return status;
}

/* The mask that the metadata "train" names; NULL: none. */
static const struct fdit_mask *mask_of(const json_t *out)
{
    const char *tune = json_string_value(json_object_get(json_object_get(out, "train"), "tune"));
    return tune ? fdit_mask_find(tune) : NULL;
}

static enum fdit_status put_meta(fdit_context *ctx, const struct fdit_safetensors *st, bool state,
                                 json_t *out)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_safetensors_path(st), *taxonomy = fdit_safetensors_meta(st, "taxonomy");
    struct fdit_taxonomy *tax = NULL;
    put_text(out, "guide", fdit_safetensors_meta(st, "guide"));
    put_text(out, "flip", fdit_safetensors_meta(st, "flip"));
    TRY(put_parsed(ctx, out, "train", path, fdit_safetensors_meta(st, "train")));
    if (state)
        TRY(put_count(ctx, out, "step", path, fdit_safetensors_meta(st, "step")));
    if (state)
        TRY(put_count(ctx, out, "position", path, fdit_safetensors_meta(st, "position")));
    if (taxonomy) {
        TRY(fdit_taxonomy_parse(ctx, taxonomy, strlen(taxonomy), path, NULL, &tax));
        put_taxonomy(out, tax);
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
    int rows = config->rows;
    int want = (int)json_integer_value(named) + (!classifier && guide && !strcmp(guide, "empty"));
    if (!named || want == rows)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                     "%s: the model has %d classes and groups, its taxonomy %d; the file is "
                     "damaged, copy it again",
                     path, rows, want);
}

static enum fdit_status inspect_safetensors(struct fdit_cli *cli, const struct args *a,
                                            const char *path, json_t *out)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    struct fdit_safetensors *st = NULL;
    struct fdit_checkpoint *cp = NULL;
    struct fdit_model_config config = { 0 };
    TRY(fdit_checkpoint_open(ctx, path, FDIT_VALUES_EMA, &cp));
    TRY(fdit_safetensors_open(ctx, path, &st));
    const char *format = fdit_safetensors_meta(st, "format"),
               *model = fdit_safetensors_meta(st, "model");
    bool state = format && !strcmp(format, "finediffusion-checkpoint");
    bool delta = format && !strcmp(format, FDIT_DELTA_FORMAT);
    if (state || delta)
        TRY(fdit_delta_check(ctx, cp));
    bool whole = fdit_checkpoint_has(cp, "pos_embed");
    put_text(out, "kind", state ? "training checkpoint" : delta && !whole ? "delta" : "checkpoint");
    size_t bytes = 0, n = fdit_safetensors_count(st);
    for (size_t i = 0; i < n; i++)
        bytes += fdit_safetensors_at(st, i)->bytes;
    put_number(out, "tensors", n);
    put_number(out, "bytes", bytes);
    TRY(put_meta(ctx, st, state, out));
    if (whole || !model) {
        TRY(fdit_checkpoint_config(ctx, cp, a->model, &config));
    } else {
        TRY(fdit_config_from_json(ctx, path, model, strlen(model), &config));
        int64_t rows = fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0);
        if (rows > 0)
            config.rows = (int)rows;
        TRY(fdit_config_check(ctx, &config));
    }
    TRY(put_model(ctx, out, &config));
    if (config.kind == FDIT_MODEL_CLASSIFIER && !state)
        put_text(out, "kind", "classifier");
    if (n)
        put_text(out, "type", fdit_st_type_name(fdit_safetensors_at(st, 0)->type));
    TRY(check_tensors(cli, st, &config, mask_of(out), state, whole, out));
    TRY(check_rows(ctx, path, out, &config));
out:
    fdit_safetensors_close(st);
    fdit_checkpoint_close(cp);
    return status;
}

/* ------------------------------------------------------------------ data sets and runs */

static enum fdit_status inspect_data(struct fdit_cli *cli, const struct args *a, const char *path,
                                     json_t *out)
{
    enum fdit_status status = FDIT_OK;
    fdit_context *ctx = cli->ctx;
    struct fdit_taxonomy *tax = NULL;
    struct fdit_dataset *ds = NULL;
    struct fdit_progress progress;
    uint8_t pixels[8 * 8 * 3];
    if (a->taxonomy)
        TRY(fdit_taxonomy_load(ctx, a->taxonomy, a->ranks, &tax));
    TRY(fdit_dataset_open(
        ctx, path,
        &(struct fdit_dataset_options){
            .taxonomy = tax, .ranks = a->ranks, .size = 8, .channels = 3, .allow_missing = true },
        &ds));
    struct fdit_dataset_info info = fdit_dataset_info(ds);
    const struct fdit_taxonomy *classes = fdit_dataset_taxonomy(ds);
    size_t least = SIZE_MAX, most = 0;
    for (int32_t i = 0; i < fdit_taxonomy_n_classes(classes); i++) {
        size_t n = fdit_dataset_class_count(ds, i);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    put_text(out, "kind", "data set");
    put_text(out, "form", info.kind);
    put_number(out, "pictures", info.n);
    put_number(out, "least_per_class", least);
    put_number(out, "most_per_class", most);
    put_number(out, "classes_without_pictures", info.missing);
    put_number(out, "other_files", info.ignored);
    put_taxonomy(out, classes);
    if (!a->pictures)
        goto out;
    fdit_cli_progress_begin(cli, &progress, "inspect", "picture", 0, info.n);
    for (size_t i = 0; i < info.n; i++) {
        TRY(fdit_dataset_decode(ctx, ds, i, pixels));
        fdit_cli_progress_update(cli, i + 1, NULL);
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu pictures", path, i + 1,
                 info.n);
    }
    put_number(out, "pictures_decoded", info.n);
    fdit_cli_progress_end(cli);
out:
    fdit_cli_progress_drop(cli);
    fdit_dataset_close(ds);
    fdit_taxonomy_free(tax);
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
    TRY(fdit_json_read(ctx, file, (size_t)1 << 26, 64, config));
    const char *format = json_string_value(json_object_get(*config, "format"));
    if (!format || strcmp(format, "finediffusion-run")) {
        json_decref(*config);
        *config = NULL;
    }
out:
    fdit_free(file);
    return status;
}

static enum fdit_status inspect_run(struct fdit_cli *cli, const struct args *a, const char *path,
                                    const json_t *config, json_t *out)
{
    enum fdit_status status = FDIT_OK;
    char *newest = NULL, *delta = NULL;
    TRY(fdit_state_newest(cli->ctx, path, &newest));
    TRY(fdit_path_join(cli->ctx, path, "delta.safetensors", &delta));
    if (newest)
        TRY(inspect_safetensors(cli, a, newest, out));
    put_text(out, "kind", "run");
    put_text(out, "newest_checkpoint", newest);
    if (!newest)
        json_object_set(out, "train", json_object_get(config, "options"));
    json_object_set(out, "steps", json_object_get(config, "steps"));
    json_object_set_new(out, "finished", json_boolean(fdit_is_file(delta)));
out:
    fdit_free(newest);
    fdit_free(delta);
    return status;
}

/* ------------------------------------------------------------------ for people */

static void line(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

static void print_train(const json_t *train)
{
    static const char *const keys[] = { "tune",       "data",        "batch",  "accumulate",
                                        "lr",         "lr-schedule", "warmup", "ema",
                                        "label-drop", "drop-prob",   "seed" };
    printf("  %-12s", "trained with");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(train, keys[i]);
        if (json_is_string(v))
            printf(" --%s %s", keys[i], json_string_value(v));
        else if (json_is_integer(v))
            printf(" --%s %" JSON_INTEGER_FORMAT, keys[i], json_integer_value(v));
        else if (json_is_real(v))
            printf(" --%s %g", keys[i], json_real_value(v));
    }
    putchar('\n');
}

static void print_counts(const json_t *out)
{
    static const struct {
        const char *key, *label;
    } counts[] = {
        { "step", "step" },
        { "steps", "of steps" },
        { "tensors", "tensors" },
        { "parameters", "numbers" },
        { "pictures", "pictures" },
        { "least_per_class", "fewest" },
        { "most_per_class", "most" },
        { "classes", "classes" },
        { "other_files", "other files" },
        { "classes_without_pictures", "empty" },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const json_t *v = json_object_get(out, counts[i].key);
        if (v)
            printf("  %-12s %" JSON_INTEGER_FORMAT "\n", counts[i].label, json_integer_value(v));
    }
}

static void print_text(const char *path, const json_t *out)
{
    const json_t *m = json_object_get(out, "model"), *ranks = json_object_get(out, "ranks"), *v;
    size_t i;
    char size[32];
    const char *form = json_string_value(json_object_get(out, "form"));
    printf("%s: %s%s%s%s\n", path, json_string_value(json_object_get(out, "kind")),
           form ? " (" : "", form ? form : "", form ? ")" : "");
    if (m)
        printf("  %-12s %s: width %d, depth %d, heads %d, patch %d, input %dx%d with %d channels, "
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
    print_counts(out);
    if ((v = json_object_get(out, "bytes"))) {
        fdit_format_size((size_t)json_integer_value(v), size);
        printf("  %-12s %s, %s\n", "size", size, json_string_value(json_object_get(out, "type")));
    }
    if (json_integer_value(json_object_get(out, "norms_missing")))
        line("norms", "without weights, as in a stock DiT: scale 1 and offset 0 are meant");
    json_array_foreach(ranks, i, v)
        printf("  %-12s %s: %d groups\n", "rank", json_string_value(json_object_get(v, "name")),
               (int)json_integer_value(json_object_get(v, "groups")));
    if ((v = json_object_get(out, "guide")))
        line("guide", json_string_value(v));
    if ((v = json_object_get(out, "flip")))
        line("flip", json_string_value(v));
    if ((v = json_object_get(out, "train")))
        print_train(v);
    if ((v = json_object_get(out, "newest_checkpoint")))
        line("checkpoint", json_string_value(v));
    if ((v = json_object_get(out, "finished")))
        line("finished",
             json_is_true(v) ? "yes, delta.safetensors is there" : "no; continue with --resume");
    if (json_object_get(out, "checksums"))
        line("checked", "every sample has the right checksum");
    if (json_object_get(out, "pictures_decoded"))
        line("checked", "every picture can be decoded");
}

static bool is_archive(const char *path)
{
    static const char *const suffixes[] = { ".tar", ".tar.gz", ".tgz" };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (fdit_path_has_suffix(path, suffixes[i]))
            return true;
    return strchr(path, '{') != NULL;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    const struct args *a = p;
    json_t *out = json_object(), *config = NULL;
    struct fdit_taxonomy *tax = NULL;
    if (n != 1)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT, "no file given; usage: finediffusion inspect FILE");
    const char *path = operands[0];
    put_text(out, "path", path);
    bool is_cache = fdit_cache_is(path);
    if (!is_cache && fdit_is_folder(path))
        TRY(open_run(cli->ctx, path, &config));
    if (is_cache) {
        TRY(fdit_inspect_cache(cli, path, out, &tax));
        put_taxonomy(out, tax);
    } else if (config)
        TRY(inspect_run(cli, a, path, config, out));
    else if (fdit_is_folder(path) || is_archive(path))
        TRY(inspect_data(cli, a, path, out));
    else if (fdit_path_has_suffix(path, ".pt") || fdit_path_has_suffix(path, ".pth"))
        FAIL(cli->ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: .pt files are not read by this version; save the tensors as safetensors", path);
    else
        TRY(inspect_safetensors(cli, a, path, out));
    if (!cli->json)
        print_text(path, out);
    else if (json_dumpf(out, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) == 0)
        putchar('\n');
out:
    json_decref(out);
    json_decref(config);
    fdit_taxonomy_free(tax);
    return status;
}

const struct fdit_command fdit_command_inspect = {
    .name = "inspect",
    .summary = "what a checkpoint, delta, run or data set is; refuses broken ones",
    .synopsis = "FILE [OPTION]...",
    .about = "Says what FILE is: a checkpoint or delta (safetensors), the checkpoint or the\n"
             "folder of a training run, a data set (a folder, .tar, .tar.gz or WebDataset\n"
             "shards), or a cache that 'encode' made. Every tensor is checked for its shape and\n"
             "for numbers that are not finite, every sample of a cache for its checksum.",
    .examples = "  finediffusion inspect run/delta.safetensors\n"
                "  finediffusion inspect birds --taxonomy birds.tsv --pictures\n",
    .options = options,
    .common = FDIT_COMMON_JSON,
    .most_operands = 1,
    .args_size = sizeof(struct args),
    .run = run,
};
