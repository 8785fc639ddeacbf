/* SPDX-License-Identifier: Apache-2.0
 * validate.c: the losses of pictures that are not trained on, always the same ones with the same t and
 * noise. */
#include "train/running.h"

#include "core/mem.h"

#include <inttypes.h>

enum { MOST_AT_ONCE = 64 };

enum fdit_status fdit_run_validation_open(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct validation *v = &r->val;
    if (!v->data)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, v->used, sizeof *v->bad, &v->bad));
    TRY(fdit_alloc(ctx, (size_t)r->round * r->item, sizeof(float), &v->x));
    TRY(fdit_alloc(ctx, fdit_train_source_item(v->data), sizeof(float), &v->picture));
out:
    return status;
}

void fdit_run_validation_close(struct run *r)
{
    if (r->val.data != r->data)
        fdit_train_source_close(r->val.data);
    fdit_free(r->val.ids);
    fdit_free(r->val.bad);
    fdit_free(r->val.x);
    fdit_free(r->val.picture);
}

/* Picture i of those that are looked at, which are spread evenly. */
static size_t id_of(const struct validation *v, size_t i)
{
    size_t at = i * v->n / v->used;
    return v->ids ? v->ids[at] : at;
}

/* Picture i as the model takes it; *bad for one that is left out. */
static enum fdit_status read_picture(fdit_context *ctx, struct run *r, size_t i, float *x, bool *bad)
{
    enum fdit_status status = FDIT_OK;
    struct validation *v = &r->val;
    size_t id = id_of(v, i);
    const bool pictures = fdit_run_encodes(r, v->data);
    *bad = v->bad[i];
    if (*bad)
        return FDIT_OK;
    status = fdit_train_source_fixed(ctx, v->data, id, pictures ? v->picture : x);
    if (status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_UNSUPPORTED) {
        if (!r->o->skip_bad)
            return fdit_run_bad_picture(ctx, r, status);
        *bad = v->bad[i] = true;
        v->n_bad++;
        fdit_log(ctx, FDIT_LOG_WARNING, "skipped: %s", fdit_context_message(ctx));
        return FDIT_OK;
    }
    TRY(status);
    if (pictures)
        TRY(fdit_autoencoder_encode(ctx, r->coder, v->picture, 0, id, x));
out:
    return status;
}

struct sums {
    double mse, vb;
    size_t n;
};

/* Up to `most` pictures from *next on that can be decoded; *next moves on. */
static enum fdit_status validate_batch(fdit_context *ctx, struct run *r, size_t most, size_t *next,
                                       struct sums *sums)
{
    enum fdit_status status = FDIT_OK;
    struct validation *v = &r->val;
    float mse[MOST_AT_ONCE], vb[MOST_AT_ONCE];
    size_t k = 0;
    for (; *next < v->used && k < most; ++*next) {
        bool bad;
        TRY(read_picture(ctx, r, *next, v->x + k * r->item, &bad));
        if (bad)
            continue;
        r->rows[k] = fdit_train_source_label(v->data, id_of(v, *next));
        fdit_draw_validation(*next, r->item, &r->t[k], r->noise + k * r->item);
        k++;
    }
    if (!k)
        return FDIT_OK;
    fdit_step_evaluate(
        r->step,
        &(struct fdit_micro){
            .samples = (int)k, .x0 = v->x, .noise = r->noise, .t = r->t, .rows = r->rows, .loss_scale = 1 });
    TRY(fdit_step_sample_losses(ctx, r->step, 0, (int)k, mse, vb));
    for (size_t i = 0; i < k; i++) {
        sums->mse += (double)mse[i];
        sums->vb += (double)vb[i];
    }
    sums->n += k;
out:
    return status;
}

static enum fdit_status validate(fdit_context *ctx, struct run *r, double *mse, double *vb)
{
    enum fdit_status status = FDIT_OK;
    size_t most = (size_t)r->o->batch < MOST_AT_ONCE ? (size_t)r->o->batch : MOST_AT_ONCE;
    struct sums sums = { 0 };
    r->model->values = FDIT_VALUES_EMA;
    for (size_t next = 0; next < r->val.used;) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped during the validation of step %" PRId64, r->at.step);
        fdit_phase_at(ctx, next);
        TRY(validate_batch(ctx, r, most, &next, &sums));
    }
    if (!sums.n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "none of the %zu validation pictures can be decoded; give other ones with --val", r->val.used);
    *mse = sums.mse / (double)sums.n;
    *vb = sums.vb / (double)sums.n;
out:
    r->model->values = FDIT_VALUES_RAW;
    return status;
}

enum fdit_status fdit_run_validate(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_summary *s = r->summary;
    if (!r->val.data)
        return FDIT_OK;
    if (r->at.step == r->resumed_at && fdit_journal_validated(r->journal))
        return FDIT_OK; /* resumed behind the validation: its line stands in the log already */
    fdit_phase_begin(ctx, r->val.used, VALIDATING);
    status = validate(ctx, r, &s->val_mse, &s->val_vb);
    fdit_phase_end(ctx);
    TRY(status);
    TRY(fdit_journal_validation(ctx, r->journal, r->at.step, s->val_mse, s->val_vb,
                                r->val.used - r->val.n_bad));
    if (r->hooks && r->hooks->on_validation)
        r->hooks->on_validation(r->hooks->user, r->at.step, s->val_mse, s->val_vb);
out:
    return status;
}
