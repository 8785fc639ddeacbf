/* SPDX-License-Identifier: Apache-2.0
 * weights.c: the tensors of an autoencoder's file as the weights of its layers. */
#include "vae/layers.h"

#include "core/mem.h"

enum fdit_status fdit_vae_layer_tensor(fdit_context *ctx, const struct fdit_vae_file *file,
                                       const struct fdit_net_layer *layer, enum fdit_net_part part,
                                       const struct fdit_st_tensor **out)
{
    enum fdit_status status = FDIT_OK;
    const char *const ending = part == FDIT_NET_BIAS ? "bias" : "weight";
    char *name = NULL;
    const struct fdit_st_tensor *t;
    TRY(fdit_strf(ctx, &name, "%s.%s", layer->name, ending));
    t = fdit_vae_file_tensor(file, name);
    if (!t && layer->alias) {
        fdit_free(name);
        name = NULL;
        TRY(fdit_strf(ctx, &name, "%s.%s", layer->alias, ending));
        t = fdit_vae_file_tensor(file, name);
    }
    if (!t)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %s.%s is missing; is it the AutoencoderKL that its config.json describes?",
             fdit_vae_file_path(file), layer->name, ending);
    int64_t shape[4] = { layer->n_out, layer->n_in, layer->kernel_y, layer->kernel_x };
    int rank = 1;
    if (part == FDIT_NET_WEIGHT && layer->kind == FDIT_NET_CONV)
        rank = layer->linear && t->rank == 2 ? 2 : 4;
    TRY(fdit_st_check_shape(ctx, fdit_vae_file_path(file), t, rank, shape));
    *out = t;
out:
    fdit_free(name);
    return status;
}

enum fdit_status fdit_vae_check_file(fdit_context *ctx, const struct fdit_net *net,
                                     const struct fdit_vae_file *file)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_st_tensor *t;
    size_t n = fdit_weights_count(file->weights);
    bool *used = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *used, &used));
    const struct fdit_st_tensor *first = fdit_weights_at(file->weights, 0);
    for (size_t i = 0; i < fdit_net_layers(net); i++)
        for (int part = FDIT_NET_WEIGHT; part <= FDIT_NET_BIAS; part++) {
            TRY(fdit_vae_layer_tensor(ctx, file, fdit_net_layer(net, i), (enum fdit_net_part)part, &t));
            used[t - first] = true;
        }
    for (size_t i = 0; i < n; i++)
        if (!used[i] && fdit_vae_file_owns(file, i))
            FAIL(
                ctx, FDIT_ERROR_FORMAT,
                "%s: tensor %.200s has no place in the AutoencoderKL that its config.json describes (levels, "
                "layers, attention or quant_conv); the two do not belong together",
                fdit_vae_file_path(file), first[i].name);
out:
    fdit_free(used);
    return status;
}

enum fdit_status fdit_vae_read_layer(fdit_context *ctx, void *user, const struct fdit_net_layer *layer,
                                     size_t i, enum fdit_net_part part, float *to)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_vae_file *file = user;
    const struct fdit_st_tensor *t;
    (void)i;
    TRY(fdit_vae_layer_tensor(ctx, file, layer, part, &t));
    TRY(fdit_st_weights(ctx, fdit_vae_file_path(file), t, 0, t->n, to));
    if (part == FDIT_NET_WEIGHT && layer->kind == FDIT_NET_CONV)
        fdit_weights_drop(file->weights, t);
out:
    return status;
}
