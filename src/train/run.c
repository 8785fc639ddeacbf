/* SPDX-License-Identifier: Apache-2.0
 * run.c: sets a run up, lets it train (run_loop.c) and sums it up. */
#include "train/run.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/share.h"
#include "train/exchange_ranks.h"
#include "train/learn.h"
#include "train/look.h"
#include "train/running.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool fdit_run_encodes(const struct run *r, const struct fdit_train_source *data)
{
    return r->autoencoder && !fdit_train_source_is_cache(data);
}

static enum fdit_status set_total(fdit_context *ctx, struct run *r)
{
    const struct fdit_train_options *o = r->o;
    size_t group = (size_t)r->round * (size_t)o->accumulate, n = r->n_train * (size_t)o->repeats;
    if (group > n)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--batch %d times --accumulate %d%s is more than "
                         "the %zu pictures of %s%s; use a smaller batch",
                         o->batch, o->accumulate, o->devices > 1 ? " on several devices" : "", n, o->data,
                         o->repeats > 1 ? " with --repeats" : "");
    double per_epoch = (double)(n / group), steps = ceil(o->epochs * per_epoch);
    if (o->steps <= 0 && !(steps <= FDIT_TRAIN_MOST_STEPS))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--epochs %g of %.0f steps each are too many; at most %.0e steps can be made",
                         o->epochs, per_epoch, FDIT_TRAIN_MOST_STEPS);
    r->total = o->steps > 0 ? o->steps : (int64_t)steps;
    r->summary->epoch_steps = (int64_t)per_epoch;
    if (fdit_learn_wanted(o) && r->total < o->learn_after + 2)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--learn-guidance begins at step %" PRId64 ", and the run has %" PRId64
                         " step%s; give more --steps or a smaller --learn-after",
                         o->learn_after + 2, r->total, r->total == 1 ? "" : "s");
    return FDIT_OK;
}

static enum fdit_status in_phase(fdit_context *ctx, struct run *r, const char *name,
                                 enum fdit_status (*work)(fdit_context *ctx, struct run *r))
{
    fdit_phase_begin(ctx, 0, "%s", name);
    enum fdit_status status = work(ctx, r);
    fdit_phase_end(ctx);
    return status;
}

/* All that can be done, and can fail, before other processes are waited for. */
static enum fdit_status prepare(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_train_options_json(ctx, r->made_by, &r->options_json));
    TRY(fdit_run_make_train_json(ctx, r));
    TRY(in_phase(ctx, r, "reading the weights", fdit_run_load));
    TRY(fdit_run_identify(ctx, r));
    TRY(fdit_run_check_identity(ctx, r));
    if (r->o->resume && !fdit_run_follows(r))
        TRY(fdit_run_resume(ctx, r));
out:
    return status;
}

/* What the steps are made of, from r->at on: the prior has taken as many pictures as the run itself. */
static enum fdit_status open_streams(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    struct fdit_run_stream *own = &r->streams[0], *prior = &r->streams[1];
    const struct fdit_loader_options l = fdit_run_loader(r), p = fdit_prior_loader(&r->prior, l);
    *own = (struct fdit_run_stream){
        .data = r->data, .rule = &r->rule, .learn = r->learn, .seed = o->seed, .weight = 1
    };
    r->n_streams = 1;
    TRY(fdit_train_source_loader(ctx, own->data, r->train_ids, r->train_ids ? r->n_train : 0, &l,
                                 &own->loader));
    if (!fdit_prior_wanted(o))
        return FDIT_OK;
    *prior = (struct fdit_run_stream){ .data = r->prior.data,
                                       .rule = &r->prior.rule,
                                       .seed = fdit_prior_seed(o->seed),
                                       .weight = o->prior_weight,
                                       .prior = true };
    r->n_streams = 2;
    TRY(fdit_train_source_loader(ctx, prior->data, NULL, 0, &p, &prior->loader));
out:
    return status;
}

/* Where the run stands goes from the process with the optimiser to all; then each is ready for a step. */
static enum fdit_status start(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_replicas_tell(ctx, r->replicas, &r->at, sizeof r->at));
    TRY(fdit_replicas_share(ctx, r->replicas));
    TRY(fdit_run_deal(ctx, r));
    r->summary->nothing = r->at.step > 0 && r->at.step >= r->total;
    TRY(open_streams(ctx, r));
    TRY(fdit_run_output_begin(ctx, r));
    if (r->at.step == 0) {
        r->summary->first_val_mse = r->summary->val_mse;
        r->summary->first_val_vb = r->summary->val_vb;
    }
out:
    return status;
}

static void summarise(struct run *r)
{
    struct fdit_train_summary *s = r->summary;
    const struct fdit_model_config *c = &r->config;
    double forward = fdit_config_forward_flops(c), n = fdit_config_tokens(c);
    double attention = 4 * n * n * c->width * c->depth;
    /* dX costs as much as the forward products, weight gradients once more, attention twice its
     * forward */
    bool full = r->model && fdit_params_whole(&r->model->params);
    double each = forward + (forward - attention) * (full ? 2 : 1) + 2 * attention;
    s->step = r->at.step;
    s->steps = r->total;
    s->seconds = r->pace.spent;
    s->images_per_second = s->seconds > 0 ? (double)s->images / s->seconds : 0;
    s->gflops = s->images_per_second * each / 1e9;
    s->peak_bytes = fdit_mem_highest();
    s->n_pictures = r->n_train;
    for (int i = 0; i < r->n_streams; i++) {
        struct fdit_loader_stats l = fdit_loader_stats(r->streams[i].loader);
        s->stall_seconds += l.stall_seconds;
        s->skipped += l.skipped;
        s->n_pictures -= i == 0 ? (size_t)l.skipped : 0;
    }
    s->n_val = r->output.val.used - r->output.val.n_bad;
    s->skipped += r->output.val.n_bad;
    memcpy(s->counts, fdit_device_counts(r->dev), sizeof s->counts);
}

static void close_run(struct run *r, bool failed)
{
    for (int i = 0; i < r->n_streams; i++)
        fdit_loader_close(r->streams[i].loader);
    fdit_run_output_close(r, failed);
    fdit_replicas_free(r->replicas);
    fdit_step_free(r->step);
    fdit_learn_free(r->learn);
    fdit_model_free(r->model);
    fdit_autoencoder_free(r->autoencoder);
    fdit_train_source_close(r->data);
    fdit_prior_fini(&r->prior);
    fdit_made_of_fini(&r->identity);
    json_decref(r->before);
    fdit_lr_range_fini(&r->range);
    fdit_class_vectors_fini(&r->vectors);
    fdit_taxonomy_free(r->taxonomy);
    fdit_taxonomy_free(r->known);
    fdit_checkpoint_close(r->base);
    fdit_checkpoint_close(r->start);
    void *blocks[] = { r->train_ids,  r->ranks,       r->taxonomy_json, r->options_json, r->identity_json,
                       r->names_json, r->fingerprint, r->guide,         r->train_json,   r->noise,
                       r->latents,    r->t,           r->rows,          r->vector_of };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        fdit_free(blocks[i]);
}

/* Everything before the first step, as far as this process alone can do it. exact and made_by are r's. */
static enum fdit_status set_up(fdit_context *ctx, struct run *r, struct fdit_train_options *exact,
                               struct fdit_train_options *made_by, struct fdit_train_look *look,
                               bool plan_only)
{
    enum fdit_status status = FDIT_OK;
    exact->devices = r->members;
    TRY(fdit_train_check(ctx, exact));
    fdit_train_betas_settle(exact);
    TRY(fdit_train_look_settle(ctx, exact, look));
    if (exact->objective)
        exact->objective = fdit_objective_find(exact->objective)->name;
    *made_by = *exact;
    if (!fdit_autoencoder_encodes(exact)) { /* it decodes previews, which are in no file of numbers either */
        made_by->vae = NULL;
        made_by->vae_scale = 0;
    }
    r->optimiser = fdit_optimiser_at((size_t)exact->optimiser);
    r->round = exact->batch * r->members;
    r->local = exact->batch * r->devices->n;
    r->output.run = r->output.hooks.silent ? NULL : exact->out;
    if (!plan_only)
        TRY(fdit_run_check_folder(ctx, r));
    TRY(in_phase(ctx, r, "reading the model's files", fdit_run_open_files));
    if (!exact->classifier) {
        r->objective = fdit_objective_at(r->config.objective);
        exact->objective = made_by->objective = r->objective->name;
    }
    TRY(in_phase(ctx, r, "reading the data's folders", fdit_run_open_data));
    TRY(set_total(ctx, r));
    TRY(fdit_run_open_prior(ctx, r, plan_only));
    TRY(in_phase(ctx, r, "planning the memory", fdit_run_plan));
    if (!plan_only)
        TRY(prepare(ctx, r));
out:
    return status;
}

/* The set-up of all processes: what failed in one fails in all. */
static enum fdit_status ready(fdit_context *ctx, struct run *r, enum fdit_status own)
{
    struct fdit_exchange *x = r->output.hooks.exchange;
    if (!x || !x->ready)
        return own;
    return x->ready(ctx, x, own,
                    &(struct fdit_exchange_identity){
                        .options = r->options_json, .classes = r->taxonomy_json, .data = r->identity_json });
}

enum fdit_status fdit_train_run(fdit_context *ctx, const struct fdit_devices *devices,
                                const struct fdit_train_options *options,
                                const struct fdit_train_hooks *hooks, bool plan_only,
                                struct fdit_train_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_summary own;
    struct fdit_share share;
    struct fdit_train_options exact = *options, made_by = *options;
    const double began = fdit_clock_seconds();
    struct fdit_ranks alone = fdit_ranks_alone();
    struct fdit_exchange *shards = NULL;
    struct run r = { .o = &exact,
                     .made_by = &made_by,
                     .devices = devices,
                     .dev = devices->list[0],
                     .output = FDIT_NO_RUN_OUTPUT,
                     .summary = summary ? summary : &own };
    struct fdit_train_look look = { .notes = { NULL, NULL } };
    *r.summary = (struct fdit_train_summary){
        .first_val_mse = NAN, .first_val_vb = NAN, .val_mse = NAN, .val_vb = NAN
    };
    if (hooks)
        r.output.hooks = *hooks;
    if (exact.shards && !r.output.hooks.exchange) {
        TRY(fdit_exchange_ranks(ctx, &alone, devices->n, NULL, &shards));
        r.output.hooks.exchange = shards;
    }
    r.members = r.output.hooks.exchange ? r.output.hooks.exchange->members : devices->n;
    status = set_up(ctx, &r, &exact, &made_by, &look, plan_only);
    if (plan_only)
        goto out;
    TRY(r.failed_together ? status : ready(ctx, &r, status));
    TRY(start(ctx, &r));
    fdit_share_begin(&share);
    status = fdit_run_loop(ctx, &r);
    fdit_share_note(ctx, &share, fdit_devices_threads(devices));
    summarise(&r);
    r.summary->all_seconds = fdit_clock_seconds() - began;
    if (status == FDIT_OK)
        status = fdit_run_output_end(ctx, &r);
    if (status == FDIT_OK || status == FDIT_INTERRUPTED) {
        const enum fdit_status end = fdit_replicas_part(ctx, r.replicas);
        status = end == FDIT_OK ? status : end;
    }
out:
    fdit_train_look_fini(&look);
    close_run(&r, status != FDIT_OK);
    fdit_exchange_free(shards);
    return status;
}
