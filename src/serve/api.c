/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/api.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/option_table.h"
#include "format/json.h"
#include "serve/find.h"

#include <string.h>

struct fdit_api {
    const struct fdit_sample_options *o;
    const struct fdit_sample_source *source;
    const struct fdit_taxonomy *taxonomy;
    struct fdit_tree *tree;
    struct fdit_find *find;
    char *model; /* "DiT-S/2" */
};

enum fdit_status fdit_api_new(fdit_context *ctx, const struct fdit_sample_options *o,
                              const struct fdit_sample_source *source, struct fdit_api **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_api *api = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *api, &api));
    api->o = o;
    api->source = source;
    api->taxonomy = source->taxonomy;
    TRY(fdit_config_name(ctx, &source->files.config, &api->model));
    TRY(fdit_tree_new(ctx, api->taxonomy, &api->tree));
    TRY(fdit_find_new(ctx, api->taxonomy, api->tree, &api->find));
    *out = api;
    api = NULL;
out:
    fdit_api_free(api);
    return status;
}

void fdit_api_free(struct fdit_api *api)
{
    if (!api)
        return;
    fdit_find_free(api->find);
    fdit_tree_free(api->tree);
    fdit_free(api->model);
    fdit_free(api);
}

/* ------------------------------------------------------------------ requests */

struct call {
    fdit_context *ctx;
    const struct fdit_api *api;
    const struct fdit_http_request *request;
    struct fdit_http_reply *reply;
    struct fdit_json json; /* the answer */
};

/* A whole number of the address; *out stays as it is where it is not there. */
static enum fdit_status take_number(struct call *c, const char *name, int64_t least, int64_t most,
                                    int64_t *out)
{
    enum fdit_status status = FDIT_OK;
    const char *text = fdit_http_argument(c->request, name);
    if (!text)
        return FDIT_OK;
    TRY(fdit_parse_int64(c->ctx, name, text, out));
    if (*out < least || *out > most)
        FAIL(c->ctx, FDIT_ERROR_ARGUMENT, "%s %s: give %lld to %lld", name, text, (long long)least,
             (long long)most);
out:
    return status;
}

static enum fdit_status take_node(struct call *c, int32_t *node)
{
    enum fdit_status status = FDIT_OK;
    int64_t number = FDIT_TREE_ROOT;
    TRY(take_number(c, "node", INT32_MIN, INT32_MAX, &number));
    if (!fdit_tree_has(c->api->tree, number)) {
        c->reply->code = 404;
        FAIL(c->ctx, FDIT_ERROR_ARGUMENT, "node %lld is not there; ask 'tree' and 'search' for nodes",
             (long long)number);
    }
    *node = (int32_t)number;
out:
    return status;
}

/* ------------------------------------------------------------------ info */

static enum fdit_status answer_info(struct call *c)
{
    const struct fdit_api *api = c->api;
    const struct fdit_sample_options *o = api->o;
    struct fdit_json *b = &c->json;
    fdit_json_put_text(b, NULL, "version", fdit_version());
    fdit_json_put_text(b, NULL, "model", api->model);
    fdit_json_put_text(b, NULL, "base", fdit_path_base(o->base));
    json_t *deltas = fdit_json_put_array(b, NULL, "deltas");
    for (int i = 0; i < o->n_deltas; i++)
        fdit_json_put_text(b, deltas, NULL, fdit_path_base(o->deltas[i]));
    fdit_json_put_text(b, NULL, "guide", api->source->guide.text);
    fdit_json_put_int(b, NULL, "classes", fdit_taxonomy_n_classes(api->taxonomy));
    json_t *ranks = fdit_json_put_array(b, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(api->taxonomy); r++) {
        json_t *rank = fdit_json_put_object(b, ranks, NULL);
        fdit_json_put_text(b, rank, "name", fdit_taxonomy_rank_name(api->taxonomy, r));
        fdit_json_put_int(b, rank, "groups", fdit_taxonomy_n_groups(api->taxonomy, r));
    }
    return FDIT_OK;
}

/* ------------------------------------------------------------------ nodes */

static void put_node(struct call *c, json_t *to, int32_t node)
{
    const struct fdit_api *api = c->api;
    struct fdit_json *b = &c->json;
    int32_t rank = fdit_tree_rank(api->tree, node), classes;
    fdit_json_put_int(b, to, "node", node);
    fdit_json_put_text(b, to, "name", fdit_tree_name(api->tree, node));
    if (fdit_tree_is_class(api->tree, node))
        return;
    fdit_tree_classes(api->tree, node, &classes);
    if (rank >= 0)
        fdit_json_put_text(b, to, "rank", fdit_taxonomy_rank_name(api->taxonomy, rank));
    fdit_json_put_int(b, to, "children", fdit_tree_children(api->tree, node));
    fdit_json_put_int(b, to, "classes", classes);
}

/* What is above a node, from the uppermost on, each with its place among its parent's children. */
static void put_above(struct call *c, json_t *to, int32_t node)
{
    enum { DEEPEST = 64 };
    int32_t above[DEEPEST], n = 0;
    while (node != FDIT_TREE_ROOT && n < DEEPEST &&
           (node = fdit_tree_parent(c->api->tree, node)) != FDIT_TREE_ROOT)
        above[n++] = node;
    json_t *list = fdit_json_put_array(&c->json, to, "above");
    while (n-- > 0) {
        json_t *j = fdit_json_put_object(&c->json, list, NULL);
        fdit_json_put_int(&c->json, j, "node", above[n]);
        fdit_json_put_text(&c->json, j, "name", fdit_tree_name(c->api->tree, above[n]));
        fdit_json_put_int(&c->json, j, "place", fdit_tree_place(c->api->tree, above[n]));
    }
}

static enum fdit_status answer_tree(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_tree *tree = c->api->tree;
    int64_t first = 0, count = FDIT_API_MOST_NODES;
    int32_t node;
    TRY(take_node(c, &node));
    TRY(take_number(c, "first", 0, INT32_MAX, &first));
    TRY(take_number(c, "count", 0, FDIT_API_MOST_NODES, &count));
    int32_t total = fdit_tree_children(tree, node);
    put_node(c, NULL, node);
    if (node != FDIT_TREE_ROOT)
        fdit_json_put_int(&c->json, NULL, "place", fdit_tree_place(tree, node));
    put_above(c, NULL, node);
    fdit_json_put_int(&c->json, NULL, "total", total);
    fdit_json_put_int(&c->json, NULL, "first", first);
    json_t *nodes = fdit_json_put_array(&c->json, NULL, "nodes");
    for (int64_t i = first; i < total && i - first < count; i++)
        put_node(c, fdit_json_put_object(&c->json, nodes, NULL), fdit_tree_child(tree, node, (int32_t)i));
out:
    return status;
}

static enum fdit_status answer_search(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int64_t first = 0, count = 50;
    int32_t nodes[FDIT_API_MOST_NODES];
    size_t n, total;
    const char *query = fdit_http_argument(c->request, "q");
    if (!query)
        FAIL(c->ctx, FDIT_ERROR_ARGUMENT, "search: give what to look for, ?q=WORDS in UTF-8");
    TRY(take_number(c, "first", 0, INT32_MAX, &first));
    TRY(take_number(c, "count", 1, FDIT_API_MOST_NODES, &count));
    TRY(fdit_find_run(c->ctx, c->api->find, query, (size_t)first, (size_t)count, nodes, &n, &total));
    fdit_json_put_int(&c->json, NULL, "total", (int64_t)total);
    fdit_json_put_int(&c->json, NULL, "first", first);
    json_t *list = fdit_json_put_array(&c->json, NULL, "nodes");
    for (size_t i = 0; i < n; i++) {
        json_t *j = fdit_json_put_object(&c->json, list, NULL);
        put_node(c, j, nodes[i]);
        put_above(c, j, nodes[i]);
    }
out:
    return status;
}

/* ------------------------------------------------------------------ which is which */

static const struct {
    const char *path;
    bool post;
    enum fdit_status (*answer)(struct call *c);
} routes[] = {
    { "info", false, answer_info },
    { "tree", false, answer_tree },
    { "search", false, answer_search },
};

enum fdit_status fdit_api_answer(fdit_context *ctx, void *user, const struct fdit_http_request *request,
                                 struct fdit_http_reply *reply)
{
    enum fdit_status status = FDIT_OK;
    struct call c = { .ctx = ctx, .api = user, .request = request, .reply = reply };
    bool known = false;
    fdit_json_begin(&c.json);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, request->path))
            continue;
        known = true;
        if (routes[i].post != request->post)
            continue;
        TRY(routes[i].answer(&c));
        if (!reply->bytes && !reply->stream) {
            TRY(fdit_json_end(ctx, &c.json, "the answer", JSON_COMPACT, &reply->bytes));
            reply->n = strlen(reply->bytes);
        }
        goto out;
    }
    reply->code = known ? 405 : 404;
    status = fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                       known ? "/api/%s is asked for in another way; see the manual page"
                             : "/api/%s: there is no such function; see the manual page",
                       request->path);
out:
    fdit_json_fini(&c.json);
    return status;
}
