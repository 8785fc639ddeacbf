/* SPDX-License-Identifier: Apache-2.0 */
#include "train/class_table.h"

#include "core/mem.h"

#include <string.h>

/* The row of the base that row `row` of the new table starts as, -1: none. */
static int32_t row_in_base(const struct fdit_taxonomy *tax, const struct fdit_taxonomy *base, int32_t row)
{
    int32_t classes = fdit_taxonomy_n_classes(tax);
    if (row < classes) {
        int32_t found = fdit_taxonomy_find_class(base, fdit_taxonomy_class_name(tax, row));
        for (int32_t r = 0; found < 0 && r < fdit_taxonomy_n_ranks(tax); r++)
            found = fdit_taxonomy_find_class(
                base, fdit_taxonomy_group_name(tax, r, fdit_taxonomy_group(tax, r, row)));
        return found;
    }
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(tax); r++) {
        int32_t group = row - fdit_taxonomy_group_row(tax, r, 0);
        if (group >= 0 && group < fdit_taxonomy_n_groups(tax, r))
            return fdit_taxonomy_find_class(base, fdit_taxonomy_group_name(tax, r, group));
    }
    return -1;
}

static enum fdit_status copy_by_name(fdit_context *ctx, struct fdit_model *m, struct fdit_checkpoint *base,
                                     const struct fdit_taxonomy *taxonomy)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_param *p = fdit_params_find(&m->params, "y_embedder.embedding_table.weight");
    const char *json = fdit_checkpoint_meta(base, "taxonomy");
    struct fdit_taxonomy *old = NULL;
    float *table = NULL;
    size_t d = (size_t)m->config.width;
    int32_t rows = fdit_taxonomy_n_rows(taxonomy), found = 0;
    if (rows > m->config.table_rows)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "the class table has %d rows, the class tree %d", m->config.table_rows,
             rows);
    if (!json)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s does not name its classes: rows cannot start from them by name; use --table-init base",
             fdit_checkpoint_path(base));
    TRY(fdit_taxonomy_parse(ctx, json, strlen(json), fdit_checkpoint_path(base), NULL, &old));
    TRY(fdit_alloc(ctx, p->count, sizeof *table, &table));
    TRY(fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, table));
    for (int32_t row = 0; row < rows; row++) {
        int32_t from = row_in_base(taxonomy, old, row);
        if (from < 0)
            continue;
        found++;
        TRY(fdit_checkpoint_read_rows(ctx, base, from, 1, m->config.width, table + (size_t)row * d));
    }
    int32_t old_rows = fdit_taxonomy_n_rows(old);
    if (m->config.table_rows == rows + 1 && fdit_checkpoint_dim(base, p->name, 0) == old_rows + 1)
        TRY(fdit_checkpoint_read_rows(ctx, base, old_rows, 1, m->config.width, table + (size_t)rows * d));
    TRY(fdit_model_set(ctx, m, p, table));
    fdit_log(ctx, FDIT_LOG_INFO, "%d of %d rows start as rows of %s by name", found, rows,
             fdit_checkpoint_path(base));
out:
    fdit_taxonomy_free(old);
    fdit_free(table);
    return status;
}

enum fdit_status fdit_class_table_start(fdit_context *ctx, struct fdit_model *m,
                                        enum fdit_class_table_init how, struct fdit_checkpoint *base,
                                        const struct fdit_taxonomy *taxonomy, uint64_t seed,
                                        const struct fdit_row_vectors *from)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_model_init_table(ctx, m, how == FDIT_TABLE_NORMAL ? FDIT_TABLE_NORMAL : FDIT_TABLE_BASE, base,
                              seed, from));
    if (how == FDIT_TABLE_NAMES)
        TRY(copy_by_name(ctx, m, base, taxonomy));
out:
    return status;
}

enum fdit_status fdit_class_table_take(fdit_context *ctx, struct fdit_model *m, struct fdit_checkpoint *delta,
                                       const struct fdit_taxonomy *old, const struct fdit_taxonomy *taxonomy)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_param *p = fdit_params_find(&m->params, "y_embedder.embedding_table.weight");
    const char *path = fdit_checkpoint_path(delta);
    float *table = NULL;
    int32_t *match = NULL;
    size_t d = (size_t)m->config.width;
    int32_t rows = fdit_taxonomy_n_rows(taxonomy);
    if (!old)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s carries no taxonomy; its rows cannot be matched", path);
    TRY(fdit_alloc(ctx, (size_t)rows, sizeof *match, &match));
    int32_t found = fdit_taxonomy_match_rows(old, taxonomy, match);
    TRY(fdit_alloc(ctx, p->count, sizeof *table, &table));
    TRY(fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, table));
    for (int32_t i = 0; i < rows; i++)
        if (match[i] >= 0)
            TRY(fdit_checkpoint_read_rows(ctx, delta, match[i], 1, m->config.width, table + (size_t)i * d));
    int32_t old_rows = fdit_taxonomy_n_rows(old);
    if (m->config.table_rows == rows + 1 && fdit_checkpoint_dim(delta, p->name, 0) == old_rows + 1)
        TRY(fdit_checkpoint_read_rows(ctx, delta, old_rows, 1, m->config.width, table + (size_t)rows * d));
    TRY(fdit_model_set(ctx, m, p, table));
    fdit_log(ctx, FDIT_LOG_INFO, "%s: %d of %d rows taken over, %d are new", path, found, rows, rows - found);
out:
    fdit_free(table);
    fdit_free(match);
    return status;
}

enum fdit_status fdit_class_map_take(fdit_context *ctx, struct fdit_model *m, struct fdit_checkpoint *delta,
                                     const struct fdit_taxonomy *old, const struct fdit_taxonomy *taxonomy)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_param *p = m->params.ends.table;
    const size_t frozen = (size_t)m->frozen_rows * (size_t)m->config.width;
    float *whole = NULL, *own = NULL;
    if (frozen && !fdit_checkpoint_has(delta, m->params.ends.class_map.weight->name))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "%s holds rows of classes and no map of class vectors, which alone tells classes apart with "
             "--class-vectors-as map; give map+row or rows",
             fdit_checkpoint_path(delta));
    TRY(fdit_alloc(ctx, p->count, sizeof *whole, &whole));
    TRY(fdit_alloc(ctx, p->count, sizeof *own, &own));
    TRY(fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, own));
    TRY(fdit_model_class_rows(ctx, m, FDIT_VALUES_RAW, 0, m->config.table_rows, whole));
    for (size_t i = 0; i < p->count; i++)
        own[i] = whole[i] - own[i]; /* what the map gives */
    TRY(fdit_model_set(ctx, m, p, whole));
    TRY(fdit_class_table_take(ctx, m, delta, old, taxonomy));
    TRY(fdit_model_get(ctx, m, p, FDIT_VALUES_RAW, whole));
    for (size_t i = 0; i < p->count; i++)
        whole[i] = i < frozen ? 0 : whole[i] - own[i];
    TRY(fdit_model_set(ctx, m, p, whole));
out:
    fdit_free(whole);
    fdit_free(own);
    return status;
}
