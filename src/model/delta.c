/* SPDX-License-Identifier: Apache-2.0 */
#include "model/delta.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static enum fdit_status put_meta(fdit_context *ctx, struct fdit_st_writer *w,
                                 const struct fdit_model *m, const struct fdit_delta_meta *meta)
{
    enum fdit_status status = FDIT_OK;
    char *model = NULL;
    TRY(fdit_config_to_json(ctx, &m->config, &model));
    const struct {
        const char *key, *value;
    } entries[] = {
        { "format", FDIT_DELTA_FORMAT }, { "version", FDIT_FILE_VERSION }, { "model", model },
        { "taxonomy", meta->taxonomy },  { "guide", meta->guide },          { "flip", meta->flip },
        { "train", meta->train },        { "base", meta->fingerprint },
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].value)
            TRY(fdit_st_writer_meta(ctx, w, entries[i].key, entries[i].value));
out:
    fdit_free(model);
    return status;
}

struct reader {
    fdit_device *dev;
    struct fdit_tensor t;
};

/* Gives the writer a part of a device tensor: a copy of all would double the memory. */
static enum fdit_status fill(fdit_context *ctx, void *user, size_t first, size_t n, void *out)
{
    const struct reader *r = user;
    return fdit_read(ctx, r->dev, fdit_at(r->t, first), out, n);
}

enum fdit_status fdit_delta_save(fdit_context *ctx, const struct fdit_model *m,
                                 enum fdit_values values, enum fdit_st_type type,
                                 const struct fdit_delta_meta *meta, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    struct reader *readers = NULL;
    bool whole = fdit_params_whole(&m->params);
    TRY(fdit_alloc(ctx, (size_t)m->params.n, sizeof *readers, &readers));
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, w, m, meta));
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        const struct fdit_group *g = &m->params.groups[p->group];
        fdit_buffer *buffer = !p->trained ? g->fixed : values == FDIT_VALUES_EMA ? g->ema : g->value;
        int64_t shape[4];
        if (!p->trained && !(whole && p->kind == FDIT_PARAM_POS))
            continue;
        for (int k = 0; k < p->rank; k++)
            shape[k] = p->shape[k];
        readers[i] = (struct reader){ m->dev, { buffer, p->offset, FDIT_F32 } };
        TRY(fdit_st_writer_fill(ctx, w, p->name, type, p->rank, shape, fill, &readers[i]));
    }
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    fdit_free(readers);
    return status;
}

enum fdit_status fdit_delta_check(fdit_context *ctx, const struct fdit_checkpoint *cp)
{
    const char *format = fdit_checkpoint_meta(cp, "format");
    bool state = format && !strcmp(format, "finediffusion-checkpoint"); /* holds the delta, too */
    if (!state && (!format || strcmp(format, FDIT_DELTA_FORMAT)))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: is no delta (metadata \"format\" is %s%s%s); give the delta.safetensors of a "
                         "run", fdit_checkpoint_path(cp), format ? "\"" : "", format ? format : "missing",
                         format ? "\"" : "");
    return FDIT_OK;
}
