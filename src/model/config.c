/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "core/mem.h"
#include "format/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int depth, width, heads;
} usual_sizes[] = {
    { "XL", 28, 1152, 16 },
    { "L", 24, 1024, 16 },
    { "B", 12, 768, 12 },
    { "S", 12, 384, 6 },
};
enum { N_USUAL = sizeof usual_sizes / sizeof usual_sizes[0] };

enum fdit_status fdit_config_check(fdit_context *ctx, const struct fdit_model_config *c)
{
    const struct {
        const char *name;
        int value, most;
    } sizes[] = {
        { "input size", c->input_size, 4096 }, { "number of channels", c->channels, 1024 },
        { "patch size", c->patch, 8 },         { "width", c->width, 65536 },
        { "depth", c->depth, 1024 },           { "number of heads", c->heads, 1024 },
        { "MLP ratio", c->mlp_ratio, 64 },     { "number of table rows", c->table_rows, 100000000 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "model: the %s is %d, it must be 1 to %d; give the size with --model "
                             "WIDTH,DEPTH,HEADS,PATCH or a config.json beside the file",
                             sizes[i].name, sizes[i].value, sizes[i].most);
    if (c->input_size % c->patch)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "model: an input of %d x %d cannot be cut into patches of %d; choose a "
                         "multiple of the patch size",
                         c->input_size, c->input_size, c->patch);
    if (c->width % c->heads)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "model: width %d is not divisible by %d heads; give the right number with "
                         "--model WIDTH,DEPTH,HEADS,PATCH",
                         c->width, c->heads);
    if (c->width % 4)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "model: width %d is not a multiple of 4, which the position table needs", c->width);
    if (c->width / c->heads > 128)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "model: heads of %d columns (width %d, %d heads); at most 128 are supported",
                         c->width / c->heads, c->width, c->heads);
    if (c->class_vectors < 0 || c->class_vectors > 1 << 20 || (c->class_vectors && c->kind != FDIT_MODEL_DIT))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "model: class vectors of %d numbers; a DiT takes up to %d, a classifier none",
                         c->class_vectors, 1 << 20);
    if (c->guidance_input && c->kind != FDIT_MODEL_DIT)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "model: guidance is an input of a DiT, not of a classifier");
    if (c->adapter.gammas && c->kind != FDIT_MODEL_DIT)
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "model: difffit is for a DiT, which has gates");
    return fdit_adapter_check(ctx, &c->adapter, c->width);
}

enum fdit_status fdit_config_parse(fdit_context *ctx, const char *text, struct fdit_model_config *config)
{
    int used = 0, patch;
    for (int i = 0; i < N_USUAL; i++) {
        size_t n = strlen(usual_sizes[i].name);
        if ((strncmp(text, "DiT-", 4) && strncmp(text, "SiT-", 4)) ||
            strncmp(text + 4, usual_sizes[i].name, n) || sscanf(text + 4 + n, "/%9d%n", &patch, &used) != 1 ||
            text[4 + n + (size_t)used])
            continue;
        config->width = usual_sizes[i].width;
        config->depth = usual_sizes[i].depth;
        config->heads = usual_sizes[i].heads;
        config->patch = patch;
        if (!config->mlp_ratio)
            config->mlp_ratio = 4;
        return FDIT_OK;
    }
    int width, depth, heads;
    if (sscanf(text, "%9d,%9d,%9d,%9d%n", &width, &depth, &heads, &patch, &used) == 4 && !text[used]) {
        config->width = width;
        config->depth = depth;
        config->heads = heads;
        config->patch = patch;
        if (!config->mlp_ratio)
            config->mlp_ratio = 4;
        return FDIT_OK;
    }
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "model \"%s\" is not known; use DiT-XL/2, DiT-L/4, DiT-B/2, DiT-S/8 and the like, "
                     "or WIDTH,DEPTH,HEADS,PATCH as in 384,12,6,2",
                     text);
}

int fdit_config_usual_heads(int width, int depth)
{
    for (int i = 0; i < N_USUAL; i++)
        if (usual_sizes[i].width == width && usual_sizes[i].depth == depth)
            return usual_sizes[i].heads;
    return 0;
}

enum fdit_status fdit_config_name(fdit_context *ctx, const struct fdit_model_config *c, char **out)
{
    for (int i = 0; i < N_USUAL; i++)
        if (usual_sizes[i].width == c->width && usual_sizes[i].depth == c->depth &&
            usual_sizes[i].heads == c->heads)
            return fdit_strf(ctx, out, "DiT-%s/%d", usual_sizes[i].name, c->patch);
    return fdit_strf(ctx, out, "%d,%d,%d,%d", c->width, c->depth, c->heads, c->patch);
}

static enum fdit_status unsupported(fdit_context *ctx, const char *name, const char *key, const json_t *value,
                                    const char *only)
{
    char text[60];
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: \"%s\" is %s; only %s is supported", name, key,
                     fdit_json_show(value, text, sizeof text), only);
}

/* The keys of a diffusers transformer that say how it computes: what the code here does not do is
 * refused. An absent key has the value that DiTTransformer2DModel gives it, which is the one here.
 */
static enum fdit_status check_diffusers(fdit_context *ctx, const char *name, const json_t *root)
{
    static const struct {
        const char *key, *only;
    } texts[] = { { "activation_fn", "gelu-approximate" },
                  { "norm_type", "ada_norm_zero" },
                  { "attention_type", "default" } };
    static const struct {
        const char *key;
        bool only;
    } switches[] = { { "attention_bias", true },         { "norm_elementwise_affine", false },
                     { "only_cross_attention", false },  { "double_self_attention", false },
                     { "use_linear_projection", false }, { "use_additional_conditions", false } };
    static const char *const nulls[] = { "cross_attention_dim", "num_vector_embeds", "caption_channels",
                                         "interpolation_scale" };
    const char *kind = json_string_value(json_object_get(root, "_class_name"));
    if (kind && strcmp(kind, "DiTTransformer2DModel") && strcmp(kind, "Transformer2DModel"))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: is the description of a %.60s, not of a class-conditional DiT "
                         "(DiTTransformer2DModel)%s",
                         name, kind,
                         strncmp(kind, "Autoencoder", 11) ? "" : "; an autoencoder is given with --vae");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const json_t *v = json_object_get(root, texts[i].key);
        const char *text = json_string_value(v);
        if (v && !json_is_null(v) && (!text || strcmp(text, texts[i].only)))
            return unsupported(ctx, name, texts[i].key, v, texts[i].only);
    }
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        const json_t *v = json_object_get(root, switches[i].key);
        if (v && !json_is_null(v) && (!json_is_boolean(v) || json_is_true(v) != switches[i].only))
            return unsupported(ctx, name, switches[i].key, v, switches[i].only ? "true" : "false");
    }
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        const json_t *v = json_object_get(root, nulls[i]);
        if (v && !json_is_null(v))
            return unsupported(ctx, name, nulls[i], v, "null");
    }
    const json_t *eps = json_object_get(root, "norm_eps");
    if (eps && !json_is_null(eps) && !(json_number_value(eps) > 0 && json_number_value(eps) < 1.1e-5))
        return unsupported(ctx, name, "norm_eps", eps, "1e-5 or 1e-6");
    return FDIT_OK;
}

/* "parameterisation": the name of an objective. */
static enum fdit_status get_objective(fdit_context *ctx, const char *name, const json_t *root,
                                      enum fdit_objective_id *out)
{
    const json_t *value = json_object_get(root, "parameterisation");
    const struct fdit_objective *found = NULL;
    if (!value || json_is_null(value))
        return FDIT_OK;
    if (json_is_string(value))
        found = fdit_objective_find(json_string_value(value));
    if (!found)
        return unsupported(ctx, name, "parameterisation", value, FDIT_OBJECTIVE_NAMES);
    *out = found->id;
    return FDIT_OK;
}

/* The channels that come out: fdit_config_out_channels. */
static enum fdit_status check_outputs(fdit_context *ctx, const char *name, const json_t *root,
                                      const struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    int out = 0;
    TRY(fdit_json_get_int(ctx, name, root, "out_channels", INT_MAX, &out));
    if (out && c->channels && out != fdit_config_out_channels(c))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: \"out_channels\" is %d for %d \"in_channels\"; only %d, %s, are supported", name, out,
             c->channels, fdit_config_out_channels(c), fdit_objective_at(c->objective)->predicts);
out:
    return status;
}

enum fdit_status fdit_config_from_json(fdit_context *ctx, const char *name, const char *text, size_t n,
                                       struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config c = *config;
    int head_size = 0, embeds = 0, classes = 0, groups = 0;
    json_t *root = NULL;
    TRY(fdit_json_parse(ctx, name, text, n, 16, &root));
    if (!json_is_object(root))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: holds no JSON object; a model's config.json is needed", name);
    TRY(check_diffusers(ctx, name, root));
    TRY(fdit_json_get_int(ctx, name, root, "sample_size", INT_MAX, &c.input_size));
    TRY(fdit_json_get_int(ctx, name, root, "input_size", INT_MAX, &c.input_size));
    TRY(fdit_json_get_int(ctx, name, root, "patch_size", INT_MAX, &c.patch));
    TRY(fdit_json_get_int(ctx, name, root, "in_channels", INT_MAX, &c.channels));
    TRY(get_objective(ctx, name, root, &c.objective));
    TRY(check_outputs(ctx, name, root, &c));
    if (json_is_boolean(json_object_get(root, "qk_norm")))
        c.qk_norm = json_is_true(json_object_get(root, "qk_norm"));
    if (json_is_boolean(json_object_get(root, "guidance_input")))
        c.guidance_input = json_is_true(json_object_get(root, "guidance_input"));
    TRY(fdit_json_get_int(ctx, name, root, "num_layers", INT_MAX, &c.depth));
    TRY(fdit_json_get_int(ctx, name, root, "depth", INT_MAX, &c.depth));
    TRY(fdit_json_get_int(ctx, name, root, "num_attention_heads", INT_MAX, &c.heads));
    TRY(fdit_json_get_int(ctx, name, root, "num_heads", INT_MAX, &c.heads));
    TRY(fdit_json_get_int(ctx, name, root, "attention_head_dim", INT_MAX, &head_size));
    if (head_size > 0 && c.heads > 0 && c.heads < INT_MAX / head_size)
        c.width = head_size * c.heads;
    TRY(fdit_json_get_int(ctx, name, root, "hidden_size", INT_MAX, &c.width));
    TRY(fdit_json_get_int(ctx, name, root, "mlp_ratio", INT_MAX, &c.mlp_ratio));
    TRY(fdit_json_get_int(ctx, name, root, "num_embeds_ada_norm", INT_MAX, &embeds));
    if (embeds > 0 && embeds < INT_MAX)
        c.table_rows = embeds + 1;
    TRY(fdit_json_get_int(ctx, name, root, "num_classes", INT_MAX, &classes));
    TRY(fdit_json_get_int(ctx, name, root, "num_super_classes", INT_MAX, &groups));
    if (classes > 0 && groups > 0 && classes < INT_MAX - groups)
        c.table_rows = classes + groups;
    TRY(fdit_json_get_int(ctx, name, root, "table_rows", INT_MAX, &c.table_rows));
    if (json_object_get(root, "adapter"))
        TRY(fdit_adapter_from_json(ctx, name, json_object_get(root, "adapter"), &c.adapter));
    const char *kind = json_string_value(json_object_get(root, "kind"));
    if (kind && !strcmp(kind, "classifier"))
        c.kind = FDIT_MODEL_CLASSIFIER;
    *config = c;
out:
    json_decref(root);
    return status;
}

enum fdit_status fdit_config_to_json(fdit_context *ctx, const struct fdit_model_config *c, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *adapter = NULL, vectors[48] = "";
    if (c->class_vectors)
        snprintf(vectors, sizeof vectors, ",\"class_vectors\":%d", c->class_vectors);
    TRY(fdit_adapter_to_json(ctx, &c->adapter, &adapter));
    TRY(fdit_strf(ctx, out,
                  "{\"kind\":\"%s\",\"input_size\":%d,\"patch_size\":%d,\"in_channels\":%d,"
                  "\"hidden_size\":%d,\"depth\":%d,\"num_heads\":%d,\"mlp_ratio\":%d,"
                  "\"table_rows\":%d%s%s%s%s%s%s%s}",
                  c->kind == FDIT_MODEL_DIT ? "dit" : "classifier", c->input_size, c->patch, c->channels,
                  c->width, c->depth, c->heads, c->mlp_ratio, c->table_rows,
                  c->objective ? ",\"parameterisation\":\"" : "",
                  c->objective ? fdit_objective_at(c->objective)->name : "", c->objective ? "\"" : "",
                  c->qk_norm ? ",\"qk_norm\":true" : "", c->guidance_input ? ",\"guidance_input\":true" : "",
                  vectors, adapter));
out:
    fdit_free(adapter);
    return status;
}

double fdit_config_forward_flops(const struct fdit_model_config *c)
{
    double n = fdit_config_tokens(c), d = c->width, ratio = c->mlp_ratio;
    double block = n * d * d * (4 + 2 * ratio) + 2 * n * n * d;
    if (c->kind == FDIT_MODEL_DIT)
        block += 6 * d * d;
    double ends = n * d * fdit_config_patch_in(c);
    if (c->kind == FDIT_MODEL_DIT)
        ends += n * d * fdit_config_patch_out(c) + FDIT_TIME_FEATURES * d + d * d + 2 * d * d;
    else
        ends += d * c->table_rows;
    return 2 * (c->depth * block + ends);
}
