/* SPDX-License-Identifier: Apache-2.0
 * cmd_serve.c: `finediffusion serve`. */
#include "cli/cli.h"

#include "core/file.h"
#include "core/phase.h"
#include "serve/api.h"
#include "serve/page.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

enum { MOST_HOSTS = 8 };

struct args {
    struct fdit_sample_options o;
    const char *listen;
    int port;
    const char *hosts[MOST_HOSTS];
    int n_hosts;
};

static enum fdit_status parse_host(fdit_context *ctx, void *args, const char *value)
{
    struct args *a = args;
    if (a->n_hosts == MOST_HOSTS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--host %s: more than %d names; give fewer", value,
                         MOST_HOSTS);
    a->hosts[a->n_hosts++] = value;
    return FDIT_OK;
}

static const char *const model_names[] = { "base",     "delta", "weights-from", "objective", "model",
                                           "taxonomy", "ranks", "force",        NULL };
static const struct fdit_borrowed model = { .heading = "Model",
                                            .table = fdit_sample_option_table,
                                            .names = model_names,
                                            .offset = offsetof(struct args, o) };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct args, field)
static const struct fdit_option options[] = {
    FDIT_HEADING("Server"),
    { ROW(INT, "port", "N", port), FDIT_RANGE(0, 65535), .usual = "8080",
      .help = "port of the page; 0: one that is free" },
    { ROW(TEXT, "listen", "ADDRESS", listen), .usual = "127.0.0.1",
      .help =
          "address to listen at; one that other machines can reach needs --host, and everything, the token "
          "too, goes over the network in the clear: 'ssh -L 8080:localhost:8080' is the safe way" },
    { ROW(PARSE, "host", "NAME[:PORT]", hosts), .parse = parse_host,
      .help =
          "another name that the address in the browser may have, several times for several: of --listen, or "
          "of the end of a tunnel on another port" },
    { 0 }
};

static void defaults(void *p)
{
    struct args *a = p;
    a->o = fdit_sample_defaults();
}

/* For people on stderr, for programs on stdout: a line that begins with the address. */
static enum fdit_status tell(struct fdit_cli *cli, const struct fdit_http *http)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    fdit_json_begin(&b);
    if (cli->json) {
        fdit_json_put_text(&b, NULL, "address", fdit_http_address(http));
        fdit_json_put_text(&b, NULL, "token", fdit_http_token(http));
        TRY(fdit_cli_print_json(cli, &b, JSON_COMPACT));
    } else {
        fdit_cli_print(cli, "%s#%s\n", fdit_http_address(http), fdit_http_token(http));
    }
    fflush(stdout);
    fdit_cli_note(cli, "open this address in a browser of this machine; Ctrl-C ends");
out:
    fdit_json_fini(&b);
    return status;
}

static void wait_for_the_end(const fdit_context *ctx)
{
    const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
    while (!fdit_stopped(ctx))
        nanosleep(&pause, NULL);
}

static enum fdit_status check(struct fdit_cli *cli, const struct args *a)
{
    enum fdit_status status = FDIT_OK;
    char why[512];
    if (!fdit_http_available(why, sizeof why))
        FAIL(cli->ctx, FDIT_ERROR_UNSUPPORTED, "%s", why);
    if (!a->o.base)
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "give the weights to serve: --base FILE, and --delta FILE of a run over it");
out:
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct args *a = p;
    struct fdit_sample_source source = { .base = NULL };
    struct fdit_http_options how = {
        .listen = a->listen, .port = a->port, .hosts = a->hosts, .n_hosts = a->n_hosts
    };
    struct fdit_api *api = NULL;
    struct fdit_http *http = NULL;
    (void)n;
    (void)operands;
    TRY(check(cli, a));
    fdit_phase_begin(cli->ctx, 0, "reading %s", fdit_path_base(a->o.base));
    status = fdit_sample_source_open(cli->ctx, &a->o, &source);
    fdit_phase_end(cli->ctx);
    TRY(status);
    TRY(fdit_api_new(cli->ctx, &a->o, &source, &api));
    how.files = fdit_page_files;
    how.answer = fdit_api_answer;
    how.user = api;
    TRY(fdit_http_start(cli->ctx, &how, &http));
    fdit_cli_banner(cli, "classes", "%d", fdit_taxonomy_n_classes(source.taxonomy));
    TRY(tell(cli, http));
    wait_for_the_end(cli->ctx); /* which is what a server is asked for: not a failure */
out:
    fdit_http_stop(http);
    fdit_api_free(api);
    fdit_sample_source_close(&source);
    return status;
}

const struct fdit_command fdit_command_serve = {
    .name = "serve",
    .summary = "show a model's classes on a page in the browser",
    .synopsis = "--base FILE [--delta FILE] [OPTION]...",
    .about =
        "Serves a page on which the tree of classes is looked through and searched. The address that is "
        "printed "
        "ends with a token, which is new each time; without it nothing but the empty page is given out. Only "
        "this machine can reach the page, unless --listen says otherwise.\n\n"
        "Scripts use the same functions, in JSON: GET /api/info, /api/tree and /api/search, with the token "
        "in "
        "the header 'Authorization: Bearer TOKEN'.",
    .examples = "  finediffusion serve --base base.safetensors --delta run/delta.safetensors\n"
                "  finediffusion serve --base base.safetensors --port 0 --json\n"
                "  curl -H \"Authorization: Bearer $TOKEN\" \\\n"
                "      'http://127.0.0.1:8080/api/search?q=turdus'\n",
    .borrowed = &model,
    .options = options,
    .common = FDIT_COMMON_JSON | FDIT_COMMON_LINE,
    .most_operands = 0,
    .args_size = sizeof(struct args),
    .defaults = defaults,
    .run = run,
};
