/* SPDX-License-Identifier: Apache-2.0 */
#include "train/vector_layout.h"

#include "core/mem.h"

static void add_group(struct fdit_vector_layout *l, const struct fdit_model *m, int group, int without)
{
    const size_t trained = m->params.groups[group].trained;
    if (!trained || group == without)
        return;
    l->group[l->n] = group;
    l->first[l->n + 1] = l->first[l->n] + trained;
    l->n++;
}

static void cut(struct fdit_vector_layout *l, size_t least)
{
    size_t begins = 0;
    for (int k = 0; k < l->n; k++) {
        if (l->first[k + 1] - begins < least && k + 1 < l->n)
            continue;
        l->last[l->pieces] = k;
        l->ends[l->pieces++] = l->first[k + 1];
        begins = l->first[k + 1];
    }
}

enum fdit_status fdit_vector_layout_init(fdit_context *ctx, const struct fdit_model *model, int without,
                                         size_t least, struct fdit_vector_layout *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_model_config *c = &model->config;
    const size_t groups = (size_t)model->params.n_groups;
    struct fdit_vector_layout l = { 0 };
    *out = l;
    TRY(fdit_alloc(ctx, groups, sizeof *l.group, &l.group));
    TRY(fdit_alloc(ctx, groups + 1, sizeof *l.first, &l.first));
    TRY(fdit_alloc(ctx, groups, sizeof *l.last, &l.last));
    TRY(fdit_alloc(ctx, groups, sizeof *l.ends, &l.ends));
    add_group(&l, model, fdit_group_head(c), without);
    for (int i = c->depth - 1; i >= 0; i--)
        add_group(&l, model, fdit_group_block(i), without);
    add_group(&l, model, FDIT_GROUP_EMBED, without);
    add_group(&l, model, fdit_group_pos(c), without);
    add_group(&l, model, fdit_group_table(c), without);
    cut(&l, least);
    *out = l;
    return FDIT_OK;
out:
    fdit_vector_layout_fini(&l);
    return status;
}

void fdit_vector_layout_fini(struct fdit_vector_layout *l)
{
    fdit_free(l->group);
    fdit_free(l->first);
    fdit_free(l->last);
    fdit_free(l->ends);
    *l = (struct fdit_vector_layout){ 0 };
}

size_t fdit_vector_layout_length(const struct fdit_vector_layout *l)
{
    return l->first ? l->first[l->n] : 0;
}
