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

/* The gammas that multiply rows of a layer's weight and bias. rows: of each, from row first_row D on; 0: all.
 * Gammas of branches go into the rows of the gates, so that they change one layer instead of two. */
static const struct {
    const char *layer, *gamma;
    enum fdit_gammas form;
    int first_row, rows; /* in widths of the model */
} gammas[] = {
    { "adaLN_modulation.1.", "gamma1", FDIT_GAMMAS_BRANCH, 2, 1 },
    { "adaLN_modulation.1.", "gamma2", FDIT_GAMMAS_BRANCH, 5, 1 },
    { "attn.qkv.", "attn.gamma1", FDIT_GAMMAS_LINEAR, 0, 0 },
    { "attn.proj.", "attn.gamma2", FDIT_GAMMAS_LINEAR, 0, 0 },
    { "mlp.fc1.", "mlp.gamma1", FDIT_GAMMAS_LINEAR, 0, 0 },
    { "mlp.fc2.", "mlp.gamma2", FDIT_GAMMAS_LINEAR, 0, 0 },
};
enum { N_GAMMAS = sizeof gammas / sizeof gammas[0] };

/* Whether gammas[i] of this form multiply parameter p; their name in `name` then. */
static bool has_gamma(enum fdit_gammas form, const struct fdit_param *p, size_t i, char name[NAME])
{
    int block, used = 0;
    if (gammas[i].form != form || sscanf(p->name, "blocks.%9d.%n", &block, &used) != 1 || !used)
        return false;
    const size_t n = strlen(gammas[i].layer);
    if (strncmp(p->name + used, gammas[i].layer, n))
        return false;
    snprintf(name, NAME, "blocks.%d.%s", block, gammas[i].gamma);
    return true;
}

bool fdit_merge_changes(const struct fdit_checkpoint *cp, const struct fdit_param *p)
{
    const struct fdit_adapter *a = fdit_checkpoint_adapter(cp);
    char name[NAME];
    for (size_t i = 0; a->gammas && i < N_GAMMAS; i++)
        if (has_gamma(a->gammas, p, i, name))
            return true;
    return a->rank && name_beside(p, ".lora_A", name) && fdit_checkpoint_has(cp, name);
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

static enum fdit_status add_product(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
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

/* The rows of p times gammas[i], called `name`. */
static enum fdit_status scale_rows(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
                                   size_t i, char *name, size_t first, size_t n, float *numbers)
{
    enum fdit_status status = FDIT_OK;
    const size_t all = (size_t)p->shape[0], width = all / 6, row = p->count / all;
    const size_t from = (size_t)gammas[i].first_row * width;
    const size_t rows = gammas[i].rows ? (size_t)gammas[i].rows * width : all;
    const struct fdit_param vector = {
        .name = name, .kind = FDIT_PARAM_GAMMA, .rank = 1, .shape = { (int)rows }, .count = rows
    };
    float *factors = NULL;
    TRY(fdit_alloc(ctx, rows, sizeof *factors, &factors));
    TRY(fdit_checkpoint_read(ctx, cp, &vector, factors));
    for (size_t k = 0; k < n; k++) {
        const size_t at = (first + k) / row;
        if (at >= from && at < from + rows)
            numbers[k] *= factors[at - from];
    }
out:
    fdit_free(factors);
    return status;
}

enum fdit_status fdit_merge_adapter(fdit_context *ctx, struct fdit_checkpoint *cp, const struct fdit_param *p,
                                    size_t first, size_t n, float *numbers)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_adapter *a = fdit_checkpoint_adapter(cp);
    char name[NAME];
    if (a->rank)
        TRY(add_product(ctx, cp, p, first, n, numbers));
    for (size_t i = 0; a->gammas && i < N_GAMMAS; i++)
        if (has_gamma(a->gammas, p, i, name))
            TRY(scale_rows(ctx, cp, p, i, name, first, n, numbers));
out:
    return status;
}
