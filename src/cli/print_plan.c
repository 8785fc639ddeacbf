/* SPDX-License-Identifier: Apache-2.0
 * print_plan.c: the memory plan of train, sample, encode and eval, for people and as JSON. */
#include "cli/cli.h"

#include "core/mem.h"
#include "format/json.h"
#include "device/plan.h"

static void put_kind(struct fdit_json *b, json_t *kinds, const struct fdit_plan *plan,
                     enum fdit_plan_kind kind)
{
    const struct fdit_plan_entry *largest = NULL;
    int64_t n = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const struct fdit_plan_entry *e = &plan->list[i];
        if (e->kind != kind)
            continue;
        n++;
        if (!largest || e->bytes > largest->bytes)
            largest = e;
    }
    if (!largest)
        return;
    json_t *j = fdit_json_put_object(b, kinds, NULL);
    fdit_json_put_text(b, j, "kind", fdit_plan_kind_name(kind));
    fdit_json_put_int(b, j, "buffers", n);
    fdit_json_put_int(b, j, "bytes", (int64_t)fdit_plan_kind_bytes(plan, kind));
    fdit_json_put_text(b, j, "largest", largest->label);
    fdit_json_put_int(b, j, "largest_bytes", (int64_t)largest->bytes);
}

static enum fdit_status print_json(struct fdit_cli *cli, const struct fdit_plan *plan, uint64_t disk)
{
    struct fdit_json b;
    fdit_json_begin(&b);
    fdit_json_put_bool(&b, NULL, "plan", true);
    if (plan->title)
        fdit_json_put_text(&b, NULL, "device", plan->title);
    fdit_json_put_int(&b, NULL, "device_bytes", (int64_t)fdit_plan_device_bytes(plan));
    fdit_json_put_int(&b, NULL, "host_bytes", (int64_t)fdit_plan_host_bytes(plan));
    fdit_json_put_int(&b, NULL, "process_bytes", (int64_t)fdit_plan_process_bytes(plan));
    if (cli->memory)
        fdit_json_put_int(&b, NULL, "limit_bytes", (int64_t)cli->memory);
    if (disk)
        fdit_json_put_int(&b, NULL, "cache_bytes", (int64_t)disk);
    json_t *kinds = fdit_json_put_array(&b, NULL, "kinds");
    for (int kind = 0; kind < FDIT_PLAN_KINDS; kind++)
        put_kind(&b, kinds, plan, (enum fdit_plan_kind)kind);
    enum fdit_status status = fdit_cli_print_json(cli, &b, JSON_COMPACT);
    fdit_json_fini(&b);
    return status;
}

enum fdit_status fdit_cli_plan(struct fdit_cli *cli, const struct fdit_plan *plan, uint64_t disk)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer = NULL, size[32];
    if (cli->rank) /* standard output is rank 0's, in whose plan is what others have, too */
        return FDIT_OK;
    if (cli->plan && cli->json)
        return print_json(cli, plan, disk);
    if (!cli->plan && !cli->verbose)
        return FDIT_OK;
    TRY(fdit_plan_text(cli->ctx, plan, &text));
    fdit_format_size((size_t)disk, size);
    if (disk)
        TRY(fdit_strf(cli->ctx, &longer, "%s\n" FDIT_PLAN_SUM "\n", text, "cache on disk", "", size));
    else
        TRY(fdit_strf(cli->ctx, &longer, "%s\n", text));
    if (cli->plan)
        fdit_cli_print_exactly(cli, longer);
    else
        fdit_cli_note_table(cli, text);
out:
    fdit_free(longer);
    fdit_free(text);
    return status;
}
