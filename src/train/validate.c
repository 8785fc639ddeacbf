/* SPDX-License-Identifier: Apache-2.0
 * validate.c: the losses of pictures that are not trained on, always the same ones with the same t and
 * noise. */
#include "train/running.h"

#include "core/mem.h"

#include <inttypes.h>
#include <string.h>

enum fdit_status fdit_run_validation_open(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_validation *v = &r->output.val;
    size_t batch = (size_t)r->o->batch;
    if (!v->data)
        return FDIT_OK;
    TRY(fdit_alloc(ctx, v->used, sizeof *v->bad, &v->bad));
    TRY(fdit_alloc(ctx, batch * r->item, sizeof(float), &v->x));
    TRY(fdit_alloc(ctx, batch, sizeof(float), &v->mse));
    TRY(fdit_alloc(ctx, batch, sizeof(float), &v->vb));
    TRY(fdit_alloc(ctx, fdit_train_source_item(v->data), sizeof(float), &v->picture));
    TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_classes(r->rule.taxonomy), sizeof *v->classes, &v->classes));
out:
    return status;
}

void fdit_run_validation_close(struct run *r)
{
    struct fdit_validation *v = &r->output.val;
    if (v->data != r->data)
        fdit_train_source_close(v->data);
    void *blocks[] = { v->ids, v->bad, v->x, v->picture, v->mse, v->vb, v->classes };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        fdit_free(blocks[i]);
}

/* Picture i of those that are looked at, which are spread evenly. */
static size_t id_of(const struct fdit_validation *v, size_t i)
{
    size_t at = i * v->n / v->used;
    return v->ids ? v->ids[at] : at;
}

/* Picture i as the model takes it; *bad for one that is left out. */
static enum fdit_status read_picture(fdit_context *ctx, struct run *r, size_t i, float *x, bool *bad)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_validation *v = &r->output.val;
    size_t id = id_of(v, i);
    const bool pictures = fdit_run_encodes(r, v->data);
    *bad = v->bad[i];
    if (*bad)
        return FDIT_OK;
    status = fdit_train_source_fixed(ctx, v->data, id, pictures ? v->picture : x);
    if (fdit_picture_is_bad(status)) {
        if (!r->o->skip_bad)
            return fdit_run_bad_picture(ctx, r, status);
        *bad = v->bad[i] = true;
        v->n_bad++;
        fdit_log(ctx, FDIT_LOG_WARNING, "skipped: %s", fdit_context_message(ctx));
        return FDIT_OK;
    }
    TRY(status);
    if (pictures)
        TRY(fdit_autoencoder_encode(ctx, r->autoencoder, v->picture, 0, id, x));
out:
    return status;
}

struct sums {
    double mse, vb;
    size_t n;
};

/* A batch of pictures from *next on that can be decoded; *next moves on. */
static enum fdit_status validate_batch(fdit_context *ctx, struct run *r, size_t *next, struct sums *sums)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_validation *v = &r->output.val;
    size_t k = 0;
    for (; *next < v->used && k < (size_t)r->o->batch; ++*next) {
        bool bad;
        TRY(read_picture(ctx, r, *next, v->x + k * r->item, &bad));
        if (bad)
            continue;
        r->rows[k] = fdit_train_source_label(v->data, id_of(v, *next));
        fdit_draw_validation(r->objective, *next, r->item, &r->t[k], r->noise + k * r->item);
        k++;
    }
    if (!k)
        return FDIT_OK;
    fdit_step_evaluate(
        r->step,
        &(struct fdit_micro){
            .samples = (int)k, .x0 = v->x, .noise = r->noise, .t = r->t, .rows = r->rows, .loss_scale = 1 });
    TRY(fdit_step_sample_losses(ctx, r->step, 0, (int)k, v->mse, v->vb));
    for (size_t i = 0; i < k; i++) {
        sums->mse += (double)v->mse[i];
        sums->vb += (double)v->vb[i];
        v->classes[r->rows[i]].mse += (double)v->mse[i];
        v->classes[r->rows[i]].vb += (double)v->vb[i];
        v->classes[r->rows[i]].pictures++;
    }
    sums->n += k;
out:
    return status;
}

static enum fdit_status validate(fdit_context *ctx, struct run *r, double *mse, double *vb)
{
    enum fdit_status status = FDIT_OK;
    struct sums sums = { 0 };
    memset(r->output.val.classes, 0,
           (size_t)fdit_taxonomy_n_classes(r->rule.taxonomy) * sizeof *r->output.val.classes);
    TRY(fdit_model_gather_values(ctx, r->model, FDIT_VALUES_EMA));
    r->model->values = FDIT_VALUES_EMA;
    for (size_t next = 0; next < r->output.val.used;) {
        if (fdit_stopped(ctx))
            FAIL(ctx, FDIT_INTERRUPTED, "stopped during the validation of step %" PRId64, r->at.step);
        fdit_phase_at(ctx, next);
        TRY(validate_batch(ctx, r, &next, &sums));
    }
    if (!sums.n)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "none of the %zu validation pictures can be decoded; give other ones with --val",
             r->output.val.used);
    *mse = sums.mse / (double)sums.n;
    *vb = sums.vb / (double)sums.n;
out:
    r->model->values = FDIT_VALUES_RAW;
    return status;
}

/* Before the log's line, which tells a resumed run that the validation is done. */
static enum fdit_status write_classes(fdit_context *ctx, struct run *r)
{
    enum fdit_status status =
        fdit_class_losses_write(ctx, r->output.run, r->at.step, r->rule.taxonomy, r->output.val.classes);
    if (status != FDIT_ERROR_IO)
        return status;
    fdit_log(ctx, FDIT_LOG_WARNING, "%s; the training goes on without the losses of each class",
             fdit_context_message(ctx));
    return FDIT_OK;
}

enum fdit_status fdit_run_validate(fdit_context *ctx, struct run *r)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_train_summary *s = r->summary;
    if (!r->output.val.data)
        return FDIT_OK;
    if (r->at.step == r->output.resumed_at && fdit_journal_validated(r->output.journal))
        return FDIT_OK; /* resumed behind the validation: its line stands in the log already */
    fdit_phase_begin(ctx, r->output.val.used, FDIT_VALIDATING);
    status = validate(ctx, r, &s->val_mse, &s->val_vb);
    fdit_phase_end(ctx);
    TRY(status);
    TRY(write_classes(ctx, r));
    TRY(fdit_journal_validation(ctx, r->output.journal, r->at.step, s->val_mse, s->val_vb,
                                r->output.val.used - r->output.val.n_bad));
    if (r->output.hooks.on_validation)
        r->output.hooks.on_validation(r->output.hooks.user, r->at.step, s->val_mse, s->val_vb);
out:
    return status;
}
