/* SPDX-License-Identifier: Apache-2.0 */
#include "model/convert.h"

#include "core/mem.h"
#include "model/delta.h"

#include <string.h>
#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The delta must have been made from this input. */
static enum fdit_status check_base(fdit_context *ctx, const struct fdit_convert_options *o,
                                   struct fdit_checkpoint *in, struct fdit_checkpoint *delta,
                                   const struct fdit_model_config *config)
{
    enum fdit_status status = FDIT_OK;
    char *got = NULL;
    const char *wanted = fdit_checkpoint_meta(delta, "base");
    if (!wanted || o->force)
        return FDIT_OK;
    /* every parameter counts: those that the delta trains are not in its fingerprint */
    TRY(fdit_checkpoint_fingerprint(ctx, in, config, NULL, &got));
    TRY(fdit_fingerprint_compare(ctx, wanted, got, o->delta, o->in));
out:
    fdit_free(got);
    return status;
}

static enum fdit_status put_meta(fdit_context *ctx, struct fdit_st_writer *w,
                                 const struct fdit_model_config *config,
                                 const struct fdit_checkpoint *from)
{
    enum fdit_status status = FDIT_OK;
    static const char *const copied[] = { "taxonomy", "guide", "flip", "train" };
    char *model = NULL;
    TRY(fdit_config_to_json(ctx, config, &model));
    TRY(fdit_st_writer_meta(ctx, w, "format", "finediffusion-model"));
    TRY(fdit_st_writer_meta(ctx, w, "version", "1"));
    TRY(fdit_st_writer_meta(ctx, w, "model", model));
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        const char *value = fdit_checkpoint_meta(from, copied[i]);
        if (value)
            TRY(fdit_st_writer_meta(ctx, w, copied[i], value));
    }
out:
    fdit_free(model);
    return status;
}

/* One parameter from the delta, else the input, else the LayerNorm a stock DiT leaves out. */
static enum fdit_status read_param(fdit_context *ctx, const struct fdit_param *p,
                                   struct fdit_checkpoint *in, struct fdit_checkpoint *delta,
                                   float *data, struct fdit_convert_report *report)
{
    if (delta && fdit_checkpoint_has(delta, p->name)) {
        report->from_delta++;
        return fdit_checkpoint_read(ctx, delta, p, data);
    }
    if (p->kind == FDIT_PARAM_NORM && !fdit_checkpoint_has(in, p->name)) {
        for (size_t i = 0; i < p->count; i++)
            data[i] = strstr(p->name, ".weight") ? 1.0f : 0.0f;
        report->norms_added++;
        return FDIT_OK;
    }
    return fdit_checkpoint_read(ctx, in, p, data);
}

enum fdit_status fdit_convert(fdit_context *ctx, const struct fdit_convert_options *o,
                              struct fdit_convert_report *report)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_checkpoint *in = NULL, *delta = NULL;
    struct fdit_model_config config;
    struct fdit_params params = { 0 };
    struct fdit_st_writer *w = NULL;
    float **data = NULL;
    *report = (struct fdit_convert_report){ 0 };
    if (same_file(o->in, o->out) || same_file(o->delta, o->out))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s is an input; write to another file", o->out);
    TRY(fdit_checkpoint_open(ctx, o->in, o->values, &in));
    TRY(fdit_checkpoint_config(ctx, in, o->model, &config));
    if (o->delta) {
        TRY(fdit_checkpoint_open(ctx, o->delta, o->values, &delta));
        TRY(fdit_delta_check(ctx, delta));
        TRY(check_base(ctx, o, in, delta, &config));
        int64_t rows = fdit_checkpoint_dim(delta, "y_embedder.embedding_table.weight", 0);
        if (rows > 0)
            config.rows = (int)rows;
    }
    TRY(fdit_params_init(ctx, &config, NULL, &params));
    TRY(fdit_alloc(ctx, (size_t)params.n, sizeof *data, &data));
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, w, &config, delta ? delta : in));
    for (int pass = 0; pass < 2; pass++) /* the wider type first keeps every tensor aligned */
        for (int i = 0; i < params.n; i++) {
            const struct fdit_param *p = &params.list[i];
            int64_t shape[4];
            if ((p->kind == FDIT_PARAM_POS) != (pass == 0))
                continue;
            for (int k = 0; k < p->rank; k++)
                shape[k] = p->shape[k];
            TRY(fdit_alloc(ctx, p->count, sizeof **data, &data[i]));
            TRY(read_param(ctx, p, in, delta, data[i], report));
            TRY(fdit_st_writer_f32(ctx, w, p->name, pass == 0 ? FDIT_ST_F32 : o->type, p->rank, shape,
                                   data[i]));
            report->tensors++;
        }
    report->bytes = fdit_st_writer_bytes(w);
    TRY(fdit_st_writer_save(ctx, w, o->out));
out:
    fdit_st_writer_free(w);
    for (int i = 0; data && i < params.n; i++)
        fdit_free(data[i]);
    fdit_free(data);
    fdit_params_fini(&params);
    fdit_checkpoint_close(delta);
    fdit_checkpoint_close(in);
    return status;
}
