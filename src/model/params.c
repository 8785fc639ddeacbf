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

/* Collects the list; `status` sticks so that the list below reads as a table. */
struct builder {
    fdit_context *ctx;
    enum fdit_status status;
    const struct fdit_mask *mask;
    struct fdit_params *params;
    size_t capacity;
    int group;
    char prefix[32];
};

static void add(struct builder *b, enum fdit_param_kind kind, const char *name, bool need_dx, int rank,
                int s0, int s1, int s2, int s3)
{
    struct fdit_params *ps = b->params;
    if (b->status != FDIT_OK)
        return;
    b->status = fdit_grow(b->ctx, &ps->list, &b->capacity, (size_t)ps->n + 1, sizeof *ps->list);
    if (b->status != FDIT_OK)
        return;
    struct fdit_param *p = &ps->list[ps->n];
    *p = (struct fdit_param){ .kind = kind,
                              .group = b->group,
                              .rank = rank,
                              .need_dx = need_dx,
                              .shape = { s0, s1, s2, s3 },
                              .count = 1 };
    b->status = fdit_strf(b->ctx, &p->name, "%s%s", b->prefix, name);
    if (b->status != FDIT_OK)
        return;
    ps->n++;
    for (int i = 0; i < rank; i++)
        if (!fdit_mul(p->count, (size_t)p->shape[i], &p->count)) {
            b->status = fdit_fail(b->ctx, FDIT_ERROR_ARGUMENT, "model: parameter %s is too large", p->name);
            return;
        }
    if (kind == FDIT_PARAM_MATRIX) {
        p->n_out = s0;
        p->n_in = (int)(p->count / (size_t)s0);
    }
    p->trained = fdit_mask_trains(b->mask, p->name);
    struct fdit_group *g = &ps->groups[b->group];
    size_t *used = p->trained ? &g->trained : &g->frozen;
    if (!p->trained && kind == FDIT_PARAM_MATRIX)
        return;
    p->offset = *used;
    *used += fdit_page_floats(p->count);
}

static void matrix(struct builder *b, const char *name, bool need_dx, int n_out, int n_in)
{
    add(b, FDIT_PARAM_MATRIX, name, need_dx, 2, n_out, n_in, 0, 0);
}

static void vector(struct builder *b, enum fdit_param_kind kind, const char *name, int n)
{
    add(b, kind, name, false, 1, n, 0, 0, 0);
}

static void add_block(struct builder *b, const struct fdit_model_config *c)
{
    int d = c->width, hidden = c->mlp_ratio * d;
    vector(b, FDIT_PARAM_NORM, "norm1.weight", d);
    vector(b, FDIT_PARAM_NORM, "norm1.bias", d);
    matrix(b, "attn.qkv.weight", true, 3 * d, d);
    vector(b, FDIT_PARAM_BIAS, "attn.qkv.bias", 3 * d);
    matrix(b, "attn.proj.weight", true, d, d);
    vector(b, FDIT_PARAM_BIAS, "attn.proj.bias", d);
    vector(b, FDIT_PARAM_NORM, "norm2.weight", d);
    vector(b, FDIT_PARAM_NORM, "norm2.bias", d);
    matrix(b, "mlp.fc1.weight", true, hidden, d);
    vector(b, FDIT_PARAM_BIAS, "mlp.fc1.bias", hidden);
    matrix(b, "mlp.fc2.weight", true, d, hidden);
    vector(b, FDIT_PARAM_BIAS, "mlp.fc2.bias", d);
    if (c->kind == FDIT_MODEL_DIT) {
        matrix(b, "adaLN_modulation.1.weight", true, 6 * d, d);
        vector(b, FDIT_PARAM_BIAS, "adaLN_modulation.1.bias", 6 * d);
    }
}

static void add_all(struct builder *b, const struct fdit_model_config *c)
{
    int d = c->width;
    b->group = fdit_group_pos(c);
    add(b, FDIT_PARAM_POS, "pos_embed", false, 3, 1, fdit_config_tokens(c), d, 0);
    b->group = FDIT_GROUP_EMBED;
    add(b, FDIT_PARAM_MATRIX, "x_embedder.proj.weight", false, 4, d, c->channels, c->patch, c->patch);
    vector(b, FDIT_PARAM_BIAS, "x_embedder.proj.bias", d);
    if (c->kind == FDIT_MODEL_DIT) {
        matrix(b, "t_embedder.mlp.0.weight", false, d, FDIT_TIME_FEATURES);
        vector(b, FDIT_PARAM_BIAS, "t_embedder.mlp.0.bias", d);
        matrix(b, "t_embedder.mlp.2.weight", true, d, d);
        vector(b, FDIT_PARAM_BIAS, "t_embedder.mlp.2.bias", d);
        b->group = fdit_group_table(c);
        add(b, FDIT_PARAM_TABLE, "y_embedder.embedding_table.weight", false, 2, c->rows, d, 0, 0);
    }
    for (int i = 0; i < c->depth; i++) {
        b->group = fdit_group_block(i);
        snprintf(b->prefix, sizeof b->prefix, "blocks.%d.", i);
        add_block(b, c);
    }
    b->group = fdit_group_head(c);
    snprintf(b->prefix, sizeof b->prefix, "final_layer.");
    vector(b, FDIT_PARAM_NORM, "norm_final.weight", d);
    vector(b, FDIT_PARAM_NORM, "norm_final.bias", d);
    int n_out = c->kind == FDIT_MODEL_DIT ? fdit_config_patch_out(c) : c->rows;
    matrix(b, "linear.weight", true, n_out, d);
    vector(b, FDIT_PARAM_BIAS, "linear.bias", n_out);
    if (c->kind == FDIT_MODEL_DIT) {
        matrix(b, "adaLN_modulation.1.weight", true, 2 * d, d);
        vector(b, FDIT_PARAM_BIAS, "adaLN_modulation.1.bias", 2 * d);
    }
}

enum fdit_status fdit_params_init(fdit_context *ctx, const struct fdit_model_config *config,
                                  const struct fdit_mask *mask, struct fdit_params *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_params params = { .n_groups = fdit_group_count(config) };
    TRY(fdit_config_check(ctx, config));
    TRY(fdit_alloc(ctx, (size_t)params.n_groups, sizeof *params.groups, &params.groups));
    struct builder b = { .ctx = ctx, .mask = mask, .params = &params };
    add_all(&b, config);
    TRY(b.status);
    *out = params;
    return FDIT_OK;
out:
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
        fdit_buffer *all[] = { g->value, g->grad, g->m, g->v, g->ema, g->fixed };
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            fdit_buffer_free(all[j]);
    }
    fdit_free(params->list);
    fdit_free(params->groups);
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
