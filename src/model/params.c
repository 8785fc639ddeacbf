/* SPDX-License-Identifier: Apache-2.0 */
#include "model/params.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

static const struct fdit_mask_rule rules_finediffusion[] = {
    { "y_embedder.embedding_table.weight", NULL },
    { "bias", NULL },
    { "norm", NULL },
};
static const struct fdit_mask_rule rules_bitfit[] = {
    { "y_embedder.embedding_table.weight", NULL },
    { "bias", "norm" },
};
static const struct fdit_mask_rule rules_norm[] = {
    { "y_embedder.embedding_table.weight", NULL },
    { "norm", NULL },
};
static const struct fdit_mask_rule rules_table[] = {
    { "y_embedder.embedding_table.weight", NULL },
};
static const struct fdit_mask_rule rules_full[] = { { "", "pos_embed" } };

#define RULES(r) (r), sizeof(r) / sizeof((r)[0])
static const struct fdit_mask masks[] = {
    { "finediffusion", "class table, biases and norms (the paper's choice)", RULES(rules_finediffusion) },
    { "bitfit", "class table and biases", RULES(rules_bitfit) },
    { "norm", "class table and norms", RULES(rules_norm) },
    { "table", "class table only", RULES(rules_table) },
    { "full", "every weight", RULES(rules_full) },
};

const struct fdit_mask *fdit_masks(int *n)
{
    *n = (int)(sizeof masks / sizeof masks[0]);
    return masks;
}

const struct fdit_mask *fdit_mask_find(const char *name)
{
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++)
        if (!strcmp(masks[i].name, name))
            return &masks[i];
    return NULL;
}

bool fdit_mask_trains(const struct fdit_mask *mask, const char *param)
{
    for (int i = 0; mask && i < mask->n_rules; i++)
        if (strstr(param, mask->rules[i].has) &&
            !(mask->rules[i].lacks && strstr(param, mask->rules[i].lacks)))
            return true;
    return false;
}

void fdit_group_name(const struct fdit_model_config *c, int group, char out[FDIT_GROUP_NAME])
{
    const char *name = group == FDIT_GROUP_EMBED      ? "the embedders"
                       : group == fdit_group_head(c)  ? "the final layer"
                       : group == fdit_group_table(c) ? "the class table"
                       : group == fdit_group_pos(c)   ? "the position table"
                                                      : NULL;
    if (name)
        snprintf(out, FDIT_GROUP_NAME, "%s", name);
    else
        snprintf(out, FDIT_GROUP_NAME, "block %d", group - fdit_group_block(0));
}

/* ------------------------------------------------------------------ the list */

/* Collects the list; `status` sticks so that the list below reads as a table. */
struct builder {
    fdit_context *ctx;
    enum fdit_status status;
    const struct fdit_mask *mask;
    struct fdit_params *params;
    size_t capacity;
    struct fdit_param ***roles; /* [n] where a pointer to each goes when the list no longer moves */
    size_t role_capacity;
    int group;
    char prefix[32];
};

static void add(struct builder *b, struct fdit_param **role, enum fdit_param_kind kind, bool need_dx,
                const int shape[4], const char *name, const char *part)
{
    struct fdit_params *ps = b->params;
    size_t need = (size_t)ps->n + 1;
    if (b->status == FDIT_OK)
        b->status = fdit_grow(b->ctx, &ps->list, &b->capacity, need, sizeof *ps->list);
    if (b->status == FDIT_OK)
        b->status = fdit_grow(b->ctx, &b->roles, &b->role_capacity, need, sizeof *b->roles);
    if (b->status != FDIT_OK)
        return;
    struct fdit_param *p = &ps->list[ps->n];
    *p = (struct fdit_param){ .kind = kind, .group = b->group, .need_dx = need_dx, .count = 1 };
    b->roles[ps->n] = role;
    b->status = fdit_strf(b->ctx, &p->name, "%s%s%s", b->prefix, name, part);
    if (b->status != FDIT_OK)
        return;
    ps->n++;
    for (; p->rank < 4 && shape[p->rank]; p->rank++) {
        p->shape[p->rank] = shape[p->rank];
        if (!fdit_mul(p->count, (size_t)shape[p->rank], &p->count)) {
            b->status = fdit_fail(b->ctx, FDIT_ERROR_ARGUMENT, "model: parameter %s is too large", p->name);
            return;
        }
    }
    if (kind == FDIT_PARAM_MATRIX) {
        p->n_out = shape[0];
        p->n_in = (int)(p->count / (size_t)shape[0]);
    }
    p->trained = fdit_mask_trains(b->mask, p->name);
    struct fdit_group *g = &ps->groups[b->group];
    size_t *used = p->trained ? &g->trained : &g->frozen;
    if (!p->trained && kind == FDIT_PARAM_MATRIX)
        return;
    p->offset = *used;
    *used += fdit_page_floats(p->count);
}

static void layer(struct builder *b, struct fdit_layer *l, int rows, const char *name, bool need_dx,
                  const int shape[4])
{
    l->rows = rows;
    add(b, &l->weight, FDIT_PARAM_MATRIX, need_dx, shape, name, ".weight");
    add(b, &l->bias, FDIT_PARAM_BIAS, false, (int[4]){ shape[0] }, name, ".bias");
}

/* Layers through which a gradient goes on to what is before them; `rows` as in struct fdit_layer. */
static void linear(struct builder *b, struct fdit_layer *l, int rows, const char *name, int n_out, int n_in)
{
    layer(b, l, rows, name, true, (int[4]){ n_out, n_in });
}

/* A layer on an input of the network, which needs no gradient. */
static void first_linear(struct builder *b, struct fdit_layer *l, int rows, const char *name,
                         const int shape[4])
{
    layer(b, l, rows, name, false, shape);
}

static void norm(struct builder *b, struct fdit_layer *l, int rows, const char *name, int width)
{
    l->rows = rows;
    add(b, &l->weight, FDIT_PARAM_NORM, false, (int[4]){ width }, name, ".weight");
    add(b, &l->bias, FDIT_PARAM_NORM, false, (int[4]){ width }, name, ".bias");
}

static void add_block(struct builder *b, const struct fdit_model_config *c, struct fdit_block_layers *l)
{
    const int n = fdit_config_tokens(c), d = c->width, hidden = c->mlp_ratio * d;
    norm(b, &l->norm1, n, "norm1", d);
    linear(b, &l->qkv, n, "attn.qkv", 3 * d, d);
    linear(b, &l->proj, n, "attn.proj", d, d);
    norm(b, &l->norm2, n, "norm2", d);
    linear(b, &l->fc1, n, "mlp.fc1", hidden, d);
    linear(b, &l->fc2, n, "mlp.fc2", d, hidden);
    if (c->kind == FDIT_MODEL_DIT)
        linear(b, &l->ada, 1, "adaLN_modulation.1", 6 * d, d);
}

static void add_all(struct builder *b, const struct fdit_model_config *c)
{
    struct fdit_end_layers *e = &b->params->ends;
    const int n = fdit_config_tokens(c), d = c->width;
    const bool dit = c->kind == FDIT_MODEL_DIT;
    b->group = fdit_group_pos(c);
    add(b, &e->pos, FDIT_PARAM_POS, false, (int[4]){ 1, n, d }, "pos_embed", "");
    b->group = FDIT_GROUP_EMBED;
    first_linear(b, &e->patch, n, "x_embedder.proj", (int[4]){ d, c->channels, c->patch, c->patch });
    if (dit) {
        first_linear(b, &e->t0, 1, "t_embedder.mlp.0", (int[4]){ d, FDIT_TIME_FEATURES });
        linear(b, &e->t2, 1, "t_embedder.mlp.2", d, d);
        b->group = fdit_group_table(c);
        add(b, &e->table, FDIT_PARAM_TABLE, false, (int[4]){ c->rows, d }, "y_embedder.embedding_table",
            ".weight");
    }
    for (int i = 0; i < c->depth; i++) {
        b->group = fdit_group_block(i);
        snprintf(b->prefix, sizeof b->prefix, "blocks.%d.", i);
        add_block(b, c, &b->params->blocks[i]);
    }
    b->group = fdit_group_head(c);
    snprintf(b->prefix, sizeof b->prefix, "final_layer.");
    norm(b, &e->norm, n, "norm_final", d);
    linear(b, &e->linear, dit ? n : 1, "linear", dit ? fdit_config_patch_out(c) : c->rows, d);
    if (dit)
        linear(b, &e->ada, 1, "adaLN_modulation.1", 2 * d, d);
}

/* ------------------------------------------------------------------ roles */

static enum fdit_status check_role(fdit_context *ctx, const char *where, const char *role, const char *part,
                                   const struct fdit_param *p)
{
    if (p)
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                     "model: %s has no parameter for %s%s; params.c must list it for this kind of model",
                     where, role, part);
}

static enum fdit_status check_layer(fdit_context *ctx, const char *where, const char *role,
                                    const struct fdit_layer *l)
{
    enum fdit_status status = FDIT_OK;
    TRY(check_role(ctx, where, role, ".weight", l->weight));
    TRY(check_role(ctx, where, role, ".bias", l->bias));
out:
    return status;
}

enum fdit_status fdit_params_check(fdit_context *ctx, const struct fdit_model_config *c,
                                   const struct fdit_params *params)
{
    enum fdit_status status = FDIT_OK;
    const bool dit = c->kind == FDIT_MODEL_DIT;
    char block[FDIT_GROUP_NAME];
#define IN_BLOCK(name, in_classifier) \
    if (dit || in_classifier)         \
        TRY(check_layer(ctx, block, #name, &params->blocks[i].name));
#define OUTSIDE(name, in_classifier) \
    if (dit || in_classifier)        \
        TRY(check_layer(ctx, "the network", #name, &params->ends.name));
    for (int i = 0; i < c->depth; i++) {
        fdit_group_name(c, fdit_group_block(i), block);
        FDIT_BLOCK_ROLES(IN_BLOCK)
    }
    FDIT_END_ROLES(OUTSIDE)
#undef IN_BLOCK
#undef OUTSIDE
    TRY(check_role(ctx, "the network", "pos", "", params->ends.pos));
    if (dit)
        TRY(check_role(ctx, "the network", "table", "", params->ends.table));
out:
    return status;
}

enum fdit_status fdit_params_init(fdit_context *ctx, const struct fdit_model_config *config,
                                  const struct fdit_mask *mask, struct fdit_params *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { .n_groups = 0 };
    struct builder b = { .ctx = ctx, .mask = mask, .params = &params };
    TRY(fdit_config_check(ctx, config));
    TRY(fdit_alloc(ctx, (size_t)fdit_group_count(config), sizeof *params.groups, &params.groups));
    params.n_groups = fdit_group_count(config);
    TRY(fdit_alloc(ctx, (size_t)config->depth, sizeof *params.blocks, &params.blocks));
    add_all(&b, config);
    TRY(b.status);
    for (int i = 0; i < params.n; i++)
        *b.roles[i] = &params.list[i];
    TRY(fdit_params_check(ctx, config, &params));
    *out = params;
    params = (struct fdit_params){ 0 };
out:
    fdit_free(b.roles);
    fdit_params_fini(&params);
    return status;
}

void fdit_params_fini(struct fdit_params *params)
{
    for (int i = 0; i < params->n; i++) {
        fdit_weight_free(params->list[i].weight);
        fdit_free(params->list[i].name);
    }
    for (int i = 0; params->groups && i < params->n_groups; i++) {
        struct fdit_group *g = &params->groups[i];
        fdit_buffer *all[] = { g->value, g->grad, g->ema, g->fixed };
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            fdit_buffer_free(all[j]);
        for (int j = 0; j < FDIT_MOST_MOMENTS; j++)
            fdit_buffer_free(g->moment[j]);
    }
    fdit_free(params->list);
    fdit_free(params->groups);
    fdit_free(params->blocks);
    *params = (struct fdit_params){ 0 };
}

struct fdit_param *fdit_params_find(const struct fdit_params *params, const char *name)
{
    for (int i = 0; i < params->n; i++)
        if (!strcmp(params->list[i].name, name))
            return &params->list[i];
    return NULL;
}

size_t fdit_params_trained(const struct fdit_params *params)
{
    size_t n = 0;
    for (int i = 0; i < params->n; i++)
        n += params->list[i].trained ? params->list[i].count : 0;
    return n;
}

size_t fdit_params_total(const struct fdit_params *params)
{
    size_t n = 0;
    for (int i = 0; i < params->n; i++)
        n += params->list[i].count;
    return n;
}

bool fdit_params_whole(const struct fdit_params *params)
{
    for (int i = 0; i < params->n; i++)
        if (!params->list[i].trained && params->list[i].kind != FDIT_PARAM_POS)
            return false;
    return true;
}
