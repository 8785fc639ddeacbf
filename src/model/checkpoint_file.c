/* SPDX-License-Identifier: Apache-2.0
 * Which file a path means, what its tensors are called, and where the weights are in it. */
#include "model/checkpoint_file.h"

#include "core/file.h"
#include "core/mem.h"
#include "diffusion/objective.h"
#include "format/json.h"
#include "model/peft.h"

#include <stdio.h>
#include <string.h>

enum { MOST_TENSOR_NAME = 256 };

/* ------------------------------------------------------------------ names */

static const char diffusers_embedding[] = "transformer_blocks.%d.norm1.emb.";

/* diffusers' names (DiTTransformer2DModel): every block repeats the embedders of time and class, of
 * which the first block's count. */
static const struct {
    const char *ours, *theirs[FDIT_PARTS];
} renamed[] = {
    { "x_embedder.proj.", { "pos_embed.proj." } },
    { "t_embedder.mlp.0.", { "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1." } },
    { "t_embedder.mlp.2.", { "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2." } },
    { "y_embedder.embedding_table.", { "transformer_blocks.0.norm1.emb.class_embedder.embedding_table." } },
    { "final_layer.adaLN_modulation.1.", { "proj_out_1." } },
    { "final_layer.linear.", { "proj_out_2." } },
    { "pos_embed", { "pos_embed.pos_embed" } },
};
/* behind "blocks.N." and "transformer_blocks.N." */
static const struct {
    const char *ours, *theirs[FDIT_PARTS];
} renamed_in_blocks[] = {
    { "adaLN_modulation.1.", { "norm1.linear." } },
    { "attn.qkv.", { "attn1.to_q.", "attn1.to_k.", "attn1.to_v." } },
    { "attn.proj.", { "attn1.to_out.0." } },
    { "mlp.fc1.", { "ff.net.0.proj." } },
    { "mlp.fc2.", { "ff.net.2." } },
};

/* diffusers' name of part k of a parameter; false: there is none. */
static bool diffusers_name(const char *param, int k, char *out, size_t size)
{
    int block, used = 0;
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        size_t n = strlen(renamed[i].ours);
        if (strncmp(param, renamed[i].ours, n) || !renamed[i].theirs[k])
            continue;
        snprintf(out, size, "%s%s", renamed[i].theirs[k], param + n);
        return true;
    }
    if (sscanf(param, "blocks.%9d.%n", &block, &used) != 1 || !used)
        return false;
    for (size_t i = 0; i < sizeof renamed_in_blocks / sizeof *renamed_in_blocks; i++) {
        size_t n = strlen(renamed_in_blocks[i].ours);
        if (strncmp(param + used, renamed_in_blocks[i].ours, n) || !renamed_in_blocks[i].theirs[k])
            continue;
        snprintf(out, size, "transformer_blocks.%d.%s%s", block, renamed_in_blocks[i].theirs[k],
                 param + used + n);
        return true;
    }
    return false;
}

static const struct fdit_st_tensor *find(const struct fdit_checkpoint *cp, const char *prefix,
                                         const char *name)
{
    char full[FDIT_MOST_PREFIX + MOST_TENSOR_NAME];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return fdit_checkpoint_tensor(cp, full);
}

int fdit_checkpoint_parts(const struct fdit_checkpoint *cp, const char *param,
                          const struct fdit_st_tensor *parts[FDIT_PARTS])
{
    char name[MOST_TENSOR_NAME];
    int n = 0;
    if (!cp->diffusers) {
        parts[0] = find(cp, cp->prefix, param);
        return parts[0] != NULL;
    }
    for (; n < FDIT_PARTS && diffusers_name(param, n, name, sizeof name); n++) {
        parts[n] = find(cp, cp->prefix, name);
        if (!parts[n])
            return 0;
    }
    return n;
}

bool fdit_checkpoint_computes(const struct fdit_checkpoint *cp, const char *param)
{
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    return cp->diffusers && !strcmp(param, "pos_embed") && !fdit_checkpoint_parts(cp, param, parts);
}

/* ------------------------------------------------------------------ opening */

enum fdit_status fdit_file_version_check(fdit_context *ctx, const char *path, const char *format,
                                         const char *version)
{
    if (!format || strncmp(format, "finediffusion-", strlen("finediffusion-")))
        return FDIT_OK;
    if (version && !strcmp(version, FDIT_FILE_VERSION))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: is a %.40s of version %.20s; this program reads version " FDIT_FILE_VERSION
                     ", use the finediffusion that wrote it or a newer one",
                     path, format, version ? version : "(none)");
}

/* What the metadata says under `key` as JSON. *out NULL: nothing, or what is not JSON (told by whoever needs
 * it). */
static enum fdit_status parse_meta(fdit_context *ctx, const struct fdit_checkpoint *cp, const char *key,
                                   int depth, json_t **out)
{
    const char *text = fdit_checkpoint_meta(cp, key), *path = fdit_checkpoint_path(cp);
    *out = NULL;
    if (text && fdit_json_parse(NULL, path, text, strlen(text), depth, out) == FDIT_ERROR_MEMORY)
        return fdit_fail(ctx, FDIT_ERROR_MEMORY, "%s: out of memory while its metadata is read", path);
    return FDIT_OK;
}

/* What this version cannot train or draw from is refused by name, as a file of a newer version is. */
static enum fdit_status check_objective(fdit_context *ctx, const struct fdit_checkpoint *cp)
{
    enum fdit_status status = FDIT_OK;
    const char *format = fdit_checkpoint_meta(cp, "format");
    json_t *root = NULL;
    if (!format || strncmp(format, "finediffusion", 13))
        return FDIT_OK;
    TRY(parse_meta(ctx, cp, "train", 64, &root));
    if (!root)
        return FDIT_OK;
    const char *name = json_string_value(json_object_get(root, "objective"));
    if (!fdit_objective_find(name))
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: was trained with the objective %s, which this version does not know; use a newer one",
             fdit_checkpoint_path(cp), name);
out:
    json_decref(root);
    return status;
}

static enum fdit_status find_adapter(fdit_context *ctx, struct fdit_checkpoint *cp)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_checkpoint_path(cp);
    json_t *root = NULL;
    cp->peft = fdit_peft_is(path);
    if (cp->peft)
        return fdit_peft_read(ctx, path, &cp->adapter);
    if (!strcmp(fdit_path_base(path), FDIT_PEFT_WEIGHTS))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: holds the numbers of a PEFT adapter, and the " FDIT_PEFT_CONFIG
             " that says its rank and alpha is not beside it; copy the whole folder",
             path);
    TRY(parse_meta(ctx, cp, "model", 16, &root));
    TRY(fdit_adapter_from_json(ctx, path, json_object_get(root, "adapter"), &cp->adapter));
out:
    json_decref(root);
    return status;
}

enum fdit_status fdit_checkpoint_open(fdit_context *ctx, const char *path, enum fdit_values values,
                                      struct fdit_checkpoint **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *cp = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *cp, &cp));
    TRY(fdit_weights_open(ctx, path, "transformer", &cp->weights));
    TRY(fdit_file_version_check(ctx, fdit_checkpoint_path(cp), fdit_checkpoint_meta(cp, "format"),
                                fdit_checkpoint_meta(cp, "version")));
    TRY(check_objective(ctx, cp));
    TRY(find_adapter(ctx, cp));
    TRY(fdit_checkpoint_find_weights(ctx, cp, values));
    *out = cp;
    cp = NULL;
out:
    fdit_checkpoint_close(cp);
    return status;
}

void fdit_checkpoint_close(struct fdit_checkpoint *cp)
{
    if (!cp)
        return;
    fdit_checkpoint_free_names(cp);
    fdit_weights_close(cp->weights);
    fdit_free(cp->table);
    fdit_free(cp);
}

/* ------------------------------------------------------------------ looking up */

const char *fdit_checkpoint_path(const struct fdit_checkpoint *cp)
{
    return fdit_weights_path(cp->weights);
}

const char *fdit_checkpoint_meta(const struct fdit_checkpoint *cp, const char *key)
{
    return fdit_weights_meta(cp->weights, key);
}

const struct fdit_adapter *fdit_checkpoint_adapter(const struct fdit_checkpoint *cp)
{
    return &cp->adapter;
}

bool fdit_checkpoint_text(const struct fdit_checkpoint *cp, const char *name, char *out, size_t size)
{
    return fdit_weights_text(cp->weights, name, out, size);
}

size_t fdit_checkpoint_tensors(const struct fdit_checkpoint *cp)
{
    return fdit_weights_count(cp->weights);
}

const struct fdit_st_tensor *fdit_checkpoint_at(const struct fdit_checkpoint *cp, size_t i)
{
    return fdit_weights_at(cp->weights, i);
}

void fdit_checkpoint_drop(const struct fdit_checkpoint *cp, const struct fdit_st_tensor *t)
{
    if (t != cp->replaced) /* its memory is not the file's */
        fdit_weights_drop(cp->weights, t);
}

enum fdit_status fdit_checkpoint_replace_table(fdit_context *ctx, struct fdit_checkpoint *cp, float *table,
                                               int32_t rows, int width)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *parts[FDIT_PARTS];
    fdit_free(cp->table);
    cp->table = table;
    if (fdit_checkpoint_parts(cp, "y_embedder.embedding_table.weight", parts) != 1 || parts[0]->rank != 2)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no class table", fdit_checkpoint_path(cp));
    cp->replaced = parts[0];
    struct fdit_st_tensor *t = (struct fdit_st_tensor *)(uintptr_t)parts[0]; /* the open file's own list */
    t->type = FDIT_ST_F32;
    t->shape[0] = rows;
    t->shape[1] = width;
    t->n = (size_t)rows * (size_t)width;
    t->bytes = t->n * sizeof *table;
    t->data = (const uint8_t *)table;
    t->stride = NULL;
    t->sum = NULL;
    fdit_st_swap(FDIT_ST_F32, t->n, (uint8_t *)table); /* tensors of files are little-endian */
out:
    return status;
}

bool fdit_checkpoint_is_peft(const struct fdit_checkpoint *cp)
{
    return cp->peft;
}

const char *fdit_checkpoint_layout(const struct fdit_checkpoint *cp)
{
    return cp->peft                           ? "PEFT adapter"
           : cp->diffusers                    ? "diffusers DiT"
           : !fdit_weights_torch(cp->weights) ? "safetensors"
           : !cp->prefix[0]                   ? "torch state_dict"
                                              : "torch checkpoint";
}

enum fdit_status fdit_checkpoint_check_kind(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                            enum fdit_values values)
{
    const char *path = fdit_checkpoint_path(cp);
    if (values == FDIT_VALUES_EMA && !cp->ema)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--weights-from ema: %s holds no averaged weights; leave it out, or give "
                         "--weights-from raw",
                         path);
    if (values == FDIT_VALUES_RAW && cp->ema)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--weights-from raw: %s holds averaged weights only; leave it out", path);
    return FDIT_OK;
}

bool fdit_checkpoint_in_weights(const struct fdit_checkpoint *cp, size_t i)
{
    const char *name = fdit_checkpoint_plain_name(cp, i);
    size_t prefix = strlen(cp->prefix);
    size_t averaged = strlen(cp->averaged); /* "ema." is beside names without a prefix too */
    if (averaged > prefix && !strncmp(name, cp->averaged, averaged))
        return false;
    return !strncmp(name, cp->prefix, prefix) && !strchr(name + prefix, '/');
}

bool fdit_checkpoint_left_out(const struct fdit_checkpoint *cp, size_t i)
{
    static const char side[] = "projectors.";
    if (cp->peft && !*fdit_checkpoint_plain_name(cp, i)) /* a copy that PEFT makes */
        return true;
    return fdit_weights_torch(cp->weights) && fdit_checkpoint_in_weights(cp, i) &&
           !strncmp(fdit_checkpoint_plain_name(cp, i) + strlen(cp->prefix), side, sizeof side - 1);
}

const char *fdit_checkpoint_prefix(const struct fdit_checkpoint *cp)
{
    return cp->prefix;
}

/* ------------------------------------------------------------------ what belongs to a model */

/* A copy of an embedder in a later block of diffusers must be that of the first: our model has one.
 */
static enum fdit_status check_copy(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                   const struct fdit_st_tensor *t, const char *own, bool *is_copy)
{
    int block = 0, used = 0;
    char name[MOST_TENSOR_NAME];
    *is_copy = false;
    if (!cp->diffusers || sscanf(own, "transformer_blocks.%9d.norm1.emb.%n", &block, &used) != 1 || !used ||
        block == 0)
        return FDIT_OK;
    int n = snprintf(name, sizeof name, diffusers_embedding, 0);
    snprintf(name + n, sizeof name - (size_t)n, "%s", own + used);
    const struct fdit_st_tensor *first = find(cp, cp->prefix, name);
    *is_copy = first != NULL;
    enum fdit_status status = fdit_st_check_sum(ctx, fdit_checkpoint_path(cp), t);
    if (status != FDIT_OK)
        return status;
    if (!first || (first->type == t->type && first->bytes == t->bytes && !first->stride && !t->stride &&
                   !memcmp(first->data, t->data, t->bytes)))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "%s: %.200s differs from that of block 0: a DiT has one embedder of time and class "
                     "for all blocks",
                     fdit_checkpoint_path(cp), t->name);
}

enum fdit_status fdit_checkpoint_check(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                       const struct fdit_params *params, int depth, int *extra)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *parts[FDIT_PARTS], *base;
    size_t n = fdit_checkpoint_tensors(cp), prefix = strlen(cp->prefix);
    bool *used = NULL, copy;
    bool state =
        !fdit_weights_torch(cp->weights) && prefix; /* a training checkpoint of ours: other sets beside */
    *extra = 0;
    if (n == 0)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, n, sizeof *used, &used));
    base = fdit_checkpoint_at(cp, 0);
    for (int i = 0; i < params->n; i++)
        for (int k = fdit_checkpoint_parts(cp, params->list[i].name, parts); k-- > 0;)
            used[parts[k] - base] = true;
    for (size_t i = 0; i < n; i++) {
        const struct fdit_st_tensor *t = base + i;
        if (used[i] || !fdit_checkpoint_in_weights(cp, i) || fdit_checkpoint_left_out(cp, i))
            continue;
        if (fdit_param_of_class_map(fdit_checkpoint_plain_name(cp, i) +
                                    prefix)) /* its rows are in the table */
            continue;
        TRY(check_copy(ctx, cp, t, fdit_checkpoint_plain_name(cp, i) + prefix, &copy));
        if (!copy && !state)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %.200s has no place in a DiT of depth %d; the file belongs to another model",
                 fdit_checkpoint_path(cp), t->name, depth);
        *extra += !copy;
    }
out:
    fdit_free(used);
    return status;
}
