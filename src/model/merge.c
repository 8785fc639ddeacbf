/* SPDX-License-Identifier: Apache-2.0 */
#include "model/merge.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 128 };

/* "blocks.0.attn.qkv.weight" to "blocks.0.attn.qkv" + part; false: p is not the weight of a layer. */
static bool name_beside(const struct fdit_param *p, const char *part, char out[NAME])
{
    const size_t n = strlen(p->name), end = strlen(".weight");
    if (p->kind != FDIT_PARAM_MATRIX || n < end || strcmp(p->name + n - end, ".weight") || n >= NAME - 32)
        return false;
    snprintf(out, NAME, "%.*s%s", (int)(n - end), p->name, part);
    return true;
}

bool fdit_merges(const struct fdit_checkpoint *cp, const struct fdit_model_config *config)
{
    return fdit_adapter_any(fdit_checkpoint_adapter(cp)) && !fdit_adapter_any(&config->adapter);
}

bool fdit_merge_changes(const struct fdit_checkpoint *cp, const struct fdit_param *p)
{
    char name[NAME];
    return fdit_adapter_any(fdit_checkpoint_adapter(cp)) && name_beside(p, ".lora_A", name) &&
           fdit_checkpoint_has(cp, name);
}

/* The tensor [rows, columns] beside the weight p. */
static enum fdit_status read_beside(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
                                    const char *part, int rows, int columns, float **out)
{
    enum fdit_status status = FDIT_OK;
    char name[NAME];
    const size_t count = (size_t)rows * (size_t)columns;
    name_beside(p, part, name);
    const struct fdit_param beside = {
        .name = name, .kind = FDIT_PARAM_LOW_RANK, .rank = 2, .shape = { rows, columns }, .count = count
    };
    TRY(fdit_alloc(ctx, count, sizeof **out, out));
    TRY(fdit_checkpoint_read(ctx, cp, &beside, *out));
out:
    return status;
}

enum fdit_status fdit_merge_adapter(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
                                    size_t first, size_t n, float *numbers)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_adapter *adapter = fdit_checkpoint_adapter(cp);
    const size_t n_in = (size_t)p->n_in, rank = (size_t)adapter->rank;
    const double s = (double)fdit_adapter_scale(adapter);
    float *a = NULL, *b = NULL;
    double *row = NULL;
    TRY(read_beside(ctx, cp, p, ".lora_A", adapter->rank, p->n_in, &a));
    TRY(read_beside(ctx, cp, p, ".lora_B", p->n_out, adapter->rank, &b));
    TRY(fdit_alloc(ctx, n_in, sizeof *row, &row));
    for (size_t at = first; at < first + n;) {
        const size_t i = at / n_in, from = at % n_in, left = first + n - at;
        const size_t m = n_in - from < left ? n_in - from : left;
        memset(row, 0, m * sizeof *row);
        for (size_t k = 0; k < rank; k++)
            for (size_t j = 0; j < m; j++)
                row[j] += (double)b[i * rank + k] * (double)a[k * n_in + from + j];
        for (size_t j = 0; j < m; j++)
            numbers[at - first + j] = (float)((double)numbers[at - first + j] + s * row[j]);
        at += m;
    }
out:
    fdit_free(a);
    fdit_free(b);
    fdit_free(row);
    return status;
}
