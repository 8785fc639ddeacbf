/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/vit_file.h"

#include "core/file.h"
#include "core/mem.h"
#include "format/json.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ names */

enum { NAME_MAX_BYTES = 192, MOST_PARTS = 3 };

struct fdit_vit_layout {
    const char *what;
    enum fdit_vit_family family;
    const char *block;                 /* before the names of a block; %d is its number */
    const char *names[FDIT_VIT_ROLES]; /* NULL: there is none. Parts that follow each other: A|B|C */
    const char *glu[4];                /* fc1, its bias, fc2, its bias where the block has SwiGLU; NULL */
    bool turned;                       /* the projection is [D, features] */
};

static const struct fdit_vit_layout layouts[] = {
    { "DINOv2",
      FDIT_VIT_DINO,
      "blocks.%d.",
      { [FDIT_VIT_CLASS] = "cls_token",
        [FDIT_VIT_POSITION] = "pos_embed",
        [FDIT_VIT_REGISTERS] = "register_tokens",
        [FDIT_VIT_PATCH] = "patch_embed.proj.weight",
        [FDIT_VIT_PATCH_BIAS] = "patch_embed.proj.bias",
        [FDIT_VIT_LAST] = "norm.weight",
        [FDIT_VIT_LAST_BIAS] = "norm.bias",
        [FDIT_VIT_NORM1] = "norm1.weight",
        [FDIT_VIT_NORM1_BIAS] = "norm1.bias",
        [FDIT_VIT_QKV] = "attn.qkv.weight",
        [FDIT_VIT_QKV_BIAS] = "attn.qkv.bias",
        [FDIT_VIT_PROJ] = "attn.proj.weight",
        [FDIT_VIT_PROJ_BIAS] = "attn.proj.bias",
        [FDIT_VIT_SCALE1] = "ls1.gamma",
        [FDIT_VIT_NORM2] = "norm2.weight",
        [FDIT_VIT_NORM2_BIAS] = "norm2.bias",
        [FDIT_VIT_FC1] = "mlp.fc1.weight",
        [FDIT_VIT_FC1_BIAS] = "mlp.fc1.bias",
        [FDIT_VIT_FC2] = "mlp.fc2.weight",
        [FDIT_VIT_FC2_BIAS] = "mlp.fc2.bias",
        [FDIT_VIT_SCALE2] = "ls2.gamma" },
      { "mlp.w12.weight", "mlp.w12.bias", "mlp.w3.weight", "mlp.w3.bias" },
      false },
    { "DINOv2 in transformers' names",
      FDIT_VIT_DINO,
      "encoder.layer.%d.",
      { [FDIT_VIT_CLASS] = "embeddings.cls_token",
        [FDIT_VIT_POSITION] = "embeddings.position_embeddings",
        [FDIT_VIT_REGISTERS] = "embeddings.register_tokens",
        [FDIT_VIT_PATCH] = "embeddings.patch_embeddings.projection.weight",
        [FDIT_VIT_PATCH_BIAS] = "embeddings.patch_embeddings.projection.bias",
        [FDIT_VIT_LAST] = "layernorm.weight",
        [FDIT_VIT_LAST_BIAS] = "layernorm.bias",
        [FDIT_VIT_NORM1] = "norm1.weight",
        [FDIT_VIT_NORM1_BIAS] = "norm1.bias",
        [FDIT_VIT_QKV] = "attention.attention.query.weight|attention.attention.key.weight|"
                         "attention.attention.value.weight",
        [FDIT_VIT_QKV_BIAS] = "attention.attention.query.bias|attention.attention.key.bias|"
                              "attention.attention.value.bias",
        [FDIT_VIT_PROJ] = "attention.output.dense.weight",
        [FDIT_VIT_PROJ_BIAS] = "attention.output.dense.bias",
        [FDIT_VIT_SCALE1] = "layer_scale1.lambda1",
        [FDIT_VIT_NORM2] = "norm2.weight",
        [FDIT_VIT_NORM2_BIAS] = "norm2.bias",
        [FDIT_VIT_FC1] = "mlp.fc1.weight",
        [FDIT_VIT_FC1_BIAS] = "mlp.fc1.bias",
        [FDIT_VIT_FC2] = "mlp.fc2.weight",
        [FDIT_VIT_FC2_BIAS] = "mlp.fc2.bias",
        [FDIT_VIT_SCALE2] = "layer_scale2.lambda1" },
      { "mlp.weights_in.weight", "mlp.weights_in.bias", "mlp.weights_out.weight", "mlp.weights_out.bias" },
      false },
    { "CLIP in transformers' names",
      FDIT_VIT_CLIP,
      "vision_model.encoder.layers.%d.",
      { [FDIT_VIT_CLASS] = "vision_model.embeddings.class_embedding",
        [FDIT_VIT_POSITION] = "vision_model.embeddings.position_embedding.weight",
        [FDIT_VIT_PATCH] = "vision_model.embeddings.patch_embedding.weight",
        [FDIT_VIT_PRE] = "vision_model.pre_layrnorm.weight",
        [FDIT_VIT_PRE_BIAS] = "vision_model.pre_layrnorm.bias",
        [FDIT_VIT_LAST] = "vision_model.post_layernorm.weight",
        [FDIT_VIT_LAST_BIAS] = "vision_model.post_layernorm.bias",
        [FDIT_VIT_PROJECTION] = "visual_projection.weight",
        [FDIT_VIT_NORM1] = "layer_norm1.weight",
        [FDIT_VIT_NORM1_BIAS] = "layer_norm1.bias",
        [FDIT_VIT_QKV] = "self_attn.q_proj.weight|self_attn.k_proj.weight|self_attn.v_proj.weight",
        [FDIT_VIT_QKV_BIAS] = "self_attn.q_proj.bias|self_attn.k_proj.bias|self_attn.v_proj.bias",
        [FDIT_VIT_PROJ] = "self_attn.out_proj.weight",
        [FDIT_VIT_PROJ_BIAS] = "self_attn.out_proj.bias",
        [FDIT_VIT_NORM2] = "layer_norm2.weight",
        [FDIT_VIT_NORM2_BIAS] = "layer_norm2.bias",
        [FDIT_VIT_FC1] = "mlp.fc1.weight",
        [FDIT_VIT_FC1_BIAS] = "mlp.fc1.bias",
        [FDIT_VIT_FC2] = "mlp.fc2.weight",
        [FDIT_VIT_FC2_BIAS] = "mlp.fc2.bias" },
      { NULL },
      false },
    { "CLIP in OpenAI's names",
      FDIT_VIT_CLIP,
      "visual.transformer.resblocks.%d.",
      { [FDIT_VIT_CLASS] = "visual.class_embedding",
        [FDIT_VIT_POSITION] = "visual.positional_embedding",
        [FDIT_VIT_PATCH] = "visual.conv1.weight",
        [FDIT_VIT_PRE] = "visual.ln_pre.weight",
        [FDIT_VIT_PRE_BIAS] = "visual.ln_pre.bias",
        [FDIT_VIT_LAST] = "visual.ln_post.weight",
        [FDIT_VIT_LAST_BIAS] = "visual.ln_post.bias",
        [FDIT_VIT_PROJECTION] = "visual.proj",
        [FDIT_VIT_NORM1] = "ln_1.weight",
        [FDIT_VIT_NORM1_BIAS] = "ln_1.bias",
        [FDIT_VIT_QKV] = "attn.in_proj_weight",
        [FDIT_VIT_QKV_BIAS] = "attn.in_proj_bias",
        [FDIT_VIT_PROJ] = "attn.out_proj.weight",
        [FDIT_VIT_PROJ_BIAS] = "attn.out_proj.bias",
        [FDIT_VIT_NORM2] = "ln_2.weight",
        [FDIT_VIT_NORM2_BIAS] = "ln_2.bias",
        [FDIT_VIT_FC1] = "mlp.c_fc.weight",
        [FDIT_VIT_FC1_BIAS] = "mlp.c_fc.bias",
        [FDIT_VIT_FC2] = "mlp.c_proj.weight",
        [FDIT_VIT_FC2_BIAS] = "mlp.c_proj.bias" },
      { NULL },
      true },
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

/* The names of a role, with their parts between '|'; NULL: there is none. */
static const char *names_of(const struct fdit_vit_file *f, enum fdit_vit_role role)
{
    bool glu = f->config.act == FDIT_VIT_SWIGLU && role >= FDIT_VIT_FC1 && role <= FDIT_VIT_FC2_BIAS;
    return glu ? f->layout->glu[role - FDIT_VIT_FC1] : f->layout->names[role];
}

/* The name of part k into `name`; false: there are no more. */
static bool part_name(const struct fdit_vit_file *f, enum fdit_vit_role role, int block, int k,
                      char name[NAME_MAX_BYTES])
{
    const char *at = names_of(f, role);
    char of_block[64] = "";
    for (; at && k; k--) {
        at = strchr(at, '|');
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return false;
    if (fdit_vit_role_in_block(role))
        snprintf(of_block, sizeof of_block, f->layout->block, block);
    snprintf(name, NAME_MAX_BYTES, "%s%s%.*s", f->prefix, of_block, (int)strcspn(at, "|"), at);
    return true;
}

static int parts_of(const struct fdit_vit_file *f, enum fdit_vit_role role)
{
    int n = 0;
    for (const char *at = names_of(f, role); at; at = strchr(at, '|')) {
        at += *at == '|';
        n++;
    }
    return n;
}

static const struct fdit_st_tensor *tensor_of(const struct fdit_vit_file *f, enum fdit_vit_role role,
                                              int block, int k)
{
    char name[NAME_MAX_BYTES];
    return part_name(f, role, block, k, name) ? fdit_weights_find(f->weights, name) : NULL;
}

/* ------------------------------------------------------------------ which network it is */

/* Whether the tensors have this layout: a class token behind some prefix, and with the same prefix the
 * positions, the patches and the first block. */
static bool is_layout(struct fdit_vit_file *f, const struct fdit_vit_layout *l)
{
    const char *class = l->names[FDIT_VIT_CLASS];
    size_t n = strlen(class);
    f->layout = l;
    f->config = (struct fdit_vit_config){ .family = l->family };
    for (size_t i = 0; i < fdit_weights_count(f->weights); i++) {
        const char *name = fdit_weights_at(f->weights, i)->name;
        size_t all = strlen(name), before = all - n;
        if (all < n || before >= sizeof f->prefix || strcmp(name + before, class) != 0 ||
            (before && name[before - 1] != '.'))
            continue;
        memcpy(f->prefix, name, before);
        f->prefix[before] = 0;
        if (tensor_of(f, FDIT_VIT_POSITION, 0, 0) && tensor_of(f, FDIT_VIT_PATCH, 0, 0) &&
            tensor_of(f, FDIT_VIT_NORM1, 0, 0))
            return true;
    }
    return false;
}

static enum fdit_status find_layout(fdit_context *ctx, struct fdit_vit_file *f, enum fdit_vit_family family)
{
    static const char *const families[] = { "DINOv2", "CLIP" };
    static const char *const expected[] = {
        "cls_token, pos_embed, patch_embed.proj.weight and blocks.0..., or embeddings.cls_token and "
        "encoder.layer.0...",
        "vision_model.embeddings.class_embedding and vision_model.encoder.layers.0..., or "
        "visual.class_embedding and visual.transformer.resblocks.0..."
    };
    const char *path = fdit_weights_path(f->weights);
    for (int i = 0; i < LAYOUTS; i++) {
        if (!is_layout(f, &layouts[i]))
            continue;
        if (layouts[i].family == family)
            return FDIT_OK;
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s is %s, not %s; give --features %s:FILE", path,
                         layouts[i].what, families[family],
                         layouts[i].family == FDIT_VIT_CLIP ? "clip" : "dinov2");
    }
    size_t n = fdit_weights_count(f->weights);
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s is not a %s network: expected tensors %s; it has %zu%s%.80s",
                     path, families[family], expected[family], n, n ? ", the first " : "",
                     n ? fdit_weights_at(f->weights, 0)->name : "");
}

/* ------------------------------------------------------------------ sizes */

static enum fdit_status missing(fdit_context *ctx, const struct fdit_vit_file *f, const char *name)
{
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s is %s without %s; get the whole file",
                     fdit_weights_path(f->weights), f->layout->what, name);
}

static int last_of(const struct fdit_st_tensor *t)
{
    int64_t v = t->rank ? t->shape[t->rank - 1] : 0;
    return v > 0 && v <= 1 << 16 ? (int)v : 0;
}

/* Rows of a table [.., D]. */
static size_t rows_of(const struct fdit_st_tensor *t, int width)
{
    return t && width ? t->n / (size_t)width : 0;
}

static enum fdit_status sizes(fdit_context *ctx, struct fdit_vit_file *f)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit_config *c = &f->config;
    const char *path = fdit_weights_path(f->weights);
    const struct fdit_st_tensor *patch = tensor_of(f, FDIT_VIT_PATCH, 0, 0), *t;
    char name[NAME_MAX_BYTES];
    c->width = last_of(tensor_of(f, FDIT_VIT_CLASS, 0, 0));
    c->patch = last_of(patch);
    size_t places = rows_of(tensor_of(f, FDIT_VIT_POSITION, 0, 0), c->width);
    while ((size_t)(c->grid + 1) * (size_t)(c->grid + 1) < places)
        c->grid++;
    if (!c->width || c->width > 16384 || !c->patch || c->patch > 64 || c->grid < 1 || c->grid > 1024 ||
        (size_t)c->grid * (size_t)c->grid + 1 != places)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: its position table has %zu places of width %d, which are not a class token and a square; "
             "get the file of %s again",
             path, places, c->width, f->layout->what);
    t = tensor_of(f, FDIT_VIT_REGISTERS, 0, 0);
    c->registers = t && rows_of(t, c->width) <= 64 ? (int)rows_of(t, c->width) : 0;
    while (c->depth < 1024 && tensor_of(f, FDIT_VIT_NORM1, c->depth, 0))
        c->depth++;
    c->act = f->layout->family == FDIT_VIT_CLIP ? FDIT_VIT_QUICK_GELU : FDIT_VIT_GELU;
    if (f->layout->glu[0] && !tensor_of(f, FDIT_VIT_FC1, 0, 0))
        c->act = FDIT_VIT_SWIGLU;
    t = tensor_of(f, FDIT_VIT_FC2, 0, 0);
    if (!t) {
        c->act = f->layout->family == FDIT_VIT_CLIP ? FDIT_VIT_QUICK_GELU : FDIT_VIT_GELU;
        part_name(f, FDIT_VIT_FC2, 0, 0, name);
        TRY(missing(ctx, f, name));
    }
    c->hidden = last_of(t);
    c->features = c->width;
    t = tensor_of(f, FDIT_VIT_PROJECTION, 0, 0);
    if (t && t->rank == 2)
        c->features = f->layout->turned ? last_of(t) : (int)(t->shape[0] <= 1 << 16 ? t->shape[0] : 0);
    c->eps = f->layout->family == FDIT_VIT_CLIP ? 1e-5 : 1e-6;
    if (c->hidden < 1 || c->features < 1)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s of hidden width %d with %d features", path, f->layout->what,
             c->hidden, c->features);
out:
    return status;
}

/* ------------------------------------------------------------------ what a config.json adds */

static enum fdit_status take_act(fdit_context *ctx, struct fdit_vit_file *f, const char *path,
                                 const char *act)
{
    struct fdit_vit_config *c = &f->config;
    if (c->act == FDIT_VIT_SWIGLU)
        return FDIT_OK;
    if (!strcmp(act, "gelu"))
        c->act = FDIT_VIT_GELU;
    else if (!strcmp(act, "quick_gelu"))
        c->act = FDIT_VIT_QUICK_GELU;
    else
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: hidden_act %.40s; gelu and quick_gelu are known",
                         path, act);
    return FDIT_OK;
}

static enum fdit_status read_config(fdit_context *ctx, struct fdit_vit_file *f)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vit_config *c = &f->config;
    char *folder = NULL, *path = NULL;
    json_t *root = NULL;
    TRY(fdit_path_folder(ctx, fdit_weights_path(f->weights), &folder));
    TRY(fdit_path_join(ctx, folder, "config.json", &path));
    if (!fdit_file_exists(path))
        goto out;
    TRY(fdit_json_read(ctx, path, 1 << 20, 32, &root));
    const json_t *vision = json_object_get(root, "vision_config"), *v;
    if (!json_is_object(vision))
        vision = root;
    v = json_object_get(vision, "hidden_size");
    if (!json_is_integer(v) || json_integer_value(v) != c->width) /* of something else */
        goto out;
    v = json_object_get(vision, "num_attention_heads");
    if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) <= c->width)
        c->heads = (int)json_integer_value(v);
    v = json_object_get(vision, "hidden_act");
    if (json_is_string(v))
        TRY(take_act(ctx, f, path, json_string_value(v)));
    v = json_object_get(vision, "layer_norm_eps");
    if (json_is_number(v) && json_number_value(v) > 1e-12 && json_number_value(v) < 1e-2)
        c->eps = json_number_value(v);
out:
    json_decref(root);
    fdit_free(folder);
    fdit_free(path);
    return status;
}

static enum fdit_status check_heads(fdit_context *ctx, struct fdit_vit_file *f)
{
    struct fdit_vit_config *c = &f->config;
    const char *path = fdit_weights_path(f->weights);
    if (!c->heads && c->width % 64)
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s: its width %d is not a multiple of 64, so how many heads it has is not known; put a "
            "config.json beside it with {\"hidden_size\": %d, \"num_attention_heads\": N}",
            path, c->width, c->width);
    c->heads = c->heads ? c->heads : c->width / 64;
    if (c->width % c->heads || c->width / c->heads > 128)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %d heads of width %d; a head has at most 128 channels",
                         path, c->heads, c->width);
    return FDIT_OK;
}

/* ------------------------------------------------------------------ tensors by role */

static bool has_role(const struct fdit_vit_file *f, enum fdit_vit_role role)
{
    return role == FDIT_VIT_REGISTERS ? f->config.registers > 0 : names_of(f, role) != NULL;
}

/* [rows, columns] of a role; columns 1: a vector. */
static void shape_of(const struct fdit_vit_config *c, enum fdit_vit_role role, size_t *rows, size_t *columns)
{
    size_t d = (size_t)c->width, h = (size_t)c->hidden, p = (size_t)c->patch;
    size_t in = h * (c->act == FDIT_VIT_SWIGLU ? 2 : 1);
    *rows = d;
    *columns = 1;
    switch (role) {
    case FDIT_VIT_POSITION: *rows = 1 + (size_t)c->grid * (size_t)c->grid, *columns = d; break;
    case FDIT_VIT_REGISTERS: *rows = (size_t)c->registers, *columns = d; break;
    case FDIT_VIT_PATCH: *columns = 3 * p * p; break;
    case FDIT_VIT_PROJECTION: *rows = (size_t)c->features, *columns = d; break;
    case FDIT_VIT_QKV: *rows = 3 * d, *columns = d; break;
    case FDIT_VIT_QKV_BIAS: *rows = 3 * d; break;
    case FDIT_VIT_PROJ: *columns = d; break;
    case FDIT_VIT_FC1: *rows = in, *columns = d; break;
    case FDIT_VIT_FC1_BIAS: *rows = in; break;
    case FDIT_VIT_FC2: *columns = h; break;
    default: break;
    }
}

size_t fdit_vit_role_size(const struct fdit_vit_config *c, enum fdit_vit_role role)
{
    size_t rows, columns;
    bool clip = c->family == FDIT_VIT_CLIP;
    if (role == FDIT_VIT_PATCH_BIAS || role == FDIT_VIT_SCALE1 || role == FDIT_VIT_SCALE2) {
        if (clip)
            return 0;
    } else if (role == FDIT_VIT_PRE || role == FDIT_VIT_PRE_BIAS || role == FDIT_VIT_PROJECTION) {
        if (!clip)
            return 0;
    }
    shape_of(c, role, &rows, &columns);
    return rows * columns;
}

/* One tensor of a role: matrices have their shape, others their number of elements. */
static enum fdit_status check_part(fdit_context *ctx, const struct fdit_vit_file *f, enum fdit_vit_role role,
                                   int block, int k)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_weights_path(f->weights);
    size_t rows, columns;
    char name[NAME_MAX_BYTES], text[96];
    part_name(f, role, block, k, name);
    const struct fdit_st_tensor *t = fdit_weights_find(f->weights, name);
    if (!t)
        TRY(missing(ctx, f, name));
    shape_of(&f->config, role, &rows, &columns);
    rows /= (size_t)parts_of(f, role);
    bool turned = f->layout->turned && role == FDIT_VIT_PROJECTION;
    int64_t first = (int64_t)(turned ? columns : rows), last = (int64_t)(turned ? rows : columns);
    bool right = t->n == rows * columns && fdit_st_is_float(t->type);
    if (columns > 1 && role > FDIT_VIT_REGISTERS && role != FDIT_VIT_PATCH)
        right = right && t->rank == 2 && t->shape[0] == first && t->shape[1] == last;
    if (role == FDIT_VIT_PATCH)
        right =
            right && t->rank == 4 && t->shape[0] == first && t->shape[1] == 3 && t->shape[2] == t->shape[3];
    if (!right)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %s has shape %s and type %s; expected [%lld, %lld] of floats for %s", path, name,
             fdit_st_shape_text(t->rank, t->shape, text, sizeof text), fdit_st_type_name(t->type),
             (long long)first, (long long)last, f->layout->what);
out:
    return status;
}

static enum fdit_status check_all(fdit_context *ctx, const struct fdit_vit_file *f)
{
    enum fdit_status status = FDIT_OK;
    for (int role = 0; role < FDIT_VIT_ROLES; role++) {
        int n = fdit_vit_role_in_block((enum fdit_vit_role)role) ? f->config.depth : 1;
        for (int b = 0; has_role(f, (enum fdit_vit_role)role) && b < n; b++)
            for (int k = 0; k < parts_of(f, (enum fdit_vit_role)role); k++)
                TRY(check_part(ctx, f, (enum fdit_vit_role)role, b, k));
    }
out:
    return status;
}

enum fdit_status fdit_vit_file_read(fdit_context *ctx, const struct fdit_vit_file *f, enum fdit_vit_role role,
                                    int block, float *out)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_weights_path(f->weights);
    float *turned = NULL;
    for (int k = 0; k < parts_of(f, role); k++) {
        const struct fdit_st_tensor *t = tensor_of(f, role, block, k);
        TRY(fdit_st_weights(ctx, path, t, 0, t->n, out + (size_t)k * t->n));
        fdit_weights_drop(f->weights, t);
    }
    if (f->layout->turned && role == FDIT_VIT_PROJECTION) {
        size_t rows = (size_t)f->config.features, columns = (size_t)f->config.width;
        TRY(fdit_alloc(ctx, rows, columns * sizeof *turned, &turned));
        memcpy(turned, out, rows * columns * sizeof *turned);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++)
                out[i * columns + j] = turned[j * rows + i];
    }
out:
    fdit_free(turned);
    return status;
}

enum fdit_status fdit_vit_file_open(fdit_context *ctx, const char *path, enum fdit_vit_family family,
                                    struct fdit_vit_file *out)
{
    enum fdit_status status = FDIT_OK;
    *out = (struct fdit_vit_file){ 0 };
    TRY(fdit_weights_open(ctx, path, NULL, &out->weights));
    TRY(find_layout(ctx, out, family));
    TRY(sizes(ctx, out));
    TRY(read_config(ctx, out));
    TRY(check_heads(ctx, out));
    TRY(check_all(ctx, out));
out:
    if (status != FDIT_OK)
        fdit_vit_file_close(out);
    return status;
}

void fdit_vit_file_close(struct fdit_vit_file *f)
{
    fdit_weights_close(f->weights);
    *f = (struct fdit_vit_file){ 0 };
}
