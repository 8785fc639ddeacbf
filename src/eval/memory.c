/* SPDX-License-Identifier: Apache-2.0
 * memory.c: what a measuring will hold. Networks, features and covariances stay until the end; what decodes
 * pictures is gone when metrics are computed, so the larger of the two counts. */
#include "eval/job.h"

#include "core/limits.h"
#include "core/mem.h"
#include "core/text.h"

static size_t limit_of(fdit_context *ctx, const struct fdit_eval_job *j)
{
    struct fdit_limits limits;
    if (j->o->memory)
        return j->o->memory;
    if (j->dev)
        return fdit_device_info(j->dev)->memory;
    return fdit_limits_read(ctx, NULL, &limits) == FDIT_OK ? limits.memory : 0;
}

/* Of a set that came out of files: it is in memory before there is a plan. */
static size_t read_bytes(const struct fdit_feature_set *s)
{
    const size_t n = s->points.n;
    size_t bytes = (s->moments.d ? fdit_moments_bytes(s->moments.d) : 0) +
                   (s->spatial.d ? fdit_moments_bytes(s->spatial.d) : 0);
    bytes += s->points.x ? n * s->points.d * sizeof(float) : 0;
    bytes += s->label ? n * sizeof *s->label : 0;
    return bytes + (s->logits ? n * s->logit_classes * sizeof(float) : 0);
}

static enum fdit_status add_networks(fdit_context *ctx, struct fdit_eval_job *j)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_plan *plan = &j->plan;
    struct fdit_plan own = { 0 };
    if (j->extractor)
        TRY(fdit_extractor_plan(ctx, j->extractor, plan));
    if (j->classifier) {
        TRY(fdit_extractor_plan(ctx, j->classifier, &own));
        TRY(fdit_plan_join(ctx, plan, &own, "--"));
    }
    if (j->lpips) {
        TRY(fdit_lpips_plan(ctx, j->lpips, plan));
        TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_METRICS, NULL, fdit_eval_diversity_bytes(j->lpips),
                          "LPIPS: sums of a class"));
    }
out:
    fdit_plan_fini(&own);
    return status;
}

/* How much more than all that is kept in the end the pass over a set takes, of which `later` bytes are kept
 * by the set behind it. */
static size_t beyond_kept(const struct fdit_passing *p, size_t later)
{
    const size_t moments = p->sums + p->moments, loading = p->loading + p->sums,
                 most = moments > loading ? moments : loading;
    return most > p->moments + later ? most - p->moments - later : 0;
}

/* Both sets; *passing: what the pass over either takes at the most beside what both keep, of it *reading for
 * decoding. */
static enum fdit_status add_sets(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_feature_set *sets[2],
                                 size_t limit, size_t *passing, size_t *reading)
{
    enum fdit_status status = FDIT_OK;
    const size_t room = limit ? fdit_plan_room(&j->plan, limit) : 0;
    struct fdit_passing of[2] = { { 0 } };
    size_t kept[2] = { 0 };
    *passing = *reading = 0;
    for (int k = 0; k < 2; k++) {
        const size_t before = fdit_plan_kind_bytes(&j->plan, FDIT_PLAN_FEATURES);
        if (!sets[k]->path)
            continue;
        if (!j->runs[k]) {
            TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_FEATURES, NULL, read_bytes(sets[k]), "%s",
                              sets[k]->path));
            continue;
        }
        TRY(fdit_feature_set_plan(ctx, sets[k], j->extractor, &j->how[k], room, &j->plan, &of[k]));
        kept[k] = fdit_plan_kind_bytes(&j->plan, FDIT_PLAN_FEATURES) - before;
    }
    for (int k = 0; k < 2; k++) {
        const size_t some = beyond_kept(&of[k], k == 0 ? kept[1] : 0);
        if (some <= *passing)
            continue;
        *passing = some;
        *reading = sets[k]->reading < some ? sets[k]->reading : some;
    }
out:
    return status;
}

static enum fdit_status add_draws(fdit_context *ctx, struct fdit_eval_job *j, size_t n, size_t k, size_t d,
                                  bool points, size_t draws)
{
    enum fdit_status status = FDIT_OK;
    const size_t of_a_picture = (draws + 1) * sizeof(float);
    const unsigned moments = points ? 0 : 1u << FDIT_METRIC_FD;
    bool real, generated;
    fdit_eval_redraws(j->wanted & ~moments, n, k, d, draws, &real, &generated);
    TRY(fdit_plan_add(ctx, &j->plan, FDIT_PLAN_METRICS, NULL,
                      ((real ? n : 0) + (generated ? k : 0)) * of_a_picture, "%zu draws of the error bars",
                      draws));
out:
    return status;
}

/* What is computed, beside the pass over the pictures or beyond it. */
static enum fdit_status add_work(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_feature_set *sets[2],
                                 size_t passing, size_t reading)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_plan *plan = &j->plan;
    const struct fdit_feature_set *x = sets[0], *y = sets[1];
    const size_t n = x->points.n, k = y->points.n, d = y->points.d,
                 draws = j->o->draws > 1 ? (size_t)j->o->draws : 0;
    const bool points =
        (j->runs[0] ? j->keep : x->points.x != NULL) && (j->runs[1] ? j->keep : y->points.x != NULL);
    const size_t spatial = j->extractor ? j->extractor->spatial : y->spatial.d;
    size_t work =
        fdit_eval_metrics_bytes(j->wanted, n, k, d, spatial, points, draws, fdit_pool_members(j->pool));
    if (j->o->stats_out && j->keep) /* made of the features at the end */
        work = work > 2 * fdit_moments_bytes(d) ? work : 2 * fdit_moments_bytes(d);
    TRY(add_draws(ctx, j, n, k, d, points, draws));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, reading, "decoding, %d worker%s", j->o->workers,
                      j->o->workers == 1 ? "" : "s"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_HOST, NULL, passing - reading, "batches of pictures"));
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_METRICS, NULL, work > passing ? work - passing : 0,
                      "metrics, beyond what decoding had"));
out:
    return status;
}

/* What a limit is about: of a device that is a part of the process all that the job takes. */
static size_t counted(const struct fdit_eval_job *j)
{
    const struct fdit_plan *plan = &j->plan;
    return fdit_plan_device_bytes(plan) + (plan->in_process || !j->dev ? fdit_plan_host_bytes(plan) : 0);
}

static enum fdit_status fill(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r,
                             size_t held, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_feature_set *sets[2] = { &r->real, &r->generated };
    const struct fdit_drawing *d = j->o->drawing;
    struct fdit_plan *plan = &j->plan;
    size_t passing, reading;
    fdit_plan_fini(plan);
    plan->in_process = j->dev && !fdit_device_info(j->dev)->is_gpu;
    TRY(fdit_plan_add(ctx, plan, FDIT_PLAN_PROCESS, NULL, held, "program, libraries, drivers"));
    TRY(add_networks(ctx, j));
    TRY(add_sets(ctx, j, sets, limit, &passing, &reading));
    TRY(add_work(ctx, j, sets, passing, reading));
    if (d && d->plan) {
        const size_t others = counted(j);
        TRY(d->plan(ctx, d->self, !limit ? 0 : limit > others ? limit - others : 1, plan));
    }
    fdit_plan_share_workspace(plan);
out:
    return status;
}

/* ------------------------------------------------------------------ too little memory */

/* What is done about the largest part of a plan that is too large, with one picture at once. */
static const char *remedy(const struct fdit_plan_entry *e)
{
    switch (e->kind) {
    case FDIT_PLAN_FEATURES:
        return "measure fewer pictures, or leave out what needs "
               "each one's features: --metrics fd,is keep sums";
    case FDIT_PLAN_METRICS: return "give fewer --draws, or fewer --metrics";
    case FDIT_PLAN_HOST: return "give fewer --workers";
    case FDIT_PLAN_WEIGHTS: return "take a smaller network, or a device with more memory";
    default: return "take a smaller network, or fewer --threads";
    }
}

static enum fdit_status refuse(fdit_context *ctx, const struct fdit_eval_job *j, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_plan *plan = &j->plan;
    const struct fdit_plan_entry *largest = NULL;
    char *table = NULL, need[32], has[32], part[32];
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].kind != FDIT_PLAN_PROCESS && (!largest || plan->list[i].bytes > largest->bytes))
            largest = &plan->list[i];
    fdit_format_size(counted(j), need);
    fdit_format_size(limit, has);
    fdit_format_size(largest->bytes, part);
    if (!j->o->plan_only) {
        TRY(fdit_plan_text(ctx, plan, &table));
        fdit_log_table(ctx, FDIT_LOG_WARNING, table);
    }
    FAIL(ctx, FDIT_ERROR_DEVICE, "the plan needs %s, the limit is %s%s; the largest part, %s, takes %s: %s",
         need, has, limit < 4096 ? " (a unit is missing? 10M, 6G)" : "", largest->label, part,
         remedy(largest));
out:
    fdit_free(table);
    return status;
}

/* Networks for fewer pictures at once, and at last in what the rest of the plan leaves them. */
static enum fdit_status shrink(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r,
                               size_t held, size_t limit)
{
    enum fdit_status status = FDIT_OK;
    if (!j->extractor)
        return FDIT_OK;
    int batch = j->extractor->batch;
    while (counted(j) > limit && batch > 1) {
        batch /= 2;
        TRY(fdit_eval_prepare(ctx, j, batch, 0));
        TRY(fill(ctx, j, r, held, limit));
    }
    const size_t network = fdit_plan_device_bytes(&j->plan), others = counted(j) - network;
    if (counted(j) > limit && limit > others) {
        TRY(fdit_eval_prepare(ctx, j, batch, limit - others));
        TRY(fill(ctx, j, r, held, limit));
    }
    fdit_log(ctx, FDIT_LOG_NOTE, "%d picture%s at once, as the limit of memory allows", batch,
             batch == 1 ? "" : "s");
out:
    return status;
}

enum fdit_status fdit_eval_plan(fdit_context *ctx, struct fdit_eval_job *j, struct fdit_eval_result *r)
{
    enum fdit_status status = FDIT_OK;
    const size_t limit = limit_of(ctx, j), resident = fdit_mem_resident();
    const size_t read =
        (j->runs[0] ? 0 : read_bytes(&r->real)) + (j->runs[1] ? 0 : read_bytes(&r->generated));
    const size_t held = resident > read ? resident - read : 0;
    const struct fdit_drawing *d = j->o->drawing;
    TRY(fill(ctx, j, r, held, limit));
    if (limit && counted(j) > limit)
        TRY(shrink(ctx, j, r, held, limit));
    r->plan_bytes = fdit_plan_device_bytes(&j->plan);
    r->process_plan_bytes = fdit_plan_process_bytes(&j->plan);
    if (j->hooks && j->hooks->on_plan) {
        const struct fdit_plan *other = &j->plan;
        for (int i = 0; other; i++) {
            j->hooks->on_plan(j->hooks->user, other);
            other = d && d->other ? d->other(d->self, i) : NULL;
        }
    }
    if (limit && counted(j) > limit)
        TRY(refuse(ctx, j, limit));
    if (j->dev) /* the largest buffer that it makes */
        TRY(fdit_plan_check(ctx, &j->plan, j->dev, 0, "take another device"));
out:
    return status;
}
