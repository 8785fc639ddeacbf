/* SPDX-License-Identifier: Apache-2.0
 * The fine-tuning half of finediffusion.h. */
#include "devices.h"
#include "train/run.h"

struct relay {
    fdit_training_fn progress;
    void *user;
};

static void on_step(void *user, const struct fdit_train_progress *p)
{
    const struct relay *r = user;
    r->progress(r->user, &(struct fdit_training_progress){ .step = p->step,
                                                           .steps = p->steps,
                                                           .loss = p->loss,
                                                           .images_per_second = p->images_per_second });
}

enum fdit_status fdit_train(fdit_context *ctx, const struct fdit_training *t, fdit_training_fn progress,
                            void *user)
{
    enum fdit_status status = FDIT_OK;
    fdit_device *dev = NULL;
    struct relay relay = { progress, user };
    struct fdit_train_hooks hooks = { .user = &relay, .on_step = progress ? on_step : NULL };
    struct fdit_train_options o = fdit_train_defaults();
    struct fdit_device_options d = { .spec = t->device, .threads = t->threads };
    o.base = t->base;
    o.data = t->data;
    o.taxonomy = t->taxonomy;
    o.tune = t->tune ? t->tune : o.tune;
    o.out = t->out;
    o.resume = t->resume;
    o.flip = t->mirror;
    o.steps = t->steps;
    o.batch = t->batch ? t->batch : o.batch;
    o.lr = t->lr > 0 ? t->lr : o.lr;
    o.seed = t->seed;
    TRY(fdit_train_check(ctx, &o));
    TRY(fdit_devices_open(ctx, &d, &dev));
    TRY(fdit_train_run(ctx, dev, &o, &hooks, false, NULL));
out:
    fdit_device_close(dev);
    return status;
}
