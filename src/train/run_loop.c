/* SPDX-License-Identifier: Apache-2.0
 * run_loop.c: the steps of a run: a batch, its gradient, an update, and the report of the step before, which
 * was read back meanwhile. */
#include "train/running.h"

#include "core/clock.h"
#include "core/mem.h"

#include <inttypes.h>
#include <math.h>

/* Names what is not finite in the step of the report, on this device, and says what to do. */
static enum fdit_status tell_not_finite(fdit_context *ctx, struct run *r, struct fdit_step *step,
                                        bool loss_is, bool of_all)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step_bad bad;
    char *what = NULL, *newest = NULL;
    TRY(fdit_step_find_bad(ctx, step, &bad));
    TRY(fdit_state_newest(ctx, r->o->out, &newest));
    r->output.kept = true;                /* its log shows how it went */
    if (loss_is && bad.finite && !of_all) /* which the last one has overwritten */
        TRY(fdit_strdup(ctx, "the gradient of an earlier micro-batch is not finite", &what));
    else if (loss_is && bad.finite)
        TRY(fdit_strf(ctx, &what,
                      "the gradient's norm is not finite (its squares "
                      "overflow: the largest number of it is %.3g, in %s)",
                      bad.largest, bad.name));
    else
        TRY(fdit_strf(ctx, &what, "%s is not finite (%s%s)", loss_is ? "the gradient" : "the loss",
                      bad.finite ? "every weight and gradient is, the largest gradient is in " : "",
                      bad.name));
    FAIL(ctx, FDIT_ERROR_NUMERIC,
         "step %" PRId64 ": %s; the last good checkpoint is %s; use a lower --lr or --clip 1", r->last.step,
         what, newest ? newest : "none");
out:
    fdit_free(what);
    fdit_free(newest);
    return status;
}

/* It is one process's to tell: that whose numbers they are. What is not one's fails in all, so that no rank
 * is named for it (fdit_ranks_settle). */
static enum fdit_status fail_not_finite(fdit_context *ctx, struct run *r, bool loss_is)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step *step;
    bool of_all;
    TRY(fdit_replicas_suspect(ctx, r->replicas, &step, &of_all));
    if (step)
        status = tell_not_finite(ctx, r, step, loss_is, of_all);
    else if (of_all)
        status = fdit_fail(ctx, FDIT_ERROR_NUMERIC, "step %" PRId64 " is not finite", r->last.step);
    TRY(fdit_replicas_settle(ctx, r->replicas, status));
out:
    return status;
}

/* What travelled since this was called before; the first call only begins. */
static void note_traffic(struct run *r)
{
    const struct fdit_exchange_traffic now = fdit_replicas_traffic(r->replicas);
    const double at = fdit_clock_seconds(), spent = at - r->travelled.at;
    r->travelled.several = r->members > r->devices->n;
    r->travelled.bytes = (double)(now.bytes - r->travelled.before.bytes);
    r->travelled.waiting = spent > 0 ? (now.seconds - r->travelled.before.seconds) / spent : 0;
    r->travelled.before = now;
    r->travelled.at = at;
}

/* The losses of the step whose report is on its way: checked, and given out. */
static enum fdit_status finish_report(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_step_losses losses;
    if (!r->pending)
        return FDIT_OK;
    r->pending = false;
    TRY(fdit_replicas_report_end(ctx, r->replicas, &losses));
    r->last.loss = losses.mse + losses.vb;
    r->last.mse = losses.mse;
    r->last.vb = losses.vb;
    r->last.prior_mse = losses.prior_mse;
    r->last.prior_vb = losses.prior_vb;
    if (r->o->lr_high > 0) { /* a test of rates ends where they are too high */
        TRY(fdit_lr_range_add(ctx, &r->range, r->total, r->last.lr,
                              isfinite(losses.gradient_norm) ? r->last.loss : NAN));
        if (r->range.over)
            return FDIT_OK;
    }
    const bool finite = isfinite(r->last.loss + losses.prior_mse_sum + losses.prior_vb_sum);
    if (!finite || !isfinite(losses.gradient_norm))
        TRY(fail_not_finite(ctx, r, finite));
    note_traffic(r);
    TRY(fdit_run_output_step(ctx, r));
out:
    return status;
}

enum fdit_status fdit_run_bad_picture(fdit_context *ctx, const struct run *r, enum fdit_status found)
{
    if (!fdit_picture_is_bad(found) || r->o->skip_bad)
        return found;
    return fdit_fail(ctx, found, "%s; or leave out such pictures with --skip-bad", fdit_context_message(ctx));
}

/* The pictures as the model takes them: of the loader, or encoded on the way. */
static enum fdit_status encode_batch(fdit_context *ctx, struct run *r, const struct fdit_run_stream *s,
                                     const struct fdit_batch *b, const float **x0)
{
    enum fdit_status status = FDIT_OK;
    size_t picture = fdit_train_source_item(s->data);
    *x0 = b->x;
    if (!fdit_run_encodes(r, s->data))
        return FDIT_OK;
    for (size_t k = 0; k < b->n; k++)
        TRY(fdit_autoencoder_encode(ctx, r->autoencoder, b->x + k * picture, s->seed, b->position + k,
                                    r->latents + k * r->item));
    *x0 = r->latents;
out:
    return status;
}

/* Micro-batch `index` of a step, from the loader to its gradient. *position: of the sample behind it. */
static enum fdit_status micro_batch(fdit_context *ctx, struct run *r, const struct fdit_run_stream *s,
                                    int index, uint64_t *position)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    const float *x0;
    struct fdit_batch b;
    TRY(fdit_run_bad_picture(ctx, r, fdit_loader_next(ctx, s->loader, &b)));
    TRY(encode_batch(ctx, r, s, &b, &x0));
    fdit_draw_batch(s->rule, r->objective, &o->time_density, s->seed, b.position, b.labels, b.n, r->item,
                    r->t, r->rows, r->noise);
    if (o->classifier && o->shift) {
        fdit_shift_batch(o->seed, b.position, b.x, b.n, r->config.channels, r->config.input_size, o->shift,
                         r->noise);
        x0 = r->noise;
    }
    struct fdit_micro micro = { .samples = (int)b.n,
                                .x0 = x0,
                                .noise = r->noise,
                                .t = r->t,
                                .rows = r->rows,
                                .first = index == 0,
                                .index = index,
                                .loss_scale = s->weight / (r->round * o->accumulate),
                                .weight = &o->loss_weight,
                                .prior = s->prior };
    if (s->learn)
        fdit_learn_fill(s->learn, r->at.step + 1, s->seed, b.position, b.labels, &micro);
    TRY(fdit_replicas_micro(ctx, r->replicas, &micro));
    *position = b.next;
out:
    return status;
}

/* Step n is queued, and the report of the one before is in: from here on n is the last. */
static void begin_report(struct run *r, int64_t n, uint64_t position, double lr)
{
    double now = fdit_clock_seconds();
    r->at = (struct fdit_train_position){ .step = n, .position = position };
    r->last.step = n;
    r->last.steps = r->total;
    r->last.lr = lr;
    r->last.seconds = fdit_pace_spent(&r->pace, now);
    fdit_pace_step(&r->pace, now, n);
    r->last.images_per_second = r->pace.rate * r->round * r->o->accumulate;
    r->summary->images += (uint64_t)r->round * (uint64_t)r->o->accumulate;
    fdit_replicas_report_begin(r->replicas);
    r->pending = true;
}

static enum fdit_status one_step(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    int64_t n = r->at.step + 1;
    double lr = fdit_train_lr(
        o, n, fdit_pace_expected(&r->pace, fdit_clock_seconds(), r->at.step, r->total, o->seconds));
    uint64_t position = r->at.position; /* becomes r->at's with the whole step: a stop may come between */
    for (int i = 0; i < r->n_streams * o->accumulate; i++)
        TRY(micro_batch(ctx, r, &r->streams[i / o->accumulate], i, &position));
    TRY(fdit_replicas_update(ctx, r->replicas,
                             &(struct fdit_update){ .optimiser = r->optimiser,
                                                    .lr = lr,
                                                    .beta1 = o->beta1,
                                                    .beta2 = o->beta2,
                                                    .eps = r->optimiser->eps,
                                                    .weight_decay = o->weight_decay,
                                                    .clip = o->clip,
                                                    .ema_decay = fdit_ema_decay(o->ema, o->ema_exact, n),
                                                    .n = n }));
    TRY(finish_report(ctx, r));
    begin_report(r, n, position, lr);
    /* Several devices have waited for each other anyway; so the log is whole when one of them
     * fails. The step is done once the first device holds it, whether or not the others can be
     * told. */
    if (fdit_replicas_several(r->replicas)) {
        TRY(finish_report(ctx, r));
        TRY(fdit_replicas_share(ctx, r->replicas));
    }
out:
    return status;
}

/* What the first device holds after a failure of the data, or of another device, is the state after the last
 * whole step, and worth a checkpoint, unless a part of it is elsewhere. Keeps the failure's status and
 * message, and says how to go on. */
static enum fdit_status save_after_failure(fdit_context *ctx, struct run *r, bool saved,
                                           enum fdit_status found)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    bool other_device = found == FDIT_ERROR_DEVICE && fdit_replicas_several(r->replicas);
    bool picture = fdit_picture_is_bad(found);
    if ((!other_device && !picture && found != FDIT_ERROR_IO) || fdit_device_failed(r->dev) ||
        r->at.step == 0 || !fdit_replicas_reachable(r->replicas))
        return found;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = finish_report(ctx, r);
    if (status == FDIT_OK && !saved)
        status = fdit_run_output_save(ctx, r, false);
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

/* After a step: what it calls for, while the clock of the training stands. *saved: it has a checkpoint. */
static enum fdit_status after_step(fdit_context *ctx, struct run *r, bool *saved)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_run_due due = fdit_run_output_due(r);
    if (!due.checkpoint && !due.late && !due.preview && !due.evaluation && !due.snapshot)
        return FDIT_OK;
    fdit_pace_pause(&r->pace, fdit_clock_seconds());
    TRY(finish_report(ctx, r));
    status = fdit_run_output_due_now(ctx, r, due, saved);
    fdit_pace_start(&r->pace, fdit_clock_seconds());
out:
    return status;
}

enum fdit_status fdit_run_loop(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_train_options *o = r->o;
    bool saved = true;
    note_traffic(r);
    fdit_lr_range_init(&r->range, r->total);
    fdit_pace_init(&r->pace, r->at.step);
    fdit_pace_start(&r->pace, fdit_clock_seconds());
    while (r->at.step < r->total) {
        bool over = o->seconds > 0 && fdit_pace_spent(&r->pace, fdit_clock_seconds()) >= o->seconds;
        over = over || r->range.over;
        TRY(fdit_replicas_agree(ctx, r->replicas, &over));
        if (fdit_stopped(ctx) || over)
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
    if (o->lr_high > 0)
        return fdit_run_output_range(ctx, r);
    if (!saved)
        TRY(fdit_run_output_save(ctx, r, false));
    status = fdit_stopped(ctx) ? FDIT_INTERRUPTED : fdit_run_validate(ctx, r);
    if (status == FDIT_INTERRUPTED)
        FAIL(ctx, FDIT_INTERRUPTED,
             "stopped after step %" PRId64 " of %" PRId64 "; train --resume %s continues", r->at.step,
             r->total, o->out);
out:
    return status;
}
