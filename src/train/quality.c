/* SPDX-License-Identifier: Apache-2.0 */
#include "train/quality.h"

#include "core/mem.h"
#include "core/phase.h"

#include <string.h>

struct fdit_quality {
    struct fdit_eval_options o;
    struct fdit_eval_split split;
    struct fdit_extractor *extractor;
    struct fdit_drawing drawing;
    struct fdit_preview *preview;
    struct fdit_feature_set real; /* kept from one time to the next */
    fdit_device *dev;
    bool drawn;        /* the set at hand is what is drawn */
    fdit_context *ctx; /* of the measuring under way */
};

enum fdit_status fdit_quality_new(fdit_context *ctx, fdit_device *dev, const struct fdit_train_options *o,
                                  const struct fdit_quality_real *real, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_preview *preview, struct fdit_quality **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_quality *q = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *q, &q));
    fdit_options_defaults(fdit_eval_option_table, &q->o);
    q->dev = dev;
    q->preview = preview;
    q->split = real->split;
    fdit_preview_drawing(preview, (size_t)o->eval_pictures, &q->drawing);
    q->o.features = o->eval_features;
    q->o.metrics = o->eval_metrics;
    q->o.real = real->path;
    q->o.split = real->some ? &q->split : NULL;
    q->o.classes = taxonomy;
    q->o.fit = o->fit;
    q->o.look = o->look;
    q->o.drawing = &q->drawing;
    q->o.kept_real = &q->real;
    q->o.draws = 0;   /* error bars would cost more than the steps between */
    q->o.workers = 0; /* the run's own are at work */
    q->o.skip_bad = o->skip_bad;
    q->o.threads = o->threads;
    TRY(fdit_extractor_open(ctx, dev, q->o.features, q->o.batch, &q->extractor));
    q->o.extractor = q->extractor;
    *out = q;
    q = NULL;
out:
    fdit_quality_free(q);
    return status;
}

void fdit_quality_free(struct fdit_quality *q)
{
    if (!q)
        return;
    fdit_feature_set_fini(&q->real);
    fdit_extractor_close(q->extractor);
    fdit_free(q);
}

size_t fdit_quality_bytes(const struct fdit_quality *q, size_t n_real)
{
    enum { OF_A_PICTURE = 160 }; /* name, label, place, neighbours */
    size_t d = q->extractor->width, n = n_real + q->drawing.n;
    return n * (d * sizeof(float) + OF_A_PICTURE) + 2 * d * d * sizeof(double);
}

size_t fdit_quality_pictures(const struct fdit_quality *q)
{
    return q->drawing.n;
}

static void begin_set(void *user, const char *path, size_t total)
{
    struct fdit_quality *q = user;
    (void)total;
    q->drawn = path == q->drawing.name;
}

static void on_picture(void *user, size_t done)
{
    struct fdit_quality *q = user;
    if (q->drawn)
        fdit_phase_at(q->ctx, done);
}

enum fdit_status fdit_quality_measure(fdit_context *ctx, struct fdit_quality *q,
                                      struct fdit_eval_value *values, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_eval_hooks hooks = { q, begin_set, on_picture, NULL };
    struct fdit_eval_result result = { 0 };
    q->ctx = ctx;
    fdit_preview_forget(q->preview);
    TRY(fdit_eval_run(ctx, q->dev, &q->o, &hooks, &result));
    memcpy(values, result.values, result.n_values * sizeof *values);
    *n = result.n_values;
    q->real = result.real;
    result.real = (struct fdit_feature_set){ 0 };
out:
    fdit_eval_result_fini(&result);
    return status;
}
