/* SPDX-License-Identifier: Apache-2.0
 * Several deltas of one base, one job after the other: the first stays loaded and lends its matrices. */
#include "core/file.h"
#include "core/limits.h"
#include "core/mem.h"
#include "sample/running.h"

#include <string.h>

struct several {
    struct job *jobs;                      /* [n] */
    struct fdit_sample_summary *summaries; /* [n] */
    char **names, **outs, **grids;         /* [n] */
    int n;
};

static bool name_taken(const struct several *s, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(s->names[i], s->names[n]))
            return true;
    return false;
}

/* What the pictures of delta i are called by: two of one name are told apart by a number. */
static enum fdit_status name_delta(fdit_context *ctx, struct several *s, int i, const char *path)
{
    enum fdit_status status = FDIT_OK;
    static const char ending[] = ".safetensors";
    char *folder = NULL, *name = NULL;
    TRY(fdit_strdup(ctx, fdit_path_base(path), &name));
    const size_t n = strlen(name), end = sizeof ending - 1;
    if (n > end && !strcmp(name + n - end, ending))
        name[n - end] = 0;
    if (!strcmp(name, "delta") && strchr(path, '/')) {
        TRY(fdit_path_folder(ctx, path, &folder));
        fdit_free(name);
        name = NULL;
        TRY(fdit_strdup(ctx, fdit_path_base(folder), &name));
    }
    TRY(fdit_strdup(ctx, name, &s->names[i]));
    for (int k = 2; name_taken(s, i); k++) {
        fdit_free(s->names[i]);
        s->names[i] = NULL;
        TRY(fdit_strf(ctx, &s->names[i], "%s-%d", name, k));
    }
out:
    fdit_free(folder);
    fdit_free(name);
    return status;
}

/* The options of job i: its delta, folder and sheet, and of the memory what the first leaves. */
static enum fdit_status options_of(fdit_context *ctx, struct several *s, int i,
                                   const struct fdit_sample_options *all, struct job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_sample_options *o = &j->options;
    *o = *all;
    o->n_deltas = 1;
    o->delta = o->deltas[0] = all->deltas[i];
    TRY(name_delta(ctx, s, i, o->delta));
    if (all->out)
        TRY(fdit_path_join(ctx, all->out, s->names[i], &s->outs[i]));
    if (all->grid) {
        const char *dot = strrchr(all->grid, '.');
        const int stem = (int)(dot ? (size_t)(dot - all->grid) : strlen(all->grid));
        TRY(fdit_strf(ctx, &s->grids[i], "%.*s-%s%s", stem, all->grid, s->names[i], dot ? dot : ""));
    }
    o->out = s->outs[i];
    o->grid = s->grids[i];
    if (i > 0) {
        const size_t first = fdit_plan_device_bytes(fdit_painter_plan_of(s->jobs[0].painter, 0));
        const size_t limit = all->memory ? all->memory : fdit_device_info(j->devices->list[0])->memory;
        o->memory = !limit ? 0 : limit > first ? limit - first : 1;
    }
out:
    return status;
}

/* What the process holds while job i draws: the first as well, and no other. */
static void add_first(const struct several *s, int i)
{
    struct fdit_sample_summary *own = &s->summaries[i], *first = &s->summaries[0];
    const struct fdit_plan *plan = fdit_painter_plan_of(s->jobs[i].painter, 0);
    const struct fdit_plan *lent = fdit_painter_plan_of(s->jobs[0].painter, 0);
    const size_t room = fdit_plan_kind_bytes(plan, FDIT_PLAN_WORKSPACE);
    const size_t workspace =
        fdit_least(room, fdit_plan_kind_bytes(lent, FDIT_PLAN_WORKSPACE)); /* one for both */
    own->plan_bytes += first->plan_bytes - workspace;
    own->process_plan_bytes += first->process_plan_bytes - fdit_plan_kind_bytes(plan, FDIT_PLAN_PROCESS) -
                               (plan->in_process ? workspace : 0);
    if (own->process_plan_bytes < s->summaries[i - 1].process_plan_bytes)
        own->process_plan_bytes = s->summaries[i - 1].process_plan_bytes;
}

static enum fdit_status check_several(fdit_context *ctx, const struct fdit_sample_options *o, bool plan_only)
{
    if (o->latents || o->like)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--%s goes with one --delta; give one",
                         o->latents ? "latents" : "like");
    if (!o->out && !plan_only)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "several --delta draw into folders; give --out DIR for them");
    return FDIT_OK;
}

static enum fdit_status run_several(fdit_context *ctx, struct several *s, const struct job *like,
                                    bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    TRY(check_several(ctx, like->o, plan_only));
    for (int i = 0; i < s->n; i++) {
        struct job *j = &s->jobs[i];
        j->o = &j->options;
        j->hooks = like->hooks;
        j->devices = like->devices;
        j->summary = &s->summaries[i];
        j->lender = i ? &s->jobs[0] : NULL;
        TRY(options_of(ctx, s, i, like->o, j));
        fdit_sample_tell(j);
        TRY(fdit_sample_prepare(ctx, j, plan_only));
        if (i)
            add_first(s, i);
    }
    for (int i = 0; !plan_only && i < s->n; i++) {
        fdit_sample_tell(&s->jobs[i]);
        TRY(fdit_sample_draw(ctx, &s->jobs[i]));
        if (i)
            fdit_sample_close(&s->jobs[i]);
    }
    *like->summary = s->summaries[s->n - 1];
out:
    return status;
}

enum fdit_status fdit_sample_several(fdit_context *ctx, const struct job *like, bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    struct several s = { .n = like->o->n_deltas };
    const size_t n = (size_t)s.n;
    TRY(fdit_alloc(ctx, n, sizeof *s.jobs, &s.jobs));
    TRY(fdit_alloc(ctx, n, sizeof *s.summaries, &s.summaries));
    TRY(fdit_alloc(ctx, n, sizeof *s.names, &s.names));
    TRY(fdit_alloc(ctx, n, sizeof *s.outs, &s.outs));
    TRY(fdit_alloc(ctx, n, sizeof *s.grids, &s.grids));
    TRY(run_several(ctx, &s, like, plan_only));
out:
    for (int i = s.n; i-- > 0;) { /* the lender last */
        if (s.jobs && s.jobs[i].o)
            fdit_sample_close(&s.jobs[i]);
        fdit_free(s.names ? s.names[i] : NULL);
        fdit_free(s.outs ? s.outs[i] : NULL);
        fdit_free(s.grids ? s.grids[i] : NULL);
    }
    void *lists[] = { s.jobs, s.summaries, s.names, s.outs, s.grids };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        fdit_free(lists[i]);
    return status;
}
