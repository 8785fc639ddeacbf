/* SPDX-License-Identifier: Apache-2.0
 * Which file a path means, what its tensors are called, and where the weights are in it. */
#include "model/checkpoint_file.h"

#include "core/file.h"
#include "core/mem.h"

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
    { "y_embedder.embedding_table.",
      { "transformer_blocks.0.norm1.emb.class_embedder.embedding_table." } },
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
    if (sscanf(param, "blocks.%d.%n", &block, &used) != 1 || !used)
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
    return cp->st ? fdit_safetensors_find(cp->st, full) : fdit_pt_find(cp->pt, full);
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

/* ------------------------------------------------------------------ where the weights are */

/* Whether there are weights behind the prefix; says whose names they have. */
static bool probe(struct fdit_checkpoint *cp, const char *outer, const char *inner)
{
    static const char *const public_names[] = { "x_embedder.proj.weight", "x_embedder.proj.bias",
                                                "y_embedder.embedding_table.weight",
                                                "blocks.0.mlp.fc1.weight" };
    char prefix[FDIT_MOST_PREFIX];
    snprintf(prefix, sizeof prefix, "%s%s", outer, inner);
    bool found = false;
    for (size_t i = 0; !found && i < sizeof public_names / sizeof *public_names; i++)
        found = find(cp, prefix, public_names[i]) != NULL;
    cp->diffusers = !found && find(cp, prefix, "pos_embed.proj.weight") &&
                    find(cp, prefix, "transformer_blocks.0.norm1.linear.weight");
    if (found || cp->diffusers)
        memcpy(cp->prefix, prefix, sizeof prefix);
    return found || cp->diffusers;
}

/* Below a key of a dictionary, with the marks that wrappers of a model leave in names. */
static bool probe_below(struct fdit_checkpoint *cp, const char *outer)
{
    static const char *const inner[] = { "", "module.", "_orig_mod.", "model." };
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        if (probe(cp, outer, inner[i]))
            return true;
    return false;
}

static enum fdit_status find_weights(fdit_context *ctx, struct fdit_checkpoint *cp,
                                     enum fdit_values values)
{
    static const char *const ema[] = { "ema/", "model_ema/", "ema_state_dict/" };
    static const char *const raw[] = { "model/", "state_dict/", "model_state_dict/", "" };
    const char *format = fdit_checkpoint_meta(cp, "format");
    if (format && !strcmp(format, "finediffusion-checkpoint")) {
        snprintf(cp->prefix, sizeof cp->prefix, "%s", values == FDIT_VALUES_EMA ? "ema." : "raw.");
        return FDIT_OK;
    }
    for (size_t i = 0; values == FDIT_VALUES_EMA && i < sizeof ema / sizeof *ema; i++)
        if (probe_below(cp, ema[i]))
            return FDIT_OK;
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++)
        if (probe_below(cp, raw[i]))
            return FDIT_OK;
    for (size_t i = 0; i < sizeof ema / sizeof *ema; i++)
        if (probe_below(cp, ema[i]))
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "%s: holds EMA weights only; leave out --weights-from raw",
                             fdit_checkpoint_path(cp));
    cp->prefix[0] = 0; /* what is missing is said when it is asked for */
    return FDIT_OK;
}

/* ------------------------------------------------------------------ which file */

/* Inside a folder, in this order. */
static const char *const in_folders[] = {
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
};

/* The file of weights that a folder means: its own, or that of the folder "transformer" in it. */
static enum fdit_status resolve(fdit_context *ctx, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *file = NULL;
    *out = NULL;
    if (!fdit_is_folder(path))
        return fdit_strdup(ctx, path, out);
    for (int below = 0; below < 2; below++)
        for (size_t i = 0; i < sizeof in_folders / sizeof *in_folders; i++) {
            fdit_free(file);
            file = NULL;
            TRY(fdit_strf(ctx, &file, "%s/%s%s", path, below ? "transformer/" : "", in_folders[i]));
            if (fdit_is_file(file)) {
                *out = file;
                return FDIT_OK;
            }
        }
    FAIL(
        ctx, FDIT_ERROR_FORMAT,
        "%s: is a folder without %s, %s or a folder transformer with one of them; give the file of "
        "weights",
        path, in_folders[0], in_folders[2]);
out:
    fdit_free(file);
    return status;
}

/* By the content: a torch file whatever its name. */
static enum fdit_status open_file(fdit_context *ctx, const char *path, struct fdit_checkpoint *cp)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_file_map map = { 0 };
    static const char *const suffixes[] = { ".pt", ".pth", ".bin", ".ckpt" };
    bool torch = false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        torch = torch || fdit_path_has_suffix(path, suffixes[i]);
    if (!torch && !fdit_path_has_suffix(path, ".json")) {
        TRY(fdit_file_map(ctx, path, &map));
        torch = fdit_pt_is(map.data, map.size) &&
                (map.data[0] == 'P' || map.size < 9 || map.data[8] != '{');
    }
    if (torch)
        TRY(fdit_pt_open(ctx, path, &cp->pt));
    else
        TRY(fdit_safetensors_open(ctx, path, &cp->st));
out:
    fdit_file_unmap(&map);
    return status;
}

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

enum fdit_status fdit_checkpoint_open(fdit_context *ctx, const char *path, enum fdit_values values,
                                      struct fdit_checkpoint **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *cp = NULL;
    char *file = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *cp, &cp));
    TRY(resolve(ctx, path, &file));
    TRY(open_file(ctx, file, cp));
    TRY(fdit_file_version_check(ctx, file, fdit_checkpoint_meta(cp, "format"),
                                fdit_checkpoint_meta(cp, "version")));
    TRY(find_weights(ctx, cp, values));
    *out = cp;
    cp = NULL;
out:
    fdit_free(file);
    fdit_checkpoint_close(cp);
    return status;
}

void fdit_checkpoint_close(struct fdit_checkpoint *cp)
{
    if (!cp)
        return;
    fdit_safetensors_close(cp->st);
    fdit_pt_close(cp->pt);
    fdit_free(cp);
}

/* ------------------------------------------------------------------ looking up */

const char *fdit_checkpoint_path(const struct fdit_checkpoint *cp)
{
    return cp->st ? fdit_safetensors_path(cp->st) : cp->pt ? fdit_pt_path(cp->pt) : "";
}

const char *fdit_checkpoint_meta(const struct fdit_checkpoint *cp, const char *key)
{
    return cp->st ? fdit_safetensors_meta(cp->st, key) : NULL;
}

bool fdit_checkpoint_text(const struct fdit_checkpoint *cp, const char *name, char *out,
                          size_t size)
{
    return cp->pt && fdit_pt_text(cp->pt, name, out, size);
}

size_t fdit_checkpoint_tensors(const struct fdit_checkpoint *cp)
{
    return cp->st ? fdit_safetensors_count(cp->st) : fdit_pt_count(cp->pt);
}

const struct fdit_st_tensor *fdit_checkpoint_at(const struct fdit_checkpoint *cp, size_t i)
{
    return cp->st ? fdit_safetensors_at(cp->st, i) : fdit_pt_at(cp->pt, i);
}

void fdit_checkpoint_drop(const struct fdit_checkpoint *cp, const struct fdit_st_tensor *t)
{
    if (cp->st)
        fdit_safetensors_drop(cp->st, t);
    else
        fdit_pt_drop(cp->pt, t);
}

const char *fdit_checkpoint_layout(const struct fdit_checkpoint *cp)
{
    return cp->diffusers    ? "diffusers DiT"
           : !cp->pt        ? "safetensors"
           : !cp->prefix[0] ? "torch state_dict"
                            : "torch checkpoint";
}

const char *fdit_checkpoint_prefix(const struct fdit_checkpoint *cp)
{
    return cp->prefix;
}

/* ------------------------------------------------------------------ what belongs to a model */

/* A copy of an embedder in a later block of diffusers must be that of the first: our model has one.
 */
static enum fdit_status check_copy(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                   const struct fdit_st_tensor *t, bool *is_copy)
{
    int block = 0, used = 0;
    char name[MOST_TENSOR_NAME];
    const char *own = t->name + strlen(cp->prefix);
    *is_copy = false;
    if (!cp->diffusers || sscanf(own, "transformer_blocks.%d.norm1.emb.%n", &block, &used) != 1 ||
        !used || block == 0)
        return FDIT_OK;
    int n = snprintf(name, sizeof name, diffusers_embedding, 0);
    snprintf(name + n, sizeof name - (size_t)n, "%s", own + used);
    const struct fdit_st_tensor *first = find(cp, cp->prefix, name);
    *is_copy = first != NULL;
    if (!first || (first->type == t->type && first->bytes == t->bytes && !first->stride &&
                   !t->stride && !memcmp(first->data, t->data, t->bytes)))
        return FDIT_OK;
    return fdit_fail(
        ctx, FDIT_ERROR_UNSUPPORTED,
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
    bool state = cp->st && prefix; /* a training checkpoint of ours: other sets beside */
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
        if (used[i] || strncmp(t->name, cp->prefix, prefix))
            continue;
        TRY(check_copy(ctx, cp, t, &copy));
        if (!copy && !state)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %.200s has no place in a DiT of depth %d; the file belongs to "
                 "another "
                 "model",
                 fdit_checkpoint_path(cp), t->name, depth);
        *extra += !copy;
    }
out:
    fdit_free(used);
    return status;
}
