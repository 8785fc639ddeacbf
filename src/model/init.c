/* SPDX-License-Identifier: Apache-2.0 */
#include "model/init.h"

#include "core/mem.h"
#include "core/phase.h"
#include "core/rng.h"

#include <math.h>
#include <string.h>

/* The stream of a parameter: FNV-1a of its name, so that other parameters do not shift it. */
static struct fdit_rng stream_of(const struct fdit_param *p, uint64_t seed)
{
    uint32_t hash = 2166136261u;
    for (const char *c = p->name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return (struct fdit_rng){ .seed = seed, .stream = hash, .domain = FDIT_RNG_INIT };
}

static void fill_normal(const struct fdit_param *p, uint64_t seed, float deviation, float *data)
{
    struct fdit_rng rng = stream_of(p, seed);
    fdit_rng_fill_normals(&rng, 0, p->count, data);
    for (size_t i = 0; i < p->count; i++)
        data[i] *= deviation;
}

/* Glorot and Bengio 2010: uniform in +- sqrt(6 / (n_in + n_out)). */
static void fill_xavier(const struct fdit_param *p, uint64_t seed, float *data)
{
    struct fdit_rng rng = stream_of(p, seed);
    float most = (float)sqrt(6.0 / ((double)p->n_in + p->n_out));
    fdit_rng_fill_uniforms(&rng, 0, p->count, data);
    for (size_t i = 0; i < p->count; i++)
        data[i] = most * (2 * data[i] - 1);
}

/* A uniform in +- 1/sqrt(n_in), B zero: nothing is changed yet, and the gradient of B is not zero. */
static void fill_low_rank(const struct fdit_param *p, uint64_t seed, float *data)
{
    struct fdit_rng rng = stream_of(p, seed);
    const float most = (float)(1 / sqrt((double)p->n_in));
    if (strstr(p->name, ".lora_B")) {
        memset(data, 0, p->count * sizeof *data);
        return;
    }
    fdit_rng_fill_uniforms(&rng, 0, p->count, data);
    for (size_t i = 0; i < p->count; i++)
        data[i] = most * (2 * data[i] - 1);
}

/* The first layer uniform in +-1, the second zero: nothing is changed yet, and its gradient is not zero, as
 * it would be for ever if the first were zero, too. */
static void fill_guidance(const struct fdit_param *p, uint64_t seed, float *data)
{
    struct fdit_rng rng = stream_of(p, seed);
    if (strstr(p->name, ".mlp.2.")) {
        memset(data, 0, p->count * sizeof *data);
        return;
    }
    fdit_rng_fill_uniforms(&rng, 0, p->count, data);
    for (size_t i = 0; i < p->count; i++)
        data[i] = 2 * data[i] - 1;
}

static enum fdit_status initial(fdit_context *ctx, const struct fdit_model *m, const struct fdit_param *p,
                                uint64_t seed, float *data)
{
    bool last = !strncmp(p->name, "final_layer.linear", 18);
    if (fdit_param_of_guidance(p->name) && p->kind != FDIT_PARAM_NORM) {
        fill_guidance(p, seed, data);
        return FDIT_OK;
    }
    switch (p->kind) {
    case FDIT_PARAM_POS:
        return fdit_pos_embed(ctx, m->config.width, m->config.input_size / m->config.patch, data);
    case FDIT_PARAM_TABLE: fill_normal(p, seed, 0.02f, data); return FDIT_OK;
    case FDIT_PARAM_NORM:
        for (size_t i = 0; i < p->count; i++)
            data[i] = strstr(p->name, ".weight") ? 1.0f : 0.0f;
        return FDIT_OK;
    case FDIT_PARAM_GAMMA:
        for (size_t i = 0; i < p->count; i++)
            data[i] = 1;
        return FDIT_OK;
    case FDIT_PARAM_LOW_RANK: fill_low_rank(p, seed, data); return FDIT_OK;
    case FDIT_PARAM_BIAS: memset(data, 0, p->count * sizeof *data); return FDIT_OK;
    case FDIT_PARAM_MATRIX:
        if (!strncmp(p->name, "t_embedder", 10) || (last && m->config.kind == FDIT_MODEL_CLASSIFIER))
            fill_normal(p, seed, 0.02f, data);
        else if (last || strstr(p->name, "adaLN"))
            memset(data, 0, p->count * sizeof *data);
        else
            fill_xavier(p, seed, data);
        return FDIT_OK;
    }
    return FDIT_OK;
}

static enum fdit_status init_one(fdit_context *ctx, struct fdit_model *m, struct fdit_param *p, uint64_t seed)
{
    float *data = NULL;
    enum fdit_status status = FDIT_OK;
    TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
    TRY(initial(ctx, m, p, seed, data));
    TRY(fdit_model_set(ctx, m, p, data));
out:
    fdit_free(data);
    return status;
}

enum fdit_status fdit_model_init(fdit_context *ctx, struct fdit_model *m, uint64_t seed)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < m->params.n; i++)
        TRY(init_one(ctx, m, &m->params.list[i], seed));
out:
    return status;
}

enum fdit_status fdit_model_init_adapters(fdit_context *ctx, struct fdit_model *m,
                                          const struct fdit_checkpoint *start, uint64_t seed)
{
    enum fdit_status status = FDIT_OK;
    for (int i = 0; i < m->params.n; i++) {
        struct fdit_param *p = &m->params.list[i];
        bool adapter =
            p->kind == FDIT_PARAM_LOW_RANK || p->kind == FDIT_PARAM_GAMMA || fdit_param_of_guidance(p->name);
        if (adapter && !(start && fdit_checkpoint_has(start, p->name)))
            TRY(init_one(ctx, m, p, seed));
    }
out:
    return status;
}

/* Rows 0 .. classes-1 of `data` [.., d] as projections of their vectors: see fdit_row_vectors. */
static enum fdit_status project_rows(fdit_context *ctx, const struct fdit_param *p, uint64_t seed,
                                     const struct fdit_row_vectors *from, float *data)
{
    enum fdit_status status = FDIT_OK;
    const size_t d = (size_t)p->shape[1], width = (size_t)from->width;
    struct fdit_rng rng = stream_of(p, seed);
    float *z = NULL;
    fdit_phase_begin(ctx, (uint64_t)from->classes, "projecting the vectors of the classes");
    status = fdit_alloc(ctx, width * d, sizeof *z, &z);
    if (status == FDIT_OK)
        fdit_rng_fill_normals(&rng, 0, width * d, z);
    for (int32_t c = 0; status == FDIT_OK && c < from->classes; c++) {
        const float *v = from->vectors + (size_t)from->at[c] * width;
        float *row = data + (size_t)c * d;
        memset(row, 0, d * sizeof *row);
        for (size_t k = 0; k < width; k++)
            for (size_t j = 0; j < d; j++)
                row[j] += v[k] * z[k * d + j];
        fdit_phase_at(ctx, (uint64_t)c);
        if (fdit_stopped(ctx))
            status = fdit_fail(ctx, FDIT_INTERRUPTED, "stopped");
    }
    fdit_phase_end(ctx);
    fdit_free(z);
    return status;
}

/* Mean and spread [d] of each column of the base's table. */
static enum fdit_status spread_of(fdit_context *ctx, const struct fdit_param *p, struct fdit_checkpoint *base,
                                  float *mean, float *spread)
{
    enum fdit_status status = FDIT_OK;
    const size_t d = (size_t)p->shape[1];
    float *old = NULL;
    int rows = (int)fdit_checkpoint_dim(base, p->name, 0);
    if (rows < 1)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: has no class table to start from; use --table-init normal",
             fdit_checkpoint_path(base));
    TRY(fdit_alloc(ctx, (size_t)rows * d, sizeof *old, &old));
    TRY(fdit_checkpoint_read_rows(ctx, base, 0, rows, (int)d, old));
    for (size_t j = 0; j < d; j++) {
        double sum = 0, squares = 0;
        for (int r = 0; r < rows; r++)
            sum += old[(size_t)r * d + j];
        double middle = sum / rows;
        for (int r = 0; r < rows; r++) {
            double delta = old[(size_t)r * d + j] - middle;
            squares += delta * delta;
        }
        spread[j] = (float)sqrt(squares / rows);
        mean[j] = (float)middle;
    }
out:
    fdit_free(old);
    return status;
}

/* What normals are multiplied with, and what is then added, in each of d columns: *out [2, d], the mean
 * first. */
static enum fdit_status columns_of(fdit_context *ctx, const struct fdit_param *p,
                                   enum fdit_class_table_init how, struct fdit_checkpoint *base, float **out)
{
    enum fdit_status status = FDIT_OK;
    const size_t d = (size_t)p->shape[1];
    TRY(fdit_alloc(ctx, 2 * d, sizeof **out, out));
    for (size_t j = 0; j < d; j++)
        (*out)[d + j] = 0.02f;
    if (how == FDIT_TABLE_BASE)
        TRY(spread_of(ctx, p, base, *out, *out + d));
out:
    return status;
}

enum fdit_status fdit_model_init_table(fdit_context *ctx, struct fdit_model *m,
                                       enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                       uint64_t seed, const struct fdit_row_vectors *from)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_param *p = fdit_params_find(&m->params, "y_embedder.embedding_table.weight");
    const size_t d = (size_t)p->shape[1];
    float *data = NULL, *columns = NULL;
    TRY(fdit_alloc(ctx, p->count, sizeof *data, &data));
    fill_normal(p, seed, 1, data);
    if (from && !from->plain)
        TRY(project_rows(ctx, p, seed, from, data));
    TRY(columns_of(ctx, p, how, base, &columns));
    for (size_t i = 0; i < p->count; i++)
        data[i] = columns[i % d] + columns[d + i % d] * data[i];
    for (int32_t c = 0; from && from->plain && c < from->classes; c++)
        memcpy(data + (size_t)c * d, from->vectors + (size_t)from->at[c] * d, d * sizeof *data);
    TRY(fdit_model_set(ctx, m, p, data));
out:
    fdit_free(data);
    fdit_free(columns);
    return status;
}

enum fdit_status fdit_model_init_class_map(fdit_context *ctx, struct fdit_model *m,
                                           enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                           uint64_t seed, int32_t classes, bool keep)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_param *p = m->params.ends.table;
    const struct fdit_layer *map = &m->params.ends.class_map;
    const size_t d = (size_t)p->shape[1], width = (size_t)m->config.class_vectors;
    struct fdit_rng rng = stream_of(p, seed);
    float *z = NULL, *columns = NULL, *weight = NULL;
    TRY(columns_of(ctx, p, how, base, &columns));
    TRY(fdit_alloc(ctx, width * d > p->count ? width * d : p->count, sizeof *z, &z));
    TRY(fdit_alloc(ctx, width * d, sizeof *weight, &weight));
    fdit_rng_fill_normals(&rng, 0, width * d, z);
    for (size_t k = 0; k < width; k++)
        for (size_t j = 0; j < d; j++)
            weight[j * width + k] = columns[d + j] * z[k * d + j];
    if (!keep) {
        TRY(fdit_model_set(ctx, m, map->weight, weight));
        TRY(fdit_model_set(ctx, m, map->bias, columns));
    }
    fdit_rng_fill_normals(&rng, 0, p->count, z);
    for (size_t i = 0; i < p->count; i++)
        z[i] = i < (size_t)classes * d ? 0 : columns[d + i % d] * z[i];
    TRY(fdit_model_set(ctx, m, p, z));
out:
    fdit_free(z);
    fdit_free(columns);
    fdit_free(weight);
    return status;
}
