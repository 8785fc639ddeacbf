/* SPDX-License-Identifier: Apache-2.0
 * run_output.c: what a run writes and tells while it goes: folder, log, checkpoints, previews, the delta. */
#include "train/running.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/config.h"

#include <inttypes.h>
#include <string.h>

#define PREVIEWING "drawing the preview" /* phases that come again and again, for the time that is left */
#define EVALUATING "measuring the pictures"
#define SAVING "writing the checkpoint"

/* ------------------------------------------------------------------ the folder */

static enum fdit_status write_config(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL, *model = NULL, *settings = NULL, *places = NULL, *from = NULL;
    struct fdit_writer *w = NULL;
    TRY(fdit_config_to_json(ctx, &r->config, &model));
    TRY(fdit_train_settings_json(ctx, r->o, &settings));
    TRY(fdit_train_config_places(ctx, r->output.run, &places));
    if (r->output.log_from > 1)
        TRY(fdit_strf(ctx, &from, ",\"log-from\":%" PRId64, r->output.log_from));
    TRY(fdit_strf(ctx, &text,
                  "{\"format\":\"finediffusion-run\",\"version\":\"%s\",\"model\":%s,\"options\":%s,\n"
                  "\"run\":%s,\"places\":%s,\"steps\":%" PRId64 ",\"checkpoints\":%s%s,"
                  "\"names\":%s,\n\"made_of\":{\"taxonomy\":",
                  fdit_version(), model, r->options_json, settings, places, r->total,
                  r->output.checkpoints ? "true" : "false", from ? from : "", r->names_json));
    TRY(fdit_path_join(ctx, r->output.run, "config.json", &path));
    const char *const parts[] = { text, r->taxonomy_json, ",", r->identity_json + strlen("{"), "}\n" };
    TRY(fdit_writer_open(ctx, path, true, &w));
    for (size_t i = 0; i < sizeof parts / sizeof *parts;
         i++) /* of many classes they are long: not joined before */
        TRY(fdit_writer_write(ctx, w, parts[i], strlen(parts[i])));
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(path);
    fdit_free(text);
    fdit_free(model);
    fdit_free(settings);
    fdit_free(places);
    fdit_free(from);
    return status;
}

static enum fdit_status make_folder(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    static const char *const names[] = { "checkpoints", "previews" };
    char *path = NULL;
    TRY(write_config(ctx, r));
    for (size_t i = 0; i < 2; i++) {
        fdit_free(path);
        TRY(fdit_path_join(ctx, r->output.run, names[i], &path));
        TRY(fdit_mkdirs(ctx, path));
        TRY(fdit_folder_clean(ctx, path, NULL));
    }
out:
    fdit_free(path);
    return status;
}

static struct fdit_delta_meta meta_of(const struct run *r)
{
    return (struct fdit_delta_meta){ .taxonomy = r->taxonomy_json,
                                     .guide = r->guide,
                                     .flip = fdit_train_source_flip(r->data) ? "horizontal" : "none",
                                     .train = r->train_json,
                                     .fingerprint = r->fingerprint };
}

/* ------------------------------------------------------------------ checkpoints */

/* A checkpoint that cannot be written ends a run; what is kept, and how to go on, stands behind the
 * reason. */
static enum fdit_status tell_how_to_go_on(fdit_context *ctx, const struct run *r)
{
    enum fdit_status status = FDIT_OK;
    char *newest = NULL, *message = NULL;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    TRY(fdit_state_newest(ctx, r->output.run, &newest));
    if (newest)
        status = fdit_fail(ctx, FDIT_ERROR_IO, "%s; make room, then train --resume %s goes on from %s",
                           message, r->output.run, newest);
    else
        status = fdit_fail(ctx, FDIT_ERROR_IO, "%s; make room and begin again", message);
out:
    fdit_free(newest);
    fdit_free(message);
    return status;
}

enum fdit_status fdit_run_output_save(fdit_context *ctx, struct run *r, bool passing)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_delta_meta meta = meta_of(r);
    struct fdit_run_output *out = &r->output;
    char *path = NULL, *before = NULL;
    if (!out->run || r->o->lr_high > 0)
        return FDIT_OK;
    TRY(fdit_state_path(ctx, out->run, r->at.step, &path));
    fdit_phase_begin(ctx, 0, SAVING);
    status = fdit_journal_sync(ctx, out->journal);
    if (status == FDIT_OK)
        status = fdit_state_save(ctx, r->model, r->optimiser, &meta, &r->at, path);
    fdit_phase_end(ctx);
    if (status == FDIT_ERROR_IO)
        TRY(tell_how_to_go_on(ctx, r));
    TRY(status);
    out->kept = true;
    out->saved_time = fdit_clock_seconds();
    if (!out->checkpoints) {
        out->checkpoints = true;
        TRY(write_config(ctx, r));
    }
    if (out->passing > 0 && out->passing < r->at.step) {
        TRY(fdit_state_path(ctx, out->run, out->passing, &before));
        TRY(fdit_file_remove(ctx, before));
    }
    out->passing = passing ? r->at.step : -1;
    if (!passing)
        TRY(fdit_state_prune(ctx, out->run, r->at.step, r->o->keep));
    if (out->hooks.on_saved)
        out->hooks.on_saved(out->hooks.user, path);
out:
    fdit_free(path);
    fdit_free(before);
    return status;
}

static enum fdit_status save_snapshot(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_delta_meta meta = meta_of(r);
    fdit_phase_begin(ctx, 0, "writing the snapshot");
    status = fdit_snapshot_save(ctx, r->model, &meta, r->at.step, r->output.run);
    fdit_phase_end(ctx);
    if (status == FDIT_ERROR_IO)
        TRY(tell_how_to_go_on(ctx, r));
    TRY(status);
out:
    return status;
}

/* ------------------------------------------------------------------ what a step is looked at with */

static enum fdit_status preview_path(fdit_context *ctx, const struct run *r, char **path)
{
    return fdit_strf(ctx, path, "%s/previews/step-%" PRId64 ".png", r->output.run, r->at.step);
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
    TRY(fdit_model_gather_values(ctx, r->model, FDIT_VALUES_EMA));
    fdit_phase_begin(ctx, (uint64_t)fdit_preview_pictures(r->output.preview), PREVIEWING);
    status = fdit_preview_write(ctx, r->output.preview, r->at.step, path, &width, &height, &png, &bytes);
    fdit_phase_end(ctx);
    if (status == FDIT_ERROR_IO) {
        fdit_log(ctx, FDIT_LOG_WARNING, "%s; the training goes on without this preview",
                 fdit_context_message(ctx));
        status = FDIT_OK;
        goto out;
    }
    TRY(status);
    TRY(fdit_journal_picture(ctx, r->output.journal, r->at.step, width, height, 3, png, bytes));
out:
    fdit_free(path);
    fdit_free(png);
    return status;
}

static enum fdit_status evaluate(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_eval_value values[FDIT_EVAL_VALUES];
    const char *names[FDIT_EVAL_VALUES];
    double numbers[FDIT_EVAL_VALUES];
    size_t n = 0;
    TRY(fdit_model_gather_values(ctx, r->model, FDIT_VALUES_EMA));
    fdit_phase_begin(ctx, fdit_quality_pictures(r->output.quality), EVALUATING);
    status = fdit_quality_measure(ctx, r->output.quality, values, &n);
    fdit_phase_end(ctx);
    TRY(status);
    for (size_t i = 0; i < n; i++) {
        names[i] = values[i].name;
        numbers[i] = values[i].value;
    }
    TRY(fdit_journal_quality(ctx, r->output.journal, r->at.step, n, names, numbers));
    if (r->output.hooks.on_quality)
        r->output.hooks.on_quality(r->output.hooks.user, r->at.step, n, names, numbers);
out:
    return status;
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

struct fdit_run_due fdit_run_output_due(const struct run *r)
{
    const struct fdit_train_options *o = r->o;
    const struct fdit_run_output *out = &r->output;
    bool inside = r->at.step < r->total; /* the end has its checkpoint anyway */
    double waited = fdit_clock_seconds() - out->saved_time;
    if (!out->run || o->lr_high > 0)
        return (struct fdit_run_due){ 0 };
    return (struct fdit_run_due){
        .checkpoint = is_due(r->at.step, o->checkpoint_every) && inside,
        .late = o->checkpoint_seconds > 0 && inside && waited >= o->checkpoint_seconds,
        .preview = out->preview && is_due(r->at.step, o->preview_every),
        .evaluation = out->quality && is_due(r->at.step, o->eval_every),
        .snapshot = is_due(r->at.step, o->snapshots) || (o->ema_profiles && !inside),
    };
}

enum fdit_status fdit_run_output_due_now(fdit_context *ctx, struct run *r, struct fdit_run_due due,
                                         bool *saved)
{
    enum fdit_status status = FDIT_OK;
    if (due.snapshot) /* before the checkpoint: a run that goes on from there has it */
        TRY(save_snapshot(ctx, r));
    if (due.checkpoint || due.late) {
        TRY(fdit_run_output_save(ctx, r, !due.checkpoint));
        *saved = true;
    }
    if (due.checkpoint) /* a resumed run makes up for it */
        TRY(fdit_run_validate(ctx, r));
    if (due.preview)
        TRY(write_preview(ctx, r));
    if (due.evaluation)
        TRY(evaluate(ctx, r));
out:
    return status;
}

/* Reading /proc takes 30 us, much beside the steps of a tiny network: ten times a second, and the lines
 * between repeat it. */
static const double measure_seconds = 0.1;

static void measure_memory(struct run *r)
{
    struct fdit_run_memory *m = &r->output.memory;
    const double now = fdit_clock_seconds();
    if (now < m->next)
        return;
    *m = (struct fdit_run_memory){ .resident = fdit_mem_resident(),
                                   .peak = fdit_mem_highest(),
                                   .next = now + measure_seconds };
    for (int i = 0; i < r->devices->n; i++)
        if (fdit_device_info(r->devices->list[i])->is_gpu)
            m->device += fdit_device_held(r->devices->list[i]);
}

enum fdit_status fdit_run_output_step(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_run_output *out = &r->output;
    if (!out->run)
        return FDIT_OK;
    r->last.seconds += fdit_journal_seconds(out->journal);
    measure_memory(r);
    TRY(fdit_journal_step(ctx, out->journal,
                          &(struct fdit_journal_step){ .step = r->last.step,
                                                       .loss = r->last.loss,
                                                       .mse = r->last.mse,
                                                       .vb = r->last.vb,
                                                       .lr = r->last.lr,
                                                       .images_per_second = r->last.images_per_second,
                                                       .seconds = r->last.seconds,
                                                       .prior_mse = r->last.prior_mse,
                                                       .prior_vb = r->last.prior_vb,
                                                       .several = r->travelled.several,
                                                       .sent_bytes = r->travelled.bytes,
                                                       .waiting = r->travelled.waiting,
                                                       .resident_bytes = out->memory.resident,
                                                       .peak_bytes = out->memory.peak,
                                                       .device_bytes = out->memory.device }));
    if (out->hooks.on_step)
        out->hooks.on_step(out->hooks.user, &r->last);
out:
    return status;
}

/* ------------------------------------------------------------------ beginning and end */

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
    if (r->output.val.data)
        fdit_phase_ahead(ctx, FDIT_VALIDATING, checkpoints + (r->at.step == 0),
                         (double)r->output.val.used / step);
    if (r->output.preview)
        fdit_phase_ahead(ctx, PREVIEWING, times(r->at.step, r->total, o->preview_every),
                         50 * fdit_preview_pictures(r->output.preview) / step);
    if (r->output.quality)
        fdit_phase_ahead(ctx, EVALUATING, times(r->at.step, r->total, o->eval_every) + (r->at.step == 0),
                         50 * (double)fdit_quality_pictures(r->output.quality) / step);
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
    if (!r->output.hooks.on_start)
        return FDIT_OK;
    TRY(fdit_devices_names(ctx, r->devices, &devices));
    r->output.hooks.on_start(r->output.hooks.user,
                             &(struct fdit_train_banner){
                                 .devices = devices,
                                 .precision = fdit_device_precision(r->dev),
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
                                 .val_pictures = r->output.val.used,
                                 .val_all = r->output.val.n,
                                 .prior = r->prior.path,
                                 .prior_pictures = r->prior.pictures,
                                 .prior_classes = r->prior.classes,
                                 .prior_weight = o->prior_weight,
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
        (r->at.step == 0 || !fdit_journal_validated(r->output.journal)))
        TRY(fdit_run_validate(ctx, r));
    TRY(preview_path(ctx, r, &path));
    if (r->output.preview && r->at.step > 0 && is_due(r->at.step, o->preview_every) &&
        !fdit_file_exists(path))
        TRY(write_preview(ctx, r));
    /* step 0, too: what training makes better is seen, and what cannot be measured before it begins */
    if (r->output.quality && is_due(r->at.step, r->o->eval_every) &&
        !fdit_journal_evaluated(r->output.journal))
        TRY(evaluate(ctx, r));
out:
    fdit_free(path);
    return status;
}

enum fdit_status fdit_run_output_begin(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_run_output *out = &r->output;
    out->resumed_at = r->at.step;
    out->saved_time = fdit_clock_seconds();
    if (!out->run)
        return FDIT_OK;
    if (r->before) /* a log that does not fit is refused before anything is written */
        TRY(fdit_journal_open(ctx, out->run, out->log_from, r->at.step, &out->journal));
    if (out->log_from > r->at.step + 1) /* back at a checkpoint before the one where the log was put away */
        out->log_from = r->at.step + 1;
    TRY(make_folder(ctx, r));
    if (!r->before)
        TRY(fdit_journal_open(ctx, out->run, out->log_from, r->at.step, &out->journal));
    TRY(tell_start(ctx, r));
    if (r->o->lr_high > 0)
        return FDIT_OK;
    tell_phases_ahead(ctx, r);
    TRY(make_up(ctx, r));
    out->saved_time = fdit_clock_seconds();
out:
    return status;
}

enum fdit_status fdit_run_output_range(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    r->summary->lr_range = fdit_lr_range_find(&r->range);
    if (r->output.run)
        TRY(fdit_lr_range_write(ctx, &r->range, r->output.run));
    r->output.kept = r->output.kept || r->range.n;
    if (fdit_stopped(ctx))
        FAIL(ctx, FDIT_INTERRUPTED,
             "stopped after step %zu of %" PRId64 " of the test; %s/lr-range.svg shows them", r->range.n,
             r->total, r->o->out);
out:
    return status;
}

enum fdit_status fdit_run_output_end(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_run_output *out = &r->output;
    struct fdit_delta_meta meta = meta_of(r);
    char *path = NULL, *validation = NULL;
    if (!out->run || r->o->lr_high > 0)
        return FDIT_OK;
    TRY(fdit_journal_sync(ctx, out->journal));
    TRY(fdit_snapshot_count(ctx, out->run, &r->summary->snapshots));
    meta.steps = r->at.step;
    TRY(fdit_journal_last_validation(ctx, out->run, &validation));
    meta.validation = validation;
    TRY(fdit_path_join(ctx, out->run, "delta.safetensors", &path));
    TRY(fdit_delta_save(ctx, r->model, FDIT_VALUES_EMA, FDIT_ST_F32, &meta, path));
    if (out->hooks.on_saved)
        out->hooks.on_saved(out->hooks.user, path);
out:
    fdit_free(validation);
    fdit_free(path);
    return status;
}

void fdit_run_output_close(struct run *r, bool failed)
{
    struct fdit_run_output *out = &r->output;
    fdit_journal_close(NULL, out->journal);
    fdit_quality_free(out->quality);
    fdit_preview_free(out->preview);
    fdit_run_validation_close(r);
    if (failed && !out->kept)
        fdit_run_folder_undo(&out->folder);
    fdit_run_folder_fini(&out->folder);
    *out = FDIT_NO_RUN_OUTPUT;
}
