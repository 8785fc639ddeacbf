/* SPDX-License-Identifier: Apache-2.0
 * cmd_serve.c: `finediffusion serve`. */
#include "cli/cli.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/phase.h"
#include "serve/api.h"
#include "serve/page.h"

#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_HOSTS = 8, MOST_RUNS = 16, MOST_TABLES = 8 };

struct args {
    struct fdit_sample_options o;
    const char *data;
    enum fdit_fit fit;
    const char *runs[MOST_RUNS], *tables[MOST_TABLES];
    int n_runs, n_tables;
    const char *listen;
    int port;
    const char *hosts[MOST_HOSTS];
    int n_hosts;
    size_t picture_bytes;
};

static enum fdit_status parse_run(fdit_context *ctx, void *args, const char *value)
{
    struct args *a = args;
    if (a->n_runs == MOST_RUNS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--run %s: more than %d runs; give fewer", value,
                         MOST_RUNS);
    a->runs[a->n_runs++] = value;
    return FDIT_OK;
}

static enum fdit_status parse_table(fdit_context *ctx, void *args, const char *value)
{
    struct args *a = args;
    if (a->n_tables == MOST_TABLES)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--by-class %s: more than %d tables; give fewer", value,
                         MOST_TABLES);
    a->tables[a->n_tables++] = value;
    return FDIT_OK;
}

static enum fdit_status parse_host(fdit_context *ctx, void *args, const char *value)
{
    struct args *a = args;
    if (a->n_hosts == MOST_HOSTS)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--host %s: more than %d names; give fewer", value,
                         MOST_HOSTS);
    a->hosts[a->n_hosts++] = value;
    return FDIT_OK;
}

/* As `sample` reads it: each once, in the order in which they were typed. */
static enum fdit_status parse_delta(fdit_context *ctx, void *args, const char *value)
{
    struct args *a = args;
    return fdit_option_set(ctx, fdit_option_find(fdit_sample_option_table, "delta"), &a->o, value);
}

static const char *const model_names[] = { "base",  "weights-from", "objective", "model", "taxonomy",
                                           "ranks", "vae",          "vae-scale", "merge", "force",
                                           "guide", "batch",        NULL };
static const struct fdit_borrowed borrowed = { .heading = "Model",
                                               .table = fdit_sample_option_table,
                                               .names = model_names,
                                               .offset = offsetof(struct args, o) };

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct args, field)
static const struct fdit_option options[] = {
    { FDIT_OPTION_ROW(TEXT, "delta", "FILE", struct args, o.delta), .parse = parse_delta,
      .help = "delta.safetensors of a run, or one of its checkpoints; several --delta of one base: the page "
              "shows "
              "their pictures beside each other" },
    FDIT_HEADING("Shown beside what is drawn"),
    { ROW(TEXT, "data", "DATA", data),
      .help = "data set with real pictures of the classes; not each class needs some" },
    { ROW(CHOICE, "fit", "crop|pad", fit), .usual = "crop", .help = "how those become square" },
    { FDIT_OPTION_ROW(TEXT, "orient", "exif|none", struct args, o.look.orient),
      .note = ": as the delta was trained",
      .help = "turn them upright as their EXIF data say, or leave them as stored" },
    { FDIT_OPTION_ROW(TEXT, "matte", "white|black|#rrggbb", struct args, o.look.matte),
      .note = ": as the delta was trained", .help = "background of their transparent pixels" },
    { ROW(PARSE, "run", "RUN", runs), .parse = parse_run,
      .help = "run of 'train' whose log and previews are shown, also while it goes on; several times for "
              "several. "
              "The losses of its classes (val-classes.tsv) are shown with them" },
    { ROW(PARSE, "by-class", "FILE.tsv", tables), .parse = parse_table,
      .help = "table with numbers of each class, as of 'eval --by-class'; several times for several" },
    FDIT_HEADING("Server"),
    { ROW(SIZE, "picture-memory", "SIZE", picture_bytes), .usual = "256M",
      .help =
          "memory for pictures that are drawn: older ones make room, and an order whose pictures could take "
          "more is refused" },
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

/* A step, or a reply, that takes longer than this is not waited for: nothing of it is lost, pictures are the
 * clients'. Both together leave room within the five seconds that are promised. The command's own status is
 * told here when it does not get further. */
static void end_threads(struct fdit_cli *cli, struct fdit_studio *studio, struct fdit_http *http,
                        enum fdit_status status)
{
    const char *what = !fdit_studio_stop(studio, 3) ? "step" : !fdit_http_stop(http, 1) ? "reply" : NULL;
    if (!what)
        return;
    fdit_cli_note(cli, "a %s is not over yet; ending without it", what);
    if (status != FDIT_OK)
        fdit_cli_error(cli, fdit_context_message(cli->ctx));
    fflush(NULL);
    _exit(fdit_cli_exit_code(status));
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

static void print_banner(struct fdit_cli *cli, const struct fdit_studio *studio, const char *devices)
{
    const struct fdit_order_model *model = fdit_studio_model(studio, 0);
    fdit_cli_banner(cli, "device", "%s", devices);
    for (int i = 0; i < fdit_studio_models(studio); i++) {
        const struct fdit_sample_options *o = &fdit_studio_model(studio, i)->options;
        fdit_cli_banner(cli, "model", "%s, %s%s%s%s%s", model->name, o->base, o->delta ? " with " : "",
                        o->delta ? o->delta : "", o->vae ? ", decoded by " : "", o->vae ? o->vae : "");
    }
    fdit_cli_banner(cli, "classes", "%d in %d ranks", fdit_taxonomy_n_classes(model->source.taxonomy),
                    fdit_taxonomy_n_ranks(model->source.taxonomy));
    fdit_cli_banner(cli, "batch", "%d", fdit_studio_round(studio));
}

/* What is served, from the weights on. */
struct work {
    struct fdit_devices devices;
    struct fdit_studio *studio;
    struct fdit_real *real;
    struct fdit_numbers numbers;
    struct fdit_api *api;
    struct fdit_http *http;
    char *names; /* of the devices */
};

/* "run" of "here/run"; of "here/run/" the whole. */
static const char *name_of(const char *path)
{
    return *fdit_path_base(path) ? fdit_path_base(path) : path;
}

/* Real pictures and numbers of the classes. A run has no table before its first validation. */
static enum fdit_status open_shown(struct fdit_cli *cli, const struct args *a, struct work *w)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_order_model *m = fdit_studio_model(w->studio, 0);
    char *path = NULL;
    if (a->data) {
        fdit_phase_begin(cli->ctx, 0, "reading the names of pictures in %s", a->data);
        status =
            fdit_real_open(cli->ctx, a->data, &m->source, &a->o.look, a->fit, m->size, m->channels, &w->real);
        fdit_phase_end(cli->ctx);
        TRY(status);
    }
    for (int i = 0; i < a->n_tables; i++)
        TRY(fdit_numbers_read(cli->ctx, a->tables[i], a->n_tables > 1 ? name_of(a->tables[i]) : NULL,
                              m->source.taxonomy, &w->numbers));
    for (int i = 0; i < a->n_runs; i++) {
        fdit_free(path);
        if (!fdit_is_folder(a->runs[i]))
            FAIL(cli->ctx, FDIT_ERROR_IO, "--run %s: there is no such folder; give the --out of a 'train'",
                 a->runs[i]);
        TRY(fdit_path_join(cli->ctx, a->runs[i], "val-classes.tsv", &path));
        if (fdit_file_exists(path))
            TRY(fdit_numbers_read(cli->ctx, path, name_of(a->runs[i]), m->source.taxonomy, &w->numbers));
    }
out:
    fdit_free(path);
    return status;
}

static enum fdit_status serve(struct fdit_cli *cli, struct args *a, struct work *w)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_http_options how = { .listen = a->listen,
                                           .port = a->port,
                                           .hosts = a->hosts,
                                           .n_hosts = a->n_hosts,
                                           .files = fdit_page_files,
                                           .answer = fdit_api_answer };
    if (!cli->plan)
        TRY(fdit_http_open(cli->ctx, &how,
                           &w->http)); /* a port that is taken is said before all that takes long */
    TRY(fdit_cli_devices(cli, &w->devices));
    TRY(fdit_devices_names(cli->ctx, &w->devices, &w->names));
    a->o.precision = fdit_device_precision(w->devices.list[0]);
    a->o.storage = cli->weights;
    a->o.memory = cli->memory;
    TRY(fdit_studio_open(cli->ctx, &w->devices, &a->o, a->picture_bytes, &w->studio));
    TRY(open_shown(cli, a, w));
    const struct fdit_api_shown shown = { w->real, &w->numbers, a->runs, a->n_runs };
    TRY(fdit_api_new(cli->ctx, w->studio, &shown, &w->api));
    TRY(fdit_studio_plan(cli->ctx, w->studio, w->real ? fdit_real_bytes(w->real) : 0));
    for (int i = 0; i < w->devices.n; i++)
        TRY(fdit_cli_plan(cli, fdit_studio_plan_of(w->studio, i), 0));
    if (cli->plan)
        goto out;
    TRY(fdit_studio_start(cli->ctx, w->studio));
    TRY(fdit_http_start(cli->ctx, w->http, w->api));
    print_banner(cli, w->studio, w->names);
    TRY(tell(cli, w->http));
    wait_for_the_end(cli->ctx); /* which is what a server is asked for: not a failure */
out:
    return status;
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    struct work w = { .studio = NULL };
    (void)n;
    (void)operands;
    TRY(check(cli, p));
    TRY(serve(cli, p, &w));
out:
    end_threads(cli, w.studio, w.http, status);
    fdit_api_free(w.api);
    fdit_numbers_fini(&w.numbers);
    fdit_real_close(w.real);
    fdit_studio_close(w.studio);
    fdit_free(w.names);
    fdit_devices_close(&w.devices);
    return status;
}

const struct fdit_command fdit_command_serve = {
    .name = "serve",
    .summary = "a page in the browser: classes, drawing, runs",
    .synopsis = "--base FILE [--delta FILE] [OPTION]...",
    .about =
        "Serves a page on which the tree of classes is looked through and searched, real pictures "
        "stand beside drawn ones, any class or group is drawn, deltas are compared, and runs are "
        "watched while they train. The address that is printed ends with a token, which is new each "
        "time; without it nothing but the empty page is given out. Only this machine can reach the "
        "page, unless --listen says otherwise.\n\n"
        "Scripts use the same functions, in JSON, with the token in the header 'Authorization: Bearer "
        "TOKEN': GET /api/info, /api/tree, /api/search, /api/orders, /api/order, /api/picture, "
        "/api/preview, /api/sheet, /api/real, /api/runs, /api/log, /api/run-preview and /api/events "
        "(server-sent events), POST /api/draw and /api/cancel. An order has the names of the options "
        "of 'sample', and its pictures are the files that 'sample' writes, byte for byte. One model "
        "serves all: batches are filled from several orders.\n\n"
        "A contact sheet has 100 classes; /api/order says in \"sheets\" how many there are of an order, and "
        "'page', from 0, chooses one: /api/sheet?order=1&page=0.\n\n"
        "SIGTERM and Ctrl-C drop what is queued and end the program within five seconds, with exit status "
        "0.",
    .examples = "  finediffusion serve --base base.safetensors --delta run/delta.safetensors\n"
                "  finediffusion serve --base base.safetensors --port 0 --json\n"
                "  curl -H \"Authorization: Bearer $TOKEN\" \\\n"
                "      'http://127.0.0.1:8080/api/search?q=turdus'\n"
                "  curl -H \"Authorization: Bearer $TOKEN\" \\\n"
                "      -H 'Content-Type: application/json' -d '{\"classes\":\"#5\"}' \\\n"
                "      http://127.0.0.1:8080/api/draw\n",
    .borrowed = &borrowed,
    .options = options,
    .common =
        FDIT_COMMON_DEVICE | FDIT_COMMON_DEVICES | FDIT_COMMON_WEIGHTS | FDIT_COMMON_PLAN | FDIT_COMMON_JSON,
    .most_operands = 0,
    .args_size = sizeof(struct args),
    .defaults = defaults,
    .run = run,
};
