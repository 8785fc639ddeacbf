/* SPDX-License-Identifier: Apache-2.0
 * cmd_devices.c: `finediffusion devices`: lists usable devices and tests each one. */
#include "cli/cli.h"

#include "core/mem.h"
#include "core/phase.h"
#include "devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    bool all;
};

static const struct fdit_option options[] = {
    FDIT_HEADING("List"),
    FDIT_OPTION("all", NULL, FLAG, struct args, all,
                "also list those that cannot be used, with the reason, and the slow reference device"),
    { 0 }
};

enum { TRIED = 5 };
static const enum fdit_dtype types[TRIED] = { FDIT_F32, FDIT_BF16, FDIT_F16, FDIT_I8, FDIT_BF16X3 };

/* What trying a device gave. */
struct trial {
    bool works;
    bool storage[TRIED], precision[TRIED];
    bool tunable;
    int tuned;
    char *driver, *reason; /* reason: why it does not work */
    /* what multiplies in each precision that it has, and lines about units that failed */
    char *engines[TRIED], *refused[TRIED];
};

static enum fdit_status list_devices(fdit_context *ctx, struct fdit_device_entry **list, size_t *n)
{
    fdit_phase_begin(ctx, 0, "looking at the drivers of devices");
    enum fdit_status status = fdit_devices_list(ctx, list, n);
    fdit_phase_end(ctx);
    return status;
}

/* Fails only when memory is short: a device that does not work is a result. */
static enum fdit_status try_device(fdit_context *ctx, struct fdit_device_entry *e, struct trial *t)
{
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = NULL;
    fdit_phase_begin(ctx, 0, "testing %s", e->spec);
    enum fdit_status tried = fdit_devices_open_entry(ctx, e, NULL, &dev);
    if (tried == FDIT_OK)
        tried = fdit_devices_selftest(ctx, dev, e->spec);
    fdit_phase_end(ctx);
    if (tried == FDIT_ERROR_MEMORY || tried == FDIT_INTERRUPTED || (tried == FDIT_ERROR_IO && e->built_in))
        TRY(tried);
    t->works = tried == FDIT_OK;
    if (!t->works)
        TRY(fdit_strdup(ctx, fdit_context_message(ctx), &t->reason));
    for (int i = 0; dev && i < TRIED; i++) {
        t->storage[i] = fdit_device_supports_storage(dev, types[i]);
        t->precision[i] = fdit_device_supports_precision(dev, types[i]);
        if (t->works && t->precision[i])
            TRY(fdit_device_engine(ctx, dev, types[i], &t->engines[i], &t->refused[i]));
    }
    if (dev) {
        t->tunable = fdit_device_info(dev)->tunable;
        t->tuned = fdit_device_tuned(dev);
    }
    if (dev && fdit_device_info(dev)->driver)
        TRY(fdit_strdup(ctx, fdit_device_info(dev)->driver, &t->driver));
out:
    fdit_device_close(dev);
    return status;
}

static void print_types(struct fdit_cli *cli, const bool *has)
{
    for (int i = 0, n = 0; i < TRIED; i++)
        if (has[i])
            fdit_cli_print(cli, "%s %s", n++ ? "," : "", fdit_dtype_name(types[i]));
}

static void put_types(struct fdit_json *b, json_t *to, const char *key, const bool *has)
{
    json_t *list = fdit_json_put_array(b, to, key);
    for (int i = 0; i < TRIED; i++)
        if (has[i])
            fdit_json_put_text(b, list, NULL, fdit_dtype_name(types[i]));
}

/* The next line of *text without its newline, NULL: none. *text goes behind it. */
static char *next_line(char **text)
{
    char *line = *text, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = 0;
    *text = end + 1;
    return line;
}

/* What multiplies; all: also which units failed in their trial. */
static void print_engines(struct fdit_cli *cli, const struct trial *t, bool all)
{
    fdit_cli_print(cli, "%-12s products in", "");
    for (int i = 0; i < TRIED; i++)
        if (t->engines[i])
            fdit_cli_print(cli, "%s %s by %s", i ? ";" : "", fdit_dtype_name(types[i]), t->engines[i]);
    fdit_cli_print(cli, "\n");
    for (int i = 0; all && i < TRIED; i++)
        for (char *line, *rest = t->refused[i]; (line = next_line(&rest));)
            fdit_cli_print(cli, "%-12s %.400s\n", "", line);
}

static void put_engines(struct fdit_json *b, json_t *j, const struct trial *t)
{
    json_t *engines = fdit_json_put_object(b, j, "engines"),
           *list = fdit_json_put_array(b, j, "refused_engines");
    for (int i = 0; i < TRIED; i++) {
        if (t->engines[i])
            fdit_json_put_text(b, engines, fdit_dtype_name(types[i]), t->engines[i]);
        for (char *line, *rest = t->refused[i]; (line = next_line(&rest));)
            fdit_json_put_text(b, list, NULL, line);
    }
}

static void print_driver(struct fdit_cli *cli, const struct fdit_device_entry *e)
{
    fdit_cli_print(cli, "%-12s %s\n", e->spec, e->info.name);
    fdit_cli_print(cli, "%-12s %s: %s\n", "", e->fine ? "is used; it prints" : "cannot be used", e->note);
}

static void print_text(struct fdit_cli *cli, const struct fdit_device_entry *list, size_t at,
                       const struct trial *t, bool chosen, bool all)
{
    const struct fdit_device_entry *e = &list[at];
    char memory[32], buffer[32];
    fdit_format_size(e->info.memory, memory);
    fdit_format_size(e->info.max_buffer, buffer);
    fdit_cli_print(cli, "%-12s %s%s\n", e->spec, e->info.name, chosen ? "  (default)" : "");
    if (*e->info.threads_by)
        fdit_cli_print(cli, "%-12s %d thread%s (of %d; %s)\n", "", e->info.threads,
                       e->info.threads == 1 ? "" : "s", e->info.machine_processors, e->info.threads_by);
    if (e->info.memory) {
        fdit_cli_print(cli, "%-12s memory %s", "", memory);
        if (*e->info.memory_by) {
            fdit_format_size(e->info.machine_memory, memory);
            fdit_cli_print(cli, " (of %s; %s)", memory, e->info.memory_by);
        }
        if (e->info.max_buffer && e->info.max_buffer < SIZE_MAX / 4)
            fdit_cli_print(cli, ", largest buffer %s", buffer);
        if (*e->info.capabilities)
            fdit_cli_print(cli, ", %s", e->info.capabilities);
        fdit_cli_print(cli, "%s\n", e->info.is_gpu ? ", GPU" : "");
    }
    if (t->driver && *t->driver)
        fdit_cli_print(cli, "%-12s driver %s\n", "", t->driver);
    if (e->same_as >= 0)
        fdit_cli_print(cli, "%-12s the same card as %s (%s), which is taken first\n", "",
                       list[e->same_as].spec, e->bus);
    if (!t->works) {
        fdit_cli_print(cli, "%-12s cannot be used: %s\n", "", t->reason);
        return;
    }
    if (e->said && *e->said)
        fdit_cli_print(cli, "%-12s its driver prints: %s\n", "", e->said);
    fdit_cli_print(cli, "%-12s precision", "");
    print_types(cli, t->precision);
    fdit_cli_print(cli, "; weights");
    print_types(cli, t->storage);
    fdit_cli_print(cli, "; self-test passed\n");
    print_engines(cli, t, all);
    if (t->tunable && t->tuned)
        fdit_cli_print(cli, "%-12s tuned: %d products\n", "", t->tuned);
    else if (t->tunable)
        fdit_cli_print(cli, "%-12s not tuned: finediffusion tune --device %s\n", "", e->spec);
}

static void put_device(struct fdit_json *b, const struct fdit_device_entry *list, size_t at,
                       const struct trial *t, bool chosen)
{
    const struct fdit_device_entry *e = &list[at];
    json_t *j = fdit_json_put_object(b, NULL, NULL);
    fdit_json_put_text(b, j, "spec", e->spec);
    fdit_json_put_text(b, j, "name", e->info.name);
    fdit_json_put_bool(b, j, "default", chosen);
    fdit_json_put_bool(b, j, "gpu", e->info.is_gpu);
    fdit_json_put_bool(b, j, "usable", t->works);
    fdit_json_put_text(b, j, "prints", e->fine ? e->note : e->said && *e->said ? e->said : NULL);
    if (e->is_driver) {
        fdit_json_put_bool(b, j, "driver_used", e->fine);
        fdit_json_put_text(b, j, "reason", e->fine ? NULL : e->note);
        return;
    }
    if (e->info.threads) {
        fdit_json_put_int(b, j, "threads", e->info.threads);
        fdit_json_put_int(b, j, "machine_processors", e->info.machine_processors);
        fdit_json_put_text(b, j, "threads_limited_by", *e->info.threads_by ? e->info.threads_by : NULL);
        fdit_json_put_int(b, j, "machine_memory_bytes", (int64_t)e->info.machine_memory);
        fdit_json_put_text(b, j, "memory_limited_by", *e->info.memory_by ? e->info.memory_by : NULL);
    }
    fdit_json_put_int(b, j, "memory_bytes", (int64_t)e->info.memory);
    fdit_json_put_int(b, j, "largest_buffer_bytes", (int64_t)e->info.max_buffer);
    fdit_json_put_text(b, j, "capabilities", *e->info.capabilities ? e->info.capabilities : NULL);
    fdit_json_put_text(b, j, "driver", t->driver);
    fdit_json_put_text(b, j, "bus", e->bus);
    fdit_json_put_text(b, j, "same_as", e->same_as >= 0 ? list[e->same_as].spec : NULL);
    put_types(b, j, "precision", t->precision);
    put_engines(b, j, t);
    put_types(b, j, "weights", t->storage);
    fdit_json_put_bool(b, j, "self_test", t->works);
    fdit_json_put_int(b, j, "tuned_products", t->tuned);
    fdit_json_put_text(b, j, "reason", t->reason);
}

static enum fdit_status run(struct fdit_cli *cli, void *p, int n_operands, char **operands)
{
    enum fdit_status status = FDIT_OK;
    const struct args *a = p;
    struct fdit_device_entry *entries = NULL;
    struct trial *trials = NULL;
    bool *works = NULL, *is_default = NULL;
    size_t n = 0, left_out = 0;
    struct fdit_json list;
    fdit_json_begin_list(&list);
    (void)n_operands;
    (void)operands;
    cli->ctx->look_again = a->all;
    TRY(list_devices(cli->ctx, &entries, &n));
    TRY(fdit_alloc(cli->ctx, n, sizeof *trials, &trials));
    TRY(fdit_alloc(cli->ctx, n + 1, sizeof *works, &works));
    TRY(fdit_alloc(cli->ctx, n + 1, sizeof *is_default, &is_default));
    for (size_t i = 0; i < n; i++) {
        if (!entries[i].is_driver && (a->all || !entries[i].reference))
            TRY(try_device(cli->ctx, &entries[i], &trials[i]));
        works[i] = trials[i].works;
    }
    enum fdit_status found = fdit_devices_default(cli->ctx, entries, works, n, is_default);
    if (found == FDIT_ERROR_MEMORY)
        TRY(found);
    if (found != FDIT_OK) /* the list is what helps then */
        fdit_log(cli->ctx, FDIT_LOG_WARNING, "%s", fdit_context_message(cli->ctx));
    for (size_t i = 0; i < n; i++) {
        bool shown = a->all || trials[i].works;
        left_out += !shown && !entries[i].reference && !entries[i].fine;
        if (!shown)
            continue;
        if (cli->json)
            put_device(&list, entries, i, &trials[i], is_default[i]);
        else if (entries[i].is_driver)
            print_driver(cli, &entries[i]);
        else
            print_text(cli, entries, i, &trials[i], is_default[i], a->all);
    }
    if (cli->json)
        TRY(fdit_cli_print_json(cli, &list, JSON_INDENT(1)));
    if (left_out && !cli->json)
        fdit_cli_print(cli, "%zu more cannot be used: finediffusion devices --all says why\n", left_out);
out:
    for (size_t i = 0; trials && i < n; i++) {
        fdit_free(trials[i].driver);
        fdit_free(trials[i].reason);
        for (int k = 0; k < TRIED; k++) {
            fdit_free(trials[i].engines[k]);
            fdit_free(trials[i].refused[k]);
        }
    }
    fdit_free(trials);
    fdit_free(works);
    fdit_free(is_default);
    fdit_devices_list_free(entries, n);
    fdit_json_fini(&list);
    return status;
}

const struct fdit_command fdit_command_devices = {
    .name = "devices",
    .summary = "list usable devices and test each one",
    .synopsis = "[--all]",
    .about = "Lists the devices that --device can name: their memory, their driver, the types in which "
             "they can store weights, what multiplies matrices in each precision, and the result of a short "
             "self-test. --all also lists drivers "
             "and devices that cannot be used, and says why: the driver crashes, hangs, prints text or "
             "finds no hardware, for example. Each driver is examined in a process of its own.",
    .examples = "  finediffusion devices\n"
                "  finediffusion devices --all --json\n",
    .options = options,
    .common = FDIT_COMMON_JSON,
    .args_size = sizeof(struct args),
    .run = run,
};
