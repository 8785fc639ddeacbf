/* SPDX-License-Identifier: Apache-2.0 */
#include "vae/file.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

enum { MOST_NAME = 256 };

/* ------------------------------------------------------------------ names */

/* Ends of names within a block: diffusers', the first ones. */
static const char *const in_blocks[][2] = {
    { "conv_shortcut.", "nin_shortcut." },
    { "group_norm.", "norm." },
    { "to_q.", "q." },
    { "to_k.", "k." },
    { "to_v.", "v." },
    { "to_out.0.", "proj_out." },
};

static void rename_end(const char *end, char *out, size_t size)
{
    for (size_t i = 0; i < sizeof in_blocks / sizeof *in_blocks; i++) {
        size_t n = strlen(in_blocks[i][0]);
        if (!strncmp(end, in_blocks[i][0], n)) {
            snprintf(out, size, "%s%s", in_blocks[i][1], end + n);
            return;
        }
    }
    snprintf(out, size, "%s", end);
}

/* The first name of a tensor that diffusers calls `name`. */
static void original_name(const struct fdit_vae_file *f, const char *name, char *out, size_t size)
{
    char way[8], end[128];
    int level, block, used = 0;
    if (sscanf(name, "%7[a-z].mid_block.resnets.%d.%n", way, &block, &used) == 2 && used) {
        rename_end(name + used, end, sizeof end);
        snprintf(out, size, "%s.mid.block_%d.%s", way, block + 1, end);
        return;
    }
    used = 0;
    if (sscanf(name, "%7[a-z].mid_block.attentions.%d.%n", way, &block, &used) == 2 && used) {
        rename_end(name + used, end, sizeof end);
        snprintf(out, size, "%s.mid.attn_%d.%s", way, block + 1, end);
        return;
    }
    for (int up = 0; up < 2; up++) {
        const char *blocks = up ? "up" : "down";
        char pattern[64];
        snprintf(pattern, sizeof pattern, "%%7[a-z].%s_blocks.%%d.resnets.%%d.%%n", blocks);
        used = 0;
        if (sscanf(name, pattern, way, &level, &block, &used) == 3 && used) {
            rename_end(name + used, end, sizeof end);
            snprintf(out, size, "%s.%s.%d.block.%d.%s", way, blocks, up ? f->levels - 1 - level : level,
                     block, end);
            return;
        }
        snprintf(pattern, sizeof pattern, "%%7[a-z].%s_blocks.%%d.%ssamplers.0.%%n", blocks, blocks);
        used = 0;
        if (sscanf(name, pattern, way, &level, &used) == 2 && used) {
            snprintf(out, size, "%s.%s.%d.%ssample.%s", way, blocks, up ? f->levels - 1 - level : level,
                     blocks, name + used);
            return;
        }
    }
    used = 0;
    if (sscanf(name, "%7[a-z].conv_norm_out.%n", way, &used) == 1 && used)
        snprintf(out, size, "%s.norm_out.%s", way, name + used);
    else
        snprintf(out, size, "%s", name);
}

const struct fdit_st_tensor *fdit_vae_file_tensor(const struct fdit_vae_file *f, const char *name)
{
    char own[MOST_NAME], full[MOST_NAME + sizeof f->prefix];
    if (f->original)
        original_name(f, name, own, sizeof own);
    else
        snprintf(own, sizeof own, "%s", name);
    snprintf(full, sizeof full, "%s%s", f->prefix, own);
    return fdit_weights_find(f->weights, full);
}

bool fdit_vae_file_owns(const struct fdit_vae_file *f, size_t i)
{
    static const char *const parts[] = { "encoder.", "decoder.", "quant_conv.", "post_quant_conv." };
    const char *name = fdit_weights_at(f->weights, i)->name;
    size_t n = strlen(f->prefix);
    if (strncmp(name, f->prefix, n))
        return false;
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        if (!strncmp(name + n, parts[k], strlen(parts[k])))
            return true;
    return false;
}

/* ------------------------------------------------------------------ opening */

static bool has(const struct fdit_vae_file *f, const char *name)
{
    char full[MOST_NAME + sizeof f->prefix];
    snprintf(full, sizeof full, "%s%s", f->prefix, name);
    return fdit_weights_find(f->weights, full) != NULL;
}

bool fdit_vae_file_find(struct fdit_vae_file *f)
{
    static const char first[] = "encoder.conv_in.weight";
    char name[64];
    for (size_t i = 0; i < fdit_weights_count(f->weights); i++) {
        const char *full = fdit_weights_at(f->weights, i)->name;
        size_t n = strlen(full), before = n - strlen(first);
        if (n < strlen(first) || strcmp(full + before, first) || before >= sizeof f->prefix ||
            (before && full[before - 1] != '.' && full[before - 1] != '/'))
            continue;
        memcpy(f->prefix, full, before);
        f->prefix[before] = 0;
        f->original = has(f, "encoder.mid.block_1.conv1.weight");
        if (!has(f, "decoder.conv_in.weight") ||
            !(f->original || has(f, "encoder.mid_block.resnets.0.conv1.weight")))
            continue;
        for (f->levels = 0; f->levels < FDIT_VAE_LEVELS; f->levels++) {
            snprintf(name, sizeof name,
                     f->original ? "encoder.down.%d.block.0.conv1.weight"
                                 : "encoder.down_blocks.%d.resnets.0.conv1.weight",
                     f->levels);
            if (!has(f, name))
                break;
        }
        return true;
    }
    return false;
}

enum fdit_status fdit_vae_file_open(fdit_context *ctx, const char *path, struct fdit_vae_file *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_vae_file f = { 0 };
    *out = f;
    TRY(fdit_weights_open(ctx, path, "vae", &f.weights));
    if (!fdit_vae_file_find(&f))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: holds no AutoencoderKL (under the names of diffusers or those of its first "
             "code); give the folder or "
             "the file of an autoencoder",
             fdit_weights_path(f.weights));
    *out = f;
    f.weights = NULL;
out:
    fdit_vae_file_close(&f);
    return status;
}

void fdit_vae_file_close(struct fdit_vae_file *f)
{
    fdit_weights_close(f->weights);
    f->weights = NULL;
}

const char *fdit_vae_file_path(const struct fdit_vae_file *f)
{
    return f->weights ? fdit_weights_path(f->weights) : "";
}

/* ------------------------------------------------------------------ sizes */

/* Dimension i of a tensor's shape, 0 when there is none. */
static int dimension(const struct fdit_vae_file *f, const char *name, int i)
{
    const struct fdit_st_tensor *t = fdit_vae_file_tensor(f, name);
    return t && i < t->rank && t->shape[i] <= 1 << 20 ? (int)t->shape[i] : 0;
}

enum fdit_status fdit_vae_file_config(fdit_context *ctx, const struct fdit_vae_file *f,
                                      struct fdit_vae_config *c)
{
    char name[64];
    *c = fdit_vae_config_usual();
    c->in_channels = dimension(f, "encoder.conv_in.weight", 1);
    c->out_channels = dimension(f, "decoder.conv_out.weight", 0);
    c->latent_channels = dimension(f, "decoder.conv_in.weight", 1);
    c->attention = fdit_vae_file_tensor(f, "encoder.mid_block.attentions.0.group_norm.weight") != NULL;
    c->quant = fdit_vae_file_tensor(f, "quant_conv.weight") != NULL;
    c->post_quant = fdit_vae_file_tensor(f, "post_quant_conv.weight") != NULL;
    c->levels = f->levels;
    for (int i = 0; i < c->levels; i++) {
        snprintf(name, sizeof name, "encoder.down_blocks.%d.resnets.0.conv1.weight", i);
        c->channels[i] = dimension(f, name, 0);
    }
    for (c->layers = 0; c->layers < 16; c->layers++) {
        snprintf(name, sizeof name, "encoder.down_blocks.0.resnets.%d.conv1.weight", c->layers);
        if (!fdit_vae_file_tensor(f, name))
            break;
    }
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] % c->groups)
            return fdit_fail(
                ctx, FDIT_ERROR_FORMAT,
                "%s: an autoencoder whose number of groups its tensors do not say, and the usual %d does not "
                "divide its %d channels; put its config.json (with norm_num_groups) beside it",
                fdit_vae_file_path(f), c->groups, c->channels[i]);
    return fdit_vae_config_check(ctx, fdit_vae_file_path(f), c);
}
