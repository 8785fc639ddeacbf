/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/groups.h"

#include "core/mem.h"
#include "eval/scores.h"

int32_t fdit_eval_first_rank(const struct fdit_eval_result *r)
{
    return r->third ? -1 : 0;
}

int32_t fdit_eval_ranks(const struct fdit_eval_result *r)
{
    return r->classes ? fdit_taxonomy_n_ranks(r->generated.taxonomy) : fdit_eval_first_rank(r);
}

void fdit_eval_groups_fini(struct fdit_eval_groups *g)
{
    fdit_free(g->classes);
    fdit_free(g->means);
    *g = (struct fdit_eval_groups){ 0 };
}

enum fdit_status fdit_eval_groups_make(fdit_context *ctx, const struct fdit_eval_result *r, int32_t rank,
                                       struct fdit_eval_groups *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = r->generated.taxonomy;
    int32_t *of = NULL;
    *out = (struct fdit_eval_groups){
        .rank = rank,
        .title = rank < 0 ? "classes by their pictures" : fdit_taxonomy_rank_name(tax, rank),
        .n = rank < 0 ? 3 : (size_t)fdit_taxonomy_n_groups(tax, rank),
    };
    TRY(fdit_alloc(ctx, r->classes, sizeof *of, &of));
    TRY(fdit_alloc(ctx, out->n, sizeof *out->classes, &out->classes));
    TRY(fdit_alloc(ctx, FDIT_CLASS_COLUMNS, out->n * sizeof(double), &out->means));
    for (size_t c = 0; c < r->classes; c++) {
        of[c] = rank < 0 ? r->third[c] : fdit_taxonomy_group(tax, rank, (int32_t)c);
        out->classes[of[c]]++;
    }
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            TRY(fdit_mean_by_group(ctx, r->by_class[k], of, r->classes, out->n,
                                   out->means + (size_t)k * out->n));
out:
    fdit_free(of);
    if (status != FDIT_OK)
        fdit_eval_groups_fini(out);
    return status;
}

const char *fdit_eval_group_name(const struct fdit_eval_result *r, const struct fdit_eval_groups *g, size_t i)
{
    static const char *const thirds[] = { "head", "middle", "tail" };
    return g->rank < 0 ? thirds[i] : fdit_taxonomy_group_name(r->generated.taxonomy, g->rank, (int32_t)i);
}

double fdit_eval_group_mean(const struct fdit_eval_groups *g, enum fdit_class_column column, size_t i)
{
    return g->means[(size_t)column * g->n + i];
}

bool fdit_eval_has_columns(const struct fdit_eval_result *r)
{
    for (int k = 0; k < FDIT_CLASS_COLUMNS; k++)
        if (r->by_class[k])
            return true;
    return false;
}
