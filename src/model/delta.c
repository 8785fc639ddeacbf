/* SPDX-License-Identifier: Apache-2.0 */
#include "model/delta.h"

#include "core/mem.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum fdit_status put_meta(fdit_context *ctx, struct fdit_st_writer *w, const struct fdit_model *m,
                                 const struct fdit_delta_meta *meta)
{
    enum fdit_status status = FDIT_OK;
    char *model = NULL, steps[24];
    snprintf(steps, sizeof steps, "%" PRId64, meta->steps);
    TRY(fdit_config_to_json(ctx, &m->config, &model));
    const struct {
        const char *key, *value;
    } entries[] = {
        { "format", FDIT_DELTA_FORMAT },
        { "version", FDIT_FILE_VERSION },
        { "model", model },
        { "taxonomy", meta->taxonomy },
        { "guide", meta->guide },
        { "flip", meta->flip },
        { "train", meta->train },
        { "base", meta->fingerprint },
        { "steps", meta->steps ? steps : NULL },
        { "validation", meta->validation },
        { "average", meta->average },
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

enum fdit_status fdit_delta_save(fdit_context *ctx, struct fdit_model *m, enum fdit_values values,
                                 enum fdit_st_type type, const struct fdit_delta_meta *meta, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_st_writer *w = NULL;
    struct reader *readers = NULL;
    float *table = NULL;
    bool whole = fdit_params_whole(&m->params);
    TRY(fdit_model_gather_values(ctx, m, values));
    TRY(fdit_alloc(ctx, (size_t)m->params.n, sizeof *readers, &readers));
    TRY(fdit_st_writer_new(ctx, &w));
    TRY(put_meta(ctx, w, m, meta));
    for (int i = 0; i < m->params.n; i++) {
        const struct fdit_param *p = &m->params.list[i];
        const struct fdit_group *g = &m->params.groups[p->group];
        fdit_buffer *buffer = p->trained ? fdit_group_values(g, values) : g->fixed;
        int64_t shape[4];
        if (!p->trained && !(whole && p->kind == FDIT_PARAM_POS))
            continue;
        for (int k = 0; k < p->rank; k++)
            shape[k] = p->shape[k];
        if (p->kind == FDIT_PARAM_TABLE && m->config.class_vectors) {
            TRY(fdit_alloc(ctx, p->count, sizeof *table, &table));
            TRY(fdit_model_class_rows(ctx, m, values, 0, m->config.table_rows, table));
            TRY(fdit_st_writer_f32(ctx, w, p->name, type, p->rank, shape, table));
            continue;
        }
        readers[i] = (struct reader){ m->dev, { buffer, p->offset, FDIT_F32 } };
        TRY(fdit_st_writer_fill(ctx, w, p->name, type, p->rank, shape, fill, &readers[i]));
    }
    TRY(fdit_st_writer_save(ctx, w, path));
out:
    fdit_st_writer_free(w);
    fdit_free(readers);
    fdit_free(table);
    return status;
}

static const char table_name[] = "y_embedder.embedding_table.weight";

/* ------------------------------------------------------------------ checking */

enum fdit_status fdit_delta_config(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                   struct fdit_model_config *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config c = { 0 };
    const char *path = fdit_checkpoint_path(cp), *model = fdit_checkpoint_meta(cp, "model");
    if (!model)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: its metadata do not say of what model it is", path);
    TRY(fdit_config_from_json(ctx, path, model, strlen(model), &c));
    int64_t vectors = fdit_checkpoint_dim(cp, "y_embedder.class_map.weight", 1);
    if (vectors > 0 && vectors <= INT32_MAX)
        c.class_vectors = (int)vectors;
    c.guidance_input = c.guidance_input || fdit_checkpoint_has(cp, FDIT_PARAM_GUIDANCE);
    int64_t rows = fdit_checkpoint_dim(cp, table_name, 0);
    if (rows > 0 && rows <= INT32_MAX)
        c.table_rows = (int)rows;
    status = fdit_config_check(ctx, &c);
    if (status != FDIT_OK)
        return fdit_fail_prefix(ctx, status, path);
    *out = c;
out:
    return status;
}

enum fdit_status fdit_delta_mask(fdit_context *ctx, const struct fdit_checkpoint *cp, struct fdit_mask *out,
                                 bool *known)
{
    enum fdit_status status = FDIT_OK;
    const char *train = fdit_checkpoint_meta(cp, "train");
    json_t *root = NULL;
    *known = false;
    if (!train || !*train)
        return FDIT_OK;
    TRY(fdit_json_parse(ctx, fdit_checkpoint_path(cp), train, strlen(train), 64, &root));
    const char *tune = json_string_value(json_object_get(root, "tune"));
    *known = tune && fdit_mask_parse(NULL, tune, out) == FDIT_OK;
out:
    json_decref(root);
    return status;
}

static enum fdit_status check_tensors(fdit_context *ctx, struct fdit_checkpoint *cp,
                                      const struct fdit_model_config *c, const struct fdit_mask *mask)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { 0 };
    int extra;
    TRY(fdit_params_init(ctx, c, mask, &params));
    TRY(fdit_checkpoint_check(ctx, cp, &params, c->depth, &extra));
    for (int i = 0; i < params.n; i++) {
        const struct fdit_param *p = &params.list[i];
        bool there = fdit_checkpoint_has(cp, p->name);
        if (!there && mask && p->trained)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %s%s, which --tune %s trains, is missing; the file is not "
                 "complete, copy it again",
                 fdit_checkpoint_path(cp), fdit_checkpoint_prefix(cp), p->name, mask->name);
        if (there)
            TRY(fdit_checkpoint_check_shape(ctx, cp, p));
    }
out:
    fdit_params_fini(&params);
    return status;
}

/* Rows that a taxonomy in metadata (fdit_taxonomy_to_json) stands for; each rank names a group for
 * each class. */
static enum fdit_status count_rows(fdit_context *ctx, const char *path, const char *text, bool classes_only,
                                   int64_t *out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL, *rank;
    size_t i;
    TRY(fdit_json_parse(ctx, path, text, strlen(text), 16, &root));
    size_t classes = json_array_size(json_object_get(root, "classes"));
    *out = (int64_t)classes;
    json_array_foreach(json_object_get(root, "ranks"), i, rank)
    {
        if (json_array_size(json_object_get(rank, "of")) != classes)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: a rank of its taxonomy has groups for %zu classes, "
                 "there are %zu; the file is damaged, copy it again",
                 path, json_array_size(json_object_get(rank, "of")), classes);
        *out += classes_only ? 0 : (int64_t)json_array_size(json_object_get(rank, "groups"));
    }
out:
    json_decref(root);
    return status;
}

static enum fdit_status check_rows(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                   const struct fdit_model_config *c)
{
    enum fdit_status status = FDIT_OK;
    const char *path = fdit_checkpoint_path(cp), *text = fdit_checkpoint_meta(cp, "taxonomy"),
               *guide = fdit_checkpoint_meta(cp, "guide");
    bool classifier = c->kind == FDIT_MODEL_CLASSIFIER;
    int64_t rows = 0;
    if (!text)
        return FDIT_OK;
    TRY(count_rows(ctx, path, text, classifier, &rows));
    rows += !classifier && guide && !strcmp(guide, "empty");
    if (rows != c->table_rows)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the model has %d classes and groups, its taxonomy %" PRId64
             "; the file is damaged, copy it again",
             path, c->table_rows, rows);
out:
    return status;
}

enum fdit_status fdit_delta_check(fdit_context *ctx, struct fdit_checkpoint *cp)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config config;
    struct fdit_mask mask;
    bool known;
    const char *format = fdit_checkpoint_meta(cp, "format");
    if (fdit_checkpoint_is_peft(cp))
        FAIL(
            ctx, FDIT_ERROR_FORMAT,
            "%s: is a PEFT adapter; make a delta of it first: finediffusion convert FOLDER delta.safetensors "
            "--delta --base FILE",
            fdit_checkpoint_path(cp));
    bool state = format && !strcmp(format, "finediffusion-checkpoint"); /* holds the delta, too */
    if (!state && (!format || strcmp(format, FDIT_DELTA_FORMAT)))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is not a delta (metadata \"format\" is %s%s%s); give the delta.safetensors of a run",
             fdit_checkpoint_path(cp), format ? "\"" : "", format ? format : "missing", format ? "\"" : "");
    TRY(fdit_delta_config(ctx, cp, &config));
    if (state && config.class_vectors)
        FAIL(
            ctx, FDIT_ERROR_FORMAT,
            "%s: holds the class table and the map of its vectors apart, without the vectors; give the run's "
            "delta.safetensors, or one of its snapshots",
            fdit_checkpoint_path(cp));
    TRY(fdit_delta_mask(ctx, cp, &mask, &known));
    TRY(check_tensors(ctx, cp, &config, known ? &mask : NULL));
    TRY(check_rows(ctx, cp, &config));
out:
    return status;
}

enum fdit_status fdit_delta_match(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                  const struct fdit_checkpoint *base)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config d = { 0 };
    static const char patch[] = "x_embedder.proj.weight";
    TRY(fdit_delta_config(ctx, delta, &d));
    const struct {
        const char *what;
        int64_t delta, base;
    } sizes[] = { { "width", d.width, fdit_checkpoint_dim(base, patch, 0) },
                  { "channels", d.channels, fdit_checkpoint_dim(base, patch, 1) },
                  { "patch", d.patch, fdit_checkpoint_dim(base, patch, 2) },
                  { "depth", d.depth, fdit_checkpoint_depth(base) } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].base > 0 && sizes[i].delta != sizes[i].base)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s and %s are of different models: %s %" PRId64 " and %" PRId64
                 "; give the base that the delta was made from",
                 fdit_checkpoint_path(delta), fdit_checkpoint_path(base), sizes[i].what, sizes[i].delta,
                 sizes[i].base);
out:
    return status;
}

enum fdit_status fdit_delta_match_objective(fdit_context *ctx, const struct fdit_checkpoint *delta,
                                            const char *base_path, const struct fdit_model_config *base)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_model_config d = { 0 };
    TRY(fdit_delta_config(ctx, delta, &d));
    if (d.objective != base->objective)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s was trained with the objective %s, %s with %s; give the base that the delta was made from, "
             "or --objective %s where its file does not say it",
             fdit_checkpoint_path(delta), fdit_objective_at(d.objective)->name, base_path,
             fdit_objective_at(base->objective)->name, fdit_objective_at(d.objective)->name);
out:
    return status;
}

enum fdit_status fdit_delta_refuse_as_base(fdit_context *ctx, const struct fdit_checkpoint *cp)
{
    const char *format = fdit_checkpoint_meta(cp, "format");
    bool ours = format && !strncmp(format, "finediffusion-", strlen("finediffusion-"));
    if (!ours || fdit_checkpoint_has(cp, "x_embedder.proj.weight"))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--base %s holds only what fine-tuning trained; give it as --delta, and as --base the "
                     "checkpoint that it was made from",
                     fdit_checkpoint_path(cp));
}
