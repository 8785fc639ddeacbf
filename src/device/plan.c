/* SPDX-License-Identifier: Apache-2.0 */
#include "device/plan.h"
#include "device/backend.h"

#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

const char *fdit_plan_kind_name(enum fdit_plan_kind kind)
{
    static const char *const names[FDIT_PLAN_KINDS] = {
        [FDIT_PLAN_WEIGHTS] = "frozen weights",
        [FDIT_PLAN_TRAINED] = "trained parameters",
        [FDIT_PLAN_GRADIENTS] = "gradients",
        [FDIT_PLAN_OPTIMISER] = "optimiser moments",
        [FDIT_PLAN_EMA] = "EMA",
        [FDIT_PLAN_ACTIVATIONS] = "activations",
        [FDIT_PLAN_SCRATCH] = "scratch",
        [FDIT_PLAN_BATCH] = "batch",
        [FDIT_PLAN_WORKSPACE] = "device workspace",
        [FDIT_PLAN_HOST] = "picture cache (host)",
        [FDIT_PLAN_FEATURES] = "features (host)",
        [FDIT_PLAN_METRICS] = "metrics (host)",
        [FDIT_PLAN_PROCESS] = "held before (host)",
    };
    return names[kind];
}

void fdit_plan_fini(struct fdit_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        fdit_free(plan->list[i].label);
    fdit_free(plan->list);
    *plan = (struct fdit_plan){ 0 };
}

enum fdit_status fdit_plan_add(fdit_context *ctx, struct fdit_plan *plan, enum fdit_plan_kind kind,
                               fdit_buffer **where, size_t bytes, const char *label, ...)
{
    enum fdit_status status = FDIT_OK;
    char text[128];
    if (!bytes)
        return FDIT_OK;
    va_list args;
    va_start(args, label);
    vsnprintf(text, sizeof text, label, args);
    va_end(args);
    TRY(fdit_grow(ctx, &plan->list, &plan->capacity, plan->n + 1, sizeof *plan->list));
    struct fdit_plan_entry *e = &plan->list[plan->n];
    *e = (struct fdit_plan_entry){ .kind = kind, .bytes = bytes, .where = where };
    TRY(fdit_strdup(ctx, text, &e->label));
    plan->n++;
out:
    return status;
}

enum fdit_status fdit_plan_join(fdit_context *ctx, struct fdit_plan *plan, const struct fdit_plan *part,
                                const char *prefix)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < part->n; i++) {
        const struct fdit_plan_entry *e = &part->list[i];
        TRY(fdit_plan_add(ctx, plan, e->kind, e->where, e->bytes, "%s%s", prefix, e->label));
    }
out:
    return status;
}

void fdit_plan_share_workspace(struct fdit_plan *plan)
{
    struct fdit_plan_entry *largest = NULL;
    for (size_t i = 0; i < plan->n; i++) {
        struct fdit_plan_entry *e = &plan->list[i];
        if (e->kind != FDIT_PLAN_WORKSPACE)
            continue;
        if (largest && largest->bytes >= e->bytes) {
            e->bytes = 0;
            continue;
        }
        if (largest)
            largest->bytes = 0;
        largest = e;
    }
    size_t kept = 0;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].bytes)
            plan->list[kept++] = plan->list[i];
        else
            fdit_free(plan->list[i].label);
    plan->n = kept;
}

void fdit_plan_forget(struct fdit_plan *plan, fdit_buffer **where)
{
    for (size_t i = 0; i < plan->n; i++) {
        if (plan->list[i].where != where)
            continue;
        fdit_free(plan->list[i].label);
        plan->list[i--] = plan->list[--plan->n];
    }
}

size_t fdit_plan_kind_bytes(const struct fdit_plan *plan, enum fdit_plan_kind kind)
{
    size_t sum = 0;
    for (size_t i = 0; i < plan->n; i++)
        sum += plan->list[i].kind == kind ? plan->list[i].bytes : 0;
    return sum;
}

enum fdit_status fdit_plan_add_process(fdit_context *ctx, struct fdit_plan *plan, const fdit_device *dev)
{
    plan->in_process = dev && !dev->info.is_gpu;
    return fdit_plan_add(ctx, plan, FDIT_PLAN_PROCESS, NULL, fdit_mem_resident(),
                         "program, libraries, drivers");
}

size_t fdit_plan_host_bytes(const struct fdit_plan *plan)
{
    return fdit_plan_kind_bytes(plan, FDIT_PLAN_HOST) + fdit_plan_kind_bytes(plan, FDIT_PLAN_FEATURES) +
           fdit_plan_kind_bytes(plan, FDIT_PLAN_METRICS);
}

size_t fdit_plan_device_bytes(const struct fdit_plan *plan)
{
    size_t sum = 0;
    for (size_t i = 0; i < plan->n; i++)
        sum += plan->list[i].bytes;
    return sum - fdit_plan_host_bytes(plan) - fdit_plan_kind_bytes(plan, FDIT_PLAN_PROCESS);
}

size_t fdit_plan_process_bytes(const struct fdit_plan *plan)
{
    return fdit_plan_host_bytes(plan) + fdit_plan_kind_bytes(plan, FDIT_PLAN_PROCESS) +
           (plan->in_process ? fdit_plan_device_bytes(plan) : 0);
}

size_t fdit_plan_room(const struct fdit_plan *plan, size_t limit)
{
    size_t all = fdit_plan_process_bytes(plan), usual = (size_t)16 << 20;
    size_t least = limit / 8 > usual || !limit ? limit / 8 : usual;
    return limit > all && limit - all > least ? limit - all : least;
}

enum fdit_status fdit_plan_check(fdit_context *ctx, const struct fdit_plan *plan, const fdit_device *dev,
                                 size_t limit, const char *remedy)
{
    enum fdit_status status = FDIT_OK;
    char *table = NULL, need[32], has[32], weights[32], activations[32];
    const bool bound = dev->info.max_buffer == dev->info.memory && *dev->info.memory_by;
    for (size_t i = 0; i < plan->n; i++) {
        const struct fdit_plan_entry *e = &plan->list[i];
        fdit_format_size(e->bytes, need);
        fdit_format_size(dev->info.max_buffer, has);
        if (e->where && dev->info.max_buffer && e->bytes > dev->info.max_buffer)
            FAIL(ctx, FDIT_ERROR_DEVICE, "%s needs one buffer of %s, %s allows %s%s%s%s; %s", e->label, need,
                 dev->info.name, has, bound ? " (" : "", bound ? dev->info.memory_by : "", bound ? ")" : "",
                 remedy);
    }
    size_t bytes = fdit_plan_device_bytes(plan);
    if (limit && bytes > limit) {
        const bool named = limit == dev->info.memory && *dev->info.memory_by;
        const size_t workspace = fdit_plan_kind_bytes(plan, FDIT_PLAN_WORKSPACE);
        char threads[96] = "";
        /* Each thread has its own. */
        fdit_format_size(workspace, need);
        if (dev->info.threads > 1 && workspace > bytes / 4)
            snprintf(threads, sizeof threads, "%d threads have %s of workspace, use fewer --threads; or ",
                     dev->info.threads, need);
        TRY(fdit_plan_text(ctx, plan, &table));
        fdit_log_table(ctx, FDIT_LOG_WARNING, table);
        fdit_format_size(bytes, need);
        fdit_format_size(limit, has);
        fdit_format_size(fdit_plan_kind_bytes(plan, FDIT_PLAN_WEIGHTS), weights);
        fdit_format_size(fdit_plan_kind_bytes(plan, FDIT_PLAN_ACTIVATIONS), activations);
        FAIL(ctx, FDIT_ERROR_DEVICE,
             "the plan needs %s, the limit is %s%s%s%s%s (weights %s, activations %s); %s%s", need, has,
             named ? " (" : "", named ? dev->info.memory_by : "", named ? ")" : "",
             limit < 4096 ? " (a unit is missing? 10M, 6G)" : "", weights, activations, threads, remedy);
    }
out:
    fdit_free(table);
    return status;
}

enum fdit_status fdit_plan_allocate(fdit_context *ctx, const struct fdit_plan *plan, fdit_device *dev)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].where && !*plan->list[i].where)
            TRY(fdit_buffer_new(ctx, dev, plan->list[i].bytes, plan->list[i].label, plan->list[i].where));
out:
    return status;
}

enum fdit_status fdit_plan_text(fdit_context *ctx, const struct fdit_plan *plan, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL, *longer = NULL, bytes[32], most[32], title[128] = "", label[128];
    *out = NULL;
    if (plan->title)
        fdit_text_safe(title, sizeof title, plan->title, FDIT_TEXT_LINE);
    TRY(fdit_strf(ctx, &text, "%s%s%-22s %8s %12s  %s", title, plan->title ? "\n" : "", "memory plan",
                  "buffers", "size", "largest"));
    for (int kind = 0; kind < FDIT_PLAN_KINDS; kind++) {
        size_t n = 0, sum = 0;
        const struct fdit_plan_entry *largest = NULL;
        for (size_t i = 0; i < plan->n; i++) {
            const struct fdit_plan_entry *e = &plan->list[i];
            if (e->kind != (enum fdit_plan_kind)kind)
                continue;
            n++;
            sum += e->bytes;
            if (!largest || e->bytes > largest->bytes)
                largest = e;
        }
        if (!n)
            continue;
        fdit_format_size(sum, bytes);
        fdit_format_size(largest->bytes, most);
        fdit_text_safe(label, sizeof label, largest->label, FDIT_TEXT_LINE);
        TRY(fdit_strf(ctx, &longer, "%s\n%-22s %8zu %12s  %s (%s)", text,
                      fdit_plan_kind_name((enum fdit_plan_kind)kind), n, bytes, label, most));
        fdit_free(text);
        text = longer;
        longer = NULL;
    }
    fdit_format_size(fdit_plan_device_bytes(plan), bytes);
    fdit_format_size(fdit_plan_process_bytes(plan), most);
    TRY(fdit_strf(ctx, &longer, "%s\n" FDIT_PLAN_SUM, text, "sum on the device", "", bytes));
    if (fdit_plan_kind_bytes(plan, FDIT_PLAN_PROCESS))
        TRY(fdit_strf(ctx, out, "%s\n" FDIT_PLAN_SUM, longer, "sum of the process", "", most));
    else {
        *out = longer;
        longer = NULL;
    }
out:
    fdit_free(text);
    fdit_free(longer);
    return status;
}
