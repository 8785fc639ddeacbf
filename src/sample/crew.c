/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/crew.h"

#include "core/mem.h"
#include "core/threads.h"

struct hand {
    fdit_device *dev;
    struct fdit_model *model, *guide;
    struct fdit_generator *generator; /* of the first device: the caller's, during a run */
    struct fdit_plan plan;
};

struct fdit_crew {
    const struct fdit_subject *subject;
    int n;
    struct hand *hands; /* [n]; the first has only its device */
    struct fdit_threads *team;
    /* the run in progress */
    const struct fdit_picture_spec *pictures;
    int todo;
    float *x;
    size_t item;
};

static enum fdit_status add_plan(fdit_context *ctx, struct fdit_plan *sum, const struct fdit_plan *part,
                                 const char *prefix)
{
    enum fdit_status status = FDIT_OK;
    for (size_t i = 0; i < part->n; i++)
        TRY(fdit_plan_add(ctx, sum, part->list[i].kind, part->list[i].where, part->list[i].bytes, "%s%s",
                          prefix, part->list[i].label));
out:
    return status;
}

static enum fdit_status plan_hand(fdit_context *ctx, struct fdit_crew *c, struct hand *h,
                                  const struct fdit_generator_options *options, enum fdit_dtype storage)
{
    enum fdit_status status = FDIT_OK;
    bool other = c->subject->guide_files.n > 0;
    struct fdit_generator_options g = *options;
    struct fdit_model_options m = { .batch = fdit_generator_model_batch(&g, !other),
                                    .conditions = fdit_generator_conditions(&g, !other),
                                    .storage = storage };
    g.on_step = NULL;
    TRY(fdit_model_new(ctx, h->dev, &c->subject->files.config, &m, &h->model));
    m.batch = g.batch;
    if (other)
        TRY(fdit_model_new(ctx, h->dev, &c->subject->guide_files.config, &m, &h->guide));
    TRY(fdit_generator_new(ctx, h->model, h->guide, &g, &h->generator));
    h->plan.title = h->dev->info.name;
    TRY(add_plan(ctx, &h->plan, &h->model->plan, ""));
    if (other)
        TRY(add_plan(ctx, &h->plan, &h->guide->plan, "guide: "));
out:
    return status;
}

enum fdit_status fdit_crew_new(fdit_context *ctx, fdit_device *first, const struct fdit_subject *subject,
                               const struct fdit_generator_options *options, enum fdit_dtype storage,
                               struct fdit_crew **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_crew *c = NULL;
    const struct fdit_model_config *config = &subject->files.config;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    c->subject = subject;
    c->item = (size_t)config->channels * (size_t)config->input_size * (size_t)config->input_size;
    TRY(fdit_alloc(ctx, (size_t)fdit_device_count(first), sizeof *c->hands, &c->hands));
    for (fdit_device *dev = first; dev; dev = dev->next) {
        struct hand *h = &c->hands[c->n++];
        h->dev = dev;
        if (dev != first)
            TRY(plan_hand(ctx, c, h, options, storage));
    }
    *out = c;
    return FDIT_OK;
out:
    fdit_crew_free(c);
    return status;
}

void fdit_crew_free(struct fdit_crew *c)
{
    if (!c)
        return;
    fdit_threads_free(c->team);
    for (int i = 1; i < c->n; i++) {
        fdit_generator_free(c->hands[i].generator);
        fdit_model_free(c->hands[i].model);
        fdit_model_free(c->hands[i].guide);
        fdit_plan_fini(&c->hands[i].plan);
    }
    fdit_free(c->hands);
    fdit_free(c);
}

int fdit_crew_devices(const struct fdit_crew *c)
{
    return c->n;
}

const struct fdit_plan *fdit_crew_plan(const struct fdit_crew *c, int i)
{
    return &c->hands[i].plan;
}

fdit_device *fdit_crew_device(const struct fdit_crew *c, int i)
{
    return c->hands[i].dev;
}

enum fdit_status fdit_crew_load(fdit_context *ctx, struct fdit_crew *c)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_weight_files *f = &c->subject->files, *g = &c->subject->guide_files;
    for (int i = 1; i < c->n; i++) {
        struct hand *h = &c->hands[i];
        TRY(fdit_model_allocate(ctx, h->model));
        if (h->guide)
            TRY(fdit_model_allocate(ctx, h->guide));
        fdit_generator_bind(h->generator);
        TRY(fdit_model_load(ctx, h->model, f->list, f->n, false, NULL));
        if (h->guide)
            TRY(fdit_model_load(ctx, h->guide, g->list, g->n, false, NULL));
    }
    if (c->n > 1)
        TRY(fdit_threads_new(ctx, c->n, &c->team));
out:
    return status;
}

static enum fdit_status run_part(fdit_context *ctx, void *user, int i)
{
    struct fdit_crew *c = user;
    int part = (c->todo + c->n - 1) / c->n, first = i * part;
    int n = c->todo - first < part ? c->todo - first : part;
    if (n <= 0)
        return FDIT_OK;
    return fdit_generator_run(ctx, c->hands[i].generator, c->pictures + first, n,
                              c->x + (size_t)first * c->item);
}

enum fdit_status fdit_crew_run(fdit_context *ctx, struct fdit_crew *c, struct fdit_generator *own,
                               const struct fdit_picture_spec *pictures, int n, float *x)
{
    enum fdit_status status = FDIT_OK;
    char *message = NULL;
    int failed = -1;
    if (c->n == 1)
        return fdit_generator_run(ctx, own, pictures, n, x);
    c->hands[0].generator = own;
    c->pictures = pictures;
    c->todo = n;
    c->x = x;
    enum fdit_status found = fdit_threads_run(ctx, c->team, run_part, c, &failed);
    if (found == FDIT_OK || found == FDIT_ERROR_MEMORY || found == FDIT_INTERRUPTED)
        return found;
    const fdit_device *dev = c->hands[failed].dev;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = fdit_fail(ctx, found, "device %s (%s): %s; go on with the other devices", dev->info.spec,
                       dev->info.name, message);
out:
    fdit_free(message);
    return status;
}
