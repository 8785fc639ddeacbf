/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/look.h"
#include "train/running.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_STEPS 1e15 /* as of --steps */

bool fdit_run_encodes(const struct run *r, const struct fdit_train_source *data)
{
    return r->coder && !fdit_train_source_is_cache(data);
}

static enum fdit_status preview_path(fdit_context *ctx, const struct run *r, char **out)
{
    return fdit_strf(ctx, out, "%s/previews/step-%" PRId64 ".png", r->o->out, r->at.step);
}

/* Pictures for the eye: where they cannot be written the training goes on. */
static enum fdit_status write_preview(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL;
    uint8_t *png = NULL;
    size_t bytes;
    int width, height;
    TRY(preview_path(ctx, r, &path));
    fdit_phase_begin(ctx, (uint64_t)fdit_preview_pictures(r->preview), PREVIEWING);
    status = fdit_preview_write(ctx, r->preview, r->at.step, path, &width, &height, &png, &bytes);
    fdit_phase_end(ctx);
    if (status == FDIT_ERROR_IO) {
        fdit_log(ctx, FDIT_LOG_WARNING, "%s; the training goes on without this preview",
                 fdit_context_message(ctx));
        status = FDIT_OK;
        goto out;
    }
    TRY(status);
    TRY(fdit_journal_picture(ctx, r->journal, r->at.step, width, height, 3, png, bytes));
out:
    fdit_free(path);
    fdit_free(png);
    return status;
}

/* Names what is not finite in the step of the report, and what to do. */
static enum fdit_status fail_not_finite(fdit_context *ctx, struct run *r, bool loss_is)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step_bad bad;
    char *newest = NULL;
    TRY(fdit_step_find_bad(ctx, r->step, &bad));
    TRY(fdit_state_newest(ctx, r->o->out, &newest));
    r->kept = true; /* its log shows how it went */
    if (loss_is && bad.finite)
        FAIL(ctx, FDIT_ERROR_NUMERIC,
             "step %" PRId64
             ": the gradient's norm is not finite (its squares overflow: the largest number of it "
             "is %.3g, in %s); the last good checkpoint is %s; use a lower --lr or --clip 1",
             r->last.step, bad.largest, bad.name, newest ? newest : "none");
    FAIL(ctx, FDIT_ERROR_NUMERIC,
         "step %" PRId64 ": %s is not finite (%s%s); the last good checkpoint is %s; use a lower --lr or "
         "--clip 1",
         r->last.step, loss_is ? "the gradient" : "the loss",
         bad.finite ? "every weight and gradient is, the largest gradient is in " : "", bad.name,
         newest ? newest : "none");
out:
    fdit_free(newest);
    return status;
}

/* The loss of the step whose report is on its way: logged, and checked. */
static enum fdit_status finish_report(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step_losses losses;
    if (!r->pending)
        return FDIT_OK;
    r->pending = false;
    TRY(fdit_replicas_report_end(ctx, r->fleet, &losses));
    double loss = losses.mse + losses.vb;
    if (!isfinite(loss) || !isfinite(losses.gradient_norm))
        TRY(fail_not_finite(ctx, r, isfinite(loss)));
    r->last.loss = loss;
    r->last.mse = losses.mse;
    r->last.vb = losses.vb;
    r->last.lr = r->pending_lr;
    r->last.seconds = r->pending_seconds;
    TRY(fdit_journal_step(ctx, r->journal,
                          &(struct fdit_journal_step){ .step = r->last.step,
                                                       .loss = loss,
                                                       .mse = losses.mse,
                                                       .vb = losses.vb,
                                                       .lr = r->pending_lr,
                                                       .images_per_second = r->last.images_per_second,
                                                       .seconds = r->pending_seconds }));
    if (r->hooks && r->hooks->on_step)
        r->hooks->on_step(r->hooks->user, &r->last);
out:
    return status;
}

enum fdit_status fdit_run_bad_picture(fdit_context *ctx, const struct run *r, enum fdit_status found)
{
    if ((found != FDIT_ERROR_FORMAT && found != FDIT_ERROR_UNSUPPORTED) || r->o->skip_bad)
        return found;
    return fdit_fail(ctx, found, "%s; or leave out such pictures with --skip-bad", fdit_context_message(ctx));
}

static enum fdit_status next_batch(fdit_context *ctx, struct run *r, struct fdit_batch *b)
{
    return fdit_run_bad_picture(ctx, r, fdit_loader_next(ctx, r->loader, b));
}

static enum fdit_status one_step(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    int64_t n = r->at.step + 1;
    double lr = fdit_train_lr(
        o, n, fdit_pace_expected(&r->pace, fdit_clock_seconds(), r->at.step, r->total, o->seconds));
    uint64_t position = r->at.position; /* becomes r->at's with the whole step: a stop may come between */
    for (int i = 0; i < o->accumulate; i++) {
        struct fdit_batch b;
        TRY(next_batch(ctx, r, &b));
        const float *x0 = b.x;
        if (fdit_run_encodes(r, r->data)) {
            size_t picture = fdit_train_source_item(r->data);
            for (size_t k = 0; k < b.n; k++)
                TRY(fdit_autoencoder_encode(ctx, r->coder, b.x + k * picture, o->seed, b.position + k,
                                            r->latents + k * r->item));
            x0 = r->latents;
        }
        fdit_draw_batch(&r->rule, o->seed, b.position, b.labels, b.n, r->item, r->t, r->rows, r->noise);
        if (o->classifier && o->shift) {
            fdit_shift_batch(o->seed, b.position, b.x, b.n, r->config.channels, r->config.input_size,
                             o->shift, r->noise);
            x0 = r->noise;
        }
        TRY(fdit_replicas_micro(ctx, r->fleet,
                                &(struct fdit_micro){ .samples = (int)b.n,
                                                      .x0 = x0,
                                                      .noise = r->noise,
                                                      .t = r->t,
                                                      .rows = r->rows,
                                                      .first = i == 0,
                                                      .index = i,
                                                      .loss_scale = 1.0 / (r->round * o->accumulate) }));
        position = b.next;
    }
    TRY(fdit_replicas_update(ctx, r->fleet,
                             &(struct fdit_optimiser){ .lr = lr,
                                                       .beta1 = o->beta1,
                                                       .beta2 = o->beta2,
                                                       .eps = 1e-8,
                                                       .weight_decay = o->weight_decay,
                                                       .clip = o->clip,
                                                       .ema_decay = fdit_ema_decay(o->ema, o->ema_exact, n),
                                                       .n = n }));
    TRY(finish_report(ctx, r));
    double now = fdit_clock_seconds();
    r->at.step = n;
    r->at.position = position;
    r->last.step = n;
    r->last.steps = r->total;
    r->pending_lr = lr;
    r->pending_seconds = fdit_journal_seconds(r->journal) + fdit_pace_spent(&r->pace, now);
    fdit_pace_step(&r->pace, now, n);
    r->last.images_per_second = r->pace.rate * r->round * o->accumulate;
    fdit_replicas_report_begin(r->fleet);
    r->pending = true;
    r->summary->images += (uint64_t)r->round * (uint64_t)o->accumulate;
    /* Several devices have waited for each other anyway; so the log is whole when one of them
     * fails. The step is done once the first device holds it, whether or not the others can be
     * told. */
    if (fdit_replicas_size(r->fleet) > 1) {
        TRY(finish_report(ctx, r));
        TRY(fdit_replicas_share(ctx, r->fleet));
    }
out:
    return status;
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* What a step is looked at with, after its checkpoint: both may take long, and a stop request ends them
 * with FDIT_INTERRUPTED and nothing lost. A resumed run makes up for the validation. */
static enum fdit_status look(fdit_context *ctx, struct run *r, bool validation, bool preview)
{
    enum fdit_status status = FDIT_OK;
    if (validation)
        TRY(fdit_run_validate(ctx, r));
    if (preview)
        TRY(write_preview(ctx, r));
out:
    return status;
}

/* What the first device holds after a failure of the data, or of another device, is the state after
 * the last whole step, and worth a checkpoint. Keeps the failure's status and message, and says how
 * to go on. */
static enum fdit_status save_after_failure(fdit_context *ctx, struct run *r, bool saved,
                                           enum fdit_status found)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    bool other_device = found == FDIT_ERROR_DEVICE && fdit_replicas_size(r->fleet) > 1;
    bool picture = found == FDIT_ERROR_FORMAT || found == FDIT_ERROR_UNSUPPORTED;
    if ((!other_device && !picture && found != FDIT_ERROR_IO) || r->dev->status != FDIT_OK || r->at.step == 0)
        return found;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = finish_report(ctx, r);
    if (status == FDIT_OK && !saved)
        status = fdit_run_save(ctx, r, false);
    if (status != FDIT_OK) { /* of two messages the first is the cause */
        status = fdit_fail(ctx, found, "%s", message);
        goto out;
    }
    const char *how = other_device ? "with --resume and the other devices"
                      : picture
                          ? "with --resume --skip-bad, or with --resume --data-changed after the picture "
                            "was replaced or removed"
                          : "with --resume";
    status = fdit_fail(ctx, found, "%s; step %" PRId64 " is kept: go on %s", message, r->at.step, how);
out:
    fdit_free(message);
    return status;
}

/* After a step: its checkpoint, and what it is looked at with. *saved: the step has a checkpoint. */
static enum fdit_status after_step(fdit_context *ctx, struct run *r, bool *saved)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    bool inside = r->at.step < r->total;
    bool checkpoint = is_due(r->at.step, o->checkpoint_every) && inside;
    bool preview = r->preview && is_due(r->at.step, o->preview_every);
    bool late =
        o->checkpoint_seconds > 0 && inside && fdit_clock_seconds() - r->saved_time >= o->checkpoint_seconds;
    if (!checkpoint && !preview && !late)
        return FDIT_OK;
    fdit_pace_pause(&r->pace, fdit_clock_seconds());
    TRY(finish_report(ctx, r));
    if (checkpoint || late) {
        TRY(fdit_run_save(ctx, r, !checkpoint));
        *saved = true;
    }
    status = look(ctx, r, checkpoint, preview);
    fdit_pace_start(&r->pace, fdit_clock_seconds());
out:
    return status;
}

static enum fdit_status loop(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    bool saved = true;
    fdit_pace_init(&r->pace, r->at.step);
    fdit_pace_start(&r->pace, fdit_clock_seconds());
    r->saved_time = fdit_clock_seconds();
    while (r->at.step < r->total) {
        double spent = fdit_pace_spent(&r->pace, fdit_clock_seconds());
        if (fdit_stopped(ctx) || (o->seconds > 0 && spent >= o->seconds))
            break;
        int64_t before = r->at.step;
        status = one_step(ctx, r);
        if (status == FDIT_INTERRUPTED)
            break;
        if (status != FDIT_OK)
            status = save_after_failure(ctx, r, saved && r->at.step == before, status);
        TRY(status);
        saved = false;
        status = after_step(ctx, r, &saved);
        if (status == FDIT_INTERRUPTED)
            break;
        TRY(status);
    }
    fdit_pace_pause(&r->pace, fdit_clock_seconds());
    TRY(finish_report(ctx, r));
    if (!saved)
        TRY(fdit_run_save(ctx, r, false));
    status = fdit_stopped(ctx) ? FDIT_INTERRUPTED : fdit_run_validate(ctx, r);
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, FDIT_INTERRUPTED,
             "stopped after step %" PRId64 " of %" PRId64 "; train --resume %s continues", r->at.step,
             r->total, o->out);
    TRY(status);
    TRY(fdit_journal_sync(ctx, r->journal));
out:
    return status;
}

static void summarise(struct run *r)
{
    struct fdit_train_summary *s = r->summary;
    struct rusage usage;
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
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        s->peak_bytes = (size_t)usage.ru_maxrss * 1024;
    if (r->loader) {
        struct fdit_loader_stats l = fdit_loader_stats(r->loader);
        s->stall_seconds = l.stall_seconds;
        s->skipped = l.skipped;
    }
    s->n_pictures = r->n_train - (size_t)s->skipped;
    s->n_val = r->val.used - r->val.n_bad;
    s->skipped += r->val.n_bad;
    memcpy(s->counts, r->dev->counts, sizeof s->counts);
}

static enum fdit_status set_total(fdit_context *ctx, struct run *r)
{
    const struct fdit_train_options *o = r->o;
    size_t group = (size_t)r->round * (size_t)o->accumulate;
    if (group > r->n_train)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--batch %d times --accumulate %d%s is more than the %zu pictures of %s; use a "
                         "smaller batch",
                         o->batch, o->accumulate, o->devices > 1 ? " on several devices" : "", r->n_train,
                         o->data);
    double per_epoch = (double)(r->n_train / group), steps = ceil(o->epochs * per_epoch);
    if (o->steps <= 0 && !(steps <= MOST_STEPS))
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--epochs %g of %.0f steps each are too many; at most %.0e steps "
                         "can be made",
                         o->epochs, per_epoch, MOST_STEPS);
    r->total = o->steps > 0 ? o->steps : (int64_t)steps;
    r->summary->epoch_steps = (int64_t)per_epoch;
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

/* How many multiples of `every` are in (from, to]. */
static uint64_t times(int64_t from, int64_t to, int64_t every)
{
    return every > 0 && to > from ? (uint64_t)(to / every - from / every) : 0;
}

/* For the time that is left. A validation is forward passes, a third of training; a preview draws
 * each of its pictures in 25 steps of two passes. */
static void tell_phases_ahead(fdit_context *ctx, const struct run *r)
{
    const struct fdit_train_options *o = r->o;
    double step = 3.0 * r->round * o->accumulate;
    uint64_t checkpoints = times(r->at.step, r->total - 1, o->checkpoint_every) + 1;
    if (r->at.step >= r->total)
        return;
    if (r->val.data)
        fdit_phase_ahead(ctx, VALIDATING, checkpoints + (r->at.step == 0), (double)r->val.used / step);
    if (r->preview)
        fdit_phase_ahead(ctx, PREVIEWING, times(r->at.step, r->total, o->preview_every),
                         50 * fdit_preview_pictures(r->preview) / step);
    fdit_phase_ahead(ctx, SAVING, checkpoints, 0);
}

/* What is known before the first step. */
static enum fdit_status tell_start(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    const struct fdit_train_summary *s = r->summary;
    const struct fdit_taxonomy *tax = r->rule.taxonomy;
    char *devices = NULL;
    if (!r->hooks || !r->hooks->on_start)
        return FDIT_OK;
    TRY(fdit_device_names(ctx, r->dev, &devices));
    r->hooks->on_start(r->hooks->user,
                       &(struct fdit_train_banner){
                           .devices = devices,
                           .precision = r->dev->precision,
                           .storage = o->storage,
                           .model = &r->config,
                           .tune = o->tune,
                           .base = o->base,
                           .data = o->data,
                           .out = o->out,
                           .guide = r->guide,
                           .pictures = r->n_train,
                           .classes = s->n_classes,
                           .groups = (size_t)(fdit_taxonomy_n_rows(tax) - fdit_taxonomy_n_classes(tax)),
                           .trained = s->trained,
                           .parameters = s->total,
                           .step = r->at.step,
                           .steps = r->total,
                           .epoch_steps = s->epoch_steps,
                           .batch = o->batch,
                           .accumulate = o->accumulate,
                           .devices_n = o->devices,
                           .val_pictures = r->val.used,
                           .val_all = r->val.n,
                           .plan_bytes = s->plan_bytes,
                           .process_plan_bytes = s->process_plan_bytes });
out:
    fdit_free(devices);
    return status;
}

/* What an interrupted run did not come to at the step of its checkpoint. */
static enum fdit_status make_up(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    char *path = NULL;
    if (is_due(r->at.step, o->checkpoint_every ? o->checkpoint_every : INT64_MAX) &&
        (r->at.step == 0 || !fdit_journal_validated(r->journal)))
        TRY(fdit_run_validate(ctx, r));
    TRY(preview_path(ctx, r, &path));
    if (r->preview && r->at.step > 0 && is_due(r->at.step, o->preview_every) && !fdit_file_exists(path))
        TRY(write_preview(ctx, r));
out:
    fdit_free(path);
    return status;
}

static enum fdit_status start(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    TRY(in_phase(ctx, r, "reading the weights", fdit_run_load));
    TRY(fdit_run_identify(ctx, r));
    TRY(fdit_run_check_identity(ctx, r));
    if (r->o->resume)
        TRY(fdit_run_resume(ctx, r));
    TRY(fdit_replicas_share(ctx, r->fleet));
    r->resumed_at = r->at.step;
    r->summary->nothing = r->at.step > 0 && r->at.step >= r->total;
    if (r->before) /* a log that does not fit is refused before anything is written */
        TRY(fdit_journal_open(ctx, r->o->out, r->log_from, r->at.step, &r->journal));
    TRY(fdit_run_make_folder(ctx, r));
    if (!r->before)
        TRY(fdit_journal_open(ctx, r->o->out, r->log_from, r->at.step, &r->journal));
    struct fdit_loader_options l = fdit_run_loader(r);
    TRY(fdit_train_source_loader(ctx, r->data, r->train_ids, r->train_ids ? r->n_train : 0, &l, &r->loader));
    TRY(tell_start(ctx, r));
    tell_phases_ahead(ctx, r);
    TRY(make_up(ctx, r));
    if (r->at.step == 0) {
        r->summary->first_val_mse = r->summary->val_mse;
        r->summary->first_val_vb = r->summary->val_vb;
    }
out:
    return status;
}

static void close_run(struct run *r)
{
    fdit_loader_close(r->loader);
    fdit_journal_close(NULL, r->journal);
    fdit_preview_free(r->preview);
    fdit_replicas_free(r->fleet);
    fdit_step_free(r->step);
    fdit_model_free(r->model);
    fdit_autoencoder_free(r->coder);
    fdit_run_validation_close(r);
    fdit_train_source_close(r->data);
    fdit_made_of_fini(&r->identity);
    json_decref(r->before);
    fdit_taxonomy_free(r->taxonomy);
    fdit_taxonomy_free(r->known);
    fdit_checkpoint_close(r->base);
    fdit_checkpoint_close(r->start);
    void *blocks[] = { r->train_ids,  r->ranks,       r->taxonomy_json, r->options_json, r->identity_json,
                       r->names_json, r->fingerprint, r->guide,         r->train_json,   r->noise,
                       r->latents,    r->t,           r->rows };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        fdit_free(blocks[i]);
}

enum fdit_status fdit_train_run(fdit_context *ctx, fdit_device *dev, const struct fdit_train_options *options,
                                const struct fdit_train_hooks *hooks, bool plan_only,
                                struct fdit_train_summary *summary)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_summary own;
    struct fdit_train_options exact = *options, made_by;
    const double began = fdit_clock_seconds();
    struct run r = { .o = &exact,
                     .made_by = &made_by,
                     .hooks = hooks,
                     .dev = dev,
                     .folder = FDIT_NO_RUN_FOLDER,
                     .log_from = 1,
                     .passing = -1,
                     .summary = summary ? summary : &own };
    struct fdit_train_look look = { .notes = { NULL, NULL } };
    struct fdit_delta_meta meta;
    char *path = NULL, *validation = NULL;
    *r.summary = (struct fdit_train_summary){
        .first_val_mse = NAN, .first_val_vb = NAN, .val_mse = NAN, .val_vb = NAN
    };
    exact.devices = fdit_device_count(dev);
    options = &exact;
    TRY(fdit_train_check(ctx, options));
    TRY(fdit_train_look_settle(ctx, &exact, &look));
    made_by = exact;
    if (!fdit_autoencoder_encodes(
            options)) { /* it decodes previews, which are in no file of numbers either */
        made_by.vae = NULL;
        made_by.vae_scale = 0;
    }
    r.round = exact.batch * exact.devices;
    if (!plan_only)
        TRY(fdit_run_check_folder(ctx, &r));
    TRY(in_phase(ctx, &r, "reading the model's files", fdit_run_open_files));
    TRY(in_phase(ctx, &r, "reading the data's folders", fdit_run_open_data));
    TRY(set_total(ctx, &r));
    TRY(in_phase(ctx, &r, "planning the memory", fdit_run_plan));
    if (plan_only)
        goto out;
    TRY(fdit_train_options_json(ctx, &made_by, &r.options_json));
    TRY(fdit_run_make_train_json(ctx, &r));
    TRY(start(ctx, &r));
    status = loop(ctx, &r);
    summarise(&r);
    r.summary->all_seconds = fdit_clock_seconds() - began;
    TRY(status);
    meta = fdit_run_meta(&r);
    meta.steps = r.at.step;
    TRY(fdit_journal_last_validation(ctx, options->out, &validation));
    meta.validation = validation;
    TRY(fdit_path_join(ctx, options->out, "delta.safetensors", &path));
    TRY(fdit_delta_save(ctx, r.model, FDIT_VALUES_EMA, FDIT_ST_F32, &meta, path));
    if (hooks && hooks->on_saved)
        hooks->on_saved(hooks->user, path);
out:
    fdit_free(validation);
    fdit_free(path);
    fdit_train_look_fini(&look);
    close_run(&r);
    if (status != FDIT_OK && !r.kept)
        fdit_run_folder_undo(&r.folder);
    fdit_run_folder_fini(&r.folder);
    return status;
}
