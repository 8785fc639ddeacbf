/* SPDX-License-Identifier: Apache-2.0 */
#include "vae/config.h"

#include "format/json.h"

#include <math.h>
#include <string.h>

struct fdit_vae_config fdit_vae_config_usual(void)
{
    return (struct fdit_vae_config){ .in_channels = 3,
                                     .out_channels = 3,
                                     .latent_channels = 4,
                                     .levels = 4,
                                     .channels = { 128, 256, 512, 512 },
                                     .layers = 2,
                                     .groups = 32,
                                     .attention = true,
                                     .quant = true,
                                     .post_quant = true,
                                     .scale = 0.18215 };
}

bool fdit_vae_scale_good(double scale)
{
    return scale >= 1e-4 && scale <= 1e4;
}

enum fdit_status fdit_vae_config_check(fdit_context *ctx, const char *name, const struct fdit_vae_config *c)
{
    const struct {
        const char *key;
        int value, most;
    } sizes[] = {
        { "in_channels", c->in_channels, 64 },
        { "out_channels", c->out_channels, 64 },
        { "latent_channels", c->latent_channels, 256 },
        { "block_out_channels: levels", c->levels, FDIT_VAE_LEVELS },
        { "layers_per_block", c->layers, 16 },
        { "norm_num_groups", c->groups, 4096 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %s is %d, it must be 1 to %d", name, sizes[i].key,
                             sizes[i].value, sizes[i].most);
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] < 1 || c->channels[i] > 65536 || c->channels[i] % c->groups)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: block_out_channels has %d; it must be 1 to 65536 and a multiple of "
                             "norm_num_groups, %d",
                             name, c->channels[i], c->groups);
    if (!fdit_vae_scale_good(c->scale) || !(fabs(c->shift) <= 1e4))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: scaling_factor %g, shift_factor %g: a scale lies from 1e-4 to 1e4 "
                         "and a shift from -1e4 "
                         "to 1e4, so that latents have a size of about 1",
                         name, c->scale, c->shift);
    return FDIT_OK;
}

static enum fdit_status get_real(fdit_context *ctx, const char *name, const json_t *root, const char *key,
                                 double *out)
{
    const json_t *item = json_object_get(root, key);
    if (!item || json_is_null(item))
        return FDIT_OK;
    if (!json_is_number(item))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %s is not a number", name, key);
    *out = json_number_value(item);
    return FDIT_OK;
}

static enum fdit_status get_bool(fdit_context *ctx, const char *name, const json_t *root, const char *key,
                                 bool *out)
{
    const json_t *item = json_object_get(root, key);
    if (!item || json_is_null(item))
        return FDIT_OK;
    if (!json_is_boolean(item))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %s is neither true nor false", name, key);
    *out = json_is_true(item);
    return FDIT_OK;
}

/* An array of nothing but `wanted`, as long as there are levels; absent is right. */
static enum fdit_status only_blocks(fdit_context *ctx, const char *name, const json_t *root, const char *key,
                                    const char *wanted, int levels)
{
    const json_t *list = json_object_get(root, key);
    size_t i;
    json_t *item;
    if (!list || json_is_null(list))
        return FDIT_OK;
    if (!json_is_array(list) || json_array_size(list) != (size_t)levels)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: %s must have %d entries, one a level", name, key,
                         levels);
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        if (!text || strcmp(text, wanted) != 0)
            return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED, "%s: %s has '%.40s'; only %s is supported", name,
                             key, text ? text : "?", wanted);
    }
    return FDIT_OK;
}

static enum fdit_status read_levels(fdit_context *ctx, const char *name, const json_t *root,
                                    struct fdit_vae_config *c)
{
    const json_t *list = json_object_get(root, "block_out_channels");
    size_t i;
    json_t *item;
    if (!json_is_array(list) || json_array_size(list) < 1 || json_array_size(list) > FDIT_VAE_LEVELS)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: block_out_channels must be a list of 1 to %d numbers; is it the config.json "
                         "of an AutoencoderKL?",
                         name, FDIT_VAE_LEVELS);
    c->levels = (int)json_array_size(list);
    json_array_foreach(list, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 1 || json_integer_value(item) > 65536)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s: block_out_channels: entry %zu is not a number from 1 to 65536", name, i);
        c->channels[i] = (int)json_integer_value(item);
    }
    return FDIT_OK;
}

enum fdit_status fdit_vae_config_from_json(fdit_context *ctx, const char *name, const char *text, size_t n,
                                           struct fdit_vae_config *out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    struct fdit_vae_config c = fdit_vae_config_usual();
    c.layers = 1;
    TRY(fdit_json_parse(ctx, name, text, n, 16, &root));
    if (!json_is_object(root))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: holds no JSON object", name);
    const char *kind = json_string_value(json_object_get(root, "_class_name"));
    if (kind && strcmp(kind, "AutoencoderKL") != 0)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: a %.40s; only AutoencoderKL is supported", name, kind);
    const char *act = json_string_value(json_object_get(root, "act_fn"));
    if (act && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED, "%s: act_fn '%.40s'; only silu is supported", name, act);
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "latents_std" : "latents_mean";
        const json_t *item = json_object_get(root, key);
        if (item && !json_is_null(item))
            FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
                 "%s: %s is not supported, only scaling_factor and "
                 "shift_factor are",
                 name, key);
    }
    TRY(read_levels(ctx, name, root, &c));
    TRY(only_blocks(ctx, name, root, "down_block_types", "DownEncoderBlock2D", c.levels));
    TRY(only_blocks(ctx, name, root, "up_block_types", "UpDecoderBlock2D", c.levels));
    TRY(fdit_json_get_int(ctx, name, root, "in_channels", 1 << 20, &c.in_channels));
    TRY(fdit_json_get_int(ctx, name, root, "out_channels", 1 << 20, &c.out_channels));
    TRY(fdit_json_get_int(ctx, name, root, "latent_channels", 1 << 20, &c.latent_channels));
    TRY(fdit_json_get_int(ctx, name, root, "layers_per_block", 1 << 20, &c.layers));
    TRY(fdit_json_get_int(ctx, name, root, "norm_num_groups", 1 << 20, &c.groups));
    TRY(get_bool(ctx, name, root, "mid_block_add_attention", &c.attention));
    TRY(get_bool(ctx, name, root, "use_quant_conv", &c.quant));
    TRY(get_bool(ctx, name, root, "use_post_quant_conv", &c.post_quant));
    TRY(get_real(ctx, name, root, "scaling_factor", &c.scale));
    TRY(get_real(ctx, name, root, "shift_factor", &c.shift));
    TRY(fdit_vae_config_check(ctx, name, &c));
    *out = c;
out:
    json_decref(root);
    return status;
}
