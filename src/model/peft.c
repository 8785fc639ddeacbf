/* SPDX-License-Identifier: Apache-2.0 */
#include "model/peft.h"

#include "core/file.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char before[] = "base_model.model.";

static enum fdit_status beside(fdit_context *ctx, const char *weights, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *folder = NULL;
    TRY(fdit_path_folder(ctx, weights, &folder));
    TRY(fdit_path_join(ctx, folder, FDIT_PEFT_CONFIG, out));
out:
    fdit_free(folder);
    return status;
}

bool fdit_peft_is(const char *weights)
{
    char *path = NULL;
    bool found = !strcmp(fdit_path_base(weights), FDIT_PEFT_WEIGHTS) &&
                 beside(NULL, weights, &path) == FDIT_OK && fdit_is_file(path);
    fdit_free(path);
    return found;
}

/* ------------------------------------------------------------------ names */

bool fdit_peft_ours(const char *name, char *out)
{
    static const char layer[] = ".base_layer.", weight[] = ".weight";
    const size_t n = sizeof before - 1;
    *out = 0;
    if (strncmp(name, before, n) || strstr(name, ".modules_to_save.") || strstr(name, ".original_module."))
        return false;
    const char *own = name + n, *at = strstr(own, layer);
    if (at) {
        memcpy(out, own, (size_t)(at - own));
        strcpy(out + (at - own), at + sizeof layer - 2);
        return true;
    }
    strcpy(out, own);
    const size_t length = strlen(out), end = sizeof weight - 1;
    if (strstr(out, ".lora_") && length > end && !strcmp(out + length - end, weight))
        out[length - end] = 0;
    return true;
}

enum fdit_status fdit_peft_theirs(fdit_context *ctx, const char *param, char **out)
{
    static const char bias[] = ".bias";
    const size_t n = strlen(param), end = sizeof bias - 1;
    if (strstr(param, ".lora_A") || strstr(param, ".lora_B"))
        return fdit_strf(ctx, out, "%s%s.weight", before, param);
    for (int i = 0; i < FDIT_ADAPTER_LAYERS; i++) {
        const size_t layer = strlen(fdit_adapter_layers[i]);
        if (n > layer + end && !strcmp(param + n - end, bias) &&
            !strncmp(param + n - end - layer, fdit_adapter_layers[i], layer))
            return fdit_strf(ctx, out, "%s%.*s.base_layer.bias", before, (int)(n - end), param);
    }
    return fdit_strf(ctx, out, "%s%s", before, param);
}

/* ------------------------------------------------------------------ adapter_config.json, read */

/* Entries that decide nothing about what is computed, or that are read by name below. */
static const char *const known[] = {
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "bias",
    "task_type",
    "lora_dropout",
    "target_modules",
    "modules_to_save",
    "peft_version",
    "revision",
    "auto_mapping",
    "inference_mode",
    "base_model_name_or_path",
    "megatron_core",
    "layers_pattern",
    "qalora_group_size",
    "loftq_config",
    "runtime_config",
};

/* Null, false, 0, an empty list, text or dictionary: the entry asks for nothing. */
static bool asks_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_integer(v) && !json_integer_value(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v)) ||
           (json_is_string(v) && !*json_string_value(v));
}

/* How the adapter began does not matter, but for the ways that change the base's matrices. */
static bool plain_start(const json_t *v)
{
    return json_is_boolean(v) || (json_is_string(v) && !strcmp(json_string_value(v), "gaussian"));
}

static enum fdit_status refuse_others(fdit_context *ctx, const char *path, const json_t *root)
{
    const char *key;
    json_t *value;
    char text[60];
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        bool fine = asks_nothing(value) || (!strcmp(key, "init_lora_weights") && plain_start(value));
        for (size_t i = 0; !fine && i < sizeof known / sizeof *known; i++)
            fine = !strcmp(key, known[i]);
        if (!fine)
            return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                             "%s: \"%.40s\" is %s, which is not supported; merge the adapter in PEFT "
                             "(merge_and_unload) and give the merged weights",
                             path, key, fdit_json_show(value, text, sizeof text));
    }
    return FDIT_OK;
}

enum fdit_status fdit_peft_read(fdit_context *ctx, const char *weights, struct fdit_adapter *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_adapter a = { 0 };
    char *path = NULL, text[60];
    json_t *root = NULL;
    TRY(beside(ctx, weights, &path));
    TRY(fdit_json_read(ctx, path, (size_t)1 << 20, 16, &root));
    const char *type = json_string_value(json_object_get(root, "peft_type"));
    const json_t *rank = json_object_get(root, "r"), *alpha = json_object_get(root, "lora_alpha");
    const json_t *bias = json_object_get(root, "bias");
    const char *biases = json_is_string(bias) ? json_string_value(bias) : "none";
    if (!type || strcmp(type, "LORA"))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: its \"peft_type\" is %s; only LORA is supported", path,
             type ? type : "missing");
    if (!json_is_integer(rank) || json_integer_value(rank) < 1 || json_integer_value(rank) > 65536)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"r\" is %s; it must be a whole number above 0", path,
             fdit_json_show(rank, text, sizeof text));
    if (!json_is_number(alpha) || !(json_number_value(alpha) > 0) || !isfinite(json_number_value(alpha)))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: \"lora_alpha\" is %s; it must be a number above 0", path,
             fdit_json_show(alpha, text, sizeof text));
    if (strcmp(biases, "none") && strcmp(biases, "all"))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: \"bias\" is \"%.40s\"; only none and all are supported", path,
             biases);
    if (json_is_true(json_object_get(root, "use_dora")))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: \"use_dora\" is true, which is not supported; merge the adapter in PEFT (merge_and_unload) "
             "and give the merged weights",
             path);
    TRY(refuse_others(ctx, path, root));
    a.rank = (int)json_integer_value(rank);
    a.alpha = json_number_value(alpha);
    a.rslora = json_is_true(json_object_get(root, "use_rslora"));
    *out = a;
out:
    json_decref(root);
    fdit_free(path);
    return status;
}

/* ------------------------------------------------------------------ and written */

enum fdit_status fdit_peft_write(fdit_context *ctx, const char *path, const struct fdit_adapter *a,
                                 bool biases, bool norms)
{
    static const char *const saved[] = { "embedding_table", "norm1", "norm2", "norm_final" };
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *text = NULL;
    fdit_json_begin(&b);
    fdit_json_put_text(&b, NULL, "peft_type", "LORA");
    fdit_json_put_null(&b, NULL, "task_type");
    fdit_json_put_null(&b, NULL, "base_model_name_or_path");
    fdit_json_put_bool(&b, NULL, "inference_mode", true);
    fdit_json_put_int(&b, NULL, "r", a->rank);
    if (a->alpha > 0x1p52 || floor(a->alpha) < a->alpha)
        fdit_json_put_real(&b, NULL, "lora_alpha", a->alpha);
    else
        fdit_json_put_int(&b, NULL, "lora_alpha", (int64_t)a->alpha);
    fdit_json_put_real(&b, NULL, "lora_dropout", 0);
    fdit_json_put_bool(&b, NULL, "use_rslora", a->rslora);
    fdit_json_put_bool(&b, NULL, "use_dora", false);
    fdit_json_put_bool(&b, NULL, "fan_in_fan_out", false);
    fdit_json_put_bool(&b, NULL, "init_lora_weights", true);
    fdit_json_put_text(&b, NULL, "bias", biases ? "all" : "none");
    /* With both parts of the name: PEFT matches ends, and "proj" would also be the patch embedding's. */
    json_t *targets = fdit_json_put_array(&b, NULL, "target_modules");
    for (int i = 0; i < FDIT_ADAPTER_LAYERS; i++)
        fdit_json_put_text(&b, targets, NULL, fdit_adapter_layers[i]);
    json_t *modules = fdit_json_put_array(&b, NULL, "modules_to_save");
    for (size_t i = 0; i < (norms ? sizeof saved / sizeof *saved : 1); i++)
        fdit_json_put_text(&b, modules, NULL, saved[i]);
    fdit_json_put_object(&b, NULL, "rank_pattern");
    fdit_json_put_object(&b, NULL, "alpha_pattern");
    TRY(fdit_json_end(ctx, &b, path, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), &text));
    TRY(fdit_file_write(ctx, path, true, text, strlen(text)));
out:
    fdit_json_fini(&b);
    fdit_free(text);
    return status;
}
