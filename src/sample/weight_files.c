/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/weight_files.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

static const char table_name[] = "y_embedder.embedding_table.weight";

/* The sizes a delta says it is for; all 0 when it says nothing. */
static enum fdit_status sizes_of_delta(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                       struct fdit_model_config *c)
{
    const char *meta = fdit_checkpoint_meta(delta, "model");
    *c = (struct fdit_model_config){ 0 };
    return meta ? fdit_config_from_json(ctx, fdit_checkpoint_path(delta), meta, strlen(meta), c) : FDIT_OK;
}

static enum fdit_status check_sizes(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                    const struct fdit_model_config *d, const struct fdit_checkpoint *base,
                                    const struct fdit_model_config *b)
{
    const struct {
        const char *what;
        int delta, base;
    } sizes[] = { { "width", d->width, b->width },          { "depth", d->depth, b->depth },
                  { "heads", d->heads, b->heads },          { "patch", d->patch, b->patch },
                  { "channels", d->channels, b->channels }, { "input size", d->input_size, b->input_size } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].delta && sizes[i].delta != sizes[i].base)
            return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                             "%s is for a model of %s %d, %s has %s %d; give the base that it was made from",
                             fdit_checkpoint_path(delta), sizes[i].what, sizes[i].delta,
                             fdit_checkpoint_path(base), sizes[i].what, sizes[i].base);
    if (d->width && d->objective != b->objective)
        return fdit_fail(
            ctx, FDIT_ERROR_FORMAT,
            "%s was trained with the objective %s, %s with %s; give the base that it was made from",
            fdit_checkpoint_path(delta), fdit_objective_at(d->objective)->name, fdit_checkpoint_path(base),
            fdit_objective_at(b->objective)->name);
    return FDIT_OK;
}

enum fdit_status fdit_weight_files_sizes(fdit_context *ctx, struct fdit_checkpoint *base,
                                         const struct fdit_checkpoint *delta, const char *model_text,
                                         struct fdit_model_config *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config said = { 0 };
    char text[96];
    if (delta)
        TRY(sizes_of_delta(ctx, delta, &said));
    if (said.width && !fdit_checkpoint_asked(base))
        fdit_checkpoint_ask_objective(base, fdit_objective_at(said.objective), false);
    if (!model_text && said.heads && !fdit_checkpoint_meta(base, "model")) {
        snprintf(text, sizeof text, "%d,%d,%d,%d", said.width, said.depth, said.heads, said.patch);
        int64_t width = fdit_checkpoint_dim(base, "x_embedder.proj.weight", 0);
        if (width == said.width && !fdit_config_usual_heads(said.width, said.depth))
            model_text = text;
    }
    TRY(fdit_checkpoint_config(ctx, base, model_text, out));
    if (out->kind == FDIT_MODEL_CLASSIFIER)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--base %s is a classifier; give a diffusion model",
             fdit_checkpoint_path(base));
    if (delta)
        TRY(check_sizes(ctx, delta, &said, base, out));
out:
    return status;
}

enum fdit_status fdit_weight_files_match(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                         const struct fdit_checkpoint *base,
                                         const struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config said;
    TRY(sizes_of_delta(ctx, delta, &said));
    TRY(check_sizes(ctx, delta, &said, base, config));
out:
    return status;
}

enum fdit_status fdit_weight_files_join(fdit_context *ctx, struct fdit_checkpoint *delta,
                                        struct fdit_checkpoint *base, struct fdit_weight_files *f)
{
    f->n = 0;
    if (delta)
        f->list[f->n++] = delta;
    f->list[f->n++] = base;
    int64_t rows = fdit_checkpoint_dim(f->list[0], table_name, 0);
    if (rows < 1 && delta)
        rows = fdit_checkpoint_dim(base, table_name, 0);
    if (rows < 1 || rows > INT32_MAX)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: has no class table", fdit_checkpoint_path(f->list[0]));
    f->config.table_rows = (int)rows;
    f->config.adapter = *fdit_checkpoint_adapter(f->list[0]);
    f->config.guidance_input = false;
    for (int i = 0; i < f->n; i++)
        f->config.guidance_input |= fdit_checkpoint_has(f->list[i], FDIT_PARAM_GUIDANCE);
    return FDIT_OK;
}

enum fdit_status fdit_weight_files_check_base(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                              struct fdit_checkpoint *base,
                                              const struct fdit_model_config *config, bool force,
                                              char **fingerprint)
{
    enum fdit_status status = FDIT_OK;
    const char *wanted = fdit_checkpoint_meta(delta, "base");
    if (!wanted)
        return FDIT_OK;
    if (!*fingerprint)
        TRY(fdit_checkpoint_fingerprint(ctx, base, config, NULL, fingerprint));
    status = fdit_fingerprint_compare(ctx, wanted, *fingerprint, fdit_checkpoint_path(delta),
                                      fdit_checkpoint_path(base));
    if (status == FDIT_ERROR_FORMAT && force) {
        fdit_log(ctx, FDIT_LOG_WARNING, "--force: %s", fdit_context_message(ctx));
        status = FDIT_OK;
    }
out:
    return status;
}

/* Four lanes, so that it runs at the speed of memory; the words are the floats' bits. */
static uint64_t hash_floats(uint64_t hash, const float *x, size_t n)
{
    uint64_t lane[4] = { hash, hash + 1, hash + 2, hash + 3 };
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        uint64_t h = (lane[i % 4] ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        lane[i % 4] = h ^ (h >> 32);
    }
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ lane[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return hash;
}

enum fdit_status fdit_weight_files_hash(fdit_context *ctx, const struct fdit_weight_files *files,
                                        uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { 0 };
    float *data = NULL;
    uint64_t hash = 0;
    TRY(fdit_params_init(ctx, &files->config, NULL, &params));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        int from = 0;
        while (from < files->n && !fdit_checkpoint_has(files->list[from], p->name))
            from++;
        hash++;
        if (from == files->n) /* a stock DiT's norms; fdit_model_load refuses anything else */
            continue;
        fdit_free(data);
        TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
        TRY(fdit_checkpoint_read(ctx, files->list[from], p, data));
        hash = hash_floats(hash, data, p->count);
    }
    *out = hash;
out:
    fdit_free(data);
    fdit_params_fini(&params);
    return status;
}
