/* SPDX-License-Identifier: Apache-2.0 */
#include "model/params.h"

#include "core/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES "y_embedder." /* the class table, and the map of class vectors */

/* What a word of a mask puts on the model. */
enum puts { PUTS_NOTHING, PUTS_LORA, PUTS_GAMMAS };

static const struct word {
    struct fdit_mask mask;
    enum puts puts;
    bool rslora;
    enum fdit_gammas gammas;
} words[] = {
    { { "finediffusion", { { CLASSES, NULL }, { "bias", NULL }, { "norm", NULL } }, 3, { 0 } }, 0, false, 0 },
    { { "bitfit", { { CLASSES, NULL }, { "bias", "norm" } }, 2, { 0 } }, 0, false, 0 },
    { { "bias", { { CLASSES, NULL }, { "bias", "norm" } }, 2, { 0 } }, 0, false, 0 }, /* behind "lora:16+" */
    { { "norm", { { CLASSES, NULL }, { "norm", NULL } }, 2, { 0 } }, 0, false, 0 },
    { { "table", { { CLASSES, NULL } }, 1, { 0 } }, 0, false, 0 },
    { { "full", { { "", "pos_embed" } }, 1, { 0 } }, 0, false, 0 },
    { { "lora", { { CLASSES, NULL }, { "lora_", NULL } }, 2, { 0 } }, PUTS_LORA, false, 0 },
    { { "rslora", { { CLASSES, NULL }, { "lora_", NULL } }, 2, { 0 } }, PUTS_LORA, true, 0 },
    { { "difffit", { { CLASSES, NULL }, { "bias", NULL }, { "norm", NULL }, { "gamma", NULL } }, 4, { 0 } },
      PUTS_GAMMAS,
      false,
      FDIT_GAMMAS_BRANCH },
    { { "difffit-linear",
        { { CLASSES, NULL }, { "bias", NULL }, { "norm", NULL }, { "gamma", NULL } },
        4,
        { 0 } },
      PUTS_GAMMAS,
      false,
      FDIT_GAMMAS_LINEAR },
};
enum { N_WORDS = sizeof words / sizeof words[0] };

static const struct word *find_word(const char *name, size_t n)
{
    for (size_t i = 0; i < N_WORDS; i++)
        if (strlen(words[i].mask.name) == n && !memcmp(words[i].mask.name, name, n))
            return &words[i];
    return NULL;
}

const struct fdit_mask *fdit_mask_find(const char *name)
{
    const struct word *w = find_word(name, strlen(name));
    return w && w->puts == PUTS_NOTHING ? &w->mask : NULL;
}

/* "R" or "R:ALPHA" behind the word; ALPHA is R where it is not given. */
static enum fdit_status parse_rank(fdit_context *ctx, const char *text, const char *numbers, size_t n,
                                   struct fdit_adapter *out)
{
    char part[FDIT_MASK_NAME], *end = part;
    snprintf(part, sizeof part, "%.*s", (int)n, numbers);
    errno = 0;
    long rank = *part >= '0' && *part <= '9' ? strtol(part, &end, 10) : 0;
    out->alpha = (double)rank;
    if (*end == ':' && end != part) {
        char *alpha = end + 1;
        out->alpha = strtod(alpha, &end);
        end = end == alpha ? part : end;
    }
    if (end == part || *end)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--tune %s: give the rank, as lora:16, or rank and alpha, as lora:16:32", text);
    if (errno || rank < 1 || rank > 65536)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: the rank must be 1 to the width of the model",
                         text);
    if (!(out->alpha > 0) || !isfinite(out->alpha))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: alpha must be a number above 0", text);
    out->rank = (int)rank;
    return FDIT_OK;
}

/* One word, n bytes long, of `text` added to the mask. */
static enum fdit_status add_word(fdit_context *ctx, const char *text, const char *part, size_t n,
                                 struct fdit_mask *out)
{
    enum fdit_status status = FDIT_OK;
    const char *colon = memchr(part, ':', n);
    size_t name = colon ? (size_t)(colon - part) : n;
    const struct word *w = find_word(part, name);
    if (!w)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: \"%.*s\" is not known; use " FDIT_MASK_NAMES, text,
             (int)name, part);
    if (w->puts != PUTS_LORA && colon)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: %s takes no number; leave \"%.*s\" out", text,
             w->mask.name, (int)(n - name), colon);
    if (w->puts != PUTS_NOTHING) {
        if (fdit_adapter_any(&out->adapter))
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: a model takes one adapter; give one of them", text);
        out->adapter.rslora = w->rslora;
        out->adapter.gammas = w->gammas;
    }
    if (w->puts == PUTS_LORA) {
        TRY(parse_rank(ctx, text, colon ? colon + 1 : "", colon ? n - name - 1 : 0, &out->adapter));
    }
    if (out->n_rules + w->mask.n_rules > FDIT_MASK_RULES)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %s: too many words; name each once", text);
    for (int i = 0; i < w->mask.n_rules; i++)
        out->rules[out->n_rules++] = w->mask.rules[i];
out:
    return status;
}

enum fdit_status fdit_mask_parse(fdit_context *ctx, const char *text, struct fdit_mask *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_mask m = { .n_rules = 0 };
    if (strlen(text) >= sizeof m.name)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--tune %.80s...: is not known; use " FDIT_MASK_NAMES, text);
    snprintf(m.name, sizeof m.name, "%s", text);
    for (const char *part = text;; part++) {
        size_t n = strcspn(part, "+");
        TRY(add_word(ctx, text, part, n, &m));
        part += n;
        if (!*part)
            break;
    }
    if (fdit_adapter_any(&m.adapter) && fdit_mask_trains(&m, "blocks.0.attn.qkv.weight"))
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--tune %s: an adapter is for matrices that stay as they are; leave \"full\" out", text);
    *out = m;
out:
    return status;
}

bool fdit_mask_trains(const struct fdit_mask *mask, const char *param)
{
    if (mask && mask->n_rules && fdit_param_of_guidance(param))
        return true;
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
    if (kind == FDIT_PARAM_MATRIX || kind == FDIT_PARAM_LOW_RANK) {
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
    g->kept = g->trained;
}

static void layer(struct builder *b, struct fdit_layer *l, int tokens, const char *name, bool need_dx,
                  const int shape[4])
{
    l->tokens = tokens;
    add(b, &l->weight, FDIT_PARAM_MATRIX, need_dx, shape, name, ".weight");
    add(b, &l->bias, FDIT_PARAM_BIAS, false, (int[4]){ shape[0] }, name, ".bias");
}

/* Layers through which a gradient goes on to what is before them; `tokens` as in struct fdit_layer. */
static void linear(struct builder *b, struct fdit_layer *l, int tokens, const char *name, int n_out, int n_in)
{
    layer(b, l, tokens, name, true, (int[4]){ n_out, n_in });
}

/* A linear layer with the adapter of the model, if it has one: always behind its layer in the list. */
static void adapted(struct builder *b, const struct fdit_adapter *a, struct fdit_layer *l, int tokens,
                    const char *name, int n_out, int n_in)
{
    linear(b, l, tokens, name, n_out, n_in);
    if (!a->rank)
        return;
    add(b, &l->low_a, FDIT_PARAM_LOW_RANK, false, (int[4]){ a->rank, n_in }, name, ".lora_A");
    add(b, &l->low_b, FDIT_PARAM_LOW_RANK, false, (int[4]){ n_out, a->rank }, name, ".lora_B");
}

/* A layer on an input of the network, which needs no gradient. */
static void first_linear(struct builder *b, struct fdit_layer *l, int tokens, const char *name,
                         const int shape[4])
{
    layer(b, l, tokens, name, false, shape);
}

static void norm(struct builder *b, struct fdit_layer *l, int tokens, const char *name, int width)
{
    l->tokens = tokens;
    add(b, &l->weight, FDIT_PARAM_NORM, false, (int[4]){ width }, name, ".weight");
    add(b, &l->bias, FDIT_PARAM_NORM, false, (int[4]){ width }, name, ".bias");
}

static void factors(struct builder *b, struct fdit_param **role, const char *name, int n)
{
    add(b, role, FDIT_PARAM_GAMMA, false, (int[4]){ n }, name, "");
}

static void add_gammas(struct builder *b, const struct fdit_model_config *c, struct fdit_block_layers *l)
{
    const int d = c->width;
    if (c->adapter.gammas == FDIT_GAMMAS_BRANCH) {
        factors(b, &l->gamma1, "gamma1", d);
        factors(b, &l->gamma2, "gamma2", d);
    } else if (c->adapter.gammas == FDIT_GAMMAS_LINEAR) {
        factors(b, &l->qkv.gamma, "attn.gamma1", 3 * d);
        factors(b, &l->gamma1, "attn.gamma2", d);
        factors(b, &l->fc1.gamma, "mlp.gamma1", c->mlp_ratio * d);
        factors(b, &l->gamma2, "mlp.gamma2", d);
    }
}

static void add_block(struct builder *b, const struct fdit_model_config *c, struct fdit_block_layers *l)
{
    const int n = fdit_config_tokens(c), d = c->width, hidden = c->mlp_ratio * d;
    norm(b, &l->norm1, n, "norm1", d);
    adapted(b, &c->adapter, &l->qkv, n, "attn.qkv", 3 * d, d);
    if (c->qk_norm) {
        norm(b, &l->q_norm, n, "attn.q_norm", d / c->heads);
        norm(b, &l->k_norm, n, "attn.k_norm", d / c->heads);
    }
    adapted(b, &c->adapter, &l->proj, n, "attn.proj", d, d);
    norm(b, &l->norm2, n, "norm2", d);
    adapted(b, &c->adapter, &l->fc1, n, "mlp.fc1", hidden, d);
    adapted(b, &c->adapter, &l->fc2, n, "mlp.fc2", d, hidden);
    if (c->kind == FDIT_MODEL_DIT)
        linear(b, &l->ada, 1, "adaLN_modulation.1", 6 * d, d);
    add_gammas(b, c, l);
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
        if (c->class_vectors)
            first_linear(b, &e->class_map, 1, "y_embedder.class_map", (int[4]){ d, c->class_vectors });
        if (c->guidance_input) {
            first_linear(b, &e->w0, 1, "w_embed.mlp.0", (int[4]){ d, 1 });
            linear(b, &e->w2, 1, "w_embed.mlp.2", d, d);
            norm(b, &e->w_norm, 1, "w_embed.norm", d);
        }
        b->group = fdit_group_table(c);
        add(b, &e->table, FDIT_PARAM_TABLE, false, (int[4]){ c->table_rows, d }, "y_embedder.embedding_table",
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
    linear(b, &e->linear, dit ? n : 1, "linear", dit ? fdit_config_patch_out(c) : c->table_rows, d);
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
        if (!params->list[i].borrowed)
            fdit_weight_free(params->list[i].weight);
        fdit_free(params->list[i].name);
    }
    for (int i = 0; params->groups && i < params->n_groups; i++) {
        struct fdit_group *g = &params->groups[i];
        fdit_buffer *all[] = { g->value, g->grad, g->ema, g->base, g->fixed };
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            fdit_buffer_free(all[j]);
        for (int j = 0; j < FDIT_MOST_MOMENTS; j++)
            fdit_buffer_free(g->moment[j]);
        for (int j = 0; j < FDIT_EMA_PROFILES; j++)
            fdit_buffer_free(g->profile[j]);
    }
    fdit_free(params->list);
    fdit_free(params->groups);
    fdit_free(params->blocks);
    *params = (struct fdit_params){ 0 };
}

bool fdit_param_of_class_map(const char *name)
{
    static const char map[] = "y_embedder.class_map.";
    return !strncmp(name, map, sizeof map - 1);
}

bool fdit_param_of_guidance(const char *name)
{
    static const char embedding[] = "w_embed.";
    return !strncmp(name, embedding, sizeof embedding - 1);
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
