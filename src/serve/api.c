/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/api.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/option_table.h"
#include "format/json.h"
#include "serve/find.h"
#include "serve/runs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct fdit_api {
    struct fdit_studio *studio;
    struct fdit_api_shown shown;
    const struct fdit_order_model *model; /* the first */
    const struct fdit_taxonomy *taxonomy;
    struct fdit_tree *tree;
    struct fdit_find *find;
};

enum fdit_status fdit_api_new(fdit_context *ctx, struct fdit_studio *studio,
                              const struct fdit_api_shown *shown, struct fdit_api **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_api *api = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *api, &api));
    api->studio = studio;
    api->shown = *shown;
    api->model = fdit_studio_model(studio, 0);
    api->taxonomy = api->model->source.taxonomy;
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

/* What was asked for by its number and is not there is 404, whatever the reason is called. */
static enum fdit_status found(struct call *c, enum fdit_status status)
{
    if (status == FDIT_ERROR_ARGUMENT)
        c->reply->code = 404;
    return status;
}

static enum fdit_status take_node(struct call *c, int32_t *node)
{
    enum fdit_status status = FDIT_OK;
    int64_t number = FDIT_TREE_ROOT;
    TRY(take_number(c, "node", INT32_MIN, INT32_MAX, &number));
    if (!fdit_tree_has(c->api->tree, number))
        TRY(found(c,
                  fdit_fail(c->ctx, FDIT_ERROR_ARGUMENT,
                            "node %lld is not there; ask 'tree' and 'search' for nodes", (long long)number)));
    *node = (int32_t)number;
out:
    return status;
}

/* ------------------------------------------------------------------ info */

static void put_ranks(struct call *c)
{
    const struct fdit_taxonomy *taxonomy = c->api->taxonomy;
    json_t *ranks = fdit_json_put_array(&c->json, NULL, "ranks");
    for (int32_t r = 0; r < fdit_taxonomy_n_ranks(taxonomy); r++) {
        json_t *rank = fdit_json_put_object(&c->json, ranks, NULL);
        fdit_json_put_text(&c->json, rank, "name", fdit_taxonomy_rank_name(taxonomy, r));
        fdit_json_put_int(&c->json, rank, "groups", fdit_taxonomy_n_groups(taxonomy, r));
    }
}

/* Those that draw from models of this objective. */
static void put_samplers(struct call *c, enum fdit_objective_id objective)
{
#define COMMA ,
#define ROW(ENUM, rule, name, setting, steps, of) name
    static const char *const names[] = { FDIT_SAMPLERS(ROW, COMMA) };
#undef ROW
#undef COMMA
    json_t *list = fdit_json_put_array(&c->json, NULL, "samplers");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fdit_sampler_spec spec;
        struct fdit_sampler *sampler = NULL;
        if (fdit_sampler_parse(NULL, names[i], &spec) != FDIT_OK)
            continue;
        spec.objective = objective;
        if (fdit_sampler_new(NULL, &spec, fdit_sampler_default_steps(spec.kind), &sampler) == FDIT_OK)
            fdit_json_put_text(&c->json, list, NULL, names[i]);
        fdit_sampler_free(sampler);
    }
}

/* What holds where an order says nothing, and between which limits it may choose. */
static enum fdit_status put_drawing(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_order_model *model = c->api->model;
    struct fdit_sample_options o = model->options;
    char sampler[40];
    TRY(fdit_sample_settle(c->ctx, &o, &model->source, model->pixels));
    fdit_sampler_format(&o.sampler, sampler);
    json_t *usual = fdit_json_put_object(&c->json, NULL, "usual");
    fdit_json_put_text(&c->json, usual, "guide", model->source.guide.text);
    fdit_json_put_real(&c->json, usual, "guidance", o.guidance.w);
    fdit_json_put_text(&c->json, usual, "sampler", sampler);
    fdit_json_put_int(&c->json, usual, "steps",
                      o.steps ? o.steps : fdit_sampler_default_steps(o.sampler.kind));
    put_samplers(c, model->source.files.config.objective);
    fdit_json_put_int(&c->json, NULL, "size", model->size);
    fdit_json_put_int(&c->json, NULL, "most_pictures", FDIT_ORDER_MOST_PICTURES);
    fdit_json_put_int(&c->json, NULL, "batch", fdit_studio_round(c->api->studio));
out:
    return status;
}

static enum fdit_status answer_info(struct call *c)
{
    struct fdit_json *b = &c->json;
    fdit_json_put_text(b, NULL, "version", fdit_version());
    fdit_json_put_text(b, NULL, "model", c->api->model->name);
    fdit_json_put_text(b, NULL, "base", c->api->model->options.base);
    json_t *deltas = fdit_json_put_array(b, NULL, "deltas");
    for (int i = 0; i < fdit_studio_models(c->api->studio); i++)
        if (fdit_studio_model(c->api->studio, i)->options.delta)
            fdit_json_put_text(b, deltas, NULL, fdit_studio_model(c->api->studio, i)->options.delta);
    fdit_json_put_int(b, NULL, "classes", fdit_taxonomy_n_classes(c->api->taxonomy));
    fdit_json_put_bool(b, NULL, "real", c->api->shown.real != NULL);
    fdit_json_put_int(b, NULL, "runs", c->api->shown.n_runs);
    put_ranks(c);
    return put_drawing(c);
}

/* ------------------------------------------------------------------ nodes */

static void put_node(struct call *c, json_t *to, int32_t node)
{
    const struct fdit_api *api = c->api;
    struct fdit_json *b = &c->json;
    int32_t rank = fdit_tree_rank(api->tree, node), classes;
    const int32_t *list = fdit_tree_classes(api->tree, node, &classes);
    fdit_json_put_int(b, to, "node", node);
    fdit_json_put_text(b, to, "name", fdit_tree_name(api->tree, node));
    if (api->shown.real) {
        int64_t real = 0;
        for (int32_t i = 0; i < classes; i++)
            real += (int64_t)fdit_real_count(api->shown.real, list[i]);
        fdit_json_put_int(b, to, "real", real);
    }
    if (fdit_tree_is_class(api->tree, node))
        return;
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

/* Means over the classes of a node; some of them, evenly spread, to show; and how it is asked for. */
static enum fdit_status put_details(struct call *c, int32_t node)
{
    enum { SOME = 12 };
    enum fdit_status status = FDIT_OK;
    const struct fdit_api *api = c->api;
    const struct fdit_numbers *numbers = api->shown.numbers;
    int32_t n, rank = fdit_tree_rank(api->tree, node);
    const int32_t *list = fdit_tree_classes(api->tree, node, &n);
    char *text = NULL;
    json_t *j = fdit_json_put_object(&c->json, NULL, "numbers");
    for (int i = 0; numbers && i < numbers->n; i++)
        if (!isnan(fdit_numbers_mean(numbers, i, list, n)))
            fdit_json_put_real(&c->json, j, numbers->names[i], fdit_numbers_mean(numbers, i, list, n));
    j = fdit_json_put_array(&c->json, NULL, "some");
    for (int64_t i = 0; i < n && i < SOME; i++)
        fdit_json_put_int(&c->json, j, NULL, list[n <= SOME ? i : i * n / SOME]);
    if (fdit_tree_is_class(api->tree, node))
        TRY(fdit_strf(c->ctx, &text, "#%d", node));
    else if (rank >= 0)
        TRY(fdit_strf(c->ctx, &text, "%s=%s", fdit_taxonomy_rank_name(api->taxonomy, rank),
                      fdit_tree_name(api->tree, node)));
    fdit_json_put_text(&c->json, NULL, "select", text ? text : "all");
out:
    fdit_free(text);
    return status;
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
    TRY(put_details(c, node));
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

/* ------------------------------------------------------------------ drawing */

static enum fdit_status read_body(struct call *c, json_t **out)
{
    return fdit_json_parse(c->ctx, "the request", c->request->body, c->request->n, 4, out);
}

/* A body that is not JSON is the client's fault. */
static enum fdit_status body_status(struct call *c, enum fdit_status status)
{
    if (status == FDIT_ERROR_FORMAT)
        c->reply->code = 400;
    return status;
}

static enum fdit_status answer_draw(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    json_t *asked = NULL;
    TRY(body_status(c, read_body(c, &asked)));
    status = fdit_studio_order(c->ctx, c->api->studio, asked, &c->json);
    if (status == FDIT_ERROR_UNSUPPORTED)
        c->reply->code = 429;
out:
    json_decref(asked);
    return status;
}

static enum fdit_status answer_cancel(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    json_t *asked = NULL;
    TRY(body_status(c, read_body(c, &asked)));
    const json_t *order = json_object_get(asked, "order");
    if (!json_is_integer(order))
        FAIL(c->ctx, FDIT_ERROR_ARGUMENT, "send the number of the order: {\"order\":1}");
    TRY(found(c, fdit_studio_cancel(c->ctx, c->api->studio, json_integer_value(order))));
    TRY(found(c, fdit_studio_put_order(c->ctx, c->api->studio, json_integer_value(order), &c->json)));
out:
    json_decref(asked);
    return status;
}

static enum fdit_status answer_orders(struct call *c)
{
    fdit_studio_put_orders(c->api->studio, &c->json, fdit_json_put_array(&c->json, NULL, "orders"));
    return FDIT_OK;
}

static enum fdit_status answer_order(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int64_t id = 0;
    TRY(take_number(c, "order", 0, INT64_MAX, &id));
    TRY(found(c, fdit_studio_put_order(c->ctx, c->api->studio, id, &c->json)));
out:
    return status;
}

/* Which order, and which of its pictures. */
static enum fdit_status take_picture(struct call *c, int64_t *id, int64_t *p)
{
    enum fdit_status status = FDIT_OK;
    TRY(take_number(c, "order", 0, INT64_MAX, id));
    TRY(take_number(c, "picture", 0, INT32_MAX, p));
out:
    return status;
}

static enum fdit_status answer_picture(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int64_t id = 0, p = 0;
    TRY(take_picture(c, &id, &p));
    TRY(found(c, fdit_studio_picture(c->ctx, c->api->studio, id, p, &c->reply->bytes, &c->reply->n,
                                     c->reply->download)));
    c->reply->type = "image/png";
out:
    return status;
}

static enum fdit_status answer_preview(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int64_t id = 0, p = 0;
    TRY(take_picture(c, &id, &p));
    TRY(found(c, fdit_studio_preview(c->ctx, c->api->studio, id, p, &c->reply->bytes, &c->reply->n)));
    c->reply->code = c->reply->bytes ? 0 : 204;
    c->reply->type = "image/png";
    if (!c->reply->bytes)
        TRY(fdit_alloc(c->ctx, 1, 1, &c->reply->bytes));
out:
    return status;
}

static enum fdit_status answer_sheet(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int64_t id = 0, page = 0;
    int n;
    TRY(take_number(c, "order", 0, INT64_MAX, &id));
    TRY(take_number(c, "page", 0, INT32_MAX, &page));
    TRY(found(c, fdit_studio_sheet(c->ctx, c->api->studio, id, page, &c->reply->file, &c->reply->n)));
    c->reply->from_file = true;
    c->reply->type = "image/png";
    n = snprintf(c->reply->download, sizeof c->reply->download, "sheet-%lld", (long long)id);
    if (page)
        n += snprintf(c->reply->download + n, sizeof c->reply->download - (size_t)n, "-page-%lld",
                      (long long)page);
    snprintf(c->reply->download + n, sizeof c->reply->download - (size_t)n, ".png");
out:
    return status;
}

/* ------------------------------------------------------------------ real pictures and runs */

static enum fdit_status answer_real(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    int32_t node;
    int64_t k = 0;
    TRY(take_node(c, &node));
    TRY(take_number(c, "picture", 0, INT32_MAX, &k));
    c->reply->type = "image/png";
    if (!c->api->shown.real)
        TRY(found(c, fdit_fail(c->ctx, FDIT_ERROR_ARGUMENT,
                               "no real pictures are served; start 'serve' with --data DATA")));
    TRY(found(
        c, fdit_real_picture(c->ctx, c->api->shown.real, node, (size_t)k, &c->reply->bytes, &c->reply->n)));
out:
    return status;
}

static enum fdit_status answer_runs(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    json_t *runs = fdit_json_put_array(&c->json, NULL, "runs");
    for (int i = 0; i < c->api->shown.n_runs; i++) {
        int64_t *steps = NULL;
        size_t n;
        TRY(fdit_runs_previews(c->ctx, c->api->shown.runs[i], &steps, &n));
        json_t *run = fdit_json_put_object(&c->json, runs, NULL);
        fdit_json_put_text(&c->json, run, "run", c->api->shown.runs[i]);
        json_t *list = fdit_json_put_array(&c->json, run, "previews");
        for (size_t k = 0; k < n; k++)
            fdit_json_put_int(&c->json, list, NULL, steps[k]);
        fdit_free(steps);
    }
out:
    return status;
}

static enum fdit_status take_run(struct call *c, const char **run)
{
    enum fdit_status status = FDIT_OK;
    int64_t i = 0;
    TRY(take_number(c, "run", 0, INT32_MAX, &i));
    if (i >= c->api->shown.n_runs)
        TRY(found(c, fdit_fail(c->ctx, FDIT_ERROR_ARGUMENT,
                               "run %lld is not there; 'runs' lists them, from 0 on", (long long)i)));
    *run = c->api->shown.runs[i];
out:
    return status;
}

static enum fdit_status answer_log(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    const char *run;
    int64_t from = 0;
    TRY(take_run(c, &run));
    TRY(take_number(c, "from", 0, INT64_MAX / 2, &from));
    TRY(fdit_runs_log(c->ctx, run, from, &c->reply->bytes, &c->reply->n));
    c->reply->type = "text/plain; charset=utf-8";
out:
    return status;
}

static enum fdit_status answer_run_preview(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    const char *run;
    int64_t step = 0;
    TRY(take_run(c, &run));
    TRY(take_number(c, "step", 0, INT64_MAX, &step));
    c->reply->type = "image/png";
    TRY(found(c, fdit_runs_preview(c->ctx, run, step, &c->reply->file, &c->reply->n)));
    c->reply->from_file = true;
out:
    return status;
}

/* ------------------------------------------------------------------ events */

struct events {
    struct fdit_studio *studio;
    uint64_t seen;
};

static ssize_t next_event(void *user, char *out, size_t room)
{
    struct events *e = user;
    struct fdit_json b;
    char *text = NULL;
    int n = 0;
    if (fdit_studio_stopping(e->studio))
        return -1;
    fdit_json_begin(&b);
    if (fdit_studio_next(e->studio, &e->seen, &b) &&
        fdit_json_end(NULL, &b, "an event", JSON_COMPACT, &text) == FDIT_OK)
        n = snprintf(out, room, "data: %s\n\n", text);
    fdit_json_fini(&b);
    fdit_free(text);
    return n > 0 && (size_t)n < room ? n : 0;
}

static enum fdit_status answer_events(struct call *c)
{
    enum fdit_status status = FDIT_OK;
    struct events *e = NULL;
    TRY(fdit_alloc(c->ctx, 1, sizeof *e, &e));
    *e = (struct events){ c->api->studio, fdit_studio_now(c->api->studio) };
    c->reply->stream = next_event;
    c->reply->stream_end = fdit_free;
    c->reply->stream_user = e;
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
    { "draw", true, answer_draw },
    { "cancel", true, answer_cancel },
    { "orders", false, answer_orders },
    { "order", false, answer_order },
    { "picture", false, answer_picture },
    { "preview", false, answer_preview },
    { "sheet", false, answer_sheet },
    { "events", false, answer_events },
    { "real", false, answer_real },
    { "runs", false, answer_runs },
    { "log", false, answer_log },
    { "run-preview", false, answer_run_preview },
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
        if (!reply->bytes && !reply->from_file && !reply->stream) {
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
