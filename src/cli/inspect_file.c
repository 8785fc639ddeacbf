/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_file.h"

#include "core/file.h"
#include "core/mem.h"
#include "data/taxonomy.h"
#include "vae/file.h"
#include "vae/vae.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ autoencoders */

bool fdit_inspect_is_vae(const char *path)
{
    struct fdit_vae_file f = { 0 };
    bool is = fdit_weights_open(NULL, path, "vae", &f.weights) == FDIT_OK && fdit_vae_file_find(&f);
    /* an autoencoder inside a larger model's file is not what that file is */
    for (size_t i = 0; is && i < fdit_weights_count(f.weights); i++) {
        const char *name = fdit_weights_at(f.weights, i)->name;
        is = !strstr(name, "x_embedder.proj.weight") && !strstr(name, "transformer_blocks.0.");
    }
    fdit_vae_file_close(&f);
    return is;
}

static enum fdit_status check_numbers(struct fdit_cli *cli, const char *path, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae_file f = { 0 };
    size_t numbers = 0, bytes = 0, tensors = 0;
    bool types[FDIT_ST_TYPES] = { false };
    char type[64] = "";
    TRY(fdit_vae_file_open(cli->ctx, path, &f));
    size_t n = fdit_weights_count(f.weights);
    fdit_cli_progress_begin(cli, "inspect", "tensor", 0, n);
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = fdit_weights_at(f.weights, i);
        if (!fdit_vae_file_owns(&f, i))
            continue;
        TRY(fdit_st_check_finite(cli->ctx, fdit_vae_file_path(&f), t));
        fdit_weights_drop(f.weights, t);
        numbers += t->n;
        bytes += t->bytes;
        tensors++;
        if (!types[t->type] && strlen(type) + 8 < sizeof type) {
            strcat(type, *type ? ", " : "");
            strcat(type, fdit_st_type_name(t->type));
        }
        types[t->type] = true;
        fdit_cli_progress_update(cli, i + 1, NULL);
        if (fdit_stopped(cli->ctx))
            FAIL(cli->ctx, FDIT_INTERRUPTED, "%s: stopped after %zu of %zu tensors", path, i + 1, n);
    }
    fdit_cli_progress_end(cli);
    fdit_json_put_text(out, NULL, "layout", f.original ? "first names" : "diffusers");
    fdit_json_put_int(out, NULL, "tensors", (int64_t)tensors);
    fdit_json_put_int(out, NULL, "parameters", (int64_t)numbers);
    fdit_json_put_int(out, NULL, "bytes", (int64_t)bytes);
    fdit_json_put_text(out, NULL, "type", type);
out:
    fdit_cli_progress_drop(cli);
    fdit_vae_file_close(&f);
    return status;
}

enum fdit_status fdit_inspect_vae(struct fdit_cli *cli, const char *path, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae *v = NULL;
    char about[200];
    TRY(fdit_vae_open(cli->ctx, path, &v));
    const struct fdit_vae_config *c = fdit_vae_config_of(v);
    int factor = fdit_vae_factor(c);
    snprintf(about, sizeof about, "%d channels at 1/%d of the size, scale %g%s", c->latent_channels, factor,
             c->scale, c->shift != 0 ? " and a shift" : "");
    fdit_json_put_text(out, NULL, "kind", "autoencoder");
    fdit_json_put_text(out, NULL, "latents", about);
    json_t *j = fdit_json_put_object(out, NULL, "autoencoder");
    fdit_json_put_int(out, j, "latent_channels", c->latent_channels);
    fdit_json_put_int(out, j, "factor", factor);
    fdit_json_put_real(out, j, "scale", c->scale);
    fdit_json_put_real(out, j, "shift", c->shift);
    fdit_json_put_int(out, j, "levels", c->levels);
    fdit_json_put_int(out, j, "layers_per_block", c->layers);
    fdit_json_put_int(out, j, "groups", c->groups);
    fdit_json_put_bool(out, j, "attention", c->attention);
    TRY(check_numbers(cli, path, out));
out:
    fdit_vae_free(v);
    return status;
}

/* ------------------------------------------------------------------ texts */

/* A JSON text by the keys that its writers put in; NULL: of none that is known. */
static const char *json_kind(const json_t *root)
{
    static const struct {
        const char *format, *kind;
    } ours[] = { { "finediffusion-run", "description of a training run (its folder can be inspected, too)" },
                 { "finediffusion-sample", "description of a sampling job" },
                 { "finediffusion-encode", "description of a cache (its folder can be inspected, too)" } };
    const char *format = json_string_value(json_object_get(root, "format"));
    const char *class_name = json_string_value(json_object_get(root, "_class_name"));
    for (size_t i = 0; format && i < sizeof ours / sizeof *ours; i++)
        if (!strcmp(format, ours[i].format))
            return ours[i].kind;
    if (class_name && !strcmp(class_name, "AutoencoderKL"))
        return "description of an autoencoder (config.json), without its weights";
    if (class_name &&
        (!strcmp(class_name, "DiTTransformer2DModel") || !strcmp(class_name, "Transformer2DModel")))
        return "description of a transformer (config.json), without its weights";
    if (class_name)
        return "description of another model or part of a pipeline";
    if (json_object_get(root, "hidden_size") && json_object_get(root, "num_heads"))
        return "description of a model (config.json), without its weights";
    const json_t *first = json_array_get(root, 0);
    if (json_object_get(first, "problem") && json_object_get(first, "seconds_min"))
        return "results of a benchmark";
    return NULL;
}

/* A taxonomy, when the text can be read as one. */
static bool put_taxonomy(struct fdit_cli *cli, const char *path, struct fdit_json *out)
{
    struct fdit_taxonomy *tax = NULL;
    if (fdit_taxonomy_load(cli->ctx, path, NULL, &tax) != FDIT_OK)
        return false;
    if (!fdit_taxonomy_n_ranks(tax)) { /* any text is a list of classes */
        fdit_taxonomy_free(tax);
        return false;
    }
    fdit_json_put_text(out, NULL, "kind", "taxonomy");
    fdit_json_put_int(out, NULL, "classes", fdit_taxonomy_n_classes(tax));
    json_t *ranks = fdit_json_put_array(out, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++) {
        json_t *rank = fdit_json_put_object(out, ranks, NULL);
        fdit_json_put_text(out, rank, "name", fdit_taxonomy_rank_name(tax, r));
        fdit_json_put_int(out, rank, "groups", fdit_taxonomy_n_groups(tax, r));
    }
    fdit_taxonomy_free(tax);
    return true;
}

/* The first line of a file of JSON lines; whether it is one that this program writes. */
static bool put_lines(fdit_context *ctx, const char *path, struct fdit_json *out)
{
    uint8_t *text = NULL;
    size_t n = 0, lines = 0;
    json_t *first = NULL;
    const char *kind = NULL;
    if (fdit_file_read_all(ctx, path, FDIT_TEXT_MOST, &text, &n) != FDIT_OK)
        return false;
    const uint8_t *end = memchr(text, '\n', n);
    if (end && fdit_json_parse(ctx, path, (const char *)text, (size_t)(end - text), 8, &first) == FDIT_OK)
        kind = json_object_get(first, "seed") && json_object_get(first, "file")
                   ? "manifest of sampled pictures"
               : json_object_get(first, "step") && json_object_get(first, "loss") ? "log of a training run"
                                                                                  : NULL;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    if (kind) {
        fdit_json_put_text(out, NULL, "kind", kind);
        fdit_json_put_int(out, NULL, "lines", (int64_t)lines);
    }
    json_decref(first);
    fdit_free(text);
    return kind;
}

enum fdit_status fdit_inspect_other(struct fdit_cli *cli, const char *path, enum fdit_kind kind,
                                    struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    if (kind == FDIT_KIND_JSON || kind == FDIT_KIND_TEXT) {
        if (put_lines(cli->ctx, path, out))
            return FDIT_OK;
        const char *about = NULL;
        if (kind == FDIT_KIND_JSON && fdit_json_read(cli->ctx, path, FDIT_TEXT_MOST, 64, &root) == FDIT_OK)
            about = json_kind(root);
        if (about)
            fdit_json_put_text(out, NULL, "kind", about);
        if (about || put_taxonomy(cli, path, out))
            goto out;
    }
    status =
        fdit_kind_refuse(cli->ctx, path, kind,
                         "a checkpoint, delta, run, cache, data set or taxonomy, which inspect describes",
                         "give one of those; of pictures, the folder or archive that holds them");
out:
    json_decref(root);
    return status;
}
